"""What holds an estate back: systems out of support and other debt, with severity, evidence, remedy and a score."""

from __future__ import annotations

import csv
import datetime as dt
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any
from uuid import UUID, uuid5

from estate.bulk import bulk
from estate.issues import issue

POINTS = {"critical": 100, "high": 70, "medium": 40, "low": 15, "info": 0}
FORMULA = (
    "asset score = min(100, points of its worst finding + a tenth of the points of each other one), with"
    " critical 100, high 70,"
    " medium 40, low 15, info 0; estate score = mean over the assets whose operating system and version are known"
)
ENDING_SOON_DAYS = 365
ENDING_DAYS = 730


@dataclass(frozen=True, slots=True)
class Support:
    """Until when a product version is supported; `extended_end` is support that has to be paid for, or is by
    volunteers."""

    product: str
    version: str
    end_of_support: dt.date
    extended_end: dt.date | None
    source: str


@dataclass(slots=True)
class Debt:
    """What `assess` found."""

    findings: list[dict[str, Any]]
    """`{finding_id, kind, severity, asset_id, asset_name, message, evidence{}, remedy, points, confidence, source,
    sources[]}`"""
    scores: list[dict[str, Any]]
    """`{asset_id, name, score}`; score 0..100 or None where operating system or version is unknown and nothing was
    found."""
    issues: list[dict[str, Any]]
    summary: dict[str, Any]


@cache
def support_table() -> dict[tuple[str, str], Support]:
    """The dated table shipped with the package, `data/end_of_support.csv`, by (product, version)."""
    text = files("estate").joinpath("data/end_of_support.csv").read_text(encoding="utf-8")
    table = {}
    for row in csv.DictReader(text.splitlines()):
        entry = Support(
            row["product"],
            row["version"],
            dt.date.fromisoformat(row["end_of_support"]),
            dt.date.fromisoformat(row["extended_end"]) if row["extended_end"] else None,
            row["source"],
        )
        table[entry.product, entry.version] = entry
    return table


@cache
def find_support(product: str, version: str) -> Support | None:
    """The entry of a product version: exact, else without service pack, else by its leading numbers (`7.9` -> `7`)."""
    table = support_table()
    tried = [version, re.sub(r"\s+SP\d$", "", version)]
    numbers = tried[-1].split(".")
    tried += [".".join(numbers[:count]) for count in range(len(numbers) - 1, 0, -1)]
    if re.fullmatch(r"\d+", tried[1]):
        tried.append(f"{tried[1]}.0")
    return next((table[product, candidate] for candidate in tried if (product, candidate) in table), None)


@bulk
def assess(assets: Iterable[dict[str, Any]], namespace: UUID, reference_date: dt.date) -> Debt:
    """Findings and scores of all assets as of `reference_date`.

    End of support: after the extended end, or after the end where there is no extended support, critical; between the
    two high;
    less than 12 months before the end medium, less than 24 low. A version that may be one of several counts only if
    all of them
    agree. 32-bit systems medium, powered-off machines info (candidates for retirement), conflicts of size low.
    """
    findings: list[dict[str, Any]] = []
    scores: list[dict[str, Any]] = []
    issues: list[dict[str, Any]] = []
    untold: Counter[str] = Counter()
    status: Counter[str] = Counter()
    for asset in assets:
        found: list[dict[str, Any]] = []
        product, version = asset["operating_system"], asset["os_version"]
        state = "unknown"
        if product and version:
            state, finding = _support_state(asset, product, version, namespace, reference_date)
            if finding is not None:
                found.append(finding)
            if state == "not_in_table":
                untold[f"{product} {version}"] += 1
            elif state == "uncertain":
                issues.append(
                    issue(
                        namespace,
                        "version_uncertain",
                        "low",
                        f"{asset['name']}: {product} {version} is not exact; whether it is supported cannot be told.",
                        asset_id=asset["asset_id"],
                        field="os_version",
                        source=asset["sources"][0],
                    )
                )
        status[state] += 1
        found.extend(_other_findings(asset, namespace))
        findings.extend(found)
        points = sorted((POINTS[finding["severity"]] for finding in found), reverse=True)
        score = round(min(100.0, points[0] + sum(points[1:]) / 10), 1) if points else 0.0
        unknown = state in {"unknown", "uncertain", "not_in_table"} and not any(points)
        scores.append({"asset_id": asset["asset_id"], "name": asset["name"], "score": None if unknown else score})
    for name, count in untold.most_common():
        issues.append(
            issue(
                namespace,
                "not_in_support_table",
                "low",
                f"{name} ({count} assets) is not in the end-of-support table.",
                field="os_version",
            )
        )
    return Debt(findings, scores, issues, _summary(findings, scores, status, reference_date))


def _support_state(
    asset: dict[str, Any], product: str, version: str, namespace: UUID, today: dt.date
) -> tuple[str, dict[str, Any] | None]:
    """(state, finding); state is one of supported, ending, extended, ended, uncertain, not_in_table."""
    candidates = version.split("/") if "/" in version else [version]
    if version.endswith(" or later"):
        return "uncertain", None
    entries = [find_support(product, candidate) for candidate in candidates]
    known = [entry for entry in entries if entry is not None]
    if not known:
        return "not_in_table", None
    # of several candidates the most recent decides: only what is true of it is true of all
    entry = max(known, key=lambda support: support.extended_end or support.end_of_support)
    state, severity, said = _state(entry, today)
    if len(candidates) > 1 and state not in {"ended", "supported"}:
        return "uncertain", None
    if severity is None:
        return state, None
    name = f"{product} {version}"
    finding = _finding(
        namespace,
        asset,
        "end_of_support",
        severity,
        f"{asset['name']} runs {name}: {said}.",
        evidence={
            "operating_system": product,
            "os_version": version,
            "end_of_support": entry.end_of_support.isoformat(),
            "extended_end": entry.extended_end.isoformat() if entry.extended_end else None,
            "reference_date": today.isoformat(),
            "source": entry.source,
        },
        remedy=_remedy(product, state),
    )
    return state, finding


def _state(entry: Support, today: dt.date) -> tuple[str, str | None, str]:
    end, extended = entry.end_of_support, entry.extended_end
    last = extended or end
    if today > last:
        return (
            "ended",
            "critical",
            f"support ended on {end}" + (f", extended support on {extended}" if extended else ""),
        )
    if today > end:
        return "extended", "high", f"support ended on {end}; extended support ends on {extended}"
    left = (end - today).days
    if left < ENDING_SOON_DAYS:
        return "ending", "medium", f"support ends on {end}, in {left} days"
    if left < ENDING_DAYS:
        return "ending", "low", f"support ends on {end}, in {left} days"
    return "supported", None, ""


_SUCCESSORS = {
    "Windows Server": "Windows Server 2022 or 2025",
    "Windows": "Windows 11",
    "CentOS": "Rocky Linux, AlmaLinux or Red Hat Enterprise Linux 9",
    "CentOS Stream": "Rocky Linux, AlmaLinux or Red Hat Enterprise Linux 9",
    "Red Hat Enterprise Linux": "Red Hat Enterprise Linux 9",
    "Oracle Linux": "Oracle Linux 9",
    "Ubuntu": "Ubuntu 24.04",
    "Debian": "Debian 13",
    "SUSE Linux Enterprise Server": "SUSE Linux Enterprise Server 15 SP7",
    "Amazon Linux": "Amazon Linux 2023",
    "VMware ESXi": "ESXi 8.0, or move its machines to the cloud",
}


def _remedy(product: str, state: str) -> str:
    goal = _SUCCESSORS.get(product, f"a supported version of {product}")
    if state == "extended":
        return f"Buy extended support until it moves, or upgrade to {goal}."
    if state == "ending":
        return f"Plan the upgrade to {goal} together with the migration."
    return f"Upgrade to {goal}, or retire it; do not migrate it as it is."


def _other_findings(asset: dict[str, Any], namespace: UUID) -> list[dict[str, Any]]:
    found = []
    if asset["custom_attributes"].get("os_bits") == 32:
        found.append(
            _finding(
                namespace,
                asset,
                "32_bit_system",
                "medium",
                f"{asset['name']} runs a 32-bit operating system.",
                evidence={"operating_system": asset["operating_system"], "os_bits": 32},
                remedy="Rebuild on a 64-bit system; public clouds hardly run 32-bit guests.",
            )
        )
    if asset["power_state"] == "off":
        found.append(
            _finding(
                namespace,
                asset,
                "powered_off",
                "info",
                f"{asset['name']} is powered off.",
                evidence={"power_state": "off"},
                remedy="Ask its owner whether it is still needed; retire it if not.",
            )
        )
    sizes = [
        conflict["field"]
        for conflict in asset["conflicts"]
        if conflict["field"] in {"cpu_cores", "memory_gb", "storage_gb"}
    ]
    if sizes:
        found.append(
            _finding(
                namespace,
                asset,
                "size_uncertain",
                "low",
                f"{asset['name']}: sources disagree on {', '.join(sizes)}.",
                evidence={
                    conflict["field"]: [value["value"] for value in conflict["values"]]
                    for conflict in asset["conflicts"]
                    if conflict["field"] in sizes
                },
                remedy="Settle the size before it is priced.",
            )
        )
    return found


def _finding(
    namespace: UUID,
    asset: dict[str, Any],
    kind: str,
    severity: str,
    message: str,
    *,
    evidence: dict[str, Any],
    remedy: str,
) -> dict[str, Any]:
    return {
        "finding_id": str(uuid5(namespace, f"finding|{kind}|{asset['asset_id']}")),
        "kind": kind,
        "severity": severity,
        "asset_id": asset["asset_id"],
        "asset_name": asset["name"],
        "message": message,
        "evidence": evidence,
        "remedy": remedy,
        "points": POINTS[severity],
        "confidence": asset["confidence"],
        "source": asset["sources"][0] if asset["sources"] else None,
        "sources": asset["sources"][:5],
    }


def _summary(
    findings: list[dict[str, Any]], scores: list[dict[str, Any]], status: Counter[str], reference_date: dt.date
) -> dict[str, Any]:
    known = [score["score"] for score in scores if score["score"] is not None]
    systems: dict[bool, Counter[str]] = {True: Counter(), False: Counter()}
    for finding in findings:
        if finding["kind"] == "end_of_support":
            evidence = finding["evidence"]
            systems[finding["severity"] in {"critical", "high"}][
                f"{evidence['operating_system']} {evidence['os_version']}"
            ] += 1
    return {
        "reference_date": reference_date.isoformat(),
        "score": round(sum(known) / len(known), 1) if known else None,
        "formula": FORMULA,
        "assets_scored": len(known),
        "assets_not_scored": len(scores) - len(known),
        "findings": len(findings),
        "by_severity": {
            severity: count for severity in POINTS if (count := sum(1 for f in findings if f["severity"] == severity))
        },
        "by_kind": dict(Counter(finding["kind"] for finding in findings).most_common()),
        "support": dict(status.most_common()),
        "out_of_support_systems": dict(systems[True].most_common(20)),
        "systems_ending_soon": dict(systems[False].most_common(20)),
        "worst": [
            {"asset_id": score["asset_id"], "name": score["name"], "score": score["score"]}
            for score in sorted((s for s in scores if s["score"]), key=lambda s: (-s["score"], s["name"]))[:10]
        ],
    }
