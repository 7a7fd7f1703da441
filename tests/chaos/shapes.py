"""The shapes of flows under chaos: what their handlers do, what their owner answers them, where they may come to rest.

The services load this module by MFO_FLOW_TYPES. A further shape is one more `Shape` in `SHAPES`.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any, NamedTuple

from consumers.context import Handler, Invalid, NeedsInput, Outputs, Permanent, PhaseContext, RateLimited, Retryable
from consumers.phases import runs
from domain.flow_types import FlowCapabilities, FlowTypeConfig, PhaseConfig, RetryConfig
from domain.recovery import Recovery
from domain.words import Status
from tests.chaos.ledger import visit

Json = dict[str, Any]

# chaos takes attempts too, so what shall succeed has plenty of them
PATIENT = RetryConfig(max_attempts=100, initial_delay_seconds=0.2, backoff_multiplier=1.5, max_delay_seconds=2.0)
PAINT = {"type": "object", "properties": {"colour": {"enum": ["red", "green"]}}, "required": ["colour"]}
MANY_ROUNDS = FlowCapabilities()
THRICE = RetryConfig(max_attempts=3, initial_delay_seconds=0.2, max_delay_seconds=1.0)


@runs("inline")
async def tick(context: PhaseContext) -> Outputs:
    """Done at once, in the service's own loop."""
    with visit(context) as stay:
        return {"key": stay.effect(synced=False)}


@runs("shared")
async def work(context: PhaseContext) -> Outputs:
    """An effect in the middle of waiting for somebody else."""
    with visit(context) as stay:
        await asyncio.sleep(_seconds(context))
        key = stay.effect()
        await asyncio.sleep(_seconds(context))
        return {"key": key}


@runs("exclusive")
async def labour(context: PhaseContext) -> Outputs:
    """An effect in the middle of work that hears nothing while it lasts."""
    with visit(context) as stay:
        time.sleep(_seconds(context))  # noqa: ASYNC251 - a handler that cannot hear
        key = stay.effect()
        time.sleep(_seconds(context))  # noqa: ASYNC251
        return {"key": key}


@runs("shared")
async def flaky(context: PhaseContext) -> Outputs:
    """Fails with an effect each time, until it has been tried often enough."""
    with visit(context) as stay:
        key = stay.effect()
        if context.attempt <= context.inputs["failures"]:
            raise Retryable(f"attempt {context.attempt} did not work")
        return {"key": key}


@runs("shared")
async def throttled(context: PhaseContext) -> Outputs:
    """The other side wants to be left alone for a while."""
    with visit(context) as stay:
        key = stay.effect()
        if context.attempt == 1:
            raise RateLimited("not so fast", after_seconds=1.5)
        return {"key": key}


@runs("shared")
async def patient(context: PhaseContext) -> Outputs:
    """The other side wants to be left alone for longer than its owner waits."""
    with visit(context) as stay:
        key = stay.effect()
        if context.attempt == 1:
            raise RateLimited("not for a minute", after_seconds=60)
        return {"key": key}


@runs("shared")
async def counted(context: PhaseContext) -> Outputs:
    """Says how often it was to be done again from the beginning."""
    with visit(context) as stay:
        return {"key": stay.effect(), "anew": context.anew}


@runs("shared")
async def tardy(context: PhaseContext) -> Outputs:
    """Does not end in time at first."""
    with visit(context) as stay:
        key = stay.effect()
        if context.attempt == 1:
            await asyncio.sleep(600)
        return {"key": key}


@runs("shared")
async def hopeless(context: PhaseContext) -> Outputs:
    """Trying again would cure nothing."""
    with visit(context) as stay:
        stay.effect()
        raise Permanent("no_use", "trying again is no use")


@runs("shared")
async def wearing(context: PhaseContext) -> Outputs:
    """Fails as often as it may."""
    with visit(context) as stay:
        stay.effect()
        raise Retryable("never works")


@runs("shared")
async def repaired(context: PhaseContext) -> Outputs:
    """Fails for good until somebody has done something about it."""
    with visit(context) as stay:
        key = stay.effect()
        if not context.inputs.get("repaired"):
            raise Permanent("broken", "somebody must repair it")
        return {"key": key}


@runs("shared")
async def ask(context: PhaseContext) -> Outputs:
    """Needs to be told a colour."""
    with visit(context) as stay:
        if "colour" not in context.inputs:
            raise NeedsInput("Which colour?", ["colour"], {"colours": ["red", "green"]})
        return {"colour": context.inputs["colour"], "key": stay.effect()}


@runs("shared")
async def picky(context: PhaseContext) -> Outputs:
    """Objects to a number that is not above 0."""
    with visit(context) as stay:
        if int(context.inputs.get("number", 0)) <= 0:
            raise Permanent("bad_number", "the number is wrong", [Invalid("number", "give one above 0")])
        return {"key": stay.effect()}


@runs("exclusive")
async def steps(context: PhaseContext) -> Outputs:
    """Three steps; at first the worker dies after the second."""
    with visit(context) as stay:

        def step(name: str) -> str:
            time.sleep(_seconds(context) / 4)
            return stay.effect(name)

        keys = [await context.step(name, step, name) for name in ("first", "second")]
        if context.attempt == 1 and context.inputs.get("dies"):
            os.kill(os.getpid(), signal.SIGKILL)
        keys.append(await context.step("third", step, "third"))
        return {"keys": keys}


@runs("shared")
async def spread(context: PhaseContext) -> Outputs:
    """A step for each item, one of which cannot be done at first."""
    with visit(context) as stay:

        async def one(item: int) -> str:
            if item == 3 and context.attempt == 1:
                raise Retryable("not this time")
            await asyncio.sleep(_seconds(context) / 4)
            return stay.effect(f"item[{item}]")

        return {"keys": await context.map("item", range(context.inputs["items"]), one, at_most=3, retries=0)}


@runs("shared")
async def wide(context: PhaseContext) -> Outputs:
    """More than an event holds, so that it becomes an artifact."""
    with visit(context) as stay:
        return {"key": stay.effect(), "rows": ["x" * 100] * 4000}


@runs("shared")
async def listens(context: PhaseContext) -> Outputs:
    """Takes up two words from outside, with a step between them."""
    with visit(context) as stay:
        first = await context.wait_for("word")
        await context.step("noted", lambda: stay.effect("noted"))
        second = await context.wait_for("word")
        return {"words": [signal["payload"]["n"] for signal in (first, second)]}


@runs("shared")
async def consults(context: PhaseContext) -> Outputs:
    """Asks by a schema."""
    with visit(context):
        answer = await context.ask("Which colour?", schema=PAINT)
        return {"colour": answer["values"]["colour"]}


def _seconds(context: PhaseContext) -> float:
    """How long the work of this flow takes on each side of its effect."""
    return float(context.inputs.get("seconds", 0.02))


class Ask(NamedTuple):
    """A command that the owner of a flow sends: its name, and the body of the HTTP call."""

    name: str
    body: Json


Answer = Callable[[Json], list[Ask]]
"""What the owner sends on an event of the flow, from the event's data."""


@dataclass(frozen=True)
class Shape:
    """A kind of flow. `rests` names the statuses in which one may stand when all is over; `share` is how common it is."""

    name: str
    phases: tuple[PhaseConfig, ...]
    rests: frozenset[Status] = frozenset({Status.COMPLETED})
    share: int = 2
    auto: bool = True
    data: Callable[[Random], Json] = lambda _: {}
    options: Callable[[Random], Json] = lambda _: {}
    answers: Mapping[str, Answer] = field(default_factory=dict)
    retry: RetryConfig = PATIENT
    capabilities: FlowCapabilities = MANY_ROUNDS

    @property
    def config(self) -> FlowTypeConfig:
        """The flow type."""
        title = self.name.replace("_", " ")
        return FlowTypeConfig(
            name=self.name,
            display_name=title,
            description=title,
            phases=self.phases,
            retry_config=self.retry,
            capabilities=self.capabilities,
        )


def phase(name: str, handler: Handler, **settings: Any) -> PhaseConfig:
    """A phase with one handler."""
    return PhaseConfig(name=name, display_name=name, description=name, handlers=(handler.__name__,), **settings)


def _back_once(data: Json) -> list[Ask]:
    """Once the last phase has been done, and not again after that."""
    first = data["phase_name"] == "last" and data["outputs"]["anew"] == 0
    return [Ask("RollbackFlow", {"phase_name": "second", "reason": "not good enough"})] if first else []


def _always(*asks: Ask) -> Answer:
    return lambda _: list(asks)


def _of_phase(name: str, *asks: Ask) -> Answer:
    return lambda data: list(asks) if data["phase_name"] == name else []


# after the last phase there is no next one, and the word for it is refused
NEXT = _always(Ask("ExecutePhase", {}))
# a wrong answer, which is refused, and then the right one
COLOUR = _always(Ask("ProvideInput", {"size": 3}), Ask("ProvideInput", {"colour": "red"}))
OPEN = frozenset({Status.COMPLETED, Status.CANCELLED})

SHAPES: tuple[Shape, ...] = (
    Shape("fast", tuple(phase(f"tick_{n}", tick) for n in range(4)), share=8),
    Shape(
        "mixed",
        (phase("tick", tick), phase("work", work), phase("labour", labour), phase("end", tick)),
        share=6,
        data=lambda random: {"seconds": round(random.uniform(0.1, 0.6), 2)},
    ),
    Shape(
        "slow",
        (phase("work", work), phase("more", work)),
        share=6,
        data=lambda random: {"seconds": round(random.uniform(0.8, 4.0), 2)},
    ),
    Shape(
        "laborious",
        (phase("labour", labour), phase("note", tick)),
        share=3,
        data=lambda random: {"seconds": round(random.uniform(0.2, 0.6), 2)},
    ),
    Shape("flaky", (phase("flaky", flaky),), share=4, data=lambda random: {"failures": random.randint(1, 4)}),
    Shape("throttled", (phase("throttled", throttled), phase("note", tick))),
    Shape("tardy", (phase("tardy", tardy, timeout_seconds=1.0), phase("note", tick))),
    Shape("hopeless", (phase("hopeless", hopeless),), frozenset({Status.FAILED}), share=3),
    Shape("wearing", (phase("wearing", wearing),), frozenset({Status.FAILED}), retry=THRICE),
    Shape(
        "repaired",
        (phase("repaired", repaired, optional_inputs=("repaired",)), phase("note", tick)),
        answers={"FlowFailed": _always(Ask("ExecutePhase", {"inputs": {"repaired": True}}))},
    ),
    # the third round is one too many, and refused
    Shape(
        "rounds",
        (phase("note", tick), phase("steps", steps), phase("end", tick)),
        data=lambda random: {"seconds": round(random.uniform(0.2, 0.8), 2)},
        answers={"FlowCompleted": _always(Ask("StartIteration", {"phase_name": "steps", "reason": "once more"}))},
        capabilities=FlowCapabilities(max_iterations=2),
    ),
    Shape(
        "recovering",
        (
            phase("note", tick),
            phase(
                "repaired",
                repaired,
                recovery=(
                    Recovery(action="restart_from_phase", from_phase="note", delay_seconds=0.2),
                    Recovery(action="fallback", when=("permanent",), with_inputs={"repaired": True}, delay_seconds=0.2),
                ),
            ),
        ),
    ),
    Shape(
        "asking",
        (phase("ask", ask, optional_inputs=("colour",)), phase("note", tick)),
        share=5,
        answers={"InputRequested": COLOUR},
    ),
    Shape(
        "picky",
        (phase("picky", picky, optional_inputs=("number",)),),
        data=lambda _: {"number": -1},
        answers={"InputRequested": _always(Ask("ProvideInput", {"number": 7}))},
    ),
    # one word comes before anybody waits, and more than are wanted
    Shape(
        "signalled",
        (phase("listens", listens), phase("note", tick)),
        share=4,
        answers={
            "FlowCreated": _always(Ask("SignalFlow", {"name": "word", "payload": {"n": 1}, "signal_id": "first"})),
            "PhaseSuspended": _always(Ask("SignalFlow", {"name": "word", "payload": {"n": 2}})),
        },
    ),
    Shape(
        "consulting",
        (phase("consults", consults), phase("note", tick)),
        answers={"InputRequested": _always(*(Ask("ProvideInput", {"colour": colour}) for colour in ("blue", "red")))},
    ),
    Shape("unanswered", (phase("ask", ask, optional_inputs=("colour",)),), frozenset({Status.WAITING_FOR_INPUT})),
    Shape(
        "by_the_word",
        (phase("tick", tick), phase("work", work), phase("end", tick)),
        share=3,
        auto=False,
        answers={"FlowCreated": NEXT, "PhaseCompleted": NEXT},
    ),
    Shape(
        "paused",
        (phase("work", work), phase("more", work), phase("end", tick)),
        share=3,
        answers={
            "PhaseStarted": _of_phase("work", Ask("PauseFlow", {"reason": "a break"})),
            "FlowPaused": _always(Ask("ResumeFlow", {})),
        },
    ),
    Shape(
        "cancelled",
        (phase("work", work), phase("more", work)),
        OPEN,
        data=lambda _: {"seconds": 1.0},
        answers={"PhaseStarted": _of_phase("more", Ask("CancelFlow", {"reason": "not wanted"}))},
    ),
    Shape(
        "deleted",
        (phase("note", tick),),
        frozenset({Status.DELETED}),
        share=1,
        answers={"FlowCompleted": _always(Ask("DeleteFlow", {"reason": "done with it"}))},
    ),
    Shape(
        "steps",
        (phase("steps", steps), phase("note", tick)),
        share=4,
        data=lambda random: {"seconds": round(random.uniform(0.2, 1.2), 2), "dies": random.random() < 0.3},
    ),
    Shape(
        "fan_out",
        (phase("spread", spread), phase("note", tick)),
        share=4,
        data=lambda random: {"items": random.randint(4, 10), "seconds": round(random.uniform(0.4, 4.0), 2)},
    ),
    # the word comes while the phase runs, or when it has ended and there is nothing to leave out
    Shape(
        "left_out",
        (phase("work", work, can_skip=True), phase("end", tick)),
        share=3,
        data=lambda random: {"seconds": round(random.uniform(0.2, 1.5), 2)},
        answers={"PhaseStarted": _of_phase("work", Ask("SkipPhase", {"phase_name": "work", "reason": "we have it"}))},
    ),
    Shape(
        "hurried",
        (phase("patient", patient), phase("note", tick)),
        share=3,
        answers={"PhaseRetryScheduled": _always(Ask("RetryFlow", {"reason": "now"}))},
    ),
    Shape(
        "rolled_back",
        (phase("first", counted), phase("second", counted), phase("last", counted)),
        share=3,
        answers={"PhaseCompleted": _back_once},
        capabilities=FlowCapabilities(supports_rollback=True),
    ),
    Shape("wide", (phase("wide", wide), phase("note", tick)), share=1),
    Shape(
        "delayed",
        (phase("work", work), phase("note", tick)),
        data=lambda random: {"seconds": round(random.uniform(0.1, 1.0), 2)},
        options=lambda random: {"start_after_seconds": round(random.uniform(0.5, 20.0), 1)},
    ),
    Shape(
        "assumed",
        (
            phase("ask", ask, input_timeout_seconds=3.0, on_input_timeout="defaults", input_defaults={"colour": "red"}),
            phase("note", tick),
        ),
    ),
)
BY_NAME: dict[str, Shape] = {shape.name: shape for shape in SHAPES}

HANDLERS: dict[str, Handler] = {
    handler.__name__: handler
    for handler in (
        *(tick, work, labour, flaky, throttled, tardy, hopeless, wearing, repaired, ask, picky, steps, spread, wide),
        *(listens, consults, patient, counted),
    )
}
FLOW_TYPES: tuple[FlowTypeConfig, ...] = tuple(shape.config for shape in SHAPES)
