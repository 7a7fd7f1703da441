"""The runs of this process: taken, done, kept alive, reported; and what is due: timers, lapsed leases, deadlines.

A run is born into a free place here with its commit, or claimed from the queue. Its result is a command like any other,
under the run's token; the flow refuses a stale one.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from itertools import count
from time import monotonic
from typing import Any
from uuid import UUID, uuid4, uuid5

import msgspec
import structlog

from consumers.frames import Ended, Job, Progress, StepsDone
from consumers.metrics import RUNS, RUNS_ACTIVE, TIMERS_FIRED
from consumers.phases import Mode
from consumers.places import Line, Meter, Place, offer_of
from consumers.pool import WorkerLost, WorkerPool
from consumers.work import Workshop
from domain.commands import (
    Command,
    CompletePhase,
    Envelope,
    FailPhase,
    FireTimer,
    ReassignRun,
    RecordSteps,
    RequestInput,
)
from domain.errors import MfoError, RunNotCurrent, StoreUnavailable, Unavailable
from domain.flow import Flow, Run
from domain.flow_types import FlowTypes, PhaseConfig
from domain.words import SYSTEM_USER
from eventstore.claims import Claimed, Claims, Offer, Spent
from eventstore.committer import Answer
from eventstore.database import connect
from eventstore.definitions import remember
from eventstore.faults import lived_through
from eventstore.runs import DueTimer, RunRow
from eventstore.service import WriteSide
from eventstore.store import Loaded

log = structlog.get_logger()

HEARTBEAT_SECONDS = 2.0
POLL_SECONDS = 1.0
IDLE_SECONDS = 5.0
# what is due and cannot be helped yet must not keep the loop busy
SOON_SECONDS = 0.05
# how often those who wait are looked at while there is no place for them
LOOK_SECONDS = 0.05
DEFINITIONS_SECONDS = 10.0

# refusals of a result that say: the flow has no use for it any more
NO_LONGER_OURS = frozenset({"run_not_current", "flow_not_found"})


class _Active:
    """A run in hand."""

    __slots__ = ("after", "flow", "left", "lost", "mode", "place", "run", "task")

    def __init__(self, flow: Flow, run: Run, place: Place) -> None:
        self.flow = flow
        self.run = run
        self.mode = place.mode
        self.place = place
        self.left = False
        self.task: asyncio.Task[None] | None = None
        self.after: asyncio.Task[None] | None = None
        self.lost = False


class Keeper:
    """The places for runs in this process (`Slots` of the committer), and the loops that look after them."""

    def __init__(self, children: int, slots: int) -> None:
        self._children = children
        self._slots = slots
        self.owner = f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:8]}"
        self._exclusive_free = children
        self._shared_free = slots
        self._active: dict[UUID, _Active] = {}
        self._reserved: dict[UUID, Place] = {}
        self._kept: dict[UUID, Place] = {}
        self._line = Line()
        self._meter = Meter()
        self._offer = Offer(owner=self.owner)
        self._definitions = 0
        self._look_at_definitions = monotonic() + DEFINITIONS_SECONDS
        self._wake_claims = asyncio.Event()
        self._place_free = asyncio.Event()
        self._wake_due = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._draining = False
        self._queued = True
        self._side: WriteSide | None = None
        self._pool: WorkerPool | None = None
        self._workshop: Workshop | None = None
        self._queue: Claims | None = None

    def attach(self, side: WriteSide, pool: WorkerPool, workshop: Workshop) -> None:
        """Give the keeper what it works with; before this it has no free place."""
        self._side, self._pool, self._workshop = side, pool, workshop
        self._queue = Claims(side.pool)

    def start(self) -> None:
        """Begin claiming, renewing leases and firing timers."""
        for name, loop in (
            ("claims", self._claims()),
            ("leases", self._leases()),
            ("due", self._due()),
            ("hints", self._hints()),
        ):
            self._tasks.append(asyncio.create_task(loop, name=name))

    async def stop(self, grace_seconds: float = 1.5) -> None:
        """Take no more, give work in hand a moment to end, hand the rest back to the queue."""
        self._draining = True
        running = [active.task for active in self._active.values() if active.task is not None]
        if running:
            await asyncio.wait(running, timeout=grace_seconds)
        left = [run_id for run_id, active in self._active.items() if not active.lost]
        for active in self._active.values():
            active.lost = True
            if active.task is not None:
                active.task.cancel()
        for task in self._tasks:
            task.cancel()
        if left and self._side is not None:
            with lived_through("handing runs back"):
                await self._side.runs.hand_back(self.owner, left)

    @property
    def healthy(self) -> bool:
        return bool(self._tasks) and not any(task.done() for task in self._tasks)

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        """The loops, none of which ends by itself."""
        return self._tasks

    @property
    def active(self) -> int:
        return len(self._active)

    # the committer's side

    def take(self, flow: Flow, run: Run) -> bool:
        """Reserve a place for a run that is about to be committed; none for work that only others can do, nor where somebody
        in the queue should go first, nor where a limit would have to be looked at."""
        if self._draining or self._workshop is None or not self._workshop.work.offers(self._phase(flow, run)):
            return False
        mode = self._mode(flow, run)
        kept = self._kept.get(flow.id)
        if not self._may_begin(flow, mode, kept):
            self._queued = True
            return False
        if kept is not None and not kept.passed_on and kept.exclusive == (mode == "exclusive"):
            kept.passed_on = True
            self._reserved[run.run_id] = Place(flow, mode, kept)
            return True
        if (self._exclusive_free if mode == "exclusive" else self._shared_free) <= 0:
            self._queued = True
            return False
        self._occupy(mode)
        self._reserved[run.run_id] = Place(flow, mode)
        return True

    def _may_begin(self, flow: Flow, mode: Mode, kept: Place | None) -> bool:
        """Whether the flow's next run may begin without going through the queue: it goes on in the place that it has, or
        nobody waits for one. A flow that goes on leaves every count as it is, so limits are looked at only for others."""
        exclusive = mode == "exclusive"
        if kept is not None:
            return self._line.lets_go_on(flow, exclusive, kept.since)
        return not self._offer.limits(flow.flow_type) and self._line.lets_in(exclusive)

    def give_back(self, run: Run) -> None:
        """A reserved place is free again, or the flow's former run's."""
        place = self._reserved.pop(run.run_id)
        if place.former is None:
            self._free(place.mode)
        else:
            place.former.passed_on = False

    def hand_over(self, flow: Flow, run: Run) -> None:
        """A run was committed into a place of ours: begin it."""
        reserved = run.run_id in self._reserved
        place = self._reserved.pop(run.run_id) if reserved else Place(flow, self._mode(flow, run))
        if self._kept.get(flow.id) is place.former:
            self._kept.pop(flow.id, None)
        active = _Active(flow, run, place)
        former = self._active.get(run.run_id)
        if former is not None and former.task is not None:
            # it was taken over while we still had it in hand, and came back to us under the next token
            former.lost = True
            former.task.cancel()
            active.after = former.task
        self._active[run.run_id] = active
        RUNS_ACTIVE.set(len(self._active))
        active.task = asyncio.create_task(self._do(active), name=f"run {run.run_id}")

    def _mode(self, flow: Flow, run: Run) -> Mode:
        assert self._workshop is not None
        return self._workshop.work.mode(self._phase(flow, run))

    def _phase(self, flow: Flow, run: Run) -> PhaseConfig:
        return self._types.version(flow.flow_type, flow.flow_version).phase(run.phase_name)

    @property
    def _types(self) -> FlowTypes:
        assert self._side is not None
        return self._side.types

    # one run

    async def _do(self, active: _Active) -> None:
        try:
            if active.after is not None:
                await asyncio.wait([active.after])
            command = await self._outcome(active)
            self._keep_place(active)
            if command is not None and not active.lost:
                await self._report(active, command)
        except asyncio.CancelledError:
            pass
        except Exception:
            log.exception("run could not be reported", run_id=str(active.run.run_id))
        finally:
            if self._active.get(active.run.run_id) is active:
                del self._active[active.run.run_id]
            RUNS_ACTIVE.set(len(self._active))
            self._leave_place(active)

    def _keep_place(self, active: _Active) -> None:
        """The work is done. The place stays the flow's until the result is committed, so that its next phase can be born into
        it; where others should have it, it is free at once."""
        self._meter.read(active.place)
        active.place.work_done = True
        flow_id = active.flow.id
        if flow_id not in self._kept and self._may_begin(active.flow, active.mode, active.place):
            self._kept[flow_id] = active.place
        else:
            self._leave_place(active)

    def _leave_place(self, active: _Active) -> None:
        """The place is free, unless the flow's next run has it by now."""
        if active.left:
            return
        active.left = True
        if self._kept.get(active.flow.id) is active.place:
            del self._kept[active.flow.id]
        if not active.place.work_done:
            self._meter.read(active.place)
        if not active.place.passed_on:
            self._free(active.mode)

    def _occupy(self, mode: Mode) -> None:
        if mode == "exclusive":
            self._exclusive_free -= 1
        else:
            self._shared_free -= 1

    def _free(self, mode: Mode) -> None:
        if mode == "exclusive":
            self._exclusive_free += 1
        else:
            self._shared_free += 1
        self._place_free.set()
        if self._queued:
            self._wake_claims.set()

    async def _outcome(self, active: _Active) -> Command | None:
        flow, run = active.flow, active.run
        try:
            job = self._job(flow, run)
        except MfoError as error:
            return self._failure(flow, run, "permanent", error.code, error.detail, retryable=False)
        try:
            ended = await self._work(job, active)
        except WorkerLost as lost:
            text = f"the worker process was lost: {lost.why}"
            return self._failure(flow, run, "resource", "worker_lost", text, retryable=True)
        except TimeoutError:
            return self._timeout(flow.id, run.run_id, run.token, run.phase_name, run.timeout_seconds)
        RUNS.labels(flow.flow_type, run.phase_name, ended.how).inc()
        return self._command(flow, run, ended)

    async def _work(self, job: Job, active: _Active) -> Ended:
        assert self._workshop is not None
        if active.mode == "inline":
            async with asyncio.timeout(active.run.timeout_seconds):
                return await self._workshop.run(job, keep=self._keeping(active))
        assert self._pool is not None
        return await self._pool.run(job, exclusive=active.mode == "exclusive", within=active.run.timeout_seconds)

    def _job(self, flow: Flow, run: Run) -> Job:
        config = self._phase(flow, run)
        return Job(
            run_id=run.run_id,
            token=run.token,
            flow_id=flow.id,
            flow_type=flow.flow_type,
            phase_name=run.phase_name,
            attempt=run.attempt,
            client_account_id=_known(flow.client_account_id),
            engagement_id=_known(flow.engagement_id),
            user_id=flow.updated_by,
            inputs=flow.known_inputs,
            outputs={phase.name: phase.outputs for phase in flow.phases if phase.outputs},
            steps=flow.phase(run.phase_name).steps,
            handlers=config.handlers,
            validators=config.validators,
            validate_inputs=bool(run.options.get("validate_inputs", True)),
            validate_outputs=bool(run.options.get("validate_outputs", True)),
            output_schema=config.output_schema,
        )

    def _command(self, flow: Flow, run: Run, ended: Ended) -> Command:
        if ended.how == "completed":
            return CompletePhase(
                flow_id=flow.id,
                run_id=run.run_id,
                token=run.token,
                outputs=ended.outputs,
                execution_time_ms=ended.execution_time_ms,
                validation_results=ended.validation_results,
                resource_usage=ended.resource_usage,
            )
        if ended.how == "input":
            return RequestInput(
                flow_id=flow.id,
                run_id=run.run_id,
                token=run.token,
                fields=ended.fields,
                message=ended.message,
                suggestions=ended.suggestions,
                execution_time_ms=ended.execution_time_ms,
            )
        return FailPhase(
            flow_id=flow.id,
            run_id=run.run_id,
            token=run.token,
            error=ended.error,
            execution_time_ms=ended.execution_time_ms,
        )

    def _failure(self, flow: Flow, run: Run, kind: str, code: str, message: str, *, retryable: bool) -> FailPhase:
        RUNS.labels(flow.flow_type, run.phase_name, code).inc()
        error = {"class": kind, "code": code, "message": message, "retryable": retryable}
        return FailPhase(flow_id=flow.id, run_id=run.run_id, token=run.token, error=error)

    def _timeout(self, flow_id: UUID, run_id: UUID, token: int, phase: str, seconds: float | None) -> FailPhase:
        limit = f" within {seconds:g} s" if seconds is not None else " before its deadline"
        error = {
            "class": "timeout",
            "code": "timeout",
            "message": f"phase {phase} did not end{limit}",
            "retryable": True,
        }
        return FailPhase(flow_id=flow_id, run_id=run_id, token=token, error=error)

    async def _report(self, active: _Active, command: Command) -> None:
        """Tell the flow how its run ended; a result that cannot be kept is a failure, so that the flow never waits in vain."""
        flow, run = active.flow, active.run
        try:
            answer = await self._report_as(active, command)
        except MfoError as error:
            if isinstance(command, FailPhase):
                raise
            code, detail = error.code, error.detail
        else:
            if answer is None or answer.error is None or answer.error["code"] in NO_LONGER_OURS:
                return
            code, detail = answer.error["code"], answer.error["detail"]
        if not isinstance(command, FailPhase):
            await self._report_as(active, self._failure(flow, run, "permanent", code, detail, retryable=False))

    async def _report_as(self, active: _Active, command: Command) -> Answer | None:
        flow, run = active.flow, active.run
        return await self._ask(
            command,
            command_id=str(uuid5(run.run_id, f"{run.token}:{type(command).__name__}")),
            client_account_id=_known(flow.client_account_id),
            engagement_id=_known(flow.engagement_id),
            user_id=flow.updated_by,
            correlation_id=flow.correlation_id,
            causation_id=str(run.run_id),
            source="worker",
        )

    async def _ask(
        self, command: Command, *, command_id: str, correlation_id: str | None = None, **who: Any
    ) -> Answer | None:
        """Submit a command of ours; faults of the store are waited out, a refusal is kept and noted."""
        assert self._side is not None
        envelope = Envelope(command_id=command_id, correlation_id=correlation_id or str(command.flow_id), **who)
        pause = 0.05
        while True:
            try:
                answer = await self._side.committer.submit(command, envelope)
            except Unavailable:
                if self._draining:
                    return None
                await asyncio.sleep(pause)
                pause = min(pause * 2, 2.0)
                continue
            if answer.outcome == "refused":
                log.info("refused", command=type(command).__name__, flow_id=str(command.flow_id), error=answer.error)
            return answer

    # loops

    async def _claims(self) -> None:
        while True:
            self._wake_claims.clear()
            self._place_free.clear()
            idle = False
            if not self._draining:
                with lived_through("claiming runs"):
                    await self._know_definitions()
                    idle = not await self._claim_all() and self._line.anybody
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake_claims.wait(), POLL_SECONDS)
            if idle:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._place_free.wait(), LOOK_SECONDS)

    async def _know_definitions(self) -> None:
        """Offer what can be run of every definition, those that other processes have brought too."""
        assert self._side is not None
        assert self._queue is not None
        assert self._workshop is not None
        if monotonic() >= self._look_at_definitions:
            self._look_at_definitions = monotonic() + DEFINITIONS_SECONDS
            if await self._queue.definitions() > len(self._types.versions()):
                await remember(self._side.pool, self._types)
        known = len(self._types.versions())
        if known != self._definitions:
            self._offer = offer_of(
                self.owner, self._side, self._workshop.work, children=self._children, slots=self._slots
            )
            self._definitions = known

    async def _claim_all(self) -> int:
        """Fill the free places and learn who still waits; answers how many runs were claimed.

        What is left in the queue is remembered, so that the next free place asks again.
        """
        assert self._queue is not None
        self._queued = False
        # the places are reserved first: a run may be born into one while the claim is on its way, and into the other half
        # of them where nobody is known to wait
        share = 1 if self._line.anybody else 2
        exclusive, shared = (-(-max(free, 0) // share) for free in (self._exclusive_free, self._shared_free))
        self._exclusive_free -= exclusive
        self._shared_free -= shared
        lanes = (Claimed([], []), Claimed([], []))
        spent = self._spent()
        try:
            lanes = await self._queue.claim(self._offer, exclusive=exclusive, shared=shared, spent=spent)
        except BaseException:
            self._queued = True
            self._meter.take_back(spent)
            raise
        finally:
            claimed = [len(lane.runs) for lane in lanes]
            self._exclusive_free += exclusive - claimed[0]
            self._shared_free += shared - claimed[1]
        self._line.seen(*lanes)
        left = (self._exclusive_free, self._shared_free)
        for places, taken, free in zip((exclusive, shared), claimed, left, strict=True):
            if 0 < places == taken:
                self._queued = True
                if free > 0:
                    self._wake_claims.set()
        self._queued = self._queued or self._line.anybody
        for lane, among in zip(lanes, (True, False), strict=True):
            if lane.runs:
                await self._begin_claimed(lane.runs, among=among)
        return sum(claimed)

    def _spent(self) -> list[Spent]:
        """Running seconds to be told: at once while somebody waits, else now and then."""
        if not (self._line.anybody or self._meter.due):
            return []
        for active in self._active.values():
            if not active.place.work_done:
                self._meter.read(active.place)
        return self._meter.tell()

    async def _begin_claimed(self, rows: list[RunRow], *, among: bool) -> None:
        """Begin what was claimed; a run that cannot begin here frees its place, and its lease lapses for others."""
        assert self._side is not None
        flows: dict[UUID, Loaded] = {}
        with lived_through("reading the flows of claimed runs"):
            flows = await self._side.store.load(row.flow_id for row in rows)
        for row in rows:
            try:
                flow, run = await self._claimed(row, flows[row.flow_id].flow if row.flow_id in flows else None)
                self.hand_over(flow, run)
            except Exception as error:
                self._free("exclusive" if among else "shared")
                log.warning(
                    "claimed run cannot begin here",
                    run_id=str(row.run_id),
                    flow_id=str(row.flow_id),
                    why=f"{type(error).__name__}: {error}"[:300],
                )

    async def _claimed(self, row: RunRow, flow: Flow | None) -> tuple[Flow, Run]:
        """The flow and run of a claimed row; raises RunNotCurrent where the flow has another."""
        assert self._side is not None
        if flow is None:
            raise StoreUnavailable
        if not self._types.knows(flow.flow_type, flow.flow_version):
            await remember(self._side.pool, self._types)
        run = flow.run
        if run is None or (run.run_id, run.token) != (row.run_id, row.token):
            raise RunNotCurrent
        return flow, run

    async def _leases(self) -> None:
        assert self._side is not None
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            mine = {run_id: active.run.token for run_id, active in self._active.items()}
            with lived_through("renewing leases"):
                for run_id in await self._side.runs.heartbeat(self.owner, mine):
                    active = self._active.get(run_id)
                    # a run that has just been reported has no row any more, and no task to stop
                    if active is not None and active.run.token == mine[run_id] and active.task is not None:
                        active.lost = True
                        active.task.cancel()

    async def _due(self) -> None:
        assert self._side is not None
        while True:
            wait = POLL_SECONDS
            with lived_through("seeing to what is due"):
                await self._fire()
                await self._take_over()
                due = await self._side.runs.next_due()
                wait = IDLE_SECONDS if due is None else min(max(due, SOON_SECONDS), IDLE_SECONDS)
            self._wake_due.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake_due.wait(), wait)

    async def _fire(self) -> None:
        assert self._side is not None
        timers = await self._side.runs.due_timers()
        asked: list[Coroutine[Any, Any, Answer | None]] = [
            self._ask(
                FireTimer(flow_id=timer.flow_id, timer=timer.name, token=timer.token),
                command_id=str(uuid5(timer.flow_id, f"{timer.name}:{timer.token}")),
                client_account_id=timer.client_account_id,
                engagement_id=timer.engagement_id,
                user_id=SYSTEM_USER,
                source="timer",
            )
            for timer in timers
        ]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        for timer, answer in zip(timers, answers, strict=True):
            if answer is None or isinstance(answer, BaseException):
                self._not_fired(timer, answer)
                continue
            TIMERS_FIRED.inc()
            # the flow removed it with its decision; one that it let pass (it is paused) has no further use
            await self._side.runs.drop_timer(timer)

    def _not_fired(self, timer: DueTimer, error: BaseException | None) -> None:
        """A timer that could not fire stays, and is asked again in the next round."""
        if error is not None:
            log.error("timer could not fire", flow_id=str(timer.flow_id), timer=timer.name, exc_info=error)

    async def _take_over(self) -> None:
        assert self._side is not None
        for row in await self._side.runs.overdue():
            if row.run_id in self._active:
                continue
            command: Command = self._timeout(row.flow_id, row.run_id, row.token, row.phase_name, None)
            await self._ask_about(row, command, "overdue")
        for row in await self._side.runs.lapsed(self._active.keys()):
            log.warning("lease lapsed", run_id=str(row.run_id), phase=row.phase_name, flow_id=str(row.flow_id))
            await self._ask_about(row, ReassignRun(flow_id=row.flow_id, run_id=row.run_id, token=row.token), "lapsed")

    async def _ask_about(self, row: RunRow, command: Command, what: str) -> None:
        try:
            await self._ask(
                command,
                command_id=str(uuid5(row.run_id, f"{row.token}:{what}")),
                client_account_id=row.client_account_id,
                engagement_id=row.engagement_id,
                user_id=SYSTEM_USER,
                source="timer",
            )
        except MfoError:
            # one flow that cannot be decided must not stop the others' runs from being seen to
            log.exception("run could not be seen to", run_id=str(row.run_id), what=what)

    async def _hints(self) -> None:
        """Wake the loops when the store says that something was queued or set."""
        assert self._side is not None
        config = self._side.config
        while True:
            with lived_through("listening"):
                connection = await connect(config.database_url, config.shard)
                try:
                    await connection.execute("listen mfo_runs")
                    await connection.execute("listen mfo_timers")
                    async for notice in connection.notifies():
                        if notice.channel == "mfo_runs":
                            self._queued = True
                            self._wake_claims.set()
                        else:
                            self._wake_due.set()
                finally:
                    await connection.close()
            await asyncio.sleep(POLL_SECONDS)

    async def on_steps(self, done: StepsDone) -> bool:
        """Commit the results of a run's steps; whether the run is still ours."""
        active = self._active.get(done.run_id)
        return active is not None and not active.lost and await self._keep_steps(active, done.number, done.results)

    def _keeping(self, active: _Active) -> Callable[[dict[str, Any]], Awaitable[None]]:
        numbers = count(1)

        async def keep(results: dict[str, Any]) -> None:
            if active.lost or not await self._keep_steps(active, next(numbers), results):
                raise asyncio.CancelledError

        return keep

    async def _keep_steps(self, active: _Active, number: int, results: dict[str, Any]) -> bool:
        flow, run = active.flow, active.run
        answer = await self._ask(
            RecordSteps(flow_id=flow.id, run_id=run.run_id, token=run.token, results=results),
            command_id=str(uuid5(run.run_id, f"{run.token}:steps:{number}")),
            client_account_id=_known(flow.client_account_id),
            engagement_id=_known(flow.engagement_id),
            user_id=flow.updated_by,
            correlation_id=flow.correlation_id,
            causation_id=str(run.run_id),
            source="worker",
        )
        return answer is not None and answer.error is None

    async def on_progress(self, progress: Progress) -> None:
        """Keep how far a run is, where status can show it."""
        active = self._active.get(progress.run_id)
        if active is None or self._side is None:
            return
        text = msgspec.json.encode(
            {"done": progress.done, "total": progress.total, "message": progress.message}
        ).decode()
        with lived_through("keeping progress"):
            await self._side.runs.progress(progress.run_id, active.run.token, text)


def _known(value: UUID | None) -> UUID:
    assert value is not None
    return value
