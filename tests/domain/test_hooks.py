"""Hooks of a flow type: what runs at a flow's end and after its failure, and what that changes."""

from __future__ import annotations

import pytest

from domain.commands import (
    CreateOptions,
    ExecutionOptions,
    FailPhase,
    FireTimer,
    HandBackRun,
    ReassignRun,
    RecordSteps,
)
from domain.deciding.following import next_action
from domain.deciding.story import allowed
from domain.errors import PhaseAlreadyRunning, PhaseOutOfOrder, RunNotCurrent
from domain.events import (
    CheckpointCreated,
    FlowCancelled,
    FlowCompleted,
    FlowDrained,
    FlowFailed,
    FlowPaused,
    FlowResumed,
    HookCompleted,
    HookFailed,
    HookStarted,
    PhaseCompleted,
    PhaseFailed,
    PhasePostponed,
    PhaseRetryScheduled,
    PhaseSkipped,
    PhaseStarted,
    RunReassigned,
    StepsCompleted,
)
from domain.flow import progress
from domain.view import row
from domain.words import PhaseStatus, Status
from tests.examples import CANCEL, CREATE, EXECUTE, FLOW_ID, HOOKED, PAUSE, RESUME, TWO_STEPS
from tests.spec import TYPES, Given, Then, after, ask, complete, fail

HOOKS = CREATE.model_copy(update={"flow_type": "hooked", "options": CreateOptions(auto_execute=True)})


def then(answer: Then) -> Given:
    return Given(answer.flow)


def at_the_end() -> Given:
    """A flow whose phases are done; its end hooks run."""
    first = after(HOOKS)
    second = then(first.when(complete(first.flow, rows=3)))
    return then(second.when(complete(second.flow, found=2)))


def failed() -> Given:
    """A flow that has failed in its first phase; its error hooks run."""
    flow = after(HOOKS)
    return then(flow.when(fail(flow.flow, retryable=False)))


def test_the_end_hooks_run_before_the_flow_is_completed() -> None:
    first = after(HOOKS)
    second = then(first.when(complete(first.flow)))
    ending = second.when(complete(second.flow, found=2)).then(PhaseCompleted, CheckpointCreated, HookStarted)
    flow = ending.flow
    assert flow.run is not None
    assert (flow.status, flow.run.hook, flow.run.phase_name, flow.run.attempt) == ("processing", "end", "closing", 1)
    assert progress(flow) == 99.9
    assert next_action(flow, TYPES)["message"] == "Ending the flow"
    done = then(ending).when(complete(flow, summary={"assets": 2})).then(HookCompleted, FlowCompleted)
    assert done.flow.phase("closing").outputs == {"found": 2, "summary": {"assets": 2}}
    assert (done.flow.status, progress(done.flow)) == (Status.COMPLETED, 100.0)


def test_the_end_hooks_run_too_when_the_last_phase_is_passed_over() -> None:
    first = after(HOOKS)
    second = then(first.when(complete(first.flow)))
    lost = fail(second.flow, kind="permanent", retryable=False)
    passed = second.when(lost).then(PhaseFailed, PhaseSkipped, CheckpointCreated, HookStarted)
    then(passed).when(complete(passed.flow)).then(HookCompleted, FlowCompleted)


def test_a_pause_during_the_end_hooks_keeps_what_they_did() -> None:
    paused = then(at_the_end().when(PAUSE).then(FlowPaused))
    assert paused.flow.draining
    done = then(paused.when(complete(paused.flow)).then(HookCompleted, FlowDrained))
    assert done.flow.status is Status.PAUSED
    done.when(RESUME).then(FlowResumed, FlowCompleted)


def test_the_end_hooks_wait_for_a_flow_that_was_paused_before_them() -> None:
    first = after(HOOKS)
    second = then(first.when(complete(first.flow)))
    paused = then(second.when(PAUSE))
    drained = then(paused.when(complete(paused.flow)).then(PhaseCompleted, CheckpointCreated, FlowDrained))
    drained.when(RESUME).then(FlowResumed, HookStarted)


def test_end_hooks_that_fail_are_tried_again_and_then_fail_the_flow() -> None:
    flow = at_the_end()
    again = flow.when(fail(flow.flow)).then(HookFailed, PhaseRetryScheduled)
    scheduled = again.flow.retry
    assert scheduled is not None
    assert (scheduled.hook, scheduled.attempt, again.flow.status) == ("end", 2, "processing")
    assert next_action(again.flow, TYPES)["message"] == "The flow's end will be tried again"
    fired = FireTimer(flow_id=FLOW_ID, timer="retry", token=scheduled.timer_token)
    second = then(then(again).when(fired).then(HookStarted))
    assert second.flow.run is not None
    assert second.flow.run.attempt == 2
    lost = second.when(fail(second.flow)).then(HookFailed, FlowFailed, HookStarted)
    assert lost.flow.status is Status.FAILED
    assert lost.flow.phase("closing").status is PhaseStatus.COMPLETED
    assert next_action(lost.flow, TYPES)["type"] == "retry"
    assert [error["moment"] for error in lost.flow.errors] == ["end", "end"]


def test_executing_a_flow_whose_end_failed_runs_the_end_again() -> None:
    flow = at_the_end()
    flow = then(flow.when(fail(flow.flow, kind="permanent", retryable=False)))
    flow = then(flow.when(complete(flow.flow)))
    assert flow.flow.run is None
    wanted = EXECUTE.model_copy(
        update={"phase_name": "closing", "inputs": {"hint": 1}, "options": ExecutionOptions(timeout_seconds=7)}
    )
    ending = flow.when(wanted).then(HookStarted)
    assert ending.flow.run is not None
    assert (ending.flow.run.hook, ending.flow.run.timeout_seconds) == ("end", 7.0)
    assert ending.flow.inputs == {"hint": 1}
    then(ending).when(complete(ending.flow)).then(HookCompleted, FlowCompleted)
    flow.when(EXECUTE.model_copy(update={"phase_name": "opening"})).then_refused(PhaseOutOfOrder, allowed=["closing"])


def test_a_phase_is_not_executed_while_the_flow_ends() -> None:
    at_the_end().when(EXECUTE).then_refused(PhaseAlreadyRunning)


def test_a_failed_flow_is_failed_at_once_and_its_error_hooks_run() -> None:
    flow = after(HOOKS)
    answer = flow.when(fail(flow.flow, retryable=False)).then(PhaseFailed, FlowFailed, HookStarted)
    assert answer.flow.status is Status.FAILED
    assert answer.flow.run is not None
    assert (answer.flow.run.hook, answer.flow.run.phase_name) == ("error", "opening")
    assert allowed(answer.flow, TYPES) == ["execute", "retry", "iterate", "cancel", "delete"]
    assert next_action(answer.flow, TYPES)["message"].endswith(
        "retry it, execute it with other inputs, or cancel the flow"
    )


def test_what_error_hooks_return_is_the_flows_advice() -> None:
    flow = failed()
    advised = flow.when(complete(flow.flow, message="ask the network team")).then(HookCompleted)
    assert (advised.flow.status, advised.flow.run) == (Status.FAILED, None)
    assert row(advised.flow, TYPES)["flow_metadata"]["advice"] == {"message": "ask the network team"}
    assert next_action(advised.flow, TYPES)["message"] == "Opening failed; ask the network team"
    again = then(advised).when(EXECUTE).then(PhaseStarted)
    assert row(again.flow, TYPES)["flow_metadata"]["advice"] is None


def test_failing_error_hooks_change_nothing_about_the_flow() -> None:
    flow = failed()
    before = flow.flow.error
    again = flow.when(fail(flow.flow)).then(HookFailed, PhaseRetryScheduled)
    assert again.flow.status is Status.FAILED
    assert again.flow.retry is not None
    fired = FireTimer(flow_id=FLOW_ID, timer="retry", token=again.flow.retry.timer_token)
    second = then(then(again).when(fired).then(HookStarted))
    lost = second.when(fail(second.flow)).then(HookFailed)
    assert (lost.flow.status, lost.flow.run, lost.flow.retry) == (Status.FAILED, None, None)
    assert lost.flow.error == before
    assert lost.flow.attempts_failed == 1
    assert [error.get("moment") for error in lost.flow.errors] == [None, "error", "error"]
    then(lost).when(EXECUTE).then(PhaseStarted)


def test_executing_a_failed_flow_leaves_its_error_hooks() -> None:
    flow = failed()
    stale = complete(flow.flow, message="too late")
    answer = flow.when(EXECUTE).then(HookFailed, PhaseStarted)
    left = answer.facts[0]
    assert isinstance(left, HookFailed)
    assert (left.error["code"], left.final) == ("flow_executed", True)
    assert answer.flow.run is not None
    assert (answer.flow.run.hook, answer.flow.status) == (None, "processing")
    then(answer).when(stale).then_refused(RunNotCurrent)


def test_executing_while_error_hooks_wait_for_their_next_attempt_begins_the_phase() -> None:
    flow = failed()
    waiting = then(flow.when(fail(flow.flow)))
    answer = waiting.when(EXECUTE).then(PhaseStarted)
    assert answer.flow.retry is None


def test_a_flow_can_be_cancelled_while_its_error_hooks_run() -> None:
    flow = failed()
    cancelled = flow.when(CANCEL).then(FlowCancelled)
    assert cancelled.flow.run is None
    then(cancelled).when(complete(flow.flow)).then_refused(RunNotCurrent)


@pytest.mark.parametrize("kind", ["validation", "permission", "business_logic"])
def test_hooks_neither_ask_nor_pause(kind: str) -> None:
    flow = at_the_end()
    wrong = fail(flow.flow, kind=kind, retryable=False, fields=[{"field": "answer", "message": "is wrong"}])
    flow.when(wrong).then(HookFailed, FlowFailed, HookStarted)


def test_a_hook_that_asks_for_input_has_failed() -> None:
    flow = failed()
    answer = flow.when(ask(flow.flow, "colour")).then(HookFailed)
    fact = answer.facts[0]
    assert isinstance(fact, HookFailed)
    assert fact.error["code"] == "hook_asked"


def test_what_a_phase_does_about_a_failure_does_not_hold_for_the_end() -> None:
    flow = at_the_end()
    flow.when(fail(flow.flow, kind="permanent", retryable=False)).then(HookFailed, FlowFailed, HookStarted)


def test_a_run_of_hooks_is_taken_over_like_any_other() -> None:
    flow = failed()
    taken = flow.when(reassign(flow)).then(RunReassigned)
    assert taken.flow.run is not None
    assert (taken.flow.run.hook, taken.flow.run.token) == ("error", 2)


def reassign(flow: Given) -> ReassignRun:
    run = flow.flow.run
    assert run is not None
    return ReassignRun(flow_id=FLOW_ID, run_id=run.run_id, token=run.token)


def steps(flow: Given, *names: str) -> RecordSteps:
    run = flow.flow.run
    assert run is not None
    return RecordSteps(flow_id=FLOW_ID, run_id=run.run_id, token=run.token, results=dict.fromkeys(names, 1))


def test_the_results_of_start_hooks_outlive_a_phase_that_is_passed_over() -> None:
    flow = after(HOOKS)
    kept = flow.when(steps(flow, "hook:start:look:1", "fetch")).then(StepsCompleted)
    assert kept.flow.start_steps == {"hook:start:look:1": 1}
    assert kept.flow.phase("opening").steps == {"hook:start:look:1": 1, "fetch": 1}


def test_the_steps_of_hooks_are_forgotten_when_they_have_ended() -> None:
    flow = after(HOOKS)
    flow = then(flow.when(steps(flow, "fetch", "hook:before:note:1")))
    flow = then(flow.when(fail(flow.flow, retryable=False)))
    flow = then(flow.when(steps(flow, "hook:error:advise:1")))
    advised = flow.when(complete(flow.flow)).flow
    assert advised.phase("opening").steps == {"fetch": 1, "hook:before:note:1": 1}
    left = flow.when(EXECUTE).flow
    assert left.phase("opening").steps == {"fetch": 1, "hook:before:note:1": 1}


def test_a_type_names_all_that_may_run_in_a_phases_name() -> None:
    opening, closing = HOOKED.phases
    assert HOOKED.work_of(opening) == ("look", "note", "greet", "work", "tell", "advise")
    assert HOOKED.work_of(closing) == ("note", "work", "tell", "sum_up", "advise")
    assert TWO_STEPS.work_of(TWO_STEPS.phases[0]) == ("work",)
    assert set(HOOKED.handlers) == {"look", "note", "greet", "work", "tell", "sum_up", "advise"}


# targets that are left alone


def away(flow: Given, seconds: float = 8.0) -> FailPhase:
    lost = fail(flow.flow, kind="target_open")
    more = {"after_seconds": seconds, "target": "vcenter.example.com", "message": "vcenter.example.com is left alone"}
    return lost.model_copy(update={"error": lost.error | more})


def test_a_phase_whose_target_is_left_alone_waits_and_uses_up_no_attempt() -> None:
    flow = after(HOOKS)
    for _ in range(5):
        waiting = flow.when(away(flow)).then(PhasePostponed)
        retry = waiting.flow.retry
        assert retry is not None
        assert retry.reason == {
            "code": "io_failed",
            "message": "vcenter.example.com is left alone",
            "target": "vcenter.example.com",
        }
        assert 8.0 <= retry.delay_seconds <= 10.0
        assert (waiting.flow.status, waiting.flow.phase("opening").status) == ("processing", "waiting")
        assert (waiting.flow.attempts_failed, waiting.flow.errors) == (0, ())
        assert next_action(waiting.flow, TYPES)["message"] == "Opening waits: vcenter.example.com is left alone"
        fired = FireTimer(flow_id=FLOW_ID, timer="retry", token=retry.timer_token)
        flow = then(then(waiting).when(fired).then(PhaseStarted))
        assert flow.flow.run is not None
        assert (flow.flow.run.attempt, flow.flow.run.max_attempts) == (1, 2)


def test_a_phase_may_say_that_an_open_target_fails_it() -> None:
    first = after(HOOKS)
    second = then(first.when(complete(first.flow)))
    second.when(away(second)).then(PhaseFailed, FlowFailed, HookStarted)


def test_a_flow_that_waits_for_a_target_can_be_executed_paused_and_cancelled() -> None:
    flow = after(HOOKS)
    waiting = then(flow.when(away(flow)))
    assert allowed(waiting.flow, TYPES) == ["execute", "retry", "pause", "cancel", "delete"]
    waiting.when(EXECUTE).then(PhaseStarted)
    paused = then(waiting.when(PAUSE).then(FlowPaused))
    assert paused.flow.timers == {}
    assert set(paused.when(RESUME).then(FlowResumed).flow.timers) == {"retry"}
    cancelled = waiting.when(CANCEL).then(FlowCancelled)
    assert cancelled.flow.phase("opening").status is PhaseStatus.FAILED


def test_error_hooks_wait_for_their_target_too_and_the_flow_stays_failed() -> None:
    flow = failed()
    waiting = flow.when(away(flow)).then(PhasePostponed)
    assert waiting.flow.retry is not None
    assert (waiting.flow.status, waiting.flow.retry.hook) == (Status.FAILED, "error")
    assert waiting.flow.phase("opening").status is PhaseStatus.FAILED
    fired = FireTimer(flow_id=FLOW_ID, timer="retry", token=waiting.flow.retry.timer_token)
    then(waiting).when(fired).then(HookStarted)


def test_a_flow_whose_time_is_up_during_its_end_keeps_its_phases_and_has_the_end_done_again() -> None:
    timed = CreateOptions(auto_execute=True, flow_timeout_seconds=600)
    flow = after(HOOKS.model_copy(update={"options": timed}))
    flow = then(flow.when(complete(flow.flow)))
    ending = then(flow.when(complete(flow.flow)))
    up = FireTimer(flow_id=FLOW_ID, timer="deadline", token=ending.flow.timers["deadline"].token)
    failed = then(ending.when(up).then(HookFailed, FlowFailed, HookStarted))
    assert failed.flow.phase("closing").status is PhaseStatus.COMPLETED
    assert [error["code"] for error in failed.flow.errors] == ["flow_timeout"]
    urgent = EXECUTE.model_copy(update={"options": ExecutionOptions(priority=1)})
    again = failed.when(urgent).then(HookFailed, HookStarted).flow
    assert again.run is not None
    assert again.run.hook == "end"
    assert set(again.timers) == {"deadline"}
    assert again.priority == 1


def test_end_hooks_that_give_way_go_on_elsewhere_also_while_the_flow_is_paused() -> None:
    paused = then(at_the_end().when(PAUSE))
    run = paused.flow.run
    assert run is not None
    back = paused.when(HandBackRun(flow_id=FLOW_ID, run_id=run.run_id, token=run.token)).then(RunReassigned).flow
    assert back.phase("closing").status is PhaseStatus.COMPLETED
    assert back.run is not None
    assert back.run.hook == "end"


def test_error_hooks_run_anew_for_another_failure_though_the_first_ones_waited_to_be_tried_again() -> None:
    flow = failed()
    run = flow.flow.run
    assert run is not None
    step = RecordSteps(flow_id=FLOW_ID, run_id=run.run_id, token=run.token, results={"hook:error:advise:1": {"a": 1}})
    stepped = then(flow.when(step))
    waiting = then(stepped.when(fail(stepped.flow)).then(HookFailed, PhaseRetryScheduled))
    assert waiting.flow.phase("opening").steps
    again = then(waiting.when(EXECUTE).then(PhaseStarted))
    assert again.flow.phase("opening").steps == {}


def test_error_hooks_of_a_failed_end_run_anew_too() -> None:
    ending = at_the_end()
    lost = then(ending.when(fail(ending.flow, retryable=False)))
    run = lost.flow.run
    assert run is not None
    step = RecordSteps(flow_id=FLOW_ID, run_id=run.run_id, token=run.token, results={"hook:error:advise:1": {"a": 1}})
    stepped = then(lost.when(step))
    waiting = then(stepped.when(fail(stepped.flow)).then(HookFailed, PhaseRetryScheduled))
    assert then(waiting.when(EXECUTE).then(HookStarted)).flow.phase("closing").steps == {}
