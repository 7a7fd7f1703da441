"""What a flow was told by others, and what it saw of them, as far as its own facts show it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from domain.commands import Command, FollowParent, ReportChild, ReportDependency
from domain.events import (
    ChildEnded,
    ChildStarted,
    DependencyEnded,
    FlowCancelled,
    FlowCreated,
    FlowDeleted,
    FlowEvent,
    FlowPaused,
    FlowResumed,
)
from domain.flow import Flow, Meta, Pause
from domain.words import Status

Json = dict[str, Any]

VERBS: dict[type, str] = {
    FlowPaused: "pause",
    FlowResumed: "resume",
    FlowCancelled: "cancel",
    FlowDeleted: "delete",
}


def word(name: str, facts: Sequence[FlowEvent], flow_id: UUID) -> Command | None:
    """The word of another flow that brought these facts about; none for other commands."""
    first = facts[0]
    if name == "ReportDependency" and isinstance(first, DependencyEnded):
        about: Json = {"dependency_flow_id": first.dependency_flow_id, "status": first.status}
        return ReportDependency(flow_id=flow_id, **about)
    if name == "ReportChild" and isinstance(first, ChildStarted | ChildEnded):
        ends = [fact for fact in facts[:2] if isinstance(fact, ChildEnded)]
        about = {"status": ends[0].status, "outputs": ends[0].outputs, "error": ends[0].error} if ends else {}
        return ReportChild(flow_id=flow_id, child_flow_id=first.child_flow_id, **about)
    if name == "FollowParent" and isinstance(first, FlowPaused | FlowResumed | FlowCancelled | FlowDeleted):
        about = {"verb": VERBS[type(first)], "by_flow_id": first.by_flow_id, "reason": first.reason}
        if isinstance(first, FlowResumed):
            about["paused_by"] = (first.paused_by,)
        if isinstance(first, FlowPaused):
            about["timers"] = first.timers
        if isinstance(first, FlowCancelled):
            about["compensate"] = first.compensate
        return FollowParent.model_validate({"flow_id": flow_id, **about})
    return None


def seen(facts: Sequence[FlowEvent], meta: Meta) -> dict[UUID, Flow]:
    """The other flows as a new one must have seen them."""
    created = facts[0]
    if not isinstance(created, FlowCreated):
        return {}
    told = {fact.dependency_flow_id: fact.status for fact in facts if isinstance(fact, DependencyEnded)}
    held = [fact for fact in facts[1:2] if isinstance(fact, FlowPaused) and fact.by_flow_id is not None]
    tenant: Json = {"client_account_id": meta.client_account_id, "engagement_id": meta.engagement_id, "version": 1}
    others = {
        each: Flow(id=each, status=Status(told.get(each, Status.PROCESSING)), **tenant)
        for each in created.dependent_flow_ids
    }
    for place, each in enumerate(created.ancestors):
        paused = None
        if held and each == created.parent_flow_id:
            paused = Pause(by="", at=meta.at, reason=held[0].reason, tree=True, by_flow_id=held[0].by_flow_id)
        others[each] = Flow(id=each, ancestors=created.ancestors[:place], paused=paused, **tenant)
    return others
