"""Commands that wait behind a parked flow."""

from __future__ import annotations

from eventstore.sql import statements

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    statements("parking")
