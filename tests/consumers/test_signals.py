"""What handlers are told while they work, and what they can do about it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio

from consumers import keeper as keeping
from domain.commands import CancelFlow, DeleteFlow, PauseFlow, ResumeFlow
from domain.words import Status
from eventstore import committer
from tests.consumers.yard import Yard, open_yard
from tests.eventstore.house import open_house
from tests.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def open_for_all(module_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Yard]:
    async with open_yard(module_url, tmp_path_factory.mktemp("yard"), workers=2) as yard:
        yield yard


@pytest.fixture
def yard(open_for_all: Yard, tmp_path: Path) -> Yard:
    open_for_all.folder = tmp_path
    return open_for_all


@pytest.fixture
def no_hints(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is told at once; only the heartbeat brings news."""
    monkeypatch.setattr(committer, "concerns_work", lambda *_: False)


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


@pytest.mark.parametrize("name", ["listens", "listens_inline", "listens_plain", "beats_plain"])
async def test_a_handler_learns_that_its_flow_was_cancelled(yard: Yard, name: str) -> None:
    before = set(yard.children)
    flow_id = await yard.start(name)
    await yard.noted("begun")
    await yard.house.ask(CancelFlow(flow_id=flow_id))
    await yard.noted("cancelled")
    await yard.quiet()
    assert set(yard.children) == before
    assert (await yard.house.facts(flow_id))[-1] == "FlowCancelled"


async def test_without_a_hint_the_heartbeat_tells_it(yard: Yard, no_hints: None) -> None:
    flow_id = await yard.start("listens")
    await yard.noted("begun")
    await yard.house.ask(DeleteFlow(flow_id=flow_id))
    await yard.noted("cancelled")
    await yard.quiet()


async def test_a_hint_tells_it_before_the_heartbeat(yard: Yard, no_heartbeat: None) -> None:
    flow_id = await yard.start("goes_on")
    await yard.noted("begun")
    await yard.house.ask(PauseFlow(flow_id=flow_id))
    await yard.noted("paused")
    await yard.house.ask(ResumeFlow(flow_id=flow_id))
    await yard.noted("resumed")
    yard.open_gate()
    assert (await yard.ended(flow_id)).attempts_failed == 0


async def test_what_does_not_listen_is_stopped_a_moment_later(yard: Yard) -> None:
    before = set(yard.children)
    flow_id = await yard.start("stubborn")
    await yard.noted("begun")
    await yard.house.ask(CancelFlow(flow_id=flow_id))
    await yard.noted("stopped")
    await yard.quiet()
    assert set(yard.children) == before


async def test_work_that_gives_way_to_a_pause_goes_on_where_it_was(yard: Yard) -> None:
    flow_id = await yard.start("gives_way")
    await yard.noted("between")
    await yard.house.ask(PauseFlow(flow_id=flow_id))
    await yard.quiet()
    flow = await yard.house.side.store.flow(flow_id)
    assert (flow.status, flow.draining) == (Status.PAUSED, False)
    assert await yard.house.rows("select from runs where flow_id = %s", flow_id) == []
    yard.open_gate()
    await yard.house.ask(ResumeFlow(flow_id=flow_id))
    done = await yard.ended(flow_id)
    assert yard.lines() == ["first", "between", "between", "second"]
    assert (done.phase("gives_way").outputs, done.attempts_failed) == ({"attempt": 1}, 0)


async def test_handing_back_without_being_asked_is_a_failure(yard: Yard) -> None:
    flow = await yard.finish("once", "failed")
    assert flow.error is not None
    assert "nobody had asked it to stop" in flow.error["message"]


async def test_the_last_word_on_progress_is_kept_and_not_every_word(yard: Yard) -> None:
    flow_id = await yard.start("beats")

    async def said() -> dict[str, object]:
        text = await yard.house.one("select progress from runs where flow_id = %s", flow_id)
        return msgspec.json.decode(text) if text else {}

    async def last() -> bool:
        return (await said()).get("done") == 2000

    await until(last, 90)
    assert await said() == {"done": 2000, "total": 2000, "message": "unit 2000\ufffd"}
    yard.open_gate()
    await yard.ended(flow_id)


async def test_progress_that_is_none_is_refused_and_harms_nobody(yard: Yard) -> None:
    before = set(yard.children)
    flow = await yard.finish("beats_wrong", "failed")
    assert flow.error is not None
    assert (flow.error["code"], flow.attempts_failed) == ("heartbeat_invalid", 1)
    assert set(yard.children) == before


async def test_a_handler_knows_the_stores_deadline(yard: Yard) -> None:
    flow_id = await yard.start("knows_its_deadline")
    deadline = await until(lambda: yard.house.one("select deadline from runs where flow_id = %s", flow_id))
    outputs = (await yard.ended(flow_id)).phase("knows_its_deadline").outputs
    assert datetime.fromisoformat(outputs["deadline"]) == deadline
    assert 0 < outputs["left"] <= 300


async def test_a_plain_handler_may_do_what_an_async_one_may(yard: Yard) -> None:
    flow = await yard.finish("plain", number=1)
    outputs = dict(flow.phase("plain").outputs)
    assert outputs.pop("in") in yard.children
    assert outputs == {"kept": "kept", "squares": [0, 1, 4, 9], "found": "bytes"}
    assert "StepsCompleted" in await yard.house.facts(flow.id)


async def test_a_plain_validator_objects(yard: Yard) -> None:
    flow = await yard.finish("plain", "waiting_for_input")
    assert flow.waiting is not None
    assert flow.waiting.fields == ("number",)


async def test_an_async_handler_that_uses_the_plain_way_is_told_so(yard: Yard) -> None:
    flow = await yard.finish("misplaced", "failed")
    assert flow.error is not None
    assert "ctx.sync is for plain functions" in flow.error["message"]


@pytest.mark.parametrize("name", ["exits_politely", "exits_from_its_loop"])
async def test_a_handler_that_exits_fails_and_its_child_lives_on(yard: Yard, name: str) -> None:
    before = set(yard.children)
    flow = await yard.finish(name, "failed")
    assert flow.error is not None
    assert "ended itself: SystemExit: enough" in flow.error["message"]
    assert set(yard.children) == before


async def test_a_run_past_its_deadline_ends_when_its_worker_is_gone(database_url: str, tmp_path: Path) -> None:
    async with open_house(database_url, flow_type_modules=("tests.consumers.told",)) as house:
        flow = await house.begin(flow_type="where", options={"auto_execute": True, "timeout_seconds": 60})
        await house.claim("somebody who died", most=1)
        await house.shift_clock(61)
        async with open_yard(database_url, tmp_path) as yard:
            done = await yard.ended(flow.id)
    assert [(error["code"], error["class"]) for error in done.errors] == [("timeout", "timeout")]
    assert done.phase("where").attempt == 2
