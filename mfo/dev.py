"""`mfo dev`: the whole system on this machine, started, watched over and stopped by one process."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import getpass
import json
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, TypeVar
from uuid import uuid4

import psutil
import psycopg

from domain.errors import MfoError
from eventstore.config import DEFAULT_SHARD
from eventstore.migrate import upgrade
from mfo.client import ready
from mfo.dev_keys import MARKER, signing_variables
from mfo.embedded import Kafka, Postgres, choose_kafka, ensure_topics
from mfo.embedded.processes import (
    FolderLock,
    end_processes,
    free_port,
    processes_where,
    remove_tree,
    tail,
    write_private,
)
from mfo.running import NOTE, Running

T = TypeVar("T")
KafkaKind = Literal["auto", "jars", "builtin"]

SERVICES = ("api", "consumers", "projections")
# tells the processes of one data folder from all others on the machine, whatever became of their parents
BELONGS_TO = "MFODEV_FOLDER"
TICK_SECONDS = 0.1
START_SECONDS = 90.0
DEATHS_BEFORE_READY = 3
BACK_OFF_SECONDS = (0.5, 1.0, 2.0, 4.0, 8.0)
STEADY_SECONDS = 30.0
SERVICE_STOP_SECONDS = 4.5
DRAIN_SECONDS = "1.5"
LOG_BYTES_KEPT = 32 << 20
QUIET_LEVELS = frozenset({"debug", "info"})


class DevError(MfoError):
    """The system could not be started on this machine."""

    code = "dev_stack"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What `mfo dev` was asked for; `port` 0 takes a free one."""

    data: Path
    port: int = 8080
    kafka: KafkaKind = "auto"
    fresh: bool = False
    verbose: bool = False


class Folder:
    """The data folder: everything that outlives a start, and nothing else."""

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().resolve()
        self.logs = self.path / "logs"
        self.key = self.path / "master.key"
        self.audit_key = self.path / "audit.key"
        self._lock = FolderLock(self.path)

    def take(self, *, fresh: bool, say: Callable[[str], None]) -> None:
        """Holds the folder for this process alone, and ends what an earlier, killed start left running in it.

        `fresh` empties a folder that `mfo dev` made. Raises EmbeddedError where another start holds it, DevError where it is
        not ours to empty.
        """
        try:
            was_empty = not any(self.path.iterdir()) if self.path.exists() else True
            self._lock.take()
        except OSError as error:
            raise DevError(f"{self.path} cannot be used as a data folder: {error.strerror}") from None
        if was_empty:
            (self.path / MARKER).touch()
        ours = (self.path / MARKER).exists()
        if fresh and not ours:
            raise DevError(f"{self.path} was not made by mfo dev; empty it yourself, or name another folder")
        if left := processes_where(self._is_service):
            say(f"ending {len(left)} processes that an earlier start left behind")
            end_processes(left, ((signal.SIGTERM, 2.0), (signal.SIGKILL, 2.0)))
        if fresh:
            end_processes(processes_where(self._is_server), ((signal.SIGTERM, 3.0), (signal.SIGKILL, 2.0)))
            for entry in self.path.iterdir():
                if entry.name not in {MARKER, ".lock"}:
                    remove_tree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
        (self.path / NOTE).unlink(missing_ok=True)
        self.logs.mkdir(exist_ok=True)

    def release(self) -> None:
        """Lets the next start have the folder."""
        (self.path / NOTE).unlink(missing_ok=True)
        self._lock.release()

    def master_key(self, say: Callable[[str], None]) -> Path:
        """The file with the key that wraps the tenants' keys; made where it is missing, and says so."""
        if not self.key.exists():
            write_private(self.key, base64.b64encode(secrets.token_bytes(32)).decode())
            say(
                f"made a master key for this folder: {self.key} (only you can read it; without it sensitive values are lost)"
            )
        return self.key

    def operator_token(self) -> str:
        """The configured one, else the folder's own, which is made where it is missing."""
        if given := os.environ.get("MFO_OPERATOR_TOKEN"):
            return given
        file = self.path / "operator.token"
        if not file.exists():
            write_private(file, secrets.token_urlsafe(24))
        return file.read_text(encoding="utf-8").strip()

    def mail(self) -> dict[str, str]:
        """The variables that have mail kept in the folder, to whomever it goes, where none says what becomes of it."""
        if any(name in os.environ for name in ("MFO_SMTP_URL", "MFO_MAIL_FOLDER")):
            return {}
        domains = os.environ.get("MFO_NOTIFY_EMAIL_DOMAINS", "*")
        return {"MFO_MAIL_FOLDER": str(self.path / "mail"), "MFO_NOTIFY_EMAIL_DOMAINS": domains}

    def tenant(self) -> dict[str, str]:
        """The variables of the tenant that commands speak for here: made once, then always the same."""
        file = self.path / "tenant.json"
        if not file.exists():
            write_private(
                file,
                json.dumps(
                    {
                        "MFO_CLIENT_ACCOUNT_ID": str(uuid4()),
                        "MFO_ENGAGEMENT_ID": str(uuid4()),
                        "MFO_USER_ID": _user(),
                    },
                    indent=2,
                ),
            )
        found: dict[str, str] = json.loads(file.read_text())
        return found

    def _is_service(self, process: psutil.Process) -> bool:
        return process.environ().get(BELONGS_TO) == str(self.path)

    def _is_server(self, process: psutil.Process) -> bool:
        if process.name().startswith("postgres"):
            return Path(process.cwd()).is_relative_to(self.path)
        words = process.cmdline()
        server = "kafka.Kafka" in words or any(word.endswith("mock_broker.py") for word in words)
        return server and any(Path(word).is_relative_to(self.path) for word in words if word.startswith("/"))


def _user() -> str:
    with contextlib.suppress(OSError, KeyError):
        return getpass.getuser()
    return "developer"


class Service:
    """One of our services as a child process in a group of its own; its log goes to a file."""

    def __init__(self, name: str, log: Path) -> None:
        self.name = name
        self.log = log
        self.deaths = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._again = 0.0
        self._shown: IO[bytes] | None = None
        self._partial = b""

    def start(self, environment: dict[str, str]) -> None:
        """Starts the process; what it writes from now on can be had from `news`."""
        if self._shown is None:
            if self.log.exists() and self.log.stat().st_size > LOG_BYTES_KEPT:
                self.log.replace(self.log.with_suffix(".log.1"))
            self.log.touch()
            self._shown = self.log.open("rb")
            self._shown.seek(0, os.SEEK_END)
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "mfo", self.name],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
                start_new_session=True,
            )
        self._started = time.monotonic()

    def look(self) -> int | None:
        """The exit code where the process has just died; its next start is due after a while, longer each time."""
        if self._process is None or (code := self._process.poll()) is None:
            return None
        self.kill()
        if time.monotonic() - self._started > STEADY_SECONDS:
            self.deaths = 0
        self._again = time.monotonic() + BACK_OFF_SECONDS[min(self.deaths, len(BACK_OFF_SECONDS) - 1)]
        self.deaths += 1
        return code

    @property
    def due(self) -> bool:
        """Whether the process is down and may be started again."""
        return self._process is None and time.monotonic() >= self._again

    @property
    def pause_seconds(self) -> float:
        """How long until it is due."""
        return max(0.0, self._again - time.monotonic())

    def tell_to_end(self) -> None:
        """Ask the process to end, without waiting for it."""
        if self._process is not None:
            self._process.terminate()

    def stop(self, seconds: float = SERVICE_STOP_SECONDS) -> bool:
        """Asks the process to end and ends it if it does not; whether it went by itself."""
        process = self._process
        if process is None:
            return True
        process.terminate()
        try:
            process.wait(seconds)
            in_good_order = True
        except subprocess.TimeoutExpired:
            in_good_order = False
        self.kill()
        return in_good_order

    def kill(self) -> None:
        """Ends the process and every child it left in its group."""
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def news(self) -> Iterator[str]:
        """The whole lines written since the last call."""
        if self._shown is None:
            return
        *lines, self._partial = (self._partial + self._shown.read()).split(b"\n")
        for line in lines:
            yield line.decode(errors="replace")


class Dev:
    """The supervisor: PostgreSQL, Kafka and the three services, for as long as `run` lasts."""

    def __init__(self, options: Options, say: Callable[[str], None]) -> None:
        self.options = options
        self._say = say
        self._began = time.monotonic()
        self._stop = threading.Event()
        self._folder = Folder(options.data)
        self._services = [Service(name, self._folder.logs / f"{name}.log") for name in SERVICES]
        self._postgres = Postgres(self._folder.path)
        self._kafka: Kafka | None = None
        self._kafka_reason = ""
        self._servers: dict[str, psutil.Process] = {}
        self._environment: dict[str, str] = {}
        self._version = ""
        self._port = options.port
        self._health_ports: dict[str, str] = {}

    def run(self, when_ready: Callable[[Running], None]) -> None:
        """Start everything, tell `when_ready`, keep it up until SIGINT, SIGTERM or SIGHUP, and stop everything.

        Raises DevError or EmbeddedError where it cannot be started; nothing is left running then.
        """
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda *_: self._stop.set())
        self._folder.take(fresh=self.options.fresh, say=self._tell)
        try:
            if self._start():
                self._wait_until_ready()
            if not self._stop.is_set():
                note = self._note()
                write_private(self._folder.path / NOTE, note.as_note())
                when_ready(note)
                while not self._stop.wait(TICK_SECONDS):
                    self._watch()
        finally:
            self._end()

    def _start(self) -> bool:
        self._port = _http_port(self.options.port)
        self._health_ports = {
            name: os.environ.get(name) or str(free_port())
            for name in ("MFO_CONSUMERS_HEALTH_PORT", "MFO_PROJECTIONS_HEALTH_PORT")
        }
        keys = self._folder.master_key(self._tell), signing_variables(self._folder.audit_key, self._tell)
        with ThreadPoolExecutor(2) as threads:
            database = threads.submit(self._start_postgres)
            broker = threads.submit(self._start_kafka)
            # both are waited for, so that neither is left half started
            database_url, bootstrap = _both(database, broker)
        if self._stop.is_set():
            return False
        self._environment = self._variables(database_url, bootstrap, *keys)
        for service in self._services:
            service.start(self._child_environment())
        self._tell("starting api, consumers, projections")
        return True

    def _start_postgres(self) -> str:
        url = self._postgres.start()
        self._servers["PostgreSQL"] = _child_in(self._postgres.folder)
        with psycopg.connect(url) as connection:
            self._version = str(connection.info.parameter_status("server_version"))
        revision = upgrade(url, DEFAULT_SHARD)
        self._tell(f"PostgreSQL {self._version} is up, schema at {revision}")
        return url

    def _start_kafka(self) -> str:
        if self._kafka is None:
            self._kafka, self._kafka_reason = choose_kafka(self.options.kafka, self._folder.path, self._tell)
        bootstrap = self._kafka.start(self._tell)
        self._servers["Kafka"] = _child_in(self._kafka.folder)
        if self._kafka.kind == "jars":
            asyncio.run(ensure_topics(bootstrap))
        self._tell(f"Kafka is up at {bootstrap}: {self._kafka_reason}")
        return bootstrap

    def _variables(self, database_url: str, bootstrap: str, key: Path, signing: dict[str, str]) -> dict[str, str]:
        patience = {"MFO_KAFKA_FETCH_WAIT_MS": "5"} if self._kafka and self._kafka.kind == "builtin" else {}
        return {
            **patience,
            "MFO_URL": f"http://127.0.0.1:{self._port}",
            "MFO_DATABASE_URL": f"{database_url}?options=-csearch_path%3D{DEFAULT_SHARD}",
            "MFO_KAFKA_BOOTSTRAP": bootstrap,
            "MFO_MASTER_KEY_FILE": str(key),
            **signing,
            "MFO_OPERATOR_TOKEN": self._folder.operator_token(),
            **self._folder.mail(),
            "MFO_HTTP_PORT": str(self._port),
            **self._health_ports,
            **self._folder.tenant(),
        }

    def _child_environment(self) -> dict[str, str]:
        given = {name: value for name, value in os.environ.items() if name != "MFO_MASTER_KEY"}
        given.setdefault("MFO_LOG_FORMAT", "json")
        # all of it ends within SERVICE_STOP_SECONDS
        given["MFO_DRAIN_SECONDS"] = DRAIN_SECONDS
        # the children must find this very code, wherever they are started from
        code = str(Path(__file__).resolve().parents[1])
        paths = [code, *filter(None, given.get("PYTHONPATH", "").split(os.pathsep))]
        return given | self._environment | {BELONGS_TO: str(self._folder.path), "PYTHONPATH": os.pathsep.join(paths)}

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not self._stop.wait(TICK_SECONDS):
            self._watch()
            for service in self._services:
                if service.deaths >= DEATHS_BEFORE_READY:
                    raise DevError(
                        f"{service.name} does not start; the end of {service.log} says:\n{tail(service.log)}"
                    )
            is_ready, said = ready(self._environment["MFO_URL"])
            if is_ready:
                return
            if time.monotonic() > deadline:
                raise DevError(
                    f"not ready after {START_SECONDS:.0f} s; logs are in {self._folder.logs}; last answer: {_short(said)}"
                )

    def _watch(self) -> None:
        for service in self._services:
            self._pass_on(service)
            code = service.look()
            if code is not None:
                self._pass_on(service)
                self._tell(
                    f"{service.name} ended ({_ending(code)}); starting it again in {service.pause_seconds:.1f} s"
                )
            elif service.due:
                service.start(self._child_environment())
        for name, server in list(self._servers.items()):
            if not _lives(server):
                self._tell(f"{name} ended; starting it again")
                self._restart(name)

    def _restart(self, name: str) -> None:
        if name == "PostgreSQL":
            self._postgres.stop()
            found = {"MFO_DATABASE_URL": f"{self._start_postgres()}?options=-csearch_path%3D{DEFAULT_SHARD}"}
        else:
            if self._kafka is not None:
                self._kafka.stop()
            found = {"MFO_KAFKA_BOOTSTRAP": self._start_kafka()}
        if found.items() <= self._environment.items():
            return
        # it came back under another address, which the services have to be told
        self._environment |= found
        for service in self._services:
            service.stop()
            service.start(self._child_environment())
        if (self._folder.path / NOTE).exists():
            write_private(self._folder.path / NOTE, self._note().as_note())

    def _end(self) -> None:
        self._tell("stopping")
        for service in self._services:
            service.tell_to_end()
        for service in self._services:
            if not service.stop():
                self._tell(f"{service.name} did not stop within {SERVICE_STOP_SECONDS:g} s and was ended")
            self._pass_on(service)
        if self._kafka is not None:
            self._kafka.stop()
        self._postgres.stop()
        self._folder.release()
        self._tell("stopped; the data stays in " + str(self._folder.path))

    def _note(self) -> Running:
        return Running(
            pid=os.getpid(),
            process_started=psutil.Process().create_time(),
            data=str(self._folder.path),
            url=self._environment["MFO_URL"],
            postgres=self._version,
            kafka=self._kafka.kind if self._kafka else "",
            kafka_bootstrap=self._environment["MFO_KAFKA_BOOTSTRAP"],
            kafka_reason=self._kafka_reason,
            environment=self._environment,
        )

    def _pass_on(self, service: Service) -> None:
        for line in service.news():
            if told := _readable(line, everything=self.options.verbose):
                self._say(f"{service.name:<11} | {told}")

    def _tell(self, text: str) -> None:
        self._say(f"{time.monotonic() - self._began:5.1f} s  {text}")


def _http_port(wanted: int) -> int:
    found = free_port(wanted or None)
    if wanted and found != wanted:
        raise DevError(f"port {wanted} is taken by another program; name a free one with --port")
    return found


def _both(first: Future[T], second: Future[T]) -> tuple[T, T]:
    for future in (first, second):
        with contextlib.suppress(BaseException):
            future.result()
    return first.result(), second.result()


def _child_in(folder: Path) -> psutil.Process:
    """The server that was just started on this folder."""
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error):
            if any(str(folder) in word for word in child.cmdline()):
                return child
    raise DevError(f"the server in {folder} ended as soon as it was up")


def _lives(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def _readable(line: str, *, everything: bool) -> str | None:
    """A log line as a person reads it; None for what is not worth showing."""
    if not line.strip():
        return None
    try:
        entry: Any = json.loads(line)
    except ValueError:
        entry = None
    if not isinstance(entry, dict):
        # of a traceback only the last line says what was wrong
        return line if everything or not line.startswith((" ", "Traceback")) else None
    level = str(entry.pop("level", "info")).lower()
    # Kafka's client warns of every election; what it means for us, our own lines say
    chatter = level in QUIET_LEVELS or str(entry.get("logger", "")).startswith("aiokafka")
    if chatter and not everything:
        return None
    for name in ("timestamp", "service"):
        entry.pop(name, None)
    text = str(entry.pop("event", ""))
    trace = entry.pop("exception", None)
    more = " ".join(f"{name}={value}" for name, value in entry.items())
    return f"{level}: {text} {more}".rstrip() + (f"\n{trace}" if trace else "")


def _ending(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"by {signal.Signals(-code).name}"


def _short(said: dict[str, Any]) -> str:
    waiting = {
        name: part
        for name, part in said.items()
        if isinstance(part, dict) and part.get("state") not in {"ok", "ready", "up"}
    }
    return json.dumps(waiting or said, default=str)[:2000] if said else "none"
