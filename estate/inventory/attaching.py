"""Measurements, products and tags: whose they are."""

from __future__ import annotations

from array import array
from collections import defaultdict
from dataclasses import dataclass, field

from estate.inventory.clusters import Resolution
from estate.inventory.views import View
from estate.vocabulary import parse_ip

NOBODY, NAMELESS = -1, -2


@dataclass(slots=True)
class Attached:
    """The rows of tables that speak about machines listed elsewhere."""

    rows: dict[int, list[tuple[View, array[int]]]] = field(default_factory=lambda: defaultdict(list))
    """By root: (table, rows)."""
    orphans: list[tuple[View, array[int]]] = field(default_factory=list)
    """By table: the rows that fit no asset."""
    nameless: list[tuple[View, array[int]]] = field(default_factory=list)
    """By table: the rows that name no machine at all, such as those of a list of licences."""


class Directory:
    """Finds the asset that a row of another table means. What fits several fits none."""

    def __init__(self, found: Resolution) -> None:
        self._found = found
        units = self._units = found.units
        self._keys: dict[str, int] = {}
        self._names: dict[str, int | list[int]] = {}
        self._addresses: dict[str, int] = {}
        for unit, name in enumerate(units.name):
            root = found.find(unit)
            if name is not None:
                self._name(name, root)
            keys = [f"u|{key}" for key in units.uuids(unit)]
            keys += [f"e|{key}" for key in units.externals(unit)]
            keys += [f"s|{key}" for key in (units.serial(unit),) if key is not None]
            for key in keys:
                self._put(self._keys, key, root)
            for address in units.addresses(unit):
                self._put(self._addresses, address, root)
        for view in units.views:
            rows = units.by_row(view) if view.aliases else {}
            for row, (host, _) in view.aliases:
                if host is not None and host not in self._names:
                    self._name(host, found.find(rows[row]))

    @staticmethod
    def _put(table: dict[str, int], key: str, root: int) -> None:
        if table.setdefault(key, root) != root:
            table[key] = NOBODY

    def _name(self, name: str, root: int) -> None:
        known = self._names.setdefault(name, root)
        if known != root:
            if isinstance(known, int):
                self._names[name] = [known, root]
            elif root not in known:
                known.append(root)

    def find(self, view: View, row: int) -> int:
        """The root of the asset that the row means, `NOBODY` where none or several fit."""
        keys = self._keys
        externals = (view.external[row] if view.external is not None else None) or ()
        nameless = view.keys[row] is None
        certain = [f"u|{key}" for key in (view.uuids[row] if view.uuids is not None else None) or ()]
        certain += [f"e|{key}" for key in externals if nameless or key in view.identifies]
        if view.serials is not None:
            certain.append(f"s|{view.serials[row]}")
        for key in certain:
            root = keys.get(key, NOBODY)
            if root != NOBODY:
                return root
        root = self._by_name(view, row)
        if root != NOBODY:
            return root
        if view.keys[row] is not None and not parse_ip(view.keys[row] or ""):
            return NOBODY
        addresses = view.addresses([row]) or {view.keys[row] or "": None}
        owners = {self._addresses.get(address, NOBODY) for address in addresses}
        return owners.pop() if len(owners) == 1 else NOBODY

    def _by_name(self, view: View, row: int) -> int:
        name = view.keys[row]
        known = self._names.get(name, NOBODY) if name is not None else NOBODY
        if isinstance(known, int):
            return known
        units, found = self._units, self._found
        domain, addresses = view.domain(row), view.addresses([row]).keys()
        external = (view.external[row] if view.external is not None else None) or ()
        fits = [
            root
            for root in known
            if any(
                (domain and units.domain(unit) == domain)
                or addresses & units.addresses(unit).keys()
                or not set(external).isdisjoint(units.externals(unit))
                for unit in found.cluster(root)
            )
        ]
        return fits[0] if len(fits) == 1 else NOBODY


def attach(views: list[View], found: Resolution, kept: set[int]) -> Attached:
    """Give every row of these tables to its asset; `kept` are the roots that become assets."""
    attached = Attached()
    if not views:
        return attached
    directory = Directory(found)
    for view in views:
        known: dict[tuple[object, ...], int] = {}
        rows: dict[int, array[int]] = {}
        for row, combination in enumerate(_identity(view)):
            root = known.get(combination)
            if root is None:
                root = directory.find(view, row) if _says_who(view, row) else NAMELESS
                if root not in kept and root != NAMELESS:
                    root = NOBODY
                known[combination] = root
            mine = rows.get(root)
            if mine is None:
                mine = rows[root] = array("I")
            mine.append(row)
        for root, mine in rows.items():
            if root == NOBODY:
                attached.orphans.append((view, mine))
            elif root == NAMELESS:
                attached.nameless.append((view, mine))
            else:
                attached.rows[root].append((view, mine))
    return attached


def _says_who(view: View, row: int) -> bool:
    """Does the row name a machine in any way?"""
    keys = (view.keys, view.uuids, view.serials, view.external)
    return any(known is not None and known[row] is not None for known in keys) or bool(view.addresses([row]))


def _identity(view: View) -> zip[tuple[object, ...]]:
    """Per row what tells whose it is."""
    columns: list[object] = [view.keys]
    columns += [keys for keys in (view.domains, view.uuids, view.serials, view.external) if keys is not None]
    columns += [column.codes for column in view.facts.get("ip_addresses", ())]
    return zip(*columns, strict=True)
