"""The parts of many measured times that are told."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

PARTS = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999, "max": 1.0}
USUAL = ("p50", "p99", "max")


def quantile(values: Iterable[float], part: float) -> float:
    """The value that so large a part of the values does not surpass; there must be one."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * part), len(ordered) - 1)]


def in_ms(seconds: Sequence[float], parts: Iterable[str] = USUAL) -> dict[str, float]:
    """Parts of so many seconds, in ms; nothing where nothing was measured."""
    ordered = sorted(seconds)
    return {part: round(quantile(ordered, PARTS[part]) * 1000, 2) for part in parts if ordered}
