"""Runs through real child processes: however a phase ends, its flow gets to know, once."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
import structlog
from msgspec.structs import replace

from consumers.describer import Describer
from consumers.frames import Begin, Describe
from consumers.keeper import Keeper
from consumers.phases import PhaseWork
from consumers.pool import WorkerLost, WorkerPool
from consumers.work import Workshop
from domain.commands import CancelFlow, ExecutePhase, PauseFlow, ProvideInput, ReassignRun
from domain.decide import decide
from domain.flow import Flow
from domain.types.discovery import DISCOVERY
from eventstore import codec
from eventstore.definitions import modules
from eventstore.imports import Import
from eventstore.past import Past
from eventstore.service import write_side
from tests.consumers.conftest import ended
from tests.consumers.keeping import at_work
from tests.eventstore.house import FLOWS, House, config_for, create, started
from tests.waiting import until

SECRET = "correct horse battery staple"


class Yard:
    """A keeper with its children, as the service has them, without Kafka."""

    def __init__(self, house: House, keeper: Keeper, pool: WorkerPool) -> None:
        self.house, self.keeper, self.pool = house, keeper, pool

    async def start(self, flow_type: str, **initial_data: Any) -> UUID:
        flow = await self.house.begin(flow_type=flow_type, initial_data=initial_data)
        return flow.id

    async def finish(self, flow_type: str, *statuses: str, within: float = 60, **initial_data: Any) -> Flow:
        return await ended(self.house, await self.start(flow_type, **initial_data), *statuses, within=within)

    @property
    def children(self) -> list[int]:
        return [child.process.pid for child in self.pool._children]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def yard(module_url: str) -> AsyncIterator[Yard]:
    async with at_work(config_for(module_url, workers=2, worker_memory_mb=300)) as (house, keeper, pool):
        yield Yard(house, keeper, pool)


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def quiet(yard: Yard) -> None:
    """Nothing is left behind: no row, no run in hand, every place free."""
    await until(lambda: yard.keeper.active == 0)
    assert await yard.house.rows("select * from runs") == []
    # a claim on its way has them reserved
    await until(lambda: (yard.keeper._exclusive_free, yard.keeper._shared_free) == (2, 64))


async def test_phases_run_inline_shared_and_exclusive(yard: Yard) -> None:
    flow = await yard.finish("modes", number=6, who="maria")
    outputs = {phase.name: dict(phase.outputs) for phase in flow.phases}
    where = {name: found.pop("in") for name, found in outputs.items()}
    assert outputs == {"count": {"number": 7}, "greet": {"greeting": "hello maria"}, "compute": {"square": 49}}
    assert where["count"] == os.getpid()
    assert {where["greet"], where["compute"]} <= set(yard.children)
    assert flow.phase("compute").resource_usage["peak_memory_mb"] > 10
    await quiet(yard)


async def test_at_the_level_debug_the_log_tells_the_end_of_each_run(
    yard: Yard, caplog: pytest.LogCaptureFixture
) -> None:
    with structlog.testing.capture_logs() as quietly:
        await yard.finish("modes")
    caplog.set_level(logging.DEBUG)
    with structlog.testing.capture_logs() as lines:
        flow = await yard.finish("modes")
    told = [line for line in lines if line["event"] == "run ended" and line["flow_id"] == str(flow.id)]
    assert [(line["phase"], line["status"], line["attempt"]) for line in told] == [
        ("count", "completed", 1),
        ("greet", "completed", 1),
        ("compute", "completed", 1),
    ]
    assert told[2]["duration_ms"] == flow.phase("compute").execution_time_ms
    assert "run ended" not in {line["event"] for line in quietly}


async def test_many_flows_at_once_all_end(yard: Yard) -> None:
    started = [await yard.start("modes") for _ in range(12)]
    for flow_id in started:
        flow = await ended(yard.house, flow_id)
        assert flow.attempts_failed == 0
    await quiet(yard)


async def test_what_fails_twice_then_works_is_tried_three_times(yard: Yard) -> None:
    flow = await yard.finish("flaky")
    assert flow.phase("flaky").outputs == {"attempts": 3}
    assert [error["code"] for error in flow.errors] == ["try_again", "try_again"]
    assert await yard.house.rows("select * from timers") == []
    await quiet(yard)


async def test_what_trying_again_does_not_cure_is_tried_once(yard: Yard) -> None:
    flow = await yard.finish("refuse", "failed")
    assert flow.error is not None
    assert (flow.error["code"], flow.error["retryable"]) == ("no_use", False)
    assert flow.attempts_failed == 1


@pytest.mark.parametrize("name", ["hang", "wait"])
async def test_what_does_not_end_in_time_is_made_to(yard: Yard, name: str) -> None:
    before = set(yard.children)
    flow = await yard.finish(name, "failed")
    assert flow.error is not None
    assert flow.error["code"] == "timeout"
    # only a child that cannot hear is ended for it
    await until(lambda: len(yard.children) == 2)
    assert (set(yard.children) == before) == (name == "wait")
    await quiet(yard)


async def test_a_worker_that_dies_costs_one_attempt(yard: Yard) -> None:
    flow = await yard.finish("die")
    assert flow.phase("die").outputs == {"attempts": 2}
    assert [error["code"] for error in flow.errors] == ["worker_lost"]
    await quiet(yard)


async def test_what_a_handler_prints_is_no_answer(yard: Yard) -> None:
    flow = await yard.finish("chatter")
    assert flow.phase("chatter").outputs == {"said": True}
    assert flow.attempts_failed == 0


async def test_a_worker_that_takes_too_much_memory_is_ended(yard: Yard) -> None:
    flow = await yard.finish("hoard", "failed", within=60)
    assert flow.error is not None
    assert flow.error["code"] == "worker_lost"
    assert "more than its 300 MB" in flow.error["message"]
    await until(lambda: len(yard.children) == 2)


async def test_a_phase_may_ask_and_go_on_with_the_answer(yard: Yard) -> None:
    flow = await yard.finish("ask", "waiting_for_input")
    assert flow.waiting is not None
    assert (flow.waiting.fields, flow.waiting.message) == (("colour",), "Which colour?")
    assert flow.waiting.suggestions == {"colours": ["red", "green"]}
    await yard.house.ask(ProvideInput.model_validate({"flow_id": flow.id, "colour": "red"}))
    assert (await ended(yard.house, flow.id)).phase("ask").outputs == {"colour": "red"}


async def test_what_a_validator_objects_to_is_asked_for(yard: Yard) -> None:
    flow = await yard.finish("checked", "waiting_for_input", number=-1)
    assert flow.waiting is not None
    assert flow.waiting.fields == ("number",)
    assert "give a number above 0" in flow.waiting.message
    again = ExecutePhase.model_validate({"flow_id": flow.id, "inputs": {"number": 4}})
    await yard.house.ask(again)
    done = await ended(yard.house, flow.id)
    assert done.phase("count").outputs["number"] == 5
    assert done.phase("count").validation_results == {"positive": "passed"}


async def test_large_outputs_become_artifacts(yard: Yard) -> None:
    flow = await yard.finish("wide")
    outputs = flow.phase("wide").outputs
    assert outputs["count"] == 4000
    whole = await yard.house.side.artifacts.unspill(yard.house.tenant.client_account_id, outputs)
    assert whole["rows"] == ["x" * 100] * 4000


async def test_handlers_see_sensitive_values_in_clear_and_nobody_else_does(yard: Yard) -> None:
    flow = await yard.finish("secretive", credentials={"password": SECRET})
    assert flow.phase("secretive").outputs["length"] == len(SECRET)
    assert flow.phase("read_secret").outputs == {"last": True}
    for table, column in (("stored_events", "state"), ("artifact_parts", "data"), ("command_log", "body")):
        kept = b"".join(row[0] or b"" for row in await yard.house.rows(f"select {column} from {table}"))
        assert SECRET.encode() not in kept


async def test_a_cancelled_flow_stops_its_work(yard: Yard) -> None:
    flow_id = await yard.start("patient")
    await until(lambda: yard.keeper.active == 1)
    before = set(yard.children)
    await yard.house.ask(CancelFlow(flow_id=flow_id))
    await until(lambda: yard.keeper.active == 0)
    assert set(yard.children) == before
    assert (await yard.house.facts(flow_id))[-1] == "FlowCancelled"
    await quiet(yard)


async def test_a_run_taken_over_by_another_is_stopped_here(yard: Yard) -> None:
    flow_id = await yard.start("patient")
    run = await yard.house.run_of(flow_id)
    await until(lambda: yard.keeper.active == 1)
    elsewhere = yard.house.another_committer()
    await elsewhere.start()
    await elsewhere.submit(ReassignRun(flow_id=flow_id, run_id=run.run_id, token=1), yard.house.envelope())
    await elsewhere.stop()
    # queued under the next token, it is claimed by whoever is free: here, where the former attempt ends for it
    await until(lambda: yard.house.one("select owner = %s and token = 2 from runs", yard.keeper.owner))
    await until(lambda: yard.keeper._shared_free == 63)
    await yard.house.ask(CancelFlow(flow_id=flow_id))
    await until(lambda: yard.keeper.active == 0, 60)
    await quiet(yard)


async def test_a_pause_lets_work_in_hand_end_and_starts_no_other(yard: Yard, tmp_path: Path) -> None:
    flow_id = await yard.start("slow", begun=str(tmp_path / "begun"), go=str(tmp_path / "go"))
    await until(lambda: list(tmp_path.glob("begun.*")))
    answer = await yard.house.ask(PauseFlow(flow_id=flow_id))
    assert answer.flow is not None
    assert answer.flow.draining
    (tmp_path / "go").touch()
    flow = await ended(yard.house, flow_id, "paused", "completed")
    await until(lambda: yard.keeper.active == 0)
    assert not (await yard.house.side.store.flow(flow.id)).draining
    await quiet(yard)


async def test_queued_runs_wait_for_a_free_place(yard: Yard, tmp_path: Path) -> None:
    given = {"begun": str(tmp_path / "begun"), "go": str(tmp_path / "go")}
    started = [await yard.start("slow", **given) for _ in range(4)]
    await until(lambda: len(list(tmp_path.glob("begun.*"))) == 2)
    assert sorted(await yard.house.rows("select state, count(*) from runs group by 1")) == [
        ("queued", 2),
        ("running", 2),
    ]
    (tmp_path / "go").touch()
    for flow_id in started:
        await ended(yard.house, flow_id)
    await quiet(yard)


async def test_a_result_that_cannot_be_kept_fails_the_phase(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "MAX_EVENT_BYTES", 4000)
    flow = await yard.finish("broad", "failed")
    assert flow.error is not None
    assert (flow.error["code"], flow.error["retryable"]) == ("body_too_large", False)
    monkeypatch.undo()
    await quiet(yard)


async def test_uploads_are_described_in_a_child(yard: Yard) -> None:
    imports, tenant = yard.house.side.imports, yard.house.tenant

    async def upload(name: str, data: bytes) -> UUID:
        async def whole() -> AsyncIterator[bytes]:
            yield data

        return (await imports.add(tenant, name, whole(), max_bytes=1000))[0].id

    task = asyncio.create_task(Describer(yard.house.side, yard.pool).run())
    try:
        good = await upload("servers.csv", b"name,cpu\nh1,4\nh2,8\n")
        junk = await upload("junk.xlsx", bytes(range(256)))

        async def described(import_id: UUID) -> Import | None:
            found = await imports.get(tenant, str(import_id))
            return found if found.state in ("readable", "unreadable") else None

        readable, unreadable = await until(lambda: described(good)), await until(lambda: described(junk))
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert (readable.state, unreadable.state) == ("readable", "unreadable")
    assert readable.summary["rows"] == 2
    assert unreadable.summary["error"]["code"]


async def test_a_run_whose_commit_was_never_acknowledged_runs_after_its_lease(yard: Yard) -> None:
    """Its row names this process, which does not know of it: as after a connection lost at the wrong moment."""
    flow_id = await yard.start("patient")
    run = await yard.house.run_of(flow_id)
    await until(lambda: yard.keeper.active == 1)
    # forgotten here, and still this process's by its row
    active = yard.keeper._active.pop(run.run_id)
    assert active.task is not None
    active.task.cancel()
    await asyncio.wait([active.task])
    await yard.house.rows("update runs set lease_until = mfo_now() where id = %s", run.run_id)
    yard.keeper._wake_due.set()
    await until(lambda: yard.house.one("select token = 2 from runs where id = %s", run.run_id))
    await until(lambda: yard.keeper.active == 1)
    await yard.house.ask(CancelFlow(flow_id=flow_id))
    await quiet(yard)


async def test_a_repeat_that_loses_gives_its_place_back_though_its_run_was_claimed_meanwhile(yard: Yard) -> None:
    """Another process keeps a command that came twice, ours decides it too and finds itself second."""
    house, command = yard.house, create(flow_type="patient")
    meta = house.committer._meta(house.envelope())
    ours = decide(Flow(id=command.flow_id), command, meta, house.side.types).flow
    assert ours.run is not None
    assert yard.keeper.take(ours, ours.run)
    async with started(house.another_committer()) as other:
        await other.submit(command, house.envelope())
        await until(lambda: yard.keeper.active == 1)
    yard.keeper.give_back(ours.run)
    await house.ask(CancelFlow(flow_id=command.flow_id))
    await quiet(yard)


async def test_runs_in_hand_are_handed_back_when_the_service_stops(database_url: str, tmp_path: Path) -> None:
    config = config_for(database_url, workers=1)
    work = PhaseWork(modules([FLOWS]))
    keeper = Keeper(1, 1)
    begin = Begin(database_url=database_url, shard="mfo", master_key=config.master_key, flow_type_modules=(FLOWS,))
    async with write_side(config, slots=keeper) as side:
        pool = WorkerPool(1, begin, memory_mb=300)
        await pool.start()
        keeper.attach(
            side, pool, Workshop(work, side.artifacts, side.imports, side.keyring, Past(side.pool, side.store))
        )
        keeper.start()
        house = House(side)
        given = {"begun": str(tmp_path / "begun"), "go": str(tmp_path / "go")}
        flow = await house.begin(flow_type="slow", initial_data=given)
        await until(lambda: list(tmp_path.glob("begun*")), 60)
        await keeper.stop(grace_seconds=0.1)
        await pool.stop()
        state = await house.rows("select state, owner, token from runs where flow_id = %s", flow.id)
        assert state == [("queued", None, 2)]
        assert (await side.store.flow(flow.id)).attempts_failed == 0


async def test_a_phase_is_offered_where_all_that_it_names_is() -> None:
    work = PhaseWork()
    known = DISCOVERY.phases[0]
    assert work.offers(known)
    assert not work.offers(replace(known, handlers=("of_a_newer_version",)))
    assert not work.offers(replace(known, validators=("of_a_newer_version",)))


def inside(folder: Path) -> list[Path]:
    # without what the standard library tries the place with
    return list(folder.glob("mfo-import-*"))


async def csv_of(house: House, name: str) -> Describe:
    """The order to describe a new upload."""

    async def whole() -> AsyncIterator[bytes]:
        yield f"name,cpu\n{name},4\n".encode()

    tenant = house.tenant
    upload, _ = await house.side.imports.add(tenant, f"{name}.csv", whole(), max_bytes=1000)
    return Describe(
        run_id=uuid4(),
        import_id=upload.id,
        client_account_id=tenant.client_account_id,
        engagement_id=tenant.engagement_id,
        user_id=tenant.user_id,
    )


async def test_what_a_killed_child_had_on_disk_is_removed_by_the_next(
    yard: Yard, module_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    config = config_for(module_url)
    begin = Begin(database_url=module_url, shard="mfo", master_key=config.master_key, flow_type_modules=(FLOWS,))
    pool = WorkerPool(1, begin, memory_mb=300)
    order = await csv_of(yard.house, "killed")
    await pool.start()
    try:
        async with yard.house.side.pool.connection() as connection, connection.transaction():
            # the child waits for the bytes of the upload
            await connection.execute("lock table artifact_parts in access exclusive mode")
            task = asyncio.create_task(pool.run(order, exclusive=True))
            (left,) = await until(lambda: inside(tmp_path))
            pool._children[0].kill("it is a test")
            with pytest.raises(WorkerLost):
                await task
        assert inside(tmp_path) == [left]
        assert (await pool.run(order, exclusive=True)).how == "completed"
        assert inside(tmp_path) == []
    finally:
        await pool.stop()


async def test_a_child_gives_the_reading_of_an_upload_up_when_told_to(yard: Yard) -> None:
    """It is let live: other runs in it have nothing to do with that upload."""
    order = await csv_of(yard.house, "stopped")
    before = yard.children
    async with yard.house.side.pool.connection() as connection, connection.transaction():
        # the child waits for the bytes of the upload
        await connection.execute("lock table artifact_parts in access exclusive mode")
        with pytest.raises(TimeoutError):
            await yard.pool.run(order, exclusive=True, within=0.3)
    assert yard.children == before


def lines(path: Path) -> list[str]:
    return path.read_text().split()


async def test_steps_that_have_a_result_are_not_done_again(yard: Yard, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    flow = await yard.finish("stepwise", ledger=str(ledger))
    outputs = flow.phase("stepwise").outputs
    assert outputs["steps"] == ["first", "second", "third"]
    assert lines(ledger) == ["first", "second", "third"]
    assert [error["class"] for error in flow.errors] == ["resource", "rate_limited"]
    assert flow.phase("stepwise").steps == {}
    assert UUID(outputs["key"]).version == 5
    history = await yard.house.side.store.history(flow.id)
    steps = [recorded.fact for _, recorded in history if type(recorded.fact).__name__ == "StepsCompleted"]
    assert [list(fact.results) for fact in steps] == [["first"], ["second"], ["third"]]
    await quiet(yard)


async def test_what_a_fan_out_has_done_stays_done(yard: Yard, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    flow = await yard.finish("spread", ledger=str(ledger))
    assert flow.phase("spread").outputs["squares"] == [item * item for item in range(40)]
    assert sorted(lines(ledger), key=int) == [str(item) for item in range(40)]
    assert flow.attempts_failed == 1
    history = await yard.house.side.store.history(flow.id)
    commits = [recorded for _, recorded in history if type(recorded.fact).__name__ == "StepsCompleted"]
    assert len(commits) <= 40
    await quiet(yard)


async def test_an_inline_phase_has_steps_too(yard: Yard) -> None:
    flow = await yard.finish("inline_steps")
    assert flow.phase("inline_steps").outputs == {"number": 1, "attempt": 2}
    await quiet(yard)


async def test_a_step_whose_result_is_no_json_says_so(yard: Yard) -> None:
    flow = await yard.finish("no_json", "failed")
    assert flow.error is not None
    assert flow.error["code"] == "step_invalid"
    assert "'odd'" in flow.error["message"]


async def test_what_is_sensitive_in_a_step_is_sealed(yard: Yard) -> None:
    flow = await yard.finish("secret_step", credentials={"password": SECRET})
    assert flow.phase("secret_step").outputs == {"same": True}
    for row in await yard.house.rows("select state from stored_events where originator_id = %s", flow.id):
        assert SECRET.encode() not in bytes(row[0])
