"""Rows of the older system whose master row is not there."""

from __future__ import annotations

from uuid import UUID

from mfo.legacy.plan import KEYS, pairs
from mfo.legacy.reading import Row
from mfo.legacy.tables import ASSESSMENT, DISCOVERY, MASTER, Raw


def child(table: str, number: int, flow_id: UUID | None) -> Row:
    return Row(Raw(table, number, {"flow_id": str(flow_id) if flow_id else None}), KEYS[table])


def test_of_many_children_that_stand_alone_those_of_one_flow_are_told() -> None:
    # a comparison of each with each would take minutes
    found = [child(DISCOVERY, n, UUID(int=n)) for n in range(1, 20_001)]
    twin, lost, lost_too = child(ASSESSMENT, 1, UUID(int=7)), child(ASSESSMENT, 2, None), child(ASSESSMENT, 3, None)
    made = pairs({MASTER: [], DISCOVERY: found, ASSESSMENT: [twin, lost, lost_too]})
    assert len(made) == 20_003
    wrong = {(row.raw.table, row.raw.number) for row in [*found, twin] if row.faults}
    assert wrong == {(DISCOVERY, 7), (ASSESSMENT, 1)}
    # that nobody knows their flows does not make them rows of the same
    assert [[fault.why for fault in row.faults] for row in (lost, lost_too)] == [
        ["is missing; nobody can say which flow it is"]
    ] * 2
