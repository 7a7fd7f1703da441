"""Operations, standing pauses and rules in tests: one good example of every event, and given/when/then for their answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from domain.errors import MfoError
from domain.fleet.commands import FleetCommand
from domain.fleet.decide import FleetStory, decide
from domain.fleet.events import (
    FleetEvent,
    OperationCancelled,
    OperationCompleted,
    OperationListed,
    OperationPaused,
    OperationResumed,
    OperationStarted,
    PauseRuleArmed,
    PauseRuleDeleted,
    PauseRuleSet,
    PauseRuleTripped,
    StandingPauseRemoved,
    StandingPauseSet,
)
from domain.fleet.subjects import AnySubject, FleetRecorded, Operation, PauseRule, StandingPause, evolve, fold
from domain.flow import Meta
from tests.spec import TYPES, meta

Json = dict[str, Any]

OPERATION_ID = UUID("99999999-9999-4999-8999-999999999991")
STANDING_PAUSE_ID = UUID("99999999-9999-4999-8999-999999999992")
PAUSE_RULE_ID = UUID("99999999-9999-4999-8999-999999999993")
FIGURES: Json = {"ended": 12, "failed": 8, "error_rate": 0.6667, "limit": 0.5, "window_seconds": 600}

STARTED = OperationStarted(
    verb="pause",
    filter={"type": ["discovery"], "status": ["processing"]},
    reason="maintenance",
    arguments={},
    rate_per_second=50.0,
    cause={"pause_rule_id": str(PAUSE_RULE_ID)},
)
HELD = StandingPauseSet(flow_type="discovery", tag="wave-1", reason="maintenance", cause={"pause_rule_id": "r"})
RULE = PauseRuleSet(
    measure="error_rate",
    limit=0.5,
    window_seconds=600,
    at_least=10,
    flow_type="discovery",
    pause_running=True,
    reason="care",
)
TRIPPED = PauseRuleTripped(
    figures=FIGURES,
    message="8 of 12 attempts failed within 0:10:00 h (67%, limit 50%)",
    standing_pause_id=STANDING_PAUSE_ID,
    operation_id=OPERATION_ID,
)
OPERATION: tuple[FleetEvent, ...] = (
    STARTED,
    OperationListed(total=3, position="mfo:42"),
    OperationPaused(reason="lunch"),
    OperationResumed(reason="back"),
    OperationCancelled(reason="enough", error_code="too_many_flows"),
    OperationCompleted(accepted=1, refused=1, parked=1),
)
STANDING_PAUSE: tuple[FleetEvent, ...] = (HELD, StandingPauseRemoved(reason="done", operation_id=OPERATION_ID))
PAUSE_RULE: tuple[FleetEvent, ...] = (RULE, TRIPPED, PauseRuleArmed(reason="again"), PauseRuleDeleted(reason="enough"))
HISTORIES: dict[type[AnySubject], tuple[FleetEvent, ...]] = {
    Operation: OPERATION,
    StandingPause: STANDING_PAUSE,
    PauseRule: PAUSE_RULE,
}
IDS: dict[type[AnySubject], UUID] = {
    Operation: OPERATION_ID,
    StandingPause: STANDING_PAUSE_ID,
    PauseRule: PAUSE_RULE_ID,
}
EVENTS = (*OPERATION, *STANDING_PAUSE, *PAUSE_RULE)


def subject_of(kind: type[AnySubject], *facts: FleetEvent) -> Any:
    """What has this history."""
    history = [FleetRecorded(IDS[kind], version, meta(), fact) for version, fact in enumerate(facts, 1)]
    return fold(kind(id=IDS[kind]), history)


@dataclass
class Given:
    """An operation, a standing pause or a rule with a history."""

    subject: AnySubject

    def when(self, command: FleetCommand, *, expected_version: int | None = None, asked: Meta | None = None) -> Then:
        """What it answers to a command."""
        try:
            story = decide(self.subject, command, asked or meta(), TYPES, expected_version=expected_version)
        except MfoError as error:
            return Then(self.subject, None, error)
        return Then(self.subject, story, None)


@dataclass
class Then:
    """The answer: facts, silence or a refusal."""

    before: AnySubject
    story: FleetStory | None
    error: MfoError | None

    @property
    def subject(self) -> Any:
        assert self.story is not None, self.error
        return self.story.subject

    def then(self, *facts: FleetEvent) -> Then:
        """These facts and no others."""
        assert self.story is not None, self.error
        assert [each.fact for each in self.story.facts] == list(facts)
        replayed = self.before
        for each in self.story.facts:
            replayed = evolve(replayed, each)
        assert replayed == self.story.subject
        return self

    def then_nothing(self) -> None:
        """Silence."""
        self.then()

    def then_refused(
        self, error: type[MfoError], *, allowed: list[str] | None = None, field: str | None = None
    ) -> None:
        """It says no, with this reason and what it takes instead."""
        assert type(self.error) is error, self.error or self.story
        assert self.error is not None
        assert self.error.detail
        if allowed is not None:
            assert list(self.error.allowed) == allowed
        if field is not None:
            assert field in [one.field for one in self.error.errors]


def given(kind: type[AnySubject], *facts: FleetEvent) -> Given:
    """What this has happened to; without facts there is none yet."""
    return Given(subject_of(kind, *facts))
