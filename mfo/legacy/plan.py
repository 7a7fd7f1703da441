"""What an import would take over: the flows that the rows tell, and every row that is left out, with why."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid5

from msgspec.structs import replace

from domain.flow_types import FlowTypes
from domain.relations import MAX_LEVELS
from domain.words import Status
from mfo.legacy.flows import Old, put_together
from mfo.legacy.reading import Fault, Row
from mfo.legacy.tables import ASSESSMENT, DISCOVERY, MASTER, TABLES, Raw

Json = dict[str, Any]

IMPORTS = UUID("5e1f3a52-6a3b-4d0c-9a53-3f0f8f2c1d77")
KEYS = {MASTER: ("flow_id",), DISCOVERY: ("flow_id", "id"), ASSESSMENT: ("flow_id", "id")}
AT_REST = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED, Status.DELETED})


@dataclass
class Plan:
    """Flows in an order in which parents come first; `tables` is `{table: {rows, sha256}}`, `left_out` the number of flows."""

    import_id: UUID
    tables: Json
    flows: list[Old] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    left_out: int = 0

    @property
    def placeholders(self) -> list[str]:
        """The flow types that are not known here."""
        return sorted({flow.fact.flow_type for flow in self.flows if flow.fact.flow_version.startswith("imported-")})

    def counts(self) -> Json:
        """How many flows there are, by status and by type."""
        return {
            "flows": len(self.flows),
            "left_out": self.left_out,
            "by_status": dict(sorted(Counter(flow.fact.status for flow in self.flows).items())),
            "by_type": dict(sorted(Counter(flow.fact.flow_type for flow in self.flows).items())),
        }


def make(raws: Iterable[Raw], types: FlowTypes) -> Plan:
    """Read the rows and put the flows together. The same rows, in whatever order, give the same import id."""
    rows: dict[str, list[Row]] = {table: [] for table in TABLES}
    hashes: dict[str, list[str]] = {table: [] for table in TABLES}
    for raw in raws:
        rows[raw.table].append(Row(raw, KEYS[raw.table]))
        hashes[raw.table].append(raw.sha256)
    tables: Json = {table: {"rows": len(found), "sha256": checksum(found)} for table, found in hashes.items()}
    import_id = uuid5(IMPORTS, checksum(each["sha256"] for each in tables.values()))
    plan = Plan(import_id, tables)
    kept: dict[UUID, Old] = {}
    read: dict[UUID, tuple[Row | None, Row | None]] = {}
    for master, child in pairs(rows):
        flow = put_together(master, child, types, str(import_id))
        if flow is None:
            plan.left_out += 1
        else:
            kept[flow.flow_id], read[flow.flow_id] = flow, (master, child)
    _without_parents(plan, kept, read)
    plan.faults = sorted({fault for found in rows.values() for row in found for fault in row.faults})
    plan.flows = _in_order(kept)
    return plan


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


def _without_parents(plan: Plan, kept: dict[UUID, Old], read: dict[UUID, tuple[Row | None, Row | None]]) -> None:
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
                elif parent.client_account_id != flow.client_account_id or parent.engagement_id != flow.engagement_id:
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


def _in_order(kept: dict[UUID, Old]) -> list[Old]:
    """The flows with those above them and under them, parents first."""
    under: dict[UUID, list[tuple[UUID, str | None]]] = {}
    for flow in sorted(kept.values(), key=lambda each: (each.fact.created_at, each.flow_id)):
        if flow.parent is not None:
            ended = flow.fact.status if flow.fact.status in AT_REST else None
            under.setdefault(flow.parent, []).append((flow.flow_id, ended))
    placed = []
    for flow in kept.values():
        ancestors: list[UUID] = []
        above = flow.parent
        while above is not None:
            ancestors.insert(0, above)
            above = kept[above].parent
        family = {"ancestors": tuple(ancestors), "children": tuple(under.get(flow.flow_id, ()))}
        placed.append(replace(flow, fact=replace(flow.fact, **family)))
    return sorted(placed, key=lambda each: (len(each.fact.ancestors), each.fact.created_at, each.flow_id))
