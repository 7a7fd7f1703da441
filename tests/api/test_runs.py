"""The attempt that is under way, in a flow's status."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from api import documents
from eventstore.runs import Beat
from tests.api.conftest import Api, new_tenant

CLAIMED = """
update runs set state = 'running', owner = 'me', lease_until = mfo_now() + interval '6 s',
    deadline = mfo_now() + make_interval(secs => timeout_seconds) where id = %s
"""


async def shown(api: Api, flow_id: str) -> documents.RunShown | None:
    found = await api.get(f"/flows/{flow_id}/status?consistency=strong")
    return documents.FlowStatusAnswer.model_validate(found.json()).run


async def test_a_run_that_waits_for_a_worker_has_no_deadline_yet(api: Api) -> None:
    made = await api.made(options={"auto_execute": True, "timeout_seconds": 60, "max_retries": 4})

    run = await shown(api, made["flow_id"])

    assert run is not None
    assert (run.phase_name, run.attempt, run.max_attempts, run.timeout_seconds) == ("data_import", 1, 5, 60.0)
    assert (run.state, run.deadline, run.progress) == ("queued", None, None)


async def test_a_run_shows_how_far_it_is_and_when_it_ends(api: Api) -> None:
    made = await api.made(options={"auto_execute": True, "timeout_seconds": 60})
    run = await api.run_of(made["flow_id"])
    async with api.side.pool.connection() as connection:
        await connection.execute(CLAIMED, (run.run_id,))

    for said, percentage in (
        ('{"done":3,"total":8,"message":"rows read"}', 37.5),
        ('{"done":3,"total":0,"message":""}', None),
    ):
        await api.side.runs.heartbeat("me", {run.run_id: Beat(run.token, 0, said)})
        found = await shown(api, made["flow_id"])
        assert found is not None
        assert found.progress is not None
        assert (found.progress.done, found.progress.percentage) == (3, percentage)
    assert found.state == "running"
    assert isinstance(found.deadline, datetime)
    assert 0 < (found.deadline - found.started_at).total_seconds() - 60 < 60


async def test_without_a_run_there_is_none_to_show(api: Api) -> None:
    made = await api.made()
    assert await shown(api, made["flow_id"]) is None


async def test_nobody_else_sees_a_run(api: Api) -> None:
    made = await api.made(options={"auto_execute": True})
    run = await api.run_of(made["flow_id"])
    stranger = Api(api.app, api.client, new_tenant())
    found = await stranger.get(f"/flows/{UUID(made['flow_id'])}/status")
    assert found.status_code == 404
    assert str(run.run_id) not in found.text
