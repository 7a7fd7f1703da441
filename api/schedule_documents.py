"""The shapes of the answers about schedules, as the OpenAPI document tells them."""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import Field

from api.documents import Document, HistoryEvent, Json

ScheduleState = Literal["active", "paused", "ended", "deleted"]
FiringKind = Literal["scheduled", "triggered", "backfill"]


class TimingView(Document):
    """When a schedule fires."""

    cron: str | None = None
    time_zone: str
    interval_seconds: int | None = None
    anchor_at: datetime | None = None
    at: datetime | None = None


class TemplateView(Document):
    """The flows that a schedule makes. A value moved to an artifact is `{"$artifact", "size_bytes"}`."""

    flow_type: str
    flow_name: str
    flow_description: str | None
    flow_tags: list[str]
    initial_data: Json
    options: Json


class RequestedView(Document):
    """A trigger that waits, and the flow that it will make."""

    nominal_at: datetime
    flow_id: UUID


class BackfillView(Document):
    """A range of the past being made up."""

    backfill_id: UUID
    next_at: datetime
    to_at: datetime
    at_most: int
    left: int


class SchedulePauseView(Document):
    """Who paused the schedule, when and why."""

    by: str
    at: datetime
    reason: str | None


class ScheduleView(Document):
    """A schedule as its history tells it."""

    schedule_id: UUID
    state: ScheduleState
    name: str
    description: str | None
    timing: TimingView
    flow: TemplateView
    overlap: Literal["skip", "buffer_one", "allow", "cancel_running"]
    catch_up_window_seconds: float
    jitter_seconds: float
    start_at: datetime | None
    end_at: datetime | None
    max_firings: int | None
    next_at: datetime | None = Field(
        description="The nominal time that comes next; null while nothing comes by itself."
    )
    next_fire_at: datetime | None = Field(description="When its firing is due: later by the jitter.")
    last_fired_at: datetime | None
    last_flow_id: UUID | None
    firings: int = Field(description="Flows of the timetable so far; `max_firings` counts these.")
    flows: int = Field(description="All flows so far, those of triggers and backfills too.")
    running: list[UUID] = Field(description="Its flows that had not ended when that was last looked at.")
    buffered_at: datetime | None = Field(description="The time that waits for the flow that is running.")
    requested: list[RequestedView]
    backfill: BackfillView | None
    paused: SchedulePauseView | None
    end_reason: Literal["max_firings", "end_at", "no_more_times"] | None
    actor: str = Field(description="In whose name the flows are made: whoever made the schedule, or changed it last.")
    allowed: list[str] = Field(description="The verbs that the schedule takes now.")
    created_at: datetime
    created_by: str
    updated_at: datetime
    updated_by: str
    version: int


class ScheduleAnswered(ScheduleView):
    """A schedule after a command."""

    position: str | None = Field(description="Place in the log: `<shard>:<n>`, opaque.")


class ScheduleList(Document):
    """A page of schedules, the newest first."""

    schedules: list[ScheduleView]
    total: int
    next_cursor: str | None


class FiringView(Document):
    """What became of a nominal time."""

    nominal_at: datetime
    occurred_at: datetime = Field(description="When it was decided, or its flow was made.")
    kind: FiringKind
    outcome: Literal["flow", "skipped", "missed", "buffered", "refused"]
    flow_id: UUID | None
    flow_name: str | None
    reason: str | None = Field(description="skipped: overlap, buffer_full, has_flow; missed: down, paused.")
    error: Json | None = Field(description="refused: why the flow could not be made.")
    count: int = Field(description="How many times this is about: more than one only where they were missed.")
    before_at: datetime | None = Field(description="missed: all times from `nominal_at` on and before this one.")
    version: int
    position: str


class FiringList(Document):
    """A page of a schedule's firings, the newest first."""

    firings: list[FiringView]
    next_cursor: str | None


class ScheduleEvents(Document):
    """A page of a schedule's events, ascending."""

    events: list[HistoryEvent]
    total: int
    next_cursor: str | None


class NextTime(Document):
    """A time to come."""

    nominal_at: datetime
    local: str = Field(description="The nominal time in the schedule's time zone.")
    fire_at: datetime


class NextTimes(Document):
    """The times to come, as the timetable has them now."""

    times: list[NextTime]
    total: int
    next_cursor: str | None
