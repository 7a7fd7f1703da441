"""How far each read model is, asked of the database itself, so that it can be told while no service runs."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.rows import dict_row

from domain.errors import SchemaBehind, StoreUnavailable
from eventstore.database import DEFAULT_SHARD, conninfo

STANDINGS = """
select p.name, p.version, case when r.ended_at is null and r.projection is not null then 'rebuilding' else p.state end as state,
       p.position, greatest(0, e.ended - p.position) as lag, p.parked, p.rate, p.updated_at,
       case when r.projection is not null then json_build_object(
           'state', r.state, 'version', r.version, 'flows_total', r.flows_total, 'flows_done', r.flows_done,
           'events_done', r.events_done, 'eta_seconds', r.eta_seconds, 'started_at', r.started_at,
           'updated_at', r.updated_at, 'ended_at', r.ended_at) end as rebuild
from (select coalesce(max(notification_id), 0) as ended from stored_events) e, projections p
left join projection_rebuilds r on r.projection = p.name
order by p.name
"""


def standings(database_url: str, shard: str = DEFAULT_SHARD) -> list[dict[str, Any]]:
    """`{name, version, state, position, lag, parked, rate, updated_at, rebuild}` of each read model; `lag` is a number of
    events, `rate` events a second, `rebuild` the last rebuild or none.

    Raises StoreUnavailable, and SchemaBehind where the tables are missing.
    """
    try:
        with psycopg.connect(conninfo(database_url, shard), row_factory=dict_row) as connection:
            return connection.execute(STANDINGS).fetchall()
    except psycopg.OperationalError as error:
        raise StoreUnavailable(f"PostgreSQL cannot be reached: {error}".strip()) from None
    except psycopg.errors.UndefinedTable:
        raise SchemaBehind from None
