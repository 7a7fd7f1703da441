"""The list of flows counted by indexes alone, and flows by tag."""

from __future__ import annotations

from eventstore.sql import statements

revision = "0025"
down_revision = "0024"


def upgrade() -> None:
    statements("lists")
