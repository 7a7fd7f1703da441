"""How a flow goes back: checkpoints, rollback as a forward event, and the compensations that undo what phases did."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from domain.commands import CreateCheckpoint, RollbackFlow
from domain.deciding.starting import go_on, leave_error_hooks
from domain.deciding.story import OVER, Story, allowed, not_over, state_sha256
from domain.deciding.targets import Target, irreversible, next_in, phases_to_go_back_to, targets, undone_by
from domain.errors import (
    CheckpointBroken,
    CheckpointUnknown,
    FieldError,
    FlowIsOver,
    NothingToUndo,
    PhaseAlreadyRunning,
    PhaseIrreversible,
    RollbackNotSupported,
    RollbackTargetInvalid,
)
from domain.events import CheckpointCreated, Compensation, FlowFailed, FlowRolledBack
from domain.flow import DONE, Phase, Run
from domain.undoing import begun
from domain.words import Moment, Status


def roll_back(story: Story, command: RollbackFlow, *, ended: UUID | None = None) -> None:
    """Go back; the run `ended`, where it is named, is at its end and does not stand in the way."""
    flow = story.flow
    _goes_back(story)
    running = [run.phase_name for run in flow.runs if run.hook != Moment.ERROR and run.run_id != ended]
    if running:
        raise PhaseAlreadyRunning(
            f"phase {', '.join(running)} is running; pause the flow, and roll it back when it has drained",
            allowed=allowed(flow, story.types),
        )
    target = _target(story, command)
    undone = undone_by(flow, target)
    left = flow.rollback.left if flow.rollback is not None else ()
    if not undone and (command.compensate or not left):
        raise NothingToUndo(
            "nothing has been done since then; execute the flow instead", allowed=allowed(flow, story.types)
        )
    following = next(phase.name for phase in flow.phases if phase.name not in target.done)
    refuse_irreversible(story, undone)
    compensations = compensations_of(story, undone) if command.compensate else ()
    leave_error_hooks(story)
    story.tell(
        FlowRolledBack(
            phase_name=following,
            to_version=target.version,
            checkpoint_id=target.checkpoint.checkpoint_id if target.checkpoint is not None else None,
            undone=tuple(phase.name for phase in undone),
            compensations=compensations,
            reason=command.reason,
            compensate=command.compensate,
        )
    )
    if target.checkpoint is not None and state_sha256(story.flow) != target.checkpoint.state_sha256:
        raise CheckpointBroken(allowed=allowed(flow, story.types))
    flow = story.flow
    if flow.paused is None and (flow.undoing is not None or flow.auto_execute):
        go_on(story)


def create_checkpoint(story: Story, command: CreateCheckpoint) -> None:
    """Record the state as it stands; silence where the newest checkpoint holds the same."""
    flow = story.flow
    not_over(story)
    _goes_back(story)
    digest = state_sha256(flow)
    done = [phase.name for phase in flow.phases if phase.status in DONE]
    newest = flow.checkpoints[-1] if flow.checkpoints else None
    if newest is not None and (newest.state_sha256, newest.done) == (digest, frozenset(done)):
        return
    story.tell(
        CheckpointCreated(
            checkpoint_id=story.derived_id("checkpoint"),
            phase_name=done[-1] if done else "",
            state_sha256=digest,
            reason=command.reason,
        )
    )


def _goes_back(story: Story) -> None:
    """Refuse a flow that is over for good, or whose type does not know the way back."""
    flow = story.flow
    if flow.winding_up or flow.status in {Status.CANCELLED, Status.DELETED}:
        state = flow.status if flow.status in OVER else Status.CANCELLED
        raise FlowIsOver(f"the flow is {state} and does not go back", allowed=allowed(flow, story.types))
    if not story.type.capabilities.supports_rollback:
        raise RollbackNotSupported(
            f"flows of type {flow.flow_type} {flow.flow_version} cannot be rolled back",
            allowed=allowed(flow, story.types),
        )


def _target(story: Story, command: RollbackFlow) -> Target:
    """The state that the command means."""
    flow, given = story.flow, (command.phase_name, command.checkpoint_id)
    if (given[0] is None) is (given[1] is None):
        message = "give one of the two: phase_name or checkpoint_id"
        errors = [FieldError(name, message) for name in ("phase_name", "checkpoint_id")]
        raise RollbackTargetInvalid(
            f"say where the flow is to go back to; {message}", errors=errors, allowed=phases_to_go_back_to(flow)
        )
    if command.phase_name is not None:
        return _before(story, story.type.phase(command.phase_name).name)
    for target in targets(flow):
        if target.checkpoint is not None and target.checkpoint.checkpoint_id == command.checkpoint_id:
            return target
    known = [target.checkpoint for target in targets(flow) if target.checkpoint is not None]
    named = [f"{point.checkpoint_id} (after {point.phase_name or 'nothing'})" for point in known]
    raise CheckpointUnknown(
        f"the flow has no checkpoint {command.checkpoint_id} to go back to; it has {', '.join(named) or 'none'}",
        allowed=[str(point.checkpoint_id) for point in known],
    )


def _before(story: Story, name: str) -> Target:
    """The newest state in which the phase is the next one and all that was done before it still is."""
    flow = story.flow
    names = flow.up_to(name) - {name}
    before = [phase for phase in flow.phases if phase.name in names]
    waiting = [phase.name for phase in before if phase.status not in DONE]
    if waiting:
        raise NothingToUndo(
            f"phase {name} has not been reached; next is {waiting[0]}", allowed=allowed(flow, story.types)
        )
    for target in targets(flow):
        if name in next_in(flow, target):
            return target
    known = phases_to_go_back_to(flow)
    raise CheckpointUnknown(
        f"there is no checkpoint right before phase {name}; the flow can go back to {', '.join(known) or 'none'}",
        allowed=known,
    )


def refuse_irreversible(story: Story, undone: Iterable[Phase]) -> None:
    """Raise PhaseIrreversible where one of the phases cannot be undone."""
    found = irreversible(story.type, undone)
    if found:
        raise PhaseIrreversible(
            f"phase {found[0]} cannot be undone, and what came before it neither",
            allowed=allowed(story.flow, story.types),
        )


def compensations_of(story: Story, undone: Iterable[Phase]) -> tuple[Compensation, ...]:
    """What is to be run for these phases, after what is left over of an earlier time."""
    left = story.flow.rollback.left if story.flow.rollback is not None else ()
    ours = ((phase.name, story.type.phase(phase.name).compensations) for phase in undone if begun(phase))
    return (
        *(Compensation(each.phase_name, each.handlers) for each in left),
        *(Compensation(name, handlers) for name, handlers in ours if handlers),
    )


def compensated(story: Story) -> None:
    """A phase has been undone: the next one follows or, where the flow goes on by itself, the first phase to be done again."""
    flow = story.flow
    if flow.paused is None and (flow.undoing is not None or (flow.auto_execute and flow.status not in OVER)):
        go_on(story)


def compensate_once_stopped(story: Story) -> None:
    """Begin with the compensations of a cancelled flow, unless work that was cancelled may still be under way."""
    flow = story.flow
    stopping = flow.stopping.left(story.meta.at) if flow.stopping is not None else 0.0
    idle = flow.run is None and flow.retry is None and flow.cleanup is None
    if flow.undoing is not None and idle and not stopping:
        go_on(story)


def not_compensated(story: Story, run: Run, error: dict[str, object]) -> None:
    """A compensation has failed for good: so has the flow, until somebody has it tried again."""
    left = story.flow.rollback.left if story.flow.rollback is not None else ()
    names = [each.phase_name for each in left]
    message = f"phase {run.phase_name} could not be undone: {error.get('message', '')}"
    told = {**error, "message": message, "left": names}
    story.tell(FlowFailed(phase_name=run.phase_name, error=told, attempts=run.attempt))
