"""How a flow ends, and what it still takes then."""

from __future__ import annotations

import pytest

from domain.commands import Command, ExecutePhase, RepairFlow
from domain.errors import FlowIsOver, FlowNotPaused, MfoError, NothingToAnswer
from domain.events import FlowCancelled, FlowDeleted, PhaseStarted
from domain.words import PhaseStatus, Status
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
    FAILED,
    FAILED_ATTEMPT,
    FINISHED,
    FLOW_ID,
    PAUSE,
    RESUME,
    STARTED,
)
from tests.spec import Given, after, ask, given

PUBLIC: tuple[Command, ...] = (EXECUTE, PAUSE, RESUME, ANSWER, CANCEL)
# a repair says what was set right, and changes nothing of the flow
CHANGING = tuple(command for command in COMMANDS if not isinstance(command, RepairFlow))


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


def test_execution_is_refused_after_the_end_whatever_the_phase() -> None:
    given(CREATED, FINISHED).when(ExecutePhase(flow_id=FLOW_ID, phase_name="first")).then_refused(FlowIsOver)


@pytest.mark.parametrize("command", CHANGING, ids=lambda command: type(command).__name__)
def test_nothing_happens_to_a_deleted_flow_any_more(command: Command) -> None:
    answer = given(CREATED, DELETED).when(command)
    assert answer.error is not None or answer.facts == []


@pytest.mark.parametrize("ending", [FINISHED, CANCELLED], ids=lambda event: type(event).__name__)
@pytest.mark.parametrize("command", CHANGING, ids=lambda command: type(command).__name__)
def test_nothing_but_its_deletion_happens_to_an_ended_flow(command: Command, ending: object) -> None:
    answer = given(CREATED, ending).when(command)  # type: ignore[arg-type]
    assert answer.error is not None or [type(fact) for fact in answer.facts] in ([], [FlowDeleted])


def test_a_failed_flow_takes_execution_and_the_endings() -> None:
    failed = given(CREATED, STARTED, FAILED_ATTEMPT, FAILED)
    failed.when(EXECUTE).then(PhaseStarted)
    failed.when(CANCEL).then(FlowCancelled)
    failed.when(DELETE).then(FlowDeleted)


@pytest.mark.parametrize(("command", "error"), [(RESUME, FlowNotPaused), (ANSWER, NothingToAnswer)])
def test_a_failed_flow_takes_nothing_else(command: Command, error: type[MfoError]) -> None:
    failed = given(CREATED, STARTED, FAILED_ATTEMPT, FAILED)
    failed.when(command).then_refused(error, allowed=["execute", "retry", "iterate", "cancel", "delete"])


def test_a_paused_flow_can_be_ended() -> None:
    assert after(CREATE, EXECUTE, PAUSE).when(CANCEL).then(FlowCancelled).flow.paused is None
    assert after(CREATE, EXECUTE, PAUSE).when(DELETE).then(FlowDeleted).flow.paused is None


def test_an_ended_flow_asks_nothing_any_more() -> None:
    running = after(CREATE, EXECUTE)
    asking = Given(running.when(ask(running.flow, "answer")).flow)
    assert asking.flow.waiting is not None
    assert asking.when(CANCEL).flow.waiting is None


@pytest.mark.parametrize(("ending", "code"), [(CANCEL, "flow_cancelled"), (DELETE, "flow_deleted")])
def test_a_phase_in_hand_comes_to_no_result_when_the_flow_ends(ending: Command, code: str) -> None:
    running = after(CREATE, EXECUTE)
    asking = Given(running.when(ask(running.flow, "answer")).flow)
    for flow in (running, asking):
        ended = flow.when(ending).flow
        assert [phase.status for phase in ended.phases] == [PhaseStatus.FAILED, PhaseStatus.PENDING]
        error = ended.phase("first").error
        assert error is not None
        assert (error["code"], error["retryable"]) == (code, False)
        assert ended.transitions[-1]["status"] == "failed"
