"""What phases found, row by row, from the artifacts they hand over."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec
import pytest

from domain.commands import DeleteFlow, PauseFlow, RollbackFlow
from domain.events import TOPICS, PhaseCompleted
from eventstore.artifacts import SPILL_ABOVE
from eventstore.database import Connection
from projections.inventory import NAME
from projections.parked import park, retry
from projections.told import Told
from tests.projections.conftest import Following, House
from tests.projections.test_flows import apply
from tests.waiting import until

Json = dict[str, Any]
COMPLETED = TOPICS[PhaseCompleted]
ASSETS: list[Json] = [
    {"asset_id": f"a{n}", "name": f"srv-{n}", "asset_type": "server", "cpu_cores": n} for n in range(5)
]
ISSUES: list[Json] = [{"issue_id": f"i{n}", "severity": "high", "kind": "conflict", "message": "?"} for n in range(3)]
EDGES: list[Json] = [{"dependency_id": "d0", "source_name": "a", "target_name": "b"}]


async def kept(house: House, rows: list[Json]) -> Json:
    """The rows as an artifact; its reference."""
    data = b"".join(msgspec.json.encode(row) + b"\n" for row in rows)
    return await house.side.artifacts.put(house.account, data, "application/x-ndjson")


async def completed(house: House) -> list[Told]:
    return [event for event in await house.told() if event.topic == COMPLETED]


async def done_again(house: House, event: Told, version: int, outputs: Json) -> Told:
    """The event as if the phase had been done once more."""
    recorded = event.recorded()
    assert isinstance(recorded.fact, PhaseCompleted)
    data = msgspec.json.encode(msgspec.structs.replace(recorded.fact, outputs=outputs))
    state = b'{"meta":' + msgspec.json.encode(recorded.meta) + b',"data":' + data + b"}"
    return Told(event.flow_id, version, event.position + version, event.topic, state)


async def test_rows_come_from_the_artifacts(house: House, connection: Connection) -> None:
    flow_id = await house.begin()
    await house.complete(flow_id, {"issues": await kept(house, ISSUES[:1]), "rows": 1})
    await house.complete(
        flow_id, {"assets": await kept(house, ASSETS), "issues": await kept(house, ISSUES[1:]), "total": 5}
    )
    await house.complete(flow_id, {"dependencies": await kept(house, EDGES)})
    applied = await apply(house.inventory(), connection, await completed(house))
    assert applied.rows == len(ASSETS) + len(ISSUES) + len(EDGES)
    assert await house.all(
        "select n, id, name, asset_type, document, phase_name from assets where flow_id = %s order by n", flow_id
    ) == [(n, row["asset_id"], row["name"], "server", row, "field_mapping") for n, row in enumerate(ASSETS)]
    assert await house.all(
        "select n, id, severity, kind, phase_name from issues where flow_id = %s order by n", flow_id
    ) == [
        (n, row["issue_id"], "high", "conflict", "data_import" if n == 0 else "field_mapping")
        for n, row in enumerate(ISSUES)
    ]
    assert await house.all("select client_account_id, engagement_id, id, document from dependencies") == [
        (house.account, house.engagement, "d0", EDGES[0])
    ]


async def test_reviews_and_what_has_changed_come_from_their_outputs(house: House, connection: Connection) -> None:
    """An output called `changes` is something else: values that cleansing changed."""
    flow_id = await house.begin()
    values = [{"field": "OS", "old": "a", "new": "b"}]
    await house.complete(flow_id, {"changes": await kept(house, values)})
    reviews = [{"review_id": "r0", "kind": "same_asset", "assets": ["a1", "a2"]}]
    changed = [
        {"change_id": "c0", "kind": "gone", "name": "srv-9"},
        {"change_id": "c1", "kind": "new", "name": "srv-10"},
    ]
    await house.complete(flow_id, {"reviews": await kept(house, reviews), "estate_changes": await kept(house, changed)})
    applied = await apply(house.inventory(), connection, await completed(house))
    assert (applied.rows, applied.parked) == (3, [])
    assert await house.all("select n, id, kind, document, phase_name from reviews where flow_id = %s", flow_id) == [
        (0, "r0", "same_asset", reviews[0], "field_mapping")
    ]
    assert await house.all("select id, kind, name, document from changes where flow_id = %s order by n", flow_id) == [
        (row["change_id"], row["kind"], row["name"], row) for row in changed
    ]


async def test_repeats_change_nothing_and_a_phase_done_again_replaces_its_rows(
    house: House, connection: Connection
) -> None:
    flow_id = await house.begin()
    await house.complete(flow_id, {"issues": await kept(house, ISSUES)})
    await house.complete(flow_id, {"issues": await kept(house, ISSUES[:1])})
    first, second = await completed(house)
    inventory = house.inventory()
    await apply(inventory, connection, [first, second])
    assert (await apply(inventory, connection, [second, first, first])).rows == 0
    again = await done_again(house, first, 50, {"issues": await kept(house, ISSUES[:2])})
    await apply(inventory, connection, [again, first])
    assert await _issues(house, flow_id) == [
        (0, "field_mapping", "i0"),
        (1, "data_import", "i0"),
        (2, "data_import", "i1"),
    ]
    # done once more and nothing found
    await apply(inventory, connection, [await done_again(house, first, 60, {"rows": 0})])
    assert await _issues(house, flow_id) == [(0, "field_mapping", "i0")]
    await apply(inventory, connection, [again])
    assert await _issues(house, flow_id) == [(0, "field_mapping", "i0")]


async def test_a_phase_that_is_undone_has_no_rows_and_done_again_the_new_ones(
    house: House, connection: Connection
) -> None:
    flow_id = await house.begin()
    await house.complete(flow_id, {"issues": await kept(house, ISSUES[:1])})
    await house.complete(flow_id, {"assets": await kept(house, ASSETS), "issues": await kept(house, ISSUES)})
    await house.ask(PauseFlow(flow_id=flow_id))
    await house.complete(flow_id, {"issues": await kept(house, ISSUES[1:])})
    await house.ask(RollbackFlow(flow_id=flow_id, phase_name="field_mapping"))
    inventory = house.inventory()
    events = [event for event in await house.told() if event.topic in inventory.topics]
    assert len(events) == 4
    await apply(inventory, connection, events[:3])
    assert len(await _issues(house, flow_id)) == 6
    await apply(inventory, connection, events[3:])
    assert await _issues(house, flow_id) == [(0, "data_import", "i0")]
    assert await house.all("select * from assets where flow_id = %s", flow_id) == []
    # what comes again from before it is no news, in any order
    assert (await apply(inventory, connection, [events[3], *events[:3], events[3]])).rows == 0
    again = await done_again(house, events[1], 70, {"issues": await kept(house, ISSUES[2:])})
    await apply(inventory, connection, [again, *events])
    assert await _issues(house, flow_id) == [(0, "data_import", "i0"), (1, "field_mapping", "i2")]


async def test_a_rollback_in_one_batch_with_all_that_it_undoes_leaves_nothing(
    house: House, connection: Connection
) -> None:
    flow_id = await house.begin()
    await house.ask(PauseFlow(flow_id=flow_id))
    await house.complete(flow_id, {"assets": await kept(house, ASSETS)})
    await house.ask(RollbackFlow(flow_id=flow_id, phase_name="data_import"))
    inventory = house.inventory()
    await apply(inventory, connection, [event for event in await house.told() if event.topic in inventory.topics])
    assert await house.all("select * from assets where flow_id = %s", flow_id) == []


async def _issues(house: House, flow_id: UUID) -> list[Any]:
    return await house.all("select n, phase_name, id from issues where flow_id = %s order by n", flow_id)


async def test_a_reference_that_was_moved_out_of_the_event_is_followed(house: House, connection: Connection) -> None:
    flow_id = await house.begin()
    reference = await kept(house, ASSETS) | {"notes": "x" * (SPILL_ABOVE + 1)}
    await house.complete(flow_id, {"assets": reference})
    (event,) = await completed(house)
    assert b"$artifact" in event.data()
    assert (await apply(house.inventory(), connection, [event])).rows == 5


async def test_a_large_artifact_is_read_in_parts(house: House, connection: Connection) -> None:
    flow_id = await house.begin()
    rows = [{"asset_id": f"a{n}", "name": f"srv-{n}", "text": "é" * 700} for n in range(2000)]
    await house.complete(flow_id, {"assets": await kept(house, rows)})
    assert (await apply(house.inventory(), connection, await completed(house))).rows == 2000
    assert await house.one("select document from assets where flow_id = %s and n = 1999", flow_id) == rows[-1]


async def test_outputs_that_are_no_references_are_left_alone(house: House, connection: Connection) -> None:
    flow_id = await house.begin()
    await house.complete(flow_id, {"assets": [1, 2], "issues": "none", "dependencies": {"total": 3}})
    applied = await apply(house.inventory(), connection, await completed(house))
    assert (applied.rows, applied.parked) == (0, [])


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"not json\n", "line 1"),
        (b'{"asset_id": "a"}\n{"name": "b"}\n', "line 2 of assets has no asset_id"),
        (b'{"asset_id": "a", "name": "\xff"}\n', "line 1"),
        (b'{"asset_id": "a", "text": "\\u0000"}\n', "Unicode"),
        (None, "no artifact"),
    ],
)
async def test_rows_that_cannot_be_read_concern_their_flow_alone(
    house: House, connection: Connection, data: bytes | None, said: str
) -> None:
    bad, good = await house.begin(), await house.begin()
    reference = {"artifact": "0" * 64, "size_bytes": 1}
    if data is not None:
        reference = await house.side.artifacts.put(house.account, data)
    await house.complete(bad, {"assets": reference})
    await house.complete(good, {"assets": await kept(house, ASSETS)})
    applied = await apply(house.inventory(), connection, await completed(house))
    assert [each.flow_id for each in applied.parked] == [bad]
    assert said in applied.parked[0].error
    assert await house.all("select flow_id, count(*) from assets group by flow_id") == [(good, 5)]
    assert await house.one("select count(*) from inventory_sets_v1 where flow_id = %s", bad) == 0


async def test_a_retry_reads_the_artifacts_again(house: House, connection: Connection) -> None:
    flow_id = await house.begin()
    data = b"".join(msgspec.json.encode(row) + b"\n" for row in ASSETS)
    reference = await house.side.artifacts.put(house.account, data)
    await house.complete(flow_id, {"assets": reference})
    await house.all("update artifact_parts set n = 7 where client_account_id = %s returning 1", house.account)
    inventory = house.inventory()
    applied = await apply(inventory, connection, await completed(house))
    await park(connection, NAME, applied.parked)
    assert await retry(connection, inventory, flow_id) is not None
    await house.all("update artifact_parts set n = 0 where client_account_id = %s returning 1", house.account)
    assert await retry(connection, inventory, flow_id) is None
    assert await house.one("select count(*) from assets where flow_id = %s", flow_id) == 5


async def test_it_follows_kafka_in_a_group_of_its_own(told_house: House, following: Following) -> None:
    early = await told_house.begin()
    await told_house.complete(early, {"assets": await kept(told_house, ASSETS)})

    async def rows(flow_id: UUID) -> bool:
        return bool(await told_house.one("select count(*) = 5 from assets where flow_id = %s", flow_id))

    async with following(told_house.inventory()) as runner:
        await until(lambda: rows(early))
        await until(lambda: runner.state == "live" and runner.partitions, 60)
        late = await told_house.begin()
        await told_house.complete(late, {"assets": await kept(told_house, ASSETS)})
        await until(lambda: rows(late))
        await told_house.ask(DeleteFlow(flow_id=late))
        end = await told_house.side.store.end()

        async def reached() -> bool:
            return bool(await told_house.one("select position from projections where name = %s", NAME) >= end)

        await until(reached)
        assert await rows(late)
