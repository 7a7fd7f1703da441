"""The list of flows: which there are that somebody asks for, a page at a time, and how many in all.

How many there are of each type and status is kept beside their rows, so that what asks for no more is not counted at all. What
else is asked for is counted to 10,000 by an index that has all of it where there is one, and estimated beyond.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from psycopg import sql

from api.cursors import Cursor
from api.rows import FLOW_INTERVALS, FLOWS, OF_TENANT, Row, Rows
from domain.words import ENDED

# what lies beside the rows of flows, with the tenant, type, status and time of making of each
TAGGED, WORDED = sql.Identifier("flow_tags"), sql.Identifier("flow_words")
SUMMARY = (
    *("flow_id", "flow_type", "flow_version", "flow_name", "flow_description", "flow_tags", "flow_status"),
    *("current_phase", "phases_completed", "progress_percentage", "next_action", "draining", "parent_flow_id"),
    *("iteration_number", "created_at", "updated_at", "created_by", "updated_by", "version"),
)
MOST_COUNTED = 10_000
FEW = 2000
TSQUERY = sql.SQL(
    r"""
    select string_agg('''' || replace(replace(lexeme, '\', '\\'), '''', '''''') || ''':*', ' & ') as words
    from unnest(to_tsvector('simple', %(text)s))
    """
)
SORTS = {"created_at": "created_at", "updated_at": "updated_at", "flow_name": "flow_name", "status": "flow_status"}
# The total and the page in one view of the store. To go through all in their order until the page is full is the shorter way
# where enough of them are wanted; else the few are looked for and put in order. Which it is follows from the totals.
OF_KINDS = sql.SQL(
    """
    with kept as materialized (
        select coalesce(sum(n) filter (where {where}), 0)::bigint as total, coalesce(sum(n), 0)::bigint as every
        from flow_totals where client_account_id = %(client)s and engagement_id = %(engagement)s
    ),
    page as (
        (select flow_id from {flows} where {page} and (select total * total >= every * %(limit)s from kept)
         order by {column} {way}, flow_id {way} limit %(limit)s)
        union all
        (select flow_id from (select flow_id, {column} from {flows} where {page} offset 0) few
         where (select total > 0 and total * total < every * %(limit)s from kept) order by {column} {way}, flow_id {way} limit %(limit)s)
    )
    select kept.total, {columns} from kept left join {flows} f on f.flow_id = any(array(select flow_id from page))
    order by f.{column} {way}, f.flow_id {way}
    """
)


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

    @property
    def by_kind_alone(self) -> bool:
        """Whether it goes by types and statuses, and nothing else."""
        others = (self.created_after, self.created_before, self.parent_flow_id, self.tag, self.search)
        return all(other is None for other in others)


class FlowPage(NamedTuple):
    """Rows of a list, and how many there are in all; above 10,000 it may be an estimate."""

    rows: list[Row]
    total: int
    is_estimate: bool


class Counted(NamedTuple):
    """How many flows there are, whether that is an estimate, and ids among which the page lies, where these are few."""

    total: int
    is_estimate: bool
    few: list[UUID] | None


class Counts:
    """The counts under way in a process: whoever asks the same meanwhile gets the same answer."""

    def __init__(self) -> None:
        self._under_way: dict[str, asyncio.Task[Counted]] = {}

    async def once(self, question: str, count: Callable[[], Coroutine[Any, Any, Counted]]) -> Counted:
        """The answer to the question; a caller that goes away takes it from nobody else."""
        task = self._under_way.get(question)
        if task is None:
            task = self._under_way[question] = asyncio.create_task(count())
            task.add_done_callback(lambda _: self._under_way.pop(question))
        return await asyncio.shield(task)


class Order(NamedTuple):
    """By what a page is ordered, and after which row it begins."""

    column: sql.Identifier
    way: sql.SQL
    by_making: bool
    after: sql.Composable | None

    @classmethod
    def of(cls, sort: str, after: Cursor | None) -> Order:
        """The order of a name of SORTS, `-` before it: descending."""
        column = sql.Identifier(SORTS[sort.removeprefix("-")])
        down = sort.startswith("-")
        beyond = sql.SQL("({}, flow_id) {} (%(key)s, %(last)s)").format(column, sql.SQL("<" if down else ">"))
        return cls(
            column,
            sql.SQL("desc" if down else "asc"),
            sort.endswith("created_at"),
            None if after is None else beyond,
        )


class Lists:
    """The tenant's flows as lists show them."""

    def __init__(self, rows: Rows, counts: Counts) -> None:
        self._rows = rows
        self._counts = counts

    async def flows(
        self, wanted: FlowFilter, sort: str, limit: int, after: Cursor | None, *, shared: bool = False
    ) -> FlowPage:
        """One page of the flows in the order of `sort` (a name of SORTS, `-` before it: descending), and how many there are in
        all. One row more than `limit` says that there is another page. `shared`: a count will do that somebody else has asked
        for, and that began a moment ago.

        Where not the totals say which way is the shorter, the plan is made anew each time: what is rare and what is common are
        found in different ways.
        """
        wanted = await self._read(wanted)
        order, flows = Order.of(sort, after), sql.Identifier(FLOWS)
        where, values = _conditions(wanted, after, limit)
        beside = _beside(wanted)
        if beside is None and wanted.by_kind_alone:
            return await self._of_kinds(order, where, values)
        known, which = (beside, _conditions(wanted, after, limit, beside)[0]) if beside else (flows, where)

        async def count() -> Counted:
            return await self._counted(known, order, which, values)

        question = repr((self._rows.tenant, wanted, sort, limit, after))
        counted = await (self._counts.once(question, count) if shared else count())
        found, page = (known, which) if order.by_making else (flows, where)
        return await self._page(found, order, page, values, counted)

    async def flows_then(
        self, wanted: FlowFilter, at: datetime, sort: str, limit: int, after: Cursor | None
    ) -> FlowPage:
        """As `flows`, as of a time; `version`, `updated_at` and `updated_by` are those of the last change that a list shows,
        `next_action` is none."""
        wanted = await self._read(wanted)
        passing = bool(wanted.statuses) and not ENDED.intersection(wanted.statuses or ())
        flows, order = PASSING_THEN if passing else FLOWS_THEN, Order.of(sort, after)
        where, values = _conditions(wanted, after, limit)
        values["at"] = at
        counted = await self._counted(flows, order, where, values)
        return await self._page(flows, order, where, values, counted, then=True)

    async def _read(self, wanted: FlowFilter) -> FlowFilter:
        """With the search as a tsquery: every word begins a word of the name, the description or a tag; empty without one."""
        if wanted.search is None:
            return wanted
        found = await self._rows.asked(TSQUERY, {"text": wanted.search})
        return replace(wanted, search=str(found[0]["words"] or ""))

    async def _of_kinds(self, order: Order, where: sql.Composable, values: Row) -> FlowPage:
        """The page of flows of these types and statuses, of which it is kept how many there are."""
        page = where if order.after is None else sql.SQL("{} and {}").format(where, order.after)
        columns = sql.SQL(", ").join(sql.Identifier("f", name) for name in SUMMARY)
        statement = OF_KINDS.format(
            flows=sql.Identifier(FLOWS), where=where, page=page, column=order.column, way=order.way, columns=columns
        )
        found = await self._rows.asked(statement, values)
        total = max(row.pop("total") for row in found)
        return FlowPage([row for row in found if row["flow_id"] is not None], total, is_estimate=False)

    async def _counted(self, flows: sql.Composable, order: Order, where: sql.Composable, values: Row) -> Counted:
        """How many flows there are, counted up to 10,000 and estimated beyond."""
        ids, few = sql.SQL("flow_id"), sql.SQL("case when count(*) <= {} then array_agg(flow_id) end").format(FEW)
        if flows is WORDED and order.by_making:
            # to walk from the newest on until the words are found costs as much once more
            ids = sql.SQL("flow_id, created_at")
            few = sql.SQL(
                "case when count(*) <= {most} then coalesce((array_agg(flow_id order by created_at {way}, flow_id {way})"
                " filter (where {after}))[1:%(limit)s], '{{}}') end"
            ).format(most=MOST_COUNTED, way=order.way, after=order.after or sql.SQL("true"))
        counting = sql.SQL("select count(*) as n, {} as few from (select {} from {} where {} limit {}) counted").format(
            few, ids, flows, where, MOST_COUNTED + 1
        )
        [found] = await self._rows.asked(counting, values, prepare=False)
        if found["n"] <= MOST_COUNTED:
            return Counted(found["n"], False, found["few"])
        planning = sql.SQL("explain (format json) select 1 from {} where {}").format(flows, where)
        total = 0
        # PostgreSQL knows how common a word is, but not how common a beginning
        for given in (values, {**values, "search": values.get("search", "").replace(":*", "")}):
            [planned] = await self._rows.asked(planning, given, prepare=False)
            total = max(int(planned["QUERY PLAN"][0]["Plan"]["Plan Rows"]), total)
        return Counted(total, True, None)

    async def _page(
        self,
        found: sql.Composable,
        order: Order,
        page: sql.Composable,
        values: Row,
        counted: Counted,
        *,
        then: bool = False,
    ) -> FlowPage:
        """The page of what was counted: first which, by an index alone where one has it all, then the rows of those."""
        if counted.total == 0:
            return FlowPage([], 0, is_estimate=False)
        if counted.few is not None:
            # the planner takes few for many, and walks the whole tenant in order; they are found already
            page = sql.SQL("{} and flow_id = any(%(few)s)").format(page)
            values = {**values, "few": counted.few}
        if order.after is not None:
            page = sql.SQL("{} and {}").format(page, order.after)
        listing = sql.SQL("select {} from {} where {} order by {column} {way}, flow_id {way}{limit}")
        parts = {"column": order.column, "way": order.way}
        shown, up_to = sql.SQL(", ").join(map(sql.Identifier, SUMMARY)), sql.SQL(" limit %(limit)s")
        if not then:
            ids = listing.format(sql.SQL("flow_id"), found, page, limit=up_to, **parts)
            found, page, up_to = sql.Identifier(FLOWS), sql.SQL("flow_id = any(array({}))").format(ids), sql.SQL("")
        statement = listing.format(shown, found, page, limit=up_to, **parts)
        rows = await self._rows.asked(statement, values, prepare=False)
        return FlowPage(rows, counted.total, counted.is_estimate)


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
      and i.stay_from <= %(at)s and i.stay_to > %(at)s
    ) as flows_then"""
)
# by the index of what passes, which holds little at any time; `offset 0` keeps the planner from going through the past instead
PASSING = sql.SQL(
    """(
    select * from {intervals}
    where flow_status not in ('completed', 'failed', 'cancelled', 'deleted')
      and tstzrange(stay_from, stay_to) @> %(at)s::timestamptz offset 0
    )"""
).format(intervals=sql.Identifier(FLOW_INTERVALS))
PASSING_THEN = THEN.format(intervals=PASSING, flows=sql.Identifier(FLOWS))
FLOWS_THEN = THEN.format(intervals=sql.Identifier(FLOW_INTERVALS), flows=sql.Identifier(FLOWS))


def _beside(wanted: FlowFilter) -> sql.Identifier | None:
    """The table beside the rows of flows whose index has all that is asked for; none where only the rows have."""
    if wanted.parent_flow_id is not None or (wanted.tag is None) is (wanted.search is None):
        return None
    return TAGGED if wanted.search is None else WORDED


def _conditions(
    wanted: FlowFilter, after: Cursor | None, limit: int, beside: sql.Identifier | None = None
) -> tuple[sql.Composable, Row]:
    """What the rows of flows must fulfil, or those of what lies beside them; and the values of a page."""
    conditions: list[sql.Composable] = [OF_TENANT]
    values: Row = {"limit": limit + 1}
    if after is not None:
        values |= {"key": after.key, "last": after.id}

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
        add(sql.SQL("tag = %(tag)s") if beside is TAGGED else sql.SQL("flow_tags ? %(tag)s"), "tag", wanted.tag)
    if wanted.search:
        words = sql.Identifier("words" if beside is WORDED else "search_words")
        add(sql.SQL("{} @@ %(search)s::tsquery").format(words), "search", wanted.search)
    elif wanted.search is not None:
        conditions.append(sql.SQL("false"))
    return sql.SQL(" and ").join(conditions), values
