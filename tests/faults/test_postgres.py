"""PostgreSQL goes away, refuses, slows down in the middle of flows: they wait, and go on as if nothing had happened."""

from __future__ import annotations

from uuid import uuid4

import httpx
import psycopg

from tests.faults.stand import Stand

HEADERS = ("X-Client-Account-ID", "X-Engagement-ID", "X-User-ID")
BODY = {
    "flow_type": "slow_steps",
    "flow_name": "late",
    "initial_data": {"number": 1},
    "options": {"auto_execute": True},
}


def asked(stand: Stand, key: str) -> httpx.Response:
    """A flow is asked for, under this key."""
    headers = dict(zip(HEADERS, stand.tenant, strict=True)) | {"Idempotency-Key": key}
    return httpx.post(f"{stand.url}/api/v1/flows", headers=headers, json=BODY, timeout=60)


async def refused_and_then_taken(stand: Stand, key: str) -> None:
    """While the store is away a caller is told to come back; with the same key he is served, once."""
    refusal = asked(stand, key)
    assert refusal.status_code == 503, refusal.text
    assert refusal.json()["code"] in {"store_unavailable", "store_busy"}
    assert int(refusal.headers["Retry-After"]) > 0


async def test_postgres_is_killed_and_comes_back(services: Stand) -> None:
    flows = await services.under_way()
    services.postgres.stop()
    part = await services.until_health("database", "down")
    assert "PostgreSQL" in part["reason"]
    key = str(uuid4())
    await refused_and_then_taken(services, key)
    services.postgres.start()
    assert await services.unfinished(flows) > 0
    await services.ready()
    await services.all_end_well(flows)
    late = asked(services, key)
    assert late.status_code == 201
    assert asked(services, key).json()["flow_id"] == late.json()["flow_id"]
    await services.all_end_well([late.json()["flow_id"]])


async def test_every_connection_is_cut_in_the_middle_of_what_it_says(services: Stand) -> None:
    flows = await services.under_way()
    for _ in range(3):
        services.wire.cut()
        services.wire.mend()
        await services.until_health("database", "up")
    await services.all_end_well(flows)


async def test_postgres_takes_no_writes_for_a_while(services: Stand) -> None:
    flows = await services.under_way()
    with psycopg.connect(services.database_url, autocommit=True) as connection:
        connection.execute("alter system set default_transaction_read_only = on")
        connection.execute("select pg_reload_conf()")
        key = str(uuid4())
        await refused_and_then_taken(services, key)
        assert await services.unfinished(flows) > 0
        connection.execute("set default_transaction_read_only = off")
        connection.execute("alter system reset default_transaction_read_only")
        connection.execute("select pg_reload_conf()")
    await services.all_end_well(flows)
    assert asked(services, key).status_code == 201


async def test_the_disk_of_postgres_is_full_for_a_while(services: Stand) -> None:
    flows = await services.under_way()
    with psycopg.connect(services.database_url, autocommit=True, options="-c search_path=mfo") as connection:
        # the error that PostgreSQL gives when it cannot extend a file
        connection.execute(
            "create function full_disk() returns trigger language plpgsql as"
            " $$ begin raise exception 'could not extend file' using errcode = '53100'; end $$"
        )
        connection.execute("create trigger full_disk before insert on stored_events execute function full_disk()")
        try:
            key = str(uuid4())
            await refused_and_then_taken(services, key)
            assert await services.unfinished(flows) > 0
        finally:
            connection.execute("drop trigger full_disk on stored_events")
            connection.execute("drop function full_disk")
    await services.all_end_well(flows)
    assert asked(services, key).status_code == 201


async def test_every_statement_takes_two_seconds_for_a_while(services: Stand) -> None:
    flows = await services.under_way()
    services.wire.delay = 2.0
    answer = asked(services, str(uuid4()))
    services.wire.delay = 0.0
    assert answer.status_code in {201, 503}
    await services.all_end_well(flows)


async def test_a_lock_that_somebody_holds_only_delays(services: Stand) -> None:
    flows = await services.under_way()
    with psycopg.connect(services.database_url, options="-c search_path=mfo") as connection:
        connection.execute("lock table heads in exclusive mode")
        answer = asked(services, key := str(uuid4()))
        assert answer.status_code == 503
        assert await services.unfinished(flows) > 0
    await services.all_end_well(flows)
    assert asked(services, key).status_code == 201
