"""Schedules over HTTP."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4, uuid5

import pytest

from api.schedule_documents import FiringList, NextTimes, ScheduleAnswered, ScheduleEvents, ScheduleList, ScheduleView
from tests.api.conftest import Api, new_tenant, problem

Json = dict[str, Any]
DAILY: Json = {
    "name": "Nightly",
    "timing": {"cron": "30 6 * * *", "time_zone": "Europe/Berlin"},
    "flow": {"flow_type": "discovery", "initial_data": {"import_file_id": "f1"}},
}


async def made(api: Api, **fields: Any) -> Json:
    response = await api.post("/schedules", {**DAILY, **fields})
    assert response.status_code == 201, response.text
    schedule: Json = response.json()
    ScheduleAnswered.model_validate(schedule)
    assert response.headers["location"] == f"/api/v1/schedules/{schedule['schedule_id']}"
    assert response.headers["etag"] == f'"{schedule["version"]}"'
    return schedule


async def test_a_schedule_is_made_and_read_and_its_times_are_told(api: Api) -> None:
    schedule = await made(api, jitter_seconds=60)
    assert (schedule["state"], schedule["overlap"], schedule["version"]) == ("active", "skip", 1)
    assert schedule["flow"]["options"] == {"auto_execute": True}
    path = f"/schedules/{schedule['schedule_id']}"
    read = await api.get(path)
    assert read.json() == {name: value for name, value in schedule.items() if name != "position"}
    ScheduleView.model_validate(read.json())
    assert (await api.get(path, headers={"If-None-Match": '"1"'})).status_code == 304
    times = (await api.get(f"{path}/next?count=3")).json()
    NextTimes.model_validate(times)
    assert [each["local"][11:16] for each in times["times"]] == ["06:30"] * 3
    assert times["times"][0]["nominal_at"] == schedule["next_at"]
    assert times["times"][0]["fire_at"] == schedule["next_fire_at"]


async def test_the_same_key_makes_one_schedule(api: Api, key: str) -> None:
    first = await api.post("/schedules", DAILY, headers={"Idempotency-Key": key})
    again = await api.post("/schedules", DAILY, headers={"Idempotency-Key": key})
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    assert first.json()["schedule_id"] == str(uuid5(api.account, f"schedule:{key}"))
    other = await api.post("/schedules", {**DAILY, "name": "Other"}, headers={"Idempotency-Key": key})
    problem(other, 422, "idempotency_key_reused")
    flow = await api.post("/flows", {"flow_type": "discovery", "flow_name": "x"}, headers={"Idempotency-Key": key})
    problem(flow, 422, "idempotency_key_reused")


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"timing": {"cron": "every day"}}, "use five fields"),
        ({"timing": {"cron": "0 6 * * *", "time_zone": "Berlin"}}, "no time zone"),
        ({"timing": {"interval_seconds": 1}}, "greater than or equal to 10"),
        ({"timing": {}}, "give one of cron, interval_seconds and at"),
        ({"timing": {"at": "2030-01-01T06:00:00"}}, "timezone"),
        ({"overlap": "whatever"}, "skip"),
        ({"colour": "red"}, "unknown field"),
        ({"catch_up_window_seconds": -1}, "greater than or equal to 0"),
        ({"name": "a\x00b"}, "NUL"),
        ({"flow": {"flow_type": "discovery", "flow_name": "{weekday}"}}, "not known"),
        ({"schedule_id": str(uuid4())}, "the path names the schedule"),
    ],
)
async def test_what_cannot_be_a_schedule_is_refused_with_a_sentence(api: Api, changes: Json, word: str) -> None:
    found = problem(await api.post("/schedules", {**DAILY, **changes}), 422, "body_invalid")
    assert word in found["detail"]
    assert found["errors"]


async def test_what_could_never_fire_is_refused(api: Api) -> None:
    past = {**DAILY, "timing": {"at": "2001-01-01T00:00:00Z"}}
    problem(await api.post("/schedules", past), 422, "schedule_invalid")
    unknown = {**DAILY, "flow": {"flow_type": "nonsense"}}
    assert "discovery" in problem(await api.post("/schedules", unknown), 422, "flow_type_unknown")["allowed"]


async def test_another_tenants_schedule_is_not_there(api: Api) -> None:
    schedule = await made(api)
    path = f"/schedules/{schedule['schedule_id']}"
    stranger = Api(api.app, api.client, new_tenant())
    for answer in (
        await stranger.get(path),
        await stranger.get(f"{path}/history"),
        await stranger.get(f"{path}/events"),
        await stranger.get(f"{path}/next"),
        await stranger.ask("PATCH", path, json={"name": "Mine"}),
        await stranger.ask("DELETE", path),
        *[await stranger.post(f"{path}/{verb}", {}) for verb in ("pause", "resume", "trigger", "backfill")],
    ):
        problem(answer, 404, "schedule_not_found")
    assert (await stranger.get("/schedules")).json()["total"] == 0
    assert (await api.get(path)).json()["version"] == 1


async def test_a_schedule_is_no_flow_and_a_flow_no_schedule(api: Api) -> None:
    schedule_id = (await made(api))["schedule_id"]
    problem(await api.get(f"/flows/{schedule_id}"), 404, "flow_not_found")
    problem(await api.post(f"/flows/{schedule_id}/pause", {}), 404, "flow_not_found")
    problem(await api.get(f"/flows/{schedule_id}/history"), 404, "flow_not_found")
    flow = await api.made(project=False)
    problem(await api.get(f"/schedules/{flow['flow_id']}"), 404, "schedule_not_found")
    problem(await api.post(f"/schedules/{flow['flow_id']}/trigger", {}), 404, "schedule_not_found")


async def test_lists_are_paged_and_filtered(api: Api) -> None:
    names = [f"Number {n}" for n in range(5)]
    for name in names:
        await made(api, name=name)
    first = (await api.get("/schedules?limit=2")).json()
    ScheduleList.model_validate(first)
    second = (await api.get("/schedules", params={"limit": 2, "cursor": first["next_cursor"]})).json()
    third = (await api.get("/schedules", params={"limit": 2, "cursor": second["next_cursor"]})).json()
    told = [each["name"] for page in (first, second, third) for each in page["schedules"]]
    assert (told, first["total"], third["next_cursor"]) == (names[::-1], 5, None)
    await api.post(f"/schedules/{first['schedules'][0]['schedule_id']}/pause", {"reason": "lunch"})
    await api.ask("DELETE", f"/schedules/{first['schedules'][1]['schedule_id']}")
    assert (await api.get("/schedules?state=paused")).json()["total"] == 1
    assert (await api.get("/schedules?state=deleted")).json()["total"] == 1
    assert (await api.get("/schedules?flow_type=discovery")).json()["total"] == 4
    problem(await api.get("/schedules?state=asleep"), 422, "parameter_invalid")
    problem(await api.get("/schedules?flow_type=nonsense"), 422, "parameter_invalid")
    problem(await api.get("/schedules?cursor=xyz"), 422, "parameter_invalid")


async def test_pause_resume_and_trigger(api: Api) -> None:
    path = f"/schedules/{(await made(api))['schedule_id']}"
    paused = await api.post(f"{path}/pause", {"reason": "lunch"})
    assert (paused.status_code, paused.json()["state"]) == (200, "paused")
    assert (paused.json()["paused"]["reason"], paused.json()["next_at"]) == ("lunch", None)
    triggered = await api.post(f"{path}/trigger", {"overlap": "allow"})
    assert triggered.status_code == 202
    assert UUID(triggered.json()["requested"][0]["flow_id"])
    resumed = await api.post(f"{path}/resume")
    assert (resumed.status_code, resumed.json()["state"], resumed.json()["version"]) == (200, "active", 4)
    assert "pause" in problem(await api.post(f"{path}/resume"), 409, "schedule_not_paused")["allowed"]
    events = (await api.get(f"{path}/events")).json()
    ScheduleEvents.model_validate(events)
    assert [each["type"] for each in events["events"]] == [
        f"mfo.schedule.{name}.v1"
        for name in ("ScheduleCreated", "SchedulePaused", "ScheduleTriggered", "ScheduleResumed")
    ]
    assert events["events"][0]["actor"] == "maria@example.com"
    page = (await api.get(f"{path}/events?limit=3")).json()
    assert [
        each["version"] for each in (await api.get(f"{path}/events?cursor={page['next_cursor']}")).json()["events"]
    ] == [4]


async def test_a_change_holds_from_then_on(api: Api) -> None:
    schedule = await made(api, end_at="2199-01-01T00:00:00Z")
    path = f"/schedules/{schedule['schedule_id']}"
    changes = {"timing": {"interval_seconds": 3600}, "end_at": None, "overlap": "buffer_one"}
    stale = await api.ask("PATCH", path, json=changes, headers={"If-Match": '"7"'})
    problem(stale, 412, "version_moved")
    changed = await api.ask("PATCH", path, json=changes, headers={"If-Match": '"1"'})
    assert changed.status_code == 200, changed.text
    assert (changed.json()["version"], changed.json()["end_at"], changed.json()["overlap"]) == (2, None, "buffer_one")
    assert changed.json()["timing"]["interval_seconds"] == 3600
    assert changed.json()["name"] == "Nightly"
    problem(await api.ask("PATCH", path, json={"timing": None}), 422, "body_invalid")


async def test_a_deleted_schedule_is_kept_with_its_history(api: Api) -> None:
    path = f"/schedules/{(await made(api))['schedule_id']}"
    deleted = await api.ask("DELETE", f"{path}?reason=done")
    assert (deleted.status_code, deleted.headers["etag"]) == (204, '"2"')
    assert deleted.headers["x-mfo-position"]
    assert (await api.get(path)).json()["state"] == "deleted"
    problem(await api.post(f"{path}/trigger"), 409, "schedule_is_over")
    assert (await api.get("/schedules")).json()["total"] == 0
    assert len((await api.get(f"{path}/events")).json()["events"]) == 2


async def test_a_backfill_is_bounded(api: Api) -> None:
    path = f"/schedules/{(await made(api))['schedule_id']}"
    asked = {"from_at": "2025-01-01T00:00:00Z", "to_at": "2025-01-31T00:00:00Z", "at_most": 2}
    found = problem(await api.post(f"{path}/backfill", {**asked, "limit": 5}), 422, "backfill_too_large")
    assert "more than 5 times" in found["detail"]
    problem(await api.post(f"{path}/backfill", {**asked, "limit": 100_000}), 422, "body_invalid")
    problem(await api.post(f"{path}/backfill", {**asked, "to_at": "2190-01-31T00:00:00Z"}), 422, "schedule_invalid")
    answer = await api.post(f"{path}/backfill", asked)
    assert (answer.status_code, answer.json()["backfill"]["left"]) == (202, 30)
    problem(await api.post(f"{path}/backfill", asked), 409, "schedule_busy")


async def test_the_history_tells_what_became_of_each_time(api: Api) -> None:
    path = f"/schedules/{(await made(api))['schedule_id']}"
    empty = (await api.get(f"{path}/history")).json()
    assert empty == {"firings": [], "next_cursor": None}
    FiringList.model_validate(empty)
    problem(await api.get(f"{path}/history?outcome=lost"), 422, "parameter_invalid")
    problem(await api.get(f"{path}/history?cursor=-1"), 422, "parameter_invalid")


async def test_secrets_in_a_template_are_sealed(api: Api) -> None:
    secret = "correct horse battery staple"
    flow = {"flow_type": "discovery", "initial_data": {"credentials": {"password": secret}, "rows": ["x" * 1000] * 200}}
    schedule = await made(api, flow=flow)
    assert secret not in str(schedule)
    assert "$artifact" in str(schedule["flow"]["initial_data"]["rows"])
    async with api.side.pool.connection() as connection:
        for statement in (
            "select state from stored_events where originator_id = %s",
            "select snapshot from schedules where id = %s",
            "select body from command_log where flow_id = %s",
        ):
            for (kept,) in await (await connection.execute(statement, (UUID(schedule["schedule_id"]),))).fetchall():
                assert secret.encode() not in kept


def test_every_route_of_schedules_is_documented(api_document: Json) -> None:
    paths = {path: set(methods) for path, methods in api_document["paths"].items() if "/schedules" in path}
    assert paths["/api/v1/schedules"] == {"get", "post"}
    assert paths["/api/v1/schedules/{schedule_id}"] == {"get", "patch", "delete"}
    assert "schedule_id" not in api_document["components"]["schemas"]["CreateSchedule"]["properties"]
