"""How each flow stood from when to when: each change of what lists filter on, so that a list can be had as of then.

An interval holds from its event's time to that of the next change, the end not included. What begins and ends at the same
time never held, and is not there. Where the store's clock was set back, an interval begins when the one before it began.

A row is a stay: intervals one after the other that differ only in phase and progress, the last of them in columns and those
before it beside. So a flow that runs through is two rows, and one that goes on has its row written again, not one more.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import partial
from typing import NamedTuple
from uuid import UUID

import msgspec
from msgspec.structs import replace

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
    **dict.fromkeys(("valid_from", "valid_to", "created_at", "since"), "timestamptz"),
    **dict.fromkeys(("flow_type", "flow_version", "flow_status", "current_phase", "updated_by"), "text"),
    **dict.fromkeys(("version", "step_version", "told"), "bigint"),
    **dict.fromkeys(("phases_completed", "before"), "jsonb"),
    "progress_percentage": "double precision",
    "draining": "boolean",
    "iteration_number": "int",
}
LATER = (
    *("valid_to", "step_version", "since", "current_phase", "phases_completed", "progress_percentage", "updated_by"),
    *("before", "told"),
)
"""What changes while a stay goes on."""
WRITE = f"""
insert into {{table}} as t ({", ".join(TYPES)})
select {", ".join("coalesce(valid_to, 'infinity')" if name == "valid_to" else name for name in TYPES)}
from jsonb_to_recordset(%s::jsonb) as r ({", ".join(f"{name} {kind}" for name, kind in TYPES.items())})
on conflict (flow_id, version) do update set {", ".join(f"{name} = excluded.{name}" for name in LATER)}
where t.told < excluded.told
"""
EMPTY = "delete from {table} where flow_id = any(%b) and valid_to <= valid_from"
GONE = """
delete from {table} t using unnest(%b::uuid[], %b::bigint[]) as u (flow_id, version)
where t.flow_id = u.flow_id and t.version = u.version
"""
KNOWN = "select distinct flow_id from {table} where flow_id = any(%b)"


class Step(msgspec.Struct, frozen=True, gc=False):
    """An interval of a stay that another one of the same stay has followed."""

    version: int
    valid_from: datetime
    valid_to: datetime
    current_phase: str | None
    phases_completed: list[str]
    progress_percentage: float
    updated_by: str


class Stay(msgspec.Struct, frozen=True):
    """A row of the table; `valid_to` is none while it holds. `version` is that of the event that began it, `step_version` and
    `since` are those of its last interval, `before` are the others; `told` is the version of the event that last changed it."""

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
    step_version: int
    since: datetime
    told: int
    before: tuple[Step, ...] | None = None
    valid_to: datetime | None = None

    def ended(self, at: datetime, version: int) -> Stay:
        """The stay up to then; its last interval, where that began only then, never held."""
        if self.since != at or not self.before:
            return replace(self, valid_to=at, told=version)
        *before, last = self.before
        return replace(
            self,
            valid_to=at,
            told=version,
            step_version=last.version,
            since=last.valid_from,
            current_phase=last.current_phase,
            phases_completed=last.phases_completed,
            progress_percentage=last.progress_percentage,
            updated_by=last.updated_by,
            before=tuple(before) or None,
        )

    def gone_on(self, flow: Flow, done: list[str], at: datetime) -> Stay:
        """The stay with one more interval; the one before it, where that began only then, never held."""
        before = self.before
        if self.since != at:
            step = Step(
                self.step_version,
                self.since,
                at,
                self.current_phase,
                self.phases_completed,
                self.progress_percentage,
                self.updated_by,
            )
            before = (*(before or ()), step)
        return replace(
            self,
            step_version=flow.version,
            since=at,
            current_phase=flow.current_phase,
            phases_completed=done,
            progress_percentage=progress(flow),
            updated_by=flow.updated_by,
            before=before,
            told=flow.version,
        )

    def is_of(self, flow: Flow) -> bool:
        """Whether the flow stands as in this stay, whatever its phase and progress."""
        return (
            self.flow_status == flow.status
            and self.draining == flow.draining
            and self.iteration_number == flow.iteration_number
            and self.flow_version == flow.flow_version
        )


class _Kept(NamedTuple):
    """A flow as far as it was told, and the stay that holds."""

    flow: Flow
    open: Stay
    cost: int


class _Traced:
    """A flow that is being told: the stays that are to be written, the last of which holds. Of one that is `retold`, from its
    beginning, any stay may be there as it was when less was told."""

    def __init__(self, flow: Flow, kept: _Kept | None, *, retold: bool = False) -> None:
        self.flow = flow
        self.stays: list[Stay] = [kept.open] if kept else []
        self.cost = kept.cost if kept else FLOW_BYTES
        self.emptied = False
        # the versions of stays that never held
        self.gone: list[int] = []
        self._retold = retold
        self._stored = kept is not None

    def tell(self, event: Told) -> None:
        """One event more."""
        recorded = event.recorded()
        flow = self.flow = event.after(self.flow, recorded)
        self.cost += int(BODY_TIMES * len(event.body))
        done = [phase.name for phase in flow.phases if phase.status in DONE]
        if not self.stays:
            self.stays.append(_stay(flow, done, recorded.meta.at))
            return
        last = self.stays[-1]
        same = last.is_of(flow)
        # progress follows from the rest
        if same and last.current_phase == flow.current_phase and last.phases_completed == done:
            return
        at = max(recorded.meta.at, last.since)
        if at == last.valid_from:
            # it never held; where it was written already, it is written as empty, and goes
            if self._stored and len(self.stays) == 1:
                self.emptied = True
                self.stays[-1] = last.ended(at, flow.version)
            else:
                self.stays.pop()
                if self._retold:
                    self.gone.append(last.version)
        elif same:
            self.stays[-1] = last.gone_on(flow, done, at)
            return
        else:
            self.stays[-1] = last.ended(at, flow.version)
        self.stays.append(_stay(flow, done, at))


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
        texts = (WRITE, EMPTY, GONE, KNOWN)
        self._write, self._empty, self._gone, self._known = (text.format(table=table) for text in texts)

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
                each = _Traced(Flow(id=flow_id), None, retold=True)
                try:
                    for event in history:
                        each.tell(event)
                    traced[flow_id] = each
                except Exception as error:
                    parked.append(Parked(flow_id, behind[flow_id], short(error)))

    async def _write_all(self, connection: Connection, ordered: Sequence[_Traced]) -> int:
        rows = [stay for each in ordered for stay in each.stays]
        written = 0
        for n in range(0, len(rows), WRITE_ROWS):
            document = msgspec.json.encode(rows[n : n + WRITE_ROWS])
            written += (await connection.execute(self._write, (document.decode(),))).rowcount
        emptied = [each.flow.id for each in ordered if each.emptied]
        if emptied:
            await connection.execute(self._empty, (emptied,))
        gone = [(each.flow.id, version) for each in ordered for version in each.gone]
        if gone:
            await connection.execute(self._gone, tuple(map(list, zip(*gone, strict=True))))
        return written

    def _keep(self, written: Iterable[_Traced]) -> None:
        """After the commit: remember the flows that go on, the ones told last longest."""
        for each in written:
            before = self._cache.pop(each.flow.id, None)
            self._cost -= before.cost if before is not None else 0
            if each.flow.status not in ENDED:
                self._cache[each.flow.id] = _Kept(each.flow, each.stays[-1], each.cost)
                self._cost += each.cost
        while self._cost > CACHE_BYTES:
            self._cost -= self._cache.popitem(last=False)[1].cost


def _stay(flow: Flow, done: list[str], at: datetime) -> Stay:
    assert flow.created_at is not None
    assert flow.client_account_id is not None
    assert flow.engagement_id is not None
    return Stay(
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
        phases_completed=done,
        progress_percentage=progress(flow),
        draining=flow.draining,
        iteration_number=flow.iteration_number,
        updated_by=flow.updated_by,
        step_version=flow.version,
        since=at,
        told=flow.version,
    )
