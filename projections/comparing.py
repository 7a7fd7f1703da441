"""Two editions of the same tables held against each other, flow by flow, and what differs by row and column."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable
from uuid import UUID

from psycopg import sql

from eventstore.database import Connection
from projections.histories import Some, Which

Json = dict[str, Any]

# rows of a flow in any order; the text of a row holds every column
DIFFERING = """
with a as (select flow_id, md5(string_agg(md5(t::text), '' order by md5(t::text))) as sum from {a} t where {which} group by 1),
     b as (select flow_id, md5(string_agg(md5(t::text), '' order by md5(t::text))) as sum from {b} t where {which} group by 1)
select flow_id from a full join b using (flow_id) where a.sum is distinct from b.sum
"""
COUNT = "select count(*) from {table} t where {which}"
ROWS = "select t.flow_id, to_jsonb(t) from {table} t where {which}"
KEY = """
select a.attname from pg_index x join pg_attribute a on a.attrelid = x.indrelid and a.attnum = any(x.indkey)
where x.indrelid = to_regclass(%s) and x.indisprimary order by a.attnum
"""


# what is kept beside what the rows of the flows add up to, key by key
SUMS = """
select to_jsonb(w), to_jsonb(t) from ({wanted}) w full join ({kept}) t on {keys} where to_jsonb(w) is distinct from to_jsonb(t)
"""


@runtime_checkable
class Summing(Protocol):
    """A projection with a table of sums: `summed` is the query of what that must hold, of the rows of the other tables, `kept`
    that of what it does hold, and `keys` are the columns that tell one sum from another."""

    sums: Sequence[str]
    summed: str
    kept: str
    keys: Sequence[str]


class Difference(NamedTuple):
    """A row that is not what it should be: in which table, whose (none: a sum of many), which one by its key, and how."""

    table: str
    flow_id: UUID | None
    key: Json
    what: str  # `differs`, `missing` or `surplus`
    columns: list[str]

    def as_dict(self) -> Json:
        """As it is shown."""
        return {**self._asdict(), "flow_id": str(self.flow_id) if self.flow_id is not None else None}


class Editions(NamedTuple):
    """The tables as they should be and as they are: the names of two schemas."""

    wanted: str
    found: str
    tables: Sequence[str]


async def differing(connection: Connection, editions: Editions, which: Which) -> set[UUID]:
    """The flows of whose rows the two editions say different things."""
    condition, values = which.holds("flow_id")
    flows: set[UUID] = set()
    for table in editions.tables:
        statement = sql.SQL(DIFFERING).format(
            a=sql.Identifier(editions.wanted, table), b=sql.Identifier(editions.found, table), which=condition
        )
        flows |= {row[0] for row in await (await connection.execute(statement, values)).fetchall()}
    return flows


async def counted(connection: Connection, editions: Editions, which: Which) -> int:
    """How many rows the edition that is to be had holds of these flows."""
    condition, values = which.holds("flow_id")
    rows = 0
    for table in editions.tables:
        statement = sql.SQL(COUNT).format(table=sql.Identifier(editions.wanted, table), which=condition)
        row = await (await connection.execute(statement, values)).fetchone()
        rows += int(row[0]) if row else 0
    return rows


async def differences(connection: Connection, editions: Editions, flow_ids: Sequence[UUID]) -> list[Difference]:
    """What differs of these flows, row by row; rows are matched by primary key or, without one, as they are."""
    found: list[Difference] = []
    condition, values = Some(flow_ids).holds("flow_id")
    for table in editions.tables:
        key = [
            row[0]
            for row in await (
                await connection.execute(KEY, (sql.Identifier(editions.found, table).as_string(connection),))
            ).fetchall()
        ]
        sides = []
        for schema in (editions.wanted, editions.found):
            statement = sql.SQL(ROWS).format(table=sql.Identifier(schema, table), which=condition)
            rows = await (await connection.execute(statement, values)).fetchall()
            sides.append({_key(row, key): (flow_id, row) for flow_id, row in rows})
        wanted, there = sides
        for name in sorted(wanted.keys() | there.keys()):
            flow_id, row = wanted.get(name) or there[name]
            shown = {column: row[column] for column in key} if key else {}
            if name not in there:
                found.append(Difference(table, flow_id, shown, "missing", []))
            elif name not in wanted:
                found.append(Difference(table, flow_id, shown, "surplus", []))
            else:
                other = there[name][1]
                columns = [column for column in row if row[column] != other.get(column)]
                if columns:
                    found.append(Difference(table, flow_id, shown, "differs", columns))
    return found


async def sum_differences(connection: Connection, schema: str, projection: Summing) -> list[Difference]:
    """The sums that are not what the rows of the flows add up to, as both are at one moment."""
    found: list[Difference] = []
    for table in projection.sums:
        statement = sql.SQL(SUMS).format(
            wanted=sql.SQL(projection.summed),
            kept=sql.SQL(projection.kept),
            keys=sql.SQL(" and ").join(
                sql.SQL("w.{0} = t.{0}").format(sql.Identifier(name)) for name in projection.keys
            ),
        )
        async with connection.transaction():
            # tables of comparing lie in pg_temp, which would come first
            await connection.execute(sql.SQL("set local search_path to {}, pg_temp").format(sql.Identifier(schema)))
            rows = await (await connection.execute(statement)).fetchall()
        for wanted, kept in rows:
            row = wanted or kept
            what = "missing" if kept is None else "surplus" if wanted is None else "differs"
            columns = [name for name in row if wanted[name] != kept[name]] if what == "differs" else []
            found.append(Difference(table, None, {name: row[name] for name in projection.keys}, what, columns))
    return found


def _key(row: Json, key: Sequence[str]) -> str:
    """What two rows must have in common to be the same one."""
    return repr([row[column] for column in key] if key else sorted(row.items(), key=lambda item: item[0]))
