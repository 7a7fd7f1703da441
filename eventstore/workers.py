"""A pool of processes, of which none outlives whoever began it."""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context, parent_process
from threading import Thread


def workers(jobs: int) -> ProcessPoolExecutor:
    """So many processes that begin afresh, and that end when this one does, however that comes about."""
    return ProcessPoolExecutor(jobs, get_context("spawn"), _end_with_parent)


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        # a worker that has nothing in hand waits for ever, and what is in hand PostgreSQL rolls back
        os._exit(1)

    Thread(target=watch, daemon=True, name="parent").start()
