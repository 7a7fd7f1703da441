"""One connection listens for a whole process, and wakes whoever asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

from domain.commands import PauseFlow, ResumeFlow
from domain.events import TOPICS, FlowPaused, FlowResumed
from domain.fleet.events import FLEET_TOPICS
from domain.schedules.events import SCHEDULE_TOPICS
from eventstore.notices import Channel, Wanted, listen
from eventstore.tasks import end_all
from tests.eventstore.house import House
from tests.waiting import until

LISTENING = "select count(*) from pg_stat_activity where datname = current_database() and query like 'listen mfo_%%'"


class Woken:
    """How often somebody was woken."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> None:
        self.times += 1


@asynccontextmanager
async def listening(house: House, channel: Channel, topics: Collection[str] | None = None) -> AsyncIterator[Woken]:
    woken = Woken()
    task = asyncio.create_task(listen(house.side.config, Wanted(channel, woken, topics)))
    try:
        await until(lambda: woken.times)
        yield woken
    finally:
        await end_all([task])


async def say(house: House, channel: Channel) -> None:
    await house.rows("select pg_notify(%s, current_schema())", channel.value)


async def test_each_is_woken_by_its_own_channel_over_one_connection(house: House) -> None:
    async with listening(house, Channel.RUNS) as runs:
        async with listening(house, Channel.SCHEDULES) as schedules, listening(house, Channel.RUNS) as more:
            assert await house.one(LISTENING) == 1
            await say(house, Channel.RUNS)
            await until(lambda: runs.times == 2 and more.times == 2)
            await say(house, Channel.SCHEDULES)
            await until(lambda: schedules.times == 2)
        await say(house, Channel.RUNS)
        await until(lambda: runs.times == 3)
        assert (schedules.times, more.times) == (2, 2)
    await until(lambda: _nobody(house))


async def test_a_connection_that_was_lost_is_made_anew_and_everybody_is_woken(house: House) -> None:
    async with listening(house, Channel.TIMERS) as timers, listening(house, Channel.EVENTS) as events:
        await house.rows(LISTENING.replace("count(*)", "pg_terminate_backend(pid)"))
        await until(lambda: timers.times == 2 and events.times == 2)
        await say(house, Channel.TIMERS)
        await until(lambda: timers.times == 3)


async def test_who_wants_some_topics_of_the_log_sleeps_through_the_others(house: House) -> None:
    wanted = [TOPICS[FlowPaused]]
    async with listening(house, Channel.EVENTS) as all_of_it, listening(house, Channel.EVENTS, wanted) as pauses:
        flow = await house.begin(flow_type="discovery", initial_data={"import_file_id": "f1"})
        await until(lambda: all_of_it.times == 2)
        await house.ask(PauseFlow(flow_id=flow.id))
        await until(lambda: all_of_it.times == 3 and pauses.times == 2)
        # what somebody wants may change
        wanted.append(TOPICS[FlowResumed])
        await house.ask(ResumeFlow(flow_id=flow.id))
        await until(lambda: all_of_it.times == 4 and pauses.times == 3)


async def _nobody(house: House) -> bool:
    return await house.one(LISTENING) == 0


async def test_a_notice_holds_every_topic_there_is(house: House) -> None:
    topics = [*TOPICS.values(), *FLEET_TOPICS.values(), *SCHEDULE_TOPICS.values()]
    said = await house.one("select said_of(%s::text[])", topics + topics)
    assert said.split()[1:] == topics
    # PostgreSQL takes less than 8,000 bytes, and the name of a schema has 63
    assert len(said.encode()) < 7900
