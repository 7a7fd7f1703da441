"""Another round of a flow over HTTP, and what the former ones brought."""

from __future__ import annotations

from uuid import UUID, uuid4

from api import documents
from domain.commands import FireTimer
from domain.types.discovery import DISCOVERY
from tests.api.conftest import Api, new_tenant, problem

PHASES = [phase.name for phase in DISCOVERY.phases]


async def completed(api: Api) -> str:
    """A discovery whose phases are all done, with its end hooks."""
    made = await api.made(options={"auto_execute": True})
    for name in PHASES:
        await api.complete(made["flow_id"], done=name)
    await api.complete(made["flow_id"], summary="all of it")
    assert (await api.get(f"/flows/{made['flow_id']}?consistency=strong")).json()["status"] == "completed"
    return str(made["flow_id"])


async def test_a_completed_flow_takes_another_round_and_says_so(api: Api) -> None:
    flow_id = await completed(api)
    path = f"/flows/{flow_id}"
    await api.project(flow_id)
    assert (await api.get(path)).json()["allowed"] == ["iterate", "rollback", "delete"]

    begun = await api.post(f"{path}/iterate", {"inputs": {"import_file_id": "f2"}, "reason": "new export"})
    verb = documents.VerbAnswer.model_validate(begun.json())
    assert (begun.status_code, verb.status) == (200, "processing")

    await api.project(flow_id)
    status = documents.FlowStatusAnswer.model_validate((await api.get(f"{path}/status")).json())
    assert (status.iteration_number, status.current_phase, status.recovery) == (2, "data_import", None)
    assert (status.progress.percentage, status.progress.phases_completed) == (0.0, [])
    detail = documents.FlowDetail.model_validate((await api.get(path)).json())
    assert (detail.iteration_number, detail.flow_state["inputs"]["import_file_id"]) == (2, "f2")


async def test_each_round_can_be_read_with_its_phases_and_outputs(api: Api) -> None:
    flow_id = await completed(api)
    path = f"/flows/{flow_id}"
    only = documents.IterationList.model_validate((await api.get(f"{path}/iterations")).json())
    assert [(one.number, one.status, one.last_version) for one in only.iterations] == [(1, "completed", None)]
    assert only.iterations[0].ended_at is not None
    assert only.max_iterations == 5

    await api.post(f"{path}/iterate", {"phase_name": "inventory", "inputs": {"compare_with": "none"}})
    await api.complete(flow_id, done="again")

    listed = documents.IterationList.model_validate((await api.get(f"{path}/iterations")).json())
    former, current = listed.iterations
    assert (former.number, former.status, former.phases_completed) == (1, "completed", PHASES)
    assert (current.number, current.from_phase, current.status) == (2, "asset_inventory", "processing")
    assert current.first_version == (former.last_version or 0) + 1

    first = documents.IterationDetail.model_validate((await api.get(f"{path}/iterations/1")).json())
    assert first.outputs["asset_inventory"] == {"done": "asset_inventory"}
    assert first.outputs["tech_debt_assessment"] == {"done": "tech_debt_assessment", "summary": "all of it"}
    assert "compare_with" not in first.inputs
    assert {phase.status for phase in first.phases} == {"completed"}

    second = documents.IterationDetail.model_validate((await api.get(f"{path}/iterations/2")).json())
    assert second.outputs["asset_inventory"] == {"done": "again"}
    assert (second.outputs["data_import"], second.inputs["compare_with"]) == ({"done": "data_import"}, "none")
    assert [phase.status for phase in second.phases][3:] == ["completed", "running", "pending"]


async def test_a_round_that_nobody_began_is_not_found(api: Api) -> None:
    flow_id = (await api.made())["flow_id"]
    told = problem(await api.get(f"/flows/{flow_id}/iterations/2"), 404, "iteration_not_found")
    assert told["allowed"] == ["1"]
    problem(await api.get(f"/flows/{flow_id}/iterations/0"), 422, "parameter_invalid")
    problem(await api.get(f"/flows/{uuid4()}/iterations"), 404, "flow_not_found")
    api.tenant = new_tenant()
    for path in (f"/flows/{flow_id}/iterations", f"/flows/{flow_id}/iterations/1"):
        problem(await api.get(path), 404, "flow_not_found")


async def test_what_has_not_changed_is_not_sent_again(api: Api) -> None:
    flow_id = await completed(api)
    for path in (f"/flows/{flow_id}/iterations", f"/flows/{flow_id}/iterations/1"):
        answer = await api.get(path)
        assert (await api.get(path, headers={"If-None-Match": answer.headers["etag"]})).status_code == 304


async def test_rounds_are_refused_with_what_is_allowed_instead(api: Api) -> None:
    made = await api.made()
    path = f"/flows/{made['flow_id']}"
    told = problem(await api.post(f"{path}/iterate"), 409, "nothing_to_iterate")
    assert told["allowed"] == ["execute", "pause", "checkpoint", "cancel", "delete"]
    problem(await api.post(f"{path}/iterate", {"phase_name": 7}), 422, "body_invalid")

    flow_id = await completed(api)
    for number in range(2, 6):
        begun = await api.post(f"/flows/{flow_id}/iterate", {"phase_name": PHASES[-1]})
        assert begun.status_code == 200, begun.text
        code = "phase_already_running" if number < 5 else "iterations_used_up"
        problem(await api.post(f"/flows/{flow_id}/iterate"), 409, code)
        await api.complete(flow_id, round=number)
        await api.complete(flow_id)
    told = problem(await api.post(f"/flows/{flow_id}/iterate"), 409, "iterations_used_up")
    assert "5 rounds" in told["detail"]
    assert told["allowed"] == ["delete"]


async def test_large_inputs_of_a_round_become_artifacts(api: Api) -> None:
    flow_id = await completed(api)
    large = {"reference_date": "2026-01-01", "notes": "x" * 300_000}
    begun = await api.post(f"/flows/{flow_id}/iterate", {"inputs": large})
    assert begun.status_code == 200, begun.text
    flow = await api.side.store.flow(UUID(flow_id))
    assert "$artifact" in flow.inputs["notes"]
    whole = await api.side.artifacts.unspill(api.account, flow.inputs)
    assert whole["notes"] == large["notes"]


async def test_a_recovery_under_way_is_shown_in_the_status(api: Api) -> None:
    made = await api.made(options={"auto_execute": True})
    flow_id = UUID(made["flow_id"])
    while not (flow := await api.side.store.flow(flow_id)).recovery:
        if flow.retry is not None:
            await api.work(FireTimer(flow_id=flow_id, timer="retry", token=flow.retry.timer_token))
        await api.fail(made["flow_id"], {"class": "network", "code": "io_failed", "message": "no", "retryable": True})
    await api.project(made["flow_id"])
    shown = (await api.get(f"/flows/{made['flow_id']}/status")).json()
    status = documents.FlowStatusAnswer.model_validate(shown)
    assert status.recovery is not None
    assert (status.recovery.action, status.recovery.number, status.recovery.at_most) == ("retry_with_backoff", 1, 1)
    assert (status.status, status.next_action.type) == ("processing", "wait")
    assert [timer.name for timer in status.timers] == ["retry"]
