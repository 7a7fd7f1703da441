"""What a schedule answers to a command: facts, silence for a repeat or for what no longer matters, or a refusal.

`decide` is pure: time and actor come in with the command's `Meta`, which flows have ended comes in with `FireSchedule`.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import islice
from typing import Any, assert_never
from uuid import uuid5

from msgspec.structs import replace

from domain.errors import (
    BackfillTooLarge,
    FieldError,
    ScheduleBusy,
    ScheduleExists,
    ScheduleInvalid,
    ScheduleIsOver,
    ScheduleNotFound,
    ScheduleNotPaused,
    SchedulePausedNow,
    SchedulingNotSupported,
    VersionMoved,
)
from domain.flow import Meta
from domain.flow_types import FlowTypes
from domain.schedules.commands import (
    BackfillSchedule,
    CreateSchedule,
    DeleteSchedule,
    FireSchedule,
    FlowTemplate,
    PauseSchedule,
    ReportFiring,
    ResumeSchedule,
    ScheduleCommand,
    ScheduleTiming,
    TriggerSchedule,
    UpdateSchedule,
)
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
from domain.schedules.schedule import (
    Backfill,
    Schedule,
    ScheduleRecorded,
    State,
    Step,
    allowed,
    due,
    evolve,
    flow_id_of,
    flow_name_of,
    still_running,
)
from domain.schedules.timing import between, fire_at, occurrences

Json = dict[str, Any]

# what is late by less was not missed: a busy machine, a restart
GRACE_SECONDS = 60.0
COUNTED = 10_000
MOST_MADE_UP = 1000
MOST_REQUESTED = 10
TICK = timedelta(microseconds=1)
RENEWED = frozenset({"timing", "start_at", "end_at", "max_firings"})


class ScheduleStory:
    """A decision being told: each fact is added to the history, and the schedule is what it makes of it."""

    __slots__ = ("facts", "meta", "schedule")

    def __init__(self, schedule: Schedule, meta: Meta) -> None:
        self.schedule = schedule
        self.meta = meta
        self.facts: list[ScheduleRecorded] = []

    def tell(self, fact: ScheduleEvent) -> None:
        recorded = ScheduleRecorded(self.schedule.id, self.schedule.version + 1, self.meta, fact)
        self.schedule = evolve(self.schedule, recorded)
        self.facts.append(recorded)


def decide(
    schedule: Schedule, command: ScheduleCommand, meta: Meta, types: FlowTypes, *, expected_version: int | None = None
) -> ScheduleStory:
    """What `command` brings about: the facts and the schedule after them; no facts is silence.

    Raises a `Refused` error when the schedule says no, and TypeUnknown for a flow type that there is not.
    """
    story = ScheduleStory(schedule, meta)
    if isinstance(command, CreateSchedule):
        if expected_version and not schedule.exists:
            raise VersionMoved(f"there is no schedule yet, and none at version {expected_version}")
        _create(story, command, types)
        return story
    owner = (schedule.client_account_id, schedule.engagement_id)
    if not schedule.exists or owner != (meta.client_account_id, meta.engagement_id):
        raise ScheduleNotFound
    if expected_version is not None and expected_version != schedule.version:
        raise VersionMoved(
            f"the schedule is at version {schedule.version}, not {expected_version}; read it again and decide anew",
            allowed=allowed(schedule),
        )
    match command:
        case UpdateSchedule():
            _update(story, command, types)
        case PauseSchedule():
            _pause(story, command)
        case ResumeSchedule():
            _resume(story, command)
        case TriggerSchedule():
            _trigger(story, command)
        case BackfillSchedule():
            _backfill(story, command)
        case DeleteSchedule():
            if schedule.state is not State.DELETED:
                story.tell(ScheduleDeleted(reason=command.reason))
        case FireSchedule():
            _fire(story, command)
        case ReportFiring():
            _report(story, command)
        case _:  # pragma: no cover
            assert_never(command)  # type: ignore[arg-type]
    return story


def _create(story: ScheduleStory, command: CreateSchedule, types: FlowTypes) -> None:
    if story.schedule.exists:
        raise ScheduleExists
    at = story.meta.at
    settings = Settings(
        name=command.name,
        description=command.description,
        timing=_timing(command.timing, command.start_at or at),
        flow=_template(command.flow, types),
        overlap=command.overlap,
        catch_up_window_seconds=command.catch_up_window_seconds,
        jitter_seconds=command.jitter_seconds,
        start_at=command.start_at,
        end_at=command.end_at,
        max_firings=command.max_firings,
    )
    _sound(settings, at)
    story.tell(ScheduleCreated(settings=settings, next_at=_first(settings, at)))


def _update(story: ScheduleStory, command: UpdateSchedule, types: FlowTypes) -> None:
    schedule, at = story.schedule, story.meta.at
    if schedule.state is State.DELETED:
        raise ScheduleIsOver("the schedule has been deleted; make a new one")
    given: Json = {name: getattr(command, name) for name in command.model_fields_set - {"schedule_id"}}
    if command.timing is not None:
        start = given.get("start_at", schedule.known.start_at)
        given["timing"] = _timing(command.timing, start or at)
    if command.flow is not None:
        given["flow"] = _template(command.flow, types)
    settings = replace(schedule.known, **given)
    if settings == schedule.known:
        return
    _sound(settings, at)
    following = schedule.next_at
    if RENEWED & given.keys():
        used_up = settings.max_firings is not None and schedule.spent >= settings.max_firings
        if used_up:
            raise ScheduleInvalid(
                f"max_firings must be more than the {schedule.spent} that there have been",
                errors=[FieldError("max_firings", f"must be more than {schedule.spent}")],
            )
        following = _first(settings, max(at, schedule.decided_at or at))
    story.tell(ScheduleUpdated(settings=settings, next_at=following))


def _pause(story: ScheduleStory, command: PauseSchedule) -> None:
    if story.schedule.state is State.PAUSED:
        return
    _not_over(story.schedule)
    story.tell(SchedulePaused(reason=command.reason))


def _resume(story: ScheduleStory, command: ResumeSchedule) -> None:
    schedule = story.schedule
    _not_over(schedule)
    if schedule.state is not State.PAUSED:
        raise ScheduleNotPaused(allowed=allowed(schedule))
    story.tell(ScheduleResumed(reason=command.reason))
    if schedule.next_at is not None and fire_at(schedule.id, schedule.known, schedule.next_at) <= story.meta.at:
        _miss(story, schedule.next_at, story.meta.at, "paused")


def _trigger(story: ScheduleStory, command: TriggerSchedule) -> None:
    schedule = story.schedule
    _not_over(schedule)
    if len(schedule.requested) >= MOST_REQUESTED:
        raise ScheduleBusy(f"{MOST_REQUESTED} triggers wait already; try again in a moment")
    nominal_at = story.meta.at
    while any(each.nominal_at == nominal_at for each in schedule.requested):
        nominal_at += TICK
    story.tell(ScheduleTriggered(nominal_at=nominal_at, overlap=command.overlap, reason=command.reason))


def _backfill(story: ScheduleStory, command: BackfillSchedule) -> None:
    schedule = story.schedule
    _not_over(schedule)
    if schedule.state is State.PAUSED:
        raise SchedulePausedNow(allowed=allowed(schedule))
    if schedule.backfill is not None:
        raise ScheduleBusy(f"a backfill is under way, {schedule.backfill.left} times are left; wait for its end")
    if not command.from_at <= command.to_at <= story.meta.at:
        raise ScheduleInvalid(
            "from_at must not be later than to_at, and to_at must have passed",
            errors=[FieldError("to_at", "must not be before from_at, nor in the future")],
        )
    times = [
        nominal
        for nominal in islice(occurrences(schedule.known.timing, command.from_at - TICK), command.limit + 1)
        if nominal <= command.to_at
    ]
    if not times:
        raise ScheduleInvalid(
            "the range holds no time of this schedule; nothing is to be made up",
            errors=[FieldError("from_at", "no time of this schedule between from_at and to_at")],
        )
    if len(times) > command.limit:
        raise BackfillTooLarge(
            f"the range holds more than {command.limit} times; give a shorter one, or a higher limit",
            errors=[FieldError("limit", f"the range holds more than {command.limit} times")],
        )
    story.tell(
        BackfillRequested(
            backfill_id=uuid5(schedule.id, f"backfill:{schedule.version + 1}"),
            from_at=command.from_at,
            to_at=command.to_at,
            next_at=times[0],
            count=len(times),
            at_most=command.at_most,
            reason=command.reason,
        )
    )


def _fire(story: ScheduleStory, command: FireSchedule) -> None:
    schedule, at = story.schedule, story.meta.at
    step = due(schedule, at, command.over)
    if step is None or step != Step(command.kind, command.nominal_at, command.buffered):
        # it was paused, changed or decided meanwhile, or the clock went back
        return
    if step.kind is Kind.BACKFILL:
        _fire_backfill(story, command, step.nominal_at)
        return
    if step.kind is Kind.SCHEDULED and not step.buffered:
        cutoff = at - timedelta(seconds=max(GRACE_SECONDS, schedule.known.catch_up_window_seconds))
        if fire_at(schedule.id, schedule.known, step.nominal_at) < cutoff:
            _miss(story, step.nominal_at, cutoff, "down")
            return
    _fire_one(story, command, step)
    if step.kind is Kind.SCHEDULED and not step.buffered:
        _end_if_done(story)


def _fire_one(story: ScheduleStory, command: FireSchedule, step: Step) -> None:
    """A time of the timetable, or a trigger: begin its flow unless another one is in the way."""
    schedule = story.schedule
    running = still_running(schedule.running, command.over)
    wished = [each.overlap for each in schedule.requested if each.nominal_at == step.nominal_at]
    overlap = (wished[0] if step.kind is Kind.TRIGGERED and wished else None) or schedule.known.overlap
    in_the_way = running if overlap is not Overlap.ALLOW else ()
    why: str | None = None
    if command.exists:
        why = "has_flow"
    elif in_the_way and overlap is Overlap.SKIP:
        why = "overlap"
    elif in_the_way and overlap is Overlap.BUFFER_ONE and schedule.buffered is not None:
        why = "buffer_full"
    if why is not None:
        story.tell(
            FiringSkipped(
                nominal_at=step.nominal_at,
                kind=step.kind,
                reason=why,
                buffered=step.buffered,
                running=running,
                next_at=_following(schedule, step, spends=False),
            )
        )
    elif in_the_way and overlap is Overlap.BUFFER_ONE:
        following = _following(schedule, step, spends=True)
        story.tell(FiringBuffered(nominal_at=step.nominal_at, kind=step.kind, running=running, next_at=following))
    else:
        story.tell(
            ScheduleFired(
                nominal_at=step.nominal_at,
                kind=step.kind,
                flow_id=flow_id_of(schedule.id, step.nominal_at),
                flow_name=flow_name_of(schedule, step.nominal_at),
                buffered=step.buffered,
                next_at=_following(schedule, step, spends=True),
                cancels=in_the_way,
            )
        )


def _fire_backfill(story: ScheduleStory, command: FireSchedule, nominal_at: datetime) -> None:
    schedule = story.schedule
    backfill = schedule.backfill
    assert backfill is not None
    running = still_running(backfill.running, command.over)
    following = _following_backfill(schedule, backfill, nominal_at)
    if command.exists:
        story.tell(
            FiringSkipped(
                nominal_at=nominal_at, kind=Kind.BACKFILL, reason="has_flow", running=running, next_at=following
            )
        )
        return
    story.tell(
        ScheduleFired(
            nominal_at=nominal_at,
            kind=Kind.BACKFILL,
            flow_id=flow_id_of(schedule.id, nominal_at),
            flow_name=flow_name_of(schedule, nominal_at),
            next_at=following,
            running=running,
            backfill_id=backfill.backfill_id,
        )
    )


def _report(story: ScheduleStory, command: ReportFiring) -> None:
    firing = next((each for each in story.schedule.pending if each.flow_id == command.flow_id), None)
    if firing is None:
        return
    if command.error is not None:
        story.tell(
            ScheduleFlowRefused(
                nominal_at=firing.nominal_at, kind=firing.kind, flow_id=firing.flow_id, error=command.error
            )
        )
        return
    story.tell(
        ScheduleFlowCreated(
            nominal_at=firing.nominal_at, kind=firing.kind, flow_id=firing.flow_id, flow_name=firing.flow_name
        )
    )


def _following(schedule: Schedule, step: Step, *, spends: bool) -> datetime | None:
    """The timetable's next time after this step; unchanged where the step was none of its own."""
    if step.kind is not Kind.SCHEDULED or step.buffered:
        return schedule.next_at
    settings = schedule.known
    if settings.max_firings is not None and schedule.spent + spends >= settings.max_firings:
        return None
    return next(between(settings, step.nominal_at), None)


def _following_backfill(schedule: Schedule, backfill: Backfill, nominal_at: datetime) -> datetime | None:
    """The backfill's next time; none after the last of those that were counted when it was asked for."""
    following = next(occurrences(schedule.known.timing, nominal_at), None)
    return following if following is not None and following <= backfill.to_at and backfill.left > 1 else None


def _miss(story: ScheduleStory, first: datetime, cutoff: datetime, reason: str) -> None:
    """All times whose firing was due before `cutoff` pass without a flow."""
    schedule = story.schedule
    settings = schedule.known
    earliest = max(first, cutoff - timedelta(seconds=settings.jitter_seconds))
    following = next(
        (
            nominal
            for nominal in between(settings, earliest - TICK)
            if nominal > first and fire_at(schedule.id, settings, nominal) >= cutoff
        ),
        None,
    )
    missed = 0
    for nominal in islice(between(settings, first - TICK), COUNTED):
        if (following is not None and nominal >= following) or nominal > cutoff:
            break
        missed += 1
    story.tell(
        FiringsMissed(
            nominal_at=first,
            before_at=following or cutoff,
            count=missed,
            reason=reason,
            more=missed == COUNTED,
            next_at=following,
        )
    )
    _end_if_done(story)


def _end_if_done(story: ScheduleStory) -> None:
    schedule = story.schedule
    if schedule.next_at is not None:
        return
    settings = schedule.known
    if settings.max_firings is not None and schedule.spent >= settings.max_firings:
        reason = "max_firings"
    elif settings.end_at is not None:
        reason = "end_at"
    else:
        reason = "no_more_times"
    story.tell(ScheduleEnded(reason=reason))


def _not_over(schedule: Schedule) -> None:
    if schedule.state in (State.ENDED, State.DELETED):
        raise ScheduleIsOver(f"the schedule is {schedule.state}", allowed=allowed(schedule))


def _timing(given: ScheduleTiming, anchor_at: datetime) -> Timing:
    if given.interval_seconds is None:
        return Timing(cron=given.cron, time_zone=given.time_zone, at=given.at)
    return Timing(
        time_zone=given.time_zone,
        interval_seconds=given.interval_seconds,
        anchor_at=given.anchor_at or anchor_at.replace(microsecond=0),
    )


def _template(given: FlowTemplate, types: FlowTypes) -> Template:
    """The template as it is kept; raises TypeUnknown and SchedulingNotSupported."""
    config = types.get(given.flow_type)
    if not config.capabilities.supports_scheduling:
        can = [each.name for each in types.all() if each.capabilities.supports_scheduling]
        raise SchedulingNotSupported(
            f"flows of type {config.name} cannot be scheduled; use one of {', '.join(can) or 'none'}", allowed=can
        )
    options = given.options.model_dump(mode="json", exclude_none=True)
    if not options["notification_emails"]:
        del options["notification_emails"]
    return Template(
        flow_type=config.name,
        flow_name=given.flow_name,
        flow_description=given.flow_description,
        flow_tags=given.flow_tags,
        initial_data=given.initial_data,
        options=options,
    )


def _sound(settings: Settings, at: datetime) -> None:
    """Refuse settings whose parts do not go together; raises ScheduleInvalid."""
    errors: list[FieldError] = []
    interval, window = settings.timing.interval_seconds, settings.catch_up_window_seconds
    if settings.start_at is not None and settings.end_at is not None and settings.end_at < settings.start_at:
        errors.append(FieldError("end_at", "must not be before start_at"))
    if interval is not None and settings.jitter_seconds > interval:
        errors.append(FieldError("jitter_seconds", f"must not be more than the interval, {interval} s"))
    until = at + timedelta(seconds=window)
    made_up = sum(1 for nominal in islice(occurrences(settings.timing, at), MOST_MADE_UP + 1) if nominal <= until)
    if made_up > MOST_MADE_UP:
        message = f"must not hold more than {MOST_MADE_UP} times of the schedule; give a shorter one"
        errors.append(FieldError("catch_up_window_seconds", message))
    if errors:
        raise ScheduleInvalid("; ".join(f"{error.field} {error.message}" for error in errors), errors=errors)


def _first(settings: Settings, after: datetime) -> datetime:
    """The first time later than `after`; raises ScheduleInvalid where there is none."""
    found = next(between(settings, after), None)
    if found is None:
        bounds = " between start_at and end_at" if settings.end_at is not None else ""
        raise ScheduleInvalid(
            f"the schedule would never fire: no time of it lies in the future{bounds}",
            errors=[FieldError("timing", f"has no time in the future{bounds}")],
        )
    return found
