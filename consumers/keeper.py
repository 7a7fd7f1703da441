"""The runs of this process: taken, done, kept alive, reported; and what is due: timers, lapsed leases, deadlines.

A run is born into a free place here with its commit, or claimed from the queue. Its result is a command like any other,
under the run's token; the flow refuses a stale one.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from datetime import timedelta
from itertools import count
from time import monotonic
from typing import Any
from uuid import UUID, uuid4

import msgspec
import structlog
from msgspec.structs import replace

from consumers.family import FlowCommand, Tell
from consumers.frames import Asked, Ended, FlowAnswered, FlowAsked, Job, Progress, StepsDone
from consumers.hooks import seen_by, work_of
from consumers.losing import loss_of
from consumers.metrics import RUNS_ACTIVE, run_ended
from consumers.phases import Mode
from consumers.places import Line, Meter, Place, offer_of
from consumers.pool import Deaf, WorkerLost, WorkerPool, named
from consumers.signals import Signals
from consumers.timers import Backoff, Firing, StoreClock
from consumers.work import Workshop, signals_of
from domain.commands import (
    CancelFlow,
    Command,
    CompletePhase,
    CreateFlow,
    Envelope,
    FailPhase,
    HandBackRun,
    ReassignRun,
    RecordSteps,
    ReportLoss,
    RequestInput,
    SuspendRun,
)
from domain.errors import MfoError, RunNotCurrent, StoreUnavailable, Unavailable
from domain.flow import Flow, Run
from domain.flow_types import FlowTypeConfig, FlowTypes
from domain.ids import derived_text
from domain.words import SYSTEM_USER
from eventstore import tracing
from eventstore.claims import Claimed, Claims, Offer, Spent
from eventstore.committer import WAITS, Answer
from eventstore.database import pool
from eventstore.definitions import remember
from eventstore.faults import lived_through
from eventstore.notices import Channel, listen
from eventstore.runs import Beat, RunRow, Wish
from eventstore.service import WriteSide
from eventstore.store import Loaded, Store
from eventstore.tasks import end_all
from eventstore.wake import woken

log = structlog.get_logger()

HEARTBEAT_SECONDS = 2.0
POLL_SECONDS = 1.0
IDLE_SECONDS = 5.0
# signals that come together are answered by one heartbeat
SIGNAL_GAP_SECONDS = 0.1
# how long a handler has to clean up after it was told that its run is cancelled
CANCEL_GRACE_SECONDS = 2.0
# and how long after it was told that its process ends now
LAST_GRACE_SECONDS = 1.0
# a phase that has ended its worker is kept apart from others for this long
APART_SECONDS = 600.0
# what is due and cannot be helped yet must not keep the loop busy
SOON_SECONDS = 0.05
TAKEN_AT_ONCE = 100
# how often it is looked whether a parked flow has taken the steps of its run
FIRST_LOOK_SECONDS, LAST_LOOK_SECONDS = 0.5, 5.0
# how often those who wait are looked at while there is no place for them
LOOK_SECONDS = 0.05
DEFINITIONS_SECONDS = 10.0

# refusals of a result that say: the flow has no use for it any more
NO_LONGER_OURS = frozenset({"run_not_current", "flow_not_found"})


class _Active:
    """A run in hand."""

    __slots__ = (
        *("after", "asked", "ends", "flow", "lost", "mode", "place", "progress", "run", "seen", "signals"),
        *("span", "task", "told"),
    )

    def __init__(self, flow: Flow, run: Run, place: Place) -> None:
        self.flow = flow
        self.run = run
        self.mode = place.mode
        self.place = place
        self.span = _span(flow, run) if tracing.on() else None
        self.task: asyncio.Task[None] | None = None
        self.after: asyncio.Task[None] | None = None
        self.lost = False
        self.ends = monotonic() + run.timeout_seconds
        # how far the flow's history was seen, and what was asked of the run by then
        self.seen = flow.version
        self.asked = Asked(run_id=run.run_id, paused=flow.paused is not None)
        # of a run that is done in this process
        self.signals: Signals | None = None
        # the newest word on how far it is, as JSON, and the one that the store has
        self.progress: str | None = None
        self.told: str | None = None

    @property
    def seconds_left(self) -> float:
        return max(0.0, self.ends - monotonic())

    def beat(self) -> Beat:
        """What the next heartbeat says of it."""
        return Beat(self.run.token, self.seen, self.progress if self.progress != self.told else None)

    def heard(self, beat: Beat, wish: Wish) -> bool:
        """Take the answer to a heartbeat; whether the handler is to be told of it."""
        self.seen = max(self.seen, wish.version)
        self.told = beat.progress or self.told
        paused = self.asked.paused if wish.paused is None else wish.paused
        if (paused, wish.deadline) == (self.asked.paused, self.asked.deadline):
            return False
        self.asked = replace(self.asked, paused=paused, deadline=wish.deadline, seconds_left=wish.seconds_left)
        return True


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
        self._modes: dict[tuple[str, str, str], Mode | None] = {}
        self._offer = Offer(owner=self.owner)
        self._definitions = 0
        self._look_at_definitions = monotonic() + DEFINITIONS_SECONDS
        self._wake_claims = asyncio.Event()
        self._place_free = asyncio.Event()
        self._wake_due = asyncio.Event()
        self._claiming = asyncio.Lock()
        self._wake_leases = asyncio.Event()
        self._suspects: set[UUID] = set()
        self._apart: dict[tuple[str, str], float] = {}
        self._clock = StoreClock()
        self._left_alone = Backoff()
        self._firing: Firing | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._draining = False
        self._over = False
        self._queued = True
        self._side: WriteSide | None = None
        self._pool: WorkerPool | None = None
        self._workshop: Workshop | None = None
        self._queue: Claims | None = None
        self._claimed_flows: Store | None = None

    def attach(self, side: WriteSide, workers: WorkerPool, workshop: Workshop) -> None:
        """Give the keeper what it works with; before this it has no free place."""
        self._side, self._pool, self._workshop = side, workers, workshop
        self._firing = Firing(side.config, self._ask)
        # a plan of the claim is made by each connection that runs it, and takes longer than many claims: it has one to itself
        connection = pool(side.config.database_url, side.config.shard, size=1, name="claims")
        self._queue, self._claimed_flows = Claims(connection), Store(connection, side.config.shard)

    def start(self) -> None:
        """Begin claiming, renewing leases and firing timers."""
        assert self._firing is not None
        for name, loop in (
            ("claims", self._claims()),
            ("leases", self._leases()),
            ("due", self._due()),
            ("timers", self._firing.run()),
            ("hints", self._hints()),
        ):
            self._tasks.append(asyncio.create_task(loop, name=name))

    async def stop(self, grace_seconds: float = 1.5) -> None:
        """Take no more, give work in hand this long to end, and hand the rest to others, who begin it at once.

        What is handed over has stopped here before: nobody does the same run beside us.
        """
        self._draining = True
        end = asyncio.get_running_loop().time() + grace_seconds
        for active in self._active.values():
            active.asked = replace(active.asked, draining=True)
            self._tell(active)
        # what was claimed or committed for us a moment ago is in hand, too, as soon as it is known here
        async with self._claiming:
            pass
        while (left := end - asyncio.get_running_loop().time()) > 0 and (self._reserved or self._running()):
            await asyncio.wait(self._running() or [asyncio.create_task(asyncio.sleep(SOON_SECONDS))], timeout=left)
        self._over = True
        await end_all(self._tasks)
        unfinished = [active for active in self._active.values() if not active.lost]
        if unfinished:
            log.info("runs are handed back", runs=[str(active.run.run_id) for active in unfinished])
        for active in self._active.values():
            active.lost = True
            if active.task is not None:
                active.task.cancel()
        if running := self._running():
            await asyncio.wait(running, timeout=LAST_GRACE_SECONDS)
        if self._running() and self._pool is not None:
            await self._pool.stop()
        await asyncio.gather(*(self._hand_back(active) for active in unfinished), return_exceptions=True)

    def _running(self) -> list[asyncio.Task[None]]:
        return [active.task for active in self._active.values() if active.task is not None and not active.task.done()]

    async def _hand_back(self, active: _Active) -> None:
        """Queue a run again, under the next token, so that what it left behind here counts for nothing."""
        flow, run = active.flow, active.run
        again = ReassignRun(flow_id=flow.id, run_id=run.run_id, token=run.token, reason="handed_back")
        await self._report_as(active, again)

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
        if self._draining or self._workshop is None or (mode := self._mode(flow, run)) is None:
            return False
        kept = self._kept.get(flow.id)
        # where phases run at the same time one of them goes on in the place, the others need places of their own
        kept = None if kept is not None and kept.passed_on else kept
        if not self._may_begin(flow, mode, kept):
            self._queued = True
            return False
        if kept is not None and kept.exclusive == (mode == "exclusive"):
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
            if place.former.left:
                self._free(place.former.mode)

    def hand_over(self, flow: Flow, run: Run, *, claimed: bool = False) -> None:
        """A run was committed into a place of ours, or claimed into one: begin it."""
        # what another process has begun may be claimed while our committer keeps a place for the same run, and loses
        place = self._place(flow, run) if claimed else self._reserved.pop(run.run_id)
        if self._kept.get(flow.id) is place.former:
            self._kept.pop(flow.id, None)
        active = _Active(flow, run, place)
        if self._draining:
            active.asked = replace(active.asked, draining=True)
        former = self._active.get(run.run_id)
        if former is not None and former.task is not None:
            # it was taken over while we still had it in hand, and came back to us under the next token
            former.lost = True
            former.task.cancel()
            active.after = former.task
        self._active[run.run_id] = active
        RUNS_ACTIVE.set(len(self._active))
        active.task = asyncio.create_task(self._do(active), name=f"run {run.run_id}")

    def _mode(self, flow: Flow, run: Run) -> Mode | None:
        """How the run is done here; none where it takes what only others have. A definition never changes."""
        assert self._workshop is not None
        asked = (flow.flow_type, flow.flow_version, run.phase_name)
        if asked not in self._modes:
            config, work = self._type(flow), self._workshop.work
            phase = config.phase(run.phase_name)
            hooks = config.work_of(phase)
            self._modes[asked] = work.mode(phase, hooks) if work.offers(phase, hooks) else None
        return self._modes[asked]

    def _place(self, flow: Flow, run: Run) -> Place:
        mode = self._mode(flow, run)
        # what nobody offers here is not claimed here
        assert mode is not None
        return Place(flow, mode)

    def _type(self, flow: Flow) -> FlowTypeConfig:
        return self._types.version(flow.flow_type, flow.flow_version)

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
            if active.span is not None:
                active.span.end(lost=active.lost)

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
        if active.place.left:
            return
        active.place.left = True
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
            job = self._job(active)
        except MfoError as error:
            return self._failure(flow, run, "permanent", error.code, error.detail, retryable=False)
        try:
            ended = await self._work(job, active)
        except WorkerLost as lost:
            return self._without_worker(active, job, lost)
        except Deaf:
            deaf = self._timeout(flow.id, run.run_id, run.token, run.phase_name, run.timeout_seconds)
            deaf.error["message"] += f"; {named(job)} did not end when it was told to, and its worker was ended"
            return self._by(job, deaf)
        except TimeoutError:
            late = self._timeout(flow.id, run.run_id, run.token, run.phase_name, run.timeout_seconds)
            return self._by(job, late)
        run_ended(flow, run, ended.how, ended.execution_time_ms)
        assert self._side is not None
        return await loss_of(self._side, flow.id, run, ended) or self._command(flow, run, ended)

    async def _work(self, job: Job, active: _Active) -> Ended:
        assert self._workshop is not None
        if active.mode == "inline":

            async def progress(done: int, total: int, message: str) -> None:
                await self.on_progress(Progress(run_id=job.run_id, done=done, total=total, message=message))

            active.signals = signals_of(job)
            async with asyncio.timeout(active.seconds_left):
                return await self._workshop.run(
                    job, progress, self._keeping(active), active.signals, self._telling(active)
                )
        assert self._pool is not None
        return await self._pool.run(
            job,
            exclusive=active.mode == "exclusive",
            within=active.seconds_left,
            alone=self._is_apart(active.flow, active.run),
        )

    def _without_worker(self, active: _Active, job: Job, lost: WorkerLost) -> Command:
        """A run that ended its worker has failed; one that was beside it goes on elsewhere and has lost nothing but time."""
        flow, run = active.flow, active.run
        if lost.guilty:
            self._apart[flow.flow_type, run.phase_name] = asyncio.get_running_loop().time() + APART_SECONDS
            text = f"the worker process was lost in {named(job)}: {lost.why}"
            return self._by(job, self._failure(flow, run, "resource", "worker_lost", text, retryable=True))
        if lost.suspect:
            self._suspects.add(run.run_id)
        return ReassignRun(flow_id=flow.id, run_id=run.run_id, token=run.token, reason="worker_lost")

    def _is_apart(self, flow: Flow, run: Run) -> bool:
        """Whether a run has a worker of its own, because it may have ended one, or its phase has."""
        if run.run_id in self._suspects:
            self._suspects.remove(run.run_id)
            return True
        return asyncio.get_running_loop().time() < self._apart.get((flow.flow_type, run.phase_name), 0.0)

    def _job(self, active: _Active) -> Job:
        assert self._side is not None
        flow, run, seconds_left = active.flow, active.run, active.seconds_left
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
            steps={**flow.start_steps, **flow.phase(run.phase_name).steps},
            validate_inputs=bool(run.options.get("validate_inputs", True)),
            validate_outputs=bool(run.options.get("validate_outputs", True)),
            # as good as this process knows it; the heartbeat brings the store's
            deadline=self._side.committer.now() + timedelta(seconds=seconds_left),
            seconds_left=seconds_left,
            paused=active.asked.paused,
            draining=active.asked.draining,
            max_attempts=run.max_attempts,
            timeout_seconds=run.timeout_seconds,
            iteration=flow.iteration_number,
            traceparent=active.span.traceparent if active.span else None,
            **seen_by(flow, run),
            **work_of(self._type(flow), flow, run),
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
                agent_insights=ended.agent_insights,
                handler_versions=ended.handler_versions,
                reused_from=ended.reused_from,
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
                question=msgspec.to_builtins(ended.question),
                step=ended.step or None,
            )
        if ended.how == "suspended":
            return SuspendRun(
                flow_id=flow.id,
                run_id=run.run_id,
                token=run.token,
                name=ended.step,
                until=ended.until,
                timeout_seconds=ended.wait_seconds,
                execution_time_ms=ended.execution_time_ms,
            )
        if ended.how == "handed_back":
            return HandBackRun(
                flow_id=flow.id, run_id=run.run_id, token=run.token, execution_time_ms=ended.execution_time_ms
            )
        return FailPhase(
            flow_id=flow.id,
            run_id=run.run_id,
            token=run.token,
            error=ended.error,
            execution_time_ms=ended.execution_time_ms,
            handler_versions=ended.handler_versions,
        )

    def _by(self, job: Job, failed: FailPhase) -> FailPhase:
        """A failure of a run whose worker says nothing: the code is that of this process."""
        assert self._workshop is not None
        return failed.model_copy(update={"handler_versions": self._workshop.work.handler_versions(job.names)})

    def _failure(self, flow: Flow, run: Run, kind: str, code: str, message: str, *, retryable: bool) -> FailPhase:
        run_ended(flow, run, code)
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

    async def _report_as(self, active: _Active, command: Command, called: str | None = None) -> Answer | None:
        """Submit a command about a run of ours; `called` tells apart those of one kind."""
        flow, run = active.flow, active.run
        return await self._ask(
            command,
            command_id=derived_text(run.run_id, f"{run.token}:{called or type(command).__name__}"),
            client_account_id=_known(flow.client_account_id),
            engagement_id=_known(flow.engagement_id),
            # what follows is nobody's wish
            user_id=SYSTEM_USER if isinstance(command, ReportLoss) else flow.updated_by,
            correlation_id=flow.correlation_id,
            causation_id=str(run.run_id),
            source="worker",
            traceparent=active.span.traceparent if active.span else None,
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
                if self._over:
                    return None
                await asyncio.sleep(pause)
                pause = min(pause * 2, 2.0)
                continue
            if answer.outcome == "refused":
                log.info("refused", command=type(command).__name__, flow_id=str(command.flow_id), error=answer.error)
            return answer

    # loops

    async def _claims(self) -> None:
        assert self._queue is not None
        async with self._queue.pool:
            while True:
                self._wake_claims.clear()
                self._place_free.clear()
                idle = False
                if not self._draining:
                    with lived_through("claiming runs"):
                        await self._know_definitions()
                        async with self._claiming:
                            # the service may have been told to stop meanwhile
                            idle = not self._draining and not await self._claim_all() and self._line.anybody
                await woken(self._wake_claims, POLL_SECONDS if self._line.anybody else IDLE_SECONDS)
                if idle:
                    await woken(self._place_free, LOOK_SECONDS)

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
        assert self._claimed_flows is not None
        assert self._side is not None
        flows: dict[UUID, Loaded] = {}
        broken: dict[UUID, Exception] = {}
        with lived_through("reading the flows of claimed runs"):
            flows = await self._claimed_flows.load([row.flow_id for row in rows], broken)
        for row in rows:
            try:
                if row.flow_id in broken:
                    raise broken[row.flow_id]
                flow, run = await self._claimed(row, flows[row.flow_id].flow if row.flow_id in flows else None)
                self._side.committer.know(flows[row.flow_id])
                self.hand_over(flow, run, claimed=True)
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
        for run in flow.runs:
            if (run.run_id, run.token) == (row.run_id, row.token):
                return flow, run
        raise RunNotCurrent

    async def _leases(self) -> None:
        assert self._side is not None
        while True:
            await woken(self._wake_leases, HEARTBEAT_SECONDS - SIGNAL_GAP_SECONDS)
            await asyncio.sleep(SIGNAL_GAP_SECONDS)
            self._wake_leases.clear()
            with lived_through("renewing leases"):
                await self._beat()

    async def _beat(self) -> None:
        """Renew the leases, and pass on what the flows want of their runs."""
        assert self._side is not None
        beats = {run_id: active.beat() for run_id, active in self._active.items()}
        wishes, gone = await self._side.runs.heartbeat(self.owner, beats)
        for run_id, beat in beats.items():
            active = self._active.get(run_id)
            # a run that has just been reported has no row any more, and no task to stop
            if active is None or active.run.token != beat.token:
                continue
            if run_id in gone:
                self._lose(active)
            elif run_id in wishes and active.heard(beat, wishes[run_id]):
                self._tell(active)

    def _tell(self, active: _Active) -> None:
        """Pass on to the handler what is asked of its run."""
        if active.signals is not None:
            active.signals.hear(active.asked)
        elif self._pool is not None:
            self._pool.tell(active.asked)
        # which is true only now
        active.asked = replace(active.asked, seconds_left=None)

    def _lose(self, active: _Active) -> None:
        """The run is not ours any more: its handler is told, and stopped a moment later."""
        if active.lost or active.task is None:
            return
        active.lost = True
        active.asked = replace(active.asked, cancelled=True)
        self._tell(active)
        asyncio.get_running_loop().call_later(CANCEL_GRACE_SECONDS, active.task.cancel)

    async def _due(self) -> None:
        while True:
            wait = POLL_SECONDS
            self._wake_due.clear()
            with lived_through("seeing to what is due"):
                wait = await self._take_over()
            await woken(self._wake_due, max(wait, SOON_SECONDS))

    async def _take_over(self) -> float:
        """See to runs that nobody holds; answers the seconds until there may be others."""
        assert self._side is not None
        asked = monotonic()
        found = await self._side.runs.unattended(self._active.keys(), TAKEN_AT_ONCE)
        waits = [IDLE_SECONDS, found.next_seconds]
        if not self._clock.believed(asked, found.now, monotonic()):
            waits.append(self._clock.doubted_for if found.runs else None)
            return min(wait for wait in waits if wait is not None)
        due = [(row, overdue) for row, overdue in found.runs if not self._left_alone.holds((row.run_id, row.token))]
        await asyncio.gather(*(self._take(row, overdue=overdue) for row, overdue in due))
        waits.append(0.0 if len(due) == TAKEN_AT_ONCE else self._left_alone.soonest())
        return min(wait for wait in waits if wait is not None)

    async def _take(self, row: RunRow, *, overdue: bool) -> None:
        self._left_alone.hold((row.run_id, row.token))
        if overdue:
            await self._ask_about(
                row, self._timeout(row.flow_id, row.run_id, row.token, row.phase_name, None), "overdue"
            )
            return
        log.warning("lease lapsed", run_id=str(row.run_id), phase=row.phase_name, flow_id=str(row.flow_id))
        await self._ask_about(row, ReassignRun(flow_id=row.flow_id, run_id=row.run_id, token=row.token), "lapsed")

    async def _ask_about(self, row: RunRow, command: Command, what: str) -> None:
        try:
            await self._ask(
                command,
                command_id=derived_text(row.run_id, f"{row.token}:{what}"),
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
        assert self._firing is not None
        await listen(
            self._side.config,
            (Channel.RUNS, self._look_in_the_queue),
            (Channel.SIGNALS, self._wake_leases.set),
            (Channel.TIMERS, self._firing.wake),
        )

    def _look_in_the_queue(self) -> None:
        self._queued = True
        self._wake_claims.set()

    async def on_steps(self, done: StepsDone) -> bool:
        """Commit the results of a run's steps; whether the run is still ours."""
        active = self._active.get(done.run_id)
        return active is not None and not active.lost and await self._keep_steps(active, done.number, done.results)

    async def on_flow(self, asked: FlowAsked) -> FlowAnswered:
        """Put what a run asks before a child flow of its flow; whether the run is still ours, and why it was refused."""
        active = self._active.get(asked.run_id)
        if active is None or active.lost:
            return FlowAnswered(run_id=asked.run_id, number=asked.number, ours=False)
        answer = await self._tell_child(active, asked.command, asked.body)
        error = answer.error if answer is not None else None
        return FlowAnswered(run_id=asked.run_id, number=asked.number, ours=answer is not None, error=error)

    def _telling(self, active: _Active) -> Tell:
        async def tell(command: FlowCommand, body: dict[str, Any]) -> dict[str, Any] | None:
            answer = None if active.lost else await self._tell_child(active, command, body)
            if answer is None:
                raise asyncio.CancelledError
            return answer.error

        return tell

    async def _tell_child(self, active: _Active, name: FlowCommand, body: dict[str, Any]) -> Answer | None:
        """The child's id follows from its step, so a later attempt finds it there; a refusal holds for this run alone."""
        flow, run = active.flow, active.run
        command: Command
        if name == "CreateFlow":
            command = CreateFlow.model_validate({**body, "parent_flow_id": flow.id})
        else:
            command = CancelFlow.model_validate(body)
        return await self._ask(
            command,
            command_id=derived_text(run.run_id, f"{name}:{msgspec.json.encode(body, order='sorted').decode()}"),
            client_account_id=_known(flow.client_account_id),
            engagement_id=_known(flow.engagement_id),
            user_id=flow.updated_by,
            correlation_id=flow.correlation_id,
            causation_id=str(run.run_id),
            source="worker",
            traceparent=active.span.traceparent if active.span else None,
        )

    def _keeping(self, active: _Active) -> Callable[[dict[str, Any]], Awaitable[None]]:
        numbers = count(1)

        async def keep(results: dict[str, Any]) -> None:
            if active.lost or not await self._keep_steps(active, next(numbers), results):
                raise asyncio.CancelledError

        return keep

    async def _keep_steps(self, active: _Active, number: int, results: dict[str, Any]) -> bool:
        run = active.run
        done = RecordSteps(flow_id=active.flow.id, run_id=run.run_id, token=run.token, results=results)
        pause = FIRST_LOOK_SECONDS
        while True:
            answer = await self._report_as(active, done, f"steps:{number}")
            if answer is None or answer.outcome != WAITS:
                return answer is not None and answer.error is None
            # the flow is parked: the handler goes on when somebody has seen to it, the run's deadline permitting
            await asyncio.sleep(pause)
            pause = min(pause * 2, LAST_LOOK_SECONDS)
            if active.lost or self._over or self._active.get(run.run_id) is not active:
                return False

    async def on_progress(self, progress: Progress) -> None:
        """Note how far a run is; the next heartbeat takes it to where status can show it."""
        active = self._active.get(progress.run_id)
        if active is not None:
            said = {"done": progress.done, "total": progress.total, "message": progress.message}
            active.progress = msgspec.json.encode(said).decode()


def _span(flow: Flow, run: Run) -> tracing.Span | None:
    return tracing.begin(
        f"run {run.phase_name}",
        flow.traceparent or None,
        attributes={"flow_id": str(flow.id), "run_id": str(run.run_id), "attempt": run.attempt},
    )


def _known(value: UUID | None) -> UUID:
    assert value is not None
    return value
