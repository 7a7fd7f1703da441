"""One asset per machine: rows of several files and sheets brought together, disagreements kept side by side."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid5

from estate.bulk import bulk
from estate.cleansing import CleanTable
from estate.formats import CONNECTIONS, DETAIL, MACHINES, words
from estate.issues import issue
from estate.tables import source
from estate.vocabulary import is_host_name, parse_ip, split_fqdn

TABLE_RANK = {
    "rvtools.vinfo": 0, "azure_migrate.discovery": 0, "rvtools.vhost": 0, "table": 1, "rvtools.vcpu": 2,
    "rvtools.vmemory": 2,
    "rvtools.vdisk": 2, "rvtools.vnetwork": 2, "rvtools.vpartition": 3,
}  # fmt: skip
"""Whose value is chosen where tables disagree: the lowest. Business facts are taken from plain tables (kept by
people) first."""
BUSINESS = frozenset(
    {"environment", "location", "criticality", "business_owner", "technical_owner", "application_name"}
)
SINGLE = (
    "cpu_cores", "memory_gb", "storage_gb", "environment", "location", "criticality", "business_owner",
    "technical_owner",
    "application_name", "power_state", "cpu_utilization_percent", "memory_utilization_percent",
)  # fmt: skip
CONFLICT_SEVERITY = dict.fromkeys(("cpu_cores", "memory_gb", "storage_gb", "operating_system", "os_version"), "medium")
EXPECTED = (
    "ip_addresses", "operating_system", "os_version", "cpu_cores", "memory_gb", "storage_gb", "environment",
    "location", "criticality",
    "business_owner", "technical_owner", "application_name", "power_state",
)  # fmt: skip
MISSING_SEVERITY = dict.fromkeys(
    ("operating_system", "cpu_cores", "memory_gb", "storage_gb", "environment"), "medium"
) | dict.fromkeys(("ip_addresses", "os_version", "criticality", "business_owner", "application_name"), "low")
MAX_MISSING_ROWS = 2_000
TOLERANCE = 0.001
"""Sizes that differ by less than a thousandth are rounding, not a conflict."""
MAX_CONNECTION_SOURCES = 50

_DATABASE_ROLES = {"db", "database", "sql", "rdbms", "database server", "db server"}
_ROLE_TYPES = dict.fromkeys(_DATABASE_ROLES, "database") | {
    "lb": "load_balancer", "load balancer": "load_balancer", "firewall": "network_device", "router": "network_device",
    "switch": "network_device", "storage": "storage", "nas": "storage", "appliance": "appliance",
}  # fmt: skip
_HINTS = {
    "db": "database", "sql": "database", "mssql": "database", "mysql": "database", "oracle": "database",
    "postgres": "database",
    "pg": "database", "mongo": "database", "mongodb": "database", "web": "web", "www": "web", "iis": "web",
    "nginx": "web", "app": "application",
    "appliance": "appliance", "dc": "directory", "ad": "directory", "dns": "directory", "lb": "load_balancer",
    "haproxy": "load_balancer",
    "netscaler": "load_balancer", "fw": "network_device", "nas": "storage", "backup": "backup", "bkp": "backup",
}  # fmt: skip
_VIRTUAL_MACS = {
    "00:50:56": "VMware",
    "00:0c:29": "VMware",
    "00:05:69": "VMware",
    "00:15:5d": "Hyper-V",
    "52:54:00": "KVM",
}


@dataclass(slots=True)
class Sighting:
    """One row that speaks of a machine."""

    table: CleanTable
    order: int
    record: dict[str, Any]
    name: str
    key: str
    domain: str | None
    aliases: tuple[str, ...]
    external_id: str | None
    values: dict[str, list[list[Any]]]
    """Clean values by target."""
    where: dict[str, Any]
    """File, sheet, row."""

    @property
    def addresses(self) -> set[str]:
        """The addresses this row states."""
        return {address for addresses, _ in self.values.get("ip_addresses", []) for address in addresses}


@dataclass(slots=True)
class Machine:
    """The rows that are one machine."""

    key: str
    sightings: list[Sighting]
    confidence: float = 1.0
    also: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Inventory:
    """What `build` found."""

    assets: list[dict[str, Any]]
    issues: list[dict[str, Any]]
    summary: dict[str, Any]


@bulk
def build(tables: Iterable[CleanTable], namespace: UUID) -> Inventory:
    """Bring all rows together into assets.

    `namespace` (the flow's id) makes ids: asset_id = uuid5(namespace, canonical key), the same for the same input.
    Rows are one machine when their names agree without case and domain, or when a host name in one table is the name in
    another and no table lists both. Same name with different keys of the source in one table = different machines.
    An estate that has only connections gets its machines from their ends.
    """
    listed = list(tables)
    sightings = [
        sighting
        for order, table in enumerate(listed)
        if table.role in {MACHINES, DETAIL}
        for record in table.records
        if (sighting := _sight(table, order, record)) is not None
    ]
    work = _Build(namespace)
    if not sightings:
        work.from_connections([table for table in listed if table.role == CONNECTIONS])
    else:
        for machine in work.machines(sightings):
            work.add(machine)
    work.shared_addresses()
    work.missing()
    return Inventory(work.assets, work.issues, summarise(work.assets, len(sightings)))


def canonical(name: str) -> tuple[str, str | None]:
    """The key of a machine name, and its domain: `WEB01.corp.local` -> (`web01`, `corp.local`)."""
    text = " ".join(name.split())
    if parse_ip(text) is None:
        parts = split_fqdn(text)
        if parts is not None:
            return parts[0].lower(), parts[1].lower()
    return text.lower(), None


def _sight(table: CleanTable, order: int, record: dict[str, Any]) -> Sighting | None:
    values = record["values"]
    stated = [values[target][0][0] for target in ("name", "hostname", "fqdn") if target in values]
    if not stated:
        return None
    key, domain = canonical(stated[0])
    aliases = []
    for other in stated[1:]:
        other_key, other_domain = canonical(other)
        domain = domain or other_domain
        if other_key != key:
            aliases.append(other_key)
    external = values.get("external_id")
    return Sighting(
        table,
        order,
        record,
        stated[0],
        key,
        domain,
        tuple(dict.fromkeys(aliases)),
        external[0][0] if external else None,
        values,
        source(table.file, table.sheet, record["row"]),
    )


class _Build:
    """Assets and issues as they grow."""

    def __init__(self, namespace: UUID) -> None:
        self.namespace = namespace
        self.assets: list[dict[str, Any]] = []
        self.issues: list[dict[str, Any]] = []

    def raise_issue(self, kind: str, severity: str, message: str, **place: Any) -> None:
        self.issues.append(issue(self.namespace, kind, severity, message, **place))

    # --- which rows are one machine

    def machines(self, sightings: list[Sighting]) -> list[Machine]:
        groups: dict[str, list[Sighting]] = defaultdict(list)
        for sighting in sightings:
            groups[sighting.key].append(sighting)
        parent = self._join_aliases(groups)
        joined: dict[str, list[str]] = defaultdict(list)
        for key in groups:
            joined[_root(parent, key)].append(key)
        machines: list[Machine] = []
        for keys in joined.values():
            # the name an inventory gives comes first; host names it is also known by follow
            rows = sorted((row for key in keys for row in groups[key]), key=_precedence)
            first = rows[0].key
            machine = Machine(first, rows, 1.0 if len(keys) == 1 else 0.9, [key for key in keys if key != first])
            machines.extend(self._split(machine))
        self._same_key_different_name(machines)
        return machines

    def _join_aliases(self, groups: dict[str, list[Sighting]]) -> dict[str, str]:
        claims: dict[str, dict[str, Sighting]] = defaultdict(dict)
        for key, rows in groups.items():
            for row in rows:
                for alias in row.aliases:
                    claims[alias].setdefault(key, row)
        parent = {key: key for key in groups}
        listed_in = {key: {row.order for row in rows if row.table.role == MACHINES} for key, rows in groups.items()}
        for alias, claimants in claims.items():
            contenders = set(claimants) | ({alias} if alias in groups else set())
            if len(contenders) < 2:
                continue
            apart = len(claimants) > 1 or any(listed_in[alias] & listed_in[key] for key in claimants)
            if apart:
                row = next(iter(claimants.values()))
                names = ", ".join(sorted(contenders))
                self.raise_issue(
                    "shared_hostname",
                    "medium",
                    f"The host name {alias} is given for more than one machine: {names}. They were kept apart.",
                    field="hostname",
                    source=row.where,
                )
                continue
            for key in claimants:
                parent[_root(parent, key)] = _root(parent, alias)
        return parent

    def _split(self, machine: Machine) -> list[Machine]:
        """Take rows apart that share a name and are different machines: other keys of the source, or other domains
        and addresses."""
        by_table: dict[int, list[Sighting]] = defaultdict(list)
        for row in machine.sightings:
            if row.table.role == MACHINES:
                by_table[row.order].append(row)
        for rows in by_table.values():
            ids = list(dict.fromkeys(row.external_id for row in rows if row.external_id))
            if len(ids) > 1:
                return self._apart(
                    machine, {id_: [row for row in rows if row.external_id == id_] for id_ in ids}, "key in the source"
                )
        for rows in by_table.values():
            domains: dict[str, list[Sighting]] = defaultdict(list)
            for row in rows:
                if row.domain and row.addresses:
                    domains[row.domain].append(row)
            if len(domains) > 1:
                addresses = [set().union(*(row.addresses for row in part)) for part in domains.values()]
                if sum(map(len, addresses)) == len(set().union(*addresses)):
                    return self._apart(machine, dict(domains), "domain and addresses")
        return [machine]

    def _apart(self, machine: Machine, parts: dict[str, list[Sighting]], by: str) -> list[Machine]:
        placed = {id(row) for rows in parts.values() for row in rows}
        split = {
            mark: Machine(f"{machine.key}|{mark}", list(rows), machine.confidence, machine.also)
            for mark, rows in parts.items()
        }
        addresses = {mark: set().union(*(row.addresses for row in rows)) for mark, rows in parts.items()}
        domains = {mark: {row.domain for row in rows if row.domain} for mark, rows in parts.items()}
        for row in machine.sightings:
            if id(row) in placed:
                continue
            fits = [
                mark
                for mark in parts
                if row.external_id == mark
                or row.addresses & addresses[mark]
                or (row.domain and row.domain in domains[mark])
            ]
            home = split[fits[0] if fits else next(iter(parts))]
            home.sightings.append(row)
            if len(fits) != 1:
                home.confidence = min(home.confidence, 0.6)
                self.raise_issue(
                    "ambiguous_name",
                    "medium",
                    f"{row.name} names {len(parts)} machines; this row was given to the first that fits.",
                    source=row.where,
                )
        first = next(iter(parts.values()))[0]
        self.raise_issue(
            "duplicate_name",
            "medium",
            f"{first.name} names {len(parts)} different machines (told apart by {by}).",
            source=first.where,
        )
        return list(split.values())

    def _same_key_different_name(self, machines: list[Machine]) -> None:
        seen: dict[tuple[str, str], Machine] = {}
        for machine in machines:
            for row in machine.sightings:
                if not row.external_id:
                    continue
                other = seen.setdefault((row.table.kind, row.external_id), machine)
                if other is not machine:
                    self.raise_issue(
                        "possible_duplicate",
                        "medium",
                        f"{row.name} and {other.sightings[0].name} have the same key {row.external_id}; they"
                        f" were kept apart.",
                        field="external_id",
                        source=row.where,
                    )
                    break

    # --- one asset

    def add(self, machine: Machine) -> None:
        rows = sorted(machine.sightings, key=_precedence)
        asset_id = str(uuid5(self.namespace, f"asset|{machine.key}"))
        conflicts: list[dict[str, Any]] = []
        asset = _blank_asset(asset_id)
        self._names(asset, rows, machine)
        asset["ip_addresses"] = list(
            dict.fromkeys(a for row in rows for addresses, _ in row.values.get("ip_addresses", []) for a in addresses)
        )
        if not asset["ip_addresses"] and parse_ip(asset["name"]):
            asset["ip_addresses"] = [parse_ip(asset["name"])]
        chosen_os = self._system(asset, rows, conflicts)
        sums = self._detail_sums(asset, rows)
        # most machines of a plain list are one row, which cannot disagree with itself
        single = rows[0].values if len(rows) == 1 and rows[0].table.role == MACHINES else None
        for target in SINGLE:
            if single is not None:
                stated = single.get(target)
                if stated is None or len(stated) == 1:
                    asset[target] = stated[0][0] if stated else None
                    continue
            candidates = _candidates(rows, target)
            if target == "storage_gb":
                candidates += sums
            asset[target] = _choose(target, candidates, conflicts)
        attributes = self._attributes(rows, conflicts)
        for name in ("os_family", "os_edition", "os_bits"):
            if chosen_os.get(name) is not None:
                attributes[name] = chosen_os[name]
        macs = list(dict.fromkeys(m for row in rows for found, _ in row.values.get("mac_addresses", []) for m in found))
        if macs:
            attributes["mac_addresses"] = macs
        external = list(dict.fromkeys(row.external_id for row in rows if row.external_id))
        if external:
            attributes["external_ids"] = external
        asset["asset_type"], confidence, evidence = _classify(rows, chosen_os, macs, external)
        attributes["classification"] = {"confidence": confidence, "evidence": evidence}
        hint = _hint(asset["name"])
        if hint and asset["asset_type"] in {"server", "virtual_machine"}:
            attributes["classification"]["hint"] = f"the name suggests {hint}"
        asset["custom_attributes"] = attributes
        asset["conflicts"] = conflicts
        asset["sources"] = [row.where for row in rows]
        name_column = _name_confidence(rows[0])
        asset["confidence"] = round(min(machine.confidence, name_column), 2)
        self.assets.append(asset)
        self._report(asset, rows, conflicts)

    def _names(self, asset: dict[str, Any], rows: list[Sighting], machine: Machine) -> None:
        first = rows[0]
        parts = split_fqdn(first.name) if parse_ip(first.name) is None else None
        asset["name"] = parts[0] if parts else first.name
        hosts: list[str] = []
        domains: list[str] = []
        for row in rows:
            for target in ("fqdn", "hostname", "name"):
                for stated, _ in row.values.get(target, []):
                    found = split_fqdn(stated) if parse_ip(stated) is None else None
                    if found:
                        hosts.append(found[0])
                        domains.append(f"{found[0]}.{found[1]}".lower())
                    elif target != "name" and is_host_name(stated):
                        hosts.append(stated)
        asset["hostname"] = hosts[0].lower() if hosts else None
        asset["fqdn"] = domains[0] if domains else None
        own = {first.name.lower(), asset["name"].lower(), asset["fqdn"]}
        others = list(dict.fromkeys(row.name for row in rows if row.name.lower() not in own))
        if others or machine.also:
            asset["_aliases"] = list(dict.fromkeys([*others, *machine.also]))

    def _system(self, asset: dict[str, Any], rows: list[Sighting], conflicts: list[dict[str, Any]]) -> dict[str, Any]:
        found = _candidates(rows, "operating_system")
        if not found:
            return {}
        chosen = found[0][0]
        for value, _ in found[1:]:
            if _systems_agree(chosen, value) and _specific(value) > _specific(chosen):
                chosen = value
        rivals = [(value, where) for value, where in found if not _systems_agree(chosen, value)]
        if rivals:
            products = {value["operating_system"] for value, _ in rivals} | {chosen["operating_system"]}
            name = "os_version" if len(products) == 1 else "operating_system"
            stated = [
                (_said(value, name), where)
                for value, where in found
                if value is chosen or not _systems_agree(chosen, value)
            ]
            conflicts.append(_conflict(name, _said(chosen, name), stated))
        asset["operating_system"], asset["os_version"] = chosen["operating_system"], chosen["os_version"]
        return dict(chosen)

    def _detail_sums(self, asset: dict[str, Any], rows: list[Sighting]) -> list[tuple[Any, dict[str, Any]]]:
        """Storage as the sum of the disks of each detail table; a disk of unknown size makes the sum unknown."""
        sums: list[tuple[Any, dict[str, Any]]] = []
        by_table: dict[int, list[Sighting]] = defaultdict(list)
        for row in rows:
            if row.table.role == DETAIL and any(column["target"] == "storage_gb" for column in row.table.columns):
                by_table[row.order].append(row)
        for parts in by_table.values():
            sizes: dict[Any, float] = {}
            unknown = 0
            for at, row in enumerate(parts):
                key = row.values.get("detail_key")
                size = row.values.get("storage_gb")
                if size is None:
                    unknown += 1
                    continue
                # the same disk listed twice (rows repeated under another spelling of the name) counts once
                sizes.setdefault((key[0][0], size[0][0]) if key else at, size[0][0])
            total = round(sum(sizes.values()), 2)
            if unknown:
                self.raise_issue(
                    "partial_sum",
                    "low",
                    f"{asset['name']}: {unknown} of {len(parts)} disks have no size; the sum of the others,"
                    f" {total:g} GiB, was not used.",
                    asset_id=asset["asset_id"],
                    field="storage_gb",
                    source=parts[0].where,
                )
                continue
            where = parts[0].where | {"field": f"sum of {len(sizes)} disks"}
            sums.append((int(total) if total == int(total) else total, where))
        return sums

    def _attributes(self, rows: list[Sighting], conflicts: list[dict[str, Any]]) -> dict[str, Any]:
        if len(rows) == 1:
            row = rows[0]
            only = {
                name: value
                for name, value in zip(row.table.attributes, row.record["extra"], strict=True)
                if value is not None
            }
            if "role" in row.values:
                only["role"] = row.values["role"][0][0]
            return only
        stated: dict[str, list[tuple[Any, dict[str, Any]]]] = defaultdict(list)
        for row in rows:
            for name, value in zip(row.table.attributes, row.record["extra"], strict=True):
                if value is not None:
                    stated[name].append((value, row.where | {"field": name}))
            role = row.values.get("role")
            if role:
                stated["role"].append((role[0][0], row.where | {"field": "role"}))
        attributes: dict[str, Any] = {}
        for name, found in stated.items():
            attributes[name] = found[0][0]
            if len({str(value).casefold() for value, _ in found}) > 1:
                conflicts.append(_conflict(f"custom_attributes.{name}", found[0][0], found))
        return attributes

    def _report(self, asset: dict[str, Any], rows: list[Sighting], conflicts: list[dict[str, Any]]) -> None:
        aliases = asset.pop("_aliases", None)
        if aliases:
            asset["custom_attributes"]["also_known_as"] = aliases
        for conflict in conflicts:
            said = " / ".join(f"{value['value']} ({_place(value['sources'][0])})" for value in conflict["values"])
            attribute = conflict["field"].startswith("custom_attributes.")
            self.raise_issue(
                "conflict",
                "low"
                if conflict["field"] == "custom_attributes.VM ID"
                else "info"
                if attribute
                else CONFLICT_SEVERITY.get(conflict["field"], "low"),
                f"{asset['name']}: sources disagree on {conflict['field']}: {said}; {conflict['chosen']} was chosen.",
                asset_id=asset["asset_id"],
                field=conflict["field"],
                source={name: conflict["values"][0]["sources"][0][name] for name in ("file", "sheet", "row")},
            )
        per_table: dict[int, list[Sighting]] = defaultdict(list)
        for row in rows:
            if row.table.role == MACHINES:
                per_table[row.order].append(row)
        for repeated in per_table.values():
            if len(repeated) > 1:
                numbers = ", ".join(
                    str(row.record["row"]) for row in sorted(repeated, key=lambda row: row.record["row"])[:10]
                )
                self.raise_issue(
                    "duplicate_rows",
                    "info",
                    f"{asset['name']} is listed {len(repeated)} times in {_place(repeated[0].where, row=False)}"
                    f" (rows {numbers});"
                    " it is one asset.",
                    asset_id=asset["asset_id"],
                    source=repeated[0].where,
                )

    # --- machines known only as ends of connections

    def from_connections(self, tables: list[CleanTable]) -> None:
        ends: dict[str, dict[str, Any]] = {}
        for table in tables:
            for record in table.records:
                for end in ("source", "target"):
                    self._end(table, record, end, ends)
        for key, found in ends.items():
            asset = _blank_asset(str(uuid5(self.namespace, f"asset|{key}")))
            name = found["name"]
            parts = split_fqdn(name) if parse_ip(name) is None else None
            asset["name"] = parts[0] if parts else name
            asset["fqdn"] = name.lower() if parts else None
            asset["hostname"] = parts[0].lower() if parts else None
            asset["ip_addresses"] = list(found["ips"])
            asset["asset_type"] = "server"
            applications = list(found["applications"])
            asset["application_name"] = applications[0] if applications else None
            if len(applications) > 1:
                asset["custom_attributes"]["applications"] = applications
            asset["custom_attributes"]["classification"] = {
                "confidence": 0.5,
                "evidence": "named as the end of a connection",
            }
            asset["sources"] = found["sources"][:MAX_CONNECTION_SOURCES]
            asset["confidence"] = 0.5
            self.assets.append(asset)
        if ends:
            first = next(iter(ends.values()))["sources"][0]
            self.raise_issue(
                "seen_only_in_connections",
                "medium",
                f"No inventory was given; {len(ends)} machines are known only as ends of connections, nothing"
                f" else about them is.",
                source=first,
            )

    @staticmethod
    def _end(table: CleanTable, record: dict[str, Any], end: str, ends: dict[str, dict[str, Any]]) -> None:
        values = record["values"]
        names = values.get(f"{end}_name")
        addresses = [a for found, _ in values.get(f"{end}_ip", []) for a in found]
        name = names[0][0] if names else addresses[0] if addresses else None
        if name is None:
            return
        entry = ends.setdefault(canonical(name)[0], {"name": name, "ips": {}, "applications": {}, "sources": []})
        entry["ips"].update(dict.fromkeys(addresses))
        entry["applications"].update(dict.fromkeys(value for value, _ in values.get(f"{end}_application", [])))
        entry["sources"].append(source(table.file, table.sheet, record["row"]))

    # --- what cannot be

    def shared_addresses(self) -> None:
        """One issue for each address that several assets have: a cluster address, or one machine under two names."""
        owners: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for asset in self.assets:
            for address in asset["ip_addresses"]:
                owners[address].append(asset)
        for address, assets in owners.items():
            if len(assets) > 1:
                names = ", ".join(asset["name"] for asset in assets[:8])
                self.raise_issue(
                    "shared_address",
                    "low",
                    f"{len(assets)} assets have the address {address}: {names}.",
                    asset_id=assets[0]["asset_id"],
                    field="ip_addresses",
                    source=assets[0]["sources"][0],
                )

    # --- what nobody said

    def missing(self) -> None:
        """A fact that no asset has is one issue; one that some lack is an issue for each of these (above 2,000 one
        for all)."""
        total = len(self.assets)
        for target in EXPECTED:
            lacking = [
                asset
                for asset in self.assets
                if asset[target] in (None, []) and not (target == "os_version" and asset["operating_system"] is None)
            ]
            if not lacking:
                continue
            severity = MISSING_SEVERITY.get(target, "info")
            if len(lacking) == total or len(lacking) > MAX_MISSING_ROWS:
                who = f"all {total}" if len(lacking) == total else f"{len(lacking)} of {total}"
                self.raise_issue(
                    "missing_field",
                    severity,
                    f"{target} is unknown for {who} assets; no source states it for them.",
                    field=target,
                )
                continue
            for asset in lacking:
                self.raise_issue(
                    "missing_value",
                    severity,
                    f"{asset['name']}: {target} is unknown.",
                    asset_id=asset["asset_id"],
                    field=target,
                    source=asset["sources"][0],
                )


# --- choosing ---------------------------------------------------------------------------------------------------


def _root(parent: dict[str, str], key: str) -> str:
    while parent[key] != key:
        parent[key] = parent[parent[key]]
        key = parent[key]
    return key


def _precedence(row: Sighting) -> tuple[int, int, int]:
    return TABLE_RANK.get(row.table.kind, 1), row.order, row.record["row"]


def _name_confidence(row: Sighting) -> float:
    for target in ("name", "hostname", "fqdn"):
        if target in row.values:
            confidence: float = row.table.columns[row.values[target][0][1]]["confidence"]
            return confidence
    return 1.0


def _blank_asset(asset_id: str) -> dict[str, Any]:
    return {
        "asset_id": asset_id, "name": None, "asset_type": "other", "hostname": None, "fqdn": None, "ip_addresses": [],
        "operating_system": None, "os_version": None, "cpu_cores": None, "memory_gb": None, "storage_gb": None,
        "environment": None,
        "location": None, "criticality": None, "business_owner": None, "technical_owner": None,
        "application_name": None,
        "power_state": None, "cpu_utilization_percent": None, "memory_utilization_percent": None,
        "custom_attributes": {},
        "conflicts": [], "sources": [], "confidence": 1.0,
    }  # fmt: skip


def _candidates(rows: list[Sighting], target: str) -> list[tuple[Any, dict[str, Any]]]:
    """(value, source) from machine tables, best first."""
    ordered = rows
    if target in BUSINESS:
        ordered = sorted(rows, key=lambda row: (row.table.kind != "table", *_precedence(row)))
    found = []
    for row in ordered:
        if row.table.role == DETAIL and target == "storage_gb":
            continue
        for value, at in row.values.get(target, []):
            found.append((value, row.where | {"field": row.table.columns[at]["field"]}))
    return found


def _same(target: str, a: Any, b: Any) -> bool:
    if isinstance(a, str) and isinstance(b, str):
        return a.casefold() == b.casefold()
    if isinstance(a, int | float) and isinstance(b, int | float):
        if target in {"memory_gb", "storage_gb"} or target.endswith("_percent"):
            return abs(a - b) <= max(0.011, TOLERANCE * max(abs(a), abs(b)))
        return a == b
    return bool(a == b)


def _choose(target: str, candidates: list[tuple[Any, dict[str, Any]]], conflicts: list[dict[str, Any]]) -> Any:
    if not candidates:
        return None
    chosen = candidates[0][0]
    if any(not _same(target, chosen, value) for value, _ in candidates[1:]):
        conflicts.append(_conflict(target, chosen, candidates))
    return chosen


def _conflict(target: str, chosen: Any, candidates: list[tuple[Any, dict[str, Any]]]) -> dict[str, Any]:
    """`{field, chosen, values: [{value, sources: [{file, sheet, row, field}]}]}`, the chosen value first."""
    values: list[dict[str, Any]] = []
    for value, where in candidates:
        known = next((entry for entry in values if _same(target, entry["value"], value)), None)
        if known is None:
            values.append({"value": value, "sources": [where]})
        elif len(known["sources"]) < 5:
            known["sources"].append(where)
    values.sort(key=lambda entry: not _same(target, entry["value"], chosen))
    return {"field": target, "chosen": chosen, "values": values}


def _place(where: dict[str, Any], *, row: bool = True) -> str:
    parts = [where["file"]]
    if where["sheet"]:
        parts.append(f"sheet {where['sheet']}")
    if row and where["row"] is not None:
        parts.append(f"row {where['row']}")
    return " ".join(parts)


def _said(system: dict[str, Any], name: str) -> str | None:
    if name == "os_version":
        version: str | None = system["os_version"]
        return version
    return " ".join(part for part in (system["operating_system"], system["os_version"]) if part)


def _specific(system: dict[str, Any]) -> int:
    """How much an operating system name says: product, family generics, exact version."""
    version = system["os_version"]
    exact = 0 if version is None else 1 if system.get("os_generic") else 2
    return exact * 2 + (system["operating_system"] not in {"Linux", "Windows"})


def _systems_agree(a: dict[str, Any], b: dict[str, Any]) -> bool:
    """Do two operating system names allow the same machine? `Linux` and `Debian 9` do, `2016 or later` and `2019`
    do."""
    if a["operating_system"] != b["operating_system"]:
        generic = {"Linux": "linux", "Windows": "windows"}
        for one, other in ((a, b), (b, a)):
            family = generic.get(one["operating_system"])
            if family and one["os_version"] is None and other.get("os_family") == family:
                return True
        return False
    va, vb = a["os_version"], b["os_version"]
    if va is None or vb is None or va == vb or va.startswith(f"{vb}.") or vb.startswith(f"{va}."):
        return True
    for one, other in ((va, vb), (vb, va)):
        if one.endswith(" or later") and not other.endswith(" or later"):
            return _number(other) >= _number(one)
        if "/" in one and "/" not in other:
            return other.split(".")[0] in one.split("/")
    return False


def _number(version: str) -> float:
    found = re.match(r"\d+(\.\d+)?", version)
    number = float(found.group(0)) if found else 0.0
    return number + (0.5 if "R2" in version else 0.0)


def _classify(
    rows: list[Sighting], system: dict[str, Any], macs: list[str], external: list[str]
) -> tuple[str, float, str]:
    """(asset type, confidence, evidence), by facts only; a name alone never decides."""
    for flag, what in (("is_template", "a template"), ("is_placeholder", "a replication placeholder")):
        if any(value is True for row in rows for value, _ in row.values.get(flag, [])):
            return "other", 1.0, f"marked as {what}"
    stated = [(value, where) for value, where in _candidates(rows, "asset_type")]
    if stated and stated[0][0] not in {"server", "virtual_machine"}:
        return stated[0][0], 0.95, f"stated in {_place(stated[0][1])}"
    serves = _by_service(rows, system)
    if serves is not None:
        return serves
    exported = _by_export({row.table.kind for row in rows}, rows[0].name)
    if exported is not None:
        return exported
    if stated:
        return stated[0][0], 0.95, f"stated in {_place(stated[0][1])}"
    return _by_hypervisor(macs, external) or _by_columns(rows)


def _by_service(rows: list[Sighting], system: dict[str, Any]) -> tuple[str, float, str] | None:
    """What it serves as: a database found on it, its stated role, an operating system that only such devices run."""
    if any(value is True for row in rows for value, _ in row.values.get("has_database", [])):
        return "database", 0.9, "a database service was found on it"
    for value, where in _candidates(rows, "role"):
        kind = _ROLE_TYPES.get(str(value).lower())
        if kind:
            return kind, 0.85, f"role {value} in {_place(where)}"
    if system.get("os_family") == "network":
        product = system["operating_system"]
        kind = "load_balancer" if "BIG-IP" in product else "storage" if "ONTAP" in product else "network_device"
        return kind, 0.9, f"runs {product}"
    return None


def _by_export(kinds: set[str], name: str) -> tuple[str, float, str] | None:
    if "rvtools.vhost" in kinds:
        return "server", 1.0, "a host in RVTools vHost"
    if any(kind.startswith("rvtools.") for kind in kinds):
        if re.match(r"vcls[-\s(]", name, re.IGNORECASE):
            return "appliance", 0.9, "a vSphere cluster service machine"
        return "virtual_machine", 1.0, "a virtual machine in RVTools"
    return None


def _by_hypervisor(macs: list[str], external: list[str]) -> tuple[str, float, str] | None:
    sites = " ".join(external).lower()
    if "/vmwaresites/" in sites or "/hypervsites/" in sites:
        return "virtual_machine", 0.95, "discovered through its hypervisor"
    if "/serversites/" in sites:
        return "server", 0.9, "discovered as a physical server"
    for mac in macs:
        if mac[:8] in _VIRTUAL_MACS:
            return "virtual_machine", 0.9, f"hardware address of {_VIRTUAL_MACS[mac[:8]]}"
    return None


_MACHINE_FACTS = frozenset(
    {
        "operating_system",
        "ip_addresses",
        "cpu_cores",
        "memory_gb",
        "storage_gb",
        "fqdn",
        "hostname",
        "power_state",
        "role",
    }
)
_NAMED = {
    "virtual_machine": {"vm", "vms", "virtual", "vmname"},
    "server": {"server", "serv", "srv", "servername", "host", "hostname", "machine", "computer", "node", "fqdn"},
    "application": {"application", "app", "applications"},
}


def _by_columns(rows: list[Sighting]) -> tuple[str, float, str]:
    """The type that the name column says, else a server if any column states a fact of machines, else other."""
    for row in rows:
        used = next(row.values[target] for target in ("name", "hostname", "fqdn") if target in row.values)
        column = row.table.columns[used[0][1]]["field"]
        for kind, said in _NAMED.items():
            if said & set(words(column)):
                return kind, 0.8, f"named in the column {column}"
    if any(column["target"] in _MACHINE_FACTS for row in rows for column in row.table.columns):
        return "server", 0.7, "its table states facts of machines"
    return "other", 0.3, "nothing says what it is"


def _hint(name: str) -> str | None:
    parts = words(re.sub(r"\d+", " ", name))
    for at, part in enumerate(parts):
        if part in _HINTS and not (part == "oracle" and parts[at + 1 : at + 2] == ["linux"]):
            return _HINTS[part]
    return None


# --- figures ----------------------------------------------------------------------------------------------------


def summarise(assets: list[dict[str, Any]], rows: int) -> dict[str, Any]:
    """Counts by type, environment, operating system and power state (`unknown` for null), and sums with how many are
    unknown.

    Hypervisor hosts and the machines on them both count, so sums are also given by type.
    """

    def count(values: Iterable[str | None]) -> dict[str, int]:
        return dict(Counter(value or "unknown" for value in values).most_common())

    def total(target: str) -> dict[str, Any]:
        known = [asset for asset in assets if asset[target] is not None]
        by_type: dict[str, float] = defaultdict(float)
        for asset in known:
            by_type[asset["asset_type"]] += asset[target]
        return {
            "sum": round(sum(by_type.values()), 2),
            "by_type": {name: round(number, 2) for name, number in by_type.items()},
            "known": len(known),
            "unknown": len(assets) - len(known),
        }

    return {
        "assets": len(assets),
        "rows": rows,
        "by_type": count(asset["asset_type"] for asset in assets),
        "by_environment": count(asset["environment"] for asset in assets),
        "by_os_family": count(asset["custom_attributes"].get("os_family") for asset in assets),
        "by_operating_system": count(
            " ".join(part for part in (asset["operating_system"], asset["os_version"]) if part) or None
            for asset in assets
        ),
        "by_power_state": count(asset["power_state"] for asset in assets),
        "totals": {target: total(target) for target in ("cpu_cores", "memory_gb", "storage_gb")},
        "with_conflicts": sum(1 for asset in assets if asset["conflicts"]),
        "completeness": {
            target: round(sum(1 for asset in assets if asset[target] not in (None, [])) / len(assets), 4)
            if assets
            else None
            for target in EXPECTED
        },
    }
