"""The older system's routes: the same answers, and word of when they end."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.api.conftest import Api, problem

Json = dict[str, Any]


def said(response: httpx.Response, successor: str) -> None:
    assert response.headers["deprecation"] == "@1793491200"
    assert response.headers["sunset"] == "Fri, 31 Dec 2027 00:00:00 GMT"
    assert response.headers["link"] == f'</api/v1{successor}>; rel="successor-version"'


@pytest.mark.parametrize("path", ["/discovery/flows", "/flows/legacy/discovery/create"])
async def test_a_flow_is_created_as_by_the_new_route(api: Api, key: str, path: str) -> None:
    body = {"flow_name": "Estate", "initial_data": {"import_file_id": "f1"}}
    old = await api.post(path, body, headers={"Idempotency-Key": key})
    assert old.status_code == 201, old.text
    said(old, "/flows")
    new = await api.post("/flows", {"flow_type": "discovery", **body}, headers={"Idempotency-Key": key})
    assert new.json() == old.json()
    assert "deprecation" not in new.headers


async def test_reading_and_the_verbs_answer_as_the_new_routes(api: Api) -> None:
    flow_id = (await api.made())["flow_id"]
    for path in ("", "/status"):
        old = await api.get(f"/discovery/flows/{flow_id}{path}")
        said(old, f"/flows/{flow_id}{path}")
        new = await api.get(f"/flows/{flow_id}{path}")
        assert (old.json(), old.headers["etag"]) == (new.json(), new.headers["etag"])
    assert (await api.get("/discovery/flows")).json() == (await api.get("/flows?flow_type=discovery")).json()
    assert (await api.post(f"/discovery/flows/{flow_id}/execute")).status_code == 202
    assert (await api.post(f"/discovery/flows/{flow_id}/pause")).json()["status"] == "paused"
    assert (await api.post(f"/discovery/flows/{flow_id}/resume")).json()["status"] == "processing"
    gone = await api.ask("DELETE", f"/discovery/flows/{flow_id}?reason=old")
    assert gone.status_code == 204
    said(gone, f"/flows/{flow_id}")


async def test_refusals_say_it_too(api: Api) -> None:
    said(await api.post("/assessment/flows", {"flow_name": "A"}), "/flows")
    problem(await api.post("/assessment/flows", {"flow_name": "A"}), 422, "flow_type_unknown")
    missing = await api.get("/discovery/flows/8a6e0804-2bd0-4672-b79d-d97027f9071a")
    problem(missing, 404, "flow_not_found")
    said(missing, "/flows/8a6e0804-2bd0-4672-b79d-d97027f9071a")
    assert (await api.get("/assessment/flows")).json()["flows"] == []
    problem(await api.get("/discovery/flows?status=odd"), 422, "parameter_invalid")
    api.tenant["X-Client-Account-ID"] = "nobody"
    assert "sunset" in (await api.get("/discovery/flows")).headers


async def test_what_stands_in_the_path_does_not_end_the_link(api: Api) -> None:
    odd = await api.get("/discovery/flows/a%00%3E;%20rel=x,%3Chttp:%E9")
    assert odd.status_code == 422
    assert odd.headers["link"].count(">") == 1
    assert "\0" not in odd.headers["link"]


def test_they_are_marked_in_the_document(api_document: Json) -> None:
    marked = {
        path
        for path, methods in api_document["paths"].items()
        if all(one.get("deprecated") for one in methods.values())
    }
    assert "/api/v1/discovery/flows" in marked
    assert "/api/v1/assessment/flows/{flow_id}/execute" in marked
    assert "/api/v1/flows" not in marked


async def test_what_the_path_holds_stands_quoted_in_the_link(api: Api) -> None:
    refused = await api.post("/discovery/flows/a%20b%C2%85/execute")
    problem(refused, 422, "parameter_invalid")
    said(refused, "/flows/a%20b%C2%85/execute")
