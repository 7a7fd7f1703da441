"""Services that are told to stop: what is in hand ends or goes to others at once, and nothing is done twice."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import Process
from base64 import b64encode
from collections import Counter
from pathlib import Path

import pytest

from eventstore.service import ServiceConfig
from tests.consumers.yard import TOLD, open_yard
from tests.eventstore.house import MASTER_KEY, House, create, open_house
from tests.waiting import until

ROOT = Path(__file__).parents[2]
# so that no lease lapses only because the machine is busy: the store's time goes at a tenth of its speed
SLOW_CLOCK = """
do $do$ begin
    execute format($f$create or replace function mfo_now() returns timestamptz language sql stable as
        $$ select timestamptz %%L + (clock_timestamp() - timestamptz %%L) / 10 + (select shift from clock) $$$f$, mfo_now(), mfo_now());
end $do$
"""


async def test_a_service_that_stops_hands_over_what_it_cannot_end(database_url: str, tmp_path: Path) -> None:
    async with open_yard(database_url, tmp_path) as first:
        flow_id = await first.start("bystander")
        await first.noted("first")
        async with open_yard(database_url, tmp_path) as second:
            await first.keeper.stop(0.1)
            # begun there, not after the lease
            await until(lambda: second.keeper.active == 1, 90)
            assert await second.changed_hands(flow_id) == ["handed_back"]
            second.open_gate()
            flow = await second.ended(flow_id)
            assert flow.phase("bystander").outputs["in"] in second.children
    assert (flow.attempts_failed, first.lines()) == (0, ["first"])


async def test_a_handler_may_give_way_to_a_service_that_stops(database_url: str, tmp_path: Path) -> None:
    async with open_yard(database_url, tmp_path) as first:
        flow_id = await first.start("gives_way")
        await first.noted("between")
        async with open_yard(database_url, tmp_path) as second:
            await first.keeper.stop(60)
            await until(lambda: first.lines().count("between") == 2, 90)
            second.open_gate()
            flow = await second.ended(flow_id)
    assert first.lines() == ["first", "between", "between", "second"]
    assert (flow.phase("gives_way").outputs, flow.attempts_failed) == ({"attempt": 1}, 0)


async def test_a_service_that_stops_ends_what_is_nearly_done(database_url: str, tmp_path: Path) -> None:
    async with open_yard(database_url, tmp_path) as yard:
        flow_id = await yard.start("bystander")
        await yard.noted("first")
        stopping = asyncio.create_task(yard.keeper.stop(60))
        yard.open_gate()
        await stopping
        assert (await yard.house.side.store.flow(flow_id)).status == "completed"
        # and takes no more
        later = await yard.start("where")
        assert await yard.house.one("select state from runs where flow_id = %s", later) == "queued"


async def test_what_comes_into_hand_while_a_service_stops_is_told_so(database_url: str, tmp_path: Path) -> None:
    async with open_house(database_url, flow_type_modules=(TOLD,)) as house:
        given = {"ledger": str(tmp_path / "ledger"), "go": str(tmp_path / "go")}
        flow = await house.begin(flow_type="listens", initial_data=given)
        async with open_yard(database_url, tmp_path, slots=0) as yard:
            [row] = await house.claim(yard.keeper.owner)
            yard.keeper._draining = True
            claimed, run = await yard.keeper._claimed(row, await house.side.store.flow(flow.id))
            yard.keeper.hand_over(claimed, run, claimed=True)
            await yard.noted("draining")
            await yard.ended(flow.id)


async def consumers(config: ServiceConfig, log: Path, flow_types: str = TOLD) -> Process:
    """`mfo consumers`, as it is run."""
    settings = {
        "MFO_DATABASE_URL": config.database_url,
        "MFO_KAFKA_BOOTSTRAP": config.kafka_bootstrap,
        "MFO_TOPIC_PREFIX": config.topic_prefix,
        "MFO_MASTER_KEY": b64encode(MASTER_KEY).decode(),
        "MFO_FLOW_TYPES": flow_types,
        "MFO_WORKERS": "1",
        # a slow machine is no reason to hand anything over
        "MFO_DRAIN_SECONDS": "60",
        "PYTHONPATH": str(ROOT),
    }
    with log.open("ab") as err:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "mfo", "consumers"), cwd=ROOT, env={**os.environ, **settings}, stderr=err
        )


async def until_it_works(house: House, process: Process) -> None:
    """Until runs are in this process's hands."""
    owned = "select count(*) from runs where owner like %s"
    await until(lambda: house.one(owned, f"%:{process.pid}:%"), 60)


# four starts of the service, each of which a busy machine may take its time for
@pytest.mark.timeout(400)
async def test_a_rolling_restart_under_load_fails_nothing_and_repeats_nothing(
    config: ServiceConfig, real_kafka: str, tmp_path: Path
) -> None:
    ledger, log = tmp_path / "ledger", tmp_path / "log"
    flows, enough = [], asyncio.Event()
    async with open_house(config.database_url, flow_type_modules=(TOLD,)) as house:
        await house.rows(SLOW_CLOCK)

        async def load() -> None:
            while not enough.is_set():
                given = {"ledger": str(ledger)}
                flows.append((await house.ask(create(flow_type="rounds", initial_data=given))).flow_id)
                await until(lambda: house.one("select count(*) < 30 from runs"), 60)

        loading = asyncio.create_task(load())
        services = [await consumers(config, log), await consumers(config, log)]
        try:
            for service in services:
                await until_it_works(house, service)
            for n, service in enumerate(list(services)):
                service.send_signal(signal.SIGTERM)
                await asyncio.wait({asyncio.ensure_future(service.wait())}, timeout=90)
                assert service.returncode == 0, log.read_text()
                services[n] = await consumers(config, log)
                await until_it_works(house, services[n])
            enough.set()
            await loading
            await until(lambda: house.one("select count(*) = 0 from runs"), 120)
        finally:
            loading.cancel()
            for service in services:
                if service.returncode is None:
                    service.kill()
                    await service.wait()
        histories = [await house.facts(flow_id) for flow_id in flows]
    told = Counter(fact for history in histories for fact in history)
    assert len(flows) >= 30
    assert [history[-1] for history in histories] == ["FlowCompleted"] * len(flows)
    assert (told["PhaseFailed"], told["RunReassigned"]) == (0, 0)
    effects = Counter(tuple(line.split()[:2]) for line in ledger.read_text().splitlines())
    assert len(effects) == 3 * len(flows)
    assert set(effects.values()) == {1}
