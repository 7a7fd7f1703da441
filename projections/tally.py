"""What one flow adds to the figures of its tenant, event by event.

The flow is folded with the same `evolve` as everywhere, without what phases take and bring, so that it stays small. A share is
a list of the numbers in NUMBERS under a kind and a name; shares only ever grow, but for a history that is told anew.

| kind | name | counts |
|---|---|---|
| `flow` | empty | the flow once, its failed attempts, its work and its time from begin to completion |
| `phase` | the phase | completions, failed attempts, work and elapsed time of each completion |
| `error` | class/code | attempts that ended so; `failed` says that it was this flow at least once |
| `transition` | `a -> b` | phases begun one after the other, and how the flow ended |
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
from msgspec.structs import replace

from domain.events import (
    FlowCancelled,
    FlowCompleted,
    FlowCreated,
    FlowEvent,
    FlowFailed,
    FlowImported,
    FlowRolledBack,
    HookCompleted,
    HookFailed,
    HookStarted,
    InputProvided,
    InputRequested,
    IterationStarted,
    PhaseCompleted,
    PhaseFailed,
    PhaseSkipped,
    PhaseStarted,
    RecoveryStarted,
    StepsCompleted,
)
from domain.flow import Flow, Meta, Recorded, evolve
from domain.measures import held, tokens
from domain.words import ENDED, PhaseStatus, Status

Json = dict[str, Any]
Key = tuple[str, str]
Numbers = list[int]

NUMBERS = ("n", "failed", "work_ms", "elapsed_ms", "cpu_ms", "tokens", "times", "peaks")
N, FAILED, WORK, ELAPSED, CPU, TOKENS, TIMES, PEAKS = range(len(NUMBERS))
FLOW: Key = ("flow", "")
MAX_NAME = 200
_NUMBERS = (int, float)

# what the figures do not go by, and would only make the flow large
DROPPED: dict[type[FlowEvent], Json] = {
    FlowCreated: {"initial_data": {}, "flow_description": None, "flow_tags": (), "ancestors": ()},
    PhaseStarted: {"inputs": {}, "options": {}},
    PhaseCompleted: {"outputs": {}, "validation_results": {}, "agent_insights": (), "handler_versions": {}},
    PhaseSkipped: {"outputs": {}, "reason": None},
    PhaseFailed: {"resolution": {}, "handler_versions": {}},
    HookStarted: {"inputs": {}, "options": {}},
    HookCompleted: {"outputs": {}, "handler_versions": {}},
    HookFailed: {"resolution": {}, "handler_versions": {}},
    InputRequested: {"suggestions": {}, "question": None, "message": ""},
    InputProvided: {"values": {}},
    IterationStarted: {"inputs": {}},
    RecoveryStarted: {"inputs": {}, "options": {}, "reason": {}},
    FlowImported: {"initial_data": {}, "flow_description": None, "flow_tags": (), "ancestors": (), "former": {}},
    FlowFailed: {"chain": ()},
}
IGNORED = frozenset(
    f"mfo.flow.{name}.v1"
    for name in (
        *("CheckpointCreated", "SignalReceived", "FlowRetried", "InputAnswered", "InputReminded", "FlowDrained"),
        *("ChildStarted", "ChildEnded", "RunReassigned", "FlowRepaired"),
    )
)
"""The names of events that change nothing here."""


class Going(msgspec.Struct, kw_only=True):
    """A flow on its way: `begun` is when its round began, `ready` when the phase in hand became the next one; where phases run
    at the same time, when the first of them did."""

    flow: Flow
    begun: datetime
    ready: datetime
    last: str = ""


class Tally(msgspec.Struct, kw_only=True):
    """What a flow comes to so far: its shares, since when it had which status (at microseconds), and how it goes on."""

    going: Going | None = None
    shares: dict[Key, Numbers] = {}
    stays: list[tuple[str, int]] = []

    @property
    def flow(self) -> Flow:
        """The flow; there is one once an event was told."""
        assert self.going is not None
        return self.going.flow

    @property
    def ended_us(self) -> int | None:
        """Since when the flow is over; none while it is not. One that was imported may have been so before it came here."""
        status, since = self.stays[-1]
        if status == Status.COMPLETED and self.flow.completed_at is not None:
            return microseconds(self.flow.completed_at)
        return since if status in ENDED else None

    def tell(self, recorded: Recorded, then: Flow | None = None) -> None:
        """Add one more event, in the order of the flow's versions; `then` is the flow after it, where somebody has folded it."""
        fact, meta = recorded.fact, recorded.meta
        if isinstance(fact, FlowCreated):
            self.going = Going(flow=Flow(id=recorded.flow_id), begun=meta.at, ready=meta.at)
            self._share(FLOW)[N] = 1
        elif isinstance(fact, FlowImported):
            self._import(recorded, fact)
        before = self.going
        assert before is not None
        self._count(before, fact, meta)
        if then is None:
            flow = evolve(before.flow, replace(recorded, fact=_light(fact)))
            then = replace(flow, transitions=(), errors=())
        before.flow = then
        self._after(before, fact, meta)
        self._stay(before.flow.status, meta.at)

    def _import(self, recorded: Recorded, fact: FlowImported) -> None:
        """Begin where the flow stood when it was taken over, which may be a second time: with the phases whose time is known."""
        done = [phase for phase in fact.phases if PhaseStatus(phase.status) is PhaseStatus.COMPLETED]
        last = done[-1].name if done else ""
        self.going = Going(flow=Flow(id=recorded.flow_id), begun=fact.created_at, ready=recorded.meta.at, last=last)
        self.shares = {}
        share = self._share(FLOW)
        share[N] = 1
        for phase in done:
            work = phase.execution_time_ms
            elapsed = work
            if phase.started_at is not None and phase.completed_at is not None:
                elapsed = milliseconds(phase.started_at, phase.completed_at)
            if elapsed or work:
                share[WORK] += work
                self._took(phase.name, work, elapsed)
        if fact.status == Status.COMPLETED and fact.completed_at is not None:
            self._completed(milliseconds(fact.created_at, fact.completed_at))
        if fact.status == Status.FAILED:
            self._failed(fact.error or {})

    def _took(self, name: str, work: int, elapsed: int) -> None:
        share = self._share(("phase", name))
        share[N] += 1
        share[WORK] += work
        share[ELAPSED] += elapsed
        share[TIMES] += held(work)

    def _completed(self, elapsed: int) -> None:
        share = self._share(FLOW)
        share[ELAPSED] += elapsed
        share[TIMES] += held(elapsed)

    def _share(self, key: Key) -> Numbers:
        share = self.shares.get(key)
        if share is None:
            share = self.shares.setdefault((key[0], key[1][:MAX_NAME]), [0] * len(NUMBERS))
        return share

    def _stay(self, status: Status, at: datetime) -> None:
        """The flow has this status from now on; one that held for no time at all it never had."""
        if self.stays and self.stays[-1][0] == status:
            return
        # the store's clock may have been set back
        since = max(microseconds(at), self.stays[-1][1]) if self.stays else microseconds(at)
        if self.stays and self.stays[-1][1] == since:
            self.stays.pop()
            if self.stays and self.stays[-1][0] == status:
                return
        self.stays.append((str(status), since))

    def _count(self, going: Going, fact: FlowEvent, meta: Meta) -> None:
        """What the event itself says, before the flow is changed by it."""
        self._share(FLOW)[WORK] += getattr(fact, "execution_time_ms", 0)
        match fact:
            case PhaseStarted(phase_name=name):
                for before in _before(going, name):
                    self._share(("transition", f"{before} -> {name}"))[N] += 1
                going.last = name
            case PhaseCompleted(phase_name=name, resource_usage=used):
                self._used(used, FLOW, ("phase", name))
            case PhaseFailed(phase_name=name, error=error):
                for key in (FLOW, ("phase", name)):
                    self._share(key)[FAILED] += 1
                self._failed(error)
            case HookFailed(error=error):
                self._failed(error)
            case FlowFailed(phase_name=name, error=error):
                phase = going.flow.phase(name)
                if phase.status is not PhaseStatus.FAILED or phase.error != error:
                    self._failed(error)
                self._ended(going, Status.FAILED)
            case FlowCancelled():
                self._ended(going, Status.CANCELLED)
            case FlowCompleted():
                self._completed(milliseconds(going.begun, meta.at))
                self._ended(going, Status.COMPLETED)
            case HookCompleted(resource_usage=used):
                self._used(used, FLOW)
            case _:
                pass

    def _after(self, going: Going, fact: FlowEvent, meta: Meta) -> None:
        """What follows from the event for the flow as it is now."""
        match fact:
            case PhaseCompleted(phase_name=name):
                work = going.flow.phase(name).execution_time_ms
                self._took(name, work, milliseconds(_ready(going, name), meta.at))
                if not going.flow.follows:
                    going.ready = meta.at
            case PhaseSkipped():
                if not going.flow.follows:
                    going.ready = meta.at
            case IterationStarted():
                going.begun = going.ready = meta.at
                going.last = ""
            case FlowRolledBack() | RecoveryStarted():
                going.ready = meta.at
            case _:
                pass

    def _failed(self, error: Json) -> None:
        share = self._share(("error", f"{error.get('class') or 'unknown'}/{error.get('code') or 'unknown'}"))
        share[N] += 1
        share[FAILED] = 1

    def _ended(self, going: Going, how: Status) -> None:
        if going.last:
            self._share(("transition", f"{going.last} -> {how}"))[N] += 1

    def _used(self, used: Json, *keys: Key) -> None:
        if not used:
            return
        seconds, peak, total = used.get("cpu_seconds"), used.get("peak_memory_mb"), tokens(used)
        cpu = round(seconds * 1000) if isinstance(seconds, _NUMBERS) else 0
        peaks = held(peak) if isinstance(peak, _NUMBERS) else 0
        for key in keys:
            share = self._share(key)
            share[CPU] += cpu
            share[PEAKS] += peaks
            share[TOKENS] += total


def _before(going: Going, name: str) -> tuple[str, ...]:
    """The phases that were begun and that this one comes right after; none where it begins once more."""
    flow = going.flow
    if flow.follows:
        again = flow.phase(name).attempt > 0
        return () if again else tuple(before for before in flow.follows[name] if flow.phase(before).attempt)
    return (going.last,) if going.last and going.last != name else ()


def _ready(going: Going, name: str) -> datetime:
    """When the phase became one to be done: where phases run at the same time, with the last of those before it."""
    if not going.flow.follows:
        return going.ready
    ends = (going.flow.phase(before).completed_at for before in going.flow.follows.get(name, ()))
    return max((going.ready, *(end for end in ends if end is not None)))


def _light(fact: FlowEvent) -> FlowEvent:
    if isinstance(fact, StepsCompleted):
        return replace(fact, results=dict.fromkeys(fact.results))
    if isinstance(fact, FlowImported):
        fact = replace(fact, phases=tuple(replace(phase, outputs={}) for phase in fact.phases))
    dropped = DROPPED.get(type(fact))
    return replace(fact, **dropped) if dropped else fact


def microseconds(at: datetime) -> int:
    """Since 1970, as a whole number."""
    return round(at.timestamp() * 1_000_000)


def milliseconds(since: datetime, at: datetime) -> int:
    """From one time to another, 0 where the clock was set back between."""
    return max(round((at - since).total_seconds() * 1000), 0)
