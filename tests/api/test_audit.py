"""The audit trail over HTTP: who asked for what, and what became of it; and who reads that."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any
from uuid import UUID, uuid4

import pytest

from api.audit_rows import AuditFilter, AuditRows
from domain.auditing.compliance import RULES, Rule
from domain.auditing.policy import SHIPPED, AuditPolicy
from domain.commands import Tenant
from projections.audit_trail import Trail
from tests.api.conftest import Api, config_for, new_tenant, problem, started

Json = dict[str, Any]
TOKEN = "operators-secret-token"
OPERATOR = {"X-MFO-Operator-Token": TOKEN}


@pytest.fixture
async def api(shared_database_url: str) -> AsyncIterator[Api]:
    """The service, with a token for operators."""
    async with started(config_for(shared_database_url, operator_token=TOKEN)) as running:
        yield running


async def grow(api: Api, policy: AuditPolicy = SHIPPED) -> None:
    """The trail up to the end of both logs."""
    await api.service.notes.flush()
    trail = Trail(policy, "tests")
    async with api.side.pool.connection() as connection:
        while (done := await trail.round(connection)) is None or done.more:
            assert done is not None


async def listed(api: Api, path: str = "/audit", **params: Any) -> list[Json]:
    response = await api.get(path, params=params)
    assert response.status_code == 200, response.text
    found: list[Json] = response.json()["audit_events"]
    return found


async def a_day(api: Api) -> str:
    """A flow that was made, paused in vain, and deleted without a word."""
    flow_id: str = (await api.made(project=False))["flow_id"]
    await api.post(f"/flows/{flow_id}/resume", {"reason": "=cmd|' /C calc'!A0"}, headers={"X-Correlation-ID": flow_id})
    await api.ask("DELETE", f"/flows/{flow_id}")
    await grow(api)
    return flow_id


async def test_a_flows_trail_tells_every_command_the_newest_first(api: Api) -> None:
    flow_id = await a_day(api)
    found = await listed(api, f"/flows/{flow_id}/audit")
    told = [(each["operation"], each["outcome"], each["category"]) for each in found]
    # a violation is of the same moment as what broke the rule
    assert sorted(told[:2]) == [
        ("compliance_violation", "violated", "compliance_event"),
        ("delete", "accepted", "flow_lifecycle"),
    ]
    assert told[2:] == [("resume", "refused", "error_event"), ("create", "accepted", "flow_lifecycle")]
    refused = next(each for each in found if each["outcome"] == "refused")
    assert (refused["actor"], refused["error_code"]) == ("maria@example.com", "flow_not_paused")
    assert refused["details"]["body"]["reason"].startswith("=cmd")
    assert refused["user_agent"].startswith("python-httpx")


async def test_each_filter_narrows_it(api: Api) -> None:
    flow_id = await a_day(api)
    first = (await listed(api, operation="create"))[-1]
    begin, agent, address = first["at"], first["user_agent"], first["ip_address"]
    assert agent
    assert address
    for params, operations in (
        ({"operation": "delete,create"}, {"delete", "create"}),
        ({"category": "compliance_event"}, {"compliance_violation"}),
        ({"level": "warning", "outcome": "refused"}, {"resume"}),
        ({"correlation_id": flow_id}, {"resume"}),
        ({"actor": "nobody"}, set()),
        ({"causation_id": "c-7"}, set()),
        ({"ip_address": "10.9.8.7"}, set()),
        ({"user_agent": "curl/8"}, set()),
        ({"reason_contains": "=CMD"}, {"resume"}),
        ({"reason_contains": "%"}, set()),
        ({"user_agent": agent, "ip_address": address, "operation": "create"}, {"create"}),
        ({"flow_id": flow_id, "outcome": "accepted"}, {"create", "delete"}),
        ({"to": begin}, set()),
        ({"from": begin, "operation": "create"}, {"create"}),
    ):
        found = await listed(api, **params)
        assert {each["operation"] for each in found} == operations, params
    for params, field in (
        ({"category": "flows"}, "category"),
        ({"level": "loud"}, "level"),
        ({"outcome": "?"}, "outcome"),
    ):
        assert problem(await api.get("/audit", params=params), 422, "parameter_invalid")["errors"][0]["field"] == field
    problem(await api.get("/audit", params={"cursor": "x"}), 422, "parameter_invalid")
    problem(await api.get("/audit", params={"to": "yesterday"}), 422, "parameter_invalid")


async def test_pages_follow_each_other_though_reading_adds_to_the_trail(api: Api) -> None:
    await a_day(api)
    seen, cursor = [], None
    while True:
        page = (await api.get("/audit", params={"limit": 2, **({"cursor": cursor} if cursor else {})})).json()
        seen += [each["audit_event_id"] for each in page["audit_events"]]
        assert page["total"] >= 4
        await grow(api)
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert len(seen) == len(set(seen)) == 4
    reads = await listed(api, operation="read_audit_trail")
    assert len(reads) >= 2
    assert reads[0]["details"]["body"] == {"filters": {}}


async def test_it_is_exported_as_lines_a_document_and_a_table_that_runs_nothing(api: Api) -> None:
    flow_id = await a_day(api)
    path = f"/flows/{flow_id}/audit"
    lines = await api.get(path, params={"format": "ndjson", "reason": "for the auditor"})
    assert lines.headers["content-type"] == "application/x-ndjson"
    rows = [json.loads(line) for line in lines.text.splitlines()]
    assert len(rows) == 4
    assert (await api.get(path, params={"format": "json"})).json() == {
        "audit_events": rows,
        "total": None,
        "next_cursor": None,
    }
    table = await api.get(path, params={"format": "csv", "reason": "for the auditor"})
    assert "attachment" in table.headers["content-disposition"]
    cells = list(csv.DictReader(io.StringIO(table.text)))
    assert [each["audit_event_id"] for each in cells] == [each["audit_event_id"] for each in rows]
    assert next(each["reason"] for each in cells if each["outcome"] == "refused") == "'=cmd|' /C calc'!A0"
    assert not [cell for each in cells for cell in each.values() if cell[:1] in {"=", "+", "@"}]
    none = await api.get("/audit", params={"format": "json", "actor": "nobody", "reason": "?"})
    assert none.json() == {"audit_events": [], "total": None, "next_cursor": None}
    await grow(api)
    exports = await listed(api, operation="export_audit_trail")
    assert {(each["level"], each["category"], each["details"]["severity"]) for each in exports} == {
        ("critical", "security_event", "critical")
    }
    # the one without a reason breaks a rule
    broken = await listed(api, category="compliance_event")
    assert [each["details"]["operation"] for each in broken].count("export_audit_trail") == 1


async def test_an_export_that_is_read_slowly_keeps_no_connection(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    flow_id = UUID(await a_day(api))
    monkeypatch.setattr("api.audit_rows.STREAM_ROWS", 2)
    tenant = Tenant(UUID(api.tenant["X-Client-Account-ID"]), UUID(api.tenant["X-Engagement-ID"]), "maria")
    rows = AuditRows(api.side, tenant)
    page, _ = await rows.page(AuditFilter(flow_id=flow_id), 10, None)
    found = []
    async with aclosing(rows.every(AuditFilter(flow_id=flow_id))) as every:
        async for row in every:
            found.append(row)
            sizes = api.side.pool.get_stats()
            assert sizes["pool_available"] == sizes["pool_size"]
    assert found == page
    assert len(found) == 4


async def test_who_is_not_let_in_is_noted_and_tenants_learn_nothing_of_others(api: Api) -> None:
    flow_id, stranger = (await api.made(project=False))["flow_id"], new_tenant("eve")
    for path in (f"/flows/{flow_id}", f"/flows/{flow_id}/audit", f"/compliance/report?flow_id={flow_id}"):
        response = await api.client.get(f"/api/v1{path}", headers=stranger)
        problem(response, 404, "flow_not_found")
    await api.client.post(f"/api/v1/flows/{flow_id}/pause", headers=stranger)
    await api.client.get(f"/api/v1/flows/{uuid4()}", headers=stranger)
    problem(await api.client.put("/api/v1/audit/retention/user_action", headers=stranger), 403, "operator_only")
    await grow(api)
    api.tenant = stranger
    seen = [(each["operation"], each["category"]) for each in await listed(api)]
    assert ("access", "security_event") in seen
    assert ("pause", "error_event") in seen
    assert "access_foreign_flow" not in {operation for operation, _ in seen}
    response = await api.get("/audit", headers=OPERATOR, params={"operation": "access_foreign_flow"})
    found = response.json()["audit_events"]
    assert [(each["actor"], each["flow_id"], each["restricted"]) for each in found] == [("eve", flow_id, True)] * 4


async def test_reads_that_are_not_sensitive_are_told_where_that_is_wanted(shared_database_url: str) -> None:
    for wanted in (False, True):
        async with started(config_for(shared_database_url, audit_reads=wanted)) as api:
            flow_id = (await api.made())["flow_id"]
            for path in (f"/flows/{flow_id}/status", f"/flows/{flow_id}", "/flows?flow_type=discovery"):
                assert (await api.get(path)).status_code == 200
            await grow(api)
            reads = [each for each in await listed(api, level="debug") if each["operation"] in {"status_check", "list"}]
            told = [(each["operation"], each["flow_id"], each["outcome"]) for each in reads]
            looked = ("status_check", flow_id, "accepted")
            assert told == ([("list", None, "accepted"), looked, looked] if wanted else [])


async def test_uploads_that_are_refused_are_told(api: Api) -> None:
    assert (await api.post("/imports", files={"other": ("a.csv", b"name")})).status_code == 422
    problem(await api.post("/imports", content=b"x", headers={"Content-Length": str(1 << 40)}), 422, "upload_invalid")
    large = {"Content-Type": "multipart/form-data; boundary=x", "Content-Length": str(1 << 40)}
    problem(await api.post("/imports", content=b"x", headers=large), 413, "upload_too_large")
    await grow(api)
    told = [(each["outcome"], each["error_code"]) for each in await listed(api, operation="upload_import")]
    assert told == [("refused", "upload_too_large"), ("refused", "upload_invalid"), ("refused", "upload_invalid")]


async def test_the_compliance_report_counts_what_the_rules_found(api: Api) -> None:
    flow_id = await a_day(api)
    of_flow = (await api.get("/compliance/report", params={"flow_id": flow_id})).json()
    assert (of_flow["scope"], of_flow["total_events"], of_flow["compliance_violations"]) == ("flow", 4, 1)
    assert (of_flow["compliance_score"], of_flow["security_score"]) == (75.0, 100.0)
    assert "violations / total_events" in of_flow["formula"]
    assert {each["rule"]: each["violations"] for each in of_flow["rules"]}["flow_approval"] == 1
    [violation] = of_flow["violations"]
    assert violation["details"]["operation"] == "delete"
    await api.get("/audit", params={"format": "csv", "reason": "for the auditor"})
    await grow(api)
    whole = (await api.get("/compliance/report", params={"from": "2020-01-01T00:00:00Z"})).json()
    assert (whole["scope"], whole["security_alerts"]) == ("engagement", 1)
    assert whole["alerts"][0]["operation"] == "export_audit_trail"
    none = (await api.get("/compliance/report", params={"to": "2020-01-01T00:00:00Z"})).json()
    assert (none["total_events"], none["compliance_score"]) == (0, 100.0)
    account = await api.get("/compliance/report", params={"scope": "client_account"}, headers=OPERATOR)
    assert account.json()["total_events"] >= whole["total_events"]
    problem(await api.get("/compliance/report", params={"scope": "client_account"}), 403, "operator_only")
    problem(
        await api.get("/compliance/report", params={"scope": "engagement", "flow_id": flow_id}),
        422,
        "parameter_invalid",
    )


async def test_the_report_has_the_rules_of_the_deployment_too(api: Api) -> None:
    flow_id = (await api.made(project=False))["flow_id"]
    await api.post(f"/flows/{flow_id}/cancel", {"reason": "as agreed"})
    ticket = Rule(name="change_ticket", title="Name a ticket", operations=("cancel",), reason_fits=r"CHG-\d+")
    await grow(api, AuditPolicy(rules=(*RULES, ticket)))
    report = (await api.get("/compliance/report", params={"flow_id": flow_id})).json()
    assert report["rules"][-1] == {
        "rule": "change_ticket",
        "title": "Name a ticket",
        "severity": "medium",
        "violations": 1,
    }
    assert report["violations"][0]["details"]["what"] == r"the reason does not fit CHG-\d+"


async def test_operators_say_how_long_it_is_kept_and_what_is_held(api: Api, key: str) -> None:
    flow_id = (await api.made(project=False))["flow_id"]
    body = {"keep_days": 400, "reason": "law"}
    given = await api.ask("PUT", "/audit/retention/user_action", json=body, headers=OPERATOR)
    assert given.status_code == 200, given.text
    kept = (await api.get("/audit/retention")).json()["retention"]
    assert {each["category"]: each["keep_days"] for each in kept}["user_action"] == 400
    assert len(kept) == 8
    problem(await api.ask("PUT", "/audit/retention/flows", json=body, headers=OPERATOR), 422, "parameter_invalid")
    problem(
        await api.ask("PUT", "/audit/retention/user_action", json={"keep_days": 0}, headers=OPERATOR),
        422,
        "body_invalid",
    )
    once = {**OPERATOR, "Idempotency-Key": key}
    held = await api.post("/audit/holds", {"flow_id": flow_id, "reason": "in court"}, headers=once)
    assert held.status_code == 201
    assert (
        await api.post("/audit/holds", {"flow_id": flow_id, "reason": "in court"}, headers=once)
    ).json() == held.json()
    problem(
        await api.post("/audit/holds", {"flow_id": str(uuid4()), "reason": "?"}, headers=OPERATOR),
        404,
        "flow_not_found",
    )
    path = f"/audit/holds/{held.json()['hold_id']}"
    problem(await api.ask("DELETE", path), 403, "operator_only")
    assert (await api.ask("DELETE", path, headers=OPERATOR, params={"reason": "settled"})).status_code == 204
    problem(await api.ask("DELETE", path, headers=OPERATOR), 404, "hold_not_found")
    [hold] = (await api.get("/audit/holds")).json()["holds"]
    assert (UUID(hold["flow_id"]), hold["released_by"]) == (UUID(flow_id), "maria@example.com")
