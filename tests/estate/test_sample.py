from __future__ import annotations

from pathlib import Path
from typing import Literal

import openpyxl
import pytest

from estate.sample import write_sample
from tests.estate.support import Discovery

Format = Literal["xlsx", "csv"]


@pytest.mark.parametrize("fmt", ["xlsx", "csv"])
def test_the_same_arguments_give_the_same_bytes(tmp_path: Path, fmt: Format) -> None:
    one, two, other = tmp_path / "1", tmp_path / "2", tmp_path / "3"
    write_sample(one, servers=60, seed=3, fmt=fmt)
    write_sample(two, servers=60, seed=3, fmt=fmt)
    write_sample(other, servers=60, seed=4, fmt=fmt)
    assert one.read_bytes() == two.read_bytes() != other.read_bytes()


def test_the_default_file_holds_inventory_and_connections(tmp_path: Path) -> None:
    write_sample(tmp_path / "s.xlsx")
    book = openpyxl.load_workbook(tmp_path / "s.xlsx", read_only=True)
    assert book.sheetnames == ["vInfo", "vCPU", "vMemory", "vDisk", "vNetwork", "vHost", "Dependencies"]
    virtual = {row[0] for row in book["vCPU"].iter_rows(min_row=2, values_only=True)}
    hosts = {row[0] for row in book["vHost"].iter_rows(min_row=2, values_only=True)}
    assert len(virtual) + len(hosts) == 500
    assert sum(1 for _ in book["vInfo"].iter_rows(min_row=2)) > len(virtual)
    assert sum(1 for row in book["Dependencies"].iter_rows(min_row=2, values_only=True) if row[0]) > 1000
    book.close()


@pytest.mark.parametrize(("fmt", "servers"), [("xlsx", 20), ("xlsx", 500), ("csv", 20), ("csv", 500)])
async def test_every_machine_of_a_sample_is_found_once(tmp_path: Path, fmt: Format, servers: int) -> None:
    path = tmp_path / f"s.{fmt}"
    write_sample(path, servers=servers, fmt=fmt)
    flow = Discovery(path, auto_approve_mappings=True, reference_date="2025-06-01")
    outputs = await flow.run_all()
    assert outputs["asset_inventory"]["assets_total"] == servers
    assert {"repeated_header", "missing_name", "totals_row"} <= outputs["data_cleansing"]["by_reason"].keys()
    assert {"minus_one_to_null", "placeholder_to_null"} <= outputs["data_cleansing"]["by_rule"].keys()
    assert outputs["tech_debt_assessment"]["findings_total"] > 0
    for asset in flow.rows("asset_inventory", "assets"):
        for field in ("cpu_cores", "memory_gb", "storage_gb"):
            assert asset[field] is None or asset[field] > 0


async def test_the_default_sample_has_every_fault_of_real_exports(tmp_path: Path) -> None:
    write_sample(tmp_path / "s.xlsx")
    outputs = await Discovery(tmp_path / "s.xlsx", auto_approve_mappings=True, reference_date="2025-06-01").run_all()
    inventory, dependencies = outputs["asset_inventory"], outputs["dependency_analysis"]
    assert {"conflict", "duplicate_rows", "missing_value"} <= inventory["issues_summary"]["by_kind"].keys()
    assert {"virtual_machine", "database", "server", "other"} <= inventory["by_type"].keys()
    assert {"production", "test", "development", "staging"} <= inventory["by_environment"].keys()
    assert dependencies["unknown_endpoints"] > 0
    assert dependencies["cycles"] > 0
    assert {"a machine talking to itself", "shared service by fan-in", "port 389: LDAP"} <= dependencies["noise"][
        "by_reason"
    ].keys()
    assert outputs["tech_debt_assessment"]["by_severity"].keys() >= {"critical", "high", "medium", "low"}


def test_a_sample_needs_some_servers(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least 20"):
        write_sample(tmp_path / "s.xlsx", servers=5)
