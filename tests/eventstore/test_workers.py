"""Processes that share work out among themselves."""

from __future__ import annotations

import os
import subprocess
import sys
from time import sleep

import psutil
import pytest

from eventstore.workers import workers
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


def test_whoever_is_told_to_stop_waits_for_nothing_that_a_worker_has_in_hand() -> None:
    at_work: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        stopped_while(at_work)
    assert wait_until(lambda: not runs(at_work[0]), 30)


def stopped_while(at_work: list[int]) -> None:
    with workers(1) as pool:
        at_work.append(pool.submit(os.getpid).result())
        for _ in range(3):
            pool.submit(sleep, 3600)
        raise KeyboardInterrupt


def runs(pid: int) -> bool:
    """Whether there is such a process, and it has not ended."""
    try:
        return is_running(psutil.Process(pid))
    except psutil.NoSuchProcess:
        return False
