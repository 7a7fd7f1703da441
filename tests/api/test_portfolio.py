"""What is not over: what it waits for, and when it should be done."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import pytest

from api.analytics_documents import Portfolio
from domain.commands import ReportDependency
from tests.api.conftest import Api, new_tenant, problem
from tests.api.test_analytics import finish

Json = dict[str, Any]


async def shown(api: Api, query: str = "") -> Json:
    return await api.shown(f"/portfolio{query}", Portfolio)


async def test_flows_are_done_one_after_the_other_that_wait_for_each_other(api: Api) -> None:
    first = (await api.made(flow_name="first"))["flow_id"]
    second = (await api.made(flow_name="second", dependent_flow_ids=[first]))["flow_id"]
    alone = (await api.made(flow_name="alone"))["flow_id"]
    over = (await api.made(options={"auto_execute": True}))["flow_id"]
    await finish(api, over)
    found = await shown(api)
    flows = {flow["flow_name"]: flow for flow in found["flows"]}
    assert set(flows) == {"first", "second", "alone"}
    assert flows["second"]["depends_on"] == [first]
    assert found["critical_path"]["flow_ids"] == [first, second]
    assert [flows[name]["critical"] for name in ("first", "second", "alone")] == [True, True, False]
    at = {name: datetime.fromisoformat(flow["forecast_finish_at"]) for name, flow in flows.items()}
    gap = (at["second"] - at["first"]).total_seconds()
    assert gap == pytest.approx(flows["second"]["remaining_seconds"], abs=0.01)
    assert flows["alone"]["basis"] == "expected"
    gates = {(gate["flow_id"], gate["kind"]): gate for gate in found["gates"]}
    assert set(gates) == {(first, "start"), (second, "dependency"), (alone, "start")}
    assert (gates[second, "dependency"]["other_flow_id"], gates[second, "dependency"]["blocked"]) == (first, False)
    assert (await shown(api, "?limit=1"))["truncated"] is True


async def test_what_a_person_has_to_do_is_a_gate(api: Api) -> None:
    first = (await api.made())["flow_id"]
    second = (await api.made(dependent_flow_ids=[first]))["flow_id"]
    asked = (await api.made(options={"auto_execute": True}))["flow_id"]
    await api.want(asked, ("mappings",), {})
    paused = (await api.made())["flow_id"]
    await api.post(f"/flows/{paused}/pause", {"reason": "lunch"})
    await api.post(f"/flows/{first}/cancel")
    await api.work(ReportDependency(flow_id=UUID(second), dependency_flow_id=UUID(first), status="cancelled"))
    for flow in (first, second, asked, paused):
        await api.project(flow)
    found = await shown(api)
    gates = {gate["flow_id"]: gate for gate in found["gates"]}
    assert {flow: gate["kind"] for flow, gate in gates.items()} == {
        second: "dependency",
        asked: "input",
        paused: "pause",
    }
    # it does not open by itself
    assert (gates[second]["other_status"], gates[second]["blocked"]) == ("cancelled", True)
    assert gates[paused]["message"].endswith(": lunch")


async def test_a_forecast_goes_by_past_flows_and_says_how_far_off_that_was(api: Api) -> None:
    for _ in range(8):
        await finish(api, (await api.made(options={"auto_execute": True}))["flow_id"])
    await api.made(options={"auto_execute": True})
    found = await shown(api)
    [flow], [error] = found["flows"], found["forecast_error"]
    assert flow["basis"] == "history"
    assert (error["past_flows"], error["tested_flows"]) == (8, 3)
    assert error["median_error"] is not None
    assert 0 <= error["median_error"] <= error["p90_error"]


async def test_a_portfolio_is_its_tenants_alone(api: Api) -> None:
    await api.made()
    api.tenant = new_tenant()
    assert (await shown(api))["flows"] == []
    assert (await shown(api))["critical_path"] is None
    problem(await api.get("/portfolio?flow_type=nothing"), 422, "parameter_invalid")
