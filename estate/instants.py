"""Times as texts, ordered as times."""

from __future__ import annotations

import datetime as dt
from functools import lru_cache

_NO_TIME = dt.datetime.min.replace(tzinfo=dt.UTC)


@lru_cache(maxsize=65536)
def instant(text: str) -> tuple[dt.datetime, str]:
    """A key that orders ISO 8601 times as times; one without a zone is ordered as if it were UTC.

    What is no time comes before all times.
    """
    try:
        parsed = dt.datetime.fromisoformat(text)
    except ValueError:
        return _NO_TIME, text
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=dt.UTC)), text
