"""How a flow begins."""

from __future__ import annotations

from domain.commands import CreateFlow, CreateOptions
from domain.errors import FlowExists, TypeUnknown
from domain.events import FlowCreated, InputRequested, PhaseStarted, PlannedPhase
from domain.words import Status
from tests.examples import CLIENT, CREATE, CREATE_AUTO, CREATED, ENGAGEMENT, FLOW_ID
from tests.spec import MIDDAY, TYPES, given


def test_a_flow_is_created_with_its_types_phases() -> None:
    answer = given().when(CREATE).then(FlowCreated)
    created = answer.facts[0]
    assert isinstance(created, FlowCreated)
    assert created.phases == (PlannedPhase("first", 1.0), PlannedPhase("second", 3.0))
    assert (answer.flow.status, answer.flow.version, answer.flow.current_phase) == (Status.INITIALIZED, 1, "first")


def test_a_flow_that_goes_on_by_itself_starts_its_first_phase_in_the_same_decision() -> None:
    answer = given().when(CREATE_AUTO).then(FlowCreated, PhaseStarted)
    assert answer.flow.status is Status.PROCESSING


def test_a_flow_that_goes_on_by_itself_asks_for_what_its_first_phase_lacks() -> None:
    create = CreateFlow(flow_id=FLOW_ID, flow_type="discovery", flow_name="D", options=CreateOptions(auto_execute=True))
    answer = given().when(create).then(FlowCreated, InputRequested)
    assert answer.flow.status is Status.WAITING_FOR_INPUT
    assert answer.flow.waiting is not None
    assert answer.flow.waiting.fields == ("import_file_id",)


def test_an_alternative_satisfies_a_required_input() -> None:
    create = CreateFlow(
        flow_id=FLOW_ID,
        flow_type="Discovery",
        flow_name="D",
        initial_data={"import_file_ids": ["a", "b"]},
        options=CreateOptions(auto_execute=True),
    )
    given().when(create).then(FlowCreated, PhaseStarted)


def test_an_id_that_is_taken_is_refused() -> None:
    given(CREATED).when(CREATE).then_refused(FlowExists)


def test_an_unknown_type_is_refused_naming_the_known_ones() -> None:
    unknown = CREATE.model_copy(update={"flow_type": "security_scan"})
    given().when(unknown).then_refused(TypeUnknown, allowed=TYPES.names())


def test_who_is_to_be_told_is_kept_with_the_flow() -> None:
    asked = CREATE.model_copy(update={"options": CreateOptions(notification_emails=("team@example.com",))})
    assert given().when(asked).flow.options["notification_emails"] == ["team@example.com"]
    assert "notification_emails" not in given().when(CREATE).flow.options


def test_what_was_given_is_kept_as_it_was_given() -> None:
    asked = CreateFlow(
        flow_id=FLOW_ID,
        flow_type="two_steps",
        flow_name="Two",
        flow_description="An example",
        flow_tags=("example",),
        initial_data={"environment": "production"},
        options=CreateOptions(max_retries=1, auto_execute=True),
    )
    assert given().when(asked).facts[0] == CREATED


def test_a_flow_knows_whose_it_is() -> None:
    flow = given().when(CREATE).flow
    assert (flow.client_account_id, flow.engagement_id, flow.created_by) == (CLIENT, ENGAGEMENT, "maria")
    assert (flow.created_at, flow.updated_at, flow.correlation_id) == (MIDDAY, MIDDAY, "correlation-1")
