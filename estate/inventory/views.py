"""Tables with the keys of their rows: what identifies the thing a row speaks of, worked out on distinct values."""

from __future__ import annotations

import re
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from estate.clean import CleanColumn, CleanTable
from estate.instants import instant
from estate.inventory.identity import MOREF, external_key, is_instance_uuid, serial_key, uuid_key
from estate.inventory.standing import is_list, standing
from estate.names import canonical
from estate.roles import APPLICATIONS, DETAIL, MACHINES
from estate.tables import source
from estate.vocabulary import parse_ip, telling

NAMES = ("name", "hostname", "fqdn")
APPLICATION = "application|"
"""What the key of an application begins with: it is never the machine of that name."""
ADDED = ("disk_iops", "disk_mb_per_s", "network_mb_per_s")
"""Measures of which several columns are parts."""
STORED = ("storage_gb", "storage_used_gb")
_DOMAINS = frozenset(
    {"domain", "dns domain", "domain name", "dnsdomain", "ad domain", "domäne", "domaene", "dominio", "domaine",
     "serv domain", "dns suffix"}
)  # fmt: skip
_VCENTERS = frozenset(
    {"vi sdk uuid", "vmware vcenterid", "vmware vcenter id", "vcenterid", "vcenter id", "vcenter uuid", "vi sdk server",
     "vcenter", "vcenter server", "vcenter name"}
)  # fmt: skip
_REFERENCES = frozenset({"vm id", "vmware morefid", "vmware moref id", "morefid", "moref", "moid", "summary vm value"})
"""Columns that hold a vCenter's own reference of a machine."""
_MACHINE_TYPES = {"server", "virtual_machine"}
Keys = tuple[str, ...]
HostName = tuple[str | None, str | None]
"""(key, domain) of a name."""
_NOTHING: HostName = (None, None)


class Stated(NamedTuple):
    """A column that tells one thing of a row: `values[codes[row]]`."""

    values: list[Any]
    codes: Sequence[int]
    field: str


class View:
    """One table with the keys of its rows worked out on its distinct values."""

    def __init__(self, table: CleanTable, order: int) -> None:
        self.table = table
        self.order = order
        self.kind = table.kind
        self.role = table.role
        self.lists = table.role in {MACHINES, APPLICATIONS}
        self.inventory = self.lists or table.role == DETAIL
        self.standing = standing(table.kind)
        self.is_list = is_list(table.kind)
        self.facts = _by_target(table)
        self.telling = [
            Stated([telling(entries) if entries else None for entries in values], codes, name)
            for values, codes, name in self.facts.get("ip_addresses", ())
        ]
        """The columns of addresses with those only by which a machine can be found."""
        self.attributes = [(c.use.field, c.values, c.codes) for c in table.attributes]
        self.confidence = {c.use.field: c.use.confidence for c in table.facts if c.target in NAMES}
        self.certain = all(confidence == 1 for confidence in self.confidence.values())
        self.seen = [None if value is None else instant(value)[0].timestamp() for value in self._values("last_seen")]
        self.names: list[tuple[str, Stated, list[HostName]]] = []
        """(target, column, its values read as names), the best first."""
        self.aliases: list[tuple[int, HostName]] = []
        """(row, name) of the further names rows give that are not their own."""
        self.keys, self.domains = self._names()
        self.instances: set[str] = set()
        """Keys of UUIDs that a vCenter gave."""
        self.uuids, self.serials = self._hardware()
        self.identifies: set[str] = set()
        """Keys of the source's own ids that identify even where names differ."""
        self.external = self._external()
        self.types = self._types()

    def __len__(self) -> int:
        return len(self.table)

    def where(self, row: int) -> dict[str, Any]:
        """File, sheet and row number."""
        return source(self.table.file, self.table.sheet, self.table.numbers[row])

    def place(self, row: int) -> str:
        """The same in words."""
        return f"row {self.table.numbers[row]} of {self.table.place}"

    def domain(self, row: int) -> str | None:
        """The domain of the row's name."""
        return self.domains[row] if self.domains is not None else None

    def first(self, target: str, row: int) -> Any:
        """What the row knows of a target: its best column that is not unknown, else None."""
        for values, codes, _ in self.facts.get(target, ()):
            value = values[codes[row]]
            if value is not None:
                return value
        return None

    def named(self, row: int) -> tuple[str, Stated] | None:
        """The name that the row gives first, and the column."""
        for _, column, _ in self.names:
            value = column.values[column.codes[row]]
            if value is not None:
                return value, column
        return None

    def many(self, target: str, rows: Iterable[int]) -> dict[Any, None]:
        """The distinct entries of list columns in these rows, in order."""
        columns = self.facts.get(target)
        return _entries(columns, rows) if columns else {}

    def addresses(self, rows: Iterable[int]) -> dict[str, None]:
        """The distinct addresses in these rows by which a machine can be found, in order."""
        return _entries(self.telling, rows)

    def last_seen(self, row: int) -> float | None:
        """When the source last saw the row, in seconds since 1970; None where it does not say."""
        columns = self.facts.get("last_seen")
        return self.seen[columns[0].codes[row]] if columns else None

    def _names(self) -> tuple[list[str | None], list[str | None] | None]:
        """Per row the key of its name, and its domain as far as any of its names says it; fills `aliases`."""
        read = _application if self.role == APPLICATIONS else _host
        keys: list[str | None] = []
        domains: list[str | None] | None = None
        for name_target, stated in [(target, column) for target in NAMES for column in self.facts.get(target, ())]:
            values, codes, _ = stated
            found = [_NOTHING if value is None else read(value) for value in values]
            self.names.append((name_target, stated, found))
            if keys:
                self.aliases += [
                    (row, found[code])
                    for row, code in enumerate(codes)
                    if (name := found[code][0]) is not None and name != keys[row] and keys[row] is not None
                ]
                keys = [found[code][0] if key is None else key for key, code in zip(keys, codes, strict=True)]
            else:
                keys = [found[code][0] for code in codes]
            domains = _filled(domains, [domain for _, domain in found], codes)
        for column in self._like(_DOMAINS):
            domains = _filled(domains, [_domain(value) for value in column.values], column.codes)
        return keys or [None] * len(self), domains

    def _values(self, target: str) -> list[Any]:
        columns = self.facts.get(target)
        return columns[0].values if columns else []

    def _hardware(self) -> tuple[list[Keys | None] | None, list[str | None] | None]:
        """Per row the UUIDs (of the hardware, of the vCenter, spelled by the serial number) and the serial number."""

        def of_uuid(text: str) -> str | None:
            key = uuid_key(text)
            if key is not None and is_instance_uuid(text):
                self.instances.add(key)
            return key

        columns = [_keyed(column, of_uuid) for column in self.facts.get("uuid", ())]
        serials = []
        for values, codes, _ in self.facts.get("serial_number", ()):
            found = [_NOTHING if value is None else serial_key(str(value)) for value in values]
            columns.append(_Keyed([spelled for _, spelled in found], codes))
            serials.append(_Keyed([serial for serial, _ in found], codes))
        return _all_of(columns), _first_of(serials)

    def _external(self) -> list[Keys | None] | None:
        """Per row the keys of the source's own ids, and of the vCenter's reference."""
        columns = list(self.facts.get("external_id", ()))
        columns += [
            Stated(c.values, c.codes, c.use.field) for c in self._like(_REFERENCES) if c.target != "external_id"
        ]
        vcenter = next(iter(self._like(_VCENTERS)), None)
        return _all_of([self._ids(column, vcenter) for column in columns])

    def _ids(self, column: Stated, vcenter: CleanColumn | None) -> _Keyed:
        def key(value: Any, where: Any) -> str | None:
            if value is None:
                return None
            found, identifies = external_key(
                self.kind, column.field, str(value), str(where).strip().lower() if where is not None else None
            )
            if identifies:
                self.identifies.add(found)
            return found

        if vcenter is None or not any(value and MOREF.match(str(value)) for value in column.values):
            return _Keyed([key(value, None) for value in column.values], column.codes)
        places: dict[tuple[int, int], int] = {}
        keys: list[str | None] = []
        codes = array("I")
        for pair in zip(column.codes, vcenter.codes, strict=True):
            at = places.get(pair)
            if at is None:
                at = places[pair] = len(keys)
                keys.append(key(column.values[pair[0]], vcenter.values[pair[1]]))
            codes.append(at)
        return _Keyed(keys, codes)

    def _types(self) -> list[str | None] | None:
        """Per row which sort of thing it is by its stated type: servers and virtual machines are one sort."""

        def sort(text: str) -> str | None:
            return "machine" if text in _MACHINE_TYPES else None if text == "other" else text

        return _first_of([_keyed(column, sort) for column in self.facts.get("asset_type", ())])

    def _like(self, names: frozenset[str]) -> list[CleanColumn]:
        columns = [*self.table.facts, *self.table.attributes]
        return [c for c in columns if " ".join(re.findall(r"\w+", c.use.field.lower())) in names]


def _entries(columns: Iterable[Stated], rows: Iterable[int]) -> dict[Any, None]:
    found: dict[Any, None] = {}
    for values, codes, _ in columns:
        for row in rows:
            entries = values[codes[row]]
            if entries is not None:
                found.update(dict.fromkeys((entries,) if isinstance(entries, str) else entries))
    return found


def _host(name: str) -> HostName:
    if "." not in name and ":" not in name:
        return " ".join(name.split()).lower(), None
    return canonical(name)


def application_key(name: str) -> str:
    """The key of an application: its name without case and spare blanks."""
    return APPLICATION + " ".join(name.split()).casefold()


def _application(name: str) -> HostName:
    return application_key(name), None


def _filled(known: list[str | None] | None, values: list[str | None], codes: Sequence[int]) -> list[str | None] | None:
    """What is known per row, with another column where nothing is."""
    if not any(values):
        return known
    if known is None:
        return [values[code] for code in codes]
    return [values[code] if old is None else old for old, code in zip(known, codes, strict=True)]


def _domain(value: Any) -> str | None:
    if not isinstance(value, str) or "." not in value.strip(".") or parse_ip(value):
        return None
    return value.strip(". ").lower()


class _Keyed(NamedTuple):
    """A column of keys: `keys[codes[row]]`."""

    keys: list[str | None]
    codes: Sequence[int]


def _keyed(column: Stated, key: Callable[[str], str | None]) -> _Keyed:
    return _Keyed([None if value is None else key(str(value)) for value in column.values], column.codes)


def _first_of(columns: list[_Keyed]) -> list[str | None] | None:
    """Per row the key of its first column that has one; None where no column has any."""
    found: list[str | None] | None = None
    for keys, codes in columns:
        found = _filled(found, keys, codes)
    return found


def _all_of(columns: list[_Keyed]) -> list[Keys | None] | None:
    """Per row all its keys, best first; None where no column has any."""
    used = [column for column in columns if any(column.keys)]
    if not used:
        return None
    if len(used) == 1:
        single = [None if key is None else (key,) for key in used[0].keys]
        return [single[code] for code in used[0].codes]
    known: dict[tuple[int, ...], Keys | None] = {}
    found: list[Keys | None] = []
    for combination in zip(*(column.codes for column in used), strict=True):
        if combination not in known:
            keys = (column.keys[code] for column, code in zip(used, combination, strict=True))
            known[combination] = tuple(dict.fromkeys(key for key in keys if key is not None)) or None
        found.append(known[combination])
    return found


def _by_target(table: CleanTable) -> dict[str, list[Stated]]:
    """The columns by target, best first; those that are parts of one figure added up."""
    found: dict[str, list[Stated]] = {}
    for target in dict.fromkeys(column.target for column in table.facts):
        columns = table.of(target)
        if target in ADDED and len(columns) > 1:
            found[target] = [_added([column for _, column in _side_by_side(columns)], whole=True)]
        elif target in STORED and len(columns) > 1:
            found[target] = _stored(columns)
        else:
            found[target] = [Stated(c.values, c.codes, c.use.field) for c in columns]
    return found


def _stored(columns: list[CleanColumn]) -> list[Stated]:
    """Sizes of storage: disks side by side are one sum, and so are the parts that have one rank. A part may be 0, the
    whole is unknown then."""
    by_rank: dict[int, list[Stated]] = defaultdict(list)
    for rank, column in _side_by_side(columns):
        by_rank[rank].append(column)
    sums = [_added(parts, whole=True) if len(parts) > 1 else parts[0] for parts in by_rank.values()]
    if columns[0].target != "storage_gb":
        return sums
    return [Stated([value or None for value in values], codes, name) for values, codes, name in sums]


_NUMBER_OR_LETTER = re.compile(r"\d+|(?<![^\W_])[^\W\d_](?![^\W_])")


def _side_by_side(columns: list[CleanColumn]) -> list[tuple[int, Stated]]:
    """(rank, column) with those whose names differ by a number or a letter alone (`Disk 1 size, Disk 2 size`; `C:, D:`)
    made one sum: a machine that lacks one of them has fewer disks."""
    alike: dict[str, list[CleanColumn]] = defaultdict(list)
    for column in columns:
        alike[_NUMBER_OR_LETTER.sub("#", column.use.field)].append(column)
    found = []
    for same in alike.values():
        stated = [Stated(column.values, column.codes, column.use.field) for column in same]
        found.append((min(c.use.rank for c in same), _added(stated, whole=False) if len(same) > 1 else stated[0]))
    return found


def _added(columns: list[Stated], *, whole: bool) -> Stated:
    """The sum of columns per row; of parts that are all needed None where one is unknown that other rows know."""
    used = [column for column in columns if any(value is not None for value in column.values)]
    if len(used) < 2:
        return used[0] if used else columns[0]
    places: dict[tuple[int, ...], int] = {}
    sums: list[Any] = []
    codes = array("I")
    for combination in zip(*(column.codes for column in used), strict=True):
        at = places.get(combination)
        if at is None:
            at = places[combination] = len(sums)
            parts = [column.values[code] for column, code in zip(used, combination, strict=True)]
            known = [part for part in parts if part is not None]
            sums.append(round(sum(known), 4) if known and (len(known) == len(parts) or not whole) else None)
        codes.append(at)
    return Stated(sums, codes, " + ".join(column.field for column in used))
