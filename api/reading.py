"""Reads that wait: a flow's row as of a version, a list as of a position, or the replayed truth."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Literal

from fastapi import Depends, Query
from pydantic import BeforeValidator

from api.asking import Caller, Wanted
from api.problems import wrong_parameter
from api.rows import Row
from domain.errors import ReadModelBehind

MAX_WAIT_MS = 60_000


def _no_number(given: object) -> object:
    """A time as it was given; raises ValueError for a number, which would be taken for seconds since 1970."""
    try:
        float(str(given))
    except ValueError:
        return given
    raise ValueError("must be a time such as 2026-11-20T12:00:00Z, with + written as %2B")


IsoTime = Annotated[datetime, BeforeValidator(_no_number)]

MinVersion = Annotated[
    int | None, Query(ge=1, le=2**62, description="Wait until the read model has this version of the flow, then 504.")
]
MinPosition = Annotated[
    str | None,
    Query(max_length=100, description="Wait until the read model has reached this position (`<shard>:<n>`), then 504."),
]
WaitMs = Annotated[int, Query(ge=0, le=MAX_WAIT_MS, description="How long to wait at most, in milliseconds.")]
Consistency = Annotated[
    Literal["strong"] | None,
    Query(description="`strong`: as history tells it at this moment, not as the read model shows it."),
]


@dataclass(frozen=True, slots=True)
class Read:
    """How a flow is to be read: at which version at least, for how long to wait for it, and whether from history."""

    min_version: int | None = None
    wait_ms: int = 2000
    consistency: str | None = None


async def read(min_version: MinVersion = None, wait_ms: WaitMs = 2000, consistency: Consistency = None) -> Read:
    """What the query says of that."""
    return Read(min_version, wait_ms, consistency)


AsRead = Annotated[Read, Depends(read)]


@dataclass(frozen=True, slots=True)
class ReadMany:
    """How many flows are to be read: up to which position of the log at least, for how long to wait for it, and whether up to
    its end."""

    min_position: str | None = None
    wait_ms: int = 2000
    consistency: str | None = None


async def read_many(
    min_position: MinPosition = None, wait_ms: WaitMs = 2000, consistency: Consistency = None
) -> ReadMany:
    """What the query says of that."""
    return ReadMany(min_position, wait_ms, consistency)


AsReadMany = Annotated[ReadMany, Depends(read_many)]


async def flow_row(asking: Caller, wanted: Wanted, how: Read) -> Row:
    """The flow's row; raises ReadModelBehind when it does not reach `min_version` in time.

    A flow that the read model does not know yet is waited for, then replayed: it exists, so it is never 404.
    """
    seconds, min_version = how.wait_ms / 1000, how.min_version
    watch = asking.service.watch
    if how.consistency == "strong":
        if (
            min_version
            and min_version > wanted.version
            and not await watch.history(wanted.flow_id, min_version, seconds)
        ):
            raise ReadModelBehind(f"the flow has not reached version {min_version}")
        return (await asking.rows.replayed(wanted.flow_id))[1]
    at_least = min_version or 1
    row = await asking.rows.flow(wanted.flow_id)
    if row is None or row["version"] < at_least:
        await watch.row(wanted.flow_id, at_least, seconds)
        row = await asking.rows.flow(wanted.flow_id)
    if row is not None and row["version"] >= at_least:
        return row
    if min_version:
        reached = f"version {row['version']}" if row else "nothing of this flow"
        raise ReadModelBehind(
            f"the read model has {reached}, not version {min_version}; ask again or read with consistency=strong"
        )
    return (await asking.rows.replayed(wanted.flow_id))[1]


async def list_is_due(asking: Caller, projection: str, how: ReadMany) -> None:
    """Wait until the projection has reached the position (`strong`: the end of the log); raises ReadModelBehind."""
    if how.consistency == "strong":
        number = await asking.side.store.end()
    elif how.min_position is not None:
        number = position_number(asking, how.min_position)
    else:
        return
    if number and not await asking.service.watch.projection(projection, number, how.wait_ms / 1000):
        raise ReadModelBehind(f"the read model has not reached {asking.side.store.position(number)}; ask again")


async def found_is_due(
    asking: Caller, wanted: Wanted, projection: str, *, min_version: int | None, wait_ms: int
) -> bool:
    """Whether a projection has taken all of the flow's events; with `min_version`, waits until it has taken that one.

    Raises ReadModelBehind.
    """
    watch, seconds = asking.service.watch, wait_ms / 1000
    if min_version is not None:
        known = min_version <= wanted.version or await watch.history(wanted.flow_id, min_version, seconds)
        place = await asking.rows.place(wanted.flow_id, min_version) if known else None
        if place is None or not await watch.projection(projection, place, seconds):
            raise ReadModelBehind(f"{projection} have not reached version {min_version} of the flow; ask again")
    last = await asking.rows.place(wanted.flow_id, wanted.version)
    return last is not None and await asking.rows.projected(projection) >= last


def position_number(asking: Caller, text: str) -> int:
    """The number in `<shard>:<n>`; raises ParameterInvalid for another shard's or none."""
    shard, _, number = text.rpartition(":")
    if shard != asking.side.store.shard or not (number.isascii() and number.isdigit()) or len(number) > 18:
        raise wrong_parameter(
            "min_position", f"is not a position of this service, such as {asking.side.store.shard}:42"
        )
    return int(number)


def aware(at: datetime | None) -> datetime | None:
    """A time without a zone is taken as UTC."""
    return at if at is None or at.tzinfo is not None else at.replace(tzinfo=UTC)


def words(text: str | None) -> list[str] | None:
    """The words of a comma list; none where nothing is given."""
    if text is None:
        return None
    return [word.strip() for word in text.split(",") if word.strip()]
