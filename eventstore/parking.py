"""Parked flows: a command that could not be applied for no fault of its own waits, and what came after it waits behind it.

A flow is parked for as long as commands of it wait in `parked_commands`. They are applied in order, the first alone, when an
operator asks, when a consumers process starts (a newer version may know better), and after a while by themselves.
"""

from __future__ import annotations

import hashlib
import traceback
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import psycopg
from psycopg_pool import AsyncConnectionPool

from domain.commands import INTERNAL, PUBLIC, Command, Envelope, Tenant
from domain.errors import FlowNotFound, KeyReused, MfoError, NotHere, Refused, Unavailable
from eventstore.database import Connection
from eventstore.store import CommandRow, FirstAnswer, log_again

RETRY_SECONDS = 15.0
MAX_RETRY_SECONDS = 900.0
MAX_DETAIL = 500
ROOT = Path(__file__).resolve().parents[1]

WAIT = """
select place, became, version from wait_behind(
    %s::uuid[], %s::uuid[], %s::uuid[], %s::text[], %s::text[], %s::text[], %s::bytea[], %s::bytea[], %s::text[], %s::text[],
    %s::text[], %s::text[], %s::bigint[], %s::text[], %s::text[], %s::text[], %s, %s) order by place
"""
OPERATE = """
select became, discarded from operate_parked(
    %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""
COLUMNS = (
    "n, flow_id, client_account_id, engagement_id, user_id, command_id, command, body, body_hash, source, correlation_id,"
    " causation_id, expected_version, ip_address, user_agent, received_at, error, attempts, retry_at"
)
AMONG = """
select f, null::uuid, null::uuid, null, null::bytea from unnest(%s::uuid[]) as f
where exists (select from parked_commands p where p.flow_id = f)
union all
select p.flow_id, p.client_account_id, p.engagement_id, p.command_id, p.body_hash
from parked_commands p join unnest(%s::uuid[], %s::uuid[], %s::text[]) as a(c, e, id)
  on (p.client_account_id, p.engagement_id, p.command_id) = (a.c, a.e, a.id)
"""
# what is first of each list and due
DUE = """
select flow_id, n from (
    select distinct on (flow_id) flow_id, n, retry_at from parked_commands order by flow_id, n
) first where retry_at is null or retry_at <= mfo_now() order by n limit %s
"""
CLAIM = """
update parked_commands set attempts = attempts + 1,
       retry_at = mfo_now() + make_interval(secs => least(%s, %s * 2 ^ least(attempts + 1, 10)))
where n = %s and (retry_at is null or retry_at <= mfo_now()) returning n
"""
# of the first of each list; those behind are due anyway
ALL_DUE = "update parked_commands set retry_at = mfo_now(), attempts = 0 where retry_at > mfo_now()"
COUNTS = """
select count(distinct flow_id), count(*), coalesce(extract(epoch from mfo_now() - min(received_at))::float8, 0),
       (select count(*) from late_replies) from parked_commands
"""
LATE = """
update late_replies r set tried_at = mfo_now()
from (select client_account_id, engagement_id, command_id from late_replies
      where tried_at is null or tried_at < mfo_now() - interval '30 s' limit %s for update skip locked) due,
     command_ids i
where (r.client_account_id, r.engagement_id, r.command_id) = (due.client_account_id, due.engagement_id, due.command_id)
  and (i.client_account_id, i.engagement_id, i.command_id) = (due.client_account_id, due.engagement_id, due.command_id)
returning r.client_account_id, r.engagement_id, r.command_id, r.flow_id, r.reply_to, r.correlation_id,
          i.outcome, i.version, i.position, i.error
"""
SENT = "delete from late_replies where (client_account_id, engagement_id, command_id) = (%s, %s, %s)"
# commands of a parked flow, and flows that a projection set aside, as one list
LIST = """
select * from (
    select f.flow_id, 'command' as kind, null as projection, f.command, f.command_id, f.error, f.attempts, f.retry_at,
           f.received_at as since, null::bigint as version,
           (select count(*) from parked_commands p where p.flow_id = f.flow_id) as waiting
    from (select distinct on (flow_id) * from parked_commands
          where (client_account_id, engagement_id) = (%(client)s, %(engagement)s) order by flow_id, n) f
    union all
    select f.flow_id, 'projection', f.projection, null, null, f.error, null, f.retry_at, f.since, f.version, 0
    from parked_flows f join heads h on h.id = f.flow_id
    where (h.client_account_id, h.engagement_id) = (%(client)s, %(engagement)s)
) parked
where (%(flow)s::uuid is null or flow_id = %(flow)s)
  and (%(after)s::text is null or (since, flow_id::text || kind || coalesce(projection, '')) > (%(since)s, %(after)s))
order by since, flow_id::text || kind || coalesce(projection, '') limit %(limit)s
"""


class FlowNotParked(NotHere):
    """No command of this flow waits."""

    code = "flow_not_parked"


class HistoryBroken(MfoError):
    """The flow's head and its history do not fit together; somebody changed the store by hand."""

    code = "history_broken"


class Placed(NamedTuple):
    """What became of a command that was to wait: `waits, reused, known, free` or `stranger`; and the flow's version."""

    became: str
    version: int


class ToWait(NamedTuple):
    """A command on its way to the list. With an error it may begin one."""

    command: Command
    envelope: Envelope
    body_hash: bytes
    body: bytes
    reply_to: str | None
    error: str | None


class Waiting(NamedTuple):
    """A command on the list."""

    n: int
    name: str
    command_id: str
    flow_id: UUID
    body: bytes
    body_hash: bytes
    envelope: Envelope
    received_at: datetime
    error: dict[str, Any] | None
    attempts: int
    retry_at: datetime | None

    def command(self) -> Command:
        """The command itself; raises what its validation raises where this version reads it no more."""
        kind = PUBLIC.get(self.name) or INTERNAL[self.name]
        return kind.model_validate(msgspec.json.decode(self.body))


class LateReply(NamedTuple):
    """The outcome of a command that had waited, to be told to its sender."""

    client_account_id: UUID
    engagement_id: UUID
    command_id: str
    flow_id: UUID
    reply_to: str
    correlation_id: str
    outcome: str
    version: int
    position: int | None
    error: dict[str, Any] | None


class Counts(NamedTuple):
    """How much waits: flows, their commands, the age of the oldest in seconds, replies not sent yet."""

    flows: int
    commands: int
    oldest_seconds: float
    late_replies: int


class Drained(NamedTuple):
    """What a retry came to: commands that got their outcome, and those that wait still, with why."""

    applied: int
    waiting: int
    error: dict[str, Any] | None


class Parking:
    """The statements about waiting commands."""

    def __init__(self, pool: AsyncConnectionPool[Connection]) -> None:
        self._pool = pool

    async def first(self, flow_id: UUID) -> Waiting | None:
        """The command that all others of the flow wait behind."""
        found = await self.waiting(flow_id, 1)
        return found[0] if found else None

    async def waiting(self, flow_id: UUID, limit: int, after: int = 0) -> list[Waiting]:
        """The flow's waiting commands in order, from the one after number `after`."""
        rows = await self._rows(
            f"select {COLUMNS} from parked_commands where flow_id = %s and n > %s order by n limit %s",
            (flow_id, after, limit),
        )
        return [_waiting(row) for row in rows]

    async def count(self, flow_id: UUID) -> int:
        """How many commands of the flow wait."""
        return int((await self._rows("select count(*) from parked_commands where flow_id = %s", (flow_id,)))[0][0])

    async def among(
        self, asked: Sequence[tuple[UUID, Envelope]]
    ) -> tuple[set[UUID], dict[tuple[UUID, UUID, str], tuple[UUID, bytes]]]:
        """Of commands by flow and envelope: the flows that are parked, and the ids that wait, with their flow and body hash."""
        envelopes = [envelope for _, envelope in asked]
        rows = await self._rows(
            AMONG,
            (
                [flow_id for flow_id, _ in asked],
                [envelope.client_account_id for envelope in envelopes],
                [envelope.engagement_id for envelope in envelopes],
                [envelope.command_id for envelope in envelopes],
            ),
        )
        flows = {row[0] for row in rows if row[3] is None}
        return flows, {(row[1], row[2], row[3]): (row[0], bytes(row[4])) for row in rows if row[3] is not None}

    async def failed(self, waiting: Waiting, error: dict[str, Any]) -> None:
        """Note why a waiting command could not be applied once more; it stays, and is due again after its pause."""
        await self._execute(
            "update parked_commands set error = %s, retry_at = greatest(retry_at, mfo_now() + make_interval(secs => %s))"
            " where n = %s",
            (msgspec.json.encode(error).decode(), RETRY_SECONDS, waiting.n),
        )

    async def claim_due(self, limit: int) -> list[UUID]:
        """Parked flows whose first command is due; each is handed to one caller, and due again after a longer pause."""
        due = await self._rows(DUE, (limit,))
        return [flow_id for flow_id, n in due if await self._rows(CLAIM, (MAX_RETRY_SECONDS, RETRY_SECONDS / 2, n))]

    async def all_due(self) -> None:
        """Whatever waits is tried at once: this process may be of a version that can apply it."""
        await self._execute(ALL_DUE, ())

    async def counts(self) -> Counts:
        """How much waits in the whole shard."""
        return Counts(*(await self._rows(COUNTS, ()))[0])

    async def page(
        self, tenant: Tenant, limit: int, after: tuple[datetime, str] | None = None, flow_id: UUID | None = None
    ) -> list[dict[str, Any]]:
        """The tenant's parked flows, the longest parked first: those whose commands wait (`kind: command`), and those that a
        projection set aside (`kind: projection`). `after` is `(since, flow id + kind + projection)` of the row before."""
        values = {
            "client": tenant.client_account_id,
            "engagement": tenant.engagement_id,
            "flow": flow_id,
            "since": after[0] if after else None,
            "after": after[1] if after else None,
            "limit": limit,
        }
        names = (
            *("flow_id", "kind", "projection", "command", "command_id", "error", "attempts", "retry_at"),
            *("since", "version", "waiting"),
        )
        found = [dict(zip(names, row, strict=True)) for row in await self._rows(LIST, values)]
        for row in found:
            row["error"] = _error(row["error"]) if row["kind"] == "command" else _projection_error(row["error"])
        return found

    async def ask_retry(self, flow_id: UUID, envelope: Envelope) -> bool:
        """Keep that somebody had a parked flow tried again; False where the id was used for that before.

        Raises FlowNotParked and KeyReused.
        """
        became, _ = await self._operate("RetryParked", flow_id, envelope)
        return became == "done"

    async def discard(
        self, flow_id: UUID, envelope: Envelope, reason: str | None, command_id: str | None = None
    ) -> str:
        """Give up the first waiting command, or the named one: its outcome is `refused`, code `discarded`.

        Answers its id, the same where this was asked under the same id before. Raises FlowNotParked and KeyReused.
        """
        told = f"discarded by {envelope.user_id}" + (f": {reason}" if reason else "")
        refusal = {"code": CommandDiscarded.code, "detail": told}
        _, discarded = await self._operate(
            "DiscardParked", flow_id, envelope, wanted=command_id, reason=reason, refusal=refusal
        )
        return str(discarded)

    async def _operate(
        self,
        act: str,
        flow_id: UUID,
        envelope: Envelope,
        *,
        wanted: str | None = None,
        reason: str | None = None,
        refusal: dict[str, Any] | None = None,
    ) -> tuple[str, str | None]:
        body_hash = hashlib.sha256(msgspec.json.encode([act, flow_id, wanted, reason])).digest()
        parameters = (
            *(act, flow_id, envelope.client_account_id, envelope.engagement_id, envelope.user_id, envelope.command_id),
            *(body_hash, envelope.correlation_id, envelope.ip_address, envelope.user_agent),
            *(wanted, reason, msgspec.json.encode(refusal).decode() if refusal else None),
        )
        # what waits under this id would find it taken when its turn comes
        _, waiting = await self.among([(flow_id, envelope)])
        became, discarded = ("reused", None) if waiting else (await self._rows(OPERATE, parameters))[0]
        if became == "missing":
            raise FlowNotParked if wanted is None else FlowNotParked("no such command of this flow waits")
        if became == "done":
            return became, discarded
        reused = KeyReused() if became == "reused" else None
        error = msgspec.json.encode(reused.as_dict()).decode() if reused is not None else None
        row = CommandRow(act, envelope, body_hash, "refused" if reused is not None else "repeated", 0, error, None)
        async with self._pool.connection() as connection:
            await log_again(connection, row, flow_id, FirstAnswer(body_hash, "accepted", flow_id, 0, None, None))
        if reused is not None:
            raise reused
        return became, discarded

    async def retry_projections(self, tenant: Tenant, flow_id: UUID) -> int:
        """Have the projections that set the flow aside told its history once more; answers how many did."""
        rows = await self._rows(
            "update parked_flows f set retry_at = mfo_now() from heads h where h.id = f.flow_id and f.flow_id = %s"
            " and (h.client_account_id, h.engagement_id) = (%s, %s) returning 1",
            (flow_id, tenant.client_account_id, tenant.engagement_id),
        )
        return len(rows)

    async def late_replies(self, limit: int = 100) -> list[LateReply]:
        """Outcomes to be told; each is handed out again after 30 s unless it is said to be `sent`."""
        rows = await self._rows(LATE, (limit,))
        return [LateReply(*row)._replace(error=_error(row[-1])) for row in rows]

    async def sent(self, reply: LateReply) -> None:
        """The sender has been told."""
        await self._execute(SENT, (reply.client_account_id, reply.engagement_id, reply.command_id))

    async def _rows(self, statement: str, parameters: Any) -> list[tuple[Any, ...]]:
        async with self._pool.connection() as connection:
            return await (await connection.execute(statement, parameters)).fetchall()

    async def _execute(self, statement: str, parameters: Any) -> None:
        async with self._pool.connection() as connection:
            await connection.execute(statement, parameters)


class CommandDiscarded(Refused):
    """An operator gave the command up while it waited."""

    code = "discarded"


async def wait_behind(connection: Connection, commands: Sequence[ToWait]) -> list[Placed]:
    """Put commands on their flows' lists, in one transaction, and say what became of each."""
    envelopes = [each.envelope for each in commands]
    cursor = await connection.execute(
        WAIT,
        (
            [each.command.flow_id for each in commands],
            [envelope.client_account_id for envelope in envelopes],
            [envelope.engagement_id for envelope in envelopes],
            [envelope.user_id for envelope in envelopes],
            [envelope.command_id for envelope in envelopes],
            [type(each.command).__name__ for each in commands],
            [each.body for each in commands],
            [each.body_hash for each in commands],
            [envelope.source for envelope in envelopes],
            [each.reply_to for each in commands],
            [envelope.correlation_id for envelope in envelopes],
            [envelope.causation_id for envelope in envelopes],
            [envelope.expected_version for envelope in envelopes],
            [envelope.ip_address for envelope in envelopes],
            [envelope.user_agent for envelope in envelopes],
            [each.error for each in commands],
            msgspec.json.encode(FlowNotFound().as_dict()).decode(),
            RETRY_SECONDS,
        ),
    )
    return [Placed(became, version) for _, became, version in await cursor.fetchall()]


def reason(error: BaseException) -> dict[str, Any]:
    """Why a command could not be applied, for operators: never a value that a caller sent."""
    if isinstance(error, MfoError):
        return {"code": error.code, "detail": error.detail[:MAX_DETAIL]}
    if isinstance(error, psycopg.Error):
        said = (error.diag.message_primary or type(error).__name__)[:MAX_DETAIL]
        return {"code": "store_refused", "detail": f"the store refused it: {said}"}
    if isinstance(error, msgspec.MsgspecError):
        return {"code": "history_unreadable", "detail": f"the flow's history cannot be read: {error}"[:MAX_DETAIL]}
    return {"code": "crashed", "detail": f"{type(error).__name__} at {_place(error)}"}


def blames_the_store(error: BaseException) -> bool:
    """Whether a fault is the whole store's: away, busy, read-only, full, a right missing, a migration under way."""
    if isinstance(error, psycopg.Error):
        if error.sqlstate is None:
            return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
        return error.sqlstate[:2] not in OF_ONE and error.sqlstate[:2] not in OF_FEW
    return isinstance(error, OSError | Unavailable)


def may_be_the_stores(error: BaseException) -> bool:
    """Whether the statement failed in a way that a damaged page does: of this flow alone, unless nothing else succeeds."""
    return isinstance(error, psycopg.Error) and (error.sqlstate or "")[:2] in OF_FEW


# classes of SQLSTATE: the data, the constraints, the limits and the exceptions that a single command meets
OF_ONE = frozenset({"21", "22", "23", "44", "54", "P0"})
# damaged pages and internal errors
OF_FEW = frozenset({"58", "XX"})


def _place(error: BaseException) -> str:
    """The last line of ours that the error came from."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if Path(frame.filename).is_relative_to(ROOT)]
    if not (ours or frames):
        return "an unknown place"
    frame = (ours or frames)[-1]
    name = Path(frame.filename)
    shown = name.relative_to(ROOT) if name.is_relative_to(ROOT) else name.name
    return f"{shown}:{frame.lineno} ({frame.name})"


def _waiting(row: tuple[Any, ...]) -> Waiting:
    n, flow_id, account, engagement, user_id, command_id, name, body, body_hash = row[:9]
    source, correlation_id, causation_id, expected_version, ip_address, user_agent = row[9:15]
    received_at, error, attempts, retry_at = row[15:]
    envelope = Envelope(
        command_id=command_id,
        client_account_id=account,
        engagement_id=engagement,
        user_id=user_id,
        correlation_id=correlation_id,
        causation_id=causation_id,
        source=source,
        expected_version=expected_version,
        ip_address=ip_address,
        user_agent=user_agent,
    )
    return Waiting(
        n=n,
        name=name,
        command_id=command_id,
        flow_id=flow_id,
        body=bytes(body),
        body_hash=bytes(body_hash),
        envelope=envelope,
        received_at=received_at,
        error=_error(error),
        attempts=attempts,
        retry_at=retry_at,
    )


def _error(text: str | None) -> dict[str, Any] | None:
    return msgspec.json.decode(text, type=dict[str, Any]) if text else None


def _projection_error(text: str) -> dict[str, Any]:
    return {"code": "not_projected", "detail": text}
