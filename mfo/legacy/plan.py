"""What an import would take over: the flows that the rows tell, and every row that is left out, with why."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple, overload
from uuid import UUID, uuid5

from msgspec.structs import replace

from domain.flow_types import FlowTypes
from domain.relations import MAX_LEVELS
from domain.words import Status
from mfo.legacy.flows import Old, put_together
from mfo.legacy.reading import Fault, Row
from mfo.legacy.spool import KeptValues, Spool
from mfo.legacy.tables import ASSESSMENT, DISCOVERY, MASTER, TABLES, Raw

Json = dict[str, Any]

IMPORTS = UUID("5e1f3a52-6a3b-4d0c-9a53-3f0f8f2c1d77")
KEYS = {MASTER: ("flow_id",), DISCOVERY: ("flow_id", "id"), ASSESSMENT: ("flow_id", "id")}
AT_REST = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED, Status.DELETED})


class Known(NamedTuple):
    """What must be known of a flow while the others are put in order; the rest of it lies at its `place` in the spool."""

    place: int
    flow_id: UUID
    parent: UUID | None
    tenant: tuple[UUID, UUID]
    status: str
    created_at: datetime
    flow_type: str
    flow_version: str


class Placed(NamedTuple):
    """A flow with those above it and under it, these with how they have ended."""

    known: Known
    ancestors: tuple[UUID, ...] = ()
    children: tuple[tuple[UUID, str | None], ...] = ()


class Flows(Sequence[Old]):
    """Flows in order; each is read from the spool when it is asked for."""

    def __init__(self, spool: Spool, placed: Sequence[Placed] = ()) -> None:
        self._spool = spool
        self.placed = placed

    def __len__(self) -> int:
        return len(self.placed)

    @overload
    def __getitem__(self, which: int) -> Old: ...
    @overload
    def __getitem__(self, which: slice) -> list[Old]: ...
    def __getitem__(self, which: int | slice) -> Old | list[Old]:
        found = self.placed[which]
        return self._read(found) if isinstance(found, Placed) else [self._read(each) for each in found]

    def _read(self, placed: Placed) -> Old:
        flow: Old = self._spool.get(placed.known.place)
        return replace(flow, fact=replace(flow.fact, ancestors=placed.ancestors, children=placed.children))


@dataclass
class Plan:
    """Flows in an order in which parents come first; `tables` is `{table: {rows, sha256}}`, `left_out` the number of flows."""

    import_id: UUID
    tables: Json
    flows: Flows
    faults: list[Fault] = field(default_factory=list)
    left_out: int = 0

    @property
    def placeholders(self) -> list[str]:
        """The flow types that are not known here."""
        known = [flow.known for flow in self.flows.placed]
        return sorted({flow.flow_type for flow in known if flow.flow_version.startswith("imported-")})

    def counts(self) -> Json:
        """How many flows there are, by status and by type."""
        return {
            "flows": len(self.flows),
            "left_out": self.left_out,
            "by_status": dict(sorted(Counter(flow.known.status for flow in self.flows.placed).items())),
            "by_type": dict(sorted(Counter(flow.known.flow_type for flow in self.flows.placed).items())),
        }


def make(raws: Iterable[Raw], types: FlowTypes) -> Plan:
    """Read the rows and put the flows together. The same rows, in whatever order, give the same import id."""
    spool = Spool()
    rows: dict[str, list[Row]] = {table: [] for table in TABLES}
    hashes: dict[str, list[str]] = {table: [] for table in TABLES}
    for raw in raws:
        rows[raw.table].append(Row(raw._replace(values=KeptValues(spool, dict(raw.values))), KEYS[raw.table]))
        hashes[raw.table].append(raw.sha256)
    tables: Json = {table: {"rows": len(found), "sha256": checksum(found)} for table, found in hashes.items()}
    import_id = uuid5(IMPORTS, checksum(each["sha256"] for each in tables.values()))
    plan = Plan(import_id, tables, Flows(spool))
    kept: dict[UUID, Known] = {}
    read: dict[UUID, tuple[Row | None, Row | None]] = {}
    for master, child in pairs(rows):
        flow = put_together(master, child, types, str(import_id))
        if flow is None:
            plan.left_out += 1
        else:
            kept[flow.flow_id], read[flow.flow_id] = _known(flow, spool.put(flow)), (master, child)
    _without_parents(plan, kept, read)
    plan.faults = sorted({fault for found in rows.values() for row in found for fault in row.faults})
    plan.flows = Flows(spool, _in_order(kept))
    return plan


def _known(flow: Old, place: int) -> Known:
    fact, tenant = flow.fact, (flow.client_account_id, flow.engagement_id)
    return Known(
        *(place, flow.flow_id, flow.parent, tenant),
        *(fact.status, fact.created_at, fact.flow_type, fact.flow_version),
    )


def checksum(hashes: Iterable[str]) -> str:
    """One SHA-256 over many, whatever their order."""
    whole = hashlib.sha256()
    for each in sorted(hashes):
        whole.update(each.encode())
    return whole.hexdigest()


def pairs(rows: dict[str, list[Row]]) -> list[tuple[Row | None, Row | None]]:
    """Each master row with the row of its child, and the rows that stand alone. Of rows that claim the same flow none is right."""
    for found in rows.values():
        times = Counter(row.key for row in found)
        for row in found:
            if row.key is not None and times[row.key] > 1:
                row.wrong("flow_id", f"stands in {times[row.key]} rows of the table")
    masters = {row.key: row for row in rows[MASTER] if row.key is not None}
    claimed: dict[UUID, list[Row]] = {}
    alone: list[Row] = []
    for row in (*rows[DISCOVERY], *rows[ASSESSMENT]):
        named = row.uuid("master_flow_id")
        at = next((key for key in (named, row.key) if key in masters), None)
        if at is not None:
            claimed.setdefault(at, []).append(row)
        else:
            alone.append(row)
    paired: list[tuple[Row | None, Row | None]] = []
    for row in rows[MASTER]:
        children = claimed.pop(row.key, []) if row.key is not None else []
        for child in children if len(children) > 1 else ():
            child.wrong("master_flow_id", f"its master row has {len(children)} children")
        paired.append((row, children[0] if children else None))
    times = Counter(row.key for row in alone)
    for row in alone:
        if row.key is not None and times[row.key] > 1:
            row.wrong("flow_id", "stands in rows of two tables")
        paired.append((None, row))
    return paired


def _without_parents(plan: Plan, kept: dict[UUID, Known], read: dict[UUID, tuple[Row | None, Row | None]]) -> None:
    """Leave out flows whose parent is not taken over, or that stand in a circle or too deep, and what is under them."""
    while True:
        wrong: dict[UUID, str] = {}
        for flow_id, flow in kept.items():
            above, reached = flow.parent, {flow_id}
            while above is not None and flow_id not in wrong:
                parent = kept.get(above)
                if parent is None:
                    wrong[flow_id] = f"the flow {above} is not among those that are taken over"
                elif above in reached:
                    wrong[flow_id] = "the flows above it form a circle"
                elif len(reached) >= MAX_LEVELS:
                    wrong[flow_id] = f"it would stand more than {MAX_LEVELS} levels deep"
                elif parent.tenant != flow.tenant:
                    wrong[flow_id] = f"the flow {above} is another tenant's"
                else:
                    reached.add(above)
                    above = parent.parent
        if not wrong:
            return
        for flow_id, why in wrong.items():
            del kept[flow_id]
            plan.left_out += 1
            row = next(row for row in read[flow_id] if row is not None)
            row.wrong("parent_flow_id", why)


def _in_order(kept: dict[UUID, Known]) -> list[Placed]:
    """The flows with those above them and under them, parents first."""
    under: dict[UUID, list[tuple[UUID, str | None]]] = {}
    for flow in sorted(kept.values(), key=lambda each: (each.created_at, each.flow_id)):
        if flow.parent is not None:
            under.setdefault(flow.parent, []).append((flow.flow_id, flow.status if flow.status in AT_REST else None))
    placed = []
    for flow in kept.values():
        ancestors: list[UUID] = []
        above = flow.parent
        while above is not None:
            ancestors.insert(0, above)
            above = kept[above].parent
        placed.append(Placed(flow, tuple(ancestors), tuple(under.get(flow.flow_id, ()))))
    return sorted(placed, key=lambda each: (len(each.ancestors), each.known.created_at, each.known.flow_id))
