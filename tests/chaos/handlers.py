"""What the handlers of the flows under chaos do: work that enters its effects in the ledger, and fails as it was told."""

from __future__ import annotations

import asyncio
import os
import signal
import time

from consumers.context import Invalid, NeedsInput, Outputs, Permanent, PhaseContext, RateLimited, Retryable
from consumers.phases import runs
from tests.chaos.ledger import visit

PAINT = {"type": "object", "properties": {"colour": {"enum": ["red", "green"]}}, "required": ["colour"]}


@runs("inline")
async def tick(context: PhaseContext) -> Outputs:
    """Done at once, in the service's own loop."""
    with visit(context) as stay:
        return {"key": stay.effect(synced=False)}


@runs("shared")
async def work(context: PhaseContext) -> Outputs:
    """An effect in the middle of waiting for somebody else."""
    with visit(context) as stay:
        await asyncio.sleep(_seconds(context))
        key = stay.effect()
        await asyncio.sleep(_seconds(context))
        return {"key": key}


@runs("exclusive")
async def labour(context: PhaseContext) -> Outputs:
    """An effect in the middle of work that hears nothing while it lasts."""
    with visit(context) as stay:
        time.sleep(_seconds(context))  # noqa: ASYNC251 - a handler that cannot hear
        key = stay.effect()
        time.sleep(_seconds(context))  # noqa: ASYNC251
        return {"key": key}


@runs("shared")
async def flaky(context: PhaseContext) -> Outputs:
    """Fails with an effect each time, until it has been tried often enough."""
    with visit(context) as stay:
        key = stay.effect()
        if context.attempt <= context.inputs["failures"]:
            raise Retryable(f"attempt {context.attempt} did not work")
        return {"key": key}


@runs("shared")
async def throttled(context: PhaseContext) -> Outputs:
    """The other side wants to be left alone for a while."""
    return _left_alone(context, "not so fast", 1.5)


@runs("shared")
async def patient(context: PhaseContext) -> Outputs:
    """The other side wants to be left alone for longer than its owner waits."""
    return _left_alone(context, "not for a minute", 60)


@runs("shared")
async def counted(context: PhaseContext) -> Outputs:
    """Says how often it was to be done again from the beginning."""
    with visit(context) as stay:
        return {"key": stay.effect(), "anew": context.anew}


@runs("shared")
async def tardy(context: PhaseContext) -> Outputs:
    """Does not end in time at first."""
    with visit(context) as stay:
        key = stay.effect()
        if context.attempt == 1:
            await asyncio.sleep(600)
        return {"key": key}


@runs("shared")
async def hopeless(context: PhaseContext) -> Outputs:
    """Trying again would cure nothing."""
    with visit(context) as stay:
        stay.effect()
        raise Permanent("no_use", "trying again is no use")


@runs("shared")
async def wearing(context: PhaseContext) -> Outputs:
    """Fails as often as it may."""
    with visit(context) as stay:
        stay.effect()
        raise Retryable("never works")


@runs("shared")
async def repaired(context: PhaseContext) -> Outputs:
    """Fails for good until somebody has done something about it."""
    with visit(context) as stay:
        key = stay.effect()
        if not context.inputs.get("repaired"):
            raise Permanent("broken", "somebody must repair it")
        return {"key": key}


@runs("shared")
async def ask(context: PhaseContext) -> Outputs:
    """Needs to be told a colour."""
    with visit(context) as stay:
        if "colour" not in context.inputs:
            raise NeedsInput("Which colour?", ["colour"], {"colours": ["red", "green"]})
        return {"colour": context.inputs["colour"], "key": stay.effect()}


@runs("shared")
async def picky(context: PhaseContext) -> Outputs:
    """Objects to a number that is not above 0."""
    with visit(context) as stay:
        if int(context.inputs.get("number", 0)) <= 0:
            raise Permanent("bad_number", "the number is wrong", [Invalid("number", "give one above 0")])
        return {"key": stay.effect()}


@runs("exclusive")
async def steps(context: PhaseContext) -> Outputs:
    """Three steps; at first the worker dies after the second."""
    with visit(context) as stay:

        def step(name: str) -> str:
            time.sleep(_seconds(context) / 4)
            return stay.effect(name)

        keys = [await context.step(name, step, name) for name in ("first", "second")]
        if context.attempt == 1 and context.inputs.get("dies"):
            os.kill(os.getpid(), signal.SIGKILL)
        keys.append(await context.step("third", step, "third"))
        return {"keys": keys}


@runs("shared")
async def spread(context: PhaseContext) -> Outputs:
    """A step for each item, one of which cannot be done at first."""
    with visit(context) as stay:

        async def one(item: int) -> str:
            if item == 3 and context.attempt == 1:
                raise Retryable("not this time")
            await asyncio.sleep(_seconds(context) / 4)
            return stay.effect(f"item[{item}]")

        return {"keys": await context.map("item", range(context.inputs["items"]), one, at_most=3, retries=0)}


@runs("shared")
async def wide(context: PhaseContext) -> Outputs:
    """More than an event holds, so that it becomes an artifact."""
    with visit(context) as stay:
        return {"key": stay.effect(), "rows": ["x" * 100] * 4000}


@runs("shared")
async def listens(context: PhaseContext) -> Outputs:
    """Takes up two words from outside, with a step between them."""
    with visit(context) as stay:
        first = await context.wait_for("word")
        await context.step("noted", lambda: stay.effect("noted"))
        second = await context.wait_for("word")
        return {"words": [signal["payload"]["n"] for signal in (first, second)]}


@runs("shared")
async def consults(context: PhaseContext) -> Outputs:
    """Asks by a schema."""
    with visit(context):
        answer = await context.ask("Which colour?", schema=PAINT)
        return {"colour": answer["values"]["colour"]}


@runs("shared")
async def begets(context: PhaseContext) -> Outputs:
    """Makes flows under this one, as many on each level as it was told, and waits for them.

    Those that are `held` wait for a word that never comes. Their owner has the flow at the top go back when it waits for it,
    and it makes others then.
    """
    with visit(context) as stay:
        wide, held = context.inputs.get("below", ()), bool(context.inputs.get("held")) and not context.anew
        given = {"below": wide[1:], "held": held, "seconds": _seconds(context)}
        ids = [await context.start_flow("kin", f"kin {n}", given) for n in range(wide[0] if wide else 0)]
        if held:
            await context.wait_for("back")
        await asyncio.sleep(_seconds(context))
        if ids:
            await context.wait_flows(ids)
        return {"key": stay.effect(), "children": ids}


def _left_alone(context: PhaseContext, said: str, seconds: float) -> Outputs:
    with visit(context) as stay:
        key = stay.effect()
        if context.attempt == 1:
            raise RateLimited(said, after_seconds=seconds)
        return {"key": key}


def _seconds(context: PhaseContext) -> float:
    """How long the work of this flow takes on each side of its effect."""
    return float(context.inputs.get("seconds", 0.02))
