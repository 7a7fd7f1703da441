"""One flow that cannot be applied: its commands, results and timers wait, and the service goes on as if nothing were."""

from __future__ import annotations

import asyncio
from pathlib import Path
from uuid import uuid4

import pytest
from prometheus_client import REGISTRY

from consumers import intake, parked
from domain.commands import CancelFlow, CreateOptions, SignalFlow
from eventstore.service import ServiceConfig
from tests.consumers.conftest import body_of, client_of, ended, headers_of, serving
from tests.consumers.test_intake import CREATE, Door, committed
from tests.eventstore.breaking import broken, readable, unreadable
from tests.eventstore.house import House, create
from tests.waiting import until


@pytest.fixture(autouse=True)
def looked_after_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parked, "POLL_SECONDS", 0.1)


async def test_commands_of_a_broken_flow_wait_and_its_partition_goes_on(config: ServiceConfig, house: House) -> None:
    async with serving(config), client_of(config) as client:
        client.tenant = house.tenant
        # nothing runs in it, which could be done before its history is broken
        flow = await broken(house, options=CreateOptions())
        pause = await client.send("PauseFlow", flow.id)
        resume = await client.send("ResumeFlow", flow.id)
        # more flows than partitions, so that some share the broken one's
        others = [await client.send("CreateFlow", uuid4(), CREATE) for _ in range(12)]
        for command_id in others:
            assert (await client.reply(command_id))["outcome"] == "accepted"
        [record] = await client.replies(pause)
        assert headers_of(record)["ce_type"] == "mfo.reply.Parked.v1"
        assert body_of(record) == {
            "command_id": pause,
            "outcome": "parked",
            "flow_id": str(flow.id),
            "version": 1,
            "position": None,
        }
        assert (await client.reply(resume))["outcome"] == "parked"
        await until(lambda: committed(config), 60)

        await readable(house, flow.id)
        await house.shift_clock(20)
        told = [body_of((await client.replies(command_id, 2))[1]) for command_id in (pause, resume)]
        assert [(reply["outcome"], reply["version"]) for reply in told] == [("accepted", 2), ("accepted", 3)]
        assert all(reply["position"] for reply in told)
        await until(lambda: house.one("select count(*) = 0 from late_replies"), 60)


async def test_the_result_of_a_run_waits_and_is_asked_for_once(
    config: ServiceConfig, house: House, tmp_path: Path
) -> None:
    begun, go = tmp_path / "begun", tmp_path / "go"
    async with serving(config):
        flow = await house.begin(flow_type="slow", initial_data={"begun": str(begun), "go": str(go)})
        await until(lambda: list(tmp_path.glob("begun.*")), 60)
        # whoever runs it has read it, and has to read it again
        await house.ask(SignalFlow(flow_id=flow.id, name="noted"))
        await unreadable(house, flow.id)
        go.touch()
        await until(lambda: house.one("select count(*) = 1 from parked_commands"), 60)
        # the run's lease lapses meanwhile, and nobody takes it over or asks about it
        await house.shift_clock(8)
        asked = await house.one("select count(*) from parked_commands")
        await house.ask(create())
        assert (asked, await house.one("select count(*) from parked_commands")) == (1, 1)
        await readable(house, flow.id)
        await house.shift_clock(20)
        await ended(house, flow.id)
    assert (await house.facts(flow.id)).count("PhaseStarted") == 1
    assert "RunReassigned" not in await house.facts(flow.id)


async def test_a_timer_of_a_broken_flow_fires_once_and_counts_later(config: ServiceConfig, house: House) -> None:
    flow = await house.begin(options=CreateOptions(auto_execute=True))
    await house.fail(flow.id)
    assert await house.one("select count(*) from timers") == 1
    await unreadable(house, flow.id)
    async with serving(config):
        await until(lambda: house.one("select count(*) = 1 from parked_commands where command = 'FireTimer'"), 60)
        await until(lambda: house.one("select count(*) = 0 from timers"), 60)
        await readable(house, flow.id)
        await house.shift_clock(20)
        await ended(house, flow.id)
    assert (await house.facts(flow.id)).count("PhaseRetryScheduled") == 1


async def test_a_process_that_starts_tries_what_is_parked_at_once(config: ServiceConfig, house: House) -> None:
    flow = await broken(house, options=CreateOptions())
    assert (await house.ask(CancelFlow(flow_id=flow.id))).outcome == "parked"
    await readable(house, flow.id)
    async with serving(config):
        await ended(house, flow.id, "cancelled")


async def test_a_store_that_takes_nothing_pauses_the_partitions_and_the_group_stays_together(
    config: ServiceConfig, house: House, real_kafka: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert real_kafka
    monkeypatch.setattr(intake, "POLL_MS", 4000)
    closed = house.another_committer()
    await closed.start()
    await closed.stop()
    door = Door(config, closed)
    await door.open()
    [subscriber] = door.intake.broker.subscribers
    consumer = subscriber.consumer  # type: ignore[attr-defined]
    async with client_of(config) as client:
        first = await client.send("CreateFlow", uuid4(), CREATE)
        await until(lambda: REGISTRY.get_sample_value("mfo_partitions_paused") == 4, 60)
        later = [await client.send("CreateFlow", uuid4(), CREATE) for _ in range(20)]
        # longer than a member may go without asking for more
        member = consumer._coordinator.generation
        await asyncio.sleep(5)
        assert len(consumer.assignment()) == len(consumer.paused()) == 4
        assert consumer._coordinator.generation == member
        assert await house.one("select count(*) from parked_commands") == 0
        door.committer = house.committer
        for command_id in (first, *later):
            assert (await client.reply(command_id))["outcome"] == "accepted"
        assert consumer.paused() == set()
        assert REGISTRY.get_sample_value("mfo_partitions_paused") == 0
    await door.close()
