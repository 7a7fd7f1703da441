from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from consumers.context import NeedsInput, Permanent
from consumers.phases.discovery import HANDLERS, VALIDATORS
from domain.types.discovery import DISCOVERY
from estate.sample import write_sample
from tests.estate.support import PHASES, Discovery, Invalidated

SERVERS = "Server Name,Memory,Town,OS\nweb01,4096,Ulm,RHEL 8\nweb02,8192,Bonn,RHEL 7\n"
LINKS = "Source,Destination,Port\nweb01,web02,443\nweb02,db01,1433\n"


def put(tmp_path: Path, text: str, name: str = "servers.csv") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


async def mapped(flow: Discovery) -> dict[str, Any]:
    await flow.run("data_import")
    return await flow.run("field_mapping")


def fields(outputs: dict[str, Any]) -> dict[str, str]:
    return {one["source_field"]: one["target_field"] for one in outputs["mapped"]}


def test_every_name_of_the_flow_type_is_there() -> None:
    for phase in DISCOVERY.phases:
        assert set(phase.handlers) <= HANDLERS.keys()
        assert set(phase.validators) <= VALIDATORS.keys()
    assert [phase.name for phase in DISCOVERY.phases] == list(PHASES)


def test_the_names_cost_no_heavy_library() -> None:
    code = (
        "import sys, json, consumers.phases.discovery;"
        "print(json.dumps([m for m in ('polars', 'python_calamine', 'networkx', 'rapidfuzz', 'estate.mapping') if m in sys.modules]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]
    )
    assert json.loads(done.stdout) == []


async def test_six_phases_end_to_end(tmp_path: Path) -> None:
    flow = Discovery(
        put(tmp_path, SERVERS),
        put(tmp_path, LINKS, "links.csv"),
        auto_approve_mappings=True,
        reference_date="2025-06-01",
    )
    out = await flow.run_all()
    assert out["data_import"]["rows"] == 4
    assert [(asset["name"], asset["memory_gb"]) for asset in flow.rows("asset_inventory", "assets")] == [
        ("web01", 4),
        ("web02", 8),
    ]
    edges = flow.rows("dependency_analysis", "dependencies")
    assert [(edge["source_name"], edge["target_name"], edge["unknown_endpoint"]) for edge in edges] == [
        ("web01", "web02", False),
        ("web02", "db01", True),
    ]
    assert [finding["severity"] for finding in flow.rows("tech_debt_assessment", "findings")] == ["high"]
    for phase, outputs in out.items():
        assert outputs["message"]
        assert len(json.dumps(outputs)) < 100_000, phase
        for issue in flow.rows(phase, "issues"):
            shape = ["issue_id", "kind", "severity", "message", "asset_id", "field", "source"]
            assert list(issue)[: len(shape)] == shape
            assert ("finding_id" in issue) == (len(issue) > len(shape))
    findings = flow.rows("tech_debt_assessment", "findings")
    told = [issue for issue in flow.rows("tech_debt_assessment", "issues") if "finding_id" in issue]
    assert [(issue["issue_id"], issue["remedy"]) for issue in told] == [
        (finding["finding_id"], finding["remedy"]) for finding in findings
    ]
    assert flow.heartbeats


async def test_a_run_again_gives_the_same_outputs(tmp_path: Path) -> None:
    write_sample(tmp_path / "s.xlsx", servers=40)
    runs = [
        await Discovery(tmp_path / "s.xlsx", auto_approve_mappings=True, reference_date="2025-06-01").run_all()
        for _ in range(2)
    ]
    assert runs[0] == runs[1]
    other = Discovery(tmp_path / "s.xlsx", flow_id=UUID(int=5), auto_approve_mappings=True, reference_date="2025-06-01")
    assert (await other.run_all())["asset_inventory"]["assets"] != runs[0]["asset_inventory"]["assets"]


# --- import -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("inputs", "field"),
    [
        ({}, "import_file_id"),
        ({"import_file_id": 7}, "import_file_id"),
        ({"import_file_id": "nowhere"}, "import_file_id"),
        ({"import_file_ids": []}, "import_file_ids"),
        ({"import_file_ids": ["file-1", 3]}, "import_file_ids"),
    ],
)
async def test_files_that_are_not_there(tmp_path: Path, inputs: dict[str, Any], field: str) -> None:
    flow = Discovery(put(tmp_path, SERVERS))
    flow.inputs = inputs
    with pytest.raises(Invalidated) as caught:
        await flow.run("data_import")
    assert {one.field for one in caught.value.objections} == {field}


async def test_a_file_that_is_no_table_is_named(tmp_path: Path) -> None:
    junk = tmp_path / "junk.csv"
    junk.write_bytes(bytes(range(256)) * 10)
    with pytest.raises(Invalidated, match=r"junk\.csv holds binary data"):
        await Discovery(put(tmp_path, SERVERS), junk).run("data_import")


async def test_a_fault_further_down_fails_for_good(tmp_path: Path) -> None:
    with pytest.raises(Permanent, match=r"servers\.csv, row 4") as caught:
        await Discovery(put(tmp_path, SERVERS + 'web03,"4096,x\n')).run("data_import")
    assert caught.value.code == "unterminated_quote"


async def test_a_header_alone_fails_and_beside_data_is_told(tmp_path: Path) -> None:
    empty = put(tmp_path, "VM,Connected\n", "RVTools_tabvUSB.csv")
    with pytest.raises(Permanent) as caught:
        await Discovery(empty).run("data_import")
    assert caught.value.code == "no_rows"
    flow = Discovery(empty, put(tmp_path, SERVERS))
    await flow.run("data_import")
    assert "no_rows" in [issue["kind"] for issue in flow.rows("data_import", "issues")]


async def test_files_of_one_name_are_told_apart(tmp_path: Path) -> None:
    for folder in ("north", "south", "west"):
        (tmp_path / folder).mkdir()
    flow = Discovery(
        put(tmp_path, SERVERS),
        put(tmp_path / "north", SERVERS),
        put(tmp_path / "south", SERVERS, "servers (2).csv"),
        put(tmp_path / "west", SERVERS),
    )
    files = (await flow.run("data_import"))["files"]
    assert [file["filename"] for file in files] == [
        "servers.csv",
        "servers (3).csv",
        "servers (2).csv",
        "servers (4).csv",
    ]
    # the number is ours: it says nothing about what the file is
    assert "extension_mismatch" not in [issue["kind"] for issue in flow.rows("data_import", "issues")]


async def test_every_row_is_to_be_used_unused_or_set_aside_with_a_reason(tmp_path: Path) -> None:
    text = "Server Name,Memory,Town,OS\nweb01,4096,Ulm,RHEL 8\n\nServer Name,Memory,Town,OS\nweb02,8192,Bonn,RHEL 7\n"
    flow = Discovery(
        put(tmp_path, text), put(tmp_path, "VM,Snapshot,Date\nweb01,s1,2024-01-01\n", "RVTools_tabvSnapshot.csv")
    )
    out = await flow.run("data_import")
    assert (out["rows"], out["rows_unused"]) == (2, 1)
    aside = flow.rows("data_import", "set_aside")
    assert out["rows_set_aside"] == len(aside) == sum(out["set_aside_by_reason"].values())
    repeated = [row for row in aside if row["source"]["row"] == 4]
    assert [row["cells"] for row in repeated] == [["Server Name", "Memory", "Town", "OS"]]
    assert all(row["reason"] and row["message"] for row in aside)
    for name in ("rows", "rows_unused", "rows_set_aside"):
        assert out[name] == sum(file[name] for file in out["files"])
    total = sum(out[name] for name in ("rows", "rows_unused", "rows_set_aside"))
    assert out["message"].startswith(f"{total} rows of 2 files read: 2 to be used, 1 in sheets that hold nothing")
    assert [(one["kind"], one["rows"]) for file in out["files"] for one in file["tables"]] == [
        ("table", 2),
        ("rvtools.vsnapshot", 1),
    ]


GERMAN = "Inventar 2024;;\nName;Speicher;Preis\nweb01;4.096;1,5\nweb02;8.192;2,5\n"


async def test_the_caller_says_how_a_file_is_to_be_read(tmp_path: Path) -> None:
    """The inputs speak of a file by its id or its name; without a word of theirs what is kept with the file holds."""
    path, wanted = (
        put(tmp_path, GERMAN, "inventar.csv"),
        {"header_row": 2, "delimiter": ";", "decimal": ",", "thousands": "."},
    )
    stored = Discovery(path)
    stored.imports.options["file-1"] = wanted
    by_name = Discovery(path, import_options={"inventar.csv": wanted})
    by_name.imports.options["file-1"] = {"header_row": 1}
    for flow in (stored, by_name, Discovery(path, import_options={"file-1": wanted})):
        (file,) = (await flow.run("data_import"))["files"]
        assert file["import_options"] == wanted
        (table,) = file["tables"]
        assert table["read_as"]["header_rows"] == [2]
        assert table["read_as"]["decimal"] == ","
        assert [row["columns"] for row in flow.rows("data_import", "headers")] == [["Name", "Speicher", "Preis"]]


@pytest.mark.parametrize(
    ("options", "field", "said"),
    [
        ([], "import_options", "must be an object"),
        ({"other.csv": {}}, "import_options.other.csv", "no file of this flow"),
        ({"servers.csv": []}, "import_options.servers.csv", "must be an object"),
        ({"servers.csv": {"colour": "red"}}, "import_options.servers.csv", "colour"),
        ({"file-1": {"decimal": ",", "thousands": ","}}, "import_options.file-1", "thousands"),
    ],
)
async def test_options_that_cannot_be_meant_are_asked_for_again(
    tmp_path: Path, options: Any, field: str, said: str
) -> None:
    flow = Discovery(put(tmp_path, SERVERS), import_options=options)
    with pytest.raises(Invalidated, match=said) as caught:
        await flow.run("data_import")
    assert [one.field for one in caught.value.objections] == [field]
    with pytest.raises(Permanent, match=said) as failed:
        await HANDLERS["store_raw_data"](flow.context("data_import"))
    assert (failed.value.code, failed.value.fields[0].field) == ("inputs_invalid", field)


IN_A_PROCESS_OF_ITS_OWN = """
import asyncio, sys
from msgspec.structs import replace
from pathlib import Path
from consumers.context import Permanent
from consumers.phases.discovery import HANDLERS
from tests.consumers.test_limits import resident_mb
from tests.estate.support import Discovery
import estate.formats, estate.readers

flow = Discovery(*map(Path, sys.argv[1:]))
context = replace(flow.context("data_import"), memory_mb=resident_mb() + 20)
try:
    asyncio.run(HANDLERS["store_raw_data"](context))
except Permanent as error:
    print(error.code, error.detail)
"""


def test_a_file_that_takes_too_much_memory_is_refused_by_name(tmp_path: Path) -> None:
    text = "Server Name,Note\n" + "".join(f"web{n},{'x' * 90}{n}\n" for n in range(300_000))
    root = Path(__file__).parents[2]
    # the one after it is not to suffer from what the first had taken
    small = put(tmp_path, "Server Name,Note\n" + "".join(f"web{n},{n}\n" for n in range(3_000)), "small.csv")
    said = subprocess.run(
        [sys.executable, "-c", IN_A_PROCESS_OF_ITS_OWN, put(tmp_path, text), small],
        capture_output=True, text=True, check=True, cwd=root, env={**os.environ, "PYTHONPATH": str(root)},
    )  # fmt: skip
    assert said.stdout.startswith("too_large servers.csv takes more than"), said
    assert "small.csv" not in said.stdout


# --- mapping ------------------------------------------------------------------------------------------------------


async def test_without_approval_a_person_is_asked(tmp_path: Path) -> None:
    with pytest.raises(NeedsInput) as caught:
        await mapped(Discovery(put(tmp_path, SERVERS)))
    assert caught.value.fields == ["mappings", "approval"]
    suggestion = caught.value.suggestions["mapping_suggestions"][1]
    assert suggestion | {"reason": "", "alternatives": []} == suggestion | {
        "source_file": "servers.csv",
        "source_sheet": None,
        "source_field": "Memory",
        "target_field": "memory_gb",
        "confidence": 1.0,
        "match_type": "direct",
        "samples": ["4096", "8192"],
        "unit": "MiB",
        "reason": "",
        "alternatives": [],
    }


@pytest.mark.parametrize(
    "inputs",
    [
        {"mappings": {"Town": "location"}},
        {"mappings": {"Town": "location"}, "approval": False},
        {"approval": False},
        {"approval": False, "auto_approve_mappings": True},
        {"auto_approve_mappings": False},
    ],
)
async def test_what_is_no_approval(tmp_path: Path, inputs: dict[str, Any]) -> None:
    with pytest.raises(NeedsInput):
        await mapped(Discovery(put(tmp_path, SERVERS), **inputs))


async def test_approval_alone_takes_all_suggestions(tmp_path: Path) -> None:
    text = "Server Name,column 2,Memory\nweb01,10.0.0.1,4096\nweb02,10.0.0.2,4096\nweb03,10.0.0.3,4096\n"
    flow = Discovery(put(tmp_path, text), approval=True)
    assert fields(await mapped(flow)) == {"Server Name": "name", "column 2": "ip_addresses", "Memory": "memory_gb"}
    flow = Discovery(put(tmp_path, text), auto_approve_mappings=True)
    assert fields(await mapped(flow)) == {"Server Name": "name", "Memory": "memory_gb"}
    assert [issue["kind"] for issue in flow.rows("field_mapping", "issues")] == ["mapping_not_taken"]


async def test_given_mappings_override_and_suggestions_fill_in(tmp_path: Path) -> None:
    flow = Discovery(put(tmp_path, SERVERS), mappings={"Town": "location", "OS": None}, approval=True)
    assert fields(await mapped(flow)) == {"Server Name": "name", "Memory": "memory_gb", "Town": "location"}


@pytest.mark.parametrize(
    ("inputs", "field"),
    [
        ({"mappings": {"Twon": "location"}}, "mappings.Twon"),
        ({"mappings": {"Town": "place"}}, "mappings.Town"),
        ({"mappings": ["Town"]}, "mappings"),
        ({"approval": "yes"}, "approval"),
        ({"mapping_confidence_threshold": 7}, "mapping_confidence_threshold"),
        ({"auto_approve_mappings": 1}, "auto_approve_mappings"),
    ],
)
async def test_what_cannot_be_meant_is_refused_by_name(tmp_path: Path, inputs: dict[str, Any], field: str) -> None:
    flow = Discovery(put(tmp_path, SERVERS), **({"approval": True} | inputs))
    await flow.run("data_import")
    with pytest.raises(Invalidated) as caught:
        await flow.run("field_mapping")
    assert [one.field for one in caught.value.objections] == [field]
    with pytest.raises(Permanent) as failed:
        await HANDLERS["apply_mappings"](flow.context("field_mapping"))
    assert (failed.value.code, [one.field for one in failed.value.fields]) == ("mappings_invalid", [field])


@pytest.mark.parametrize("inputs", [{"auto_approve_mappings": True}, {"approval": True}])
async def test_a_missing_name_stops_even_with_approval(tmp_path: Path, inputs: dict[str, Any]) -> None:
    flow = Discovery(put(tmp_path, "Thing,Cores\nweb01,4\n"), **inputs)
    with pytest.raises(NeedsInput, match="name, hostname or fqdn"):
        await mapped(flow)
    flow.inputs |= {"mappings": {"Thing": "name"}, "approval": True}
    assert fields(await flow.run("field_mapping"))["Thing"] == "name"


STATUS = ("source_field", "target_field", "status", "suggested_by", "approved_by")


def said(flow: Discovery) -> list[tuple[Any, ...]]:
    return [tuple(row[name] for name in STATUS) for row in flow.rows("field_mapping", "mappings")]


async def test_what_a_person_approved_and_put_aside_is_told_from_what_was_taken_for_them(tmp_path: Path) -> None:
    path = put(tmp_path, SERVERS)
    automatic = Discovery(path, auto_approve_mappings=True, mappings={"Town": "department"})
    await mapped(automatic)
    assert said(automatic) == [
        ("Server Name", "name", "suggested", "mapper", None),
        ("Memory", "memory_gb", "suggested", "mapper", None),
        ("Town", "department", "approved", "user", "tester"),
        ("OS", "operating_system", "suggested", "mapper", None),
    ]
    approved = Discovery(path, approval=True, mappings={"OS": "description"})
    await mapped(approved)
    rows = said(approved)
    assert ("Memory", "memory_gb", "approved", "mapper", "tester") in rows
    assert [row for row in rows if row[0] == "OS"] == [
        ("OS", "description", "approved", "user", "tester"),
        ("OS", "operating_system", "rejected", "mapper", "tester"),
    ]
    kinds = {row["kind"] for row in approved.rows("field_mapping", "mappings")}
    assert kinds == {"table"}


async def test_what_the_clients_people_approved_before_is_suggested_and_kept(tmp_path: Path) -> None:
    """As of the import: what is suggested does not change while the flow waits for its answer."""
    text = "Server Name,Zweck\nweb01,Abrechnung\nweb02,Lager\n"
    flow = Discovery(put(tmp_path, text), auto_approve_mappings=True)
    flow.past.mappings = [
        {
            "source_field": "zweck",
            "kind": "table",
            "target_field": "application_name",
            "unit": None,
            "approvals": 2,
            "rejections": 0,
        }
    ]
    await flow.run("data_import")
    flow.past.mappings = []
    out = await flow.run("field_mapping")
    assert fields(out)["Zweck"] == "application_name"
    assert {one["source_field"]: one["match_type"] for one in out["mapped"]}["Zweck"] == "learned"
    assert out["learned"] == 1
    assert flow.rows("data_import", "learned")[0]["approvals"] == 2
    fresh = Discovery(put(tmp_path, text), auto_approve_mappings=True)
    assert "Zweck" not in fields(await mapped(fresh))


async def test_what_must_not_be_shown_is_masked_in_suggestions(tmp_path: Path) -> None:
    text = (
        "Server Name,Root Password,Contact\nweb01,Tr0ub4dor&3,ann@example.org\nweb02,hunter2hunter2,bob@example.org\n"
    )
    with pytest.raises(NeedsInput) as caught:
        await mapped(Discovery(put(tmp_path, text)))
    told = json.dumps(caught.value.suggestions)
    for secret in ("Tr0ub4dor", "hunter2", "ann@example", "bob@example"):
        assert secret not in told


async def test_what_cannot_be_told_is_asked_and_never_guessed(tmp_path: Path) -> None:
    """Sizes of two units in one column: the flow stops; a person may give the unit, leave it out or let it be."""
    path = put(tmp_path, "Server Name,Memory\nweb01,1\nweb02,8192\n")
    flow = Discovery(path, auto_approve_mappings=True)
    with pytest.raises(NeedsInput, match=r"the unit of .Memory. in servers\.csv") as caught:
        await mapped(flow)
    assert caught.value.suggestions["mapping_suggestions"][1]["samples"] == ["1", "8192"]
    flow.inputs["mappings"] = {"Memory": {"target_field": "memory_gb", "unit": "GiB"}}
    assert [one["unit"] for one in (await flow.run("field_mapping"))["mapped"]] == [None, "GiB"]
    for given in ({"mappings": {"Memory": None}}, {"mappings": {}, "approval": True}):
        flow.inputs |= given
        assert fields(await flow.run("field_mapping")) == {"Server Name": "name"}


async def test_units_and_conversions_are_told(tmp_path: Path) -> None:
    text = "Server Name,Memory,Disk (MB)\nweb01,4096,102400\nweb02,131072,51200\n"
    out = await mapped(Discovery(put(tmp_path, text), approval=True))
    memory, disk = (
        next(one for one in out["mapped"] if one["source_field"] == name) for name in ("Memory", "Disk (MB)")
    )
    assert (memory["unit"], disk["unit"]) == ("MiB", "MB")
    assert "1024" in memory["conversion"]
    assert memory["reason"]
    assert "1024" in disk["conversion"]


# --- the rest -----------------------------------------------------------------------------------------------------


async def test_rows_that_are_all_rejected_fail_the_phase(tmp_path: Path) -> None:
    flow = Discovery(put(tmp_path, "Server Name,OS\nN/A,RHEL 8\nTotal,x\n"), auto_approve_mappings=True)
    await mapped(flow)
    with pytest.raises(Permanent, match="All 2 rows were rejected") as caught:
        await flow.run("data_cleansing")
    assert caught.value.code == "nothing_left"


async def test_rows_and_changes_add_up(tmp_path: Path) -> None:
    text = SERVERS + "N/A,2048,Ulm,RHEL 8\nWEB03 ,4096,ULM,rhel 8\n"
    flow = Discovery(put(tmp_path, text), auto_approve_mappings=True)
    await mapped(flow)
    out = await flow.run("data_cleansing")
    assert (out["rows_read"], out["rows"], out["rows_rejected"]) == (4, 3, 1)
    assert out["by_reason"] == {flow.rows("data_cleansing", "rejected")[0]["reason"]: 1}
    changes = flow.rows("data_cleansing", "changes")
    assert out["values_changed"] == sum(change["count"] for change in changes) == sum(out["by_rule"].values())
    assert out["message"].startswith("4 rows: 3 clean, 1 rejected (")
    assert out["reference_date"] == "2025-06-01"
    assert out["quality"]


async def test_a_table_of_an_older_version_is_not_misread(tmp_path: Path) -> None:
    flow = Discovery(put(tmp_path, SERVERS), auto_approve_mappings=True)
    await flow.run("data_import")
    for ref in flow.outputs["data_import"]["tables"]:
        ref["media_type"] = "application/x-ndjson"
    with pytest.raises(Permanent, match="older version") as caught:
        await flow.run("field_mapping")
    assert caught.value.code == "phase_outputs_outdated"


@pytest.mark.parametrize(
    ("phase", "before", "new_output"),
    [
        ("field_mapping", "data_import", "learned"),
        ("data_cleansing", "field_mapping", "incomplete"),
        ("asset_inventory", "data_cleansing", "quality"),
        ("dependency_analysis", "data_cleansing", "quality"),
    ],
)
async def test_a_flow_begun_under_an_older_version_ends_with_what_to_do(
    tmp_path: Path, phase: str, before: str, new_output: str
) -> None:
    flow = Discovery(put(tmp_path, SERVERS), approval=True, mappings={"Town": "location"})
    await flow.run_all()
    flow.outputs[before] = {name: value for name, value in flow.outputs[before].items() if name != new_output}
    if before == "data_import":
        del flow.outputs[before]["headers"]
    with pytest.raises(Permanent, match=f"{before} was done by an older version.*begin a new flow") as caught:
        await flow.run(phase)
    assert caught.value.code == "phase_outputs_outdated"


LATER = "Server Name,Memory,Town,OS\nweb01,8192,Ulm,RHEL 8\nweb03,8192,Bonn,RHEL 9\n"


async def discovered(path: Path, **inputs: Any) -> Discovery:
    """A discovery as far as its inventory, asked to compare with nothing but what is in `earlier`."""
    earlier = inputs.pop("earlier", [])
    flow = Discovery(path, auto_approve_mappings=True, **inputs)
    for before in earlier:
        flow.past.inventories.append((before.flow_id, before.outputs["asset_inventory"]))
        flow.artifacts.kept |= before.artifacts.kept
    await mapped(flow)
    await flow.run("data_cleansing")
    await flow.run("asset_inventory")
    return flow


async def test_a_second_discovery_tells_what_is_new_gone_and_changed(tmp_path: Path) -> None:
    first = await discovered(put(tmp_path, SERVERS))
    assert "changed" not in first.outputs["asset_inventory"]
    later = put(tmp_path, LATER, "later.csv")
    second = await discovered(later, earlier=[first], flow_id=UUID(int=2))
    out = second.outputs["asset_inventory"]
    assert {name: out["changed"][name] for name in ("new", "gone", "changed", "against")} == {
        "new": 1,
        "gone": 1,
        "changed": 1,
        "against": str(first.flow_id),
    }
    changes = second.rows("asset_inventory", "estate_changes")
    assert len({change["change_id"] for change in changes}) == len(changes) == 3
    assert sorted((change["kind"], change["name"]) for change in changes) == [
        ("changed", "web01"),
        ("gone", "web02"),
        ("new", "web03"),
    ]
    assert "1 new, 1 gone, 1 changed" in out["message"]
    same = await discovered(later, earlier=[first, second], flow_id=UUID(int=3))
    assert same.outputs["asset_inventory"]["changed"]["against"] == str(second.flow_id)
    assert same.rows("asset_inventory", "estate_changes") == []
    named = await discovered(later, earlier=[first, second], flow_id=UUID(int=3), compare_with=str(first.flow_id))
    assert named.outputs["asset_inventory"]["changed"]["against"] == str(first.flow_id)
    alone = await discovered(later, earlier=[first, second], flow_id=UUID(int=3), compare_with="none")
    assert "estate_changes" not in alone.outputs["asset_inventory"]


async def test_a_later_round_is_compared_with_the_one_before_it(tmp_path: Path) -> None:
    other = await discovered(put(tmp_path, LATER, "other.csv"), flow_id=UUID(int=9))
    flow = await discovered(put(tmp_path, SERVERS), earlier=[other])
    flow.past.rounds[1] = dict(flow.outputs)
    flow.iteration = 3
    out = await flow.run("asset_inventory")
    assert (out["changed"]["against"], out["changed"]["against_round"]) == (str(flow.flow_id), 1)
    assert (out["changed"]["new"], out["changed"]["gone"]) == (0, 0)
    assert "against round 1 of this flow" in out["message"]
    del flow.artifacts.kept[flow.past.rounds[1]["asset_inventory"]["assets"]["artifact"]]
    assert (await flow.run("asset_inventory"))["changed"]["against"] == str(other.flow_id)


@pytest.mark.parametrize("given", [7, "newest", "6f1c1ab0-8f0e-4f7a-9a57-0d4a3a1f5c12", []])
async def test_an_inventory_that_is_not_there_is_asked_for_again(tmp_path: Path, given: Any) -> None:
    first = await discovered(put(tmp_path, SERVERS))
    flow = await discovered(put(tmp_path, SERVERS), earlier=[first], flow_id=UUID(int=2))
    flow.inputs["compare_with"] = given
    with pytest.raises(Invalidated, match="compare_with must be latest, none, or the id of a discovery"):
        await flow.run("asset_inventory")
    with pytest.raises(Permanent) as failed:
        await HANDLERS["build_inventory"](flow.context("asset_inventory"))
    assert [one.field for one in failed.value.fields] == ["compare_with"]


async def test_the_inventory_of_an_older_version_is_not_compared(tmp_path: Path) -> None:
    """Its assets have other fields, so that everything would seem to have changed."""
    first = await discovered(put(tmp_path, SERVERS))
    del first.outputs["asset_inventory"]["reviews"]
    flow = await discovered(put(tmp_path, SERVERS), earlier=[first], flow_id=UUID(int=2))
    assert "changed" not in flow.outputs["asset_inventory"]
    flow.inputs["compare_with"] = str(first.flow_id)
    with pytest.raises(Invalidated, match="older version and cannot be compared"):
        await flow.run("asset_inventory")


async def test_what_must_not_be_shown_is_masked_in_the_changes_that_outputs_hold(tmp_path: Path) -> None:
    text = "Server Name,IP,Contact,Note\nweb01,10.0.0.1,{0},Bearer {1}\n"
    first = await discovered(put(tmp_path, text.format("ann@example.org", "a1" * 12)))
    later = put(tmp_path, text.format("bob@example.org", "b2" * 12), "later.csv")
    second = await discovered(later, earlier=[first], flow_id=UUID(int=2))
    (change,) = second.rows("asset_inventory", "estate_changes")
    (told,) = second.outputs["asset_inventory"]["first_changes"]
    assert [one["field"] for one in told["fields"]] == [one["field"] for one in change["fields"]]
    assert "ann@example.org" in json.dumps(change)
    outputs = json.dumps(second.outputs)
    for hidden in ("ann@example", "bob@example", "a1" * 12, "b2" * 12):
        assert hidden not in outputs


@pytest.mark.parametrize("given", [0.9, 11, "1.3", True, float("nan")])
async def test_a_wrong_comfort_factor(tmp_path: Path, given: Any) -> None:
    flow = Discovery(put(tmp_path, SERVERS), comfort_factor=given)
    with pytest.raises(Invalidated, match="comfort_factor must be a number from 1 to 10"):
        await flow.run("tech_debt_assessment")


async def test_a_phase_without_the_one_before_says_so(tmp_path: Path) -> None:
    with pytest.raises(Permanent, match="needs the outputs of data_cleansing"):
        await Discovery(put(tmp_path, SERVERS)).run("asset_inventory")


@pytest.mark.parametrize("given", ["yesterday", 7, "2025-13-01"])
async def test_a_wrong_reference_date(tmp_path: Path, given: Any) -> None:
    flow = Discovery(put(tmp_path, SERVERS), reference_date=given)
    for phase in ("data_cleansing", "tech_debt_assessment"):
        with pytest.raises(Invalidated, match="YYYY-MM-DD"):
            await flow.run(phase)


async def test_rows_that_cannot_be_used_are_told_by_example(tmp_path: Path) -> None:
    flow = Discovery(
        put(
            tmp_path,
            "Record Type 1,Application Name,Description,Dependency,Dependency Direction\n" + "1,,x,,\n" * 5,
            "a.csv",
        ),
        put(tmp_path, "Name,OS\n", "b.csv"),
    )
    with pytest.raises(Permanent) as caught:
        await flow.run("data_import")
    assert caught.value.code == "no_rows"
    assert caught.value.detail.startswith("a.csv, b.csv: none of their rows can be used: a.csv")
    assert "row 2 names no application" in caught.value.detail
    assert caught.value.detail.endswith(" and 2 more; correct the file and upload it again.")


async def test_assets_are_not_read_where_nothing_names_two_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow = Discovery(put(tmp_path, SERVERS), auto_approve_mappings=True, reference_date="2025-06-01")
    for phase in ("data_import", "field_mapping", "data_cleansing", "asset_inventory"):
        await flow.run(phase)
    del flow.artifacts.kept[flow.outputs["asset_inventory"]["assets"]["artifact"]]
    found = await flow.run("dependency_analysis")
    assert (found["dependencies_total"], found["assets_without_dependencies"]) == (0, 2)
    assert found["message"] == ("No file holds connections, so who talks to whom at run time is unknown, not absent.")


@pytest.mark.parametrize(("parts", "size"), [(("100", "0"), 100.0), (("0", "0"), None), (("0", ""), None)])
async def test_an_empty_part_of_a_size_is_a_part_of_it(
    tmp_path: Path, parts: tuple[str, str], size: float | None
) -> None:
    text = f"Server Name,Disk 1 Size (GB),Disk 2 Size (GB)\nweb00,20,30\nweb01,{parts[0]},{parts[1]}\n"
    flow = Discovery(put(tmp_path, text), auto_approve_mappings=True, reference_date="2025-06-01")
    await flow.run_all()
    assert [one["storage_gb"] for one in flow.rows("asset_inventory", "assets")] == [50, size]


async def test_a_column_that_a_person_left_out_is_no_issue(tmp_path: Path) -> None:
    path = tmp_path / "boxes.csv"
    path.write_text("Kiste,OS\nl1,RHEL 8\nl2,RHEL 8\nl3,RHEL 8\n", encoding="utf-8")
    flow = Discovery(path, mappings={"Kiste": "hostname", "OS": None}, approval=True)
    for phase in ("data_import", "field_mapping"):
        await flow.run(phase)
    assert flow.rows("field_mapping", "issues") == []


@pytest.mark.parametrize(
    ("lines", "options", "said"),
    [
        ("Server,RAM\nq1,64\nq2,32", {"tables": {"e.csv": {"units": {"RAM": "MegaBob"}}}}, "'MegaBob'"),
        ("Server,Memory,Memory Unit\nk1,512,MB\nk2,16,GB", {}, "the column Memory Unit says its units"),
        ("Server,OS,Last Seen\na,RHEL 8,13/01/2025\nb,RHEL 8,01/14/2025", {}, "13/01/2025 with the day first"),
    ],
)
async def test_what_cannot_be_told_is_asked_with_its_reason(
    tmp_path: Path, lines: str, options: dict[str, Any], said: str
) -> None:
    path = tmp_path / "e.csv"
    path.write_text(lines, encoding="utf-8")
    flow = Discovery(path, auto_approve_mappings=True)
    flow.imports.options = dict.fromkeys(flow.imports.files, options)
    await flow.run("data_import")
    with pytest.raises(NeedsInput, match=said):
        await flow.run("field_mapping")
