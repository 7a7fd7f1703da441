"""The older system's flows taken into history, and given back."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import psycopg
import pytest
from msgspec.structs import replace

from domain.commands import DeleteFlow, ExecutePhase, ReportChild, Tenant
from domain.view import row
from domain.words import Status
from eventstore.legacy import LegacyImportNotFound, LegacyImports
from mfo.legacy import importing, sample
from mfo.legacy.dump import SourceUnreadable, rows
from mfo.legacy.importing import give_back, look, report, take_over
from mfo.legacy.sample import SampleUnwritable
from mfo.legacy.tables import DISCOVERY, MASTER, TABLES, named
from tests.eventstore.house import House
from tests.projecting import project
from tests.stack import Stack

Json = dict[str, Any]


def silent(_: str) -> None:
    """Nobody is watching."""


@pytest.fixture
def dump(tmp_path: Path) -> Path:
    """A dump of the older system, with a row for each kind of fault."""
    file = tmp_path / "old.sql"
    sample.write(sample.made(40, seed=3), str(file))
    return file


def of(document: Json, flow_id: str) -> list[Json]:
    return [one for one in document["bad_rows"] if one["key"] == flow_id]


async def test_a_dry_run_says_what_would_be_done_and_does_nothing(house: House, dump: Path) -> None:
    told = report(await look(house.side, str(dump)), str(dump), dry_run=True)
    assert (told["tables"][MASTER]["rows"] > 40, told["flows"] >= 40, told["dry_run"]) == (True, True, True)
    assert set(told["by_status"]) <= {str(status) for status in Status}
    assert await house.one("select count(*) from stored_events") == 0
    assert await LegacyImports(house.side.pool).list() == []


async def test_every_fault_is_reported_by_row_and_column(house: House, dump: Path) -> None:
    made = sample.made(40, seed=3)
    plan = await look(house.side, str(dump))
    told = report(plan, str(dump), dry_run=True)
    found = Counter((one["table"], one["column"], one["key"]) for one in told["bad_rows"])
    for fault in made.faults:
        assert found[fault["table"], fault["column"], fault["key"]], fault
    assert {key for _, _, key in found} == {fault["key"] for fault in made.faults}
    assert all(one["row"] > 0 and one["why"] for one in told["bad_rows"])
    left_out = {str(fault["key"]) for fault in made.faults if fault["key"]}
    assert not left_out & {str(flow.flow_id) for flow in plan.flows}


async def test_flows_come_into_history_as_they_stood(house: House, dump: Path) -> None:
    told = await take_over(house.side, str(dump), "maria", silent)
    assert (told["imported"], told["refused"], told["checksums"]["equal"]) == (told["flows"], [], True)
    assert (told["checksums"]["before"], told["source_unchanged"]) == (told["checksums"]["after"], True)
    await project(house)
    shown = await house.rows(
        "select flow_id, flow_status, phases_completed, user_id, created_at, flow_metadata from crewai_flow_state_extensions"
    )
    assert len(shown) == told["flows"]
    before = {UUID(one["flow_id"]): one for one in sample.made(40, seed=3).rows[MASTER] if one["flow_id"]}
    same = [each for each in shown if each[0] in before]
    assert len(same) > 30
    for flow_id, _, done, user, created, metadata in same:
        old = before[flow_id]
        assert (user, created.isoformat()) == (old["user_id"], old["created_at"])
        assert set(old["phases_completed"]) <= set(done)
        assert metadata["imported"]["former"]["flow_status"] == old["flow_status"]
        assert metadata["imported"]["by"] == "maria"
    assert any(each[1] == "deleted" for each in shown)
    # what is sensitive is nowhere in clear
    assert not [1 for (state,) in await house.rows("select state from stored_events") if b'"sk-' in state]


async def test_what_is_sensitive_in_errors_and_transitions_is_sealed_too(house: House, dump: Path) -> None:
    old = (await look(house.side, str(dump))).flows[0]
    secret = {"message": "refused", "context": {"credentials": {"password": "hunter2"}}}
    old.fact = replace(old.fact, error=secret, errors=(secret,), transitions=(secret,), deletion=secret)
    small = await importing._small(house.side, old)
    assert b"hunter2" not in msgspec.json.encode(small)
    assert [each["message"] for each in (*small.errors, *small.transitions)] == ["refused", "refused"]


async def test_children_stand_under_their_parents(house: House, dump: Path) -> None:
    plan = await look(house.side, str(dump))
    children = [flow for flow in plan.flows if flow.parent is not None]
    await take_over(house.side, str(dump), "maria", silent)
    assert children
    for child in children:
        assert child.parent is not None
        parent = await house.side.store.flow(child.parent)
        assert child.flow_id in [each.flow_id for each in parent.children]
        assert (await house.side.store.flow(child.flow_id)).parent_flow_id == parent.id


async def test_the_same_again_changes_nothing(house: House, dump: Path) -> None:
    first = await take_over(house.side, str(dump), "maria", silent)
    events = await house.one("select count(*) from stored_events")
    again = await take_over(house.side, str(dump), "maria", silent)
    assert (again["import_id"], again["imported"], again["there"]) == (first["import_id"], 0, first["flows"])
    assert again["checksums"]["equal"] is True
    assert await house.one("select count(*) from stored_events") == events


async def test_an_import_that_was_cut_short_goes_on(house: House, dump: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "AT_ONCE", 8)

    def cut(text: str) -> None:
        if text.startswith("16 of"):
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await take_over(house.side, str(dump), "maria", cut)
    [begun] = await LegacyImports(house.side.pool).list()
    assert (begun["finished_at"], begun["imported"]) == (None, 16)
    # the last of them were decided, and nobody could note it
    await house.rows("update legacy_import_flows set outcome = 'planned', version = null")
    told = await take_over(house.side, str(dump), "maria", silent)
    assert (told["there"], told["imported"] + 16) == (16, told["flows"])
    [ended] = await LegacyImports(house.side.pool).list()
    assert (ended["imported"], ended["planned"]) == (told["flows"], 0)
    assert (
        await house.one("select count(*) from stored_events where topic = 'mfo.flow.FlowImported.v1'") == told["flows"]
    )


async def test_an_import_is_given_back_by_events_and_can_be_done_again(house: House, dump: Path) -> None:
    told = await take_over(house.side, str(dump), "maria", silent)
    import_id = UUID(told["import_id"])
    undone = await give_back(house.side, import_id, "boris", silent, reason="wrong wave", moved_too=False)
    assert (undone["deleted"] + undone["deleted_before"], undone["left"]) == (told["flows"], [])
    flow = await house.side.store.flow((await look(house.side, str(dump))).flows[-1].flow_id)
    assert (flow.status, flow.updated_by) == (Status.DELETED, "boris")
    assert flow.deletion is not None
    assert flow.deletion["reason"] == "wrong wave" or flow.deletion["reason"] == "made twice"
    nothing = await give_back(house.side, import_id, "boris", silent, reason=None, moved_too=False)
    assert (nothing["deleted"], nothing["deleted_before"]) == (0, 0)
    again = await take_over(house.side, str(dump), "maria", silent)
    assert (again["imported"], again["checksums"]["equal"]) == (told["flows"], True)
    with pytest.raises(LegacyImportNotFound):
        await give_back(house.side, UUID(int=7), "boris", silent, reason=None, moved_too=False)


async def test_what_another_import_was_refused_it_takes_once_the_first_is_given_back(house: House, dump: Path) -> None:
    told = await take_over(house.side, str(dump), "maria", silent)
    newer = dump.with_name("newer.sql")
    newer.write_text("".join(sample.dumped(sample.made(40, seed=3))).replace("@example.com", "@example.org"))
    refused = await take_over(house.side, str(newer), "maria", silent)
    assert (refused["imported"], len(refused["refused"])) == (0, refused["flows"])
    await give_back(house.side, UUID(told["import_id"]), "boris", silent, reason=None, moved_too=False)
    # flows that were deleted over there, too, of which giving back changed nothing
    assert told["by_status"]["deleted"] > 0
    again = await take_over(house.side, str(newer), "maria", silent)
    assert (again["imported"], again["refused"], again["checksums"]["equal"]) == (again["flows"], [], True)


async def test_an_imported_flow_is_executed_further_and_then_left_by_a_rollback(house: House, dump: Path) -> None:
    told = await take_over(house.side, str(dump), "maria", silent)
    plan = await look(house.side, str(dump))
    one = next(flow for flow in plan.flows if flow.fact.flow_type == "discovery" and flow.fact.status == "initialized")
    house.tenant = Tenant(one.client_account_id, one.engagement_id, "maria")
    answer = await house.ask(ExecutePhase(flow_id=one.flow_id))
    assert answer.flow is not None
    assert answer.flow.status is Status.PROCESSING
    gone = next(flow for flow in plan.flows if flow.fact.status == "paused")
    house.tenant = Tenant(gone.client_account_id, gone.engagement_id, "maria")
    await house.ask(DeleteFlow(flow_id=gone.flow_id))
    again = await take_over(house.side, str(dump), "maria", silent)
    assert (again["moved_on"], again["checksums"]["equal"]) == (2, True)
    assert (await house.side.store.flow(gone.flow_id)).status is Status.DELETED
    import_id = UUID(told["import_id"])
    undone = await give_back(house.side, import_id, "boris", silent, reason=None, moved_too=False)
    assert [left["flow_id"] for left in undone["left"]] == [str(one.flow_id)]
    assert undone["deleted_before"] == 1
    undone = await give_back(house.side, import_id, "boris", silent, reason=None, moved_too=True)
    assert (undone["deleted"], undone["left"]) == (1, [])


async def test_a_parent_that_was_told_of_its_childs_end_is_given_back_with_the_others(house: House, dump: Path) -> None:
    told = await take_over(house.side, str(dump), "maria", silent)
    child = next(flow for flow in (await look(house.side, str(dump))).flows if flow.fact.parent_flow_id)
    parent = child.fact.parent_flow_id
    assert parent is not None
    house.tenant = Tenant(child.client_account_id, child.engagement_id, "mfo")
    await house.ask(ReportChild(flow_id=parent, child_flow_id=child.flow_id, status="cancelled"))
    assert (await house.side.store.flow(parent)).version == 2
    undone = await give_back(house.side, UUID(told["import_id"]), "boris", silent, reason=None, moved_too=False)
    assert (undone["deleted"], undone["left"]) == (told["flows"], [])


async def test_a_type_that_is_not_known_is_taken_over_and_not_run(house: House, dump: Path) -> None:
    told = await take_over(house.side, str(dump), "maria", silent)
    assert "assessment" in told["unknown_types"]
    plan = await look(house.side, str(dump))
    one = next(
        flow
        for flow in plan.flows
        if (flow.fact.flow_type == "assessment" and flow.fact.status == "waiting_for_input")
        or (flow.fact.flow_type == "assessment" and flow.fact.status == "initialized")
    )
    house.tenant = Tenant(one.client_account_id, one.engagement_id, "maria")
    answer = await house.ask(ExecutePhase(flow_id=one.flow_id))
    assert (answer.error or {})["code"] == "not_supported"
    assert row(await house.side.store.flow(one.flow_id), house.side.types)["next_action"]["type"] == "none"
    # another process learns its phases from the store
    assert await house.one("select count(*) from flow_types where name = 'assessment'") >= 1


async def test_a_flow_with_a_history_of_its_own_is_refused_and_left_alone(house: House, dump: Path) -> None:
    plan = await look(house.side, str(dump))
    mine = await house.begin(flow_id=plan.flows[0].flow_id)
    told = await take_over(house.side, str(dump), "maria", silent)
    assert [one["flow_id"] for one in told["refused"]] == [str(mine.id)]
    assert told["checksums"]["equal"] is True
    assert (await house.side.store.flow(mine.id)).flow_type == "inline"


async def test_large_values_lie_in_artifacts(house: House, tmp_path: Path) -> None:
    made = sample.made(1, seed=8, faults=False)
    [old] = made.rows[MASTER]
    old["flow_persistence_data"] = {"rows": ["x" * 100] * 5000}
    file = tmp_path / "large.sql"
    sample.write(made, str(file))
    told = await take_over(house.side, str(file), "maria", silent)
    assert (told["imported"], told["checksums"]["equal"]) == (1, True)
    flow = await house.side.store.flow(UUID(old["flow_id"]))
    assert flow.imported is not None
    assert "$artifact" in flow.imported.former["flow_state"]


async def test_a_database_tells_the_same_as_its_dump(house: House, dump: Path, stack: Stack) -> None:
    made = sample.made(40, seed=3)
    inserts = dump.with_name("inserts.sql")
    inserts.write_text("".join(sample.dumped(made, inserts=True)))
    with stack.database(migrated=False) as url:
        sample.write(made, url)
        told = [
            report(await look(house.side, source), source, dry_run=True) for source in (url, str(dump), str(inserts))
        ]
        with pytest.raises(SampleUnwritable, match="already exists"):
            sample.write(made, url)
        assert "password" not in named(url.replace("//", "//u:password@"))
    shared = [{name: each[name] for name in ("flows", "left_out", "by_status", "by_type")} for each in told]
    assert shared[0] == shared[1] == shared[2]
    assert told[0]["checksums"] == told[1]["checksums"] == told[2]["checksums"]
    # PostgreSQL writes JSON, times and flags its own way; the import is the same all the same
    assert told[0]["tables"] == told[1]["tables"] == told[2]["tables"]
    assert len({each["import_id"] for each in told}) == 1


async def test_our_own_read_model_is_no_source(house: House, module_database_url: str, stack: Stack) -> None:
    with pytest.raises(SourceUnreadable, match="own read model"):
        await look(house.side, psycopg.conninfo.make_conninfo(module_database_url, options="-c search_path=mfo"))
    with stack.database(migrated=False) as url, pytest.raises(SourceUnreadable, match="no row in any of"):
        await look(house.side, url)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("PGDMP\x01\x0e", "custom format"),
        ("\x1f\x8b\x08", "compressed"),
        ("hello\n", "no table"),
        ("CREATE TABLE public.x (\n    id uuid\n);\n", "no row in any"),
        ("COPY public.discovery_flows (id, flow_id) FROM stdin;\na\tb\n", "no end"),
        ("COPY public.discovery_flows (id, flow_id) FROM stdin;\na\n\\.\n", "1 values for 2 columns"),
        ("INSERT INTO public.discovery_flows VALUES ('a');\n", "lacks its CREATE TABLE"),
        ("INSERT INTO discovery_flows (id) VALUES ('a", "no end"),
        ("INSERT INTO discovery_flows (id) VALUES (now() - '1 day');\n", "cannot be read"),
        ("INSERT INTO discovery_flows (id) VALUES ('a', 'b');\n", "2 values for 1 columns"),
        ("INSERT INTO discovery_flows (id) VALUES ('a') ON CONFLICT DO NOTHING;\n", "not of the kind"),
    ],
)
async def test_a_dump_that_is_none_is_refused_by_line(house: House, tmp_path: Path, text: str, why: str) -> None:
    file = tmp_path / "bad.sql"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(SourceUnreadable, match=why):
        await look(house.side, str(file))
    with pytest.raises(SourceUnreadable, match="cannot be read"):
        await look(house.side, str(tmp_path / "none.sql"))


def test_a_dump_is_read_to_the_letter(tmp_path: Path) -> None:
    file = tmp_path / "letters.sql"
    file.write_text(
        "CREATE TABLE public.other (\n    a text\n);\n"
        "INSERT INTO public.other VALUES ('INSERT;\n');\n"
        'CREATE TABLE public.discovery_flows (\n    id uuid NOT NULL,\n    "flow_name" text,\n'
        "    CONSTRAINT one CHECK (id IS NOT NULL)\n);\n"
        "INSERT INTO public.discovery_flows VALUES ('1', 'it''s;\n(two), lines'), (NULL, E'a\\tb'::text);\n"
        "COPY public.discovery_flows (id, flow_name) FROM stdin;\n2\ttab\\there\\\\n\\nnew\n\\N\t\n\\.\n"
    )
    found = [(one.values["id"], one.values["flow_name"]) for one in rows(file, TABLES)]
    assert found == [("1", "it's;\n(two), lines"), (None, "a\tb"), ("2", "tab\there\\n\nnew"), (None, "")]


def test_a_sample_is_the_same_each_time_and_never_written_over(tmp_path: Path) -> None:
    first, second = sample.made(20, seed=5), sample.made(20, seed=5)
    assert json.dumps(first.rows) == json.dumps(second.rows)
    assert len({fault["what"] for fault in first.faults}) == len(sample.FAULTS)
    assert {fault["table"] for fault in first.faults} == {MASTER, DISCOVERY}
    sample.write(first, str(tmp_path / "a.sql"))
    with pytest.raises(SampleUnwritable, match="new file"):
        sample.write(first, str(tmp_path / "a.sql"))
