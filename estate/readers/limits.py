"""How much of a file is taken in; beyond it the file is refused, never cut."""

from __future__ import annotations

MAX_CELL_CHARACTERS = 1_000_000
MAX_COLUMNS = 16_384
MAX_CELLS = 100_000_000
"""Cells of one table, empty ones counted: 400 MB of codes."""
MAX_DISTINCT = 12_000_000
"""Different cells of one table, summed over its columns."""
MAX_SET_ASIDE = 20_000
"""Rows set apart in one table; more means that the header or the delimiter is not what it was taken for."""
MAX_SET_ASIDE_CELLS = 4_000_000
MAX_SHEETS = 500
MAX_TABLES = 500
"""Tables of one file."""
MAX_MEMBERS = 2_000
"""Files in a zip."""
MAX_UNPACKED_BYTES = 2 * 1024**3
MAX_UNPACK_RATIO = 400
RATIO_COUNTS_FROM = 64 * 1024**2
"""Below this size a zip may shrink as much as it likes."""
MAX_TEXT_BYTES = 512 * 1024**2
"""Texts of a workbook, all together."""
MAX_RECORD_CHARACTERS = 32 * 1024**2
"""One line of csv, one record of JSON or XML, one row of a sheet."""
MAX_DEPTH = 32
"""Levels of nesting that become columns."""
MAX_WARNINGS_OF_A_KIND = 20
"""Warnings told one by one; the rest are counted."""
