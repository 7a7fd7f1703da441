"""What a flow wants to be told when its time has come, and what a pause and a clock make of it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from domain.commands import Command, CreateFlow, CreateOptions, ExecutePhase, ExecutionOptions, FireTimer
from domain.errors import RegistrationError
from domain.events import FlowFailed, FlowPaused, FlowResumed, PhaseFailed, PhaseStarted
from domain.flow import Timer
from domain.flow_types import FlowTypeConfig, FlowTypes
from domain.view import row
from domain.words import PhaseStatus, Status
from tests.examples import ASKING, CANCEL, CREATE, CREATE_AUTO, DELETE, EXECUTE, FLOW_ID, PAUSE, RESUME, TWO_STEPS
from tests.spec import MIDDAY, TYPES, Given, after, complete, fail, fire, meta

LIMITED = CREATE.model_copy(update={"options": CreateOptions(flow_timeout_seconds=600)})


def retrying() -> Given:
    """A flow whose first phase failed and is tried again after a second."""
    running = after(CREATE, EXECUTE)
    return Given(running.when(fail(running.flow)).flow)


def test_a_flow_that_will_try_again_has_a_timer_for_it_until_it_ends() -> None:
    assert after(CREATE, EXECUTE).flow.timers == {}
    failed = retrying()
    retry = failed.flow.retry
    assert retry is not None
    assert failed.flow.timers == {"retry": Timer(token=retry.timer_token, delay_seconds=1.0, since=MIDDAY)}
    assert failed.when(EXECUTE).flow.timers == {}


def test_a_paused_flow_has_no_timer() -> None:
    assert retrying().when(PAUSE).then(FlowPaused).flow.timers == {}


def test_what_was_left_of_a_delay_is_still_to_pass_after_the_pause() -> None:
    paused = Given(retrying().when(PAUSE, asked=meta(seconds=0.25)).flow)
    resumed = paused.when(RESUME, asked=meta(seconds=5000)).then(FlowResumed).flow
    assert resumed.timers == {
        "retry": Timer(token=resumed.version, delay_seconds=0.75, since=MIDDAY + timedelta(seconds=5000))
    }
    again = Given(resumed).when(fire(resumed, "retry")).then(PhaseStarted).flow
    assert again.run is not None
    assert again.run.attempt == 2


def test_a_delay_that_had_passed_before_the_pause_starts_the_attempt_with_the_resume() -> None:
    paused = Given(retrying().when(PAUSE, asked=meta(seconds=2)).flow)
    paused.when(RESUME, asked=meta(seconds=3)).then(FlowResumed, PhaseStarted)


def test_a_delay_that_began_during_the_pause_is_whole_after_it() -> None:
    running = after(CREATE, EXECUTE, PAUSE)
    failed = Given(running.when(fail(running.flow), asked=meta(seconds=10)).flow)
    assert failed.flow.timers == {}
    resumed = failed.when(RESUME, asked=meta(seconds=99)).then(FlowResumed).flow
    assert resumed.timers["retry"].delay_seconds == 1.0


def test_several_pauses_use_a_delay_up_together() -> None:
    flow = retrying()
    for n in (1, 2):
        flow = Given(flow.when(PAUSE, asked=meta(seconds=100 * (n - 1) + 0.4)).flow)
        flow = Given(flow.when(RESUME, asked=meta(seconds=n * 100)).then(FlowResumed).flow)
    assert flow.flow.timers["retry"].delay_seconds == 0.2


def test_a_clock_that_went_back_during_the_delay_makes_it_no_longer() -> None:
    paused = Given(retrying().when(PAUSE, asked=meta(seconds=-3600)).flow)
    resumed = paused.when(RESUME, asked=meta(seconds=-3000)).then(FlowResumed).flow
    assert resumed.timers["retry"].delay_seconds == 1.0


def test_a_firing_from_before_the_pause_means_nothing_after_it() -> None:
    before = retrying()
    old = fire(before.flow, "retry")
    paused = Given(before.when(PAUSE).flow)
    paused.when(old).then_nothing()
    Given(paused.when(RESUME).flow).when(old).then_nothing()


def test_a_timer_that_nobody_set_means_nothing() -> None:
    retrying().when(FireTimer(flow_id=FLOW_ID, timer="tea", token=4)).then_nothing()


def test_a_timer_says_when_it_fires_and_what_is_left() -> None:
    fixed = Timer(token=1, due_at=MIDDAY)
    assert (fixed.fires_at, fixed.left(MIDDAY - timedelta(seconds=5)), fixed.left(MIDDAY + timedelta(1))) == (
        MIDDAY,
        5.0,
        0.0,
    )
    uncounted = Timer(token=1, delay_seconds=7.0)
    assert (uncounted.fires_at, uncounted.left(MIDDAY)) == (None, 7.0)


def test_a_flow_that_is_not_over_in_time_fails_and_its_run_is_ended() -> None:
    running = after(LIMITED, EXECUTE)
    answer = running.when(fire(running.flow, "deadline")).then(PhaseFailed, FlowFailed)
    assert (answer.flow.status, answer.flow.run, answer.flow.timers) == (Status.FAILED, None, {})
    assert answer.flow.error is not None
    assert (answer.flow.error["code"], answer.flow.error["message"]) == (
        "flow_timeout",
        "the flow did not end within 600 s",
    )
    assert [entry["code"] for entry in answer.flow.errors] == ["flow_timeout"]


def test_the_time_of_a_flow_counts_while_it_waits_for_the_word_too() -> None:
    waiting = after(LIMITED)
    answer = waiting.when(fire(waiting.flow, "deadline")).then(FlowFailed)
    assert answer.flow.phase("first").status is PhaseStatus.FAILED
    assert [entry["code"] for entry in answer.flow.errors] == ["flow_timeout"]
    assert row(answer.flow, TYPES)["next_action"]["type"] == "retry"


def test_a_flow_that_is_tried_again_when_its_time_is_up_is_not() -> None:
    running = after(LIMITED, EXECUTE)
    waiting = Given(running.when(fail(running.flow)).flow)
    assert set(waiting.flow.timers) == {"retry", "deadline"}
    answer = waiting.when(fire(waiting.flow, "deadline")).then(FlowFailed)
    assert (answer.flow.retry, answer.flow.timers) == (None, {})
    fact = answer.facts[0]
    assert isinstance(fact, FlowFailed)
    assert [each["code"] for each in fact.chain] == ["io_failed"]


def test_a_flow_that_is_executed_again_has_its_whole_time_anew() -> None:
    waiting = after(LIMITED)
    failed = Given(waiting.when(fire(waiting.flow, "deadline"), asked=meta(seconds=600)).flow)
    again = failed.when(EXECUTE, asked=meta(seconds=1000)).then(PhaseStarted).flow
    assert again.timers == {
        "deadline": Timer(token=again.version, delay_seconds=600.0, since=MIDDAY + timedelta(seconds=1000))
    }


def test_a_pause_stops_the_time_of_a_flow() -> None:
    paused = Given(after(LIMITED).when(PAUSE, asked=meta(seconds=100)).flow)
    assert paused.flow.timers == {}
    assert paused.when(RESUME, asked=meta(seconds=9000)).flow.timers["deadline"].delay_seconds == 500.0


@pytest.mark.parametrize("word", [CANCEL, DELETE], ids=lambda command: type(command).__name__)
def test_a_flow_that_has_ended_waits_for_nothing(word: Command) -> None:
    assert after(LIMITED, EXECUTE, word).flow.alarms == {}


def test_a_completed_flow_waits_for_nothing() -> None:
    flow = after(CreateFlow(flow_id=FLOW_ID, flow_type="patient", flow_name="P", options=LIMITED.options), EXECUTE)
    done = flow.when(complete(flow.flow)).flow
    assert (done.status, done.alarms) == (Status.COMPLETED, {})


def test_the_types_time_holds_where_the_flow_has_none_of_its_own() -> None:
    ours = CreateFlow(flow_id=FLOW_ID, flow_type="asking", flow_name="A")
    assert after(ours).flow.timers["deadline"].delay_seconds == 86_400
    shorter = ours.model_copy(update={"options": CreateOptions(flow_timeout_seconds=5)})
    assert after(shorter).flow.timers["deadline"].delay_seconds == 5
    assert after(CREATE).flow.timers == {}


def registered(config: FlowTypeConfig) -> None:
    FlowTypes().register(config, handlers=["work"], validators=[])


@pytest.mark.parametrize("setting", ["input_timeout_seconds", "flow_timeout_seconds"])
def test_a_type_has_no_time_of_zero(setting: str) -> None:
    wrong: dict[str, Any] = {setting: 0.0}
    with pytest.raises(RegistrationError, match="above 0 seconds"):
        registered(replace(TWO_STEPS, **wrong))


@pytest.mark.parametrize(
    ("phase", "changes", "why"),
    [
        (0, {"can_skip": False}, "cannot be skipped"),
        (0, {"on_input_timeout": "shrug"}, "use one of fail, defaults, skip"),
        (0, {"input_timeout_seconds": -1.0}, "above 0 seconds"),
        (1, {"input_defaults": {}}, "need each other"),
        (1, {"on_input_timeout": "fail"}, "need each other"),
        (1, {"input_defaults": {"logins": [{"password": "x"}]}}, "must hold no secret"),
    ],
)
def test_what_follows_when_nobody_answers_must_be_possible(phase: int, changes: dict[str, Any], why: str) -> None:
    phases = [*ASKING.phases]
    phases[phase] = replace(phases[phase], **changes)
    with pytest.raises(RegistrationError, match=why):
        registered(replace(ASKING, phases=tuple(phases)))


def test_how_the_attempts_ended_is_told_while_it_is_tried_again_and_in_the_end() -> None:
    flow = after(CREATE, ExecutePhase(flow_id=FLOW_ID, options=ExecutionOptions(max_retries=1)))
    waiting = Given(flow.when(fail(flow.flow), asked=meta(seconds=5)).flow)
    first = {
        "attempt": 1,
        "started_at": "2026-11-20T12:00:00+00:00",
        "failed_at": "2026-11-20T12:00:05+00:00",
        "class": "network",
        "code": "io_failed",
        "message": "the wire is cut",
    }
    assert row(waiting.flow, TYPES)["flow_metadata"]["attempts"] == [first]
    again = Given(waiting.when(fire(waiting.flow, "retry"), asked=meta(seconds=6)).flow)
    failed = again.when(fail(again.flow), asked=meta(seconds=7)).flow
    told = row(failed, TYPES)["flow_metadata"]["attempts"]
    assert [(each["attempt"], each["started_at"][-11:-6]) for each in told] == [(1, "00:00"), (2, "00:06")]
    assert row(Given(failed).when(EXECUTE).flow, TYPES)["flow_metadata"]["attempts"] == []


def test_the_first_and_the_last_attempts_are_told() -> None:
    flow = after(CREATE, ExecutePhase(flow_id=FLOW_ID, options=ExecutionOptions(max_retries=24)))
    for _ in range(24):
        flow = Given(flow.when(fail(flow.flow)).flow)
        flow = Given(flow.when(fire(flow.flow, "retry")).flow)
    ended = flow.when(fail(flow.flow)).facts[-1]
    assert isinstance(ended, FlowFailed)
    assert [each["attempt"] for each in ended.chain] == [1, *range(7, 26)]


def test_the_timers_of_a_flow_are_shown_the_nearest_first() -> None:
    running = after(
        CREATE_AUTO.model_copy(update={"options": CreateOptions(auto_execute=True, flow_timeout_seconds=9)})
    )
    failed = Given(running.when(fail(running.flow)).flow)
    assert row(failed.flow, TYPES)["flow_metadata"]["timers"] == [
        {"name": "retry", "due_at": "2026-11-20T12:00:01+00:00", "remaining_seconds": None},
        {"name": "deadline", "due_at": "2026-11-20T12:00:09+00:00", "remaining_seconds": None},
    ]
    paused = failed.when(PAUSE, asked=meta(seconds=0.5)).flow
    assert row(paused, TYPES)["flow_metadata"]["timers"] == [
        {"name": "retry", "due_at": None, "remaining_seconds": 0.5},
        {"name": "deadline", "due_at": None, "remaining_seconds": 8.5},
    ]
