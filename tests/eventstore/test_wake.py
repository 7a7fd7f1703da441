"""Waiting to be woken."""

from __future__ import annotations

import asyncio

import pytest

from eventstore.wake import woken


async def test_it_tells_whether_it_was_woken() -> None:
    event = asyncio.Event()
    assert not await woken(event, 0.001)
    asyncio.get_running_loop().call_soon(event.set)
    assert await woken(event, 30)


@pytest.mark.parametrize("turns", range(4))
async def test_who_is_cancelled_while_he_is_woken_ends(turns: int) -> None:
    event = asyncio.Event()
    waiting = asyncio.create_task(woken(event, 30))
    await asyncio.sleep(0)
    event.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    if waiting.cancel():
        with pytest.raises(asyncio.CancelledError):
            await waiting
    else:
        assert waiting.result()
