"""How many flows there are of each type and status, beside their rows; words with what lists filter by."""

from __future__ import annotations

from eventstore.sql import statements

revision = "0030"
down_revision = "0026"


def upgrade() -> None:
    statements("totals")
