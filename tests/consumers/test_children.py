"""Children that are recycled, and handlers that do harm: to themselves only, and by name."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from uuid import UUID

import psutil
import pytest

from consumers import pool as pools
from consumers.metrics import HANDLER_FAULTS
from domain.commands import CancelFlow
from domain.flow import Flow
from eventstore.committer import Answer
from tests.consumers.yard import Yard, open_yard
from tests.waiting import until

# processes are started and waited for, each for as long as a busy machine takes
pytestmark = pytest.mark.timeout(420)


async def cancel(yard: Yard, flow_id: UUID) -> Answer:
    return await yard.house.ask(CancelFlow(flow_id=flow_id))


async def with_a_bystander(yard: Yard) -> UUID:
    """A run that has done a step, in the one child there is."""
    flow_id = await yard.start("bystander", ledger="bystander")
    await yard.noted("first", "bystander")
    # noted is not kept yet: a child that stands still before it is kept would rightly do it again
    await until(lambda: _step_is_kept(yard, flow_id))
    return flow_id


async def _step_is_kept(yard: Yard, flow_id: UUID) -> bool:
    return "StepsCompleted" in await yard.house.facts(flow_id)


async def unharmed(yard: Yard, flow_id: UUID) -> Flow:
    """The bystander comes to its end, with no attempt lost and nothing done twice."""
    yard.open_gate()
    flow = await yard.ended(flow_id)
    assert (flow.attempts_failed, flow.phase("bystander").attempt) == (0, 1)
    assert yard.lines("bystander") == ["first"]
    return flow


def faults(flow_type: str, fault: str) -> float:
    value: float = HANDLER_FAULTS.labels(flow_type, flow_type, fault)._value.get()
    return value


async def test_a_child_that_has_done_its_share_is_replaced_and_ends_its_work_first(
    database_url: str, tmp_path: Path
) -> None:
    async with open_yard(database_url, tmp_path, worker_max_runs=2) as yard:
        (old,) = yard.children
        begun = await yard.start("long")
        await yard.noted("begun")
        seen = {(await yard.finish("where")).phase("where").outputs["in"] for _ in range(2)}
        assert seen == {old}
        # its successor takes what comes, while the long run goes on where it is
        await until(lambda: yard.children != [old] and yard.children, 90)
        (new,) = yard.children
        assert (await yard.finish("where")).phase("where").outputs["in"] == new
        assert psutil.pid_exists(old)
        yard.open_gate()
        flow = await yard.ended(begun)
        assert (flow.phase("long").outputs["in"], flow.attempts_failed) == (old, 0)
        await until(lambda: not psutil.pid_exists(old), 90)


async def test_a_child_that_has_grown_is_replaced_when_it_is_idle(database_url: str, tmp_path: Path) -> None:
    async with open_yard(database_url, tmp_path, worker_memory_mb=4000, worker_recycle_mb=200) as yard:
        (old,) = yard.children
        flow = await yard.finish("leaks")
        assert flow.phase("leaks").outputs["in"] == old
        await until(lambda: yard.children not in ([old], []), 90)
        await until(lambda: not psutil.pid_exists(old), 90)
        assert (await yard.finish("where")).attempts_failed == 0


async def test_signals_meant_for_the_service_leave_its_children_alone(database_url: str, tmp_path: Path) -> None:
    async with open_yard(database_url, tmp_path) as yard:
        (child,) = yard.children
        bystander = await with_a_bystander(yard)
        for sign in (signal.SIGTERM, signal.SIGINT):
            os.kill(child, sign)
        assert (await unharmed(yard, bystander)).phase("bystander").outputs["in"] == child


async def test_what_harms_its_worker_fails_alone_and_by_name(database_url: str, tmp_path: Path) -> None:
    async with open_yard(database_url, tmp_path) as yard:
        bystander = await with_a_bystander(yard)
        before = faults("exits", "died")
        guilty = await yard.start("exits", go=str(tmp_path / "out"))
        await until(lambda: len(yard.pool._children[0].runs) == 2, 90)
        (tmp_path / "out").touch()
        flow = await yard.ended(guilty, "failed")
        assert flow.error is not None
        assert "exited by itself with code 7" in flow.error["message"]
        assert "phase exits of flow type exits (handler exits)" in flow.error["message"]
        assert faults("exits", "died") - before == flow.attempts_failed
        assert await yard.changed_hands(guilty) == ["worker_lost"]
        # the bystander was taken up again, with its step
        await unharmed(yard, bystander)
        assert await yard.changed_hands(bystander) == ["worker_lost"]


async def test_a_thread_that_does_not_end_costs_its_child_but_nobody_else(database_url: str, tmp_path: Path) -> None:
    async with open_yard(database_url, tmp_path) as yard:
        (old,) = yard.children
        bystander = await with_a_bystander(yard)
        deaf = await yard.start("deaf_thread", go=str(tmp_path / "never"))
        await yard.noted("begun")
        await cancel(yard, deaf)
        await until(lambda: yard.children not in ([old], []), 90)
        assert faults("deaf_thread", "stuck") == 1
        assert (await unharmed(yard, bystander)).phase("bystander").outputs["in"] == old
        assert await yard.changed_hands(bystander) == []
        await until(lambda: not psutil.pid_exists(old), 90)


async def test_a_loop_that_is_blocked_when_its_run_is_given_up_is_ended(database_url: str, tmp_path: Path) -> None:
    async with open_yard(database_url, tmp_path) as yard:
        (old,) = yard.children
        bystander = await with_a_bystander(yard)
        deaf = await yard.start("blocks", go=str(tmp_path / "never"))
        await yard.noted("begun")
        await cancel(yard, deaf)
        await until(lambda: yard.children not in ([old], []), 90)
        assert faults("blocks", "deaf") == 1
        assert (await unharmed(yard, bystander)).phase("bystander").outputs["in"] != old


async def test_a_loop_that_stands_still_holds_up_nobody_for_long(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "STILL_SECONDS", 3.0)
    async with open_yard(database_url, tmp_path) as yard:
        bystander = await with_a_bystander(yard)
        blocking = await yard.start("blocks", go=str(tmp_path / "later"))
        await yard.noted("begun")
        # both are done again, each in a child of its own
        await unharmed(yard, bystander)
        (tmp_path / "later").touch()
        assert (await yard.ended(blocking)).attempts_failed == 0
