"""`mfo dev`: started, doubled, stopped, killed and started again."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import httpx
import psutil
import psycopg
from aiokafka import AIOKafkaConsumer

from mfo.client import Client
from mfo.embedded.processes import wait_until
from tests.cli.support import Dev, dev, mfo


async def test_what_env_prints_leads_to_the_database_and_to_kafka(running_dev: Dev) -> None:
    found = running_dev.environment
    with psycopg.connect(found["MFO_DATABASE_URL"]) as connection:
        row = connection.execute("select current_schema(), count(*) from crewai_flow_state_extensions").fetchone()
        assert row is not None
        assert row[0] == "mfo"
    consumer = AIOKafkaConsumer("mfo.events.v1", bootstrap_servers=found["MFO_KAFKA_BOOTSTRAP"])
    await consumer.start()
    try:
        assert consumer.partitions_for_topic("mfo.events.v1")
    finally:
        await consumer.stop()


def test_what_is_secret_only_its_owner_can_read(running_dev: Dev) -> None:
    assert Path(running_dev.environment["MFO_MASTER_KEY_FILE"]).stat().st_mode & 0o077 == 0
    assert (running_dev.data / "dev.json").stat().st_mode & 0o077 == 0


def test_a_second_dev_on_the_same_folder_is_refused(running_dev: Dev) -> None:
    said = mfo("dev", "--data", str(running_dev.data), "--port", "0", "--json")
    assert said.code == 1
    assert "in use" in said.document["error"]["detail"]
    assert "Traceback" not in said.err
    assert httpx.get(f"{running_dev.told['url']}/health/ready", trust_env=False).status_code == 200


def test_a_taken_port_is_refused(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = mfo("dev", "--data", str(tmp_path / "dev"), "--port", str(port), "--json")
    assert said.code == 1
    assert str(port) in said.document["error"]["detail"]


def test_a_folder_that_is_not_ours_is_not_emptied(tmp_path: Path) -> None:
    precious = tmp_path / "thesis.txt"
    precious.write_text("years of work")
    said = mfo("dev", "--data", str(tmp_path), "--port", "0", "--fresh", "--json")
    assert said.code == 1
    assert precious.read_text() == "years of work"


def test_a_service_that_dies_is_started_again(running_dev: Dev) -> None:
    def api() -> list[psutil.Process]:
        return [process for process in running_dev.services() if process.cmdline()[-2:] == ["mfo", "api"]]

    (killed,) = api()
    killed.kill()
    url = f"{running_dev.told['url']}/health/live"
    assert wait_until(lambda: bool(api()) and api() != [killed] and _answers(url), seconds=30, every=0.1)
    assert "api ended (by SIGKILL)" in running_dev.log()


def test_a_killed_dev_goes_on_where_it_was_and_ends_in_good_order(tmp_path: Path) -> None:
    data = tmp_path / "dev"
    inventory = tmp_path / "servers.csv"
    inventory.write_text("Server Name,IP Address\nweb01,10.0.0.1\n")
    with dev(data) as first:
        before = first.environment
        words = (
            "flow",
            "create",
            "discovery",
            "--file",
            str(inventory),
            "--input",
            "auto_approve_mappings=true",
            "--auto",
            "--json",
        )
        flow = mfo(*words, environment=before).document
        os.kill(first.process.pid, signal.SIGKILL)
        first.process.wait()
        left = first.everything()
        assert left, "nothing outlived the supervisor, so the start after it proves nothing"
        assert mfo("env", "--data", str(data)).code == 3

        with dev(data) as second:
            assert not [process for process in left if _runs(process)]
            after = second.environment
            assert {name: after[name] for name in after if name.endswith("_ID")} == {
                name: before[name] for name in before if name.endswith("_ID")
            }
            done = mfo("flow", "watch", flow["flow_id"], "--json", environment=after)
            assert (done.code, done.document["status"]) == (0, "completed"), done.err
            events = mfo("flow", "history", flow["flow_id"], "--json", environment=after).document["events"]
            assert sum(event["type"] == "mfo.flow.FlowCompleted.v1" for event in events) == 1

            everything = second.everything()
            began = time.monotonic()
            second.process.send_signal(signal.SIGINT)
            assert second.process.wait(15) == 0
            assert time.monotonic() - began <= 10
            assert not [process for process in everything if _runs(process)]
            assert mfo("env", "--data", str(data)).code == 3


async def test_a_system_killed_in_the_middle_of_60_flows_completes_each_once(tmp_path: Path) -> None:
    data, flows = tmp_path / "dev", 60
    inventory = tmp_path / "servers.csv"
    inventory.write_text("Server Name,IP Address\nweb01,10.0.0.1\n")
    with dev(data) as first:
        async with _client(first) as client:
            upload = await client.upload(inventory)
            given = {"import_file_id": upload["import_file_id"], "auto_approve_mappings": True}
            made = await asyncio.gather(
                *(
                    client.create_flow("discovery", f"flow {n}", initial_data=given, options={"auto_execute": True})
                    for n in range(flows)
                )
            )
            async for _ in client.follow(made[4]["flow_id"]):
                pass
        for process in [psutil.Process(first.process.pid), *first.everything()]:
            process.kill()
        killed_at = datetime.now(UTC)
        first.process.wait()

    with dev(data) as second:
        async with _client(second) as client:
            after_the_kill = 0
            async with asyncio.timeout(60):
                for flow in made:
                    last = [status["status"] async for status in client.follow(flow["flow_id"])][-1]
                    assert last == "completed"
            for flow in made:
                events = [event async for event in client.pages(f"/flows/{flow['flow_id']}/history", "events")]
                assert [event["version"] for event in events] == list(range(1, len(events) + 1))
                names = Counter((event["type"].split(".")[2], event["data"].get("phase_name")) for event in events)
                after_the_kill += datetime.fromisoformat(events[-1]["occurred_at"]) > killed_at
                once = {count for (name, _), count in names.items() if name in {"PhaseCompleted", "FlowCompleted"}}
                assert (once, sum(name == "PhaseCompleted" for name, _ in names)) == ({1}, 6)
            assert after_the_kill > 0, "all were completed before the kill, so nothing was proven"


def _client(running: Dev) -> Client:
    found = running.environment
    return Client(found["MFO_URL"], found["MFO_CLIENT_ACCOUNT_ID"], found["MFO_ENGAGEMENT_ID"], found["MFO_USER_ID"])


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
