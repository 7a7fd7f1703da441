"""Figures of many flows, of one type, and of one flow."""

from __future__ import annotations

from asyncio import gather
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from api import sums
from api.analytics_documents import FlowAnalytics, FlowPerformance, TypePerformance
from api.answers import Json, etag, not_modified
from api.asking import DOOR, Asking, OfFlow
from api.flows import statuses_of, types_asked
from api.openapi import answers
from api.problems import FlowTypeNotFound, wrong_parameter
from api.reading import (
    AsRead,
    AsReadMany,
    IsoTime,
    aware,
    flow_row,
    list_is_due,
    words,
)
from api.rows import Row
from api.sums import ANALYTICS, Figure, Sums, Window
from domain.errors import TypeUnknown
from domain.measures import ERROR, quantile, tokens

router = APIRouter(prefix="/api/v1", dependencies=DOOR, tags=["analytics"])

# times that can be shifted by a month without leaving the calendar
EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)
TYPICAL_DAYS = 90
# a percentile may have been read too low by the error of its histogram
SLACK = 1 + ERROR

From = Annotated[
    IsoTime | None, Query(alias="from", description="Flows made at this time or later; without a zone: UTC.")
]
To = Annotated[IsoTime | None, Query(alias="to", description="Flows made before this time; without a zone: UTC.")]


@router.get(
    "/flows/analytics", summary="Figures of many flows", responses=answers(200, FlowAnalytics, 400, 422, 503, 504)
)
async def flow_analytics(
    *,
    asking: Asking,
    since: From = None,
    until: To = None,
    at: Annotated[
        IsoTime | None,
        Query(description="How all flows stood at this time: counts and rates alone. Not with `from` and `to`."),
    ] = None,
    flow_type: Annotated[str | None, Query(max_length=1000, description="Comma list of flow types.")] = None,
    status: Annotated[
        str | None, Query(max_length=1000, description="Comma list of statuses or their aliases.")
    ] = None,
    how: AsReadMany,
) -> Response:
    """Counts, rates, durations, errors, trends, resources, phases and the ways between them, of the tenant's flows of every
    status that were made in the window. `consistency=strong` waits until the figures hold all that has happened."""
    window = Window(*_within(since, until), await types_asked(asking, words(flow_type)), statuses_of(words(status)))
    moment = _in_range("at", at)
    if moment is not None and (since is not None or until is not None):
        raise wrong_parameter("at", "does not go with from and to: it counts all flows as they stood then")
    await list_is_due(asking, ANALYTICS, how)
    told = Sums(asking.side, asking.tenant)
    shown = {"window": _shown(window), "at": moment, "generated_at": asking.side.committer.now()}
    if moment is not None:
        return Json(shown | _stood(await told.stood(moment, window)))
    rows, (step, days) = await gather(told.figures(window), told.trend(window))
    return Json(shown | _whole(rows) | {"trend_step": step, "performance_trends": sums.trends(days)})


@router.get(
    "/flow-types/{type}/performance",
    summary="How flows of a type perform",
    responses=answers(200, TypePerformance, 400, 404, 422, 503, 504),
)
async def type_performance(
    *,
    asking: Asking,
    name: Annotated[str, Path(alias="type", description="Its name.")],
    since: From = None,
    until: To = None,
    how: AsReadMany,
) -> Response:
    """Average and 95th percentile of the time flows took, success rate, phases, errors, and what runs took day by day."""
    try:
        found = asking.side.types.get(name).name
    except TypeUnknown as unknown:
        raise FlowTypeNotFound(unknown.detail, allowed=unknown.allowed) from None
    window = Window(*_within(since, until), [found])
    await list_is_due(asking, ANALYTICS, how)
    told = Sums(asking.side, asking.tenant)
    rows, (step, days) = await gather(told.figures(window), told.trend(window))
    flows = sums.grouped(rows, "flow", lambda _: found).get(found, Figure())
    times = sums.durations(flows)
    return Json(
        {
            "flow_type": found,
            "window": _shown(window),
            "generated_at": asking.side.committer.now(),
            "total_flows": flows.n,
            "flows_by_status": _counts(flows.statuses),
            **sums.rates(flows.statuses),
            "average_execution_time_seconds": times["mean_seconds"],
            "p95_execution_time_seconds": times["p95_seconds"],
            "durations": times,
            "mean_work_seconds": _mean_work(flows),
            "phases": sums.phases(rows),
            "most_common_errors": sums.errors(rows),
            "resource_utilization": sums.resources(flows),
            "trend_step": step,
            "resource_usage_trends": sums.trends(days),
        }
    )


@router.get(
    "/flows/{flow_id}/performance",
    summary="How a flow performs",
    responses=answers(200, FlowPerformance, 304, 400, 404, 422, 503, 504),
)
async def flow_performance(
    *,
    request: Request,
    asking: Asking,
    wanted: OfFlow,
    how: AsRead,
) -> Response:
    """Time, processor and memory phase by phase, beside what is usual for flows of its type."""
    row = await flow_row(asking, wanted, how)
    same = not_modified(request, row["version"])
    if same is not None:
        return same
    window = Window(since=asking.side.committer.now() - timedelta(days=TYPICAL_DAYS), flow_types=[row["flow_type"]])
    rows = await Sums(asking.side, asking.tenant).figures(window, ("phase",))
    usual = sums.grouped(rows, "phase", lambda each: each["name"])
    return Json(_performance(row, usual), headers={"ETag": etag(row["version"])})


def _whole(rows: list[Row]) -> dict[str, Any]:
    """All figures but the trend."""
    by_type = sums.grouped(rows, "flow", lambda row: row["flow_type"])
    whole = sums.grouped(rows, "flow", lambda _: None).get(None, Figure())
    return {
        **_of_types({name: figure.statuses for name, figure in by_type.items()}),
        "types": [
            {
                "flow_type": name,
                "total_flows": figure.n,
                "flows_by_status": _counts(figure.statuses),
                **sums.rates(figure.statuses),
                "durations": sums.durations(figure),
                "mean_work_seconds": _mean_work(figure),
            }
            for name, figure in sorted(by_type.items())
        ],
        "durations": sums.durations(whole),
        "most_common_errors": sums.errors(rows),
        "resource_utilization": sums.resources(whole),
        "phases": sums.phases(rows),
        "phase_transitions": sums.transitions(rows),
    }


def _stood(rows: list[Row]) -> dict[str, Any]:
    """The figures as of a time: what there was, and how it had ended by then."""
    by_type: dict[str, dict[str, int]] = {}
    for row in rows:
        by_type.setdefault(row["flow_type"], {})[row["flow_status"]] = row["n"]
    nothing = (
        *("durations", "most_common_errors", "trend_step", "performance_trends", "resource_utilization"),
        *("phases", "phase_transitions"),
    )
    return {
        **_of_types(by_type),
        "types": [
            {
                "flow_type": name,
                "total_flows": sum(statuses.values()),
                "flows_by_status": _counts(statuses),
                **sums.rates(statuses),
                "durations": None,
                "mean_work_seconds": None,
            }
            for name, statuses in sorted(by_type.items())
        ],
        **dict.fromkeys(nothing),
    }


def _of_types(by_type: Mapping[str, Mapping[str, int]]) -> dict[str, Any]:
    statuses: dict[str, int] = {}
    for counts in by_type.values():
        for status, n in counts.items():
            statuses[status] = statuses.get(status, 0) + n
    return {
        "total_flows": sum(statuses.values()),
        "flows_by_type": {name: sum(counts.values()) for name, counts in sorted(by_type.items())},
        "flows_by_status": _counts(statuses),
        **sums.rates(statuses),
    }


def _counts(statuses: Mapping[str, int]) -> dict[str, int]:
    return {status: n for status, n in sorted(statuses.items()) if n}


def _mean_work(figure: Figure) -> float | None:
    return sums.seconds(figure.work_ms / figure.n) if figure.n else None


def _performance(row: Row, usual: Mapping[str, Figure]) -> dict[str, Any]:
    phases = [_phase(phase, row["resource_usage"].get(phase["name"], {}), usual) for phase in row["phases"]]
    peaks = [phase["peak_memory_mb"] for phase in phases if phase["peak_memory_mb"] is not None]
    metrics = row["performance_metrics"]
    return {
        "flow_id": row["flow_id"],
        "flow_type": row["flow_type"],
        "status": row["flow_status"],
        "version": row["version"],
        "total_phases": len(phases),
        "phases_completed": len(row["phases_completed"]),
        "total_execution_time_ms": metrics.get("total_execution_time_ms", 0),
        "elapsed_ms": round((row["updated_at"] - row["created_at"]).total_seconds() * 1000),
        "cpu_seconds": round(sum(phase["cpu_seconds"] or 0 for phase in phases), 3),
        "peak_memory_mb": max(peaks, default=None),
        "tokens": sum(phase["tokens"] for phase in phases),
        "phase_transitions_count": len(row["phase_transitions"]),
        "error_count": len(row["error_log"]),
        "retry_count": row["retry_count"],
        "agent_collaboration_entries": len(row["agent_collaboration_log"]),
        "learning_patterns_count": len(row["learning_patterns"]),
        "iteration_number": row["iteration_number"],
        "phases": phases,
    }


def _phase(phase: Row, used: Row, usual: Mapping[str, Figure]) -> dict[str, Any]:
    figure = usual.get(phase["name"])
    took, cpu = phase["execution_time_ms"], used.get("cpu_seconds")
    typical = slow = None
    if figure is not None and figure.n:
        p95 = quantile(figure.times, 0.95)
        typical = {
            "completed": figure.n,
            "p50_work_seconds": sums.seconds(quantile(figure.times, 0.5)),
            "p95_work_seconds": sums.seconds(p95),
        }
        slow = p95 is not None and took > p95 * SLACK if took else None
    return {
        "phase_name": phase["name"],
        "status": phase["status"],
        "attempts": phase["attempt"],
        "execution_time_ms": took,
        "cpu_seconds": cpu,
        "cpu_percent": round(100_000 * cpu / took, 1) if cpu is not None and took else None,
        "peak_memory_mb": used.get("peak_memory_mb"),
        "tokens": tokens(used),
        "typical": typical,
        "slower_than_p95": slow,
    }


def _within(since: datetime | None, until: datetime | None) -> tuple[datetime | None, datetime | None]:
    since, until = _in_range("from", since), _in_range("to", until)
    if since is not None and until is not None and since >= until:
        raise wrong_parameter("to", "must be later than from")
    return since, until


def _in_range(name: str, at: datetime | None) -> datetime | None:
    at = aware(at)
    if at is not None and not EARLIEST <= at <= LATEST:
        raise wrong_parameter(name, f"must lie between {EARLIEST:%Y} and {LATEST:%Y}")
    return at


def _shown(window: Window) -> dict[str, datetime | None]:
    return {"from": window.since, "to": window.until}
