"""How a flow is told to try again."""

from __future__ import annotations

from domain.commands import CreateOptions, FailPhase, RetryFlow
from domain.deciding.story import allowed
from domain.errors import FlowIsOver, FlowPausedNow, NothingToRetry
from domain.events import FlowRetried, HookFailed, HookStarted, PhaseStarted
from domain.words import Status
from tests.examples import CANCEL, CREATE, CREATE_AUTO, EXECUTE, FLOW_ID, PAUSE
from tests.spec import TYPES, Given, after, complete, fail

RETRY = RetryFlow(flow_id=FLOW_ID, reason="the wire is mended")
HOOKS = CREATE.model_copy(update={"flow_type": "hooked", "options": CreateOptions(auto_execute=True)})


def failed(flow: Given) -> Given:
    return Given(flow.when(fail(flow.flow, retryable=False)).flow)


def test_a_failed_flow_goes_on_at_its_failed_phase_with_all_attempts() -> None:
    running = after(CREATE, EXECUTE)
    second = Given(running.when(fail(running.flow)).flow)
    lost = failed(Given(second.when(RETRY).flow))
    answer = lost.when(RETRY).then(FlowRetried(phase_name="first", reason="the wire is mended"), PhaseStarted)
    assert answer.flow.run is not None
    assert (answer.flow.status, answer.flow.run.attempt, answer.flow.run.phase_name) == (Status.PROCESSING, 1, "first")


def test_an_attempt_that_waits_begins_at_once_and_keeps_its_number() -> None:
    running = after(CREATE, EXECUTE)
    waiting = Given(running.when(fail(running.flow)).flow)
    assert "retry" in allowed(waiting.flow, TYPES)
    answer = waiting.when(RETRY).then(FlowRetried, PhaseStarted)
    assert answer.flow.run is not None
    assert (answer.flow.run.attempt, answer.flow.retry, answer.flow.timers) == (2, None, {})


def test_a_flow_that_waits_for_another_system_asks_it_at_once() -> None:
    running = after(CREATE, EXECUTE)
    run = running.flow.run
    assert run is not None
    away = {"class": "target_open", "code": "target_open", "message": "it is left alone", "after_seconds": 60}
    waiting = Given(running.when(FailPhase(flow_id=FLOW_ID, run_id=run.run_id, token=1, error=away)).flow)
    answer = waiting.when(RETRY).then(FlowRetried, PhaseStarted)
    assert answer.flow.run is not None
    assert answer.flow.run.attempt == 1


def test_error_hooks_are_left_and_do_all_of_their_work_the_next_time() -> None:
    lost = failed(after(HOOKS))
    lost.when(RETRY).then(FlowRetried, HookFailed, PhaseStarted)


def test_a_flow_whose_end_failed_ends_again() -> None:
    first = after(HOOKS)
    second = Given(first.when(complete(first.flow)).flow)
    ending = Given(second.when(complete(second.flow)).flow)
    lost = failed(ending)
    lost.when(RETRY).then(FlowRetried, HookFailed, HookStarted)
    quiet = Given(lost.when(complete(lost.flow)).flow)
    assert "retry" in allowed(quiet.flow, TYPES)
    quiet.when(RETRY).then(FlowRetried, HookStarted)


def test_there_must_be_something_to_try_again() -> None:
    after(CREATE).when(RETRY).then_refused(
        NothingToRetry, code="nothing_to_retry", allowed=["execute", "pause", "cancel", "delete"]
    )
    after(CREATE_AUTO).when(RETRY).then_refused(NothingToRetry)


def test_a_paused_flow_is_resumed_first() -> None:
    running = after(CREATE, EXECUTE)
    waiting = Given(running.when(fail(running.flow)).flow)
    paused = Given(waiting.when(PAUSE).flow)
    paused.when(RETRY).then_refused(FlowPausedNow, allowed=["resume", "cancel", "delete"])


def test_what_is_over_is_not_tried_again() -> None:
    after(CREATE, CANCEL).when(RETRY).then_refused(FlowIsOver)
