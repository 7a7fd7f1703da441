"""The words of column names: taken apart, put into English, and compared with the words estates use for a target."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from functools import lru_cache

from rapidfuzz import fuzz, process

from estate.foreign import ARTICLES, FOREIGN, folded
from estate.numbers import GIB, unit_of
from estate.roles import APPLICATIONS, CONNECTIONS, DETAIL
from estate.targets import ALIASES, SIZE_TARGETS


def header_key(name: str) -> str:
    """A column name for comparison: lower case, one blank between words."""
    return " ".join(name.lower().split())


def compact(name: str) -> str:
    """A column name reduced to letters, digits, `#` and `%`: what stays the same when versions of an export differ in
    blanks, brackets and capitals. `*` (required) and `(optional)` are left out."""
    plain = folded(name).lower().replace("(optional)", "")
    return "".join(letter for letter in plain if letter.isalnum() or letter in "#%")


_BYTES = re.compile(r"(?:(?<![A-Za-z])|(?<=[a-z])(?=[KMGTP]))([kKMGTP])[bB]ytes?(?![a-z])")
_IO = re.compile(r"(?<![A-Za-z])([KMGT])io\b")
_IN_OUT = re.compile(r"\bI/O\b", re.IGNORECASE)
_PER_SOCKET = re.compile(r"\bp\s?/\s?s\b", re.IGNORECASE)
_PHYSICAL_CPU = re.compile(r"\bp-?(?=CPU)", re.IGNORECASE)
_UNIT = re.compile(r"(?<![A-Za-z])([kKMGT]i?B(?:ps)?)(?![a-z])|(?<=[a-z])([KMGT]i?B)(?![a-z])")
_CARDS = re.compile(r"\bi(LO|DRAC|SCSI)\b")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z]{2,})")
_SCRIPTS = re.compile(r"(?<=[a-z0-9])(?=[^\W\da-z_])|(?<=[^\W\da-z_])(?=[a-z0-9])")


_HOLDERS = frozenset({"attributes", "attribute", "attrs", "properties", "fields", "labels", "annotations", "metadata", "spec",
                      "specs", "details", "facts", "resources", "item", "items", "record", "entry", "_source"})  # fmt: skip
"""Members of nested records that only hold others: `attributes.labels.env` is `env`."""
_OWN_TEXT = frozenset({"text", "#text", "_text", "$"})
"""What a reader calls the text of an element that has attributes too: `memory.text` is `memory`."""


def _without_holders(name: str) -> str:
    if "." not in name:
        return name
    parts = name.split(".")
    while len(parts) > 1 and parts[0].lower() in _HOLDERS:
        del parts[0]
    if len(parts) > 1 and parts[-1].lower() in _OWN_TEXT:
        del parts[-1]
    return ".".join(parts)


@lru_cache(maxsize=16384)
def _words(name: str) -> tuple[str, ...]:
    spelled = _IN_OUT.sub("io", folded(_without_holders(name)))
    spelled = _IO.sub(r"\1iB", _BYTES.sub(r" \1B", spelled))
    spelled = _PHYSICAL_CPU.sub("physical ", _PER_SOCKET.sub(" per socket", spelled))
    spelled = _UNIT.sub(lambda unit: f" {unit.group(0).lower()} ", spelled)
    spelled = _CARDS.sub(lambda word: "i" + word.group(1).lower(), spelled)
    lower = _CAMEL.sub(" ", spelled).lower()
    if not lower.isascii():
        lower = _SCRIPTS.sub(" ", lower)
    return tuple(word for word in re.split(r"[\W_]+", lower) if word)


def words(name: str) -> list[str]:
    """The words of a column name: camel case and punctuation divide, units stay whole, accents are dropped."""
    return list(_words(name))


# --- into English -----------------------------------------------------------------------------------------------

_COUNTED = frozenset({"processor", "processors", "core", "cores", "cpu", "cpus", "vcpu", "vcpus", "users", "disk"})


def _is_foreign(raw: tuple[str, ...]) -> bool:
    return any(FOREIGN.get(word, word) != word for word in raw if word != "data")


_OCTETS = re.compile(r"(?<=\W)([KMGT])o\b")
_OCTETS_IN_BRACKETS = re.compile(r"[(\[]\s*(?:en )?([KMGT])o\s*[)\]]")
"""Units of French names; `Assigned To` speaks of no terabytes."""


@lru_cache(maxsize=16384)
def english(name: str) -> tuple[str, ...]:
    """The words of a column name in English, articles left out: `Nom du serveur` -> name server, `RAM (Go)` -> ram gb.

    `data` is only a date where another word of the name is a foreign one, `nombre` a number before what is counted.
    """
    raw = _words(name)
    foreign = _is_foreign(raw)
    octets = _OCTETS if foreign else _OCTETS_IN_BRACKETS
    if octets.search(name) is not None:
        raw = _words(octets.sub(lambda unit: unit[0].replace(unit[1] + "o", unit[1] + "B"), name))
    found: list[str] = []
    for word in raw:
        if word == "data" and not foreign and len(raw) > 1:
            found.append(word)
        elif word in FOREIGN:
            found += FOREIGN[word].split()
        elif word not in ARTICLES or len(raw) == 1:
            found.append(word)
    if "nombre" in found:
        means = "number" if any(word in _COUNTED for word in found) else "name"
        found = [means if word == "nombre" else word for word in found]
    return tuple(found or raw)


# --- disks ------------------------------------------------------------------------------------------------------

_DISK = (
    r"(?:hard ?)?(?:disks?|drives?|volumes?|partitions?|laufwerk|platte|festplatte|disque|lecteur|disco|unidad|unita)"
)
_SIZED = (
    r"(?:[KMGTP]i?B|[GMT]o|sizes?|capacity|total|used|usage|free|space|gr(?:oe|o)sse|taille|belegt|frei|libre)(?![a-z])"
)
_SIZE_FOLLOWS = rf"(?=\s*[-_]*\s*(?:$|[(\[]|{_SIZED}))"
_MARK = re.compile(r"/[\w/.-]*|(?<![a-z])[a-z](?![a-z])")
_LONGEST_OF_A_DRIVE = 100
_LETTERED = re.compile(
    rf"(?<![a-z]){_DISK}(?:[\s_-]+\(?|\()(?:[a-z](?![a-z]):?\\?|/[\w/.-]*)\)?{_SIZE_FOLLOWS}"
    rf"|(?<![a-z])[a-z]:?\\?[\s_-]+{_DISK}{_SIZE_FOLLOWS}"
    rf"|^\s*(?:[a-z]:\\?|/[\w/.-]*){_SIZE_FOLLOWS}",
    re.IGNORECASE,
)


@lru_cache(maxsize=16384)
def of_one_drive(name: str) -> str | None:
    """The column name of a size without the drive letter or mount point it names: `Disk C (GB)`, `/var (GB)` -> `Disk
    (GB)`; None where it names none. A name that is a drive alone (`/var`, `C:`) has to say a unit of size."""
    if len(name) > _LONGEST_OF_A_DRIVE:
        return None
    plain = folded(name)
    found = _LETTERED.search(plain)
    if found is None or (unit := unit_in_header(name)) is None or unit not in GIB:
        return None
    return f"{plain[: found.start()]} disk {plain[found.end() :]}".strip()


def drive_of(name: str) -> str | None:
    """The drive letter or mount point that the column name of a size names, in lower case; None where it names none."""
    if of_one_drive(name) is None or (found := _LETTERED.search(folded(name))) is None:
        return None
    marks = _MARK.findall(found[0].lower())
    return marks[0] if marks else None


# --- meanings ---------------------------------------------------------------------------------------------------

FILLERS = frozenset(
    {"serv", "server", "srv", "vm", "machine", "u", "ci", "cmdb", "asset", "total", "primary", "current", "number",
     "num", "no", "size", "value", "app", "business", "count", "host", "system", "x", "s", "field", "attr", "guest",
     "main", "allocated", "installed", "application", "virtual", "assigned", "configured", "list", "all", "computer",
     "qty", "amount", "source", "info", "device", "node", "overall", "summary", "config", "configuration", "nr"}
)  # fmt: skip
"""Words beside the meaning: `total memory of the server` is still memory."""
OTHERS = frozenset(
    {"backup", "free", "vendor", "time", "date", "test", "subnet", "aws", "azure", "gcp", "cost", "price", "license",
     "licence", "group", "last", "previous", "old", "new", "target", "destination", "account", "security", "used",
     "url", "path", "support", "project", "wave", "ready", "readiness", "speed", "model", "gateway", "mask", "vlan",
     "limit", "reservation", "key", "active", "hot", "start", "end", "per", "socket", "sockets", "mhz", "ghz", "hz",
     "frequency", "clock", "management", "mgmt", "ilo", "idrac", "bmc", "ipmi", "nat", "vip", "dns", "ntp", "netmask",
     "broadcast", "domain", "type", "class", "reserved", "shares", "share", "swapped", "swap", "overhead", "shared",
     "remaining", "available", "recommended", "required", "needed", "minimum", "snapshot", "template",
     "datastore", "lun", "controller", "adapter", "nic", "email", "mail", "phone", "id", "agent", "parent",
     "cluster", "family", "publisher", "state", "status", "score", "count", "change", "growth", "age",
     "delta", "trend", "cache", "private", "public", "virtual", "remark", "comment", "note", "code", "policy", "flag",
     "requirement", "requirements", "supported", "patch", "vcenter", "folder", "architecture", "bit", "bits", "tools",
     "password", "passwd", "pwd", "secret", "credential", "credentials", "login", "user", "proxy", "heartbeat", "ratio",
     "planned", "future", "proposed", "suggested", "expected", "desired", "former", "legacy"}
) - {"count", "virtual", "state", "public", "private"}  # fmt: skip
"""Words that make it something else: a backup address is not the address, free space not the space."""
_UNIT_WORDS = frozenset({"sec", "second", "seconds", "pct", "percent", "percentage"})
_FLOWS = frozenset({"network", "net", "traffic", "nic"})
_ENDS = {"source": "source", "src": "source", "from": "source", "client": "source", "consumer": "source",
         "caller": "source", "local": "source", "parent": "source", "initiator": "source", "requester": "source",
         "destination": "target", "dest": "target", "dst": "target", "target": "target", "to": "target",
         "provider": "target", "callee": "target", "remote": "target", "child": "target", "peer": "target",
         "responder": "target", "listener": "target"}  # fmt: skip
JOINED_TO = frozenset(
    {"connects to", "connected to", "connects with", "talks to", "communicates with", "calls", "linked to", "sends to"}
)
"""What a column of the machines is called that the named one connects to."""
END_WORDS = frozenset(
    {"server", "host", "hostname", "name", "machine", "vm", "node", "asset", "system", "computer", "ci", "device",
     "fqdn", "component", "object", "item", "element", "entity"}
)  # fmt: skip


_RATE = re.compile(
    r"(?<![A-Za-z])([kKmMgG]?)(i?[Bb]|bits?)\s?(?:/\s?s(?:ec(?:ond)?)?\b|ps\b|PS\b|p/s\b|per sec(?:ond)?\b)"
)
_BYTES_A_SECOND = re.compile(r"\bbytes?\s?(?:/\s?s(?:ec)?\b|per\s?s)|bytesper", re.IGNORECASE)
_PER_SECOND_IN = re.compile(r"per\s?sec(?:ond)?\s?in\s?([KMG])B", re.IGNORECASE)


def unit_in_header(name: str) -> str | None:
    """The unit a column name says: `Memory (MiB)` -> MiB, `RAM [GB]` -> GB, `CPU %` -> %, `Disk read (MBps)` -> MB/s.

    None where it says none, several (`RAM (MB/GB)`), or one that could be of bits or bytes (`mb/s`).
    """
    plain = folded(name)
    rate = _RATE.search(plain)
    if rate is not None:
        of_bytes = rate[2].endswith("B") or (rate[2] == "b" and "bytes" in plain.lower())
        return f"{rate[1].upper()}B/s" if of_bytes else _bit_rate(rate[1], rate[2], rate[0])
    if _BYTES_A_SECOND.search(plain):
        return "B/s"
    rate = _PER_SECOND_IN.search(plain)
    if rate is not None:
        return f"{rate[1].upper()}B/s"
    if "%" in plain:
        return "%"
    spoken = [word for word in english(name) if len(word) > 1 and word not in _OCTET_WORDS]
    said = {unit for word in spoken if (unit := unit_of(word)) is not None and _is_size(unit)}
    return said.pop() if len(said) == 1 else None


def _is_size(unit: str) -> bool:
    return unit == "%" or unit.endswith("B")


def _bit_rate(multiple: str, what: str, written: str) -> str | None:
    """Bits where the name says bit, where the multiple is a capital and the b none, or where it is `mbps`."""
    if multiple and (what.startswith("bit") or multiple.isupper() or written.endswith("ps")):
        return f"{multiple.upper()}bit/s"
    return None


def bare(name: str) -> list[str]:
    """The English words of a column name without its units."""
    spoken = english(_RATE.sub(" ", name))
    found: list[str] = []
    for at, word in enumerate(spoken):
        following = spoken[at + 1] if at + 1 < len(spoken) else ""
        of_unit = word in {"in", "per"} and (_is_unit(following) or following in _UNIT_WORDS)
        if _is_unit(word) or word in _UNIT_WORDS or (of_unit and not (found and found[-1] in _FLOWS)):
            continue
        found.append(word)
    return found or list(english(name))


_OCTET_WORDS = frozenset({"ko", "mo", "go", "to", "po"})


def _is_unit(word: str) -> bool:
    unit = unit_of(word) if len(word) > 1 and word not in _OCTET_WORDS else None
    return unit is not None and unit not in {"IOPS", "MHz", "GHz"}


def end_of_connection(name: str) -> str | None:
    """The target of a column that speaks of one end of a connection: `Destination IP` -> target_ip; None where it
    does not."""
    header = bare(name)
    if " ".join(header) in JOINED_TO:
        return "target_name"
    end = _ENDS.get(header[0]) if header else None
    if end is None:
        return None
    rest = set(header[1:])
    if "port" in rest or "ports" in rest:
        return "port" if end == "target" else "source_port"
    if rest & {"ip", "address", "addr", "ipaddress", "ipv4", "ips"}:
        return f"{end}_ip"
    if rest & {"process", "executable", "daemon"}:
        return f"{end}_process"
    if rest & {"application", "app", "service", "applications"}:
        return f"{end}_application"
    return f"{end}_name" if rest <= END_WORDS else None


def is_server_end(name: str) -> bool:
    """`Server`, `Server IP`: beside a client the end that answers."""
    header = bare(name)
    return header[:1] == ["server"] and set(header[1:]) <= END_WORDS | {"ip", "address"}


_MACHINE_WORDS = frozenset({"serv", "server", "srv", "vm", "machine", "host", "guest", "computer", "device", "node"})
_PARTS = frozenset({"disk", "disks", "drive", "drives", "volume", "volumes", "partition", "partitions", "filesystem",
                    "filesystems", "hdd", "nic", "nics", "network", "networks", "interface", "interfaces", "adapter",
                    "adapters", "net", "lun", "hard", "vdisk", "vdisks", "vnic", "vnics"})  # fmt: skip
_COUNTS = frozenset({"count", "number", "num", "no", "nr", "qty"})
_OF_SIZES = _COUNTS | {"io", "ios", "latency", "ms", "queue", "letter", "label", "raid", "array", "tier", "slot", "slots", "dimm",
                       "dimms", "module", "modules", "bank", "banks", "heap", "java", "sql", "oracle", "sga", "pga", "gpu", "video",
                       "graphics", "granted", "requested", "paged", "page", "kernel", "pool", "ballooned", "balloon", "file",
                       "compressed", "hour", "month", "day", "log", "temp", "ip"}  # fmt: skip
_OTHERS_BESIDE: dict[str, frozenset[str]] = {
    **dict.fromkeys(SIZE_TARGETS, _OF_SIZES),
    "cpu_cores": frozenset({"slot", "slots", "year", "generation", "overcommit", "licensed", "oracle", "requested", "granted",
                            "physical", "demand", "wait", "affinity", "numa", "brand", "stepping", "temperature", "name",
                            "ghz", "add", "ip"}),
    "ip_addresses": frozenset({"vmotion", "storage", "hypervisor", "esx", "esxi", "monitoring", "syslog", "jump", "balancer",
                               "remote", "printer", "firewall", "router", "san", "nas", "iscsi", "scan", "listener", "vmk",
                               "console", "drac", "rsa", "imm", "oob", "floating", "virtual", "replication", "service", "center", "motion"}),
    "asset_type": frozenset({"storage", "disk", "memory", "cpu", "network", "boot", "backup", "service", "firmware"}),
    "location": frozenset({"rack", "log", "file", "install", "installation", "store", "data", "printer", "mount", "home"}),
    "application_name": _MACHINE_WORDS | {"window", "level", "tier", "pack", "owner", "count", "number"},
    "business_owner": frozenset({"environment", "data", "number"}),
    "bytes": frozenset({"day", "hour", "month", "week", "minute", "rate", "packets"}),
    "criticality": frozenset({"data", "storage", "network"}),
    "power_state": frozenset({"monitoring", "antivirus", "service", "migration", "replication", "install", "installation",
                              "operational", "connection", "firewall", "maintenance", "compliance", "discovery", "database",
                              "application", "ha", "approval", "order", "asset", "ci", "warranty", "lifecycle", "business"}),
}  # fmt: skip
"""The same for one target: the address of a load balancer is not the machine's, the slots of a memory not its size."""
_NONE: frozenset[str] = frozenset()
_FILLERS_OF = {APPLICATIONS: FILLERS - _MACHINE_WORDS, DETAIL: FILLERS | _PARTS}
_OTHERS_OF = {DETAIL: OTHERS - _PARTS}


@dataclass(frozen=True, slots=True)
class _Alias:
    target: str
    said: str
    words: tuple[str, ...]
    bare: tuple[str, ...]
    """Without articles."""


@dataclass(frozen=True, slots=True)
class _Aliases:
    """The aliases of a role, by what a header has to share with them."""

    joined: dict[str, list[_Alias]]
    by_first: dict[str, list[_Alias]]
    by_words: dict[int, list[_Alias]]
    sorted_words: dict[tuple[str, ...], list[_Alias]]


def _indexed(by_target: dict[str, tuple[str, ...]]) -> _Aliases:
    found = _Aliases(defaultdict(list), defaultdict(list), defaultdict(list), defaultdict(list))
    for target, aliases in by_target.items():
        for said in aliases:
            spoken = _words(said)
            alias = _Alias(target, said, spoken, tuple(word for word in spoken if word not in ARTICLES))
            for joined in {"".join(spoken), "".join(alias.bare)}:
                found.joined[joined].append(alias)
            found.by_first[alias.bare[0]].append(alias)
            found.by_words[len(spoken)].append(alias)
            found.sorted_words[tuple(sorted(alias.bare))].append(alias)
    return found


_INDEX = {role: _indexed(by_target) for role, by_target in ALIASES.items()}
_FIRST_WORDS = {
    role: {count: list(dict.fromkeys(alias.words[0] for alias in aliases)) for count, aliases in index.by_words.items()}
    for role, index in _INDEX.items()
}
_ALMOST = 82
"""Likeness of two words (rapidfuzz ratio) from which one is taken for a misspelling of the other."""


# the widest workbook has 16,384 columns, and several roles are asked about, one after the other
@lru_cache(maxsize=65536)
def meanings(name: str, role: str) -> tuple[tuple[str, float, str], ...]:
    """What a column name can mean in a table of this role: (target, confidence 0..1, why), best first, each target
    once."""
    header = tuple(bare(name))
    if role == CONNECTIONS and "bytes" in (spoken := english(name)):
        header = spoken
    index = _INDEX[role]
    foreign = _is_foreign(_words(name))
    best: dict[str, tuple[float, str]] = {}

    def offer(alias: _Alias, confidence: float, why: str) -> None:
        if confidence > best.get(alias.target, (0.0, ""))[0]:
            best[alias.target] = confidence, why + (f" ({' '.join(header)})" if foreign else "")

    for alias in index.joined.get("".join(header), ()):
        offer(alias, 1.0, f"the column is called {alias.said}")
    if foreign:
        for alias in index.sorted_words.get(tuple(sorted(header)), ()):
            offer(alias, 1.0, f"the column is called {alias.said}")
    for at, word in enumerate(header):
        for alias in index.by_first.get(word, ()):
            if header[at : at + len(alias.bare)] == alias.bare:
                rest = (*header[:at], *header[at + len(alias.bare) :])
                offer(alias, *_beside(alias, rest, role))
    if header and max((confidence for confidence, _ in best.values()), default=0.0) < LEAST_SURE:
        near = _spelled_alike(header[0], len(header), role)
        for alias in index.by_words.get(len(header), ()) if near else ():
            if alias.words[0] in near and _almost(header, alias.words):
                closeness = 0.85 * fuzz.ratio(" ".join(header), alias.said) / 100
                offer(alias, closeness, f"the column name is spelled almost like {alias.said}")
    ordered = sorted(best.items(), key=lambda item: -item[1][0])
    return tuple((target, confidence, why) for target, (confidence, why) in ordered)


LEAST_SURE = 0.8
"""Below it a misspelling of another alias may be meant."""


def _beside(alias: _Alias, rest: tuple[str, ...], role: str) -> tuple[float, str]:
    """How sure an alias is among other words: filling ones say nothing, some make it something else."""
    others = _OTHERS_OF.get(role, OTHERS)
    own = _OTHERS_BESIDE.get(alias.target, _NONE) if role != APPLICATIONS else _NONE
    if any(word in others or word in own for word in rest) or (rest and alias.bare == ("dns",)):
        return 0.0, ""
    if all(word in _FILLERS_OF.get(role, FILLERS) or word.isdigit() or len(word) == 1 for word in rest):
        return 0.9, f"the column name says {alias.said}"
    return (0.7 if len(alias.bare) > 1 else 0.55), f"the column name contains {alias.said}"


def _spelled_alike(word: str, count: int, role: str) -> set[str]:
    """Which first words of aliases with so many words are this one or spelled nearly so: asked of all of them at once."""
    first = _FIRST_WORDS[role].get(count, [])
    return {
        word,
        *(found for found, *_ in process.extract(word, first, scorer=fuzz.ratio, score_cutoff=_ALMOST, limit=None)),
    } & set(first)


def _almost(header: tuple[str, ...], alias: tuple[str, ...]) -> bool:
    for a, b in zip(header, alias, strict=True):
        if a != b and (len(a) < 4 or len(b) < 4 or not fuzz.ratio(a, b, score_cutoff=_ALMOST) or _longer(a, b)):
            return False
    return True


def _longer(word: str, other: str) -> bool:
    """Is one of them the other with more than a letter before or behind it? `version` is no misspelling of `osversion`."""
    short, long = sorted((word, other), key=len)
    return len(long) > len(short) + 1 and (long.startswith(short) or long.endswith(short))
