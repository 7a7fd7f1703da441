"""What every service is given at its start, and the write side put together from it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

import psycopg
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from domain.addresses import Addressing
from domain.auditing.redaction import SECRETS_ONLY, Policy
from domain.errors import SettingsError, StoreUnavailable
from domain.flow_types import FlowTypes
from eventstore.artifacts import ArtifactStore
from eventstore.breakers import Breakers
from eventstore.checkpoints import Checkpoints
from eventstore.committer import MAX_QUEUE, MAX_QUEUE_BYTES, Committer, Slots
from eventstore.database import DEFAULT_SHARD, Connection, connect, pool
from eventstore.definitions import flow_types, modules, remember
from eventstore.fleet import Fleet
from eventstore.imports import ImportStore
from eventstore.keys import Keyring
from eventstore.operations import Operations
from eventstore.runs import Runs
from eventstore.schedules import Schedules
from eventstore.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class CrewConfig:
    """The model that agents of phases ask, the interpreter that has CrewAI (none: the service's own), and the limits of
    one phase: seconds of a call, of all of a run, calls, tokens, asks of one question; `samples` are cells of a column."""

    model: str
    base_url: str
    api_key: str | None = field(default=None, repr=False)
    python: str | None = None
    timeout_seconds: float = 60.0
    run_seconds: float = 120.0
    max_calls: int = 20
    max_total_tokens: int = 100_000
    max_asks: int = 2
    samples: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditConfig:
    """What signs the checkpoints of history: the private key's 32 bytes, the public halves of the keys before it, and a file
    and a bucket (`s3://bucket/prefix`) that checkpoints are added to besides; and what the audit trail does not show."""

    seed: bytes = field(repr=False)
    former: tuple[bytes, ...] = ()
    file: Path | None = None
    s3: str | None = None
    s3_endpoint: str | None = None
    policy: Policy = SECRETS_ONLY


@dataclass(frozen=True, slots=True, kw_only=True)
class SmtpConfig:
    """The mail server, who mail comes from, and whom to log in as, if anybody."""

    host: str
    port: int
    security: Literal["plain", "tls", "starttls"]
    sender: str
    user: str | None = None
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class TellingConfig:
    """Whom notifications may go to and by what way; times in seconds.

    `webhook_networks` are private networks that webhooks may reach all the same; `at_once` is for one process,
    `at_once_per_address` for all of them.
    """

    addressing: Addressing = field(default_factory=Addressing)
    smtp: SmtpConfig | None = None
    webhook_networks: tuple[str, ...] = ()
    webhook_timeout_seconds: float = 20.0
    max_attempts: int = 12
    at_once: int = 16
    at_once_per_address: int = 4
    keep_days: int = 30
    public_url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceConfig:
    """Settings as the services take them: checked, with the secrets read."""

    database_url: str
    kafka_bootstrap: str
    master_key: bytes
    shard: str = DEFAULT_SHARD
    topic_prefix: str = "mfo"
    kafka_fetch_wait_ms: int = 250
    flow_type_modules: tuple[str, ...] = ()
    reply_topics: tuple[str, ...] = ()
    http_host: str = "127.0.0.1"
    http_port: int = 8080
    health_port: int = 0
    max_body_bytes: int = 1 << 20
    max_upload_bytes: int = 512 << 20
    workers: int = 2
    worker_memory_mb: int = 1024
    worker_recycle_mb: int = 0
    worker_max_runs: int = 0
    drain_seconds: float = 10.0
    slots: int = 64
    tenant_runs: int | None = None
    operator_token: str | None = None
    http_in_flight: int = 256
    uploads_at_once: int = 8
    operation_max_flows: int = 100_000
    max_queue: int = MAX_QUEUE
    max_queue_bytes: int = MAX_QUEUE_BYTES
    crew: CrewConfig | None = None
    audit: AuditConfig | None = None
    telling: TellingConfig = TellingConfig()

    @property
    def topics(self) -> Topics:
        return Topics(self.topic_prefix)


@dataclass(frozen=True, slots=True)
class Topics:
    """The names of the Kafka topics."""

    prefix: str = "mfo"

    @property
    def commands(self) -> str:
        return f"{self.prefix}.commands.v1"

    @property
    def replies(self) -> str:
        return f"{self.prefix}.replies.v1"

    @property
    def events(self) -> str:
        return f"{self.prefix}.events.v1"

    @property
    def dead_letters(self) -> str:
        return f"{self.prefix}.commands.dlq.v1"

    @property
    def checkpoints(self) -> str:
        return f"{self.prefix}.audit.checkpoints.v1"


@dataclass(frozen=True, slots=True)
class WriteSide:
    """Everything a process needs to decide, keep and read flows."""

    config: ServiceConfig
    pool: AsyncConnectionPool[Connection]
    store: Store
    types: FlowTypes
    keyring: Keyring
    artifacts: ArtifactStore
    imports: ImportStore
    runs: Runs
    committer: Committer
    breakers: Breakers
    schedules: Schedules
    fleet: Fleet
    operations: Operations

    @property
    def checkpoints(self) -> Checkpoints:
        """A closer look at the points that flows can go back to."""
        return Checkpoints(self.store, self.pool)


@asynccontextmanager
async def write_side(
    config: ServiceConfig,
    *,
    slots: Slots | None = None,
    handlers: Collection[str] | None = None,
    validators: Collection[str] | None = None,
    pool_size: int = 8,
) -> AsyncIterator[WriteSide]:
    """Open the write side for as long as the block lasts; raises StoreUnavailable, SettingsError, RegistrationError."""
    if len(config.master_key) != 32:
        raise SettingsError(
            "MFO_MASTER_KEY is missing; give 32 bytes in base64, or a file with them in MFO_MASTER_KEY_FILE"
        )
    connections = pool(config.database_url, config.shard, size=pool_size, name="write side")
    try:
        await connections.open(wait=True, timeout=15)
    except (psycopg.Error, PoolTimeout) as error:
        await connections.close()
        raise StoreUnavailable("PostgreSQL cannot be reached; check MFO_DATABASE_URL") from error
    try:
        keyring = Keyring(config.master_key, connections)
        await keyring.check()
        types = flow_types(modules(config.flow_type_modules), handlers=handlers, validators=validators)
        await remember(connections, types)
        store, artifacts = Store(connections, config.shard), ArtifactStore(connections)
        committer = Committer(
            store,
            types,
            keyring,
            artifacts,
            partial(connect, config.database_url, config.shard, lock_timeout="5s"),
            slots=slots,
            max_queue=config.max_queue,
            max_queue_bytes=config.max_queue_bytes,
            addressing=config.telling.addressing,
        )
        schedules = Schedules(
            store,
            types,
            keyring,
            artifacts,
            partial(connect, config.database_url, config.shard, lock_timeout="5s"),
            addressing=config.telling.addressing,
        )
        fleet = Fleet(
            store, types, keyring, artifacts, partial(connect, config.database_url, config.shard, lock_timeout="5s")
        )
        await committer.start()
        try:
            yield WriteSide(
                config,
                connections,
                store,
                types,
                keyring,
                artifacts,
                ImportStore(connections, artifacts),
                Runs(connections),
                committer,
                Breakers(connections),
                schedules,
                fleet,
                Operations(connections),
            )
        finally:
            await fleet.stop()
            await schedules.stop()
            await committer.stop()
    finally:
        await connections.close()
