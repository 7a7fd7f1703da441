"""Pausing, resuming, cancelling, deleting; tenants, versions and stale results."""

from __future__ import annotations

import pytest

from domain.commands import Command, CompletePhase, CreateFlow, ExecutePhase, ReassignRun
from domain.errors import (
    FlowDoesNotPause,
    FlowHasFailed,
    FlowIsOver,
    FlowNotFound,
    FlowNotPaused,
    NotSupported,
    PhaseNotPausable,
    RunNotCurrent,
    VersionMoved,
)
from domain.events import FlowCancelled, FlowDeleted, FlowPaused, FlowResumed, RunReassigned
from domain.words import Status
from tests.examples import (
    ANSWER,
    CANCEL,
    CANCELLED,
    COMMANDS,
    CREATE,
    CREATED,
    DELETE,
    DELETED,
    EXECUTE,
    FINISHED,
    FLOW_ID,
    OTHER_CLIENT,
    PAUSE,
    RESUME,
    RUN_ID,
    STARTED,
)
from tests.spec import Given, after, complete, fail, given, meta

PUBLIC: tuple[Command, ...] = (EXECUTE, PAUSE, RESUME, ANSWER, CANCEL)


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
    failed.when(PAUSE).then_refused(FlowHasFailed, allowed=["execute", "cancel", "delete"])


def test_cancelling_ends_the_flow_and_its_run() -> None:
    answer = after(CREATE, EXECUTE).when(CANCEL).then(FlowCancelled(reason="no longer wanted"))
    assert (answer.flow.status, answer.flow.run) == (Status.CANCELLED, None)


def test_cancelling_twice_changes_nothing() -> None:
    after(CREATE, CANCEL).when(CANCEL).then_nothing()


def test_deleting_is_soft_and_says_who_and_why() -> None:
    answer = after(CREATE).when(DELETE).then(FlowDeleted(reason="made by mistake"))
    assert answer.flow.deletion is not None
    assert (answer.flow.deletion["deleted_by"], answer.flow.deletion["reason"]) == ("maria", "made by mistake")


def test_deleting_twice_changes_nothing() -> None:
    after(CREATE, DELETE).when(DELETE).then_nothing()


@pytest.mark.parametrize("command", PUBLIC, ids=lambda command: type(command).__name__)
def test_a_completed_flow_only_takes_delete(command: Command) -> None:
    given(CREATED, FINISHED).when(command).then_refused(FlowIsOver, allowed=["delete"])


@pytest.mark.parametrize("command", [EXECUTE, PAUSE, RESUME, ANSWER], ids=lambda command: type(command).__name__)
def test_a_cancelled_flow_only_takes_delete(command: Command) -> None:
    given(CREATED, CANCELLED).when(command).then_refused(FlowIsOver, allowed=["delete"])


@pytest.mark.parametrize("command", PUBLIC, ids=lambda command: type(command).__name__)
def test_a_deleted_flow_takes_nothing(command: Command) -> None:
    given(CREATED, DELETED).when(command).then_refused(FlowIsOver, allowed=[])


@pytest.mark.parametrize("ending", [FINISHED, CANCELLED], ids=lambda event: type(event).__name__)
def test_an_ended_flow_can_be_deleted(ending: object) -> None:
    given(CREATED, ending).when(DELETE).then(FlowDeleted)  # type: ignore[arg-type]


def test_the_verbs_to_come_are_refused_by_name() -> None:
    for command in COMMANDS:
        if type(command).__name__ in {"SkipPhase", "RollbackFlow", "StartIteration"}:
            assert type(command).__name__ in after(CREATE).when(command).then_refused(NotSupported).detail


def test_a_stale_result_does_not_count() -> None:
    flow = after(CREATE, EXECUTE)
    result = complete(flow.flow)
    flow.when(result.model_copy(update={"token": 7})).then_refused(RunNotCurrent)
    Given(flow.when(result).flow).when(result).then_refused(RunNotCurrent)
    Given(flow.when(CANCEL).flow).when(result).then_refused(RunNotCurrent)


def test_a_run_that_is_taken_over_answers_under_the_next_token() -> None:
    flow = given(CREATED, STARTED)
    taken = Given(flow.when(ReassignRun(flow_id=FLOW_ID, run_id=RUN_ID, token=1)).then(RunReassigned).flow)
    assert taken.flow.run is not None
    assert taken.flow.run.token == 2
    taken.when(CompletePhase(flow_id=FLOW_ID, run_id=RUN_ID, token=1)).then_refused(RunNotCurrent)
    assert taken.when(CompletePhase(flow_id=FLOW_ID, run_id=RUN_ID, token=2)).facts
    taken.when(ReassignRun(flow_id=FLOW_ID, run_id=RUN_ID, token=1)).then_refused(RunNotCurrent)


@pytest.mark.parametrize("command", COMMANDS[1:], ids=lambda command: type(command).__name__)
def test_another_tenants_flow_is_not_there(command: Command) -> None:
    other = given(CREATED, STARTED).when(command, asked=meta(client=OTHER_CLIENT)).then_refused(FlowNotFound)
    assert other.as_dict() == given().when(command).then_refused(FlowNotFound).as_dict()


def test_a_version_that_has_moved_on_is_refused() -> None:
    after(CREATE).when(EXECUTE, expected_version=1)
    after(CREATE, EXECUTE).when(PAUSE, expected_version=1).then_refused(
        VersionMoved, allowed=["pause", "cancel", "delete"]
    )
    assert after(CREATE, EXECUTE).when(PAUSE, expected_version=2).facts


def test_execution_is_refused_after_the_end_whatever_the_phase() -> None:
    given(CREATED, FINISHED).when(ExecutePhase(flow_id=FLOW_ID, phase_name="first")).then_refused(FlowIsOver)
