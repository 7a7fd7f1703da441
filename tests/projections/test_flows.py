"""The row of a flow is what its history says, however the events arrive."""

from __future__ import annotations

import asyncio
import random
from typing import Any
from uuid import UUID

import msgspec
import pytest
from prometheus_client import REGISTRY

from domain.commands import CancelFlow, DeleteFlow, PauseFlow, RequestInput
from domain.flow_types import FlowTypes
from domain.types import FLOW_TYPES
from eventstore.database import Connection
from eventstore.definitions import remember
from projections.flows import Flows
from projections.parked import park, retry
from projections.projection import ROW_ERRORS, Applied, Parked, Projection
from projections.told import Told
from tests.projections.conftest import House
from tests.waiting import until

WAITS = "select exists (select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock')"
NUL = {"text": "a\x00b"}


async def apply(projection: Projection, connection: Connection, batch: list[Told], *, singly: bool = False) -> Applied:
    """What a member does with a batch: one transaction, then the memory."""
    async with connection.transaction():
        applied = await projection.apply(connection, batch, singly=singly)
    applied.committed()
    return applied


async def same(house: House, flow_id: UUID) -> None:
    found = await house.projected(flow_id)
    assert found is not None
    expected = await house.expected(flow_id)
    plain = {name: _plain(value) for name, value in expected.items()}
    assert {name: _plain(value) for name, value in found.items()} == plain


def _plain(value: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(value))


async def some_flows(house: House) -> list[UUID]:
    """Flows in every kind of state."""
    finished, paused, asking, cancelled, deleted, fresh = [await house.begin(f"flow {n}") for n in range(6)]
    await house.finish(finished)
    await house.complete(paused)
    await house.ask(PauseFlow(flow_id=paused, reason="lunch"))
    await house.complete(asking)
    run = (await house.side.store.flow(asking)).run
    assert run is not None
    await house.ask(
        RequestInput(
            flow_id=asking, run_id=run.run_id, token=run.token, fields=("mappings",), message="?", suggestions={"a": 1}
        )
    )
    await house.ask(CancelFlow(flow_id=cancelled))
    await house.ask(DeleteFlow(flow_id=deleted, reason="a test"))
    return [finished, paused, asking, cancelled, deleted, fresh]


async def test_a_row_is_what_the_history_says(house: House, connection: Connection) -> None:
    flow_ids = await some_flows(house)
    applied = await apply(house.flows(), connection, await house.told())
    assert applied.rows == len(flow_ids)
    for flow_id in flow_ids:
        await same(house, flow_id)
    assert (
        await house.one("select count(*) from crewai_flow_state_extensions where flow_persistence_data = flow_state")
        == 6
    )


async def test_repeats_gaps_and_any_order_make_the_same_rows(house: House, connection: Connection) -> None:
    flow_ids = await some_flows(house)
    told, chance = await house.told(), random.Random(7)
    for _ in range(5):
        await connection.execute("truncate flow_state_extensions_v1, flow_tags_v1, flow_words_v1, flow_totals_v1")
        flows, rest = house.flows(), told * 2
        chance.shuffle(rest)
        while rest:
            size = chance.randint(1, 12)
            await apply(flows, connection, rest[:size])
            rest = rest[size:]
            if chance.random() < 0.2:
                flows.forget()
        for flow_id in flow_ids:
            await same(house, flow_id)
        await totals_are_right(house)


async def totals_are_right(house: House) -> None:
    """They are what the rows add up to."""
    of = "client_account_id, engagement_id, flow_type, flow_status"
    counted = await house.all(f"select {of}, count(*) from crewai_flow_state_extensions group by {of} order by {of}")
    assert await house.all(f"select {of}, n from flow_totals order by {of}") == counted


async def test_members_who_write_at_the_same_time_wait_for_no_total(house: House, connection: Connection) -> None:
    await house.begin("one")
    first = await house.told()
    await house.begin("two")
    second = (await house.told())[len(first) :]
    async with connection.transaction():
        await apply(house.flows(), connection, first)
        async with house.side.pool.connection() as other, asyncio.timeout(20):
            await apply(house.flows(), other, second)
    await totals_are_right(house)
    assert await house.one("select sum(n) from flow_totals") == 2


async def test_a_flow_that_two_members_find_new_is_counted_once(house: House, connection: Connection) -> None:
    flow_id = await house.begin()
    early = await house.told()
    await house.finish(flow_id)
    whole = await house.told()
    async with house.side.pool.connection() as other:
        async with connection.transaction():
            await apply(house.flows(), connection, early)
            late = asyncio.create_task(apply(house.flows(), other, whole))
            # it has begun, and waits for the row
            await until(lambda: house.one(WAITS))
        await late
    await same(house, flow_id)
    await totals_are_right(house)


async def test_a_gap_is_filled_from_the_store(house: House, connection: Connection) -> None:
    flow_id = await house.begin()
    flows = house.flows()
    await apply(flows, connection, await house.told())
    await house.finish(flow_id)
    await apply(flows, connection, (await house.told())[-1:])
    await same(house, flow_id)


async def test_an_older_row_never_replaces_a_newer_one(house: House, connection: Connection) -> None:
    flow_id = await house.begin()
    early, stale = await house.told(), house.flows()
    await apply(stale, connection, early[:1])
    await house.finish(flow_id)
    await apply(house.flows(), connection, await house.told())
    # the stale member still believes in version 1
    applied = await apply(stale, connection, early[1:])
    assert applied.rows == 0
    await same(house, flow_id)


async def test_events_of_another_history_are_left_alone(house: House, connection: Connection) -> None:
    told = (await _told_of_one(house))[2]
    stranger = Told(UUID(int=9), told.version, told.position, told.topic, told.body)
    applied = await apply(house.flows(), connection, [stranger])
    assert (applied.rows, applied.parked) == (0, [])


async def test_a_finished_flow_is_let_go_and_the_memory_is_bounded(
    house: House, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow_id = await house.begin()
    flows = house.flows()
    await apply(flows, connection, await house.told())
    assert list(flows._cache) == [flow_id]
    await house.finish(flow_id)
    await apply(flows, connection, await house.told())
    assert not flows._cache
    assert flows._cost == 0
    monkeypatch.setattr("projections.flows.CACHE_BYTES", 20_000)
    for _ in range(12):
        await house.begin()
    await apply(flows, connection, await house.told())
    assert 0 < len(flows._cache) < 12
    assert flows._cost <= 20_000


async def test_what_evolve_cannot_take_concerns_its_flow_alone(house: House, connection: Connection) -> None:
    bad, good = await house.begin(), await house.begin()
    told = await house.told()
    spoilt = [
        Told(event.flow_id, event.version, event.position, event.topic, b"{}") if event.flow_id == bad else event
        for event in told
    ]
    applied = await apply(house.flows(), connection, spoilt)
    assert [(each.flow_id, each.version) for each in applied.parked] == [(bad, 1)]
    assert "Error" in applied.parked[0].error
    await same(house, good)
    assert await house.projected(bad) is None


async def test_a_row_that_postgresql_refuses_concerns_its_flow_alone(house: House, connection: Connection) -> None:
    bad, good = await house.begin(), await house.begin()
    await house.complete(bad, NUL)
    told, flows = await house.told(), house.flows()
    with pytest.raises(ROW_ERRORS):
        await apply(flows, connection, told)
    applied = await apply(flows, connection, told, singly=True)
    assert [each.flow_id for each in applied.parked] == [bad]
    await same(house, good)


async def test_a_retry_tells_the_whole_history_once_more(house: House, connection: Connection) -> None:
    flow_id = await house.begin()
    flows = house.flows()
    await park(connection, flows.name, [Parked(flow_id, 1, "ValueError: a test")])
    assert await retry(connection, flows, flow_id) is None
    assert await house.one("select count(*) from parked_flows") == 0
    await same(house, flow_id)
    await house.complete(flow_id, NUL)
    await park(connection, flows.name, [Parked(flow_id, 1, "ValueError: a test")])
    reason = await retry(connection, flows, flow_id)
    assert reason is not None
    assert await house.one("select error from parked_flows where flow_id = %s", flow_id) == reason
    assert await retry(connection, flows, UUID(int=1)) is None


async def test_a_type_version_that_came_later_is_learned(house: House, connection: Connection) -> None:
    flow_id = await house.begin()
    learned: list[int] = []
    empty = FlowTypes()

    async def learn() -> None:
        learned.append(1)
        await remember(house.side.pool, house.side.types)
        for config in FLOW_TYPES:
            empty.remember(config)

    await apply(Flows(empty, learn), connection, await house.told())
    assert learned == [1]
    await same(house, flow_id)


async def test_a_type_version_nobody_knows_sets_the_flow_aside(house: House, connection: Connection) -> None:
    flow_id = await house.begin()

    async def learn() -> None:
        return None

    applied = await apply(Flows(FlowTypes(), learn), connection, await house.told())
    assert [each.flow_id for each in applied.parked] == [flow_id]
    assert "not known" in applied.parked[0].error


async def test_each_event_is_counted_once(house: House, connection: Connection) -> None:
    flow_id = await house.begin()
    await house.finish(flow_id)
    before = _counted()
    flows, told = house.flows(), await house.told()
    await apply(flows, connection, told[:5])
    await apply(flows, connection, told[3:])
    await apply(flows, connection, told)
    await apply(house.flows(), connection, told)
    after = _counted()
    assert {name: after[name] - before[name] for name in after} == {"created": 1, "completed": 1, "phases": 6}


async def test_flows_are_found_by_their_words(house: House, connection: Connection) -> None:
    wanted, _ = await house.begin("Warehouse Berlin"), await house.begin("Warehouse Paris")
    await apply(house.flows(), connection, await house.told())
    found = await house.all(
        "select flow_id from crewai_flow_state_extensions where search_words @@ websearch_to_tsquery('simple', %s)",
        "berlin",
    )
    assert found == [(wanted,)]


async def _told_of_one(house: House) -> list[Told]:
    await house.begin()
    await house.complete((await house.told())[0].flow_id)
    return await house.told()


def _counted() -> dict[str, float]:
    def value(name: str, **labels: str) -> float:
        return REGISTRY.get_sample_value(name, {"flow_type": "discovery", **labels}) or 0.0

    phases = sum(
        sample.value
        for metric in REGISTRY.collect()
        for sample in metric.samples
        if sample.name == "phase_duration_seconds_count"
    )
    return {
        "created": value("flow_total", status="created"),
        "completed": value("flow_total", status="completed"),
        "phases": phases,
    }
