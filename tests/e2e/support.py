"""A whole service, who asks it, and who listens to what it tells Kafka."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from mfo.client import Client
from tests.cli import support
from tests.cli.support import Dev, clean_environment, dev

Json = dict[str, Any]

EVENTS, REPLIES, COMMANDS = "mfo.events.v1", "mfo.replies.v1", "mfo.commands.v1"

SERVERS = """Server Name,IP Address,Operating System,vCPU,Memory (MB),Environment
web01,10.0.0.1,Ubuntu 18.04,2,4096,prod
app01,10.0.0.2,Windows Server 2012 R2,4,8192,prod
db01,10.0.0.3,Red Hat Enterprise Linux 8.6,8,32768,prod
"""
CONNECTIONS = """Source server name,Source IP,Destination server name,Destination IP,Destination port
web01,10.0.0.1,app01,10.0.0.2,8080
app01,10.0.0.2,db01,10.0.0.3,5432
"""
MACHINES = ["app01", "db01", "web01"]


def inventory(folder: Path) -> list[Path]:
    """Three servers and who talks to whom, as two files."""
    files = [folder / "servers.csv", folder / "connections.csv"]
    for file, text in zip(files, (SERVERS, CONNECTIONS), strict=True):
        file.write_text(text)
    return files


async def upload(client: Client, folder: Path) -> list[str]:
    """The import ids of the inventory."""
    return [str((await client.upload(file))["import_file_id"]) for file in inventory(folder)]


def tenant(environment: Json) -> tuple[str, str, str]:
    """Client account, engagement and user of a `mfo dev`."""
    return environment["MFO_CLIENT_ACCOUNT_ID"], environment["MFO_ENGAGEMENT_ID"], environment["MFO_USER_ID"]


def client_of(environment: Json) -> Client:
    """The tenant's client."""
    return Client(environment["MFO_URL"], *tenant(environment))


@contextmanager
def dev_with(data: Path, *options: str, **settings: str) -> Iterator[Dev]:
    """A `mfo dev` with further options and settings."""
    given = clean_environment() | settings
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(support, "clean_environment", lambda: dict(given))
        with dev(data, *options) as running:
            yield running


def kill_all(running: Dev) -> int:
    """SIGKILL to the supervisor first and then to everything that it started; answers how many processes that were."""
    supervisor = psutil.Process(running.process.pid)
    left = {process.pid: process for process in (*supervisor.children(recursive=True), *running.everything())}
    supervisor.kill()
    for process in left.values():
        with suppress(psutil.NoSuchProcess):
            process.kill()
    running.process.wait()
    psutil.wait_procs(list(left.values()), timeout=10)
    return len(left) + 1


async def until_status(client: Client, flow_id: str, wanted: str, min_version: int | None = None) -> Json:
    """The first status that is the wanted one."""
    status: Json = {}
    async with asyncio.timeout(40), aclosing(client.follow(flow_id, min_version=min_version)) as changes:
        async for status in changes:
            if status["status"] == wanted:
                return status
    raise AssertionError(f"the flow became {status.get('status')}, not {wanted}: {status.get('errors')}")


@dataclass(slots=True)
class Message:
    """A record as its subscriber got it."""

    key: str
    headers: dict[str, str]
    data: Json

    @property
    def name(self) -> str:
        """`Accepted` of `mfo.reply.Accepted.v1`."""
        return self.headers["ce_type"].split(".")[2]

    @property
    def version(self) -> int:
        return int(self.headers["ce_sequence"])


@dataclass
class Listener:
    """Somebody who reads topics from their beginning, and remembers everything."""

    consumer: AIOKafkaConsumer
    heard: dict[str, list[Message]] = field(default_factory=lambda: {EVENTS: [], REPLIES: []})

    async def until(self, condition: Callable[[], bool], seconds: float = 60) -> None:
        """Read on until the condition holds; asked again after every batch."""
        async with asyncio.timeout(seconds):
            while not condition():
                for partition, records in (await self.consumer.getmany(timeout_ms=200)).items():
                    for record in records:
                        headers = {name: value.decode() for name, value in record.headers}
                        message = Message(record.key.decode(), headers, json.loads(record.value))
                        self.heard[partition.topic].append(message)

    def flow(self, flow_id: str) -> list[Message]:
        """The flow's events as they came, repeats dropped by `(subject, sequence)`."""
        last, kept = 0, []
        for message in self.heard[EVENTS]:
            if message.headers["ce_subject"] == flow_id and message.version > last:
                last = message.version
                kept.append(message)
        return kept

    def ends(self, flow_id: str) -> bool:
        """Whether the flow's last event has come."""
        events = self.flow(flow_id)
        return bool(events) and events[-1].name == "FlowCompleted"

    async def reply(self, command_id: str, n: int = 1) -> Message:
        """The n-th answer to a command, once it is there."""

        def answers() -> list[Message]:
            return [message for message in self.heard[REPLIES] if message.data["command_id"] == command_id]

        await self.until(lambda: len(answers()) >= n)
        return answers()[n - 1]


@asynccontextmanager
async def listener(bootstrap: str) -> AsyncIterator[Listener]:
    """A foreign subscriber of events and replies."""
    consumer = AIOKafkaConsumer(
        EVENTS, REPLIES, bootstrap_servers=bootstrap, enable_auto_commit=False, auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        yield Listener(consumer)
    finally:
        await consumer.stop()


@asynccontextmanager
async def sender(bootstrap: str) -> AsyncIterator[AIOKafkaProducer]:
    """A foreign producer."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all")
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()
