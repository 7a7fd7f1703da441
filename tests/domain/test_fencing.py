"""Whose result counts."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from domain.commands import Command, CompletePhase, ReassignRun
from domain.errors import RunNotCurrent
from domain.events import CheckpointCreated, FlowDrained, PhaseCompleted, RunReassigned
from domain.flow import Flow
from domain.words import SYSTEM_USER
from tests.examples import CANCEL, CREATE, CREATED, DELETE, EXECUTE, FLOW_ID, PAUSE, RUN_ID, STARTED
from tests.spec import Given, after, ask, complete, fail, given, meta


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


def test_work_that_is_taken_over_goes_on_in_the_name_of_the_person_who_asked_for_it() -> None:
    taken = given(CREATED, STARTED).when(
        ReassignRun(flow_id=FLOW_ID, run_id=RUN_ID, token=1), asked=meta(user_id=SYSTEM_USER)
    )
    assert taken.facts == [RunReassigned(phase_name="first", run_id=RUN_ID, token=2)]
    assert taken.flow.updated_by == "maria"


@pytest.mark.parametrize("said", [complete, fail, ask])
def test_whatever_a_worker_says_of_an_older_run_is_refused(said: Callable[[Flow], Command]) -> None:
    running = after(CREATE, EXECUTE)
    word = said(running.flow)
    waiting = Given(running.when(fail(running.flow)).flow)
    waiting.when(word).then_refused(RunNotCurrent)
    again = Given(waiting.when(EXECUTE).flow)
    again.when(word).then_refused(RunNotCurrent)
    again.when(said(again.flow))


@pytest.mark.parametrize("ending", [CANCEL, DELETE], ids=lambda command: type(command).__name__)
def test_a_result_after_the_end_is_refused(ending: Command) -> None:
    running = after(CREATE, EXECUTE)
    result = complete(running.flow)
    Given(running.when(ending).flow).when(result).then_refused(RunNotCurrent)


def test_a_run_of_another_id_is_refused() -> None:
    running = after(CREATE, EXECUTE)
    assert running.flow.run is not None
    assert running.flow.run.run_id != RUN_ID
    strange = CompletePhase(flow_id=FLOW_ID, run_id=RUN_ID, token=running.flow.run.token)
    running.when(strange).then_refused(RunNotCurrent, allowed=["pause", "cancel", "delete"])


def test_each_taking_over_counts_the_token_on() -> None:
    flow = given(CREATED, STARTED)
    for token in (1, 2, 3):
        reassign = ReassignRun(flow_id=FLOW_ID, run_id=RUN_ID, token=token)
        flow = Given(flow.when(reassign).then(RunReassigned(phase_name="first", run_id=RUN_ID, token=token + 1)).flow)


def test_a_run_that_drains_can_be_taken_over() -> None:
    draining = after(CREATE, EXECUTE, PAUSE)
    assert draining.flow.run is not None
    reassign = ReassignRun(flow_id=FLOW_ID, run_id=draining.flow.run.run_id, token=1)
    taken = Given(draining.when(reassign).then(RunReassigned).flow)
    assert taken.flow.draining
    taken.when(complete(taken.flow)).then(PhaseCompleted, CheckpointCreated, FlowDrained)


def test_every_attempt_has_a_run_of_its_own() -> None:
    running = after(CREATE, EXECUTE)
    again = Given(running.when(fail(running.flow)).flow).when(EXECUTE).flow
    assert running.flow.run is not None
    assert again.run is not None
    assert running.flow.run.run_id != again.run.run_id
