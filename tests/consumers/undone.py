"""Flow types whose phases can be undone; whatever is done outside is entered in a ledger there, with its key."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from consumers.context import Handler, NeedsInput, Outputs, Permanent, PhaseContext, Retryable, Validator
from consumers.phases import runs
from domain.flow_types import FlowCapabilities, FlowTypeConfig, PhaseConfig
from tests.consumers.flows import QUICK, entered


def note(ctx: PhaseContext, what: str) -> None:
    entered(ctx.inputs["ledger"], f"{ctx.phase} {what}")


def fixed(ctx: PhaseContext) -> bool:
    """Whether somebody has mended what the handlers need."""
    return Path(ctx.inputs["fixed"]).exists() if "fixed" in ctx.inputs else True


@runs("shared")
async def book(ctx: PhaseContext) -> Outputs:
    note(ctx, f"booked {ctx.anew}")
    return {"seat": 12, "key": ctx.key("book"), "password": "hidden from history"}


@runs("shared")
async def unbook(ctx: PhaseContext) -> Outputs:
    """Knows what was done and under which key; the first time it fails in the middle, or kills its process."""
    assert ctx.undone is not None
    assert ctx.undone.key("book") == ctx.undone.outputs["key"]
    assert ctx.outputs[ctx.phase]["password"] == "hidden from history"
    where = await ctx.step("call", lambda: entered(ctx.inputs["ledger"], f"unbook seat {ctx.undone.outputs['seat']}"))
    if ctx.attempt == 1 and ctx.inputs.get("deadly"):
        os.kill(os.getpid(), signal.SIGKILL)
    if ctx.attempt == 1:
        raise Retryable("the line was cut")
    note(ctx, f"unbooked, attempt {ctx.attempt}")
    return {"where": where, "key": ctx.key("call")}


@runs("shared")
async def pay(ctx: PhaseContext) -> Outputs:
    """Pays, then fails where it is told to."""
    paid = await ctx.step("pay", lambda: {"receipt": 7})
    note(ctx, f"paid with {ctx.inputs.get('card')}")
    if ctx.inputs.get("card") == "broken":
        raise Permanent("card_broken", "the card is broken")
    return paid


@runs("shared")
async def refund(ctx: PhaseContext) -> Outputs:
    """Sees the inputs that the phase had, and what of it was done."""
    assert ctx.undone is not None
    receipt = ctx.undone.outputs.get("receipt") or ctx.undone.steps["pay"]["receipt"]
    note(ctx, f"refunded {receipt} to {ctx.inputs.get('card')}, completed {ctx.undone.completed}")
    return {}


@runs("shared")
async def apologise(ctx: PhaseContext) -> Outputs:
    note(ctx, "apologising")
    if not fixed(ctx):
        raise Permanent("no_words", "there are no words")
    return {}


@runs("exclusive")
def linger(ctx: PhaseContext) -> Outputs:
    """Goes on until it hears that nobody wants it any more."""
    note(ctx, "lingers")
    while not ctx.sync.asked_to_stop(0.05):
        pass
    note(ctx, "has stopped")
    return {}


@runs("shared")
async def tidy(ctx: PhaseContext) -> Outputs:
    note(ctx, "tidied")
    return {}


@runs("shared")
async def pack(ctx: PhaseContext) -> Outputs:
    note(ctx, f"packed {ctx.anew}")
    return {"table": await ctx.artifacts.put(b"what was packed")}


@runs("shared")
async def unpack(ctx: PhaseContext) -> Outputs:
    """Asks whether it may begin, so that something can happen to what was packed."""
    if "go" not in ctx.inputs and not ctx.outputs["count"]["again"]:
        raise NeedsInput("Go?", ["go"])
    found = await ctx.artifacts.get(ctx.outputs["pack"]["table"])
    return {"text": found.decode()}


@runs("shared")
async def count(ctx: PhaseContext) -> Outputs:
    return {"again": ctx.anew}


HANDLERS: dict[str, Handler] = {
    handler.__name__: handler for handler in (book, unbook, pay, refund, apologise, linger, tidy, pack, count, unpack)
}
VALIDATORS: dict[str, Validator] = {}
BACK = FlowCapabilities(supports_rollback=True)


def phase(name: str, handler: str, **more: Any) -> PhaseConfig:
    return PhaseConfig(name=name, display_name=name.title(), description=name, handlers=(handler,), **more)


def flow_type(name: str, *phases: PhaseConfig, capabilities: FlowCapabilities = BACK) -> FlowTypeConfig:
    return FlowTypeConfig(
        name=name, display_name=name, description=name, phases=phases, retry_config=QUICK, capabilities=capabilities
    )


BOOKING = (
    phase("book", "book", compensations=("unbook",)),
    phase("pay", "pay", optional_inputs=("card",), compensations=("refund", "apologise")),
)
PACKING = (phase("pack", "pack"), phase("count", "count"), phase("unpack", "unpack"))
FLOW_TYPES = (
    flow_type("parcel", *PACKING),
    flow_type("letter", *PACKING, capabilities=FlowCapabilities()),
    flow_type("journey", *BOOKING),
    flow_type("long_journey", *BOOKING, phase("wait", "linger", compensations=("tidy",))),
)
