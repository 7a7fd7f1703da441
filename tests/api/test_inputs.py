"""The inbox over HTTP: what flows ask whom, and answering it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec

from api import documents
from api.inputs import InputList, InputWanted
from domain.commands import FireTimer, RequestInput
from domain.questions import Assignees, Question
from mfo.client import Client
from tests.api.conftest import Api, config_for, new_tenant, problem, started

COLOUR = {"type": "object", "properties": {"colour": {"enum": ["red", "green"]}}, "required": ["colour"]}


async def asks(api: Api, name: str = "Which?", suggestions: Any = None, **about: Any) -> str:
    """A flow whose first phase asks for a colour."""
    flow_id = str((await api.made(project=False, options={"auto_execute": True}))["flow_id"])
    run = await api.run_of(flow_id)
    question = msgspec.to_builtins(Question(**about)) if about else None
    asked = {"run_id": run.run_id, "token": run.token, "fields": ("colour",), "message": name, "question": question}
    await api.work(RequestInput(flow_id=UUID(flow_id), suggestions=suggestions or {}, **asked))
    await api.project(flow_id)
    return flow_id


async def inbox(api: Api, user: str | None = None, **params: Any) -> list[InputWanted]:
    """All pages, two questions each, as this user sees them."""
    found: list[InputWanted] = []
    while True:
        headers = {"X-User-ID": user} if user else {}
        answer = await api.get("/inputs", params={"limit": 2, **params}, headers=headers)
        assert answer.status_code == 200, answer.text
        page = InputList.model_validate(answer.json())
        found.extend(page.inputs)
        if page.next_cursor is None:
            assert page.total == len(found)
            return found
        params["cursor"] = page.next_cursor


async def test_the_inbox_tells_what_is_asked_of_whom(api: Api) -> None:
    flow_id = await asks(
        api,
        suggestions={"colours": ["red", "green"], "best": "red"},
        schema=COLOUR,
        assignees=Assignees(users=("boris", "chen"), need=2),
        expires_after_seconds=3600.0,
        on_expiry="fail",
        remind_after_seconds=60.0,
    )
    [one] = await inbox(api, "boris")
    assert (str(one.flow_id), one.flow_type, one.phase_name) == (flow_id, "discovery", "data_import")
    assert (one.message, one.fields, one.schema_, one.on_expiry) == ("Which?", ["colour"], COLOUR, "fail")
    assert one.suggestions == {"colours": 2, "best": 1}
    assert (one.assignees.users, one.assignees.need, one.answered_by) == (["boris", "chen"], 2, [])
    assert one.expires_at is not None
    assert one.reminder_at is not None
    assert one.requested_at < one.reminder_at < one.expires_at
    assert (one.may_answer, one.overdue, one.reminded) == (True, False, 0)


async def test_everybody_finds_what_he_may_answer(api: Api) -> None:
    of_all = await asks(api)
    of_boris = await asks(api, assignees=Assignees(users=("boris",)))
    of_two = await asks(api, assignees=Assignees(need=2))

    async def ids(user: str, **params: Any) -> list[str]:
        return [str(one.flow_id) for one in await inbox(api, user, **params)]

    assert await ids("maria") == [of_all, of_boris, of_two]
    assert await ids("maria", mine=True) == [of_all, of_two]
    assert await ids("boris", mine=True) == [of_all, of_boris, of_two]
    assert await ids("boris", open=True) == [of_all, of_two]
    assert [one.may_answer for one in await inbox(api, "maria")] == [True, False, True]
    answered = await api.post(f"/flows/{of_two}/input", {"colour": "red"}, headers={"X-User-ID": "maria"})
    assert documents.VerbAnswer.model_validate(answered.json()).status == "waiting_for_input"
    await api.project(of_two)
    assert await ids("maria", mine=True) == [of_all]
    assert [one.user_id for one in (await inbox(api))[-1].answered_by] == ["maria"]
    api.tenant = {**new_tenant(), "X-User-ID": "boris"}
    assert await ids("boris") == []


async def test_the_inbox_is_narrowed_by_type_phase_and_what_is_overdue(api: Api) -> None:
    flow_id = await asks(api, remind_after_seconds=60.0)
    await asks(api)
    assert len(await inbox(api, flow_type="discovery", phase="data_import,other")) == 2
    assert await inbox(api, phase="other") == []
    assert await inbox(api, overdue=True) == []
    problem(await api.get("/inputs?flow_type=nonsense"), 422, "parameter_invalid")
    problem(await api.get("/inputs?cursor=nonsense"), 422, "parameter_invalid")
    timer = (await api.side.store.flow(UUID(flow_id))).timers["remind"]
    await api.work(FireTimer(flow_id=UUID(flow_id), timer="remind", token=timer.token))
    await api.project(flow_id)
    [late] = await inbox(api, overdue=True)
    assert (str(late.flow_id), late.reminded, late.overdue) == (flow_id, 1, True)


async def test_wrong_answers_are_refused_by_field_and_kept_and_the_first_right_one_wins(api: Api) -> None:
    flow_id = await asks(api, schema=COLOUR, assignees=Assignees(users=("boris", "chen")))
    path = f"/flows/{flow_id}/input"
    not_asked = problem(await api.post(path, {"colour": "red"}), 403, "not_an_assignee")
    assert not_asked["details"] == {"users": ["boris", "chen"]}
    boris, chen = {"X-User-ID": "boris"}, {"X-User-ID": "chen"}
    wrong = problem(await api.post(path, {"colour": "blue"}, headers=boris), 422, "input_invalid")
    assert wrong["errors"] == [{"field": "/colour", "message": 'must be one of ["red","green"]'}]
    assert (await api.post(path, {"colour": "red"}, headers=boris)).status_code == 200
    late = problem(await api.post(path, {"colour": "green"}, headers=chen), 409, "already_answered")
    assert late["details"]["answered_by"] == ["boris"]
    assert late["details"]["answered_at"]
    async with api.side.pool.connection() as connection:
        cursor = await connection.execute(
            "select outcome, user_id, error::jsonb ->> 'code' from command_log"
            " where flow_id = %s and command = 'ProvideInput' order by at",
            (flow_id,),
        )
        assert await cursor.fetchall() == [
            ("refused", api.tenant["X-User-ID"], "not_an_assignee"),
            ("refused", "boris", "input_invalid"),
            ("accepted", "boris", None),
            ("refused", "chen", "already_answered"),
        ]
    await api.project(flow_id)
    assert await inbox(api) == []


async def test_the_status_shows_the_question_and_two_must_agree(api: Api) -> None:
    flow_id = await asks(api, assignees=Assignees(need=2))
    path = f"/flows/{flow_id}"
    assert "execute" not in (await api.get(f"{path}/status")).json()["allowed"]
    problem(await api.post(f"{path}/execute", {"inputs": {"colour": "red"}}), 409, "answer_wanted")
    assert (await api.post(f"{path}/input", {"colour": "red"})).json()["status"] == "waiting_for_input"
    problem(await api.post(f"{path}/input", {"colour": "red"}), 409, "already_answered")
    other = {"X-User-ID": "boris"}
    differs = problem(await api.post(f"{path}/input", {"colour": "green"}, headers=other), 409, "answers_differ")
    assert [one["field"] for one in differs["errors"]] == ["/colour"]
    shown = (await api.get(f"{path}/status?consistency=strong")).json()["input_request"]
    assert [one["user_id"] for one in shown["answered_by"]] == [api.tenant["X-User-ID"]]
    assert (await api.post(f"{path}/input", {"colour": "red"}, headers=other)).json()["status"] == "processing"


async def test_the_client_lists_and_answers(api: Api) -> None:
    flow_id = await asks(api, schema=COLOUR)
    tenant = [api.tenant[name] for name in ("X-Client-Account-ID", "X-Engagement-ID", "X-User-ID")]
    async with Client("http://service", *tenant) as client:
        await client._http.aclose()
        client._http = api.client
        api.client.headers.update(api.tenant)
        assert [one["flow_id"] async for one in client.inputs(mine=True, open_to_all=True)] == [flow_id]
        assert (await client.answer(flow_id, {"colour": "red"}, reason="nice"))["status"] == "processing"


async def test_a_type_asks_two_people_and_nothing_but_their_answer_begins_its_phase(shared_database_url: str) -> None:
    config = config_for(shared_database_url, flow_type_modules=("tests.consumers.waiting",))
    async with started(config) as api:
        wanted = {"flow_type": "signed", "flow_name": "S"}
        early = await api.post("/flows", {**wanted, "initial_data": {"approval": True}})
        assert problem(early, 422, "input_invalid")["errors"][0]["field"] == "initial_data.approval"
        flow_id = (await api.post("/flows", wanted)).json()["flow_id"]
        path = f"/flows/{flow_id}"
        asked = await api.post(f"{path}/execute", {"options": {"validate_inputs": False}})
        begun = documents.RunBegun.model_validate(asked.json())
        assert (asked.status_code, begun.run_id, begun.status) == (202, None, "waiting_for_input")
        await api.project(flow_id)
        [one] = await inbox(api, "boris", mine=True)
        assert (str(one.flow_id), one.message, one.assignees.need) == (flow_id, "May we?", 2)
        for user, status in (("boris", "waiting_for_input"), ("chen", "processing")):
            answer = await api.post(f"{path}/input", {"approval": True}, headers={"X-User-ID": user})
            assert (answer.status_code, answer.json()["status"]) == (200, status)
        await api.post(f"{path}/cancel")
