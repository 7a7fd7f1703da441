"""Operations, standing pauses and pause rules over HTTP."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from api.fleet_documents import (
    AskedFlows,
    DryRun,
    FleetEvents,
    OperationAnswered,
    OperationList,
    OperationView,
    PauseRuleAnswered,
    PauseRuleList,
    PauseRuleView,
    StandingPauseAnswered,
    StandingPauseList,
    StandingPauseView,
)
from consumers.operations import Runner
from tests.api.conftest import REACHED, Api, new_tenant, problem
from tests.waiting import until

Json = dict[str, Any]
ALL: Json = {"verb": "pause", "filter": {"all": True}}


async def started(api: Api, **fields: Any) -> Json:
    response = await api.post("/operations", {**ALL, **fields})
    assert response.status_code == 202, response.text
    operation: Json = response.json()
    OperationAnswered.model_validate(operation)
    assert response.headers["location"] == f"/api/v1/operations/{operation['operation_id']}"
    assert response.headers["etag"] == '"1"'
    return operation


async def shown(api: Api, *flows: str) -> None:
    """These flows are in the read model, which has come to the end of the log."""
    for flow_id in flows:
        await api.project(flow_id)
    async with api.side.pool.connection() as connection:
        await connection.execute(REACHED, ("crewai_flow_state_extensions", await api.side.store.end()))


async def carried_out(api: Api, operation_id: str, *flows: str) -> Json:
    """The operation after a runner has seen to it."""
    runner = Runner(api.side)

    async def over() -> Json | None:
        await shown(api, *flows)
        await runner.round()
        await runner.idle()
        found: Json = (await api.get(f"/operations/{operation_id}")).json()
        return found if found["state"] != "running" else None

    done: Json = await until(over, 60)
    return done


async def test_a_dry_run_names_the_flows_and_asks_none(api: Api) -> None:
    flows = [(await api.made(flow_tags=["wave-1"]))["flow_id"] for _ in range(3)]
    await api.made()
    await shown(api)
    body = {**ALL, "filter": {"tag": "wave-1"}, "dry_run": True}
    response = await api.post("/operations?limit=2", body)
    assert response.status_code == 200, response.text
    first = response.json()
    DryRun.model_validate(first)
    assert (first["total"], [each["flow_id"] for each in first["flows"]]) == (3, flows[:2])
    assert "pause" in first["flows"][0]["allowed"]
    rest = (await api.post(f"/operations?limit=2&cursor={first['next_cursor']}", body)).json()
    assert ([each["flow_id"] for each in rest["flows"]], rest["next_cursor"]) == (flows[2:], None)
    assert (await api.get("/operations")).json()["total"] == 0


async def test_an_operation_is_started_carried_out_and_read(api: Api, key: str) -> None:
    flows = [(await api.made())["flow_id"] for _ in range(2)]
    await api.post(f"/flows/{flows[0]}/cancel")
    started_one = await started(api, reason="maintenance", filter={"flow_ids": flows})
    path = f"/operations/{started_one['operation_id']}"
    assert (started_one["state"], started_one["progress"]["total"]) == ("running", None)
    done = await carried_out(api, started_one["operation_id"], *flows)
    OperationView.model_validate(done)
    assert done["state"] == "completed"
    progress = done["progress"]
    assert (progress["done"], progress["accepted"], progress["refused"], progress["left"]) == (2, 1, 1, 0)
    assert progress["percentage"] == 100.0
    assert (await api.get(path, headers={"If-None-Match": f'"{done["version"]}"'})).status_code == 304
    asked = (await api.get(f"{path}/flows")).json()
    AskedFlows.model_validate(asked)
    assert [(each["outcome"], each["code"]) for each in asked["flows"]] == [
        ("refused", "flow_is_over"),
        ("accepted", None),
    ]
    only = (await api.get(f"{path}/flows?outcome=refused&limit=1")).json()
    assert (only["total"], only["flows"][0]["flow_id"], only["next_cursor"]) == (1, flows[0], None)
    page = (await api.get(f"{path}/flows?limit=1")).json()
    rest = (await api.get(f"{path}/flows?limit=1&cursor={page['next_cursor']}")).json()
    assert rest["flows"][0]["flow_id"] == flows[1]
    events = (await api.get(f"{path}/events")).json()
    FleetEvents.model_validate(events)
    assert [each["type"] for each in events["events"]] == [
        f"mfo.operation.Operation{name}.v1" for name in ("Started", "Listed", "Completed")
    ]
    history = (await api.get(f"/flows/{flows[1]}/history")).json()["events"]
    assert history[-1]["data"]["reason"] == "maintenance"
    assert history[-1]["causation_id"] == f"{started_one['operation_id']}:1"
    listed = (await api.get("/operations?state=completed")).json()
    OperationList.model_validate(listed)
    assert [each["operation_id"] for each in listed["operations"]] == [started_one["operation_id"]]


async def test_the_list_of_flows_is_removed_long_after_the_end_and_its_counts_stay(api: Api) -> None:
    flows = [(await api.made())["flow_id"] for _ in range(2)]
    await api.post(f"/flows/{flows[0]}/cancel")
    operation = (await started(api, filter={"flow_ids": flows}))["operation_id"]
    path = f"/operations/{operation}"
    before = (await carried_out(api, operation, *flows))["progress"]
    async with api.side.pool.connection() as connection:
        # one flow was parked, and has taken the command since
        await connection.execute(
            "update operation_flows f set outcome = 'parked', detail = i.command_id from command_ids i"
            " where f.operation_id = %s and f.flow_id = %s and i.flow_id = f.flow_id and i.outcome = 'accepted'"
            " and i.at = (select max(at) from command_ids where flow_id = f.flow_id)",
            (operation, flows[1]),
        )
        await connection.execute(
            "update operation_progress set accepted = accepted - 1, parked = 1 where operation_id = %s", (operation,)
        )
        assert (await api.get(path)).json()["progress"] == before
        await api.side.operations.forget(90)
        assert (await api.get(f"{path}/flows")).json()["total"] == 2
        await connection.execute(
            "update operations set created_at = created_at - interval '91 days', snapshot = convert_to(jsonb_set("
            " convert_from(snapshot, 'UTF8')::jsonb, '{ended_at}', to_jsonb(mfo_now() - interval '91 days'))::text, 'UTF8')"
            " where id = %s",
            (operation,),
        )
    await api.side.operations.forget(0)
    assert (await api.get(f"{path}/flows")).json()["removed"] is False
    await api.side.operations.forget(90)
    page = (await api.get(f"{path}/flows")).json()
    AskedFlows.model_validate(page)
    assert (page["flows"], page["total"], page["removed"]) == ([], 0, True)
    after = (await api.get(path)).json()
    OperationView.model_validate(after)
    assert after["progress"] == before | {"flows_removed": True}
    assert (after["progress"]["accepted"], after["progress"]["refused"]) == (1, 1)


async def test_the_same_key_starts_one_operation(api: Api, key: str) -> None:
    await api.made()
    first = await api.post("/operations", ALL, headers={"Idempotency-Key": key})
    again = await api.post("/operations", ALL, headers={"Idempotency-Key": key})
    assert first.json()["operation_id"] == again.json()["operation_id"]
    other = await api.post("/operations", {**ALL, "verb": "cancel"}, headers={"Idempotency-Key": key})
    problem(other, 422, "idempotency_key_reused")


async def test_an_operation_is_paused_resumed_and_cancelled(api: Api) -> None:
    path = f"/operations/{(await started(api))['operation_id']}"
    paused = await api.post(f"{path}/pause", {"reason": "lunch"})
    assert (paused.status_code, paused.json()["state"], paused.json()["allowed"]) == (
        200,
        "paused",
        ["resume", "cancel"],
    )
    assert (await api.post(f"{path}/resume", headers={"If-Match": '"2"'})).json()["state"] == "running"
    problem(await api.post(f"{path}/pause", headers={"If-Match": '"2"'}), 412, "version_moved")
    assert (await api.post(f"{path}/cancel")).json()["state"] == "cancelled"
    refused = problem(await api.post(f"{path}/resume"), 409, "not_in_this_state")
    assert refused["detail"] == "it is cancelled"


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({"verb": "pause", "filter": {}}, "body_invalid", "filter"),
        ({"verb": "pause", "filter": {"colour": "red"}}, "body_invalid", "filter.colour"),
        ({"verb": "explode", "filter": {"all": True}}, "body_invalid", "verb"),
        ({"verb": "pause"}, "body_invalid", "filter"),
        ({"verb": "pause", "filter": {"type": "none_such"}}, "operation_invalid", "filter.type"),
        ({"verb": "pause", "filter": {"engagement": str(uuid4())}}, "operation_invalid", "filter.engagement"),
        ({"verb": "skip", "filter": {"all": True}, "arguments": {"speed": 1}}, "operation_invalid", "arguments.speed"),
        ({**ALL, "rate_per_second": 0}, "body_invalid", "rate_per_second"),
    ],
)
async def test_what_cannot_be_read_is_refused_by_field(api: Api, body: Json, code: str, field: str) -> None:
    for more in ({}, {"dry_run": True}):
        refused = problem(await api.post("/operations", {**body, **more}), 422, code)
        assert field in [each["field"] for each in refused["errors"]]


async def test_another_tenants_operation_is_none(api: Api) -> None:
    operation_id = (await started(api))["operation_id"]
    stranger = new_tenant()
    for method, path in (("GET", ""), ("GET", "/flows"), ("GET", "/events"), ("POST", "/pause"), ("POST", "/cancel")):
        answer = await api.ask(method, f"/operations/{operation_id}{path}", headers=stranger)
        problem(answer, 404, "operation_not_found")
    problem(await api.post(f"/operations/{uuid4()}/resume"), 404, "operation_not_found")
    assert (await api.ask("GET", "/operations", headers=stranger)).json()["total"] == 0


async def test_an_operation_is_no_flow(api: Api) -> None:
    operation_id = (await started(api))["operation_id"]
    problem(await api.get(f"/flows/{operation_id}"), 404, "flow_not_found")
    problem(await api.post(f"/flows/{operation_id}/pause"), 404, "flow_not_found")


async def test_new_flows_begin_paused_while_a_standing_pause_holds_them(api: Api) -> None:
    response = await api.post("/standing-pauses", {"flow_type": "discovery", "reason": "the scanner is down"})
    assert response.status_code == 201, response.text
    pause = response.json()
    StandingPauseAnswered.model_validate(pause)
    path = f"/standing-pauses/{pause['standing_pause_id']}"
    made = await api.post("/flows", {"flow_type": "discovery", "flow_name": "x", "options": {"auto_execute": True}})
    flow = made.json()
    assert (made.status_code, flow["status"], flow["next_action"]["type"]) == (201, "paused", "resume")
    assert "the scanner is down" in flow["next_action"]["message"]
    listed = (await api.get("/standing-pauses")).json()
    StandingPauseList.model_validate(listed)
    assert listed["total"] == 1
    StandingPauseView.model_validate((await api.get(path)).json())
    gone = await api.ask("DELETE", f"{path}?resume=true&reason=mended")
    assert (gone.status_code, gone.json()["state"]) == (200, "removed")
    runner = Runner(api.side)
    await runner.round()
    done = await carried_out(api, gone.json()["operation_id"], flow["flow_id"])
    assert (done["verb"], done["state"], done["progress"]["accepted"]) == ("resume", "completed", 1)
    assert (await api.get(f"/flows/{flow['flow_id']}/status?consistency=strong")).json()["status"] != "paused"
    assert (await api.get("/standing-pauses")).json()["total"] == 0
    assert (await api.get(f"{path}/events")).json()["total"] == 2
    problem(await api.post("/standing-pauses", {"reason": "everything?"}), 422, "body_invalid")
    problem(await api.ask("DELETE", f"/standing-pauses/{uuid4()}"), 404, "standing_pause_not_found")


async def test_a_pause_rule_is_set_read_and_deleted(api: Api) -> None:
    body = {"measure": "error_rate", "limit": 0.5, "flow_type": "discovery", "pause_running": True}
    response = await api.post("/pause-rules", body)
    assert response.status_code == 201, response.text
    rule = response.json()
    PauseRuleAnswered.model_validate(rule)
    assert (rule["state"], rule["window_seconds"], rule["at_least"]) == ("armed", 600, 10)
    path = f"/pause-rules/{rule['pause_rule_id']}"
    PauseRuleView.model_validate((await api.get(path)).json())
    PauseRuleList.model_validate((await api.get("/pause-rules")).json())
    assert (await api.post(f"{path}/arm")).json()["version"] == 1
    deleted = await api.ask("DELETE", path)
    assert (deleted.status_code, deleted.json()["state"]) == (200, "deleted")
    problem(await api.post(f"{path}/arm"), 409, "not_in_this_state")
    problem(await api.post("/pause-rules", {**body, "limit": 50}), 422, "body_invalid")
    assert [each["type"] for each in (await api.get(f"{path}/events")).json()["events"]] == [
        "mfo.pause_rule.PauseRuleSet.v1",
        "mfo.pause_rule.PauseRuleDeleted.v1",
    ]
