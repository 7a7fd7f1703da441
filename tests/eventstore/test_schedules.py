"""Schedules in the store: one answer to a command, one history, and nothing of it taken for a flow."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest

from domain.commands import PauseFlow
from domain.schedules.commands import CreateSchedule, PauseSchedule, ReportFiring, TriggerSchedule
from domain.schedules.schedule import Schedule, fold
from eventstore.codec import FIRST_HASH, UnknownTopic, chain
from eventstore.library import FlowHistory, ScheduleEvent
from eventstore.relay import message
from eventstore.schedules import ScheduleAnswer
from projections.app import projections
from projections.told import from_kafka, from_store
from tests.eventstore.breaking import accept_events, broken, refuse_heads
from tests.eventstore.house import House, create, new_tenant, open_house


def wanted(schedule_id: UUID | None = None, **fields: Any) -> CreateSchedule:
    given = {
        "schedule_id": schedule_id or uuid4(),
        "name": "Nightly",
        "timing": {"cron": "0 0 1 1 *"},
        "flow": {"flow_type": "schedulable"},
        **fields,
    }
    return CreateSchedule.model_validate(given)


async def ask(house: House, command: Any, command_id: str | None = None, **fields: Any) -> ScheduleAnswer:
    return await house.side.schedules.submit(command, house.envelope(command_id, **fields))


async def test_a_repeat_gets_the_first_answer_and_another_body_none(house: House) -> None:
    command = wanted()
    first = await ask(house, command, "c-1")
    assert (first.outcome, first.version, first.position) == ("accepted", 1, "mfo:1")
    await ask(house, PauseSchedule(schedule_id=command.schedule_id))
    again = await ask(house, command, "c-1")
    assert (again.outcome, again.version, again.position, again.schedule) == ("repeated", 1, "mfo:1", first.schedule)
    other = await ask(house, wanted(name="Other"), "c-1")
    assert (other.outcome, other.version) == ("refused", 0)
    assert other.error is not None
    assert other.error["code"] == "idempotency_key_reused"
    log = await house.rows("select command, outcome from command_log where command_id = 'c-1' order by at, outcome")
    assert log == [("CreateSchedule", outcome) for outcome in ("accepted", "repeated", "refused")]


async def test_a_refusal_is_kept_and_a_word_of_the_scheduler_that_changes_nothing_is_not(house: House) -> None:
    command = wanted()
    await ask(house, command)
    refused = await ask(house, TriggerSchedule(schedule_id=uuid4()), "c-2")
    assert (refused.outcome, refused.version) == ("refused", 0)
    assert await house.one("select error from command_log where command_id = 'c-2'")
    silent = await ask(house, ReportFiring(schedule_id=command.schedule_id, flow_id=uuid4()), "c-3")
    assert (silent.outcome, silent.version) == ("repeated", 1)
    assert await house.rows("select * from command_ids where command_id = 'c-3'") == []


async def test_many_at_once_are_decided_one_after_the_other(house: House) -> None:
    command = wanted()
    await ask(house, command)
    async with open_house(house.side.config.database_url) as other:
        other.tenant = house.tenant
        asked = [ask(each, TriggerSchedule(schedule_id=command.schedule_id)) for each in (house, other) * 6]
        answers = await asyncio.gather(*asked)
    assert sorted(answer.outcome for answer in answers) == ["accepted"] * 10 + ["refused"] * 2
    assert {answer.error["code"] for answer in answers if answer.error} == {"schedule_busy"}
    placed = await house.side.schedules.history(command.schedule_id)
    assert [each.recorded.version for each in placed] == list(range(1, 12))


async def test_the_chain_of_hashes_and_the_row_follow_from_the_history(house: House) -> None:
    command = wanted()
    await ask(house, command)
    await ask(house, TriggerSchedule(schedule_id=command.schedule_id))
    link = FIRST_HASH
    for event in await house.side.store.tail(0, 10):
        link = chain(link, event.flow_id, event.version, event.topic, event.state)
        assert link == event.hash
    assert await house.one("select hash from heads where id = %s", command.schedule_id) == link
    placed = await house.side.schedules.history(command.schedule_id)
    folded = fold(Schedule(id=command.schedule_id), [each.recorded for each in placed])
    assert (await house.side.schedules.load(command.schedule_id))[0] == folded


async def test_a_schedule_is_no_flow_and_a_flow_no_schedule(house: House) -> None:
    schedule_id = wanted().schedule_id
    await ask(house, wanted(schedule_id))
    for command_id in ("f-1", "f-1"):
        answer = await house.ask(PauseFlow(flow_id=schedule_id), command_id)
        assert (answer.version, answer.error and answer.error["code"]) == (0, "flow_not_found")
    taken = await house.ask(create(schedule_id))
    assert (taken.outcome, taken.error and taken.error["code"]) == ("refused", "flow_exists")
    flow = await house.begin()
    answer = await ask(house, PauseSchedule(schedule_id=flow.id))
    assert (answer.outcome, answer.error and answer.error["code"]) == ("refused", "schedule_not_found")
    answer = await ask(house, wanted(flow.id))
    assert (answer.outcome, answer.error and answer.error["code"]) == ("refused", "schedule_exists")
    assert (await house.side.store.flow(flow.id)).version == flow.version


async def test_another_tenant_finds_nothing(house: House) -> None:
    command = wanted()
    await ask(house, command)
    stranger = new_tenant()
    answer = await ask(house, PauseSchedule(schedule_id=command.schedule_id), tenant=stranger)
    assert (answer.outcome, answer.version, answer.schedule) == ("refused", 0, None)
    assert await house.side.schedules.find(stranger, command.schedule_id) is None
    assert await house.side.schedules.page(stranger, states=["active"], limit=5) == ([], 0)


async def test_the_relay_tells_them_and_projections_pass_over_them(house: House) -> None:
    command = wanted()
    await ask(house, command)
    flow = await house.begin()
    events = await house.side.store.tail(0, 100)
    key, value, headers = message(events[0], "mfo")
    assert key == str(command.schedule_id).encode()
    assert dict(headers)["ce_type"] == b"mfo.schedule.ScheduleCreated.v1"
    assert from_kafka(value, headers, "mfo") is not None
    async with house.side.pool.connection() as connection:
        for projection in projections(house.side.pool, house.side.types).values():
            topics = projection.topics
            told = [from_store(event) for event in events if topics is None or event.topic in topics]
            assert command.schedule_id not in {event.flow_id for event in told}
            assert (await projection.apply(connection, told)).parked == []
    assert await house.one("select flow_status from crewai_flow_state_extensions where flow_id = %s", flow.id)


async def test_the_library_reads_a_schedules_history(house: House) -> None:
    command = wanted()
    await ask(house, command)
    library = await asyncio.to_thread(FlowHistory, house.side.config.database_url)
    try:
        (stored,) = await asyncio.to_thread(library.recorder.select_events, command.schedule_id)
        event = library.mapper.to_domain_event(stored)
        assert isinstance(event, ScheduleEvent)
        assert library.mapper.to_stored_event(event) == stored
    finally:
        await asyncio.to_thread(library.close)


async def test_an_event_of_the_future_is_named(house: House) -> None:
    command = wanted()
    await ask(house, command)
    await house.rows("update stored_events set topic = 'mfo.schedule.ScheduleCloned.v1'")
    with pytest.raises(UnknownTopic):
        await house.side.schedules.history(command.schedule_id)


async def test_a_connection_that_was_cut_is_made_anew(house: House) -> None:
    command = wanted()
    await ask(house, command)
    await house.rows(
        "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database()"
        " and pid <> pg_backend_pid() and query like '%%schedules%%'"
    )
    assert (await ask(house, PauseSchedule(schedule_id=command.schedule_id))).outcome == "accepted"


async def test_the_id_of_a_parked_flow_is_refused_at_once_and_the_refusal_is_kept(house: House) -> None:
    flow = await broken(house)
    assert (await house.ask(PauseFlow(flow_id=flow.id))).outcome == "parked"
    for command, code in (
        (wanted(flow.id), "schedule_exists"),
        (PauseSchedule(schedule_id=flow.id), "schedule_not_found"),
    ):
        answer = await ask(house, command, code)
        assert (answer.outcome, answer.error and answer.error["code"], answer.version) == ("refused", code, 0)
        again = await ask(house, command, code)
        assert (again.outcome, again.error) == ("repeated", answer.error)
    assert await house.one("select count(*) from command_log where flow_id = %s and outcome = 'refused'", flow.id) == 2
    assert (await house.side.committer.parking.count(flow.id)) == 1


async def test_the_id_of_a_command_that_waits_is_taken(house: House) -> None:
    flow = await broken(house)
    assert (await house.ask(PauseFlow(flow_id=flow.id), "kept")).outcome == "parked"
    answer = await ask(house, wanted(), "kept")
    assert (answer.outcome, answer.error and answer.error["code"]) == ("refused", "idempotency_key_reused")
    assert (await house.side.committer.parking.count(flow.id)) == 1


async def test_the_id_of_a_flow_that_waits_to_be_begun_is_taken_too(house: House) -> None:
    flow_id = uuid4()
    await refuse_heads(house, flow_id)
    assert (await house.ask(create(flow_id))).outcome == "parked"
    await accept_events(house)
    answer = await ask(house, wanted(flow_id))
    assert (answer.outcome, answer.error and answer.error["code"]) == ("refused", "schedule_exists")
