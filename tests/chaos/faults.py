"""What goes wrong, and when: a schedule that follows from the seed."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from random import Random

import msgspec


class Kind(StrEnum):
    """A fault. A process is killed with SIGKILL, or stopped with SIGSTOP for longer than a lease and then goes on."""

    KILL_API = "kill api"
    KILL_CONSUMERS = "kill consumers"
    KILL_PROJECTIONS = "kill projections"
    KILL_OWNER = "kill the owner of most runs"
    STOP_CONSUMERS = "stop consumers by SIGTERM"
    KILL_WORKER = "kill a worker child"
    KILL_RELAY = "kill the relay's leader"
    FREEZE_API = "freeze api"
    FREEZE_CONSUMERS = "freeze consumers"
    FREEZE_OWNER = "freeze the owner of most runs, children too"
    FREEZE_PROJECTIONS = "freeze projections"
    FREEZE_WORKER = "freeze a worker child"
    CRASH_POSTGRES = "crash PostgreSQL"
    CRASH_KAFKA = "crash Kafka"
    CLOCK_AHEAD = "clock an hour ahead"
    CLOCK_BACK = "clock an hour back"
    CUT = "cut all connections to PostgreSQL"


# kills and freezes of those who work come more often than what stops everybody at once
SHARES: dict[Kind, int] = {
    Kind.KILL_API: 2,
    Kind.KILL_CONSUMERS: 6,
    Kind.KILL_OWNER: 6,
    Kind.STOP_CONSUMERS: 3,
    Kind.KILL_PROJECTIONS: 2,
    Kind.KILL_WORKER: 4,
    Kind.KILL_RELAY: 2,
    Kind.FREEZE_API: 2,
    Kind.FREEZE_CONSUMERS: 3,
    Kind.FREEZE_OWNER: 5,
    Kind.FREEZE_PROJECTIONS: 2,
    Kind.FREEZE_WORKER: 3,
    Kind.CRASH_POSTGRES: 2,
    Kind.CRASH_KAFKA: 2,
    Kind.CLOCK_AHEAD: 1,
    Kind.CLOCK_BACK: 1,
    Kind.CUT: 2,
}
FROZEN_SECONDS = (8.0, 9.0)
# one who was killed has been taken over from, and is back, before the next one
LONE_SECONDS = 12.0
DOWN_SECONDS = (0.3, 2.5)
HOUR = 3600.0


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """A fault, `at` seconds after the start; `seconds` is how long the one that is hit stays down or frozen, `pick` chooses it."""

    at: float
    kind: Kind
    seconds: float
    pick: float


def schedule(seed: int, seconds: float, every: float, kinds: Sequence[Kind] = tuple(Kind)) -> list[Fault]:
    """A fault about every `every` seconds for `seconds` seconds; every kind comes once before any comes often."""
    random = Random(f"faults {seed}")
    count = max(1, int(seconds / every))
    chosen = list(kinds)
    random.shuffle(chosen)
    chosen += random.choices(kinds, [SHARES[kind] for kind in kinds], k=max(0, count - len(chosen)))
    gap = seconds / len(chosen[:count])
    return [
        Fault(
            at=round(gap * (n + random.uniform(0.2, 0.8)), 2),
            kind=kind,
            seconds=round(random.uniform(*(FROZEN_SECONDS if "freeze" in kind else DOWN_SECONDS)), 2),
            pick=random.random(),
        )
        for n, kind in enumerate(chosen[:count])
    ]


def lone_kills(seed: int, after: float, count: int) -> list[Fault]:
    """Kills of those who have most in hand, with nothing else wrong: how long does it take until the work goes on?"""
    random = Random(f"kills {seed}")
    return [
        Fault(
            at=round(after + LONE_SECONDS * (n + 1) + random.uniform(0, 2), 2), kind=Kind.KILL_OWNER, seconds=0, pick=0
        )
        for n in range(count)
    ]


class Struck(msgspec.Struct, frozen=True, kw_only=True):
    """A fault as it came about, `at` and `over` in seconds of the machine's monotonic clock; `pids` are those hit,
    with the worker children of a service that was."""

    kind: Kind
    at: float
    over: float
    pids: tuple[int, ...] = ()
