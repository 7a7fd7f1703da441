"""Processes that share work out among themselves."""

from __future__ import annotations

import subprocess
import sys

import psutil

from mfo.embedded.processes import is_running, wait_until

KILLED = """
import os, signal
from eventstore.workers import workers

pool = workers(1)
print(pool.submit(os.getpid).result(), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_whoever_is_killed_leaves_no_worker_behind() -> None:
    with subprocess.Popen([sys.executable, "-c", KILLED], stdout=subprocess.PIPE, text=True) as killed:
        assert killed.stdout is not None
        worker = int(killed.stdout.readline())
        assert wait_until(lambda: not runs(worker), 30)


def runs(pid: int) -> bool:
    """Whether there is such a process, and it has not ended."""
    try:
        return is_running(psutil.Process(pid))
    except psutil.NoSuchProcess:
        return False
