"""Going back: to a checkpoint or a phase, as a forward event; what is undone, what is compensated, what is refused."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from msgspec.structs import replace

from domain.commands import (
    CancelFlow,
    Command,
    CreateCheckpoint,
    CreateOptions,
    ExecutePhase,
    FireTimer,
    MigrateFlow,
    RollbackFlow,
    SkipPhase,
    StartIteration,
)
from domain.deciding.back import compensate_once_stopped
from domain.deciding.following import next_action
from domain.deciding.story import Story, allowed, state_sha256
from domain.errors import (
    CheckpointBroken,
    CheckpointUnknown,
    FlowIsOver,
    NothingToUndo,
    PhaseAlreadyRunning,
    PhaseIrreversible,
    PhaseOutOfOrder,
    PhaseUnknown,
    RegistrationError,
    RollbackNotSupported,
    RollbackTargetInvalid,
    VersionMoved,
)
from domain.events import (
    CheckpointCreated,
    Compensation,
    FlowCancelled,
    FlowCreated,
    FlowDrained,
    FlowFailed,
    FlowResumed,
    FlowRolledBack,
    HookCompleted,
    HookFailed,
    HookStarted,
    PhaseRetryScheduled,
    PhaseStarted,
    PlannedPhase,
)
from domain.flow import STOPPING_TIMER, Flow, progress
from domain.flow_types import FlowTypes
from domain.preview import preview, references
from domain.view import row
from domain.words import PhaseStatus, Status
from tests.examples import BACK, CANCEL, CREATE, DELETE, EXECUTE, FLOW_ID, PAUSE, RESUME, ROLLED_BACK
from tests.spec import TYPES, Given, Then, after, complete, fail, fire, flow_of, meta, raises

QUIET = CREATE.model_copy(update={"flow_type": "back"})
AUTO = QUIET.model_copy(update={"options": CreateOptions(auto_execute=True, flow_timeout_seconds=60)})
CREATED_BACK = FlowCreated(
    flow_type="back",
    flow_version="1.0.0",
    flow_name="Back",
    phases=tuple(PlannedPhase(phase.name, phase.weight) for phase in BACK.phases),
)
UNKNOWN = UUID("99999999-9999-4999-8999-999999999999")


def to(phase_name: str, **more: Any) -> RollbackFlow:
    return RollbackFlow(flow_id=FLOW_ID, phase_name=phase_name, reason="it was wrong", **more)


def then(answer: Then) -> Given:
    return Given(answer.flow)


def doing(phases: int, start: Any = AUTO) -> Given:
    """A flow of which so many phases are done, by itself; the next one runs."""
    flow = after(start)
    for n in range(phases):
        flow = then(flow.when(complete(flow.flow, **{f"from_{flow.flow.current_phase}": n})))
    return flow


def paused(phases: int) -> Given:
    """The same, paused and drained: the phase that ran is done as well."""
    flow = then(doing(phases - 1).when(PAUSE))
    return then(flow.when(complete(flow.flow, **{f"from_{flow.flow.current_phase}": phases})))


def by_word(phases: int, **inputs: Any) -> Given:
    """A flow that goes on by the word; so many phases are done, each was given the inputs."""
    flow = after(QUIET)
    for n in range(phases):
        flow = then(flow.when(ExecutePhase(flow_id=FLOW_ID, inputs=inputs | {"step": n})))
        flow = then(flow.when(complete(flow.flow, rows=n)))
    return flow


def failed(phases: int) -> Given:
    """A flow that failed in the phase after so many."""
    flow = doing(phases)
    return then(flow.when(fail(flow.flow, retryable=False, kind="permanent")))


def outcome(flow: Flow) -> dict[str, str]:
    return {phase.name: str(phase.status) for phase in flow.phases}


# going back


def test_the_phases_since_are_pending_again_and_their_outputs_gone() -> None:
    before = by_word(3, card="gold")
    flow = before.when(to("note", compensate=False)).then(FlowRolledBack).flow
    assert outcome(flow) == {"book": "completed", "note": "pending", "pay": "pending", "ship": "pending"}
    assert [flow.phase(name).outputs for name in ("book", "note", "pay")] == [{"rows": 0}, {}, {}]
    assert flow.phase("pay").attempt == 0
    assert flow.phase("pay").anew == 1
    # as they were at the checkpoint after the first phase
    assert flow.inputs == {"card": "gold", "step": 0}
    assert (flow.status, flow.current_phase, flow.version) == ("waiting_for_input", "note", before.flow.version + 1)
    assert state_sha256(flow) == before.flow.checkpoints[0].state_sha256
    assert [point.phase_name for point in flow.checkpoints] == ["book"]
    assert progress(flow) == 25.0


def test_the_fact_says_where_to_what_and_why() -> None:
    before = by_word(3)
    point = before.flow.checkpoints[0]
    before.when(to("note")).then(
        FlowRolledBack(
            phase_name="note",
            to_version=point.version,
            checkpoint_id=point.checkpoint_id,
            undone=("pay", "note"),
            compensations=(Compensation("pay", ("refund", "apologise")),),
            reason="it was wrong",
        ),
        HookStarted,
    )
    by_id = RollbackFlow(flow_id=FLOW_ID, checkpoint_id=point.checkpoint_id, reason="it was wrong")
    assert before.when(by_id).facts[0] == before.when(to("note")).facts[0]


def test_back_to_the_first_phase_is_back_to_the_beginning() -> None:
    before = by_word(2, card="gold")
    flow = before.when(to("book", compensate=False)).flow
    assert (flow.status, flow.inputs, flow.checkpoints) == ("initialized", {}, ())
    assert flow.rollback is not None
    assert (flow.rollback.to_version, flow.rollback.checkpoint_id) == (1, None)
    assert progress(flow) == 0.0
    assert next_action(flow, TYPES)["type"] == "execute_phase"


def test_a_flow_that_goes_on_by_itself_does_so_after_a_rollback() -> None:
    flow = failed(2).when(to("note")).then(FlowRolledBack, HookStarted).flow
    # the third phase had been begun, and may have done something
    assert flow.rollback is not None
    assert [(one.phase_name, one.completed) for one in flow.rollback.left] == [("pay", False)]
    assert flow.error is None
    going = Given(flow).when(complete(flow)).then(HookCompleted, PhaseStarted).flow
    assert going.run is not None
    assert (going.run.phase_name, going.run.attempt, going.status) == ("note", 1, "processing")
    assert going.deadline is not None


def test_without_compensations_it_goes_on_at_once() -> None:
    flow = failed(2).when(to("note", compensate=False)).then(FlowRolledBack, PhaseStarted).flow
    assert flow.deadline is not None
    assert flow.undoing is None


def discovered() -> Given:
    """A discovery from its beginning to its end."""
    given = {"flow_type": "discovery", "initial_data": {"import_file_id": "f"}}
    flow = after(AUTO.model_copy(update=given))
    while flow.flow.status is not Status.COMPLETED:
        flow = then(flow.when(complete(flow.flow, found=flow.flow.current_phase)))
    return flow


def test_a_completed_flow_can_go_back() -> None:
    done = discovered()
    assert allowed(done.flow, TYPES) == ["iterate", "rollback", "delete"]
    assert row(done.flow, TYPES)["phases"][0]["can_rollback"] is True
    flow = done.when(to("data_cleaning")).then(FlowRolledBack, PhaseStarted).flow
    assert (flow.status, flow.completed_at, flow.wrapped_up) == ("processing", None, False)
    assert flow.current_phase == "data_cleansing"
    assert flow.rollback is not None
    assert flow.rollback.undone[0] == "tech_debt_assessment"
    # what the start hooks found is known, as the phase that they ran in is done
    assert flow.deadline is not None
    again = discovered().when(to("data_import")).flow
    assert again.start_steps == {}


def test_a_paused_flow_stays_paused_and_undoes_when_it_is_resumed() -> None:
    flow = paused(3).when(to("note")).then(FlowRolledBack).flow
    assert (flow.status, flow.draining) == ("paused", False)
    assert "pay is still to be undone" in next_action(flow, TYPES)["message"]
    going = Given(flow).when(RESUME).then(FlowResumed, HookStarted).flow
    Given(going).when(complete(going)).then(HookCompleted, PhaseStarted)


def test_a_retry_or_a_question_that_waits_is_given_up() -> None:
    flow = doing(1)
    flow = then(flow.when(fail(flow.flow)))
    assert flow.flow.retry is not None
    back = flow.when(to("note")).then(FlowRolledBack, PhaseStarted).flow
    assert back.retry is None
    assert back.run is not None
    assert (back.run.attempt, back.phase("note").anew) == (1, 1)


def test_error_hooks_under_way_are_left() -> None:
    flow = after(AUTO.model_copy(update={"flow_type": "discovery", "initial_data": {"import_file_id": "f"}}))
    flow = then(flow.when(fail(flow.flow, retryable=False, kind="permanent")))
    assert flow.flow.run is not None
    flow.when(to("data_import")).then(HookFailed, FlowRolledBack, PhaseStarted)


# refusals


def test_where_to_must_be_said_once() -> None:
    flow = by_word(2)
    wanted = ["phase_name", "checkpoint_id"]
    names = ["book", "note"]
    flow.when(RollbackFlow(flow_id=FLOW_ID)).then_refused(RollbackTargetInvalid, fields=wanted, allowed=names)
    both = RollbackFlow(flow_id=FLOW_ID, phase_name="note", checkpoint_id=UNKNOWN)
    flow.when(both).then_refused(RollbackTargetInvalid, fields=wanted)
    flow.when(to("nothing")).then_refused(PhaseUnknown)


def test_an_unknown_checkpoint_is_refused_with_those_there_are() -> None:
    unknown = RollbackFlow(flow_id=FLOW_ID, checkpoint_id=UNKNOWN)
    flow = by_word(2)
    ids = [str(point.checkpoint_id) for point in reversed(flow.flow.checkpoints)]
    refused = flow.when(unknown).then_refused(CheckpointUnknown, allowed=ids)
    assert f"{ids[0]} (after note)" in refused.detail
    assert "it has none" in after(QUIET).when(unknown).then_refused(CheckpointUnknown, allowed=[]).detail


def test_a_phase_without_a_checkpoint_before_it_is_no_target() -> None:
    flow = after(QUIET)
    for checkpoints in (True, False):
        options = {"save_checkpoints": checkpoints}
        flow = then(flow.when(ExecutePhase.model_validate({"flow_id": FLOW_ID, "options": options})))
        flow = then(flow.when(complete(flow.flow)))
    flow = then(flow.when(EXECUTE))
    flow = then(flow.when(complete(flow.flow)))
    refused = flow.when(to("pay")).then_refused(CheckpointUnknown, allowed=["book", "note"])
    assert "right before phase pay; the flow can go back to book, note" in refused.detail


def test_what_has_not_been_reached_cannot_be_gone_back_to() -> None:
    flow = by_word(1)
    assert "next is note" in flow.when(to("pay")).then_refused(NothingToUndo).detail
    flow.when(to("note")).then_refused(NothingToUndo, allowed=allowed(flow.flow, TYPES))


def test_a_running_phase_is_waited_for() -> None:
    refused = doing(1).when(to("book")).then_refused(PhaseAlreadyRunning)
    assert "pause the flow" in refused.detail
    draining = then(doing(1).when(PAUSE))
    draining.when(to("book")).then_refused(PhaseAlreadyRunning)
    assert "rollback" not in allowed(draining.flow, TYPES)


def test_past_an_irreversible_phase_there_is_no_way_back() -> None:
    flow = doing(4)
    assert flow.flow.status is Status.COMPLETED
    assert allowed(flow.flow, TYPES) == ["iterate", "delete"]
    refused = flow.when(to("pay")).then_refused(PhaseIrreversible)
    assert "phase ship cannot be undone" in refused.detail
    assert row(flow.flow, TYPES)["phases"][3]["can_rollback"] is False
    begun = then(failed(3).when(EXECUTE))
    then(begun.when(fail(begun.flow, retryable=False, kind="permanent"))).when(to("pay")).then_refused(
        PhaseIrreversible
    )


def test_types_that_do_not_support_it_say_so() -> None:
    flow = after(CREATE)
    flow.when(to("first")).then_refused(RollbackNotSupported)
    flow.when(CreateCheckpoint(flow_id=FLOW_ID)).then_refused(RollbackNotSupported)


@pytest.mark.parametrize("ending", [CANCEL, DELETE])
def test_a_flow_that_is_over_for_good_does_not_go_back(ending: Any) -> None:
    flow = then(by_word(2).when(ending))
    flow.when(to("book")).then_refused(FlowIsOver)
    flow.when(CreateCheckpoint(flow_id=FLOW_ID)).then_refused(FlowIsOver)


def test_a_state_that_does_not_have_its_hash_is_not_restored() -> None:
    flow = by_word(2).flow
    point = replace(flow.checkpoints[0], state_sha256="00" * 32)
    Given(replace(flow, checkpoints=(point,))).when(to("note")).then_refused(CheckpointBroken)


def test_checkpoints_of_a_former_round_are_over() -> None:
    flow = replace(by_word(2).flow, iteration_number=2)
    Given(flow).when(to("book")).then_refused(CheckpointUnknown, allowed=[])
    assert "rollback" not in allowed(flow, TYPES)


def test_a_checkpoint_with_a_phase_that_is_no_longer_done_is_over() -> None:
    flow = by_word(2).flow
    fresh = replace(flow.phases[1], status=PhaseStatus.PENDING, attempt=0, outputs={})
    again = Given(replace(flow, phases=(flow.phases[0], fresh, *flow.phases[2:])))
    newest = RollbackFlow(flow_id=FLOW_ID, checkpoint_id=flow.checkpoints[1].checkpoint_id)
    again.when(newest).then_refused(CheckpointUnknown, allowed=[str(flow.checkpoints[0].checkpoint_id)])


def test_a_version_that_has_passed_is_refused() -> None:
    flow = by_word(2)
    flow.when(to("note"), expected_version=flow.flow.version - 1).then_refused(VersionMoved)


# compensations


def test_phases_are_undone_one_after_the_other_the_newest_first() -> None:
    started = by_word(3).when(to("book")).then(FlowRolledBack, HookStarted)
    flow = started.flow
    fact = started.facts[1]
    assert isinstance(fact, HookStarted)
    assert (fact.moment, fact.phase_name) == ("compensate", "pay")
    assert flow.rollback is not None
    pay = flow.rollback.left[0]
    assert (pay.handlers, pay.outputs, pay.completed) == (("refund", "apologise"), {"rows": 2}, True)
    assert next_action(flow, TYPES)["message"] == "Undoing Pay, Book"
    assert flow.status is Status.PROCESSING
    second = Given(flow).when(complete(flow, refunded=3)).then(HookCompleted, HookStarted).flow
    assert second.run is not None
    assert second.run.phase_name == "book"
    done = Given(second).when(complete(second)).then(HookCompleted).flow
    assert (done.status, done.undoing, done.run) == ("initialized", None, None)
    assert done.phase("pay").outputs == {}
    assert row(done, TYPES)["flow_metadata"]["rollback"]["left"] == []


def test_a_compensation_is_tried_again_and_then_fails_the_flow_with_what_is_left() -> None:
    flow = then(by_word(3).when(to("book")))
    waits = flow.when(fail(flow.flow)).then(HookFailed, PhaseRetryScheduled).flow
    assert next_action(waits, TYPES)["until"] is not None
    again = Given(waits).when(fire(waits, "retry")).then(HookStarted).flow
    assert again.run is not None
    assert (again.run.phase_name, again.run.attempt) == ("pay", 2)
    given_up = Given(again).when(fail(again)).then(HookFailed, FlowFailed)
    ended = given_up.flow
    assert ended.error is not None
    assert (ended.status, ended.error["left"], ended.error["code"]) == ("failed", ["pay", "book"], "io_failed")
    assert outcome(ended) == dict.fromkeys(("book", "note", "pay", "ship"), "pending")
    action = next_action(ended, TYPES)
    assert (action["type"], action["phase"]) == ("retry", "pay")
    assert action["message"] == (
        "phase pay could not be undone: the wire is cut; left to undo: Pay, Book; execute the flow to go on with Pay"
    )


def stuck() -> Given:
    """A flow whose first compensation failed for good."""
    flow = then(by_word(3, card="gold").when(to("book")))
    return then(flow.when(fail(flow.flow, retryable=False, kind="permanent")))


def test_executing_goes_on_with_the_one_that_failed() -> None:
    stuck().when(ExecutePhase(flow_id=FLOW_ID, phase_name="book")).then_refused(PhaseOutOfOrder, allowed=["pay"])
    given = {"flow_id": FLOW_ID, "phase_name": "pay", "inputs": {"card": "silver"}}
    flow = stuck().when(ExecutePhase.model_validate(given)).then(HookStarted).flow
    assert flow.rollback is not None
    # what is given to undo is not given to the phases
    assert flow.rollback.inputs == {"card": "silver", "step": 2}
    assert flow.inputs == {}
    assert (flow.status, flow.error) == ("processing", None)
    flow = Given(flow).when(complete(flow)).then(HookCompleted, HookStarted).flow
    assert Given(flow).when(complete(flow)).flow.status is Status.INITIALIZED


def test_what_is_left_can_be_given_up_by_a_rollback_without_compensations() -> None:
    stuck().when(to("book")).then_refused(NothingToUndo)
    flow = stuck().when(to("book", compensate=False)).then(FlowRolledBack).flow
    assert (flow.status, flow.undoing, flow.error) == ("initialized", None, None)


def test_going_back_further_keeps_what_is_left_and_begins_with_it() -> None:
    flow = then(by_word(3, card="gold").when(to("pay")))
    flow = then(flow.when(fail(flow.flow, retryable=False, kind="permanent")))
    further = flow.when(to("book")).flow
    assert further.rollback is not None
    assert [(one.phase_name, one.outputs) for one in further.rollback.left] == [
        ("pay", {"rows": 2}),
        ("book", {"rows": 0}),
    ]
    assert further.rollback.inputs == {"card": "gold", "step": 2} | {"step": 1}


def test_a_pause_holds_compensations_too() -> None:
    flow = then(by_word(3).when(to("book")))
    flow = then(flow.when(PAUSE))
    held = flow.when(complete(flow.flow)).then(HookCompleted, FlowDrained).flow
    assert (held.status, held.undoing is not None) == ("paused", True)
    Given(held).when(RESUME).then(FlowResumed, HookStarted)
    waits = flow.when(fail(flow.flow)).then(HookFailed, PhaseRetryScheduled, FlowDrained).flow
    assert waits.timers == {}
    Given(waits).when(RESUME).then(FlowResumed)
    last = then(flow.when(complete(flow.flow)))
    last = then(last.when(RESUME))
    last = then(last.when(PAUSE))
    still = last.when(complete(last.flow)).then(HookCompleted, FlowDrained).flow
    assert (still.status, still.undoing) == ("paused", None)


@pytest.mark.parametrize(
    "command", [StartIteration(flow_id=FLOW_ID), SkipPhase(flow_id=FLOW_ID), MigrateFlow(flow_id=FLOW_ID)]
)
def test_what_is_left_to_undo_comes_before_anything_new(command: Command) -> None:
    flow = then(by_word(3).when(to("book")))
    error = flow.when(command).then_refused(PhaseOutOfOrder)
    assert "is to be undone first" in error.detail


def test_the_deadline_of_the_flow_leaves_what_is_left() -> None:
    flow = then(failed(2).when(to("pay")))
    ended = flow.when(fire(flow.flow, "deadline")).then(HookFailed, FlowFailed).flow
    assert ended.undoing is not None
    assert ended.phase("pay").status is PhaseStatus.PENDING


# cancelling with compensations

UNDO = CancelFlow(flow_id=FLOW_ID, reason="no longer wanted", compensate=True)


def test_cancelling_undoes_when_it_is_asked_to() -> None:
    flow = by_word(3).when(UNDO).then(FlowCancelled, HookStarted).flow
    assert (flow.status, flow.run is not None) == ("cancelled", True)
    assert flow.phase("pay").outputs == {"rows": 2}
    assert next_action(flow, TYPES)["message"] == "Undoing Pay, Book"
    flow = Given(flow).when(complete(flow)).then(HookCompleted, HookStarted).flow
    flow = Given(flow).when(complete(flow)).then(HookCompleted).flow
    assert (flow.status, flow.run, flow.undoing) == ("cancelled", None, None)
    assert next_action(flow, TYPES)["type"] == "none"
    Given(flow).when(UNDO).then_nothing()
    then(by_word(3).when(CANCEL)).when(UNDO).then_refused(FlowIsOver)


def test_a_flow_that_goes_on_by_itself_does_not_after_it_was_cancelled() -> None:
    flow = then(paused(2).when(UNDO))
    flow.when(complete(flow.flow)).then(HookCompleted)


def test_nothing_to_compensate_is_a_plain_cancel() -> None:
    flow = after(QUIET).when(UNDO).then(FlowCancelled).flow
    assert flow.rollback is None


def test_work_that_was_under_way_has_time_to_stop() -> None:
    flow = doing(2).when(UNDO).then(FlowCancelled).flow
    assert flow.timers[STOPPING_TIMER].delay_seconds == 6.0
    assert [one.phase_name for one in flow.rollback.left] == ["pay", "book"]  # type: ignore[union-attr]
    assert next_action(flow, TYPES)["until"] is not None
    begun = Given(flow).when(fire(flow, STOPPING_TIMER)).then(HookStarted).flow
    assert (begun.status, begun.timers) == ("cancelled", {})


def test_the_compensations_follow_what_cleans_up() -> None:
    flow = doing(2).when(UNDO).flow
    busy = replace(flow, run=doing(2).flow.run)
    fired = FireTimer(flow_id=FLOW_ID, timer=STOPPING_TIMER, token=flow.timers[STOPPING_TIMER].token)
    Given(busy).when(fired).then_nothing()
    story = Story(flow, meta(seconds=1), TYPES)
    compensate_once_stopped(story)
    assert story.facts == []
    story = Story(flow, meta(seconds=6), TYPES)
    compensate_once_stopped(story)
    assert isinstance(story.facts[0].fact, HookStarted)


def test_a_cancelled_flow_that_cannot_be_undone_has_failed_until_it_is() -> None:
    flow = then(by_word(3).when(UNDO))
    ended = then(flow.when(fail(flow.flow, retryable=False, kind="permanent")))
    assert ended.flow.status is Status.FAILED
    assert allowed(ended.flow, TYPES) == ["execute", "retry", "cancel", "delete"]
    ended.when(to("book")).then_refused(FlowIsOver)
    ended.when(CreateCheckpoint(flow_id=FLOW_ID)).then_refused(FlowIsOver)
    assert ended.when(EXECUTE).then(HookStarted).flow.status is Status.CANCELLED
    given_up = ended.when(CANCEL).then(FlowCancelled).flow
    assert (given_up.status, given_up.undoing) == ("cancelled", None)
    flow = then(flow.when(complete(flow.flow)))
    ended = then(flow.when(fail(flow.flow, retryable=False, kind="permanent")))
    again = ended.when(UNDO).then(FlowCancelled, HookStarted).flow
    assert again.rollback is not None
    assert [one.phase_name for one in again.rollback.left] == ["book"]


def test_past_an_irreversible_phase_a_flow_is_cancelled_only_as_it_is() -> None:
    begun = doing(3)
    begun.when(UNDO).then_refused(PhaseIrreversible)
    begun.when(CANCEL).then(FlowCancelled)


def test_deleting_gives_up_what_is_left() -> None:
    flow = doing(2).when(UNDO).flow
    gone = Given(flow).when(DELETE).flow
    assert (gone.undoing, gone.stopping, gone.alarms) == (None, None, {})


# checkpoints


def test_a_checkpoint_can_be_asked_for() -> None:
    flow = after(QUIET)
    made = flow.when(CreateCheckpoint(flow_id=FLOW_ID, reason="as created")).flow
    assert (made.checkpoints[0].phase_name, made.checkpoints[0].reason) == ("", "as created")
    assert made.checkpoints[0].created_by == "maria"
    shown = row(made, TYPES)["flow_metadata"]["checkpoints"][0]
    assert (shown["phase_name"], shown["created_by"]) == (None, "maria")
    # the state has not changed since
    Given(made).when(CreateCheckpoint(flow_id=FLOW_ID, reason="again")).then_nothing()
    done = by_word(1)
    done.when(CreateCheckpoint(flow_id=FLOW_ID)).then_nothing()
    running = then(done.when(ExecutePhase(flow_id=FLOW_ID, inputs={"card": "gold"})))
    made = running.when(CreateCheckpoint(flow_id=FLOW_ID)).then(CheckpointCreated).flow
    held = then(Given(made).when(complete(made)))
    # the phase that was under way is undone, and what it was given stays
    back = held.when(to("note")).flow
    assert back.inputs == {"card": "gold", "step": 0}


def test_the_verbs_of_going_back_are_named_where_they_are_taken() -> None:
    assert allowed(after(QUIET).flow, TYPES) == ["execute", "pause", "checkpoint", "cancel", "delete"]
    assert allowed(by_word(1).flow, TYPES) == [
        "execute",
        "pause",
        "skip",
        "iterate",
        "rollback",
        "checkpoint",
        "cancel",
        "delete",
    ]


# the preview


def test_a_preview_tells_what_would_be_undone_and_changes_nothing() -> None:
    ref = {"artifact": "ab" * 32, "size_bytes": 1000, "media_type": "application/json"}
    shared = {"artifact": "cd" * 32, "size_bytes": 10, "media_type": "application/json"}
    usage = ({}, {"agents": {"total_tokens": 700, "tasks": [{"total_tokens": 700}]}}, {"total_tokens": None})
    flow = after(QUIET)
    for outputs, used in zip(({"kept": shared}, {"message": "noted", "rows": [ref, shared]}, {}), usage, strict=True):
        flow = then(flow.when(ExecutePhase(flow_id=FLOW_ID, inputs={"card": len(outputs)})))
        done = complete(flow.flow, **outputs).model_copy(update={"resource_usage": used, "execution_time_ms": 20})
        flow = then(flow.when(done))
    shown = preview(flow.flow, to("note"), meta(), TYPES, expected_version=flow.flow.version)
    assert shown["version"] == flow.flow.version
    assert shown["target"]["checkpoint_id"] == flow.flow.checkpoints[0].checkpoint_id
    assert [one["phase_name"] for one in shown["undone"]] == ["pay", "note"]
    note = shown["undone"][1]
    assert (note["message"], note["outputs"], note["size_bytes"] > 1010) == ("noted", ["message", "rows"], True)
    assert shown["artifacts"] == [{"artifact": "ab" * 32, "size_bytes": 1000}]
    assert shown["compensations"] == [{"phase_name": "pay", "handlers": ("refund", "apologise")}]
    assert shown["cost"] == {"execution_time_ms": 40, "total_tokens": 700, "expected_seconds": 10.0}
    assert shown["progress"] == {"before": 75.0, "after": 25.0}
    assert (shown["goes_on"], shown["inputs_dropped"], shown["inputs_restored"]) == (False, [], ["card"])
    beginning = preview(flow.flow, to("book"), meta(), TYPES)
    assert beginning["target"]["created_at"] == flow.flow.created_at
    assert beginning["inputs_dropped"] == ["card"]


def test_a_preview_is_refused_as_the_rollback_would_be() -> None:
    with pytest.raises(NothingToUndo):
        preview(by_word(1).flow, to("note"), meta(), TYPES)
    with pytest.raises(VersionMoved):
        preview(by_word(2).flow, to("note"), meta(), TYPES, expected_version=1)


def test_only_what_the_artifact_store_answered_is_a_reference() -> None:
    spilled = {"$artifact": "ab" * 32, "size_bytes": 7}
    foreign = [
        {"artifact": "ab" * 32},
        {"artifact": "app.jar", "size_bytes": 1, "media_type": "x"},
        spilled | {"size_bytes": "7"},
    ]
    assert list(references({"rows": [spilled, *foreign]})) == [("ab" * 32, 7)]


def test_history_that_names_what_is_not_there_is_folded_all_the_same() -> None:
    flow = flow_of(CREATED_BACK, replace(ROLLED_BACK, undone=(), compensations=()))
    assert flow.version == 2
    hooks = HookStarted(
        moment="compensate",
        phase_name="book",
        run_id=UNKNOWN,
        token=1,
        attempt=1,
        max_attempts=1,
        timeout_seconds=1.0,
    )
    done = HookCompleted(moment="compensate", phase_name="book", run_id=UNKNOWN)
    assert flow_of(CREATED_BACK, hooks, done).rollback is None


def test_what_is_irreversible_has_no_compensations() -> None:
    ship = replace(BACK.phases[3], compensations=("unship",))
    config = replace(BACK, phases=(*BACK.phases[:3], ship))
    with raises(RegistrationError, "irreversible"):
        FlowTypes().register(config, handlers=config.handlers, validators=())
    with raises(RegistrationError, "unknown compensation refund"):
        FlowTypes().register(BACK, handlers=set(BACK.handlers) - {"refund"}, validators=())


def test_a_worker_that_can_do_a_phase_can_undo_it() -> None:
    assert BACK.work_of(BACK.phase("pay")) == ("work", "refund", "apologise")
    assert set(BACK.handlers) == {"work", "unbook", "refund", "apologise"}
