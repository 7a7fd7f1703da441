"""Parts of a phase's work that need not be done again."""

from __future__ import annotations

from domain.commands import FireTimer, RecordSteps
from domain.errors import RunNotCurrent
from domain.events import StepsCompleted
from domain.flow import Flow
from tests.examples import CREATE, EXECUTE, FLOW_ID
from tests.spec import Given, after, complete, fail


def steps(flow: Flow, **results: object) -> RecordSteps:
    assert flow.run is not None
    return RecordSteps(flow_id=FLOW_ID, run_id=flow.run.run_id, token=flow.run.token, results=results)


def test_a_step_is_kept_with_its_result() -> None:
    flow = after(CREATE, EXECUTE)
    answer = flow.when(steps(flow.flow, fetch=3)).then(StepsCompleted)
    assert answer.flow.phase("first").steps == {"fetch": 3}
    more = Given(answer.flow).when(steps(answer.flow, store=[1, 2]))
    assert more.flow.phase("first").steps == {"fetch": 3, "store": [1, 2]}
    assert more.flow.transitions == flow.flow.transitions


def test_the_next_attempt_finds_the_steps_of_the_one_before() -> None:
    flow = after(CREATE, EXECUTE)
    kept = Given(flow.when(steps(flow.flow, fetch=3)).flow)
    failed = Given(kept.when(fail(kept.flow)).flow)
    assert failed.flow.retry is not None
    timer = FireTimer(flow_id=FLOW_ID, timer=failed.flow.retry.timer, token=failed.flow.retry.timer_token)
    again = failed.when(timer)
    assert again.flow.phase("first").steps == {"fetch": 3}


def test_a_phase_that_is_done_needs_its_steps_no_more() -> None:
    flow = after(CREATE, EXECUTE)
    kept = Given(flow.when(steps(flow.flow, fetch=3)).flow)
    assert kept.when(complete(kept.flow)).flow.phase("first").steps == {}


def test_a_step_of_a_run_that_was_taken_over_does_not_count() -> None:
    flow = after(CREATE, EXECUTE)
    word = steps(flow.flow, fetch=3)
    flow.when(word.model_copy(update={"token": 9})).then_refused(RunNotCurrent)
    Given(flow.when(complete(flow.flow)).flow).when(word).then_refused(RunNotCurrent)
