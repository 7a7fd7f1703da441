"""Flow types whose work is paused, left out, cancelled and cleaned up after."""

from __future__ import annotations

from typing import Any

from consumers.context import Handler, Outputs, Permanent, PhaseContext, Validator
from consumers.phases import runs
from domain.flow_types import FlowCapabilities, FlowTypeConfig, Hooks, PhaseConfig
from tests.consumers.flows import ONCE, flow_type, phase
from tests.consumers.told import GATE_SECONDS, gate, gate_is_open, listens, note
from tests.waiting import until

ROWS = {"type": "object", "properties": {"rows": {"type": "integer"}}, "required": ["rows"]}


async def paused_or_open(context: PhaseContext) -> None:
    await until(lambda: context.paused or gate_is_open(context), GATE_SECONDS)


@runs("shared")
async def stepping(context: PhaseContext) -> Outputs:
    """Two steps, and no thought of pauses."""
    await context.step("first", note, context, "first")
    note(context, "between")
    await paused_or_open(context)
    await context.step("second", note, context, "second")
    return {"attempt": context.attempt}


@runs("shared")
async def mapping(context: PhaseContext) -> Outputs:
    """A step for each of six items, two at a time; the first two know of the pause before they end."""

    async def work(item: int) -> int:
        if item < 2:
            note(context, f"begun {item}")
            await paused_or_open(context)
        note(context, str(item))
        return item

    return {"items": await context.map("item", range(6), work, at_most=2)}


@runs("shared")
async def seen(context: PhaseContext) -> Outputs:
    return {"seen": dict(context.outputs.get("listens", {}))}


@runs("shared")
async def put_away(context: PhaseContext) -> Outputs:
    """Cleans up, with a step of its own; the first attempt fails."""
    await context.step("away", note, context, f"away {context.error.get('code', 'nothing')}")
    if context.attempt == 1:
        raise Permanent("stuck", "it is stuck") if "stuck" in context.inputs else TimeoutError
    return {"put": "away"}


@runs("shared")
async def refuses(_: PhaseContext) -> Outputs:
    raise Permanent("no_use", "trying again is no use")


@runs("shared")
async def keeps(context: PhaseContext) -> Outputs:
    """A step at the gate."""
    note(context, "begun")
    await gate(context)
    await context.step("kept", note, context, "step")
    note(context, "after")
    return {}


_HANDLERS: tuple[Any, ...] = (stepping, mapping, listens, seen, put_away, refuses, keeps)
HANDLERS: dict[str, Handler] = {handler.__name__: handler for handler in _HANDLERS}
VALIDATORS: dict[str, Validator] = {}


def hooked(name: str, *phases: PhaseConfig, **hooks: tuple[str, ...]) -> FlowTypeConfig:
    return FlowTypeConfig(name=name, display_name=name, description=name, phases=phases, hooks=Hooks(**hooks))


FLOW_TYPES: tuple[FlowTypeConfig, ...] = (
    flow_type("stepping", phase("stepping", yields_to_pause=True)),
    flow_type("mapping", phase("mapping", yields_to_pause=True)),
    flow_type("skippable", phase("listens", can_skip=True, output_schema=ROWS), phase("seen")),
    flow_type("keeps", phase("keeps")),
    hooked("tidy", phase("listens", can_skip=True), phase("seen"), cancel=("put_away",)),
    FlowTypeConfig(
        name="forked",
        display_name="forked",
        description="the second phase only where the first says so",
        phases=(
            phase("listens"),
            phase("seen", when=({"phase": "listens", "output": "more", "op": "exists"},)),
        ),
        capabilities=FlowCapabilities(supports_branching=True),
    ),
    hooked("advised", phase("refuses", retry_config=ONCE), error=("listens",)),
)
