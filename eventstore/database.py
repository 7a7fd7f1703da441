"""Connections to a shard: a PostgreSQL schema that the search path names."""

from __future__ import annotations

import select
from typing import Any

import msgspec
import psycopg
from psycopg import AsyncConnection
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.types.json import set_json_loads
from psycopg_pool import AsyncConnectionPool

from eventstore.config import DEFAULT_SHARD

Connection = AsyncConnection[tuple[Any, ...]]

# five times as fast as the standard library's
set_json_loads(msgspec.json.decode)


def conninfo(database_url: str, shard: str = DEFAULT_SHARD, **settings: str) -> str:
    """The connection string with the shard as search path, and further server settings such as `lock_timeout`."""
    given = conninfo_to_dict(database_url)
    options = [str(given.get("options") or "")]
    for name, value in {"search_path": shard, **settings}.items():
        options.append(f"-c {name}={value}")
    return make_conninfo(
        database_url,
        options=" ".join(option for option in options if option),
        connect_timeout=str(given.get("connect_timeout") or 10),
        application_name=str(given.get("application_name") or "mfo"),
        keepalives_idle="10",
        keepalives_interval="5",
        keepalives_count="3",
    )


async def connect(database_url: str, shard: str = DEFAULT_SHARD, **settings: str) -> Connection:
    """One connection in autocommit, statements prepared from the second use on."""
    connection: Connection = await psycopg.AsyncConnection.connect(
        conninfo(database_url, shard, **settings), autocommit=True, prepare_threshold=1
    )
    return connection


async def still_open(connection: Connection) -> None:
    """Raise psycopg.OperationalError for a connection whose server is gone.

    A quiet one has nothing to read: whatever is there is the end of it, or worth a question. That spares the others one.
    """
    waiting = select.poll()
    waiting.register(connection.fileno(), select.POLLIN)
    if connection.closed or waiting.poll(0):
        await AsyncConnectionPool.check_connection(connection)


def pool(
    database_url: str, shard: str = DEFAULT_SHARD, *, size: int = 4, name: str = "mfo"
) -> AsyncConnectionPool[Connection]:
    """A pool of such connections, not yet open; at most `size`, one kept at rest."""
    return AsyncConnectionPool(
        conninfo(database_url, shard),
        connection_class=AsyncConnection[tuple[Any, ...]],
        kwargs={"autocommit": True, "prepare_threshold": 1},
        min_size=1,
        max_size=size,
        open=False,
        # a connection that died with a server that is back by now must not fail the next caller
        check=still_open,
        name=name,
        timeout=10,
    )
