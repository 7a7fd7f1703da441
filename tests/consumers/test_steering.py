"""Pause, skip, retry and cancel as the work in hand meets them: real children, a real store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import pytest
import pytest_asyncio

from consumers import keeper as keeping
from domain.commands import CancelFlow, ExecutePhase, FireTimer, PauseFlow, ProvideInput, ResumeFlow, SkipPhase
from domain.deciding import steering
from domain.words import Status
from eventstore.metrics import PARKED
from tests.consumers.yard import Yard, open_yard
from tests.eventstore.breaking import readable, unreadable
from tests.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def open_for_all(module_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Yard]:
    folder = tmp_path_factory.mktemp("yard")
    modules = ("tests.consumers.steered", "tests.consumers.flows")
    async with open_yard(module_url, folder, workers=2, flow_type_modules=modules) as yard:
        yield yard


@pytest.fixture
def yard(open_for_all: Yard, tmp_path: Path) -> Yard:
    open_for_all.folder = tmp_path
    return open_for_all


@pytest_asyncio.fixture(loop_scope="module")
async def no_heartbeat(yard: Yard) -> AsyncIterator[None]:
    """Only a hint brings news."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keeping, "HEARTBEAT_SECONDS", 3600.0)
        # out of the wait that has begun, and at the end out of the long one
        yard.keeper._wake_leases.set()
        # the heartbeat that follows knows nothing of what the test begins
        await until(lambda: not yard.keeper._wake_leases.is_set(), 90)
        yield
    yard.keeper._wake_leases.set()


async def drained(yard: Yard, flow_id: UUID) -> None:
    async def told() -> bool:
        return "FlowDrained" in await yard.house.facts(flow_id)

    await until(told, 90)
    flow = await yard.house.side.store.flow(flow_id)
    assert flow.paused is not None
    assert (flow.status, flow.draining, flow.paused.drained_at is None) == (Status.PAUSED, False, False)


async def test_a_phase_that_yields_stops_before_its_next_step_and_goes_on_there(yard: Yard) -> None:
    flow_id = await yard.start("stepping")
    await yard.noted("between")
    await yard.house.ask(PauseFlow(flow_id=flow_id))
    await drained(yard, flow_id)
    assert (await yard.house.facts(flow_id))[-2:] == ["RunHandedBack", "FlowDrained"]
    yard.open_gate()
    await yard.house.ask(ResumeFlow(flow_id=flow_id))
    done = await yard.ended(flow_id)
    assert yard.lines() == ["first", "between", "between", "second"]
    assert (done.phase("stepping").outputs, done.attempts_failed) == ({"attempt": 1}, 0)


async def test_a_phase_that_yields_begins_no_further_item_and_repeats_none(yard: Yard) -> None:
    flow_id = await yard.start("mapping")
    await yard.noted("begun 1")
    await yard.house.ask(PauseFlow(flow_id=flow_id))
    await drained(yard, flow_id)
    assert sorted(yard.lines()) == ["0", "1", "begun 0", "begun 1"]
    yard.open_gate()
    await yard.house.ask(ResumeFlow(flow_id=flow_id))
    done = await yard.ended(flow_id)
    assert done.phase("mapping").outputs == {"items": list(range(6))}
    assert sorted(yard.lines()) == ["0", "1", "2", "3", "4", "5", "begun 0", "begun 1"]


async def test_what_runs_is_left_out_at_once_and_the_next_phase_sees_what_stands_in(
    yard: Yard, no_heartbeat: None
) -> None:
    flow_id = await yard.start("skippable")
    await yard.noted("begun")
    wrong = await yard.house.ask(SkipPhase(flow_id=flow_id, outputs={"rows": "many"}))
    assert wrong.error is not None
    assert [each["field"] for each in wrong.error["errors"]] == ["outputs.rows"]
    await yard.house.ask(SkipPhase(flow_id=flow_id, outputs={"rows": 3}, reason="by hand"))
    await yard.noted("cancelled")
    done = await yard.ended(flow_id)
    assert done.phase("seen").outputs == {"seen": {"rows": 3}}
    assert await yard.house.facts(flow_id) == [
        *("FlowCreated", "PhaseStarted", "PhaseSkipped", "CheckpointCreated"),
        *("PhaseStarted", "PhaseCompleted", "CheckpointCreated", "FlowCompleted"),
    ]


async def test_what_stands_in_may_be_secret_and_large(yard: Yard) -> None:
    flow_id = await yard.start("skippable")
    await yard.noted("begun")
    outputs = {"rows": 3, "login": {"password": "hunter2"}, "table": ["x" * 100] * 4000}
    answer = await yard.house.ask(SkipPhase(flow_id=flow_id, outputs=outputs))
    assert answer.outcome == "accepted", answer
    done = await yard.ended(flow_id)
    kept = done.phase("listens").outputs
    assert (kept["rows"], set(kept["table"]), set(kept["login"]["password"])) == (
        3,
        {"$artifact", "size_bytes"},
        {"$sealed"},
    )
    assert (
        await yard.house.one("select count(*) from command_log where convert_from(body, 'UTF8') like '%%hunter2%%'")
        == 0
    )


async def test_a_flow_whose_time_is_up_tells_its_worker_at_once(yard: Yard, no_heartbeat: None) -> None:
    begun = await yard.house.begin(
        flow_type="skippable",
        initial_data={"ledger": str(yard.folder / "ledger"), "go": str(yard.folder / "go")},
        options={"auto_execute": True, "flow_timeout_seconds": 3600},
    )
    await yard.noted("begun")
    await yard.house.ask(FireTimer(flow_id=begun.id, timer="deadline", token=begun.timers["deadline"].token))
    await yard.noted("cancelled")
    assert (await yard.ended(begun.id, "failed")).error is not None


async def test_hooks_of_a_failure_that_is_tried_again_are_told_at_once(yard: Yard, no_heartbeat: None) -> None:
    flow_id = await yard.start("advised")
    await yard.noted("begun")
    await yard.house.ask(ExecutePhase(flow_id=flow_id))
    await yard.noted("cancelled")
    await yard.house.ask(CancelFlow(flow_id=flow_id))


async def test_a_cancelled_flow_is_cleaned_up_after_its_work_has_stopped(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steering, "CLEANUP_SECONDS", 0.1)
    flow_id = await yard.start("tidy")
    await yard.noted("begun")
    await yard.house.ask(CancelFlow(flow_id=flow_id, reason="enough"))
    await yard.noted("cancelled")

    async def clean() -> bool:
        return (await yard.house.facts(flow_id))[-1] == "HookCompleted"

    await until(clean, 90)
    # its step was not done again by the second attempt
    assert sorted(yard.lines()) == ["away flow_cancelled", "begun", "cancelled"]
    assert await yard.house.facts(flow_id) == [
        *("FlowCreated", "PhaseStarted", "FlowCancelled", "HookStarted", "StepsCompleted", "HookFailed"),
        *("PhaseRetryScheduled", "HookStarted", "StepsCompleted", "HookCompleted"),
    ]
    flow = await yard.house.side.store.flow(flow_id)
    assert (flow.status, flow.run, flow.alarms) == (Status.CANCELLED, None, {})


async def test_cleaning_up_that_fails_changes_nothing_and_is_in_history(yard: Yard) -> None:
    flow_id = await yard.start("tidy", stuck=True)
    await yard.noted("begun")
    # nothing is in hand by then
    await yard.house.ask(PauseFlow(flow_id=flow_id))
    await drained(yard, flow_id)
    await yard.house.ask(CancelFlow(flow_id=flow_id))

    async def failed() -> bool:
        return (await yard.house.facts(flow_id))[-1] == "HookFailed"

    await until(failed, 90)
    flow = await yard.house.side.store.flow(flow_id)
    assert (flow.status, flow.errors[-1]["code"], flow.run) == (Status.CANCELLED, "stuck", None)


async def test_a_handler_does_not_go_on_before_a_parked_flow_has_its_step(yard: Yard) -> None:
    flow_id = await yard.start("keeps")
    await yard.noted("begun")
    await unreadable(yard.house, flow_id)
    before = PARKED._value.get()
    yard.open_gate()
    # it has waited, and was asked after
    await until(lambda: PARKED._value.get() >= before + 2, 90)
    assert yard.lines() == ["begun", "step"]
    assert [each.name for each in await yard.house.committer.parking.waiting(flow_id, 10)] == ["RecordSteps"]
    await readable(yard.house, flow_id)
    assert (await yard.house.committer.drain(flow_id)).waiting == 0
    await yard.ended(flow_id)
    assert yard.lines() == ["begun", "step", "after"]


async def test_answers_that_come_in_a_pause_count_when_it_is_over(yard: Yard) -> None:
    asking = await yard.house.begin(flow_type="ask")
    await yard.ended(asking.id, "waiting_for_input")
    await yard.house.ask(PauseFlow(flow_id=asking.id))
    await yard.house.ask(ProvideInput.model_validate({"flow_id": asking.id, "colour": "red"}))
    assert (await yard.house.side.store.flow(asking.id)).status is Status.PAUSED
    await yard.house.ask(ResumeFlow(flow_id=asking.id))
    assert (await yard.ended(asking.id)).phases[0].outputs == {"colour": "red"}
