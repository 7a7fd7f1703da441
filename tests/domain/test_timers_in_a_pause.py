"""What timers do while a pause lets them go on."""

from __future__ import annotations

from domain.commands import CreateOptions, ExecutePhase, FireTimer, PauseFlow
from domain.events import (
    CheckpointCreated,
    FlowDrained,
    FlowFailed,
    FlowPaused,
    FlowResumed,
    InputProvided,
    PhaseFailed,
    PhaseRetryScheduled,
    PhaseSkipped,
    PhaseStarted,
)
from domain.view import row, timers
from domain.words import Status
from tests.examples import CREATE, EXECUTE, FLOW_ID, RESUME
from tests.spec import TYPES, Given, after, ask, complete, fail, fire, meta

PAUSE = PauseFlow(flow_id=FLOW_ID, timers="running")
ASKING = CREATE.model_copy(update={"flow_type": "asking", "options": CreateOptions(auto_execute=True)})


def paused(flow: Given, *, seconds: float = 0) -> Given:
    return Given(flow.when(PAUSE, asked=meta(seconds=seconds)).then(FlowPaused(draining=False, timers="running")).flow)


def retrying() -> Given:
    running = after(CREATE, EXECUTE)
    return Given(running.when(fail(running.flow)).then(PhaseFailed, PhaseRetryScheduled).flow)


def asked(*, phases_before: int) -> Given:
    flow = after(ASKING)
    for _ in range(phases_before):
        flow = Given(flow.when(complete(flow.flow)).flow)
    return Given(flow.when(ask(flow.flow, "answer")).flow)


def test_a_timer_that_goes_on_is_shown_with_its_time() -> None:
    flow = paused(retrying()).flow
    [shown] = timers(flow)
    assert (shown["name"], shown["due_at"], shown["remaining_seconds"]) == ("retry", "2026-11-20T12:00:01+00:00", None)
    assert flow.timers == flow.alarms


def test_an_attempt_that_is_due_waits_for_the_resume_and_no_longer() -> None:
    flow = paused(retrying())
    flow.when(fire(flow.flow, "retry"), asked=meta(seconds=1)).then_nothing()
    flow.when(RESUME, asked=meta(seconds=30)).then(FlowResumed, PhaseStarted)


def test_an_attempt_that_is_not_due_yet_has_what_is_left_of_its_time() -> None:
    resumed = paused(retrying(), seconds=0.25).when(RESUME, asked=meta(seconds=0.75)).then(FlowResumed).flow
    timer = resumed.timers["retry"]
    # set anew: a firing of the old one may be on its way
    assert (timer.delay_seconds, timer.token) == (0.25, resumed.version)


def test_a_start_that_is_due_waits_for_the_resume() -> None:
    flow = paused(after(CREATE.model_copy(update={"options": CreateOptions(start_after_seconds=60)})))
    flow.when(fire(flow.flow, "start"), asked=meta(seconds=60)).then_nothing()
    flow.when(RESUME, asked=meta(seconds=61)).then(FlowResumed, PhaseStarted)


def test_the_time_of_the_flow_passes_and_ends_it_at_once() -> None:
    limited = CREATE.model_copy(update={"options": CreateOptions(flow_timeout_seconds=60)})
    flow = paused(after(limited))
    up = flow.when(fire(flow.flow, "deadline"), asked=meta(seconds=60)).then(FlowFailed)
    assert (up.flow.status, up.flow.paused) == (Status.FAILED, None)


def test_work_that_drains_ends_with_the_time_of_its_flow() -> None:
    limited = CREATE.model_copy(update={"options": CreateOptions(flow_timeout_seconds=60)})
    flow = Given(after(limited, EXECUTE).when(PAUSE).flow)
    flow.when(fire(flow.flow, "deadline"), asked=meta(seconds=60)).then(PhaseFailed, FlowFailed)


def test_the_time_for_an_answer_passes_and_the_phase_is_left_out_at_once() -> None:
    flow = paused(asked(phases_before=0))
    assert row(flow.flow, TYPES)["input_request"]["expires_at"] == "2026-11-20T13:00:00+00:00"
    skipped = Given(flow.when(fire(flow.flow, "input")).then(PhaseSkipped, CheckpointCreated).flow)
    assert skipped.flow.status is Status.PAUSED
    skipped.when(RESUME).then(FlowResumed, PhaseStarted)


def test_the_time_for_an_answer_passes_and_the_defaults_count_from_the_resume() -> None:
    flow = paused(asked(phases_before=1))
    assumed = Given(flow.when(fire(flow.flow, "input")).then(InputProvided).flow)
    assert assumed.flow.status is Status.PAUSED
    assert assumed.when(RESUME).then(FlowResumed, PhaseStarted).flow.inputs == {"answer": 42}


def test_the_time_for_an_answer_passes_and_the_flow_fails_at_once() -> None:
    flow = paused(asked(phases_before=2))
    flow.when(fire(flow.flow, "input")).then(FlowFailed)


def test_a_timer_that_draining_work_sets_goes_on_too() -> None:
    running = after(CREATE, ExecutePhase(flow_id=FLOW_ID))
    draining = Given(running.when(PAUSE).flow)
    waiting = draining.when(fail(draining.flow)).then(PhaseFailed, PhaseRetryScheduled, FlowDrained)
    assert set(waiting.flow.timers) == {"retry"}


def test_a_timer_from_before_the_resume_means_nothing_after_it() -> None:
    flow = paused(retrying())
    old = FireTimer(flow_id=FLOW_ID, timer="retry", token=flow.flow.timers["retry"].token)
    Given(flow.when(RESUME).flow).when(old).then_nothing()
