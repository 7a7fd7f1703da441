"""Why a flow stands still, in its status."""

from __future__ import annotations

from uuid import uuid4

from api import documents
from domain.commands import ReassignRun
from eventstore.claims import Claims, Offer, kind
from tests.api.conftest import Api

TIMEOUT = {"class": "timeout", "code": "timeout", "message": "no answer", "retryable": True}


async def waiting(api: Api, flow_id: str, **params: str) -> documents.WaitingFor | None:
    response = await api.get(f"/flows/{flow_id}/status", params=params)
    return documents.FlowStatusAnswer.model_validate(response.json()).waiting


async def offered(api: Api) -> None:
    """A process that could run the first phase, and has no place free."""
    [version] = [config.version for config in api.side.types.versions() if config.name == "discovery"]
    offer = Offer(owner=f"process {uuid4()}", exclusive=[kind("discovery", version, "data_import")], exclusive_places=0)
    await Claims(api.side.pool).claim(offer, exclusive=0, shared=0)


async def test_a_run_that_is_queued_says_what_holds_it(api: Api) -> None:
    made = await api.made(options={"auto_execute": True, "priority": 2})
    await api.made(options={"auto_execute": True, "priority": 1})
    await offered(api)
    for consistency in ({}, {"consistency": "strong"}):
        wait = await waiting(api, made["flow_id"], **consistency)
        assert wait is not None
        assert (wait.reason, wait.priority, wait.before) == ("no_free_place", 2, 1)
        assert wait.until is None
        assert wait.since.utcoffset() is not None


async def test_a_run_that_has_begun_waits_for_nothing(api: Api) -> None:
    made = await api.made(options={"auto_execute": True})
    run = await api.run_of(made["flow_id"])
    async with api.side.pool.connection() as connection:
        await connection.execute("update runs set state = 'running', owner = 'x' where id = %s", (run.run_id,))
    assert await waiting(api, made["flow_id"]) is None
    # nobody has it any more, and another is to take it
    await api.work(ReassignRun(flow_id=made["flow_id"], run_id=run.run_id, token=run.token))
    assert await waiting(api, made["flow_id"]) is not None


async def test_a_retry_says_until_when(api: Api) -> None:
    made = await api.made(options={"auto_execute": True})
    await api.fail(made["flow_id"], TIMEOUT)
    await api.project(made["flow_id"])
    wait = await waiting(api, made["flow_id"])
    assert wait is not None
    assert wait.until is not None
    assert (wait.reason, wait.until > wait.since) == ("retry", True)


async def test_a_flow_that_wants_nothing_waits_for_nothing(api: Api) -> None:
    made = await api.made()
    assert await waiting(api, made["flow_id"]) is None
    listed = (await api.get("/flows")).json()["flows"]
    assert all("waiting" not in flow for flow in listed)
