"""Every real export, counted by a few lines of the standard library, beside what discovery made of it."""

from __future__ import annotations

import csv
import json
import re
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

import pytest

from consumers.context import Permanent
from tests.estate.support import Discovery, real

SHEET = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"


@dataclass(frozen=True, slots=True)
class Truth:
    """What is so: counts of rows and assets, sums in cores and GiB, how many assets do not know a thing."""

    rows: int
    assets: int
    sums: dict[str, float] = field(default_factory=dict)
    unknown: dict[str, int] = field(default_factory=dict)
    types: dict[str, int] = field(default_factory=dict)
    conflicts: dict[str, int] = field(default_factory=dict)
    """Assets whose sources disagree, by field."""
    edges: int = 0
    noise: int = 0
    unknown_ends: int | None = None
    set_aside: int = 0


def records(path: Path) -> list[dict[str, str]]:
    """The rows of a csv file by column name; short rows lack the last columns."""
    with path.open(encoding="utf-8-sig", newline="") as stream:
        return [row for row in csv.DictReader(stream, skipinitialspace=True) if any(row.values())]


def cells(path: Path, sheet: str) -> list[dict[str, str]]:
    """The rows of a sheet by column name, read from the XML inside the workbook; every cell as text."""
    with zipfile.ZipFile(path) as archive:
        texts = [
            "".join(part.text or "" for part in item.iter(f"{SHEET}t"))
            for item in ElementTree.fromstring(archive.read("xl/sharedStrings.xml"))
        ]
        names = [
            entry.get("name") for entry in ElementTree.fromstring(archive.read("xl/workbook.xml")).iter(f"{SHEET}sheet")
        ]
        tree = ElementTree.fromstring(archive.read(f"xl/worksheets/sheet{names.index(sheet) + 1}.xml"))
    grid = []
    for row in tree.iter(f"{SHEET}row"):
        found: dict[str, str] = {}
        for cell in row.iter(f"{SHEET}c"):
            value = cell.find(f"{SHEET}v")
            letters = re.sub(r"\d", "", str(cell.get("r")))
            text = "" if value is None else str(value.text)
            found[letters] = texts[int(text)] if cell.get("t") == "s" else text
        grid.append(found)
    header = grid[0]
    return [{name: row.get(letters, "") for letters, name in header.items()} for row in grid[1:]]


def rvtools(*paths: Path) -> Truth:
    """Memory is MiB; a machine without disks in vInfo has those of vDisk; vCPU and vMemory may disagree with vInfo."""
    vinfo, vcpu, vmemory, vdisk, vpartition, vhost = map(records, paths)
    disks: Counter[str] = Counter()
    for row in vdisk:
        disks[row["VM"]] += int(row["Capacity MiB"])
    storage = {row["VM"]: int(row["Total disk capacity MiB"]) or disks[row["VM"]] for row in vinfo}
    cores = {row["VM"]: int(row["CPUs"]) for row in vinfo}
    return Truth(
        rows=len(vinfo) + len(vcpu) + len(vmemory) + len(vdisk) + len(vpartition) + len(vhost),
        assets=len(cores) + len(vhost),
        sums={
            "cpu_cores": sum(cores.values()) + sum(int(row["# Cores"]) for row in vhost),
            "memory_gb": sum(int(row["Memory"]) for row in vinfo) / 1024
            + sum(int(row["# Memory"]) for row in vhost) / 1024,
            "storage_gb": sum(storage.values()) / 1024,
        },
        unknown={
            "storage_gb": sum(not mib for mib in storage.values()) + len(vhost),
            # a host that is called by its address is known to have it
            "ip_addresses": sum(not row["Primary IP Address"] for row in vinfo)
            + sum(not re.fullmatch(r"[\d.]+", row["Host"]) for row in vhost),
        },
        types={"virtual_machine": len(vinfo), "server": len(vhost)},
        conflicts={"cpu_cores": sum(cores[row["VM"]] != int(row["CPUs"]) for row in vcpu)},
        # each machine runs on a host: placement, not traffic
        edges=len(vinfo),
        noise=len(vinfo),
    )


def azure_discovery(path: Path) -> Truth:
    """-1 is not collected, `[];` is no address, memory is MB of 1024."""
    rows = cells(path, "Discovery_Report")
    return Truth(
        rows=len(rows),
        assets=len({" ".join(row["Machine Name"].split()) for row in rows}),
        sums={
            "cpu_cores": sum(int(row["Cores"]) for row in rows),
            "memory_gb": sum(int(row["Memory (in MB)"]) for row in rows) / 1024,
        },
        unknown={
            "ip_addresses": sum(row["IP Addresses"] == "[];" for row in rows),
            "environment": sum(not row["Environment"] for row in rows),
            "storage_gb": len(rows),
        },
    )


def azure_dependencies(path: Path) -> Truth:
    """An edge a row; remote desktop is noise."""
    rows = records(path)
    ends = {row[f"{end} server name"] for row in rows for end in ("Source", "Destination")}
    return Truth(
        rows=len(rows),
        assets=len(ends),
        edges=len(rows),
        noise=sum(row["Destination port"] == "3389" for row in rows),
        unknown_ends=0,
    )


def server_list(name: str) -> Callable[[Path], Truth]:
    """One machine a row, sizes unknown."""

    def count(path: Path) -> Truth:
        rows = records(path)
        machines = {row[name].strip().lower() for row in rows}
        sizes = dict.fromkeys(("cpu_cores", "memory_gb", "storage_gb"), len(machines))
        return Truth(rows=len(rows), assets=len(machines), unknown=sizes)

    return count


def konveyor(path: Path) -> Truth:
    """Record type 1 is an application, 2 a dependency, anything else is not ours to guess."""
    rows = records(path)
    typed = [str(row.get("Record Type 1") or row.get("Record Type") or "") for row in rows]
    if not any(key.startswith("Record Type") for key in rows[0]):
        typed = ["1"] * len(rows)
    names = {row["Application Name"].strip() for row, kind in zip(rows, typed, strict=True) if kind == "1"}
    edges = [row for row, kind in zip(rows, typed, strict=True) if kind == "2"]
    return Truth(
        rows=sum(kind in {"1", "2"} for kind in typed),
        assets=len(names),
        types={"application": len(names)},
        edges=len(edges),
        unknown_ends=sum(row["Dependency"] not in names for row in edges),
    )


def cast(path: Path) -> Truth:
    """Rows of level Application are applications; rows of level Analysis speak of a part of one."""
    rows = records(path)
    name = "Application" if "Application" in rows[0] else "Apps"
    names = {row[name] for row in rows if row["Level"] == "Application"}
    return Truth(rows=-1, assets=len(names), types={"application": len(names)})


def tidal_applications(path: Path) -> Truth:
    """Each application names its hosts, its databases and what it depends on, in lists inside one cell."""
    rows = records(path)
    listed = {
        (row["name"].strip(), kind, part.strip())
        for row in rows
        for kind in ("hosts", "dbs", "Dependencies")
        for part in row[kind].split(",")
        if part.strip()
    }
    return Truth(rows=len(rows), assets=len(rows), types={"application": len(rows)}, edges=len(listed))


def vcenter(path: Path) -> Truth:
    """Three controllers share a host name and two gateways an address; the identifiers tell them apart."""
    machines = [machine["Summary"] for machine in json.loads(path.read_text())["VirtualMachines"]]
    return Truth(
        rows=len(machines),
        assets=len({machine["Config"]["Uuid"] for machine in machines}),
        sums={
            "cpu_cores": sum(machine["Config"]["NumCpu"] for machine in machines),
            "memory_gb": sum(machine["Config"]["MemorySizeMB"] for machine in machines) / 1024,
            # a machine of which nothing is uncommitted has all of its storage committed
            "storage_gb": sum(
                machine["Storage"]["Committed"] + machine["Storage"]["Uncommitted"] for machine in machines
            )
            / 1024**3,
        },
        unknown={"storage_gb": 0},
    )


RVTOOLS = tuple(f"rvtools/RVTools_tab{tab}.csv" for tab in ("vInfo", "vCPU", "vMemory", "vDisk", "vPartition", "vHost"))
FILES: dict[str, tuple[tuple[str, ...], Callable[..., Truth]]] = {
    "rvtools": (RVTOOLS, rvtools),
    "azure discovery": (("azure_migrate/AzureMigrate_Discovery_Report.xlsx",), azure_discovery),
    "azure dependencies": (("azure_dependency/dependency-export-sample.csv",), azure_dependencies),
    "cmf server list": (("aws_cmf/server-list.csv",), server_list("server_name")),
    "cmf intake": (("aws_cmf/0-intake-form.csv",), server_list("server_name")),
    "cmf migration intake": (("aws_cmf/0-Migration-intake-form.csv",), server_list("server_name")),
    "cmf tags": (("aws_cmf/0-import-tags.csv",), server_list("Name")),
    "cmf with a byte order mark": (("aws_cmf/test_valid_bom.csv",), server_list("server_name")),
    "cmdb": (("servicenow_like/cmdb.csv",), server_list("serv_name")),
    "protected machines": (("servicenow_like/prallvms.csv",), server_list("name")),
    "konveyor sample": (("konveyor/sample-applications.csv",), konveyor),
    "konveyor template": (("konveyor/template_application_import.csv",), konveyor),
    "konveyor names with blanks": (("konveyor/app_name_with_spaces_21.csv",), konveyor),
    "konveyor long texts": (("konveyor/desc_comments_char_limit_rows.csv",), konveyor),
    "konveyor empty row": (("konveyor/mandatory_and_empty_row_21.csv",), konveyor),
    "konveyor without record types": (("konveyor/invalid_column_schema.csv",), konveyor),
    "konveyor other columns": (("konveyor/invalid_schema_21.csv",), konveyor),
    "cast": (("cast_highlight/short_valid.csv",), cast),
    "cast, empty line": (("cast_highlight/empty_line_in_middle.csv",), cast),
    "cast, other order": (("cast_highlight/header_diff_col.csv",), cast),
    "cast, another name": (("cast_highlight/missing_application_header.csv",), cast),
    "tidal applications": (("tidal_apps/apps.csv",), tidal_applications),
    "vcenter": (("tidal_apps/vcenter.json",), vcenter),
}


async def discovered(*paths: Path) -> Discovery:
    flow = Discovery(*paths, auto_approve_mappings=True, reference_date="2025-06-01")
    await flow.run_all()
    return flow


@pytest.mark.parametrize("name", FILES)
async def test_what_discovery_says_is_so(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    files, count = FILES[name]
    paths = real(*files)
    truth: Truth = count(*paths)
    flow = await discovered(*paths)
    read, made = flow.outputs["data_import"], flow.outputs["asset_inventory"]
    edges = flow.rows("dependency_analysis", "dependencies")
    assets = flow.rows("asset_inventory", "assets")
    if truth.rows >= 0:
        assert read["rows"] == truth.rows
    assert made["assets_total"] == len(assets) == truth.assets
    for target, total in truth.sums.items():
        assert made["totals"][target]["sum"] == pytest.approx(total, abs=0.01 * len(assets)), target
    for target, lacking in truth.unknown.items():
        assert sum(asset[target] in (None, []) for asset in assets) == lacking, target
    for kind, amount in truth.types.items():
        assert made["by_type"].get(kind) == amount
    disagree = Counter(conflict["field"] for asset in assets for conflict in asset["conflicts"])
    for target, amount in truth.conflicts.items():
        assert disagree[target] == amount, target
    assert len(edges) == truth.edges
    assert sum(edge["noise"] for edge in edges) == truth.noise
    if truth.unknown_ends is not None:
        assert sum(edge["unknown_endpoint"] for edge in edges) == truth.unknown_ends
    with capsys.disabled():
        print(f"\n  {name}: {truth.assets} assets, {truth.edges} edges, {truth.sums or 'no sizes'}", end="")


COST = ("focus/focus_sample.csv", "azure_cost/EA_AmortizedCost_Small.csv", "aws_cur/aws_cur_every13th.csv",
        "azure_cost/sample-anonymous-ea-export-dataset.csv")  # fmt: skip


@pytest.mark.parametrize("name", COST)
async def test_a_bill_is_no_inventory(name: str) -> None:
    [path] = real(name)
    with pytest.raises(Exception, match="cost") as stopped:
        await discovered(path)
    assert "finops" in str(stopped.value)


@pytest.mark.parametrize("names", [(COST[0],), COST[:2]])
async def test_a_flow_that_was_given_bills_alone_asks_for_other_files(names: tuple[str, ...]) -> None:
    flow = Discovery(*real(*names))
    with pytest.raises(Permanent) as stopped:
        await flow.run("data_import")
    told = stopped.value
    assert told.code == "nothing_to_discover"
    assert [one.field for one in told.fields] == ["import_file_id" if len(names) == 1 else "import_file_ids"]
    assert told.fields[0].message == told.detail
    assert told.detail.count("is not used") == len(names)
    assert "Upload an inventory and name that file instead" in told.detail


NOTHING = {
    "azure_cost/EA_NoRows.csv": "there is no row of data below the header; export the inventory again, with its rows.",
    "aws_cmf/test_invalid.csv": "there is no row of data below the header; export the inventory again, with its rows.",
    "konveyor/missing_application_name.csv": "none of its rows can be used: row 2 names no application; correct the file"
    " and upload it again.",
    "konveyor/invalid_record_type_21.csv": "none of its rows can be used: row 2: '3' is no record type, 1 is an"
    " application, 2 a dependency; row 3: '100' is no record type, 1 is an application, 2 a dependency; correct the file"
    " and upload it again.",
}


@pytest.mark.parametrize("name", NOTHING)
async def test_a_file_with_nothing_to_take_says_why(name: str) -> None:
    [path] = real(name)
    with pytest.raises(Permanent) as stopped:
        await discovered(path)
    assert stopped.value.detail == f"{path.name}: {NOTHING[name]}"


async def test_dependencies_that_nobody_observed_are_told_as_such() -> None:
    flow = await discovered(*real("tidal_apps/apps.csv"))
    told = flow.outputs["dependency_analysis"]["message"]
    assert told.startswith(
        "No file holds connections, so who talks to whom at run time is unknown; 120 rows or cells name two ends and make"
        " 120 dependencies, 0 of them noise;"
    )
    [issue] = [one for one in flow.rows("dependency_analysis", "issues") if one["kind"] == "no_connection_data"]
    assert issue["message"] == (
        "No file holds connections, so who talks to whom at run time is unknown; the 120 dependencies are only what"
        " columns of the files say of other assets."
    )
