"""Windows of the log: the events of a time, a tenant, a flow, a type, in the order of their commits."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from domain.events import FLOW_PREFIX
from eventstore.codec import plain, split
from eventstore.database import Connection
from eventstore.store import Stored

BATCH = 200
# committers decide side by side, so that the times of the log follow its order but for moments
OUT_OF_ORDER = timedelta(minutes=5)
REMEMBERED = 50_000

IN_WINDOW = """
select notification_id, originator_id, originator_version, topic, state, hash from stored_events e
where notification_id > %(after)s and notification_id <= %(end)s
  and (%(flow)s::uuid is null or originator_id = %(flow)s)
  and (%(topics)s::text[] is null or topic = any(%(topics)s))
  and (%(account)s::uuid is null or exists (select from heads h where h.id = e.originator_id
       and h.client_account_id = %(account)s and h.engagement_id = coalesce(%(engagement)s, h.engagement_id)))
order by notification_id limit %(limit)s
"""
TYPES = "select originator_id, topic, state from stored_events where originator_id = any(%b) and originator_version = 1"
NEXT = "select notification_id, state from stored_events where notification_id > %s order by notification_id limit 1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """What of the log is wanted; what is none does not narrow it. `since` is part of it, `until` is not; `topics` are wire
    names of events, `engagement` goes with its `account`."""

    since: datetime | None = None
    until: datetime | None = None
    flow: UUID | None = None
    account: UUID | None = None
    engagement: UUID | None = None
    flow_type: str | None = None
    topics: tuple[str, ...] | None = None

    def as_dict(self) -> dict[str, Any]:
        """The window as JSON values, by which two can be compared."""
        return {
            name: msgspec.to_builtins(getattr(self, name))
            for name in ("since", "until", "flow", "account", "engagement", "flow_type", "topics")
        }


class _Begun(msgspec.Struct):
    flow_type: str


class _Head(msgspec.Struct):
    data: _Begun


_head = msgspec.json.Decoder(_Head)


class WindowReader:
    """Reads a window a batch at a time, on a connection of its own."""

    def __init__(self, connection: Connection, window: Window) -> None:
        self._connection = connection
        self._window = window
        self._flow_types: dict[UUID, str | None] = {}

    async def bounds(self, end: int) -> tuple[int, int]:
        """The places between which the window lies, the first not included, at most `end`; found by halving."""
        first, last = 0, end
        if self._window.since is not None:
            first = await self._before(self._window.since - OUT_OF_ORDER, end)
        if self._window.until is not None:
            last = await self._before(self._window.until + OUT_OF_ORDER, end)
        return first, last

    async def batches(self, after: int, end: int, size: int = BATCH) -> AsyncIterator[tuple[int, Sequence[Stored]]]:
        """What of the window lies behind a place and up to `end`, each batch with the place that is read so far."""
        window = self._window
        asked = {
            "end": end,
            "flow": window.flow,
            "topics": list(window.topics) if window.topics is not None else None,
            "account": window.account,
            "engagement": window.engagement,
            "limit": size,
        }
        while after < end:
            cursor = await self._connection.execute(IN_WINDOW, {**asked, "after": after}, binary=True)
            found = [Stored(*row) for row in await cursor.fetchall()]
            after = found[-1].position if len(found) == size else end
            yield after, await self._wanted(found)

    async def _wanted(self, found: Sequence[Stored]) -> Sequence[Stored]:
        since, until = self._window.since, self._window.until
        if since is not None or until is not None:
            found = [
                event
                for event in found
                if (since is None or split(event.state)[0].at >= since)
                and (until is None or split(event.state)[0].at < until)
            ]
        if self._window.flow_type is None:
            return found
        strange = {event.flow_id for event in found} - self._flow_types.keys()
        if strange:
            if len(self._flow_types) > REMEMBERED:
                self._flow_types.clear()
                strange = {event.flow_id for event in found}
            cursor = await self._connection.execute(TYPES, (list(strange),), binary=True)
            for flow_id, topic, state in await cursor.fetchall():
                of_flow = topic.startswith(FLOW_PREFIX)
                self._flow_types[flow_id] = _head.decode(plain(state)).data.flow_type if of_flow else None
        return [event for event in found if self._flow_types.get(event.flow_id) == self._window.flow_type]

    async def _before(self, time: datetime, end: int) -> int:
        """A place before which, but for moments, everything is older than the time."""
        low, high = 0, end
        while low < high:
            middle = (low + high) // 2
            row = await (await self._connection.execute(NEXT, (middle,), binary=True)).fetchone()
            if row is None or row[0] > high or split(row[1])[0].at >= time:
                high = middle
            else:
                low = int(row[0])
        return low
