"""What must hold of flows among flows, and of what was asked of many at once."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from typing import NamedTuple
from uuid import UUID

from domain.deciding.story import OVER
from domain.events import (
    ChildEnded,
    ChildStarted,
    FlowCancelled,
    FlowCompleted,
    FlowDeleted,
    FlowRolledBack,
    PhaseCompleted,
)
from domain.fleet.commands import flow_command_id
from domain.relations import AT_REST
from tests.chaos.record import History, Record

Histories = Mapping[UUID, History]


class Finding(NamedTuple):
    """Something that must not be: its kind, and what was found, as a sentence."""

    code: str
    sentence: str


Found = Iterator[Finding]


def operations(record: Record) -> Found:
    """Each operation has come to its end, with an outcome of each of its flows, which is that of the command it sent."""
    for one in record.operations:
        asked = Counter(flow_id for flow_id, _, _ in one.outcomes)
        if one.state != "completed" or one.total != len(one.outcomes) or max(asked.values(), default=1) > 1:
            said = f"{one.state}, with {len(one.outcomes)} rows for {one.total} flows"
            yield Finding("operation_open", f"operation {one.operation_id} is {said}")
        for flow_id, outcome, code in one.outcomes:
            first = record.firsts.get((*one.owner, flow_command_id(one.operation_id, flow_id)))
            error = (first.error or {}).get("code") if first is not None else None
            wanted = None if first is None else "refused" if first.error else "accepted"
            if (outcome, code) != (wanted, error):
                said = f"says {outcome} {code or ''}, the command {wanted or 'was never decided'} {error or ''}"
                yield Finding("operation_differs", f"operation {one.operation_id}, flow {flow_id}: it {said}")


def trees(histories: Histories) -> Found:
    """Each child was made once, is known to its parent, and was reached by what was said of a flow above it."""
    children: dict[UUID, list[UUID]] = defaultdict(list)
    for flow_id, history in histories.items():
        if history.flow.parent_flow_id is not None:
            children[history.flow.parent_flow_id].append(flow_id)
    for flow_id, below in children.items():
        parent = histories.get(flow_id)
        if parent is None:
            yield Finding("orphan", f"flow {below[0]} is a child of {flow_id}, which there is not")
            continue
        yield from _made_once(parent, below, histories)
        yield from _known(parent, below, histories)
        yield from _handed_up(parent, histories)
        yield from _reached(parent, children, histories)


def _made_once(parent: History, below: list[UUID], histories: Histories) -> Found:
    """A phase that is done once makes each of its children once; one that went back makes others."""
    names = Counter(histories[flow_id].flow.flow_name for flow_id in below)
    times = 1 + sum(isinstance(one.fact, FlowRolledBack) for one in parent.recorded)
    twice = [name for name, count in names.items() if count > times]
    if twice:
        yield Finding("child_twice", f"flow {parent.flow_id} has the child {twice[0]!r} {names[twice[0]]} times")


def _known(parent: History, below: list[UUID], histories: Histories) -> Found:
    """The parent has heard of each child, and of each end, but for what happened after its own."""
    begun = Counter(one.fact.child_flow_id for one in parent.recorded if isinstance(one.fact, ChildStarted))
    ended = {(one.fact.child_flow_id, one.fact.status) for one in parent.recorded if isinstance(one.fact, ChildEnded)}
    over = parent.flow.status in OVER
    for flow_id in below:
        status = histories[flow_id].flow.status
        if begun[flow_id] > 1 or (not begun[flow_id] and not over):
            yield Finding("child_unheard", f"flow {parent.flow_id} was told {begun[flow_id]} times of child {flow_id}")
        elif status in AT_REST and (flow_id, status) not in ended and not over:
            yield Finding("child_unheard", f"flow {parent.flow_id} never heard that child {flow_id} is {status}")


def _handed_up(parent: History, histories: Histories) -> Found:
    """A phase that waited for its children has ended after all of them were completed."""
    for n, one in enumerate(parent.recorded):
        named = one.fact.outputs.get("children", ()) if isinstance(one.fact, PhaseCompleted) else ()
        for flow_id in map(UUID, named):
            child = histories.get(flow_id)
            ends = (
                []
                if child is None
                else [e for e, r in zip(child.stored, child.recorded, strict=True) if isinstance(r.fact, FlowCompleted)]
            )
            if not any(end.position < parent.stored[n].position for end in ends):
                yield Finding(
                    "child_missing", f"flow {parent.flow_id} went on before its child {flow_id} was completed"
                )


def _reached(parent: History, children: Mapping[UUID, list[UUID]], histories: Histories) -> Found:
    """What was said of the whole tree has reached all of it, and nobody stays paused by it."""
    verbs = [(one.version, one.fact) for one in parent.recorded]
    ended = any(
        isinstance(fact, FlowCancelled | FlowDeleted) and fact.tree and fact.by_flow_id is None for _, fact in verbs
    )
    undone: list[UUID] = []
    for version, fact in verbs:
        if isinstance(fact, FlowRolledBack):
            since, until = parent.stored[fact.to_version - 1].position, parent.stored[version - 1].position
            undone += [one for one in children[parent.flow_id] if since < histories[one].stored[0].position < until]
    for flow_id in _below(parent.flow_id, children) if ended else _all_of(undone, children):
        if histories[flow_id].flow.status not in OVER:
            yield Finding(
                "left_behind",
                f"flow {flow_id} is {histories[flow_id].flow.status}, and {parent.flow_id} above it was ended or rolled back",
            )
    for flow_id in children[parent.flow_id]:
        paused = histories[flow_id].flow.paused
        above = histories.get(paused.by_flow_id) if paused is not None and paused.by_flow_id is not None else None
        if above is not None and above.flow.paused is None and above.flow.status not in AT_REST:
            yield Finding("left_behind", f"flow {flow_id} is paused, and {above.flow_id} above it goes on")


def _below(flow_id: UUID, children: Mapping[UUID, list[UUID]]) -> list[UUID]:
    return _all_of(children.get(flow_id, []), children)


def _all_of(flow_ids: list[UUID], children: Mapping[UUID, list[UUID]]) -> list[UUID]:
    """These flows, and all under them."""
    found = list(flow_ids)
    for flow_id in found:
        found.extend(children.get(flow_id, []))
    return found
