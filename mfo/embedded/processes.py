"""How a server of the embedded stack is started, found again after a crash, and ended."""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO

import psutil

from domain.errors import MfoError


class EmbeddedError(MfoError):
    """A server of the embedded stack could not be started."""

    code = "embedded_stack"


# below the ports that Linux gives to outgoing connections, any of which might take one before its server does
PORTS = range(20_000, 32_768)
_given: set[int] = set()


def free_port(preferred: int | None = None) -> int:
    """A TCP port on 127.0.0.1 that nobody listens on, another one each time; the preferred one where it is free."""
    if preferred and _can_bind(preferred):
        return preferred
    while True:
        port = random.SystemRandom().choice(PORTS)
        if port not in _given and _can_bind(port):
            _given.add(port)
            return port


def _can_bind(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def answers(port: int) -> bool:
    """Whether something accepts TCP connections on 127.0.0.1 at this port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_until(condition: Callable[[], bool], seconds: float, every: float = 0.02) -> bool:
    """Whether the condition came true within so many seconds."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(every)
    return True


def start_process(
    command: Sequence[str],
    log: Path,
    *,
    cwd: Path | None = None,
    stdout: int | None = None,
) -> subprocess.Popen[bytes]:
    """Starts a server whose output goes to `log`.

    It has a session of its own, so that a Ctrl-C meant for us does not reach it, and sees none of our settings.
    """
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output if stdout is None else stdout,
            stderr=output,
            cwd=cwd,
            env={name: value for name, value in os.environ.items() if not name.startswith("MFO_")},
            start_new_session=True,
        )


def end_processes(processes: Sequence[psutil.Process], steps: Sequence[tuple[signal.Signals, float]]) -> bool:
    """Sends each signal in turn and waits so many seconds for the processes to go; whether all have gone."""
    for number, seconds in steps:
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)
        if wait_until(lambda: not any(map(is_running, processes)), seconds):
            return True
    return False


def is_running(process: psutil.Process) -> bool:
    """Whether the process still runs; one that has ended and waits for its parent to notice does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def processes_where(matches: Callable[[psutil.Process], bool]) -> list[psutil.Process]:
    """The running processes that match; what we may not look at, or what has just ended, does not."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.pid != os.getpid() and is_running(process) and matches(process):
                found.append(process)
    return found


def tail(log: Path, lines: int = 12) -> str:
    """The last lines of a log, for an error message."""
    if not log.exists():
        return ""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 8192))
        return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])


def write_private(path: Path, text: str) -> None:
    """Writes a whole file that only its owner can read, or none."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.part")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def read_port(path: Path) -> int | None:
    """The port noted in a file by an earlier start; None where there is none."""
    try:
        return int(path.read_text())
    except (FileNotFoundError, ValueError):
        return None


def remove_tree(path: Path) -> None:
    """Removes a folder that may not be there."""
    if path.exists():
        shutil.rmtree(path)


class FolderLock:
    """One user of a folder at a time; the kernel gives the lock up when its holder dies, however it dies."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file: IO[str] | None = None

    def take(self) -> None:
        """Raises EmbeddedError where another living process holds the folder."""
        if self._file:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        file = (self.folder / ".lock").open("w")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            raise EmbeddedError(
                f"{self.folder} is in use by another running mfo; stop it, or name another folder."
            ) from None
        self._file = file

    def release(self) -> None:
        if self._file:
            self._file.close()
            self._file = None


@contextlib.contextmanager
def machine_lock(path: Path) -> Iterator[None]:
    """Waits for, then holds, a lock that all processes on this machine share."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
