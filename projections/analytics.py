"""What flows add up to: a contribution for each flow, and the sums of them by stretch of time, type and status.

What a flow contributes is a row of its own, guarded by version; sums change by the difference between what it contributed and
what it does now. So an event that comes again changes nothing, and a history told anew changes only what is different.
One member writes at a time: the sums of a tenant are few rows that all of them would wait for in any case.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any
from uuid import UUID

import msgspec

from domain.measures import EPOCH, SPANS, begin_of
from domain.words import ENDED
from eventstore.database import Connection
from eventstore.wake import in_turns
from projections.flows import FlowTopics
from projections.histories import whole
from projections.projection import PATIENCE_SECONDS, ROW_ERRORS, Applied, Parked
from projections.tally import IGNORED, NUMBERS, TIMES, Going, Key, Numbers, Tally
from projections.told import Told, by_flow, joins, news, short

NAME = "analytics"
VERSION = 1
LOCK_CLASS = 5
WRITE_ROWS = 200
NET: Key = ("net", "")
ONE: Numbers = [1, *[0] * (len(NUMBERS) - 1)]

# the table, not its name: a shadow is filled while the other is written
LOCK = "select pg_advisory_xact_lock(%s, hashtext(to_regclass(%s)::oid::text))"
KNOWN = """
select flow_id, version, client_account_id, engagement_id, flow_type, flow_status, created_at, shares::text, stays::text, state
from {flows} where flow_id = any(%s)
"""
BUMP = """
update {flows} f set version = u.version from unnest(%s::uuid[], %s::bigint[]) as u (flow_id, version)
where f.flow_id = u.flow_id and f.version < u.version
"""
FLOWS = (
    *("flow_id", "version", "client_account_id", "engagement_id", "flow_type", "flow_status"),
    *("created_at", "ended_at", "shares", "stays", "state"),
)
WRITE = f"""
insert into {{flows}} as f ({", ".join(FLOWS)})
select flow_id, version, client_account_id, engagement_id, flow_type, flow_status, created_at, ended_at, shares, stays,
       decode(state, 'base64')
from jsonb_to_recordset(%s::jsonb) as r (flow_id uuid, version bigint, client_account_id uuid, engagement_id uuid,
    flow_type text, flow_status text, created_at timestamptz, ended_at timestamptz, shares jsonb, stays jsonb, state text)
on conflict (flow_id) do update set {", ".join(f"{name} = excluded.{name}" for name in FLOWS if name != "flow_id")}
where f.version < excluded.version
"""
FEWER = """
delete from {stays} s using unnest(%s::uuid[], %s::int[]) as u (flow_id, n) where s.flow_id = u.flow_id and s.n >= u.n
"""
STAYS = """
insert into {stays} (flow_id, n, client_account_id, engagement_id, flow_type, flow_status, from_at, to_at)
select * from jsonb_to_recordset(%s::jsonb) as r (flow_id uuid, n int, client_account_id uuid, engagement_id uuid,
    flow_type text, flow_status text, from_at timestamptz, to_at timestamptz)
on conflict (flow_id, n) do update set flow_status = excluded.flow_status, from_at = excluded.from_at, to_at = excluded.to_at
"""
KEYS = ("client_account_id", "engagement_id", "span", "kind", "at", "flow_type", "flow_status", "name")
BIG = ("times", "peaks")
COLUMNS = {
    **dict.fromkeys(("client_account_id", "engagement_id"), "uuid"),
    **dict.fromkeys(("span", "kind"), "text"),
    "at": "timestamptz",
    **dict.fromkeys(("flow_type", "flow_status", "name"), "text"),
    **{name: "numeric" if name in BIG else "bigint" for name in NUMBERS},
}
SUM = f"""
merge into {{sums}} as t
using (select * from jsonb_to_recordset(%s::jsonb) as r ({", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())})) as d
on {" and ".join(f"t.{name} = d.{name}" for name in KEYS)}
when matched and {" and ".join(f"t.{name} + d.{name} = 0" for name in NUMBERS)} then delete
when matched then update set {", ".join(f"{name} = t.{name} + d.{name}" for name in NUMBERS)}
when not matched then insert ({", ".join(COLUMNS)}) values ({", ".join(f"d.{name}" for name in COLUMNS)})
"""
# what the sums must be, from the rows of the flows and their stays: by the hour first, then by every stretch of time
SUMMED = """
with shares as (
    select f.client_account_id, f.engagement_id, x.s ->> 0 as kind, f.created_at as at, f.flow_type, f.flow_status,
           x.s ->> 1 as name, (x.s ->> 2)::bigint as n, (x.s ->> 3)::bigint as failed, (x.s ->> 4)::bigint as work_ms,
           (x.s ->> 5)::bigint as elapsed_ms, (x.s ->> 6)::bigint as cpu_ms, (x.s ->> 7)::bigint as tokens,
           (x.s ->> 8)::numeric as times, (x.s ->> 9)::numeric as peaks
    from {flows} f, jsonb_array_elements(f.shares) as x (s)
    union all
    select s.client_account_id, s.engagement_id, 'net', e.at, s.flow_type, s.flow_status, '', e.n, 0, 0, 0, 0, 0, 0, 0
    from {stays} s, lateral (values (s.from_at, 1), (s.to_at, -1)) as e (at, n) where e.at is not null
), hours as (
    select client_account_id, engagement_id, kind, date_bin('1 hour', at, 'epoch') as at, flow_type, flow_status, name,
           sum(n) as n, sum(failed) as failed, sum(work_ms) as work_ms, sum(elapsed_ms) as elapsed_ms, sum(cpu_ms) as cpu_ms,
           sum(tokens) as tokens, sum(times) as times, sum(peaks) as peaks
    from shares group by 1, 2, 3, 4, 5, 6, 7
)
select client_account_id, engagement_id, s.span, kind,
       case when s.length is null then date_trunc('month', at, 'UTC') else date_bin(s.length, at, 'epoch') end as at,
       flow_type, flow_status, name, sum(n)::bigint as n, sum(failed)::bigint as failed, sum(work_ms)::bigint as work_ms,
       sum(elapsed_ms)::bigint as elapsed_ms, sum(cpu_ms)::bigint as cpu_ms, sum(tokens)::bigint as tokens,
       sum(times) as times, sum(peaks) as peaks
from hours, unnest(array['month', '30 days', '5 days', 'day', '6 hours', 'hour'],
                   array[null, '30 days', '5 days', '1 day', '6 hours', '1 hour']::interval[]) as s (span, length)
group by 1, 2, 3, 4, 5, 6, 7, 8
having (sum(n), sum(failed), sum(work_ms), sum(elapsed_ms), sum(cpu_ms), sum(tokens), sum(times), sum(peaks))
       <> (0, 0, 0, 0, 0, 0, 0, 0)
"""

Place = tuple[UUID, UUID, str, str, datetime, str, str, str]
"""Tenant, span, kind, time, flow type, status and name of a sum."""
Sums = dict[tuple[UUID, UUID, datetime, str, str], dict[Key, Numbers]]
"""Sums of one span: by tenant, time, flow type and status, and in each of these by kind and name."""
_state = msgspec.msgpack.Decoder(Going)
# sets have another order in each process, and rows are compared
_encode = msgspec.msgpack.Encoder(order="deterministic").encode


@dataclass(slots=True)
class Kept:
    """A flow's row: what it contributes, and to which sums."""

    version: int
    client_account_id: UUID
    engagement_id: UUID
    flow_type: str
    flow_status: str
    created_at: datetime
    shares: dict[Key, Numbers]
    stays: list[tuple[str, int]]
    state: bytes | None


@dataclass(slots=True)
class Moved:
    """A flow with the row it had, if any, and the one it has now."""

    flow_id: UUID
    before: Kept | None
    after: Kept
    ended_us: int | None


class Analytics:
    """One row a flow, its stays in each status, and the sums; what was not told is read from the event store."""

    name = NAME
    # the sums of a tenant are the same rows in each batch: the fewer batches, the fewer times they are written
    patience = 2.5 * PATIENCE_SECONDS
    topics = FlowTopics()
    keys = KEYS
    ddl = ""

    def __init__(self, *, version: int = VERSION) -> None:
        """`version` names the tables to write."""
        self.version = version
        names = {kind: f"analytics_{kind}_v{version}" for kind in ("flows", "stays", "sums")}
        self.tables, self.sums = tuple(names.values()), (names["sums"],)
        self._known, self._bump, self._write = (each.format(**names) for each in (KNOWN, BUMP, WRITE))
        self.summed, self.kept = SUMMED.format(**names), f"select * from {names['sums']}"
        self._fewer, self._stays, self._sum = (each.format(**names) for each in (FEWER, STAYS, SUM))

    def forget(self) -> None:
        """Nothing is held in memory."""

    async def apply(self, connection: Connection, batch: Sequence[Told], *, singly: bool = False) -> Applied:
        """Bring the rows of the batch's flows up to date, and the sums by what has changed in them."""
        applied = Applied()
        await connection.execute(LOCK, (LOCK_CLASS, self.sums[0]))
        moved = await self._move(connection, batch, applied.parked)
        for part in [[each] for each in moved] if singly else [moved]:
            try:
                async with connection.transaction() if singly else nullcontext():
                    await self._write_all(connection, part)
                applied.rows += len(part)
            except ROW_ERRORS as error:
                if not singly:
                    raise
                applied.parked.append(Parked(part[0].flow_id, part[0].after.version, short(error)))
        return applied

    async def _move(self, connection: Connection, batch: Sequence[Told], parked: list[Parked]) -> list[Moved]:
        told = by_flow(batch)
        known = await self._rows(connection, list(told))
        moved: list[Moved] = []
        behind: dict[UUID, int] = {}
        bumped: dict[UUID, int] = {}
        async for flow_id, events in in_turns(told.items()):
            kept = known.get(flow_id)
            at = kept.version if kept is not None else 0
            new = news(events, at)
            if not new:
                continue
            joined = joins(new, at)
            if joined and kept is not None and all(event.topic in IGNORED for event in new):
                bumped[flow_id] = new[-1].version
            elif joined and (kept is None or kept.state is not None):
                try:
                    moved.append(_told(flow_id, kept, _tally(kept), new))
                # whatever one flow's events cause concerns that flow alone
                except Exception as error:
                    parked.append(Parked(flow_id, new[0].version, short(error)))
            else:
                behind[flow_id] = new[0].version
        if bumped:
            await connection.execute(self._bump, (list(bumped), list(bumped.values())))
        await self._load(connection, behind, known, moved, parked)
        return moved

    async def _rows(self, connection: Connection, flow_ids: list[UUID]) -> dict[UUID, Kept]:
        cursor = await connection.execute(self._known, (flow_ids,))
        return {flow_id: _kept(row) for flow_id, *row in await cursor.fetchall()}

    async def _load(
        self,
        connection: Connection,
        behind: dict[UUID, int],
        known: dict[UUID, Kept],
        moved: list[Moved],
        parked: list[Parked],
    ) -> None:
        """Fold whole histories where the events in hand do not join on to what is known, or a flow that was over goes on."""
        async for histories in whole(connection, behind):
            for flow_id, history in histories.items():
                try:
                    moved.append(_told(flow_id, known.get(flow_id), Tally(), history))
                except Exception as error:
                    parked.append(Parked(flow_id, behind[flow_id], short(error)))

    async def _write_all(self, connection: Connection, moved: Sequence[Moved]) -> None:
        if not moved:
            return
        for n in range(0, len(moved), WRITE_ROWS):
            # a statement is held several times over
            documents = [_document(each) for each in moved[n : n + WRITE_ROWS]]
            await connection.execute(self._write, (_encoded(documents),))
        fewer = [each for each in moved if each.before and len(each.before.stays) > len(each.after.stays)]
        if fewer:
            beyond = ([each.flow_id for each in fewer], [len(each.after.stays) for each in fewer])
            await connection.execute(self._fewer, beyond)
        stays = [stay for each in moved for stay in _new_stays(each)]
        if stays:
            await connection.execute(self._stays, (_encoded(stays),))
        sums = [dict(zip(COLUMNS, (*place, *numbers), strict=True)) for place, numbers in _sums(moved)]
        if sums:
            await connection.execute(self._sum, (_encoded(sums),))


def _encoded(rows: list[dict[str, Any]]) -> str:
    """JSON, its numbers of any length."""
    return msgspec.json.encode(rows).decode()


def _kept(row: Sequence[Any]) -> Kept:
    version, client, engagement, flow_type, status, created_at, shares, stays, state = row
    of = (version, client, engagement, flow_type, status, created_at)
    return Kept(*of, _shares_of(shares), _stays_of(stays), state)


def _shares_of(text: str) -> dict[Key, Numbers]:
    return {(kind, name): numbers for kind, name, *numbers in msgspec.json.decode(text)}


def _stays_of(text: str) -> list[tuple[str, int]]:
    return [(status, since) for status, since in msgspec.json.decode(text)]


def _tally(kept: Kept | None) -> Tally:
    """The tally that goes on where the row stands; its numbers are its own."""
    if kept is None or kept.state is None:
        return Tally()
    shares = {key: list(numbers) for key, numbers in kept.shares.items()}
    return Tally(going=_state.decode(kept.state), shares=shares, stays=list(kept.stays))


def _told(flow_id: UUID, before: Kept | None, tally: Tally, events: Sequence[Told]) -> Moved:
    last = events[-1].then
    # of a flow that is over nothing is kept, so that it may be as large as others have folded it
    folded = last is not None and last.status in ENDED and all(event.then is not None for event in events)
    for event in events:
        if event.topic not in IGNORED:
            tally.tell(event.recorded(), event.then if folded else None)
    return _moved(flow_id, before, tally, events[-1].version)


def _moved(flow_id: UUID, before: Kept | None, tally: Tally, version: int) -> Moved:
    flow = tally.flow
    assert flow.client_account_id is not None
    assert flow.engagement_id is not None
    assert flow.created_at is not None
    ended = tally.ended_us
    after = Kept(
        version,
        flow.client_account_id,
        flow.engagement_id,
        flow.flow_type,
        str(flow.status),
        flow.created_at,
        tally.shares,
        tally.stays,
        _encode(tally.going) if ended is None else None,
    )
    return Moved(flow_id, before, after, ended)


def _document(each: Moved) -> dict[str, Any]:
    after = each.after
    return {
        "flow_id": each.flow_id,
        "version": after.version,
        "client_account_id": after.client_account_id,
        "engagement_id": after.engagement_id,
        "flow_type": after.flow_type,
        "flow_status": after.flow_status,
        "created_at": after.created_at,
        "ended_at": _at(each.ended_us) if each.ended_us is not None else None,
        "shares": [(*key, *numbers[:TIMES], *map(_short, numbers[TIMES:])) for key, numbers in after.shares.items()],
        "stays": after.stays,
        "state": after.state,
    }


@lru_cache(maxsize=4096)
def _short(histogram: int) -> msgspec.Raw:
    """A histogram as JSON: of its hundreds of digits most are noughts at the end."""
    digits = str(histogram)
    bare = digits.rstrip("0")
    return msgspec.Raw(f"{bare}e{len(digits) - len(bare)}" if bare else "0")


def _new_stays(each: Moved) -> Iterator[dict[str, Any]]:
    """The rows of the stays that are new or have another end now."""
    before, after = list(_spans(each.before)), list(_spans(each.after))
    for n, (status, since, until) in enumerate(after):
        if n < len(before) and before[n] == (status, since, until):
            continue
        yield {
            "flow_id": each.flow_id,
            "n": n,
            "client_account_id": each.after.client_account_id,
            "engagement_id": each.after.engagement_id,
            "flow_type": each.after.flow_type,
            "flow_status": status,
            "from_at": _at(since),
            "to_at": _at(until) if until is not None else None,
        }


def _spans(kept: Kept | None) -> Iterator[tuple[str, int, int | None]]:
    stays = kept.stays if kept is not None else []
    for n, (status, since) in enumerate(stays):
        yield status, since, stays[n + 1][1] if n + 1 < len(stays) else None


def _sums(moved: Iterable[Moved]) -> Iterator[tuple[Place, Numbers]]:
    """By how much each sum changes."""
    hours: Sums = {}
    for each in moved:
        if each.before is not None:
            _add(hours, each.before, -1)
        _add(hours, each.after, 1)
    for span in SPANS:
        sums: Sums = {}
        for (client, engagement, at, flow_type, status), shares in hours.items():
            group = sums.setdefault((client, engagement, begin_of(at, span), flow_type, status), {})
            for key, numbers in shares.items():
                if any(numbers):
                    _plus(group, key, numbers, 1)
        for (client, engagement, at, flow_type, status), shares in sums.items():
            for (kind, name), numbers in shares.items():
                if any(numbers):
                    yield (client, engagement, span, kind, at, flow_type, status, name), numbers


def _add(hours: Sums, kept: Kept, sign: int) -> None:
    def group(at: datetime, status: str) -> dict[Key, Numbers]:
        place = (kept.client_account_id, kept.engagement_id, begin_of(at, "hour"), kept.flow_type, status)
        return hours.setdefault(place, {})

    made = group(kept.created_at, kept.flow_status)
    for key, numbers in kept.shares.items():
        _plus(made, key, numbers, sign)
    for status, since, until in _spans(kept):
        _plus(group(_at(since), status), NET, ONE, sign)
        if until is not None:
            _plus(group(_at(until), status), NET, ONE, -sign)


def _plus(sums: dict[Key, Numbers], key: Key, numbers: Numbers, sign: int) -> None:
    there = sums.get(key)
    if there is None:
        sums[key] = [sign * number for number in numbers]
        return
    for n, number in enumerate(numbers):
        if number:
            there[n] += sign * number


def _at(since_us: int) -> datetime:
    return EPOCH + timedelta(microseconds=since_us)
