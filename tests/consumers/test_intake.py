"""Commands over a real Kafka: each is answered once it is kept, or set aside with its bytes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4, uuid5

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from consumers import answers
from consumers.intake import Intake
from consumers.subscribing import Subscribing
from domain.commands import RequestInput
from domain.events import FlowPaused
from eventstore.committer import Committer
from eventstore.relay import producer
from eventstore.service import ServiceConfig
from eventstore.subscriptions import Subscriptions
from eventstore.tasks import end_all
from eventstore.wake import woken
from tests.consumers.conftest import Client, body_of, client_of, headers_of
from tests.eventstore.house import House
from tests.eventstore.proxy import Proxy
from tests.waiting import until

CREATE = {"flow_type": "inline", "flow_name": "Estate"}


class Door:
    """The intake with a producer of its own; the committer behind it can be taken away for a while."""

    def __init__(
        self,
        config: ServiceConfig,
        committer: Committer,
        bootstrap: str | None = None,
        *,
        subscribing: Subscribing | None = None,
    ) -> None:
        self.config, self.committer = config, committer
        self.kafka = producer(bootstrap or config.kafka_bootstrap, request_timeout_ms=300, retry_backoff_ms=50)
        self.intake = Intake(config, lambda: self.committer, self.kafka, subscribing=subscribing)

    async def open(self) -> None:
        await self.kafka.start()
        await self.intake.start()

    async def close(self) -> None:
        await self.intake.stop()
        await self.kafka.stop()


@pytest.fixture
async def door(config: ServiceConfig, house: House) -> AsyncIterator[Door]:
    door = Door(config, house.committer, subscribing=Subscribing(house.side))
    await door.open()
    yield door
    await door.close()


@pytest.fixture
async def client(config: ServiceConfig, door: Door) -> AsyncIterator[Client]:
    async with client_of(config) as client:
        yield client


async def committed(config: ServiceConfig) -> int:
    """How many commands the group has acknowledged."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=config.kafka_bootstrap, group_id=f"{config.topic_prefix}-commands", enable_auto_commit=False
    )
    await consumer.start()
    try:
        parts = [TopicPartition(config.topics.commands, n) for n in range(4)]
        return sum([await consumer.committed(part) or 0 for part in parts])
    finally:
        await consumer.stop()


async def test_a_flow_is_steered(house: House, client: Client) -> None:
    flow_id = uuid4()
    await client.reply(await client.send("CreateFlow", flow_id, {"flow_type": "inline", "flow_name": "Estate"}))
    for name, body, code in (
        ("SkipPhase", {"outputs": {"rows": 1}, "reason": "known"}, "phase_not_skippable"),
        ("RetryFlow", {"reason": "again"}, "nothing_to_retry"),
        ("PauseFlow", {"timers": "running"}, None),
        ("CancelFlow", {"compensate": True}, None),
    ):
        reply = await client.reply(await client.send(name, flow_id, body))
        assert reply.get("error", {}).get("code") == code
    facts = [told.fact for _, told in await house.side.store.history(flow_id)]
    assert [fact.timers for fact in facts if isinstance(fact, FlowPaused)] == ["running"]
    assert (await house.side.store.flow(flow_id)).status == "cancelled"


async def test_subscriptions_are_made_changed_and_deleted(house: House, client: Client) -> None:
    hook = {"kind": "webhook", "url": "https://hooks.example.com/secret-path", "filter": {"flow_type": "Inline"}}
    sent = await client.send("CreateSubscription", None, hook)
    made = await client.reply(sent)
    assert (made["outcome"], made["flow_id"], "secret" in str(made)) == ("accepted", None, False)
    one = UUID(made["subscription_id"])
    asked: list[tuple[str, dict[str, Any], str | None]] = [
        ("UpdateSubscription", {"description": "the second shift", "enabled": False}, None),
        ("UpdateSubscription", {"address": "ann@example.com"}, "body_invalid"),
        ("UpdateSubscription", {"filter": {"flow_type": "unheard_of"}}, "flow_type_unknown"),
    ]
    for name, body, code in asked:
        reply = await client.reply(await client.send(name, None, {"subscription_id": str(one), **body}))
        assert reply.get("error", {}).get("code") == code
        assert reply["outcome"] == ("refused" if code else "accepted")
    subscriptions = Subscriptions(house.side.pool, house.side.keyring, house.side.config.telling.addressing)
    shown = await subscriptions.one(client.tenant, one)
    assert (shown["filter"]["flow_type"], shown["state"], shown["description"]) == (
        *("inline", "disabled"),
        "the second shift",
    )
    assert "secret-path" not in str(await house.rows("select body from command_log"))
    gone = {"subscription_id": str(one), "reason": "done"}
    deleted = await client.send("DeleteSubscription", None, gone)
    assert (await client.reply(deleted))["outcome"] == "accepted"
    await client.send("DeleteSubscription", None, gone, id=deleted)
    assert [body_of(reply)["outcome"] for reply in await client.replies(deleted, 2)] == ["accepted", "repeated"]
    again = await client.reply(await client.send("DeleteSubscription", None, gone))
    assert again["error"]["code"] == "subscription_not_found"
    # all of them are in the command log, those that were refused or repeated too
    logged = await house.rows("select outcome, count(*) from command_log where flow_id = %s group by 1", one)
    assert dict(logged) == {"accepted": 3, "refused": 3, "repeated": 1}


async def test_a_subscription_that_cannot_be_kept_is_set_aside_and_holds_up_nothing(
    house: House, client: Client
) -> None:
    await house.rows("alter table subscriptions add constraint closed check (false) not valid")
    hook = {"kind": "webhook", "url": "https://hooks.example.com/secret-path"}
    refused, kept = (
        await client.send("CreateSubscription", None, hook),
        await client.send("CreateFlow", uuid4(), CREATE),
    )
    assert (await client.reply(refused))["error"]["code"] == "internal_error"
    assert (await client.reply(kept))["outcome"] == "accepted"
    assert dict((await client.dead_letter()).headers)["ce_id"].decode() == refused


async def test_binary_and_structured_commands_are_answered(house: House, client: Client) -> None:
    flow_id = uuid4()
    first = await client.send("CreateFlow", flow_id, CREATE, correlationid="corr-1")
    [record] = await client.replies(first)
    assert record.topic == client.config.topics.replies
    assert record.key == str(flow_id).encode()
    headers = headers_of(record)
    assert headers["ce_type"] == "mfo.reply.Accepted.v1"
    assert (headers["ce_causationid"], headers["ce_correlationid"]) == (first, "corr-1")
    assert headers["ce_subject"] == str(flow_id)
    assert body_of(record) == {
        "command_id": first,
        "outcome": "accepted",
        "flow_id": str(flow_id),
        "version": 1,
        "position": "mfo:1",
    }
    event = {**client.attributes("PauseFlow", "second"), "subject": str(flow_id), "data": {"reason": "lunch"}}
    await client.raw(json.dumps(event).encode(), [("content-type", b"application/cloudevents+json")])
    assert (await client.reply("second"))["version"] == 2
    assert (await house.side.store.flow(flow_id)).status == "paused"


async def test_the_same_id_twice_is_done_once(house: House, client: Client) -> None:
    body = {**CREATE}
    for _ in range(2):
        await client.send("CreateFlow", None, body, "key-1")
    first, again = [body_of(record) for record in await client.replies("key-1", 2)]
    assert (first["outcome"], again["outcome"]) == ("accepted", "repeated")
    assert {**again, "outcome": "accepted"} == first
    assert UUID(first["flow_id"]) == uuid5(client.tenant.client_account_id, "key-1")
    await client.send("CreateFlow", None, {**CREATE, "flow_name": "Other"}, "key-1")
    reused = body_of((await client.replies("key-1", 3))[2])
    assert (reused["outcome"], reused["error"]["code"]) == ("refused", "idempotency_key_reused")
    assert await house.one("select count(*) from stored_events") == 1


async def test_another_round_is_begun_and_told_of(house: House, client: Client) -> None:
    flow_id, options = uuid4(), {"auto_execute": True}
    house.tenant = client.tenant
    await client.reply(await client.send("CreateFlow", flow_id, {**CREATE, "options": options}))
    refused = await client.reply(await client.send("StartIteration", flow_id))
    assert (refused["outcome"], refused["error"]["code"]) == ("refused", "phase_already_running")
    for _ in range(3):
        await house.complete(flow_id)
    body = {"phase_name": "count_1", "inputs": {"number": 4}, "reason": "once more"}
    begun = await client.reply(await client.send("StartIteration", flow_id, body))
    assert (begun["outcome"], begun["flow_id"]) == ("accepted", str(flow_id))
    flow = await house.side.store.flow(flow_id)
    assert (flow.iteration_number, flow.current_phase, flow.known_inputs) == (2, "count_1", {"number": 4})


async def test_a_refusal_says_why_and_what_is_allowed(house: House, client: Client) -> None:
    unknown = uuid4()
    missing = await client.reply(await client.send("PauseFlow", unknown))
    assert (missing["outcome"], missing["error"]["code"], missing["version"]) == ("refused", "flow_not_found", 0)
    assert await house.one("select outcome from command_log where flow_id = %s", unknown) == "refused"
    created = await client.reply(await client.send("CreateFlow", unknown, CREATE))
    assert created["outcome"] == "accepted"
    moved = await client.reply(await client.send("PauseFlow", unknown, expectedversion="9"))
    assert moved["error"]["code"] == "version_moved"
    assert "cancel" in moved["error"]["allowed"]
    for name, body in (("RollbackFlow", {"phase_name": "first", "compensate": False}), ("CreateCheckpoint", {})):
        back = await client.reply(await client.send(name, unknown, body))
        assert back["error"]["code"] == "rollback_not_supported"
    wrong = await client.reply(await client.send("CreateFlow", uuid4(), {**CREATE, "flow_type": "no such"}))
    assert wrong["error"]["code"] == "flow_type_unknown"


async def test_what_is_no_command_is_set_aside_with_its_bytes_and_why(house: House, client: Client) -> None:
    flow_id = uuid4()
    named = [(f"ce_{name}", text.encode()) for name, text in client.attributes("PauseFlow", "bad-1").items()]
    await client.raw(b"{not json", named, key=b"any", partition=2)
    letter = await client.dead_letter()
    assert (letter.key, letter.value) == (b"any", b"{not json")
    assert letter.headers[: len(named)] == tuple(named)
    reasons = dict(letter.headers[len(named) :])
    assert reasons["mfo_error_code"] == b"body_not_json"
    assert b"JSON" in reasons["mfo_error_detail"]
    assert reasons["mfo_source_topic"].decode() == client.config.topics.commands
    assert (reasons["mfo_source_partition"], reasons["mfo_source_offset"]) == (b"2", b"0")
    reply = await client.reply("bad-1")
    assert (reply["outcome"], reply["error"]["code"], reply["flow_id"]) == ("refused", "body_not_json", None)

    expected = ["body_not_json"]
    for attributes, key, code in (
        ({"type": "mfo.command.Explode.v1"}, None, "command_unknown"),
        ({"type": "mfo.command.PauseFlow.v9"}, None, "command_unknown"),
        ({"clientaccountid": None}, None, "tenant_missing"),
        ({"replyto": "elsewhere"}, None, "reply_topic_not_allowed"),
        ({"subject": str(uuid4())}, None, "key_mismatch"),
        ({"specversion": None}, None, "cloudevent_invalid"),
    ):
        headers = client.attributes("PauseFlow", **attributes)
        binary = [(f"ce_{name}", text.encode()) for name, text in headers.items()]
        await client.raw(json.dumps({"flow_id": str(flow_id)}).encode(), binary, key=key)
        expected.append(code)
    # what FastStream itself cannot read must not take the batch with it
    await client.raw(b"{}", [("ce_id", b"x"), ("trace", b"\xff\xfe")])
    await client.raw(b"[" * 100_000, named)
    # a tombstone, and an empty message
    await client.raw(None, [], key=b"gone")
    await client.raw(b"")
    expected += ["cloudevent_invalid", "body_not_json", "cloudevent_invalid", "cloudevent_invalid"]
    letters = client.config.topics.dead_letters
    await until(lambda: len(client.on(letters)) == len(expected), 60)
    codes = [headers_of_reason(record) for record in client.on(letters)]
    assert sorted(codes) == sorted(expected)
    assert [record.value for record in client.on(letters) if record.key == b"gone"] == [None]
    # and the door is still open
    assert (await client.reply(await client.send("CreateFlow", flow_id, CREATE)))["outcome"] == "accepted"
    assert await house.one("select count(*) from stored_events") == 1


def headers_of_reason(record: Any) -> str:
    code: bytes = dict(record.headers)["mfo_error_code"]
    return code.decode()


async def test_a_message_that_was_small_only_when_compressed_is_set_aside_cut_off(client: Client) -> None:
    options = {"compression_type": "gzip", "max_request_size": 8 << 20, "max_batch_size": 8 << 20}
    compressing = AIOKafkaProducer(bootstrap_servers=client.config.kafka_bootstrap, **options)
    await compressing.start()
    await compressing.send_and_wait(client.config.topics.commands, b"x" * (3 << 20))
    await compressing.stop()
    letter = await client.dead_letter()
    assert len(letter.value) > 1 << 20
    assert dict(letter.headers)["mfo_original_bytes"] == str(3 << 20).encode()
    assert (await client.reply(await client.send("CreateFlow", uuid4(), CREATE)))["outcome"] == "accepted"


async def test_a_body_of_900_kb_is_accepted_and_moved_aside(house: House, client: Client) -> None:
    rows = ["x" * 90] * 9800
    flow_id = uuid4()
    body = {**CREATE, "initial_data": {"rows": rows}}
    assert (await client.reply(await client.send("CreateFlow", flow_id, body)))["outcome"] == "accepted"
    kept = (await house.side.store.flow(flow_id)).initial_data
    account = client.tenant.client_account_id
    assert (await house.side.artifacts.unspill(account, kept))["rows"] == rows
    # too many small values: set aside, told, and the door stays open
    many = {f"n{n}": "x" * 90 for n in range(9000)}
    refused = await client.reply(await client.send("CreateFlow", uuid4(), {**CREATE, "initial_data": many}))
    assert refused["error"]["code"] == "body_too_large"
    assert headers_of_reason(await client.dead_letter()) == "body_too_large"


async def test_replies_go_where_the_command_says_if_that_is_allowed(
    config: ServiceConfig, house: House, topic_prefix: str
) -> None:
    # one of the test's own topics stands for a subscriber's
    elsewhere = config.topics.events
    allowed = replace(config, reply_topics=(elsewhere,))
    door = Door(allowed, house.committer)
    await door.open()
    try:
        async with client_of(config) as client:
            command_id = await client.send("CreateFlow", uuid4(), CREATE, replyto=elsewhere)
            await until(lambda: client.on(elsewhere), 60)
            assert body_of(client.on(elsewhere)[0])["command_id"] == command_id
            assert client.on(config.topics.replies) == []
    finally:
        await door.close()


async def test_nothing_is_acknowledged_before_it_is_kept(config: ServiceConfig, house: House, door: Door) -> None:
    """While the store takes nothing the batch waits; another member of the group then gets all of it."""
    closed = house.another_committer()
    await closed.start()
    await closed.stop()
    door.committer = closed
    async with client_of(config) as client:
        ids = [await client.send("CreateFlow", uuid4(), CREATE) for _ in range(5)]
        await until(lambda: door.intake.waiting, 60)
        assert await committed(config) == 0
        await door.close()
        assert await committed(config) == 0
        second = Door(config, house.committer)
        await second.open()
        for command_id in ids:
            assert (await client.reply(command_id))["outcome"] == "accepted"
        await until(lambda: committed(config), 60)
        await second.close()
        assert await committed(config) == 5


async def test_commands_that_were_in_hand_when_something_broke_are_read_once_more(
    config: ServiceConfig, house: House, door: Door, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    await client.reply(await client.send("CreateFlow", uuid4(), CREATE))
    broken = asyncio.Event()

    async def breaks(*_: Any) -> Any:
        broken.set()
        raise KafkaError

    with monkeypatch.context() as patch:
        patch.setattr(door.intake, "_decide", breaks)
        sent = await client.send("CreateFlow", uuid4(), CREATE)
        await broken.wait()
    assert (await client.reply(sent))["outcome"] == "accepted"
    await until(lambda: _all(config, 2), 60)


async def test_what_others_acknowledge_by_now_is_left_to_them(config: ServiceConfig) -> None:
    told = answers.Answers(None, config.topics)
    running = asyncio.create_task(told.run())
    elsewhere = ConsumerRecord(config.topics.commands, 0, 7, 0, 0, None, b"", None, 0, 0, ())
    # one that no partitions are assigned to
    async with AIOKafkaConsumer(bootstrap_servers=config.kafka_bootstrap) as consumer:
        told.put((), [elsewhere], consumer)
        await told.settle()
    assert not running.done()
    await end_all([running])


async def test_whoever_waits_for_room_sleeps_until_there_is_some(config: ServiceConfig) -> None:
    place = TopicPartition(config.topics.commands, 0)
    records = [ConsumerRecord(place.topic, place.partition, n, 0, 0, None, b"", None, 0, 0, ()) for n in range(2)]
    reply = answers.Outgoing(config.topics.replies, b"{}", None, [])
    kafka = producer(config.kafka_bootstrap)
    await kafka.start()
    told = answers.Answers(kafka, config.topics)
    running = asyncio.create_task(told.run())
    async with AIOKafkaConsumer(bootstrap_servers=config.kafka_bootstrap, group_id="room") as consumer:
        consumer.assign([place])
        told.put([reply] * answers.MOST_MESSAGES, records[:1], consumer)
        await until(lambda: not told.full)
        # while those before are told, and then acknowledged
        told.put([reply] * answers.MOST_MESSAGES, records[1:], consumer)
        waits = 0
        while told.full and waits < 2:
            waits += await woken(told.room, 60)
        assert (told.full, waits) == (False, 1)
        await told.settle()
        assert await consumer.committed(place) == 2
    await end_all([running])
    await kafka.stop()


async def test_what_was_answered_and_not_acknowledged_is_answered_once_more(
    config: ServiceConfig, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "ACKNOWLEDGE_SECONDS", 60.0)
    door, second = Door(config, house.committer), Door(config, house.committer)
    await door.open()
    async with client_of(config) as client:
        await client.reply(await client.send("CreateFlow", uuid4(), CREATE))
        await until(lambda: _all(config, 1), 60)
        sent = await client.send("CreateFlow", uuid4(), CREATE)
        first = await client.reply(sent)
        # as if the process were killed: nothing is settled
        assert door.intake.telling is not None
        await end_all([door.intake.telling])
        await door.intake.broker.stop()
        assert await committed(config) == 1
        await second.open()
        replies = [body_of(reply) for reply in await client.replies(sent, 2)]
        assert [reply["outcome"] for reply in replies] == ["accepted", "repeated"]
        assert [reply["position"] for reply in replies] == [first["position"]] * 2
        # whoever is told to stop acknowledges what it has answered
        await second.close()
        assert await committed(config) == 2
    await door.kafka.stop()


async def test_replies_and_dead_letters_wait_for_kafka(config: ServiceConfig, house: House) -> None:
    async with Proxy(config.kafka_bootstrap) as proxy:
        door = Door(config, house.committer, proxy.address)
        await door.open()
        async with client_of(config) as client:
            await client.reply(await client.send("CreateFlow", uuid4(), CREATE))
            await proxy.cut()
            flow_id = uuid4()
            command_id = await client.send("CreateFlow", flow_id, CREATE)
            await client.raw(b"junk")
            await until(lambda: house.one("select count(*) = 2 from stored_events"))
            await until(lambda: proxy.refused > 3)
            assert await committed(config) <= 1
            await proxy.mend()
            assert (await client.reply(command_id))["outcome"] == "accepted"
            assert (await client.dead_letter()).value == b"junk"
            await until(lambda: _all(config, 3), 60)
        await door.close()


async def _all(config: ServiceConfig, count: int) -> bool:
    return await committed(config) == count


async def test_the_order_of_one_flow_is_kept(house: House, client: Client) -> None:
    flow_id = uuid4()
    await client.send("CreateFlow", flow_id, CREATE)
    ids = [await client.send("PauseFlow" if n % 2 == 0 else "ResumeFlow", flow_id) for n in range(30)]
    replies = await asyncio.gather(*(client.reply(command_id) for command_id in ids))
    assert [reply["outcome"] for reply in replies] == ["accepted"] * 30
    assert [reply["version"] for reply in replies] == list(range(2, 32))


async def test_a_signal_and_an_answer_come_over_kafka_too(house: House, client: Client) -> None:
    flow_id = uuid4()
    await client.reply(await client.send("CreateFlow", flow_id, {**CREATE, "flow_type": "ask"}))
    told = await client.reply(await client.send("SignalFlow", flow_id, {"name": "go", "signal_id": "a"}))
    again = await client.reply(await client.send("SignalFlow", flow_id, {"name": "go", "signal_id": "a"}))
    assert (told["outcome"], again["outcome"], again["version"]) == ("accepted", "repeated", told["version"])
    [signal] = (await house.side.store.flow(flow_id)).signals
    assert (signal.name, signal.sent_by) == ("go", "maria")
    await client.reply(await client.send("ExecutePhase", flow_id))
    house.tenant = client.tenant
    run = await house.run_of(flow_id)
    about = {"run_id": run.run_id, "token": run.token, "fields": ("colour",), "message": "Which?"}
    await house.ask(RequestInput(flow_id=flow_id, **about))
    wrong = await client.reply(await client.send("ProvideInput", flow_id, {"color": "red"}))
    assert (wrong["error"]["code"], wrong["error"]["errors"][0]["field"]) == ("input_invalid", "color")
    answered = await client.reply(await client.send("ProvideInput", flow_id, {"colour": "red"}))
    assert answered["outcome"] == "accepted"
    late = await client.reply(await client.send("ProvideInput", flow_id, {"colour": "green"}))
    assert (late["error"]["code"], late["error"]["details"]["answered_by"]) == ("already_answered", ["maria"])
