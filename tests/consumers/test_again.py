"""What is done again, in real children: another round, a recovery, and results that are taken instead of working."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from consumers.phases import PhaseWork
from domain.commands import CreateOptions, DeleteFlow, StartIteration, Tenant
from domain.events import PhaseCompleted, RecoveryStarted
from domain.flow import Flow
from domain.view import row
from eventstore.results import Results
from tests.consumers import again
from tests.consumers.conftest import ended
from tests.consumers.test_keeper import Yard
from tests.consumers.yards import lines, yard_of
from tests.eventstore.house import new_tenant
from tests.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")


yard = yard_of(again.__name__, workers=1)


@pytest.fixture(autouse=True)
def another_tenant(yard: Yard) -> None:
    yard.house.tenant = new_tenant()


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "ledger"


async def done(yard: Yard, flow_type: str, ledger: Path, options: dict[str, Any] | None = None, **inputs: Any) -> Flow:
    given = CreateOptions(auto_execute=True, **(options or {}))
    flow = await yard.house.begin(flow_type=flow_type, initial_data={"ledger": str(ledger), **inputs}, options=given)
    return await ended(yard.house, flow.id, within=60)


async def completion(yard: Yard, flow: Flow) -> tuple[int, PhaseCompleted]:
    """The last PhaseCompleted of a flow, and its version."""
    history = await yard.house.side.store.history(flow.id)
    return next((each.version, each.fact) for _, each in reversed(history) if isinstance(each.fact, PhaseCompleted))


async def test_a_result_is_taken_from_an_earlier_flow_of_the_tenant(yard: Yard, ledger: Path) -> None:
    first = await done(yard, "tally", ledger, wide=2000)
    second = await done(yard, "tally", ledger, wide=2000)
    assert lines(ledger) == ["tally"]
    version, fact = await completion(yard, first)
    assert fact.reused_from is None
    told = {"flow_id": str(first.id), "run_id": str(fact.run_id), "version": version}
    assert (await completion(yard, second))[1].reused_from == told
    assert second.phase("tally").outputs == first.phase("tally").outputs
    assert "$artifact" in second.phase("tally").outputs["wide"]
    assert row(second, yard.house.side.types)["phases"][0]["reused_from"] == told


async def test_hooks_run_around_a_result_that_is_taken(yard: Yard, ledger: Path) -> None:
    for _ in range(2):
        flow = await done(yard, "hooked_tally", ledger)
        assert flow.phase("tally").outputs["noted"] is True
    assert lines(ledger) == ["note", "tally", "note", "note", "note"]
    assert flow.phase("tally").reused_from is not None


async def test_a_round_takes_what_the_one_before_it_brought(yard: Yard, ledger: Path) -> None:
    flow = await done(yard, "tally", ledger)
    await yard.house.ask(StartIteration(flow_id=flow.id))
    second = await ended(yard.house, flow.id, within=60)
    assert second.iteration_number == 2
    assert second.phase("tally").reused_from is not None
    await yard.house.ask(StartIteration(flow_id=flow.id, inputs={"number": 4}))
    third = await ended(yard.house, flow.id, within=60)
    assert (third.iteration_number, third.phase("tally").outputs["rows"]) == (3, 4)
    assert lines(ledger) == ["tally", "tally"]


async def test_other_inputs_and_other_types_are_other_work(yard: Yard, ledger: Path) -> None:
    await done(yard, "tally", ledger)
    await done(yard, "tally", ledger, number=7)
    await done(yard, "tally_anew", ledger)
    await done(yard, "tally_anew", ledger)
    await done(yard, "tally", ledger, {"reuse_results": False})
    assert lines(ledger) == ["tally"] * 5
    # what the type leaves out, a caller may ask for
    await done(yard, "tally_anew", ledger, {"reuse_results": True})
    await done(yard, "tally_anew", ledger, {"reuse_results": True})
    assert lines(ledger) == ["tally"] * 6


async def test_nothing_is_taken_from_another_engagement_or_account(yard: Yard, ledger: Path) -> None:
    await done(yard, "tally", ledger)
    tenant = yard.house.tenant
    for other in (Tenant(tenant.client_account_id, uuid4(), "maria"), new_tenant()):
        yard.house.tenant = other
        assert (await done(yard, "tally", ledger)).phase("tally").reused_from is None
    assert lines(ledger) == ["tally"] * 3


async def test_nothing_is_taken_from_a_deleted_flow(yard: Yard, ledger: Path) -> None:
    flow = await done(yard, "tally", ledger)
    await yard.house.ask(DeleteFlow(flow_id=flow.id))
    later = await done(yard, "tally", ledger)
    assert later.phase("tally").reused_from is None
    # which has taken its place
    assert (await done(yard, "tally", ledger)).phase("tally").reused_from is not None
    assert lines(ledger) == ["tally"] * 2


async def test_what_has_lost_an_artifact_is_done_anew(yard: Yard, ledger: Path) -> None:
    flow = await done(yard, "tally", ledger)
    digest = bytes.fromhex(flow.phase("tally").outputs["kept"]["artifact"])
    for table in ("artifact_parts", "artifacts"):
        await yard.house.rows(
            f"delete from {table} where client_account_id = %s and sha256 = %s",
            yard.house.tenant.client_account_id,
            digest,
        )
    assert (await done(yard, "tally", ledger)).phase("tally").reused_from is None
    assert lines(ledger) == ["tally"] * 2


async def test_a_sensitive_result_is_kept_for_nobody(yard: Yard, ledger: Path) -> None:
    for _ in range(2):
        assert (await done(yard, "secret", ledger)).phase("secret").reused_from is None
    assert lines(ledger) == ["secret"] * 2
    kept = "select count(*) from results where client_account_id = %s"
    assert await yard.house.one(kept, yard.house.tenant.client_account_id) == 0


async def test_a_sensitive_input_counts_without_being_told(yard: Yard, ledger: Path) -> None:
    await done(yard, "tally", ledger, password="one")
    assert (await done(yard, "tally", ledger, password="one")).phase("tally").reused_from is not None
    assert (await done(yard, "tally", ledger, password="two")).phase("tally").reused_from is None


async def test_a_file_counts_by_what_is_in_it_and_how_it_is_read(yard: Yard, ledger: Path) -> None:
    imports, tenant = yard.house.side.imports, yard.house.tenant

    async def chunks() -> AsyncIterator[bytes]:
        yield b"name\nweb01\n"

    upload, _ = await imports.add(tenant, "servers.csv", chunks(), max_bytes=1000)
    await done(yard, "tally", ledger, import_file_id=str(upload.id))
    assert (await done(yard, "tally", ledger, import_file_id=str(upload.id))).phase("tally").reused_from is not None
    await imports.read_anew(tenant, str(upload.id), {"delimiter": ";"})
    assert (await done(yard, "tally", ledger, import_file_id=str(upload.id))).phase("tally").reused_from is None


async def test_a_run_that_was_never_completed_is_not_taken_from(yard: Yard, ledger: Path) -> None:
    """Its row is written before its word is; what the history does not tell did not happen."""
    flow = await done(yard, "tally", ledger)
    await yard.house.rows("update results set run_id = %s where flow_id = %s", uuid4(), flow.id)
    assert (await done(yard, "tally", ledger)).phase("tally").reused_from is None


async def test_what_nobody_takes_is_forgotten(yard: Yard, ledger: Path) -> None:
    flow = await done(yard, "tally", ledger)
    results = Results(yard.house.side.pool)
    left = "select count(*) from results where flow_id = %s"
    await results.forget()
    assert await yard.house.one(left, flow.id) == 1
    await yard.house.rows("update results set used_at = used_at - interval '91 days' where flow_id = %s", flow.id)
    await results.forget()
    assert await yard.house.one(left, flow.id) == 0


async def test_the_code_of_a_handler_tells_its_version() -> None:
    work = PhaseWork([again])
    assert work.handler_version("tally") == work.handler_version("bold")
    assert work.handler_version("tally") != work.handler_version("store_raw_data")


async def test_a_handler_sees_what_former_rounds_brought(yard: Yard, ledger: Path) -> None:
    flow = await done(yard, "rounds", ledger)
    first = flow.phase("look_back").outputs
    assert (first["round"], first["before"], first["first"], first["never"]) == (1, None, None, None)
    for number in (2, 3):
        await yard.house.ask(StartIteration(flow_id=flow.id))
        flow = await ended(yard.house, flow.id, within=60)
        assert flow.phase("look_back").outputs["round"] == number
    third = flow.phase("look_back").outputs
    assert (third["before"]["look_back"]["round"], third["first"]) == (2, 1)
    # what is sent to the outside in a later round is no repeat of what was sent before
    assert len({first["key"], third["before"]["look_back"]["key"], third["key"]}) == 3


async def test_a_fallback_is_tried_before_the_flow_fails(yard: Yard, ledger: Path) -> None:
    flow = await done(yard, "bold", ledger)
    assert lines(ledger) == ["bold None", "bold conservative"]
    assert flow.phase("bold").outputs == {"approach": "conservative"}
    assert (flow.recovery, flow.attempts_failed) == (None, 1)


async def test_a_restart_does_the_phases_before_again(yard: Yard, ledger: Path) -> None:
    flow = await done(yard, "shaky", ledger)
    assert lines(ledger) == ["prepare", "shaky", "prepare", "shaky"]
    history = [each.fact for _, each in await yard.house.side.store.history(flow.id)]
    recoveries = [fact for fact in history if isinstance(fact, RecoveryStarted)]
    assert [(one.action, one.from_phase, one.number, one.at_most) for one in recoveries] == [
        ("restart_from_phase", "prepare", 1, 1)
    ]
    await until(lambda: yard.keeper.active == 0)
    assert await yard.house.rows("select * from runs where flow_id = %s", flow.id) == []
    assert await yard.house.rows("select * from timers where flow_id = %s", flow.id) == []
