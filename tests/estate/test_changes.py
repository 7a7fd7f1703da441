from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from estate.assets import Asset
from estate.changes import compare

MAC = "00:50:56:aa:bb:01"


def written(path: Path, *assets: Asset) -> Path:
    path.write_bytes(b"".join(msgspec.json.encode(asset) + b"\n" for asset in assets))
    return path


def compared(tmp_path: Path, before: list[Asset], after: list[Asset]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    changes: list[dict[str, Any]] = []
    summary = compare(written(tmp_path / "before", *before), written(tmp_path / "after", *after), changes.append)
    return changes, summary


def asset(asset_id: str, name: str, **facts: Any) -> Asset:
    return Asset(asset_id=asset_id, name=name, **facts)


def test_new_gone_and_changed(tmp_path: Path) -> None:
    changes, summary = compared(
        tmp_path,
        [asset("1", "web01", cpu_cores=4, environment="test"), asset("2", "old01"), asset("3", "same01", cpu_cores=2)],
        [asset("4", "WEB01", cpu_cores=8), asset("5", "new01"), asset("6", "same01", cpu_cores=2)],
    )
    assert [(one["kind"], one["name"], one["asset_id"], one["before_asset_id"]) for one in changes] == [
        ("changed", "WEB01", "4", "1"),
        ("new", "new01", "5", None),
        ("gone", "old01", None, "2"),
    ]
    assert changes[0]["fields"] == [
        {"field": "cpu_cores", "before": 4, "after": 8},
        {"field": "environment", "before": "test", "after": None},
    ]
    assert summary == {
        "before": 3,
        "after": 3,
        "unchanged": 1,
        "by_kind": {"new": 1, "gone": 1, "changed": 1, "renamed": 0},
        "by_field": {"cpu_cores": 1, "environment": 1},
        "matched_by": {"name": 2},
    }
    assert len({one["change_id"] for one in changes}) == 3


def test_two_discoveries_of_the_same_files_differ_in_nothing(tmp_path: Path) -> None:
    def estate(flow: str) -> list[Asset]:
        return [
            asset(f"{flow}{number}", f"srv{number}", sources=[{"file": flow, "sheet": None, "row": 2}], confidence=0.5)
            for number in range(50)
        ]

    changes, summary = compared(tmp_path, estate("a"), estate("b"))
    assert changes == []
    assert summary["unchanged"] == 50


@pytest.mark.parametrize(
    ("key", "before", "after"),
    [
        ("uuid", {"uuid": "421DA1B2-C3D4-E5F6-0102-030405060708"}, {"uuid": "b2a11d42-d4c3-f6e5-0102-030405060708"}),
        (
            "uuid",
            {"uuid": "421da1b2-c3d4-e5f6-0102-030405060708"},
            {"serial_number": "VMware-42 1d a1 b2 c3 d4 e5 f6-01 02 03 04 05 06 07 08"},
        ),
        ("serial number", {"serial_number": "CZ123"}, {"serial_number": "cz123"}),
        ("external id", {"external_ids": ["m-1"]}, {"external_ids": ["m-1"]}),
        ("hardware address", {"mac_addresses": [MAC]}, {"mac_addresses": [MAC]}),
    ],
)
def test_a_machine_of_another_name_is_found_by_its_keys(
    tmp_path: Path, key: str, before: dict[str, Any], after: dict[str, Any]
) -> None:
    changes, summary = compared(tmp_path, [asset("1", "web01", **before)], [asset("2", "web99", **after)])
    [change] = changes
    assert (change["kind"], change["matched_by"]) == ("renamed", key)
    assert {"field": "name", "before": "web01", "after": "web99"} in change["fields"]
    assert summary["by_kind"] == {"new": 0, "gone": 0, "changed": 0, "renamed": 1}


def test_a_machine_of_the_same_name_and_another_uuid_is_another(tmp_path: Path) -> None:
    _, summary = compared(
        tmp_path,
        [asset("1", "web01", uuid="421da1b2-c3d4-e5f6-0102-030405060708")],
        [asset("2", "web01", uuid="421da1b2-c3d4-e5f6-0102-030405060709")],
    )
    assert summary["by_kind"] == {"new": 1, "gone": 1, "changed": 0, "renamed": 0}


def test_machines_of_one_name_are_told_apart_by_their_addresses(tmp_path: Path) -> None:
    before = [asset("1", "jump", ip_addresses=["10.0.0.1"]), asset("2", "jump", ip_addresses=["10.0.0.2"])]
    after = [
        asset("3", "jump", ip_addresses=["10.0.0.2"], cpu_cores=4),
        asset("4", "jump", ip_addresses=["10.0.0.1"]),
    ]
    changes, summary = compared(tmp_path, before, after)
    assert [(one["asset_id"], one["before_asset_id"]) for one in changes] == [("3", "2")]
    assert summary["unchanged"] == 1


def test_an_application_is_not_the_machine_of_its_name(tmp_path: Path) -> None:
    _, summary = compared(
        tmp_path, [asset("1", "billing", asset_type="server")], [asset("2", "Billing", asset_type="application")]
    )
    assert summary["by_kind"] == {"new": 1, "gone": 1, "changed": 0, "renamed": 0}


def test_order_rounding_and_measurements_are_no_change(tmp_path: Path) -> None:
    changes, _ = compared(
        tmp_path,
        [
            asset(
                "1",
                "a",
                ip_addresses=["10.0.0.2", "10.0.0.1"],
                memory_gb=8,
                cpu_utilization_percent=3,
                custom_attributes={"last_seen": "2024-01-01", "Team": "red"},
                software=[{"product": "Java", "version": "8"}],
            )
        ],
        [
            asset(
                "2",
                "a",
                ip_addresses=["10.0.0.1", "10.0.0.2"],
                memory_gb=8.004,
                cpu_utilization_percent=9,
                custom_attributes={"last_seen": "2025-01-01", "Team": "Red"},
                software=[{"product": "Java", "version": "8", "source": {}}],
            )
        ],
    )
    assert changes == []


def test_attributes_and_software_are_told_by_name(tmp_path: Path) -> None:
    [change], summary = compared(
        tmp_path,
        [asset("1", "a", custom_attributes={"Team": "red"}, software=[{"product": "Java", "version": "8"}])],
        [asset("2", "a", custom_attributes={"Rack": 3}, software=[{"product": "Java", "version": "17"}])],
    )
    assert change["fields"] == [
        {"field": "software", "before": ["Java 8"], "after": ["Java 17"]},
        {"field": "custom_attributes.Team", "before": "red", "after": None},
        {"field": "custom_attributes.Rack", "before": None, "after": 3},
    ]
    assert summary["by_field"] == {"custom_attributes.Rack": 1, "custom_attributes.Team": 1, "software": 1}


def test_empty_inventories(tmp_path: Path) -> None:
    changes, summary = compared(tmp_path, [], [asset("1", "a")])
    assert [one["kind"] for one in changes] == ["new"]
    assert compared(tmp_path, [], [])[1]["before"] == 0
    assert summary["after"] == 1


UUID_A, UUID_B = "421DA1B2-C3D4-E5F6-0102-030405060708", "421DA1B2-C3D4-E5F6-0102-999999999999"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"uuid": UUID_A, "mac_addresses": [MAC]}, {"uuid": UUID_B, "mac_addresses": [MAC]}),
        ({"serial_number": "CZ111", "mac_addresses": [MAC]}, {"serial_number": "CZ222", "mac_addresses": [MAC]}),
        ({"uuid": UUID_A, "serial_number": "CHASSIS1"}, {"uuid": UUID_B, "serial_number": "CHASSIS1"}),
        (
            {"mac_addresses": [MAC], "ip_addresses": ["10.0.0.1"]},
            {"mac_addresses": [MAC], "ip_addresses": ["10.9.9.9"]},
        ),
        ({"external_ids": ["vm-101"]}, {"external_ids": ["vm-101"]}),
        ({"external_ids": ["17"]}, {"external_ids": ["17"]}),
    ],
)
def test_a_key_that_two_machines_may_share_makes_no_one_of_them(
    tmp_path: Path, before: dict[str, Any], after: dict[str, Any]
) -> None:
    changes, _ = compared(tmp_path, [asset("1", "web01", **before)], [asset("2", "db77", **after)])
    assert [one["kind"] for one in changes] == ["new", "gone"]


def test_two_estates_whose_cards_are_numbered_alike_have_nothing_in_common(tmp_path: Path) -> None:
    def estate(which: str) -> list[Asset]:
        return [
            asset(
                f"{which}{at}",
                f"{which}-srv{at}",
                uuid=f"4211{at:04d}-c3d4-e5f6-0102-{which * 12}",
                mac_addresses=[f"00:50:56:00:00:{at:02x}"],
                ip_addresses=["172.17.0.1", f"10.0.{at}.{len(which) + ord(which[0])}"],
            )
            for at in range(40)
        ]

    _, summary = compared(tmp_path, estate("a"), estate("b"))
    assert summary["by_kind"] == {"new": 40, "gone": 40, "changed": 0, "renamed": 0}


def test_of_one_name_the_same_card_outweighs_another_uuid(tmp_path: Path) -> None:
    changes, _ = compared(
        tmp_path,
        [asset("1", "web01", uuid=UUID_A, mac_addresses=[MAC])],
        [asset("2", "web01", uuid=UUID_B, mac_addresses=[MAC])],
    )
    assert [(one["kind"], [field["field"] for field in one["fields"]]) for one in changes] == [("changed", ["uuid"])]


def test_machines_of_one_name_are_told_apart_by_their_ids(tmp_path: Path) -> None:
    before = [asset("1", "web", external_ids=["vm-1"], cpu_cores=2), asset("2", "web", external_ids=["vm-2"])]
    after = [asset("3", "web", external_ids=["vm-2"]), asset("4", "web", external_ids=["vm-1"], cpu_cores=4)]
    changes, summary = compared(tmp_path, before, after)
    assert [(one["kind"], one["before_asset_id"], one["asset_id"]) for one in changes] == [("changed", "1", "4")]
    assert summary["matched_by"] == {"name and external id": 2}


def test_things_of_one_name_and_nothing_else_are_found_again_by_their_type(tmp_path: Path) -> None:
    twins = [asset("1", "web05", asset_type="server"), asset("2", "WEB05", asset_type="database")]
    changes, summary = compared(tmp_path, twins, twins)
    assert (changes, summary["unchanged"]) == ([], 2)
