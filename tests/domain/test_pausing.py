"""How a flow is paused and goes on."""

from __future__ import annotations

from domain.commands import CreateFlow, HandBackRun, PauseFlow
from domain.errors import FlowDoesNotPause, FlowHasFailed, FlowNotPaused, FlowPausedNow, PhaseNotPausable
from domain.events import (
    CheckpointCreated,
    FlowCancelled,
    FlowDrained,
    FlowFailed,
    FlowPaused,
    FlowResumed,
    InputRequested,
    PhaseCompleted,
    PhaseFailed,
    PhaseRetryScheduled,
    PhaseStarted,
    RunHandedBack,
)
from domain.view import row
from domain.words import PhaseStatus, Status
from tests.examples import CANCEL, CREATE, CREATE_AUTO, EXECUTE, FLOW_ID, PAUSE, RESUME
from tests.spec import TYPES, Given, after, ask, complete, fail, meta


def test_a_pause_between_phases_holds_at_once() -> None:
    answer = after(CREATE).when(PAUSE).then(FlowPaused(reason="lunch", draining=False))
    assert answer.flow.status is Status.PAUSED


def test_a_pause_while_a_phase_runs_drains() -> None:
    answer = after(CREATE, EXECUTE).when(PAUSE).then(FlowPaused(reason="lunch", draining=True))
    assert answer.flow.draining


def test_pausing_twice_changes_nothing() -> None:
    after(CREATE, PAUSE).when(PAUSE).then_nothing()


def test_resuming_while_draining_lets_the_work_go_on() -> None:
    answer = after(CREATE, EXECUTE, PAUSE).when(RESUME).then(FlowResumed)
    assert answer.flow.status is Status.PROCESSING


def test_resuming_an_untouched_flow_brings_it_back_to_its_beginning() -> None:
    assert after(CREATE, PAUSE).when(RESUME).then(FlowResumed).flow.status is Status.INITIALIZED


def test_what_is_not_paused_is_not_resumed() -> None:
    after(CREATE).when(RESUME).then_refused(FlowNotPaused, allowed=["execute", "pause", "cancel", "delete"])


def test_a_type_may_refuse_pauses() -> None:
    after(CreateFlow(flow_id=FLOW_ID, flow_type="steady", flow_name="S")).when(PAUSE).then_refused(FlowDoesNotPause)


def test_a_phase_may_refuse_pauses() -> None:
    patient = CreateFlow(flow_id=FLOW_ID, flow_type="patient", flow_name="P")
    after(patient, EXECUTE).when(PAUSE).then_refused(PhaseNotPausable)


def test_a_failed_flow_is_not_paused() -> None:
    flow = after(CREATE, EXECUTE)
    failed = Given(flow.when(fail(flow.flow, retryable=False)).flow)
    failed.when(PAUSE).then_refused(FlowHasFailed, allowed=["execute", "retry", "iterate", "cancel", "delete"])


def test_a_type_that_does_not_pause_does_not_offer_it() -> None:
    steady = CreateFlow(flow_id=FLOW_ID, flow_type="steady", flow_name="S")
    after(steady).when(PAUSE).then_refused(FlowDoesNotPause, allowed=["execute", "cancel", "delete"])


def test_a_phase_that_does_not_pause_does_not_offer_it_while_it_runs() -> None:
    patient = CreateFlow(flow_id=FLOW_ID, flow_type="patient", flow_name="P")
    after(patient, EXECUTE).when(PAUSE).then_refused(PhaseNotPausable, allowed=["cancel", "delete"])
    after(patient).when(PAUSE).then(FlowPaused)


def test_a_pause_says_who_when_and_why() -> None:
    pause = after(CREATE).when(PAUSE, asked=meta("juri")).flow.paused
    assert pause is not None
    assert (pause.by, pause.at, pause.reason) == ("juri", meta().at, "lunch")


def test_a_flow_that_goes_on_by_itself_starts_its_next_phase_when_it_is_resumed() -> None:
    flow = after(CREATE_AUTO, PAUSE)
    drained = Given(flow.when(complete(flow.flow, answer=1)).then(PhaseCompleted, CheckpointCreated, FlowDrained).flow)
    answer = drained.when(RESUME).then(FlowResumed, PhaseStarted)
    assert answer.flow.current_phase == "second"


def test_a_flow_that_waits_for_the_word_still_waits_for_it_when_it_is_resumed() -> None:
    flow = after(CREATE, EXECUTE, PAUSE)
    drained = Given(flow.when(complete(flow.flow)).flow)
    answer = drained.when(RESUME).then(FlowResumed)
    assert (answer.flow.status, answer.flow.run) == (Status.WAITING_FOR_INPUT, None)


def test_a_question_that_was_open_is_open_again_when_the_flow_is_resumed() -> None:
    running = after(CREATE, EXECUTE)
    asking = Given(running.when(ask(running.flow, "answer")).flow)
    paused = Given(asking.when(PAUSE).then(FlowPaused(reason="lunch", draining=False)).flow)
    answer = paused.when(RESUME).then(FlowResumed)
    assert answer.flow.status is Status.WAITING_FOR_INPUT
    assert answer.flow.waiting == asking.flow.waiting


def test_a_flow_can_be_paused_while_a_retry_waits() -> None:
    running = after(CREATE, EXECUTE)
    waiting = Given(running.when(fail(running.flow)).flow)
    paused = waiting.when(PAUSE).then(FlowPaused(reason="lunch", draining=False)).flow
    assert (paused.status, paused.phase("first").status) == (Status.PAUSED, PhaseStatus.FAILED)


def test_a_flow_is_paused_and_resumed_as_often_as_wanted() -> None:
    flow = after(CREATE, PAUSE, RESUME, PAUSE, RESUME)
    flow.when(EXECUTE).then(PhaseStarted)


def test_a_flow_that_drains_says_how_many_runs_do_and_when_the_last_has_ended() -> None:
    draining = after(CREATE, EXECUTE, PAUSE)
    before = row(draining.flow, TYPES)
    assert (before["draining"], before["flow_metadata"]["draining_runs"]) == (True, 1)
    assert before["flow_metadata"]["paused"]["drained_at"] is None
    assert before["next_action"]["message"] == "The flow is paused; work in progress is draining (1 run)"
    drained = draining.when(complete(draining.flow), asked=meta("mfo", seconds=9))
    now = row(drained.then(PhaseCompleted, CheckpointCreated, FlowDrained).flow, TYPES)
    assert (now["draining"], now["flow_metadata"]["draining_runs"]) == (False, 0)
    assert now["flow_metadata"]["paused"]["drained_at"] == "2026-11-20T12:00:09Z"


def test_a_flow_that_has_nothing_in_hand_is_drained_at_once() -> None:
    paused = after(CREATE).when(PAUSE).then(FlowPaused).flow.paused
    assert paused is not None
    assert paused.drained_at == meta().at


def test_whatever_ends_the_last_run_is_told_with_it() -> None:
    draining = after(CREATE, EXECUTE, PAUSE)
    run = draining.flow.run
    assert run is not None
    draining.when(fail(draining.flow)).then(PhaseFailed, PhaseRetryScheduled, FlowDrained)
    draining.when(ask(draining.flow, "answer")).then(InputRequested, FlowDrained)
    back = HandBackRun(flow_id=FLOW_ID, run_id=run.run_id, token=run.token)
    draining.when(back).then(RunHandedBack, FlowDrained)


def test_a_flow_that_is_resumed_or_fails_before_it_has_drained_says_nothing_of_it() -> None:
    draining = after(CREATE, EXECUTE, PAUSE)
    draining.when(RESUME).then(FlowResumed)
    draining.when(fail(draining.flow, retryable=False)).then(PhaseFailed, FlowFailed)
    draining.when(CANCEL).then(FlowCancelled)


def test_a_pause_in_hand_is_not_changed_by_another() -> None:
    running = PauseFlow(flow_id=FLOW_ID, timers="running")
    frozen = PauseFlow(flow_id=FLOW_ID, timers="frozen")
    after(CREATE, PAUSE).when(frozen).then_nothing()
    after(CREATE, running).when(PAUSE).then_nothing()
    refused = after(CREATE, running).when(frozen).then_refused(FlowPausedNow, allowed=["resume", "cancel", "delete"])
    assert "timers running" in refused.detail
