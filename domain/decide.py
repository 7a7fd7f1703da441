"""What a flow answers to a command: facts, silence for a repeat, or a refusal.

`decide` is pure. Time, ids and the actor come in with the command's `Meta`; run and checkpoint ids follow from the flow's
id and version.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, assert_never
from uuid import UUID

from domain.commands import (
    CancelFlow,
    Command,
    CompletePhase,
    CreateCheckpoint,
    CreateFlow,
    DeleteFlow,
    ExecutePhase,
    FailPhase,
    FireTimer,
    FollowParent,
    HandBackRun,
    ImportFlow,
    MigrateFlow,
    PauseFlow,
    ProvideInput,
    ReassignRun,
    RecordSteps,
    RepairFlow,
    ReportChild,
    ReportDependency,
    ReportLoss,
    RequestInput,
    ResumeFlow,
    RetryFlow,
    RollbackFlow,
    SignalFlow,
    SkipPhase,
    StartIteration,
    SuspendRun,
)
from domain.deciding.answering import provide_input
from domain.deciding.back import create_checkpoint, roll_back
from domain.deciding.importing import import_flow, repair
from domain.deciding.iterating import iterate
from domain.deciding.losing import lose_outputs
from domain.deciding.migrating import migrate
from domain.deciding.relating import follow_parent, report_child, report_dependency
from domain.deciding.retrying import retry
from domain.deciding.running import complete, fail, let_go, request_input
from domain.deciding.skipping import skip
from domain.deciding.starting import create, execute, start_hook
from domain.deciding.steering import cancel, delete, pause, resume
from domain.deciding.story import Story, allowed, current_run
from domain.deciding.suspending import signal, suspend
from domain.deciding.timers import fire
from domain.errors import FlowNotFound, VersionMoved
from domain.events import FlowDrained, StepsCompleted
from domain.fleet.subjects import StandingPause
from domain.flow import Flow, Meta
from domain.flow_types import FlowTypes
from domain.words import Moment, Status


def decide(
    flow: Flow,
    command: Command,
    meta: Meta,
    types: FlowTypes,
    *,
    expected_version: int | None = None,
    others: Mapping[UUID, Flow] | None = None,
    standing: Sequence[StandingPause] = (),
) -> Story:
    """What `command` brings about: the facts and the flow after them; no facts is silence.

    `others` are the flows that the command names (`domain.deciding.kinship.named`), as last seen; `standing` are the tenant's
    standing pauses, which a new flow may begin under. Raises a `Refused` error when the flow says no.
    """
    story = Story(flow, meta, types)
    if isinstance(command, CreateFlow):
        if expected_version and not flow.exists:
            raise VersionMoved(f"there is no flow yet, and none at version {expected_version}")
        create(story, command, others or {}, standing)
        return story
    if isinstance(command, ImportFlow):
        import_flow(story, command)
        return story
    if not flow.exists or (flow.client_account_id, flow.engagement_id) != (meta.client_account_id, meta.engagement_id):
        raise FlowNotFound
    if expected_version is not None and expected_version != flow.version:
        raise VersionMoved(
            f"the flow is at version {flow.version}, not {expected_version}; read it again and decide anew",
            allowed=allowed(flow, types),
        )
    ANSWERS.get(type(command), _answer)(story, command)
    story.whole()
    if flow.draining and story.flow.paused is not None and not story.flow.runs:
        story.tell(FlowDrained())
    if story.flow.status is Status.FAILED and flow.status is not Status.FAILED and story.type.hooks.error:
        start_hook(story, Moment.ERROR)
    return story


ANSWERS: dict[type[Command], Callable[[Story, Any], None]] = {
    RollbackFlow: roll_back,
    CreateCheckpoint: create_checkpoint,
    ReportLoss: lose_outputs,
    RepairFlow: repair,
}


def _answer(story: Story, command: Command) -> None:
    match command:
        case ExecutePhase():
            execute(story, command)
        case CompletePhase():
            complete(story, command)
        case RecordSteps():
            current_run(story, command.run_id, command.token)
            story.tell(
                StepsCompleted(
                    phase_name=story.flow.current_phase or "", run_id=command.run_id, results=command.results
                )
            )
        case FailPhase():
            fail(story, command)
        case RequestInput():
            request_input(story, command)
        case ProvideInput():
            provide_input(story, command)
        case PauseFlow():
            pause(story, command)
        case ResumeFlow():
            resume(story, command)
        case CancelFlow():
            cancel(story, command)
        case DeleteFlow():
            delete(story, command)
        case SuspendRun():
            suspend(story, command)
        case SignalFlow():
            signal(story, command)
        case MigrateFlow():
            migrate(story, command)
        case HandBackRun() | ReassignRun():
            let_go(story, command)
        case FireTimer():
            fire(story, command)
        case StartIteration():
            iterate(story, command)
        case SkipPhase():
            skip(story, command)
        case RetryFlow():
            retry(story, command)
        case ReportChild():
            report_child(story, command)
        case ReportDependency():
            report_dependency(story, command)
        case FollowParent():
            follow_parent(story, command)
        case _:  # pragma: no cover
            assert_never(command)  # type: ignore[arg-type]
