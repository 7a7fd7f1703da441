"""How a flow asks a person, and what it makes of the answer."""

from __future__ import annotations

from domain.commands import ExecutePhase, ExecutionOptions, ProvideInput
from domain.errors import InputInvalid, NothingToAnswer
from domain.events import InputProvided, InputRequested, PhaseStarted
from domain.words import Status
from tests.examples import ANSWER, CREATE, CREATE_AUTO, EXECUTE, FLOW_ID, PAUSE, RESUME
from tests.spec import Given, after, ask, complete, fail


def waiting() -> Given:
    flow = after(CREATE_AUTO)
    return Given(flow.when(complete(flow.flow)).flow)


def test_a_handler_may_ask_with_suggestions() -> None:
    flow = after(CREATE, EXECUTE)
    answer = flow.when(ask(flow.flow, "answer")).then(InputRequested)
    assert answer.flow.status is Status.WAITING_FOR_INPUT
    assert answer.flow.waiting is not None
    assert answer.flow.waiting.suggestions == {"mapping_suggestions": [{"source_field": "VM"}]}


def test_an_answer_starts_the_phase_that_asked() -> None:
    answer = waiting().when(ANSWER).then(InputProvided, PhaseStarted)
    assert answer.flow.known_inputs["answer"] == 42
    assert answer.flow.waiting is None


def test_an_optional_input_may_be_answered_too() -> None:
    hint = ProvideInput.model_validate({"flow_id": FLOW_ID, "answer": 1, "hint": "left"})
    waiting().when(hint).then(InputProvided, PhaseStarted)


def test_an_answer_that_does_not_answer_is_asked_again() -> None:
    hint = ProvideInput.model_validate({"flow_id": FLOW_ID, "hint": "left"})
    waiting().when(hint).then(InputProvided, InputRequested)


def test_what_was_not_asked_for_is_refused_by_name() -> None:
    wrong = ProvideInput.model_validate({"flow_id": FLOW_ID, "answer": 1, "color": "red"})
    waiting().when(wrong).then_refused(InputInvalid, fields=["color"])


def test_an_empty_answer_is_refused_naming_what_is_wanted() -> None:
    waiting().when(ProvideInput(flow_id=FLOW_ID)).then_refused(InputInvalid, fields=["answer"])


def test_a_flow_that_asks_nothing_takes_no_answer() -> None:
    after(CREATE).when(ANSWER).then_refused(NothingToAnswer, allowed=["execute", "pause", "cancel", "delete"])


def test_an_answer_during_a_pause_is_kept_and_applied_on_resume() -> None:
    paused = Given(waiting().when(PAUSE).flow)
    answered = Given(paused.when(ANSWER).then(InputProvided).flow)
    assert answered.flow.status is Status.PAUSED
    answer = answered.when(RESUME)
    assert answer.flow.run is not None
    assert answer.flow.run.phase_name == "second"


def test_a_question_during_a_pause_waits_with_it() -> None:
    flow = after(CREATE, EXECUTE, PAUSE)
    asked = Given(flow.when(ask(flow.flow, "answer")).flow)
    assert asked.flow.status is Status.PAUSED
    assert asked.when(RESUME).flow.status is Status.WAITING_FOR_INPUT


def test_executing_with_the_inputs_answers_too() -> None:
    answer = waiting().when(ExecutePhase(flow_id=FLOW_ID, inputs={"answer": 1})).then(PhaseStarted)
    assert (answer.flow.waiting, answer.flow.known_inputs) == (None, {"answer": 1})


def test_a_flow_goes_on_by_its_answer_even_where_it_waits_for_the_word_between_phases() -> None:
    running = after(CREATE, EXECUTE)
    asking = Given(running.when(ask(running.flow, "answer")).flow)
    answer = asking.when(ANSWER).then(InputProvided, PhaseStarted)
    assert answer.flow.run is not None
    assert answer.flow.run.phase_name == "first"


def test_a_question_ends_the_run_that_asked() -> None:
    running = after(CREATE, EXECUTE)
    asked = running.when(ask(running.flow, "answer"))
    assert asked.flow.run is None
    assert asked.facts[0] == InputRequested(
        phase_name="first",
        fields=("answer",),
        message="please",
        suggestions={"mapping_suggestions": [{"source_field": "VM"}]},
        run_id=running.flow.run.run_id if running.flow.run else None,
    )


def test_the_reason_of_an_answer_is_kept_beside_its_values() -> None:
    known = ProvideInput.model_validate({"flow_id": FLOW_ID, "answer": 1, "reason": "known"})
    assert waiting().when(known).facts[0] == InputProvided(
        phase_name="second", values={"answer": 1}, reason="known", answered_by=("maria",)
    )


def test_an_answer_during_a_pause_that_leaves_something_open_is_asked_again_on_resume() -> None:
    hint = ProvideInput.model_validate({"flow_id": FLOW_ID, "hint": "left"})
    paused = Given(waiting().when(PAUSE).flow)
    answered = Given(paused.when(hint).then(InputProvided).flow)
    assert answered.when(RESUME).flow.status is Status.WAITING_FOR_INPUT
    answered.when(ANSWER).then_refused(NothingToAnswer, allowed=["resume", "cancel", "delete"])


def test_a_phase_that_asked_goes_on_as_it_was_started() -> None:
    hurried = ExecutePhase(flow_id=FLOW_ID, options=ExecutionOptions(timeout_seconds=5, max_retries=0))
    flow = after(CREATE, hurried)
    asking = Given(flow.when(ask(flow.flow, "answer")).flow)
    started = asking.when(ANSWER).facts[-1]
    assert isinstance(started, PhaseStarted)
    assert (started.timeout_seconds, started.max_attempts) == (5.0, 1)


def test_what_was_suggested_is_still_there_when_the_answer_was_wrong() -> None:
    running = after(CREATE, EXECUTE)
    asked = Given(running.when(ask(running.flow, "answer")).flow)
    again = Given(asked.when(ANSWER).flow)
    wrong = fail(
        again.flow, kind="validation", retryable=False, fields=[{"field": "answer", "message": "is no number"}]
    )
    waiting = again.when(wrong).flow.waiting
    assert waiting is not None
    assert waiting.suggestions == {"mapping_suggestions": [{"source_field": "VM"}]}
    done = Given(again.when(complete(again.flow)).flow)
    assert done.flow.phase("first").suggestions == {}
