"""What a projection is: a name, its tables, and what a batch of events does to them."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol
from uuid import UUID

import psycopg
from psycopg import errors

from eventstore.database import Connection
from projections.told import Told

# what one row can cause; everything else that PostgreSQL raises is about the whole store
ROW_ERRORS: tuple[type[psycopg.Error], ...] = (psycopg.DataError, psycopg.IntegrityError, errors.ProgramLimitExceeded)


PATIENCE_SECONDS = 0.4


class Parked(NamedTuple):
    """A flow that is set aside at the event `version`, and why."""

    flow_id: UUID
    version: int
    error: str


def nothing() -> None:
    """No more to do after the commit."""


@dataclass(slots=True)
class Applied:
    """What a batch did: rows written, flows to set aside, and what is to be done in memory once it is committed."""

    rows: int = 0
    parked: list[Parked] = field(default_factory=list)
    committed: Callable[[], None] = nothing


def about(projection: Projection, topic: str) -> bool:
    """Whether the projection wants events of this name."""
    return projection.topics is None or topic in projection.topics


def compared(projection: Projection) -> list[str]:
    """The tables whose rows are those of single flows."""
    return [table for table in projection.tables if table not in projection.sums]


class Projection(Protocol):
    """A read model. `topics` holds the names of the events it wants (None: all).

    `apply` runs inside the caller's transaction and may be called again with the same events after a rollback; every row
    is guarded by a version, so that events may come twice. It raises one of ROW_ERRORS when a row is refused; asked again
    with `singly`, it isolates that flow and hands it back as parked. `forget` drops what is known in memory only.

    `patience` is how many seconds it rests between two batches, so that one of them holds many events of each flow and few
    transactions are needed; 0 for what has to be fresh. What comes after a rest that is over is applied at once.

    `tables` are all tables that it writes, by names without a schema, in the order in which `apply` writes them; each has a
    column `flow_id`, and what a table holds of a flow follows from that flow's events alone. Only `sums` of them have not: they
    add up what the others hold, and are made and swapped with them, and compared with those (`projections/comparing.py`). `ddl` makes the tables and the views on
    them; where it is empty they come with the migrations.
    """

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> int: ...

    @property
    def patience(self) -> float: ...

    @property
    def tables(self) -> Sequence[str]: ...

    @property
    def sums(self) -> Sequence[str]: ...

    @property
    def ddl(self) -> str: ...

    @property
    def topics(self) -> Container[str] | None: ...

    async def apply(self, connection: Connection, batch: Sequence[Told], *, singly: bool = False) -> Applied: ...

    def forget(self) -> None: ...
