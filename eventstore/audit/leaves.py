"""What the leaves of a checkpoint's trees are made of, and the leaves of both logs as they lie in the store."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from eventstore.database import Connection

COMMAND_COLUMNS = (
    *("n", "at", "client_account_id", "engagement_id", "user_id", "command_id", "command", "flow_id", "source"),
    *("outcome", "version", "position", "error", "correlation_id", "causation_id", "expected_version", "ip_address"),
    *("user_agent", "body"),
)
"""Every column of the command log, in the order in which a leaf holds them."""

_MICROSECONDS = "(extract(epoch from at) * 1000000)::bigint"
COMMAND_SELECT = ", ".join(_MICROSECONDS if name == "at" else name for name in COMMAND_COLUMNS)
"""The columns as a leaf wants them: `at` in microseconds since 1970, UTC."""

# `offset 0`: an owner is looked up by its key for each event; from an account's flows, each would look through the whole span
EVENT_LEAVES = """
select e.notification_id, 'event'::bytea || uuid_send(e.originator_id) || int8send(e.originator_version) || e.hash,
       uuid_send(h.client_account_id)
from stored_events e, lateral (select client_account_id from heads where id = e.originator_id offset 0) h
where e.notification_id >= %(first)s and e.notification_id <= %(last)s
  and (%(account)s::uuid is null or h.client_account_id = %(account)s) order by e.notification_id
"""
# those of a row that is there, or the digest of one that retention removed
COMMAND_LEAVES = f"""
copy (select digest, {COMMAND_SELECT} from command_leaves
      where n >= %(first)s and n <= %(last)s and (%(account)s::uuid is null or client_account_id = %(account)s) order by n)
to stdout (format binary)
"""
FETCH = 2000
_COPY_HEADER, _COPY_END, _NONE = 19, b"\xff\xff", b"\xff\xff\xff\xff"


class Span(NamedTuple):
    """A part of a log: after one place up to another; of one account, where it is named."""

    after: int
    upto: int
    account: UUID | None = None

    def values(self) -> dict[str, Any]:
        """What its statement wants."""
        return {"first": self.after + 1, "last": self.upto, "account": self.account}


EVERYTHING = Span(-(1 << 63) - 1, (1 << 63) - 1)
"""All places that a row can name, those before the first one too."""

Leaf = tuple[int, bytes, bytes]
"""A place in a log, the leaf, and the 16 bytes of the client account."""
Leaves = list[Leaf]


def event_leaf(flow_id: UUID, version: int, digest: bytes) -> bytes:
    """`event` | flow id (16) | version (u64 be) | hash (32): the event by the hash of its chain."""
    return b"event" + flow_id.bytes + _u64(version) + digest


def command_leaf(row: Sequence[Any]) -> bytes:
    """`command` | n (u64 be) | SHA-256 over the row's columns, each as its length (u32 be) and its bytes.

    Texts are UTF-8, ids their 16 bytes, numbers i64 be; a column without a value is the length 0xffffffff alone.
    """
    return _leaf(row[0], command_digest(row))


def command_digest(row: Sequence[Any]) -> bytes:
    """The SHA-256 in a command's leaf."""
    digest = hashlib.sha256()
    for value in row:
        data = _bytes(value)
        digest.update(b"\xff\xff\xff\xff" if data is None else len(data).to_bytes(4, "big") + data)
    return digest.digest()


async def event_leaves(connection: Connection, span: Span) -> AsyncIterator[dict[UUID, Leaves]]:
    """The leaves of the events of a span by client account, in the order of the log; at most 2,000 at a time."""
    async with connection.transaction(), connection.cursor("leaves", binary=True) as cursor:
        await cursor.execute(EVENT_LEAVES, span.values())
        while rows := await cursor.fetchmany(FETCH):
            yield _by_account(rows)


async def command_leaves(connection: Connection, span: Span) -> AsyncIterator[dict[UUID, Leaves]]:
    """As `event_leaves`, of the command log.

    In the binary format of COPY a column is its length and its bytes, as in a leaf, so that none of them is unpacked.
    """
    if connection.info.encoding != "utf-8":
        await connection.execute("set client_encoding to 'UTF8'")
    rows: Leaves = []
    begin = _COPY_HEADER
    async with connection.cursor().copy(COMMAND_LEAVES, span.values()) as copy:
        async for data in copy:
            row = bytes(data[begin:])
            begin = 0
            if row != _COPY_END:
                rows.append(_copied(row))
            if len(rows) == FETCH:
                yield _by_account(rows)
                rows = []
    if rows:
        yield _by_account(rows)


def _copied(row: bytes) -> Leaf:
    """The leaf of a row of COMMAND_LEAVES: the number of columns (2 bytes), the digest, all other columns."""
    gone = row[2:6] != _NONE
    columns = row[38:] if gone else row[6:]
    n = columns[4:12]
    digest = row[6:38] if gone else hashlib.sha256(columns).digest()
    return int.from_bytes(n, "big", signed=True), b"command" + n + digest, columns[28:44]


def _by_account(rows: Iterable[Leaf]) -> dict[UUID, Leaves]:
    found: dict[bytes, Leaves] = {}
    for row in rows:
        found.setdefault(row[2], []).append(row)
    return {UUID(bytes=account): leaves for account, leaves in found.items()}


def _leaf(n: int, digest: bytes) -> bytes:
    return b"command" + _u64(n) + digest


def _u64(number: int) -> bytes:
    """None of ours is below 0; who puts one there must not stop verification."""
    return (number % (1 << 64)).to_bytes(8, "big")


def _bytes(value: Any) -> bytes | None:
    match value:
        case None:
            return None
        case str():
            return value.encode()
        case UUID():
            return value.bytes
        case int():
            return value.to_bytes(8, "big", signed=True)
        case _:
            return bytes(value)
