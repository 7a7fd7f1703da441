"""A flow type and its code as they were released first."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from consumers.context import Handler, Outputs, PhaseContext, Validator
from consumers.phases import runs, versioned
from domain.flow_types import FlowTypeConfig, PhaseConfig, RetryConfig
from tests.consumers.flows import entered
from tests.waiting import until

ONCE = RetryConfig(max_attempts=1)


def phase(name: str, *handlers: str, **given: Any) -> PhaseConfig:
    return PhaseConfig(
        name=name, display_name=name.title(), description=name, handlers=handlers, retry_config=ONCE, **given
    )


async def work(context: PhaseContext, code: str) -> Outputs:
    """Says which code did it; waits at a gate where the flow names one for the phase."""
    if gate := context.inputs.get(f"{context.phase}_gate"):
        await until(lambda: asyncio.to_thread(Path(gate).exists), 120)
    if ledger := context.inputs.get("ledger"):
        await context.step("entered", entered, ledger, f"{context.flow_id} {context.phase} {code}")
    return {f"{context.phase}_by": code}


@runs("shared")
@versioned("1")
async def fetch(context: PhaseContext) -> Outputs:
    return await work(context, "old")


@runs("shared")
@versioned("1")
async def clean(context: PhaseContext) -> Outputs:
    return await work(context, "old")


@runs("shared")
@versioned("1")
async def report(context: PhaseContext) -> Outputs:
    return await work(context, "old")


FIRST = FlowTypeConfig(
    name="released",
    display_name="Released",
    description="Three phases",
    version="1.0.0",
    phases=(phase("fetch", "fetch"), phase("clean", "clean"), phase("report", "report")),
)
FLOW_TYPES: tuple[FlowTypeConfig, ...] = (FIRST,)
HANDLERS: dict[str, Handler] = {"fetch": fetch, "clean": clean, "report": report}
VALIDATORS: dict[str, Validator] = {}
