"""Whose flow it is."""

from __future__ import annotations

from uuid import UUID

import pytest

from domain.commands import Command, CreateFlow, ImportFlow
from domain.errors import FlowNotFound
from tests.examples import CLIENT, COMMANDS, CREATE, CREATED, ENGAGEMENT, EXECUTE, OTHER_CLIENT, STARTED
from tests.spec import after, given, meta

# which begin a flow
BEGINNING = (CreateFlow, ImportFlow)


@pytest.mark.parametrize(
    "command",
    [command for command in COMMANDS if not isinstance(command, BEGINNING)],
    ids=lambda command: type(command).__name__,
)
def test_another_tenants_flow_is_not_there(command: Command) -> None:
    other = given(CREATED, STARTED).when(command, asked=meta(client=OTHER_CLIENT)).then_refused(FlowNotFound)
    assert other.as_dict() == given().when(command).then_refused(FlowNotFound).as_dict()


@pytest.mark.parametrize(
    ("client", "engagement"), [(OTHER_CLIENT, ENGAGEMENT), (CLIENT, OTHER_CLIENT), (ENGAGEMENT, CLIENT)]
)
def test_a_tenant_is_client_and_engagement_together(client: UUID, engagement: UUID) -> None:
    after(CREATE).when(EXECUTE, asked=meta(client=client, engagement=engagement)).then_refused(FlowNotFound, allowed=[])


def test_another_user_of_the_tenant_may_act() -> None:
    answer = after(CREATE).when(EXECUTE, asked=meta("juri"))
    assert (answer.flow.created_by, answer.flow.updated_by) == ("maria", "juri")


def test_a_version_tells_a_stranger_nothing() -> None:
    for version in (1, 7):
        asked = after(CREATE).when(EXECUTE, asked=meta(client=OTHER_CLIENT), expected_version=version)
        asked.then_refused(FlowNotFound)
