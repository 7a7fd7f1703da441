"""History as the `eventsourcing` library reads it: its recorder, its notification log and its repository on our own table.

The library's topics are our wire names, registered at import; its domain events are `Recorded` facts. It reads; writing
goes through the committer alone, which keeps heads, hashes and the command log with each event.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NoReturn, cast
from uuid import UUID

from eventsourcing.application import Application, Repository
from eventsourcing.domain import DomainEventProtocol
from eventsourcing.persistence import Mapper, StoredEvent
from eventsourcing.postgres import PostgresApplicationRecorder
from eventsourcing.utils import register_topic
from psycopg.conninfo import conninfo_to_dict

from domain.events import BY_TOPIC, TOPICS
from domain.fleet.events import FLEET_BY_TOPIC, FLEET_TOPICS
from domain.fleet.subjects import FleetRecorded
from domain.flow import Flow, Recorded, fold
from domain.schedules.events import SCHEDULE_BY_TOPIC, SCHEDULE_TOPICS
from domain.schedules.schedule import ScheduleRecorded
from eventstore.codec import decode, decode_fleet, decode_schedule, encode, encode_fleet, encode_meta, encode_schedule
from eventstore.config import DEFAULT_SHARD

for _topic, _event in (*BY_TOPIC.items(), *SCHEDULE_BY_TOPIC.items(), *FLEET_BY_TOPIC.items()):
    register_topic(_topic, _event)


class FlowEvent:
    """A recorded fact in the shape of the library's domain events."""

    __slots__ = ("originator_id", "originator_version", "recorded")

    def __init__(self, recorded: Recorded) -> None:
        self.originator_id = recorded.flow_id
        self.originator_version = recorded.version
        self.recorded = recorded


class ScheduleEvent:
    """A recorded fact of a schedule in the shape of the library's domain events."""

    __slots__ = ("originator_id", "originator_version", "recorded")

    def __init__(self, recorded: ScheduleRecorded) -> None:
        self.originator_id = recorded.schedule_id
        self.originator_version = recorded.version
        self.recorded = recorded


class FleetEvent:
    """A recorded fact of an operation, a standing pause or a rule in the shape of the library's domain events."""

    __slots__ = ("originator_id", "originator_version", "recorded")

    def __init__(self, recorded: FleetRecorded) -> None:
        self.originator_id = recorded.subject_id
        self.originator_version = recorded.version
        self.recorded = recorded


class FlowMapper(Mapper[UUID]):
    """Between rows of `stored_events` and recorded facts."""

    def to_domain_event(self, stored_event: StoredEvent) -> DomainEventProtocol[UUID]:
        """The fact of a row; raises UnknownTopic."""
        flow_id = cast("UUID", stored_event.originator_id)
        place = (flow_id, stored_event.originator_version, stored_event.topic, stored_event.state)
        if place[2] in FLEET_BY_TOPIC:
            return FleetEvent(decode_fleet(*place))
        return ScheduleEvent(decode_schedule(*place)) if place[2] in SCHEDULE_BY_TOPIC else FlowEvent(decode(*place))

    def to_stored_event(self, domain_event: DomainEventProtocol[UUID]) -> StoredEvent:
        """The row of a fact, as the committer writes it but for the hash, which needs the event before."""
        if isinstance(domain_event, ScheduleEvent):
            told = domain_event.recorded
            row = encode_schedule(told, encode_meta(told.meta), b"")
            return StoredEvent(told.schedule_id, told.version, SCHEDULE_TOPICS[type(told.fact)], row.state)
        if isinstance(domain_event, FleetEvent):
            of_many = domain_event.recorded
            row = encode_fleet(of_many, encode_meta(of_many.meta), b"")
            return StoredEvent(of_many.subject_id, of_many.version, FLEET_TOPICS[type(of_many.fact)], row.state)
        assert isinstance(domain_event, FlowEvent)
        recorded = domain_event.recorded
        row = encode(recorded, encode_meta(recorded.meta), b"")
        return StoredEvent(recorded.flow_id, recorded.version, TOPICS[type(recorded.fact)], row.state)


def project_flow(flow: Flow | None, events: Iterable[DomainEventProtocol[UUID]]) -> Flow | None:
    """The flow after `events`, from nothing or from what it was; none where there is no event."""
    facts = [event.recorded for event in events if isinstance(event, FlowEvent)]
    if not facts:
        return flow
    return fold(flow or Flow(id=facts[0].flow_id), facts)


class FlowRepository(Repository[UUID]):
    """Flows by id, as of now or of a version."""

    def get(self, aggregate_id: UUID, *, version: int | None = None, **options: Any) -> Any:
        """The flow; raises the library's AggregateNotFoundError."""
        return super().get(aggregate_id, version=version, **{"projector_func": project_flow, **options})


class ReadingRecorder(PostgresApplicationRecorder):
    """The library's recorder for rows that it must not write."""

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> NoReturn:
        """Refused: an event without its hash, head and command would break the history."""
        raise PermissionError("history is appended by the committer alone")


class FlowHistory(Application[UUID]):
    """The library's application over one shard: `repository.get(flow_id)`, `recorder.select_notifications(...)`, its log."""

    name = "stored"

    def __init__(self, database_url: str, shard: str = DEFAULT_SHARD) -> None:
        given = conninfo_to_dict(database_url)
        super().__init__(
            {
                "PERSISTENCE_MODULE": "eventsourcing.postgres",
                "POSTGRES_DBNAME": str(given.get("dbname") or ""),
                "POSTGRES_HOST": str(given.get("host") or "localhost"),
                "POSTGRES_PORT": str(given.get("port") or 5432),
                "POSTGRES_USER": str(given.get("user") or ""),
                "POSTGRES_PASSWORD": str(given.get("password") or ""),
                "POSTGRES_SCHEMA": shard,
                "APPLICATION_RECORDER_TOPIC": f"{__name__}:{ReadingRecorder.__name__}",
                "CREATE_TABLE": "n",
            }
        )

    def construct_mapper(self) -> FlowMapper:
        return FlowMapper(self.construct_transcoder())

    def construct_repository(self) -> FlowRepository:
        return FlowRepository(event_store=self.events)
