"""A read model is made anew while the old one serves, and nothing is lost over it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import psycopg
import pytest

from domain.commands import CancelFlow
from domain.errors import NothingKept, ProjectionUnknown, RebuildRunning
from eventstore.database import Connection, connect
from eventstore.service import ServiceConfig
from projections import rebuild as rebuilding
from projections.rebuild import fill, rebuild, roll_back
from projections.verifying import verify
from tests.projections.conftest import Following, House
from tests.projections.test_flows import apply, same, some_flows
from tests.projections.test_inventory import ASSETS, kept
from tests.waiting import until

FLOWS, TABLE = "crewai_flow_state_extensions", "flow_state_extensions_v1"
REACHED = """
insert into projections (name, version, state, position, updated_at)
values (%s, 1, 'live', (select max(notification_id) from stored_events), mfo_now())
on conflict (name) do update set position = excluded.position
"""


def quiet(_: str) -> None:
    """Nobody listens."""


async def make(house: House, name: str = FLOWS, **options: Any) -> dict[str, Any]:
    return await rebuild(house.side.config, name, said=quiet, **options)


async def check(house: House, name: str = FLOWS, **options: Any) -> dict[str, Any]:
    return await verify(house.side.config, name, said=quiet, **options)


async def reached(connection: Connection, name: str = FLOWS) -> None:
    await connection.execute(REACHED, (name,))


@pytest.fixture
async def served(house: House, connection: Connection) -> list[UUID]:
    """Flows in every kind of state, and their rows."""
    flow_ids = await some_flows(house)
    await apply(house.flows(), connection, await house.told())
    await reached(connection)
    return flow_ids


async def test_the_new_rows_are_the_old_ones(house: House, served: list[UUID]) -> None:
    report = await make(house)
    assert report["state"] == "done"
    assert (report["flows"], report["events"]) == (6, await house.side.store.end())
    assert report["compared"] == {
        "flows": 6,
        "rows": 12,
        "equal": True,
        "different": 0,
        "unsettled": 0,
        "differences": [],
    }
    for flow_id in served:
        await same(house, flow_id)
    assert await house.one("select to_regnamespace('mfo_shadow_crewai_flow_state_extensions') is null")
    assert await house.one(f"select count(*) from mfo_former_crewai_flow_state_extensions.{TABLE}") == 6
    assert await house.one("select state from projection_rebuilds") == "done"


async def test_names_rights_and_indexes_outlive_the_swap(house: House, served: list[UUID]) -> None:
    indexes = (
        "select indexname, indexdef from pg_indexes where schemaname = 'mfo' and tablename like '%%_v1' order by 1"
    )
    constraints = (
        "select conrelid::regclass::text, conname, pg_get_constraintdef(oid) from pg_constraint"
        " where connamespace = 'mfo'::regnamespace order by 1, 2"
    )
    options = (
        "select relname, reloptions from pg_class where relnamespace = 'mfo'::regnamespace and relkind = 'r' order by 1"
    )
    views = "select viewname, definition from pg_views where schemaname = 'mfo' order by 1"
    rights = "select relname, relacl::text from pg_class where relnamespace = 'mfo'::regnamespace and relkind = 'v' order by 1"
    asked = (indexes, constraints, options, views, rights)
    before = [await house.all(statement) for statement in asked]
    for name in (FLOWS, "inventory", "import_field_mappings", "flow_intervals", "analytics"):
        assert (await make(house, name))["state"] == "done"
    assert [await house.all(statement) for statement in asked] == before


async def test_statements_prepared_before_the_swap_find_the_new_rows(
    house: House, served: list[UUID], connection: Connection
) -> None:
    read = f"select flow_name, search_words is not null from {FLOWS} where flow_id = %s"
    for _ in range(3):
        assert await (await connection.execute(read, (served[0],))).fetchone() == ("flow 0", True)
    flows = house.flows()
    await apply(flows, connection, await house.told())
    await connection.execute(f"update {TABLE} set flow_name = 'forged' where flow_id = %s".encode(), (served[0],))
    report = await make(house)
    assert report["compared"]["different"] == 1
    assert [(one["flow_id"], one["columns"]) for one in report["compared"]["differences"]] == [
        (str(served[0]), ["flow_name"])
    ]
    assert await (await connection.execute(read, (served[0],))).fetchone() == ("flow 0", True)
    # the statement that writes was prepared, too, and the flow was in memory
    await house.complete(served[5])
    await apply(flows, connection, await house.told())
    await same(house, served[5])


async def test_rows_that_differ_can_keep_the_old_tables(
    house: House, served: list[UUID], connection: Connection
) -> None:
    await connection.execute(f"update {TABLE} set flow_name = 'forged' where flow_id = %s".encode(), (served[0],))
    report = await make(house, if_equal=True)
    assert (report["state"], report["compared"]["equal"]) == ("kept", False)
    assert await house.one(f"select flow_name from {FLOWS} where flow_id = %s", served[0]) == "forged"
    again = await make(house)
    assert (again["state"], again["resumed"]) == ("done", True)
    await same(house, served[0])


async def test_what_was_killed_is_gone_on_from(
    house: House, served: list[UUID], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rebuilding, "FLOWS_A_PART", 2)

    async def killed(config: ServiceConfig, name: str) -> None:
        turns = iter([True, False])
        await fill(config, name, alive=lambda: next(turns))
        raise ConnectionAbortedError

    monkeypatch.setattr(rebuilding, "fill", killed)
    with pytest.raises(ConnectionAbortedError):
        await make(house)
    monkeypatch.setattr(rebuilding, "fill", fill)
    parts = "select count(*), count(done_at) from mfo_shadow_crewai_flow_state_extensions.rebuild_parts"
    assert await house.all(parts) == [(3, 1)]
    for flow_id in served[:1]:
        await same(house, flow_id)
    late = await house.begin("came later")
    report = await make(house)
    assert (report["state"], report["resumed"], report["compared"]["equal"]) == ("done", True, True)
    for flow_id in (*served, late):
        await same(house, flow_id)


async def test_many_flows_are_shared_out_among_processes(
    house: House, served: list[UUID], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("projections.rebuild.SMALL_FLOWS", 1)
    monkeypatch.setattr("projections.rebuild.FLOWS_A_PART", 2)
    monkeypatch.setattr("projections.verifying.SMALL_FLOWS", 1)
    monkeypatch.setattr("projections.verifying.FLOWS_AT_ONCE", 2)
    said: list[str] = []
    report = await rebuild(house.side.config, FLOWS, jobs=2, said=said.append)
    assert (report["state"], report["flows"], report["compared"]["equal"]) == ("done", 6, True)
    assert said
    report = await check(house, jobs=2)
    assert (report["equal"], report["flows"], report["rows"]) == (True, 6, 12)


async def test_the_old_tables_come_back_with_what_has_happened_since(
    house: House, served: list[UUID], connection: Connection
) -> None:
    with pytest.raises(NothingKept):
        await roll_back(house.side.config, FLOWS, said=quiet)
    await make(house)
    late = await house.begin("came later")
    await apply(house.flows(), connection, await house.told())
    mark = "select relfilenode from pg_class where oid = %s::regclass"
    kept_table = await house.one(mark, f"mfo_former_crewai_flow_state_extensions.{TABLE}")
    report = await roll_back(house.side.config, FLOWS, said=quiet)
    assert report["state"] == "done"
    assert await house.one(mark, TABLE) == kept_table
    for flow_id in (*served, late):
        await same(house, flow_id)
    # and forward again
    assert (await roll_back(house.side.config, FLOWS, said=quiet))["state"] == "done"
    await same(house, late)


async def test_a_flow_that_cannot_be_told_is_set_aside_in_the_new_tables_too(
    house: House, served: list[UUID], connection: Connection
) -> None:
    bad = await house.begin("bad")
    await house.complete(bad, {"text": "a\x00b"})
    await make(house)
    assert await house.all("select projection, flow_id from parked_flows") == [(FLOWS, bad)]
    assert await house.one("select parked from projections where name = %s", FLOWS) == 1
    report = await check(house)
    assert (report["equal"], report["parked"]) == (True, 1)


async def test_only_one_at_a_time_and_only_what_there_is(
    house: House, connection: Connection, database_url: str
) -> None:
    with pytest.raises(ProjectionUnknown, match="inventory"):
        await make(house, "nothing")
    await connection.execute("select pg_advisory_lock(7, hashtext('mfo' || %s))", (FLOWS,))
    with pytest.raises(RebuildRunning):
        await make(house)


async def test_an_inventory_is_made_anew(house: House, connection: Connection) -> None:
    flow_id = await house.begin()
    await house.complete(flow_id, {"assets": await kept(house, ASSETS)})
    await apply(house.inventory(), connection, [one for one in await house.told() if "Completed" in one.topic])
    await reached(connection, "inventory")
    rows = "select * from assets order by flow_id, n"
    before = await house.all(rows)
    assert before
    report = await make(house, "inventory")
    assert (report["state"], report["compared"]["equal"]) == ("done", True)
    assert await house.all(rows) == before
    assert (await check(house, "inventory"))["equal"]


async def test_verifying_names_rows_and_columns(house: House, served: list[UUID], connection: Connection) -> None:
    report = await check(house)
    assert (report["equal"], report["flows"], report["rows"], report["different"]) == (True, 6, 12, 0)
    wrong, gone, other = served[:3]
    forge = f"update {TABLE} set flow_status = 'failed', retry_count = 9 where flow_id = %s"
    await connection.execute(forge.encode(), (wrong,))
    await connection.execute(f"delete from {TABLE} where flow_id = %s".encode(), (gone,))
    await connection.execute(
        b"insert into flow_words_v1 select '00000000-0000-0000-0000-000000000009', 'stray', client_account_id, engagement_id,"
        b" flow_type, flow_status, created_at from flow_words_v1 limit 1"
    )
    await connection.execute("update flow_words_v1 set words = 'x' where flow_id = %s", (other,))
    report = await check(house)
    assert (report["equal"], report["different"]) == (False, 4)
    named = {(one["table"], one["flow_id"], one["what"], tuple(one["columns"])) for one in report["differences"]}
    assert named == {
        (TABLE, str(wrong), "differs", ("flow_status", "retry_count")),
        (TABLE, str(gone), "missing", ()),
        ("flow_words_v1", str(other), "differs", ("words",)),
        ("flow_words_v1", "00000000-0000-0000-0000-000000000009", "surplus", ()),
        # what the rows add up to by now
        ("flow_totals_v1", None, "missing", ()),
        ("flow_totals_v1", None, "surplus", ()),
    }
    # nothing was mended, and nothing is left of the comparison
    assert await house.one(f"select flow_status from {TABLE} where flow_id = %s", wrong) == "failed"
    assert (await check(house, sample=1))["flows"] == 1


async def test_what_has_not_been_taken_yet_is_no_difference(house: House, served: list[UUID]) -> None:
    await house.ask(CancelFlow(flow_id=served[5]))
    report = await check(house)
    assert (report["equal"], report["behind"]) == (True, 1)
    report = await make(house)
    assert (report["compared"]["equal"], report["compared"]["unsettled"]) == (True, 1)
    await same(house, served[5])


@asynccontextmanager
async def busy(house: House) -> AsyncIterator[list[UUID]]:
    """Flows that are begun and finished without end."""
    begun: list[UUID] = []

    async def one() -> None:
        while True:
            flow_id = await house.begin()
            begun.append(flow_id)
            await house.finish(flow_id)

    tasks = [asyncio.create_task(one()) for _ in range(4)]
    try:
        yield begun
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_nothing_is_lost_while_flows_go_on(told_house: House, following: Following) -> None:
    async with following(told_house.flows()) as runner:
        await until(lambda: runner.state == "live", timeout=30)
        async with busy(told_house) as begun:
            await until(lambda: len(begun) > 12, timeout=30)
            for _ in range(2):
                report = await make(told_house)
                assert (report["state"], report["compared"]["equal"]) == ("done", True), report
                count = len(begun)
                await until(lambda count=count: len(begun) > count + 8, timeout=30)  # type: ignore[misc]
            assert (await check(told_house))["equal"]
            assert (await roll_back(told_house.side.config, FLOWS, said=quiet))["state"] == "done"
            count = len(begun)
            await until(lambda: len(begun) > count + 8, timeout=30)
        await until(lambda: told_house.up_to_date(*begun), timeout=30)
        for flow_id in begun:
            await same(told_house, flow_id)
        assert runner.state == "live"


async def test_a_program_of_another_version_writes_nothing(told_house: House, following: Following) -> None:
    async with following(told_house.flows()) as runner:
        await until(lambda: runner.state == "live", timeout=30)
        await told_house.all("update projections set version = 2 returning 1")
        flow_id = await told_house.begin()
        await until(lambda: runner.state == "rebuild_needed", timeout=30)
        assert "mfo projections rebuild" in runner.reason
        assert await told_house.projected(flow_id) is None
        await told_house.all("update projections set version = 1 returning 1")
        await until(lambda: told_house.up_to_date(flow_id), timeout=30)


async def test_a_program_older_than_the_schema_sets_nothing_aside(
    told_house: House, following: Following, connection: Connection
) -> None:
    known = (await told_house.all("select version_num from schema_version"))[0][0]
    async with following(told_house.flows()) as runner:
        await until(lambda: runner.state == "live", timeout=30)
        await told_house.all("update schema_version set version_num = '9999' returning 1")
        # what a newer program's rows have, and ours have not
        await connection.execute("alter table flow_words_v1 add check (words is null)")
        flow_id = await told_house.begin()
        await until(lambda: runner.state == "rebuild_needed", timeout=30)
        assert "run the newer one" in runner.reason
        assert await told_house.all("select * from parked_flows") == []
        await connection.execute("alter table flow_words_v1 drop constraint flow_words_v1_words_check")
        await told_house.all("update schema_version set version_num = %s returning 1", known)
        await until(lambda: told_house.up_to_date(flow_id), timeout=30)


async def test_a_reader_without_end_is_not_disturbed(
    house: House, served: list[UUID], connection: Connection, monkeypatch: pytest.MonkeyPatch, database_url: str
) -> None:
    monkeypatch.setattr("projections.rebuild.LOCK_TRIES", 2)
    reader = await connect(database_url)
    try:
        async with reader.transaction():
            await reader.execute(f"select count(*) from {FLOWS}".encode())
            with pytest.raises(rebuilding.ReadModelInUse):
                await make(house)
            await reader.execute(f"select count(*) from {FLOWS}".encode())
    except psycopg.Error as error:
        raise AssertionError from error
    finally:
        await reader.close()
    assert (await make(house))["resumed"]
