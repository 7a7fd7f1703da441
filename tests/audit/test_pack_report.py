"""What an evidence pack tells people of approvers, versions, prompts and cost; on a page, and printed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from domain.flow import Meta
from eventstore.audit.pack_report import Page, Told, as_html, as_pdf, summary

FLOW = uuid4()
META = Meta(
    at=datetime(2026, 11, 20, 12, tzinfo=UTC),
    client_account_id=uuid4(),
    engagement_id=uuid4(),
    user_id="maria",
    command_id="c",
    correlation_id="c",
)


def told(version: int, name: str, **data: Any) -> Told:
    return Told(FLOW, version, f"mfo.flow.{name}.v1", META, data)


EVENTS = [
    told(1, "FlowCreated", flow_type="discovery", flow_version="2.0.0"),
    told(2, "StepsCompleted", phase_name="field_mapping", results={"ask/1/0123456789abcdef": {"model": "m-1"}, "x": 1}),
    told(3, "PhaseFailed", phase_name="field_mapping", execution_time_ms=4, handler_versions={"map": "1"}),
    told(
        4,
        "PhaseCompleted",
        phase_name="field_mapping",
        execution_time_ms=6,
        resource_usage={"agents": {"total_tokens": 70}},
        handler_versions={"map": "2"},
    ),
    told(
        5,
        "InputProvided",
        phase_name="field_mapping",
        values={"approval": True},
        answered_by=["ann", "bob"],
        reason="<ok> Жё",
    ),
    told(6, "FlowMigrated", from_version="2.0.0", to_version="2.1.0"),
]


def test_the_summary_names_approvers_versions_prompts_and_cost() -> None:
    found = summary(EVENTS, {("discovery", "2.0.0"): "aa"})
    [approver] = found["approvers"]
    assert (approver["who"], approver["approved"], approver["reason"]) == (["ann", "bob"], True, "<ok> Жё")
    assert [(one["flow_version"], one["definition_sha256"]) for one in found["flow_types"]] == [
        ("2.0.0", "aa"),
        ("2.1.0", None),
    ]
    assert [one["handler_versions"] for one in found["code"]] == [{"map": "1"}, {"map": "2"}]
    [prompt] = found["prompts"]
    assert (prompt["question"], prompt["sha256_16"], prompt["model"]) == ("ask/1", "0123456789abcdef", "m-1")
    [cost] = found["cost"]
    assert (cost["attempts"], cost["execution_time_ms"], cost["total_tokens"]) == (2, 10, 70)


def test_it_is_a_page_and_can_be_printed() -> None:
    page = Page("Evidence of <x>", "lead", summary(EVENTS, {}), EVENTS, [])
    html = "".join(as_html(page))
    assert "Evidence of &lt;x&gt;" in html
    assert "&lt;ok&gt; Жё" in html
    assert "<h2>Commands</h2>" not in html
    printed = as_pdf(page)
    assert printed.startswith(b"%PDF-")
    assert printed == as_pdf(page)
