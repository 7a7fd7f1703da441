"""The shapes of flows under chaos: what their handlers do, what their owner answers them, where they may come to rest.

The services load this module by MFO_FLOW_TYPES. A further shape is one more `Shape` in `SHAPES`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any, NamedTuple

from consumers.context import Handler
from domain.flow_types import FlowCapabilities, FlowTypeConfig, PhaseConfig, RetryConfig
from domain.recovery import Recovery
from domain.words import Status
from tests.chaos.handlers import (
    ask,
    begets,
    consults,
    counted,
    flaky,
    hopeless,
    labour,
    listens,
    patient,
    picky,
    repaired,
    spread,
    steps,
    tardy,
    throttled,
    tick,
    wearing,
    wide,
    work,
)

Json = dict[str, Any]

# chaos takes attempts too, so what shall succeed has plenty of them
PATIENT = RetryConfig(max_attempts=100, initial_delay_seconds=0.2, backoff_multiplier=1.5, max_delay_seconds=2.0)
MANY_ROUNDS = FlowCapabilities()
THRICE = RetryConfig(max_attempts=3, initial_delay_seconds=0.2, max_delay_seconds=1.0)


class Ask(NamedTuple):
    """A command that the owner of a flow sends: its name, and the body of the HTTP call."""

    name: str
    body: Json


Answer = Callable[[Json], list[Ask]]
"""What the owner sends on an event of the flow, from the event's data."""


@dataclass(frozen=True)
class Shape:
    """A kind of flow. `rests` names the statuses in which one may stand when all is over; `share` is how common it is.

    One without a share is begun by other flows only. `former` are the phases of the version before, to which a flow may go.
    """

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
    former: tuple[PhaseConfig, ...] = ()

    @property
    def configs(self) -> tuple[FlowTypeConfig, ...]:
        """The flow type in all its versions, that of new flows last."""
        title = self.name.replace("_", " ")
        return tuple(
            FlowTypeConfig(
                name=self.name,
                version=version,
                display_name=title,
                description=title,
                phases=phases,
                retry_config=self.retry,
                capabilities=self.capabilities,
            )
            for version, phases in (("1.0.0", self.former), ("1.1.0", self.phases))
            if phases
        )


def phase(name: str, handler: Handler, **settings: Any) -> PhaseConfig:
    """A phase with one handler."""
    return PhaseConfig(name=name, display_name=name, description=name, handlers=(handler.__name__,), **settings)


def _back_once(data: Json) -> list[Ask]:
    """Once the last phase has been done, and not again after that."""
    first = data["phase_name"] == "last" and data["outputs"]["anew"] == 0
    return [Ask("RollbackFlow", {"phase_name": "second", "reason": "not good enough"})] if first else []


def _back_at_the_word(data: Json) -> list[Ask]:
    """While it waits for the word that has it go back."""
    waits = data["until"].get("name") == "back"
    return [Ask("RollbackFlow", {"phase_name": "gather", "reason": "other ones"})] if waits else []


def _there_and_back(data: Json) -> list[Ask]:
    """Back to the version that it began with, once."""
    return [] if data["back"] else [Ask("MigrateFlow", {"back": True, "restart_run": True})]


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
    # the word comes while a phase runs, which begins anew under its other name
    Shape(
        "moved",
        (phase("note", tick), phase("second", work), phase("further", tick), phase("end", work)),
        former=(phase("note", tick), phase("work", work), phase("end", work)),
        share=3,
        data=lambda random: {"seconds": round(random.uniform(0.2, 1.0), 2)},
        answers={
            "PhaseCompleted": _of_phase(
                "note",
                Ask(
                    "MigrateFlow",
                    {
                        "to_version": "1.0.0",
                        "phase_mapping": {"second": "work", "further": None},
                        "restart_run": True,
                        "reason": "the other one",
                    },
                ),
            ),
            "FlowMigrated": _there_and_back,
        },
    ),
    # a whole tree is paused in the middle, resumed, ended, or begun anew
    Shape(
        "clan",
        (phase("gather", begets), phase("note", tick)),
        share=3,
        data=lambda random: {"below": random.choice(([2, 2], [3])), "seconds": round(random.uniform(0.5, 2.0), 2)},
        answers={
            "PhaseSuspended": _always(Ask("PauseFlow", {"reason": "all of them"})),
            "FlowPaused": _always(Ask("ResumeFlow", {})),
        },
    ),
    Shape(
        "clan_cancelled",
        (phase("gather", begets), phase("note", tick)),
        OPEN,
        share=1,
        data=lambda random: {"below": [2, 1], "seconds": round(random.uniform(0.5, 1.5), 2)},
        answers={"PhaseSuspended": _always(Ask("CancelFlow", {"reason": "none of them"}))},
    ),
    Shape(
        "clan_anew",
        (phase("note", tick), phase("gather", begets)),
        share=1,
        data=lambda random: {"below": [2, 1], "seconds": round(random.uniform(0.1, 0.6), 2), "held": True},
        answers={"PhaseSuspended": _back_at_the_word},
        capabilities=FlowCapabilities(supports_rollback=True),
    ),
    Shape("kin", (phase("kin", begets),), OPEN, share=0),
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
        *(listens, consults, patient, counted, begets),
    )
}
FLOW_TYPES: tuple[FlowTypeConfig, ...] = tuple(config for shape in SHAPES for config in shape.configs)

MANY = ("mixed", "slow", "laborious", "fan_out", "steps", "asking", "signalled", "clan")
"""The shapes of which all flows at once are paused and resumed, too."""
