"""Bring the schema of a shard up to date, or say whether it is."""

from __future__ import annotations

from importlib.resources import as_file, files
from typing import Any

import psycopg
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from psycopg import sql
from sqlalchemy import create_engine
from sqlalchemy.pool import StaticPool

from domain.errors import SchemaBehind, SettingsError, StoreUnavailable
from eventstore.config import DEFAULT_SHARD
from eventstore.database import conninfo

LOCK = 7_302_114


def upgrade(database_url: str, shard: str = DEFAULT_SHARD) -> str:
    """Make the shard's schema and tables where they are missing; answers the revision reached.

    Several processes may call this at once: one migrates, the others wait for it.
    """
    with _connect(database_url, shard) as connection, as_file(files("eventstore") / "migrations") as folder:
        connection.execute("select pg_advisory_lock(%s)", (LOCK,))
        connection.execute(sql.SQL("create schema if not exists {}").format(sql.Identifier(shard)))
        connection.commit()
        config = _config(str(folder))
        engine = create_engine("postgresql+psycopg://", creator=lambda: connection, poolclass=StaticPool)
        with engine.connect() as bound:
            config.attributes["connection"] = bound
            command.upgrade(config, "head")
            bound.commit()
        return str(ScriptDirectory.from_config(config).get_current_head())


def check(database_url: str, shard: str = DEFAULT_SHARD) -> str:
    """The revision the shard is at; raises SchemaBehind when it is not the newest."""
    with as_file(files("eventstore") / "migrations") as folder:
        head = ScriptDirectory.from_config(_config(str(folder))).get_current_head()
    with _connect(database_url, shard) as connection:
        row = connection.execute("select to_regclass('schema_version')::text").fetchone()
        found: Any = None
        if row is not None and row[0] is not None:
            found = connection.execute("select version_num from schema_version").fetchone()
    current = found[0] if found else None
    if current != head:
        raise SchemaBehind(f"the schema is at {current or 'nothing'}, this version needs {head}; run: mfo migrate")
    return str(current)


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
