"""The AsyncAPI document: what this service takes from Kafka and what it puts there, generated from the code."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from faststream import FastStream
from faststream.specification import AsyncAPI

from consumers.intake import Intake, Reply
from consumers.messages import COMMANDS
from domain.events import TOPICS
from domain.fleet.events import FLEET_TOPICS
from domain.schedules.events import SCHEDULE_TOPICS
from eventstore.committer import Committer
from eventstore.config import ServiceConfig

REF = "#/components/schemas/{name}"
COMMAND_HEADERS = (
    *(
        "ce_specversion",
        "ce_id",
        "ce_source",
        "ce_type",
        "ce_subject",
        "ce_clientaccountid",
        "ce_engagementid",
        "ce_userid",
    ),
    *("ce_correlationid", "ce_causationid", "ce_expectedversion", "ce_replyto", "ce_traceparent"),
)
EVENT_HEADERS = (
    *("ce_specversion", "ce_id", "ce_source", "ce_type", "ce_subject", "ce_time", "ce_sequence", "ce_position"),
    *(
        "ce_clientaccountid",
        "ce_engagementid",
        "ce_userid",
        "ce_correlationid",
        "ce_causationid",
        "ce_commandid",
        "ce_origin",
        "ce_traceparent",
    ),
)


def document() -> dict[str, Any]:
    """The document as JSON values; the topics' names are those of the default prefix."""
    config = ServiceConfig(database_url="", kafka_bootstrap="localhost:9092", master_key=b"")

    def nowhere() -> Committer:
        raise RuntimeError("the document is made without a store")

    intake = Intake(config, nowhere, None)
    broker = intake.broker
    broker.publisher(config.topics.replies, title="replies", schema=Reply, description="What became of a command.")
    app = FastStream(
        broker,
        specification=AsyncAPI(
            title="Master Flow Orchestrator",
            version="1",
            description="Commands in, replies and events out: CloudEvents 1.0 in binary mode, JSON data, keyed by flow id.",
        ),
    )
    whole: dict[str, Any] = json.loads(app.schema.to_specification().to_json())
    _add_commands(whole)
    _add_events(whole, config.topics.events)
    _add_dead_letters(whole, config.topics.dead_letters)
    return whole


def _add_commands(whole: dict[str, Any]) -> None:
    messages = whole["components"].setdefault("messages", {})
    schemas = whole["components"].setdefault("schemas", {})
    channel = whole["channels"]["commands"]
    channel["messages"] = {}
    for name, command in COMMANDS.items():
        schema = command.model_json_schema(ref_template=REF.replace("{name}", "{model}"))
        schemas.update(schema.pop("$defs", {}))
        schemas[name] = schema
        messages[f"commands:{name}"] = _message(
            name, f"mfo.command.{name}.v1", COMMAND_HEADERS, schema.get("description", "")
        )
        channel["messages"][name] = {"$ref": f"#/components/messages/commands:{name}"}
    for operation in whole["operations"].values():
        if operation["channel"]["$ref"].endswith("/commands"):
            operation["messages"] = [{"$ref": f"#/channels/commands/messages/{name}"} for name in COMMANDS]


def _add_events(whole: dict[str, Any], address: str) -> None:
    messages, schemas = whole["components"]["messages"], whole["components"]["schemas"]
    topics: dict[Any, str] = {**TOPICS, **SCHEDULE_TOPICS, **FLEET_TOPICS}
    refs, components = msgspec.json.schema_components(list(topics), ref_template=REF)
    schemas.update(components)
    channel: dict[str, Any] = {"address": address, "servers": [{"$ref": "#/servers/development"}], "messages": {}}
    for (event, wire_name), _ in zip(topics.items(), refs, strict=True):
        name = event.__name__
        messages[f"events:{name}"] = _message(name, wire_name, EVENT_HEADERS, (event.__doc__ or "").strip())
        channel["messages"][name] = {"$ref": f"#/components/messages/events:{name}"}
    whole["channels"]["events"] = channel
    whole["operations"]["events"] = {"action": "send", "channel": {"$ref": "#/channels/events"}}


def _add_dead_letters(whole: dict[str, Any], address: str) -> None:
    whole["components"]["messages"]["dead_letters:DeadLetter"] = {
        "title": "DeadLetter",
        "description": "A message that was no command: its own bytes and headers, and why.",
        "headers": {
            "type": "object",
            "properties": {
                f"mfo_{name}": {"type": "string"}
                for name in ("error_code", "error_detail", "source_topic", "source_partition", "source_offset")
            },
        },
        "payload": {},
    }
    whole["channels"]["dead_letters"] = {
        "address": address,
        "servers": [{"$ref": "#/servers/development"}],
        "messages": {"DeadLetter": {"$ref": "#/components/messages/dead_letters:DeadLetter"}},
    }
    whole["operations"]["dead_letters"] = {"action": "send", "channel": {"$ref": "#/channels/dead_letters"}}


def _message(name: str, wire_name: str, headers: tuple[str, ...], description: str) -> dict[str, Any]:
    properties: dict[str, Any] = {header: {"type": "string"} for header in headers}
    properties["ce_type"] = {"type": "string", "const": wire_name}
    return {
        "title": name,
        "description": description,
        "headers": {"type": "object", "properties": properties},
        "payload": {"$ref": REF.replace("{name}", name)},
        "contentType": "application/json",
    }
