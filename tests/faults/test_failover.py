"""The primary dies in the middle of flows, its standby is promoted: a connection string with both hosts finds it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from mfo.embedded import KafkaJars, Postgres
from mfo.embedded.postgres import SETTINGS, Account, binaries
from mfo.embedded.processes import free_port
from tests.faults.stand import Stand, stand


def tool(account: Account, name: str, *options: str, paths: tuple[Path, ...] = ()) -> None:
    """One of PostgreSQL's own programs, as the account that owns the cluster."""
    command = account.command(str(binaries() / name), *options, paths=(binaries(), *paths))
    done = subprocess.run(command, capture_output=True, text=True, cwd="/", check=False)
    assert done.returncode == 0, f"{name}: {done.stdout}{done.stderr}"


@contextmanager
def standby_of(primary: Postgres) -> Iterator[int]:
    """A synchronous standby; the port it serves."""
    account = Account.of(primary.cluster)
    cluster = primary.folder / "standby"
    port = free_port()
    cluster.mkdir(mode=0o700)
    account.give(cluster)
    source = ("-d", primary.dsn("postgres"), "-R", "-X", "stream", "-c", "fast")
    tool(account, "pg_basebackup", *source, "-D", str(cluster), paths=(cluster,))
    settings = SETTINGS | {"port": str(port), "unix_socket_directories": str(cluster)}
    options = " ".join(f"-c {name}='{value}'" for name, value in settings.items())
    log = cluster / "standby.log"
    tool(account, "pg_ctl", "-D", str(cluster), "-l", str(log), "-o", options, "-w", "start", paths=(cluster,))
    try:
        yield port
    finally:
        tool(account, "pg_ctl", "-D", str(cluster), "-m", "immediate", "-w", "stop", paths=(cluster,))


@pytest.fixture
def replicated(tmp_path: Path) -> Iterator[tuple[Stand, Postgres, int]]:
    """The services on a primary with a synchronous standby, the primary, and the standby's port."""
    can, reason = KafkaJars.available()
    if not can:
        pytest.skip(f"needs a real Kafka of its own: {reason}")
    primary = Postgres(tmp_path)
    url = primary.start()
    try:
        with standby_of(primary) as port:
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute("alter system set synchronous_standby_names = '*'")
                connection.execute("select pg_reload_conf()")
            both = url.replace(f"@127.0.0.1:{primary.port}/", f"@127.0.0.1:{primary.port},127.0.0.1:{port}/")
            with stand(tmp_path / "stand", f"{both}?target_session_attrs=read-write") as services:
                yield services, primary, port
    finally:
        primary.stop()


async def test_a_standby_takes_over(replicated: tuple[Stand, Postgres, int]) -> None:
    services, primary, port = replicated
    await services.ready()
    flows = await services.under_way()
    primary.stop()
    url = primary.dsn().replace(f":{primary.port}/", f":{port}/")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("select pg_promote()")
        connection.execute("alter system set synchronous_standby_names = ''")
        connection.execute("select pg_reload_conf()")
    services.database_url = url
    await services.ready()
    await services.all_end_well(flows)
