"""The older system's orchestrator, asked as its callers ask it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import httpx
import pytest

from mfo.client import Client
from mfo.legacy.compat import (
    FlowError,
    FlowManagerAdapter,
    FlowOperationType,
    MasterFlowOrchestrator,
    MockFlowPerformanceMonitor,
    get_flow_manager,
)
from tests.api.conftest import Api
from tests.api.test_repairs import lost

Json = dict[str, Any]


@pytest.fixture
async def old(api: Api) -> AsyncIterator[MasterFlowOrchestrator]:
    """The orchestrator on the service in this process."""
    async with Client("http://service", *api.tenant.values()) as client:
        await client._http.aclose()
        client._http = httpx.AsyncClient(
            transport=httpx.ASGITransport(api.app), base_url="http://service", headers=api.tenant
        )
        context = SimpleNamespace(engagement_id=api.tenant["X-Engagement-ID"])
        yield MasterFlowOrchestrator(None, context, client=client)


async def made(api: Api, old: MasterFlowOrchestrator, **more: Any) -> str:
    flow_id, flow = await old.create_flow("discovery", "June", initial_state={"import_file_id": "f1"}, **more)
    assert flow["flow_name"] == "June"
    await api.project(flow_id)
    return flow_id


async def test_a_flow_goes_its_way_by_the_older_calls(api: Api, old: MasterFlowOrchestrator) -> None:
    flow_id = await made(api, old, flow_tags=["wave-1"])
    begun = await old.execute_phase(flow_id, "data_import")
    assert (begun["phase_name"], begun["status"]) == ("data_import", "processing")
    assert (await old.pause_flow(flow_id, reason="freeze"))["status"] == "paused"
    await api.project(flow_id)
    told = await old.get_flow_status(flow_id)
    assert (told["master_status"], told["child_status"], told["details"]["flow_tags"]) == (
        "paused",
        "paused",
        ["wave-1"],
    )
    assert (await old.resume_flow(flow_id))["status"] == "processing"
    assert [flow["flow_id"] for flow in await old.get_active_flows("discovery")] == [flow_id]
    assert (await old.delete_flow(flow_id))["deleted"] is True
    await api.project(flow_id)
    assert await old.get_active_flows() == []
    assert await old.list_flows_by_engagement(str(uuid4())) == []
    shown = (await api.get(f"/flows/{flow_id}/history")).json()["events"]
    assert shown[-1]["data"]["reason"] == "user_requested"


async def test_an_engagement_asked_for_counts_where_the_context_has_none(
    api: Api, old: MasterFlowOrchestrator, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow_id, mine = await made(api, old), api.tenant["X-Engagement-ID"]
    bare = MasterFlowOrchestrator(None, None, client=old._client)
    assert [flow["flow_id"] for flow in await bare.list_flows_by_engagement(mine.upper())] == [flow_id]
    assert await bare.list_flows_by_engagement(str(uuid4())) == []
    monkeypatch.setenv("MFO_URL", "http://127.0.0.1:1")
    monkeypatch.delenv("MFO_ENGAGEMENT_ID", raising=False)
    async with MasterFlowOrchestrator()._service(mine) as client:
        assert client.engagement_id == mine


async def test_master_and_child_start_pause_and_resume_together(api: Api, old: MasterFlowOrchestrator) -> None:
    flow_id = await made(api, old)
    started = await old.start_flow_with_atomic_sync(flow_id, "discovery")
    assert (started["master_status"], started["child_status"], started["success"]) == ("running", "processing", True)
    paused = await old.pause_flow_with_atomic_sync(flow_id, "discovery")
    assert (paused["master_status"], paused["child_status"]) == ("paused", "paused")
    resumed = await old.resume_flow_with_atomic_sync(flow_id, "discovery")
    assert (resumed["master_status"], resumed["version"]) == ("running", paused["version"] + 1)
    await api.project(flow_id)
    assert (await old.get_flow_health())["healthy"] is True


async def test_a_refusal_has_the_older_code(api: Api, old: MasterFlowOrchestrator) -> None:
    with pytest.raises(FlowError) as missing:
        await old.pause_flow(str(uuid4()))
    assert (missing.value.error_code, missing.value.older.category) == ("FLOW_002", "validation")
    assert missing.value.problem["code"] == "flow_not_found"
    flow_id = await made(api, old)
    with pytest.raises(FlowError) as state:
        await old.resume_flow(flow_id)
    assert state.value.error_code == "FLOW_003"
    assert "pause" in state.value.allowed
    with pytest.raises(FlowError, match="never removed"):
        await old.delete_flow(flow_id, soft_delete=False)
    with pytest.raises(FlowError) as unknown:
        await old.create_flow("collection")
    assert unknown.value.error_code == "CFG_001"


async def test_what_was_found_of_a_lost_flow_stands_in_its_status(api: Api, old: MasterFlowOrchestrator) -> None:
    flow_id = await lost(api)
    told = await old.get_flow_status(flow_id)
    assert (told["status"], told["metadata"]) == (
        "discovered",
        {"orphaned_data_found": True, "repair_available": True},
    )
    assert (told["correlation_method"], told["confidence"]) == ("persistence", 0.9)
    # of another id nothing is known but what was lost of late
    other = await old.get_flow_status(str(uuid4()))
    assert (other["correlation_method"], other["repair_options"]["available_repairs"][0]["flow_id"]) == (
        *("timestamp",),
        flow_id,
    )


async def test_of_an_unknown_flow_there_is_no_status(old: MasterFlowOrchestrator) -> None:
    with pytest.raises(FlowError):
        await old.get_flow_status(str(uuid4()))


async def test_the_older_managers_are_adapters(api: Api, old: MasterFlowOrchestrator) -> None:
    manager = FlowManagerAdapter(old)
    flow_id, _ = await manager.create_discovery_flow(flow_name="A", initial_data={"import_file_id": "f1"})
    assert (await manager.execute_phase(flow_id))["status"] == "processing"
    assert await manager.clear_flow_data(flow_id) is True
    assert get_flow_manager(None, "assessment").flow_type == "assessment"


async def test_without_a_service_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MFO_URL", "http://127.0.0.1:1")
    nobody = MasterFlowOrchestrator(None, SimpleNamespace(client_account_id="a", engagement_id="b", user_id="c"))
    with pytest.raises(FlowError) as away:
        await nobody.get_active_flows()
    assert away.value.error_code == "PROC_001"


def test_the_mock_monitor_measures_nothing() -> None:
    monitor = MockFlowPerformanceMonitor()
    assert monitor.start_operation("f", FlowOperationType.CREATE).startswith("mock-")
    monitor.end_operation("mock-1")
    assert monitor.get_flow_performance_summary("f")["message"] == "Performance monitoring disabled"
