"""What the findings of all assets add up to, kept as counts and a few names."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar
from uuid import UUID

from estate.assets import AssetFacts
from estate.debt.findings import POINTS
from estate.issues import issue

FORMULA = (
    "asset score = min(100, points of its worst finding + a tenth of the points of each other one), with"
    " critical 100, high 70, medium 40, low 15, info 0; estate score = mean over the assets whose operating system"
    " (of an application or a database without one: whose software) is known with its version, or of which something was"
    " found"
)
SIZING_FORMULA = (
    "recommended = size now x use (P95, else peak, else average) x comfort factor, rounded up; totals over the machines"
    " of which both the size and its use are known"
)
_NAMED = 5
_WORST = 10
_TOP = 20
_STATES = ("ended", "extended", "ending")
_TOTALS = {
    "cores_now": "cpu_cores_now",
    "cpu_cores": "cpu_cores_recommended",
    "memory_now": "memory_gb_now",
    "memory_gb": "memory_gb_recommended",
}
Version = tuple[str, str]
Key = TypeVar("Key")


@dataclass(slots=True)
class Group:
    """Assets of which one thing is true: how many, the first few by name."""

    count: int = 0
    names: list[str] = field(default_factory=list)
    first: AssetFacts | None = None

    def add(self, asset: AssetFacts) -> None:
        """One more."""
        self.count += 1
        if self.first is None:
            self.first = asset
        if len(self.names) < _NAMED:
            self.names.append(asset.name)

    @property
    def listed(self) -> str:
        """`a, b, c, d, e and 7 more`."""
        more = self.count - len(self.names)
        return ", ".join(self.names) + (f" and {more} more" if more else "")

    def issue(self, namespace: UUID, kind: str, severity: str, message: str, *, about: str) -> dict[str, Any]:
        """One issue for all of them; of a single asset it is that asset's."""
        first = self.first
        return issue(
            namespace,
            kind,
            severity,
            message,
            asset_id=first.asset_id if first and self.count == 1 else None,
            field=about,
            source=first.sources[0] if first and first.sources else None,
        )

    def told(self, thing: str = "asset") -> str:
        """`1 asset`, `3 assets`."""
        return f"{self.count} {thing}{'' if self.count == 1 else 's'}"


def _groups() -> defaultdict[Version, Group]:
    return defaultdict(Group)


@dataclass(slots=True)
class Tally:
    """Counts over all assets."""

    assets: int = 0
    findings: int = 0
    severities: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    systems: Counter[str] = field(default_factory=Counter)
    """Assets by support state of their operating system."""
    software: Counter[str] = field(default_factory=Counter)
    """Pieces of software by support state."""
    supports: Counter[tuple[str, str, str, str]] = field(default_factory=Counter)
    """Findings of support by (system | software, product, version, state)."""
    untold: defaultdict[Version, Group] = field(default_factory=_groups)
    untold_software: defaultdict[Version, Group] = field(default_factory=_groups)
    uncertain: defaultdict[Version, Group] = field(default_factory=_groups)
    uncertain_software: defaultdict[Version, Group] = field(default_factory=_groups)
    without_version: defaultdict[str, Group] = field(default_factory=lambda: defaultdict(Group))
    without_system: Group = field(default_factory=Group)
    scored: int = 0
    points: float = 0.0
    worst: list[dict[str, Any]] = field(default_factory=list)
    sizes: Counter[str] = field(default_factory=Counter)
    totals: dict[str, float] = field(default_factory=lambda: dict.fromkeys(_TOTALS, 0))

    def add(self, asset: AssetFacts, findings: Sequence[Mapping[str, Any]], score: float | None, state: str) -> None:
        """Count one asset."""
        self.assets += 1
        self.systems[state] += 1
        for finding in findings:
            self.severities[finding["severity"]] += 1
            self.kinds[finding["kind"]] += 1
        self.findings += len(findings)
        if score is None:
            return
        self.scored += 1
        self.points += score
        if score:
            self.worst.append({"asset_id": asset.asset_id, "name": asset.name, "score": score})
            if len(self.worst) > 1000:
                self.worst = _worst(self.worst)

    def support(self, of: str, product: str, version: str, state: str) -> None:
        """Count one finding of support."""
        self.supports[of, product, version, state] += 1

    def size(self, size: Mapping[str, Any], findings: Sequence[Mapping[str, Any]]) -> None:
        """Count one machine whose use is known."""
        self.sizes["measured"] += 1
        self.sizes[size["basis"]] += 1
        for finding in findings:
            self.sizes[finding["kind"]] += 1
        if not findings:
            self.sizes["fitting"] += 1
        for now, to in (("cores_now", "cpu_cores"), ("memory_now", "memory_gb")):
            if size[now] is not None and size[to] is not None:
                self.totals[now] += size[now]
                self.totals[to] += size[to]

    def issues(self, namespace: UUID) -> Iterator[dict[str, Any]]:
        """One issue for all assets of which a thing cannot be told."""
        for about, groups in (("os_version", self.uncertain), ("software", self.uncertain_software)):
            for (product, version), group in _most(groups):
                said = f"{product} {version} is not exact, so whether it is supported cannot be told"
                message = f"{said}: {group.told()} ({group.listed})."
                yield group.issue(namespace, "version_uncertain", "low", message, about=about)
        for about, groups in (("os_version", self.untold), ("software", self.untold_software)):
            for (product, version), group in _most(groups):
                message = f"{product} {version} ({group.told()}) is not in the end-of-support table."
                yield group.issue(namespace, "not_in_support_table", "low", message, about=about)
        for product, group in _most(self.without_version):
            said = f"{product} without a version, so whether it is supported cannot be told"
            message = f"{said}: {group.told()} ({group.listed})."
            yield group.issue(namespace, "version_unknown", "low", message, about="os_version")
        if (group := self.without_system).count:
            message = f"The operating system of {group.told('machine')} is unknown: {group.listed}."
            yield group.issue(namespace, "operating_system_unknown", "medium", message, about="operating_system")

    def summary(self, comfort: float) -> dict[str, Any]:
        """The figures of the whole estate, `{score, formula, findings, by_severity, ...}`."""
        return {
            "score": round(self.points / self.scored, 1) if self.scored else None,
            "formula": FORMULA,
            "assets_scored": self.scored,
            "assets_not_scored": self.assets - self.scored,
            "findings": self.findings,
            "by_severity": {severity: count for severity in POINTS if (count := self.severities[severity])},
            "by_kind": dict(self.kinds.most_common()),
            "by_product": self._by_product(),
            "support": dict(self.systems.most_common()),
            "software_support": dict(self.software.most_common()),
            "out_of_support_systems": self._versions("system", "ended"),
            "systems_in_extended_support": self._versions("system", "extended"),
            "systems_ending_soon": self._versions("system", "ending"),
            "software_out_of_support": self._versions("software", "ended"),
            "software_in_extended_support": self._versions("software", "extended"),
            "software_ending_soon": self._versions("software", "ending"),
            "sizing": self._sizing(comfort),
            "worst": _worst(self.worst),
        }

    def _versions(self, of: str, state: str) -> dict[str, int]:
        """The most frequent product versions in a state."""
        counts = Counter(
            {f"{key[1]} {key[2]}": count for key, count in self.supports.items() if (key[0], key[3]) == (of, state)}
        )
        return dict(counts.most_common(_TOP))

    def _by_product(self) -> dict[str, dict[str, int]]:
        """Of the products with the most findings of support: how many in each state."""
        counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for (_, product, _, state), count in self.supports.items():
            counts[product][state] += count
        top = sorted(counts, key=lambda product: (-counts[product].total(), product))[:_TOP]
        return {
            product: {state: counts[product][state] for state in _STATES if counts[product][state]} for product in top
        }

    def _sizing(self, comfort: float) -> dict[str, Any]:
        """Sizes now and recommended, over the machines whose use is known; None where there are none."""
        known = bool(self.sizes["measured"])
        return {
            "formula": SIZING_FORMULA,
            "comfort": comfort,
            "measured": self.sizes["measured"],
            "by_basis": {basis: self.sizes[basis] for basis in ("p95", "peak", "average") if self.sizes[basis]},
            **{kind: self.sizes[kind] for kind in ("oversized", "undersized", "idle", "fitting")},
            **{said: round(self.totals[name], 2) if known else None for name, said in _TOTALS.items()},
        }


def _most(groups: Mapping[Key, Group]) -> list[tuple[Key, Group]]:
    return sorted(groups.items(), key=lambda pair: (-pair[1].count, str(pair[0])))


def _worst(scores: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(scores, key=lambda score: (-score["score"], score["name"]))[:_WORST]
