"""Flow types for tests: phases that run at the same time."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from consumers.context import Handler, Outputs, PhaseContext
from consumers.phases import runs
from domain.flow_types import FlowCapabilities, FlowTypeConfig
from tests.consumers.flows import QUICK, phase
from tests.waiting import until


async def _there(path: Path) -> None:
    await until(lambda: asyncio.to_thread(path.exists), 60)


@runs("inline")
async def prepare(_: PhaseContext) -> Outputs:
    return {"prepared": True}


@runs("shared")
async def meet(context: PhaseContext) -> Outputs:
    """Comes to an end only together with the other one."""
    folder = Path(context.inputs["folder"])
    (folder / context.phase).touch()
    await _there(folder / {"left": "right", "right": "left"}[context.phase])
    return {"met": True}


@runs("shared")
async def work(context: PhaseContext) -> Outputs:
    """Says that it began, and works until the file `go.<phase>` is there."""
    folder = Path(context.inputs["folder"])
    (folder / f"{context.phase}.{context.attempt}").touch()
    await _there(folder / f"go.{context.phase}")
    return {"done": True}


@runs("exclusive")
async def own(context: PhaseContext) -> Outputs:
    """As `work`, in a process of its own, whose id it says."""
    folder = Path(context.inputs["folder"])
    said = folder / f"pid.{context.phase}"
    said.write_text(str(os.getpid()))
    said.rename(folder / f"{context.phase}.{context.attempt}")
    await _there(folder / f"go.{context.phase}")
    return {"attempt": context.attempt}


@runs("inline")
async def join(context: PhaseContext) -> Outputs:
    return {"of": sorted(name for name in context.outputs if name != context.phase)}


HANDLERS: dict[str, Handler] = {handler.__name__: handler for handler in (prepare, meet, work, own, join)}


def forked(name: str, handler: str) -> FlowTypeConfig:
    return FlowTypeConfig(
        name=name,
        display_name=name,
        description="prepares, does two things at the same time, and joins them",
        phases=(
            phase("prepare"),
            *(phase(side, handlers=(handler,), follows=("prepare",)) for side in ("left", "right")),
            phase("join", follows=("left", "right")),
        ),
        retry_config=QUICK,
        capabilities=FlowCapabilities(parallel_phases=True, supports_rollback=True),
    )


FLOW_TYPES = (forked("meeting", "meet"), forked("working", "work"), forked("apart", "own"))
