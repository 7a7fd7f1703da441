"""Compliance over HTTP: which rules were broken, what touched security, and the scores that follow."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from api.answers import Json
from api.asking import DOOR, Asking
from api.audit import noted
from api.audit_documents import ComplianceReport
from api.audit_rows import SHOWN, AuditFilter, AuditRows
from api.dlq import holds_token
from api.openapi import answers
from api.problems import wrong_parameter
from api.reading import IsoTime, aware
from domain.auditing.compliance import FORMULA, score
from domain.errors import FlowNotFound, OperatorOnly
from eventstore.audit.notes import Note

router = APIRouter(prefix="/api/v1", dependencies=DOOR, tags=["audit"])


@router.get(
    "/compliance/report",
    summary="Compliance and security report",
    responses=answers(200, ComplianceReport, 400, 403, 404, 422, 503),
)
async def compliance_report(
    *,
    request: Request,
    asking: Asking,
    scope: Annotated[
        Literal["engagement", "client_account"] | None,
        Query(description="All engagements of the client account are for operators. Left out: the engagement."),
    ] = None,
    flow_id: Annotated[UUID | None, Query(description="Of one flow.")] = None,
    since: Annotated[IsoTime | None, Query(alias="from", description="Not before.")] = None,
    until: Annotated[IsoTime | None, Query(alias="to", description="Before.")] = None,
) -> Response:
    """How the rules were kept in a period: by one flow, by the engagement, or by the client account."""
    if flow_id is not None:
        if scope is not None:
            raise wrong_parameter("scope", "goes without flow_id")
        if await asking.rows.version(flow_id) is None:
            raise FlowNotFound
    is_operator = holds_token(request, asking)
    if scope == "client_account" and not is_operator:
        raise OperatorOnly
    wanted = AuditFilter(flow_id=flow_id, since=aware(since), until=aware(until))
    chosen = "flow" if flow_id is not None else scope or "engagement"
    said: dict[str, Any] = {"scope": chosen, "from": wanted.since, "to": wanted.until}
    await noted(asking, Note("ReadComplianceReport", flow_id, said))
    rows = AuditRows(asking.side, asking.tenant, operator=is_operator, account=scope == "client_account")
    figures, broken, rules = await rows.figures(wanted), await rows.broken(wanted), await rows.rules()
    violations, _ = await rows.page(_only(wanted, category=["compliance_event"], outcome=["violated"]), SHOWN, None)
    alerts, _ = await rows.page(_only(wanted, category=["security_event"], level=["error", "critical"]), SHOWN, None)
    return Json(
        {
            "scope": chosen,
            "flow_id": flow_id,
            "period": {"from": wanted.since, "to": wanted.until},
            "generated_at": figures["at"],
            "total_events": figures["total"],
            "compliance_events": figures["compliance"],
            "compliance_violations": figures["violations"],
            "compliance_score": score(figures["violations"], figures["total"]),
            "security_events": figures["security"],
            "security_alerts": figures["alerts"],
            "security_score": score(figures["alerts"], figures["total"]),
            "formula": FORMULA,
            "rules": [
                {
                    "rule": rule.name,
                    "title": rule.title,
                    "severity": rule.severity,
                    "violations": broken.get(rule.name, 0),
                }
                for rule in rules
            ],
            "violations": violations,
            "alerts": alerts,
        }
    )


def _only(wanted: AuditFilter, **narrower: list[str]) -> AuditFilter:
    return replace(wanted, **narrower)  # type: ignore[arg-type]
