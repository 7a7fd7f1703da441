"""Schedules in tests: one good example of every event, and given/when/then for what a schedule answers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from msgspec.structs import replace

from domain.errors import MfoError
from domain.flow import Meta
from domain.flow_types import FlowCapabilities, FlowTypes
from domain.schedules.commands import CreateSchedule, FireSchedule, ScheduleCommand
from domain.schedules.decide import ScheduleStory, decide
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
    Template,
    Timing,
)
from domain.schedules.schedule import Schedule, due, flow_id_of
from tests import examples
from tests.spec import meta

Json = dict[str, Any]

SCHEDULE_ID = UUID("66666666-6666-4666-8666-666666666666")
FLOW_ID = UUID("77777777-7777-4777-8777-777777777777")
BACKFILL_ID = UUID("88888888-8888-4888-8888-888888888888")
NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
ONE = NOW + HOUR

SETTINGS = Settings(
    name="Nightly",
    description="An example",
    timing=Timing(cron="30 6 * * *", time_zone="Europe/Berlin"),
    flow=Template(
        flow_type="hourly",
        flow_name="{schedule} {date}",
        flow_description="Made by a schedule",
        flow_tags=("example",),
        initial_data={"environment": "production"},
        options={"auto_execute": True, "max_retries": 1},
    ),
    overlap=Overlap.BUFFER_ONE,
    catch_up_window_seconds=600.0,
    jitter_seconds=30.0,
    start_at=NOW,
    end_at=NOW + 100 * HOUR,
    max_firings=7,
)
EVENTS: tuple[ScheduleEvent, ...] = (
    ScheduleCreated(settings=SETTINGS, next_at=ONE),
    ScheduleUpdated(settings=replace(SETTINGS, name="Daily"), next_at=ONE),
    SchedulePaused(reason="lunch"),
    ScheduleResumed(reason="back"),
    ScheduleTriggered(nominal_at=NOW, overlap=Overlap.ALLOW, reason="at once"),
    BackfillRequested(
        backfill_id=BACKFILL_ID,
        from_at=NOW - 3 * HOUR,
        to_at=NOW,
        next_at=NOW - 3 * HOUR,
        count=4,
        at_most=2,
        reason="holes",
    ),
    ScheduleFired(
        nominal_at=ONE,
        kind=Kind.SCHEDULED,
        flow_id=FLOW_ID,
        flow_name="Nightly 2026-11-20",
        next_at=ONE + HOUR,
        cancels=(examples.FLOW_ID,),
    ),
    ScheduleFlowCreated(nominal_at=ONE, kind=Kind.SCHEDULED, flow_id=FLOW_ID, flow_name="Nightly 2026-11-20"),
    ScheduleFlowRefused(
        nominal_at=ONE, kind=Kind.SCHEDULED, flow_id=FLOW_ID, error={"code": "flow_type_unknown", "detail": "none such"}
    ),
    FiringSkipped(
        nominal_at=ONE, kind=Kind.SCHEDULED, reason="overlap", running=(examples.FLOW_ID,), next_at=ONE + HOUR
    ),
    FiringBuffered(nominal_at=ONE, kind=Kind.SCHEDULED, running=(examples.FLOW_ID,), next_at=ONE + HOUR),
    FiringsMissed(nominal_at=ONE, before_at=ONE + 5 * HOUR, count=5, reason="down", next_at=ONE + 5 * HOUR),
    ScheduleEnded(reason="max_firings"),
    ScheduleDeleted(reason="no longer wanted"),
)


def schedule_types() -> FlowTypes:
    """A type that can be scheduled, and one that cannot."""
    known = FlowTypes()
    hourly = replace(examples.PATIENT, name="hourly", capabilities=FlowCapabilities(supports_scheduling=True))
    for config in (hourly, examples.STEADY):
        known.register(config, handlers=["work"], validators=[])
    return known


TYPES = schedule_types()


def at(when: datetime, user_id: str = "maria") -> Meta:
    """Who asks, and when."""
    return replace(meta(user_id), at=when)


def create(**fields: Any) -> CreateSchedule:
    """A schedule that fires every full hour."""
    given = {
        "schedule_id": SCHEDULE_ID,
        "name": "Hourly",
        "timing": {"cron": "0 * * * *"},
        "flow": {"flow_type": "hourly"},
        **fields,
    }
    return CreateSchedule.model_validate(given)


@dataclass
class Clock:
    """A schedule, and the time that its commands come at."""

    schedule: Schedule
    when: datetime = NOW

    def asked(self, command: ScheduleCommand, when: datetime | None = None, user_id: str = "maria") -> ScheduleStory:
        """What comes of a command; the schedule is that after it."""
        self.when = when or self.when
        story = decide(self.schedule, command, at(self.when, user_id), TYPES)
        self.schedule = story.schedule
        return story

    def facts(
        self, command: ScheduleCommand, when: datetime | None = None, user_id: str = "maria"
    ) -> list[ScheduleEvent]:
        return [each.fact for each in self.asked(command, when, user_id).facts]

    def refused(self, command: ScheduleCommand, when: datetime | None = None) -> MfoError:
        """The refusal of a command."""
        try:
            self.asked(command, when)
        except MfoError as error:
            return error
        raise AssertionError("not refused")

    def fires(
        self, when: datetime | None = None, *, over: tuple[UUID, ...] = (), exists: bool = False
    ) -> list[ScheduleEvent]:
        """What the scheduler makes of what is due; nothing where nothing is."""
        self.when = when or self.when
        step = due(self.schedule, self.when, over)
        if step is None:
            return []
        command = FireSchedule(
            schedule_id=SCHEDULE_ID,
            kind=step.kind,
            nominal_at=step.nominal_at,
            buffered=step.buffered,
            over=over,
            exists=exists,
        )
        return self.facts(command, user_id="mfo")


def made(**fields: Any) -> Clock:
    """A schedule just made, at midday."""
    clock = Clock(Schedule(id=SCHEDULE_ID))
    clock.asked(create(**fields))
    return clock


def flow(nominal: datetime) -> UUID:
    """The flow of a nominal time."""
    return flow_id_of(SCHEDULE_ID, nominal)
