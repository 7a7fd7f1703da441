"""The embedded Kafka: the real one keeps what it acknowledged, the built-in one is there at once."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from mfo.embedded import EmbeddedError, KafkaBuiltin, KafkaJars, choose_kafka, ensure_topics, kafka_jars, topic_names
from mfo.embedded.kafka_jars import cache_folder, fetch_jars
from mfo.embedded.processes import answers
from tests.embedded.test_postgres import kill_all_of, kill_starter, start_elsewhere
from tests.stack import jars_start

TOPIC = "mfo.events.v1"


@pytest.fixture
def jars(tmp_path: Path) -> Iterator[KafkaJars]:
    can, reason = jars_start()
    if not can:
        pytest.skip(f"needs a real Kafka: {reason}")
    broker = KafkaJars(tmp_path)
    yield broker
    broker.stop()


@pytest.fixture
def builtin(tmp_path: Path) -> Iterator[KafkaBuiltin]:
    broker = KafkaBuiltin(tmp_path)
    yield broker
    broker.stop()


async def say(bootstrap: str, *texts: bytes) -> None:
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, enable_idempotence=True) as producer:
        for text in texts:
            await producer.send_and_wait(TOPIC, text, partition=0)


async def heard(bootstrap: str) -> list[bytes]:
    async with AIOKafkaConsumer(bootstrap_servers=bootstrap, fetch_max_wait_ms=5) as consumer:
        partition = TopicPartition(TOPIC, 0)
        consumer.assign([partition])
        await consumer.seek_to_beginning(partition)
        end = (await consumer.end_offsets([partition]))[partition]
        found: list[bytes] = []
        while len(found) < end:
            found += [record.value for record in (await consumer.getmany(partition, timeout_ms=100)).get(partition, [])]
        return found


async def kept_for(bootstrap: str, topic: str) -> str:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        [answer] = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic, {"retention.ms": ""})])
    finally:
        await admin.close()
    return str(answer.resources[0][4][0][1])


async def test_a_stop_and_a_start_keep_topics_messages_and_address(jars: KafkaJars) -> None:
    bootstrap = jars.start()
    assert sorted(await ensure_topics(bootstrap)) == sorted(topic_names())
    assert await ensure_topics(bootstrap) == []
    assert await kept_for(bootstrap, "mfo.audit.checkpoints.v1") == "-1"
    await say(bootstrap, b"kept")
    jars.stop()
    assert jars.start() == bootstrap
    assert await heard(bootstrap) == [b"kept"]


async def test_messages_outlive_a_kill_of_everything(jars: KafkaJars) -> None:
    starter, bootstrap = start_elsewhere("KafkaJars", jars.folder.parent)
    await ensure_topics(bootstrap, partitions=1)
    await say(bootstrap, b"one", b"two")
    kill_starter(starter)
    kill_all_of(jars.folder)
    assert await heard(jars.start()) == [b"one", b"two"]


async def test_a_broker_that_outlived_its_starter_is_taken_over_beside_another_one(
    jars: KafkaJars, tmp_path_factory: pytest.TempPathFactory
) -> None:
    starter, bootstrap = start_elsewhere("KafkaJars", jars.folder.parent)
    await ensure_topics(bootstrap, partitions=1)
    await say(bootstrap, b"here")
    kill_starter(starter)
    other = KafkaJars(tmp_path_factory.mktemp("other"))
    try:
        there = other.start()
        await ensure_topics(there, partitions=1)
        await say(there, b"there")
        assert await heard(jars.start()) == [b"here"]
        assert await heard(there) == [b"there"]
        with pytest.raises(EmbeddedError, match="in use by another running mfo"):
            KafkaJars(jars.folder.parent).start()
    finally:
        other.stop()


async def test_a_port_that_was_taken_meanwhile_is_chosen_anew(jars: KafkaJars) -> None:
    first = jars.start()
    await ensure_topics(first, partitions=1)
    await say(first, b"kept")
    jars.stop()
    with socket.socket() as squatter:
        squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        squatter.bind(("127.0.0.1", int(first.rpartition(":")[2])))
        squatter.listen()
        second = jars.start()
        assert second != first
        assert await heard(second) == [b"kept"]


async def test_dead_letters_may_be_larger_than_commands(real_kafka: str, topic_prefix: str) -> None:
    async with AIOKafkaProducer(bootstrap_servers=real_kafka, max_request_size=2 * 1024 * 1024) as producer:
        await producer.send_and_wait(f"{topic_prefix}.commands.dlq.v1", b"x" * 1_800_000)


async def test_the_builtin_broker_makes_topics_on_use_and_forgets_them(builtin: KafkaBuiltin) -> None:
    bootstrap = builtin.start()
    await say(bootstrap, b"one")
    assert await heard(bootstrap) == [b"one"]
    async with AIOKafkaProducer(bootstrap_servers=bootstrap) as producer:
        assert len(await producer.partitions_for(TOPIC)) == 4
    builtin.stop()
    assert builtin.bootstrap() == bootstrap
    assert await heard(builtin.start()) == []


async def test_the_builtin_broker_has_the_contracts_topics_before_anybody_uses_them(builtin: KafkaBuiltin) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=builtin.start())
    await admin.start()
    try:
        assert set(await admin.list_topics()) == set(topic_names())
    finally:
        await admin.close()


async def test_a_builtin_broker_that_outlived_its_starter_is_ended(builtin: KafkaBuiltin) -> None:
    starter, bootstrap = start_elsewhere("KafkaBuiltin", builtin.folder.parent)
    kill_starter(starter)
    await say(bootstrap, b"old")
    assert await heard(builtin.start()) == []
    assert not answers(int(bootstrap.rpartition(":")[2]))


def test_a_machine_without_java_gets_the_builtin_broker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    broker, why = choose_kafka("auto", tmp_path)
    assert broker.kind == "builtin"
    assert "Java is not installed" in why
    with pytest.raises(EmbeddedError, match="Java is not installed"):
        choose_kafka("jars", tmp_path)


def test_a_fetch_that_fails_leaves_nothing_and_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    maven = tmp_path / "bin" / "mvn"
    maven.parent.mkdir()
    maven.write_text("#!/bin/sh\necho the repository cannot be reached\nexit 1\n")
    maven.chmod(0o755)
    monkeypatch.setenv("PATH", f"{maven.parent}:/usr/bin:/bin")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(kafka_jars, "java_version", lambda: 17)
    with pytest.raises(EmbeddedError, match="the repository cannot be reached"):
        fetch_jars()
    assert not cache_folder().exists()
    broker, why = choose_kafka("auto", tmp_path)
    assert broker.kind == "builtin"
    assert "the repository cannot be reached" in why
