"""What governs the audit trail stands in the command log."""

from __future__ import annotations

from eventstore.sql import statements

revision = "0026"
down_revision = "0025"


def upgrade() -> None:
    statements("audit_settings")
