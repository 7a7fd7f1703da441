"""Intervals of a flow that differ only in phase and progress in one row."""

from __future__ import annotations

from eventstore.sql import statements

revision = "0029"
down_revision = "0028"


def upgrade() -> None:
    statements("stays")
