"""What is said of one flow reaches those under it and those that wait for it, by way of the log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import pytest

from consumers.follower import Follower, Followers
from consumers.relations import FOLLOWED, NAME, Relations
from domain.commands import CancelFlow, CreateOptions, DeleteFlow, ExecutePhase, PauseFlow, ResumeFlow, RollbackFlow
from domain.fleet.commands import SetStandingPause
from domain.flow import Flow
from domain.relations import Child
from domain.words import Status
from eventstore.service import ServiceConfig
from eventstore.tasks import end_all
from tests.consumers.conftest import client_of, serving
from tests.eventstore.house import House, create, imported, open_house
from tests.waiting import until


@pytest.fixture
async def house(database_url: str) -> AsyncIterator[House]:
    async with open_house(database_url) as house:
        yield house


@asynccontextmanager
async def following(house: House) -> AsyncIterator[None]:
    follower = Follower(house.side.config, NAME, FOLLOWED, Relations(house.side).follow)
    task = asyncio.create_task(Followers(house.side.config, [follower]).run())
    try:
        yield
    finally:
        await end_all([task])


async def flow_of(house: House, flow_id: UUID) -> Flow:
    return await house.side.store.flow(flow_id)


async def have(house: House, flow_ids: list[UUID], status: Status) -> None:
    """Wait until all of these flows have this status."""

    async def all_there() -> bool:
        loaded = await house.side.store.load(flow_ids)
        return all(each.flow.status is status for each in loaded.values())

    await until(all_there, 60)


async def caught_up(house: House) -> None:
    """Wait until the follower has seen to everything that has happened, and to what followed from it."""

    async def at_the_end() -> bool:
        behind = "select (select max(notification_id) from stored_events) > position from followers where name = %s"
        return not await house.one(behind, NAME)

    await until(at_the_end, 60)


async def family(house: House, *, children: int, each: int) -> tuple[UUID, list[UUID]]:
    """A flow with children, and with children of each: all at work."""
    root = (await house.begin()).id
    below = []
    for _ in range(children):
        child = (await house.begin(parent_flow_id=root)).id
        made = await asyncio.gather(*(house.begin(parent_flow_id=child) for _ in range(each)))
        below.extend([child, *(flow.id for flow in made)])
    return root, below


async def test_twenty_flows_on_two_levels_are_paused_resumed_and_cancelled_with_the_one_above(house: House) -> None:
    root, below = await family(house, children=4, each=4)
    async with following(house):
        await caught_up(house)
        answer = await house.ask(PauseFlow(flow_id=root, reason="maintenance"))
        await have(house, below, Status.PAUSED)
        paused = (await flow_of(house, below[-1])).paused
        assert paused is not None
        assert (paused.by, paused.reason, paused.by_flow_id) == ("maria", "maintenance", root)
        _, event = (await house.side.store.history(below[-1]))[-1]
        assert (event.meta.source, event.meta.causation_id) == ("follower", f"{root}:{answer.version}")
        await house.ask(ResumeFlow(flow_id=root))
        await have(house, below, Status.PROCESSING)
        await house.ask(CancelFlow(flow_id=root))
        await have(house, below, Status.CANCELLED)
        await house.ask(DeleteFlow(flow_id=root))
        await have(house, below, Status.DELETED)
    assert (await house.facts(below[-1]))[2:] == ["FlowPaused", "FlowResumed", "FlowCancelled", "FlowDeleted"]


async def test_a_flow_that_somebody_paused_stays_paused_when_its_tree_goes_on(house: House) -> None:
    root, below = await family(house, children=2, each=1)
    async with following(house):
        await house.ask(PauseFlow(flow_id=below[0], tree=False))
        await house.ask(PauseFlow(flow_id=root))
        await have(house, below, Status.PAUSED)
        await house.ask(ResumeFlow(flow_id=root))
        await have(house, below[1:], Status.PROCESSING)
    assert (await flow_of(house, below[0])).status is Status.PAUSED


async def test_a_part_of_a_paused_tree_may_go_on_by_itself(house: House) -> None:
    root, below = await family(house, children=2, each=1)
    async with following(house):
        await house.ask(PauseFlow(flow_id=root))
        await have(house, below, Status.PAUSED)
        await house.ask(ResumeFlow(flow_id=below[0]))
        await have(house, below[:2], Status.PROCESSING)
    assert (await flow_of(house, below[2])).status is Status.PAUSED


async def test_a_verb_for_one_flow_alone_reaches_no_other(house: House) -> None:
    root, below = await family(house, children=1, each=1)
    async with following(house):
        await house.ask(CancelFlow(flow_id=root, tree=False))
        await caught_up(house)
    assert {(await flow_of(house, flow_id)).status for flow_id in below} == {Status.PROCESSING}


async def test_a_rollback_cancels_what_was_begun_since_on_every_level_and_nothing_else(house: House) -> None:
    root = (await house.begin(flow_type="discovery", initial_data={"import_file_id": str(uuid4())})).id
    before = [(await house.begin(parent_flow_id=root)).id]
    await house.complete(root)
    flow = await flow_of(house, root)
    assert flow.run is not None
    since = (await house.begin(parent_flow_id=root)).id
    below = (await house.begin(parent_flow_id=since)).id
    # begun later, but under a flow that stays
    stays = (await house.begin(parent_flow_id=before[0])).id
    ended = (await house.begin(parent_flow_id=root)).id
    await house.ask(DeleteFlow(flow_id=ended))
    await house.ask(PauseFlow(flow_id=root, tree=False))
    await house.complete(root)
    answer = await house.ask(RollbackFlow(flow_id=root, phase_name=flow.run.phase_name, reason="wrong sites"))
    assert answer.outcome == "accepted", answer
    after = (await house.begin(parent_flow_id=root)).id
    async with following(house):
        await have(house, [since, below], Status.CANCELLED)
        await caught_up(house)
    for flow_id in (since, below):
        _, told = (await house.side.store.history(flow_id))[-1]
        assert (told.fact.by_flow_id, told.fact.reason) == (root, "wrong sites")  # type: ignore[union-attr]
        assert told.meta.causation_id == f"{root}:{answer.version}"
    assert [(await flow_of(house, each)).status for each in (before[0], stays, after, ended)] == [
        *(Status.PROCESSING, Status.PROCESSING, Status.PROCESSING, Status.DELETED)
    ]


async def test_a_child_made_while_its_tree_was_paused_or_cancelled_does_not_get_away(house: House) -> None:
    root, _ = await family(house, children=1, each=0)
    # as another process sees it that read the parent a moment before
    stale = house.another_committer()
    await stale.start()
    try:
        known = await flow_of(house, root)
        for verb, status in ((PauseFlow, Status.PAUSED), (CancelFlow, Status.CANCELLED)):
            await house.ask(verb(flow_id=root))
            stale._kin.load = _as_it_was(known)  # type: ignore[method-assign]
            born = create(parent_flow_id=root)
            await stale.submit(born, house.envelope())
            assert (await flow_of(house, born.flow_id)).status is Status.PROCESSING
            async with following(house):
                await have(house, [born.flow_id], status)
    finally:
        await stale.stop()


async def test_a_verb_reaches_only_the_flows_that_were_there_when_it_was_said(database_url: str) -> None:
    async with open_house(database_url, flow_type_modules=("tests.consumers.flows", "tests.consumers.undone")) as house:
        root = (await house.begin(flow_type="journey")).id
        await house.complete(root)
        former = (await house.begin(flow_type="journey", parent_flow_id=root)).id
        taken_over = (await house.ask(imported(parent_flow_id=root, ancestors=(root,)))).flow_id
        await house.fail(root, retryable=False)
        back = await house.ask(RollbackFlow(flow_id=root, phase_name="pay", compensate=False))
        assert back.outcome == "accepted", back.error
        await house.ask(PauseFlow(flow_id=root))
        await house.ask(ResumeFlow(flow_id=root, tree=False))
        # all of it is there when the follower looks
        following_on = (await house.begin(flow_type="journey", parent_flow_id=root)).id
        async with following(house):
            await have(house, [former], Status.CANCELLED)
            await caught_up(house)
        assert await house.facts(following_on) == ["FlowCreated", "PhaseStarted"]
        assert "FlowCancelled" not in await house.facts(taken_over)


async def test_a_child_made_under_a_pause_that_was_over_by_then_goes_on(house: House) -> None:
    root, _ = await family(house, children=1, each=0)
    stale = house.another_committer()
    await stale.start()
    try:
        await house.ask(PauseFlow(flow_id=root))
        stale._kin.load = _as_it_was(await flow_of(house, root))  # type: ignore[method-assign]
        await house.ask(ResumeFlow(flow_id=root))
        async with following(house):
            await caught_up(house)
            born = create(parent_flow_id=root)
            await stale.submit(born, house.envelope())
            await have(house, [born.flow_id], Status.PROCESSING)
        assert (await house.facts(born.flow_id))[1:3] == ["FlowPaused", "FlowResumed"]
    finally:
        await stale.stop()


def _as_it_was(flow: Flow):  # type: ignore[no-untyped-def]
    async def load(_: object, flow_ids: object) -> dict[UUID, Flow]:
        return {flow.id: flow}

    return load


async def test_a_parent_hears_of_its_children_once_each_and_how_they_ended(house: House) -> None:
    root = (await house.begin()).id
    child = (await house.begin(parent_flow_id=root)).id
    failing = (await house.begin(parent_flow_id=root)).id
    for _ in range(2):
        await house.complete(child)
    await house.complete(child, {"rows": 7})
    await house.fail(failing, retryable=False)
    async with following(house):
        await caught_up(house)
        flow = await flow_of(house, root)
        assert flow.children == (
            Child(flow_id=child, status="completed"),
            Child(flow_id=failing, status="failed"),
        )
        ended = [recorded.fact for _, recorded in await house.side.store.history(root)][-2:]
        assert ended[0].outputs == {"rows": 7}  # type: ignore[union-attr]
        assert ended[1].error["code"] == "io_failed"  # type: ignore[union-attr]
    # read again from the start, as after a crash
    version = flow.version
    await house.rows("update followers set position = 0 where name = %s", NAME)
    async with following(house):
        await caught_up(house)
    assert (await flow_of(house, root)).version == version


async def test_large_results_stay_with_the_child(house: House) -> None:
    root = (await house.begin()).id
    child = (await house.begin(parent_flow_id=root)).id
    for _ in range(3):
        await house.complete(child, {"text": "x" * 5000})
    async with following(house):
        await caught_up(house)
    [ended] = [r.fact for _, r in await house.side.store.history(root) if type(r.fact).__name__ == "ChildEnded"]
    assert ended.outputs == {"too_large": True, "size_bytes": 5011}  # type: ignore[union-attr]


async def test_a_flow_begins_when_all_that_it_waits_for_have_completed(house: House) -> None:
    first, second = [(await house.begin()).id for _ in range(2)]
    waits = (await house.begin(dependent_flow_ids=(first, second))).id
    later = (await house.begin(dependent_flow_ids=(waits,))).id
    async with following(house):
        for flow_id in (first, second):
            assert (await flow_of(house, waits)).status is Status.INITIALIZED
            for _ in range(3):
                await house.complete(flow_id)
            await caught_up(house)
        await have(house, [waits], Status.PROCESSING)
        for _ in range(3):
            await house.complete(waits)
        await have(house, [later], Status.PROCESSING)
    assert (await house.ask(ExecutePhase(flow_id=waits))).error["code"] == "flow_is_over"  # type: ignore[index]


async def test_what_follows_where_one_of_them_does_not_complete(house: House) -> None:
    first = (await house.begin()).id
    flows = {
        policy: (
            await house.begin(
                dependent_flow_ids=(first,), options=CreateOptions(auto_execute=True, on_dependency_failure=policy)
            )
        ).id
        for policy in ("wait", "ignore", "fail")
    }
    await house.ask(CancelFlow(flow_id=first))
    async with following(house):
        await have(house, [flows["ignore"]], Status.PROCESSING)
        await have(house, [flows["fail"]], Status.FAILED)
        await caught_up(house)
    held = await flow_of(house, flows["wait"])
    assert (held.status, held.gates[0].status) == (Status.INITIALIZED, "cancelled")


async def test_one_that_completes_while_the_flow_is_made_is_not_missed(house: House) -> None:
    first = (await house.begin()).id
    stale = house.another_committer()
    await stale.start()
    try:
        stale._kin.load = _as_it_was(await flow_of(house, first))  # type: ignore[method-assign]
        for _ in range(3):
            await house.complete(first)
        async with following(house):
            await caught_up(house)
            late = create(dependent_flow_ids=(first,))
            await stale.submit(late, house.envelope())
            await have(house, [late.flow_id], Status.PROCESSING)
    finally:
        await stale.stop()


async def test_parent_and_child_that_are_asked_for_together_are_made_one_after_the_other(house: House) -> None:
    parent, child = create(), create()
    child = child.model_copy(update={"parent_flow_id": parent.flow_id})
    asked = [house.ask(parent), house.ask(child), house.ask(PauseFlow(flow_id=child.flow_id))]
    assert [answer.outcome for answer in await asyncio.gather(*asked)] == ["accepted"] * 3


async def test_what_cannot_be_a_parent_is_refused(house: House) -> None:
    strangers = (await house.begin()).id
    answer = await house.ask(create(parent_flow_id=uuid4()))
    assert answer.error is not None
    assert answer.error["code"] == "parent_not_found"
    other = House(house.side)
    answer = await other.ask(create(parent_flow_id=strangers))
    assert answer.error is not None
    assert answer.error["code"] == "parent_not_found"


async def test_what_is_no_flow_is_neither_a_parent_nor_waited_for(house: House) -> None:
    pause_id = uuid4()
    await house.side.fleet.submit(SetStandingPause(standing_pause_id=pause_id, flow_type="modes"), house.envelope())
    for wanted, code in (
        ({"parent_flow_id": pause_id}, "parent_not_found"),
        ({"dependent_flow_ids": (pause_id,)}, "dependency_not_found"),
    ):
        answer = await house.ask(create(**wanted))
        assert (answer.outcome, answer.error and answer.error["code"]) == ("refused", code)


async def test_a_tree_is_made_and_steered_over_kafka(config: ServiceConfig) -> None:
    async with serving(config), client_of(config) as client, open_house(config.database_url) as house:
        house.tenant = client.tenant

        async def made(**body: Any) -> UUID:
            wanted = {"flow_type": "patient", "flow_name": "x", "options": {"auto_execute": True}, **body}
            reply = await client.reply(await client.send("CreateFlow", None, wanted))
            assert reply["outcome"] == "accepted", reply
            return UUID(reply["flow_id"])

        root = await made()
        child = await made(parent_flow_id=str(root))
        waits = await made(dependent_flow_ids=[str(child)], options={"on_dependency_failure": "fail"})
        await client.send("PauseFlow", root, {"reason": "maintenance"})
        await have(house, [root, child], Status.PAUSED)
        await client.send("ResumeFlow", root, {"tree": False})
        await have(house, [root], Status.PROCESSING)
        await client.send("CancelFlow", root)
        await have(house, [root, child], Status.CANCELLED)
        await have(house, [waits], Status.FAILED)
        refused = await client.reply(
            await client.send(
                "CreateFlow", None, {"flow_type": "patient", "flow_name": "y", "parent_flow_id": str(root)}
            )
        )
        assert refused["error"]["code"] == "parent_is_over"
