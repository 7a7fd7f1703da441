"""Large groups: the parts of an append are joined by hash, so that its cost grows with the group and not with its square."""

from __future__ import annotations

from eventstore.sql import statements

revision = "0023"
down_revision = "0022"


def upgrade() -> None:
    statements("large_groups")
