"""Figures of an inventory, counted as the assets go by."""

from __future__ import annotations

from collections import Counter, defaultdict
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
_of_machine = attrgetter(*EXPECTED)
_of_application = attrgetter(*OF_APPLICATIONS)


class Tally:
    """Counts by type, environment, operating system and power state, sums with how many are unknown, and who lacks what.

    Applications have no operating system, power state or size, and are left out of those figures.
    """

    def __init__(self) -> None:
        self.assets = 0
        self.with_conflicts = 0
        self.not_migratable = 0
        self._types: Counter[str] = Counter()
        self._environments: Counter[str | None] = Counter()
        self._families: Counter[str | None] = Counter()
        self._systems: Counter[tuple[str | None, str | None]] = Counter()
        self._powers: Counter[str | None] = Counter()
        self._sums: dict[str, defaultdict[str, float]] = {target: defaultdict(float) for target in SUMMED}
        self._known: Counter[str] = Counter()
        self._lacking: Counter[str] = Counter()
        self._patterns: Counter[tuple[tuple[str, ...], tuple[bool, ...]]] = Counter()
        """How many assets lack the same of the same expected facts."""
        self._full: defaultdict[tuple[tuple[str, ...], tuple[bool, ...]], bool] = defaultdict(bool)
        self._who: dict[str, list[tuple[str, str, dict[str, Any]]]] = {target: [] for target in EXPECTED}

    def add(self, asset: Asset) -> None:
        """One more asset."""
        self.assets += 1
        self.with_conflicts += bool(asset.conflicts)
        self.not_migratable += not asset.migratable
        self._types[asset.asset_type] += 1
        self._environments[asset.environment] += 1
        if asset.asset_type == "application":
            self._lacks(asset, OF_APPLICATIONS, _of_application(asset))
            return
        self._families[asset.os_family] += 1
        self._systems[asset.operating_system, asset.os_version] += 1
        self._powers[asset.power_state] += 1
        for target, sums in self._sums.items():
            value = getattr(asset, target)
            if value is not None:
                sums[asset.asset_type] += value
        self._lacks(asset, EXPECTED, _of_machine(asset))

    def _lacks(self, asset: Asset, expected: tuple[str, ...], values: tuple[Any, ...]) -> None:
        lacking = tuple([value is None or value == [] for value in values])
        self._patterns[expected, lacking] += 1
        if self._full[expected, lacking]:
            return
        full = True
        for target, lacks in zip(expected, lacking, strict=True):
            if not lacks or (target == "os_version" and asset.operating_system is None):
                continue
            who = self._who[target]
            if len(who) <= MAX_MISSING_ROWS:
                who.append((asset.asset_id, asset.name, asset.sources[0]))
                full = False
        self._full[expected, lacking] = full

    def _count(self) -> None:
        """Known and unknown by target, from the patterns."""
        self._known, self._lacking = Counter(), Counter()
        for (expected, lacking), count in self._patterns.items():
            for target, lacks in zip(expected, lacking, strict=True):
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

        Hypervisor hosts and the machines on them both count, so sums are also given by type. Completeness is the share
        (0..1) of the assets that should know a fact (`EXPECTED`, `OF_APPLICATIONS`) and do.
        """
        self._count()
        systems = Counter[str | None]()
        for (product, version), count in self._systems.items():
            systems[" ".join(part for part in (product, version) if part) or None] += count
        return {
            "assets": self.assets,
            "by_type": _counted(self._types),
            "by_environment": _counted(self._environments),
            "by_os_family": _counted(self._families),
            "by_operating_system": _counted(systems),
            "by_power_state": _counted(self._powers),
            "totals": {target: self._total(target) for target in SUMMED},
            "with_conflicts": self.with_conflicts,
            "not_migratable": self.not_migratable,
            "completeness": {target: self._share(target) for target in EXPECTED},
        }

    def _total(self, target: str) -> dict[str, Any]:
        by_type = self._sums[target]
        return {
            "sum": round(sum(by_type.values()), 2) if by_type else None,
            "by_type": {name: round(number, 2) for name, number in by_type.items()},
            "known": self._known[target],
            "unknown": self._lacking[target],
        }

    def _share(self, target: str) -> float | None:
        expected = self._known[target] + self._lacking[target]
        return round(self._known[target] / expected, 4) if expected else None


def _counted(counter: Counter[Any]) -> dict[str, int]:
    found: Counter[str] = Counter()
    for value, count in counter.items():
        found[value or "unknown"] += count
    return dict(found.most_common())
