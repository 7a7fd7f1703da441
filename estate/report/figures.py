"""The figures of a report, counted from the rows themselves in one pass over each kind."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from heapq import nlargest
from typing import Any

from estate.bulk import bulk
from estate.inventory.figures import Size
from estate.issues import SEVERITIES
from estate.report.charts import Span
from estate.report.data import ReportData
from estate.sizing import COMFORT, recommend

Row = Mapping[str, Any]

UNKNOWN = "unknown"
SIZES = ("cpu_cores", "memory_gb", "storage_gb")
FACETS = ("asset_type", "environment", "operating_system", "power_state", "location", "criticality")
APPLICATION, OF_MACHINES = "application", frozenset({"operating_system", "power_state"})
"""An application has no operating system, power state or size; it is left out of those figures."""
FIRST_ROWS = 10
"""So many rows stand behind a figure on the page; all of them are in the workbook."""
LISTED = 40


@dataclass(slots=True)
class Tally:
    """How many rows have each value, and the first of them."""

    counts: Counter[str] = field(default_factory=Counter)
    first: dict[str, list[Row]] = field(default_factory=lambda: defaultdict(list))

    def add(self, value: str, row: Row) -> None:
        """Count a row."""
        self.counts[value] += 1
        kept = self.first[value]
        if len(kept) < FIRST_ROWS:
            kept.append(row)

    @property
    def total(self) -> int:
        """All rows."""
        return self.counts.total()

    @property
    def is_known(self) -> bool:
        """Whether any row tells its value."""
        return not set(self.counts) <= {UNKNOWN}

    def most(self, count: int | None = None) -> dict[str, int]:
        """The values with their counts, the most frequent first, equal ones by name, unknown last."""
        ranked = sorted(self.counts.items(), key=lambda item: (item[0] == UNKNOWN, -item[1], item[0]))
        return dict(ranked[:count])


@dataclass(slots=True)
class AssetFigures:
    """What the assets add up to."""

    total: int = 0
    by: dict[str, Tally] = field(default_factory=lambda: {facet: Tally() for facet in FACETS})
    type_by_environment: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    sizes: dict[str, dict[str, Size]] = field(default_factory=lambda: {size: defaultdict(Size) for size in SIZES})
    to_move: dict[str, Size] = field(default_factory=lambda: {size: Size() for size in SIZES})
    """What is to be moved: without hypervisor hosts, on which the machines are counted, templates and the like."""
    not_moved: dict[str, dict[str, Size]] = field(default_factory=dict)
    """By reason and size, of what is no application."""
    unknown_size: dict[str, list[Row]] = field(default_factory=lambda: {size: [] for size in SIZES})
    not_migratable: Tally = field(default_factory=Tally)
    with_conflicts: int = 0
    conflicts: Tally = field(default_factory=Tally)
    names: dict[str, str] = field(default_factory=dict)
    owners: dict[str, str] = field(default_factory=dict)

    def size(self, name: str) -> Size:
        """A size over all types."""
        parts = self.sizes[name].values()
        return Size(sum(p.total for p in parts), sum(p.known for p in parts), sum(p.unknown for p in parts))


@dataclass(slots=True)
class EdgeFigures:
    """What the dependencies add up to."""

    total: int = 0
    observations: int = 0
    kept: int = 0
    noise: Tally = field(default_factory=Tally)
    kinds: Tally = field(default_factory=Tally)
    uses: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    """By machine: how many dependencies begin (`out`) and end (`in`) there, noise left out."""
    titles: dict[str, str] = field(default_factory=dict)
    unknown: Counter[str] = field(default_factory=Counter)
    unknown_edges: int = 0
    volume: Size = field(default_factory=Size)

    def talkers(self, count: int) -> list[tuple[str, int, int]]:
        """(name, out, in) of the machines with most dependencies, the largest first."""
        ranked = sorted(self.uses.items(), key=lambda item: (-item[1].total(), self.titles[item[0]]))
        return [(self.titles[node], ends["out"], ends["in"]) for node, ends in ranked[:count]]


@dataclass(slots=True)
class DebtFigures:
    """What the findings add up to."""

    total: int = 0
    by_severity: Tally = field(default_factory=Tally)
    kind_by_severity: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    product_by_severity: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    remedies: Tally = field(default_factory=Tally)
    spans: list[Span] = field(default_factory=list)


@dataclass(slots=True)
class IssueFigures:
    """What is to be put to the owners, findings of technical debt left out (they have their own list)."""

    total: int = 0
    findings: int = 0
    by_severity: Tally = field(default_factory=Tally)
    kinds: Tally = field(default_factory=Tally)
    by_owner: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    """By owner: how many of each kind."""
    worst: dict[tuple[str, str], Row] = field(default_factory=dict)
    """Of an owner's issues of one kind the first of the worst severity."""


@dataclass(slots=True)
class SizingFigures:
    """What the measured use of machines asks for."""

    comfort: float = COMFORT
    sized: int = 0
    cores_now: int = 0
    cores_wanted: int = 0
    memory_now: float = 0
    memory_wanted: float = 0
    flags: Counter[str] = field(default_factory=Counter)
    bases: Counter[str] = field(default_factory=Counter)
    largest: list[Row] = field(default_factory=list)
    """The machines with the largest savings, then those that need more."""


@dataclass(slots=True)
class Figures:
    """All of a report's figures."""

    assets: AssetFigures
    edges: EdgeFigures
    debt: DebtFigures
    issues: IssueFigures
    sizing: SizingFigures


NO_OWNER = "no owner is known"
NO_ASSET = "about no single asset"


@bulk
def figures(data: ReportData) -> Figures:
    """Count everything."""
    assets = _assets(data.rows("assets"))
    return Figures(
        assets,
        _edges(data.rows("dependencies")),
        _debt(data.rows("findings")),
        _issues(data.rows("issues"), assets),
        _sizing(data),
    )


def system(asset: Row) -> str:
    """An asset's operating system in words."""
    return " ".join(str(part) for part in (asset.get("operating_system"), asset.get("os_version")) if part) or UNKNOWN


def _assets(rows: Iterable[Row]) -> AssetFigures:
    found = AssetFigures()
    for row in rows:
        found.total += 1
        brief = {name: row.get(name) for name in _BRIEF} | {
            "system": system(row),
            "source": next(iter(row.get("sources") or ()), None),
        }
        found.names[row["asset_id"]] = row["name"]
        owner = row.get("business_owner") or row.get("technical_owner")
        if owner:
            found.owners[row["asset_id"]] = str(owner)
        kind = str(row.get("asset_type") or UNKNOWN)
        for facet, tally in found.by.items():
            if kind == APPLICATION and facet in OF_MACHINES:
                continue
            value = brief["system"] if facet == "operating_system" else row.get(facet)
            tally.add(str(value or UNKNOWN), brief)
        found.type_by_environment[kind][str(row.get("environment") or UNKNOWN)] += 1
        if kind != APPLICATION:
            _sizes(found, kind, row, brief)
        _conflicts(found, row)
        reason = stays(row)
        if reason is not None:
            found.not_migratable.add(reason, brief)
    return found


def stays(asset: Row) -> str | None:
    """Why an asset is not moved as a machine; None where it is."""
    if asset.get("migratable") is not False:
        return None
    return str((asset.get("classification") or {}).get("not_migratable") or asset.get("asset_type") or UNKNOWN)


_BRIEF = (
    *("asset_id", "name", "asset_type", "environment", "power_state", "cpu_cores", "memory_gb", "storage_gb"),
    *("business_owner", "application_name", "location"),
)


def _sizes(found: AssetFigures, kind: str, row: Row, brief: Row) -> None:
    reason = stays(row)
    parts = found.to_move
    if reason is not None:
        parts = found.not_moved.setdefault(reason, {size: Size() for size in SIZES})
    for name in SIZES:
        value = row.get(name)
        found.sizes[name][kind].add(value)
        parts[name].add(value)
        if value is None and len(found.unknown_size[name]) < FIRST_ROWS:
            found.unknown_size[name].append(brief)


def _conflicts(found: AssetFigures, row: Row) -> None:
    conflicts = row.get("conflicts") or ()
    found.with_conflicts += bool(conflicts)
    for conflict in conflicts:
        found.conflicts.add(str(conflict.get("field")), {"name": row["name"], **conflict})


def _edges(rows: Iterable[Row]) -> EdgeFigures:
    found = EdgeFigures()
    for row in rows:
        found.total += 1
        found.observations += row.get("observations") or 1
        found.volume.add(row.get("bytes"))
        if row.get("unknown_endpoint"):
            found.unknown_edges += 1
            for side in ("source", "target"):
                if row.get(f"{side}_asset_id") is None:
                    found.unknown[str(row.get(f"{side}_name"))] += 1
        if row.get("noise"):
            found.noise.add(_reason(row), row)
            continue
        found.kept += 1
        found.kinds.add(str(row.get("kind") or UNKNOWN), row)
        for side, way in (("source", "out"), ("target", "in")):
            node = str(row.get(f"{side}_asset_id") or row.get(f"{side}_name"))
            found.titles.setdefault(node, str(row.get(f"{side}_name")))
            found.uses[node][way] += 1
    return found


def _reason(row: Row) -> str:
    """A reason for noise without what differs from one service to the next."""
    reason = str(row.get("noise_reason") or "no reason is given")
    return reason if reason.startswith("port ") else reason.partition(":")[0]


def product_of(finding: Row) -> str | None:
    """The product and version that a finding is about."""
    evidence = finding.get("evidence") or {}
    product = evidence.get("product") or evidence.get("operating_system")
    version = evidence.get("version") or evidence.get("os_version")
    return " ".join(str(part) for part in (product, version) if part) if product else None


def _debt(rows: Iterable[Row]) -> DebtFigures:
    found = DebtFigures()
    spans: dict[tuple[str, str, str | None], int] = Counter()
    for row in rows:
        found.total += 1
        severity, kind = str(row.get("severity")), str(row.get("kind"))
        found.by_severity.add(severity, row)
        found.kind_by_severity[kind][severity] += 1
        if row.get("remedy"):
            found.remedies.add(str(row["remedy"]), row)
        product, evidence = product_of(row), row.get("evidence") or {}
        if product is None:
            continue
        if _is_date(evidence.get("end_of_support")):
            found.product_by_severity[product][severity] += 1
            extended = evidence.get("extended_end")
            spans[product, evidence["end_of_support"], extended if _is_date(extended) else None] += 1
    found.spans = [
        Span(product, end, extended, count)
        for (product, end, extended), count in sorted(spans.items(), key=lambda item: (item[0][1], item[0][0]))
    ]
    return found


def _is_date(value: Any) -> bool:
    parts = value[:10].split("-") if isinstance(value, str) else []
    return len(parts) == 3 and all(part.isascii() and part.isdigit() for part in parts) and len(parts[0]) == 4


def _issues(rows: Iterable[Row], assets: AssetFigures) -> IssueFigures:
    found = IssueFigures()
    rank = {severity: at for at, severity in enumerate(SEVERITIES)}
    for row in rows:
        if row.get("finding_id"):
            found.findings += 1
            continue
        found.total += 1
        severity, kind, asset_id = str(row.get("severity")), str(row.get("kind")), row.get("asset_id")
        owner = assets.owners.get(asset_id, NO_OWNER) if asset_id else NO_ASSET
        found.by_severity.add(severity, row)
        found.kinds.add(kind, row)
        found.by_owner[owner][kind] += 1
        worst = found.worst.get((owner, kind))
        if worst is None or rank.get(severity, 9) < rank.get(str(worst.get("severity")), 9):
            found.worst[owner, kind] = row
    return found


def comfort_of(data: ReportData) -> float:
    """The comfort factor that the debt phase took, else the usual one."""
    given = (data.of("tech_debt_assessment").get("sizing") or {}).get("comfort")
    return float(given) if isinstance(given, int | float) and given >= 1 else COMFORT


def sizes(data: ReportData) -> Iterator[Row]:
    """One row for each machine to be moved whose use is known: its size now, the size that its use asks for,
    and the formula."""
    comfort = comfort_of(data)
    for asset in data.facts():
        found = recommend(asset, comfort=comfort)
        if found is not None:
            source = next(iter(asset.sources), None)
            yield {"asset_id": asset.asset_id, "name": asset.name, "source": source, **found}


def _sizing(data: ReportData) -> SizingFigures:
    found = SizingFigures(comfort_of(data))

    def counted() -> Iterator[Row]:
        for row in sizes(data):
            found.sized += 1
            found.flags.update(row["flags"])
            found.bases[str(row["basis"])] += 1
            if row["cores_saving"] is not None:
                found.cores_now += row["cores_now"]
                found.cores_wanted += row["cpu_cores"]
            if row["memory_saving"] is not None:
                found.memory_now += row["memory_now"]
                found.memory_wanted += row["memory_gb"]
            yield row

    found.largest = nlargest(LISTED, counted(), key=_saving)
    return found


def _saving(row: Row) -> tuple[float, str]:
    """Savings first: a core counts as much as 4 GiB here, which is only the order of a list."""
    return (row["cores_saving"] or 0) + (row["memory_saving"] or 0) / 4, row["name"]
