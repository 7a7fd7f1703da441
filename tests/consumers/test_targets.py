"""Targets that are left alone: two services with children of their own share what they know, and flows wait."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from time import monotonic
from typing import Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from prometheus_client import REGISTRY

from consumers.app import targets_figures
from consumers.breakers import CLOSED_SECONDS, Targets
from consumers.context import Limits
from domain.deciding.following import next_action
from domain.flow import Flow
from eventstore.breakers import PROBE_SECONDS, SHARED, Breaker, Breakers, Standing
from eventstore.database import pool
from tests.consumers.conftest import ended
from tests.consumers.test_keeper import Yard
from tests.consumers.yards import lines, open_yard
from tests.waiting import until

MODULE = "tests.consumers.calling"
pytestmark = pytest.mark.asyncio(loop_scope="module")


class Outside:
    """Another system: how it answers, and who called it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = f"host-{uuid4().hex}"
        self.answers("up")

    def answers(self, how: str) -> None:
        (self.folder / "answers").write_text(how)

    @property
    def calls(self) -> list[str]:
        return lines(self.folder / "calls")

    @property
    def given(self) -> dict[str, Any]:
        return {"folder": str(self.folder), "target": self.name}

    @property
    def breaker(self) -> Breaker:
        return Breaker(SHARED, self.name)


@pytest.fixture
def outside(tmp_path: Path) -> Outside:
    return Outside(tmp_path)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def yards(module_url: str) -> AsyncIterator[tuple[Yard, Yard]]:
    """Two services on one store, each with a child of its own."""
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(open_yard(module_url, MODULE, workers=1))
        yield one, await stack.enter_async_context(open_yard(module_url, MODULE, workers=1))


async def standing(yard: Yard, outside: Outside) -> Standing:
    found = await yard.house.side.breakers.standing(outside.breaker)
    assert found is not None
    return found


async def opened(yards: tuple[Yard, Yard], outside: Outside) -> None:
    """Make flows of both services fail until the target is open."""
    outside.answers("down")
    for yard in yards:
        flow = await yard.finish("ask", "failed", within=60, **outside.given)
        assert flow.error is not None
        assert flow.error["code"] == "io_failed"
    assert (await standing(yards[0], outside)).state == "open"


async def waiting(yard: Yard, flow_id: UUID, times: int = 1) -> Flow:
    """The flow, as soon as it waits for its target for the n-th time."""

    async def there() -> Flow | None:
        flow = await yard.house.side.store.flow(flow_id)
        facts = await yard.house.facts(flow_id)
        return flow if facts.count("PhasePostponed") >= times and flow.retry is not None else None

    flow: Flow = await until(there, 60)
    return flow


async def later(yards: tuple[Yard, Yard], seconds: float) -> None:
    """Move the clock; what has become due is seen to at once."""
    await yards[0].house.shift_clock(seconds)
    for yard in yards:
        yard.keeper._wake_due.set()


async def test_what_one_service_finds_out_the_other_knows(yards: tuple[Yard, Yard], outside: Outside) -> None:
    await opened(yards, outside)
    assert len(outside.calls) == 2
    outside.answers("up")
    flows = [(yard, await yard.start("ask", **outside.given)) for yard in yards]
    for yard, flow_id in flows:
        flow = await waiting(yard, flow_id)
        assert flow.retry is not None
        assert flow.retry.reason is not None
        assert flow.retry.reason["target"] == outside.name
        assert 0 < flow.retry.delay_seconds <= 125
        assert (flow.status, flow.attempts_failed) == ("processing", 0)
        shown = next_action(flow, yard.house.side.types)
        assert shown["type"] == "wait"
        assert "it failed 2 times, the last time with network" in shown["message"]
    assert len(outside.calls) == 2
    await later(yards, 130)
    for yard, flow_id in flows:
        flow = await through(yards, yard, flow_id)
        assert flow.phases[0].outputs == {"answer": "up"}
        # the only attempt there is was not used up by waiting
        assert (flow.phases[0].attempt, flow.attempts_failed) == (1, 0)
    assert (await standing(yards[0], outside)).state == "closed"


async def through(yards: tuple[Yard, Yard], yard: Yard, flow_id: UUID) -> Flow:
    """The flow when it is completed; while it waits for the one that tries, the clock goes on."""

    async def over() -> Flow | None:
        flow = await yard.house.side.store.flow(flow_id)
        if flow.status in {"completed", "failed"}:
            return flow
        if flow.retry is not None:
            await later(yards, PROBE_SECONDS * 2)
        return None

    flow: Flow = await until(over, 60)
    assert flow.status == "completed"
    return flow


async def test_the_one_that_tries_in_vain_fails_and_the_others_wait_longer(
    yards: tuple[Yard, Yard], outside: Outside
) -> None:
    await opened(yards, outside)
    first = await yards[0].start("ask", **outside.given)
    await waiting(yards[0], first)
    await later(yards, 130)
    flow = await ended(yards[0].house, first, "failed", within=60)
    assert flow.error is not None
    assert flow.error["code"] == "io_failed"
    assert len(outside.calls) == 3
    found = await standing(yards[1], outside)
    assert found.state == "open"
    assert found.seconds is not None
    assert 130 < found.seconds <= 200


async def test_a_worker_killed_while_it_tries_does_not_block_the_target(
    yards: tuple[Yard, Yard], outside: Outside
) -> None:
    await opened(yards, outside)
    outside.answers("killing")
    await later(yards, 101)
    lost = await yards[0].finish("ask", "failed", within=60, **outside.given)
    assert lost.error is not None
    assert lost.error["code"] == "worker_lost"
    assert (await standing(yards[1], outside)).state == "half_open"
    outside.answers("up")
    other = await yards[1].start("ask", **outside.given)
    flow = await waiting(yards[1], other)
    assert flow.retry is not None
    assert flow.retry.reason is not None
    assert "one call is trying" in flow.retry.reason["message"]
    await later(yards, PROBE_SECONDS * 2)
    await through(yards, yards[1], other)
    assert (await standing(yards[0], outside)).state == "closed"


async def test_a_worker_that_takes_long_to_try_stays_the_one_that_tries(
    yards: tuple[Yard, Yard], outside: Outside
) -> None:
    await opened(yards, outside)
    await later(yards, 101)
    holding = await yards[0].start("hold", **outside.given)
    await until(lambda: len(outside.calls) == 3, 60)
    before = await yards[0].house.one("select probe_until from breakers where target = %s", outside.name)

    async def renewed() -> bool:
        after = await yards[0].house.one("select probe_until from breakers where target = %s", outside.name)
        return bool(after > before)

    await until(renewed, 60)
    (outside.folder / "go").touch()
    await ended(yards[0].house, holding, within=60)
    assert (await standing(yards[0], outside)).state == "closed"


async def test_a_target_that_asks_one_for_patience_is_left_alone_by_all(
    yards: tuple[Yard, Yard], outside: Outside
) -> None:
    outside.answers("busy")
    flow = await yards[0].finish("ask", "failed", within=60, **outside.given)
    assert flow.error is not None
    assert flow.error["class"] == "rate_limited"
    outside.answers("up")
    other = await yards[1].start("ask", **outside.given)
    flow = await waiting(yards[1], other)
    assert flow.retry is not None
    assert 30 < flow.retry.delay_seconds <= 63
    assert flow.retry.reason is not None
    assert "it asked for patience" in flow.retry.reason["message"]
    assert len(outside.calls) == 1
    await later(yards, 70)
    await through(yards, yards[1], other)


@pytest.mark.parametrize(("how", "state"), [("no", None), ("slow", "closed")])
async def test_what_is_no_fault_of_the_target_does_not_count(
    yards: tuple[Yard, Yard], outside: Outside, how: str, state: str | None
) -> None:
    outside.answers(how)
    await yards[0].finish("ask", "failed", within=60, **outside.given)
    found = await yards[0].house.side.breakers.standing(outside.breaker)
    assert (found.state if found else None) == state
    assert found is None or (found.failures, found.last_class) == (1, "retryable")


async def test_an_answer_that_says_no_closes_a_target_too(yards: tuple[Yard, Yard], outside: Outside) -> None:
    await opened(yards, outside)
    outside.answers("no")
    await later(yards, 101)
    flow = await yards[0].finish("ask", "failed", within=60, **outside.given)
    assert flow.error is not None
    assert flow.error["code"] == "unknown_host"
    assert (await standing(yards[0], outside)).state == "closed"


async def test_plain_functions_in_threads_enter_targets_too(yards: tuple[Yard, Yard], outside: Outside) -> None:
    outside.answers("down")
    flow_id = await yards[0].start("ask_in_threads", **outside.given)
    await ended(yards[0].house, flow_id, "failed", within=60)
    assert (await standing(yards[0], outside)).state == "open"
    outside.answers("up")
    again = await yards[1].start("ask_in_threads", **outside.given)
    await waiting(yards[1], again)
    await later(yards, 130)
    flow = await through(yards, yards[1], again)
    assert flow.phases[0].outputs == {"answers": ["up"] * 6}


async def test_a_target_of_its_own_says_nothing_about_that_of_others(
    yards: tuple[Yard, Yard], outside: Outside
) -> None:
    outside.answers("down")
    for yard in (yards[0], yards[0]):
        await yard.finish("ask", "failed", within=60, own=True, **outside.given)
    own = Breaker(str(yards[0].house.tenant.client_account_id), outside.name)
    found = await yards[0].house.side.breakers.standing(own)
    assert found is not None
    assert found.state == "open"
    assert await yards[0].house.side.breakers.standing(outside.breaker) is None
    outside.answers("up")
    await yards[1].finish("ask", within=60, own=True, **outside.given)


@pytest.mark.parametrize("name", ["", "https://user:password@host/", "two words", "x" * 201])
async def test_a_name_that_is_none_is_refused(yards: tuple[Yard, Yard], outside: Outside, name: str) -> None:
    flow = await yards[0].finish("ask", "failed", within=60, **(outside.given | {"target": name}))
    assert flow.error is not None
    assert flow.error["code"] == "target_invalid"


async def test_an_async_function_is_told_to_enter_by_async_with(yards: tuple[Yard, Yard], outside: Outside) -> None:
    flow = await yards[0].finish("wrongly", "failed", within=60, **outside.given)
    assert flow.error is not None
    assert flow.error["code"] == "target_invalid"


async def test_metrics_show_the_targets_that_are_not_closed(yards: tuple[Yard, Yard], outside: Outside) -> None:
    labels = {"target": outside.name, "scope": "shared", "state": "open"}
    await opened(yards, outside)
    await targets_figures(yards[0].house.side.breakers)
    assert REGISTRY.get_sample_value("mfo_target_state", labels) == 1
    total = REGISTRY.get_sample_value("mfo_targets_not_closed")
    assert total is not None
    assert total >= 1
    await later(yards, 101)
    outside.answers("up")
    await yards[0].finish("ask", within=60, **outside.given)
    await targets_figures(yards[0].house.side.breakers)
    assert REGISTRY.get_sample_value("mfo_target_state", labels) is None


async def test_a_target_that_answers_costs_one_read_a_second(module_url: str) -> None:
    connections = pool(module_url, "mfo", size=1)
    await connections.open(wait=True, timeout=30)
    targets, breaker = Targets(Breakers(connections)), Breaker(SHARED, f"host-{uuid4().hex}")

    async def asked() -> int:
        return int(connections.get_stats().get("requests_num", 0))

    try:
        before = await asked()
        began = monotonic()
        for _ in range(500):
            assert await targets.enter(breaker) is None
            await targets.answered(breaker, None)
        assert await asked() - before <= 1 + (monotonic() - began) / CLOSED_SECONDS
        await targets.failed(breaker, None, "network", Limits())
        await targets.enter(breaker)
        failed = await asked()
        await targets.answered(breaker, None)
        await targets.answered(breaker, None)
        # the first success after a failure is told, further ones are not
        assert await asked() == failed + 1
    finally:
        await connections.close()


async def test_a_store_that_cannot_be_asked_keeps_nobody_from_working(module_url: str) -> None:
    connections = pool(module_url, "mfo", size=1)
    targets, breaker = Targets(Breakers(connections)), Breaker(SHARED, "any")
    assert await targets.enter(breaker) is None
    await targets.failed(breaker, None, "network", Limits())
    await targets.answered(breaker, uuid4())
