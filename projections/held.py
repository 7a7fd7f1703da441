"""What was taken from a tap and is not applied yet: under load the events of flows that go on by themselves wait for the next ones.

While a run is under way nobody has anything to do about its flow, and its next event is on its way. Where many flows are in hand,
such a flow waits for 0.2 s at most, so that one row is written for several of its phases. A flow that came to rest, or to which
anything else happened than that a phase went well, never waits. With few flows in hand none does.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from math import inf
from typing import NamedTuple
from uuid import UUID

import msgspec

from domain.events import (
    TOPICS,
    CheckpointCreated,
    FlowCreated,
    FlowEvent,
    HookCompleted,
    HookStarted,
    PhaseCompleted,
    PhaseStarted,
    StepsCompleted,
)
from projections.feed import Parcel
from projections.told import Told

HELD_SECONDS = 0.2
# fewer flows than this are no load
MANY_FLOWS = 16
MOST_BYTES = 4 << 20

BEGUN: tuple[type[FlowEvent], ...] = (PhaseStarted, HookStarted, StepsCompleted)
GOES_WELL: tuple[type[FlowEvent], ...] = (*BEGUN, FlowCreated, PhaseCompleted, CheckpointCreated, HookCompleted)
UNDER_WAY = frozenset(TOPICS[event] for event in BEGUN)
ROUTINE = frozenset(TOPICS[event] for event in GOES_WELL)


class Portion(NamedTuple):
    """What is to be applied at once: the events, where each partition goes on once they are, and the last place in the log
    that each has then reached."""

    told: list[Told]
    moved: dict[int, int]
    reached: dict[int, int]

    def pass_by(self, parcel: Parcel) -> None:
        """Go on behind a parcel of whose events none is left."""
        self.moved[parcel.partition] = parcel.next_offset
        self.reached[parcel.partition] = max(self.reached.get(parcel.partition, 0), parcel.reached)


class _Lot(msgspec.Struct):
    """A parcel of which `left` events wait."""

    parcel: Parcel
    left: int


class _Flow(msgspec.Struct):
    """The events of a flow that wait, and since when the first of them does."""

    since: float
    events: list[Told] = []
    lots: list[_Lot] = []
    routine: bool = True

    @property
    def waits(self) -> bool:
        """Whether the flow goes on by itself."""
        return self.routine and self.events[-1].topic in UNDER_WAY


class Held:
    """The events in hand, flow by flow, and the parcels that they came in, partition by partition."""

    def __init__(self) -> None:
        self._flows: dict[UUID, _Flow] = {}
        self._lots: dict[int, deque[_Lot]] = {}
        self._bytes = 0

    def __bool__(self) -> bool:
        return bool(self._flows)

    @property
    def due(self) -> float:
        """When the flow that waits the longest has waited long enough; never where none waits."""
        return next((flow.since + HELD_SECONDS for flow in self._flows.values()), inf)

    def clear(self) -> None:
        """Hold nothing: it comes once more, from the store."""
        self._flows.clear()
        self._lots.clear()
        self._bytes = 0

    def add(self, parcel: Parcel, wanted: Iterable[Told], now: float) -> None:
        """Hold those events of a parcel that are wanted."""
        lot = _Lot(parcel, 0)
        for event in wanted:
            flow = self._flows.get(event.flow_id)
            if flow is None:
                flow = self._flows[event.flow_id] = _Flow(now)
            flow.events.append(event)
            flow.lots.append(lot)
            flow.routine = flow.routine and event.topic in ROUTINE
            lot.left += 1
            self._bytes += len(event.body)
        self._lots.setdefault(parcel.partition, deque()).append(lot)

    def take(self, now: float) -> Portion:
        """What need not, or must not, wait any longer. A partition goes on behind the parcels of which nothing waits."""
        many = len(self._flows) >= MANY_FLOWS and self._bytes <= MOST_BYTES
        going = [
            flow_id
            for flow_id, flow in self._flows.items()
            if not (many and flow.waits and now < flow.since + HELD_SECONDS)
        ]
        portion = Portion([], {}, {})
        for flow in map(self._flows.pop, going):
            portion.told.extend(flow.events)
            for lot in flow.lots:
                lot.left -= 1
        self._bytes -= sum(len(event.body) for event in portion.told)
        for lots in self._lots.values():
            while lots and not lots[0].left:
                portion.pass_by(lots.popleft().parcel)
        return portion
