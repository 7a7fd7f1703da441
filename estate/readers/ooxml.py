"""xlsx and xlsm: the sheets of the workbook, their texts and their number formats; read part by part, as streams."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.parsers import expat

from estate.errors import EstateError
from estate.options import ImportOptions
from estate.readers import xmlsafe
from estate.readers.layout import Sheet
from estate.readers.limits import MAX_DISTINCT, MAX_RECORD_CHARACTERS, MAX_SHEETS, MAX_TEXT_BYTES
from estate.readers.numfmt import PLAIN, NumberFormat, of_identifier
from estate.readers.parts import Parts
from estate.readers.remedies import AGAIN, DIVIDE
from estate.readers.sheetxml import Context, SheetRows, plain_text
from estate.readers.workbooks import read_sheets
from estate.tables import Warned, Workbook

Attributes = dict[str, str]


@dataclass(frozen=True, slots=True)
class SheetPart:
    """One sheet as the workbook lists it."""

    name: str
    part: str
    hidden: bool


def read_ooxml(path: Path, name: str, options: ImportOptions, container: str) -> Workbook:
    """The tables of an xlsx or xlsm file. Macros, links and embedded objects are not looked at.

    Raises EstateError `unreadable_file, encrypted_workbook, too_large, cell_too_large, not_a_table, unsafe_xml`.
    """
    warnings: list[Warned] = []
    with Parts(path, name) as parts:
        workbook = _workbook_part(parts)
        relations = _relations(parts, workbook)
        listed, since_1904 = _sheets(parts, workbook, relations)
        texts = list(_texts(parts, relations))
        context = Context(name, texts, _formats(parts, relations), since_1904)
        if any(kind.endswith("/externalLink") for kind, _ in relations.values()):
            told = f"{name} holds links to other workbooks; they were not followed."
            warnings.append(Warned("external_links", told))
        if any(entry.lower().endswith("vbaproject.bin") for entry in parts.names):
            warnings.append(Warned("macros", f"{name} holds macros; they were not run."))

        def sheets() -> Iterator[tuple[Sheet, bool, SheetRows]]:
            for sheet in listed:
                if options.wants(sheet.name):
                    rows = SheetRows(parts, sheet.part, sheet.name, context)
                    made = Sheet(name, sheet.name, rows.rows(), shifts=False, options=options, merges=rows.merges)
                    yield made, sheet.hidden, rows

        tables = read_sheets(name, sheets(), options, [one.name for one in listed], warnings)
    return Workbook(name, container, tables, warnings)


def _parse(parts: Parts, part: str, start: Callable[[str, Attributes], None]) -> None:
    """Go through a part; `start` is called with each element's name, without prefix, and its attributes."""
    made = xmlsafe.parser(parts.name)
    made.StartElementHandler = lambda tag, attributes: start(xmlsafe.local(tag), attributes)
    try:
        for chunk in parts.chunks(part):
            made.Parse(chunk, False)
        made.Parse(b"", True)
    except expat.ExpatError as error:
        raise xmlsafe.broken(error, parts.name, "a workbook") from error


def _workbook_part(parts: Parts) -> str:
    if parts.has("_rels/.rels"):
        for kind, target in _relations(parts, "").values():
            if kind.endswith("/officeDocument") and parts.has(target):
                return target
    found = sorted(entry for entry in parts.names if re.fullmatch(r"xl/workbook\d*\.xml", entry, re.IGNORECASE))
    if not found:
        raise EstateError(
            "unreadable_file", f"{parts.name} cannot be read as a workbook: its list of sheets is missing; {AGAIN}.",
            file=parts.name,
        )  # fmt: skip
    return found[0]


def _relations(parts: Parts, part: str) -> dict[str, tuple[str, str]]:
    """The parts that a part refers to inside of the file, by their identifier: (kind, path)."""
    folder, name = posixpath.split(part)
    found: dict[str, tuple[str, str]] = {}

    def start(tag: str, attributes: Attributes) -> None:
        if tag != "Relationship" or "Id" not in attributes:
            return
        kind, target = attributes.get("Type", ""), attributes.get("Target", "").replace("\\", "/")
        if attributes.get("TargetMode") == "External" and not kind.endswith("/externalLink"):
            return
        whole = target if target.startswith("/") else posixpath.join(folder, target)
        found[attributes["Id"]] = (kind, posixpath.normpath(whole).lstrip("/"))

    where = posixpath.join(folder, "_rels", f"{name}.rels")
    if parts.has(where):
        _parse(parts, where, start)
    return found


def _sheets(parts: Parts, workbook: str, relations: dict[str, tuple[str, str]]) -> tuple[list[SheetPart], bool]:
    """The worksheets in order, and whether days are counted from 1904."""
    found: list[SheetPart] = []
    since_1904 = False

    def start(tag: str, attributes: Attributes) -> None:
        nonlocal since_1904
        if tag == "workbookPr":
            since_1904 = attributes.get("date1904", "0").lower() in {"1", "true", "on"}
        if tag != "sheet":
            return
        identifier = next((value for key, value in attributes.items() if key.endswith(":id") or key == "id"), "")
        kind, part = relations.get(identifier, ("", ""))
        if kind.endswith("/worksheet") and parts.has(part):
            hidden = attributes.get("state", "visible") != "visible"
            found.append(SheetPart(attributes.get("name", f"sheet {len(found) + 1}"), part, hidden))
        elif not kind:
            raise EstateError(
                "unreadable_file",
                f"{parts.name} cannot be read as a workbook: sheet {attributes.get('name', '')[:80]} is missing; {AGAIN}.",
                file=parts.name,
            )

    _parse(parts, workbook, start)
    if len(found) > MAX_SHEETS:
        raise EstateError(
            "too_large",
            f"{parts.name} has {len(found)} sheets; at most {MAX_SHEETS} are read; {DIVIDE}.",
            file=parts.name,
        )
    return found, since_1904


def _formats(parts: Parts, relations: dict[str, tuple[str, str]]) -> list[NumberFormat]:
    """The number format of every cell style."""
    part = next((part for kind, part in relations.values() if kind.endswith("/styles") and parts.has(part)), None)
    codes: dict[int, str] = {}
    styles: list[NumberFormat] = []
    inside = False
    known: dict[int, NumberFormat] = {}

    def start(tag: str, attributes: Attributes) -> None:
        nonlocal inside
        if tag == "numFmt" and attributes.get("numFmtId", "").isdigit():
            codes[int(attributes["numFmtId"][:9])] = attributes.get("formatCode", "")[:500]
        elif tag in {"cellXfs", "cellStyleXfs", "cellStyles", "dxfs"}:
            inside = tag == "cellXfs"
        elif tag == "xf" and inside and len(styles) < 70_000:
            told = attributes.get("numFmtId", "0")
            identifier = int(told[:9]) if told.isdigit() else 0
            if identifier not in known:
                known[identifier] = of_identifier(identifier, codes.get(identifier))
            styles.append(known[identifier])

    if part is not None:
        _parse(parts, part, start)
    return styles or [PLAIN]


# --- shared texts -------------------------------------------------------------------------------------------------

_SIMPLE = re.compile(
    rb'<(?:\w+:)?si>\s*<(?:\w+:)?t(?: xml:space="preserve")?(?:/>|>([^<]*)</(?:\w+:)?t>)\s*</(?:\w+:)?si>'
)
_END = re.compile(rb"</(?:\w+:)?si>")


def _texts(parts: Parts, relations: dict[str, tuple[str, str]]) -> Iterator[str]:
    """The texts that cells refer to by number."""
    part = next((one for kind, one in relations.values() if kind.endswith("/sharedStrings") and parts.has(one)), None)
    if part is None:
        return
    rest, count, size = b"", 0, 0
    for chunk in parts.chunks(part):
        size += len(chunk)
        if size > MAX_TEXT_BYTES:
            raise EstateError(
                "too_large",
                f"{parts.name} holds more than {MAX_TEXT_BYTES:,} bytes of texts; {DIVIDE}.",
                file=parts.name,
            )
        if not count and b"<!DOCTYPE" in chunk:
            raise xmlsafe.refusal(parts.name)
        data = rest + chunk
        ends = [found.end() for found in _END.finditer(data)]
        if not ends:
            rest = data
            if len(rest) > MAX_RECORD_CHARACTERS:
                raise EstateError(
                    "too_large",
                    f"{parts.name}: a text is too long; shorten it and upload the file again.",
                    file=parts.name,
                )
            continue
        whole, rest = data[: ends[-1]], data[ends[-1] :]
        simple = _SIMPLE.findall(whole)
        count += len(ends)
        if count > MAX_DISTINCT:
            raise EstateError(
                "too_large", f"{parts.name} holds more than {MAX_DISTINCT:,} texts; {DIVIDE}.", file=parts.name
            )
        if len(simple) == len(ends) == len(re.findall(rb"<(?:\w+:)?si[\s/>]", whole)):
            try:
                yield from [plain_text(xmlsafe.unescape(text)) for text in simple]
            except ValueError as error:
                raise EstateError(
                    "unreadable_file", f"{parts.name} cannot be read as a workbook ({error}); {AGAIN}.", file=parts.name
                ) from error
        else:
            yield from _rich_texts(whole, parts.name)


def _rich_texts(data: bytes, name: str) -> list[str]:
    """Texts made of runs; readings of Asian characters are left out."""
    made = xmlsafe.parser(name)
    found: list[str] = []
    pieces: list[str] = []
    skip = [0]
    reading = [False]

    def start(tag: str, _: Attributes) -> None:
        tag = xmlsafe.local(tag)
        if tag == "si":
            pieces.clear()
        skip[0] += tag == "rPh"
        reading[0] = tag == "t"

    def end(tag: str) -> None:
        tag = xmlsafe.local(tag)
        skip[0] -= tag == "rPh"
        reading[0] = False
        if tag == "si":
            found.append(plain_text("".join(pieces)))

    def text(piece: str) -> None:
        if reading[0] and not skip[0]:
            pieces.append(piece)

    made.StartElementHandler, made.EndElementHandler, made.CharacterDataHandler = start, end, text
    at = re.search(rb"<(?:\w+:)?si[\s/>]", data)
    try:
        made.Parse(b"<sst>" + (data[at.start() :] if at else b"") + b"</sst>", True)
    except expat.ExpatError as error:
        raise xmlsafe.broken(error, name, "a workbook") from error
    return found
