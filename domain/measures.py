"""Figures over many flows: histograms that can be added up, and the stretches of time that sums are kept for.

A histogram is one integer: a value falls into a slot, and each value of slot n counts 10^(12 n). So histograms are added by
adding, in Python and in PostgreSQL alike, and a slot holds up to 10^12 values. A slot is as wide as a quarter of a doubling, so
a value read back is at most 9.1 % off.
"""

from __future__ import annotations

from bisect import bisect_left
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from math import ceil, floor, log2
from typing import Any, NamedTuple

DIGITS = 12
SLOTS_PER_DOUBLING = 4
LAST_SLOT = 160
"""2^40: milliseconds of 34 years."""
ERROR = 2 ** (1 / (2 * SLOTS_PER_DOUBLING)) - 1
"""How far a value that is read back may be off, as a part of it; values below 1 are read back as 0."""

LENGTHS = {
    "30 days": timedelta(days=30),
    "5 days": timedelta(days=5),
    "day": timedelta(days=1),
    "6 hours": timedelta(hours=6),
    "hour": timedelta(hours=1),
}
"""How long the stretches are that sums are kept for, each a whole number of times the next one, counted from 1970 (UTC)."""
SPANS = ("month", *LENGTHS)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


_ONE_IN: tuple[int, ...] = tuple(10 ** (DIGITS * slot) for slot in range(LAST_SLOT + 1))


def held(value: float) -> int:
    """The histogram that holds this one value."""
    slot = 0 if value < 1 else min(1 + floor(SLOTS_PER_DOUBLING * log2(value)), LAST_SLOT)
    return _ONE_IN[slot]


class Spread(NamedTuple):
    """How many values a histogram holds, and the values that the wanted parts (0 to 1) of them do not exceed, to within ERROR;
    none of an empty histogram."""

    held: int
    values: tuple[float | None, ...]


def spread(histogram: int | str, *parts: float) -> Spread:
    """What a histogram holds, read in one go; it may be given by its decimal digits."""
    text = str(histogram)
    # the slots below the smallest value are empty
    first = (len(text) - len(text.rstrip("0"))) // DIGITS
    last = -(-len(text) // DIGITS)
    text = text.zfill(last * DIGITS)
    held_up_to = list(accumulate(int(text[(last - n - 1) * DIGITS : (last - n) * DIGITS]) for n in range(first, last)))
    count = held_up_to[-1] if held_up_to else 0
    if not count:
        return Spread(0, (None,) * len(parts))
    return Spread(count, tuple(_value(first + bisect_left(held_up_to, ceil(part * count))) for part in parts))


def _value(slot: int) -> float:
    return 0.0 if slot == 0 else 2 ** ((slot - 0.5) / SLOTS_PER_DOUBLING)


def quantile(histogram: int | str, part: float) -> float | None:
    """The value that `part` (0 to 1) of the values do not exceed; see Spread."""
    return spread(histogram, part).values[0]


def counted(histogram: int | str) -> int:
    """How many values it holds."""
    return spread(histogram).held


def tokens(used: Any) -> int:
    """The sum of all `total_tokens` in a run's resource usage, at any depth of objects; what is inside of a sum is in it."""
    if not isinstance(used, dict):
        return 0
    own = used.get("total_tokens")
    if isinstance(own, int) and not isinstance(own, bool):
        return max(own, 0)
    return sum(tokens(inner) for inner in used.values())


class Stretch(NamedTuple):
    """A part of a window, its end not included. `span` says whose sums hold it; none: it is less than an hour."""

    span: str | None
    since: datetime | None
    until: datetime | None


def begin_of(at: datetime, span: str) -> datetime:
    """When the stretch began in which this is."""
    if span == "month":
        return at.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    length = LENGTHS[span]
    return EPOCH + (at - EPOCH) // length * length


def end_of(at: datetime, span: str) -> datetime:
    """The first begin of a stretch that is not before this."""
    begin = begin_of(at, span)
    if begin == at:
        return begin
    return begin_of(begin + timedelta(days=31), span) if span == "month" else begin + LENGTHS[span]


def cover(since: datetime | None, until: datetime | None, spans: tuple[str, ...] = tuple(LENGTHS)) -> list[Stretch]:
    """The stretches that a window is made of, as few as there can be; without an end it goes on for ever.

    Each of `spans` must be made of whole ones of the next.
    """
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
