"""A Kafka message read as a command, or refused with a reason; never a crash."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid5

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.messages import Sender, name_of, read, sender
from domain.commands import CreateFlow, PauseFlow, ProvideInput
from domain.errors import BodyInvalid, Invalid, MfoError

ACCOUNT, ENGAGEMENT, FLOW = UUID(int=1), UUID(int=2), UUID(int=3)
REPLIES = "mfo.replies.v1"
ATTRIBUTES = {
    "specversion": "1.0",
    "id": "c-1",
    "source": "/crm",
    "type": "mfo.command.PauseFlow.v1",
    "clientaccountid": str(ACCOUNT),
    "engagementid": str(ENGAGEMENT),
    "userid": "maria",
}
CREATE = {**ATTRIBUTES, "type": "mfo.command.CreateFlow.v1"}
BODY = b'{"flow_id": "00000000-0000-0000-0000-000000000003"}'

Headers = list[tuple[str, bytes]]


def binary(attributes: dict[str, str], **changes: str | None) -> Headers:
    given = {**attributes, **changes}
    return [(f"ce_{name}", text.encode()) for name, text in given.items() if text is not None]


def structured(attributes: dict[str, Any], data: Any = None, **changes: Any) -> tuple[Headers, bytes]:
    event = {**attributes, **changes, "data": data}
    return [("content-type", b"application/cloudevents+json; charset=utf-8")], json.dumps(event).encode()


def taken(headers: Headers, value: bytes | None, key: bytes | None = None, **options: Any) -> Any:
    return read(key, headers, value, reply_topic=REPLIES, **options)


def refused(headers: Headers, value: bytes | None, key: bytes | None = None, **options: Any) -> MfoError:
    with pytest.raises(MfoError) as caught:
        taken(headers, value, key, **options)
    return caught.value


def test_binary_mode() -> None:
    command, envelope, topic = taken(
        binary(ATTRIBUTES, subject=str(FLOW), correlationid="corr", causationid="cause", expectedversion="7"),
        b'{"flow_id": "00000000-0000-0000-0000-000000000003", "reason": "lunch"}',
        str(FLOW).encode(),
    )
    assert command == PauseFlow(flow_id=FLOW, reason="lunch")
    assert (envelope.command_id, envelope.source, envelope.expected_version) == ("c-1", "kafka", 7)
    assert (envelope.client_account_id, envelope.engagement_id, envelope.user_id) == (ACCOUNT, ENGAGEMENT, "maria")
    assert (envelope.correlation_id, envelope.causation_id) == ("corr", "cause")
    assert topic == REPLIES


def test_structured_mode() -> None:
    headers, value = structured(ATTRIBUTES, {"reason": "lunch"}, subject=str(FLOW), expectedversion=7)
    command, envelope, _ = taken(headers, value)
    assert command == PauseFlow(flow_id=FLOW, reason="lunch")
    assert envelope.expected_version == 7
    assert envelope.correlation_id == "c-1"


def test_headers_are_named_whatever_their_case() -> None:
    headers = [(name.upper(), value) for name, value in binary(ATTRIBUTES)]
    assert taken(headers, BODY).command == PauseFlow(flow_id=FLOW)


@pytest.mark.parametrize("where", ["key", "subject", "flow_id"])
def test_the_flow_may_be_named_in_one_place(where: str) -> None:
    key = str(FLOW).encode() if where == "key" else None
    headers = binary(ATTRIBUTES, subject=str(FLOW) if where == "subject" else None)
    assert taken(headers, BODY if where == "flow_id" else None, key).command.flow_id == FLOW


def test_a_new_flow_without_an_id_gets_one_that_a_repeat_gets_too() -> None:
    body = b'{"flow_type": "discovery", "flow_name": "Estate"}'
    command = taken(binary(CREATE), body).command
    assert isinstance(command, CreateFlow)
    assert command.flow_id == uuid5(ACCOUNT, "c-1")
    assert taken(binary(CREATE), body).command == command


def test_provided_values_are_the_body_itself() -> None:
    headers = binary(ATTRIBUTES, type="mfo.command.ProvideInput.v1", subject=str(FLOW))
    command = taken(headers, b'{"reason": "as asked", "colour": "red"}').command
    assert isinstance(command, ProvideInput)
    assert (command.values, command.reason) == ({"colour": "red"}, "as asked")


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (b"{", "body_not_json"),
        (b"[1]", "body_not_json"),
        (b"null", "body_not_json"),
        (b"\xff\xfe", "body_not_json"),
        (b"[" * 100_000, "body_not_json"),
        (b'{"a":' * 100_000, "body_not_json"),
        (b'{"flow_id": "x"}', "body_invalid"),
        (b'{"flow_id": 7}', "body_invalid"),
        (b"{}", "body_invalid"),
        (None, "body_invalid"),
        (b'{"flow_id": "00000000-0000-0000-0000-000000000003", "extra": 1}', "body_invalid"),
        (b'{"flow_id": "00000000-0000-0000-0000-000000000003", "reason": "a\\u0000b"}', "body_invalid"),
        (b'{"flow_id": "00000000-0000-0000-0000-000000000003", "reason": "' + b"x" * 4001 + b'"}', "body_invalid"),
    ],
)
def test_bodies_that_are_none(value: bytes | None, code: str) -> None:
    assert refused(binary(ATTRIBUTES), value).code == code


def test_a_flow_may_be_told_when_to_begin() -> None:
    body = {"flow_type": "discovery", "flow_name": "Later", "options": {"start_at": "2026-11-20T12:00:00+01:00"}}
    command, _, _ = taken(binary(CREATE), json.dumps(body).encode())
    assert command.options.start_at == datetime(2026, 11, 20, 11, tzinfo=UTC)
    body["options"] = {"start_at": "2026-11-20T12:00:00"}
    wrong = refused(binary(CREATE), json.dumps(body).encode())
    assert [error.field for error in wrong.errors] == ["options.start_at"]


def test_what_is_wrong_with_a_body_is_said_by_field() -> None:
    error = refused(binary(CREATE), b'{"flow_type": "discovery", "colour": 1}')
    assert {one.field for one in error.errors} == {"flow_name", "colour"}


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"specversion": None}, "cloudevent_invalid"),
        ({"specversion": "0.3"}, "cloudevent_invalid"),
        ({"id": None}, "cloudevent_invalid"),
        ({"id": ""}, "cloudevent_invalid"),
        ({"id": "x" * 256}, "cloudevent_invalid"),
        ({"id": "a\x00b"}, "cloudevent_invalid"),
        ({"source": None}, "cloudevent_invalid"),
        ({"type": None}, "cloudevent_invalid"),
        ({"type": "PauseFlow"}, "command_unknown"),
        ({"type": "mfo.command.CompletePhase.v1"}, "command_unknown"),
        ({"type": "mfo.command.PauseFlow.v2"}, "command_unknown"),
        ({"type": "mfo.command.PauseFlow"}, "command_unknown"),
        ({"clientaccountid": None}, "tenant_missing"),
        ({"clientaccountid": "7"}, "tenant_missing"),
        ({"engagementid": None}, "tenant_missing"),
        ({"userid": None}, "tenant_missing"),
        ({"expectedversion": "soon"}, "cloudevent_invalid"),
        ({"expectedversion": "-1"}, "cloudevent_invalid"),
        ({"expectedversion": "²"}, "cloudevent_invalid"),
        ({"expectedversion": "9" * 19}, "cloudevent_invalid"),
        ({"subject": "not an id"}, "key_mismatch"),
        ({"subject": str(UUID(int=9))}, "key_mismatch"),
        ({"replyto": "other.topic"}, "reply_topic_not_allowed"),
    ],
)
def test_attributes_that_are_wrong_in_either_mode(changes: dict[str, str | None], code: str) -> None:
    assert refused(binary(ATTRIBUTES, **changes), BODY).code == code
    headers, value = structured(ATTRIBUTES, json.loads(BODY), **changes)
    assert refused(headers, value).code == code


@pytest.mark.parametrize("attribute", ["clientaccountid", "engagementid", "userid"])
def test_the_attribute_that_a_tenant_lacks_is_named(attribute: str) -> None:
    assert refused(binary(ATTRIBUTES, **{attribute: None}), BODY).detail.startswith(f"{attribute} is missing")


def test_key_subject_and_flow_id_must_agree() -> None:
    assert refused(binary(ATTRIBUTES), BODY, str(UUID(int=9)).encode()).code == "key_mismatch"
    assert refused(binary(ATTRIBUTES), BODY, b"\xff\x00").code == "key_mismatch"
    assert refused(binary(ATTRIBUTES), BODY, b"customer-7").code == "key_mismatch"
    assert taken(binary(ATTRIBUTES, subject=str(FLOW).upper()), BODY).command.flow_id == FLOW


def test_headers_that_are_not_text() -> None:
    assert refused([*binary(ATTRIBUTES), ("trace", b"\xff\xfe")], BODY).code == "cloudevent_invalid"


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"[]",
        b'{"data_base64": "e30="}',
        b'{"id": {}}',
        b'{"id": true}',
        json.dumps({**ATTRIBUTES, "data": "text"}).encode(),
        json.dumps({**ATTRIBUTES, "data": [1]}).encode(),
    ],
)
def test_structured_events_that_are_none(value: bytes) -> None:
    refused([("content-type", b"application/cloudevents+json")], value)


def test_replies_go_only_where_the_settings_allow() -> None:
    headers = binary(ATTRIBUTES, replyto="crm.replies")
    assert taken(headers, BODY, allowed_reply_topics=("crm.replies",)).reply_topic == "crm.replies"
    assert taken(binary(ATTRIBUTES, replyto=REPLIES), BODY).reply_topic == REPLIES


def test_the_sender_is_known_even_when_the_rest_is_not() -> None:
    headers = binary(ATTRIBUTES, subject="s", correlationid="corr")
    assert sender(headers, b"junk") == Sender("c-1", "s", "corr")
    assert sender([], b"junk") == Sender()


@given(
    st.binary(max_size=200) | st.none(),
    st.lists(st.tuples(st.text(max_size=20), st.binary(max_size=60)), max_size=6),
    st.binary(max_size=300) | st.none(),
    st.booleans(),
)
def test_whatever_comes_is_read_or_refused(
    key: bytes | None, headers: Headers, value: bytes | None, named: bool
) -> None:
    with suppress(Invalid):
        taken([*headers, *(binary(ATTRIBUTES) if named else [])], value, key)
    sender(headers, value)


def test_a_reason_stays_small_whatever_names_the_sender_chose() -> None:
    with pytest.raises(BodyInvalid) as refusal:
        taken(
            binary(ATTRIBUTES), json.dumps({**json.loads(BODY), **{letter * 300_000: 1 for letter in "xyz"}}).encode()
        )
    assert len(json.dumps(refusal.value.as_dict())) < 3_000
    assert {len(error.field) for error in refusal.value.errors} == {200}


def test_a_new_subscription_is_called_by_us_and_has_no_version() -> None:
    new = {**ATTRIBUTES, "type": "mfo.command.CreateSubscription.v1"}
    body = b'{"kind": "email", "address": "ann@example.com"}'
    command, _, _ = taken(binary(new), body)
    made = str(command.subscription_id)
    assert name_of(command) == "CreateSubscription"
    assert taken(binary(new, subject=made), body)[0] == command
    assert "leave the id out" in refused(binary(new, subject=str(FLOW)), body).detail
    assert "no version" in refused(binary(new, expectedversion="1"), body).detail
    gone = {**ATTRIBUTES, "type": "mfo.command.DeleteSubscription.v1"}
    assert "subscription_id is missing" in refused(binary(gone), b"{}").detail


def test_a_refusal_names_the_command_and_what_it_is_about_as_they_were_sent() -> None:
    headers = binary({**ATTRIBUTES, "type": "mfo.command.UpdateSubscription.v1"}, subject=str(FLOW))
    assert sender(headers, b"junk").named == "subscription_id"
    assert refused(headers, b'{"state": "off"}').detail.startswith("the data is no UpdateSubscription: state")
