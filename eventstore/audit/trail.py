"""The audit trail in the store: entries made of the command log and of history, written down, and made again to compare."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import UTC, datetime
from functools import cache
from itertools import chain
from typing import Any, NamedTuple, TypedDict
from uuid import UUID, uuid4

import msgspec
from psycopg import sql

from domain.auditing.compliance import violations
from domain.auditing.policy import AuditPolicy
from domain.auditing.trail import EVENTS, NOBODY, Entry, Happened, Said, Source, of_command, of_event
from domain.commands import Envelope
from domain.flow import Meta
from domain.words import SYSTEM_USER
from eventstore.audit.notes import Note, note
from eventstore.codec import plain, split
from eventstore.database import Connection
from eventstore.wake import in_turns

Json = dict[str, Any]

NAME = "audit_events"
TABLE = "audit_events_v1"
CHUNK = 500
TYPES = {
    "source": "text",
    "place": "int8",
    "part": "int2",
    "id": "uuid",
    "at": "timestamptz",
    **dict.fromkeys(("category", "level", "operation", "actor"), "text"),
    **dict.fromkeys(("client_account_id", "engagement_id"), "uuid"),
    "ip_address": "text",
    "user_agent": "text",
    "flow_id": "uuid",
    "version": "int8",
    **dict.fromkeys(("outcome", "error_code", "correlation_id", "causation_id", "reason"), "text"),
    "details": "jsonb",
    "restricted": "bool",
    "policy": "int2",
}
# a jsonb is sent as its text behind the number of its format: half the time of a wrapper for each
SENT = ["bytea" if kind == "jsonb" else kind for kind in TYPES.values()]
_JSONB, _encode = b"\x01", msgspec.json.Encoder().encode
COLUMNS = tuple(TYPES)
"""Those of `Entry`, in its order, and the policy that it was made under."""
TOPICS = list(EVENTS)

PROGRESS = """
select f.position, p.commands_upto, (select coalesce(max(notification_id), 0) from stored_events)
from followers f, audit_progress p where f.name = 'audit_events'
"""
COMMANDS_END = "select coalesce(max(n), %s) from command_log where n > %s"
SAID = ", ".join(Said._fields)
COMMANDS = f"""
select {SAID} from command_log
where n > %(after)s and n <= %(upto)s and (%(account)s::uuid is null or client_account_id = %(account)s)
  and (%(flow)s::uuid is null or flow_id = %(flow)s)
order by n
"""
HISTORY = """
select notification_id, originator_id, originator_version, topic, state from stored_events
where notification_id > %(after)s and notification_id <= %(upto)s and topic = any(%(topics)s)
  and (%(flow)s::uuid is null or originator_id = %(flow)s)
order by notification_id
"""
# whose flows these are, and what they begin with: when that was says whether they were there already
FOREIGN = """
select h.id, h.client_account_id, h.engagement_id, e.state
from heads h join stored_events e on e.originator_id = h.id and e.originator_version = 1 where h.id = any(%s)
"""
POLICIES = "select id, document from audit_policies"
NEW_POLICY = """
insert into audit_policies (document, first_used_at) values (%s, mfo_now()) on conflict do nothing returning id
"""
ADOPTED = "AdoptAuditPolicy"
"""What the command log says of a policy that is used for the first time, under no client account: so it is signed."""
NOT_FOUND = '"flow_not_found"'


@cache
def _decoder(topic: str) -> msgspec.json.Decoder[Any]:
    """Reads of an event's data the fields that its entry shows; outputs may be large, and are not read."""
    names = {*EVENTS[topic][1], "error", "reason", "final"}
    # mypy wants to read the fields in the source, where they stand in a table
    shown = TypedDict("shown", dict.fromkeys(names, Any), total=False)  # type: ignore[misc]
    return msgspec.json.Decoder(msgspec.defstruct("Written", [("meta", Meta), ("data", shown)]))


class Range(NamedTuple):
    """A part of either log: after one place up to another; of one account or flow, where they are named."""

    after: int
    upto: int
    account: UUID | None = None
    flow: UUID | None = None

    def values(self) -> Json:
        return {**self._asdict(), "topics": TOPICS}


class Made(NamedTuple):
    """The entries of one origin."""

    place: int
    entries: list[Entry]


async def reached(connection: Connection) -> dict[str, int]:
    """The place in each log up to which there are entries, by the source that entries name."""
    row = await (await connection.execute(PROGRESS)).fetchone()
    assert row is not None
    return {Source.COMMAND: int(row[1]), Source.EVENT: int(row[0])}


async def policies(connection: Connection) -> dict[int, AuditPolicy]:
    """What entries were ever made under, by number."""
    rows = await (await connection.execute(POLICIES)).fetchall()
    return {number: msgspec.json.decode(document, type=AuditPolicy) for number, document in rows}


async def number_of(connection: Connection, policy: AuditPolicy) -> int:
    """The number of a policy, a new one where nothing was made under it before."""
    for _ in range(2):
        for number, known in (await policies(connection)).items():
            if known == policy:
                return number
        document = msgspec.json.encode(policy, order="sorted").decode()
        async with connection.transaction():
            row = await (await connection.execute(NEW_POLICY, (document,))).fetchone()
            if row is not None:
                await note(connection, _adopting(), Note(ADOPTED, None, {"id": row[0], "document": document}))
    raise AssertionError("a policy that was just written is not there")


def _adopting() -> Envelope:
    return Envelope(
        command_id=str(uuid4()),
        client_account_id=NOBODY,
        engagement_id=NOBODY,
        user_id=SYSTEM_USER,
        correlation_id="audit",
        source="audit",
    )


async def said(connection: Connection, part: Range) -> AsyncIterator[list[tuple[Said, bool]]]:
    """The rows of the command log, each with whether it was for another tenant's flow, some at a time; inside of a transaction."""
    async for rows in _chunks(connection, "said", COMMANDS, part):
        found = [Said._make(row) for row in rows]
        foreign = await _foreign(connection, found)
        yield [(one, one.n in foreign) for one in found]


async def happened(connection: Connection, part: Range) -> AsyncIterator[list[Happened]]:
    """The events that have entries of their own, some at a time; inside of a transaction."""
    async for rows in _chunks(connection, "happened", HISTORY, part):
        found = [_happened(*row) async for row in in_turns(rows)]
        yield [one for one in found if part.account is None or one.client_account_id == part.account]


def _happened(position: int, flow_id: UUID, version: int, topic: str, state: bytes) -> Happened:
    written = _decoder(topic).decode(plain(state))
    meta = written.meta
    return Happened(
        position,
        flow_id,
        version,
        topic,
        meta.at,
        meta.client_account_id,
        meta.engagement_id,
        meta.user_id,
        meta.command_id,
        meta.correlation_id,
        meta.causation_id,
        meta.source,
        written.data,
    )


def entries_of(origin: Said | Happened, policy: AuditPolicy, *, foreign: bool = False) -> list[Entry]:
    """All entries of one origin, its violations of the rules among them."""
    made = of_command(origin, policy, foreign=foreign) if isinstance(origin, Said) else of_event(origin, policy)
    return made + violations(made, policy.rules)


async def write(connection: Connection, entries: Iterable[Entry], policy: int) -> int:
    """Keep entries; answers how many."""
    statement = sql.SQL("copy {} ({}) from stdin (format binary)").format(
        sql.Identifier(TABLE), sql.SQL(", ").join(map(sql.Identifier, COLUMNS))
    )
    count = 0
    async with connection.cursor().copy(statement) as copy:
        copy.set_types(SENT)
        for *said, details, restricted in entries:
            await copy.write_row((*said, _JSONB + _encode(details), restricted, policy))
            count += 1
    return count


async def project(connection: Connection, policy: AuditPolicy, number: int, *, commands: Range, events: Range) -> int:
    """Make and keep the entries of both parts, in a transaction of the caller's; answers how many."""
    count = 0
    async for some in said(connection, commands):
        made = [entries_of(one, policy, foreign=foreign) async for one, foreign in in_turns(some)]
        count += await write(connection, chain.from_iterable(made), number)
    async for events_ in happened(connection, events):
        made = [entries_of(each, policy) async for each in in_turns(events_)]
        count += await write(connection, chain.from_iterable(made), number)
    return count


def digest(entry: Sequence[Any]) -> bytes:
    """SHA-256 over what an entry says, its columns in the order of `Entry`."""
    return hashlib.sha256(msgspec.json.encode(comparable(entry), order="sorted")).digest()


def comparable(entry: Sequence[Any]) -> list[Any]:
    """An entry's columns as JSON values, the same whether it was just made or comes from the store."""
    return [_plain(value) for value in entry]


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        value = value.astimezone(UTC)
    # through JSON and back, as PostgreSQL does: tuples become lists, words their texts
    return msgspec.json.decode(msgspec.json.encode(value))


async def _foreign(connection: Connection, rows: Sequence[Said]) -> set[int]:
    """The places of those that asked for a flow that was another tenant's."""
    asked = [one for one in rows if one.outcome == "refused" and NOT_FOUND in (one.error or "")]
    if not asked:
        return set()
    cursor = await connection.execute(FOREIGN, ([one.flow_id for one in asked],), binary=True)
    owners = {row[0]: ((row[1], row[2]), split(bytes(row[3]))[0].at) for row in await cursor.fetchall()}
    return {
        one.n
        for one in asked
        if one.command != "ForeignFlowRead"
        and one.flow_id in owners
        and owners[one.flow_id][0] != (one.client_account_id, one.engagement_id)
        and owners[one.flow_id][1] <= one.at
    }


async def _chunks(
    connection: Connection, name: str, statement: str, part: Range
) -> AsyncIterator[list[tuple[Any, ...]]]:
    async with connection.cursor(name, binary=True) as cursor:
        await cursor.execute(statement, part.values())
        while rows := await cursor.fetchmany(CHUNK):
            yield rows
