"""A broker that is gone is something a client of ours hears of, on uvloop too; and no client leaves a connection open."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import psutil
import pytest
import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.conn import AIOKafkaConnection, create_conn
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.metadata import MetadataRequest

from eventstore import broken_wires
from tests.waiting import until

Make = Callable[[str], Any]


@pytest.fixture
def as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library as it is."""
    monkeypatch.setattr(AIOKafkaConnection, "send", broken_wires._send)


async def ask_over_a_closed_wire(kafka: str) -> None:
    host, port = kafka.split(":")
    connection = await create_conn(host, int(port))
    try:
        # what a broker that is killed leaves for a moment: the transport is closed, and its reader has not been told
        connection._writer.transport.abort()
        await asyncio.sleep(0)
        await connection.send(MetadataRequest([]))
    finally:
        connection.close()


def test_writing_to_a_closed_wire_is_a_lost_connection(kafka: str) -> None:
    with pytest.raises(KafkaConnectionError, match="broken"):
        uvloop.run(asyncio.wait_for(ask_over_a_closed_wire(kafka), 30))


@pytest.mark.usefixtures("as_it_is")
def test_without_that_the_library_is_told_something_it_does_not_expect(kafka: str) -> None:
    with pytest.raises(RuntimeError, match="the handler is closed"):
        uvloop.run(asyncio.wait_for(ask_over_a_closed_wire(kafka), 30))


def consumer(address: str) -> AIOKafkaConsumer:
    return AIOKafkaConsumer(bootstrap_servers=address)


def producer(address: str) -> AIOKafkaProducer:
    return AIOKafkaProducer(bootstrap_servers=address, enable_idempotence=True)


def wires(address: str) -> list[Any]:
    """The connections of this process to an address."""
    port = int(address.split(":")[1])
    found = psutil.Process().net_connections("tcp")
    return [each for each in found if each.raddr and each.raddr.port == port and each.status == "ESTABLISHED"]


@asynccontextmanager
async def a_broker_that_falls_silent(kafka: str, answers: int) -> AsyncIterator[tuple[str, asyncio.Event]]:
    """The address of one that gives so many answers to each who connects, and an event for when it has been asked for more."""
    silent = asyncio.Event()
    host, port = kafka.split(":")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_kafka, to_kafka = await asyncio.open_connection(host, int(port))
        try:
            for _ in range(answers):
                to_kafka.write(await frame(reader))
                writer.write(await frame(from_kafka))
            await frame(reader)
            silent.set()
            await reader.read()
        except asyncio.IncompleteReadError:
            pass
        finally:
            to_kafka.close()
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}", silent


async def frame(reader: asyncio.StreamReader) -> bytes:
    size = await reader.readexactly(4)
    return size + await reader.readexactly(int.from_bytes(size, "big"))


@pytest.mark.parametrize("make", [consumer, producer])
@pytest.mark.parametrize("answers", [0, 1])
async def test_who_is_cancelled_while_it_asks_for_the_first_time_leaves_no_connection(
    kafka: str, make: Make, answers: int
) -> None:
    async with a_broker_that_falls_silent(kafka, answers) as (address, silent):
        starting = asyncio.create_task(make(address).start())
        await asyncio.wait_for(silent.wait(), 60)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        await until(lambda: not wires(address))


async def test_who_fails_to_start_leaves_no_connection(kafka: str) -> None:
    before = len(wires(kafka))
    starting = asyncio.create_task(AIOKafkaConsumer("never.made", bootstrap_servers=kafka, group_id="nobody").start())
    await until(lambda: starting.done() or len(wires(kafka)) > before)
    starting.cancel()
    await asyncio.gather(starting, return_exceptions=True)
    await until(lambda: len(wires(kafka)) == before)


@pytest.mark.parametrize("make", [consumer, producer])
async def test_a_client_that_is_stopped_at_once_is_closed(kafka: str, make: Make) -> None:
    before = len(wires(kafka))
    client = make(kafka)
    await client.start()
    await client.stop()
    await until(lambda: len(wires(kafka)) == before)
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize("make", [consumer, producer])
async def test_who_is_cancelled_while_stopping_closes_all_the_same(kafka: str, make: Make) -> None:
    before = len(wires(kafka))
    client = make(kafka)
    await client.start()
    stopping = asyncio.create_task(client.stop())
    await asyncio.sleep(0)
    stopping.cancel()
    # the library takes some cancellations for its own
    await asyncio.gather(stopping, return_exceptions=True)
    await until(lambda: len(wires(kafka)) == before)
    await until(lambda: asyncio.all_tasks() == {asyncio.current_task()})
