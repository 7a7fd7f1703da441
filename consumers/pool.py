"""The child processes that do phase work, so that a handler that blocks, leaks or dies never holds up the service.

A child that grows beyond its memory limit, whose loop stands still, or that does not give a run up when told to, is ended, and
another takes its place. Whose fault it was is told by name (log, metric, the run's error). Where that is not clear the runs
are suspects, and each is done again in a child of its own; those that have nothing to do with it only change hands.

A child that has done its share of runs, or has grown, is recycled: its successor is up before it takes no more, and it ends
what it has in hand.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Any
from uuid import UUID

import msgspec
import structlog

from consumers.frames import (
    Alive,
    Asked,
    Begin,
    Describe,
    Ended,
    FlowAnswered,
    FlowAsked,
    Job,
    Kept,
    Progress,
    Ready,
    StepsDone,
    Stop,
    frame,
    from_child,
)
from consumers.metrics import HANDLER_FAULTS, WORKERS_ENDED
from eventstore.tasks import end_all

log = structlog.get_logger()

STOP_GRACE_SECONDS = 2.0
WATCH_SECONDS = 1.0
# a loop that has not gone round for this long stands still; one that holds up nobody else, or may be blocked, is let be
STILL_SECONDS = 15.0
# how long the other runs of a child with a thread that does not end may go on
STUCK_SECONDS = 30.0
CLOSE_SECONDS = 5.0
# how many suspects are done again at once, each in a child of its own
APART = 4
FIRST_PAUSE_SECONDS, LAST_PAUSE_SECONDS = 0.1, 5.0
PAGE_MB = os.sysconf("SC_PAGE_SIZE") / (1 << 20)

OnProgress = Callable[[Progress], Awaitable[None]]
OnSteps = Callable[[StepsDone], Awaitable[bool]]
"""Commits the results of steps; answers whether the run is still the child's."""
OnFlow = Callable[[FlowAsked], Awaitable[FlowAnswered]]
"""Puts a command before a child flow of a run's flow."""
Order = Job | Describe


class WorkerLost(Exception):
    """The child process ended while the run was in its hands.

    `guilty`: because of this run; `suspect`: perhaps because of it, or of another one that was beside it.
    """

    def __init__(self, why: str, *, guilty: bool = False, suspect: bool = False) -> None:
        super().__init__(why)
        self.why = why
        self.guilty = guilty
        self.suspect = suspect


class Deaf(TimeoutError):
    """The deadline has passed, and the handler did not end when it was told to."""


def named(order: Order) -> str:
    """A run as people know it: `phase x of flow type y (handler z)`."""
    if isinstance(order, Describe):
        return f"the description of upload {order.import_id}"
    return f"phase {order.phase_name} of flow type {order.flow_type} (handler {', '.join(order.handlers)})"


class _Run:
    """A run in a child."""

    __slots__ = ("answer", "exclusive", "order")

    def __init__(self, order: Order, *, exclusive: bool) -> None:
        self.order = order
        self.exclusive = exclusive
        self.answer: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()


class _Child:
    """One child process as the service sees it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.runs: dict[UUID, _Run] = {}
        self.why = ""
        # what is counted in the metric
        self.kind = "died"
        # the run that it is ended for, where that is known
        self.culprit: UUID | None = None
        self.done = 0
        self.heard = monotonic()
        self.ready = asyncio.Event()
        self.retire = asyncio.Event()
        self.leaving = False
        self.killed = False
        self.gone = asyncio.Event()

    @property
    def exclusive(self) -> bool:
        """Whether it does a run that wants it for itself."""
        return any(run.exclusive for run in self.runs.values())

    def send(self, message: Any) -> None:
        if self.process.stdin is not None:
            self.process.stdin.write(frame(message))

    def kill(self, why: str, kind: str = "stopped", culprit: UUID | None = None) -> None:
        # once: signalling a process that has ended would take its exit code away from whoever waits for it
        if self.killed or self.gone.is_set():
            return
        self.killed = True
        if not self.why:
            self.why, self.kind, self.culprit = why, kind, culprit
        with suppress(ProcessLookupError):
            self.process.kill()

    def close(self) -> None:
        """Let it end by itself: it has nothing in hand."""
        self.why, self.kind = self.why or "recycled", "recycled"
        if self.process.stdin is not None:
            self.process.stdin.close()
        asyncio.get_running_loop().call_later(CLOSE_SECONDS, self.kill, "it did not end when it was told to")

    def resident_mb(self) -> float:
        try:
            return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * PAGE_MB
        except (OSError, IndexError):
            return 0.0


class WorkerPool:
    """`size` children; each does one exclusive run at a time, and shared ones beside it.

    A child is recycled after `max_runs` runs (0: never), or when it has no exclusive run and holds more than `recycle_mb`
    (0: never).
    """

    def __init__(
        self,
        size: int,
        begin: Begin,
        *,
        memory_mb: int,
        max_runs: int = 0,
        recycle_mb: int = 0,
        on_progress: OnProgress | None = None,
        on_steps: OnSteps | None = None,
        on_flow: OnFlow | None = None,
    ) -> None:
        self._size = size
        self._begin = begin
        self._memory_mb = memory_mb
        self._max_runs = max_runs
        self._recycle_mb = recycle_mb
        self._on_progress = on_progress
        self._on_steps = on_steps
        self._on_flow = on_flow
        self._commits: set[asyncio.Task[None]] = set()
        self._children: list[_Child] = []
        self._apart: set[_Child] = set()
        self._serving: dict[_Child, asyncio.Task[None]] = {}
        self._words: dict[UUID, Asked | None] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._free = asyncio.Condition()
        self._alone = asyncio.Semaphore(APART)
        self._closing = False

    async def start(self) -> bool:
        """Start the children; answers True when each can take work."""
        ready = [asyncio.get_running_loop().create_future() for _ in range(self._size)]
        self._tasks = [asyncio.create_task(self._keep(n, ready[n]), name=f"child {n}") for n in range(self._size)]
        await asyncio.gather(*ready)
        self._tasks.append(asyncio.create_task(self._watch(), name="children's memory"))
        return True

    async def stop(self) -> None:
        """End the children, work in hand included."""
        self._closing = True
        await end_all(self._tasks)
        serving = dict(self._serving)
        for child in serving:
            child.kill("the service stops")
        await asyncio.gather(*serving.values(), return_exceptions=True)

    @property
    def alive(self) -> int:
        return len(self._children)

    def tell(self, asked: Asked) -> None:
        """Pass on what is asked of a run, wherever it is by now."""
        for child in self._serving:
            if asked.run_id in child.runs:
                child.send(asked)
                return
        if asked.run_id in self._words:
            # it waits for a place, and is told with its order
            self._words[asked.run_id] = asked

    async def run(self, order: Order, *, exclusive: bool, within: float | None = None, alone: bool = False) -> Ended:
        """Have a child do the work, with `alone` one that is made for it; raises WorkerLost, or TimeoutError (Deaf where the
        handler had to be ended with its child) after the run was given up."""
        end = None if within is None else asyncio.get_running_loop().time() + within
        self._words[order.run_id] = None
        try:
            async with asyncio.timeout_at(end):
                if alone:
                    await self._alone.acquire()
                    child: _Child | None = None
                else:
                    child = await self._place(order, exclusive=exclusive)
            try:
                if child is None:
                    child = await self._child_apart(order, end)
                return await self._run_in(child, order, end)
            finally:
                if alone:
                    self._alone.release()
                    if child is not None:
                        child.kill("its run is over", "recycled")
        finally:
            self._words.pop(order.run_id, None)

    async def _place(self, order: Order, *, exclusive: bool) -> _Child:
        async with self._free:
            await self._free.wait_for(lambda: self._choose(exclusive) is not None)
            child = self._choose(exclusive)
            assert child is not None
            child.runs[order.run_id] = _Run(order, exclusive=exclusive)
            return child

    async def _child_apart(self, order: Order, end: float | None) -> _Child:
        async with asyncio.timeout_at(end):
            child = await self._spawn()
            self._apart.add(child)
            child.runs[order.run_id] = _Run(order, exclusive=True)
            try:
                await _either(child.ready, child.gone)
            except asyncio.CancelledError:
                child.kill("its run was given up")
                raise
        return child

    async def _run_in(self, child: _Child, order: Order, end: float | None) -> Ended:
        answer = child.runs[order.run_id].answer
        try:
            child.send(order)
            if (asked := self._words.get(order.run_id)) is not None:
                child.send(asked)
            async with asyncio.timeout_at(end):
                ended = await answer
            if ended.stuck:
                self._stuck(child, order)
            return ended
        except TimeoutError:
            if await self._give_up(child, order):
                raise
            raise Deaf from None
        except asyncio.CancelledError:
            await self._give_up(child, order)
            raise
        finally:
            child.runs.pop(order.run_id, None)
            child.done += 1
            self._look_at(child)
            async with self._free:
                self._free.notify_all()

    def _choose(self, exclusive: bool) -> _Child | None:
        free = [child for child in self._children if not exclusive or not child.exclusive]
        return min(free, key=lambda child: (child.exclusive, len(child.runs)), default=None)

    async def _give_up(self, child: _Child, order: Order) -> bool:
        """Ask the child to stop the run, and end a child that cannot hear; whether the run ended when it was told to."""
        run = child.runs[order.run_id]
        if child.gone.is_set():
            return True
        run.answer = asyncio.get_running_loop().create_future()
        child.send(Stop(run_id=order.run_id))
        try:
            ended = await asyncio.wait_for(run.answer, STOP_GRACE_SECONDS)
        except WorkerLost:
            return True
        except TimeoutError:
            self._blame(order, "deaf", child)
            child.kill(f"{named(order)} did not end when it was told to", "deaf", order.run_id)
            self._remove(child)
            return False
        if ended.stuck:
            self._stuck(child, order)
        return not ended.stuck

    def _stuck(self, child: _Child, order: Order) -> None:
        """A thread of the run goes on: its child ends as soon as its other runs are done, and they have not for ever."""
        self._blame(order, "stuck", child)
        why = f"a thread of {named(order)} did not end when it was told to"
        child.culprit = child.culprit or order.run_id
        child.retire.set()
        asyncio.get_running_loop().call_later(STUCK_SECONDS, child.kill, why, "stuck", child.culprit)

    def _blame(self, order: Order, fault: str, child: _Child) -> None:
        if isinstance(order, Job):
            HANDLER_FAULTS.labels(order.flow_type, order.phase_name, fault).inc()
        log.error(
            "handler harms its worker",
            fault=fault,
            what=named(order),
            run_id=str(order.run_id),
            pid=child.process.pid,
            why=child.why or None,
        )

    def _look_at(self, child: _Child) -> None:
        """Have a child recycled that has done its share or has grown; one that leaves ends with its last run."""
        if child.leaving:
            self._let_go(child)
        elif self._has_done_its_share(child):
            child.retire.set()

    def _has_done_its_share(self, child: _Child) -> bool:
        if self._max_runs and child.done >= self._max_runs:
            return True
        return bool(self._recycle_mb and child.done and not child.exclusive and child.resident_mb() > self._recycle_mb)

    def _let_go(self, child: _Child) -> None:
        child.leaving = True
        self._remove(child)
        if child.runs or child.gone.is_set():
            return
        if child.culprit is None:
            child.close()
        else:
            child.kill("a thread in it did not end", "stuck", child.culprit)

    def _remove(self, child: _Child) -> None:
        if child in self._children:
            self._children.remove(child)

    async def _keep(self, n: int, ready: asyncio.Future[None]) -> None:
        """Have a child alive in this place for as long as the pool is; one that retires stays until its successor is up."""
        pause = FIRST_PAUSE_SECONDS
        former: _Child | None = None
        while True:
            try:
                child = await self._spawn()
            except OSError as error:
                log.warning("worker could not be started", worker=n, error=str(error))
                await asyncio.sleep(pause)
                pause = min(pause * 2, LAST_PAUSE_SECONDS)
                continue
            await _either(child.ready, child.gone)
            if child.ready.is_set():
                pause = FIRST_PAUSE_SECONDS
                async with self._free:
                    self._children.append(child)
                    if former is not None:
                        self._let_go(former)
                        former = None
                    self._free.notify_all()
                if not ready.done():
                    ready.set_result(None)
                await _either(child.retire, child.gone)
                if not child.gone.is_set():
                    former = child
                    continue
            await asyncio.sleep(pause)
            pause = min(pause * 2, LAST_PAUSE_SECONDS)

    async def _spawn(self) -> _Child:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "consumers.child"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=1 << 20,
        )
        child = _Child(process)
        self._serving[child] = asyncio.create_task(self._serve(child), name=f"child {process.pid}")
        child.send(self._begin)
        return child

    async def _serve(self, child: _Child) -> None:
        """Hear a child to its end, and tell those who wait for its runs."""
        try:
            await self._hear(child)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        except msgspec.MsgspecError as error:
            child.kill(f"it said something unreadable: {error}", "unreadable")
        finally:
            self._remove(child)
            self._apart.discard(child)
            del self._serving[child]
            self._lose(child, await _ended(child))
            child.gone.set()

    def _lose(self, child: _Child, code: int) -> None:
        why = child.why or _ending(code)
        left = [run for run in child.runs.values() if not run.answer.done()]
        # one that was alone in it did it; where several were, each is a suspect, unless the culprit is known
        blamed = child.ready.is_set() and child.kind in {"died", "memory", "still", "unreadable"}
        for run in left:
            sole = blamed and len(child.runs) == 1
            if sole:
                child.why = why
                self._blame(run.order, child.kind, child)
            suspect = blamed and not sole
            run.answer.set_exception(WorkerLost(why, guilty=sole, suspect=suspect))
            # whoever waited for it may have been cancelled
            run.answer.exception()
        if self._closing:
            return
        WORKERS_ENDED.labels(child.kind).inc()
        say = log.info if child.kind == "recycled" else log.warning
        lost = [named(run.order) for run in left]
        say("worker ended", pid=child.process.pid, exit_code=code, why=why, runs_done=child.done, runs_lost=lost)

    async def _hear(self, child: _Child) -> None:
        stdout = child.process.stdout
        assert stdout is not None
        while True:
            size = int.from_bytes(await stdout.readexactly(4), "big")
            message = from_child.decode(await stdout.readexactly(size))
            child.heard = monotonic()
            match message:
                case Ready():
                    child.ready.set()
                case Alive():
                    pass
                case Progress():
                    if self._on_progress is not None:
                        await self._on_progress(message)
                case StepsDone():
                    # the child goes on with other runs while this is committed
                    task = asyncio.create_task(self._commit(child, message))
                    self._commits.add(task)
                    task.add_done_callback(self._commits.discard)
                case FlowAsked():
                    task = asyncio.create_task(self._ask(child, message))
                    self._commits.add(task)
                    task.add_done_callback(self._commits.discard)
                case Ended():
                    run = child.runs.get(message.run_id)
                    if run is not None and not run.answer.done():
                        run.answer.set_result(message)

    async def _commit(self, child: _Child, done: StepsDone) -> None:
        ours = self._on_steps is not None and await self._on_steps(done)
        child.send(Kept(run_id=done.run_id, number=done.number, ours=ours))

    async def _ask(self, child: _Child, asked: FlowAsked) -> None:
        if self._on_flow is not None:
            child.send(await self._on_flow(asked))

    async def _watch(self) -> None:
        before = monotonic()
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            now = monotonic()
            # a service that stood still itself has not heard what its children said meanwhile
            slept, before = now - before > 2 * WATCH_SECONDS, now
            for child in list(self._serving):
                self._judge(child, slept=slept)

    def _judge(self, child: _Child, *, slept: bool) -> None:
        used = child.resident_mb()
        if used > self._memory_mb:
            child.kill(f"it used {used:.0f} MB, more than its {self._memory_mb} MB", "memory")
        elif slept:
            child.heard = monotonic()
        elif len(child.runs) > 1 and not child.exclusive and monotonic() - child.heard > STILL_SECONDS:
            child.kill(f"its loop stood still for {STILL_SECONDS:g} s", "still")
        else:
            self._look_at(child)


async def _ended(child: _Child) -> int:
    """The exit code of a child that says nothing any more."""
    try:
        return await asyncio.wait_for(child.process.wait(), STOP_GRACE_SECONDS)
    except TimeoutError:
        child.kill("it closed its pipe and went on")
        return await child.process.wait()


async def _either(*events: asyncio.Event) -> None:
    """Wait for the first of these."""
    waiting = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()


def _ending(code: int) -> str:
    """How a process ended by itself."""
    if code >= 0:
        return f"it exited by itself with code {code}"
    try:
        return f"it was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"it was ended by signal {-code}"
