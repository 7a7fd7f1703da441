"""Hooks through real child processes: what runs around the phases, once each, whatever is tried again or killed."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from msgspec.structs import replace

from consumers.context import Permanent
from consumers.phases.discovery import HANDLERS, VALIDATORS
from domain.commands import ExecutePhase, ProvideInput
from domain.errors import RegistrationError
from domain.events import HookFailed, PhaseFailed
from domain.flow import Flow
from domain.view import row
from estate.sample import write_sample
from eventstore.definitions import flow_types, modules
from tests.consumers.conftest import ended
from tests.consumers.test_keeper import Yard, quiet
from tests.consumers.yards import lines, yard_of
from tests.estate.support import Discovery
from tests.waiting import until

MODULE = "tests.consumers.hooked"
pytestmark = pytest.mark.asyncio(loop_scope="module")


yard = yard_of(MODULE)


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "ledger"


async def finished(yard: Yard, flow_type: str, ledger: Path, *statuses: str, **inputs: Any) -> Flow:
    return await yard.finish(flow_type, *statuses, within=60, ledger=str(ledger), **inputs)


async def test_hooks_run_around_the_phases_and_each_is_done_once(yard: Yard, ledger: Path) -> None:
    flow = await finished(yard, "around", ledger)
    assert lines(ledger) == [
        "first look",
        "first before:quiet",
        "first before:before",
        "first work",
        # it failed the first time; nothing before it was repeated
        "first after:after",
        "first after:after",
        "second before:quiet",
        "second work",
        "counted",
        # its process was killed here; its own step was not repeated
        "second end:sum_up",
        "second end:sum_up",
    ]
    first, second = (dict(phase.outputs) for phase in flow.phases)
    assert first["rows"] == 6
    assert first["looked_at"] == "nothing"
    assert first["before"] == ["idempotency", "key", "looked_at"]
    assert first["saw"] == ["before", "idempotency", "key", "looked_at"]
    assert second["summary"] == {"first": 6, "second": 3}
    # a hook and a handler never share a key
    assert first["key"] != first["own_key"]
    await quiet(yard)


async def test_what_hooks_did_is_kept_in_history(yard: Yard, ledger: Path) -> None:
    flow = await finished(yard, "around", ledger)
    facts = await yard.house.facts(flow.id)
    assert facts[-3:] == ["StepsCompleted", "HookCompleted", "FlowCompleted"]
    assert facts.count("HookStarted") == 2
    history = await yard.house.side.store.history(flow.id)
    [failure] = [recorded.fact for _, recorded in history if isinstance(recorded.fact, PhaseFailed)]
    assert (failure.error["hook"], failure.error["moment"], failure.error["code"]) == ("after", "after", "try_again")


async def test_hooks_are_done_again_only_for_other_inputs(yard: Yard, ledger: Path) -> None:
    flow_id = await yard.start("asks", ledger=str(ledger))
    await ended(yard.house, flow_id, "waiting_for_input")
    assert lines(ledger) == ["first look", "first before:before", "first unsure", "first unsure"]
    answer = ProvideInput.model_validate({"flow_id": flow_id, "colour": "red"})
    await yard.house.ask(answer)
    flow = await ended(yard.house, flow_id)
    assert lines(ledger)[4:] == ["first look", "first before:before", "first unsure"]
    assert flow.phase("first").outputs["colour"] == "red"


async def test_a_start_hook_that_is_done_outlives_a_phase_that_is_passed_over(yard: Yard, ledger: Path) -> None:
    flow = await finished(yard, "passed_over", ledger)
    assert lines(ledger) == ["first look", "first refuse", "second work"]
    assert flow.phase("second").outputs["looked_at"] == "nothing"


async def test_error_hooks_see_the_error_and_what_there_is_and_advise(yard: Yard, ledger: Path) -> None:
    flow_id = await yard.start("advised", ledger=str(ledger))

    async def advised() -> Flow | None:
        flow = await yard.house.side.store.flow(flow_id)
        return flow if flow.advice else None

    flow: Flow = await until(advised, 60)
    assert flow.status == "failed"
    assert flow.advice["message"] == "look at no_use"
    assert flow.advice["so_far"]["first"]["rows"] == 3
    shown = row(flow, yard.house.side.types)
    assert shown["flow_metadata"]["advice"]["message"] == "look at no_use"
    assert shown["next_action"]["message"] == "Second failed; look at no_use"
    await quiet(yard)


@pytest.mark.parametrize(("flow_type", "code"), [("ill_advised", "handler_failed"), ("asking_advice", "hook_asked")])
async def test_failing_error_hooks_leave_the_flow_as_it_is(yard: Yard, ledger: Path, flow_type: str, code: str) -> None:
    flow = await finished(yard, flow_type, ledger, "failed")
    await until(lambda: last_hook_failed(yard, flow.id), 60)
    flow = await yard.house.side.store.flow(flow.id)
    assert (flow.status, flow.run, flow.retry, flow.advice) == ("failed", None, None, {})
    assert flow.error is not None
    assert flow.error["code"] == "no_use"
    assert flow.errors[-1]["code"] == code


async def last_hook_failed(yard: Yard, flow_id: UUID) -> bool:
    fact = (await yard.house.side.store.history(flow_id))[-1][1].fact
    return isinstance(fact, HookFailed) and fact.final


async def test_end_hooks_that_fail_for_good_fail_the_flow_and_its_phases_stay_done(yard: Yard, ledger: Path) -> None:
    flow = await finished(yard, "badly_ended", ledger, "failed")
    assert lines(ledger) == ["first work", *["first end:never"] * 3]
    assert flow.phase("first").status == "completed"
    await yard.house.ask(ExecutePhase(flow_id=flow.id))
    await until(lambda: len(lines(ledger)) == 7)
    assert lines(ledger).count("first work") == 1


async def test_a_failed_flow_that_is_executed_again_does_not_wait_for_its_error_hooks(
    yard: Yard, ledger: Path, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    flow_id = await yard.start("slowly_advised", ledger=str(ledger), go=str(go))
    await until(lambda: "first error:slow_advice" in lines(ledger), 60)
    assert (await yard.house.side.store.flow(flow_id)).status == "failed"
    answer = await yard.house.ask(ExecutePhase(flow_id=flow_id))
    assert answer.outcome == "accepted"
    flow = await ended(yard.house, flow_id)
    go.touch()
    assert (flow.advice, flow.error) == ({}, None)
    assert "HookCompleted" not in await yard.house.facts(flow_id)
    await quiet(yard)


async def test_what_a_hook_returns_must_be_an_object(yard: Yard, ledger: Path) -> None:
    flow = await finished(yard, "wrong_kind", ledger, "failed")
    assert flow.error is not None
    assert (flow.error["code"], flow.error["hook"]) == ("hook_invalid", "no_object")


async def test_an_unknown_hook_refuses_to_start() -> None:
    module = modules([MODULE])
    known = set(HANDLERS) | set(module[0].HANDLERS) - {"sum_up"}
    with pytest.raises(RegistrationError, match="unknown hook sum_up"):
        flow_types(module, handlers=known, validators=VALIDATORS)


# what discovery does


class WithHooks(Discovery):
    """A discovery whose hooks can be run too."""

    async def hook(self, name: str, phase: str, **error: Any) -> dict[str, Any]:
        return await HANDLERS[name](replace(self.context(phase), error=error))


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sample") / "estate.csv"
    write_sample(path, servers=30, seed=7, fmt="csv")
    return path


async def test_a_discovery_says_what_it_starts_from(sample: Path) -> None:
    flow = WithHooks(sample)
    started = (await flow.hook("discovery_initialization", "data_import"))["starts_from"]
    assert started["size_bytes"] == sum(one["size_bytes"] for one in started["files"]) > 0
    assert [one["filename"] for one in started["files"]] == ["estate.csv"]
    assert started["given"] == ["import_file_id"]


async def test_a_discovery_does_not_start_from_a_file_that_is_not_there(sample: Path) -> None:
    flow = WithHooks(sample, import_file_id="nowhere")
    with pytest.raises(Permanent, match="there is no import file nowhere") as refused:
        await flow.hook("discovery_initialization", "data_import")
    assert [one.field for one in refused.value.fields] == ["import_file_id"]


async def test_a_discovery_is_summed_up_at_its_end(sample: Path) -> None:
    flow = WithHooks(sample, auto_approve_mappings=True, compare_with="none")
    outputs = await flow.run_all()
    summary = (await flow.hook("discovery_finalization", "tech_debt_assessment"))["summary"]
    assert summary["assets"] == outputs["asset_inventory"]["assets_total"] > 0
    assert summary["rows_read"] == outputs["data_cleansing"]["rows_read"]
    assert summary["findings"] == outputs["tech_debt_assessment"]["findings_total"]
    assert summary["ready_for_assessment"]
    assert summary["next_steps"][-1] == "run an assessment"
    assert sum(summary["issues"].values()) == sum(found["issues_summary"]["total"] for found in outputs.values())


async def test_without_outputs_the_summary_says_that_nothing_was_found(sample: Path) -> None:
    summary = (await WithHooks(sample).hook("discovery_finalization", "tech_debt_assessment"))["summary"]
    assert not summary["ready_for_assessment"]
    assert summary["rows_read"] is None
    assert summary["next_steps"] == ["upload an inventory that names machines"]


@pytest.mark.parametrize(
    ("error", "phase", "recovery", "step"),
    [
        ({"class": "network"}, "data_import", "retry_with_backoff", "see that the other system answers"),
        ({"class": "validation"}, "data_import", "retry_with_data_cleanup", "correct the data and upload it again"),
        ({"class": "resource"}, "data_cleansing", "restart_from_last_checkpoint", "split the files"),
        (
            {"class": "permission", "retryable": False},
            "data_import",
            "manual_intervention_required",
            "remove the cause",
        ),
        (
            {"class": "execution", "retryable": True},
            "field_mapping",
            "restart_from_phase",
            "execute field_mapping again",
        ),
        ({"class": "execution", "retryable": True}, "asset_inventory", "restart_from_last_checkpoint", "what is done"),
    ],
)
async def test_after_a_failure_discovery_says_what_can_be_done(
    sample: Path, error: dict[str, Any], phase: str, recovery: str, step: str
) -> None:
    advice = await WithHooks(sample).hook("discovery_error_handler", phase, **error)
    assert advice["recovery"] == recovery
    assert step in advice["next_steps"][0]
    assert advice["message"].endswith("(estate.csv)")


async def test_after_a_failure_discovery_names_the_files_and_the_place(sample: Path) -> None:
    flow = WithHooks(sample)
    await flow.run("data_import")
    place = {"file": "estate.csv", "row": 12, "column": "RAM"}
    advice = await flow.hook("discovery_error_handler", "data_cleansing", **{"class": "execution", "place": place})
    assert advice["message"].endswith("(estate.csv, row 12, column RAM)")
    assert advice["concerns"]["place"] == place
    [file] = advice["concerns"]["files"]
    assert file["rows"] == flow.outputs["data_import"]["rows"]


async def test_a_file_that_is_gone_is_named_by_its_id(sample: Path) -> None:
    flow = WithHooks(sample, import_file_id="gone")
    advice = await flow.hook("discovery_error_handler", "data_import", **{"class": "database"})
    assert advice["concerns"]["files"] == [{"import_file_id": "gone", "filename": "gone", "rows": None}]
