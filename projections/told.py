"""An event as a projection is told it, by Kafka or by the event store; what is in it is decoded when it is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

import msgspec
from msgspec import UNSET

from domain.errors import MfoError
from domain.flow import Flow, Meta, Recorded, evolve
from eventstore.codec import decode, decode_data, split
from eventstore.store import Stored
from eventstore.topic import fault


class MessageStrange(MfoError):
    """A record on the event topic is not an event as the relay writes them."""

    code = "message_strange"


class Told(msgspec.Struct, gc=False):
    """One event with its place in its flow (`version`, from 1) and in the log (`position`).

    `headers` are those of a Kafka record and `body` the event's data; without headers `body` is a stored state. Several
    projections are told the same object: what one of them decoded, or folded, the others find in `known` and `then`.
    """

    flow_id: UUID
    version: int
    position: int
    topic: str
    body: bytes
    headers: Mapping[str, bytes] | None = None
    known: Recorded | None = None
    then: Flow | None = None

    def recorded(self) -> Recorded:
        """The fact; raises UnknownTopic, MessageStrange and msgspec.DecodeError."""
        if self.headers is None:
            # a history from the store is told to one projection alone
            return decode(self.flow_id, self.version, self.topic, self.body)
        if self.known is None:
            fact = decode_data(self.topic, self.body)
            self.known = Recorded(self.flow_id, self.version, meta_of(self.headers), fact)
        return self.known

    def after(self, flow: Flow, recorded: Recorded) -> Flow:
        """The flow after this event, which `recorded` is, `flow` being how it was before; raises what `evolve` raises."""
        if self.headers is None:
            return evolve(flow, recorded)
        if self.then is None:
            self.then = evolve(flow, recorded)
        return self.then

    def tenant(self) -> tuple[UUID, UUID]:
        """Client account and engagement."""
        meta = self.meta()
        return meta.client_account_id, meta.engagement_id

    def data(self) -> bytes:
        """The JSON object of the fact's fields."""
        return self.body if self.headers is not None else split(self.body)[1]

    def traceparent(self) -> str | None:
        """The span that brought it about, where Kafka told of one."""
        named = self.headers.get("ce_traceparent") if self.headers is not None else None
        return named.decode() if named else None

    def at(self) -> datetime:
        """When it happened."""
        return self.meta().at

    def meta(self) -> Meta:
        """Who, when and why; raises as `recorded` does."""
        if self.known is not None:
            return self.known.meta
        return split(self.body)[0] if self.headers is None else meta_of(self.headers)


def by_flow(batch: Iterable[Told]) -> dict[UUID, list[Told]]:
    """A batch's events flow by flow, as they came."""
    told: dict[UUID, list[Told]] = {}
    for event in batch:
        told.setdefault(event.flow_id, []).append(event)
    return told


def news(events: Iterable[Told], at: int) -> list[Told]:
    """The events of a flow that are later than the version `at`, each once, in order."""
    found = {event.version: event for event in events if event.version > at}
    return [found[version] for version in sorted(found)]


def joins(events: Sequence[Told], at: int) -> bool:
    """Whether events of a flow, in order, go on at the version `at` without a gap."""
    return events[0].version == at + 1 and events[-1].version == at + len(events)


def from_store(event: Stored) -> Told:
    """An event as it lies in the log."""
    return Told(event.flow_id, event.version, event.position, event.topic, event.state)


def from_kafka(value: bytes | None, headers: Sequence[tuple[str, bytes]], shard: str) -> Told | None:
    """The event in a Kafka record, None for one of another shard; raises MessageStrange."""
    named = dict(headers)
    try:
        where, _, number = named["ce_position"].decode().rpartition(":")
        if where != shard:
            return None
        return Told(
            _uuid(named["ce_subject"]),
            int(named["ce_sequence"]),
            int(number),
            named["ce_type"].decode(),
            value or b"",
            named,
        )
    except (KeyError, ValueError) as error:
        raise MessageStrange(f"a record without a readable {error}") from error


def meta_of(headers: Mapping[str, bytes]) -> Meta:
    """Who, when and why, from the CloudEvents attributes; raises MessageStrange."""
    try:
        cause = headers.get("ce_causationid")
        return Meta(
            at=datetime.fromisoformat(headers["ce_time"].decode()),
            client_account_id=_uuid(headers["ce_clientaccountid"]),
            engagement_id=_uuid(headers["ce_engagementid"]),
            user_id=headers["ce_userid"].decode(),
            command_id=headers["ce_commandid"].decode(),
            correlation_id=headers["ce_correlationid"].decode(),
            causation_id=cause.decode() if cause else None,
            source=headers["ce_origin"].decode(),
            traceparent=traced.decode() if (traced := headers.get("ce_traceparent")) else UNSET,
        )
    except (KeyError, ValueError) as error:
        raise MessageStrange(f"a record without a readable {error}") from error


# the same few come again and again, and making one costs more than the rest of a record
@lru_cache(maxsize=8192)
def _uuid(text: bytes) -> UUID:
    return UUID(text.decode())


def short(error: BaseException) -> str:
    """An error in one line of at most 2,000 characters, without NUL, as `parked_flows` keeps it."""
    detail: Any = error.args[0] if error.args else ""
    text = f"{type(error).__name__}: {detail}" if detail else fault(error)
    return " ".join(str(text).replace("\x00", "\\0").split())[:2000]
