"""Flow types for tests: phases that end in every way a phase can end."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from consumers.context import (
    Handler,
    Invalid,
    NeedsInput,
    Outputs,
    Permanent,
    PhaseContext,
    RateLimited,
    Retryable,
    Validator,
)
from consumers.phases import runs
from domain.flow_types import FlowCapabilities, FlowTypeConfig, PhaseConfig, RetryConfig
from tests.waiting import until

QUICK = RetryConfig(max_attempts=3, initial_delay_seconds=0.05, jitter=False)
ONCE = RetryConfig(max_attempts=1)


@runs("inline")
async def count(context: PhaseContext) -> Outputs:
    return {"number": int(context.inputs.get("number", 0)) + 1, "in": os.getpid()}


@runs("shared")
async def greet(context: PhaseContext) -> Outputs:
    await asyncio.sleep(0)
    return {"greeting": f"hello {context.inputs.get('who', 'you')}", "in": os.getpid()}


@runs("exclusive")
async def compute(context: PhaseContext) -> Outputs:
    before = context.outputs["count"]["number"]
    await context.heartbeat(1, 2, "half of it")
    return {"square": before * before, "in": os.getpid()}


@runs("shared")
async def flaky(context: PhaseContext) -> Outputs:
    if context.attempt < 3:
        raise Retryable(f"attempt {context.attempt} did not work")
    return {"attempts": context.attempt}


@runs("exclusive")
async def hang(_: PhaseContext) -> Outputs:
    time.sleep(600)  # noqa: ASYNC251 - a handler that cannot hear
    return {}


@runs("shared")
async def wait(_: PhaseContext) -> Outputs:
    await asyncio.sleep(600)
    return {}


@runs("exclusive")
async def die(context: PhaseContext) -> Outputs:
    if context.attempt == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return {"attempts": context.attempt}


@runs("exclusive")
async def chatter(_: PhaseContext) -> Outputs:
    print("not an answer\n" * 1000, flush=True)
    return {"said": True}


@runs("exclusive")
async def hoard(_: PhaseContext) -> Outputs:
    hoarded = [bytearray(os.urandom(1 << 20)) for _ in range(400)]
    time.sleep(600)  # noqa: ASYNC251 - keeps what it has
    return {"hoarded": len(hoarded)}


@runs("shared")
async def ask(context: PhaseContext) -> Outputs:
    if "colour" not in context.inputs:
        raise NeedsInput("Which colour?", ["colour"], {"colours": ["red", "green"]})
    return {"colour": context.inputs["colour"]}


@runs("shared")
async def refuse(_: PhaseContext) -> Outputs:
    raise Permanent("no_use", "trying again is no use")


@runs("shared")
async def wide(_: PhaseContext) -> Outputs:
    """More than an event holds: one large member, which becomes an artifact."""
    return {"rows": ["x" * 100] * 4000, "count": 4000}


@runs("shared")
async def broad(_: PhaseContext) -> Outputs:
    return {"text": "x" * 5000}


@runs("shared")
async def secretive(context: PhaseContext) -> Outputs:
    """Shows in its outputs how the sensitive input looked to it, and gives a large sensitive value itself."""
    given = context.inputs["credentials"]
    return {"length": len(given["password"]), "login": {"tokens": [given["password"]] * 8000}}


@runs("shared")
async def read_secret(context: PhaseContext) -> Outputs:
    return {"last": context.outputs["secretive"]["login"]["tokens"][-1] == context.inputs["credentials"]["password"]}


@runs("exclusive")
async def slow(context: PhaseContext) -> Outputs:
    """Works until the file named by the input is there; says that it began by another."""
    await asyncio.to_thread(Path(f"{context.inputs['begun']}.{os.getpid()}").touch)
    await until(lambda: asyncio.to_thread(Path(context.inputs["go"]).exists), 60)
    return {"in": os.getpid()}


def entered(ledger: str, line: str) -> str:
    """An effect on the outside: a line in a file."""
    with Path(ledger).open("a") as file:
        file.write(f"{line}\n")
    return line


@runs("exclusive")
async def nap(context: PhaseContext) -> Outputs:
    await asyncio.sleep(context.inputs["seconds"])
    return {"in": os.getpid()}


@runs("exclusive")
async def stepwise(context: PhaseContext) -> Outputs:
    """Three steps; the first attempt dies after the second, the second fails before the third."""
    ledger = context.inputs["ledger"]
    first = await context.step("first", entered, ledger, "first")
    second = await context.step("second", entered, ledger, "second")
    if context.attempt == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    if context.attempt == 2:
        raise RateLimited("not so fast", after_seconds=0.05)
    third = await context.step("third", entered, ledger, "third")
    return {"steps": [first, second, third], "key": context.key("third")}


@runs("shared")
async def spread(context: PhaseContext) -> Outputs:
    """A step for each of 40 items; in the first attempt one of them cannot be done."""
    ledger = context.inputs["ledger"]

    async def work(item: int) -> int:
        if item == 25 and context.attempt == 1:
            raise Retryable("not this time")
        await asyncio.to_thread(entered, ledger, str(item))
        return item * item

    return {"squares": await context.map("square", range(40), work, at_most=4, retries=0)}


@runs("inline")
async def inline_steps(context: PhaseContext) -> Outputs:
    number = await context.step("number", lambda: context.attempt)
    if context.attempt == 1:
        raise Retryable("once more")
    return {"number": number, "attempt": context.attempt}


@runs("shared")
async def no_json(context: PhaseContext) -> Outputs:
    return {"never": await context.step("odd", object)}


@runs("shared")
async def secret_step(context: PhaseContext) -> Outputs:
    """A step whose result is sensitive, read again in the second attempt."""
    kept = await context.step("login", lambda: {"password": context.inputs["credentials"]["password"]})
    if context.attempt == 1:
        raise Retryable("once more")
    return {"same": kept["password"] == context.inputs["credentials"]["password"]}


async def positive(context: PhaseContext) -> list[Invalid]:
    number = context.inputs.get("number")
    return [] if isinstance(number, int) and number > 0 else [Invalid("number", "give a number above 0")]


HANDLERS: dict[str, Handler] = {
    handler.__name__: handler
    for handler in (
        *(count, greet, compute, flaky, hang, wait, die, chatter, hoard, ask, refuse, wide, broad, secretive),
        *(read_secret, slow, nap, stepwise, spread, inline_steps, no_json, secret_step),
    )
}
VALIDATORS: dict[str, Validator] = {"positive": positive}


def phase(name: str, **settings: Any) -> PhaseConfig:
    given = {"display_name": name.title(), "description": name, "handlers": (name,), **settings}
    return PhaseConfig(name=name, **given)


def flow_type(name: str, *phases: PhaseConfig) -> FlowTypeConfig:
    return FlowTypeConfig(name=name, display_name=name, description=name, phases=phases, retry_config=QUICK)


SCHEDULABLE = FlowTypeConfig(
    name="schedulable",
    display_name="Schedulable",
    description="one quick phase, at times",
    phases=(phase("count"),),
    capabilities=FlowCapabilities(supports_scheduling=True),
)
FLOW_TYPES = (
    SCHEDULABLE,
    flow_type("modes", phase("count"), phase("greet"), phase("compute")),
    flow_type("inline", *(phase(f"count_{n}", handlers=("count",)) for n in range(3))),
    flow_type("flaky", phase("flaky")),
    flow_type("hang", phase("hang", timeout_seconds=0.3, retry_config=ONCE)),
    flow_type("wait", phase("wait", timeout_seconds=0.3, retry_config=ONCE)),
    flow_type("patient", phase("wait")),
    flow_type("die", phase("die")),
    flow_type("chatter", phase("chatter")),
    flow_type("hoard", phase("hoard", retry_config=ONCE)),
    flow_type("ask", phase("ask", optional_inputs=("colour",))),
    flow_type("refuse", phase("refuse")),
    flow_type("wide", phase("wide")),
    flow_type("broad", phase("broad")),
    flow_type("secretive", phase("secretive"), phase("read_secret")),
    flow_type("slow", phase("slow")),
    flow_type("twice", *(phase(f"slow_{n}", handlers=("slow",)) for n in range(2))),
    replace(flow_type("alone", phase("slow")), max_running=1),
    flow_type("nap", phase("nap")),
    flow_type("stepwise", phase("stepwise")),
    flow_type("spread", phase("spread")),
    flow_type("inline_steps", phase("inline_steps")),
    flow_type("no_json", phase("no_json")),
    flow_type("secret_step", phase("secret_step")),
    flow_type("checked", phase("count", validators=("positive",), optional_inputs=("number",))),
)
