"""A flow taken over as it stood elsewhere, and one whose belongings are set right."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from msgspec.structs import replace

from domain.commands import (
    DeleteFlow,
    ExecutePhase,
    ImportFlow,
    MigrateFlow,
    RepairFlow,
    ResumeFlow,
    RetryFlow,
    RollbackFlow,
    StartIteration,
)
from domain.deciding.following import next_action
from domain.deciding.story import allowed
from domain.errors import FlowExists, FlowNotFound, NotSupported
from domain.events import (
    FlowDeleted,
    FlowImported,
    FlowMigrated,
    FlowRepaired,
    FlowResumed,
    FlowRolledBack,
    IterationStarted,
    Origin,
    PhaseStarted,
)
from domain.flow import rounds_of
from domain.flow_types import FlowTypes, placeholder
from domain.view import row
from domain.words import PhaseStatus, Status
from tests.examples import COMPLETED, CREATED, DELETED, FLOW_ID, IMPORTED, REPAIRED, STARTED
from tests.spec import TYPES, Given, flow_of, given, meta

UNKNOWN = placeholder("collection", ("gather", "sift"))


def take(fact: FlowImported = IMPORTED, *, again: bool = False) -> ImportFlow:
    told: dict[str, Any] = msgspec.to_builtins(fact)
    return ImportFlow(flow_id=FLOW_ID, told=told, again=again)


def nobodys(status: str = "waiting_for_input", **fields: Any) -> FlowImported:
    """A flow of a type that nobody runs here."""
    TYPES.remember(UNKNOWN)
    phases = tuple(replace(IMPORTED.phases[1], name=name) for name in ("gather", "sift"))
    known = replace(IMPORTED, flow_type="collection", flow_version=UNKNOWN.version, phases=phases, status=status)
    return replace(known, **fields)


def test_a_flow_begins_where_it_stood_and_can_go_back_there() -> None:
    flow = given().when(take()).then(FlowImported).flow
    assert (flow.status, flow.current_phase, flow.version) == (Status.WAITING_FOR_INPUT, "second", 1)
    assert (flow.created_by, flow.created_at) == ("ann", datetime(2025, 7, 1, 9, 0, tzinfo=UTC))
    assert flow.phase("first").outputs == {"rows": 3}
    assert [(point.phase_name, point.done) for point in flow.checkpoints] == [("first", {"first"})]
    assert flow.imported is not None
    assert (flow.imported.by, flow.imported.origin.table) == ("maria", "crewai_flow_state_extensions")


def test_its_row_is_the_one_it_had() -> None:
    shown = row(flow_of(IMPORTED), TYPES)
    assert (shown["user_id"], shown["updated_by"], shown["retry_count"]) == ("ann", "boris", 2)
    assert (shown["created_at"], shown["updated_at"]) == (IMPORTED.created_at, IMPORTED.updated_at)
    assert (shown["phases_completed"], shown["progress_percentage"]) == (["first"], 25.0)
    assert shown["phase_execution_times"]["first"]["execution_time_ms"] == 1500
    assert shown["learning_patterns"] == [{"type": "field_mapping"}]
    assert (shown["flow_description"], shown["flow_tags"]) == ("From before", ["old"])
    assert shown["error_log"] == [{"code": "io_failed", "message": "the wire was cut"}]
    assert len(shown["child_flow_ids"]) == 1
    origin = shown["flow_metadata"]["imported"]
    assert (origin["origin"]["import_id"], origin["former"]) == ("import-1", {"flow_status": "active"})


def test_it_goes_on_with_its_next_phase() -> None:
    given(IMPORTED).when(ExecutePhase(flow_id=FLOW_ID, inputs={"answer": 42})).then(PhaseStarted)
    assert "execute" in allowed(flow_of(IMPORTED), TYPES)


def test_a_flow_whose_phases_run_at_the_same_time_goes_on_with_all_its_branches() -> None:
    statuses = {
        "prepare": "completed",
        "left": "completed",
        "left_too": "completed",
        "right": "failed",
        "far": "skipped",
    }
    names = [phase.name for phase in TYPES.get("forked").phases]
    phases = tuple(replace(IMPORTED.phases[1], name=name, status=statuses.get(name, "pending")) for name in names)
    told = replace(IMPORTED, flow_type="forked", flow_version="1.0.0", phases=phases, status="failed")
    flow = given().when(take(told)).flow
    assert (flow.current_phase, [phase.name for phase in flow.ready]) == ("right", ["right"])
    only_prepared = replace(told, phases=(phases[0], *(replace(phase, status="pending") for phase in phases[1:])))
    fork = given().when(take(replace(only_prepared, status="waiting_for_input"))).flow
    assert [phase.name for phase in fork.ready] == ["left", "right", "far"]
    assert list(Given(fork).when(ExecutePhase(flow_id=FLOW_ID)).flow.lanes) == ["left", "right"]


def test_a_flow_that_has_done_nothing_has_nothing_to_go_back_to() -> None:
    pending = tuple(replace(phase, status="pending") for phase in IMPORTED.phases)
    fresh = replace(IMPORTED, phases=pending, checkpoint_id=None, state_sha256="")
    assert given().when(take(fresh)).then(fresh).flow.checkpoints == ()


@pytest.mark.parametrize(
    ("status", "verbs"),
    [
        ("initialized", {"execute", "pause"}),
        ("paused", {"resume"}),
        ("failed", {"execute", "retry"}),
        ("cancelled", {"delete"}),
        ("completed", {"delete"}),
    ],
)
def test_it_takes_what_a_flow_in_its_status_takes(status: str, verbs: set[str]) -> None:
    flow = flow_of(replace(IMPORTED, status=status))
    assert flow.status == status
    assert verbs <= set(allowed(flow, TYPES))


def test_a_paused_one_is_resumed() -> None:
    flow = given(replace(IMPORTED, status="paused")).when(ResumeFlow(flow_id=FLOW_ID)).then(FlowResumed).flow
    assert flow.status is Status.WAITING_FOR_INPUT


def test_the_same_again_is_silence() -> None:
    given(IMPORTED).when(take()).then_nothing()
    given(IMPORTED, DELETED).when(take()).then_nothing()


def test_another_state_of_it_is_not_written_over_the_history() -> None:
    other = replace(IMPORTED, flow_name="Newer", origin=replace(IMPORTED.origin, sha256="cd" * 32))
    given(IMPORTED).when(take(other)).then_refused(FlowExists)
    given(IMPORTED, DELETED).when(take(other)).then_refused(FlowExists)
    given(IMPORTED).when(take(other, again=True)).then_refused(FlowExists)
    given(CREATED).when(take()).then_refused(FlowExists)
    given(CREATED, DELETED).when(take(again=True)).then_refused(FlowExists)


def test_an_import_that_was_undone_can_be_done_again() -> None:
    flow = given(IMPORTED, FlowDeleted(reason="wrong table")).when(take(again=True)).flow
    assert (flow.status, flow.version, flow.deletion) == (Status.WAITING_FOR_INPUT, 3, None)


def test_another_tenants_flow_is_not_taken() -> None:
    given(IMPORTED).when(take(), asked=meta(client=uuid4())).then_refused(FlowExists)


def test_it_can_be_deleted() -> None:
    given(IMPORTED).when(DeleteFlow(flow_id=FLOW_ID, reason="old")).then(FlowDeleted(reason="old"))


def test_it_goes_back_to_where_it_was_imported() -> None:
    config = TYPES.get("back")
    names = [phase.name for phase in config.phases]
    phases = (IMPORTED.phases[0], *(IMPORTED.phases[1] for _ in names[1:]))
    planned = tuple(replace(phase, name=name) for phase, name in zip(phases, names, strict=True))
    old = replace(IMPORTED, flow_type=config.name, flow_version=config.version, phases=planned)
    told = given().when(take(old)).facts[0]
    point = flow_of(told).checkpoints[-1]
    began, done = replace(STARTED, phase_name=names[1]), replace(COMPLETED, phase_name=names[1])
    back = RollbackFlow(flow_id=FLOW_ID, checkpoint_id=point.checkpoint_id, compensate=False)
    asked = given(told, began, done).when(back)
    assert isinstance(asked.facts[0], FlowRolledBack)
    assert (asked.flow.current_phase, asked.flow.phase(names[0]).status) == (names[1], PhaseStatus.COMPLETED)


def test_its_round_is_the_first_that_is_known() -> None:
    flow = flow_of(replace(IMPORTED, iteration_number=3))
    assert [each.number for each in rounds_of(flow)] == [3]
    again = given(replace(IMPORTED, iteration_number=3)).when(StartIteration(flow_id=FLOW_ID)).facts[0]
    assert isinstance(again, IterationStarted)
    assert again.number == 4


def test_a_type_that_nobody_runs_here_is_shown_and_not_executed() -> None:
    flow = flow_of(nobodys())
    assert (allowed(flow, TYPES), next_action(flow, TYPES)["type"]) == (["cancel", "delete"], "none")
    assert row(flow, TYPES)["flow_type"] == "collection"
    given(nobodys()).when(ExecutePhase(flow_id=FLOW_ID)).then_refused(NotSupported)
    given(nobodys("failed")).when(RetryFlow(flow_id=FLOW_ID)).then_refused(NotSupported)
    paused = flow_of(nobodys("paused"))
    assert next_action(paused, TYPES)["type"] == "resume"


def test_it_goes_on_once_it_is_moved_to_a_known_type() -> None:
    known = FlowTypes()
    known.remember(replace(UNKNOWN, version="2.0.0", metadata={}))
    TYPES.remember(replace(UNKNOWN, version="2.0.0", metadata={}))
    flow = given(nobodys()).when(MigrateFlow(flow_id=FLOW_ID, to_version="2.0.0")).then(FlowMigrated).flow
    assert "execute" in allowed(flow, TYPES)


def test_the_same_phases_make_the_same_placeholder() -> None:
    assert placeholder("collection", ["gather", "sift"]).version == UNKNOWN.version
    assert placeholder("collection", ["sift", "gather"]).version != UNKNOWN.version
    assert len(UNKNOWN.version) <= 20


def test_a_repair_is_told_in_the_history_and_changes_no_state() -> None:
    asked = RepairFlow(
        flow_id=FLOW_ID,
        kind="link_assets",
        method="context",
        confidence=0.7,
        items=3,
        reason="found by the night's check",
    )
    flow = given(IMPORTED).when(asked).then(REPAIRED).flow
    assert (flow.version, flow.status, flow.phase("first").status) == (
        2,
        Status.WAITING_FOR_INPUT,
        PhaseStatus.COMPLETED,
    )
    given().when(asked).then_refused(FlowNotFound)
    assert isinstance(REPAIRED, FlowRepaired)
    assert Origin(import_id="a", table="b", sha256="c").method == "import"
