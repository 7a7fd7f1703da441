"""What happened to a schedule: one class per fact, and what a schedule is made of.

A fact's wire name is `mfo.schedule.<name>.v1`. Facts carry every time that follows from them (`next_at`), so that reading a
history asks no calendar: a time zone that changes its rules changes what comes, never what was.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import msgspec

Json = dict[str, Any]


class Overlap(StrEnum):
    """What happens when the flow begun before has not ended yet."""

    SKIP = "skip"
    BUFFER_ONE = "buffer_one"
    ALLOW = "allow"
    CANCEL_RUNNING = "cancel_running"


class Kind(StrEnum):
    """Why a firing came about."""

    SCHEDULED = "scheduled"
    TRIGGERED = "triggered"
    BACKFILL = "backfill"


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """When a schedule fires; one of `cron`, `interval_seconds` and `at` is given. Intervals count from `anchor_at`."""

    cron: str | None = None
    time_zone: str = "UTC"
    interval_seconds: int | None = None
    anchor_at: datetime | None = None
    at: datetime | None = None


class Template(msgspec.Struct, frozen=True, kw_only=True):
    """The flows that a schedule makes; `flow_name` may hold `{schedule}, {number}, {nominal}, {date}, {time}`."""

    flow_type: str
    flow_name: str
    flow_description: str | None = None
    flow_tags: tuple[str, ...] = ()
    initial_data: Json = {}
    options: Json = {}


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that can be said of a schedule and changed later. Times are in seconds."""

    name: str
    timing: Timing
    flow: Template
    description: str | None = None
    overlap: Overlap = Overlap.SKIP
    catch_up_window_seconds: float = 3600.0
    jitter_seconds: float = 0.0
    start_at: datetime | None = None
    end_at: datetime | None = None
    max_firings: int | None = None


class ScheduleEventBase(msgspec.Struct, frozen=True, kw_only=True):
    """A fact about one schedule."""


class ScheduleCreated(ScheduleEventBase, frozen=True, kw_only=True):
    settings: Settings
    next_at: datetime


class ScheduleUpdated(ScheduleEventBase, frozen=True, kw_only=True):
    settings: Settings
    next_at: datetime | None


class SchedulePaused(ScheduleEventBase, frozen=True, kw_only=True):
    reason: str | None = None


class ScheduleResumed(ScheduleEventBase, frozen=True, kw_only=True):
    reason: str | None = None


class ScheduleTriggered(ScheduleEventBase, frozen=True, kw_only=True):
    """Somebody wants a flow now, whatever the timetable says."""

    nominal_at: datetime
    overlap: Overlap | None = None
    reason: str | None = None


class BackfillRequested(ScheduleEventBase, frozen=True, kw_only=True):
    """The times of a range are made up: `count` of them from `next_at` on, at most `at_most` flows at once."""

    backfill_id: UUID
    from_at: datetime
    to_at: datetime
    next_at: datetime
    count: int
    at_most: int
    reason: str | None = None


class ScheduleFired(ScheduleEventBase, frozen=True, kw_only=True):
    """A flow is to be made for a nominal time. `cancels` are the flows that have to give way, `running` those that need not.

    `next_at` is the nominal time that follows: the timetable's, or the backfill's.
    """

    nominal_at: datetime
    kind: Kind
    flow_id: UUID
    flow_name: str
    buffered: bool = False
    next_at: datetime | None = None
    running: tuple[UUID, ...] = ()
    cancels: tuple[UUID, ...] = ()
    backfill_id: UUID | None = None


class ScheduleFlowCreated(ScheduleEventBase, frozen=True, kw_only=True):
    """The flow of a firing has begun its life."""

    nominal_at: datetime
    kind: Kind
    flow_id: UUID
    flow_name: str


class ScheduleFlowRefused(ScheduleEventBase, frozen=True, kw_only=True):
    """The flow of a firing could not be made; `error` is `{code, detail, ...}`."""

    nominal_at: datetime
    kind: Kind
    flow_id: UUID
    error: Json


class FiringSkipped(ScheduleEventBase, frozen=True, kw_only=True):
    """A nominal time passes without a flow: `overlap`, `buffer_full` or `has_flow` (it has one already)."""

    nominal_at: datetime
    kind: Kind
    reason: str
    buffered: bool = False
    running: tuple[UUID, ...] = ()
    next_at: datetime | None = None


class FiringBuffered(ScheduleEventBase, frozen=True, kw_only=True):
    """A nominal time waits until the flow that is running has ended."""

    nominal_at: datetime
    kind: Kind
    running: tuple[UUID, ...] = ()
    next_at: datetime | None = None


class FiringsMissed(ScheduleEventBase, frozen=True, kw_only=True):
    """The nominal times from `nominal_at` on and before `before_at` passed without a flow: `down` or `paused`.

    `count` stops at 10,000, and `more` then says so.
    """

    nominal_at: datetime
    before_at: datetime
    count: int
    reason: str
    more: bool = False
    next_at: datetime | None = None


class ScheduleEnded(ScheduleEventBase, frozen=True, kw_only=True):
    """No time is left: `max_firings`, `end_at` or `no_more_times`."""

    reason: str


class ScheduleDeleted(ScheduleEventBase, frozen=True, kw_only=True):
    reason: str | None = None


ScheduleEvent = (
    ScheduleCreated
    | ScheduleUpdated
    | SchedulePaused
    | ScheduleResumed
    | ScheduleTriggered
    | BackfillRequested
    | ScheduleFired
    | ScheduleFlowCreated
    | ScheduleFlowRefused
    | FiringSkipped
    | FiringBuffered
    | FiringsMissed
    | ScheduleEnded
    | ScheduleDeleted
)

SCHEDULE_EVENTS: tuple[type[ScheduleEvent], ...] = (
    ScheduleCreated,
    ScheduleUpdated,
    SchedulePaused,
    ScheduleResumed,
    ScheduleTriggered,
    BackfillRequested,
    ScheduleFired,
    ScheduleFlowCreated,
    ScheduleFlowRefused,
    FiringSkipped,
    FiringBuffered,
    FiringsMissed,
    ScheduleEnded,
    ScheduleDeleted,
)

SCHEDULE_PREFIX = "mfo.schedule."
SCHEDULE_TOPICS: dict[type[ScheduleEvent], str] = {
    event: f"{SCHEDULE_PREFIX}{event.__name__}.v1" for event in SCHEDULE_EVENTS
}
SCHEDULE_BY_TOPIC: dict[str, type[ScheduleEvent]] = {topic: event for event, topic in SCHEDULE_TOPICS.items()}
