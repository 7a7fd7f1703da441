"""What the people of one client have approved before."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from estate.lexicon import header_key
from estate.targets import TARGETS, units_of

STEP = 0.1
"""Confidence an approval gives, and a rejection takes."""
MOST = 0.98
FIRST = 0.85
"""Confidence of a meaning that is only known from one approval; every further one adds half a step."""


@dataclass(frozen=True, slots=True)
class Vote:
    """How often a column name was approved and rejected for a target, and the unit it was approved in; none
    where people approved more than one."""

    target: str
    unit: str | None
    approvals: int
    rejections: int

    @property
    def net(self) -> int:
        """Approvals left after the rejections."""
        return self.approvals - self.rejections

    @property
    def confidence(self) -> float:
        """How sure the vote alone makes a column of the name."""
        return min(MOST, FIRST + STEP / 2 * (self.net - 1))


class Learned:
    """Votes by column name within a kind of table, and by column name alone."""

    def __init__(self, votes: Mapping[tuple[str, str | None], Mapping[str, Vote]] | None = None) -> None:
        self._votes = dict(votes or {})

    @classmethod
    def of(cls, rows: Iterable[Mapping[str, Any]]) -> Learned:
        """From rows `{source_field, kind, target_field, unit, approvals, rejections}` of one client.

        Votes on a kind of table count for that kind alone before those on all kinds do; rows of targets that are no
        longer known are passed over.
        """
        votes: dict[tuple[str, str | None], dict[str, Vote]] = defaultdict(dict)
        units: dict[tuple[str, str | None, str], set[str]] = defaultdict(set)
        for row in rows:
            target = str(row["target_field"])
            if target not in TARGETS:
                continue
            unit = row.get("unit")
            known = str(unit) if unit is not None and unit in units_of(target) else None
            name, kind = header_key(str(row["source_field"])), row.get("kind")
            for place in {(name, str(kind) if kind is not None else None), (name, None)}:
                before = votes[place].get(target, Vote(target, None, 0, 0))
                approvals = max(0, int(row.get("approvals") or 0))
                approved_in = units[*place, target]
                if known and approvals:
                    approved_in.add(known)
                votes[place][target] = Vote(
                    target,
                    next(iter(approved_in)) if len(approved_in) == 1 else None,
                    before.approvals + approvals,
                    before.rejections + max(0, int(row.get("rejections") or 0)),
                )
        return cls(votes)

    def __bool__(self) -> bool:
        return bool(self._votes)

    def votes(self, name: str, kind: str) -> Mapping[str, Vote]:
        """The votes on a column name, by target: of this kind of table where there are any, else of all kinds."""
        key = header_key(name)
        return self._votes.get((key, kind)) or self._votes.get((key, None)) or {}
