"""Flows among flows: who is whose child, and who waits for whom."""

from __future__ import annotations

from eventstore.sql import statements

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    statements("relations")
