"""What was: flows and lists as of a time or a version, and what differs between two moments."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote
from uuid import uuid4

from api import documents, past_documents
from tests.api.conftest import Api, Json, new_tenant, problem

FIRST = "data_import"


async def moments(api: Api, flow_id: str) -> list[str]:
    """When each event of a flow happened."""
    return [event["occurred_at"] for event in (await api.get(f"/flows/{flow_id}/history")).json()["events"]]


async def halfway(api: Api, **body: Any) -> str:
    """A discovery whose first phase is done and whose second is under way."""
    made = await api.made(options={"auto_execute": True}, **body)
    await api.complete(made["flow_id"], rows=3, where="a/b")
    await api.project(made["flow_id"])
    return str(made["flow_id"])


async def test_a_flow_is_shown_as_it_was_at_a_version(api: Api) -> None:
    flow_id = await halfway(api)
    now = (await api.get(f"/flows/{flow_id}")).json()
    assert (now["phases_completed"], now["outputs"][FIRST]["rows"]) == ([FIRST], 3)

    then = documents.FlowDetail.model_validate((await api.get(f"/flows/{flow_id}?at=2")).json())
    assert (then.version, then.phases_completed, then.outputs, then.current_phase) == (2, [], {}, FIRST)
    status = await api.get(f"/flows/{flow_id}/status?at=2")
    shown = documents.FlowStatusAnswer.model_validate(status.json())
    assert (shown.version, shown.progress.percentage, status.headers["etag"]) == (2, 0.0, '"2"')
    assert shown.run is not None
    assert (shown.run.phase_name, shown.run.state) == (FIRST, None)


async def test_a_flow_is_shown_as_it_was_at_a_time(api: Api) -> None:
    flow_id = await halfway(api)
    times = await moments(api, flow_id)
    then = (await api.get(f"/flows/{flow_id}", params={"at": times[0]})).json()
    assert then["phases_completed"] == []
    now = (await api.get(f"/flows/{flow_id}", params={"at": times[-1]})).json()
    assert now["phases_completed"] == [FIRST]
    assert now["version"] == len(times)


async def test_a_time_without_the_flow_and_one_to_come_are_told_apart(api: Api) -> None:
    flow_id = (await api.made())["flow_id"]
    for path in (f"/flows/{flow_id}", f"/flows/{flow_id}/status"):
        problem(await api.get(f"{path}?at=2020-01-01T00:00:00Z"), 404, "flow_not_begun")
        ahead = problem(await api.get(f"{path}?at=99"), 422, "parameter_invalid")
        assert "lies ahead: the flow is at version 1" in ahead["detail"]
        later = quote((datetime.now(UTC) + timedelta(hours=1)).isoformat())
        assert "lies ahead" in problem(await api.get(f"{path}?at={later}"), 422, "parameter_invalid")["detail"]
    for wrong in ("soon", "0", "2026-13-01", "-1"):
        problem(await api.get(f"/flows/{flow_id}?at={wrong}"), 422, "parameter_invalid")
    problem(await api.get(f"/flows/{flow_id}?at=1&min_version=1"), 422, "parameter_invalid")


async def test_the_past_of_another_tenants_flow_is_not_there(api: Api) -> None:
    flow_id = await halfway(api)
    stranger = new_tenant()
    for path in (f"/flows/{flow_id}?at=1", f"/flows/{flow_id}/status?at=1", f"/flows/{flow_id}/diff"):
        problem(await api.get(path, headers=stranger), 404, "flow_not_found")
    mine = (await api.made())["flow_id"]
    api.tenant = stranger
    theirs = (await api.made())["flow_id"]
    problem(await api.get(f"/flows/{theirs}/diff?other={mine}"), 404, "flow_not_found")


async def listed(api: Api, at: str, **params: Any) -> Json:
    answer = await api.get("/flows", params={"at": at, **params})
    assert answer.status_code == 200, answer.text
    documents.FlowList.model_validate(answer.json())
    body: Json = answer.json()
    return body


async def test_the_list_shows_the_flows_as_they_stood_then(api: Api) -> None:
    first = await halfway(api, flow_name="First", flow_tags=["wave-1"])
    begun = (await moments(api, first))[0]
    second = await halfway(api, flow_name="Second")
    await api.post(f"/flows/{second}/cancel", {"reason": "no"})
    await api.ask("DELETE", f"/flows/{first}")
    for flow_id in (first, second):
        await api.project(flow_id)
    last = (await moments(api, first))[-1]

    then = await listed(api, begun)
    assert [(flow["flow_name"], flow["status"], flow["progress_percentage"]) for flow in then["flows"]] == [
        ("First", "processing", 0.0)
    ]
    assert then["total"] == 1
    between = await listed(api, (await moments(api, second))[2], sort="flow_name")
    assert [(flow["flow_name"], flow["phases_completed"]) for flow in between["flows"]] == [
        ("First", [FIRST]),
        ("Second", [FIRST]),
    ]
    assert [flow["flow_id"] for flow in (await listed(api, last))["flows"]] == [second]
    assert [flow["flow_id"] for flow in (await listed(api, last, status="deleted"))["flows"]] == [first]
    assert [flow["flow_id"] for flow in (await listed(api, last, status="processing"))["flows"]] == []
    assert [flow["flow_id"] for flow in (await listed(api, begun, tag="wave-1", search="fir"))["flows"]] == [first]
    assert (await listed(api, "2020-01-01T00:00:00Z"))["flows"] == []


async def test_pages_of_a_list_as_of_then_hold_each_flow_once(api: Api) -> None:
    made = [await halfway(api, flow_name=f"{n}") for n in range(5)]
    at = (await moments(api, made[-1]))[0]
    seen, cursor = [], None
    while True:
        page = await listed(api, at, limit=2, **({"cursor": cursor} if cursor else {}))
        seen += [flow["flow_id"] for flow in page["flows"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == list(reversed(made))
    problem(await api.get("/flows?at=7"), 422, "parameter_invalid")


async def test_a_diff_names_fields_outputs_and_the_events_between_two_moments(api: Api) -> None:
    flow_id = await halfway(api)
    answer = (await api.get(f"/flows/{flow_id}/diff?from=2&to=4")).json()
    found = past_documents.FlowDiff.model_validate(answer)
    fields = {each.path: (each.before, each.after) for each in found.fields}
    assert fields["/phases_completed"] == ([], [FIRST])
    assert fields[f"/phases/{FIRST}/status"] == ("running", "completed")
    assert {each.path: each.change for each in found.outputs} == {f"/{FIRST}": "added"}
    assert [event.version for event in found.events] == [3, 4]
    assert found.events_total == 2
    assert {each.type: (each.before, each.after) for each in found.event_counts}["mfo.flow.PhaseCompleted.v1"] == (0, 1)

    whole = (await api.get(f"/flows/{flow_id}/diff")).json()
    assert (whole["from"]["version"], whole["to"]["version"]) == (
        1,
        (await api.get(f"/flows/{flow_id}")).json()["version"],
    )
    same = (await api.get(f"/flows/{flow_id}/diff?from=3&to=3")).json()
    assert (same["fields"], same["outputs"], same["events"]) == ([], [], [])


async def test_two_flows_are_compared_and_sealed_values_stay_sealed(api: Api) -> None:
    secret = {"import_file_id": "f1", "credentials": {"password": "hunter2"}}
    one, other = [await halfway(api, initial_data=secret, flow_name=name) for name in ("One", "Other")]
    answer = await api.get(f"/flows/{one}/diff?other={other}&to=1")
    found = past_documents.FlowDiff.model_validate(answer.json())
    fields = {each.path: (each.before, each.after) for each in found.fields}
    assert fields["/flow_name"] == ("One", "Other")
    assert (found.after.version, found.events, found.events_total) == (1, [], 0)
    sealed = [path for path in fields if "credentials" in path]
    assert sealed
    assert all("$sealed" in str(fields[path]) for path in sealed)
    assert "hunter2" not in answer.text
    missing = problem(await api.get(f"/flows/{one}/diff?other={uuid4()}"), 404, "flow_not_found")
    assert "compare with" in missing["detail"]


async def test_a_history_is_streamed_as_csv_that_no_spreadsheet_runs(api: Api) -> None:
    flow_id = await halfway(api)
    await api.post(f"/flows/{flow_id}/pause", {"reason": "=cmd()"}, headers={"X-User-ID": "=HYPERLINK(1)"})
    answer = await api.get(f"/flows/{flow_id}/history?format=csv")
    assert answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    events = (await api.get(f"/flows/{flow_id}/history")).json()["events"]
    assert [row["version"] for row in rows] == [str(event["version"]) for event in events]
    assert [json.loads(row["data"]) for row in rows] == [event["data"] for event in events]
    assert rows[2]["phase_name"] == FIRST
    assert rows[-1]["actor"] == "'=HYPERLINK(1)"
    lines = (await api.get(f"/flows/{flow_id}/history?format=ndjson&after=2")).text.splitlines()
    assert [json.loads(line) for line in lines] == events[2:]
