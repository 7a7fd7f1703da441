"""A service of six durable steps on Restate's SDK, served by hypercorn. Runs in the peers' environment."""

from __future__ import annotations

import restate
from driver import OUTPUT, STEPS

bench = restate.Service("bench")


async def step(number: int) -> str:
    return f"{number}{OUTPUT}"


@bench.handler()
async def flow(ctx: restate.Context, _: dict[str, str]) -> int:
    for number in range(STEPS):
        await ctx.run_typed(f"step_{number}", step, restate.RunOptions(), number)
    return STEPS


app = restate.app([bench])
