"""What a run showed: figures from its record, as text and as JSON."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any
from uuid import UUID

import msgspec

from domain.events import PhaseFailed, PhaseStarted, RunReassigned
from tests.chaos.faults import Kind, Struck
from tests.chaos.ledger import Entry
from tests.chaos.many import Finding
from tests.chaos.record import History, Record, by_flow

Json = dict[str, Any]

KILLS = frozenset({Kind.KILL_CONSUMERS, Kind.KILL_OWNER, Kind.KILL_RELAY})
# while one of these lasts, and shortly after, nobody may be able to take a run over
DISTURBING = frozenset(
    {Kind.CRASH_POSTGRES, Kind.CLOCK_AHEAD, Kind.CLOCK_BACK, Kind.FREEZE_CONSUMERS, Kind.FREEZE_OWNER}
)
AFTERWARDS_SECONDS = 5.0


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """How long something took, in seconds."""

    count: int
    p50: float | None = None
    p90: float | None = None
    most: float | None = None

    @classmethod
    def of(cls, seconds: list[float]) -> Spread:
        """The spread of these times."""
        if not seconds:
            return cls(count=0)
        ordered = sorted(seconds)

        def at(share: float) -> float:
            return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 2)

        return cls(count=len(ordered), p50=at(0.5), p90=at(0.9), most=round(ordered[-1], 2))

    def __str__(self) -> str:
        if not self.count:
            return "none"
        return f"{self.count}, p50 {self.p50} s, p90 {self.p90} s, max {self.most} s"


class Report(msgspec.Struct, kw_only=True):
    """Figures of one run. `rerun` is the time from the kill of a process to the next beginning of the work that it had in
    hand, where nothing else was wrong meanwhile; `rerun_all` counts every such time, those during other faults too."""

    seed: int
    seconds: float
    flows: int
    shapes: dict[str, dict[str, int]]
    events: int
    faults: dict[str, int]
    commands: dict[str, int]
    work: dict[str, int]
    rerun: Spread
    rerun_all: Spread
    findings: list[Finding]
    calm: bool = True
    missed: int = 0
    restarts: dict[str, int] = {}
    driver: dict[str, int] = {}

    def as_json(self) -> str:
        """The report as one JSON document."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2).decode()

    def __str__(self) -> str:
        lines = [
            f"seed {self.seed}: {self.flows} flows, {self.events} events",
            f"{sum(self.faults.values())} faults, {self.seconds:.0f} s",
            "",
            f"findings: {len(self.findings)}",
            *(f"  {finding.code}: {finding.sentence}" for finding in self.findings[:50]),
            "" if self.calm else "it did not come to rest in time",
            "flows by shape and end:",
            *(f"  {shape:<12} {_counted(ends)}" for shape, ends in sorted(self.shapes.items())),
            "",
            "faults:",
            *(f"  {count:>3} x {kind}" for kind, count in self.faults.items()),
            f"  {self.missed} found nobody to strike; restarts: {_counted(self.restarts)}",
            "",
            f"commands: {_counted(self.commands)}",
            f"messages: {_counted(self.driver)}",
            f"work: {_counted(self.work)}",
            f"from kill to re-run: {self.rerun}",
            f"  other faults meanwhile included: {self.rerun_all}",
        ]
        return "\n".join(lines)


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "none"


def shapes(record: Record, histories: dict[UUID, History]) -> dict[str, dict[str, int]]:
    """How many flows of each shape stand in each status."""
    counted: dict[str, Counter[str]] = defaultdict(Counter)
    for one in record.plan:
        history = histories.get(one.flow_id)
        counted[one.shape][str(history.flow.status) if history else "not begun"] += 1
    return {shape: dict(ends) for shape, ends in counted.items()}


def commands(record: Record) -> dict[str, int]:
    """How many commands were sent, and what became of them."""
    outcomes = Counter(first.outcome for key, first in record.firsts.items() if key in record.asked)
    stale = sum((line.error or {}).get("code") == "run_not_current" for line in record.log)
    return {
        "asked": len(record.asked),
        "sent": sum(len(asked.doors) for asked in record.asked.values()),
        "accepted": outcomes["accepted"],
        "silent": outcomes["repeated"],
        "refused": outcomes["refused"],
        "repeats answered": sum(line.outcome == "repeated" for line in record.log) - outcomes["repeated"],
        "of workers and timers": sum(key not in record.asked for key in record.firsts),
        "of operations": sum(len(operation.outcomes) for operation in record.operations),
        "stale results refused": stale,
    }


def work(record: Record, histories: dict[UUID, History]) -> dict[str, int]:
    """What was done, how often again, and by two at once."""
    facts = Counter(type(one.fact) for history in histories.values() for one in history.recorded)
    keys = Counter(entry.key for entry in record.ledger if entry.kind == "effect")
    return {
        "runs": facts[PhaseStarted],
        "failed attempts": facts[PhaseFailed],
        "takeovers": facts[RunReassigned],
        "effects": sum(keys.values()),
        "effects again": sum(count - 1 for count in keys.values()),
        "overlaps": overlaps(record),
        "begun again after being handed back": handed_back(record),
    }


def overlaps(record: Record) -> int:
    """Effects that a worker brought about when another had already begun the same run under a later token."""
    begun: dict[str, list[Entry]] = defaultdict(list)
    for entry in record.ledger:
        if entry.kind == "begun":
            begun[entry.run].append(entry)
    return sum(
        any(other.token > entry.token and other.at < entry.at for other in begun[entry.run])
        for entry in record.ledger
        if entry.kind == "effect"
    )


def handed_back(record: Record) -> int:
    """Runs begun again under the same token, because their worker had been told to stop."""
    begun = Counter((entry.run, entry.token) for entry in record.ledger if entry.kind == "begun")
    return sum(count - 1 for count in begun.values())


def reruns(record: Record) -> tuple[list[float], list[float]]:
    """The seconds from each kill to the re-run of what was in hand: those undisturbed, and all."""
    quiet: list[float] = []
    every: list[float] = []
    ended = {entry.visit: entry.at for entry in record.ledger if entry.kind == "ended"}
    begun = [entry for entry in record.ledger if entry.kind == "begun"]
    for strike in [one for one in record.struck if one.kind in KILLS]:
        for entry in begun:
            if entry.pid not in strike.pids or not entry.at <= strike.at < ended.get(entry.visit, float("inf")):
                continue
            of_phase = [other.at for other in begun if (other.flow, other.phase) == (entry.flow, entry.phase)]
            later = [at for at in of_phase if at > strike.at]
            # where another has begun it since, it was not in hand any more
            if not later or any(entry.at < at <= strike.at for at in of_phase):
                continue
            every.append(min(later) - strike.at)
            if not _disturbed(record.struck, strike, min(later)):
                quiet.append(min(later) - strike.at)
    return quiet, every


def _disturbed(struck: list[Struck], strike: Struck, again: float) -> bool:
    return any(
        other is not strike
        and other.kind in DISTURBING | KILLS
        and other.at <= again
        and other.over + AFTERWARDS_SECONDS >= strike.at
        for other in struck
    )


def histories_of(record: Record) -> dict[UUID, History]:
    """The histories that can be read."""
    return {
        flow_id: History.of(flow_id, stored)
        for flow_id, stored in by_flow(record.events).items()
        if [event.version for event in stored] == list(range(1, len(stored) + 1))
    }
