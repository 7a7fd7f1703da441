"""Many flows asked the same, each once; flows that begin paused; rules that pause by themselves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from consumers.operations import AT_ONCE, CHUNK, Pace, Runner
from consumers.pause_rules import Watch
from domain.commands import CompletePhase, CreateOptions, ExecutePhase, PauseFlow, ResumeFlow
from domain.fleet.commands import (
    ArmPauseRule,
    CancelOperation,
    FleetCommand,
    PauseOperation,
    RemoveStandingPause,
    ResumeOperation,
    SetPauseRule,
    SetStandingPause,
    StartOperation,
    flow_command_id,
)
from domain.fleet.subjects import Operation, PauseRule, StandingPause, fold
from domain.telling import News, news_of
from domain.words import Status
from eventstore.committer import Committer
from eventstore.fleet import FleetAnswer
from eventstore.followers import following
from eventstore.operations import MOST_OF_TENANT
from eventstore.service import ServiceConfig
from tests.consumers.conftest import body_of, client_of, headers_of, serving
from tests.eventstore.conftest import EMPTY
from tests.eventstore.house import House, create, imported, open_house
from tests.projecting import project
from tests.waiting import until

Json = dict[str, Any]
CLEAR = EMPTY + "truncate flow_state_extensions_v1, projections; update followers set position = 0;"


class Yard:
    """A write side with a read model that is brought up to date on demand, and a runner that is told when to look."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.runner = Runner(house.side)
        self.watch = Watch(house.side)
        self.watch.armed(True)

    async def ask(self, command: FleetCommand, command_id: str | None = None) -> FleetAnswer:
        return await self.house.side.fleet.submit(command, self.house.envelope(command_id))

    async def start(self, verb: str = "pause", wanted: Json | None = None, **fields: Any) -> UUID:
        operation_id = uuid4()
        answer = await self.ask(
            StartOperation.model_validate(
                {"operation_id": operation_id, "verb": verb, "filter": wanted or {"all": True}, **fields}
            )
        )
        assert answer.outcome == "accepted", answer.error
        return operation_id

    async def shown(self) -> None:
        """The read model comes to the end of the log."""
        await project(self.house)
        await self.house.rows(
            "insert into projections (name, version, state, position, updated_at)"
            " values ('crewai_flow_state_extensions', 1, 'live', (select max(notification_id) from stored_events), mfo_now())"
            " on conflict (name) do update set position = excluded.position"
        )

    async def look(self) -> None:
        """The runner does what there is to do."""
        await self.shown()
        await self.runner.round()
        await self.runner.idle()

    async def operation(self, operation_id: UUID) -> Operation:
        found: Operation = await self.house.side.fleet.find(self.house.tenant, Operation, operation_id)
        return found

    async def outcomes(self, operation_id: UUID) -> list[tuple[str, str | None]]:
        rows, _ = await self.house.side.operations.flows(operation_id, outcome=None, limit=1000, after=0)
        return [(row["outcome"], row["code"]) for row in rows]

    async def flows(self, count: int, **fields: Any) -> list[UUID]:
        given = {"flow_type": "schedulable", "options": CreateOptions(), **fields}
        answers = await asyncio.gather(*(self.house.ask(create(**given)) for _ in range(count)))
        return [answer.flow_id for answer in answers]

    async def status(self, flow_id: UUID) -> Status:
        return (await self.house.side.store.flow(flow_id)).status

    async def count(self) -> None:
        """The rules' follower reads what is new."""
        async with self.house.side.pool.connection() as connection:
            position = int(await self.house.one("select position from followers where name = 'pause_rules'"))
            stretch = await following(connection, position, self.watch.topics, 1000)
            async with connection.transaction():
                await self.watch.follow(connection, stretch.events)
                await connection.execute("update followers set position = %s", (stretch.upto,))


@pytest.fixture
async def clear_url(module_url: str) -> str:
    async with await psycopg.AsyncConnection.connect(module_url) as connection:
        await connection.execute(CLEAR)
    return module_url


@pytest.fixture
async def yard(clear_url: str) -> AsyncIterator[Yard]:
    async with open_house(clear_url) as house:
        yield Yard(house)


async def test_every_flow_that_the_filter_chooses_is_asked_once_and_says_what_became_of_it(yard: Yard) -> None:
    wanted = await yard.flows(3, flow_tags=("wave-1",))
    others = await yard.flows(2)
    await yard.house.ask(PauseFlow(flow_id=wanted[1]))
    operation_id = await yard.start("cancel", {"tag": "wave-1"}, reason="not needed")
    await yard.look()
    assert [await yard.status(flow) for flow in wanted] == [Status.CANCELLED] * 3
    assert {await yard.status(flow) for flow in others} == {Status.INITIALIZED}
    operation = await yard.operation(operation_id)
    assert (operation.state, operation.total) == ("completed", 3)
    assert await yard.outcomes(operation_id) == [("accepted", None)] * 3
    _, recorded = (await yard.house.side.store.history(wanted[0]))[-1]
    assert (recorded.meta.user_id, recorded.meta.causation_id) == ("maria", f"{operation_id}:1")
    assert recorded.meta.command_id == flow_command_id(operation_id, wanted[0])
    facts = [each.recorded for each in await yard.house.side.fleet.history(operation_id)]
    assert [type(each.fact).__name__ for each in facts] == ["OperationStarted", "OperationListed", "OperationCompleted"]
    assert fold(Operation(id=operation_id), facts) == operation


async def test_a_flow_that_refuses_says_why_and_the_others_go_on(yard: Yard) -> None:
    [first, second] = await yard.flows(2)
    await yard.house.ask(PauseFlow(flow_id=first))
    operation_id = await yard.start("resume")
    await yard.look()
    assert await yard.outcomes(operation_id) == [("accepted", None), ("refused", "flow_not_paused")]
    assert await yard.status(second) is Status.INITIALIZED
    progress = (await yard.house.side.operations.progress([operation_id]))[operation_id]
    assert (progress.total, progress.accepted, progress.refused, progress.parked) == (2, 1, 1, 0)


async def test_flows_made_after_the_list_are_not_asked_and_it_waits_for_what_was_made_before(yard: Yard) -> None:
    [before] = await yard.flows(1)
    operation_id = await yard.start()
    # the read model has seen nothing yet
    await yard.house.rows(
        "insert into projections (name, version, state, position, updated_at)"
        " values ('crewai_flow_state_extensions', 1, 'live', 0, mfo_now())"
    )
    await yard.runner.round()
    assert (await yard.operation(operation_id)).total is None
    await yard.shown()
    [after] = await yard.flows(1)
    await yard.runner.idle()
    assert (await yard.operation(operation_id)).total == 1
    assert (await yard.status(before), await yard.status(after)) == (Status.PAUSED, Status.INITIALIZED)


async def test_another_process_goes_on_after_a_crash_and_repeats_nothing(yard: Yard) -> None:
    flows = await yard.flows(4)
    operation_id = await yard.start()
    await yard.shown()
    operations = yard.house.side.operations
    [operation] = (await operations.claim("the dead", 4)).operations
    place = await operations.reached(operation)
    assert place is not None
    assert await operations.choose(operation, "the dead", 100, place) == (4, place)
    # it asked two flows, and wrote down nothing
    for flow in flows[:2]:
        await yard.house.ask(PauseFlow(flow_id=flow), flow_command_id(operation_id, flow))
    await yard.runner.round()
    await yard.runner.idle()
    assert (await yard.operation(operation_id)).state == "running"
    await yard.house.shift_clock(11)
    await yard.look()
    assert (await yard.operation(operation_id)).state == "completed"
    assert await yard.outcomes(operation_id) == [("accepted", None)] * 4
    for flow in flows:
        assert await yard.house.facts(flow) == ["FlowCreated", "FlowPaused"]
    assert not await operations.tell(operation_id, "the dead", [], None)


async def test_an_operation_is_paused_resumed_and_cancelled(yard: Yard) -> None:
    flows = await yard.flows(3)
    operation_id = await yard.start(rate_per_second=0.001)
    await yard.shown()
    await yard.runner.round()

    async def asked(count: int) -> bool:
        return [each[0] for each in await yard.outcomes(operation_id)].count("accepted") == count

    await until(lambda: asked(1))
    assert (await yard.ask(PauseOperation(operation_id=operation_id, reason="lunch"))).outcome == "accepted"
    await yard.runner.idle()
    assert (await yard.operation(operation_id)).state == "paused"
    await yard.ask(ResumeOperation(operation_id=operation_id))
    await yard.runner.round()
    assert (await yard.operation(operation_id)).state == "running"
    await yard.ask(CancelOperation(operation_id=operation_id))
    await yard.runner.idle()
    operation = await yard.operation(operation_id)
    assert (operation.state, operation.ended_at is not None) == ("cancelled", True)
    assert await yard.outcomes(operation_id) == [("accepted", None), ("left", None), ("left", None)]
    assert await yard.status(flows[1]) is Status.INITIALIZED
    refused = await yard.ask(ResumeOperation(operation_id=operation_id))
    assert refused.error is not None
    assert refused.error["code"] == "not_in_this_state"


async def test_large_outputs_that_stand_in_for_a_phase_are_found_by_the_next_one(clear_url: str) -> None:
    async with open_house(clear_url, flow_type_modules=("tests.consumers.hooked",)) as house:
        yard = Yard(house)
        [flow] = await yard.flows(1, flow_type="passed_over")
        outputs = {"rows": ["x" * 1000] * 200, "count": 200}
        await yard.start("skip", arguments={"outputs": outputs})
        await yard.look()
        kept = (await house.side.store.flow(flow)).phase("first").outputs
        assert kept["count"] == 200
        assert await house.side.artifacts.unspill(house.tenant.client_account_id, kept) == outputs


async def test_operations_that_are_slow_on_purpose_keep_no_place_from_others(yard: Yard) -> None:
    [flow, _] = await yard.flows(2)
    slow = [await yard.start("resume", rate_per_second=0.001) for _ in range(AT_ONCE)]
    await yard.shown()
    await yard.runner.round()
    quick = await yard.start("pause", {"flow_ids": [str(flow)]})
    await yard.shown()
    await yard.runner.round()

    async def done() -> bool:
        return (await yard.operation(quick)).state == "completed"

    await until(done)
    for operation_id in slow:
        await yard.ask(CancelOperation(operation_id=operation_id))
    await yard.runner.idle()


async def test_a_tenant_with_many_operations_keeps_nobody_waiting(yard: Yard) -> None:
    ours = [await yard.start() for _ in range(3)]
    stranger = Yard(House(yard.house.side))
    theirs = await stranger.start()
    operations = yard.house.side.operations
    taken = (await operations.claim("one", 2)).operations
    assert {each.id for each in taken} == {ours[0], theirs}
    for number in (MOST_OF_TENANT - 1, 0):
        for _ in range(MOST_OF_TENANT):
            await yard.start()
        taken = (await operations.claim("another", 100)).operations
        assert len(taken) == number


def test_a_pace_gives_a_seconds_worth_at_most() -> None:
    now = [0.0]
    pace = Pace(10.0, lambda: now[0])
    assert (pace.some(CHUNK), pace.some(CHUNK)) == (1, 0)
    assert 0.05 <= pace.wait() <= 0.1
    now[0] = 0.5
    assert pace.some(CHUNK) == 5
    now[0] = 60.0
    assert pace.some(CHUNK) == 10
    now[0] = 61.0
    assert pace.some(4) == 4
    assert Pace(None).some(CHUNK) == CHUNK
    assert Pace(10.0, lambda: now[0], begun=True).some(CHUNK) == 0
    assert Pace(0.001, lambda: now[0]).wait() <= 1.0


async def test_a_filter_that_chooses_too_many_ends_the_operation_before_it_asks_anybody(clear_url: str) -> None:
    async with open_house(clear_url, operation_max_flows=2) as house:
        yard = Yard(house)
        flows = await yard.flows(3)
        operation_id = await yard.start()
        await yard.look()
        operation = await yard.operation(operation_id)
        assert (operation.state, operation.error_code) == ("cancelled", "too_many_flows")
        assert {await yard.status(flow) for flow in flows} == {Status.INITIALIZED}


async def test_a_flow_that_is_parked_takes_its_command_later_and_its_outcome_is_found_then(yard: Yard) -> None:
    [flow, other] = await yard.flows(2)
    await yard.shown()
    blocked = uuid4()
    await yard.house.rows(
        "insert into parked_commands (flow_id, client_account_id, engagement_id, user_id, command_id, command, body, body_hash,"
        " source, correlation_id, received_at) values (%s, %s, %s, 'maria', %s, 'ResumeFlow', '{}', '', 'http', 'c', mfo_now())",
        *(flow, yard.house.tenant.client_account_id, yard.house.tenant.engagement_id, str(blocked)),
    )
    operation_id = await yard.start()
    await yard.look()
    assert (await yard.operation(operation_id)).state == "completed"
    assert await yard.outcomes(operation_id) == [("parked", None), ("accepted", None)]
    assert await yard.status(other) is Status.PAUSED
    await yard.house.rows("delete from parked_commands where command_id = %s", str(blocked))
    await yard.house.committer.drain(flow)
    assert await yard.outcomes(operation_id) == [("accepted", None), ("accepted", None)]
    progress = (await yard.house.side.operations.progress([operation_id]))[operation_id]
    assert (progress.parked, progress.late_accepted, progress.late_refused) == (1, 1, 0)


async def test_another_tenants_flows_are_never_among_them(yard: Yard) -> None:
    stranger = House(yard.house.side)
    theirs = (await stranger.ask(create(flow_type="schedulable", options=CreateOptions()))).flow_id
    ours = await yard.flows(1)
    operation_id = await yard.start("delete", {"flow_ids": [str(theirs), str(ours[0])]})
    await yard.look()
    assert (await yard.operation(operation_id)).total == 1
    assert await yard.status(theirs) is Status.INITIALIZED


async def test_an_operation_that_was_started_over_kafka_is_carried_out_by_the_service(config: ServiceConfig) -> None:
    async with serving(config), client_of(config) as client, open_house(config.database_url) as house:
        yard = Yard(House(house.side, client.tenant))
        [flow] = await yard.flows(1)
        await yard.shown()
        sent = await client.send("StartOperation", None, {"verb": "pause", "filter": {"flow_ids": [str(flow)]}})
        [reply] = await client.replies(sent)
        body = body_of(reply)
        assert (headers_of(reply)["ce_type"], body["flow_id"]) == ("mfo.reply.Accepted.v1", None)
        operation_id = UUID(body["operation_id"])

        async def done() -> bool:
            return (await yard.operation(operation_id)).state == "completed"

        await until(done, 60)
        assert await yard.status(flow) is Status.PAUSED

        def told() -> bool:
            kinds = {headers_of(record)["ce_type"] for record in client.on(config.topics.events)}
            return "mfo.operation.OperationCompleted.v1" in kinds

        await until(told, 60)
        for name, key, more in (
            ("PauseOperation", "operation_id", {"operation_id": str(operation_id)}),
            ("StartOperation", "operation_id", {"verb": "pause", "filter": {"all": True}, "dry_run": True}),
            ("SetStandingPause", "standing_pause_id", {"flow_type": "inline"}),
            ("SetPauseRule", "pause_rule_id", {"measure": "flows_begun", "limit": 1}),
        ):
            [reply] = await client.replies(await client.send(name, None, more))
            assert UUID(body_of(reply)[key])
            wanted = "Refused" if key == "operation_id" else "Accepted"
            assert headers_of(reply)["ce_type"] == f"mfo.reply.{wanted}.v1"
        # the rule that was set over Kafka is watched
        rule_id = UUID(body_of(reply)["pause_rule_id"])

        async def tripped() -> bool:
            await yard.flows(1)
            return (await rule_of(yard, rule_id)).state == "tripped"

        await until(tripped, 60)


# standing pauses


async def held(yard: Yard, **fields: Any) -> UUID:
    pause_id = uuid4()
    given = {"standing_pause_id": pause_id, "reason": "maintenance", **fields}
    answer = await yard.ask(SetStandingPause.model_validate(given))
    assert answer.outcome == "accepted", answer.error
    return pause_id


async def test_new_flows_that_match_begin_paused_in_one_decision_and_say_so(yard: Yard) -> None:
    [before] = await yard.flows(1, flow_type="inline")
    pause_id = await held(yard, flow_type="inline")
    answer = await yard.house.ask(create())
    flow = answer.flow
    assert flow is not None
    assert await yard.house.facts(flow.id) == ["FlowCreated", "FlowPaused"]
    assert (flow.status, flow.version) == (Status.PAUSED, 2)
    assert flow.paused is not None
    assert flow.paused.standing_pause_id == pause_id
    assert "maintenance" in str(flow.paused.reason)
    [other] = await yard.flows(1, flow_type="schedulable")
    assert (await yard.status(other), await yard.status(before)) == (Status.INITIALIZED, Status.INITIALIZED)
    await yard.house.ask(ResumeFlow(flow_id=flow.id))
    assert await yard.status(flow.id) is Status.PROCESSING


async def test_a_process_that_knew_of_no_standing_pause_makes_no_flow_that_escapes_it(yard: Yard) -> None:
    other: Committer = yard.house.another_committer()
    await other.start()
    try:
        first = await other.submit(create(), yard.house.envelope())
        assert first.flow is not None
        assert first.flow.status is Status.PROCESSING
        await held(yard, all=True)
        second = await other.submit(create(), yard.house.envelope())
        assert second.flow is not None
        assert second.flow.status is Status.PAUSED
    finally:
        await other.stop()


async def test_a_standing_pause_that_is_removed_lets_new_flows_begin_and_resumes_what_it_held_if_asked(
    yard: Yard,
) -> None:
    pause_id = await held(yard, tag="wave-1")
    [flow] = await yard.flows(1, flow_type="inline", flow_tags=("wave-1",), options=CreateOptions(auto_execute=True))
    [by_hand] = await yard.flows(1)
    await yard.house.ask(PauseFlow(flow_id=by_hand))
    await yard.ask(RemoveStandingPause(standing_pause_id=pause_id, resume=True, reason="done"))
    [after] = await yard.flows(1, flow_tags=("wave-1",))
    assert await yard.status(after) is Status.INITIALIZED
    await yard.look()
    pause: StandingPause = await yard.house.side.fleet.find(yard.house.tenant, StandingPause, pause_id)
    assert pause.operation_id is not None
    await yard.look()
    operation = await yard.operation(pause.operation_id)
    assert (operation.state, operation.total, operation.cause) == ("completed", 1, {"standing_pause_id": str(pause_id)})
    assert (await yard.status(flow), await yard.status(by_hand)) == (Status.PROCESSING, Status.PAUSED)


async def test_a_standing_pause_is_the_tenants_own(yard: Yard) -> None:
    await held(yard, all=True)
    stranger = House(yard.house.side)
    assert (await stranger.begin()).status is Status.PROCESSING


# rules


async def ruled(yard: Yard, **fields: Any) -> UUID:
    rule_id = uuid4()
    given = {"pause_rule_id": rule_id, "measure": "error_rate", "limit": 0.5, "at_least": 3, **fields}
    answer = await yard.ask(SetPauseRule.model_validate(given))
    assert answer.outcome == "accepted", answer.error
    return rule_id


async def rule_of(yard: Yard, rule_id: UUID) -> PauseRule:
    found: PauseRule = await yard.house.side.fleet.find(yard.house.tenant, PauseRule, rule_id)
    return found


async def test_a_rule_that_passes_its_limit_pauses_new_flows_and_those_that_are_there(yard: Yard) -> None:
    await yard.house.fail((await yard.house.begin()).id, retryable=False)
    rule_id = await ruled(yard, flow_type="inline", pause_running=True)
    [other] = await yard.flows(1, flow_type="schedulable")
    standing = [(await yard.house.begin()).id for _ in range(2)]
    await yard.house.complete(standing[0])
    await yard.house.fail((await yard.house.begin()).id, retryable=False)
    await yard.count()
    assert (await rule_of(yard, rule_id)).state == "armed"
    await yard.house.fail((await yard.house.begin()).id, retryable=False)
    await yard.count()
    rule = await rule_of(yard, rule_id)
    assert rule.state == "tripped"
    assert rule.figures is not None
    assert (rule.figures["ended"], rule.figures["failed"]) == (3, 2)
    await yard.look()
    held_flow = (await yard.house.ask(create())).flow
    assert held_flow is not None
    assert held_flow.paused is not None
    assert "2 of 3 attempts failed" in str(held_flow.paused.reason)
    await yard.look()
    assert {await yard.status(flow) for flow in standing} == {Status.PAUSED}
    # which is news
    for flow in standing:
        histories = [recorded for _, recorded in await yard.house.side.store.history(flow)]
        assert [news_of(each) for each in histories if news_of(each)] == [News.PAUSED_BY_RULE]
    assert await yard.status(other) is Status.INITIALIZED
    assert rule.operation_id is not None
    operation = await yard.operation(rule.operation_id)
    assert operation.cause is not None
    assert operation.cause["pause_rule_id"] == str(rule_id)
    await yard.ask(ArmPauseRule(pause_rule_id=rule_id))
    await yard.count()
    assert (await rule_of(yard, rule_id)).state == "armed"


async def test_a_rule_for_a_type_counts_flows_that_were_taken_over_too(yard: Yard) -> None:
    rule_id = await ruled(yard, flow_type="inline", at_least=1)
    flow_id = (await yard.house.ask(imported())).flow_id
    await yard.house.ask(ExecutePhase(flow_id=flow_id))
    await yard.house.fail(flow_id, retryable=False)
    await yard.count()
    assert (await rule_of(yard, rule_id)).state == "tripped"


async def test_a_quota_trips_with_the_flow_that_reaches_it_and_forgets_what_left_the_window(yard: Yard) -> None:
    rule_id = await ruled(yard, measure="flows_begun", limit=3, window_seconds=600)
    [first, _] = await yard.flows(2)
    await yard.count()
    await yard.house.shift_clock(1200)
    # the committer learns of it with a commit
    await yard.house.ask(PauseFlow(flow_id=first))
    await yard.flows(2)
    await yard.count()
    assert (await rule_of(yard, rule_id)).state == "armed"
    await yard.flows(1)
    await yard.count()
    rule = await rule_of(yard, rule_id)
    assert (rule.state, rule.figures and rule.figures["flows_begun"]) == ("tripped", 3)
    await yard.house.side.operations.forget()
    assert await yard.house.one("select count(*) from pause_rule_counts") == 0


async def test_a_rule_that_only_alerts_is_an_event_and_pauses_nothing(yard: Yard) -> None:
    rule_id = await ruled(yard, measure="slow_runs", limit=1, slower_than_seconds=0.5, alert_only=True)
    begun = (await yard.house.begin()).id
    run = await yard.house.run_of(begun)
    slow = CompletePhase(flow_id=begun, run_id=run.run_id, token=run.token, outputs={"rows": 3}, execution_time_ms=501)
    assert (await yard.house.ask(slow)).error is None
    await yard.count()
    rule = await rule_of(yard, rule_id)
    assert (rule.state, rule.standing_pause_id) == ("tripped", None)
    assert rule.message is not None
    assert rule.message.startswith("1 run took longer than 0.5 s")
    await yard.look()
    assert (await yard.house.begin()).paused is None
