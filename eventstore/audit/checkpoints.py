"""Checkpoints: what a signature says of a client account's history up to a place in the log.

A statement is canonical JSON (keys sorted, no spaces, UTF-8):
`{client_account_id, commands: {after, count, root, upto}, events: {...}, key_id, made_at, number, previous, version}`.
`events` and `commands` are the stretches of the log and of the command log that this checkpoint adds, with the RFC 6962 root
over their leaves; `previous` is the SHA-256 of the statement before it, zeros for the first. Numbers begin at 1.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from eventstore.audit.leaves import Span, command_leaves, event_leaves
from eventstore.audit.merkle import Tree
from eventstore.audit.signing import SigningKey
from eventstore.database import Connection

FIRST = bytes(32).hex()

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


async def gather(connection: Connection, events: Span, commands: Span) -> dict[UUID, Gathered]:
    """The trees over both spans, by client account."""
    found: dict[UUID, Gathered] = {}

    def of(account: UUID) -> Gathered:
        return found.setdefault(account, Gathered(Tree(), Tree()))

    async for some in event_leaves(connection, events):
        for account, leaves in some.items():
            of(account).events.add([leaf for _, leaf, _ in leaves])
    async for some in command_leaves(connection, commands):
        for account, leaves in some.items():
            of(account).commands.add([leaf for _, leaf, _ in leaves])
    return found


async def retrace(connection: Connection, said: Statement, begun: Begun | None = None) -> tuple[Stretch, Stretch]:
    """Both stretches of a statement as the store has them now; `begun` spares the search for what lies before it."""
    account = said.client_account_id
    return _stretches(said, (await gather(connection, *_spans(said, begun, account))).get(account))


async def retrace_all(
    connection: Connection, made: Iterable[tuple[Statement, Begun]]
) -> dict[UUID, tuple[Stretch, Stretch]]:
    """As `retrace`, by account, for a statement of each of some accounts; those of one round are read together."""
    rounds: dict[tuple[Span, Span], list[Statement]] = {}
    for said, begun in made:
        rounds.setdefault(_spans(said, begun, None), []).append(said)
    found: dict[UUID, tuple[Stretch, Stretch]] = {}
    for spans, statements in rounds.items():
        alone = statements[0].client_account_id if len(statements) == 1 else None
        events, commands = (span._replace(account=alone) for span in spans)
        there = await gather(connection, events, commands)
        found |= {said.client_account_id: _stretches(said, there.get(said.client_account_id)) for said in statements}
    return found


def _spans(said: Statement, begun: Begun | None, account: UUID | None) -> tuple[Span, Span]:
    after = begun or Begun(said.events.after, said.commands.after)
    return Span(after.events, said.events.upto, account), Span(after.commands, said.commands.upto, account)


def _stretches(said: Statement, there: Gathered | None) -> tuple[Stretch, Stretch]:
    events, commands = (there.events, there.commands) if there is not None else (Tree(), Tree())
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
