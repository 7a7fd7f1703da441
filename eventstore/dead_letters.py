"""Dead letters: messages that were no command, with why; read from their topic, and sent back when they were mended.

A letter is known by its partition and offset. It stays where it is when it is replayed; the copy that goes back to the
commands carries `mfo_replays` (how often), `mfo_replay_of` and `mfo_replayed_by`, so that one that keeps failing can be seen.
What is shown of a letter is masked where it looks like a secret; what is replayed is what came.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from domain.errors import BodyTooLarge, NotHere, Refused, Unavailable
from domain.words import SENSITIVE_KEYS
from eventstore.config import ServiceConfig
from eventstore.relay import producer
from eventstore.tasks import close

READ_SECONDS = 10.0
PREVIEW = 200
SHOWN = 64 * 1024
MAX_BYTES = 1 << 20
HIDDEN = "***"
OURS = "mfo_"
CODE, DETAIL = "mfo_error_code", "mfo_error_detail"
SOURCE = tuple(f"mfo_source_{part}" for part in ("topic", "partition", "offset"))
CUT = "mfo_original_bytes"
REPLAYS, REPLAY_OF, REPLAYED_BY = "mfo_replays", "mfo_replay_of", "mfo_replayed_by"

_names = "|".join(
    name.replace("_", "[_-]?")
    for name in sorted(SENSITIVE_KEYS | {"authorization", "passwd", "pwd"}, key=len, reverse=True)
)
# a sensitive name, or one that ends in it, and what stands after its colon or equals sign
_named = re.compile(
    rf"""(\b[\w-]*(?:{_names})\b["']?\s*[:=]\s*)("(?:[^"\\]|\\.)*"?|'[^']*'?|[^\s,;&}}\]]+)""", re.IGNORECASE
)
_in_address = re.compile(r"(?<=://)([^:/@\s\"]*):([^@\s\"]*)@")
_sensitive = re.compile(rf"(?:{_names})$", re.IGNORECASE)


class DeadLetterNotFound(NotHere):
    """There is no dead letter at this partition and offset; it may have been removed with the topic's retention."""

    code = "dead_letter_not_found"


class DeadLetterCut(Refused):
    """Only the beginning of this message was kept, because it was too large; give a body to replay it."""

    code = "dead_letter_cut"


class DeadLetterElsewhere(Refused):
    """This message came from another topic than the one of commands; it is not replayed."""

    code = "dead_letter_elsewhere"


class KafkaUnavailable(Unavailable):
    """Kafka does not answer; try again, or check MFO_KAFKA_BOOTSTRAP."""

    code = "kafka_unavailable"


class Letter(NamedTuple):
    """A dead letter as it lies in its topic."""

    partition: int
    offset: int
    at: datetime
    key: bytes | None
    headers: tuple[tuple[str, bytes], ...]
    value: bytes | None

    def header(self, name: str) -> str | None:
        """The last header of this name, as text."""
        return next((_text(raw) for found, raw in reversed(self.headers) if found == name), None)

    @property
    def replays(self) -> int:
        """How often it had been sent back before it came here."""
        text = self.header(REPLAYS) or ""
        return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


class Mending(NamedTuple):
    """What is changed of a letter before it goes back: `headers` replace those of their name, none removes them; `body` and
    `key` take the places of its own."""

    headers: Mapping[str, str | None] | None = None
    body: bytes | None = None
    key: str | None = None


class Outgoing(NamedTuple):
    """A message that goes back to the commands, and the how-manieth time it does."""

    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]
    replays: int


class DeadLetters:
    """The topic of dead letters. Each call connects anew: they are asked for by people, seldom."""

    def __init__(self, config: ServiceConfig) -> None:
        self._config = config
        self._topic = config.topics.dead_letters
        self.commands = config.topics.commands

    async def newest(
        self, limit: int, below: Mapping[int, int] | None = None
    ) -> tuple[list[dict[str, Any]], int, dict[int, int] | None]:
        """The newest letters as `summary` shows them, the newest first; how many there are in all; and, where there are
        older ones, the offsets by partition that they lie below. Raises KafkaUnavailable."""
        async with self._reading() as consumer:
            bounds = await self._bounds(consumer)
            upto = {part: min(end, (below or {}).get(part, end)) for part, (_, end) in bounds.items()}
            found: list[dict[str, Any]] = []
            for part, (begin, _) in bounds.items():
                first = max(begin, upto[part] - limit)
                found += [summary(letter) async for letter in self._range(consumer, part, first, upto[part])]
        found.sort(key=lambda one: (one["at"], one["partition"], one["offset"]), reverse=True)
        taken = found[:limit]
        for one in taken:
            upto[one["partition"]] = min(upto[one["partition"]], one["offset"])
        more = any(upto[part] > begin for part, (begin, _) in bounds.items())
        return taken, sum(end - begin for begin, end in bounds.values()), upto if more else None

    async def between(self, partition: int, first: int, limit: int) -> list[dict[str, Any]]:
        """Up to `limit` letters of a partition from an offset on, oldest first. Raises DeadLetterNotFound, KafkaUnavailable."""
        async with self._reading() as consumer:
            bounds = await self._bounds(consumer)
            if partition not in bounds:
                raise DeadLetterNotFound(f"the topic has no partition {partition}")
            begin, end = bounds[partition]
            begin = max(begin, first)
            return [summary(one) async for one in self._range(consumer, partition, begin, min(end, begin + limit))]

    async def one(self, partition: int, offset: int) -> Letter:
        """The letter at a place. Raises DeadLetterNotFound and KafkaUnavailable."""
        async with self._reading() as consumer:
            bounds = await self._bounds(consumer)
            begin, end = bounds.get(partition, (0, 0))
            found = [letter async for letter in self._range(consumer, partition, offset, min(offset + 1, end))]
        if offset < begin or not found:
            raise DeadLetterNotFound
        return found[0]

    async def mended(self, partition: int, offset: int, mending: Mending, *, actor: str) -> Outgoing:
        """A letter as it is to go back to the commands, nothing sent yet.

        Raises DeadLetterNotFound, DeadLetterCut, DeadLetterElsewhere and KafkaUnavailable.
        """
        letter = await self.one(partition, offset)
        if letter.header(SOURCE[0]) != self._config.topics.commands:
            raise DeadLetterElsewhere
        if mending.body is None and (letter.header(CUT) is not None or (letter.value is None and letter.key is None)):
            raise DeadLetterCut
        replays = letter.replays + 1
        changed = {name.lower(): text for name, text in (mending.headers or {}).items()}
        sent = [
            (name, raw) for name, raw in letter.headers if not name.startswith(OURS) and name.lower() not in changed
        ]
        sent += [(name, text.encode()) for name, text in changed.items() if text is not None]
        sent += [
            (REPLAYS, str(replays).encode()),
            (REPLAY_OF, f"{partition}:{offset}".encode()),
            (REPLAYED_BY, actor.encode()),
        ]
        key = letter.key if mending.key is None else mending.key.encode()
        return Outgoing(key, letter.value if mending.body is None else mending.body, tuple(sent), replays)

    async def send(self, outgoing: Outgoing) -> dict[str, Any]:
        """Send it; answers where it lies now: `{topic, partition, offset, replays}`. Raises BodyTooLarge and KafkaUnavailable."""
        kafka: AIOKafkaProducer = producer(self._config.kafka_bootstrap)
        key, value, headers, replays = outgoing
        try:
            async with asyncio.timeout(READ_SECONDS):
                await kafka.start()
                at = await kafka.send_and_wait(self._config.topics.commands, value, key=key, headers=list(headers))
        except MessageSizeTooLargeError:
            raise BodyTooLarge(f"the message is larger than {MAX_BYTES} bytes; no broker takes it") from None
        except (KafkaError, TimeoutError, OSError) as error:
            raise KafkaUnavailable from error
        finally:
            await close(kafka.stop)
        return {"topic": at.topic, "partition": at.partition, "offset": at.offset, "replays": replays}

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[AIOKafkaConsumer]:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._config.kafka_bootstrap,
            group_id=None,
            enable_auto_commit=False,
            fetch_max_wait_ms=self._config.kafka_fetch_wait_ms,
            max_partition_fetch_bytes=4 << 20,
        )
        try:
            async with asyncio.timeout(READ_SECONDS):
                await consumer.start()
                yield consumer
        except (KafkaError, TimeoutError, OSError) as error:
            raise KafkaUnavailable from error
        finally:
            await close(consumer.stop)

    async def _bounds(self, consumer: AIOKafkaConsumer) -> dict[int, tuple[int, int]]:
        """The first offset that is kept and the next that will be written, by partition."""
        if self._topic not in await consumer.topics():
            raise KafkaUnavailable(f"the topic {self._topic} is not there; is the service running?")
        # the client asks for the topic's partitions with the first of them
        first = TopicPartition(self._topic, 0)
        consumer.assign([first])
        await consumer.end_offsets([first])
        parts = [TopicPartition(self._topic, n) for n in sorted(consumer.partitions_for_topic(self._topic) or {0})]
        begins, ends = await consumer.beginning_offsets(parts), await consumer.end_offsets(parts)
        return {part.partition: (begins[part], ends[part]) for part in parts}

    async def _range(self, consumer: AIOKafkaConsumer, partition: int, first: int, end: int) -> AsyncIterator[Letter]:
        """The letters of a partition from one offset to before another."""
        if first >= end:
            return
        part = TopicPartition(self._topic, partition)
        consumer.assign([part])
        consumer.seek(part, first)
        while True:
            for record in (await consumer.getmany(part, timeout_ms=500)).get(part, []):
                if record.offset < end:
                    at = datetime.fromtimestamp(record.timestamp / 1000, UTC)
                    yield Letter(partition, record.offset, at, record.key, tuple(record.headers), record.value)
                if record.offset >= end - 1:
                    return


def summary(letter: Letter) -> dict[str, Any]:
    """A letter in a line of a list: `{partition, offset, at, code, detail, source{}, size_bytes, replays, type, id, preview}`."""
    return {
        "partition": letter.partition,
        "offset": letter.offset,
        "at": letter.at,
        "code": letter.header(CODE),
        "detail": masked(letter.header(DETAIL) or "")[:SHOWN],
        "source": {name.rpartition("_")[2]: letter.header(name) for name in SOURCE},
        "size_bytes": int(cut) if (cut := letter.header(CUT) or "").isdigit() else len(letter.value or b""),
        "replays": letter.replays,
        "type": letter.header("ce_type"),
        "id": letter.header("ce_id"),
        "preview": masked(_text((letter.value or b"")[:4096]))[:PREVIEW],
    }


def shown(letter: Letter) -> dict[str, Any]:
    """All of a letter: its summary, `headers[]`, `key`, and `body` as text of at most 64 KiB, secrets masked."""
    text = masked(_text(letter.value)) if letter.value is not None else None
    return {
        **summary(letter),
        "key": _text(letter.key) if letter.key is not None else None,
        "headers": [
            {"name": name, "value": HIDDEN if _sensitive.search(name) else masked(_text(raw or b""))[:SHOWN]}
            for name, raw in letter.headers
        ],
        "body": text[:SHOWN] if text is not None else None,
        "complete": letter.header(CUT) is None and text is not None and len(text) <= SHOWN,
    }


def masked(text: str) -> str:
    """The text without what stands under sensitive names in it, and without the passwords of addresses.

    JSON is read as such, so that the whole of a sensitive value goes; in anything else what follows the name goes.
    """
    try:
        document = msgspec.json.decode(text.encode())
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return _in_address.sub(rf"\1:{HIDDEN}@", _named.sub(rf"\g<1>{HIDDEN}", text))
    if not isinstance(document, dict | list):
        return _in_address.sub(rf"\1:{HIDDEN}@", text)
    return _in_address.sub(rf"\1:{HIDDEN}@", msgspec.json.encode(_hide(document)).decode())


def _hide(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: HIDDEN if _sensitive.search(name) else _hide(inner) for name, inner in value.items()}
    return [_hide(inner) for inner in value] if isinstance(value, list) else value


def _text(raw: bytes | None) -> str:
    """Bytes as text that is safe to print: what is no UTF-8 and what is no printable character is escaped."""
    text = (raw or b"").decode("utf-8", "backslashreplace")
    return (
        text
        if text.isprintable()
        else "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)
    )
