"""Until when products are supported: the dated tables shipped with the package, and what they say on a day."""

from __future__ import annotations

import csv
import datetime as dt
import re
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files

ENDING_SOON_DAYS = 365
ENDING_DAYS = 730
KINDS = ("paid", "included", "community", "none")


@dataclass(frozen=True, slots=True)
class Support:
    """Until when a product version is supported."""

    product: str
    version: str
    end_of_support: dt.date | None
    """None: the vendor has announced no end."""
    extended_end: dt.date | None
    extended_kind: str
    """What the extended support is: `paid` for, `included` in the licence, by a `community`, `none`."""
    source: str
    checked: dt.date | None
    """The day on which the dates were compared with their source; None where they were not."""

    @property
    def last_day(self) -> dt.date:
        """The last day of any support."""
        return self.extended_end or self.end_of_support or dt.date.max


@dataclass(frozen=True, slots=True)
class Successor:
    """Where a product goes from here."""

    upgrade_to: str
    extended_support: str
    """What the vendor calls its extended support; blank where there is none."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the table says of a product version on a day."""

    state: str
    """supported, ending, extended, ended; uncertain (the version may be several, which differ); not_in_table."""
    severity: str | None = None
    said: str = ""
    """The state as half a sentence."""
    entry: Support | None = None
    exact: bool = True
    """The version itself is in the table, not only the release it belongs to."""


def rows_of(name: str) -> list[dict[str, str]]:
    """The rows of a csv file in `estate/data`."""
    text = files("estate").joinpath("data", name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def date_of(text: str) -> dt.date | None:
    """A day of the tables; None where it is blank."""
    return dt.date.fromisoformat(text) if text else None


@cache
def support_table() -> dict[tuple[str, str], Support]:
    """The table `data/end_of_support.csv`, by (product, version)."""
    return {
        (row["product"], row["version"]): Support(
            row["product"],
            row["version"],
            date_of(row["end_of_support"]),
            date_of(row["extended_end"]),
            row["extended_kind"],
            row["source"],
            date_of(row["checked"]),
        )
        for row in rows_of("end_of_support.csv")
    }


@cache
def successors() -> dict[str, Successor]:
    """The table `data/successors.csv`, by product."""
    return {row["product"]: Successor(row["upgrade_to"], row["extended_support"]) for row in rows_of("successors.csv")}


@cache
def versions_of(product: str) -> dict[str, Support]:
    """The versions of a product in the table; empty for a product that is not there."""
    return {entry.version: entry for (name, _), entry in support_table().items() if name == product}


def base_version(version: str) -> str:
    """The release a version belongs to: without service pack, update or the letter of a name (`2014 SP3` -> `2014`,
    `8u202` -> `8`, `11g` -> `11`)."""
    bare = re.sub(r"\s+(?:SP|CU)\s?\d+.*$", "", version)
    return re.sub(r"^(\d+(?:\.\d+)*)(?:u\d+|ai|[cgi])$", r"\1", bare)


@lru_cache(maxsize=8192)
def candidates(product: str, version: str) -> tuple[Support, ...]:
    """The entries that a version may mean: one where it is exact or belongs to one release (`7.9` -> `7`), several
    where it is a choice (`2008/2008 R2`) or names less than the table tells apart (`11g`; 15 without its service
    pack), none where it is not in the table."""
    found: list[Support] = []
    for one in version.split("/"):
        found.extend(entry for entry in _entries(versions_of(product), one.strip()) if entry not in found)
    return tuple(found)


def _entries(versions: dict[str, Support], version: str) -> list[Support]:
    packs = [entry for name, entry in versions.items() if name.startswith(f"{version} SP")]
    if version in versions:
        return [versions[version], *packs]
    if packs:
        return packs
    bare = base_version(version)
    if any(name.startswith(f"{bare} SP") for name in versions):
        return []
    numbers = bare.split(".")
    for count in range(len(numbers), 0, -1):
        entry = versions.get(".".join(numbers[:count]))
        if entry is not None:
            return [entry]
    return [entry for name, entry in versions.items() if name.startswith((f"{bare}.", f"{bare} "))]


def find_support(product: str, version: str) -> Support | None:
    """The one entry of a product version: its own, else that of the release it belongs to; None where there is none or
    the version may mean several."""
    own = support_table().get((product, version))
    if own is not None:
        return own
    found = candidates(product, version)
    return found[0] if len(found) == 1 else None


@lru_cache(maxsize=8192)
def verdict(product: str, version: str, today: dt.date) -> Verdict:
    """What the table says of a product version on a day.

    Ended: after the last day of any support, critical. Extended: between the end of support and the end of the
    extended one, high where that is paid for, medium where it comes by itself (included, community). Ending: less than
    365 days before the end medium, less than 730 low. Of a version that may be several, only what is true of all.
    """
    if version.endswith(" or later"):
        return Verdict("uncertain")
    entries = candidates(product, version)
    if not entries:
        return Verdict("not_in_table")
    if len({_state(entry, today) for entry in entries}) > 1:
        return Verdict("uncertain")
    entry = max(entries, key=lambda one: one.last_day)
    state = _state(entry, today)
    severity, said = _told(entry, state, today)
    if said and len(entries) > 1:
        said += f" (of {entry.version}, the latest that it may be)"
    return Verdict(state, severity, said, entry, entry.version == version)


def _state(entry: Support, today: dt.date) -> str:
    end = entry.end_of_support
    if end is None or today <= end:
        return "ending" if end is not None and (end - today).days < ENDING_DAYS else "supported"
    return "ended" if today > entry.last_day else "extended"


def _told(entry: Support, state: str, today: dt.date) -> tuple[str | None, str]:
    end, extended = entry.end_of_support, entry.extended_end
    if end is None or state == "supported":
        return None, ""
    if state == "ended":
        return "critical", f"support ended on {end}" + (f", extended support on {extended}" if extended else "")
    if state == "extended":
        severity = "high" if entry.extended_kind == "paid" else "medium"
        return severity, f"support ended on {end}; {extended_name(entry)} ends on {extended}"
    left = (end - today).days
    ends = "ends today" if left == 0 else f"ends on {end}, in {left} day{'' if left == 1 else 's'}"
    return ("medium" if left < ENDING_SOON_DAYS else "low"), f"support {ends}"


def extended_name(entry: Support) -> str:
    """The extended support of an entry in words, with the vendor's name for it."""
    words = {
        "paid": "paid extended support",
        "included": "extended support, which is included,",
        "community": "the support by its community",
    }[entry.extended_kind]
    name = successors()[entry.product].extended_support
    return f"{words} ({name})" if name and name not in {"Extended Support", "a support extension"} else words


def remedy(product: str, version: str, found: Verdict) -> str:
    """What to do about a product version that is no longer, or not much longer, supported."""
    goal, name = successors()[product].upgrade_to, f"{product} {version}"
    if base_version(version) in re.findall(r"[\w.]+", goal):
        goal = f"a later release of {product}"
    entry = found.entry
    if found.state == "ending" or entry is None:
        return f"Plan the upgrade of {name} to {goal} together with the migration."
    if found.state == "ended":
        return f"Upgrade {name} to {goal}, or retire it; do not migrate it as it is."
    if entry.extended_kind == "paid":
        bought = successors()[product].extended_support
        called = f" ({bought})" if bought not in {"Extended Support", "a support extension"} else ""
        return f"Upgrade {name} to {goal}; or buy extended support{called}, which ends on {entry.extended_end}."
    return f"Upgrade {name} to {goal} before {entry.extended_end}, when {extended_name(entry).replace(',', '')} ends."
