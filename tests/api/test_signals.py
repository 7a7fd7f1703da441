"""Signals over HTTP: kept in order, each once, and seen in the status until somebody waits for them."""

from __future__ import annotations

from uuid import UUID, uuid4

from api import documents
from domain.commands import SuspendRun
from domain.deciding.suspending import MAX_PAYLOAD_BYTES
from mfo.client import Client
from tests.api.conftest import Api, new_tenant, problem


async def test_a_signal_is_kept_until_somebody_waits_and_then_taken_up(api: Api) -> None:
    made = await api.made(options={"auto_execute": True})
    path = f"/flows/{made['flow_id']}"
    told = await api.post(f"{path}/signals", {"name": "approved", "payload": {"n": 1}, "signal_id": "a"})
    assert documents.VerbAnswer.model_validate(told.json()).status == "processing"
    again = await api.post(f"{path}/signals", {"name": "approved", "payload": {"n": 1}, "signal_id": "a"})
    assert (again.status_code, again.json()["version"]) == (200, told.json()["version"])
    status = (await api.get(f"{path}/status?consistency=strong")).json()
    assert documents.FlowStatusAnswer.model_validate(status).signals == {"approved": 1}

    run = await api.run_of(made["flow_id"])
    waits = {"run_id": run.run_id, "token": run.token, "name": "wait:signal:x:1", "timeout_seconds": 60}
    until = {"kind": "signal", "name": "x"}
    await api.work(SuspendRun(flow_id=UUID(made["flow_id"]), until=until, **waits))
    status = (await api.get(f"{path}/status?consistency=strong")).json()
    shown = documents.FlowStatusAnswer.model_validate(status)
    assert shown.suspended is not None
    assert (shown.suspended.message, shown.suspended.until) == ("signal 'x'", until)
    assert shown.suspended.expires_at is not None
    assert (shown.next_action.type, shown.allowed[0]) == ("wait", "signals")
    assert [timer.name for timer in shown.timers] == ["wait"]
    refused = problem(await api.post(f"{path}/execute"), 409, "phase_already_running")
    assert "waits for signal 'x'" in refused["detail"]
    await api.post(f"{path}/signals", {"name": "x"})
    assert (await api.run_of(made["flow_id"])).attempt == run.attempt


async def test_what_is_wrong_with_a_signal_is_said(api: Api) -> None:
    made = await api.made()
    path = f"/flows/{made['flow_id']}/signals"
    for body, field in (({}, "name"), ({"name": "x", "payload": 3}, "payload"), ({"name": "x", "to": 1}, "to")):
        wrong = problem(await api.post(path, body), 422, "body_invalid")
        assert wrong["errors"][0]["field"] == field
    large = {"name": "x", "payload": {"text": "x" * MAX_PAYLOAD_BYTES}}
    problem(await api.post(path, large), 413, "signal_too_large")
    await api.post(f"/flows/{made['flow_id']}/cancel")
    problem(await api.post(path, {"name": "x"}), 409, "flow_is_over")
    problem(await api.post(f"/flows/{uuid4()}/signals", {"name": "x"}), 404, "flow_not_found")
    api.tenant = new_tenant()
    problem(await api.post(path, {"name": "x"}), 404, "flow_not_found")


async def test_a_signal_for_a_flow_that_is_not_there_is_kept_as_refused(api: Api) -> None:
    nowhere = uuid4()
    problem(await api.post(f"/flows/{nowhere}/signals", {"name": "x"}), 404, "flow_not_found")
    async with api.side.pool.connection() as connection:
        cursor = await connection.execute("select command, outcome from command_log where flow_id = %s", (nowhere,))
        assert await cursor.fetchall() == [("SignalFlow", "refused")]


async def test_the_client_tells_a_flow_too(api: Api) -> None:
    made = await api.made()
    tenant = [api.tenant[name] for name in ("X-Client-Account-ID", "X-Engagement-ID", "X-User-ID")]
    async with Client("http://service", *tenant) as client:
        await client._http.aclose()
        client._http = api.client
        api.client.headers.update(api.tenant)
        told = await client.signal(made["flow_id"], "approved", {"n": 1}, signal_id="a")
    assert told["version"] == 2
