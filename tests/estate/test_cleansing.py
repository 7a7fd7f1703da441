from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from estate.cleansing import CleanTable, MappedTable, cleanse
from estate.formats import CONNECTIONS, MACHINES
from estate.tables import Cell
from estate.vocabulary import parse_os, split_fqdn

FLOW = UUID(int=1)


def mapped(
    columns: list[str], *rows: list[Cell], role: str = MACHINES, units: dict[str, str] | None = None
) -> MappedTable:
    return MappedTable(
        "e.csv",
        None,
        "table",
        role,
        [
            {
                "field": name.upper(),
                "target": name,
                "unit": (units or {}).get(name),
                "number_format": None,
                "rank": 0,
                "confidence": 1.0,
            }
            for name in columns
        ],
        [(number, row) for number, row in enumerate(rows, 2)],
    )


def one(target: str, value: Cell, unit: str | None = None) -> tuple[Any, list[str], int]:
    """(clean value, rules applied, issues raised) of one cell."""
    found = cleanse(mapped(["name", target], ["srv1", value], units={target: unit} if unit else None), FLOW)
    stated = found.table.records[0]["values"].get(target)
    return (stated[0][0] if stated else None), [change["rule"] for change in found.changes], len(found.issues)


@pytest.mark.parametrize(
    ("target", "value", "unit", "clean", "rules", "issues"),
    [
        ("memory_gb", 4096, "MiB", 4, ["mib_to_gib"], 0),
        ("memory_gb", "6144", "MB", 6, ["mb_to_gib"], 0),
        ("memory_gb", 16, "GiB", 16, [], 0),
        ("memory_gb", "16 GB", "in value", 16, ["gb_to_gib"], 0),
        ("memory_gb", "512 MiB", "in value", 0.5, ["mib_to_gib"], 0),
        ("storage_gb", 2, "TB", 2048, ["tb_to_gib"], 0),
        ("storage_gb", 1073741824, "B", 1, ["b_to_gib"], 0),
        ("memory_gb", 300, None, None, ["unit_unknown_to_null"], 1),
        ("memory_gb", -1, "MiB", None, ["minus_one_to_null"], 0),
        ("memory_gb", 0, "MiB", None, ["zero_size_to_null"], 0),
        ("memory_gb", -5, "MiB", None, ["negative_to_null"], 1),
        ("memory_gb", 99999, "GiB", 99999, [], 1),
        ("memory_gb", "N/A", "MiB", None, ["placeholder_to_null"], 0),
        ("memory_gb", "lots", "MiB", None, ["not_a_number_to_null"], 1),
        ("cpu_cores", "4", None, 4, [], 0),
        ("cpu_cores", 2.0, None, 2, [], 0),
        ("cpu_cores", 2.5, None, None, ["not_whole_to_null"], 1),
        ("cpu_cores", "-1", None, None, ["minus_one_to_null"], 0),
        ("cpu_utilization_percent", "12.5%", "%", 12.5, ["number_format"], 0),
        ("cpu_utilization_percent", 0, "%", 0, [], 0),
        ("cpu_utilization_percent", 180, "%", None, ["out_of_range_to_null"], 1),
        ("ip_addresses", "[10.0.0.1,2001:DB8::1];", None, ["10.0.0.1", "2001:db8::1"], ["address_list"], 0),
        ("ip_addresses", "[];", None, None, ["placeholder_to_null"], 0),
        ("ip_addresses", "10.0.0.1", None, ["10.0.0.1"], [], 0),
        ("ip_addresses", "10.0.0.1/24; 10.0.0.1", None, ["10.0.0.1"], ["address_list"], 0),
        ("ip_addresses", "0.0.0.0", None, None, ["no_address_to_null"], 0),
        ("ip_addresses", "10.0.0.1, 10.0.0.999", None, ["10.0.0.1"], ["address_list"], 1),
        ("mac_addresses", "[00-50-56-8B-74-7A];", None, ["00:50:56:8b:74:7a"], ["address_list"], 0),
        ("environment", "PROD ", None, "production", ["environment_name"], 0),
        ("environment", "Prod - Europe", None, "production", ["environment_name"], 0),
        ("environment", "uat", None, "staging", ["environment_name"], 0),
        ("environment", "Shared ", None, "Shared", ["trim"], 0),
        ("environment", "TBD", None, None, ["placeholder_to_null"], 0),
        ("criticality", "Mission Critical", None, "critical", ["criticality_name"], 0),
        ("criticality", "Non-critical", None, "low", ["criticality_name"], 0),
        ("criticality", "Application", None, None, ["unknown_criticality_to_null"], 1),
        ("power_state", "poweredOn", None, "on", ["power_state_name"], 0),
        ("power_state", "VM deallocated", None, "off", ["power_state_name"], 0),
        ("power_state", "paused", None, "suspended", ["power_state_name"], 0),
        ("power_state", "green", None, None, ["unknown_power_state_to_null"], 1),
        ("asset_type", "cmdb_ci_netgear", None, "network_device", ["asset_type_name"], 0),
        ("business_owner", "  Ann  Lee ", None, "Ann Lee", ["trim"], 0),
        ("business_owner", "unknown", None, None, ["placeholder_to_null"], 0),
    ],
)
def test_values(  # noqa: PLR0917 - a row of the table above
    target: str, value: Cell, unit: str | None, clean: Any, rules: list[str], issues: int
) -> None:
    assert one(target, value, unit) == (clean, rules, issues)


def test_a_change_says_where_what_and_why() -> None:
    found = cleanse(mapped(["name", "memory_gb"], ["srv1", 4096], units={"memory_gb": "MiB"}), FLOW)
    assert found.changes == [
        {
            "source": {"file": "e.csv", "sheet": None, "row": 2},
            "field": "MEMORY_GB",
            "target": "memory_gb",
            "old": 4096,
            "new": 4,
            "rule": "mib_to_gib",
        }
    ]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (None, "missing_name"),
        ("N/A", "missing_name"),
        ("Total", "totals_row"),
        ("Grand Total:", "totals_row"),
        ("# end", "comment"),
    ],
)
def test_rows_that_name_no_machine_are_kept_apart(name: Cell, reason: str) -> None:
    cells: list[Cell] = [name, 4 if reason != "comment" else None]
    found = cleanse(mapped(["name", "cpu_cores"], cells, ["srv1", 2]), FLOW)
    assert [(row["reason"], row["source"]["row"]) for row in found.rejected] == [(reason, 2)]
    assert found.rejected[0]["values"] == {
        field: cell for field, cell in zip(("NAME", "CPU_CORES"), cells, strict=True) if cell is not None
    }
    assert [record["row"] for record in found.table.records] == [3]


def test_attributes_keep_their_kind_and_lose_placeholders() -> None:
    rows: list[list[Cell]] = [["a", "0042", -1, " x "], ["b", "N/A", 7, "-1"], ["c", True, 1.5, "y"]]
    found = cleanse(mapped(["name", "custom_attributes", "custom_attributes", "custom_attributes"], *rows), FLOW)
    assert [record["extra"] for record in found.table.records] == [
        ["0042", None, "x"],
        [None, 7, None],
        [True, 1.5, "y"],
    ]
    assert sorted(change["rule"] for change in found.changes) == [
        "minus_one_to_null",
        "minus_one_to_null",
        "placeholder_to_null",
        "trim",
    ]


def test_an_overlong_attribute_is_cut_and_told() -> None:
    found = cleanse(mapped(["name", "custom_attributes"], ["a", "x" * 5000]), FLOW)
    assert len(found.table.records[0]["extra"][0]) == 2000
    assert found.changes[0]["rule"] == "cut_to_2000_characters"
    assert len(found.issues) == 1


def test_many_doubts_of_a_column_are_summed_up() -> None:
    rows: list[list[Cell]] = [[f"srv{n}", "odd"] for n in range(700)]
    found = cleanse(mapped(["name", "criticality"], *rows), FLOW)
    assert len(found.issues) == 501
    assert "200 more" in found.issues[-1]["message"]


def test_connections_need_both_ends() -> None:
    table = mapped(
        ["source_name", "target_name", "port"],
        ["a", "b", "443/tcp"],
        ["a", None, 80],
        [None, "b", 80],
        ["a", "b", 0],
        role=CONNECTIONS,
    )
    found = cleanse(table, FLOW)
    assert [row["reason"] for row in found.rejected] == ["missing_target", "missing_source"]
    assert found.table.records[0]["values"]["port"] == [[443, 2]]
    assert found.table.records[0]["values"]["protocol"] == [["tcp", 2]]
    assert "port" not in found.table.records[1]["values"]


def test_a_clean_table_survives_being_kept() -> None:
    clean = cleanse(mapped(["name", "ip_addresses", "custom_attributes"], ["a", "10.0.0.1", "x"]), FLOW).table
    assert CleanTable.load(clean.dump()) == clean


@pytest.mark.parametrize(
    ("name", "version", "product", "clean_version", "family"),
    [
        ("Microsoft Windows Server 2016 or later (64-bit)", None, "Windows Server", "2016 or later", "windows"),
        ("Windows 2008 R2 Enterprise", None, "Windows Server", "2008 R2", "windows"),
        ("windows", "windows server 2012 R2", "Windows Server", "2012 R2", "windows"),
        ("linux", "Red Hat Enterprise Linux 7", "Red Hat Enterprise Linux", "7", "linux"),
        ("linux", "redhat", "Red Hat Enterprise Linux", None, "linux"),
        ("Ubuntu", "22.04", "Ubuntu", "22.04", "linux"),
        ("Oracle Linux 4/5/6 (64-bit)", None, "Oracle Linux", "4/5/6", "linux"),
        ("Linux Red Hat", None, "Red Hat Enterprise Linux", None, "linux"),
        ("SUSE Linux Enterprise Server 12.5", None, "SUSE Linux Enterprise Server", "12 SP5", "linux"),
        ("CentOS Stream 8", None, "CentOS Stream", "8", "linux"),
        ("VMware ESXi 6.7.0 build-17700523", None, "VMware ESXi", "6.7.0", "hypervisor"),
        ("Solaris 10", None, "Solaris", "10", "unix"),
        ("Microsoft Windows 7 Enterprise", None, "Windows", "7", "windows"),
    ],
)
def test_operating_systems(
    name: str, version: str | None, product: str, clean_version: str | None, family: str
) -> None:
    found = cleanse(mapped(["name", "operating_system", "os_version"], ["srv1", name, version]), FLOW)
    system = found.table.records[0]["values"]["operating_system"][0][0]
    assert (system["operating_system"], system["os_version"], system["os_family"]) == (product, clean_version, family)
    assert found.issues == []


def test_an_unknown_system_is_kept_as_it_came_and_doubted() -> None:
    found = cleanse(mapped(["name", "operating_system"], ["srv1", "TempleOS 5"]), FLOW)
    assert found.table.records[0]["values"]["operating_system"][0][0]["operating_system"] == "TempleOS 5"
    assert [row["kind"] for row in found.issues] == ["doubtful_value"]


def test_what_is_a_domain_and_what_is_not() -> None:
    assert split_fqdn("WEB01.corp.local") == ("WEB01", "corp.local")
    assert [split_fqdn(name) for name in ("Oracle-12.1", "Contoso-Vcenter7.0", "web01.old", "10.0.0.1", "web01")] == [
        None
    ] * 5


def test_bits_and_edition() -> None:
    system = parse_os("Microsoft Windows Server 2003 Standard (32-bit)")
    assert system is not None
    assert (system.bits, system.edition, system.version) == (32, "Standard", "2003")
