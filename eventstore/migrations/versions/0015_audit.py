"""Signed checkpoints."""

from __future__ import annotations

from eventstore.sql import statements

revision = "0015"
down_revision = "0013"


def upgrade() -> None:
    statements("audit")
