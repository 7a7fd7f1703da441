"""The one door for what is no command and belongs into the audit trail all the same: reads of what is sensitive, and attempts
at what is not allowed.

They lie in the command log, so that signed checkpoints cover them as they cover everything else.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import psycopg
import structlog
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout

from domain.auditing.trail import NOBODY
from domain.commands import Envelope
from domain.errors import MfoError
from eventstore.database import Connection

log = structlog.get_logger()

# whoever appends to the command log holds the store's lock, so that its numbers follow the order of commits
NOTE = """
with alone as materialized (select pg_advisory_xact_lock(hashtext(current_schema()), 1))
insert into command_log (at, client_account_id, engagement_id, user_id, command_id, command, flow_id, source, outcome, version,
                         error, correlation_id, causation_id, ip_address, user_agent, body)
select mfo_now(), %s, %s, %s, %s, %s, %s, %s, %s, 0, %s, %s, %s, %s, %s, %s from alone
"""
# whether it is there at all is asked after the answer: its time must not tell
IS_FOREIGN = "select 1 from heads where id = %s and (client_account_id, engagement_id) <> (%s, %s)"
MOST_WAITING = 1000
GATHER_SECONDS = 0.2


class Note(NamedTuple):
    """What is noted: a name as a command has it, what it is about (none: no flow), what of it, and why it was refused."""

    name: str
    subject: UUID | None
    body: dict[str, Any]
    refusal: MfoError | None = None


async def note(connection: Connection, envelope: Envelope, what: Note) -> None:
    """Keep one note before what it is about happens."""
    error = msgspec.json.encode(what.refusal.as_dict()).decode() if what.refusal is not None else None
    await connection.execute(
        NOTE,
        (
            *(envelope.client_account_id, envelope.engagement_id, envelope.user_id, envelope.command_id, what.name),
            *(what.subject or NOBODY, envelope.source, "refused" if what.refusal is not None else "accepted", error),
            *(envelope.correlation_id, envelope.causation_id, envelope.ip_address, envelope.user_agent),
            msgspec.json.encode(what.body, order="sorted"),
        ),
    )


class Notes:
    """Notes of a process: `keep` at once, `later` beside the answers, a thousand at most waiting."""

    def __init__(self, pool: AsyncConnectionPool[Connection]) -> None:
        self._pool = pool
        self._waiting: deque[tuple[Envelope, Note]] = deque()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._lost = 0

    def start(self) -> None:
        """Begin to write down what waits."""
        self._task = asyncio.create_task(self._run(), name="audit notes")

    async def stop(self) -> None:
        """Write down what waits still, and end."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        with suppress(psycopg.Error, PoolTimeout, PoolClosed, OSError):
            await self.flush()

    async def keep(self, envelope: Envelope, what: Note) -> None:
        """Keep a note now; whoever cannot be noted must not be answered, so faults of the store are raised."""
        async with self._pool.connection() as connection:
            await note(connection, envelope, what)

    def later(self, envelope: Envelope, what: Note) -> None:
        """Keep a note soon. Of more than can be kept the log says how many were lost."""
        if len(self._waiting) >= MOST_WAITING:
            self._lost += 1
            return
        self._waiting.append((envelope, what))
        self._wake.set()

    async def flush(self) -> None:
        """Write down what waits."""
        async with self._pool.connection() as connection:
            while self._waiting:
                envelope, what = self._waiting[0]
                if what.name != "ForeignFlowRead" or await _is_foreign(connection, envelope, what):
                    await note(connection, envelope, what)
                self._waiting.popleft()
        if self._lost:
            log.error("notes for the audit trail were lost: too many came at once", lost=self._lost)
            self._lost = 0

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            # those of a moment share a connection
            await asyncio.sleep(GATHER_SECONDS)
            self._wake.clear()
            try:
                await self.flush()
            except (psycopg.Error, PoolTimeout, OSError) as error:
                log.warning("notes for the audit trail wait", error=type(error).__name__, waiting=len(self._waiting))
                self._wake.set()
                await asyncio.sleep(1.0)


async def _is_foreign(connection: Connection, envelope: Envelope, what: Note) -> bool:
    asked = (what.subject, envelope.client_account_id, envelope.engagement_id)
    return await (await connection.execute(IS_FOREIGN, asked)).fetchone() is not None
