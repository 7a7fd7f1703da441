"""A notice about the log says which topics it is about."""

from __future__ import annotations

from eventstore.sql import statements

revision = "0030"
down_revision = "0029"


def upgrade() -> None:
    statements("said_by_topic")
