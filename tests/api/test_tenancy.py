"""Another tenant's anything is as if it did not exist, on every route there is."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID, uuid4

import httpx
import pytest
from fastapi import FastAPI

from api import back, verbs
from api.app import create_app
from api.asking import ASKED_BY
from domain.addresses import Addressing
from domain.commands import Envelope
from domain.subscriptions import CreateSubscription
from eventstore.notifications import ToTell, make
from eventstore.subscriptions import Subscriptions
from tests.api.conftest import Api, config_for, new_tenant


def routes(app: FastAPI) -> Iterator[tuple[str, str]]:
    """Method and path of every route in the OpenAPI document, which is made from all of them."""
    for path, methods in app.openapi()["paths"].items():
        for method in methods:
            yield method.upper(), path


EVERY = sorted(routes(create_app(config_for("postgresql:///none"))))
# nobody could read whose the dead letters are, and retention is not the tenants' to shorten: an operator's token guards them
GUARDED = ("/api/v1/dlq", "/api/v1/audit/retention/", "/api/v1/audit/holds/")
OF_TENANTS = [(method, path) for method, path in EVERY if not path.startswith(GUARDED)]
# what another tenant hears there, `test_events.py` says
ENDLESS = ("/api/v1/events",)
OF_ONE = [(method, path) for method, path in OF_TENANTS if "{" in path and "{type}" not in path]
LISTS = [
    (method, path)
    for method, path in OF_TENANTS
    if path.startswith("/api/v1/") and "{" not in path and method == "GET" and path not in ENDLESS
]


# what lies beside the flows: the name of its id in a path, and how it is made
BESIDE = {
    "schedule_id": (
        "/schedules",
        {"name": "Mine", "timing": {"cron": "0 6 * * *"}, "flow": {"flow_type": "discovery"}},
    ),
    "operation_id": ("/operations", {"verb": "pause", "filter": {"tag": "nobody"}}),
    "standing_pause_id": ("/standing-pauses", {"tag": "nobody"}),
    "pause_rule_id": ("/pause-rules", {"measure": "flows_begun", "limit": 9}),
}


async def made_beside(api: Api) -> dict[str, str]:
    """One of each, by the name of its id."""
    return {name: (await api.post(path, body)).json()[name] for name, (path, body) in BESIDE.items()}


async def told(api: Api) -> dict[str, str]:
    """A subscription of this tenant, and something that it is told, by the names of their ids."""
    side, engagement = api.side, UUID(api.tenant["X-Engagement-ID"])
    envelope = Envelope(
        command_id=str(uuid4()),
        client_account_id=api.account,
        engagement_id=engagement,
        user_id="maria",
        correlation_id="c-1",
    )
    allowed = Addressing(webhook_hosts=("*",))
    wanted = CreateSubscription(kind="webhook", url="https://hooks.example.com/x")
    made = await Subscriptions(side.pool, side.keyring, allowed).create(envelope, wanted)
    tell = ToTell(
        flow_id=uuid4(),
        version=1,
        client_account_id=api.account,
        engagement_id=engagement,
        event="flow.completed",
        subscription_id=made["subscription_id"],
        kind="webhook",
        target=made["url"],
        payload={},
    )
    async with side.pool.connection() as connection:
        await make(connection, [tell])
    return {"subscription_id": str(made["subscription_id"]), "notification_id": str(tell.id)}


def test_there_is_something_to_ask() -> None:
    assert len(OF_ONE) >= 15
    assert len(LISTS) >= 4


@pytest.mark.parametrize(("method", "path"), OF_ONE)
async def test_another_tenants_ids_are_unknown_ids(api: Api, method: str, path: str) -> None:
    made = await api.made()
    upload = await api.post("/imports", files={"file": ("a.csv", b"name\nweb01\n")})
    beside = await made_beside(api)
    subscribed = await told(api)
    version = 1
    others = [new_tenant()] + [{**new_tenant(), name: api.tenant[name]} for name in list(api.tenant)[:2]]
    for other in others:
        answers = []
        theirs = {"flow_id": made["flow_id"], "import_id": upload.json()["import_file_id"], **beside, **subscribed}
        for ids in (theirs, {name: str(uuid4()) for name in theirs}):
            asked = path
            for name, each in ids.items():
                asked = asked.replace(f"{{{name}}}", each)
            headers = {**other, "X-Correlation-ID": "same", "If-Match": f'"{version}"', "If-None-Match": '"1"'}
            response = await api.client.request(method, asked, headers=headers)
            answers.append(_without(response, *ids.values()))
        assert answers[0] == answers[1]
        assert answers[0][0] == 404
    assert (await api.get(f"/flows/{made['flow_id']}/history")).json()["total"] == version
    for name, (listed, _) in BESIDE.items():
        assert (await api.get(f"{listed}/{beside[name]}/events")).json()["total"] == version


def _without(response: httpx.Response, *ids: str) -> tuple[int, str, dict[str, str]]:
    """The answer with the asked ids taken out."""
    text, link = response.text, response.headers.get("link", "")
    for each in ids:
        text, link = text.replace(each, "ID"), link.replace(each, "ID")
    return response.status_code, text, {**response.headers, "link": link}


@pytest.mark.parametrize(("method", "path"), LISTS)
async def test_lists_hold_nothing_of_others(api: Api, method: str, path: str) -> None:
    made = await api.made()
    upload = await api.post("/imports", files={"file": ("a.csv", b"name\nweb01\n")})
    beside = await made_beside(api) | await told(api)

    response = await api.client.request(method, path, headers=new_tenant())

    assert response.status_code == 200
    assert made["flow_id"] not in response.text
    assert upload.json()["import_file_id"] not in response.text
    assert not [each for each in beside.values() if each in response.text]


@pytest.mark.parametrize(("method", "path"), [each for each in EVERY if each[1].startswith("/api/v1/")])
async def test_no_route_answers_nobody(api: Api, method: str, path: str) -> None:
    asked = path.replace("{flow_id}", str(uuid4())).replace("{import_id}", str(uuid4()))

    response = await api.client.request(method, asked)

    assert (response.status_code, response.json()["code"]) == (400, "tenant_missing")


async def test_keys_of_two_tenants_do_not_meet(api: Api, key: str) -> None:
    body = {"flow_type": "discovery", "flow_name": "Mine"}
    mine = await api.post("/flows", body, headers={"Idempotency-Key": key})
    theirs = await api.post("/flows", {**body, "flow_name": "Theirs"}, headers={**new_tenant(), "Idempotency-Key": key})

    assert (mine.status_code, theirs.status_code) == (201, 201)
    assert mine.json()["flow_id"] != theirs.json()["flow_id"]


async def test_a_command_for_a_flow_that_is_not_there_is_kept_as_refused(api: Api) -> None:
    flow_id = uuid4()
    for verb in ("pause", "retry"):
        assert (await api.client.post(f"/api/v1/flows/{flow_id}/{verb}", headers=api.tenant)).status_code == 404
    assert (await api.client.delete(f"/api/v1/flows/{flow_id}", headers=api.tenant)).status_code == 404
    async with api.app.state.service.side.pool.connection() as connection:
        cursor = await connection.execute(
            "select command, outcome, error::json ->> 'code' from command_log where flow_id = %s order by at",
            (flow_id,),
        )
        assert await cursor.fetchall() == [
            ("PauseFlow", "refused", "flow_not_found"),
            ("RetryFlow", "refused", "flow_not_found"),
            ("DeleteFlow", "refused", "flow_not_found"),
        ]


def test_every_verb_of_a_flow_is_known_to_the_door() -> None:
    routes = {route.path.rpartition("/")[2] for router in (verbs.router, back.router) for route in router.routes}  # type: ignore[attr-defined]
    assert routes - {"{checkpoint_id}"} == set(ASKED_BY)


async def test_a_verb_for_a_schedule_that_is_not_there_is_kept_as_refused(api: Api) -> None:
    schedule_id = uuid4()
    assert (await api.post(f"/schedules/{schedule_id}/trigger")).status_code == 404
    assert (await api.ask("DELETE", f"/schedules/{schedule_id}")).status_code == 404
    async with api.side.pool.connection() as connection:
        cursor = await connection.execute(
            "select command, outcome, error::json ->> 'code' from command_log where flow_id = %s order by at",
            (schedule_id,),
        )
        assert await cursor.fetchall() == [
            ("TriggerSchedule", "refused", "schedule_not_found"),
            ("DeleteSchedule", "refused", "schedule_not_found"),
        ]
