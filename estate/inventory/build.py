"""One asset for each thing of an estate: rows of several files and sheets brought together, disagreements kept side by
side."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from estate.assets import Asset
from estate.bulk import bulk
from estate.clean import CleanTable
from estate.ids import id_of
from estate.inventory.attaching import Attached, attach
from estate.inventory.clusters import MAX_REVIEWS, Resolution, Review
from estate.inventory.ends import from_connections
from estate.inventory.figures import Tally
from estate.inventory.making import Maker
from estate.inventory.resolution import MAX_NAMED, MAX_TOGETHER, resolve
from estate.inventory.sightings import Split, Units
from estate.inventory.told import Told
from estate.inventory.views import View
from estate.roles import APPLICATIONS, CONNECTIONS, DETAIL, MACHINES, PERFORMANCE, SOFTWARE, TAGS

BESIDE = (PERFORMANCE, SOFTWARE, TAGS)
"""Roles of tables that speak about machines that others list."""
READ = (MACHINES, DETAIL, APPLICATIONS, *BESIDE)


@dataclass(slots=True)
class Inventory:
    """What `build` found beside the assets."""

    issues: list[dict[str, Any]]
    reviews: list[dict[str, Any]]
    """`{review_id, kind, asset_ids, names, reason, confidence, evidence[], suggestion}`: doubts for people to settle."""
    summary: dict[str, Any]


@bulk
def build(tables: Iterable[CleanTable], namespace: UUID, each: Callable[[Asset], None]) -> Inventory:
    """Bring all rows together into assets, and hand each asset to `each` as it is made.

    `namespace` (the flow's id) makes ids: asset_id = uuid5(namespace, "asset|" + key), the same for the same input in
    whatever order the files come. The key is the canonical name; things that share a name add what tells them apart.

    Rows are one thing when their names agree without case and domain and no key speaks against it (another UUID, serial
    number, or domain and addresses), and when they have other names and share a UUID, a serial number, the source's own
    id, a host name, a hardware address, or an address together with a like name. A table that lists two names lists
    two things. What is doubtful stays apart and becomes a review and an issue. Measurements, products and tags go to
    the machine they name; rows that fit none are counted in an issue. An estate that has only connections gets its
    machines and applications from their ends.

    The summary is `{assets, rows, rows_in_assets, orphan_rows, rows_without_machine, rows_by_role, connection_rows, by_type,
    by_environment, by_os_family, by_operating_system, by_power_state, totals{cpu_cores, memory_gb, storage_gb: {to_move{sum,
    known, unknown}, not_moved{by reason: the same}, by_type, sum, known, unknown}}, with_conflicts, not_migratable, completeness, matches{by key}, reviews}`;
    rows = rows_in_assets + orphan_rows + rows_without_machine.
    """
    ordered = sorted(tables, key=lambda table: (table.role == DETAIL, table.file))
    return _Build(ordered, namespace, each).run()


class _Build:
    def __init__(self, tables: list[CleanTable], namespace: UUID, each: Callable[[Asset], None]) -> None:
        self.tables = tables
        self.namespace = namespace
        self.each = each
        self.told = Told(namespace)
        self.tally = Tally()
        self.reviews: list[dict[str, Any]] = []
        self.orphans: Counter[str] = Counter()
        self.without: Counter[str] = Counter()
        self.matches: Counter[str] = Counter()
        self.further = 0

    def run(self) -> Inventory:
        units = Units([])
        beside = [table for table in self.tables if table.role in BESIDE]
        for table in self.tables:
            if table.role in {MACHINES, DETAIL, APPLICATIONS}:
                self._take(units, table)
        alone = not units.first
        if alone and any(table.role == CONNECTIONS for table in self.tables):
            return self._from_ends(beside)
        if alone:
            for table in beside:
                self._take(units, table)
        self._from_units(units, beside, alone=alone)
        return self._finish(units)

    def _take(self, units: Units, table: CleanTable) -> None:
        view = View(table, len(units.views))
        units.views.append(view)
        units.take(view)

    # --- the assets

    def _from_units(self, units: Units, beside: list[CleanTable], *, alone: bool) -> None:
        found = resolve(units)
        roots = self._roots(found, alone=alone)
        views = [view for view in units.views if view.role in BESIDE] or [
            View(table, len(units.views) + at) for at, table in enumerate(beside)
        ]
        attached = attach(views, found, set(roots))
        keys = _keys(found, roots)
        maker = Maker(self.namespace, found, attached, self.told)
        names: dict[int, str] = {}
        for root, key in zip(roots, keys, strict=True):
            asset = maker.make(root, key)
            names[root] = asset.name
            self.each(asset)
            self.tally.add(asset)
        ids = {root: maker.asset_id(key) for root, key in zip(roots, keys, strict=True)} if self._asked(found) else {}
        self._doubts(found, ids, names)
        self._lost(attached)
        if alone and roots:
            self.told.add(
                "seen_only_beside",
                "medium",
                f"No inventory was given; {len(roots)} machines are known only from measurements, products or tags,"
                " nothing else about them is.",
            )
        self.matches = found.matches

    @staticmethod
    def _asked(found: Resolution) -> bool:
        return bool(
            found.reviews or found.shared_hosts or found.shared_addresses or found.apart or found.units.splits
            or found.units.doubtful
        )  # fmt: skip

    def _roots(self, found: Resolution, *, alone: bool) -> list[int]:
        """The clusters that become assets, in order; rows of disks and cards that fit no machine become none."""
        units = found.units
        roots = []
        lost: dict[int, list[int]] = defaultdict(list)
        for unit in range(len(units.first)):
            if found.parent[unit] != unit:
                continue
            if unit not in found.members and units.of(unit).lists:
                roots.append(unit)
                continue
            members = found.cluster(unit)
            listed = any(units.of(member).lists for member in members)
            nameless = all(units.name[member] is None for member in members)
            doubtful = unit in found.ambiguous or any(member in units.doubtful for member in members)
            if listed or alone or not (nameless or doubtful):
                roots.append(unit)
                continue
            for member in members:
                lost[units.view[member]].extend(units.rows(member))
        for order, rows in lost.items():
            self._orphaned(units.views[order], sorted(rows))
        return roots

    def _from_ends(self, beside: list[CleanTable]) -> Inventory:
        """An estate without any list."""
        tables = [table for table in self.tables if table.role == CONNECTIONS]

        def each(asset: Asset) -> None:
            self.each(asset)
            self.tally.add(asset)

        count, rows = from_connections(tables, self.namespace, each)
        if count:
            first = next(table for table in tables if len(table))
            self.told.add(
                "seen_only_in_connections",
                "medium",
                f"No inventory was given; {count} machines and applications are known only as ends of connections,"
                " nothing else about them is.",
                source={"file": first.file, "sheet": first.sheet, "row": first.numbers[0]},
            )
        for table in beside:
            self._orphaned(View(table, 0), list(range(len(table))))
        found = self._finish(Units([]))
        connections = sum(len(table) for table in tables)
        found.summary["rows"] += connections
        found.summary["rows_in_assets"] += rows
        found.summary["rows_without_machine"] += connections - rows
        found.summary["rows_by_role"][CONNECTIONS] = {
            "read": connections, "in_assets": rows, "orphan": 0, "without_machine": connections - rows
        }  # fmt: skip
        return found

    # --- what people should look at

    def _doubts(self, found: Resolution, ids: dict[int, str], names: dict[int, str]) -> None:
        units = found.units
        self._duplicate_names(units)
        siblings = _siblings(units)
        for unit in units.doubtful:
            if units.of(unit).lists:
                self._review(found, _one_of_several(found, unit, siblings), ids, names)
        for review in found.reviews:
            self._review(found, review, ids, names)
        for roots in found.apart:
            self._review(found, _told_apart(found, roots), ids, names)
        for shared in found.shared_hosts:
            named = ", ".join(sorted({units.name[unit] or units.title(unit) for unit in shared.units}))
            view = units.of(shared.unit)
            self.told.add(
                "shared_hostname",
                "medium",
                f"The host name {shared.host} is given for more than one machine: {named}. They were kept apart.",
                field="hostname",
                source=view.where(units.first[shared.unit]),
            )
        for label, one, other, count in found.incomparable:
            self.told.add(
                "keys_not_comparable",
                "info",
                f"{units.views[one].table.place} and {units.views[other].table.place} give different {label}s for the"
                f" same machines ({count} compared by name and address); these were not used to tell machines apart.",
            )
        self._shared_addresses(found, ids, names)
        if found.further_reviews:
            self.further = found.further_reviews
            self.told.add(
                "further_reviews",
                "medium",
                f"{self.further:,} more doubts about what is one machine are not listed one by one;"
                f" there are {len(self.reviews) + self.further:,} in all.",
            )

    def _duplicate_names(self, units: Units) -> None:
        """One issue for each name that tables give to several things."""
        by_name: dict[str, list[Split]] = defaultdict(list)
        for split in units.splits:
            by_name[split.key].append(split)
        for splits in by_name.values():
            most = max(splits, key=lambda split: split.count)
            tables = ", ".join(f"{split.view.table.place} by {split.by}" for split in splits[:MAX_NAMED])
            more = f" and {len(splits) - MAX_NAMED} more tables" if len(splits) > MAX_NAMED else ""
            self.told.add(
                "duplicate_name",
                "medium",
                f"{most.name} names {most.count} different things (told apart in {tables}{more}).",
                source=most.view.where(most.row),
            )

    def _review(self, found: Resolution, review: Review, ids: dict[int, str], names: dict[int, str]) -> None:
        roots = [root for unit in review.units if (root := found.find(unit)) in ids]
        roots = list(dict.fromkeys(roots))
        if not roots or (len(roots) < 2 and review.kind == "possible_duplicate"):
            return
        if len(self.reviews) >= MAX_REVIEWS:
            found.further_reviews += 1
            return
        asset_ids = [ids[root] for root in roots]
        self.reviews.append(
            {
                "review_id": id_of(self.namespace, "|".join(("review", review.kind, *asset_ids, review.reason))),
                "kind": review.kind,
                "asset_ids": asset_ids,
                "names": [names[root] for root in roots],
                "reason": review.reason,
                "confidence": review.confidence,
                "evidence": list(review.evidence),
                "suggestion": review.suggestion,
            }
        )
        first = review.units[0]
        self.told.add(
            review.kind,
            "medium" if review.confidence >= 0.5 else "low",
            review.reason,
            asset_id=asset_ids[0],
            source=found.units.of(first).where(found.units.first[first]),
        )

    def _shared_addresses(self, found: Resolution, ids: dict[int, str], names: dict[int, str]) -> None:
        """One issue for each address that several assets have: a cluster address, or one machine under two names."""
        for address, stating in found.shared_addresses.items():
            units = {root: unit for unit in reversed(stating) if (root := found.find(unit)) in ids}
            roots = [root for root in dict.fromkeys(map(found.find, stating)) if root in ids]
            if len(roots) < 2:
                continue
            named = ", ".join(names[root] for root in roots[:MAX_NAMED])
            more = f" and {len(roots) - MAX_NAMED} more" if len(roots) > MAX_NAMED else ""
            unit = units[roots[0]]
            self.told.add(
                "shared_address",
                "low",
                f"{len(roots)} assets have the address {address}: {named}{more}.",
                asset_id=ids[roots[0]],
                field="ip_addresses",
                source=found.units.of(unit).where(found.units.first[unit]),
            )

    def _lost(self, attached: Attached) -> None:
        for view, rows in attached.orphans:
            self._orphaned(view, rows)
        for view, rows in attached.nameless:
            self.without[view.role] += len(rows)

    def _orphaned(self, view: View, rows: Any) -> None:
        if not len(rows):
            return
        self.orphans[view.role] += len(rows)
        numbers = ", ".join(str(view.table.numbers[row]) for row in rows[:10])
        more = ", ..." if len(rows) > 10 else ""
        self.told.add(
            "orphan_row",
            "low",
            f"{view.table.place}: {len(rows):,} of {len(view):,} rows fit no asset, or more than one, and were not used"
            f" (rows {numbers}{more}).",
            source=view.where(rows[0]),
        )

    # --- figures

    def _finish(self, units: Units) -> Inventory:
        self.tally.tell_missing(self.told)
        read: Counter[str] = Counter()
        for table in self.tables:
            if table.role in READ:
                read[table.role] += len(table)
        by_role = {
            role: {
                "read": read[role],
                "in_assets": read[role] - self.orphans[role] - self.without[role],
                "orphan": self.orphans[role],
                "without_machine": self.without[role],
            }
            for role in READ
            if read[role]
        }
        figures = self.tally.summary()
        return Inventory(
            self.told.close(),
            self.reviews,
            {
                "assets": figures.pop("assets"),
                "rows": read.total(),
                "rows_in_assets": sum(role["in_assets"] for role in by_role.values()),
                "orphan_rows": self.orphans.total(),
                "rows_without_machine": self.without.total(),
                "rows_by_role": by_role,
                "connection_rows": sum(len(table) for table in self.tables if table.role == CONNECTIONS),
                **figures,
                "matches": dict(self.matches.most_common()),
                "reviews": len(self.reviews) + self.further,
            },
        )


def _keys(found: Resolution, roots: list[int]) -> list[str]:
    """A key for each asset that does not depend on the order of the files, each once."""
    bases = [_base(found, root) for root in roots]
    counted = Counter(bases)
    if len(counted) == len(bases):
        return bases
    taken: Counter[str] = Counter()
    keys = []
    for root, base in zip(roots, bases, strict=True):
        key = base if counted[base] == 1 else f"{base}|{_mark(found, root)}"
        taken[key] += 1
        keys.append(key if taken[key] == 1 else f"{key}|{taken[key]}")
    return keys


def _base(found: Resolution, root: int) -> str:
    units = found.units
    members = found.cluster(root)
    best = members[0]
    if len(members) > 1:
        best = min(members, key=lambda unit: (units.name[unit] is None, units.of(unit).standing, unit))
    name = units.name[best]
    return name if name is not None else f"id:{units.title(best).lower()}"


def _mark(found: Resolution, root: int) -> str:
    """What tells a thing from others of its name: the first sort of key that it has, the lowest of them."""
    units, members = found.units, found.cluster(root)
    for keys in (
        [key for unit in members for key in units.uuids(unit)],
        [key for unit in members if (key := units.serial(unit)) is not None],
        [key for unit in members for key in units.externals(unit)],
        [key for unit in members if (key := units.domain(unit)) is not None],
        [key for unit in members for key in units.macs(unit)],
        [key for unit in members for key in units.addresses(unit)],
    ):
        if keys:
            return min(keys)
    return "unmarked"


def _siblings(units: Units) -> dict[tuple[int, str], list[int]]:
    """The units of each name that a table gives to several things, where rows of that name do not say which they mean."""
    wanted = {(units.view[unit], units.name[unit]) for unit in units.doubtful}
    found: dict[tuple[int, str], list[int]] = defaultdict(list)
    if wanted:
        for unit, (view, name) in enumerate(zip(units.view, units.name, strict=True)):
            if name is not None and (view, name) in wanted:
                found[view, name].append(unit)
    return found


def _one_of_several(found: Resolution, unit: int, siblings: dict[tuple[int, str], list[int]]) -> Review:
    units = found.units
    name = units.title(unit)
    others = [other for other in siblings[units.view[unit], units.name[unit] or ""] if other != unit][:MAX_TOGETHER]
    return Review(
        "ambiguous_match",
        (unit, *others),
        f"{name} names several things in {units.of(unit).table.place} (told apart by {units.doubtful[unit]}), and"
        f" {units.place(unit)} does not say which one it means; it was kept as one of its own.",
        0.5,
        tuple(f"{units.place(other)}: {units.title(other)}" for other in others[:10]),
        f"Add the {units.doubtful[unit]} to the row, or leave the row out.",
    )


def _told_apart(found: Resolution, roots: tuple[int, ...]) -> Review:
    units = found.units
    name = units.title(roots[0])
    return Review(
        "possible_duplicate",
        roots,
        f"{name} names {len(roots)} machines that differ from table to table in their keys, or in domain and address or system;"
        " they were kept apart.",
        0.3,
        tuple(f"{units.place(root)}: {units.title(root)}" for root in roots[:10]),
        "If they are one machine, correct the key in one of the files.",
    )
