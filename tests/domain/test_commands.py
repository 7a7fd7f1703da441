"""What a command may hold."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from domain.commands import INTERNAL, PUBLIC, CreateFlow, ExecutePhase, PauseFlow, ProvideInput, Tenant, tenant_from
from domain.errors import TenantMissing
from tests.examples import CLIENT, COMMANDS, ENGAGEMENT, FLOW_ID
from tests.spec import raises

CREATE: dict[str, Any] = {"flow_id": str(FLOW_ID), "flow_type": "discovery", "flow_name": "D"}


def deep(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels):
        value = {"inner": value}
    return value


@pytest.mark.parametrize(
    "wrong",
    [
        {"color": "red"},
        {"flow_name": ""},
        {"flow_name": "x" * 256},
        {"flow_name": "a\x00b"},
        {"flow_id": "42"},
        {"flow_tags": ["x"] * 51},
        {"initial_data": {"text": "a\x00b"}},
        {"initial_data": {"a\x00b": 1}},
        {"initial_data": {"list": [{"text": "a\x00b"}]}},
        {"initial_data": deep(70)},
        {"initial_data": []},
        {"options": {"timeout_seconds": 0}},
        {"options": {"max_retries": -1}},
        {"options": {"speed": "fast"}},
    ],
    ids=str,
)
def test_a_wrong_body_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        CreateFlow.model_validate({**CREATE, **wrong})


def test_only_type_and_name_are_required() -> None:
    created = CreateFlow.model_validate(CREATE)
    assert (created.initial_data, created.options.auto_execute) == ({}, False)
    assert ExecutePhase.model_validate({"flow_id": str(FLOW_ID)}).phase_name is None
    assert PauseFlow.model_validate({"flow_id": str(FLOW_ID)}).reason is None


def test_an_option_that_is_left_out_is_none() -> None:
    given = ExecutePhase.model_validate({"flow_id": str(FLOW_ID), "options": {"max_retries": 0}}).options
    assert given.model_dump(exclude_none=True) == {"max_retries": 0}


def test_an_answer_is_all_its_fields_but_flow_and_reason() -> None:
    answer = ProvideInput.model_validate({"flow_id": str(FLOW_ID), "reason": "known", "mappings": {"VM": "name"}})
    assert (answer.values, answer.reason) == ({"mappings": {"VM": "name"}}, "known")
    with pytest.raises(ValidationError):
        ProvideInput.model_validate({"flow_id": str(FLOW_ID), "text": "a\x00b"})


def test_every_command_has_an_example() -> None:
    assert {type(command).__name__ for command in COMMANDS} == {*PUBLIC, *INTERNAL}


def test_a_tenant_is_two_uuids_and_a_user() -> None:
    assert tenant_from(str(CLIENT), str(ENGAGEMENT), " maria ") == Tenant(CLIENT, ENGAGEMENT, "maria")


@pytest.mark.parametrize(
    ("client", "engagement", "user", "named"),
    [
        (None, str(ENGAGEMENT), "maria", "client_account_id"),
        ("42", str(ENGAGEMENT), "maria", "client_account_id"),
        ("z" * 36, str(ENGAGEMENT), "maria", "client_account_id"),
        (str(CLIENT), "", "maria", "engagement_id"),
        (str(CLIENT), str(ENGAGEMENT), None, "user_id"),
        (str(CLIENT), str(ENGAGEMENT), "u" * 256, "user_id"),
        (str(CLIENT), str(ENGAGEMENT), "a\x00b", "user_id"),
    ],
)
def test_a_tenant_that_is_not_whole_is_refused_by_name(
    client: str | None, engagement: str | None, user: str | None, named: str
) -> None:
    with raises(TenantMissing, named):
        tenant_from(client, engagement, user)
