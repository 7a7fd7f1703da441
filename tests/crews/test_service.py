"""Agents in the whole service: a worker dies in the middle, the endpoint does not answer, and the flow goes on."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import psutil

from domain.commands import CreateOptions, ProvideInput
from domain.events import PhaseCompleted, PhaseFailed, StepsCompleted
from domain.flow import Flow
from eventstore.service import CrewConfig, ServiceConfig
from tests.consumers.conftest import config, ended, house, serving
from tests.crews.server import Asked, Endpoint, Reply, meanings, says
from tests.eventstore.house import House, create
from tests.waiting import until

__all__ = ["config", "house"]

Json = dict[str, Any]
SERVERS = "Server Name,Zweck\nweb01,Abrechnung\nweb02,Lager\n"
OTHERS = "Server Name,Kst\napp01,K 11\napp02,K 12\n"


async def begun(house: House, options: CreateOptions, **initial_data: Any) -> Flow:
    """A discovery of two files, each with a column that rules leave open."""
    files = []
    for name, text in (("servers.csv", SERVERS), ("others.csv", OTHERS)):

        async def whole(text: str = text) -> AsyncIterator[bytes]:
            yield text.encode()

        upload, _ = await house.side.imports.add(house.tenant, name, whole(), max_bytes=10_000)
        files.append(str(upload.id))
    given = {"import_file_ids": files, "reference_date": "2025-06-01", **initial_data}
    answer = await house.ask(create(flow_type="discovery", initial_data=given, options=options))
    assert answer.flow is not None
    return answer.flow


async def facts(house: House, flow: Flow, kind: type) -> list[Any]:
    return [recorded.fact for _, recorded in await house.side.store.history(flow.id) if isinstance(recorded.fact, kind)]


async def mapping_done(house: House, flow: Flow) -> list[PhaseCompleted]:
    return [one for one in await facts(house, flow, PhaseCompleted) if one.phase_name == "field_mapping"]


def processes(name: str) -> list[psutil.Process]:
    found = []
    for child in psutil.Process().children(recursive=True):
        try:
            if any(name in part for part in child.cmdline()):
                found.append(child)
        except psutil.Error:
            continue
    return found


async def test_a_worker_killed_between_two_tasks_pays_for_neither_twice(
    config: ServiceConfig, house: House, model: Endpoint, crew_config: CrewConfig
) -> None:
    never = threading.Event()

    def second(asked: Asked) -> Reply:
        return meanings(asked, Zweck="application_name", Kst="department")

    model.replies(second, Reply(hold=never), second)
    async with serving(replace(config, crew=crew_config)):
        flow = await begun(house, CreateOptions(auto_execute=True))
        # the first task is kept, the second under way
        await until(lambda: len(model.calls) == 2, 90)
        (worker,) = processes("consumers.child")
        crews = processes("process.py")
        worker.kill()
        await until(lambda: not any(crew.is_running() and crew.status() != psutil.STATUS_ZOMBIE for crew in crews), 60)
        waiting = await ended(house, flow.id, "waiting_for_input", "failed", within=90)
        assert waiting.status == "waiting_for_input", waiting.error
        # the second had no answer at the kill
        assert Counter(asked.task for asked in model.calls) == {"Zweck": 1, "Kst": 2}
        assert Counter(asked.task for asked in model.answered) == {"Zweck": 1, "Kst": 1}

        answer = await house.ask(ProvideInput(flow_id=flow.id, approval=True))
        assert answer.outcome == "accepted", answer.error
        (mapped,) = await until(lambda: mapping_done(house, flow), 90)
        assert len(model.calls) == 3
    never.set()
    codes = [failed.error["code"] for failed in await facts(house, flow, PhaseFailed)]
    assert codes == ["worker_lost"]
    kept = [
        name for steps in await facts(house, flow, StepsCompleted) for name in steps.results if name.startswith("crew")
    ]
    assert len(kept) == len(set(kept)) == 3
    agents = mapped.outputs["agents"]
    assert (agents["outcome"], agents["columns_suggested"], agents["total_tokens"]) == ("answered", 2, 240)
    assert mapped.resource_usage["agents"] == {
        "model": "scripted-1",
        "calls": 2,
        "prompt_tokens": 200,
        "completion_tokens": 40,
        "total_tokens": 240,
    }
    assert [insight["total_tokens"] for insight in mapped.agent_insights] == [120, 120]
    assert crew_config.api_key is not None
    for _, recorded in await house.side.store.history(flow.id):
        assert crew_config.api_key not in str(recorded.fact)


async def test_a_flow_that_may_not_try_again_goes_on_without_agents(
    config: ServiceConfig, house: House, model: Endpoint, crew_config: CrewConfig
) -> None:
    model.replies(Reply(500), says("never"))
    async with serving(replace(config, crew=crew_config)):
        flow = await begun(house, CreateOptions(auto_execute=True, max_retries=0))
        waiting = await ended(house, flow.id, "waiting_for_input", "failed", within=90)
        assert not processes("process.py")
    assert waiting.status == "waiting_for_input", waiting.error
    assert len(model.calls) == 1
    assert waiting.attempts_failed == 0
    assert waiting.waiting is not None
    agents = waiting.waiting.suggestions["agents"]
    assert (agents["took_part"], agents["outcome"]) == (False, "model_unavailable")
    assert "No agent took part" in waiting.waiting.message
