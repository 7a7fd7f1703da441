"""The three services on a PostgreSQL and a Kafka of their own, which may be broken while flows are under way."""

from __future__ import annotations

import asyncio
import base64
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import psutil
import psycopg

from domain.events import PhaseCompleted
from eventstore.codec import FIRST_HASH, chain, decode
from eventstore.migrate import upgrade
from mfo.client import Client
from mfo.embedded import KafkaJars, Postgres, ensure_topics
from mfo.embedded.processes import free_port, tail
from tests.cli.support import ROOT, clean_environment
from tests.e2e.slow_steps import STEPS, given
from tests.e2e.support import until_status
from tests.faults.wire import Wire
from tests.waiting import until

Json = dict[str, Any]
SERVICES = ("api", "consumers", "projections")
MODULE = "tests.e2e.slow_steps"
FLOWS = 100
PATIENCE_SECONDS = 90


@dataclass
class Stand:
    """What a test may break, and what it asks."""

    folder: Path
    postgres: Postgres
    kafka: KafkaJars
    wire: Wire
    environment: dict[str, str]
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    tenant: tuple[str, str, str] = field(default_factory=lambda: (str(uuid4()), str(uuid4()), "maria"))
    gates: list[Path] = field(default_factory=list)
    database_url: str = ""
    """Straight to the server, past the wire."""

    @property
    def url(self) -> str:
        return self.environment["MFO_URL"]

    def start(self, name: str) -> None:
        """Start one service."""
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", "mfo", name],
                cwd=ROOT,
                env=clean_environment() | {"PYTHONPATH": str(ROOT)} | self.environment,
                stdout=log,
                stderr=log,
            )

    def stop(self) -> None:
        """End what we started."""
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            process.wait(20)

    def health(self) -> Json:
        """`/health/ready` of the api."""
        told: Json = httpx.get(f"{self.url}/health/ready", timeout=20).json()
        return told

    async def until_health(self, part: str, state: str) -> Json:
        """What health says of a part, once it is in that state."""

        def there() -> Json | None:
            try:
                found: Json = self.health().get(part) or {}
            except httpx.HTTPError:
                return None
            return found if found.get("state") == state else None

        told: Json = await until(there, PATIENCE_SECONDS)
        return told

    async def ready(self) -> None:
        """Wait until every part works."""

        def up() -> bool:
            died = [name for name, process in self.processes.items() if process.poll() is not None]
            assert not died, tail(self.folder / f"{died[0]}.log", 40)
            try:
                return bool(self.health()["status"] == "ready")
            except (httpx.HTTPError, KeyError):
                return False

        await until(up, PATIENCE_SECONDS)

    def client(self) -> Client:
        return Client(self.url, *self.tenant)

    async def under_way(self, flows: int = FLOWS) -> list[str]:
        """Flows in the middle of their phases: some have ended, and some do not before `all_end_well`."""
        self.gates.append(self.folder / f"go-{len(self.gates)}")
        async with self.client() as client:
            made = await asyncio.gather(
                *(
                    client.create_flow(
                        "slow_steps", f"flow {n}", initial_data=given(n, self.gates[-1]), options={"auto_execute": True}
                    )
                    for n in range(flows)
                )
            )
            await until_status(client, made[0]["flow_id"], "completed")
        return [flow["flow_id"] for flow in made]

    async def all_end_well(self, flow_ids: Sequence[str]) -> None:
        """Every flow is completed; each phase was, once; versions and hashes have no gap."""
        for gate in self.gates:
            gate.touch()
        async with self.client() as client:
            async with asyncio.timeout(PATIENCE_SECONDS):
                for flow_id in flow_ids:
                    await until_status(client, flow_id, "completed")
        with psycopg.connect(self.database_url, options="-c search_path=mfo") as connection:
            rows = connection.execute(
                "select originator_id, originator_version, topic, state, hash from stored_events"
                " where originator_id = any(%s) order by originator_id, originator_version",
                ([UUID(flow_id) for flow_id in flow_ids],),
            ).fetchall()
        link, last = FIRST_HASH, (None, 0)
        completed: Counter[tuple[UUID, str]] = Counter()
        for flow_id, version, topic, state, digest in rows:
            if flow_id != last[0]:
                link, last = FIRST_HASH, (flow_id, 0)
            assert version == last[1] + 1
            link = chain(link, flow_id, version, topic, state)
            assert link == digest
            last = (flow_id, version)
            fact = decode(flow_id, version, topic, state).fact
            if isinstance(fact, PhaseCompleted):
                completed[flow_id, fact.phase_name] += 1
        assert set(completed.values()) == {1}
        assert len(completed) == len(flow_ids) * len(STEPS)

    async def unfinished(self, flow_ids: Sequence[str]) -> int:
        """How many of the flows have not ended, as history tells it."""
        with psycopg.connect(self.database_url, options="-c search_path=mfo") as connection:
            row = connection.execute(
                "select count(*) from stored_events where topic = 'mfo.flow.FlowCompleted.v1' and originator_id = any(%s)",
                ([UUID(flow_id) for flow_id in flow_ids],),
            ).fetchone()
        assert row is not None
        return len(flow_ids) - int(row[0])

    async def end_kafka(self) -> None:
        """SIGKILL to the broker."""
        server = self.kafka._server
        assert server is not None
        psutil.Process(server.pid).kill()
        server.wait()


@contextmanager
def stand(folder: Path, database_url: str | None = None) -> Iterator[Stand]:
    """Everything started; PostgreSQL behind a wire, or the one at `database_url`, which has no tables yet."""
    postgres, kafka = Postgres(folder), KafkaJars(folder)
    url = postgres.start()
    try:
        bootstrap = kafka.start()
        asyncio.run(ensure_topics(bootstrap, 4))
        upgrade(database_url or url)
        with Wire(postgres.port or 0) as wire:
            ports = {name: free_port() for name in SERVICES}
            environment = {
                "MFO_DATABASE_URL": database_url or url.replace(f":{postgres.port}/", f":{wire.port}/"),
                "MFO_KAFKA_BOOTSTRAP": bootstrap,
                "MFO_MASTER_KEY": base64.b64encode(os.urandom(32)).decode(),
                "MFO_AUDIT_KEY": base64.b64encode(os.urandom(32)).decode(),
                "MFO_FLOW_TYPES": MODULE,
                "MFO_HTTP_PORT": str(ports["api"]),
                "MFO_CONSUMERS_HEALTH_PORT": str(ports["consumers"]),
                "MFO_PROJECTIONS_HEALTH_PORT": str(ports["projections"]),
                "MFO_URL": f"http://127.0.0.1:{ports['api']}",
            }
            made = Stand(folder, postgres, kafka, wire, environment, database_url=database_url or url)
            try:
                for name in SERVICES:
                    made.start(name)
                yield made
            finally:
                made.stop()
    finally:
        kafka.stop()
        postgres.stop()
