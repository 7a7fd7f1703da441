"""A flow type whose handler tells in spans what it does, in a child process."""

from __future__ import annotations

from consumers.context import Outputs, PhaseContext
from consumers.phases import Handler, runs
from tests.consumers.flows import flow_type, phase


@runs("shared")
async def traced(context: PhaseContext) -> Outputs:
    with context.span("parse", rows=3):
        number = await context.step("count", counting, context)
    squares = await context.map("square", [1, 2], lambda item: item * item)
    try:
        with context.span("upload"):
            raise ValueError("no")
    except ValueError:
        return {"number": number, "squares": squares}


def counting(context: PhaseContext) -> int:
    """A plain function, in a thread."""
    with context.span("read"):
        return 3


HANDLERS: dict[str, Handler] = {"traced": traced}
FLOW_TYPES = (flow_type("traced", phase("traced")),)
