"""Questions that several phases of a flow ask at the same time."""

from __future__ import annotations

from eventstore.sql import statements

revision = "0022"
down_revision = "0020"


def upgrade() -> None:
    statements("inputs_beside")
