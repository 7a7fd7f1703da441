"""What must move together: circles, connected groups, and communities within a group that swallows the estate."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from estate.dependencies.directory import BETWEEN, Directory, Known
from estate.ids import id_of

SPLIT_SIZE = 50
SPLIT_SHARE = 0.3
"""A group of more than 50 assets that holds more than 30 % of the assets that have dependencies is no plan: it is
split into communities."""
_PASSES = 20
_LEAST_GAIN = 1e-9
_SIZELESS = frozenset({"application", "network_device", "load_balancer"})
_SIZES = ("cpu_cores", "memory_gb", "storage_gb")

Pair = tuple[int, int]


@dataclass(slots=True)
class Grouping:
    """Circles and groups, the largest first."""

    cycles: list[list[int]]
    groups: list[dict[str, Any]]
    splits: list[dict[str, Any]] = field(default_factory=list)
    """`{group_id, size, edges, into, cut_edges}` of each group that was split."""


def group(pairs: Counter[Pair], directory: Directory, namespace: UUID) -> Grouping:
    """Bring ends together; `pairs` are the edges that count, (source, target) with how many there are.

    Only assets make groups: two machines that use the same unknown host do not belong together by that. A group is
    `{group_id, size, asset_ids[], names[], edges, cycles[[name, ...]], totals{cpu_cores, memory_gb, storage_gb:
    {sum, known, unknown}}, environments{name: count}, applications[], split_from, cut_edges{group_id: count}}`; sizes
    are GiB, and applications and network gear, which have none, are not counted as unknown.
    """
    cycles = _cycles(pairs, directory)
    known: Counter[Pair] = Counter()
    for (start, end), count in pairs.items():
        if start != end and directory.is_known(start) and directory.is_known(end):
            known[min(start, end), max(start, end)] += count
    parts = _components(known)
    connected = sum(map(len, parts))
    made: list[tuple[list[int], str | None]] = []
    splits: list[dict[str, Any]] = []
    for part in parts:
        if len(part) > SPLIT_SIZE and len(part) > SPLIT_SHARE * connected:
            within = communities(_neighbours(part, known, directory))
            if len(within) > 1:
                whole = _group_id(part, directory, namespace)
                splits.append({"group_id": whole, "size": len(part), "into": len(within)})
                made.extend((community, whole) for community in within)
                continue
        made.append((part, None))
    told = _Told(directory, namespace, cycles)
    groups = [told.group(members, whole) for members, whole in made]
    of_end = {end: place for place, (members, _) in enumerate(made) for end in members}
    cuts: Counter[str] = Counter()
    for (start, end), count in known.items():
        one, other = groups[of_end[start]], groups[of_end[end]]
        if one is other:
            one["edges"] += count
            continue
        cuts[one["split_from"]] += count
        for here, there in ((one, other), (other, one)):
            here["cut_edges"][there["group_id"]] = here["cut_edges"].get(there["group_id"], 0) + count
    for split in splits:
        inner = sum(made_group["edges"] for made_group in groups if made_group["split_from"] == split["group_id"])
        split |= {"edges": inner + cuts[split["group_id"]], "cut_edges": cuts[split["group_id"]]}
    groups.sort(key=lambda made_group: (-made_group["size"], made_group["names"]))
    return Grouping(cycles, groups, splits)


class _Told:
    """Puts groups into words and sums."""

    def __init__(self, directory: Directory, namespace: UUID, cycles: list[list[int]]) -> None:
        self._directory = directory
        self._namespace = namespace
        self._cycles = [[directory.title(end) for end in cycle] for cycle in cycles]
        self._cycles_of: dict[int, list[int]] = defaultdict(list)
        for place, cycle in enumerate(cycles):
            for end in cycle:
                self._cycles_of[end].append(place)

    def group(self, members: list[int], whole: str | None) -> dict[str, Any]:
        """A group; its edges are counted later."""
        directory = self._directory
        ordered = sorted(members, key=lambda end: (directory.title(end).lower(), directory.key(end)))
        assets = [directory.assets[end] for end in ordered]
        circles = sorted({place for end in ordered for place in self._cycles_of.get(end, ())})
        applications = {name for asset in assets for name in self._applications(asset)}
        return {
            "group_id": _group_id(members, directory, self._namespace),
            "size": len(ordered),
            "asset_ids": [asset.asset_id for asset in assets],
            "names": [asset.name for asset in assets],
            "edges": 0,
            "cycles": [self._cycles[place] for place in circles],
            "totals": {size: _total(assets, size) for size in _SIZES},
            "environments": dict(Counter(asset.environment or "unknown" for asset in assets).most_common()),
            "applications": sorted(applications),
            "split_from": whole,
            "cut_edges": {},
        }

    def _applications(self, asset: Known) -> list[str]:
        """The applications that an asset is or serves; one cell may name several."""
        if asset.asset_type == "application":
            return [asset.name]
        if not asset.application_name:
            return []
        directory, stated = self._directory, asset.application_name
        parts = BETWEEN.split(stated) if directory.application(stated) is None else [stated]
        ends = [directory.application(part) for part in parts]
        if not any(end is not None for end in ends):
            return [stated]
        return [directory.title(end) if end is not None else part for end, part in zip(ends, parts, strict=True)]


def _group_id(members: Iterable[int], directory: Directory, namespace: UUID) -> str:
    return id_of(namespace, "group|" + "|".join(sorted(directory.key(end) for end in members)))


def _total(assets: Sequence[Known], size: str) -> dict[str, Any]:
    sized = [getattr(asset, size) for asset in assets if asset.asset_type not in _SIZELESS]
    known = [value for value in sized if value is not None]
    return {
        "sum": round(sum(known), 2) if known else None,
        "known": len(known),
        "unknown": len(sized) - len(known),
    }


def _cycles(pairs: Iterable[Pair], directory: Directory) -> list[list[int]]:
    """The strongly connected components of more than one end, the largest first."""
    around: dict[int, list[int]] = defaultdict(list)
    for start, end in pairs:
        around[start].append(end)
    found = [
        sorted(part, key=lambda end: (directory.title(end).lower(), directory.key(end)))
        for part in _strong(around)
        if len(part) > 1
    ]
    return sorted(found, key=lambda part: (-len(part), [directory.title(end).lower() for end in part]))


def _strong(around: dict[int, list[int]]) -> Iterator[list[int]]:
    """The strongly connected components (Tarjan 1972, without recursion)."""
    order: dict[int, int] = {}
    low: dict[int, int] = {}
    path: list[int] = []
    on_path: set[int] = set()
    for first in list(around):
        if first in order:
            continue
        work = [(first, iter(around[first]))]
        order[first] = low[first] = len(order)
        path.append(first)
        on_path.add(first)
        while work:
            node, others = work[-1]
            for other in others:
                if other not in order:
                    order[other] = low[other] = len(order)
                    path.append(other)
                    on_path.add(other)
                    work.append((other, iter(around.get(other, ()))))
                    break
                if other in on_path:
                    low[node] = min(low[node], order[other])
            else:
                work.pop()
                if work:
                    before = work[-1][0]
                    low[before] = min(low[before], low[node])
                if low[node] == order[node]:
                    part = [path.pop()]
                    while part[-1] != node:
                        part.append(path.pop())
                    on_path.difference_update(part)
                    yield part


def _components(pairs: Iterable[Pair]) -> list[list[int]]:
    """The connected components, each in ascending order."""
    parent: dict[int, int] = {}

    def root(end: int) -> int:
        while parent.setdefault(end, end) != end:
            parent[end] = end = parent[parent[end]]
        return end

    for start, end in pairs:
        one, other = root(start), root(end)
        if one != other:
            parent[max(one, other)] = min(one, other)
    parts: dict[int, list[int]] = defaultdict(list)
    for end in sorted(parent):
        parts[root(end)].append(end)
    return list(parts.values())


def _neighbours(part: list[int], pairs: Counter[Pair], directory: Directory) -> dict[int, dict[int, float]]:
    """The weight of every pair within a component, by either end; ends in the order of their keys."""
    around: dict[int, dict[int, float]] = {end: {} for end in sorted(part, key=directory.key)}
    for (start, end), count in pairs.items():
        if start in around:
            around[start][end] = around[end][start] = float(count)
    return around


def communities(neighbours: dict[int, dict[int, float]]) -> list[list[int]]:
    """Ends that are tied to each other more than to the rest, by modularity (Blondel et al. 2008, the Louvain method).

    Ends are visited in the order they are given and ties go to the community met first, so the same input has the same
    answer.
    """
    ends = list(neighbours)
    place = {end: number for number, end in enumerate(ends)}
    around = [{place[other]: weight for other, weight in neighbours[end].items()} for end in ends]
    own = [0.0] * len(ends)
    member_of = list(range(len(ends)))
    while True:
        labels = _moved(around, own)
        count = max(labels) + 1
        member_of = [labels[community] for community in member_of]
        if count == len(around):
            break
        around, own = _folded(around, own, labels, count)
    found: dict[int, list[int]] = defaultdict(list)
    for end, community in zip(ends, member_of, strict=True):
        found[community].append(end)
    return list(found.values())


def _moved(around: list[dict[int, float]], own: list[float]) -> list[int]:
    """The community of each node once no node gains by moving; numbered in the order of the nodes.

    After the first visit of all a node is visited again only when one of its neighbours has moved (Traag et al. 2019,
    the fast local move), and at most `_PASSES` times as often as there are nodes.
    """
    degree = [sum(weights.values()) + 2 * loop for weights, loop in zip(around, own, strict=True)]
    both = sum(degree)
    labels = list(range(len(around)))
    total = list(degree)
    waiting = deque(labels)
    waits = bytearray(b"\x01") * len(around)
    visits = _PASSES * len(around)
    while waiting and visits:
        visits -= 1
        node = waiting.popleft()
        waits[node] = 0
        weights = around[node]
        here = labels[node]
        ties: dict[int, float] = {here: 0.0}
        for other, weight in weights.items():
            label = labels[other]
            ties[label] = ties.get(label, 0.0) + weight
        mine = degree[node]
        total[here] -= mine
        share = mine / both
        best, most = here, ties[here] - total[here] * share + _LEAST_GAIN
        for label, tie in ties.items():
            gain = tie - total[label] * share
            if gain > most:
                best, most = label, gain
        total[best] += mine
        if best == here:
            continue
        labels[node] = best
        for other in weights:
            if not waits[other] and labels[other] != best:
                waits[other] = 1
                waiting.append(other)
    numbers: dict[int, int] = {}
    return [numbers.setdefault(label, len(numbers)) for label in labels]


def _folded(
    around: list[dict[int, float]], own: list[float], labels: list[int], count: int
) -> tuple[list[dict[int, float]], list[float]]:
    """The graph of the communities: weights between them, and each one's weight within."""
    between: list[dict[int, float]] = [{} for _ in range(count)]
    within = [0.0] * count
    for node, weights in enumerate(around):
        one = labels[node]
        within[one] += own[node]
        ties = between[one]
        for other, weight in weights.items():
            label = labels[other]
            if label == one:
                within[one] += weight / 2
            else:
                ties[label] = ties.get(label, 0.0) + weight
    return between, within
