"""What may be asked of a flow: the verbs, each the command of the same name, and waiting for a phase's result."""

from __future__ import annotations

from time import monotonic
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from api.answers import Json, etag
from api.asking import DOOR, Asking, Caller, OfFlow, Wanted, command_id, command_of, submit
from api.back import previewed
from api.documents import CommandParked, PhaseResult, RollbackPreview, RunBegun, VerbAnswer
from api.openapi import answers, takes
from api.parked import waits
from api.problems import problem
from api.reading import WaitMs
from domain.commands import (
    CancelFlow,
    Command,
    ExecutePhase,
    MigrateFlow,
    PauseFlow,
    ProvideInput,
    ResumeFlow,
    RetryFlow,
    RollbackFlow,
    SignalFlow,
    SkipPhase,
    StartIteration,
)
from domain.flow import Flow, Run
from domain.view import phase_result
from domain.words import Moment
from eventstore.committer import WAITS, Answer

router = APIRouter(prefix="/api/v1", dependencies=DOOR, tags=["verbs"])


EXECUTED = answers(202, RunBegun | CommandParked, 200, 400, 404, 409, 412, 413, 422, 503, also={200: PhaseResult})


@router.post(
    "/flows/{flow_id}/execute",
    status_code=202,
    summary="Run the next phase",
    responses=EXECUTED,
    openapi_extra=takes(ExecutePhase),
)
async def execute_phase(
    request: Request,
    asking: Asking,
    wanted: OfFlow,
    wait: Annotated[
        bool, Query(description="Answer 200 with the PhaseResult if the phase ends within `wait_ms`.")
    ] = False,
    wait_ms: WaitMs = 2000,
) -> Response:
    """Start the phase named, or the next one."""
    began = monotonic()
    command = await command_of(request, asking, ExecutePhase, wanted.flow_id)
    answer = await submit(request, asking, command, command_id=command_id(request))
    if answer.outcome == WAITS:
        return waits(answer)
    flow = answer.flow
    # where conditions leave out all that is left, the flow completes and nothing begins
    if answer.error is not None or flow is None:
        return problem(request, answer.error or {"code": "refused", "detail": "the phase did not begin"})
    flow = _begun(asking, flow, command.phase_name)
    if wait and flow.run is not None and flow.run.hook != Moment.COMPENSATE:
        ended = await _ended(asking, flow, flow.run, wait_ms / 1000 - (monotonic() - began))
        if ended is not None:
            return ended
    body = {
        "flow_id": flow.id,
        "phase_name": flow.current_phase,
        "run_id": flow.run.run_id if flow.run is not None else None,
        "active_phases": list(flow.lanes),
        "status": flow.status,
        "version": answer.version,
        "position": answer.position,
    }
    return Json(body, 202, {"ETag": etag(answer.version)})


def _begun(asking: Caller, flow: Flow, phase_name: str | None) -> Flow:
    """The flow, seen from the phase that was asked for or, where none was, from the first one that runs."""
    if phase_name is None or not flow.follows:
        return flow.seeing("run")
    return flow.on(asking.side.types.version(flow.flow_type, flow.flow_version).phase(phase_name).name)


async def _ended(asking: Caller, flow: Flow, run: Run, seconds: float) -> Response | None:
    """The PhaseResult once the phase has come to one, its retries included; none when it does not in time."""
    until, store = monotonic() + seconds, asking.side.store
    while (left := until - monotonic()) > 0:
        if not await asking.service.watch.history(flow.id, flow.version + 1, left):
            return None
        flow = await store.flow(flow.id)
        phase = flow.phase(run.phase_name)
        seen = flow.on(phase.name)
        # hooks that run after the phase change nothing about its result
        going_on = any(
            part is not None and part.phase_name == phase.name and part.hook is None for part in (seen.run, seen.retry)
        ) or (seen.suspended is not None)
        if not going_on:
            place = await asking.rows.place(flow.id, flow.version)
            body = {
                **phase_result(flow, phase),
                "run_id": run.run_id,
                "version": flow.version,
                "position": store.position(place),
            }
            return Json(body, 200, {"ETag": etag(flow.version)})
    return None


async def _verb(request: Request, asking: Caller, wanted: Wanted, kind: type[Command]) -> Response:
    command = await command_of(request, asking, kind, wanted.flow_id)
    answer: Answer = await submit(request, asking, command, command_id=command_id(request))
    if answer.outcome == WAITS:
        return waits(answer)
    if answer.error is not None or answer.flow is None:
        return problem(request, answer.error or {"code": "refused", "detail": "the flow did not answer"})
    body: dict[str, Any] = {
        "flow_id": answer.flow_id,
        "status": answer.flow.status,
        "version": answer.version,
        "position": answer.position,
        "draining": answer.flow.draining,
        "draining_runs": answer.flow.running if answer.flow.draining else 0,
    }
    return Json(body, headers={"ETag": etag(answer.version)})


VERB_ANSWERS = answers(200, VerbAnswer, 202, 400, 403, 404, 409, 412, 413, 422, 503, also={202: CommandParked})


@router.post("/flows/{flow_id}/pause", summary="Pause a flow", responses=VERB_ANSWERS, openapi_extra=takes(PauseFlow))
async def pause_flow(request: Request, asking: Asking, wanted: OfFlow) -> Response:
    """Stop before the next phase; work in progress drains, and the answer says so."""
    return await _verb(request, asking, wanted, PauseFlow)


@router.post(
    "/flows/{flow_id}/resume", summary="Resume a flow", responses=VERB_ANSWERS, openapi_extra=takes(ResumeFlow)
)
async def resume_flow(request: Request, asking: Asking, wanted: OfFlow) -> Response:
    """Go on where the flow was paused."""
    return await _verb(request, asking, wanted, ResumeFlow)


@router.post(
    "/flows/{flow_id}/cancel", summary="Cancel a flow", responses=VERB_ANSWERS, openapi_extra=takes(CancelFlow)
)
async def cancel_flow(request: Request, asking: Asking, wanted: OfFlow) -> Response:
    """End the flow for good, without a result."""
    return await _verb(request, asking, wanted, CancelFlow)


@router.post(
    "/flows/{flow_id}/input", summary="Answer a flow", responses=VERB_ANSWERS, openapi_extra=takes(ProvideInput)
)
async def provide_input(request: Request, asking: Asking, wanted: OfFlow) -> Response:
    """Give what the flow asked for: the body is the values themselves, with a `reason` beside them if wanted."""
    return await _verb(request, asking, wanted, ProvideInput)


@router.post(
    "/flows/{flow_id}/signals",
    summary="Tell a flow something",
    responses=VERB_ANSWERS,
    openapi_extra=takes(SignalFlow, required=True),
)
async def signal_flow(request: Request, asking: Asking, wanted: OfFlow) -> Response:
    """Word from outside, kept in order until a handler waits for its name; a `signal_id` that the flow knows changes
    nothing."""
    return await _verb(request, asking, wanted, SignalFlow)


@router.post("/flows/{flow_id}/skip", summary="Skip a phase", responses=VERB_ANSWERS, openapi_extra=takes(SkipPhase))
async def skip_phase(request: Request, asking: Asking, wanted: OfFlow) -> Response:
    """Leave the next phase out, also one that is running or has failed; `outputs` stand in for its own."""
    return await _verb(request, asking, wanted, SkipPhase)


@router.post("/flows/{flow_id}/retry", summary="Try again", responses=VERB_ANSWERS, openapi_extra=takes(RetryFlow))
async def retry_flow(request: Request, asking: Asking, wanted: OfFlow) -> Response:
    """Go on with a failed flow at its failed phase, with all attempts anew, or begin the attempt that waits at once."""
    return await _verb(request, asking, wanted, RetryFlow)


@router.post(
    "/flows/{flow_id}/rollback",
    summary="Roll a flow back",
    responses=answers(
        200, VerbAnswer | RollbackPreview, 202, 400, 404, 409, 412, 413, 422, 503, also={202: CommandParked}
    ),
    openapi_extra=takes(RollbackFlow),
)
async def rollback_flow(
    request: Request,
    asking: Asking,
    wanted: OfFlow,
    preview: Annotated[
        bool,
        Query(description="Change nothing and tell what it would undo; its `ETag` as `If-Match` binds the go to it."),
    ] = False,
) -> Response:
    """Go back to a phase or checkpoint, as a forward event."""
    if preview:
        return await previewed(request, asking, wanted)
    return await _verb(request, asking, wanted, RollbackFlow)


@router.post(
    "/flows/{flow_id}/iterate", summary="Begin a new round", responses=VERB_ANSWERS, openapi_extra=takes(StartIteration)
)
async def start_iteration(request: Request, asking: Asking, wanted: OfFlow) -> Response:
    """Begin a new round of the flow's phases, from the first or from `phase_name` on; what former rounds brought stays."""
    return await _verb(request, asking, wanted, StartIteration)


@router.post(
    "/flows/{flow_id}/migrate",
    summary="Move a flow to another version of its type",
    responses=VERB_ANSWERS,
    openapi_extra=takes(MigrateFlow),
)
async def migrate_flow(request: Request, asking: Asking, wanted: OfFlow) -> Response:
    """Go on by another version of the flow's type, or back; what stands in the way is refused with all of it in `errors`."""
    return await _verb(request, asking, wanted, MigrateFlow)
