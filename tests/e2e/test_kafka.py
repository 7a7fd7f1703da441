"""A discovery driven over Kafka alone, by a client that knows nothing but the contract."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from uuid import uuid4

from aiokafka import AIOKafkaProducer

from domain.types.discovery import DISCOVERY
from tests.e2e.support import COMMANDS, client_of, listener, sender, tenant, upload

Json = dict[str, Any]


async def test_a_discovery_driven_over_kafka(environment: dict[str, str], tmp_path: Path) -> None:
    bootstrap = environment["MFO_KAFKA_BOOTSTRAP"]
    async with client_of(environment) as client:
        files = await upload(client, tmp_path)
    flow_id, command_id = str(uuid4()), f"create {uuid4()}"
    body: Json = {
        "flow_id": flow_id,
        "flow_type": "discovery",
        "flow_name": "Over Kafka",
        "initial_data": {"import_file_ids": files},
        "options": {"auto_execute": True},
    }
    async with sender(bootstrap) as producer, listener(bootstrap) as heard:
        await _structured(producer, environment, command_id, body)
        accepted = await heard.reply(command_id)
        assert (accepted.name, accepted.key) == ("Accepted", flow_id)
        assert accepted.data["version"] == 2
        assert accepted.data["position"].startswith("mfo:")

        await heard.until(lambda: any(event.name == "InputRequested" for event in heard.flow(flow_id)))
        asked = heard.flow(flow_id)[-1]
        assert (asked.data["phase_name"], asked.data["fields"]) == ("field_mapping", ["mappings", "approval"])
        approval_id = f"approve {uuid4()}"
        await _binary(producer, environment, approval_id, flow_id, {"approval": True})
        approved = await heard.reply(approval_id)
        assert (approved.name, approved.data["version"]) == ("Accepted", asked.version + 2)

        await heard.until(lambda: heard.ends(flow_id))
        events = heard.flow(flow_id)
        assert [event.version for event in events] == list(range(1, len(events) + 1))
        assert {event.key for event in events} == {flow_id}
        assert {event.headers["ce_id"] for event in events} == {f"{flow_id}:{event.version}" for event in events}
        completed = [event.data["phase_name"] for event in events if event.name == "PhaseCompleted"]
        assert completed == [phase.name for phase in DISCOVERY.phases]
        assert events[0].headers["ce_correlationid"] == command_id
        assert (events[0].headers["ce_origin"], events[0].headers["ce_userid"]) == ("kafka", tenant(environment)[2])

        # whatever happened since, the same command is answered as it was at first
        await _structured(producer, environment, command_id, body)
        repeated = await heard.reply(command_id, 2)
        assert repeated.name == "Repeated"
        assert {name: repeated.data[name] for name in ("flow_id", "version", "position")} == {
            name: accepted.data[name] for name in ("flow_id", "version", "position")
        }
        await _structured(producer, environment, command_id, body | {"flow_name": "Another"})
        refused = await heard.reply(command_id, 3)
        assert (refused.name, refused.data["error"]["code"]) == ("Refused", "idempotency_key_reused")
        assert len(heard.flow(flow_id)) == len(events)


async def _structured(producer: AIOKafkaProducer, environment: dict[str, str], command_id: str, body: Json) -> None:
    account, engagement, user = tenant(environment)
    event = {
        "specversion": "1.0",
        "id": command_id,
        "source": "/tests",
        "type": "mfo.command.CreateFlow.v1",
        "subject": body["flow_id"],
        "clientaccountid": account,
        "engagementid": engagement,
        "userid": user,
        "data": body,
    }
    await producer.send_and_wait(
        COMMANDS,
        json.dumps(event).encode(),
        key=body["flow_id"].encode(),
        headers=[("content-type", b"application/cloudevents+json")],
    )


async def _binary(
    producer: AIOKafkaProducer, environment: dict[str, str], command_id: str, flow_id: str, values: Json
) -> None:
    account, engagement, user = tenant(environment)
    attributes = {
        "ce_specversion": "1.0",
        "ce_id": command_id,
        "ce_source": "/tests",
        "ce_type": "mfo.command.ProvideInput.v1",
        "ce_subject": flow_id,
        "ce_clientaccountid": account,
        "ce_engagementid": engagement,
        "ce_userid": user,
        "content-type": "application/json",
    }
    await producer.send_and_wait(
        COMMANDS,
        json.dumps({"flow_id": flow_id, **values}).encode(),
        key=flow_id.encode(),
        headers=[(name, value.encode()) for name, value in attributes.items()],
    )
