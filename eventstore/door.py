"""A door for aggregates that lie beside the flows: their commands decided and appended one by one, and what was kept read.

Their events lie in `stored_events` beside those of the flows, in the same chain of hashes, under the same lock, with the same
command log; a row of their own table, the folded history, is written by the same statement.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, Generic, NamedTuple, Protocol, TypeVar
from uuid import UUID, uuid5

import msgspec
import psycopg
import structlog
from psycopg import sql
from psycopg_pool import PoolTimeout

from domain.commands import Envelope
from domain.errors import KeyReused, MfoError, StoreBusy, StoreUnavailable
from domain.flow import Flow, Meta
from eventstore.codec import FIRST_HASH, Row, encode_meta
from eventstore.committer import ACCEPTED, REFUSED, REPEATED, Answer
from eventstore.database import Connection
from eventstore.metrics import COMMANDS, CONFLICTS
from eventstore.parking import Parking
from eventstore.store import CommandRow, Decision, FirstAnswer, Store, append

log = structlog.get_logger()

MAX_TRIES = 20
TRIES_WHILE_AWAY = 4

LOAD = """
select s.snapshot, h.version, h.hash, e.notification_id, mfo_now()
from (select %b::uuid as id) i
left join heads h on h.id = i.id
left join {table} s on s.id = i.id
left join stored_events e on e.originator_id = h.id and e.originator_version = h.version
"""


# held is what lets this one's place in the command log follow the order of commits
REFUSE = """
with alone as materialized (select pg_advisory_xact_lock(hashtext(current_schema()), 1)),
kept as (
    insert into command_ids (client_account_id, engagement_id, command_id, body_hash, outcome, flow_id, version, error, at)
    select %(client)s, %(engagement)s, %(id)s, %(hash)s, 'refused', %(subject)s, 0, %(error)s, mfo_now() from alone
    on conflict do nothing returning at
)
insert into command_log (at, client_account_id, engagement_id, user_id, command_id, command, flow_id, source, outcome, version,
                         error, correlation_id, causation_id, expected_version, ip_address, user_agent, body)
select at, %(client)s, %(engagement)s, %(user)s, %(id)s, %(command)s, %(subject)s, %(source)s, 'refused', 0, %(error)s,
       %(correlation)s, %(causation)s, %(expected)s, %(ip)s, %(agent)s, %(body)s
from kept
"""


class Subject(Protocol):
    """What a door needs of an aggregate. One that does not exist has version 0."""

    @property
    def id(self) -> UUID: ...
    @property
    def version(self) -> int: ...
    @property
    def client_account_id(self) -> UUID | None: ...
    @property
    def engagement_id(self) -> UUID | None: ...


C = TypeVar("C")
S = TypeVar("S", bound=Subject)
R = TypeVar("R")
A = TypeVar("A", bound=Answer)


class Loaded(NamedTuple, Generic[S]):
    """An aggregate with the hash and the place of its last event, and the store's time."""

    subject: S
    hash: bytes
    position: int
    now: datetime


class Told(NamedTuple, Generic[R]):
    """A fact with its place in the log."""

    position: int
    recorded: R


class Door(ABC, Generic[C, S, R, A]):
    """Decides commands (C) for aggregates (S) with facts (R), in the order in which they come, on a connection of its own;
    reads use the pool."""

    def __init__(self, store: Store, connect: Callable[[], Awaitable[Connection]]) -> None:
        self._store = store
        self._parking = Parking(store.pool)
        self._connect = connect
        self._connection: Connection | None = None
        self._turn = asyncio.Lock()
        self._asked: set[asyncio.Task[A]] = set()

    # what a sort of aggregate says of itself

    @abstractmethod
    def _subject_of(self, command: C) -> UUID: ...

    @abstractmethod
    def _internal(self, command: C) -> bool:
        """Whether it is a command of our own, which is not kept when it brings nothing about."""

    @abstractmethod
    def _table(self, command: C) -> str: ...

    @abstractmethod
    async def _prepare(self, command: C, envelope: Envelope) -> tuple[C, bytes, bytes]:
        """The command as it is kept, the hash of its body, and the body."""

    @abstractmethod
    def _new(self, command: C, **fields: Any) -> S: ...

    @abstractmethod
    def _read(self, command: C, snapshot: bytes) -> S: ...

    @abstractmethod
    def _decide(self, before: S, command: C, meta: Meta, expected_version: int | None) -> tuple[S, Sequence[R]]: ...

    @abstractmethod
    def _fold(self, subject: S, history: Sequence[R]) -> S: ...

    @abstractmethod
    def _encode(self, recorded: R, meta: bytes, previous: bytes) -> Row: ...

    @abstractmethod
    def _decode(self, subject_id: UUID, version: int, topic: str, state: bytes) -> R: ...

    @abstractmethod
    def _keep(self, command: C) -> str:
        """The statement around APPEND that also writes the row, by the parameters of `_row`."""

    @abstractmethod
    def _row(self, command: C, after: S | None) -> tuple[Any, ...]:
        """The parameters of the row; without a subject the row stays as it is."""

    @abstractmethod
    def _answer(self, command: C, answer: Answer, subject: S | None) -> A: ...

    # commands

    async def stop(self) -> None:
        """Finish what was asked, then close the connection."""
        await asyncio.gather(*self._asked, return_exceptions=True)
        await self._disconnect()

    async def put(self, command: C, envelope: Envelope) -> asyncio.Future[A]:
        """As `submit`, without waiting; commands put one after the other are decided in that order."""
        task = asyncio.create_task(self._submit(command, envelope))
        self._asked.add(task)
        task.add_done_callback(self._asked.discard)
        return task

    async def submit(self, command: C, envelope: Envelope) -> A:
        """Decide and keep a command; returns when it is committed. A refusal is an answer, not an error.

        A command of our own that brings nothing about is not kept. Raises StoreUnavailable and StoreBusy, and MfoError
        for a command that could not be decided for a reason of ours.
        """
        # a caller that goes away must not cut a statement in two
        return await asyncio.shield(await self.put(command, envelope))

    async def _submit(self, command: C, envelope: Envelope) -> A:
        async with self._turn:
            away = 0
            for _ in range(MAX_TRIES):
                try:
                    answer = await self._tried(command, envelope)
                except (psycopg.Error, PoolTimeout, OSError) as error:
                    await self._disconnect()
                    if isinstance(error, psycopg.DataError | psycopg.IntegrityError):
                        raise MfoError(f"the command could not be kept: {type(error).__name__}") from error
                    away += 1
                    log.warning("command could not be kept", error=type(error).__name__, tries=away)
                    if away >= TRIES_WHILE_AWAY:
                        raise StoreUnavailable from error
                    await asyncio.sleep(0.05)
                    continue
                if answer is not None:
                    COMMANDS.labels(type(command).__name__, answer.outcome).inc()
                    return answer
                CONFLICTS.inc()
        raise StoreBusy("it is changed by others too fast; try again")

    async def _tried(self, command: C, envelope: Envelope) -> A | None:
        if self._internal(command):
            return await self._decided(command, envelope, b"", None, internal=True)
        prepared, body_hash, body = await self._prepare(command, envelope)
        return await self._decided(prepared, envelope, body_hash, body, internal=False)

    async def _decided(
        self, command: C, envelope: Envelope, body_hash: bytes, body: bytes | None, *, internal: bool
    ) -> A | None:
        """The answer, or none where the subject moved on meanwhile."""
        known = await self._store.first_answers([envelope])
        if known:
            return await self._repeat(command, envelope, body_hash, next(iter(known.values())), internal=internal)
        connection = await self._connected()
        before = await self._load(connection, command)
        meta = Meta(
            at=before.now,
            client_account_id=envelope.client_account_id,
            engagement_id=envelope.engagement_id,
            user_id=envelope.user_id,
            command_id=envelope.command_id,
            correlation_id=envelope.correlation_id,
            causation_id=envelope.causation_id,
            source=envelope.source,
        )
        rows: list[Row] = []
        after, link, error = before.subject, before.hash, None
        try:
            after, facts = self._decide(before.subject, command, meta, envelope.expected_version)
            written = encode_meta(meta)
            for fact in facts:
                rows.append(self._encode(fact, written, link))
                link = rows[-1].hash
        except MfoError as refusal:
            if refusal.status >= 500:
                raise
            after, rows, link, error = before.subject, [], before.hash, refusal.as_dict()
        outcome = REFUSED if error else ACCEPTED if rows else REPEATED
        ours = (after.client_account_id, after.engagement_id) == (envelope.client_account_id, envelope.engagement_id)
        version = after.version if ours else 0
        subject_id = self._subject_of(command)
        place = self._store.position(before.position) if version and before.position else None
        answer = Answer(envelope.command_id, outcome, subject_id, version, place, error)
        if internal and not rows:
            return self._answer(command, answer, after if ours else None)
        text = msgspec.json.encode(error).decode() if error else None
        decision = Decision(
            Flow(id=after.id, version=before.subject.version),
            before.hash,
            Flow(id=after.id, version=after.version),
            link,
            after.client_account_id if ours and after.client_account_id else envelope.client_account_id,
            after.engagement_id if ours and after.engagement_id else envelope.engagement_id,
            rows=rows,
            commands=[CommandRow(type(command).__name__, envelope, body_hash, outcome, version, text, body)],
        )
        more = self._row(command, after if rows else None)
        winners, _ = await append(connection, [decision], self._keep(command), more)
        if 0 not in winners:
            return await self._told_of_parked(command, envelope, meta, body_hash, body)
        if rows:
            place = self._store.position(winners[0][after.version])
            answer = Answer(envelope.command_id, outcome, subject_id, after.version, place)
        return self._answer(command, answer, after if ours else None)

    async def _told_of_parked(
        self, command: C, envelope: Envelope, meta: Meta, body_hash: bytes, body: bytes | None
    ) -> A | None:
        """The refusal of a command about what has the id of a parked flow, or under the id of a command that waits: neither lets
        anything else win; none where that is not so."""
        subject_id = self._subject_of(command)
        flows, waiting = await self._parking.among([(subject_id, envelope)])
        if waiting:
            taken = FirstAnswer(b"", REFUSED, subject_id, 0, None, None)
            return await self._repeat(command, envelope, body_hash, taken, internal=False)
        if subject_id not in flows:
            return None
        try:
            self._decide(self._nobody_s(command, 1), command, meta, None)
        except MfoError as refusal:
            error = refusal.as_dict()
        else:
            return None
        about = {
            "client": envelope.client_account_id,
            "engagement": envelope.engagement_id,
            "user": envelope.user_id,
            "id": envelope.command_id,
            "hash": body_hash,
            "command": type(command).__name__,
            "subject": subject_id,
            "source": envelope.source,
            "error": msgspec.json.encode(error).decode(),
            "correlation": envelope.correlation_id,
            "causation": envelope.causation_id,
            "expected": envelope.expected_version,
            "ip": envelope.ip_address,
            "agent": envelope.user_agent,
            "body": body,
        }
        async with self._store.pool.connection() as connection:
            await connection.execute(REFUSE, about)
        return self._answer(command, Answer(envelope.command_id, REFUSED, subject_id, 0, None, error), None)

    def _nobody_s(self, command: C, version: int) -> S:
        """What stands for something else that has the id: it is nobody's, and no new one may take it."""
        subject_id = self._subject_of(command)
        nobody = uuid5(subject_id, "nobody")
        return self._new(command, id=subject_id, version=version, client_account_id=nobody, engagement_id=nobody)

    async def _repeat(
        self, command: C, envelope: Envelope, body_hash: bytes, first: FirstAnswer, *, internal: bool
    ) -> A:
        """The first answer again; or a refusal, when the body is another. Either is kept in the log."""
        error, outcome, subject_id = first.error, REPEATED, first.flow_id
        version, position, subject = first.version, first.position, None
        if first.body_hash != body_hash:
            error, outcome, subject_id = KeyReused().as_dict(), REFUSED, self._subject_of(command)
            version, position = 0, None
        elif version and not internal:
            told = await self.history(subject_id, upto=version)
            subject = self._fold(self._new(command, id=subject_id), [each.recorded for each in told])
            position = position or told[-1].position
        text = msgspec.json.encode(error).decode() if error else None
        row = CommandRow(type(command).__name__, envelope, body_hash, outcome, version, text, None)
        await self._store.log_again(row, subject_id, first)
        place = self._store.position(position)
        answer = Answer(envelope.command_id, outcome, subject_id, version, place, error)
        return self._answer(command, answer, subject)

    async def _load(self, connection: Connection, command: C) -> Loaded[S]:
        subject_id = self._subject_of(command)
        cursor = await connection.execute(LOAD.format(table=self._table(command)), (subject_id,), binary=True)
        row = await cursor.fetchone()
        assert row is not None
        snapshot, version, link, position, now = row
        if version is None:
            return Loaded(self._new(command, id=subject_id), FIRST_HASH, 0, now)
        if snapshot is None:
            return Loaded(self._nobody_s(command, version), bytes(link), position, now)
        return Loaded(self._read(command, snapshot), bytes(link), position, now)

    async def _connected(self) -> Connection:
        if self._connection is None or self._connection.closed or self._connection.broken:
            self._connection = await self._connect()
        return self._connection

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(psycopg.Error, OSError):
                await connection.close()

    # reads

    async def history(
        self,
        subject_id: UUID,
        *,
        after: int = 0,
        upto: int = 2**62,
        limit: int | None = None,
        topics: Collection[str] | None = None,
        newest_first: bool = False,
    ) -> list[Told[R]]:
        """Its facts with versions after `after` and up to `upto`, of these topics only where any are given."""
        statement = sql.SQL(
            "select originator_version, topic, state, notification_id from stored_events"
            " where originator_id = %s and originator_version > %s and originator_version <= %s"
            " and (%s::text[] is null or topic = any(%s)) order by originator_version {} limit %s"
        ).format(sql.SQL("desc" if newest_first else "asc"))
        named = list(topics) if topics is not None else None
        async with self._store.pool.connection() as connection:
            cursor = await connection.execute(statement, (subject_id, after, upto, named, named, limit), binary=True)
            rows = await cursor.fetchall()
        return [Told(place, self._decode(subject_id, version, topic, state)) for version, topic, state, place in rows]
