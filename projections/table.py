"""A read model in one file: a table, and a function that says which rows a flow's history makes.

Everything else is done here: batches, repeats, gaps, order, flows set aside. The rows of a flow are replaced as a whole, and
the version at which they stand is kept beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from psycopg import sql

from domain.events import TOPICS, FlowEvent
from domain.flow import Recorded
from eventstore.database import Connection
from projections.flows import FlowTopics
from projections.histories import whole
from projections.projection import PATIENCE_SECONDS, ROW_ERRORS, Applied, Parked
from projections.told import Told, short

Row = Mapping[str, Any]
Rows = Callable[[Sequence[Recorded]], Iterable[Row]]

FLOWS = "create table {flows} (flow_id uuid primary key, version bigint not null);\n"
MOVE = """
insert into {flows} as t (flow_id, version) select * from unnest(%s::uuid[], %s::bigint[]) as u (flow_id, version)
on conflict (flow_id) do update set version = excluded.version where t.version < excluded.version returning flow_id
"""
KNOWN = "select flow_id, version from {flows} where flow_id = any(%s)"
CLEAR = "delete from {table} where flow_id = any(%s)"
WRITE = "insert into {table} select * from json_populate_recordset(null::{table}, %s::json)"


class _Made(NamedTuple):
    """A flow's rows at a version."""

    flow_id: UUID
    version: int
    rows: list[dict[str, Any]]


class TableProjection:
    """One table, named as the projection, with the rows that `rows` makes of each flow's history.

    `table` is the statement that makes it; it has a column `flow_id`. `rows` is given the flow's events in order, those of
    the types in `events` alone (left out: all), and answers columns by name; it may be asked again at any time and must
    answer the same to the same. `flow_id`, `client_account_id` and `engagement_id` are filled in where the table has them; a
    column that a row does not name is null. Another `version` needs a rebuild.
    """

    def __init__(
        self, name: str, *, version: int, table: str, rows: Rows, events: Sequence[type[FlowEvent]] | None = None
    ) -> None:
        self.name = name
        self.version = version
        self.patience = PATIENCE_SECONDS
        flows = f"{name}_flows"
        self.tables = (flows, name)
        self.ddl = FLOWS.format(flows=flows) + table
        self.sums: Sequence[str] = ()
        self.topics: Container[str] = FlowTopics() if events is None else tuple(TOPICS[event] for event in events)
        self._rows = rows
        parts = {"table": sql.Identifier(name), "flows": sql.Identifier(flows)}
        self._move, self._known, self._clear, self._write = (
            sql.SQL(text).format(**parts).as_string(None) for text in (MOVE, KNOWN, CLEAR, WRITE)
        )

    def forget(self) -> None:
        """Nothing is held in memory."""

    async def apply(self, connection: Connection, batch: Sequence[Told], *, singly: bool = False) -> Applied:
        """Make the rows of the batch's flows anew; what happened to a flow since is taken along."""
        applied = Applied()
        newest: dict[UUID, int] = {}
        for event in batch:
            newest[event.flow_id] = max(event.version, newest.get(event.flow_id, 0))
        cursor = await connection.execute(self._known.encode(), (list(newest),), binary=True)
        known: dict[UUID, int] = dict(await cursor.fetchall())
        # in the order of ids, so that two members at work never wait for each other in a ring
        behind = {flow_id: version for flow_id, version in newest.items() if version > known.get(flow_id, 0)}
        async for histories in whole(connection, behind):
            made = self._made(histories, behind, applied.parked)
            if singly:
                await self._singly(connection, made, applied)
            else:
                applied.rows += await self._replace(connection, made)
        return applied

    def _made(
        self, histories: Mapping[UUID, list[Told]], behind: Mapping[UUID, int], parked: list[Parked]
    ) -> list[_Made]:
        made = []
        for flow_id, events in histories.items():
            try:
                history = [event.recorded() for event in events if event.topic in self.topics]
                meta = history[0].meta
                whose = {
                    "flow_id": flow_id,
                    "client_account_id": meta.client_account_id,
                    "engagement_id": meta.engagement_id,
                }
                made.append(_Made(flow_id, history[-1].version, [{**row, **whose} for row in self._rows(history)]))
            # whatever one flow's events cause concerns that flow alone
            except Exception as error:
                parked.append(Parked(flow_id, behind[flow_id], short(error)))
        return made

    async def _replace(self, connection: Connection, made: Sequence[_Made]) -> int:
        cursor = await connection.execute(
            self._move.encode(), ([one.flow_id for one in made], [one.version for one in made])
        )
        moved = {row[0] for row in await cursor.fetchall()}
        if not moved:
            return 0
        await connection.execute(self._clear.encode(), (list(moved),))
        rows = [row for one in made if one.flow_id in moved for row in one.rows]
        if rows:
            await connection.execute(self._write.encode(), (msgspec.json.encode(rows).decode(),))
        return len(moved)

    async def _singly(self, connection: Connection, made: Sequence[_Made], applied: Applied) -> None:
        for one in made:
            try:
                async with connection.transaction():
                    applied.rows += await self._replace(connection, [one])
            except ROW_ERRORS as error:
                applied.parked.append(Parked(one.flow_id, one.version, short(error)))
