"""A PostgreSQL of a measurement's own, with the schema and, where wanted, a Kafka, for as long as a block lasts."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
import psycopg

from eventstore.migrate import upgrade
from eventstore.service import AuditConfig, ServiceConfig
from mfo.embedded import Postgres, choose_kafka, ensure_topics

SEED = bytes(32)


@dataclass(frozen=True, slots=True)
class OwnStore:
    """Where it is, with the processes of its servers and what they are."""

    config: ServiceConfig
    pids: dict[str, int]
    versions: dict[str, str]


@contextmanager
def own_store(*, kafka: bool = False, flow_types: tuple[str, ...] = ()) -> Iterator[OwnStore]:
    """An empty store on a scratch folder; raises EmbeddedError when its servers do not come up."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="mfo-bench-store-", ignore_cleanup_errors=True)))
        server = Postgres(folder)
        stack.callback(server.stop)
        url = server.start()
        upgrade(url)
        with psycopg.connect(url) as connection:
            versions = {"postgresql": connection.info.parameter_status("server_version") or "unknown"}
        bootstrap = "127.0.0.1:1"
        if kafka:
            broker, why = choose_kafka("auto", folder)
            stack.callback(broker.stop)
            bootstrap = broker.start()
            if broker.kind == "jars":
                asyncio.run(ensure_topics(bootstrap))
            versions["kafka"] = f"{broker.kind} ({why})"
        config = ServiceConfig(
            database_url=url,
            kafka_bootstrap=bootstrap,
            master_key=bytes(range(32)),
            audit=AuditConfig(seed=SEED),
            flow_type_modules=flow_types,
        )
        yield OwnStore(config, dict(_servers(folder)), versions)


def _servers(folder: Path) -> Iterator[tuple[str, int]]:
    for child in psutil.Process().children():
        words = child.cmdline()
        if any(str(folder) in word for word in words):
            yield ("PostgreSQL" if "postgres" in words[0] else "Kafka"), child.pid
