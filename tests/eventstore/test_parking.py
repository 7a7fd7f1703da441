"""A flow whose command cannot be applied waits, with all that comes after it, and nobody waits with it."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from domain.commands import (
    CancelFlow,
    Command,
    CompletePhase,
    ExecutePhase,
    FireTimer,
    PauseFlow,
    ResumeFlow,
    Tenant,
)
from domain.errors import KeyReused, StoreUnavailable
from eventstore.committer import Answer
from eventstore.parking import FlowNotParked
from tests.eventstore.breaking import accept_events, broken, readable, refuse_events, refuse_heads, unreadable
from tests.eventstore.house import House, create, new_tenant, started
from tests.waiting import until


async def all_of(house: House, *commands: Command) -> list[Answer]:
    futures = [await house.committer.put(command, house.envelope()) for command in commands]
    return await asyncio.gather(*futures)


async def waiting(house: House) -> int:
    return int(await house.one("select count(*) from parked_commands"))


@pytest.fixture(autouse=True)
async def no_trigger(house: House) -> Any:
    await accept_events(house)
    yield
    await accept_events(house)


async def test_a_flow_that_cannot_be_read_waits_in_order_and_the_others_go_on(house: House) -> None:
    flow, other = await broken(house), await house.begin()
    answers = await all_of(
        house,
        *(PauseFlow(flow_id=flow.id), PauseFlow(flow_id=other.id), ResumeFlow(flow_id=flow.id)),
        *(CancelFlow(flow_id=flow.id), ResumeFlow(flow_id=other.id)),
    )
    assert [answer.outcome for answer in answers] == ["parked", "accepted", "parked", "parked", "accepted"]
    assert (answers[0].version, answers[0].error, answers[0].flow) == (2, None, None)
    listed = await house.side.committer.parking.waiting(flow.id, 10)
    assert [each.name for each in listed] == ["PauseFlow", "ResumeFlow", "CancelFlow"]
    assert [each.error and each.error["code"] for each in listed] == ["unknown_topic", None, None]

    still = await house.committer.drain(flow.id)
    assert (still.applied, still.waiting, still.error and still.error["code"]) == (0, 3, "unknown_topic")
    await readable(house, flow.id)
    drained = await house.committer.drain(flow.id)
    assert (drained.applied, drained.waiting, drained.error) == (3, 0, None)
    assert await house.facts(flow.id) == [
        *("FlowCreated", "PhaseStarted", "FlowPaused", "FlowResumed", "FlowCancelled")
    ]
    assert (await house.ask(CancelFlow(flow_id=flow.id))).outcome == "repeated"


async def test_a_statement_that_the_store_refuses_for_one_flow_holds_back_what_follows_it_there(house: House) -> None:
    flow, other = await house.begin(), await house.begin()
    await refuse_events(house, flow.id)
    answers = await all_of(
        house,
        *(PauseFlow(flow_id=flow.id), create(), CancelFlow(flow_id=flow.id), PauseFlow(flow_id=other.id)),
    )
    assert [answer.outcome for answer in answers] == ["parked", "accepted", "parked", "accepted"]
    first = await house.committer.parking.first(flow.id)
    assert first is not None
    assert first.error == {"code": "store_refused", "detail": "the store refused it: not this one"}
    await accept_events(house)
    await house.committer.drain(flow.id)
    assert await house.facts(flow.id) == ["FlowCreated", "PhaseStarted", "FlowPaused", "FlowCancelled"]


async def test_what_was_decided_before_the_command_that_cannot_be_is_kept(house: House) -> None:
    flow = await house.begin()
    run = await house.run_of(flow.id)
    # nobody has the definition it was made with: what comes after a phase needs it, a stale timer does not
    await house.rows(
        "update stored_events set state = convert_to(replace(convert_from(state, 'UTF8'), %s, '9.9.9'), 'UTF8')"
        " where originator_id = %s",
        flow.flow_version,
        flow.id,
    )
    house.committer._cache.clear()
    answers = await all_of(
        house,
        FireTimer(flow_id=flow.id, timer="retry", token=9),
        CompletePhase(flow_id=flow.id, run_id=run.run_id, token=run.token),
        FireTimer(flow_id=flow.id, timer="retry", token=8),
    )
    assert [answer.outcome for answer in answers] == ["repeated", "parked", "parked"]


async def test_a_fault_that_may_be_everybodys_parks_only_when_others_are_served(house: House) -> None:
    flow = await house.begin()
    await refuse_events(house, flow.id, "XX001")
    asked = asyncio.create_task(house.ask(PauseFlow(flow_id=flow.id), source="kafka"))
    await asyncio.wait({asked}, timeout=0.5)
    assert (asked.done(), await waiting(house)) == (False, 0)
    await house.begin()
    assert (await asyncio.wait_for(asked, 30)).outcome == "parked"


async def test_a_store_that_is_busy_parks_nobody(house: House) -> None:
    flow = await house.begin()
    async with house.side.pool.connection() as connection, connection.transaction():
        await connection.execute("select from heads where id = %s for update", (flow.id,))
        asked = asyncio.create_task(house.ask(PauseFlow(flow_id=flow.id), source="kafka"))
        await asyncio.wait({asked}, timeout=0.7)
        assert not asked.done()
    assert (await asyncio.wait_for(asked, 30)).outcome == "accepted"
    assert await waiting(house) == 0


async def test_a_store_that_only_reads_parks_nobody(house: House) -> None:
    flow = await broken(house)
    name = await house.one("select current_database()")
    await house.rows(f'alter database "{name}" set default_transaction_read_only = on')
    try:
        async with started(house.another_committer()) as reading:
            with pytest.raises(StoreUnavailable):
                await reading.submit(PauseFlow(flow_id=flow.id), house.envelope(source="http"))
    finally:
        async with house.side.pool.connection() as connection:
            await connection.execute("set default_transaction_read_only = off")
            await connection.execute(f'alter database "{name}" reset default_transaction_read_only')
    assert await waiting(house) == 0


async def test_the_same_id_again_gets_the_same_answer_before_and_after(house: House) -> None:
    flow, other = await broken(house), await house.begin()
    for _ in range(2):
        assert (await house.ask(PauseFlow(flow_id=flow.id), "pause")).outcome == "parked"
    async with started(house.another_committer()) as elsewhere:
        again = await elsewhere.submit(PauseFlow(flow_id=flow.id), house.envelope("pause"))
        assert again.outcome == "parked"
        changed = await elsewhere.submit(PauseFlow(flow_id=flow.id, reason="lunch"), house.envelope("pause"))
        taken = await elsewhere.submit(PauseFlow(flow_id=other.id), house.envelope("pause"))
    assert await waiting(house) == 1
    for answer in (changed, taken):
        assert answer.error is not None
        assert (answer.outcome, answer.error["code"]) == ("refused", "idempotency_key_reused")
    await readable(house, flow.id)
    await house.committer.drain(flow.id)
    after = await house.ask(PauseFlow(flow_id=flow.id), "pause")
    assert (after.outcome, after.version) == ("repeated", 3)
    assert await house.rows("select outcome from command_ids where command_id = 'pause'") == [("accepted",)]


async def test_a_process_that_does_not_know_of_it_puts_its_commands_behind(house: House) -> None:
    flow = await house.begin()
    async with started(house.another_committer()) as elsewhere:
        # it remembers the flow, and could decide
        await elsewhere.submit(PauseFlow(flow_id=flow.id), house.envelope())
        await refuse_events(house, flow.id)
        await house.ask(ResumeFlow(flow_id=flow.id))
        assert (await house.ask(PauseFlow(flow_id=flow.id))).outcome == "parked"
        assert (await elsewhere.submit(CancelFlow(flow_id=flow.id), house.envelope("cancel"))).outcome == "parked"
        await accept_events(house)
        assert (await house.committer.drain(flow.id)).applied == 2
        # and goes on as ever when nobody waits there any more
        assert (await elsewhere.submit(CancelFlow(flow_id=flow.id), house.envelope("cancel"))).outcome == "repeated"
    assert (await house.facts(flow.id))[-3:] == ["FlowResumed", "FlowPaused", "FlowCancelled"]


async def test_a_list_that_is_worked_off_at_two_places_while_it_grows_loses_and_swaps_nothing(house: House) -> None:
    flow = await broken(house)
    verbs = [PauseFlow(flow_id=flow.id), ResumeFlow(flow_id=flow.id)]
    ids = [f"verb {n:02}" for n in range(24)]
    for n, name in enumerate(ids[:10]):
        assert (await house.ask(verbs[n % 2], name)).outcome == "parked"
    await readable(house, flow.id)
    async with started(house.another_committer()) as other:

        async def later() -> list[str]:
            return [(await other.submit(verbs[n % 2], house.envelope(ids[n]))).outcome for n in range(10, 24)]

        _, _, outcomes = await asyncio.gather(house.committer.drain(flow.id), other.drain(flow.id), later())
        assert set(outcomes) <= {"parked", "accepted"}
        await until(lambda: house.committer.drain(flow.id), 60)

        async def nobody_waits() -> bool:
            await other.drain(flow.id)
            return await waiting(house) == 0

        await until(nobody_waits, 60)
    kept = await house.rows(
        "select command_id, outcome, version from command_ids where command_id like 'verb%%' order by 1"
    )
    assert kept == [(name, "accepted", 3 + n) for n, name in enumerate(ids)]


async def test_what_is_discarded_is_refused_with_who_and_why_and_the_others_go_on(house: House) -> None:
    flow = await house.begin()
    await refuse_events(house, flow.id)
    for name, command in (("p", PauseFlow), ("r", ResumeFlow), ("c", CancelFlow)):
        assert (await house.ask(command(flow_id=flow.id), name)).outcome == "parked"
    operator = house.envelope("give up", Tenant(house.tenant.client_account_id, house.tenant.engagement_id, "olga"))
    parking = house.committer.parking
    assert await parking.discard(flow.id, operator, "the store is broken there") == "p"
    assert await parking.discard(flow.id, operator, "the store is broken there") == "p"
    with pytest.raises(KeyReused):
        await parking.discard(flow.id, operator, "another reason")
    assert await parking.discard(flow.id, house.envelope("that one"), None, command_id="r") == "r"
    with pytest.raises(KeyReused):
        await parking.discard(flow.id, house.envelope("c"), "under the id of what waits")
    with pytest.raises(FlowNotParked):
        await parking.discard(flow.id, house.envelope(), None, command_id="no such")
    assert (await house.committer.drain(flow.id)).applied == 1
    gone = await house.ask(PauseFlow(flow_id=flow.id), "p")
    assert gone.outcome == "repeated"
    assert gone.error == {"code": "discarded", "detail": "discarded by olga: the store is broken there"}
    again = "select command_id, outcome from command_log where command = 'DiscardParked' order by n"
    assert (await house.rows(again))[1:3] == [("give up", "repeated"), ("give up", "refused")]
    log = await house.rows(
        "select command, command_id, user_id, outcome from command_log"
        " where flow_id = %s and (command, outcome) not in (('DiscardParked', 'repeated'), ('DiscardParked', 'refused'))"
        " order by at, command_id",
        flow.id,
    )
    assert log[1:6] == [
        ("DiscardParked", "give up", "olga", "accepted"),
        ("PauseFlow", "p", "maria", "refused"),
        ("ResumeFlow", "r", "maria", "refused"),
        ("DiscardParked", "that one", "maria", "accepted"),
        ("CancelFlow", "c", "maria", "accepted"),
    ]
    assert await house.facts(flow.id) == ["FlowCreated", "PhaseStarted", "FlowCancelled"]


async def test_a_timer_whose_firing_is_discarded_fires_later(house: House) -> None:
    flow = await house.begin()
    await house.fail(flow.id)
    [(name, token)] = await house.rows("select name, token from timers where flow_id = %s", flow.id)
    await unreadable(house, flow.id)
    fired = FireTimer(flow_id=flow.id, timer=name, token=token)
    assert (await house.ask(fired, "t", source="timer")).outcome == "parked"
    # as whoever fires does with what waits
    await house.rows("delete from timers where flow_id = %s", flow.id)
    assert await house.committer.parking.discard(flow.id, house.envelope(), "look at it first") == "t"
    assert await waiting(house) == 0
    [left] = await house.rows(
        "select name, token, extract(epoch from due_at - mfo_now())::float8 from timers where flow_id = %s", flow.id
    )
    assert left[:2] == (name, token)
    assert 0 < left[2] <= 60
    await readable(house, flow.id)
    assert (await house.ask(fired, "t", source="timer")).outcome == "accepted"
    assert (await house.facts(flow.id))[-1] == "PhaseStarted"
    log = await house.rows("select outcome from command_log where flow_id = %s and command = 'FireTimer'", flow.id)
    assert log == [("accepted",)]


async def test_a_timer_that_was_set_anew_is_left_as_it_is(house: House) -> None:
    flow = await house.begin()
    await house.fail(flow.id)
    [(name, token, due)] = await house.rows("select name, token, due_at from timers where flow_id = %s", flow.id)
    await unreadable(house, flow.id)
    await house.ask(FireTimer(flow_id=flow.id, timer=name, token=token - 1), "old", source="timer")
    await house.committer.parking.discard(flow.id, house.envelope(), None)
    assert await house.rows("select token, due_at from timers where flow_id = %s", flow.id) == [(token, due)]


async def test_a_worker_s_result_waits_too_and_its_run_is_left_alone_meanwhile(house: House) -> None:
    flow = await house.begin()
    run = await house.run_of(flow.id)
    await house.rows("update runs set state = 'running', owner = 'me', lease_until = mfo_now(), deadline = mfo_now()")
    assert [overdue for _, overdue in (await house.side.runs.unattended([])).runs] == [True]
    await unreadable(house, flow.id)
    done = CompletePhase(flow_id=flow.id, run_id=run.run_id, token=run.token, outputs={"rows": 3})
    for _ in range(2):
        assert (await house.ask(done, "done", source="worker")).outcome == "parked"
    left = await house.side.runs.unattended([])
    assert (left.runs, left.next_seconds) == ([], None)
    await readable(house, flow.id)
    assert (await house.committer.drain(flow.id)).applied == 1
    assert await house.facts(flow.id) == [
        *("FlowCreated", "PhaseStarted", "PhaseCompleted", "CheckpointCreated", "PhaseStarted")
    ]


async def test_another_tenant_is_told_nothing_and_joins_no_list(house: House) -> None:
    flow = await broken(house)
    stranger = new_tenant()
    asked = CancelFlow(flow_id=flow.id)
    first = await house.committer.submit(asked, house.envelope("x", stranger))
    await house.ask(PauseFlow(flow_id=flow.id))
    second = await house.committer.submit(asked, house.envelope("y", stranger))
    for answer in (first, second):
        assert answer.error is not None
        assert (answer.outcome, answer.error["code"], answer.version) == ("refused", "flow_not_found", 0)
    assert await waiting(house) == 1
    again = await house.committer.submit(asked, house.envelope("x", stranger))
    assert (again.outcome, again.error) == ("repeated", first.error)


async def test_a_parked_flow_is_due_after_a_while_and_after_that_less_often(house: House) -> None:
    flow = await broken(house)
    parking = house.committer.parking
    await house.ask(PauseFlow(flow_id=flow.id))
    pauses = []
    for _ in range(4):
        pause = await house.one("select extract(epoch from retry_at - mfo_now())::float8 from parked_commands")
        pauses.append(round(pause / 15))
        assert await parking.claim_due(10) == []
        await house.shift_clock(pause + 0.1)
        assert await parking.claim_due(10) == [flow.id]
        assert await parking.claim_due(10) == []
        assert (await house.committer.drain(flow.id)).error is not None
    assert pauses == [1, 1, 2, 4]
    await parking.all_due()
    assert await parking.claim_due(10) == [flow.id]


async def test_secrets_wait_sealed(house: House) -> None:
    flow = await broken(house)
    await house.ask(ExecutePhase(flow_id=flow.id, inputs={"credentials": {"password": "hunter2"}}))
    [(body,)] = await house.rows("select body from parked_commands")
    assert b"hunter2" not in body
    assert b"$sealed" in body


async def test_a_new_flow_that_cannot_be_begun_waits_with_its_commands(house: House) -> None:
    flow_id = uuid4()
    await refuse_heads(house, flow_id)
    assert [answer.outcome for answer in await all_of(house, create(flow_id), PauseFlow(flow_id=flow_id))] == [
        "parked"
    ] * 2
    stranger = await house.committer.submit(PauseFlow(flow_id=flow_id), house.envelope(tenant=new_tenant()))
    assert stranger.outcome == "refused"
    await accept_events(house)
    assert (await house.committer.drain(flow_id)).applied == 2
    assert await house.facts(flow_id) == ["FlowCreated", "PhaseStarted", "FlowPaused"]
