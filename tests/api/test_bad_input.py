"""Bad input: told what is wrong and what to do, and nothing half done."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import msgspec
import pytest

from tests.api.conftest import Api, new_tenant, problem

GOOD = {"flow_type": "discovery", "flow_name": "Estate"}


@pytest.mark.parametrize("header", ["X-Client-Account-ID", "X-Engagement-ID", "X-User-ID"])
async def test_every_tenant_header_is_needed(api: Api, header: str) -> None:
    for headers in (
        {name: value for name, value in new_tenant().items() if name != header},
        {**new_tenant(), header: ""},
        {**new_tenant(), header: "x" * 256},
    ):
        response = await api.client.get("/api/v1/flows", headers=headers)
        problem(response, 400, "tenant_missing")
        assert response.json()["detail"].startswith(f"{header} is ")


@pytest.mark.parametrize(
    "wrong",
    [
        "7",
        "not-a-uuid",
        "{" + "60ac0f0a-d975-456d-83f0-f814ee705fba" + "}",
        "60ac0f0a-d975-456d-83f0-f814ee705fba"[:-1],
    ],
)
async def test_a_tenant_is_named_by_uuids(api: Api, wrong: str) -> None:
    problem(await api.get("/flows", headers={"X-Client-Account-ID": wrong}), 400, "tenant_missing")
    problem(await api.post("/flows", GOOD, headers={"X-Engagement-ID": wrong}), 400, "tenant_missing")


@pytest.mark.parametrize("header", ["X-Client-Account-ID", "X-Engagement-ID", "X-User-ID"])
async def test_a_tenant_header_that_stands_twice_is_nobodys(api: Api, header: str) -> None:
    twice = [*api.tenant.items(), (header, new_tenant()[header])]

    found = problem(await api.client.get("/api/v1/flows", headers=twice), 400, "tenant_missing")

    assert found["detail"].startswith(f"{header} is given more than once")


@pytest.mark.parametrize(("header", "values"), [("Idempotency-Key", ("a", "b")), ("If-Match", ('"1"', '"2"'))])
async def test_a_header_that_says_two_things_is_refused(api: Api, header: str, values: tuple[str, str]) -> None:
    made = await api.made()
    twice = [*api.tenant.items(), *((header, value) for value in values)]

    answer = await api.client.post(f"/api/v1/flows/{made['flow_id']}/pause", headers=twice)

    assert problem(answer, 422, "parameter_invalid")["errors"] == [
        {"field": header, "message": "is given more than once"}
    ]


async def test_tenant_and_flow_come_before_the_body(api: Api) -> None:
    made = await api.made()
    path = f"/api/v1/flows/{made['flow_id']}/pause"

    problem(await api.client.post(path, content=b"{"), 400, "tenant_missing")
    problem(await api.post(f"/flows/{uuid4()}/pause", content=b"{"), 404, "flow_not_found")
    problem(await api.post(f"/flows/{uuid4()}/execute", {"colour": 1}), 404, "flow_not_found")
    problem(await api.client.post("/api/v1/flows", content=b"{"), 400, "tenant_missing")


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"flow_type=discovery",
        b"[]",
        b'"text"',
        b"null",
        b"\xff\xfe",
        b'{"flow_name": "\xff"}',
        b'{"flow_name": NaN}',
        b'{"initial_data": {"n": 1e999}}',
        b"[" * 5000,
        b'{"a":' * 5000,
        b'{"a": "\\ud800"}',
    ],
)
async def test_a_body_that_is_no_json_object(api: Api, content: bytes) -> None:
    made = await api.made()

    problem(await api.post("/flows", content=content), 400, "body_not_json")
    problem(await api.post(f"/flows/{made['flow_id']}/execute", content=content), 400, "body_not_json")


def nested(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    ("body", "field", "words"),
    [
        ({"flow_name": "x"}, "flow_type", "required"),
        ({"flow_type": "discovery"}, "flow_name", "required"),
        ({**GOOD, "colour": "red"}, "colour", "unknown field"),
        ({**GOOD, "options": {"colour": "red"}}, "options.colour", "unknown field"),
        ({**GOOD, "flow_id": str(uuid4())}, "flow_id", "unknown field"),
        ({**GOOD, "flow_name": ""}, "flow_name", "at least 1"),
        ({**GOOD, "flow_name": "x" * 256}, "flow_name", "at most 255"),
        ({**GOOD, "flow_name": 7}, "flow_name", "string"),
        ({**GOOD, "flow_name": "a\x00b"}, "flow_name", "NUL"),
        ({**GOOD, "flow_description": "x" * 4001}, "flow_description", "at most 4000"),
        ({**GOOD, "flow_tags": ["x" * 101]}, "flow_tags.0", "at most 100"),
        ({**GOOD, "flow_tags": "wave"}, "flow_tags", "tuple"),
        ({**GOOD, "initial_data": []}, "initial_data", "dictionary"),
        ({**GOOD, "initial_data": {"a": ["\x00"]}}, "initial_data", "NUL"),
        ({**GOOD, "initial_data": {"\x00": 1}}, "initial_data", "NUL"),
        ({**GOOD, "initial_data": nested(70)}, "initial_data", "nested"),
        ({**GOOD, "parent_flow_id": "7"}, "parent_flow_id", "UUID"),
        ({**GOOD, "options": {"auto_execute": "perhaps"}}, "options.auto_execute", "boolean"),
        ({**GOOD, "options": {"max_retries": -1}}, "options.max_retries", "greater"),
        ({**GOOD, "options": {"timeout_seconds": 0}}, "options.timeout_seconds", "greater"),
    ],
)
async def test_a_wrong_field_is_named(api: Api, body: dict[str, Any], field: str, words: str) -> None:
    found = problem(await api.post("/flows", body), 422, "body_invalid")["errors"]

    assert [error["field"] for error in found] == [field]
    assert words in found[0]["message"]
    assert (await api.get("/flows")).json()["total"] == 0


async def test_all_wrong_fields_are_named_at_once(api: Api) -> None:
    body = problem(await api.post("/flows", {"flow_name": "", "colour": 1}), 422, "body_invalid")

    assert {error["field"] for error in body["errors"]} == {"flow_type", "flow_name", "colour"}


@pytest.mark.parametrize("verb", ["pause", "resume", "cancel", "rollback", "skip", "iterate", "execute"])
async def test_a_verb_takes_no_unknown_field(api: Api, verb: str) -> None:
    made = await api.made()
    path = f"/flows/{made['flow_id']}/{verb}"

    problem(await api.post(path, {"colour": "red"}), 422, "body_invalid")
    problem(await api.post(path, {"flow_id": made["flow_id"]}), 422, "body_invalid")
    problem(await api.post(path, {"reason": 7}), 422, "body_invalid")


async def test_input_takes_no_flow_id(api: Api) -> None:
    made = await api.made()

    problem(await api.post(f"/flows/{made['flow_id']}/input", {"flow_id": made["flow_id"]}), 422, "body_invalid")
    problem(await api.post(f"/flows/{made['flow_id']}/input", {"a": "\x00"}), 422, "body_invalid")


async def test_an_unknown_type_or_phase_is_answered_with_the_known_ones(api: Api) -> None:
    body = problem(await api.post("/flows", {"flow_type": "demolition", "flow_name": "x"}), 422, "flow_type_unknown")
    assert "discovery" in body["allowed"]
    made = await api.made()
    path = f"/flows/{made['flow_id']}/execute"
    body = problem(await api.post(path, {"phase_name": "demolish"}), 422, "phase_unknown")
    assert body["allowed"][0] == "data_import"
    body = problem(await api.post(path, {"phase_name": "asset_inventory"}), 409, "phase_out_of_order")
    assert body["allowed"] == ["data_import"]


async def test_missing_inputs_are_named(api: Api) -> None:
    made = await api.made(initial_data={})

    body = problem(await api.post(f"/flows/{made['flow_id']}/execute"), 422, "inputs_missing")

    assert body["errors"] == [{"field": "inputs.import_file_id", "message": "is required"}]


async def test_a_running_phase_is_not_run_twice(api: Api) -> None:
    made = await api.made(options={"auto_execute": True})

    body = problem(await api.post(f"/flows/{made['flow_id']}/execute"), 409, "phase_already_running")

    assert body["allowed"] == ["pause", "checkpoint", "cancel", "delete"]


async def test_a_body_may_have_a_megabyte_and_no_more(api: Api) -> None:
    fits = {**GOOD, "initial_data": {"text": "x" * 900_000}}
    assert (await api.post("/flows", fits)).status_code == 201
    for size in ((1 << 20) + 1, 12 << 20):
        problem(await api.post("/flows", content=b" " * size), 413, "body_too_large")
    made = await api.made()
    problem(await api.post(f"/flows/{made['flow_id']}/pause", content=b" " * (2 << 20)), 413, "body_too_large")


async def test_numbers_of_any_length_are_kept(api: Api) -> None:
    made = await api.made(initial_data={"n": 10**40, "f": 0.1})

    row = msgspec.json.decode((await api.get(f"/flows/{made['flow_id']}")).content)

    assert row["flow_state"]["inputs"] == {"n": 10**40, "f": 0.1}


@pytest.mark.parametrize("wrong", ["7", "everything", "None", "%00"])
async def test_an_id_that_is_no_uuid(api: Api, wrong: str) -> None:
    for path in (f"/flows/{wrong}", f"/flows/{wrong}/status", f"/imports/{wrong}"):
        problem(await api.get(path), 422, "parameter_invalid")


async def test_a_delete_takes_no_body(api: Api) -> None:
    made = await api.made()

    problem(await api.ask("DELETE", f"/flows/{made['flow_id']}", json={"reason": "x"}), 422, "body_invalid")
    problem(
        await api.ask("DELETE", f"/flows/{made['flow_id']}", params={"reason": "x" * 4001}), 422, "parameter_invalid"
    )
    problem(await api.ask("DELETE", f"/flows/{made['flow_id']}?reason=%00"), 422, "parameter_invalid")


async def test_unknown_routes_and_methods(api: Api) -> None:
    problem(await api.get("/flow"), 404, "route_not_found")
    problem(await api.get("/flows/"), 404, "route_not_found")
    problem(await api.client.get("/nothing"), 404, "route_not_found")
    body = problem(await api.ask("PUT", "/flow-types"), 405, "method_not_allowed")
    assert body["allowed"] == ["GET"]
    response = await api.ask("PATCH", "/flows")
    assert problem(response, 405, "method_not_allowed")["allowed"] == ["GET", "POST"]
    # not taken for a flow of that name
    assert problem(await api.ask("DELETE", "/flows/analytics"), 405, "method_not_allowed")["allowed"] == ["GET"]
    assert response.headers["allow"] == "GET, POST"


async def test_a_parameter_nobody_knows(api: Api) -> None:
    made = await api.made()
    path = f"/flows/{made['flow_id']}"
    for method, route in (
        ("GET", path),
        ("GET", f"{path}/status"),
        ("GET", f"{path}/assets"),
        ("POST", f"{path}/pause"),
        ("DELETE", path),
        ("GET", "/flow-types"),
        ("GET", "/imports"),
    ):
        body = problem(await api.ask(method, f"{route}?colour=red"), 422, "parameter_invalid")
        assert body["errors"][0]["field"] == "colour"
    assert (await api.get(path)).json()["version"] == 1


async def test_a_cursor_of_one_list_is_none_of_another(api: Api) -> None:
    for name in ("first", "second"):
        await api.made(flow_name=name)
        assert (await api.post("/standing-pauses", {"tag": name})).status_code == 201
    for source, others in (
        ("/flows", ("/schedules", "/operations", "/subscriptions", "/notifications", "/imports", "/inputs")),
        ("/standing-pauses", ("/flows", "/pause-rules", "/operations")),
    ):
        cursor = (await api.get(f"{source}?limit=1")).json()["next_cursor"]
        assert (await api.get(f"{source}?limit=1&cursor={cursor}")).status_code == 200
        for other in others:
            problem(await api.get(f"{other}?cursor={cursor}"), 422, "parameter_invalid")
