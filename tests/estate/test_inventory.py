from __future__ import annotations

from array import array
from typing import Any
from uuid import UUID, uuid5

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from estate.assets import Asset
from estate.clean import CleanColumn, CleanTable, Use
from estate.cleansing import cleanse
from estate.inventory import Inventory, build, canonical
from estate.roles import (
    APPLICATIONS,
    CONNECTIONS,
    DETAIL,
    MACHINES,
    PERFORMANCE,
    SOFTWARE,
    TAGS,
)
from estate.tables import Column, Table
from estate.vocabulary import parse_os

FLOW = UUID(int=7)
CONTRACT = [
    "asset_id", "name", "asset_type", "hostname", "fqdn", "ip_addresses", "operating_system", "os_version", "cpu_cores", "memory_gb",
    "storage_gb", "environment", "location", "criticality", "business_owner", "technical_owner", "application_name", "power_state",
    "cpu_utilization_percent", "memory_utilization_percent", "custom_attributes", "conflicts", "sources", "confidence",
]  # fmt: skip
LISTS = {
    "ip_addresses", "mac_addresses", "software", "technologies", "depends_on", "hosts", "databases",
    "source_ip", "target_ip",
}  # fmt: skip


def system(text: str) -> dict[str, Any]:
    """An operating system as cleansing hands it over."""
    found = parse_os(text)
    assert found is not None
    return {
        "operating_system": found.product, "os_version": found.version, "os_family": found.family,
        "os_edition": found.edition, "os_bits": found.bits, "os_generic": found.generic or None,
    }  # fmt: skip


def _clean(target: str, value: Any) -> Any:
    if value is None:
        return None
    if target == "operating_system":
        return system(value)
    if target in LISTS and isinstance(value, str):
        return value.split(";")
    return value


def clean(
    file: str,
    columns: str,
    *rows: list[Any],
    sheet: str | None = None,
    kind: str = "table",
    role: str = MACHINES,
    confidence: float = 1.0,
) -> CleanTable:
    """A clean table. `columns`: `Header=target, ...` (a name alone is both); without a target kept as an attribute."""
    facts: list[CleanColumn] = []
    attributes: list[CleanColumn] = []
    ranks: dict[str, int] = {}
    for at, column in enumerate(columns.split(",")):
        header, _, target = (part.strip() for part in column.partition("="))
        target = "custom_attributes" if target == "*" else target or header
        rank = ranks[target] = ranks.get(target, -1) + 1
        values: list[Any] = [None]
        codes = array("I")
        for row in rows:
            value = _clean(target, row[at])
            if value not in values:
                values.append(value)
            codes.append(values.index(value))
        made = CleanColumn(Use(header, target, rank=rank, confidence=confidence), values, codes)
        (attributes if target == "custom_attributes" else facts).append(made)
    return CleanTable(file, sheet, kind, role, array("I", range(2, 2 + len(rows))), facts, attributes)


class Built:
    """An inventory with the assets it handed out."""

    def __init__(self, *tables: CleanTable, flow: UUID = FLOW) -> None:
        self.assets: list[Asset] = []
        self.found: Inventory = build(tables, flow, self.assets.append)
        self.issues = self.found.issues
        self.reviews = self.found.reviews
        self.summary = self.found.summary

    def __getitem__(self, name: str) -> Asset:
        [asset] = [asset for asset in self.assets if asset.name == name]
        return asset

    @property
    def names(self) -> list[str]:
        """The names of the assets, in order."""
        return [asset.name for asset in self.assets]

    @property
    def kinds(self) -> list[str]:
        """The kinds of the issues, without those of what nobody said."""
        return [issue["kind"] for issue in self.issues if not issue["kind"].startswith("missing")]


def conflicts(asset: Asset) -> dict[str, list[Any]]:
    """The values by field, the chosen one first."""
    return {one["field"]: [value["value"] for value in one["values"]] for one in asset.conflicts}


def test_the_shape_is_that_of_the_contract() -> None:
    [asset] = Built(clean("a.csv", "Server Name=name,OS=operating_system", ["srv1", "RHEL 8"])).assets
    document = msgspec.to_builtins(asset)
    assert set(CONTRACT) <= document.keys()
    assert document["ip_addresses"] == []
    assert {name for name in CONTRACT if document[name] is None} >= {
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
    found = Built(
        clean(
            "a.csv",
            "Server Name=name,OS=operating_system",
            ["web01", "RHEL 8"],
            ["WEB01.corp.local", "RHEL 8"],
            ["web01", "RHEL 8"],
        ),
        clean("b.csv", "Hostname=hostname,Environment=environment", ["Web01", "production"]),
    )
    [asset] = found.assets
    assert (asset.name, asset.fqdn, asset.environment) == ("web01", "web01.corp.local", "production")
    assert [(where["file"], where["row"]) for where in asset.sources] == [
        ("a.csv", 2),
        ("a.csv", 3),
        ("a.csv", 4),
        ("b.csv", 2),
    ]
    assert asset.conflicts == []
    assert asset.matched_by == []
    assert found.kinds == ["duplicate_rows"]


def test_the_same_input_gives_the_same_ids() -> None:
    table = clean("a.csv", "Server Name=name", ["web01"])
    again = clean("other.csv", "Hostname=hostname", ["WEB01"])
    assert Built(table).assets[0].asset_id == Built(again).assets[0].asset_id
    assert Built(table, flow=UUID(int=8)).assets[0].asset_id != Built(table).assets[0].asset_id
    assert Built(table).assets[0].asset_id == str(uuid5(FLOW, "asset|web01"))
    assert {
        UUID(asset.asset_id).version for asset in Built(clean("c.csv", "name", *[[f"s{n}"] for n in range(99)])).assets
    } == {5}


@given(st.uuids(), st.text(min_size=1, max_size=20).filter(str.strip))
def test_every_id_is_a_uuid_of_the_fifth_version(flow: UUID, name: str) -> None:
    [asset] = Built(clean("a.csv", "name", [name]), flow=flow).assets
    assert asset.asset_id == str(uuid5(flow, f"asset|{canonical(name)[0]}"))


def test_the_order_of_the_files_makes_no_difference() -> None:
    tables = [
        clean("b.csv", "name,uuid,cpu_cores", ["jump", "u-1", 4], ["jump", "u-2", 8], ["web", "u-3", 2]),
        clean("a.csv", "name,ip_addresses,cpu_cores", ["web", "10.0.0.1", 4], ["db", "10.0.0.2", 1]),
        clean("c.csv", "name,mac_addresses", ["other", "00:50:56:00:00:01"], ["db", "00:50:56:00:00:02"]),
    ]
    one, two = Built(*tables), Built(*reversed(tables))
    assert [msgspec.to_builtins(asset) for asset in one.assets] == [msgspec.to_builtins(asset) for asset in two.assets]
    assert (one.issues, one.reviews, one.summary) == (two.issues, two.reviews, two.summary)


def test_sources_that_disagree_are_kept_side_by_side() -> None:
    found = Built(
        clean("a.csv", "Server Name=name,vCPU=cpu_cores", ["web01", 4]),
        clean("b.csv", "Server Name=name,vCPU=cpu_cores", ["web01", 8], ["web02", 2]),
    )
    conflict = found.assets[0].conflicts[0]
    assert (conflict["field"], conflict["chosen"]) == ("cpu_cores", 4)
    assert [
        (value["value"], value["sources"][0]["file"], value["sources"][0]["row"]) for value in conflict["values"]
    ] == [
        (4, "a.csv", 2),
        (8, "b.csv", 2),
    ]
    [issue] = [issue for issue in found.issues if issue["kind"] == "conflict"]
    assert issue["asset_id"] == found.assets[0].asset_id
    assert "4 (a.csv row 2) / 8 (b.csv row 2)" in issue["message"]


def test_rounding_and_vaguer_names_are_no_conflict() -> None:
    found = Built(
        clean(
            "a.csv",
            "name,memory_gb,operating_system",
            ["web01", 4, "Linux"],
            ["w1", 2, "Microsoft Windows Server 2016 or later"],
        ),
        clean(
            "b.csv",
            "name,memory_gb,operating_system",
            ["web01", 4.004, "Ubuntu 22.04"],
            ["w1", 2, "Windows Server 2019"],
        ),
    )
    assert [asset.conflicts for asset in found.assets] == [[], []]
    assert [(asset.operating_system, asset.os_version) for asset in found.assets] == [
        ("Ubuntu", "22.04"),
        ("Windows Server", "2019"),
    ]


def test_different_systems_are_a_conflict() -> None:
    found = Built(
        clean("a.csv", "name,operating_system", ["web01", "Debian 9"]),
        clean("b.csv", "name,operating_system", ["web01", "Debian 10"]),
    )
    assert [(one["field"], one["chosen"]) for one in found["web01"].conflicts] == [("os_version", "9")]


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("rvtools.vinfo", "rvtools.vinfo is measured by the hypervisor and wins over people's lists"),
        ("azure_migrate.discovery", "azure_migrate.discovery is collected by a discovery tool and wins over"),
    ],
)
def test_what_was_measured_wins_over_what_was_written_down(kind: str, why: str) -> None:
    found = Built(
        clean("a.csv", "name,cpu_cores,environment", ["web01", 4, "test"]),
        clean("b.csv", "name,cpu_cores,environment", ["web01", 8, "production"], kind=kind),
    )
    asset = found["web01"]
    assert (asset.cpu_cores, asset.environment) == (8, "test")
    assert conflicts(asset) == {"cpu_cores": [8, 4], "environment": ["test", "production"]}
    reasons = {one["field"]: one["why"] for one in asset.conflicts}
    assert reasons["cpu_cores"].startswith(why)
    assert "kept by people" in reasons["environment"]


def test_among_equals_the_newer_wins() -> None:
    found = Built(
        clean("a.csv", "name,cpu_cores,last_seen", ["web01", 4, "2024-01-01T00:00:00+00:00"]),
        clean("b.csv", "name,cpu_cores,last_seen", ["web01", 8, "2025-01-01"]),
        clean("c.csv", "name,cpu_cores", ["web01", 2]),
    )
    assert conflicts(found["web01"]) == {"cpu_cores": [8, 4, 2]}
    assert found["web01"].conflicts[0]["why"] == "row 2 of b.csv was seen last"
    assert found["web01"].custom_attributes["last_seen"] == "2025-01-01"


def test_two_columns_that_disagree_are_a_conflict_of_one_row() -> None:
    found = Built(clean("a.csv", "name,Owner=business_owner,Contact=business_owner", ["web01", "Ann", "Bob"]))
    assert conflicts(found["web01"]) == {"business_owner": ["Ann", "Bob"]}
    assert found["web01"].conflicts[0]["why"] == "the column Owner comes before Contact in a.csv"


def test_disks_are_summed_and_repeats_counted_once() -> None:
    vinfo = clean(
        "i.csv",
        "VM=name,CPUs=cpu_cores,Memory=memory_gb,Provisioned MiB=storage_gb",
        ["db1", 4, 4, 976.56],
        kind="rvtools.vinfo",
    )
    vdisk = clean(
        "d.csv",
        "VM=name,Disk=detail_key,Capacity MiB=storage_gb",
        ["db1", "Hard disk 1", 100],
        ["db1", "Hard disk 2", 50],
        ["DB1.corp.local", "Hard disk 2", 50],
        kind="rvtools.vdisk",
        role=DETAIL,
    )
    asset = Built(vinfo, vdisk)["db1"]
    assert asset.memory_gb == 4
    # the provisioned size stands in vInfo where no total of the disks does; both are kept
    assert [(value["value"]) for value in asset.conflicts[0]["values"]] == [976.56, 150]
    assert asset.conflicts[0]["values"][1]["sources"][0]["field"] == "sum of 2 disks"


def test_a_disk_of_unknown_size_makes_no_sum() -> None:
    found = Built(
        clean(
            "d.csv",
            "VM=name,Disk=detail_key,Capacity MiB=storage_gb",
            ["db1", "Hard disk 1", 100],
            ["db1", "Hard disk 2", None],
            role=DETAIL,
        )
    )
    assert found.assets[0].storage_gb is None
    assert found.kinds == ["partial_sum"]


def test_columns_of_numbered_disks_are_one_sum() -> None:
    found = Built(
        clean(
            "a.csv",
            "name,Disk 1 size=storage_gb,Disk 2 size=storage_gb,Disk 3 size=storage_gb",
            ["a", 100, 50, None],
            ["b", 10, None, None],
            ["c", None, None, None],
        )
    )
    assert [asset.storage_gb for asset in found.assets] == [150, 10, None]
    assert [asset.conflicts for asset in found.assets] == [[], [], []]


def test_attributes_that_differ_from_disk_to_disk_are_a_list() -> None:
    found = Built(
        clean("a.csv", "name,Note=*", ["db1", "keep"]),
        clean("d.csv", "name,detail_key,Mode=*,Bus=*", ["db1", "1", "thin", 0], ["db1", "2", "thick", 0], role=DETAIL),
    )
    assert found["db1"].custom_attributes == {"Note": "keep", "Bus": 0, "Mode": ["thin", "thick"]}
    assert found["db1"].conflicts == []


def test_what_nobody_knows_is_told_once_and_what_some_lack_one_by_one() -> None:
    found = Built(
        clean("a.csv", "name,environment,operating_system", ["a", "production", "RHEL 8"], ["b", None, "RHEL 8"])
    )
    assert [(issue["kind"], issue["message"]) for issue in found.issues if issue["field"] == "environment"] == [
        ("missing_value", "b: environment is unknown.")
    ]
    assert [issue["kind"] for issue in found.issues if issue["field"] == "memory_gb"] == ["missing_field"]


def test_an_estate_of_connections_gets_its_machines_from_their_ends() -> None:
    found = Built(
        clean("c.csv", "source_name,target_name,port", ["a", "B.corp.local", 443], ["A", "c", 80], role=CONNECTIONS)
    )
    assert [(asset.name, asset.confidence) for asset in found.assets] == [("a", 0.5), ("B", 0.5), ("c", 0.5)]
    assert "seen_only_in_connections" in found.kinds
    assert (found.summary["rows"], found.summary["rows_in_assets"]) == (2, 2)
    assert [[where["row"] for where in asset.sources] for asset in found.assets] == [[2, 3], [2], [3]]


def test_applications_that_depend_on_each_other_are_found_at_the_ends_too() -> None:
    found = Built(
        clean(
            "c.csv",
            "source_application,target_application,target_name,target_ip",
            ["Shop", "Billing", None, None],
            ["Shop", "Database", "db1", "10.0.0.1"],
            role=CONNECTIONS,
        )
    )
    assert [(asset.name, asset.asset_type, asset.application_name) for asset in found.assets] == [
        ("Shop", "application", None),
        ("Billing", "application", None),
        ("db1", "server", "Database"),
    ]
    assert found["db1"].ip_addresses == ["10.0.0.1"]


def test_figures() -> None:
    found = Built(
        clean(
            "a.csv",
            "Server Name=name,vCPU=cpu_cores,Environment=environment",
            ["a", 4, "production"],
            ["b", None, "development"],
            ["c", 2, None],
        )
    ).summary
    assert found["assets"] == 3
    assert found["by_environment"] == {"production": 1, "development": 1, "unknown": 1}
    assert found["totals"]["cpu_cores"] == {
        "to_move": {"sum": 6, "known": 2, "unknown": 1}, "not_moved": {},
        "by_type": {"server": 6}, "sum": 6, "known": 2, "unknown": 1,
    }  # fmt: skip
    assert found["completeness"]["cpu_cores"] == pytest.approx(0.6667)


# --- applications -----------------------------------------------------------------------------------------------


def test_an_application_is_an_asset_and_never_the_machine_of_its_name() -> None:
    found = Built(
        clean("m.csv", "Server Name=name,application_name", ["billing", "Shop"]),
        clean(
            "p.csv",
            "name,business_owner,strategy,users_count,technologies,hosts,depends_on",
            ["Billing", "Ann", "rehost", 12, "Java 8;Tomcat 9", "billing;db1", "Shop"],
            ["Shop", "Bob", None, None, None, None, None],
            [" billing ", "Ann", None, None, None, None, None],
            role=APPLICATIONS,
            kind="konveyor.applications",
        ),
    )
    assert [(asset.name, asset.asset_type) for asset in found.assets] == [
        ("billing", "server"),
        ("Billing", "application"),
        ("Shop", "application"),
    ]
    application = found["Billing"]
    assert [where["row"] for where in application.sources] == [2, 4]
    assert application.custom_attributes == {
        "strategy": "rehost",
        "users_count": 12,
        "hosts": ["billing", "db1"],
        "depends_on": ["Shop"],
        "technologies": ["Java 8", "Tomcat 9"],
    }
    assert [(one["product"], one["version"]) for one in application.software][1] == ("Apache Tomcat", "9")
    assert application.software[0]["source"] == {"file": "p.csv", "sheet": None, "row": 2}
    assert found.kinds == ["duplicate_rows"]


def test_rows_of_a_cmdb_that_are_applications_join_those_of_a_portfolio() -> None:
    found = Built(
        clean(
            "cmdb.csv",
            "name,asset_type,ip_addresses",
            ["crm", "application", "10.0.0.9"],
            ["crm", "server", "10.0.0.9"],
            ["crmdb", "database", "10.0.0.8"],
        ),
        clean("p.csv", "name,business_owner", ["CRM", "Ann"], role=APPLICATIONS),
    )
    assert [(asset.name, asset.asset_type, asset.business_owner) for asset in found.assets] == [
        ("crm", "application", "Ann"),
        ("crm", "server", None),
        ("crmdb", "database", None),
    ]
    assert len({asset.asset_id for asset in found.assets}) == 3


def test_nobody_expects_an_application_to_have_processors() -> None:
    found = Built(
        clean("a.csv", "name,cpu_cores", ["m", 4]), clean("p.csv", "name,environment", ["App", None], role=APPLICATIONS)
    )
    assert found.summary["completeness"]["cpu_cores"] == 1
    assert found.summary["totals"]["cpu_cores"]["unknown"] == 0
    assert found.summary["by_power_state"] == {"unknown": 1}
    [issue] = [issue for issue in found.issues if issue["field"] == "environment"]
    assert issue["message"].startswith("environment is unknown for all 2 assets")


# --- what is said beside the lists ------------------------------------------------------------------------------


def test_measurements_go_to_their_machine_by_id_and_by_name() -> None:
    found = Built(
        clean("a.csv", "name,external_id", ["web01", "m-1"], ["web02", "m-2"], kind="google_migration_center.vminfo"),
        clean(
            "p.csv",
            "external_id,measured_at,cpu_utilization_percent",
            ["m-1", "2025-06-01T00:00:00", 10],
            ["m-1", "2025-06-01T01:00:00", 30],
            ["m-9", "2025-06-01T00:00:00", 99],
            kind="google_migration_center.perfinfo",
            role=PERFORMANCE,
        ),
        clean(
            "q.csv", "name,measured_at,cpu_utilization_percent", ["WEB02.corp.local", "2025-06-01", 7], role=PERFORMANCE
        ),
    )
    assert found["web01"].cpu_utilization_percent == 20
    assert found["web01"].utilization["cpu_percent"]["samples"] == 2
    assert found["web02"].cpu_utilization_percent == 7
    assert found["web01"].rows == 3
    assert [(where["file"], where["row"]) for where in found["web01"].sources] == [
        ("a.csv", 2),
        ("p.csv", 2),
        ("p.csv", 3),
    ]
    [orphan] = [issue for issue in found.issues if issue["kind"] == "orphan_row"]
    assert orphan["message"].startswith("p.csv: 1 of 3 rows fit no asset")
    assert found.summary["rows_by_role"]["performance"] == {
        "read": 4,
        "in_assets": 3,
        "orphan": 1,
        "without_machine": 0,
    }


def test_what_lists_say_of_utilisation_is_kept_and_added_up() -> None:
    found = Built(
        clean(
            "a.csv",
            "name,cpu_utilization_percent,cpu_utilization_p95_percent,Reads=disk_iops,Writes=disk_iops",
            ["web01", 12, 40, 100, 50],
            ["web02", None, None, 100, None],
        )
    )
    assert found["web01"].utilization == {"cpu_percent": {"average": 12, "p95": 40}, "disk_iops": {"average": 150}}
    assert found["web01"].cpu_utilization_percent == 12
    assert found["web02"].utilization == {}


def test_products_and_tags_go_to_their_machine() -> None:
    found = Built(
        clean("a.csv", "name,environment,Team=*", ["web01", None, "red"], ["web02", "production", None]),
        clean(
            "s.csv",
            "name,software,software_version,software_vendor",
            ["WEB01", "PostgreSQL", "12.4", None],
            ["web01", "House made tool", "3", "Us"],
            ["nobody", "Nginx", None, None],
            [None, "Oracle Database", None, None],
            role=SOFTWARE,
        ),
        clean(
            "t.csv",
            "name,tag_key,tag_value",
            ["web01", "Environment", "prod"],
            ["web01", "team", "blue"],
            ["web02", "env", "test"],
            role=TAGS,
        ),
    )
    asset = found["web01"]
    assert [(one["product"], one["version"], one["vendor"]) for one in asset.software][1] == (
        "House made tool",
        "3",
        "Us",
    )
    assert (asset.software[0]["product"], asset.software[0]["version"]) == ("PostgreSQL", "12.4")
    assert asset.environment == "production"
    assert asset.custom_attributes == {"Team": "red", "Environment": "prod"}
    assert conflicts(asset) == {"custom_attributes.team": ["blue"]}
    assert conflicts(found["web02"]) == {"environment": ["production", "test"]}
    assert found.summary["rows_by_role"]["software"] == {"read": 4, "in_assets": 2, "orphan": 1, "without_machine": 1}
    assert found.summary["rows"] == 9
    assert found.summary["rows_in_assets"] + found.summary["orphan_rows"] + found.summary["rows_without_machine"] == 9


def test_an_estate_of_measurements_alone_has_machines() -> None:
    found = Built(
        clean(
            "p.csv",
            "name,cpu_utilization_percent,cpu_cores",
            ["a", 5, 2],
            ["a", 15, 2],
            ["b", 1, None],
            role=PERFORMANCE,
        )
    )
    assert [(asset.name, asset.cpu_utilization_percent, asset.cpu_cores) for asset in found.assets] == [
        ("a", 10, 2),
        ("b", 1, None),
    ]
    assert "seen_only_beside" in found.kinds
    assert found.summary["rows_in_assets"] == 3


def test_rows_of_disks_without_a_name_go_by_the_id_of_the_source() -> None:
    found = Built(
        clean("vmInfo.csv", "MachineId=external_id,name", ["m-1", "web01"], kind="google_migration_center.vminfo"),
        clean(
            "diskInfo.csv",
            "MachineId=external_id,detail_key,storage_gb",
            ["m-1", "d0", 40],
            ["m-1", "d1", 60],
            ["m-7", "d0", 1],
            kind="google_migration_center.diskinfo",
            role=DETAIL,
        ),
    )
    assert found["web01"].storage_gb == 100
    assert found["web01"].matched_by == ["row 2 of diskInfo.csv: the same external id m-1 as row 2 of vmInfo.csv"]
    assert found.kinds == ["orphan_row"]
    assert found.summary["rows_by_role"]["detail"] == {"read": 3, "in_assets": 2, "orphan": 1, "without_machine": 0}


def test_a_machine_of_many_disks_names_two_hundred_of_their_rows() -> None:
    disks = [["db1", f"d{number}", 1] for number in range(300)]
    found = Built(clean("a.csv", "name", ["db1"]), clean("d.csv", "name,detail_key,storage_gb", *disks, role=DETAIL))
    assert found["db1"].storage_gb == 300
    assert (len(found["db1"].sources), found["db1"].rows) == (201, 301)


def test_issues_of_one_sort_are_bounded_and_add_up() -> None:
    names = [f"srv{number}" for number in range(2_100)]
    found = Built(
        clean("a.csv", "name,cpu_cores", *[[name, 2] for name in names]),
        clean("b.csv", "name,cpu_cores", *[[name, 4] for name in names]),
    )
    told = [issue for issue in found.issues if issue["kind"] == "conflict"]
    assert len(told) == 2_001
    assert told[-1]["message"].startswith("100 more issues")
    assert "2,100 in all" in told[-1]["message"]
    assert found.summary["with_conflicts"] == 2_100
    assert [issue["message"] for issue in found.issues if issue["field"] == "memory_gb"] == [
        "memory_gb is unknown for all 2100 assets; no source states it for them."
    ]


def test_parts_of_one_rank_of_a_known_export_are_one_size() -> None:
    columns = "name,Committed=storage_gb,Uncommitted=storage_gb"
    table = clean("v.json", columns, ["a", 25, 35], ["b", 10, None], kind="vcenter.virtual_machines")
    for column in table.facts[1:]:
        column.use = Use(column.use.field, column.target)
    found = Built(table)
    assert [asset.storage_gb for asset in found.assets] == [60, None]
    assert found["a"].conflicts == []


def test_a_name_of_several_things_is_one_issue_however_many_tables_say_so() -> None:
    rows = [["jump", "a.local", "10.0.0.1"], ["jump", "b.local", "10.0.0.2"]]
    tables = [clean(f"{at}.csv", "name,domain=*,ip_addresses", *rows) for at in range(3)]
    found = Built(*tables)
    assert len(found.assets) == 2
    assert [issue["message"] for issue in found.issues if issue["kind"] == "duplicate_name"] == [
        "jump names 2 different things (told apart in 0.csv by domain, 1.csv by domain, 2.csv by domain)."
    ]


# --- whose measurements are whose ---

MEASURED = "cpu_utilization_percent"


def averages(found: Built) -> dict[str, float | None]:
    return {asset.name: asset.utilization.get("cpu_percent", {}).get("average") for asset in found.assets}


def test_measurements_go_to_the_machine_that_they_name_in_any_way() -> None:
    uuid = "421DA1B2-C3D4-E5F6-0102-030405060708"
    listed = clean(
        "a.csv", "name,uuid,serial_number,external_id,ip_addresses", ["WEB01", uuid, "CZ77123", "m-1", "10.0.0.9"]
    )
    ways = (
        ("name", "web01"), ("fqdn", "web01.corp.local"), ("uuid", uuid.lower()), ("uuid", f"{{{uuid}}}"),
        ("uuid", "b2a11d42-d4c3-f6e5-0102-030405060708"), ("serial_number", "cz77123"), ("ip_addresses", "10.0.0.9"),
    )  # fmt: skip
    for target, value in ways:
        found = Built(listed, clean("p.csv", f"{target},{MEASURED}", [value, 10], [value, 30], role=PERFORMANCE))
        assert averages(found) == {"WEB01": 20.0}, target
        assert found.summary["rows_by_role"]["performance"]["in_assets"] == 2


def test_measurements_that_fit_two_machines_or_none_are_nobodys() -> None:
    listed = clean("a.csv", "name,uuid,ip_addresses", ["a", "u-1", "10.0.0.1"], ["b", "u-2", "10.0.0.1"])
    measured = clean("p.csv", f"ip_addresses,{MEASURED}", ["10.0.0.1", 90], ["10.0.0.7", 80], role=PERFORMANCE)
    found = Built(listed, measured)
    assert averages(found) == {"a": None, "b": None}
    assert found.summary["rows_by_role"]["performance"]["orphan"] == 2


def test_two_machines_of_one_name_are_measured_by_their_ids() -> None:
    kind = "google_migration_center.vminfo"
    listed = clean(
        "a.csv", "id=external_id,name,ip_addresses", ["m-1", "web", "10.0.0.1"], ["m-2", "web", "10.0.0.2"], kind=kind
    )
    measured = clean(
        "p.csv", f"id=external_id,{MEASURED}", ["m-1", 10], ["m-2", 90], role=PERFORMANCE,
        kind="google_migration_center.perfinfo",
    )  # fmt: skip
    found = Built(listed, measured)
    assert [asset.cpu_utilization_percent for asset in found.assets] == [10.0, 90.0]


def test_without_a_list_the_machines_are_those_that_were_measured() -> None:
    by_both = clean(
        "p.csv", f"external_id,name,{MEASURED}", ["vm-1", "web01", 10], ["vm-1", "web01", 20], role=PERFORMANCE
    )
    by_name = clean("q.csv", f"name,{MEASURED}", ["WEB01", 60], ["db01", 5], role=PERFORMANCE)
    assert averages(Built(by_both, by_name)) == {"web01": 30.0, "db01": 5.0}


# --- parts of one size, and nothing at all ---


def ranked(table: CleanTable, *ranks: int) -> CleanTable:
    for column, rank in zip(table.facts[1:], ranks, strict=True):
        column.use = Use(column.use.field, column.target, rank=rank)
    return table


def test_disks_in_columns_of_their_own_are_one_size() -> None:
    for first, second in (
        ("Disk C size", "Disk D size"),
        ("C: (GB)", "D: (GB)"),
        ("disk_1_gb", "disk_2_gb"),
        ("HDD1", "HDD2"),
    ):
        columns = f"name,{first}=storage_gb,{second}=storage_gb"
        found = Built(ranked(clean("a.csv", columns, ["a", 50, 100], ["b", 50, None], ["c", None, None]), 0, 0))
        assert [asset.storage_gb for asset in found.assets] == [150, 50, None], first
        assert found["a"].conflicts == []


def test_parts_of_one_rank_are_one_size_in_any_list_and_others_are_rivals() -> None:
    columns = "name,System volume=storage_gb,Data volume=storage_gb"
    rows = (["a", 50, 100], ["b", 50, None])
    assert [asset.storage_gb for asset in Built(ranked(clean("a.csv", columns, *rows), 0, 0)).assets] == [150, None]
    assert [asset.storage_gb for asset in Built(ranked(clean("a.csv", columns, *rows), 0, 1)).assets] == [50, 50]


def test_the_sum_of_nothing_known_is_unknown() -> None:
    found = Built(clean("a.csv", "name,cpu_cores,memory_gb", ["a", 2, None], ["b", 4, None]))
    assert found.summary["totals"]["memory_gb"] == {
        "to_move": {"sum": None, "known": 0, "unknown": 2}, "not_moved": {},
        "by_type": {}, "sum": None, "known": 0, "unknown": 2,
    }  # fmt: skip
    assert found.summary["totals"]["cpu_cores"]["sum"] == 6


def test_what_is_to_be_moved_has_neither_hosts_nor_templates_in_it() -> None:
    vinfo = "VM=name,Template=is_template,CPUs=cpu_cores,Memory=memory_gb,Host=runs_on"
    found = Built(
        clean(
            *("a.xlsx", vinfo),
            *(["web01", False, 4, 16, "esx1"], ["web02", False, 2, None, "esx1"], ["gold", True, 8, 32, "esx1"]),
            kind="rvtools.vinfo",
        ),
        clean("b.xlsx", "Host=name,# Cores=cpu_cores,# Memory=memory_gb", ["esx1", 64, 512], kind="rvtools.vhost"),
        clean("c.csv", "Name=name,Type=asset_type,Cores=cpu_cores", ["shop", "application", None], role=APPLICATIONS),
    )
    totals = found.summary["totals"]
    assert totals["cpu_cores"]["to_move"] == {"sum": 6, "known": 2, "unknown": 0}
    assert totals["memory_gb"]["to_move"] == {"sum": 16, "known": 1, "unknown": 1}
    for name, total in totals.items():
        parts = [total["to_move"], *total["not_moved"].values()]
        assert sum(part["known"] + part["unknown"] for part in parts) == total["known"] + total["unknown"] == 4, name
        assert sum(part["sum"] or 0 for part in parts) == sum(total["by_type"].values()) == (total["sum"] or 0), name
    assert totals["cpu_cores"]["not_moved"] == {
        "it is a template": {"sum": 8, "known": 1, "unknown": 0},
        "it is a hypervisor host; the machines on it are moved": {"sum": 64, "known": 1, "unknown": 0},
    }


@pytest.mark.parametrize("said", ["ESXi host", "Hypervisor", "cmdb_ci_esx_server", "Hyper-V Host"])
def test_what_a_list_calls_a_hypervisor_is_a_server_that_is_not_moved(said: str) -> None:
    table = cleanse(
        Table(
            "a.csv", None,
            [Column.of("Name", ["h1", "w1"]), Column.of("Type", [said, "Physical server"])],
            array("I", [2, 3]), 1, role=MACHINES, kind="table",
        ),
        [Use("Name", "name"), Use("Type", "asset_type")],
        FLOW,
    )  # fmt: skip
    assert table.issues == []
    found = Built(table.table)
    assert [(asset.asset_type, asset.migratable) for asset in found.assets] == [("server", False), ("server", True)]
    assert found["h1"].classification["not_migratable"] == "it is a hypervisor host; the machines on it are moved"


def test_the_reason_of_a_choice_is_told_of_each_source_that_says_another_value() -> None:
    columns = "Name=name,Site=location"
    found = Built(
        clean("a.csv", columns, ["one", "Kiel"], ["two", "Kiel"], ["three", "Kiel"]),
        clean("b.csv", columns, ["one", "Bonn"], ["two", "Kiel"], ["three", "Bonn"]),
        clean("v.xlsx", columns, ["one", "dc-1"], ["two", "dc-1"], ["three", "Kiel"], kind="rvtools.vinfo"),
    )
    why = {asset.name: asset.conflicts[0]["why"] for asset in found.assets}
    people = "a.csv is kept by people, who know location better than tools do"
    lists = "nothing tells whether a.csv or b.csv is right, so the first by file and row was taken"
    assert why == {"one": f"{lists}; {people}", "two": people, "three": lists}


def test_connections_alone_make_no_machines_of_addresses_that_are_none() -> None:
    found = Built(
        clean(
            "c.csv",
            "source_name,source_ip,target_name,target_ip",
            ["web01", "127.0.0.1", None, "10.0.0.5"],
            ["web01", None, "localhost", "127.0.0.1"],
            ["web01", None, None, "224.0.0.251"],
            [None, "0.0.0.0", None, "255.255.255.255"],
            role=CONNECTIONS,
        )
    )
    assert [(asset.name, asset.ip_addresses, asset.rows) for asset in found.assets] == [
        ("web01", [], 3),
        ("10.0.0.5", ["10.0.0.5"], 1),
    ]
    assert found.summary["rows_by_role"]["connections"] == {
        "read": 4, "in_assets": 3, "orphan": 0, "without_machine": 1,
    }  # fmt: skip


def test_what_a_list_calls_a_template_is_not_moved() -> None:
    table = cleanse(
        Table(
            "a.csv", None,
            [Column.of("Name", ["t1", "w1"]), Column.of("Type", ["VM Template", "VM"])],
            array("I", [2, 3]), 1, role=MACHINES, kind="table",
        ),
        [Use("Name", "name"), Use("Type", "asset_type")],
        FLOW,
    )  # fmt: skip
    assert table.issues == []
    found = Built(table.table)
    assert [(asset.name, asset.asset_type, asset.migratable) for asset in found.assets] == [
        ("t1", "other", False),
        ("w1", "virtual_machine", True),
    ]
    assert found["t1"].classification["not_migratable"] == "it is a template"


def test_a_machine_that_is_only_measured_keeps_what_says_who_it_is() -> None:
    columns = f"name,ip_addresses,serial_number,{MEASURED}"
    rows = (["srv05.a.example", "10.0.0.1", "CZ111111", 10], ["srv05.b.example", "10.0.0.2", "CZ222222", 90])
    found = Built(clean("p.csv", columns, *rows, role=PERFORMANCE))
    assert [(a.fqdn, a.hostname, a.ip_addresses, a.serial_number, a.cpu_utilization_percent) for a in found.assets] == [
        ("srv05.a.example", "srv05", ["10.0.0.1"], "CZ111111", 10.0),
        ("srv05.b.example", "srv05", ["10.0.0.2"], "CZ222222", 90.0),
    ]


def test_the_environment_of_a_tag_is_read_as_that_of_a_column() -> None:
    found = Built(
        clean("a.csv", "name,environment", ["a", "production"], ["b", None]),
        clean("t.csv", "name,tag_key,tag_value", ["a", "Env", "PRD1"], ["b", "env", "Prod - Europe"], role=TAGS),
    )
    assert [(asset.environment, asset.conflicts) for asset in found.assets] == [("production", []), ("production", [])]
