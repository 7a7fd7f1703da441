"""What a command may hold."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from pydantic import ValidationError

from domain.commands import (
    INTERNAL,
    MAX_DEPTH,
    PUBLIC,
    Command,
    CreateFlow,
    ExecutePhase,
    PauseFlow,
    ProvideInput,
    SignalFlow,
    StartIteration,
    Tenant,
    tenant_from,
)
from domain.errors import TenantMissing
from tests.examples import CLIENT, COMMANDS, ENGAGEMENT, FLOW_ID
from tests.spec import raises

CREATE: dict[str, Any] = {"flow_id": str(FLOW_ID), "flow_type": "discovery", "flow_name": "D"}

OTHER = UUID("abcdefab-cdef-4abc-8def-abcdefabcdef")


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
        {"flow_name": " \t "},
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
        {"options": {"max_retries": 101}},
        {"options": {"max_retries": True}},
        {"options": {"max_retries": "2"}},
        {"options": {"timeout_seconds": 86_401}},
        {"options": {"timeout_seconds": True}},
        {"options": {"timeout_seconds": "300"}},
        {"options": {"retry_on_failure": "no"}},
        {"options": {"save_checkpoints": 0}},
        {"options": {"auto_execute": "yes"}},
        {"flow_description": "x" * 4001},
        {"flow_tags": ["x" * 101]},
        {"flow_tags": [""]},
        {"flow_tags": ["a\x00b"]},
        {"parent_flow_id": "42"},
        {"dependent_flow_ids": ["42"]},
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


def test_null_is_what_is_left_out() -> None:
    nothing = dict.fromkeys(
        ("flow_description", "flow_tags", "initial_data", "options", "parent_flow_id", "dependent_flow_ids")
    )
    assert CreateFlow.model_validate(CREATE | nothing) == CreateFlow.model_validate(CREATE)
    here = {"flow_id": str(FLOW_ID)}
    nothing = dict.fromkeys(("phase_name", "inputs", "options"))
    assert ExecutePhase.model_validate(here | nothing) == ExecutePhase.model_validate(here)
    nothing = dict.fromkeys(("phase_name", "inputs", "reason"))
    assert StartIteration.model_validate(here | nothing) == StartIteration.model_validate(here)


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
        (f"{{{CLIENT}}}", str(ENGAGEMENT), "maria", "client_account_id"),
        (CLIENT.hex, str(ENGAGEMENT), "maria", "client_account_id"),
        ("333_3333-3333-4333-8333-333333333333", str(ENGAGEMENT), "maria", "client_account_id"),
        (str(CLIENT), "42", "maria", "engagement_id"),
        (str(CLIENT), str(ENGAGEMENT), "  ", "user_id"),
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


def test_what_is_missing_of_a_tenant_is_called_as_the_sender_calls_it() -> None:
    called = ("X-Client-Account-ID", "X-Engagement-ID", "X-User-ID")
    with raises(TenantMissing, "X-Client-Account-ID is missing; send it as a UUID"):
        tenant_from(None, str(ENGAGEMENT), "maria", called)
    with raises(TenantMissing, "X-Engagement-ID is not a UUID; send it as a UUID"):
        tenant_from(str(CLIENT), "42", "maria", called)
    with raises(TenantMissing, "X-User-ID is missing"):
        tenant_from(str(CLIENT), str(ENGAGEMENT), None, called)


def test_a_tenant_is_the_same_in_capitals() -> None:
    tenant = tenant_from(f" {str(OTHER).upper()} ", str(ENGAGEMENT), "maria")
    assert tenant.client_account_id == OTHER


def test_data_may_be_nested_up_to_the_limit() -> None:
    nested = CreateFlow.model_validate({**CREATE, "initial_data": deep(MAX_DEPTH)})
    assert nested.initial_data == deep(MAX_DEPTH)
    with pytest.raises(ValidationError, match="nested deeper than 64 levels"):
        CreateFlow.model_validate({**CREATE, "initial_data": deep(MAX_DEPTH + 1)})


@pytest.mark.parametrize("kind", [kind for kind in PUBLIC.values() if kind is not ProvideInput])
def test_an_unknown_field_is_refused_by_every_command(kind: type[Command]) -> None:
    needed = {"name": "approved"} if kind is SignalFlow else {}
    body = CREATE if kind is CreateFlow else {"flow_id": str(FLOW_ID), **needed}
    assert kind.model_validate(body).flow_id == FLOW_ID
    with pytest.raises(ValidationError, match="color"):
        kind.model_validate({**body, "color": "red"})


@pytest.mark.parametrize("kind", [kind for kind in PUBLIC.values() if "reason" in kind.model_fields])
@pytest.mark.parametrize("reason", ["x" * 4001, "a\x00b", 42])
def test_a_reason_is_a_text_of_bounded_length(kind: type[Command], reason: object) -> None:
    with pytest.raises(ValidationError, match="reason"):
        kind.model_validate({"flow_id": str(FLOW_ID), "reason": reason})


@pytest.mark.parametrize("kind", [*PUBLIC.values(), *INTERNAL.values()])
def test_every_command_names_its_flow(kind: type[Command]) -> None:
    with pytest.raises(ValidationError, match="flow_id"):
        kind.model_validate({"flow_type": "discovery", "flow_name": "D"})


def test_what_workers_say_is_not_taken_from_outside() -> None:
    assert not set(PUBLIC) & set(INTERNAL)


def test_a_name_of_blanks_is_no_name() -> None:
    with pytest.raises(ValidationError, match="must not be blank"):
        CreateFlow.model_validate({"flow_id": str(FLOW_ID), "flow_type": "discovery", "flow_name": "  "})
