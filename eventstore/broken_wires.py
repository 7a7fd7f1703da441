"""What aiokafka (0.14) leaves broken or open is mended here, for every client of Kafka in the process.

- Writing to a transport that is closed raises RuntimeError on uvloop; aiokafka (its issue 1038) expects OSError, and its own
  tasks that fetch records and metadata end for good, unseen: the consumer reads nothing any more, although Kafka is back.
- A client whose first request is cancelled forgets the connection that it asked over.
- A client that fails to start keeps its connections until somebody stops it.
- A `stop` that breaks off, by a cancellation or by its own (it awaits tasks that it has cancelled), never comes to the
  connections, and does nothing the next time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.conn import AIOKafkaConnection, CloseReason
from aiokafka.errors import KafkaConnectionError

from eventstore.tasks import close, end_all

PARTS = ("_coordinator", "_fetcher", "_sender")
TASKS = (
    *("_sync_task", "_coordination_task", "_heartbeat_task", "_commit_refresh_task", "_reset_committed_task"),
    *("_fetch_task", "_sender_task"),
)

Step = Callable[[Any], Awaitable[None]]

_send = AIOKafkaConnection.send
_steps = [(kind, kind.start, kind.stop) for kind in (AIOKafkaConsumer, AIOKafkaProducer)]


def mend_wires() -> None:
    """From now on, in this process, aiokafka hears of a broken connection what it expects to hear, and leaves none open."""
    AIOKafkaConnection.send = _send_or_break
    for kind, start, stop in _steps:
        kind.start, kind.stop = _whole_or_not(start), _to_the_end(stop)


def _send_or_break(connection: Any, request: Any, expect_response: bool = True) -> Awaitable[Any]:
    try:
        sent: Awaitable[Any] = _send(connection, request, expect_response)
    except RuntimeError as error:
        connection.close(reason=CloseReason.CONNECTION_BROKEN)
        raise KafkaConnectionError(f"Connection at {connection.host}:{connection.port} broken: {error}") from error
    # only those by which a client begins tell nobody of their end
    return sent if connection._on_close_cb is not None else _answered_or_closed(connection, sent)  # noqa: SLF001


async def _answered_or_closed(connection: Any, sent: Awaitable[Any]) -> Any:
    try:
        return await sent
    except asyncio.CancelledError:
        connection.close()
        raise


def _whole_or_not(start: Step) -> Step:
    @wraps(start)
    async def whole_or_not(kafka: Any) -> None:
        try:
            await start(kafka)
        except BaseException:
            await close(kafka.stop)
            raise

    return whole_or_not


def _to_the_end(stop: Step) -> Step:
    @wraps(stop)
    async def to_the_end(kafka: Any) -> None:
        try:
            await stop(kafka)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
        finally:
            await _let_go(kafka)

    return to_the_end


async def _let_go(kafka: Any) -> None:
    """End what still runs of a client, and close what is still open."""
    client = getattr(kafka, "_client", None) or kafka.client
    client._get_conn = _no_connection  # noqa: SLF001
    parts = [client, *(part for name in PARTS if (part := getattr(kafka, name, None)) is not None)]
    tasks = {task for part in parts for name in TASKS if (task := getattr(part, name, None)) is not None}
    tasks |= {task for part in parts for task in getattr(part, "_pending_tasks", ())}
    try:
        await end_all(tasks)
    finally:
        for connection in client._conns.values():  # noqa: SLF001
            connection.close(reason=CloseReason.SHUTDOWN)


async def _no_connection(*_: Any, **__: Any) -> None:
    """As it is said of a broker that cannot be reached."""
