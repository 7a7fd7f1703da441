"""Flow types whose handlers listen to what is asked of them, or do harm to their worker."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path
from typing import Any

from consumers.context import HandBack, Handler, Invalid, Outputs, PhaseContext, Validator
from consumers.phases import runs
from consumers.signals import RunCancelled
from domain.flow_types import FlowTypeConfig
from tests.consumers.flows import ONCE, entered, flow_type, phase
from tests.waiting import until

GATE_SECONDS = 180.0
KEPT: list[bytearray] = []


def note(context: PhaseContext, line: str) -> str:
    """An effect on the outside: a line in the ledger that the flow names."""
    return entered(context.inputs["ledger"], line)


def gate_is_open(context: PhaseContext) -> bool:
    return Path(context.inputs["go"]).exists()


async def gate(context: PhaseContext) -> None:
    """Wait for the file that the flow names."""
    await until(lambda: asyncio.to_thread(gate_is_open, context), GATE_SECONDS)


def closed_gate(context: PhaseContext) -> None:
    """As `gate`, deaf to everything else."""
    end = time.monotonic() + GATE_SECONDS
    while not gate_is_open(context) and time.monotonic() < end:
        time.sleep(0.02)


def asked(context: PhaseContext) -> str:
    return "cancelled" if context.cancelled else "paused" if context.paused else "draining"


@runs("shared")
async def listens(context: PhaseContext) -> Outputs:
    """Works until it is asked to stop, and puts its things away."""
    note(context, "begun")
    await context.asked_to_stop()
    note(context, asked(context))
    return {}


@runs("inline")
async def listens_inline(context: PhaseContext) -> Outputs:
    return await listens(context)


def listens_plain(context: PhaseContext) -> Outputs:
    note(context, "begun")
    while not context.sync.asked_to_stop(0.05):
        pass
    note(context, asked(context))
    return {}


def beats_plain(context: PhaseContext) -> Outputs:
    """Learns by its heartbeat that nobody wants its work."""
    note(context, "begun")
    try:
        while True:
            context.sync.heartbeat(1, 0)
            time.sleep(0.02)
    except RunCancelled:
        note(context, "cancelled")
        raise


@runs("shared")
async def stubborn(context: PhaseContext) -> Outputs:
    note(context, "begun")
    try:
        await asyncio.sleep(GATE_SECONDS)
    except asyncio.CancelledError:
        note(context, "stopped")
        raise
    return {}


@runs("shared")
async def gives_way(context: PhaseContext) -> Outputs:
    """Two steps; between them it gives way when it is asked to, but not once the gate is open."""
    await context.step("first", note, context, "first")
    note(context, "between")
    while not gate_is_open(context):
        if await context.asked_to_stop(0.02):
            raise HandBack
    await context.step("second", note, context, "second")
    return {"attempt": context.attempt}


@runs("shared")
async def goes_on(context: PhaseContext) -> Outputs:
    """Notes the pause and goes on; notes that it is over."""
    note(context, "begun")
    await context.asked_to_stop()
    note(context, asked(context))
    await until(lambda: not context.stopping, GATE_SECONDS)
    note(context, "resumed")
    await gate(context)
    return {}


@runs("shared")
async def unasked(_: PhaseContext) -> Outputs:
    raise HandBack


@runs("shared")
async def beats(context: PhaseContext) -> Outputs:
    """Says more than anybody wants to know."""
    for done in range(1, 2001):
        await context.heartbeat(done, 2000, f"unit {done}\x00")
    await gate(context)
    return {}


@runs("shared")
async def beats_wrong(context: PhaseContext) -> Outputs:
    await context.heartbeat("all", None)  # type: ignore[arg-type]
    return {}


@runs("shared")
async def knows_its_deadline(context: PhaseContext) -> Outputs:
    first = context.deadline
    await until(lambda: context.deadline != first, GATE_SECONDS)
    return {"deadline": context.deadline.isoformat(), "left": context.seconds_left()}


def plain(context: PhaseContext) -> Outputs:
    """All that an async handler may do."""
    context.sync.heartbeat(1, 2, "half")
    kept = context.sync.step("kept", note, context, "kept")
    squares = context.sync.map("square", range(4), lambda item: item * item, at_most=2)
    ref = context.sync.wait(context.artifacts.put(b"bytes"))
    found = context.sync.wait(context.artifacts.get(ref))
    return {"kept": kept, "squares": squares, "found": found.decode(), "in": os.getpid()}


@runs("shared")
async def misplaced(context: PhaseContext) -> Outputs:
    return {"never": context.sync.heartbeat(1, 2)}


def number_given(context: PhaseContext) -> list[Invalid]:
    return [] if "number" in context.inputs else [Invalid("number", "give a number")]


@runs("shared")
async def bystander(context: PhaseContext) -> Outputs:
    """One step, then it waits for the gate."""
    await context.step("first", note, context, "first")
    await gate(context)
    return {"in": os.getpid()}


@runs("exclusive")
async def long(context: PhaseContext) -> Outputs:
    note(context, "begun")
    await gate(context)
    return {"in": os.getpid()}


@runs("shared")
async def where(_: PhaseContext) -> Outputs:
    return {"in": os.getpid()}


@runs("shared")
async def leaks(_: PhaseContext) -> Outputs:
    """Never gives back 200 MB."""
    KEPT.append(bytearray(os.urandom(200 << 20)))
    return {"in": os.getpid()}


@runs("shared")
async def exits(context: PhaseContext) -> Outputs:
    await gate(context)
    os._exit(7)


def exits_politely(_: PhaseContext) -> Outputs:
    sys.exit("enough")


@runs("shared")
async def exits_from_its_loop(_: PhaseContext) -> Outputs:
    sys.exit("enough")


@runs("shared")
async def blocks(context: PhaseContext) -> Outputs:
    """Stands in the way of all others in its loop."""
    note(context, "begun")
    closed_gate(context)
    return {}


@runs("shared")
def deaf_thread(context: PhaseContext) -> Outputs:
    note(context, "begun")
    closed_gate(context)
    return {}


@runs("shared")
async def quick(context: PhaseContext) -> Outputs:
    """An effect under its key, after a moment; begun again by nobody."""
    await asyncio.sleep(0.1)
    note(context, f"{context.flow_id} {context.phase} {context.attempt} {context.key('effect')}")
    return {}


@runs("exclusive")
def quick_plain(context: PhaseContext) -> Outputs:
    time.sleep(0.05)
    note(context, f"{context.flow_id} {context.phase} {context.attempt} {context.key('effect')}")
    return {}


_HANDLERS: tuple[Any, ...] = (
    *(listens, listens_inline, listens_plain, beats_plain, stubborn, gives_way, goes_on, unasked, beats, beats_wrong),
    *(knows_its_deadline, plain, misplaced, bystander, long, where, leaks, exits, exits_politely, exits_from_its_loop),
    *(blocks, deaf_thread, quick, quick_plain),
)
HANDLERS: dict[str, Handler] = {handler.__name__: handler for handler in _HANDLERS}
VALIDATORS: dict[str, Validator] = {"number_given": number_given}

FLOW_TYPES: tuple[FlowTypeConfig, ...] = (
    *(flow_type(name, phase(name)) for name in HANDLERS if name not in {"plain", "quick", "quick_plain", "exits"}),
    # each attempt costs a process of its own
    flow_type("exits", phase("exits", retry_config=ONCE)),
    flow_type("once", phase("unasked", retry_config=ONCE)),
    flow_type("plain", phase("plain", validators=("number_given",), optional_inputs=("number",))),
    flow_type("rounds", phase("quick"), phase("quick_plain"), phase("again", handlers=("quick",))),
)
