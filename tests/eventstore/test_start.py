"""What happens before the first command: the schema, the flow types, the connection."""

from __future__ import annotations

import asyncio
from importlib.resources import as_file, files
from types import ModuleType
from typing import Any
from uuid import UUID, uuid4

import msgspec
import psycopg
import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine
from sqlalchemy.pool import StaticPool

from consumers.phases import discovery
from domain.errors import RegistrationError, SchemaAhead, SchemaBehind, SettingsError, StoreUnavailable
from eventstore.database import conninfo
from eventstore.definitions import flow_types, modules, remember
from eventstore.migrate import check, upgrade
from tests.consumers.flows import flow_type, phase
from tests.eventstore.house import House, create, open_house


def named(*types: Any) -> ModuleType:
    module = ModuleType("further")
    module.__dict__["FLOW_TYPES"] = types
    return module


async def test_several_processes_may_migrate_at_once_and_again(empty_database_url: str) -> None:
    with pytest.raises(SchemaBehind, match="run: mfo migrate"):
        check(empty_database_url)
    reached = await asyncio.gather(*(asyncio.to_thread(upgrade, empty_database_url) for _ in range(4)))
    assert len(set(reached)) == 1
    assert upgrade(empty_database_url) == check(empty_database_url) == reached[0]
    with psycopg.connect(empty_database_url) as connection:
        assert connection.execute("select count(*) from mfo.schema_version").fetchone() == (1,)
        assert connection.execute("select to_regclass('public.stored_events')").fetchone() == (None,)


def upgrade_to(url: str, revision: str) -> None:
    """The schema as it was before the newest migrations."""
    with psycopg.connect(conninfo(url, "mfo")) as connection, as_file(files("eventstore") / "migrations") as folder:
        connection.execute("create schema mfo")
        connection.commit()
        config = Config()
        config.set_main_option("script_location", str(folder))
        engine = create_engine("postgresql+psycopg://", creator=lambda: connection, poolclass=StaticPool)
        with engine.connect() as bound:
            config.attributes["connection"] = bound
            command.upgrade(config, revision)
            bound.commit()


def test_what_is_there_outlives_an_upgrade(empty_database_url: str) -> None:
    """From the schema of the first discovery; a file that its readers refused is looked at again."""
    upgrade_to(empty_database_url, "0002")
    who, flow = uuid4(), uuid4()
    with psycopg.connect(empty_database_url) as connection:
        for state in ("readable", "unreadable"):
            connection.execute(
                "insert into mfo.imports (id, client_account_id, engagement_id, filename, sha256, size_bytes, state,"
                " summary, tries, created_by, created_at) values (%s, %s, %s, 'a.ods', %s, 1, %s, '{}', 3, 'maria', now())",
                (uuid4(), who, who, b"x" * 32, state),
            )
        connection.execute("insert into mfo.inventory_sets_v1 values (%s, 'asset_inventory', 'assets', 3, 2)", (flow,))
    upgrade(empty_database_url)
    with psycopg.connect(empty_database_url) as connection:
        rows = connection.execute(
            "select state, summary, tries, import_options from mfo.imports order by state"
        ).fetchall()
        assert rows == [("readable", {}, 3, None), ("stored", None, 0, None)]
        assert connection.execute("select kind, version, rows from mfo.inventory_sets_v1").fetchall() == [
            ("assets", 3, 2)
        ]
        connection.execute("insert into mfo.inventory_sets_v1 values (%s, 'asset_inventory', 'changes', 3, 2)", (flow,))


def test_intervals_of_one_stay_become_one_row_and_are_shown_as_before(empty_database_url: str) -> None:
    upgrade_to(empty_database_url, "0028")
    shown = "select version, valid_from, valid_to::text, flow_status, progress_percentage, updated_by from mfo.flow_intervals"
    stands = [("processing", 0.0), ("processing", 50.0), ("paused", 50.0), ("processing", 50.0), ("completed", 100.0)]
    with psycopg.connect(empty_database_url) as connection:
        for n, (status, progress) in enumerate(stands, 1):
            until = f"2026-11-20 12:00:0{n + 1}Z" if n < len(stands) else "infinity"
            connection.execute(
                "insert into mfo.flow_intervals_v1 values (%(flow)s, %(n)s, %(flow)s, %(flow)s, %(since)s, %(until)s, now(),"
                " 'noop', '1', %(status)s, 'only', '[]', %(progress)s, false, 1, 'maria')",
                {
                    "flow": UUID(int=7),
                    "n": n,
                    "since": f"2026-11-20 12:00:0{n}Z",
                    "until": until,
                    "status": status,
                    "progress": progress,
                },
            )
        before = connection.execute(shown + " order by version").fetchall()
    upgrade(empty_database_url)
    with psycopg.connect(empty_database_url) as connection:
        assert connection.execute(shown + " order by version").fetchall() == before
        stays = connection.execute("select version, step_version, told from mfo.flow_intervals_v1 order by version")
        assert stays.fetchall() == [(1, 2, 3), (3, 3, 4), (4, 4, 5), (5, 5, 5)]


def test_an_older_schema_is_noticed(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("update mfo.schema_version set version_num = '0001'")
    with pytest.raises(SchemaBehind, match="the schema is at 0001"):
        check(database_url)


async def test_a_store_that_a_newer_program_has_changed_is_left_to_that(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("update mfo.schema_version set version_num = '9999'")
    for look in (check, upgrade):
        with pytest.raises(SchemaAhead, match=r"the schema is at 9999.*run the newer one"):
            look(database_url)
    with pytest.raises(SchemaAhead, match="run the newer one"):
        async with open_house(database_url):
            pass


async def test_no_service_starts_on_a_schema_that_is_behind(database_url: str, empty_database_url: str) -> None:
    with pytest.raises(SchemaBehind, match=r"the schema is at nothing.*run: mfo migrate"):
        async with open_house(empty_database_url):
            pass
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("update mfo.schema_version set version_num = '0001'")
    with pytest.raises(SchemaBehind, match=r"the schema is at 0001.*run: mfo migrate"):
        async with open_house(database_url):
            pass


async def test_a_store_that_cannot_be_reached_is_named() -> None:
    nowhere = "postgresql://nobody@127.0.0.1:1/none"
    with pytest.raises(StoreUnavailable, match="check MFO_DATABASE_URL"):
        upgrade(nowhere)
    with pytest.raises(StoreUnavailable, match="check MFO_DATABASE_URL"):
        check(nowhere)


async def test_a_flow_goes_on_with_the_definition_it_was_made_with(house: House) -> None:
    flow = await house.begin(flow_type="modes")
    new = msgspec.structs.replace(flow_type("modes", phase("count"), phase("greet")), version="2.0.0")
    changed = flow_types([named(new)])
    await remember(house.side.pool, changed)
    assert [each.name for each in changed.get("modes").phases] == ["count", "greet"]
    assert [each.name for each in changed.version("modes", "1.0.0").phases] == ["count", "greet", "compute"]
    committer = house.another_committer()
    committer.types = changed
    await committer.start()
    younger = await committer.submit(create(flow_type="modes"), house.envelope())
    await committer.stop()
    assert younger.flow is not None
    assert younger.flow.flow_version == "2.0.0"
    for _ in range(3):
        await house.complete(flow.id)
    assert (await house.side.store.flow(flow.id)).status == "completed"


async def test_a_changed_definition_under_an_old_version_is_refused(house: House) -> None:
    changed = flow_types([named(flow_type("modes", phase("count")))])
    with pytest.raises(RegistrationError, match="give the changed one a new version"):
        await remember(house.side.pool, changed)


async def test_a_definition_kept_before_a_field_was_added_is_the_same(house: House) -> None:
    await house.rows(
        "update flow_types set sha256 = 'as it was then', definition = jsonb_set(definition, '{phases}',"
        " (select jsonb_agg(phase - 'on_failure') from jsonb_array_elements(definition -> 'phases') as phase))"
        " where name = 'modes' returning name"
    )
    known = flow_types([named(flow_type("modes", phase("count"), phase("greet"), phase("compute")))])
    await remember(house.side.pool, known)
    assert known.get("modes").version == "1.0.0"


async def test_unknown_handlers_and_modules_refuse_to_start(database_url: str) -> None:
    with pytest.raises(SettingsError, match=r"MFO_FLOW_TYPES names the module 'no\.such'"):
        modules(["no.such"])
    known = {**discovery.HANDLERS, "greet": None}
    with pytest.raises(RegistrationError, match="unknown handler count"):
        flow_types([named(flow_type("modes", phase("count")))], handlers=known, validators=discovery.VALIDATORS)
    with pytest.raises(SettingsError):
        async with open_house(database_url, flow_type_modules=("no.such",)):
            pass
