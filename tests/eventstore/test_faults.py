"""Loops of services live through faults of others, and end when they are told to."""

from __future__ import annotations

import asyncio

import pytest

from eventstore.faults import lived_through


async def test_a_loop_that_is_told_to_end_as_it_meets_a_fault_ends() -> None:
    rounds = 0
    connected: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def serve() -> None:
        nonlocal rounds
        while True:
            rounds += 1
            with lived_through("connecting"):
                await asyncio.wait_for(connected if rounds == 1 else asyncio.sleep(30), 60)

    task = asyncio.create_task(serve())
    await asyncio.sleep(0)
    connected.set_exception(ConnectionRefusedError())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 10)
    assert rounds == 1


async def test_a_loop_that_meets_a_fault_goes_on() -> None:
    rounds = 0
    while rounds < 3:
        rounds += 1
        with lived_through("connecting"):
            raise ConnectionRefusedError
    assert rounds == 3
