"""Operations carried out: flow after flow asked, many at a time, each once whoever asks; and what standing pauses and rules
bring about.

An operation is in one process's hand at a time. Every command has an id that follows from operation and flow, so that whoever
goes on after a crash, or beside us, does nothing twice.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import Any
from uuid import UUID, uuid4, uuid5

import msgspec
import structlog

from consumers.metrics import OPERATION_FLOWS, OPERATIONS
from domain.commands import Envelope, Tenant
from domain.errors import MfoError, Unavailable
from domain.fleet.commands import (
    VERBS,
    BeginOperation,
    FleetCommand,
    FlowFilter,
    ImposeStandingPause,
    ReportDone,
    ReportListed,
    arguments_of,
    flow_command_id,
)
from domain.fleet.subjects import Operation, PauseRule, StandingPause, State, Subject
from domain.telling import RULE
from domain.words import SYSTEM_USER
from eventstore.committer import WAITS
from eventstore.faults import PASSING, lived_through
from eventstore.notices import Channel, listen
from eventstore.operations import ACCEPTED, PARKED, REFUSED, Outcome
from eventstore.service import WriteSide
from eventstore.tasks import end_all
from eventstore.wake import woken

log = structlog.get_logger()

IDLE_SECONDS = 5.0
AT_ONCE = 4
# an operation that asks no more than so many flows a second takes no place from others, up to so many in hand
SLOW_PER_SECOND = 10.0
MOST_IN_HAND = 64
CHUNK = 250
# of a slow operation: how often it shows that it is alive, and hears that it is to stop
BREATH_SECONDS = 1.0
BEHIND_SECONDS = 0.25
LONGEST_BEHIND_SECONDS = 5.0
BUSY_SECONDS = (0.1, 5.0)
LONGEST_DETAIL = 1000
UNDER_WAY = ("initialized", "processing", "waiting_for_input")


class Pace:
    """How many flows may be asked now: so many a second, never more than a second's worth at once. Whoever goes on where
    another stopped (`begun`) waits before the first."""

    def __init__(
        self, per_second: float | None, clock: Callable[[], float] = monotonic, *, begun: bool = False
    ) -> None:
        self._per_second = per_second
        self._clock = clock
        self._left = 0.0 if begun else 1.0
        self._at = clock()

    def some(self, most: int) -> int:
        """As many as may be asked at once, `most` at most; they count as asked."""
        if self._per_second is None:
            return most
        now = self._clock()
        self._left = min(self._left + (now - self._at) * self._per_second, max(self._per_second, 1.0))
        self._at = now
        taken = min(int(self._left), most)
        self._left -= taken
        return taken

    def wait(self) -> float:
        """Seconds until the next may be asked, a second at most."""
        if self._per_second is None:
            return 0.0
        # company for the next one, where they come fast
        return min(max((1.0 - self._left) / self._per_second, 0.05), BREATH_SECONDS)


class Runner:
    """Finds what is to be done about many flows and does it; any number of processes may have one."""

    def __init__(self, side: WriteSide, *, armed: Callable[[bool], None] = lambda _: None) -> None:
        self._side = side
        self._armed = armed
        self._wake = asyncio.Event()
        self._owner = f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:8]}"
        self._in_hand: dict[UUID, asyncio.Task[None]] = {}
        self._slow: set[UUID] = set()

    async def run(self) -> None:
        """Carry out operations for as long as the service lives; faults of the store are waited out."""
        hints = asyncio.create_task(
            listen(self._side.config, (Channel.OPERATIONS, self._wake.set)), name="operation hints"
        )
        try:
            while True:
                self._wake.clear()
                with lived_through("seeing to operations"):
                    await self.round()
                await woken(self._wake, IDLE_SECONDS)
        finally:
            await end_all([hints, *self._in_hand.values()])

    async def round(self) -> None:
        """Take in hand what is due now; operations go on beside it."""
        room = min(AT_ONCE - len(self._in_hand) + len(self._slow), MOST_IN_HAND - len(self._in_hand))
        found = await self._side.operations.claim(self._owner, max(room, 0))
        self._armed(found.armed)
        if found.operations and len(found.operations) == room:
            # where these are slow there is room for more
            self._wake.set()
        for operation in found.operations:
            if operation.rate_per_second is not None and operation.rate_per_second <= SLOW_PER_SECOND:
                self._slow.add(operation.id)
            before = self._in_hand.get(operation.id)
            task = asyncio.create_task(self._carry_out(operation, before), name="operation")
            self._in_hand[operation.id] = task
            task.add_done_callback(partial(self._let_go, operation.id))
        OPERATIONS.set(len(self._in_hand))
        # one that cannot be helped is tried again when our hand lapses
        for pause in found.standing_pauses:
            with suppress(Unavailable):
                await self._resume_held(pause)
        for rule in found.rules:
            with suppress(Unavailable):
                await self._rule_tripped(rule)

    async def idle(self) -> None:
        """Wait until no operation is in this process's hand."""
        while self._in_hand:
            await asyncio.wait(self._in_hand.values())

    def _let_go(self, operation_id: UUID, task: asyncio.Task[None]) -> None:
        if self._in_hand.get(operation_id) is task:
            del self._in_hand[operation_id]
            self._slow.discard(operation_id)
        OPERATIONS.set(len(self._in_hand))
        self._wake.set()

    async def _carry_out(self, operation: Operation, before: asyncio.Task[None] | None) -> None:
        """See an operation through, or to where it is to be left alone; `before` had it in hand when it was resumed."""
        if before is not None:
            await asyncio.wait([before])
        try:
            if operation.total is None and not await self._list(operation):
                return
            if await self._ask_all(operation):
                accepted, refused, parked = await self._side.operations.counts(operation.id)
                done = ReportDone(operation_id=operation.id, accepted=accepted, refused=refused, parked=parked)
                await self._report(operation, done, "done")
        except (*PASSING, Unavailable) as error:
            # it falls to whoever looks when our hand has lapsed
            log.warning("operation waits for the store", operation_id=str(operation.id), error=type(error).__name__)
        except Exception:
            log.exception("operation cannot be carried out", operation_id=str(operation.id))

    async def _list(self, operation: Operation) -> bool:
        """Choose the operation's flows; False where it cannot go on: it waits for the read model, or has ended by it."""
        operations, most = self._side.operations, self._side.config.operation_max_flows
        waited, pause = 0.0, BEHIND_SECONDS
        while (reached := await operations.reached(operation)) is None:
            if waited > BREATH_SECONDS or not await operations.tell(operation.id, self._owner, [], None):
                await operations.look_again(operation, LONGEST_BEHIND_SECONDS)
                return False
            await asyncio.sleep(pause)
            waited += pause
        chosen = await operations.choose(operation, self._owner, most, reached)
        if chosen is None:
            return False
        total, place = chosen
        position = self._side.store.position(place) or ""
        report = ReportListed(operation_id=operation.id, total=total, position=position, most=most)
        told = await self._report(operation, report, "listed")
        return told is not None and told.state is State.RUNNING

    async def _report(self, operation: Operation, command: FleetCommand, what: str) -> Operation | None:
        envelope = self._envelope(operation, str(uuid5(operation.id, what)), SYSTEM_USER)
        answer = await self._side.fleet.submit(command, envelope)
        if isinstance(answer.subject, Operation):
            return answer.subject
        # told before a crash
        assert operation.client_account_id is not None
        assert operation.engagement_id is not None
        whose = Tenant(operation.client_account_id, operation.engagement_id, SYSTEM_USER)
        found: Operation | None = await self._side.fleet.find(whose, Operation, operation.id)
        return found

    async def _ask_all(self, operation: Operation) -> bool:
        """Ask the flows that are left; False where the operation is to be left alone before."""
        operations = self._side.operations
        pace = Pace(operation.rate_per_second, begun=any(await operations.counts(operation.id)))
        after, began, asked = 0, monotonic(), 0
        while True:
            most = pace.some(CHUNK)
            if not most:
                await asyncio.sleep(pace.wait())
                if not await operations.tell(operation.id, self._owner, [], _rate(asked, began)):
                    return False
                continue
            flows = await operations.left(operation.id, after, most)
            if not flows:
                return True
            outcomes = await asyncio.gather(*(self._ask(operation, n, flow_id) for n, flow_id in flows))
            after, asked = flows[-1][0], asked + len(flows)
            for outcome in outcomes:
                OPERATION_FLOWS.labels(operation.verb, outcome.outcome).inc()
            if not await operations.tell(operation.id, self._owner, outcomes, _rate(asked, began)):
                return False

    async def _ask(self, operation: Operation, n: int, flow_id: UUID) -> Outcome:
        """What one flow answers. A store that is busy is waited for."""
        fields = arguments_of(operation.verb, operation.arguments, operation.reason)
        pause = BUSY_SECONDS[0]
        while True:
            try:
                command = VERBS[operation.verb].model_validate({**fields, "flow_id": flow_id})
                envelope = self._envelope(operation, flow_command_id(operation.id, flow_id), operation.created_by)
                answer = await self._side.committer.submit(command, envelope)
            except Unavailable:
                await asyncio.sleep(pause)
                pause = min(pause * 2, BUSY_SECONDS[1])
                continue
            except MfoError as error:
                return Outcome(n, REFUSED, None, error.code, error.detail[:LONGEST_DETAIL])
            if answer.outcome == WAITS:
                return Outcome(n, PARKED, answer.version, None, answer.command_id)
            if answer.error is not None:
                detail = str(answer.error["detail"])[:LONGEST_DETAIL]
                return Outcome(n, REFUSED, answer.version, str(answer.error["code"]), detail)
            return Outcome(n, ACCEPTED, answer.version, None, None)

    async def _resume_held(self, pause: StandingPause) -> None:
        """Resume the flows that a standing pause held, where that was asked for when it was removed."""
        assert pause.operation_id is not None
        command = BeginOperation(
            operation_id=pause.operation_id,
            verb="resume",
            filter=FlowFilter(standing_pause_id=pause.id),
            reason=pause.changed_because or "the standing pause was removed",
            cause={"standing_pause_id": str(pause.id)},
        )
        await self._follow_up(pause, command, pause.updated_by)
        await self._side.operations.settled(pause)

    async def _rule_tripped(self, rule: PauseRule) -> None:
        """Set the standing pause of a rule that has tripped and, where it says so, pause the flows that are there."""
        assert rule.standing_pause_id is not None
        cause: dict[str, Any] = {"pause_rule_id": str(rule.id), "figures": rule.figures}
        reason = f"pause rule {rule.id}: {rule.message}"
        which = {"flow_type": rule.flow_type} if rule.flow_type else {"all": True}
        await self._follow_up(
            rule,
            ImposeStandingPause.model_validate(
                {"standing_pause_id": rule.standing_pause_id, "reason": reason, "cause": cause, **which}
            ),
            rule.created_by,
        )
        if rule.operation_id is not None:
            chosen = {"status": UNDER_WAY} | ({"type": rule.flow_type} if rule.flow_type else {})
            await self._follow_up(
                rule,
                BeginOperation.model_validate(
                    {
                        "operation_id": rule.operation_id,
                        "verb": "pause",
                        "filter": chosen,
                        "reason": reason,
                        "cause": cause,
                    }
                ),
                rule.created_by,
            )
        await self._side.operations.settled(rule)

    async def _follow_up(self, subject: Subject, command: FleetCommand, user_id: str) -> None:
        answer = await self._side.fleet.submit(command, self._envelope(subject, str(command.subject_id), user_id))
        if answer.error is not None:
            detail = msgspec.json.encode(answer.error).decode()
            log.error("nothing could follow", subject_id=str(subject.id), command=type(command).__name__, error=detail)

    def _envelope(self, subject: Subject, command_id: str, user_id: str) -> Envelope:
        assert subject.client_account_id is not None
        assert subject.engagement_id is not None
        return Envelope(
            command_id=command_id,
            client_account_id=subject.client_account_id,
            engagement_id=subject.engagement_id,
            user_id=user_id,
            correlation_id=subject.correlation_id,
            causation_id=f"{subject.id}:{subject.version}" if not isinstance(subject, Operation) else f"{subject.id}:1",
            source=RULE if isinstance(subject, Operation) and _by_rule(subject) else "operation",
        )


def _by_rule(operation: Operation) -> bool:
    return "pause_rule_id" in (operation.cause or {})


def _rate(asked: int, began: float) -> float | None:
    seconds = monotonic() - began
    return round(asked / seconds, 3) if asked and seconds > 0 else None
