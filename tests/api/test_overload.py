"""More than can be done is turned away before it is read; what was accepted is done, and it goes on at once."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from uuid import uuid4

import httpx
import pytest

from api import documents
from api.app import run
from api.hurry import refusal_of
from eventstore.database import connect
from eventstore.service import ServiceConfig
from tests.api.conftest import Api, config_for, new_tenant, problem, started
from tests.consumers.conftest import client_of
from tests.consumers.test_intake import CREATE, Door
from tests.eventstore.house import open_house
from tests.waiting import until

BODY = {"flow_type": "discovery", "flow_name": "Estate"}


@asynccontextmanager
async def store_held(config: ServiceConfig) -> AsyncIterator[None]:
    """As long as it lasts, the store appends nothing."""
    connection = await connect(config.database_url)
    try:
        async with connection.transaction():
            await connection.execute("select pg_advisory_xact_lock(hashtext(current_schema()), 1)")
            yield
    finally:
        await connection.close()


@asynccontextmanager
async def opened(door: Door) -> AsyncIterator[Door]:
    await door.open()
    try:
        yield door
    finally:
        await door.close()


@pytest.fixture
async def narrow(shared_database_url: str) -> AsyncIterator[Api]:
    async with started(config_for(shared_database_url, http_in_flight=4, uploads_at_once=1)) as api:
        yield api


async def test_writes_beyond_the_limit_are_told_to_come_again(narrow: Api) -> None:
    async with store_held(narrow.side.config):
        asked = [asyncio.create_task(narrow.post("/flows", BODY)) for _ in range(4)]
        await until(lambda: narrow.app.state.crowd.under_way["writes"] == 4)
        for _ in range(30):
            away = await narrow.post("/flows", BODY)
            problem(away, 503, "overloaded")
            assert away.headers["retry-after"] == "1"
        # reading goes on, and so do those who look after the service
        assert (await narrow.get("/flow-types")).status_code == 200
        health = (await narrow.client.get("/health/ready")).json()["commands"]
        assert (health["state"], health["in_flight"]) == ("up", 4)
        assert health["reason"] == "commands are turned away: too many wait"
    assert [(await answer).status_code for answer in asked] == [201] * 4
    assert (await narrow.post("/flows", BODY)).status_code == 201
    text = (await narrow.client.get("/metrics")).text
    assert 'mfo_http_turned_away_total{what="writes"} 30.0' in text
    assert narrow.app.state.crowd.bytes == 0


async def test_bodies_together_take_so_much_and_no_more(shared_database_url: str) -> None:
    async with started(config_for(shared_database_url, max_queue_bytes=1 << 20)) as api:
        large = {**BODY, "initial_data": {"text": "x" * 600_000}}
        async with store_held(api.side.config):
            first = asyncio.create_task(api.post("/flows", large))
            await until(lambda: api.app.state.crowd.bytes > 600_000)
            problem(await api.post("/flows", large), 503, "overloaded")
        assert (await first).status_code == 201
        assert (await api.post("/flows", large)).status_code == 201


async def test_uploads_beyond_the_limit_are_not_read(narrow: Api) -> None:
    arrived, go = asyncio.Event(), asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\nname\r\n'
        arrived.set()
        await go.wait()
        yield b"web01\r\n--b--\r\n"

    kind = {"Content-Type": "multipart/form-data; boundary=b"}
    first = asyncio.create_task(narrow.ask("POST", "/imports", content=slowly(), headers=kind))
    await arrived.wait()
    problem(await narrow.ask("POST", "/imports", files={"file": ("b.csv", b"name\n")}), 503, "overloaded")
    go.set()
    assert (await first).status_code == 201
    assert (await narrow.ask("POST", "/imports", files={"file": ("b.csv", b"name\n")})).status_code == 201


async def test_waiting_for_a_result_takes_no_place_from_those_who_write(narrow: Api) -> None:
    flows = [(await narrow.made(project=False))["flow_id"] for _ in range(4)]
    waiting = [
        asyncio.create_task(narrow.post(f"/flows/{flow_id}/execute", params={"wait": "true", "wait_ms": 20_000}))
        for flow_id in flows
    ]
    crowd = narrow.app.state.crowd
    await until(lambda: (crowd.under_way["writes"], crowd.under_way["reads"]) == (0, 4))
    assert (await narrow.post("/flows", BODY)).status_code == 201
    for flow_id in flows:
        await narrow.complete(flow_id)
    assert [(await answer).status_code for answer in waiting] == [200] * 4


async def test_a_full_queue_holds_kafka_back_and_loses_nothing(
    database_url: str, kafka: str, topic_prefix: str
) -> None:
    async with (
        open_house(database_url, kafka_bootstrap=kafka, topic_prefix=topic_prefix, max_queue=3) as house,
        opened(Door(house.side.config, house.committer)) as door,
        client_of(house.side.config) as client,
    ):
        flow_ids = [uuid4() for _ in range(40)]
        async with store_held(house.side.config):
            sent = [await client.send("CreateFlow", flow_id, CREATE) for flow_id in flow_ids]
            sent += [await client.send("PauseFlow", flow_id) for flow_id in flow_ids]
            await until(lambda: door.intake.waiting, 60)
            assert house.committer.waiting <= 3
        replies = await asyncio.gather(*(client.reply(command_id) for command_id in sent))
    assert {(reply["outcome"], reply["version"]) for reply in replies} == {("accepted", 1), ("accepted", 2)}


WHOLE = b"POST /api/v1/flows HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nX-Correlation-ID: c-7\r\n\r\n{}"


def test_a_whole_write_is_refused_by_its_bytes() -> None:
    refusal = refusal_of(WHOLE.replace(b"Host: x", b"Connection: keep-alive"))
    assert refusal is not None
    head, _, body = refusal.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 ")
    assert b"retry-after: 1" in head
    assert b"x-correlation-id: c-7" in head
    document = documents.Problem.model_validate_json(body)
    assert (document.code, document.instance, document.correlation_id) == ("overloaded", "/api/v1/flows", "c-7")


@pytest.mark.parametrize(
    "data",
    [
        WHOLE[:-1],
        WHOLE + WHOLE,
        WHOLE.replace(b"Content-Length: 2", b"Transfer-Encoding: chunked"),
        WHOLE.replace(b"Content-Length: 2", b"Content-Length: 2\r\nContent-Length: 2"),
        WHOLE.replace(b"Content-Length: 2", b"Content-Length: +2"),
        WHOLE.replace(b"Host: x", b"Expect: 100-continue"),
        WHOLE.replace(b"Host: x", b"Connection: close"),
        WHOLE.replace(b"HTTP/1.1", b"HTTP/1.0"),
        WHOLE.replace(b"POST", b"GET"),
        WHOLE.replace(b"flows", b"imports"),
        b"\x16\x03\x01",
    ],
)
def test_what_is_not_plainly_one_whole_write_takes_the_usual_way(data: bytes) -> None:
    assert refusal_of(data) is None


async def test_a_connection_that_was_turned_away_is_as_good_as_before(shared_database_url: str) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = config_for(shared_database_url, http_in_flight=2, http_port=port)
    serving = asyncio.create_task(run(config))
    url = f"http://127.0.0.1:{port}/api/v1/flows"
    async with httpx.AsyncClient(headers=new_tenant(), timeout=60) as client:

        async def answers() -> bool:
            with suppress(httpx.TransportError):
                return (await client.get(url)).status_code == 200
            return False

        await until(answers, 60)
        async with store_held(config):
            asked = [asyncio.create_task(client.post(url, json=BODY)) for _ in range(12)]
            await until(lambda: sum(each.done() for each in asked) == 10, 60)
            away = [each.result() for each in asked if each.done()]
            for response in away:
                problem(response, 503, "overloaded")
            assert (await client.get(url)).status_code == 200
        assert sorted([(await each).status_code for each in asked]) == [201, 201, *[503] * 10]
        assert (await client.post(url, json=BODY)).status_code == 201
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
