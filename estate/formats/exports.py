"""Exports of known tools: by which columns they are recognised, and what their columns mean.

Columns are compared without blanks, brackets, capitals, `*` and `(optional)`, in which the versions of a tool differ.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from estate.dates import ORDERS
from estate.lexicon import compact

UNUSED, KEPT, ASKED = "unused", "kept", "asked"
"""What becomes of the columns an export's list does not name: left out, kept as attributes, mapped by their meaning."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a known column means; `target` None = known and of no use, `custom_attributes` = kept under its name."""

    target: str | None
    unit: str | None = None
    rank: int = 0
    """Of the columns of a table for one target, those of the lowest rank that are not blank say it."""
    otherwise: Meaning | None = None
    """What it means where a column of a lower rank says the target."""
    date_order: str | None = None
    """How the tool writes dates whose parts could be read either way."""
    sure: bool = True
    """False where other tools use the same column name with another unit: the values have to agree."""


KEEP = Meaning("custom_attributes")
DROP = Meaning(None)


@dataclass(frozen=True, slots=True)
class Export:
    """One table of one tool."""

    kind: str
    """`<product>.<table>`."""
    role: str
    needs: tuple[frozenset[str], ...]
    """Of each set at least one column must be there (compact names)."""
    columns: dict[str, Meaning] = field(default_factory=dict)
    patterns: tuple[tuple[re.Pattern[str], Meaning], ...] = ()
    rest: str = ASKED
    why_ignored: str = ""
    prefix: str = ""
    """Put before every column name by one variant of the export, in compact spelling."""
    spelled: dict[str, str] = field(default_factory=dict)
    """Other spellings of columns (with a prefix: after it only): compact name -> compact name."""

    @property
    def product(self) -> str:
        """The tool."""
        return self.kind.split(".", 1)[0]

    def key(self, name: str) -> str:
        """The compact name of a column under which `columns` may know it."""
        found = compact(name)
        if not self.prefix:
            return self.spelled.get(found, found)
        if not found.startswith(self.prefix):
            return found
        bare = found[len(self.prefix) :]
        return self.spelled.get(bare, bare)

    def recognises(self, names: frozenset[str]) -> bool:
        """Are the columns (compact names) those of this export?"""
        own = names
        if self.prefix or self.spelled:
            own = frozenset(map(self.key, names))
        return all(some & own for some in self.needs)

    def meaning(self, name: str) -> Meaning | None:
        """What a column means; None where the export's list does not name it."""
        key = self.key(name)
        if key in self.columns:
            return self.columns[key]
        return next((meaning for pattern, meaning in self.patterns if pattern.fullmatch(key)), None)


def export(
    kind: str,
    role: str,
    needs: str,
    columns: str = "",
    *,
    rest: str = ASKED,
    why_ignored: str = "",
    prefix: str = "",
    spelled: dict[str, str] | None = None,
) -> Export:
    """An Export from its lists.

    `needs`: column names, `,` = and, `|` = or. `columns`: a line each, `name; other name -> target unit rank`, with
    `| target unit` for what it means where a lower rank says the target; `+` keeps a column, `-` drops it; a unit with
    `?` has to agree with the values; `{n}` in a name is any number.
    """
    known: dict[str, Meaning] = {}
    patterns: list[tuple[re.Pattern[str], Meaning]] = []
    for line in filter(None, map(str.strip, columns.splitlines())):
        names, _, said = line.partition(" -> ")
        meaning = _meaning(said)
        for name in names.split("; "):
            if "{n}" in name:
                pieces = [re.escape(compact(piece)) for piece in name.split("{n}")]
                patterns.append((re.compile(r"\d+".join(pieces)), meaning))
            else:
                known[compact(name)] = meaning
    wanted = tuple(frozenset(map(compact, some.split("|"))) for some in needs.split(","))
    aliases = {compact(other): compact(name) for other, name in (spelled or {}).items()}
    return Export(kind, role, wanted, known, tuple(patterns), rest, why_ignored, compact(prefix), aliases)


def _meaning(said: str) -> Meaning:
    first, _, otherwise = said.partition(" | ")
    other = _meaning(otherwise) if otherwise else None
    target, *details = first.split()
    if target in {"+", "-"}:
        return KEEP if target == "+" else DROP
    rank, unit, order = 0, None, None
    for detail in details:
        if detail.isdigit():
            rank = int(detail)
        elif detail in ORDERS:
            order = detail
        else:
            unit = detail.replace("_", " ")
    sure = unit is None or not unit.endswith("?")
    return Meaning(target, unit.rstrip("?") if unit is not None else None, rank, other, order, sure)
