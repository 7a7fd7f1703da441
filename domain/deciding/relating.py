"""What a flow makes of word from other flows: its children, those it waits for, and those above it."""

from __future__ import annotations

from domain.commands import (
    CancelFlow,
    DeleteFlow,
    FollowParent,
    PauseFlow,
    ReportChild,
    ReportDependency,
    ResumeFlow,
)
from domain.deciding.starting import dependency_ended, go_on
from domain.deciding.steering import cancel, delete, pause, resume
from domain.deciding.story import OVER, Story
from domain.deciding.suspending import look
from domain.errors import PhaseIrreversible
from domain.events import ChildEnded, ChildStarted
from domain.words import Status


def report_child(story: Story, command: ReportChild) -> None:
    """Note how a child stands. Whoever is over has no use for it, and a child that completed stays completed."""
    if story.flow.status in OVER:
        return
    known = {child.flow_id: child for child in story.flow.children}.get(command.child_flow_id)
    if known is None:
        story.tell(ChildStarted(child_flow_id=command.child_flow_id))
    elif known.status in (Status.COMPLETED, command.status):
        return
    if command.status is not None:
        story.tell(
            ChildEnded(
                child_flow_id=command.child_flow_id,
                status=command.status,
                outputs=command.outputs,
                error=command.error,
            )
        )
        look(story)


def report_dependency(story: Story, command: ReportDependency) -> None:
    """Note how a flow that this one waits for came to rest; the last one opens the gate."""
    gate = {gate.flow_id: gate for gate in story.flow.gates}.get(command.dependency_flow_id)
    if story.flow.status in OVER or gate is None or gate.status == command.status:
        return
    dependency_ended(story, command.dependency_flow_id, command.status)
    flow = story.flow
    if flow.gates or flow.status is Status.FAILED or flow.paused is not None:
        return
    if flow.start is None:
        if flow.auto_execute:
            go_on(story)
    elif not flow.start.left(story.meta.at):
        go_on(story)


def follow_parent(story: Story, command: FollowParent) -> None:
    """Do as a flow further up in the tree was told."""
    about = {"flow_id": command.flow_id, "reason": command.reason}
    match command.verb:
        case "pause":
            pause(story, PauseFlow.model_validate({**about, "timers": command.timers}), by=command.by_flow_id)
        case "resume":
            paused = story.flow.paused
            if paused is not None and paused.by_flow_id in command.paused_by:
                resume(story, ResumeFlow.model_validate(about), by=command.by_flow_id)
        case "cancel":
            undo = {"compensate": command.compensate}
            try:
                cancel(story, CancelFlow.model_validate(about | undo), by=command.by_flow_id)
            except PhaseIrreversible:
                cancel(story, CancelFlow.model_validate(about), by=command.by_flow_id)
        case _:
            delete(story, DeleteFlow.model_validate(about), by=command.by_flow_id)
