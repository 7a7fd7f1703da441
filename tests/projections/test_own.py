"""A projection written by a reader of the docs: the how-to is followed word for word."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from base64 import b64encode
from pathlib import Path
from typing import Any

import psycopg
import pytest

from domain.commands import FailPhase
from domain.errors import RebuildImpossible, SettingsError
from eventstore.database import Connection
from eventstore.definitions import modules
from mfo.cli import run
from projections.app import read_side
from projections.consumer import Runner
from projections.parked import retry
from projections.rebuild import rebuild, roll_back
from projections.shadows import ensure
from projections.verifying import verify
from tests.projections.conftest import House, config_for, house_of
from tests.projections.test_flows import apply

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "add-a-projection.md"


def parts(kind: str) -> list[str]:
    """The blocks of the page in a language."""
    return re.findall(rf"```{kind}\n(.*?)```", PAGE.read_text(), re.DOTALL)


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The file of the page, on the Python path; the name of its module."""
    name = re.search(r"Say this is `(\w+)\.py`", PAGE.read_text())
    assert name is not None
    (code,) = parts("python")
    (tmp_path / f"{name[1]}.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, name[1], raising=False)
    return name[1]


async def some(database_url: str) -> None:
    """Two flows: one whose first phase failed once, one that is done."""
    async with house_of(config_for(database_url)) as house:
        await fail(house, await house.begin())
        await house.finish(await house.begin())


async def fail(house: House, flow_id: Any) -> None:
    running = (await house.side.store.flow(flow_id)).run
    assert running is not None
    error = {"code": "io_failed", "class": "transient", "message": "no", "retryable": True}
    await house.ask(FailPhase(flow_id=flow_id, run_id=running.run_id, token=running.token, error=error))


def test_the_page_is_followed_word_for_word(
    database_url: str, module: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asyncio.run(some(database_url))
    monkeypatch.setenv("MFO_DATABASE_URL", database_url)
    monkeypatch.setenv("MFO_KAFKA_BOOTSTRAP", "127.0.0.1:1")
    monkeypatch.setenv("MFO_MASTER_KEY", b64encode(bytes(range(32))).decode())
    lines = [line for block in parts("sh") for line in block.splitlines()]
    done = []
    for line in lines:
        if line.startswith("export "):
            variable, _, value = line.removeprefix("export ").partition("=")
            monkeypatch.setenv(variable, value)
        else:
            assert line.startswith("mfo ")
            assert run([*line.split()[1:], "--json"]) == 0, capsys.readouterr().err
            done.append(json.loads(capsys.readouterr().out))
    rebuilt, verified = done
    assert (rebuilt["state"], verified["equal"], verified["flows"]) == ("done", True, 2)
    (query,) = parts("sql")
    with psycopg.connect(database_url, options="-c search_path=mfo -c role=mfo_reader") as connection:
        found = connection.execute(query.encode()).fetchall()
    assert found[0] == ("asset_inventory", 1, 0)
    assert ("data_import", 2, 1) in found
    assert len(found) == 6


def test_a_module_that_is_not_found_is_refused_with_what_to_do() -> None:
    with pytest.raises(SettingsError, match=r"MFO_PROJECTIONS names the module 'lies_elsewhere'.*set PYTHONPATH"):
        modules(["lies_elsewhere"], "MFO_PROJECTIONS")


async def test_rows_follow_whatever_way_the_events_come(
    database_url: str, module: str, connection: Connection, house: House
) -> None:
    async with read_side(config_for(database_url, projection_modules=(module,))) as (_, known):
        mine = known[module]
        await ensure(connection, mine)
        await ensure(connection, mine)
        flow_id = await house.begin()
        await fail(house, flow_id)
        other = await house.begin()
        await house.finish(other)
        told = [event for event in await house.told() if event.topic in (mine.topics or ())]
        await apply(mine, connection, told[-1:])
        await apply(mine, connection, [*reversed(told), *told])
        rows = "select flow_id, phase_name, attempts, failed from phase_attempts order by 1, 2"
        found = await house.all(rows)
        assert (flow_id, "data_import", 1, 1) in found
        assert sum(row[0] == other for row in found) == 6
        assert (await apply(mine, connection, told)).rows == 0
        runner = Runner(house.side.config, mine)
        assert runner.name == module
        assert await retry(connection, mine, flow_id) is None


async def test_a_row_that_cannot_be_made_concerns_its_flow_alone(
    database_url: str, module: str, connection: Connection, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with read_side(config_for(database_url, projection_modules=(module,))) as (_, known):
        mine: Any = known[module]
        await ensure(connection, mine)
        bad, good = await house.begin(), await house.begin()
        told, rows = await house.told(), mine._rows

        def spoilt(history: Any) -> Any:
            if history[0].flow_id == bad:
                raise ValueError("a test")
            return rows(history)

        monkeypatch.setattr(mine, "_rows", spoilt)
        applied = await apply(mine, connection, told)
        assert [each.flow_id for each in applied.parked] == [bad]
        monkeypatch.setattr(
            mine,
            "_rows",
            lambda history: [{**row, "attempts": None if history[0].flow_id == bad else 1} for row in rows(history)],
        )
        await connection.execute("delete from phase_attempts")
        await connection.execute("delete from phase_attempts_flows")
        with pytest.raises(psycopg.errors.NotNullViolation):
            await apply(mine, connection, told)
        applied = await apply(mine, connection, told, singly=True)
        assert ([each.flow_id for each in applied.parked], applied.rows) == ([bad], 1)
        assert await house.all("select flow_id from phase_attempts") == [(good,)]


async def test_a_name_that_is_taken_is_refused(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "taken_name.py").write_text(
        "from projections.table import TableProjection\n"
        "PROJECTIONS = [TableProjection('inventory', version=1, table='', rows=list)]\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(SettingsError, match="inventory"):
        async with read_side(config_for(database_url, projection_modules=("taken_name",))):
            pass


VERSIONED = """
from projections.table import TableProjection

PROJECTIONS = [
    TableProjection(
        "names", version={version},
        table="create table names (flow_id uuid primary key, n int not null{more}); create view shown_names as select * from names;",
        rows=lambda history: [{{"n": len(history), "name": history[0].fact.flow_name}}],
    )
]
"""


async def test_a_new_version_has_tables_of_its_own_shape(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, house: House, connection: Connection
) -> None:
    for version, more in ((1, ""), (2, ", name text not null")):
        (tmp_path / f"names_{version}.py").write_text(VERSIONED.format(version=version, more=more))
    monkeypatch.syspath_prepend(str(tmp_path))
    old, new = (config_for(database_url, projection_modules=(f"names_{version}",)) for version in (1, 2))
    await house.begin("Berlin")
    first = await rebuild(old, "names", said=str)
    assert (first["state"], first["compared"]["unsettled"]) == ("done", 1)
    await connection.execute("create role names_reader")
    try:
        await connection.execute("grant select on shown_names to names_reader")
        report = await rebuild(new, "names", said=str)
        assert (report["state"], report["version"], "compared" in report) == ("done", 2, False)
        assert await house.all("select n, name from shown_names") == [(2, "Berlin")]
        assert await house.one("select has_table_privilege('names_reader', 'shown_names', 'select')")
        # the old program neither writes nor verifies, and puts its own tables back
        with pytest.raises(RebuildImpossible, match="version 2"):
            await verify(old, "names", said=str)
        with pytest.raises(RebuildImpossible, match="version 1"):
            await roll_back(new, "names", said=str)
        await house.begin("Paris")
        with pytest.raises(RebuildImpossible, match="columns at its end"):
            await roll_back(old, "names", said=str)
        await connection.execute("drop view shown_names")
        assert (await roll_back(old, "names", said=str))["state"] == "done"
        assert await house.one("select count(*) from names") == 2
        assert (await verify(old, "names", said=str))["equal"]
    finally:
        await connection.execute("drop view if exists shown_names")
        await connection.execute("drop role names_reader")
