"""The store and a plain model side by side: whatever is asked, in whatever order, both give the same answer."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4, uuid5

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    rule,
    run_state_machine_as_test,
)

from domain.commands import (
    CancelFlow,
    Command,
    CompletePhase,
    CreateFlow,
    CreateOptions,
    DeleteFlow,
    Envelope,
    ExecutePhase,
    FailPhase,
    FireTimer,
    PauseFlow,
    ProvideInput,
    ReassignRun,
    RecordSteps,
    RequestInput,
    ResumeFlow,
    Tenant,
)
from domain.flow import Flow
from eventstore.codec import FIRST_HASH, chain
from eventstore.committer import Answer, Committer
from eventstore.service import write_side
from tests.eventstore.house import House, config_for, new_tenant, started
from tests.eventstore.machine import RETRY_SECONDS, Expected, ModelFlow

# should it fail, the shortest way to the failure is looked for
pytestmark = pytest.mark.timeout(600)
EXAMPLES = 24
MODULE = "tests.eventstore.machine"


@dataclass
class Known:
    """A flow that the machine has to do with: the model of it, and every run that it ever had with its tokens."""

    id: UUID
    tenant: Tenant
    model: ModelFlow = field(default_factory=ModelFlow)
    runs: list[tuple[UUID, int]] = field(default_factory=list)


@dataclass
class Asking:
    """A command, and what the model says to it; `told` where it is asked of whom."""

    known: Known
    tenant: Tenant
    command: Command
    expect: Callable[[ModelFlow], Expected]


KINDS = (
    *("execute", "complete", "complete", "complete", "fail", "fail for good", "ask", "answer", "answer wrongly"),
    *("pause", "resume", "cancel", "delete", "take over", "steps", "fire", "stale complete", "stale fail"),
)
kinds = st.sampled_from(KINDS)


def asking(known: Known, kind: str) -> Asking:
    """A command of this kind, under the run and token that the flow has, or had."""
    flow_id, model = known.id, known.model
    stale = kind.startswith("stale")
    held = known.runs[:-1] if stale else known.runs[-1:]
    run_id, token = held[len(held) // 2] if held else (uuid4(), 1)
    under = model.held if held and not stale else None
    run: dict[str, Any] = {"flow_id": flow_id, "run_id": run_id, "token": token}
    error = {"class": "network", "code": "io_failed", "message": "cut", "retryable": kind != "fail for good"}
    wrong = {"flow_id": flow_id, "size": 1}
    timer = model.timer or 1
    offers: dict[str, tuple[Callable[[], Command], Callable[[ModelFlow], Expected]]] = {
        "execute": (lambda: ExecutePhase(flow_id=flow_id), lambda m: m.execute()),
        "complete": (lambda: CompletePhase(**run, outputs={"n": 1}), lambda m: m.complete(under)),
        "stale complete": (lambda: CompletePhase(**run, outputs={"n": 2}), lambda m: m.complete(None)),
        "fail": (lambda: FailPhase(**run, error=error), lambda m: m.fail(under, True)),
        "stale fail": (lambda: FailPhase(**run, error=error), lambda m: m.fail(None, True)),
        "fail for good": (lambda: FailPhase(**run, error=error), lambda m: m.fail(under, False)),
        "ask": (lambda: RequestInput(**run, fields=("colour",), message="?"), lambda m: m.ask(under)),
        "steps": (lambda: RecordSteps(**run, results={"a": 1}), lambda m: m.keep_steps(under)),
        "take over": (lambda: ReassignRun(**run), lambda m: m.take_over(under)),
        "answer": (
            lambda: ProvideInput.model_validate({"flow_id": flow_id, "colour": "red"}),
            lambda m: m.answer(True),
        ),
        "answer wrongly": (lambda: ProvideInput.model_validate(wrong), lambda m: m.answer(False)),
        "pause": (lambda: PauseFlow(flow_id=flow_id), lambda m: m.pause()),
        "resume": (lambda: ResumeFlow(flow_id=flow_id), lambda m: m.resume()),
        "cancel": (lambda: CancelFlow(flow_id=flow_id), lambda m: m.cancel()),
        "delete": (lambda: DeleteFlow(flow_id=flow_id), lambda m: m.delete()),
        "fire": (
            lambda: FireTimer(flow_id=flow_id, timer="retry", token=timer),
            lambda m: m.fire(timer),
        ),
    }
    command, expect = offers[kind]
    return Asking(known, known.tenant, command(), _existing(expect))


def _existing(expect: Callable[[ModelFlow], Expected]) -> Callable[[ModelFlow], Expected]:
    return lambda model: expect(model) if model.version else model.refused("flow_not_found")


def creating(known: Known, auto: bool) -> Asking:
    command = CreateFlow(
        flow_id=known.id, flow_type="modelled", flow_name="F", options=CreateOptions(auto_execute=auto)
    )
    return Asking(known, known.tenant, command, lambda model: model.create(auto))


class Bench:
    """The real thing: a write side, a second committer, and a loop to run them in."""

    def __init__(self, runner: asyncio.Runner, house: House, other: Committer) -> None:
        self.runner = runner
        self.house = house
        self.committers = (house.committer, other)

    def submit(self, *asked: tuple[int, Asking, str]) -> list[Answer]:
        """The answers to commands that are asked all at once, each of one of the two committers and under an id."""

        async def together() -> list[Answer]:
            futures = [
                await self.committers[which].put(one.command, self._envelope(one, command_id))
                for which, one, command_id in asked
            ]
            return list(await asyncio.gather(*futures))

        return self.runner.run(together())

    def _envelope(self, one: Asking, command_id: str) -> Envelope:
        return self.house.envelope(command_id, one.tenant)

    def flow(self, flow_id: UUID) -> Flow:
        return self.runner.run(self.house.side.store.flow(flow_id))

    def rows(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        return self.runner.run(self.house.rows(statement, *parameters))


@contextmanager
def bench(database_url: str) -> Iterator[Bench]:
    """Both committers at work, for as long as the block lasts."""
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()

        async def begin() -> Bench:
            config = config_for(database_url, flow_type_modules=(MODULE,))
            house = House(await stack.enter_async_context(write_side(config, pool_size=4)))
            other = await stack.enter_async_context(started(house.another_committer()))
            return Bench(runner, house, other)

        try:
            yield runner.run(begin())
        finally:
            runner.run(stack.aclose())


class StoreAndModel(RuleBasedStateMachine):
    """Commands in any order, by two tenants, through two committers."""

    flows = Bundle("flows")
    asked = Bundle("asked")

    def __init__(self, bench: Bench) -> None:
        super().__init__()
        self.bench = bench
        self.tenants = (new_tenant(), new_tenant())
        self.known: list[Known] = []
        self.logged: Counter[tuple[UUID, str]] = Counter()

    @rule(target=flows, tenant=st.integers(0, 1), auto=st.booleans())
    def a_flow_is_begun(self, tenant: int, auto: bool) -> int:
        self.known.append(Known(uuid4(), self.tenants[tenant]))
        self._ask(0, creating(self.known[-1], auto), str(uuid4()))
        return len(self.known) - 1

    @rule(target=asked, n=flows, kind=kinds, which=st.integers(0, 1))
    def a_command(self, n: int, kind: str, which: int) -> tuple[int, str, Asking]:
        command_id = str(uuid4())
        one = asking(self.known[n], kind)
        self._ask(which, one, command_id)
        return n, command_id, one

    @rule(n=flows, likely=st.lists(st.integers(0, 9), min_size=1, max_size=4))
    def what_is_likely(self, n: int, likely: list[int]) -> None:
        """So that flows get somewhere."""
        for draw in likely:
            known = self.known[n]
            offers = {
                "running": ("complete", "complete", "fail", "ask", "take over", "steps", "pause"),
                "waiting": ("answer", "answer", "pause"),
                "backing off": ("fire", "fire", "pause"),
                "failed": ("execute", "cancel"),
            }.get(known.model.stage, ("execute", "resume"))
            offers = ("resume", *offers) if known.model.paused else offers
            self._ask(draw % 2, asking(known, offers[draw % len(offers)]), str(uuid4()))

    @rule(told=asked, which=st.integers(0, 1))
    def the_same_again(self, told: tuple[int, str, Asking], which: int) -> None:
        """The first answer, whatever has become of the flow since."""
        _, command_id, one = told
        first = one.known.model.answers[command_id]
        again = self.bench.submit((which, one, command_id))[0]
        assert seen(again) == Expected("repeated", first.version, first.code)
        self._noted(command_id, one.tenant)

    @rule(told=consumes(asked), n=flows)
    def another_body_under_a_known_id(self, told: tuple[int, str, Asking], n: int) -> None:
        _, command_id, one = told
        known = one.known
        other = Asking(known, one.tenant, DeleteFlow(flow_id=known.id, reason="another"), one.expect)
        answer = self.bench.submit((0, other, command_id))[0]
        assert seen(answer) == Expected("refused", 0, "idempotency_key_reused")
        self._noted(command_id, one.tenant)

    @rule(told=asked)
    def an_id_that_the_other_tenant_used(self, told: tuple[int, str, Asking]) -> None:
        """Ids are a tenant's own, and so are flows: to others they are not there."""
        _, command_id, one = told
        stranger = next(tenant for tenant in self.tenants if tenant is not one.known.tenant)
        foreign = Asking(one.known, stranger, PauseFlow(flow_id=one.known.id), one.expect)
        told_before = self.logged.get((stranger.client_account_id, command_id))
        answer = self.bench.submit((0, foreign, command_id))[0]
        assert seen(answer) == Expected("repeated" if told_before else "refused", 0, "flow_not_found")
        self._noted(command_id, stranger)

    @rule(n=flows, first=kinds, second=kinds, apart=st.booleans())
    def two_at_once(self, n: int, first: str, second: str, apart: bool) -> None:
        """Through two committers either may come first; through one they come in their order."""
        known = self.known[n]
        pair = (asking(known, first), asking(known, second))
        ids = (str(uuid4()), str(uuid4()))
        answers = self.bench.submit((0, pair[0], ids[0]), (int(apart), pair[1], ids[1]))
        outcomes: list[tuple[ModelFlow, tuple[Expected, Expected]]] = []
        for order in ((0, 1), (1, 0)) if apart else ((0, 1),):
            model = known.model.copy()
            told = {which: pair[which].expect(model) for which in order}
            outcomes.append((model, (told[0], told[1])))
        found = (seen(answers[0]), seen(answers[1]))
        fitting = [model for model, told in outcomes if told == found]
        assert fitting, (first, second, found, [told for _, told in outcomes])
        known.model = fitting[0]
        for command_id, answered in zip(ids, found, strict=True):
            self._keep(command_id, known, answered)
        self._look(known)

    @rule(n=flows, kind=kinds)
    def the_same_twice_at_once(self, n: int, kind: str) -> None:
        """One of the two committers is first; the other gives its answer again."""
        known = self.known[n]
        one, command_id = asking(known, kind), str(uuid4())
        expected = one.expect(known.model)
        answers = self.bench.submit((0, one, command_id), (1, one, command_id))
        found = sorted(map(seen, answers), key=lambda told: told.outcome == "repeated")
        assert found == [expected, expected._replace(outcome="repeated")]
        self._keep(command_id, known, expected)
        self._noted(command_id, one.tenant)
        self._look(known)

    @rule()
    def time_passes(self) -> None:
        """What backs off is due then, and fires once, whoever asks for it."""
        assert not self._due()
        self.bench.rows("update clock set shift = shift + make_interval(secs => %s)", RETRY_SECONDS * 2)
        # a committer learns of the time with a commit
        for which in (0, 1):
            nobody = Known(uuid4(), self.tenants[0])
            self.bench.submit((which, asking(nobody, "pause"), command_id := str(uuid4())))
            self._noted(command_id, nobody.tenant)
        due = self._due()
        waiting = {known.id: known.model.timer for known in self.known if self._waits(known)}
        assert due == waiting
        for known in self.known:
            if known.id not in due:
                continue
            timer = due[known.id]
            fire = Asking(
                known,
                known.tenant,
                FireTimer(flow_id=known.id, timer="retry", token=timer),
                lambda model, timer=timer: model.fire(timer),  # type: ignore[misc]
            )
            expected = fire.expect(known.model)
            command_id = str(uuid5(known.id, f"retry:{timer}:{known.model.version}"))
            answers = self.bench.submit((0, fire, command_id), (1, fire, command_id))
            assert expected in map(seen, answers)
            self._keep(command_id, known, expected)
            self._noted(command_id, known.tenant)
            self._look(known)

    def _due(self) -> dict[UUID, int]:
        mine = {known.id for known in self.known}
        due = self.bench.rows("select flow_id, token from timers where due_at <= mfo_now()")
        return {flow_id: token for flow_id, token in due if flow_id in mine}

    def _ask(self, which: int, one: Asking, command_id: str) -> None:
        expected = one.expect(one.known.model)
        answer = self.bench.submit((which, one, command_id))[0]
        assert seen(answer) == expected, one.command
        self._keep(command_id, one.known, expected)
        self._look(one.known)

    def _keep(self, command_id: str, known: Known, told: Expected) -> None:
        known.model.answers[command_id] = told
        self._noted(command_id, known.tenant)

    def _noted(self, command_id: str, tenant: Tenant) -> None:
        self.logged[tenant.client_account_id, command_id] += 1

    def _look(self, known: Known) -> None:
        """The flow, its run and its timer are as the model says."""
        model, flow = known.model, self.bench.flow(known.id)
        assert flow.version == model.version
        status = {
            "between": "processing" if model.auto else "waiting_for_input" if model.done else "initialized",
            "running": "processing",
            "answered": "processing",
            "backing off": "processing",
            "waiting": "waiting_for_input",
        }.get(model.stage, model.stage)
        assert str(flow.status) == ("paused" if model.paused else status)
        assert sum(phase.status == "completed" for phase in flow.phases) == model.done
        assert (flow.run is not None) is (model.stage == "running")
        if flow.run is not None:
            assert (flow.run.attempt, flow.run.token) == (model.attempt, model.token)
            if (flow.run.run_id, flow.run.token) not in known.runs:
                known.runs.append((flow.run.run_id, flow.run.token))
        runs = self.bench.rows("select id, token, attempt from runs where flow_id = %s", known.id)
        assert runs == ([(flow.run.run_id, flow.run.token, flow.run.attempt)] if flow.run else [])
        assert (flow.retry is not None) is (model.stage == "backing off")
        timers = self.bench.rows("select name, token from timers where flow_id = %s", known.id)
        assert timers == ([("retry", model.timer)] if self._waits(known) else [])

    def _waits(self, known: Known) -> bool:
        """Whether the flow has a timer: a pause stops it."""
        return known.model.stage == "backing off" and not known.model.paused

    def teardown(self) -> None:
        """Every history is whole and chained, every head its end, and every command is in the log as often as it was asked."""
        for known in self.known:
            link = FIRST_HASH
            stored = self.bench.rows(
                "select originator_version, topic, state, hash from stored_events where originator_id = %s order by 1",
                known.id,
            )
            assert [version for version, *_ in stored] == list(range(1, known.model.version + 1))
            for version, topic, state, digest in stored:
                link = chain(link, known.id, version, topic, bytes(state))
                assert link == bytes(digest)
            heads = self.bench.rows("select version, hash from heads where id = %s", known.id)
            assert [(version, bytes(digest)) for version, digest in heads] == [(known.model.version, link)]
        counted = self.bench.rows(
            "select client_account_id, command_id, count(*) from command_log where client_account_id = any(%s) group by 1, 2",
            [tenant.client_account_id for tenant in self.tenants],
        )
        assert {(account, command_id): count for account, command_id, count in counted} == self.logged


def seen(answer: Answer) -> Expected:
    """The part of an answer that the model foretells."""
    return Expected(answer.outcome, answer.version, answer.error["code"] if answer.error else None)


def test_the_store_answers_as_the_model_does(module_database_url: str) -> None:
    with bench(module_database_url) as real:
        run_state_machine_as_test(
            lambda: StoreAndModel(real),  # type: ignore[arg-type]
            settings=settings(
                max_examples=EXAMPLES, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
            ),
        )
