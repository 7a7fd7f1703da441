"""What people ask of a flow under way: to pause it, resume it, end it."""

from __future__ import annotations

from uuid import UUID

from domain.commands import CancelFlow, DeleteFlow, PauseFlow, ResumeFlow
from domain.deciding.back import compensate_once_stopped, compensations_of, refuse_irreversible
from domain.deciding.starting import begin, go_on, start_hook, start_phase, try_again
from domain.deciding.story import Story, allowed, not_over
from domain.deciding.suspending import after_a_pause
from domain.deciding.targets import BEGINNING, undone_by
from domain.errors import FlowDoesNotPause, FlowHasFailed, FlowIsOver, FlowNotPaused, FlowPausedNow, PhaseNotPausable
from domain.events import Compensation, FlowCancelled, FlowDeleted, FlowPaused, FlowResumed
from domain.flow import FROZEN, RETRY_TIMER, START_TIMER
from domain.words import Moment, PhaseStatus, Status

CLEANUP_SECONDS = 6.0
"""How long after a cancellation work that was in hand has stopped for certain, and its clean-up may begin."""


def pause(story: Story, command: PauseFlow, *, by: UUID | None = None) -> None:
    """Pause the flow; with `by`, since a flow above it was. A whole tree waits for a phase that cannot be paused to end."""
    flow = story.flow
    not_over(story)
    if flow.paused is not None:
        if command.timers not in {None, flow.paused.timers}:
            raise FlowPausedNow(
                f"the flow is paused with its timers {flow.paused.timers}; resume it before you pause it otherwise",
                allowed=allowed(flow, story.types),
            )
        return
    if flow.status is Status.FAILED:
        raise FlowHasFailed(allowed=allowed(flow, story.types))
    if not story.type.capabilities.supports_pause_resume:
        raise FlowDoesNotPause(f"flows of type {flow.flow_type} cannot be paused", allowed=allowed(flow, story.types))
    firm = [run.phase_name for run in flow.runs if not story.type.phase(run.phase_name).can_pause]
    if by is None and firm:
        raise PhaseNotPausable(
            f"phase {firm[0]} cannot be paused; wait until it has ended", allowed=allowed(flow, story.types)
        )
    story.tell(
        FlowPaused(
            reason=command.reason,
            draining=bool(flow.runs),
            timers=command.timers or FROZEN,
            tree=command.tree is not False,
            by_flow_id=by,
        )
    )


def resume(story: Story, command: ResumeFlow, *, by: UUID | None = None) -> None:
    """Go on; with `by`, since a flow above it does."""
    flow = story.flow
    not_over(story)
    if flow.paused is None:
        raise FlowNotPaused(allowed=allowed(flow, story.types))
    tree, paused_by = command.tree is not False, flow.paused.by_flow_id
    story.tell(FlowResumed(reason=command.reason, tree=tree, by_flow_id=by, paused_by=paused_by))
    flow = story.flow
    if flow.follows and flow.ready and flow.undoing is None and not flow.gates and flow.start is None:
        _resume_each(story)
        return
    if flow.suspended is not None:
        after_a_pause(story)
        return
    if flow.run is not None or flow.waiting is not None or flow.gates:
        return
    waits = flow.timers.get(START_TIMER) or flow.timers.get(flow.called(RETRY_TIMER))
    if waits is not None:
        # what was left of it when the flow was paused is still to pass
        if not waits.left(story.meta.at):
            (go_on if flow.retry is None else try_again)(story)
        return
    following = flow.next_phase
    if flow.undoing is not None:
        go_on(story)
        return
    if following is not None and following.interrupted:
        start_phase(story, story.type.phase(following.name), {}, following.options, attempt=following.attempt)
        return
    answered = following is not None and following.status is PhaseStatus.WAITING
    if answered or following is None or flow.auto_execute:
        go_on(story)


def _resume_each(story: Story) -> None:
    """Go on with every phase that is in hand or had its answer, and with those that are next where the flow goes on by itself."""
    after_a_pause(story)
    for name in story.flow.lanes:
        story.on(name)
        timer = story.flow.timers.get(story.flow.called(RETRY_TIMER))
        if timer is not None and not timer.left(story.meta.at):
            try_again(story)
    story.whole()
    if story.flow.auto_execute:
        go_on(story)
        return
    lanes = story.flow.lanes
    for phase in story.flow.ready:
        if phase.name not in lanes and (phase.interrupted or phase.status is PhaseStatus.WAITING):
            begin(story, phase)


def cancel(story: Story, command: CancelFlow, *, by: UUID | None = None) -> None:
    """End the flow; with `by`, since a flow above it was."""
    flow = story.flow
    if flow.status is Status.CANCELLED:
        if command.compensate and (flow.rollback is None or not flow.rollback.cancelled):
            raise FlowIsOver("the flow was cancelled without compensations", allowed=allowed(flow, story.types))
        return
    not_over(story)
    compensations: tuple[Compensation, ...] = ()
    if command.compensate:
        # one that was cancelled before and could not be undone goes on with what is left
        done = [] if flow.winding_up else undone_by(flow, BEGINNING)
        refuse_irreversible(story, done)
        compensations = compensations_of(story, done)
    cleans_up = bool(story.type.hooks.cancel) and any(phase.attempt for phase in flow.phases)
    in_hand = bool(flow.runs)
    seconds = CLEANUP_SECONDS if cleans_up and in_hand else None
    story.tell(
        FlowCancelled(
            reason=command.reason,
            cleanup_after_seconds=seconds,
            compensations=compensations,
            compensate=command.compensate,
            tree=command.tree is not False,
            by_flow_id=by,
        )
    )
    if cleans_up and not in_hand:
        start_hook(story, Moment.CANCEL)
    compensate_once_stopped(story)


def delete(story: Story, command: DeleteFlow, *, by: UUID | None = None) -> None:
    """Hide the flow; with `by`, since a flow above it was."""
    if story.flow.status is not Status.DELETED:
        story.tell(FlowDeleted(reason=command.reason, tree=command.tree is not False, by_flow_id=by))
