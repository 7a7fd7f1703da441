"""Priorities of runs, and timers that name their time."""

from __future__ import annotations

from eventstore.sql import statements

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    statements("running")
