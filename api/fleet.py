"""What operations, standing pauses and rules have in common over HTTP: found, listed, told, and their events."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, NamedTuple, TypeVar
from uuid import UUID

from fastapi import Depends, Query, Request
from starlette.responses import Response

from api import cursors
from api.answers import Json, etag
from api.asking import Asking, Caller, build, command_id, expected_version, json_body, no_if_match
from api.cursors import Cursor
from api.problems import problem, wrong_parameter
from api.reading import words
from domain.errors import (
    FieldError,
    OperationNotFound,
    ParameterInvalid,
    PauseRuleNotFound,
    Refused,
    StandingPauseNotFound,
)
from domain.fleet.commands import (
    ArmPauseRule,
    CancelOperation,
    DeletePauseRule,
    FleetCommand,
    PauseOperation,
    RemoveStandingPause,
    ResumeOperation,
    new_id,
)
from domain.fleet.events import FLEET_TOPICS
from domain.fleet.subjects import AnySubject, Operation, PauseRule, StandingPause, view
from eventstore.fleet import FleetAnswer

C = TypeVar("C", bound=FleetCommand)

# a cursor of one kind is none of another
ORDER = "{} -created_at"


class Sort(NamedTuple):
    """A sort of subject: its class, its verbs that need no body, and what a caller is told where there is none."""

    kind: type[AnySubject]
    verbs: dict[str, type[FleetCommand]]
    missing: type[Refused]


OPERATION = Sort(
    Operation, {"pause": PauseOperation, "resume": ResumeOperation, "cancel": CancelOperation}, OperationNotFound
)
STANDING_PAUSE = Sort(StandingPause, {"delete": RemoveStandingPause}, StandingPauseNotFound)
PAUSE_RULE = Sort(PauseRule, {"delete": DeletePauseRule, "arm": ArmPauseRule}, PauseRuleNotFound)

Limit = Annotated[int, Query(ge=1, le=200)]
PageCursor = Annotated[str | None, Query(max_length=2000, description="`next_cursor` of the page before.")]
States = Annotated[str | None, Query(max_length=200, description="Comma list of states.")]


async def find(request: Request, asking: Caller, sort: Sort, subject_id: UUID) -> Any:
    """The subject in the path; for another tenant's, too, raises that there is none. A verb for it is kept as refused."""
    subject = await asking.side.fleet.find(asking.tenant, sort.kind, subject_id)
    if subject is None:
        named = "delete" if request.method == "DELETE" else request.url.path.rpartition("/")[2]
        asked = sort.verbs.get(named)
        if request.method != "GET" and asked is not None:
            # version 0 is nobody's: should it begin just now, this is refused all the same
            command = asked.model_validate({asked.named: subject_id})
            await asking.side.fleet.submit(command, asking.envelope(command_id(request), 0))
        raise sort.missing
    return subject


async def wanted_operation(request: Request, operation_id: UUID, asking: Asking) -> Operation:
    """The operation in the path; raises OperationNotFound."""
    found: Operation = await find(request, asking, OPERATION, operation_id)
    return found


async def wanted_standing_pause(request: Request, standing_pause_id: UUID, asking: Asking) -> StandingPause:
    """The standing pause in the path; raises StandingPauseNotFound."""
    found: StandingPause = await find(request, asking, STANDING_PAUSE, standing_pause_id)
    return found


async def wanted_pause_rule(request: Request, pause_rule_id: UUID, asking: Asking) -> PauseRule:
    """The rule in the path; raises PauseRuleNotFound."""
    found: PauseRule = await find(request, asking, PAUSE_RULE, pause_rule_id)
    return found


OfOperation = Annotated[Operation, Depends(wanted_operation)]
OfStandingPause = Annotated[StandingPause, Depends(wanted_standing_pause)]
OfPauseRule = Annotated[PauseRule, Depends(wanted_pause_rule)]


async def made(request: Request, asking: Caller, kind: type[C]) -> tuple[C, str]:
    """The command in the body that makes something new, and its id; raises ParameterInvalid, BodyNotJson, BodyInvalid."""
    no_if_match(request, "what is new")
    key = command_id(request)
    body = await json_body(request, asking.side.config.max_body_bytes)
    subject_id = new_id(kind, asking.tenant.client_account_id, key)
    return build(kind, body, subject_id, named=kind.named), key


async def told(request: Request, asking: Caller, kind: type[FleetCommand], subject: AnySubject) -> FleetAnswer:
    """What became of a verb whose fields are in the body."""
    body = await json_body(request, asking.side.config.max_body_bytes)
    command = build(kind, body, subject.id, named=kind.named)
    return await asking.side.fleet.submit(command, asking.envelope(command_id(request), expected_version(request)))


def answered(
    request: Request, sort: Sort, answer: FleetAnswer, shown: dict[str, Any] | None, *, status: int = 200
) -> Response:
    """The subject after a command, or the problem; `shown` is how it is seen."""
    if answer.error is not None or answer.subject is None:
        return problem(request, answer.error or sort.missing())
    headers = {"ETag": etag(answer.version)}
    if status != 200:
        headers["Location"] = f"{request.url.path}/{answer.flow_id}"
    body = shown if shown is not None else view(answer.subject)
    return Json({**body, "log_position": answer.position}, status, headers)


def states_of(given: str | None, known: tuple[str, ...]) -> list[str]:
    """The states that a list asks for; raises ParameterInvalid for one that there is not."""
    names = words(given)
    if names is None:
        return list(known)
    unknown = [name for name in names if name.lower() not in known]
    if unknown or not names:
        message = f"{', '.join(unknown) or 'the list'} is no state; use {', '.join(known)}"
        raise ParameterInvalid(f"state: {message}", allowed=list(known), errors=[FieldError("state", message)])
    return [name.lower() for name in names]


async def page(
    asking: Caller, sort: Sort, states: list[str], limit: int, cursor: str | None
) -> tuple[list[Any], int, str | None]:
    """A page of the tenant's subjects, the newest first, how many there are, and the cursor of the next page."""
    order = ORDER.format(sort.kind.__name__)
    after = cursors.read(cursor, order, datetime)
    found, total = await asking.side.fleet.page(
        asking.tenant,
        sort.kind,
        states=states,
        limit=limit,
        after=(after.key, after.id) if after is not None else None,  # type: ignore[arg-type]
    )
    last = found[limit - 1] if len(found) > limit else None
    return found[:limit], total, cursors.write(order, Cursor(last.created_at, last.id)) if last else None


def version_of(text: str | None) -> int:
    """The number in a cursor of a list in the order of numbers, 0 without one; raises ParameterInvalid."""
    if text is None:
        return 0
    if not (text.isascii() and text.isdigit()) or len(text) > 9:
        raise wrong_parameter("cursor", "is not a cursor of this list; begin without one")
    return int(text)


async def events_of(asking: Caller, subject: AnySubject, limit: int, cursor: str | None) -> Response:
    """Every event of a subject, in order, straight from the store."""
    found = await asking.side.fleet.history(subject.id, after=version_of(cursor), limit=limit + 1)
    shown = found[:limit]
    return Json(
        {
            "events": [
                {
                    "version": each.recorded.version,
                    "position": asking.side.store.position(each.position),
                    "type": FLEET_TOPICS[type(each.recorded.fact)],
                    "occurred_at": each.recorded.meta.at,
                    "actor": each.recorded.meta.user_id,
                    "command_id": each.recorded.meta.command_id,
                    "causation_id": each.recorded.meta.causation_id,
                    "correlation_id": each.recorded.meta.correlation_id,
                    "source": each.recorded.meta.source,
                    "data": each.recorded.fact,
                }
                for each in shown
            ],
            "total": subject.version,
            "next_cursor": str(shown[-1].recorded.version) if len(found) > limit else None,
        }
    )
