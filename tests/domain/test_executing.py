"""How a phase is started, and under which options."""

from __future__ import annotations

from typing import Any
from uuid import uuid5

import pytest
from msgspec.structs import replace

from domain.commands import CreateFlow, CreateOptions, ExecutePhase, ExecutionOptions
from domain.errors import (
    FlowIsOver,
    FlowPausedNow,
    InputsMissing,
    PhaseAlreadyRunning,
    PhaseOutOfOrder,
    PhaseUnknown,
)
from domain.events import PhaseStarted, PlannedPhase
from domain.flow import Phase
from domain.words import PhaseStatus
from tests.examples import CHECKPOINT, COMPLETED, CREATE, EXECUTE, EXECUTE_SECOND, FLOW_ID, PAUSE, QUIET, STARTED
from tests.spec import Given, after, complete, flow_of, given


def started(options: ExecutionOptions, flow_type: str = "two_steps", **create: Any) -> PhaseStarted:
    of_flow = CreateOptions.model_validate(create)
    flow = after(CreateFlow(flow_id=FLOW_ID, flow_type=flow_type, flow_name="F", options=of_flow))
    fact = flow.when(ExecutePhase(flow_id=FLOW_ID, options=options)).facts[0]
    assert isinstance(fact, PhaseStarted)
    return fact


def test_without_a_name_the_next_phase_starts() -> None:
    answer = after(CREATE).when(EXECUTE).then(PhaseStarted)
    assert answer.flow.run is not None
    assert (answer.flow.run.phase_name, answer.flow.run.attempt, answer.flow.run.token) == ("first", 1, 1)


def test_an_alias_names_its_phase() -> None:
    after(CREATE).when(ExecutePhase(flow_id=FLOW_ID, phase_name="One")).then(PhaseStarted)


def test_a_phase_waits_its_turn() -> None:
    error = after(CREATE).when(EXECUTE_SECOND).then_refused(PhaseOutOfOrder, allowed=["first"])
    assert error.detail == "phase second comes later; next is first"


def test_a_phase_that_is_done_is_not_done_again() -> None:
    again = ExecutePhase(flow_id=FLOW_ID, phase_name="first")
    error = given(QUIET, STARTED, COMPLETED, CHECKPOINT).when(again).then_refused(PhaseOutOfOrder, allowed=["second"])
    assert error.detail == "phase first has been completed; next is second"


def test_an_unknown_phase_is_refused_naming_the_valid_ones() -> None:
    after(CREATE).when(ExecutePhase(flow_id=FLOW_ID, phase_name="third")).then_refused(
        PhaseUnknown, allowed=["first", "second"]
    )


def test_a_phase_of_another_type_is_told_apart() -> None:
    error = after(CREATE).when(ExecutePhase(flow_id=FLOW_ID, phase_name="field_mapping")).then_refused(PhaseUnknown)
    assert "belongs to flow type discovery" in error.detail


def test_one_phase_at_a_time() -> None:
    after(CREATE, EXECUTE).when(EXECUTE).then_refused(PhaseAlreadyRunning, allowed=["pause", "cancel", "delete"])


def test_a_paused_flow_executes_nothing() -> None:
    after(CREATE, PAUSE).when(EXECUTE).then_refused(FlowPausedNow, allowed=["resume", "cancel", "delete"])


def test_missing_inputs_are_named() -> None:
    given(QUIET, STARTED, COMPLETED).when(EXECUTE).then_refused(InputsMissing, fields=["inputs.answer"])


def test_validation_of_inputs_can_be_left_out() -> None:
    unchecked = ExecutePhase(flow_id=FLOW_ID, options=ExecutionOptions(validate_inputs=False))
    given(QUIET, STARTED, COMPLETED).when(unchecked).then(PhaseStarted)


@pytest.mark.parametrize("source", ["call", "initial data", "an earlier phase's outputs"])
def test_a_required_input_is_satisfied_by(source: str) -> None:
    created = replace(QUIET, initial_data={"answer": 1}) if source == "initial data" else QUIET
    completed = replace(COMPLETED, outputs={"answer": 2}) if source.startswith("an earlier") else COMPLETED
    execute = EXECUTE_SECOND if source == "call" else EXECUTE
    given(created, STARTED, completed).when(execute).then(PhaseStarted)


def test_a_phase_that_asks_for_its_inputs_itself_starts_without_them() -> None:
    flow = after(
        CreateFlow(flow_id=FLOW_ID, flow_type="discovery", flow_name="D", initial_data={"import_file_id": "f"}), EXECUTE
    )
    mapped = Given(flow.when(complete(flow.flow)).flow)
    mapped.when(EXECUTE).then(PhaseStarted)


def test_defaults_hold_where_nothing_is_given() -> None:
    fact = started(ExecutionOptions())
    assert (fact.timeout_seconds, fact.max_attempts) == (300.0, 3)
    asked = {"save_checkpoints": True, "validate_inputs": True, "validate_outputs": True}
    assert fact.options == {**asked, "limited": True}


def test_the_type_and_the_phase_override_the_default() -> None:
    fact = started(ExecutionOptions(), "patient")
    assert (fact.timeout_seconds, fact.max_attempts) == (9.0, 5)


def test_the_flow_overrides_the_phase_and_the_call_overrides_the_flow() -> None:
    assert started(ExecutionOptions(), "patient", timeout_seconds=4, max_retries=0).max_attempts == 1
    fact = started(ExecutionOptions(timeout_seconds=2, max_retries=7), "patient", timeout_seconds=4, max_retries=0)
    assert (fact.timeout_seconds, fact.max_attempts) == (2.0, 8)


def test_without_retries_there_is_one_attempt() -> None:
    assert started(ExecutionOptions(retry_on_failure=False)).max_attempts == 1


def test_a_flow_without_phases_left_takes_no_execution() -> None:
    flow = flow_of(replace(QUIET, phases=(PlannedPhase("first", 1.0),)))
    done = Phase(name="first", weight=1.0, status=PhaseStatus.SKIPPED)
    Given(replace(flow, phases=(done,))).when(EXECUTE).then_refused(FlowIsOver)


def test_the_type_holds_where_the_phase_says_nothing() -> None:
    fact = started(ExecutionOptions(), "steady")
    assert (fact.timeout_seconds, fact.max_attempts) == (45.0, 2)


def test_an_option_that_is_not_given_overrides_nothing() -> None:
    fact = started(ExecutionOptions(max_retries=7), "patient", timeout_seconds=4, save_checkpoints=False)
    assert (fact.timeout_seconds, fact.max_attempts, fact.options["save_checkpoints"]) == (4.0, 8, False)


@pytest.mark.parametrize("name", ["save_checkpoints", "validate_inputs", "validate_outputs"])
def test_the_call_decides_over_the_flow(name: str) -> None:
    assert started(ExecutionOptions(), "two_steps", **{name: False}).options[name] is False
    assert started(ExecutionOptions.model_validate({name: True}), "two_steps", **{name: False}).options[name] is True
    assert started(ExecutionOptions.model_validate({name: False}), "two_steps", **{name: True}).options[name] is False


def test_without_retries_a_number_of_them_means_nothing() -> None:
    assert started(ExecutionOptions(max_retries=7), retry_on_failure=False).max_attempts == 1
    assert started(ExecutionOptions(retry_on_failure=True), retry_on_failure=False).max_attempts == 3


def test_an_input_of_the_call_stays_with_the_flow() -> None:
    flow = after(CREATE, ExecutePhase(flow_id=FLOW_ID, inputs={"answer": 1})).flow
    assert (flow.known_inputs, flow.phase("first").inputs) == ({"answer": 1}, {"answer": 1})


def test_an_input_with_nothing_in_it_is_an_input_all_the_same() -> None:
    nothing = ExecutePhase(flow_id=FLOW_ID, inputs={"answer": None})
    given(QUIET, STARTED, COMPLETED).when(nothing).then(PhaseStarted)


def test_every_alias_of_discovery_names_a_phase_of_it() -> None:
    flow = after(
        CreateFlow(flow_id=FLOW_ID, flow_type="discovery", flow_name="D", initial_data={"import_file_id": "f"})
    )
    for alias in ("data_import_validation", "initialization", "Data Import"):
        flow.when(ExecutePhase(flow_id=FLOW_ID, phase_name=alias)).then(PhaseStarted)
    for alias in ("attribute_mapping", "data_cleaning", "inventory", "assets", "dependencies", "tech-debt"):
        flow.when(ExecutePhase(flow_id=FLOW_ID, phase_name=alias)).then_refused(
            PhaseOutOfOrder, code="phase_out_of_order", allowed=["data_import"]
        )


def test_a_runs_id_follows_from_the_flow_and_the_version_of_its_start() -> None:
    run = after(CREATE, EXECUTE).flow.run
    assert run is not None
    assert run.run_id == uuid5(FLOW_ID, "run:2")
