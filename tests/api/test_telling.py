"""Subscriptions and notifications over HTTP: kept, audited, the tenant's own, and refused by name where not allowed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import pytest

from api import telling_documents as documents
from domain.addresses import Addressing
from eventstore.notifications import ToTell, make
from eventstore.service import TellingConfig
from tests.api.conftest import Api, Json, config_for, new_tenant, problem, started

HOOK = {"kind": "webhook", "url": "https://hooks.example.com/T0/secret-path"}
MAIL = {"kind": "email", "address": "ann@example.com"}
ALLOWED = Addressing(mail=True, email_domains=("example.com",), webhook_hosts=("hooks.example.com",))


@pytest.fixture
async def telling(shared_database_url: str) -> AsyncIterator[Api]:
    config = config_for(shared_database_url, telling=TellingConfig(addressing=ALLOWED))
    async with started(config) as running:
        yield running


async def rows(api: Api, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
    async with api.side.pool.connection() as connection:
        cursor = await connection.execute(statement.encode(), parameters)
        return await cursor.fetchall() if cursor.description else []


async def subscribed(api: Api, body: Json = HOOK, **headers: str) -> Json:
    response = await api.post("/subscriptions", body, headers=headers)
    assert response.status_code == 201, response.text
    made: Json = response.json()
    documents.SubscriptionMade.model_validate(made)
    assert response.headers["location"] == f"/api/v1/subscriptions/{made['subscription_id']}"
    return made


async def notified(api: Api, subscription_id: str | None = None, *, flow_id: UUID | None = None) -> str:
    """A notification that nobody sends here."""
    tell = ToTell(
        flow_id=flow_id or uuid4(),
        version=3,
        client_account_id=api.account,
        engagement_id=UUID(api.tenant["X-Engagement-ID"]),
        event="flow.completed",
        subscription_id=UUID(subscription_id) if subscription_id else None,
        kind="webhook" if subscription_id else "email",
        target="https://hooks.example.com/x" if subscription_id else "ann@example.com",
        payload={"type": "flow.completed", "timestamp": "2026-11-20T12:00:00Z", "data": {}},
    )
    async with api.side.pool.connection() as connection:
        assert await make(connection, [tell]) == 1
        assert await make(connection, [tell]) == 0
    return str(tell.id)


async def test_a_webhooks_secret_is_shown_to_whoever_made_it_and_never_again(telling: Api, key: str) -> None:
    wanted = {
        **HOOK,
        "description": "Ops",
        "events": ["flow.failed"],
        "filter": {"flow_type": "Discovery", "tag": "june"},
    }
    made = await subscribed(telling, wanted, **{"Idempotency-Key": key})
    assert made["secret"].startswith("whsec_")
    assert len(made["secret"]) == 6 + 44
    # an answer that was lost can be had again, for a while
    assert await subscribed(telling, wanted, **{"Idempotency-Key": key}) == made
    problem(await telling.post("/subscriptions", HOOK, headers={"Idempotency-Key": key}), 422, "idempotency_key_reused")
    await rows(telling, "update command_ids set at = at - interval '11 min' where command_id = %s", key)
    assert "secret" not in await subscribed(telling, wanted, **{"Idempotency-Key": key})

    one = documents.SubscriptionView.model_validate(
        (await telling.get(f"/subscriptions/{made['subscription_id']}")).json()
    )
    assert (one.url, one.address, one.state, one.created_by) == (HOOK["url"], None, "active", "maria@example.com")
    assert (one.filter.flow_type, one.filter.tag, [str(e) for e in one.events]) == (
        "discovery",
        "june",
        ["flow.failed"],
    )
    assert await telling.logged(key) == [
        ("CreateSubscription", "accepted", None),
        ("CreateSubscription", "repeated", None),
        ("CreateSubscription", "refused", "idempotency_key_reused"),
        ("CreateSubscription", "repeated", None),
    ]
    [(body,)] = await rows(
        telling,
        "select convert_from(body, 'UTF8') from command_log where command_id = %s and outcome = 'accepted'",
        key,
    )
    assert "hooks.example.com" in body
    assert "secret-path" not in body
    assert "whsec_" not in body


@pytest.mark.parametrize(
    ("body", "code", "word"),
    [
        ({**HOOK, "url": "https://evil.test/x"}, "not_allowed", "MFO_WEBHOOK_HOSTS"),
        ({**HOOK, "url": "http://hooks.example.com/x"}, "not_allowed", "MFO_WEBHOOK_ALLOW_HTTP"),
        ({**MAIL, "address": "eve@evil.test"}, "not_allowed", "MFO_NOTIFY_EMAIL_DOMAINS"),
        ({**HOOK, "filter": {"flow_type": "nonsense"}}, "flow_type_unknown", "discovery"),
        ({**MAIL, "url": "https://hooks.example.com"}, "body_invalid", "no url"),
        ({**HOOK, "url": "https://u:p@hooks.example.com"}, "body_invalid", "url"),
        ({**HOOK, "colour": 1}, "body_invalid", "colour"),
        ({**HOOK, "description": "a\x00b"}, "body_invalid", "NUL"),
        ({}, "body_invalid", "kind"),
    ],
)
async def test_what_is_not_allowed_is_refused_by_name(telling: Api, key: str, body: Json, code: str, word: str) -> None:
    first = problem(await telling.post("/subscriptions", body, headers={"Idempotency-Key": key}), 422, code)
    assert word in first["detail"]
    if code == "not_allowed":
        assert await telling.logged(key) == [("CreateSubscription", "refused", code)]
        again = problem(await telling.post("/subscriptions", body, headers={"Idempotency-Key": key}), 422, code)
        assert again["detail"] == first["detail"]
        assert (await telling.logged(key))[1:] == [("CreateSubscription", "repeated", code)]


async def test_where_nothing_is_set_up_nothing_is_promised(api: Api) -> None:
    assert "MFO_SMTP_URL" in problem(await api.post("/subscriptions", MAIL), 409, "not_supported")["detail"]
    problem(await api.post("/subscriptions", HOOK), 422, "not_allowed")
    flow = {"flow_type": "discovery", "flow_name": "E", "options": {"notification_emails": ["ann@example.com"]}}
    refused = problem(await api.post("/flows", flow), 409, "not_supported")
    assert "MFO_SMTP_URL" in refused["detail"]
    assert refused["errors"][0]["field"] == "options.notification_emails"


async def test_a_flow_or_a_schedule_names_who_is_told_where_that_is_allowed(telling: Api) -> None:
    options = {"notification_emails": ["ann@example.com"]}
    made = await telling.made(options=options)
    detail = (await telling.get(f"/flows/{made['flow_id']}", params={"consistency": "strong"})).json()
    assert "ann@example.com" in str(detail)
    flow = {"flow_type": "discovery", "flow_name": "E", "options": {"notification_emails": ["eve@evil.test"]}}
    assert "eve@evil.test" in problem(await telling.post("/flows", flow), 422, "not_allowed")["detail"]
    flow["options"] = {"notification_emails": ["no address"]}
    refused = problem(await telling.post("/flows", flow), 422, "body_invalid")
    assert refused["errors"][0]["field"] == "options.notification_emails.0"

    schedule = {
        "name": "Nightly",
        "timing": {"cron": "0 6 * * *"},
        "flow": {"flow_type": "discovery", "options": options},
    }
    response = await telling.post("/schedules", schedule)
    assert response.status_code == 201, response.text
    assert response.json()["flow"]["options"]["notification_emails"] == ["ann@example.com"]
    schedule["flow"] = {"flow_type": "discovery", "options": {"notification_emails": ["eve@evil.test"]}}
    problem(await telling.post("/schedules", schedule), 422, "not_allowed")


async def test_a_subscription_is_changed_switched_off_and_on_and_deleted(telling: Api) -> None:
    subscription_id = (await subscribed(telling))["subscription_id"]
    path = f"/subscriptions/{subscription_id}"
    waiting = await notified(telling, subscription_id)

    changed = (await telling.ask("PATCH", path, json={"events": ["flow.failed"], "description": "Ops"})).json()
    assert (changed["events"], changed["description"], changed["url"]) == (["flow.failed"], "Ops", HOOK["url"])
    problem(await telling.ask("PATCH", path, json={"url": "https://evil.test"}), 422, "not_allowed")
    problem(await telling.ask("PATCH", path, json={"address": "ann@example.com"}), 422, "body_invalid")
    problem(await telling.ask("PATCH", path, json={"enabled": None}), 422, "body_invalid")

    off = (await telling.ask("PATCH", path, json={"enabled": False})).json()
    assert (off["state"], off["reason"]) == ("disabled", "disabled by maria@example.com")
    dropped = documents.NotificationDetail.model_validate((await telling.get(f"/notifications/{waiting}")).json())
    assert (dropped.state, dropped.last_error) == ("dropped", "disabled by maria@example.com")
    problem(await telling.post(f"/notifications/{waiting}/replay"), 409, "subscription_disabled")
    on = (await telling.ask("PATCH", path, json={"enabled": True})).json()
    assert (on["state"], on["reason"]) == ("active", None)
    assert (await telling.post(f"/notifications/{waiting}/replay")).json()["state"] == "pending"

    rotated = documents.SubscriptionMade.model_validate((await telling.post(f"{path}/rotate", {})).json())
    assert rotated.secret
    assert rotated.former_until is not None
    mail = (await subscribed(telling, MAIL))["subscription_id"]
    problem(await telling.post(f"/subscriptions/{mail}/rotate", {}), 409, "no_secret")

    for _ in range(2):
        response = await telling.ask("DELETE", path, headers={"Idempotency-Key": f"d-{subscription_id}"})
        assert response.status_code == 204
    problem(await telling.get(path), 404, "subscription_not_found")
    problem(await telling.ask("DELETE", path), 404, "subscription_not_found")
    assert await rows(
        telling, "select state, secret, former_secret from subscriptions where id = %s", subscription_id
    ) == [("deleted", None, None)]
    log = await rows(
        telling,
        "select command from command_log where flow_id = %s and outcome = 'accepted' order by at",
        subscription_id,
    )
    assert [row[0] for row in log] == [
        *("CreateSubscription", "UpdateSubscription", "UpdateSubscription", "UpdateSubscription"),
        *("RotateSubscriptionSecret", "DeleteSubscription"),
    ]


async def test_a_tenant_has_so_many_subscriptions_and_no_more(telling: Api) -> None:
    telling.tenant = new_tenant()
    await rows(
        telling,
        "insert into subscriptions (id, client_account_id, engagement_id, kind, target, events, after_position, created_by,"
        " created_at, updated_by, updated_at) select gen_random_uuid(), %s, %s, 'email', 'a@example.com', '{}', 0, 'x',"
        " mfo_now(), 'x', mfo_now() from generate_series(1, 100)",
        telling.account,
        UUID(telling.tenant["X-Engagement-ID"]),
    )
    problem(await telling.post("/subscriptions", MAIL), 409, "subscriptions_full")


async def test_lists_are_paged_and_the_tenants_own(telling: Api) -> None:
    telling.tenant = new_tenant()
    hooks = [(await subscribed(telling))["subscription_id"] for _ in range(3)]
    await subscribed(telling, MAIL)
    told = [await notified(telling, each) for each in hooks]
    flow_id = uuid4()
    told.append(await notified(telling, flow_id=flow_id))
    for path, name, wanted, params in (
        ("/subscriptions", "subscriptions", list(reversed(hooks)), {"kind": "webhook"}),
        ("/notifications", "notifications", list(reversed(told)), {"state": "pending"}),
        ("/notifications", "notifications", told[-1:], {"flow_id": str(flow_id)}),
        ("/notifications", "notifications", told[:1], {"subscription_id": hooks[0]}),
        ("/notifications", "notifications", [], {"event": "flow.failed"}),
        ("/subscriptions", "subscriptions", [], {"state": "disabled"}),
    ):
        found: list[str] = []
        cursor = None
        while True:
            response = await telling.get(path, params={"limit": 2, **params} | ({"cursor": cursor} if cursor else {}))
            assert response.status_code == 200, response.text
            found += [each[f"{name[:-1]}_id"] for each in response.json()[name]]
            cursor = response.json()["next_cursor"]
            if not cursor:
                break
        assert found == wanted
    telling.tenant = new_tenant()
    assert (await telling.get("/notifications")).json()["notifications"] == []
    for path in (f"/subscriptions/{hooks[0]}", f"/notifications/{told[0]}"):
        assert (await telling.get(path)).status_code == 404
    for path in (f"/subscriptions/{hooks[0]}/rotate", f"/notifications/{told[0]}/replay"):
        assert (await telling.post(path)).status_code == 404
    assert (await telling.ask("DELETE", f"/subscriptions/{hooks[0]}")).status_code == 404
    assert (await telling.ask("PATCH", f"/subscriptions/{hooks[0]}", json={"enabled": False})).status_code == 404


async def test_a_replay_is_done_once_and_kept(telling: Api, key: str) -> None:
    told = await notified(telling)
    for _ in range(2):
        again = await telling.post(f"/notifications/{told}/replay", headers={"Idempotency-Key": key})
        assert documents.NotificationDetail.model_validate(again.json()).replays == 1
    problem(await telling.post(f"/notifications/{told}/replay", {"x": 1}), 422, "body_invalid")
    problem(await telling.post(f"/notifications/{uuid4()}/replay"), 404, "notification_not_found")
    assert await telling.logged(key) == [
        ("ReplayNotification", "accepted", None),
        ("ReplayNotification", "repeated", None),
    ]
