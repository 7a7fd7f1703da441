"""What a flow answers to the wish to try again."""

from __future__ import annotations

from domain.commands import ExecutePhase, RetryFlow
from domain.deciding.starting import execute, try_again
from domain.deciding.story import Story, allowed, not_over
from domain.errors import FlowPausedNow, NothingToRetry
from domain.events import FlowRetried
from domain.words import Status


def retry(story: Story, command: RetryFlow) -> None:
    """A failed flow goes on at its failed phase, with all attempts anew; an attempt that waits begins at once."""
    not_over(story)
    flow = story.flow
    if flow.paused is not None:
        raise FlowPausedNow(allowed=allowed(flow, story.types))
    waiting = [view for view in flow.each if view.retry is not None]
    if flow.status is not Status.FAILED and not waiting:
        raise NothingToRetry(allowed=allowed(flow, story.types))
    for view in waiting or [flow]:
        phase = flow.undoing.phase_name if flow.undoing is not None else view.current_phase or ""
        story.tell(FlowRetried(phase_name=phase, reason=command.reason))
        if flow.status is not Status.FAILED:
            story.on(view.focus)
            try_again(story)
    if flow.status is Status.FAILED:
        execute(story, ExecutePhase(flow_id=command.flow_id))
