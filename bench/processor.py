"""Processor time and memory by part: api, consumers, projections, PostgreSQL, Kafka, the load, and whatever else is named.

A part is a process with all its descendants. Processor time of children that have ended is counted where their parent waited for
them, so nothing is lost when a backend or a worker ends.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

SERVICES = ("api", "consumers", "projections")
LOAD = "load"


@dataclass(frozen=True, slots=True)
class Taken:
    """Processor seconds so far, by part, with the time and what all processes of the machine have used."""

    at: float
    seconds: dict[str, float]
    machine: float


class Parts:
    """The processes of one measurement: those under `mfo dev`, further ones by name, and this one, which is the load."""

    def __init__(self, dev: int | None = None, others: Mapping[str, int] | None = None) -> None:
        self._roots = {name: psutil.Process(pid) for name, pid in (others or {}).items()}
        if dev is not None:
            self._roots["mfo dev"] = psutil.Process(dev)

    def each(self) -> Iterator[tuple[str, psutil.Process]]:
        """Every living process with the part it belongs to."""
        me = psutil.Process()
        seen = {me.pid}
        yield LOAD, me
        for name, root in self._roots.items():
            for part, process in _under(root, name):
                if process.pid not in seen:
                    seen.add(process.pid)
                    yield part, process
        for part, process in _under(me, LOAD):
            if process.pid not in seen:
                seen.add(process.pid)
                yield part, process

    def take(self) -> Taken:
        """Processor time so far."""
        seconds: dict[str, float] = {}
        for part, process in self.each():
            with suppress(psutil.Error):
                spent = process.cpu_times()
                seconds[part] = seconds.get(part, 0.0) + sum(spent[:4])
        machine = psutil.cpu_times()
        return Taken(time.perf_counter(), seconds, sum(machine) - machine.idle - getattr(machine, "iowait", 0.0))

    def memory_mb(self) -> dict[str, float]:
        """Resident MiB of the largest process of each part."""
        most: dict[str, float] = {}
        for part, process in self.each():
            with suppress(psutil.Error):
                most[part] = max(most.get(part, 0.0), process.memory_info().rss / (1 << 20))
        return most


def spent(before: Taken, after: Taken, count: float, per: str) -> dict[str, Any]:
    """Processor ms for each of `count` units by part, the cores that this kept busy, and those that others did."""
    used = {
        part: seconds - before.seconds.get(part, 0.0)
        for part, seconds in after.seconds.items()
        if seconds > before.seconds.get(part, 0.0)
    }
    wall, total = after.at - before.at, sum(used.values())
    return {
        "per": per,
        "ms": {
            part: round(seconds * 1000 / count, 3) for part, seconds in sorted(used.items(), key=lambda each: -each[1])
        },
        "total_ms": round(total * 1000 / count, 3),
        "cores": round(total / wall, 2),
        "others_cores": round(max(0.0, (after.machine - before.machine - total) / wall), 2),
    }


def _under(root: psutil.Process, name: str) -> Iterator[tuple[str, psutil.Process]]:
    """The process and its descendants; one that is known for a part of its own hands that down to its children."""
    with suppress(psutil.Error):
        below: dict[int, list[psutil.Process]] = {}
        for process in root.children(recursive=True):
            with suppress(psutil.Error):
                below.setdefault(process.ppid(), []).append(process)
        waiting = [(name, root)]
        while waiting:
            part, process = waiting.pop()
            yield part, process
            for child in below.get(process.pid, []):
                with suppress(psutil.Error):
                    waiting.append((_part(child.cmdline()) or part, child))


def _part(words: list[str]) -> str | None:
    """What a command line is known for."""
    if not words:
        return None
    if Path(words[0].split(":")[0]).name == "postgres":
        return "PostgreSQL"
    if "kafka.Kafka" in words or any(word.endswith("mock_broker.py") for word in words):
        return "Kafka"
    if "mfo" in words[1:4]:
        return next((word for word in words[1:5] if word in SERVICES), None)
    return None
