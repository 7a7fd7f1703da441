"""The answers about the audit trail, its retention and compliance, as the OpenAPI document describes them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from api.documents import Document
from domain.auditing.trail import Category, Level
from domain.commands import Text

Outcome = Literal["accepted", "repeated", "refused", "happened", "violated"]


class AuditEvent(Document):
    """One entry of the audit trail."""

    audit_event_id: UUID
    at: datetime
    category: Category
    level: Level
    operation: str = Field(description="What was done: `create`, `pause`, `phase_failed`, `export_evidence`, ...")
    actor: str
    client_account_id: UUID
    engagement_id: UUID
    ip_address: str | None
    user_agent: str | None
    flow_id: UUID | None = Field(description="Or the schedule, operation or subscription that it is about.")
    version: int | None
    outcome: Outcome
    error_code: str | None = Field(description="Of a refusal or failure; of a violation the rule.")
    correlation_id: str
    causation_id: str | None
    reason: str | None
    details: dict[str, Any] = Field(description="What else is known, secrets filtered.")
    restricted: bool = Field(description="Shown to operators alone.")


class AuditEventList(Document):
    """A page of the audit trail, the newest first."""

    audit_events: list[AuditEvent]
    total: int | None = Field(description="How many match; null above 10,000, and in an export.")
    next_cursor: str | None


class RetentionOf(Document):
    """How long entries of a category are kept."""

    category: Category
    keep_days: int | None = Field(description="null: for ever.")
    set_by: str | None
    set_at: datetime | None


class RetentionList(Document):
    """Every category."""

    retention: list[RetentionOf]
    next_cursor: None = None


class LegalHold(Document):
    """What must not be removed, whatever its age."""

    hold_id: UUID
    flow_id: UUID | None = Field(description="null: the whole engagement.")
    reason: str
    placed_by: str
    placed_at: datetime
    released_by: str | None
    released_at: datetime | None


class LegalHoldList(Document):
    """The engagement's holds, the newest first, released ones too."""

    holds: list[LegalHold]
    next_cursor: None = None


class SetRetention(BaseModel):
    """How long entries of a category are to be kept from now on."""

    model_config = ConfigDict(extra="forbid")

    keep_days: int | None = Field(ge=1, le=36_500, strict=True, description="null: for ever.")
    reason: Text | None = Field(default=None, description="Who approved it, and why; without it a rule is broken.")


class PlaceHold(BaseModel):
    """What is to be held, and why."""

    model_config = ConfigDict(extra="forbid")

    flow_id: UUID | None = Field(default=None, description="Left out: the whole engagement.")
    reason: Text = Field(min_length=1)


class RuleReport(Document):
    """A rule, and how often it was broken."""

    rule: str
    title: str
    severity: str
    violations: int


class Period(Document):
    """From when to when; null: from the beginning, or to the end."""

    from_: datetime | None = Field(alias="from")
    to: datetime | None


class ComplianceReport(Document):
    """What the rules found, and what touched security."""

    scope: Literal["flow", "engagement", "client_account"]
    flow_id: UUID | None
    period: Period
    generated_at: datetime
    total_events: int
    compliance_events: int
    compliance_violations: int
    compliance_score: float
    security_events: int
    security_alerts: int = Field(description="Security events of the level error or critical.")
    security_score: float
    formula: str
    rules: list[RuleReport]
    violations: list[AuditEvent] = Field(description="The newest 200; `GET /audit?category=compliance_event` has all.")
    alerts: list[AuditEvent] = Field(description="The newest 200 security alerts.")
