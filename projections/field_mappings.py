"""What each discovery took the columns of its files for, and what people said to it, so that later ones can learn."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import msgspec
from psycopg import sql
from psycopg.types.json import Jsonb

from domain.events import TOPICS, PhaseCompleted
from eventstore.artifacts import ArtifactStore
from eventstore.database import Connection
from projections.handed import FLOW_ERRORS, ROLLED_BACK, Handed, RowUnreadable, completed, savepoint, undone
from projections.projection import PATIENCE_SECONDS, Applied, Parked, nothing
from projections.told import Told, short

NAME = "import_field_mappings"
VERSION = 1
PHASE, OUTPUT = "field_mapping", "mappings"
MENTIONED = f'"{OUTPUT}"'.encode()
COLUMNS = (
    *("flow_id", "client_account_id", "engagement_id", "n", "source_file", "source_sheet", "source_field"),
    *("header_key", "kind", "target_field", "unit", "match_type", "confidence", "status", "suggested_by"),
    *("approved_by", "approved_at", "transformation_rules"),
)

GUARD = """
insert into import_field_mapping_sets_v{version} as s (flow_id, version, rows) values (%s, %s, 0)
on conflict (flow_id) do update set version = excluded.version, rows = 0 where s.version < excluded.version
"""

EMPTIED = "update import_field_mapping_sets_v{version} set version = %s, rows = 0 where flow_id = %s and version < %s"


class _Mapping(msgspec.Struct):
    """One line of the artifact: a column and the target that was approved, suggested or rejected for it."""

    source_file: str
    source_field: str
    kind: str
    target_field: str
    match_type: str
    confidence: float
    status: Literal["suggested", "approved", "rejected"]
    suggested_by: Literal["mapper", "user"]
    source_sheet: str | None = None
    unit: str | None = None
    conversion: str | None = None
    approved_by: str | None = None


class _Earlier(msgspec.Struct):
    """One line of an artifact of discovery 1.0, which did not say what people had decided: neither kind nor status."""

    source_file: str
    source_field: str
    target_field: str
    match_type: str
    confidence: float
    kind: msgspec.UnsetType = msgspec.UNSET
    status: msgspec.UnsetType = msgspec.UNSET


_mapping = msgspec.json.Decoder(_Mapping)
_earlier = msgspec.json.Decoder(_Earlier)


class FieldMappings:
    """The mappings of a flow's newest field mapping replace those it had before; undone it has none."""

    name = NAME
    patience = PATIENCE_SECONDS
    sums = ()
    ddl = ""
    topics = (TOPICS[PhaseCompleted], ROLLED_BACK)

    def __init__(self, artifacts: ArtifactStore, *, version: int = VERSION) -> None:
        self.version = version
        self._handed = Handed(artifacts)
        self._guard = GUARD.format(version=version)
        self._emptied = EMPTIED.format(version=version)
        self._table = sql.Identifier(f"import_field_mappings_v{version}")
        self.tables = (f"import_field_mapping_sets_v{version}", f"import_field_mappings_v{version}")

    def forget(self) -> None:
        """Nothing is held in memory."""

    async def apply(self, connection: Connection, batch: Sequence[Told], *, singly: bool = False) -> Applied:
        """Read the artifacts that the batch's completed mappings name; each flow stands or falls alone, always."""
        applied = Applied(committed=nothing)
        aside: set[UUID] = set()
        for event in batch:
            if event.flow_id in aside:
                continue
            try:
                async with savepoint(connection, event):
                    applied.rows += await self._one(connection, event)
            except FLOW_ERRORS as error:
                applied.parked.append(Parked(event.flow_id, event.version, short(error)))
                aside.add(event.flow_id)
        return applied

    async def _one(self, connection: Connection, event: Told) -> int:
        if event.topic == ROLLED_BACK:
            return await self._forget(connection, event) if PHASE in undone(event) else 0
        if MENTIONED not in event.data():
            return 0
        phase = completed(event)
        value = phase.outputs.get(OUTPUT)
        if phase.phase_name != PHASE or value is None:
            return 0
        sha256 = await self._handed.reference(event, OUTPUT, value)
        if sha256 is None:
            return 0
        cursor = await connection.execute(self._guard, (event.flow_id, event.version))
        if not cursor.rowcount:
            return 0
        await connection.execute(sql.SQL("delete from {} where flow_id = %s").format(self._table), (event.flow_id,))
        account, engagement = event.tenant()
        statement = sql.SQL("copy {} ({}) from stdin").format(
            self._table, sql.SQL(", ").join(map(sql.Identifier, COLUMNS))
        )
        n = 0
        async with connection.cursor().copy(statement) as copy:
            async for line in self._handed.lines(account, sha256):
                mapping = _read(line, n)
                if mapping is None:
                    continue
                await copy.write_row((event.flow_id, account, engagement, n, *_values(mapping, event.at())))
                n += 1
        await connection.execute(
            f"update import_field_mapping_sets_v{self.version} set rows = %s where flow_id = %s", (n, event.flow_id)
        )
        return n

    async def _forget(self, connection: Connection, event: Told) -> int:
        """The mapping was undone: nothing is known of its columns, and nothing to be learned from them."""
        cursor = await connection.execute(self._emptied, (event.version, event.flow_id, event.version))
        if not cursor.rowcount:
            return 0
        await connection.execute(sql.SQL("delete from {} where flow_id = %s").format(self._table), (event.flow_id,))
        return 1


def _read(line: bytes, n: int) -> _Mapping | None:
    """A line of the artifact; none where it is of discovery 1.0, of which nothing can be learned."""
    try:
        return _mapping.decode(line)
    except msgspec.MsgspecError as error:
        with suppress(msgspec.MsgspecError):
            _earlier.decode(line)
            return None
        raise RowUnreadable(f"line {n + 1} of {OUTPUT}: {error}") from error


def _values(mapping: _Mapping, at: datetime) -> tuple[Any, ...]:
    decided = mapping.status != "suggested"
    return (
        mapping.source_file,
        mapping.source_sheet,
        mapping.source_field,
        " ".join(mapping.source_field.lower().split()),
        mapping.kind,
        mapping.target_field,
        mapping.unit,
        mapping.match_type,
        mapping.confidence,
        mapping.status,
        mapping.suggested_by,
        mapping.approved_by if decided else None,
        at if decided else None,
        Jsonb({"conversion": mapping.conversion}) if mapping.conversion is not None else None,
    )
