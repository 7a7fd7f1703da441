"""What kind of failure leads to what."""

from __future__ import annotations

import pytest

from domain.commands import CreateFlow, ExecutePhase, ExecutionOptions, FailPhase, FireTimer
from domain.errors import RegistrationError
from domain.events import (
    CheckpointCreated,
    FlowCompleted,
    FlowDrained,
    FlowFailed,
    FlowPaused,
    PhaseCompleted,
    PhaseFailed,
    PhaseRetryScheduled,
    PhaseSkipped,
    PhaseStarted,
)
from domain.failures import RESOLUTIONS, resolution_of
from domain.flow import Flow
from domain.flow_types import FlowTypeConfig, FlowTypes, PhaseConfig
from domain.words import FailureClass, PhaseStatus, Resolve, Status
from tests.examples import CREATE, EXECUTE, FLOW_ID, PAUSE, RESUME
from tests.spec import Given, after, complete

FORGIVING = CreateFlow(flow_id=FLOW_ID, flow_type="forgiving", flow_name="Forgiving")
BY_ITSELF = FORGIVING.model_copy(update={"options": FORGIVING.options.model_copy(update={"auto_execute": True})})


def failure(flow: Flow, kind: str, **more: object) -> FailPhase:
    assert flow.run is not None
    error = {"class": kind, "code": "x", "message": "it went wrong", **more}
    return FailPhase(flow_id=FLOW_ID, run_id=flow.run.run_id, token=flow.run.token, error=error)


def timer(flow: Given) -> FireTimer:
    assert flow.flow.retry is not None
    return FireTimer(flow_id=FLOW_ID, timer=flow.flow.retry.timer, token=flow.flow.retry.timer_token)


def attempts(flow: Given, kind: str) -> int:
    """How often a phase is tried that always fails like this."""
    tried = 0
    while flow.flow.status is not Status.FAILED:
        tried += 1
        flow = Given(flow.when(failure(flow.flow, kind)).flow)
        if flow.flow.retry is not None:
            flow = Given(flow.when(timer(flow)).flow)
    return tried


def careful() -> Given:
    """A flow in its second phase."""
    first = after(FORGIVING, EXECUTE)
    return Given(Given(first.when(complete(first.flow)).flow).when(EXECUTE).flow)


@pytest.mark.parametrize(
    ("kind", "times"),
    [("network", 5), ("timeout", 3), ("database", 3), ("crew", 3), ("rate_limited", 10), ("permission", 1), ("odd", 3)],
)
def test_each_class_has_its_limit_where_nobody_sets_one(kind: str, times: int) -> None:
    assert attempts(after(FORGIVING, EXECUTE), kind) == times


def test_a_limit_that_somebody_set_holds_for_every_class() -> None:
    once = ExecutePhase(flow_id=FLOW_ID, options=ExecutionOptions(max_retries=0))
    never = ExecutePhase(flow_id=FLOW_ID, options=ExecutionOptions(retry_on_failure=False))
    seven = ExecutePhase(flow_id=FLOW_ID, options=ExecutionOptions(max_retries=6))
    assert attempts(after(FORGIVING, once), "network") == 1
    assert attempts(after(FORGIVING, never), "network") == 1
    assert attempts(after(FORGIVING, seven), "timeout") == 7
    assert attempts(after(CREATE, EXECUTE), "network") == 3


def test_what_follows_is_in_history_with_its_reason() -> None:
    flow = after(FORGIVING, EXECUTE)
    [failed, scheduled] = flow.when(failure(flow.flow, "network")).then(PhaseFailed, PhaseRetryScheduled).facts
    assert isinstance(failed, PhaseFailed)
    assert isinstance(scheduled, PhaseRetryScheduled)
    assert failed.resolution["action"] == "retry"
    assert failed.resolution["severity"] == "medium"
    assert scheduled.max_attempts == 5


def test_the_last_attempt_says_that_the_flow_fails() -> None:
    flow = after(FORGIVING, ExecutePhase(flow_id=FLOW_ID, options=ExecutionOptions(max_retries=0)))
    [failed, _] = flow.when(failure(flow.flow, "network")).then(PhaseFailed, FlowFailed).facts
    assert isinstance(failed, PhaseFailed)
    assert failed.resolution["action"] == "fail"


def test_another_system_that_asks_for_patience_is_given_it() -> None:
    flow = after(FORGIVING, EXECUTE)
    answer = flow.when(failure(flow.flow, "rate_limited", after_seconds=42))
    assert answer.flow.retry is not None
    assert answer.flow.retry.delay_seconds == 42


def test_a_failure_that_does_no_harm_is_passed_over() -> None:
    flow = after(FORGIVING, EXECUTE)
    answer = flow.when(failure(flow.flow, "permanent")).then(PhaseFailed, PhaseSkipped, CheckpointCreated)
    assert answer.flow.status is Status.WAITING_FOR_INPUT
    assert answer.flow.phase("hopeful").status is PhaseStatus.SKIPPED
    assert answer.flow.error is None
    by_itself = after(BY_ITSELF)
    by_itself.when(failure(by_itself.flow, "business_logic")).then(
        PhaseFailed, PhaseSkipped, CheckpointCreated, PhaseStarted
    )


def test_a_failure_passed_over_in_a_pause_waits_for_the_pause_to_end() -> None:
    flow = after(BY_ITSELF, PAUSE)
    paused = flow.when(failure(flow.flow, "permanent")).then(PhaseFailed, PhaseSkipped, CheckpointCreated, FlowDrained)
    assert paused.flow.status is Status.PAUSED
    assert Given(paused.flow).when(RESUME).flow.current_phase == "careful"


def test_a_failure_may_pause_the_flow_until_somebody_has_seen_to_it() -> None:
    flow = careful()
    answer = flow.when(failure(flow.flow, "permission")).then(PhaseFailed, PhaseRetryScheduled, FlowPaused)
    assert answer.flow.status is Status.PAUSED
    assert answer.flow.paused is not None
    assert answer.flow.paused.reason == "it went wrong"
    Given(answer.flow).when(timer(Given(answer.flow))).then_nothing()
    again = Given(Given(answer.flow).when(RESUME).flow)
    assert again.flow.run is not None
    assert again.flow.run.attempt == 2
    again.when(complete(again.flow)).then(PhaseCompleted, CheckpointCreated, FlowCompleted)


def test_a_failure_that_pauses_a_paused_flow_pauses_it_once() -> None:
    flow = Given(careful().when(PAUSE).flow)
    flow.when(failure(flow.flow, "permission")).then(PhaseFailed, PhaseRetryScheduled, FlowDrained)


def test_an_error_is_believed_where_it_says_whether_it_may_pass() -> None:
    assert resolution_of({"class": "network", "retryable": False}).action is Resolve.FAIL
    assert resolution_of({"class": "permanent", "retryable": True}).action is Resolve.RETRY
    assert resolution_of({"class": "network"}) is RESOLUTIONS[FailureClass.NETWORK]
    assert resolution_of({}) is RESOLUTIONS[FailureClass.UNKNOWN]


def test_wrong_inputs_without_a_field_cannot_be_asked_for() -> None:
    assert resolution_of({"class": "validation"}).action is Resolve.FAIL
    assert resolution_of({"class": "validation", "retryable": True}).action is Resolve.RETRY
    assert resolution_of({"class": "validation", "fields": [{"field": "x"}]}).action is Resolve.WAIT_FOR_INPUT


@pytest.mark.parametrize("kind", FailureClass)
def test_every_class_has_a_sentence_for_the_person(kind: FailureClass) -> None:
    resolution = RESOLUTIONS[kind]
    assert resolution.message.endswith(".")
    assert resolution.severity in {"low", "medium", "high", "critical"}
    assert resolution.needs_person == (resolution.action in {Resolve.FAIL, Resolve.WAIT_FOR_INPUT})


@pytest.mark.parametrize(
    ("said", "match"),
    [
        ({"weather": "retry"}, "'retry' of 'weather'"),
        ({"network": "wait_for_input"}, "actions retry, fail, pause, continue"),
        ({"network": "continue"}, "only where the phase can be skipped"),
    ],
)
def test_a_type_that_says_something_impossible_is_refused(said: dict[str, str], match: str) -> None:
    phase = PhaseConfig(name="one", display_name="One", description="one", handlers=("work",), on_failure=said)
    config = FlowTypeConfig(name="odd", display_name="Odd", description="odd", phases=(phase,))
    with pytest.raises(RegistrationError, match=match):
        FlowTypes().register(config, handlers=["work"], validators=[])
