"""Figures over many flows: histograms that can be added up, and the stretches of time that sums are kept for.

A histogram is one integer: a value falls into a slot, and each value of slot n counts 10^(12 n). So histograms are added by
adding, in Python and in PostgreSQL alike, and a slot holds up to 10^12 values. A slot is as wide as a quarter of a doubling, so
a value read back is at most 9.1 % off.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from math import ceil, floor, log2
from typing import Any, NamedTuple

DIGITS = 12
SLOTS_PER_DOUBLING = 4
LAST_SLOT = 160
"""2^40: milliseconds of 34 years."""
ERROR = 2 ** (1 / (2 * SLOTS_PER_DOUBLING)) - 1
"""How far a value that is read back may be off, as a part of it; values below 1 are read back as 0."""

SPANS = ("month", "day", "hour")


def held(value: float) -> int:
    """The histogram that holds this one value."""
    slot = 0 if value < 1 else min(1 + floor(SLOTS_PER_DOUBLING * log2(value)), LAST_SLOT)
    return int(10 ** (DIGITS * slot))


def slots(histogram: int) -> Iterator[tuple[int, int]]:
    """The slots that hold something, the lowest first, and how much."""
    slot, whole = 0, 10**DIGITS
    while histogram:
        histogram, count = divmod(histogram, whole)
        if count:
            yield slot, count
        slot += 1


def counted(histogram: int) -> int:
    """How many values it holds."""
    return sum(count for _, count in slots(histogram))


def quantile(histogram: int, part: float) -> float | None:
    """The value that `part` (0 to 1) of the values do not exceed, to within ERROR; none of an empty histogram."""
    filled = list(slots(histogram))
    left = ceil(part * sum(count for _, count in filled))
    for slot, count in filled:
        left -= count
        if left <= 0:
            return 0.0 if slot == 0 else 2 ** ((slot - 0.5) / SLOTS_PER_DOUBLING)
    return None


def tokens(used: Any) -> int:
    """The sum of all `total_tokens` in a run's resource usage, at any depth of objects; what is inside of a sum is in it."""
    if not isinstance(used, dict):
        return 0
    own = used.get("total_tokens")
    if isinstance(own, int) and not isinstance(own, bool):
        return max(own, 0)
    return sum(tokens(inner) for inner in used.values())


class Stretch(NamedTuple):
    """A part of a window, its end not included. `span` says whose sums hold it; none: it is less than an hour of its own."""

    span: str | None
    since: datetime | None
    until: datetime | None


def begin_of(at: datetime, span: str) -> datetime:
    """When the month, day or hour (UTC) began in which this is."""
    at = at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    if span != "hour":
        at = at.replace(hour=0)
    return at.replace(day=1) if span == "month" else at


def end_of(at: datetime, span: str) -> datetime:
    """The first begin of a month, day or hour that is not before this."""
    begin = begin_of(at, span)
    if begin == at:
        return begin
    if span == "month":
        return begin_of(begin + timedelta(days=31), span)
    return begin + (timedelta(hours=1) if span == "hour" else timedelta(days=1))


def cover(since: datetime | None, until: datetime | None, spans: tuple[str, ...] = SPANS) -> list[Stretch]:
    """The stretches that a window is made of, as few as there can be; without an end it goes on for ever."""
    if not spans:
        return [Stretch(None, since, until)]
    span, *finer = spans
    first = end_of(since, span) if since is not None else None
    last = begin_of(until, span) if until is not None else None
    if first is not None and last is not None and first >= last:
        return cover(since, until, tuple(finer))
    found = [Stretch(span, first, last)]
    if first != since:
        found = cover(since, first, tuple(finer)) + found
    if last != until:
        found += cover(last, until, tuple(finer))
    return found
