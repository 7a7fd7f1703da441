"""aiokafka on uvloop: a connection that broke is told as one.

Writing to a transport that is closed raises RuntimeError on uvloop; aiokafka (0.14, its issue 1038) expects OSError, and its own
tasks that fetch records and metadata end for good, unseen: the consumer reads nothing any more, although Kafka is back.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from aiokafka.conn import AIOKafkaConnection, CloseReason
from aiokafka.errors import KafkaConnectionError

_send = AIOKafkaConnection.send


def told_as_broken() -> None:
    """From now on, in this process, aiokafka hears of a broken connection what it expects to hear."""
    AIOKafkaConnection.send = _send_or_break


def _send_or_break(connection: Any, request: Any, expect_response: bool = True) -> Awaitable[Any]:
    try:
        sent: Awaitable[Any] = _send(connection, request, expect_response)
    except RuntimeError as error:
        connection.close(reason=CloseReason.CONNECTION_BROKEN)
        raise KafkaConnectionError(f"Connection at {connection.host}:{connection.port} broken: {error}") from error
    return sent
