"""Read models that are made anew while the old ones serve, and the indexes of the list of flows."""

from __future__ import annotations

from eventstore.sql import statements

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    statements("rebuild")
