"""Flow types whose handlers call another system: a folder outside says how it answers, and keeps who called."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

from consumers.context import Handler, Limits, Outputs, Permanent, PhaseContext, RateLimited, Retryable, Validator
from consumers.phases import runs
from domain.flow_types import FlowTypeConfig, PhaseConfig
from tests.consumers.flows import ONCE, QUICK, entered
from tests.waiting import until

# long times: the tests move the clock
LIMITS = Limits(failures=2, window_seconds=600.0, first_seconds=100.0, most_seconds=400.0)


def call(folder: str, who: str) -> str:
    """One call of the other system; answers as the file `answers` says."""
    entered(f"{folder}/calls", who)
    match Path(folder, "answers").read_text():
        case "down":
            raise ConnectionRefusedError("nobody answers")
        case "busy":
            raise RateLimited("not so fast", after_seconds=50.0)
        case "no":
            raise Permanent("unknown_host", "there is no such machine")
        case "slow":
            raise Retryable("not yet")
        case "killing":
            os.kill(os.getpid(), signal.SIGKILL)
    return "up"


def who(ctx: PhaseContext) -> str:
    return f"{ctx.flow_id}:{ctx.attempt}"


@runs("exclusive")
async def ask(ctx: PhaseContext) -> Outputs:
    async with ctx.target(ctx.inputs["target"], limits=LIMITS, own=ctx.inputs.get("own", False)):
        return {"answer": call(ctx.inputs["folder"], who(ctx))}


@runs("exclusive")
async def ask_in_threads(ctx: PhaseContext) -> Outputs:
    """Plain functions call it, several at once, each a step."""

    def one(number: int) -> str:
        with ctx.target(ctx.inputs["target"], limits=LIMITS):
            return call(ctx.inputs["folder"], f"{who(ctx)}:{number}")

    return {"answers": await ctx.map("ask", range(6), one, at_most=2, retries=0)}


@runs("exclusive")
async def hold(ctx: PhaseContext) -> Outputs:
    """Stays inside until the file `go` is there."""
    folder = Path(ctx.inputs["folder"])
    async with ctx.target(ctx.inputs["target"], limits=LIMITS):
        entered(f"{folder}/calls", who(ctx))
        await until(lambda: asyncio.to_thread((folder / "go").exists), 60)
    return {"held": True}


@runs("shared")
async def wrongly(ctx: PhaseContext) -> Outputs:
    with ctx.target(ctx.inputs["target"]):
        return {}


HANDLERS: dict[str, Handler] = {handler.__name__: handler for handler in (ask, ask_in_threads, hold, wrongly)}
VALIDATORS: dict[str, Validator] = {}


def flow_type(name: str, **more: object) -> FlowTypeConfig:
    phase = PhaseConfig(name=name, display_name=name.title(), description=name, handlers=(name,), **more)  # type: ignore[arg-type]
    return FlowTypeConfig(name=name, display_name=name, description=name, phases=(phase,), retry_config=QUICK)


FLOW_TYPES = (
    flow_type("ask", retry_config=ONCE),
    flow_type("ask_in_threads", retry_config=ONCE),
    flow_type("hold"),
    flow_type("wrongly", retry_config=ONCE),
)
