"""Flow types for tests of rounds, recovery and results that are taken again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from msgspec.structs import replace

from consumers.context import Handler, Outputs, PhaseContext, Retryable, Validator
from consumers.phases import runs
from domain.flow_types import FlowTypeConfig, PhaseConfig, RetryConfig
from domain.recovery import Recovery


def entered(context: PhaseContext, line: str) -> None:
    """An effect on the outside: a line in a file."""
    with Path(context.inputs["ledger"]).open("a") as file:
        file.write(f"{line}\n")


@runs("shared")
async def tally(context: PhaseContext) -> Outputs:
    """Work that follows from its inputs alone, and leaves a trace where it is really done."""
    entered(context, "tally")
    rows = [f"row {n}" for n in range(int(context.inputs.get("number", 3)))]
    kept = await context.artifacts.put(" ".join(rows).encode())
    return {"rows": len(rows), "kept": kept, "wide": ["x" * 100] * int(context.inputs.get("wide", 0))}


@runs("shared")
async def note(context: PhaseContext) -> Outputs:
    """A hook."""
    entered(context, "note")
    return {"noted": True}


@runs("shared")
async def secret(context: PhaseContext) -> Outputs:
    entered(context, "secret")
    return {"password": "hush"}


@runs("shared")
async def look_back(context: PhaseContext) -> Outputs:
    """What the rounds before brought, and the key of a step in this one."""
    before = await context.former()
    first = await context.former(1)
    return {
        "round": context.iteration,
        "key": context.key("send"),
        "before": before,
        "first": (first or {}).get("look_back", {}).get("round"),
        "never": await context.former(9),
    }


@runs("shared")
async def bold(context: PhaseContext) -> Outputs:
    """Works only as somebody says who is careful."""
    entered(context, f"bold {context.inputs.get('approach')}")
    if context.inputs.get("approach") != "conservative":
        raise Retryable("too bold")
    return {"approach": context.inputs["approach"]}


@runs("shared")
async def shaky(context: PhaseContext) -> Outputs:
    """Works once the phase before it was done a second time."""
    entered(context, "shaky")
    if context.outputs["prepare"]["times"] < 2:
        raise Retryable("not prepared")
    return {"done": True}


@runs("shared")
async def prepare(context: PhaseContext) -> Outputs:
    entered(context, "prepare")
    return {"times": context.anew + 1}


HANDLERS: dict[str, Handler] = {work.__name__: work for work in (tally, note, secret, look_back, bold, shaky, prepare)}
VALIDATORS: dict[str, Validator] = {}
ONCE = RetryConfig(max_attempts=1, jitter=False)


def phase(name: str, **settings: Any) -> PhaseConfig:
    given = {"display_name": name.title(), "description": name, "handlers": (name,), **settings}
    return PhaseConfig(name=name, **given)


def flow_type(name: str, *phases: PhaseConfig, **settings: Any) -> FlowTypeConfig:
    return FlowTypeConfig(name=name, display_name=name, description=name, phases=phases, retry_config=ONCE, **settings)


TALLY = flow_type("tally", phase("tally", reusable=True))
FLOW_TYPES = (
    TALLY,
    replace(TALLY, name="tally_anew", reuse_results=False),
    flow_type("hooked_tally", phase("tally", reusable=True, before=("note",), after=("note",))),
    flow_type("secret", phase("secret", reusable=True)),
    flow_type("rounds", phase("look_back")),
    flow_type("bold", phase("bold", recovery=(Recovery(action="fallback", with_inputs={"approach": "conservative"}),))),
    flow_type(
        "shaky",
        phase("prepare"),
        phase("shaky", recovery=(Recovery(action="restart_from_phase", from_phase="prepare", delay_seconds=0.05),)),
    ),
)
