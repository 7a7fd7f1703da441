"""Phases that run at the same time: each has a run of its own, a join waits for all of them, and the flow is what they are
together."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from domain.commands import (
    CancelFlow,
    Command,
    CreateCheckpoint,
    CreateFlow,
    CreateOptions,
    ExecutePhase,
    HandBackRun,
    MigrateFlow,
    PauseFlow,
    ProvideInput,
    ReassignRun,
    RecordSteps,
    RetryFlow,
    RollbackFlow,
    SignalFlow,
    SkipPhase,
    StartIteration,
    SuspendRun,
)
from domain.deciding.following import next_action
from domain.deciding.story import allowed
from domain.errors import (
    AlreadyAnswered,
    AnswersDiffer,
    CheckpointUnknown,
    InputInvalid,
    InputsMissing,
    NothingToAnswer,
    NothingToUndo,
    NotMigratable,
    PhaseAlreadyRunning,
    PhaseNotNamed,
    PhaseNotPausable,
    PhaseOutOfOrder,
    PhaseRunning,
    RunNotCurrent,
)
from domain.events import (
    CheckpointCreated,
    FlowCancelled,
    FlowCompleted,
    FlowCreated,
    FlowDeleted,
    FlowDrained,
    FlowEvent,
    FlowFailed,
    FlowMigrated,
    FlowPaused,
    FlowResumed,
    FlowRetried,
    FlowRolledBack,
    HookCompleted,
    HookFailed,
    HookStarted,
    InputProvided,
    InputRequested,
    IterationStarted,
    PhaseCompleted,
    PhaseFailed,
    PhaseRetryScheduled,
    PhaseSkipped,
    PhaseStarted,
    PhaseSuspended,
    RecoveryStarted,
    RunHandedBack,
    RunReassigned,
    SignalReceived,
    StepsCompleted,
)
from domain.flow import Flow, progress
from domain.view import estimated_seconds, row
from domain.words import PhaseStatus, Status
from tests.examples import CANCEL, DELETE, FLOW_ID, PAUSE, RESUME
from tests.spec import TYPES, Given, Then, after, ask, complete, fail, fire, given, meta

AUTO = CreateOptions(auto_execute=True, save_checkpoints=False)
CREATE = CreateFlow(flow_id=FLOW_ID, flow_type="forked", flow_name="x", options=AUTO)
BY_HAND = CREATE.model_copy(update={"options": CreateOptions(save_checkpoints=False)})
WITH_CHECKPOINTS = CREATE.model_copy(update={"options": CreateOptions(auto_execute=True)})
TWINS = CREATE.model_copy(update={"flow_type": "twins"})
EXECUTE = ExecutePhase(flow_id=FLOW_ID)
RETRY = RetryFlow(flow_id=FLOW_ID)
GO = {"name": "wait:signal:go:1", "until": {"kind": "signal", "name": "go"}}


def execute(name: str) -> ExecutePhase:
    return ExecutePhase(flow_id=FLOW_ID, phase_name=name)


def answer(**values: Any) -> ProvideInput:
    return ProvideInput.model_validate({"flow_id": FLOW_ID, **values})


def run_of(flow: Flow, name: str) -> dict[str, Any]:
    run = flow.on(name).run
    assert run is not None
    return {"flow_id": FLOW_ID, "run_id": run.run_id, "token": run.token}


def suspend(flow: Flow, name: str) -> SuspendRun:
    return SuspendRun(**run_of(flow, name), **GO, timeout_seconds=5)


def forked(create: CreateFlow = CREATE, rows: int = 3) -> Flow:
    """A flow of which `left` and `right` run, and with more than 5 rows `far` too."""
    flow = after(create).flow
    return when(flow, complete(flow, rows=rows)).flow


def when(flow: Flow, command: Command, **more: Any) -> Then:
    return Given(flow).when(command, **more)


def told(then: Then) -> list[tuple[type[FlowEvent], str | None]]:
    return [(type(fact), getattr(fact, "phase_name", None)) for fact in then.facts]


def statuses(flow: Flow) -> dict[str, str]:
    return {phase.name: str(phase.status) for phase in flow.phases}


def in_hand(flow: Flow) -> list[str]:
    return list(flow.lanes)


# beginning and joining


def test_all_phases_that_are_ready_begin_at_once_each_with_a_run_of_its_own() -> None:
    begun = after(CREATE).flow
    then = when(begun, complete(begun, rows=9))
    then.then(PhaseCompleted, PhaseStarted, PhaseStarted, PhaseStarted)
    assert in_hand(then.flow) == ["left", "right", "far"]
    assert len({run.run_id for run in then.flow.runs}) == 3
    assert (then.flow.current_phase, then.flow.status, then.flow.running) == ("left", Status.PROCESSING, 3)


def test_a_branch_that_is_not_taken_is_passed_over() -> None:
    flow = forked(rows=3)
    assert in_hand(flow) == ["left", "right"]
    assert flow.phase("far").not_taken


def test_a_branch_goes_on_by_itself_and_the_join_waits_for_all() -> None:
    flow = forked(rows=9)
    then = when(flow, complete(flow.on("left")))
    assert told(then) == [(PhaseCompleted, "left"), (PhaseStarted, "left_too")]
    flow = then.flow
    for name in ("right", "left_too"):
        then = when(flow, complete(flow.on(name)))
        assert told(then) == [(PhaseCompleted, name)]
        flow = then.flow
    then = when(flow, complete(flow.on("far")))
    assert told(then) == [(PhaseCompleted, "far"), (PhaseStarted, "join")]
    ended = when(then.flow, complete(then.flow))
    ended.then(PhaseCompleted, HookStarted)
    when(ended.flow, complete(ended.flow)).then(HookCompleted, FlowCompleted)


def test_types_may_begin_with_several_phases_and_each_asks_for_what_it_lacks() -> None:
    then = given().when(TWINS)
    assert told(then)[1:] == [(InputRequested, "colour"), (InputRequested, "depth")]
    assert then.flow.status is Status.WAITING_FOR_INPUT
    created = then.facts[0]
    assert isinstance(created, FlowCreated)
    assert created.follows == {"colour": (), "depth": (), "paint": ("colour", "depth")}


def test_a_phase_lacks_what_only_a_phase_beside_it_brings() -> None:
    flow = after(TWINS).flow
    flow = when(flow, answer(colour="red")).flow
    flow = when(flow, complete(flow.on("colour"), depth=7)).flow
    assert flow.waiting is not None
    when(flow, answer(depth=2)).then(InputProvided, PhaseStarted)


def test_the_status_says_what_is_in_hand_of_each() -> None:
    flow = forked(rows=9)
    flow = when(flow, ask(flow.on("left"), "answer")).flow
    flow = when(flow, fail(flow.on("right"))).flow
    shown = row(flow, TYPES)
    assert (shown["flow_status"], shown["current_phase"]) == ("processing", "left")
    assert shown["flow_metadata"]["active_phases"] == ["left", "right", "far"]
    lanes = {lane["phase_name"]: lane["state"] for lane in shown["flow_metadata"]["lanes"]}
    assert lanes == {"left": "waiting_for_input", "right": "retrying", "far": "running"}
    assert shown["flow_metadata"]["run"]["phase_name"] == "far"
    assert shown["flow_metadata"]["retry"]["phase_name"] == "right"
    assert shown["input_request"]["phase_name"] == "left"
    assert {each["name"] for each in shown["flow_metadata"]["timers"]} == {"retry:right", "deadline"}
    assert shown["next_action"]["type"] == "provide_input"


def test_a_flow_waits_for_input_once_nothing_else_goes_on() -> None:
    flow = forked()
    flow = when(flow, ask(flow.on("left"), "answer")).flow
    assert flow.status is Status.PROCESSING
    flow = when(flow, complete(flow.on("right"))).flow
    assert flow.status is Status.WAITING_FOR_INPUT


def test_a_result_under_a_stale_token_counts_for_no_branch() -> None:
    flow = forked()
    run = run_of(flow, "right")
    moved = when(flow, ReassignRun(**run)).then(RunReassigned).flow
    assert [run.token for run in moved.runs] == [1, 2]
    when(moved, complete(flow.on("right"))).then_refused(RunNotCurrent)
    when(moved, complete(moved.on("right"))).then(PhaseCompleted)


def test_steps_are_those_of_the_phase_whose_run_records_them() -> None:
    flow = forked()
    then = when(flow, RecordSteps(**run_of(flow, "right"), results={"fetch": 1})).then(StepsCompleted)
    assert (then.flow.phase("right").steps, then.flow.phase("left").steps) == ({"fetch": 1}, {})


# by the word


def test_executing_without_a_name_begins_all_that_are_ready() -> None:
    flow = after(BY_HAND, EXECUTE).flow
    flow = when(flow, complete(flow)).flow
    assert (flow.status, in_hand(flow)) == (Status.WAITING_FOR_INPUT, [])
    when(flow, EXECUTE).then(PhaseStarted, PhaseStarted)


def test_executing_a_phase_by_name_begins_it_alone_beside_what_runs() -> None:
    flow = after(BY_HAND, EXECUTE).flow
    flow = when(flow, complete(flow)).flow
    flow = when(flow, execute("right")).then(PhaseStarted).flow
    when(flow, execute("right")).then_refused(PhaseAlreadyRunning)
    when(flow, execute("join")).then_refused(PhaseOutOfOrder, allowed=["left", "right"])
    when(flow, execute("prepare")).then_refused(PhaseOutOfOrder)
    flow = when(flow, EXECUTE).then(PhaseStarted).flow
    assert in_hand(flow) == ["left", "right"]
    when(flow, EXECUTE).then_refused(PhaseAlreadyRunning)
    assert "execute" not in allowed(flow, TYPES)


def test_what_executing_passes_over_is_all_that_happens_where_the_rest_is_under_way() -> None:
    flow = after(BY_HAND, EXECUTE).flow
    paused = when(flow, PAUSE).flow
    done = when(paused, complete(paused, rows=1)).flow
    flow = when(done, RESUME).flow
    flow = when(flow, execute("left")).then(PhaseSkipped, PhaseStarted).flow
    assert in_hand(flow) == ["left"]


def test_executing_without_what_each_needs_is_refused_and_else_asks_for_what_lacks() -> None:
    by_hand = BY_HAND.model_copy(update={"flow_type": "twins"})
    flow = after(by_hand).flow
    when(flow, EXECUTE).then_refused(InputsMissing, fields=["inputs.colour", "inputs.depth"])
    then = when(flow, ExecutePhase(flow_id=FLOW_ID, inputs={"colour": "red"}))
    assert told(then) == [(PhaseStarted, "colour"), (InputRequested, "depth")]
    begun = when(then.flow, ExecutePhase(flow_id=FLOW_ID, inputs={"depth": 1}))
    assert told(begun) == [(PhaseStarted, "depth")]


def test_an_execute_that_brings_what_one_question_asks_for_leaves_the_others_open() -> None:
    flow = after(TWINS).flow
    then = when(flow, ExecutePhase(flow_id=FLOW_ID, inputs={"colour": "red"}))
    assert told(then) == [(PhaseStarted, "colour")]
    assert in_hand(then.flow) == ["colour", "depth"]


# questions


def test_an_answer_goes_to_the_question_that_has_its_fields() -> None:
    flow = after(TWINS).flow
    then = when(flow, answer(depth=2))
    assert told(then) == [(InputProvided, "depth"), (PhaseStarted, "depth")]
    when(then.flow, answer(depth=2)).then_refused(AlreadyAnswered)
    assert told(when(then.flow, answer(colour="red"))) == [(InputProvided, "colour"), (PhaseStarted, "colour")]


def test_an_answer_that_could_mean_several_questions_names_the_phase() -> None:
    flow = after(TWINS).flow
    when(flow, answer(note="soon")).then_refused(PhaseNotNamed, allowed=["colour", "depth"])
    when(flow, answer(note="soon", phase_name="paint")).then_refused(PhaseNotNamed, allowed=["colour", "depth"])
    then = when(flow, answer(note="soon", phase_name="depth"))
    assert told(then)[0] == (InputProvided, "depth")
    assert then.facts[0] == InputProvided(phase_name="depth", values={"note": "soon"}, answered_by=("maria",))


def test_where_one_alone_asks_the_answer_is_for_it() -> None:
    flow = forked()
    when(flow, answer(answer=1)).then_refused(NothingToAnswer)
    flow = when(flow, ask(flow.on("right"), "answer")).flow
    when(flow, answer(color=1)).then_refused(InputInvalid)
    assert told(when(flow, answer(answer=1))) == [(InputProvided, "right"), (PhaseStarted, "right")]


def test_a_field_called_phase_name_is_an_answer_where_a_phase_asks_for_it() -> None:
    flow = forked()
    flow = when(flow, ask(flow.on("right"), "phase_name")).flow
    then = when(flow, answer(phase_name="left"))
    assert then.facts[0] == InputProvided(phase_name="right", values={"phase_name": "left"}, answered_by=("maria",))


def test_two_people_answer_one_question_of_several() -> None:
    flow = forked()
    question = {"assignees": {"users": ["maria", "boris"], "need": 2}}
    asking = ask(flow.on("left"), "answer").model_copy(update={"question": question})
    flow = when(flow, asking).flow
    flow = when(flow, ask(flow.on("right"), "other")).flow
    flow = when(flow, answer(answer=1)).flow
    when(flow, answer(answer=2), asked=meta("boris")).then_refused(AnswersDiffer)
    then = when(flow, answer(answer=1), asked=meta("boris"))
    assert told(then) == [(InputProvided, "left"), (PhaseStarted, "left")]


def test_the_time_for_one_answer_is_up_while_another_phase_still_asks() -> None:
    flow = after(TWINS).flow
    then = when(flow, fire(flow, "input:depth"), asked=meta(seconds=60))
    assert told(then) == [(InputProvided, "depth"), (PhaseStarted, "depth")]
    assert in_hand(then.flow) == ["colour", "depth"]


# waiting for something outside, and trying again


def test_one_branch_waits_for_a_signal_while_the_other_runs() -> None:
    flow = forked()
    flow = when(flow, suspend(flow, "left")).then(PhaseSuspended).flow
    assert (flow.status, flow.current_phase) == (Status.PROCESSING, "left")
    assert "signals" in allowed(flow, TYPES)
    then = when(flow, SignalFlow(flow_id=FLOW_ID, name="go"))
    assert told(then) == [(SignalReceived, None), (StepsCompleted, "left"), (PhaseStarted, "left")]
    assert in_hand(then.flow) == ["left", "right"]


def test_a_signal_is_taken_up_by_one_of_those_who_wait_for_it() -> None:
    flow = forked()
    for name in ("left", "right"):
        flow = when(flow, suspend(flow, name)).flow
    flow = when(flow, SignalFlow(flow_id=FLOW_ID, name="go")).flow
    assert [run.phase_name for run in flow.runs] == ["left"]
    then = when(flow, fire(flow, "wait:right"))
    assert told(then) == [(StepsCompleted, "right"), (PhaseStarted, "right")]


def test_each_branch_has_its_own_attempts() -> None:
    flow = forked()
    then = when(flow, fail(flow.on("right"))).then(PhaseFailed, PhaseRetryScheduled)
    scheduled = then.facts[1]
    assert isinstance(scheduled, PhaseRetryScheduled)
    assert scheduled.timer == "retry:right"
    flow = when(then.flow, fail(then.flow.on("left"))).flow
    then = when(flow, fire(flow, "retry:right"))
    assert told(then) == [(PhaseStarted, "right")]
    assert [(run.phase_name, run.attempt) for run in then.flow.runs] == [("right", 2)]
    assert "retry:left" in then.flow.timers


def test_retry_begins_every_attempt_that_waits() -> None:
    flow = forked()
    for name in ("left", "right"):
        flow = when(flow, fail(flow.on(name))).flow
    then = when(flow, RETRY)
    assert told(then) == [
        *((FlowRetried, "left"), (PhaseStarted, "left")),
        *((FlowRetried, "right"), (PhaseStarted, "right")),
    ]


def test_a_recovery_of_one_branch_leaves_the_others_alone() -> None:
    flow = forked()
    for _ in range(2):
        flow = when(flow, fail(flow.on("right"), kind="rate_limited")).flow
        if "retry:right" in flow.timers and flow.recovery is None:
            flow = when(flow, fire(flow, "retry:right")).flow
    assert flow.recovery is not None
    assert (flow.recovery.phase_name, in_hand(flow)) == ("right", ["left", "right"])
    assert told(when(flow, fire(flow, "retry:right"))) == [(PhaseStarted, "right")]


def test_a_restart_from_an_earlier_phase_gives_up_what_came_after_it() -> None:
    flow = forked()
    for _ in range(2):
        then = when(flow, fail(flow.on("right"), kind="crew"))
        flow = then.flow
        flow = when(flow, fire(flow, "retry:right")).flow if "retry:right" in flow.timers else flow
    # not from `left`, which `right` does not come after
    then.then(PhaseFailed, RecoveryStarted)
    assert (in_hand(flow), [name for name in flow.timers if name != "deadline"]) == (["prepare"], ["retry:prepare"])
    assert {phase.status for phase in flow.phases} == {PhaseStatus.PENDING}
    assert told(when(flow, fire(flow, "retry:prepare"))) == [(PhaseStarted, "prepare")]


def joined(create: CreateFlow) -> Flow:
    flow = forked(create)
    for name in ("left", "left_too", "right"):
        flow = when(flow, complete(flow.on(name))).flow
    return flow


@pytest.mark.parametrize(("create", "start"), [(WITH_CHECKPOINTS, "join"), (CREATE, "prepare")])
def test_a_restart_from_the_last_checkpoint_looks_at_what_the_phase_comes_after(create: CreateFlow, start: str) -> None:
    flow = joined(create)
    for _ in range(2):
        flow = when(flow, fail(flow, kind="database")).flow
        flow = when(flow, fire(flow, "retry:join")).flow if "retry:join" in flow.timers else flow
    assert in_hand(flow) == [start]


# failing


def test_a_branch_that_fails_gives_the_others_up_and_executing_goes_on_with_all() -> None:
    flow = forked(rows=9)
    flow = when(flow, fail(flow.on("left"), kind="network")).flow
    then = when(flow, fail(flow.on("right"), retryable=False, kind="permanent"))
    assert told(then) == [(PhaseFailed, "right"), (FlowFailed, "right"), (HookStarted, "right")]
    failed = then.flow
    assert (failed.status, failed.current_phase) == (Status.FAILED, "right")
    left = {name: status for name, status in statuses(failed).items() if name != "prepare"}
    assert left == dict.fromkeys(left, "pending") | {"right": "failed"}
    assert next_action(failed, TYPES)["phase"] == "right"
    again = when(failed, RETRY)
    assert told(again) == [
        *((FlowRetried, "right"), (HookFailed, "right")),
        *((PhaseStarted, "left"), (PhaseStarted, "right"), (PhaseStarted, "far")),
    ]


def test_a_checkpoint_of_a_failed_flow_leaves_it_at_the_phase_that_failed() -> None:
    flow = forked()
    failed = when(flow, fail(flow.on("right"), retryable=False, kind="permanent")).flow
    kept = when(failed, CreateCheckpoint(flow_id=FLOW_ID)).then(CheckpointCreated).flow
    assert kept.current_phase == "right"


def test_a_failure_that_does_not_matter_ends_its_branch_alone() -> None:
    flow = forked()
    then = when(flow, fail(flow.on("left"), retryable=False, kind="permanent"))
    assert told(then) == [(PhaseFailed, "left"), (PhaseSkipped, "left"), (PhaseStarted, "left_too")]
    assert in_hand(then.flow) == ["left_too", "right"]


def test_a_failure_that_pauses_drains_the_others() -> None:
    flow = forked()
    then = when(flow, fail(flow.on("right"), retryable=False, kind="permission"))
    then.then(PhaseFailed, PhaseRetryScheduled, FlowPaused(reason="the wire is cut", draining=True))
    assert (then.flow.draining, then.flow.running) == (True, 1)
    drained = when(then.flow, complete(then.flow.on("left"))).then(PhaseCompleted, FlowDrained).flow
    again = when(drained, RESUME)
    assert told(again)[1:] == [(PhaseStarted, "right"), (PhaseStarted, "left_too")]


def test_the_time_of_the_flow_ends_it_with_all_that_is_in_hand() -> None:
    flow = forked()
    flow = when(flow, ask(flow.on("left"), "answer")).flow
    then = when(flow, fire(flow, "deadline"))
    assert told(then) == [(PhaseFailed, "right"), (FlowFailed, "right"), (HookStarted, "right")]
    assert statuses(then.flow)["left"] == "pending"


# pausing


def test_a_pause_drains_all_runs_and_says_when_the_last_has_ended() -> None:
    flow = forked()
    flow = when(flow, PAUSE).then(FlowPaused(reason="lunch", draining=True)).flow
    assert (flow.draining, flow.running, row(flow, TYPES)["flow_metadata"]["draining_runs"]) == (True, 2, 2)
    assert "2 runs" in next_action(flow, TYPES)["message"]
    flow = when(flow, complete(flow.on("left"))).then(PhaseCompleted).flow
    then = when(flow, HandBackRun(**run_of(flow, "right"), execution_time_ms=4))
    then.then(RunHandedBack, FlowDrained)
    assert in_hand(then.flow) == []
    again = when(then.flow, RESUME)
    assert told(again) == [(FlowResumed, None), (PhaseStarted, "left_too"), (PhaseStarted, "right")]
    assert again.flow.phase("right").attempt == 1


def test_by_the_word_only_what_was_in_hand_goes_on_after_a_pause() -> None:
    flow = after(BY_HAND, EXECUTE).flow
    flow = when(flow, complete(flow)).flow
    flow = when(flow, execute("right")).flow
    paused = when(flow, PAUSE).flow
    paused = when(paused, HandBackRun(**run_of(paused, "right"))).flow
    assert told(when(paused, RESUME)) == [(FlowResumed, None), (PhaseStarted, "right")]


def test_an_answer_in_a_pause_is_taken_up_when_it_ends() -> None:
    flow = after(TWINS, PAUSE).flow
    flow = when(flow, answer(depth=2)).then(InputProvided).flow
    assert in_hand(flow) == ["colour"]
    then = when(flow, RESUME)
    assert told(then) == [(FlowResumed, None), (PhaseStarted, "depth")]


def test_the_timers_of_every_branch_stand_still_in_a_pause() -> None:
    flow = forked()
    flow = when(flow, suspend(flow, "left")).flow
    flow = when(flow, fail(flow.on("right"))).flow
    paused = when(flow, PAUSE).flow
    assert (paused.timers, set(paused.alarms)) == ({}, {"wait:left", "retry:right", "deadline"})
    again = when(paused, RESUME, asked=meta(seconds=100)).then(FlowResumed).flow
    assert again.timers["wait:left"].left(meta(seconds=100).at) == 5.0
    assert again.timers["retry:right"].left(meta(seconds=100).at) > 0


def test_what_came_due_in_a_pause_whose_timers_run_is_taken_up_after_it() -> None:
    flow = forked()
    flow = when(flow, suspend(flow, "left")).flow
    flow = when(flow, fail(flow.on("right"))).flow
    paused = when(flow, PauseFlow(flow_id=FLOW_ID, timers="running")).flow
    then = when(paused, RESUME, asked=meta(seconds=100))
    assert told(then)[1:] == [(StepsCompleted, "left"), (PhaseStarted, "left"), (PhaseStarted, "right")]


def test_a_flow_pauses_only_where_all_its_runs_can() -> None:
    flow = forked(rows=9)
    when(flow, PAUSE).then_refused(PhaseNotPausable)
    assert "pause" not in allowed(flow, TYPES)


# skipping, ending, going back


def test_skipping_names_the_phase_where_several_are_next() -> None:
    flow = forked()
    when(flow, SkipPhase(flow_id=FLOW_ID)).then_refused(PhaseNotNamed, allowed=["left", "right"])
    then = when(flow, SkipPhase(flow_id=FLOW_ID, phase_name="left"))
    assert told(then) == [(PhaseSkipped, "left"), (PhaseStarted, "left_too")]
    flow = when(then.flow, complete(then.flow.on("right"))).flow
    assert told(when(flow, SkipPhase(flow_id=FLOW_ID))) == [(PhaseSkipped, "left_too"), (PhaseStarted, "join")]


@pytest.mark.parametrize(("command", "status"), [(CANCEL, "cancelled"), (DELETE, "deleted")])
def test_ending_a_flow_ends_all_its_runs(command: Command, status: str) -> None:
    flow = forked()
    then = when(flow, command)
    assert type(then.facts[0]) in {FlowCancelled, FlowDeleted}
    assert (then.flow.status, in_hand(then.flow), then.flow.runs) == (Status(status), [], ())
    assert {statuses(then.flow)[name] for name in ("left", "right")} == {"failed"}


def test_cancelling_undoes_what_the_branches_did() -> None:
    flow = forked()
    flow = when(flow, complete(flow.on("right"))).flow
    then = when(flow, CancelFlow(flow_id=FLOW_ID, compensate=True))
    assert then.flow.cleanup is not None
    assert then.flow.undoing is not None
    assert then.flow.undoing.phase_name == "right"


def test_going_back_needs_all_runs_to_have_stopped_and_clears_every_branch() -> None:
    flow = forked(WITH_CHECKPOINTS)
    back = RollbackFlow(flow_id=FLOW_ID, phase_name="left")
    error = when(flow, back).then_refused(PhaseAlreadyRunning)
    assert "left, right" in error.detail
    flow = when(flow, complete(flow.on("right"))).flow
    flow = when(flow, ask(flow.on("left"), "answer")).flow
    then = when(flow, back)
    then.then(FlowRolledBack, PhaseStarted)
    rolled = then.facts[0]
    assert isinstance(rolled, FlowRolledBack)
    assert (rolled.phase_name, rolled.undone) == ("left", ("left",))


def test_going_back_to_before_a_fork_undoes_both_branches() -> None:
    flow = joined(WITH_CHECKPOINTS)
    flow = when(flow, fail(flow, retryable=False, kind="permanent")).flow
    when(flow, RollbackFlow(flow_id=FLOW_ID, phase_name="left_too")).then(HookFailed, FlowRolledBack, HookStarted)
    then = when(flow, RollbackFlow(flow_id=FLOW_ID, phase_name="right"))
    rolled = then.facts[1]
    assert isinstance(rolled, FlowRolledBack)
    assert rolled.undone == ("join", "right")
    # undoing first, then the branch that is to be done again
    undone = when(then.flow, complete(then.flow))
    assert told(undone)[-1] == (PhaseStarted, "right")
    whole = when(flow, RollbackFlow(flow_id=FLOW_ID, phase_name="prepare")).facts[1]
    assert isinstance(whole, FlowRolledBack)
    assert whole.undone == ("join", "far", "right", "left_too", "left", "prepare")


@pytest.mark.parametrize(("first", "last"), [("left", "right"), ("right", "left")])
def test_of_two_branches_the_one_that_ended_last_is_undone_first(first: str, last: str) -> None:
    flow = forked(WITH_CHECKPOINTS)
    for seconds, name in enumerate((first, last), 1):
        flow = when(flow, complete(flow.on(name)), asked=meta(seconds=seconds)).flow
    flow = when(flow, fail(flow, retryable=False, kind="permanent")).flow
    whole = next(
        fact
        for fact in when(flow, RollbackFlow(flow_id=FLOW_ID, phase_name="prepare")).facts
        if type(fact) is FlowRolledBack
    )
    assert [name for name in whole.undone if name in {"left", "right"}] == [last, first]
    assert whole.undone.index("left_too") < whole.undone.index("left")


def test_what_has_not_been_reached_or_has_no_checkpoint_is_nowhere_to_go_back_to() -> None:
    flow = forked()
    flow = when(flow, PAUSE).flow
    for name in ("left", "right"):
        flow = when(flow, complete(flow.on(name))).flow
    when(flow, RollbackFlow(flow_id=FLOW_ID, phase_name="join")).then_refused(NothingToUndo)
    when(flow, RollbackFlow(flow_id=FLOW_ID, phase_name="left")).then_refused(CheckpointUnknown, allowed=["prepare"])


def test_another_round_begins_where_the_branches_allow_it_and_leaves_the_others_done() -> None:
    flow = forked(rows=9)
    for name in ("left", "right"):
        flow = when(flow, ask(flow.on(name), "answer")).flow
    flow = when(flow, complete(flow.on("far"))).flow
    late = StartIteration(flow_id=FLOW_ID, phase_name="left_too")
    when(flow, late).then_refused(PhaseOutOfOrder, allowed=["prepare", "left", "right", "far"])
    then = when(flow, StartIteration(flow_id=FLOW_ID, phase_name="left"))
    assert told(then) == [(IterationStarted, None), (PhaseStarted, "left")]
    assert (in_hand(then.flow), statuses(then.flow)["far"]) == (["left", "right"], "completed")


def test_another_round_waits_for_what_runs_in_any_branch() -> None:
    flow = forked()
    flow = when(flow, ask(flow.on("left"), "answer")).flow
    when(flow, StartIteration(flow_id=FLOW_ID, phase_name="left")).then_refused(PhaseAlreadyRunning)


def test_progress_counts_what_is_done_in_any_branch() -> None:
    flow = forked(rows=9)
    before = progress(flow)
    assert progress(when(flow, complete(flow.on("far"))).flow) > before


def test_the_time_that_is_left_is_that_of_the_longest_way() -> None:
    flow = forked()
    # left, left_too and join, of 5 s each
    assert estimated_seconds(flow, TYPES) == 15.0
    flow = when(flow, complete(flow.on("left"))).flow
    assert estimated_seconds(flow, TYPES) == 10.0


def test_seeing_a_flow_from_its_phases_changes_nothing_about_it() -> None:
    flow = forked(rows=9)
    seen = flow.on("right").on("far").on(None).on("left")
    assert replace(seen, beside=dict(sorted(seen.beside.items()))) == replace(
        flow, beside=dict(sorted(flow.beside.items()))
    )


def test_a_flow_whose_phases_come_one_after_the_other_knows_no_forks() -> None:
    flow = after(CreateFlow(flow_id=FLOW_ID, flow_type="two_steps", flow_name="x", options=AUTO)).flow
    assert (flow.on("second") is flow, flow.each, in_hand(flow), flow.follows) == (True, (flow,), ["first"], {})
    assert (flow.up_to("second"), flow.from_on("second")) == ({"first", "second"}, {"second"})
    assert row(flow, TYPES)["flow_metadata"]["lanes"] == []


# moving to another version of the type


def move(version: str, **more: Any) -> MigrateFlow:
    return MigrateFlow.model_validate({"flow_id": FLOW_ID, "to_version": version, **more})


def test_every_branch_goes_on_under_another_version_and_new_ones_begin() -> None:
    flow = forked()
    flow = when(flow, ask(flow.on("left"), "answer")).flow
    when(flow, move("2.0.0")).then_refused(PhaseRunning)
    then = when(flow, move("2.0.0", restart_run=True))
    assert told(then) == [(FlowMigrated, None), (PhaseStarted, "right"), (PhaseStarted, "near")]
    assert then.flow.follows["left_too"] == ("west",)
    assert {name: lane.waiting is not None for name, lane in then.flow.lanes.items()} == {
        "west": True,
        "near": False,
        "right": False,
    }
    assert told(when(then.flow, answer(answer=1))) == [(InputProvided, "west"), (PhaseStarted, "west")]


def test_a_flow_with_several_branches_in_hand_cannot_go_on_one_phase_after_the_other() -> None:
    flow = forked()
    flow = when(flow, suspend(flow, "left")).flow
    error = when(flow, move("3.0.0", restart_run=True)).then_refused(NotMigratable)
    assert "would come before" in error.detail


def test_the_last_branch_goes_on_one_phase_after_the_other_and_back() -> None:
    flow = forked(rows=9)
    for name in ("left", "left_too", "right"):
        flow = when(flow, complete(flow.on(name))).flow
    flow = when(flow, fail(flow.on("far"))).flow
    moved = when(flow, move("3.0.0")).then(FlowMigrated).flow
    assert (moved.follows, moved.focus, set(moved.timers)) == ({}, None, {"retry", "deadline"})
    back = when(moved, MigrateFlow(flow_id=FLOW_ID, back=True)).then(FlowMigrated).flow
    assert (in_hand(back), set(back.timers)) == (["far"], {"retry:far", "deadline"})
    assert told(when(back, fire(back, "retry:far"))) == [(PhaseStarted, "far")]


def test_a_failed_flow_is_moved_with_the_phase_at_which_it_failed() -> None:
    flow = forked()
    flow = when(flow, fail(flow.on("left"), retryable=False, kind="business_logic")).flow
    assert (flow.status, flow.current_phase) == (Status.FAILED, "left")
    flow = when(flow, HandBackRun(**run_of(flow, "left"))).flow
    flow = when(flow, fail(flow, retryable=False, kind="permanent")).then(HookFailed).flow
    moved = when(flow, move("2.0.0")).then(FlowMigrated).flow
    assert moved.current_phase == "west"
    assert told(when(moved, RETRY))[0] == (FlowRetried, "west")
