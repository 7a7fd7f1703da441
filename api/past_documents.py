"""What the routes answer that compare moments."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import Field

from api.documents import Document, HistoryEvent


class Moment(Document):
    """A flow at a version, and when the event of that number happened."""

    flow_id: UUID
    version: int
    at: datetime


class MemberChanged(Document):
    """A member that differs; `before` and `after` are there as far as each side has it."""

    path: str = Field(description="Its place as a JSON pointer (RFC 6901), such as /phases/data_import/status.")
    change: Literal["added", "removed", "changed"]
    before: Any = None
    after: Any = None


class EventCount(Document):
    """How often a type of event had happened."""

    type: str
    before: int = Field(alias="from")
    after: int = Field(alias="to")


class FlowDiff(Document):
    """What differs between two moments of a flow, or between two flows."""

    before: Moment = Field(alias="from")
    after: Moment = Field(alias="to")
    fields: list[MemberChanged] = Field(description="Of the flow's row, its inputs, and its phases by name.")
    outputs: list[MemberChanged] = Field(description="Of the outputs, by phase.")
    events: list[HistoryEvent] = Field(description="Those in between, at most 1,000; none between two flows.")
    events_total: int
    event_counts: list[EventCount]
