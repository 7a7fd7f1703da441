"""A timer outlives the discarding of its firing."""

from __future__ import annotations

from eventstore.sql import statements

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    statements("steer")
