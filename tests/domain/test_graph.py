"""Branches: which phases a flow goes through, and which graphs of phases a registry takes."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from domain.commands import CreateFlow, CreateOptions
from domain.deciding.following import next_action
from domain.errors import PhaseOutOfOrder, RegistrationError
from domain.events import (
    CheckpointCreated,
    FlowCompleted,
    FlowDrained,
    PhaseCompleted,
    PhaseSkipped,
    PhaseStarted,
)
from domain.flow_types import FlowCapabilities, FlowTypeConfig, FlowTypes, Hooks
from domain.graph import holds
from domain.words import Status
from tests.examples import BRANCHING, EXECUTE, FLOW_ID, FORKED, PAUSE, RESUME, TWINS
from tests.spec import TYPES, Given, after, complete, given, raises

CREATE = CreateFlow(
    flow_id=FLOW_ID,
    flow_type="branching",
    flow_name="x",
    options=CreateOptions(auto_execute=True, save_checkpoints=False),
)
BY_HAND = CREATE.model_copy(update={"options": CreateOptions(save_checkpoints=False)})


def gone_through(rows: int) -> list[str]:
    """The phases that a flow goes through where it finds so many rows."""
    flow = after(CREATE).flow
    phases = []
    while flow.status is not Status.COMPLETED:
        assert flow.run is not None
        phases.append(flow.run.phase_name)
        flow = Given(flow).when(complete(flow, found={"rows": rows})).flow
    return phases


@pytest.mark.parametrize(
    ("rows", "phases"),
    [
        (3, ["look", "short", "sum_up"]),
        (7, ["look", "long", "longer", "short", "sum_up"]),
        (12, ["look", "long", "longer", "sum_up"]),
    ],
)
def test_a_flow_goes_the_ways_whose_conditions_hold_and_joins_them(rows: int, phases: list[str]) -> None:
    assert gone_through(rows) == phases


def test_what_is_left_out_says_why_and_so_does_what_follows_it_alone() -> None:
    looked = after(CREATE).flow
    then = Given(looked).when(complete(looked, found={"rows": 3}))
    then.then(
        PhaseCompleted,
        PhaseSkipped(phase_name="long", reason="the condition does not hold: look.found.rows gt 5", not_taken=True),
        PhaseSkipped(
            phase_name="longer", reason="none of the phases that it follows was gone through: long", not_taken=True
        ),
        PhaseStarted,
    )


def test_where_no_way_is_left_the_flow_is_complete() -> None:
    looked = after(CREATE).flow
    then = Given(looked).when(complete(looked))
    then.then(PhaseCompleted, *[PhaseSkipped] * 4, FlowCompleted)


def test_a_phase_that_somebody_left_out_does_not_take_its_branch_along() -> None:
    created = given().when(BY_HAND).facts
    flow = given(*created, *(PhaseSkipped(phase_name=name) for name in ("look", "long"))).flow
    assert Given(flow).when(EXECUTE).then(PhaseStarted).flow.current_phase == "longer"


def test_by_hand_the_next_phase_is_one_that_is_gone_through() -> None:
    flow = after(BY_HAND, EXECUTE).flow
    then = Given(flow).when(complete(flow, found={"rows": 3})).then(PhaseCompleted, PhaseSkipped, PhaseSkipped)
    assert next_action(then.flow, TYPES)["phase"] == "short"
    Given(then.flow).when(EXECUTE.model_copy(update={"phase_name": "long"})).then_refused(PhaseOutOfOrder)


def test_a_flow_that_was_paused_meanwhile_looks_when_it_goes_on() -> None:
    running = after(CREATE, PAUSE).flow
    then = Given(running).when(complete(running, found={"rows": 3})).then(PhaseCompleted, FlowDrained)
    resumed = Given(then.flow).when(RESUME)
    assert [type(fact) for fact in resumed.facts[1:]] == [PhaseSkipped, PhaseSkipped, PhaseStarted]
    by_hand = after(BY_HAND, EXECUTE, PAUSE).flow
    ended = Given(by_hand).when(complete(by_hand)).then(PhaseCompleted, FlowDrained)
    going = Given(ended.flow).when(RESUME)
    Given(going.flow).when(EXECUTE).then(*[PhaseSkipped] * 4, FlowCompleted)


@pytest.mark.parametrize(
    ("op", "value", "found", "expected"),
    [
        ("eq", 1, 1, True),
        ("eq", 1, True, False),
        ("eq", "a", "b", False),
        ("ne", 1, 2, True),
        ("ne", 1, 1.0, False),
        ("gt", 1, 2, True),
        ("gt", 1, 1, False),
        ("gt", "a", "b", True),
        ("gt", 1, "b", False),
        ("gt", 0, True, False),
        ("lt", 1, 0.5, True),
        ("lt", "b", 1, False),
        ("in", ["a", "b"], "b", True),
        ("in", ["a", 1], True, False),
    ],
)
def test_conditions_compare_json_values(op: str, value: Any, found: Any, expected: bool) -> None:
    condition = {"phase": "look", "output": "a.b", "op": op, "value": value}
    assert holds({"a": {"b": found}}, condition) is expected


def test_what_is_not_there_is_equal_to_nothing() -> None:
    condition = {"phase": "look", "output": "a.b", "value": None}
    for outputs in ({}, {"a": 1}, {"a": {"c": 1}}):
        assert [holds(outputs, {**condition, "op": op, "value": [None]}) for op in ("eq", "gt", "lt", "in")] == [
            False
        ] * 4
        assert holds(outputs, {**condition, "op": "ne"})
    exists = {"phase": "look", "output": "a.b", "op": "exists"}
    assert holds({"a": {"b": None}}, exists)
    assert not holds({}, exists)
    assert holds({}, {**exists, "value": False})


LOOK, LONG, LONGER, SHORT, SUM_UP = BRANCHING.phases
ROWS = LONG.when[0]


def registered(config: FlowTypeConfig) -> None:
    FlowTypes().register(config, handlers={"work", *config.handlers}, validators=())


def with_phases(*phases: Any) -> FlowTypeConfig:
    return replace(BRANCHING, phases=phases)


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        (replace(BRANCHING, capabilities=FlowCapabilities()), "say supports_branching"),
        (replace(BRANCHING, capabilities=FlowCapabilities(parallel_phases=True)), "say supports_branching"),
        (replace(TWINS, hooks=Hooks(start=("work",))), "one first phase that cannot be skipped, not colour, depth"),
        (
            replace(FORKED, phases=(replace(FORKED.phases[0], can_skip=True), *FORKED.phases[1:])),
            "one first phase that cannot be skipped, not prepare",
        ),
        (with_phases(LOOK, replace(LONG, follows=("magic",))), "'long' follows the unknown phase magic"),
        (
            with_phases(LOOK, replace(LONG, follows=("longer",), when=()), LONGER),
            "a circle of phases: long -> longer -> long",
        ),
        (with_phases(LOOK, replace(LONG, follows=("long",))), "a circle of phases: long -> long"),
        (
            with_phases(replace(LOOK, follows=("short",)), replace(SHORT, follows=(), when=())),
            "'look' follows 'short'; list it after that one",
        ),
        (with_phases(LOOK, replace(LONG, when=({**ROWS, "phase": "long"},))), "which it does not come after"),
        (with_phases(LOOK, replace(LONG, when=({**ROWS, "phase": "magic"},))), "which it does not come after"),
        (with_phases(LOOK, replace(LONG, when=({**ROWS, "op": "like"},))), "a condition is {phase, output, op, value}"),
        (with_phases(LOOK, replace(LONG, when=({"phase": "look"},))), "a condition is {phase, output, op, value}"),
        (with_phases(LOOK, replace(LONG, when=({**ROWS, "output": 7},))), "a condition is {phase, output, op, value}"),
        (with_phases(LOOK, replace(LONG, when=({**ROWS, "op": "in"},))), "has no value that in can take"),
        (with_phases(LOOK, replace(LONG, when=({**ROWS, "op": "exists"},))), "has no value that exists can take"),
        (
            with_phases(LOOK, replace(LONG, when=({name: ROWS[name] for name in ("phase", "output", "op")},))),
            "has no value that gt can take",
        ),
    ],
)
def test_a_graph_that_could_not_be_gone_through_is_refused(config: FlowTypeConfig, sentence: str) -> None:
    with raises(RegistrationError, sentence.replace("{", r"\{").replace("}", r"\}")):
        registered(config)


def test_a_graph_may_have_several_beginnings_and_ways() -> None:
    registered(with_phases(LOOK, replace(SHORT, follows=(), when=()), replace(SUM_UP, follows=("look", "short"))))
    far = replace(SUM_UP, when=({**ROWS, "op": "exists"} | {"value": True},))
    registered(with_phases(LOOK, LONG, LONGER, SHORT, far))
    # what says nothing follows what is listed before it
    registered(with_phases(LOOK, replace(LONG, follows=None)))


def test_checkpoints_come_before_what_is_left_out() -> None:
    looked = after(CREATE.model_copy(update={"options": CreateOptions(auto_execute=True)})).flow
    then = Given(looked).when(complete(looked, found={"rows": 12}))
    then.then(PhaseCompleted, CheckpointCreated, PhaseStarted)
