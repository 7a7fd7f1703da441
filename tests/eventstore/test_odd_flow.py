"""One flow that cannot be read, or a store that refuses, takes nobody else along."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest

from consumers.frames import Ended
from consumers.work import presentable
from domain.commands import PauseFlow
from domain.errors import StoreUnavailable
from tests.eventstore.house import House, create, started


async def test_an_event_of_the_future_parks_its_own_flow_alone(house: House) -> None:
    odd = await house.begin()
    others = [await house.begin() for _ in range(3)]
    await house.rows("update stored_events set topic = 'mfo.flow.FlowCloned.v1' where originator_id = %s", odd.id)
    async with started(house.another_committer()) as cold:
        asked = [cold.submit(PauseFlow(flow_id=flow.id), house.envelope()) for flow in (odd, *others)]
        answers = await asyncio.gather(*asked)
    assert [answer.outcome for answer in answers] == ["parked", *["accepted"] * 3]


async def test_a_store_that_only_reads_is_waited_for(house: House) -> None:
    flow = await house.begin()
    name = await house.one("select current_database()")
    await house.rows(f'alter database "{name}" set default_transaction_read_only = on')
    try:
        async with started(house.another_committer()) as reading:
            with pytest.raises(StoreUnavailable):
                await reading.submit(PauseFlow(flow_id=flow.id), house.envelope(source="http"))
            patient = asyncio.create_task(reading.submit(PauseFlow(flow_id=flow.id), house.envelope(source="kafka")))
            await asyncio.wait({patient}, timeout=0.3)
            assert not patient.done()
            await house.rows("set transaction_read_only = off")
            async with house.side.pool.connection() as connection:
                await connection.execute("set default_transaction_read_only = off")
                await connection.execute(f'alter database "{name}" reset default_transaction_read_only')
            assert (await asyncio.wait_for(patient, 30)).outcome == "accepted"
    finally:
        async with house.side.pool.connection() as connection:
            await connection.execute("set default_transaction_read_only = off")
            await connection.execute(f'alter database "{name}" reset default_transaction_read_only')


async def test_a_history_that_was_rewritten_under_a_warm_cache_is_noticed(house: House) -> None:
    flow = await house.begin()
    await house.rows("update heads set hash = sha256('another history') where id = %s", flow.id)
    assert (await asyncio.wait_for(house.ask(PauseFlow(flow_id=flow.id)), 20)).outcome == "parked"
    assert "FlowPaused" not in await house.facts(flow.id)


async def test_a_flow_of_a_version_made_elsewhere_is_learnt(house: House) -> None:
    flow = await house.begin()
    async with started(house.another_committer()) as other:
        other.types._versions.pop((flow.flow_type, flow.flow_version))
        answer = await other.submit(PauseFlow(flow_id=flow.id), house.envelope())
    assert answer.outcome == "accepted"


def test_a_result_that_postgresql_cannot_hold_is_made_presentable() -> None:
    ended = Ended(run_id=uuid4(), how="completed", outputs={"a\x00b": ["c\x00"], "plain": 3})
    assert presentable(ended).outputs == {"a\ufffdb": ["c\ufffd"], "plain": 3}


def test_a_result_that_is_no_json_is_a_failure_that_says_so() -> None:
    for value in ("\udcff.csv", object()):
        shown = presentable(Ended(run_id=uuid4(), how="completed", outputs={"file": value}))
        assert (shown.how, shown.error["code"], shown.error["retryable"]) == ("failed", "result_unreadable", False)


async def test_the_flow_of_a_stranger_is_still_not_there(house: House) -> None:
    flow = await house.begin()
    answer = await house.committer.submit(
        PauseFlow(flow_id=flow.id), house.envelope(tenant=type(house.tenant)(uuid4(), uuid4(), "eve"))
    )
    assert answer.error is not None
    assert answer.error["code"] == "flow_not_found"
    assert create().flow_name == "Estate"
