"""What a caller is told when something is wrong: problem details as in RFC 9457."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID, uuid4

import msgspec
import psycopg
import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from psycopg_pool import PoolClosed, PoolTimeout
from pydantic_core import ErrorDetails
from starlette.exceptions import HTTPException
from starlette.responses import Response

from domain.errors import (
    FieldError,
    FlowNotFound,
    MethodNotAllowed,
    MfoError,
    NotHere,
    OperatorOnly,
    ParameterInvalid,
    RouteNotFound,
    StoreUnavailable,
    Unavailable,
)
from eventstore.acts import RefusedBefore
from eventstore.audit.notes import Note

log = structlog.get_logger()

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:mfo:error:"
MAX_ERRORS = 100
# reasons that a reader understands better than the words of the validation library
PLAIN_WORDS = {"extra_forbidden": "unknown field", "missing": "is required"}


class ImportNotReady(MfoError):
    """The file has not been read yet; ask again in a moment."""

    code = "not_ready"
    status = 409


class ImportUnreadable(MfoError):
    """The file could not be read; nothing of it can be shown."""

    code = "import_unreadable"
    status = 409


class FlowTypeNotFound(NotHere):
    """There is no flow type with this name."""

    code = "flow_type_not_found"


class TargetNotFound(NotHere):
    """There is no target with this name that has ever failed."""

    code = "target_not_found"


def wrong_parameter(name: str, message: str, *, allowed: Sequence[str] = ()) -> ParameterInvalid:
    """What to raise for a query parameter or header; `message` goes on where its name ends, such as `must be later`."""
    return ParameterInvalid(f"{name} {message}", allowed=allowed, errors=[FieldError(name, message)])


def status_of(code: str) -> int:
    """The HTTP status of an error code: that of the class with this code, 409 for a code that no class has."""
    for error in _tree(MfoError):
        if error.code == code:
            return error.status
    return 409


def _tree(root: type[MfoError]) -> Iterator[type[MfoError]]:
    yield root
    for child in root.__subclasses__():
        yield from _tree(child)


def problem(
    request: Request, error: MfoError | Mapping[str, Any], *, headers: Mapping[str, str] | None = None
) -> Response:
    """The answer for an error, or for one as a command's answer carries it (`{code, detail, allowed?, errors?, details?}`)."""
    if isinstance(error, MfoError):
        body, status = error.as_dict(), error.status
    else:
        body, status = dict(error), status_of(error["code"])
    code = str(body["code"])
    document = document_of(body, status, request.scope.get("state", {}).get("correlation_id"), request.url.path)
    more = dict(headers or {})
    if status == Unavailable.status or code == ImportNotReady.code:
        more.setdefault("Retry-After", "1")
    return Response(msgspec.json.encode(document), status, more, MEDIA_TYPE)


def document_of(error: Mapping[str, Any], status: int, correlation_id: str | None, path: str) -> dict[str, Any]:
    """An error as RFC 9457 writes it down."""
    code = str(error["code"])
    return {
        "type": TYPE_PREFIX + code,
        "title": code.replace("_", " ").capitalize(),
        "status": status,
        "detail": error["detail"],
        "code": code,
        **{name: error[name] for name in ("allowed", "errors", "details") if error.get(name)},
        "correlation_id": correlation_id,
        "instance": path,
    }


def field_errors(errors: list[ErrorDetails] | Any, *, skip: int = 0) -> list[FieldError]:
    """What the validation library found, by field; the first `skip` parts of each place are left out."""
    found = []
    for error in errors[:MAX_ERRORS]:
        place = ".".join(str(part) for part in error["loc"][skip:]) or "body"
        text = PLAIN_WORDS.get(error["type"]) or error["msg"].removeprefix("Value error, ")
        found.append(FieldError(place, text))
    return found


def install(app: FastAPI) -> None:
    """Teach the application to answer every known error as a problem.

    `app.state.methods` must name the methods of every path: a router by itself tells those of one route only.
    """
    app.add_exception_handler(MfoError, _known)
    app.add_exception_handler(RequestValidationError, _parameters)
    app.add_exception_handler(HTTPException, _http)
    for error in (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout, PoolClosed):
        app.add_exception_handler(error, _store)


async def _known(request: Request, error: Exception) -> Response:
    assert isinstance(error, MfoError)
    _note(request, error)
    if isinstance(error, RefusedBefore):
        return problem(request, error.error)
    if error.status == 500:
        log.error("request failed", code=error.code, detail=error.detail, exc_info=error)
        return problem(request, MfoError())
    return problem(request, error)


def _note(request: Request, error: MfoError) -> None:
    """Have the audit trail say who was not let in. Commands for others' flows are kept by themselves."""
    asked = request.scope.get("state", {}).get("caller")
    if asked is None or not isinstance(error, OperatorOnly | FlowNotFound):
        return
    said = {"method": request.method, "path": request.url.path}
    if isinstance(error, OperatorOnly):
        what = Note("AccessRefused", None, said, error)
    else:
        flow = request.path_params.get("flow_id") or request.query_params.get("flow_id")
        try:
            what = Note("ForeignFlowRead", UUID(str(flow)), said, error)
        except ValueError:
            return
        if request.method != "GET":
            return
    asked.service.notes.later(asked.envelope(str(uuid4())), what)


async def _parameters(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    errors = field_errors(error.errors(), skip=1)
    return problem(request, ParameterInvalid(_sentence(errors), errors=errors))


def _sentence(errors: list[FieldError]) -> str:
    return "; ".join(f"{error.field}: {error.message}" for error in errors[:3])


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == RouteNotFound.status:
        return problem(request, RouteNotFound(f"there is no route {request.url.path}; /docs lists them all"))
    if error.status_code == MethodNotAllowed.status:
        path = getattr(request.scope.get("route"), "path", "")
        allowed = request.app.state.methods.get(path) or sorted((error.headers or {}).get("Allow", "").split(", "))
        together = ", ".join(allowed)
        detail = f"{request.method} is not possible here; use {together}"
        return problem(request, MethodNotAllowed(detail, allowed=allowed), headers={"Allow": together})
    code = "bad_request" if error.status_code < 500 else MfoError.code
    document = {"code": code, "detail": str(error.detail)}
    response = problem(request, document, headers=error.headers)
    response.status_code = error.status_code
    return response


async def _store(request: Request, error: Exception) -> Response:
    log.warning("store unavailable", error=type(error).__name__, detail=str(error)[:200])
    return problem(request, StoreUnavailable())
