"""How a flow is taken over as it stood, and set right where what belongs to it does not fit."""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from domain.commands import ImportFlow, RepairFlow
from domain.deciding.story import Story, state_sha256
from domain.errors import FlowExists
from domain.events import FlowImported, FlowRepaired
from domain.flow import DONE, Recorded, evolve
from domain.graph import at_once
from domain.words import Status


def import_flow(story: Story, command: ImportFlow) -> None:
    """Begin the flow where it stood; what it had done by then is a state to go back to.

    The same again is silence. Raises FlowExists where the flow has a history of its own.
    """
    flow, meta = story.flow, story.meta
    fact = msgspec.convert(command.told, FlowImported)
    if flow.exists:
        if (flow.client_account_id, flow.engagement_id) != (meta.client_account_id, meta.engagement_id):
            raise FlowExists
        same = flow.imported is not None and flow.imported.origin.sha256 == fact.origin.sha256
        if same and not (command.again and flow.status is Status.DELETED):
            return
        if flow.imported is None or not command.again or flow.status is not Status.DELETED:
            raise FlowExists("the flow has a history of its own; it is not imported over it")
    fact = replace(fact, follows=at_once(story.types.version(fact.flow_type, fact.flow_version)))
    point = story.derived_id("checkpoint")
    taken = evolve(flow, Recorded(flow.id, flow.version + 1, meta, fact))
    if any(phase.status in DONE for phase in taken.phases):
        fact = replace(fact, checkpoint_id=point, state_sha256=state_sha256(taken))
    story.tell(fact)


def repair(story: Story, command: RepairFlow) -> None:
    """Say in the flow's history what was set right, and how that was known."""
    story.tell(
        FlowRepaired(
            kind=command.kind,
            method=command.method,
            confidence=command.confidence,
            items=command.items,
            reason=command.reason,
        )
    )
