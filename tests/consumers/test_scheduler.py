"""Schedules that fire: on a real store, with the clock shifted, never slept for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from consumers.scheduler import Scheduler
from domain.commands import CancelFlow
from domain.events import FlowCancelled
from domain.schedules.commands import (
    BackfillSchedule,
    CreateSchedule,
    DeleteSchedule,
    FireSchedule,
    PauseSchedule,
    ResumeSchedule,
    ScheduleCommand,
    TriggerSchedule,
    UpdateSchedule,
)
from domain.schedules.events import FiringsMissed, Kind, ScheduleFired, ScheduleFlowRefused
from domain.schedules.schedule import Schedule, flow_id_of, fold, view
from domain.words import Status
from eventstore.schedules import ScheduleAnswer
from eventstore.service import ServiceConfig
from tests.consumers.conftest import client_of, ended, headers_of, serving
from tests.eventstore.breaking import accept_events, readable, refuse_heads, unreadable
from tests.eventstore.conftest import EMPTY
from tests.eventstore.house import House, open_house
from tests.waiting import until

Json = dict[str, Any]
SIX = datetime(2031, 3, 3, 6, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


class Yard:
    """A write side whose clock stands near a time of the test's choice, and a scheduler that is told when to look."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.scheduler = Scheduler(house.side)

    async def at(self, when: datetime) -> None:
        """Set the store's clock."""
        await self.house.rows("update clock set shift = %s - (mfo_now() - (select shift from clock))", when)

    async def ask(self, command: ScheduleCommand, command_id: str | None = None, **fields: Any) -> ScheduleAnswer:
        return await self.house.side.schedules.submit(command, self.house.envelope(command_id, **fields))

    async def make(self, **fields: Any) -> UUID:
        """A schedule of hourly flows that stay under way until somebody ends them."""
        given: Json = {
            "schedule_id": uuid4(),
            "name": "Nightly",
            "timing": {"cron": "0 * * * *"},
            "flow": {"flow_type": "schedulable", "flow_name": "{schedule} {date} {time} #{number}"},
            **fields,
        }
        answer = await self.ask(CreateSchedule.model_validate(given))
        assert answer.outcome == "accepted", answer.error
        return answer.flow_id

    async def look(self) -> None:
        """The scheduler looks until nothing is to be done."""
        while True:
            before = await self.house.side.store.end()
            await self.scheduler.round()
            if await self.house.side.store.end() == before:
                return

    async def schedule(self, schedule_id: UUID) -> Schedule:
        return (await self.house.side.schedules.load(schedule_id))[0]

    async def facts(self, schedule_id: UUID) -> list[str]:
        return [type(each.recorded.fact).__name__ for each in await self.house.side.schedules.history(schedule_id)]

    async def flow_of(self, schedule_id: UUID, nominal: datetime) -> Any:
        return await self.house.side.store.flow(flow_id_of(schedule_id, nominal))

    async def end(self, schedule_id: UUID, nominal: datetime) -> None:
        """The flow of a nominal time is over."""
        await self.house.ask(CancelFlow(flow_id=flow_id_of(schedule_id, nominal)))

    async def flows(self) -> int:
        count = await self.house.one("select count(*) from stored_events where topic = 'mfo.flow.FlowCreated.v1'")
        return int(count)


@pytest.fixture
async def yard(module_url: str) -> AsyncIterator[Yard]:
    async with await psycopg.AsyncConnection.connect(module_url) as connection:
        await connection.execute(EMPTY)
    async with open_house(module_url) as house:
        yard = Yard(house)
        await yard.at(SIX - timedelta(minutes=30))
        yield yard


async def test_a_time_that_has_come_begins_a_flow_once(yard: Yard) -> None:
    schedule_id = await yard.make()
    await yard.look()
    assert await yard.flows() == 0
    await yard.at(SIX)
    await yard.look()
    flow = await yard.flow_of(schedule_id, SIX)
    assert (flow.flow_name, flow.created_by) == ("Nightly 2031-03-03 06:00 #1", "maria")
    assert flow.client_account_id == yard.house.tenant.client_account_id
    assert await yard.facts(schedule_id) == ["ScheduleCreated", "ScheduleFired", "ScheduleFlowCreated"]
    await yard.look()
    assert await yard.flows() == 1
    schedule = await yard.schedule(schedule_id)
    assert (schedule.next_at, schedule.pending, schedule.running) == (SIX + HOUR, (), (flow.id,))


async def test_the_row_is_the_folded_history_and_its_hashes_form_a_chain(yard: Yard) -> None:
    schedule_id = await yard.make()
    await yard.at(SIX)
    await yard.look()
    await yard.ask(PauseSchedule(schedule_id=schedule_id, reason="lunch"))
    placed = await yard.house.side.schedules.history(schedule_id)
    assert fold(Schedule(id=schedule_id), [each.recorded for each in placed]) == await yard.schedule(schedule_id)
    head = await yard.house.rows("select version, hash from heads where id = %s", schedule_id)
    last = await yard.house.rows(
        "select originator_version, hash from stored_events where originator_id = %s order by 1 desc limit 1",
        schedule_id,
    )
    assert head == last


async def test_a_crash_after_the_decision_loses_and_doubles_nothing(yard: Yard) -> None:
    schedule_id = await yard.make()
    await yard.at(SIX)
    fire = FireSchedule(schedule_id=schedule_id, kind=Kind.SCHEDULED, nominal_at=SIX)
    await yard.ask(fire)
    assert await yard.flows() == 0
    await yard.look()
    assert await yard.flows() == 1
    # and after the flow was made, but before that was told
    await yard.end(schedule_id, SIX)
    await yard.at(SIX + HOUR)
    await yard.ask(
        FireSchedule(
            schedule_id=schedule_id, kind=Kind.SCHEDULED, nominal_at=SIX + HOUR, over=(flow_id_of(schedule_id, SIX),)
        )
    )
    schedule = await yard.schedule(schedule_id)
    # the store takes the flow, and then no more of the schedule
    await yard.house.rows(f"alter table schedules add constraint full_now check (version <= {schedule.version})")
    await yard.look()
    assert (await yard.flows(), (await yard.schedule(schedule_id)).version) == (2, schedule.version)
    await yard.house.rows("alter table schedules drop constraint full_now")
    await yard.at(SIX + HOUR + timedelta(seconds=11))
    await yard.look()
    assert await yard.flows() == 2
    assert (await yard.facts(schedule_id)).count("ScheduleFlowCreated") == 2
    assert (await yard.schedule(schedule_id)).pending == ()


async def test_two_processes_at_once_make_one_flow(yard: Yard, module_url: str) -> None:
    made = [await yard.make(name=f"Number {n}") for n in range(6)]
    await yard.at(SIX)
    async with open_house(module_url) as other:
        rival = Scheduler(other.side)
        for _ in range(3):
            await asyncio.gather(yard.scheduler.round(), rival.round())
    assert await yard.flows() == len(made)
    for schedule_id in made:
        assert await yard.facts(schedule_id) == ["ScheduleCreated", "ScheduleFired", "ScheduleFlowCreated"]


async def test_a_hand_that_died_lapses(yard: Yard) -> None:
    schedule_id = await yard.make()
    await yard.at(SIX)
    taken, _ = await yard.house.side.schedules.claim(10)
    assert taken == [schedule_id]
    await yard.look()
    assert await yard.flows() == 0
    await yard.at(SIX + timedelta(seconds=11))
    await yard.look()
    assert await yard.flows() == 1


async def test_a_clock_that_goes_back_an_hour_neither_loses_nor_repeats(yard: Yard) -> None:
    schedule_id = await yard.make(overlap="allow")
    for n in range(2):
        await yard.at(SIX + n * HOUR)
        await yard.look()
    await yard.at(SIX + HOUR / 4)
    for minutes in range(15, 180, 15):
        await yard.at(SIX + timedelta(minutes=minutes))
        await yard.look()
    fired = [each.recorded.fact for each in await yard.house.side.schedules.history(schedule_id)]
    assert [fact.nominal_at for fact in fired if isinstance(fact, ScheduleFired)] == [SIX, SIX + HOUR, SIX + 2 * HOUR]
    assert await yard.flows() == 3


async def test_what_was_missed_while_everything_was_down_is_made_up_within_the_window(yard: Yard) -> None:
    schedule_id = await yard.make(overlap="allow", catch_up_window_seconds=2 * 3600)
    await yard.at(SIX + 5 * HOUR + HOUR / 2)
    await yard.look()
    facts = [each.recorded.fact for each in await yard.house.side.schedules.history(schedule_id)]
    (missed,) = [fact for fact in facts if isinstance(fact, FiringsMissed)]
    assert (missed.nominal_at, missed.count) == (SIX, 4)
    assert [f.nominal_at for f in facts if isinstance(f, ScheduleFired)] == [SIX + 4 * HOUR, SIX + 5 * HOUR]
    assert await yard.flows() == 2


@pytest.mark.parametrize(
    ("becomes", "told"), [("applied", "ScheduleFlowCreated"), ("discarded", "ScheduleFlowRefused")]
)
async def test_what_becomes_of_a_parked_flow_is_told_when_it_is_known(yard: Yard, becomes: str, told: str) -> None:
    schedule_id = await yard.make()
    flow_id = flow_id_of(schedule_id, SIX)
    await refuse_heads(yard.house, flow_id)
    await yard.at(SIX)
    await yard.look()
    await accept_events(yard.house)
    parking = yard.house.committer.parking
    assert await parking.count(flow_id) == 1
    await yard.at(SIX + timedelta(minutes=1))
    await yard.look()
    assert await yard.facts(schedule_id) == ["ScheduleCreated", "ScheduleFired"]
    if becomes == "applied":
        assert (await yard.house.committer.drain(flow_id)).applied == 1
    else:
        await parking.discard(flow_id, yard.house.envelope(), "not today")
    await yard.at(SIX + timedelta(minutes=2))
    await yard.look()
    assert await yard.facts(schedule_id) == ["ScheduleCreated", "ScheduleFired", told]


async def test_a_flow_that_cannot_make_way_is_waited_for(yard: Yard) -> None:
    schedule_id = await yard.make(overlap="cancel_running")
    await yard.at(SIX)
    await yard.look()
    first = await yard.flow_of(schedule_id, SIX)
    await unreadable(yard.house, first.id)
    await yard.at(SIX + HOUR)
    await yard.look()
    assert (await yard.facts(schedule_id))[-1] == "ScheduleFired"
    assert await yard.flows() == 0
    await readable(yard.house, first.id)
    assert (await yard.house.committer.drain(first.id)).applied == 1
    await yard.at(SIX + HOUR + timedelta(minutes=1))
    await yard.look()
    assert (await yard.flow_of(schedule_id, SIX)).status is Status.CANCELLED
    assert (await yard.facts(schedule_id))[-1] == "ScheduleFlowCreated"


async def test_skip_leaves_a_time_out_while_the_former_flow_is_under_way(yard: Yard) -> None:
    schedule_id = await yard.make()
    for n in range(2):
        await yard.at(SIX + n * HOUR)
        await yard.look()
    assert (await yard.facts(schedule_id))[-1] == "FiringSkipped"
    await yard.end(schedule_id, SIX)
    await yard.at(SIX + 2 * HOUR)
    await yard.look()
    assert await yard.flows() == 2


async def test_the_buffered_one_begins_when_the_former_has_ended(yard: Yard) -> None:
    schedule_id = await yard.make(overlap="buffer_one")
    for n in range(3):
        await yard.at(SIX + n * HOUR)
        await yard.look()
    assert (await yard.facts(schedule_id))[-2:] == ["FiringBuffered", "FiringSkipped"]
    await yard.end(schedule_id, SIX)
    await yard.at(SIX + 2 * HOUR + timedelta(seconds=31))
    await yard.look()
    assert (await yard.flow_of(schedule_id, SIX + HOUR)).exists
    assert await yard.flows() == 2


async def test_a_buffered_one_is_asked_about_even_when_the_clock_went_back(yard: Yard) -> None:
    schedule_id = await yard.make(overlap="buffer_one")
    for n in range(2):
        await yard.at(SIX + n * HOUR)
        await yard.look()
    await yard.end(schedule_id, SIX)
    await yard.at(SIX + HOUR / 4)
    await yard.look()
    assert await yard.flows() == 2


async def test_cancel_running_ends_the_former_flow_first(yard: Yard) -> None:
    schedule_id = await yard.make(overlap="cancel_running")
    for n in range(2):
        await yard.at(SIX + n * HOUR)
        await yard.look()
    former = await yard.flow_of(schedule_id, SIX)
    assert former.status is Status.CANCELLED
    assert (await yard.flow_of(schedule_id, SIX + HOUR)).status is not Status.CANCELLED
    (reason,) = [
        recorded.fact.reason
        for _, recorded in await yard.house.side.store.history(former.id)
        if isinstance(recorded.fact, FlowCancelled)
    ]
    assert reason == "makes way for the next flow of the schedule Nightly"


async def test_a_trigger_makes_a_flow_at_once_also_while_paused(yard: Yard) -> None:
    schedule_id = await yard.make()
    await yard.ask(PauseSchedule(schedule_id=schedule_id))
    answer = await yard.ask(TriggerSchedule(schedule_id=schedule_id, reason="now"))
    assert answer.schedule is not None
    wished = view(answer.schedule)["requested"][0]["flow_id"]
    await yard.look()
    assert (await yard.house.side.store.flow(wished)).exists
    await yard.at(SIX + HOUR)
    await yard.look()
    assert await yard.flows() == 1
    await yard.ask(ResumeSchedule(schedule_id=schedule_id))
    assert (await yard.facts(schedule_id))[-2:] == ["ScheduleResumed", "FiringsMissed"]


async def test_a_backfill_fills_holes_a_few_at_a_time(yard: Yard) -> None:
    schedule_id = await yard.make()
    hole = [SIX - n * HOUR for n in (4, 3, 2, 1)]
    await yard.ask(BackfillSchedule(schedule_id=schedule_id, from_at=hole[0], to_at=hole[-1], at_most=2))
    await yard.look()
    assert await yard.flows() == 2
    await yard.end(schedule_id, hole[0])
    await yard.at(SIX - HOUR / 3)
    await yard.look()
    assert await yard.flows() == 3
    await yard.end(schedule_id, hole[1])
    await yard.end(schedule_id, hole[2])
    await yard.at(SIX - HOUR / 4)
    await yard.look()
    assert [(await yard.flow_of(schedule_id, nominal)).exists for nominal in hole] == [True] * 4
    assert (await yard.schedule(schedule_id)).backfill is None
    # asked again, each time has its flow
    await yard.ask(BackfillSchedule(schedule_id=schedule_id, from_at=hole[0], to_at=hole[-1]))
    await yard.look()
    assert await yard.flows() == 4
    assert (await yard.facts(schedule_id))[-4:] == ["FiringSkipped"] * 4


async def test_a_flow_that_cannot_be_made_is_told_with_the_error(yard: Yard, module_url: str) -> None:
    schedule_id = await yard.make()
    await yard.at(SIX)
    async with open_house(module_url, flow_type_modules=()) as other:
        await Scheduler(other.side).round()
    (last,) = (await yard.house.side.schedules.history(schedule_id))[-1:]
    assert isinstance(last.recorded.fact, ScheduleFlowRefused)
    assert last.recorded.fact.error["code"] == "flow_type_unknown"
    await yard.at(SIX + HOUR)
    await yard.look()
    assert await yard.flows() == 1


async def test_one_moment_fires_once_and_ends(yard: Yard) -> None:
    schedule_id = await yard.make(timing={"at": SIX.isoformat()})
    await yard.at(SIX)
    await yard.look()
    assert await yard.flows() == 1
    assert (await yard.schedule(schedule_id)).state == "ended"


async def test_a_deleted_schedule_fires_no_more(yard: Yard) -> None:
    schedule_id = await yard.make()
    await yard.ask(DeleteSchedule(schedule_id=schedule_id))
    await yard.at(SIX)
    await yard.look()
    assert await yard.flows() == 0


async def test_an_update_changes_the_flows_to_come(yard: Yard) -> None:
    schedule_id = await yard.make()
    changed = {"flow_type": "schedulable", "flow_name": "Other", "initial_data": {"number": 7}}
    await yard.ask(UpdateSchedule.model_validate({"schedule_id": schedule_id, "flow": changed}))
    await yard.at(SIX)
    await yard.look()
    flow = await yard.flow_of(schedule_id, SIX)
    assert (flow.flow_name, flow.initial_data, flow.auto_execute) == ("Other", {"number": 7}, True)


async def test_nothing_due_costs_one_question_every_five_seconds(yard: Yard) -> None:
    await yard.make()
    assert await yard.scheduler.round() == 5.0
    await yard.at(SIX - timedelta(seconds=2))
    assert 0 < await yard.scheduler.round() <= 2.0


async def test_over_kafka_with_everything_running(config: ServiceConfig, house: House) -> None:
    async with client_of(config) as client, serving(config):
        body = {"name": "Nightly", "timing": {"cron": "0 0 1 1 *"}, "flow": {"flow_type": "schedulable"}}
        made = await client.reply(await client.send("CreateSchedule", None, body))
        assert (made["outcome"], made["flow_id"], made["version"]) == ("accepted", None, 1), made
        schedule_id = made["schedule_id"]
        bad = await client.send("CreateSchedule", None, {**body, "timing": {"cron": "every day"}})
        refused = await client.reply(bad)
        assert (refused["outcome"], refused["error"]["code"]) == ("refused", "body_invalid")
        assert "use five fields" in refused["error"]["detail"]
        trigger = await client.send("TriggerSchedule", None, {"schedule_id": schedule_id})
        assert (await client.reply(trigger))["schedule_id"] == schedule_id

        async def begun() -> UUID | None:
            schedule = await house.side.schedules.find(client.tenant, UUID(schedule_id))
            return schedule.last_flow_id if schedule is not None else None

        await ended(house, await until(begun, 20))

        def told() -> list[Any]:
            of_ours = [each for each in client.on(config.topics.events) if each.key.decode() == schedule_id]
            return of_ours if len(of_ours) >= 4 else []

        heard = [headers_of(record) for record in await until(told, 20)]
    assert [each["ce_type"] for each in heard] == [
        f"mfo.schedule.{name}.v1"
        for name in ("ScheduleCreated", "ScheduleTriggered", "ScheduleFired", "ScheduleFlowCreated")
    ]
    assert [(each["ce_sequence"], each["ce_source"]) for each in heard] == [
        (str(n), "/mfo/schedules") for n in range(1, 5)
    ]
