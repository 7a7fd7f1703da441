"""What to do about a file that is refused: how the sentences of refusals end."""

from __future__ import annotations

TABLE_INSTEAD = "upload the inventory itself as csv, tsv, xlsx, ods, json or xml, or as a zip of these"
AGAIN = "export it again and upload the new file"
UNPROTECTED = "save it without one and upload that"
DIVIDE = "divide it into several files and upload these"
CHECK_QUOTES = "close the quotation mark or export it again, and upload it anew"
FLATTER = "export it as a plain list of records, or as csv, and upload that"
"""For documents nested or built in a way that makes no table."""
