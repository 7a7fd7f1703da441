"""Reads assets one by one, hands out what holds them back, and adds it up."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from uuid import UUID

from estate.assets import AssetFacts
from estate.bulk import bulk
from estate.debt.combinations import Part, unsupported
from estate.debt.findings import Findings
from estate.debt.summary import Tally
from estate.debt.support import Verdict, verdict
from estate.sizing import COMFORT, recommend
from estate.software import PRODUCTS, parse_product

MACHINES = frozenset({"server", "virtual_machine"})
WITHOUT_SYSTEM = frozenset({"application", "network_device", "network", "load_balancer", "storage", "security_group"})
FOLLOWS = {"IIS": "Windows Server"}
"""Software that is a part of a system: supported as long as that system is, which is a finding of its own."""
KNOWN_STATES = frozenset({"supported", "ending", "extended", "ended"})

Each = Callable[[dict[str, Any]], None]


@dataclass(slots=True)
class Debt:
    """What `assess` adds up; the findings and scores themselves were handed out."""

    issues: list[dict[str, Any]]
    summary: dict[str, Any]


@bulk
def assess(
    assets: Iterable[AssetFacts],
    namespace: UUID,
    reference_date: dt.date,
    *,
    each_finding: Each,
    each_score: Each,
    comfort: float = COMFORT,
) -> Debt:
    """Hand out the findings and the score of every asset as of `reference_date`, in the order of the assets.

    A finding is `{finding_id, kind, severity, asset_id, asset_name, message, evidence{}, remedy, points, confidence,
    source, sources[]}`, a score `{asset_id, name, score, support}`: 0..100, None where the operating system or its
    version is unknown and nothing was found; `support` is the state of the operating system.

    Kinds: `end_of_support` and `software_end_of_support` (critical after the last day of any support, high where
    extended support has to be paid for, medium where it comes by itself or the end is less than 365 days off, low less
    than 730), `unsupported_combination`, `32_bit_system`, `virtual_hardware`, `stated_end_of_support`, `powered_off`,
    `size_uncertain`, and from measured use `oversized` (a quarter or more of cores or memory to spare), `undersized`,
    `idle`, at the stated comfort factor. Doubts that are one for many assets are issues.

    Raises EstateError `comfort_invalid` for a comfort factor below 1.
    """
    work = _Assessment(namespace, reference_date, comfort)
    for asset in assets:
        findings = work.of(asset)
        for finding in findings:
            each_finding(finding)
        each_score(work.score(asset, findings))
    return Debt(work.issues(), work.summary())


class _Assessment:
    """The findings of assets one by one, and what they add up to."""

    def __init__(self, namespace: UUID, today: dt.date, comfort: float) -> None:
        self.namespace, self.today, self.comfort = namespace, today, comfort
        self.make = Findings(namespace, today)
        self.state = "unknown"
        self.software_states: set[str] = set()
        self.tally = Tally()

    def of(self, asset: AssetFacts) -> list[dict[str, Any]]:
        """The findings of an asset."""
        findings: list[dict[str, Any]] = []
        product, version = asset.operating_system, asset.os_version
        self.state = self._system(asset, findings)
        self.software_states = set()
        parts = [(product, version)] if product and version else []
        if asset.software:
            parts.extend(self._software(asset, findings))
        if len(parts) > 1:
            findings.extend(self.make.combination(asset, found) for found in unsupported(tuple(parts)))
        if len(asset.custom_attributes) > _EMPTY:
            findings.extend(self.make.attributes(asset))
        if asset.power_state == "off" or asset.conflicts:
            findings.extend(self.make.state_and_sizes(asset))
        if _measured(asset):
            size = recommend(asset, comfort=self.comfort)
            if size is not None:
                sized = self.make.sizing(asset, size)
                findings.extend(sized)
                self.tally.size(size, sized)
        return findings

    def _system(self, asset: AssetFacts, findings: list[dict[str, Any]]) -> str:
        product, version = asset.operating_system, asset.os_version
        if not product:
            if asset.asset_type in WITHOUT_SYSTEM:
                return "not_applicable"
            if asset.asset_type in MACHINES:
                self.tally.without_system.add(asset)
            return "unknown"
        if not version:
            self.tally.without_version[product].add(asset)
            return "unknown"
        found = verdict(product, version, self.today)
        if found.severity is not None:
            findings.append(self.make.end_of_support(asset, product, version, found))
            self.tally.support("system", product, version, found.state)
        elif found.state == "not_in_table":
            self.tally.untold[product, version].add(asset)
        elif found.state == "uncertain":
            self.tally.uncertain[product, version].add(asset)
        return found.state

    def _software(self, asset: AssetFacts, findings: list[dict[str, Any]]) -> list[Part]:
        """The software of an asset that is known by name and version; each counts once, however often it is said."""
        parts: dict[Part, None] = {}
        for item in asset.software:
            known = _resolved(item.get("product"), item.get("version"))
            if known is None:
                self.tally.software["unknown_product"] += 1
                continue
            product, version = known
            if version is None:
                self.tally.software["unknown_version"] += 1
                continue
            if (product, version) in parts:
                continue
            parts[product, version] = None
            found = verdict(product, version, self.today)
            state = self._software_state(asset, product, version, found)
            self.tally.software[state] += 1
            self.software_states.add(state)
            if found.severity is not None and state == found.state:
                findings.append(self.make.end_of_support(asset, product, version, found, software=item))
                self.tally.support("software", product, version, state)
        return list(parts)

    def _software_state(self, asset: AssetFacts, product: str, version: str, found: Verdict) -> str:
        system = FOLLOWS.get(product)
        if system is not None:
            told_by_system = asset.operating_system == system and self.state in KNOWN_STATES
            if told_by_system or found.state == "not_in_table":
                return "follows_operating_system"
        if found.state == "not_in_table":
            self.tally.untold_software[product, version].add(asset)
        elif found.state == "uncertain":
            self.tally.uncertain_software[product, version].add(asset)
        return found.state

    def score(self, asset: AssetFacts, findings: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """The score of the asset whose findings were just made."""
        points = sorted((finding["points"] for finding in findings), reverse=True)
        score: float | None = round(min(100.0, points[0] + sum(points[1:]) / 10), 1) if points else 0.0
        by_system = asset.operating_system or asset.asset_type in MACHINES
        states = {self.state} if by_system else self.software_states
        if not any(points) and not states & KNOWN_STATES:
            score = None
        self.tally.add(asset, findings, score, self.state)
        return {"asset_id": asset.asset_id, "name": asset.name, "score": score, "support": self.state}

    def issues(self) -> list[dict[str, Any]]:
        """What an owner should look at, one issue for all assets of a kind."""
        return list(self.tally.issues(self.namespace))

    def summary(self) -> dict[str, Any]:
        """The figures of the whole estate."""
        return {"reference_date": self.today.isoformat(), **self.tally.summary(self.comfort)}


_EMPTY = len(b"{}")


def _measured(asset: AssetFacts) -> bool:
    single = asset.cpu_utilization_percent is not None or asset.memory_utilization_percent is not None
    return single or bool(asset.utilization)


@lru_cache(maxsize=65536)
def _resolved(product: str | None, version: str | None) -> tuple[str, str | None] | None:
    """The product by the name it has in our tables; None where it is not known."""
    if not product:
        return None
    if product in PRODUCTS:
        return product, version or None
    parsed = parse_product(product, version)
    return (parsed.product, parsed.version) if parsed else None
