"""What a result brings about."""

from __future__ import annotations

from msgspec.structs import replace

from domain.commands import CompletePhase, ExecutePhase, ExecutionOptions
from domain.events import CheckpointCreated, FlowCompleted, FlowDrained, InputRequested, PhaseCompleted, PhaseStarted
from domain.words import Status
from tests.examples import (
    COMPLETED,
    CREATE,
    CREATE_AUTO,
    EXECUTE,
    EXECUTE_SECOND,
    FLOW_ID,
    PAUSE,
    QUIET,
    RESUME,
    RUN_ID,
    STARTED,
)
from tests.spec import Given, after, complete, given


def test_a_result_leaves_a_checkpoint() -> None:
    flow = after(CREATE, EXECUTE)
    answer = flow.when(complete(flow.flow, rows=3)).then(PhaseCompleted, CheckpointCreated)
    assert answer.flow.status is Status.WAITING_FOR_INPUT
    assert answer.flow.checkpoints[0].phase_name == "first"
    assert answer.flow.phase("first").outputs == {"rows": 3}


def test_without_checkpoints_there_is_only_the_result() -> None:
    flow = after(CREATE, ExecutePhase(flow_id=FLOW_ID, options=ExecutionOptions(save_checkpoints=False)))
    flow.when(complete(flow.flow)).then(PhaseCompleted)


def test_the_same_state_has_the_same_hash_and_another_state_another() -> None:
    flow = after(CREATE, EXECUTE)
    hashes = [flow.when(complete(flow.flow, rows=rows)).flow.checkpoints[0].state_sha256 for rows in (3, 3, 4)]
    assert hashes[0] == hashes[1] != hashes[2]


def test_a_flow_that_goes_on_by_itself_starts_the_next_phase_in_the_same_decision() -> None:
    flow = after(CREATE_AUTO)
    flow.when(complete(flow.flow, answer=1)).then(PhaseCompleted, CheckpointCreated, PhaseStarted)


def test_a_flow_that_goes_on_by_itself_asks_for_what_is_missing() -> None:
    flow = after(CREATE_AUTO)
    answer = flow.when(complete(flow.flow)).then(PhaseCompleted, CheckpointCreated, InputRequested)
    assert answer.flow.status is Status.WAITING_FOR_INPUT


def test_the_last_phase_completes_the_flow() -> None:
    flow = after(CREATE, EXECUTE)
    second = Given(Given(flow.when(complete(flow.flow)).flow).when(EXECUTE_SECOND).flow)
    answer = second.when(complete(second.flow)).then(PhaseCompleted, CheckpointCreated, FlowCompleted)
    assert answer.flow.status is Status.COMPLETED
    assert answer.flow.current_phase == "second"


def test_a_result_during_a_pause_is_kept_and_starts_nothing() -> None:
    flow = after(CREATE_AUTO, PAUSE)
    assert flow.flow.draining
    drained = flow.when(complete(flow.flow, answer=1)).then(PhaseCompleted, CheckpointCreated, FlowDrained).flow
    assert (drained.status, drained.draining) == (Status.PAUSED, False)
    assert Given(drained).when(RESUME).flow.status is Status.PROCESSING


def test_the_last_result_during_a_pause_completes_the_flow_when_it_is_resumed() -> None:
    flow = after(CREATE, EXECUTE)
    second = Given(Given(flow.when(complete(flow.flow)).flow).when(EXECUTE_SECOND).flow)
    paused = Given(second.when(PAUSE).flow)
    drained = Given(paused.when(complete(paused.flow)).flow)
    assert drained.flow.status is Status.PAUSED
    assert drained.when(RESUME).flow.status is Status.COMPLETED


def test_a_run_that_says_nothing_of_checkpoints_leaves_one() -> None:
    running = given(QUIET, replace(STARTED, options={}))
    running.when(complete(running.flow)).then(PhaseCompleted, CheckpointCreated)


def test_a_result_is_kept_as_the_worker_told_it() -> None:
    result = CompletePhase(
        flow_id=FLOW_ID,
        run_id=RUN_ID,
        token=1,
        outputs={"rows": 3},
        execution_time_ms=12,
        validation_results={"file_exists": "passed"},
        resource_usage={"cpu_seconds": 0.1, "peak_memory_mb": 80.0},
        agent_insights=({"agent": "mapper", "insight": "three rows"},),
        handler_versions={"work": "2", "file_exists": "4acc30b8fd93"},
        reused_from=COMPLETED.reused_from,
    )
    assert given(QUIET, STARTED).when(result).facts[0] == COMPLETED
