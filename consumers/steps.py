"""The durable steps of a phase: what has a result is not done again, in whichever attempt, by whichever worker."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, TypeVar

import msgspec

from consumers.context import HandBack, Permanent, RateLimited, Retryable, RunSuspended
from consumers.threads import Threads
from eventstore import tracing

T = TypeVar("T")

MAX_NAME = 200
ASK_STEPS = "ask:"
"""What the names of the steps begin with that people answer; a hook's own name may stand before it, and a slash."""
FIRST_PAUSE_SECONDS = 0.2

Keep = Callable[[dict[str, Any]], Awaitable[None]]
"""Commits results of steps under the run's token; raises CancelledError where the run is no longer ours."""


class Steps:
    """The steps of one run: those that earlier attempts have done, and those that this one does.

    Results that come together are committed together: while one commit is under way the next ones gather.
    """

    def __init__(
        self,
        done: Mapping[str, Any],
        keep: Keep | None,
        threads: Threads | None = None,
        gives_way: Callable[[], bool] = lambda: False,
    ) -> None:
        """`gives_way` says whether no further step is to begin."""
        self._done = dict(done)
        self._gives_way = gives_way
        self._threads = threads or Threads()
        self._keep = keep
        self._waiting: dict[str, Any] = {}
        self._told: list[asyncio.Future[None]] = []
        self._committing: asyncio.Task[None] | None = None
        self._places: dict[str, int] = {}

    async def step(self, name: str, work: Callable[..., Any], *arguments: Any) -> Any:
        """The result of the step, from an earlier attempt where there is one, else of `work(*arguments)`.

        Plain functions run in a thread. A result is JSON, and comes back as JSON would give it. Raises Permanent
        `step_invalid` for a name that is empty or too long, and for a result that is no JSON; HandBack where the run is to
        give way before it does more.
        """
        if not 0 < len(name) <= MAX_NAME:
            raise Permanent("step_invalid", f"the name of a step has 1 to {MAX_NAME} characters, not {len(name)}")
        if name in self._done:
            return self._done[name]
        if self._gives_way():
            raise HandBack
        with tracing.part(f"step {name}"):
            value = await self._threads.do(work, *arguments)
        try:
            value = msgspec.json.decode(msgspec.json.encode(value))
        except (TypeError, ValueError) as error:
            raise Permanent("step_invalid", f"the result of step {name!r} is no JSON: {error}") from error
        await self._commit(name, value)
        self._done[name] = value
        return value

    async def map(
        self, name: str, items: Iterable[T], work: Callable[[T], Any], *, at_most: int = 8, retries: int = 2
    ) -> list[Any]:
        """The results of `work` for every item, in order: a step each, `<name>[<place>]`, `at_most` of them at a time.

        A step that raises Retryable is tried again up to `retries` times. When one has failed for good no further ones begin,
        those under way come to their end and are kept, and its error is raised.
        """
        if at_most < 1 or retries < 0:
            raise Permanent("step_invalid", "at_most is at least 1, retries at least 0")
        places = asyncio.Semaphore(at_most)
        failed: list[Exception | RunSuspended] = []

        async def one(place: int, item: T) -> Any:
            async with places:
                if failed:
                    return None
                try:
                    return await self.step(f"{name}[{place}]", self._tried, work, item, retries)
                except (Exception, RunSuspended) as error:
                    failed.append(error)

        with tracing.part(f"map {name}"):
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(one(place, item)) for place, item in enumerate(items)]
        if failed:
            raise failed[0]
        return [task.result() for task in tasks]

    def next(self, sort: str, *, before: str = "") -> tuple[str, Any]:
        """The name of the run's next step of this sort that something outside brings to a result, and that result; None:
        there is none yet.

        Such steps are told apart by their place among those of their sort, so a handler comes to them in the same order in
        each attempt.
        """
        place = self._places[f"{before}{sort}"] = self._places.get(f"{before}{sort}", 0) + 1
        name = f"{before}{sort}:{place}"
        return name, self._done.get(name)

    async def _tried(self, work: Callable[[T], Any], item: T, retries: int) -> Any:
        pause = FIRST_PAUSE_SECONDS
        for left in range(retries, -1, -1):
            try:
                return await self._threads.do(work, item)
            except Retryable as error:
                if not left:
                    raise
                await asyncio.sleep(max(pause, error.after_seconds if isinstance(error, RateLimited) else 0))
                pause *= 2
        raise AssertionError("unreachable")

    async def _commit(self, name: str, value: Any) -> None:
        if self._keep is None:
            return
        told = asyncio.get_running_loop().create_future()
        self._waiting[name] = value
        self._told.append(told)
        if self._committing is None or self._committing.done():
            self._committing = asyncio.create_task(self._commit_all(self._keep))
        await told

    async def _commit_all(self, keep: Keep) -> None:
        while self._waiting:
            results, told = self._waiting, self._told
            self._waiting, self._told = {}, []
            try:
                await keep(results)
            except BaseException as error:
                for one in told:
                    if not one.done():
                        _fail(one, error)
                if isinstance(error, asyncio.CancelledError):
                    return
            else:
                for one in told:
                    if not one.done():
                        one.set_result(None)


def _fail(told: asyncio.Future[None], error: BaseException) -> None:
    if isinstance(error, asyncio.CancelledError):
        told.cancel()
    else:
        told.set_exception(error)
