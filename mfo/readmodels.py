"""How far each read model is, asked of the database itself, so that it can be told while no service runs."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.rows import dict_row

from domain.errors import SchemaBehind, StoreUnavailable
from eventstore.config import DEFAULT_SHARD
from eventstore.database import conninfo

STANDINGS = """
select p.name, p.version, p.state, p.position, greatest(0, e.ended - p.position) as lag, p.parked, p.updated_at
from projections p, (select coalesce(max(notification_id), 0) as ended from stored_events) e
order by p.name
"""


def standings(database_url: str, shard: str = DEFAULT_SHARD) -> list[dict[str, Any]]:
    """`{name, version, state, position, lag, parked, updated_at}` of each read model; `lag` is a number of events.

    Raises StoreUnavailable, and SchemaBehind where the tables are missing.
    """
    try:
        with psycopg.connect(conninfo(database_url, shard), row_factory=dict_row) as connection:
            return connection.execute(STANDINGS).fetchall()
    except psycopg.OperationalError as error:
        raise StoreUnavailable(f"PostgreSQL cannot be reached: {error}".strip()) from None
    except psycopg.errors.UndefinedTable:
        raise SchemaBehind from None
