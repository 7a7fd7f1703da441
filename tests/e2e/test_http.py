"""A discovery over HTTP: it stops for approval, and goes on by either way of giving it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from domain.types.discovery import DISCOVERY
from mfo.client import Client
from tests.e2e.support import MACHINES, client_of, until_status, upload

Json = dict[str, Any]

SUGGESTION = {
    "source_file",
    "source_sheet",
    "source_field",
    "target_field",
    "confidence",
    "match_type",
    "samples",
    "unit",
}


async def _execute(client: Client, flow_id: str, suggestions: list[Json]) -> Json:
    mappings = {one["source_field"]: one["target_field"] for one in suggestions if one["target_field"]}
    return await client.execute(flow_id, "field_mapping", inputs={"mappings": mappings, "approval": True})


async def _input(client: Client, flow_id: str, _: list[Json]) -> Json:
    return await client.tell(flow_id, "input", {"approval": True})


@pytest.mark.parametrize("approve", [_execute, _input], ids=["execute", "input"])
async def test_a_discovery_waits_for_approval_and_completes(
    environment: dict[str, str], tmp_path: Path, approve: Callable[[Client, str, list[Json]], Awaitable[Json]]
) -> None:
    async with client_of(environment) as client:
        flow = await client.create_flow(
            "discovery",
            "Approved by hand",
            initial_data={"import_file_ids": await upload(client, tmp_path)},
            options={"auto_execute": True},
        )
        flow_id = flow["flow_id"]
        asking = await until_status(client, flow_id, "waiting_for_input", flow["version"])
        assert asking["current_phase"] == "field_mapping"
        assert asking["next_action"]["type"] == "approve"
        suggestions = asking["mapping_suggestions"]
        assert all(set(one) >= SUGGESTION for one in suggestions)
        meant = {one["source_field"]: (one["target_field"], one["unit"]) for one in suggestions}
        assert meant["Server Name"][0] == "name"
        assert meant["Memory (MB)"] == ("memory_gb", "MB")

        answer = await approve(client, flow_id, suggestions)
        assert answer["version"] > asking["version"]
        status = await until_status(client, flow_id, "completed", answer["version"])
        names = [phase.name for phase in DISCOVERY.phases]
        assert status["progress"] == {
            "percentage": 100.0,
            "phases_completed": names,
            "phases_remaining": [],
            "estimated_completion": None,
        }
        assert status["next_action"]["type"] == "none"
        assert set(status["performance"]["phase_times"]) <= set(names)

        events = [event async for event in client.pages(f"/flows/{flow_id}/history", "events", params={"limit": 7})]
        assert [event["version"] for event in events] == list(range(1, status["version"] + 1))
        completed = [event["data"]["phase_name"] for event in events if "PhaseCompleted" in event["type"]]
        assert completed == names
        assert [event["type"] for event in events][-1] == "mfo.flow.FlowCompleted.v1"

        found = {"min_version": status["version"], "limit": 1000}
        assets = [row async for row in client.pages(f"/flows/{flow_id}/assets", "assets", params=found)]
        assert sorted(asset["name"] for asset in assets) == MACHINES
        assert {asset["name"]: asset["memory_gb"] for asset in assets} == {"web01": 4, "app01": 8, "db01": 32}
        edges = [row async for row in client.pages(f"/flows/{flow_id}/dependencies", "dependencies", params=found)]
        assert sorted((edge["source_name"], edge["target_name"], edge["port"]) for edge in edges) == [
            ("app01", "db01", 5432),
            ("web01", "app01", 8080),
        ]
        issues = [row async for row in client.pages(f"/flows/{flow_id}/issues", "issues", params=found)]
        assert all(issue["severity"] and issue["message"] for issue in issues)
        strong = await client.request("GET", f"/flows/{flow_id}", params={"consistency": "strong"})
        assert strong == await client.flow(flow_id)
