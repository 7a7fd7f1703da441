"""What a thing is, by facts: its type with confidence and evidence, and whether it can be moved as a machine."""

from __future__ import annotations

import re
from collections.abc import Container
from functools import lru_cache
from typing import Any, NamedTuple

from estate.inventory.choosing import Row, candidates
from estate.inventory.views import APPLICATION, View
from estate.roles import APPLICATIONS

_TABS = {"rvtools.vhost": "vHost", "rvtools.vsc_vmk": "vSC_VMK", "rvtools.vnic": "vNIC", "rvtools.vhba": "vHBA"}
_DATABASE_ROLES = {"db", "database", "sql", "rdbms", "database server", "db server"}
_ROLE_TYPES = dict.fromkeys(_DATABASE_ROLES, "database") | {
    "lb": "load_balancer", "load balancer": "load_balancer", "firewall": "network_device", "router": "network_device",
    "switch": "network_device", "storage": "storage", "nas": "storage", "appliance": "appliance",
    "container": "container",
}  # fmt: skip
_SYSTEM_TYPES = {"network": "network_device", "storage": "storage"}
_BALANCERS = {"F5 BIG-IP", "Citrix ADC"}
_SERVER_SYSTEMS = {"Novell NetWare"}
"""Systems of the network family that run on servers."""
_HINTS = {
    "db": "database", "sql": "database", "mssql": "database", "mysql": "database", "oracle": "database",
    "postgres": "database", "pg": "database", "mongo": "database", "mongodb": "database", "web": "web", "www": "web",
    "iis": "web", "nginx": "web", "app": "application", "appliance": "appliance", "dc": "directory", "ad": "directory",
    "dns": "directory", "lb": "load_balancer", "haproxy": "load_balancer", "netscaler": "load_balancer",
    "fw": "network_device", "nas": "storage", "backup": "backup", "bkp": "backup", "vcenter": "appliance",
}  # fmt: skip
_VIRTUAL_MACS = {
    "00:50:56": "VMware", "00:0c:29": "VMware", "00:05:69": "VMware", "00:15:5d": "Hyper-V", "52:54:00": "KVM",
    "50:6b:8d": "Nutanix AHV", "00:16:3e": "Xen",
}  # fmt: skip
_VIRTUAL_MAKERS = re.compile(
    r"vmware|qemu|kvm\b|xen\b|hvm domu|virtualbox|innotek|virtual machine|nutanix ahv|amazon ec2|google compute",
    re.IGNORECASE,
)
_DEVICES: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("load_balancer", re.compile(r"\bbig-?ip\b|\bf5\b|\bnetscaler\b|\bcitrix adc\b|\ba10\b|\bkemp\b", re.IGNORECASE)),
    (
        "network_device",
        re.compile(
            r"\bcisco (?!ucs)|\bcatalyst\b|\bnexus \d|\bjuniper\b|\barista\b|\bfortigate\b|\bfortinet\b|\bpalo alto\b"
            r"|\bcheck ?point\b|\baruba\b|\bbrocade\b|\bsonicwall\b",
            re.IGNORECASE,
        ),
    ),
    (
        "storage",
        re.compile(
            r"\bnetapp\b|\bisilon\b|\bdata ?domain\b|\bpowerstore\b|\bpowermax\b|\bvnx\b|\bunity \d|\b3par\b|\bnimble\b"
            r"|\bpure storage\b|\bflasharray\b|\bqnap\b|\bsynology\b|\bstorwize\b",
            re.IGNORECASE,
        ),
    ),
)
_STAYS = {
    "network_device": "network gear is replaced by services of the target, not moved",
    "load_balancer": "a load balancer is replaced by a service of the target, not moved",
    "storage": "a storage array is not moved; its data are",
    "appliance": "an appliance is its vendor's to move or to replace",
}
_MACHINE_FACTS = frozenset(
    {
        "operating_system", "ip_addresses", "cpu_cores", "memory_gb", "storage_gb", "fqdn", "hostname", "power_state",
        "role", "mac_addresses", "serial_number", "uuid", "runs_on",
    }
)  # fmt: skip
_NAMED = {
    "virtual_machine": {"vm", "vms", "virtual", "vmname"},
    "server": {"server", "serv", "srv", "servername", "host", "hostname", "machine", "computer", "node", "fqdn"},
    "application": {"application", "app", "applications"},
}
_DIGITS = str.maketrans("0123456789", " " * 10)
_WORDS = re.compile(r"[^a-z0-9]+")


class Class(NamedTuple):
    """What a thing is."""

    asset_type: str
    confidence: float
    evidence: str


@lru_cache(maxsize=4096)
def _words_of(column: str) -> frozenset[str]:
    return frozenset(words(column))


def words(name: str) -> list[str]:
    """The words of a name: camel case and punctuation divide."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    return [word for word in _WORDS.split(spaced.lower()) if word]


class Seen(NamedTuple):
    """What is known of a thing before its type is."""

    rows: list[Row]
    known: Container[str]
    """The targets that its tables have."""
    key: str | None
    name: str
    system: dict[str, Any]
    macs: list[str]
    external: list[str]


def classify(seen: Seen) -> tuple[Class, str | None]:
    """(type, confidence and evidence; why it cannot be moved as a machine, None where it can). A name alone never
    decides."""
    marked = _marked(seen)
    if marked is not None:
        return Class("other", 1.0, f"marked as {marked}"), f"it is {marked}"
    found = _type(seen)
    if _hypervisor(seen):
        return found, "it is a hypervisor host; the machines on it are moved"
    return found, _STAYS.get(found.asset_type)


def hint(name: str, asset_type: str) -> str | None:
    """What the name suggests of a machine, in words; None where it suggests nothing."""
    if asset_type not in {"server", "virtual_machine"}:
        return None
    return _hint(name.translate(_DIGITS))


@lru_cache(maxsize=65536)
def _hint(name: str) -> str | None:
    parts = words(name)
    for at, part in enumerate(parts):
        if part in _HINTS and not (part == "oracle" and parts[at + 1 : at + 2] == ["linux"]):
            return f"the name suggests {_HINTS[part]}"
    return None


def _marked(seen: Seen) -> str | None:
    for flag, what in (("is_template", "a template"), ("is_placeholder", "a replication placeholder")):
        if flag in seen.known and any(view.first(flag, row) is True for view, row in seen.rows):
            return what
    return None


def _hypervisor(seen: Seen) -> bool:
    if seen.system.get("os_family") == "hypervisor" or any(view.kind in _TABS for view, _ in seen.rows):
        return True
    return "is_hypervisor" in seen.known and any(view.first("is_hypervisor", row) is True for view, row in seen.rows)


def _type(seen: Seen) -> Class:
    rows = seen.rows
    if not rows:
        return Class("server", 0.5, "named where something was measured or found on it")
    view = rows[0][0]
    if seen.key is not None and seen.key.startswith(APPLICATION) and view.role == APPLICATIONS:
        return Class("application", 1.0, f"listed as an application in {view.table.place}")
    known = seen.known
    stated = candidates(rows, "asset_type") if "asset_type" in known else []
    if stated and stated[0].value not in {"server", "virtual_machine"}:
        return Class(stated[0].value, 0.95, _stated(stated[0].view, stated[0].row))
    found = _by_service(seen) or _by_export(rows, seen.name)
    if found is not None:
        return found
    if stated:
        return Class(stated[0].value, 0.95, _stated(stated[0].view, stated[0].row))
    return _by_make(seen) or _by_hypervisor(seen) or _by_columns(rows)


def _stated(view: View, row: int) -> str:
    where = view.where(row)
    sheet = f" sheet {where['sheet']}" if where["sheet"] else ""
    return f"stated in {where['file']}{sheet} row {where['row']}"


def _by_service(seen: Seen) -> Class | None:
    """What it serves as: a database found on it, its stated role, an operating system that only such devices run."""
    if "has_database" in seen.known and any(view.first("has_database", row) is True for view, row in seen.rows):
        return Class("database", 0.9, "a database service was found on it")
    for said in candidates(seen.rows, "role") if "role" in seen.known else ():
        kind = _ROLE_TYPES.get(str(said.value).lower())
        if kind:
            return Class(kind, 0.85, f"role {said.value} {_stated(said.view, said.row)}")
    product = seen.system.get("operating_system")
    kind = _SYSTEM_TYPES.get(seen.system.get("os_family") or "")
    if kind and product not in _SERVER_SYSTEMS:
        return Class("load_balancer" if product in _BALANCERS else kind, 0.9, f"runs {product}")
    return None


def _by_export(rows: list[Row], name: str) -> Class | None:
    kinds = [view.kind for view, _ in rows]
    for kind in kinds:
        if kind in _TABS:
            return Class("server", 1.0, f"a host in RVTools {_TABS[kind]}")
    product = next((kind for kind in kinds if kind.startswith(("rvtools.", "vcenter.", "nutanix."))), None)
    if product is None:
        return None
    if re.match(r"vcls[-\s(]", name, re.IGNORECASE):
        return Class("appliance", 0.9, "a vSphere cluster service machine")
    return Class(
        "virtual_machine", 1.0, f"a virtual machine in {'RVTools' if product.startswith('rvtools.') else product}"
    )


def _by_make(seen: Seen) -> Class | None:
    """By manufacturer and model, and by what a source says of virtual or physical."""
    for target in ("model", "manufacturer"):
        for said in candidates(seen.rows, target) if target in seen.known else ():
            text = str(said.value)
            for kind, pattern in _DEVICES:
                if pattern.search(text):
                    return Class(kind, 0.85, f"{target} {text}")
            if _VIRTUAL_MAKERS.search(text):
                return Class("virtual_machine", 0.9, f"{target} {text}")
    for said in candidates(seen.rows, "is_physical") if "is_physical" in seen.known else ():
        kind = "server" if said.value else "virtual_machine"
        return Class(kind, 0.9, f"{said.field} is {'yes' if said.value else 'no'} in {said.view.table.place}")
    return None


def _by_hypervisor(seen: Seen) -> Class | None:
    if seen.external:
        sites = " ".join(seen.external).lower()
        if "/vmwaresites/" in sites or "/hypervsites/" in sites:
            return Class("virtual_machine", 0.95, "discovered through its hypervisor")
        if "/serversites/" in sites:
            return Class("server", 0.9, "discovered as a physical server")
    for mac in seen.macs:
        if mac[:8] in _VIRTUAL_MACS:
            return Class("virtual_machine", 0.9, f"hardware address of {_VIRTUAL_MACS[mac[:8]]}")
    for said in candidates(seen.rows, "runs_on") if "runs_on" in seen.known else ():
        return Class("virtual_machine", 0.85, f"runs on {said.value}")
    return None


def _by_columns(rows: list[Row]) -> Class:
    """The type that the name column says, else a server if any column states a fact of machines, else other."""
    for view, row in rows:
        named = view.named(row)
        if named is None:
            continue
        said = _words_of(named[1].field)
        for kind, names in _NAMED.items():
            if said & names:
                return Class(kind, 0.8, f"named in the column {named[1].field}")
    if any(_MACHINE_FACTS & view.facts.keys() for view, _ in rows):
        return Class("server", 0.7, "its table states facts of machines")
    return Class("other", 0.3, "nothing says what it is")
