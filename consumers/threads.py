"""Plain functions beside async ones: each call in a thread of its own, from which the loop can be asked.

Threads are daemons: one that never ends does not hold up the end of its process. Nothing can end a thread from outside,
so a run says whether any of its own were left behind.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import inspect
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from consumers.signals import RunCancelled

T = TypeVar("T")


class Exited(Exception):
    """A handler called `sys.exit`, or raised KeyboardInterrupt; neither ends a worker."""


class Threads:
    """The threads of one run."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._alive: set[asyncio.Future[Any]] = set()
        self._calls: set[concurrent.futures.Future[Any]] = set()
        self._closed = False

    async def do(self, work: Callable[..., Any], *arguments: Any) -> Any:
        """What `work(*arguments)` comes to: awaited where it is async, else done in a thread."""
        if inspect.iscoroutinefunction(work):
            return await work(*arguments)
        value = await self._in_thread(work, *arguments)
        return await value if isinstance(value, Awaitable) else value

    def wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """From a thread: have the loop do this, and wait for it. Raises what it raises, and RunCancelled once the run has
        no use any more."""
        loop = self._loop
        if loop is None or _in_a_loop():
            coroutine.close()
            raise RuntimeError("ctx.sync is for plain functions; in an async one await ctx.step, ctx.heartbeat, ...")
        if self._closed:
            coroutine.close()
            raise RunCancelled
        call = asyncio.run_coroutine_threadsafe(coroutine, loop)
        self._calls.add(call)
        try:
            return call.result()
        except concurrent.futures.CancelledError:
            raise RunCancelled from None
        finally:
            self._calls.discard(call)

    def close(self) -> None:
        """Let no thread ask the loop for anything any more; those that wait get RunCancelled."""
        self._closed = True
        for call in list(self._calls):
            call.cancel()

    async def ended(self, within: float) -> bool:
        """Whether all threads have ended, within this many seconds."""
        if self._alive:
            await asyncio.wait(set(self._alive), timeout=within)
        return not self._alive

    async def _in_thread(self, work: Callable[..., Any], *arguments: Any) -> Any:
        loop = self._loop = asyncio.get_running_loop()
        done: asyncio.Future[Any] = loop.create_future()
        context = contextvars.copy_context()

        def run() -> None:
            try:
                told = (done.set_result, context.run(work, *arguments))
            except StopIteration as error:
                # which no future takes
                told = (done.set_exception, RuntimeError(f"StopIteration: {error}"))
            except (SystemExit, KeyboardInterrupt) as error:
                told = (done.set_exception, exited(error))
            except BaseException as error:
                told = (done.set_exception, error)
            try:
                loop.call_soon_threadsafe(_tell, done, *told)
            except RuntimeError:
                # the loop has ended before the thread
                return

        self._alive.add(done)
        done.add_done_callback(self._alive.discard)
        threading.Thread(target=run, name=getattr(work, "__name__", "work"), daemon=True).start()
        # a thread that nobody waits for is still there
        return await asyncio.shield(done)


def exited(error: BaseException) -> Exited:
    """What `sys.exit` in a handler is told as."""
    return Exited(f"the handler ended itself: {type(error).__name__}: {error}")


def _tell(done: asyncio.Future[Any], how: Callable[[Any], None], what: Any) -> None:
    if not done.done():
        how(what)
    if not done.cancelled():
        # whoever waited may have been cancelled
        done.exception()


def _in_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
