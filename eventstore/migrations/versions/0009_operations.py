"""Operations over many flows, standing pauses and rules that pause."""

from __future__ import annotations

from eventstore.sql import statements

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    statements("operations")
