"""`mfo replay`: history told again from the store, to a topic, a file or a function of the caller's own.

Each event is a CloudEvent with the attribute `replay`, the id of the replay. How far it is lies in a state file, which is
written when what was told is confirmed: after a kill at most one batch is told again, and nothing is left out.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Any, Protocol
from uuid import uuid4

import msgspec
import psycopg
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from domain.errors import MfoError, SchemaBehind, StoreUnavailable, Unavailable
from eventstore.config import ServiceConfig
from eventstore.database import connect
from eventstore.relay import message, producer
from eventstore.store import Stored
from eventstore.tasks import close
from eventstore.windows import BATCH, Window, WindowReader

Json = dict[str, Any]
Handler = Callable[[Json], Awaitable[None] | None]

SAY_SECONDS = 2.0
TOPIC_LOOKS, TOPIC_LOOK_SECONDS = 5, 0.4
REPLAY_HEADER = "ce_replay"


class ReplayRefused(MfoError):
    """This replay cannot be done; the detail says what to change."""

    code = "replay_refused"
    status = 422


class ReplayStopped(MfoError):
    """The function raised an error; mend it, and give the same command again to go on with the event it raised at."""

    code = "replay_stopped"


class State(msgspec.Struct):
    """How far a replay is: all up to `position` was told and confirmed, of what lies up to `end`."""

    replay_id: str
    target: str
    window: Json
    position: int
    end: int
    read: int = 0
    told: int = 0
    size_bytes: int = 0
    finished: bool = False


class Target(Protocol):
    """Where events are told to. `tell` returns when all are kept for good; `told` counts those that are, also after an error."""

    name: str
    told: int

    async def start(self, state: State) -> None: ...

    async def tell(self, events: Sequence[Stored], state: State) -> None: ...

    async def stop(self) -> None: ...


def cloud_event(event: Stored, shard: str, replay_id: str) -> Json:
    """An event as a CloudEvent in structured JSON, with the attributes that it has on Kafka, and `replay`."""
    _, data, headers = message(event, shard)
    attributes: Json = {name.removeprefix("ce_"): value.decode() for name, value in headers if name.startswith("ce_")}
    return {
        **attributes,
        "sequence": event.version,
        "replay": replay_id,
        "datacontenttype": "application/json",
        "data": msgspec.Raw(data),
    }


class ToTopic:
    """A topic of the caller's own: records as on the live topic, with the header `ce_replay`. Raises ReplayRefused."""

    def __init__(self, config: ServiceConfig, topic: str) -> None:
        topics = config.topics
        live = {topics.commands, topics.replies, topics.events, topics.dead_letters, topics.checkpoints}
        if topic in live | set(config.reply_topics):
            raise ReplayRefused(f"{topic} is a live topic of the service; replay to a topic of your own")
        self.name = f"topic:{topic}"
        self.told = 0
        self._config = config
        self._topic = topic
        self._producer: AIOKafkaProducer | None = None

    async def start(self, state: State) -> None:
        """Reach Kafka; raises ReplayRefused where there is no such topic."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self._config.kafka_bootstrap)
        try:
            await admin.start()
            for _ in range(TOPIC_LOOKS):
                if self._topic in await admin.list_topics():
                    break
                # one that was made just now is not known to every broker at once
                await asyncio.sleep(TOPIC_LOOK_SECONDS)
            else:
                raise ReplayRefused(
                    f"there is no topic {self._topic} at {self._config.kafka_bootstrap}; make it first, as with"
                    f" kafka-topics.sh --create --topic {self._topic}"
                )
        finally:
            await admin.close()
        self._producer = producer(self._config.kafka_bootstrap)
        await self._producer.start()

    async def tell(self, events: Sequence[Stored], state: State) -> None:
        """Send all of them and wait until every one is confirmed."""
        assert self._producer is not None
        mark = (REPLAY_HEADER, state.replay_id.encode())
        futures = []
        for event in events:
            key, value, headers = message(event, self._config.shard)
            futures.append(await self._producer.send(self._topic, value, key=key, headers=[*headers, mark]))
        await asyncio.gather(*futures)
        self.told += len(events)

    async def stop(self) -> None:
        if self._producer is not None:
            await close(self._producer.stop)


class ToFile:
    """A file with a CloudEvent on each line. What was written and not confirmed is cut off when the replay goes on."""

    def __init__(self, config: ServiceConfig, file: Path) -> None:
        self.name = f"file:{file.absolute()}"
        self.told = 0
        self._shard = config.shard
        self._file = file
        self._out: Any = None

    async def start(self, state: State) -> None:
        """Open the file where it was confirmed to last; raises ReplayRefused."""
        try:
            if state.size_bytes and self._file.stat().st_size < state.size_bytes:
                raise ReplayRefused(f"{self._file} is shorter than what was told to it; give --fresh to begin anew")
            self._out = self._file.open("r+b" if state.size_bytes else "wb")
            self._out.truncate(state.size_bytes)
            self._out.seek(state.size_bytes)
        except OSError as error:
            raise ReplayRefused(f"{self._file} cannot be written: {error.strerror}") from None

    async def tell(self, events: Sequence[Stored], state: State) -> None:
        """Write them, down to the disk."""
        lines = [msgspec.json.encode(cloud_event(event, self._shard, state.replay_id)) + b"\n" for event in events]
        try:
            self._out.write(b"".join(lines))
            self._out.flush()
            os.fsync(self._out.fileno())
        except OSError as error:
            raise ReplayRefused(
                f"{self._file} cannot be written: {error.strerror}; give the same command again to go on"
            ) from None
        state.size_bytes = self._out.tell()
        self.told += len(events)

    async def stop(self) -> None:
        if self._out is not None:
            # what a full disk did not take was told of before
            with suppress(OSError):
                self._out.close()


class ToHandler:
    """A function, plain or async, that is called with each event in order, as a dict of CloudEvents attributes and `data`."""

    def __init__(self, config: ServiceConfig, handler: Handler, name: str) -> None:
        self.name = f"handler:{name}"
        self.told = 0
        self._shard = config.shard
        self._handler = handler

    async def start(self, state: State) -> None:
        """Nothing has to be opened."""

    async def tell(self, events: Sequence[Stored], state: State) -> None:
        """Call it for one event after the other; raises ReplayStopped at its first error, with the place before it kept."""
        for event in events:
            document = msgspec.json.decode(msgspec.json.encode(cloud_event(event, self._shard, state.replay_id)))
            try:
                answer = self._handler(document)
                if inspect.isawaitable(answer):
                    await answer
            except Exception as error:
                raise ReplayStopped(
                    f"{self.name} raised {type(error).__name__}: {error} at {document['id']};"
                    " mend it, and give the same command again to go on there"
                ) from error
            state.position = event.position
            self.told += 1

    async def stop(self) -> None:
        """Nothing was opened."""


def handler_named(text: str) -> Handler:
    """The function that `module:function` names, also beside the caller; raises ReplayRefused."""
    module, _, function = text.partition(":")
    if not module or not function:
        raise ReplayRefused(f"{text} is not module:function")
    sys.path.insert(0, str(Path.cwd()))
    try:
        found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise ReplayRefused(f"{text} cannot be had: {error}") from None
    if not callable(found):
        raise ReplayRefused(f"{text} is no function")
    handler: Handler = found
    return handler


async def replay(
    config: ServiceConfig,
    window: Window,
    target: Target,
    state_file: Path,
    *,
    rate: float | None = None,
    fresh: bool = False,
    said: Callable[[str], None] = lambda _: None,
) -> State:
    """Tell the window to the target, from where a replay of the same was broken off, else from its beginning.

    `rate`: events a second at most. `fresh` gives up a replay that is unfinished there. Raises ReplayRefused, ReplayStopped,
    StoreUnavailable and Unavailable, after each of which the same call goes on.
    """
    try:
        connection = await connect(config.database_url, config.shard)
    except psycopg.OperationalError as error:
        raise StoreUnavailable(f"PostgreSQL cannot be reached: {error}".strip()) from None
    reader = WindowReader(connection, window)
    try:
        state = unfinished(state_file, window, target) if not fresh else None
        if state is None:
            row = await (
                await connection.execute("select coalesce(max(notification_id), 0) from stored_events")
            ).fetchone()
            first, last = await reader.bounds(int(row[0]) if row else 0)
            state = State(str(uuid4()), target.name, window.as_dict(), first, last)
        else:
            said(f"going on with replay {state.replay_id}: {state.told} events are told")
        await target.start(state)
        await _tell(reader, target, state, state_file, rate=rate, said=said)
    except psycopg.errors.UndefinedTable:
        raise SchemaBehind from None
    except psycopg.Error as error:
        raise StoreUnavailable(f"PostgreSQL broke off: {error}; give the same command again to go on") from None
    except KafkaError as error:
        raise Unavailable(
            f"Kafka broke off: {type(error).__name__} {error}; give the same command again to go on"
        ) from None
    finally:
        await target.stop()
        await connection.close()
    return state


async def _tell(
    reader: WindowReader,
    target: Target,
    state: State,
    state_file: Path,
    *,
    rate: float | None,
    said: Callable[[str], None],
) -> None:
    _keep(state, state_file)
    size = BATCH if rate is None else max(1, min(BATCH, int(rate)))
    before, began, spoke = state.told, monotonic(), monotonic()
    async for position, events in reader.batches(state.position, state.end, size):
        try:
            if events:
                await target.tell(events, state)
            state.position = position
            state.read += len(events)
        finally:
            # of a handler that raised, all up to there is done
            state.told = before + target.told
            _keep(state, state_file)
        if rate is not None:
            await asyncio.sleep(max(0.0, began + target.told / rate - monotonic()))
        if monotonic() - spoke > SAY_SECONDS:
            spoke = monotonic()
            part = 100 * state.position / max(1, state.end)
            said(
                f"{state.told} events told, {part:.0f} % of the log read, {target.told / (spoke - began):.0f} a second"
            )
    state.finished = True
    _keep(state, state_file)


def unfinished(file: Path, window: Window | None = None, target: Target | None = None) -> State | None:
    """The replay that was broken off there, none where there is none; raises ReplayRefused for one of something else than
    these."""
    try:
        state = msgspec.json.decode(file.read_bytes(), type=State)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as error:
        raise ReplayRefused(f"{file} is no state of a replay ({error}); name another with --state") from None
    if state.finished:
        return None
    if target is None or window is None:
        return state
    if (state.target, state.window) != (target.name, window.as_dict()):
        raise ReplayRefused(f"{file} belongs to another replay that is not finished; give --fresh to give that up")
    return state


def _keep(state: State, file: Path) -> None:
    part = file.with_name(f".{file.name}.part")
    try:
        with part.open("wb") as out:
            out.write(msgspec.json.format(msgspec.json.encode(state)))
            out.flush()
            os.fsync(out.fileno())
        part.replace(file)
    except OSError as error:
        raise ReplayRefused(
            f"the state file {file} cannot be written: {error.strerror}; name another with --state"
        ) from None
