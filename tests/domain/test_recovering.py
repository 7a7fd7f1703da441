"""What is done about a phase that has no attempt left, as its type says."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from domain.commands import CreateFlow, CreateOptions, ExecutePhase
from domain.decide import decide
from domain.deciding.following import next_action
from domain.errors import RegistrationError
from domain.events import (
    CheckpointCreated,
    FlowDrained,
    FlowFailed,
    PhaseCompleted,
    PhaseFailed,
    PhaseRetryScheduled,
    PhaseStarted,
    RecoveryStarted,
)
from domain.flow import Flow
from domain.flow_types import FlowCapabilities, FlowTypeConfig, FlowTypes, PhaseConfig
from domain.recovery import Recovery
from domain.types.discovery import DISCOVERY
from domain.view import row
from domain.words import PhaseStatus, Status
from tests.examples import EXECUTE, FLOW_ID, PAUSE, RESUME, STUBBORN
from tests.spec import TYPES, Given, Then, after, complete, fail, fire, meta

BY_ITSELF = CreateFlow(flow_id=FLOW_ID, flow_type="stubborn", flow_name="S", options=CreateOptions(auto_execute=True))
WITHOUT_CHECKPOINTS = BY_ITSELF.model_copy(update={"options": CreateOptions(auto_execute=True, save_checkpoints=False)})


def again(answer: Then) -> Given:
    return Given(answer.flow)


def at(phases: int, start: CreateFlow = BY_ITSELF) -> Given:
    """A stubborn flow that has done so many phases and is in the next one."""
    flow = after(start)
    for _ in range(phases):
        flow = again(flow.when(complete(flow.flow, rows=1)))
    return flow


def told(answer: Then) -> RecoveryStarted:
    found = [fact for fact in answer.facts if isinstance(fact, RecoveryStarted)]
    assert len(found) == 1
    return found[0]


def test_a_phase_gets_all_its_attempts_again_after_a_while() -> None:
    flow = at(0)
    answer = flow.when(fail(flow.flow)).then(PhaseFailed, RecoveryStarted, PhaseRetryScheduled)
    recovery = told(answer)
    assert (recovery.action, recovery.number, recovery.at_most) == ("retry_with_backoff", 1, 2)
    assert recovery.reason == {"class": "network", "code": "io_failed", "message": "the wire is cut"}
    scheduled = answer.facts[-1]
    assert isinstance(scheduled, PhaseRetryScheduled)
    assert (scheduled.attempt, scheduled.max_attempts) == (1, 1)
    assert 30.0 <= scheduled.delay_seconds <= 37.5
    assert answer.flow.status is Status.PROCESSING
    begun = again(answer).when(fire(answer.flow, "retry")).then(PhaseStarted).flow
    # the chain of failures goes on
    assert len(begun.phase("gather").failures) == 1


def test_one_rule_follows_the_other_until_the_flow_fails() -> None:
    flow, actions = at(0), []
    while flow.flow.status is not Status.FAILED:
        answer = flow.when(fail(flow.flow))
        actions += [fact.action for fact in answer.facts if isinstance(fact, RecoveryStarted)]
        flow = again(answer)
        if flow.flow.retry is not None:
            flow = again(flow.when(fire(flow.flow, "retry")))
    assert actions == ["retry_with_backoff", "retry_with_backoff", "retry_with_data_cleanup"]
    assert flow.flow.error is not None
    assert len(flow.flow.phase("gather").failures) == 4
    assert flow.flow.known_inputs == {"strict": False}


def test_inputs_given_as_data_are_laid_over_what_is_known() -> None:
    flow = at(2)
    answer = flow.when(fail(flow.flow, kind="crew")).then(PhaseFailed, RecoveryStarted, PhaseRetryScheduled)
    assert told(answer).action == "fallback"
    assert answer.flow.known_inputs == {"approach": "conservative"}


def test_a_restart_begins_where_the_rule_says_after_its_time() -> None:
    flow = at(2)
    answer = flow.when(fail(flow.flow, kind="timeout")).then(PhaseFailed, RecoveryStarted)
    assert told(answer).from_phase == "sift"
    retry = answer.flow.retry
    assert retry is not None
    assert (retry.phase_name, retry.attempt, retry.max_attempts, retry.delay_seconds) == ("sift", 1, 1, 9.0)
    assert [phase.status for phase in answer.flow.phases] == [
        PhaseStatus.COMPLETED,
        PhaseStatus.PENDING,
        PhaseStatus.PENDING,
    ]
    begun = again(answer).when(fire(answer.flow, "retry")).then(PhaseStarted)
    assert begun.flow.current_phase == "sift"
    assert begun.flow.phase("sift").anew == 1


def test_a_restart_without_a_phase_begins_the_failed_one_afresh_at_once() -> None:
    flow = at(2)
    answer = flow.when(fail(flow.flow, kind="unknown")).then(PhaseFailed, RecoveryStarted, PhaseStarted)
    assert (answer.flow.current_phase, answer.flow.phase("judge").attempt) == ("judge", 1)


def test_a_restart_begins_after_the_last_checkpoint() -> None:
    flow = at(2)
    answer = flow.when(fail(flow.flow, kind="database")).then(PhaseFailed, RecoveryStarted, PhaseStarted)
    assert told(answer).from_phase == "judge"
    bare = at(2, WITHOUT_CHECKPOINTS)
    assert told(bare.when(fail(bare.flow, kind="database"))).from_phase == "gather"


def test_a_failure_of_the_first_phase_leaves_nothing_to_go_back_to() -> None:
    first = replace(STUBBORN.phases[0], recovery=(Recovery(action="restart_from_last_checkpoint"),))
    types = FlowTypes()
    config = replace(STUBBORN, phases=(first, *STUBBORN.phases[1:]), version="2.0.0")
    types.register(config, handlers=config.handlers, validators=())
    flow = decide(Flow(id=FLOW_ID), BY_ITSELF, meta(), types).flow
    answer = decide(flow, fail(flow, kind="database"), meta(), types)
    assert [type(recorded.fact) for recorded in answer.facts] == [PhaseFailed, RecoveryStarted, PhaseStarted]
    assert answer.flow.current_phase == "gather"


def test_a_type_speaks_for_phases_that_have_no_rules() -> None:
    flow = at(1)
    answer = flow.when(fail(flow.flow)).then(PhaseFailed, RecoveryStarted, PhaseStarted)
    assert (told(answer).phase_name, answer.flow.current_phase) == ("sift", "gather")
    # once only: the count outlives the restart
    flow = again(answer)
    flow = again(flow.when(complete(flow.flow)).then(PhaseCompleted, CheckpointCreated, PhaseStarted))
    flow.when(fail(flow.flow)).then(PhaseFailed, FlowFailed)


def test_a_type_does_not_restart_at_a_later_phase() -> None:
    config = replace(
        STUBBORN,
        version="3.0.0",
        phases=tuple(replace(phase, recovery=()) for phase in STUBBORN.phases),
        recovery=(Recovery(action="restart_from_phase", from_phase="judge"),),
    )
    types = FlowTypes()
    types.register(config, handlers=config.handlers, validators=())
    flow = decide(Flow(id=FLOW_ID), BY_ITSELF, meta(), types).flow
    facts = decide(flow, fail(flow), meta(), types).facts
    assert [type(recorded.fact) for recorded in facts] == [PhaseFailed, FlowFailed]


def test_a_person_is_called_where_trying_cures_nothing() -> None:
    flow = at(0)
    answer = flow.when(fail(flow.flow, retryable=False, kind="permission"))
    answer.then(PhaseFailed, RecoveryStarted, FlowFailed)
    assert told(answer).action == "manual_intervention_required"
    assert "a person has to remove the cause" in next_action(answer.flow, TYPES)["message"]
    shown = row(answer.flow, TYPES)["flow_metadata"]["recovery"]
    assert (shown["action"], shown["number"], shown["at_most"]) == ("manual_intervention_required", 1, 1)


def test_a_flow_taken_in_hand_has_its_recoveries_anew() -> None:
    flow = at(0)
    failed = again(flow.when(fail(flow.flow, retryable=False, kind="permission")))
    begun = again(failed.when(EXECUTE).then(PhaseStarted))
    assert (begun.flow.recovery, begun.flow.recovered, begun.flow.phase("gather").failures) == (None, {}, ())
    answer = begun.when(fail(begun.flow))
    assert told(answer).number == 1


def test_a_recovery_is_shown_until_the_phase_works() -> None:
    flow = at(0)
    waiting = again(flow.when(fail(flow.flow)))
    shown = row(waiting.flow, TYPES)["flow_metadata"]["recovery"]
    assert (shown["phase_name"], shown["action"]) == ("gather", "retry_with_backoff")
    begun = again(waiting.when(fire(waiting.flow, "retry")))
    assert begun.flow.recovery is not None
    assert begun.when(complete(begun.flow)).flow.recovery is None


def test_a_recovery_of_another_phase_stays_shown() -> None:
    flow = at(1)
    restarted = again(flow.when(fail(flow.flow)))
    done = restarted.when(complete(restarted.flow)).flow
    assert done.recovery is not None
    assert done.recovery.phase_name == "sift"


def test_a_paused_flow_recovers_when_it_is_resumed() -> None:
    flow = at(2)
    paused = again(flow.when(PAUSE))
    failed = again(paused.when(fail(paused.flow, kind="unknown")).then(PhaseFailed, RecoveryStarted, FlowDrained))
    assert failed.flow.status is Status.PAUSED
    resumed = failed.when(RESUME)
    assert isinstance(resumed.facts[-1], PhaseStarted)


def test_the_time_that_another_system_asks_for_is_kept() -> None:
    flow = at(0)
    command = fail(flow.flow)
    command.error["after_seconds"] = 90
    scheduled = flow.when(command).facts[-1]
    assert isinstance(scheduled, PhaseRetryScheduled)
    assert scheduled.delay_seconds >= 90.0


@pytest.mark.parametrize("limits", [{"max_retries": 0}, {"retry_on_failure": False}])
def test_a_caller_who_says_how_many_attempts_there_are_has_no_more(limits: dict[str, Any]) -> None:
    flow = after(BY_ITSELF.model_copy(update={"options": CreateOptions(auto_execute=True, **limits)}))
    flow.when(fail(flow.flow)).then(PhaseFailed, FlowFailed)
    flow.when(fail(flow.flow, retryable=False)).then(PhaseFailed, RecoveryStarted, FlowFailed)


def test_without_rules_a_flow_fails_as_ever() -> None:
    flow = after(CreateFlow(flow_id=FLOW_ID, flow_type="two_steps", flow_name="T"), ExecutePhase(flow_id=FLOW_ID))
    flow.when(fail(flow.flow, retryable=False)).then(PhaseFailed, FlowFailed)


@pytest.mark.parametrize(
    ("rule", "match"),
    [
        (Recovery(action="restart_from_phase", when=("weather",)), "recovery is about 'weather'"),
        (Recovery(action="pray"), "recovery says 'pray'"),
        (Recovery(action="restart_from_phase", from_phase="last"), "begins at one of first, not at 'last'"),
        (Recovery(action="retry_with_backoff", from_phase="first"), "only restart_from_phase takes from_phase"),
        (Recovery(action="fallback"), "need each other"),
        (Recovery(action="retry_with_backoff", with_inputs={"a": 1}), "need each other"),
        (Recovery(action="fallback", with_inputs={"to": [{"password": "x"}]}), "must hold no secret, such as password"),
        (Recovery(action="retry_with_backoff", at_most=0), "1 to 10 times"),
        (Recovery(action="retry_with_backoff", delay_seconds=-1), "waits 0 to"),
    ],
)
def test_a_rule_that_cannot_be_followed_is_not_registered(rule: Recovery, match: str) -> None:
    def phase(name: str, *rules: Recovery) -> PhaseConfig:
        return PhaseConfig(name=name, display_name=name, description=name, handlers=("work",), recovery=rules)

    config = FlowTypeConfig(name="odd", display_name="", description="", phases=(phase("first", rule), phase("last")))
    with pytest.raises(RegistrationError, match=match):
        FlowTypes().register(config, handlers=("work",), validators=())


def test_a_type_has_at_least_one_round() -> None:
    config = replace(STUBBORN, capabilities=FlowCapabilities(max_iterations=0))
    with pytest.raises(RegistrationError, match="at least one round"):
        FlowTypes().register(config, handlers=("work",), validators=())


def test_discovery_says_what_is_done_about_each_kind_of_failure() -> None:
    def first(phase: str, **error: object) -> str | None:
        rules = DISCOVERY.phase(phase).recovery or DISCOVERY.recovery
        return next((str(rule.action) for rule in rules if rule.concerns(error)), None)

    for phase in ("data_import", "asset_inventory"):
        assert first(phase, **{"class": "network"}) == "retry_with_backoff"
        assert first(phase, **{"class": "network", "retryable": False}) == "manual_intervention_required"
        assert first(phase, **{"class": "permission"}) == "manual_intervention_required"
        assert first(phase, **{"class": "resource"}) is None
    assert first("field_mapping", **{"class": "timeout"}) == "restart_from_phase"
    assert first("dependency_analysis", **{"class": "execution"}) == "restart_from_last_checkpoint"
