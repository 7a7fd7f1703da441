"""A new round of a flow: the phases again, the former rounds kept."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from domain.commands import CreateFlow, CreateOptions, StartIteration
from domain.deciding.story import allowed
from domain.errors import (
    FlowIsOver,
    FlowPausedNow,
    IterationsNotSupported,
    IterationsUsedUp,
    NothingToIterate,
    PhaseAlreadyRunning,
    PhaseOutOfOrder,
    PhaseUnknown,
)
from domain.events import (
    CheckpointCreated,
    FlowCompleted,
    HookFailed,
    HookStarted,
    InputRequested,
    IterationStarted,
    PhaseCompleted,
    PhaseStarted,
)
from domain.flow import progress, rounds_of
from domain.view import row
from domain.words import PhaseStatus, Status
from tests.examples import CANCEL, CREATE, CREATE_AUTO, EXECUTE, EXECUTE_SECOND, FLOW_ID, ITERATE, PAUSE
from tests.spec import TYPES, Given, Then, after, ask, complete, fail, fire, meta

HOOKED = CreateFlow(
    flow_id=FLOW_ID, flow_type="hooked", flow_name="H", options=CreateOptions(auto_execute=True, max_retries=0)
)
TIMED = CREATE.model_copy(update={"options": CreateOptions(flow_timeout_seconds=60)})


def again(answer: Then) -> Given:
    return Given(answer.flow)


def ended(start: CreateFlow = CREATE) -> Given:
    """A flow of two steps, both done."""
    first = after(start) if start.options.auto_execute else after(start, EXECUTE)
    second = again(first.when(complete(first.flow, rows=3, answer=42)))
    if second.flow.run is None:
        second = again(second.when(EXECUTE_SECOND))
    return again(second.when(complete(second.flow, total=7)).then(PhaseCompleted, CheckpointCreated, FlowCompleted))


def test_a_completed_flow_begins_again_from_its_first_phase() -> None:
    answer = ended().when(ITERATE, asked=meta("ann", seconds=60)).then(IterationStarted)
    flow = answer.flow
    assert answer.facts[0] == IterationStarted(number=2, from_phase="first", reason="new figures")
    assert (flow.status, flow.iteration_number, flow.completed_at, progress(flow)) == (Status.INITIALIZED, 2, None, 0.0)
    assert [(phase.status, phase.attempt, phase.outputs, phase.anew) for phase in flow.phases] == [
        (PhaseStatus.PENDING, 0, {}, 1),
        (PhaseStatus.PENDING, 0, {}, 1),
    ]
    assert row(flow, TYPES)["iteration_number"] == 2


def test_a_round_may_begin_further_on_with_other_inputs() -> None:
    asked = StartIteration(flow_id=FLOW_ID, phase_name="second", inputs={"answer": 43})
    flow = ended().when(asked).then(IterationStarted).flow
    assert [phase.status for phase in flow.phases] == [PhaseStatus.COMPLETED, PhaseStatus.PENDING]
    assert flow.phase("first").outputs == {"rows": 3, "answer": 42}
    assert (flow.known_inputs["answer"], flow.status) == (43, Status.WAITING_FOR_INPUT)
    assert progress(flow) == 25.0


def test_who_agreed_in_one_round_is_asked_in_the_next() -> None:
    done = Given(replace(ended().flow, inputs={"approval": True, "hint": "left"}))
    assert done.when(ITERATE).flow.known_inputs == {"hint": "left"}
    agreed = StartIteration(flow_id=FLOW_ID, inputs={"approval": True})
    assert done.when(agreed).flow.known_inputs == {"hint": "left", "approval": True}


def test_an_alias_names_the_phase_too() -> None:
    answer = ended().when(StartIteration(flow_id=FLOW_ID, phase_name="one")).then(IterationStarted)
    assert answer.flow.rounds[-1].from_phase == "first"


def test_a_flow_that_goes_on_by_itself_does_so_in_every_round() -> None:
    answer = ended(CREATE_AUTO).when(ITERATE).then(IterationStarted, PhaseStarted)
    assert (answer.flow.status, answer.flow.current_phase) == (Status.PROCESSING, "first")
    run = answer.flow.run
    assert run is not None
    assert (run.attempt, run.token) == (1, 1)
    second = again(answer).when(complete(answer.flow, answer=1)).flow
    assert second.current_phase == "second"


def test_the_rounds_say_where_in_the_history_they_lie() -> None:
    done = ended()
    assert [one.number for one in rounds_of(done.flow)] == [1]
    flow = done.when(ITERATE, asked=meta("ann", seconds=60)).flow
    former, current = flow.rounds
    assert (former.number, former.first_version, former.last_version) == (1, 1, done.flow.version)
    assert (former.status, former.phases_completed) == (Status.COMPLETED, ("first", "second"))
    assert (former.by, former.ended_at) == ("maria", done.flow.completed_at)
    assert (current.number, current.first_version, current.last_version) == (2, done.flow.version + 1, None)
    assert (current.by, current.reason, current.status) == ("ann", "new figures", None)
    third = again(Given(flow).when(EXECUTE))
    third = again(third.when(complete(third.flow, answer=1)))
    assert [one.number for one in third.when(ITERATE).flow.rounds] == [1, 2, 3]


def test_the_deadline_of_the_flow_begins_anew() -> None:
    flow = ended(TIMED).when(ITERATE, asked=meta(seconds=500)).flow
    assert flow.deadline is not None
    assert flow.deadline.left(meta(seconds=510).at) == 50.0


@pytest.mark.parametrize("kind", ["between", "failed", "asking"])
def test_a_flow_between_phases_failed_or_asking_begins_again(kind: str) -> None:
    running = after(CREATE, EXECUTE)
    told = {
        "between": complete(running.flow, answer=1),
        "failed": fail(running.flow, retryable=False),
        "asking": ask(running.flow, "hint"),
    }
    stopped = again(running.when(told[kind]))
    assert "iterate" in allowed(stopped.flow, TYPES)
    flow = stopped.when(ITERATE).then(IterationStarted).flow
    assert (flow.status, flow.error, flow.waiting, flow.alarms) == (Status.INITIALIZED, None, None, {})
    assert flow.rounds[0].ended_at == meta().at


def test_the_start_and_end_hooks_run_in_every_round() -> None:
    flow = after(HOOKED)
    for _ in range(2):
        flow = again(flow.when(complete(flow.flow)))
    assert flow.flow.run is not None
    assert flow.flow.run.hook == "end"
    flow = again(flow.when(complete(flow.flow)))
    assert (flow.flow.status, flow.flow.wrapped_up) == (Status.COMPLETED, True)
    flow = again(flow.when(ITERATE).then(IterationStarted, PhaseStarted))
    assert (flow.flow.start_steps, flow.flow.wrapped_up) == ({}, False)
    flow = again(flow.when(complete(flow.flow)))
    flow.when(complete(flow.flow)).then(PhaseCompleted, CheckpointCreated, HookStarted)


def test_error_hooks_are_left_for_a_new_round() -> None:
    running = after(HOOKED)
    failed = again(running.when(fail(running.flow, retryable=False)))
    assert failed.flow.run is not None
    failed.when(ITERATE).then(HookFailed, IterationStarted, PhaseStarted)


def test_what_a_round_lacks_is_asked_for() -> None:
    running = after(CREATE_AUTO)
    asked = again(running.when(complete(running.flow)))
    assert asked.flow.waiting is not None
    begun = again(asked.when(ITERATE).then(IterationStarted, PhaseStarted))
    begun.when(complete(begun.flow)).then(PhaseCompleted, CheckpointCreated, InputRequested)


def test_a_phase_that_runs_or_waits_for_its_next_attempt_is_waited_for() -> None:
    running = after(CREATE, EXECUTE)
    running.when(ITERATE).then_refused(PhaseAlreadyRunning, allowed=["pause", "cancel", "delete"])
    retrying = again(running.when(fail(running.flow)))
    retrying.when(ITERATE).then_refused(PhaseAlreadyRunning, allowed=["execute", "retry", "pause", "cancel", "delete"])
    begun = again(retrying.when(fire(retrying.flow, "retry")))
    begun.when(ITERATE).then_refused(PhaseAlreadyRunning)


def test_a_paused_flow_is_resumed_first() -> None:
    running = after(CREATE, EXECUTE)
    paused = again(again(running.when(complete(running.flow))).when(PAUSE))
    paused.when(ITERATE).then_refused(FlowPausedNow, allowed=["resume", "cancel", "delete"])


def test_a_round_that_has_not_begun_is_not_replaced_by_another() -> None:
    after(CREATE).when(ITERATE).then_refused(NothingToIterate, allowed=["execute", "pause", "cancel", "delete"])
    again(ended().when(ITERATE)).when(ITERATE).then_refused(NothingToIterate)


def test_a_flow_that_was_cancelled_has_no_further_round() -> None:
    after(CREATE, EXECUTE, CANCEL).when(ITERATE).then_refused(FlowIsOver, allowed=["delete"])


def test_some_types_have_one_round_only() -> None:
    only = after(CreateFlow(flow_id=FLOW_ID, flow_type="one_round", flow_name="O"), EXECUTE)
    done = again(only.when(complete(only.flow)))
    error = done.when(ITERATE).then_refused(IterationsNotSupported, allowed=["delete"])
    assert "one_round" in error.detail


def test_there_are_as_many_rounds_as_the_type_allows() -> None:
    flow = after(CreateFlow(flow_id=FLOW_ID, flow_type="stubborn", flow_name="S"), EXECUTE)
    flow = again(flow.when(complete(flow.flow)))
    flow = again(again(flow.when(ITERATE)).when(EXECUTE))
    flow = again(flow.when(complete(flow.flow)))
    error = flow.when(ITERATE).then_refused(IterationsUsedUp, allowed=["execute", "pause", "cancel", "delete"])
    assert "2 rounds" in error.detail


def test_a_round_begins_no_later_than_the_flow_stands() -> None:
    running = after(CREATE, EXECUTE)
    failed = again(running.when(fail(running.flow, retryable=False)))
    later = StartIteration(flow_id=FLOW_ID, phase_name="second")
    failed.when(later).then_refused(PhaseOutOfOrder, allowed=["first"])
    failed.when(StartIteration(flow_id=FLOW_ID, phase_name="third")).then_refused(PhaseUnknown)
