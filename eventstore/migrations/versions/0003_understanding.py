"""How imports are to be read, the mappings that people approved, reviews, and what changed between two discoveries."""

from __future__ import annotations

from eventstore.sql import statements

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    statements("understanding")
