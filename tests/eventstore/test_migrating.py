"""Flows that are moved to another version of their type, where processes of both releases decide."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import NamedTuple
from uuid import uuid4

import pytest

from domain.commands import MigrateFlow
from domain.events import FlowMigrated
from tests.eventstore.house import House, create, open_house

RUN = "select flow_version, phase_name, state, attempt from runs where flow_id = %s"


class Releases(NamedTuple):
    """A process of the old release, and one of the new."""

    old: House
    new: House


@pytest.fixture
async def releases(database_url: str) -> AsyncIterator[Releases]:
    async with (
        open_house(database_url, flow_type_modules=("tests.versions.old",)) as old,
        open_house(database_url, flow_type_modules=("tests.versions.both",)) as new,
    ):
        yield Releases(old, House(new.side, old.tenant))


async def test_a_process_that_does_not_know_the_version_learns_it_from_the_store(releases: Releases) -> None:
    old, new = releases
    flow = await old.begin(flow_type="released")
    await old.complete(flow.id)
    assert not old.side.types.knows("released", "1.1.0")
    moving = {"to_version": "1.1.0", "phase_mapping": {"clean": "cleanse"}}
    refused = await old.ask(MigrateFlow(flow_id=flow.id, **moving))
    assert refused.error is not None
    assert refused.error["code"] == "phase_running"
    anew = MigrateFlow(flow_id=flow.id, **moving, restart_run=True)
    answer = await old.ask(anew, command_id="move")
    assert answer.outcome == "accepted", answer
    assert (await old.ask(anew, command_id="move")).outcome == "repeated"
    assert await old.rows(RUN, flow.id) == [("1.1.0", "cleanse", "queued", 1)]
    # the other one goes on with it, and each decides by the version that the flow has now
    await new.complete(flow.id)
    await old.complete(flow.id)
    assert (await new.run_of(flow.id)).phase_name == "file"
    done = await new.complete(flow.id)
    assert done.flow is not None
    assert (done.flow.status, done.flow.flow_version) == ("completed", "1.1.0")
    assert await old.rows(RUN, flow.id) == []


async def test_back_to_a_version_that_a_process_has_forgotten(releases: Releases) -> None:
    old, new = releases
    flow = await old.begin(flow_type="released", options={})
    gone = House(new.side, old.tenant)
    there = await gone.ask(MigrateFlow(flow_id=flow.id, to_version="1.1.0", phase_mapping={"clean": "cleanse"}))
    assert there.outcome == "accepted"
    back = await gone.ask(MigrateFlow(flow_id=flow.id, back=True))
    assert back.flow is not None
    assert ([phase.name for phase in back.flow.phases], back.flow.moves) == (["fetch", "clean", "report"], ())
    facts = [recorded.fact for _, recorded in await old.side.store.history(flow.id)]
    assert [fact.back for fact in facts if isinstance(fact, FlowMigrated)] == [False, True]


async def test_a_version_that_there_is_not_is_refused_and_parks_nobody(releases: Releases) -> None:
    flow = await releases.old.begin(flow_type="released")
    answer = await releases.old.ask(MigrateFlow(flow_id=flow.id, to_version="9.9.9"))
    assert answer.error is not None
    assert (answer.outcome, answer.error["code"]) == ("refused", "type_version_unknown")
    assert set(answer.error["allowed"]) == {"1.0.0", "1.1.0"}
    assert await releases.old.one("select count(*) from parked_commands") == 0
    nobody = await releases.old.ask(MigrateFlow(flow_id=uuid4(), to_version="1.1.0"))
    assert nobody.error is not None
    assert nobody.error["code"] == "flow_not_found"


async def test_flows_are_moved_in_a_group_like_any_command(releases: Releases) -> None:
    old = releases.old
    flows = [create(flow_type="released", options={}) for _ in range(20)]
    futures = [await old.committer.put(command, old.envelope()) for command in flows]
    moves = [MigrateFlow(flow_id=one.flow_id, to_version="1.1.0") for one in flows]
    futures += [await old.committer.put(command, old.envelope()) for command in moves]
    assert {(await future).outcome for future in futures} == {"accepted"}
