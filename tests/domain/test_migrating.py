"""A flow under way goes on by another version of its type, and back."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from domain.commands import CreateFlow, CreateOptions, ExecutePhase, HandBackRun, MigrateFlow
from domain.decide import decide
from domain.deciding.story import allowed
from domain.errors import (
    FlowIsOver,
    NothingToUndo,
    NotMigratable,
    PhaseRunning,
    RunNotCurrent,
    TypeVersionUnknown,
)
from domain.events import FlowCompleted, FlowMigrated, HookStarted, PhaseStarted, PlannedPhase
from domain.flow import Flow, progress
from domain.migration import obstacles, wrong_names
from domain.view import row
from domain.words import PhaseStatus, Status
from tests.examples import CANCEL, FLOW_ID, PAUSE, RESUME
from tests.moving import OLD, VERSIONS, phase, version
from tests.spec import TYPES, Given, Then, after, ask, complete, fail, fire, meta, raises

CREATE = CreateFlow(
    flow_id=FLOW_ID, flow_type="moving", flow_name="M", initial_data={"rules": 1}, options=CreateOptions(max_retries=1)
)
AUTO = CREATE.model_copy(update={"options": CreateOptions(auto_execute=True)})
EXECUTE = ExecutePhase(flow_id=FLOW_ID)


def to(number: str | None, mapping: dict[str, str | None] | None = None, **given: Any) -> MigrateFlow:
    return MigrateFlow(flow_id=FLOW_ID, to_version=number, phase_mapping=mapping or {}, **given)


BACK = MigrateFlow(flow_id=FLOW_ID, back=True)
TIDY = CREATE.model_copy(update={"flow_type": "tidy", "initial_data": {}})


def flow(*steps: Any, create: CreateFlow = CREATE) -> Given:
    """A flow that all this happened to: commands, or functions that make one of the flow."""
    now = Flow(id=FLOW_ID)
    for step in (create, *steps):
        now = decide(now, step(now) if callable(step) else step, meta(), TYPES).flow
    return Given(now)


def done(now: Flow) -> Any:
    return complete(now, text="fetched")


def lost(now: Flow) -> Any:
    return fail(now, retryable=False, kind="permanent")


def asks(now: Flow) -> Any:
    return ask(now, "depth")


FETCHED = (EXECUTE, done)


def hindered(given: Given, number: str, mapping: dict[str, str | None] | None = None) -> list[tuple[str, str | None]]:
    """What stands in the way, which is what the command is refused with."""
    found = obstacles(given.flow, OLD, VERSIONS[number], mapping)
    answer = given.when(to(number, mapping))
    if found:
        error = answer.then_refused(NotMigratable)
        assert [one.message for one in error.errors] == [one.message for one in found]
    return [(one.code, one.phase) for one in found]


def phases(answer: Then | Given) -> dict[str, str]:
    return {one.name: str(one.status) for one in answer.flow.phases}


def test_a_flow_between_phases_goes_on_by_the_new_version() -> None:
    answer = flow(*FETCHED).when(to("longer", reason="we keep it"))
    answer.then(FlowMigrated)
    fact = answer.facts[0]
    assert isinstance(fact, FlowMigrated)
    assert (fact.from_version, fact.to_version, fact.reason, fact.back) == ("1", "longer", "we keep it", False)
    assert fact.mapping == {"fetch": "fetch", "clean": "clean", "report": "report"}
    assert (answer.flow.flow_version, answer.flow.status) == ("longer", Status.WAITING_FOR_INPUT)
    assert phases(answer) == {"fetch": "completed", "clean": "pending", "report": "pending", "archive": "pending"}
    answer.flow.phase("fetch")
    seen = row(answer.flow, TYPES)
    assert (seen["flow_version"], [one["name"] for one in seen["phases"]]) == ("longer", list(phases(answer)))
    assert seen["flow_metadata"]["migrations"] == [
        {
            "from_version": "1",
            "to_version": "longer",
            "at": "2026-11-20T12:00:00+00:00",
            "by": "maria",
            "reason": "we keep it",
        }
    ]
    Given(answer.flow).when(EXECUTE).then(PhaseStarted)


def test_what_is_done_already_is_silence() -> None:
    flow().when(to("1")).then_nothing()
    moved = Given(flow().when(to("longer")).flow)
    moved.when(to("longer")).then_nothing()
    # without a version: the one that new flows get
    assert moved.when(to(None)).flow.flow_version == "1"


def test_progress_never_falls() -> None:
    for number in ("longer", "heavier", "between"):
        given = flow(*FETCHED)
        moved = given.when(to(number)).flow
        assert progress(moved) == progress(given.flow) == 33.3
        before = progress(moved)
        while moved.next_phase is not None:
            moved = flow_after(moved)
            assert progress(moved) >= before
            before = progress(moved)
    # nothing done, nothing to hold
    assert flow().when(to("heavier")).flow.phase("clean").weight == 9.0


def flow_after(now: Flow) -> Flow:
    begun = decide(now, EXECUTE, meta(), TYPES).flow
    return decide(begun, done(begun), meta(), TYPES).flow


def test_a_renamed_phase_needs_its_new_name() -> None:
    given = flow(*FETCHED)
    assert hindered(given, "renamed") == [("phase_missing", "fetch"), ("progress_falls", None)]
    moved = given.when(to("renamed", {"fetch": "load"})).flow
    assert (moved.phase("load").outputs, moved.next_phase and moved.next_phase.name) == ({"text": "fetched"}, "clean")
    # its state names a phase that is called otherwise now
    assert moved.checkpoints == ()
    assert given.when(to("aliased")).flow.phase("load").status is PhaseStatus.COMPLETED
    # one that is not begun is just not done any more
    assert hindered(flow(), "renamed") == []
    assert list(phases(flow().when(to("shorter")))) == ["fetch", "report"]


def test_a_mapping_with_wrong_names_is_refused_by_name() -> None:
    given = flow()
    wrong = {"fetched": "load", "fetch": "lode", "clean": "report", "report": "report"}
    assert [error.field for error in wrong_names(given.flow, VERSIONS["renamed"], wrong)] == [
        f"phase_mapping.{name}" for name in ("fetched", "fetch", "clean", "report")
    ]
    refused = given.when(to("renamed", dict(wrong))).then_refused(NotMigratable)
    assert len(refused.errors) == 4
    with raises(ValueError, "leave phase_mapping out"):
        to(None, {"fetch": "load"}, back=True)


def test_a_version_that_nobody_brought_is_refused_with_those_there_are() -> None:
    error = flow().when(to("9")).then_refused(TypeVersionUnknown)
    assert error.allowed == (*VERSIONS, "1")


def test_a_phase_in_hand_must_be_in_both() -> None:
    third = (*FETCHED, EXECUTE)
    for steps in ((asks,), (fail,), (PAUSE, lambda now: HandBackRun(flow_id=FLOW_ID, run_id=now.run.run_id, token=1))):
        given = flow(*third, *steps)
        assert hindered(given, "shorter", {"clean": None}) == [("phase_vanished", "clean")]
        # where it goes on under another name, so does all that hangs on it
        moved = given.when(to("between", {"clean": "check"})).flow
        parts = [part.phase_name for part in (moved.waiting, moved.retry) if part is not None]
        assert parts in ([], ["check"])
        assert moved.next_phase is not None
        assert moved.next_phase.name == "check"
    waiting = flow(*third, asks, to("between", {"clean": "check"}))
    assert row(waiting.flow, TYPES)["input_request"]["phase_name"] == "check"
    retrying = flow(*third, fail, to("between", {"clean": "check"}))
    again = retrying.when(fire(retrying.flow, "retry"), asked=meta(seconds=60)).then(PhaseStarted).facts[0]
    assert isinstance(again, PhaseStarted)
    assert (again.phase_name, again.attempt) == ("check", 2)


def test_what_the_flow_has_been_at_must_not_come_after_what_it_has_not() -> None:
    assert hindered(flow(*FETCHED), "turned") == [("phase_out_of_order", "clean")]
    assert hindered(flow(EXECUTE, asks), "headed") == [("phase_out_of_order", "check")]
    assert hindered(flow(*FETCHED), "between") == []
    assert hindered(flow(), "headed") == []
    # it has failed, and is begun again after what is new
    failed = flow(EXECUTE, lost)
    assert hindered(failed, "headed") == []
    started = Given(failed.when(to("headed")).flow).when(EXECUTE).facts[0]
    assert isinstance(started, PhaseStarted)
    assert started.phase_name == "check"


def test_new_requirements_must_be_known_from_somewhere() -> None:
    assert hindered(flow(*FETCHED), "wanting") == [("inputs_missing", "clean")]
    given = CREATE.model_copy(update={"initial_data": {"rules": 1, "depth": 2}})
    assert hindered(flow(*FETCHED, create=given), "wanting") == []
    assert hindered(flow(EXECUTE, lambda now: complete(now, depth=3)), "wanting") == []
    # a phase to come announces it, or asks for it itself
    assert hindered(flow(), "announced") == []
    assert hindered(flow(*FETCHED), "asking") == []


def test_what_a_phase_has_brought_must_fit_its_new_schema() -> None:
    assert hindered(flow(*FETCHED), "strict") == []
    given = flow(EXECUTE, lambda now: complete(now, text=3))
    assert hindered(given, "strict") == [("outputs_invalid", "fetch")]
    # what lies elsewhere cannot be looked at here
    for elsewhere in ({"$artifact": "ab", "size_bytes": 3}, {"$sealed": {"data": "ab"}}):
        assert hindered(flow(EXECUTE, lambda now, text=elsewhere: complete(now, text=text)), "strict") == []
    same = replace(VERSIONS["strict"], version="same")
    assert obstacles(given.flow, VERSIONS["strict"], same) == []


@pytest.mark.parametrize(
    ("schema", "outputs", "wrong"),
    [
        ({"required": ["rows"]}, {}, "outputs.rows is required"),
        ({"properties": {"rows": {"minimum": 1}}}, {"rows": 0}, "outputs.rows must be at least 1"),
        ({"properties": {}, "additionalProperties": False}, {"secret": 1}, "is not known to the schema"),
        ({"type": "nothing"}, {}, "its schema cannot be used"),
        ({"$ref": "https://example.com/elsewhere"}, {}, "its schema cannot be used"),
        ({"properties": {"kept": {"maxProperties": 1}}}, {"kept": {"a": [{"$sealed": {}}], "b": 2}}, None),
        ({"properties": {"kept": {"maxProperties": 1}}}, {"kept": {"a": [1], "b": 2}}, "must have at most 1 members"),
        ({"properties": {"rows": {"properties": {"$artifact": {"type": "null"}}}}}, {"rows": {"$artifact": "a"}}, None),
    ],
    ids=str,
)
def test_every_kind_of_misfit_is_told_without_the_value(schema: Any, outputs: Any, wrong: str | None) -> None:
    given = flow(EXECUTE, lambda now: complete(now, **outputs))
    new = version("schema", phase("fetch", output_schema=schema), "clean", "report")
    found = obstacles(given.flow, OLD, new)
    if wrong is None:
        assert found == []
        return
    assert [one.code for one in found] == ["outputs_invalid"]
    assert wrong in found[0].message


def test_a_paused_flow_goes_to_no_version_that_cannot_be_paused() -> None:
    assert hindered(flow(PAUSE), "restless") == [("capability_dropped", None)]
    assert hindered(flow(), "restless") == []


def test_a_failed_flow_must_have_something_left_to_do() -> None:
    failed = flow(*FETCHED, EXECUTE, lost)
    assert hindered(failed, "last") == [("phase_missing", "clean"), ("nothing_left", None)]
    assert hindered(failed, "last", {"clean": None}) == [("nothing_left", None)]
    assert hindered(failed, "wound up", {"clean": None}) == []
    # without the phase that failed it goes on
    moved = Given(failed.when(to("shorter", {"clean": None})).flow)
    assert moved.flow.status is Status.FAILED
    started = moved.when(EXECUTE).facts[0]
    assert isinstance(started, PhaseStarted)
    assert started.phase_name == "report"


def test_a_flow_with_nothing_left_to_do_ends() -> None:
    given = flow(*FETCHED)
    given.when(to("last")).then(FlowMigrated, FlowCompleted)
    given.when(to("wound up")).then(FlowMigrated, HookStarted)
    paused = flow(*FETCHED, PAUSE)
    paused.when(to("last")).then(FlowMigrated)
    assert flow(*FETCHED, PAUSE, to("last"), RESUME).flow.status is Status.COMPLETED


def test_a_run_under_way_is_waited_for_or_begun_anew() -> None:
    running = flow(*FETCHED, EXECUTE)
    assert obstacles(running.flow, OLD, VERSIONS["longer"]) == []
    running.when(to("longer")).then_refused(PhaseRunning)
    anew = running.when(to("between", {"clean": "check"}, restart_run=True)).then(FlowMigrated, PhaseStarted)
    started = anew.facts[1]
    assert isinstance(started, PhaseStarted)
    assert (started.phase_name, started.attempt) == ("check", 1)
    assert running.flow.run is not None
    assert started.run_id != running.flow.run.run_id
    # the one that was at it is told that nobody waits for it
    Given(anew.flow).when(complete(running.flow)).then_refused(RunNotCurrent)
    # while the flow is paused nothing is begun; resuming does
    draining = flow(*FETCHED, EXECUTE, PAUSE)
    moved = draining.when(to("longer", restart_run=True))
    assert FlowMigrated in [type(fact) for fact in moved.facts]
    assert (moved.flow.status, moved.flow.run) == (Status.PAUSED, None)
    resumed = Given(moved.flow).when(RESUME).facts
    assert isinstance(resumed[1], PhaseStarted)
    assert (resumed[1].phase_name, resumed[1].attempt) == ("clean", 1)


def test_hooks_are_waited_for() -> None:
    hooks = flow(*FETCHED, to("wound up"))
    hooks.when(to("longer", restart_run=True)).then_refused(PhaseRunning)


def test_a_flow_that_is_over_stays_as_it_was() -> None:
    flow(CANCEL).when(to("longer")).then_refused(FlowIsOver)


def test_back_is_the_mapping_the_other_way_round() -> None:
    given = flow(*FETCHED)
    there = Given(given.when(to("renamed", {"fetch": "load", "clean": None})).flow)
    assert list(phases(there)) == ["load", "clean", "report"]
    back = there.when(BACK).then(FlowMigrated)
    fact = back.facts[0]
    assert isinstance(fact, FlowMigrated)
    assert (fact.to_version, fact.back, fact.restored) == ("1", True, ("clean",))
    assert fact.phases == tuple(PlannedPhase(one.name, 1.0) for one in OLD.phases)
    assert (back.flow.phases, back.flow.moves) == (given.flow.phases, ())
    Given(back.flow).when(BACK).then_refused(NothingToUndo)
    there.when(to("longer", back=True)).then_refused(NothingToUndo, allowed=["1"])


def test_what_was_left_behind_comes_back_as_it_was() -> None:
    given = flow(*FETCHED, *FETCHED)
    there = Given(given.when(to("shorter", {"clean": None})).flow)
    assert list(phases(there)) == ["fetch", "report"]
    assert progress(there.flow) == progress(given.flow)
    back = there.when(BACK).flow
    assert [(one.name, one.status, one.outputs) for one in back.phases] == [
        (one.name, one.status, one.outputs) for one in given.flow.phases
    ]


def test_what_the_new_version_brought_is_left_behind_by_going_back() -> None:
    there = flow(*FETCHED, to("between"), *FETCHED)
    assert phases(there)["check"] == "completed"
    back = there.when(BACK).flow
    assert list(phases(Given(back))) == ["fetch", "clean", "report"]
    assert progress(back) == progress(there.flow)
    asking = flow(*FETCHED, to("between"), EXECUTE, asks)
    refused = asking.when(BACK).then_refused(NotMigratable)
    assert [error.field for error in refused.errors] == ["phases.check"]


@pytest.mark.parametrize("number", sorted(VERSIONS))
@pytest.mark.parametrize("create", [CREATE, AUTO], ids=["by the word", "by itself"])
def test_a_flow_that_was_moved_can_always_be_read_and_goes_on_to_its_end(number: str, create: CreateFlow) -> None:
    now = flow(create=create) if create is CREATE else flow(asks, create=create)
    answer = Given(now.flow).when(to(number, {one.name: None for one in OLD.phases if number == "new"}))
    if answer.error is not None:
        assert isinstance(answer.error, NotMigratable)
        return
    moved = answer.flow
    for _ in range(20):
        assert row(moved, TYPES)["flow_version"] == number
        if moved.status is Status.COMPLETED:
            return
        given = ExecutePhase(flow_id=FLOW_ID, inputs={"depth": 1})
        moved = decide(moved, complete(moved, text="x") if moved.run else given, meta(), TYPES).flow
    raise AssertionError(moved.status)


def test_what_may_be_asked_names_the_move_where_there_is_another_version() -> None:
    assert "migrate" in allowed(flow(*FETCHED).flow, TYPES)
    assert "migrate" in allowed(flow(EXECUTE).flow, TYPES)
    assert "migrate" not in allowed(flow(CANCEL).flow, TYPES)
    assert "migrate" not in allowed(after(TIDY).flow, TYPES)
