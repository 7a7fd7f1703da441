"""How a phase is left out."""

from __future__ import annotations

import pytest

from domain.commands import CreateOptions, ExecutePhase, SkipPhase
from domain.deciding.following import next_action
from domain.deciding.story import allowed
from domain.deciding.targets import phases_to_go_back_to
from domain.errors import FlowIsOver, OutputsInvalid, PhaseNotSkippable, PhaseOutOfOrder, PhaseUnknown
from domain.events import (
    CheckpointCreated,
    FlowCompleted,
    FlowDrained,
    FlowResumed,
    HookFailed,
    HookStarted,
    PhaseSkipped,
    PhaseStarted,
)
from domain.flow import START_TIMER
from domain.words import PhaseStatus, Status
from tests.examples import CANCEL, CREATE, EXECUTE, FLOW_ID, PAUSE, RESUME
from tests.spec import TYPES, Given, after, ask, complete, fail, fire

TIDY = CREATE.model_copy(update={"flow_type": "tidy"})
TIDY_AUTO = TIDY.model_copy(update={"options": CreateOptions(auto_execute=True)})
WHIM = CREATE.model_copy(update={"flow_type": "whim"})
SKIP = SkipPhase(flow_id=FLOW_ID, reason="we have it already")
INSTEAD = SkipPhase(flow_id=FLOW_ID, phase_name="gather", outputs={"rows": 3})


def test_a_phase_that_has_not_begun_is_left_out_and_the_next_waits_for_the_word() -> None:
    answer = (
        after(TIDY).when(SKIP).then(PhaseSkipped(phase_name="gather", reason="we have it already"), CheckpointCreated)
    )
    assert (answer.flow.status, answer.flow.current_phase) == (Status.WAITING_FOR_INPUT, "count")


def test_what_stands_in_for_the_outputs_is_theirs() -> None:
    flow = (
        after(TIDY).when(INSTEAD).then(PhaseSkipped(phase_name="gather", outputs={"rows": 3}), CheckpointCreated).flow
    )
    assert (flow.phase("gather").status, flow.phase("gather").outputs) == (PhaseStatus.SKIPPED, {"rows": 3})


def test_a_flow_that_goes_on_by_itself_goes_on_and_the_run_in_hand_counts_no_more() -> None:
    running = after(TIDY_AUTO)
    answer = running.when(SKIP).then(PhaseSkipped, CheckpointCreated, PhaseStarted)
    assert answer.flow.current_phase == "count"
    before, now = running.flow.run, answer.flow.run
    assert before is not None
    assert now is not None
    assert before.run_id != now.run_id


def test_leaving_the_last_phase_out_completes_the_flow() -> None:
    after(WHIM).when(SKIP).then(PhaseSkipped, CheckpointCreated, FlowCompleted)


def test_a_flow_that_asked_is_not_waited_for() -> None:
    running = after(TIDY_AUTO)
    asking = Given(running.when(ask(running.flow, "file")).flow)
    assert asking.when(SKIP).then(PhaseSkipped, CheckpointCreated, PhaseStarted).flow.waiting is None


def test_an_attempt_that_waits_comes_no_more() -> None:
    running = after(TIDY_AUTO)
    waiting = Given(running.when(fail(running.flow)).flow)
    assert waiting.when(SKIP).then(PhaseSkipped, CheckpointCreated, PhaseStarted).flow.timers == {}


def test_a_failed_flow_goes_on_behind_its_phase_and_its_error_hooks_are_left() -> None:
    running = after(TIDY_AUTO)
    failed = Given(running.when(fail(running.flow, retryable=False)).flow)
    answer = failed.when(SKIP).then(HookFailed, PhaseSkipped, CheckpointCreated, PhaseStarted)
    assert (answer.flow.status, answer.flow.error) == (Status.PROCESSING, None)


def test_a_failed_flow_that_goes_on_has_its_whole_time_anew() -> None:
    timed = TIDY.model_copy(update={"options": CreateOptions(flow_timeout_seconds=60)})
    running = after(timed, EXECUTE)
    failed = Given(running.when(fail(running.flow, retryable=False)).flow)
    quiet = Given(failed.when(complete(failed.flow, message="look")).flow)
    assert (quiet.flow.timers, quiet.flow.advice) == ({}, {"message": "look"})
    flow = quiet.when(SKIP).then(PhaseSkipped, CheckpointCreated).flow
    assert (set(flow.timers), flow.status, flow.advice) == ({"deadline"}, Status.WAITING_FOR_INPUT, {})


def test_a_paused_flow_stays_paused_and_goes_on_when_it_is_resumed() -> None:
    flow = after(TIDY_AUTO, PAUSE)
    skipped = flow.when(SKIP).then(PhaseSkipped, CheckpointCreated, FlowDrained)
    assert (skipped.flow.status, skipped.flow.draining) == (Status.PAUSED, False)
    assert Given(skipped.flow).when(RESUME).then(FlowResumed, PhaseStarted).flow.current_phase == "count"


def test_a_flow_whose_start_is_still_to_come_waits_for_it() -> None:
    later = TIDY.model_copy(update={"options": CreateOptions(auto_execute=True, start_after_seconds=60)})
    skipped = after(later).when(SKIP).then(PhaseSkipped, CheckpointCreated)
    assert (skipped.flow.status, next_action(skipped.flow, TYPES)["type"]) == (Status.INITIALIZED, "wait")
    begun = Given(skipped.flow).when(fire(skipped.flow, START_TIMER)).then(PhaseStarted)
    assert begun.flow.current_phase == "count"


def test_a_flow_that_has_nothing_left_when_its_start_comes_is_completed() -> None:
    later = WHIM.model_copy(update={"options": CreateOptions(start_after_seconds=60)})
    skipped = Given(after(later).when(SKIP).then(PhaseSkipped, CheckpointCreated).flow)
    assert skipped.when(fire(skipped.flow, START_TIMER)).then(FlowCompleted).flow.alarms == {}


def test_only_a_phase_that_may_be_left_out_is() -> None:
    after(CREATE).when(SKIP).then_refused(
        PhaseNotSkippable, code="phase_not_skippable", allowed=["execute", "pause", "cancel", "delete"]
    )
    assert allowed(after(TIDY).flow, TYPES) == ["execute", "pause", "skip", "cancel", "delete"]


@pytest.mark.parametrize("name", ["count", "keep"])
def test_only_the_next_phase_is_left_out(name: str) -> None:
    after(TIDY).when(SkipPhase(flow_id=FLOW_ID, phase_name=name)).then_refused(PhaseOutOfOrder, allowed=["gather"])


def test_a_phase_that_is_done_is_not_left_out() -> None:
    flow = Given(after(TIDY).when(SKIP).flow)
    flow.when(INSTEAD).then_refused(PhaseOutOfOrder, allowed=["count"])


def test_a_phase_that_there_is_not_is_not_left_out() -> None:
    after(TIDY).when(SkipPhase(flow_id=FLOW_ID, phase_name="first")).then_refused(PhaseUnknown)


def test_the_end_of_a_flow_is_not_left_out() -> None:
    hooked = CREATE.model_copy(update={"flow_type": "hooked", "options": CreateOptions(auto_execute=True)})
    first = after(hooked)
    second = Given(first.when(complete(first.flow)).flow)
    ending = Given(second.when(SKIP).then(PhaseSkipped, CheckpointCreated, HookStarted).flow)
    ending.when(SKIP).then_refused(PhaseNotSkippable)


def test_what_is_over_is_left_as_it_is() -> None:
    after(WHIM, SKIP).when(SKIP).then_refused(FlowIsOver)
    after(TIDY, CANCEL).when(SKIP).then_refused(FlowIsOver)


@pytest.mark.parametrize(
    ("outputs", "fields"),
    [
        ({}, ["outputs.rows"]),
        ({"rows": "many"}, ["outputs.rows"]),
        ({"rows": -1}, ["outputs.rows"]),
        ({"rows": 1, "from": "hearsay"}, ["outputs.from"]),
        ({"rows": 1, "colour": "red"}, ["outputs.colour"]),
        ({"rows": None, "from": 3}, ["outputs.from", "outputs.rows"]),
    ],
)
def test_outputs_that_do_not_fit_are_refused_by_field(outputs: dict[str, object], fields: list[str]) -> None:
    command = SkipPhase(flow_id=FLOW_ID, outputs=outputs)
    error = after(TIDY).when(command).then_refused(OutputsInvalid, code="outputs_invalid", fields=fields)
    assert "hearsay" not in error.detail


def test_a_phase_without_a_schema_takes_what_it_is_given() -> None:
    flow = Given(after(TIDY).when(SKIP).flow)
    answer = flow.when(SkipPhase(flow_id=FLOW_ID, outputs={"any": ["thing"]}))
    answer.then(PhaseSkipped(phase_name="count", outputs={"any": ["thing"]}), CheckpointCreated)


def test_the_next_phase_knows_what_stands_in() -> None:
    phase = after(TIDY, INSTEAD, ExecutePhase(flow_id=FLOW_ID)).flow
    assert {one.name: one.outputs for one in phase.phases if one.outputs} == {"gather": {"rows": 3}}


def test_the_phase_after_one_that_was_left_out_can_be_gone_back_to() -> None:
    flow = after(TIDY).when(INSTEAD).flow
    point = flow.checkpoints[-1]
    assert (point.phase_name, point.done) == ("gather", frozenset({"gather"}))
    counting = Given(Given(flow).when(EXECUTE).flow)
    done = Given(counting.when(complete(counting.flow, total=3)).flow)
    assert phases_to_go_back_to(done.flow) == ["gather", "count"]


def test_no_checkpoint_is_kept_of_it_where_the_flow_has_none() -> None:
    quiet = TIDY.model_copy(update={"options": CreateOptions(save_checkpoints=False)})
    after(quiet).when(SKIP).then(PhaseSkipped)
