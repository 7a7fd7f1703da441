"""Subscriptions and notifications."""

from __future__ import annotations

from eventstore.sql import statements

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    statements("notifications")
