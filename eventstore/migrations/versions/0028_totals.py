"""How many flows there are of each type and status, beside their rows; words with what lists filter by."""

from __future__ import annotations

from eventstore.sql import statements

revision = "0028"
down_revision = "0027"


def upgrade() -> None:
    statements("totals")
