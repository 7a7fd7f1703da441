"""How far each read model is, asked of the database itself, so that it can be told while no service runs."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.rows import dict_row

from domain.errors import SchemaBehind, StoreUnavailable
from eventstore.config import DEFAULT_SHARD
from eventstore.database import conninfo
from eventstore.readmodels import STANDINGS, standing


def standings(database_url: str, shard: str = DEFAULT_SHARD) -> list[dict[str, Any]]:
    """What `eventstore.readmodels.standing` says of each read model.

    Raises StoreUnavailable, and SchemaBehind where the tables are missing.
    """
    try:
        with psycopg.connect(conninfo(database_url, shard), row_factory=dict_row) as connection:
            return [standing(row) for row in connection.execute(STANDINGS).fetchall()]
    except psycopg.OperationalError as error:
        raise StoreUnavailable(f"PostgreSQL cannot be reached: {error}".strip()) from None
    except psycopg.errors.UndefinedTable:
        raise SchemaBehind from None
