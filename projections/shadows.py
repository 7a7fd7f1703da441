"""The tables of a read model a second time, in a schema of their own: made, compared with those that serve, put in their place.

Nothing but the search path tells a shadow from what serves: a projection names its tables without a schema, and so do
`parked_flows` and `projections`, of which the shadow has its own. Names of tables, indexes and constraints stay as they are,
views keep their identity with the rights on them, and prepared statements of running services find the new tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg
from psycopg import sql

from domain.errors import RebuildImpossible
from eventstore.database import Connection
from projections.projection import Projection

Json = dict[str, Any]

BOOKS = ("projections", "parked_flows")
TABLES_THERE = (
    "select relname from pg_class where relnamespace = to_regnamespace(%s) and relkind = 'r' and relname = any(%s)"
)
INDEXES = """
select c.relname, i.relname, pg_get_indexdef(x.indexrelid), k.conname is not null,
       k.contype, pg_get_constraintdef(k.oid), x.indkey[0] = f.attnum
from pg_index x join pg_class c on c.oid = x.indrelid join pg_class i on i.oid = x.indexrelid
left join pg_constraint k on k.conindid = x.indexrelid and k.contype in ('p', 'u', 'x')
left join pg_attribute f on f.attrelid = c.oid and f.attname = 'flow_id'
where c.relnamespace = to_regnamespace(%s) and c.relname = any(%s)
order by k.contype, i.relname
"""
OPTIONS = "select relname, reloptions from pg_class where relnamespace = to_regnamespace(%s) and relname = any(%s)"
RIGHTS = """
select c.relname, a.grantee::regrole::text, a.privilege_type
from pg_class c, aclexplode(c.relacl) a
where c.relnamespace = to_regnamespace(%s) and c.relname = any(%s) and a.grantee <> c.relowner and a.grantee <> 0
"""
# the views on these tables, as text that names what the search path finds
VIEWS = """
select distinct n.nspname = %s as ours, v.relname, pg_get_viewdef(v.oid)
from pg_depend d join pg_rewrite r on r.oid = d.objid join pg_class v on v.oid = r.ev_class
join pg_namespace n on n.oid = v.relnamespace join pg_class t on t.oid = d.refobjid
where d.classid = 'pg_rewrite'::regclass and d.refclassid = 'pg_class'::regclass and v.relkind = 'v'
  and t.relnamespace = to_regnamespace(%s) and t.relname = any(%s)
order by v.relname
"""
SERVES = """
insert into {shard}.projections (name, version, state, position, tables, updated_at)
values (%(name)s, %(version)s, 'waiting', %(position)s, %(tables)s, mfo_now())
on conflict (name) do update set version = excluded.version, tables = excluded.tables,
    position = greatest(projections.position, excluded.position),
    parked = (select count(*) from {shard}.parked_flows where projection = %(name)s)
"""
READER = "select 1 from pg_roles where rolname = 'mfo_reader'"


def shadow_of(shard: str, name: str) -> str:
    """The schema in which a read model of the shard is made anew."""
    return f"{shard}_shadow_{name}"


def former_of(shard: str, name: str) -> str:
    """The schema that holds what served before."""
    return f"{shard}_former_{name}"


async def ensure(connection: Connection, projection: Projection) -> None:
    """Make the tables of a projection that brings its own, where they are missing; those who may read may read them."""
    if not projection.ddl:
        return
    async with connection.transaction():
        await connection.execute("select pg_advisory_xact_lock(6, hashtext(%s))", (projection.name,))
        row = await (await connection.execute("select current_schema()")).fetchone()
        assert row is not None
        if await there(connection, str(row[0]), projection.tables):
            return
        await connection.execute(projection.ddl.encode())
        await _readable(connection, projection.tables)


async def there(connection: Connection, schema: str, tables: Sequence[str]) -> set[str]:
    """Those of the tables that lie in the schema."""
    cursor = await connection.execute(TABLES_THERE, (schema, list(tables)))
    return {row[0] for row in await cursor.fetchall()}


async def exists(connection: Connection, schema: str) -> bool:
    """Whether there is such a schema."""
    row = await (await connection.execute("select to_regnamespace(%s) is not null", (schema,))).fetchone()
    return row is not None and bool(row[0])


async def make(connection: Connection, shard: str, projection: Projection, *, alike: bool) -> None:
    """The shadow's schema with its empty tables and books; `alike`: shaped as those that serve. Part of the caller's
    transaction, at the end of which its search path is the shard alone. Raises RebuildImpossible."""
    schema = shadow_of(shard, projection.name)
    await connection.execute(sql.SQL("drop schema if exists {} cascade").format(sql.Identifier(schema)))
    await connection.execute(sql.SQL("create schema {}").format(sql.Identifier(schema)))
    for book in BOOKS:
        await _like(connection, shard, schema, book, "including all")
    if alike:
        missing = set(projection.tables) - await there(connection, shard, projection.tables)
        if missing:
            raise RebuildImpossible(f"the tables {', '.join(sorted(missing))} are not there; run: mfo migrate")
        for table in projection.tables:
            await _like(connection, shard, schema, table, "including all excluding indexes")
        await _dressed(connection, shard, schema, projection.tables)
        await indexed(connection, shard, projection, schema, needed=True)
        return
    if not projection.ddl:
        raise RebuildImpossible(
            f"version {projection.version} of {projection.name} does not say how its tables are made; give it a `ddl`"
        )
    await connection.execute(sql.SQL("set local search_path to {}, {}").format(*map(sql.Identifier, (schema, shard))))
    await connection.execute(projection.ddl.encode())
    await connection.execute(sql.SQL("set local search_path to {}").format(sql.Identifier(shard)))


async def _like(connection: Connection, shard: str, schema: str, table: str, what: str) -> None:
    await connection.execute(
        sql.SQL("create table {}.{} (like {}.{} {})").format(
            *map(sql.Identifier, (schema, table, shard, table)), sql.SQL(what)
        )
    )


async def _dressed(connection: Connection, shard: str, schema: str, tables: Sequence[str]) -> None:
    """What `like` leaves out: storage parameters and rights."""
    for table, options in await (await connection.execute(OPTIONS, (shard, list(tables)))).fetchall():
        for name, _, value in (option.partition("=") for option in options or ()):
            await connection.execute(
                sql.SQL("alter table {}.{} set ({} = {})").format(
                    sql.Identifier(schema), sql.Identifier(table), sql.SQL(name), sql.Literal(value)
                )
            )
    for table, grantee, privilege in await (await connection.execute(RIGHTS, (shard, list(tables)))).fetchall():
        await connection.execute(
            sql.SQL("grant {} on {}.{} to {}").format(
                sql.SQL(privilege), sql.Identifier(schema), sql.Identifier(table), sql.SQL(grantee)
            )
        )


async def indexed(connection: Connection, shard: str, projection: Projection, schema: str, *, needed: bool) -> None:
    """Give the tables in a schema the indexes of those that serve, by the same names: those that filling needs, or the rest."""
    tables = list(projection.tables)
    known = {row[1] for row in await (await connection.execute(INDEXES, (schema, tables))).fetchall()}
    rows = await (await connection.execute(INDEXES, (shard, tables))).fetchall()
    for table, index, definition, constraint, _, constraint_text, by_flow in rows:
        if index in known or needed is not (constraint or by_flow):
            continue
        if constraint:
            statement = sql.SQL("alter table {}.{} add constraint {} {}").format(
                *map(sql.Identifier, (schema, table, index)), sql.SQL(constraint_text)
            )
        else:
            before, using, rest = definition.partition(" USING ")
            unique = "unique " if before.startswith("CREATE UNIQUE") else ""
            statement = sql.SQL("create {}index {} on {}.{}{}").format(
                sql.SQL(unique), *map(sql.Identifier, (index, schema, table)), sql.SQL(using + rest)
            )
        await connection.execute(statement)


async def swap(connection: Connection, shard: str, projection: Projection, position: int) -> None:
    """Put the shadow in the place of what serves, which is kept as the former; part of the caller's transaction.

    `position` is the place in the log up to which the shadow has everything. The caller holds the tables in exclusive mode.
    Raises RebuildImpossible where a view cannot become the new one.
    """
    name = projection.name
    schema, former = shadow_of(shard, name), former_of(shard, name)
    served = await serving(connection, shard, projection)
    await connection.execute(sql.SQL("set local search_path to {}").format(sql.Identifier(shard)))
    views = {row[1]: row[2] for row in await _views(connection, shard, shard, served)}
    await connection.execute(sql.SQL("set local search_path to {}, {}").format(*map(sql.Identifier, (schema, shard))))
    views |= {row[1]: row[2] for row in await _views(connection, schema, schema, projection.tables)}
    new_views = await _named(connection, schema, "v")
    await connection.execute(sql.SQL("set local search_path to {}").format(sql.Identifier(shard)))
    await connection.execute(sql.SQL("drop schema if exists {} cascade").format(sql.Identifier(former)))
    await connection.execute(sql.SQL("create schema {}").format(sql.Identifier(former)))
    for view in new_views:
        await connection.execute(sql.SQL("drop view {}.{} cascade").format(*map(sql.Identifier, (schema, view))))
    for table in served:
        await connection.execute(
            sql.SQL("alter table {}.{} set schema {}").format(*map(sql.Identifier, (shard, table, former)))
        )
    for table in projection.tables:
        await connection.execute(
            sql.SQL("alter table {}.{} set schema {}").format(*map(sql.Identifier, (schema, table, shard)))
        )
    known = await _named(connection, shard, "v")
    for view, text in views.items():
        await _viewed(connection, view, text, new=view not in known)
    await _books(connection, (shard, schema, former), projection, position)
    await connection.execute(sql.SQL("drop schema {} cascade").format(sql.Identifier(schema)))


async def serving(connection: Connection, shard: str, projection: Projection) -> list[str]:
    """The tables that serve now: as the last swap left them, else those of this version that are there."""
    row = await (
        await connection.execute(
            sql.SQL("select tables from {}.projections where name = %s").format(sql.Identifier(shard)),
            (projection.name,),
        )
    ).fetchone()
    wanted = [*(row[0] if row and row[0] else ()), *projection.tables]
    found = await there(connection, shard, wanted)
    return [table for table in dict.fromkeys(wanted) if table in found]


async def _views(connection: Connection, ours: str, schema: str, tables: Sequence[str]) -> list[tuple[Any, ...]]:
    rows = await (await connection.execute(VIEWS, (ours, schema, list(tables)))).fetchall()
    strangers = [row[1] for row in rows if not row[0]]
    if strangers:
        raise RebuildImpossible(
            f"the views {', '.join(strangers)} of another schema read the tables; drop them, and make them on the views of ours"
        )
    return rows


async def _named(connection: Connection, schema: str, kind: str) -> set[str]:
    cursor = await connection.execute(
        "select relname from pg_class where relnamespace = to_regnamespace(%s) and relkind = %s", (schema, kind)
    )
    return {row[0] for row in await cursor.fetchall()}


async def _viewed(connection: Connection, view: str, text: str, *, new: bool) -> None:
    try:
        await connection.execute(
            sql.SQL("create or replace view {} as {}").format(sql.Identifier(view), sql.SQL(text.rstrip("; \n")))
        )
    except (psycopg.errors.InvalidTableDefinition, psycopg.errors.UndefinedColumn) as error:
        raise RebuildImpossible(
            f"the view {view} cannot become the new one, it may only get further columns at its end; drop it first: {error}".strip()
        ) from error
    if new:
        await _readable(connection, [view])


async def _readable(connection: Connection, names: Sequence[str]) -> None:
    if await (await connection.execute(READER)).fetchone() is not None:
        for name in names:
            await connection.execute(sql.SQL("grant select on {} to mfo_reader").format(sql.Identifier(name)))


async def _books(connection: Connection, schemas: tuple[str, str, str], projection: Projection, position: int) -> None:
    """What was known of the old tables goes with them, what is known of the new ones takes its place."""
    shard, schema, former = schemas
    for book in BOOKS:
        await _like(connection, shard, former, book, "including all")
    parts = {
        "shard": sql.Identifier(shard),
        "schema": sql.Identifier(schema),
        "former": sql.Identifier(former),
    }
    values: Json = {
        "name": projection.name,
        "version": projection.version,
        "position": position,
        "tables": list(projection.tables),
    }
    for statement in (
        "insert into {former}.projections select * from {shard}.projections where name = %(name)s",
        "insert into {former}.parked_flows select * from {shard}.parked_flows where projection = %(name)s",
        "delete from {shard}.parked_flows where projection = %(name)s",
        "insert into {shard}.parked_flows select * from {schema}.parked_flows where projection = %(name)s",
        SERVES,
    ):
        await connection.execute(sql.SQL(statement).format(**parts), values)
