"""The Kafka for machines without Java: real protocol on a real port, in memory only."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, Literal

import psutil

from mfo.embedded import mock_broker
from mfo.embedded.kafka_jars import say_nothing
from mfo.embedded.processes import (
    EmbeddedError,
    FolderLock,
    end_processes,
    processes_where,
    start_process,
    tail,
    write_private,
)
from mfo.embedded.topics import topic_names

STOP = ((signal.SIGTERM, 2.0), (signal.SIGKILL, 2.0))


class KafkaBuiltin:
    """librdkafka's broker in a process of its own: one member a group, 4 partitions a topic, nothing survives it."""

    kind: ClassVar[Literal["jars", "builtin"]] = "builtin"

    def __init__(self, data_dir: Path) -> None:
        self.folder = data_dir.expanduser().resolve() / "kafka-builtin"
        self.log = self.folder / "kafka.log"
        self._lock = FolderLock(self.folder)
        self._server: subprocess.Popen[bytes] | None = None

    @staticmethod
    def available() -> tuple[bool, str]:
        """Always: it comes with the `confluent-kafka` wheel."""
        return True, "librdkafka's broker is always there; it keeps nothing when it stops"

    def start(self, say: Callable[[str], None] = say_nothing) -> str:
        """Starts an empty broker and answers its address, `host:port`; ends one that an earlier run left. Raises EmbeddedError."""
        self._lock.take()
        try:
            end_processes(processes_where(lambda process: process.cmdline()[1:] == self._arguments()), STOP)
            self._server = start_process([sys.executable, *self._arguments()], self.log, stdout=subprocess.PIPE)
            assert self._server.stdout
            address = self._server.stdout.readline().decode().strip()
            if not address:
                raise EmbeddedError(f"The built-in Kafka did not start; {self.log} says:\n{tail(self.log)}")
            write_private(self.folder / "address", address)
        except BaseException:
            self.stop()
            raise
        return address

    def stop(self) -> None:
        """Ends the broker; all its messages go with it."""
        server, self._server = self._server, None
        if server:
            if server.poll() is None:
                end_processes([psutil.Process(server.pid)], STOP)
            server.wait()
            if server.stdout:
                server.stdout.close()
        self._lock.release()

    def bootstrap(self) -> str:
        """The address of the last start, `host:port`."""
        try:
            return (self.folder / "address").read_text()
        except FileNotFoundError:
            raise EmbeddedError(f"No built-in Kafka was ever started in {self.folder}.") from None

    def _arguments(self) -> list[str]:
        # the folder is not read: it tells this broker from those of other data folders
        return [str(mock_broker.__file__), str(self.folder), *topic_names()]
