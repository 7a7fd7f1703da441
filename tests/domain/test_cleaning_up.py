"""What runs after a flow was cancelled, and what it changes: nothing about the flow."""

from __future__ import annotations

import pytest

from domain.commands import CancelFlow, CreateOptions, RecordSteps
from domain.deciding.following import next_action
from domain.deciding.steering import CLEANUP_SECONDS
from domain.deciding.story import allowed
from domain.errors import FlowIsOver, RunNotCurrent
from domain.events import (
    FlowCancelled,
    FlowDeleted,
    HookCompleted,
    HookFailed,
    HookStarted,
    PhaseRetryScheduled,
    StepsCompleted,
)
from domain.words import PhaseStatus, Status
from tests.examples import CANCEL, CREATE, DELETE, EXECUTE, FLOW_ID, PAUSE
from tests.spec import TYPES, Given, Then, after, ask, complete, fail, fire

TIDY = CREATE.model_copy(update={"flow_type": "tidy"})


def between_phases() -> Given:
    running = after(TIDY, EXECUTE)
    return Given(running.when(complete(running.flow, rows=3)).flow)


def then(answer: Then) -> Given:
    """The flow after that answer."""
    return Given(answer.flow)


def fired(flow: Given, timer: str) -> Given:
    return then(flow.when(fire(flow.flow, timer)))


def cleaning_up() -> Given:
    return Given(between_phases().when(CANCEL).then(FlowCancelled, HookStarted).flow)


def test_a_flow_whose_work_had_begun_cleans_up_after_its_cancellation() -> None:
    answer = between_phases().when(CANCEL).then(FlowCancelled(reason="no longer wanted"), HookStarted)
    run = answer.flow.run
    assert run is not None
    assert (answer.flow.status, run.hook, run.attempt, run.max_attempts) == (Status.CANCELLED, "cancel", 1, 2)
    assert allowed(answer.flow, TYPES) == ["delete"]
    assert next_action(answer.flow, TYPES)["message"] == "The flow is cancelled; it is cleaning up"


def test_work_in_hand_has_the_time_to_stop_before_what_it_left_is_cleaned_up() -> None:
    answer = after(TIDY, EXECUTE).when(CANCEL)
    flow = answer.then(FlowCancelled(reason="no longer wanted", cleanup_after_seconds=CLEANUP_SECONDS)).flow
    assert (flow.run, flow.phase("gather").status) == (None, PhaseStatus.FAILED)
    assert flow.timers["cleanup"].delay_seconds == CLEANUP_SECONDS
    assert next_action(flow, TYPES)["message"] == "The flow is cancelled; it is cleaning up"
    begun = Given(flow).when(fire(flow, "cleanup")).then(HookStarted).flow
    assert (begun.status, begun.timers) == (Status.CANCELLED, {})


def test_a_flow_that_waits_or_is_paused_cleans_up_at_once() -> None:
    running = after(TIDY, EXECUTE)
    Given(running.when(ask(running.flow, "file")).flow).when(CANCEL).then(FlowCancelled, HookStarted)
    between = between_phases()
    Given(between.when(PAUSE).flow).when(CANCEL).then(FlowCancelled, HookStarted)


def test_a_flow_that_never_began_has_nothing_to_clean_up() -> None:
    after(TIDY).when(CANCEL).then(FlowCancelled)


def test_a_type_without_such_hooks_ends_at_once() -> None:
    after(CREATE, EXECUTE).when(CANCEL).then(FlowCancelled(reason="no longer wanted"))


def test_a_failed_flow_cleans_up_too_and_its_error_hooks_are_given_up_first() -> None:
    running = after(TIDY, EXECUTE)
    failed = Given(running.when(fail(running.flow, retryable=False)).flow)
    assert failed.flow.run is not None
    flow = failed.when(CANCEL).then(FlowCancelled).flow
    assert set(flow.timers) == {"cleanup"}


def test_what_the_hooks_return_is_in_history_and_nowhere_else() -> None:
    flow = cleaning_up()
    done = flow.when(complete(flow.flow, removed=3)).then(HookCompleted).flow
    assert (done.status, done.run, done.advice) == (Status.CANCELLED, None, {})
    assert done.phase("count").outputs == {}
    assert next_action(done, TYPES)["message"] == "The flow is cancelled"


def test_steps_of_the_hooks_are_kept() -> None:
    flow = cleaning_up()
    run = flow.flow.run
    assert run is not None
    step = RecordSteps(flow_id=FLOW_ID, run_id=run.run_id, token=run.token, results={"hook:cancel:put_away:1/a": 1})
    flow.when(step).then(StepsCompleted)


def test_hooks_that_fail_are_tried_again_and_change_nothing() -> None:
    flow = cleaning_up()
    waiting = Given(flow.when(fail(flow.flow)).then(HookFailed, PhaseRetryScheduled).flow)
    assert waiting.flow.status is Status.CANCELLED
    second = Given(waiting.when(fire(waiting.flow, "retry")).then(HookStarted).flow)
    assert second.flow.run is not None
    assert second.flow.run.attempt == 2
    ended = second.when(fail(second.flow)).then(HookFailed).flow
    assert (ended.status, ended.run, ended.timers) == (Status.CANCELLED, None, {})
    assert ended.errors[-1]["moment"] == "cancel"


def test_a_second_cancellation_changes_nothing() -> None:
    cleaning_up().when(CANCEL).then_nothing()


def test_nothing_else_is_taken_meanwhile() -> None:
    cleaning_up().when(EXECUTE).then_refused(FlowIsOver, allowed=["delete"])


@pytest.mark.parametrize("how", ["begun", "to come"])
def test_deleting_the_flow_ends_its_cleaning_up(how: str) -> None:
    flow = cleaning_up() if how == "begun" else Given(after(TIDY, EXECUTE).when(CANCEL).flow)
    deleted = flow.when(DELETE).then(FlowDeleted).flow
    assert (deleted.run, deleted.alarms) == (None, {})
    if flow.flow.run is not None:
        Given(deleted).when(complete(flow.flow)).then_refused(RunNotCurrent)


UNDO = CancelFlow(flow_id=FLOW_ID, compensate=True)


def test_what_is_to_be_undone_follows_the_clean_up() -> None:
    cleaning = fired(then(after(TIDY, EXECUTE).when(UNDO).then(FlowCancelled)), "cleanup")
    undoing = then(cleaning.when(complete(cleaning.flow)).then(HookCompleted, HookStarted))
    assert undoing.flow.run is not None
    assert (undoing.flow.run.hook, undoing.flow.run.phase_name) == ("compensate", "gather")
    ended = undoing.when(complete(undoing.flow)).then(HookCompleted).flow
    assert (ended.status, ended.undoing, ended.alarms) == (Status.CANCELLED, None, {})


def test_a_clean_up_that_fails_holds_up_nothing_that_is_to_be_undone() -> None:
    running = after(TIDY, EXECUTE)
    cleaning = fired(then(running.when(UNDO)), "cleanup")
    waiting = then(cleaning.when(fail(cleaning.flow)).then(HookFailed, PhaseRetryScheduled))
    second = fired(waiting, "retry")
    undoing = second.when(fail(second.flow)).then(HookFailed, HookStarted).flow
    assert undoing.run is not None
    assert undoing.run.hook == "compensate"


def test_between_phases_both_begin_at_once_one_after_the_other() -> None:
    cleaning = then(between_phases().when(UNDO).then(FlowCancelled, HookStarted))
    cleaning.when(complete(cleaning.flow)).then(HookCompleted, HookStarted)


def test_a_later_start_is_cancelled_without_a_trace() -> None:
    later = TIDY.model_copy(update={"options": CreateOptions(start_after_seconds=60)})
    assert after(later).when(CANCEL).then(FlowCancelled).flow.alarms == {}
