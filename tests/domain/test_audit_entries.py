"""What commands and facts mean to an auditor, and which of them break a rule."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest

from domain.auditing.compliance import RULES, Rule, score, violated, violations
from domain.auditing.redaction import FILTERED, Policy
from domain.auditing.trail import NOBODY, Category, Entry, Happened, Said, of_command, of_event

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
FLOW, ACCOUNT, ENGAGEMENT = uuid4(), uuid4(), uuid4()


def said(command: str = "CreateFlow", body: Any = None, error: Any = None, **changes: Any) -> Said:
    given = Said(
        n=7, at=AT, client_account_id=ACCOUNT, engagement_id=ENGAGEMENT, user_id="maria", command_id="c-7", command=command,
        flow_id=FLOW, source="http", outcome="accepted", version=1, error=json.dumps(error) if error else None,
        correlation_id="corr", causation_id=None, expected_version=None, ip_address="10.0.0.1", user_agent="curl",
        body=json.dumps(body).encode() if body is not None else None,
    )  # fmt: skip
    return given._replace(**changes)


def happened(name: str, data: Any, **changes: Any) -> Happened:
    given = Happened(
        position=9, flow_id=FLOW, version=3, topic=f"mfo.flow.{name}.v1", at=AT, client_account_id=ACCOUNT,
        engagement_id=ENGAGEMENT, user_id="worker", command_id="c-8", correlation_id="corr", causation_id="c-7",
        source="worker", data=data,
    )  # fmt: skip
    return given._replace(**changes)


def entry(command: str = "CreateFlow", body: Any = None, **changes: Any) -> Entry:
    [made] = of_command(said(command, body, **changes), Policy())
    return made


@pytest.mark.parametrize(
    ("command", "changes", "operation", "category", "level"),
    [
        ("CreateFlow", {}, "create", "flow_lifecycle", "info"),
        ("ExecutePhase", {"outcome": "repeated"}, "execute", "flow_execution", "debug"),
        ("PauseFlow", {"outcome": "refused"}, "pause", "error_event", "warning"),
        ("ProvideInput", {"outcome": "refused", "error": {"code": "not_an_assignee"}}, "provide_input", "security_event", "warning"),
        ("ReassignRun", {"source": "worker"}, "take_over_run", "system_event", "warning"),
        ("CreateSubscription", {}, "create_subscription", "user_action", "info"),
        ("SomethingNew", {"source": "timer"}, "something_new", "system_event", "info"),
        ("ExportEvidence", {"source": "cli"}, "export_evidence", "security_event", "critical"),
        ("AccessRefused", {"outcome": "refused", "error": {"code": "operator_only"}}, "access", "security_event", "error"),
    ],
)  # fmt: skip
def test_a_command_has_its_category_and_level(
    command: str, changes: Any, operation: str, category: str, level: str
) -> None:
    made = entry(command, **changes)
    assert (made.operation, made.category, made.level) == (operation, category, level)


def test_an_entry_says_who_what_when_why_and_from_where() -> None:
    body = {"reason": "lunch, pwd=x1", "initial_data": {"password": "p", "rows": 3}, "flow_name": "Estate"}
    made = entry("PauseFlow", body, expected_version=4)
    assert (made.at, made.actor, made.ip_address, made.user_agent) == (AT, "maria", "10.0.0.1", "curl")
    assert (made.flow_id, made.version, made.correlation_id) == (FLOW, 1, "corr")
    assert made.reason == f"lunch, pwd={FILTERED}"
    assert made.details["expected_version"] == 4
    assert made.details["body"]["initial_data"] == {"password": FILTERED, "rows": 3}
    assert made.details["body"]["flow_name"] == "Estate"
    assert entry().id == entry().id != entry(n=8).id


def test_an_error_stands_there_with_its_code() -> None:
    [made] = of_command(said(error={"code": "flow_is_over", "detail": "token=abc"}, outcome="refused"), Policy())
    assert made.error_code == "flow_is_over"
    assert made.details["error"]["detail"] == f"token={FILTERED}"


@pytest.mark.parametrize("kept", [b"", b"[1]", b"\xff", b'{"a": 1'])
def test_a_body_that_is_no_object_does_no_harm(kept: bytes) -> None:
    [made] = of_command(said()._replace(body=kept), Policy())
    assert "body" not in made.details


def test_what_is_about_no_flow_names_none() -> None:
    assert entry("ReadAuditTrail", flow_id=NOBODY, version=0)[13:15] == (None, None)


def test_who_asks_for_another_tenants_flow_is_told_of_to_operators_alone() -> None:
    first, again = of_command(
        said("PauseFlow", outcome="refused", error={"code": "flow_not_found"}), Policy(), foreign=True
    )
    assert (first.restricted, first.category) == (False, "error_event")
    assert (again.restricted, again.category, again.operation) == (True, "security_event", "access_foreign_flow")
    assert again.details["asked"] == "pause"
    assert entry("ForeignFlowRead", outcome="refused").restricted


def test_facts_that_tell_more_than_their_command_have_an_entry() -> None:
    [made] = of_event(
        happened("PhaseCompleted", {"phase_name": "data_import", "execution_time_ms": 7, "outputs": {"x": 1}}), Policy()
    )
    assert (made.category, made.operation, made.outcome) == ("performance_event", "phase_completed", "happened")
    assert made.details == {
        "command_id": "c-8",
        "source": "worker",
        "phase_name": "data_import",
        "execution_time_ms": 7,
    }
    assert of_event(happened("FlowCreated", {}), Policy()) == []
    [failed] = of_event(happened("FlowFailed", {"error": {"code": "io_failed", "message": "pwd=x1"}}), Policy())
    assert (failed.level, failed.error_code) == ("error", "io_failed")
    assert failed.details["error"]["message"] == f"pwd={FILTERED}"
    [hook] = of_event(happened("HookFailed", {"final": True, "error": {"message": "?"}}, user_id=""), Policy())
    assert (hook.level, hook.error_code, hook.actor) == ("error", None, "mfo")
    [over] = of_event(happened("RunReassigned", {"reason": "lapsed"}), Policy())
    assert (over.reason, over.category) == ("lapsed", "system_event")
    [again] = of_event(happened("PhasePostponed", {"reason": {"code": "target_open", "message": "busy"}}), Policy())
    assert (again.reason, again.details["because"]["code"]) == ("busy", "target_open")


@pytest.mark.parametrize(
    ("made", "rules"),
    [
        (entry("CreateFlow"), []),
        (entry("DeleteFlow"), ["flow_approval"]),
        (entry("DeleteFlow", {"reason": "done with"}), []),
        (entry("DeleteFlow", {"approved_by": ["ann"]}), []),
        (entry("DeleteFlow", {"reason": " "}, user_id="anonymous"), ["access_control", "audit_completeness", "flow_approval"]),
        (entry("DeleteFlow", user_id="", outcome="refused"), []),
        (entry("ExportEvidence", {"reason": "audit"}), []),
        (entry("ExportEvidence"), ["flow_approval"]),
        (entry("SetAuditRetention", {"reason": "law", "keep_days": 30}), ["data_retention"]),
        (entry("SetAuditRetention", {"reason": "law", "keep_days": 90}), []),
        (entry("SetAuditRetention", {"reason": "law"}), []),
        (entry("PauseFlow", flow_id=NOBODY), ["audit_completeness"]),
    ],
)  # fmt: skip
def test_the_rules_find_what_breaks_them(made: Entry, rules: list[str]) -> None:
    assert [rule.name for rule, _ in violated(made)] == rules


def test_a_violation_is_an_entry_that_names_the_rule_and_the_entry_that_broke_it() -> None:
    made = entry("DeleteFlow", user_id="unknown")
    found = violations([made])
    assert [one.part for one in found] == [10, 11, 12]
    assert len({one.id for one in (*found, made)}) == 4
    first = found[0]
    assert (first.category, first.level, first.operation) == (
        Category.COMPLIANCE_EVENT,
        "warning",
        "compliance_violation",
    )
    assert first.details["audit_event_id"] == str(made.id)
    assert first.details["what"] == "missing: actor"
    assert {rule.name for rule in RULES} == {"data_retention", "access_control", "audit_completeness", "flow_approval"}


def test_a_rule_of_ones_own_is_data() -> None:
    rule = Rule(name="no_skips", title="Nobody skips without a word", operations=("skip",), approved=True)
    assert [one.error_code for one in violations([entry("SkipPhase"), entry("PauseFlow")], [rule])] == ["no_skips"]


def test_the_score_is_what_its_formula_says() -> None:
    assert (score(0, 0), score(1, 3), score(5, 2), score(0, 9)) == (100.0, 66.67, 0.0, 100.0)
    assert isinstance(NOBODY, UUID)
