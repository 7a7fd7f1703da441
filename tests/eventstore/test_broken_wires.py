"""A broker that is gone is something a client of ours hears of, on uvloop too."""

from __future__ import annotations

import asyncio

import pytest
import uvloop
from aiokafka.conn import AIOKafkaConnection, create_conn
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.metadata import MetadataRequest

from eventstore.broken_wires import told_as_broken


@pytest.fixture
def mended(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a service; other tests get the library as it is."""
    monkeypatch.setattr(AIOKafkaConnection, "send", AIOKafkaConnection.send)
    told_as_broken()


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


@pytest.mark.usefixtures("mended")
def test_writing_to_a_closed_wire_is_a_lost_connection(kafka: str) -> None:
    with pytest.raises(KafkaConnectionError, match="broken"):
        uvloop.run(asyncio.wait_for(ask_over_a_closed_wire(kafka), 30))


def test_without_that_the_library_is_told_something_it_does_not_expect(kafka: str) -> None:
    with pytest.raises(RuntimeError, match="the handler is closed"):
        uvloop.run(asyncio.wait_for(ask_over_a_closed_wire(kafka), 30))
