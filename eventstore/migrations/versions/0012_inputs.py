"""The inbox."""

from __future__ import annotations

from eventstore.sql import statements

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    statements("inputs")
