"""How long each projection gathers events between two batches."""

from __future__ import annotations

from eventstore.sql import statements

revision = "0024"
down_revision = "0023"


def upgrade() -> None:
    statements("patience")
