from __future__ import annotations

from typing import Any

import pytest

from estate.clean import CleanTable
from estate.inventory.classification import hint
from estate.roles import APPLICATIONS, DETAIL
from tests.estate.test_inventory import Built, clean

VINFO = "VM=name,Powerstate=power_state,Template=is_template,CPUs=cpu_cores,Memory=memory_gb"


@pytest.mark.parametrize(
    ("columns", "row", "export", "kind"),
    [
        (VINFO, ["a", "on", False, 1, 1], "rvtools.vinfo", "virtual_machine"),
        (VINFO, ["a", "off", True, 1, 1], "rvtools.vinfo", "other"),
        ("VM=name,SRM Placeholder=is_placeholder", ["a", True], "rvtools.vinfo", "other"),
        (VINFO, ["vCLS-1234", "on", False, 1, 1], "rvtools.vinfo", "appliance"),
        ("Host=name,# Cores=cpu_cores,CPU Model=*", ["esx1", 32, "x"], "rvtools.vhost", "server"),
        ("VM Name=name,cpu_cores", ["a", 2], "nutanix.vmlist", "virtual_machine"),
        ("Server Name=name,OS=operating_system", ["db-sql-01", "RHEL 8"], "table", "server"),
        ("Server Name=name,server_tier=role", ["a", "db"], "table", "database"),
        ("Server Name=name,SQL=has_database", ["a", True], "azure_migrate.discovery", "database"),
        ("Server Name=name,SQL=has_database", ["a", False], "azure_migrate.discovery", "server"),
        ("Name=name,Asset Type=asset_type", ["a", "load_balancer"], "table", "load_balancer"),
        ("Name=name,Asset Type=asset_type", ["a", "virtual_machine"], "table", "virtual_machine"),
        ("Name=name,Asset Type=asset_type", ["a", "container"], "table", "container"),
        ("Name=name,MAC=mac_addresses,OS=operating_system", ["a", "00:50:56:8b:74:7a", "RHEL 8"], "table", "virtual_machine"),
        ("Name=name,OS=operating_system", ["a", "F5 BIG-IP 15.1"], "table", "load_balancer"),
        ("Name=name,OS=operating_system", ["a", "NetApp ONTAP 9.8"], "table", "storage"),
        ("Name=name,OS=operating_system", ["a", "Citrix ADC 13"], "table", "load_balancer"),
        ("Name=name,OS=operating_system", ["a", "Novell NetWare 6.5"], "table", "server"),
        ("Name=name,OS=operating_system", ["a", "Cisco IOS 15.2"], "table", "network_device"),
        ("Name=name,Model=model", ["a", "VMware Virtual Platform"], "table", "virtual_machine"),
        ("Name=name,Model=model", ["a", "Cisco Catalyst 9300"], "table", "network_device"),
        ("Name=name,Model=model", ["a", "UCS B200 M5"], "table", "other"),
        ("Name=name,Maker=manufacturer", ["a", "Pure Storage"], "table", "storage"),
        ("Name=name,IsPhysical=is_physical", ["a", False], "google_migration_center.vminfo", "virtual_machine"),
        ("Name=name,IsPhysical=is_physical", ["a", True], "google_migration_center.vminfo", "server"),
        ("Name=name,Host=runs_on", ["a", "esx1"], "table", "virtual_machine"),
        ("Name=name,Id=external_id", ["a", "/subscriptions/x/VMwareSites/y/machines/z"], "azure_migrate.discovery", "virtual_machine"),
        ("Name=name,Id=external_id", ["a", "/subscriptions/x/ServerSites/y/machines/z"], "azure_migrate.discovery", "server"),
        ("VM Name=name,OS=operating_system", ["a", "RHEL 8"], "table", "virtual_machine"),
        ("Name=name,Environment=environment", ["a", "production"], "table", "other"),
    ],
)  # fmt: skip
def test_types_follow_from_facts(columns: str, row: list[Any], export: str, kind: str) -> None:
    [asset] = Built(clean("a.csv", columns, row, kind=export)).assets
    assert asset.asset_type == kind
    assert asset.classification["evidence"]
    assert 0 < asset.classification["confidence"] <= 1


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        (clean("a.csv", VINFO, ["a", "off", True, 1, 1], kind="rvtools.vinfo"), "it is a template"),
        (clean("a.csv", "name,is_placeholder", ["a", True], kind="rvtools.vinfo"), "it is a replication placeholder"),
        (clean("a.csv", VINFO, ["vCLS (12)", "on", False, 1, 1], kind="rvtools.vinfo"), "an appliance"),
        (clean("a.csv", "name,cpu_cores", ["esx1", 32], kind="rvtools.vhost"), "a hypervisor host"),
        (clean("a.csv", "name,operating_system", ["esx1", "VMware ESXi 7.0"]), "a hypervisor host"),
        (clean("a.csv", "name,asset_type", ["fw1", "network_device"]), "network gear"),
        (clean("a.csv", "name,asset_type", ["lb1", "load_balancer"]), "a load balancer"),
        (clean("a.csv", "name,asset_type", ["san1", "storage"]), "a storage array"),
    ],
)
def test_what_cannot_be_moved_as_a_machine_says_why(table: CleanTable, reason: str) -> None:
    [asset] = Built(table).assets
    assert not asset.migratable
    assert reason in asset.classification["not_migratable"]


@pytest.mark.parametrize("kind", ["server", "virtual_machine", "database", "container"])
def test_machines_can_be_moved(kind: str) -> None:
    found = Built(clean("a.csv", "name,asset_type", ["a", kind]))
    assert found["a"].migratable
    assert "not_migratable" not in found["a"].classification
    assert found.summary["not_migratable"] == 0


def test_applications_are_listed_ones() -> None:
    [asset] = Built(clean("a.csv", "name", ["Shop"], role=APPLICATIONS, kind="tidal.applications")).assets
    assert (asset.asset_type, asset.migratable) == ("application", True)
    assert asset.classification == {"confidence": 1.0, "evidence": "listed as an application in a.csv"}


def test_a_machine_known_by_its_disks_alone_is_a_virtual_machine_of_its_export() -> None:
    [asset] = Built(clean("a.csv", "VM=name,storage_gb", ["a", 10], kind="rvtools.vdisk", role=DETAIL)).assets
    assert asset.asset_type == "virtual_machine"


@pytest.mark.parametrize(
    ("name", "kind", "said"),
    [
        ("db-sql-01", "server", "the name suggests database"),
        ("prodWebServer3", "virtual_machine", "the name suggests web"),
        ("web01", "server", "the name suggests web"),
        ("oracle-linux-7", "server", None),
        ("dbvm", "server", None),
        ("db01", "database", None),
    ],
)
def test_a_name_hints_and_does_not_decide(name: str, kind: str, said: str | None) -> None:
    assert hint(name, kind) == said


def test_the_evidence_names_the_place() -> None:
    [asset] = Built(clean("a.xlsx", "name,asset_type", ["a", "storage"], sheet="CIs")).assets
    assert asset.classification["evidence"] == "stated in a.xlsx sheet CIs row 2"
