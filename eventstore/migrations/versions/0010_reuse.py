"""Results of phases that may be taken again."""

from __future__ import annotations

from eventstore.sql import statements

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    statements("reuse")
