"""The service itself: health, metrics, types, projections, documents, correlation, and faults of the store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

import psycopg
import pytest
import structlog

from api import documents
from api.app import create_app
from tests.api.conftest import REACHED, Api, config_for, problem, started


async def test_flow_types(api: Api) -> None:
    listed = documents.FlowTypeList.model_validate((await api.get("/flow-types")).json())
    assert [each["name"] for each in listed.flow_types] == api.side.types.names()
    assert (listed.total, listed.next_cursor) == (len(api.side.types.names()), None)
    found = documents.FlowType.model_validate((await api.get("/flow-types/discovery")).json())
    assert [phase["name"] for phase in found.phases][-1] == "tech_debt_assessment"
    body = problem(await api.get("/flow-types/demolition"), 404, "flow_type_not_found")
    assert "discovery" in body["allowed"]


async def test_projections_and_the_flows_they_set_aside(api: Api) -> None:
    mine = await api.made()
    async with api.side.pool.connection() as connection:
        await connection.execute(
            "insert into parked_flows (projection, flow_id, version, error, since)"
            " values ('crewai_flow_state_extensions', %s, 1, 'no', mfo_now())",
            (UUID(mine["flow_id"]),),
        )

    listed = documents.ProjectionList.model_validate((await api.get("/projections")).json())
    flows = next(each for each in listed.projections if each.name == "crewai_flow_state_extensions")
    assert [str(each.flow_id) for each in flows.parked_flows] == [mine["flow_id"]]
    assert flows.position.startswith("mfo:")
    assert flows.lag >= 0
    assert flows.lag_seconds >= 0
    assert flows.rebuild is None or flows.rebuild.ended_at

    paged: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = documents.ProjectionList.model_validate((await api.get(f"/projections?limit=2{cursor}")).json())
        assert (len(page.projections) <= 2, page.total) == (True, listed.total)
        paged += [each.name for each in page.projections]
        cursor = f"&cursor={page.next_cursor}" if page.next_cursor else None
    assert paged == [each.name for each in listed.projections]
    problem(await api.get("/flow-types?cursor=x"), 422, "parameter_invalid")
    problem(await api.get("/flow-types?limit=0"), 422, "parameter_invalid")


async def test_a_rebuild_is_shown_while_its_process_lives_and_when_it_is_gone(api: Api) -> None:
    await api.made()
    async with api.side.pool.connection() as connection:
        await connection.execute(
            "insert into projection_rebuilds (projection, version, state, flows_total, flows_done, eta_seconds, owner,"
            " started_at, updated_at) values ('inventory', 1, 'filling', 9, 3, 4.5, 'x', mfo_now(), mfo_now())"
        )
        await connection.execute("select pg_advisory_lock(7, hashtext(current_schema() || 'inventory'))")

        async def shown() -> documents.ProjectionView:
            listed = documents.ProjectionList.model_validate((await api.get("/projections")).json())
            return next(each for each in listed.projections if each.name == "inventory")

        found = await shown()
        assert found.rebuild is not None
        assert (found.state, found.eta_seconds, found.rebuild.state) == ("rebuilding", 4.5, "filling")
        await connection.execute("select pg_advisory_unlock(7, hashtext(current_schema() || 'inventory'))")
        found = await shown()
        assert found.rebuild is not None
        assert (found.state, found.rebuild.state) == ("live", "interrupted")
        await connection.execute("delete from projection_rebuilds")


@pytest.mark.parametrize("given", ["abc", "x" * 255])
async def test_a_correlation_id_goes_everywhere(api: Api, given: str) -> None:
    made = await api.post("/flows", {"flow_type": "discovery", "flow_name": "x"}, headers={"X-Correlation-ID": given})
    assert made.headers["x-correlation-id"] == given
    history = (await api.get(f"/flows/{made.json()['flow_id']}/history")).json()
    assert history["events"][0]["correlation_id"] == given
    lost = await api.client.get("/nothing", headers={"X-Correlation-ID": given})
    assert problem(lost, 404, "route_not_found")["correlation_id"] == given


@pytest.mark.parametrize("given", [None, "", "x" * 256, "a\tb", "\u00e9"])
async def test_a_correlation_id_is_made_where_none_can_be_taken(api: Api, given: str | None) -> None:
    headers = [] if given is None else [(b"X-Correlation-ID", given.encode("latin-1"))]

    response = await api.client.get("/health/live", headers=headers)

    assert UUID(response.headers["x-correlation-id"])


async def test_every_request_has_a_log_line(api: Api) -> None:
    with structlog.testing.capture_logs() as lines:
        await api.made(project=False)
        await api.client.get("/nothing")

    created, lost = [line for line in lines if line["event"] == "request"]
    assert (created["method"], created["route"], created["status"]) == ("POST", "/api/v1/flows", 201)
    assert created["client_account_id"] == str(api.account)
    assert created["ms"] > 0
    assert (lost["route"], lost["status"]) == ("unknown", 404)


async def test_metrics(api: Api) -> None:
    await api.made(project=False)

    text = (await api.client.get("/metrics")).text

    assert 'mfo_http_requests_total{method="POST",route="/api/v1/flows",status="201"}' in text
    assert 'mfo_http_request_seconds_bucket{le="0.03",method="POST",route="/api/v1/flows"}' in text
    assert 'mfo_commands_total{command="CreateFlow",outcome="accepted"}' in text


async def test_a_crash_shows_nothing_of_the_inside(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    async def crash(*_: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(type(api.side.imports), "page", crash)
    with structlog.testing.capture_logs() as lines:
        response = await api.get("/imports")

    problem(response, 500, "internal_error")
    assert "secret" not in response.text
    assert [line["event"] for line in lines] == ["request crashed", "request"]


@pytest.mark.parametrize(
    "path", ["/health/live", "/health/ready", "/health/doctor", "/metrics", "/openapi.json", "/docs"]
)
async def test_whoever_watches_the_service_may_ask_with_head(api: Api, path: str) -> None:
    shown, asked = await api.client.get(path), await api.client.head(path)

    assert asked.status_code == shown.status_code
    assert asked.headers["content-type"] == shown.headers["content-type"]
    refused = await api.client.put(path)
    assert problem(refused, 405, "method_not_allowed")["allowed"] == ["GET", "HEAD"]


@pytest.fixture
async def alone(database_url: str) -> AsyncIterator[Api]:
    """The service on a database of its own, and a listener where Kafka should be."""
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, started(config_for(database_url, kafka_bootstrap=f"127.0.0.1:{port}")) as running:
        yield running


async def test_ready_only_when_every_part_is(alone: Api) -> None:
    async def state() -> documents.Ready:
        response = await alone.client.get("/health/ready")
        ready = documents.Ready.model_validate(response.json())
        assert response.status_code == (200 if ready.status == "ready" else 503)
        return ready

    ready = await state()
    assert (ready.status, ready.database.state, ready.kafka.state) == ("not_ready", "up", "up")
    assert "consumers" in (ready.relay.reason or "")
    assert "projections" in (ready.projections.reason or "")

    async with alone.side.pool.connection() as connection:
        await connection.execute("insert into relay (name, leader, moved_at) values ('kafka', 'host:1', mfo_now())")
        await connection.execute(REACHED, ("crewai_flow_state_extensions", 0))
    ready = await state()
    assert (ready.status, ready.relay.leader, ready.projections.lag) == (
        "ready",
        "host:1",
        {"crewai_flow_state_extensions": 0},
    )

    async with alone.side.pool.connection() as connection:
        await connection.execute("update clock set shift = interval '11 s'")
    ready = await state()
    assert (ready.relay.state, ready.projections.state) == ("down", "down")
    assert "silent" in (ready.relay.reason or "")


async def test_no_broker_is_not_ready(api: Api) -> None:
    response = await api.client.get("/health/ready")

    assert response.status_code == 503
    assert response.json()["kafka"] == {
        "state": "down",
        "reason": "no broker answers at 127.0.0.1:1",
        "bootstrap": "127.0.0.1:1",
    }


async def test_without_its_store_the_service_says_so_and_comes_back(alone: Api, postgres_url: str) -> None:
    made = await alone.made()
    database = str(alone.side.pool.conninfo)
    name = psycopg.conninfo.conninfo_to_dict(database)["dbname"]

    def allow(yes: bool) -> None:
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            connection.execute(f'alter database "{name}" allow_connections {yes}')
            if not yes:
                connection.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", (name,))

    await asyncio.to_thread(allow, False)
    try:
        response = await alone.client.get("/health/ready")
        assert (response.status_code, response.json()["database"]["state"]) == (503, "down")
        lost = await alone.post("/flows", {"flow_type": "discovery", "flow_name": "x"})
        problem(lost, 503, "store_unavailable")
        assert lost.headers["retry-after"] == "1"
    finally:
        await asyncio.to_thread(allow, True)
    async with asyncio.timeout(30):
        while (await alone.get(f"/flows/{made['flow_id']}")).status_code != 200:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert (await alone.client.get("/health/ready")).json()["database"]["state"] == "up"
    assert (await alone.post("/flows", {"flow_type": "discovery", "flow_name": "x"})).status_code == 201


# what a command may be bound to a version of
VERSIONED = (
    *("/flows/{flow_id}", "{schedule_id}", "/operations/{operation_id}"),
    *("/standing-pauses/{standing_pause_id}", "/pause-rules/{pause_rule_id}"),
)


def test_the_document_names_every_header_and_problem() -> None:
    told = create_app(config_for("postgresql:///none")).openapi()

    for path, methods in told["paths"].items():
        for method, operation in methods.items():
            refs = {each["$ref"].rpartition("/")[2] for each in operation["parameters"] if "$ref" in each}
            assert "Correlation" in refs
            assert ({"ClientAccount", "Engagement", "User"} <= refs) == path.startswith("/api/v1")
            # asking a target twice is asking it once, and a check asks nothing of a flow: no commands
            command = (
                method in ("post", "delete", "put") and not {"targets", "flow-types"} & set(path.split("/"))
            ) or (
                method == "patch"
                and (any(each in path for each in ("{schedule_id}", "{subscription_id}", "/imports/{")))
            )
            assert ("IdempotencyKey" in refs) == command
            # a repair takes the flow as it is found, whatever its version
            versioned = any(each in path for each in VERSIONED) and not path.endswith("/repair")
            assert ("IfMatch" in refs) == (command and versioned)
            assert ("IfNoneMatch" in refs) == ("304" in operation["responses"])
            for status, response in operation["responses"].items():
                if int(status) >= 400 and path.startswith("/api/v1"):
                    assert list(response["content"]) == ["application/problem+json"]
    assert "flow_id" not in told["components"]["schemas"]["CreateFlow"]["properties"]
    assert told["components"]["schemas"]["CreateFlow"]["required"] == ["flow_type", "flow_name"]
    assert told["paths"]["/api/v1/flows"]["post"]["requestBody"]["required"]
    refs = _references(told)
    assert refs <= {f"#/components/{kind}/{name}" for kind, each in told["components"].items() for name in each}


def _references(value: object) -> set[str]:
    if isinstance(value, dict):
        own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return own.union(*(_references(inner) for inner in value.values()))
    if isinstance(value, list):
        return set().union(*(_references(inner) for inner in value))
    return set()


async def test_the_documents_are_served(api: Api) -> None:
    assert (await api.client.get("/openapi.json")).json()["openapi"].startswith("3.")
    assert "swagger" in (await api.client.get("/docs")).text
