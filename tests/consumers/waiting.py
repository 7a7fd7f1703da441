"""Flow types whose phases wait for something outside of the run."""

from __future__ import annotations

import asyncio

from consumers.context import Handler, NeedsInput, Outputs, PhaseContext, TimedOut, Validator
from consumers.phases import runs
from domain.questions import Assignees, Question
from tests.consumers.flows import entered, flow_type, phase


@runs("shared")
async def collect(ctx: PhaseContext) -> Outputs:
    """Takes up as many orders as the input says; each run enters that it began."""
    await ctx.step(f"began {ctx.run_id}", entered, ctx.inputs["ledger"], f"began {ctx.attempt}")
    found = [await ctx.wait_for("order") for _ in range(ctx.inputs["orders"])]
    return {"orders": [signal["payload"] for signal in found], "senders": [signal["sent_by"] for signal in found]}


@runs("inline")
async def in_the_loop(ctx: PhaseContext) -> Outputs:
    return {"said": (await ctx.wait_for("word"))["payload"]}


@runs("exclusive")
def plain(ctx: PhaseContext) -> Outputs:
    try:
        return {"said": ctx.sync.wait_for("word", 60)["payload"]}
    except TimedOut as up:
        return {"late": up.detail}


@runs("shared")
async def hurried(ctx: PhaseContext) -> Outputs:
    await ctx.wait_for("word", timeout_seconds=60)
    return {}


@runs("shared")
async def several(ctx: PhaseContext) -> Outputs:
    """Waits for three things at once, and stubbornly catches what it can."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(ctx.wait_for(name)) for name in ("red", "green")]
    except Exception:
        return {"caught": True}
    blue = await ctx.map("blue", ["blue"], ctx.wait_for)
    return {"said": [task.result()["payload"]["n"] for task in tasks] + [one["payload"]["n"] for one in blue]}


@runs("shared")
async def secretive(ctx: PhaseContext) -> Outputs:
    """Shows how a secret in a signal looked to it, by its length."""
    return {"length": len((await ctx.wait_for("login"))["payload"]["credentials"]["password"])}


COLOUR = {"type": "object", "properties": {"colour": {"enum": ["red", "green"]}}, "required": ["colour"]}


@runs("shared")
async def consult(ctx: PhaseContext) -> Outputs:
    """Asks one person for a colour, then two to agree."""
    await ctx.step(f"began {ctx.run_id}", entered, ctx.inputs["ledger"], f"began {ctx.attempt}")
    colour = await ctx.ask("Which colour?", schema=COLOUR, assignees={"users": ["boris"]}, suggestions={"best": "red"})
    allowed = await ctx.ask("Shall we paint?", ["approval"], assignees={"need": 2}, remind_after_seconds=60)
    return {"colour": colour["values"]["colour"], "allowed_by": allowed["answered_by"]}


@runs("exclusive")
def consult_plainly(ctx: PhaseContext) -> Outputs:
    """Asks for a secret and for much; shows how they looked to it."""
    answer = ctx.sync.ask("Credentials, please", ["credentials", "rows"])["values"]
    return {"length": len(answer["credentials"]["password"]), "rows": len(answer["rows"])}


@runs("inline")
async def ask_roles(ctx: PhaseContext) -> Outputs:
    raise NeedsInput("Who?", ["who"], assignees={"roles": ["approver"]})


@runs("inline")
async def ask_badly(ctx: PhaseContext) -> Outputs:
    return await ctx.ask("What?", **ctx.inputs["question"])


async def hold(ctx: PhaseContext) -> Outputs:
    """A hook that waits for the word, and asks."""
    word = await ctx.wait_for("go")
    answer = await ctx.ask("Sure?", ["sure"])
    return {"held": [word["payload"], answer["values"]]}


HANDLERS: dict[str, Handler] = {
    handler.__name__: handler
    for handler in (
        *(collect, in_the_loop, plain, hurried, several, secretive),
        *(consult, consult_plainly, ask_roles, ask_badly, hold),
    )
}
VALIDATORS: dict[str, Validator] = {}
SIGNED = Question(
    message="May we?",
    schema={"type": "object", "properties": {"approval": {"const": True}}, "required": ["approval"]},
    assignees=Assignees(users=("boris", "chen"), need=2),
)
FLOW_TYPES = (
    *(flow_type(name, phase(name)) for name in HANDLERS if name != "hold"),
    flow_type("held", phase("in_the_loop", before=("hold",))),
    flow_type("signed", phase("in_the_loop", required_inputs=("approval",), question=SIGNED)),
)
