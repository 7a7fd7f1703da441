"""What a tenant may read: every query here names the tenant it was made for."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
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
from domain.words import Status
from eventstore.definitions import remember
from eventstore.readmodels import STANDINGS, standing
from eventstore.service import WriteSide

Row = dict[str, Any]

STREAM_ROWS = 2000
FLOWS = "crewai_flow_state_extensions"
FLOW_INTERVALS = "flow_intervals"
TAGGED = sql.Identifier("flow_tags")
SUMMARY = (
    *("flow_id", "flow_type", "flow_version", "flow_name", "flow_description", "flow_tags", "flow_status"),
    *("current_phase", "phases_completed", "progress_percentage", "next_action", "draining", "parent_flow_id"),
    *("iteration_number", "created_at", "updated_at", "created_by", "updated_by", "version"),
)
NODE = (
    *("flow_id", "parent_flow_id", "flow_name", "flow_type", "flow_status", "current_phase"),
    *("progress_percentage", "draining"),
)
MAX_BELOW = 5000
MOST_COUNTED = 10_000
FEW = 2000
TSQUERY = sql.SQL(
    r"""
    select string_agg('''' || replace(replace(lexeme, '\', '\\'), '''', '''''') || ''':*', ' & ') as words
    from unnest(to_tsvector('simple', %(text)s))
    """
)
SORTS = {"created_at": "created_at", "updated_at": "updated_at", "flow_name": "flow_name", "status": "flow_status"}


@dataclass(frozen=True, slots=True)
class FlowFilter:
    """Which flows a list shows; what is none does not narrow it."""

    flow_types: Sequence[str] | None = None
    statuses: Sequence[str] | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    parent_flow_id: UUID | None = None
    tag: str | None = None
    # words that begin words of the name, the description or the tags
    search: str | None = None


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


class FlowPage(NamedTuple):
    """Rows of a list, and how many there are in all: above 10,000 an estimate."""

    rows: list[Row]
    total: int
    is_estimate: bool


class Rows:
    """The rows of one tenant: its flows in history and in the read model, and what discovery found."""

    def __init__(self, side: WriteSide, tenant: Tenant) -> None:
        self._side = side
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

    async def flows(self, wanted: FlowFilter, sort: str, limit: int, after: Cursor | None) -> FlowPage:
        """One page of the tenant's flows in the order of `sort` (a name of SORTS, `-` before it: descending), and how many
        there are in all. One row more than `limit` says that there is another page.

        The plan is made anew each time: what is rare and what is common are found in different ways.
        """
        return await self._listed(sql.Identifier(FLOWS), wanted, sort, limit, after)

    async def _listed(
        self,
        flows: sql.Composable,
        wanted: FlowFilter,
        sort: str,
        limit: int,
        after: Cursor | None,
        *,
        at: datetime | None = None,
    ) -> FlowPage:
        if wanted.search is not None:
            wanted = replace(wanted, search=await self._words(wanted.search))
        where, values = _flow_conditions(wanted)
        values["at"] = at
        column = sql.Identifier(SORTS[sort.removeprefix("-")])
        order, beyond = (sql.SQL("desc"), sql.SQL("<")) if sort.startswith("-") else (sql.SQL("asc"), sql.SQL(">"))
        # what filters by a tag and by nothing that only the flows' own rows know is answered by the tags' index alone
        by_tag = at is None and wanted.tag is not None and wanted.parent_flow_id is None and wanted.search is None
        counted, which = (TAGGED, _flow_conditions(wanted, by_tag=True)[0]) if by_tag else (flows, where)
        total, is_estimate, few = await self._total(counted, which, values)
        if total == 0:
            return FlowPage([], 0, is_estimate=False)
        found, page = (counted, which) if sort.endswith("created_at") else (flows, where)
        if few is not None:
            # the planner takes few for many, and walks the whole tenant in order; they are found already
            page = sql.SQL("{} and flow_id = any(%(few)s)").format(page)
            values = {**values, "few": few}
        if after is not None:
            page = sql.SQL("{} and ({}, flow_id) {} (%(key)s, %(last)s)").format(page, column, beyond)
            values = {**values, "key": after.key, "last": after.id}
        listing = sql.SQL(
            "select {columns} from {flows} where {page} order by {column} {order}, flow_id {order}{limit}"
        )
        parts = {"column": column, "order": order}
        shown, up_to = sql.SQL(", ").join(map(sql.Identifier, SUMMARY)), sql.SQL(" limit %(limit)s")
        if at is None:
            # first which, by an index alone where one has it all, then the rows of those
            ids = listing.format(columns=sql.SQL("flow_id"), flows=found, page=page, limit=up_to, **parts)
            flows, page, up_to = sql.Identifier(FLOWS), sql.SQL("flow_id = any(array({}))").format(ids), sql.SQL("")
        statement = listing.format(columns=shown, flows=flows, page=page, limit=up_to, **parts)
        rows = await self._all(statement, {**values, "limit": limit + 1}, prepare=False)
        return FlowPage(rows, total, is_estimate)

    async def _words(self, text: str) -> str:
        """A search as a tsquery: every word begins a word of the name, the description or a tag; empty without a word."""
        found = await self._one(TSQUERY, {"text": text})
        return str(found["words"] or "") if found else ""

    async def _total(
        self, flows: sql.Composable, where: sql.Composable, values: Row
    ) -> tuple[int, bool, list[UUID] | None]:
        """How many flows there are, counted up to 10,000 and estimated beyond; whether it is an estimate; and which, where
        they are few."""
        counting = sql.SQL(
            "select count(*) as n, case when count(*) <= {} then array_agg(flow_id) end as few"
            " from (select flow_id from {} where {} limit {}) counted"
        ).format(FEW, flows, where, MOST_COUNTED + 1)
        found = await self._one(counting, values, prepare=False)
        assert found is not None
        total = int(found["n"])
        if total <= MOST_COUNTED:
            return total, False, found["few"]
        planning = sql.SQL("explain (format json) select 1 from {} where {}").format(flows, where)
        # PostgreSQL knows how common a word is, but not how common a beginning
        for given in (values, {**values, "search": values.get("search", "").replace(":*", "")}):
            planned = await self._one(planning, given, prepare=False)
            total = max(int(planned["QUERY PLAN"][0]["Plan"]["Plan Rows"]) if planned else 0, total)
        return total, True, None

    async def flows_then(
        self, wanted: FlowFilter, at: datetime, sort: str, limit: int, after: Cursor | None
    ) -> FlowPage:
        """As `flows`, as of a time; `version`, `updated_at` and `updated_by` are those of the last change that a list shows,
        `next_action` is none."""
        passing = bool(wanted.statuses) and not ENDED.intersection(wanted.statuses or ())
        return await self._listed(PASSING_THEN if passing else FLOWS_THEN, wanted, sort, limit, after, at=at)

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

    async def asked(self, statement: sql.SQL | sql.Composed, values: Row) -> list[Row]:
        """The answer to a statement that names the tenant by %(client)s and %(engagement)s."""
        return await self._all(statement, values)

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

ENDED = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED, Status.DELETED})
# a flow's name, words and family never change; the tenant stands in the inner conditions for the sake of the index
THEN = sql.SQL(
    """(
    select i.flow_id, i.client_account_id, i.engagement_id, i.flow_type, i.flow_version, f.flow_name, f.flow_description,
           f.flow_tags, i.flow_status, i.current_phase, i.phases_completed, i.progress_percentage, null as next_action,
           i.draining, f.parent_flow_id, i.iteration_number, i.created_at, i.valid_from as updated_at, f.created_by,
           i.updated_by, i.version, f.search_words
    from {intervals} i join {flows} f on f.flow_id = i.flow_id
    where i.client_account_id = %(client)s and i.engagement_id = %(engagement)s
      and i.created_at <= %(at)s and i.valid_from <= %(at)s and i.valid_to > %(at)s
    ) as flows_then"""
)
# by the index of what passes, which holds little at any time; `offset 0` keeps the planner from going through the past instead
PASSING = sql.SQL(
    """(
    select * from {intervals}
    where flow_status not in ('completed', 'failed', 'cancelled', 'deleted')
      and tstzrange(valid_from, valid_to) @> %(at)s::timestamptz offset 0
    )"""
).format(intervals=sql.Identifier(FLOW_INTERVALS))
PASSING_THEN = THEN.format(intervals=PASSING, flows=sql.Identifier(FLOWS))
FLOWS_THEN = THEN.format(intervals=sql.Identifier(FLOW_INTERVALS), flows=sql.Identifier(FLOWS))

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


def _flow_conditions(wanted: FlowFilter, *, by_tag: bool = False) -> tuple[sql.Composable, Row]:
    """What the rows of flows must fulfil; `by_tag`: those of TAGGED."""
    conditions: list[sql.Composable] = [OF_TENANT]
    values: Row = {}

    def add(condition: sql.Composable, name: str, value: Any) -> None:
        conditions.append(condition)
        values[name] = value

    def one_of(column: str, texts: Sequence[str]) -> None:
        # one value alone lets an index give the order, too
        several = sql.SQL("any({})") if len(texts) != 1 else sql.SQL("{}")
        name = sql.Identifier(column)
        add(
            sql.SQL("{} = {}").format(name, several.format(sql.Placeholder(column))),
            column,
            texts[0] if len(texts) == 1 else list(texts),
        )

    if wanted.statuses is None:
        conditions.append(sql.SQL("flow_status <> 'deleted'"))
    else:
        one_of("flow_status", wanted.statuses)
    if wanted.flow_types is not None:
        one_of("flow_type", wanted.flow_types)
    if wanted.created_after is not None:
        add(sql.SQL("created_at > %(after)s"), "after", wanted.created_after)
    if wanted.created_before is not None:
        add(sql.SQL("created_at < %(before)s"), "before", wanted.created_before)
    if wanted.parent_flow_id is not None:
        add(sql.SQL("parent_flow_id = %(parent)s"), "parent", wanted.parent_flow_id)
    if wanted.tag is not None:
        add(sql.SQL("tag = %(tag)s") if by_tag else sql.SQL("flow_tags ? %(tag)s"), "tag", wanted.tag)
    if wanted.search:
        add(sql.SQL("search_words @@ %(search)s::tsquery"), "search", wanted.search)
    elif wanted.search is not None:
        conditions.append(sql.SQL("false"))
    return sql.SQL(" and ").join(conditions), values


def _literally(text: str) -> str:
    """The text as a LIKE pattern that means just itself."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def raw(text: str) -> msgspec.Raw:
    """JSON text to stand in an answer as it is."""
    return msgspec.Raw(text.encode())
