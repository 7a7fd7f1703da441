"""Which flows there are and where each one stands: the read model `crewai_flow_state_extensions`."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple
from uuid import UUID

import msgspec
import psycopg
import structlog
from psycopg_pool import PoolTimeout

from domain.errors import RegistrationError
from domain.events import FlowEvent
from domain.flow import Flow
from domain.flow_types import FlowTypes
from domain.view import COLUMNS, row
from domain.words import ENDED
from eventstore.database import Connection
from projections.histories import whole
from projections.metrics import count
from projections.projection import ROW_ERRORS, Applied, Parked
from projections.told import Told, by_flow, joins, news, short

log = structlog.get_logger()

NAME = "crewai_flow_state_extensions"
VERSION = 1

# a cached flow takes about twice as much memory as its row's JSON
CACHE_BYTES = 8 << 20
# a statement is held several times over: as rows, as bytes, as text and as what is sent
WRITE_ROWS = 200
WRITE_BYTES = 2 << 20

TYPES = {
    **dict.fromkeys(("flow_id", "client_account_id", "engagement_id", "parent_flow_id"), "uuid"),
    **dict.fromkeys(
        (
            *("flow_type", "flow_version", "user_id", "flow_name", "flow_description", "flow_status"),
            *("current_phase", "created_by", "updated_by"),
        ),
        "text",
    ),
    **dict.fromkeys(("created_at", "updated_at"), "timestamptz"),
    **dict.fromkeys(("retry_count", "iteration_number"), "int"),
    **dict.fromkeys(("version", "log_position"), "bigint"),
    "progress_percentage": "double precision",
    "draining": "boolean",
}
ALL = (*COLUMNS, "log_position")

# measured: as fast as arrays and COPY at half the work on this side; as jsonb a quarter less of the server's than as json
WRITE = f"""
with rows as (
    insert into {{table}} as t ({", ".join(ALL)})
    select {", ".join(ALL)}
    from jsonb_to_recordset(%s::jsonb) as r ({", ".join(f"{name} {TYPES.get(name, 'jsonb')}" for name in ALL)})
    on conflict (flow_id) do update set {", ".join(f"{name} = excluded.{name}" for name in ALL if name != "flow_id")}
    where t.version < excluded.version
    returning flow_id
)
select array_agg(flow_id) from rows
"""
# what stands beside the rows follows from them. A statement of its own: by now the rows are held, so that it sees what whoever
# held them before has left. `slot` is one that no other transaction adds to, so that nobody waits for a total.
BESIDE = """
with now as materialized (
    select f.flow_id, f.client_account_id, f.engagement_id, f.flow_type, f.flow_status, f.created_at,
           f.flow_name, f.flow_description, f.flow_tags, w.flow_type as former_type, w.flow_status as former_status
    from {table} f left join {words} w using (flow_id) where f.flow_id = any(%s)
),
worded as (
    insert into {words} (flow_id, client_account_id, engagement_id, flow_type, flow_status, created_at, words)
    select flow_id, client_account_id, engagement_id, flow_type, flow_status, created_at,
           to_tsvector('simple', concat_ws(' ', flow_name, flow_description,
               (select string_agg(tag, ' ' order by n) from jsonb_array_elements_text(flow_tags) with ordinality as t (tag, n))))
    from now where former_status is null
),
moved as (
    update {words} w set flow_type = now.flow_type, flow_status = now.flow_status, created_at = now.created_at
    from now where w.flow_id = now.flow_id and (w.flow_type, w.flow_status, w.created_at)
        is distinct from (now.flow_type, now.flow_status, now.created_at)
),
tagged as (
    insert into {tags} as g (flow_id, tag, client_account_id, engagement_id, flow_type, flow_status, created_at)
    select distinct flow_id, tag, client_account_id, engagement_id, flow_type, flow_status, created_at
    from now, jsonb_array_elements_text(flow_tags) as tag
    on conflict (flow_id, tag) do update set flow_status = excluded.flow_status where g.flow_status <> excluded.flow_status
),
changes as (
    select client_account_id, engagement_id, flow_type, flow_status, 1 as n from now
    union all
    select client_account_id, engagement_id, former_type, former_status, -1 from now where former_status is not null
)
insert into {totals} as t (client_account_id, engagement_id, flow_type, flow_status, slot, n)
select client_account_id, engagement_id, flow_type, flow_status,
       (select n from generate_series(0, 99) n where pg_try_advisory_xact_lock(8, hashtext('{totals}'::regclass::oid || ':' || n)) limit 1),
       sum(n)
from changes group by 1, 2, 3, 4 having sum(n) <> 0
on conflict (client_account_id, engagement_id, flow_type, flow_status, slot) do update set n = t.n + excluded.n
"""
SUMMED = """
select client_account_id, engagement_id, flow_type, flow_status, count(*) as n from {table} group by 1, 2, 3, 4
"""
KEPT = """
select client_account_id, engagement_id, flow_type, flow_status, sum(n)::bigint as n from {totals}
group by 1, 2, 3, 4 having sum(n) <> 0
"""
VERSIONS = "select flow_id, version from {table} where flow_id = any(%b)"


@dataclass(slots=True)
class _Moved:
    """A flow on its way from what the table holds to what the events make of it."""

    flow: Flow
    position: int
    facts: list[FlowEvent] = field(default_factory=list)
    document: bytes = b""
    cost: int = 0


class _Kept(NamedTuple):
    flow: Flow
    cost: int


def names_of(version: int) -> dict[str, str]:
    """The tables of a version by what they hold, in the order in which they are written."""
    return {
        "table": f"flow_state_extensions_v{version}",
        "words": f"flow_words_v{version}",
        "tags": f"flow_tags_v{version}",
        "totals": f"flow_totals_v{version}",
    }


class FlowTopics:
    """The events of flows, those too that only a newer version knows; not those of schedules."""

    def __contains__(self, topic: object) -> bool:
        return isinstance(topic, str) and topic.startswith("mfo.flow.")


class Flows:
    """One row a flow, folded from its events; what Kafka did not tell is read from the event store."""

    name = NAME
    patience = 0.0
    topics = FlowTopics()
    keys = ("client_account_id", "engagement_id", "flow_type", "flow_status")
    ddl = ""

    def __init__(self, types: FlowTypes, learn: Callable[[], Awaitable[None]], *, version: int = VERSION) -> None:
        """`learn` reads the flow types again that the store knows; `version` names the tables to write."""
        self.version = version
        self.types = types
        self._learn = learn
        self._cache: OrderedDict[UUID, _Kept] = OrderedDict()
        self._cost = 0
        names = names_of(version)
        self._write, self._versions = WRITE.format(**names), VERSIONS.format(**names)
        self._beside = BESIDE.format(**names)
        self.summed, self.kept = SUMMED.format(**names), KEPT.format(**names)
        self.tables, self.sums = tuple(names.values()), (names["totals"],)

    def forget(self) -> None:
        """Hold no flow in memory any more."""
        self._cache.clear()
        self._cost = 0

    async def apply(self, connection: Connection, batch: Sequence[Told], *, singly: bool = False) -> Applied:
        """Bring the rows of the batch's flows up to date, each once."""
        applied = Applied()
        moved = await self._move(connection, batch, applied.parked)
        written: list[_Moved] = []
        # rows in the order of their ids, so that two members at work never wait for each other in a ring
        async for part in self._drawn(sorted(moved.values(), key=lambda each: each.flow.id), applied.parked):
            if singly:
                written += await self._write_singly(connection, part, applied)
            else:
                applied.rows += await self._write_rows(connection, part)
                written += part
            for each in part:
                each.document = b""
        applied.committed = partial(self._keep, written)
        return applied

    async def _move(self, connection: Connection, batch: Sequence[Told], parked: list[Parked]) -> dict[UUID, _Moved]:
        told = by_flow(batch)
        written = await self._written(connection, [flow_id for flow_id in told if flow_id not in self._cache])
        moved: dict[UUID, _Moved] = {}
        behind: dict[UUID, int] = {}
        for flow_id, events in told.items():
            kept = self._cache.get(flow_id)
            at = kept.flow.version if kept is not None else written.get(flow_id, 0)
            new = news(events, at)
            if not new:
                continue
            if (kept is None and at) or not joins(new, at):
                behind[flow_id] = new[0].version
                continue
            start = kept.flow if kept is not None else Flow(id=flow_id)
            try:
                moved[flow_id] = _fold(start, new, counted_from=at)
            # whatever one flow's events cause concerns that flow alone
            except Exception as error:
                parked.append(Parked(flow_id, new[0].version, short(error)))
        await self._load(connection, behind, written, moved, parked)
        return moved

    async def _written(self, connection: Connection, flow_ids: list[UUID]) -> dict[UUID, int]:
        """The versions at which the table holds these flows."""
        if not flow_ids:
            return {}
        cursor = await connection.execute(self._versions, (flow_ids,), binary=True)
        return dict(await cursor.fetchall())

    async def _load(
        self,
        connection: Connection,
        behind: dict[UUID, int],
        written: dict[UUID, int],
        moved: dict[UUID, _Moved],
        parked: list[Parked],
    ) -> None:
        """Fold whole histories where the events in hand do not join on to what is known."""
        async for histories in whole(connection, behind):
            for flow_id, history in histories.items():
                kept = self._cache.get(flow_id)
                at = kept.flow.version if kept is not None else written.get(flow_id, 0)
                try:
                    moved[flow_id] = _fold(Flow(id=flow_id), history, counted_from=at)
                except Exception as error:
                    parked.append(Parked(flow_id, behind[flow_id], short(error)))

    async def _drawn(self, ordered: Iterable[_Moved], parked: list[Parked]) -> AsyncIterator[list[_Moved]]:
        """The flows with their rows, as many at a time as neither side's memory minds; a type version that another process has
        brought is looked up once."""
        part: list[_Moved] = []
        size, learned = 0, False
        for each in ordered:
            try:
                try:
                    each.document = self._document(each)
                except RegistrationError:
                    if learned:
                        raise
                    learned = True
                    await self._learn()
                    each.document = self._document(each)
            except (psycopg.Error, PoolTimeout, OSError):
                raise
            except Exception as error:
                parked.append(Parked(each.flow.id, each.flow.version, short(error)))
                continue
            each.cost = len(each.document)
            if part and (len(part) >= WRITE_ROWS or size + each.cost > WRITE_BYTES):
                yield part
                part, size = [], 0
            part.append(each)
            size += each.cost
        if part:
            yield part

    def _document(self, each: _Moved) -> bytes:
        return msgspec.json.encode(row(each.flow, self.types) | {"log_position": each.position})

    async def _write_rows(self, connection: Connection, part: Sequence[_Moved]) -> int:
        document = b"[" + b",".join(each.document for each in part) + b"]"
        row = await (await connection.execute(self._write, (document.decode(),))).fetchone()
        written = row[0] if row is not None and row[0] is not None else []
        if written:
            await connection.execute(self._beside, (written,))
        return len(written)

    async def _write_singly(self, connection: Connection, part: list[_Moved], applied: Applied) -> list[_Moved]:
        done = []
        for each in part:
            try:
                async with connection.transaction():
                    applied.rows += await self._write_rows(connection, [each])
                done.append(each)
            except ROW_ERRORS as error:
                applied.parked.append(Parked(each.flow.id, each.flow.version, short(error)))
        return done

    def _keep(self, written: Iterable[_Moved]) -> None:
        """After the commit: count the events, remember the flows that go on, let go of those that have ended."""
        for each in written:
            for fact in each.facts:
                count(each.flow.flow_type, fact)
            before = self._cache.pop(each.flow.id, None)
            self._cost -= before.cost if before is not None else 0
            if each.flow.status not in ENDED:
                self._cache[each.flow.id] = _Kept(each.flow, each.cost)
                self._cost += each.cost
        while self._cost > CACHE_BYTES:
            self._cost -= self._cache.popitem(last=False)[1].cost


def _fold(start: Flow, history: Iterable[Told], *, counted_from: int) -> _Moved:
    moved = _Moved(start, 0)
    for event in history:
        recorded = event.recorded()
        moved.flow = event.after(moved.flow, recorded)
        moved.position = event.position
        if event.version > counted_from:
            moved.facts.append(recorded.fact)
    return moved
