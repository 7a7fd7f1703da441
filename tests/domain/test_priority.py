"""How soon a flow gets a place."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from domain.commands import CreateOptions, ExecutePhase, ExecutionOptions, FireTimer
from domain.flow import Flow
from tests.examples import ANSWER, CREATE, EXECUTE, FLOW_ID
from tests.spec import Given, after, complete, fail

URGENT = ExecutePhase(flow_id=FLOW_ID, options=ExecutionOptions(priority=1))


@pytest.mark.parametrize(("asked", "found"), [(None, 3), (1, 1), (5, 5)])
def test_a_flow_has_the_priority_it_was_made_with(asked: int | None, found: int) -> None:
    options = CreateOptions(priority=asked)
    assert after(CREATE.model_copy(update={"options": options})).flow.priority == found


@pytest.mark.parametrize("asked", [0, 6, "3", True])
def test_a_priority_is_one_of_five(asked: object) -> None:
    for options in (CreateOptions, ExecutionOptions):
        with pytest.raises(ValidationError):
            options.model_validate({"priority": asked})


def going_on(flow: Flow) -> Flow:
    """The flow with its second phase begun."""
    return Given(Given(flow).when(complete(flow)).flow).when(EXECUTE.model_copy(update={"inputs": ANSWER.values})).flow


def test_a_phase_may_be_given_another_which_holds_for_those_that_follow() -> None:
    flow = after(CREATE, URGENT).flow
    assert flow.priority == 1
    flow = going_on(flow)
    assert flow.run is not None
    assert (flow.run.phase_name, flow.priority) == ("second", 1)


def test_a_retry_keeps_it() -> None:
    flow = after(CREATE, URGENT).flow
    flow = Given(flow).when(fail(flow)).flow
    assert flow.retry is not None
    timer = FireTimer(flow_id=FLOW_ID, timer=flow.retry.timer, token=flow.retry.timer_token)
    assert Given(flow).when(timer).flow.priority == 1


def test_a_phase_that_says_nothing_changes_nothing() -> None:
    flow = going_on(after(CREATE, EXECUTE).flow)
    assert flow.priority == 3
    assert "priority" not in flow.options
