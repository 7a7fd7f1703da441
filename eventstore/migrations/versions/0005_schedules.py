"""Schedules."""

from __future__ import annotations

from eventstore.sql import statements

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    statements("schedules")
