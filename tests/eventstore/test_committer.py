"""The door to the write side: facts, silence and refusals, each once, whatever happens around the commit."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import sql

from domain.commands import (
    CancelFlow,
    CompletePhase,
    DeleteFlow,
    ExecutePhase,
    PauseFlow,
    ProvideInput,
    ResumeFlow,
)
from domain.errors import MfoError, StoreBusy, StoreUnavailable
from domain.flow import Flow, Run
from eventstore.committer import Answer
from eventstore.database import Connection, connect
from tests.eventstore.house import House, create, new_tenant, started
from tests.waiting import until


class Places:
    """Room for `size` runs; those handed over are noted."""

    owner = "this process"

    def __init__(self, size: int) -> None:
        self.free = size
        self.begun: list[UUID] = []

    def take(self, flow: Flow, run: Run) -> bool:
        if self.free == 0:
            return False
        self.free -= 1
        return True

    def give_back(self, run: Run) -> None:
        self.free += 1

    def hand_over(self, flow: Flow, run: Run) -> None:
        self.begun.append(run.run_id)


def code(answer: Answer) -> str:
    assert answer.error is not None, answer
    assert answer.outcome == "refused"
    return str(answer.error["code"])


async def test_two_committers_of_one_flow_lose_nothing(house: House) -> None:
    flow = await house.begin()
    other = house.another_committer()
    async with started(other):
        committers = [house.committer, other]
        for n in range(6):
            verb = PauseFlow(flow_id=flow.id) if n % 2 == 0 else ResumeFlow(flow_id=flow.id)
            answer = await committers[n % 2].submit(verb, house.envelope())
            assert (answer.outcome, answer.version) == ("accepted", 3 + n)
        # both at once: one pauses, the other finds it paused
        both = await asyncio.gather(*(c.submit(PauseFlow(flow_id=flow.id), house.envelope()) for c in committers))
    assert sorted(answer.outcome for answer in both) == ["accepted", "repeated"]
    assert {answer.version for answer in both} == {9}
    assert await house.facts(flow.id) == [
        *("FlowCreated", "PhaseStarted", *("FlowPaused", "FlowResumed") * 3),
        "FlowPaused",
    ]


async def test_what_a_committer_is_told_of_a_flow_may_be_old(house: House) -> None:
    flow = await house.begin()
    loaded = (await house.side.store.load([flow.id]))[flow.id]
    await house.ask(PauseFlow(flow_id=flow.id))
    async with started(house.another_committer()) as other:
        other.know(loaded)
        answer = await other.submit(ResumeFlow(flow_id=flow.id), house.envelope())
        assert (answer.outcome, answer.version) == ("accepted", flow.version + 2)
        # what it knows better it keeps
        other.know(loaded)
        answer = await other.submit(PauseFlow(flow_id=flow.id), house.envelope())
        assert (answer.outcome, answer.version) == ("accepted", flow.version + 3)


async def test_a_repeat_gets_the_first_answer(house: House) -> None:
    flow_id = uuid4()
    first = await house.ask(create(flow_id), "key-1")
    await house.ask(PauseFlow(flow_id=flow_id))
    other = house.another_committer()
    async with started(other):
        repeats = [
            await house.ask(create(flow_id), "key-1"),
            await other.submit(create(flow_id), house.envelope("key-1")),
        ]
    for again in repeats:
        assert again.outcome == "repeated"
        assert (again.flow_id, again.version, again.position) == (flow_id, first.version, first.position)
        assert again.flow == first.flow
    assert await house.one("select count(*) from stored_events") == 3
    outcomes = await house.rows("select outcome from command_log where command_id = 'key-1' order by at")
    assert [row[0] for row in outcomes] == ["accepted", "repeated", "repeated"]


async def test_repeats_within_one_group_are_found_before_the_commit(house: House) -> None:
    flow_id = uuid4()
    futures = [await house.committer.put(create(flow_id), house.envelope("key-1")) for _ in range(5)]
    answers = await asyncio.gather(*futures)
    assert [answer.outcome for answer in answers] == ["accepted", *["repeated"] * 4]
    assert {answer.position for answer in answers} == {answers[0].position}
    assert await house.facts(flow_id) == ["FlowCreated", "PhaseStarted"]


async def test_repeats_at_two_committers_at_once_write_once(house: House) -> None:
    flow_id = uuid4()
    other = house.another_committer()
    async with started(other):
        answers = await asyncio.gather(
            *(c.submit(create(flow_id), house.envelope("key-1")) for c in (house.committer, other) for _ in range(4))
        )
    assert sorted(answer.outcome for answer in answers) == ["accepted", *["repeated"] * 7]
    assert await house.facts(flow_id) == ["FlowCreated", "PhaseStarted"]


async def test_a_repeat_beside_a_new_command_of_its_flow_loses_neither(house: House) -> None:
    flow = await house.begin()
    await house.ask(PauseFlow(flow_id=flow.id), "pause")
    futures = [
        await house.committer.put(PauseFlow(flow_id=flow.id), house.envelope("pause")),
        await house.committer.put(ResumeFlow(flow_id=flow.id), house.envelope("resume")),
    ]
    repeated, accepted = await asyncio.gather(*futures)
    assert (repeated.outcome, repeated.version) == ("repeated", 3)
    assert (accepted.outcome, accepted.version) == ("accepted", 4)


async def test_an_id_used_before_with_another_body_is_refused(house: House) -> None:
    first = await house.begin()
    await house.ask(PauseFlow(flow_id=first.id), "key-1")
    assert code(await house.ask(PauseFlow(flow_id=first.id, reason="lunch"), "key-1")) == "idempotency_key_reused"
    assert code(await house.ask(ResumeFlow(flow_id=first.id), "key-1")) == "idempotency_key_reused"
    # and in one group
    futures = [await house.committer.put(create(name), house.envelope("key-2")) for name in (UUID(int=1), UUID(int=2))]
    accepted, refused = await asyncio.gather(*futures)
    assert accepted.outcome == "accepted"
    assert code(refused) == "idempotency_key_reused"
    assert not (await house.side.store.flow(UUID(int=2))).exists


async def test_the_same_id_from_another_tenant_is_another_command(house: House) -> None:
    mine, theirs = uuid4(), uuid4()
    tenant = new_tenant()
    futures = [
        await house.committer.put(create(mine), house.envelope("key-1")),
        await house.committer.put(create(theirs), house.envelope("key-1", tenant)),
    ]
    assert [answer.outcome for answer in await asyncio.gather(*futures)] == ["accepted", "accepted"]
    colleague = house.tenant.__class__(house.tenant.client_account_id, uuid4(), "eve")
    answer = await house.committer.submit(create(), house.envelope("key-1", colleague))
    assert answer.outcome == "accepted"


async def test_ids_lie_in_one_table_and_the_log_in_partitions_by_time(house: House) -> None:
    rows = await house.rows("select relname, pg_get_partkeydef(oid) from pg_class where relkind in ('r', 'p')")
    cut_by = dict(rows)
    assert (cut_by["command_ids"], cut_by["command_log"]) == (None, "RANGE (at)")


async def test_another_tenants_flow_is_not_found_and_tells_nothing(house: House) -> None:
    flow = await house.begin()
    stranger = house.envelope("key-1", new_tenant())
    answer = await house.committer.submit(CancelFlow(flow_id=flow.id), stranger)
    nowhere = await house.committer.submit(CancelFlow(flow_id=uuid4()), house.envelope("key-2", new_tenant()))
    assert code(answer) == "flow_not_found"
    assert (answer.error, answer.version, answer.position, answer.flow) == (nowhere.error, 0, None, None)
    again = await house.committer.submit(CancelFlow(flow_id=flow.id), stranger)
    assert (again.outcome, again.error, again.version, again.flow) == ("repeated", answer.error, 0, None)


async def test_a_flow_belongs_to_its_creator_whoever_asked_for_it_in_the_same_group(house: House) -> None:
    flow_id, stranger = uuid4(), new_tenant()
    futures = [
        await house.committer.put(CancelFlow(flow_id=flow_id), house.envelope("a", stranger)),
        await house.committer.put(create(flow_id), house.envelope("b")),
        await house.committer.put(CancelFlow(flow_id=flow_id), house.envelope("c", stranger)),
    ]
    before, created, after = await asyncio.gather(*futures)
    assert code(before) == code(after) == "flow_not_found"
    assert (created.outcome, created.version) == ("accepted", 2)
    owner = (house.tenant.client_account_id, house.tenant.engagement_id)
    for table in ("heads", "runs"):
        assert await house.rows(f"select client_account_id, engagement_id from {table}") == [owner]


async def test_a_command_for_an_unknown_flow_is_kept_and_makes_no_head(house: House) -> None:
    flow_id = uuid4()
    assert code(await house.ask(PauseFlow(flow_id=flow_id), "key-1")) == "flow_not_found"
    assert await house.rows("select 1 from heads") == []
    kept = await house.rows("select command, outcome, version, flow_id, error::json->>'code', body from command_log")
    assert kept[0][:5] == ("PauseFlow", "refused", 0, flow_id, "flow_not_found")
    # nothing waits for a later CreateFlow, and the id stays answered
    await house.ask(create(flow_id))
    again = await house.ask(PauseFlow(flow_id=flow_id), "key-1")
    assert again.outcome == "repeated"
    assert again.error is not None
    assert again.error["code"] == "flow_not_found"
    assert (await house.side.store.flow(flow_id)).status == "processing"


async def test_refusals_and_silence_are_kept_with_who_and_why(house: House) -> None:
    flow = await house.begin()
    refused = await house.ask(ExecutePhase(flow_id=flow.id), "execute", ip_address="10.0.0.1", user_agent="curl")
    assert code(refused) == "phase_already_running"
    assert refused.error is not None
    assert refused.error["allowed"] == ["pause", "cancel", "delete"]
    await house.ask(PauseFlow(flow_id=flow.id), "pause")
    silent = await house.ask(PauseFlow(flow_id=flow.id), "pause-again")
    assert (silent.outcome, silent.version) == ("repeated", 3)
    rows = await house.rows(
        "select command_id, outcome, version, user_id, correlation_id, ip_address from command_log order by at offset 1"
    )
    assert rows == [
        ("execute", "refused", 2, "maria", "c-1", "10.0.0.1"),
        ("pause", "accepted", 3, "maria", "c-1", None),
        ("pause-again", "repeated", 3, "maria", "c-1", None),
    ]
    for key, first in (("execute", refused), ("pause-again", silent)):
        command = ExecutePhase(flow_id=flow.id) if key == "execute" else PauseFlow(flow_id=flow.id)
        again = await house.ask(command, key)
        assert (again.outcome, again.version, again.position) == ("repeated", first.version, first.position)


async def test_a_refusal_counts_only_at_the_version_it_was_decided_on(house: House) -> None:
    flow = await house.begin()
    other = house.another_committer()
    async with started(other):
        # the other remembers the flow with a phase running
        await other.submit(PauseFlow(flow_id=flow.id), house.envelope())
        await house.ask(ResumeFlow(flow_id=flow.id))
        await house.complete(flow.id)
        await house.complete(flow.id)
        await house.complete(flow.id)
        answer = await other.submit(ExecutePhase(flow_id=flow.id), house.envelope())
    assert code(answer) == "flow_is_over"


async def test_a_version_that_was_named_must_be_the_flows(house: House) -> None:
    flow = await house.begin()
    assert code(await house.ask(PauseFlow(flow_id=flow.id), expected_version=1)) == "version_moved"
    assert (await house.ask(PauseFlow(flow_id=flow.id), expected_version=2)).outcome == "accepted"


async def test_commands_of_one_flow_are_decided_in_the_order_they_came(house: House) -> None:
    flow_id = uuid4()
    commands = [create(flow_id), PauseFlow(flow_id=flow_id), ResumeFlow(flow_id=flow_id), CancelFlow(flow_id=flow_id)]
    futures = [await house.committer.put(command, house.envelope()) for command in commands]
    answers = await asyncio.gather(*futures)
    assert [answer.version for answer in answers] == [2, 3, 4, 5]
    assert [str(answer.flow.status) for answer in answers if answer.flow] == [
        *("processing", "paused", "processing", "cancelled")
    ]
    positions = [int((answer.position or "").split(":")[1]) for answer in answers]
    assert positions == sorted(positions)


async def test_a_completion_and_the_next_phase_are_one_commit(house: House) -> None:
    flow = await house.begin()
    answer = await house.complete(flow.id)
    assert answer.flow is not None
    assert answer.flow.run is not None
    assert answer.flow.run.phase_name == "count_1"
    rows = await house.rows("select xmin::text from stored_events where originator_version > 2")
    runs = await house.rows("select xmin::text from runs")
    assert len(rows) == 3
    assert {*rows} == {*runs}


async def test_a_stale_result_is_refused_and_a_repeated_one_answered(house: House) -> None:
    flow = await house.begin()
    run = await house.run_of(flow.id)
    stale = CompletePhase(flow_id=flow.id, run_id=run.run_id, token=run.token + 1)
    assert code(await house.ask(stale)) == "run_not_current"
    done = CompletePhase(flow_id=flow.id, run_id=run.run_id, token=run.token)
    assert (await house.ask(done, "done")).outcome == "accepted"
    assert (await house.ask(done, "done")).outcome == "repeated"
    assert code(await house.ask(done, "done by another")) == "run_not_current"


async def test_a_run_is_born_into_a_free_place_else_queued(house: House) -> None:
    places = Places(1)
    committer = house.another_committer(slots=places)
    async with started(committer):
        first = await committer.submit(create(), house.envelope())
        second = await committer.submit(create(), house.envelope())
        assert first.flow is not None
        assert second.flow is not None
        assert first.flow.run is not None
        assert second.flow.run is not None
        rows = await house.rows("select id, state, owner from runs order by queued_at")
        assert rows == [
            (first.flow.run.run_id, "running", "this process"),
            (second.flow.run.run_id, "queued", None),
        ]
        assert places.begun == [first.flow.run.run_id]
        lease = await house.one("select extract(epoch from lease_until - queued_at) from runs where owner is not null")
        assert lease == 6
        # a commit that does not come about gives its place back
        places.free = 1
        await committer.submit(PauseFlow(flow_id=first.flow_id), house.envelope("p"))
        await committer.submit(create(first.flow_id), house.envelope("again"))
        assert places.free == 1


class Cut:
    """A connection that fails once at its append: before the statement, or after it was committed."""

    def __init__(self, house: House, *, after: bool) -> None:
        self.house, self.after, self.armed = house, after, False

    async def connect(self) -> Connection:
        connection = await connect(self.house.side.config.database_url, self.house.side.config.shard)
        execute = connection.execute

        async def cut(statement: Any, *arguments: Any, **options: Any) -> Any:
            if not self.armed or "append_group" not in str(statement):
                return await execute(statement, *arguments, **options)
            self.armed = False
            if self.after:
                await execute(statement, *arguments, **options)
            pid = connection.info.backend_pid
            await self.house.rows("select pg_terminate_backend(%s)", pid)
            await until(lambda: self.house.one("select count(*) = 0 from pg_stat_activity where pid = %s", pid))
            return await execute("select 1")

        connection.execute = cut  # type: ignore[assignment]
        return connection


@pytest.mark.parametrize("after", [False, True], ids=["before the commit", "before its acknowledgement"])
async def test_a_lost_connection_answers_as_if_nothing_had_been(house: House, after: bool) -> None:
    wire = Cut(house, after=after)
    committer = house.another_committer(connect=wire.connect)
    flow = await house.begin()
    async with started(committer):
        wire.armed = True
        futures = [
            await committer.put(PauseFlow(flow_id=flow.id), house.envelope("pause")),
            await committer.put(create(UUID(int=5)), house.envelope("create")),
            await committer.put(ExecutePhase(flow_id=flow.id), house.envelope("execute")),
        ]
        paused, created, refused = await asyncio.gather(*futures)
    assert (paused.outcome, paused.version) == ("repeated" if after else "accepted", 3)
    assert (created.outcome, created.version) == ("repeated" if after else "accepted", 2)
    assert refused.error is not None
    assert refused.error["code"] == "flow_paused"
    assert await house.facts(flow.id) == ["FlowCreated", "PhaseStarted", "FlowPaused"]
    assert await house.facts(UUID(int=5)) == ["FlowCreated", "PhaseStarted"]
    assert paused.position is not None
    assert created.position is not None


async def test_a_run_whose_commit_was_not_acknowledged_is_taken_over_by_anybody(house: House) -> None:
    wire, places = Cut(house, after=True), Places(5)
    committer = house.another_committer(connect=wire.connect, slots=places)
    async with started(committer):
        wire.armed = True
        await committer.submit(create(), house.envelope())
    assert (places.free, places.begun) == (5, [])
    await house.shift_clock(7)
    # the row names this process, which does not have it in hand
    [(row, _)] = (await house.side.runs.unattended([])).runs
    assert await house.one("select owner from runs where id = %s", row.run_id) == "this process"


async def test_a_process_that_dies_after_the_commit_is_asked_again_elsewhere(house: House) -> None:
    flow = await house.begin()
    committer = house.another_committer()
    await committer.start()
    future = await committer.put(PauseFlow(flow_id=flow.id), house.envelope("pause"))
    await until(lambda: house.one("select true from command_ids where command_id = 'pause'"))
    future.cancel()
    await committer.stop()
    again = await house.ask(PauseFlow(flow_id=flow.id), "pause")
    assert (again.outcome, again.version) == ("repeated", 3)
    assert await house.facts(flow.id) == ["FlowCreated", "PhaseStarted", "FlowPaused"]


async def test_one_command_that_cannot_be_kept_fails_alone(house: House) -> None:
    flow = await house.begin()
    futures = [
        await house.committer.put(create(), house.envelope()),
        await house.committer.put(PauseFlow(flow_id=flow.id), house.envelope("nul\x00")),
        await house.committer.put(create(), house.envelope()),
    ]
    first, bad, last = await asyncio.gather(*futures, return_exceptions=True)
    assert isinstance(first, Answer)
    assert isinstance(last, Answer)
    assert isinstance(bad, MfoError)
    assert bad.code == "internal_error"
    assert (await house.ask(PauseFlow(flow_id=flow.id))).outcome == "accepted"


async def test_a_full_queue_takes_results_but_nothing_from_outside(house: House) -> None:
    flow = await house.begin()
    run = await house.run_of(flow.id)
    committer = house.another_committer(max_queue=0)
    async with started(committer):
        with pytest.raises(StoreBusy):
            await committer.submit(create(), house.envelope())
        done = CompletePhase(flow_id=flow.id, run_id=run.run_id, token=run.token)
        assert (await committer.submit(done, house.envelope())).outcome == "accepted"
    with pytest.raises(StoreBusy):
        await committer.submit(done, house.envelope())


async def test_many_flows_at_once_share_commits(house: House) -> None:
    answers = await asyncio.gather(*(house.ask(create()) for _ in range(300)))
    assert {answer.outcome for answer in answers} == {"accepted"}
    commits = await house.one("select count(distinct xmin::text) from stored_events")
    assert commits <= 20


async def test_deleted_flows_take_nothing(house: House) -> None:
    flow = await house.begin()
    await house.ask(DeleteFlow(flow_id=flow.id))
    assert code(await house.ask(CancelFlow(flow_id=flow.id))) == "flow_is_over"
    assert (await house.ask(DeleteFlow(flow_id=flow.id))).outcome == "repeated"


async def test_large_bodies_are_moved_aside_and_found_again(house: House) -> None:
    rows = [{"n": n, "text": "t" * 90} for n in range(9000)]
    answer = await house.ask(create(initial_data={"rows": rows, "kind": "list"}), "large")
    assert answer.flow is not None
    kept = answer.flow.initial_data
    assert kept["kind"] == "list"
    assert set(kept["rows"]) == {"$artifact", "size_bytes"}
    whole = await house.side.artifacts.unspill(house.tenant.client_account_id, kept)
    assert whole["rows"] == rows
    assert (await house.ask(create(answer.flow_id, initial_data={"rows": rows, "kind": "list"}), "large")).outcome == (
        "repeated"
    )
    small = {f"name{n}": "v" * 100 for n in range(2000)}
    with pytest.raises(MfoError, match="too many small values"):
        await house.ask(create(initial_data=small))


async def test_large_answers_and_inputs_are_moved_aside(house: House) -> None:
    flow = await house.begin()
    await house.complete(flow.id, {"rows": ["x" * 100] * 3000})
    outputs = (await house.side.store.flow(flow.id)).phase("count_0").outputs
    assert set(outputs["rows"]) == {"$artifact", "size_bytes"}
    asking = await house.begin(flow_type="discovery", initial_data={})
    assert asking.waiting is not None
    given = ProvideInput.model_validate({"flow_id": asking.id, "import_file_ids": ["i" * 40] * 5000})
    answer = await house.ask(given)
    assert answer.flow is not None
    assert set(answer.flow.inputs["import_file_ids"]) == {"$artifact", "size_bytes"}


async def refuse_connections(house: House, *, refused: bool) -> None:
    """Cut the database off, or let it be reached again."""
    url, name = (
        house.side.config.database_url,
        psycopg.conninfo.conninfo_to_dict(house.side.config.database_url)["dbname"],
    )
    elsewhere = psycopg.conninfo.make_conninfo(url, dbname="template1")
    async with await psycopg.AsyncConnection.connect(elsewhere, autocommit=True) as connection:
        await connection.execute(
            sql.SQL("alter database {} with allow_connections {}").format(
                sql.Identifier(str(name)), sql.SQL("false" if refused else "true")
            )
        )
        if refused:
            await connection.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", (name,)
            )


async def test_while_the_store_is_down_callers_are_told_and_workers_wait(house: House) -> None:
    flow = await house.begin()
    run = await house.run_of(flow.id)
    await refuse_connections(house, refused=True)
    done = CompletePhase(flow_id=flow.id, run_id=run.run_id, token=run.token)
    waiting = asyncio.create_task(house.ask(done, source="worker"))
    from_kafka = asyncio.create_task(house.ask(create(UUID(int=9)), source="kafka"))
    with pytest.raises(StoreUnavailable):
        await house.ask(create(), source="http")
    assert not waiting.done()
    assert not from_kafka.done()
    await refuse_connections(house, refused=False)
    assert (await waiting).outcome == "accepted"
    assert (await from_kafka).outcome == "accepted"
    assert house.committer.healthy


async def test_a_body_that_must_be_moved_aside_finds_the_store_unavailable_too(database_url: str) -> None:
    from eventstore.database import pool
    from eventstore.keys import Keyring
    from tests.eventstore.house import MASTER_KEY, open_house

    async with open_house(database_url) as house:
        nowhere = pool("postgresql://nobody@127.0.0.1:1/none", size=1)
        nowhere.timeout = 0.2
        await nowhere.open(wait=False)
        committer = house.another_committer()
        committer._keyring = Keyring(MASTER_KEY, nowhere)
        with pytest.raises(StoreUnavailable):
            await committer.submit(create(initial_data={"passwords": ["p"]}), house.envelope())
        await nowhere.close()
