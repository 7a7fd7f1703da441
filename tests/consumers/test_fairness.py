"""Places of a process with real children, shared out between tenants that want more than there are."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import UUID, uuid4

import pytest
from msgspec.structs import replace

from consumers import places
from consumers.frames import Begin
from consumers.keeper import Keeper
from consumers.phases import PhaseWork
from consumers.pool import WorkerPool
from consumers.work import Workshop
from domain.commands import CreateOptions, Tenant
from domain.events import PhaseCompleted
from domain.flow_types import FlowTypes
from eventstore.definitions import modules, remember
from eventstore.past import Past
from eventstore.runs import RunRow
from eventstore.service import write_side
from eventstore.waiting import for_place
from tests.consumers.conftest import ended
from tests.consumers.flows import FLOW_TYPES
from tests.eventstore.house import FLOWS, House, config_for, create, new_tenant, started
from tests.waiting import until


@asynccontextmanager
async def process(
    url: str, children: int = 1, slots: int = 4, extra: list[ModuleType] | None = None, **settings: Any
) -> AsyncIterator[tuple[House, Keeper]]:
    """A process that runs phases, with so many places."""
    config = config_for(url, workers=children, slots=slots, **settings)
    work = PhaseWork(modules([FLOWS]) if extra is None else extra)
    keeper = Keeper(children, slots)
    begin = Begin(database_url=url, shard="mfo", master_key=config.master_key, flow_type_modules=(FLOWS,))
    async with write_side(config, slots=keeper) as side:
        pool = WorkerPool(children, begin, memory_mb=300)
        await pool.start()
        keeper.attach(
            side, pool, Workshop(work, side.artifacts, side.imports, side.keyring, Past(side.pool, side.store))
        )
        try:
            yield House(side), keeper
        finally:
            await keeper.stop(grace_seconds=0)
            await pool.stop()


async def queued(house: House, tenant: Tenant, count: int = 1, **fields: Any) -> list[UUID]:
    """Flows begun by a process that has no places, such as the api."""
    ids = [uuid4() for _ in range(count)]
    async with started(house.another_committer()) as committer:
        answers = [await committer.put(create(flow_id, **fields), house.envelope(tenant=tenant)) for flow_id in ids]
        await asyncio.gather(*answers)
    return ids


async def completions(house: House) -> list[tuple[UUID, str, int]]:
    """Every phase that was completed, in the order of the log: flow, phase, ms that it took."""
    found = []
    for (flow_id,) in await house.rows("select id from heads"):
        for position, recorded in await house.side.store.history(flow_id):
            if isinstance(recorded.fact, PhaseCompleted):
                found.append((position, (flow_id, recorded.fact.phase_name, recorded.fact.execution_time_ms)))
    return [what for _, what in sorted(found)]


async def test_a_flow_does_not_wait_behind_all_those_of_another_tenant(database_url: str) -> None:
    async with process(database_url) as (house, keeper):
        busy = await queued(house, new_tenant(), 2000)
        keeper.start()
        await until(lambda: house.one("select count(*) > 100 from heads where version > 3"), 60)
        [late] = await queued(house, new_tenant())
        await ended(house, late, within=60)
        places_in_log = [position for position, _ in await house.side.store.history(late)]
        begun = await house.one(
            "select count(*) from stored_events where originator_version = 3 and originator_id = any(%s)"
            " and notification_id between %s and %s",
            busy,
            min(places_in_log),
            max(places_in_log),
        )
        # only those had a phase done that were in hand, or whose turn came meanwhile
        assert begun < 500


async def test_a_flow_queues_once_and_goes_on_in_its_place(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    claimed: list[UUID] = []
    begin = Keeper._begin_claimed

    async def counted(keeper: Keeper, rows: list[RunRow], *, among: bool) -> None:
        claimed.extend(row.flow_id for row in rows)
        await begin(keeper, rows, among=among)

    monkeypatch.setattr(Keeper, "_begin_claimed", counted)
    async with process(database_url) as (house, keeper):
        flows = await queued(house, new_tenant(), 60)
        keeper.start()
        for flow_id in flows:
            await ended(house, flow_id)
        await until(lambda: (keeper.active, keeper._shared_free, keeper._exclusive_free) == (0, 4, 1))
        assert keeper._kept == {}
    assert sorted(claimed) == sorted(flows)


def files(folder: Path) -> dict[str, str]:
    return {"begun": str(folder / "begun"), "go": str(folder / "go")}


@pytest.mark.parametrize("slice_seconds", [0.0, 3600.0], ids=["past its time slice", "within its time slice"])
async def test_a_phase_that_ends_gives_its_place_to_a_tenant_that_waits(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slice_seconds: float
) -> None:
    monkeypatch.setattr(places, "SLICE_SECONDS", slice_seconds)
    given = files(tmp_path)
    async with process(database_url) as (house, keeper):
        keeper.start()
        first = await house.begin(flow_type="twice", initial_data=given)
        await until(lambda: list(tmp_path.glob("begun.*")))
        [other] = await queued(house, new_tenant(), flow_type="slow", initial_data=given)
        await until(lambda: keeper._line.anybody)
        (tmp_path / "go").touch()
        for flow_id in (first.id, other):
            await ended(house, flow_id)
        order = [what[:2] for what in await completions(house)]
    if slice_seconds:
        assert order == [(first.id, "slow_0"), (first.id, "slow_1"), (other, "slow")]
    else:
        assert order == [(first.id, "slow_0"), (other, "slow"), (first.id, "slow_1")]


@pytest.mark.parametrize("priority", [1, 3])
async def test_a_flow_goes_on_before_others_of_its_tenant_but_for_those_of_a_better_priority(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, priority: int
) -> None:
    monkeypatch.setattr(places, "SLICE_SECONDS", 0.0)
    given = files(tmp_path)
    async with process(database_url) as (house, keeper):
        keeper.start()
        first = await house.begin(flow_type="twice", initial_data=given)
        await until(lambda: list(tmp_path.glob("begun.*")))
        options = CreateOptions(auto_execute=True, priority=priority)
        [other] = await queued(house, house.tenant, flow_type="slow", initial_data=given, options=options)
        await until(lambda: keeper._line.anybody)
        (tmp_path / "go").touch()
        for flow_id in (first.id, other):
            await ended(house, flow_id)
        order = [what[0] for what in await completions(house)]
    assert order == ([first.id, other, first.id] if priority == 1 else [first.id, first.id, other])


async def test_tenants_share_the_seconds_of_a_place_not_the_count(database_url: str) -> None:
    quick, slow = new_tenant(), new_tenant()
    async with process(database_url) as (house, keeper):
        short = await queued(house, quick, 120, flow_type="nap", initial_data={"seconds": 0.02})
        long = await queued(house, slow, 12, flow_type="nap", initial_data={"seconds": 0.3})
        keeper.start()
        await until(
            lambda: house.one(
                "select count(*) >= 5 from stored_events where originator_id = any(%s)"
                " and topic = 'mfo.flow.PhaseCompleted.v1'",
                long,
            ),
            60,
        )
        had: Counter[str] = Counter()
        for flow_id, _, milliseconds in await completions(house):
            had["quick" if flow_id in short else "slow"] += milliseconds
    # by count the slow ones would have had fifteen times as much
    assert 0.3 < had["quick"] / had["slow"] < 3


async def test_a_type_takes_no_more_places_than_its_limit(database_url: str, tmp_path: Path) -> None:
    given = files(tmp_path)
    async with process(database_url, children=3) as (house, keeper):
        keeper.start()
        flows = [(await house.begin(flow_type="alone", initial_data=given)).id for _ in range(3)]
        other = (await house.begin(flow_type="slow", initial_data=given)).id
        await until(lambda: house.one("select count(*) = 2 from runs where state = 'running'"))
        held = await house.rows("select id from runs where state = 'queued'")
        assert len(held) == 2
        waits = [await for_place(house.side.pool, run_id) for (run_id,) in held]
        assert {wait.reason for wait in waits if wait} == {"flow_type_limit"}
        (tmp_path / "go").touch()
        for flow_id in (*flows, other):
            await ended(house, flow_id)


async def test_a_tenant_takes_no_more_places_than_its_limit_and_goes_on_within_it(
    database_url: str, tmp_path: Path
) -> None:
    given = files(tmp_path)
    async with process(database_url, children=3, tenant_runs=1) as (house, keeper):
        keeper.start()
        flows = [(await house.begin(flow_type="twice", initial_data=given)).id for _ in range(2)]
        await until(lambda: house.one("select count(*) = 1 from runs where state = 'running'"))
        [(held,)] = await house.rows("select id from runs where state = 'queued'")
        wait = await for_place(house.side.pool, held)
        assert wait is not None
        assert (wait.reason, wait.running, wait.limit) == ("tenant_limit", 1, 1)
        (tmp_path / "go").touch()
        for flow_id in flows:
            await ended(house, flow_id)
        order = [what[0] for what in await completions(house)]
    assert order in ([flows[0]] * 2 + [flows[1]] * 2, [flows[1]] * 2 + [flows[0]] * 2)


async def test_what_cannot_be_run_here_is_left_for_others(database_url: str) -> None:
    async with process(database_url, extra=[]) as (house, keeper):
        keeper.start()
        flow = await house.begin()
        run = await house.run_of(flow.id)
        await until(lambda: house.one("select true from keepers where owner = %s", keeper.owner))
        keeper._wake_claims.set()
        await until(lambda: not keeper._wake_claims.is_set())
        assert await house.rows("select state, owner, token from runs") == [("queued", None, 1)]
        wait = await for_place(house.side.pool, run.run_id)
        assert wait is not None
        assert wait.reason == "no_process"


async def test_a_definition_that_another_process_brought_is_offered_too(database_url: str) -> None:
    async with process(database_url) as (house, keeper):
        keeper.start()
        await until(lambda: keeper._offer.shared)
        newer = FlowTypes()
        inline = next(config for config in FLOW_TYPES if config.name == "inline")
        newer.register(replace(inline, version="2.0.0"), handlers=["count"], validators=[])
        await remember(house.side.pool, newer)
        keeper._look_at_definitions = 0
        keeper._wake_claims.set()
        await until(lambda: "inline/2.0.0/count_0" in keeper._offer.shared)
