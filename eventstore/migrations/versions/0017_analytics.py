"""What flows add up to, by time, type and status."""

from __future__ import annotations

from eventstore.sql import statements

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    statements("analytics")
