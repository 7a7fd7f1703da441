"""How a new round of a flow begins."""

from __future__ import annotations

from domain.commands import StartIteration
from domain.deciding.starting import check_given, go_on, leave_error_hooks, phase_asked, reserved
from domain.deciding.story import Story, allowed, not_over
from domain.errors import (
    FlowPausedNow,
    IterationsNotSupported,
    IterationsUsedUp,
    NothingToIterate,
    PhaseAlreadyRunning,
    PhaseOutOfOrder,
)
from domain.events import IterationStarted
from domain.flow import DONE
from domain.rounds import at_work, begun
from domain.words import Status, counted


def iterate(story: Story, command: StartIteration) -> None:
    _may_begin(story)
    flow = story.flow
    names = [phase.name for phase in flow.phases]
    named = phase_asked(story, command.phase_name).name if command.phase_name else names[0]
    reached = {name for phase in flow.ready for name in flow.up_to(phase.name)}
    reached |= {phase.name for phase in flow.phases if phase.status in DONE}
    if named not in reached:
        following = ", ".join(phase.name for phase in flow.ready)
        raise PhaseOutOfOrder(
            f"phase {named} comes later; a round begins at {following} or before it",
            allowed=[name for name in names if name in reached],
        )
    check_given(story.type.phases, "inputs", command.inputs)
    leave_error_hooks(story)
    again = {name for phase in flow.from_on(named) for name in story.type.phase(phase).required_inputs}
    story.tell(
        IterationStarted(
            number=flow.iteration_number + 1,
            from_phase=named,
            inputs=command.inputs,
            reason=command.reason,
            asked_anew=tuple(sorted(again & set(reserved(story.type)) & set(flow.inputs))),
        )
    )
    if flow.auto_execute:
        go_on(story)


def _may_begin(story: Story) -> None:
    flow = story.flow
    if flow.status is not Status.COMPLETED:
        not_over(story)
    takes = allowed(flow, story.types)
    capabilities = story.type.capabilities
    if not capabilities.supports_iterations:
        raise IterationsNotSupported(f"flows of type {flow.flow_type} have one round only", allowed=takes)
    if flow.iteration_number >= capabilities.max_iterations:
        had = counted(flow.iteration_number, "round")
        raise IterationsUsedUp(
            f"the flow has had {had}, as many as flows of type {flow.flow_type} may have; begin a new flow",
            allowed=takes,
        )
    if flow.paused is not None:
        raise FlowPausedNow(allowed=takes)
    if flow.undoing is not None:
        name = flow.undoing.phase_name
        raise PhaseOutOfOrder(f"phase {name} is to be undone first; execute the flow", allowed=takes)
    if at_work(flow):
        raise PhaseAlreadyRunning(
            f"phase {flow.current_phase} is running or about to be tried again; wait for its end, or cancel the flow",
            allowed=takes,
        )
    if not begun(flow):
        raise NothingToIterate(
            f"round {flow.iteration_number} has not begun; execute its first phase, or give its inputs with execute",
            allowed=takes,
        )
