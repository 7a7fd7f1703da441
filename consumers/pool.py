"""The child processes that do phase work, so that a handler that blocks, leaks or dies never holds up the service.

A child that grows beyond its memory limit, or does not give a run up when told to, is ended; its other runs fail as
`worker_lost`, may be tried again, and another child takes its place.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import structlog

from consumers.frames import Begin, Describe, Ended, Job, Kept, Progress, Ready, StepsDone, Stop, frame, from_child

log = structlog.get_logger()

STOP_GRACE_SECONDS = 2.0
WATCH_SECONDS = 1.0
PAGE_MB = os.sysconf("SC_PAGE_SIZE") / (1 << 20)

OnProgress = Callable[[Progress], Awaitable[None]]
OnSteps = Callable[[StepsDone], Awaitable[bool]]
"""Commits the results of steps; answers whether the run is still the child's."""


class WorkerLost(Exception):
    """The child process ended while the run was in its hands."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class _Child:
    """One child process as the service sees it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.runs: dict[UUID, asyncio.Future[Ended]] = {}
        self.exclusive: UUID | None = None
        self.why = "it ended by itself"

    def send(self, message: Any) -> None:
        if self.process.stdin is not None:
            self.process.stdin.write(frame(message))

    def kill(self, why: str) -> None:
        self.why = why
        with suppress(ProcessLookupError):
            self.process.kill()

    def resident_mb(self) -> float:
        try:
            return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * PAGE_MB
        except (OSError, IndexError):
            return 0.0


class WorkerPool:
    """`size` children; each does one exclusive run at a time, and shared ones beside it."""

    def __init__(
        self,
        size: int,
        begin: Begin,
        *,
        memory_mb: int,
        on_progress: OnProgress | None = None,
        on_steps: OnSteps | None = None,
    ) -> None:
        self._size = size
        self._begin = begin
        self._memory_mb = memory_mb
        self._on_progress = on_progress
        self._on_steps = on_steps
        self._commits: set[asyncio.Task[None]] = set()
        self._children: list[_Child] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._free = asyncio.Condition()
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
        children = list(self._children)
        for child in children:
            child.kill("the service stops")
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for child in children:
            await child.process.wait()

    @property
    def alive(self) -> int:
        return len(self._children)

    async def run(self, order: Job | Describe, *, exclusive: bool, within: float | None = None) -> Ended:
        """Have a child do the work; raises WorkerLost, or TimeoutError after the child was made to give it up."""
        async with self._free:
            await self._free.wait_for(lambda: self._choose(exclusive) is not None)
            child = self._choose(exclusive)
            assert child is not None
            answer: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()
            child.runs[order.run_id] = answer
            if exclusive:
                child.exclusive = order.run_id
        try:
            child.send(order)
            async with asyncio.timeout(within):
                return await answer
        except (TimeoutError, asyncio.CancelledError):
            await self._give_up(child, order.run_id)
            raise
        finally:
            child.runs.pop(order.run_id, None)
            if child.exclusive == order.run_id:
                child.exclusive = None
            async with self._free:
                self._free.notify_all()

    def _choose(self, exclusive: bool) -> _Child | None:
        free = [child for child in self._children if not exclusive or child.exclusive is None]
        return min(free, key=lambda child: (child.exclusive is not None, len(child.runs)), default=None)

    async def _give_up(self, child: _Child, run_id: UUID) -> None:
        """Ask the child to stop the run; a child that cannot hear is ended."""
        if child not in self._children:
            return
        gone: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()
        child.runs[run_id] = gone
        child.send(Stop(run_id=run_id))
        try:
            await asyncio.wait_for(gone, STOP_GRACE_SECONDS)
        except WorkerLost:
            return
        except TimeoutError:
            child.kill("a run did not end when it was told to")
            if child in self._children:
                self._children.remove(child)

    async def _keep(self, n: int, ready: asyncio.Future[None]) -> None:
        """Have a child alive in this place for as long as the pool is."""
        pause = 0.1
        while not self._closing:
            try:
                process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", "consumers.child"),
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    limit=1 << 20,
                )
            except OSError as error:
                log.warning("worker could not be started", worker=n, error=str(error))
                await asyncio.sleep(pause)
                pause = min(pause * 2, 5.0)
                continue
            child = _Child(process)
            try:
                child.send(self._begin)
                await self._hear(child, ready)
                pause = 0.1
            except (ConnectionError, asyncio.IncompleteReadError):
                pass
            except msgspec.MsgspecError as error:
                child.why = f"it said something unreadable: {error}"
            finally:
                if child in self._children:
                    self._children.remove(child)
                child.kill(child.why)
                for answer in child.runs.values():
                    if not answer.done():
                        answer.set_exception(WorkerLost(child.why))
                        # whoever waited for it may have been cancelled
                        answer.exception()
                if not self._closing:
                    code = await process.wait()
                    log.warning("worker ended", worker=n, pid=process.pid, exit_code=code, why=child.why)
            await asyncio.sleep(pause)
            pause = min(pause * 2, 5.0)

    async def _hear(self, child: _Child, ready: asyncio.Future[None]) -> None:
        stdout = child.process.stdout
        assert stdout is not None
        while True:
            size = int.from_bytes(await stdout.readexactly(4), "big")
            message = from_child.decode(await stdout.readexactly(size))
            match message:
                case Ready():
                    async with self._free:
                        self._children.append(child)
                        self._free.notify_all()
                    if not ready.done():
                        ready.set_result(None)
                case Progress():
                    if self._on_progress is not None:
                        await self._on_progress(message)
                case StepsDone():
                    # the child goes on with other runs while this is committed
                    task = asyncio.create_task(self._commit(child, message))
                    self._commits.add(task)
                    task.add_done_callback(self._commits.discard)
                case Ended():
                    answer = child.runs.get(message.run_id)
                    if answer is not None and not answer.done():
                        answer.set_result(message)

    async def _commit(self, child: _Child, done: StepsDone) -> None:
        ours = self._on_steps is not None and await self._on_steps(done)
        child.send(Kept(run_id=done.run_id, number=done.number, ours=ours))

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            for child in list(self._children):
                used = child.resident_mb()
                if used > self._memory_mb:
                    child.kill(f"it used {used:.0f} MB, more than its {self._memory_mb} MB")
