"""What the flow wants of a run, as its handler sees it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from time import monotonic

from consumers.frames import Asked

A_DAY = 86_400.0


class RunCancelled(asyncio.CancelledError):
    """Nobody has a use for the run any more: its flow was cancelled, deleted or is over, or another worker has it.

    No `Exception`, so that a handler which catches those does not go on with work that counts for nothing.
    """


class Signals:
    """What is asked of one run. The flags may be read in any thread; they change in the loop that runs it."""

    def __init__(
        self,
        deadline: datetime | None = None,
        seconds_left: float = A_DAY,
        *,
        paused: bool = False,
        draining: bool = False,
    ) -> None:
        self.cancelled = False
        self.paused = paused
        self.draining = draining
        # whoever gives way because of a word that has been taken back meanwhile has done right
        self.ever_asked = self.stopping
        self._change = asyncio.Event()
        self._set_deadline(deadline or datetime.now(UTC) + timedelta(seconds=seconds_left), seconds_left)

    @property
    def stopping(self) -> bool:
        """Whether the handler is to come to an end: for good, for the pause, or because its process stops."""
        return self.cancelled or self.paused or self.draining

    def seconds_left(self) -> float:
        """Seconds until the deadline, 0 after it; by a clock that does not jump."""
        return max(0.0, self._ends - monotonic())

    def hear(self, asked: Asked) -> None:
        """Take a word from the service; wakes whoever waits for one."""
        self.cancelled = self.cancelled or asked.cancelled
        self.paused, self.draining = asked.paused, asked.draining
        self.ever_asked = self.ever_asked or self.stopping
        if asked.deadline is not None and asked.seconds_left is not None:
            self._set_deadline(asked.deadline, asked.seconds_left)
        if self.stopping:
            self._change.set()
        else:
            self._change.clear()

    def check(self) -> None:
        """Raises RunCancelled where the run has no use any more."""
        if self.cancelled:
            raise RunCancelled

    async def asked_to_stop(self, within: float | None = None) -> bool:
        """Wait until the handler is to come to an end, at most `within` seconds; whether it is."""
        if self.stopping:
            return True
        try:
            async with asyncio.timeout(within):
                await self._change.wait()
        except TimeoutError:
            return self.stopping
        return True

    def _set_deadline(self, deadline: datetime, seconds_left: float) -> None:
        self.deadline = deadline
        self._ends = monotonic() + seconds_left
