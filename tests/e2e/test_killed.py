"""Everything is killed in the middle of sixty flows; afterwards store, topic and read model tell the same, once."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import psycopg
from psycopg.rows import dict_row

from domain.events import RunReassigned
from domain.flow import Flow, fold
from domain.view import COLUMNS, row
from eventstore.codec import FIRST_HASH, chain, decode, split
from eventstore.definitions import flow_types, modules
from tests.e2e.slow_steps import STEPS, given
from tests.e2e.support import Listener, client_of, dev_with, kill_all, listener, until_status

Json = dict[str, Any]
Stored = tuple[UUID, int, str, bytes, bytes]

FLOWS = 60
MODULE = "tests.e2e.slow_steps"

HISTORY = """
select originator_id, originator_version, topic, state, hash from stored_events
where originator_id = any(%s) order by originator_id, originator_version
"""


async def test_sixty_flows_outlive_the_death_of_everything(tmp_path: Path) -> None:
    data, go = tmp_path / "dev", tmp_path / "go"
    with dev_with(data, MFO_FLOW_TYPES=MODULE) as first:
        async with client_of(first.environment) as client:
            made = await asyncio.gather(
                *(
                    client.create_flow(
                        "slow_steps", f"flow {n}", initial_data=given(n, go), options={"auto_execute": True}
                    )
                    for n in range(FLOWS)
                )
            )
            await until_status(client, made[0]["flow_id"], "completed")
        assert kill_all(first) > 6
        killed_at = datetime.now(UTC)
    go.touch()
    ids = [flow["flow_id"] for flow in made]

    with dev_with(data, MFO_FLOW_TYPES=MODULE) as second:
        environment = second.environment
        async with client_of(environment) as client:
            last = [await until_status(client, flow_id, "completed") for flow_id in ids]
        assert {status["progress"]["percentage"] for status in last} == {100.0}
        histories = _histories(environment["MFO_DATABASE_URL"], ids)
        assert sorted(map(str, histories)) == sorted(ids)
        _each_phase_once(histories)
        _read_model_equals_replay(environment["MFO_DATABASE_URL"], histories)
        # a broker in memory has only what was told since the kill
        survived = second.told["kafka"] == "jars"
        going = [flow_id for flow_id, status in zip(ids, last, strict=True) if _at(status["updated_at"]) > killed_at]
        assert going, "all were completed before the kill, so nothing was proven"
        async with listener(environment["MFO_KAFKA_BOOTSTRAP"]) as heard:
            await heard.until(lambda: all(heard.ends(flow_id) for flow_id in (ids if survived else going)))
            _topic_equals_store(heard, histories, complete=survived)


def _at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _histories(database_url: str, ids: list[str]) -> dict[UUID, list[Stored]]:
    histories: dict[UUID, list[Stored]] = {}
    with psycopg.connect(database_url) as connection:
        for stored in connection.execute(HISTORY, (ids,)).fetchall():
            histories.setdefault(stored[0], []).append(stored)
    return histories


def _each_phase_once(histories: dict[UUID, list[Stored]]) -> None:
    """Versions without gaps, every hash on the one before, every phase completed once; and the kill did strike work."""
    taken_over = 0
    for flow_id, events in histories.items():
        assert [version for _, version, *_ in events] == list(range(1, len(events) + 1))
        link = FIRST_HASH
        for _, version, topic, state, kept in events:
            link = chain(link, flow_id, version, topic, state)
            assert link == kept
        facts = [decode(flow_id, version, topic, state).fact for _, version, topic, state, _ in events]
        taken_over += sum(isinstance(fact, RunReassigned) for fact in facts)
        named = [(type(fact).__name__, getattr(fact, "phase_name", None)) for fact in facts]
        assert [phase for name, phase in named if name == "PhaseCompleted"] == list(STEPS)
        assert Counter(name for name, _ in named)["FlowCompleted"] == 1
    assert taken_over > 0, "no run was in hand at the kill, so nothing was proven"


def _read_model_equals_replay(database_url: str, histories: dict[UUID, list[Stored]]) -> None:
    types = flow_types(modules((MODULE,)))
    with psycopg.connect(database_url, row_factory=dict_row) as connection:
        shown = {
            found["flow_id"]: found
            for found in connection.execute(
                "select * from crewai_flow_state_extensions where flow_id = any(%s)", (list(histories),)
            ).fetchall()
        }
    for flow_id, events in histories.items():
        replayed = fold(
            Flow(id=flow_id), (decode(flow_id, version, topic, state) for _, version, topic, state, _ in events)
        )
        expected = row(replayed, types)
        assert _plain({name: shown[flow_id][name] for name in COLUMNS}) == _plain(expected)


def _plain(values: Json) -> Json:
    """The values as JSON has them, times in UTC."""
    in_utc = {name: value.astimezone(UTC) if isinstance(value, datetime) else value for name, value in values.items()}
    plain: Json = json.loads(msgspec.json.encode(in_utc))
    return plain


def _topic_equals_store(heard: Listener, histories: dict[UUID, list[Stored]], *, complete: bool) -> None:
    """What a subscriber keeps is what lies in the store: all of it, or its end."""
    for flow_id, events in histories.items():
        told = [(event.version, event.headers["ce_type"], event.data) for event in heard.flow(str(flow_id))]
        kept = [(version, topic, json.loads(split(state)[1])) for _, version, topic, state, _ in events]
        assert told == (kept if complete else kept[len(kept) - len(told) :])
