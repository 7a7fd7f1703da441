"""The shape of a flow and all flows under it, added up, as the OpenAPI document tells it."""

from __future__ import annotations

from uuid import UUID

from pydantic import Field

from api.documents import AssetType, Document, FlowStatus, PhaseState, Severity


class PhaseSum(Document):
    """One phase in all flows of a type."""

    flow_type: str
    phase_name: str
    statuses: dict[PhaseState, int]
    quality: float | None = Field(description="0 to 100, on average of the flows whose phase says so of its result.")


class FlowSummary(Document):
    """A flow and all flows under it, added up, as far as the read model has them."""

    flow_id: UUID
    flow_name: str
    flow_type: str
    status: FlowStatus
    flows: int = Field(description="The flow itself, and those under it on every level.")
    flow_types: dict[str, int]
    statuses: dict[FlowStatus, int]
    total_assets: int
    asset_types: dict[AssetType, int]
    total_dependencies: int
    issues: dict[Severity, int] = Field(description="How many of each severity.")
    phases: list[PhaseSum]
    truncated: bool = Field(description="There are more than 5,000 flows under it; the deepest were left out.")
