"""Which column means what: suggestions with confidence, unit and reason, and the decision which of them hold."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from statistics import median
from typing import Any

from rapidfuzz import fuzz

from estate.formats import CONNECTIONS, DETAIL, IGNORED, MACHINES, header_key, words
from estate.tables import Cell, Table
from estate.vocabulary import (
    ASSET_TYPES,
    CRITICALITIES,
    ENVIRONMENTS,
    POWER_STATES,
    is_placeholder,
    parse_ip,
    parse_mac,
    parse_os,
    split_fqdn,
)

MACHINE_TARGETS: dict[str, str] = {
    "name": "what people call the machine",
    "hostname": "its host name without the domain",
    "fqdn": "its host name with the domain",
    "ip_addresses": "its addresses",
    "mac_addresses": "its hardware addresses",
    "operating_system": "operating system, with or without version",
    "os_version": "version of the operating system",
    "cpu_cores": "logical processors, a whole number",
    "memory_gb": "memory in GiB",
    "storage_gb": "allocated storage in GiB",
    "environment": "production, test, ...",
    "location": "site or data centre",
    "criticality": "critical, high, medium, low",
    "business_owner": "who answers for it in the business",
    "technical_owner": "who runs it",
    "application_name": "the application it serves",
    "power_state": "on, off, suspended",
    "cpu_utilization_percent": "0..100",
    "memory_utilization_percent": "0..100",
    "asset_type": "server, virtual machine, database, ...",
    "role": "web, app, db, ... : evidence for the type",
    "has_database": "true when a database engine was found on it",
    "external_id": "the source's own key of the machine",
    "is_template": "true for a template",
    "is_placeholder": "true for a replication placeholder",
    "detail_key": "which disk or network card the row is about",
    "custom_attributes": "kept under the column's own name",
}
CONNECTION_TARGETS: dict[str, str] = {
    "source_name": "the machine that opens the connection",
    "source_ip": "its address",
    "source_application": "its application",
    "source_process": "its process",
    "target_name": "the machine that answers",
    "target_ip": "its address",
    "target_application": "its application",
    "target_process": "its process",
    "port": "the port it answers on",
    "protocol": "tcp, udp",
    "observed_at": "when it was seen",
}
TARGETS = MACHINE_TARGETS | CONNECTION_TARGETS
TARGET_ALIASES = {
    "ip_address": "ip_addresses", "ip": "ip_addresses", "mac_address": "mac_addresses", "os": "operating_system",
    "os_type": "operating_system", "cpu": "cpu_cores", "memory": "memory_gb", "storage": "storage_gb",
    "owner": "business_owner",
    "application": "application_name", "source_server_name": "source_name", "destination_name": "target_name",
    "destination_server_name": "target_name", "destination_ip": "target_ip",
    "destination_application": "target_application",
    "destination_process": "target_process", "destination_port": "port", "target_port": "port",
}  # fmt: skip
LEAVE_OUT = {"", "ignore", "skip", "none", "null"}
UNUSED = "unused"
"""Match type of a column that its export is known to have and discovery has no use for."""
NAME_TARGETS = ("name", "hostname", "fqdn")
SIZE_TARGETS = ("memory_gb", "storage_gb")
NUMBER_TARGETS = (
    "cpu_cores",
    "memory_gb",
    "storage_gb",
    "cpu_utilization_percent",
    "memory_utilization_percent",
    "port",
)
MANY_COLUMNS = {"ip_addresses", "mac_addresses", "operating_system", "custom_attributes"}

GIB: dict[str, float] = {
    "B": 1 / 1024**3, "KB": 1 / 1024**2, "KiB": 1 / 1024**2, "MB": 1 / 1024, "MiB": 1 / 1024, "GB": 1.0, "GiB": 1.0,
    "TB": 1024.0, "TiB": 1024.0,
}  # fmt: skip
"""How many GiB one of the unit is. Inventories write MB and GB and mean 1024."""

_UNIT_WORDS = {
    "b": "B", "byte": "B", "bytes": "B", "kb": "KB", "kib": "KiB", "mb": "MB", "mib": "MiB", "gb": "GB", "gib": "GiB",
    "tb": "TB",
    "tib": "TiB", "gigabytes": "GB", "megabytes": "MB", "mbytes": "MB", "gbytes": "GB",
}  # fmt: skip
_VALUE_UNIT = re.compile(r"^[\d.,' ]+\s*(b|kb|kib|mb|mib|gb|gib|tb|tib)$", re.IGNORECASE)

_RVTOOLS_COMMON: dict[str, tuple[str, str | None, int]] = {
    "vm": ("name", None, 0),
    "powerstate": ("power_state", None, 0),
    "os according to the vmware tools": ("operating_system", None, 0),
    "os according to the configuration file": ("operating_system", None, 1),
    "datacenter": ("location", None, 0),
    "template": ("is_template", None, 0),
    "srm placeholder": ("is_placeholder", None, 0),
}
# kind -> column -> (target, unit, rank among columns of the same target)
KNOWN: dict[str, dict[str, tuple[str, str | None, int]]] = {
    "rvtools.vinfo": _RVTOOLS_COMMON
    | {
        "dns name": ("fqdn", None, 0),
        "cpus": ("cpu_cores", None, 0),
        "memory": ("memory_gb", "MiB", 0),
        "total disk capacity mib": ("storage_gb", "MiB", 0),
        "total disk capacity mb": ("storage_gb", "MB", 0),
        "provisioned mib": ("storage_gb", "MiB", 1),
        "provisioned mb": ("storage_gb", "MB", 1),
        "primary ip address": ("ip_addresses", None, 0),
        "vm uuid": ("external_id", None, 0),
    },
    "rvtools.vcpu": _RVTOOLS_COMMON | {"cpus": ("cpu_cores", None, 0)},
    "rvtools.vmemory": _RVTOOLS_COMMON | {"size mib": ("memory_gb", "MiB", 0), "size mb": ("memory_gb", "MB", 0)},
    "rvtools.vdisk": _RVTOOLS_COMMON
    | {
        "capacity mib": ("storage_gb", "MiB", 0),
        "capacity mb": ("storage_gb", "MB", 0),
        "disk": ("detail_key", None, 0),
    },
    "rvtools.vpartition": _RVTOOLS_COMMON | {"disk": ("detail_key", None, 0)},
    "rvtools.vnetwork": _RVTOOLS_COMMON
    | {
        "ipv4 address": ("ip_addresses", None, 0),
        "ipv6 address": ("ip_addresses", None, 1),
        "ip address": ("ip_addresses", None, 0),
        "mac address": ("mac_addresses", None, 0),
        "nic label": ("detail_key", None, 0),
    },
    "rvtools.vhost": {
        "host": ("name", None, 0),
        "# cores": ("cpu_cores", None, 0),
        "# memory": ("memory_gb", "MiB", 0),
        "esx version": ("operating_system", None, 0),
        "cpu usage %": ("cpu_utilization_percent", "%", 0),
        "memory usage %": ("memory_utilization_percent", "%", 0),
        "datacenter": ("location", None, 0),
    },
    "azure_migrate.discovery": {
        "machine name": ("name", None, 0),
        "environment": ("environment", None, 0),
        "operating system": ("operating_system", None, 0),
        "cores": ("cpu_cores", None, 0),
        "memory (in mb)": ("memory_gb", "MB", 0),
        "ip addresses": ("ip_addresses", None, 0),
        "mac addresses": ("mac_addresses", None, 0),
        "power stats": ("power_state", None, 0),
        "power status": ("power_state", None, 0),
        "machine id": ("external_id", None, 0),
        "is sql service present": ("has_database", None, 0),
        "storage in use (in gb)": ("storage_gb", "GB", 0),
    },
    "azure_migrate.dependencies": {
        "timeslot": ("observed_at", None, 0),
        "source server name": ("source_name", None, 0),
        "source ip": ("source_ip", None, 0),
        "source application": ("source_application", None, 0),
        "source process": ("source_process", None, 0),
        "destination server name": ("target_name", None, 0),
        "destination ip": ("target_ip", None, 0),
        "destination application": ("target_application", None, 0),
        "destination process": ("target_process", None, 0),
        "destination port": ("port", None, 0),
    },
}
# columns of known exports worth keeping beside the asset's own fields
KEPT: dict[str, frozenset[str]] = {
    "rvtools.vinfo": frozenset(
        {"cluster", "host", "folder", "resource pool", "annotation", "firmware", "hw version", "vm id",
        "provisioned mib",
         "provisioned mb", "in use mib", "in use mb", "creation date", "guest state", "disks", "nics"}
    ),
    "rvtools.vcpu": frozenset({"vm id"}),
    "rvtools.vmemory": frozenset({"vm id"}),
    "rvtools.vdisk": frozenset({"vm id"}),
    "rvtools.vpartition": frozenset({"vm id"}),
    "rvtools.vnetwork": frozenset({"vm id"}),
    "rvtools.vhost": frozenset({"cluster", "cpu model", "vendor", "model", "speed", "# vms", "# vcpus"}),
    "azure_migrate.discovery": frozenset(
        {"total disks", "boot type", "sql discovery server count", "software inventory count", "web applications count",
         "first discovery time", "last updated time"}
    ),
}  # fmt: skip

ALIASES: dict[str, tuple[str, ...]] = {
    "name": (
        "name", "server name", "machine name", "vm name", "virtual machine", "virtual machine name", "computer name",
        "device name",
        "ci name", "asset name", "node name", "system name", "instance name", "server", "machine", "vm", "computer",
        "configuration item", "node", "servername", "vmname", "host",
    ),
    "hostname": ("hostname", "host name", "netbios name", "short name"),
    "fqdn": ("fqdn", "dns name", "fully qualified domain name", "full name", "dns", "dns host name"),
    "ip_addresses": (
        "ip", "ip address", "ip addresses", "ipv4", "ipv4 address", "ipv6 address", "primary ip", "ip addr", "ips",
        "ipaddress",
        "primary ip address", "address list",
    ),
    "mac_addresses": ("mac", "mac address", "mac addresses", "hardware address"),
    "operating_system": ("os", "operating system", "os name", "guest os", "os family", "os type",
    "guest operating system", "platform"),
    "os_version": ("os version", "operating system version", "os release", "version of os"),
    "cpu_cores": (
        "cpu", "cpus", "vcpu", "vcpus", "cores", "cpu cores", "cpu count", "num cpu", "number of cpus",
        "logical processors", "processors",
        "core count", "number of cores", "cpu number of logical cores", "no of cpu", "total cores",
    ),
    "memory_gb": ("memory", "ram", "mem", "memory size", "ram size", "installed memory", "memory capacity",
    "physical memory"),
    "storage_gb": (
        "storage", "disk", "disk size", "disk space", "disk capacity", "storage size", "provisioned storage",
        "allocated storage", "hdd",
        "storage capacity", "disk total", "provisioned",
    ),
    "environment": ("environment", "env", "stage", "landscape", "lifecycle", "life cycle"),
    "location": ("location", "site", "datacenter", "data center", "data centre", "dc", "facility", "region", "city"),
    "criticality": ("criticality", "business criticality", "application criticality", "importance", "priority"),
    "business_owner": ("business owner", "owner", "app owner", "application owner", "service owner",
    "business contact", "csm", "e2e csm", "service manager", "customer service manager"),
    "technical_owner": (
        "technical owner", "tech lead", "technical lead", "system owner", "it owner", "support group", "managed by",
        "technical contact",
        "administrator",
    ),
    "application_name": ("application", "app", "application name", "app name", "business service", "service name",
    "workload"),
    "power_state": ("power state", "powerstate", "power status", "power stats", "power", "running state", "state",
    "status"),
    "cpu_utilization_percent": (
        "cpu utilization", "cpu utilisation", "cpu usage", "cpu util", "cpu utilization percentage", "cpu percent",
        "avg cpu", "cpu usage percent",
        "cpu utilization percent",
    ),
    "memory_utilization_percent": (
        "memory utilization", "memory utilisation", "memory usage", "mem util", "memory utilization percentage",
        "ram usage", "memory percent",
        "avg memory", "memory utilization percent", "mem usage",
    ),
    "asset_type": ("asset type", "ci type", "ci class", "class", "type", "device type", "sys class name",
    "classification", "category", "server type"),
    "role": ("role", "server role", "tier", "server tier", "function"),
    "external_id": ("uuid", "vm uuid", "machine id", "asset id", "sys id", "instance id", "external id", "bios uuid",
    "server id"),
    "source_process": ("process", "process name"),
    "port": ("port", "destination port", "dest port", "dst port", "dport", "target port", "server port",
    "port number", "service port"),
    "protocol": ("protocol", "proto", "transport"),
    "observed_at": ("timeslot", "timestamp", "time", "date", "last seen", "first seen", "observed at"),
}  # fmt: skip
_ALIAS_WORDS = [(target, words(alias)) for target, aliases in ALIASES.items() for alias in aliases]
_CONNECTION_ONLY = {"source_process", "port", "protocol", "observed_at"}
_FILLERS = frozenset(
    {"serv", "server", "srv", "vm", "machine", "u", "ci", "cmdb", "asset", "total", "primary", "current", "number",
    "num", "no", "of", "the",
     "in", "size", "value", "app", "business", "count", "host", "system", "x", "s", "field", "attr", "guest", "main",
     "allocated",
     "installed", "application"}
)  # fmt: skip
_OTHERS = frozenset(
    {"backup", "free", "vendor", "time", "date", "test", "subnet", "aws", "azure", "gcp", "cost", "price", "license",
    "licence", "group",
     "last", "previous", "old", "new", "target", "destination", "account", "security", "used", "url", "path",
     "support", "project", "wave",
     "ready", "readiness", "speed", "model", "gateway", "mask", "vlan", "limit", "reservation", "key", "active",
     "hot", "start", "end"}
)  # fmt: skip
_PREFIXES = {"source": "source", "src": "source", "from": "source", "client": "source"} | dict.fromkeys(
    ("destination", "dest", "dst", "target", "to"), "target"
)


@dataclass(slots=True)
class Suggestion:
    """What one column probably means; `target_field` None = nothing known fits."""

    source_file: str
    source_sheet: str | None
    source_field: str
    target_field: str | None
    confidence: float
    match_type: str
    samples: list[Cell]
    unit: str | None = None
    number_format: str | None = None
    reason: str = ""
    rank: int = 0
    kind: str = "table"
    alternatives: list[dict[str, Any]] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """The suggestion as JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Missing:
    """A table in which a required target has no column."""

    file: str
    sheet: str | None
    field: str
    message: str


@dataclass(frozen=True, slots=True)
class Refused:
    """A given mapping that cannot be: `field` is the source as the caller wrote it."""

    field: str
    message: str


@dataclass(slots=True)
class Decision:
    """The mappings that hold, and what stands in the way."""

    mappings: list[Suggestion]
    missing: list[Missing]
    refused: list[Refused]
    left_out: list[Suggestion]
    not_understood: list[tuple[str, str | None]]


# --- suggestions ------------------------------------------------------------------------------------------------


def suggest(tables: Iterable[Table]) -> list[Suggestion]:
    """Suggestions for every column of every table that is not ignored.

    Confidence: 1.0 a known export or the exact name; 0.9 the name with filling words; 0.6..0.85 similar words or
    values only;
    lowered where the values do not have the shape of the target. A column read under a doubtful unit stays below 0.8.
    """
    found: list[Suggestion] = []
    for table in tables:
        if table.role == IGNORED:
            continue
        known = KNOWN.get(table.kind)
        if known is not None:
            found.extend(_suggest_known(table, known))
        else:
            found.extend(_suggest_generic(table, range(len(table.columns))))
    return found


def _sampled(table: Table, column: int) -> list[Cell]:
    """Up to 2000 values of the column, spread over the table, placeholders and blanks left out."""
    step = max(1, len(table.rows) // 2000)
    values = (cells[column] for _, cells in table.rows[::step])
    return [value for value in values if value is not None and not (isinstance(value, str) and is_placeholder(value))]


def _samples(values: list[Cell]) -> list[Cell]:
    distinct: dict[Cell, None] = {}
    for value in values:
        distinct.setdefault(value[:80] if isinstance(value, str) else value)
        if len(distinct) == 5:
            break
    return list(distinct)


def _suggest_known(table: Table, known: Mapping[str, tuple[str, str | None, int]]) -> list[Suggestion]:
    keys = [header_key(column) for column in table.columns]
    kept = KEPT.get(table.kind, frozenset())
    own = _own_columns(keys)
    found = []
    taken: dict[str, int] = {}
    for key in keys:
        if key in known:
            target, _, rank = known[key]
            taken[target] = min(rank, taken.get(target, rank))
    for at, (column, key) in enumerate(zip(table.columns, keys, strict=True)):
        if key in known:
            target, unit, rank = known[key]
            if target not in MANY_COLUMNS and rank > taken[target]:
                target, unit = "custom_attributes", None
            values = _sampled(table, at)
            found.append(
                Suggestion(
                    table.file,
                    table.sheet,
                    column,
                    target,
                    1.0,
                    "direct",
                    _samples(values),
                    unit,
                    _number_format(values, table.delimiter) if target in NUMBER_TARGETS else None,
                    f"known column of {table.kind}" + (f", in {unit}" if unit in GIB else ""),
                    rank,
                    table.kind,
                )
            )
        elif key in kept:
            values = _sampled(table, at)
            found.append(
                Suggestion(
                    table.file,
                    table.sheet,
                    column,
                    "custom_attributes",
                    1.0,
                    "direct",
                    _samples(values),
                    reason=f"known column of {table.kind}, kept under its name",
                    kind=table.kind,
                )
            )
        elif at not in own:
            found.append(
                Suggestion(
                    table.file,
                    table.sheet,
                    column,
                    None,
                    0.0,
                    UNUSED,
                    _samples(_sampled(table, at)),
                    reason=f"known column of {table.kind}, not used",
                    kind=table.kind,
                )
            )
    claimed = {suggestion.target_field for suggestion in found} - MANY_COLUMNS
    for suggestion in _suggest_generic(table, own):
        if (
            suggestion.target_field is None
            or suggestion.target_field in claimed
            or suggestion.target_field in NAME_TARGETS
        ):
            suggestion.target_field, suggestion.confidence, suggestion.unit = "custom_attributes", 0.9, None
            suggestion.reason = "an attribute of the estate's own, kept under its name"
        found.append(suggestion)
    return found


def _own_columns(keys: list[str]) -> range:
    """RVTools writes an estate's own attributes between Annotation and Datacenter."""
    if "annotation" in keys and "datacenter" in keys and keys.index("annotation") < keys.index("datacenter"):
        return range(keys.index("annotation") + 1, keys.index("datacenter"))
    return range(0)


def _suggest_generic(table: Table, columns: Iterable[int]) -> list[Suggestion]:
    found: list[Suggestion] = []
    for at in columns:
        column = table.columns[at]
        values = _sampled(table, at)
        candidates = sorted(_candidates(column, values, table), key=lambda pair: -pair[1])
        best = candidates[0] if candidates else None
        suggestion = Suggestion(
            table.file,
            table.sheet,
            column,
            None,
            0.0,
            "none",
            _samples(values),
            reason="no known meaning",
            kind=table.kind,
        )
        if best and best[1] >= 0.5:
            target, confidence, match_type, reason = best
            suggestion.target_field, suggestion.confidence = target, round(confidence, 2)
            suggestion.match_type, suggestion.reason = match_type, reason
            if target in NUMBER_TARGETS:
                suggestion.number_format = _number_format(values, table.delimiter)
            if target in SIZE_TARGETS:
                _set_unit(suggestion, values)
            elif target.endswith("_percent"):
                suggestion.unit = "%"
            if not values:
                suggestion.reason += "; the column is blank"
        suggestion.alternatives = [
            {"target_field": target, "confidence": round(confidence, 2)}
            for target, confidence, _, _ in candidates[1:4]
            if confidence >= 0.3
        ]
        found.append(suggestion)
    _one_column_each(found)
    return found


_BUSY = {"cpu_cores": "cpu_utilization_percent", "memory_gb": "memory_utilization_percent"}


def _candidates(column: str, values: list[Cell], table: Table) -> list[tuple[str, float, str, str]]:
    """(target, confidence, match type, reason) by the words of the header, checked against the shape of the values."""
    header = [word for word in words(column) if word not in _UNIT_WORDS and word not in {"in", "of"}] or words(column)
    connections = table.role == CONNECTIONS
    best: dict[str, tuple[float, str, str]] = {}

    def offer(target: str, confidence: float, match_type: str, reason: str) -> None:
        if confidence > best.get(target, (0.0, "", ""))[0]:
            best[target] = (confidence, match_type, reason)

    if connections:
        end = _end_of_connection(header)
        if end:
            offer(end, 0.95, "direct", f"the column name says {end.replace('_', ' ')}")
    for target, alias in _ALIAS_WORDS:
        if (target in _CONNECTION_ONLY) != connections:
            continue
        confidence, reason = _alias_score(header, alias)
        if confidence:
            offer(target, confidence, "direct" if confidence >= 0.99 else "inferred", reason)
    percent = "%" in column or any(word.startswith(("percent", "pct", "utili", "usage")) for word in words(column))
    result = []
    for said, (confidence, match_type, reason) in best.items():
        meant = said
        if percent != said.endswith("_percent") and said in (*NUMBER_TARGETS, "operating_system"):
            # `CPU %` is no number of processors but how busy they are
            meant = _BUSY.get(said, "") if percent else ""
            if not meant or meant in best:
                continue
        fits = _shape(meant, values)
        lowered = confidence * 0.5 if fits is False else confidence
        raised = min(0.98, lowered + 0.05) if fits and lowered < 0.99 else lowered
        told = {False: "; its values do not look like that", True: "; its values look like that"}.get(bool(fits), "")
        result.append((meant, raised, match_type, reason + (told if fits is not None and raised != confidence else "")))
    if not result and values and not connections:
        result.extend(_by_values_only(values))
    return result


def _end_of_connection(header: list[str]) -> str | None:
    end = _PREFIXES.get(header[0]) if header else None
    if end is None:
        return None
    rest = set(header[1:])
    if rest & {"port"}:
        return "port" if end == "target" else None
    if rest & {"ip", "address", "addr"}:
        return f"{end}_ip"
    if rest & {"application", "app", "service"}:
        return f"{end}_application"
    if rest & {"process", "executable"}:
        return f"{end}_process"
    if not rest or rest & {
        "server",
        "host",
        "hostname",
        "name",
        "machine",
        "vm",
        "node",
        "asset",
        "system",
        "computer",
    }:
        return f"{end}_name"
    return None


def _alias_score(header: list[str], alias: list[str]) -> tuple[float, str]:
    said = " ".join(alias)
    if header == alias or "".join(header) == "".join(alias):
        return 1.0, f"the column is called {said}"
    at = next((i for i in range(len(header) - len(alias) + 1) if header[i : i + len(alias)] == alias), None)
    if at is not None:
        rest = [*header[:at], *header[at + len(alias) :]]
        if any(word in _OTHERS for word in rest):
            return 0.0, ""
        if all(word in _FILLERS or word.isdigit() or len(word) == 1 for word in rest):
            return 0.9, f"the column name says {said}"
        return (0.7 if len(alias) > 1 else 0.55), f"the column name contains {said}"
    if len(header) == len(alias) and all(
        a == b or (min(len(a), len(b)) >= 4 and fuzz.ratio(a, b) >= 82) for a, b in zip(header, alias, strict=True)
    ):
        closeness = fuzz.ratio(" ".join(header), said) / 100
        return 0.85 * closeness, f"the column name is spelled almost like {said}"
    return 0.0, ""


def _share(values: list[Cell], test: Any) -> float:
    return sum(1 for value in values if test(value)) / len(values)


def _ip_list(value: Cell) -> bool:
    parts = [part for part in re.split(r"[\s,;|\[\]]+", str(value)) if part]
    return bool(parts) and all(parse_ip(part) for part in parts)


def _numeric(value: Cell) -> bool:
    if isinstance(value, bool):
        return False
    if isinstance(value, int | float):
        return True
    return bool(
        re.match(r"^[-+]?[\d.,' ]*\d\s*(%|[kmgt]i?b|b|vcpus?|cpus?|cores?)?$", str(value).strip(), re.IGNORECASE)
    )


def _word_in(vocabulary: Mapping[str, str]) -> Any:
    return lambda value: str(value).strip().lower() in vocabulary


def _shape(target: str, values: list[Cell]) -> bool | None:
    """Do the values look like the target? None = nothing to tell by."""
    if not values:
        return None
    sample = values[:400]
    if target in {"ip_addresses", "source_ip", "target_ip"}:
        return _share(sample, _ip_list) >= 0.6
    if target == "mac_addresses":
        return _share(sample, lambda v: any(parse_mac(part) for part in re.split(r"[\s,;\[\]]+", str(v)))) >= 0.6
    if target == "operating_system":
        return (
            True
            if _share(sample, lambda v: parse_os(str(v)) is not None) >= 0.4
            else (None if _share(sample, _numeric) < 0.5 else False)
        )
    if target in NUMBER_TARGETS:
        return _share(sample, _numeric) >= 0.6
    if target == "environment":
        return (
            True
            if _share(sample, _word_in(ENVIRONMENTS)) >= 0.5
            else (False if _share(sample, _numeric) > 0.5 else None)
        )
    if target == "power_state":
        return _share(sample, _word_in(POWER_STATES)) >= 0.6
    if target == "criticality":
        return _share(sample, _word_in(CRITICALITIES)) >= 0.3
    if target == "asset_type":
        return _share(sample, _word_in(ASSET_TYPES)) >= 0.5
    if target == "fqdn":
        return True if _share(sample, lambda v: split_fqdn(str(v)) is not None) >= 0.5 else None
    if target in NAME_TARGETS:
        if len(values) >= 20 and len(set(map(str, values))) < 0.1 * len(values):
            return False
        return False if _share(sample, lambda v: isinstance(v, bool)) > 0.5 else None
    return None


def _by_values_only(values: list[Cell]) -> list[tuple[str, float, str, str]]:
    if len(values) < 3:
        return []
    sample = values[:400]
    if _share(sample, _ip_list) >= 0.9:
        return [("ip_addresses", 0.6, "value_shape", "nearly all values are IP addresses")]
    if _share(sample, lambda v: isinstance(v, str) and parse_os(v) is not None) >= 0.9:
        return [("operating_system", 0.6, "value_shape", "nearly all values are operating systems")]
    if _share(sample, lambda v: isinstance(v, str) and len(v.strip()) > 2 and v.strip().lower() in ENVIRONMENTS) >= 0.9:
        return [("environment", 0.6, "value_shape", "nearly all values are environments")]
    return []


def _number_format(values: list[Cell], delimiter: str | None) -> str | None:
    """How text numbers of a column are written: `1,024` or `1.024` with a thousands separator, `1,5` with a decimal
    comma."""
    texts = [re.sub(r"[^\d.,']", "", value) for value in values if isinstance(value, str)]
    commas = [text for text in texts if "," in text]
    dots = [text for text in texts if "." in text]
    if commas and dots and any("," in text and "." in text for text in texts):
        both = next(text for text in texts if "," in text and "." in text)
        return "thousands ." if both.rfind(",") > both.rfind(".") else "thousands ,"
    grouped = r"^\d{1,3}(,\d{3})+$"
    if commas:
        return (
            "thousands ,"
            if all(re.match(grouped, text) for text in commas) and not (delimiter == ";" and not dots)
            else "decimal ,"
        )
    if dots and (
        any(text.count(".") > 1 for text in dots)
        or (delimiter == ";" and len(dots) > 1 and all(re.match(r"^\d{1,3}(\.\d{3})+$", text) for text in dots))
    ):
        return "thousands ."
    return None


def parse_number(value: Cell, number_format: str | None = None) -> float | None:
    """A number from a cell, units and blanks around it left out; None when it is none."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int | float):
        return float(value)
    text = value.strip().replace("\u00a0", "").replace(" ", "").replace("'", "")
    found = re.match(r"^([-+]?[\d.,]*\d)(?:%|[a-z]*)$", text, re.IGNORECASE)
    if not found:
        return None
    digits = found.group(1)
    if number_format == "thousands .":
        digits = digits.replace(".", "").replace(",", ".")
    elif number_format == "decimal ,":
        digits = digits.replace(",", ".")
    else:
        digits = digits.replace(",", "")
    try:
        return float(digits)
    except ValueError:
        return None


def _set_unit(suggestion: Suggestion, values: list[Cell]) -> None:
    """The unit of a size: said by the header, said by the values, else told from their magnitude, with the reason."""
    said = next(
        (_UNIT_WORDS[word] for word in words(suggestion.source_field) if word in _UNIT_WORDS and word != "b"), None
    )
    if said:
        suggestion.unit = said
        suggestion.reason += f"; the header says {said}"
        return
    in_values = [
        found.group(1) for value in values if isinstance(value, str) and (found := _VALUE_UNIT.match(value.strip()))
    ]
    if in_values and len(in_values) >= 0.5 * len(values):
        suggestion.unit = "in value"
        suggestion.reason += "; each value says its unit"
        return
    numbers = [number for value in values if (number := parse_number(value, suggestion.number_format)) and number > 0]
    if not numbers:
        suggestion.unit = "GiB"
        return
    middle, least, most = median(numbers), min(numbers), max(numbers)
    if suggestion.target_field == "memory_gb":
        if middle >= 512 and sum(number % 128 == 0 for number in numbers) >= 0.7 * len(numbers):
            suggestion.unit = "MiB"
            suggestion.reason += f"; no unit given, values {least:g}..{most:g} in steps of 128 are MiB"
        elif middle <= 256 and most <= 24_576:
            suggestion.unit = "GiB"
            suggestion.reason += f"; no unit given, values {least:g}..{most:g} are GiB"
        else:
            _doubtful(suggestion, least, most)
    elif middle >= 16_384:
        suggestion.unit = "MiB"
        suggestion.reason += f"; no unit given, values {least:g}..{most:g} are MiB"
    elif middle <= 4096:
        suggestion.unit = "GiB"
        suggestion.reason += f"; no unit given, values {least:g}..{most:g} are GiB"
    else:
        _doubtful(suggestion, least, most)


def _doubtful(suggestion: Suggestion, least: float, most: float) -> None:
    suggestion.unit = None
    suggestion.confidence = min(suggestion.confidence, 0.5)
    suggestion.reason += f"; no unit given, and values {least:g}..{most:g} could be MiB or GiB: say which"


def _one_column_each(found: list[Suggestion]) -> None:
    """Of several columns for one target the best keeps it; the others become alternatives."""
    claims: dict[str, list[Suggestion]] = defaultdict(list)
    for suggestion in found:
        if suggestion.target_field is not None:
            claims[suggestion.target_field].append(suggestion)
    for target, claimants in claims.items():
        claimants.sort(key=lambda suggestion: (-suggestion.confidence, not suggestion.samples))
        for rank, suggestion in enumerate(claimants):
            suggestion.rank = rank
            if rank == 0 or (target in MANY_COLUMNS and suggestion.confidence >= 0.8):
                continue
            suggestion.alternatives.insert(0, {"target_field": target, "confidence": suggestion.confidence})
            suggestion.target_field, suggestion.unit = None, None
            suggestion.reason = f"{claimants[0].source_field} fits {target} better"
            suggestion.confidence = 0.0
            suggestion.match_type = "none"


# --- decisions --------------------------------------------------------------------------------------------------


def check(
    given: Mapping[str, Any], suggestions: list[Suggestion]
) -> tuple[dict[int, tuple[str | None, str | None]], list[Refused]]:
    """Given mappings by the index of the suggestion they speak of: `(target or None, unit or None)`; and what is
    refused.

    A source is `field`, `sheet.field`, `file.field`, `file/sheet.field` or `file/field`; a bare field speaks of every
    column of that
    name. A target is one of TARGETS, `{"target_field": ..., "unit": ...}`, or null to leave the column out.
    """
    index: dict[str, list[int]] = defaultdict(list)
    for at, suggestion in enumerate(suggestions):
        name, sheet, file = suggestion.source_field, suggestion.source_sheet, suggestion.source_file
        keys = {name, f"{file}.{name}", f"{file}/{name}"}
        if sheet is not None:
            keys |= {f"{sheet}.{name}", f"{file}/{sheet}.{name}"}
        for key in keys | {header_key(key) for key in keys}:
            index[key].append(at)
    chosen: dict[int, tuple[str | None, str | None]] = {}
    spoken: dict[int, str] = {}
    refused: list[Refused] = []
    # the longest key is the most exact, so it is read last and wins
    for key in sorted(given, key=len):
        wanted = given[key]
        unit: str | None = None
        if isinstance(wanted, Mapping):
            unit = wanted.get("unit")
            wanted = wanted.get("target_field", wanted.get("target"))
        if wanted is not None and not isinstance(wanted, str):
            refused.append(Refused(key, f"the target of {key} must be a text or null"))
            continue
        if unit is not None and (not isinstance(unit, str) or unit not in {*GIB, "%"}):
            refused.append(Refused(key, f"{unit!r} is not a unit; units are {', '.join(GIB)}"))
            continue
        target: str | None = None
        if wanted is not None and wanted.strip().lower() not in LEAVE_OUT:
            target = TARGET_ALIASES.get(wanted.strip().lower(), wanted.strip().lower())
            if target not in TARGETS:
                refused.append(Refused(key, f"{wanted!r} is not a target field; targets are {', '.join(TARGETS)}"))
                continue
        columns = index.get(key) or index.get(header_key(key))
        if not columns:
            refused.append(Refused(key, f"no uploaded table has a column {key!r}"))
            continue
        for at in columns:
            chosen[at] = (target, unit)
            spoken[at] = key
    refused.extend(_twice(chosen, spoken, suggestions))
    return chosen, refused


def _twice(
    chosen: Mapping[int, tuple[str | None, str | None]], spoken: Mapping[int, str], suggestions: list[Suggestion]
) -> list[Refused]:
    """Two columns of one table that are to be the same single-valued field: one of them would be lost."""
    first: dict[tuple[str, str | None, str], str] = {}
    refused = []
    for at in sorted(chosen):
        target = chosen[at][0]
        if target is None or target in MANY_COLUMNS:
            continue
        column = suggestions[at]
        place = (column.source_file, column.source_sheet, target)
        if place in first:
            sentence = (
                f"{column.source_field!r} and {first[place]!r} are both mapped to {target}; a field takes one column"
            )
            refused.append(Refused(spoken[at], sentence))
        first.setdefault(place, column.source_field)
    return refused


def columns_of(tables: Iterable[Table]) -> list[Suggestion]:
    """Every column of the tables as a suggestion without a meaning, for `check`."""
    return [
        Suggestion(table.file, table.sheet, column, None, 0.0, "none", [], kind=table.kind)
        for table in tables
        if table.role != IGNORED
        for column in table.columns
    ]


def decide(
    tables: list[Table],
    suggestions: list[Suggestion],
    *,
    given: Mapping[str, Any] | None = None,
    threshold: float = 0.8,
    take_all: bool = False,
) -> Decision:
    """Which mappings hold: the given ones, and the suggestions at or above the threshold (all of them with `take_all`).

    A machine table needs one of name, hostname, fqdn; a connection table both ends. A table in which no column was
    understood is `not_understood` when another table of the same estate is, else it misses its required targets.
    """
    chosen, refused = check(given or {}, suggestions)
    mappings: list[Suggestion] = []
    left_out: list[Suggestion] = []
    for at, suggestion in enumerate(suggestions):
        if at in chosen:
            target, unit = chosen[at]
            if target is None:
                left_out.append(suggestion)
                continue
            mappings.append(_given(suggestion, target, unit))
        elif suggestion.match_type == UNUSED:
            continue
        elif suggestion.target_field is None:
            mappings.append(replace(suggestion, target_field="custom_attributes"))
        elif suggestion.confidence >= threshold or (take_all and suggestion.confidence > 0):
            mappings.append(suggestion)
        else:
            left_out.append(suggestion)
            mappings.append(replace(suggestion, target_field="custom_attributes", unit=None))
    mappings = _given_wins(mappings)
    missing: list[Missing] = []
    not_understood: list[tuple[str, str | None]] = []
    by_table: dict[tuple[str, str | None], set[str]] = defaultdict(set)
    for mapping in mappings:
        if mapping.target_field is not None:
            by_table[mapping.source_file, mapping.source_sheet].add(mapping.target_field)
    used = [table for table in tables if table.role in {MACHINES, DETAIL, CONNECTIONS} and table.rows]
    complete = [table for table in used if not _lacks(table, by_table[table.file, table.sheet])]
    for table in used:
        targets = by_table[table.file, table.sheet]
        lacks = _lacks(table, targets)
        if not lacks:
            continue
        if complete and not targets - {"custom_attributes"}:
            not_understood.append((table.file, table.sheet))
            continue
        missing.extend(
            Missing(table.file, table.sheet, wanted, f"{table.place}: {sentence}") for wanted, sentence in lacks
        )
    return Decision(mappings, missing, refused, left_out, not_understood)


def _lacks(table: Table, targets: set[str]) -> list[tuple[str, str]]:
    if table.role == CONNECTIONS:
        return [
            (f"{end}_name", f"no column is mapped to {end}_name or {end}_ip; a connection needs both ends")
            for end in ("source", "target")
            if not targets & {f"{end}_name", f"{end}_ip"}
        ]
    if targets & set(NAME_TARGETS):
        return []
    return [("name", "no column is mapped to name, hostname or fqdn; a machine needs one of them")]


def _given(suggestion: Suggestion, target: str, unit: str | None) -> Suggestion:
    chosen = replace(
        suggestion, target_field=target, match_type="manual", confidence=1.0, rank=0, reason="given by the user"
    )
    values = suggestion.samples
    if target in NUMBER_TARGETS and suggestion.target_field != target:
        chosen.number_format = _number_format(values, None)
    if unit is not None:
        chosen.unit = unit
    elif target not in SIZE_TARGETS:
        chosen.unit = "%" if target.endswith("_percent") else None
    elif suggestion.target_field != target or suggestion.unit is None:
        _set_unit(chosen, values)
        chosen.confidence = 1.0
    return chosen


def _given_wins(mappings: list[Suggestion]) -> list[Suggestion]:
    """Where the user gave a column for a target, a suggested column for the same target of that table is only kept as
    an attribute."""
    manual = {
        (mapping.source_file, mapping.source_sheet, mapping.target_field)
        for mapping in mappings
        if mapping.match_type == "manual"
    }
    return [
        replace(mapping, target_field="custom_attributes", unit=None)
        if mapping.match_type != "manual"
        and mapping.target_field not in MANY_COLUMNS
        and (mapping.source_file, mapping.source_sheet, mapping.target_field) in manual
        else mapping
        for mapping in mappings
    ]
