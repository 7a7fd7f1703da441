"""A real Kafka broker of our own, started from its published jars; needs Java 17 and, once per machine, Maven."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import subprocess
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import ClassVar, Literal

import psutil
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from mfo.embedded.processes import (
    EmbeddedError,
    FolderLock,
    answers,
    end_processes,
    free_port,
    machine_lock,
    processes_where,
    read_port,
    remove_tree,
    start_process,
    tail,
    wait_until,
    write_private,
)

VERSION = "4.1.0"
JAVA = 17
POM = f"""\
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>mfo</groupId><artifactId>kafka</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{VERSION}</version>
    </dependency>
    <dependency>
      <groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version>
    </dependency>
  </dependencies>
</project>
"""
# one broker that is its own controller; the small figures are for a laptop, none of them weakens what is stored.
# After a kill the broker may not come back before its old session has lapsed: with Kafka's own 9 s that took 11 s.
PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={log_dir}
num.partitions=12
auto.create.topics.enable=false
group.initial.rebalance.delay.ms=0
offsets.topic.num.partitions=8
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=3000
log.cleaner.dedupe.buffer.size=16777216
num.network.threads=2
num.io.threads=4
"""
LOGGING = ("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Dorg.slf4j.simpleLogger.showDateTime=true")
STOP = ((signal.SIGTERM, 8.0), (signal.SIGKILL, 2.0))


def say_nothing(_: str) -> None:
    """Progress nobody asked for."""


class KafkaJars:
    """One Kafka broker in `<data_dir>/kafka`, its log kept there from start to start."""

    kind: ClassVar[Literal["jars", "builtin"]] = "jars"

    def __init__(self, data_dir: Path) -> None:
        self.folder = data_dir.expanduser().resolve() / "kafka"
        self.properties = self.folder / "server.properties"
        self.log = self.folder / "kafka.log"
        self._lock = FolderLock(self.folder)
        self._server: subprocess.Popen[bytes] | None = None
        self._new_archive: Path | None = None

    @staticmethod
    def available() -> tuple[bool, str]:
        """Whether a broker can be started here, and why (not); looks at the machine, downloads nothing."""
        version = java_version()
        if version is None:
            return False, "Java is not installed"
        if version < JAVA:
            return False, f"Java {version} is older than {JAVA}"
        if not cache_folder().exists() and not shutil.which("mvn"):
            return False, "Maven is not installed, and Kafka's jars were not fetched earlier"
        return True, f"Java {version} runs Kafka {VERSION}"

    def start(self, say: Callable[[str], None] = say_nothing) -> str:
        """Starts the broker and answers its address, `host:port`; fetches the jars where they are not here yet.

        What an earlier, killed run left running on this folder is ended first. Raises EmbeddedError.
        """
        fetch_jars(say)
        self._lock.take()
        try:
            self._end_leftovers()
            return self._run()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Ends the broker within 10 s; what it acknowledged stays."""
        server, self._server = self._server, None
        if server and server.poll() is None:
            end_processes([psutil.Process(server.pid)], STOP)
            code = server.wait()
            # 128 + SIGTERM: it ended in good order, so the archive it wrote on leaving is whole
            if self._new_archive and self._new_archive.exists() and code in (0, 143, -signal.SIGTERM):
                self._new_archive.replace(class_archive())
        self._lock.release()

    def bootstrap(self) -> str:
        """The address of the last start, `host:port`."""
        port = read_port(self.folder / "port")
        if port is None:
            raise EmbeddedError(f"No Kafka was ever started in {self.folder}.")
        return f"127.0.0.1:{port}"

    def _run(self) -> str:
        port = free_port(read_port(self.folder / "port"))
        controller_port = free_port(read_port(self.folder / "controller-port"))
        log_dir = self.folder / "log"
        write_private(self.properties, PROPERTIES.format(port=port, controller_port=controller_port, log_dir=log_dir))
        if not (log_dir / "meta.properties").exists():
            self._format(log_dir)
        self._server = server = start_process(
            [*java("-Xmx512m", *LOGGING, *self._class_sharing()), "kafka.Kafka", str(self.properties)],
            self.log,
            cwd=self.folder,
        )
        address = f"127.0.0.1:{port}"
        # reading a long log again after a kill may take a while
        wait_until(lambda: server.poll() is not None or answers(port), seconds=120)
        if server.poll() is not None or not _serves(address):
            raise EmbeddedError(f"Kafka did not start; the end of {self.log} says:\n{tail(self.log)}")
        write_private(self.folder / "port", str(port))
        write_private(self.folder / "controller-port", str(controller_port))
        return address

    def _format(self, log_dir: Path) -> None:
        # a format that was killed halfway leaves no meta.properties, and nothing of value
        remove_tree(log_dir)
        cluster_id = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "A", 1)
        format_tool = ("kafka.tools.StorageTool", "format")
        made = subprocess.run(
            [*java(), *format_tool, "-t", cluster_id, "-c", str(self.properties)],
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode:
            raise EmbeddedError(f"Kafka could not make its data folder {log_dir}: {made.stdout}{made.stderr}")

    def _class_sharing(self) -> list[str]:
        # loading Kafka's classes from an archive halves the start (2.0 s to 1.0 s); the first stop on a machine writes it
        archive = class_archive()
        if archive.exists():
            self._new_archive = None
            return [f"-XX:SharedArchiveFile={archive}"]
        self._new_archive = archive.with_name(f"{archive.name}.{os.getpid()}.part")
        return [f"-XX:ArchiveClassesAtExit={self._new_archive}"]

    def _end_leftovers(self) -> None:
        left = processes_where(lambda process: {"kafka.Kafka", str(self.properties)} <= set(process.cmdline()))
        if left and not end_processes(left, STOP):
            raise EmbeddedError(f"A Kafka left over in {self.folder} cannot be ended: {left}")


def _serves(address: str) -> bool:
    client = AdminClient({"bootstrap.servers": address, "log_level": 0})
    try:
        return bool(client.list_topics(timeout=30).brokers)
    except KafkaException:
        return False


def cache_folder() -> Path:
    """Where this machine keeps Kafka's jars."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "mfo" / f"kafka-{VERSION}"


def fetch_jars(say: Callable[[str], None] = say_nothing) -> Path:
    """The folder of Kafka's jars, fetched with Maven where this machine lacks it: whole, or not at all.

    Raises EmbeddedError where Maven is missing or cannot fetch.
    """
    folder = cache_folder()
    if folder.exists():
        return folder
    with machine_lock(folder.with_name(f"{folder.name}.lock")):
        if folder.exists():
            return folder
        maven = shutil.which("mvn")
        if not maven:
            raise EmbeddedError("Kafka's jars were not fetched yet, and Maven is not installed.")
        say(f"fetching Kafka {VERSION}, once for this machine (45 MB)")
        for left in folder.parent.glob(f"{folder.name}.part-*"):
            remove_tree(left)
        partial = folder.with_name(f"{folder.name}.part-{os.getpid()}")
        partial.mkdir()
        (partial / "pom.xml").write_text(POM)
        command = [maven, "-q", "-B", "--strict-checksums", "-f", str(partial / "pom.xml")]
        try:
            fetched = subprocess.run(
                [*command, "dependency:copy-dependencies", f"-DoutputDirectory={partial / 'libs'}"],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=600,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise EmbeddedError(f"Maven could not fetch Kafka {VERSION} within 10 minutes.") from None
        if fetched.returncode or not (partial / "libs" / f"kafka_2.13-{VERSION}.jar").exists():
            raise EmbeddedError(f"Maven could not fetch Kafka {VERSION}: {fetched.stdout[-2000:].strip()}")
        partial.rename(folder)
    return folder


def java_binary() -> str | None:
    """`java` of JAVA_HOME, else of the path."""
    home = os.environ.get("JAVA_HOME")
    return shutil.which("java", path=f"{home}/bin") if home else shutil.which("java")


def java_version() -> int | None:
    """The Java at hand as its major version, such as 17; None where there is none."""
    binary = java_binary()
    if not binary:
        return None
    with suppress(OSError, subprocess.TimeoutExpired):
        said = subprocess.run([binary, "-version"], capture_output=True, text=True, timeout=20, check=False).stderr
        if found := re.search(r'version "(?:1\.)?(\d+)', said):
            return int(found[1])
    return None


def java(*options: str) -> list[str]:
    """The command that runs a class of Kafka's.

    Java's second compiler would work for minutes on what never pays: half of a young broker's processor time.
    """
    virtual_machine = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
    return [java_binary() or "java", *virtual_machine, *options, "-cp", f"{cache_folder() / 'libs'}/*"]


def class_archive() -> Path:
    """Where the classes that Kafka loads are kept ready, for exactly this Java."""
    binary = Path(java_binary() or "java").resolve()
    changed = binary.stat().st_mtime_ns if binary.exists() else 0
    return cache_folder() / f"classes-{hashlib.sha256(f'{binary} {changed}'.encode()).hexdigest()[:12]}.jsa"
