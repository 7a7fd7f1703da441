"""What a failure brings about."""

from __future__ import annotations

import pytest

from domain.commands import Command, CreateFlow, ExecutePhase, ExecutionOptions, FireTimer
from domain.events import (
    FlowDrained,
    FlowFailed,
    FlowResumed,
    InputProvided,
    InputRequested,
    PhaseFailed,
    PhaseRetryScheduled,
    PhaseStarted,
)
from domain.flow_types import RetryConfig
from domain.words import PhaseStatus, Status
from tests.examples import ANSWER, CANCEL, CREATE, DELETE, EXECUTE, FLOW_ID, PAUSE, RESUME
from tests.spec import Given, after, complete, fail

ONCE = ExecutePhase(flow_id=FLOW_ID, options=ExecutionOptions(max_retries=0))


def timer_of(flow: Given) -> FireTimer:
    assert flow.flow.retry is not None
    return FireTimer(flow_id=FLOW_ID, timer=flow.flow.retry.timer, token=flow.flow.retry.timer_token)


def test_a_failure_that_may_pass_is_tried_again_later() -> None:
    flow = after(CREATE, EXECUTE)
    answer = flow.when(fail(flow.flow)).then(PhaseFailed, PhaseRetryScheduled)
    assert answer.flow.status is Status.PROCESSING
    assert answer.flow.retry is not None
    assert (answer.flow.retry.attempt, answer.flow.retry.delay_seconds) == (2, 1.0)
    assert answer.flow.errors[0]["code"] == "io_failed"


def test_the_timer_starts_the_next_attempt() -> None:
    flow = after(CREATE, EXECUTE)
    waiting = Given(flow.when(fail(flow.flow)).flow)
    answer = waiting.when(timer_of(waiting)).then(PhaseStarted)
    assert answer.flow.run is not None
    assert (answer.flow.run.attempt, answer.flow.run.max_attempts) == (2, 3)


def test_the_second_retry_waits_twice_as_long() -> None:
    flow = after(CREATE, EXECUTE)
    for wanted in (1.0, 2.0):
        flow = Given(flow.when(fail(flow.flow)).flow)
        assert flow.flow.retry is not None
        assert flow.flow.retry.delay_seconds == wanted
        flow = Given(flow.when(timer_of(flow)).flow)
    answer = flow.when(fail(flow.flow)).then(PhaseFailed, FlowFailed)
    assert answer.flow.status is Status.FAILED
    assert answer.flow.attempts_failed == 3


def test_a_failure_that_will_not_pass_ends_the_flow() -> None:
    flow = after(CREATE, EXECUTE)
    flow.when(fail(flow.flow, retryable=False)).then(PhaseFailed, FlowFailed)


def test_without_retries_the_first_failure_ends_the_flow() -> None:
    flow = after(CREATE, ONCE)
    flow.when(fail(flow.flow)).then(PhaseFailed, FlowFailed)


def test_a_failed_flow_executes_its_failed_phase_afresh() -> None:
    flow = after(CREATE, ONCE)
    failed = Given(flow.when(fail(flow.flow)).flow)
    answer = failed.when(EXECUTE).then(PhaseStarted)
    assert answer.flow.run is not None
    assert (answer.flow.run.attempt, answer.flow.run.phase_name, answer.flow.error) == (1, "first", None)


def test_inputs_that_are_wrong_are_asked_for_by_name() -> None:
    flow = after(CREATE, EXECUTE)
    wrong = fail(flow.flow, kind="validation", retryable=False, fields=[{"field": "answer", "message": "is no number"}])
    answer = flow.when(wrong).then(PhaseFailed, InputRequested)
    assert answer.flow.status is Status.WAITING_FOR_INPUT
    assert answer.flow.phase("first").status is PhaseStatus.WAITING


def test_a_timer_that_no_longer_matters_is_let_pass() -> None:
    flow = after(CREATE, EXECUTE)
    waiting = Given(flow.when(fail(flow.flow)).flow)
    timer = timer_of(waiting)
    Given(waiting.when(timer).flow).when(timer).then_nothing()
    waiting.when(FireTimer(flow_id=FLOW_ID, timer="retry", token=99)).then_nothing()


def test_a_paused_flow_keeps_its_retry_until_it_is_resumed() -> None:
    flow = after(CREATE, EXECUTE)
    paused = Given(Given(flow.when(fail(flow.flow)).flow).when(PAUSE).flow)
    paused.when(timer_of(paused)).then_nothing()
    resumed = Given(paused.when(RESUME).then(FlowResumed).flow)
    again = resumed.when(timer_of(resumed)).then(PhaseStarted).flow
    assert again.run is not None
    assert again.run.attempt == 2


def test_a_failure_during_a_pause_is_retried_after_it() -> None:
    flow = after(CREATE, EXECUTE, PAUSE)
    failed = Given(flow.when(fail(flow.flow)).flow)
    assert failed.flow.status is Status.PAUSED
    assert failed.when(RESUME).flow.status is Status.PROCESSING


def test_executing_does_not_wait_for_the_timer() -> None:
    flow = after(CREATE, EXECUTE)
    waiting = Given(flow.when(fail(flow.flow)).flow)
    waiting.when(EXECUTE).then(PhaseStarted)


def test_the_delay_grows_to_its_limit_and_jitter_spreads_it() -> None:
    plain = RetryConfig(initial_delay_seconds=1, backoff_multiplier=2, max_delay_seconds=5, jitter=False)
    assert [plain.delay(attempt, 0.5) for attempt in (1, 2, 3, 4)] == [1, 2, 4, 5]
    spread = RetryConfig(initial_delay_seconds=2, jitter=True)
    assert (spread.delay(1, 0.0), spread.delay(1, 1.0)) == (1.0, 3.0)


def test_the_last_ten_errors_are_kept() -> None:
    flow = after(CREATE, ONCE)
    for _ in range(12):
        flow = Given(Given(flow.when(fail(flow.flow)).flow).when(ONCE).flow)
    assert len(flow.flow.errors) == 10


def test_the_jitter_follows_from_the_history_so_that_a_replay_tells_the_same() -> None:
    flow = after(CreateFlow(flow_id=FLOW_ID, flow_type="patient", flow_name="P"), EXECUTE)
    delays = []
    for attempt in (1, 2, 3, 4):
        failure = fail(flow.flow)
        told = flow.when(failure).then(PhaseFailed, PhaseRetryScheduled)
        assert flow.when(failure).facts == told.facts
        assert told.flow.retry is not None
        middle = 2.0 ** (attempt - 1)
        assert 0.5 * middle <= told.flow.retry.delay_seconds <= 1.5 * middle
        delays.append(told.flow.retry.delay_seconds / middle)
        flow = Given(told.flow)
        flow = Given(flow.when(timer_of(flow)).flow)
    assert len(set(delays)) == 4
    flow.when(fail(flow.flow)).then(PhaseFailed, FlowFailed)


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_a_number_of_retries_is_one_attempt_more(retries: int) -> None:
    flow = after(CREATE, ExecutePhase(flow_id=FLOW_ID, options=ExecutionOptions(max_retries=retries)))
    for _ in range(retries):
        flow = Given(flow.when(fail(flow.flow)).then(PhaseFailed, PhaseRetryScheduled).flow)
        flow = Given(flow.when(timer_of(flow)).flow)
    failed = flow.when(fail(flow.flow)).then(PhaseFailed, FlowFailed)
    assert failed.flow.attempts_failed == retries + 1
    ended = failed.facts[-1]
    assert isinstance(ended, FlowFailed)
    assert (ended.phase_name, ended.error, ended.attempts) == ("first", failed.flow.error, retries + 1)
    assert [each["attempt"] for each in ended.chain] == list(range(1, retries + 2))


def test_a_retry_runs_under_the_options_of_the_first_attempt() -> None:
    options = ExecutionOptions(timeout_seconds=5, max_retries=1, save_checkpoints=False)
    flow = after(CREATE, ExecutePhase(flow_id=FLOW_ID, inputs={"hint": "left"}, options=options))
    waiting = Given(flow.when(fail(flow.flow)).flow)
    again = waiting.when(timer_of(waiting)).flow.run
    assert again is not None
    assert (again.timeout_seconds, again.max_attempts, again.options["save_checkpoints"]) == (5.0, 2, False)
    assert waiting.flow.known_inputs == {"hint": "left"}


@pytest.mark.parametrize("next_word", [EXECUTE, CANCEL, DELETE], ids=lambda command: type(command).__name__)
def test_a_timer_fires_into_the_void_when_the_flow_has_gone_elsewhere(next_word: Command) -> None:
    flow = after(CREATE, EXECUTE)
    waiting = Given(flow.when(fail(flow.flow)).flow)
    Given(waiting.when(next_word).flow).when(timer_of(waiting)).then_nothing()


def test_the_timer_of_an_earlier_failure_does_not_cut_a_later_one_short() -> None:
    flow = after(CREATE, EXECUTE)
    first = Given(flow.when(fail(flow.flow)).flow)
    running = Given(first.when(timer_of(first)).flow)
    second = Given(running.when(fail(running.flow)).flow)
    second.when(timer_of(first)).then_nothing()
    second.when(timer_of(second)).then(PhaseStarted)


def test_another_timer_starts_nothing() -> None:
    flow = after(CREATE, EXECUTE)
    waiting = Given(flow.when(fail(flow.flow)).flow)
    waiting.when(timer_of(waiting).model_copy(update={"timer": "deadline"})).then_nothing()


def test_the_last_failure_during_a_pause_ends_the_flow_all_the_same() -> None:
    flow = after(CREATE, ONCE, PAUSE)
    answer = flow.when(fail(flow.flow)).then(PhaseFailed, FlowFailed)
    assert (answer.flow.status, answer.flow.paused) == (Status.FAILED, None)


def test_a_failed_flow_has_all_its_attempts_again() -> None:
    flow = after(CREATE, ONCE)
    again = Given(flow.when(fail(flow.flow)).flow).when(EXECUTE).flow
    assert again.run is not None
    assert again.run.max_attempts == 3
    assert Given(again).when(complete(again)).flow.attempts_failed == 1


def test_wrong_inputs_are_asked_for_once_each_and_in_order() -> None:
    flow = after(CREATE, EXECUTE)
    wrong = [{"field": name, "message": "is wrong"} for name in ("hint", "answer", "hint")]
    asked = flow.when(fail(flow.flow, kind="validation", fields=wrong)).facts[1]
    assert asked == InputRequested(phase_name="first", fields=("hint", "answer"), message="the wire is cut")


def test_an_invalid_input_that_is_not_named_ends_the_flow() -> None:
    flow = after(CREATE, EXECUTE)
    flow.when(fail(flow.flow, kind="validation", retryable=False)).then(PhaseFailed, FlowFailed)


def test_a_wrong_input_that_is_answered_starts_the_phase_afresh() -> None:
    flow = after(CREATE, EXECUTE)
    wrong = fail(flow.flow, kind="validation", retryable=False, fields=[{"field": "answer", "message": "is no number"}])
    asking = Given(flow.when(wrong).flow)
    answer = asking.when(ANSWER).then(InputProvided, PhaseStarted)
    assert answer.flow.run is not None
    assert (answer.flow.run.phase_name, answer.flow.run.attempt) == ("first", 1)


def test_a_wrong_input_during_a_pause_is_asked_for_when_it_is_over() -> None:
    flow = after(CREATE, EXECUTE, PAUSE)
    wrong = fail(flow.flow, kind="validation", retryable=False, fields=[{"field": "answer", "message": "is no number"}])
    asking = Given(flow.when(wrong).then(PhaseFailed, InputRequested, FlowDrained).flow)
    assert (asking.flow.status, asking.flow.draining) == (Status.PAUSED, False)
    assert asking.when(RESUME).flow.status is Status.WAITING_FOR_INPUT


def test_a_timer_carries_the_version_of_the_event_that_set_it() -> None:
    flow = after(CREATE, EXECUTE)
    story = flow.when(fail(flow.flow)).story
    assert story is not None
    assert story.flow.retry is not None
    assert story.flow.retry.timer_token == story.facts[-1].version == story.flow.version


def test_a_wrong_part_of_an_input_is_asked_for_by_the_inputs_name() -> None:
    flow = after(CREATE, EXECUTE)
    wrong = [{"field": f"answer.{part}", "message": "is wrong"} for part in ("left", "right")]
    asked = flow.when(fail(flow.flow, kind="validation", fields=wrong)).then(PhaseFailed, InputRequested).flow
    assert asked.waiting is not None
    assert asked.waiting.fields == ("answer",)
