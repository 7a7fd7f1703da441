"""What its vendors do not support together: software on a system, software beside software."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from functools import cache, lru_cache

from estate.debt.support import base_version, date_of, rows_of

ANY = "*"
Part = tuple[str, str]
"""(product, version)."""


@dataclass(frozen=True, slots=True)
class Combination:
    """A pair that the vendor does not support, as the table `data/unsupported_combinations.csv` has it."""

    product: str
    versions: frozenset[str]
    platforms: tuple[str, ...]
    platform_versions: frozenset[str]
    severity: str
    statement: str
    remedy: str
    source: str
    checked: dt.date | None
    """The day on which it was compared with its source; None where it was not."""


@dataclass(frozen=True, slots=True)
class Conflict:
    """A combination found on an asset."""

    combination: Combination
    part: Part
    platforms: tuple[Part, ...]
    """What stands against it; empty where the platform is no part of the asset."""


@cache
def combinations() -> dict[str, tuple[Combination, ...]]:
    """The table by product."""
    table: dict[str, tuple[Combination, ...]] = {}
    for row in rows_of("unsupported_combinations.csv"):
        one = Combination(
            row["product"],
            frozenset(row["versions"].split(";")),
            tuple(row["platform"].split(";")),
            frozenset(row["platform_versions"].split(";")),
            row["severity"],
            row["statement"],
            row["remedy"],
            row["source"],
            date_of(row["checked"]),
        )
        table[one.product] = (*table.get(one.product, ()), one)
    return table


@lru_cache(maxsize=65536)
def unsupported(parts: tuple[Part, ...]) -> tuple[Conflict, ...]:
    """The combinations among the parts of one asset (its operating system and its software).

    Where an asset has a platform in several versions (two Javas), all of them must stand against it: the software may
    use the other one. Of several rows of the table about the same parts the first counts.
    """
    found: dict[tuple[Part, tuple[Part, ...]], Conflict] = {}
    for part in parts:
        for one in combinations().get(part[0], ()):
            if not listed(part[1], one.versions):
                continue
            against = tuple(other for other in parts if other[0] in one.platforms and other != part)
            if against and all(listed(version, one.platform_versions) for _, version in against):
                found.setdefault((part, against), Conflict(one, part, against))
    return tuple(found.values())


def without_platform(product: str, version: str, platform: str) -> Conflict | None:
    """The combination of a part with a platform that any asset may meet (a migration tool)."""
    for one in combinations().get(product, ()):
        if platform in one.platforms and listed(version, one.versions):
            return Conflict(one, (product, version), ())
    return None


@lru_cache(maxsize=8192)
def listed(version: str, versions: frozenset[str]) -> bool:
    """Is a version, whichever of its meanings (`2008/2008 R2`), among those of the table? `12` there stands for all of
    12.1 and 12.2, `2014` for every service pack of 2014, but 2008 not for 2008 R2."""
    if version.endswith(" or later"):
        return False
    return ANY in versions or all(_is_listed(one.strip(), versions) for one in version.split("/"))


def _is_listed(version: str, versions: frozenset[str]) -> bool:
    if version in versions:
        return True
    parts = base_version(version).split(".")
    return any(".".join(parts[:count]) in versions for count in range(len(parts), 0, -1))
