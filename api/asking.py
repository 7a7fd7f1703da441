"""Who asks and what for: the tenant of a request, its command's envelope, and its body read with care.

Tenancy is enforced here and nowhere else: a request gets a `Caller`, and a caller can only reach rows of its own tenant.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypeVar
from uuid import UUID, uuid4

import msgspec
from fastapi import Depends, Path, Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError
from starlette.datastructures import Headers

from api.expected import Medians
from api.listening import Tail
from api.lists import Counts, Lists
from api.problems import field_errors, wrong_parameter
from api.rows import Rows
from api.watch import Watch
from domain.commands import (
    CancelFlow,
    Command,
    CreateCheckpoint,
    DeleteFlow,
    Envelope,
    ExecutePhase,
    MigrateFlow,
    PauseFlow,
    ProvideInput,
    ResumeFlow,
    RetryFlow,
    RollbackFlow,
    SignalFlow,
    SkipPhase,
    StartIteration,
    Tenant,
    tenant_from,
)
from domain.errors import (
    BodyInvalid,
    BodyNotJson,
    BodyTooLarge,
    FieldError,
    FlowNotFound,
    ParameterInvalid,
    TenantMissing,
)
from eventstore.audit.notes import Note, Notes
from eventstore.committer import Answer
from eventstore.service import WriteSide

TENANT_HEADERS = ("X-Client-Account-ID", "X-Engagement-ID", "X-User-ID")
MAX_HEADER = 255
DRAIN_BYTES = 8 << 20
ONE_VERSION = re.compile(r'(?:W/)?"([0-9]{1,18})"|([0-9]{1,18})')
C = TypeVar("C", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Service:
    """What the application holds while it runs."""

    side: WriteSide
    watch: Watch
    tail: Tail
    notes: Notes
    medians: Medians = field(default_factory=Medians)
    counts: Counts = field(default_factory=Counts)


@dataclass(frozen=True, slots=True)
class Caller:
    """A tenant and a user, asking once."""

    tenant: Tenant
    correlation_id: str
    ip_address: str | None
    user_agent: str | None
    service: Service
    rows: Rows

    @property
    def side(self) -> WriteSide:
        return self.service.side

    @property
    def lists(self) -> Lists:
        """The lists of the tenant's flows."""
        return Lists(self.rows, self.service.counts)

    def envelope(self, command_id: str, expected_version: int | None = None) -> Envelope:
        """The envelope of a command of this caller."""
        return Envelope(
            command_id=command_id,
            client_account_id=self.tenant.client_account_id,
            engagement_id=self.tenant.engagement_id,
            user_id=self.tenant.user_id,
            correlation_id=self.correlation_id,
            source="http",
            expected_version=expected_version,
            ip_address=self.ip_address,
            user_agent=self.user_agent,
        )

    def looked(self, name: Literal["CheckStatus", "ListFlows"], flow_id: UUID | None, **at: Any) -> None:
        """Have the audit trail tell of a read, where it is to tell of those that are not sensitive."""
        if self.side.config.audit_reads:
            self.service.notes.later(self.envelope(str(uuid4())), Note(name, flow_id, at))


async def caller(request: Request) -> Caller:
    """The caller named by the tenant headers; raises TenantMissing."""
    headers = request.headers
    for name in TENANT_HEADERS:
        if len(headers.getlist(name)) > 1:
            raise TenantMissing(f"{name} is given more than once; send one, so that nobody can be taken for another")
    account, engagement, user = TENANT_HEADERS
    tenant = tenant_from(headers.get(account), headers.get(engagement), _text(headers, user), TENANT_HEADERS)
    request.state.tenant = tenant
    service: Service = request.app.state.service
    agent = headers.get("user-agent")
    asking = request.state.caller = Caller(
        tenant,
        request.state.correlation_id,
        request.client.host if request.client else None,
        agent[:MAX_HEADER] if agent else None,
        service,
        Rows(service.side, tenant),
    )
    return asking


def _text(headers: Headers, name: str) -> str | None:
    """A header's text: UTF-8 where it is that, Latin-1 otherwise."""
    given = headers.get(name)
    if given is None or given.isascii():
        return given
    try:
        return given.encode("latin-1").decode()
    except UnicodeDecodeError:
        return given


Asking = Annotated[Caller, Depends(caller)]

_parameters: dict[tuple[str, str], frozenset[str]] = {}


def _names(dependant: Dependant) -> Iterator[str]:
    yield from (field.alias for field in dependant.query_params)
    for inner in dependant.dependencies:
        yield from _names(inner)


async def only_known_parameters(request: Request) -> None:
    """Refuse a query parameter that the route does not have, that is given twice or holds NUL; raises ParameterInvalid."""
    if not request.scope["query_string"]:
        return
    route: APIRoute = request.scope["route"]
    known = _parameters.get((request.method, route.path))
    if known is None:
        known = frozenset(_names(route.dependant))
        _parameters[request.method, route.path] = known
    given = request.query_params.multi_items()
    errors = [
        FieldError(name, f"unknown parameter; this route knows {', '.join(sorted(known)) or 'none'}")
        for name, _ in given
        if name not in known
    ]
    times = Counter(name for name, _ in given)
    errors.extend(FieldError(name, "is given more than once") for name in times if times[name] > 1)
    errors.extend(FieldError(name, "must not contain NUL") for name, value in given if "\x00" in value)
    if errors:
        raise ParameterInvalid("; ".join(f"{error.field}: {error.message}" for error in errors[:3]), errors=errors)


DOOR = [Depends(caller), Depends(only_known_parameters)]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A flow that exists and belongs to the caller; `version` is that of its last event when it was looked up."""

    flow_id: UUID
    version: int


async def wanted_flow(
    request: Request, flow_id: Annotated[UUID, Path(description="The flow's id.")], asking: Asking
) -> Wanted:
    """The flow in the path; raises FlowNotFound, for another tenant's flow too. A command for it is kept as refused."""
    version = await asking.rows.version(flow_id)
    if version is None:
        asked = DeleteFlow if request.method == "DELETE" else ASKED_BY.get(request.url.path.rpartition("/")[2])
        if request.method != "GET" and asked is not None:
            # version 0 is no flow's: should the flow begin just now, this is refused all the same
            await asking.side.committer.submit(
                asked.model_construct(flow_id=flow_id), asking.envelope(command_id(request), 0)
            )
        raise FlowNotFound
    return Wanted(flow_id, version)


ASKED_BY: dict[str, type[Command]] = {
    "execute": ExecutePhase,
    "pause": PauseFlow,
    "resume": ResumeFlow,
    "cancel": CancelFlow,
    "rollback": RollbackFlow,
    "checkpoints": CreateCheckpoint,
    "skip": SkipPhase,
    "retry": RetryFlow,
    "input": ProvideInput,
    "signals": SignalFlow,
    "iterate": StartIteration,
    "migrate": MigrateFlow,
}
OfFlow = Annotated[Wanted, Depends(wanted_flow)]


def command_id(request: Request) -> str:
    """The command's id: the `Idempotency-Key`, or a new one; raises ParameterInvalid."""
    _once(request.headers, "Idempotency-Key")
    key = _text(request.headers, "idempotency-key")
    if key is None:
        return str(uuid4())
    if not 1 <= len(key) <= MAX_HEADER or not key.isprintable():
        raise wrong_parameter("Idempotency-Key", f"must be 1 to {MAX_HEADER} printable characters")
    return key


def _once(headers: Headers, name: str) -> None:
    """Raise ParameterInvalid where a header stands more than once: which of them counts, nobody could tell."""
    if len(headers.getlist(name)) > 1:
        raise wrong_parameter(name, "is given more than once")


def expected_version(request: Request) -> int | None:
    """The version that `If-Match` names, none for `*`; raises ParameterInvalid.

    Taken without its quotes, too, and as weak: what compresses answers on their way marks their ETags so.
    """
    _once(request.headers, "If-Match")
    given = request.headers.get("if-match")
    if given is None or given.strip() == "*":
        return None
    found = ONE_VERSION.fullmatch(given.strip())
    if found is None:
        raise wrong_parameter("If-Match", 'must be one version in quotes, such as "3"')
    return int(found[1] or found[2])


def no_if_match(request: Request, what: str) -> None:
    """Raise ParameterInvalid where there is an `If-Match`: it does not apply to `what`, such as `a flow that is new`."""
    if "if-match" in request.headers:
        raise wrong_parameter("If-Match", f"does not apply to {what}")


async def json_body(request: Request, limit: int) -> dict[str, Any]:
    """The body as a JSON object, an empty body as an empty one; raises BodyNotJson and BodyTooLarge."""
    body = await _read(request, limit)
    if not body:
        return {}
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise BodyNotJson(f"the body is not JSON in UTF-8: {str(error)[:200]}") from None
    if not isinstance(document, dict):
        raise BodyNotJson("the body must be a JSON object")
    return document


async def _read(request: Request, limit: int) -> bytes:
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > limit + DRAIN_BYTES:
        raise BodyTooLarge(f"the body has {length} bytes; at most {limit} are taken")
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size <= limit:
            parts.append(part)
        elif size > limit + DRAIN_BYTES:
            break
    if size > limit:
        raise BodyTooLarge(f"the body is larger than {limit} bytes; upload large data as a file")
    return b"".join(parts)


NO_BODY = "a DELETE takes no body; give the reason as query parameter"


async def no_body(request: Request, asking: Caller, message: str) -> None:
    """Raise BodyInvalid, with this message, where there is a body; BodyNotJson and BodyTooLarge."""
    if await json_body(request, asking.side.config.max_body_bytes):
        raise BodyInvalid(message, errors=[FieldError("body", message)])


async def document_in(request: Request, asking: Caller, kind: type[C]) -> C:
    """The document in the body; raises BodyNotJson, BodyTooLarge and BodyInvalid listing what is wrong."""
    body = await json_body(request, asking.side.config.max_body_bytes)
    try:
        return kind.model_validate(body)
    except ValidationError as invalid:
        errors = field_errors(invalid.errors(include_url=False, include_input=False, include_context=False))
    raise BodyInvalid("; ".join(f"{error.field}: {error.message}" for error in errors[:3]), errors=errors)


async def command_of(request: Request, asking: Caller, kind: type[C], flow_id: UUID) -> C:
    """The command in the body, about this flow; raises BodyNotJson, BodyTooLarge and BodyInvalid."""
    return build(kind, await json_body(request, asking.side.config.max_body_bytes), flow_id)


def build(kind: type[C], body: dict[str, Any], subject: UUID, *, named: str = "flow_id") -> C:
    """The command with these fields about the subject that the path names; raises BodyInvalid listing what is wrong with
    them."""
    what = named.removesuffix("_id")
    errors = [FieldError(named, f"unknown field; the path names the {what}")] if named in body else []
    try:
        command = kind.model_validate({**body, named: subject})
    except ValidationError as invalid:
        errors.extend(field_errors(invalid.errors(include_url=False, include_input=False, include_context=False)))
    except RecursionError:
        errors.append(FieldError("body", "nested too deep"))
    if errors:
        raise BodyInvalid("; ".join(f"{error.field}: {error.message}" for error in errors[:3]), errors=errors)
    return command


async def submit(request: Request, asking: Caller, command: Command, *, command_id: str) -> Answer:
    """What became of a command; its position is looked up where the first answer did not keep one."""
    answer = await asking.side.committer.submit(command, asking.envelope(command_id, expected_version(request)))
    request.state.place.wait()
    if answer.error is None and answer.position is None and answer.version:
        place = await asking.rows.place(answer.flow_id, answer.version)
        return msgspec.structs.replace(answer, position=asking.side.store.position(place))
    return answer
