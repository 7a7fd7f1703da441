"""What happened to operations, standing pauses and rules: one class per fact.

A fact's wire name is `mfo.operation.<name>.v1`, `mfo.standing_pause.<name>.v1` or `mfo.pause_rule.<name>.v1`. What an
operation brings about in a flow is in the flow's own history, with the operation as its cause.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec

Json = dict[str, Any]


class FleetEvent(msgspec.Struct, frozen=True, kw_only=True):
    """A fact about one operation, standing pause or rule."""


class OperationStarted(FleetEvent, frozen=True, kw_only=True):
    """`filter` chooses the flows; `cause` says what began it where that was nobody: `{standing_pause_id}` or
    `{pause_rule_id, figures}`."""

    verb: str
    filter: Json
    reason: str | None = None
    arguments: Json = {}
    rate_per_second: float | None = None
    cause: Json | None = None


class OperationListed(FleetEvent, frozen=True, kw_only=True):
    """The flows are chosen, `total` of them, as the read model showed them when it had come to `position` in the log."""

    total: int
    position: str


class OperationPaused(FleetEvent, frozen=True, kw_only=True):
    reason: str | None = None


class OperationResumed(FleetEvent, frozen=True, kw_only=True):
    reason: str | None = None


class OperationCancelled(FleetEvent, frozen=True, kw_only=True):
    """No further flow is asked. `error_code` is `too_many_flows` where the service ended it."""

    reason: str | None = None
    error_code: str | None = None


class OperationCompleted(FleetEvent, frozen=True, kw_only=True):
    """Every flow was asked: so many took it, refused it, or keep it waiting because they are parked."""

    accepted: int
    refused: int
    parked: int


class StandingPauseSet(FleetEvent, frozen=True, kw_only=True):
    """New flows of this type, with this tag (both where both are given, all where neither is) begin paused from now on.

    `cause` is `{pause_rule_id, figures}` where a rule set it.
    """

    flow_type: str | None = None
    tag: str | None = None
    reason: str | None = None
    cause: Json | None = None


class StandingPauseRemoved(FleetEvent, frozen=True, kw_only=True):
    """New flows begin as they would. `operation_id` resumes those that it held."""

    reason: str | None = None
    operation_id: UUID | None = None


class PauseRuleSet(FleetEvent, frozen=True, kw_only=True):
    measure: str
    limit: float
    window_seconds: int
    at_least: int
    flow_type: str | None = None
    pause_running: bool = False
    reason: str | None = None
    alert_only: bool = False
    slower_than_seconds: float | None = None


class PauseRuleTripped(FleetEvent, frozen=True, kw_only=True):
    """The figure passed its limit. New flows begin paused by the standing pause; `operation_id` pauses those that are there.

    `figures` is what was counted in the window: `{ended, failed, error_rate, tokens_used, flows_begun, since}`. A rule that
    only alerts names no standing pause, and nothing is paused.
    """

    figures: Json
    message: str
    standing_pause_id: UUID | None = None
    operation_id: UUID | None = None


class PauseRuleArmed(FleetEvent, frozen=True, kw_only=True):
    reason: str | None = None


class PauseRuleDeleted(FleetEvent, frozen=True, kw_only=True):
    reason: str | None = None


OPERATION_EVENTS: tuple[type[FleetEvent], ...] = (
    OperationStarted,
    OperationListed,
    OperationPaused,
    OperationResumed,
    OperationCancelled,
    OperationCompleted,
)
STANDING_PAUSE_EVENTS: tuple[type[FleetEvent], ...] = (StandingPauseSet, StandingPauseRemoved)
PAUSE_RULE_EVENTS: tuple[type[FleetEvent], ...] = (PauseRuleSet, PauseRuleTripped, PauseRuleArmed, PauseRuleDeleted)
FLEET_EVENTS = (*OPERATION_EVENTS, *STANDING_PAUSE_EVENTS, *PAUSE_RULE_EVENTS)

OPERATION_PREFIX, STANDING_PAUSE_PREFIX, PAUSE_RULE_PREFIX = "mfo.operation.", "mfo.standing_pause.", "mfo.pause_rule."
FLEET_TOPICS: dict[type[FleetEvent], str] = {
    event: f"{prefix}{event.__name__}.v1"
    for prefix, events in (
        (OPERATION_PREFIX, OPERATION_EVENTS),
        (STANDING_PAUSE_PREFIX, STANDING_PAUSE_EVENTS),
        (PAUSE_RULE_PREFIX, PAUSE_RULE_EVENTS),
    )
    for event in events
}
FLEET_BY_TOPIC: dict[str, type[FleetEvent]] = {topic: event for event, topic in FLEET_TOPICS.items()}
