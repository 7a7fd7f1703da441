"""What a tenant may read: every query here names the tenant it was made for."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from psycopg import sql
from psycopg.rows import dict_row

from api.answers import in_utc
from api.cursors import Cursor
from domain.commands import Tenant
from domain.errors import FlowNotFound, RegistrationError
from domain.flow import Flow, fold
from domain.relations import MAX_LEVELS
from domain.view import COLUMNS, row
from eventstore.definitions import remember
from eventstore.readmodels import STANDINGS, standing
from eventstore.service import WriteSide

Row = dict[str, Any]

STREAM_ROWS = 2000
FLOWS = "crewai_flow_state_extensions"
FLOW_INTERVALS = "flow_intervals"
NODE = (
    *("flow_id", "parent_flow_id", "flow_name", "flow_type", "flow_status", "current_phase"),
    *("progress_percentage", "draining"),
)
MAX_BELOW = 5000


@dataclass(frozen=True, slots=True)
class FoundFilter:
    """Which rows of what discovery found are shown: wanted values by column, and a part of the name whatever its case."""

    columns: Mapping[str, Sequence[str]] = field(default_factory=dict)
    noise: bool | None = None
    name: str | None = None


class Part(NamedTuple):
    """Rows of which a list is made, as SQL, and what they are ordered by."""

    rows: sql.Composable
    place: sql.SQL


class Rows:
    """The rows of one tenant: its flows in history and in the read model, and what discovery found."""

    def __init__(self, side: WriteSide, tenant: Tenant) -> None:
        self._side = side
        self.tenant = tenant
        self._who = {"client": tenant.client_account_id, "engagement": tenant.engagement_id}

    async def version(self, flow_id: UUID) -> int | None:
        """The number of the flow's last event; none when the tenant has no such flow."""
        found = await self._one(
            sql.SQL(
                "select version from heads where id = %(flow_id)s"
                " and client_account_id = %(client)s and engagement_id = %(engagement)s"
                " and exists (select from stored_events where originator_id = %(flow_id)s and originator_version = 1"
                " and starts_with(topic, 'mfo.flow.'))"
            ),
            {"flow_id": flow_id},
        )
        return None if found is None else int(found["version"])

    async def place(self, flow_id: UUID, version: int) -> int | None:
        """The place in the log of one event of the tenant's flow, none where there is no such event."""
        found = await self._one(
            sql.SQL(
                "select e.notification_id from stored_events e join heads h on h.id = e.originator_id"
                " where e.originator_id = %(flow_id)s and e.originator_version = %(version)s"
                " and h.client_account_id = %(client)s and h.engagement_id = %(engagement)s"
            ),
            {"flow_id": flow_id, "version": version},
        )
        return None if found is None else int(found["notification_id"])

    async def flow(self, flow_id: UUID) -> Row | None:
        """The flow's row in the read model with its `log_position`; none where it has not got there yet."""
        return await self._one(ONE_FLOW_TEXT, {"flow_id": flow_id})

    async def run(self, run_id: UUID) -> Row | None:
        """The row of an attempt that is queued or under way: `{state, deadline, progress}`, the last as JSON text."""
        return await self._one(
            sql.SQL(
                "select state, deadline, progress from runs where id = %(run_id)s"
                " and client_account_id = %(client)s and engagement_id = %(engagement)s"
            ),
            {"run_id": run_id},
        )

    async def replayed(self, flow_id: UUID, *, upto: int | None = None) -> tuple[Flow, Row]:
        """The flow as its history (up to a version) tells it, and the row the read model will show of it; raises FlowNotFound."""
        history = await self._side.store.history(flow_id, upto=upto)
        flow = fold(Flow(id=flow_id), [recorded for _, recorded in history])
        if (flow.client_account_id, flow.engagement_id) != (self._who["client"], self._who["engagement"]):
            raise FlowNotFound
        try:
            shown = row(flow, self._side.types)
        except RegistrationError:
            # the flow was made by a newer process, with a type that the store knows by now
            await remember(self._side.pool, self._side.types)
            shown = row(flow, self._side.types)
        return flow, {**shown, "log_position": history[-1][0]}

    async def page(
        self, parts: Sequence[Part], columns: sql.Composable, where: sql.Composable, values: Row, after: Cursor | None
    ) -> tuple[list[Row], int]:
        """One page of the rows of all parts, in the order of their places and ids, and how many there are in all. A row has
        the `columns` and its `place`."""
        total = sql.SQL(" + ").join(
            sql.SQL("(select count(*) from {} where {})").format(part.rows, where) for part in parts
        )
        found = await self._one(sql.SQL("select {} as n").format(total), values)
        beyond = sql.SQL("")
        if after is not None:
            beyond = sql.SQL(" and ({place}, flow_id) > (%(key)s, %(last)s)")
            values = {**values, "key": after.key, "last": after.id}
        page = sql.SQL(
            "(select {columns}, {place} as place from {rows} where {where}{beyond}"
            " order by {place}, flow_id limit %(limit)s)"
        )
        # each part by its own index
        pages = sql.SQL(" union all ").join(
            page.format(
                columns=columns, place=part.place, rows=part.rows, where=where, beyond=beyond.format(place=part.place)
            )
            for part in parts
        )
        statement = sql.SQL("select * from ({}) found order by place, flow_id limit %(limit)s").format(pages)
        return await self._all(statement, values), int(found["n"]) if found else 0

    async def asked(self, statement: sql.SQL | sql.Composed, values: Row, *, prepare: bool | None = None) -> list[Row]:
        """The answer to a statement that names the tenant by %(client)s and %(engagement)s. With `prepare=False` its plan is
        made anew, for these values."""
        return await self._all(statement, values, prepare=prepare)

    async def below(self, flow_id: UUID) -> list[Row]:
        """The rows of the flows under a flow, level by level, each level in the order of their making: 5,001 at most."""
        return await self._all(BELOW, {"flow_id": flow_id, "limit": MAX_BELOW + 1, "levels": MAX_LEVELS})

    async def found(
        self, kind: str, flow_id: UUID, wanted: FoundFilter, limit: int, after: Cursor | None
    ) -> tuple[list[Row], int]:
        """One page of a flow's `assets`, `dependencies`, `issues`, `reviews` or `changes`, and how many match in all. A
        row is `{n, id, document}`, the document as JSON text. One row more than `limit` says that there is another page."""
        where, values = _found_conditions(flow_id, wanted)
        values["limit"] = limit + 1
        table = sql.Identifier(kind)
        total = await self._one(sql.SQL("select count(*) as n from {} where {}").format(table, where), values)
        page: sql.Composable = where
        if after is not None:
            page = sql.SQL("{} and (n, id) > (%(key)s, %(last)s)").format(where)
            values = {**values, "key": after.key, "last": after.id}
        rows = await self._all(
            sql.SQL("select n, id, document::text as document from {} where {} order by n, id limit %(limit)s").format(
                table, page
            ),
            values,
        )
        return rows, int(total["n"]) if total else 0

    async def every(self, kind: str, flow_id: UUID, wanted: FoundFilter) -> AsyncGenerator[str, None]:
        """The documents, as JSON text, of all rows that `found` would page through, as of one moment."""
        where, values = _found_conditions(flow_id, wanted)
        statement = sql.SQL("select document::text from {} where {} order by n, id").format(sql.Identifier(kind), where)
        async with (
            self._side.pool.connection() as connection,
            connection.transaction(),
            connection.cursor(name="every") as cursor,
        ):
            cursor.itersize = STREAM_ROWS
            await cursor.execute(statement, {**values, **self._who})
            async for (document,) in cursor:
                yield document

    async def projected(self, name: str) -> int:
        """The position of the log that a projection has reached; 0 when there is no such projection."""
        found = await self._one(sql.SQL("select position from projections where name = %(name)s"), {"name": name})
        return int(found["position"]) if found else 0

    async def projections(self) -> list[Row]:
        """How far every projection is; `parked_flows` lists the tenant's own flows that it had to set aside."""
        rows = [standing(row) for row in await self._all(sql.SQL(STANDINGS), {})]
        parked = await self._all(
            sql.SQL(
                "select f.projection, f.flow_id, f.version, f.error, f.since from parked_flows f join heads h on h.id = f.flow_id"
                " where h.client_account_id = %(client)s and h.engagement_id = %(engagement)s order by f.since limit 1000"
            ),
            {},
        )
        for each in rows:
            mine = [row for row in parked if row["projection"] == each["name"]]
            each["parked_flows"] = [{name: row[name] for name in row if name != "projection"} for row in mine]
        return rows

    async def _one(
        self, statement: sql.SQL | sql.Composed, values: Mapping[str, Any], *, prepare: bool | None = None
    ) -> Row | None:
        rows = await self._all(statement, values, prepare=prepare)
        return rows[0] if rows else None

    async def _all(
        self, statement: sql.SQL | sql.Composed, values: Mapping[str, Any], *, prepare: bool | None = None
    ) -> list[Row]:
        async with self._side.pool.connection() as connection, connection.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(statement, {**values, **self._who}, prepare=prepare)
            return [in_utc(found) for found in await cursor.fetchall()]


OF_TENANT = sql.SQL("client_account_id = %(client)s and engagement_id = %(engagement)s")

# put together once: this is the statement that is run most
ONE_FLOW = sql.SQL("select {} from {} where flow_id = %(flow_id)s and {}").format(
    sql.SQL(", ").join(sql.Identifier(name) for name in (*COLUMNS, "log_position")), sql.Identifier(FLOWS), OF_TENANT
)
ONE_FLOW_TEXT = sql.SQL(ONE_FLOW.as_string(None))


# the table behind the view has an index by parent
BELOW = sql.SQL(
    """
    with recursive below (id, depth) as (
        select %(flow_id)s::uuid, 0
        union all
        select f.flow_id, b.depth + 1 from below b join {flows} f on f.parent_flow_id = b.id
        where b.depth + 1 < %(levels)s and {mine}
    )
    select {columns} from below b join {flows} f on f.flow_id = b.id
    where b.depth > 0 order by b.depth, f.created_at, f.flow_id limit %(limit)s
    """
).format(
    flows=sql.Identifier(FLOWS), mine=OF_TENANT, columns=sql.SQL(", ").join(sql.Identifier("f", name) for name in NODE)
)


def _found_conditions(flow_id: UUID, wanted: FoundFilter) -> tuple[sql.Composable, Row]:
    conditions: list[sql.Composable] = [sql.SQL("flow_id = %(flow_id)s"), OF_TENANT]
    values: Row = {"flow_id": flow_id}
    for column, texts in wanted.columns.items():
        conditions.append(sql.SQL("{} = any({})").format(sql.Identifier(column), sql.Placeholder(column)))
        values[column] = list(texts)
    if wanted.noise is not None:
        conditions.append(sql.SQL("coalesce((document ->> 'noise')::boolean, false) = %(noise)s"))
        values["noise"] = wanted.noise
    if wanted.name is not None:
        conditions.append(sql.SQL("name ilike %(like)s"))
        values["like"] = f"%{_literally(wanted.name)}%"
    return sql.SQL(" and ").join(conditions), values


def _literally(text: str) -> str:
    """The text as a LIKE pattern that means just itself."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def raw(text: str) -> msgspec.Raw:
    """JSON text to stand in an answer as it is."""
    return msgspec.Raw(text.encode())
