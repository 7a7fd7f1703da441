"""How an event is written down: JSON of its meta and its data, compressed when large, linked by hash to the one before.

`state` is `{"meta": {...}, "data": {...}}` in UTF-8, or the zlib compression of it when longer than 10 KB (JSON begins with
`{`, zlib with 0x78, so a reader can tell). The topic is the event's wire name.
"""

from __future__ import annotations

import hashlib
import zlib
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from domain.errors import BodyTooLarge, MfoError
from domain.events import BY_TOPIC, TOPICS, FlowEvent
from domain.fleet.events import FLEET_BY_TOPIC, FLEET_TOPICS, FleetEvent
from domain.fleet.subjects import FleetRecorded
from domain.flow import Meta, Recorded
from domain.schedules.events import SCHEDULE_BY_TOPIC, SCHEDULE_TOPICS, ScheduleEvent
from domain.schedules.schedule import ScheduleRecorded

COMPRESS_ABOVE = 10_000
MAX_EVENT_BYTES = 256 * 1024
FIRST_HASH = bytes(32)

_encoder = msgspec.json.Encoder()
_decoders: dict[str, msgspec.json.Decoder[Any]] = {
    topic: msgspec.json.Decoder(event) for topic, event in BY_TOPIC.items()
}
_schedule_decoders: dict[str, msgspec.json.Decoder[Any]] = {
    topic: msgspec.json.Decoder(event) for topic, event in SCHEDULE_BY_TOPIC.items()
}
_fleet_decoders: dict[str, msgspec.json.Decoder[Any]] = {
    topic: msgspec.json.Decoder(event) for topic, event in FLEET_BY_TOPIC.items()
}


class _Written(msgspec.Struct, frozen=True):
    meta: Meta
    data: msgspec.Raw


class MetaText(msgspec.Struct, frozen=True):
    """A meta with its values as they are written, for those who only pass them on."""

    at: str
    client_account_id: str
    engagement_id: str
    user_id: str
    command_id: str
    correlation_id: str
    causation_id: str | None = None
    source: str = "http"
    traceparent: str | None = None


class _Passed(msgspec.Struct, frozen=True):
    meta: MetaText
    data: msgspec.Raw


_written = msgspec.json.Decoder(_Written)
_passed = msgspec.json.Decoder(_Passed)


class UnknownTopic(MfoError):
    """An event in the store has a topic that this version does not know; run a newer version."""

    code = "unknown_topic"


class Row(NamedTuple):
    """One row of `stored_events`, as it is written."""

    version: int
    topic: str
    state: bytes
    hash: bytes


def encode_meta(meta: Meta) -> bytes:
    """The meta's JSON, to be shared by all events of one command."""
    return _encoder.encode(meta)


def encode(recorded: Recorded, meta: bytes, previous: bytes) -> Row:
    """The row for a fact that follows the event whose hash is `previous`; raises BodyTooLarge above 256 KiB of JSON."""
    return _encode(
        recorded.flow_id, recorded.version, TOPICS[type(recorded.fact)], recorded.fact, meta=meta, previous=previous
    )


def encode_schedule(recorded: ScheduleRecorded, meta: bytes, previous: bytes) -> Row:
    """As `encode`, for a fact of a schedule."""
    topic = SCHEDULE_TOPICS[type(recorded.fact)]
    return _encode(recorded.schedule_id, recorded.version, topic, recorded.fact, meta=meta, previous=previous)


def encode_fleet(recorded: FleetRecorded, meta: bytes, previous: bytes) -> Row:
    """As `encode`, for a fact of an operation, a standing pause or a rule."""
    topic = FLEET_TOPICS[type(recorded.fact)]
    return _encode(recorded.subject_id, recorded.version, topic, recorded.fact, meta=meta, previous=previous)


def _encode(
    owner: UUID,
    version: int,
    topic: str,
    fact: FlowEvent | ScheduleEvent | FleetEvent,
    *,
    meta: bytes,
    previous: bytes,
) -> Row:
    state = b'{"meta":' + meta + b',"data":' + _encoder.encode(fact) + b"}"
    if len(state) > MAX_EVENT_BYTES:
        raise BodyTooLarge(f"{type(fact).__name__} would hold {len(state)} bytes; at most {MAX_EVENT_BYTES}")
    if len(state) > COMPRESS_ABOVE:
        state = zlib.compress(state)
    return Row(version, topic, state, chain(previous, owner, version, topic, state))


def chain(previous: bytes, flow_id: UUID, version: int, topic: str, state: bytes) -> bytes:
    """SHA-256(0x01 | previous hash (32) | flow id (16) | version (u64 be) | len(topic) (u16 be) | topic | state)."""
    name = topic.encode()
    return hashlib.sha256(
        b"\x01" + previous + flow_id.bytes + version.to_bytes(8, "big") + len(name).to_bytes(2, "big") + name + state
    ).digest()


def plain(state: bytes) -> bytes:
    """The JSON of a stored state, decompressed where it was compressed."""
    return state if state[:1] == b"{" else zlib.decompress(state)


def decode(flow_id: UUID, version: int, topic: str, state: bytes) -> Recorded:
    """The fact of a stored row; raises UnknownTopic."""
    written = _written.decode(plain(state))
    return Recorded(flow_id, version, written.meta, decode_data(topic, written.data))


def decode_schedule(schedule_id: UUID, version: int, topic: str, state: bytes) -> ScheduleRecorded:
    """The fact of a schedule's stored row; raises UnknownTopic."""
    written = _written.decode(plain(state))
    try:
        decoder = _schedule_decoders[topic]
    except KeyError:
        raise UnknownTopic(f"the topic {topic} is not known to this version; run a newer one") from None
    return ScheduleRecorded(schedule_id, version, written.meta, decoder.decode(written.data))


def decode_fleet(subject_id: UUID, version: int, topic: str, state: bytes) -> FleetRecorded:
    """The fact of a stored row of an operation, a standing pause or a rule; raises UnknownTopic."""
    written = _written.decode(plain(state))
    try:
        decoder = _fleet_decoders[topic]
    except KeyError:
        raise UnknownTopic(f"the topic {topic} is not known to this version; run a newer one") from None
    return FleetRecorded(subject_id, version, written.meta, decoder.decode(written.data))


def decode_data(topic: str, data: bytes | msgspec.Raw) -> FlowEvent:
    """The fact in a JSON object of the given topic; raises UnknownTopic."""
    try:
        decoder = _decoders[topic]
    except KeyError:
        raise UnknownTopic(f"the topic {topic} is not known to this version; run a newer one") from None
    fact: FlowEvent = decoder.decode(data)
    return fact


def split(state: bytes) -> tuple[Meta, bytes]:
    """The meta, and the data's JSON untouched."""
    written = _written.decode(plain(state))
    return written.meta, bytes(written.data)


def split_text(state: bytes) -> tuple[MetaText, bytes]:
    """As `split`, the meta's values as text: what goes onto Kafka."""
    passed = _passed.decode(plain(state))
    return passed.meta, bytes(passed.data)
