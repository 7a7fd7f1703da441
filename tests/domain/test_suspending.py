"""A run that waits for something outside of it, and signals, which are such a thing."""

from __future__ import annotations

from typing import Any

import pytest

from domain.commands import ExecutePhase, RecordSteps, SignalFlow, SuspendRun
from domain.conditions import TIMED_OUT
from domain.deciding.story import allowed
from domain.deciding.suspending import MAX_PAYLOAD_BYTES, MAX_SIGNALS, MAX_SIGNALS_BYTES
from domain.errors import FlowIsOver, PhaseAlreadyRunning, RunNotCurrent, SignalsFull, SignalTooLarge
from domain.events import (
    FlowFailed,
    FlowResumed,
    PhaseFailed,
    PhaseSkipped,
    PhaseStarted,
    PhaseSuspended,
    SignalReceived,
    StepsCompleted,
)
from domain.flow import KEPT_SIGNAL_IDS, Flow, Recorded, evolve
from domain.view import row
from domain.words import PhaseStatus, Status
from tests.examples import CANCEL, CREATE, CREATE_AUTO, EXECUTE, FLOW_ID, PAUSE, RESUME
from tests.spec import TYPES, Given, after, complete, fail, fire, meta

STEP = "wait:signal:approved:1"
UNTIL = {"kind": "signal", "name": "approved"}


def suspend(flow: Flow, *, seconds: float | None = None, name: str = STEP, **changes: Any) -> SuspendRun:
    """The worker's word that the run under way waits for the signal `approved`."""
    assert flow.run is not None
    given = {"run_id": flow.run.run_id, "token": flow.run.token, "until": UNTIL, "execution_time_ms": 5, **changes}
    return SuspendRun(flow_id=FLOW_ID, name=name, timeout_seconds=seconds, **given)


def signal(name: str = "approved", signal_id: str | None = None, **payload: Any) -> SignalFlow:
    return SignalFlow(flow_id=FLOW_ID, name=name, payload=payload, signal_id=signal_id)


def waiting(*steps: Any, seconds: float | None = None) -> Given:
    """A flow whose first phase waits."""
    running = after(*(steps or (CREATE, EXECUTE)))
    return Given(running.when(suspend(running.flow, seconds=seconds)).flow)


def result(flow: Flow, name: str = STEP) -> Any:
    return flow.phase("first").steps.get(name)


def test_the_run_ends_and_its_attempt_does_not() -> None:
    running = after(CREATE, EXECUTE)
    flow = running.when(suspend(running.flow)).then(PhaseSuspended).flow
    assert (flow.run, flow.status, flow.attempts_failed) == (None, Status.PROCESSING, 0)
    phase = flow.phase("first")
    assert (phase.status, phase.attempt, phase.execution_time_ms) == (PhaseStatus.PENDING, 1, 5)
    assert flow.timers == {}


def test_status_says_what_is_waited_for_and_until_when() -> None:
    shown = row(waiting(seconds=60).flow, TYPES)
    action = shown["next_action"]
    assert (action["type"], action["phase"]) == ("wait", "first")
    assert action["message"] == "First waits for signal 'approved'"
    assert action["until"] == shown["flow_metadata"]["suspended"]["expires_at"] == "2026-11-20T12:01:00+00:00"
    assert shown["flow_metadata"]["suspended"]["message"] == "signal 'approved'"
    assert "signals" in allowed(waiting().flow, TYPES)
    endless = row(waiting().flow, TYPES)
    assert endless["next_action"]["until"] is endless["flow_metadata"]["suspended"]["expires_at"] is None


def test_the_signal_is_the_result_of_the_step_and_the_same_attempt_goes_on() -> None:
    before = after(CREATE, EXECUTE).flow.run
    flow = waiting(seconds=60).when(signal(ok=True)).then(SignalReceived, StepsCompleted, PhaseStarted).flow
    expected = {"payload": {"ok": True}, "signal_id": None, "received_at": "2026-11-20T12:00:00+00:00"}
    assert result(flow) == {**expected, "sent_by": "maria"}
    assert (flow.suspended, flow.signals, flow.timers) == (None, (), {})
    assert before is not None
    assert flow.run is not None
    assert flow.run.run_id != before.run_id
    assert (flow.run.attempt, flow.run.max_attempts) == (before.attempt, before.max_attempts)
    assert (flow.run.options, flow.run.timeout_seconds) == (before.options, before.timeout_seconds)
    assert Given(flow).when(complete(flow)).flow.phase("first").status is PhaseStatus.COMPLETED


def test_a_signal_that_came_before_anybody_waited_is_found() -> None:
    early = after(CREATE, signal("approved", n=1), EXECUTE)
    assert row(early.flow, TYPES)["flow_metadata"]["signals"] == {"approved": 1}
    flow = early.when(suspend(early.flow)).then(PhaseSuspended, StepsCompleted, PhaseStarted).flow
    assert result(flow)["payload"] == {"n": 1}


def test_signals_are_taken_up_in_order_each_once() -> None:
    flow = after(CREATE, EXECUTE, signal(n=1), signal("other"), signal(n=2)).flow
    for n in (1, 2):
        flow = Given(flow).when(suspend(flow, name=f"{STEP}{n}")).flow
        assert result(flow, f"{STEP}{n}")["payload"] == {"n": n}
    assert [one.name for one in flow.signals] == ["other"]
    assert Given(flow).when(suspend(flow, name="third")).then(PhaseSuspended).flow.suspended is not None


def test_another_signal_ends_no_wait() -> None:
    flow = waiting().when(signal("other")).then(SignalReceived).flow
    assert flow.suspended is not None
    assert len(flow.signals) == 1


def test_other_results_of_steps_end_no_wait() -> None:
    flow = waiting().flow
    other = StepsCompleted(phase_name="first", run_id=flow.id, results={"fetch": 3})
    assert evolve(flow, Recorded(FLOW_ID, flow.version + 1, meta(), other)).suspended == flow.suspended


def test_the_same_signal_id_again_is_silence() -> None:
    flow = waiting(CREATE, EXECUTE, signal("other", "order-7", n=1))
    flow.when(signal("other", "order-7", n=2)).then_nothing()
    flow.when(signal("other", "order-8")).then(SignalReceived)
    consumed = Given(flow.when(signal("approved", "a")).flow)
    consumed.when(signal("approved", "a")).then_nothing()


def test_so_many_signal_ids_are_remembered() -> None:
    flow = after(CREATE).flow
    for n in range(KEPT_SIGNAL_IDS + 1):
        fact = SignalReceived(name="s", signal_id=f"{n}")
        flow = evolve(flow, Recorded(FLOW_ID, flow.version + 1, meta(), fact))
    assert (flow.signal_ids[0], len(flow.signal_ids)) == ("1", KEPT_SIGNAL_IDS)


def test_a_signal_that_is_too_large_is_refused() -> None:
    after(CREATE).when(signal(text="x" * MAX_PAYLOAD_BYTES)).then_refused(SignalTooLarge, code="signal_too_large")


@pytest.mark.parametrize(
    ("count", "size"), [(MAX_SIGNALS, 0), (MAX_SIGNALS_BYTES // (MAX_PAYLOAD_BYTES // 2), MAX_PAYLOAD_BYTES // 2)]
)
def test_a_flow_that_can_keep_no_more_refuses_and_loses_nothing(count: int, size: int) -> None:
    flow = after(CREATE, EXECUTE).flow
    for _ in range(count):
        try:
            flow = Given(flow).when(signal("other", text="x" * size)).flow
        except AssertionError:
            break
    kept = flow.signals
    Given(flow).when(signal("other", text="x" * size)).then_refused(SignalsFull, code="signals_full")
    # room is made by whoever waits
    suspended = Given(flow).when(suspend(flow, until={"kind": "signal", "name": "other"})).flow
    assert suspended.signals == kept[1:]
    Given(suspended).when(signal("other", text="x" * size)).then(SignalReceived)


def test_the_time_may_be_up() -> None:
    flow = waiting(seconds=60)
    answer = flow.when(fire(flow.flow, "wait")).then(StepsCompleted, PhaseStarted)
    assert result(answer.flow) == TIMED_OUT
    late = Given(answer.flow).when(signal()).then(SignalReceived).flow
    assert len(late.signals) == 1


def test_a_timer_of_a_wait_that_is_over_is_silence() -> None:
    flow = waiting(seconds=60)
    old = fire(flow.flow, "wait")
    Given(flow.when(signal()).flow).when(old).then_nothing()


def test_a_pause_freezes_the_time_and_keeps_the_signals() -> None:
    flow = waiting(seconds=60)
    paused = Given(flow.when(PAUSE, asked=meta(seconds=20)).flow)
    assert (paused.flow.status, paused.flow.draining, paused.flow.timers) == (Status.PAUSED, False, {})
    assert row(paused.flow, TYPES)["flow_metadata"]["suspended"]["expires_at"] is None
    waits = paused.when(RESUME, asked=meta(seconds=100)).then(FlowResumed).flow
    assert waits.status is Status.PROCESSING
    assert waits.timers["wait"].delay_seconds == 40
    told = Given(paused.when(signal(n=1)).then(SignalReceived).flow)
    flow_on = told.when(RESUME).then(FlowResumed, StepsCompleted, PhaseStarted).flow
    assert result(flow_on)["payload"] == {"n": 1}


def test_a_wait_without_a_limit_outlives_a_pause() -> None:
    paused = Given(waiting().when(PAUSE).flow)
    assert paused.when(RESUME).then(FlowResumed).flow.suspended is not None


def test_a_run_that_suspends_while_it_drains_waits_until_the_flow_is_resumed() -> None:
    draining = after(CREATE, EXECUTE, signal(n=1), PAUSE)
    paused = Given(draining.when(suspend(draining.flow)).then(PhaseSuspended).flow)
    assert (paused.flow.status, paused.flow.draining) == (Status.PAUSED, False)
    paused.when(RESUME).then(FlowResumed, StepsCompleted, PhaseStarted)


def test_while_it_waits_the_phase_is_not_executed_again() -> None:
    error = waiting().when(EXECUTE).then_refused(PhaseAlreadyRunning)
    assert error.allowed == ("signals", "pause", "cancel", "delete")


def test_a_flow_that_is_over_takes_no_signal() -> None:
    cancelled = Given(waiting(seconds=60).when(CANCEL).flow)
    assert (cancelled.flow.suspended, cancelled.flow.alarms) == (None, {})
    cancelled.when(signal()).then_refused(FlowIsOver, code="flow_is_over")


def test_the_deadline_of_the_flow_ends_a_wait() -> None:
    create = CREATE_AUTO.model_copy(
        update={"options": CREATE_AUTO.options.model_copy(update={"flow_timeout_seconds": 9.0})}
    )
    flow = waiting(create)
    failed = flow.when(fire(flow.flow, "deadline")).then(FlowFailed).flow
    assert (failed.status, failed.suspended, failed.alarms) == (Status.FAILED, None, {})


def test_a_failed_flow_takes_signals_and_waits_anew_when_it_is_executed_again() -> None:
    flow = waiting(seconds=60)
    up = Given(flow.when(fire(flow.flow, "wait")).flow)
    kept = Given(up.when(RecordSteps(flow_id=FLOW_ID, **ids(up.flow), results={"fetch": TIMED_OUT})).flow)
    failed = Given(kept.when(fail(kept.flow, kind="permanent", retryable=False)).then(PhaseFailed, FlowFailed).flow)
    assert result(failed.flow) == TIMED_OUT
    told = Given(failed.when(signal(n=2)).then(SignalReceived).flow)
    again = Given(told.when(ExecutePhase(flow_id=FLOW_ID)).flow)
    assert again.flow.phase("first").steps == {"fetch": TIMED_OUT}
    assert result(again.when(suspend(again.flow)).flow)["payload"] == {"n": 2}


def ids(flow: Flow) -> dict[str, Any]:
    assert flow.run is not None
    return {"run_id": flow.run.run_id, "token": flow.run.token}


def test_only_the_run_in_hand_is_suspended() -> None:
    flow = waiting()
    stale = suspend(after(CREATE, EXECUTE).flow)
    flow.when(stale).then_refused(RunNotCurrent)


def test_what_nobody_can_wait_for_fails_the_phase() -> None:
    flow = after(CREATE, EXECUTE)
    failed = flow.when(suspend(flow.flow, until={"kind": "moon"})).then(PhaseFailed, FlowFailed).flow
    assert failed.error is not None
    assert failed.error["code"] == "cannot_wait"


def test_a_hook_at_the_end_cannot_wait() -> None:
    create = CREATE.model_copy(update={"flow_type": "hooked", "options": CREATE_AUTO.options})
    flow = after(create)
    while flow.flow.run is not None and flow.flow.run.hook is None:
        flow = Given(flow.when(complete(flow.flow)).flow)
    failed = flow.when(suspend(flow.flow)).flow
    assert failed.error is not None
    assert (failed.error["code"], failed.error["message"]) == ("cannot_wait", "a hook cannot wait")


def test_a_phase_that_is_skipped_waits_no_more() -> None:
    flow = waiting().flow
    skipped = evolve(flow, Recorded(FLOW_ID, flow.version + 1, meta(), PhaseSkipped(phase_name="first")))
    assert skipped.suspended is None


def test_a_result_of_the_wait_without_its_signal_harms_nothing() -> None:
    flow = waiting().flow
    told = StepsCompleted(phase_name="first", run_id=flow.id, results={STEP: {"payload": {}}})
    assert evolve(flow, Recorded(FLOW_ID, flow.version + 1, meta(), told)).suspended is None
