"""What the phases of discovery found: assets, dependencies, issues, reviews and changes, row by row, from the artifacts
that phases hand over."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import msgspec
from psycopg import sql

from domain.events import TOPICS, PhaseCompleted
from eventstore.artifacts import ArtifactStore
from eventstore.database import Connection
from projections.handed import (
    FLOW_ERRORS,
    ROLLED_BACK,
    Handed,
    RowUnreadable,
    completed,
    names_artifacts,
    savepoint,
    undone,
)
from projections.projection import PATIENCE_SECONDS, Applied, Parked, nothing
from projections.told import Told, short

NAME = "inventory"
VERSION = 1
# kind of row, which is also its table's name: the output of a phase that holds such rows
KINDS = {
    "assets": "assets",
    "dependencies": "dependencies",
    "issues": "issues",
    "reviews": "reviews",
    "changes": "estate_changes",
}

# taken out of the document for those who filter: column to the document's name for it
EXTRA: dict[str, tuple[str, ...]] = {
    "assets": ("name", "asset_type"),
    "dependencies": (),
    "issues": ("severity", "kind"),
    "reviews": ("kind",),
    "changes": ("kind", "name"),
}
IDS = {
    "assets": "asset_id",
    "dependencies": "dependency_id",
    "issues": "issue_id",
    "reviews": "review_id",
    "changes": "change_id",
}

GUARD = """
insert into inventory_sets_v{version} as s (flow_id, phase_name, kind, version, rows) values (%s, %s, %s, %s, %s)
on conflict (flow_id, phase_name, kind) do update set version = excluded.version, rows = excluded.rows
where s.version < excluded.version
"""
SOME = "select distinct flow_id from inventory_sets_v{version} where flow_id = any(%b) and rows > 0"
OLDER = """
select s.flow_id, s.phase_name, s.kind from inventory_sets_v{version} s
join unnest(%s::uuid[], %s::text[], %s::text[], %s::bigint[]) as e (flow_id, phase_name, kind, version)
  on (s.flow_id, s.phase_name, s.kind) = (e.flow_id, e.phase_name, e.kind) and s.version < e.version and s.rows > 0
"""


class _Found(msgspec.Struct):
    """The parts of a line that have columns of their own."""

    asset_id: str | None = None
    dependency_id: str | None = None
    issue_id: str | None = None
    review_id: str | None = None
    change_id: str | None = None
    name: str | None = None
    asset_type: str | None = None
    severity: str | None = None
    kind: str | None = None


_found = msgspec.json.Decoder(_Found)


class Inventory:
    """The rows of one artifact replace those that the same phase of the same flow had of this kind before; a phase that is
    undone has none."""

    name = NAME
    patience = PATIENCE_SECONDS
    sums = ()
    ddl = ""
    topics = (TOPICS[PhaseCompleted], ROLLED_BACK)

    def __init__(self, artifacts: ArtifactStore, *, version: int = VERSION) -> None:
        self.version = version
        self._handed = Handed(artifacts)
        self._guard = GUARD.format(version=version)
        self._some = SOME.format(version=version)
        self._older = OLDER.format(version=version)
        self.tables = (f"inventory_sets_v{version}", *(f"{kind}_v{version}" for kind in KINDS))

    def forget(self) -> None:
        """Nothing is held in memory."""

    async def apply(self, connection: Connection, batch: Sequence[Told], *, singly: bool = False) -> Applied:
        """Read the artifacts that the batch's completed phases name; each set of rows stands or falls alone, always."""
        applied = Applied(committed=nothing)
        without: list[tuple[UUID, str, str, int]] = []
        aside: set[UUID] = set()
        # flows without rows, which nobody hands any to, are passed over
        having = await self._having(connection, {event.flow_id for event in batch})
        having |= {event.flow_id for event in batch if names_artifacts(event)}
        for event in batch:
            if event.flow_id in aside or event.flow_id not in having:
                continue
            try:
                async with savepoint(connection, event):
                    applied.rows += await self._one(connection, event, without)
            except FLOW_ERRORS as error:
                applied.parked.append(Parked(event.flow_id, event.version, short(error)))
                aside.add(event.flow_id)
        applied.rows += await self._empty(connection, [each for each in without if each[0] not in aside])
        return applied

    async def _having(self, connection: Connection, flow_ids: set[UUID]) -> set[UUID]:
        """Those of the flows of which there are rows."""
        cursor = await connection.execute(self._some, (list(flow_ids),), binary=True)
        return {row[0] for row in await cursor.fetchall()}

    async def _one(self, connection: Connection, event: Told, without: list[tuple[UUID, str, str, int]]) -> int:
        if event.topic == ROLLED_BACK:
            without.extend((event.flow_id, phase, kind, event.version) for phase in undone(event) for kind in KINDS)
            return 0
        phase = completed(event)
        rows = 0
        for kind, name in KINDS.items():
            value = phase.outputs.get(name)
            ref = await self._handed.reference(event, name, value) if value is not None else None
            if ref is None:
                without.append((event.flow_id, phase.phase_name, kind, event.version))
            else:
                rows += await self._replace(connection, event, phase.phase_name, kind, ref)
        return rows

    async def _replace(self, connection: Connection, event: Told, phase: str, kind: str, sha256: str) -> int:
        if not await self._claim(connection, event.flow_id, phase, kind, event.version):
            return 0
        first = await self._remove(connection, event.flow_id, phase, kind)
        account, engagement = event.tenant()
        columns = ("flow_id", "client_account_id", "engagement_id", "phase_name", "n", "id", *EXTRA[kind], "document")
        statement = sql.SQL("copy {} ({}) from stdin").format(
            self._table(kind), sql.SQL(", ").join(map(sql.Identifier, columns))
        )
        n = first
        async with connection.cursor().copy(statement) as copy:
            async for line in self._handed.lines(account, sha256):
                try:
                    found = _found.decode(line)
                    document = line.decode()
                except (msgspec.DecodeError, UnicodeDecodeError) as error:
                    raise RowUnreadable(f"line {n - first + 1} of {kind}: {error}") from error
                row_id = getattr(found, IDS[kind])
                if not row_id:
                    raise RowUnreadable(f"line {n - first + 1} of {kind} has no {IDS[kind]}")
                extra = [getattr(found, name) for name in EXTRA[kind]]
                await copy.write_row((event.flow_id, account, engagement, phase, n, row_id, *extra, document))
                n += 1
        await connection.execute(
            f"update inventory_sets_v{self.version} set rows = %s where flow_id = %s and phase_name = %s and kind = %s",
            (n - first, event.flow_id, phase, kind),
        )
        return n - first

    async def _claim(self, connection: Connection, flow_id: UUID, phase: str, kind: str, version: int) -> bool:
        """Whether this version is newer than what the set holds; one flow's sets change one at a time."""
        await connection.execute("select pg_advisory_xact_lock(4, hashtext(%s))", (str(flow_id),))
        cursor = await connection.execute(self._guard, (flow_id, phase, kind, version, 0))
        return cursor.rowcount > 0

    async def _remove(self, connection: Connection, flow_id: UUID, phase: str, kind: str) -> int:
        """Take the phase's old rows away and close the gap in `n`; answers the `n` of the next row."""
        table = self._table(kind)
        cursor = await connection.execute(
            sql.SQL("select count(*), max(n) from {} where flow_id = %s and phase_name = %s").format(table),
            (flow_id, phase),
        )
        row = await cursor.fetchone()
        gone, last = row if row is not None else (0, None)
        if gone:
            await connection.execute(
                sql.SQL("delete from {} where flow_id = %s and phase_name = %s").format(table), (flow_id, phase)
            )
            await connection.execute(
                sql.SQL("update {} set n = n - %s where flow_id = %s and n > %s").format(table), (gone, flow_id, last)
            )
        cursor = await connection.execute(
            sql.SQL("select coalesce(max(n) + 1, 0) from {} where flow_id = %s").format(table), (flow_id,)
        )
        row = await cursor.fetchone()
        return int(row[0]) if row is not None else 0

    async def _empty(self, connection: Connection, without: Sequence[tuple[UUID, str, str, int]]) -> int:
        """A phase that was undone, or done again and found nothing of a kind, leaves none of the rows it had found before."""
        if not without:
            return 0
        cursor = await connection.execute(self._older, tuple(map(list, zip(*without, strict=True))))
        older = {tuple(row) for row in await cursor.fetchall()}
        changed = 0
        for flow_id, phase, kind, version in without:
            if (flow_id, phase, kind) in older and await self._claim(connection, flow_id, phase, kind, version):
                await self._remove(connection, flow_id, phase, kind)
                changed += 1
        return changed

    def _table(self, kind: str) -> sql.Identifier:
        return sql.Identifier(f"{kind}_v{self.version}")
