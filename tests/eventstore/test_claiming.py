"""Whose turn it is: places are shared out between tenants by running seconds, under limits, and inside a tenant by priority."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine
from sqlalchemy.pool import StaticPool

from domain.commands import CancelFlow, HandBackRun, ReassignRun, Tenant
from eventstore import runs as statements
from eventstore.claims import Claimed, Claims, Offer, Spent, Waiting, kind
from eventstore.database import conninfo
from eventstore.waiting import Wait, for_place, for_retry
from tests.eventstore.house import House, create, new_tenant, started

QUEUE = """
with new as (
    insert into runs (id, flow_id, client_account_id, engagement_id, flow_type, flow_version, phase_name, attempt, token, state,
                      timeout_seconds, priority, queued_at)
    select gen_random_uuid(), gen_random_uuid(), %s, %s, %s, '1.0.0', 'work', 1, 1, 'queued', 300, %s,
           mfo_now() - make_interval(secs => 10000 - n)
    from generate_series(1, %s) n returning id
)
select array_agg(id order by id) from new
"""


@dataclass
class Queue:
    """The queue of a store, and processes that claim from it."""

    house: House
    names: dict[tuple[UUID, UUID], str] = field(default_factory=dict)

    async def put(self, tenant: Tenant, count: int = 1, flow_type: str = "short", priority: int = 3) -> list[UUID]:
        """Queue runs of a tenant, each a bit younger than the one before."""
        who = (tenant.client_account_id, tenant.engagement_id)
        ids: list[UUID] = await self.house.one(QUEUE, *who, flow_type, priority, count)
        await self.house.rows("select queue_up(%s::uuid[])", ids)
        return ids

    async def claim(
        self,
        places: int,
        owner: str = "me",
        flow_types: Sequence[str] = ("short", "long"),
        spent: Sequence[Spent] = (),
        **limits: Any,
    ) -> Claimed:
        """What a process with so many free places is given."""
        offer = Offer(owner=owner, shared=[kind(name, "1.0.0", "work") for name in flow_types], **limits)
        _, shared = await Claims(self.house.side.pool).claim(offer, exclusive=0, shared=places, spent=spent)
        return shared

    async def end(self, *run_ids: UUID) -> None:
        await self.house.rows("delete from runs where id = any(%s)", list(run_ids))


def of(tenant: Tenant) -> tuple[UUID, UUID]:
    return tenant.client_account_id, tenant.engagement_id


def shares(claimed: Claimed) -> Counter[tuple[UUID, UUID]]:
    return Counter((run.client_account_id, run.engagement_id) for run in claimed.runs)


@pytest.fixture
def queue(house: House) -> Queue:
    return Queue(house)


async def test_one_flow_does_not_wait_behind_five_thousand_of_another_tenant(queue: Queue) -> None:
    busy, other = new_tenant(), new_tenant()
    await queue.put(busy, 5000, priority=1)
    in_hand = (await queue.claim(8)).runs
    await queue.put(other, priority=5)
    # all places are taken, and it is known who waits
    assert (await queue.claim(0)).waiting[0] == Waiting(of(other), 5, None)
    await queue.end(in_hand[0].run_id)
    assert shares(await queue.claim(1)) == {of(other): 1}


async def test_free_places_are_shared_evenly(queue: Queue) -> None:
    first, second, third = (new_tenant() for _ in range(3))
    for tenant, count in ((first, 100), (second, 100), (third, 2)):
        await queue.put(tenant, count)
    given = await queue.claim(10)
    assert shares(given) == {of(first): 4, of(second): 4, of(third): 2}
    assert {one.tenant for one in given.waiting} == {of(first), of(second)}


async def test_who_holds_places_already_gets_fewer_new_ones(queue: Queue) -> None:
    first, second = new_tenant(), new_tenant()
    await queue.put(first, 100)
    await queue.claim(6)
    await queue.put(second, 100)
    assert shares(await queue.claim(10)) == {of(second): 8, of(first): 2}


async def test_many_tenants_take_turns(queue: Queue) -> None:
    for _ in range(60):
        await queue.put(new_tenant(), 3)
    first, second = await queue.claim(40), await queue.claim(40)
    assert (len(first.runs), len(second.runs)) == (40, 40)
    assert set((shares(first) + shares(second)).values()) == {1, 2}
    assert sum(one == 2 for one in (shares(first) + shares(second)).values()) == 20


async def worked(queue: Queue, lengths: dict[Tenant, float], seconds: float) -> Counter[tuple[UUID, UUID]]:
    """One place, given again and again; answers the seconds that each tenant had of it."""
    length = {of(tenant): taken for tenant, taken in lengths.items()}
    had: Counter[tuple[UUID, UUID]] = Counter()
    spent: list[Spent] = []
    while sum(had.values()) < seconds:
        [run] = (await queue.claim(1, spent=spent)).runs
        tenant = (run.client_account_id, run.engagement_id)
        had[tenant] += int(length[tenant])
        spent = [Spent(tenant, False, length[tenant])]
        await queue.end(run.run_id)
    await queue.claim(0, spent=spent)
    return had


async def test_tenants_share_seconds_whatever_the_length_of_their_runs(queue: Queue) -> None:
    quick, slow = new_tenant(), new_tenant()
    await queue.put(quick, 300)
    await queue.put(slow, 300)
    had = await worked(queue, {quick: 1, slow: 10}, 200)
    assert abs(had[of(quick)] - had[of(slow)]) <= 20


async def test_who_comes_new_neither_starves_others_nor_is_starved(queue: Queue) -> None:
    old, new = new_tenant(), new_tenant()
    await queue.put(old, 500)
    await worked(queue, {old: 5}, 300)
    await queue.put(new, 100)
    had = await worked(queue, {old: 5, new: 5}, 50)
    assert had == {of(old): 25, of(new): 25}


async def test_who_comes_back_after_much_use_waits_a_bit_longer(queue: Queue) -> None:
    greedy, modest = new_tenant(), new_tenant()
    await queue.put(greedy, 4)
    await worked(queue, {greedy: 10}, 40)
    await queue.put(modest, 100)
    await worked(queue, {modest: 1}, 3)
    await queue.put(greedy, 100)
    assert (await worked(queue, {greedy: 1, modest: 1}, 10))[of(modest)] == 10


@pytest.mark.parametrize("seconds", [3600, -3600])
async def test_what_was_used_is_forgotten_with_time_and_with_a_clock_that_jumps(queue: Queue, seconds: float) -> None:
    first, second = new_tenant(), new_tenant()
    await queue.put(first, 100)
    await worked(queue, {first: 10}, 60)
    for _ in range(10):
        await queue.house.shift_clock(seconds / 10)
        await queue.claim(0, spent=[Spent(of(first), False, 0)])
    assert await queue.house.one("select coalesce(max(used), 0) from shares") < 1
    await queue.put(second, 100)
    had = await worked(queue, {first: 1, second: 1}, 20)
    assert abs(had[of(first)] - had[of(second)]) <= 2


async def test_inside_a_tenant_priority_goes_first_and_then_age(queue: Queue) -> None:
    tenant = new_tenant()
    for priority in (5, 3, 1):
        await queue.put(tenant, 2, flow_type="long", priority=priority)
        await queue.put(tenant, 1, flow_type="short", priority=priority)
    order = [(await queue.claim(1)).runs[0].run_id for _ in range(9)]
    kept = {row[0]: row[1:] for row in await queue.house.rows("select id, priority, queued_at from runs")}
    assert [kept[run_id] for run_id in order] == sorted(kept.values())


async def test_a_priority_is_no_right_over_other_tenants(queue: Queue) -> None:
    loud, calm = new_tenant(), new_tenant()
    await queue.put(loud, 100, priority=1)
    await queue.put(calm, 100, priority=5)
    assert shares(await queue.claim(10)) == {of(loud): 5, of(calm): 5}


async def test_only_what_a_process_offers_is_given_to_it(queue: Queue) -> None:
    tenant = new_tenant()
    await queue.put(tenant, 3, flow_type="long")
    await queue.put(tenant, 2, flow_type="short")
    await queue.house.rows("update runs set flow_version = '2.0.0' where flow_type = 'short'")
    await queue.house.rows("update queues set kind = 'short/2.0.0/work' where kind = 'short/1.0.0/work'")
    assert await queue.claim(5, flow_types=["short"]) == Claimed([], [])
    assert len((await queue.claim(5, "another", flow_types=["long"])).runs) == 3
    newer = Offer(owner="newer", shared=["short/2.0.0/work"])
    _, shared = await Claims(queue.house.side.pool).claim(newer, exclusive=0, shared=5)
    assert len(shared.runs) == 2


async def test_the_limit_of_a_type_holds_over_all_processes(queue: Queue) -> None:
    for _ in range(6):
        await queue.put(new_tenant(), 5, flow_type="long")
    limit = {"type_runs": {"long": 7}}
    claims = await asyncio.gather(*(queue.claim(4, f"process {n}", **limit) for n in range(4)))
    assert sum(len(claimed.runs) for claimed in claims) == 7
    assert (await queue.claim(4, **limit)).runs == []
    assert {one.flow_type for one in (await queue.claim(0, **limit)).waiting} == {"long"}
    await queue.end(claims[0].runs[0].run_id)
    assert len((await queue.claim(4, **limit)).runs) == 1


async def test_a_type_at_its_limit_holds_up_no_other(queue: Queue) -> None:
    for _ in range(40):
        await queue.put(new_tenant(), 2, flow_type="long")
    last = new_tenant()
    await queue.put(last, 2, flow_type="short")
    given = await queue.claim(3, type_runs={"long": 1})
    assert sorted(await names(queue, given)) == ["long", "short", "short"]
    assert all(one.flow_type == "long" for one in given.waiting)


async def names(queue: Queue, claimed: Claimed) -> list[str]:
    ids = [run.run_id for run in claimed.runs]
    return [row[0] for row in await queue.house.rows("select flow_type from runs where id = any(%s)", ids)]


async def test_the_limit_of_a_tenant_holds_over_all_processes(queue: Queue) -> None:
    many, few = new_tenant(), new_tenant()
    await queue.put(many, 50)
    await queue.put(few, 2, flow_type="long")
    claims = await asyncio.gather(*(queue.claim(10, f"process {n}", tenant_runs=3) for n in range(4)))
    assert sum((shares(claimed) for claimed in claims), Counter()) == {of(many): 3, of(few): 2}
    # nobody waits for a place: what holds them is their own
    assert (await queue.claim(5, tenant_runs=3)) == Claimed([], [])


async def test_places_of_their_own_and_shared_ones_are_two_lines(queue: Queue) -> None:
    busy, other = new_tenant(), new_tenant()
    await queue.put(busy, 20, flow_type="short")
    await queue.put(busy, 20, flow_type="long")
    await queue.put(other, 20, flow_type="long")
    offer = Offer(owner="me", exclusive=["long/1.0.0/work"], shared=["short/1.0.0/work"])
    exclusive, shared = await Claims(queue.house.side.pool).claim(offer, exclusive=4, shared=10)
    assert shares(shared) == {of(busy): 10}
    # what it holds of the one is not counted against it in the other
    assert shares(exclusive) == {of(busy): 2, of(other): 2}


async def test_a_run_that_comes_back_to_the_queue_is_in_line_again(house: House) -> None:
    flow = await house.begin()
    [row] = await house.claim()
    assert await house.claim("other") == []
    await house.ask(HandBackRun(flow_id=flow.id, run_id=row.run_id, token=row.token))
    [row] = await house.claim("other")
    await house.ask(ReassignRun(flow_id=flow.id, run_id=row.run_id, token=row.token))
    [again] = await house.claim("third")
    assert (again.run_id, again.token) == (row.run_id, row.token + 1)


def test_runs_that_were_queued_before_an_upgrade_are_taken_over_after_it(empty_database_url: str) -> None:
    with psycopg.connect(conninfo(empty_database_url, "mfo")) as connection:
        connection.execute("create schema mfo")
        connection.commit()
        engine = create_engine("postgresql+psycopg://", creator=lambda: connection, poolclass=StaticPool)
        with engine.connect() as bound:
            config = Config()
            config.set_main_option("script_location", "eventstore/migrations")
            config.attributes["connection"] = bound
            command.upgrade(config, "0003")
            connection.execute(
                "insert into runs (id, flow_id, client_account_id, engagement_id, flow_type, phase_name, attempt, token, state,"
                " timeout_seconds, queued_at) select gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), gen_random_uuid(),"
                " 'inline', 'count_0', 1, 1, 'queued', 300, mfo_now()"
            )
            command.upgrade(config, "head")
            bound.commit()
        unattended = connection.execute(statements.UNATTENDED, ([], 7.0, 100)).fetchall()
    assert [overdue for _, _, overdue, *_ in unattended] == [False]


async def test_where_there_is_a_place_for_each_all_begin_and_nobody_stands_in_line(queue: Queue) -> None:
    ids = [run_id for _ in range(3) for run_id in await queue.put(new_tenant(), 2)]
    given = await queue.claim(6)
    assert sorted(run.run_id for run in given.runs) == sorted(ids)
    assert given.waiting == []
    assert await queue.house.one("select count(*) from queues where used is not null") == 0
    assert await queue.house.one("select count(*) from runs where owner = 'me' and lease_until < deadline") == 6


async def test_one_more_than_there_are_places_makes_a_line(queue: Queue) -> None:
    first, second = new_tenant(), new_tenant()
    await queue.put(first, 4)
    await queue.put(second, 1)
    given = await queue.claim(4)
    assert shares(given) == {of(first): 3, of(second): 1}
    assert [one.tenant for one in given.waiting] == [of(first)]


async def test_cancelled_runs_leave_nobody_waiting(house: House) -> None:
    flows = [await house.begin(flow_id=uuid4()) for _ in range(3)]
    await house.claim(most=0)
    for flow in flows:
        await house.ask(CancelFlow(flow_id=flow.id))
    assert await house.claim() == []
    assert await house.one("select count(*) from queues where used is not null") == 0


async def test_tenants_with_nothing_left_are_forgotten(queue: Queue) -> None:
    for _ in range(40):
        await queue.put(new_tenant())
    assert len((await queue.claim(50)).runs) == 40
    await queue.claim(50)
    assert await queue.house.one("select count(*) from queues") == 0


async def test_no_run_is_overlooked_while_others_come_and_go(house: House) -> None:
    """Tenants join and leave the line all the time, under several committers and claimers."""
    tenants = [new_tenant() for _ in range(25)]
    claimed: list[UUID] = []
    left = asyncio.Event()

    async def begin(tenant: Tenant) -> None:
        committer = house.another_committer()
        async with started(committer):
            for _ in range(4):
                await committer.submit(create(uuid4()), house.envelope(tenant=tenant))

    async def work(owner: str) -> None:
        while len(claimed) < 100 and not left.is_set():
            for row in await house.claim(owner, 7):
                claimed.append(row.run_id)
                await house.rows("delete from runs where id = %s", row.run_id)

    workers = [asyncio.create_task(work(f"process {n}")) for n in range(3)]
    try:
        for few in (tenants[:8], tenants[8:16], tenants[16:]):
            await asyncio.gather(*(begin(tenant) for tenant in few))
        await asyncio.wait_for(asyncio.gather(*workers), 30)
    finally:
        left.set()
    assert len(set(claimed)) == len(claimed) == 100
    assert await house.one("select count(*) from runs") == 0


async def test_what_keeps_runs_alive_looks_at_no_queued_one(queue: Queue) -> None:
    await queue.put(new_tenant(), 20_000)
    await queue.claim(5)
    await queue.house.rows("analyze runs")
    for statement, parameters in ((statements.UNATTENDED, ([], 7.0, 100)),):
        plan = "\n".join(row[0] for row in await queue.house.rows(f"explain {statement}", *parameters))
        assert "runs_running_idx" in plan, plan
        assert "Seq Scan on runs" not in plan, plan


async def why(queue: Queue, run_id: UUID) -> Wait:
    found = await for_place(queue.house.side.pool, run_id)
    assert found is not None
    return found


async def test_why_a_run_waits_is_told(queue: Queue) -> None:
    tenant, pool = new_tenant(), queue.house.side.pool
    ids = await queue.put(tenant, 5)
    assert (await why(queue, ids[0])).reason == "no_process"
    await queue.claim(0, shared_places=2)
    order = [row[0] for row in await queue.house.rows("select id from runs order by queued_at")]
    waits = [await why(queue, run_id) for run_id in order]
    assert [wait.reason for wait in waits] == ["starting", *["others_first"] * 4]
    assert [wait.before for wait in waits] == [0, 1, 2, 3, 4]
    assert waits[0].since < waits[1].since
    await queue.claim(2, shared_places=2)
    assert await for_place(pool, order[0]) is None
    full = await why(queue, order[4])
    assert (full.reason, full.running, full.limit, full.before, full.priority) == ("no_free_place", 2, 2, 2, 3)
    # who has been silent offers nothing
    await queue.house.shift_clock(11)
    assert (await why(queue, order[4])).reason == "no_process"


@pytest.mark.parametrize(
    ("limits", "reason"),
    [({"type_runs": {"short": 2}}, "flow_type_limit"), ({"tenant_runs": 2}, "tenant_limit")],
)
async def test_a_limit_that_holds_a_run_is_named(queue: Queue, limits: dict[str, Any], reason: str) -> None:
    tenant = new_tenant()
    await queue.put(tenant, 5)
    await queue.claim(5, shared_places=64, **limits)
    waiting = await queue.house.one("select id from runs where state = 'queued' order by queued_at desc limit 1")
    wait = await why(queue, waiting)
    assert (wait.reason, wait.running, wait.limit, wait.before) == (reason, 2, 2, 2)


async def test_a_retry_says_until_when_it_waits(house: House) -> None:
    flow = await house.begin()
    await house.claim()
    answer = await house.fail(flow.id)
    assert answer.flow is not None
    retry = answer.flow.retry
    assert retry is not None
    wait = await for_retry(house.side.pool, flow.id, retry.timer, retry.scheduled_at)
    assert wait is not None
    assert wait.until is not None
    assert wait.reason == "retry"
    assert 0 < (wait.until - wait.since).total_seconds() <= retry.delay_seconds + 5
