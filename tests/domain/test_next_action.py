"""What a flow needs next, and what it takes."""

from __future__ import annotations

from msgspec.structs import replace

from domain.commands import CreateFlow
from domain.deciding.following import next_action
from domain.deciding.story import allowed
from domain.flow import Flow
from domain.words import Status
from tests.examples import CANCEL, CREATE, CREATED, DELETED, EXECUTE, EXECUTE_SECOND, FLOW_ID, PAUSE, RESUME
from tests.spec import TYPES, Given, after, ask, complete, fail, flow_of


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
    assert allowed(Flow(id=FLOW_ID), TYPES) == []
    assert allowed(flow_of(CREATED, DELETED), TYPES) == []
    running = after(CREATE, EXECUTE)
    asking = running.when(ask(running.flow, "answer")).flow
    assert allowed(asking, TYPES) == ["execute", "input", "pause", "iterate", "cancel", "delete"]


def test_what_is_allowed_follows_the_type_and_the_phase() -> None:
    steady = CreateFlow(flow_id=FLOW_ID, flow_type="steady", flow_name="S")
    assert allowed(after(steady).flow, TYPES) == ["execute", "cancel", "delete"]
    patient = CreateFlow(flow_id=FLOW_ID, flow_type="patient", flow_name="P")
    assert allowed(after(patient).flow, TYPES) == ["execute", "pause", "cancel", "delete"]
    assert allowed(after(patient, EXECUTE).flow, TYPES) == ["cancel", "delete"]


def test_an_answer_is_taken_during_a_pause() -> None:
    running = after(CREATE, EXECUTE)
    asking = Given(running.when(ask(running.flow, "answer")).flow)
    assert allowed(asking.when(PAUSE).flow, TYPES) == ["resume", "input", "cancel", "delete"]
    assert allowed(after(CREATE, PAUSE, RESUME).flow, TYPES) == ["execute", "pause", "cancel", "delete"]


def test_the_next_action_names_what_is_wanted_and_how_long_it_takes() -> None:
    running = after(CREATE, EXECUTE)
    assert next_action(running.flow, TYPES) == {
        "type": "wait",
        "phase": "first",
        "required_inputs": [],
        "message": "Processing First",
        "estimated_duration_seconds": 5.0,
        "until": None,
    }
    asking = next_action(running.when(ask(running.flow, "answer")).flow, TYPES)
    assert (asking["required_inputs"], asking["message"]) == (["answer"], "please")
    retrying = next_action(running.when(fail(running.flow)).flow, TYPES)
    assert (retrying["message"], retrying["estimated_duration_seconds"]) == ("First will be tried again", 1.0)
    assert retrying["until"] == "2026-11-20T12:00:01+00:00"
