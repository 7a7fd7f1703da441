"""A run that cannot be done because outputs of earlier phases are gone: the flow goes back by itself, or fails and says why."""

from __future__ import annotations

from typing import Any

from domain.commands import ReportLoss
from domain.errors import RunNotCurrent
from domain.events import FlowDrained, FlowFailed, FlowRolledBack, HookStarted, PhaseFailed, PhaseStarted
from domain.flow import Flow
from domain.words import SYSTEM_USER
from tests.domain.test_forks import WITH_CHECKPOINTS, forked, run_of
from tests.domain.test_rolling_back import by_word, doing, outcome, then
from tests.examples import CREATE_AUTO, EXECUTE, FLOW_ID, PAUSE
from tests.spec import Given, Then, after, complete, meta

GONE = "ab" * 32


def lose(flow: Given, **more: Any) -> Then:
    """The keeper's word that the run under way cannot be done."""
    run = flow.flow.run
    assert run is not None
    command = ReportLoss(flow_id=FLOW_ID, run_id=run.run_id, token=run.token, artifact=GONE, **more)
    return flow.when(command, asked=meta(SYSTEM_USER))


def whole(flow: Flow, n: int) -> dict[str, Any]:
    """The state at the checkpoint with this number is whole."""
    return {"mendable": True, "checkpoint_id": flow.checkpoints[n].checkpoint_id}


def reason_of(answer: Then) -> str:
    [failed] = [fact for fact in answer.facts if isinstance(fact, FlowFailed)]
    assert failed.error["code"] == "outputs_lost"
    return str(failed.error["message"])


def test_the_flow_goes_back_by_itself_to_the_checkpoint_that_is_whole() -> None:
    flow = doing(2)
    answer = lose(flow, **whole(flow.flow, 0)).then(PhaseFailed, FlowRolledBack, HookStarted)
    failed, back = answer.facts[:2]
    assert isinstance(failed, PhaseFailed)
    assert isinstance(back, FlowRolledBack)
    assert (failed.error["code"], failed.error["retryable"]) == ("outputs_lost", False)
    assert back.reason == f"artifact {GONE}, which the outputs of an earlier phase name, is gone"
    assert answer.flow.rollback is not None
    assert (answer.flow.rollback.by, answer.flow.mended) == ("mfo", (flow.flow.checkpoints[0].checkpoint_id,))
    assert outcome(answer.flow)["note"] == "pending"
    # who is asked about the flow stays the person who works with it
    assert answer.flow.updated_by == "maria"


def test_where_no_checkpoint_is_whole_it_goes_back_to_its_beginning_once() -> None:
    flow = doing(1)
    answer = lose(flow, mendable=True).then(PhaseFailed, FlowRolledBack, HookStarted)
    assert answer.flow.mended == (FLOW_ID,)
    again = then(Given(answer.flow).when(complete(answer.flow)))
    again = then(again.when(complete(again.flow)))
    assert again.flow.current_phase == "note"
    assert "no checkpoint left" in reason_of(lose(again, mendable=True))


def test_it_goes_back_to_each_checkpoint_once() -> None:
    flow = doing(2)
    point = whole(flow.flow, 0)
    back = then(lose(flow, **point))
    while back.flow.current_phase != "pay" or back.flow.run is None or back.flow.run.hook is not None:
        back = then(back.when(complete(back.flow)))
    assert "no checkpoint left" in reason_of(lose(back, **point))
    assert lose(back, **whole(back.flow, 1)).flow.status == "processing"


def test_where_nothing_is_whole_it_fails_and_says_what_to_do() -> None:
    assert reason_of(lose(doing(1))) == (
        f"artifact {GONE}, which the outputs of an earlier phase name, is gone; there is no checkpoint left whose state is"
        " whole: restore the artifact from a backup and execute the flow again, or begin another flow"
    )


def test_a_type_that_does_not_go_back_fails() -> None:
    answer = lose(after(CREATE_AUTO), mendable=True).then(PhaseFailed, FlowFailed)
    assert "flows of type two_steps do not go back" in reason_of(answer)
    assert answer.flow.status == "failed"


def test_past_an_irreversible_phase_it_fails() -> None:
    assert "it does not go back by itself, because" in reason_of(lose(doing(3), mendable=True))


def test_a_paused_flow_goes_back_and_stays_paused() -> None:
    flow = then(doing(1).when(PAUSE))
    answer = lose(flow, mendable=True).then(PhaseFailed, FlowRolledBack, FlowDrained)
    assert answer.flow.status == "paused"


def test_a_flow_that_goes_on_by_the_word_waits_for_it() -> None:
    flow = then(by_word(1).when(EXECUTE))
    answer = lose(flow, mendable=True)
    back = answer.facts[1]
    assert isinstance(back, FlowRolledBack)
    done = Given(answer.flow).when(complete(answer.flow)).flow
    assert (done.status, done.run) == ("initialized", None)


def test_the_word_of_a_run_that_is_no_longer_current_is_refused() -> None:
    flow = doing(1).flow
    assert flow.run is not None
    stale = ReportLoss(flow_id=FLOW_ID, run_id=flow.run.run_id, token=7, artifact=GONE)
    Given(flow).when(stale, asked=meta(SYSTEM_USER)).then_refused(RunNotCurrent)


def test_a_phase_without_compensations_begins_again_at_once() -> None:
    flow = doing(1)
    lost = then(lose(flow, **whole(flow.flow, 0)))
    assert lost.flow.run is not None
    assert (lost.flow.run.phase_name, lost.flow.phase("note").anew) == ("note", 1)
    assert isinstance(lose(flow, **whole(flow.flow, 0)).facts[-1], PhaseStarted)


def test_beside_a_phase_that_runs_it_fails_as_any_phase_does() -> None:
    flow = forked(WITH_CHECKPOINTS)
    lost = ReportLoss(**run_of(flow, "left"), artifact=GONE, mendable=True)
    answer = Given(flow).when(lost, asked=meta(SYSTEM_USER))
    assert "because phase right is running" in reason_of(answer)


def test_the_last_phase_in_hand_of_several_goes_back() -> None:
    flow = forked(WITH_CHECKPOINTS)
    flow = Given(flow).when(complete(flow.on("right"))).flow
    lost = ReportLoss(**run_of(flow, "left"), artifact=GONE, mendable=True)
    answer = Given(flow).when(lost, asked=meta(SYSTEM_USER))
    assert [type(fact) for fact in answer.facts[:2]] == [PhaseFailed, FlowRolledBack]
    assert set(outcome(answer.flow).values()) <= {"running", "pending"}
