"""A flow among flows: under a parent, above children, waiting for others, and told by those above."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest
from msgspec.structs import replace

from domain.commands import (
    CancelFlow,
    CreateOptions,
    DeleteFlow,
    FollowParent,
    PauseFlow,
    ReportChild,
    ReportDependency,
    SuspendRun,
)
from domain.deciding.following import next_action
from domain.deciding.kinship import MAX_SEARCHED, named
from domain.deciding.story import allowed
from domain.errors import (
    DependencyCircular,
    DependencyNotFound,
    FlowDoesNotPause,
    FlowGated,
    FlowIsOver,
    ParentIsOver,
    ParentNotFound,
    TreeTooLarge,
)
from domain.events import (
    ChildEnded,
    ChildStarted,
    DependencyEnded,
    FlowCancelled,
    FlowCreated,
    FlowDeleted,
    FlowFailed,
    FlowPaused,
    FlowResumed,
    HookStarted,
    PhaseStarted,
    PhaseSuspended,
    StepsCompleted,
)
from domain.flow import Flow, Pause
from domain.relations import MAX_CHILDREN, Child, Dependency
from domain.view import row
from domain.words import Status
from tests.examples import (
    CANCELLED,
    CHILD_ENDED,
    CHILD_ID,
    CHILD_STARTED,
    CLIENT,
    CREATE,
    CREATE_AUTO,
    CREATED,
    DELETED,
    ENGAGEMENT,
    EXECUTE,
    FAILED,
    FINISHED,
    FLOW_ID,
    OTHER_CLIENT,
    OTHER_ID,
    PARENT_ID,
    PAUSE,
    PAUSED,
    QUIET,
    RESUME,
    RUN_ID,
    STARTED,
)
from tests.spec import MIDDAY, TYPES, Given, Then, after, complete, given, meta

ROOT_ID = UUID("99999999-9999-4999-8999-999999999999")
UNDER = CREATE.model_copy(update={"parent_flow_id": PARENT_ID})
GATED = replace(QUIET, dependent_flow_ids=(OTHER_ID,))
AFTER_OTHER = CREATE.model_copy(update={"dependent_flow_ids": (OTHER_ID,)})


def another(flow_id: UUID = PARENT_ID, **fields: object) -> Flow:
    """A flow beside, of the same tenant."""
    known = {"version": 1, "client_account_id": CLIENT, "engagement_id": ENGAGEMENT, "flow_type": "two_steps", **fields}
    return Flow(id=flow_id, **known)  # type: ignore[arg-type]


def waiting_for(*flow_ids: UUID) -> tuple[Dependency, ...]:
    return tuple(Dependency(flow_id=flow_id) for flow_id in flow_ids)


def gated(policy: str | None = None, *, auto: bool = True, **options: object) -> FlowCreated:
    """A flow that waits for another, with what follows where that one does not complete."""
    given_options = {**options, **({"on_dependency_failure": policy} if policy else {})}
    return replace(GATED, auto_execute=auto, options=given_options)


def reported(status: str, flow_id: UUID = OTHER_ID) -> ReportDependency:
    return ReportDependency(flow_id=FLOW_ID, dependency_flow_id=flow_id, status=status)


def told(verb: str, by: UUID = PARENT_ID, paused_by: tuple[UUID, ...] = ()) -> FollowParent:
    return FollowParent.model_validate(
        {"flow_id": FLOW_ID, "verb": verb, "by_flow_id": by, "paused_by": paused_by, "reason": "all of it"}
    )


# under a parent


def test_a_child_knows_all_that_stand_above_it() -> None:
    then = given().when(UNDER, others=(another(ancestors=(ROOT_ID,)),)).then(FlowCreated)
    assert isinstance(then.facts[0], FlowCreated)
    assert (then.facts[0].parent_flow_id, then.facts[0].ancestors) == (PARENT_ID, (ROOT_ID, PARENT_ID))
    assert row(then.flow, TYPES)["parent_flow_id"] == PARENT_ID


@pytest.mark.parametrize(
    "others",
    [
        (),
        (Flow(id=PARENT_ID),),
        (another(client_account_id=OTHER_CLIENT),),
        (another(engagement_id=uuid4()),),
    ],
)
def test_a_parent_that_is_not_the_tenants_is_not_there(others: tuple[Flow, ...]) -> None:
    given().when(UNDER, others=others).then_refused(ParentNotFound, fields=["parent_flow_id"])


@pytest.mark.parametrize("status", [Status.COMPLETED, Status.CANCELLED, Status.DELETED])
def test_a_parent_that_is_over_takes_no_more_children(status: Status) -> None:
    error = given().when(UNDER, others=(another(status=status),)).then_refused(ParentIsOver)
    assert status in error.detail


def test_a_tree_has_eight_levels_at_most() -> None:
    above = tuple(uuid4() for _ in range(6))
    given().when(UNDER, others=(another(ancestors=above),)).then(FlowCreated)
    given().when(UNDER, others=(another(ancestors=(*above, uuid4())),)).then_refused(TreeTooLarge)


def test_a_parent_has_a_thousand_children_at_most() -> None:
    children = tuple(Child(flow_id=UUID(int=n)) for n in range(MAX_CHILDREN))
    given().when(UNDER, others=(another(children=children),)).then_refused(TreeTooLarge)


@pytest.mark.parametrize("by", [None, ROOT_ID])
def test_a_child_of_a_paused_tree_begins_paused(by: UUID | None) -> None:
    pause = Pause(by="maria", at=MIDDAY, reason="lunch", tree=True, by_flow_id=by, timers="running")
    create = UNDER.model_copy(update={"options": CREATE_AUTO.options})
    then = given().when(create, others=(another(paused=pause, ancestors=(ROOT_ID,)),))
    then.then(FlowCreated, FlowPaused(reason="lunch", timers="running", by_flow_id=by or PARENT_ID))


def test_a_pause_further_up_reaches_a_new_child_but_one_of_a_single_flow_does_not() -> None:
    alone = Pause(by="maria", at=MIDDAY, reason=None)
    parent = another(paused=alone, ancestors=(ROOT_ID,))
    given().when(UNDER, others=(parent,)).then(FlowCreated)
    root = another(ROOT_ID, paused=replace(alone, tree=True))
    given().when(UNDER, others=(parent, root)).then(FlowCreated, FlowPaused(by_flow_id=ROOT_ID))


# above children


def test_a_parent_notes_that_a_child_began_and_how_it_ended() -> None:
    began = ReportChild(flow_id=FLOW_ID, child_flow_id=CHILD_ID)
    then = given(CREATED).when(began).then(CHILD_STARTED)
    assert then.flow.children == (Child(flow_id=CHILD_ID),)
    ended = began.model_copy(update={"status": "completed", "outputs": {"rows": 3}})
    then = given(CREATED, CHILD_STARTED).when(ended).then(CHILD_ENDED)
    assert row(then.flow, TYPES)["child_flow_ids"] == [str(CHILD_ID)]
    given(CREATED).when(ended).then(CHILD_STARTED, CHILD_ENDED)


def test_the_same_report_again_says_nothing_and_what_completed_stays_completed() -> None:
    began = ReportChild(flow_id=FLOW_ID, child_flow_id=CHILD_ID)
    given(CREATED, CHILD_STARTED).when(began).then_nothing()
    failed = began.model_copy(update={"status": "failed"})
    ill = ChildEnded(child_flow_id=CHILD_ID, status="failed")
    given(CREATED, CHILD_STARTED, ill).when(failed).then_nothing()
    given(CREATED, CHILD_STARTED, ill).when(began.model_copy(update={"status": "completed"})).then(ChildEnded)
    gone = began.model_copy(update={"status": "deleted"})
    given(CREATED, CHILD_STARTED, CHILD_ENDED).when(gone).then_nothing()


def test_of_several_children_each_has_its_own_end() -> None:
    second = ChildStarted(child_flow_id=OTHER_ID)
    flow = given(CREATED, CHILD_STARTED, second, CHILD_ENDED).flow
    assert [child.status for child in flow.children] == ["completed", None]


@pytest.mark.parametrize("end", [FINISHED, CANCELLED, DELETED])
def test_a_parent_that_is_over_passes_over_what_its_children_do(end: object) -> None:
    given(CREATED, end).when(ReportChild(flow_id=FLOW_ID, child_flow_id=CHILD_ID)).then_nothing()  # type: ignore[arg-type]


# told by those above


def test_a_verb_that_reaches_a_flow_from_above_says_from_where() -> None:
    given(QUIET).when(told("pause")).then(FlowPaused(reason="all of it", by_flow_id=PARENT_ID))
    given(QUIET).when(told("cancel")).then(FlowCancelled(reason="all of it", by_flow_id=PARENT_ID))
    given(QUIET).when(told("delete")).then(FlowDeleted(reason="all of it", by_flow_id=PARENT_ID))


def test_resuming_a_tree_resumes_what_its_pause_had_paused() -> None:
    by_parent = FlowPaused(by_flow_id=PARENT_ID)
    resumed = FlowResumed(reason="all of it", by_flow_id=PARENT_ID, paused_by=PARENT_ID)
    given(QUIET, by_parent).when(told("resume", paused_by=(PARENT_ID,))).then(resumed)
    # a person's own pause stays, and so does that of another flow above
    given(QUIET, PAUSED).when(told("resume", paused_by=(PARENT_ID,))).then_nothing()
    given(QUIET, FlowPaused(by_flow_id=ROOT_ID)).when(told("resume", paused_by=(PARENT_ID,))).then_nothing()
    given(QUIET).when(told("resume", paused_by=(PARENT_ID,))).then_nothing()


def test_a_person_may_resume_what_a_tree_paused_and_the_event_says_whose_pause_it_was() -> None:
    given(QUIET, FlowPaused(by_flow_id=ROOT_ID)).when(RESUME).then(FlowResumed(paused_by=ROOT_ID))


def test_a_whole_tree_waits_for_a_phase_that_cannot_be_paused() -> None:
    patient = replace(CREATED, flow_type="patient", phases=CREATED.phases[:1])
    patient = replace(patient, phases=(replace_name(patient, "only"),))
    running = replace(STARTED, phase_name="only")
    then = given(patient, running).when(told("pause"))
    then.then(FlowPaused(reason="all of it", draining=True, by_flow_id=PARENT_ID))


def replace_name(created: FlowCreated, name: str) -> object:
    return type(created.phases[0])(name, 1.0)


def test_what_cannot_be_undone_is_cancelled_all_the_same_when_a_flow_above_it_is() -> None:
    flow = after(CREATE_AUTO.model_copy(update={"flow_type": "back"}))
    for _ in range(3):
        flow = Given(flow.when(complete(flow.flow)).flow)
    assert flow.flow.current_phase == "ship"
    undo = told("cancel").model_copy(update={"compensate": True})
    answer = flow.when(undo).flow
    assert (answer.status, answer.undoing) == (Status.CANCELLED, None)


def test_what_cannot_follow_says_so() -> None:
    steady = after(CREATE.model_copy(update={"flow_type": "steady"}))
    steady.when(told("pause")).then_refused(FlowDoesNotPause)
    given(QUIET, FINISHED).when(told("cancel")).then_refused(FlowIsOver)


@pytest.mark.parametrize(
    ("command", "fact"),
    [
        (PAUSE, FlowPaused(reason="lunch", tree=False)),
        (CancelFlow(flow_id=FLOW_ID), FlowCancelled(tree=False)),
        (DeleteFlow(flow_id=FLOW_ID), FlowDeleted(tree=False)),
    ],
)
def test_a_verb_may_be_for_one_flow_alone(command: PauseFlow, fact: FlowPaused) -> None:
    given(QUIET).when(command.model_copy(update={"tree": False})).then(fact)
    given(QUIET).when(command.model_copy(update={"tree": True})).then(replace(fact, tree=True))


def test_resuming_may_be_for_one_flow_alone() -> None:
    given(QUIET, PAUSED).when(RESUME.model_copy(update={"tree": False})).then(FlowResumed(tree=False))


# waiting for others


def test_a_flow_that_waits_for_others_does_not_begin() -> None:
    create = AFTER_OTHER.model_copy(update={"options": CREATE_AUTO.options, "dependent_flow_ids": (OTHER_ID, OTHER_ID)})
    then = given().when(create, others=(another(OTHER_ID),)).then(FlowCreated)
    assert then.flow.status is Status.INITIALIZED
    action = next_action(then.flow, TYPES)
    assert (action["type"], action["message"]) == ("wait", f"First waits until {OTHER_ID} has completed")
    assert allowed(then.flow, TYPES) == ["pause", "cancel", "delete"]
    assert row(then.flow, TYPES)["dependent_flow_ids"] == [str(OTHER_ID)]


def test_a_flow_waits_for_none_that_is_complete_already() -> None:
    create = AFTER_OTHER.model_copy(update={"options": CREATE_AUTO.options})
    ended = another(OTHER_ID, status=Status.COMPLETED)
    given().when(create, others=(ended,)).then(FlowCreated, DependencyEnded, PhaseStarted)


def test_what_is_waited_for_must_be_there() -> None:
    error = given().when(AFTER_OTHER, others=(another(OTHER_ID, client_account_id=OTHER_CLIENT),))
    error.then_refused(DependencyNotFound, fields=["dependent_flow_ids"])


def test_execute_is_refused_naming_those_that_are_waited_for() -> None:
    error = given(GATED).when(EXECUTE).then_refused(FlowGated, allowed=["pause", "cancel", "delete"])
    assert str(OTHER_ID) in error.detail


def test_the_last_one_that_completes_opens_the_gate() -> None:
    second = uuid4()
    two = replace(gated(), dependent_flow_ids=(OTHER_ID, second))
    given(two).when(reported("completed")).then(DependencyEnded)
    first = DependencyEnded(dependency_flow_id=OTHER_ID, status="completed")
    given(two, first).when(reported("completed", second)).then(DependencyEnded, PhaseStarted)
    given(gated(auto=False)).when(reported("completed")).then(DependencyEnded)


def test_reports_that_change_nothing_say_nothing() -> None:
    done = DependencyEnded(dependency_flow_id=OTHER_ID, status="completed")
    given(gated(), done).when(reported("deleted")).then_nothing()
    given(gated()).when(reported("completed", uuid4())).then_nothing()
    ill = replace(done, status="failed")
    given(gated(), ill).when(reported("failed")).then_nothing()
    given(gated(), CANCELLED).when(reported("completed")).then_nothing()


def test_one_that_fails_holds_the_flow_and_says_so() -> None:
    then = given(gated()).when(reported("failed")).then(DependencyEnded)
    message = next_action(then.flow, TYPES)["message"]
    assert message == f"First waits until {OTHER_ID} (failed) has completed; complete it there, or cancel this flow"
    failed = DependencyEnded(dependency_flow_id=OTHER_ID, status="failed")
    given(gated(), failed).when(reported("completed")).then(DependencyEnded, PhaseStarted)


def test_where_it_does_not_matter_the_flow_goes_on() -> None:
    given(gated("ignore")).when(reported("cancelled")).then(DependencyEnded, PhaseStarted)


def test_where_it_matters_most_the_flow_fails() -> None:
    then = given(gated("fail")).when(reported("cancelled")).then(DependencyEnded, FlowFailed)
    assert then.flow.error is not None
    assert then.flow.error["code"] == "dependency_failed"
    # what fails later finds it failed, and what completes after all leaves it to a person
    facts = then.facts
    again = given(replace(gated("fail"), dependent_flow_ids=(OTHER_ID, CHILD_ID)), *facts)
    again.when(reported("failed", CHILD_ID)).then(DependencyEnded)
    given(gated("fail"), *facts).when(reported("completed")).then(DependencyEnded)
    given(gated("fail"), *facts).when(EXECUTE).then_refused(FlowGated)


def test_error_hooks_hear_of_it() -> None:
    hooked = replace(gated("fail"), flow_type="hooked")
    phases = tuple(type(phase)(name, 1.0) for phase, name in zip(hooked.phases, ("opening", "closing"), strict=True))
    given(replace(hooked, phases=phases)).when(reported("failed")).then(DependencyEnded, FlowFailed, HookStarted)


def test_a_flow_made_after_one_that_failed_fails_at_once_where_it_should() -> None:
    create = AFTER_OTHER.model_copy(update={"options": CreateOptions(auto_execute=True, on_dependency_failure="fail")})
    ended = another(OTHER_ID, status=Status.FAILED)
    given().when(create, others=(ended,)).then(FlowCreated, DependencyEnded, FlowFailed)


def test_a_gate_that_opens_while_the_flow_is_paused_lets_it_begin_when_resumed() -> None:
    done = DependencyEnded(dependency_flow_id=OTHER_ID, status="completed")
    given(gated(), PAUSED).when(reported("completed")).then(DependencyEnded)
    given(gated(), PAUSED, done).when(RESUME).then(FlowResumed, PhaseStarted)
    resumed = given(gated(), PAUSED).when(RESUME).then(FlowResumed)
    assert resumed.flow.status is Status.INITIALIZED


def test_a_start_that_was_set_waits_for_the_gate_too() -> None:
    flow = given(gated(start_after_seconds=60)).flow
    assert flow.timers == {}
    later = given(gated(start_after_seconds=60)).when(reported("completed"), asked=meta(seconds=20))
    later.then(DependencyEnded)
    assert later.flow.timers["start"].delay_seconds == 40
    past = given(gated(start_after_seconds=60)).when(reported("completed"), asked=meta(seconds=70))
    past.then(DependencyEnded, PhaseStarted)
    # a pause before the gate opens leaves the start as it is
    resumed = given(gated(start_after_seconds=60), PAUSED).when(RESUME).then(FlowResumed)
    assert resumed.flow.start is not None


def test_the_deadline_counts_from_when_the_gate_opens() -> None:
    assert given(gated(flow_timeout_seconds=100)).flow.deadline is None
    opened = given(gated(flow_timeout_seconds=100)).when(reported("completed"))
    assert opened.flow.deadline is not None
    assert opened.flow.timers["deadline"].delay_seconds == 100


def test_a_flow_that_failed_for_another_reason_stays_failed_when_its_gate_opens() -> None:
    given(gated(), FAILED).when(reported("completed")).then(DependencyEnded)


# circles


def test_a_child_cannot_wait_for_its_ancestor() -> None:
    root = another(ROOT_ID)
    parent = another(ancestors=(ROOT_ID,))
    create = UNDER.model_copy(update={"dependent_flow_ids": (ROOT_ID,)})
    error = given().when(create, others=(root, parent)).then_refused(DependencyCircular, fields=["dependent_flow_ids"])
    assert f"{FLOW_ID} -> {ROOT_ID} -> {PARENT_ID} -> {FLOW_ID}" in error.detail


def test_nor_for_one_that_waits_for_its_ancestor() -> None:
    middle, root = uuid4(), another(ROOT_ID)
    others = (
        root,
        another(ancestors=(ROOT_ID,)),
        another(OTHER_ID, dependencies=waiting_for(middle)),
        another(middle, dependencies=waiting_for(ROOT_ID, OTHER_ID, uuid4())),
    )
    create = UNDER.model_copy(update={"dependent_flow_ids": (OTHER_ID,)})
    error = given().when(create, others=others).then_refused(DependencyCircular)
    assert f"{FLOW_ID} -> {OTHER_ID} -> {middle} -> {ROOT_ID} -> {PARENT_ID} -> {FLOW_ID}" in error.detail


def test_nor_for_itself() -> None:
    create = CREATE.model_copy(update={"dependent_flow_ids": (FLOW_ID,)})
    given().when(create, others=(another(FLOW_ID),)).then_refused(DependencyCircular)


def test_what_has_to_be_known_is_asked_for_step_by_step() -> None:
    assert named(EXECUTE, {}) == set()
    assert named(CREATE, {}) == set()
    create = UNDER.model_copy(update={"dependent_flow_ids": (OTHER_ID,)})
    assert named(create, {}) == {PARENT_ID, OTHER_ID}
    known = {PARENT_ID: another(ancestors=(ROOT_ID,)), OTHER_ID: another(OTHER_ID, dependencies=waiting_for(CHILD_ID))}
    assert named(create, known) == {ROOT_ID, CHILD_ID}
    known |= {ROOT_ID: another(ROOT_ID), CHILD_ID: another(CHILD_ID)}
    assert named(create, known) == set()
    # without a parent there is no way back
    assert named(AFTER_OTHER, {OTHER_ID: known[OTHER_ID]}) == set()
    many = {UUID(int=n): another(UUID(int=n)) for n in range(MAX_SEARCHED)}
    assert named(create, {**many, PARENT_ID: another(), OTHER_ID: known[OTHER_ID]}) == set()


# a run that waits for children


def wait(mode: str = "all", *, stop: bool = False, flow_ids: tuple[UUID, ...] = (CHILD_ID, OTHER_ID)) -> SuspendRun:
    until = {"kind": "flows", "flow_ids": [str(each) for each in flow_ids], "mode": mode, "stop_on_failure": stop}
    return SuspendRun(flow_id=FLOW_ID, run_id=RUN_ID, token=1, name="wait:flows:1", until=until)


def ended(flow_id: UUID, status: str = "completed") -> ChildEnded:
    return ChildEnded(child_flow_id=flow_id, status=status)


def at_work(*facts: object) -> Given:
    return given(CREATED, STARTED, *facts)  # type: ignore[arg-type]


def outcome_of(then: Then) -> dict[str, str | None]:
    [results] = [fact.results for fact in then.facts if isinstance(fact, StepsCompleted)]
    flows: dict[str, str | None] = results["wait:flows:1"]["flows"]
    return flows


def test_a_run_waits_until_all_children_are_at_rest() -> None:
    waiting = at_work(ended(CHILD_ID)).when(wait()).then(PhaseSuspended)
    assert next_action(waiting.flow, TYPES)["message"] == "First waits for 2 flows"
    report = ReportChild(flow_id=FLOW_ID, child_flow_id=OTHER_ID, status="failed")
    then = Given(waiting.flow).when(report)
    then.then(ChildStarted, ChildEnded, StepsCompleted, PhaseStarted)
    assert outcome_of(then) == {str(CHILD_ID): "completed", str(OTHER_ID): "failed"}


def test_it_may_go_on_with_the_first_that_completes() -> None:
    waiting = at_work(ended(CHILD_ID, "failed")).when(wait("any")).then(PhaseSuspended)
    assert next_action(waiting.flow, TYPES)["message"] == "First waits for one of 2 flows"
    at_work(ended(CHILD_ID)).when(wait("any")).then(PhaseSuspended, StepsCompleted, PhaseStarted)
    at_work(ended(CHILD_ID, "failed"), ended(OTHER_ID, "cancelled")).when(wait("any")).then(
        PhaseSuspended, StepsCompleted, PhaseStarted
    )


def test_it_may_wait_for_none_and_learn_how_they_stand() -> None:
    then = at_work().when(wait("none")).then(PhaseSuspended, StepsCompleted, PhaseStarted)
    assert outcome_of(then) == {str(CHILD_ID): None, str(OTHER_ID): None}


def test_it_may_stop_waiting_when_one_fails() -> None:
    at_work(ended(CHILD_ID)).when(wait(stop=True)).then(PhaseSuspended)
    at_work(ended(CHILD_ID, "failed")).when(wait(stop=True)).then(PhaseSuspended, StepsCompleted, PhaseStarted)


def test_a_single_flow_is_named() -> None:
    waiting = at_work().when(wait(flow_ids=(CHILD_ID,))).then(PhaseSuspended)
    assert next_action(waiting.flow, TYPES)["message"] == f"First waits for the flow {CHILD_ID}"


@pytest.mark.parametrize(("status", "kept"), [("completed", True), ("failed", False)])
def test_who_executes_a_failed_flow_again_asks_anew_how_children_stand_that_had_failed(status: str, kept: bool) -> None:
    outcome = {"flows": {str(CHILD_ID): status}}
    steps = StepsCompleted(phase_name="first", run_id=RUN_ID, results={"wait:flows:1": outcome, "other": 1})
    again = at_work(steps, FAILED).when(EXECUTE).then(PhaseStarted)
    assert ("wait:flows:1" in again.flow.phase("first").steps) is kept
    assert again.flow.phase("first").steps["other"] == 1
