"""Signing what is new: a checkpoint for each client account that something happened to, and none on ground that gives way."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import structlog
from msgspec.structs import replace

from eventstore.audit.checkpoints import (
    NONE_YET,
    Begun,
    Checkpoint,
    Gathered,
    Last,
    Statement,
    Stretch,
    gather,
    keep,
    last_of,
    newest,
    note_key,
    retrace,
    retrace_all,
)
from eventstore.audit.leaves import Span
from eventstore.audit.signing import SigningKey, is_signed
from eventstore.database import Connection
from eventstore.followers import lead, move, release

log = structlog.get_logger()

NAME = "checkpoints"
MOST = 10_000
"""Most places of either log that one round of checkpoints covers."""

ENDS = """
select mfo_now(), commands_upto,
       (select coalesce(max(notification_id), 0) from stored_events),
       (select coalesce(max(n), commands_upto) from command_log where n > commands_upto)
from audit_signer
"""
REFUSE = """
insert into audit_refused (client_account_id, why, since) values (%s, %s, mfo_now())
on conflict (client_account_id) do update set why = excluded.why
"""
UNPUBLISHED = """
select client_account_id, number, statement, signature, key_id from audit_checkpoints
where published_at is null order by made_at, client_account_id, number limit %s
"""
PUBLISHED = """
update audit_checkpoints c set published_at = mfo_now()
from unnest(%s::uuid[], %s::bigint[]) as p(client_account_id, number)
where (c.client_account_id, c.number) = (p.client_account_id, p.number)
"""


class Superseded(Exception):
    """Another process signs by now."""


class Round(NamedTuple):
    """What came of a round: checkpoints made, accounts refused, and whether more waits to be signed."""

    made: int
    refused: int
    more: bool


class Signer:
    """Signs on one connection, while it leads; `former` are keys whose checkpoints it goes on from."""

    def __init__(self, key: SigningKey, former: Mapping[str, bytes], who: str) -> None:
        self._key = key
        self._keys = {**former, key.key_id: key.public_key}
        self._who = who

    async def round(self, connection: Connection) -> Round | None:
        """Sign what is new, at most 10,000 places of each log; none where another process leads."""
        led = await lead(connection, NAME, self._who)
        if led is None:
            return None
        row = await (await connection.execute(ENDS)).fetchone()
        assert row is not None
        now, commands, events_end, commands_end = row
        events_upto = min(int(events_end), led.position + MOST)
        commands_upto = min(int(commands_end), int(commands) + MOST)
        if (events_upto, commands_upto) == (led.position, commands):
            return Round(0, 0, more=False)
        begun, upto = Begun(led.position, int(commands)), (events_upto, commands_upto)
        async with connection.transaction():
            found = await gather(connection, Span(begun.events, events_upto), Span(begun.commands, commands_upto))
            refused = await self._sign_all(connection, found, begun, upto, now)
            await note_key(connection, self._key)
            await connection.execute("update audit_signer set commands_upto = %s", (commands_upto,))
            if not await move(connection, NAME, led.epoch, events_upto):
                raise Superseded
        more = (events_upto, commands_upto) != (int(events_end), int(commands_end))
        return Round(len(found) - refused, refused, more=more)

    async def release(self, connection: Connection) -> None:
        """Let another process sign at once."""
        await release(connection, NAME, self._who)

    async def _sign_all(
        self, connection: Connection, found: Mapping[UUID, Gathered], begun: Begun, upto: tuple[int, int], now: datetime
    ) -> int:
        """Sign for each account that something happened to; answers how many were refused."""
        before = await newest(connection, found)
        cursor = await connection.execute("select client_account_id from audit_refused")
        stopped = {row[0] for row in await cursor.fetchall()}
        faults = await self._faults(connection, before)
        refused = 0
        for account, gathered in sorted(found.items()):
            if (why := faults.get(account)) is not None:
                log.error("nothing is signed any more for an account", client_account_id=str(account), why=why)
                await connection.execute(REFUSE, (account, why))
                refused += 1
                continue
            last = last_of(before[account][0]) if account in before else NONE_YET
            statement = self._statement(account, last, gathered, upto, now)
            if account in stopped:
                # what came while nothing was signed is covered, too
                events, commands = await retrace(connection, statement)
                statement = _with(statement, events, commands)
                await connection.execute("delete from audit_refused where client_account_id = %s", (account,))
            own = Begun(last.events_upto, last.commands_upto) if account in stopped else begun
            await keep(connection, statement, own, self._key)
        return refused

    def _statement(
        self, account: UUID, last: Last, gathered: Gathered, upto: tuple[int, int], now: datetime
    ) -> Statement:
        events, commands = gathered.events, gathered.commands
        return Statement(
            version=1,
            client_account_id=account,
            number=last.number + 1,
            made_at=now,
            events=Stretch(last.events_upto, upto[0], events.size, events.root().hex()),
            commands=Stretch(last.commands_upto, upto[1], commands.size, commands.root().hex()),
            previous=last.digest,
            key_id=self._key.key_id,
        )

    async def _faults(self, connection: Connection, before: Mapping[UUID, tuple[Checkpoint, Begun]]) -> dict[UUID, str]:
        """Why nothing may be built on the last checkpoints of some accounts; nothing of those where it holds."""
        faults: dict[UUID, str] = {}
        signed: list[tuple[Statement, Begun]] = []
        for account, (former, since) in before.items():
            if (why := self._fault_of(account, former)) is not None:
                faults[account] = why
            else:
                signed.append((former.said, since))
        there = await retrace_all(connection, signed)
        for said, _ in signed:
            if there[said.client_account_id] != (said.events, said.commands):
                why = f"the store is not what checkpoint {said.number} says: run `mfo audit verify`"
                faults[said.client_account_id] = why
        return faults

    def _fault_of(self, account: UUID, former: Checkpoint) -> str | None:
        """What is wrong with a checkpoint itself."""
        if former.key_id not in self._keys:
            return (
                f"its last checkpoint was signed by the key {former.key_id}, which this service does not know; name its"
                " public half in MFO_AUDIT_FORMER_KEYS"
            )
        if not is_signed(former.statement, former.signature, former.key_id, self._keys):
            return "the signature of its last checkpoint does not hold"
        if former.said.client_account_id != account:
            return "its last checkpoint is another account's"
        return None


def _with(statement: Statement, events: Stretch, commands: Stretch) -> Statement:
    return replace(statement, events=events, commands=commands)


async def unpublished(connection: Connection, limit: int = 500) -> list[tuple[UUID, int, Checkpoint]]:
    """Checkpoints that have not been told to anybody yet, the oldest first: account, number, checkpoint."""
    cursor = await connection.execute(UNPUBLISHED, (limit,), binary=True)
    return [(row[0], row[1], Checkpoint(bytes(row[2]), bytes(row[3]), row[4])) for row in await cursor.fetchall()]


async def note_published(connection: Connection, told: list[tuple[UUID, int, Checkpoint]]) -> None:
    """They have been told."""
    await connection.execute(PUBLISHED, ([account for account, _, _ in told], [number for _, number, _ in told]))
