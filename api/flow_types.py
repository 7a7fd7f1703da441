"""Which flow types there are, in which versions, and whether flows under way could go on by another one."""

from __future__ import annotations

from contextlib import suppress
from hmac import compare_digest
from time import monotonic
from typing import Annotated, Any
from uuid import UUID

import msgspec
import psycopg
from fastapi import APIRouter, Path, Query, Request
from psycopg_pool import PoolClosed, PoolTimeout
from pydantic import ValidationError
from starlette.responses import Response

from api import cursors
from api.answers import Json
from api.asking import DOOR, Asking, Caller, json_body
from api.cursors import Cursor
from api.documents import CheckFlowType, FlowType, FlowTypeCheck, FlowTypeList
from api.openapi import CHECK, answers
from api.problems import FlowTypeNotFound, field_errors
from api.reading import ReadMany, list_is_due
from api.rows import FLOWS
from domain.errors import BodyInvalid, FieldError, OperatorOnly, RegistrationError, TypeUnknown
from domain.flow_types import FlowTypeConfig, FlowTypes
from eventstore.checking import Question, Verdict
from eventstore.definitions import learn
from eventstore.offering import offered

router = APIRouter(prefix="/api/v1", dependencies=DOOR, tags=["flow types"])

WAIT_MS = 5000
SORT = "flow_id"


@router.get("/flow-types", summary="List flow types", responses=answers(200, FlowTypeList, 400, 422, 503))
async def list_flow_types(
    asking: Asking,
    limit: Annotated[int, Query(ge=1, le=200)] = 200,
    cursor: Annotated[str | None, Query(max_length=2000)] = None,
) -> Response:
    """Every flow type with its phases, as new flows get it, and the versions that flows may have been made with."""
    await _learn(asking)
    types = asking.side.types
    page, more = cursors.page_of(types.all(), lambda config: config.name, "flow_types", limit, cursor)
    shown = [msgspec.to_builtins(config) | {"versions": types.versions_of(config.name)} for config in page]
    return Json({"flow_types": shown, "total": len(types.names()), "next_cursor": more})


@router.get("/flow-types/{type}", summary="One flow type", responses=answers(200, FlowType, 400, 404, 422, 503))
async def get_flow_type(
    asking: Asking,
    name: Annotated[str, Path(alias="type", description="Its name.")],
    version: Annotated[
        str | None, Query(min_length=1, max_length=50, description="Left out: the one that new flows get.")
    ] = None,
) -> Response:
    """A flow type: its phases in order and what holds for all of them."""
    await _learn(asking)
    config = _known(asking, name, version)
    return Json(msgspec.to_builtins(config) | {"versions": asking.side.types.versions_of(config.name)})


async def _learn(asking: Caller) -> None:
    """Learn what other processes have brought; a store that is away leaves what is known here."""
    with suppress(psycopg.Error, PoolTimeout, PoolClosed):
        await learn(asking.side.pool, asking.side.types)


def _known(asking: Caller, name: str, version: str | None) -> FlowTypeConfig:
    types = asking.side.types
    try:
        config = types.get(name)
    except TypeUnknown as unknown:
        raise FlowTypeNotFound(unknown.detail, allowed=unknown.allowed) from None
    if version is None:
        return config
    known = types.versions_of(config.name)
    if version not in known:
        raise FlowTypeNotFound(
            f"flow type {config.name} has no version {version}; use one of {', '.join(known)}", allowed=known
        )
    return types.version(config.name, version)


@router.post(
    "/flow-types/check",
    summary="Which flows could go on by another version?",
    responses=answers(200, FlowTypeCheck, 400, 403, 404, 413, 422, 503, 504),
    openapi_extra=CHECK,
)
async def check_flow_type(request: Request, asking: Asking) -> Response:
    """Replay the flows of a type that are not over against another version of it. Nothing is changed.

    Page by page: each answer counts its own flows, and `next_cursor` goes on. With `definition` the version need not be known to
    any service. Without `flow_ids` all flows that were there when the first page was asked for are looked at.
    """
    began = monotonic()
    asked = _asked(await json_body(request, asking.side.config.max_body_bytes))
    if asked.all_tenants:
        _operator(request, asking)
    await learn(asking.side.pool, asking.side.types)
    new = _definition(asking, asked)
    after = cursors.read(asked.cursor, SORT, str)
    if after is None:
        await list_is_due(asking, FLOWS, ReadMany(wait_ms=WAIT_MS, consistency="strong"))
    async with asking.side.pool.connection() as connection:
        processes = await offered(connection, asking.side.types.versions())
        question = Question(
            new=new,
            types=asking.side.types,
            mapping=asked.phase_mapping,
            processes=[*(had | set(asked.handlers) for had in processes), frozenset(asked.handlers)],
            tenant=None if asked.all_tenants else asking.tenant,
            back=asked.back,
        )
        ids = await question.live(
            connection, after=UUID(str(after.id)) if after else None, limit=asked.limit, among=asked.flow_ids
        )
        found = await question.verdicts(connection, ids)
    return Json(_answer(asked, new, found, ids, monotonic() - began))


def _answer(
    asked: CheckFlowType, new: FlowTypeConfig, found: list[Verdict], ids: list[UUID], seconds: float
) -> dict[str, Any]:
    counts = {name: sum(one.outcome == name for one in found) for name in ("safe", "waits", "breaks", "there")}
    shown = [one for one in found if asked.include_safe or one.outcome in {"waits", "breaks"}]
    return {
        "flow_type": new.name,
        "to_version": new.version,
        "checked": len(found),
        **counts,
        "seconds": round(seconds, 3),
        "flows": msgspec.to_builtins(shown),
        "next_cursor": cursors.write(SORT, Cursor(str(ids[-1]), ids[-1])) if len(ids) == asked.limit else None,
    }


def _asked(body: dict[str, Any]) -> CheckFlowType:
    try:
        return CheckFlowType.model_validate(body)
    except ValidationError as invalid:
        errors = field_errors(invalid.errors(include_url=False, include_input=False, include_context=False))
        raise BodyInvalid("; ".join(f"{error.field}: {error.message}" for error in errors[:3]), errors=errors) from None


def _operator(request: Request, asking: Caller) -> None:
    wanted = asking.side.config.operator_token
    given = request.headers.get("x-mfo-operator-token", "")
    if not wanted or not compare_digest(given.encode(), wanted.encode()):
        raise OperatorOnly


def _definition(asking: Caller, asked: CheckFlowType) -> FlowTypeConfig:
    """What is asked about: a version that is known, or the definition in the request, checked as at a start."""
    if asked.definition is None:
        return _known(asking, asked.flow_type or "", asked.to_version)
    try:
        config = msgspec.convert(asked.definition, FlowTypeConfig)
    except msgspec.ValidationError as error:
        raise _wrong(str(error)) from None
    strangers = list(_strangers(asked.definition, msgspec.to_builtins(config)))
    if strangers:
        raise _wrong(f"there is no field {', '.join(strangers[:5])}")
    types = FlowTypes()
    known = asking.side.types
    try:
        if known.knows(config.name, config.version):
            types.remember(known.version(config.name, config.version))
        types.register(
            config,
            handlers=config.handlers,
            validators=[name for phase in config.phases for name in phase.validators],
        )
    except RegistrationError as error:
        raise _wrong(error.detail) from None
    return config


def _wrong(message: str) -> BodyInvalid:
    return BodyInvalid(f"definition: {message}", errors=[FieldError("definition", message)])


def _strangers(given: Any, kept: Any, place: str = "") -> Any:
    """The fields that were given and that a definition does not have."""
    if isinstance(given, dict) and isinstance(kept, dict):
        for name, inner in given.items():
            where = f"{place}.{name}" if place else str(name)
            if name in kept:
                yield from _strangers(inner, kept[name], where)
            elif name != "versions" or place:
                yield where
    elif isinstance(given, list) and isinstance(kept, list):
        for number, (inner, other) in enumerate(zip(given, kept, strict=False)):
            yield from _strangers(inner, other, f"{place}[{number}]")
