"""A plain model of a flow of three phases: what each command must be answered, told without events and without a store."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from domain.flow_types import FlowTypeConfig, PhaseConfig, RetryConfig

PHASES = 3
ATTEMPTS = 3
# longer than any test takes: no timer is due before the clock is moved
RETRY_SECONDS = 3600.0

FLOW_TYPES = (
    FlowTypeConfig(
        name="modelled",
        display_name="modelled",
        description="three phases that may ask for a colour",
        phases=tuple(
            PhaseConfig(
                name=f"count_{n}",
                display_name=f"count {n}",
                description="counts",
                handlers=("count",),
                optional_inputs=("colour",),
            )
            for n in range(PHASES)
        ),
        retry_config=RetryConfig(
            max_attempts=ATTEMPTS, initial_delay_seconds=RETRY_SECONDS, backoff_multiplier=1.0, jitter=False
        ),
    ),
)

Stage = Literal[
    "between", "running", "waiting", "answered", "backing off", "failed", "completed", "cancelled", "deleted"
]
Held = tuple[int, int] | None
"""How many runs there had been, and the token of the last; none: of an earlier one."""
OVER = frozenset({"completed", "cancelled", "deleted"})


class Expected(NamedTuple):
    """What a command must be answered; `code` where it is refused."""

    outcome: str
    version: int
    code: str | None = None


@dataclass
class ModelFlow:
    """Where a flow stands, as a person would say it; `token` and `attempt` are those of the run under way or the next one."""

    auto: bool = False
    stage: Stage = "between"
    paused: bool = False
    done: int = 0
    attempt: int = 1
    token: int = 1
    version: int = 0
    timer: int = 0
    runs: int = 0
    answered: bool = False
    answers: dict[str, Expected] = field(default_factory=dict)

    def copy(self) -> ModelFlow:
        """The same, to be tried on."""
        return copy.deepcopy(self)

    def accepted(self, events: int) -> Expected:
        """So many facts."""
        self.version += events
        return Expected("accepted", self.version)

    def refused(self, code: str) -> Expected:
        """No."""
        return Expected("refused", self.version, code)

    def silent(self) -> Expected:
        """Nothing to be done about it."""
        return Expected("repeated", self.version)

    def create(self, auto: bool) -> Expected:
        if self.version:
            return self.refused("flow_exists")
        self.auto = auto
        return self.accepted(1 + (self._go_on() if auto else 0))

    def execute(self) -> Expected:
        if self.stage in OVER:
            return self.refused("flow_is_over")
        if self.paused:
            return self.refused("flow_paused")
        if self.stage == "running":
            return self.refused("phase_already_running")
        return self.accepted(self._start(1))

    def complete(self, under: Held) -> Expected:
        if not self._current(under):
            return self.refused("run_not_current")
        self.done += 1
        self.stage = "between"
        events = 2 + self._drained()
        if not self.paused and (self.auto or self.done == PHASES):
            events += self._go_on()
        return self.accepted(events)

    def keep_steps(self, under: Held) -> Expected:
        return self.accepted(1) if self._current(under) else self.refused("run_not_current")

    def fail(self, under: Held, retryable: bool) -> Expected:
        if not self._current(under):
            return self.refused("run_not_current")
        if retryable and self.attempt < ATTEMPTS:
            self.stage = "backing off"
            self.attempt += 1
            expected = self.accepted(2)
            self.timer = self.version
            return self.accepted(1) if self._drained() else expected
        self.stage, self.paused = "failed", False
        return self.accepted(2)

    def ask(self, under: Held) -> Expected:
        if not self._current(under):
            return self.refused("run_not_current")
        self.stage = "waiting"
        return self.accepted(1 + self._drained())

    def answer(self, right: bool) -> Expected:
        if right and self.answered and self.stage not in {"waiting", "cancelled", "deleted"}:
            return self.refused("already_answered")
        if self.stage in OVER:
            return self.refused("flow_is_over")
        if self.stage != "waiting":
            return self.refused("nothing_to_answer")
        if not right:
            return self.refused("input_invalid")
        self.stage, self.answered = "answered", True
        return self.accepted(1 + (0 if self.paused else self._go_on()))

    def pause(self) -> Expected:
        if self.stage in OVER:
            return self.refused("flow_is_over")
        if self.paused:
            return self.silent()
        if self.stage == "failed":
            return self.refused("flow_has_failed")
        self.paused = True
        return self.accepted(1)

    def resume(self) -> Expected:
        if self.stage in OVER:
            return self.refused("flow_is_over")
        if not self.paused:
            return self.refused("flow_not_paused")
        self.paused = False
        if self.stage == "backing off":
            # what was left of the back-off is still to pass, under a timer of its own
            expected = self.accepted(1)
            self.timer = self.version
            return expected
        goes_on = self.stage == "answered" or (self.stage == "between" and (self.auto or self.done == PHASES))
        return self.accepted(1 + (self._go_on() if goes_on else 0))

    def cancel(self) -> Expected:
        if self.stage == "cancelled":
            return self.silent()
        if self.stage in OVER:
            return self.refused("flow_is_over")
        self.stage, self.paused = "cancelled", False
        return self.accepted(1)

    def delete(self) -> Expected:
        if self.stage == "deleted":
            return self.silent()
        self.stage, self.paused = "deleted", False
        return self.accepted(1)

    def take_over(self, under: Held) -> Expected:
        if not self._current(under):
            return self.refused("run_not_current")
        self.token += 1
        return self.accepted(1)

    def fire(self, timer: int) -> Expected:
        if self.stage != "backing off" or self.timer != timer or self.paused:
            return self.silent()
        return self.accepted(self._start(self.attempt))

    @property
    def held(self) -> Held:
        """The run under way, or the last one."""
        return self.runs, self.token

    def _current(self, under: Held) -> bool:
        return under == self.held and self.stage == "running"

    def _drained(self) -> int:
        """A flow that is paused says when its work has stopped."""
        return 1 if self.paused else 0

    def _go_on(self) -> int:
        if self.done == PHASES:
            self.stage = "completed"
            return 1
        return self._start(1)

    def _start(self, attempt: int) -> int:
        self.stage, self.attempt, self.token = "running", attempt, 1
        self.runs += 1
        return 1
