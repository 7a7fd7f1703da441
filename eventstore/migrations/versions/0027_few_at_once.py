"""What few commands cost that are appended together, and few runs that wait."""

from __future__ import annotations

from eventstore.sql import statements

revision = "0027"
down_revision = "0026"


def upgrade() -> None:
    statements("small_groups")
    statements("short_queues")
