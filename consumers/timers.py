"""Timers that are due become commands: by one process of all, in batches, and none waits for another flow's.

Whoever holds the lock fires. The others look on: where nothing of what was due has fired a second later they fire it too, so
that a process that holds the lock and has stopped breathing stops no timer. Twice fired does no harm, but costs the
committer three statements: the command's id follows from the timer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from datetime import datetime
from time import monotonic
from typing import Protocol
from uuid import UUID, uuid5

import structlog

from consumers.metrics import TIMER_DELAY, TIMERS_FIRED
from domain.commands import Command, FireTimer
from domain.words import SYSTEM_USER
from eventstore.committer import ACCEPTED, REPEATED, WAITS, Answer
from eventstore.config import ServiceConfig
from eventstore.database import Connection, connect
from eventstore.faults import lived_through
from eventstore.store import LEASE_SECONDS
from eventstore.timers import Due, DueTimer, drop, due, lead
from eventstore.wake import woken

log = structlog.get_logger()

IDLE_SECONDS = 5.0
# between two looks; so long at most a timer that is set for now waits for company
GAP_SECONDS = 0.03
# the others' looks, and how long after its time they may see a timer that is on its way
ASIDE_SECONDS = 1.0
ASIDE_IDLE_SECONDS = 10.0
BATCH = 500
MAX_IN_FLIGHT = 2000
GIVE_UP_SECONDS = 30.0
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0
# less than this may be a slow answer; more is a clock that somebody set
JUMP_SECONDS = 1.0

Key = tuple[UUID, str, int]


class Ask(Protocol):
    """Submits a command of ours; faults of the store are waited out. None: the process is stopping."""

    async def __call__(
        self,
        command: Command,
        *,
        command_id: str,
        client_account_id: UUID,
        engagement_id: UUID,
        user_id: str,
        source: str,
    ) -> Answer | None: ...


class Backoff:
    """What could not be done is tried again after a second, then after twice as long each time, a minute at most."""

    def __init__(self) -> None:
        self._until: dict[Hashable, tuple[float, float]] = {}

    def __len__(self) -> int:
        return len(self._until)

    def hold(self, key: Hashable) -> float:
        """Leave it alone for a while; answers the seconds."""
        _, before = self._until.get(key, (0.0, FIRST_PAUSE_SECONDS / 2))
        pause = min(before * 2, LONGEST_PAUSE_SECONDS)
        self._until[key] = (monotonic() + pause, pause)
        return pause

    def release(self, key: Hashable) -> None:
        """It was done."""
        self._until.pop(key, None)

    def holds(self, key: Hashable) -> bool:
        """Whether it is too early to try this again."""
        return key in self._until and self._until[key][0] > monotonic()

    def soonest(self) -> float | None:
        """Seconds until the next may be tried again; what nobody asked about for long is forgotten."""
        now = monotonic()
        for key in [key for key, (until, _) in self._until.items() if until < now - LONGEST_PAUSE_SECONDS]:
            del self._until[key]
        # one whose time has just come may have been held at the last look; later it is asked about, or gone
        coming = [until for until, _ in self._until.values() if until > now - 2 * GAP_SECONDS]
        return max(0.0, min(coming) - now) if coming else None


class StoreClock:
    """Whether the store's clock can be believed when it says that a lease has lapsed.

    One that somebody sets forward makes every lease lapse at once, and set back, none. Seen against our own monotonic clock
    such a jump shows; then whoever lives gets the time of a lease to renew his. After our own start, when there is nothing
    to compare with, half of that: a lease is renewed three times in its length.
    """

    def __init__(self) -> None:
        self._last: tuple[float, float, datetime] | None = None
        self._until = 0.0

    def believed(self, asked: float, now: datetime, answered: float) -> bool:
        """Judge a reading `now` that was asked for and answered at these monotonic times."""
        if self._last is None:
            self._until = answered + LEASE_SECONDS / 2
        else:
            asked_before, answered_before, before = self._last
            passed = (now - before).total_seconds()
            if not asked - answered_before - JUMP_SECONDS < passed < answered - asked_before + JUMP_SECONDS:
                log.warning("the store's clock jumped", seconds=round(passed - (answered - answered_before), 1))
                self._until = answered + LEASE_SECONDS
        self._last = asked, answered, now
        return answered >= self._until

    @property
    def doubted_for(self) -> float:
        """Seconds until it can be believed again."""
        return max(0.0, self._until - monotonic())


class Firing:
    """Fires the timers that are due; `run` ends only when cancelled."""

    def __init__(self, config: ServiceConfig, ask: Ask) -> None:
        self._config = config
        self._ask = ask
        self._wake = asyncio.Event()
        self._in_flight: dict[Key, asyncio.Task[None]] = {}
        self._passed: list[DueTimer] = []
        self._held = Backoff()
        self._seen: set[Key] = set()
        self._fired: set[Key] = set()
        self.leading = False

    def wake(self) -> None:
        """A timer was set, perhaps a nearer one than is known."""
        self._wake.set()

    async def run(self) -> None:
        """Look for what is due for as long as the process lives; faults of the store are waited out."""
        try:
            while True:
                with lived_through("firing timers"):
                    await self._serve()
                await asyncio.sleep(ASIDE_SECONDS)
        finally:
            for task in self._in_flight.values():
                task.cancel()

    async def _serve(self) -> None:
        connection = await connect(self._config.database_url, self._config.shard)
        try:
            while True:
                self._wake.clear()
                self.leading = self.leading or await lead(connection)
                limit = BATCH + len(self._in_flight) + len(self._held)
                # what fires while we look may be in the answer still
                self._fired.clear()
                found = await due(connection, limit)
                self._fire(found.timers)
                await self._drop_passed(connection)
                await self._rest(found, more=len(found.timers) >= limit)
        finally:
            # the lock ends with the connection
            self.leading = False
            await connection.close()

    def _fire(self, timers: list[DueTimer]) -> None:
        """Begin to fire what is not seen to yet; the next look does not wait for it."""
        ready = [one for one in timers if not self._is_seen_to(one.key)]
        if not self.leading:
            before, self._seen = self._seen, {one.key for one in timers}
            # whoever leads is slow, but lives, when any of them is gone
            ready = [one for one in ready if one.key in before] if before <= self._seen else []
        for timer in ready[: MAX_IN_FLIGHT - len(self._in_flight)]:
            self._in_flight[timer.key] = asyncio.create_task(self._fire_one(timer), name=f"timer {timer.name}")

    def _is_seen_to(self, key: Key) -> bool:
        return key in self._in_flight or key in self._fired or self._held.holds(key)

    async def _fire_one(self, timer: DueTimer) -> None:
        began = monotonic()
        try:
            async with asyncio.timeout(GIVE_UP_SECONDS):
                answer = await self._ask(
                    FireTimer(flow_id=timer.flow_id, timer=timer.name, token=timer.token),
                    command_id=str(uuid5(timer.flow_id, f"{timer.name}:{timer.token}")),
                    client_account_id=timer.client_account_id,
                    engagement_id=timer.engagement_id,
                    user_id=SYSTEM_USER,
                    source="timer",
                )
        # one flow that cannot be decided must not keep the others' timers from firing
        except Exception as error:
            self._not_fired(timer, f"{type(error).__name__}: {error}"[:300])
            return
        if answer is None:
            return
        if answer.outcome == ACCEPTED:
            TIMERS_FIRED.inc()
            TIMER_DELAY.observe(timer.late_seconds + monotonic() - began)
            self._held.release(timer.key)
            self._in_flight.pop(timer.key, None)
            self._fired.add(timer.key)
        elif _is_no_longer_wanted(answer):
            self._held.release(timer.key)
            self._passed.append(timer)
            self._wake.set()
        else:
            self._not_fired(timer, f"{answer.outcome}: {answer.error}"[:300])

    def _not_fired(self, timer: DueTimer, why: str) -> None:
        """It stays, and is asked again later."""
        pause = self._held.hold(timer.key)
        self._in_flight.pop(timer.key, None)
        # the loop rests until something is due, and does not know of this yet
        self._wake.set()
        log.error("timer could not fire", flow_id=str(timer.flow_id), timer=timer.name, again_in_s=pause, why=why)

    async def _drop_passed(self, connection: Connection) -> None:
        """Remove what its flows let pass; what brought facts about was removed with them."""
        passed = self._passed[:]
        if passed:
            await drop(connection, passed)
            for timer in passed:
                self._in_flight.pop(timer.key, None)
            del self._passed[: len(passed)]

    async def _rest(self, found: Due, *, more: bool) -> None:
        if self.leading:
            gap = GAP_SECONDS
            waits = [IDLE_SECONDS, found.next_seconds, self._held.soonest(), 0.0 if more else None]
        else:
            gap = ASIDE_SECONDS
            coming = 0.0 if found.timers else found.next_seconds
            waits = [ASIDE_IDLE_SECONDS, None if coming is None else coming + ASIDE_SECONDS]
        await asyncio.sleep(gap)
        left = min(wait for wait in waits if wait is not None) - gap
        if left > 0:
            await woken(self._wake, left)


def _is_no_longer_wanted(answer: Answer) -> bool:
    """Whether the flow let a timer pass, is not there, or is parked: then the firing waits with its other commands."""
    if answer.error is not None:
        return bool(answer.error["code"] == "flow_not_found")
    return answer.outcome in {REPEATED, WAITS}
