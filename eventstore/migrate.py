"""Bring the schema of a shard up to date, or say whether it is."""

from __future__ import annotations

from importlib.resources import as_file, files
from typing import Any

import psycopg
from alembic import command
from alembic.config import Config
from psycopg import sql
from sqlalchemy import create_engine
from sqlalchemy.pool import StaticPool

from domain.errors import SettingsError, StoreUnavailable
from eventstore.config import DEFAULT_SHARD
from eventstore.database import conninfo
from eventstore.schema import FOUND, must_fit, newest, not_ahead

LOCK = 7_302_114


def upgrade(database_url: str, shard: str = DEFAULT_SHARD) -> str:
    """Make the shard's schema and tables where they are missing; answers the revision reached. Raises SchemaAhead where a newer
    program has been at them.

    Several processes may call this at once: one migrates, the others wait for it.
    """
    with _connect(database_url, shard) as connection, as_file(files("eventstore") / "migrations") as folder:
        connection.execute("select pg_advisory_lock(%s)", (LOCK,))
        connection.execute(sql.SQL("create schema if not exists {}").format(sql.Identifier(shard)))
        not_ahead(_found(connection))
        connection.commit()
        config = _config(str(folder))
        engine = create_engine("postgresql+psycopg://", creator=lambda: connection, poolclass=StaticPool)
        with engine.connect() as bound:
            config.attributes["connection"] = bound
            command.upgrade(config, "head")
            bound.commit()
        return newest()


def check(database_url: str, shard: str = DEFAULT_SHARD) -> str:
    """The revision the shard is at; raises SchemaBehind and SchemaAhead when it is not that of this program."""
    with _connect(database_url, shard) as connection:
        return must_fit(_found(connection))


def _found(connection: psycopg.Connection[Any]) -> str | None:
    row = connection.execute("select to_regclass('schema_version')::text").fetchone()
    if row is None or row[0] is None:
        return None
    found = connection.execute(FOUND).fetchone()
    return str(found[0]) if found is not None else None


def _config(folder: str) -> Config:
    config = Config()
    config.set_main_option("script_location", folder)
    return config


def _connect(database_url: str, shard: str) -> psycopg.Connection[Any]:
    try:
        return psycopg.connect(conninfo(database_url, shard))
    except psycopg.ProgrammingError as error:
        raise SettingsError(
            "MFO_DATABASE_URL is no PostgreSQL address; use postgresql://user:password@host:port/name"
        ) from error
    except psycopg.OperationalError as error:
        raise StoreUnavailable(
            f"PostgreSQL cannot be reached: {error.__class__.__name__}; check MFO_DATABASE_URL"
        ) from error
