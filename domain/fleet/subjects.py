"""Operations, standing pauses and rules: what the history of each adds up to, and how readers see it.

`evolve` never checks and never raises: it is told what happened.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from functools import reduce
from typing import Any
from uuid import UUID, uuid5

import msgspec
from msgspec.structs import replace

from domain.fleet.events import (
    FleetEvent,
    OperationCancelled,
    OperationCompleted,
    OperationListed,
    OperationPaused,
    OperationResumed,
    OperationStarted,
    PauseRuleArmed,
    PauseRuleDeleted,
    PauseRuleSet,
    PauseRuleTripped,
    StandingPauseRemoved,
    StandingPauseSet,
)
from domain.flow import Meta
from domain.words import SYSTEM_USER

Json = dict[str, Any]


class State(StrEnum):
    """Where an operation, a standing pause or a rule stands."""

    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    ACTIVE = "active"
    REMOVED = "removed"
    ARMED = "armed"
    TRIPPED = "tripped"
    DELETED = "deleted"


class FleetRecorded(msgspec.Struct, frozen=True):
    """A fact with its place in the subject's history; versions count from 1 without gaps."""

    subject_id: UUID
    version: int
    meta: Meta
    fact: FleetEvent


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """What all of them have. One that does not exist has version 0.

    `reason` is why it was made, `changed_because` why it was paused, cancelled, removed or armed last.
    """

    id: UUID
    version: int = 0
    state: State = State.ACTIVE
    client_account_id: UUID | None = None
    engagement_id: UUID | None = None
    correlation_id: str = ""
    created_by: str = ""
    created_at: datetime | None = None
    updated_by: str = ""
    updated_at: datetime | None = None
    reason: str | None = None
    changed_because: str | None = None
    cause: Json | None = None

    @property
    def exists(self) -> bool:
        return self.version > 0


class Operation(Subject, frozen=True, kw_only=True):
    """The same asked of many flows. `total` and `position` are there once the flows are chosen."""

    verb: str = ""
    filter: Json = {}
    arguments: Json = {}
    rate_per_second: float | None = None
    total: int | None = None
    position: str | None = None
    ended_at: datetime | None = None
    error_code: str | None = None

    @property
    def under_way(self) -> bool:
        return self.exists and self.state in (State.RUNNING, State.PAUSED)


class StandingPause(Subject, frozen=True, kw_only=True):
    """New flows of a type, with a tag, or all begin paused."""

    flow_type: str | None = None
    tag: str | None = None
    operation_id: UUID | None = None

    def holds(self, flow_type: str, tags: Iterable[str]) -> bool:
        """Whether a new flow of this type with these tags begins paused."""
        return self.flow_type in (None, flow_type) and (self.tag is None or self.tag in tags)

    @property
    def pause_rule_id(self) -> UUID | None:
        """The rule that set it, where that was no person."""
        rule = (self.cause or {}).get("pause_rule_id")
        return UUID(rule) if rule is not None else None

    @property
    def said(self) -> str:
        """The reason that a flow's history gives for its pause."""
        parts = [f"of type {self.flow_type}"] if self.flow_type else []
        parts += [f"with tag {self.tag}"] if self.tag else []
        held = f"new flows {' '.join(parts)}".strip() if parts else "all new flows"
        why = f": {self.reason}" if self.reason else ""
        return f"standing pause {self.id} holds {held}{why}"[:4000]


class PauseRule(Subject, frozen=True, kw_only=True):
    """When to pause by itself. `armed` is the version since which it counts, `since` the time."""

    measure: str = ""
    limit: float = 0.0
    window_seconds: int = 0
    at_least: int = 1
    flow_type: str | None = None
    pause_running: bool = False
    alert_only: bool = False
    slower_than_seconds: float | None = None
    armed: int = 0
    since: datetime | None = None
    tripped_at: datetime | None = None
    figures: Json | None = None
    message: str | None = None
    standing_pause_id: UUID | None = None
    operation_id: UUID | None = None


AnySubject = Operation | StandingPause | PauseRule
ENDED = (State.COMPLETED, State.CANCELLED)


def owes(subject: AnySubject) -> bool:
    """Whether something is still to be done about it by the service."""
    if isinstance(subject, StandingPause):
        return subject.state is State.REMOVED and subject.operation_id is not None
    if isinstance(subject, PauseRule):
        return subject.state is State.TRIPPED and not subject.alert_only
    return subject.state is State.RUNNING


def follow_up_id(subject: Subject, what: str) -> UUID:
    """The id of what the next fact of the subject brings about."""
    return uuid5(subject.id, f"{what}:{subject.version + 1}")


def allowed(subject: AnySubject) -> list[str]:
    """The verbs that it takes now, in the words of the HTTP routes."""
    return {
        State.RUNNING: ["pause", "cancel"],
        State.PAUSED: ["resume", "cancel"],
        State.ACTIVE: ["delete"],
        State.ARMED: ["delete"],
        State.TRIPPED: ["arm", "delete"],
    }.get(subject.state, [])


def view(subject: AnySubject) -> Json:
    """As readers see it, but for an operation's progress, which is counted beside its history; times as datetime."""
    named = {Operation: "operation_id", StandingPause: "standing_pause_id", PauseRule: "pause_rule_id"}[type(subject)]
    shown: Json = msgspec.structs.asdict(subject)
    for name in ("id", "client_account_id", "engagement_id", "armed"):
        shown.pop(name, None)
    return {named: subject.id, **shown, "state": str(subject.state), "allowed": allowed(subject)}


def fold(subject: AnySubject, history: Iterable[FleetRecorded]) -> AnySubject:
    """The subject after all of `history`."""
    return reduce(evolve, history, subject)


def evolve(subject: AnySubject, recorded: FleetRecorded) -> AnySubject:
    """The subject after one more fact."""
    fact, meta = recorded.fact, recorded.meta
    common: Json = {
        "version": recorded.version,
        "updated_at": meta.at,
        "updated_by": subject.updated_by if meta.user_id == SYSTEM_USER else meta.user_id,
    }
    if not subject.exists:
        common |= {
            "client_account_id": meta.client_account_id,
            "engagement_id": meta.engagement_id,
            "correlation_id": meta.correlation_id,
            "created_by": meta.user_id,
            "created_at": meta.at,
        }
    return replace(subject, **common, **_changes(fact, recorded))


def _changes(fact: FleetEvent, recorded: FleetRecorded) -> Json:
    given: Json = msgspec.structs.asdict(fact)
    at = recorded.meta.at
    match fact:
        case OperationStarted():
            return given | {"state": State.RUNNING}
        case OperationListed():
            return given
        case OperationPaused():
            return {"state": State.PAUSED, "changed_because": fact.reason}
        case OperationResumed():
            return {"state": State.RUNNING, "changed_because": fact.reason}
        case OperationCancelled():
            ended: Json = {"state": State.CANCELLED, "ended_at": at, "error_code": fact.error_code}
            return ended | {"changed_because": fact.reason}
        case OperationCompleted():
            return {"state": State.COMPLETED, "ended_at": at}
        case StandingPauseSet():
            return given | {"state": State.ACTIVE}
        case StandingPauseRemoved():
            return {"state": State.REMOVED, "changed_because": fact.reason, "operation_id": fact.operation_id}
        case PauseRuleSet():
            return given | {"state": State.ARMED, "armed": recorded.version, "since": at}
        case PauseRuleTripped():
            return given | {"state": State.TRIPPED, "tripped_at": at}
        case PauseRuleArmed():
            again: Json = {"state": State.ARMED, "armed": recorded.version, "since": at}
            return again | {"changed_because": fact.reason}
        case PauseRuleDeleted():
            return {"state": State.DELETED, "changed_because": fact.reason}
        case _:  # pragma: no cover
            raise AssertionError(fact)
