"""Going back over HTTP: previewed, bound to the preview, done; checkpoints made, listed and verified."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

from api import documents
from tests.api.conftest import Api, problem

Json = dict[str, Any]


async def cleansed(api: Api, **outputs: Any) -> str:
    """The path of a flow of which three phases are done; it goes on by the word."""
    made = await api.made()
    path = f"/flows/{made['flow_id']}"
    for phase in ("data_import", "field_mapping", "data_cleansing"):
        body = {"inputs": {"approval": True}} if phase == "field_mapping" else {}
        assert (await api.post(f"{path}/execute", body)).status_code == 202
        await api.complete(made["flow_id"], message=f"{phase} is done", **outputs)
    return path


def id_of(path: str) -> str:
    return path.rpartition("/")[2]


async def test_a_preview_changes_nothing_and_binds_the_go(api: Api) -> None:
    path = await cleansed(api)
    before = await api.get(f"{path}/history?limit=1000")
    body = {"phase_name": "field_mapping", "reason": "wrong unit"}
    answer = await api.post(f"{path}/rollback?preview=true", body)
    assert answer.status_code == 200
    shown = documents.RollbackPreview.model_validate(answer.json())
    assert [one.phase_name for one in shown.undone] == ["data_cleansing", "field_mapping"]
    assert shown.undone[0].message == "data_cleansing is done"
    assert (shown.target.phase_name, shown.children, shown.compensations) == ("field_mapping", [], [])
    assert (shown.inputs_dropped, shown.cost.execution_time_ms, shown.goes_on) == (["approval"], 14, False)
    assert answer.headers["etag"] == f'"{shown.version}"'
    assert (await api.get(f"{path}/history?limit=1000")).content == before.content

    # the flow moves on: the go that was bound to the preview is refused
    assert (await api.post(f"{path}/pause")).status_code == 200
    seen = {"If-Match": answer.headers["etag"]}
    problem(await api.post(f"{path}/rollback", body, headers=seen), 412, "version_moved")
    problem(await api.post(f"{path}/rollback?preview=true", body, headers=seen), 412, "version_moved")
    again = await api.post(f"{path}/rollback?preview=true", body)
    done = await api.post(f"{path}/rollback", body, headers={"If-Match": again.headers["etag"]})
    verb = documents.VerbAnswer.model_validate(done.json())
    assert (done.status_code, verb.status, verb.version) == (200, "paused", shown.version + 2)


async def test_after_a_rollback_the_read_model_shows_what_is_left(api: Api) -> None:
    path = await cleansed(api)
    await api.project(id_of(path))
    assert (await api.get(f"{path}/status")).json()["progress"]["percentage"] == 50.0
    await api.post(f"{path}/rollback", {"phase_name": "field_mapping", "reason": "wrong unit"})
    await api.project(id_of(path))
    status = (await api.get(f"{path}/status")).json()
    documents.FlowStatusAnswer.model_validate(status)
    assert (status["progress"]["percentage"], status["progress"]["phases_completed"]) == (20.0, ["data_import"])
    assert (status["rollback"]["reason"], status["rollback"]["phase_name"]) == ("wrong unit", "field_mapping")
    assert status["rollback"]["undone"] == ["data_cleansing", "field_mapping"]
    assert status["next_action"]["phase"] == "field_mapping"
    flow = (await api.get(path)).json()
    assert set(flow["outputs"]) == set(flow["phase_results"]) == {"data_import"}
    assert flow["flow_state"]["inputs"] == {"import_file_id": "f1"}
    strong = (await api.get(f"{path}?consistency=strong")).json()
    assert strong == flow
    event = (await api.get(f"{path}/history?limit=1000")).json()["events"][-1]
    assert (event["type"], event["data"]["phase_name"]) == ("mfo.flow.FlowRolledBack.v1", "field_mapping")


async def test_what_cannot_be_gone_back_to_is_refused_with_what_can(api: Api) -> None:
    path = await cleansed(api)
    for query in ("", "?preview=true"):
        nowhere = problem(await api.post(f"{path}/rollback{query}", {}), 422, "rollback_target_invalid")
        assert [error["field"] for error in nowhere["errors"]] == ["phase_name", "checkpoint_id"]
        assert nowhere["allowed"] == ["data_import", "field_mapping", "data_cleansing"]
        unknown = {"checkpoint_id": str(uuid4())}
        listed = (await api.get(f"{path}/checkpoints")).json()["checkpoints"]
        refused = problem(await api.post(f"{path}/rollback{query}", unknown), 422, "checkpoint_unknown")
        assert refused["allowed"] == [point["checkpoint_id"] for point in reversed(listed)]
        problem(await api.post(f"{path}/rollback{query}", {"phase_name": "asset_inventory"}), 409, "nothing_to_undo")
    await api.post(f"{path}/execute")
    running = problem(await api.post(f"{path}/rollback", {"phase_name": "data_import"}), 409, "phase_already_running")
    assert "rollback" not in running["allowed"]
    problem(await api.post(f"/flows/{uuid4()}/rollback?preview=true", {}), 404, "flow_not_found")


async def test_checkpoints_are_made_on_demand_and_listed(api: Api, key: str) -> None:
    path = await cleansed(api)
    same = await api.post(f"{path}/checkpoints", {"reason": "before I try something"})
    # the state is that of the checkpoint after the phase
    assert same.status_code == 201
    assert (
        same.json()["checkpoint_id"]
        == (await api.get(f"{path}/checkpoints")).json()["checkpoints"][-1]["checkpoint_id"]
    )
    await api.post(f"{path}/execute")
    await api.complete(id_of(path))
    await api.post(f"{path}/execute", {"inputs": {"reference_date": "2026-01-01"}})
    path_to = f"{path}/checkpoints"
    made = await api.post(path_to, {"reason": "before I try something"}, headers={"Idempotency-Key": key})
    assert made.status_code == 201, made.text
    point = documents.CheckpointMade.model_validate(made.json())
    assert point.phase_name == "asset_inventory"
    assert point.checkpoint_id != UUID(same.json()["checkpoint_id"])
    again = await api.post(path_to, {"reason": "before I try something"}, headers={"Idempotency-Key": key})
    assert again.json()["checkpoint_id"] == made.json()["checkpoint_id"]
    listed = documents.CheckpointList.model_validate((await api.get(path_to)).json())
    assert [one.phase_name for one in listed.checkpoints][-2:] == ["asset_inventory", "asset_inventory"]
    assert (listed.checkpoints[-1].reason, listed.checkpoints[-1].verified) == ("before I try something", None)
    one = (await api.get(f"{path_to}/{point.checkpoint_id}")).json()
    assert documents.CheckpointShown.model_validate(one).verified is True
    verified = (await api.get(f"{path_to}?verify=true")).json()["checkpoints"]
    assert {one["verified"] for one in verified} == {True}
    problem(await api.get(f"{path_to}/{uuid4()}"), 404, "checkpoint_not_found")
    await api.post(f"{path}/cancel")
    problem(await api.post(path_to), 409, "flow_is_over")
    problem(await api.post(f"/flows/{uuid4()}/checkpoints"), 404, "flow_not_found")


async def test_a_checkpoint_whose_artifacts_are_gone_is_not_verified(api: Api) -> None:
    ref = await api.side.artifacts.put(api.account, b"rows")
    path = await cleansed(api, assets=ref)
    points = (await api.get(f"{path}/checkpoints?verify=true")).json()["checkpoints"]
    assert [point["verified"] for point in points] == [True, True, True]
    async with api.side.pool.connection() as connection:
        await connection.execute("delete from artifact_parts where client_account_id = %s", (api.account,))
    point = (await api.get(f"{path}/checkpoints/{points[0]['checkpoint_id']}")).json()
    assert (point["verified"], point["detail"]) == (
        False,
        f"it names 1 artifact not there any more, such as {ref['artifact']}",
    )


async def test_a_checkpoint_whose_history_was_changed_is_not_verified(api: Api) -> None:
    path = await cleansed(api)
    flow_id = UUID(id_of(path))
    first = (await api.get(f"{path}/checkpoints")).json()["checkpoints"][0]
    statement = "update stored_events set state = {} where originator_id = %s and originator_version = 3"
    async with api.side.pool.connection() as connection:
        changed = "convert_to(replace(convert_from(state, 'utf8'), 'data_import is done', 'was never done'), 'utf8')"
        await connection.execute(statement.format(changed), (flow_id,))
    point = (await api.get(f"{path}/checkpoints/{first['checkpoint_id']}")).json()
    assert (point["verified"], "does not have the hash" in point["detail"]) == (False, True)
    # nor is it restored
    body = {"checkpoint_id": first["checkpoint_id"]}
    api.side.committer._cache.clear()
    problem(await api.post(f"{path}/rollback", body), 409, "checkpoint_broken")


async def test_cancelling_with_compensations_says_so_in_history(api: Api) -> None:
    path = await cleansed(api)
    answer = await api.post(f"{path}/cancel", {"compensate": True})
    assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
    event = (await api.get(f"{path}/history?limit=1000")).json()["events"][-1]
    assert event["data"]["compensations"] == []
    problem(await api.post(f"{path}/cancel", {"compensate": "perhaps"}), 422, "body_invalid")
