"""What is asked of a flow: executed, paused, answered, and each asked again under the same key."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest

from api import documents
from domain.commands import FireTimer
from tests.api.conftest import Api, config_for, problem, started

VERBS = ("pause", "resume", "cancel", "rollback", "skip", "retry", "input", "iterate")


async def test_execute_begins_a_run(api: Api) -> None:
    made = await api.made()
    response = await api.post(f"/flows/{made['flow_id']}/execute")

    assert response.status_code == 202
    begun = documents.RunBegun.model_validate(response.json())
    assert (begun.phase_name, begun.status, begun.version) == ("data_import", "processing", 2)
    assert response.headers["etag"] == '"2"'
    assert begun.run_id == (await api.run_of(made["flow_id"])).run_id


async def test_execute_waits_for_the_result(api: Api) -> None:
    made = await api.made()

    async def work() -> None:
        await api.service.watch.history(UUID(made["flow_id"]), 2, 5)
        await api.complete(made["flow_id"], rows=3)

    worker = asyncio.create_task(work())
    response = await api.post(f"/flows/{made['flow_id']}/execute?wait=true&wait_ms=5000")
    await worker

    assert response.status_code == 200
    result = documents.PhaseResult.model_validate(response.json())
    assert (result.status, result.outputs, result.next_phase) == ("success", {"rows": 3}, "field_mapping")
    assert response.headers["etag"] == f'"{result.version}"'
    assert result.position is not None


async def test_a_result_that_takes_too_long_is_not_waited_for(api: Api) -> None:
    made = await api.made()

    response = await api.post(f"/flows/{made['flow_id']}/execute?wait=true&wait_ms=30")

    assert response.status_code == 202
    documents.RunBegun.model_validate(response.json())


async def test_a_failed_phase_is_a_result_too(api: Api) -> None:
    made = await api.made()

    async def work() -> None:
        await api.service.watch.history(UUID(made["flow_id"]), 2, 5)
        await api.fail(made["flow_id"], {"class": "permanent", "code": "bad", "message": "no", "retryable": False})

    worker = asyncio.create_task(work())
    response = await api.post(f"/flows/{made['flow_id']}/execute?wait=true&wait_ms=5000")
    await worker

    assert response.status_code == 200
    assert response.json()["status"] == "failed"
    assert response.json()["errors"][0]["code"] == "bad"


async def test_a_pause_while_a_phase_runs_drains(api: Api) -> None:
    made = await api.made(options={"auto_execute": True})
    path = f"/flows/{made['flow_id']}"

    paused = await api.post(f"{path}/pause", {"reason": "change freeze"})
    verb = documents.VerbAnswer.model_validate(paused.json())
    assert (paused.status_code, verb.status, verb.draining) == (200, "paused", True)
    await api.complete(made["flow_id"])
    again = await api.post(f"{path}/pause")
    assert (again.status_code, again.json()["draining"], again.json()["version"]) == (200, False, 6)
    resumed = await api.post(f"{path}/resume")
    assert resumed.json()["status"] == "processing"
    refused = problem(await api.post(f"{path}/resume"), 409, "flow_not_paused")
    assert refused["allowed"] == ["pause", "checkpoint", "cancel", "delete"]


async def test_an_answer_is_the_values_themselves(api: Api) -> None:
    made = await api.made(options={"auto_execute": True})
    path = f"/flows/{made['flow_id']}"
    problem(await api.post(f"{path}/input", {"approval": True}), 409, "nothing_to_answer")
    await api.complete(made["flow_id"])
    await api.want(made["flow_id"], ("mappings", "approval"), {})

    wrong = problem(await api.post(f"{path}/input", {"colour": "red"}), 422, "input_invalid")
    assert wrong["errors"] == [{"field": "colour", "message": "was not asked for"}]
    given = await api.post(f"{path}/input", {"approval": True, "reason": "looks right"})
    assert (given.status_code, given.json()["status"]) == (200, "processing")
    event = (await api.get(f"{path}/history?limit=1000")).json()["events"][-2]
    assert (event["type"], event["data"]["values"], event["data"]["reason"]) == (
        "mfo.flow.InputProvided.v1",
        {"approval": True},
        "looks right",
    )


async def test_what_is_not_supported_says_so(api: Api) -> None:
    options = {"notification_emails": ["team@example.com"]}
    problem(
        await api.post("/flows", {"flow_type": "discovery", "flow_name": "x", "options": options}), 409, "not_supported"
    )


async def test_status_says_how_many_runs_still_drain_and_since_when_none_does(api: Api) -> None:
    made = await api.made(options={"auto_execute": True})
    path = f"/flows/{made['flow_id']}"
    paused = await api.post(f"{path}/pause", {"reason": "change freeze", "timers": "running"})
    assert paused.json()["draining_runs"] == 1
    await api.project(made["flow_id"])
    for consistency in ("", "?consistency=strong"):
        status = documents.FlowStatusAnswer.model_validate((await api.get(f"{path}/status{consistency}")).json())
        assert (status.draining, status.draining_runs, status.drained_at) == (True, 1, None)
        assert status.paused is not None
        assert (status.paused.by, status.paused.reason, status.paused.timers) == (
            "maria@example.com",
            "change freeze",
            "running",
        )
    await api.complete(made["flow_id"])
    await api.project(made["flow_id"])
    events = (await api.get(f"{path}/history?limit=1000")).json()["events"]
    assert events[-1]["type"] == "mfo.flow.FlowDrained.v1"
    status = documents.FlowStatusAnswer.model_validate((await api.get(f"{path}/status")).json())
    assert (status.status, status.draining, status.draining_runs) == ("paused", False, 0)
    assert status.drained_at == datetime.fromisoformat(events[-1]["occurred_at"])
    other = problem(await api.post(f"{path}/pause", {"timers": "frozen"}), 409, "flow_paused")
    assert other["allowed"] == ["resume", "rollback", "checkpoint", "cancel", "delete"]


async def test_a_phase_is_left_out_only_where_it_may_be(api: Api) -> None:
    made = await api.made()
    body = problem(await api.post(f"/flows/{made['flow_id']}/skip"), 409, "phase_not_skippable")
    assert body["allowed"] == ["execute", "pause", "checkpoint", "cancel", "delete"]


async def test_a_phase_is_left_out_for_outputs_that_fit(shared_database_url: str) -> None:
    config = config_for(shared_database_url, flow_type_modules=("tests.consumers.steered",))
    async with started(config) as api:
        made = await api.made(flow_type="skippable", initial_data={})
        path = f"/flows/{made['flow_id']}/skip"
        wrong = problem(await api.post(path, {"outputs": {"rows": "many"}}), 422, "outputs_invalid")
        assert [error["field"] for error in wrong["errors"]] == ["outputs.rows"]
        problem(await api.post(path, {"phase_name": "seen"}), 409, "phase_out_of_order")
        skipped = await api.post(path, {"phase_name": "listens", "outputs": {"rows": 3}, "reason": "done by hand"})
        assert (skipped.status_code, skipped.json()["status"]) == (200, "waiting_for_input")
        event, kept = (await api.get(f"/flows/{made['flow_id']}/history")).json()["events"][-2:]
        assert kept["type"] == "mfo.flow.CheckpointCreated.v1"
        assert (event["type"], event["actor"]) == ("mfo.flow.PhaseSkipped.v1", "maria@example.com")
        assert event["data"] == {
            "phase_name": "listens",
            "reason": "done by hand",
            "outputs": {"rows": 3},
            "not_taken": False,
        }


async def test_a_flow_that_completes_because_nothing_is_left_to_execute_says_so(shared_database_url: str) -> None:
    config = config_for(shared_database_url, flow_type_modules=("tests.consumers.steered",))
    async with started(config) as api:
        made = await api.made(flow_type="forked", initial_data={})
        path = f"/flows/{made['flow_id']}"
        await api.post(f"{path}/execute")
        await api.post(f"{path}/pause")
        await api.complete(made["flow_id"], less=1)
        await api.post(f"{path}/resume")
        done = await api.post(f"{path}/execute")
        assert (done.status_code, done.json()["status"], done.json()["run_id"]) == (202, "completed", None)


async def test_a_failed_flow_is_tried_again(api: Api) -> None:
    made = await api.made(options={"auto_execute": True})
    path = f"/flows/{made['flow_id']}"
    problem(await api.post(f"{path}/retry"), 409, "nothing_to_retry")
    await api.fail(made["flow_id"], {"class": "permanent", "code": "bad", "message": "no", "retryable": False})
    again = await api.post(f"{path}/retry", {"reason": "mended"})
    assert (again.status_code, again.json()["status"]) == (200, "processing")
    assert (await api.run_of(made["flow_id"])).attempt == 1


async def test_where_nothing_was_done_a_cancel_has_nothing_to_undo(api: Api) -> None:
    made = await api.made()
    done = await api.post(f"/flows/{made['flow_id']}/cancel", {"compensate": True})
    assert (done.status_code, done.json()["status"]) == (200, "cancelled")
    flow = await api.side.store.flow(UUID(made["flow_id"]))
    assert (flow.status, flow.run, flow.retry) == ("cancelled", None, None)


async def test_after_the_end_only_delete(api: Api) -> None:
    made = await api.made()
    path = f"/flows/{made['flow_id']}"
    assert (await api.post(f"{path}/cancel")).json()["status"] == "cancelled"
    assert (await api.post(f"{path}/cancel")).status_code == 200
    for verb in ("execute", "pause", "resume", "input"):
        assert problem(await api.post(f"{path}/{verb}", {}), 409, "flow_is_over")["allowed"] == ["delete"]
    assert (await api.ask("DELETE", path)).status_code == 204
    for verb in ("execute", "pause", "cancel"):
        problem(await api.post(f"{path}/{verb}"), 409, "flow_is_over")


async def test_the_same_key_gets_the_first_answer(api: Api, key: str) -> None:
    headers = {"Idempotency-Key": key, "X-Correlation-ID": "one"}
    body = {"flow_type": "discovery", "flow_name": "Once", "initial_data": {"passwords": ["a"]}}
    first = await api.post("/flows", body, headers=headers)
    await api.post(f"/flows/{first.json()['flow_id']}/pause")
    again = await api.post("/flows", body, headers=headers)

    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert again.headers["etag"] == first.headers["etag"]
    for other in ({**body, "flow_name": "Twice"}, {**body, "initial_data": {"passwords": ["b"]}}):
        problem(await api.post("/flows", other, headers=headers), 422, "idempotency_key_reused")
    made = await api.made()
    problem(await api.post(f"/flows/{made['flow_id']}/pause", headers=headers), 422, "idempotency_key_reused")


async def test_every_verb_repeats_its_first_answer(api: Api) -> None:
    made = await api.made(options={"auto_execute": True})
    path = f"/flows/{made['flow_id']}"
    for method, route in (
        ("POST", f"{path}/resume"),
        ("POST", f"{path}/pause"),
        ("POST", f"{path}/pause"),
        ("POST", f"{path}/skip"),
        ("POST", f"{path}/resume"),
        ("POST", f"{path}/execute"),
        ("POST", f"{path}/cancel"),
        ("DELETE", path),
        ("DELETE", path),
    ):
        headers = {"Idempotency-Key": str(uuid4()), "X-Correlation-ID": "same"}
        first = await api.ask(method, route, headers=headers)
        again = await api.ask(method, route, headers=headers)
        assert (again.status_code, again.content) == (first.status_code, first.content)
        assert again.headers.get("etag") == first.headers.get("etag")
        assert again.headers.get("x-mfo-position") == first.headers.get("x-mfo-position")


async def test_a_repeated_execute_names_the_same_run(api: Api, key: str) -> None:
    made = await api.made()
    path = f"/flows/{made['flow_id']}/execute"
    first = await api.post(path, headers={"Idempotency-Key": key})
    await api.complete(made["flow_id"])
    again = await api.post(path, headers={"Idempotency-Key": key})

    assert (again.status_code, again.content) == (202, first.content)
    waited = await api.post(f"{path}?wait=true", headers={"Idempotency-Key": key})
    assert (waited.status_code, waited.json()["status"]) == (200, "success")


async def test_many_at_once_under_one_key_make_one_flow(api: Api, key: str) -> None:
    body = {"flow_type": "discovery", "flow_name": "Race"}
    answers = await asyncio.gather(*(api.post("/flows", body, headers={"Idempotency-Key": key}) for _ in range(20)))

    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1


async def test_a_command_may_insist_on_a_version(api: Api) -> None:
    made = await api.made()
    path = f"/flows/{made['flow_id']}"

    moved = problem(await api.post(f"{path}/pause", headers={"If-Match": '"7"'}), 412, "version_moved")
    assert moved["allowed"] == ["execute", "pause", "checkpoint", "cancel", "delete"]
    assert (await api.post(f"{path}/pause", headers={"If-Match": '"1"'})).status_code == 200
    problem(await api.post(f"{path}/resume", headers={"If-Match": '"1"'}), 412, "version_moved")
    assert (await api.post(f"{path}/resume", headers={"If-Match": "*"})).status_code == 200
    for form, stale in (("3", "1"), ('W/"4"', 'W/"1"')):
        problem(await api.post(f"{path}/pause", headers={"If-Match": stale}), 412, "version_moved")
        assert (await api.post(f"{path}/{'pause' if form == '3' else 'resume'}", headers={"If-Match": form})).is_success
    for wrong in ("'3'", '3"', "W/3", '"three"', '"1", "2"', '""', '"', '"-1"', '"' + "9" * 19 + '"'):
        body = problem(await api.post(f"{path}/pause", headers={"If-Match": wrong}), 422, "parameter_invalid")
        assert body["errors"][0]["field"] == "If-Match"
    problem(
        await api.post("/flows", {"flow_type": "discovery", "flow_name": "x"}, headers={"If-Match": '"1"'}),
        422,
        "parameter_invalid",
    )


@pytest.mark.parametrize("wrong", ["", "x" * 256])
async def test_a_wrong_key_is_refused(api: Api, wrong: str) -> None:
    response = await api.post(
        "/flows", {"flow_type": "discovery", "flow_name": "x"}, headers={"Idempotency-Key": wrong}
    )

    assert problem(response, 422, "parameter_invalid")["errors"][0]["field"] == "Idempotency-Key"


async def test_a_key_of_255_characters_is_taken(api: Api) -> None:
    for _ in range(2):
        response = await api.post(
            "/flows", {"flow_type": "discovery", "flow_name": "x"}, headers={"Idempotency-Key": "k" * 255}
        )
        assert response.status_code == 201


async def test_nobody_waits_for_a_service_that_ends(shared_database_url: str) -> None:
    async with started(config_for(shared_database_url)) as api:
        made = await api.made()
        waiting = asyncio.create_task(api.get(f"/flows/{made['flow_id']}?min_version=9&wait_ms=60000"))
        while not api.service.watch.waiting:  # noqa: ASYNC110
            await asyncio.sleep(0)
        api.service.watch.close()
        problem(await waiting, 504, "read_model_behind")


async def test_when_all_attempts_have_failed_the_flow_tells_each_and_is_executed_again(api: Api) -> None:
    made = await api.made(options={"auto_execute": True, "max_retries": 1})
    path, flow_id = f"/flows/{made['flow_id']}", UUID(made["flow_id"])
    error = {"class": "network", "code": "io_failed", "message": "the wire is cut", "retryable": True}
    await api.fail(made["flow_id"], error)
    waiting = documents.FlowStatusAnswer.model_validate((await api.get(f"{path}/status?consistency=strong")).json())
    assert [(one.name, one.due_at) for one in waiting.timers] == [("retry", waiting.next_action.until)]
    assert [attempt.code for attempt in waiting.attempts] == ["io_failed"]
    retry = (await api.side.store.flow(flow_id)).timers["retry"]
    await api.work(FireTimer(flow_id=flow_id, timer="retry", token=retry.token))
    await api.fail(made["flow_id"], {**error, "message": "it is cut still"})
    await api.project(made["flow_id"])

    shown = (await api.get(f"{path}/status")).json()
    failed = documents.FlowStatusAnswer.model_validate(shown)
    assert (failed.status, failed.next_action.type, failed.error) == (
        "failed",
        "retry",
        {**error, "message": "it is cut still"},
    )
    assert [(one.attempt, one.message) for one in failed.attempts] == [(1, "the wire is cut"), (2, "it is cut still")]
    assert all(one.started_at is not None and one.started_at <= one.failed_at for one in failed.attempts)
    assert (await api.get(f"{path}/status?consistency=strong")).json() == shown
    events = (await api.get(f"{path}/history?limit=1000")).json()["events"]
    chains = [event["data"]["chain"] for event in events if event["type"] == "mfo.flow.FlowFailed.v1"]
    assert chains == [shown["attempts"]]

    again = await api.post(f"{path}/execute")
    assert (again.status_code, again.json()["phase_name"]) == (202, "data_import")
    assert (await api.run_of(made["flow_id"])).attempt == 1


async def test_a_question_says_until_when_it_waits(api: Api) -> None:
    made = await api.made(options={"auto_execute": True, "input_timeout_seconds": 60})
    path = f"/flows/{made['flow_id']}"
    await api.complete(made["flow_id"])
    await api.want(made["flow_id"], ("approval",), {})
    await api.project(made["flow_id"])
    asking = documents.FlowStatusAnswer.model_validate((await api.get(f"{path}/status")).json())
    assert [one.name for one in asking.timers] == ["input"]
    assert asking.next_action.until == asking.timers[0].due_at
    await api.post(f"{path}/pause")
    shown = (await api.get(f"{path}/status?consistency=strong")).json()
    [paused] = documents.FlowStatusAnswer.model_validate(shown).timers
    assert (paused.due_at, shown["next_action"]["until"], shown["input_request"]["expires_at"]) == (None, None, None)
    assert paused.remaining_seconds is not None
    assert 0 < paused.remaining_seconds <= 60


async def test_a_flow_may_begin_later(api: Api) -> None:
    made = documents.FlowMade.model_validate(await api.made(options={"start_at": "2126-11-20T12:00:00+01:00"}))
    assert (made.status, made.next_action.type) == ("initialized", "wait")
    assert made.next_action.until == datetime(2126, 11, 20, 11, tzinfo=UTC)
    status = documents.FlowStatusAnswer.model_validate((await api.get(f"/flows/{made.flow_id}/status")).json())
    assert [(one.name, one.due_at) for one in status.timers] == [("start", made.next_action.until)]
    begun = await api.post(f"/flows/{made.flow_id}/execute")
    assert (begun.status_code, begun.json()["phase_name"]) == (202, "data_import")
    assert (await api.side.store.flow(made.flow_id)).timers == {}


@pytest.mark.parametrize(
    "options",
    [
        {"start_after_seconds": 0},
        {"flow_timeout_seconds": 0},
        {"input_timeout_seconds": 0},
        {"start_at": "2126-11-20T12:00:00"},
        {"start_at": 1700000000},
        {"start_at": "2126-11-20T12:00:00Z", "start_after_seconds": 5},
    ],
)
async def test_a_time_that_is_none_is_refused(api: Api, options: dict[str, object]) -> None:
    body = {"flow_type": "discovery", "flow_name": "x", "options": options}
    refused = problem(await api.post("/flows", body), 422, "body_invalid")
    assert refused["errors"][0]["field"].startswith("options")
