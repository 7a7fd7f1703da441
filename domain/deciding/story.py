"""What a decision is told on, and what every answer needs of a flow."""

from __future__ import annotations

import hashlib
from typing import Any
from uuid import UUID, uuid5

import msgspec

from domain.deciding.targets import can_go_back
from domain.errors import FlowIsOver, RunNotCurrent
from domain.events import CheckpointCreated, FlowEvent, FlowFailed
from domain.flow import DONE, Flow, Meta, Recorded, evolve
from domain.flow_types import FlowTypeConfig, FlowTypes
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

    __slots__ = ("config", "facts", "flow", "meta", "types")

    def __init__(self, flow: Flow, meta: Meta, types: FlowTypes) -> None:
        self.flow = flow
        self.meta = meta
        self.types = types
        self.facts: list[Recorded] = []
        self.config: FlowTypeConfig | None = None

    def tell(self, fact: FlowEvent) -> None:
        recorded = Recorded(self.flow.id, self.flow.version + 1, self.meta, fact)
        self.flow = evolve(self.flow, recorded)
        self.facts.append(recorded)

    @property
    def type(self) -> FlowTypeConfig:
        """The definition the flow was made with."""
        if self.config is None:
            self.config = self.types.version(self.flow.flow_type, self.flow.flow_version)
        return self.config

    def derived_id(self, what: str) -> UUID:
        """An id that follows from the flow and the version of the next fact."""
        return uuid5(self.flow.id, f"{what}:{self.flow.version + 1}")


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
    flow = story.flow
    if flow.run is None or (flow.run.run_id, flow.run.token) != (run_id, token):
        raise RunNotCurrent(allowed=allowed(flow, story.types))


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
    if runs and flow.paused is None and (flow.status is Status.FAILED or flow.retry is not None):
        verbs.append("retry")
    if flow.waiting is not None:
        verbs.append("input")
    if flow.suspended is not None and flow.suspended.until["kind"] == "signal":
        verbs.append("signals")
    if flow.paused is None and flow.status is not Status.FAILED and _can_pause(flow, types):
        verbs.append("pause")
    following = flow.next_phase if flow.undoing is None else None
    if following is not None and types.version(flow.flow_type, flow.flow_version).phase(following.name).can_skip:
        verbs.append("skip")
    return [*verbs, *again, *_back(flow, types), *_moves(flow, types), "cancel", "delete"]


def _may_execute(flow: Flow) -> bool:
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
    still = flow.run is None or flow.run.hook == Moment.ERROR
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
    return flow.run is None or config.phase(flow.run.phase_name).can_pause


def give_up(story: Story, phase_name: str, error: Json) -> None:
    """The flow fails at a phase, and may be executed again from there."""
    phase = story.flow.phase(phase_name)
    story.tell(FlowFailed(phase_name=phase_name, error=error, attempts=phase.attempt, chain=phase.failures))
