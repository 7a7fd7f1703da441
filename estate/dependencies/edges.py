"""Edges: rows that say the same of the same two ends are one."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, NamedTuple
from uuid import UUID

from estate.clean import CleanTable
from estate.dependencies.directory import Directory
from estate.ids import id_of
from estate.instants import instant
from estate.tables import source

MAX_SOURCES = 20

AS_STATED = "as_stated"
BY_RELATION = "by_relation"
BY_PORT = "by_port"


class Detail(NamedTuple):
    """What else, next to its ends, makes an edge."""

    port: int | None = None
    protocol: str | None = None
    process: str | None = None
    """Of the target: what answers."""
    client: str | None = None
    """Of the source: what asks."""
    relation: str | None = None
    """As `relations.understand` words it."""


class Numbers(dict[Any, int]):
    """Gives each key the next number when it is met first."""

    def __missing__(self, key: Any) -> int:
        number = self[key] = len(self)
        return number


class Clock:
    """Times by their order: 1 for the earliest; 0 stands for none."""

    def __init__(self, texts: Iterable[str]) -> None:
        ordered = sorted(set(texts), key=instant)
        self._ranks: dict[Any, int] = {text: rank for rank, text in enumerate(ordered, 1)}
        self._texts: list[str | None] = [None, *ordered]
        self.never = len(self._texts)

    def rank(self, text: str | None) -> int:
        """The place of a time in the order, 0 for None."""
        return self._ranks.get(text, 0)

    def text(self, rank: int) -> str | None:
        """The time again; None for 0 and for `never`."""
        return self._texts[rank] if rank < self.never else None


@dataclass(slots=True)
class Edge:
    """One local kind of row: the ends and what was said of them."""

    source: int
    target: int
    detail: Detail
    confidence: float
    way: str = AS_STATED
    source_application: str | None = None
    target_application: str | None = None


class _Told(NamedTuple):
    """What an edge tells of an end."""

    key: str
    asset_id: str | None
    title: str
    outside: bool

    @classmethod
    def of(cls, directory: Directory, end: int) -> _Told:
        """What is told of one end."""
        stranger = directory.stranger(end)
        outside = stranger is not None and stranger.outside
        return cls(directory.key(end), directory.asset_id(end), directory.title(end), outside)


class FirstRows:
    """For each edge the first rows that say it, `MAX_SOURCES` at most, by their number among all rows."""

    def __init__(self, observations: Sequence[int]) -> None:
        self._ends = array("I", accumulate(min(count, MAX_SOURCES) for count in observations))
        self._starts = array("I", (0, *self._ends[:-1])) if observations else array("I")
        self._rows = array("I", bytes(4 * self._ends[-1])) if observations else array("I")

    def fill(self, edges: Iterable[int], rows: Iterable[int]) -> None:
        """Take the rows in order."""
        free, ends, kept = array("I", self._starts), self._ends, self._rows
        for number, row in zip(edges, rows, strict=True):
            place = free[number]
            if place < ends[number]:
                kept[place] = row
                free[number] = place + 1

    def __getitem__(self, number: int) -> array[int]:
        return self._rows[self._starts[number] : self._ends[number]]


@dataclass(slots=True)
class Edges:
    """All edges in columns; edge e is the e-th of each."""

    directory: Directory
    clock: Clock
    source: array[int] = field(default_factory=lambda: array("I"))
    target: array[int] = field(default_factory=lambda: array("I"))
    detail: list[Detail] = field(default_factory=list)
    confidence: list[float] = field(default_factory=list)
    observations: list[int] = field(default_factory=list)
    first: list[int] = field(default_factory=list)
    last: list[int] = field(default_factory=list)
    turned: Counter[int] = field(default_factory=Counter)
    """How many rows of an edge were turned round by their ports."""
    related: set[int] = field(default_factory=set)
    """Edges whose direction follows from words."""
    bytes: dict[int, int] = field(default_factory=dict)
    connections: dict[int, int] = field(default_factory=dict)
    source_application: dict[int, str] = field(default_factory=dict)
    target_application: dict[int, str] = field(default_factory=dict)
    _said: list[Detail] = field(default_factory=list)
    _details: dict[Detail, int] = field(default_factory=dict)
    _numbers: dict[int, int] = field(default_factory=dict)
    _tables: list[CleanTable] = field(default_factory=list)
    _starts: list[int] = field(default_factory=list)
    _edges_of_rows: array[int] = field(default_factory=lambda: array("I"))
    _rows: array[int] = field(default_factory=lambda: array("I"))

    def __len__(self) -> int:
        return len(self.detail)

    def enter(self, table: CleanTable) -> int:
        """Register a table; the number of its first row among the rows of all."""
        start = self._starts[-1] + len(self._tables[-1]) if self._tables else 0
        self._tables.append(table)
        self._starts.append(start)
        return start

    def number(self, edge: Edge) -> int:
        """The number of an edge; it is made when it is met first."""
        detail = self._details.setdefault(edge.detail, len(self._details))
        if detail == len(self._said):
            self._said.append(edge.detail)
        key = edge.source << 64 | edge.target << 32 | detail
        number = self._numbers.setdefault(key, len(self._numbers))
        if number == len(self.detail):
            self.source.append(edge.source)
            self.target.append(edge.target)
            self.detail.append(self._said[detail])
            self.confidence.append(edge.confidence)
            self.observations.append(0)
            self.first.append(self.clock.never)
            self.last.append(0)
        elif edge.confidence > self.confidence[number]:
            self.confidence[number] = edge.confidence
        if edge.way == BY_RELATION:
            self.related.add(number)
        for kept, told in (
            (self.source_application, edge.source_application),
            (self.target_application, edge.target_application),
        ):
            if told is not None:
                kept.setdefault(number, told)
        return number

    def observe(self, edges: Sequence[int], rows: Iterable[int]) -> None:
        """A row each for these edges."""
        self._edges_of_rows.extend(edges)
        self._rows.extend(rows)
        observations = self.observations
        for number, count in Counter(edges).items():
            observations[number] += count

    def seen(self, edges: Sequence[int], ranks: Iterable[int], *, first: bool, last: bool) -> None:
        """A time (rank of the clock) for each of these rows: of its beginning, of its end, or of both."""
        earliest, latest = self.first, self.last
        for number, rank in zip(edges, ranks, strict=True):
            if rank:
                if first and rank < earliest[number]:
                    earliest[number] = rank
                if last and rank > latest[number]:
                    latest[number] = rank

    def add(self, kept: dict[int, int], edges: Sequence[int], amounts: Iterable[int | None]) -> None:
        """Add amounts (`bytes` or `connections`) of these rows."""
        for number, amount in zip(edges, amounts, strict=True):
            if amount is not None:
                kept[number] = kept.get(number, 0) + amount

    def sources(self) -> FirstRows:
        """The first rows of each edge."""
        first = FirstRows(self.observations)
        first.fill(self._edges_of_rows, self._rows)
        return first

    def where(self, row: int) -> dict[str, Any]:
        """File, sheet and row of a row by its number among all rows."""
        return self._places((row,))[0]

    def _places(self, rows: Iterable[int]) -> list[dict[str, Any]]:
        """The same for several rows."""
        found = []
        start = end = 0
        for row in rows:
            if not start <= row < end:
                at = bisect_right(self._starts, row) - 1
                table, start = self._tables[at], self._starts[at]
                end = start + len(table)
                file, sheet, numbers = table.file, table.sheet, table.numbers
            found.append(source(file, sheet, numbers[row - start]))
        return found

    def documents(
        self, namespace: UUID, kinds: Sequence[str], reasons: Sequence[str | None], sources: FirstRows
    ) -> Iterator[dict[str, Any]]:
        """Every edge as a document."""
        directory, clock = self.directory, self.clock
        ends = [_Told.of(directory, end) for end in range(directory.count)]
        for number, detail in enumerate(self.detail):
            start, end = ends[self.source[number]], ends[self.target[number]]
            where = self._places(sources[number])
            key = (start.key, end.key, *detail[:4], *(detail[4:] if detail.relation else ()))
            yield {
                "dependency_id": id_of(namespace, "dependency|" + "|".join(map(str, key))),
                "source_asset_id": start.asset_id,
                "source_name": start.title,
                "target_asset_id": end.asset_id,
                "target_name": end.title,
                "port": detail.port,
                "protocol": detail.protocol,
                "process": detail.process,
                "source_process": detail.client,
                "source_application": self.source_application.get(number),
                "target_application": self.target_application.get(number),
                "relation": detail.relation,
                "kind": kinds[number],
                "direction": self.way(number),
                "turned": number in self.turned,
                "noise": reasons[number] is not None,
                "noise_reason": reasons[number],
                "unknown_endpoint": start.asset_id is None or end.asset_id is None,
                "outside": start.outside or end.outside,
                "confidence": self.confidence[number],
                "observations": self.observations[number],
                "bytes": self.bytes.get(number),
                "connections": self.connections.get(number),
                "first_seen": clock.text(self.first[number]),
                "last_seen": clock.text(self.last[number]),
                "source": where[0],
                "sources": where,
            }

    def way(self, number: int) -> str:
        """How the direction of an edge is known: `as_stated, by_relation, by_port`."""
        if number in self.related:
            return BY_RELATION
        return BY_PORT if self.turned.get(number) == self.observations[number] else AS_STATED
