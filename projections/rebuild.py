"""A read model made anew while the old one serves: filled flow by flow, brought up to the end of the log, compared, swapped.

What is filled is noted with the rows, so that whoever is killed is gone on from. The last events are told, and the tables
swapped, in one transaction that holds the old tables; so nothing that was committed meanwhile is missing.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import Any
from uuid import UUID, uuid4

from psycopg import errors, sql
from psycopg.types.json import Jsonb

from domain.errors import NothingKept, ProjectionUnknown, ReadModelInUse, RebuildImpossible, RebuildRunning
from eventstore.config import JOBS, ServiceConfig
from eventstore.database import Connection, connect
from eventstore.store import tail
from eventstore.tasks import end_all
from eventstore.workers import workers
from projections.app import read_side
from projections.comparing import Editions, counted, differences, differing
from projections.filling import fill, fill_here, retold
from projections.histories import Some, Which, ranges
from projections.projection import Applied, Projection, about, compared
from projections.shadows import ensure, exists, former_of, indexed, make, serving, shadow_of, swap, there
from projections.told import from_store

Json = dict[str, Any]
Said = Callable[[str], None]

FLOWS_A_PART = 500
COMPARED_FLOWS = 5000
SMALL_FLOWS = 2000
TAIL_EVENTS = 2000
NEARLY = 200
SAY_SECONDS = 2.0
SETTLE_SECONDS = 10.0
SETTLE_STEP_SECONDS = 0.1
LOCK_MS = 300
LOCK_TRIES = 100
SHOWN = 100

PARTS = """
create table {schema}.rebuild_parts (
    n int primary key, first uuid not null, "end" uuid, flows int not null, events bigint, done_at timestamptz
)
"""
HOW_FAR = """
select coalesce(sum(flows), 0)::bigint, coalesce(sum(flows) filter (where done_at is not null), 0)::bigint,
       coalesce(sum(events), 0)::bigint, count(*) filter (where done_at is null)
from rebuild_parts
"""
BEGIN = """
insert into projection_rebuilds as r (projection, version, state, owner, started_at, updated_at)
values (%(name)s, %(version)s, %(state)s, %(owner)s, mfo_now(), mfo_now())
on conflict (projection) do update set version = excluded.version, state = excluded.state, owner = excluded.owner,
    started_at = case when %(on)s then r.started_at else excluded.started_at end, updated_at = excluded.updated_at,
    ended_at = null, report = null, flows_done = 0, flows_total = 0, events_done = 0, eta_seconds = null
"""
TOLD = """
update projection_rebuilds set state = %s, flows_total = %s, flows_done = %s, events_done = %s, eta_seconds = %s,
       updated_at = mfo_now() where projection = %s
"""
ENDED = """
update projection_rebuilds set state = %s, report = %s, ended_at = mfo_now(), updated_at = mfo_now(), eta_seconds = null
where projection = %s
"""
LAST = """
select distinct originator_id, topic from stored_events
where originator_id = any(%s) and notification_id > %s
"""


@dataclass(slots=True)
class Comparison:
    """What came of holding the new tables against the old ones. `unsettled` flows were written to all the while, or the old
    tables had not got to them."""

    flows: int = 0
    rows: int = 0
    different: list[UUID] = field(default_factory=list)
    unsettled: int = 0
    differences: list[Json] = field(default_factory=list)


@dataclass(slots=True)
class Work:
    """One rebuild, or one step back, of one projection."""

    config: ServiceConfig
    projection: Projection
    connection: Connection
    shadow: Connection
    said: Said
    owner: str = field(default_factory=lambda: f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:8]}")
    filled: tuple[int, int, int] = (0, 0, 0)
    _spoken: float = 0.0

    @property
    def name(self) -> str:
        return self.projection.name

    @property
    def shard(self) -> str:
        return self.config.shard

    async def tell(self, state: str, eta: float | None = None, *, text: str = "") -> None:
        """Note how far the work is, for whoever asks."""
        total, done, events = self.filled
        await self.connection.execute(TOLD, (state, total, done, events, eta, self.name))
        if text and (monotonic() - self._spoken >= SAY_SECONDS or eta is None):
            self.said(text)
            self._spoken = monotonic()


async def rebuild(
    config: ServiceConfig,
    name: str,
    *,
    jobs: int = JOBS,
    fresh: bool = False,
    if_equal: bool = False,
    said: Said = print,
) -> Json:
    """Make a read model anew and put it in the place of the old one; answers what was done and what differed.

    What a rebuild that was killed has done is gone on from, unless `fresh`. With `if_equal` the old tables stay where rows
    differ. Raises ProjectionUnknown, RebuildRunning, RebuildImpossible, ReadModelInUse, StoreUnavailable.
    """
    began = monotonic()
    async with _working(config, name, said) as work:
        going_on = await _prepared(work, fresh=fresh)
        served = await _served_version(work)
        await work.connection.execute(BEGIN, _begun(work, "filling") | {"on": going_on})
        events_before = await _fill(work, jobs)
        filled = monotonic()
        total, _, events = work.filled
        await work.tell("indexing", text=f"{name}: {events} events of {total} flows are told; making indexes")
        if served == work.projection.version:
            schema = shadow_of(work.shard, name)
            await indexed(work.connection, work.shard, work.projection, schema, needed=False)
        for table in work.projection.tables:
            await work.shadow.execute(sql.SQL("analyze {}").format(sql.Identifier(table)))
        await work.tell("catching_up")
        await _catch_up(work)
        report: Json = {
            "projection": name,
            "version": work.projection.version,
            "resumed": going_on,
            "flows": total,
            "events": events,
            "fill_seconds": round(filled - began, 2),
            "events_per_second": round((events - events_before) / max(filled - began, 0.001)),
        }
        comparison = None
        if served == work.projection.version:
            await work.tell("comparing", text=f"{name}: comparing with the old rows")
            comparison = await _compare(work)
            report["compared"] = _compared(comparison)
        if if_equal and comparison is not None and comparison.different:
            report |= {"state": "kept", "seconds": round(monotonic() - began, 2)}
            await work.connection.execute(ENDED, ("kept", Jsonb(report), name))
            return report
        await work.tell("swapping")
        return await _put_in_place(work, report, began)


async def roll_back(config: ServiceConfig, name: str, *, said: Said = print) -> Json:
    """Bring the tables that the last rebuild replaced up to the end of the log, and put them back; what serves now is kept.

    Raises NothingKept, ProjectionUnknown, RebuildRunning, RebuildImpossible, ReadModelInUse, StoreUnavailable.
    """
    began = monotonic()
    async with _working(config, name, said) as work:
        shadow, former = shadow_of(work.shard, name), former_of(work.shard, name)
        await _returned(work)
        if not await exists(work.connection, former):
            raise NothingKept(f"no former tables of {name} are kept; a rebuild keeps those that it replaces")
        kept = sql.SQL("select version from {}.projections where name = %s").format(sql.Identifier(former))
        row = await (await work.connection.execute(kept, (name,))).fetchone()
        if row is None or row[0] != work.projection.version:
            raise RebuildImpossible(
                f"the former tables of {name} are of version {row[0] if row else 'none'}, this program writes version"
                f" {work.projection.version}; run the program that wrote them"
            )
        await work.connection.execute(BEGIN, _begun(work, "catching_up") | {"on": False})
        async with work.connection.transaction():
            await work.connection.execute(sql.SQL("drop schema if exists {} cascade").format(sql.Identifier(shadow)))
            await work.connection.execute(
                sql.SQL("alter schema {} rename to {}").format(sql.Identifier(former), sql.Identifier(shadow))
            )
        await work.tell("swapping")
        return await _put_in_place(work, {"projection": name, "version": work.projection.version}, began)


def known_as(known: dict[str, Projection], name: str) -> Projection:
    """The projection of that name; raises ProjectionUnknown."""
    if name not in known:
        raise ProjectionUnknown(
            f"there is no projection {name}; there are {', '.join(sorted(known))}", allowed=sorted(known)
        )
    return known[name]


@asynccontextmanager
async def _working(config: ServiceConfig, name: str, said: Said) -> AsyncIterator[Work]:
    async with read_side(config) as (_, known):
        projection = known_as(known, name)
        connection = await connect(config.database_url, config.shard)
        shadow = await connect(config.database_url, f"{shadow_of(config.shard, name)},{config.shard}")
        try:
            row = await (
                await connection.execute("select pg_try_advisory_lock(7, hashtext(current_schema() || %s))", (name,))
            ).fetchone()
            if row is None or not row[0]:
                raise RebuildRunning(f"another process is at {name}; `mfo projections list` says how far it is")
            await ensure(connection, projection)
            yield Work(config, projection, connection, shadow, said)
        finally:
            await shadow.close()
            await connection.close()


def _begun(work: Work, state: str) -> Json:
    return {"name": work.name, "version": work.projection.version, "state": state, "owner": work.owner}


async def _served_version(work: Work) -> int:
    """The version of the tables that serve; that of this program where nothing has ever served."""
    row = await (
        await work.connection.execute("select version from projections where name = %s", (work.name,))
    ).fetchone()
    return int(row[0]) if row is not None else work.projection.version


async def _returned(work: Work) -> None:
    """Give former tables their name back that a step back, broken off before its swap, has left as a shadow."""
    shadow, former = shadow_of(work.shard, work.name), former_of(work.shard, work.name)
    if await exists(work.connection, former) or not await exists(work.connection, shadow):
        return
    if not await there(work.connection, shadow, ["rebuild_parts"]):
        await work.connection.execute(
            sql.SQL("alter schema {} rename to {}").format(sql.Identifier(shadow), sql.Identifier(former))
        )


async def _prepared(work: Work, *, fresh: bool) -> bool:
    """Have a shadow to fill; True where it is one that was begun before."""
    schema = shadow_of(work.shard, work.name)
    await _returned(work)
    if not fresh and await exists(work.connection, schema):
        kept = sql.SQL("select version, to_regclass(%s) is not null from {}.projections where name = %s").format(
            sql.Identifier(schema)
        )
        parts = sql.Identifier(schema, "rebuild_parts").as_string(work.connection)
        row = await (await work.connection.execute(kept, (parts, work.name))).fetchone()
        if row is not None and row[0] == work.projection.version and row[1]:
            return True
    alike = await _served_version(work) == work.projection.version
    async with work.connection.transaction():
        # the end of the log first: what is filled has everything up to there
        row = await (
            await work.connection.execute("select coalesce(max(notification_id), 0) from stored_events")
        ).fetchone()
        assert row is not None
        await make(work.connection, work.shard, work.projection, alike=alike)
        await work.connection.execute(sql.SQL(PARTS).format(schema=sql.Identifier(schema)))
        begun = sql.SQL(
            "insert into {}.projections (name, version, state, position, updated_at)"
            " values (%s, %s, 'catching_up', %s, mfo_now())"
        ).format(sql.Identifier(schema))
        await work.connection.execute(begun, (work.name, work.projection.version, row[0]))
        insert = sql.SQL('insert into {}.rebuild_parts (n, first, "end", flows) values (%s, %s, %s, %s)').format(
            sql.Identifier(schema)
        )
        async with work.connection.cursor() as cursor:
            every = await ranges(work.connection, FLOWS_A_PART)
            await cursor.executemany(
                insert, [(n, part.first, part.end, flows) for n, (part, flows) in enumerate(every)]
            )
    return False


async def _fill(work: Work, jobs: int) -> int:
    """Have every part told by so many processes, of which this is one, and the only one where there is little; answers the
    events told before."""
    parts = await _how_far(work)
    before, first = work.filled[2], work.filled[1]
    if not parts:
        return before
    began = monotonic()
    if jobs == 1 or work.filled[0] - first <= SMALL_FLOWS:
        await fill(work.config, work.name)
        await _how_far(work)
        return before
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as stack:
        pool = stack.enter_context(workers(jobs - 1))
        here = asyncio.create_task(fill(work.config, work.name))
        stack.push_async_callback(end_all, [here])
        tasks = [loop.run_in_executor(pool, fill_here, work.config, work.name) for _ in range(jobs - 1)]
        for task in tasks:
            # those that are ended with this one, because it failed, have nothing to say
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
        waiting: set[asyncio.Future[None]] = {here, *tasks}
        while waiting:
            done, waiting = await asyncio.wait(waiting, timeout=0.5, return_when=asyncio.FIRST_EXCEPTION)
            for task in done:
                task.result()
            await _how_far(work)
            total, so_far, events = work.filled
            spent = monotonic() - began
            eta = (total - so_far) * spent / (so_far - first) if so_far > first else None
            left = f", {eta:.0f} s left" if eta is not None else ""
            text = f"{work.name}: {so_far} of {total} flows, {events} events, {(events - before) / spent:.0f}/s{left}"
            if waiting and eta is not None:
                await work.tell("filling", eta, text=text)
    if await _how_far(work):
        # what a process had in hand that is no child of ours
        await fill(work.config, work.name)
        await _how_far(work)
    return before


async def _how_far(work: Work) -> int:
    """How many parts are left."""
    row = await (await work.shadow.execute(HOW_FAR)).fetchone()
    assert row is not None
    work.filled = (int(row[0]), int(row[1]), int(row[2]))
    return int(row[3])


async def _catch_up(work: Work) -> None:
    """Tell the log from where the shadow is until there is hardly anything left."""
    began, told = monotonic(), 0
    while (count := await _told(work)) >= NEARLY:
        told += count
        left = await _left(work)
        rate = told / max(monotonic() - began, 0.001)
        if monotonic() - began > SAY_SECONDS:
            text = f"{work.name}: {left} events are left to be told, {rate:.0f}/s"
            await work.tell("catching_up", left / rate, text=text)


async def _left(work: Work) -> int:
    """How many events lie between the shadow and the end of the log."""
    left = "select (select coalesce(max(notification_id), 0) from stored_events) - position from projections where name = %s"
    row = await (await work.shadow.execute(left, (work.name,))).fetchone()
    assert row is not None
    return int(row[0])


async def _told(work: Work, *, swapping: bool = False) -> int:
    """Tell the next stretch of the log; answers how many events it had. `swapping`: all there is now, in the caller's
    transaction; what comes later finds the new tables."""
    count = 0
    try:
        async with work.shadow.transaction():
            row = await (
                await work.shadow.execute("select position from projections where name = %s", (work.name,))
            ).fetchone()
            assert row is not None
            position = int(row[0])
            end = position + await _left(work)
            while position < end and (events := await tail(work.shadow, position, TAIL_EVENTS)):
                told = [from_store(event) for event in events if about(work.projection, event.topic)]
                applied = await retold(work.shadow, work.projection, told) if told else Applied()
                count += len(events)
                position = events[-1].position
                if not swapping:
                    break
            await work.shadow.execute("update projections set position = %s where name = %s", (position, work.name))
        if count and not swapping:
            applied.committed()
    except BaseException:
        work.projection.forget()
        raise
    return count


async def _compare(work: Work) -> Comparison:
    """Hold the shadow against what serves, range by range, and again for those flows that were on their way."""
    editions = Editions(shadow_of(work.shard, work.name), work.shard, compared(work.projection))
    found = Comparison(flows=work.filled[0])
    if not await _mark(work):
        # nothing has ever served
        found.unsettled = found.flows
        return found
    left = [part for part, _ in await ranges(work.connection, COMPARED_FLOWS)]
    suspects: set[UUID] = set()

    async def look(connection: Connection) -> None:
        while left:
            part: Which = left.pop()
            suspects.update(await differing(connection, editions, part))
            found.rows += await counted(connection, editions, part)

    # the work is the server's: two connections keep both of its cores busy
    other = await connect(work.config.database_url, work.shard)
    try:
        await asyncio.gather(look(work.connection), look(other))
    finally:
        await other.close()
    began = monotonic()
    while suspects:
        mark = await _mark(work)
        await _catch_up(work)
        suspects = await differing(work.connection, editions, Some(list(suspects)))
        later = await _told_after(work, suspects, mark)
        if suspects <= later:
            if monotonic() - began > SETTLE_SECONDS or (monotonic() - began > 1 and await _mark(work) == mark):
                break
        elif not later or monotonic() - began > SETTLE_SECONDS:
            break
        await asyncio.sleep(SETTLE_STEP_SECONDS)
    if suspects:
        later = await _told_after(work, suspects, await _mark(work))
        found.unsettled = len(later)
        found.different = sorted(suspects - later)
        found.differences = [
            one.as_dict() for one in await differences(work.connection, editions, found.different[:SHOWN])
        ][:SHOWN]
    return found


async def _mark(work: Work) -> int:
    row = await (
        await work.connection.execute("select position from projections where name = %s", (work.name,))
    ).fetchone()
    return int(row[0]) if row is not None else 0


async def _told_after(work: Work, flow_ids: set[UUID], mark: int) -> set[UUID]:
    """Those of the flows to which something has happened that what serves may not have taken yet."""
    rows = await (await work.connection.execute(LAST, (list(flow_ids), mark))).fetchall()
    return {row[0] for row in rows if about(work.projection, row[1])}


def _compared(comparison: Comparison) -> Json:
    return {
        "flows": comparison.flows,
        "rows": comparison.rows,
        "equal": not comparison.different,
        "different": len(comparison.different),
        "unsettled": comparison.unsettled,
        "differences": comparison.differences,
    }


async def _put_in_place(work: Work, report: Json, began: float) -> Json:
    """Tell the last events and swap, in one transaction that waits for nobody for long; raises ReadModelInUse."""
    for _ in range(LOCK_TRIES):
        # readers wait for as long as the last events take
        await _catch_up(work)
        try:
            held = monotonic()
            async with work.shadow.transaction():
                await work.shadow.execute(f"set local lock_timeout = '{LOCK_MS}ms'")
                # in the order in which the projection writes them, so that nobody waits in a ring
                for table in await serving(work.shadow, work.shard, work.projection):
                    await work.shadow.execute(
                        sql.SQL("lock table {} in access exclusive mode").format(sql.Identifier(work.shard, table))
                    )
                await _told(work, swapping=True)
                row = await (
                    await work.shadow.execute("select position from projections where name = %s", (work.name,))
                ).fetchone()
                assert row is not None
                await swap(work.shadow, work.shard, work.projection, int(row[0]))
                done = report | {
                    "state": "done",
                    "position": int(row[0]),
                    "held_ms": round((monotonic() - held) * 1000, 1),
                    "seconds": round(monotonic() - began, 2),
                }
                await work.shadow.execute(ENDED, ("done", Jsonb(done), work.name))
                await work.shadow.execute("select pg_notify('mfo_projected', %s)", (work.name,))
            return done
        except (errors.LockNotAvailable, errors.DeadlockDetected):
            work.projection.forget()
            await asyncio.sleep(LOCK_MS / 1000)
    raise ReadModelInUse
