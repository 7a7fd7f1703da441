"""Rollbacks through real child processes: what is compensated, by whom, in which order, and how often."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from domain.commands import CancelFlow, ExecutePhase, ProvideInput, RollbackFlow
from domain.flow import Flow
from tests.consumers.conftest import ended
from tests.consumers.test_keeper import Yard, quiet
from tests.consumers.yards import lines, yard_of
from tests.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")


yard = yard_of("tests.consumers.undone")


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "ledger"


async def finished(yard: Yard, flow_type: str, ledger: Path, *statuses: str, **inputs: Any) -> Flow:
    return await yard.finish(flow_type, *statuses, within=60, ledger=str(ledger), **inputs)


def back_to(flow: Flow, phase_name: str, **more: Any) -> RollbackFlow:
    return RollbackFlow(flow_id=flow.id, phase_name=phase_name, reason="again", **more)


async def undone(yard: Yard, flow: Flow) -> Flow:
    """The flow, as soon as nothing of it is left to be undone and nothing runs."""

    async def there() -> Flow | None:
        found = await yard.house.side.store.flow(flow.id)
        return found if found.undoing is None and found.run is None and found.rollback is not None else None

    found: Flow = await until(there, 60)
    return found


async def test_what_phases_did_is_undone_the_newest_first_and_then_they_are_done_again(
    yard: Yard, ledger: Path
) -> None:
    flow = await finished(yard, "journey", ledger, card="gold", deadly=True)
    await yard.house.ask(back_to(flow, "book"))
    again = await ended(yard.house, flow.id, within=60)
    assert lines(ledger) == [
        "book booked 0",
        "pay paid with gold",
        "pay refunded 7 to gold, completed True",
        "pay apologising",
        # its process was killed here; its own step was not repeated
        "unbook seat 12",
        "book unbooked, attempt 2",
        "book booked 1",
        "pay paid with gold",
    ]
    first, second = flow.phase("book").outputs, again.phase("book").outputs
    assert first["key"] != second["key"]
    facts = await yard.house.facts(flow.id)
    after = facts[facts.index("FlowRolledBack") :]
    assert [name for name in after if name.startswith("Hook")] == [
        *("HookStarted", "HookCompleted"),
        *("HookStarted", "HookFailed", "HookStarted", "HookCompleted"),
    ]
    # undone once more, it is another key that the outside hears
    await yard.house.ask(back_to(again, "book"))
    await ended(yard.house, flow.id, within=60)
    keys = [
        recorded.fact.outputs["key"]
        for _, recorded in await yard.house.side.store.history(flow.id)
        if type(recorded.fact).__name__ == "HookCompleted" and "key" in recorded.fact.outputs  # type: ignore[union-attr]
    ]
    assert len(set(keys)) == 2
    await quiet(yard)


async def test_a_compensation_that_fails_for_good_is_gone_on_with_by_execute(
    yard: Yard, ledger: Path, tmp_path: Path
) -> None:
    mended = tmp_path / "mended"
    flow = await finished(yard, "journey", ledger, "failed", card="broken", fixed=str(mended))
    await yard.house.ask(back_to(flow, "book"))

    async def stuck() -> Flow | None:
        found = await yard.house.side.store.flow(flow.id)
        return found if found.undoing is not None and found.status == "failed" else None

    failed: Flow = await until(stuck, 60)
    assert failed.error is not None
    assert (failed.error["code"], failed.error["left"]) == ("no_words", ["pay", "book"])
    mended.touch()
    answer = await yard.house.ask(ExecutePhase.model_validate({"flow_id": flow.id, "inputs": {"note": "mended"}}))
    assert answer.outcome == "accepted"
    await until(lambda: "book unbooked, attempt 2" in lines(ledger), 60)
    # the phase had failed after one of its steps
    assert "pay refunded 7 to broken, completed False" in lines(ledger)


async def test_executing_without_other_inputs_repeats_only_the_handler_that_failed(
    yard: Yard, ledger: Path, tmp_path: Path
) -> None:
    mended = tmp_path / "mended"
    flow = await finished(yard, "journey", ledger, card="gold", fixed=str(mended))
    await yard.house.ask(back_to(flow, "pay"))
    await ended(yard.house, flow.id, "failed", within=60)
    mended.touch()
    await yard.house.ask(ExecutePhase(flow_id=flow.id))
    await ended(yard.house, flow.id, within=60)
    assert lines(ledger)[2:] == [
        "pay refunded 7 to gold, completed True",
        *["pay apologising"] * 2,
        "pay paid with gold",
    ]


async def test_a_cancelled_flow_is_undone_when_its_work_has_stopped(yard: Yard, ledger: Path) -> None:
    flow_id = await yard.start("long_journey", ledger=str(ledger), card="gold")
    await until(lambda: "wait lingers" in lines(ledger), 60)
    await yard.house.ask(CancelFlow(flow_id=flow_id, reason="rain", compensate=True))
    flow = await yard.house.side.store.flow(flow_id)
    assert (flow.status, flow.run) == ("cancelled", None)
    await until(lambda: "wait has stopped" in lines(ledger), 60)
    assert len(lines(ledger)) == 4
    await yard.house.shift_clock(7)
    flow = await undone(yard, flow)
    assert flow.status == "cancelled"
    assert [line for line in lines(ledger)[4:] if "unbook seat" not in line] == [
        "wait tidied",
        "pay refunded 7 to gold, completed True",
        "pay apologising",
        "book unbooked, attempt 2",
    ]
    await quiet(yard)


async def robbed(yard: Yard, flow_type: str, ledger: Path) -> Flow:
    """A flow that has lost what its first phase packed, and is told to go on."""
    flow = await finished(yard, flow_type, ledger, "waiting_for_input")
    await yard.house.rows("delete from artifact_parts")
    await yard.house.ask(ProvideInput.model_validate({"flow_id": flow.id, "go": True}))
    return await ended(yard.house, flow.id, "completed", "failed", within=60)


async def test_a_flow_that_has_lost_outputs_goes_back_by_itself_to_where_it_is_whole(yard: Yard, ledger: Path) -> None:
    flow = await robbed(yard, "parcel", ledger)
    assert (flow.status, flow.phase("unpack").outputs) == ("completed", {"text": "what was packed"})
    assert lines(ledger) == ["pack packed 0", "pack packed 1"]
    assert flow.rollback is not None
    assert (flow.rollback.by, flow.rollback.to_version) == ("mfo", 1)
    assert str(flow.rollback.reason).endswith("which the outputs of an earlier phase name, is gone")
    await quiet(yard)


async def test_a_flow_of_a_type_that_does_not_go_back_fails_for_lost_outputs(yard: Yard, ledger: Path) -> None:
    flow = await robbed(yard, "letter", ledger)
    assert flow.error is not None
    assert (flow.status, flow.error["code"]) == ("failed", "outputs_lost")
    assert "restore the artifact from a backup" in flow.error["message"]
    await quiet(yard)
