"""How each flow stood from when to when: a row for each change of what lists filter on, so that a list can be had as of then.

An interval holds from its event's time to that of the next change, the end not included. What begins and ends at the same
time never held, and has no row. Where the store's clock was set back, an interval begins when the one before it began.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import partial
from operator import attrgetter
from typing import NamedTuple
from uuid import UUID

import msgspec

from domain.flow import DONE, Flow, progress
from domain.words import ENDED
from eventstore.database import Connection
from eventstore.wake import in_turns
from projections.flows import FlowTopics
from projections.histories import whole
from projections.projection import PATIENCE_SECONDS, ROW_ERRORS, Applied, Parked
from projections.told import Told, by_flow, joins, news, short

NAME = "flow_intervals"
VERSION = 1

# measured: a flow that waits in its first phase takes 8 KB, one of six phases that are done 15 KB
CACHE_BYTES = 16 << 20
FLOW_BYTES, BODY_TIMES = 6500, 2.5
WRITE_ROWS = 2000

TYPES = {
    **dict.fromkeys(("flow_id", "client_account_id", "engagement_id"), "uuid"),
    **dict.fromkeys(("valid_from", "valid_to", "created_at"), "timestamptz"),
    **dict.fromkeys(("flow_type", "flow_version", "flow_status", "current_phase", "updated_by"), "text"),
    "version": "bigint",
    "phases_completed": "jsonb",
    "progress_percentage": "double precision",
    "draining": "boolean",
    "iteration_number": "int",
}
WRITE = f"""
insert into {{table}} as t ({", ".join(TYPES)})
select {", ".join("coalesce(valid_to, 'infinity')" if name == "valid_to" else name for name in TYPES)}
from jsonb_to_recordset(%s::jsonb) as r ({", ".join(f"{name} {kind}" for name, kind in TYPES.items())})
on conflict (flow_id, version) do update set valid_to = excluded.valid_to where t.valid_to > excluded.valid_to
"""
EMPTY = "delete from {table} where flow_id = any(%b) and valid_to <= valid_from"
KNOWN = "select distinct flow_id from {table} where flow_id = any(%b)"


class Interval(msgspec.Struct):
    """A row of the table; `valid_to` is none while it holds."""

    flow_id: UUID
    version: int
    client_account_id: UUID
    engagement_id: UUID
    valid_from: datetime
    created_at: datetime
    flow_type: str
    flow_version: str
    flow_status: str
    current_phase: str | None
    phases_completed: list[str]
    progress_percentage: float
    draining: bool
    iteration_number: int
    updated_by: str
    valid_to: datetime | None = None

    def same_as(self, other: Interval) -> bool:
        """Whether a list shows the same of both."""
        return _shown(self) == _shown(other)


_shown = attrgetter(
    *("flow_status", "progress_percentage", "current_phase", "phases_completed"),
    *("draining", "iteration_number", "flow_version"),
)


class _Kept(NamedTuple):
    """A flow as far as it was told, and the interval that holds."""

    flow: Flow
    open: Interval
    cost: int


class _Traced:
    """A flow that is being told: the intervals that are to be written, the last of which holds."""

    def __init__(self, flow: Flow, kept: _Kept | None) -> None:
        self.flow = flow
        self.intervals: list[Interval] = [msgspec.structs.replace(kept.open)] if kept else []
        self.cost = kept.cost if kept else FLOW_BYTES
        self.emptied = False
        self._stored = kept is not None

    def tell(self, event: Told) -> None:
        """One event more."""
        recorded = event.recorded()
        self.flow = event.after(self.flow, recorded)
        self.cost += int(BODY_TIMES * len(event.body))
        now = _interval(self.flow, recorded.meta.at)
        if not self.intervals:
            self.intervals.append(now)
            return
        last = self.intervals[-1]
        if now.same_as(last):
            return
        now.valid_from = last.valid_to = max(now.valid_from, last.valid_from)
        if last.valid_to == last.valid_from:
            # it never held; where it was written already, it is written as empty, and goes
            self.emptied = self.emptied or (self._stored and len(self.intervals) == 1)
            if not (self._stored and len(self.intervals) == 1):
                self.intervals.pop()
        self.intervals.append(now)


class FlowIntervals:
    """The intervals of each flow, folded from its events; what is not known here is read from the event store."""

    name = NAME
    patience = PATIENCE_SECONDS
    topics = FlowTopics()
    sums = ()
    ddl = ""

    def __init__(self, *, version: int = VERSION) -> None:
        self.version = version
        self._cache: OrderedDict[UUID, _Kept] = OrderedDict()
        self._cost = 0
        table = f"flow_intervals_v{version}"
        self.tables = (table,)
        self._write, self._empty, self._known = (text.format(table=table) for text in (WRITE, EMPTY, KNOWN))

    def forget(self) -> None:
        """Hold no flow in memory any more."""
        self._cache.clear()
        self._cost = 0

    async def apply(self, connection: Connection, batch: Sequence[Told], *, singly: bool = False) -> Applied:
        """Write what the batch changed of each flow's intervals."""
        applied = Applied()
        traced = await self._trace(connection, batch, applied.parked)
        ordered = sorted(traced.values(), key=lambda each: each.flow.id)
        if singly:
            done = []
            for each in ordered:
                try:
                    async with connection.transaction():
                        applied.rows += await self._write_all(connection, [each])
                    done.append(each)
                except ROW_ERRORS as error:
                    applied.parked.append(Parked(each.flow.id, each.flow.version, short(error)))
            ordered = done
        else:
            applied.rows += await self._write_all(connection, ordered)
        applied.committed = partial(self._keep, ordered)
        return applied

    async def _trace(self, connection: Connection, batch: Sequence[Told], parked: list[Parked]) -> dict[UUID, _Traced]:
        told: dict[UUID, list[Told]] = {}
        for flow_id, events in by_flow(batch).items():
            kept = self._cache.get(flow_id)
            if new := news(events, kept.flow.version if kept is not None else 0):
                told[flow_id] = new
        strange = [flow_id for flow_id in told if flow_id not in self._cache]
        known: set[UUID] = set()
        if strange:
            cursor = await connection.execute(self._known, (strange,), binary=True)
            known = {row[0] for row in await cursor.fetchall()}
        traced: dict[UUID, _Traced] = {}
        behind: dict[UUID, int] = {}
        async for flow_id, new in in_turns(told.items()):
            kept = self._cache.get(flow_id)
            at = kept.flow.version if kept is not None else 0
            if flow_id in known or not joins(new, at):
                behind[flow_id] = new[0].version
                continue
            each = _Traced(kept.flow if kept else Flow(id=flow_id), kept)
            try:
                for event in new:
                    each.tell(event)
                traced[flow_id] = each
            # whatever one flow's events cause concerns that flow alone
            except Exception as error:
                parked.append(Parked(flow_id, new[0].version, short(error)))
        await self._load(connection, behind, traced, parked)
        return traced

    async def _load(
        self, connection: Connection, behind: dict[UUID, int], traced: dict[UUID, _Traced], parked: list[Parked]
    ) -> None:
        """Tell whole histories where the events in hand do not join on to what is known."""
        async for histories in whole(connection, behind):
            for flow_id, history in histories.items():
                each = _Traced(Flow(id=flow_id), None)
                try:
                    for event in history:
                        each.tell(event)
                    traced[flow_id] = each
                    # a row may be there of what, told as a whole, never held
                    each.emptied = True
                except Exception as error:
                    parked.append(Parked(flow_id, behind[flow_id], short(error)))

    async def _write_all(self, connection: Connection, ordered: Sequence[_Traced]) -> int:
        rows = [interval for each in ordered for interval in each.intervals]
        written = 0
        for n in range(0, len(rows), WRITE_ROWS):
            document = msgspec.json.encode(rows[n : n + WRITE_ROWS])
            written += (await connection.execute(self._write, (document.decode(),))).rowcount
        emptied = [each.flow.id for each in ordered if each.emptied]
        if emptied:
            await connection.execute(self._empty, (emptied,))
        return written

    def _keep(self, written: Iterable[_Traced]) -> None:
        """After the commit: remember the flows that go on, the ones told last longest."""
        for each in written:
            before = self._cache.pop(each.flow.id, None)
            self._cost -= before.cost if before is not None else 0
            if each.flow.status not in ENDED:
                self._cache[each.flow.id] = _Kept(each.flow, each.intervals[-1], each.cost)
                self._cost += each.cost
        while self._cost > CACHE_BYTES:
            self._cost -= self._cache.popitem(last=False)[1].cost


def _interval(flow: Flow, at: datetime) -> Interval:
    assert flow.created_at is not None
    assert flow.client_account_id is not None
    assert flow.engagement_id is not None
    return Interval(
        flow_id=flow.id,
        version=flow.version,
        client_account_id=flow.client_account_id,
        engagement_id=flow.engagement_id,
        valid_from=at,
        created_at=flow.created_at,
        flow_type=flow.flow_type,
        flow_version=flow.flow_version,
        flow_status=str(flow.status),
        current_phase=flow.current_phase,
        phases_completed=[phase.name for phase in flow.phases if phase.status in DONE],
        progress_percentage=progress(flow),
        draining=flow.draining,
        iteration_number=flow.iteration_number,
        updated_by=flow.updated_by,
    )
