"""What somebody did beside the flows, kept in the command log under its own command id: accepted once, or refused; and every
time that it was asked again, or its id was used for something else."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from psycopg_pool import AsyncConnectionPool

from domain.commands import Envelope
from domain.errors import KeyReused, MfoError
from eventstore.committer import ACCEPTED, REFUSED, REPEATED
from eventstore.database import Connection
from eventstore.store import CommandRow, FirstAnswer, log_again

Json = dict[str, Any]

TAKE = """
insert into command_ids (client_account_id, engagement_id, command_id, body_hash, outcome, flow_id, version, position, error,
                         at)
values (%s, %s, %s, %s, %s, %s, %s, %s, %s, mfo_now()) on conflict do nothing returning at
"""
TAKEN = """
select body_hash, flow_id, error, mfo_now() - at < make_interval(secs => %s), outcome, version, position from command_ids
where (client_account_id, engagement_id, command_id) = (%s, %s, %s)
"""
DONE = """
update command_ids set version = %s, position = %s where (client_account_id, engagement_id, command_id) = (%s, %s, %s)
"""
LOG = """
insert into command_log (at, client_account_id, engagement_id, user_id, command_id, command, flow_id, source, outcome, version,
                         error, correlation_id, causation_id, ip_address, user_agent, body)
values (%s, %s, %s, %s, %s, %s, %s, %s, %s, 0, %s, %s, %s, %s, %s, %s)
"""
# whoever appends to the command log holds the store's lock, so that its numbers follow the order of commits
ALONE = "select pg_advisory_xact_lock(hashtext(current_schema()), 1)"
FRESH_SECONDS = 600.0


class Act(NamedTuple):
    """What is asked: its name, what it is about, and its body, which holds nothing that must not be kept.

    `marks` says by what it is known again where the body does not; `outcome` is what the log says of it when it is done, and
    `answer` and `place` what a repeat learns besides.
    """

    name: str
    subject: UUID
    body: Json
    marks: bytes | None = None
    outcome: str = ACCEPTED
    answer: str | None = None
    place: tuple[int, int | None] = (0, None)

    def hash(self) -> bytes:
        """The SHA-256 by which a repeat is told from another use of the id."""
        if self.marks is not None:
            return hashlib.sha256(self.marks).digest()
        body = msgspec.json.encode(self.body, order="sorted")
        return hashlib.sha256(msgspec.json.encode([self.name, self.subject]) + body).digest()


class Before(NamedTuple):
    """That the same was asked under this id before, and of what; `fresh`: in the last ten minutes; `answer` and `place`: what was kept
    for it."""

    subject: UUID
    fresh: bool
    answer: str
    place: tuple[int, int | None]


class RefusedBefore(MfoError):
    """This was asked under the same id before, and refused; `error` is the refusal, as it was answered then."""

    code = "refused_before"

    def __init__(self, error: Json) -> None:
        super().__init__(str(error["detail"]))
        self.error = error


class Acting:
    """A transaction in which acts are kept, together with what is done for them."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._again: tuple[CommandRow, UUID, FirstAnswer] | None = None

    async def keep(
        self, envelope: Envelope, act: Act, refusal: MfoError | None = None, *, logged: bool = True
    ) -> Before | None:
        """Keep an act and its outcome; none where it is new, so that it is to be done. A repeat is kept, too.

        Raises KeyReused where the id was used for something else, and RefusedBefore with the first refusal. With `logged`
        false the log says nothing of it when it is new, because it does so elsewhere.
        """
        outcome = act.outcome if refusal is None else REFUSED
        error = msgspec.json.encode(refusal.as_dict()).decode() if refusal is not None else None
        remembered = (act.answer or outcome) if refusal is None else REFUSED
        await self.connection.execute(ALONE)
        cursor = await self.connection.execute(
            TAKE, (*_key(envelope), act.hash(), remembered, act.subject, *act.place, error)
        )
        row = await cursor.fetchone()
        if row is None:
            return await self.again(envelope, act)
        if logged:
            at: datetime = row[0]
            about = (envelope.source, outcome, error, envelope.correlation_id, envelope.causation_id)
            whose = (envelope.client_account_id, envelope.engagement_id, envelope.user_id, envelope.command_id)
            where = (envelope.ip_address, envelope.user_agent)
            body = msgspec.json.encode(act.body, order="sorted")
            await self.connection.execute(LOG, (at, *whose, act.name, act.subject, *about, *where, body))
        return None

    async def again(self, envelope: Envelope, act: Act) -> Before | None:
        """What came of it before; none where the id is new. A repeat is kept. Raises KeyReused and RefusedBefore."""
        row = await (await self.connection.execute(TAKEN, (FRESH_SECONDS, *_key(envelope)))).fetchone()
        if row is None:
            return None
        error = msgspec.json.decode(row[2]) if row[2] is not None else None
        first = FirstAnswer(bytes(row[0]), row[4], row[1], 0, None, error)
        if first.body_hash != act.hash():
            reused = KeyReused()
            await self._say(envelope, act, act.subject, first, outcome=REFUSED, error=reused.as_dict())
            raise reused
        await self._say(envelope, act, first.flow_id, first, outcome=REPEATED, error=error)
        if error is not None:
            raise RefusedBefore(error)
        return Before(first.flow_id, bool(row[3]), first.outcome, (row[5], row[6]))

    async def done(self, envelope: Envelope, place: tuple[int, int]) -> None:
        """Say what came of an act that was kept before it was done."""
        await self.connection.execute(DONE, (*place, *_key(envelope)))

    async def knows(self, envelope: Envelope) -> bool:
        """Whether the id was used before."""
        return await (await self.connection.execute(TAKEN, (FRESH_SECONDS, *_key(envelope)))).fetchone() is not None

    async def _say(
        self, envelope: Envelope, act: Act, subject: UUID, first: FirstAnswer, *, outcome: str, error: Json | None
    ) -> None:
        text = msgspec.json.encode(error).decode() if error is not None else None
        row = CommandRow(act.name, envelope, first.body_hash, outcome, 0, text, None)
        self._again = (row, subject, first)
        await log_again(self.connection, *self._again)

    async def say_again(self) -> None:
        """Keep a repeat that was kept in a transaction that was undone."""
        if self._again is not None:
            await log_again(self.connection, *self._again)


@asynccontextmanager
async def acting(pool: AsyncConnectionPool[Connection]) -> AsyncIterator[Acting]:
    """A transaction to keep acts in, and to do them. That something was asked again stays kept where that is refused."""
    async with pool.connection() as connection:
        doing = Acting(connection)
        try:
            async with connection.transaction():
                yield doing
        except MfoError:
            await doing.say_again()
            raise


def _key(envelope: Envelope) -> tuple[UUID, UUID, str]:
    return envelope.client_account_id, envelope.engagement_id, envelope.command_id
