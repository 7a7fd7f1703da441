"""What is known of a flow that goes back: where to, what was undone, and which compensations are still to be run."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec

from domain.events import Compensation
from domain.words import PhaseStatus

if TYPE_CHECKING:
    from domain.flow import Flow, Phase

Json = dict[str, Any]


class Undone(msgspec.Struct, frozen=True, kw_only=True):
    """A phase as it was when it was undone, with the handlers that are to compensate it.

    `steps` are the results of the parts of a phase that had not come to its own result (`completed` is False, `outputs`
    empty). `run_id` is that of its last run, `anew` how often the phase had been begun afresh before.
    """

    phase_name: str
    handlers: tuple[str, ...]
    run_id: UUID | None = None
    completed: bool = True
    anew: int = 0
    outputs: Json = {}
    steps: Json = {}


class Rollback(msgspec.Struct, frozen=True, kw_only=True):
    """The last time that the flow went back, or was cancelled with its compensations.

    `left` are the phases still to be compensated, in order, and `inputs` what the flow had been given when it was undone.
    `cancelled`: the flow does not go on afterwards.
    """

    by: str
    at: datetime
    reason: str | None = None
    phase_name: str | None = None
    to_version: int | None = None
    checkpoint_id: UUID | None = None
    undone: tuple[str, ...] = ()
    left: tuple[Undone, ...] = ()
    inputs: Json = {}
    cancelled: bool = False


def begun(phase: Phase) -> bool:
    """Whether work of the phase was done since it was last undone, so that there may be something to compensate."""
    return phase.attempt > 0


def left_of(flow: Flow, compensations: Iterable[Compensation]) -> tuple[Undone, ...]:
    """What `compensations` are to undo, of the flow as it stands before: its phases, and what was left over from before."""
    over = {undone.phase_name: undone for undone in flow.rollback.left} if flow.rollback is not None else {}
    return tuple(
        over.get(each.phase_name) or _undone(flow.phase(each.phase_name), each.handlers) for each in compensations
    )


def _undone(phase: Phase, handlers: tuple[str, ...]) -> Undone:
    completed = phase.status is PhaseStatus.COMPLETED
    return Undone(
        phase_name=phase.name,
        handlers=handlers,
        run_id=phase.run_id,
        completed=completed,
        anew=phase.anew,
        outputs=phase.outputs if completed else {},
        steps=phase.steps,
    )
