"""Compliance rules, as data, and what they make of an entry of the trail.

A rule looks at the operations it names. `needs` are columns, or paths such as `details.body.ticket`, that must be there and
name somebody or something; `approved` wants a word of approval: a reason, or an approver among the details; `reason_fits` is a
regular expression that the reason must hold; `youngest_days` is the age that data must have reached before it may be removed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal
from uuid import UUID

import msgspec

from domain.auditing.trail import Category, Entry, Level, next_part

VIOLATION = "compliance_violation"
VIOLATED = "violated"
FORMULA = "(1 - violations / total_events) x 100, two decimals; 100 where there are no events"
FIRST_PART = 10

_DELETES = ("delete", "delete_schedule", "delete_subscription", "delete_pause_rule", "discard_parked")
_EXPORTS = ("export_evidence", "export_audit_trail", "read_unmasked_report")
_ADMIN = ("set_audit_retention", "place_legal_hold", "release_legal_hold")
_CHANGES = ("cancel", "rollback", "migrate", "skip", "update_schedule", "update_subscription")
_NO_ONE = frozenset({"", "anonymous", "unknown", "none", "null", "undefined", "-", "nobody", "n/a"})


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """One rule; without `operations` it looks at every entry of the categories, without those at every entry."""

    name: str
    title: str
    severity: Literal["low", "medium", "high", "critical"] = "medium"
    operations: tuple[str, ...] = ()
    categories: tuple[Category, ...] = ()
    needs: tuple[str, ...] = ()
    approved: bool = False
    reason_fits: str | None = None
    youngest_days: int | None = None


RULES: tuple[Rule, ...] = (
    Rule(
        name="data_retention",
        title="What is audited is kept for 90 days at least",
        severity="high",
        operations=("set_audit_retention", "apply_audit_retention"),
        youngest_days=90,
    ),
    Rule(
        name="access_control",
        title="Whoever deletes, changes, exports or administers has a name",
        severity="high",
        operations=(*_DELETES, *_CHANGES, *_EXPORTS, *_ADMIN),
        needs=("actor",),
    ),
    Rule(
        name="audit_completeness",
        title="Entries about flows say which flow, what, who and whose",
        categories=(Category.FLOW_LIFECYCLE, Category.FLOW_EXECUTION),
        needs=("flow_id", "operation", "actor", "client_account_id", "correlation_id"),
    ),
    Rule(
        name="flow_approval",
        title="What is deleted, exported or kept for a shorter time was approved: a reason or an approver is recorded",
        operations=("delete", *_EXPORTS, "set_audit_retention", "release_legal_hold"),
        approved=True,
    ),
)


def violated(entry: Entry, rules: Sequence[Rule] = RULES) -> list[tuple[Rule, str]]:
    """The rules that an entry breaks, each with what is missing. What was refused or repeated breaks none."""
    if entry.outcome in {"refused", "repeated"} or entry.restricted:
        return []
    found: list[tuple[Rule, str]] = []
    for rule in rules:
        if rule.operations and entry.operation not in rule.operations:
            continue
        if rule.categories and entry.category not in rule.categories:
            continue
        missing = [name for name in rule.needs if _is_missing(entry, name)]
        if missing:
            found.append((rule, f"missing: {', '.join(missing)}"))
        elif rule.approved and not _approved(entry):
            found.append((rule, "neither a reason nor an approver is recorded"))
        elif rule.reason_fits is not None and not re.search(rule.reason_fits, entry.reason or ""):
            found.append((rule, f"the reason does not fit {rule.reason_fits}"))
        elif rule.youngest_days is not None and (days := _days(entry)) is not None and days < rule.youngest_days:
            found.append((rule, f"{days} days, at least {rule.youngest_days} are wanted"))
    return found


def violations(entries: Sequence[Entry], rules: Sequence[Rule] = RULES) -> list[Entry]:
    """The entries of the violations of these, which come of one origin."""
    found = [(entry, rule, what) for entry in entries for rule, what in violated(entry, rules)]
    return [
        next_part(
            entry,
            FIRST_PART + number,
            category=Category.COMPLIANCE_EVENT,
            level=Level.WARNING,
            operation=VIOLATION,
            outcome=VIOLATED,
            error_code=rule.name,
            details={
                "rule": rule.name,
                "title": rule.title,
                "severity": rule.severity,
                "what": what,
                "operation": entry.operation,
                "audit_event_id": str(entry.id),
            },
        )
        for number, (entry, rule, what) in enumerate(found)
    ]


def score(faults: int, total: int) -> float:
    """How good it looks, by FORMULA; 0 at the least."""
    return round(max(0.0, 1 - faults / total) * 100, 2) if total else 100.0


def _approved(entry: Entry) -> bool:
    body = _body(entry)
    return bool((entry.reason or "").strip() or body.get("approved_by") or body.get("approval"))


def _is_missing(entry: Entry, name: str) -> bool:
    """Whether a column, or what stands at a path of the details, names nobody and nothing."""
    first, _, path = name.partition(".")
    value = getattr(entry, first)
    if isinstance(value, UUID):
        return False
    for part in path.split(".") if path else ():
        value = value.get(part) if isinstance(value, dict) else None
    return value is None or value == [] or str(value).strip().lower() in _NO_ONE


def _days(entry: Entry) -> int | None:
    days = _body(entry).get("keep_days")
    return days if isinstance(days, int) else None


def _body(entry: Entry) -> dict[str, Any]:
    body = entry.details.get("body")
    return body if isinstance(body, dict) else {}
