"""What of the dependencies an owner should look at, and the figures of all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from estate.clean import CleanTable
from estate.dependencies.directory import APPLICATION, Unknown
from estate.dependencies.edges import Edges, FirstRows
from estate.dependencies.groups import Grouping
from estate.dependencies.noise import PLACEMENT, in_short
from estate.dependencies.rows import Incomplete
from estate.issues import issue

MAX_UNKNOWN_ISSUES = 500
MAX_CYCLE_ISSUES = 100
"""So many are told one by one, the largest first; one issue sums up the others."""
_SHOWN = 12


@dataclass(slots=True)
class _Met:
    """How often an unknown end was met."""

    end: int
    edges: int = 0
    rows: int = 0
    first: int = -1
    """The first edge."""


class Findings:
    """The issues that follow from the edges."""

    def __init__(self, edges: Edges, reasons: Sequence[str | None], sources: FirstRows, namespace: UUID) -> None:
        self._edges = edges
        self._directory = edges.directory
        self._reasons = reasons
        self._sources = sources
        self._namespace = namespace

    def issues(self, found: Grouping) -> Iterator[dict[str, Any]]:
        """All of them."""
        yield from self._unknown()
        yield from self._turned()
        yield from self._cycles(found.cycles)
        yield from self._splits(found)

    def _issue(self, kind: str, severity: str, message: str, **place: Any) -> dict[str, Any]:
        return issue(self._namespace, kind, severity, message, **place)

    def _where(self, edge: int) -> dict[str, Any]:
        return self._edges.where(self._sources[edge][0])

    def _met(self) -> tuple[list[_Met], list[_Met]]:
        """(unknown ends of dependencies, unknown places that machines run on), the most met first."""
        edges, directory = self._edges, self._directory
        met: dict[int, _Met] = {}
        places: dict[int, _Met] = {}
        for number, ends in enumerate(zip(edges.source, edges.target, strict=True)):
            for end in dict.fromkeys(ends):
                stranger = directory.stranger(end)
                if stranger is None or stranger.special:
                    continue
                where = places if self._reasons[number] == PLACEMENT else met
                one = where.setdefault(end, _Met(end, first=number))
                one.edges += 1
                one.rows += edges.observations[number]
        return _most_met(met), _most_met(places)

    def _unknown(self) -> Iterator[dict[str, Any]]:
        """One issue per end that is no asset, with how many dependencies end there."""
        met, places = self._met()
        for one in met[:MAX_UNKNOWN_ISSUES]:
            stranger = self._directory.stranger(one.end)
            assert stranger is not None
            kind, said = self._said(stranger)
            yield self._issue(
                kind,
                "low",
                f"{stranger.title} {said}; {one.edges} dependenc"
                f"{'ies end or start' if one.edges > 1 else 'y ends or starts'} there.",
                source=self._where(one.first),
            )
        rest = met[MAX_UNKNOWN_ISSUES:]
        if rest:
            yield self._issue(
                "unknown_endpoints",
                "low",
                f"{len(rest)} more ends are no assets of the inventory; {sum(one.edges for one in rest)} dependencies"
                f" ({sum(one.rows for one in rest)} rows) end or start there.",
                source=self._where(rest[0].first),
            )
        if places:
            names = [self._directory.title(one.end) for one in places]
            machines = sum(one.edges for one in places)
            yield self._issue(
                "unknown_hosts",
                "info",
                f"{len(places)} host{'s or clusters are' if len(places) > 1 else ' or cluster is'} not in the"
                f" inventory ({_listed(names)}); {machines} machine{'s are' if machines > 1 else ' is'} placed there.",
                source=self._where(places[0].first),
            )

    def _said(self, stranger: Unknown) -> tuple[str, str]:
        if stranger.candidates:
            names = [self._directory.title(number) for number in stranger.candidates]
            return "ambiguous_endpoint", f"may be any of {len(names)} assets of the inventory ({_listed(names)})"
        if stranger.outside:
            return "unknown_endpoint", "is outside (a public address)"
        return "unknown_endpoint", f"is no {stranger.what} of the inventory"

    def _turned(self) -> Iterator[dict[str, Any]]:
        turned = self._edges.turned
        if turned:
            first = min(turned)
            rows = sum(turned.values())
            yield self._issue(
                "connections_turned",
                "info",
                f"{rows} connection{'s were' if rows > 1 else ' was'} turned round: the source port is that of a"
                " service, the destination port one that clients are given.",
                source=self._where(first),
            )

    def _cycles(self, cycles: list[list[int]]) -> Iterator[dict[str, Any]]:
        directory = self._directory
        for cycle in cycles[:MAX_CYCLE_ISSUES]:
            names = [directory.title(end) for end in cycle]
            known = next((directory.asset_id(end) for end in cycle if directory.is_known(end)), None)
            what = "assets" if any(directory.asset_type(end) == APPLICATION for end in cycle) else "machines"
            yield self._issue(
                "dependency_cycle",
                "info",
                f"{len(names)} {what} depend on each other in a circle and move together: {_listed(names)}.",
                asset_id=known,
            )
        rest = cycles[MAX_CYCLE_ISSUES:]
        if rest:
            yield self._issue(
                "dependency_cycles",
                "info",
                f"{len(rest)} more circles, of {sum(map(len, rest))} machines together.",
            )

    def _splits(self, found: Grouping) -> Iterator[dict[str, Any]]:
        for split in found.splits:
            yield self._issue(
                "group_split",
                "medium",
                f"{split['size']} assets are connected with each other, too many to move at once: {split['into']} groups"
                f" are suggested. {split['cut_edges']} of their {split['edges']} dependencies run between these groups.",
            )


def _most_met(ends: dict[int, _Met]) -> list[_Met]:
    return sorted(ends.values(), key=lambda one: -one.edges)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")


def told_incomplete(table: CleanTable, edges: Edges, incomplete: Incomplete, namespace: UUID) -> dict[str, Any]:
    """The issue about rows of a table that do not name both ends."""
    assert incomplete.row is not None
    where = edges.where(incomplete.row)
    rows = f"{incomplete.count} rows do" if incomplete.count > 1 else "1 row does"
    return issue(
        namespace,
        "connection_incomplete",
        "low",
        f"{table.place}: {rows} not name both ends and {'are' if incomplete.count > 1 else 'is'} no dependency; the"
        f" first is row {where['row']}.",
        source=where,
    )


def summarise(
    edges: Edges, kinds: Sequence[str], reasons: Sequence[str | None], found: Grouping, connected: int
) -> dict[str, Any]:
    """The figures: every count of dependencies beside the count of rows (`observations`) behind it.

    `{observations, dependencies, without_noise, noise{total, by_reason{}, observations, observations_by_reason{}},
    unknown_endpoints, outside, turned_rows, by_kind{}, cycles, groups, largest_group, assets_in_groups,
    assets_without_dependencies, splits[]}`; dependencies = without_noise + noise.total = sum of by_kind.
    """
    directory = edges.directory
    by_reason: Counter[str] = Counter()
    rows_by_reason: Counter[str] = Counter()
    unknown = outside = 0
    for number, reason in enumerate(reasons):
        if reason is not None:
            by_reason[in_short(reason)] += 1
            rows_by_reason[in_short(reason)] += edges.observations[number]
        strangers = [directory.stranger(edges.source[number]), directory.stranger(edges.target[number])]
        unknown += any(one is not None for one in strangers)
        outside += any(one is not None and one.outside for one in strangers)
    noise = by_reason.total()
    return {
        "observations": sum(edges.observations),
        "dependencies": len(edges),
        "without_noise": len(edges) - noise,
        "noise": {
            "total": noise,
            "by_reason": dict(by_reason.most_common()),
            "observations": rows_by_reason.total(),
            "observations_by_reason": dict(rows_by_reason.most_common()),
        },
        "unknown_endpoints": unknown,
        "outside": outside,
        "turned_rows": edges.turned.total(),
        "by_kind": dict(Counter(kinds).most_common()),
        "cycles": len(found.cycles),
        "groups": len(found.groups),
        "largest_group": found.groups[0]["size"] if found.groups else 0,
        "assets_in_groups": sum(one["size"] for one in found.groups),
        "assets_without_dependencies": len(directory.assets) - connected,
        "splits": found.splits,
    }
