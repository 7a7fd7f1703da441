"""Checkpoints: what a signature says of a client account's history up to a place in the log.

A statement is canonical JSON (keys sorted, no spaces, UTF-8):
`{client_account_id, commands: {after, count, root, upto}, events: {...}, key_id, made_at, number, previous, version}`.
`events` and `commands` are the stretches of the log and of the command log that this checkpoint adds, with the RFC 6962 root
over their leaves; `previous` is the SHA-256 of the statement before it, zeros for the first. Numbers begin at 1.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterable
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from eventstore.audit.leaves import LEAF_SELECT, event_leaf, leaf_of
from eventstore.audit.merkle import Tree
from eventstore.audit.signing import SigningKey
from eventstore.database import Connection

FIRST = bytes(32).hex()

EVENTS = """
select e.originator_id, e.originator_version, e.hash, h.client_account_id
from stored_events e join heads h on h.id = e.originator_id
where e.notification_id > %s and e.notification_id <= %s
"""
EVENTS_OF_ALL = EVENTS + " order by e.notification_id"
EVENTS_OF_ONE = EVENTS + " and h.client_account_id = %s order by e.notification_id"
COMMANDS_OF_ALL = f"select {LEAF_SELECT} from command_leaves where n > %s and n <= %s order by n"
COMMANDS_OF_ONE = (
    f"select {LEAF_SELECT} from command_leaves where n > %s and n <= %s and client_account_id = %s order by n"
)
LAST = """
select distinct on (client_account_id) client_account_id, number, statement, signature, key_id, events_from, commands_from
from audit_checkpoints where client_account_id = any(%s) order by client_account_id, number desc
"""
KEEP = """
insert into audit_checkpoints (client_account_id, number, made_at, events_from, commands_from, statement, signature, key_id)
values (%s, %s, mfo_now(), %s, %s, %s, %s, %s)
"""
NOTE_KEY = """
insert into audit_keys (key_id, public_key, first_used_at, last_used_at) values (%s, %s, mfo_now(), mfo_now())
on conflict (key_id) do update set last_used_at = excluded.last_used_at
"""
FETCH = 2000


class Stretch(msgspec.Struct, frozen=True):
    """A part of a log: after one place up to another, how many leaves are the account's, and the root over them."""

    after: int
    upto: int
    count: int
    root: str


class Statement(msgspec.Struct, frozen=True):
    """What is signed."""

    version: int
    client_account_id: UUID
    number: int
    made_at: datetime
    events: Stretch
    commands: Stretch
    previous: str
    key_id: str

    def encode(self) -> bytes:
        """The canonical JSON."""
        return msgspec.json.encode(self, order="sorted")


class Checkpoint(NamedTuple):
    """A statement as it was signed, with its signature."""

    statement: bytes
    signature: bytes
    key_id: str

    @property
    def said(self) -> Statement:
        """What it says; raises msgspec.ValidationError or DecodeError for what is no statement."""
        return msgspec.json.decode(self.statement, type=Statement)

    @property
    def digest(self) -> str:
        """What the next one names as `previous`, hexadecimal."""
        return hashlib.sha256(self.statement).hexdigest()

    def as_dict(self) -> dict[str, Any]:
        """As it is published: `{statement, signature, key_id}`, the statement as text, the signature in hexadecimal."""
        return {"statement": self.statement.decode(), "signature": self.signature.hex(), "key_id": self.key_id}


def from_dict(told: dict[str, Any]) -> Checkpoint:
    """The checkpoint of what was published; raises KeyError, ValueError or TypeError for anything else."""
    return Checkpoint(str(told["statement"]).encode(), bytes.fromhex(told["signature"]), str(told["key_id"]))


class Begun(NamedTuple):
    """The places of both logs after which the round began that a checkpoint was made in."""

    events: int
    commands: int


class Last(NamedTuple):
    """Where an account's checkpoints end."""

    number: int
    events_upto: int
    commands_upto: int
    digest: str


NONE_YET = Last(0, 0, 0, FIRST)


def last_of(checkpoint: Checkpoint) -> Last:
    """What the next one follows."""
    said = checkpoint.said
    return Last(said.number, said.events.upto, said.commands.upto, checkpoint.digest)


async def newest(connection: Connection, accounts: Iterable[UUID]) -> dict[UUID, tuple[Checkpoint, Begun]]:
    """The last checkpoint of each of these accounts that has one."""
    cursor = await connection.execute(LAST, (list(accounts),), binary=True)
    return {
        row[0]: (Checkpoint(bytes(row[2]), bytes(row[3]), row[4]), Begun(row[5], row[6]))
        for row in await cursor.fetchall()
    }


class Gathered(msgspec.Struct):
    """The trees of one account's new leaves."""

    events: Tree
    commands: Tree


async def gather(connection: Connection, events: tuple[int, int], commands: tuple[int, int]) -> dict[UUID, Gathered]:
    """The trees over both stretches, by client account."""
    found: dict[UUID, Gathered] = {}

    def of(account: UUID) -> Gathered:
        if account not in found:
            found[account] = Gathered(Tree(), Tree())
        return found[account]

    async for flow_id, version, digest, account in _rows(connection, EVENTS_OF_ALL, *events):
        of(account).events.add(event_leaf(flow_id, version, bytes(digest)))
    async for row in _rows(connection, COMMANDS_OF_ALL, *commands):
        of(row[2]).commands.add(leaf_of(row))
    return found


async def retrace(connection: Connection, said: Statement, begun: Begun | None = None) -> tuple[Stretch, Stretch]:
    """Both stretches of a statement as the store has them now; `begun` spares the search for what lies before it."""
    account = said.client_account_id
    events, commands = Tree(), Tree()
    after = begun or Begun(said.events.after, said.commands.after)
    async for flow_id, version, digest, _ in _rows(connection, EVENTS_OF_ONE, after.events, said.events.upto, account):
        events.add(event_leaf(flow_id, version, bytes(digest)))
    async for row in _rows(connection, COMMANDS_OF_ONE, after.commands, said.commands.upto, account):
        commands.add(leaf_of(row))
    return (
        Stretch(said.events.after, said.events.upto, events.size, events.root().hex()),
        Stretch(said.commands.after, said.commands.upto, commands.size, commands.root().hex()),
    )


async def keep(connection: Connection, statement: Statement, begun: Begun, key: SigningKey) -> Checkpoint:
    """Sign a statement and keep it."""
    encoded = statement.encode()
    made = Checkpoint(encoded, key.sign(encoded), key.key_id)
    about = (statement.client_account_id, statement.number, *begun)
    await connection.execute(KEEP, (*about, encoded, made.signature, key.key_id))
    return made


async def note_key(connection: Connection, key: SigningKey) -> None:
    """Keep the public half, so that it can be had after the key was changed."""
    await connection.execute(NOTE_KEY, (key.key_id, key.public_key))


async def _rows(connection: Connection, statement: str, *parameters: Any) -> AsyncIterator[tuple[Any, ...]]:
    async with connection.cursor("leaves", binary=True) as cursor:
        cursor.itersize = FETCH
        await cursor.execute(statement, parameters)
        async for row in cursor:
            yield row
