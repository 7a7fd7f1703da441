"""Sends notifications: claims what is due, sends it, notes what came of it, and tries again ever further apart."""

from __future__ import annotations

import asyncio
import random
from time import monotonic
from typing import Any

import msgspec
import structlog

from consumers.metrics import (
    NOTIFICATION_LAG,
    NOTIFICATION_SECONDS,
    NOTIFICATIONS,
    NOTIFICATIONS_DEAD,
    NOTIFICATIONS_WAITING,
)
from consumers.telling.mail import compose, send
from consumers.telling.outcome import Came, Outcome
from consumers.telling.webhooks import Webhooks
from consumers.threads import Threads
from domain.errors import MfoError
from eventstore.faults import lived_through
from eventstore.notices import Channel, listen
from eventstore.notifications import DEAD, DROPPED, PENDING, SENT, Claimed, Counts, Notifications
from eventstore.service import WriteSide
from eventstore.subscriptions import ACTIVE, disable, opened
from eventstore.tasks import end_all
from eventstore.wake import woken

log = structlog.get_logger()

IDLE_SECONDS = 10.0
SOON_SECONDS = 0.02
# between two looks, so that several that have ended make room for several at once
GAP_SECONDS = 0.05
MEASURE_SECONDS = 30.0
# an attempt ends before its lease does, noting included
ATTEMPT_SECONDS = 70.0
LEASE_SECONDS = 90.0
NOTE_PAUSE_SECONDS = 0.5
FIRST_PAUSE_SECONDS = 5.0
PAUSE_FACTOR = 4.0
LONGEST_PAUSE_SECONDS = 12 * 3600.0
JITTER = 0.2


class Sender:
    """Finds notifications that are due and sends them; any number of processes may have one. `run` ends when cancelled."""

    def __init__(self, side: WriteSide) -> None:
        self._side = side
        self._config = side.config.telling
        self._notifications = Notifications(side.pool)
        self._wake = asyncio.Event()
        self._under_way: set[asyncio.Task[None]] = set()
        self._webhooks: Webhooks | None = None
        self._measured = 0.0
        self._draining = False
        self.counts = Counts(0, 0, 0.0)

    @property
    def sending(self) -> int:
        """How many are in hand."""
        return len(self._under_way)

    async def run(self) -> None:
        """Send for as long as the service lives; faults of the store are waited out."""
        self._webhooks = Webhooks(self._config.webhook_networks, self._config.webhook_timeout_seconds)
        hints = asyncio.create_task(
            listen(self._side.config, (Channel.NOTIFICATIONS, self._wake.set)), name="notification hints"
        )
        try:
            while True:
                self._wake.clear()
                wait = IDLE_SECONDS
                with lived_through("sending notifications"):
                    wait = await self._round()
                await woken(self._wake, wait)
                await asyncio.sleep(GAP_SECONDS)
        finally:
            await end_all([hints, *self._under_way])
            await self._webhooks.close()

    async def drain(self, seconds: float) -> None:
        """Take nothing more in hand, and let what is under way come to its end for so long; what does not is sent again."""
        self._draining = True
        if self._under_way:
            await asyncio.wait(set(self._under_way), timeout=seconds)

    async def _round(self) -> float:
        """Take in hand what is due and there is room for; answers in how many seconds to look again."""
        if self._draining:
            return IDLE_SECONDS
        await self._measure()
        free = self._config.at_once - len(self._under_way)
        if free <= 0:
            # the next that ends wakes us
            return IDLE_SECONDS
        claimed = await self._notifications.claim(
            free, per_address=self._config.at_once_per_address, lease_seconds=LEASE_SECONDS
        )
        for each in claimed:
            task = asyncio.create_task(self._see_to(each), name=f"notification {each.id}")
            self._under_way.add(task)
            task.add_done_callback(self._ended)
        following = await self._notifications.next_seconds()
        return IDLE_SECONDS if following is None else min(max(following, SOON_SECONDS), IDLE_SECONDS)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        self._wake.set()
        if not task.cancelled() and task.exception() is not None:
            # its lease lapses, and it is tried again then
            log.error("notification could not be seen to", exc_info=task.exception())

    async def _see_to(self, claimed: Claimed) -> None:
        began = monotonic()
        try:
            async with asyncio.timeout(ATTEMPT_SECONDS):
                outcome = await self._sent(claimed)
        except TimeoutError:
            outcome = Outcome(Came.FAILED, None, f"it took longer than {ATTEMPT_SECONDS:g} s")
        except MfoError as error:
            outcome = Outcome(Came.FAILED, None, error.detail)
        except Exception as error:
            log.exception("notification cannot be sent", notification_id=str(claimed.id))
            outcome = Outcome(Came.FAILED, None, f"it cannot be sent, for a fault of ours: {type(error).__name__}")
        took = monotonic() - began
        NOTIFICATION_SECONDS.labels(claimed.kind).observe(took)
        while monotonic() - began < LEASE_SECONDS:
            with lived_through("noting what came of a notification"):
                await self._note(claimed, outcome, took)
                return
            await asyncio.sleep(NOTE_PAUSE_SECONDS)

    async def _sent(self, claimed: Claimed) -> Outcome:
        if claimed.attempts > self._config.max_attempts:
            return Outcome(Came.REFUSED, None, "too many attempts came to no end")
        if claimed.kind == "email":
            return await self._mail(claimed)
        return await self._webhook(claimed)

    async def _mail(self, claimed: Claimed) -> Outcome:
        self._config.addressing.check_emails([claimed.target], "address")
        if claimed.subscription_id is not None:
            signing = await self._notifications.signing(claimed.subscription_id)
            if signing is None or signing.state != ACTIVE:
                return Outcome(Came.GONE, None, "the subscription is disabled or deleted")
        server = self._config.mail
        assert server is not None
        mail = compose(claimed.id, msgspec.json.decode(claimed.payload), claimed.target, server.sender, claimed.now)
        outcome: Outcome = await Threads().do(send, server, mail)
        return outcome

    async def _webhook(self, claimed: Claimed) -> Outcome:
        assert self._webhooks is not None
        assert claimed.subscription_id is not None
        signing = await self._notifications.signing(claimed.subscription_id)
        if signing is None or signing.state != ACTIVE:
            return Outcome(Came.GONE, None, "the subscription is disabled or deleted")
        self._config.addressing.check_url(claimed.target, "url")
        account, keyring = claimed.client_account_id, self._side.keyring
        secrets = [await opened(keyring, account, sealed) for sealed in (signing.secret, signing.former)]
        return await self._webhooks.post(
            claimed.target,
            f"msg_{claimed.id.hex}",
            claimed.payload.encode(),
            [secret for secret in secrets if secret is not None],
            claimed.now,
        )

    async def _note(self, claimed: Claimed, outcome: Outcome, took: float) -> None:
        state, after = PENDING, 0.0
        match outcome.came:
            case Came.SENT:
                state = SENT
            case Came.REFUSED:
                state = DEAD
            case Came.GONE:
                state = DROPPED if outcome.status is None else DEAD
            case Came.FAILED:
                if claimed.attempts >= self._config.max_attempts:
                    state = DEAD
                else:
                    after = max(pause_after(claimed.attempts), outcome.after_seconds)
        tried: dict[str, Any] = {
            "at": claimed.now.isoformat(),
            "status": outcome.status,
            "error": outcome.error,
            "took_ms": round(took * 1000),
        }
        if not await self._notifications.note(claimed, state, tried, after):
            return
        NOTIFICATIONS.labels(claimed.kind, outcome.came if state == PENDING else state).inc()
        if state != SENT:
            log.warning(
                "notification failed",
                notification_id=str(claimed.id),
                flow_id=str(claimed.flow_id),
                kind=claimed.kind,
                state=state,
                attempts=claimed.attempts,
                status=outcome.status,
                error=outcome.error,
            )
        if outcome.came is Came.GONE and outcome.status is not None and claimed.subscription_id is not None:
            async with self._side.pool.connection() as connection:
                await disable(connection, claimed.subscription_id, "its receiver answered 410 Gone")

    async def _measure(self) -> None:
        if monotonic() - self._measured < MEASURE_SECONDS:
            return
        self.counts = await self._notifications.counts()
        self._measured = monotonic()
        NOTIFICATIONS_WAITING.set(self.counts.pending)
        NOTIFICATIONS_DEAD.set(self.counts.dead)
        NOTIFICATION_LAG.set(self.counts.lag_seconds)


def pause_after(attempts: int) -> float:
    """Seconds until the next attempt: 5, then four times as long each time, 12 hours at most, a fifth more or less."""
    pause = min(FIRST_PAUSE_SECONDS * PAUSE_FACTOR ** min(attempts - 1, 20), LONGEST_PAUSE_SECONDS)
    return pause * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - spreads attempts, guards no secret
