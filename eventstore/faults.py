"""Faults of the store that a loop of a service lives through: said aloud, never swallowed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import structlog
from psycopg_pool import PoolTimeout

from domain.errors import Unavailable

log = structlog.get_logger()

# the store is away or busy; the same call may do later
PASSING = (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout, Unavailable, OSError)


def heed_the_end() -> None:
    """Raise CancelledError in a task that was asked to end.

    For loops that wait faults out: until Python 3.12 `asyncio.wait_for`, with which aiokafka and psycopg connect, answers with
    the fault when it comes at the same time as the cancellation, which is lost then.
    """
    try:
        task = asyncio.current_task()
    except RuntimeError:
        return
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


@contextmanager
def lived_through(doing: str) -> Iterator[None]:
    """Go on after a fault of the store, which the next round of the loop may not meet.

    One that passes is a warning; a statement that the store refuses is a defect of ours and logged as an error.
    """
    try:
        yield
    except PASSING as error:
        heed_the_end()
        log.warning("the store is away", doing=doing, error=type(error).__name__, detail=str(error).splitlines()[:1])
    except psycopg.Error:
        log.exception("the store refused a statement", doing=doing)
