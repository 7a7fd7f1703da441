"""What is counted is what was done: tiny runs on a real PostgreSQL, without a word on how long they took."""

from __future__ import annotations

import asyncio
import hashlib
import subprocess
import sys
from uuid import UUID

import psycopg
import pytest

from bench.flows import COMMANDS
from bench.growth import commands, long_history, timers
from bench.history import load
from bench.limits import Commits, chain, decode, rate
from bench.pipeline import PARTS, Seen
from bench.processor import LOAD, Parts, Taken, spent
from bench.scaling import COPIES, Cluster, Times, bend, simulate, times_from
from bench.spread import in_ms
from bench.store import OwnStore
from eventstore.migrate import upgrade
from tests.api.conftest import config_for

TIMES = Times(consumers=1e-3, projections=5e-4, postgresql=5e-4, kafka=1e-4, commit=1e-4, relay=1e-4)


@pytest.fixture
def store(empty_database_url: str) -> OwnStore:
    upgrade(empty_database_url)
    return OwnStore(config_for(empty_database_url), {}, {})


def test_a_part_is_charged_for_what_it_used_in_between() -> None:
    before = Taken(10.0, {"api": 1.0, "Kafka": 4.0}, 100.0)
    after = Taken(12.0, {"api": 2.0, "Kafka": 4.0, "load": 1.0}, 103.0)
    found = spent(before, after, 100, "flow")
    assert found == {
        "per": "flow",
        "ms": {"api": 10.0, "load": 10.0},
        "total_ms": 20.0,
        "cores": 1.0,
        "others_cores": 0.5,
    }


def test_work_of_children_that_have_ended_is_counted() -> None:
    parts = Parts()
    before = parts.take()
    subprocess.run([sys.executable, "-c", "sum(range(10_000_000))"], check=True)
    assert parts.take().seconds[LOAD] > before.seconds[LOAD]


def test_a_child_is_a_part_by_what_it_was_started_as() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()", "mfo", "api"], stdin=subprocess.PIPE)
    try:
        assert {part for part, process in Parts().each() if process.pid == child.pid} == {"api"}
        assert {part for part, process in Parts(child.pid).each() if process.pid == child.pid} == {"mfo dev"}
        assert Parts(others={"worker": child.pid}).memory_mb()["worker"] > 0
    finally:
        child.communicate(b"\n")


def test_bare_commits_keep_what_a_command_keeps(empty_database_url: str) -> None:
    commits = Commits(empty_database_url)
    commits(64)
    commits(64)
    commits.close()
    with psycopg.connect(empty_database_url) as connection:
        for table, rows in (("events", 256), ("heads", 128), ("ids", 128), ("log", 128), ("runs", 128)):
            [(found,)] = connection.execute(f"select count(*) from bare_{table}".encode()).fetchall()
            assert (table, found) == (table, rows)


def test_a_flow_that_comes_round_again_ends_one_run_and_begins_another(empty_database_url: str) -> None:
    commits = Commits(empty_database_url)
    for _ in range(2048 // 256 + 1):
        commits(256)
    commits.close()
    with psycopg.connect(empty_database_url) as connection:
        rows = connection.execute("select count(*), max(version), min(version) from bare_heads").fetchall()
        assert rows == [(2048, 4, 2)]
        assert connection.execute("select count(*) from bare_runs").fetchall() == [(2048,)]


def test_a_rate_counts_whole_batches() -> None:
    done = list[int]()
    assert rate(done.append, 0.001, 10) > 0
    assert set(done) == {10}
    assert len(done) >= 2


def test_decoding_and_hashing_read_the_sample() -> None:
    decode(3)
    chain(3)
    assert len(hashlib.sha256().digest()) == 32


def test_commands_on_new_and_on_old_flows_are_all_accepted(store: OwnStore) -> None:
    asyncio.run(load(store.config, 12))
    found = asyncio.run(commands(store, 12, 8))
    assert set(found) == {"create", "command on an old flow"}
    assert all(cost["ms"]["p50"] > 0 for cost in found.values())


def test_a_long_history_is_made_and_gone_on_with(store: OwnStore) -> None:
    found = asyncio.run(long_history(store, 64))
    assert found["events"] > 64
    assert {"long, not seen before", "short, seen before"} <= found.keys()


def test_timers_that_wait_are_left_alone(store: OwnStore) -> None:
    asyncio.run(timers(store.config.database_url, 50))
    with psycopg.connect(store.config.database_url, options="-csearch_path=mfo") as connection:
        assert connection.execute("select count(*) from timers").fetchall() == [(50,)]


def test_only_flows_of_the_load_are_noted() -> None:
    seen = Seen("creations", due={UUID(int=1): 5.0})
    seen.note("commit", UUID(int=1), 5.5)
    seen.note("commit", UUID(int=2), 5.5)
    assert seen.took == {"commit": [0.5]}
    assert in_ms(seen.took["commit"], PARTS) == {"p50": 500.0, "p99": 500.0, "p99.9": 500.0}
    assert in_ms([]) == {}


def test_the_part_with_the_least_to_give_is_the_limit() -> None:
    bounds = Cluster(2).bounds(TIMES)
    assert bounds["consumers"] == 2 * 4 / 1e-3
    assert bounds["kafka"] == pytest.approx(3 * 16 / COPIES / 1e-4)
    assert min(bounds, key=lambda name: bounds[name]) == "consumers"


def test_times_of_a_command_come_from_those_of_a_flow() -> None:
    spent_ms = {"consumers": 7.0, "projections": 14.0, "PostgreSQL": 7.0, "Kafka": 0.7}
    found = times_from(spent_ms, 10_000, 20.0)
    assert found.consumers == pytest.approx(7e-3 / COMMANDS)
    assert found.commit == 1e-4
    assert found.relay == pytest.approx(2 * 20e-6)


def test_more_than_the_limit_does_not_get_through() -> None:
    pytest.importorskip("simpy")
    half = simulate(TIMES, Cluster(1), 2000, 5.0)
    twice = simulate(TIMES, Cluster(1), 8000, 5.0)
    assert half["through"] > 0.9 > twice["through"]
    assert twice["p99_ms"] > half["p99_ms"]
    assert simulate(TIMES, Cluster(1), 2000, 5.0) == half


def test_a_cluster_bends_where_its_limit_is() -> None:
    pytest.importorskip("simpy")
    found = bend(TIMES, Cluster(1), 5.0)
    assert found["limit"] == "consumers"
    assert 0 < found["flows_per_second"] <= 1.1 * 4000 / COMMANDS
