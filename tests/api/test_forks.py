"""Flows whose phases run at the same time, over HTTP: what is in hand, which phase is meant, and what drains."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import msgspec
import pytest

from api import documents
from api.inputs import InputList
from domain.commands import CompletePhase, FailPhase, RequestInput
from domain.questions import Assignees, Question
from mfo.client import Client
from mfo.commands.flows import lanes_line
from tests.api.conftest import Api, Json, config_for, problem, started

FORKED = "tests.consumers.forked"


@pytest.fixture
async def api(shared_database_url: str) -> AsyncIterator[Api]:
    async with started(config_for(shared_database_url, flow_type_modules=(FORKED,))) as api:
        yield api


async def run_of(api: Api, flow_id: str, phase: str) -> dict[str, Any]:
    run = (await api.side.store.flow(UUID(flow_id))).on(phase).run
    assert run is not None
    return {"flow_id": UUID(flow_id), "run_id": run.run_id, "token": run.token}


async def complete(api: Api, flow_id: str, phase: str) -> None:
    await api.work(CompletePhase(**await run_of(api, flow_id, phase)))


async def want(api: Api, flow_id: str, phase: str, *fields: str) -> None:
    await api.work(RequestInput(**await run_of(api, flow_id, phase), fields=fields, message=f"{phase}?"))


async def forked(api: Api, *, auto: bool = True) -> str:
    """A flow of which `left` and `right` run or, by the word, can be begun."""
    made = await api.made(
        project=False, flow_type="working", initial_data={"folder": "/tmp"}, options={"auto_execute": auto}
    )
    flow_id = str(made["flow_id"])
    if not auto:
        await api.post(f"/flows/{flow_id}/execute", {})
    await complete(api, flow_id, "prepare")
    return flow_id


async def status_of(api: Api, flow_id: str) -> Json:
    answer = await api.get(f"/flows/{flow_id}/status", params={"consistency": "strong"})
    assert answer.status_code == 200, answer.text
    documents.FlowStatusAnswer.model_validate(answer.json())
    found: Json = answer.json()
    return found


async def test_the_status_says_what_is_in_hand_of_each_phase(api: Api) -> None:
    flow_id = await forked(api)
    await want(api, flow_id, "left", "colour")
    error = {"class": "network", "code": "io_failed", "message": "cut", "retryable": True}
    await api.work(FailPhase(**await run_of(api, flow_id, "right"), error=error))
    found = await status_of(api, flow_id)
    assert (found["status"], found["current_phase"]) == ("processing", "left")
    assert found["active_phases"] == ["left", "right"]
    assert {lane["phase_name"]: lane["state"] for lane in found["lanes"]} == {
        "left": "waiting_for_input",
        "right": "retrying",
    }
    assert lanes_line(found["lanes"]) == "left (waiting for input), right (retrying)"
    assert found["lanes"][0]["input_request"]["message"] == "left?"
    assert found["next_action"]["type"] == "provide_input"
    await api.project(flow_id)
    whole = (await api.get(f"/flows/{flow_id}")).json()
    assert documents.FlowDetail.model_validate(whole).active_phases == ["left", "right"]


async def test_an_execute_begins_all_that_are_next_or_the_one_it_names(api: Api) -> None:
    flow_id = await forked(api, auto=False)
    one = await api.post(f"/flows/{flow_id}/execute", {"phase_name": "right"})
    assert (one.status_code, one.json()["phase_name"], one.json()["active_phases"]) == (202, "right", ["right"])
    all_others = await api.post(f"/flows/{flow_id}/execute", {})
    assert all_others.json()["active_phases"] == ["left", "right"]
    documents.RunBegun.model_validate(all_others.json())
    problem(await api.post(f"/flows/{flow_id}/execute", {}), 409, "phase_already_running")
    late = problem(await api.post(f"/flows/{flow_id}/execute", {"phase_name": "join"}), 409, "phase_out_of_order")
    assert late["allowed"] == ["left", "right"]


async def test_a_caller_may_wait_for_the_phase_that_it_named_while_another_goes_on(api: Api) -> None:
    flow_id = await forked(api, auto=False)
    await api.post(f"/flows/{flow_id}/execute", {"phase_name": "left"})
    begun = await api.post(f"/flows/{flow_id}/execute?wait=true&wait_ms=10", {"phase_name": "right"})
    assert begun.status_code == 202
    await complete(api, flow_id, "right")
    assert (await status_of(api, flow_id))["active_phases"] == ["left"]


async def test_an_answer_that_could_mean_several_questions_names_its_phase(api: Api) -> None:
    flow_id = await forked(api)
    for phase in ("left", "right"):
        await want(api, flow_id, phase, "colour")
    refused = problem(await api.post(f"/flows/{flow_id}/input", {"colour": "red"}), 409, "phase_not_named")
    assert refused["allowed"] == ["left", "right"]
    tenant = [api.tenant[name] for name in ("X-Client-Account-ID", "X-Engagement-ID", "X-User-ID")]
    async with Client("http://service", *tenant) as client:
        await client._http.aclose()
        client._http = api.client
        api.client.headers.update(api.tenant)
        await client.answer(flow_id, {"colour": "red"}, phase_name="right")
        found = await status_of(api, flow_id)
    assert [lane["state"] for lane in found["lanes"]] == ["waiting_for_input", "running"]


async def test_a_pause_tells_how_many_runs_drain_and_a_skip_names_its_phase(api: Api) -> None:
    flow_id = await forked(api)
    paused = (await api.post(f"/flows/{flow_id}/pause", {})).json()
    assert (paused["draining"], paused["draining_runs"]) == (True, 2)
    await complete(api, flow_id, "left")
    assert (await status_of(api, flow_id))["draining_runs"] == 1
    back = await api.post(f"/flows/{flow_id}/rollback", {"phase_name": "prepare"})
    assert "right is running" in problem(back, 409, "phase_already_running")["detail"]


async def test_the_inbox_lists_every_question_of_a_flow_to_those_who_may_answer_it(api: Api) -> None:
    flow_id = await forked(api)
    of_boris = msgspec.to_builtins(Question(assignees=Assignees(users=("boris",))))
    asked = {"fields": ("colour",), "message": "which?"}
    await api.work(RequestInput(**await run_of(api, flow_id, "left"), **asked))
    await api.work(RequestInput(**await run_of(api, flow_id, "right"), **asked, question=of_boris))
    await api.project(flow_id)
    assert (await status_of(api, flow_id))["input_request"]["also_asking"] == ["right"]

    async def phases(user: str, **params: Any) -> list[str]:
        answer = await api.get("/inputs", params=params, headers={"X-User-ID": user})
        page = InputList.model_validate(answer.json())
        assert page.total == len(page.inputs) or params.get("limit") == 1
        return [one.phase_name for one in page.inputs]

    assert await phases("maria") == ["left", "right"]
    assert await phases("maria", mine=True) == ["left"]
    assert await phases("boris", mine=True, phase="right") == ["right"]
    first = (await api.get("/inputs", params={"limit": 1})).json()
    second = (await api.get("/inputs", params={"limit": 1, "cursor": first["next_cursor"]})).json()
    assert [page["inputs"][0]["phase_name"] for page in (first, second)] == ["left", "right"]
    assert (first["total"], second["next_cursor"]) == (2, None)
    await api.post(f"/flows/{flow_id}/input", {"colour": "red", "phase_name": "left"})
    await api.project(flow_id)
    assert await phases("maria") == ["right"]


async def test_the_status_says_why_the_attempt_of_one_phase_waits(api: Api) -> None:
    flow_id = await forked(api)
    error = {"class": "network", "code": "io_failed", "message": "cut", "retryable": True}
    await api.work(FailPhase(**await run_of(api, flow_id, "right"), error=error))
    found = await status_of(api, flow_id)
    lanes = {lane["phase_name"]: lane for lane in found["lanes"]}
    assert lanes["right"]["waiting"]["reason"] == "retry"
    assert [one["code"] for one in lanes["right"]["attempts"]] == ["io_failed"]
    assert lanes["left"]["attempts"] == []
    # no process has offered a place for it
    assert lanes["left"]["waiting"]["reason"] == "no_process"
    assert found["waiting"] == lanes["left"]["waiting"]
