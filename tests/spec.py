"""Given what happened, when this is asked, then that happens: the sentences in which the domain's tests are written."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from domain.commands import Command, CompletePhase, FailPhase, FireTimer, RequestInput
from domain.decide import decide
from domain.deciding.story import Story
from domain.errors import MfoError
from domain.events import FlowEvent
from domain.flow import Flow, Meta, Recorded, fold
from domain.flow_types import FlowTypes
from domain.types import FLOW_TYPES
from tests import examples, moving

FLOW_ID = examples.FLOW_ID
MIDDAY = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def types() -> FlowTypes:
    """The types that come with the service, and the small ones of the tests."""
    known = FlowTypes()
    for config in (*moving.VERSIONS.values(), *examples.FORKED_LATER):
        known.remember(config)
    for config in (*FLOW_TYPES, *examples.FLOW_TYPES, moving.OLD):
        known.register(
            config,
            handlers=config.handlers,
            validators=[name for phase in config.phases for name in phase.validators],
        )
    return known


TYPES = types()


def meta(
    user_id: str = "maria",
    client: UUID = examples.CLIENT,
    engagement: UUID = examples.ENGAGEMENT,
    *,
    seconds: float = 0,
) -> Meta:
    """Who asks, at midday or so many seconds later."""
    return Meta(
        at=MIDDAY + timedelta(seconds=seconds),
        client_account_id=client,
        engagement_id=engagement,
        user_id=user_id,
        command_id="command-1",
        correlation_id="correlation-1",
    )


def flow_of(*facts: FlowEvent) -> Flow:
    """The flow with this history."""
    history = [Recorded(FLOW_ID, version, meta(), fact) for version, fact in enumerate(facts, 1)]
    return fold(Flow(id=FLOW_ID), history)


@dataclass
class Given:
    """A flow with a history."""

    flow: Flow

    def when(
        self,
        command: Command,
        *,
        expected_version: int | None = None,
        asked: Meta | None = None,
        others: tuple[Flow, ...] = (),
    ) -> Then:
        """What the flow answers to a command, where these others are known."""
        known = {flow.id: flow for flow in others}
        try:
            story = decide(self.flow, command, asked or meta(), TYPES, expected_version=expected_version, others=known)
        except MfoError as error:
            return Then(self.flow, None, error)
        return Then(self.flow, story, None)


@dataclass
class Then:
    """The answer, to be compared."""

    before: Flow
    story: Story | None
    error: MfoError | None

    @property
    def flow(self) -> Flow:
        """The flow afterwards."""
        assert self.error is None, self.error
        assert self.story is not None
        return self.story.flow

    @property
    def facts(self) -> list[FlowEvent]:
        """What happened."""
        assert self.error is None, self.error
        assert self.story is not None
        return [recorded.fact for recorded in self.story.facts]

    def then(self, *facts: FlowEvent | type[FlowEvent]) -> Then:
        """These facts and no others: an event to be equal to, or a class where only the kind matters."""
        found = [
            fact if isinstance(wanted, type) is False else type(fact)
            for fact, wanted in zip(self.facts, facts, strict=False)
        ]
        assert len(self.facts) == len(facts), self.facts
        assert found == list(facts)
        return self

    def then_nothing(self) -> Then:
        """Silence: the flow has been asked this before, or it no longer matters."""
        assert self.facts == []
        assert self.flow == self.before
        return self

    def then_refused(
        self,
        error: type[MfoError],
        *,
        code: str | None = None,
        allowed: list[str] | None = None,
        fields: list[str] | None = None,
    ) -> MfoError:
        """The flow says no, with this reason and what it takes instead."""
        assert self.error is not None, f"not refused: {self.facts}"
        assert type(self.error) is error, self.error
        if code is not None:
            assert self.error.code == code
        if allowed is not None:
            assert list(self.error.allowed) == allowed
        if fields is not None:
            assert [one.field for one in self.error.errors] == fields
        assert self.error.detail
        return self.error


def given(*facts: FlowEvent) -> Given:
    """A flow to which this has happened."""
    return Given(flow_of(*facts))


def after(*steps: Command) -> Given:
    """A flow that was asked all this, and said yes each time."""
    flow = Flow(id=FLOW_ID)
    for step in steps:
        flow = decide(flow, step, meta(), TYPES).flow
    return Given(flow)


def fire(flow: Flow, name: str) -> FireTimer:
    """The word that a timer of the flow is due."""
    return FireTimer(flow_id=FLOW_ID, timer=name, token=flow.alarms[name].token)


def complete(flow: Flow, **outputs: Any) -> CompletePhase:
    """The worker's word that the run under way has ended."""
    assert flow.run is not None
    return CompletePhase(
        flow_id=FLOW_ID, run_id=flow.run.run_id, token=flow.run.token, outputs=outputs, execution_time_ms=7
    )


def fail(
    flow: Flow, *, retryable: bool = True, kind: str = "network", fields: list[dict[str, str]] | None = None
) -> FailPhase:
    """The worker's word that the run under way went wrong."""
    assert flow.run is not None
    error: dict[str, Any] = {"class": kind, "code": "io_failed", "message": "the wire is cut", "retryable": retryable}
    if fields:
        error["fields"] = fields
    return FailPhase(flow_id=FLOW_ID, run_id=flow.run.run_id, token=flow.run.token, error=error, execution_time_ms=3)


def ask(flow: Flow, *fields: str) -> RequestInput:
    """The worker's word that a person is needed."""
    assert flow.run is not None
    return RequestInput(
        flow_id=FLOW_ID,
        run_id=flow.run.run_id,
        token=flow.run.token,
        fields=fields,
        message="please",
        suggestions={"mapping_suggestions": [{"source_field": "VM"}]},
    )


def raises(error: type[MfoError], match: str) -> Any:
    """`pytest.raises`, by the error's sentence."""
    return pytest.raises(error, match=match)
