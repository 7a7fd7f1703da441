"""What one append keeps: rows as the contract names them, chained by hash, in the order of commits."""

from __future__ import annotations

import asyncio
import hashlib
import zlib
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import msgspec
import psycopg
import pytest

from domain.commands import (
    CancelFlow,
    ExecutePhase,
    FireTimer,
    HandBackRun,
    PauseFlow,
    ReassignRun,
    RecordSteps,
    ResumeFlow,
)
from domain.errors import BodyTooLarge
from domain.events import TOPICS, FlowCreated, InputRequested, PhaseStarted
from domain.flow import Meta, Recorded
from eventstore.claims import Claims
from eventstore.codec import FIRST_HASH, decode, encode, encode_meta, plain
from eventstore.committer import Answer
from eventstore.database import connect
from eventstore.runs import Beat, Wish
from eventstore.store import append
from eventstore.timers import due
from tests.eventstore.house import House, config_for, create, started
from tests.waiting import until


async def test_the_chain_of_hashes_can_be_told_from_the_rows_alone(house: House) -> None:
    flow = await house.begin(initial_data={"notes": "n" * 20_000})
    while (await house.side.store.flow(flow.id)).run is not None:
        await house.complete(flow.id)
    rows = await house.rows(
        "select originator_version, topic, state, hash from stored_events where originator_id = %s"
        " order by originator_version",
        flow.id,
    )
    previous = bytes(32)
    for version, topic, state, kept in rows:
        name = topic.encode()
        previous = hashlib.sha256(
            b"\x01"
            + previous
            + flow.id.bytes
            + version.to_bytes(8, "big")
            + len(name).to_bytes(2, "big")
            + name
            + state
        ).digest()
        assert kept == previous
    assert [row[0] for row in rows] == list(range(1, len(rows) + 1))
    assert await house.rows("select version, hash from heads where id = %s", flow.id) == [(len(rows), previous)]


async def test_large_states_are_compressed_and_still_read(house: House) -> None:
    flow = await house.begin(initial_data={"notes": "n" * 20_000})
    state, topic = (await house.rows("select state, topic from stored_events where originator_id = %s", flow.id))[0]
    assert state[:1] == b"\x78"
    assert len(state) < 2000
    assert decode(flow.id, 1, topic, state).fact.initial_data["notes"] == "n" * 20_000  # type: ignore[union-attr]
    assert plain(state) == zlib.decompress(state)
    small = await house.begin()
    kept = await house.one("select state from stored_events where originator_id = %s", small.id)
    assert set(msgspec.json.decode(kept)) == {"meta", "data"}


def test_no_event_is_larger_than_256_kib() -> None:
    meta = Meta(
        at=datetime.now(UTC),
        client_account_id=uuid4(),
        engagement_id=uuid4(),
        user_id="maria",
        command_id="1",
        correlation_id="1",
    )
    fact = InputRequested(phase_name="ask", fields=("colour",), message="m" * 256 * 1024)
    with pytest.raises(BodyTooLarge):
        encode(Recorded(uuid4(), 1, meta, fact), encode_meta(meta), FIRST_HASH)


async def test_tenant_actor_time_causation_and_correlation_are_inside_the_hashed_state(house: House) -> None:
    flow_id = uuid4()
    await house.ask(create(flow_id), correlation_id="corr-7", causation_id="cause-7", source="kafka")
    state = await house.one("select state from stored_events where originator_id = %s limit 1", flow_id)
    meta = msgspec.json.decode(state)["meta"]
    assert {**meta, "at": None, "command_id": None} == {
        "at": None,
        "client_account_id": str(house.tenant.client_account_id),
        "engagement_id": str(house.tenant.engagement_id),
        "user_id": "maria",
        "command_id": None,
        "correlation_id": "corr-7",
        "causation_id": "cause-7",
        "source": "kafka",
    }


async def test_a_reader_that_follows_the_log_misses_nothing_under_eight_writers(house: House) -> None:
    committers = [house.another_committer() for _ in range(8)]
    for committer in committers:
        await committer.start()
    seen: list[int] = []
    done = asyncio.Event()

    async def follow() -> None:
        position = 0
        while True:
            last_round = done.is_set()
            for event in await house.side.store.tail(position, 50):
                seen.append(event.position)
                position = event.position
            if last_round and position == await house.side.store.end():
                return

    async def write(n: int) -> None:
        for _ in range(12):
            answer = await committers[n].submit(create(), house.envelope())
            assert answer.outcome == "accepted"

    reader = asyncio.create_task(follow())
    await asyncio.gather(*(write(n) for n in range(8)))
    done.set()
    await reader
    for committer in committers:
        await committer.stop()
    kept = await house.rows("select notification_id from stored_events order by 1")
    assert seen == [row[0] for row in kept]
    assert len(seen) == 8 * 12 * 2


async def test_a_group_wins_and_loses_flow_by_flow(house: House) -> None:
    moved, still = await house.begin(), await house.begin()
    committer = house.another_committer()
    async with started(committer):
        # both flows are in the other's cache; one moves on behind its back
        for flow in (moved, still):
            await committer.submit(ExecutePhase(flow_id=flow.id), house.envelope())
        await house.complete(moved.id)
        futures = [await committer.put(PauseFlow(flow_id=flow.id), house.envelope()) for flow in (moved, still)]
        answers = await asyncio.gather(*futures)
    assert [answer.outcome for answer in answers] == ["accepted", "accepted"]
    assert [answer.version for answer in answers] == [6, 3]
    assert await house.facts(moved.id) == [
        *("FlowCreated", "PhaseStarted", "PhaseCompleted", "CheckpointCreated", "PhaseStarted", "FlowPaused")
    ]


async def test_a_stale_decision_leaves_no_trace(house: House) -> None:
    flow = await house.begin()
    loaded = (await house.side.store.load([flow.id]))[flow.id]
    await house.ask(PauseFlow(flow_id=flow.id))
    before = await house.one("select count(*) from command_log")
    committer = house.another_committer()
    from eventstore.committer import _Asked, _FlowGroup

    answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
    asked = _Asked(CancelFlow(flow_id=flow.id), house.envelope(), b"h" * 32, b"{}", answer, 1)
    decision = committer._decide(_FlowGroup(loaded, [asked])).decision
    assert decision is not None
    connection = await connect(house.side.config.database_url)
    winners, _now = await append(connection, [decision])
    await connection.close()
    assert winners == {}
    assert (await house.side.store.flow(flow.id)).status == "paused"
    assert await house.one("select count(*) from command_log") == before


async def test_runs_are_queued_where_there_is_no_place_and_gone_when_they_end(house: House) -> None:
    flow = await house.begin()
    assert flow.run is not None
    state, owner, token, lease = (
        await house.rows("select state, owner, token, lease_until from runs where flow_id = %s", flow.id)
    )[0]
    assert (state, owner, token, lease) == ("queued", None, 1, None)
    await house.complete(flow.id)
    following = await house.rows("select id, phase_name from runs where flow_id = %s", flow.id)
    assert [row[1] for row in following] == ["count_1"]
    await house.ask(CancelFlow(flow_id=flow.id))
    assert await house.rows("select 1 from runs") == []


async def test_a_claimed_run_keeps_its_token_and_one_taken_over_gets_the_next(house: House) -> None:
    flow = await house.begin()
    claimed = await house.claim()
    assert [(row.flow_id, row.token) for row in claimed] == [(flow.id, 1)]
    assert await house.claim("other") == []
    assert (await house.side.runs.unattended([])).runs == []
    await house.shift_clock(7)
    assert (await house.side.runs.unattended([claimed[0].run_id])).runs == []
    [(lapsed, overdue)] = (await house.side.runs.unattended([])).runs
    assert not overdue
    await house.ask(ReassignRun(flow_id=flow.id, run_id=lapsed.run_id, token=lapsed.token), "take-over")
    run = await house.run_of(flow.id)
    assert (run.run_id, run.token) == (lapsed.run_id, 2)
    assert await house.rows("select state, owner, token, deadline from runs") == [("queued", None, 2, None)]
    again = await house.ask(ReassignRun(flow_id=flow.id, run_id=lapsed.run_id, token=1), "later")
    assert again.error is not None
    assert again.error["code"] == "run_not_current"
    assert await house.side.runs.heartbeat("me", {lapsed.run_id: Beat(1, 0)}) == ({}, {lapsed.run_id})


async def test_claims_are_taken_by_kind(house: House) -> None:
    await house.begin()
    await house.begin(flow_type="die")
    offer = house.offer(exclusive=("die",))
    exclusive, shared = await Claims(house.side.pool).claim(offer, exclusive=5, shared=5)
    assert [row.phase_name for row in exclusive.runs] == ["die"]
    assert [row.phase_name for row in shared.runs] == ["count_0"]


async def test_a_run_that_somebody_holds_a_lock_on_is_not_lost(house: House) -> None:
    await house.begin()
    await house.begin()
    mine = {row.run_id: Beat(row.token, 0) for row in await house.claim()}
    locked, free = sorted(mine)
    before = dict(await house.rows("select id, lease_until from runs"))
    async with await psycopg.AsyncConnection.connect(house.side.config.database_url) as other:
        await other.execute("set search_path = mfo")
        await other.execute("select from runs where id = %s for update", (locked,))
        wishes, gone = await house.side.runs.heartbeat("me", mine)
        assert (list(wishes), gone) == ([free], set())
    after = dict(await house.rows("select id, lease_until from runs"))
    assert after[locked] == before[locked]
    assert after[free] > before[free]
    unknown = uuid4()
    wishes, gone = await house.side.runs.heartbeat("me", {**mine, unknown: Beat(1, 0)})
    assert (set(wishes), gone) == ({locked, free}, {unknown})
    assert await house.side.runs.heartbeat("me", {locked: Beat(2, 0)}) == ({}, {locked})


async def test_a_heartbeat_keeps_progress_and_tells_what_is_wanted(house: House) -> None:
    flow = await house.begin(options={"auto_execute": True, "timeout_seconds": 60})
    [row] = await house.claim()

    async def beat(seen: int, progress: str | None = None) -> Wish:
        wishes, _ = await house.side.runs.heartbeat("me", {row.run_id: Beat(row.token, seen, progress)})
        return wishes[row.run_id]

    quiet = await beat(flow.version, '{"done": 1}')
    assert (quiet.version, quiet.paused) == (flow.version, None)
    assert 0 < quiet.seconds_left <= 60
    await house.ask(PauseFlow(flow_id=flow.id))
    await house.ask(RecordSteps(flow_id=flow.id, run_id=row.run_id, token=row.token, results={"a": 1}))
    paused = await beat(quiet.version)
    assert (paused.version, paused.paused, paused.deadline) == (flow.version + 2, True, quiet.deadline)
    assert (await beat(paused.version)).paused is None
    await house.ask(ResumeFlow(flow_id=flow.id))
    assert (await beat(paused.version)).paused is False
    assert await house.one("select progress from runs") == '{"done": 1}'


async def test_what_is_handed_back_is_queued_again_under_the_next_token(house: House) -> None:
    flow = await house.begin()
    [row] = await house.claim()
    await house.ask(HandBackRun(flow_id=flow.id, run_id=row.run_id, token=row.token))
    kept = await house.rows("select state, owner, token, lease_until, deadline from runs")
    assert kept == [("queued", None, 2, None, None)]


async def test_workers_are_told_when_somebody_stops_their_work(house: House) -> None:
    config = house.side.config
    async with await connect(config.database_url, config.shard) as listening:
        await listening.execute("listen mfo_signals")
        running, between = await house.begin(), await house.begin(options={})
        await house.complete(running.id)
        await house.ask(CancelFlow(flow_id=between.id))
        assert [notice async for notice in listening.notifies(timeout=0.2)] == []
        await house.ask(PauseFlow(flow_id=running.id))
        assert [notice.channel async for notice in listening.notifies(timeout=60, stop_after=1)] == ["mfo_signals"]
        await house.ask(CancelFlow(flow_id=running.id))
        assert [notice.channel async for notice in listening.notifies(timeout=60, stop_after=1)] == ["mfo_signals"]


async def test_deadlines_pass_by_the_stores_clock(house: House) -> None:
    flow = await house.begin(options={"auto_execute": True, "timeout_seconds": 60})
    [row] = await house.claim(most=1)
    found = await house.side.runs.unattended([])
    assert found.runs == []
    assert found.next_seconds is not None
    assert 0 < found.next_seconds <= 6
    await house.shift_clock(59)
    assert [overdue for _, overdue in (await house.side.runs.unattended([])).runs] == [False]
    await house.shift_clock(2)
    found = await house.side.runs.unattended([])
    assert [(late.flow_id, overdue) for late, overdue in found.runs] == [(flow.id, True)]
    assert found.next_seconds is None
    assert row.flow_id == flow.id


async def test_a_run_that_somebody_holds_is_his_to_end_even_past_its_deadline(house: House) -> None:
    await house.begin(options={"auto_execute": True, "timeout_seconds": 60})
    [row] = await house.claim("me", most=1)
    await house.shift_clock(3600)
    wishes, gone = await house.side.runs.heartbeat("me", {row.run_id: Beat(row.token, 0)})
    assert (set(wishes), gone) == ({row.run_id}, set())
    assert (await house.side.runs.unattended([])).runs == []


async def test_a_lease_from_before_the_clock_went_back_has_lapsed(house: House) -> None:
    flow = await house.begin()
    [row] = await house.claim("me", most=1)
    await house.shift_clock(-3600)
    assert [late.flow_id for late, _ in (await house.side.runs.unattended([])).runs] == [flow.id]
    wishes, gone = await house.side.runs.heartbeat("me", {row.run_id: Beat(row.token, 0)})
    assert (set(wishes), gone) == ({row.run_id}, set())
    assert (await house.side.runs.unattended([])).runs == []


async def test_a_retry_sets_a_timer_that_is_due_by_the_stores_clock(house: House) -> None:
    flow = await house.begin(flow_type="discovery", initial_data={"import_file_id": "f1"})
    await house.fail(flow.id)
    async with house.side.pool.connection() as connection:
        before = await due(connection, 10)
        await house.shift_clock(2)
        [timer], following = await due(connection, 10)
    assert before.timers == []
    assert before.next_seconds is not None
    assert 0 < before.next_seconds <= 1.5
    assert (timer.flow_id, timer.name, following) == (flow.id, "retry", None)
    assert timer.late_seconds > 0
    answer = await house.ask(FireTimer(flow_id=flow.id, timer=timer.name, token=timer.token))
    assert answer.flow is not None
    assert answer.flow.run is not None
    assert answer.flow.run.attempt == 2
    assert await house.rows("select 1 from timers") == []


async def test_a_timer_goes_with_its_flow_and_rests_with_it(house: House) -> None:
    flow = await house.begin(flow_type="discovery", initial_data={"import_file_id": "f1"})
    await house.fail(flow.id)
    await house.ask(PauseFlow(flow_id=flow.id))
    assert await house.rows("select 1 from timers") == []
    resumed = await house.ask(ResumeFlow(flow_id=flow.id))
    assert await house.rows("select name, token from timers") == [("retry", resumed.version)]
    await house.ask(CancelFlow(flow_id=flow.id))
    assert await house.rows("select 1 from timers") == []


async def test_events_carry_the_stores_time(house: House) -> None:
    await house.shift_clock(3 * 86_400)
    await house.begin()
    flow = await house.begin()
    assert flow.created_at is not None
    ahead = flow.created_at - datetime.now(UTC)
    assert timedelta(days=2, hours=23) < ahead < timedelta(days=3, hours=1)
    logged = await house.one("select max(at) from command_log")
    assert abs(logged - flow.created_at) < timedelta(seconds=5)


async def test_a_commit_says_to_whoever_listens_what_it_is_about(house: House) -> None:
    heard: list[str] = []
    said: set[str] = set()
    connection = await connect(house.side.config.database_url)
    for channel in ("mfo_events", "mfo_runs", "mfo_timers"):
        await connection.execute(f"listen {channel}")

    async def listen() -> None:
        async for notice in connection.notifies():
            schema, *topics = notice.payload.split()
            assert schema == "mfo"
            heard.append(notice.channel)
            said.update(topics)

    task = asyncio.create_task(listen())
    flow = await house.begin(flow_type="discovery", initial_data={"import_file_id": "f1"})
    await until(lambda: {"mfo_events", "mfo_runs"} <= set(heard))
    assert said == {TOPICS[FlowCreated], TOPICS[PhaseStarted]}
    await house.fail(flow.id)
    await until(lambda: "mfo_timers" in heard)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await connection.close()


async def test_every_shard_has_its_own_log(house: House) -> None:
    from eventstore.migrate import upgrade
    from eventstore.service import write_side

    await house.begin()
    url = house.side.config.database_url
    await asyncio.to_thread(upgrade, url, "second")
    async with write_side(config_for(url, shard="second")) as other:
        answer = await other.committer.submit(create(), house.envelope())
        assert answer.position == "second:2"
        assert await other.store.end() == 2
    assert house.side.store.position(await house.side.store.end()) == "mfo:2"
