"""Rows read as edges: connections between two ends, and the columns of machines and applications that name others."""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import compress, repeat
from typing import Any

from estate.clean import CleanColumn, CleanTable, Use
from estate.dependencies.directory import APPLICATION, DATABASE, MACHINE, Directory
from estate.dependencies.edges import AS_STATED, BY_RELATION, Clock, Detail, Edge, Edges, Numbers
from estate.dependencies.relations import BALANCES, DEPENDS_ON, RUNS_ON, USES_DATABASE, Relation, understand
from estate.dependencies.services import is_ephemeral, is_service
from estate.roles import APPLICATIONS, CONNECTIONS, MACHINES

NAMING = ("name", "hostname", "fqdn", "ip_addresses")
RELATIONAL = ("application_name", "runs_on", "depends_on", "hosts", "databases")
"""Columns of machines and applications that name another asset."""
_CONNECTION = (
    *(f"{side}_{part}" for side in ("source", "target") for part in ("name", "ip", "application", "process")),
    "port", "source_port", "protocol", "relation", "direction", "observed_at", "first_seen", "last_seen", "bytes",
    "connections",
)  # fmt: skip
_TIMES = ("observed_at", "first_seen", "last_seen")
_DIRECTIONS = frozenset({"northbound", "southbound"})
_INBOUND = frozenset({"inbound", "in", "incoming", "ingress"})
_RELATIVE = frozenset({"local", "remote", "foreign", "peer"})
_BALANCING = frozenset({"pool", "pools", "vip", "vips", "balancer", "balancers", "balancing"})
_OF_DATABASES = frozenset({"database", "databases", "dblink", "dblinks"})
_STRAIGHT, _BY_PORTS, _BY_WORDS = 0, 1, 2
_PORT, _SOURCE_PORT = 0, 6
"""Places of the ports among the details of a row."""


@dataclass(slots=True)
class Incomplete:
    """Rows that do not name both ends."""

    count: int = 0
    row: int | None = None


def needed(tables: Iterable[CleanTable]) -> list[CleanTable]:
    """The tables that can say who needs whom, with the columns for it only."""
    kept = []
    for table in tables:
        if table.role == CONNECTIONS:
            targets = frozenset(_CONNECTION)
        elif table.role in {MACHINES, APPLICATIONS} and table.of(*RELATIONAL):
            targets = frozenset((*NAMING, *RELATIONAL))
        else:
            continue
        facts = [column for column in table.facts if column.target in targets]
        kept.append(CleanTable(table.file, table.sheet, table.kind, table.role, table.numbers, facts))
    return kept


def clock_of(tables: Iterable[CleanTable]) -> Clock:
    """The order of all times that connections state."""
    return Clock(
        value for table in tables for column in table.of(*_TIMES) for value in column.values if isinstance(value, str)
    )


def _column(table: CleanTable, target: str, *, added: bool = False) -> CleanColumn | None:
    """The one column of a target; of several the first that knows, row by row. With `added` those of one rank are
    parts, and added up."""
    columns = table.of(target)
    if len(columns) < 2:
        return columns[0] if columns else None
    numbers = Numbers()
    codes = array("I", map(numbers.__getitem__, zip(*(column.codes for column in columns), strict=True)))
    ranks = [column.use.rank if added else place for place, column in enumerate(columns)]
    values = []
    for key in numbers:
        told: dict[int, list[Any]] = {}
        for rank, column, code in zip(ranks, columns, key, strict=True):
            value = column.values[code]
            if value is not None:
                told.setdefault(rank, []).append(value)
        first = next(iter(told.values()), [None])
        values.append(sum(first) if len(first) > 1 else first[0])
    return CleanColumn(Use(columns[0].use.field, target), values, codes)


class _Part:
    """Some columns of a table, row by row as one number; a column that is not there is always None."""

    def __init__(self, table: CleanTable, targets: Sequence[str]) -> None:
        self.targets = targets
        self._columns = [_column(table, target) for target in targets]
        self._numbers = Numbers()
        blank: array[int] = array("I", bytes(4 * len(table)))
        self._codes = [column.codes if column else blank for column in self._columns]

    def coded(self) -> list[int]:
        """The number of each row."""
        return list(map(self._numbers.__getitem__, zip(*self._codes, strict=True)))

    def blank_where(self, place: int, rows: Sequence[bool]) -> None:
        """Forget the column at `place` in the rows told."""
        column = self._columns[place]
        if column is None:
            return
        empty = len(column.values)
        self._columns[place] = CleanColumn(column.use, [*column.values, None], column.codes)
        self._codes[place] = array(
            "I", [empty if blank else code for blank, code in zip(rows, self._codes[place], strict=True)]
        )

    def values(self) -> list[tuple[Any, ...]]:
        """What each number stands for, in the order of the targets."""
        return [
            tuple(
                column.values[code] if column is not None else None
                for column, code in zip(self._columns, key, strict=True)
            )
            for key in self._numbers
        ]


@dataclass(frozen=True, slots=True)
class _End:
    number: int | None
    confidence: float = 0.0
    application: str | None = None


def read_connections(table: CleanTable, edges: Edges, incomplete: Incomplete) -> None:
    """Take the rows of a CONNECTIONS table; `incomplete` learns of those that lack an end.

    A row whose source port is a service's and whose destination port is a client's is turned round; so is one whose
    relation is said from the other end.
    """
    directory, start = edges.directory, edges.enter(table)
    stated = _stated_by_all(table)
    sources, targets = (_Part(table, [f"{side}_{part}" for part in ("name", "ip", "application")]) for side in _SIDES)
    flips = _flips(table)
    details = _Part(
        table, ["port", "protocol", "target_process", "source_process", "relation", "direction", "source_port"]
    )
    _one_port(table, details, flips)
    marks: Iterable[int] = repeat(_STRAIGHT, len(table)) if flips is None else flips
    coded = sources.coded(), targets.coded(), details.coded()
    local = Numbers()
    of_rows: Sequence[int] = list(map(local.__getitem__, zip(*coded, marks, strict=True)))
    prefer = DATABASE if stated is USES_DATABASE else MACHINE
    from_ends = [_end(directory, told, MACHINE) for told in sources.values()]
    to_ends = [_end(directory, told, prefer) for told in targets.values()]
    said = [_said(told, stated) for told in details.values()]
    numbers: list[int] = []
    for at_source, at_target, at_detail, flip in local:
        one, other = from_ends[at_source], to_ends[at_target]
        detail, relation = said[at_detail]
        if flip != _STRAIGHT:
            detail = detail._replace(process=detail.client, client=detail.process)
        numbers.append(_number(edges, one, other, detail, relation, turned=flip != _STRAIGHT))
    places: Sequence[int] = range(len(table))
    whole = [number >= 0 for number in numbers]
    if not all(whole):
        keep = [whole[place] for place in of_rows]
        missing = len(keep) - sum(keep)
        incomplete.count += missing
        if incomplete.row is None and missing:
            incomplete.row = start + keep.index(False)
        places = list(compress(places, keep))
        of_rows = list(compress(of_rows, keep))
    edge_of_rows = [numbers[place] for place in of_rows]
    edges.observe(edge_of_rows, [start + place for place in places])
    if flips is not None:
        edges.turned.update(
            number for number, place in zip(edge_of_rows, places, strict=True) if flips[place] == _BY_PORTS
        )
    _times(table, edges, edge_of_rows, places)
    _amounts(table, edges, edge_of_rows, places)


_SIDES = ("source", "target")


def _number(edges: Edges, one: _End, other: _End, detail: Detail, relation: Relation | None, *, turned: bool) -> int:
    """The edge's number; -1 where an end is not named."""
    if one.number is None or other.number is None:
        return -1
    if (turned or (relation is not None and relation.turned)) != _holds_application(
        edges.directory, one.number, other.number, relation
    ):
        one, other = other, one
    assert one.number is not None
    assert other.number is not None
    return edges.number(
        Edge(
            one.number,
            other.number,
            detail,
            min(one.confidence, other.confidence),
            AS_STATED if relation is None else BY_RELATION,
            one.application,
            other.application,
        )
    )


def _holds_application(directory: Directory, one: int, other: int, relation: Relation | None) -> bool:
    """Is it said that a machine contains an application? Then it is the application that is hosted."""
    if relation is None or relation.meaning != "contains":
        return False
    inner, outer = (one, other) if relation.turned else (other, one)
    return directory.asset_type(inner) == APPLICATION != directory.asset_type(outer)


def _stated_by_all(table: CleanTable) -> Relation | None:
    """The relation that the table itself states, by its kind or the names of its ends: pools of load balancers
    (`Virtual Server`, `Pool Member`), links of databases."""
    of_kind = _words([table.kind])
    if (of_kind | _words_of_ends(table, "source", "target")) & _BALANCING:
        return BALANCES
    if (of_kind | _words_of_ends(table, "target")) & _OF_DATABASES:
        return USES_DATABASE
    return None


def _words(texts: Iterable[str]) -> set[str]:
    return {word for text in texts for word in re.split(r"[^a-z]+", text.lower())}


def _words_of_ends(table: CleanTable, *sides: str) -> set[str]:
    columns = table.of(*(f"{side}_{part}" for side in sides for part in ("name", "ip")))
    return _words(column.use.field for column in columns)


def _flips(table: CleanTable) -> list[int] | None:
    """For each row why its ends change places; None where no row can tell.

    By its ports: the source's is a service's and the target's a client's. By its direction: inbound, where the columns
    are of a local and a remote end; source and destination are what they are called whichever way the traffic goes.
    """
    at_source, at_target, way = (_column(table, name) for name in ("source_port", "port", "direction"))
    flips: list[int] | None = None
    if at_source is not None and at_target is not None:
        serves = [isinstance(port, int) and is_service(port) for port in at_source.values]
        asks = [isinstance(port, int) and is_ephemeral(port) for port in at_target.values]
        flips = [
            _BY_PORTS if serves[one] and asks[other] else _STRAIGHT
            for one, other in zip(at_source.codes, at_target.codes, strict=True)
        ]
    if way is not None and _is_relative(table):
        inbound = [isinstance(text, str) and text.strip().lower() in _INBOUND for text in way.values]
        if any(inbound):
            before = flips or repeat(_STRAIGHT, len(table))
            flips = [_BY_WORDS if inbound[code] else flip for code, flip in zip(way.codes, before, strict=False)]
    return flips


def _is_relative(table: CleanTable) -> bool:
    """Are the ends called local and remote rather than source and destination?"""
    return bool(_words_of_ends(table, "source", "target") & _RELATIVE)


def _one_port(table: CleanTable, details: _Part, flips: list[int] | None) -> None:
    """Keep of two ports the one that answers: the source's in rows that are turned, else the target's."""
    column = _column(table, "source_port")
    if column is None:
        return
    known = [port is not None for port in column.values]
    codes = column.codes
    swapped = [flip != _STRAIGHT and known[code] for flip, code in zip(flips or repeat(_STRAIGHT), codes, strict=False)]
    details.blank_where(_PORT, swapped)
    details.blank_where(_SOURCE_PORT, [not one for one in swapped])


def _end(directory: Directory, told: tuple[Any, ...], prefer: str) -> _End:
    name, addresses, application = told
    listed = [addresses] if isinstance(addresses, str) else list(addresses or ())
    found = directory.end(name, listed, prefer=prefer)
    if found is None and application:
        found = directory.end(application, prefer=APPLICATION)
    return _End(None) if found is None else _End(*found, application)


def _said(told: tuple[Any, ...], stated: Relation | None) -> tuple[Detail, Relation | None]:
    """(detail, relation) of the values of a row."""
    port, protocol, process, client, words, direction, source_port = told
    relation = understand(words) if words else None
    if direction and direction.strip().lower() in _DIRECTIONS:
        relation = understand(direction)
    relation = relation or stated
    return Detail(
        port if source_port is None else source_port, protocol, process, client, relation.phrase if relation else None
    ), relation


def _times(table: CleanTable, edges: Edges, numbers: Sequence[int], places: Sequence[int]) -> None:
    for target in _TIMES:
        column = _column(table, target)
        if column is None:
            continue
        ranks = [edges.clock.rank(value) for value in column.values]
        codes = column.codes
        edges.seen(
            numbers,
            (ranks[codes[place]] for place in places),
            first=target != "last_seen",
            last=target != "first_seen",
        )


def _amounts(table: CleanTable, edges: Edges, numbers: Sequence[int], places: Sequence[int]) -> None:
    for target, kept in (("bytes", edges.bytes), ("connections", edges.connections)):
        column = _column(table, target, added=True)
        if column is not None:
            values, codes = column.values, column.codes
            edges.add(kept, numbers, (values[codes[place]] for place in places))


# --- columns that name others ---------------------------------------------------------------------------------


def read_relations(table: CleanTable, edges: Edges) -> None:
    """Take the columns of a MACHINES or APPLICATIONS table that name other assets.

    An application is hosted on a machine (`application_name` of a machine where the application is an asset, `hosts`),
    a machine runs on a hypervisor, either depends on others or uses databases.
    """
    start = edges.enter(table)
    own = _own(table, edges.directory)
    numbers: list[int] = []
    rows: list[int] = []
    for target in RELATIONAL:
        for column in table.of(target):
            ends = [_others(edges.directory, table.role, target, value) for value in column.values]
            known: dict[tuple[int, int], list[int]] = {}
            for row, code in enumerate(column.codes):
                if not ends[code]:
                    continue
                end, confidence = own(row)
                if end is None:
                    continue
                found = known.get((end, code))
                if found is None:
                    found = known[end, code] = _related(edges, target, end, confidence, ends[code])
                numbers.extend(found)
                rows.extend(repeat(start + row, len(found)))
    edges.observe(numbers, rows)


def _own(table: CleanTable, directory: Directory) -> Callable[[int], tuple[int | None, float]]:
    """(end, confidence) of the asset that a row speaks of: the asset it became, else by its name."""
    place = table.file, table.sheet
    naming = _Part(table, NAMING)
    codes, values = naming.coded(), naming.values()
    prefer = APPLICATION if table.role == APPLICATIONS else MACHINE
    named: dict[int, tuple[int | None, float]] = {}

    def own(row: int) -> tuple[int | None, float]:
        asset = directory.at(place, table.numbers[row])
        if asset is not None:
            return asset, 1.0
        code = codes[row]
        if code not in named:
            name, hostname, fqdn, addresses = values[code]
            found = directory.end(name or hostname or fqdn, addresses or (), prefer=prefer)
            named[code] = found or (None, 0.0)
        return named[code]

    return own


def _others(directory: Directory, role: str, target: str, value: Any) -> list[tuple[int, float]]:
    """(end, confidence) of what a cell names."""
    if not value or (target == "application_name" and role == APPLICATIONS):
        return []
    if target == "application_name":
        return [(found, 1.0) for found in directory.applications(value)]
    prefer = DATABASE if target == "databases" else MACHINE
    if target == "depends_on" and role == APPLICATIONS:
        prefer = APPLICATION
    names = [value] if isinstance(value, str) else value
    return [end for name in dict.fromkeys(names) if (end := directory.end(name, prefer=prefer)) is not None]


def _related(edges: Edges, target: str, own: int, confidence: float, others: Iterable[tuple[int, float]]) -> list[int]:
    relation = {"depends_on": DEPENDS_ON, "databases": USES_DATABASE}.get(target, RUNS_ON)
    numbers = []
    for other, sure in others:
        ends = (other, own) if target == "application_name" else (own, other)
        if own == other and target == "application_name":
            continue
        detail = Detail(relation=relation.phrase)
        numbers.append(edges.number(Edge(*ends, detail, min(confidence, sure), BY_RELATION)))
    return numbers
