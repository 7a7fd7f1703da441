"""Flow types whose phases make other flows, and wait for them."""

from __future__ import annotations

import os
import signal

from consumers.context import FlowsFailed, Handler, Outputs, Permanent, PhaseContext, TimedOut, Validator
from consumers.phases import runs
from tests.consumers.flows import entered, flow_type, phase


@runs("shared")
async def gather(ctx: PhaseContext) -> Outputs:
    """Makes a child for each number, and adds up what they bring; the first attempt dies between."""
    ids = [
        await ctx.start_flow("double", f"double {number}", {"number": number}, tags=["made"])
        for number in ctx.inputs["numbers"]
    ]
    if ctx.attempt == 1 and ctx.inputs.get("die"):
        os.kill(os.getpid(), signal.SIGKILL)
    found = await ctx.wait_flows(ids)
    return {"children": ids, "sum": sum(one["outputs"]["double"]["number"] for one in found.values())}


@runs("shared")
async def double(ctx: PhaseContext) -> Outputs:
    number = ctx.inputs["number"]
    if number < 0:
        raise Permanent("negative", f"{number} is below 0")
    return {"number": number * 2, "credentials": {"password": "p" * number}, "rows": ["x" * 100] * (200 * number)}


@runs("inline")
async def nest(ctx: PhaseContext) -> Outputs:
    """One flow in the next, as deep as the input says; the innermost fails."""
    depth = ctx.inputs["depth"]
    kind = "nest" if depth else "double"
    child = await ctx.start_flow(kind, f"depth {depth}", {"depth": depth - 1, "number": -1}, step="deeper")
    await ctx.wait_flows([child])
    return {}


@runs("exclusive")
def picky(ctx: PhaseContext) -> Outputs:
    """A plain function, which waits as its inputs say."""
    ids = [
        ctx.sync.start_flow("double", "well", {"number": 1}),
        ctx.sync.start_flow("double", "ill", {"number": -1}),
        ctx.sync.start_flow("word", "slow"),
    ]
    given = ctx.inputs["wait"]
    try:
        found = ctx.sync.wait_flows(ids[: given.pop("first", 3)], **given)
    except FlowsFailed as failed:
        entered(ctx.inputs["ledger"], failed.detail)
        raise
    except TimedOut as late:
        return {"late": late.detail}
    return {"statuses": [one["status"] for one in found.values()]}


@runs("inline")
async def word(ctx: PhaseContext) -> Outputs:
    return {"said": (await ctx.wait_for("word"))["payload"]}


@runs("inline")
async def wrong(ctx: PhaseContext) -> Outputs:
    """Tries everything that is refused; the codes of the refusals."""
    codes = []
    for attempt in (
        lambda: ctx.start_flow("no_such_type", "x"),
        lambda: ctx.start_flow("double", "", {}),
        lambda: ctx.start_flow("double", "x", depends_on=["77777777-7777-4777-8777-777777777777"]),
        lambda: ctx.start_flow("double", "y", depends_on=[str(ctx.flow_id)]),
        lambda: ctx.wait_flows([ctx.inputs["stranger"]]),
        lambda: ctx.wait_flows(["me"]),
        lambda: ctx.wait_flows([]),
        lambda: ctx.wait_flows([ctx.inputs["stranger"]], mode="most"),  # type: ignore[arg-type]
    ):
        try:
            await attempt()
        except Permanent as refusal:
            codes.append(refusal.code)
    return {"codes": codes}


HANDLERS: dict[str, Handler] = {handler.__name__: handler for handler in (gather, double, nest, picky, word, wrong)}
VALIDATORS: dict[str, Validator] = {}
FLOW_TYPES = tuple(flow_type(name, phase(name)) for name in HANDLERS)
