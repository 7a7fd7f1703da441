"""Connections of a pool: one whose server went away is replaced before anybody gets it, and a good one costs no question."""

from __future__ import annotations

from eventstore.database import Connection, connect, pool
from tests.waiting import until


async def test_a_connection_that_was_cut_is_replaced_before_it_is_handed_out(database_url: str) -> None:
    async with pool(database_url, size=1) as connections, await connect(database_url) as other:
        async with connections.connection() as connection:
            former = connection.info.backend_pid
        await other.execute("select pg_terminate_backend(%s)", (former,))
        await until(lambda: _is_gone(other, former))
        async with connections.connection() as connection:
            row = await (await connection.execute("select pg_backend_pid()")).fetchone()
    assert row is not None
    assert row[0] != former


async def test_handing_one_out_asks_the_server_nothing(database_url: str) -> None:
    async with pool(database_url, size=1) as connections, await connect(database_url) as other:
        async with connections.connection() as connection:
            await connection.execute("select 'last asked'")
            pid = connection.info.backend_pid
        for _ in range(3):
            async with connections.connection():
                pass
        row = await (await other.execute("select query from pg_stat_activity where pid = %s", (pid,))).fetchone()
    assert row == ("select 'last asked'",)


async def _is_gone(connection: Connection, pid: int) -> bool:
    row = await (await connection.execute("select 1 from pg_stat_activity where pid = %s", (pid,))).fetchone()
    return row is None
