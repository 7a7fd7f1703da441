"""The findings of one asset: one shape for all, with evidence, remedy and points."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import msgspec

from estate.assets import AssetFacts
from estate.debt.combinations import Conflict, without_platform
from estate.debt.support import Verdict, remedy
from estate.ids import id_of

POINTS = {"critical": 100, "high": 70, "medium": 40, "low": 15, "info": 0}
OVERSIZED_SHARE = 0.25
"""A machine is oversized where a quarter of its cores or of its memory, and at least one, would not be missed."""
EXACT_ENOUGH, UNVERIFIED = 0.9, 0.7
"""Confidence where only the release is in the table, not the version; and where a row was not compared with its source."""
_SIZES = ("cpu_cores", "memory_gb", "storage_gb")


@dataclass(frozen=True, slots=True)
class _Told:
    """What is the same in the findings of one product version."""

    severity: str
    said: str
    evidence: dict[str, Any]
    remedy: str


def _told(product: str, version: str, found: Verdict, today: str) -> _Told:
    entry = found.entry
    if entry is None or found.severity is None:
        raise ValueError("a verdict without a severity makes no finding")
    evidence = {
        "product": product,
        "version": version,
        "state": found.state,
        "end_of_support": entry.end_of_support.isoformat() if entry.end_of_support else None,
        "extended_end": entry.extended_end.isoformat() if entry.extended_end else None,
        "extended_kind": entry.extended_kind,
        "reference_date": today,
        "source": entry.source,
        **_verified(entry.checked, "date"),
    }
    return _Told(found.severity, f"{product} {version}: {found.said}.", evidence, remedy(product, version, found))


def _verified(checked: dt.date | None, what: str = "combination") -> dict[str, Any]:
    """When what a table says was compared with its source, for the evidence."""
    if checked is None:
        return {"checked": None, "note": f"{what} not verified"}
    return {"checked": checked.isoformat()}


def _sure(exact: bool, checked: dt.date | None) -> float:
    return round((1.0 if exact else EXACT_ENOUGH) * (1.0 if checked else UNVERIFIED), 2)


class Findings:
    """Makes the findings of assets as of a day; `namespace` makes their ids, which stay the same on a second run."""

    def __init__(self, namespace: UUID, today: dt.date) -> None:
        self.namespace = namespace
        self.today = today.isoformat()
        self.told: dict[tuple[str, str], _Told] = {}

    def finding(
        self,
        asset: AssetFacts,
        kind: str,
        severity: str,
        message: str,
        *,
        evidence: dict[str, Any],
        remedy: str,
        key: str = "",
        source: dict[str, Any] | None = None,
        confidence: float = 1.0,
    ) -> dict[str, Any]:
        """One finding; `key` tells several of a kind apart, `source` is where it was said."""
        said_in = [source] if source else asset.sources[:5]
        return {
            "finding_id": id_of(self.namespace, f"finding|{kind}|{asset.asset_id}{key}"),
            "kind": kind,
            "severity": severity,
            "asset_id": asset.asset_id,
            "asset_name": asset.name,
            "message": message,
            "evidence": evidence,
            "remedy": remedy,
            "points": POINTS[severity],
            "confidence": confidence,
            "source": said_in[0] if said_in else None,
            "sources": said_in,
        }

    def end_of_support(
        self,
        asset: AssetFacts,
        product: str,
        version: str,
        found: Verdict,
        *,
        software: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """The end of support of the operating system, or of a piece of software on it."""
        told = self.told.get((product, version))
        if told is None:
            told = self.told[product, version] = _told(product, version, found, self.today)
        verb = "uses" if asset.asset_type == "application" else "runs"
        return self.finding(
            asset,
            "end_of_support" if software is None else "software_end_of_support",
            told.severity,
            f"{asset.name} {verb} {told.said}",
            evidence=told.evidence.copy(),
            remedy=told.remedy,
            key="" if software is None else f"|{product}|{version}",
            source=None if software is None else software.get("source"),
            confidence=_sure(found.exact, found.entry.checked if found.entry else None),
        )

    def combination(self, asset: AssetFacts, conflict: Conflict) -> dict[str, Any]:
        """Two parts of the asset that the vendor does not support together."""
        one, (product, version) = conflict.combination, conflict.part
        beside = " and ".join(f"{name} {number}" for name, number in conflict.platforms)
        return self.finding(
            asset,
            "unsupported_combination",
            one.severity,
            f"{asset.name} has {product} {version} together with {beside}: {one.statement}.",
            evidence={
                "product": product,
                "version": version,
                "platform": beside,
                "statement": one.statement,
                "source": one.source,
                **_verified(one.checked),
            },
            remedy=f"{one.remedy}.",
            key=f"|{product}|{version}|{beside}",
            confidence=_sure(True, one.checked),
        )

    def attributes(self, asset: AssetFacts) -> list[dict[str, Any]]:
        """What the estate's own attributes tell: bits, virtual hardware, an end of support that its owner states."""
        raw = bytes(asset.custom_attributes)
        if not _TOLD.search(raw):
            return []
        told: dict[str, Any] = msgspec.json.decode(raw)
        found = []
        if told.get("os_bits") == 32:
            found.append(
                self.finding(
                    asset,
                    "32_bit_system",
                    "medium",
                    f"{asset.name} runs a 32-bit operating system.",
                    evidence={"operating_system": asset.operating_system, "os_bits": 32},
                    remedy="Rebuild on a 64-bit system; public clouds hardly run 32-bit guests.",
                )
            )
        hardware = next((_hardware(told[name]) for name in told if _HARDWARE.fullmatch(name)), None)
        conflict = without_platform("VMware virtual hardware", hardware, "VMware HCX") if hardware else None
        if conflict is not None:
            one = conflict.combination
            found.append(
                self.finding(
                    asset,
                    "virtual_hardware",
                    one.severity,
                    f"{asset.name} has virtual hardware version {hardware}: {one.statement}.",
                    evidence={"version": hardware, "source": one.source, **_verified(one.checked)},
                    remedy=f"{one.remedy}.",
                    confidence=_sure(True, one.checked),
                )
            )
        return [*found, *self._stated_end(asset, told.get("end_of_support"))]

    def _stated_end(self, asset: AssetFacts, stated: Any) -> list[dict[str, Any]]:
        try:
            end = dt.date.fromisoformat(stated[:10]) if isinstance(stated, str) else None
        except ValueError:
            return []
        today = dt.date.fromisoformat(self.today)
        if end is None or (end - today).days >= 730:
            return []
        ended = end < today
        severity = "high" if ended else "medium" if (end - today).days < 365 else "low"
        return [
            self.finding(
                asset,
                "stated_end_of_support",
                severity,
                f"{asset.name}: the file says that its support {'ended' if ended else 'ends'} on {end}.",
                evidence={"end_of_support": end.isoformat(), "reference_date": self.today},
                remedy="Ask its owner what follows, before it is migrated.",
            )
        ]

    def state_and_sizes(self, asset: AssetFacts) -> list[dict[str, Any]]:
        """Powered off; sources that disagree on a size."""
        found = []
        if asset.power_state == "off":
            found.append(
                self.finding(
                    asset,
                    "powered_off",
                    "info",
                    f"{asset.name} is powered off.",
                    evidence={"power_state": "off"},
                    remedy="Ask its owner whether it is still needed; retire it if not.",
                )
            )
        disputed = [conflict for conflict in asset.conflicts if conflict["field"] in _SIZES]
        if disputed:
            found.append(
                self.finding(
                    asset,
                    "size_uncertain",
                    "low",
                    f"{asset.name}: sources disagree on {', '.join(conflict['field'] for conflict in disputed)}.",
                    evidence={
                        conflict["field"]: [value["value"] for value in conflict["values"]] for conflict in disputed
                    },
                    remedy="Settle the size before it is priced.",
                )
            )
        return found

    def sizing(self, asset: AssetFacts, size: dict[str, Any]) -> list[dict[str, Any]]:
        """Oversized, undersized, idle, from the recommendation of `estate.sizing.recommend`."""
        found = []
        spare, short = [], []
        for now, saving in (("cores_now", "cores_saving"), ("memory_now", "memory_saving")):
            if size[saving] is None or not size[now]:
                continue
            if size[saving] < 0:
                short.append(now)
            elif size[saving] >= max(1, OVERSIZED_SHARE * size[now]):
                spare.append(now)
        if "idle" in size["flags"]:
            found.append(self._sized(asset, "idle", list(_RESOURCES), size))
        elif spare:
            found.append(self._sized(asset, "oversized", spare, size))
        if short:
            found.append(self._sized(asset, "undersized", short, size))
        return found

    def _sized(self, asset: AssetFacts, kind: str, resources: list[str], size: dict[str, Any]) -> dict[str, Any]:
        rows = [(size[now], size[to], unit) for now in resources for to, unit in [_RESOURCES[now]]]
        rows = [row for row in rows if None not in row]
        needed = "would be needed" if kind == "undersized" else "would do"
        figures = " and ".join(f"{_amount(now, unit)} where {_amount(to, unit)} {needed}" for now, to, unit in rows)
        wanted = " and ".join(_amount(to, unit) for _, to, unit in rows)
        advice = {
            "idle": "Ask its owner whether it is still needed; retire it if not",
            "oversized": f"Migrate it at {wanted}",
            "undersized": f"Migrate it at {wanted}",
        }[kind]
        if size["basis"] == "average" and kind == "oversized":
            advice += ", once its peaks have been measured: an average says nothing of them"
        return self.finding(
            asset,
            kind,
            "medium" if kind == "undersized" else "low",
            f"{asset.name} is {kind}{': ' if figures else ''}{figures}"
            f" (by its {_BASES[size['basis']]} use, comfort factor {size['comfort']:g}).",
            evidence={
                **{name: size[name] for name in ("cores_now", "cpu_cores", "memory_now", "memory_gb")},
                "basis": size["basis"],
                "comfort": size["comfort"],
                "formula": size["formula"],
            },
            remedy=f"{advice}.",
        )


_TOLD = re.compile(
    rb'"os_bits"\s*:\s*32\b|"end_of_support"\s*:\s*"'
    rb'|"(?:vm )?(?:hw|hardware) version"\s*:\s*"?\s*(?:vmx-)?0*[1-9](?:\.0)?\s*"?\s*[,}]',
    re.IGNORECASE,
)
"""Most assets tell none of it: found without decoding their attributes."""
_HARDWARE = re.compile(r"(?:vm )?(?:hw|hardware) version", re.IGNORECASE)
_RESOURCES = {
    "cores_now": ("cpu_cores", "core"),
    "memory_now": ("memory_gb", "GiB"),
}
_BASES = {"p95": "P95", "peak": "peak", "average": "average"}


def _hardware(value: Any) -> str | None:
    found = re.fullmatch(r"(?:vmx-)?0*(\d{1,2})(?:\.0)?", str(value).strip(), re.IGNORECASE)
    return found[1] if found else None


def _amount(value: float, unit: str) -> str:
    plural = "s" if unit == "core" and value != 1 else ""
    return f"{round(value, 2):g} {unit}{plural}"
