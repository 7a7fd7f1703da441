"""What is one thing with what: clusters of units, why they are one, and what is doubtful."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

from estate.inventory.sightings import Units

MAX_REVIEWS = 2_000
"""So many doubts are told one by one."""


class Review(NamedTuple):
    """A doubt for people: these units may be one thing, or one of them may be any of the others."""

    kind: str
    units: tuple[int, ...]
    reason: str
    confidence: float
    evidence: tuple[str, ...]
    suggestion: str


class Shared(NamedTuple):
    """A host name that more than one machine is given."""

    host: str
    units: tuple[int, ...]
    unit: int


@dataclass(slots=True)
class Resolution:
    """What is one thing with what, and why."""

    units: Units
    parent: list[int]
    members: dict[int, list[int]] = field(default_factory=dict)
    """The units of a cluster that has several, by its root."""
    evidence: list[tuple[int, str]] = field(default_factory=list)
    confidence: dict[int, float] = field(default_factory=dict)
    """Of clusters that are less than certain, by root."""
    matches: Counter[str] = field(default_factory=Counter)
    reviews: list[Review] = field(default_factory=list)
    further_reviews: int = 0
    """Doubts above `MAX_REVIEWS`, counted only."""
    shared_hosts: list[Shared] = field(default_factory=list)
    shared_addresses: dict[str, list[int]] = field(default_factory=dict)
    """Addresses that several units state, by address."""
    apart: list[tuple[int, ...]] = field(default_factory=list)
    """Units of one name that are different things by keys of different tables."""
    ambiguous: set[int] = field(default_factory=set)
    """Units that name several things and do not say which."""
    incomparable: list[tuple[str, int, int, int]] = field(default_factory=list)
    """(key, table, table, machines): two tables whose keys of this sort differ for the same machines."""

    def doubt(self, review: Review) -> None:
        """Keep a doubt for people."""
        if len(self.reviews) < MAX_REVIEWS:
            self.reviews.append(review)
        else:
            self.further_reviews += 1

    def find(self, unit: int) -> int:
        """The root of a unit's cluster."""
        parent = self.parent
        while parent[unit] != unit:
            parent[unit] = parent[parent[unit]]
            unit = parent[unit]
        return unit

    def cluster(self, unit: int) -> list[int]:
        """All units that are one with this one, in order."""
        root = self.find(unit)
        return self.members.get(root, [root])
