"""The embedded PostgreSQL keeps its data whatever happened to it, and to us."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psutil
import psycopg
import pytest

from mfo.embedded import EmbeddedError, Postgres
from mfo.embedded.processes import is_running

STARTER = "import sys, time; from pathlib import Path; from mfo.embedded import {name};\
 print({name}(Path(sys.argv[1])).start(), flush=True); time.sleep(600)"


def start_elsewhere(name: str, folder: Path) -> tuple[subprocess.Popen[str], str]:
    """A process that starts the server and does no more, and the address that it said."""
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER.format(name=name), str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert starter.stdout
    return starter, starter.stdout.readline().strip()


def kill_starter(starter: subprocess.Popen[str]) -> None:
    starter.kill()
    starter.wait()
    assert starter.stdout
    starter.stdout.close()


def kill_all_of(folder: Path) -> None:
    """What `kill -9` of everything does, the server's own children included."""
    for process in psutil.process_iter():
        try:
            ours = str(folder) in " ".join(process.cmdline()) or process.cwd().startswith(str(folder))
            if ours and process.pid != os.getpid():
                process.kill()
        except psutil.Error:
            continue


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Postgres]:
    server = Postgres(tmp_path)
    yield server
    server.stop()


def remember(url: str, word: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("create table if not exists words (word text)")
        connection.execute("insert into words values (%s)", [word])


def words(url: str) -> list[str]:
    with psycopg.connect(url) as connection:
        return [row[0] for row in connection.execute("select word from words order by word")]


def test_a_stop_and_a_start_keep_data_port_and_password(server: Postgres) -> None:
    url = server.start()
    remember(url, "kept")
    server.stop()
    assert server.start() == url
    assert words(url) == ["kept"]


def test_the_second_start_makes_no_cluster_again(server: Postgres) -> None:
    server.start()
    made = (server.cluster / "PG_VERSION").stat()
    server.stop()
    server.start()
    again = (server.cluster / "PG_VERSION").stat()
    assert (again.st_ino, again.st_mtime_ns) == (made.st_ino, made.st_mtime_ns)


def test_nothing_acknowledged_is_lost_when_everything_is_killed(server: Postgres) -> None:
    starter, url = start_elsewhere("Postgres", server.folder.parent)
    remember(url, "kept")
    kill_starter(starter)
    kill_all_of(server.cluster)
    assert words(server.start()) == ["kept"]


def test_a_server_that_outlived_its_starter_is_taken_over(server: Postgres) -> None:
    starter, url = start_elsewhere("Postgres", server.folder.parent)
    remember(url, "kept")
    kill_starter(starter)
    assert words(url) == ["kept"]
    assert words(server.start()) == ["kept"]


def test_a_backend_that_outlived_its_server_is_ended(server: Postgres) -> None:
    starter, url = start_elsewhere("Postgres", server.folder.parent)
    remember(url, "kept")
    with closing(psycopg.connect(url)) as connection:
        backend = psutil.Process(connection.info.backend_pid)
        # busy in a statement, the backend does not notice that its parent is gone
        connection.pgconn.send_query(b"select count(*) from generate_series(1, 100000000000)")
        kill_starter(starter)
        os.kill(int((server.cluster / "postmaster.pid").read_text().splitlines()[0]), signal.SIGKILL)
        assert is_running(backend)
        assert words(server.start()) == ["kept"]
    assert not is_running(backend)


def test_two_run_side_by_side_and_a_folder_has_one_user(
    server: Postgres, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = Postgres(tmp_path_factory.mktemp("other"))
    remember(server.start(), "here")
    try:
        remember(other.start(), "there")
        assert words(server.dsn()) == ["here"]
        with pytest.raises(EmbeddedError, match="in use by another running mfo"):
            Postgres(server.folder.parent).start()
        assert words(server.dsn()) == ["here"]
    finally:
        other.stop()


def test_nobody_comes_in_without_the_password(server: Postgres) -> None:
    url = server.start()
    password = (server.folder / "password").read_text()
    assert stat.S_IMODE((server.folder / "password").stat().st_mode) == 0o600
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(url.replace(password, "guess"))
    local = f"host={server.cluster} port={server.port} user=mfo dbname=mfo password=guess"
    if (server.cluster / f".s.PGSQL.{server.port}").exists():
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(local)


def test_commits_are_durable(server: Postgres) -> None:
    with psycopg.connect(server.start()) as connection:
        for name in ("fsync", "synchronous_commit", "full_page_writes", "data_checksums"):
            assert connection.execute("select current_setting(%s)", [name]).fetchone() == ("on",)


def test_a_port_that_was_asked_for_and_is_taken_is_refused(
    server: Postgres, tmp_path_factory: pytest.TempPathFactory
) -> None:
    server.start()
    with pytest.raises(EmbeddedError, match=f"Port {server.port} is taken"):
        Postgres(tmp_path_factory.mktemp("other"), port=server.port).start()
