"""Phases of one flow really run at the same time, in real workers, and each can be lost, paused and undone by itself."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from uuid import UUID

import pytest

from domain.commands import FailPhase, PauseFlow, ResumeFlow, RollbackFlow
from domain.flow import Flow
from tests.consumers.conftest import ended
from tests.consumers.test_keeper import Yard
from tests.consumers.yards import yard_of
from tests.waiting import until

FORKED = "tests.consumers.forked"
pytestmark = pytest.mark.asyncio(loop_scope="module")


yard = yard_of(FORKED)


async def begin(yard: Yard, flow_type: str, folder: Path) -> UUID:
    """A flow of which two phases have begun their work."""
    flow_id = await yard.start(flow_type, folder=str(folder))
    await until(lambda: len(list(folder.glob("*.1"))) == 2)
    return flow_id


async def flow_of(yard: Yard, flow_id: UUID) -> Flow:
    return await yard.house.side.store.flow(flow_id)


async def runs_left(yard: Yard, flow_id: UUID, number: int) -> None:
    """Wait until so many of its runs have not ended yet."""

    async def so_many() -> bool:
        return (await flow_of(yard, flow_id)).running == number

    await until(so_many)


def go(folder: Path, *names: str) -> None:
    for name in names:
        (folder / f"go.{name}").touch()


async def quiet(yard: Yard) -> None:
    """Nothing is left behind: no row, no run in hand, every place free."""
    await until(lambda: yard.keeper.active == 0)
    assert await yard.house.rows("select * from runs") == []
    await until(lambda: (yard.keeper._exclusive_free, yard.keeper._shared_free) == (2, 64))


async def test_two_phases_that_each_need_the_other_to_run_meet_and_join(yard: Yard, tmp_path: Path) -> None:
    flow = await yard.finish("meeting", folder=str(tmp_path))
    assert [phase.outputs for phase in flow.phases[1:3]] == [{"met": True}, {"met": True}]
    assert flow.phase("join").outputs == {"of": ["left", "prepare", "right"]}
    await quiet(yard)


async def test_a_run_that_nobody_holds_is_taken_over_alone(yard: Yard, tmp_path: Path) -> None:
    house, keeper = yard.house, yard.keeper
    flow_id = await begin(yard, "working", tmp_path)
    right = (await flow_of(yard, flow_id)).on("right").run
    assert right is not None
    # forgotten here, and still this process's by its row
    active = keeper._active.pop(right.run_id)
    assert active.task is not None
    active.task.cancel()
    await asyncio.wait([active.task])
    await house.rows("update runs set lease_until = mfo_now() where id = %s", right.run_id)
    keeper._wake_due.set()
    mine = "select array_agg((phase_name, token) order by phase_name)::text from runs where owner = %s"

    async def taken_over() -> bool:
        return str(await house.one(mine, keeper.owner)) == '{"(left,1)","(right,2)"}'

    await until(taken_over)
    go(tmp_path, "left", "right")
    assert (await ended(house, flow_id)).attempts_failed == 0
    await quiet(yard)


async def test_a_worker_that_is_killed_costs_its_own_phase_an_attempt(yard: Yard, tmp_path: Path) -> None:
    flow_id = await begin(yard, "apart", tmp_path)
    os.kill(int((tmp_path / "left.1").read_text()), signal.SIGKILL)
    await until(lambda: list(tmp_path.glob("left.2")), 20)
    go(tmp_path, "left", "right")
    flow = await ended(yard.house, flow_id)
    assert [flow.phase(name).outputs["attempt"] for name in ("left", "right")] == [2, 1]
    assert [error["code"] for error in flow.errors] == ["worker_lost"]
    await quiet(yard)


async def test_a_pause_drains_every_run_and_the_flow_goes_back_to_one_of_them(yard: Yard, tmp_path: Path) -> None:
    house = yard.house
    flow_id = await begin(yard, "working", tmp_path)
    answer = await house.ask(PauseFlow(flow_id=flow_id))
    assert answer.flow is not None
    assert (answer.flow.draining, answer.flow.running) == (True, 2)
    go(tmp_path, "left")
    await runs_left(yard, flow_id, 1)
    go(tmp_path, "right")
    await runs_left(yard, flow_id, 0)
    assert (await house.facts(flow_id))[-1] == "FlowDrained"
    await house.ask(ResumeFlow(flow_id=flow_id))
    done = await ended(house, flow_id)
    back = await house.ask(RollbackFlow(flow_id=flow_id, phase_name="right"))
    assert back.flow is not None
    assert [run.phase_name for run in back.flow.runs] == ["right"]
    again = await ended(house, flow_id)
    assert again.phase("left").run_id == done.phase("left").run_id
    assert again.phase("right").run_id != done.phase("right").run_id
    await quiet(yard)


async def test_a_phase_that_fails_stops_the_work_beside_it(yard: Yard, tmp_path: Path) -> None:
    flow_id = await begin(yard, "working", tmp_path)
    run = (await flow_of(yard, flow_id)).on("left").run
    assert run is not None
    error = {"class": "permanent", "code": "no_use", "message": "no", "retryable": False}
    await yard.house.ask(FailPhase(flow_id=flow_id, run_id=run.run_id, token=run.token, error=error))
    assert (await flow_of(yard, flow_id)).status == "failed"
    await quiet(yard)
