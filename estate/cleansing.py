"""How raw cells become comparable values: every change is recorded, nothing is invented, no row disappears."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from itertools import chain
from typing import Any
from uuid import UUID

from estate.bulk import bulk
from estate.formats import CONNECTIONS, MACHINES
from estate.issues import issue
from estate.mapping import GIB, NAME_TARGETS, Suggestion, parse_number
from estate.tables import Cell, Row, SetAside, Table, dump_ndjson, load_ndjson, source
from estate.vocabulary import (
    ASSET_TYPES,
    CRITICALITIES,
    ENVIRONMENTS,
    FALSE_WORDS,
    POWER_STATES,
    TRUE_WORDS,
    is_placeholder,
    parse_ip,
    parse_mac,
    parse_os,
    says_nothing,
    split_fqdn,
)

MAX_ISSUES_PER_KIND = 500
MAX_ATTRIBUTE_CHARACTERS = 2_000
LARGEST = {"cpu_cores": 2_048.0, "memory_gb": 49_152.0, "storage_gb": 2_097_152.0}
"""Above this a value is kept and flagged: 2048 processors, 48 TiB of memory, 2 PiB of storage."""

_TOTALS = re.compile(r"^(grand\s+|sub-?)?totals?:?$|^(sum|summe|gesamt|average|count):?$", re.IGNORECASE)
_COMMENT = re.compile(r"^(#|//|\*\*|note:)", re.IGNORECASE)


@dataclass(slots=True)
class MappedTable:
    """A table after field mapping: the columns that are used, each with its target, and the raw cells."""

    file: str
    sheet: str | None
    kind: str
    role: str
    columns: list[dict[str, Any]]
    """`{field, target, unit, number_format, rank, confidence}` per column."""
    rows: list[Row]
    set_aside: list[SetAside] = field(default_factory=list)

    def dump(self) -> bytes:
        """As ndjson: a header object, then `[row number, cell, ...]`."""
        header = {
            "file": self.file,
            "sheet": self.sheet,
            "kind": self.kind,
            "role": self.role,
            "columns": self.columns,
            "set_aside": [asdict(row) for row in self.set_aside],
        }
        return dump_ndjson(chain([header], ([number, *cells] for number, cells in self.rows)))

    @classmethod
    @bulk
    def load(cls, data: bytes) -> MappedTable:
        """The inverse of `dump`."""
        lines = load_ndjson(data)
        header = next(lines)
        header["set_aside"] = [SetAside(**row) for row in header["set_aside"]]
        return cls(**header, rows=[(line[0], line[1:]) for line in lines])


@dataclass(slots=True)
class CleanTable:
    """A table after cleansing: per row its clean values by target, each with the column it came from."""

    file: str
    sheet: str | None
    kind: str
    role: str
    columns: list[dict[str, Any]]
    records: list[dict[str, Any]]
    """`{"row": n, "values": {target: [[value, column index], ...]}, "extra": [value, ...]}`, `extra` in the order of
    `attributes`"""
    attributes: list[str] = field(default_factory=list)
    """Names of the columns that are kept as custom attributes."""

    def dump(self) -> bytes:
        """As ndjson: a header object, then one record per line."""
        header = {
            "file": self.file,
            "sheet": self.sheet,
            "kind": self.kind,
            "role": self.role,
            "columns": self.columns,
            "attributes": self.attributes,
        }
        return dump_ndjson(chain([header], self.records))

    @classmethod
    @bulk
    def load(cls, data: bytes) -> CleanTable:
        """The inverse of `dump`."""
        lines = load_ndjson(data)
        header = next(lines)
        return cls(**header, records=list(lines))


@dataclass(slots=True)
class Cleansed:
    """What cleansing made of one table."""

    table: CleanTable
    changes: list[dict[str, Any]]
    """`{source{file, sheet, row}, field, target, old, new, rule}`"""
    rejected: list[dict[str, Any]]
    """`{source, reason, message, values{column: cell}}`"""
    issues: list[dict[str, Any]]


@bulk
def apply_mappings(table: Table, mappings: list[Suggestion]) -> MappedTable:
    """Pick the mapped columns of a table; `mappings` are those that speak of this table."""
    position = {name: at for at, name in enumerate(table.columns)}
    used = [mapping for mapping in mappings if mapping.source_field in position and mapping.target_field is not None]
    at = [position[mapping.source_field] for mapping in used]
    return MappedTable(
        table.file,
        table.sheet,
        table.kind,
        table.role,
        [
            {
                "field": mapping.source_field,
                "target": mapping.target_field,
                "unit": mapping.unit,
                "number_format": mapping.number_format,
                "rank": mapping.rank,
                "confidence": mapping.confidence,
            }
            for mapping in used
        ],
        [(number, [cells[i] for i in at]) for number, cells in table.rows],
        table.set_aside,
    )


# --- one cell ---------------------------------------------------------------------------------------------------

Outcome = tuple[Any, str | None, str | None]
"""The clean value (None = unknown), the rule that changed it, and what is doubtful about it."""


def _text(value: Cell) -> Outcome:
    text = str(value)
    clean = " ".join(text.split())
    if is_placeholder(clean):
        return None, "placeholder_to_null", None
    return clean, ("trim" if clean != text else None), None


def _name(value: Cell) -> Outcome:
    clean, rule, doubt = _text(value)
    if clean is not None and clean.endswith(".") and split_fqdn(clean):
        return clean.rstrip("."), "trailing_dot", doubt
    return clean, rule, doubt


def _from(vocabulary: dict[str, str], what: str, *, keep_unknown: bool) -> Callable[[Cell], Outcome]:
    def clean(value: Cell) -> Outcome:
        text, rule, _ = _text(value)
        if text is None:
            return None, rule, None
        known = vocabulary.get(text.lower())
        if known is None:
            first = re.split(r"[\s_/-]+", text.lower())[0]
            known = vocabulary.get(first) if len(first) > 2 and what == "environment" else None
        if known is not None:
            return known, (f"{what}_name" if known != value else None), None
        if keep_unknown:
            return text, rule, None
        return None, f"unknown_{what}_to_null", f"{text!r} is no known {what.replace('_', ' ')}"

    return clean


def _boolean(value: Cell) -> Outcome:
    if isinstance(value, bool):
        return value, None, None
    text = str(value).strip().lower()
    if text in TRUE_WORDS:
        return True, None, None
    if text in FALSE_WORDS:
        return False, None, None
    return None, "not_a_boolean_to_null", None


def _addresses(value: Cell) -> Outcome:
    found: dict[str, None] = {}
    bad: list[str] = []
    quiet: list[str] = []
    text = str(value)
    alone = parse_ip(text)
    if alone is not None and not says_nothing(alone):
        return [alone], (None if alone == text else "address_list"), None
    if is_placeholder(text):
        return None, "placeholder_to_null", None
    for part in re.split(r"[\s,;|\[\]()\"']+", text):
        if not part or is_placeholder(part):
            continue
        address = parse_ip(part)
        if address is None:
            bad.append(part)
        elif says_nothing(address):
            quiet.append(part)
        else:
            found.setdefault(address)
    doubt = f"{', '.join(bad[:5])!r} is no IP address" if bad else None
    addresses = list(found)
    if not addresses:
        return None, "no_address_to_null", doubt
    if quiet and not bad:
        return addresses, "local_address_left_out", None
    return addresses, (None if addresses == [text] else "address_list"), doubt


def _macs(value: Cell) -> Outcome:
    parts = [part for part in re.split(r"[\s,;|\[\]]+", str(value)) if part and not is_placeholder(part)]
    found = dict.fromkeys(mac for part in parts if (mac := parse_mac(part)))
    bad = [part for part in parts if not parse_mac(part)]
    doubt = f"{', '.join(bad[:5])!r} is no hardware address" if bad else None
    macs = list(found)
    if not macs:
        return None, "no_address_to_null", doubt
    return macs, (None if macs == [str(value)] else "address_list"), doubt


def _number(target: str, unit: str | None, number_format: str | None) -> Callable[[Cell], Outcome]:
    whole = target in {"cpu_cores", "port"}
    size = target in {"memory_gb", "storage_gb"}

    def clean(value: Cell) -> Outcome:
        if isinstance(value, str) and is_placeholder(value):
            return None, "placeholder_to_null", None
        number = parse_number(value, number_format)
        if number is None:
            return None, "not_a_number_to_null", f"{str(value)[:60]!r} is no number"
        if number == -1:
            return None, "minus_one_to_null", None
        if number < 0:
            return None, "negative_to_null", f"{number:g} is negative"
        if number == 0 and target in {"cpu_cores", "memory_gb", "storage_gb"}:
            return None, "zero_size_to_null", None
        rule = None
        if size:
            number, rule = _to_gib(number, value, unit)
            if rule == "unit_unknown":
                return None, "unit_unknown_to_null", f"{value} has no unit"
        if target.endswith("_percent") and number > 100:
            return None, "out_of_range_to_null", f"{number:g} is more than 100 percent"
        if whole:
            if number != int(number):
                return None, "not_whole_to_null", f"{value} is no whole number"
            number = int(number)
            if target == "port" and not 0 < number < 65536:
                return None, "out_of_range_to_null", f"{value} is no port"
        else:
            number = round(number, 2)
            number = int(number) if number == int(number) else number
        if rule is None and isinstance(value, str) and value != str(number) and not value.endswith(".0"):
            rule = "number_format"
        doubt = f"{number:g} is unusually large" if target in LARGEST and number > LARGEST[target] else None
        return number, rule, doubt

    return clean


def _to_gib(number: float, value: Cell, unit: str | None) -> tuple[float, str | None]:
    own = re.search(r"([kmgt]i?b|(?<![a-z])b)\s*$", value.strip(), re.IGNORECASE) if isinstance(value, str) else None
    if own:
        said = own.group(1)
        unit = said[0].upper() + said[1:-1].lower() + "B" if len(said) > 1 else "B"
    if unit is None or unit == "in value":
        return number, "unit_unknown"
    factor = GIB[unit]
    return number * factor, (None if factor == 1 and not own else f"{unit.lower()}_to_gib")


def _port(value: Cell) -> Outcome:
    text = str(value).strip()
    both = re.match(r"^(\d+)\s*[/ ]\s*(tcp|udp)$|^(tcp|udp)\s*[/: ]\s*(\d+)$", text, re.IGNORECASE)
    if both:
        return int(both.group(1) or both.group(4)), "port_and_protocol", None
    return _number("port", None, None)(value)


def _protocol(value: Cell) -> Outcome:
    text, rule, _ = _text(value)
    if text is None:
        return None, rule, None
    return text.lower(), rule, None


def _attribute(value: Cell) -> Outcome:
    if isinstance(value, bool):
        return value, None, None
    if isinstance(value, int | float):
        return (None, "minus_one_to_null", None) if value == -1 else (value, None, None)
    text = value.strip() if value is not None else ""
    if is_placeholder(text):
        return None, "placeholder_to_null", None
    if text in {"-1", "-1.0"}:
        return None, "minus_one_to_null", None
    if len(text) > MAX_ATTRIBUTE_CHARACTERS:
        return (
            text[:MAX_ATTRIBUTE_CHARACTERS],
            "cut_to_2000_characters",
            f"{len(text):,} characters, only the first 2,000 are kept",
        )
    return text, ("trim" if text != value else None), None


_CLEANERS: dict[str, Callable[[Cell], Outcome]] = {
    "environment": _from(ENVIRONMENTS, "environment", keep_unknown=True),
    "criticality": _from(CRITICALITIES, "criticality", keep_unknown=False),
    "power_state": _from(POWER_STATES, "power_state", keep_unknown=False),
    "asset_type": _from(ASSET_TYPES, "asset_type", keep_unknown=False),
    "ip_addresses": _addresses,
    "source_ip": _addresses,
    "target_ip": _addresses,
    "mac_addresses": _macs,
    "is_template": _boolean,
    "is_placeholder": _boolean,
    "has_database": _boolean,
    "port": _port,
    "protocol": _protocol,
    "custom_attributes": _attribute,
    "name": _name,
    "hostname": _name,
    "fqdn": _name,
    "source_name": _name,
    "target_name": _name,
}
_NUMBERS = {"cpu_cores", "memory_gb", "storage_gb", "cpu_utilization_percent", "memory_utilization_percent"}


def _cleaner(column: dict[str, Any]) -> Callable[[Cell], Outcome]:
    target: str = column["target"]
    if target in _NUMBERS:
        return _number(target, column["unit"], column["number_format"])
    return _CLEANERS.get(target, _text)


def clean_os(name: str | None, version: str | None) -> tuple[dict[str, Any], str | None]:
    """Operating system and version texts of one row taken apart: `({operating_system, os_version, os_family, ...},
    doubt)`.

    A version column that says the whole name (`windows server 2012 R2`) wins over a name that says only the family.
    """
    said = [parse_os(text) for text in (version, name, f"{name} {version}" if name and version else None) if text]
    known = [system for system in said if system is not None]
    # the one that tells most: a version, a product rather than a family; of equals the version column
    parsed = max(known, key=lambda s: (s.version is not None, s.product not in {"Linux", "Windows"}), default=None)
    if parsed is None:
        return {"operating_system": name or version, "os_version": version if name else None}, (
            f"{name or version!r} is no operating system we know"
        )
    clean = {
        "operating_system": parsed.product,
        "os_version": parsed.version or (version if version and parse_os(version) is None else None),
        "os_family": parsed.family,
        "os_edition": parsed.edition,
        "os_bits": parsed.bits,
        "os_generic": parsed.generic or None,
    }
    return clean, None


# --- a table ----------------------------------------------------------------------------------------------------


@bulk
def cleanse(table: MappedTable, namespace: UUID) -> Cleansed:
    """Clean every cell, reject rows that name no machine (or lack an end), and tell what was changed.

    `namespace` makes the ids of the issues. Raises nothing: what cannot be read becomes null with a rule and an issue.
    """
    work = _Work(table, namespace)
    for row in table.set_aside:
        work.reject(
            row.row,
            row.reason,
            row.message,
            {f"cell {at}": cell for at, cell in enumerate(row.cells, 1) if cell is not None},
        )
    work.take_all()
    return Cleansed(work.clean, work.changes, work.rejected, work.issues())


class _Work:
    """The state of one table's cleansing."""

    def __init__(self, table: MappedTable, namespace: UUID) -> None:
        self.table = table
        self.namespace = namespace
        kept = [at for at, column in enumerate(table.columns) if column["target"] == "custom_attributes"]
        self.kept = kept
        self.facts = [at for at in range(len(table.columns)) if at not in set(kept)]
        names = [table.columns[at]["field"] for at in kept]
        self.clean = CleanTable(table.file, table.sheet, table.kind, table.role, table.columns, [], names)
        self.changes: list[dict[str, Any]] = []
        self.where = self.source(0)
        self.rejected: list[dict[str, Any]] = []
        self.doubts: dict[tuple[str, str], list[tuple[int, str]]] = defaultdict(list)
        self.cleaners = [_cleaner(column) for column in table.columns]
        self.caches: list[dict[Any, Outcome]] = [{} for _ in table.columns]
        self.os_cache: dict[tuple[str | None, str | None], tuple[dict[str, Any], str | None]] = {}
        self.targets: list[str] = [column["target"] for column in table.columns]
        self.fields: list[str] = [column["field"] for column in table.columns]
        self.names = [at for at, target in enumerate(self.targets) if target in NAME_TARGETS]

    def source(self, row: int) -> dict[str, Any]:
        return source(self.table.file, self.table.sheet, row)

    def reject(self, row: int, reason: str, message: str, values: dict[str, Any]) -> None:
        self.rejected.append({"source": self.source(row), "reason": reason, "message": message, "values": values})

    def change(self, row: int, at: int, old: Any, new: Any, rule: str) -> None:
        if self.where["row"] != row:
            self.where = self.source(row)
        self.changes.append(
            {
                "source": self.where,
                "field": self.fields[at],
                "target": self.targets[at],
                "old": old,
                "new": new,
                "rule": rule,
            }
        )

    def attribute_rules(self) -> list[tuple[int, int, dict[Any, Outcome]]]:
        """(place among the attributes, column, outcome by value) for attribute columns in which some value has to
        change."""
        found = []
        for place, at in enumerate(self.kept):
            values = {(cell, type(cell)) for _, cells in self.table.rows if (cell := cells[at]) is not None}
            changed = {}
            for cell, kind in values:
                outcome = _attribute(cell)
                if outcome[1] is not None or outcome[2] is not None:
                    changed[cell, kind] = outcome
            if changed:
                found.append((place, at, changed))
        return found

    def take_all(self) -> None:
        """Cleanse the rows one after the other."""
        rules = self.attribute_rules()
        kept = self.kept
        for row, cells in self.table.rows:
            extra = [cells[at] for at in kept]
            changed: list[tuple[int, Cell, Any, str]] = []
            doubts: list[tuple[int, str]] = []
            for place, at, outcomes in rules:
                cell = cells[at]
                outcome = outcomes.get((cell, type(cell)))
                if outcome is not None:
                    extra[place] = outcome[0]
                    if outcome[1] is not None:
                        changed.append((at, cell, outcome[0], outcome[1]))
                    if outcome[2] is not None:
                        doubts.append((at, outcome[2]))
            self.take(row, cells, extra, changed, doubts)

    def take(
        self,
        row: int,
        cells: list[Cell],
        extra: list[Any],
        changed: list[tuple[int, Cell, Any, str]],
        doubts: list[tuple[int, str]],
    ) -> None:
        """Cleanse the facts of one row, and keep or reject it."""
        values = self.facts_of(cells, changed, doubts)
        for at, doubt in doubts:
            self.doubts[self.targets[at], self.fields[at]].append((row, doubt))
        refusal = self.refusal(values)
        if refusal is not None:
            raw = {self.fields[at]: cell for at, cell in enumerate(cells) if cell is not None}
            self.reject(row, *refusal, raw)
            return
        for at, cell, value, rule in changed:
            self.change(row, at, cell, value, rule)
        if "operating_system" in values or "os_version" in values:
            self.take_os(row, values)
        if len(self.names) > 1:
            for target in NAME_TARGETS:
                if target in values:
                    values[target].sort(key=lambda pair: self.table.columns[pair[1]]["rank"])
        self.clean.records.append({"row": row, "values": values, "extra": extra})

    def facts_of(
        self, cells: list[Cell], changed: list[tuple[int, Cell, Any, str]], doubts: list[tuple[int, str]]
    ) -> dict[str, list[list[Any]]]:
        """Clean values of one row by target; what was changed or is doubtful is added to the lists."""
        values: dict[str, list[list[Any]]] = {}
        for at in self.facts:
            cell = cells[at]
            if cell is None:
                continue
            cache = self.caches[at]
            key = cell if isinstance(cell, str) else (cell, type(cell))
            outcome = cache.get(key)
            if outcome is None:
                outcome = cache[key] = self.cleaners[at](cell)
            value, rule, doubt = outcome
            if rule is not None:
                changed.append((at, cell, value, rule))
            if doubt is not None:
                doubts.append((at, doubt))
            if value is None:
                continue
            target = self.targets[at]
            values.setdefault(target, []).append([value, at])
            if target == "port" and rule == "port_and_protocol":
                values.setdefault("protocol", []).append(["udp" if "udp" in str(cell).lower() else "tcp", at])
        return values

    def take_os(self, row: int, values: dict[str, list[list[Any]]]) -> None:
        """Replace the texts of operating system columns by their parts, best column first."""
        names = sorted(values.pop("operating_system", []), key=lambda pair: self.table.columns[pair[1]]["rank"])
        versions = values.pop("os_version", [])
        version, version_at = versions[0] if versions else (None, None)
        parts: list[list[Any]] = []
        for name, at in names or [[None, version_at]]:
            key = (name, version)
            found = self.os_cache.get(key)
            if found is None:
                found = self.os_cache[key] = clean_os(name, version)
            clean, doubt = found
            if doubt is not None:
                self.doubts["operating_system", self.fields[at]].append((row, doubt))
            said = " ".join(part for part in (clean["operating_system"], clean["os_version"]) if part)
            if name is not None and said != name:
                self.change(row, at, name, said, "os_name")
            if version_at is not None and clean["os_version"] != version:
                self.change(row, version_at, version, clean["os_version"], "os_name")
            parts.append([clean, at])
        values["operating_system"] = parts

    def refusal(self, values: dict[str, list[list[Any]]]) -> tuple[str, str] | None:
        if self.table.role == CONNECTIONS:
            for end, word in (("source", "source"), ("target", "destination")):
                if f"{end}_name" not in values and f"{end}_ip" not in values:
                    return f"missing_{end}", f"the row names no {word}"
            return None
        names = [values[target][0][0] for target in NAME_TARGETS if target in values]
        if not names:
            return "missing_name", "the row names no machine"
        if _TOTALS.match(names[0]):
            return "totals_row", "the row is a total, not a machine"
        if _COMMENT.match(names[0]) and len(values) == 1:
            return "comment", "the row is a comment, not a machine"
        return None

    def issues(self) -> list[dict[str, Any]]:
        """Doubtful values one by one up to a limit per column, then how many more; rejected rows likewise."""
        made: list[dict[str, Any]] = []
        place = f"{self.table.file}, sheet {self.table.sheet}" if self.table.sheet else self.table.file
        for (target, column), found in self.doubts.items():
            for row, doubt in found[:MAX_ISSUES_PER_KIND]:
                made.append(
                    issue(
                        self.namespace,
                        "doubtful_value",
                        "low",
                        f"{place}, row {row}, {column}: {doubt}.",
                        field=target,
                        source=self.source(row),
                    )
                )
            if len(found) > MAX_ISSUES_PER_KIND:
                made.append(
                    issue(
                        self.namespace,
                        "doubtful_value",
                        "low",
                        f"{place}, {column}: {len(found) - MAX_ISSUES_PER_KIND} more values like these.",
                        field=target,
                        source=source(self.table.file, self.table.sheet, None),
                    )
                )
        for row_rejected in self.rejected[:MAX_ISSUES_PER_KIND]:
            where = row_rejected["source"]
            made.append(
                issue(
                    self.namespace,
                    "rejected_row",
                    "medium"
                    if row_rejected["reason"] in {"missing_name", "too_many_cells", "missing_source", "missing_target"}
                    else "info",
                    f"{place}, row {where['row']}: {row_rejected['message']}.",
                    source=where,
                )
            )
        if len(self.rejected) > MAX_ISSUES_PER_KIND:
            made.append(
                issue(
                    self.namespace,
                    "rejected_row",
                    "medium",
                    f"{place}: {len(self.rejected) - MAX_ISSUES_PER_KIND} more rejected rows.",
                    source=source(self.table.file, self.table.sheet, None),
                )
            )
        return made


def completeness(tables: list[CleanTable]) -> dict[str, float]:
    """Share (0..1) of machine rows that know each target, over the tables that state it."""
    known: Counter[str] = Counter()
    rows: Counter[str] = Counter()
    for table in tables:
        if table.role != MACHINES:
            continue
        targets = {column["target"] for column in table.columns} - {"custom_attributes"}
        for target in targets:
            rows[target] += len(table.records)
        for record in table.records:
            known.update(target for target in record["values"] if target in targets)
    return {target: round(known[target] / count, 4) for target, count in sorted(rows.items()) if count}
