"""What the peers' engines are made of: servers, workers and drivers as processes that end with a block, and flows asked of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from bench.peers.packages import HERE, PeerMissing
from bench.processor import Parts
from mfo.embedded import Postgres
from mfo.embedded.processes import end_processes, free_port, tail

START_SECONDS = 90.0
GENTLY = ((signal.SIGTERM, 3.0), (signal.SIGKILL, 5.0))

# flows a second, and each flow's seconds
Done = tuple[float, list[float]]


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine that is up: `many(flows, in_flight)` runs flows to their end; `alone` answers one caller's seconds."""

    many: Callable[[int, int], Done]
    alone: Callable[[int], list[float]]
    parts: Parts
    versions: dict[str, Any]


@contextmanager
def scratch(name: str) -> Iterator[tuple[ExitStack, Path]]:
    """A folder, and a stack of what has to end before it goes."""
    with ExitStack() as stack:
        home = tempfile.TemporaryDirectory(prefix=f"mfo-bench-{name}-", ignore_cleanup_errors=True)
        yield stack, Path(stack.enter_context(home))


def postgres(stack: ExitStack, home: Path) -> tuple[Postgres, int]:
    """A PostgreSQL with the settings of the embedded one, and its process."""
    server = Postgres(home)
    server.start()
    stack.callback(server.stop)
    for child in psutil.Process().children():
        if any(str(home) in word for word in child.cmdline()):
            return server, child.pid
    raise RuntimeError("PostgreSQL ended as soon as it was up")


def started(
    stack: ExitStack, command: list[str], log: Path, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """A server or worker that writes to the log and ends with the stack."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=os.environ | (environment or {}),
            cwd=HERE,
            start_new_session=True,
        )
    stack.callback(_end, process)
    return process


def _end(process: subprocess.Popen[Any]) -> None:
    # waited for, or it would stay in the list of processes
    with process:
        end_processes([psutil.Process(process.pid)], GENTLY)


class Driver:
    """A process that runs flows as lines of JSON tell it, in the peers' environment; up when it has said that it is ready."""

    def __init__(self, stack: ExitStack, command: list[str], log: Path, *others: Path) -> None:
        """`others` are the logs of what it needs; raises PeerMissing where it ends before it is ready."""
        self._logs = (log, *others)
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=output, text=True, cwd=HERE
            )
        self.pid = self._process.pid
        stack.callback(_end, self._process)
        self.answer()

    def order(self, flows: int, in_flight: int) -> None:
        """Have it run flows; `answer` waits for them."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"flows": flows, "in_flight": in_flight}) + "\n")
        self._process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        """What it says next; raises PeerMissing where it has ended."""
        assert self._process.stdout is not None
        while line := self._process.stdout.readline():
            if line.startswith("{"):
                found: dict[str, Any] = json.loads(line)
                return found
        raise PeerMissing("it ended: " + " | ".join(tail(log) for log in self._logs))

    def many(self, flows: int, in_flight: int) -> Done:
        """Flows a second, and each flow's seconds."""
        self.order(flows, in_flight)
        found = self.answer()
        return flows / found["seconds"], found["took"]

    def alone(self, flows: int) -> list[float]:
        """Each flow's seconds, one after the other."""
        return self.many(flows, 1)[1]


def ports(*names: str) -> dict[str, int]:
    """A free port for each name."""
    found: set[int] = set()
    while len(found) < len(names):
        found.add(free_port())
    return dict(zip(names, found, strict=True))
