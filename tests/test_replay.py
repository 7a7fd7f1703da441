"""History told again from the store: to a real topic, a file or a function, and on after whatever broke it off."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from aiokafka import AIOKafkaConsumer, ConsumerRecord

from domain.events import TOPICS, PhaseCompleted
from eventstore.windows import Window
from mfo.embedded.topics import ensure_topics
from mfo.replaying import (
    ReplayRefused,
    ReplayStopped,
    State,
    ToFile,
    ToHandler,
    ToTopic,
    handler_named,
    replay,
    unfinished,
)
from tests.cli.support import ROOT, clean_environment
from tests.eventstore.house import House, new_tenant, open_house
from tests.waiting import until

Json = dict[str, Any]


@pytest.fixture
async def house(database_url: str) -> AsyncIterator[House]:
    async with open_house(database_url) as house:
        yield house


async def lived(house: House, flows: int = 3) -> list[UUID]:
    """Flows of three phases that have completed."""
    made = [(await house.begin()).id for _ in range(flows)]
    for flow_id in made:
        for _ in range(3):
            await house.complete(flow_id)
    return made


async def history(house: House, *flow_ids: UUID) -> list[str]:
    """The ids of events, in the order of the log; of all flows unless some are named."""
    events = await house.side.store.tail(0, 10_000)
    return [f"{e.flow_id}:{e.version}" for e in events if not flow_ids or e.flow_id in flow_ids]


async def received(kafka: str, topic: str) -> list[ConsumerRecord[bytes, bytes]]:
    """All that lies on a topic of one partition."""
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=kafka, auto_offset_reset="earliest", fetch_max_wait_ms=50)
    await consumer.start()
    try:
        (part,) = consumer.assignment()
        end = (await consumer.end_offsets([part]))[part]
        return [await consumer.getone() for _ in range(end)]
    finally:
        await consumer.stop()


def lines(file: Path) -> list[Json]:
    return [json.loads(line) for line in file.read_text().splitlines()]


async def test_a_window_is_told_to_a_topic_marked_and_goes_on_after_it_was_broken_off(
    database_url: str, real_kafka: str, topic_prefix: str, tmp_path: Path
) -> None:
    topic = f"{topic_prefix}.mine"
    await ensure_topics(real_kafka, 1, topic_prefix, extra=(topic,))
    async with open_house(database_url, kafka_bootstrap=real_kafka, topic_prefix=topic_prefix) as house:
        await lived(house)
        config, state = house.side.config, tmp_path / "state.json"
        first = ToTopic(config, topic)
        task = asyncio.create_task(replay(config, Window(), first, state, rate=10))
        await until(lambda: first.told >= 10)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        broken = unfinished(state)
        assert broken is not None

        done = await replay(config, Window(), ToTopic(config, topic), state)
        assert (done.finished, done.replay_id) == (True, broken.replay_id)
        records = await received(real_kafka, topic)
        headers = [dict(record.headers) for record in records]
        assert {each["ce_replay"].decode() for each in headers} == {done.replay_id}
        told = [each["ce_id"].decode() for each in headers]
        # nothing is left out, and no more than the batch under way comes twice
        expected = await history(house)
        assert list(dict.fromkeys(told)) == expected
        assert len(told) - len(expected) <= 10
        assert records[0].key == headers[0]["ce_subject"]
        # the live topic has heard nothing
        assert await _end(real_kafka, config.topics.events) == 0


async def _end(kafka: str, topic: str) -> int:
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=kafka)
    await consumer.start()
    try:
        return sum((await consumer.end_offsets(list(consumer.assignment()))).values())
    finally:
        await consumer.stop()


async def test_a_file_that_is_not_as_it_was_left_or_takes_no_more_is_refused(house: House, tmp_path: Path) -> None:
    file, config = tmp_path / "told.ndjson", house.side.config
    file.write_bytes(b"short")
    with pytest.raises(ReplayRefused, match="--fresh"):
        await ToFile(config, file).start(State("r", "t", {}, 0, 9, size_bytes=100))
    assert file.read_bytes() == b"short"
    await lived(house, 1)
    target = ToFile(config, file)
    await target.start(State("r", "t", {}, 0, 9))
    target._out.close()
    target._out = Path("/dev/full").open("wb")  # noqa: ASYNC230, SIM115 - the target closes it
    with pytest.raises(ReplayRefused, match="No space left on device"):
        await target.tell(await house.side.store.tail(0, 1), State("r", "t", {}, 0, 9))
    await target.stop()


async def test_no_live_topic_is_replayed_to(house: House, tmp_path: Path) -> None:
    topics = house.side.config.topics
    for topic in (topics.commands, topics.replies, topics.events, topics.dead_letters, topics.checkpoints):
        with pytest.raises(ReplayRefused, match="live topic"):
            ToTopic(house.side.config, topic)


async def test_each_narrowing_tells_what_it_names_and_nothing_else(house: House, tmp_path: Path) -> None:
    one, two = await lived(house, 2)
    config, mine = house.side.config, house.tenant
    other = House(house.side, new_tenant())
    (three,) = await lived(other, 1)
    # a schedule's, operation's or other flow type's events are no discovery's
    times = [recorded.meta.at for _, recorded in await house.side.store.history(two)]
    windows = {
        Window(flow=one): await history(house, one),
        Window(account=mine.client_account_id, engagement=mine.engagement_id): await history(house, one, two),
        Window(account=other.tenant.client_account_id): await history(house, three),
        Window(flow_type="inline"): await history(house),
        Window(flow_type="discovery"): [],
        Window(flow=two, since=times[0], until=times[-1]): [
            f"{two}:{n}" for n, at in enumerate(times, 1) if at < times[-1]
        ],
        Window(since=times[-1] + timedelta(days=1)): [],
        Window(flow=one, topics=(TOPICS[PhaseCompleted],)): [
            f"{one}:{e.version}" for _, e in await house.side.store.history(one) if isinstance(e.fact, PhaseCompleted)
        ],
    }
    for n, (window, expected) in enumerate(windows.items()):
        file = tmp_path / f"{n}.ndjson"
        done = await replay(config, window, ToFile(config, file), tmp_path / f"{n}.state")
        assert [event["id"] for event in lines(file)] == expected, window
        assert done.told == len(expected)
    event = lines(tmp_path / "0.ndjson")[0]
    assert (event["type"], event["specversion"], event["sequence"]) == ("mfo.flow.FlowCreated.v1", "1.0", 1)
    assert event["data"]["flow_type"] == "inline"


async def test_a_function_hears_history_and_after_its_error_goes_on_with_the_event_it_raised_at(
    house: House, tmp_path: Path
) -> None:
    await lived(house, 2)
    heard: list[str] = []

    async def listen(event: Json) -> None:
        if len(heard) == 5 and "mended" not in heard:
            heard.append("mended")
            raise ValueError("no")
        heard.append(event["id"])

    config, state = house.side.config, tmp_path / "state.json"
    with pytest.raises(ReplayStopped, match="ValueError: no"):
        await replay(config, Window(), ToHandler(config, listen, "listen"), state)
    done = await replay(config, Window(), ToHandler(config, listen, "listen"), state)
    assert [each for each in heard if each != "mended"] == await history(house)
    assert done.told == len(heard) - 1
    with pytest.raises(ReplayRefused, match="module:function"):
        handler_named("nothing")
    with pytest.raises(ReplayRefused, match="cannot be had"):
        handler_named("no_such_module:run")


async def test_a_killed_replay_to_a_file_goes_on_without_a_gap_or_a_repeat(
    house: House, database_url: str, tmp_path: Path
) -> None:
    await lived(house, 4)
    file, state = tmp_path / "out.ndjson", tmp_path / "out.ndjson.state"
    environment = clean_environment() | {
        "MFO_DATABASE_URL": database_url,
        "MFO_KAFKA_BOOTSTRAP": "127.0.0.1:1",
        "MFO_MASTER_KEY": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
    }
    words = [sys.executable, "-m", "mfo", "replay", "--to-file", str(file), "--json"]
    process = await asyncio.create_subprocess_exec(*words, "--rate", "5", cwd=ROOT, env=environment)
    await until(lambda: state.exists() and json.loads(state.read_bytes())["told"] >= 5, 60)
    process.kill()
    await process.wait()
    with file.open("a") as out:
        out.write('{"half": ')
    again = await asyncio.to_thread(
        subprocess.run, words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert again.returncode == 0, again.stderr
    expected = await history(house)
    assert [event["id"] for event in lines(file)] == expected
    assert json.loads(again.stdout)["events"] == len(expected)
    # what is there is not overwritten unasked
    config = house.side.config
    other = ToFile(config, tmp_path / "other.ndjson")
    state.write_text(state.read_text().replace('"finished": true', '"finished": false'))
    with pytest.raises(ReplayRefused, match="another replay"):
        await replay(config, Window(), other, state)
