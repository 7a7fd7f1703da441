"""What a failure brings about."""

from __future__ import annotations

from domain.commands import ExecutePhase, ExecutionOptions, FireTimer
from domain.events import FlowFailed, InputRequested, PhaseFailed, PhaseRetryScheduled, PhaseStarted
from domain.flow_types import RetryConfig
from domain.words import PhaseStatus, Status
from tests.examples import CREATE, EXECUTE, FLOW_ID, PAUSE, RESUME
from tests.spec import Given, after, fail

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
    resumed = paused.when(RESUME)
    assert resumed.flow.run is not None
    assert resumed.flow.run.attempt == 2


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
