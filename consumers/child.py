"""A child process that does phase work: takes jobs on standard input, answers on standard output, logs on standard error."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any

import structlog

from consumers.family import FlowCommand
from consumers.frames import (
    Alive,
    Asked,
    Begin,
    Describe,
    Ended,
    FlowAnswered,
    FlowAsked,
    FromChild,
    Job,
    Kept,
    Progress,
    Ready,
    StepsDone,
    Stop,
    frame,
    to_child,
)
from consumers.limits import forget_peak, memory_limit, peak_mb
from consumers.phases import PhaseWork
from consumers.signals import Signals
from consumers.work import RunStuck, Workshop, log_fault, presentable, signals_of
from domain.commands import Tenant
from estate.parent import end_with_parent
from eventstore import tracing
from eventstore.artifacts import ArtifactStore
from eventstore.breakers import Breakers
from eventstore.database import pool
from eventstore.definitions import modules
from eventstore.imports import ImportStore
from eventstore.keys import Keyring
from eventstore.past import Past
from eventstore.scratch import scratch
from eventstore.store import Store

ALIVE_SECONDS = 2.0
PROGRESS_SECONDS = 0.5
STOPPED = {"class": "retryable", "code": "stopped", "message": "the run was stopped", "retryable": True}


class _Words:
    """What a run says of its progress: the first word at once, then the newest one at most twice a second."""

    def __init__(self, say: Callable[[Progress], Awaitable[None]]) -> None:
        self._say = say
        self._newest: Progress | None = None
        self._telling: asyncio.Task[None] | None = None

    def put(self, word: Progress) -> None:
        self._newest = word
        if self._telling is None:
            self._telling = asyncio.create_task(self._tell())

    def close(self) -> None:
        if self._telling is not None:
            self._telling.cancel()

    async def _tell(self) -> None:
        while self._newest is not None:
            word, self._newest = self._newest, None
            await self._say(word)
            await asyncio.sleep(PROGRESS_SECONDS)
        self._telling = None


class Child:
    """One child: a workshop, and the runs it has in hand."""

    def __init__(self, answers: asyncio.StreamWriter) -> None:
        self._answers = answers
        self._tasks: dict[Any, asyncio.Task[None]] = {}
        self._signals: dict[Any, Signals] = {}
        self._committing: dict[tuple[Any, int], asyncio.Future[bool]] = {}
        self._asking: dict[tuple[Any, int], asyncio.Future[FlowAnswered]] = {}
        self._imports: ImportStore | None = None
        self._workshop: Workshop | None = None
        self._memory_mb: int | None = None

    async def serve(self, orders: asyncio.StreamReader) -> None:
        """Work until the service closes the pipe."""
        begin = await _read(orders)
        assert isinstance(begin, Begin)
        connections = pool(begin.database_url, begin.shard, size=4, name="worker")
        await connections.open(wait=True, timeout=30)
        artifacts = ArtifactStore(connections)
        self._imports = ImportStore(connections, artifacts)
        self._workshop = Workshop(
            PhaseWork(modules(begin.flow_type_modules)),
            artifacts,
            self._imports,
            Keyring(begin.master_key, connections),
            Past(connections, Store(connections, begin.shard)),
            memory_mb=begin.memory_mb,
            breakers=Breakers(connections),
            crew=begin.crew,
            peak_mb=peak_mb,
        )
        self._memory_mb = begin.memory_mb
        await self._say(Ready(pid=os.getpid()))
        alive = asyncio.create_task(self._alive())
        while (order := await _read(orders)) is not None:
            match order:
                case Job():
                    self._begin(order.run_id, self._do(order))
                case Describe():
                    self._begin(order.run_id, self._describe(order))
                case Kept():
                    told = self._committing.pop((order.run_id, order.number), None)
                    if told is not None and not told.done():
                        told.set_result(order.ours)
                case FlowAnswered():
                    answered = self._asking.pop((order.run_id, order.number), None)
                    if answered is not None and not answered.done():
                        answered.set_result(order)
                case Asked():
                    if order.run_id in self._signals:
                        self._signals[order.run_id].hear(order)
                case Stop():
                    if order.run_id in self._signals:
                        self._signals[order.run_id].hear(Asked(run_id=order.run_id, cancelled=True))
                    task = self._tasks.get(order.run_id)
                    if task is not None:
                        task.cancel()
                case Begin():
                    raise RuntimeError("a child begins once")
        alive.cancel()
        await connections.close()

    async def _alive(self) -> None:
        """Say so for as long as the loop goes round."""
        while True:
            await self._say(Alive())
            await asyncio.sleep(ALIVE_SECONDS)

    def _begin(self, run_id: Any, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks[run_id] = task
        task.add_done_callback(lambda _: self._tasks.pop(run_id, None))

    async def _do(self, job: Job) -> None:
        if not self._signals:
            # no run beside it: the peak is that of this one
            forget_peak()
        words = _Words(self._say)
        signals = self._signals[job.run_id] = signals_of(job)

        async def progress(done: int, total: int, message: str) -> None:
            words.put(Progress(run_id=job.run_id, done=done, total=total, message=message))

        numbers = count(1)

        async def keep(results: dict[str, Any]) -> None:
            number = next(numbers)
            told = self._committing[job.run_id, number] = asyncio.get_running_loop().create_future()
            await self._say(StepsDone(run_id=job.run_id, number=number, results=results))
            if not await told:
                raise asyncio.CancelledError

        async def tell(command: FlowCommand, body: dict[str, Any]) -> dict[str, Any] | None:
            number = next(numbers)
            told = self._asking[job.run_id, number] = asyncio.get_running_loop().create_future()
            await self._say(FlowAsked(run_id=job.run_id, number=number, command=command, body=body))
            answer: FlowAnswered = await told
            if not answer.ours:
                raise asyncio.CancelledError
            return answer.error

        assert self._workshop is not None
        try:
            ended = await self._workshop.run(job, progress, keep, signals, tell)
        except RunStuck:
            ended = Ended(run_id=job.run_id, how="failed", error=STOPPED, stuck=True)
        except asyncio.CancelledError:
            # told to stop, or stopped by its own doing: either way the run has an end
            ended = Ended(run_id=job.run_id, how="failed", error=STOPPED)
        finally:
            words.close()
            del self._signals[job.run_id]
        await self._say(ended)

    async def _describe(self, order: Describe) -> None:
        from estate.errors import EstateError
        from estate.inspect import inspect
        from estate.options import ImportOptions

        assert self._imports is not None
        tenant = Tenant(order.client_account_id, order.engagement_id, order.user_id)
        try:
            with scratch("mfo-import-") as folder:
                found, path = await self._imports.fetch(tenant, str(order.import_id), folder)
                with memory_limit(self._memory_mb, found.filename):
                    summary = inspect(path, found.filename, ImportOptions.of(order.import_options))
            ended = Ended(run_id=order.run_id, how="completed", outputs=summary)
        except asyncio.CancelledError:
            ended = Ended(run_id=order.run_id, how="failed", error=STOPPED)
        except EstateError as error:
            ended = Ended(run_id=order.run_id, how="failed", error={"code": error.code, "detail": error.detail})
        except Exception as error:
            log_fault(error, "upload could not be described", import_id=str(order.import_id))
            detail = f"the reader failed: {type(error).__name__}"
            ended = Ended(run_id=order.run_id, how="failed", error={"code": "reader_failed", "detail": detail})
        await self._say(presentable(ended))

    async def _say(self, message: FromChild) -> None:
        self._answers.write(frame(message))
        await self._answers.drain()


async def _read(orders: asyncio.StreamReader) -> Any:
    try:
        size = int.from_bytes(await orders.readexactly(4), "big")
        return to_child.decode(await orders.readexactly(size))
    except asyncio.IncompleteReadError:
        return None


async def main() -> None:
    """Connect the pipes and serve. Standard output is kept for answers: a stray print goes to standard error."""
    # one that is busy reading does not hear that nobody waits for it any more
    end_with_parent()
    for sign in (signal.SIGINT, signal.SIGTERM):
        # meant for the service, which lets its children come to an end; not ignored, or their own children would inherit that
        signal.signal(sign, lambda *_: None)
    if (endpoint := tracing.endpoint_in(os.environ)) is not None:
        tracing.set_up("worker", endpoint)
    loop = asyncio.get_running_loop()
    answers_fd = os.dup(1)
    os.dup2(2, 1)
    orders = asyncio.StreamReader(limit=1 << 20)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    transport, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, os.fdopen(answers_fd, "wb"))
    await Child(asyncio.StreamWriter(transport, protocol, None, loop)).serve(orders)


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    asyncio.run(main())
