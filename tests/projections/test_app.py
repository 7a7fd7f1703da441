"""The process that keeps the read models."""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import replace

import httpx
import pytest
from aiokafka.errors import KafkaConnectionError, UnknownTopicOrPartitionError

from domain.errors import StoreUnavailable
from eventstore.service import ServiceConfig
from mfo.embedded.processes import free_port
from projections.app import run
from projections.told import short
from tests.projections.conftest import House, config_for, running
from tests.projections.test_inventory import ASSETS, kept
from tests.waiting import until


async def test_it_keeps_all_read_models_and_says_how_it_is(told_house: House, config: ServiceConfig) -> None:
    serving = replace(config, health_port=free_port())
    async with running(run(serving)), httpx.AsyncClient(base_url=f"http://127.0.0.1:{serving.health_port}") as client:

        async def ready() -> bool:
            try:
                return (await client.get("/health/ready")).status_code == 200
            except httpx.TransportError:
                return False

        await until(ready, 60)
        assert (await client.get("/health/live")).status_code == 200
        flow_id = await told_house.begin()
        await told_house.complete(flow_id, {"assets": await kept(told_house, ASSETS)})
        await until(lambda: told_house.up_to_date(flow_id))
        await until(lambda: told_house.one("select 1 from assets where flow_id = %s", flow_id))
        parts = (await client.get("/health/ready")).json()
        assert parts["crewai_flow_state_extensions"]["state"] == parts["inventory"]["state"] == "up"
        assert parts["import_field_mappings"]["state"] == "up"
        metrics = (await client.get("/metrics")).text
        for name in ("flow_total", "phase_duration_seconds", "active_flows", "mfo_projection_lag_events"):
            assert f"# TYPE {name.removesuffix('_total')}" in metrics

        async def parked() -> bool:
            # measured every few seconds
            return 'mfo_projection_parked_flows{projection="inventory"} 0.0' in (await client.get("/metrics")).text

        await until(parked, 60)


async def test_a_signal_ends_it(told_house: House, config: ServiceConfig) -> None:
    task = asyncio.create_task(run(config))
    await until(lambda: told_house.one("select bool_and(state = 'live') from projections"), 60)
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(task, 30)


async def test_without_a_database_it_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eventstore.schema.OPEN_SECONDS", 0.5)
    with pytest.raises(StoreUnavailable, match="MFO_DATABASE_URL"):
        await asyncio.wait_for(run(config_for("postgresql://nobody@127.0.0.1:1/nothing")), 30)


def test_who_waits_for_a_topic_says_what_makes_it() -> None:
    assert "python -m mfo.embedded.make_topics" in short(UnknownTopicOrPartitionError())
    assert short(UnknownTopicOrPartitionError("commands")) == "UnknownTopicOrPartitionError: commands"
    assert short(KafkaConnectionError()) == "KafkaConnectionError"
