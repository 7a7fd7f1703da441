"""A `mfo dev` as its user starts it, and commands as its user types them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import psutil

from mfo.dev import BELONGS_TO
from mfo.embedded.processes import processes_where, wait_until

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 120


@dataclass(frozen=True)
class Said:
    """How a command ended: its exit code, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on stdout; anything else there fails the test."""
        return json.loads(self.out)


def clean_environment() -> dict[str, str]:
    """The environment without any setting of ours."""
    return {name: value for name, value in os.environ.items() if not name.startswith("MFO_")}


def mfo(*words: str, environment: Mapping[str, str] | None = None, seconds: float = 90) -> Said:
    """One command, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "mfo", *words],
        cwd=ROOT,
        env=clean_environment() | dict(environment or {}),
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    return Said(done.returncode, done.stdout, done.stderr)


def said_at_last(*words: str, environment: Mapping[str, str], text: str) -> str:
    """What a command says on stdout once this text is in it, which a read model may have to reach first."""
    said: list[str] = []

    def there() -> bool:
        said.append(mfo(*words, environment=environment).out)
        return text in said[-1]

    assert wait_until(there, 60, every=0.1), said[-1]
    return said[-1]


@dataclass
class Dev:
    """A running `mfo dev`; `told` is the document it printed when it was ready."""

    process: subprocess.Popen[str]
    data: Path
    told: dict[str, Any]

    @cached_property
    def environment(self) -> dict[str, str]:
        """The variables that `mfo env` gives."""
        found: dict[str, str] = mfo("env", "--data", str(self.data), "--json").document
        return found

    def services(self) -> list[psutil.Process]:
        """Its api, consumers and projections, and their children."""
        return processes_where(lambda process: process.environ().get(BELONGS_TO) == str(self.data))

    def servers(self) -> list[psutil.Process]:
        """Its PostgreSQL and Kafka."""
        return processes_where(
            lambda process: (
                any(str(self.data) in word for word in process.cmdline()[1:]) and process.pid != self.process.pid
            )
        )

    def everything(self) -> list[psutil.Process]:
        """Every process of it but the supervisor."""
        found = {process.pid: process for process in (*self.services(), *self.servers())}
        found.pop(self.process.pid, None)
        return list(found.values())

    def log(self) -> str:
        """What it said on stderr."""
        return (self.data.parent / f"{self.data.name}.err").read_text()


@contextmanager
def dev(data: Path, *options: str, settings: Mapping[str, str] | None = None) -> Iterator[Dev]:
    """A `mfo dev` on this folder and a free port, ready; ended with the block, whatever became of it."""
    with (data.parent / f"{data.name}.err").open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "mfo", "dev", "--data", str(data), "--port", "0", "--json", *options],
            cwd=ROOT,
            env=clean_environment() | dict(settings or {}),
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    assert process.stdout
    running = Dev(process, data.resolve(), {})
    try:
        running.told = _document(process)
        assert running.told.get("state") == "ready", running.log()
        yield running
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(20)
        process.kill()
        process.wait()
        process.stdout.close()
        for left in running.everything():
            with suppress(psutil.NoSuchProcess):
                left.send_signal(signal.SIGKILL)


def _document(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout
    text = ""
    for line in process.stdout:
        text += line
        with suppress(ValueError):
            found: dict[str, Any] = json.loads(text)
            return found
    return {}
