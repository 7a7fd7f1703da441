from __future__ import annotations

from typing import Any

from estate.dependencies import Dependencies, analyse
from estate.inventory import build
from estate.tables import Cell
from tests.estate.test_inventory import FLOW, clean

COLUMNS = "Timeslot,Source server name,Source process,Destination server name,Destination IP,Destination process,Destination port"


def link(source: str, target: str, port: int = 443, *, address: str = "", seen: str = "2025-06-14 00:00") -> list[Cell]:
    return [seen, source, "java", target or None, address or None, "httpd", port]


def found(*links: list[Cell], servers: list[list[Cell]] | None = None) -> Dependencies:
    rows = servers or [[name, f"10.0.0.{number}"] for number, name in enumerate(("a", "b", "c", "d", "e", "dns"), 1)]
    inventory = build([clean("s.csv", "Server Name,IP Address", *rows)], FLOW)
    return analyse([clean("c.csv", COLUMNS, *links)], inventory.assets, FLOW)


def ends(edge: dict[str, Any]) -> tuple[str, str, int]:
    return edge["source_name"], edge["target_name"], edge["port"]


def test_observations_of_one_connection_are_one_dependency() -> None:
    edges = found(
        link("a", "b", seen="2025-06-14 06:00"), link("A", "b.corp.local", seen="2025-06-13 06:00"), link("a", "b", 80)
    ).dependencies
    assert [(ends(edge), edge["observations"]) for edge in edges] == [(("a", "b", 443), 2), (("a", "b", 80), 1)]
    assert (edges[0]["first_seen"], edges[0]["last_seen"]) == ("2025-06-13 06:00", "2025-06-14 06:00")
    assert [where["row"] for where in edges[0]["sources"]] == [2, 3]
    assert not edges[0]["unknown_endpoint"]


def test_direction_matters() -> None:
    edges = found(link("a", "b"), link("b", "a")).dependencies
    assert [ends(edge)[:2] for edge in edges] == [("a", "b"), ("b", "a")]


def test_an_end_is_found_by_its_address() -> None:
    [edge] = found(link("a", "", address="10.0.0.2")).dependencies
    assert (edge["target_name"], edge["unknown_endpoint"], edge["confidence"]) == ("b", False, 0.8)


def test_an_unknown_end_stays_and_is_told() -> None:
    result = found(link("a", "mainframe"), link("b", "mainframe"), link("c", "", address="52.95.110.1"))
    assert [(edge["target_asset_id"], edge["unknown_endpoint"]) for edge in result.dependencies] == [(None, True)] * 3
    assert [issue["message"] for issue in result.issues] == [
        "mainframe is no machine of the inventory; 2 dependencies end or start there.",
        "52.95.110.1 is outside (a public address); 1 dependency ends or starts there.",
    ]


def test_noise_is_set_apart_with_its_reason() -> None:
    result = found(link("a", "dns", 53), link("b", "a", 3389), link("c", "c", 80), link("a", "b"))
    assert [(edge["noise"], edge["noise_reason"]) for edge in result.dependencies] == [
        (True, "port 53: DNS"),
        (True, "port 3389: RDP administration"),
        (True, "a machine talking to itself"),
        (False, None),
    ]
    assert result.summary["noise"]["total"] == 3
    assert [group["names"] for group in result.groups] == [["a", "b"]]


def test_a_service_that_many_use_is_shared() -> None:
    servers: list[list[Cell]] = [[f"s{number}", f"10.1.0.{number}"] for number in range(1, 31)]
    many = [link(f"s{number}", "s1", 8443) for number in range(2, 27)]
    result = found(*many, link("s2", "s3"), servers=servers)
    assert {edge["noise_reason"] for edge in result.dependencies if edge["noise"]} == {
        "shared service: 25 of 25 machines use it"
    }
    assert [group["names"] for group in result.groups] == [["s2", "s3"]]


def test_a_database_of_few_clients_is_not_shared() -> None:
    assert not any(
        edge["noise"] for edge in found(link("a", "d", 1433), link("b", "d", 1433), link("c", "d", 1433)).dependencies
    )


def test_cycles_move_together() -> None:
    result = found(link("a", "b"), link("b", "c"), link("c", "a"), link("d", "e"))
    assert result.summary["cycles"] == 1
    assert [(group["names"], group["size"], group["edges"]) for group in result.groups] == [
        (["a", "b", "c"], 3, 3),
        (["d", "e"], 2, 1),
    ]
    assert sorted(result.groups[0]["cycles"][0]) == ["a", "b", "c"]
    assert [issue["kind"] for issue in result.issues] == ["dependency_cycle"]
    assert result.summary["assets_without_dependencies"] == 1


def test_kinds_follow_the_port() -> None:
    edges = found(
        link("a", "b", 1433), link("a", "b", 8080), link("a", "b", 445), link("a", "b", 53), link("a", "b", 4711)
    ).dependencies
    assert [edge["kind"] for edge in edges] == ["database", "web", "file", "management", "connection"]


def test_the_same_input_gives_the_same_ids() -> None:
    one, two = found(link("a", "b")), found(link("a", "b"))
    assert one.dependencies == two.dependencies
    assert one.groups == two.groups
