"""`mfo dev`: started, doubled, stopped, killed and started again."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
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


def test_what_only_operators_may_ask_can_be_asked_with_what_env_prints(running_dev: Dev) -> None:
    said = mfo("audit", "report", "--account", "--json", environment=running_dev.environment)
    assert said.code == 0, said.err
    unknown = {name: value for name, value in running_dev.environment.items() if name != "MFO_OPERATOR_TOKEN"}
    said = mfo("audit", "report", "--account", "--json", environment=unknown)
    assert (said.code, said.document["error"]["code"]) == (1, "operator_only")


def test_what_is_secret_only_its_owner_can_read(running_dev: Dev) -> None:
    assert Path(running_dev.environment["MFO_MASTER_KEY_FILE"]).stat().st_mode & 0o077 == 0
    for name in ("dev.json", "operator.token"):
        assert (running_dev.data / name).stat().st_mode & 0o077 == 0


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


async def test_a_broker_that_keeps_nothing_is_told_history_again(tmp_path: Path) -> None:
    data = tmp_path / "dev"
    with dev(data, "--kafka", "builtin") as first:
        async with _client(first) as client:
            made = await client.create_flow("discovery", "kept")
        assert await _first_event(first.environment["MFO_KAFKA_BOOTSTRAP"], made["flow_id"]) == b"1"
    with dev(data, "--kafka", "builtin") as second:
        assert await _first_event(second.environment["MFO_KAFKA_BOOTSTRAP"], made["flow_id"]) == b"1"


async def _first_event(bootstrap: str, flow_id: str) -> bytes | None:
    """The sequence of the first event of a flow that a new subscriber meets."""
    consumer = AIOKafkaConsumer(
        "mfo.events.v1", bootstrap_servers=bootstrap, auto_offset_reset="earliest", fetch_max_wait_ms=5
    )
    await consumer.start()
    try:
        async with asyncio.timeout(30):
            async for record in consumer:
                if record.key == flow_id.encode():
                    found: bytes = dict(record.headers)["ce_sequence"]
                    return found
    finally:
        await consumer.stop()
    return None


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
