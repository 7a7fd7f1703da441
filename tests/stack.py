"""What the tests run on: which PostgreSQL, which Kafka, why those, and what they cannot prove."""

from __future__ import annotations

import atexit
import functools
import gc
import os
import secrets
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import quote, urlencode

import docker
import psycopg
from confluent_kafka.admin import AdminClient
from docker.errors import DockerException
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from requests import RequestException

from mfo.embedded import KafkaBuiltin, KafkaJars, Postgres, topic_names
from mfo.embedded.kafka_jars import fetch_jars
from mfo.embedded.processes import EmbeddedError, free_port, wait_until

PostgresSource = Literal["address", "container", "wheel"]
KafkaSource = Literal["address", "container", "jars", "builtin"]
PARTITIONS = 4
# no test of the session's server crashes it; those that do have servers of their own, which keep every promise
# tests make and drop many small schemas; each drop looks through all buffers
UNSAFE_AND_QUICK = {"fsync": "off", "full_page_writes": "off", "max_wal_size": "256MB", "shared_buffers": "128MB"}
MEMORY = Path("/dev/shm")
MEMORY_BYTES = 4 << 30
POSTGRES_IMAGE = "postgres:18"
KAFKA_IMAGE = "apache/kafka:4.1.0"
NEEDS_DOCKER = "compose.yaml, the image and testcontainers need a Docker engine: not proven here"
NEEDS_REAL_KAFKA = (
    "several members in one group, a restart of the broker and long topics need a real Kafka: not proven here"
)


@dataclass(frozen=True, slots=True)
class Choice:
    """Where PostgreSQL and Kafka come from, and why Kafka does not come from further up the list."""

    postgres: PostgresSource
    kafka: KafkaSource
    unproven: tuple[str, ...] = ()


def choose(
    environ: Mapping[str, str], docker_answers: Callable[[], bool], jars: Callable[[], tuple[bool, str]]
) -> Choice:
    """Addresses from the environment, else containers, else PostgreSQL's wheel with Kafka's jars, else the built-in broker.

    Each of the two is chosen for itself; a probe is asked only when its answer matters.
    """
    postgres: PostgresSource
    kafka: KafkaSource
    given = [name for name in ("MFO_TEST_DATABASE_URL", "MFO_TEST_KAFKA_BOOTSTRAP") if environ.get(name)]
    with_docker = len(given) < 2 and docker_answers()
    unproven = [] if with_docker else [NEEDS_DOCKER]
    postgres = "address" if "MFO_TEST_DATABASE_URL" in given else "container" if with_docker else "wheel"
    if "MFO_TEST_KAFKA_BOOTSTRAP" in given:
        kafka = "address"
    elif with_docker:
        kafka = "container"
    else:
        can, reason = jars()
        kafka = "jars" if can else "builtin"
        if not can:
            unproven.append(f"{NEEDS_REAL_KAFKA} ({reason})")
    return Choice(postgres, kafka, tuple(unproven))


def docker_answers() -> bool:
    """Whether a Docker engine is reachable from here."""
    with warnings.catch_warnings():
        # refused, the client leaves its socket to the garbage collector, which would complain in the middle of some test
        warnings.simplefilter("ignore", ResourceWarning)
        try:
            client = docker.from_env(timeout=3)
            try:
                return bool(client.ping())
            finally:
                client.close()
        except (DockerException, RequestException):
            return False
        finally:
            gc.collect()


def jars_start() -> tuple[bool, str]:
    """Whether a real Kafka can be started from its jars here; fetches them where they are missing."""
    can, reason = KafkaJars.available()
    if can:
        try:
            fetch_jars()
        except EmbeddedError as error:
            return False, error.detail
    return can, reason


@dataclass
class Stack:
    """One PostgreSQL and one Kafka for the whole session; each is started when a test first asks for it."""

    environ: Mapping[str, str] = field(repr=False)
    ran_on: dict[str, str] = field(default_factory=dict)
    _stops: list[Callable[[], object]] = field(default_factory=list)

    @functools.cached_property
    def choice(self) -> Choice:
        return choose(self.environ, docker_answers, jars_start)

    @functools.cached_property
    def database_url(self) -> str:
        """The address of a database whose user may create others."""
        match self.choice.postgres:
            case "address":
                url = self.environ["MFO_TEST_DATABASE_URL"]
            case "container":
                url = self._postgres_container()
            case "wheel":
                server = Postgres(self.scratch, settings=UNSAFE_AND_QUICK)
                url = server.start()
                self._stops += [server.stop, guarded(server.cluster / "postmaster.pid", self.scratch)]
        with psycopg.connect(url) as connection:
            version = connection.info.parameter_status("server_version")
        self.ran_on["PostgreSQL"] = f"{version} ({_SOURCES[self.choice.postgres]})"
        return url

    @functools.cached_property
    def kafka(self) -> str:
        """Kafka's address, `host:port`."""
        broker: KafkaJars | KafkaBuiltin
        match self.choice.kafka:
            case "address":
                bootstrap = self.environ["MFO_TEST_KAFKA_BOOTSTRAP"]
            case "container":
                bootstrap = self._kafka_container()
            case "jars" | "builtin" as kind:
                broker = KafkaJars(self.scratch) if kind == "jars" else KafkaBuiltin(self.scratch)
                bootstrap = broker.start()
                self._stops.append(broker.stop)
        self.ran_on["Kafka"] = f"at {bootstrap} ({_SOURCES[self.choice.kafka]})"
        return bootstrap

    @functools.cached_property
    def _admin(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": self.kafka, "log_level": 0})

    @property
    def kafka_is_real(self) -> bool:
        return self.choice.kafka != "builtin"

    @functools.cached_property
    def scratch(self) -> Path:
        """A folder for the servers' data, removed at the end; in memory where there is plenty."""
        place = MEMORY if self._in_memory else None
        folder = tempfile.TemporaryDirectory(prefix="mfo-tests-", dir=place, ignore_cleanup_errors=True)
        # removed after the servers in it have stopped: the last thing to undo
        self._stops.insert(0, folder.cleanup)
        return Path(folder.name)

    @functools.cached_property
    def _in_memory(self) -> bool:
        return MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > MEMORY_BYTES

    @functools.cached_property
    def template(self) -> str:
        """The name of a database with the newest schema, migrated once, to make copies of."""
        from eventstore.migrate import upgrade

        name = f"mfo_test_template_{secrets.token_hex(4)}"
        upgrade(self._create(name, "template0"))
        self._stops.append(lambda: self._drop(name))
        return name

    @contextmanager
    def database(self, *, migrated: bool) -> Iterator[str]:
        """The address of a new database, dropped at the end whoever is still connected."""
        name = f"mfo_test_{secrets.token_hex(6)}"
        url = self._create(name, self.template if migrated else "template0")
        try:
            yield url
        finally:
            self._drop(name)

    @contextmanager
    def topics(self, prefix: str) -> Iterator[None]:
        """The contract's topics under a prefix of their own, on the real broker; the built-in one makes them on use."""
        from confluent_kafka.cimpl import NewTopic

        if not self.kafka_is_real:
            yield
            return
        # larger dead letters than commands, as mfo.embedded.topics makes them
        dead = {"max.message.bytes": str(2 * 1024 * 1024)}
        names = topic_names(prefix)
        wanted = [NewTopic(name, PARTITIONS, 1, config=dead if ".dlq." in name else {}) for name in names]
        for made in self._admin.create_topics(wanted).values():
            made.result(timeout=30)
        try:
            yield
        finally:
            # nobody looks at them again, so nobody waits
            self._admin.delete_topics(list(names))

    def stop(self) -> None:
        """Ends what this session started, last first."""
        while self._stops:
            self._stops.pop()()

    def _create(self, name: str, template: str) -> str:
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            statement = sql.SQL("create database {} template {}").format(sql.Identifier(name), sql.Identifier(template))
            if self.choice.postgres == "wheel" and self._in_memory:
                # copying files and a checkpoint cost little in memory: 40 ms, and 200 ms by the write-ahead log
                statement += sql.SQL(" strategy file_copy")
            connection.execute(statement)
        return _with_database(self.database_url, name)

    def _drop(self, name: str) -> None:
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            connection.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))

    def _postgres_container(self) -> str:
        from testcontainers.community.postgres import PostgresContainer

        container = PostgresContainer(POSTGRES_IMAGE, driver=None, password=secrets.token_urlsafe(12))
        container.with_command(
            " ".join(f"-c {name}={value}" for name, value in {"max_connections": "200", **UNSAFE_AND_QUICK}.items())
        )
        self._stops.append(container.stop)
        return str(container.start().get_connection_url())

    def _kafka_container(self) -> str:
        from testcontainers.core.container import DockerContainer

        # the broker tells clients where to come back to, so its port outside must be known before it starts
        port = free_port()
        container = DockerContainer(KAFKA_IMAGE).with_bind_ports(port, port)
        host = container.get_docker_client().host()
        settings = {
            "KAFKA_NODE_ID": "1",
            "KAFKA_PROCESS_ROLES": "broker,controller",
            "KAFKA_LISTENERS": f"PLAINTEXT://0.0.0.0:{port},CONTROLLER://localhost:29093",
            "KAFKA_ADVERTISED_LISTENERS": f"PLAINTEXT://{host}:{port}",
            "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
            "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@localhost:29093",
            "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
            "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
            "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": "1",
            "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
        }
        for name, value in settings.items():
            container.with_env(name, value)
        self._stops.append(container.stop)
        container.start()
        bootstrap = f"{host}:{port}"
        client = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
        if not wait_until(lambda: bool(client.list_topics(timeout=10).brokers), seconds=60):
            raise EmbeddedError(f"The Kafka container does not answer at {bootstrap}.")
        return bootstrap


def guarded(pid_file: Path, folder: Path) -> Callable[[], object]:
    """Have a server ended and its folder removed when this process dies without a word; called at its end, it says the word."""
    script = 'read -r word || { kill -INT "$(head -n 1 "$1")"; sleep 2; rm -rf -- "$2"; }'
    guard = subprocess.Popen(
        ["/bin/sh", "-c", script, "guard", str(pid_file), str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    return lambda: guard.communicate(b"done\n")


_SOURCES: dict[str, str] = {
    "address": "address from the environment",
    "container": "a container",
    "wheel": "from the wheel",
    "jars": "4.1, a real broker from its jars",
    "builtin": "librdkafka's built-in broker, in memory",
}


def _with_database(url: str, name: str) -> str:
    if "://" not in url:
        return make_conninfo(url, dbname=name)
    parts = conninfo_to_dict(url)
    user = quote(str(parts.pop("user", "")), safe="")
    if password := parts.pop("password", None):
        user += f":{quote(str(password), safe='')}"
    parts.pop("dbname", None)
    address = f"{user}@{parts.pop('host', 'localhost')}:{parts.pop('port', 5432)}"
    rest = f"?{urlencode({key: str(value) for key, value in parts.items()})}" if parts else ""
    return f"postgresql://{address}/{quote(name)}{rest}"


def session_stack(environ: Mapping[str, str]) -> Stack:
    """A stack whose servers end with this process, even where pytest does not get to say so."""
    stack = Stack(environ)
    atexit.register(stack.stop)
    return stack
