from __future__ import annotations

import json
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


async def test_two_files_of_one_name_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "north").mkdir()
    flow = Discovery(put(tmp_path, SERVERS), put(tmp_path / "north", SERVERS))
    assert [file["filename"] for file in (await flow.run("data_import"))["files"]] == ["servers.csv", "servers.csv (2)"]


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


# --- the rest -----------------------------------------------------------------------------------------------------


async def test_rows_that_are_all_rejected_fail_the_phase(tmp_path: Path) -> None:
    flow = Discovery(put(tmp_path, "Server Name,OS\nN/A,RHEL 8\nTotal,x\n"), auto_approve_mappings=True)
    await mapped(flow)
    with pytest.raises(Permanent, match="All 2 rows were rejected") as caught:
        await flow.run("data_cleansing")
    assert caught.value.code == "nothing_left"


async def test_a_phase_without_the_one_before_says_so(tmp_path: Path) -> None:
    with pytest.raises(Permanent, match="needs the outputs of data_cleansing"):
        await Discovery(put(tmp_path, SERVERS)).run("asset_inventory")


@pytest.mark.parametrize("given", ["yesterday", 7, "2025-13-01"])
async def test_a_wrong_reference_date(tmp_path: Path, given: Any) -> None:
    flow = Discovery(put(tmp_path, SERVERS), reference_date=given)
    with pytest.raises(Invalidated, match="YYYY-MM-DD"):
        await flow.run("tech_debt_assessment")
