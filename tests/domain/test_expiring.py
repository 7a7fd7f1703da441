"""A question that is not answered in time."""

from __future__ import annotations

from datetime import timedelta

import pytest

from domain.commands import CreateFlow, CreateOptions, ExecutePhase, ExecutionOptions
from domain.deciding.following import next_action
from domain.errors import InputsMissing
from domain.events import (
    CheckpointCreated,
    FlowCompleted,
    FlowFailed,
    FlowResumed,
    InputProvided,
    InputRequested,
    PhaseFailed,
    PhaseSkipped,
    PhaseStarted,
)
from domain.flow import Timer
from domain.view import row
from domain.words import PhaseStatus, Status
from tests.examples import (
    ANSWER,
    CREATE,
    CREATE_AUTO,
    EXECUTE,
    EXECUTE_SECOND,
    FLOW_ID,
    PAUSE,
    RESUME,
)
from tests.spec import MIDDAY, TYPES, Given, after, ask, complete, fail, fire, meta

CREATE_ASKING = CreateFlow(flow_id=FLOW_ID, flow_type="asking", flow_name="A")
PATIENT_FOR_A_MINUTE = ExecutePhase(flow_id=FLOW_ID, options=ExecutionOptions(input_timeout_seconds=60))


def asking(*steps: ExecutePhase, create: CreateFlow = CREATE) -> Given:
    """A flow whose phase under way has asked for an answer."""
    running = after(create, *steps)
    return Given(running.when(ask(running.flow, "answer")).flow)


def expired(flow: Given, seconds: float = 60) -> FlowFailed | None:
    facts = flow.when(fire(flow.flow, "input"), asked=meta(seconds=seconds)).facts
    return facts[0] if isinstance(facts[0], FlowFailed) else None


def in_phase(name: str, *, auto: bool = False) -> Given:
    """A flow of the asking type whose phase of this name has asked."""
    create = CREATE_ASKING.model_copy(update={"options": CreateOptions(auto_execute=auto)})
    flow = after(create) if auto else after(create, EXECUTE)
    while flow.flow.current_phase != name:
        flow = Given(flow.when(complete(flow.flow)).flow)
        flow = flow if auto else Given(flow.when(EXECUTE).flow)
    return Given(flow.when(ask(flow.flow, "answer")).flow)


def test_a_question_without_a_limit_waits_for_ever() -> None:
    assert asking(EXECUTE).flow.timers == {}


@pytest.mark.parametrize(
    ("flow", "seconds"),
    [
        (asking(PATIENT_FOR_A_MINUTE), 60),
        (asking(EXECUTE, create=CREATE.model_copy(update={"options": CreateOptions(input_timeout_seconds=90)})), 90),
        (asking(PATIENT_FOR_A_MINUTE, create=CREATE_ASKING), 60),
        (in_phase("optional"), 3600),
        (in_phase("assumed"), 60),
    ],
    ids=["the call", "the flow", "the call before the type", "the type", "the phase before the type"],
)
def test_the_limit_is_the_calls_the_flows_the_phases_or_the_types(flow: Given, seconds: float) -> None:
    assert flow.flow.timers["input"] == Timer(token=flow.flow.version, delay_seconds=seconds, since=MIDDAY)


def test_a_question_shows_until_when_it_waits() -> None:
    flow = asking(PATIENT_FOR_A_MINUTE).flow
    shown = row(flow, TYPES)
    assert shown["input_request"]["expires_at"] == shown["next_action"]["until"] == "2026-11-20T12:01:00+00:00"
    assert shown["input_request"]["expires_after_seconds"] == 60
    assert "timer" not in shown["input_request"]
    assert row(asking(EXECUTE).flow, TYPES)["input_request"]["expires_at"] is None


def test_nobody_answering_fails_the_flow() -> None:
    flow = asking(PATIENT_FOR_A_MINUTE)
    failed = flow.when(fire(flow.flow, "input"), asked=meta(seconds=60)).then(FlowFailed).flow
    assert (failed.status, failed.waiting, failed.timers) == (Status.FAILED, None, {})
    assert failed.phase("first").status is PhaseStatus.FAILED
    assert failed.error is not None
    assert failed.error["code"] == "input_expired"
    assert failed.error["message"] == "First asked for answer; nobody answered within 60 s"
    assert [entry["code"] for entry in failed.errors] == ["input_expired"]
    assert next_action(failed, TYPES)["type"] == "retry"


def test_a_flow_that_failed_so_is_executed_again_and_asks_anew() -> None:
    flow = asking(PATIENT_FOR_A_MINUTE)
    failed = Given(flow.when(fire(flow.flow, "input")).flow)
    again = Given(failed.when(PATIENT_FOR_A_MINUTE).then(PhaseStarted).flow)
    assert again.when(ask(again.flow, "answer")).flow.timers["input"].delay_seconds == 60


def test_inputs_that_a_phase_lacks_are_waited_for_as_long() -> None:
    create = CREATE_AUTO.model_copy(update={"options": CreateOptions(auto_execute=True, input_timeout_seconds=30)})
    running = after(create)
    waiting = Given(running.when(complete(running.flow)).flow)
    assert waiting.flow.timers["input"].delay_seconds == 30
    failed = Given(waiting.when(fire(waiting.flow, "input")).then(FlowFailed).flow)
    failed.when(EXECUTE).then_refused(InputsMissing, fields=["inputs.answer"])
    failed.when(EXECUTE_SECOND).then(PhaseStarted)


def test_wrong_inputs_are_waited_for_as_long() -> None:
    flow = after(CREATE, PATIENT_FOR_A_MINUTE)
    wrong = fail(flow.flow, kind="validation", retryable=False, fields=[{"field": "answer", "message": "is no number"}])
    assert flow.when(wrong).then(PhaseFailed, InputRequested).flow.timers["input"].delay_seconds == 60


def test_an_answer_ends_the_waiting() -> None:
    flow = asking(PATIENT_FOR_A_MINUTE)
    answered = Given(flow.when(ANSWER).then(InputProvided, PhaseStarted).flow)
    assert answered.flow.timers == {}
    answered.when(fire(flow.flow, "input")).then_nothing()


def test_a_phase_that_can_be_skipped_may_be() -> None:
    flow = in_phase("optional")
    skipped = flow.when(fire(flow.flow, "input")).then(PhaseSkipped, CheckpointCreated)
    assert skipped.facts[0] == PhaseSkipped(phase_name="optional", reason="nobody answered within 3600 s")
    assert skipped.flow.status is Status.WAITING_FOR_INPUT
    by_itself = in_phase("optional", auto=True)
    by_itself.when(fire(by_itself.flow, "input")).then(PhaseSkipped, CheckpointCreated, PhaseStarted)


def test_a_flow_whose_last_phase_is_skipped_is_completed() -> None:
    only = CreateFlow(flow_id=FLOW_ID, flow_type="whim", flow_name="W")
    running = after(only, EXECUTE)
    flow = Given(running.when(ask(running.flow, "answer")).flow)
    flow.when(fire(flow.flow, "input")).then(PhaseSkipped, CheckpointCreated, FlowCompleted)


def test_a_phase_may_go_on_with_its_defaults() -> None:
    flow = in_phase("assumed")
    answer = flow.when(fire(flow.flow, "input")).then(InputProvided, PhaseStarted)
    assert answer.facts[0] == InputProvided(
        phase_name="assumed", values={"answer": 42}, reason="nobody answered within 60 s"
    )
    assert answer.flow.known_inputs["answer"] == 42


def test_a_phase_that_asks_in_spite_of_its_defaults_fails_the_flow() -> None:
    flow = in_phase("assumed")
    again = Given(flow.when(fire(flow.flow, "input")).flow)
    asking_again = Given(again.when(ask(again.flow, "answer")).flow)
    ended = expired(asking_again)
    assert ended is not None
    assert ended.error["code"] == "input_expired"


def test_a_question_that_no_default_answers_fails_the_flow() -> None:
    running = in_phase("assumed")
    answered = Given(running.when(ANSWER.model_copy()).flow)
    other = Given(answered.when(ask(answered.flow, "colour")).flow)
    assert expired(other) is not None


def test_a_pause_stops_the_time_for_an_answer() -> None:
    paused = Given(asking(PATIENT_FOR_A_MINUTE).when(PAUSE, asked=meta(seconds=20)).flow)
    assert paused.flow.timers == {}
    assert row(paused.flow, TYPES)["input_request"]["expires_at"] is None
    resumed = paused.when(RESUME, asked=meta(seconds=500)).then(FlowResumed).flow
    assert (resumed.status, resumed.timers["input"].fires_at) == (
        Status.WAITING_FOR_INPUT,
        MIDDAY + timedelta(seconds=540),
    )
    failed = Given(resumed).when(fire(resumed, "input")).then(FlowFailed).flow
    assert failed.error is not None
    assert "within 60 s" in failed.error["message"]


def test_an_answer_during_the_pause_is_kept_and_nothing_expires() -> None:
    paused = Given(asking(PATIENT_FOR_A_MINUTE).when(PAUSE).flow)
    answered = Given(paused.when(ANSWER).then(InputProvided).flow)
    assert answered.flow.alarms == {}
    answered.when(RESUME).then(FlowResumed, PhaseStarted)
