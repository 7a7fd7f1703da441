from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estate.dependencies.groups import communities
from estate.dependencies.services import (
    NOISE_PORTS,
    is_ephemeral,
    is_service,
    kind_by_port,
    program,
)
from estate.roles import APPLICATIONS
from estate.vocabulary import special_address
from tests.estate.links import SERVERS, application, found, link, pairs, run, server, table

# --- noise ---


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


@pytest.mark.parametrize("port", [22, 53, 88, 123, 135, 389, 445, 3389])
def test_the_ports_that_everybody_uses_are_noise(port: int) -> None:
    [edge] = found(link("a", "b", port)).dependencies
    assert edge["noise_reason"] == f"port {port}: {NOISE_PORTS[port]}"


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("127.0.0.1", "loopback address"),
        ("::1", "loopback address"),
        ("localhost", "loopback address"),
        ("169.254.7.7", "link-local address"),
        ("fe80::1", "link-local address"),
        ("224.0.0.251", "multicast address"),
        ("ff02::1", "multicast address"),
        ("255.255.255.255", "broadcast address"),
        ("0.0.0.0", "unspecified address"),
    ],
)
def test_addresses_that_are_no_machines_are_noise_and_no_issue(address: str, reason: str) -> None:
    assert special_address(address) == reason
    for row in (link("a", address), link(address, "a")):
        result = found(row)
        assert [edge["noise_reason"] for edge in result.dependencies] == [reason]
        assert result.issues == []


def test_agents_are_noise_by_their_program() -> None:
    columns = "source_name,source_process,target_name,target_process,port"
    rows = [
        ["a", r"C:\Program Files\Zabbix\zabbix_agentd.exe --config C:/z.conf", "b", None, 4711],
        ["a", None, "b", "/opt/splunk/bin/splunkd -p 1", 4712],
        ["a", "java", "b", "tomcat", 4713],
    ]
    assert [edge["noise_reason"] for edge in run([table(columns, *rows)]).dependencies] == [
        "process zabbix_agentd: monitoring",
        "process splunkd: logging",
        None,
    ]


@pytest.mark.parametrize(
    ("process", "name"),
    [
        ("Nginx.exe", "nginx"),
        (r"C:\Program Files\nginx 1\NGINX.EXE -g x", "nginx"),
        ("/usr/sbin/httpd -k start", "httpd"),
        ("nginx: worker process", "nginx"),
        ('"C:\\a b\\svc.exe" /run', "svc"),
        ("postgres", "postgres"),
        ("", ""),
    ],
)
def test_the_program_of_a_process(process: str, name: str) -> None:
    assert program(process) == name


def test_a_service_that_many_use_is_shared() -> None:
    servers = [server(f"s{number}", f"10.1.0.{number}") for number in range(1, 31)]
    many = [link(f"s{number}", "s1", 8443) for number in range(2, 27)]
    result = found(*many, link("s2", "s3"), servers=servers)
    assert {edge["noise_reason"] for edge in result.dependencies if edge["noise"]} == {
        "shared service: 25 of 25 machines use it"
    }
    assert result.summary["noise"]["by_reason"] == {"shared service by fan-in": 25}
    assert [group["names"] for group in result.groups] == [["s2", "s3"]]


def test_nineteen_clients_or_less_than_a_third_make_no_shared_service() -> None:
    servers = [server(f"s{number}") for number in range(100)]
    few = [link(f"s{number}", "s99", 8443) for number in range(19)]
    assert not any(edge["noise"] for edge in found(*few, servers=servers).dependencies)
    others = [link(f"s{number}", f"s{number + 1}", 9000) for number in range(25, 90)]
    many = [link(f"s{number}", "s99", 8443) for number in range(25)]
    assert not any(edge["noise"] for edge in found(*many, *others, servers=servers).dependencies)


def test_clients_on_the_internet_do_not_make_a_service_shared() -> None:
    clients = [[None, [f"52.95.110.{number}"], "a", 8443] for number in range(1, 60)]
    result = run([table("source_name,source_ip,target_name,port", *clients)])
    assert result.summary["noise"]["total"] == 0


def test_applications_are_counted_among_applications() -> None:
    estate = [*(application(f"app{number}") for number in range(40)), application("Single Sign On")]
    rows = [[f"app{number}", "Single Sign On", None, None] for number in range(30)]
    rows += [[None, None, f"host{number}", "x"] for number in range(300)]
    columns = "source_application,target_application,source_name,target_name"
    result = run([table(columns, *rows)], [*estate, server("x")])
    reasons = Counter(edge["noise_reason"] for edge in result.dependencies)
    assert reasons["shared service: 30 of 30 applications use it"] == 30


def test_a_database_of_few_clients_is_not_shared() -> None:
    assert not any(
        edge["noise"] for edge in found(link("a", "d", 1433), link("b", "d", 1433), link("c", "d", 1433)).dependencies
    )


def test_kinds_follow_the_port() -> None:
    ports = (1433, 8080, 445, 53, 389, 9092, 25, 4711)
    edges = found(*(link("a", "b", port) for port in ports)).dependencies
    assert [edge["kind"] for edge in edges] == [
        "database", "web", "file", "management", "directory", "messaging", "mail", "connection",
    ]  # fmt: skip
    assert kind_by_port(None) is None


def test_kinds_follow_the_process_where_the_port_says_nothing_and_else_the_ends() -> None:
    columns = "source_name,target_name,port,target_process"
    rows = [
        ["a", "b", 4711, "sqlservr.exe"],
        ["a", "b", 4711, "nginx"],
        ["a", "store", 4711, None],
        ["lb", "a", 4711, None],
    ]
    estate = [*SERVERS, server("store", asset_type="database"), server("lb", asset_type="load_balancer")]
    assert [pair[2] for pair in pairs(run([table(columns, *rows)], estate))] == [
        "database", "web", "database", "load_balancing",
    ]  # fmt: skip


def test_ports_of_services_and_of_clients() -> None:
    assert [port for port in (80, 1433, 27017, 50000, 52311) if not is_service(port)] == []
    assert [port for port in (50000, 52311, 1433, 32767) if is_ephemeral(port)] == []
    assert is_ephemeral(49152)


# --- circles and groups ---


def test_cycles_move_together() -> None:
    result = found(link("a", "b"), link("b", "c"), link("c", "a"), link("d", "e"))
    assert result.summary["cycles"] == 1
    assert [(group["names"], group["size"], group["edges"]) for group in result.groups] == [
        (["a", "b", "c"], 3, 3),
        (["d", "e"], 2, 1),
    ]
    assert sorted(result.groups[0]["cycles"][0]) == ["a", "b", "c"]
    assert [issue["kind"] for issue in result.issues] == ["dependency_cycle"]
    assert result.messages == ["3 machines depend on each other in a circle and move together: a, b, c."]
    assert result.summary["assets_without_dependencies"] == 1


def test_a_circle_through_an_unknown_host_is_told_with_the_group() -> None:
    result = found(link("a", "mainframe"), link("mainframe", "a"), link("a", "b"))
    assert result.summary["cycles"] == 1
    assert result.groups[0]["cycles"] == [["a", "mainframe"]]


def test_noise_makes_no_circle() -> None:
    assert found(link("a", "b"), link("b", "a", 389)).summary["cycles"] == 0


def test_many_circles_are_summed_up() -> None:
    servers = [server(f"s{number:03}") for number in range(220)]
    links = [link(f"s{one:03}", f"s{one ^ 1:03}") for one in range(220)]
    result = found(*links, servers=servers)
    assert Counter(result.kinds) == {"dependency_cycle": 100, "dependency_cycles": 1}
    assert result.messages[-1] == "10 more circles, of 20 machines together."


def test_a_group_is_summed_up_and_unknown_is_not_zero() -> None:
    servers = [
        server("a", cpu_cores=4, memory_gb=8.5, storage_gb=100.0, environment="production", application_name="CRM"),
        server("b", cpu_cores=2, environment="production"),
        application("CRM"),
        server("c", environment="test"),
    ]
    [group] = found(link("a", "b"), link("crm", "a"), link("b", "c"), servers=servers).groups
    assert group["totals"] == {
        "cpu_cores": {"sum": 6, "known": 2, "unknown": 1},
        "memory_gb": {"sum": 8.5, "known": 1, "unknown": 2},
        "storage_gb": {"sum": 100.0, "known": 1, "unknown": 2},
    }
    assert group["environments"] == {"production": 2, "unknown": 1, "test": 1}
    assert group["applications"] == ["CRM"]
    assert (group["split_from"], group["cut_edges"]) == (None, {})
    [other] = found(link("c", "d"), servers=[server("c"), server("d")]).groups
    assert other["totals"]["cpu_cores"] == {"sum": None, "known": 0, "unknown": 2}


def clusters(count: int, size: int) -> list[list[Any]]:
    """Full groups, each tied to the next by one connection."""
    links = []
    for cluster in range(count):
        names = [f"n{cluster:02}-{number:02}" for number in range(size)]
        links += [link(one, other) for one in names for other in names if one < other]
        if cluster:
            links.append(link(f"n{cluster - 1:02}-00", f"n{cluster:02}-01"))
    return links


def test_a_group_that_swallows_the_estate_is_split_where_it_hangs_together_least() -> None:
    servers = [server(f"n{cluster:02}-{number:02}") for cluster in range(6) for number in range(10)]
    result = found(*clusters(6, 10), servers=servers)
    assert [group["names"][0] for group in result.groups] == [f"n{cluster:02}-00" for cluster in range(6)]
    assert [group["size"] for group in result.groups] == [10] * 6
    [split] = result.summary["splits"]
    assert (split["size"], split["into"], split["edges"], split["cut_edges"]) == (60, 6, 6 * 45 + 5, 5)
    assert {group["split_from"] for group in result.groups} == {split["group_id"]}
    assert sum(sum(group["cut_edges"].values()) for group in result.groups) == 2 * 5
    assert sum(group["edges"] for group in result.groups) == 6 * 45
    assert result.kinds == ["group_split"]
    assert result.messages[0] == (
        "60 assets are connected with each other, too many to move at once: 6 groups are suggested. 5 of their 275"
        " dependencies run between these groups."
    )


def test_a_group_of_fifty_is_not_split() -> None:
    servers = [server(f"n{cluster:02}-{number:02}") for cluster in range(5) for number in range(10)]
    result = found(*clusters(5, 10), servers=servers)
    assert [(group["size"], group["split_from"]) for group in result.groups] == [(50, None)]


def test_communities_do_not_depend_on_the_order_of_the_rows() -> None:
    servers = [server(f"n{cluster:02}-{number:02}") for cluster in range(6) for number in range(10)]
    links = clusters(6, 10)
    first = found(*links, servers=servers).groups
    random.Random(7).shuffle(links)
    again = found(*links, servers=servers).groups
    assert first == again


def test_communities_of_what_cannot_be_divided() -> None:
    assert communities({1: {2: 1.0}, 2: {1: 1.0}}) == [[1, 2]]
    star = {0: dict.fromkeys(range(1, 5), 1.0)} | {number: {0: 1.0} for number in range(1, 5)}
    assert sorted(map(len, communities(star))) == [5]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=40))
def test_circles_are_the_ends_that_reach_each_other(rows: list[tuple[int, int]]) -> None:
    servers = [server(f"s{number:02}") for number in range(13)]
    result = found(*(link(f"s{one:02}", f"s{other:02}") for one, other in rows), servers=servers)
    reach = {one: {other for start, other in rows if start == one} for one in range(13)}
    for middle in range(13):
        for one in range(13):
            if middle in reach[one]:
                reach[one] |= reach[middle]
    circles = {frozenset(other for other in reach[one] if one in reach[other]) | {one} for one in range(13)}
    expected = {frozenset(f"s{number:02}" for number in circle) for circle in circles if len(circle) > 1}
    told = {frozenset(circle) for group in result.groups for circle in group["cycles"]}
    assert told == expected
    assert result.summary["cycles"] == len(expected)


def test_a_cell_that_names_several_applications_is_these_applications() -> None:
    servers = [
        application("Shop"),
        application("Billing"),
        server("a", application_name="shop; Billing"),
        server("b", application_name="Billing, Fax"),
        server("c", application_name="Own, of its own"),
        server("d"),
    ]
    result = found(link("a", "b"), link("b", "c"), link("c", "d"), servers=servers)
    [group] = result.groups
    assert group["applications"] == ["Billing", "Fax", "Own, of its own", "Shop"]


def test_an_application_that_depends_on_itself_is_told_as_one() -> None:
    result = run([table("name,depends_on", ["Shop", ["Shop"]], role=APPLICATIONS, kind="table")], [application("Shop")])
    [edge] = result.dependencies
    assert edge["noise_reason"] == "an application naming itself"
