"""Dead letters over HTTP, for an operator: they belong to no tenant, because nobody could read whose they are."""

from __future__ import annotations

from hmac import compare_digest
from typing import Annotated

import msgspec
import structlog
from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import ValidationError
from starlette.responses import Response

from api import cursors
from api.answers import Json
from api.asking import DOOR, Asking, Caller, command_id, json_body
from api.cursors import Cursor
from api.documents import DeadLetter, DeadLetterList, DeadLetterReplay, DeadLetterReplayed
from api.openapi import OPERATOR, REPLAY, answers
from api.problems import field_errors, wrong_parameter
from domain.errors import BodyInvalid, FieldError, OperatorOnly, ParameterInvalid
from eventstore.dead_letters import DeadLetters, Mending, shown
from eventstore.replays import replay

log = structlog.get_logger()


async def operator(request: Request, asking: Asking) -> None:
    """Whoever asks holds the operator's token; raises OperatorOnly."""
    if not holds_token(request, asking):
        raise OperatorOnly


def holds_token(request: Request, asking: Caller) -> bool:
    """Whether whoever asks holds the operator's token."""
    wanted = asking.side.config.operator_token
    given = request.headers.get("x-mfo-operator-token", "")
    return bool(wanted) and compare_digest(given.encode(), str(wanted).encode())


router = APIRouter(prefix="/api/v1", dependencies=[*DOOR, Depends(operator)], tags=["dead letters"])

Partition = Annotated[int, Path(ge=0, lt=2**31, description="The partition of the topic of dead letters.")]
Offset = Annotated[int, Path(ge=0, lt=2**63, description="The letter's offset there.")]


@router.get(
    "/dlq",
    summary="List dead letters",
    responses=answers(200, DeadLetterList, 400, 403, 404, 422, 503),
    openapi_extra=OPERATOR,
)
async def list_dead_letters(
    asking: Asking,
    partition: Annotated[int | None, Query(ge=0, lt=2**31, description="With `from_offset`: only there.")] = None,
    from_offset: Annotated[int | None, Query(ge=0, lt=2**63, description="From here on, oldest first.")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 20,
    cursor: Annotated[str | None, Query(max_length=4000)] = None,
) -> Response:
    """The newest messages that were no command; or those of one partition from an offset on."""
    letters = DeadLetters(asking.side.config)
    if (partition is None) != (from_offset is None) or (partition is not None and cursor is not None):
        message = "partition and from_offset go together, and without a cursor"
        raise ParameterInvalid(message, errors=[FieldError("from_offset", message)])
    if partition is not None and from_offset is not None:
        found = await letters.between(partition, from_offset, limit)
        return Json({"dead_letters": found, "total": None, "next_cursor": None})
    after = cursors.read(cursor, "dlq", str, uuids=False)
    newest, total, below = await letters.newest(limit, _offsets(str(after.key)) if after else None)
    written = msgspec.json.encode(list((below or {}).items())).decode()
    return Json(
        {
            "dead_letters": newest,
            "total": total,
            "next_cursor": cursors.write("dlq", Cursor(written, "")) if below else None,
        }
    )


def _offsets(text: str) -> dict[int, int]:
    try:
        return dict(msgspec.json.decode(text, type=list[tuple[int, int]]))
    except msgspec.DecodeError:
        raise wrong_parameter("cursor", "is not a cursor of this list; begin without one") from None


@router.get(
    "/dlq/{partition}/{offset}",
    summary="One dead letter",
    responses=answers(200, DeadLetter, 400, 403, 404, 422, 503),
    openapi_extra=OPERATOR,
)
async def get_dead_letter(asking: Asking, partition: Partition, offset: Offset) -> Response:
    """A message that was no command: its headers and body, with what looks like secrets masked."""
    return Json(shown(await DeadLetters(asking.side.config).one(partition, offset)))


@router.post(
    "/dlq/{partition}/{offset}/replay",
    summary="Send a dead letter back",
    responses=answers(200, DeadLetterReplayed, 400, 403, 404, 409, 413, 422, 503),
    openapi_extra=REPLAY,
)
async def replay_dead_letter(request: Request, asking: Asking, partition: Partition, offset: Offset) -> Response:
    """Send a message back to the commands, as it came or mended; one whose command was done before is answered, not repeated."""
    body = await json_body(request, asking.side.config.max_body_bytes)
    try:
        mended = DeadLetterReplay.model_validate(body)
    except ValidationError as invalid:
        errors = field_errors(invalid.errors(include_url=False, include_input=False, include_context=False))
        raise BodyInvalid("; ".join(f"{e.field}: {e.message}" for e in errors[:3]), errors=errors) from None
    value = mended.body if isinstance(mended.body, str) or mended.body is None else msgspec.json.encode(mended.body)
    mending = Mending(mended.headers, value.encode() if isinstance(value, str) else value, mended.key)
    letters, envelope = DeadLetters(asking.side.config), asking.envelope(command_id(request))
    replayed = await replay(letters, asking.side.pool, envelope, (partition, offset), mending=mending, asked=body)
    log.info("dead letter replayed", letter=f"{partition}:{offset}", actor=asking.tenant.user_id, **replayed)
    return Json(replayed)
