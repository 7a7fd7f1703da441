from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estate.assets import AssetFacts
from estate.dependencies.relations import understand
from estate.roles import APPLICATIONS, DETAIL, MACHINES
from tests.estate.links import COLUMNS, NAMES, SERVERS, application, ends, found, link, pairs, run, server, table

# --- edges ---


def test_observations_of_one_connection_are_one_dependency() -> None:
    edges = found(
        link("a", "b", seen="2025-06-14T06:00:00"),
        link("A", "b.corp.local", seen="2025-06-13T06:00:00"),
        link("a", "b", 80),
    ).dependencies
    assert [(ends(edge), edge["observations"]) for edge in edges] == [(("a", "b", 443), 2), (("a", "b", 80), 1)]
    assert (edges[0]["first_seen"], edges[0]["last_seen"]) == ("2025-06-13T06:00:00", "2025-06-14T06:00:00")
    assert [where["row"] for where in edges[0]["sources"]] == [2, 3]
    assert edges[0]["source"] == {"file": "c.csv", "sheet": None, "row": 2}
    assert not edges[0]["unknown_endpoint"]


def test_an_edge_has_all_its_members_and_unknown_ones_are_null() -> None:
    [edge] = run([table("source_name,target_name", ["a", "b"])]).dependencies
    assert edge == {
        "dependency_id": edge["dependency_id"],
        "source_asset_id": "id-a",
        "source_name": "a",
        "target_asset_id": "id-b",
        "target_name": "b",
        "port": None,
        "protocol": None,
        "process": None,
        "source_process": None,
        "source_application": None,
        "target_application": None,
        "relation": None,
        "kind": "connection",
        "direction": "as_stated",
        "turned": False,
        "noise": False,
        "noise_reason": None,
        "unknown_endpoint": False,
        "outside": False,
        "confidence": 1.0,
        "observations": 1,
        "bytes": None,
        "connections": None,
        "first_seen": None,
        "last_seen": None,
        "source": {"file": "c.csv", "sheet": None, "row": 2},
        "sources": [{"file": "c.csv", "sheet": None, "row": 2}],
    }


def test_direction_matters() -> None:
    edges = found(link("a", "b"), link("b", "a")).dependencies
    assert [ends(edge)[:2] for edge in edges] == [("a", "b"), ("b", "a")]


def test_rows_of_several_tables_are_one_dependency() -> None:
    one, other = (
        table("source_name,target_name,port", ["a", "b", 443]),
        table("source_name,target_name,port", ["c", "d", 443], ["a", "b", 443], file="more.csv"),
    )
    edges = run([one, other]).dependencies
    assert [(ends(edge), edge["observations"]) for edge in edges] == [(("a", "b", 443), 2), (("c", "d", 443), 1)]
    assert [(where["file"], where["row"]) for where in edges[0]["sources"]] == [("c.csv", 2), ("more.csv", 3)]


def test_the_first_twenty_rows_are_kept_and_all_are_counted() -> None:
    [edge] = found(*[link("a", "b") for _ in range(30)]).dependencies
    assert edge["observations"] == 30
    assert [where["row"] for where in edge["sources"]] == list(range(2, 22))


def test_volumes_are_added_and_nothing_known_is_null() -> None:
    columns = "source_name,target_name,port,bytes,bytes,connections"
    rows = [["a", "b", 443, 100, 10, 3], ["a", "b", 443, None, 1, None], ["a", "c", 443, None, None, None]]
    one, other = run([table(columns, *rows)]).dependencies
    assert (one["bytes"], one["connections"]) == (111, 3)
    assert (other["bytes"], other["connections"]) == (None, None)


def test_times_are_compared_as_times_not_as_texts() -> None:
    [edge] = found(
        link("a", "b", seen="2025-06-14T01:00:00+03:00"),
        link("a", "b", seen="2025-06-13T23:30:00Z"),
        link("a", "b", seen=None),
    ).dependencies
    assert (edge["first_seen"], edge["last_seen"]) == ("2025-06-14T01:00:00+03:00", "2025-06-13T23:30:00Z")


def test_a_first_and_a_last_time_come_from_their_own_columns() -> None:
    columns = "source_name,target_name,first_seen,last_seen"
    rows = [["a", "b", "2025-02-01", "2025-03-01"], ["a", "b", "2025-01-01", None], ["a", "c", None, "2025-05-01"]]
    one, other = run([table(columns, *rows)]).dependencies
    assert (one["first_seen"], one["last_seen"]) == ("2025-01-01", "2025-03-01")
    assert (other["first_seen"], other["last_seen"]) == (None, "2025-05-01")


def test_the_same_input_gives_the_same_ids() -> None:
    one, two = found(link("a", "b")), found(link("a", "b"))
    assert one.dependencies == two.dependencies
    assert one.groups == two.groups


def test_ids_are_all_different() -> None:
    relation = table(
        "source_name,target_name,relation", ["a", "b", "depends on"], ["a", "b", "runs on"], ["a", "b", None]
    )
    ids = [edge["dependency_id"] for edge in run([table(COLUMNS, link("a", "b")), relation]).dependencies]
    assert len(set(ids)) == len(ids) == 4


def test_rows_that_lack_an_end_are_counted_and_told() -> None:
    result = found(link("a", "b"), link(None, "b"), link("a", None), link("c", "d"))
    assert [ends(edge)[:2] for edge in result.dependencies] == [("a", "b"), ("c", "d")]
    assert [edge["sources"][0]["row"] for edge in result.dependencies] == [2, 5]
    assert result.summary["incomplete_rows"] == 2
    assert result.messages == ["c.csv: 2 rows do not name both ends and are no dependency; the first is row 3."]
    assert result.issues[0]["source"] == {"file": "c.csv", "sheet": None, "row": 3}


def test_of_several_columns_for_one_thing_the_first_that_knows_is_taken() -> None:
    columns = "source_name,source_name,target_name,port"
    edges = run([table(columns, ["a", "c", "b", 443], [None, "c", "b", 443])]).dependencies
    assert [edge["source_name"] for edge in edges] == ["a", "c"]


def test_an_estate_without_connections_has_no_dependencies() -> None:
    result = run([table("name", ["a"], role=MACHINES, file="s.csv")])
    assert (result.dependencies, result.groups, result.issues) == ([], [], [])
    assert result.summary["assets_without_dependencies"] == 6
    assert result.summary["largest_group"] == 0


def test_a_name_whose_address_is_another_machines_is_less_sure() -> None:
    [edge] = found(link("a", "b", address="10.0.0.3")).dependencies
    assert (edge["target_name"], edge["confidence"]) == ("b", 0.7)


# --- ends ---


def test_an_end_is_found_by_its_address() -> None:
    [edge] = found(link("a", "", address="10.0.0.2")).dependencies
    assert (edge["target_name"], edge["unknown_endpoint"], edge["confidence"]) == ("b", False, 0.8)


def test_an_address_in_the_column_of_names_is_an_address() -> None:
    [edge] = found(link("10.0.0.1", "b")).dependencies
    assert (edge["source_name"], edge["confidence"]) == ("a", 0.8)


def test_a_name_nobody_has_is_found_by_its_address_with_less_confidence() -> None:
    [edge] = found(link("a", "b-alias", address="10.0.0.2")).dependencies
    assert (edge["target_name"], edge["confidence"]) == ("b", 0.6)


def test_an_end_is_found_by_alias_host_name_and_external_id() -> None:
    machine = server("Payroll DB", hostname="SQL7", also_known_as=["sql-old"], external_ids=["vm-77"])
    edges = found(
        *(link("a", name) for name in ("sql7", "SQL-OLD", "payroll db", "VM-77")), servers=[*SERVERS, machine]
    ).dependencies
    assert [(edge["target_name"], edge["observations"]) for edge in edges] == [("Payroll DB", 4)]


def test_a_name_of_two_machines_is_not_guessed() -> None:
    twins = [server("web", "10.1.0.1"), AssetFacts(asset_id="other", name="WEB", ip_addresses=["10.1.0.2"])]
    result = found(link("a", "web"), link("a", "web", address="10.1.0.2"), servers=[*SERVERS, *twins])
    assert [(edge["target_asset_id"], edge["confidence"]) for edge in result.dependencies] == [
        (None, 0.3),
        ("other", 0.8),
    ]
    assert result.kinds == ["ambiguous_endpoint"]
    assert result.messages == [
        "web may be any of 2 assets of the inventory (web, WEB); 1 dependency ends or starts there."
    ]


def test_machines_of_one_name_are_told_apart_by_their_domain() -> None:
    twins = [
        server("web", fqdn="web.one.example"),
        AssetFacts(asset_id="other", name="web", fqdn="web.two.example"),
    ]
    edges = found(link("a", "web.two.example"), link("a", "WEB.One.Example"), servers=[*SERVERS, *twins]).dependencies
    assert [edge["target_asset_id"] for edge in edges] == ["other", "id-web"]


def test_another_domain_lowers_the_confidence() -> None:
    [edge] = found(link("a", "web.two.example"), servers=[*SERVERS, server("web", fqdn="web.one.example")]).dependencies
    assert (edge["target_name"], edge["confidence"]) == ("web", 0.7)


def test_an_address_that_two_machines_state_is_not_guessed() -> None:
    result = found(
        link("a", "", address="10.9.9.9"), servers=[*SERVERS, server("x", "10.9.9.9"), server("y", "10.9.9.9")]
    )
    assert result.dependencies[0]["unknown_endpoint"]
    assert result.messages == [
        "10.9.9.9 may be any of 2 assets of the inventory (x, y); 1 dependency ends or starts there."
    ]


def test_an_address_that_every_machine_has_is_nobody() -> None:
    local = [server("x", "fe80::1", "10.8.0.1"), server("y", "127.0.0.1")]
    result = found(link("x", "", address="fe80::1"), link("x", "", address="127.0.0.1"), servers=local)
    assert [edge["target_asset_id"] for edge in result.dependencies] == [None, None]


def test_an_unknown_end_stays_and_is_told() -> None:
    result = found(link("a", "mainframe"), link("b", "mainframe"), link("c", "", address="52.95.110.1"))
    assert [(edge["target_asset_id"], edge["unknown_endpoint"]) for edge in result.dependencies] == [(None, True)] * 3
    assert [edge["outside"] for edge in result.dependencies] == [False, False, True]
    assert result.messages == [
        "mainframe is no machine of the inventory; 2 dependencies end or start there.",
        "52.95.110.1 is outside (a public address); 1 dependency ends or starts there.",
    ]
    assert (result.summary["unknown_endpoints"], result.summary["outside"]) == (3, 1)


def test_an_unknown_host_with_a_public_address_is_outside() -> None:
    [edge] = found(link("a", "api.example.com", address="52.95.110.1")).dependencies
    assert (edge["target_name"], edge["outside"]) == ("api.example.com", True)


def test_two_machines_do_not_belong_together_by_an_unknown_host() -> None:
    assert found(link("a", "mainframe"), link("b", "mainframe")).groups == []


def test_many_unknown_ends_are_summed_up() -> None:
    result = found(*(link("a", f"host{number}") for number in range(620)), link("b", "host7"))
    assert Counter(result.kinds) == {"unknown_endpoint": 500, "unknown_endpoints": 1}
    assert result.messages[0] == "host7 is no machine of the inventory; 2 dependencies end or start there."
    assert result.messages[-1] == (
        "120 more ends are no assets of the inventory; 120 dependencies (120 rows) end or start there."
    )


# --- direction ---

PORTS = "source_name,source_port,source_process,target_name,port,target_process"


def test_a_row_that_is_the_answer_is_turned_round() -> None:
    result = run(
        [table(PORTS, ["d", 1433, "sqlservr.exe", "a", 51544, "java"], ["a", 51800, "java", "d", 1433, "sqlservr.exe"])]
    )
    [edge] = result.dependencies
    assert (*ends(edge), edge["process"], edge["source_process"]) == ("a", "d", 1433, "sqlservr.exe", "java")
    assert (edge["observations"], edge["turned"], edge["kind"], edge["direction"]) == (2, True, "database", "as_stated")
    assert result.summary["turned_rows"] == 1
    assert result.kinds == ["connections_turned"]
    assert result.messages[0] == (
        "1 connection was turned round: the source port is that of a service, the destination port one that clients"
        " are given."
    )


def test_an_edge_of_turned_rows_only_has_its_direction_from_the_ports() -> None:
    [edge] = run([table(PORTS, ["d", 5432, None, "a", 40000, None])]).dependencies
    assert (edge["source_name"], edge["direction"], edge["turned"]) == ("a", "by_port", True)


@pytest.mark.parametrize(
    ("source_port", "port"), [(None, 51544), (1433, None), (51544, 1433), (51544, 51545), (1433, 443), (7777, 51544)]
)
def test_without_both_ports_saying_so_nothing_is_turned(source_port: int | None, port: int | None) -> None:
    [edge] = run([table(PORTS, ["d", source_port, None, "a", port, None])]).dependencies
    assert (*ends(edge), edge["turned"]) == ("d", "a", port, False)


def test_inbound_turns_a_row_of_a_local_and_a_remote_end() -> None:
    columns, rows = "source_name,target_name,port,direction", [["a", "b", 443, "Inbound"], ["a", "c", 443, "outbound"]]
    netstat = table(columns, *rows, fields={"source_name": "Local Address", "target_name": "Remote Address"})
    assert [ends(edge)[:2] for edge in run([netstat]).dependencies] == [("b", "a"), ("a", "c")]
    assert [ends(edge)[:2] for edge in run([table(columns, *rows)]).dependencies] == [("a", "b"), ("a", "c")]


def test_inbound_rows_keep_the_port_of_the_local_service() -> None:
    columns = "source_name,source_port,target_name,port,direction"
    netstat = table(columns, ["a", 7777, "b", 60000, "in"], fields={"source_name": "Local", "target_name": "Foreign"})
    result = run([netstat])
    assert [ends(edge) for edge in result.dependencies] == [("b", "a", 7777)]
    assert result.summary["turned_rows"] == 0


# --- relations ---


@pytest.mark.parametrize(
    ("words", "phrase", "turned", "meaning"),
    [
        ("Depends on::Used by", "depends on", False, "needs"),
        ("Used by::Depends on", "depends on", True, "needs"),
        ("is used by", "depends on", True, "needs"),
        ("NORTHBOUND", "depends on", True, "needs"),
        ("southbound", "depends on", False, "needs"),
        ("Runs_on", "runs on", False, "runs_on"),
        ("Hosts::Hosted on", "runs on", True, "runs_on"),
        ("Virtualized by::Virtualizes", "runs on", False, "runs_on"),
        ("Contains::Contained by", "contains", False, "contains"),
        ("load balanced by", "balances", True, "load_balancing"),
        ("Monitored by", "monitored by", False, "monitoring"),
        ("is friends with", "is friends with", False, "needs"),
    ],
)
def test_words_for_relations(words: str, phrase: str, turned: bool, meaning: str) -> None:
    relation = understand(words)
    assert (relation.phrase, relation.turned, relation.meaning) == (phrase, turned, meaning)
    again = understand(relation.phrase)
    assert (again.phrase, again.turned, again.meaning) == (phrase, False, meaning)


def test_application_dependencies_follow_north_and_south() -> None:
    apps = [application(name) for name in ("Gateway", "Inventory", "Customers")]
    rows = [
        ["Gateway", "Inventory", "southbound"],
        ["Customers", "Gateway", "Northbound"],
        ["Gateway", "Billing", "southbound"],
    ]
    result = run([table("source_application,target_application,direction", *rows)], apps)
    assert pairs(result) == [
        ("Gateway", "Inventory", "application"),
        ("Gateway", "Customers", "application"),
        ("Gateway", "Billing", "application"),
    ]
    assert {edge["direction"] for edge in result.dependencies} == {"by_relation"}
    assert [edge["turned"] for edge in result.dependencies] == [False] * 3
    assert result.messages == ["Billing is no application of the inventory; 1 dependency ends or starts there."]
    assert [group["names"] for group in result.groups] == [["Customers", "Gateway", "Inventory"]]


def test_relations_of_a_cmdb() -> None:
    estate = [
        *SERVERS,
        application("Payroll"),
        server("esx1", migratable=False),
        server("paydb", asset_type="database"),
        server("lb1", asset_type="load_balancer"),
    ]
    rows = [
        ["Payroll", "a", "Runs on::Runs"],
        ["b", "Payroll", "Hosts::Hosted on"],
        ["a", "esx1", "Virtualized by::Virtualizes"],
        ["paydb", "esx1", "Runs on::Runs"],
        ["paydb", "c", "Runs on::Runs"],
        ["Payroll", "paydb", "Depends on::Used by"],
        ["a", "lb1", "balanced by"],
        ["a", "d", "Managed by::Manages"],
        ["a", "e", "Backed up by"],
        ["esx1", "rack 7", "Located in"],
        ["a", "Payroll", "Contains::Contained by"],
        ["d", "e", "Members::Member of"],
        ["esx1", "d", "Members::Member of"],
    ]
    result = run([table("source_name,target_name,relation", *rows)], estate)
    assert [(*pair, edge["noise_reason"]) for pair, edge in zip(pairs(result), result.dependencies, strict=True)] == [
        ("Payroll", "a", "hosted_on", None),
        ("Payroll", "b", "hosted_on", None),
        ("a", "esx1", "runs_on", "placement"),
        ("paydb", "esx1", "runs_on", "placement"),
        ("paydb", "c", "hosted_on", None),
        ("Payroll", "paydb", "application", None),
        ("lb1", "a", "load_balancing", None),
        ("a", "d", "management", "relation managed by: management"),
        ("a", "e", "management", "relation backed up by: backup"),
        ("esx1", "rack 7", "management", "relation located in: location"),
        ("Payroll", "a", "hosted_on", None),
        ("d", "e", "connection", None),
        ("esx1", "d", "connection", "placement"),
    ]


def test_an_application_and_a_machine_of_one_name_are_told_apart_by_the_column() -> None:
    estate = [server("payroll"), AssetFacts(asset_id="app", name="Payroll", asset_type="application"), *SERVERS]
    columns = "source_name,target_name,target_application"
    edges = run([table(columns, ["a", "payroll", None], ["a", None, "payroll"])], estate).dependencies
    assert [edge["target_asset_id"] for edge in edges] == ["id-payroll", "app"]


def test_a_virtual_machine_is_no_pool() -> None:
    plain = table(
        "source_name,target_name", ["a", "b"], fields={"source_name": "Virtual Machine", "target_name": "DB Host"}
    )
    assert pairs(run([plain])) == [("a", "b", "connection")]


def test_a_pool_balances_its_members_and_a_link_uses_a_database() -> None:
    pool = table(
        "source_name,target_name,port",
        ["vip-shop", "a", 8080],
        fields={"source_name": "Virtual Server", "target_name": "Pool Member"},
    )
    links = table("source_name,target_name", ["b", "hr"], kind="database_links", file="l.csv")
    estate = [*SERVERS, server("vip-shop", asset_type="load_balancer"), server("hr", asset_type="database")]
    result = run([pool, links], estate)
    assert pairs(result) == [("vip-shop", "a", "load_balancing"), ("b", "hr", "database")]
    assert [edge["relation"] for edge in result.dependencies] == ["balances", "uses database"]


# --- columns that name others ---


def test_a_machine_serves_its_application_when_that_is_an_asset() -> None:
    estate = [server("a", row=2), server("b", row=3), application("CRM")]
    rows = [["a", "CRM"], ["b", "Unlisted"]]
    result = run([table("name,application_name", *rows, role=MACHINES, file="s.csv")], estate)
    assert pairs(result) == [("CRM", "a", "hosted_on")]
    assert result.dependencies[0]["source"] == {"file": "s.csv", "sheet": None, "row": 2}
    assert result.dependencies[0]["direction"] == "by_relation"


def test_an_application_keeps_the_dots_of_its_name() -> None:
    estate = [server("a", row=2), server("shop", row=3), application("Shop.Net")]
    result = run([table("name,application_name", ["a", "shop.net"], role=MACHINES, file="s.csv")], estate)
    assert pairs(result) == [("Shop.Net", "a", "hosted_on")]


def test_where_machines_run_is_placement_and_makes_no_group() -> None:
    estate = [server("a", row=2), server("b", row=3), server("esx1", migratable=False)]
    rows = [["a", "esx1"], ["b", "esx1"], ["b", "cluster 1"]]
    result = run([table("name,runs_on", *rows, role=MACHINES, file="s.csv")], estate)
    assert pairs(result) == [("a", "esx1", "runs_on"), ("b", "esx1", "runs_on"), ("b", "cluster 1", "runs_on")]
    assert {edge["noise_reason"] for edge in result.dependencies} == {"placement"}
    assert result.groups == []
    assert result.messages == ["1 host or cluster is not in the inventory (cluster 1); 1 machine is placed there."]


def test_a_machine_may_serve_several_applications() -> None:
    estate = [server("a"), application("CRM"), application("ERP"), application("Food, Inc.")]
    rows = [["a", "CRM; ERP;Unlisted"], ["a", "Food, Inc."]]
    result = run([table("name,application_name", *rows, role=MACHINES, file="s.csv")], estate)
    assert [pair[0] for pair in pairs(result)] == ["CRM", "ERP", "Food, Inc."]


def test_hosts_that_machines_run_on_are_told_once() -> None:
    rows = [["a", "esx1"], ["b", "esx1"], ["c", "esx2"]]
    result = run([table("name,runs_on", *rows, role=MACHINES, file="s.csv")])
    assert result.messages == [
        "2 hosts or clusters are not in the inventory (esx1, esx2); 3 machines are placed there."
    ]


def test_an_application_names_its_hosts_databases_and_needs() -> None:
    estate = [
        server("shopweb", row=9),
        server("shopdb", asset_type="database"),
        application("Shop", row=2, file="apps.csv"),
        application("Maps"),
    ]
    rows = [["Shop", ["Maps", "Tax"], ["shopweb", "lost"], ["shopdb"]]]
    result = run([table("name,depends_on,hosts,databases", *rows, role=APPLICATIONS, file="apps.csv")], estate)
    assert [
        (*pair, edge["unknown_endpoint"]) for pair, edge in zip(pairs(result), result.dependencies, strict=True)
    ] == [
        ("Shop", "Maps", "application", False),
        ("Shop", "Tax", "application", True),
        ("Shop", "shopweb", "hosted_on", False),
        ("Shop", "lost", "hosted_on", True),
        ("Shop", "shopdb", "database", False),
    ]
    assert [group["names"] for group in result.groups] == [["Maps", "Shop", "shopdb", "shopweb"]]
    assert result.groups[0]["applications"] == ["Maps", "Shop"]


def test_a_row_is_the_asset_it_became_whatever_its_name() -> None:
    estate = [server("really-a", row=2), application("CRM")]
    columns = "name,application_name"
    assert pairs(run([table(columns, ["old name", "CRM"], role=MACHINES, file="s.csv")], estate)) == [
        ("CRM", "really-a", "hosted_on")
    ]
    named = [server("a"), application("CRM")]
    assert pairs(run([table(columns, ["A", "CRM"], role=MACHINES, file="s.csv")], named)) == [("CRM", "a", "hosted_on")]


def test_details_of_machines_are_no_relations() -> None:
    assert run([table("name,runs_on", ["a", "esx1"], role=DETAIL, file="s.csv")]).dependencies == []


# --- everything at once ---

some_name = st.sampled_from([*NAMES, "mainframe", "A", "b.corp.local", "52.95.110.1", "127.0.0.1", None])
some_row = st.tuples(some_name, some_name, st.sampled_from([None, 53, 443, 1433, 50123]), st.integers(0, 9) | st.none())


@settings(max_examples=60, deadline=None)
@given(st.lists(some_row, max_size=40))
def test_rows_and_edges_add_up(rows: list[tuple[Any, ...]]) -> None:
    result = run([table("source_name,target_name,port,bytes", *map(list, rows))])
    whole = [row for row in rows if row[0] and row[1]]
    figures, edges = result.summary, result.dependencies
    assert figures["incomplete_rows"] == len(rows) - len(whole)
    assert figures["observations"] == len(whole) == sum(edge["observations"] for edge in edges)
    assert figures["dependencies"] == len(edges) == sum(figures["by_kind"].values())
    assert figures["without_noise"] == len(edges) - figures["noise"]["total"]
    assert (
        figures["noise"]["total"] == sum(edge["noise"] for edge in edges) == sum(figures["noise"]["by_reason"].values())
    )
    assert figures["noise"]["observations"] == sum(edge["observations"] for edge in edges if edge["noise"])
    assert figures["noise"]["observations"] == sum(figures["noise"]["observations_by_reason"].values())
    assert sum(edge["bytes"] or 0 for edge in edges) == sum(row[3] or 0 for row in whole)
    assert len({edge["dependency_id"] for edge in edges}) == len(edges)
    assert all(edge["noise"] == (edge["noise_reason"] is not None) for edge in edges)
    assert all(
        edge["unknown_endpoint"] == (None in (edge["source_asset_id"], edge["target_asset_id"])) for edge in edges
    )
    grouped = [asset for group in result.groups for asset in group["asset_ids"]]
    assert len(grouped) == len(set(grouped)) == figures["assets_in_groups"]
