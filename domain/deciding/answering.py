"""What people answer, and what follows when they do not."""

from __future__ import annotations

from typing import Any

from domain.commands import ProvideInput
from domain.deciding.starting import after_answer, reserved
from domain.deciding.story import Story, allowed, not_over
from domain.errors import (
    AlreadyAnswered,
    AnswersDiffer,
    FieldError,
    InputInvalid,
    NotAnAssignee,
    NothingToAnswer,
    PhaseNotNamed,
)
from domain.events import InputAnswered, InputProvided, InputReminded
from domain.flow import FirstAnswer, Waiting
from domain.questions import Question, may_answer
from domain.schemas import hidden, misfits
from domain.words import Status

Json = dict[str, Any]


def provide_input(story: Story, command: ProvideInput) -> None:
    """Take an answer that fits the question from somebody who may give it; the first valid one counts."""
    values = command.values
    _not_answered(story, values)
    not_over(story)
    if story.flow.follows:
        values = _addressed(story, values)
    waiting = story.flow.waiting
    if waiting is None:
        raise NothingToAnswer(allowed=allowed(story.flow, story.types))
    user = story.meta.user_id
    question = waiting.question or Question()
    if not may_answer(question, user):
        raise NotAnAssignee(
            f"phase {waiting.phase_name} asks {', '.join(question.users)}, not {user}",
            details={"users": question.users},
        )
    _fits(story, waiting, values)
    if question.need == 2:
        secrets = hidden(values)
        if secrets:
            errors = [FieldError(name, "is not seen here, so that two people cannot give the same") for name in secrets]
            raise InputInvalid("two people must give the same answer", errors=errors)
        if waiting.first is None or waiting.first.by == user:
            _answer_first(story, waiting, values, command.reason)
            return
        _same(waiting.first, values)
    first = () if waiting.first is None else (waiting.first.by,)
    told = InputProvided(
        phase_name=waiting.phase_name, values=values, reason=command.reason, answered_by=(*first, user)
    )
    story.tell(told)
    if story.flow.paused is None:
        after_answer(story)


def _addressed(story: Story, values: Json) -> Json:
    """See the flow from the phase that is answered, the one that `phase_name` names or that alone asks for these fields; gives
    the answer without that name. Raises PhaseNotNamed where it could be meant for several."""
    asked = {view.focus or "": _wanted(story, view.waiting) for view in story.flow.each if view.waiting is not None}
    named = None if any("phase_name" in wanted for wanted in asked.values()) else values.get("phase_name")
    if named is not None:
        values = {name: value for name, value in values.items() if name != "phase_name"}
        found = [name for name in asked if name == named]
    else:
        fitting = [name for name, wanted in asked.items() if set(values) <= wanted]
        found = fitting if values and len(fitting) == 1 else list(asked)
    if len(found) == 1:
        story.on(found[0])
    elif asked:
        raise PhaseNotNamed(
            f"say in phase_name which question is answered; {', '.join(asked)} ask", allowed=sorted(asked)
        )
    return values


def _not_answered(story: Story, values: Json) -> None:
    """Refuse what answers a question that has its answer, telling whose; raises AlreadyAnswered."""
    answered = story.flow.answered
    if answered is None or not values or story.flow.status in {Status.CANCELLED, Status.DELETED}:
        return
    wanted = {name for view in story.flow.each if view.waiting is not None for name in _wanted(story, view.waiting)}
    if set(values) <= set(answered.fields) and not set(values) & wanted:
        people = " and ".join(answered.by) or "the time that was up"
        raise AlreadyAnswered(
            f"phase {answered.phase_name} has its answer from {people} at {answered.at.isoformat()}",
            allowed=allowed(story.flow, story.types),
            details={"answered_by": list(answered.by), "answered_at": answered.at.isoformat()},
        )


def _wanted(story: Story, waiting: Waiting) -> set[str]:
    """The names that an answer may hold: what was asked for and, without a schema, what the phase takes besides."""
    question = waiting.question or Question()
    wanted = {*waiting.fields, *question.properties}
    if question.schema is None:
        config = story.type.phase(waiting.phase_name)
        wanted |= {*config.required_inputs, *config.optional_inputs}
    return wanted if question.assignees is not None else wanted - set(reserved(story.type))


def _fits(story: Story, waiting: Waiting, values: Json) -> None:
    """Raises InputInvalid with what is wrong, by field."""
    strange = sorted(set(values) - _wanted(story, waiting))
    errors = [FieldError(name, "was not asked for") for name in strange]
    if not values:
        errors = [FieldError(name, "is wanted") for name in waiting.fields]
    schema = waiting.question.schema if waiting.question is not None else None
    if schema is not None:
        errors = [FieldError(f"/{one.field}", one.message) for one in errors] or misfits(values, schema, pointers=True)
    if errors:
        raise InputInvalid(f"phase {waiting.phase_name} asks for {', '.join(waiting.fields)}", errors=errors)


def _answer_first(story: Story, waiting: Waiting, values: Json, reason: str | None) -> None:
    """The first of two, who may think again, but cannot be the second one too."""
    first = waiting.first
    if first is not None and first.values == values:
        raise AlreadyAnswered(
            f"{first.by} has answered that already; the same answer of another person is wanted",
            details={"answered_by": [first.by], "answered_at": first.at.isoformat()},
        )
    story.tell(InputAnswered(phase_name=waiting.phase_name, values=values, reason=reason))


def _same(first: FirstAnswer, values: Json) -> None:
    """Raises AnswersDiffer with the fields that are not as the first person gave them."""
    names = [name for name in sorted({*first.values, *values}) if first.values.get(name) != values.get(name)]
    if names:
        raise AnswersDiffer(
            f"{first.by} answered otherwise at {first.at.isoformat()}: {', '.join(names)}; give the same answer, or have"
            f" {first.by} answer anew",
            errors=[FieldError(f"/{name}", f"differs from what {first.by} answered") for name in names],
            details={"answered_by": [first.by], "answered_at": first.at.isoformat()},
        )


def remind(story: Story) -> None:
    """Nobody has answered yet."""
    waiting = story.flow.waiting
    assert waiting is not None
    story.tell(InputReminded(phase_name=waiting.phase_name, number=waiting.reminded + 1))
