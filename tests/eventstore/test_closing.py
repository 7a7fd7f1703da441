"""What is being closed is closed to its end, whoever is cancelled meanwhile."""

from __future__ import annotations

import asyncio

import pytest

from eventstore import tasks
from eventstore.tasks import close


async def test_who_is_cancelled_while_closing_is_cancelled_when_it_is_closed() -> None:
    begun, go, closed = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def stop() -> None:
        begun.set()
        await go.wait()
        closed.set()

    closing = asyncio.create_task(close(stop))
    await begun.wait()
    for _ in range(3):
        closing.cancel()
        await asyncio.sleep(0)
    assert not closing.done()
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert closed.is_set()


async def test_what_does_not_close_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "CLOSE_SECONDS", 0.01)
    never = asyncio.Event()
    await close(never.wait)


async def test_a_failure_to_close_is_of_no_interest() -> None:
    async def stop() -> None:
        raise OSError("gone")

    await close(stop)
