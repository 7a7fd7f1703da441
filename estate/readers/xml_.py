"""XML: the element that repeats is a record, its attributes and children are the columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.parsers import expat

from estate.errors import EstateError
from estate.options import ImportOptions
from estate.readers import beside, xmlsafe
from estate.readers.limits import MAX_CELL_CHARACTERS, MAX_TABLES
from estate.readers.records import Records
from estate.readers.remedies import AGAIN, DIVIDE, FLATTER
from estate.tables import Table, Warned, Workbook

CHUNK = 1 << 20
MOST_PATHS = 50_000
MOST_DEPTH = 500
MAX_RECORD_PARTS = 1_000_000
MOST_FACTS = 1_000

Path_ = tuple[str, ...]


def read_xml(path: Path, name: str, options: ImportOptions) -> Workbook:
    """The tables of an XML file: one for each element that repeats inside of another, the outermost ones first.

    `record_path` of the options names the element instead (`inventory.servers.server`, or without the root).
    Document types and entities are refused, nothing from outside is looked at.
    Raises EstateError `unsafe_xml, unreadable_file, not_a_table, too_large, too_deep, cell_too_large`.
    """
    shape = _Shape(name)
    encoding = _parse(path, name, shape.attach)
    places = shape.places(options.record_path)
    warnings: list[Warned] = []
    if len(places) > MAX_TABLES:
        raise EstateError("too_large", f"{name}: more than {MAX_TABLES} kinds of records; {DIVIDE}.", file=name)
    for place in places:
        place.records = Records(name, ".".join(place.path()), warnings)
    _parse(path, name, _Taker(name, shape).attach)
    read_as = {"encoding": encoding}
    tables: list[Table] = []
    for place in places:
        assert place.records is not None
        sheet = ".".join(place.path()[1:]) if len(places) > 1 else None
        tables.extend(place.records.tables(sheet, read_as))
    for table in tables:
        beside.tell(table, options.table(*filter(None, (table.sheet, name, name.rsplit("/", 1)[-1]))))
    return Workbook(name, "xml", tables, warnings, encoding)


def _parse(path: Path, name: str, attach: Callable[[expat.XMLParserType], None]) -> str:
    """Go through the file once; the encoding that it declares."""
    made = xmlsafe.parser(name)
    declared = ["utf-8"]

    def declaration(_: str, encoding: str | None, __: int) -> None:
        declared[0] = (encoding or "utf-8").lower()

    made.XmlDeclHandler = declaration
    attach(made)
    try:
        with path.open("rb") as stream:
            while data := stream.read(CHUNK):
                made.Parse(data, False)
            made.Parse(b"", True)
    except expat.ExpatError as error:
        raise xmlsafe.broken(error, name) from error
    except (LookupError, ValueError) as error:
        raise EstateError("unreadable_file", f"{name} cannot be read as XML ({error}); {AGAIN}.", file=name) from error
    return declared[0]


class _Place:
    """The elements at one place of the document: how often they are there, and what they hold."""

    __slots__ = (
        "children", "count", "depth", "facts", "held_in", "most", "name", "parent", "records", "run", "seen_in",
        "structured", "told",
    )  # fmt: skip

    def __init__(self, name: str, parent: _Place | None) -> None:
        self.name = name
        self.parent = parent
        self.depth: int = parent.depth + 1 if parent is not None else 0
        self.children: dict[str, _Place] = {}
        self.count = 0
        self.most = 1
        """The most of them in one parent."""
        self.run = 0
        self.seen_in = 0
        self.held_in = 0
        self.structured = False
        self.told = False
        self.facts: set[str] = set()
        """Attributes, and children that only hold text."""
        self.records: Records | None = None

    def path(self) -> Path_:
        """The names from the root down to here."""
        names: list[str] = []
        place: _Place | None = self
        while place is not None and place.parent is not None:
            names.append(place.name)
            place = place.parent
        return tuple(reversed(names))

    def below(self) -> Iterator[_Place]:
        """The places under this one, the upper ones first."""
        waiting = list(self.children.values())
        while waiting:
            yield from waiting
            waiting = [child for place in waiting for child in place.children.values()]


class _Shape:
    """Which elements there are, how often, and what they hold."""

    def __init__(self, name: str) -> None:
        self.root = _Place("", None)
        self._name = name
        self._at = self.root
        self._places = 0

    def attach(self, made: expat.XMLParserType) -> None:
        """Listen to a parser."""
        made.StartElementHandler = self._start
        made.EndElementHandler = self._end

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        above = self._at
        place = above.children.get(tag)
        if place is None:
            place = self._new(tag, above)
        if place.seen_in == above.count:
            place.run += 1
            place.most = max(place.most, place.run)
        else:
            place.seen_in, place.run = above.count, 1
        place.count += 1
        above.held_in = above.count
        if attributes and (named := _own_attributes(attributes)):
            place.structured = True
            if len(place.facts) < MOST_FACTS:
                place.facts.update(named)
        self._at = place

    def _new(self, tag: str, above: _Place) -> _Place:
        if above.depth >= MOST_DEPTH:
            raise EstateError("too_deep", f"{self._name} is nested too deeply to be read; {FLATTER}.", file=self._name)
        self._places += 1
        if self._places > MOST_PATHS:
            raise EstateError(
                "too_large",
                f"{self._name} holds more than {MOST_PATHS:,} kinds of elements; {DIVIDE}.",
                file=self._name,
            )
        name = xmlsafe.local(tag)
        place = next((child for child in above.children.values() if child.name == name), None) or _Place(name, above)
        above.children[tag] = place
        above.structured = True
        return place

    def _end(self, _: str) -> None:
        place = self._at
        above = place.parent
        assert above is not None
        if not place.told and place.held_in != place.count and len(above.facts) < MOST_FACTS:
            above.facts.add(place.name)
            place.told = True
        self._at = above

    def places(self, wanted: str | None) -> list[_Place]:
        """Where the records are. Raises EstateError `not_a_table`."""
        if wanted is not None:
            path = tuple(wanted.split("."))
            found = next((place for place in self.root.below() if place.path() in {path, (*self._top(), *path)}), None)
            if found is None:
                raise EstateError(
                    "not_a_table",
                    f"{self._name} has no element at {wanted[:200]}; correct import_options.record_path.",
                    file=self._name,
                )
            return [found]
        records = list(self._repeated(self.root)) or self._single()
        if not records:
            raise EstateError(
                "not_a_table",
                f"{self._name} holds no element that repeats; name it in import_options.record_path.",
                file=self._name,
            )
        return records

    def _top(self) -> Path_:
        return tuple(place.name for place in list(self.root.children.values())[:1])

    def _repeated(self, above: _Place) -> Iterator[_Place]:
        """Elements that repeat and hold something, in the order of the document; what is in them belongs to them."""
        waiting = list(dict.fromkeys(above.children.values()))[::-1]
        while waiting:
            place = waiting.pop()
            if place.most > 1 and place.structured and place.depth > 1:
                yield place
            else:
                waiting.extend(list(dict.fromkeys(place.children.values()))[::-1])

    def _single(self) -> list[_Place]:
        """The one record of a file with one: the element with the most facts, below the root."""
        rich = [place for place in self.root.below() if place.depth > 1 and len(place.facts) > 1]
        return [max(rich, key=lambda place: (len(place.facts), -place.depth))] if rich else []


def _own_attributes(attributes: dict[str, str]) -> dict[str, str]:
    """Attributes without those that are about XML itself."""
    return {
        xmlsafe.local(key): value for key, value in attributes.items() if not key.startswith(("xmlns", "xsi:", "xml:"))
    }


class _Taker:
    """Builds the records, one at a time."""

    def __init__(self, name: str, shape: _Shape) -> None:
        self._name = name
        self._at = shape.root
        self._counts: Counter[_Place] = Counter()
        self._stack: list[dict[str, Any] | None] = []
        self._texts: list[str] = []
        self._text = ""
        self._size = 0

    def attach(self, made: expat.XMLParserType) -> None:
        """Listen to a parser."""
        made.StartElementHandler = self._start
        made.EndElementHandler = self._end
        made.CharacterDataHandler = self._characters

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        place = self._at = self._at.children[tag]
        stack = self._stack
        if not stack:
            if place.records is None:
                return
            self._counts[place] += 1
            self._size = 0
        elif self._text:
            self._texts[-1] += self._text
        self._text = ""
        self._size += 1
        if self._size > MAX_RECORD_PARTS:
            raise self._too_large()
        stack.append(_own_attributes(attributes) if attributes else None)
        self._texts.append("")

    def _characters(self, text: str) -> None:
        if self._stack:
            self._text += text
            if len(self._text) > MAX_CELL_CHARACTERS:
                raise self._too_large()

    def _too_large(self) -> EstateError:
        place: _Place | None = self._at
        while place is not None and place.records is None:
            place = place.parent
        number = self._counts[place] if place is not None else 0
        return EstateError(
            "cell_too_large", f"{self._name}, record {number}, {self._at.name[:80]}: more than"
            f" {MAX_CELL_CHARACTERS:,} characters, or {MAX_RECORD_PARTS:,} parts; {FLATTER}.",
            file=self._name, row=number, column=self._at.name[:80],
        )  # fmt: skip

    def _end(self, _: str) -> None:
        place = self._at
        assert place.parent is not None
        self._at = place.parent
        stack = self._stack
        if not stack:
            return
        values = stack.pop()
        before = self._texts.pop()
        text = (before + self._text).strip()
        self._text = ""
        if stack:
            above = stack[-1]
            if above is None:
                above = stack[-1] = {}
            value = _value(values, text)
            name = place.name
            if name not in above:
                above[name] = [value] if place.most > 1 else value
            elif isinstance(above[name], list):
                above[name].append(value)
            else:
                above[name] = [above[name], value]
            return
        assert place.records is not None
        record = values or {}
        if text:
            record[place.name if place.name not in record else f"{place.name} text"] = text
        place.records.add(self._counts[place], record)


def _value(values: dict[str, Any] | None, text: str) -> Any:
    """What an element says: its text, its parts, or both."""
    if not values:
        return text or None
    if not text:
        return values
    return {**values, "text" if "text" not in values else "own text": text}
