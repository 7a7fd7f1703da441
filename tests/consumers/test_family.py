"""Handlers that make flows and wait for them, in real worker processes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from consumers.follower import Follower, Followers
from consumers.relations import FOLLOWED, NAME, Relations
from domain.commands import SignalFlow
from domain.flow import Flow
from domain.words import Status
from eventstore.database import conninfo
from eventstore.tasks import end_all
from tests.chaos.checker import _legal as legal
from tests.chaos.many import Finding
from tests.chaos.record import History, Record, by_flow, load_store
from tests.consumers.conftest import ended
from tests.consumers.keeping import at_work
from tests.eventstore.house import House, config_for
from tests.waiting import until

Json = dict[str, Any]


@pytest.fixture
async def house(database_url: str) -> AsyncIterator[House]:
    config = config_for(database_url, flow_type_modules=("tests.consumers.relatives",), workers=1)
    async with at_work(config) as (house, _, _):
        follower = Follower(config, NAME, FOLLOWED, Relations(house.side).follow)
        task = asyncio.create_task(Followers(config, [follower]).run())
        try:
            yield house
        finally:
            await end_all([task])
        assert decided_otherwise(house) == []


def decided_otherwise(house: House) -> list[Finding]:
    """What comes out differently when every command is decided again on the flow as it was."""
    record = Record(plan=[], types=house.side.types)
    load_store(record, conninfo(house.side.config.database_url, house.side.config.shard))
    return list(
        legal(record, {flow_id: History.of(flow_id, stored) for flow_id, stored in by_flow(record.events).items()})
    )


async def begun(house: House, flow_type: str, **data: Any) -> UUID:
    return (await house.begin(flow_type=flow_type, initial_data=data)).id


async def resting(house: House, flow_id: UUID) -> Flow:
    """The flow, as soon as its phase is suspended."""

    async def there() -> Flow | None:
        flow = await house.side.store.flow(flow_id)
        return flow if flow.suspended is not None else None

    flow: Flow = await until(there, 60)
    return flow


async def child(house: House, parent: UUID, flow_type: str) -> UUID:
    """The child of that type, also one whose parent was over before it was told of it."""

    async def made() -> UUID | None:
        async with house.side.pool.connection() as connection:
            links = "select flow_id from flow_links where kind = 'child' and other_id = %s"
            found = await (await connection.execute(links, (parent,))).fetchall()
        flows = [await house.side.store.flow(flow_id) for (flow_id,) in found]
        return next((flow.id for flow in flows if flow.flow_type == flow_type), None)

    there: UUID = await until(made, 60)
    return there


async def test_a_handler_makes_each_child_once_and_has_their_results_whatever_becomes_of_its_worker(
    house: House,
) -> None:
    root = await begun(house, "gather", numbers=[1, 2, 30], die=True)
    flow = await ended(house, root, within=60)
    outputs = flow.phases[0].outputs
    assert (outputs["sum"], [child.status for child in flow.children]) == (66, ["completed"] * 3)
    assert [str(child.flow_id) for child in flow.children] == outputs["children"]
    child = await house.side.store.flow(flow.children[0].flow_id)
    assert (child.parent_flow_id, child.flow_tags, child.created_by) == (root, ("made",), "maria")
    facts = await house.facts(root)
    assert (facts.count("ChildStarted"), facts.count("PhaseCompleted")) == (3, 1)


async def test_a_failure_far_down_is_told_all_the_way_up(house: House) -> None:
    root = await begun(house, "nest", depth=2)
    flow = await ended(house, root, "failed", within=60)
    assert flow.error is not None
    assert (flow.error["code"], flow.error["class"]) == ("child_failed", "permanent")
    assert flow.error["message"].count("is failed of child_failed") == 2
    assert flow.error["message"].endswith("is failed of negative: -1 is below 0")


async def test_a_tree_that_is_too_deep_fails_where_it_would_be(house: House) -> None:
    root = await begun(house, "nest", depth=9)
    flow = await ended(house, root, "failed", within=60)
    assert flow.error is not None
    assert "is failed of tree_too_large" in flow.error["message"]


@pytest.mark.parametrize(
    ("wait", "statuses"),
    [
        ({"mode": "none"}, None),
        ({"mode": "any"}, ["completed", None]),
        ({"mode": "all", "first": 2, "on_failure": "ignore"}, ["completed", "failed"]),
    ],
)
async def test_a_handler_says_for_what_it_waits_and_what_a_failure_means(
    house: House, tmp_path: Path, wait: Json, statuses: list[str | None] | None
) -> None:
    root = await begun(house, "picky", wait=wait, ledger=str(tmp_path / "ledger"))
    flow = await ended(house, root, within=60)
    found = flow.phases[0].outputs["statuses"]
    assert found[2:] in ([], [None])
    if statuses is not None:
        assert found[0] == "completed"
        assert found[1] in (statuses[1], "failed")


async def test_the_first_failure_ends_the_wait_and_may_cancel_the_others(house: House, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    root = await begun(house, "picky", wait={"on_failure": "compensate"}, ledger=str(ledger))
    flow = await ended(house, root, "failed", within=60)
    assert flow.error is not None
    assert flow.error["code"] == "child_failed"
    await ended(house, await child(house, root, "word"), Status.CANCELLED, within=60)
    assert "is failed of negative: -1 is below 0" in ledger.read_text()


async def test_time_may_run_out(house: House, tmp_path: Path) -> None:
    wait = {"on_failure": "ignore", "timeout_seconds": 3600}
    root = await begun(house, "picky", wait=wait, ledger=str(tmp_path / "ledger"))
    await resting(house, root)
    await house.shift_clock(3601)
    flow = await ended(house, root, within=60)
    assert flow.phases[0].outputs == {"late": "3 flows did not come within 3600 s"}


async def test_children_that_wait_themselves_go_on_by_word_from_outside(house: House, tmp_path: Path) -> None:
    wait = {"on_failure": "ignore"}
    root = await begun(house, "picky", wait=wait, ledger=str(tmp_path / "ledger"))
    await resting(house, root)

    async def slow_child() -> UUID | None:
        children = (await house.side.store.flow(root)).children
        return children[2].flow_id if len(children) == 3 else None

    slow: UUID = await until(slow_child, 60)
    await resting(house, slow)
    await house.ask(SignalFlow(flow_id=slow, name="word", payload={"n": 1}))
    flow = await ended(house, root, within=60)
    assert flow.phases[0].outputs["statuses"] == ["completed", "failed", "completed"]


async def test_what_cannot_be_made_or_waited_for_says_why(house: House) -> None:
    stranger = await begun(house, "double", number=1)
    root = await begun(house, "wrong", stranger=str(stranger))
    flow = await ended(house, root, within=60)
    assert flow.phases[0].outputs["codes"] == [
        *("flow_type_unknown", "flow_invalid", "dependency_not_found", "dependency_circular"),
        *("not_a_child", "wait_invalid", "wait_invalid", "wait_invalid"),
    ]
