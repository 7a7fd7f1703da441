"""What a flow answers to the wish to leave a phase out."""

from __future__ import annotations

from domain.commands import SkipPhase
from domain.deciding.starting import leave_error_hooks, move_on, next_asked, one_of_ready, options_for, reserved
from domain.deciding.story import Story, allowed, keep_point, not_over
from domain.errors import FieldError, OutputsInvalid, PhaseNotSkippable, PhaseOutOfOrder
from domain.events import PhaseSkipped
from domain.schemas import misfits


def skip(story: Story, command: SkipPhase) -> None:
    """Leave the next phase out, or the one named where several are next, wherever it stands; its run, where one is in hand, is
    no longer wanted."""
    not_over(story)
    flow = story.flow
    if flow.undoing is not None:
        raise PhaseOutOfOrder(
            f"phase {flow.undoing.phase_name} is to be undone first; execute the flow",
            allowed=allowed(flow, story.types),
        )
    following = flow.next_phase
    if following is None:
        raise PhaseNotSkippable(
            "every phase is done; what is left is the flow's end", allowed=allowed(flow, story.types)
        )
    named = command.phase_name
    config = one_of_ready(story, named) if flow.follows else next_asked(story, named, following)
    if not config.can_skip:
        raise PhaseNotSkippable(
            f"phase {config.name} cannot be left out in flows of type {flow.flow_type}",
            allowed=allowed(flow, story.types),
        )
    # what a phase brings is an input of those after it
    kept_for_others = sorted(set(command.outputs or ()) & set(reserved(story.type)))
    if kept_for_others:
        raise OutputsInvalid(
            f"{', '.join(kept_for_others)}: is asked of particular people when the time has come; leave it out",
            errors=[
                FieldError(f"outputs.{name}", "is given by answering the question alone") for name in kept_for_others
            ],
        )
    if command.outputs is not None and config.output_schema is not None:
        errors = misfits(command.outputs, config.output_schema, "outputs")
        if errors:
            told = "; ".join(f"{error.field} {error.message}" for error in errors[:5])
            raise OutputsInvalid(f"what is to stand in for {config.name} does not fit: {told}", errors=errors)
    leave_error_hooks(story)
    story.tell(PhaseSkipped(phase_name=config.name, reason=command.reason, outputs=command.outputs or {}))
    keep_point(story, config.name, flow.phase(config.name).options or options_for(story, config, {}))
    move_on(story)
