"""Other systems that handlers call, each with a circuit breaker whose state all workers share.

```python
async with ctx.target("vcenter.example.com"):
    machines = await fetch(...)
```

Failures inside the block count. A target that has failed often enough is open: whoever enters is told TargetOpen, and the
phase waits instead of failing. When the time is over one call tries it; its outcome decides for all.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic
from types import TracebackType
from typing import Any, TypeVar
from uuid import UUID, uuid4

import psycopg
import structlog

from consumers.context import Limits, NeedsInput, Permanent, RateLimited, Retryable, TargetOpen
from domain.errors import Unavailable
from eventstore.breakers import PROBE_SECONDS, SHARED, Breaker, Breakers, Standing
from eventstore.faults import lived_through

log = structlog.get_logger()
T = TypeVar("T")

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,199}")
# how long what was read of a target that is closed holds in this process
CLOSED_SECONDS = 1.0
# what is no fault of the target, though of a class that else is
OUR_FILES = (FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError)


@dataclass(slots=True)
class _Seen:
    """A closed target as it was read: until when that holds, and whether failures count against it."""

    until: float
    failures: int


class Targets:
    """The targets of all runs of a process."""

    def __init__(self, breakers: Breakers) -> None:
        self.breakers = breakers
        self._seen: dict[Breaker, _Seen] = {}

    async def enter(self, breaker: Breaker) -> UUID | None:
        """Ask whether the target may be called; the id of the probe where this call is one. Raises TargetOpen."""
        seen = self._seen.get(breaker)
        if seen is not None and monotonic() < seen.until:
            return None
        with lived_through("asking how a target stands"):
            standing = await self.breakers.standing(breaker)
            if standing is None or standing.state == "closed":
                self._saw(breaker, standing.failures if standing else 0)
                return None
            if not standing.seconds or standing.seconds <= 0:
                probe = uuid4()
                if await self.breakers.probe(breaker, probe):
                    log.info("target is tried", target=breaker.target, scope=breaker.scope)
                    return probe
                # another call was faster
                standing = await self.breakers.standing(breaker)
            if standing is not None and standing.state != "closed":
                raise _open(breaker, standing)
        # a store that cannot say keeps nobody from working
        return None

    async def failed(self, breaker: Breaker, probe: UUID | None, kind: str, limits: Limits) -> None:
        """Count a failure of the class `kind`."""
        with lived_through("counting a failure of a target"):
            counted = await self.breakers.failed(
                breaker,
                probe,
                kind,
                threshold=limits.failures,
                window_seconds=limits.window_seconds,
                first_seconds=limits.first_seconds,
                most_seconds=limits.most_seconds,
            )
            self._seen.pop(breaker, None)
            if counted.opened:
                log.warning(
                    "target opened",
                    target=breaker.target,
                    scope=breaker.scope,
                    error_class=kind,
                    failures=counted.failures,
                    seconds=counted.seconds,
                )

    async def asked_for_patience(self, breaker: Breaker, seconds: float) -> None:
        """The target wants to be left alone for so long, by all workers."""
        with lived_through("leaving a target alone"):
            await self.breakers.leave_alone(breaker, seconds)
            self._seen.pop(breaker, None)
            log.warning(
                "target opened", target=breaker.target, scope=breaker.scope, error_class="rate_limited", seconds=seconds
            )

    async def answered(self, breaker: Breaker, probe: UUID | None) -> None:
        """The target did its part. Costs a statement only for a probe, and once a second where failures count against it."""
        if probe is None:
            seen = self._seen.get(breaker)
            if seen is None or not seen.failures:
                return
            seen.failures = 0
            with lived_through("counting the failures of a target anew"):
                await self.breakers.count_anew(breaker)
            return
        with lived_through("closing a target"):
            if await self.breakers.close(breaker, probe):
                self._saw(breaker, 0)
                log.info("target closed", target=breaker.target, scope=breaker.scope)

    def _saw(self, breaker: Breaker, failures: int) -> None:
        self._seen[breaker] = _Seen(monotonic() + CLOSED_SECONDS, failures)


class TenantTargets:
    """The targets as one tenant's run names them."""

    def __init__(self, targets: Targets, client_account_id: UUID, loop: asyncio.AbstractEventLoop) -> None:
        self._targets = targets
        self._account = client_account_id
        self._loop = loop

    def target(self, name: str, *, own: bool, limits: Limits) -> Target:
        """A call of a target, to be entered once; raises Permanent `target_invalid` for a name or limits that cannot be used."""
        if not NAME.fullmatch(name):
            raise Permanent(
                "target_invalid", "name a target by its host, host:port or a word: 1 to 200 of letters, digits, . _ : -"
            )
        if limits.failures < 1 or min(limits.window_seconds, limits.first_seconds) <= 0:
            raise Permanent("target_invalid", f"the limits of target {name} must be above 0")
        return Target(self._targets, Breaker(str(self._account) if own else SHARED, name), limits, self._loop)


class Target:
    """One call of a target: `async with`, or `with` in a plain function that runs in a thread."""

    def __init__(self, targets: Targets, breaker: Breaker, limits: Limits, loop: asyncio.AbstractEventLoop) -> None:
        self._targets = targets
        self._breaker = breaker
        self._limits = limits
        self._loop = loop
        self._probe: UUID | None = None
        self._renewing: asyncio.Task[None] | None = None

    async def __aenter__(self) -> None:
        self._probe = await self._targets.enter(self._breaker)
        if self._probe is not None:
            self._renewing = asyncio.create_task(self._renew(self._probe))

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._renewing is not None:
            self._renewing.cancel()
        if isinstance(error, RateLimited):
            await self._targets.asked_for_patience(self._breaker, error.after_seconds)
        elif error is None or isinstance(error, Permanent | NeedsInput):
            await self._targets.answered(self._breaker, self._probe)
        elif (failure := failure_class(error)) is not None:
            await self._targets.failed(self._breaker, self._probe, failure, self._limits)
        elif self._probe is not None:
            with lived_through("giving a target's probe up"):
                await self._targets.breakers.give_up(self._breaker, self._probe)

    def __enter__(self) -> None:
        self._wait(self.__aenter__())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._wait(self.__aexit__(kind, error, trace))

    def _wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        with suppress(RuntimeError):
            if asyncio.get_running_loop() is self._loop:
                coroutine.close()
                raise Permanent("target_invalid", "an async function enters a target by `async with`")
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    async def _renew(self, probe: UUID) -> None:
        while True:
            await asyncio.sleep(PROBE_SECONDS / 3)
            with lived_through("keeping a target's probe"):
                await self._targets.breakers.renew(self._breaker, probe)


def failure_class(error: BaseException) -> str | None:
    """The class of a failure that counts against a target; none for one that says nothing about it."""
    match error:
        case Retryable():
            return error.kind
        case TimeoutError():
            return "timeout"
        case psycopg.Error() | Unavailable():
            return "database"
        case OSError() if not isinstance(error, OUR_FILES):
            return "network"
    return None


def _open(breaker: Breaker, standing: Standing) -> TargetOpen:
    seconds = max(standing.seconds or 0.0, 1.0)
    if standing.state == "half_open":
        why = "one call is trying whether it answers again"
    elif standing.reason == "rate_limited":
        why = "it asked for patience"
    else:
        why = f"it failed {standing.failures} times, the last time with {standing.last_class}"
    return TargetOpen(breaker.target, f"{breaker.target} is left alone for {seconds:.0f} s: {why}", seconds)
