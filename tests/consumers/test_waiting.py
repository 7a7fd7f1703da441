"""Handlers that wait for something outside, in real child processes: the place is free meanwhile, nothing is lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from domain.commands import ExecutePhase, PauseFlow, ProvideInput, ResumeFlow, SignalFlow, Tenant
from domain.flow import Flow
from domain.words import Status
from tests.consumers.conftest import ended
from tests.consumers.test_keeper import Yard, quiet
from tests.consumers.yards import lines, yard_of
from tests.waiting import until

MODULE = "tests.consumers.waiting"
SECRET = "correct horse battery staple"
pytestmark = pytest.mark.asyncio(loop_scope="module")


yard = yard_of(MODULE)


async def suspended(yard: Yard, flow_id: UUID) -> Flow:
    """The flow, as soon as its run has given way."""

    async def there() -> Flow | None:
        flow = await yard.house.side.store.flow(flow_id)
        return flow if flow.suspended is not None else None

    flow: Flow = await until(there, 60)
    return flow


async def signal(yard: Yard, flow_id: UUID, name: str, signal_id: str | None = None, **payload: Any) -> str:
    answer = await yard.house.ask(SignalFlow(flow_id=flow_id, name=name, payload=payload, signal_id=signal_id))
    return answer.outcome


async def test_signals_are_taken_up_in_order_by_a_handler_that_holds_no_place_meanwhile(
    yard: Yard, tmp_path: Path
) -> None:
    ledger = tmp_path / "ledger"
    flow_id = await yard.start("collect", ledger=str(ledger), orders=3)
    waits = await suspended(yard, flow_id)
    assert (waits.status, waits.run) == (Status.PROCESSING, None)
    await quiet(yard)
    assert await signal(yard, flow_id, "order", "a", n=1) == "accepted"
    assert await signal(yard, flow_id, "order", "b", n=2) == "accepted"
    assert await signal(yard, flow_id, "order", "a", n=9) == "repeated"
    assert await signal(yard, flow_id, "order", n=3) == "accepted"
    flow = await ended(yard.house, flow_id, within=60)
    assert flow.phase("collect").outputs["orders"] == [{"n": 1}, {"n": 2}, {"n": 3}]
    assert flow.phase("collect").outputs["senders"] == ["maria"] * 3
    # it ran anew as the same attempt
    assert set(lines(ledger)) == {"began 1"}
    assert flow.attempts_failed == 0
    await quiet(yard)


@pytest.mark.parametrize("kind", ["in_the_loop", "plain"])
async def test_every_kind_of_handler_can_wait(yard: Yard, kind: str) -> None:
    flow_id = await yard.start(kind)
    await suspended(yard, flow_id)
    await signal(yard, flow_id, "word", n=1)
    flow = await ended(yard.house, flow_id, within=60)
    assert flow.phase(kind).outputs == {"said": {"n": 1}}


async def test_who_waits_for_several_at_once_gets_them_all(yard: Yard) -> None:
    flow_id = await yard.start("several")
    await suspended(yard, flow_id)
    for n, name in enumerate(("blue", "green", "red")):
        await signal(yard, flow_id, name, n=n)
    flow = await ended(yard.house, flow_id, within=60)
    assert flow.phase("several").outputs == {"said": [2, 1, 0]}


async def test_the_time_may_be_up_and_a_handler_may_go_on_all_the_same(yard: Yard) -> None:
    calm, hurried = await yard.start("plain"), await yard.start("hurried")
    for flow_id in (calm, hurried):
        assert "wait" in (await suspended(yard, flow_id)).timers
    await yard.house.shift_clock(61)
    flow = await ended(yard.house, calm, within=60)
    assert flow.phase("plain").outputs == {"late": "signal 'word' did not come within 60 s"}
    failed = await ended(yard.house, hurried, "failed", within=60)
    assert failed.error is not None
    assert (failed.error["code"], failed.error["retryable"]) == ("wait_timed_out", False)
    # executed again it waits anew, and finds what came since
    await signal(yard, hurried, "word")
    await yard.house.ask(ExecutePhase(flow_id=hurried))
    await ended(yard.house, hurried, within=60)
    assert await yard.house.rows("select * from timers") == []


async def test_a_signal_during_a_pause_is_taken_up_on_resume(yard: Yard) -> None:
    flow_id = await yard.start("in_the_loop")
    await suspended(yard, flow_id)
    await yard.house.ask(PauseFlow(flow_id=flow_id))
    await signal(yard, flow_id, "word", n=7)
    paused = await yard.house.side.store.flow(flow_id)
    assert (paused.status, len(paused.signals)) == (Status.PAUSED, 1)
    await yard.house.ask(ResumeFlow(flow_id=flow_id))
    flow = await ended(yard.house, flow_id, within=60)
    assert flow.phase("in_the_loop").outputs == {"said": {"n": 7}}


async def test_a_secret_in_a_signal_is_in_clear_only_for_the_handler(yard: Yard) -> None:
    flow_id = await yard.start("secretive")
    await suspended(yard, flow_id)
    await signal(yard, flow_id, "login", credentials={"password": SECRET})
    flow = await ended(yard.house, flow_id, within=60)
    assert flow.phase("secretive").outputs == {"length": len(SECRET)}
    for table in ("stored_events", "command_log"):
        found = await yard.house.rows(f"select t::text from {table} t")
        assert SECRET.encode().hex() not in str(found)
        assert SECRET not in str(found)


async def answered(yard: Yard, flow_id: UUID, user: str, **values: Any) -> Any:
    tenant = Tenant(yard.house.tenant.client_account_id, yard.house.tenant.engagement_id, user)
    command = ProvideInput.model_validate({"flow_id": flow_id, **values})
    return await yard.house.committer.submit(command, yard.house.envelope(tenant=tenant))


async def asking(yard: Yard, flow_id: UUID, step: str) -> Flow:
    async def there() -> Flow | None:
        flow = await yard.house.side.store.flow(flow_id)
        return flow if flow.waiting is not None and flow.waiting.step == step else None

    flow: Flow = await until(there, 60)
    return flow


async def test_a_handler_asks_one_person_and_then_two_and_each_answer_is_kept_like_a_step(
    yard: Yard, tmp_path: Path
) -> None:
    ledger = tmp_path / "ledger"
    flow_id = await yard.start("consult", ledger=str(ledger))
    first = await asking(yard, flow_id, "ask:1")
    assert first.waiting is not None
    assert (first.waiting.fields, first.waiting.suggestions) == (("colour",), {"best": "red"})
    assert (await answered(yard, flow_id, "maria", colour="red")).error["code"] == "not_an_assignee"
    wrong = await answered(yard, flow_id, "boris", colour="blue")
    assert wrong.error["errors"] == [{"field": "/colour", "message": 'must be one of ["red","green"]'}]
    assert (await answered(yard, flow_id, "boris", colour="green")).outcome == "accepted"
    await asking(yard, flow_id, "ask:2")
    await yard.house.shift_clock(61)
    await until(lambda: _reminded(yard, flow_id), 60)
    assert (await answered(yard, flow_id, "maria", approval=True)).outcome == "accepted"
    assert (await answered(yard, flow_id, "boris", approval=False)).error["code"] == "answers_differ"
    assert (await answered(yard, flow_id, "boris", approval=True)).outcome == "accepted"
    flow = await ended(yard.house, flow_id, within=60)
    assert flow.phase("consult").outputs == {"colour": "green", "allowed_by": ["maria", "boris"]}
    late = await answered(yard, flow_id, "chen", approval=True)
    assert (late.error["code"], late.error["details"]["answered_by"]) == ("already_answered", ["maria", "boris"])
    assert lines(ledger) == ["began 1"] * 3


async def _reminded(yard: Yard, flow_id: UUID) -> bool:
    return "InputReminded" in await yard.house.facts(flow_id)


async def test_secret_and_large_answers_reach_the_handler_whole(yard: Yard) -> None:
    flow_id = await yard.start("consult_plainly")
    await asking(yard, flow_id, "ask:1")
    await answered(yard, flow_id, "maria", credentials={"password": SECRET}, rows=["x" * 100] * 2000)
    flow = await ended(yard.house, flow_id, within=60)
    assert flow.phase("consult_plainly").outputs == {"length": len(SECRET), "rows": 2000}


@pytest.mark.parametrize(
    ("flow_type", "question", "code"),
    [
        ("ask_roles", {}, "not_supported"),
        ("ask_badly", {}, "question_invalid"),
        ("ask_badly", {"schema": {"type": "odd"}}, "question_invalid"),
        ("ask_badly", {"fields": ["reason"]}, "question_invalid"),
        ("ask_badly", {"fields": ["a"], "assignees": {"groups": ["x"]}}, "question_invalid"),
        ("ask_badly", {"fields": ["a"], "assignees": {"users": "maria"}}, "question_invalid"),
        ("ask_badly", {"fields": ["a"], "expires_after_seconds": 5, "on_expiry": "skip"}, "question_invalid"),
    ],
)
async def test_a_question_that_cannot_be_asked_fails_the_phase(
    yard: Yard, flow_type: str, question: dict[str, Any], code: str
) -> None:
    flow = await yard.finish(flow_type, "failed", within=30, question=question)
    assert flow.error is not None
    assert (flow.error["code"], flow.error["retryable"]) == (code, False)


async def test_a_hook_around_a_phase_may_wait_and_ask_too(yard: Yard) -> None:
    flow_id = await yard.start("held")
    for name in ("go", "word"):
        await signal(yard, flow_id, name, n=name)
    asked = await until(lambda: _question(yard, flow_id), 60)
    assert asked.step.startswith("hook:before:hold:")
    await answered(yard, flow_id, "maria", sure=True)
    flow = await ended(yard.house, flow_id, within=60)
    assert flow.phase("in_the_loop").outputs == {"held": [{"n": "go"}, {"sure": True}], "said": {"n": "word"}}


async def _question(yard: Yard, flow_id: UUID) -> Any:
    return (await yard.house.side.store.flow(flow_id)).waiting
