"""Figures of many flows, of a type and of a flow."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from api.analytics_documents import FlowAnalytics, FlowPerformance, TypePerformance
from domain.commands import CompletePhase
from domain.measures import ERROR
from tests.api.conftest import Api, new_tenant, problem

Json = dict[str, Any]
BROKEN = {"class": "permanent", "code": "file_broken", "message": "no", "retryable": False}
USED = {"cpu_seconds": 0.5, "peak_memory_mb": 100.0, "agents": {"total_tokens": 30}}
TYPE = "discovery"


async def finish(api: Api, flow_id: str, took_ms: int = 1000) -> None:
    """Every run of the flow comes to its result."""
    while (run := (await api.side.store.flow(UUID(flow_id))).run) is not None:
        done = {"outputs": {"rows": 1}, "execution_time_ms": took_ms, "resource_usage": USED}
        await api.work(CompletePhase(flow_id=UUID(flow_id), run_id=run.run_id, token=run.token, **done))
    await api.project(flow_id)


async def portfolio(api: Api) -> list[str]:
    """Two flows that completed, one that failed, one that waits to be begun, one deleted."""
    flows = [(await api.made(options={"auto_execute": True}))["flow_id"] for _ in range(3)]
    await finish(api, flows[0])
    await finish(api, flows[1], 3000)
    await api.fail(flows[2], BROKEN)
    await api.project(flows[2])
    flows += [(await api.made())["flow_id"], (await api.made())["flow_id"]]
    assert (await api.ask("DELETE", f"/flows/{flows[4]}")).status_code == 204
    await api.project(flows[4])
    return flows


async def analytics(api: Api, query: str = "") -> Json:
    return await api.shown(f"/flows/analytics{query}", FlowAnalytics)


async def test_all_flows_are_counted_whatever_became_of_them(api: Api) -> None:
    await portfolio(api)
    found = await analytics(api)
    assert found["total_flows"] == 5
    assert found["flows_by_type"] == {TYPE: 5}
    assert found["flows_by_status"] == {"completed": 2, "deleted": 1, "failed": 1, "initialized": 1}
    assert (found["success_rate"], found["error_rate"]) == (0.6667, 0.3333)
    assert found["types"][0]["flows_by_status"] == found["flows_by_status"]
    assert found["durations"]["completed"] == 2
    [error] = found["most_common_errors"]
    assert {
        "error_type": "permanent/file_broken",
        "count": 1,
        "flows": 1,
        "flow_types": [TYPE],
    }.items() <= error.items()
    assert error["recovery_rate"] == 0.0
    first = next(phase for phase in found["phases"] if phase["phase_name"] == "data_import")
    assert (first["completed"], first["failed_attempts"], first["mean_work_seconds"]) == (2, 1, 2.0)
    assert first["p95_work_seconds"] == pytest.approx(3, rel=ERROR)
    used = found["resource_utilization"]
    assert (used["cpu_seconds"], used["tokens"]) == (7.0, 420)
    assert used["max_peak_memory_mb"] == pytest.approx(100, rel=ERROR)
    ways = {(way["from"], way["to"]): way["count"] for way in found["phase_transitions"]}
    assert ways["data_import", "field_mapping"] == 2
    assert ways["data_import", "failed"] == 1
    # one day, or two around midnight
    told = [sum(day[name] for day in found["performance_trends"]) for name in ("total_flows", "completed", "failed")]
    assert (found["trend_step"], told) == ("day", [5, 2, 1])


async def test_a_window_holds_the_flows_that_were_made_in_it(api: Api) -> None:
    before = await api.made()
    between = (await api.get(f"/flows/{before['flow_id']}")).json()["created_at"]
    cut = (datetime.fromisoformat(between) + timedelta(microseconds=1)).isoformat().replace("+", "%2B")
    await api.made()
    assert (await analytics(api, f"?to={cut}"))["total_flows"] == 1
    assert (await analytics(api, f"?from={cut}"))["total_flows"] == 1
    assert (await analytics(api, f"?from={cut}&to=2999-01-01"))["total_flows"] == 1
    assert (await analytics(api, "?from=2001-01-01&to=2999-01-01"))["trend_step"] == "month"
    assert (await analytics(api, "?to=2001-01-01"))["performance_trends"] == []
    assert (await analytics(api, "?from=2999-01-01"))["success_rate"] is None


async def test_figures_are_narrowed_by_type_and_status(api: Api) -> None:
    await portfolio(api)
    found = await analytics(api, f"?status=failed,completed&flow_type={TYPE}")
    assert found["flows_by_status"] == {"completed": 2, "failed": 1}
    assert (await analytics(api, "?status=error"))["total_flows"] == 1
    problem(await api.get("/flows/analytics?flow_type=nothing"), 422, "parameter_invalid")
    problem(await api.get("/flows/analytics?status=lost"), 422, "parameter_invalid")


async def test_a_portfolio_is_told_as_it_stood(api: Api) -> None:
    flow = await api.made(options={"auto_execute": True})
    began = datetime.fromisoformat((await api.get(f"/flows/{flow['flow_id']}")).json()["created_at"])
    await finish(api, flow["flow_id"])

    async def stood(at: datetime) -> Json:
        found = await analytics(api, f"?at={at.isoformat().replace('+', '%2B')}")
        assert found["durations"] is None
        return dict(found["flows_by_status"])

    assert await stood(began - timedelta(microseconds=1)) == {}
    assert await stood(began) == {"processing": 1}
    assert await stood(datetime.now(UTC) + timedelta(days=400)) == {"completed": 1}
    problem(await api.get("/flows/analytics?at=2026-01-01&from=2025-01-01"), 422, "parameter_invalid")


@pytest.mark.parametrize(
    "query", ["from=2026-01-02&to=2026-01-01", "from=9999-12-31", "to=0001-01-01", "at=9999-12-31"]
)
async def test_a_window_that_cannot_be_is_refused(api: Api, query: str) -> None:
    problem(await api.get(f"/flows/analytics?{query}"), 422, "parameter_invalid")


async def test_figures_are_their_tenants_alone(api: Api) -> None:
    [flow, *_] = await portfolio(api)
    api.tenant = new_tenant()
    assert (await analytics(api))["total_flows"] == 0
    assert (await analytics(api, "?at=2999-01-01"))["total_flows"] == 0
    assert (await api.get(f"/flow-types/{TYPE}/performance")).json()["total_flows"] == 0
    problem(await api.get(f"/flows/{flow}/performance"), 404, "flow_not_found")


async def test_figures_hold_all_that_has_happened_when_that_is_asked_for(api: Api) -> None:
    flow = await api.made(project=False)
    problem(await api.get(f"/flows/analytics?min_position={flow['position']}&wait_ms=0"), 504, "read_model_behind")
    await api.project(flow["flow_id"])
    assert (await analytics(api, f"?min_position={flow['position']}"))["total_flows"] == 1


async def test_a_type_is_reported_on(api: Api) -> None:
    await portfolio(api)
    found = (await api.get(f"/flow-types/{TYPE}/performance")).json()
    TypePerformance.model_validate(found)
    assert (found["total_flows"], found["success_rate"]) == (5, 0.6667)
    assert found["p95_execution_time_seconds"] == found["durations"]["p95_seconds"]
    assert sum(day["cpu_seconds"] for day in found["resource_usage_trends"]) == 7.0
    problem(await api.get("/flow-types/nothing/performance"), 404, "flow_type_not_found")


async def test_a_flow_is_held_against_what_is_usual(api: Api) -> None:
    for took in (1000, 1000):
        await finish(api, (await api.made(options={"auto_execute": True}))["flow_id"], took)
    slow = (await api.made(options={"auto_execute": True}))["flow_id"]
    run = await api.run_of(slow)
    done = {"outputs": {"rows": 1}, "execution_time_ms": 60_000, "resource_usage": USED}
    await api.work(CompletePhase(flow_id=UUID(slow), run_id=run.run_id, token=run.token, **done))
    for _ in range(18):
        await finish(api, (await api.made(options={"auto_execute": True}))["flow_id"])
    await api.project(slow)
    answer = await api.get(f"/flows/{slow}/performance")
    found = answer.json()
    FlowPerformance.model_validate(found)
    first, second = found["phases"][:2]
    assert (first["execution_time_ms"], first["cpu_percent"], first["tokens"]) == (60_000, 0.8, 30)
    assert first["slower_than_p95"] is True
    assert first["typical"]["p50_work_seconds"] == pytest.approx(1, rel=ERROR)
    assert (second["cpu_seconds"], second["slower_than_p95"]) == (None, None)
    assert found["total_execution_time_ms"] == 60_000
    again = await api.get(f"/flows/{slow}/performance", headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304
