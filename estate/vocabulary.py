"""The words estates use: placeholders, environments, criticality, power states, operating systems, addresses."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from functools import lru_cache

PLACEHOLDERS = frozenset(
    {
        "", "-", "--", "---", "?", "??", ".", "..", "n/a", "na", "n.a.", "n.a", "#n/a", "#n/v", "#null!", "#ref!",
        "#value!", "#name?",
        "null", "nil", "none", "(none)", "[none]", "<none>", "(null)", "<null>", "nan", "tbd", "tba", "tbc", "t.b.d.",
        "unknown", "(unknown)",
        "<unknown>", "[unknown]", "unk", "undefined", "not available", "not applicable", "not known", "not collected",
        "not set",
        "not specified", "unspecified", "unassigned", "not assigned", "[]", "[];", "{}", "()", "xxx", "keine", "k.a.",
        "to be determined",
        "to be confirmed", "blank", "(blank)", "empty", "(empty)",
    }
)  # fmt: skip

ENVIRONMENTS: dict[str, str] = {
    "production": "production", "prod": "production", "prd": "production", "live": "production", "p": "production",
    "development": "development", "develop": "development", "dev": "development", "d": "development",
    "test": "test", "testing": "test", "tst": "test", "qa": "test", "quality": "test", "quality assurance": "test",
    "sit": "test",
    "staging": "staging", "stage": "staging", "stg": "staging", "uat": "staging", "acceptance": "staging",
    "preprod": "staging",
    "pre-prod": "staging", "pre-production": "staging", "preproduction": "staging", "pre production": "staging",
    "acc": "staging",
    "training": "training", "trn": "training", "train": "training", "sandbox": "sandbox", "sbx": "sandbox",
    "lab": "sandbox",
    "dr": "disaster_recovery", "disaster recovery": "disaster_recovery", "disaster_recovery": "disaster_recovery",
    "bcp": "disaster_recovery",
    "non-production": "non_production", "non-prod": "non_production", "nonprod": "non_production",
    "non_production": "non_production",
}  # fmt: skip

CRITICALITIES: dict[str, str] = {
    "critical": "critical", "mission critical": "critical", "mission-critical": "critical",
    "business critical": "critical",
    "very high": "critical", "highest": "critical", "tier 0": "critical", "tier 1": "critical", "tier-1": "critical",
    "tier1": "critical",
    "p1": "critical", "platinum": "critical", "vital": "critical",
    "high": "high", "important": "high", "tier 2": "high", "tier-2": "high", "tier2": "high", "p2": "high",
    "gold": "high",
    "medium": "medium", "moderate": "medium", "normal": "medium", "standard": "medium", "tier 3": "medium",
    "tier-3": "medium",
    "tier3": "medium", "p3": "medium", "silver": "medium", "med": "medium", "business operational": "medium",
    "low": "low", "very low": "low", "lowest": "low", "minor": "low", "non-critical": "low", "non critical": "low",
    "noncritical": "low",
    "not critical": "low", "tier 4": "low", "tier-4": "low", "tier4": "low", "p4": "low", "bronze": "low",
    "administrative": "low",
}  # fmt: skip

POWER_STATES: dict[str, str] = {
    "poweredon": "on", "powered on": "on", "on": "on", "running": "on", "up": "on", "started": "on",
    "vm running": "on", "power on": "on",
    "poweredoff": "off", "powered off": "off", "off": "off", "stopped": "off", "down": "off", "shutdown": "off",
    "shut down": "off",
    "deallocated": "off", "vm deallocated": "off", "vm stopped": "off", "power off": "off",
    "suspended": "suspended", "paused": "suspended", "saved": "suspended", "hibernated": "suspended",
    "standby": "suspended",
}  # fmt: skip

ASSET_TYPES: dict[str, str] = {
    "server": "server", "physical": "server", "physical server": "server", "bare metal": "server",
    "cmdb_ci_server": "server",
    "windows server": "server", "linux server": "server", "unix server": "server", "cmdb_ci_win_server": "server",
    "cmdb_ci_linux_server": "server", "host": "server", "hypervisor": "server", "esx server": "server",
    "blade": "server",
    "virtual_machine": "virtual_machine", "virtual machine": "virtual_machine", "vm": "virtual_machine",
    "virtual": "virtual_machine",
    "virtual server": "virtual_machine", "vmware virtual machine": "virtual_machine", "guest": "virtual_machine",
    "database": "database", "db": "database", "database server": "database", "db server": "database", "sql": "database",
    "database instance": "database", "cmdb_ci_database": "database", "cmdb_ci_db_instance": "database",
    "application": "application", "app": "application", "business application": "application",
    "cmdb_ci_appl": "application",
    "network": "network_device", "network device": "network_device", "network_device": "network_device",
    "router": "network_device",
    "switch": "network_device", "firewall": "network_device", "network gear": "network_device",
    "access point": "network_device",
    "cmdb_ci_netgear": "network_device",
    "load balancer": "load_balancer", "load_balancer": "load_balancer", "lb": "load_balancer", "adc": "load_balancer",
    "storage": "storage", "nas": "storage", "san": "storage", "storage array": "storage", "filer": "storage",
    "storage device": "storage",
    "appliance": "appliance", "virtual appliance": "appliance", "container": "container", "pod": "container",
    "docker": "container",
    "other": "other",
}  # fmt: skip

TRUE_WORDS = frozenset({"true", "yes", "y", "1", "wahr", "vrai", "x"})
FALSE_WORDS = frozenset({"false", "no", "n", "0", "falsch", "faux"})


def is_placeholder(text: str) -> bool:
    """Does this text only say that nobody knows?"""
    return text.strip().lower() in PLACEHOLDERS


@dataclass(frozen=True, slots=True)
class OperatingSystem:
    """An operating system name taken apart; `version` None = not said; `family` windows, linux, unix, hypervisor,
    network or None."""

    family: str | None
    product: str
    version: str | None
    edition: str | None = None
    bits: int | None = None
    generic: bool = False
    """The version is a range or a choice (`2016 or later`, `4/5/6`)."""


_BITS = re.compile(r"\(?\b(32|64)[- ]?bit\b\)?|\bx(86[_-]?64|64)\b|\bx(86)\b|\b(amd64)\b", re.IGNORECASE)
_EDITION = re.compile(
    r"\b(standard|enterprise|datacenter|data center|web|essentials|foundation|professional|pro|home|ultimate)\b",
    re.IGNORECASE,
)
_YEAR = r"(2000|2003|2008|2012|2016|2019|2022|2025)"
_WINDOWS_SERVER = re.compile(
    rf"\bwin(?:dows|)?\s*(?:nt\s*)?(?:server|srv|svr)?\s*(?:\(r\)|®)?\s*{_YEAR}(?!\d)\s*(r2)?\b(.*)$|\bw(?:in)?2k(3|8|12|16|19|22)\s*(r2)?\b",
    re.IGNORECASE,
)
_WINDOWS_CLIENT = re.compile(r"\bwindows\s*(xp|vista|7|8\.1|8|10|11)\b(.*)$", re.IGNORECASE)
_NUMBERED = r"(?:[^\d]{0,24}?(\d+(?:\.\d+){0,2}(?:\s*/\s*\d+(?:\.\d+)?)*))?"

_FAMILIES: tuple[tuple[str, str, re.Pattern[str]], ...] = tuple(
    (family, product, re.compile(f"(?:{pattern}){_NUMBERED}", re.IGNORECASE))
    for family, product, pattern in (
        ("hypervisor", "VMware ESXi", r"\besxi?\b"),
        ("linux", "VMware Photon OS", r"\bphoton(?:\s*os)?\b"),
        ("linux", "Amazon Linux", r"\bamazon\s*linux\b"),
        ("linux", "CentOS Stream", r"\bcentos(?:\s*linux)?\s*stream\b"),
        ("linux", "CentOS", r"\bcent\s*os\b"),
        ("linux", "Fedora", r"\bfedora\b"),
        ("linux", "Rocky Linux", r"\brocky(?:\s*linux)?\b"),
        ("linux", "AlmaLinux", r"\balma\s*linux\b"),
        ("linux", "Oracle Linux", r"\boracle\s*(?:enterprise\s*)?linux\b|\boel\b"),
        (
            "linux",
            "Red Hat Enterprise Linux",
            r"\bred\s*hat(?:\s*enterprise)?(?:\s*linux)?\b|\brhel\b|\blinux\s+red\s*hat\b",
        ),
        ("linux", "SUSE Linux Enterprise Server", r"\bsuse\s*linux\s*enterprise(?:\s*server)?\b|\bsles\b"),
        ("linux", "openSUSE", r"\bopen\s*suse(?:\s*leap)?\b"),
        ("linux", "SUSE Linux Enterprise Server", r"\bsuse\b"),
        ("linux", "Ubuntu", r"\bubuntu(?:\s*linux)?\b"),
        ("linux", "Debian", r"\bdebian(?:\s*gnu/linux)?\b"),
        ("unix", "AIX", r"\baix\b"),
        ("unix", "Solaris", r"\bsolaris\b|\bsunos\b"),
        ("unix", "HP-UX", r"\bhp-?ux\b"),
        ("unix", "FreeBSD", r"\bfreebsd\b"),
        ("unix", "macOS", r"\bmac\s*os(?:\s*x)?\b"),
        ("network", "Cisco IOS", r"\bcisco\s*(?:ios|nx-?os)\b"),
        ("network", "F5 BIG-IP", r"\bbig-?ip\b"),
        ("network", "NetApp ONTAP", r"\bontap\b"),
        ("network", "PAN-OS", r"\bpan-?os\b"),
        ("network", "FortiOS", r"\bforti\s*os\b"),
    )
)
_GENERIC_LINUX = re.compile(r"\blinux\b", re.IGNORECASE)
_GENERIC_WINDOWS = re.compile(r"\bwindows\b|\bwin(?:32|64)\b", re.IGNORECASE)
_SERVICE_PACK = re.compile(r"\bsp\s?(\d)\b", re.IGNORECASE)
_SHORT_YEARS = {"3": "2003", "8": "2008", "12": "2012", "16": "2016", "19": "2019", "22": "2022"}


@lru_cache(maxsize=8192)
def parse_os(text: str) -> OperatingSystem | None:
    """Take an operating system name apart; None when nothing in it is known."""
    cleaned = " ".join(text.replace("®", " ").replace("™", " ").replace("(R)", " ").replace("_", " ").split())
    bits_found = _BITS.search(cleaned)
    bits = (32 if "32" in bits_found.group(0) or bits_found.group(3) else 64) if bits_found else None
    bare = _BITS.sub(" ", cleaned)
    edition_found = _EDITION.search(bare)
    edition = edition_found.group(1).title().replace("Data Center", "Datacenter") if edition_found else None
    windows = _WINDOWS_SERVER.search(bare)
    if windows:
        year = windows.group(1) or _SHORT_YEARS[windows.group(4)]
        suffix = " R2" if windows.group(2) or windows.group(5) else ""
        generic = "or later" in bare.lower() or "or newer" in bare.lower()
        dated = f"{year}{suffix}" + (" or later" if generic else "")
        return OperatingSystem("windows", "Windows Server", dated, edition, bits, generic)
    client = _WINDOWS_CLIENT.search(bare)
    if client and "server" not in bare.lower():
        release = client.group(1).upper() if client.group(1).lower() == "xp" else client.group(1).title()
        return OperatingSystem("windows", "Windows", release, edition, bits, "or later" in bare.lower())
    for family, product, pattern in _FAMILIES:
        found = pattern.search(bare)
        if not found:
            continue
        version = found.group(1).replace(" ", "") if found.group(1) else None
        if product == "SUSE Linux Enterprise Server" and version:
            pack = _SERVICE_PACK.search(bare)
            major, _, minor = version.partition(".")
            level = pack.group(1) if pack else minor.split(".")[0]
            version = f"{major} SP{level}" if level and level != "0" else major
        generic = bool(version and "/" in version) or "or later" in bare.lower()
        if version and "or later" in bare.lower():
            version += " or later"
        return OperatingSystem(family, product, version, edition if family == "windows" else None, bits, generic)
    if _GENERIC_WINDOWS.search(bare):
        server = "server" in bare.lower()
        return OperatingSystem("windows", "Windows Server" if server else "Windows", None, edition, bits)
    if _GENERIC_LINUX.search(bare):
        return OperatingSystem("linux", "Linux", None, None, bits)
    return None


@lru_cache(maxsize=65536)
def parse_ip(text: str) -> str | None:
    """An address in its normal form; a prefix length (`/24`) is dropped; None when it is no address."""
    if ":" not in text and not text[:1].isdigit():
        return None
    try:
        return str(ipaddress.ip_address(text.split("/", 1)[0].split("%", 1)[0]))
    except ValueError:
        return None


@lru_cache(maxsize=65536)
def says_nothing(address: str) -> bool:
    """Addresses that every machine may have: unspecified, loopback, multicast."""
    parsed = ipaddress.ip_address(address)
    return parsed.is_unspecified or parsed.is_loopback or parsed.is_multicast


def is_public(address: str) -> bool:
    """Is this address reachable from the internet?"""
    return ipaddress.ip_address(address).is_global


_MAC = re.compile(r"^[0-9a-f]{2}([:-]?[0-9a-f]{2}){5}$", re.IGNORECASE)


def parse_mac(text: str) -> str | None:
    """A hardware address as six pairs with colons, lower case; None when it is none."""
    if not _MAC.match(text):
        return None
    digits = re.sub(r"[:-]", "", text).lower()
    return ":".join(digits[at : at + 2] for at in range(0, 12, 2))


_NOT_DOMAINS = {
    "old",
    "bak",
    "backup",
    "template",
    "tmp",
    "temp",
    "copy",
    "clone",
    "new",
    "orig",
    "decom",
    "test",
    "vm",
    "img",
    "ova",
    "restore",
}
_FQDN = re.compile(
    r"^([a-z0-9_](?:[a-z0-9_-]*[a-z0-9])?)\.((?:[a-z0-9_-]+\.)*([a-z]{2,}|xn--[a-z0-9-]+))\.?$", re.IGNORECASE
)
_HOST = re.compile(r"^[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?$", re.IGNORECASE)


@lru_cache(maxsize=131072)
def split_fqdn(text: str) -> tuple[str, str] | None:
    """`web01.corp.local` -> (`web01`, `corp.local`); None when the rest is no domain (`vcenter7.0`, `web01.old`)."""
    found = _FQDN.match(text.strip())
    if not found or found.group(2).lower() in _NOT_DOMAINS:
        return None
    return found.group(1), found.group(2)


def is_host_name(text: str) -> bool:
    """Could this be a host name by its letters (RFC 1123, and the underscore people use)?"""
    return bool(_HOST.match(text))
