"""A Kafka message read as a command: CloudEvents 1.0, binary or structured, checked in every part.

What cannot be read raises a MessageUnreadable with the reason; the caller keeps the message as a dead letter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID, uuid5

import msgspec
from pydantic import ValidationError

from domain.commands import PUBLIC, Command, CreateFlow, Envelope, Tenant, tenant_from
from domain.errors import BodyInvalid, BodyNotJson, FieldError, MessageUnreadable, MfoError
from domain.fleet.commands import MAKING, PUBLIC_FLEET, FleetCommand, new_id
from domain.schedules.commands import PUBLIC_SCHEDULE, CreateSchedule, ScheduleCommand, new_schedule_id
from domain.subscriptions import PUBLIC_SUBSCRIPTION, CreateNamed, SubscriptionCommand, new_subscription_id

TYPE_PREFIX = "mfo.command."
MAX_ID = 255
MAX_FIELD = 200
ATTRIBUTES = (
    *("specversion", "id", "source", "type", "subject", "clientaccountid", "engagementid", "userid"),
    *("correlationid", "causationid", "expectedversion", "replyto", "traceparent"),
)

AnyCommand = Command | ScheduleCommand | FleetCommand | SubscriptionCommand
COMMANDS: dict[str, type[AnyCommand]] = {**PUBLIC, **PUBLIC_SCHEDULE, **PUBLIC_FLEET, **PUBLIC_SUBSCRIPTION}
NAMES = {command_class: name for name, command_class in COMMANDS.items()}
TENANT_ATTRIBUTES = ("clientaccountid", "engagementid", "userid")


class ReplyTopicNotAllowed(MessageUnreadable):
    """`replyto` names a topic that the settings do not allow."""

    code = "reply_topic_not_allowed"


class KeyMismatch(MessageUnreadable):
    """Key, subject and flow_id of the message differ."""

    code = "key_mismatch"


class CommandUnknown(MessageUnreadable):
    """The message's type is no command of this service."""

    code = "command_unknown"


class CloudEventInvalid(MessageUnreadable):
    """The message is no CloudEvent with the attributes that a command needs."""

    code = "cloudevent_invalid"


class Incoming(NamedTuple):
    """A command as it came, with where its answer goes."""

    command: AnyCommand
    envelope: Envelope
    reply_topic: str


class Sender(NamedTuple):
    """As much of a message's origin as could be read, so that the sender can be told even when the rest cannot."""

    command_id: str | None = None
    subject: str | None = None
    correlation_id: str | None = None
    # what the subject is the id of, in the words of a reply
    named: str = "flow_id"


def sender(headers: Sequence[tuple[str, bytes]], value: bytes | None) -> Sender:
    """Who sent a message that may not be readable otherwise."""
    try:
        attributes, _ = _attributes(headers, value)
    except MfoError:
        return Sender()
    try:
        named = id_field(_command_class(attributes))
    except MfoError:
        named = "flow_id"
    return Sender(attributes.get("id"), attributes.get("subject"), attributes.get("correlationid"), named)


def read(
    key: bytes | None,
    headers: Sequence[tuple[str, bytes]],
    value: bytes | None,
    *,
    reply_topic: str,
    allowed_reply_topics: Sequence[str] = (),
) -> Incoming:
    """The command in a message; raises MessageUnreadable, BodyNotJson, BodyInvalid or TenantMissing."""
    attributes, data = _attributes(headers, value)
    command_class = _command_class(attributes)
    account, engagement, user = map(attributes.get, TENANT_ATTRIBUTES)
    tenant = tenant_from(account, engagement, user, TENANT_ATTRIBUTES)
    command_id = attributes["id"]
    body = _body(data)
    named = id_field(command_class)
    body[named] = _owner_id(
        key, attributes, body, named=named, command_class=command_class, tenant=tenant, command_id=command_id
    )
    try:
        command = command_class.model_validate(body)
    except ValidationError as error:
        problems = [FieldError(_place(one), one["msg"]) for one in error.errors()[:50]]
        told = "; ".join(f"{one.field or 'data'}: {one.message}" for one in problems[:5])
        wanted = attributes["type"].removeprefix(TYPE_PREFIX).removesuffix(".v1")
        raise BodyInvalid(f"the data is no {wanted}: {told}", errors=problems) from None
    expected = _expected_version(attributes.get("expectedversion"))
    if expected is not None and issubclass(command_class, SubscriptionCommand):
        raise CloudEventInvalid("expectedversion does not apply: a subscription has no version")
    envelope = Envelope(
        command_id=command_id,
        client_account_id=tenant.client_account_id,
        engagement_id=tenant.engagement_id,
        user_id=tenant.user_id,
        correlation_id=attributes.get("correlationid") or command_id,
        causation_id=attributes.get("causationid"),
        source="kafka",
        expected_version=expected,
        traceparent=attributes.get("traceparent"),
    )
    return Incoming(command, envelope, _reply_topic(attributes.get("replyto"), reply_topic, allowed_reply_topics))


def _attributes(headers: Sequence[tuple[str, bytes]], value: bytes | None) -> tuple[dict[str, str], Any]:
    """The CloudEvents attributes as text, and the data: bytes in binary mode, a decoded value in structured mode."""
    named: dict[str, str] = {}
    for name, raw in headers:
        try:
            named[name.lower()] = (raw or b"").decode()
        except UnicodeDecodeError:
            raise CloudEventInvalid(f"header {name} is not UTF-8") from None
    if named.get("content-type", "").split(";")[0].strip().lower() == "application/cloudevents+json":
        event = _json(value)
        if "data_base64" in event:
            raise CloudEventInvalid("data_base64 is not taken; send the data as a JSON object")
        attributes = {}
        for name in ATTRIBUTES:
            if event.get(name) not in (None, ""):
                if not isinstance(event[name], str | int) or isinstance(event[name], bool):
                    raise CloudEventInvalid(f"attribute {name} must be text")
                attributes[name] = str(event[name])
        data = event.get("data", {})
    else:
        attributes = {name: named[f"ce_{name}"] for name in ATTRIBUTES if named.get(f"ce_{name}")}
        data = value
    missing = [name for name in ("specversion", "id", "source", "type") if name not in attributes]
    if missing:
        raise CloudEventInvalid(
            f"the attributes {', '.join(missing)} are missing; send them as headers ce_<name>, or a structured CloudEvent"
        )
    if attributes["specversion"] != "1.0":
        raise CloudEventInvalid(f"specversion is {attributes['specversion']!r}; this service reads 1.0")
    for name, text in attributes.items():
        if len(text) > MAX_ID or "\x00" in text:
            raise CloudEventInvalid(f"attribute {name} is longer than {MAX_ID} characters or contains NUL")
    return attributes, data


def name_of(command: AnyCommand) -> str:
    """What a command is called by whoever sends it."""
    return NAMES.get(type(command), type(command).__name__)


def id_field(command_class: type[AnyCommand]) -> str:
    """The field that names what a command is about."""
    if issubclass(command_class, FleetCommand):
        return command_class.named
    if issubclass(command_class, SubscriptionCommand):
        return "subscription_id"
    return "schedule_id" if issubclass(command_class, ScheduleCommand) else "flow_id"


def _command_class(attributes: Mapping[str, str]) -> type[AnyCommand]:
    wanted = attributes["type"]
    name, _, version = wanted.removeprefix(TYPE_PREFIX).rpartition(".")
    if not wanted.startswith(TYPE_PREFIX) or name not in COMMANDS:
        raise CommandUnknown(f"{wanted!r} is no command; use {TYPE_PREFIX}<Name>.v1 with one of {', '.join(COMMANDS)}")
    if version != "v1":
        raise CommandUnknown(f"{wanted!r}: version {version} is not known; use v1")
    return COMMANDS[name]


def _json(value: bytes | None) -> dict[str, Any]:
    try:
        body = msgspec.json.decode(value or b"")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BodyNotJson from None
    if not isinstance(body, dict):
        raise BodyNotJson
    return body


def _body(data: Any) -> dict[str, Any]:
    if data is None or data == b"":
        return {}
    if isinstance(data, bytes):
        return _json(data)
    if not isinstance(data, dict):
        raise BodyNotJson("the data of the CloudEvent is not a JSON object")
    return dict(data)


def _owner_id(
    key: bytes | None,
    attributes: Mapping[str, str],
    body: Mapping[str, Any],
    *,
    named: str,
    command_class: type[AnyCommand],
    tenant: Tenant,
    command_id: str,
) -> str:
    """The id from flow_id (schedule_id, operation_id, ...), subject and key, which must agree; what is new without any gets a derived one."""
    given = {named: body.get(named), "subject": attributes.get("subject")}
    try:
        given["key"] = key.decode() if key else None
    except UnicodeDecodeError:
        raise KeyMismatch("the key is not a UUID in text") from None
    ids: dict[str, UUID] = {}
    for name, text in given.items():
        if text is None:
            continue
        try:
            ids[name] = UUID(str(text))
        except ValueError:
            if name == named:
                raise BodyInvalid(f"{named} is not a UUID", errors=[FieldError(named, "is not a UUID")]) from None
            raise KeyMismatch(f"the {name} is not a UUID in text") from None
    if len(set(ids.values())) > 1:
        raise KeyMismatch(f"{', '.join(ids)} name different ones; they must be equal")
    if command_class is CreateNamed:
        made = new_subscription_id(tenant.client_account_id, tenant.engagement_id, command_id)
        if set(ids.values()) - {made}:
            message = f"a new subscription is called {made}, which follows from the command's id; leave the id out"
            raise BodyInvalid(f"{named}: {message}", errors=[FieldError(named, message)])
        return str(made)
    if ids:
        return str(next(iter(ids.values())))
    if command_class is CreateFlow:
        return str(uuid5(tenant.client_account_id, command_id))
    if command_class is CreateSchedule:
        return str(new_schedule_id(tenant.client_account_id, command_id))
    if issubclass(command_class, MAKING):
        return str(new_id(command_class, tenant.client_account_id, command_id))
    raise BodyInvalid(f"{named} is missing", errors=[FieldError(named, "is required")])


def _expected_version(text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit()) or len(text) > 18:
        raise CloudEventInvalid("expectedversion is not a whole number")
    return int(text)


def _reply_topic(wanted: str | None, default: str, allowed: Sequence[str]) -> str:
    if wanted is None or wanted == default:
        return default
    if wanted not in allowed:
        raise ReplyTopicNotAllowed(f"replyto {wanted!r} is not allowed; allowed are {', '.join([default, *allowed])}")
    return wanted


def _place(error: Any) -> str:
    """The field that an error speaks of. A sender chooses its names, so they are cut: the reply must fit its topic."""
    return ".".join(map(str, error["loc"]))[:MAX_FIELD]
