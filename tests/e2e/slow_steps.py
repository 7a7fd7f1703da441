"""A flow type of four phases that take a moment each, one for every way a handler may run and one more."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import Any

from consumers.context import Outputs, PhaseContext
from consumers.phases import runs
from domain.flow_types import FlowTypeConfig, PhaseConfig
from tests.waiting import until

WORK_SECONDS = 0.1


def given(n: int, go: Path) -> dict[str, Any]:
    """What the flow numbered n begins with: every fifth has no end before there is a file `go`."""
    return {"number": n, **({"until": str(go)} if n % 5 == 4 else {})}


@runs("shared")
async def slow_gather(ctx: PhaseContext) -> Outputs:
    """Wait as for another system, `until` a file is there where one is named, and answer what was given."""
    await asyncio.sleep(WORK_SECONDS)
    wanted = ctx.inputs.get("until")
    await until(lambda: wanted is None or Path(wanted).exists(), 300)
    return {"gathered": ctx.inputs["number"]}


@runs("exclusive")
async def slow_compute(ctx: PhaseContext) -> Outputs:
    """Keep a processor busy with what the phase before has gathered."""
    digest = str(ctx.outputs["gather"]["gathered"]).encode()
    for _ in range(20_000):
        digest = hashlib.sha256(digest).digest()
    return {"digest": digest.hex()}


@runs("inline")
async def slow_note(ctx: PhaseContext) -> Outputs:
    """Note the result of the phase before."""
    return {"noted": ctx.outputs["compute"]["digest"][:8]}


def _phase(name: str, handler: str) -> PhaseConfig:
    return PhaseConfig(name=name, display_name=name, description=name, handlers=(handler,))


STEPS = ("gather", "compute", "settle", "note")
FLOW_TYPES = (
    FlowTypeConfig(
        name="slow_steps",
        display_name="Slow steps",
        description="Four phases that take a moment each",
        phases=(
            _phase("gather", "slow_gather"),
            _phase("compute", "slow_compute"),
            _phase("settle", "slow_gather"),
            _phase("note", "slow_note"),
        ),
    ),
)
HANDLERS = {"slow_gather": slow_gather, "slow_compute": slow_compute, "slow_note": slow_note}
