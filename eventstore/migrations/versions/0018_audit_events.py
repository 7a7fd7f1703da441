"""The audit trail as a read model, its retention and its holds."""

from __future__ import annotations

from eventstore.sql import statements

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    statements("audit_events")
