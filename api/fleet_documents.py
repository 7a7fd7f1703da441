"""The shapes of the answers about operations, standing pauses and pause rules, as the OpenAPI document tells them."""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import Field

from api.documents import Document, HistoryEvent, Json
from domain.fleet.commands import Verb

Outcome = Literal["accepted", "refused", "parked", "left"]


class Subject(Document):
    """What operations, standing pauses and rules have in common."""

    correlation_id: str
    created_by: str
    created_at: datetime
    updated_by: str
    updated_at: datetime
    reason: str | None = Field(description="Why it was made.")
    changed_because: str | None = Field(description="Why it was paused, cancelled, removed or armed last.")
    cause: Json | None = Field(description="What made it where nobody did: a standing pause or a rule.")
    allowed: list[str] = Field(description="The verbs that it takes now.")
    version: int


class OperationProgress(Document):
    """How far an operation is."""

    done: int = Field(description="Flows that were asked.")
    total: int | None = Field(description="Flows that the filter chose; none before they are chosen.")
    accepted: int
    refused: int
    parked: int = Field(description="Flows that are parked and take the command later; they move when they have.")
    left: int | None
    percentage: float | None
    per_second: float | None = Field(description="Flows a second, as of late.")
    eta: datetime | None = Field(description="When it should be done at that pace, while it runs.")
    began_at: datetime | None
    moved_at: datetime | None
    flows_removed: bool = Field(
        description="Whether the list of its flows was removed, MFO_OPERATION_KEEP_DAYS after its end; the counts stay."
    )


class OperationView(Subject):
    """An operation over many flows."""

    operation_id: UUID
    state: Literal["running", "paused", "completed", "cancelled"]
    verb: Verb
    filter: Json
    arguments: Json
    rate_per_second: float | None
    total: int | None
    position: str | None = Field(
        description="The place in the log that the read model had come to when the flows were chosen."
    )
    ended_at: datetime | None
    error_code: str | None = Field(description="`too_many_flows` where the service ended it.")
    progress: OperationProgress


class OperationAnswered(OperationView):
    """An operation after a command; its `position` is that of the flows, `log_position` that of the command."""

    log_position: str | None


class OperationList(Document):
    """A page of operations, the newest first."""

    operations: list[OperationView]
    total: int
    next_cursor: str | None


class ChosenFlow(Document):
    """A flow that would be asked."""

    flow_id: UUID
    flow_type: str
    flow_name: str | None
    status: str
    current_phase: str | None
    version: int
    created_at: datetime
    allowed: list[str] | None = Field(description="What it takes now, by the read model.")


class DryRun(Document):
    """What an operation would do; nothing has been asked or kept."""

    dry_run: Literal[True]
    verb: Verb
    filter: Json
    total: int = Field(description="How many flows the filter chooses.")
    most: int = Field(description="How many one operation takes.")
    position: str = Field(description="The place in the log that the read model had come to.")
    flows: list[ChosenFlow]
    next_cursor: str | None


class AskedFlow(Document):
    """What became of one flow of an operation."""

    n: int
    flow_id: UUID
    outcome: Outcome
    version: int | None
    code: str | None
    detail: str | None
    at: datetime | None


class AskedFlows(Document):
    """A page of an operation's flows, in the order in which they are asked."""

    flows: list[AskedFlow]
    total: int
    removed: bool = Field(description="Whether the list was removed, long after the operation's end.")
    next_cursor: str | None


class FleetEvents(Document):
    """A page of events, ascending."""

    events: list[HistoryEvent]
    total: int
    next_cursor: str | None


class StandingPauseView(Subject):
    """A standing pause: new flows that match begin paused."""

    standing_pause_id: UUID
    state: Literal["active", "removed"]
    flow_type: str | None
    tag: str | None
    operation_id: UUID | None = Field(description="Once removed: the operation that resumes what it held.")


class StandingPauseAnswered(StandingPauseView):
    """A standing pause after a command."""

    log_position: str | None


class StandingPauseList(Document):
    """A page of standing pauses, the newest first."""

    standing_pauses: list[StandingPauseView]
    total: int
    next_cursor: str | None


class PauseRuleView(Subject):
    """A rule that pauses by itself."""

    pause_rule_id: UUID
    state: Literal["armed", "tripped", "deleted"]
    measure: Literal["error_rate", "tokens", "flows_begun", "slow_runs"]
    limit: float
    window_seconds: int
    at_least: int
    flow_type: str | None
    pause_running: bool
    alert_only: bool = Field(description="It pauses nothing: that it tripped is an event, and no more.")
    slower_than_seconds: float | None = Field(description="slow_runs: what counts as slow.")
    since: datetime | None = Field(description="Since when it counts.")
    tripped_at: datetime | None
    figures: Json | None = Field(description="What was counted when it tripped last.")
    message: str | None
    standing_pause_id: UUID | None = Field(description="What holds new flows since it tripped last.")
    operation_id: UUID | None = Field(description="What paused the others then.")


class PauseRuleAnswered(PauseRuleView):
    """A rule after a command."""

    log_position: str | None


class PauseRuleList(Document):
    """A page of rules, the newest first."""

    pause_rules: list[PauseRuleView]
    total: int
    next_cursor: str | None
