"""A flow that begins later: at a time, or after a while."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from domain.commands import CreateFlow, CreateOptions
from domain.deciding.following import next_action
from domain.events import FlowCreated, FlowFailed, FlowPaused, FlowResumed, InputRequested, PhaseFailed, PhaseStarted
from domain.flow import Flow, Timer, fold
from domain.view import row
from domain.words import Status
from eventstore.codec import FIRST_HASH, decode, encode, encode_meta
from tests.examples import CANCEL, CREATE, EXECUTE, FLOW_ID, PAUSE, RESUME
from tests.spec import MIDDAY, TYPES, Given, Then, after, fire, meta

HOUR = timedelta(hours=1)


def create(*, flow_type: str = "two_steps", **options: object) -> CreateFlow:
    given = CreateOptions.model_validate(options)
    return CreateFlow(flow_id=FLOW_ID, flow_type=flow_type, flow_name="Later", options=given)


AT_ONE = create(start_at="2026-11-20T14:00:00+01:00", auto_execute=True)
IN_AN_HOUR = create(start_after_seconds=3600)


def asked(command: CreateFlow, seconds: float = 0) -> Then:
    return Given(Flow(id=FLOW_ID)).when(command, asked=meta(seconds=seconds))


@pytest.mark.parametrize("command", [AT_ONE, IN_AN_HOUR], ids=["at a time", "after a while"])
def test_a_flow_that_begins_later_is_initialized_and_says_when(command: CreateFlow) -> None:
    flow = asked(command).then(FlowCreated).flow
    assert (flow.status, flow.run) == (Status.INITIALIZED, None)
    told = next_action(flow, TYPES)
    assert (told["type"], told["phase"], told["until"]) == ("wait", "first", "2026-11-20T13:00:00+00:00")
    assert row(flow, TYPES)["flow_metadata"]["timers"] == [
        {"name": "start", "due_at": "2026-11-20T13:00:00+00:00", "remaining_seconds": None}
    ]


@pytest.mark.parametrize("command", [AT_ONE, IN_AN_HOUR], ids=["at a time", "after a while"])
def test_its_time_starts_the_first_phase(command: CreateFlow) -> None:
    flow = after(command)
    begun = flow.when(fire(flow.flow, "start")).then(PhaseStarted).flow
    assert (begun.status, begun.start, begun.timers) == (Status.PROCESSING, None, {})


def test_a_first_phase_that_lacks_something_asks_for_it_then() -> None:
    demanding = create(flow_type="discovery", start_after_seconds=5, flow_timeout_seconds=60)
    flow = after(demanding)
    assert set(flow.flow.timers) == {"start"}
    asking = flow.when(fire(flow.flow, "start"), asked=meta(seconds=5)).then(InputRequested).flow
    assert (asking.status, set(asking.timers)) == (Status.WAITING_FOR_INPUT, {"deadline"})


def test_a_time_that_is_past_is_now() -> None:
    asked(AT_ONE, seconds=3600).then(FlowCreated, PhaseStarted)
    asked(AT_ONE, seconds=3599).then(FlowCreated)


def test_executing_it_does_not_wait() -> None:
    flow = after(IN_AN_HOUR)
    begun = flow.when(EXECUTE).then(PhaseStarted)
    assert begun.flow.timers == {}
    Given(begun.flow).when(fire(flow.flow, "start")).then_nothing()


def test_a_cancelled_flow_does_not_begin() -> None:
    flow = after(IN_AN_HOUR)
    cancelled = Given(flow.when(CANCEL).flow)
    assert cancelled.flow.alarms == {}
    cancelled.when(fire(flow.flow, "start")).then_nothing()


def test_a_pause_stops_a_while_and_leaves_a_time() -> None:
    paused = Given(after(IN_AN_HOUR).when(PAUSE, asked=meta(seconds=600)).then(FlowPaused).flow)
    assert row(paused.flow, TYPES)["flow_metadata"]["timers"] == [
        {"name": "start", "due_at": None, "remaining_seconds": 3000.0}
    ]
    resumed = paused.when(RESUME, asked=meta(seconds=7200)).then(FlowResumed).flow
    assert (resumed.status, resumed.timers["start"].fires_at) == (
        Status.INITIALIZED,
        MIDDAY + timedelta(seconds=7200 + 3000),
    )

    paused = Given(after(AT_ONE).when(PAUSE, asked=meta(seconds=600)).flow)
    assert row(paused.flow, TYPES)["flow_metadata"]["timers"] == [
        {"name": "start", "due_at": "2026-11-20T13:00:00+00:00", "remaining_seconds": 3000.0}
    ]
    resumed = paused.when(RESUME, asked=meta(seconds=1200)).then(FlowResumed).flow
    assert (resumed.status, resumed.timers) == (
        Status.INITIALIZED,
        {"start": Timer(token=resumed.version, due_at=MIDDAY + HOUR)},
    )


def test_a_time_that_passed_during_the_pause_is_the_resume() -> None:
    paused = Given(after(AT_ONE).when(PAUSE).flow)
    paused.when(RESUME, asked=meta(seconds=3601)).then(FlowResumed, PhaseStarted)


def test_the_time_of_a_flow_counts_from_its_start() -> None:
    flow = after(create(start_after_seconds=60, flow_timeout_seconds=10))
    begun = flow.when(fire(flow.flow, "start"), asked=meta(seconds=60)).then(PhaseStarted).flow
    assert begun.timers["deadline"] == Timer(
        token=begun.version, delay_seconds=10, since=MIDDAY + timedelta(seconds=60)
    )
    Given(begun).when(fire(begun, "deadline")).then(PhaseFailed, FlowFailed)


def test_what_is_written_of_a_start_is_read_back() -> None:
    story = asked(AT_ONE).story
    assert story is not None
    rows = [encode(fact, encode_meta(fact.meta), FIRST_HASH) for fact in story.facts]
    read = [decode(FLOW_ID, each.version, each.topic, each.state) for each in rows]
    assert fold(Flow(id=FLOW_ID), read) == story.flow


@pytest.mark.parametrize("text", ["2026-11-20T12:00:00", "2026-11-20", "tomorrow", "1700000000", 1700000000, True])
def test_a_start_without_a_zone_or_in_numbers_is_refused(text: object) -> None:
    with pytest.raises(ValidationError, match="with its zone"):
        create(start_at=text)


def test_a_start_beyond_all_calendars_is_refused() -> None:
    with pytest.raises(ValidationError, match="with its zone"):
        create(start_at="9999-12-31T23:59:59-12:00")


def test_a_start_may_be_given_as_a_time_of_the_language() -> None:
    assert create(start_at=datetime(2026, 11, 20, 13, tzinfo=UTC)).options == AT_ONE.options.model_copy(
        update={"auto_execute": False}
    )


@pytest.mark.parametrize("name", ["start_after_seconds", "flow_timeout_seconds", "input_timeout_seconds"])
@pytest.mark.parametrize("seconds", [0, -1, 1e12, "5", True])
def test_a_while_is_a_number_above_zero(name: str, seconds: object) -> None:
    with pytest.raises(ValidationError):
        create(**{name: seconds})


def test_two_starts_are_one_too_many() -> None:
    with pytest.raises(ValidationError, match="not both"):
        create(start_at="2026-11-20T12:00:00Z", start_after_seconds=5)


def test_a_flow_that_begins_at_once_has_no_start() -> None:
    assert after(CREATE).flow.start is None
