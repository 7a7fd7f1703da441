"""A state that cannot be had any more: found by the doctor, and gone back from to the last checkpoint that holds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest

from domain.commands import PauseFlow
from domain.flow import Flow
from eventstore.doctor import examine_deeply
from mfo.doctoring import mend
from tests.eventstore.house import House, open_house
from tests.projecting import project

Json = dict[str, Any]


@pytest.fixture
async def house(database_url: str) -> AsyncIterator[House]:
    async with open_house(database_url) as house:
        yield house


async def discovery(house: House, *outputs: Json) -> Flow:
    """A discovery that is paused after phases with these outputs."""
    flow = await house.begin(flow_type="discovery", initial_data={"import_file_id": "f"})
    for found in outputs[:-1]:
        await house.complete(flow.id, found)
    await house.ask(PauseFlow(flow_id=flow.id))
    await house.complete(flow.id, outputs[-1])
    await project(house)
    return await house.side.store.flow(flow.id)


async def kept(house: House, data: bytes) -> Json:
    return {"table": await house.side.artifacts.put(house.tenant.client_account_id, data)}


async def remove(house: House, output: Json) -> None:
    digest = bytes.fromhex(output["table"]["artifact"])
    await house.rows("delete from artifact_parts where sha256 = %s", digest)


async def found(house: House) -> dict[str, Any]:
    async with house.side.pool.connection() as connection:
        return {finding.code: finding for finding in await examine_deeply(connection)}


async def mended(house: House, finding: Any) -> list[Json]:
    return await mend(house.side.config, [finding], deep=True, user_id="olga")


async def test_lost_outputs_are_found_and_the_flow_goes_back_to_the_last_checkpoint_that_holds(house: House) -> None:
    good, bad = await kept(house, b"good"), await kept(house, b"bad")
    flow = await discovery(house, good, bad, {"rows": 1})
    assert await found(house) == {}
    await remove(house, bad)
    trouble = await found(house)
    [subject] = trouble["outputs_lost"].subjects
    assert subject == {
        "flow_id": str(flow.id),
        "status": "paused",
        "artifact": bad["table"]["artifact"],
        "artifacts": 1,
    }
    [done] = await mended(house, trouble["outputs_lost"])
    assert (done["command"], done["outcome"]) == ("RollbackFlow", "accepted")
    back = await house.side.store.flow(flow.id)
    assert back.rollback is not None
    assert (back.rollback.by, back.rollback.undone) == ("olga", ("data_cleansing", "field_mapping"))
    assert [point.phase_name for point in back.checkpoints] == ["data_import"]
    await project(house)
    assert await found(house) == {}


async def test_without_a_checkpoint_that_holds_a_flow_begins_anew(house: House) -> None:
    bad = await kept(house, b"bad")
    flow = await discovery(house, bad, {"rows": 1})
    await remove(house, bad)
    await mended(house, (await found(house))["outputs_lost"])
    back = await house.side.store.flow(flow.id)
    assert back.rollback is not None
    assert (back.rollback.phase_name, back.rollback.to_version) == ("data_import", 1)


async def test_what_was_lost_from_the_beginning_is_not_mended(house: House) -> None:
    given = await kept(house, b"given")
    flow = await house.begin(flow_type="discovery", initial_data={"import_file_id": "f", **given})
    await project(house)
    await remove(house, given)
    [done] = await mended(house, (await found(house))["outputs_lost"])
    assert (done["outcome"], "no checkpoint holds" in done["detail"]) == ("failed", True)
    assert (await house.side.store.flow(flow.id)).rollback is None


@pytest.mark.parametrize("deed", ["topic = 'mfo.flow.ToCome.v2'", "state = 'scrambled'"])
async def test_a_history_that_cannot_be_read_is_told_and_left_alone(house: House, deed: str) -> None:
    flow = await discovery(house, {"rows": 1}, {"rows": 2})
    statement = f"update stored_events set {deed} where originator_id = %s and originator_version = %s"
    # the checkpoint before the last event, which says that no work is under way
    last = flow.version - 1
    await house.rows(statement, flow.id, last)
    finding = (await found(house))["flow_unreadable"]
    [subject] = finding.subjects
    assert (UUID(subject["flow_id"]), subject["version"]) == (flow.id, last)
    assert subject["last_checkpoint"] == flow.checkpoints[0].version
    assert not finding.repairable
