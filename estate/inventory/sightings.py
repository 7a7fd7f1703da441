"""Which rows of one table are the same thing."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from estate.inventory.views import Keys, Stated, View, application_key
from estate.roles import APPLICATIONS
from estate.vocabulary import parse_ip

MAX_COMPARED = 200
"""Rows of one name are compared with each other up to so many; above only their keys tell them apart."""


@dataclass(slots=True)
class Split:
    """A name that one table gives to several things."""

    key: str
    name: str
    view: View
    row: int
    count: int
    by: str


@dataclass(slots=True)
class Units:
    """The things of all tables, table by table: lists in step, one entry for each thing as one table knows it."""

    views: list[View]
    view: list[int] = field(default_factory=list)
    first: list[int] = field(default_factory=list)
    name: list[str | None] = field(default_factory=list)
    more: dict[int, list[int]] = field(default_factory=dict)
    """The rows of a unit that has several."""
    spans: list[tuple[int, int, int]] = field(default_factory=list)
    """(table, its first unit, the unit after its last) for each table."""
    splits: list[Split] = field(default_factory=list)
    doubtful: dict[int, str] = field(default_factory=dict)
    """Units of rows whose table gives their name to several things and does not say which they are."""

    def by_row(self, view: View) -> dict[int, int]:
        """The unit of every row of a table."""
        found: dict[int, int] = {}
        for order, start, end in self.spans:
            if order == view.order:
                for unit in range(start, end):
                    found.update(dict.fromkeys(self.rows(unit), unit))
        return found

    def rows(self, unit: int) -> Sequence[int]:
        """The rows of a unit, in order."""
        found = self.more.get(unit)
        return found if found is not None else (self.first[unit],)

    def stated(self, keys_of: Callable[[View], Sequence[str | Keys | None] | None]) -> Iterator[tuple[str, int]]:
        """(key, unit) of all keys of one sort: `keys_of` gives a table's, per row."""
        for order, start, end in self.spans:
            per_row = keys_of(self.views[order])
            if per_row is None:
                continue
            for unit, row in enumerate(self.first[start:end], start):
                for at in self.more.get(unit, (row,)):
                    keys = per_row[at]
                    if isinstance(keys, str):
                        yield keys, unit
                    elif keys is not None:
                        for key in keys:
                            yield key, unit

    def entries(self, columns_of: Callable[[View], Iterable[Stated]]) -> Iterator[tuple[str, int]]:
        """(entry, unit) of all entries of the list columns that `columns_of` gives of a table."""
        for order, start, end in self.spans:
            for values, codes, _ in columns_of(self.views[order]):
                for unit, row in enumerate(self.first[start:end], start):
                    for at in self.more.get(unit, (row,)):
                        entries = values[codes[at]]
                        if isinstance(entries, str):
                            yield entries, unit
                        elif entries is not None:
                            for entry in entries:
                                yield entry, unit

    def of(self, unit: int) -> View:
        """The table of a unit."""
        return self.views[self.view[unit]]

    def _key(self, unit: int, per_row: list[str | None] | None) -> str | None:
        if per_row is None:
            return None
        rows = self.more.get(unit)
        if rows is None:
            return per_row[self.first[unit]]
        return next((key for row in rows if (key := per_row[row]) is not None), None)

    def _keys(self, unit: int, per_row: list[Keys | None] | None) -> Keys:
        if per_row is None:
            return ()
        rows = self.more.get(unit)
        if rows is None:
            return per_row[self.first[unit]] or ()
        return tuple(dict.fromkeys(key for row in rows for key in per_row[row] or ()))

    def uuids(self, unit: int) -> Keys:
        """The UUID keys of a unit."""
        return self._keys(unit, self.views[self.view[unit]].uuids)

    def serial(self, unit: int) -> str | None:
        """The serial number key of a unit."""
        return self._key(unit, self.views[self.view[unit]].serials)

    def externals(self, unit: int) -> Keys:
        """The keys of the source's own ids."""
        return self._keys(unit, self.views[self.view[unit]].external)

    def domain(self, unit: int) -> str | None:
        """The domain of a unit's name."""
        return self._key(unit, self.views[self.view[unit]].domains)

    def macs(self, unit: int) -> dict[str, None]:
        """The hardware addresses of a unit."""
        return self.of(unit).many("mac_addresses", self.rows(unit))

    def addresses(self, unit: int) -> dict[str, None]:
        """The addresses by which a unit can be found; the name is one where it is an address."""
        found = self.of(unit).addresses(self.rows(unit))
        name = self.name[unit]
        if name is not None and not found and (address := parse_ip(name)):
            found[address] = None
        return found

    def system(self, unit: int) -> Any:
        """The operating system of a unit, as its table says it first."""
        view = self.of(unit)
        return next((s for row in self.rows(unit) if (s := view.first("operating_system", row)) is not None), None)

    def place(self, unit: int) -> str:
        """`row 7 of b.csv`."""
        return self.of(unit).place(self.first[unit])

    def title(self, unit: int) -> str:
        """The name as written, else what stands for it."""
        view, row = self.of(unit), self.first[unit]
        named = view.named(row)
        if named is not None:
            return named[0]
        for target in ("external_id", "uuid", "serial_number"):
            value = view.first(target, row)
            if value is not None:
                return str(value)
        return next(iter(self.addresses(unit) or self.macs(unit)), "a row without a name")

    def take(self, view: View) -> None:
        """Add the things of one table."""
        groups: dict[str, int | list[int]] = {}
        order: list[int | list[int]] = []
        unnamed: dict[str, list[int]] = {}
        self._applications(view)
        start = len(self.first)
        for row, key in enumerate(view.keys):
            if key is None:
                self._nameless(view, row, unnamed, order)
                continue
            known = groups.get(key)
            if known is None:
                groups[key] = row
            elif isinstance(known, int):
                groups[key] = [known, row]
            else:
                known.append(row)
        for name, rows in groups.items():
            if isinstance(rows, int):
                self._add(view, name, rows)
            else:
                self._several(view, name, rows)
        for rows in order:
            self._add(view, None, *([rows] if isinstance(rows, int) else rows))
        self.spans.append((view.order, start, len(self.first)))

    @staticmethod
    def _applications(view: View) -> None:
        """Rows that a list of machines says are applications have the keys of applications."""
        if view.types is None or view.role == APPLICATIONS:
            return
        for row, sort in enumerate(view.types):
            if sort == "application" and (named := view.named(row)) is not None:
                view.keys[row] = application_key(named[0])

    def _nameless(self, view: View, row: int, unnamed: dict[str, list[int]], order: list[Any]) -> None:
        """Rows without a name are one thing where the source's own id or the hardware says so."""
        for keys in (view.external, view.uuids, view.serials):
            stated = keys[row] if keys is not None else None
            if stated is not None:
                key = stated if isinstance(stated, str) else stated[0]
                rows = unnamed.get(key)
                if rows is None:
                    rows = unnamed[key] = []
                    order.append(rows)
                rows.append(row)
                return
        order.append(row)

    def _add(self, view: View, key: str | None, *rows: int) -> int:
        unit = len(self.first)
        self.view.append(view.order)
        self.first.append(rows[0])
        self.name.append(key)
        if len(rows) > 1:
            self.more[unit] = list(rows)
        return unit

    def _several(self, view: View, key: str, rows: list[int]) -> None:
        """Rows of one table under one name: one thing listed several times, unless something tells them apart."""
        marks, by = self._marks(view, rows)
        if marks is None:
            self._add(view, key, *rows)
            return
        parts: dict[str, list[int]] = defaultdict(list)
        open_rows = []
        for row, mark in zip(rows, marks, strict=True):
            if mark is None:
                open_rows.append(row)
            else:
                parts[mark].append(row)
        few = len(rows) <= MAX_COMPARED
        lost = [row for row in open_rows if not (few and self._home(view, row, parts))]
        units = [self._add(view, key, *sorted(part)) for part in parts.values()]
        if view.lists:
            self.splits.append(Split(key, self.title(units[0]), view, rows[0], len(parts), by))
        if lost:
            self.doubtful[self._add(view, key, *lost)] = by

    @staticmethod
    def _home(view: View, row: int, parts: dict[str, list[int]]) -> bool:
        """Put a row that lacks the mark into the only part it shares an address or a domain with."""
        addresses = view.addresses([row])
        fits = [
            part
            for part in parts.values()
            if addresses.keys() & view.addresses(part).keys()
            or (view.domain(row) is not None and any(view.domain(other) == view.domain(row) for other in part))
        ]
        if len(fits) == 1:
            fits[0].append(row)
        return len(fits) == 1

    def _marks(self, view: View, rows: list[int]) -> tuple[list[str | None] | None, str]:
        """Per row what tells it from the others of its name, and in words by what; (None, "") where nothing does."""
        for several, by in ((view.uuids, "UUID"), (view.external, "key in the source")):
            if several is None:
                continue
            marks = _in_common([several[row] for row in rows])
            if len({mark for mark in marks if mark is not None}) > 1:
                return marks, by
        for keys, by in (
            (view.serials, "serial number"),
            (view.types, "type"),
            (view.domains, "domain"),
        ):
            if keys is None:
                continue
            marks = [keys[row] for row in rows]
            if len({mark for mark in marks if mark is not None}) > 1:
                if by == "domain" and not _domains_differ(view, rows, marks):
                    continue
                return marks, by
        if view.lists and len(rows) <= MAX_COMPARED:
            found = _by_network(view, rows)
            if found is not None:
                return found, "hardware addresses, addresses and what is known of them"
        return None, ""


def _in_common(keys: list[Keys | None]) -> list[str | None]:
    """A mark for each row, the same for rows that have a key in common."""
    marks: dict[str, str] = {}
    for some in keys:
        for key in some or ():
            marks.setdefault(key, next((marks[other] for other in some or () if other in marks), key))
    return [marks[some[0]] if some else None for some in keys]


def _domains_differ(view: View, rows: list[int], marks: list[str | None]) -> bool:
    """Are the domains those of different machines: no address is in two of them?"""
    owners: dict[str, str | None] = {}
    for row, mark in zip(rows, marks, strict=True):
        if mark is None:
            continue
        for address in view.addresses([row]):
            if owners.setdefault(address, mark) != mark:
                return False
    return True


def _by_network(view: View, rows: list[int]) -> list[str | None] | None:
    """Marks for rows of one name that share no address at all and say different things of the machine."""
    macs = [view.many("mac_addresses", [row]) for row in rows]
    addresses = [view.addresses([row]) for row in rows]
    if not all(macs) or not all(addresses):
        return None
    counted = Counter(entry for found in (*macs, *addresses) for entry in found)
    if max(counted.values()) > 1:
        return None
    facts = {
        tuple(str(view.first(target, row)) for target in ("operating_system", "cpu_cores", "memory_gb")) for row in rows
    }
    return [next(iter(found)) for found in macs] if len(facts) == len(rows) else None
