"""Flow types with hooks; each hook and handler enters its name in a ledger outside."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

from consumers.context import Handler, NeedsInput, Outputs, Permanent, PhaseContext, Retryable, Validator
from consumers.phases import runs
from domain.flow_types import FlowTypeConfig, Hooks, PhaseConfig
from tests.consumers.flows import ONCE, QUICK, entered
from tests.waiting import until


def note(ctx: PhaseContext, what: str) -> None:
    """Enter it with the place it has."""
    entered(ctx.inputs["ledger"], f"{ctx.phase} {what}")


def times(ctx: PhaseContext, what: str) -> int:
    """How often it has been entered."""
    return Path(ctx.inputs["ledger"]).read_text().splitlines().count(f"{ctx.phase} {what}")


@runs("shared")
async def look(ctx: PhaseContext) -> Outputs:
    note(ctx, "look")
    return {"looked_at": ctx.inputs.get("file", "nothing"), "key": ctx.key("x"), "idempotency": ctx.idempotency_key}


@runs("shared")
async def before(ctx: PhaseContext) -> Outputs:
    note(ctx, ctx.hook)
    return {"before": sorted(ctx.outputs[ctx.phase])}


@runs("shared")
async def work(ctx: PhaseContext) -> Outputs:
    note(ctx, "work")
    return {"rows": 3, "saw": sorted(ctx.outputs.get(ctx.phase, {})), "own_key": ctx.key("x")}


@runs("shared")
async def unsure(ctx: PhaseContext) -> Outputs:
    """Works the second time, and asks for a colour before."""
    note(ctx, "unsure")
    if ctx.attempt == 1 and times(ctx, "unsure") == 1:
        raise Retryable("not yet")
    if "colour" not in ctx.inputs:
        raise NeedsInput("Which colour?", ["colour"])
    return {"colour": ctx.inputs["colour"]}


@runs("shared")
async def after(ctx: PhaseContext) -> Outputs:
    """Amends what the handlers brought; fails the first time."""
    note(ctx, ctx.hook)
    if times(ctx, ctx.hook) == 1:
        raise Retryable("not this time")
    return {"rows": ctx.outputs[ctx.phase]["rows"] * 2}


@runs("shared")
async def quiet(ctx: PhaseContext) -> Outputs:
    note(ctx, ctx.hook)
    return {}


@runs("shared")
async def sum_up(ctx: PhaseContext) -> Outputs:
    """Has a step of its own, and dies after it the first time."""
    where = await ctx.step("count", lambda: entered(ctx.inputs["ledger"], "counted"))
    note(ctx, ctx.hook)
    if times(ctx, ctx.hook) == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return {"summary": {phase: found["rows"] for phase, found in ctx.outputs.items()}, "step": where}


@runs("shared")
async def refuse(ctx: PhaseContext) -> Outputs:
    note(ctx, "refuse")
    raise Permanent("no_use", "trying again is no use")


@runs("shared")
async def once_refused(ctx: PhaseContext) -> Outputs:
    note(ctx, "once_refused")
    if times(ctx, "once_refused") == 1:
        raise Permanent("no_use", "trying again is no use")
    return {"rows": 1}


@runs("shared")
async def advise(ctx: PhaseContext) -> Outputs:
    note(ctx, ctx.hook)
    so_far = {phase: dict(found) for phase, found in ctx.outputs.items() if found}
    return {"message": f"look at {ctx.error['code']}", "so_far": so_far}


@runs("shared")
async def never(ctx: PhaseContext) -> Outputs:
    note(ctx, ctx.hook)
    raise ValueError("a hook with a fault")


@runs("shared")
async def asking(_: PhaseContext) -> Outputs:
    raise NeedsInput("Why?", ["reason"])


@runs("shared")
async def slow_advice(ctx: PhaseContext) -> Outputs:
    note(ctx, ctx.hook)
    await until(lambda: asyncio.to_thread(Path(ctx.inputs["go"]).exists), 60)
    return {"message": "too late"}


@runs("shared")
async def no_object(_: PhaseContext) -> Any:
    return ["no", "object"]


HANDLERS: dict[str, Handler] = {
    handler.__name__: handler
    for handler in (
        *(look, before, work, unsure, after, quiet, sum_up, refuse, once_refused, advise, never, asking, slow_advice),
        no_object,
    )
}
VALIDATORS: dict[str, Validator] = {}


def phase(name: str, handler: str, **more: Any) -> PhaseConfig:
    return PhaseConfig(name=name, display_name=name.title(), description=name, handlers=(handler,), **more)


def flow_type(name: str, *phases: PhaseConfig, **hooks: tuple[str, ...]) -> FlowTypeConfig:
    return FlowTypeConfig(
        name=name, display_name=name, description=name, phases=phases, retry_config=QUICK, hooks=Hooks(**hooks)
    )


FLOW_TYPES = (
    flow_type(
        "around",
        phase("first", "work", before=("before",), after=("after",), output_schema={"required": ["rows"]}),
        phase("second", "work"),
        start=("look",),
        before_phase=("quiet",),
        end=("sum_up",),
    ),
    flow_type("asks", phase("first", "unsure"), start=("look",), before_phase=("before",)),
    flow_type(
        "passed_over",
        phase("first", "refuse", can_skip=True, on_failure={"permanent": "continue"}, retry_config=ONCE),
        phase("second", "work"),
        start=("look",),
    ),
    flow_type("advised", phase("first", "work"), phase("second", "refuse"), error=("advise",)),
    flow_type("ill_advised", phase("first", "refuse"), error=("never",)),
    flow_type("badly_ended", phase("first", "work"), end=("never",)),
    flow_type("asking_advice", phase("first", "refuse"), error=("asking",)),
    flow_type("slowly_advised", phase("first", "once_refused"), error=("slow_advice",)),
    flow_type("wrong_kind", phase("first", "work"), after_phase=("no_object",)),
)
