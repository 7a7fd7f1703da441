"""Temporal as an engine: its server on PostgreSQL with one worker, each flow six activities or six local ones."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from psycopg.conninfo import conninfo_to_dict

from bench.peers.packages import (
    TEMPORAL,
    TEMPORAL_VISIBILITY,
    TEMPORAL_VISIBILITY_VERSION,
    pinned,
    python,
    said,
    temporal_home,
)
from bench.peers.running import Driver, Engine, ports, postgres, scratch, started
from bench.processor import Parts

SERVICES = ("frontend", "history", "matching", "worker")
PLUGIN = "postgres12"
HISTORY, VISIBILITY = "temporal", "temporal_visibility"
# as they are set for a few busy task queues: as it comes, a history shard hands on 20 tasks a second
SETTINGS = {
    "history.transferProcessorMaxPollRPS": 1000,
    "matching.numTaskqueueReadPartitions": 1,
    "matching.numTaskqueueWritePartitions": 1,
}


@contextmanager
def temporal(kind: str = "activities") -> Iterator[Engine]:
    """`activities` records each step by itself, `local` all six of a flow together at its end."""
    programs, interpreter = temporal_home(), str(python())
    with scratch("temporal") as (stack, home):
        database, database_pid = postgres(stack, home)
        store = conninfo_to_dict(database.dsn())
        _make_tables(programs, store)
        at = ports(*(f"{service} {use}" for service in SERVICES for use in ("grpc", "membership")))
        config = home / "server.yaml"
        # JSON is YAML
        config.write_text(json.dumps(_config(store, at, home)))
        program = str(programs / "bin" / "temporal-server")
        server = started(
            stack, [program, "--config-file", str(config), "--allow-no-auth", "start"], home / "server.log"
        )
        command = [interpreter, "temporal_driver.py"]
        address = f"127.0.0.1:{at['frontend grpc']}"
        worker = started(stack, [*command, "worker", address, kind], home / "worker.log")
        caller = Driver(stack, [*command, "caller", address, kind], home / "caller.log", home / "server.log")
        parts = Parts(
            others={"server": server.pid, "worker": worker.pid, "caller": caller.pid, "PostgreSQL": database_pid}
        )
        versions = {"temporal": TEMPORAL.rpartition("@v")[2], "temporalio": pinned("temporalio")}
        yield Engine(caller.many, caller.alone, parts, versions | {"postgresql": "as ours"})


def _make_tables(programs: Path, store: dict[str, Any]) -> None:
    tool = [str(programs / "bin" / "temporal-sql-tool"), "--plugin", PLUGIN]
    tool += ["--ep", store["host"], "--port", str(store["port"]), "--user", store["user"], "--pw", store["password"]]
    for database in (HISTORY, VISIBILITY):
        said(*tool, "--db", database, "create")
    said(*tool, "--db", HISTORY, "setup-schema", "--version", "0.0")
    said(*tool, "--db", HISTORY, "update-schema", "--schema-name", "postgresql/v12/temporal")
    tables = ["--schema-file", str(programs / TEMPORAL_VISIBILITY), "--version", TEMPORAL_VISIBILITY_VERSION]
    said(*tool, "--db", VISIBILITY, "setup-schema", *tables)


def _config(store: dict[str, Any], at: dict[str, int], home: Path) -> dict[str, Any]:
    """The server's own example for development on PostgreSQL, with our ports and no archive."""
    dynamic = home / "dynamic.yaml"
    dynamic.write_text(json.dumps({name: [{"value": value}] for name, value in SETTINGS.items()}))

    def datastore(name: str, connections: int) -> dict[str, Any]:
        sql = {"pluginName": PLUGIN, "databaseName": name, "connectProtocol": "tcp", "maxConnLifetime": "1h"}
        sql |= {"connectAddr": f"{store['host']}:{store['port']}", "user": store["user"], "password": store["password"]}
        return {"sql": sql | {"maxConns": connections, "maxIdleConns": connections}}

    return {
        "log": {"stdout": True, "level": "error"},
        "persistence": {
            "defaultStore": "default",
            "visibilityStore": "visibility",
            "numHistoryShards": 4,
            "datastores": {"default": datastore(HISTORY, 20), "visibility": datastore(VISIBILITY, 2)},
        },
        "global": {"membership": {"maxJoinDuration": "30s", "broadcastAddress": "127.0.0.1"}},
        "services": {
            service: {
                "rpc": {
                    "grpcPort": at[f"{service} grpc"],
                    "membershipPort": at[f"{service} membership"],
                    "bindOnLocalHost": True,
                }
            }
            for service in SERVICES
        },
        "clusterMetadata": {
            "enableGlobalNamespace": False,
            "failoverVersionIncrement": 10,
            "masterClusterName": "active",
            "currentClusterName": "active",
            "clusterInformation": {
                "active": {
                    "enabled": True,
                    "initialFailoverVersion": 1,
                    "rpcName": "frontend",
                    "rpcAddress": f"127.0.0.1:{at['frontend grpc']}",
                }
            },
        },
        "dcRedirectionPolicy": {"policy": "noop"},
        "dynamicConfigClient": {"filepath": str(dynamic), "pollInterval": "10s"},
    }
