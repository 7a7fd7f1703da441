"""Connections for those who read much of a log at a time."""

from __future__ import annotations

from eventstore.config import DEFAULT_SHARD
from eventstore.database import Connection, connect

READ_BYTES = 1 << 20


async def reader(database_url: str, shard: str = DEFAULT_SHARD) -> Connection:
    """A connection as `connect` gives, that takes in up to 1 MiB at a time.

    libpq reads as much at once as it ever needed room for, 16 KiB at first; each time wakes the event loop, which costs a
    quarter of what it costs to follow a chain.
    """
    connection = await connect(database_url, shard)
    await connection.execute("select repeat('-', %s)", (READ_BYTES,))
    return connection
