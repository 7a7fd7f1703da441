"""Which export a table is: recognised by its column names, whatever the file or the sheet is called."""

from __future__ import annotations

import re

from estate.tables import Table, Warned, Workbook

MACHINES = "machines"
"""One row names one machine and states facts about it."""
DETAIL = "detail"
"""Several rows may belong to one machine (disks, network cards)."""
CONNECTIONS = "connections"
"""One row is a connection between two endpoints."""
IGNORED = "ignored"
"""Holds nothing that discovery uses."""

# kind: (role, columns that must all be there, columns of which at least one must be there)
_RVTOOLS: tuple[tuple[str, str, frozenset[str], frozenset[str]], ...] = (
    (
        "rvtools.vinfo",
        MACHINES,
        frozenset({"vm", "powerstate", "cpus", "memory"}),
        frozenset(
            {
                "provisioned mib",
                "provisioned mb",
                "in use mib",
                "in use mb",
                "total disk capacity mib",
                "dns name",
                "guest state",
            }
        ),
    ),
    ("rvtools.vcpu", MACHINES, frozenset({"vm", "cpus", "sockets", "cores p/s"}), frozenset()),
    (
        "rvtools.vmemory",
        MACHINES,
        frozenset({"vm", "overhead", "consumed"}),
        frozenset({"size mib", "size mb"}),
    ),
    (
        "rvtools.vpartition",
        DETAIL,
        frozenset({"vm", "disk", "free %"}),
        frozenset({"capacity mib", "capacity mb", "consumed mib", "consumed mb"}),
    ),
    (
        "rvtools.vdisk",
        DETAIL,
        frozenset({"vm", "disk", "disk mode"}),
        frozenset({"capacity mib", "capacity mb"}),
    ),
    (
        "rvtools.vnetwork",
        DETAIL,
        frozenset({"vm", "mac address"}),
        frozenset({"ipv4 address", "ip address", "adapter", "nic label"}),
    ),
    (
        "rvtools.vhost",
        MACHINES,
        frozenset({"host", "# cores", "# memory"}),
        frozenset({"cpu model", "esx version", "# cpu"}),
    ),
)
_RVTOOLS_OTHER = re.compile(
    r"^(?:rvtools_tab)?(v(?:tools|snapshot|cd|usb|floppy|cluster|datastore|hba|nic|switch|port|sc_vmk|health|license|fileinfo"
    r"|rp|multipath|source|metadata)|dvswitch|dvport)$",
    re.IGNORECASE,
)
_AZURE_DISCOVERY = frozenset({"machine name", "operating system", "cores", "machine id"})
_SOURCE_WORDS = {"source", "src", "from", "client", "consumer", "caller"}
_TARGET_WORDS = {"destination", "dest", "dst", "target", "to", "server", "provider", "callee"}
_END_WORDS = {
    "server",
    "host",
    "hostname",
    "name",
    "ip",
    "address",
    "machine",
    "vm",
    "asset",
    "node",
    "system",
    "application",
    "app",
}


def header_key(name: str) -> str:
    """A column name for comparison: lower case, one blank between words."""
    return " ".join(name.lower().split())


def words(name: str) -> list[str]:
    """The words of a column name: camel case and punctuation divide, units stay whole."""
    units = re.sub(r"[KMGT]i?B(?![a-z])", lambda unit: f" {unit.group(0).lower()} ", name)
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", units)
    return [word for word in re.split(r"[^a-z0-9]+", spaced.lower()) if word]


def recognise(book: Workbook) -> None:
    """Set `kind` and `role` on every table of the workbook, and warn about tables that discovery does not use."""
    for table in book.tables:
        table.kind, table.role = kind_of(table)
        if table.role == IGNORED:
            book.warnings.append(
                Warned("not_used", f"{table.place} is {table.kind}; it holds nothing that discovery uses.", table.sheet)
            )


def kind_of(table: Table) -> tuple[str, str]:
    """The kind and role of one table, by its columns first and its name second."""
    keys = {header_key(column) for column in table.columns}
    for kind, role, required, some in _RVTOOLS:
        if required <= keys and (not some or some & keys):
            return kind, role
    if keys >= _AZURE_DISCOVERY and any(key.startswith("memory") for key in keys):
        return "azure_migrate.discovery", MACHINES
    label = table.sheet if table.sheet is not None else table.file.rsplit("/", 1)[-1].rsplit(".", 1)[0]
    other = _RVTOOLS_OTHER.match(label.strip())
    if other and (table.sheet is None or other.group(1).lower() != "vsource" or "vm" not in keys):
        return f"rvtools.{other.group(1).lower()}", IGNORED
    if {"source server name", "destination server name", "destination port"} <= keys:
        return "azure_migrate.dependencies", CONNECTIONS
    if _has_two_ends(table.columns):
        return "connections", CONNECTIONS
    if {"tenant id", "subscription"} <= keys and len(table.rows) <= 5:
        return "azure_migrate.properties", IGNORED
    return "table", MACHINES


def _has_two_ends(columns: list[str]) -> bool:
    """A source column and a target column that both name a machine, an address or an application."""
    sources, targets = set(), set()
    for column in columns:
        parts = words(column)
        if not parts:
            continue
        rest = set(parts[1:])
        if parts[0] in _SOURCE_WORDS and (not rest or rest & _END_WORDS):
            sources.add(column)
        elif parts[0] in _TARGET_WORDS - {"server"} and (not rest or rest & _END_WORDS):
            targets.add(column)
    return bool(sources and targets)


def recognised_as(book: Workbook) -> str:
    """The product a file comes from: `rvtools, azure_migrate, azure_dependencies, connections, table`."""
    kinds = {table.kind for table in book.tables}
    if any(kind.startswith("rvtools.") for kind in kinds):
        return "rvtools"
    if "azure_migrate.discovery" in kinds:
        return "azure_migrate"
    if "azure_migrate.dependencies" in kinds:
        return "azure_dependencies"
    if kinds == {"connections"}:
        return "connections"
    return "table"
