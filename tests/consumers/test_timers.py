"""Timers that fire: once each, whoever fires them, whatever the clock does, and without waiting for each other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4, uuid5

import pytest

from consumers.frames import Begin
from consumers.keeper import Keeper
from consumers.phases import PhaseWork
from consumers.pool import WorkerPool
from consumers.timers import Backoff, Firing, StoreClock
from consumers.work import Workshop
from domain.commands import Command, CreateOptions, ExecutePhase, PauseFlow, ResumeFlow
from domain.view import row
from eventstore.committer import Answer
from eventstore.database import connect
from eventstore.definitions import modules
from eventstore.past import Past
from eventstore.runs import Beat
from eventstore.service import write_side
from eventstore.timers import DUE, DueTimer, due, lead
from tests.consumers.conftest import ended
from tests.eventstore.house import FLOWS, House, config_for, open_house
from tests.spec import MIDDAY
from tests.waiting import until

FIRINGS = "select count(*) from command_log where flow_id = %s and command = 'FireTimer'"


@pytest.fixture
async def house(module_url: str) -> AsyncIterator[House]:
    """A write side as the api has it: it asks, and has no place for runs."""
    connection = await connect(module_url)
    # what the test before has left; the committer reads the clock when it starts
    await connection.execute("update clock set shift = '0 s'")
    await connection.execute("truncate timers, runs")
    await connection.close()
    async with open_house(module_url) as house:
        yield house


@asynccontextmanager
async def keeping(url: str, *, started: bool = True) -> AsyncIterator[Keeper]:
    """A keeper as a process of its own has it, for phases that run inline."""
    config = config_for(url, workers=1)
    work = PhaseWork(modules([FLOWS]))
    keeper = Keeper(1, 32)
    begin = Begin(database_url=url, shard="mfo", master_key=config.master_key, flow_type_modules=(FLOWS,))
    async with write_side(config, slots=keeper) as side:
        past = Past(side.pool, side.store)
        keeper.attach(
            side,
            WorkerPool(1, begin, memory_mb=300),
            Workshop(work, side.artifacts, side.imports, side.keyring, past),
        )
        if started:
            keeper.start()
        yield keeper
        await keeper.stop(grace_seconds=0.1)


async def later(house: House, seconds: float = 3600, **options: Any) -> UUID:
    """A flow that begins after so many seconds, and then goes on by itself."""
    given = CreateOptions(auto_execute=True, start_after_seconds=seconds, **options)
    return (await house.begin(options=given)).id


async def looked(keeper: Keeper) -> None:
    """The keeper has looked for what is due, after now."""
    assert keeper._firing is not None
    keeper._firing.wake()
    await until(lambda: keeper._firing is not None and not keeper._firing._wake.is_set())


async def fired(house: House, keeper: Keeper, flow_id: UUID) -> None:
    """The flow's only timer has fired, and the flow has come to its end."""
    await looked(keeper)
    await ended(house, flow_id, within=20)
    assert await house.one(FIRINGS, flow_id) == 1


async def test_a_flow_begins_when_its_time_has_come(house: House, module_url: str) -> None:
    flow_id = await later(house)
    async with keeping(module_url) as keeper:
        await looked(keeper)
        assert await house.facts(flow_id) == ["FlowCreated"]
        [(name, token)] = await house.rows("select name, token from timers")
        await house.shift_clock(3601)
        await fired(house, keeper, flow_id)
    assert await house.rows("select 1 from timers") == []
    # whoever fires it again says the same
    said = await house.one("select command_id from command_log where flow_id = %s and command = 'FireTimer'", flow_id)
    assert said == str(uuid5(flow_id, f"{name}:{token}"))


async def test_a_timer_that_is_set_for_soon_fires_without_being_asked(
    house: House, module_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # nobody looks by the way
    monkeypatch.setattr("consumers.timers.IDLE_SECONDS", 600.0)
    async with keeping(module_url):
        await ended(house, await later(house, 0.05), within=60)


async def test_a_clock_that_goes_back_loses_no_timer_and_repeats_none(house: House, module_url: str) -> None:
    early, late = await later(house, 60), await later(house, 1800)
    async with keeping(module_url) as keeper:
        await house.shift_clock(61)
        await fired(house, keeper, early)
        await house.shift_clock(-3600)
        await looked(keeper)
        await looked(keeper)
        assert await house.one(FIRINGS, early) == 1
        assert await house.facts(late) == ["FlowCreated"]
        await house.shift_clock(3600 + 1800)
        await fired(house, keeper, late)
        assert await house.one(FIRINGS, early) == 1


async def test_a_clock_that_goes_forward_fires_all_that_is_due_once(house: House, module_url: str) -> None:
    flows = [await later(house, 1000 + n) for n in range(40)]
    async with keeping(module_url) as keeper:
        await house.shift_clock(5000)
        for flow_id in flows:
            await fired(house, keeper, flow_id)


async def test_one_process_fires_and_another_takes_its_place(house: House, module_url: str) -> None:
    async with keeping(module_url) as other:
        async with keeping(module_url) as first:
            await until(lambda: leads(first) or leads(other))
            flows = [await later(house, 0.01) for _ in range(20)]
            for flow_id in flows:
                await ended(house, flow_id)
            assert [await house.one(FIRINGS, flow_id) for flow_id in flows] == [1] * 20
            assert leads(first) is not leads(other)
        await fired(house, other, await later(house, 0.01))
        await until(lambda: leads(other))


def leads(keeper: Keeper) -> bool:
    return keeper._firing is not None and keeper._firing.leading


async def test_a_process_that_leads_and_does_nothing_stops_no_timer(house: House, module_url: str) -> None:
    frozen = await connect(module_url)
    try:
        assert await lead(frozen)
        async with keeping(module_url) as keeper:
            await fired(house, keeper, await later(house, 0.01))
            assert not leads(keeper)
    finally:
        await frozen.close()


async def test_a_process_that_leads_and_is_slow_is_left_alone() -> None:
    asked: list[UUID] = []

    async def ask(command: Command, **_: Any) -> None:
        asked.append(command.flow_id)

    looker_on = Firing(config_for("postgresql://nobody@127.0.0.1:1/none"), ask)
    late = [DueTimer(uuid4(), "retry", 1, uuid4(), uuid4(), 2.0) for _ in range(3)]
    looker_on._fire(late)
    looker_on._fire(late[1:])
    assert looker_on._in_flight == {}
    looker_on._fire(late[1:])
    await asyncio.gather(*looker_on._in_flight.values())
    assert asked == [timer.flow_id for timer in late[1:]]


async def test_what_fires_during_a_look_is_not_fired_again() -> None:
    asked: list[UUID] = []

    async def ask(command: Command, *, command_id: str, **_: Any) -> Answer:
        asked.append(command.flow_id)
        return Answer(command_id, "accepted", command.flow_id, 2, None)

    leader = Firing(config_for("postgresql://nobody@127.0.0.1:1/none"), ask)
    leader.leading = True
    timer = DueTimer(uuid4(), "retry", 1, uuid4(), uuid4(), 0.0)
    leader._fire([timer])
    await asyncio.gather(*leader._in_flight.values())
    # the answer of a look that began before
    leader._fire([timer])
    assert leader._in_flight == {}
    assert asked == [timer.flow_id]


async def test_a_flow_that_cannot_be_decided_holds_no_other_up(house: House, module_url: str) -> None:
    broken = await later(house, 10)
    others = [await later(house, 20) for _ in range(10)]
    await house.rows("update stored_events set state = '\\x00' where originator_id = %s", broken)
    async with keeping(module_url) as keeper:
        await house.shift_clock(30)
        for flow_id in others:
            await fired(house, keeper, flow_id)
        # what is due for it waits with its other commands
        await until(lambda: house.one("select count(*) = 0 from timers"), 60)
        assert await house.rows("select flow_id, command from parked_commands") == [(broken, "FireTimer")]


async def test_what_the_flows_do_not_want_is_removed(house: House, module_url: str) -> None:
    """Rows of flows that are gone or have other timers: none is left in place to be asked about for ever."""
    flow = await house.begin(options=CreateOptions())
    gone = uuid4()
    for flow_id in (flow.id, gone):
        await house.rows(
            "insert into timers values (%s, 'retry', 1, %s, %s, mfo_now())",
            *(flow_id, house.tenant.client_account_id, house.tenant.engagement_id),
        )
    async with keeping(module_url):
        await until(lambda: emptied(house))
    assert await house.facts(flow.id) == ["FlowCreated"]


async def emptied(house: House) -> bool:
    return await house.rows("select 1 from timers") == []


async def test_a_question_that_nobody_answers_fails_the_flow_which_can_be_executed_again(
    house: House, module_url: str
) -> None:
    options = CreateOptions(auto_execute=True, input_timeout_seconds=600)
    flow = await house.begin(flow_type="discovery", options=options)
    assert flow.waiting is not None
    async with keeping(module_url) as keeper:
        await house.shift_clock(601)
        await looked(keeper)
        failed = await ended(house, flow.id, "failed")
    assert failed.error is not None
    assert failed.error["code"] == "input_expired"
    assert row(failed, house.side.types)["next_action"]["type"] == "retry"
    again = ExecutePhase(flow_id=flow.id, inputs={"import_file_id": "f1"})
    answer = await house.ask(again)
    assert answer.flow is not None
    assert answer.flow.status == "processing"


async def test_a_flow_whose_time_is_up_gives_its_run_up(house: House, module_url: str) -> None:
    flow = await house.begin(options=CreateOptions(auto_execute=True, flow_timeout_seconds=600, timeout_seconds=3600))
    [run] = await house.claim("somebody", most=1)
    async with keeping(module_url) as keeper:
        await house.shift_clock(601)
        await looked(keeper)
        failed = await ended(house, flow.id, "failed")
    assert failed.error is not None
    assert failed.error["code"] == "flow_timeout"
    assert await house.side.runs.heartbeat("somebody", {run.run_id: Beat(run.token, 0)}) == ({}, {run.run_id})


async def test_what_was_left_before_a_pause_is_left_after_it(house: House) -> None:
    flow_id = await later(house, 3600)
    await house.shift_clock(600)
    await house.begin()
    await house.ask(PauseFlow(flow_id=flow_id))
    assert await emptied(house)
    await house.shift_clock(7200)
    await house.begin()
    await house.ask(ResumeFlow(flow_id=flow_id))
    left = await house.one("select due_at - mfo_now() from timers where flow_id = %s", flow_id)
    assert timedelta(seconds=2900) < left <= timedelta(seconds=3000)


async def test_a_hundred_thousand_that_wait_cost_nothing_but_rows(house: House) -> None:
    await house.rows(
        "insert into timers select gen_random_uuid(), 'start', 1, %s, %s, mfo_now() + n * interval '1 s'"
        " from generate_series(60, 100059) n",
        *(house.tenant.client_account_id, house.tenant.engagement_id),
    )
    async with house.side.pool.connection() as connection:
        cursor = await connection.execute("explain (analyze, format json) " + DUE, (500,))
        found = await cursor.fetchone()
        looked_at = await due(connection, 500)
    assert found is not None
    nodes = [node for node in plan_of(found[0][0]["Plan"]) if node.get("Relation Name") == "timers"]
    assert {node["Node Type"] for node in nodes} <= {"Index Scan", "Index Only Scan"}, nodes
    assert sum(node["Actual Rows"] for node in nodes) == 1
    assert looked_at.timers == []
    assert looked_at.next_seconds is not None
    assert 0 < looked_at.next_seconds <= 60
    await house.rows("delete from timers")


def plan_of(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for inner in node.get("Plans", ()):
        yield from plan_of(inner)


async def test_a_clock_that_jumps_takes_no_run_from_whoever_lives(house: House, module_url: str) -> None:
    living = await house.begin()
    [mine] = await house.claim("living", most=1)
    dead = await house.begin()
    assert len(await house.claim("dead", most=1)) == 1
    async with keeping(module_url, started=False) as keeper:
        await keeper._take_over()
        await house.side.runs.heartbeat("living", {mine.run_id: Beat(mine.token, 0)})
        keeper._clock._until = 0.0
        for jump in (3600, -7200):
            await house.shift_clock(jump)
            # by the store every lease has lapsed, or lasts for hours
            await keeper._take_over()
            assert "RunReassigned" not in await house.facts(dead.id)
            assert keeper._clock.doubted_for > 5
            keeper._clock._until = 0.0
        await house.side.runs.heartbeat("living", {mine.run_id: Beat(mine.token, 0)})
        await keeper._take_over()
        assert "RunReassigned" in await house.facts(dead.id)
        assert "RunReassigned" not in await house.facts(living.id)


def test_only_a_jump_makes_the_clock_doubtful() -> None:
    clock, at = StoreClock(), MIDDAY
    assert not clock.believed(100.0, at, 100.0)
    assert not clock.believed(102.0, at + timedelta(seconds=2), 102.0)
    assert clock.believed(104.0, at + timedelta(seconds=4), 104.0)
    # a slow answer is not a jump, however the time of it falls
    assert clock.believed(105.0, at + timedelta(seconds=5), 112.0)
    assert clock.believed(113.0, at + timedelta(seconds=13.5), 113.0)
    assert not clock.believed(114.0, at + timedelta(seconds=3614), 114.0)
    assert not clock.believed(119.0, at + timedelta(seconds=3619), 119.0)
    assert clock.believed(120.5, at + timedelta(seconds=3620.5), 120.5)
    assert not clock.believed(121.0, at + timedelta(seconds=21), 121.0)


def test_what_could_not_be_done_is_left_alone_for_longer_each_time() -> None:
    held = Backoff()
    assert [held.hold("it") for _ in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert held.holds("it")
    assert not held.holds("another")
    soonest = held.soonest()
    assert soonest is not None
    assert 50 < soonest <= 60
    held.release("it")
    assert (len(held), held.soonest(), held.holds("it")) == (0, None, False)
