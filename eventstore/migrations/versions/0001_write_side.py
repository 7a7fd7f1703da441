"""The write side: events, heads, command log, runs, timers, relay, keys, artifacts, imports, flow types."""

from __future__ import annotations

from eventstore.sql import statements

revision = "0001"
down_revision = None


def upgrade() -> None:
    statements("write_side")
