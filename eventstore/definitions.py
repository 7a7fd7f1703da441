"""The flow types a service knows: its own, those of further modules, and every older version that flows were made with."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from importlib import import_module
from types import ModuleType

import msgspec
from psycopg.types.json import Jsonb
from psycopg_pool import AsyncConnectionPool

from domain.errors import RegistrationError, SettingsError
from domain.flow_types import FlowTypeConfig, FlowTypes
from domain.types import FLOW_TYPES
from eventstore.database import Connection

KNOWN = "select name, version, definition from flow_types order by first_seen_at, name, version"


def modules(names: Sequence[str], setting: str = "MFO_FLOW_TYPES") -> list[ModuleType]:
    """The further modules that a setting names; raises SettingsError.

    Those of MFO_FLOW_TYPES offer FLOW_TYPES and, where phases run, HANDLERS and VALIDATORS.
    """
    found = []
    for name in names:
        try:
            found.append(import_module(name))
        except ImportError as error:
            raise SettingsError(
                f"{setting} names the module {name!r}, which cannot be imported: {error};"
                " set PYTHONPATH to the folder in which it lies"
            ) from error
    return found


def flow_types(
    extra: Sequence[ModuleType], *, handlers: Collection[str] | None = None, validators: Collection[str] | None = None
) -> FlowTypes:
    """Every type registered against the handlers and validators there are; raises RegistrationError.

    A process that runs no phases gives none; the names are then taken as they stand.
    """
    types = FlowTypes()
    configs: list[FlowTypeConfig] = [*FLOW_TYPES]
    for module in extra:
        configs.extend(getattr(module, "FLOW_TYPES", ()))
    for config in configs:
        named = config.handlers
        checked = [name for phase in config.phases for name in phase.validators]
        types.register(
            config,
            handlers=handlers if handlers is not None else named,
            validators=validators if validators is not None else checked,
        )
    return types


async def remember(pool: AsyncConnectionPool[Connection], types: FlowTypes) -> None:
    """Keep today's definitions in the store and learn the older ones from it; raises RegistrationError for a changed one."""
    async with pool.connection() as connection:
        for config in types.all():
            await connection.execute(
                "insert into flow_types (name, version, sha256, definition, first_seen_at)"
                " values (%s, %s, %s, %s, mfo_now()) on conflict do nothing",
                (config.name, config.version, config.digest(), Jsonb(msgspec.to_builtins(config))),
            )
    await learn(pool, types)


async def learn(pool: AsyncConnectionPool[Connection], types: FlowTypes) -> None:
    """Learn the definitions that the store knows; raises RegistrationError where one of today's differs from the kept one."""
    async with pool.connection() as connection:
        rows = await (await connection.execute(KNOWN)).fetchall()
    current = {(config.name, config.version): config.digest() for config in types.all()}
    for name, version, definition in rows:
        kept = msgspec.convert(definition, FlowTypeConfig)
        # read with today's fields: one that was added since, at its default, changes nothing
        if current.get((name, version), kept.digest()) != kept.digest():
            raise RegistrationError(
                f"flow type {name!r} {version} was kept with another definition; give the changed one a new version"
            )
        types.remember(kept)
