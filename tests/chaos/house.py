"""The whole service in processes of its own, on a PostgreSQL and a Kafka of its own, all of which can be hurt."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any, Self

import psutil
import psycopg

from eventstore.config import DEFAULT_SHARD
from eventstore.migrate import upgrade
from mfo.client import ready
from mfo.embedded import KafkaJars, Postgres, ensure_topics
from mfo.embedded.processes import free_port, is_running, processes_where, tail, wait_until, write_private
from tests.chaos import ledger

ROOT = Path(__file__).resolve().parents[2]
# tells our processes from all others on the machine, whatever became of their parents
BELONGS_TO = "CHAOS_FOLDER"
MODULE = "tests.chaos.shapes"
RESTART_SECONDS = 0.5
START_SECONDS = 120.0
CRASHES = (signal.SIGKILL, signal.SIGQUIT)


class ChaosError(Exception):
    """The stack could not be brought up; nothing was shown."""


class Service:
    """A process that is started again whenever it has ended."""

    def __init__(self, name: str, words: tuple[str, ...], log: Path, environment: dict[str, str]) -> None:
        self.name = name
        self.starts = 0
        self._words = words
        self._log = log
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None
        self._again = 0.0

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    @property
    def code(self) -> int | None:
        """How it ended, where it has."""
        return self._process.poll() if self._process is not None else None

    def start(self) -> None:
        """Start it."""
        self.starts += 1
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *self._words],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=ROOT,
                env=self._environment,
                start_new_session=True,
            )

    def watch(self) -> None:
        """Start it again, a moment after it has ended."""
        if self.pid is not None:
            return
        if not self._again:
            self._again = time.monotonic() + RESTART_SECONDS
        elif time.monotonic() >= self._again:
            self._again = 0.0
            self.start()

    def children(self) -> list[int]:
        """The process ids of its worker children."""
        if self.pid is None:
            return []
        with suppress(psutil.Error):
            return [child.pid for child in psutil.Process(self.pid).children() if is_running(child)]
        return []

    def end(self) -> None:
        """End it and all that is left of its group, frozen or not."""
        if self._process is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


class House:
    """One run's stack in a folder: a context manager that leaves no process behind."""

    def __init__(self, folder: Path, *, consumers: int = 2) -> None:
        self.folder = folder.resolve()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.ledger = self.folder / "ledger.ndjson"
        self.crashes: Counter[str] = Counter()
        self._consumers = consumers
        self._postgres = Postgres(self.folder, port=_port())
        self._kafka = KafkaJars(self.folder)
        self._services: dict[str, Service] = {}
        self._down: set[str] = set()
        self.audit_seed = secrets.token_bytes(32)
        self.url = f"http://127.0.0.1:{_port()}"
        self.bootstrap = ""
        self.dsn = ""

    def __enter__(self) -> Self:
        can, reason = KafkaJars.available()
        if not can:
            raise ChaosError(f"a real Kafka is needed: {reason}")
        try:
            self._start()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def _start(self) -> None:
        self._postgres.start()
        self.dsn = f"{self._postgres.dsn()}?options=-csearch_path%3D{DEFAULT_SHARD}"
        upgrade(self._postgres.dsn(), DEFAULT_SHARD)
        # ports out of the range from which the kernel takes those of outgoing connections: they must be free again after a crash
        for name in ("port", "controller-port"):
            self._kafka.folder.mkdir(parents=True, exist_ok=True)
            write_private(self._kafka.folder / name, str(_port()))
        self.bootstrap = self._kafka.start()
        asyncio.run(ensure_topics(self.bootstrap))
        environment = self._environment()
        names = ["api", *(f"consumers-{n + 1}" for n in range(self._consumers)), "projections"]
        for name in names:
            words = ("mfo", name.split("-")[0])
            self._services[name] = Service(name, words, self.folder / f"{name}.log", environment)
            self._services[name].start()
        if not wait_until(self._is_ready, START_SECONDS, every=0.2):
            said = "\n".join(f"{name}: {tail(self.folder / f'{name}.log')}" for name in names)
            raise ChaosError(f"the service is not ready after {START_SECONDS:g} s\n{said}")

    def _is_ready(self) -> bool:
        return ready(self.url)[0] and all(service.children() for service in self.consumers)

    def _environment(self) -> dict[str, str]:
        given = {name: value for name, value in os.environ.items() if not name.startswith("MFO_")}
        paths = [str(ROOT), *filter(None, given.get("PYTHONPATH", "").split(os.pathsep))]
        return given | {
            "PYTHONPATH": os.pathsep.join(paths),
            "MFO_DATABASE_URL": self.dsn,
            "MFO_KAFKA_BOOTSTRAP": self.bootstrap,
            "MFO_MASTER_KEY": base64.b64encode(secrets.token_bytes(32)).decode(),
            "MFO_AUDIT_KEY": base64.b64encode(self.audit_seed).decode(),
            "MFO_HTTP_PORT": self.url.rsplit(":", 1)[1],
            "MFO_FLOW_TYPES": MODULE,
            "MFO_LOG_LEVEL": "info",
            ledger.PATH: str(self.ledger),
            BELONGS_TO: str(self.folder),
        }

    @property
    def services(self) -> list[Service]:
        """All services."""
        return list(self._services.values())

    @property
    def consumers(self) -> list[Service]:
        """Those that run the phases."""
        return [service for name, service in self._services.items() if name.startswith("consumers")]

    def service(self, name: str) -> Service:
        """The service with this name, such as `api` or `consumers-1`."""
        return self._services[name]

    def driver(self, scenario: bytes) -> Service:
        """Start the owner of the flows; it is never hurt."""
        (self.folder / "scenario.json").write_bytes(scenario)
        words = ("tests.chaos.driver", str(self.folder))
        environment = {name: value for name, value in self._environment().items() if not name.startswith("MFO_")}
        driver = Service("driver", words, self.folder / "driver.log", environment)
        driver.start()
        self._services["driver"] = driver
        return driver

    def driver_says(self) -> dict[str, Any]:
        """What the driver last told of itself; nothing before it has."""
        with suppress(OSError, ValueError):
            said: dict[str, Any] = json.loads((self.folder / "driver.json").read_text())
            return said
        return {}

    def watch(self) -> None:
        """Start again what has ended, as whoever runs a service does."""
        for name, service in self._services.items():
            if name != "driver":
                service.watch()

    def crash_postgres(self, random: Random, seconds: float) -> tuple[int, ...]:
        """End the server at once, with the backends left to themselves or not, and start it after a while; the process ended."""
        return self._crash("PostgreSQL", self._postgres, random.choice(CRASHES), seconds)

    def crash_kafka(self, seconds: float) -> tuple[int, ...]:
        """Kill the broker and start it after a while; the process killed."""
        return self._crash("Kafka", self._kafka, signal.SIGKILL, seconds)

    def _crash(self, name: str, server: Postgres | KafkaJars, how: signal.Signals, seconds: float) -> tuple[int, ...]:
        process = server._server
        if process is None or process.poll() is not None or name in self._down:
            return ()
        self._down.add(name)
        self.crashes[name] += 1
        process.send_signal(how)
        process.wait()
        time.sleep(seconds)
        server.start()
        self._down.discard(name)
        return (process.pid,)

    def sql(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """The rows of a statement; raises psycopg.Error while the server is down."""
        with psycopg.connect(self.dsn, autocommit=True, connect_timeout=5) as connection:
            cursor = connection.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []

    def owner_of_most(self) -> Service | None:
        """The service that has most runs in hand."""
        rows = self.sql(
            "select split_part(owner, ':', 2)::int, count(*) from runs where state = 'running' group by 1 order by 2 desc"
        )
        return self._by_pid(pid for pid, _ in rows)

    def relay_leader(self) -> Service | None:
        """The service that tells Kafka."""
        return self._by_pid(
            pid for (pid,) in self.sql("select split_part(leader, ':', 2)::int from relay where leader is not null")
        )

    def cut_connections(self) -> tuple[int, ...]:
        """End every session with PostgreSQL but our own; the backends ended."""
        rows = self.sql(
            "with others as materialized (select pid from pg_stat_activity where datname = current_database()"
            " and pid <> pg_backend_pid() and backend_type = 'client backend')"
            " select pid from others where pg_terminate_backend(pid)"
        )
        return tuple(pid for (pid,) in rows)

    def _by_pid(self, pids: Iterable[int]) -> Service | None:
        known = {service.pid: service for service in self.consumers}
        return next((known[pid] for pid in pids if pid in known), None)

    def _end(self) -> None:
        for service in self._services.values():
            service.end()
        for left in processes_where(lambda process: process.environ().get(BELONGS_TO) == str(self.folder)):
            with suppress(psutil.Error):
                left.kill()
        self._kafka.stop()
        self._postgres.stop()


def _port() -> int:
    """A free port below those that the kernel gives to outgoing connections."""
    while True:
        wanted = 15_000 + secrets.randbelow(16_000)
        if free_port(wanted) == wanted:
            return wanted
