from __future__ import annotations

import random
from collections import Counter, defaultdict
from itertools import combinations
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estate.clean import CleanTable
from estate.inventory.identity import (
    external_key,
    is_instance_uuid,
    mac_is_key,
    serial_key,
    similar,
    uuid_key,
)
from estate.roles import DETAIL, SOFTWARE
from tests.estate.test_inventory import Built, clean

BIOS = "421da1b2-c3d4-e5f6-0102-030405060708"
SWAPPED = "B2A11D42-D4C3-F6E5-0102-030405060708"
SERIAL = "VMware-42 1d a1 b2 c3 d4 e5 f6-01 02 03 04 05 06 07 08"
MAC, OTHER_MAC = "00:50:56:aa:bb:01", "00:50:56:aa:bb:02"


def one(*tables: CleanTable) -> Built:
    found = Built(*tables)
    assert len(found.assets) == 1, found.names
    return found


# --- keys -------------------------------------------------------------------------------------------------------


def test_both_byte_orders_of_a_uuid_are_one_key() -> None:
    assert uuid_key(BIOS) == uuid_key(SWAPPED) == uuid_key("{" + BIOS.upper() + "}") == serial_key(SERIAL)[1]
    assert uuid_key(BIOS) != uuid_key(BIOS[:-1] + "9")


@given(st.uuids())
def test_every_uuid_has_the_key_of_its_other_byte_order(identity: UUID) -> None:
    other = UUID(bytes=identity.bytes_le)
    assert uuid_key(str(identity)) == uuid_key(str(other)) == uuid_key(identity.hex)


@pytest.mark.parametrize(
    "text",
    [
        "00000000-0000-0000-0000-000000000000",
        "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF",
        "03000200-0400-0500-0006-000700080009",
        "0",
        "Not Specified",
    ],
)
def test_what_a_factory_leaves_behind_is_no_uuid(text: str) -> None:
    assert uuid_key(text) is None


@pytest.mark.parametrize("text", ["To Be Filled By O.E.M.", "System Serial Number", "0000000", "none", "VMware", "..."])
def test_what_a_factory_leaves_behind_is_no_serial_number(text: str) -> None:
    assert serial_key(text) == (None, None)


@pytest.mark.parametrize(
    ("mac", "key"),
    [
        (MAC, True),
        ("52:54:00:12:34:56", True),
        ("00:00:00:00:00:00", False),
        ("ff:ff:ff:ff:ff:ff", False),
        ("02:bf:0a:00:00:01", False),
        ("00:00:5e:00:01:0a", False),
        ("00:00:0c:07:ac:01", False),
        ("02:42:ac:11:00:02", False),
        ("0a:58:0a:00:00:01", False),
    ],
)
def test_addresses_of_groups_and_of_containers_are_no_keys(mac: str, key: bool) -> None:
    assert mac_is_key(mac) is key


def test_ids_count_where_they_were_given() -> None:
    assert external_key("rvtools.vinfo", "VM ID", "vm-12", None) == ("rvtools|vm-12", False)
    assert external_key("rvtools.vinfo", "VM ID", "vm-12", "vc1") == external_key("aws.x", "MoRef", "VM-12", "vc1")
    assert external_key("table", "Asset ID", "7", None) != external_key("table", "No", "7", None)
    assert external_key("servicenow.servers", "sys_id", BIOS.replace("-", ""), None)[1]
    assert not external_key("table", "Asset ID", "A-7", None)[1]


@pytest.mark.parametrize(
    ("a", "b", "alike"),
    [
        ("web-01", "web01", True),
        ("web_01", "web-01", True),
        ("finance-report-server", "finance-report-", True),
        ("web01", "web02", False),
        ("web1", "web01", False),
        ("--", "..", False),
    ],
)
def test_names_that_are_alike(a: str, b: str, alike: bool) -> None:
    assert similar(a, b) is alike


def test_a_vcenter_gives_uuids_of_its_own() -> None:
    assert is_instance_uuid("500b85c1-ef0d-37fb-6897-61c47157f858")
    assert not is_instance_uuid(BIOS)


# --- what is one ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        (("uuid", BIOS), ("uuid", SWAPPED), "the same UUID"),
        (("uuid", BIOS), ("serial_number", SERIAL), "the same UUID"),
        (("serial_number", "CZ1234"), ("serial_number", "cz1234"), "the same serial number CZ1234"),
        (("mac_addresses", MAC), ("mac_addresses", MAC), f"the same MAC address {MAC}"),
        (("fqdn", "bill01.corp.local"), ("fqdn", "bill01.corp.local"), "the same host name bill01.corp.local"),
    ],
)
def test_other_names_are_one_machine_by_its_keys(first: tuple[str, str], second: tuple[str, str], words: str) -> None:
    found = Built(
        clean("a.csv", f"name,{first[0]}", ["Billing Server", first[1]]),
        clean("b.csv", f"name,{second[0]}", ["billing vm", second[1]], ["other", None]),
    )
    assert found.names == ["Billing Server", "other"]
    [sentence] = found.assets[0].matched_by
    assert sentence.startswith(f"row 2 of b.csv: {words}")
    assert sentence.endswith("as row 2 of a.csv")
    assert found.assets[0].also_known_as[0] == "billing vm"
    assert 0.8 < found.assets[0].confidence < 1
    assert found.reviews == []


def test_a_host_name_in_one_table_is_the_name_in_another() -> None:
    found = one(
        clean("a.csv", "VM Name=name,DNS Name=fqdn,vCPU=cpu_cores", ["Billing Server", "bill01.corp.local", 4]),
        clean("b.csv", "Hostname=hostname,Environment=environment", ["BILL01", "production"]),
    )
    [asset] = found.assets
    assert (asset.name, asset.hostname, asset.environment) == ("Billing Server", "bill01", "production")
    assert asset.also_known_as == ["BILL01", "bill01"]
    assert asset.confidence < 1
    assert asset.matched_by == ["row 2 of b.csv: the same host name bill01.corp.local as row 2 of a.csv"]


def test_five_views_of_a_machine_are_one_asset() -> None:
    found = one(
        clean(
            "rv.xlsx", "VM=name,DNS Name=fqdn,VM UUID=uuid,cpu_cores", ["Web 1", "web01.corp.local", BIOS, 4],
            kind="rvtools.vinfo", sheet="vInfo",
        ),
        clean(
            "rv.xlsx", "VM=name,detail_key,mac_addresses,ip_addresses,VM UUID=uuid", ["Web 1", "nic 1", MAC, "10.0.0.1", BIOS],
            ["Web 1", "nic 2", OTHER_MAC, "10.0.1.1", BIOS], kind="rvtools.vnetwork", role=DETAIL, sheet="vNetwork",
        ),
        clean("az.csv", "name,ip_addresses,cpu_cores", ["WEB01.corp.local", "10.0.0.1", 4], kind="azure_migrate.discovery"),
        clean("cmdb.csv", "name,serial_number,environment", ["web01", SERIAL, "production"], kind="servicenow.servers"),
        clean("hw.csv", "name,mac_addresses,location", ["asset 4711", OTHER_MAC, "Madrid"]),
    )  # fmt: skip
    [asset] = found.assets
    assert (asset.name, asset.environment, asset.location) == ("WEB01", "production", "Madrid")
    assert asset.also_known_as == ["Web 1", "asset 4711"]
    assert asset.ip_addresses == ["10.0.0.1", "10.0.1.1"]
    assert asset.conflicts == []
    assert len(asset.sources) == asset.rows == 6
    assert len(asset.matched_by) == 2
    assert found.summary["matches"].keys() == {"name", "UUID", "hardware address"}


def test_a_row_that_is_only_an_address_is_the_machine_that_has_it() -> None:
    found = one(
        clean("a.csv", "name,ip_addresses", ["web01", "10.0.0.1;10.0.0.2"]),
        clean("b.csv", "name,environment", ["10.0.0.2", "production"]),
    )
    assert (found.assets[0].name, found.assets[0].environment) == ("web01", "production")
    assert found.assets[0].matched_by == ["row 2 of b.csv: the same address 10.0.0.2 as row 2 of a.csv"]


@pytest.mark.parametrize("name", ["web_01", "WEB01"])
def test_a_like_name_with_the_same_address_is_one_machine(name: str) -> None:
    found = one(
        clean("a.csv", "name,ip_addresses", ["web-01", "10.0.0.1"]),
        clean("b.csv", "name,ip_addresses", [name, "10.0.0.1"]),
    )
    assert "a like name" in found.assets[0].matched_by[0]
    assert found.assets[0].confidence == 0.85


# --- what is not ------------------------------------------------------------------------------------------------


def test_a_like_name_alone_is_for_people_to_decide() -> None:
    found = Built(clean("a.csv", "name", ["web-01"]), clean("b.csv", "name", ["web01"]))
    assert found.names == ["web-01", "web01"]
    [review] = found.reviews
    assert (review["kind"], review["names"]) == ("possible_duplicate", ["web-01", "web01"])
    assert review["asset_ids"] == [asset.asset_id for asset in found.assets]
    assert review["evidence"] == ["row 2 of a.csv: web-01", "row 2 of b.csv: web01"]
    assert found.kinds == ["possible_duplicate"]


def test_an_address_alone_joins_nothing() -> None:
    found = Built(
        clean("a.csv", "name,ip_addresses", ["web01", "10.0.0.1"]),
        clean("b.csv", "name,ip_addresses", ["db77", "10.0.0.1"]),
    )
    assert found.names == ["web01", "db77"]
    assert sorted(found.kinds) == ["possible_duplicate", "shared_address"]
    assert "given out anew" in found.reviews[0]["reason"]
    assert found.reviews[0]["confidence"] < 0.5


def test_a_cluster_address_is_no_key_and_no_doubt() -> None:
    found = Built(
        clean("a.csv", "name,ip_addresses", ["node1", "10.0.0.1;10.0.0.9"], ["node2", "10.0.0.2;10.0.0.9"]),
        clean("b.csv", "name,ip_addresses", ["vip", "10.0.0.9"]),
    )
    assert found.names == ["node1", "node2", "vip"]
    assert found.reviews == []
    [issue] = [issue for issue in found.issues if issue["kind"] == "shared_address"]
    assert issue["message"] == "3 assets have the address 10.0.0.9: node1, node2, vip."


def test_a_shared_hardware_address_is_no_key() -> None:
    found = Built(
        clean("a.csv", "name,mac_addresses", ["node1", MAC], ["node2", MAC]),
        clean("b.csv", "name,mac_addresses", ["third", MAC], ["zero1", "00:00:00:00:00:00"]),
        clean("c.csv", "name,mac_addresses", ["zero2", "00:00:00:00:00:00"]),
    )
    assert found.names == ["node1", "node2", "third", "zero1", "zero2"]


def test_a_table_that_lists_two_names_lists_two_machines() -> None:
    found = Built(
        clean("a.csv", "name,mac_addresses", ["web01", MAC], ["web02", None]),
        clean("b.csv", "name,mac_addresses", ["web02", MAC]),
    )
    assert found.names == ["web01", "web02"]
    assert "a.csv lists both" in found.reviews[0]["reason"]


def test_a_host_name_given_to_two_machines_joins_neither() -> None:
    found = Built(clean("a.csv", "server_name=name,server_fqdn=fqdn", ["s6", "s6.x.local"], ["s8", "s6.x.local"]))
    assert found.names == ["s6", "s8"]
    assert found.kinds == ["shared_hostname"]


def test_the_host_name_of_an_installer_joins_nothing() -> None:
    found = Built(
        clean("a.csv", "name,hostname", ["VM 1", "localhost"]), clean("b.csv", "name,hostname", ["VM 2", "localhost"])
    )
    assert found.names == ["VM 1", "VM 2"]


def test_one_name_with_two_keys_of_the_source_is_two_machines() -> None:
    for target in ("uuid", "external_id", "serial_number"):
        found = Built(
            clean(
                "a.csv",
                f"Name=name,Key={target},OS=operating_system",
                ["jump", "key-1", "RHEL 8"],
                ["jump", "key-2", "RHEL 9"],
                ["JUMP", "key-1", "RHEL 8"],
            )
        )
        assert [(asset.name, asset.os_version, len(asset.sources)) for asset in found.assets] == [
            ("jump", "8", 2),
            ("jump", "9", 1),
        ]
        assert len({asset.asset_id for asset in found.assets}) == 2
        assert "duplicate_name" in found.kinds


def test_one_key_with_two_names_is_only_suspected() -> None:
    for target in ("uuid", "external_id", "serial_number"):
        found = Built(
            clean("a.csv", f"name,{target},operating_system", ["a", "key-1", "RHEL 8"], ["b", "key-1", "RHEL 8"])
        )
        assert len(found.assets) == 2
        assert found.kinds == ["possible_duplicate"]


@pytest.mark.parametrize(
    ("target", "keys"), [("uuid", (BIOS, BIOS[:-1] + "9")), ("serial_number", ("CZ1234", "CZ9999"))]
)
def test_clones_of_one_name_are_kept_apart(target: str, keys: tuple[str, str]) -> None:
    found = Built(
        clean("a.csv", f"name,{target}", ["web01", keys[0]]), clean("b.csv", f"name,{target}", ["web01", keys[1]])
    )
    assert found.names == ["web01", "web01"]
    assert [review["kind"] for review in found.reviews] == ["possible_duplicate"]


def test_the_uuid_of_a_vcenter_and_that_of_the_hardware_do_not_contradict() -> None:
    found = one(
        clean("a.csv", "name,uuid", ["web01", "500b85c1-ef0d-37fb-6897-61c47157f858"], kind="rvtools.vinfo"),
        clean("b.csv", "name,uuid", ["web01", BIOS], kind="aws_migration_hub.import"),
    )
    assert found.assets[0].conflicts == []


def test_uuids_that_always_differ_are_of_different_sorts() -> None:
    def table(file: str, mark: int) -> CleanTable:
        rows = [[f"srv{n}", str(UUID(int=(mark << 100) + n)), f"10.0.0.{n}"] for n in range(1, 6)]
        return clean(file, "name,uuid,ip_addresses", *rows)

    found = Built(table("a.csv", 0x91), table("b.csv", 0x97))
    assert len(found.assets) == 5
    [issue] = [issue for issue in found.issues if issue["kind"] == "keys_not_comparable"]
    assert "5 compared by name and address" in issue["message"]


def test_one_name_in_two_domains_is_two_machines() -> None:
    found = Built(
        clean("a.csv", "fqdn,ip_addresses", ["web01.corp.local", "10.0.0.1"]),
        clean("b.csv", "fqdn,ip_addresses", ["web01.dmz.local", "10.9.0.1"]),
        clean("c.csv", "fqdn,environment", ["web01.dmz.local", "production"]),
        clean("d.csv", "name,ip_addresses,environment", ["web01", "10.0.0.1", "test"]),
    )
    assert [(asset.fqdn, asset.environment) for asset in found.assets] == [
        ("web01.corp.local", "test"),
        ("web01.dmz.local", "production"),
    ]


def test_one_name_in_two_domains_with_one_address_is_one_machine() -> None:
    one(
        clean("a.csv", "fqdn,ip_addresses", ["web01.corp.local", "10.0.0.1"]),
        clean("b.csv", "fqdn,ip_addresses", ["web01.corp.example", "10.0.0.1"]),
    )


def test_a_column_of_domains_tells_names_apart() -> None:
    found = Built(
        clean("a.csv", "name,Domäne=*,cpu_cores", ["web01", "corp.local", 2], ["web01", "dmz.local", 4]),
        clean("b.csv", "fqdn,environment", ["web01.dmz.local", "production"]),
    )
    assert [(asset.cpu_cores, asset.environment) for asset in found.assets] == [(2, None), (4, "production")]


def test_rows_that_say_different_things_of_one_name_are_different_machines() -> None:
    rows: list[list[Any]] = [["web01", MAC, "10.0.0.1", 2], ["web01", OTHER_MAC, "10.9.0.1", 8]]
    found = Built(clean("a.csv", "name,mac_addresses,ip_addresses,cpu_cores", *rows))
    assert [asset.cpu_cores for asset in found.assets] == [2, 8]
    # two cards of one machine say the same of it
    same = Built(clean("a.csv", "name,mac_addresses,ip_addresses,cpu_cores", rows[0], [*rows[1][:3], 2]))
    assert [asset.mac_addresses for asset in same.assets] == [[MAC, OTHER_MAC]]


def test_a_row_that_could_be_either_of_two_is_asked_about() -> None:
    found = Built(
        clean("a.csv", "name,uuid", ["jump", "u-1"], ["jump", "u-2"]),
        clean("b.csv", "name,environment", ["jump", "production"]),
        clean("d.csv", "name,detail_key,storage_gb", ["jump", "disk 1", 50], role=DETAIL),
    )
    assert [(asset.environment, len(asset.sources)) for asset in found.assets] == [
        (None, 1),
        (None, 1),
        ("production", 2),
    ]
    [review] = found.reviews
    assert review["kind"] == "ambiguous_match"
    assert "row 2 of b.csv does not say which one it means" in review["reason"]
    assert len(review["asset_ids"]) == 3
    assert len(set(review["asset_ids"])) == 3


def test_a_row_that_fits_one_of_two_by_elimination_says_so() -> None:
    found = Built(
        clean("a.csv", "name,uuid,environment", ["jump", "u-1", None]),
        clean("b.csv", "name,uuid,serial_number", ["jump", "u-2", "CZ1111"]),
        clean("c.csv", "name,serial_number,environment", ["jump", "CZ9999", "production"]),
    )
    assert [(asset.uuid, asset.environment, asset.confidence) for asset in found.assets] == [
        ("u-1", "production", 0.8),
        ("u-2", None, 1.0),
    ]
    assert "nothing else of that name fits" in found.assets[0].matched_by[0]


def test_a_row_that_fits_two_of_three_is_kept_apart() -> None:
    found = Built(
        clean("a.csv", "name,uuid,environment", ["jump", "u-1", None], ["jump", "u-2", None]),
        clean("b.csv", "name,uuid,serial_number", ["jump", "u-3", "CZ1111"]),
        clean("c.csv", "name,serial_number,environment", ["jump", "CZ9999", "production"]),
    )
    assert [asset.uuid for asset in found.assets] == ["u-1", "u-2", "u-3", None]
    assert found.assets[3].environment == "production"
    assert "ambiguous_match" in [review["kind"] for review in found.reviews]


def test_disks_that_could_be_of_either_of_two_are_of_neither() -> None:
    found = Built(
        clean("a.csv", "name,uuid", ["jump", "u-1"], ["jump", "u-2"]),
        clean("d.csv", "name,detail_key,storage_gb", ["jump", "disk 1", 50], role=DETAIL),
        clean("s.csv", "name,software", ["jump", "Java 8"], role=SOFTWARE),
    )
    assert [asset.storage_gb for asset in found.assets] == [None, None]
    assert found.kinds.count("orphan_row") == 2
    assert found.summary["orphan_rows"] == 2


def test_disks_find_their_machine_among_those_of_one_name() -> None:
    found = Built(
        clean("i.csv", "name,VM ID=*,cpu_cores", ["jump", "vm-1", 2], ["jump", "vm-2", 4], kind="rvtools.vinfo"),
        clean(
            "d.csv", "name,detail_key,storage_gb,VM ID=*", ["jump", "d", 10, "vm-2"], ["jump", "d", 20, "vm-1"],
            kind="rvtools.vdisk", role=DETAIL,
        ),
    )  # fmt: skip
    assert [(asset.cpu_cores, asset.storage_gb) for asset in found.assets] == [(2, 20), (4, 10)]


def test_a_reference_that_contradicts_the_name_is_not_believed() -> None:
    found = Built(
        clean("i.csv", "name,VM ID=*", ["vm-a", "vm-1"], ["vm-b", "vm-2"], kind="rvtools.vinfo"),
        clean(
            "d.csv", "name,detail_key,storage_gb,VM ID=*", ["vm-b", "d", 10, "vm-1"], kind="rvtools.vdisk", role=DETAIL
        ),
    )
    assert [(asset.name, asset.storage_gb) for asset in found.assets] == [("vm-a", None), ("vm-b", 10)]


def test_systems_of_other_families_are_not_one_machine() -> None:
    found = Built(
        clean("a.csv", "name,mac_addresses,operating_system", ["web01", MAC, "RHEL 8"]),
        clean("b.csv", "name,mac_addresses,operating_system", ["web77", MAC, "Windows Server 2019"]),
    )
    assert found.names == ["web01", "web77"]
    assert "operating systems" in found.reviews[0]["reason"]


def test_a_name_that_a_whole_column_repeats_costs_nothing() -> None:
    rows = [["server", f"id-{number}"] for number in range(3_000)]
    found = Built(clean("a.csv", "name,uuid", *rows), clean("b.csv", "name,environment", ["server", "production"]))
    assert len(found.assets) == 3_001
    assert len({asset.asset_id for asset in found.assets}) == 3_001


# --- a known estate ---------------------------------------------------------------------------------------------


def _views(machines: int, seed: int) -> tuple[list[CleanTable], dict[tuple[str, int], int]]:
    """One estate in six tables that each know other keys; and which machine each row means."""
    dice = random.Random(seed)
    truth: dict[tuple[str, int], int] = {}
    names: list[str] = []
    domains: list[str] = []
    for number in range(machines):
        twin = number % 10 == 9
        names.append(names[number - 4] if twin else f"{dice.choice(('app', 'web', 'sql'))}{number:03d}")
        domains.append("lab.example" if twin else "corp.example")
    uuids = [str(UUID(int=dice.getrandbits(128), version=4)) for _ in range(machines)]
    macs = [f"00:50:56:{n // 256:02x}:{n % 256:02x}:{dice.randrange(256):02x}" for n in range(machines)]
    addresses = [f"10.{30 if n % 10 == 9 else 20}.{n // 200}.{n % 200 + 1}" for n in range(machines)]

    def table(file: str, columns: str, view: Any, **more: Any) -> CleanTable:
        order = [number for number in range(machines) if dice.random() < 0.9]
        dice.shuffle(order)
        for at, number in enumerate(order, 2):
            truth[file, at] = number
        return clean(file, columns, *map(view, order), **more)

    tables = [
        table(
            "vinfo.csv", "name,fqdn,uuid,ip_addresses",
            lambda n: [names[n] if n % 7 else f"Display {n}", f"{names[n]}.{domains[n]}", uuids[n], addresses[n]],
            kind="rvtools.vinfo",
        ),
        table(
            "vnet.csv", "name,detail_key,mac_addresses,uuid", lambda n: [names[n] if n % 7 else f"Display {n}", "1", macs[n], uuids[n]],
            kind="rvtools.vnetwork", role=DETAIL,
        ),
        table("list.csv", "name,mac_addresses,ip_addresses,cpu_cores", lambda n: [names[n].upper(), macs[n], addresses[n], n]),
        table("azure.csv", "name,ip_addresses", lambda n: [f"{names[n]}.{domains[n]}", addresses[n]], kind="azure_migrate.discovery"),
        table(
            "hub.csv", "hostname,uuid,mac_addresses",
            lambda n: [names[n], str(UUID(bytes=UUID(uuids[n]).bytes_le)), macs[n]],
            kind="aws_migration_hub.import",
        ),
        table("cmdb.csv", "name,fqdn", lambda n: [names[n].upper(), f"{names[n]}.{domains[n]}"], kind="servicenow.servers"),
    ]  # fmt: skip
    return tables, truth


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_known_estate_is_found_again(seed: int, capsys: pytest.CaptureFixture[str]) -> None:
    tables, truth = _views(200, seed)
    found = Built(*tables)
    placed = {(where["file"], where["row"]): at for at, asset in enumerate(found.assets) for where in asset.sources}
    assert placed.keys() >= truth.keys(), "every row is in an asset"

    def pairs(of: dict[tuple[str, int], int]) -> set[tuple[tuple[str, int], ...]]:
        groups = defaultdict(list)
        for place in truth:
            groups[of[place]].append(place)
        return {pair for group in groups.values() for pair in combinations(sorted(group), 2)}

    true, matched = pairs(truth), pairs(placed)
    precision, recall = len(true & matched) / len(matched), len(true & matched) / len(true)
    with capsys.disabled():
        print(
            f"\n  six views, {len(truth)} rows: {len(found.assets)} assets, precision {precision:.4f}, recall {recall:.4f}"
        )
    assert precision >= 0.99
    assert recall >= 0.97
    assert sum(asset.rows for asset in found.assets) == found.summary["rows_in_assets"] == len(truth)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.lists(
            st.tuples(
                st.sampled_from(["a", "b", "A.x.io", "b.y.io", "10.0.0.1", None]),
                st.sampled_from([BIOS, SWAPPED, "u-2", None]),
                st.sampled_from(["10.0.0.1", "10.0.0.2", "10.0.0.1;10.0.0.2", None]),
                st.sampled_from([MAC, OTHER_MAC, None]),
                st.sampled_from(["e-1", "e-2", None]),
            ),
            min_size=1,
            max_size=6,
        ),
        min_size=1,
        max_size=4,
    )
)
def test_no_row_is_lost_or_counted_twice(rows: list[list[tuple[Any, ...]]]) -> None:
    tables = [
        clean(f"{at}.csv", "name,uuid,ip_addresses,mac_addresses,external_id", *map(list, part))
        for at, part in enumerate(rows)
    ]
    found = Built(*tables)
    placed = Counter((where["file"], where["row"]) for asset in found.assets for where in asset.sources)
    assert sum(placed.values()) == len(placed) == sum(map(len, rows)) == found.summary["rows_in_assets"]
    assert len({asset.asset_id for asset in found.assets}) == len(found.assets)
    again = Built(*reversed(tables))
    assert [asset.asset_id for asset in again.assets] == [asset.asset_id for asset in found.assets]
    for review in found.reviews:
        assert set(review["asset_ids"]) <= {asset.asset_id for asset in found.assets}


@pytest.mark.parametrize(
    ("columns", "row"),
    [
        ("name,uuid", lambda n: [f"srv{n}", "the same"]),
        ("name,serial_number", lambda n: [f"srv{n}", "the same"]),
        ("name,external_id", lambda n: [f"srv{n}", "the same"]),
        ("name,mac_addresses,ip_addresses", lambda n: [f"srv{n}", MAC, "10.0.0.1"]),
        ("name,hostname", lambda n: [f"srv{n}", "the-same"]),
        ("name,uuid,ip_addresses", lambda n: ["the same", f"u-{n}" if n % 2 else None, f"10.0.{n // 250}.{n % 250}"]),
        ("name,Note=*,cpu_cores", lambda n: ["the same", f"note {n}", n + 1]),
        ("fqdn,ip_addresses", lambda n: [f"the-same.d{n}.local", f"10.0.{n // 250}.{n % 250}"]),
    ],
)
def test_a_column_that_repeats_itself_costs_little_and_loses_no_row(columns: str, row: Any) -> None:
    rows = [row(number) for number in range(5_000)]
    found = Built(clean("a.csv", columns, *rows), clean("b.csv", columns, *rows[:3]))
    placed = Counter((where["file"], where["row"]) for asset in found.assets for where in asset.sources)
    assert len(placed) == sum(placed.values()) == 5_003
    assert len({asset.asset_id for asset in found.assets}) == len(found.assets)


def test_doubts_are_bounded_and_add_up() -> None:
    names = [f"srv-{number:05d}" for number in range(2_100)]
    found = Built(
        clean("a.csv", "name", *[[name] for name in names]),
        clean("b.csv", "name", *[[name.replace("-", "")] for name in names]),
    )
    assert len(found.assets) == 4_200
    assert (len(found.reviews), found.summary["reviews"]) == (2_000, 2_100)
    assert any(issue["message"].startswith("100 more doubts") for issue in found.issues)


@pytest.mark.parametrize("address", ["169.254.84.196", "fe80::250:56ff:fe00:1"])
def test_an_address_that_a_machine_gave_itself_is_kept_and_joins_nothing(address: str) -> None:
    found = Built(
        clean("a.csv", "name,ip_addresses", ["web-01", address]),
        clean("b.csv", "name,ip_addresses", ["web_01", address], [address, None]),
    )
    assert found.names == ["web-01", "web_01", address]
    assert found["web-01"].ip_addresses == [address]
    assert "shared_address" not in found.kinds


def test_the_bridge_of_a_container_host_joins_nothing_and_is_no_doubt() -> None:
    found = Built(
        clean("a.csv", "name,ip_addresses", ["dock-01", "10.0.0.1;172.17.0.1"], ["dock-02", "10.0.0.2;172.17.0.1"]),
        clean("b.csv", "name,ip_addresses", ["dock_02", "10.0.0.2;172.17.0.1"], ["dock_03", "10.0.0.3;172.17.0.1"]),
    )
    assert sorted(found.names) == ["dock-01", "dock-02", "dock_03"]
    assert found["dock-02"].ip_addresses == ["10.0.0.2", "172.17.0.1"]
    assert "shared_address" not in found.kinds


@pytest.mark.parametrize(
    ("keys", "same", "differ"),
    [
        ("uuid,mac_addresses", "MAC address", "UUIDs"),
        ("serial_number,mac_addresses", "MAC address", "serial numbers"),
        ("uuid,serial_number", "serial number", "UUIDs"),
    ],
)
def test_of_two_names_one_key_does_not_make_up_for_another_that_differs(keys: str, same: str, differ: str) -> None:
    values = {
        "uuid": ("421DA1B2-C3D4-E5F6-0102-030405060708", "421DA1B2-C3D4-E5F6-0102-999999999999"),
        "serial_number": ("CZ111111", "CZ222222"),
        "mac_addresses": ("00:50:56:aa:bb:01", "00:50:56:aa:bb:01"),
    }
    if keys == "uuid,serial_number":
        values["serial_number"] = ("CHASSIS1", "CHASSIS1")
    first, second = ([values[key][at] for key in keys.split(",")] for at in (0, 1))
    found = Built(clean("a.csv", f"name,{keys}", ["web01", *first]), clean("b.csv", f"name,{keys}", ["db77", *second]))
    assert found.names == ["web01", "db77"]
    [review] = found.reviews
    assert f"have the same {same}" in review["reason"]
    assert f"different {differ}" in review["reason"]


def test_one_name_in_two_domains_on_two_systems_is_two_machines() -> None:
    found = Built(
        clean("a.csv", "name,operating_system", ["web01.a.example", "RHEL 8"]),
        clean("b.csv", "name,operating_system", ["web01.b.example", "Windows Server 2019"]),
    )
    assert [asset.fqdn for asset in found.assets] == ["web01.a.example", "web01.b.example"]
    assert [review["kind"] for review in found.reviews] == ["possible_duplicate"]


def test_one_name_in_two_domains_and_nothing_else_known_is_one_machine_with_less_certainty() -> None:
    found = Built(
        clean("a.csv", "name,operating_system", ["web01.a.example", "RHEL 8"]),
        clean("b.csv", "name,operating_system", ["web01.b.example", "RHEL 8"]),
    )
    [asset] = found.assets
    assert asset.confidence == 0.7
    assert asset.matched_by == ["row 2 of b.csv: the same name web01.a.example, in another domain, as row 2 of a.csv"]


def test_a_copy_of_a_machine_keeps_its_uuid_and_is_another_machine() -> None:
    uuid = "421DA1B2-C3D4-E5F6-0102-030405060708"
    columns = "name,uuid,ip_addresses"
    copied = Built(
        clean("a.csv", columns, ["web01", uuid, "10.0.0.1"]), clean("b.csv", columns, ["dr-web01", uuid, "10.9.0.1"])
    )
    assert copied.names == ["web01", "dr-web01"]
    assert "as those of a copy do" in copied.reviews[0]["reason"]
    renamed = Built(
        clean("a.csv", columns, ["web01", uuid, "10.0.0.1"]), clean("b.csv", columns, ["shop01", uuid, "10.0.0.1"])
    )
    unknown = Built(
        clean("a.csv", columns, ["web01", uuid, "10.0.0.1"]), clean("b.csv", columns, ["shop01", uuid, None])
    )
    assert [len(renamed.assets), len(unknown.assets)] == [1, 1]
