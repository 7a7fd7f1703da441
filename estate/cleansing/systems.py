"""Operating systems of a table: every name column put together with the version column of the same row."""

from __future__ import annotations

import re
from array import array
from dataclasses import dataclass, replace
from typing import Any

from estate.clean import CleanColumn, Use
from estate.cleansing.outcome import quoted
from estate.cleansing.rows import Changed
from estate.tables import Cell, Codes
from estate.vocabulary import OperatingSystem, parse_os

_VERSION = re.compile(r"\d+(?:\.\d+)*")


def clean_os(name: str | None, version: str | None) -> tuple[dict[str, Any], str | None]:
    """Operating system and version texts of one row taken apart: `({operating_system, os_version, os_family, os_edition,
    os_bits, os_generic, and where they are known os_service_pack, os_hint}, doubt)`.

    A version column that says the whole name (`windows server 2012 R2`) wins over a name that says only the family; one
    that says the same version more exactly (`7.9` beside `RHEL 7`) gives the version.
    """
    both = f"{name} {version}" if name and version else None
    said = [parse_os(text) for text in (version, name, both) if text]
    known = [system for system in said if system is not None]
    parsed = max(known, key=_tells, default=None)
    if parsed is None:
        return {"operating_system": name or version, "os_version": version if name else None}, (
            f"{quoted(name or version)} is no operating system we know"
        )
    clean = {
        "operating_system": parsed.product,
        "os_version": _exact(parsed, version),
        "os_family": parsed.family,
        "os_edition": parsed.edition,
        "os_bits": parsed.bits,
        "os_generic": parsed.generic or None,
    }
    if parsed.service_pack is not None:
        clean["os_service_pack"] = parsed.service_pack
    if parsed.hint is not None:
        clean["os_hint"] = parsed.hint
    return clean, None


def _tells(system: OperatingSystem) -> tuple[bool, bool, bool, int]:
    """How much a reading tells: a version, a product rather than a family, a second release; of equals the first."""
    return (
        system.version is not None,
        system.product not in {"Linux", "Windows", "UNIX", "Other"},
        not system.generic,
        int(bool(system.version and system.version.endswith(" R2"))),
    )


def _exact(parsed: OperatingSystem, version: str | None) -> str | None:
    if version is None or parse_os(version) is not None:
        return parsed.version
    if parsed.version is None:
        return version
    found = _VERSION.match(version)
    if found and found.group(0).startswith(f"{parsed.version}."):
        return found.group(0)
    return parsed.version


def contradicts(name: str | None, version: str | None) -> str | None:
    """Why an operating system's name and the version beside it cannot both be right; None when they can."""
    if not name or not version:
        return None
    one, other = parse_os(name), parse_os(version)
    if one is None:
        return None
    if other is not None:
        if one.family and other.family and one.family != other.family:
            return f"{quoted(name)} is not {quoted(version)}"
        stated, found = one.version, other.version if one.product == other.product else None
    else:
        number = _VERSION.match(version)
        stated, found = one.version, number.group(0) if number else None
    if stated is None or found is None or one.generic or (other is not None and other.generic):
        return None
    first, second = _VERSION.match(stated), _VERSION.match(found)
    # Windows builds (10.0.17763) and years count differently
    if not first or not second or (one.family == "windows" and other is None):
        return None
    if first.group(0).split(".")[0] != second.group(0).split(".")[0]:
        return f"{quoted(name)} is not version {quoted(version)}"
    return None


@dataclass(slots=True)
class TextColumn:
    """A cleansed text column with its raw cells: `values[codes[i]]` came from `raw[codes[i]]`."""

    use: Use
    raw: list[Cell]
    values: list[Any]
    codes: Codes


@dataclass(slots=True)
class Systems:
    """The operating systems of a table."""

    columns: list[CleanColumn]
    changes: list[Changed]
    doubts: list[dict[int, str]]
    """for each column, by code"""
    contradictions: tuple[Codes, dict[int, str]] | None = None
    """(code per row, why a name and the version beside it cannot both be right); None where there are not both"""


def put_together(names: list[TextColumn], versions: list[TextColumn]) -> Systems:
    """One column of operating systems for every name column, each with the first version column; the version column
    alone where there is no name column."""
    version = min(versions, key=lambda column: column.use.rank, default=None)
    found = Systems([], [], [])
    if not names:
        if version is not None:
            _add(found, None, version)
        return found
    for name in names:
        _add(found, name, version)
    return found


def _add(found: Systems, name: TextColumn | None, version: TextColumn | None) -> None:
    base = name or version
    assert base is not None
    pairs: dict[tuple[int, int], int] = {(0, 0): 0}
    codes = array("I")
    first = name.codes if name else array("I", bytes(4 * len(base.codes)))
    second = version.codes if version else array("I", bytes(4 * len(base.codes)))
    for pair in zip(first, second, strict=True):
        code = pairs.get(pair)
        if code is None:
            code = pairs[pair] = len(pairs)
        codes.append(code)
    values: list[Any] = []
    doubts: dict[int, str] = {}
    contradictions: dict[int, str] = {}
    of_name, of_version = _Told(), _Told()
    for code, (name_code, version_code) in enumerate(pairs):
        stated = name.values[name_code] if name else None
        beside = version.values[version_code] if version else None
        if stated is None and beside is None:
            clean = None
        else:
            clean, doubt = clean_os(stated, beside)
            if doubt is not None:
                doubts[code] = doubt
            if (why := contradicts(stated, beside)) is not None:
                contradictions[code] = why
        values.append(clean)
        if name is not None:
            of_name.note(name.raw[name_code], stated, _said(clean))
        if version is not None:
            new = None if clean is None else clean["os_version"] if name is not None else _said(clean)
            of_version.note(version.raw[version_code], beside, new)
    use = replace(base.use, target="operating_system")
    first_column = not found.columns
    found.columns.append(CleanColumn(use, values, codes))
    found.doubts.append(doubts)
    if name is not None:
        found.changes.append(of_name.changed(name.use, codes))
    if version is not None and first_column:
        found.changes.append(of_version.changed(version.use, codes))
        found.contradictions = (codes, contradictions)


def _said(clean: dict[str, Any] | None) -> str | None:
    if clean is None:
        return None
    return " ".join(part for part in (clean["operating_system"], clean["os_version"]) if part)


class _Told:
    """What became of one of the two columns, pair by pair."""

    def __init__(self) -> None:
        self._told: list[tuple[Cell, str | None, str | None]] = []

    def note(self, raw: Cell, stated: str | None, said: str | None) -> None:
        """One cell of a pair: as it came, as a text, and what is said now."""
        if raw is None:
            self._told.append((None, None, None))
        elif stated is None:
            self._told.append((raw, None, "placeholder_to_null"))
        else:
            self._told.append((raw, said, "os_name" if said != raw else None))

    def changed(self, use: Use, codes: Codes) -> Changed:
        """The changes of the column, told once for each (old, new); `codes` are the pairs of the rows."""
        places: dict[tuple[type, Cell, str | None, str | None], int] = {}
        at = [places.setdefault((type(old), old, new, rule), len(places)) for old, new, rule in self._told]
        return Changed(
            use.field,
            use.target,
            [old for _, old, _, _ in places],
            [new for _, _, new, _ in places],
            [rule for _, _, _, rule in places],
            array("I", [at[code] for code in codes]),
        )
