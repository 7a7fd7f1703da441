"""A flow as its readers see it."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
import pytest
from msgspec.structs import replace

from domain.flow import Flow
from domain.view import COLUMNS, learning_patterns, phase_result, row
from tests.examples import (
    CANCEL,
    CHECKPOINT,
    COMPLETED,
    CREATE,
    CREATE_AUTO,
    CREATED,
    DELETED,
    EXECUTE,
    FAILED_ATTEMPT,
    FINISHED,
    PAUSE,
    QUIET,
    RETRY,
    STARTED,
)
from tests.spec import TYPES, after, ask, complete, fail, flow_of, meta


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
    assert shown["memory_usage_metrics"]["peak_memory_mb"] == 80.0
    assert shown["memory_usage_metrics"]["last_updated"] == shown["phase_execution_times"]["first"]["completed_at"]
    assert shown["agent_collaboration_log"] == [
        {
            "timestamp": shown["phase_execution_times"]["first"]["completed_at"],
            "phase": "first",
            "agent": "mapper",
            "insight": "three rows",
        }
    ]
    assert shown["learning_patterns"] == []
    assert shown["agent_insights"] == [{"agent": "mapper", "insight": "three rows"}]
    assert shown["flow_state"]["outputs"] == {"first": {"rows": 3}}
    assert [step["status"] for step in shown["phase_transitions"]] == ["running", "completed"]
    assert shown["flow_metadata"]["checkpoints"][0]["phase_name"] == "first"
    assert [phase["order"] for phase in shown["phases"]] == [1, 2]


def test_a_mapping_that_a_person_approved_is_a_pattern_to_learn() -> None:
    flow = flow_of(QUIET, STARTED, COMPLETED)
    mapped = replace(flow.phase("first"), name="field_mapping")
    mappings = {"Host": "hostname", "Notes": None} | {f"column {n}": "name" for n in range(60)}
    learned = replace(flow, phases=(mapped, *flow.phases[1:]), inputs={"mappings": mappings})
    patterns = learning_patterns(learned)
    assert patterns[0] == {
        "timestamp": shown_at(flow),
        "type": "field_mapping",
        "data": {"original_field": "Host", "mapped_field": "hostname"},
    }
    assert len(patterns) == 61
    assert learning_patterns(replace(learned, inputs={})) == []
    assert learning_patterns(replace(flow, inputs={"mappings": mappings})) == []


def shown_at(flow: Flow) -> str:
    """When the first phase was done, as it is shown."""
    at = flow.phase("first").completed_at
    assert at is not None
    return at.isoformat()


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


def test_a_flow_that_goes_on_shows_when_it_should_end() -> None:
    shown = row(after(CREATE_AUTO).flow, TYPES)
    assert shown["flow_metadata"]["run"]["phase_name"] == "first"
    assert shown["flow_metadata"]["estimated_completion"] == "2026-11-20T12:00:10+00:00"


def flows() -> dict[str, Flow]:
    running = after(CREATE, EXECUTE)
    return {
        "created": after(CREATE).flow,
        "running": running.flow,
        "between": running.when(complete(running.flow, rows=3)).flow,
        "asking": running.when(ask(running.flow, "answer")).flow,
        "retrying": running.when(fail(running.flow)).flow,
        "failed": running.when(fail(running.flow, retryable=False)).flow,
        "draining": after(CREATE, EXECUTE, PAUSE).flow,
        "completed": flow_of(CREATED, FINISHED),
        "cancelled": after(CREATE, EXECUTE, CANCEL).flow,
        "deleted": flow_of(CREATED, DELETED),
    }


SHAPES: dict[type | tuple[type, ...], tuple[str, ...]] = {
    UUID: ("flow_id", "client_account_id", "engagement_id"),
    datetime: ("created_at", "updated_at"),
    str: ("flow_type", "flow_version", "user_id", "flow_name", "flow_status", "created_by", "updated_by"),
    int: ("version", "retry_count", "iteration_number"),
    float: ("progress_percentage",),
    bool: ("draining",),
    list: ("flow_tags", "phases_completed", "error_log", "agent_insights", "phase_transitions", "phases"),
    dict: ("flow_configuration", "flow_state", "phase_results", "performance_metrics", "flow_metadata", "next_action"),
}


@pytest.mark.parametrize("stage", flows())
def test_a_row_has_the_same_shape_wherever_the_flow_stands(stage: str) -> None:
    shown: dict[str, Any] = row(flows()[stage], TYPES)
    assert tuple(shown) == COLUMNS
    wrong = [name for shape, names in SHAPES.items() for name in names if not isinstance(shown[name], shape)]
    assert not wrong
    json.loads(msgspec.json.encode(shown))


@pytest.mark.parametrize(
    ("stage", "status"),
    [("between", "success"), ("asking", "paused"), ("failed", "failed"), ("retrying", "failed")],
)
def test_a_phase_result_says_how_it_went(stage: str, status: str) -> None:
    result = row(flows()[stage], TYPES)["phase_results"]["first"]
    assert set(result) == {
        *("flow_id", "phase_name", "status", "outputs", "validation_results", "execution_time_ms"),
        *("agent_insights", "next_phase", "errors"),
    }
    assert result["status"] == status
    assert [error["code"] for error in result["errors"]] == (["io_failed"] if status == "failed" else [])


def test_a_phase_that_has_not_ended_has_no_result() -> None:
    assert row(flows()["created"], TYPES)["phase_results"] == {}
    assert row(flows()["running"], TYPES)["phase_results"] == {}


def test_the_row_tells_what_is_asked_for() -> None:
    asked = row(flows()["asking"], TYPES)["input_request"]
    assert (asked["phase_name"], asked["fields"], asked["message"]) == ("first", ("answer",), "please")
    assert asked["suggestions"]["mapping_suggestions"] == [{"source_field": "VM"}]
    assert row(flows()["running"], TYPES)["input_request"] is None


def test_the_row_tells_of_a_pause_and_of_an_end() -> None:
    draining = row(flows()["draining"], TYPES)
    assert (draining["flow_status"], draining["draining"]) == ("paused", True)
    assert draining["flow_metadata"]["paused"]["by"] == "maria"
    deleted = row(flows()["deleted"], TYPES)["deletion_metadata"]
    assert deleted == {"reason": "made by mistake", "deleted_by": "maria", "deleted_at": meta().at.isoformat()}
    assert row(flows()["failed"], TYPES)["flow_metadata"]["error"]["code"] == "io_failed"


def test_the_row_says_only_what_the_flow_takes() -> None:
    assert row(flows()["draining"], TYPES)["flow_metadata"]["allowed"] == ["resume", "cancel", "delete"]
    assert row(flows()["deleted"], TYPES)["flow_metadata"]["allowed"] == []
