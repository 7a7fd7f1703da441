"""One value of several: which source's word counts, and what the others say beside it."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Any, NamedTuple

from estate.inventory.identity import is_instance_uuid, serial_key, uuid_key
from estate.inventory.standing import BUSINESS, MEASURED, SAID, in_words
from estate.inventory.views import View
from estate.roles import DETAIL

TOLERANCE = 0.001
"""Sizes that differ by less than a thousandth are rounding, not a conflict."""
MAX_SOURCES = 5
"""How many sources a conflict names for one value."""
MAX_REASONS = 5
"""How many reasons a conflict names."""
MAX_VALUES = 100
"""How many values a conflict names."""
SIZES = frozenset({"memory_gb", "storage_gb"})

Row = tuple[View, int]


class Said(NamedTuple):
    """A value and who says it."""

    value: Any
    view: View
    row: int
    field: str

    def where(self) -> dict[str, Any]:
        """File, sheet, row and column."""
        return self.view.where(self.row) | {"field": self.field}


def by_precedence(rows: list[Row]) -> list[Row]:
    """Rows with the best first: measured before said, newer before older, then by file and row.

    `rows` are in the order of files and rows. What says no time comes after what does.
    """
    if len(rows) == 1:
        return rows
    return sorted(rows, key=lambda at: (at[0].standing, _age(*at)))


def people_first(rows: list[Row]) -> list[Row]:
    """The same for what people know better: their lists first."""
    if len(rows) == 1 or all(view.is_list == rows[0][0].is_list for view, _ in rows):
        return rows
    return sorted(rows, key=lambda at: not at[0].is_list)


def _age(view: View, row: int) -> float:
    seen = view.last_seen(row)
    return -seen if seen is not None else float("inf")


def candidates(rows: list[Row], target: str) -> list[Said]:
    """What the rows say of a target, in their order, in each the best column first."""
    found = []
    for view, row in rows:
        if target in view.facts:
            for values, codes, name in view.facts[target]:
                value = values[codes[row]]
                if value is not None:
                    found.append(Said(value, view, row, name))
    return found


def first_of_each(said: list[Said]) -> list[Said]:
    """Of several columns of one row only the best."""
    found: dict[tuple[int, int], Said] = {}
    for one in said:
        found.setdefault((one.view.order, one.row), one)
    return list(found.values())


def same(target: str, a: Any, b: Any) -> bool:
    """Do two values say the same? Case, rounding and the spelling of identifiers make no difference."""
    if a == b:
        return True
    if isinstance(a, str) and isinstance(b, str):
        if target == "uuid":
            # the UUID a vCenter gave and that of the hardware are both right
            return uuid_key(a) == uuid_key(b) or is_instance_uuid(a) != is_instance_uuid(b)
        if target == "serial_number":
            return serial_key(a) == serial_key(b)
        return a.casefold() == b.casefold()
    if isinstance(a, int | float) and isinstance(b, int | float):
        if target in SIZES or target.endswith("_percent"):
            return abs(a - b) <= max(0.011, TOLERANCE * max(abs(a), abs(b)))
        return False
    return False


def choose(target: str, said: list[Said], conflicts: list[dict[str, Any]]) -> Any:
    """The first value; a conflict is added where others differ."""
    if not said:
        return None
    chosen = said[0].value
    others = [other for other in said if not same(target, chosen, other.value)]
    if others:
        conflicts.append(conflict(target, chosen, said, reasons(target, said[0], others)))
    return chosen


def conflict(target: str, chosen: Any, said: list[Said], reason: str) -> dict[str, Any]:
    """`{field, chosen, values: [{value, sources: [{file, sheet, row, field}]}], why}`, the chosen value first.

    Above `MAX_VALUES` values `further` counts the rows that say others.
    """
    values: list[dict[str, Any]] = []
    further = 0
    for one in said:
        known = next((entry for entry in values if same(target, entry["value"], one.value)), None)
        if known is not None:
            if len(known["sources"]) < MAX_SOURCES:
                known["sources"].append(one.where())
        elif len(values) < MAX_VALUES:
            values.append({"value": one.value, "sources": [one.where()]})
        else:
            further += 1
    values.sort(key=lambda entry: not same(target, entry["value"], chosen))
    found = {"field": target, "chosen": chosen, "values": values, "why": reason}
    return found | {"further": further} if further else found


def reasons(target: str, chosen: Said, others: list[Said]) -> str:
    """Why the chosen value goes before the others, table by table; what holds for all sources of an asset is said
    whichever of them comes first."""
    of_table = {other.view.order: other for other in reversed(others)}
    told = dict.fromkeys(why(target, chosen, of_table[order]) for order in sorted(of_table))
    rest = len(told) - MAX_REASONS
    return "; ".join(list(told)[:MAX_REASONS]) + (f"; and {rest} more reasons" if rest > 0 else "")


def why(target: str, chosen: Said, other: Said) -> str:
    """The reason for a choice, as a sentence without its full stop."""
    a, b = chosen.view, other.view
    if a is b and chosen.row == other.row:
        return f"the column {chosen.field} comes before {other.field} in {a.table.place}"
    if b.role == DETAIL != a.role:
        return f"{a.table.place} states the whole, {b.table.place} its parts"
    if a.inventory and not b.inventory:
        return f"{a.table.place} lists machines, {b.table.place} only speaks of them"
    if target in BUSINESS and a.is_list and not b.is_list:
        return f"{a.table.place} is kept by people, who know {target} better than tools do"
    if a.standing < b.standing:
        if a.standing == MEASURED and b.standing == SAID:
            return f"{in_words(a.kind)} and wins over people's lists"
        return f"{in_words(b.kind)}, and {a.table.place} the whole of it"
    mine, theirs = _age(a, chosen.row), _age(b, other.row)
    if mine < theirs:
        return f"{a.place(chosen.row)} was seen last"
    if a is b:
        return f"nothing tells which row of {a.table.place} is right, so the first one was taken"
    return f"nothing tells whether {a.table.place} or {b.table.place} is right, so the first by file and row was taken"


# --- operating systems ------------------------------------------------------------------------------------------


def system(rows: list[Row], conflicts: list[dict[str, Any]]) -> dict[str, Any]:
    """The operating system as `{operating_system, os_version, os_family, ...}`: the best source's, or a name that says
    more and does not contradict it; {} where nobody says one."""
    if len(rows) == 1 and len(columns := rows[0][0].facts["operating_system"]) == 1:
        values, codes, _ = columns[0]
        return values[codes[rows[0][1]]] or {}
    found = candidates(rows, "operating_system")
    if not found:
        return {}
    best = found[0]
    if all(said.value is best.value or said.value == best.value for said in found):
        return dict(best.value)
    for said in found[1:]:
        if systems_agree(best.value, said.value) and _specific(said.value) > _specific(best.value):
            best = said
    rivals = [said for said in found if not systems_agree(best.value, said.value)]
    if rivals:
        products = {said.value["operating_system"] for said in rivals} | {best.value["operating_system"]}
        name = "os_version" if len(products) == 1 else "operating_system"
        stated = [
            said._replace(value=_said(said.value, name))
            for said in found
            if said is best or not systems_agree(best.value, said.value)
        ]
        conflicts.append(conflict(name, _said(best.value, name), stated, reasons("operating_system", best, rivals)))
    return dict(best.value)


def _said(value: dict[str, Any], name: str) -> str | None:
    if name == "os_version":
        version: str | None = value.get("os_version")
        return version
    return " ".join(part for part in (value["operating_system"], value.get("os_version")) if part)


def _specific(value: dict[str, Any]) -> int:
    """How much an operating system name says: product, family generics, exact version."""
    version = value.get("os_version")
    exact = 0 if version is None else 1 if value.get("os_generic") else 2
    return exact * 2 + (value["operating_system"] not in {"Linux", "Windows"})


def systems_agree(a: dict[str, Any], b: dict[str, Any]) -> bool:
    """Do two operating system names allow the same machine? `Linux` and `Debian 9` do, `2016 or later` and `2019`
    do."""
    if a["operating_system"] != b["operating_system"]:
        generic = {"Linux": "linux", "Windows": "windows"}
        for one, other in ((a, b), (b, a)):
            family = generic.get(one["operating_system"])
            if family and one.get("os_version") is None and other.get("os_family") == family:
                return True
        return False
    va, vb = a.get("os_version"), b.get("os_version")
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


# --- disks ------------------------------------------------------------------------------------------------------


class Partial(NamedTuple):
    """Disks of which some have no size, so that their sum is not known."""

    unknown: int
    disks: int
    total: float
    view: View
    row: int


def disk_sums(rows: list[Row], target: str = "storage_gb") -> tuple[list[Said], list[Partial]]:
    """Storage as the sum of the disks of each table of disks; a disk of unknown size makes the sum unknown."""
    by_table: dict[int, list[Row]] = defaultdict(list)
    for view, row in rows:
        if view.role == DETAIL and target in view.facts:
            by_table[view.order].append((view, row))
    sums: list[Said] = []
    partial: list[Partial] = []
    for parts in by_table.values():
        sizes: dict[Any, float] = {}
        unknown = 0
        for at, (view, row) in enumerate(parts):
            size = view.first(target, row)
            if size is None:
                unknown += 1
                continue
            key = view.first("detail_key", row)
            # the same disk listed twice (rows repeated under another spelling of the name) counts once
            sizes.setdefault((key, size) if key is not None else at, size)
        total = round(sum(sizes.values()), 2)
        view, row = parts[0]
        if unknown:
            partial.append(Partial(unknown, len(parts), total, view, row))
        else:
            disks = f"sum of {len(sizes)} disks" if len(sizes) > 1 else "its one disk"
            sums.append(Said(int(total) if total == int(total) else total, view, row, disks))
    return sums, partial


# --- the estate's own attributes --------------------------------------------------------------------------------


def attributes(rows: list[Row], conflicts: list[dict[str, Any]]) -> dict[str, Any]:
    """The columns kept under their own names; what differs from disk to disk is a list."""
    if len(rows) == 1:
        view, row = rows[0]
        return {name: value for name, values, codes in view.attributes if (value := values[codes[row]]) is not None}
    stated: dict[str, list[Said]] = defaultdict(list)
    parts: dict[tuple[int, str], list[Said]] = defaultdict(list)
    for view, row in rows:
        for name, values, codes in view.attributes:
            value = values[codes[row]]
            if value is not None:
                if view.role == DETAIL:
                    parts[view.order, name].append(Said(value, view, row, name))
                else:
                    stated[name].append(Said(value, view, row, name))
    lists: list[tuple[str, View, list[Any]]] = []
    for (_, name), said in parts.items():
        distinct = list({repr(one.value): one.value for one in said}.values())
        if len(distinct) == 1:
            stated[name].append(said[0])
        else:
            lists.append((name, said[0].view, distinct))
    found: dict[str, Any] = {}
    for name, said in stated.items():
        found[name] = said[0].value
        if len(said) > 1:
            others = [one for one in said if _text(one.value) != _text(said[0].value)]
            if others:
                target = f"custom_attributes.{name}"
                conflicts.append(conflict(target, said[0].value, said, reasons(target, said[0], others)))
    for name, view, distinct in lists:
        found[name if name not in found else f"{name} ({view.table.sheet or view.table.file})"] = distinct
    return found


def _text(value: Any) -> str:
    return str(value).casefold()
