"""A flow type of six phases that do nothing, to measure what is left: the engine between them."""

from __future__ import annotations

import time

from consumers.context import Outputs, PhaseContext
from consumers.phases import runs
from domain.flow_types import FlowCapabilities, FlowTypeConfig, PhaseConfig

OUTPUT = "x" * 230


@runs("inline")
async def noop(ctx: PhaseContext) -> Outputs:
    """Answer which phase this was."""
    return {"phase": ctx.phase, "attempt": ctx.attempt}


@runs("inline")
async def noop_with_output(ctx: PhaseContext) -> Outputs:
    """Answer as much as the steps of the peers do."""
    return {"output": f"{ctx.phase}{OUTPUT}"}


@runs("shared")
async def noop_in_child(ctx: PhaseContext) -> Outputs:
    """The same, in a child process."""
    return {"phase": ctx.phase, "attempt": ctx.attempt}


@runs("inline")
async def noop_timed(ctx: PhaseContext) -> Outputs:
    """Answer when this was, in seconds since 1970."""
    return {"at": time.time()}


def _type(name: str, handler: str) -> FlowTypeConfig:
    return FlowTypeConfig(
        name=name,
        display_name="No-op",
        description="Six phases that do nothing",
        phases=tuple(
            PhaseConfig(name=f"step_{n}", display_name=f"Step {n}", description="Does nothing", handlers=(handler,))
            for n in range(1, 7)
        ),
        capabilities=FlowCapabilities(supports_iterations=False),
    )


HANDLERS = {
    "noop": noop,
    "noop_with_output": noop_with_output,
    "noop_in_child": noop_in_child,
    "noop_timed": noop_timed,
}
FLOW_TYPES = tuple(_type(name, name) for name in HANDLERS)
