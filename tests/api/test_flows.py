"""Flows over HTTP: made, read, listed, deleted."""

from __future__ import annotations

import asyncio
from datetime import datetime
from uuid import UUID, uuid4, uuid5

import msgspec
import pytest
from psycopg.types.json import Jsonb

from api import documents
from tests.api.conftest import Api, new_tenant, problem
from tests.waiting import until


async def test_a_new_flow_tells_where_it_stands(api: Api) -> None:
    response = await api.post("/flows", {"flow_type": "discovery", "flow_name": "Production"})

    assert response.status_code == 201
    made = documents.FlowMade.model_validate(response.json())
    assert (made.flow_type, made.flow_name, made.status, made.current_phase) == (
        "discovery",
        "Production",
        "initialized",
        "data_import",
    )
    assert made.next_action.type == "execute_phase"
    assert made.next_action.required_inputs == ["import_file_id"]
    assert made.version == 1
    assert response.headers["etag"] == '"1"'
    assert response.headers["location"] == f"/api/v1/flows/{made.flow_id}"
    assert made.position.startswith("mfo:")
    assert made.created_at.utcoffset() is not None


async def test_with_auto_execute_the_answer_shows_the_first_phase_at_work(api: Api) -> None:
    made = await api.made(options={"auto_execute": True})

    assert (made["status"], made["next_action"]["type"], made["version"]) == ("processing", "wait", 2)


async def test_the_flow_id_follows_from_the_key(api: Api, key: str) -> None:
    body = {"flow_type": "discovery", "flow_name": "One"}
    response = await api.post("/flows", body, headers={"Idempotency-Key": key})

    assert UUID(response.json()["flow_id"]) == uuid5(api.account, key)


async def test_a_repeat_with_null_for_what_was_left_out_is_a_repeat(api: Api, key: str) -> None:
    body = {"flow_type": "discovery", "flow_name": "One"}
    nothing = dict.fromkeys(("flow_tags", "initial_data", "options", "dependent_flow_ids", "flow_description"))

    first = await api.post("/flows", body, headers={"Idempotency-Key": key})
    again = await api.post("/flows", body | nothing, headers={"Idempotency-Key": key})

    assert (again.status_code, again.json()) == (201, first.json())


async def test_a_flow_shows_its_row_and_more(api: Api) -> None:
    made = await api.made(flow_tags=["wave-1"], flow_description="All of it")

    response = await api.get(f"/flows/{made['flow_id']}")

    assert response.status_code == 200
    found = documents.FlowDetail.model_validate(response.json())
    assert found.flow_tags == ["wave-1"]
    assert found.flow_state == found.flow_persistence_data
    assert [phase.name for phase in found.phases][:2] == ["data_import", "field_mapping"]
    assert found.status == found.flow_status == "initialized"
    assert found.allowed == ["execute", "pause", "checkpoint", "cancel", "delete"]
    assert found.position == made["position"]
    assert response.headers["etag"] == '"1"'


async def test_the_replayed_flow_is_the_projected_one(api: Api) -> None:
    made = await api.made(options={"auto_execute": True})
    await api.complete(made["flow_id"], tables=["t"], ratio=1.5)
    await api.project(made["flow_id"])

    shown = (await api.get(f"/flows/{made['flow_id']}")).json()
    replayed = (await api.get(f"/flows/{made['flow_id']}?consistency=strong")).json()

    assert replayed == shown


async def test_a_flow_the_read_model_does_not_know_yet_is_replayed(api: Api) -> None:
    made = await api.made(project=False)

    response = await api.get(f"/flows/{made['flow_id']}?wait_ms=50")

    assert response.status_code == 200
    assert response.json()["version"] == 1


async def test_what_somebody_holds_is_not_sent_again(api: Api) -> None:
    made = await api.made()
    path = f"/flows/{made['flow_id']}"
    for route in (path, f"{path}/status", f"{path}/history"):
        same = await api.get(route, headers={"If-None-Match": '"1"'})
        assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", '"1"')
        other = await api.get(route, headers={"If-None-Match": '"7"'})
        assert other.status_code == 200


async def test_the_status_of_a_flow_at_work_is_always_sent(api: Api) -> None:
    made = await api.made(options={"auto_execute": True})

    response = await api.get(f"/flows/{made['flow_id']}/status", headers={"If-None-Match": '"2"'})

    assert response.status_code == 200
    assert response.headers["etag"] == '"2"'


async def test_the_status_has_the_shape_of_old(api: Api) -> None:
    made = await api.made(options={"auto_execute": True})
    await api.complete(made["flow_id"])
    await api.project(made["flow_id"])

    response = await api.get(f"/flows/{made['flow_id']}/status")

    status = documents.FlowStatusAnswer.model_validate(response.json())
    assert status.status == "processing"
    assert status.current_phase == "field_mapping"
    assert status.progress.phases_completed == ["data_import"]
    assert status.progress.phases_remaining[0] == "field_mapping"
    assert status.progress.percentage == 20.0
    assert status.progress.estimated_completion is not None
    assert status.performance.phase_times == {"data_import": 7}
    assert status.performance.total_execution_time_ms == 7
    assert status.next_action.type == "wait"
    assert status.mapping_suggestions == []


async def test_the_end_is_expected_by_what_earlier_flows_took(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.expected.KEPT_SECONDS", 0.0)
    made = await api.made(options={"auto_execute": True})

    async def expected() -> float:
        status = documents.FlowStatusAnswer.model_validate((await api.get(f"/flows/{made['flow_id']}/status")).json())
        assert status.progress.estimated_completion is not None
        return (status.progress.estimated_completion - api.side.committer.now()).total_seconds()

    # nothing is known but what the type says
    assert 0 < await expected() < 60
    times = {name: {"execution_time_ms": 1000 * n} for n, name in enumerate(("data_import", "field_mapping"), 1000)}
    async with api.side.pool.connection() as connection:
        for _ in range(3):
            other = await api.made()
            await connection.execute(
                "update flow_state_extensions_v1 set flow_status = 'completed', phase_execution_times = %s"
                " where flow_id = %s",
                (Jsonb(times), other["flow_id"]),
            )
    assert 1900 < await expected() < 2060


async def test_a_flow_that_waits_for_mappings_shows_them_even_when_they_are_many(api: Api) -> None:
    made = await api.made(options={"auto_execute": True})
    await api.complete(made["flow_id"])
    suggestion = {
        "source_file": "a.csv",
        "source_sheet": None,
        "source_field": "VM",
        "target_field": "name",
        "confidence": 1.0,
        "match_type": "exact",
        "samples": ["web01" * 40],
        "unit": None,
    }
    await api.want(made["flow_id"], ("mappings", "approval"), {"mapping_suggestions": [suggestion] * 500})
    await api.project(made["flow_id"])

    status = (await api.get(f"/flows/{made['flow_id']}/status")).json()

    documents.FlowStatusAnswer.model_validate(status)
    assert status["status"] == "waiting_for_input"
    assert status["next_action"]["type"] == "approve"
    assert status["mapping_suggestions"] == [suggestion] * 500


async def test_a_read_waits_for_the_version_it_wants(api: Api) -> None:
    made = await api.made()
    paused = (await api.post(f"/flows/{made['flow_id']}/pause")).json()
    path = f"/flows/{made['flow_id']}?min_version={paused['version']}"

    behind = problem(await api.get(f"{path}&wait_ms=50"), 504, "read_model_behind")
    assert "version 2" in behind["detail"]
    stale = await api.get(f"/flows/{made['flow_id']}")
    assert stale.json()["status"] == "initialized"
    strong = await api.get(f"{path}&consistency=strong")
    assert strong.json()["status"] == "paused"

    await api.project(made["flow_id"])
    seen = await api.get(path)
    assert seen.json()["status"] == "paused"


async def test_a_list_waits_for_the_position_it_wants(api: Api) -> None:
    made = await api.made()
    later = await api.made(project=False)

    problem(await api.get(f"/flows?min_position={later['position']}&wait_ms=50"), 504, "read_model_behind")
    problem(await api.get("/flows?consistency=strong&wait_ms=50"), 504, "read_model_behind")
    problem(await api.get("/flows?min_position=elsewhere:1"), 422, "parameter_invalid")
    seen = await api.get(f"/flows?min_position={made['position']}")
    assert [flow["flow_id"] for flow in seen.json()["flows"]] == [made["flow_id"]]
    await api.project(later["flow_id"])
    seen = await api.get(f"/flows?min_position={later['position']}")
    assert seen.json()["total"] == 2


async def test_the_list_filters(api: Api) -> None:
    first = await api.made(flow_name="Production estate", flow_tags=["wave-1"], flow_description="50% of all")
    second = await api.made(flow_name="Test_estate")
    await api.post(f"/flows/{second['flow_id']}/cancel")
    await api.project(second["flow_id"])

    async def ids(query: str) -> list[str]:
        response = await api.get(f"/flows{query}")
        assert response.status_code == 200, response.text
        page = documents.FlowList.model_validate(response.json())
        assert page.total == len(page.flows)
        return [str(flow.flow_id) for flow in page.flows]

    one, two = first["flow_id"], second["flow_id"]
    assert await ids("") == [two, one]
    assert await ids("?sort=created_at") == [one, two]
    assert await ids("?sort=flow_name") == [one, two]
    assert await ids("?sort=-status") == [one, two]
    assert await ids("?sort=-updated_at") == [two, one]
    assert await ids("?status=canceled,completed") == [two]
    assert await ids("?status=pending") == [one]
    assert await ids("?flow_type=Discovery") == [two, one]
    assert await ids("?tag=wave-1") == [one]
    assert await ids("?tag=wave") == []
    assert await ids("?search=production") == [one]
    assert await ids("?search=50%25") == [one]
    assert await ids("?search=esta") == [two, one]
    assert await ids("?search=ESTATE test") == [two]
    assert await ids("?search=state") == []
    assert await ids("?search=wave-1") == [one]
    assert await ids("?search=it's \\ 50") == []
    assert await ids("?search=%25%25") == []
    assert await ids(f"?parent_flow_id={uuid4()}") == []
    assert await ids(f"?created_after={first['created_at']}") == [two]
    assert await ids(f"?created_before={second['created_at']}") == [one]
    assert await ids("?created_before=2020-01-01T00:00:00") == []


async def test_deleted_flows_show_only_when_asked_for(api: Api) -> None:
    made = await api.made()
    response = await api.ask("DELETE", f"/flows/{made['flow_id']}?reason=duplicate")

    assert (response.status_code, response.content) == (204, b"")
    assert response.headers["etag"] == '"2"'
    assert response.headers["x-mfo-position"].startswith("mfo:")
    await api.project(made["flow_id"])
    assert (await api.get("/flows")).json()["flows"] == []
    gone = (await api.get("/flows?status=deleted")).json()["flows"]
    assert [flow["flow_id"] for flow in gone] == [made["flow_id"]]
    row = (await api.get(f"/flows/{made['flow_id']}")).json()
    assert row["deletion_metadata"]["reason"] == "duplicate"
    history = (await api.get(f"/flows/{made['flow_id']}/history")).json()
    assert [event["type"] for event in history["events"]] == ["mfo.flow.FlowCreated.v1", "mfo.flow.FlowDeleted.v1"]
    assert (await api.ask("DELETE", f"/flows/{made['flow_id']}")).status_code == 204


@pytest.mark.parametrize("sort", ["-created_at", "created_at", "flow_name", "-flow_name", "-updated_at", "status"])
async def test_pages_stay_whole_while_flows_come(api: Api, sort: str) -> None:
    old = [(await api.made(flow_name=f"flow {n % 3}"))["flow_id"] for n in range(7)]
    seen: list[str] = []
    cursor = ""
    for page in range(10):
        response = (await api.get(f"/flows?limit=2&sort={sort}{cursor}")).json()
        seen += [flow["flow_id"] for flow in response["flows"]]
        if response["next_cursor"] is None:
            break
        cursor = f"&cursor={response['next_cursor']}"
        if page < 2:
            await api.made(flow_name=f"flow {page}")

    assert len(seen) == len(set(seen))
    assert set(old) <= set(seen)


async def test_a_cursor_belongs_to_its_order(api: Api) -> None:
    for _ in range(3):
        await api.made()
    cursor = (await api.get("/flows?limit=1")).json()["next_cursor"]

    assert problem(await api.get(f"/flows?sort=flow_name&cursor={cursor}"), 422, "parameter_invalid")["errors"]
    for wrong in ("x", "äö", "bnVsbA", "W10", cursor[:-4], "WyItY3JlYXRlZF9hdCIsMSwieCJd"):
        problem(await api.get("/flows", params={"cursor": wrong}), 422, "parameter_invalid")


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=many", "limit"),
        ("status=asleep", "status"),
        ("status=,", "status"),
        ("flow_type=nothing", "flow_type"),
        ("sort=size", "sort"),
        ("created_after=yesterday", "created_after"),
        ("parent_flow_id=7", "parent_flow_id"),
        ("page=2", "page"),
        ("limit=1&limit=2", "limit"),
        ("search=%00", "search"),
        ("search=" + "x" * 256, "search"),
        ("wait_ms=60001", "wait_ms"),
        ("consistency=weak", "consistency"),
        ("min_position=mfo:x", "min_position"),
    ],
)
async def test_a_wrong_parameter_is_named(api: Api, query: str, field: str) -> None:
    body = problem(await api.get(f"/flows?{query}"), 422, "parameter_invalid")

    assert field in [error["field"] for error in body["errors"]]


async def test_history_is_paged_and_streamed(api: Api) -> None:
    made = await api.made(options={"auto_execute": True})
    flow_id = made["flow_id"]
    await api.complete(flow_id)
    everything = (await api.get(f"/flows/{flow_id}/history")).json()

    documents.History.model_validate(everything)
    events = everything["events"]
    assert [event["version"] for event in events] == list(range(1, everything["total"] + 1))
    assert events[0]["data"]["flow_name"] == "Estate"
    assert events[0]["actor"] == "maria@example.com"
    assert datetime.fromisoformat(events[0]["occurred_at"]).utcoffset() is not None
    assert [event["source"] for event in events][-1] == "worker"
    places = [int(event["position"].removeprefix("mfo:")) for event in events]
    assert places == sorted(places)

    seen, query = [], "limit=2"
    while True:
        page = (await api.get(f"/flows/{flow_id}/history?{query}")).json()
        seen += page["events"]
        if page["next_cursor"] is None:
            break
        query = f"limit=2&cursor={page['next_cursor']}"
    assert seen == events
    assert (await api.get(f"/flows/{flow_id}/history?after=2")).json()["events"] == events[2:]

    streamed = await api.get(f"/flows/{flow_id}/history?format=ndjson")
    assert streamed.headers["content-type"] == "application/x-ndjson"

    assert [msgspec.json.decode(line) for line in streamed.content.splitlines()] == events
    problem(await api.get(f"/flows/{flow_id}/history?cursor=x"), 422, "parameter_invalid")
    problem(await api.get(f"/flows/{flow_id}/history?min_version=99&wait_ms=10"), 504, "read_model_behind")


async def test_sensitive_values_are_nowhere_in_clear(api: Api) -> None:
    made = await api.made(initial_data={"credentials": {"user": "root", "word": "hunter2"}})
    path = f"/flows/{made['flow_id']}"
    for route in (path, f"{path}/status", f"{path}/history", f"{path}/history?format=ndjson"):
        assert "hunter2" not in (await api.get(route)).text


async def test_another_engagement_of_the_same_account_sees_nothing(api: Api) -> None:
    made = await api.made()
    other = {**new_tenant(), "X-Client-Account-ID": api.tenant["X-Client-Account-ID"]}

    problem(await api.get(f"/flows/{made['flow_id']}", headers=other), 404, "flow_not_found")
    assert (await api.get("/flows", headers=other)).json()["total"] == 0


async def test_a_user_may_have_any_letters(api: Api) -> None:
    name = {"X-User-ID": "Jürgen Śmigły".encode()}
    response = await api.post("/flows", {"flow_type": "discovery", "flow_name": "x"}, headers=name)

    event = (await api.get(f"/flows/{response.json()['flow_id']}/history")).json()["events"][0]
    assert event["actor"] == "Jürgen Śmigły"


async def test_whoever_makes_a_flow_may_wait_until_it_has_come_to_rest(api: Api) -> None:
    flow_id = str(uuid5(api.account, "patient"))
    body = {"flow_type": "discovery", "flow_name": "Estate", "initial_data": {"import_file_id": "f1"}}
    body["options"] = {"auto_execute": True}
    making = asyncio.create_task(
        api.post("/flows?wait=true&wait_ms=30000", body, headers={"Idempotency-Key": "patient"})
    )
    await until(lambda: _exists(api, flow_id))
    await api.want(flow_id, ("approval",), {})
    answer = await making
    made = answer.json()
    assert (answer.status_code, made["flow_id"], made["status"]) == (201, flow_id, "waiting_for_input")
    assert made["version"] == (await api.side.store.flow(UUID(flow_id))).version
    assert answer.headers["etag"] == f'"{made["version"]}"'
    assert made["next_action"]["type"] == "approve"


async def test_a_flow_that_goes_on_is_answered_as_it_stands_when_the_time_is_over(api: Api) -> None:
    body = {"flow_type": "discovery", "flow_name": "Estate", "initial_data": {"import_file_id": "f1"}}
    answer = await api.post("/flows?wait=true&wait_ms=1", {**body, "options": {"auto_execute": True}})
    assert (answer.status_code, answer.json()["status"]) == (201, "processing")
    assert (await api.post("/flows?wait=true", body)).json()["status"] == "initialized"


async def _exists(api: Api, flow_id: str) -> bool:
    return (await api.side.store.flow(UUID(flow_id))).exists
