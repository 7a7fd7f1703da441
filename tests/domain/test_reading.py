"""How a flow looks to a reader: words, progress, next action, the row."""

from __future__ import annotations

import json

import msgspec
import pytest
from msgspec.structs import replace

from domain.commands import CreateFlow
from domain.decide import allowed, next_action
from domain.errors import FieldError, MfoError, PhaseOutOfOrder
from domain.flow import Flow, progress
from domain.view import COLUMNS, phase_result, row
from domain.words import Status, status_of
from tests.examples import (
    CANCEL,
    CHECKPOINT,
    COMPLETED,
    CREATE,
    CREATE_AUTO,
    CREATED,
    DELETED,
    EXECUTE,
    EXECUTE_SECOND,
    FAILED_ATTEMPT,
    FINISHED,
    FLOW_ID,
    PAUSE,
    RESUME,
    RETRY,
    RUN_ID,
    STARTED,
)
from tests.spec import TYPES, Given, after, ask, complete, fail, flow_of

QUIET = replace(CREATED, auto_execute=False)


def test_progress_is_the_weight_of_what_is_done() -> None:
    assert progress(flow_of(QUIET)) == 0.0
    assert progress(flow_of(QUIET, STARTED)) == 0.0
    assert progress(flow_of(QUIET, STARTED, COMPLETED)) == 25.0
    assert progress(Flow(id=FLOW_ID)) == 0.0


def test_progress_is_100_only_when_the_flow_is_completed() -> None:
    second = replace(COMPLETED, phase_name="second")
    all_done = flow_of(QUIET, STARTED, COMPLETED, replace(STARTED, phase_name="second"), second)
    assert progress(all_done) == 99.9
    assert progress(flow_of(QUIET, STARTED, COMPLETED, second, FINISHED)) == 100.0


def kinds(given: Given) -> tuple[str, str | None]:
    action = next_action(given.flow, TYPES)
    return action["type"], action["phase"]


def test_the_next_action_follows_the_flow() -> None:
    created = after(CREATE)
    running = after(CREATE, EXECUTE)
    assert kinds(created) == ("execute_phase", "first")
    assert kinds(running) == ("wait", "first")
    between = Given(running.when(complete(running.flow)).flow)
    assert kinds(between) == ("execute_phase", "second")
    assert next_action(between.flow, TYPES)["required_inputs"] == ["answer"]
    assert kinds(Given(running.when(ask(running.flow, "answer")).flow)) == ("provide_input", "first")
    assert kinds(Given(running.when(ask(running.flow, "mappings", "approval")).flow)) == ("approve", "first")
    assert kinds(Given(running.when(fail(running.flow)).flow)) == ("wait", "first")
    assert kinds(Given(running.when(fail(running.flow, retryable=False)).flow)) == ("retry", "first")
    assert kinds(after(CREATE, PAUSE)) == ("resume", "first")
    draining = after(CREATE, EXECUTE, PAUSE)
    assert "draining" in next_action(draining.flow, TYPES)["message"]
    assert kinds(after(CREATE, CANCEL)) == ("none", None)


def test_a_resumed_flow_that_has_nothing_left_is_to_be_completed() -> None:
    flow = after(CREATE, EXECUTE)
    second = Given(Given(flow.when(complete(flow.flow)).flow).when(EXECUTE_SECOND).flow)
    paused = Given(second.when(PAUSE).flow)
    drained = Given(paused.when(complete(paused.flow)).flow)
    assert kinds(drained) == ("resume", None)
    between = replace(drained.flow, paused=None, status=Status.PROCESSING)
    assert next_action(between, TYPES)["phase"] is None


def test_what_is_allowed_follows_the_status() -> None:
    assert allowed(Flow(id=FLOW_ID)) == []
    assert allowed(flow_of(CREATED, DELETED)) == []
    running = after(CREATE, EXECUTE)
    asking = running.when(ask(running.flow, "answer")).flow
    assert allowed(asking) == ["execute", "input", "pause", "cancel", "delete"]


def test_the_row_has_every_column_and_is_plain_json() -> None:
    flow = flow_of(QUIET, STARTED, COMPLETED, CHECKPOINT)
    shown = row(flow, TYPES)
    assert tuple(shown) == COLUMNS
    json.loads(msgspec.json.encode(shown))
    assert shown["phases_completed"] == ["first"]
    assert shown["phase_results"]["first"]["status"] == "success"
    assert shown["phase_results"]["first"]["next_phase"] == "second"
    assert shown["phase_execution_times"]["first"]["execution_time_ms"] == 12
    assert shown["performance_metrics"]["total_execution_time_ms"] == 12
    assert shown["memory_usage_metrics"] == {"peak_memory_mb": 80.0}
    assert shown["agent_insights"] == [{"agent": "mapper", "insight": "three rows"}]
    assert shown["flow_state"]["outputs"] == {"first": {"rows": 3}}
    assert [step["status"] for step in shown["phase_transitions"]] == ["running", "completed"]
    assert shown["flow_metadata"]["checkpoints"][0]["phase_name"] == "first"
    assert [phase["order"] for phase in shown["phases"]] == [1, 2]


def test_the_row_of_a_failing_flow_tells_its_errors() -> None:
    shown = row(flow_of(CREATED, STARTED, FAILED_ATTEMPT, RETRY), TYPES)
    assert (shown["retry_count"], shown["error_log"][0]["code"]) == (1, "io_failed")
    assert shown["flow_metadata"]["estimated_completion"] is not None
    assert shown["memory_usage_metrics"] == {}


def test_a_phase_without_a_result_has_none_yet() -> None:
    flow = flow_of(QUIET)
    assert phase_result(flow, flow.phases[0])["status"] == "paused"
    assert row(flow, TYPES)["flow_metadata"]["estimated_completion"] is None


def test_the_last_phases_result_has_no_next_phase() -> None:
    flow = flow_of(QUIET, STARTED, COMPLETED, replace(COMPLETED, phase_name="second"))
    assert phase_result(flow, flow.phase("second"))["next_phase"] is None


def test_an_unknown_phase_of_a_flow_is_no_phase() -> None:
    with pytest.raises(KeyError):
        flow_of(QUIET).phase("third")


def test_a_retry_without_a_run_changes_nothing_but_the_version() -> None:
    assert flow_of(QUIET, RETRY).retry is None


def test_a_reassignment_without_a_run_changes_nothing_but_the_version() -> None:
    flow = Given(flow_of(QUIET))
    assert flow.flow.run is None
    from tests.examples import REASSIGNED

    assert flow_of(QUIET, REASSIGNED).run is None


def test_nothing_exists_without_history() -> None:
    nothing = Flow(id=FLOW_ID)
    assert (nothing.exists, nothing.current_phase, nothing.next_phase) == (False, None, None)


def test_statuses_are_known_by_other_names_on_input_only() -> None:
    assert status_of(" Running ") is Status.PROCESSING
    assert status_of("waiting-for-input") is Status.WAITING_FOR_INPUT
    with pytest.raises(ValueError, match="use one of initialized"):
        status_of("sleeping")


def test_an_error_carries_its_code_its_sentence_and_what_is_allowed() -> None:
    plain = MfoError()
    assert plain.as_dict() == {"code": "internal_error", "detail": "Something went wrong inside the service."}
    told = PhaseOutOfOrder("later", allowed=["first"], errors=[FieldError("phase_name", "comes later")])
    assert told.as_dict() == {
        "code": "phase_out_of_order",
        "detail": "later",
        "allowed": ["first"],
        "errors": [{"field": "phase_name", "message": "comes later"}],
    }


def test_a_flow_that_goes_on_shows_when_it_should_end() -> None:
    shown = row(after(CREATE_AUTO).flow, TYPES)
    assert shown["flow_metadata"]["run"]["phase_name"] == "first"
    assert shown["flow_metadata"]["estimated_completion"] == "2026-11-20T12:00:10+00:00"


def test_the_examples_fit_together() -> None:
    assert STARTED.run_id == RUN_ID
    assert isinstance(CREATE, CreateFlow)
    assert RESUME.reason is None
