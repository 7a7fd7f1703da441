"""The audit trail, as it grows: entries of the command log and of history, and what retention removes of them.

The command log is not on Kafka, so the trail is read from the store, in the order of its commits, by one process at a time.
It gives way to the work: while there is more to do it rests three times as long as it takes.
"""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import suppress
from time import monotonic
from typing import NamedTuple
from uuid import uuid4

import psycopg
import structlog

from domain.auditing.policy import SHIPPED, AuditPolicy
from eventstore.audit.reading import reader
from eventstore.audit.retention import apply
from eventstore.audit.trail import COMMANDS_END, NAME, Range, number_of, project
from eventstore.config import ServiceConfig
from eventstore.database import Connection
from eventstore.faults import lived_through
from eventstore.followers import lead, move, release
from projections.metrics import LAG_EVENTS, ROWS

log = structlog.get_logger()

MOST = 4000
"""Most places of either log that one transaction covers."""
IDLE_SECONDS = 2.0
# a lease is for 12 s, and one that is kept at rest is asked for this often
RENEW_SECONDS = 5.0
REST, LONGEST_REST_SECONDS = 3.0, 2.0
RETENTION_SECONDS = 3600.0

# the sequence says cheaply that nothing can be new in the command log
ENDS = """
select (select coalesce(max(notification_id), 0) from stored_events), (select last_value from command_log_n_seq)
"""
STANDING = """
select f.position, p.commands_upto, (select coalesce(max(notification_id), 0) from stored_events),
       (select last_value from command_log_n_seq)
from followers f, audit_progress p where f.name = 'audit_events'
"""


class Superseded(Exception):
    """Another process keeps the trail by now."""


class Round(NamedTuple):
    """What came of a round: entries made, and whether more waits."""

    entries: int
    more: bool


class Trail:
    """Keeps the trail on one connection, while it leads."""

    def __init__(self, policy: AuditPolicy, who: str) -> None:
        self._policy = policy
        self._who = who
        self._end = 0
        self._seen = (0, 0)
        self.position = 0
        self.lag = 0

    async def round(self, connection: Connection) -> Round | None:
        """Make the entries of what is new, at most 4,000 places of each log; none where another process leads."""
        led = await lead(connection, NAME, self._who)
        if led is None:
            return None
        row = await (await connection.execute(STANDING)).fetchone()
        assert row is not None
        position, commands, events_end, drawn = (int(number) for number in row)
        commands_end = await self._commands_end(connection, commands, drawn)
        self.position = position
        self.lag = max(0, events_end - position) + max(0, commands_end - commands)
        upto = min(events_end, position + MOST), min(commands_end, commands + MOST)
        if upto == (position, commands):
            return Round(0, more=False)
        number = await number_of(connection, self._policy)
        async with connection.transaction():
            made = await project(
                connection,
                self._policy,
                number,
                commands=Range(commands, upto[1]),
                events=Range(position, upto[0]),
            )
            await connection.execute("update audit_progress set commands_upto = %s", (upto[1],))
            if not await move(connection, NAME, led.epoch, upto[0]):
                raise Superseded
        self.position = upto[0]
        return Round(made, more=upto != (events_end, commands_end))

    async def anything(self, connection: Connection) -> bool:
        """Whether anything can be new since this was asked last; one statement, for whoever leads and has nothing to do."""
        row = await (await connection.execute(ENDS)).fetchone()
        seen, self._seen = self._seen, (int(row[0]), int(row[1])) if row is not None else (0, 0)
        return seen != self._seen

    async def release(self, connection: Connection) -> None:
        """Let another process keep the trail at once."""
        await release(connection, NAME, self._who)

    async def _commands_end(self, connection: Connection, commands: int, drawn: int) -> int:
        """The last place of the command log: the rows say it, where numbers were drawn that are not covered."""
        if self._end <= commands < drawn:
            row = await (await connection.execute(COMMANDS_END, (commands, commands))).fetchone()
            self._end = int(row[0]) if row is not None else commands
        return max(self._end, commands)


class Keeping:
    """Keeps the trail for as long as the process lives; of several processes one does."""

    def __init__(self, config: ServiceConfig) -> None:
        self._config = config
        self._who = f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:8]}"
        self.trail = Trail(config.audit.policy if config.audit is not None else SHIPPED, self._who)
        self.leading = False
        self.reason = "it has not begun yet"

    async def run(self) -> None:
        """Follow both logs; faults of PostgreSQL are waited out."""
        while True:
            with lived_through("keeping the audit trail"):
                await self._serve()
            self.reason = "it was interrupted; the log says why"
            await asyncio.sleep(1.0)

    async def _serve(self) -> None:
        connection = await reader(self._config.database_url, self._config.shard)
        clean_at = 0.0
        try:
            while True:
                begun, done = monotonic(), None
                with suppress(Superseded):
                    done = await self.trail.round(connection)
                self.leading, self.reason = done is not None, ""
                if done is not None:
                    ROWS.labels(NAME).inc(done.entries)
                    LAG_EVENTS.labels(NAME).set(self.trail.lag)
                if done is not None and done.more:
                    await asyncio.sleep(min((monotonic() - begun) * REST, LONGEST_REST_SECONDS))
                    continue
                if done is not None and monotonic() >= clean_at:
                    clean_at = monotonic() + RETENTION_SECONDS
                    for removed in await apply(connection):
                        log.info(
                            "audit entries removed",
                            client_account_id=str(removed.client_account_id),
                            entries=dict(removed.entries),
                        )
                renewed = monotonic()
                await asyncio.sleep(IDLE_SECONDS)
                while done is not None and monotonic() - renewed < RENEW_SECONDS:
                    if await self.trail.anything(connection):
                        break
                    await asyncio.sleep(IDLE_SECONDS)
        finally:
            self.leading = False
            with suppress(psycopg.Error, OSError):
                await self.trail.release(connection)
            await connection.close()
