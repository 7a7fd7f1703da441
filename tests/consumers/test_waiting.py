"""Handlers that wait for something outside, in real child processes: the place is free meanwhile, nothing is lost."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio

from domain.commands import ExecutePhase, PauseFlow, ResumeFlow, SignalFlow
from domain.flow import Flow
from domain.words import Status
from tests.consumers.conftest import ended
from tests.consumers.test_keeper import Yard, quiet
from tests.consumers.yards import lines, open_yard
from tests.stack import Stack
from tests.waiting import until

MODULE = "tests.consumers.waiting"
SECRET = "correct horse battery staple"
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def module_url(stack: Stack) -> Iterator[str]:
    with stack.database(migrated=True) as url:
        yield url


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def yard(module_url: str) -> AsyncIterator[Yard]:
    async with open_yard(module_url, MODULE) as yard:
        yield yard


async def suspended(yard: Yard, flow_id: UUID) -> Flow:
    """The flow, as soon as its run has given way."""

    async def there() -> Flow | None:
        flow = await yard.house.side.store.flow(flow_id)
        return flow if flow.suspended is not None else None

    flow: Flow = await until(there, 30)
    return flow


async def signal(yard: Yard, flow_id: UUID, name: str, signal_id: str | None = None, **payload: Any) -> str:
    answer = await yard.house.ask(SignalFlow(flow_id=flow_id, name=name, payload=payload, signal_id=signal_id))
    return answer.outcome


async def test_signals_are_taken_up_in_order_by_a_handler_that_holds_no_place_meanwhile(
    yard: Yard, tmp_path: Path
) -> None:
    ledger = tmp_path / "ledger"
    flow_id = await yard.start("collect", ledger=str(ledger), orders=3)
    waits = await suspended(yard, flow_id)
    assert (waits.status, waits.run) == (Status.PROCESSING, None)
    await quiet(yard)
    assert await signal(yard, flow_id, "order", "a", n=1) == "accepted"
    assert await signal(yard, flow_id, "order", "b", n=2) == "accepted"
    assert await signal(yard, flow_id, "order", "a", n=9) == "repeated"
    assert await signal(yard, flow_id, "order", n=3) == "accepted"
    flow = await ended(yard.house, flow_id, within=30)
    assert flow.phase("collect").outputs["orders"] == [{"n": 1}, {"n": 2}, {"n": 3}]
    assert flow.phase("collect").outputs["senders"] == ["maria"] * 3
    # it ran anew as the same attempt
    assert set(lines(ledger)) == {"began 1"}
    assert flow.attempts_failed == 0
    await quiet(yard)


@pytest.mark.parametrize("kind", ["in_the_loop", "plain"])
async def test_every_kind_of_handler_can_wait(yard: Yard, kind: str) -> None:
    flow_id = await yard.start(kind)
    await suspended(yard, flow_id)
    await signal(yard, flow_id, "word", n=1)
    flow = await ended(yard.house, flow_id, within=30)
    assert flow.phase(kind).outputs == {"said": {"n": 1}}


async def test_who_waits_for_several_at_once_gets_them_all(yard: Yard) -> None:
    flow_id = await yard.start("several")
    await suspended(yard, flow_id)
    for n, name in enumerate(("blue", "green", "red")):
        await signal(yard, flow_id, name, n=n)
    flow = await ended(yard.house, flow_id, within=30)
    assert flow.phase("several").outputs == {"said": [2, 1, 0]}


async def test_the_time_may_be_up_and_a_handler_may_go_on_all_the_same(yard: Yard) -> None:
    calm, hurried = await yard.start("plain"), await yard.start("hurried")
    for flow_id in (calm, hurried):
        assert "wait" in (await suspended(yard, flow_id)).timers
    await yard.house.shift_clock(61)
    flow = await ended(yard.house, calm, within=30)
    assert flow.phase("plain").outputs == {"late": "signal 'word' did not come within 60 s"}
    failed = await ended(yard.house, hurried, "failed", within=30)
    assert failed.error is not None
    assert (failed.error["code"], failed.error["retryable"]) == ("wait_timed_out", False)
    # executed again it waits anew, and finds what came since
    await signal(yard, hurried, "word")
    await yard.house.ask(ExecutePhase(flow_id=hurried))
    await ended(yard.house, hurried, within=30)
    assert await yard.house.rows("select * from timers") == []


async def test_a_signal_during_a_pause_is_taken_up_on_resume(yard: Yard) -> None:
    flow_id = await yard.start("in_the_loop")
    await suspended(yard, flow_id)
    await yard.house.ask(PauseFlow(flow_id=flow_id))
    await signal(yard, flow_id, "word", n=7)
    paused = await yard.house.side.store.flow(flow_id)
    assert (paused.status, len(paused.signals)) == (Status.PAUSED, 1)
    await yard.house.ask(ResumeFlow(flow_id=flow_id))
    flow = await ended(yard.house, flow_id, within=30)
    assert flow.phase("in_the_loop").outputs == {"said": {"n": 7}}


async def test_a_secret_in_a_signal_is_in_clear_only_for_the_handler(yard: Yard) -> None:
    flow_id = await yard.start("secretive")
    await suspended(yard, flow_id)
    await signal(yard, flow_id, "login", credentials={"password": SECRET})
    flow = await ended(yard.house, flow_id, within=30)
    assert flow.phase("secretive").outputs == {"length": len(SECRET)}
    for table in ("stored_events", "command_log"):
        found = await yard.house.rows(f"select t::text from {table} t")
        assert SECRET.encode().hex() not in str(found)
        assert SECRET not in str(found)
