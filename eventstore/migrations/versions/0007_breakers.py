"""Circuit breakers, shared by all workers."""

from __future__ import annotations

from eventstore.sql import statements

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    statements("breakers")
