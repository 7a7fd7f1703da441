"""What an owner should look at: one shape for every doubt that discovery raises."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any
from uuid import UUID

from estate.ids import id_of

SEVERITIES = ("critical", "high", "medium", "low", "info")


def issue(
    namespace: UUID,
    kind: str,
    severity: str,
    message: str,
    *,
    asset_id: str | None = None,
    field: str | None = None,
    source: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """One issue: `{issue_id, kind, severity, message, asset_id, field, source{file, sheet, row}}`; the id follows
    from the rest."""
    place = (source["file"], source["sheet"], source["row"]) if source else ()
    key = "|".join(map(str, ("issue", kind, asset_id, field, *place, message)))
    return {
        "issue_id": id_of(namespace, key),
        "kind": kind,
        "severity": severity,
        "message": message,
        "asset_id": asset_id,
        "field": field,
        "source": source,
    }


def summary(issues: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """`{total, by_severity, by_kind}` of a list of issues."""
    rows = list(issues)
    severities = Counter(row["severity"] for row in rows)
    return {
        "total": len(rows),
        "by_severity": {severity: severities[severity] for severity in SEVERITIES if severities[severity]},
        "by_kind": dict(Counter(row["kind"] for row in rows).most_common()),
    }
