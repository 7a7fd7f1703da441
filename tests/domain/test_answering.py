"""Who may answer a question, how its answer looks, and what follows when none comes."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from domain.commands import (
    CreateFlow,
    CreateOptions,
    ExecutePhase,
    ExecutionOptions,
    ProvideInput,
    RequestInput,
    SkipPhase,
    StartIteration,
)
from domain.deciding.story import allowed
from domain.errors import (
    AlreadyAnswered,
    AnswersDiffer,
    AnswerWanted,
    FlowIsOver,
    InputInvalid,
    InputsMissing,
    MfoError,
    NotAnAssignee,
    NothingToAnswer,
    OutputsInvalid,
    RegistrationError,
)
from domain.events import (
    CheckpointCreated,
    FlowFailed,
    FlowResumed,
    HookFailed,
    InputAnswered,
    InputProvided,
    InputReminded,
    InputRequested,
    PhaseCompleted,
    PhaseFailed,
    PhaseSkipped,
    PhaseStarted,
)
from domain.flow import Flow, Recorded, evolve
from domain.flow_types import FlowTypes
from domain.questions import MAX_REMINDERS, MAX_SCHEMA_BYTES, Assignees, Question, faults
from domain.view import row
from domain.words import Status
from tests.examples import CANCEL, CREATE, CREATE_AUTO, EXECUTE, FLOW_ID, PAUSE, RESUME, SIGNED
from tests.spec import TYPES, Given, after, complete, fail, fire, given, meta

COLOUR = {
    "type": "object",
    "properties": {"colour": {"enum": ["red", "green"]}, "depth": {"type": "integer", "minimum": 1}},
    "required": ["colour"],
    "additionalProperties": False,
}
SIGNED_FLOW = CreateFlow(flow_id=FLOW_ID, flow_type="signed", flow_name="S", options=CreateOptions(auto_execute=True))
YES = {"approval": True}


def question(**fields: Any) -> dict[str, Any]:
    """As a worker sends it."""
    found: dict[str, Any] = msgspec.to_builtins(Question(**fields))
    return found


def asks(flow: Flow, *fields: str, step: str | None = "ask:1", **about: Any) -> RequestInput:
    assert flow.run is not None
    asked = {"run_id": flow.run.run_id, "token": flow.run.token, "fields": fields or ("colour",), "message": "Which?"}
    return RequestInput(flow_id=FLOW_ID, step=step, question=question(**about), **asked)


def asking(*fields: str, create: CreateFlow = CREATE, step: str | None = "ask:1", **about: Any) -> Given:
    """A flow whose first phase has asked."""
    running = after(create, EXECUTE)
    return Given(running.when(asks(running.flow, *fields, step=step, **about)).then(InputRequested).flow)


def answer(**values: Any) -> ProvideInput:
    return ProvideInput.model_validate({"flow_id": FLOW_ID, **values})


def by(user: str, *, seconds: float = 0) -> Any:
    return meta(user, seconds=seconds)


def errors(error: MfoError) -> list[tuple[str, str]]:
    return [(one.field, one.message) for one in error.errors]


def signing() -> Given:
    """A flow that waits for two people, as its type says."""
    running = after(SIGNED_FLOW)
    return Given(running.when(complete(running.flow)).flow)


# how an answer looks


def test_an_answer_that_fits_is_the_result_of_the_step_that_asked() -> None:
    flow = asking(schema=COLOUR).when(answer(colour="red", reason="nice")).then(InputProvided, PhaseStarted).flow
    assert flow.phase("first").steps == {
        "ask:1": {
            "values": {"colour": "red"},
            "answered_by": ["maria"],
            "answered_at": "2026-11-20T12:00:00+00:00",
        }
    }
    # what a handler asks by a step it also reads there
    assert flow.known_inputs == {}


def test_without_a_step_the_answer_joins_the_inputs() -> None:
    flow = asking(schema=COLOUR, step=None).when(answer(colour="red")).flow
    assert (flow.known_inputs, flow.phase("first").steps) == ({"colour": "red"}, {})


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"colour": "blue"}, [("/colour", 'must be one of ["red","green"]')]),
        ({"colour": "red", "depth": "deep"}, [("/depth", "must be of type integer")]),
        ({"colour": "red", "depth": 0}, [("/depth", "must be at least 1")]),
        ({"depth": 1}, [("/colour", "is required")]),
        ({"color": "red"}, [("/color", "was not asked for")]),
        ({}, [("/colour", "is wanted")]),
    ],
)
def test_what_does_not_fit_is_refused_by_field(values: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    refused = asking(schema=COLOUR).when(answer(**values)).then_refused(InputInvalid, code="input_invalid")
    assert errors(refused) == expected


# who may answer


def test_only_those_who_are_named_may_answer() -> None:
    flow = asking(assignees=Assignees(users=("boris", "chen")))
    refused = flow.when(answer(colour="red")).then_refused(NotAnAssignee, code="not_an_assignee")
    assert (refused.status, refused.details) == (403, {"users": ("boris", "chen")})
    told = flow.when(answer(colour="red"), asked=by("boris")).then(InputProvided, PhaseStarted).facts[0]
    assert isinstance(told, InputProvided)
    assert told.answered_by == ("boris",)


def test_the_first_valid_answer_wins_and_the_second_is_told_by_whom_and_when() -> None:
    flow = Given(asking().when(answer(colour="red")).flow)
    refused = flow.when(answer(colour="green"), asked=by("boris", seconds=5)).then_refused(AlreadyAnswered)
    assert refused.details == {"answered_by": ["maria"], "answered_at": "2026-11-20T12:00:00+00:00"}
    assert refused.as_dict()["details"] == refused.details
    over = Given(complete_all(flow.flow))
    assert over.flow.status is Status.WAITING_FOR_INPUT
    over.when(answer(colour="green")).then_refused(AlreadyAnswered)
    over.when(answer(depth=3)).then_refused(NothingToAnswer)
    Given(over.when(CANCEL).flow).when(answer(colour="green")).then_refused(FlowIsOver)


def complete_all(flow: Flow) -> Flow:
    return Given(flow).when(complete(flow)).flow


def test_a_late_answer_is_told_also_while_another_question_stands() -> None:
    flow = Given(asking().when(answer(colour="red")).flow)
    second = Given(flow.when(asks(flow.flow, "depth", step="ask:2")).flow)
    second.when(answer(colour="green")).then_refused(AlreadyAnswered)
    second.when(answer(colour="green", depth=3)).then_refused(InputInvalid)
    second.when(answer(depth=3)).then(InputProvided, PhaseStarted)


# two people


def test_two_different_people_must_give_the_same_answer() -> None:
    flow = signing()
    assert row(flow.flow, TYPES)["input_request"]["assignees"] == {"users": ["maria", "boris", "chen"], "need": 2}
    first = Given(flow.when(answer(**YES)).then(InputAnswered).flow)
    assert first.flow.status is Status.WAITING_FOR_INPUT
    assert row(first.flow, TYPES)["input_request"]["answered_by"] == [
        {"user_id": "maria", "at": "2026-11-20T12:00:00+00:00"}
    ]
    again = first.when(answer(**YES)).then_refused(AlreadyAnswered)
    assert again.details["answered_by"] == ["maria"]
    first.when(answer(**YES), asked=by("eve")).then_refused(NotAnAssignee)
    done = first.when(answer(**YES), asked=by("boris")).then(InputProvided, PhaseStarted)
    told = done.facts[0]
    assert isinstance(told, InputProvided)
    assert told.answered_by == ("maria", "boris")


def test_another_answer_of_the_second_is_refused_naming_the_difference_and_the_first_may_think_again() -> None:
    flow = asking("colour", "depth", assignees=Assignees(need=2))
    first = Given(flow.when(answer(colour="red", depth=1)).then(InputAnswered).flow)
    other = first.when(answer(colour="red", depth=2), asked=by("boris")).then_refused(AnswersDiffer)
    assert errors(other) == [("/depth", "differs from what maria answered")]
    assert other.details["answered_by"] == ["maria"]
    anew = Given(first.when(answer(colour="red", depth=2)).then(InputAnswered).flow)
    anew.when(answer(colour="red", depth=2), asked=by("boris")).then(InputProvided, PhaseStarted)


def test_what_cannot_be_seen_cannot_be_given_by_two() -> None:
    flow = asking("password", assignees=Assignees(need=2))
    sealed = {"password": {"$sealed": {"alg": "x"}}}
    flow.when(answer(**sealed)).then_refused(InputInvalid, fields=["password"])


def test_answers_during_a_pause_count_and_the_times_stand_still() -> None:
    paused = Given(signing().when(PAUSE, asked=meta(seconds=30)).flow)
    shown = row(paused.flow, TYPES)["input_request"]
    assert (shown["expires_at"], shown["reminder_at"]) == (None, None)
    one = Given(paused.when(answer(**YES)).then(InputAnswered).flow)
    two = Given(one.when(answer(**YES), asked=by("chen")).then(InputProvided).flow)
    two.when(RESUME).then(FlowResumed, PhaseStarted)
    resumed = paused.when(RESUME, asked=meta(seconds=90)).flow
    assert (resumed.timers["remind"].delay_seconds, resumed.timers["input"].delay_seconds) == (30, 570)


# what particular people give nobody else brings


def test_nothing_but_their_answer_brings_what_particular_people_are_asked() -> None:
    given().when(SIGNED_FLOW.model_copy(update={"initial_data": YES})).then_refused(
        InputInvalid, fields=["initial_data.approval"]
    )
    ready = after(SIGNED_FLOW.model_copy(update={"options": CreateOptions()}), EXECUTE)
    done = Given(ready.when(complete(ready.flow)).flow)
    done.when(ExecutePhase(flow_id=FLOW_ID, inputs=YES)).then_refused(InputInvalid, fields=["inputs.approval"])
    unchecked = ExecutionOptions(validate_inputs=False)
    for options in (ExecutionOptions(), unchecked):
        asked = done.when(ExecutePhase(flow_id=FLOW_ID, options=options)).then(InputRequested).flow
        assert asked.status is Status.WAITING_FOR_INPUT
        assert "execute" not in allowed(asked, TYPES)
        Given(asked).when(EXECUTE).then_refused(AnswerWanted, code="answer_wanted")


def test_neither_a_new_round_nor_what_stands_in_for_a_phase_brings_it() -> None:
    first = Given(signing().when(answer(**YES)).flow)
    running = Given(first.when(answer(**YES), asked=by("chen")).flow)
    done = Given(running.when(complete(running.flow)).flow)
    done.when(StartIteration(flow_id=FLOW_ID, inputs=YES)).then_refused(InputInvalid, fields=["inputs.approval"])
    first_phase, second_phase = SIGNED.phases
    phases = (replace(first_phase, can_skip=True), second_phase)
    TYPES.remember(waived := replace(SIGNED, name="waived", phases=phases))
    ready = after(SIGNED_FLOW.model_copy(update={"options": CreateOptions()})).flow
    flow = Given(replace(ready, flow_type=waived.name))
    flow.when(SkipPhase(flow_id=FLOW_ID, outputs=YES)).then_refused(OutputsInvalid, fields=["outputs.approval"])
    flow.when(SkipPhase(flow_id=FLOW_ID, outputs={"rows": 3})).then(PhaseSkipped, CheckpointCreated)


def test_a_new_round_asks_particular_people_again_whatever_they_give_is_called() -> None:
    asking_phase = SIGNED.phases[1]
    schema = {"type": "object", "properties": {"go_live": {"const": True}}, "required": ["go_live"]}
    named = replace(
        asking_phase,
        required_inputs=("go_live",),
        question=Question(message="Now?", schema=schema, assignees=Assignees(users=("maria",))),
    )
    TYPES.remember(live := replace(SIGNED, name="live", phases=(SIGNED.phases[0], named)))
    running = Given(replace(after(SIGNED_FLOW).flow, flow_type=live.name))
    asked = Given(running.when(complete(running.flow)).then(PhaseCompleted, CheckpointCreated, InputRequested).flow)
    second = Given(asked.when(answer(go_live=True)).then(InputProvided, PhaseStarted).flow)
    done = Given(second.when(complete(second.flow)).flow)
    begun = done.when(StartIteration(flow_id=FLOW_ID, inputs={"hint": 1})).flow
    assert begun.known_inputs == {"hint": 1}
    assert Given(begun).when(complete(begun)).then(PhaseCompleted, CheckpointCreated, InputRequested).flow.waiting


def test_what_is_given_at_the_start_or_with_execute_fits_the_question_too() -> None:
    create = CREATE.model_copy(update={"flow_type": "painted"})
    given().when(create.model_copy(update={"initial_data": {"colour": "blue"}})).then_refused(
        InputInvalid, fields=["initial_data.colour"]
    )
    after(create.model_copy(update={"initial_data": {"colour": "red"}}), EXECUTE)
    made = after(create)
    made.when(EXECUTE).then_refused(InputsMissing, fields=["inputs.colour"])
    made.when(ExecutePhase(flow_id=FLOW_ID, inputs={"colour": 3})).then_refused(InputInvalid, fields=["inputs.colour"])
    made.when(ExecutePhase(flow_id=FLOW_ID, inputs={"colour": "red"})).then(PhaseStarted)


def test_a_failed_flow_that_asks_has_no_error_any_more() -> None:
    waiting = signing()
    failed = Given(waiting.when(fire(waiting.flow, "input")).then(FlowFailed).flow)
    again = failed.when(EXECUTE).then(InputRequested).flow
    assert (again.status, again.error, again.timers["remind"].delay_seconds) == (Status.WAITING_FOR_INPUT, None, 60)


def test_a_handlers_own_question_cannot_ask_for_it_either() -> None:
    running = after(SIGNED_FLOW)
    flow = Given(running.when(asks(running.flow, "approval", step=None)).flow)
    flow.when(answer(**YES)).then_refused(InputInvalid, fields=["approval"])


def test_a_handler_that_finds_the_answer_wrong_asks_the_same_people_again() -> None:
    first = Given(signing().when(answer(**YES)).flow)
    running = Given(first.when(answer(**YES), asked=by("chen")).flow)
    wrong_one = [{"field": "approval", "message": "too early"}]
    failed = running.when(fail(running.flow, kind="validation", fields=wrong_one)).then(PhaseFailed, InputRequested)
    waiting = failed.flow.waiting
    assert waiting is not None
    assert waiting.question is not None
    assert (waiting.question.need, waiting.message) == (2, "the wire is cut")


# when nobody answers


def test_reminders_come_at_their_times_until_there_is_an_answer() -> None:
    flow = signing()
    assert flow.flow.timers["remind"].delay_seconds == 60
    once = Given(flow.when(fire(flow.flow, "remind")).then(InputReminded(phase_name="second", number=1)).flow)
    assert once.flow.timers["remind"].delay_seconds == 120
    assert once.flow.timers["input"] == flow.flow.timers["input"]
    twice = once.when(fire(once.flow, "remind")).then(InputReminded(phase_name="second", number=2)).flow
    shown = row(twice, TYPES)["input_request"]
    assert (shown["reminded"], shown["reminder_at"]) == (2, "2026-11-20T12:02:00+00:00")
    single = asking(remind_after_seconds=5.0)
    reminded = single.when(fire(single.flow, "remind")).flow
    assert reminded.timers == {}
    assert asking().flow.timers == {}


def test_reminders_do_not_go_on_for_ever() -> None:
    flow = signing().flow
    fact = InputReminded(phase_name="second", number=MAX_REMINDERS)
    assert "remind" not in evolve(flow, Recorded(FLOW_ID, flow.version + 1, meta(), fact)).timers


def test_events_of_a_question_that_is_gone_change_nothing() -> None:
    flow = after(CREATE).flow
    for fact in (InputReminded(phase_name="first", number=1), InputAnswered(phase_name="first", values={})):
        assert evolve(flow, Recorded(FLOW_ID, 2, meta(), fact)).waiting is None


def test_a_question_says_itself_what_follows_when_its_time_is_up() -> None:
    defaults = asking(expires_after_seconds=9.0, on_expiry="defaults", defaults={"colour": "red"})
    assert defaults.flow.timers["input"].delay_seconds == 9
    gone_on = defaults.when(fire(defaults.flow, "input"), asked=meta("mfo")).then(InputProvided, PhaseStarted).flow
    assert gone_on.phase("first").steps["ask:1"]["answered_by"] == []
    late = Given(gone_on).when(answer(colour="green")).then_refused(AlreadyAnswered)
    assert "the time that was up" in late.detail
    failing = asking(expires_after_seconds=9.0, on_expiry="fail")
    failing.when(fire(failing.flow, "input")).then(FlowFailed)
    create = CREATE.model_copy(update={"flow_type": "whim"})
    skipping = asking(create=create, expires_after_seconds=9.0, on_expiry="skip")
    assert isinstance(skipping.when(fire(skipping.flow, "input")).facts[0], PhaseSkipped)


def test_a_phase_that_cannot_be_skipped_does_not_ask_so() -> None:
    running = after(CREATE, EXECUTE)
    failed = running.when(asks(running.flow, expires_after_seconds=9.0, on_expiry="skip"))
    assert failed.then(PhaseFailed, FlowFailed).flow.error["code"] == "question_invalid"  # type: ignore[index]


def test_a_hook_that_asks_fails() -> None:
    create = CREATE_AUTO.model_copy(update={"flow_type": "hooked"})
    flow = after(create)
    while flow.flow.run is not None and flow.flow.run.hook is None:
        flow = Given(flow.when(complete(flow.flow)).flow)
    assert isinstance(flow.when(asks(flow.flow)).facts[0], HookFailed)


# what a question may say


@pytest.mark.parametrize(
    ("about", "expected"),
    [
        ({"schema": {"type": "bogus"}}, "no JSON Schema"),
        ({"schema": {"type": "string"}}, "must describe an object"),
        ({"schema": {"type": "object", "properties": {"reason": {}}}}, "'reason' cannot be a field"),
        ({"schema": {"type": "object", "title": "x" * MAX_SCHEMA_BYTES}}, "larger than"),
        ({"assignees": Assignees(roles=("approver",))}, "not_supported"),
        ({"assignees": Assignees(need=3)}, "1 or 2"),
        ({"assignees": Assignees(users=("",))}, "1 to 255"),
        ({"assignees": Assignees(users=("a",), need=2)}, "only one"),
        ({"assignees": Assignees(users=("a", "a"), need=2)}, "only one"),
        ({"expires_after_seconds": 0.0}, "expires_after_seconds must be above 0"),
        ({"remind_every_seconds": 5.0}, "needs remind_after_seconds"),
        ({"on_expiry": "panic"}, "one of fail, defaults, skip"),
        ({"on_expiry": "defaults"}, "need each other"),
        ({"on_expiry": "defaults", "defaults": {"a": [{"Password": "x"}]}}, "no secret, such as Password"),
        ({"schema": COLOUR, "on_expiry": "defaults", "defaults": {"colour": "blue"}}, "/colour must be one of"),
        ({"schema": {"type": 3}, "on_expiry": "defaults", "defaults": {"colour": "blue"}}, "no JSON Schema"),
    ],
)
def test_a_question_that_makes_no_sense_is_found(about: dict[str, Any], expected: str) -> None:
    assert expected in next(faults(Question(**about)))


def test_a_good_question_has_no_faults() -> None:
    fine = Question(schema=COLOUR, on_expiry="defaults", defaults={"colour": "red"}, assignees=Assignees(need=2))
    assert list(faults(fine)) == []
    assert list(faults(Question(schema=COLOUR))) == []
    assert (fine.fields, fine.properties) == (("colour",), ("colour", "depth"))
    assert Question(schema={"type": "object", "properties": {"a": {}}}).fields == ("a",)
    assert fine.lacking(["depth"]).fields == ("colour", "depth")
    assert Question().lacking(["depth"]) == Question()


SECOND = SIGNED.phases[1]


@pytest.mark.parametrize(
    ("phase", "expected"),
    [
        (replace(SECOND, question=Question(on_expiry="panic")), "question: on_expiry"),
        (replace(SECOND, required_inputs=()), "about required_inputs"),
        (replace(SECOND, asks_for_inputs=True), "about required_inputs"),
        (replace(SECOND, required_inputs=("other",)), "properties must be the required_inputs"),
        (replace(SECOND, question=Question(on_expiry="skip")), "cannot be skipped"),
        (replace(SECOND, input_alternatives={"approval": ("yes",)}), "no input_alternatives"),
    ],
)
def test_a_type_whose_question_makes_no_sense_does_not_start(phase: Any, expected: str) -> None:
    config = replace(SIGNED, phases=(SIGNED.phases[0], phase))
    with pytest.raises(RegistrationError, match=expected):
        FlowTypes().register(config, handlers=["work"], validators=())


def test_what_particular_people_give_no_other_phase_takes() -> None:
    config = replace(SIGNED, phases=(replace(SIGNED.phases[0], optional_inputs=("approval",)), SECOND))
    with pytest.raises(RegistrationError, match="'approval' is asked of particular people in second"):
        FlowTypes().register(config, handlers=["work"], validators=())
