"""A read model held against history at any time: its rows are made anew beside it, compared, and thrown away.

Some flows at a time are told to temporary tables of the same names, in a transaction that sees one moment of the store and is
rolled back. Flows to which something has happened that the projection has not taken yet are looked at again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from time import monotonic
from typing import Any
from uuid import UUID

import psycopg
from psycopg import sql

from domain.errors import RebuildImpossible
from eventstore.config import JOBS, ServiceConfig
from eventstore.database import Connection, connect
from eventstore.garbage import collecting_seldom
from eventstore.workers import workers
from projections.app import read_side
from projections.comparing import Difference, Editions, Summing, counted, differences, differing, sum_differences
from projections.filling import told_once
from projections.histories import Some, Which, histories, ranges
from projections.projection import Projection, about, compared
from projections.rebuild import LAST, known_as
from projections.shadows import ensure, indexed

Json = dict[str, Any]
Said = Callable[[str], None]

FLOWS_AT_ONCE = 500
SMALL_FLOWS = 2000
SHARES = 16
PATIENCE_SECONDS = 10.0
AGAIN_SECONDS = 0.1
SHOWN = 100
TEMPORARY = "pg_temp"
SAMPLE = "select id from heads order by hashtextextended(id::text, (random() * 2 ^ 62)::bigint) limit %s"
ASIDE = "select flow_id from parked_flows where projection = %s"

Look = Callable[[Sequence[Which]], Awaitable["Verdict"]]


@dataclass(slots=True)
class Verdict:
    """What was compared and what differs; at most 100 `differences` are named. `parked` flows are set aside, `behind` are
    those that the projection has not got to, and that were looked at in vain."""

    flows: int = 0
    rows: int = 0
    different: set[UUID] = field(default_factory=set)
    parked: set[UUID] = field(default_factory=set)
    behind: set[UUID] = field(default_factory=set)
    differences: list[Difference] = field(default_factory=list)

    def take(self, other: Verdict) -> None:
        """What another process has found."""
        self.flows += other.flows
        self.rows += other.rows
        self.different |= other.different
        self.parked |= other.parked
        self.behind = (self.behind | other.behind) - self.different
        self.differences = [*self.differences, *other.differences][:SHOWN]


async def verify(
    config: ServiceConfig, name: str, *, sample: int | None = None, jobs: int = JOBS, said: Said = print
) -> Json:
    """Compare a read model with what history says, of all flows or of so many chosen at random; of all flows, its sums, too:
    with what the flows' rows add up to, which have just been compared with history.

    Raises ProjectionUnknown, RebuildImpossible where this program writes another version, StoreUnavailable.
    """
    began = monotonic()
    whole = Verdict()
    async with read_side(config) as (_, known):
        projection = known_as(known, name)
        connection = await connect(config.database_url, config.shard)
        try:
            await _is_ours(connection, projection)
            parts: list[tuple[Which, int]]
            if sample is not None:
                ids = [row[0] for row in await (await connection.execute(SAMPLE, (sample,))).fetchall()]
                chunks = [ids[n : n + FLOWS_AT_ONCE] for n in range(0, len(ids), FLOWS_AT_ONCE)]
                parts = [(Some(chunk), len(chunk)) for chunk in chunks]
            else:
                parts = [*await ranges(connection, FLOWS_AT_ONCE)]
            await _beside(connection, config.shard, projection)
            shares = [[part for part, _ in parts]]
            if jobs > 1 and sum(flows for _, flows in parts) > SMALL_FLOWS:
                shares = [shares[0][n :: jobs * SHARES] for n in range(min(jobs * SHARES, len(parts)))]
            with collecting_seldom():
                look = partial(_look, connection, config.shard, projection)
                whole = await _share_out(config, name, shares, jobs=min(jobs, len(shares)), look=look, said=said)
                await _again(connection, projection, look, whole)
            sums: list[Difference] = []
            if sample is None and isinstance(projection, Summing):
                sums = await sum_differences(connection, config.shard, projection)
        finally:
            await connection.close()
    seconds = monotonic() - began
    return {
        "projection": name,
        "version": projection.version,
        "equal": not whole.different and not sums,
        "flows": sum(flows for _, flows in parts),
        "rows": whole.rows,
        "different": len(whole.different),
        "parked": len(whole.parked),
        "behind": len(whole.behind),
        "different_sums": len(sums),
        "differences": [one.as_dict() for one in [*whole.differences, *sums][:SHOWN]],
        "seconds": round(seconds, 2),
        "rows_per_second": round(whole.rows / max(seconds, 0.001)),
    }


async def _is_ours(connection: Connection, projection: Projection) -> None:
    await ensure(connection, projection)
    row = await (
        await connection.execute("select version from projections where name = %s", (projection.name,))
    ).fetchone()
    if row is not None and row[0] != projection.version:
        raise RebuildImpossible(
            f"the tables that serve are of version {row[0]}, this program makes rows of version {projection.version};"
            f" run: mfo projections rebuild {projection.name}"
        )


async def _share_out(
    config: ServiceConfig, name: str, shares: Sequence[Sequence[Which]], *, jobs: int, look: Look, said: Said
) -> Verdict:
    """What comes of the shares. This process is one of the `jobs`, and does what no other has begun, the last first."""
    if jobs == 1:
        return await look([part for share in shares for part in share])
    whole = Verdict()

    def take(found: Verdict) -> None:
        whole.take(found)
        done = sum(future.done() for future in elsewhere)
        said(f"{name}: {done} of {len(shares)} shares, {whole.rows} rows, {len(whole.different)} flows that differ")

    with workers(jobs - 1) as pool:
        elsewhere = [pool.submit(look_here, config, name, share) for share in shares]
        theirs = []
        for share, future in zip(reversed(shares), reversed(elsewhere), strict=True):
            if future.cancel():
                take(await look(share))
            else:
                theirs.append(future)
        for future in theirs:
            take(await asyncio.wrap_future(future))
    return whole


def look_here(config: ServiceConfig, name: str, parts: Sequence[Which]) -> Verdict:
    """Compare some ranges of flows in a process of its own."""

    async def look() -> Verdict:
        async with read_side(config) as (_, known):
            connection = await connect(config.database_url, config.shard)
            try:
                await _beside(connection, config.shard, known[name])
                with collecting_seldom():
                    return await _look(connection, config.shard, known[name], parts)
            finally:
                await connection.close()

    return asyncio.run(look())


async def _beside(connection: Connection, shard: str, projection: Projection) -> None:
    """Make the temporary tables, with the indexes that filling needs."""
    for table in projection.tables:
        await connection.execute(
            sql.SQL("create temporary table {0} (like {1} including all excluding indexes)").format(
                sql.Identifier(TEMPORARY, table), sql.Identifier(shard, table)
            )
        )
    await indexed(connection, shard, projection, TEMPORARY, needed=True)


async def _look(connection: Connection, shard: str, projection: Projection, parts: Sequence[Which]) -> Verdict:
    whole = Verdict()
    emptied = sql.SQL("truncate {}").format(
        sql.SQL(", ").join(sql.Identifier(TEMPORARY, table) for table in projection.tables)
    )
    for part in parts:
        whole.take(await _part(connection, shard, projection, part))
        # rows that were rolled back still take place, and nobody vacuums a temporary table
        await connection.execute(emptied)
    return whole


async def _part(connection: Connection, shard: str, projection: Projection, part: Which) -> Verdict:
    found = Verdict()
    editions = Editions(TEMPORARY, shard, compared(projection))
    async with connection.transaction():
        await connection.execute("set transaction isolation level repeatable read")
        row = await (
            await connection.execute("select position from projections where name = %s", (projection.name,))
        ).fetchone()
        mark = int(row[0]) if row is not None else 0
        aside = {row[0] for row in await (await connection.execute(ASIDE, (projection.name,))).fetchall()}
        untold: dict[UUID, str] = {}
        async for batch in histories(connection, part, projection):
            applied = await told_once(connection, projection, batch)
            untold |= {one.flow_id: one.error for one in applied.parked}
        suspects = await differing(connection, editions, part)
        found.rows = await counted(connection, editions, part)
        later = {
            row[0]
            for row in await (await connection.execute(LAST, (list(suspects | untold.keys()), mark))).fetchall()
            if about(projection, row[1])
        }
        found.parked = (suspects | untold.keys()) & aside
        found.behind = (suspects & later) - aside
        found.different = (suspects | untold.keys()) - aside - later
        named = sorted(found.different - untold.keys())[:SHOWN]
        found.differences = (await differences(connection, editions, named))[:SHOWN] if named else []
        found.differences += [
            Difference(projection.name, flow_id, {}, f"cannot be made: {untold[flow_id]}", [])
            for flow_id in found.different & untold.keys()
        ]
        projection.forget()
        raise psycopg.Rollback
    return found


async def _again(connection: Connection, projection: Projection, look: Look, whole: Verdict) -> None:
    """Look once more at the flows that were on their way, until they have come or the projection stands still."""
    began, mark = monotonic(), -1
    while whole.behind and monotonic() - began < PATIENCE_SECONDS:
        row = await (
            await connection.execute("select position from projections where name = %s", (projection.name,))
        ).fetchone()
        if row is None or (row[0] == mark and monotonic() - began > 1):
            return
        mark = row[0]
        ids = sorted(whole.behind)
        whole.behind = set()
        chunks = [Some(ids[n : n + FLOWS_AT_ONCE]) for n in range(0, len(ids), FLOWS_AT_ONCE)]
        found = await look(chunks)
        found.rows = 0
        whole.take(found)
        if whole.behind:
            await asyncio.sleep(AGAIN_SECONDS)
