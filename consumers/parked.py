"""Parked flows, looked after: tried again at the start and after a while, and late outcomes told to those who asked over Kafka."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog

from domain.errors import Unavailable
from eventstore.committer import Committer
from eventstore.faults import lived_through
from eventstore.metrics import LATE_REPLIES, PARKED_COMMANDS, PARKED_FLOWS, PARKED_OLDEST
from eventstore.parking import Counts, LateReply

log = structlog.get_logger()

POLL_SECONDS = 5.0
FLOWS_AT_ONCE = 20


class ParkedFlows:
    """The loop of one process; any number of processes may run it beside each other."""

    def __init__(self, committer: Committer, tell: Callable[[Sequence[LateReply]], Awaitable[None]]) -> None:
        self._committer = committer
        self._tell = tell
        self.counts = Counts(0, 0, 0.0, 0)

    async def run(self) -> None:
        """Look after parked flows for as long as the service lives; one statement every 5 s where there are none."""
        begun = False
        while True:
            with lived_through("looking after parked flows"):
                if not begun:
                    # this process may be of a version that can apply what others could not
                    await self._committer.parking.all_due()
                    begun = True
                await self._measure()
                if self.counts.commands:
                    await self._retry()
                if self.counts.commands or self.counts.late_replies:
                    await self._answer()
            await asyncio.sleep(POLL_SECONDS)

    async def _measure(self) -> None:
        self.counts = await self._committer.parking.counts()
        PARKED_FLOWS.set(self.counts.flows)
        PARKED_COMMANDS.set(self.counts.commands)
        PARKED_OLDEST.set(self.counts.oldest_seconds)
        LATE_REPLIES.set(self.counts.late_replies)

    async def _retry(self) -> None:
        for flow_id in await self._committer.parking.claim_due(FLOWS_AT_ONCE):
            try:
                drained = await self._committer.drain(flow_id)
            except Unavailable as busy:
                log.warning("parked flow is tried later", flow_id=str(flow_id), error=busy.code)
                return
            if drained.error is None and not drained.waiting:
                log.info("flow is parked no more", flow_id=str(flow_id), commands=drained.applied)

    async def _answer(self) -> None:
        parking = self._committer.parking
        while replies := await parking.late_replies():
            await self._tell(replies)
            for reply in replies:
                await parking.sent(reply)
