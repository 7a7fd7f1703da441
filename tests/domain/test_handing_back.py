"""A run that gives way, and how the phase goes on."""

from __future__ import annotations

import pytest

from domain.commands import FireTimer, HandBackRun, ReassignRun, RecordSteps
from domain.errors import PhaseAlreadyRunning, RunNotCurrent
from domain.events import FlowDrained, FlowResumed, PhaseStarted, RunHandedBack, RunReassigned
from domain.flow import Flow, Run
from domain.words import PhaseStatus, Status
from tests.examples import CANCEL, CREATE, CREATE_AUTO, EXECUTE, FLOW_ID, PAUSE, RESUME
from tests.spec import Given, after, fail


def run_of(flow: Flow) -> Run:
    assert flow.run is not None
    return flow.run


def hand_back(flow: Flow) -> HandBackRun:
    run = run_of(flow)
    return HandBackRun(flow_id=FLOW_ID, run_id=run.run_id, token=run.token, execution_time_ms=7)


def handed_back() -> Given:
    """Paused while its first phase ran, with one step done."""
    running = after(CREATE, EXECUTE)
    run = run_of(running.flow)
    step = RecordSteps(flow_id=FLOW_ID, run_id=run.run_id, token=1, results={"fetch": 3})
    paused = Given(Given(running.when(step).flow).when(PAUSE).flow)
    return Given(paused.when(hand_back(paused.flow)).flow)


def test_work_gives_way_to_a_pause_and_no_attempt_is_counted() -> None:
    paused = after(CREATE, EXECUTE, PAUSE)
    run = run_of(paused.flow)
    given_up = RunHandedBack(phase_name="first", run_id=run.run_id, execution_time_ms=7)
    flow = paused.when(hand_back(paused.flow)).then(given_up, FlowDrained).flow
    assert (flow.status, flow.draining, flow.attempts_failed) == (Status.PAUSED, False, 0)
    assert (flow.phase("first").status, flow.phase("first").execution_time_ms) == (PhaseStatus.PENDING, 7)
    assert flow.phase("first").interrupted


@pytest.mark.parametrize("create", [CREATE, CREATE_AUTO], ids=["by the word", "by itself"])
def test_resuming_goes_on_with_the_same_attempt_as_it_was_started(create: object) -> None:
    paused = after(create, *([EXECUTE] if create is CREATE else []), PAUSE)  # type: ignore[arg-type]
    before = run_of(paused.flow)
    back = Given(paused.when(hand_back(paused.flow)).flow)
    after_it = run_of(back.when(RESUME).then(FlowResumed, PhaseStarted).flow)
    assert after_it.run_id != before.run_id
    assert (after_it.attempt, after_it.max_attempts) == (before.attempt, before.max_attempts)
    assert (after_it.options, after_it.timeout_seconds) == (before.options, before.timeout_seconds)


def test_steps_that_have_results_keep_them() -> None:
    flow = handed_back().when(RESUME).flow
    assert flow.phase("first").steps == {"fetch": 3}


def test_a_second_attempt_stays_the_second() -> None:
    running = after(CREATE, EXECUTE)
    failed = Given(running.when(fail(running.flow)).flow)
    retry = failed.flow.timers["retry"]
    again = Given(failed.when(FireTimer(flow_id=FLOW_ID, timer="retry", token=retry.token)).flow)
    second = Given(again.when(PAUSE).flow)
    back = Given(second.when(hand_back(second.flow)).flow)
    assert run_of(back.when(RESUME).flow).attempt == 2


def test_without_a_pause_another_worker_goes_on_at_once() -> None:
    running = after(CREATE, EXECUTE)
    run = run_of(running.flow)
    reassigned = RunReassigned(phase_name="first", run_id=run.run_id, token=2, reason="handed_back")
    flow = running.when(hand_back(running.flow)).then(reassigned).flow
    assert run_of(flow).attempt == 1


def test_why_a_run_goes_to_another_worker_stands_in_history() -> None:
    running = after(CREATE, EXECUTE)
    run = run_of(running.flow)
    lost = ReassignRun(flow_id=FLOW_ID, run_id=run.run_id, token=1, reason="worker_lost")
    fact = RunReassigned(phase_name="first", run_id=run.run_id, token=2, reason="worker_lost")
    running.when(lost).then(fact)


def test_only_the_run_in_hand_is_handed_back() -> None:
    flow = handed_back()
    running = Given(flow.when(RESUME).flow)
    stale = hand_back(after(CREATE, EXECUTE).flow)
    flow.when(stale).then_refused(RunNotCurrent)
    running.when(stale).then_refused(RunNotCurrent)
    running.when(EXECUTE).then_refused(PhaseAlreadyRunning)


def test_a_flow_that_was_handed_back_can_be_cancelled() -> None:
    assert handed_back().when(CANCEL).flow.status is Status.CANCELLED
