"""Flows as they stood at any time."""

from __future__ import annotations

from eventstore.sql import statements

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    statements("past")
