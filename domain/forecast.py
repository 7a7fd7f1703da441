"""When flows will be done: by what the phases of past flows took, with how far that would have been off.

Time is elapsed time, from the end of the phase before: queueing, questions and pauses are in it.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from datetime import datetime
from statistics import median
from typing import NamedTuple, TypeVar

T = TypeVar("T", bound=Hashable)

AT_LEAST = 5
"""From so many flows on medians are believed."""
TESTED, KNOWN = 50, 100
NO_ONE: Mapping[str, Collection[str]] = {}


class Past(NamedTuple):
    """A flow that completed, and the seconds that its phases took, by name."""

    began: datetime
    ended: datetime
    phases: Mapping[str, float]

    @property
    def seconds(self) -> float:
        """From its begin to its end."""
        return (self.ended - self.began).total_seconds()


class Tested(NamedTuple):
    """How far forecasts of past flows were off, as parts of what the flows took: the median of all, the one that nine of ten
    do not exceed, and the median with its sign (above 0: flows took longer than was said)."""

    flows: int
    median_error: float
    p90_error: float
    bias: float


class Finish(NamedTuple):
    """In how many seconds a flow is done, and which flow it begins after, if any."""

    seconds: float
    after: Hashable | None


def medians(past: Iterable[Past]) -> dict[str, float]:
    """The median of the seconds that each phase took."""
    found: dict[str, list[float]] = {}
    for flow in past:
        for name, seconds in flow.phases.items():
            found.setdefault(name, []).append(seconds)
    return {name: median(taken) for name, taken in found.items()}


def whole(seconds: Mapping[T, float], follows: Mapping[T, Collection[T]]) -> float:
    """How long phases take that need so many seconds: the longest way where `follows` says which each comes after, all of
    them where it is empty and one comes after the other."""
    if not follows:
        return sum(seconds.values())
    # a phase that was passed over leads on to the next one all the same
    every = {**dict.fromkeys(follows, 0.0), **seconds}
    return max(end.seconds for end in finishes(every, follows).values())


def back_tested(past: Sequence[Past], follows: Mapping[str, Collection[str]] = NO_ONE) -> Tested | None:
    """How good forecasts at their begin would have been for the last 50 of these flows.

    Each is forecast by the medians of the (at most 100) flows that had ended when it began, so by nothing that was not known
    then. A flow with fewer than 5 before it is not tested; none where none can be. `follows` as in `whole`.
    """
    by_end = sorted(past, key=lambda flow: flow.ended)
    misses: list[float] = []
    for flow in by_end[-TESTED:]:
        known = [other for other in by_end if other.ended <= flow.began][-KNOWN:]
        if len(known) < AT_LEAST or flow.seconds <= 0:
            continue
        usual = medians(known)
        said = whole({name: usual.get(name, 0.0) for name in flow.phases}, follows)
        misses.append((flow.seconds - said) / flow.seconds)
    if not misses:
        return None
    sizes = sorted(abs(miss) for miss in misses)
    p90 = sizes[min(int(0.9 * len(sizes)), len(sizes) - 1)]
    return Tested(len(misses), round(median(sizes), 4), round(p90, 4), round(median(misses), 4))


def finishes(left: Mapping[T, float], waits: Mapping[T, Collection[T]]) -> dict[T, Finish]:
    """When each flow is done that has so many seconds left and begins after those that it waits for.

    Flows that wait for each other in a ring, and those after them, count as if they waited for nobody.
    """
    gates = {flow: {other for other in waits.get(flow, ()) if other in left} for flow in left}
    opens: dict[T, list[T]] = {}
    for flow, others in gates.items():
        for other in others:
            opens.setdefault(other, []).append(flow)
    open_left = {flow: len(others) for flow, others in gates.items()}
    ready = [flow for flow, n in open_left.items() if not n]
    found: dict[T, Finish] = {}
    for flow in ready:
        last = max(gates[flow], key=lambda other: found[other].seconds, default=None)
        found[flow] = Finish((found[last].seconds if last is not None else 0.0) + left[flow], last)
        for following in opens.get(flow, ()):
            open_left[following] -= 1
            if not open_left[following]:
                ready.append(following)
    return found | {flow: Finish(seconds, None) for flow, seconds in left.items() if flow not in found}


def critical_path(found: Mapping[T, Finish]) -> list[T]:
    """The flows, first to last, that decide when the last of all is done."""
    path: list[T] = []
    at = max(found, key=lambda flow: found[flow].seconds, default=None)
    while at is not None:
        path.append(at)
        at = found[at].after  # type: ignore[assignment]
    return path[::-1]
