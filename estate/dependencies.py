"""Who talks to whom: edges with direction, port and process; noise set apart with its reason; cycles and move
groups."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid5

import networkx as nx

from estate.bulk import bulk
from estate.cleansing import CleanTable
from estate.formats import CONNECTIONS
from estate.inventory import canonical
from estate.issues import issue
from estate.tables import source
from estate.vocabulary import is_public

NOISE_PORTS: dict[int, str] = {
    53: "DNS", 67: "DHCP", 68: "DHCP", 88: "Kerberos", 123: "NTP", 135: "RPC endpoint mapper", 137: "NetBIOS",
    138: "NetBIOS",
    139: "NetBIOS", 161: "SNMP", 162: "SNMP", 389: "LDAP", 464: "Kerberos", 514: "syslog", 636: "LDAP",
    3268: "global catalog",
    3269: "global catalog", 22: "SSH administration", 3389: "RDP administration", 5985: "WinRM administration",
    5986: "WinRM administration", 5666: "Nagios", 5723: "SCOM", 8530: "WSUS", 8531: "WSUS", 10050: "Zabbix",
    10051: "Zabbix",
    9100: "Prometheus exporter", 9182: "Prometheus exporter", 1556: "NetBackup", 13724: "NetBackup", 6160: "Veeam",
    6162: "Veeam",
    10123: "Configuration Manager", 902: "vSphere", 8089: "Splunk", 9997: "Splunk",
}  # fmt: skip
"""Ports of services that every machine uses (IANA names, and common products): they say nothing about who belongs
together."""
_KIND_PORTS = {
    "database": (1433, 1434, 1521, 1522, 1526, 3306, 5432, 5439, 6379, 9042, 27017, 30015, 50000),
    "web": (80, 443, 8000, 8080, 8081, 8443, 9443),
    "file": (20, 21, 111, 445, 990, 2049),
    "messaging": (1414, 1883, 4222, 5671, 5672, 9092, 61616),
    "mail": (25, 110, 143, 465, 587, 993),
}
KINDS: dict[int, str] = {port: kind for kind, ports in _KIND_PORTS.items() for port in ports}
FAN_IN_LEAST = 20
FAN_IN_SHARE = 0.3
"""A service that at least 20 machines and at least 30 % of all connecting machines use is a shared one."""
MAX_SOURCES = 20


@dataclass(slots=True)
class Dependencies:
    """What `analyse` found."""

    dependencies: list[dict[str, Any]]
    groups: list[dict[str, Any]]
    """Move groups: `{group_id, size, asset_ids[], names[], edges, cycles[[name, ...]]}`, the largest first."""
    issues: list[dict[str, Any]]
    summary: dict[str, Any]


class _Directory:
    """Finds the asset behind a name or an address."""

    def __init__(self, assets: Iterable[dict[str, Any]]) -> None:
        self.names: dict[str, list[str]] = defaultdict(list)
        self.fqdns: dict[str, str] = {}
        self.addresses: dict[str, list[str]] = defaultdict(list)
        self.title: dict[str, str] = {}
        for asset in assets:
            asset_id = asset["asset_id"]
            self.title[asset_id] = asset["name"]
            stated = [asset["name"], asset["hostname"], *asset["custom_attributes"].get("also_known_as", [])]
            for key in dict.fromkeys(canonical(name)[0] for name in stated if name):
                self.names[key].append(asset_id)
            if asset["fqdn"]:
                self.fqdns[asset["fqdn"]] = asset_id
            for address in asset["ip_addresses"]:
                self.addresses[address].append(asset_id)

    def find(self, name: str | None, addresses: list[str]) -> tuple[str | None, float]:
        """(asset id or None, confidence): by full name, by name, by address; a name or address of several assets
        needs the other."""
        by_address = {asset_id for address in addresses for asset_id in self.addresses.get(address, ())}
        if name:
            whole = self.fqdns.get(name.lower())
            if whole:
                return whole, 1.0
            by_name = self.names.get(canonical(name)[0], [])
            if len(by_name) == 1:
                return by_name[0], 1.0
            if by_name:
                both = [asset_id for asset_id in by_name if asset_id in by_address]
                return (both[0], 0.8) if len(both) == 1 else (None, 0.3)
        if len(by_address) == 1:
            return next(iter(by_address)), 0.8 if name is None else 0.6
        return None, 0.5


@bulk
def analyse(tables: Iterable[CleanTable], assets: list[dict[str, Any]], namespace: UUID) -> Dependencies:
    """Turn connection rows into dependencies between assets.

    One dependency per source, target, port, protocol and process; its rows are `sources` (the first 20) and
    `observations`.
    Noise (`noise_reason`): a port that everybody uses, a service with large fan-in, a machine talking to itself. It
    is kept, and left
    out of cycles and groups. An end that is no asset stays, `unknown_endpoint` true. Groups are the connected
    components, cycles the
    strongly connected components of what is left.
    """
    directory = _Directory(assets)
    edges = _edges(tables, directory, namespace)
    issues: list[dict[str, Any]] = []
    _mark_noise(edges)
    _unknown_ends(edges, issues, namespace)
    graph: nx.DiGraph[str] = nx.DiGraph()
    for edge in edges:
        if not edge["noise"]:
            graph.add_edge(_node(edge, "source"), _node(edge, "target"))
    groups, cycles = _groups(graph, edges, directory, namespace)
    for cycle in cycles:
        names = [directory.title.get(node, node) for node in cycle]
        issues.append(
            issue(
                namespace,
                "dependency_cycle",
                "info",
                f"{len(names)} machines depend on each other in a circle and move together: {', '.join(names[:12])}"
                + (", ..." if len(names) > 12 else "")
                + ".",
                asset_id=cycle[0] if cycle[0] in directory.title else None,
            )
        )
    connected = {node for node in graph if node in directory.title}
    return Dependencies(edges, groups, issues, _summary(edges, groups, cycles, len(directory.title), len(connected)))


def _edges(tables: Iterable[CleanTable], directory: _Directory, namespace: UUID) -> list[dict[str, Any]]:
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    resolved: dict[tuple[Any, ...], tuple[str | None, float]] = {}

    def end(values: dict[str, list[list[Any]]], side: str) -> tuple[str, str | None, float]:
        name = values[f"{side}_name"][0][0] if f"{side}_name" in values else None
        addresses = tuple(values[f"{side}_ip"][0][0]) if f"{side}_ip" in values else ()
        key = (name, addresses)
        if key not in resolved:
            resolved[key] = directory.find(name, list(addresses))
        asset_id, confidence = resolved[key]
        return (name or addresses[0]), asset_id, confidence

    for table in tables:
        if table.role != CONNECTIONS:
            continue
        for record in table.records:
            values = record["values"]
            source_name, source_id, source_confidence = end(values, "source")
            target_name, target_id, target_confidence = end(values, "target")
            port, protocol, process, seen = (
                values[field][0][0] if field in values else None
                for field in ("port", "protocol", "target_process", "observed_at")
            )
            client = values["source_process"][0][0] if "source_process" in values else None
            key = (
                source_id or canonical(source_name)[0],
                target_id or canonical(target_name)[0],
                port,
                protocol,
                process,
                client,
            )
            where = source(table.file, table.sheet, record["row"])
            edge = found.get(key)
            if edge is None:
                found[key] = {
                    "dependency_id": str(uuid5(namespace, "dependency|" + "|".join(map(str, key)))),
                    "source_asset_id": source_id,
                    "source_name": directory.title[source_id] if source_id else source_name,
                    "target_asset_id": target_id,
                    "target_name": directory.title[target_id] if target_id else target_name,
                    "port": port,
                    "protocol": protocol,
                    "process": process,
                    "source_process": client,
                    "source_application": values["source_application"][0][0]
                    if "source_application" in values
                    else None,
                    "target_application": values["target_application"][0][0]
                    if "target_application" in values
                    else None,
                    "kind": KINDS.get(port, "management" if port in NOISE_PORTS else "connection")
                    if port
                    else "connection",
                    "noise": False,
                    "noise_reason": None,
                    "unknown_endpoint": source_id is None or target_id is None,
                    "confidence": min(source_confidence, target_confidence),
                    "observations": 1,
                    "first_seen": seen,
                    "last_seen": seen,
                    "source": where,
                    "sources": [where],
                }
                continue
            edge["observations"] += 1
            if len(edge["sources"]) < MAX_SOURCES:
                edge["sources"].append(where)
            if seen is not None:
                edge["first_seen"] = min(edge["first_seen"] or seen, seen)
                edge["last_seen"] = max(edge["last_seen"] or seen, seen)
    return list(found.values())


def _node(edge: dict[str, Any], side: str) -> str:
    return edge[f"{side}_asset_id"] or canonical(edge[f"{side}_name"])[0]


def _mark_noise(edges: list[dict[str, Any]]) -> None:
    clients: dict[tuple[str, int | None], set[str]] = defaultdict(set)
    talkers: set[str] = set()
    for edge in edges:
        talker = _node(edge, "source")
        talkers.add(talker)
        clients[_node(edge, "target"), edge["port"]].add(talker)
    for edge in edges:
        target = _node(edge, "target")
        users = len(clients[target, edge["port"]])
        if _node(edge, "source") == target:
            edge["noise_reason"] = "a machine talking to itself"
        elif edge["port"] in NOISE_PORTS:
            edge["noise_reason"] = f"port {edge['port']}: {NOISE_PORTS[edge['port']]}"
        elif users >= FAN_IN_LEAST and users >= FAN_IN_SHARE * len(talkers):
            edge["noise_reason"] = f"shared service: {users} of {len(talkers)} machines use it"
        edge["noise"] = edge["noise_reason"] is not None


def _unknown_ends(edges: list[dict[str, Any]], issues: list[dict[str, Any]], namespace: UUID) -> None:
    """One issue per endpoint that is no asset, with how many edges end there."""
    unknown: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for edge in edges:
        for side in ("source", "target"):
            if edge[f"{side}_asset_id"] is None:
                unknown[edge[f"{side}_name"]].append(edge)
    for name, found in unknown.items():
        issues.append(
            issue(
                namespace,
                "unknown_endpoint",
                "low",
                f"{name} {'is outside (a public address)' if _public(name) else 'is no machine of the inventory'};"
                f" {len(found)} dependenc{'ies end or start' if len(found) > 1 else 'y ends or starts'} there.",
                source=found[0]["source"],
            )
        )


def _public(name: str) -> bool:
    try:
        return is_public(name)
    except ValueError:
        return False


def _groups(
    graph: nx.DiGraph[str], edges: list[dict[str, Any]], directory: _Directory, namespace: UUID
) -> tuple[list[dict[str, Any]], list[list[str]]]:
    cycles = sorted(
        (sorted(part) for part in nx.strongly_connected_components(graph) if len(part) > 1),
        key=lambda part: (-len(part), part),
    )
    known: nx.Graph[str] = nx.Graph()
    counted: Counter[str] = Counter()
    for edge in edges:
        if not edge["noise"] and edge["source_asset_id"] and edge["target_asset_id"]:
            known.add_edge(edge["source_asset_id"], edge["target_asset_id"])
            counted[edge["source_asset_id"]] += 1
    groups: list[dict[str, Any]] = []
    for part in nx.connected_components(known):
        members = sorted(part, key=lambda node: (directory.title[node].lower(), node))
        groups.append(
            {
                "group_id": str(uuid5(namespace, "group|" + "|".join(sorted(part)))),
                "size": len(members),
                "asset_ids": members,
                "names": [directory.title[node] for node in members],
                "edges": sum(counted[node] for node in members),
                "cycles": [[directory.title.get(node, node) for node in cycle] for cycle in cycles if cycle[0] in part],
            }
        )
    groups.sort(key=lambda group: (-group["size"], group["names"]))
    return groups, cycles


def _summary(
    edges: list[dict[str, Any]], groups: list[dict[str, Any]], cycles: list[list[str]], assets: int, connected: int
) -> dict[str, Any]:
    noise = [edge for edge in edges if edge["noise"]]
    reasons = Counter(
        edge["noise_reason"] if edge["noise_reason"].startswith(("port", "a machine")) else "shared service by fan-in"
        for edge in noise
    )
    return {
        "observations": sum(edge["observations"] for edge in edges),
        "dependencies": len(edges),
        "without_noise": len(edges) - len(noise),
        "noise": {"total": len(noise), "by_reason": dict(reasons.most_common())},
        "unknown_endpoints": sum(1 for edge in edges if edge["unknown_endpoint"]),
        "by_kind": dict(Counter(edge["kind"] for edge in edges).most_common()),
        "cycles": len(cycles),
        "groups": len(groups),
        "largest_group": groups[0]["size"] if groups else 0,
        "assets_in_groups": sum(group["size"] for group in groups),
        "assets_without_dependencies": assets - connected,
    }
