"""A new release beside the old one: each flow runs by the version it began with, and nothing is lost."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from domain.commands import CreateOptions, ExecutePhase, MigrateFlow
from domain.events import PhaseCompleted
from domain.flow import Flow
from eventstore.doctor import examine
from eventstore.service import ServiceConfig
from eventstore.waiting import for_place
from tests.consumers.conftest import Client, client_of, ended
from tests.consumers.test_drain import SLOW_CLOCK, consumers, until_it_works
from tests.consumers.yard import open_yard
from tests.eventstore.house import House, create, open_house
from tests.versions.new import SECOND
from tests.versions.old import FIRST
from tests.waiting import until

OLD, NEW, BOTH = "tests.versions.old", "tests.versions.new", "tests.versions.both"
PHASES = {config.version: [phase.name for phase in config.phases] for config in (FIRST, SECOND)}
MOVE: dict[str, Any] = {"to_version": "1.1.0", "phase_mapping": {"clean": "cleanse"}}


class Load:
    """Flows that are made all the time: by a service of the old release, and over Kafka by whoever takes the command."""

    def __init__(self, house: House, client: Client, ledger: Path) -> None:
        self._house, self._client, self._ledger = house, client, ledger
        self._enough = asyncio.Event()
        self._tasks = [asyncio.create_task(each()) for each in (self._over_http, self._over_kafka)]
        self.made: list[UUID] = []
        self.sent: list[str] = []

    def _given(self) -> dict[str, Any]:
        return {"initial_data": {"ledger": str(self._ledger)}}

    async def _over_http(self) -> None:
        while not self._enough.is_set():
            answer = await self._house.ask(create(flow_type="released", **self._given()))
            self.made.append(answer.flow_id)
            await until(lambda: self._house.one("select count(*) < 20 from runs"), 120)

    async def _over_kafka(self) -> None:
        while not self._enough.is_set():
            body = {"flow_type": "released", "flow_name": "K", "options": {"auto_execute": True}, **self._given()}
            self.made.append(uuid4())
            self.sent.append(await self._client.send("CreateFlow", self.made[-1], body))
            # so that no more than some are on their way
            await until(lambda: len(self._client.on(self._client.config.topics.replies)) > len(self.sent) - 10, 120)

    async def enough(self) -> None:
        self._enough.set()
        await asyncio.gather(*self._tasks)
        for command_id in self.sent:
            assert (await self._client.reply(command_id))["outcome"] == "accepted"

    def stop(self) -> None:
        for task in self._tasks:
            task.cancel()


async def read(house: House, flows: list[UUID]) -> list[Flow]:
    return [await house.side.store.flow(flow_id) for flow_id in flows]


# four starts of the service, each of which a busy machine may take its time for
@pytest.mark.timeout(400)
async def test_an_old_and_a_new_release_side_by_side_lose_nothing_under_load(
    config: ServiceConfig, real_kafka: str, tmp_path: Path
) -> None:
    ledger, log = tmp_path / "ledger", tmp_path / "log"
    ledger.touch()
    async with (
        open_house(config.database_url, flow_type_modules=(OLD,)) as house,
        client_of(config) as client,
    ):
        await house.rows(SLOW_CLOCK)
        client.tenant = house.tenant
        services = [await consumers(config, log, OLD), await consumers(config, log, OLD)]
        load = Load(house, client, ledger)
        try:
            for service in services:
                await until_it_works(house, service)
            # flows that wait for somebody while the release changes
            options, given = CreateOptions(), {"ledger": str(ledger)}
            waiting = [
                (await house.ask(create(flow_type="released", options=options, initial_data=given))).flow_id
                for _ in range(3)
            ]
            for flow_id in waiting:
                await house.ask(ExecutePhase(flow_id=flow_id))
            old = list(services)
            services += [await consumers(config, log, BOTH), await consumers(config, log, BOTH)]
            for service in services[2:]:
                await until_it_works(house, service)
            for service in old:
                service.send_signal(signal.SIGTERM)
            for service in old:
                await asyncio.wait({asyncio.ensure_future(service.wait())}, timeout=90)
                assert service.returncode == 0, log.read_text()
            # there are flows by both versions, made and done by the new release alone
            left = len(load.made)
            await until(lambda: len(load.made) >= left + 20, 120)
            await load.enough()
            for flow_id in waiting[:2]:
                await ended(house, flow_id, "waiting_for_input", within=120)
                for _ in range(2):
                    before = await house.side.store.flow(flow_id)
                    await house.ask(ExecutePhase(flow_id=flow_id))
                    await until(lambda flow_id=flow_id, before=before: _beyond(house, flow_id, before), 120)
            # one of them goes on by the new version
            moved = await client.reply(await client.send("MigrateFlow", waiting[2], MOVE))
            assert moved["outcome"] == "accepted", moved
            for _ in range(3):
                before = await house.side.store.flow(waiting[2])
                await house.ask(ExecutePhase(flow_id=waiting[2]))
                await until(lambda before=before: _beyond(house, waiting[2], before), 120)
            await until(lambda: house.one("select count(*) = 0 from runs"), 120)
        finally:
            load.stop()
            for service in services:
                if service.returncode is None:
                    service.kill()
                    await service.wait()
        flows = await read(house, load.made)
        told = Counter([fact for flow_id in load.made for fact in await house.facts(flow_id)])
        later = await read(house, waiting)
        ran = await code_of(house, [*load.made, *waiting])
    assert [flow.status for flow in (*flows, *later)] == ["completed"] * (len(flows) + 3)
    assert (told["PhaseFailed"], told["RunReassigned"], told["FlowMigrated"]) == (0, 0, 0)
    # each by its own version, from the beginning to the end
    assert {flow.flow_version for flow in flows} == {"1.0.0", "1.1.0"}
    assert all([phase.name for phase in flow.phases] == PHASES[flow.flow_version] for flow in flows)
    assert [flow.flow_version for flow in later] == ["1.0.0", "1.0.0", "1.1.0"]
    # every effect once, and history says whose code it was
    lines = [tuple(line.split()) for line in ledger.read_text().splitlines()]
    assert len(lines) == len(set(lines)) == sum(len(flow.phases) for flow in (*flows, *later))
    # a handler that keeps its name runs in whichever process has it, for flows of either version
    assert ran["fetch"] >= {("1.0.0", "1"), ("1.0.0", "2"), ("1.1.0", "2")}
    assert ran["clean"] == {("1.0.0", "1")}
    assert ran["cleanse"] == {("1.1.0", "1")}


async def _beyond(house: House, flow_id: UUID, before: Flow) -> bool:
    """Whether the phase that was next is done."""
    flow = await house.side.store.flow(flow_id)
    return flow.run is None and sum(bool(phase.outputs) for phase in flow.phases) > sum(
        bool(phase.outputs) for phase in before.phases
    )


async def code_of(house: House, flows: list[UUID]) -> dict[str, set[tuple[str, str]]]:
    """By phase: the versions of flows, and of the code that ran."""
    found: dict[str, set[tuple[str, str]]] = {}
    for flow_id in flows:
        version = (await house.side.store.flow(flow_id)).flow_version
        for _, recorded in await house.side.store.history(flow_id):
            if isinstance(recorded.fact, PhaseCompleted):
                of_phase = found.setdefault(recorded.fact.phase_name, set())
                of_phase |= {(version, code) for code in recorded.fact.handler_versions.values()}
    return found


async def test_a_release_without_the_old_handlers_says_which_are_missing_and_a_move_helps(
    database_url: str, tmp_path: Path
) -> None:
    async with open_house(database_url, flow_type_modules=(OLD,)) as house:
        flow_id = (await house.ask(create(flow_type="released"))).flow_id
        async with open_yard(database_url, tmp_path, flow_type_modules=(NEW,)) as yard:
            # what it has the handlers for it does
            await until(lambda: house.one("select phase_name = 'clean' from runs where flow_id = %s", flow_id), 120)
            run = await house.run_of(flow_id)

            async def told() -> Any:
                found = await for_place(house.side.pool, run.run_id)
                return found if found is not None and "clean of released 1.0.0" in found.message else None

            found = await until(told, 120)
            assert found.reason == "no_process"
            assert found.message.endswith("Not known to be there: clean.")
            await house.rows("update runs set queued_at = queued_at - interval '20 s' where flow_id = %s", flow_id)
            async with house.side.pool.connection() as connection:
                missing = [one for one in await examine(connection) if one.code == "handlers_missing"]
            assert [one["lacks"] for one in missing[0].subjects] == ["clean"]
            assert "clean of released 1.0.0 lacks clean" in missing[0].message

            refused = await house.ask(MigrateFlow(flow_id=flow_id, **MOVE))
            assert refused.error is not None
            assert refused.error["code"] == "phase_running"
            await house.ask(MigrateFlow(flow_id=flow_id, **MOVE, restart_run=True))
            flow = await yard.ended(flow_id)
    assert (flow.flow_version, [phase.name for phase in flow.phases]) == ("1.1.0", PHASES["1.1.0"])
    assert flow.phase("cleanse").outputs == {"cleanse_by": "new"}
