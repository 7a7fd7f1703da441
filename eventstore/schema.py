"""Which schema this program was written for, and connections to a store that has it.

Tables are changed in place. A program that writes to tables that a newer one has changed would write what that cannot read, so
it does not start on them; and read models, which it would set aside flow by flow, it writes no longer once it finds them changed.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import psycopg
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from domain.errors import SchemaAhead, SchemaBehind, StoreUnavailable
from eventstore.config import ServiceConfig
from eventstore.database import Connection, pool

OPEN_SECONDS = 15.0
FOUND = "select version_num from schema_version"


@cache
def newest() -> str:
    """The revision that this program needs."""
    versions = files("eventstore") / "migrations" / "versions"
    return max(file.name.partition("_")[0] for file in versions.iterdir() if file.name[0].isdigit())


def not_ahead(found: str | None) -> str | None:
    """The revision that was found; raises SchemaAhead for one that this program does not know."""
    if found is not None and found > newest():
        raise SchemaAhead(
            f"the schema is at {found}, this program knows it up to {newest()}; run the newer one that has changed it,"
            " or put back a backup from before"
        )
    return found


def must_fit(found: str | None) -> str:
    """The revision that was found; raises SchemaBehind and SchemaAhead for another one than this program needs."""
    not_ahead(found)
    if found is None or found < newest():
        raise SchemaBehind(f"the schema is at {found or 'nothing'}, this version needs {newest()}; run: mfo migrate")
    return found


async def opened(config: ServiceConfig, *, size: int, name: str) -> AsyncConnectionPool[Connection]:
    """Connections to a store that this program fits; raises StoreUnavailable, SchemaBehind, SchemaAhead."""
    connections = pool(config.database_url, config.shard, size=size, name=name)
    try:
        await connections.open(wait=True, timeout=OPEN_SECONDS)
        must_fit(await _found(connections))
    except (psycopg.Error, PoolTimeout) as error:
        await connections.close()
        raise StoreUnavailable("PostgreSQL cannot be reached; check MFO_DATABASE_URL") from error
    except BaseException:
        await connections.close()
        raise
    return connections


async def _found(connections: AsyncConnectionPool[Connection]) -> str | None:
    async with connections.connection() as connection:
        try:
            row = await (await connection.execute(FOUND)).fetchone()
        except psycopg.errors.UndefinedTable:
            return None
    return str(row[0]) if row is not None else None
