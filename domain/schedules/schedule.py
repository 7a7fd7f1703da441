"""One schedule: what its history adds up to, what each event makes of it, and what it has to do next.

`evolve` never checks, never raises and asks no calendar: it is told what happened.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from datetime import datetime, timedelta
from enum import StrEnum
from functools import reduce
from itertools import islice
from typing import Any, NamedTuple, assert_never
from uuid import UUID, uuid5

import msgspec
from msgspec.structs import replace

from domain.flow import Meta
from domain.schedules.events import (
    BackfillRequested,
    FiringBuffered,
    FiringSkipped,
    FiringsMissed,
    Kind,
    Overlap,
    ScheduleCreated,
    ScheduleDeleted,
    ScheduleEnded,
    ScheduleEvent,
    ScheduleFired,
    ScheduleFlowCreated,
    ScheduleFlowRefused,
    SchedulePaused,
    ScheduleResumed,
    ScheduleTriggered,
    ScheduleUpdated,
    Settings,
)
from domain.schedules.timing import between, fire_at, zone_of
from domain.words import SYSTEM_USER

Json = dict[str, Any]

RECHECK_SECONDS = 1.0


class State(StrEnum):
    """Where a schedule stands."""

    ACTIVE = "active"
    PAUSED = "paused"
    ENDED = "ended"
    DELETED = "deleted"


class ScheduleRecorded(msgspec.Struct, frozen=True):
    """A fact with its place in the schedule's history; versions count from 1 without gaps."""

    schedule_id: UUID
    version: int
    meta: Meta
    fact: ScheduleEvent


class Firing(msgspec.Struct, frozen=True, kw_only=True):
    """A firing whose flow has still to be made; `version` is that of the fact that decided it."""

    nominal_at: datetime
    kind: Kind
    flow_id: UUID
    flow_name: str
    version: int
    cancels: tuple[UUID, ...] = ()
    backfill_id: UUID | None = None


class Requested(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody's wish for a flow now, not yet seen to."""

    nominal_at: datetime
    overlap: Overlap | None = None


class Buffered(msgspec.Struct, frozen=True, kw_only=True):
    """A time that waits for the flow that is running."""

    nominal_at: datetime
    kind: Kind


class Backfill(msgspec.Struct, frozen=True, kw_only=True):
    """A range of the past being made up: `left` times from `next_at` to `to_at`, `running` its flows that had not ended."""

    backfill_id: UUID
    next_at: datetime
    to_at: datetime
    at_most: int
    left: int
    running: tuple[UUID, ...] = ()


class Paused(msgspec.Struct, frozen=True, kw_only=True):
    """Who paused the schedule, when and why."""

    by: str
    at: datetime
    reason: str | None


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """What one schedule's history adds up to. A schedule that does not exist has version 0.

    `next_at` is the nominal time that comes next, `decided_at` the last one that was decided: time never goes back behind
    it, whatever the clock does. `firings` counts the timetable's own flows, `flows` all. `running` are flows begun by the
    timetable or a trigger that had not ended when that was last looked at.
    """

    id: UUID
    version: int = 0
    state: State = State.ACTIVE
    settings: Settings | None = None
    client_account_id: UUID | None = None
    engagement_id: UUID | None = None
    actor: str = ""
    correlation_id: str = ""
    created_by: str = ""
    updated_by: str = ""
    created_at: datetime | None = None
    updated_at: datetime | None = None
    next_at: datetime | None = None
    decided_at: datetime | None = None
    firings: int = 0
    flows: int = 0
    last_fired_at: datetime | None = None
    last_flow_id: UUID | None = None
    running: tuple[UUID, ...] = ()
    pending: tuple[Firing, ...] = ()
    requested: tuple[Requested, ...] = ()
    buffered: Buffered | None = None
    backfill: Backfill | None = None
    paused: Paused | None = None
    end_reason: str | None = None

    @property
    def exists(self) -> bool:
        return self.version > 0

    @property
    def known(self) -> Settings:
        """The settings of a schedule that exists."""
        assert self.settings is not None
        return self.settings

    @property
    def spent(self) -> int:
        """How many of `max_firings` are used or promised."""
        return self.firings + (self.buffered is not None and self.buffered.kind is Kind.SCHEDULED)


class Step(NamedTuple):
    """The next thing that a schedule has to decide."""

    kind: Kind
    nominal_at: datetime
    buffered: bool = False


def flow_id_of(schedule_id: UUID, nominal_at: datetime) -> UUID:
    """The id of the flow of a nominal time: a time has one flow, whoever makes it and however often it is tried."""
    return uuid5(schedule_id, nominal_at.isoformat())


def flow_name_of(schedule: Schedule, nominal_at: datetime) -> str:
    """The flow's name by the template's pattern; at most 255 characters."""
    settings = schedule.known
    local = nominal_at.astimezone(zone_of(settings.timing))
    name = settings.flow.flow_name.format(
        schedule=settings.name,
        number=schedule.flows + 1,
        nominal=local.isoformat(timespec="seconds"),
        date=local.strftime("%Y-%m-%d"),
        time=local.strftime("%H:%M"),
    )
    return name[:255]


def still_running(flows: Iterable[UUID], over: Collection[UUID]) -> tuple[UUID, ...]:
    """Those of the flows that have not ended."""
    return tuple(flow for flow in flows if flow not in over)


def due(schedule: Schedule, at: datetime, over: Collection[UUID] = ()) -> Step | None:
    """What the schedule has to decide at this time; `over` are flows of it that have ended."""
    if not schedule.exists or schedule.state is State.DELETED:
        return None
    if schedule.requested:
        return Step(Kind.TRIGGERED, schedule.requested[0].nominal_at)
    if schedule.state is State.PAUSED:
        return None
    buffered, backfill = schedule.buffered, schedule.backfill
    if buffered is not None and not still_running(schedule.running, over):
        return Step(buffered.kind, buffered.nominal_at, buffered=True)
    if schedule.next_at is not None and fire_at(schedule.id, schedule.known, schedule.next_at) <= at:
        return Step(Kind.SCHEDULED, schedule.next_at)
    if backfill is not None and len(still_running(backfill.running, over)) < backfill.at_most:
        return Step(Kind.BACKFILL, backfill.next_at)
    return None


def next_fire_at(schedule: Schedule) -> datetime | None:
    """When the timetable's next firing is due; none while nothing comes by itself."""
    if schedule.next_at is None or schedule.state is not State.ACTIVE:
        return None
    return fire_at(schedule.id, schedule.known, schedule.next_at)


def waits(schedule: Schedule) -> bool:
    """Whether something else than its own next time has to be seen to: a wish, or the end of a flow."""
    if schedule.pending or schedule.requested:
        return True
    if schedule.state in (State.DELETED, State.PAUSED):
        return False
    return schedule.buffered is not None or schedule.backfill is not None


def look_at(schedule: Schedule, at: datetime, seconds: float = RECHECK_SECONDS) -> datetime | None:
    """When the schedule is to be looked at after `at`: at its next time or, where it waits, in so many seconds at most."""
    if schedule.pending or schedule.requested:
        return at
    own = next_fire_at(schedule)
    if not waits(schedule):
        return own
    backfill = schedule.backfill
    if backfill is not None and len(backfill.running) < backfill.at_most:
        return at
    again = at + timedelta(seconds=seconds)
    return again if own is None else min(own, again)


def upcoming(schedule: Schedule, at: datetime, count: int) -> list[tuple[datetime, datetime]]:
    """The next nominal times and when each fires, as the timetable has them now; at most `count`, none once it has ended."""
    settings = schedule.settings
    if settings is None or schedule.state in (State.ENDED, State.DELETED) or schedule.next_at is None:
        return []
    if settings.max_firings is not None:
        count = min(count, settings.max_firings - schedule.spent)
    first = schedule.next_at
    if schedule.state is State.PAUSED:
        first = max(first, at)
    found = between(settings, first - timedelta(microseconds=1))
    return [(nominal, fire_at(schedule.id, settings, nominal)) for nominal in islice(found, count)]


def allowed(schedule: Schedule) -> list[str]:
    """The verbs that the schedule takes now, in the words of the HTTP routes."""
    match schedule.state:
        case State.ACTIVE:
            return ["pause", "trigger", "backfill", "update", "delete"]
        case State.PAUSED:
            return ["resume", "trigger", "update", "delete"]
        case State.ENDED:
            return ["update", "delete"]
        case _:
            return []


def view(schedule: Schedule) -> Json:
    """A schedule as readers see it; times as datetime, ids as UUID."""
    settings = schedule.known
    shown: Json = msgspec.to_builtins(settings, builtin_types=(datetime, UUID))
    shown["timing"] = {name: value for name, value in shown["timing"].items() if value is not None}
    firing = next_fire_at(schedule)
    backfill, buffered = schedule.backfill, schedule.buffered
    return {
        "schedule_id": schedule.id,
        "state": str(schedule.state),
        **shown,
        "next_at": schedule.next_at if firing is not None else None,
        "next_fire_at": firing,
        "last_fired_at": schedule.last_fired_at,
        "last_flow_id": schedule.last_flow_id,
        "firings": schedule.firings,
        "flows": schedule.flows,
        "running": list(schedule.running),
        "buffered_at": buffered.nominal_at if buffered is not None else None,
        "requested": [
            {"nominal_at": each.nominal_at, "flow_id": flow_id_of(schedule.id, each.nominal_at)}
            for each in schedule.requested
        ],
        "backfill": None
        if backfill is None
        else {
            "backfill_id": backfill.backfill_id,
            "next_at": backfill.next_at,
            "to_at": backfill.to_at,
            "at_most": backfill.at_most,
            "left": backfill.left,
        },
        "paused": msgspec.to_builtins(schedule.paused, builtin_types=(datetime,)),
        "end_reason": schedule.end_reason,
        "actor": schedule.actor,
        "allowed": allowed(schedule),
        "created_at": schedule.created_at,
        "created_by": schedule.created_by,
        "updated_at": schedule.updated_at,
        "updated_by": schedule.updated_by,
        "version": schedule.version,
    }


def fold(schedule: Schedule, history: Iterable[ScheduleRecorded]) -> Schedule:
    """The schedule after all of `history`."""
    return reduce(evolve, history, schedule)


def evolve(schedule: Schedule, recorded: ScheduleRecorded) -> Schedule:
    """The schedule after one more fact."""
    fact, meta = recorded.fact, recorded.meta
    schedule = replace(
        schedule,
        version=recorded.version,
        updated_at=meta.at,
        updated_by=schedule.updated_by if meta.user_id == SYSTEM_USER else meta.user_id,
        correlation_id=meta.correlation_id,
    )
    match fact:
        case ScheduleCreated():
            return replace(
                schedule,
                settings=fact.settings,
                client_account_id=meta.client_account_id,
                engagement_id=meta.engagement_id,
                actor=meta.user_id,
                created_by=meta.user_id,
                created_at=meta.at,
                next_at=fact.next_at,
            )
        case ScheduleUpdated():
            reopened = schedule.state is State.ENDED and fact.next_at is not None
            return replace(
                schedule,
                settings=fact.settings,
                actor=meta.user_id,
                next_at=fact.next_at,
                state=State.ACTIVE if reopened else schedule.state,
                end_reason=None if reopened else schedule.end_reason,
            )
        case SchedulePaused():
            paused = Paused(by=meta.user_id, at=meta.at, reason=fact.reason)
            return replace(schedule, state=State.PAUSED, paused=paused)
        case ScheduleResumed():
            return replace(schedule, state=State.ACTIVE, paused=None)
        case ScheduleTriggered():
            wish = Requested(nominal_at=fact.nominal_at, overlap=fact.overlap)
            return replace(schedule, requested=(*schedule.requested, wish))
        case BackfillRequested():
            backfill = Backfill(
                backfill_id=fact.backfill_id,
                next_at=fact.next_at,
                to_at=fact.to_at,
                at_most=fact.at_most,
                left=fact.count,
            )
            return replace(schedule, backfill=backfill)
        case ScheduleFired():
            return _fired(schedule, recorded, fact)
        case ScheduleFlowCreated():
            return replace(schedule, pending=_without(schedule.pending, fact.flow_id))
        case ScheduleFlowRefused():
            return _refused(schedule, fact)
        case FiringSkipped():
            return _answered(schedule, fact, running=fact.running)
        case FiringBuffered():
            waiting = Buffered(nominal_at=fact.nominal_at, kind=fact.kind)
            return replace(_answered(schedule, fact, running=fact.running), buffered=waiting)
        case FiringsMissed():
            return replace(schedule, next_at=fact.next_at, decided_at=_later(schedule.decided_at, fact.nominal_at))
        case ScheduleEnded():
            return replace(schedule, state=State.ENDED, end_reason=fact.reason, next_at=None)
        case ScheduleDeleted():
            return replace(
                schedule,
                state=State.DELETED,
                next_at=None,
                requested=(),
                buffered=None,
                backfill=None,
                paused=None,
            )
        case _:  # pragma: no cover
            assert_never(fact)


def _fired(schedule: Schedule, recorded: ScheduleRecorded, fact: ScheduleFired) -> Schedule:
    firing = Firing(
        nominal_at=fact.nominal_at,
        kind=fact.kind,
        flow_id=fact.flow_id,
        flow_name=fact.flow_name,
        version=recorded.version,
        cancels=fact.cancels,
        backfill_id=fact.backfill_id,
    )
    begun = (*fact.running, fact.flow_id)
    return replace(
        _answered(schedule, fact, running=begun),
        pending=(*schedule.pending, firing),
        flows=schedule.flows + 1,
        firings=schedule.firings + (fact.kind is Kind.SCHEDULED),
        last_fired_at=recorded.meta.at,
        last_flow_id=fact.flow_id,
    )


def _answered(
    schedule: Schedule, fact: ScheduleFired | FiringSkipped | FiringBuffered, running: tuple[UUID, ...]
) -> Schedule:
    """What was due at this time has been decided."""
    if fact.kind is Kind.BACKFILL:
        backfill = schedule.backfill
        if backfill is None or fact.next_at is None:
            return replace(schedule, backfill=None)
        left = replace(backfill, next_at=fact.next_at, left=backfill.left - 1, running=running)
        return replace(schedule, backfill=left)
    schedule = replace(schedule, running=running)
    if not isinstance(fact, FiringBuffered) and fact.buffered:
        return replace(schedule, buffered=None)
    if fact.kind is Kind.TRIGGERED:
        left_over = tuple(each for each in schedule.requested if each.nominal_at != fact.nominal_at)
        return replace(schedule, requested=left_over)
    return replace(schedule, next_at=fact.next_at, decided_at=_later(schedule.decided_at, fact.nominal_at))


def _refused(schedule: Schedule, fact: ScheduleFlowRefused) -> Schedule:
    gone = (fact.flow_id,)
    backfill = schedule.backfill
    return replace(
        schedule,
        pending=_without(schedule.pending, fact.flow_id),
        running=still_running(schedule.running, gone),
        backfill=backfill and replace(backfill, running=still_running(backfill.running, gone)),
    )


def _without(pending: tuple[Firing, ...], flow_id: UUID) -> tuple[Firing, ...]:
    return tuple(each for each in pending if each.flow_id != flow_id)


def _later(one: datetime | None, other: datetime) -> datetime:
    return other if one is None else max(one, other)


def flows_of(schedule: Schedule) -> Iterator[UUID]:
    """The flows whose end matters to what comes next."""
    yield from schedule.running
    if schedule.backfill is not None:
        yield from schedule.backfill.running
