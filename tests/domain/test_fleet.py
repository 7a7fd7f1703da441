"""What operations, standing pauses and rules answer."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest
from msgspec.structs import replace
from pydantic import ValidationError

from domain.commands import CreateFlow, CreateOptions
from domain.decide import decide as decide_flow
from domain.deciding.following import next_action
from domain.errors import (
    IdInUse,
    NotInThisState,
    NotSupported,
    OperationInvalid,
    OperationNotFound,
    PauseRuleNotFound,
    StandingPauseNotFound,
    VersionMoved,
)
from domain.events import FlowCreated, FlowPaused
from domain.fleet.commands import (
    VERBS,
    ArmPauseRule,
    BeginOperation,
    CancelOperation,
    DeletePauseRule,
    FlowFilter,
    ImposeStandingPause,
    PauseOperation,
    RemoveStandingPause,
    ReportDone,
    ReportListed,
    ResumeOperation,
    SetPauseRule,
    SetStandingPause,
    StartOperation,
    TripPauseRule,
    arguments_of,
    flow_command_id,
    new_id,
)
from domain.fleet.events import (
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
from domain.fleet.rules import figures_of, message_of, trips
from domain.fleet.subjects import Operation, PauseRule, StandingPause, State, allowed, follow_up_id, owes, view
from domain.flow import Flow
from domain.telling import News, news_of
from domain.words import SYSTEM_USER, Status
from tests import examples
from tests.fleet import (
    HELD,
    OPERATION_ID,
    PAUSE_RULE_ID,
    RULE,
    STANDING_PAUSE_ID,
    STARTED,
    TRIPPED,
    given,
    subject_of,
)
from tests.spec import FLOW_ID, TYPES, meta

PAUSED, LISTED = OperationPaused(reason="lunch"), OperationListed(total=3, position="mfo:42")


def start(**fields: Any) -> StartOperation:
    body = {"operation_id": OPERATION_ID, "verb": "pause", "filter": {"all": True}, **fields}
    return StartOperation.model_validate(body)


# which flows


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({}, "say which flows"),
        ({"all": False}, "say which flows"),
        ({"all": True, "tag": "x"}, "all goes alone"),
        ({"colour": "red"}, "Extra inputs"),
        ({"status": "asleep"}, "is no status"),
        ({"type": []}, "at least 1"),
        ({"created_after": "yesterday"}, "ISO 8601"),
    ],
)
def test_a_filter_that_says_nothing_or_nonsense_is_refused(wanted: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        FlowFilter.model_validate(wanted)


def test_a_filter_takes_one_or_a_list_and_the_other_names_of_things() -> None:
    wanted = FlowFilter.model_validate({"type": "Discovery", "status": ["running", "paused"]})
    assert (wanted.type, wanted.status) == (("discovery",), ("processing", "paused"))


# operations


def test_an_operation_starts_with_what_it_asks_of_which_flows() -> None:
    asked = start(
        filter={"type": "discovery", "engagement": str(examples.ENGAGEMENT)}, reason="rest", rate_per_second=5.0
    )
    then = given(Operation).when(asked)
    then.then(
        OperationStarted(
            verb="pause",
            filter={"type": ["discovery"], "engagement": str(examples.ENGAGEMENT)},
            reason="rest",
            rate_per_second=5.0,
        )
    )
    assert (then.subject.state, then.subject.created_by, owes(then.subject)) == (State.RUNNING, "maria", True)
    assert FlowFilter.model_validate(then.subject.filter) == asked.filter


def test_an_operation_that_follows_from_something_says_from_what() -> None:
    asked = BeginOperation(operation_id=OPERATION_ID, verb="resume", filter=FlowFilter(all=True), cause={"x": "y"})
    given(Operation).when(asked).then(OperationStarted(verb="resume", filter={"all": True}, cause={"x": "y"}))


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"filter": {"type": "unheard_of"}}, "filter.type"),
        ({"filter": {"engagement": str(uuid4())}}, "filter.engagement"),
        ({"arguments": {"reason": "twice"}}, "arguments.reason"),
        ({"arguments": {"flow_id": str(uuid4())}}, "arguments.flow_id"),
        ({"arguments": {"speed": 1}}, "arguments.speed"),
        ({"verb": "rollback", "arguments": {"checkpoint_id": "none"}}, "arguments.checkpoint_id"),
    ],
)
def test_an_operation_whose_parts_do_not_fit_is_refused_by_field(fields: dict[str, Any], field: str) -> None:
    given(Operation).when(start(**fields)).then_refused(OperationInvalid, field=field)


def test_a_dry_run_is_no_command() -> None:
    given(Operation).when(start(dry_run=True)).then_refused(NotSupported, field="dry_run")


def test_an_id_is_taken_once() -> None:
    given(Operation, STARTED).when(start()).then_refused(IdInUse)


def test_every_verb_makes_its_command_and_takes_a_reason_where_it_can() -> None:
    for verb, command in VERBS.items():
        given(Operation).when(start(verb=verb, reason="rest"))
        fields = arguments_of(verb, {}, "rest")
        assert command.model_validate({**fields, "flow_id": FLOW_ID})
        assert ("reason" in fields) == ("reason" in command.model_fields)
    assert arguments_of("pause", {}, None) == {}


def test_an_operation_is_paused_and_resumed() -> None:
    given(Operation, STARTED).when(PauseOperation(operation_id=OPERATION_ID, reason="lunch")).then(PAUSED)
    paused = given(Operation, STARTED, LISTED, PAUSED)
    paused.when(PauseOperation(operation_id=OPERATION_ID)).then_nothing()
    assert (paused.subject.changed_because, owes(paused.subject), allowed(paused.subject)) == (
        "lunch",
        False,
        ["resume", "cancel"],
    )
    paused.when(ResumeOperation(operation_id=OPERATION_ID)).then(OperationResumed())
    running = given(Operation, STARTED)
    running.when(ResumeOperation(operation_id=OPERATION_ID)).then_refused(NotInThisState, allowed=["pause", "cancel"])


def test_an_operation_is_cancelled_and_then_takes_nothing() -> None:
    for facts in ((STARTED,), (STARTED, PAUSED)):
        given(Operation, *facts).when(CancelOperation(operation_id=OPERATION_ID)).then(OperationCancelled())
    over = given(Operation, STARTED, OperationCancelled())
    over.when(CancelOperation(operation_id=OPERATION_ID)).then_nothing()
    over.when(PauseOperation(operation_id=OPERATION_ID)).then_refused(NotInThisState, allowed=[])
    over.when(ReportListed(operation_id=OPERATION_ID, total=1, position="mfo:1", most=9)).then_nothing()
    over.when(ReportDone(operation_id=OPERATION_ID, accepted=1, refused=0, parked=0)).then_nothing()


def test_an_operation_is_told_its_flows_once_and_when_all_were_asked() -> None:
    listed = ReportListed(operation_id=OPERATION_ID, total=3, position="mfo:42", most=3)
    given(Operation, STARTED).when(listed).then(LISTED)
    given(Operation, STARTED, LISTED).when(listed).then_nothing()
    done = ReportDone(operation_id=OPERATION_ID, accepted=1, refused=2, parked=0)
    then = given(Operation, STARTED, LISTED).when(done).then(OperationCompleted(accepted=1, refused=2, parked=0))
    assert (then.subject.state, owes(then.subject), then.subject.total) == (State.COMPLETED, False, 3)


def test_an_operation_with_too_many_flows_ends() -> None:
    listed = ReportListed(operation_id=OPERATION_ID, total=3, position="mfo:42", most=2)
    then = given(Operation, STARTED).when(listed)
    assert (then.subject.state, then.subject.error_code) == (State.CANCELLED, "too_many_flows")
    assert "2 at most" in then.subject.changed_because


def test_what_is_not_there_or_another_tenants_is_not_found() -> None:
    stranger = meta(client=uuid4())
    ask = PauseOperation(operation_id=OPERATION_ID)
    given(Operation).when(ask).then_refused(OperationNotFound)
    given(Operation, STARTED).when(ask, asked=stranger).then_refused(OperationNotFound)
    given(StandingPause).when(RemoveStandingPause(standing_pause_id=STANDING_PAUSE_ID)).then_refused(
        StandingPauseNotFound
    )
    given(PauseRule).when(ArmPauseRule(pause_rule_id=PAUSE_RULE_ID)).then_refused(PauseRuleNotFound)


def test_a_command_may_say_for_which_version_it_is() -> None:
    ask = PauseOperation(operation_id=OPERATION_ID)
    given(Operation, STARTED).when(ask, expected_version=3).then_refused(VersionMoved, allowed=["pause", "cancel"])
    given(Operation, STARTED).when(ask, expected_version=1).then(OperationPaused())


def test_ids_follow_from_what_they_belong_to() -> None:
    assert new_id(StartOperation, examples.CLIENT, "k") == new_id(StartOperation, examples.CLIENT, "k")
    assert new_id(StartOperation, examples.CLIENT, "k") != new_id(SetPauseRule, examples.CLIENT, "k")
    assert flow_command_id(OPERATION_ID, FLOW_ID) != flow_command_id(OPERATION_ID, OPERATION_ID)
    assert UUID(flow_command_id(OPERATION_ID, FLOW_ID))
    assert (start().subject_id, rule().subject_id) == (OPERATION_ID, PAUSE_RULE_ID)


def test_what_the_service_does_by_itself_leaves_the_person_who_changed_it_last() -> None:
    done = ReportDone(operation_id=OPERATION_ID, accepted=1, refused=0, parked=0)
    then = given(Operation, STARTED).when(done, asked=meta(SYSTEM_USER))
    assert then.subject.updated_by == "maria"
    assert view(then.subject)["operation_id"] == OPERATION_ID


# standing pauses


def hold(**fields: Any) -> SetStandingPause:
    return SetStandingPause.model_validate({"standing_pause_id": STANDING_PAUSE_ID, **fields})


def test_a_standing_pause_says_which_new_flows_it_holds() -> None:
    given(StandingPause).when(hold(flow_type="Discovery", reason="rest")).then(
        StandingPauseSet(flow_type="discovery", reason="rest")
    )
    given(StandingPause).when(hold(flow_type="unheard_of")).then_refused(OperationInvalid, field="flow_type")
    imposed = ImposeStandingPause(standing_pause_id=STANDING_PAUSE_ID, all=True, cause={"pause_rule_id": "r"})
    given(StandingPause).when(imposed).then(StandingPauseSet(cause={"pause_rule_id": "r"}))
    for fields in ({}, {"all": True, "tag": "x"}, {"all": False}):
        with pytest.raises(ValidationError, match="all: true alone"):
            hold(**fields)


def test_a_standing_pause_is_removed_once_and_resumes_what_it_held_if_asked() -> None:
    remove = RemoveStandingPause(standing_pause_id=STANDING_PAUSE_ID, reason="done")
    then = given(StandingPause, HELD).when(remove).then(StandingPauseRemoved(reason="done"))
    assert not owes(then.subject)
    held = given(StandingPause, HELD)
    then = held.when(remove.model_copy(update={"resume": True}))
    then.then(StandingPauseRemoved(reason="done", operation_id=follow_up_id(held.subject, "resume")))
    assert owes(then.subject)
    given(StandingPause, HELD, StandingPauseRemoved()).when(remove).then_nothing()


def create(**fields: Any) -> CreateFlow:
    given = {"flow_type": "discovery", "flow_name": "x", "options": CreateOptions(auto_execute=True), **fields}
    return CreateFlow(flow_id=FLOW_ID, **given)


@pytest.mark.parametrize(
    ("standing", "held"),
    [
        (StandingPauseSet(flow_type="discovery"), True),
        (StandingPauseSet(flow_type="assessment"), False),
        (StandingPauseSet(tag="wave-1"), True),
        (StandingPauseSet(tag="wave-2"), False),
        (StandingPauseSet(flow_type="discovery", tag="wave-1"), True),
        (StandingPauseSet(flow_type="assessment", tag="wave-1"), False),
        (StandingPauseSet(reason="night"), True),
    ],
)
def test_a_new_flow_that_matches_begins_paused_in_the_same_decision(standing: StandingPauseSet, held: bool) -> None:
    pause = subject_of(StandingPause, standing)
    story = decide_flow(Flow(id=FLOW_ID), create(flow_tags=("wave-1",)), meta(), TYPES, standing=[pause])
    facts = [type(each.fact) for each in story.facts]
    if not held:
        assert FlowPaused not in facts
        return
    assert facts == [FlowCreated, FlowPaused]
    assert story.flow.status is Status.PAUSED
    assert story.flow.paused is not None
    assert story.flow.paused.standing_pause_id == STANDING_PAUSE_ID
    action = next_action(story.flow, TYPES)
    assert action["type"] == "resume"
    assert str(STANDING_PAUSE_ID) in action["message"]


@pytest.mark.parametrize(
    ("cause", "news"), [({"pause_rule_id": str(PAUSE_RULE_ID)}, News.PAUSED_BY_RULE), ({"by": "night"}, None)]
)
def test_a_flow_that_begins_under_the_pause_of_a_rule_is_news(cause: dict[str, str], news: News | None) -> None:
    pause = subject_of(StandingPause, StandingPauseSet(cause=cause))
    story = decide_flow(Flow(id=FLOW_ID), create(), meta(), TYPES, standing=[pause])
    assert [news_of(recorded) for recorded in story.facts] == [None, news]


# rules


def rule(**fields: Any) -> SetPauseRule:
    given = {"pause_rule_id": PAUSE_RULE_ID, "measure": "error_rate", "limit": 0.5, **fields}
    return SetPauseRule.model_validate(given)


def test_a_rule_is_set_armed() -> None:
    then = given(PauseRule).when(rule(flow_type="discovery"))
    then.then(PauseRuleSet(measure="error_rate", limit=0.5, window_seconds=600, at_least=10, flow_type="discovery"))
    assert (then.subject.state, then.subject.armed, owes(then.subject)) == (State.ARMED, 1, False)
    given(PauseRule).when(rule(flow_type="unheard_of")).then_refused(OperationInvalid, field="flow_type")
    with pytest.raises(ValidationError, match="part of 1"):
        rule(limit=50)


def test_a_rule_trips_once_with_its_numbers() -> None:
    trip = TripPauseRule(pause_rule_id=PAUSE_RULE_ID, armed=1, figures={"ended": 12, "failed": 8})
    watching = given(PauseRule, RULE)
    then = watching.when(trip)
    then.then(
        PauseRuleTripped(
            figures={"ended": 12, "failed": 8, "error_rate": 0.6667, "limit": 0.5, "window_seconds": 600},
            message="8 of 12 attempts failed within 0:10:00 h (67%, limit 50%)",
            standing_pause_id=follow_up_id(watching.subject, "standing_pause"),
            operation_id=follow_up_id(watching.subject, "operation"),
        )
    )
    assert owes(then.subject)
    given(PauseRule, RULE, TRIPPED).when(trip).then_nothing()
    again = given(PauseRule, RULE, TRIPPED, PauseRuleArmed())
    again.when(trip).then_nothing()
    quiet = given(PauseRule, replace(RULE, pause_running=False)).when(trip)
    assert quiet.subject.operation_id is None


def test_a_rule_is_armed_again_by_hand_and_deleted() -> None:
    arm = ArmPauseRule(pause_rule_id=PAUSE_RULE_ID, reason="mended")
    then = given(PauseRule, RULE, TRIPPED).when(arm).then(PauseRuleArmed(reason="mended"))
    assert then.subject.armed == 3
    given(PauseRule, RULE).when(arm).then_nothing()
    delete = DeletePauseRule(pause_rule_id=PAUSE_RULE_ID)
    given(PauseRule, RULE).when(delete).then(PauseRuleDeleted())
    gone = given(PauseRule, RULE, PauseRuleDeleted())
    gone.when(delete).then_nothing()
    gone.when(arm).then_refused(NotInThisState, allowed=[])


@pytest.mark.parametrize(
    ("measure", "limit", "counted", "tripped", "said"),
    [
        ("error_rate", 0.5, {"ended": 9, "failed": 9}, False, "9 of 9 attempts failed"),
        ("error_rate", 0.5, {"ended": 10, "failed": 5}, False, "(50%, limit 50%)"),
        ("error_rate", 0.5, {"ended": 10, "failed": 6}, True, "6 of 10"),
        ("error_rate", 0.5, {}, False, "0 of 0"),
        ("tokens", 1000.0, {"tokens_used": 1000}, False, "1000 tokens were used"),
        ("tokens", 1000.0, {"tokens_used": 1001}, True, "limit 1000"),
        ("flows_begun", 3.0, {"flows_begun": 2}, False, "2 flows were begun"),
        ("flows_begun", 3.0, {"flows_begun": 3}, True, "limit 3"),
        ("slow_runs", 2.0, {"slow_runs": 1}, False, "1 run took longer than 90 s"),
        ("slow_runs", 2.0, {"slow_runs": 2}, True, "limit 2"),
    ],
)
def test_a_rule_passes_its_limit(measure: str, limit: float, counted: dict[str, int], tripped: bool, said: str) -> None:
    watching = subject_of(PauseRule, replace(RULE, measure=measure, limit=limit, slower_than_seconds=90.0))
    assert trips(watching, counted) is tripped
    assert said in message_of(watching, figures_of(watching, counted))


def test_a_rule_that_only_alerts_pauses_nothing() -> None:
    trip = TripPauseRule(pause_rule_id=PAUSE_RULE_ID, armed=1, figures={"slow_runs": 3})
    watched = replace(
        RULE, measure="slow_runs", limit=3.0, slower_than_seconds=2.5, alert_only=True, pause_running=False
    )
    then = given(PauseRule, watched).when(trip)
    figures = {"slow_runs": 3, "slower_than_seconds": 2.5, "limit": 3.0, "window_seconds": 600}
    said = "3 runs took longer than 2.5 s within 0:10:00 h (limit 3)"
    then.then(PauseRuleTripped(figures=figures, message=said))
    assert not owes(then.subject)
    assert allowed(then.subject) == ["arm", "delete"]


@pytest.mark.parametrize(
    "fields",
    [
        {"measure": "slow_runs", "limit": 3},
        {"measure": "tokens", "limit": 3, "slower_than_seconds": 1},
        {"alert_only": True, "pause_running": True},
    ],
)
def test_what_a_rule_says_must_fit_together(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        rule(**fields)
