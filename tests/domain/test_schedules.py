"""Schedules: when they fire, what stands in the way, and what is made up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from domain.errors import (
    BackfillTooLarge,
    ScheduleBusy,
    ScheduleExists,
    ScheduleInvalid,
    ScheduleIsOver,
    ScheduleNotFound,
    ScheduleNotPaused,
    SchedulePausedNow,
    SchedulingNotSupported,
    TypeUnknown,
    VersionMoved,
)
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
    ScheduleTiming,
    TriggerSchedule,
    UpdateSchedule,
    new_schedule_id,
)
from domain.schedules.decide import decide
from domain.schedules.events import (
    SCHEDULE_EVENTS,
    BackfillRequested,
    FiringBuffered,
    FiringSkipped,
    FiringsMissed,
    Kind,
    Overlap,
    ScheduleCreated,
    ScheduleDeleted,
    ScheduleEnded,
    ScheduleFired,
    ScheduleFlowCreated,
    ScheduleFlowRefused,
    SchedulePaused,
    ScheduleResumed,
    ScheduleUpdated,
    Timing,
)
from domain.schedules.schedule import (
    Schedule,
    ScheduleRecorded,
    State,
    allowed,
    evolve,
    flows_of,
    fold,
    look_at,
    next_fire_at,
    upcoming,
    view,
    waits,
)
from domain.schedules.timing import fire_at, occurrences
from tests import examples, schedules
from tests.schedules import HOUR, NOW, ONE, SCHEDULE_ID, TYPES, Clock, at, create, flow, made
from tests.spec import meta

BERLIN = ZoneInfo("Europe/Berlin")
# the last working day of a month, should it be a Sunday
NEVER = "0 0 LW * */7"
PAUSE = PauseSchedule(schedule_id=SCHEDULE_ID, reason="lunch")
RESUME = ResumeSchedule(schedule_id=SCHEDULE_ID)
TRIGGER = TriggerSchedule(schedule_id=SCHEDULE_ID)
DELETE = DeleteSchedule(schedule_id=SCHEDULE_ID)


def update(**fields: Any) -> UpdateSchedule:
    return UpdateSchedule.model_validate({"schedule_id": SCHEDULE_ID, **fields})


def backfill(first: datetime, last: datetime, **fields: Any) -> BackfillSchedule:
    return BackfillSchedule(schedule_id=SCHEDULE_ID, from_at=first, to_at=last, **fields)


def local(timing: Timing, after: datetime, count: int) -> list[str]:
    return [found.astimezone(BERLIN).isoformat() for found in islice(occurrences(timing, after), count)]


# times


def test_a_time_of_day_that_the_spring_change_leaves_out_fires_when_the_clock_goes_on() -> None:
    daily = Timing(cron="30 2 * * *", time_zone="Europe/Berlin")
    assert local(daily, datetime(2026, 3, 28, 12, tzinfo=UTC), 2) == [
        "2026-03-29T03:00:00+02:00",
        "2026-03-30T02:30:00+02:00",
    ]


def test_a_time_of_day_that_the_autumn_change_brings_twice_fires_once() -> None:
    daily = Timing(cron="30 2 * * *", time_zone="Europe/Berlin")
    expected = ["2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"]
    assert local(daily, datetime(2026, 10, 24, 12, tzinfo=UTC), 2) == expected
    # asked between the two, and after both
    assert local(daily, datetime(2026, 10, 25, 0, 45, tzinfo=UTC), 1) == expected[1:]
    assert local(daily, datetime(2026, 10, 25, 1, 15, tzinfo=UTC), 1) == expected[1:]


def test_every_so_often_goes_by_the_time_that_passes() -> None:
    often = Timing(cron="*/30 * * * *", time_zone="Europe/Berlin")
    autumn = list(islice(occurrences(often, datetime(2026, 10, 24, 23, 45, tzinfo=UTC)), 8))
    assert {later - earlier for earlier, later in pairwise(autumn)} == {timedelta(minutes=30)}
    spring = local(often, datetime(2026, 3, 29, 0, 15, tzinfo=UTC), 3)
    assert spring == ["2026-03-29T01:30:00+01:00", "2026-03-29T03:00:00+02:00", "2026-03-29T03:30:00+02:00"]


@given(
    st.datetimes(datetime(2025, 1, 1), datetime(2028, 1, 1)),
    st.sampled_from(["30 2 * * *", "15,45 1-3 * * SUN", "*/20 * * * *", "0 0 1 * *", "59 23 L * *"]),
    st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "UTC", "Africa/Casablanca"]),
)
def test_the_time_after_a_time_is_the_next_one_wherever_one_asks(start: datetime, cron: str, zone: str) -> None:
    timing = Timing(cron=cron, time_zone=zone)
    times = list(islice(occurrences(timing, start.replace(tzinfo=UTC)), 6))
    assert times == sorted(set(times))
    assert all(next(occurrences(timing, one)) == following for one, following in pairwise(times))


@given(st.integers(10, 10**6), st.integers(-(10**9), 10**9), st.integers(0, 10**6))
def test_an_interval_never_drifts(seconds: int, after: int, late: int) -> None:
    timing = Timing(interval_seconds=seconds, anchor_at=NOW)
    asked = NOW + timedelta(seconds=after, microseconds=late)
    found = next(occurrences(timing, asked))
    assert (found - NOW) % timedelta(seconds=seconds) == timedelta(0)
    assert timedelta(0) < found - asked <= timedelta(seconds=seconds)


def test_one_moment_comes_once() -> None:
    once = Timing(at=ONE)
    assert list(occurrences(once, NOW)) == [ONE]
    assert list(occurrences(once, ONE)) == []


def test_jitter_follows_from_schedule_and_time() -> None:
    settings = schedules.SETTINGS
    found = [fire_at(SCHEDULE_ID, settings, NOW + n * HOUR) - (NOW + n * HOUR) for n in range(50)]
    assert found == [fire_at(SCHEDULE_ID, settings, NOW + n * HOUR) - (NOW + n * HOUR) for n in range(50)]
    assert all(timedelta(0) <= each <= timedelta(seconds=30) for each in found)
    assert len(set(found)) > 40


# what is refused at the door


@pytest.mark.parametrize(
    ("timing", "word"),
    [
        ({}, "give one of"),
        ({"cron": "0 * * * *", "at": "2030-01-01T00:00:00Z"}, "given: cron, at"),
        ({"cron": "0 6 * *"}, "has 4 fields; use five fields"),
        ({"cron": "0 0 6 * * *"}, "has 6 fields"),
        ({"cron": "61 * * * *"}, "bad minute"),
        ({"cron": "0 0 31 2 *"}, "bad day-of-month"),
        ({"cron": "0 6 * * *", "time_zone": "Mars/Olympus"}, "is no time zone"),
        ({"cron": "0 6 * * *", "time_zone": "../../etc/passwd"}, "is no time zone"),
        ({"cron": "0 6 * * *", "time_zone": "America"}, "is no time zone"),
        ({"cron": "0 6 * * *", "time_zone": "right/Europe/Berlin"}, "is no time zone"),
        ({"cron": "0 6 * * *", "anchor_at": "2030-01-01T00:00:00Z"}, "anchor_at goes with"),
        ({"interval_seconds": 9}, "greater than or equal to 10"),
        ({"interval_seconds": 31_622_401}, "less than or equal"),
        ({"interval_seconds": 60.5}, "valid integer"),
        ({"at": "2030-01-01T00:00:00"}, "timezone"),
        ({"at": 5}, "ISO 8601"),
        ({"at": "2999-01-01T00:00:00Z"}, "between 1970 and 2200"),
    ],
)
def test_bad_times_are_refused_with_a_sentence(timing: dict[str, Any], word: str) -> None:
    with pytest.raises(ValidationError, match=word):
        ScheduleTiming.model_validate(timing)


def test_a_day_that_never_comes_is_refused() -> None:
    with pytest.raises(ValidationError, match="never comes"):
        ScheduleTiming(cron=NEVER)
    assert list(occurrences(Timing(cron=NEVER), NOW)) == []


@pytest.mark.parametrize("name", ["{weekday}", "{date:%s}", "{date!r}", "{0}", "{", "{schedule.name}"])
def test_a_name_with_an_unknown_part_is_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        FlowTemplate(flow_type="hourly", flow_name=name)
    assert FlowTemplate(flow_type="hourly", flow_name="{{kept}} {number}").flow_name


def test_what_must_be_there_cannot_be_taken_away() -> None:
    with pytest.raises(ValidationError, match="timing must not be null"):
        update(timing=None)


@pytest.mark.parametrize(
    ("fields", "error", "field"),
    [
        ({"flow": {"flow_type": "nonsense"}}, TypeUnknown, None),
        ({"flow": {"flow_type": "steady"}}, SchedulingNotSupported, None),
        ({"timing": {"at": NOW - HOUR}}, ScheduleInvalid, "timing"),
        ({"start_at": NOW + 2 * HOUR, "end_at": NOW + HOUR}, ScheduleInvalid, "end_at"),
        ({"end_at": NOW + HOUR / 2}, ScheduleInvalid, "timing"),
        ({"timing": {"interval_seconds": 20}, "jitter_seconds": 21}, ScheduleInvalid, "jitter_seconds"),
        (
            {"timing": {"interval_seconds": 10}, "catch_up_window_seconds": 10_010},
            ScheduleInvalid,
            "catch_up_window_seconds",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(
    fields: dict[str, Any], error: type[Exception], field: str | None
) -> None:
    clock = Clock(Schedule(id=SCHEDULE_ID))
    refusal = clock.refused(create(**fields))
    assert type(refusal) is error
    assert field is None or [each.field for each in refusal.errors] == [field]


def test_who_is_to_be_told_is_kept_with_the_template() -> None:
    told = {"flow_type": "hourly", "options": {"notification_emails": ["ann@example.com"]}}
    story = decide(Schedule(id=SCHEDULE_ID), create(flow=told), at(NOW), schedules.schedule_types())
    assert story.schedule.known.flow.options["notification_emails"] == ["ann@example.com"]
    plain = decide(Schedule(id=SCHEDULE_ID), create(), at(NOW), schedules.schedule_types())
    assert "notification_emails" not in plain.schedule.known.flow.options


def test_a_type_that_cannot_be_scheduled_names_those_that_can() -> None:
    clock = Clock(Schedule(id=SCHEDULE_ID))
    assert clock.refused(create(flow={"flow_type": "steady"})).allowed == ("hourly",)
    alone = FlowTypes()
    alone.register(examples.STEADY, handlers=["work"], validators=[])
    with pytest.raises(SchedulingNotSupported, match="use one of none"):
        decide(clock.schedule, create(flow={"flow_type": "steady"}), at(NOW), alone)


def test_an_id_that_was_not_given_follows_from_the_command() -> None:
    assert new_schedule_id(examples.CLIENT, "c-1") == new_schedule_id(examples.CLIENT, "c-1")
    assert new_schedule_id(examples.CLIENT, "c-1") != new_schedule_id(examples.CLIENT, "c-2")


# life


def test_a_schedule_is_made_once_and_belongs_to_its_tenant() -> None:
    clock = made()
    assert isinstance(clock.refused(create()), ScheduleExists)
    assert (clock.schedule.next_at, clock.schedule.actor, allowed(clock.schedule)[0]) == (ONE, "maria", "pause")
    with pytest.raises(ScheduleNotFound):
        decide(clock.schedule, PAUSE, meta(client=examples.OTHER_CLIENT), TYPES)
    with pytest.raises(ScheduleNotFound):
        decide(Schedule(id=SCHEDULE_ID), PAUSE, at(NOW), TYPES)


def test_versions_that_were_named_must_be_right() -> None:
    clock = made()
    with pytest.raises(VersionMoved, match="at version 1, not 3"):
        decide(clock.schedule, PAUSE, at(NOW), TYPES, expected_version=3)
    with pytest.raises(VersionMoved, match="no schedule yet"):
        decide(Schedule(id=SCHEDULE_ID), create(), at(NOW), TYPES, expected_version=3)
    assert decide(clock.schedule, PAUSE, at(NOW), TYPES, expected_version=1).facts


def test_an_interval_counts_from_its_start_or_from_when_it_was_made() -> None:
    odd = NOW.replace(minute=7, second=31, microsecond=250)
    clock = Clock(Schedule(id=SCHEDULE_ID), odd)
    clock.asked(create(timing={"interval_seconds": 600}))
    assert clock.schedule.next_at == odd.replace(minute=17, microsecond=0)
    assert made(timing={"interval_seconds": 600}, start_at=ONE).schedule.next_at == ONE
    anchored = made(timing={"interval_seconds": 600, "anchor_at": NOW - timedelta(seconds=30)})
    assert anchored.schedule.next_at == NOW + timedelta(seconds=570)


def test_a_time_that_has_come_makes_a_flow_and_the_next_time_follows() -> None:
    clock = made(flow={"flow_type": "hourly", "flow_name": "{schedule} {number} {date} {time} {nominal}"})
    assert clock.fires(ONE - timedelta(seconds=1)) == []
    assert clock.fires(ONE) == [
        ScheduleFired(
            nominal_at=ONE,
            kind=Kind.SCHEDULED,
            flow_id=flow(ONE),
            flow_name="Hourly 1 2026-11-20 13:00 2026-11-20T13:00:00+00:00",
            next_at=ONE + HOUR,
        )
    ]
    assert clock.fires() == []
    assert waits(clock.schedule)
    assert look_at(clock.schedule, ONE) == ONE
    report = ReportFiring(schedule_id=SCHEDULE_ID, flow_id=flow(ONE))
    name = clock.schedule.pending[0].flow_name
    assert clock.facts(report) == [
        ScheduleFlowCreated(nominal_at=ONE, kind=Kind.SCHEDULED, flow_id=flow(ONE), flow_name=name)
    ]
    assert clock.facts(report) == []
    assert look_at(clock.schedule, ONE) == ONE + HOUR
    assert list(flows_of(clock.schedule)) == [flow(ONE)]


def test_a_flow_that_could_not_be_made_is_told_and_stands_in_nobodys_way() -> None:
    clock = made()
    clock.fires(ONE)
    error = {"code": "flow_type_unknown", "detail": "none such"}
    assert clock.facts(ReportFiring(schedule_id=SCHEDULE_ID, flow_id=flow(ONE), error=error)) == [
        ScheduleFlowRefused(nominal_at=ONE, kind=Kind.SCHEDULED, flow_id=flow(ONE), error=error)
    ]
    assert clock.schedule.running == ()
    assert [type(fact) for fact in clock.fires(ONE + HOUR)] == [ScheduleFired]


def test_a_clock_that_goes_back_neither_loses_nor_repeats() -> None:
    clock = made()
    clock.fires(ONE)
    before = clock.schedule
    assert clock.fires(ONE - HOUR / 2) == []
    stale = FireSchedule(schedule_id=SCHEDULE_ID, kind=Kind.SCHEDULED, nominal_at=ONE + HOUR)
    assert clock.facts(stale, ONE) == []
    assert clock.schedule == before
    # not even by an update that asks for the next time anew
    clock.asked(update(timing={"cron": "0 */1 * * *"}), NOW)
    assert clock.schedule.next_at == ONE + HOUR
    assert [type(fact) for fact in clock.fires(ONE + HOUR, over=(flow(ONE),))] == [ScheduleFired]


def test_a_time_that_has_its_flow_already_is_passed_over() -> None:
    clock = made()
    assert clock.fires(ONE, exists=True) == [
        FiringSkipped(nominal_at=ONE, kind=Kind.SCHEDULED, reason="has_flow", next_at=ONE + HOUR)
    ]


# overlap


def test_skip_passes_over_what_finds_the_former_flow_running() -> None:
    clock = made()
    clock.fires(ONE)
    assert clock.fires(ONE + HOUR) == [
        FiringSkipped(
            nominal_at=ONE + HOUR, kind=Kind.SCHEDULED, reason="overlap", running=(flow(ONE),), next_at=ONE + 2 * HOUR
        )
    ]
    assert [type(fact) for fact in clock.fires(ONE + 2 * HOUR, over=(flow(ONE),))] == [ScheduleFired]


def test_buffer_one_keeps_one_and_begins_it_when_the_former_flow_has_ended() -> None:
    clock = made(overlap="buffer_one")
    clock.fires(ONE)
    clock.asked(ReportFiring(schedule_id=SCHEDULE_ID, flow_id=flow(ONE)))
    assert [type(fact) for fact in clock.fires(ONE + HOUR)] == [FiringBuffered]
    assert waits(clock.schedule)
    assert look_at(clock.schedule, ONE + HOUR, 30) == ONE + HOUR + timedelta(seconds=30)
    assert [fact.reason for fact in clock.fires(ONE + 2 * HOUR) if isinstance(fact, FiringSkipped)] == ["buffer_full"]
    assert clock.fires() == []
    (begun,) = clock.fires(over=(flow(ONE),))
    assert isinstance(begun, ScheduleFired)
    assert (begun.nominal_at, begun.buffered) == (ONE + HOUR, True)
    assert (clock.schedule.buffered, clock.schedule.next_at) == (None, ONE + 3 * HOUR)
    assert clock.schedule.running == (flow(ONE + HOUR),)


def test_allow_minds_nothing() -> None:
    clock = made(overlap="allow")
    clock.fires(ONE)
    assert [type(fact) for fact in clock.fires(ONE + HOUR)] == [ScheduleFired]


def test_cancel_running_names_who_must_give_way() -> None:
    clock = made(overlap="cancel_running")
    clock.fires(ONE)
    (fact,) = clock.fires(ONE + HOUR)
    assert isinstance(fact, ScheduleFired)
    assert fact.cancels == (flow(ONE),)
    assert clock.schedule.running == (flow(ONE + HOUR),)


# late


def test_what_is_late_within_the_window_is_made_up_and_what_is_older_was_missed() -> None:
    clock = made(catch_up_window_seconds=2 * 3600, overlap="allow")
    back = ONE + 5 * HOUR + HOUR / 2
    (missed,) = clock.fires(back)
    assert missed == FiringsMissed(
        nominal_at=ONE, before_at=ONE + 4 * HOUR, count=4, reason="down", next_at=ONE + 4 * HOUR
    )
    made_up = [fact for _ in range(3) for fact in clock.fires()]
    assert [fact.nominal_at for fact in made_up if isinstance(fact, ScheduleFired)] == [ONE + 4 * HOUR, ONE + 5 * HOUR]


def test_a_minute_is_never_late() -> None:
    clock = made(catch_up_window_seconds=0)
    assert [type(fact) for fact in clock.fires(ONE + timedelta(seconds=59))] == [ScheduleFired]


def test_what_was_missed_for_ages_is_counted_up_to_ten_thousand() -> None:
    clock = made(timing={"cron": "* * * * *"}, catch_up_window_seconds=600, jitter_seconds=60)
    (missed,) = clock.fires(NOW + timedelta(days=30))
    assert isinstance(missed, FiringsMissed)
    assert (missed.count, missed.more) == (10_000, True)
    assert clock.schedule.next_at is not None
    assert clock.schedule.next_at >= NOW + timedelta(days=30, seconds=-660)


def test_one_moment_that_was_missed_ends_the_schedule() -> None:
    clock = made(timing={"at": ONE})
    missed, ended = clock.fires(ONE + 5 * HOUR)
    assert isinstance(missed, FiringsMissed)
    assert (missed.count, missed.next_at, ended) == (1, None, ScheduleEnded(reason="no_more_times"))


# ends


def test_a_schedule_ends_after_its_last_flow() -> None:
    clock = made(max_firings=2, overlap="allow")
    clock.fires(ONE)
    fired, ended = clock.fires(ONE + HOUR)
    assert isinstance(fired, ScheduleFired)
    assert ended == ScheduleEnded(reason="max_firings")
    assert (clock.schedule.state, allowed(clock.schedule)) == (State.ENDED, ["update", "delete"])
    for command in (PAUSE, RESUME, TRIGGER, backfill(NOW, NOW)):
        assert isinstance(clock.refused(command), ScheduleIsOver)
    assert isinstance(clock.refused(update(max_firings=2, name="Same")), ScheduleInvalid)
    assert clock.facts(update(name="Other"))
    assert clock.schedule.state is State.ENDED
    clock.asked(update(max_firings=3))
    assert (clock.schedule.state, clock.schedule.next_at) == (State.ACTIVE, ONE + 2 * HOUR)


def test_the_last_flow_may_wait_in_the_buffer() -> None:
    clock = made(max_firings=2, overlap="buffer_one")
    clock.fires(ONE)
    buffered, ended = clock.fires(ONE + HOUR)
    assert isinstance(buffered, FiringBuffered)
    assert ended == ScheduleEnded(reason="max_firings")
    assert upcoming(clock.schedule, clock.when, 5) == []
    assert [type(fact) for fact in clock.fires(over=(flow(ONE),))] == [ScheduleFired]
    assert clock.schedule.firings == 2


def test_a_schedule_ends_with_its_last_time() -> None:
    clock = made(end_at=ONE + HOUR / 2)
    assert [type(fact) for fact in clock.fires(ONE)] == [ScheduleFired, ScheduleEnded]
    assert clock.schedule.end_reason == "end_at"


def test_a_deleted_schedule_answers_nothing_any_more() -> None:
    clock = made()
    assert clock.facts(DELETE) == [ScheduleDeleted()]
    assert clock.facts(DELETE) == []
    assert (allowed(clock.schedule), next_fire_at(clock.schedule), waits(clock.schedule)) == ([], None, False)
    assert isinstance(clock.refused(update(name="Again")), ScheduleIsOver)
    assert clock.fires(ONE) == []
    assert view(clock.schedule)["state"] == "deleted"


# pause


def test_times_that_pass_in_a_pause_are_told_as_missed() -> None:
    clock = made()
    assert clock.facts(PAUSE) == [SchedulePaused(reason="lunch")]
    assert clock.facts(PAUSE) == []
    assert view(clock.schedule)["paused"]["reason"] == "lunch"
    assert (look_at(clock.schedule, NOW), view(clock.schedule)["next_at"]) == (None, None)
    assert clock.fires(ONE + HOUR) == []
    assert [nominal for nominal, _ in upcoming(clock.schedule, ONE + HOUR / 2, 2)] == [ONE + HOUR, ONE + 2 * HOUR]
    assert clock.facts(RESUME, ONE + 3 * HOUR / 2) == [
        ScheduleResumed(),
        FiringsMissed(nominal_at=ONE, before_at=ONE + 2 * HOUR, count=2, reason="paused", next_at=ONE + 2 * HOUR),
    ]
    assert isinstance(clock.refused(RESUME), ScheduleNotPaused)


def test_a_short_pause_misses_nothing() -> None:
    clock = made()
    clock.asked(PAUSE)
    assert clock.facts(RESUME) == [ScheduleResumed()]


# triggers


def test_a_trigger_makes_a_flow_now_and_leaves_the_timetable_alone() -> None:
    clock = made(max_firings=1)
    clock.asked(PAUSE)
    clock.asked(TRIGGER)
    clock.asked(TRIGGER)
    assert [each["nominal_at"] for each in view(clock.schedule)["requested"]] == [
        NOW,
        NOW + timedelta(microseconds=1),
    ]
    (fired,) = clock.fires()
    assert isinstance(fired, ScheduleFired)
    assert (fired.kind, fired.nominal_at) == (Kind.TRIGGERED, NOW)
    (skipped,) = clock.fires()
    assert isinstance(skipped, FiringSkipped)
    assert (skipped.reason, clock.schedule.firings, clock.schedule.next_at) == ("overlap", 0, ONE)
    assert clock.fires() == []


def test_a_trigger_may_say_what_happens_to_the_one_that_runs() -> None:
    clock = made()
    clock.fires(ONE)
    clock.asked(TRIGGER.model_copy(update={"overlap": Overlap.CANCEL_RUNNING}))
    (fired,) = clock.fires()
    assert isinstance(fired, ScheduleFired)
    assert fired.cancels == (flow(ONE),)


def test_a_trigger_may_wait_in_the_buffer() -> None:
    clock = made(overlap="buffer_one", max_firings=9)
    clock.fires(ONE)
    clock.asked(TRIGGER, ONE + HOUR / 2)
    assert [type(fact) for fact in clock.fires()] == [FiringBuffered]
    assert (clock.schedule.requested, clock.schedule.spent) == ((), 1)
    (fired,) = clock.fires(over=(flow(ONE),))
    assert isinstance(fired, ScheduleFired)
    assert (fired.kind, fired.buffered, clock.schedule.firings) == (Kind.TRIGGERED, True, 1)
    assert len(upcoming(clock.schedule, clock.when, 20)) == 8


def test_no_more_than_ten_triggers_wait() -> None:
    clock = made()
    for _ in range(10):
        clock.asked(TRIGGER)
    assert isinstance(clock.refused(TRIGGER), ScheduleBusy)


# backfills


def test_a_backfill_makes_up_a_range_a_few_at_a_time() -> None:
    clock = made()
    asked = backfill(NOW - 3 * HOUR, NOW, at_most=2)
    (requested,) = clock.facts(asked)
    assert isinstance(requested, BackfillRequested)
    assert (requested.count, requested.next_at) == (4, NOW - 3 * HOUR)
    assert isinstance(clock.refused(asked), ScheduleBusy)
    assert look_at(clock.schedule, NOW) == NOW
    begun = [fact for _ in range(3) for fact in clock.fires()]
    assert [fact.nominal_at for fact in begun if isinstance(fact, ScheduleFired)] == [NOW - 3 * HOUR, NOW - 2 * HOUR]
    assert look_at(clock.schedule, NOW) == NOW
    for nominal in (NOW - 3 * HOUR, NOW - 2 * HOUR):
        clock.asked(ReportFiring(schedule_id=SCHEDULE_ID, flow_id=flow(nominal)))
    assert look_at(clock.schedule, NOW) == NOW + timedelta(seconds=1)
    assert clock.schedule.backfill is not None
    assert view(clock.schedule)["backfill"]["left"] == 2
    first, second = flow(NOW - 3 * HOUR), flow(NOW - 2 * HOUR)
    assert set(flows_of(clock.schedule)) == {first, second}
    assert [type(fact) for fact in clock.fires(over=(first,), exists=True)] == [FiringSkipped]
    assert clock.schedule.backfill.running == (second,)
    assert [type(fact) for fact in clock.fires()] == [ScheduleFired]
    assert clock.facts(ReportFiring(schedule_id=SCHEDULE_ID, flow_id=flow(NOW), error={"code": "flow_type_unknown"}))
    assert clock.schedule.backfill is None
    assert [type(fact) for fact in clock.fires(ONE)] == [ScheduleFired]


def test_a_flow_of_a_backfill_that_could_not_be_made_leaves_its_place() -> None:
    clock = made()
    clock.asked(backfill(NOW - HOUR, NOW))
    clock.fires()
    assert clock.fires() == []
    clock.asked(ReportFiring(schedule_id=SCHEDULE_ID, flow_id=flow(NOW - HOUR), error={"code": "flow_type_unknown"}))
    assert [type(fact) for fact in clock.fires()] == [ScheduleFired]


def test_a_backfill_that_cannot_be_is_refused() -> None:
    clock = made()
    assert isinstance(clock.refused(backfill(NOW, NOW - HOUR)), ScheduleInvalid)
    assert isinstance(clock.refused(backfill(NOW, NOW + HOUR)), ScheduleInvalid)
    assert isinstance(clock.refused(backfill(NOW - HOUR / 2, NOW - HOUR / 3)), ScheduleInvalid)
    assert isinstance(clock.refused(backfill(NOW - 9 * HOUR, NOW, limit=9)), BackfillTooLarge)
    clock.asked(PAUSE)
    assert isinstance(clock.refused(backfill(NOW - HOUR, NOW)), SchedulePausedNow)


def test_a_pause_holds_what_waits() -> None:
    clock = made(overlap="buffer_one")
    clock.asked(backfill(NOW - HOUR, NOW))
    clock.asked(PAUSE)
    assert clock.fires(over=()) == []
    assert not waits(clock.schedule)
    clock.asked(RESUME)
    assert [type(fact) for fact in clock.fires()] == [ScheduleFired]


# changes


def test_an_update_changes_what_it_names_and_no_more() -> None:
    clock = made(description="Old", end_at=ONE + 9 * HOUR)
    assert clock.facts(update(name="Hourly")) == []
    (updated,) = clock.facts(update(description=None, end_at=None, flow={"flow_type": "hourly", "flow_tags": ["x"]}))
    assert isinstance(updated, ScheduleUpdated)
    assert (updated.settings.description, updated.settings.end_at, updated.settings.name) == (None, None, "Hourly")
    assert (updated.next_at, updated.settings.flow.flow_tags) == (ONE, ("x",))
    clock.asked(update(timing={"interval_seconds": 600}))
    assert clock.schedule.next_at == NOW + timedelta(minutes=10)
    clock.asked(update(start_at=ONE + HOUR / 2))
    assert clock.schedule.next_at == ONE + timedelta(minutes=30)
    assert isinstance(clock.refused(update(end_at=NOW)), ScheduleInvalid)


def test_the_next_times_can_be_told_before_they_come() -> None:
    clock = made(jitter_seconds=60)
    times = upcoming(clock.schedule, NOW, 3)
    assert [nominal for nominal, _ in times] == [ONE, ONE + HOUR, ONE + 2 * HOUR]
    assert times[0][1] == next_fire_at(clock.schedule) == view(clock.schedule)["next_fire_at"]


# history


def test_every_event_has_an_example() -> None:
    assert [type(fact) for fact in schedules.EVENTS] == list(SCHEDULE_EVENTS)


@pytest.mark.parametrize("fact", schedules.EVENTS, ids=lambda fact: type(fact).__name__)
def test_every_event_moves_a_schedule_by_one(fact: Any) -> None:
    first = ScheduleRecorded(SCHEDULE_ID, 1, at(NOW), schedules.EVENTS[0])
    schedule = fold(Schedule(id=SCHEDULE_ID), [first, ScheduleRecorded(SCHEDULE_ID, 2, at(NOW, "mfo"), fact)])
    assert schedule.version == 2
    assert isinstance(schedules.EVENTS[0], ScheduleCreated)


def test_a_backfill_that_was_dropped_meanwhile_is_no_matter() -> None:
    schedule = evolve(Schedule(id=SCHEDULE_ID), ScheduleRecorded(SCHEDULE_ID, 1, at(NOW), schedules.EVENTS[0]))
    fired = ScheduleFired(nominal_at=NOW, kind=Kind.BACKFILL, flow_id=flow(NOW), flow_name="x", next_at=ONE)
    assert evolve(schedule, ScheduleRecorded(SCHEDULE_ID, 2, at(NOW), fired)).backfill is None


def test_the_commands_of_the_door_say_what_they_are() -> None:
    assert all(command.__doc__ for command in (CreateSchedule, UpdateSchedule))
