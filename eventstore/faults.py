"""Faults of the store that a loop of a service lives through: said aloud, never swallowed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import structlog
from psycopg_pool import PoolTimeout

from domain.errors import Unavailable

log = structlog.get_logger()

# the store is away or busy; the same call may do later
PASSING = (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout, Unavailable, OSError)


@contextmanager
def lived_through(doing: str) -> Iterator[None]:
    """Go on after a fault of the store, which the next round of the loop may not meet.

    One that passes is a warning; a statement that the store refuses is a defect of ours and logged as an error.
    """
    try:
        yield
    except PASSING as error:
        log.warning("the store is away", doing=doing, error=type(error).__name__, detail=str(error).splitlines()[:1])
    except psycopg.Error:
        log.exception("the store refused a statement", doing=doing)
