"""Where a flow can go back to, and what that would undo."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from typing import NamedTuple

from domain.flow import DONE, Checkpoint, Flow, Phase
from domain.flow_types import FlowTypeConfig
from domain.undoing import begun
from domain.words import PhaseStatus


class Target(NamedTuple):
    """A state of the flow's past: the phases that were done then, and the checkpoint that holds it (none: the beginning)."""

    version: int
    done: frozenset[str]
    checkpoint: Checkpoint | None = None


BEGINNING = Target(1, frozenset())


def targets(flow: Flow) -> list[Target]:
    """Every state that there is to go back to, the newest first; those of former rounds are over, and those with phases that
    are no longer done."""
    done = {phase.name for phase in flow.phases if phase.status in DONE}
    found = [
        Target(point.version, point.done, point)
        for point in reversed(flow.checkpoints)
        if point.iteration_number == flow.iteration_number and point.done <= done
    ]
    return [*found, BEGINNING] if flow.iteration_number == 1 else found


def undone_by(flow: Flow, target: Target) -> list[Phase]:
    """The phases that going back undoes, the newest first; never one before those that come after it."""
    left = _since(flow, target)
    if not flow.follows:
        return left
    found: list[Phase] = []
    while left:
        before = {name for phase in left for name in flow.follows[phase.name]}
        newest = max((phase for phase in left if phase.name not in before), key=_ended_at)
        left.remove(newest)
        found.append(newest)
    return found


def irreversible(config: FlowTypeConfig, phases: Iterable[Phase]) -> list[str]:
    """Those of the phases that were begun and cannot be undone."""
    return [phase.name for phase in phases if begun(phase) and config.phase(phase.name).irreversible]


def can_go_back(flow: Flow, config: FlowTypeConfig) -> bool:
    """Whether there is a state to go back to that undoes something, and nothing irreversible; the type must support it."""
    undone = (_since(flow, target) for target in targets(flow))
    return any(phases and not irreversible(config, phases) for phases in undone)


def next_in(flow: Flow, target: Target) -> list[str]:
    """The phases that come next in a state of the past: one, or several where phases run at the same time."""
    left = [phase.name for phase in flow.phases if phase.name not in target.done]
    return [name for name in left if target.done.issuperset(flow.follows[name])] if flow.follows else left[:1]


def phases_to_go_back_to(flow: Flow) -> list[str]:
    """The phases that can be named to go back to: each that comes next in one of those states, in their order."""
    found: set[str] = set()
    for target in targets(flow):
        if _since(flow, target):
            found.update(next_in(flow, target))
    return [phase.name for phase in flow.phases if phase.name in found]


def _since(flow: Flow, target: Target) -> list[Phase]:
    """The phases that were begun or passed over since then, in the order against that of the type."""
    return [phase for phase in reversed(flow.phases) if phase.name not in target.done and _touched(phase)]


def _ended_at(phase: Phase) -> float:
    return phase.completed_at.timestamp() if phase.completed_at is not None else inf


def _touched(phase: Phase) -> bool:
    return begun(phase) or phase.status is not PhaseStatus.PENDING
