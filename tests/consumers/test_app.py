"""The service as a whole, on a real Kafka: started, killed, cut off, stopped."""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import psutil

from eventstore.service import ServiceConfig
from tests.consumers.conftest import client_of, ended, serving
from tests.eventstore.house import House, create, open_house
from tests.waiting import until

RUN = """
import asyncio, sys
from consumers.app import run
from tests.eventstore.house import config_for
asyncio.run(run(config_for(sys.argv[1], kafka_bootstrap=sys.argv[2], topic_prefix=sys.argv[3], workers=1)))
"""


async def test_after_kill_9_another_process_takes_the_run_over(
    config: ServiceConfig, house: House, tmp_path: Path
) -> None:
    begun, go = tmp_path / "begun", tmp_path / "go"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", RUN, config.database_url, config.kafka_bootstrap, config.topic_prefix),
        cwd=Path(__file__).parents[2],
    )
    try:
        async with client_of(config) as client:
            flow_id = uuid4()
            body = {"flow_type": "slow", "flow_name": "s", "initial_data": {"begun": str(begun), "go": str(go)}}
            await client.send("CreateFlow", flow_id, {**body, "options": {"auto_execute": True}})
            await until(lambda: list(tmp_path.glob("begun.*")), 60)
            children = psutil.Process(process.pid).children(recursive=True)
            process.send_signal(signal.SIGKILL)
            await process.wait()
            for child in children:
                # they end with their parent, perhaps before this
                with suppress(psutil.NoSuchProcess):
                    child.kill()
            async with serving(config):
                await until(lambda: len(list(tmp_path.glob("begun.*"))) == 2, 60)
                go.touch()
                flow = await ended(house, flow_id)
                ids = [f"{flow_id}:{n}" for n in range(1, flow.version + 1)]
                topic = config.topics.events
                await until(lambda: {dict(r.headers)["ce_id"].decode() for r in client.on(topic)} == set(ids))
        assert flow.attempts_failed == 0
        assert (await house.facts(flow_id)).count("PhaseCompleted") == 1
        assert (await house.facts(flow_id)).count("RunReassigned") == 1
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_the_service_runs_flows_from_kafka_to_kafka(config: ServiceConfig, house: House) -> None:
    async with serving(config), client_of(config) as client:
        flow_id = uuid4()
        command_id = await client.send(
            "CreateFlow", flow_id, {"flow_type": "modes", "flow_name": "m", "options": {"auto_execute": True}}
        )
        reply = await client.reply(command_id)
        assert (reply["outcome"], reply["version"]) == ("accepted", 2)
        flow = await ended(house, flow_id)
        await until(lambda: len(client.on(config.topics.events)) == flow.version)
        versions = [int(dict(r.headers)["ce_sequence"]) for r in client.on(config.topics.events)]
        assert versions == list(range(1, flow.version + 1))


async def test_without_kafka_the_service_waits_and_still_stops(database_url: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", RUN, database_url, "127.0.0.1:1", "t"), cwd=Path(__file__).parents[2]
    )
    try:
        async with open_house(database_url) as house:
            flow = (await house.ask(create())).flow
            assert flow is not None
            # work goes on without Kafka
            await ended(house, flow.id)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 30) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
