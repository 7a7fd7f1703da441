"""Followers of the log."""

from __future__ import annotations

from eventstore.sql import statements

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    statements("followers")
