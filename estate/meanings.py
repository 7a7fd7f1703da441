"""What a column can mean, by the words of its name and the shape of its cells together."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from estate.lexicon import OTHERS, bare, end_of_connection, is_server_end, meanings, of_one_drive, unit_in_header, words
from estate.profile import Profile, is_address_list, is_environment, is_person, is_time, names_system
from estate.roles import APPLICATIONS, CONNECTIONS, DETAIL, MACHINES, PERFORMANCE, SOFTWARE
from estate.targets import NAME_TARGETS, NUMBER_TARGETS, PERCENT_TARGETS, SIZE_TARGETS, UTILIZATION_TARGETS

DIRECT, INFERRED, BY_VALUES = "direct", "inferred", "value_shape"
LEAST = 0.5
"""A meaning below this confidence is only an alternative."""

_PEAK = frozenset({"max", "maximum", "peak", "highest"})
_P95 = frozenset({"p95", "95th", "percentile", "95"})
_AVERAGE = frozenset({"avg", "average", "mean"})
_NO_FIGURE = frozenset({"min", "minimum", "lowest", "median", "p50", "50th", "p99", "99th", "stddev", "sum"})
_BUSY = {"cpu_cores": "cpu_utilization_percent", "memory_gb": "memory_utilization_percent",
         "memory_used_gb": "memory_utilization_percent"}  # fmt: skip
_BARE_MEASURES = (["cpu"], ["memory"], ["ram"], ["mem"])
_USED = {"memory_utilization_percent": "memory_used_gb"}
_HOST_WORDS = frozenset({"host", "hypervisor", "esx", "esxi", "physical", "node", "name", "server"})
_VM_WORDS = frozenset({"vm", "virtual", "guest", "vmname"})
_OF_HOSTS = frozenset({"host", "hypervisor", "esx", "esxi"})
_ONLY_BY_VALUES = frozenset({
    ("platform", "operating_system"), ("stage", "environment"), ("landscape", "environment"), ("lifecycle", "environment"),
    ("life cycle", "environment"), ("used for", "environment"), ("tier", "role"), ("hypervisor", "runs_on"),
})  # fmt: skip
"""Names that mean several things: the cells have to say that they mean this one."""
_NO_SHAPE = OTHERS | {
    "hypervisor",
    "host",
    "parent",
    "esx",
    "esxi",
    "virtual",
    "balancer",
    "secondary",
    "monitoring",
    "remote",
}
_ADDRESS_WORDS = frozenset({"ip", "ips", "ipv4", "ipv6", "address", "addresses", "addr"})
_POWER_WORDS = frozenset({"power", "powerstate", "running"})
_LIFECYCLE = frozenset({
    "active", "inactive", "retired", "decom", "decommissioned", "decommission", "in use", "installed", "in stock", "in service",
    "out of service", "operational", "non-operational", "live", "planned", "disposed", "end of life", "to be decommissioned",
    "pending install", "in maintenance", "stolen", "obsolete", "aktiv", "inaktiv", "ausgemustert", "in betrieb", "installiert",
    "außer betrieb", "stillgelegt", "actif", "inactif", "en service", "hors service", "activo", "inactivo", "de baja",
})  # fmt: skip
"""Stages in the life of a machine: an active one may be off."""
_OBJECTS = (["object"], ["resource"], ["entity"], ["element"], ["managed", "object"])
_VENDORS = (["vendor"], ["publisher"], ["supplier"], ["software", "vendor"])
_PRODUCTS = frozenset({"software", "product", "publisher"})
_OF_PRODUCTS = _PRODUCTS | {"name", "title", "version"}
_WINDOW = re.compile(
    r"\b(?:in |over )?(?:the )?(?:last|past|previous)\s+\d*\s*(?:hour|day|week|month)s?\b", re.IGNORECASE
)
"""The time a figure was taken over: `CPU % last 30 days`."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One meaning a column can have."""

    target: str
    confidence: float
    match_type: str
    reason: str
    vague: bool = False
    """The name only contains a word of the target: without cells that look like it, nothing is known."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the other columns of the table say about a column."""

    role: str = MACHINES
    named: bool = False
    """A column other than `Host` names the machine."""
    of_virtual_machines: bool = False
    """That column speaks of virtual machines."""
    named_apart: bool = False
    """A column other than `Name` names the machine."""
    sockets_beside: bool = False
    """Cores are told per processor in a column of its own."""
    hosts_beside: bool = False
    """A column other than that one says on which host the machine runs."""
    ends: frozenset[str] = frozenset()
    products_beside: bool = False
    """A column names a product of software: a vendor may be the product's."""
    """Of `source` and `target` those that columns speak of."""


def surroundings(role: str, names: Sequence[str]) -> Surroundings:
    """What a table's column names say about each of its columns."""
    named = virtual = apart = per_socket = sockets = hosts = False
    for name in names:
        spoken = set(bare(name)) | set(words(name))
        best = meanings(name, MACHINES)
        is_name = bool(best) and best[0][0] in NAME_TARGETS and best[0][1] >= 0.9
        if is_name and not _is_host(name):
            named = True
            apart = apart or bare(name) != ["name"]
            virtual = virtual or bool(spoken & _VM_WORDS)
        hosts = hosts or _is_host(name) or bool(best and best[0][0] == "runs_on" and best[0][1] >= 0.9)
        if "per" in words(name) and spoken & {"core", "cores"} and spoken & {"cpu", "socket", "processor"}:
            per_socket = True
        sockets = sockets or bool(spoken & {"socket", "sockets"} and "per" not in words(name))
    ends = frozenset(end.split("_", 1)[0] for name in names if (end := end_of_connection(name)) is not None)
    products = any(_names_a_product(name) for name in names)
    return Surroundings(role, named, virtual, apart, per_socket and not sockets, named and hosts, ends, products)


def _names_a_product(name: str) -> bool:
    spoken = words(name)
    return not _PRODUCTS.isdisjoint(spoken) and _OF_PRODUCTS.issuperset(spoken)


def _is_host(name: str) -> bool:
    spoken = set(bare(name))
    return "host" in spoken and spoken <= _HOST_WORDS


def candidates(name: str, profile: Profile, around: Surroundings) -> list[Candidate]:
    """The meanings of a column in its table, best first.

    Confidence: 1.0 the exact name; 0.9 the name with filling words; 0.55..0.85 similar words; 0.6 the cells alone. Half
    of it where the cells do not look like the target.
    """
    found: dict[str, Candidate] = {}
    for candidate in (*_by_ends(name, profile, around), *_by_words(_WINDOW.sub(" ", name), profile, around)):
        weighed = _weighed(_of_host(candidate, name, around), name, profile, around)
        if weighed.target not in found or weighed.confidence > found[weighed.target].confidence:
            found[weighed.target] = weighed
    if not found and around.role != CONNECTIONS and _NO_SHAPE.isdisjoint(bare(name)):
        found = {candidate.target: candidate for candidate in _by_values(name, profile)}
    return sorted((one for one in found.values() if one.confidence > 0), key=lambda one: -one.confidence)


def _by_ends(name: str, profile: Profile, around: Surroundings) -> list[Candidate]:
    if around.role != CONNECTIONS:
        return []
    end = end_of_connection(name) or _other_end(name, around)
    if end is None:
        return [] if around.ends else _by_needs(name)
    if end.endswith("_name") and profile.share(is_address_list) > 0.5:
        end = end.replace("_name", "_ip")
    return [Candidate(end, 0.95, DIRECT, f"the column name says {end.replace('_', ' ')}")]


def _other_end(name: str, around: Surroundings) -> str | None:
    """Where columns speak of one end only: the server beside a client, the machine beside what it connects to."""
    if around.ends == {"source"} and is_server_end(name):
        return "target_ip" if not {"ip", "address"}.isdisjoint(bare(name)) else "target_name"
    if around.ends == {"target"} and identity(name) is not None:
        return "source_name"
    return None


def _by_needs(name: str) -> list[Candidate]:
    """Where no column speaks of a source or a target: the application is the source, what it depends on the target."""
    said = meanings(name, APPLICATIONS)
    if not said or said[0][1] < 0.9:
        return []
    target = {"name": "source_application", "depends_on": "target_application"}.get(said[0][0])
    return [Candidate(target, 0.9, INFERRED, "each row says what an application depends on")] if target else []


def _by_words(name: str, profile: Profile, around: Surroundings) -> list[Candidate]:
    if around.role == MACHINES and around.named and _is_host(name):
        return [_hypervisor(profile, around)]
    if around.role == SOFTWARE and around.named_apart and bare(name) == ["name"]:
        return [Candidate("software", 0.9, INFERRED, "another column names the machine; the name is the product's")]
    statistic, plain = _statistic(name)
    plain = (of_one_drive(plain) if around.role == MACHINES else None) or plain
    said = meanings(plain, around.role)
    percent = _is_share(name, profile)
    unit = unit_in_header(name)
    named = {target for target, _, _ in said}
    found = []
    for target, told, why in said:
        meant = _meant(target, percent, unit, profile)
        if meant is None or (meant != target and meant in named):
            continue
        meant, confidence = _with_statistic(meant, statistic, told)
        if around.role == PERFORMANCE and is_bare_measure(plain) and not percent:
            found += _measured(bare(plain), profile)
            continue
        counted = set(bare(name)) & {"core", "cores", "vcpu", "vcpus"}
        if meant == "cpu_cores" and around.sockets_beside and not counted:
            doubt = f"{why}, but another column tells cores per processor: it may count sockets"
            found.append(Candidate(meant, 0.6, INFERRED, doubt))
        else:
            match_type = DIRECT if confidence >= 0.99 else INFERRED
            found.append(Candidate(meant, confidence, match_type, why, vague=told < 0.7))
    return found


def is_bare_measure(name: str) -> bool:
    """`CPU` or `Memory` and nothing else, not even a unit."""
    return unit_in_header(name) is None and bare(name) in _BARE_MEASURES


def _measured(name: list[str], profile: Profile) -> list[Candidate]:
    """`CPU` of a measurement is no number of processors."""
    numbers = profile.some_numbers
    if not numbers or numbers[-1] > 100 or numbers[0] < 0:
        return []
    target = "cpu_utilization_percent" if name == ["cpu"] else "memory_utilization_percent"
    return [Candidate(target, 0.6, INFERRED, f"{name[0]} is measured, in what no one says; it may be percent")]


def _of_host(candidate: Candidate, name: str, around: Surroundings) -> Candidate:
    """In a table that names its machines and their hosts, `Host serial` is the host's serial, not the machine's."""
    if around.role not in {MACHINES, DETAIL, PERFORMANCE} or not around.named or candidate.target == "runs_on":
        return candidate
    spoken = {*bare(name), *words(name)}
    if _OF_HOSTS.isdisjoint(spoken) or not spoken.isdisjoint(_VM_WORDS | {"dns"}):
        return candidate
    if around.hosts_beside or around.of_virtual_machines:
        return replace(candidate, confidence=0.0)
    doubt = f"{candidate.reason}, but it may be that of what the machine runs on"
    return replace(candidate, confidence=min(candidate.confidence, 0.6), reason=doubt)


def _hypervisor(profile: Profile, around: Surroundings) -> Candidate:
    if around.of_virtual_machines or profile.repeats >= 1.5 or profile.blank:
        return Candidate("runs_on", 0.9, INFERRED, "another column names the machine; the host is what it runs on")
    return Candidate("runs_on", 0.6, INFERRED,
                     "another column names the machine; the host may be what it runs on or its host name")  # fmt: skip


def _statistic(name: str) -> tuple[str, str]:
    """Which figure of a series the name asks for, and the name without the words that say it."""
    spoken = words(name)
    if set(spoken) & _NO_FIGURE:
        return "none", name
    for statistic, said in (("p95", _P95), ("peak", _PEAK), ("average", _AVERAGE)):
        if set(spoken) & said:
            kept = [word for word in spoken if word not in said | {"recommended"}]
            return statistic, " ".join(kept) + (" %" if "%" in name else "")
    return "", name


def _with_statistic(target: str, statistic: str, confidence: float) -> tuple[str, float]:
    if not statistic:
        return target, confidence
    if target in UTILIZATION_TARGETS and statistic == "average":
        return target, confidence
    if target in PERCENT_TARGETS and statistic in {"p95", "peak"}:
        return target.replace("_percent", f"_{statistic}_percent"), confidence
    return target, min(confidence, 0.4)


def _is_share(name: str, profile: Profile) -> bool:
    spoken = set(words(name))
    unit = unit_in_header(name)
    if unit is not None and unit != "%":
        return False
    return (
        unit == "%"
        or any(word.startswith(("percent", "pct", "utili")) for word in spoken)
        or (bool(spoken & {"usage", "load", "busy", "auslastung", "uso"}) and bool(spoken & {"cpu", "memory", "ram", "mem", "processor"}))
        or profile.unit_share("%") > 0.5
    )  # fmt: skip


def _meant(target: str, percent: bool, unit: str | None, profile: Profile) -> str | None:
    """`CPU %` is no number of processors but how busy they are; `Memory usage (MB)` is no share but a size."""
    if target in PERCENT_TARGETS and (unit not in {None, "%"} or (unit is None and _beyond_shares(profile))):
        return _USED.get(target)
    if percent and target in NUMBER_TARGETS and target not in PERCENT_TARGETS:
        return _BUSY.get(target)
    if percent and target == "operating_system":
        return None
    if unit is not None and unit.endswith("/s") and target in SIZE_TARGETS:
        return None
    if unit is not None and unit.endswith("/s") and target == "disk_iops":
        return "disk_mb_per_s"
    return target


def _beyond_shares(profile: Profile) -> bool:
    found = profile.some_numbers
    return bool(found) and found[len(found) // 2] > 100


def _weighed(candidate: Candidate, name: str, profile: Profile, around: Surroundings) -> Candidate:
    if candidate.target in NAME_TARGETS and around.role != MACHINES:
        another = around.named and around.role == PERFORMANCE and bare(name) in _OBJECTS
        return replace(candidate, confidence=0.0) if another or profile.share(is_time) > 0.5 else candidate
    if candidate.target == "manufacturer" and around.products_beside and bare(name) in _VENDORS:
        return replace(candidate, confidence=0.0)
    if candidate.target == "power_state" and _is_lifecycle(name, profile):
        return replace(candidate, confidence=0.0)
    if candidate.target == "name" and around.named_apart and bare(name) == ["name"] and profile.share(is_person) >= 0.8:
        return replace(candidate, confidence=0.0)
    fits = profile.fits(candidate.target)
    if fits is None and not profile.blank and (" ".join(bare(name)), candidate.target) in _ONLY_BY_VALUES:
        return replace(
            candidate, confidence=candidate.confidence * 0.5, reason=f"{candidate.reason}; its values do not say so"
        )
    if fits is None:
        return replace(candidate, confidence=candidate.confidence * 0.8) if candidate.vague else candidate
    if not fits:
        lowered = round(candidate.confidence * 0.5, 4)
        return replace(candidate, confidence=lowered, reason=f"{candidate.reason}; its values do not look like that")
    if candidate.confidence >= 0.99:
        return candidate
    raised = min(0.98, candidate.confidence + 0.05)
    return replace(candidate, confidence=raised, reason=f"{candidate.reason}; its values look like that")


def _is_lifecycle(name: str, profile: Profile) -> bool:
    """`Status` of what stage of its life a machine is in, not of whether it is on."""
    if not _POWER_WORDS.isdisjoint(words(name)) or profile.blank:
        return False
    return profile.share(lambda cell: str(cell).strip().lower() in _LIFECYCLE) >= 0.3


def _by_values(name: str, profile: Profile) -> list[Candidate]:
    if profile.rows < 3:
        return []
    for target, test, what in (
        ("ip_addresses", is_address_list, "IP addresses"),
        ("operating_system", names_system, "operating systems"),
        ("environment", is_environment, "environments"),
    ):
        if profile.share(test) >= 0.9 and not (target == "ip_addresses" and not _ADDRESS_WORDS.isdisjoint(words(name))):
            return [Candidate(target, 0.6, BY_VALUES, f"nearly all values are {what}")]
    return []


def identity(name: str, role: str = MACHINES) -> str | None:
    """The name target a column name says for certain; None where it says none."""
    best = meanings(name, role)
    target = best[0][0] if best else None
    return target if target in NAME_TARGETS and best[0][1] >= 0.9 else None
