"""A database of the older system, made up: the same seed gives the same rows, faults included."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
from psycopg import sql

from domain.errors import MfoError
from mfo.legacy.flows import FLAGS
from mfo.legacy.tables import ASSESSMENT, DISCOVERY, MASTER, TABLES, is_database

Json = dict[str, Any]

# as the older system had them, without the keys that its faults went past
COLUMNS: dict[str, dict[str, str]] = {
    MASTER: {
        **dict.fromkeys(("id", "flow_id", "client_account_id", "engagement_id", "parent_flow_id"), "uuid"),
        "flow_type": "varchar(50)",
        "flow_name": "varchar(255)",
        "user_id": "varchar(255)",
        "flow_description": "text",
        "flow_status": "varchar(50)",
        "current_phase": "varchar(50)",
        "progress_percentage": "double precision",
        **dict.fromkeys(
            (
                *("flow_tags", "phases_completed", "flow_configuration", "flow_persistence_data", "phase_results"),
                *("phase_execution_times", "agent_collaboration_log", "memory_usage_metrics", "learning_patterns"),
                *("phase_transitions", "error_history", "flow_metadata", "deletion_metadata"),
            ),
            "jsonb",
        ),
        **dict.fromkeys(("retry_count", "iteration_number"), "integer"),
        **dict.fromkeys(("created_at", "updated_at"), "timestamp with time zone"),
    },
    DISCOVERY: {
        **dict.fromkeys(("id", "flow_id", "master_flow_id", "client_account_id", "engagement_id"), "uuid"),
        "user_id": "varchar(255)",
        "data_import_id": "uuid",
        "flow_name": "varchar(255)",
        "status": "varchar(20)",
        "progress_percentage": "double precision",
        **{f"{name}_completed": "boolean" for name in FLAGS},
        **dict.fromkeys(("crew_outputs", "field_mappings", "discovered_assets"), "jsonb"),
        "current_phase": "varchar(50)",
        "error_message": "text",
        "error_phase": "varchar(100)",
        **dict.fromkeys(("created_at", "updated_at", "completed_at"), "timestamp with time zone"),
    },
    ASSESSMENT: {
        **dict.fromkeys(("id", "client_account_id", "engagement_id"), "uuid"),
        "selected_application_ids": "jsonb",
        "status": "varchar(50)",
        "progress": "integer",
        "current_phase": "varchar(50)",
        "next_phase": "varchar(50)",
        "user_inputs": "jsonb",
        "phase_results": "jsonb",
        "agent_insights": "jsonb",
        "user_id": "varchar(255)",
        **dict.fromkeys(("created_at", "updated_at", "completed_at"), "timestamp with time zone"),
    },
}
WORDS = ("active", "processing", "initialized", "paused", "completed", "failed", "deleted", "waiting_for_approval")
PEOPLE = ("ann@example.com", "boris@example.com", "chandra@example.com")
BEGAN = datetime(2025, 7, 1, 8, 0, tzinfo=UTC)


class SampleUnwritable(MfoError):
    """The sample cannot be written there; name a new file, or a database whose tables of these names may be made."""

    code = "legacy_sample_unwritable"
    status = 422


class Sample(NamedTuple):
    """The rows of each table, and the faults in them: `{table, column, key, what}`; `key` is the flow's id."""

    rows: dict[str, list[Json]]
    faults: list[Json]


def made(flows: int, *, seed: int = 1, faults: bool = True) -> Sample:
    """So many flows, with one more for each kind of fault."""
    dice = random.Random(seed)  # noqa: S311 - made up, not secret
    rows: dict[str, list[Json]] = {table: [] for table in TABLES}
    tenants = [(_id(dice), _id(dice)) for _ in range(3)]
    for n in range(flows):
        _flow(dice, rows, tenants[n % len(tenants)], n)
    planted = []
    if faults:
        for n, (what, column, table, break_it) in enumerate(FAULTS):
            before = {name: len(found) for name, found in rows.items()}
            _flow(dice, rows, tenants[0], flows + n, word="processing", kind=table)
            new = rows[table][before[table] :]
            break_it(new[0], rows[table])
            planted.append({"table": table, "column": column, "key": new[0]["flow_id"], "what": what})
    return Sample(rows, planted)


def _id(dice: random.Random) -> str:
    return str(UUID(int=dice.getrandbits(128), version=4))


def _flow(
    dice: random.Random,
    rows: dict[str, list[Json]],
    tenant: tuple[str, str],
    n: int,
    *,
    word: str | None = None,
    kind: str | None = None,
) -> None:
    """A flow as the older system kept it: mostly a master row and a child's, sometimes one of them alone."""
    word = word or dice.choice(WORDS)
    table = kind or dice.choice((DISCOVERY, DISCOVERY, ASSESSMENT, MASTER))
    flow_id, user = _id(dice), dice.choice(PEOPLE)
    created = BEGAN + timedelta(minutes=7 * n, seconds=dice.randrange(60))
    updated = created + timedelta(minutes=dice.randrange(1, 600))
    done = list(FLAGS) if word == "completed" else list(FLAGS[: dice.randrange(len(FLAGS))])
    common = {"client_account_id": tenant[0], "engagement_id": tenant[1], "user_id": user}
    times = {"created_at": created.isoformat(), "updated_at": updated.isoformat()}
    flow_type = {DISCOVERY: "discovery", ASSESSMENT: "assessment"}.get(table) or (
        "discovery" if kind else dice.choice(("discovery", "planning"))
    )
    ours = done if flow_type == "discovery" else []
    alone = kind is None and table == DISCOVERY and dice.random() < 0.1
    if not alone:
        parents = [row["flow_id"] for row in rows[MASTER][:5] if row["client_account_id"] == tenant[0]]
        rows[MASTER].append(
            {
                "id": _id(dice),
                "flow_id": flow_id,
                **common,
                "parent_flow_id": dice.choice(parents)
                if kind is None and n > 20 and dice.random() < 0.1 and parents
                else None,
                "flow_type": flow_type,
                "flow_name": f"Programme {n + 1}: O'Brien\tnorth\nand \\south" if n % 17 == 3 else f"Programme {n + 1}",
                "flow_description": None if n % 3 else "Taken over from the first wave; größtenteils fertig",
                "flow_status": word,
                "current_phase": FLAGS[min(len(done), 5)] if flow_type == "discovery" else None,
                "progress_percentage": round(100 * len(ours) / 6, 1),
                "flow_tags": ["wave-1", "old"] if n % 2 else [],
                "phases_completed": ours if n % 2 else [],
                "flow_configuration": {"initial_data": {"import_file_id": _id(dice), "environment": "production"}},
                "flow_persistence_data": {"inputs": {"approval": True}, "api_key": f"sk-{n}", "rows": n},
                "phase_results": {name: {"outputs": {"rows": n + 1}} for name in ours},
                "phase_execution_times": {
                    name: {"execution_time_ms": 1000 + n, "completed_at": updated.isoformat()} for name in ours
                },
                "agent_collaboration_log": [
                    {"agent": "mapper", "action": "suggested", "timestamp": created.isoformat()}
                ],
                "memory_usage_metrics": {"peak_memory_mb": 80 + n % 7},
                "learning_patterns": [{"type": "field_mapping", "data": {"original_field": "VM"}}],
                "phase_transitions": [
                    {"phase": name, "status": "completed", "timestamp": updated.isoformat()} for name in ours
                ],
                "error_history": [{"code": "io_failed", "message": "the wire was cut"}] if word == "failed" else [],
                "flow_metadata": {"created_via": "ui"},
                "deletion_metadata": {"reason": "made twice", "deleted_by": user} if word == "deleted" else None,
                "retry_count": n % 3,
                "iteration_number": 1,
                **times,
            }
        )
    if table == DISCOVERY:
        child = {"deleted": "failed", "initialized": "active"}.get(word, word)
        rows[DISCOVERY].append(
            {
                "id": _id(dice),
                "flow_id": flow_id,
                "master_flow_id": None if alone else flow_id,
                **common,
                "data_import_id": _id(dice),
                "flow_name": f"Discovery {n + 1}",
                "status": child,
                "progress_percentage": round(100 * len(done) / 6, 1),
                **{f"{name}_completed": name in done for name in FLAGS},
                "crew_outputs": {name: {"agents": 2} for name in done} if alone else {},
                "field_mappings": [],
                "discovered_assets": [{"name": f"srv-{n}-{each}"} for each in range(3)],
                "current_phase": FLAGS[min(len(done), 5)],
                "error_message": "the wire was cut" if child == "failed" else None,
                "error_phase": FLAGS[min(len(done), 5)] if child == "failed" else None,
                **times,
                "completed_at": updated.isoformat() if child == "completed" else None,
            }
        )
    if table == ASSESSMENT:
        child = {"failed": "error", "active": "processing", "deleted": "error"}.get(word, word)
        rows[ASSESSMENT].append(
            {
                "id": flow_id,
                **common,
                "selected_application_ids": [_id(dice)],
                "status": "paused_for_user_input" if child == "waiting_for_approval" else child,
                "progress": 40,
                "current_phase": "tech_debt_analysis",
                "next_phase": "component_sixr_strategies",
                "user_inputs": {},
                "phase_results": {},
                "agent_insights": [{"insight": "three of five are behind"}],
                **times,
                "completed_at": updated.isoformat() if child == "completed" else None,
            }
        )


def _set(column: str, value: Any) -> Callable[[Json, list[Json]], None]:
    def break_it(row: Json, _: list[Json]) -> None:
        row[column] = value

    return break_it


def _twice(row: Json, rows: list[Json]) -> None:
    rows.append({**row, "flow_name": "Another of the same id"})


def _own_parent(row: Json, _: list[Json]) -> None:
    row["parent_flow_id"] = row["flow_id"]


NOBODY = "00000000-0000-4000-8000-000000000000"
DEEP: Any = {"end": True}
for _ in range(80):
    DEEP = {"in": DEEP}

# what is wrong, the column that the report names, the table, and how it is done to a good row
FAULTS: tuple[tuple[str, str, str, Callable[[Json, list[Json]], None]], ...] = (
    ("no flow id", "flow_id", MASTER, _set("flow_id", None)),
    ("the same flow twice", "flow_id", MASTER, _twice),
    ("no client account", "client_account_id", MASTER, _set("client_account_id", None)),
    ("no user", "user_id", MASTER, _set("user_id", None)),
    ("no type", "flow_type", MASTER, _set("flow_type", None)),
    ("a status that is none", "flow_status", MASTER, _set("flow_status", "half-way")),
    ("no time of creation", "created_at", MASTER, _set("created_at", None)),
    ("progress beyond the end", "progress_percentage", MASTER, _set("progress_percentage", 140.0)),
    ("a list where an object belongs", "flow_persistence_data", MASTER, _set("flow_persistence_data", [1, 2])),
    ("JSON without end", "flow_metadata", MASTER, _set("flow_metadata", DEEP)),
    ("a phase that there is not", "phases_completed", MASTER, _set("phases_completed", ["moon_landing"])),
    ("a parent that there is not", "parent_flow_id", MASTER, _set("parent_flow_id", NOBODY)),
    ("its own parent", "parent_flow_id", MASTER, _own_parent),
    ("a child of another tenant", "client_account_id", DISCOVERY, _set("client_account_id", NOBODY)),
    ("a child's status that is none", "status", DISCOVERY, _set("status", "lost")),
)


def write(sample: Sample, where: str) -> None:
    """Write the sample into a database, whose tables of these names must not be there, or as a dump into a new file; raises
    SampleUnwritable."""
    try:
        if is_database(where):
            _into_database(sample, where)
        else:
            with Path(where).open("x", encoding="utf-8") as file:
                file.writelines(dumped(sample))
    except FileExistsError:
        raise SampleUnwritable(f"{where} is there already; name a new file") from None
    except (OSError, psycopg.Error) as error:
        raise SampleUnwritable(f"the sample cannot be written: {str(error).strip()}") from None


def _into_database(sample: Sample, url: str) -> None:
    with psycopg.connect(url) as connection:
        for table, columns in COLUMNS.items():
            connection.execute(_create(table, columns))
            names = sql.SQL(", ").join(map(sql.Identifier, columns))
            with connection.cursor().copy(
                sql.SQL("copy {} ({}) from stdin").format(sql.Identifier(table), names)
            ) as copy:
                for row in sample.rows[table]:
                    copy.write_row([_text(row.get(name)) for name in columns])


def _create(table: str, columns: dict[str, str]) -> str:
    body = ",\n".join(f"    {name} {kind}" for name, kind in columns.items())
    return f"CREATE TABLE {table} (\n{body}\n)"


def dumped(sample: Sample, *, inserts: bool = False) -> Iterator[str]:
    """The lines of a plain-SQL dump of it, as pg_dump writes them: with COPY, or with INSERT."""
    yield "--\n-- PostgreSQL database dump\n--\n\nSET standard_conforming_strings = on;\n\n"
    for table, columns in COLUMNS.items():
        yield f"{_create(f'public.{table}', columns)};\n\n"
    for table, columns in COLUMNS.items():
        if not inserts:
            yield f"COPY public.{table} ({', '.join(columns)}) FROM stdin;\n"
        for row in sample.rows[table]:
            texts = [_text(row.get(name)) for name in columns]
            if inserts:
                quoted = ("NULL" if text is None else "'" + text.replace("'", "''") + "'" for text in texts)
                yield f"INSERT INTO public.{table} VALUES ({', '.join(quoted)});\n"
            else:
                yield "\t".join("\\N" if text is None else _copied(text) for text in texts) + "\n"
        yield "\n" if inserts else "\\.\n\n"


def _copied(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")


def _text(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return "t" if value else "f"
    if isinstance(value, float) and value.is_integer():
        # as PostgreSQL writes it
        return str(int(value))
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else str(value)
