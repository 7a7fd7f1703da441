"""Figures of an inventory, counted as the assets go by."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from estate.assets import Asset
from estate.inventory.told import Told

EXPECTED = (
    "ip_addresses", "operating_system", "os_version", "cpu_cores", "memory_gb", "storage_gb", "environment",
    "location", "criticality", "business_owner", "technical_owner", "application_name", "power_state",
)  # fmt: skip
"""What should be known of every machine."""
OF_APPLICATIONS = ("environment", "criticality", "business_owner", "technical_owner")
"""What should be known of every application."""
MISSING_SEVERITY = dict.fromkeys(
    ("operating_system", "cpu_cores", "memory_gb", "storage_gb", "environment"), "medium"
) | dict.fromkeys(("ip_addresses", "os_version", "criticality", "business_owner", "application_name"), "low")
MAX_MISSING_ROWS = 2_000
"""Above so many assets that lack a fact one issue is raised for all."""
SUMMED = ("cpu_cores", "memory_gb", "storage_gb")
_Lacking = tuple[bool, ...]
"""For each of the expected facts whether it is unknown."""
_Kind = tuple[str, str | None, str | None, str | None, str | None, str | None, _Lacking]
"""(type, environment, family, operating system, version, power state, what is lacking)"""
_Part = tuple[str, str | None]
"""(type, why it is not moved as a machine)"""
_of_machine = attrgetter(*EXPECTED)
_of_application = attrgetter(*OF_APPLICATIONS)


@dataclass(slots=True)
class Size:
    """A sum over those that tell a size; `unknown` tell nothing and count nothing."""

    total: float = 0
    known: int = 0
    unknown: int = 0

    @property
    def count(self) -> int:
        """How many there are, whether they tell it or not."""
        return self.known + self.unknown

    def add(self, value: float | None) -> None:
        """Count one."""
        if value is None:
            self.unknown += 1
        else:
            self.total += value
            self.known += 1

    def join(self, other: Size) -> None:
        """Count what another sum has counted."""
        self.total += other.total
        self.known += other.known
        self.unknown += other.unknown

    def told(self) -> dict[str, Any]:
        """As JSON: `{sum, known, unknown}`, the sum null where nothing is known."""
        return {"sum": round(self.total, 2) if self.known else None, "known": self.known, "unknown": self.unknown}


class Tally:
    """Counts by type, environment, operating system and power state, sums with how many are unknown, and who lacks what.

    Applications have no operating system, power state or size, and are left out of those figures.
    """

    def __init__(self) -> None:
        self.assets = 0
        self.with_conflicts = 0
        self.not_migratable = 0
        self._kinds: Counter[_Kind] = Counter()
        """How many assets are alike in what is counted, and lack the same."""
        self._sums: dict[str, defaultdict[_Part, Size]] = {target: defaultdict(Size) for target in SUMMED}
        self._known: Counter[str] = Counter()
        self._lacking: Counter[str] = Counter()
        self._full: set[tuple[bool, _Lacking]] = set()
        """What assets lack of which no more need to be listed."""
        self._who: dict[str, list[tuple[str, str, dict[str, Any]]]] = {target: [] for target in EXPECTED}

    def add(self, asset: Asset) -> None:
        """One more asset."""
        self.assets += 1
        self.with_conflicts += bool(asset.conflicts)
        self.not_migratable += not asset.migratable
        asset_type = asset.asset_type
        is_machine = asset_type != "application"
        values = _of_machine(asset) if is_machine else _of_application(asset)
        lacking = tuple([value is None or value == [] for value in values])
        kind = (
            asset_type, asset.environment, asset.os_family, asset.operating_system, asset.os_version,
            asset.power_state, lacking,
        )  # fmt: skip
        self._kinds[kind] += 1
        if is_machine:
            part = (
                asset_type,
                None if asset.migratable else str(asset.classification.get("not_migratable") or asset_type),
            )
            for target, sums in self._sums.items():
                sums[part].add(getattr(asset, target))
        if (is_machine, lacking) not in self._full:
            self._list(asset, is_machine=is_machine, lacking=lacking)

    def _list(self, asset: Asset, *, is_machine: bool, lacking: _Lacking) -> None:
        full = True
        for target, lacks in zip(EXPECTED if is_machine else OF_APPLICATIONS, lacking, strict=True):
            if not lacks or (target == "os_version" and asset.operating_system is None):
                continue
            who = self._who[target]
            if len(who) <= MAX_MISSING_ROWS:
                who.append((asset.asset_id, asset.name, asset.sources[0]))
                full = False
        if full:
            self._full.add((is_machine, lacking))

    def _count(self) -> None:
        """Known and unknown by target."""
        self._known, self._lacking = Counter(), Counter()
        for (asset_type, *_, lacking), count in self._kinds.items():
            for target, lacks in zip(
                OF_APPLICATIONS if asset_type == "application" else EXPECTED, lacking, strict=True
            ):
                (self._lacking if lacks else self._known)[target] += count

    def tell_missing(self, told: Told) -> None:
        """A fact that no asset has is one issue; one that some lack is an issue for each of these (above 2,000 one for
        all)."""
        self._count()
        for target in EXPECTED:
            who, lacking = self._who[target], self._lacking[target]
            if not who:
                continue
            total = lacking + self._known[target]
            severity = MISSING_SEVERITY.get(target, "info")
            if lacking == total or len(who) > MAX_MISSING_ROWS:
                all_of_them = f"all {total}" if lacking == total else f"{lacking} of {total}"
                told.add(
                    "missing_field",
                    severity,
                    f"{target} is unknown for {all_of_them} assets; no source states it for them.",
                    field=target,
                )
                continue
            for asset_id, name, source in who:
                told.add(
                    "missing_value",
                    severity,
                    f"{name}: {target} is unknown.",
                    asset_id=asset_id,
                    field=target,
                    source=source,
                )

    def summary(self) -> dict[str, Any]:
        """The figures; `unknown` stands for null.

        A hypervisor host lends its size to the machines on it, and a template runs nowhere: `to_move` sums up what is
        to be moved, `not_moved` the rest by reason; `sum` and `by_type` have both. Completeness is the share (0..1) of
        the assets that should know a fact (`EXPECTED`, `OF_APPLICATIONS`) and do.
        """
        self._count()
        types, environments, families, systems, powers = (Counter[str | None]() for _ in range(5))
        for (asset_type, environment, family, product, version, power, _), count in self._kinds.items():
            types[asset_type] += count
            environments[environment] += count
            if asset_type != "application":
                families[family] += count
                systems[" ".join(part for part in (product, version) if part) or None] += count
                powers[power] += count
        return {
            "assets": self.assets,
            "by_type": _counted(types),
            "by_environment": _counted(environments),
            "by_os_family": _counted(families),
            "by_operating_system": _counted(systems),
            "by_power_state": _counted(powers),
            "totals": {target: self._total(target) for target in SUMMED},
            "with_conflicts": self.with_conflicts,
            "not_migratable": self.not_migratable,
            "completeness": {target: self._share(target) for target in EXPECTED},
        }

    def _total(self, target: str) -> dict[str, Any]:
        whole, to_move = Size(), Size()
        by_type: defaultdict[str, Size] = defaultdict(Size)
        not_moved: defaultdict[str, Size] = defaultdict(Size)
        for (asset_type, reason), one in self._sums[target].items():
            for part in (whole, by_type[asset_type], to_move if reason is None else not_moved[reason]):
                part.join(one)
        return {
            "to_move": to_move.told(),
            "not_moved": {reason: one.told() for reason, one in not_moved.items()},
            "by_type": {name: one.told()["sum"] for name, one in by_type.items() if one.known},
            **whole.told(),
        }

    def _share(self, target: str) -> float | None:
        expected = self._known[target] + self._lacking[target]
        return round(self._known[target] / expected, 4) if expected else None


def _counted(counter: Counter[Any]) -> dict[str, int]:
    found: Counter[str] = Counter()
    for value, count in counter.items():
        found[value or "unknown"] += count
    return dict(found.most_common())
