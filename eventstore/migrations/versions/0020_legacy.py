"""Imports of an older system's flows, and its tables as views."""

from __future__ import annotations

from eventstore.sql import statements

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    statements("legacy")
