"""Parked flows over HTTP: what waits is said, tried again and given up by those whose flow it is, and by nobody else."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

from api import documents
from tests.api.conftest import Api, Json, new_tenant, problem

CREATED, CLONED = "mfo.flow.FlowCreated.v1", "mfo.flow.FlowCloned.v1"


async def rows(api: Api, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
    async with api.side.pool.connection() as connection:
        cursor = await connection.execute(statement.encode(), parameters)
        return await cursor.fetchall() if cursor.description else []


async def unreadable(api: Api, flow_id: str) -> None:
    """Only a newer version can read the flow's history from now on."""
    await rows(
        api, "update stored_events set topic = %s where originator_id = %s and topic = %s", CLONED, flow_id, CREATED
    )
    api.side.committer._cache.clear()


async def readable(api: Api, flow_id: str) -> None:
    await rows(
        api, "update stored_events set topic = %s where originator_id = %s and topic = %s", CREATED, flow_id, CLONED
    )


async def broken(api: Api) -> Json:
    flow = await api.made()
    await unreadable(api, flow["flow_id"])
    return flow


async def test_a_command_that_waits_is_answered_202_and_its_outcome_later(api: Api, key: str) -> None:
    flow = await broken(api)
    flow_id = flow["flow_id"]
    for _ in range(2):
        response = await api.post(f"/flows/{flow_id}/pause", headers={"Idempotency-Key": key})
        assert response.status_code == 202, response.text
        documents.CommandParked.model_validate(response.json())
        assert response.json() == {
            "flow_id": flow_id,
            "command_id": key,
            "outcome": "parked",
            "status": "parked",
            "version": flow["version"],
            "position": None,
        }
        assert response.headers["location"] == f"/api/v1/parked/{flow_id}"
    for method, path in (("POST", "/execute"), ("DELETE", "")):
        assert (await api.ask(method, f"/flows/{flow_id}{path}")).status_code == 202

    detail = documents.ParkedDetail.model_validate((await api.get(f"/parked/{flow_id}")).json())
    assert [each.command for each in detail.commands] == ["PauseFlow", "ExecutePhase", "DeleteFlow"]
    assert detail.commands[0].user_id == "maria@example.com"
    [parked] = detail.parked
    assert (parked.kind, parked.waiting, parked.command) == ("command", 3, "PauseFlow")
    assert parked.error is not None
    assert parked.error.code == "unknown_topic"

    again = await api.post(f"/parked/{flow_id}/retry")
    assert documents.RetryAnswer.model_validate(again.json()).state == "parked"
    await readable(api, flow_id)
    done = (await api.post(f"/parked/{flow_id}/retry")).json()
    assert (done["state"], done["applied"], done["waiting"], done["error"]) == ("free", 3, 0, None)
    answer = await api.post(f"/flows/{flow_id}/pause", headers={"Idempotency-Key": key})
    assert (answer.status_code, answer.json()["version"]) == (200, flow["version"] + 1)
    problem(await api.get(f"/parked/{flow_id}"), 404, "flow_not_parked")
    problem(await api.post(f"/parked/{flow_id}/retry"), 404, "flow_not_parked")


async def test_what_is_given_up_is_refused_and_the_rest_goes_on(api: Api, key: str) -> None:
    flow_id = (await broken(api))["flow_id"]
    first, second = f"{key}-1", f"{key}-2"
    for name, verb in ((first, "pause"), (second, "cancel")):
        assert (await api.post(f"/flows/{flow_id}/{verb}", headers={"Idempotency-Key": name})).status_code == 202
    problem(await api.post(f"/parked/{flow_id}/discard", {}), 422, "body_invalid")
    problem(await api.post(f"/parked/{flow_id}/discard", {"reason": "a\x00b"}), 422, "body_invalid")
    problem(await api.post(f"/parked/{flow_id}/discard", {"reason": "x", "command_id": "none"}), 404, "flow_not_parked")
    await readable(api, flow_id)
    for _ in range(2):
        told = await api.post(f"/parked/{flow_id}/discard", {"reason": "not wanted"}, headers={"Idempotency-Key": key})
        assert told.status_code == 200, told.text
        assert documents.DiscardAnswer.model_validate(told.json()).discarded == first
    assert told.json()["state"] == "free"
    gone = problem(await api.post(f"/flows/{flow_id}/pause", headers={"Idempotency-Key": first}), 409, "discarded")
    assert gone["detail"] == "discarded by maria@example.com: not wanted"
    assert (await api.get(f"/flows/{flow_id}/history")).json()["events"][-1]["type"] == "mfo.flow.FlowCancelled.v1"
    assert await api.logged(key) == [("DiscardParked", "accepted", None), ("DiscardParked", "repeated", None)]


async def test_the_list_is_paged_and_the_tenants_own(api: Api) -> None:
    api.tenant = new_tenant()
    flows = [(await broken(api))["flow_id"] for _ in range(3)]
    for flow_id in flows:
        await api.post(f"/flows/{flow_id}/pause")
    aside = (await api.made())["flow_id"]
    await rows(
        api,
        "insert into parked_flows (projection, flow_id, version, error, since)"
        " values ('inventory', %s, 1, 'no', mfo_now())",
        UUID(aside),
    )
    found: list[documents.Parked] = []
    cursor = None
    while True:
        page = (await api.get("/parked", params={"limit": 3} | ({"cursor": cursor} if cursor else {}))).json()
        found += documents.ParkedList.model_validate(page).parked
        cursor = page["next_cursor"]
        if not cursor:
            break
    assert [str(each.flow_id) for each in found] == [*flows, aside]
    assert (found[-1].kind, found[-1].projection, found[-1].waiting) == ("projection", "inventory", 0)

    asked = (await api.post(f"/parked/{aside}/retry")).json()
    assert (asked["state"], asked["projections"]) == ("free", 1)
    assert (await rows(api, "select retry_at is not null from parked_flows where flow_id = %s", UUID(aside))) == [
        (True,)
    ]

    api.tenant = new_tenant("eve@example.com")
    assert (await api.get("/parked")).json() == {"parked": [], "next_cursor": None}
    problem(await api.get(f"/parked/{flows[0]}"), 404, "flow_not_parked")
    problem(await api.post(f"/parked/{flows[0]}/retry"), 404, "flow_not_parked")
    problem(await api.post(f"/parked/{flows[0]}/discard", {"reason": "mine"}), 404, "flow_not_parked")
    problem(await api.post(f"/parked/{uuid4()}/retry"), 404, "flow_not_parked")
