"""What flows add up to, folded from the log."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from msgspec.structs import replace

from domain.commands import (
    CancelFlow,
    DeleteFlow,
    FailPhase,
    ImportFlow,
    PauseFlow,
    ProvideInput,
    RepairFlow,
    RequestInput,
    ResumeFlow,
    RollbackFlow,
)
from domain.measures import counted
from eventstore.database import Connection
from projections.analytics import Analytics
from projections.rebuild import rebuild
from projections.told import Told
from projections.verifying import verify
from tests.examples import IMPORTED
from tests.projections.conftest import House
from tests.spec import TYPES

Json = dict[str, Any]
NUMBERS = "n, failed, work_ms, elapsed_ms, cpu_ms, tokens, times, peaks"
SUMS = (
    f"select span, kind, at, flow_type, flow_status, name, {NUMBERS} from analytics_sums_v1 order by 1, 2, 3, 4, 5, 6"
)
# the sums as they follow from the rows of the flows
FROM_FLOWS = """
select s.span, x.s ->> 0, case when s.length is null then date_trunc('month', f.created_at, 'UTC')
       else date_bin(s.length, f.created_at, 'epoch') end, f.flow_type, f.flow_status, x.s ->> 1,
       sum((x.s ->> 2)::bigint), sum((x.s ->> 3)::bigint), sum((x.s ->> 4)::bigint), sum((x.s ->> 5)::bigint),
       sum((x.s ->> 6)::bigint), sum((x.s ->> 7)::bigint), sum((x.s ->> 8)::numeric), sum((x.s ->> 9)::numeric)
from analytics_flows_v1 f, jsonb_array_elements(f.shares) as x (s),
     unnest(array['month', '30 days', '5 days', 'day', '6 hours', 'hour'],
            array[null, '30 days', '5 days', '1 day', '6 hours', '1 hour']::interval[]) as s (span, length)
group by 1, 2, 3, 4, 5, 6 order by 1, 2, 3, 4, 5, 6
"""
STANDING = """
select flow_status, sum(n) from analytics_sums_v1 where span = 'month' and kind = 'net' group by 1 having sum(n) <> 0
"""


@pytest.fixture
def projection() -> Analytics:
    return Analytics()


async def apply(projection: Analytics, connection: Connection, told: list[Told], **options: Any) -> int:
    async with connection.transaction():
        applied = await projection.apply(connection, told, **options)
    assert not applied.parked
    return applied.rows


async def lived(house: House) -> dict[str, UUID]:
    """Flows that stand differently, with failures, questions, pauses and a way back behind them."""
    flows = {name: await house.begin(name) for name in ("done", "failed", "asked", "paused", "cancelled", "deleted")}
    await house.finish(flows["done"])
    run = (await house.side.store.flow(flows["failed"])).run
    assert run is not None
    error = {"class": "permanent", "code": "file_broken", "message": "no", "retryable": False}
    await house.ask(FailPhase(flow_id=flows["failed"], run_id=run.run_id, token=run.token, error=error))
    for again in range(2):
        await house.complete(flows["asked"])
        run = (await house.side.store.flow(flows["asked"])).run
        assert run is not None
        wanted = {"fields": ("mappings",), "message": "?", "suggestions": {"x": 1}}
        await house.ask(RequestInput(flow_id=flows["asked"], run_id=run.run_id, token=run.token, **wanted))
        if not again:
            await house.ask(ProvideInput(flow_id=flows["asked"], mappings={"a": "name"}))
    await house.ask(PauseFlow(flow_id=flows["paused"]))
    await house.ask(ResumeFlow(flow_id=flows["paused"]))
    await house.complete(flows["paused"])
    await house.ask(PauseFlow(flow_id=flows["paused"]))
    await house.complete(flows["paused"])
    await house.ask(RollbackFlow(flow_id=flows["paused"], phase_name="data_import"))
    await house.ask(CancelFlow(flow_id=flows["cancelled"]))
    await house.finish(flows["deleted"])
    await house.ask(DeleteFlow(flow_id=flows["deleted"]))
    return flows


async def sums(connection: Connection) -> list[tuple[Any, ...]]:
    return await (await connection.execute(SUMS)).fetchall()


async def agrees(house: House, connection: Connection) -> bool:
    """The sums are those of the flows' rows, and each flow stands as its history says."""
    kept = [row for row in await sums(connection) if row[1] != "net"]
    assert kept == await (await connection.execute(FROM_FLOWS)).fetchall()
    standing: dict[str, int] = {}
    for flow_id, status, version in await house.all("select flow_id, flow_status, version from analytics_flows_v1"):
        flow = await house.side.store.flow(flow_id)
        assert (status, version) == (str(flow.status), flow.version)
        standing[status] = standing.get(status, 0) + 1
    assert dict(await house.all(STANDING)) == standing
    return True


async def test_a_flow_adds_its_phases_its_time_and_its_way(
    house: House, connection: Connection, projection: Analytics
) -> None:
    flow_id = await house.begin()
    await house.finish(flow_id)
    assert await apply(projection, connection, await house.told()) == 1
    rows = await house.all(
        f"select kind, name, {NUMBERS} from analytics_sums_v1 where span = 'day' and flow_status = 'completed'"
        " and kind <> 'net' and client_account_id = %s",
        house.account,
    )
    found = {(kind, name): numbers for kind, name, *numbers in rows}
    phases = [name for kind, name in found if kind == "phase"]
    assert len(phases) == 6
    assert all(found["phase", name][:3] == [1, 0, 7] for name in phases)
    assert found["flow", ""][:3] == [1, 0, 49]  # the end hooks work, too
    assert counted(int(found["flow", ""][6])) == 1
    ways = {name for kind, name in found if kind == "transition"}
    assert {"data_import -> field_mapping", "tech_debt_assessment -> completed"} <= ways
    assert len(ways) == 6
    stays = await house.all(
        "select flow_status, to_at is null from analytics_stays_v1 where flow_id = %s order by n", flow_id
    )
    assert stays == [("processing", False), ("completed", True)]


async def test_the_sums_are_those_of_the_flows_however_the_log_is_cut(
    house: House, connection: Connection, projection: Analytics
) -> None:
    await lived(house)
    told = await house.told()
    await apply(projection, connection, told)
    assert await agrees(house, connection)
    whole = await sums(connection)
    for table in ("flows", "stays", "sums"):
        await connection.execute(f"delete from analytics_{table}_v1".encode())
    for n in range(0, len(told), 3):
        await apply(projection, connection, told[n : n + 3], singly=n % 2 == 0)
    assert await sums(connection) == whole


async def test_sums_are_made_anew_beside_those_that_serve(
    house: House, connection: Connection, projection: Analytics
) -> None:
    flows = await lived(house)
    await apply(projection, connection, await house.told())
    await connection.execute(
        "insert into projections (name, version, state, position, updated_at)"
        " values ('analytics', 1, 'live', %s, mfo_now())",
        (await house.side.store.end(),),
    )
    whole = await sums(connection)
    seen = await verify(house.side.config, "analytics", said=str)
    assert seen["differences"] == []
    await connection.execute(b"update analytics_sums_v1 set n = n + 7 where span = 'day' and kind = 'flow'")
    await connection.execute(b"delete from analytics_sums_v1 where span = 'month' and kind = 'net'")
    await connection.execute(
        b'insert into analytics_sums_v1 select (jsonb_populate_record(s, \'{"name": "made up"}\')).* from analytics_sums_v1 s'
        b" where span = 'hour' and kind = 'phase' limit 1"
    )
    seen = await verify(house.side.config, "analytics", said=str)
    wrong = {(one["key"]["span"], one["what"], *one["columns"]) for one in seen["differences"]}
    assert wrong == {("day", "differs", "n"), ("month", "missing"), ("hour", "surplus")}
    assert not seen["equal"]
    assert seen["different"] == 0
    assert seen["different_sums"] == len(seen["differences"])
    await connection.execute(
        "update analytics_flows_v1 set flow_status = 'failed' where flow_id = %s", (flows["done"],)
    )
    seen = await verify(house.side.config, "analytics", said=str)
    differing = [(one["flow_id"], one["columns"]) for one in seen["differences"] if one["flow_id"]]
    assert differing == [(str(flows["done"]), ["flow_status"])]
    report = await rebuild(house.side.config, "analytics", said=str)
    assert (report["state"], report["compared"]["different"]) == ("done", 1)
    assert await sums(connection) == whole
    assert await agrees(house, connection)


async def test_events_that_come_again_or_late_change_nothing(
    house: House, connection: Connection, projection: Analytics
) -> None:
    await lived(house)
    told = await house.told()
    # the last third first: what is missing is read from the store
    await apply(projection, connection, told[2 * len(told) // 3 :])
    await apply(projection, connection, told)
    assert await agrees(house, connection)
    whole = await sums(connection)
    for batch in (told[:20], told[10:40], told):
        await apply(projection, connection, batch)
    assert await sums(connection) == whole


async def test_an_error_is_counted_and_so_is_each_flow_that_met_it(
    house: House, connection: Connection, projection: Analytics
) -> None:
    flows = await lived(house)
    await apply(projection, connection, await house.told())
    rows = await house.all(
        "select flow_status, name, n, failed from analytics_sums_v1 where kind = 'error' and span = 'hour'"
    )
    assert [tuple(row) for row in rows] == [("failed", "permanent/file_broken", 1, 1)]
    shares = await house.one("select shares from analytics_flows_v1 where flow_id = %s", flows["failed"])
    assert [share[2:4] for share in shares if share[0] == "flow"] == [[1, 1]]


async def test_a_flow_that_was_taken_over_brings_the_times_that_are_known(
    house: House, connection: Connection, projection: Analytics
) -> None:
    phases = (
        msgspec.structs.replace(IMPORTED.phases[0], started_at=IMPORTED.created_at),
        msgspec.structs.replace(IMPORTED.phases[0], name="second", completed_at=None, execution_time_ms=0),
    )
    done = {"phases": phases, "status": "completed", "completed_at": IMPORTED.created_at + timedelta(hours=1)}
    flow_id = uuid4()
    told = msgspec.to_builtins(msgspec.structs.replace(IMPORTED, **done))
    house.side.types.remember(TYPES.get("two_steps"))
    await house.ask(ImportFlow(flow_id=flow_id, told=told))
    await house.ask(RepairFlow(flow_id=flow_id, kind="link_assets", method="name", confidence=1.0))
    for each in await house.told():
        await apply(projection, connection, [each])
    assert await agrees(house, connection)
    [(shares, made, ended)] = await house.all("select shares, created_at, ended_at from analytics_flows_v1")
    assert (made, ended) == (IMPORTED.created_at, done["completed_at"])
    found = {(kind, name): numbers for kind, name, *numbers in shares}
    assert set(found) == {("flow", ""), ("phase", "first")}
    assert found["flow", ""][:4] == [1, 0, 1500, 3_600_000]
    assert found["phase", "first"][:4] == [1, 0, 1500, 1_800_000]
    await house.ask(DeleteFlow(flow_id=flow_id))
    await house.ask(ImportFlow(flow_id=flow_id, told=told, again=True))
    await apply(projection, connection, await house.told())
    assert await agrees(house, connection)
    assert (await house.one("select shares from analytics_flows_v1")) == shares


async def test_a_flow_that_was_taken_over_failed_says_why(
    house: House, connection: Connection, projection: Analytics
) -> None:
    failed = {"status": "failed", "error": {"class": "network", "code": "io_failed", "message": "cut"}}
    told = msgspec.to_builtins(msgspec.structs.replace(IMPORTED, **failed))
    house.side.types.remember(TYPES.get("two_steps"))
    await house.ask(ImportFlow(flow_id=uuid4(), told=told))
    await apply(projection, connection, await house.told())
    assert await agrees(house, connection)
    assert await house.one("select name from analytics_sums_v1 where kind = 'error' and span = 'day'") == (
        "network/io_failed"
    )


async def test_a_flow_that_cannot_be_folded_is_set_aside_alone(
    house: House, connection: Connection, projection: Analytics
) -> None:
    good, bad = await house.begin(), await house.begin()
    told = [
        replace(each, topic="mfo.flow.PhaseStarred.v1") if each.flow_id == bad and each.version == 2 else each
        for each in await house.told()
    ]
    async with connection.transaction():
        applied = await projection.apply(connection, told)
    assert [(each.flow_id, each.version) for each in applied.parked] == [(bad, 1)]
    assert [row[0] for row in await house.all("select flow_id from analytics_flows_v1")] == [good]
