"""Real exports, counted by the standard library and openpyxl, not by our own readers."""

from __future__ import annotations

import csv
import re
from collections import Counter
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from estate.inspect import inspect
from tests.estate.support import RVTOOLS, Discovery, real


async def discovered(*paths: Path) -> Discovery:
    flow = Discovery(*paths, auto_approve_mappings=True, reference_date="2025-06-01")
    await flow.run_all()
    return flow


def records(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as stream:
        return list(csv.DictReader(stream))


async def test_rvtools_set() -> None:
    paths = real(*RVTOOLS)
    vinfo, vcpu, vmemory, vdisk, _, vhost = (records(path) for path in paths)
    flow = await discovered(*paths)
    out = flow.outputs
    assert out["data_import"]["rows"] == sum(len(records(path)) for path in paths) == 24
    assert {file["recognised_as"] for file in out["data_import"]["files"]} == {"rvtools"}
    found = {asset["name"]: asset for asset in flow.rows("asset_inventory", "assets")}
    assert found.keys() == {row["VM"] for row in vinfo} | {row["Host"] for row in vhost}
    assert out["asset_inventory"]["by_type"] == {"virtual_machine": 4, "server": 4}
    for row in vinfo:
        asset = found[row["VM"]]
        assert asset["cpu_cores"] == int(row["CPUs"])
        assert asset["memory_gb"] == pytest.approx(int(row["Memory"]) / 1024, abs=0.006)
        assert asset["power_state"] == {"poweredOn": "on", "poweredOff": "off"}[row["Powerstate"]]
        assert asset["ip_addresses"] == ([row["Primary IP Address"]] if row["Primary IP Address"] else [])
        capacity = int(row["Total disk capacity MiB"])
        if capacity:
            assert asset["storage_gb"] == pytest.approx(capacity / 1024, abs=0.006)
    # vm-2 has no disks by vInfo; the size comes from vDisk
    assert found["vm-2"]["storage_gb"] == int(next(row["Capacity MiB"] for row in vdisk if row["VM"] == "vm-2")) / 1024
    for row in vhost:
        assert found[row["Host"]]["cpu_cores"] == int(row["# Cores"])
        assert found[row["Host"]]["memory_gb"] == pytest.approx(int(row["# Memory"]) / 1024, abs=0.006)
    cpus = {row["VM"]: int(row["CPUs"]) for row in vcpu}
    memory = {row["VM"]: int(row["Size MiB"]) for row in vmemory}
    for row in vinfo:
        conflicts = {one["field"]: [value["value"] for value in one["values"]] for one in found[row["VM"]]["conflicts"]}
        assert ("cpu_cores" in conflicts) == (cpus[row["VM"]] != int(row["CPUs"]))
        if abs(memory[row["VM"]] - int(row["Memory"])) > 20:
            assert conflicts["memory_gb"][1] == memory[row["VM"]] / 1024
    assert (found["vm-3"]["operating_system"], found["vm-3"]["os_version"]) == ("Debian", "9")
    # where each machine runs is known, and set apart: it is no traffic
    placed = flow.rows("dependency_analysis", "dependencies")
    assert {(edge["source_name"], edge["target_name"]) for edge in placed} == {
        (row["VM"], row["Host"]) for row in vinfo
    }
    assert [edge["noise_reason"] for edge in placed] == ["placement"] * len(vinfo)
    assert out["dependency_analysis"]["without_noise"] == 0
    assert "No file holds connections" in out["dependency_analysis"]["message"]


async def test_azure_migrate_discovery_report() -> None:
    [path] = real("azure_migrate/AzureMigrate_Discovery_Report.xlsx")
    book = openpyxl.load_workbook(path, read_only=True)
    grid = list(book["Discovery_Report"].iter_rows(values_only=True))
    book.close()
    rows: list[dict[str, Any]] = [dict(zip(map(str, grid[0]), row, strict=True)) for row in grid[1:]]
    assert len(rows) == 294
    assert inspect(path, path.name)["rows"] == 294
    flow = await discovered(path)
    assets = flow.rows("asset_inventory", "assets")
    summary = flow.outputs["asset_inventory"]
    assert [asset["name"] for asset in assets] == [" ".join(row["Machine Name"].split()) for row in rows]
    assert summary["totals"]["cpu_cores"]["sum"] == sum(row["Cores"] for row in rows)
    assert summary["totals"]["memory_gb"]["sum"] == sum(row["Memory (in MB)"] for row in rows) / 1024
    storage = summary["totals"]["storage_gb"]
    assert (storage["sum"], storage["by_type"], storage["known"], storage["unknown"]) == (None, {}, 0, 294)
    assert summary["by_power_state"] == Counter(row["Power Stats"].lower() for row in rows)
    assert summary["by_type"]["database"] == sum(row["Is SQL Service Present"] is True for row in rows)
    assert summary["by_environment"] == {"unknown": sum(not row["Environment"] for row in rows), "development": 9}
    assert sum(not asset["ip_addresses"] for asset in assets) == sum(row["IP Addresses"] == "[];" for row in rows) == 53
    addresses = sum(len([part for part in re.split(r"[\[\],;]", row["IP Addresses"]) if part]) for row in rows)
    assert sum(len(asset["ip_addresses"]) for asset in assets) == addresses
    collected = sum(row["Software Inventory Count"] != -1 for row in rows)
    assert sum("Software Inventory Count" in asset["custom_attributes"] for asset in assets) == collected
    systems = Counter(row["Operating System"] for row in rows)
    assert summary["by_operating_system"]["Windows Server 2012"] == systems["Microsoft Windows Server 2012 (64-bit)"]
    assert summary["by_operating_system"]["Ubuntu"] == systems["Ubuntu Linux (64-bit)"]
    assert [where["row"] for where in assets[0]["sources"]] == [2]
    missing = [issue for issue in flow.rows("asset_inventory", "issues") if issue["field"] == "environment"]
    assert len(missing) == 285


async def test_azure_dependency_export() -> None:
    [path] = real("azure_dependency/dependency-export-sample.csv")
    rows = records(path)
    flow = await discovered(path)
    edges = flow.rows("dependency_analysis", "dependencies")
    names = {row[f"{end} server name"] for row in rows for end in ("Source", "Destination")}
    assert {asset["name"] for asset in flow.rows("asset_inventory", "assets")} == names
    assert len(names) == 8
    assert [(edge["source_name"], edge["target_name"], edge["port"], edge["process"]) for edge in edges] == [
        (
            row["Source server name"],
            row["Destination server name"],
            int(row["Destination port"]),
            row["Destination process"],
        )
        for row in rows
    ]
    assert [edge["port"] for edge in edges if edge["noise"]] == [3389]
    assert flow.outputs["dependency_analysis"]["groups"] == 3


async def test_a_cmdb_export_as_a_plain_table() -> None:
    [path] = real("servicenow_like/cmdb.csv")
    rows = records(path)
    flow = await discovered(path)
    out = flow.outputs["asset_inventory"]
    assert out["assets_total"] == len({row["serv_name"].lower() for row in rows}) == 109
    assert out["by_environment"] == Counter(row["serv_u_environment"].lower() for row in rows)
    assert out["by_operating_system"]["Windows Server 2008 R2"] == sum("2008 R2" in row["serv_os"] for row in rows)
    assets = flow.rows("asset_inventory", "assets")
    wanted = Counter(
        {"Critical": "critical", "Non-critical": "low"}.get(row["app_u_application_criticality"]) for row in rows
    )
    assert Counter(asset["criticality"] for asset in assets) == wanted
    assert all(asset["memory_gb"] is None and asset["ip_addresses"] == [] for asset in assets)


async def test_two_tables_of_one_cmdb_are_one_estate() -> None:
    paths = real("servicenow_like/cmdb.csv", "servicenow_like/prallvms.csv")
    names = {
        row[key].strip().lower()
        for path, key in zip(paths, ("serv_name", "name"), strict=True)
        for row in records(path)
    }
    flow = await discovered(*paths)
    assert flow.outputs["asset_inventory"]["assets_total"] == len(names) == 110


async def test_cloud_migration_factory_intake() -> None:
    [path] = real("aws_cmf/server-list.csv")
    rows = records(path)
    flow = await discovered(path)
    assets = flow.rows("asset_inventory", "assets")
    assert [(asset["name"], asset["fqdn"], asset["application_name"]) for asset in assets] == [
        (row["server_name"], row["server_fqdn"], row["app_name"]) for row in rows
    ]
    assert [asset["custom_attributes"]["aws_accountid"] for asset in assets] == [row["aws_accountid"] for row in rows]
    assert flow.outputs["asset_inventory"]["by_operating_system"] == {
        "Windows Server 2016": 4,
        "Windows Server 2012 R2": 2,
        "Red Hat Enterprise Linux 7": 2,
    }
    # Server6 and Server8 are given the same full name; they stay two
    assert flow.outputs["asset_inventory"]["issues_summary"]["by_kind"]["shared_hostname"] == 1
