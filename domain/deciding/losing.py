"""What a flow makes of outputs that are gone: it goes back to where its state is whole, or fails."""

from __future__ import annotations

from typing import Any

from domain.commands import ReportLoss, RollbackFlow
from domain.deciding.back import roll_back
from domain.deciding.story import Story, current_run, give_up
from domain.errors import Refused
from domain.events import PhaseFailed
from domain.words import Resolve

Json = dict[str, Any]

CODE = "outputs_lost"


def lose_outputs(story: Story, command: ReportLoss) -> None:
    """The run has failed. The flow goes back by itself, to each checkpoint once; where it cannot, it fails."""
    current_run(story, command.run_id, command.token)
    run = story.flow.run
    assert run is not None
    lost = f"artifact {command.artifact}, which the outputs of an earlier phase name, is gone"
    back = RollbackFlow(
        flow_id=command.flow_id,
        checkpoint_id=command.checkpoint_id,
        phase_name=None if command.checkpoint_id else story.flow.phases[0].name,
        reason=lost,
    )
    obstacle = _obstacle(story, command, back)
    mend = "the flow goes back to a checkpoint that is whole"
    error = {
        "class": "permanent",
        "code": CODE,
        "message": f"{lost}; {obstacle or mend}",
        "retryable": False,
    }
    told: Json = {
        "action": str(Resolve.FAIL),
        "severity": "high",
        "message": f"{lost[0].upper()}{lost[1:]}.",
        "needs_person": obstacle is not None,
        "notify": True,
    }
    story.tell(
        PhaseFailed(
            phase_name=run.phase_name,
            run_id=run.run_id,
            attempt=run.attempt,
            error=error,
            execution_time_ms=command.execution_time_ms,
            resolution=told,
        )
    )
    if obstacle is None:
        story.whole()
        roll_back(story, back, ended=command.run_id)
    else:
        give_up(story, run.phase_name, error)


def _obstacle(story: Story, command: ReportLoss, back: RollbackFlow) -> str | None:
    """Why the flow does not go back by itself, and what to do instead; none where it does."""
    restore = "restore the artifact from a backup and execute the flow again"
    if not story.type.capabilities.supports_rollback:
        return f"flows of type {story.flow.flow_type} do not go back: {restore}, or begin another flow"
    if not command.mendable or (command.checkpoint_id or story.flow.id) in story.flow.mended:
        return f"there is no checkpoint left whose state is whole: {restore}, or begin another flow"
    try:
        trial = Story(story.flow, story.meta, story.types)
        trial.whole()
        roll_back(trial, back, ended=command.run_id)
    except Refused as refusal:
        return f"it does not go back by itself, because {refusal.detail}: {restore}"
    return None
