"""The older system's tables as they stand, in its database or in a dump: every value as PostgreSQL writes it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import msgspec
import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from mfo.legacy import dump
from mfo.legacy.dump import SourceUnreadable, Values

MASTER, DISCOVERY, ASSESSMENT = TABLES = ("crewai_flow_state_extensions", "discovery_flows", "assessment_flows")
OURS = "log_position"
AT_ONCE = 1000
TIME = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d")
FLAGS = {"t": "true", "f": "false"}
COLUMNS = """
select a.attname from pg_attribute a where a.attrelid = to_regclass(%s) and a.attnum > 0 and not a.attisdropped
order by a.attnum
"""


class Raw(NamedTuple):
    """A row of the older system: the n-th of its table, counted from 1."""

    table: str
    number: int
    values: Mapping[str, str | None]

    @property
    def sha256(self) -> str:
        """The hash of what stands in it, as canonical JSON: the same from the database and from a dump, in whatever zone of time
        and whatever way of writing JSON."""
        said = {name: None if text is None else _canonical(text) for name, text in self.values.items()}
        return hashlib.sha256(msgspec.json.encode(said, order="sorted")).hexdigest()


def is_database(source: str) -> bool:
    """Whether it names a database, not a file."""
    return source.startswith(("postgresql://", "postgres://")) or ("=" in source and not Path(source).exists())


def named(source: str) -> str:
    """The source as it may be shown and kept: without a password."""
    if not is_database(source):
        return str(Path(source).resolve())
    try:
        known = conninfo_to_dict(source)
    except psycopg.ProgrammingError:
        return "postgresql://"
    host, port = known.get("host") or "localhost", known.get("port") or 5432
    return f"postgresql://{host}:{port}/{known.get('dbname') or ''}"


def read(source: str) -> Iterator[Raw]:
    """Every row of the three tables, as of one moment; raises SourceUnreadable.

    A table that is not there has no rows; a source without any of them is refused.
    """
    numbers: dict[str, int] = dict.fromkeys(TABLES, 0)
    for table, values in _database(source) if is_database(source) else dump.rows(Path(source), TABLES):
        numbers[table] += 1
        yield Raw(table, numbers[table], values)
    if not any(numbers.values()):
        raise SourceUnreadable(f"{named(source)} has no row in any of {', '.join(TABLES)}")


def _database(source: str) -> Iterator[tuple[str, Values]]:
    try:
        with psycopg.connect(source, options="-c timezone=UTC", connect_timeout=10) as connection:
            connection.read_only = True
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            for table in TABLES:
                columns = [name for (name,) in connection.execute(COLUMNS, (table,)).fetchall()]
                if OURS in columns:
                    raise SourceUnreadable(f"{named(source)} is this service's own read model, not the older system")
                if columns:
                    yield from _rows(connection, table, columns)
    except (psycopg.OperationalError, psycopg.ProgrammingError) as error:
        raise SourceUnreadable(f"{named(source)} cannot be read: {str(error).strip()}") from None


def _rows(connection: psycopg.Connection, table: str, columns: list[str]) -> Iterator[tuple[str, Values]]:
    texts = sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(name)) for name in columns)
    key = sql.Identifier("flow_id" if "flow_id" in columns else columns[0])
    with connection.cursor(name="legacy") as cursor:
        cursor.itersize = AT_ONCE
        cursor.execute(sql.SQL("select {} from {} order by {}, ctid").format(texts, sql.Identifier(table), key))
        for row in cursor:
            yield table, dict(zip((name.lower() for name in columns), row, strict=True))


def _canonical(text: str) -> str:
    """One way of writing what may be written in several."""
    if text[:1] in {"{", "["}:
        with suppress(ValueError, RecursionError):
            return msgspec.json.encode(msgspec.json.decode(text), order="sorted").decode()
    if TIME.match(text):
        with suppress(ValueError, OverflowError):
            at = datetime.fromisoformat(text)
            return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC).isoformat()
    # lone surrogates stand for bytes that are no text; JSON has no place for them
    clean = text if text.isprintable() else text.encode("utf-8", "surrogateescape").decode("latin-1")
    return FLAGS.get(clean, clean)
