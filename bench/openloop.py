"""Loads that do not wait for their answers: commands leave at a fixed rate, whatever becomes of those before them.

Run as a process of its own, `python -m bench.openloop http|kafka`, with the service's variables in the environment; prints one
JSON document. Latency counts from the moment a command was due, so that a slow service cannot hide by slowing its caller.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from collections import Counter, deque
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import msgspec
import uvloop
from confluent_kafka import Producer

from bench.spread import in_ms

FLOW_TYPE = "noop"
BODY = {"flow_type": FLOW_TYPE, "flow_name": "overload"}
MOST_CONNECTIONS = 3000
PATIENCE_SECONDS = 30.0


class _Connection(asyncio.Protocol):
    """One keep-alive connection with one request on it at a time."""

    def __init__(self, load: HttpLoad) -> None:
        self.load = load
        self.due = 0.0
        self.transport: Any = None
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def send(self, due: float) -> None:
        self.due = due
        self.transport.write(self.load.request())

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, blank, rest = self._buffer.partition(b"\r\n\r\n")
        if not blank:
            return
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
        if len(rest) < length:
            return
        self._buffer = b""
        self.load.answered(self, int(head[9:12]), rest)

    def connection_lost(self, exc: Exception | None) -> None:
        self.load.lost(self)


class HttpLoad:
    """POST /flows at a rate; with `closed` so many at a time instead."""

    def __init__(self) -> None:
        at = urlsplit(os.environ["MFO_URL"])
        self.host, self.port = at.hostname or "127.0.0.1", at.port or 80
        body = msgspec.json.encode(BODY)
        self._head = (
            f"POST /api/v1/flows HTTP/1.1\r\nHost: {at.netloc}\r\nContent-Type: application/json\r\n"
            f"X-Client-Account-ID: {os.environ['MFO_CLIENT_ACCOUNT_ID']}\r\n"
            f"X-Engagement-ID: {os.environ['MFO_ENGAGEMENT_ID']}\r\nX-User-ID: bench\r\n"
            f"Content-Length: {len(body)}\r\nIdempotency-Key: "
        ).encode()
        self._tail = b"\r\n\r\n" + body
        self.idle: deque[_Connection] = deque()
        self.open = 0
        self.statuses: Counter[str] = Counter()
        self.latencies: list[float] = []
        self.refused: list[float] = []
        self.accepted: list[str] = []
        self.busy = 0
        self.closed = False

    def request(self) -> bytes:
        return self._head + str(uuid4()).encode() + self._tail

    def answered(self, connection: _Connection, status: int, body: bytes) -> None:
        took = time.perf_counter() - connection.due
        self.statuses[str(status)] += 1
        if status == 201:
            self.latencies.append(took)
            self.accepted.append(msgspec.json.decode(body)["flow_id"])
        elif status == 503:
            self.refused.append(took)
        self.busy -= 1
        if self.closed:
            self.busy += 1
            connection.send(time.perf_counter())
        else:
            self.idle.append(connection)

    def lost(self, connection: _Connection) -> None:
        self.open -= 1
        if connection in self.idle:
            self.idle.remove(connection)
        else:
            self.busy -= 1
            self.statuses["connection lost"] += 1

    async def _ask(self, due: float) -> None:
        self.busy += 1
        if self.idle:
            self.idle.pop().send(due)
            return
        if self.open >= MOST_CONNECTIONS:
            self.busy -= 1
            self.statuses["no connection left"] += 1
            return
        self.open += 1
        try:
            loop = asyncio.get_running_loop()
            _, made = await loop.create_connection(lambda: _Connection(self), self.host, self.port)
        except OSError:
            self.open -= 1
            self.busy -= 1
            self.statuses["not connected"] += 1
            return
        made.send(due)

    async def at_rate(self, rate: float, seconds: float) -> dict[str, Any]:
        began = time.perf_counter()
        tasks: set[asyncio.Task[None]] = set()
        for n in range(int(rate * seconds)):
            due = began + n / rate
            while (left := due - time.perf_counter()) > 0:
                await asyncio.sleep(left)
            if n % 20 == 0:
                # answers are read also when we are late
                await asyncio.sleep(0)
            task = asyncio.create_task(self._ask(due))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        until = time.perf_counter() + PATIENCE_SECONDS
        while self.busy and time.perf_counter() < until:
            await asyncio.sleep(0.01)
        return self._figures(time.perf_counter() - began) | {
            "offered_per_second": round(rate, 1),
            "unanswered": self.busy,
        }

    async def at_most(self, in_flight: int, seconds: float) -> dict[str, Any]:
        self.closed = True
        for _ in range(in_flight):
            await self._ask(time.perf_counter())
        await asyncio.sleep(seconds)
        self.closed = False
        while self.busy:
            await asyncio.sleep(0.01)
        return self._figures(seconds)

    def _figures(self, seconds: float) -> dict[str, Any]:
        return {
            "seconds": round(seconds, 1),
            "answers": dict(self.statuses),
            "accepted_per_second": round(len(self.latencies) / seconds, 1),
            "accepted_ms": in_ms(self.latencies),
            "turned_away_ms": in_ms(self.refused),
        }


def to_kafka(rate: float, seconds: float, known: list[str]) -> dict[str, Any]:
    """CreateFlow at a rate; what the broker has confirmed is added to `known`."""
    producer = Producer(
        {
            "bootstrap.servers": os.environ["MFO_KAFKA_BOOTSTRAP"],
            "acks": "all",
            "linger.ms": 5,
            "queue.buffering.max.messages": 2_000_000,
        }
    )
    who = {
        "clientaccountid": os.environ["MFO_CLIENT_ACCOUNT_ID"],
        "engagementid": os.environ["MFO_ENGAGEMENT_ID"],
        "userid": "bench",
    }
    fixed = [
        (f"ce_{name}", text)
        for name, text in (
            {"specversion": "1.0", "source": "/bench", "type": "mfo.command.CreateFlow.v1"} | who
        ).items()
    ]
    failed = 0

    def confirmed(error: Any, message: Any) -> None:
        nonlocal failed
        if error is None:
            known.append(message.key().decode())
        else:
            failed += 1

    began = time.perf_counter()
    for n in range(int(rate * seconds)):
        if n % 50 == 0:
            producer.poll(0)
            left = began + n / rate - time.perf_counter()
            if left > 0:
                time.sleep(left)
        flow_id = str(uuid4())
        body = msgspec.json.encode({**BODY, "flow_id": flow_id})
        producer.produce(
            "mfo.commands.v1", body, key=flow_id, headers=[("ce_id", flow_id), *fixed], on_delivery=confirmed
        )
    sent_in = time.perf_counter() - began
    producer.flush(120)
    return {
        "seconds": round(sent_in, 1),
        "offered_per_second": round(rate, 1),
        "confirmed": len(known),
        "failed": failed,
    }


def main() -> None:
    """One load, and its figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("over", choices=["http", "kafka"])
    parser.add_argument("--rate", type=float)
    parser.add_argument("--closed", type=int)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--ids", type=Path, help="where to write the flow ids of what was accepted, 16 bytes each")
    given = parser.parse_args()
    known: list[str] = []
    if given.over == "kafka":
        figures = to_kafka(given.rate, given.seconds, known)
    else:

        async def hold() -> dict[str, Any]:
            load = HttpLoad()
            asked = (
                load.at_most(given.closed, given.seconds) if given.closed else load.at_rate(given.rate, given.seconds)
            )
            found = await asked
            known.extend(load.accepted)
            return found

        figures = uvloop.run(hold())
    if given.ids:
        given.ids.write_bytes(b"".join(UUID(text).bytes for text in known))
    json.dump(figures, sys.stdout)


if __name__ == "__main__":
    main()
