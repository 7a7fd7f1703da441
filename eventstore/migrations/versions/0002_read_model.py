"""The read model: projections and their offsets, flows, assets, dependencies, issues, and who may read them."""

from __future__ import annotations

from eventstore.sql import statements

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    statements("read_model")
