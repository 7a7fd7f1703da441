"""A pool of processes, of which none outlives whoever began it, or what it was begun for."""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from threading import Thread
from types import TracebackType


def workers(jobs: int) -> ProcessPoolExecutor:
    """So many processes that begin afresh, and that end when this one does, however that comes about. Used in a `with`, they
    end at once, whatever they have in hand, where its block is left by an exception."""
    return _Workers(jobs)


class _Workers(ProcessPoolExecutor):
    def __init__(self, jobs: int) -> None:
        context = get_context("spawn")
        ends, self._goes_on = context.Pipe(duplex=False)
        super().__init__(jobs, context, _end_with_parent, (ends,))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        if kind is not None:
            self._goes_on.close()
            self.shutdown(wait=False, cancel_futures=True)
        return super().__exit__(kind, error, trace)


def _end_with_parent(ends: Connection) -> None:
    parent = parent_process()
    assert parent is not None

    def watch() -> None:
        wait([parent.sentinel, ends])
        # a worker that has nothing in hand waits for ever, and what is in hand PostgreSQL rolls back
        os._exit(1)

    Thread(target=watch, daemon=True, name="parent").start()
