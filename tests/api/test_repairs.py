"""What does not fit the history of flows, over HTTP: found, repaired, and nothing left to do the second time."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest

from domain.children import child_status, master_status
from domain.words import Status
from tests.api.conftest import Api, new_tenant, problem

Json = dict[str, Any]


async def sql(api: Api, statement: str, *values: Any) -> list[Any]:
    async with api.side.pool.connection() as connection:
        cursor = await connection.execute(statement, values)
        return await cursor.fetchall() if cursor.description else []


async def lost(api: Api, **body: Any) -> str:
    """A flow whose history is gone; its row has stayed."""
    flow_id = (await api.made(**body))["flow_id"]
    for table, column in (("stored_events", "originator_id"), ("heads", "id")):
        await sql(api, f"delete from {table} where {column} = %s", UUID(flow_id))
    return str(flow_id)


async def assets_of(api: Api, flow_id: UUID, phase: str = "asset_inventory") -> None:
    await sql(
        api,
        "insert into assets_v1 (flow_id, client_account_id, engagement_id, phase_name, n, id, name, document)"
        " select %s, %s, %s, %s, n, 'a' || n, 'srv', '{}' from generate_series(1, 3) n",
        *(flow_id, api.account, UUID(api.tenant["X-Engagement-ID"]), phase),
    )


async def orphans(api: Api, query: str = "") -> list[Json]:
    response = await api.get(f"/flows/orphans{query}")
    assert response.status_code == 200, response.text
    found: list[Json] = response.json()["orphans"]
    return found


async def test_where_all_fits_nothing_is_found(api: Api) -> None:
    flow_id = (await api.made())["flow_id"]
    answer = (await api.get("/flows/orphans")).json()
    assert (answer["orphans"], answer["total"], answer["repair_complexity"]) == ([], 0, "none")
    options = (await api.get(f"/flows/{flow_id}/repair-options")).json()
    assert (options["available_repairs"], options["recommended_action"]) == ([], None)
    report = (await api.get("/reconciliation")).json()
    assert (report["total_flows"], report["reconciled_flows"], report["healthy"]) == (1, 1, True)
    repaired = await api.post(f"/flows/{flow_id}/repair")
    assert (repaired.json()["items_repaired"], repaired.json()["version"]) == (0, 1)


async def test_a_row_without_a_history_is_adopted_with_the_actor_and_only_once(api: Api, key: str) -> None:
    flow_id = await lost(api, flow_name="Lost", flow_tags=["old"])
    [found] = await orphans(api)
    assert (found["flow_id"], found["kind"], found["method"], found["confidence"]) == (
        flow_id,
        "row",
        "persistence",
        0.9,
    )
    problem(await api.get(f"/flows/{flow_id}"), 404, "flow_not_found")
    options = (await api.get(f"/flows/{flow_id}/repair-options")).json()
    assert options["recommended_action"] == "link_discovery_flow"
    repaired = await api.post(
        f"/flows/{flow_id}/repair", {"reason": "restored from a backup"}, headers={"Idempotency-Key": key}
    )
    assert repaired.json()["master_flow_created"] is True, repaired.text
    again = await api.post(
        f"/flows/{flow_id}/repair", {"reason": "restored from a backup"}, headers={"Idempotency-Key": key}
    )
    assert again.json() == repaired.json()
    await api.project(flow_id)
    assert (await orphans(api), (await api.get("/reconciliation")).json()["healthy"]) == ([], True)
    shown = (await api.get(f"/flows/{flow_id}")).json()
    assert (shown["flow_name"], shown["flow_tags"], shown["version"]) == ("Lost", ["old"], 1)
    [event] = (await api.get(f"/flows/{flow_id}/history")).json()["events"]
    assert (event["type"].split(".")[-2], event["actor"]) == ("FlowImported", "maria@example.com")
    assert event["data"]["origin"]["confidence"] == 0.9
    second = await api.post(f"/flows/{flow_id}/repair")
    assert (second.json()["items_repaired"], second.json()["version"]) == (0, 1)
    assert (await api.post(f"/flows/{flow_id}/execute")).status_code == 202


async def test_assets_without_a_flow_are_linked_to_a_new_one(api: Api) -> None:
    flow_id = uuid4()
    await assets_of(api, flow_id)
    [found] = await orphans(api)
    assert (found["kind"], found["method"], found["confidence"], found["affected_items"]) == (
        "assets",
        "context",
        0.7,
        3,
    )
    repaired = (await api.post(f"/flows/{flow_id}/repair", {"repair_type": "link_assets"})).json()
    assert (repaired["items_repaired"], repaired["status"]) == (3, "waiting_for_input")
    await api.project(flow_id)
    shown = (await api.get(f"/flows/{flow_id}")).json()
    assert shown["flow_name"] == f"Repaired Flow {str(flow_id)[:8]}"
    assert (shown["current_phase"], len(shown["phases_completed"])) == ("dependency_analysis", 4)
    assert await orphans(api) == []


async def uploaded(api: Api, name: str = "a.csv") -> str:
    response = await api.post("/imports", files={"file": (name, name.encode())})
    return str(response.json()["import_file_id"])


async def test_an_upload_that_no_flow_has_read_is_linked_to_a_new_one(api: Api) -> None:
    read, unread = await uploaded(api, "read.csv"), await uploaded(api, "unread.csv")
    several = await uploaded(api, "several.csv")
    await api.made(initial_data={"import_file_id": read})
    await api.made(initial_data={"import_file_ids": [several]})
    [found] = await orphans(api)
    assert (found["flow_id"], found["kind"], found["method"], found["confidence"], found["repair"]) == (
        *(unread, "import", "timestamp"),
        *(0.7, "link_data_import"),
    )
    repaired = (await api.post(f"/flows/{unread}/repair")).json()
    assert (repaired["flow_id"], repaired["master_flow_created"], repaired["status"]) == (unread, True, "initialized")
    await api.project(unread)
    shown = (await api.get(f"/flows/{unread}")).json()
    assert shown["flow_name"] == f"Repaired Flow {unread[:8]}"
    assert (await orphans(api), (await api.post(f"/flows/{unread}/repair")).json()["items_repaired"]) == ([], 0)
    assert (await api.post(f"/flows/{unread}/execute")).status_code == 202
    await sql(api, "update imports set created_at = created_at - interval '3 days' where id = %s", UUID(several))
    assert await orphans(api) == []


async def test_of_an_unknown_id_what_is_of_the_last_day_is_told_and_done_only_by_name(api: Api) -> None:
    nobody = uuid4()
    problem(await api.get(f"/flows/{nobody}/repair-options"), 404, "flow_not_found")
    lost_flow, upload = await lost(api, flow_name="Lost"), await uploaded(api)
    options = (await api.get(f"/flows/{nobody}/repair-options")).json()
    assert [
        (one["flow_id"], one["type"], one["method"], one["confidence"]) for one in options["available_repairs"]
    ] == [
        (lost_flow, "link_discovery_flow", "timestamp", 0.8),
        (upload, "link_data_import", "timestamp", 0.7),
    ]
    unnamed = problem(await api.post(f"/flows/{nobody}/repair"), 422, "parameter_invalid")
    assert unnamed["allowed"] == ["link_discovery_flow", "link_data_import"]
    repaired = (await api.post(f"/flows/{nobody}/repair", {"repair_type": "link_discovery_flow"})).json()
    assert (repaired["flow_id"], repaired["master_flow_created"]) == (lost_flow, True)
    [event] = (await api.get(f"/flows/{lost_flow}/history")).json()["events"]
    assert (event["data"]["origin"]["method"], event["data"]["origin"]["confidence"]) == ("timestamp", 0.8)
    await sql(api, "update imports set created_at = created_at - interval '25 hours' where id = %s", UUID(upload))
    problem(await api.get(f"/flows/{nobody}/repair-options"), 404, "flow_not_found")
    api.tenant = new_tenant()
    problem(await api.get(f"/flows/{nobody}/repair-options"), 404, "flow_not_found")


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ("update flow_state_extensions_v1 set version = 9 where flow_id = %s", "ahead"),
        ("update flow_state_extensions_v1 set flow_name = 'Forged' where flow_id = %s", "differs"),
        ("delete from flow_state_extensions_v1 where flow_id = %s", "missing"),
    ],
)
async def test_a_row_that_says_something_else_is_written_anew_from_history(api: Api, change: str, kind: str) -> None:
    flow_id = (await api.made(flow_name="True"))["flow_id"]
    await sql(api, change, UUID(flow_id))
    [wrong] = (await api.get("/reconciliation")).json()["inconsistencies"]
    assert (wrong["kind"], wrong["repair"]) == (kind, "rewrite_row")
    assert wrong["columns"] == (["flow_name"] if kind == "differs" else [])
    repaired = await api.post(f"/flows/{flow_id}/repair")
    assert (repaired.json()["repair_type"], repaired.json()["version"]) == ("rewrite_row", 2), repaired.text
    await api.project(flow_id)
    shown = (await api.get(f"/flows/{flow_id}")).json()
    assert (shown["flow_name"], shown["version"]) == ("True", 2)
    assert (await api.get("/reconciliation")).json()["healthy"] is True
    events = (await api.get(f"/flows/{flow_id}/history")).json()["events"]
    assert events[-1]["data"]["method"] == "replay"


async def test_what_is_found_is_the_tenants_alone_and_comes_in_pages(api: Api) -> None:
    mine = sorted([await lost(api, flow_name=f"Lost {n}") for n in range(3)])
    page = (await api.get("/flows/orphans?limit=2")).json()
    assert ([one["flow_id"] for one in page["orphans"]], page["total"]) == (mine[:2], 3)
    rest = await orphans(api, f"?limit=2&cursor={page['next_cursor']}")
    assert [one["flow_id"] for one in rest] == mine[2:]
    owner, api.tenant = api.tenant, new_tenant()
    assert await orphans(api) == []
    problem(await api.get(f"/flows/{mine[0]}/repair-options"), 404, "flow_not_found")
    problem(await api.post(f"/flows/{mine[0]}/repair"), 404, "flow_not_found")
    api.tenant = owner
    problem(await api.post(f"/flows/{mine[0]}/repair", {"repair_type": "magic"}), 422, "body_invalid")
    problem(await api.post(f"/flows/{mine[0]}/repair", {"repair_type": "link_assets"}), 422, "parameter_invalid")
    problem(await api.get("/flows/orphans?cursor=x"), 422, "parameter_invalid")


async def test_reconciliation_goes_on_from_page_to_page(api: Api) -> None:
    for n in range(3):
        await api.made(flow_name=f"Flow {n}")
    first = (await api.get("/reconciliation?limit=2")).json()
    assert (first["checked"], first["total_flows"]) == (2, 3)
    second = (await api.get(f"/reconciliation?limit=2&cursor={first['next_cursor']}")).json()
    assert (second["checked"], second["next_cursor"]) == (1, None)


@pytest.mark.parametrize("verb", [None, "execute", "pause", "cancel"])
async def test_master_and_child_are_told_from_one_stream(api: Api, verb: str | None) -> None:
    flow_id = (await api.made())["flow_id"]
    if verb:
        assert (await api.post(f"/flows/{flow_id}/{verb}")).status_code < 300
        await api.project(flow_id)
    [(status, child, done, doing)] = await sql(
        api,
        "select d.master_status, d.status, d.data_import_completed, f.next_action ->> 'type' from discovery_flows d"
        " join crewai_flow_state_extensions f using (flow_id) where d.flow_id = %s",
        UUID(flow_id),
    )
    assert child == child_status("discovery", Status(status), doing)
    assert (master_status(Status(status)), done) == (
        {None: "initialized", "execute": "running", "pause": "paused", "cancel": "failed"}[verb],
        False,
    )
