"""The write side, put together from what every service is given at its start."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from psycopg_pool import AsyncConnectionPool

from domain.errors import SettingsError
from domain.flow_types import FlowTypes
from eventstore.artifacts import ArtifactStore
from eventstore.breakers import Breakers
from eventstore.checkpoints import Checkpoints
from eventstore.committer import Committer, Slots
from eventstore.config import AuditConfig, CrewConfig, MailFolder, ServiceConfig, SmtpConfig, TellingConfig, Topics
from eventstore.database import Connection, connect
from eventstore.definitions import flow_types, modules, remember
from eventstore.fleet import Fleet
from eventstore.imports import ImportStore
from eventstore.keys import Keyring
from eventstore.operations import Operations
from eventstore.runs import Runs
from eventstore.schedules import Schedules
from eventstore.schema import opened
from eventstore.store import Store

__all__ = [
    "AuditConfig",
    "CrewConfig",
    "MailFolder",
    "ServiceConfig",
    "SmtpConfig",
    "TellingConfig",
    "Topics",
    "WriteSide",
    "write_side",
]


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
    """Open the write side for as long as the block lasts; raises StoreUnavailable, SchemaBehind, SchemaAhead, SettingsError,
    RegistrationError."""
    if len(config.master_key) != 32:
        raise SettingsError(
            "MFO_MASTER_KEY is missing; give 32 bytes in base64, or a file with them in MFO_MASTER_KEY_FILE"
        )
    connections = await opened(config, size=pool_size, name="write side")
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
