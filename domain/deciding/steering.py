"""What people ask of a flow under way: to answer it, pause it, resume it, end it."""

from __future__ import annotations

from uuid import UUID

from domain.commands import CancelFlow, DeleteFlow, PauseFlow, ProvideInput, ResumeFlow
from domain.deciding.starting import go_on, start_phase, try_again
from domain.deciding.story import Story, allowed, not_over
from domain.deciding.suspending import look
from domain.errors import (
    FieldError,
    FlowDoesNotPause,
    FlowHasFailed,
    FlowNotPaused,
    InputInvalid,
    NothingToAnswer,
    PhaseNotPausable,
)
from domain.events import FlowCancelled, FlowDeleted, FlowPaused, FlowResumed, InputProvided
from domain.flow import RETRY_TIMER, START_TIMER
from domain.words import PhaseStatus, Status


def provide_input(story: Story, command: ProvideInput) -> None:
    flow = story.flow
    not_over(story)
    waiting = flow.waiting
    if waiting is None:
        raise NothingToAnswer(allowed=allowed(flow, story.types))
    wanted = set(waiting.fields)
    for config in story.type.phases:
        if config.name == waiting.phase_name:
            wanted |= set(config.required_inputs) | set(config.optional_inputs)
    unknown = sorted(set(command.values) - wanted)
    if unknown or not command.values:
        errors = [FieldError(name, "was not asked for") for name in unknown] or [
            FieldError(name, "is wanted") for name in waiting.fields
        ]
        raise InputInvalid(f"phase {waiting.phase_name} asks for {', '.join(waiting.fields)}", errors=errors)
    story.tell(InputProvided(phase_name=waiting.phase_name, values=command.values, reason=command.reason))
    if story.flow.paused is None:
        go_on(story)


def pause(story: Story, command: PauseFlow, *, by: UUID | None = None) -> None:
    """Pause the flow; with `by`, since a flow above it was. A whole tree waits for a phase that cannot be paused to end."""
    flow = story.flow
    not_over(story)
    if flow.paused is not None:
        return
    if flow.status is Status.FAILED:
        raise FlowHasFailed(allowed=allowed(flow, story.types))
    if not story.type.capabilities.supports_pause_resume:
        raise FlowDoesNotPause(f"flows of type {flow.flow_type} cannot be paused", allowed=allowed(flow, story.types))
    if by is None and flow.run is not None and not story.type.phase(flow.run.phase_name).can_pause:
        raise PhaseNotPausable(
            f"phase {flow.run.phase_name} cannot be paused; wait until it has ended", allowed=allowed(flow, story.types)
        )
    tree = command.tree is not False
    story.tell(FlowPaused(reason=command.reason, draining=flow.run is not None, tree=tree, by_flow_id=by))


def resume(story: Story, command: ResumeFlow, *, by: UUID | None = None) -> None:
    """Go on; with `by`, since a flow above it does."""
    flow = story.flow
    not_over(story)
    if flow.paused is None:
        raise FlowNotPaused(allowed=allowed(flow, story.types))
    tree, paused_by = command.tree is not False, flow.paused.by_flow_id
    story.tell(FlowResumed(reason=command.reason, tree=tree, by_flow_id=by, paused_by=paused_by))
    flow = story.flow
    if flow.suspended is not None:
        look(story)
        return
    if flow.run is not None or flow.waiting is not None or flow.gates:
        return
    waits = flow.timers.get(START_TIMER) or flow.timers.get(RETRY_TIMER)
    if waits is not None:
        # what was left of it when the flow was paused is still to pass
        if not waits.left(story.meta.at):
            (go_on if flow.retry is None else try_again)(story)
        return
    following = flow.next_phase
    if following is not None and following.interrupted:
        start_phase(story, story.type.phase(following.name), {}, following.options, attempt=following.attempt)
        return
    answered = following is not None and following.status is PhaseStatus.WAITING
    if answered or following is None or flow.auto_execute:
        go_on(story)


def cancel(story: Story, command: CancelFlow, *, by: UUID | None = None) -> None:
    """End the flow; with `by`, since a flow above it was."""
    if story.flow.status is Status.CANCELLED:
        return
    not_over(story)
    story.tell(FlowCancelled(reason=command.reason, tree=command.tree is not False, by_flow_id=by))


def delete(story: Story, command: DeleteFlow, *, by: UUID | None = None) -> None:
    """Hide the flow; with `by`, since a flow above it was."""
    if story.flow.status is not Status.DELETED:
        story.tell(FlowDeleted(reason=command.reason, tree=command.tree is not False, by_flow_id=by))
