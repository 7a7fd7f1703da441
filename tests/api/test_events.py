"""Those who listen hear what happens to their flows: once, in order, across every break."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from api.app import run
from api.crowd import Crowd
from api.listening import Listener
from domain.errors import Overloaded
from domain.events import TOPICS, FlowCancelled, FlowCreated
from eventstore.service import ServiceConfig
from mfo.client import Client, ServiceError, blocks
from mfo.embedded.processes import free_port
from tests.api.conftest import Api, Json, config_for, new_tenant, problem
from tests.waiting import until


@asynccontextmanager
async def served(config: ServiceConfig) -> AsyncIterator[None]:
    """A real server on the address of the settings, ended with the block."""
    task = asyncio.create_task(run(config))
    try:
        await until(lambda: _listens(config.http_port), timeout=30)
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def config(shared_database_url: str) -> ServiceConfig:
    return config_for(shared_database_url, http_port=free_port(), flow_type_modules=("tests.versions.old",))


def client_of(config: ServiceConfig, tenant: dict[str, str] | None = None) -> Client:
    return Client(f"http://127.0.0.1:{config.http_port}", *(tenant or new_tenant()).values())


async def heard(client: Client, count: int, **options: Any) -> list[Json]:
    """So many events."""
    found: list[Json] = []
    async with aclosing(client.events(**options)) as events:
        async for event in events:
            found.append(event)
            if len(found) == count:
                break
    return found


async def make(client: Client, name: str = "x", flow_type: str = "discovery") -> Json:
    return await client.create_flow(flow_type, name, initial_data={"import_file_id": "f1"})


async def test_what_happens_is_heard_as_it_happens(config: ServiceConfig) -> None:
    async with served(config), client_of(config) as client, client_of(config) as stranger:
        first = await make(client, "before anybody listened")
        listening = asyncio.create_task(heard(client, 3))
        deaf = asyncio.create_task(heard(stranger, 1))
        from_there = asyncio.create_task(heard(client, 4, after=first["position"]))
        picky = asyncio.create_task(heard(client, 1, flow_type="released"))
        await until(lambda: _listening(config, 4))
        made = await make(client)
        await client.tell(made["flow_id"], "cancel", {"reason": "a test \u2028 of lines"})
        costs = await make(client, "costs", "released")
        events = await asyncio.wait_for(listening, 60)
        assert [(event["flow_id"], event["version"]) for event in events] == [
            (made["flow_id"], 1),
            (made["flow_id"], 2),
            (costs["flow_id"], 1),
        ]
        assert [event["type"] for event in events[:2]] == [TOPICS[FlowCreated], TOPICS[FlowCancelled]]
        assert events[1]["data"]["reason"] == "a test \u2028 of lines"
        assert {event["flow_type"] for event in events} == {"discovery", "released"}
        assert events[0]["position"] == made["position"]
        assert [event["flow_id"] for event in await asyncio.wait_for(picky, 60)] == [costs["flow_id"]]
        await make(client, "the fourth")
        assert (await asyncio.wait_for(from_there, 60))[:3] == events
        assert not deaf.done()
        deaf.cancel()
        of_one = await asyncio.wait_for(heard(client, 2, flow_id=made["flow_id"], after=first["position"]), 60)
        assert of_one == events[:2]
        with pytest.raises(ServiceError) as refused:
            await heard(client, 1, flow_id=str(uuid4()))
        assert refused.value.problem_code == "flow_not_found"
        with pytest.raises(ServiceError):
            await heard(stranger, 1, flow_id=made["flow_id"])


async def _listening(config: ServiceConfig, count: int) -> bool:
    async with httpx.AsyncClient() as client:
        metrics = (await client.get(f"http://127.0.0.1:{config.http_port}/metrics")).text
    return f"mfo_http_listeners {float(count)}" in metrics


async def test_nothing_is_lost_and_nothing_comes_twice_across_restarts(config: ServiceConfig, api: Api) -> None:
    """The service ends and begins again while flows are made elsewhere; the client goes on by itself."""
    async with client_of(config, api.tenant) as client:
        async with served(config):
            first = await make(client)
            found: list[Json] = []

            async def listen() -> None:
                async for event in client.events(after=first["position"]):
                    found.append(event)  # noqa: PERF401 - they are looked at while more come

            listening = asyncio.create_task(listen())
            made = [await api.made(project=False) for _ in range(3)]
            await until(lambda: len(found) >= 3)
        made += [await api.made(project=False) for _ in range(3)]
        async with served(config):
            made += [await api.made(project=False) for _ in range(3)]
            await until(lambda: len(found) >= 9, timeout=20)
            listening.cancel()
        assert [event["flow_id"] for event in found] == [flow["flow_id"] for flow in made]


async def test_a_listener_that_does_not_fetch_is_let_go_and_holds_up_nobody(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.listening.HELD_FRAMES", 5)
    tail = api.service.tail
    tenant = (api.account, api.account)
    api.tenant["X-Engagement-ID"] = str(api.account)
    slow, quick = Listener(tenant), Listener(tenant)
    sleeping, awake = tail.events(slow, None), tail.events(quick, None)
    start = [(await anext(stream)).decode() for stream in (sleeping, awake)]
    assert start[0].startswith("retry:")
    seen = b""
    for _ in range(8):
        await api.made(project=False)
        seen += await anext(awake)
    assert seen.count(b"event: flow") == 8
    assert (slow.gone, slow.idle, quick.gone) == (True, True, False)
    # what it had got to is enough to come back with
    with pytest.raises(StopAsyncIteration):
        await anext(sleeping)
    place = int(start[0].rpartition(":")[2])
    again = Listener(tenant)
    back = tail.events(again, place)
    await anext(back)
    assert (await anext(back)).count(b"event: flow") == 8
    for stream in (back, awake):
        await stream.aclose()
    assert tail.listening == 0


async def test_who_comes_back_hears_nothing_of_another_tenants_flows(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.listening.HEARTBEAT_SECONDS", 0.01)
    tail = api.service.tail
    mine = tail.events(Listener((api.account, UUID(api.tenant["X-Engagement-ID"]))), None)
    place = int((await anext(mine)).decode().rpartition(":")[2])
    made = await api.made(project=False)
    while made["flow_id"].encode() not in await asyncio.wait_for(anext(mine), 60):
        pass
    # of what lies between that place and now, too
    for stranger in ((api.account, uuid4()), (uuid4(), UUID(api.tenant["X-Engagement-ID"]))):
        back = tail.events(Listener(stranger), place)
        assert (await anext(back)).startswith(b"retry: ")
        assert (await asyncio.wait_for(anext(back), 60)).startswith(b": still here")
        await back.aclose()
    await mine.aclose()


async def test_a_quiet_stream_moves_the_place_on(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.listening.HEARTBEAT_SECONDS", 0.01)
    listener = Listener((uuid4(), uuid4()))
    stream = api.service.tail.events(listener, None)
    await anext(stream)
    made = await api.made(project=False)
    beat = b""
    while made["position"].encode() not in beat:
        beat = await asyncio.wait_for(anext(stream), 60)
        assert beat.startswith(b": still here\nid: ")
    # an end of the service ends it
    api.service.tail.close()
    with pytest.raises(StopAsyncIteration):
        await anext(stream)
    assert [text async for text in api.service.tail.events(listener, None)] == []


@pytest.mark.parametrize("given", ["12", "mfo:x", "other:3", "mfo:999999999999"])
async def test_an_id_that_is_none_is_refused(api: Api, given: str) -> None:
    body = problem(await api.get("/events", headers={"Last-Event-ID": given}), 422, "parameter_invalid")
    assert body["errors"][0]["field"] == "Last-Event-ID"
    problem(await api.get("/events?flow_type=demolition"), 422, "parameter_invalid")


async def test_blocks_are_found_however_the_bytes_come() -> None:
    text = (
        'retry: 1\nid: mfo:1\n\n: still here\nid: mfo:2\n\nid: mfo:3\nevent: flow\ndata: {"a": "\u2028"}\n\n'.encode()
    )

    async def parts() -> AsyncIterator[bytes]:
        for n in range(0, len(text), 7):
            yield text[n : n + 7]

    assert [block async for block in blocks(parts())] == [
        {"retry": "1", "id": "mfo:1"},
        {"id": "mfo:2"},
        {"id": "mfo:3", "event": "flow", "data": '{"a": "\u2028"}'},
    ]


def test_listeners_do_not_take_the_places_of_readers() -> None:
    crowd = Crowd(writes=1, uploads=1, body_bytes=1, longest_body=1, full=lambda: False)
    scope = {"type": "http", "method": "GET", "path": "/api/v1/events", "headers": []}
    for _ in range(2000):
        crowd.admit(scope)
    assert (crowd.under_way["listeners"], crowd.under_way["reads"]) == (2000, 0)
    assert not crowd.is_full(2000)
    with pytest.raises(Overloaded):
        crowd.admit(scope)
