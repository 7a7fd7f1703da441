"""What may be asked of a schedule, and what the scheduler asks of it (at the end; never taken from outside)."""

from __future__ import annotations

from datetime import UTC, datetime
from string import Formatter
from typing import Annotated, Any, ClassVar, Self
from uuid import UUID, uuid5

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from domain.commands import CreateOptions, Data, Name, Tag, Text
from domain.schedules.events import Kind, Overlap
from domain.schedules.timing import cron_problem, zone_problem

Json = dict[str, Any]

EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
LEAST_INTERVAL_SECONDS = 10
MOST_INTERVAL_SECONDS = 366 * 86_400
MOST_WINDOW_SECONDS = 31 * 86_400
MOST_JITTER_SECONDS = 3600
MOST_BACKFILLED = 1000
PLACEHOLDERS = ("schedule", "number", "nominal", "date", "time")


def _text_only(value: Any) -> Any:
    if not isinstance(value, str | datetime):
        raise ValueError("must be a time as ISO 8601 with its offset, such as 2026-12-01T06:00:00Z")  # noqa: TRY004 - a validator's word
    return value


def _in_utc(value: datetime) -> datetime:
    if not EARLIEST <= value <= LATEST:
        raise ValueError("must lie between 1970 and 2200")
    return value.astimezone(UTC)


def _pattern(value: str) -> str:
    try:
        parts = list(Formatter().parse(value))
    except ValueError as error:
        raise ValueError(f"is no pattern: {error}; write {{{{ and }}}} for braces") from None
    for _, name, form, conversion in parts:
        if name is not None and (name not in PLACEHOLDERS or form or conversion):
            known = ", ".join(f"{{{each}}}" for each in PLACEHOLDERS)
            raise ValueError(f"{{{name}}} is not known; use {known}")
    return value


Moment = Annotated[AwareDatetime, BeforeValidator(_text_only), AfterValidator(_in_utc)]
Reason = Annotated[Text | None, Field(description="Why; kept in the history.")]


class _Shape(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class ScheduleTiming(_Shape):
    """When it fires: exactly one of `cron` (with `time_zone`), `interval_seconds` (from `anchor_at`) and `at`."""

    cron: Annotated[str, Field(max_length=200)] | None = Field(
        default=None, description="Five fields: minute, hour, day of month, month, day of week."
    )
    time_zone: Annotated[str, Field(max_length=100)] = Field(
        default="UTC", description="A name of the IANA database; the clock that `cron` goes by."
    )
    interval_seconds: int | None = Field(
        default=None, ge=LEAST_INTERVAL_SECONDS, le=MOST_INTERVAL_SECONDS, strict=True, description="10 s to 366 days."
    )
    anchor_at: Moment | None = Field(
        default=None,
        description="The times are this one plus whole intervals. Left out: `start_at`, or when it is made.",
    )
    at: Moment | None = Field(default=None, description="One moment, with its offset from UTC.")

    @model_validator(mode="after")
    def _one_of_three(self) -> Self:
        given = [name for name in ("cron", "interval_seconds", "at") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"give one of cron, interval_seconds and at; given: {', '.join(given) or 'none'}")
        if self.anchor_at is not None and self.interval_seconds is None:
            raise ValueError("anchor_at goes with interval_seconds only")
        problem = zone_problem(self.time_zone) or (cron_problem(self.cron) if self.cron is not None else None)
        if problem is not None:
            raise ValueError(problem)
        return self


class ScheduledOptions(CreateOptions):
    """Options of the flows; unlike flows made by hand they run by themselves unless said otherwise."""

    auto_execute: bool = Field(default=True, strict=True, description="Run the phases one after the other.")


class FlowTemplate(_Shape):
    """The flows that a schedule makes."""

    flow_type: Name = Field(description="A type that supports scheduling.")
    flow_name: Annotated[Name, AfterValidator(_pattern)] = Field(
        default="{schedule} {date} {time}",
        description="Name of each flow; may hold {schedule}, {number}, {nominal}, {date}, {time} (nominal time, in the"
        " schedule's time zone).",
    )
    flow_description: Text | None = None
    flow_tags: tuple[Tag, ...] = Field(default=(), max_length=50)
    initial_data: Data = Field(default_factory=dict)
    options: ScheduledOptions = ScheduledOptions()


class ScheduleCommand(_Shape):
    """A request about one schedule. The schedule may refuse it."""

    schedule_id: UUID = Field(description="The schedule that is asked.")


Window = Annotated[float, Field(ge=0, le=MOST_WINDOW_SECONDS, allow_inf_nan=False)]
Jitter = Annotated[float, Field(ge=0, le=MOST_JITTER_SECONDS, allow_inf_nan=False)]
Firings = Annotated[int, Field(ge=1, le=1_000_000, strict=True)]


class CreateSchedule(ScheduleCommand):
    """Make flows of a type at times."""

    name: Name
    description: Text | None = None
    timing: ScheduleTiming
    flow: FlowTemplate
    overlap: Overlap = Field(
        default=Overlap.SKIP, description="What happens when the flow begun before has not ended yet."
    )
    catch_up_window_seconds: Window = Field(
        default=3600.0, description="A firing that is late by at most this is made up; a minute always is."
    )
    jitter_seconds: Jitter = Field(
        default=0.0, description="Each firing is later by up to this; the same for the same time."
    )
    start_at: Moment | None = Field(default=None, description="No time before it.")
    end_at: Moment | None = Field(default=None, description="No time after it.")
    max_firings: Firings | None = Field(default=None, description="It ends after so many flows of its timetable.")


class UpdateSchedule(ScheduleCommand):
    """Change what is given; null takes a bound or the description away. `timing` and `flow` are replaced as a whole."""

    not_null: ClassVar[tuple[str, ...]] = (
        "name",
        "timing",
        "flow",
        "overlap",
        "catch_up_window_seconds",
        "jitter_seconds",
    )

    name: Name | None = None
    description: Text | None = None
    timing: ScheduleTiming | None = None
    flow: FlowTemplate | None = None
    overlap: Overlap | None = None
    catch_up_window_seconds: Window | None = None
    jitter_seconds: Jitter | None = None
    start_at: Moment | None = None
    end_at: Moment | None = None
    max_firings: Firings | None = None

    @model_validator(mode="after")
    def _not_null(self) -> Self:
        for name in self.not_null:
            if name in self.model_fields_set and getattr(self, name) is None:
                raise ValueError(f"{name} must not be null; leave it out to keep it")
        return self


class ScheduleVerb(ScheduleCommand):
    """A request that needs nothing but a reason, and not even that."""

    reason: Reason = None


class PauseSchedule(ScheduleVerb):
    """Let the times pass until it is resumed."""


class ResumeSchedule(ScheduleVerb):
    """Go on with the next time; those that passed are not made up."""


class TriggerSchedule(ScheduleVerb):
    """Make a flow now, also while paused."""

    overlap: Overlap | None = Field(default=None, description="Left out: as the schedule says.")


class BackfillSchedule(ScheduleVerb):
    """Make flows for the times of a range in the past, the oldest first; a time that has its flow is left alone."""

    from_at: Moment = Field(description="From this time on.")
    to_at: Moment = Field(description="Up to this time, which must have passed.")
    at_most: int = Field(default=1, ge=1, le=10, strict=True, description="So many of its flows at once.")
    limit: int = Field(
        default=100, ge=1, le=MOST_BACKFILLED, strict=True, description="A range with more times than this is refused."
    )


class DeleteSchedule(ScheduleVerb):
    """End the schedule and hide it; its flows and its history stay."""


def new_schedule_id(client_account_id: UUID, command_id: str) -> UUID:
    """The id of a schedule that was not given one: the same for the same command."""
    return uuid5(client_account_id, f"schedule:{command_id}")


class FireSchedule(ScheduleCommand):
    """The scheduler: a time is due. `over` are flows of the schedule that have ended, `exists`: the time has its flow."""

    kind: Kind
    nominal_at: datetime
    buffered: bool = False
    over: tuple[UUID, ...] = ()
    exists: bool = False


class ReportFiring(ScheduleCommand):
    """The scheduler: the flow of a firing was made, or could not be (`error`)."""

    flow_id: UUID
    error: Json | None = None


PUBLIC_SCHEDULE: dict[str, type[ScheduleCommand]] = {
    command.__name__: command
    for command in (
        CreateSchedule,
        UpdateSchedule,
        PauseSchedule,
        ResumeSchedule,
        TriggerSchedule,
        BackfillSchedule,
        DeleteSchedule,
    )
}
INTERNAL_SCHEDULE: dict[str, type[ScheduleCommand]] = {
    command.__name__: command for command in (FireSchedule, ReportFiring)
}
