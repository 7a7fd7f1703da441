"""The tables that people read with plain SQL."""

from __future__ import annotations

import psycopg
import pytest

from domain.view import COLUMNS
from eventstore.database import Connection

SEEDS = {
    "flow_id": "uuid",
    "flow_type": "character varying",
    "flow_version": "character varying",
    "client_account_id": "uuid",
    "engagement_id": "uuid",
    "user_id": "character varying",
    "flow_name": "character varying",
    "flow_description": "text",
    "flow_tags": "jsonb",
    "flow_status": "character varying",
    "current_phase": "character varying",
    "phases_completed": "jsonb",
    "progress_percentage": "double precision",
    "flow_configuration": "jsonb",
    "flow_state": "jsonb",
    "flow_persistence_data": "jsonb",
    "phase_results": "jsonb",
    "validation_results": "jsonb",
    "performance_metrics": "jsonb",
    "phase_execution_times": "jsonb",
    "resource_usage": "jsonb",
    "error_log": "jsonb",
    "agent_collaboration_log": "jsonb",
    "agent_insights": "jsonb",
    "learning_patterns": "jsonb",
    "memory_usage_metrics": "jsonb",
    "created_at": "timestamp with time zone",
    "updated_at": "timestamp with time zone",
    "created_by": "character varying",
    "updated_by": "character varying",
    "deletion_metadata": "jsonb",
    "parent_flow_id": "uuid",
    "dependent_flow_ids": "jsonb",
    "iteration_number": "integer",
}

MAPPINGS = {
    "flow_id": "uuid",
    "client_account_id": "uuid",
    "engagement_id": "uuid",
    "n": "integer",
    "source_file": "text",
    "source_sheet": "text",
    "source_field": "text",
    "header_key": "text",
    "kind": "text",
    "target_field": "text",
    "unit": "text",
    "match_type": "text",
    "confidence": "double precision",
    "status": "text",
    "suggested_by": "text",
    "approved_by": "text",
    "approved_at": "timestamp with time zone",
    "transformation_rules": "jsonb",
}


async def test_the_view_has_every_column(connection: Connection) -> None:
    cursor = await connection.execute(
        "select column_name, data_type from information_schema.columns where table_name = 'crewai_flow_state_extensions'"
    )
    found: dict[str, str] = dict(await cursor.fetchall())
    assert {name: found.get(name) for name in SEEDS} == SEEDS
    assert {*COLUMNS, "log_position", "flow_persistence_data"} <= set(found)


async def test_the_view_of_mappings_has_every_column(connection: Connection) -> None:
    cursor = await connection.execute(
        "select column_name, data_type from information_schema.columns where table_name = 'import_field_mappings'"
    )
    found: dict[str, str] = dict(await cursor.fetchall())
    assert found == MAPPINGS


async def test_the_indexes_of_the_table_are_there(connection: Connection) -> None:
    cursor = await connection.execute("select indexname from pg_indexes where tablename = 'flow_state_extensions_v1'")
    names = {row[0] for row in await cursor.fetchall()}
    assert {"idx_flow_type_status", "idx_client_engagement", "idx_created_at", "idx_current_phase"} <= names


async def test_the_reader_sees_the_views_and_nothing_else(connection: Connection) -> None:
    cursor = await connection.execute("select 1 from pg_roles where rolname = 'mfo_reader'")
    if await cursor.fetchone() is None:
        pytest.skip("the user of this database may not make roles, so there is no mfo_reader")
    await connection.execute("set role mfo_reader")
    views = ("crewai_flow_state_extensions", "assets", "dependencies", "issues", "reviews", "changes")
    for view in (*views, "import_field_mappings"):
        await connection.execute(f"select count(*) from {view}".encode())
    for table in (
        "stored_events",
        "flow_state_extensions_v1",
        "import_field_mappings_v1",
        "imports",
        "tenant_keys",
        "command_log",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await connection.execute(f"select count(*) from {table}".encode())
