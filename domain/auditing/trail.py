"""Entries of the audit trail: what each command, and each fact that nobody asked for, means to an auditor."""

from __future__ import annotations

import re
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from domain.auditing.redaction import Policy, redacted, text
from domain.ids import derived_id
from domain.words import SYSTEM_USER

Json = dict[str, Any]

TRAIL = UUID("5c6c8b1e-6c52-5d0d-9a53-2f6f1f0a7a11")
NOBODY = UUID(int=0)
"""The flow id of what is about no flow."""


class Category(StrEnum):
    """What an entry is about."""

    FLOW_LIFECYCLE = "flow_lifecycle"
    FLOW_EXECUTION = "flow_execution"
    USER_ACTION = "user_action"
    SYSTEM_EVENT = "system_event"
    SECURITY_EVENT = "security_event"
    COMPLIANCE_EVENT = "compliance_event"
    PERFORMANCE_EVENT = "performance_event"
    ERROR_EVENT = "error_event"


class Level(StrEnum):
    """How much it matters."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"


class Source(StrEnum):
    """Where an entry comes from: a row of the command log, or an event of history."""

    COMMAND = "command"
    EVENT = "event"


class Entry(NamedTuple):
    """One entry. `source`, `place` and `part` say of what it was made: the place in its log, and the how-manieth of it.

    `restricted` entries are for operators alone: the tenant whose user caused them must not learn what they say.
    """

    source: str
    place: int
    part: int
    id: UUID
    at: datetime
    category: str
    level: str
    operation: str
    actor: str
    client_account_id: UUID
    engagement_id: UUID
    ip_address: str | None
    user_agent: str | None
    flow_id: UUID | None
    version: int | None
    outcome: str
    error_code: str | None
    correlation_id: str
    causation_id: str | None
    reason: str | None
    details: Json
    restricted: bool


class Said(NamedTuple):
    """A row of the command log, as far as an entry is made of it; `error` and `body` are JSON as it was kept."""

    n: int
    at: datetime
    client_account_id: UUID
    engagement_id: UUID
    user_id: str
    command_id: str
    command: str
    flow_id: UUID
    source: str
    outcome: str
    version: int
    error: str | None
    correlation_id: str
    causation_id: str | None
    expected_version: int | None
    ip_address: str | None
    user_agent: str | None
    body: bytes | None


class Happened(NamedTuple):
    """An event of history, as far as an entry is made of it."""

    position: int
    flow_id: UUID
    version: int
    topic: str
    at: datetime
    client_account_id: UUID
    engagement_id: UUID
    user_id: str
    command_id: str
    correlation_id: str
    causation_id: str | None
    source: str
    data: Json


class Kind(NamedTuple):
    """What a command or a fact is to an auditor."""

    operation: str
    category: Category
    level: Level = Level.INFO


_LIFE, _RUN, _SYSTEM = Category.FLOW_LIFECYCLE, Category.FLOW_EXECUTION, Category.SYSTEM_EVENT
_USER, _SAFE, _ERROR = Category.USER_ACTION, Category.SECURITY_EVENT, Category.ERROR_EVENT

COMMANDS: dict[str, Kind] = {
    "CreateFlow": Kind("create", _LIFE),
    "ExecutePhase": Kind("execute", _RUN),
    "PauseFlow": Kind("pause", _LIFE),
    "ResumeFlow": Kind("resume", _LIFE),
    "CancelFlow": Kind("cancel", _LIFE, Level.WARNING),
    "DeleteFlow": Kind("delete", _LIFE, Level.WARNING),
    "RollbackFlow": Kind("rollback", _LIFE, Level.WARNING),
    "StartIteration": Kind("iterate", _LIFE),
    "MigrateFlow": Kind("migrate", _LIFE),
    "CreateCheckpoint": Kind("create_checkpoint", _LIFE),
    "RetryFlow": Kind("retry", _RUN),
    "SkipPhase": Kind("skip", _RUN),
    "ProvideInput": Kind("provide_input", _USER),
    "SignalFlow": Kind("signal", _USER),
    "CompletePhase": Kind("complete_phase", _RUN, Level.DEBUG),
    "RecordSteps": Kind("record_steps", _RUN, Level.DEBUG),
    "FailPhase": Kind("fail_phase", _ERROR, Level.WARNING),
    "RequestInput": Kind("request_input", _RUN, Level.DEBUG),
    "HandBackRun": Kind("hand_back_run", _SYSTEM, Level.DEBUG),
    "SuspendRun": Kind("suspend_run", _SYSTEM, Level.DEBUG),
    "ReassignRun": Kind("take_over_run", _SYSTEM, Level.WARNING),
    "FireTimer": Kind("fire_timer", _SYSTEM, Level.DEBUG),
    "ReportChild": Kind("report_child", _SYSTEM, Level.DEBUG),
    "ReportDependency": Kind("report_dependency", _SYSTEM, Level.DEBUG),
    "FollowParent": Kind("follow_parent", _SYSTEM, Level.DEBUG),
    "FireSchedule": Kind("fire_schedule", _SYSTEM, Level.DEBUG),
    "ReportFiring": Kind("report_firing", _SYSTEM, Level.DEBUG),
    "BeginOperation": Kind("begin_operation", _SYSTEM),
    "ReportListed": Kind("report_listed", _SYSTEM, Level.DEBUG),
    "ReportDone": Kind("report_done", _SYSTEM, Level.DEBUG),
    "ImposeStandingPause": Kind("impose_standing_pause", _SYSTEM, Level.WARNING),
    "TripPauseRule": Kind("trip_pause_rule", _SYSTEM, Level.WARNING),
    "RetryParked": Kind("retry_parked", _USER),
    "DiscardParked": Kind("discard_parked", _USER, Level.WARNING),
    # reads and what else is noted by eventstore/audit/notes.py
    "CheckStatus": Kind("status_check", _USER, Level.DEBUG),
    "ListFlows": Kind("list", _USER, Level.DEBUG),
    "ReadAuditTrail": Kind("read_audit_trail", _USER),
    "ReadComplianceReport": Kind("read_compliance_report", _USER),
    "AccessRefused": Kind("access", _SAFE, Level.WARNING),
    "ForeignFlowRead": Kind("access_foreign_flow", _SAFE, Level.ERROR),
    "ApplyAuditRetention": Kind("apply_audit_retention", _SYSTEM, Level.WARNING),
}
"""Commands whose operation or weight does not follow from their name."""

SEVERITIES: dict[str, tuple[str, Level]] = {
    "export_audit_trail": ("critical", Level.CRITICAL),
    "export_evidence": ("critical", Level.CRITICAL),
    "read_unmasked_report": ("critical", Level.CRITICAL),
    "set_audit_retention": ("high", Level.ERROR),
    "place_legal_hold": ("high", Level.ERROR),
    "release_legal_hold": ("high", Level.ERROR),
    "access": ("high", Level.ERROR),
    "access_foreign_flow": ("high", Level.ERROR),
}
"""Security rules: operations that are security events whatever came of them, with their severity and level."""
REFUSALS = frozenset({"operator_only", "not_allowed", "not_an_assignee"})
"""Error codes of refusals that are security events of a medium severity."""

EVENTS: dict[str, tuple[Kind, tuple[str, ...]]] = {
    f"mfo.flow.{name}.v1": (kind, fields)
    for name, kind, fields in (
        (
            "PhaseCompleted",
            Kind("phase_completed", Category.PERFORMANCE_EVENT),
            ("phase_name", "run_id", "execution_time_ms", "resource_usage", "handler_versions", "reused_from"),
        ),
        (
            "PhaseFailed",
            Kind("phase_failed", _ERROR, Level.WARNING),
            ("phase_name", "run_id", "attempt", "error", "execution_time_ms", "resolution"),
        ),
        ("PhaseRetryScheduled", Kind("retry_scheduled", _SYSTEM), ("phase_name", "attempt", "delay_seconds")),
        (
            "PhasePostponed",
            Kind("phase_postponed", _SYSTEM, Level.WARNING),
            ("phase_name", "run_id", "attempt", "delay_seconds"),
        ),
        ("RunReassigned", Kind("run_taken_over", _SYSTEM, Level.WARNING), ("phase_name", "run_id", "token")),
        (
            "RecoveryStarted",
            Kind("recovery_started", _SYSTEM, Level.WARNING),
            ("phase_name", "action", "number", "at_most", "from_phase"),
        ),
        (
            "HookFailed",
            Kind("hook_failed", _ERROR, Level.WARNING),
            ("moment", "phase_name", "attempt", "error", "final"),
        ),
        ("InputRequested", Kind("input_requested", _SYSTEM), ("phase_name", "fields", "message", "question")),
        ("InputReminded", Kind("input_reminded", _SYSTEM), ("phase_name", "number")),
        ("InputProvided", Kind("input_provided", _USER), ("phase_name", "answered_by", "values")),
        ("FlowCompleted", Kind("flow_completed", _LIFE), ()),
        ("FlowFailed", Kind("flow_failed", _ERROR, Level.ERROR), ("phase_name", "error", "attempts")),
        (
            "FlowRolledBack",
            Kind("flow_rolled_back", _LIFE, Level.WARNING),
            ("phase_name", "to_version", "checkpoint_id", "undone"),
        ),
        ("FlowMigrated", Kind("flow_migrated", _LIFE), ("from_version", "to_version", "back")),
    )
}
"""Facts that get an entry of their own, and what of them is shown; what merely carries out a command has that command's."""
_NAMES = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def kind_of(command: str, source: str) -> Kind:
    """What a command is to an auditor."""
    known = COMMANDS.get(command)
    if known is not None:
        return known
    operation = _NAMES.sub("_", command).lower()
    if operation in SEVERITIES:
        return Kind(operation, _SAFE, SEVERITIES[operation][1])
    return Kind(operation, _USER if source in {"http", "kafka", "cli"} else _SYSTEM)


def of_command(said: Said, policy: Policy, *, foreign: bool = False) -> list[Entry]:
    """The entries of a command; `foreign`: it was for a flow of another tenant."""
    kind = kind_of(said.command, said.source)
    details: Json = {"command_id": said.command_id, "source": said.source}
    if said.expected_version is not None:
        details["expected_version"] = said.expected_version
    body = _object(said.body)
    if body:
        details["body"] = redacted(body, policy, path=("body",))
    error = _object(said.error)
    if error:
        details["error"] = redacted(error, policy, path=("error",))
    code = str(error["code"]) if error.get("code") else None
    category, level = kind.category, kind.level
    if said.outcome == "refused" and category is not _SAFE:
        category, level = (_SAFE, Level.WARNING) if code in REFUSALS else (_ERROR, Level.WARNING)
    elif said.outcome == "repeated":
        level = Level.DEBUG
    if category is _SAFE:
        severity, level = SEVERITIES.get(kind.operation, ("medium", level))
        details["severity"] = severity
    reason = body.get("reason")
    entry = Entry(
        source=Source.COMMAND,
        place=said.n,
        part=0,
        id=_id(Source.COMMAND, said.n, 0),
        at=said.at,
        category=category,
        level=level,
        operation=kind.operation,
        actor=said.user_id,
        client_account_id=said.client_account_id,
        engagement_id=said.engagement_id,
        ip_address=said.ip_address,
        user_agent=said.user_agent,
        flow_id=None if said.flow_id == NOBODY else said.flow_id,
        version=said.version or None,
        outcome=said.outcome,
        error_code=code,
        correlation_id=said.correlation_id,
        causation_id=said.causation_id,
        reason=text(reason, policy) if isinstance(reason, str) else None,
        details=details,
        restricted=said.command == "ForeignFlowRead",
    )
    if not foreign:
        return [entry]
    severity, level = SEVERITIES["access_foreign_flow"]
    again = entry._replace(
        part=1,
        id=_id(Source.COMMAND, said.n, 1),
        category=_SAFE,
        level=level,
        operation="access_foreign_flow",
        details={"severity": severity, "asked": kind.operation, "command_id": said.command_id},
        restricted=True,
    )
    return [entry, again]


def of_event(happened: Happened, policy: Policy) -> list[Entry]:
    """The entry of a fact, none where its command says it all."""
    known = EVENTS.get(happened.topic)
    if known is None:
        return []
    kind, fields = known
    data = happened.data
    shown = {name: value for name in fields if (value := data.get(name)) is not None}
    error = data.get("error")
    code = str(error["code"]) if isinstance(error, dict) and error.get("code") else None
    level = Level.ERROR if kind.category is _ERROR and data.get("final") else kind.level
    reason = data.get("reason")
    if isinstance(reason, dict):
        # of a recovery or a target that is left alone: `{class?, code, message}`
        shown["because"], reason = reason, reason.get("message")
    return [
        Entry(
            source=Source.EVENT,
            place=happened.position,
            part=0,
            id=_id(Source.EVENT, happened.position, 0),
            at=happened.at,
            category=kind.category,
            level=level,
            operation=kind.operation,
            actor=happened.user_id or SYSTEM_USER,
            client_account_id=happened.client_account_id,
            engagement_id=happened.engagement_id,
            ip_address=None,
            user_agent=None,
            flow_id=happened.flow_id,
            version=happened.version,
            outcome="happened",
            error_code=code,
            correlation_id=happened.correlation_id,
            causation_id=happened.causation_id,
            reason=text(reason, policy) if isinstance(reason, str) else None,
            details={"command_id": happened.command_id, "source": happened.source, **redacted(shown, policy)},
            restricted=False,
        )
    ]


def _id(source: str, place: int, part: int) -> UUID:
    return derived_id(TRAIL, f"{source}:{place}:{part}")


def next_part(entry: Entry, part: int, **changes: Any) -> Entry:
    """A further entry of the same origin."""
    return entry._replace(part=part, id=_id(entry.source, entry.place, part), **changes)


def _object(kept: str | bytes | None) -> Json:
    """The JSON object in what was kept; empty where there is none."""
    if not kept:
        return {}
    try:
        found = msgspec.json.decode(kept)
    except msgspec.DecodeError:
        return {}
    return found if isinstance(found, dict) else {}
