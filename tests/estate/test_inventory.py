from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from estate.cleansing import CleanTable, cleanse
from estate.cleansing import apply_mappings as pick
from estate.formats import kind_of
from estate.inventory import Inventory, build, canonical
from estate.mapping import decide, suggest
from estate.tables import Cell, Table

FLOW = UUID(int=7)
CONTRACT = [
    "asset_id", "name", "asset_type", "hostname", "fqdn", "ip_addresses", "operating_system", "os_version", "cpu_cores", "memory_gb",
    "storage_gb", "environment", "location", "criticality", "business_owner", "technical_owner", "application_name", "power_state",
    "cpu_utilization_percent", "memory_utilization_percent", "custom_attributes", "conflicts", "sources", "confidence",
]  # fmt: skip


def clean(file: str, columns: str, *rows: list[Cell], sheet: str | None = None) -> CleanTable:
    table = Table(
        file, sheet, columns.split(","), 1, [(number, row) for number, row in enumerate(rows, 2)], delimiter=","
    )
    table.kind, table.role = kind_of(table)
    decision = decide([table], suggest([table]))
    assert not decision.missing
    return cleanse(pick(table, decision.mappings), FLOW).table


def assets(*tables: CleanTable) -> dict[str, dict[str, Any]]:
    return {asset["name"]: asset for asset in build(tables, FLOW).assets}


def kinds(found: Inventory) -> list[str]:
    return [issue["kind"] for issue in found.issues if not issue["kind"].startswith("missing")]


def test_the_shape_is_that_of_the_contract() -> None:
    [asset] = build([clean("a.csv", "Server Name,OS", ["srv1", "RHEL 8"])], FLOW).assets
    assert list(asset) == CONTRACT
    assert asset["ip_addresses"] == []
    assert {name for name in CONTRACT if asset[name] is None} >= {
        "cpu_cores",
        "memory_gb",
        "storage_gb",
        "environment",
        "power_state",
    }


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("WEB01", "web01"),
        (" web01.Corp.Local ", "web01"),
        ("Oracle  Appliance5", "oracle appliance5"),
        ("vc7.0", "vc7.0"),
        ("10.0.0.1", "10.0.0.1"),
    ],
)
def test_one_key_per_machine(name: str, key: str) -> None:
    assert canonical(name)[0] == key


def test_case_domain_and_repeats_make_one_asset() -> None:
    found = build(
        [
            clean("a.csv", "Server Name,OS", ["web01", "RHEL 8"], ["WEB01.corp.local", "RHEL 8"], ["web01", "RHEL 8"]),
            clean("b.csv", "Hostname,Environment", ["Web01", "prod"]),
        ],
        FLOW,
    )
    [asset] = found.assets
    assert (asset["name"], asset["fqdn"], asset["environment"]) == ("web01", "web01.corp.local", "production")
    assert [(where["file"], where["row"]) for where in asset["sources"]] == [
        ("a.csv", 2),
        ("a.csv", 3),
        ("a.csv", 4),
        ("b.csv", 2),
    ]
    assert asset["conflicts"] == []
    assert kinds(found) == ["duplicate_rows"]


def test_the_same_input_gives_the_same_ids() -> None:
    table = clean("a.csv", "Server Name,OS", ["web01", "RHEL 8"])
    again = clean("other.csv", "Hostname,OS", ["WEB01", "RHEL 8"])
    assert build([table], FLOW).assets[0]["asset_id"] == build([again], FLOW).assets[0]["asset_id"]
    assert build([table], UUID(int=8)).assets[0]["asset_id"] != build([table], FLOW).assets[0]["asset_id"]


def test_sources_that_disagree_are_kept_side_by_side() -> None:
    found = build(
        [
            clean("a.csv", "Server Name,vCPU", ["web01", 4]),
            clean("b.csv", "Server Name,vCPU", ["web01", 8], ["web02", 2]),
        ],
        FLOW,
    )
    conflict = found.assets[0]["conflicts"][0]
    assert (conflict["field"], conflict["chosen"]) == ("cpu_cores", 4)
    assert [
        (value["value"], value["sources"][0]["file"], value["sources"][0]["row"]) for value in conflict["values"]
    ] == [
        (4, "a.csv", 2),
        (8, "b.csv", 2),
    ]
    [issue] = [issue for issue in found.issues if issue["kind"] == "conflict"]
    assert issue["asset_id"] == found.assets[0]["asset_id"]
    assert "4 (a.csv row 2) / 8 (b.csv row 2)" in issue["message"]


def test_rounding_and_vaguer_names_are_no_conflict() -> None:
    found = assets(
        clean(
            "a.csv",
            "Server Name,Memory MB,OS",
            ["web01", 4096, "Linux"],
            ["w1", 2048, "Microsoft Windows Server 2016 or later"],
        ),
        clean("b.csv", "Server Name,RAM GB,OS", ["web01", 4, "Ubuntu 22.04"], ["w1", 2, "Windows Server 2019"]),
    )
    assert [asset["conflicts"] for asset in found.values()] == [[], []]
    assert [(asset["operating_system"], asset["os_version"]) for asset in found.values()] == [
        ("Ubuntu", "22.04"),
        ("Windows Server", "2019"),
    ]


def test_different_systems_are_a_conflict() -> None:
    found = assets(
        clean("a.csv", "Server Name,OS", ["web01", "Debian 9"]),
        clean("b.csv", "Server Name,OS", ["web01", "Debian 10"]),
    )
    assert [(one["field"], one["chosen"]) for one in found["web01"]["conflicts"]] == [("os_version", "9")]


def test_a_host_name_in_one_table_is_the_name_in_another() -> None:
    found = build(
        [
            clean("a.csv", "VM Name,DNS Name,vCPU", ["Billing Server", "bill01.corp.local", 4]),
            clean("b.csv", "Hostname,Environment", ["BILL01", "prod"]),
        ],
        FLOW,
    )
    [asset] = found.assets
    assert (asset["name"], asset["hostname"], asset["environment"]) == ("Billing Server", "bill01", "production")
    assert asset["custom_attributes"]["also_known_as"] == ["BILL01", "bill01"]
    assert asset["confidence"] < 1


def test_a_host_name_given_to_two_machines_joins_neither() -> None:
    found = build([clean("a.csv", "server_name,server_fqdn", ["s6", "s6.x.local"], ["s8", "s6.x.local"])], FLOW)
    assert [asset["name"] for asset in found.assets] == ["s6", "s8"]
    assert kinds(found) == ["shared_hostname"]


def test_one_name_with_two_keys_of_the_source_is_two_machines() -> None:
    found = build(
        [
            clean(
                "a.csv", "Name,UUID,OS", ["jump", "u-1", "RHEL 8"], ["jump", "u-2", "RHEL 9"], ["JUMP", "u-1", "RHEL 8"]
            )
        ],
        FLOW,
    )
    assert [(asset["name"], asset["os_version"], len(asset["sources"])) for asset in found.assets] == [
        ("jump", "8", 2),
        ("jump", "9", 1),
    ]
    assert len({asset["asset_id"] for asset in found.assets}) == 2
    assert "duplicate_name" in kinds(found)


def test_one_key_with_two_names_is_only_suspected() -> None:
    found = build([clean("a.csv", "Name,UUID,OS", ["a", "u-1", "RHEL 8"], ["b", "u-1", "RHEL 8"])], FLOW)
    assert len(found.assets) == 2
    assert kinds(found) == ["possible_duplicate"]


def test_disks_are_summed_and_repeats_counted_once() -> None:
    vinfo = clean("i.csv", "VM,Powerstate,CPUs,Memory,Provisioned MiB", ["db1", "poweredOn", 4, 4096, 999999])
    vdisk = clean(
        "d.csv",
        "VM,Disk,Capacity MiB,Disk Mode",
        ["db1", "Hard disk 1", 102400, "p"],
        ["db1", "Hard disk 2", 51200, "p"],
        ["DB1.corp.local", "Hard disk 2", 51200, "p"],
    )
    asset = assets(vinfo, vdisk)["db1"]
    assert asset["memory_gb"] == 4
    # the provisioned size stands in vInfo where no total of the disks does; both are kept
    assert [(value["value"]) for value in asset["conflicts"][0]["values"]] == [976.56, 150]


def test_a_disk_of_unknown_size_makes_no_sum() -> None:
    found = build(
        [
            clean(
                "d.csv",
                "VM,Disk,Capacity MiB,Disk Mode",
                ["db1", "Hard disk 1", 102400, "p"],
                ["db1", "Hard disk 2", "N/A", "p"],
            )
        ],
        FLOW,
    )
    assert found.assets[0]["storage_gb"] is None
    assert kinds(found) == ["partial_sum"]


@pytest.mark.parametrize(
    ("columns", "row", "kind"),
    [
        ("VM,Powerstate,CPUs,Memory,Provisioned MiB", ["a", "poweredOn", 1, 1024, 5], "virtual_machine"),
        ("VM,Powerstate,Template,CPUs,Memory,Provisioned MiB", ["a", "poweredOff", True, 1, 1024, 5], "other"),
        ("VM,Powerstate,CPUs,Memory,Provisioned MiB", ["vCLS-1234", "poweredOn", 1, 128, 5], "appliance"),
        ("Host,# Cores,# Memory,CPU Model", ["esx1", 32, 262144, "x"], "server"),
        ("Server Name,OS", ["db-sql-01", "RHEL 8"], "server"),
        ("Server Name,server_tier", ["a", "db"], "database"),
        ("Name,Asset Type", ["a", "Load Balancer"], "load_balancer"),
        ("Name,Asset Type", ["a", "Virtual Machine"], "virtual_machine"),
        ("Name,MAC Address,OS", ["a", "00:50:56:8b:74:7a", "RHEL 8"], "virtual_machine"),
        ("VM Name,OS", ["a", "RHEL 8"], "virtual_machine"),
        ("Name,Environment", ["a", "prod"], "other"),
    ],
)
def test_types_follow_from_facts(columns: str, row: list[Cell], kind: str) -> None:
    [asset] = build([clean("a.csv", columns, row)], FLOW).assets
    assert asset["asset_type"] == kind
    assert asset["custom_attributes"]["classification"]["evidence"]


def test_what_nobody_knows_is_told_once_and_what_some_lack_one_by_one() -> None:
    found = build([clean("a.csv", "Server Name,Environment,OS", ["a", "prod", "RHEL 8"], ["b", None, "RHEL 8"])], FLOW)
    assert [(issue["kind"], issue["message"]) for issue in found.issues if issue["field"] == "environment"] == [
        ("missing_value", "b: environment is unknown.")
    ]
    assert [issue["kind"] for issue in found.issues if issue["field"] == "memory_gb"] == ["missing_field"]


def test_an_estate_of_connections_gets_its_machines_from_their_ends() -> None:
    found = build([clean("c.csv", "Source,Destination,Port", ["a", "B.corp.local", 443], ["A", "c", 80])], FLOW)
    assert [(asset["name"], asset["confidence"]) for asset in found.assets] == [("a", 0.5), ("B", 0.5), ("c", 0.5)]
    assert "seen_only_in_connections" in kinds(found)


def test_figures() -> None:
    found = build(
        [clean("a.csv", "Server Name,vCPU,Environment", ["a", 4, "prod"], ["b", None, "dev"], ["c", 2, None])], FLOW
    ).summary
    assert found["assets"] == 3
    assert found["by_environment"] == {"production": 1, "development": 1, "unknown": 1}
    assert found["totals"]["cpu_cores"] == {"sum": 6, "by_type": {"server": 6}, "known": 2, "unknown": 1}
    assert found["completeness"]["cpu_cores"] == pytest.approx(0.6667)
