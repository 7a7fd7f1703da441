"""The next release: other code, a phase more, and another name for one; what only the former needed is gone."""

from __future__ import annotations

from consumers.context import Handler, Outputs, PhaseContext, Validator
from consumers.phases import runs, versioned
from domain.flow_types import FlowTypeConfig
from tests.versions.old import phase, work


@runs("shared")
@versioned("2")
async def fetch(context: PhaseContext) -> Outputs:
    return await work(context, "new")


@runs("shared")
@versioned("1")
async def cleanse(context: PhaseContext) -> Outputs:
    return await work(context, "new")


@runs("shared")
@versioned("2")
async def report(context: PhaseContext) -> Outputs:
    return await work(context, "new")


SECOND = FlowTypeConfig(
    name="released",
    display_name="Released",
    description="Four phases",
    version="1.1.0",
    phases=(phase("fetch", "fetch"), phase("cleanse", "cleanse"), phase("report", "report"), phase("file", "report")),
)
FLOW_TYPES: tuple[FlowTypeConfig, ...] = (SECOND,)
HANDLERS: dict[str, Handler] = {"fetch": fetch, "cleanse": cleanse, "report": report}
VALIDATORS: dict[str, Validator] = {}
