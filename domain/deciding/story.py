"""What a decision is told on, and what every answer needs of a flow."""

from __future__ import annotations

import hashlib
from typing import Any
from uuid import UUID

import msgspec

from domain.deciding.targets import can_go_back
from domain.errors import FlowIsOver, RunNotCurrent
from domain.events import CheckpointCreated, FlowEvent, FlowFailed
from domain.flow import DONE, Flow, Meta, Phase, Recorded, evolve, settled
from domain.flow_types import FlowTypeConfig, FlowTypes
from domain.ids import derived_id
from domain.rounds import can_iterate
from domain.words import Moment, Status

Json = dict[str, Any]

OVER = frozenset({Status.COMPLETED, Status.CANCELLED, Status.DELETED})


THE_END = "The flow's end"
NOBODY_RUNS_IT = (
    "the flow type {flow_type} is not known here; register it (MFO_FLOW_TYPES), then migrate the flow to its version"
)


class Story:
    """A decision being told: each fact is added to the history, and the flow is what it makes of it."""

    __slots__ = ("config", "facts", "flow", "focus", "meta", "types")

    def __init__(self, flow: Flow, meta: Meta, types: FlowTypes) -> None:
        self.flow = flow
        self.meta = meta
        self.types = types
        self.facts: list[Recorded] = []
        self.config: FlowTypeConfig | None = None
        self.focus: str | None = None

    def tell(self, fact: FlowEvent) -> None:
        recorded = Recorded(self.flow.id, self.flow.version + 1, self.meta, fact)
        self.flow = evolve(self.flow, recorded)
        if self.focus is not None:
            self.flow = self.flow.on(self.focus)
        self.facts.append(recorded)

    def on(self, name: str | None) -> None:
        """See the flow from this phase from now on, where phases run at the same time."""
        if self.flow.follows and name is not None:
            self.focus, self.flow = name, self.flow.on(name)

    def whole(self) -> None:
        """See the flow as a whole again."""
        self.focus, self.flow = None, settled(self.flow) if self.flow.follows else self.flow

    @property
    def type(self) -> FlowTypeConfig:
        """The definition the flow was made with."""
        if self.config is None:
            self.config = self.types.version(self.flow.flow_type, self.flow.flow_version)
        return self.config

    def derived_id(self, what: str) -> UUID:
        """An id that follows from the flow and the version of the next fact."""
        return derived_id(self.flow.id, f"{what}:{self.flow.version + 1}")


def keep_point(story: Story, phase_name: str, options: Json) -> None:
    """Record a checkpoint after a phase, unless its options say otherwise."""
    if options.get("save_checkpoints", True):
        story.tell(
            CheckpointCreated(
                checkpoint_id=story.derived_id("checkpoint"),
                phase_name=phase_name,
                state_sha256=state_sha256(story.flow),
            )
        )


def current_run(story: Story, run_id: UUID, token: int) -> None:
    """See the flow from the phase of this run; raises RunNotCurrent."""
    flow = story.flow
    run = next((run for run in flow.runs if (run.run_id, run.token) == (run_id, token)), None)
    if run is None:
        raise RunNotCurrent(allowed=allowed(flow, story.types))
    story.on(run.phase_name)


def not_over(story: Story) -> None:
    flow = story.flow
    if flow.status in OVER:
        raise FlowIsOver(f"the flow is {flow.status} and takes no more work", allowed=allowed(flow, story.types))


def state_sha256(flow: Flow) -> str:
    """SHA-256 over the flow's inputs and its phases' outputs, as canonical JSON (keys sorted)."""
    state = {
        "inputs": flow.known_inputs,
        "outputs": {phase.name: phase.outputs for phase in flow.phases if phase.status in DONE},
    }
    return hashlib.sha256(msgspec.json.encode(state, order="sorted")).hexdigest()


def allowed(flow: Flow, types: FlowTypes) -> list[str]:
    """The verbs that the flow takes now, in the words of the HTTP routes."""
    if flow.status is Status.DELETED or not flow.exists:
        return []
    again = ["iterate"] if can_iterate(flow, types.version(flow.flow_type, flow.flow_version)) else []
    if flow.status is Status.COMPLETED:
        return [*again, *_back(flow, types), "delete"]
    if flow.status in OVER:
        return [*again, "delete"]
    verbs: list[str] = []
    runs = not types.version(flow.flow_type, flow.flow_version).is_placeholder
    if flow.paused is not None:
        verbs.append("resume")
    elif runs and _may_execute(flow):
        verbs.append("execute")
    views = flow.each
    again_now = flow.status is Status.FAILED or any(view.retry is not None for view in views)
    if runs and flow.paused is None and again_now:
        verbs.append("retry")
    if any(view.waiting is not None for view in views):
        verbs.append("input")
    if any(view.suspended is not None and view.suspended.until["kind"] == "signal" for view in views):
        verbs.append("signals")
    if flow.paused is None and flow.status is not Status.FAILED and _can_pause(flow, types):
        verbs.append("pause")
    config = types.version(flow.flow_type, flow.flow_version)
    if flow.undoing is None and any(config.phase(phase.name).can_skip for phase in flow.ready):
        verbs.append("skip")
    return [*verbs, *again, *_back(flow, types), *_moves(flow, types), "cancel", "delete"]


def can_begin(flow: Flow) -> list[Phase]:
    """The ready phases that executing the flow can begin: those that nobody works on and that wait for nothing."""
    return [phase for phase in flow.ready if _idle(flow.on(phase.name))]


def _idle(flow: Flow) -> bool:
    still = flow.run is None or flow.run.hook == Moment.ERROR
    return still and flow.suspended is None and not asks_people(flow)


def _may_execute(flow: Flow) -> bool:
    if flow.follows and flow.ready and flow.undoing is None:
        return not flow.gates and bool(can_begin(flow))
    if flow.suspended is not None or asks_people(flow) or flow.gates:
        return False
    return flow.run is None or flow.run.hook == Moment.ERROR


def asks_people(flow: Flow) -> bool:
    """Whether only particular people, or two, can bring the phase in hand further."""
    return (
        flow.waiting is not None and flow.waiting.question is not None and flow.waiting.question.assignees is not None
    )


def _back(flow: Flow, types: FlowTypes) -> list[str]:
    """The verbs of going back that the flow takes now."""
    config = types.version(flow.flow_type, flow.flow_version)
    if flow.winding_up or not config.capabilities.supports_rollback:
        return []
    still = all(run.hook == Moment.ERROR for run in flow.runs)
    back = ["rollback"] if still and can_go_back(flow, config) else []
    return back if flow.status is Status.COMPLETED else [*back, "checkpoint"]


def _moves(flow: Flow, types: FlowTypes) -> list[str]:
    """`migrate`, where another version of the type is known; a hook that runs has to end first."""
    there = len(types.versions_of(flow.flow_type)) > 1 and flow.undoing is None
    return ["migrate"] if there and (flow.run is None or flow.run.hook is None) else []


def _can_pause(flow: Flow, types: FlowTypes) -> bool:
    config = types.version(flow.flow_type, flow.flow_version)
    if not config.capabilities.supports_pause_resume:
        return False
    return all(config.phase(run.phase_name).can_pause for run in flow.runs)


def give_up(story: Story, phase_name: str, error: Json) -> None:
    """The flow fails at a phase, and may be executed again from there."""
    phase = story.flow.phase(phase_name)
    story.tell(FlowFailed(phase_name=phase_name, error=error, attempts=phase.attempt, chain=phase.failures))
