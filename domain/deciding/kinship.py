"""Where a new flow stands among others: the flows above it, and those that it waits for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple
from uuid import UUID

from domain.commands import Command, CreateFlow
from domain.deciding.story import OVER, Story, allowed
from domain.errors import (
    DependencyCircular,
    DependencyNotFound,
    FieldError,
    FlowGated,
    ParentIsOver,
    ParentNotFound,
    TreeTooLarge,
)
from domain.flow import Flow, Meta, Pause
from domain.relations import AT_REST, MAX_CHILDREN, MAX_LEVELS

MAX_SEARCHED = 300
"""How many flows are looked at for a circle."""


class Kinship(NamedTuple):
    """The flows above a new one (the root first), those it waits for, how those of them that are at rest came to it, and the
    pause that reaches it with the flow that was paused."""

    ancestors: tuple[UUID, ...] = ()
    dependencies: tuple[UUID, ...] = ()
    at_rest: tuple[tuple[UUID, str], ...] = ()
    paused: tuple[UUID, Pause] | None = None


def named(command: Command, known: Mapping[UUID, Flow]) -> set[UUID]:
    """The flows that have to be known for a command to be decided and are not among `known` yet; ask until there is none.

    Those it names, the flows above its parent, and what the flows that it waits for wait for themselves.
    """
    if not isinstance(command, CreateFlow):
        return set()
    wanted = set(command.dependent_flow_ids)
    if command.parent_flow_id is not None:
        wanted.add(command.parent_flow_id)
        wanted |= set(known[command.parent_flow_id].ancestors) if command.parent_flow_id in known else set()
    if command.parent_flow_id is not None and len(known) < MAX_SEARCHED:
        for flow_id in _reached(command.dependent_flow_ids, known):
            wanted |= {gate.flow_id for gate in known[flow_id].gates}
    return wanted - known.keys()


def kinship_of(meta: Meta, command: CreateFlow, others: Mapping[UUID, Flow]) -> Kinship:
    """Where a new flow will stand. Raises a Refused error where it cannot stand there."""
    theirs = {
        flow_id: flow
        for flow_id, flow in others.items()
        if flow.exists and (flow.client_account_id, flow.engagement_id) == (meta.client_account_id, meta.engagement_id)
    }
    ancestors = _ancestors(command, theirs)
    dependencies = tuple(dict.fromkeys(command.dependent_flow_ids))
    missing = [flow_id for flow_id in dependencies if flow_id not in theirs]
    if missing:
        raise DependencyNotFound(
            f"there is no flow {', '.join(map(str, missing))}",
            errors=[FieldError("dependent_flow_ids", f"there is no flow {flow_id}") for flow_id in missing],
        )
    circle = _circle(command, ancestors, theirs)
    if circle:
        raise DependencyCircular(
            f"the flow would wait for itself: {' -> '.join(map(str, circle))}; wait for another flow, or use another parent",
            errors=[FieldError("dependent_flow_ids", f"{circle[1]} leads back to this flow")],
        )
    at_rest = tuple(
        (flow_id, str(theirs[flow_id].status)) for flow_id in dependencies if theirs[flow_id].status in AT_REST
    )
    return Kinship(ancestors, dependencies, at_rest, _pause_above(ancestors, theirs))


def not_gated(story: Story) -> None:
    """Raises FlowGated while the flow waits for others."""
    flow = story.flow
    if flow.gates:
        held = ", ".join(f"{gate.flow_id} ({gate.status or 'under way'})" for gate in flow.gates)
        raise FlowGated(f"the flow waits until these have completed: {held}", allowed=allowed(flow, story.types))


def _ancestors(command: CreateFlow, theirs: Mapping[UUID, Flow]) -> tuple[UUID, ...]:
    if command.parent_flow_id is None:
        return ()
    parent = theirs.get(command.parent_flow_id)
    errors = [FieldError("parent_flow_id", "names no flow that can have this child")]
    if parent is None:
        raise ParentNotFound(f"there is no flow {command.parent_flow_id}", errors=errors)
    if parent.status in OVER:
        raise ParentIsOver(f"the parent flow is {parent.status} and takes no more children", errors=errors)
    ancestors = (*parent.ancestors, parent.id)
    if len(ancestors) >= MAX_LEVELS:
        raise TreeTooLarge(f"a tree of flows has at most {MAX_LEVELS} levels; the parent is on the last", errors=errors)
    if len(parent.children) >= MAX_CHILDREN:
        raise TreeTooLarge(f"a flow has at most {MAX_CHILDREN} children", errors=errors)
    return ancestors


def _reached(start: tuple[UUID, ...], known: Mapping[UUID, Flow]) -> dict[UUID, UUID | None]:
    """The known flows that are waited for, directly or by way of others, each with the one that waits for it (none: the new one)."""
    reached: dict[UUID, UUID | None] = dict.fromkeys((flow_id for flow_id in start if flow_id in known), None)
    queue = list(reached)
    for flow_id in queue:
        for gate in known[flow_id].gates:
            if gate.flow_id in known and gate.flow_id not in reached:
                reached[gate.flow_id] = flow_id
                queue.append(gate.flow_id)
    return reached


def _circle(command: CreateFlow, ancestors: tuple[UUID, ...], theirs: Mapping[UUID, Flow]) -> list[UUID]:
    """The way from the new flow back to itself: a flow waits for its children as it does for those it depends on."""
    if command.flow_id in command.dependent_flow_ids:
        return [command.flow_id, command.flow_id]
    reached = _reached(command.dependent_flow_ids, theirs)
    for place, ancestor in enumerate(ancestors):
        if ancestor in reached:
            back: list[UUID] = []
            step: UUID | None = ancestor
            while step is not None:
                back.append(step)
                step = reached[step]
            return [command.flow_id, *reversed(back), *ancestors[place + 1 :], command.flow_id]
    return []


def _pause_above(ancestors: tuple[UUID, ...], theirs: Mapping[UUID, Flow]) -> tuple[UUID, Pause] | None:
    """The nearest pause of a whole tree that the new flow is in, by the flow that was paused."""
    for flow_id in reversed(ancestors):
        paused = theirs[flow_id].paused if flow_id in theirs else None
        if paused is not None and paused.tree:
            return paused.by_flow_id or flow_id, paused
    return None
