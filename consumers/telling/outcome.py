"""What an attempt to send came to."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Came(StrEnum):
    """How it ended: taken, to be tried again, never to be taken, or not wanted any more by its receiver."""

    SENT = "sent"
    FAILED = "failed"
    REFUSED = "refused"
    GONE = "gone"


class Outcome(NamedTuple):
    """`status` is the receiver's own code; `after_seconds` is how long it asked to be left alone."""

    came: Came
    status: int | None = None
    error: str | None = None
    after_seconds: float = 0.0
