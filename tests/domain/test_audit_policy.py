"""Rules and redactions of one's own are data: what is wrong with them is said before anything runs."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from domain.auditing.compliance import RULES, Rule, violated
from domain.auditing.policy import MOST, SHIPPED, AuditPolicy, own, policy_of
from domain.auditing.redaction import FILTERED, text
from domain.errors import RegistrationError
from tests.domain.test_audit_entries import entry

TICKET: dict[str, Any] = {
    "name": "change_ticket",
    "title": "Whoever cancels or rolls back names a ticket",
    "severity": "high",
    "operations": ["cancel", "rollback"],
    "reason_fits": r"CHG-\d+",
}


def test_what_a_deployment_adds_stands_beside_what_is_shipped() -> None:
    given = own({"rules": [TICKET], "redact_paths": ["**.ssn"], "redact_patterns": [r"DE\d{20}"]})
    policy = policy_of(given, email=True, paths=("body.iban",))
    assert policy.rules[:-1] == RULES
    assert policy.rules[-1] == Rule(
        name="change_ticket",
        title="Whoever cancels or rolls back names a ticket",
        severity="high",
        operations=("cancel", "rollback"),
        reason_fits=r"CHG-\d+",
    )
    assert (policy.email, policy.phone, policy.paths) == (True, False, ("body.iban", "**.ssn"))
    assert text("pay to DE02120300000000202051, now", policy) == f"pay to {FILTERED}, now"
    assert policy_of(own({})) == SHIPPED


def test_a_policy_is_the_same_when_it_comes_back_from_the_store() -> None:
    policy = policy_of(own({"rules": [TICKET], "redact_patterns": ["x+"]}), phone=True)
    assert msgspec.json.decode(msgspec.json.encode(policy), type=AuditPolicy) == policy
    assert msgspec.json.decode(b'{"email":true,"phone":false,"paths":[]}', type=AuditPolicy).rules == RULES


@pytest.mark.parametrize(
    ("rule", "body", "what"),
    [
        (TICKET, {"reason": "as agreed"}, [r"the reason does not fit CHG-\d+"]),
        (TICKET, {}, [r"the reason does not fit CHG-\d+"]),
        (TICKET, {"reason": "CHG-12, as agreed"}, []),
        ({**TICKET, "reason_fits": None, "needs": ["details.body.ticket.id"]}, {}, ["missing: details.body.ticket.id"]),
        ({**TICKET, "reason_fits": None, "needs": ["details.body.ticket.id"]}, {"ticket": "x"}, ["missing: details.body.ticket.id"]),
        ({**TICKET, "reason_fits": None, "needs": ["details.body.ticket.id"]}, {"ticket": {"id": []}}, ["missing: details.body.ticket.id"]),
        ({**TICKET, "reason_fits": None, "needs": ["details.body.ticket.id"]}, {"ticket": {"id": 7}}, []),
        ({**TICKET, "reason_fits": None, "needs": ["ip_address"]}, {}, []),
    ],
)  # fmt: skip
def test_a_rule_of_ones_own_finds_what_breaks_it(rule: dict[str, Any], body: dict[str, Any], what: list[str]) -> None:
    rules = policy_of(own({"rules": [rule]})).rules[-1:]
    made = entry("CancelFlow", body)._replace(ip_address="10.0.0.7")
    assert [found for _, found in violated(made, rules)] == what


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"rule": []}, "unknown field `rule`"),
        ({"rules": [{**TICKET, "reson_fits": "x"}]}, r"unknown field `reson_fits` - at `\$.rules\[0\]`"),
        ({"rules": [{**TICKET, "severity": "dire"}]}, r"Invalid enum value 'dire' - at `\$.rules\[0\].severity`"),
        ({"rules": [{"name": "x"}]}, "missing required field `title`"),
        ({"rules": [{**TICKET, "title": " "}]}, "title is empty"),
        ({"rules": [{**TICKET, "name": "Change ticket"}]}, "a name is small letters"),
        ({"rules": [{**TICKET, "name": "flow_approval"}]}, "there is another of this name"),
        ({"rules": [TICKET, TICKET]}, "there is another of this name"),
        ({"rules": [{**TICKET, "operations": ["CancelFlow"]}]}, "'CancelFlow' cannot be an operation"),
        ({"rules": [{**TICKET, "categories": ["flows"]}]}, "Invalid enum value 'flows'"),
        ({"rules": [{**TICKET, "needs": ["ticket"]}]}, "needs 'ticket', which is no column of the trail"),
        ({"rules": [{**TICKET, "needs": ["details"]}]}, "needs 'details'"),
        ({"rules": [{**TICKET, "needs": ["details..x"]}]}, "needs 'details..x'"),
        ({"rules": [{**TICKET, "needs": ["actor.name"]}]}, "needs 'actor.name'"),
        ({"rules": [{**TICKET, "reason_fits": "("}]}, "'change_ticket': '\\(' is no regular expression"),
        ({"rules": [{**TICKET, "reason_fits": None}]}, "asks for nothing"),
        ({"redact_paths": ["body..iban"]}, "'body..iban' is not names"),
        ({"redact_paths": ["body.i*"]}, "'body.i\\*' is not names"),
        ({"redact_patterns": ["["]}, "redact_patterns: '\\[' is no regular expression"),
        ({"redact_patterns": ["x*"]}, "fits an empty text too"),
        ({"redact_paths": ["x"] * (MOST + 1)}, "redact_paths: 201 are given, at most 200"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_it_is_named(given: dict[str, Any], said: str) -> None:
    with pytest.raises(RegistrationError, match=said):
        own(given)
