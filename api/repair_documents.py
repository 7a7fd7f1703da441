"""The shapes of what is found beside history, of repairs, and of the comparison with history."""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from api.documents import Document, FlowStatus
from domain.commands import Text

RepairType = Literal["link_discovery_flow", "link_assets", "link_data_import", "rewrite_row"]
Method = Literal["persistence", "context", "replay", "timestamp"]


class DataSource(Document):
    """Where something was found."""

    type: Literal["discovery_flow", "data_import", "assets", "dependencies", "issues"]
    rows: int


class Orphan(Document):
    """Rows of a flow without a history (`row`, `assets`), an upload that no flow has read (`import`), or a row that is not at
    its flow's version (`disagreement`)."""

    flow_id: UUID
    kind: Literal["row", "assets", "import", "disagreement"]
    method: Method
    confidence: float = Field(description="How sure it is that they belong to this flow, 0 to 1.")
    accepted: bool = Field(description="Whether that is sure enough (above 0.5) for a repair.")
    repair: RepairType
    data_sources: list[DataSource]
    affected_items: int
    flow_name: str | None
    flow_type: str | None
    flow_status: str | None
    row_version: int | None
    flow_version: int | None
    phases: list[str] = Field(description="The phases that wrote what was found.")
    created_at: datetime | None
    updated_at: datetime | None


class Orphans(Document):
    """What does not fit the history of the tenant's flows."""

    orphans: list[Orphan]
    total: int = Field(description="From this page on.")
    recommendations: list[str]
    repair_complexity: Literal["none", "low", "medium", "high"]
    next_cursor: str | None


class AvailableRepair(Document):
    """What can be done."""

    flow_id: UUID = Field(
        description="The flow that it is done to; another one than asked for where only its time fits."
    )
    type: RepairType
    description: str
    affected_items: int
    confidence: float
    method: Method


class RepairOptions(Document):
    """What can be repaired of a flow; nothing where all of it fits."""

    flow_id: UUID
    available_repairs: list[AvailableRepair]
    recommended_action: RepairType | None
    confidence: float | None


class Repair(BaseModel):
    """What is to be repaired."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    repair_type: RepairType | None = Field(default=None, description="Left out: the one that is recommended.")
    reason: Text | None = None


class Repaired(Document):
    """What was repaired; nothing the second time."""

    flow_id: UUID = Field(description="The flow that was repaired, or made.")
    repair_type: RepairType | None
    items_processed: int
    items_repaired: int
    errors: list[str]
    master_flow_created: bool
    status: FlowStatus | None
    version: int
    position: str | None


class Inconsistency(Document):
    """A flow whose row is not what its history tells."""

    flow_id: UUID
    kind: Literal["missing", "behind", "ahead", "differs"]
    columns: list[str] = Field(description="Those that differ, where the row is at the flow's version.")
    row_version: int | None
    flow_version: int
    master_status: str
    child_status: str
    repair: RepairType | None = Field(description="Nothing where the read model has not come so far yet.")


class Reconciliation(Document):
    """Rows of the read model held against history, flow by flow."""

    total_flows: int
    checked: int
    reconciled_flows: int = Field(description="How many of those checked are what their history tells.")
    inconsistencies: list[Inconsistency]
    healthy: bool
    next_cursor: str | None
