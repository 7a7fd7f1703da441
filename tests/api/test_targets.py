"""Targets over HTTP: which are left alone, and having one tried at once."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from api import documents
from api.documents import TargetView
from eventstore.breakers import SHARED, Breaker, Breakers
from mfo.client import Client
from tests.api.conftest import Api, new_tenant, problem

LIMITS: dict[str, Any] = {"threshold": 1, "window_seconds": 60.0, "first_seconds": 50.0, "most_seconds": 300.0}


async def opened(api: Api, name: str, *, own: bool = False) -> Breaker:
    breaker = Breaker(str(api.account) if own else SHARED, name)
    await Breakers(api.side.pool).failed(breaker, None, "network", **LIMITS)
    return breaker


async def listed(api: Api, **params: Any) -> list[TargetView]:
    """All pages, two targets each."""
    found: list[TargetView] = []
    while True:
        answer = await api.get("/targets", params={"limit": 2, **params})
        assert answer.status_code == 200, answer.text
        page = documents.TargetList.model_validate(answer.json())
        found.extend(page.targets)
        if page.next_cursor is None:
            return found
        params["cursor"] = page.next_cursor


async def test_a_target_that_is_left_alone_says_why_and_until_when(api: Api) -> None:
    name = f"host-{uuid4().hex}"
    await opened(api, name)
    [found] = [one for one in await listed(api, state="open,half_open") if one.target == name]
    assert (found.state, found.reason, found.last_class, found.failures) == ("open", "failures", "network", 1)
    assert found.seconds_left is not None
    assert 0 < found.seconds_left <= 50
    assert found.open_until is not None
    assert found.shared
    assert not [one for one in await listed(api, state="closed") if one.target == name]


async def test_a_target_of_another_client_account_is_not_seen(api: Api) -> None:
    name = f"own-{uuid4().hex}"
    await opened(api, name, own=True)
    assert [one.shared for one in await listed(api) if one.target == name] == [False]
    api.tenant = new_tenant()
    assert not [one for one in await listed(api) if one.target == name]
    problem(await api.post(f"/targets/{name}/retry?own=true"), 404, "target_not_found")


async def test_every_page_is_given_once(api: Api) -> None:
    names = [f"page-{n}-{uuid4().hex}" for n in range(5)]
    for name in names:
        await opened(api, name, own=True)
        await opened(api, name)
    found = [(one.target, one.shared) for one in await listed(api) if one.target in names]
    assert sorted(found) == sorted((name, shared) for name in names for shared in (True, False))


async def test_a_target_is_tried_at_once(api: Api) -> None:
    breaker = await opened(api, f"host-{uuid4().hex}")
    breakers = Breakers(api.side.pool)
    assert not await breakers.probe(breaker, uuid4())
    answer = await api.post(f"/targets/{breaker.target}/retry")
    assert answer.status_code == 200
    assert documents.TargetView.model_validate(answer.json()).seconds_left == 0
    assert await breakers.probe(breaker, uuid4())
    # while one call is trying it there is nothing to ask for
    again = await api.post(f"/targets/{breaker.target}/retry")
    assert again.json()["state"] == "half_open"


async def test_what_cannot_be_is_refused(api: Api) -> None:
    problem(await api.get("/targets?state=ajar"), 422, "parameter_invalid")
    problem(await api.get("/targets?cursor=nonsense"), 422, "parameter_invalid")
    problem(await api.post("/targets/nobody-knows-it/retry"), 404, "target_not_found")


async def test_the_client_lists_and_retries(api: Api) -> None:
    breaker = await opened(api, f"host-{uuid4().hex}", own=True)
    tenant = [api.tenant[name] for name in ("X-Client-Account-ID", "X-Engagement-ID", "X-User-ID")]
    async with Client("http://service", *tenant) as client:
        await client._http.aclose()
        client._http = api.client
        api.client.headers.update(api.tenant)
        names = [one["target"] async for one in client.targets(states="open")]
        assert breaker.target in names
        assert (await client.retry_target(breaker.target, own=True))["seconds_left"] == 0
        assert (await client.retry_target(breaker.target, own=True))["asked_again_by"] == api.tenant["X-User-ID"]
