"""What the demo prints of a discovery: figures that add up, sentences that are true."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from mfo.shown import Found, Shown

Json = dict[str, Any]


def asset(name: str, **more: Any) -> Json:
    """An asset of which nothing is known but its name."""
    unknown = ("environment", "operating_system", "os_version", "cpu_cores", "memory_gb", "storage_gb")
    known = {"name": name, "asset_type": "server", "migratable": True, "classification": {}, "conflicts": []}
    return dict.fromkeys(unknown) | known | more


def finding(name: str, severity: str, version: str) -> Json:
    return {
        "finding_id": name,
        "kind": "end_of_support",
        "severity": severity,
        "message": f"{name} runs Windows Server {version}.",
        "remedy": "Upgrade it.",
        "evidence": {"product": "Windows Server", "version": version, "source": "Lifecycle", "state": "ended"},
        "source": {"file": "a.csv", "sheet": None, "row": 2},
    }


def told(part: str, *, outputs: Json | None = None, **more: Any) -> str:
    """What is printed of one part."""
    phases = [{"name": name, "outputs": one} for name, one in (outputs or {}).items()]
    lists: Json = {"previews": [], "assets": [], "dependencies": [], "issues": []}
    out = io.StringIO()
    getattr(Shown(Console(file=out, width=500)), part)(Found({"phases": phases}, **(lists | more)))
    return out.getvalue()


def test_sizes_add_up_by_type_and_hosts_are_counted_apart() -> None:
    assets = [
        asset("vm1", asset_type="virtual_machine", cpu_cores=2, memory_gb=2.171875, environment="test"),
        asset("vm2", asset_type="virtual_machine", cpu_cores=4, memory_gb=4.0),
        asset("esx1", cpu_cores=32, migratable=False, classification={"not_migratable": "it is a host"}),
        asset("Shop", asset_type="application"),
    ]
    said = told("inventory", outputs={"asset_inventory": {"message": "m"}}, assets=assets)
    lines = [line.split() for line in said.splitlines()]

    assert said.startswith("\nInventory: 4 assets\n")
    assert ["virtual_machine", "1", "1", "2", "6", "6.17", "unknown"] in lines
    assert ["server", "1", "1", "32", "unknown", "unknown"] in lines
    assert ["application", "1", "1"] in lines
    assert ["total", "3", "1", "4"] in lines
    assert ["of", "them", "to", "be", "moved", "1", "1", "2", "6", "6.17", "unknown"] in lines
    assert said.index("to be moved") < said.index("not moved, because") < said.index("virtual_machine")
    facts = {name: value.strip() for name, _, value in (line.partition("  ") for line in said.splitlines())}
    assert facts["to be moved"] == "2 machines: 6 cores, 6.17 GiB of memory, storage unknown"
    assert facts["not moved, because it is a host"] == "1 machine: 32 cores, memory unknown, storage unknown"
    assert facts["operating systems"] == "3 unknown"


def test_applications_have_no_sizes_and_no_system() -> None:
    said = told("inventory", assets=[asset("Shop", asset_type="application")])

    assert "Inventory: 1 asset\n" in said
    for word in ("cores", "CORES", "GiB", "operating systems", "moved"):
        assert word not in said


def test_findings_of_one_product_but_another_version_or_severity_are_not_alike() -> None:
    issues = [
        *(finding(f"a{n}", "medium", "2016") for n in range(3)),
        *(finding(f"b{n}", "critical", "2008") for n in range(2)),
        finding("c", "critical", "2012"),
    ]
    said = told("findings", outputs={"tech_debt_assessment": {"findings_total": 6}}, issues=issues)

    assert [line.split(": ")[0].strip() for line in said.splitlines() if "Upgrade it." in line] == [
        *("2 critical end_of_support", "1 critical end_of_support", "3 medium end_of_support"),
    ]
    assert "b0 runs Windows Server 2008. Upgrade it. [source Lifecycle; a.csv, row 2]" in said


def test_what_is_none_is_said_to_be_none() -> None:
    out = {"message": "m", "without_noise": 0, "noise": {"total": 1, "observations": 1, "by_reason": {"placement": 1}}}
    edge = {"noise": True, "kind": "runs_on", "direction": "by_relation"}
    said = told("dependencies", outputs={"dependency_analysis": out}, dependencies=[edge])

    assert "by kind" not in said
    assert "1 (1 row): 1 placement" in said
    assert "move groups                     none; 0 assets without" in said
    assert told("cleansed", outputs={"data_cleansing": {"message": "m"}}) == "\nCleansing: m\n"


@pytest.mark.parametrize(
    ("protocol", "port", "end"), [("tcp", 443, "b tcp 443 ["), (None, 443, "b 443 ["), (None, None, "b [")]
)
def test_an_edge_is_told_with_what_is_known_of_it(protocol: str | None, port: int | None, end: str) -> None:
    edge = {
        "noise": False,
        "kind": "web",
        "direction": "as_stated",
        "unknown_endpoint": True,
        "source": {"file": "d.csv"},
        "source_name": "a",
        "target_name": "b",
        "protocol": protocol,
        "port": port,
    }
    said = told("dependencies", outputs={"dependency_analysis": {"without_noise": 1}}, dependencies=[edge])

    assert f"a -> {end}d.csv]" in said


def test_rows_set_aside_stand_together_by_what_they_are() -> None:
    rows = [{"row": n, "reason": "totals_row", "message": "sums up other rows"} for n in (3, 4, 9)]
    out = {"message": "m", "set_aside_by_reason": {"totals_row": 3}, "files": []}
    preview = {"set_aside": {"vInfo": rows}, "warnings": [{"message": "One row is short."}]}
    said = told("imported", outputs={"data_import": out}, previews=[preview])

    assert "set aside: 3 totals_row:\n  vInfo, row 3, 4, 9: sums up other rows\n" in said
    assert "1 warning of the readers:\n  One row is short.\n" in said
