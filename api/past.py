"""What was: a flow as its history tells it up to a version or a time, and the list of flows as of a time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

from fastapi import Query

from api.asking import Caller, Wanted
from api.problems import wrong_parameter
from api.reading import ReadMany, aware, list_is_due
from api.rows import FLOW_INTERVALS, FLOWS, Row
from domain.errors import FlowNotBegun
from domain.flow import Recorded
from eventstore.codec import split

At = Annotated[
    str | None,
    Query(
        max_length=40,
        description="As of then: a version of the flow, or a time (ISO 8601; without a zone: UTC; write + as %2B).",
    ),
]
AtTime = Annotated[
    str | None,
    Query(max_length=40, description="The list as of this time (ISO 8601; without a zone: UTC; write + as %2B)."),
]


async def row_then(asking: Caller, wanted: Wanted, at: str, *, min_version: int | None) -> Row:
    """The row that the read model showed of the flow then, replayed from history; raises as `history_then` does."""
    if min_version is not None:
        raise wrong_parameter("at", "and min_version exclude each other: what was does not change any more")
    last = (await history_then(asking, wanted, at))[-1]
    return (await asking.rows.replayed(wanted.flow_id, upto=last.version))[1]


async def history_then(asking: Caller, wanted: Wanted, at: str, name: str = "at") -> list[Recorded]:
    """The flow's events up to then, at least one. `name` is the parameter that `at` was given as.

    Raises ParameterInvalid for what is neither a version nor a time, or lies ahead, and FlowNotBegun for a time before the
    flow's first event.
    """
    if at.isascii() and at.isdigit() and len(at) <= 18:
        version = int(at)
        if version < 1:
            raise wrong_parameter(name, "is below 1, the version of a flow's first event")
        if version > wanted.version:
            raise wrong_parameter(name, f"lies ahead: the flow is at version {wanted.version}")
        return [recorded for _, recorded in await asking.side.store.history(wanted.flow_id, upto=version)]
    until = await past_time(asking, at, name, "is neither a version nor a time")
    history = [recorded for _, recorded in await asking.side.store.history(wanted.flow_id, upto=wanted.version)]
    known = before(history, until)
    if not known:
        raise FlowNotBegun(f"the flow began at {history[0].meta.at.isoformat()}, after {until.isoformat()}")
    return known


def before(history: Sequence[Recorded], until: datetime) -> list[Recorded]:
    """The events up to a time, itself included; one that has an earlier time than the one before it counts as its equal."""
    ahead = next((n for n, recorded in enumerate(history) if recorded.meta.at > until), len(history))
    return list(history[:ahead])


async def past_time(asking: Caller, text: str, name: str, otherwise: str = "is no time") -> datetime:
    """The time in a parameter; raises ParameterInvalid for what is none, or lies ahead of the store's clock."""
    try:
        found = aware(datetime.fromisoformat(text))
    except ValueError:
        found = None
    if found is None:
        raise wrong_parameter(name, f"{otherwise}; a time is such as 2026-11-20T12:00:00Z, with + written as %2B")
    now = await asking.side.store.now()
    if found > now:
        raise wrong_parameter(name, f"lies ahead: it is {now.isoformat()} now")
    return found


async def intervals_are_due(asking: Caller, until: datetime, wait_ms: int) -> None:
    """Wait until what happened up to then is in the read model; raises ReadModelBehind."""
    for projection in (FLOW_INTERVALS, FLOWS):
        beyond = await asking.side.store.tail(await asking.rows.projected(projection), 1)
        if beyond and split(beyond[0].state)[0].at <= until:
            await list_is_due(asking, projection, ReadMany(wait_ms=wait_ms, consistency="strong"))
