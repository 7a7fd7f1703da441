"""One trace follows a command through all services, under the span of whoever asked."""

from __future__ import annotations

import secrets
from uuid import uuid4

import httpx
from aiokafka import AIOKafkaConsumer

from domain.commands import CreateFlow
from mfo.kafka_client import CommandSender
from tests.spans import Kept, Receiver
from tests.waiting import until


def tenant_of(environment: dict[str, str]) -> list[str]:
    return [str(uuid4()), str(uuid4()), environment["MFO_USER_ID"]]


def told(trace: list[Kept]) -> dict[str, set[str]]:
    """The names of a trace's spans by service."""
    return {service: {span.name for span in trace if span.service == service} for service in {s.service for s in trace}}


async def whole(receiver: Receiver, trace_id: str, parent: str) -> list[Kept]:
    """The spans of a trace under `parent`, as soon as every part of the system is in it and none lacks the one above it:
    services send theirs when they see fit."""
    read = {"project crewai_flow_state_extensions", "project flow_intervals"}
    parts = {"relay", "run data_import", "commit FailPhase", *read}

    def complete() -> bool:
        trace = receiver.of(trace_id)
        known = {parent, *(span.span_id for span in trace)}
        return parts <= {span.name for span in trace} and all(span.parent_id in known for span in trace)

    await until(complete, 60)
    return receiver.of(trace_id)


async def test_a_trace_goes_from_the_callers_span_through_api_committer_relay_projection_and_run(
    environment: dict[str, str], spans: Receiver
) -> None:
    trace_id, parent = secrets.token_hex(16), secrets.token_hex(8)
    headers = dict(
        zip(("X-Client-Account-ID", "X-Engagement-ID", "X-User-ID"), tenant_of(environment), strict=True)
    ) | {"traceparent": f"00-{trace_id}-{parent}-01"}
    # the import does not exist, so the run comes to its end at once
    body = {
        "flow_type": "discovery",
        "flow_name": "Traced",
        "initial_data": {"import_file_id": str(uuid4())},
        "options": {"auto_execute": True, "max_retries": 0},
    }
    async with httpx.AsyncClient(base_url=environment["MFO_URL"], headers=headers) as client:
        made = await client.post("/api/v1/flows", json=body)
        assert made.status_code == 201, made.text

    trace = await whole(spans, trace_id, parent)
    by_id = {span.span_id: span for span in trace}
    (root,) = [span for span in trace if span.parent_id == parent]
    assert (root.service, root.name) == ("mfo-api", "POST /api/v1/flows")
    assert root.attributes["http.response.status_code"] == "201"
    (commit,) = [span for span in trace if span.name == "commit CreateFlow"]
    assert (by_id[commit.parent_id], commit.attributes["mfo.outcome"]) == (root, "accepted")
    assert commit.attributes["mfo.flow_id"] == made.json()["flow_id"]
    assert {span.parent_id for span in trace if span.name == "relay"} >= {commit.span_id}
    (run,) = [span for span in trace if span.name == "run data_import"]
    assert (run.service, run.parent_id) == ("mfo-consumers", commit.span_id)
    (failed,) = [span for span in trace if span.name == "commit FailPhase"]
    assert failed.parent_id == run.span_id
    assert told(trace)["mfo-projections"] >= {"project crewai_flow_state_extensions", "project flow_intervals"}

    # whoever subscribes goes on under the span that brought the event about
    consumer = AIOKafkaConsumer(
        "mfo.events.v1", bootstrap_servers=environment["MFO_KAFKA_BOOTSTRAP"], auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        while True:
            named = dict((await consumer.getone()).headers)
            if named["ce_subject"].decode() == made.json()["flow_id"]:
                break
    finally:
        await consumer.stop()
    assert named["ce_traceparent"].decode() == f"00-{trace_id}-{commit.span_id}-01"


async def test_a_command_over_kafka_is_followed_under_its_senders_span(
    environment: dict[str, str], spans: Receiver
) -> None:
    trace_id, parent = secrets.token_hex(16), secrets.token_hex(8)
    async with CommandSender(environment["MFO_KAFKA_BOOTSTRAP"], *tenant_of(environment)) as sender:
        command = CreateFlow(flow_id=uuid4(), flow_type="discovery", flow_name="Traced")
        await sender.send(command, traceparent=f"00-{trace_id}-{parent}-01")
    await until(lambda: {"take in CreateFlow", "commit CreateFlow"} <= {s.name for s in spans.of(trace_id)}, 60)
    taken, commit = (
        next(span for span in spans.of(trace_id) if span.name == f"{what} CreateFlow") for what in ("take in", "commit")
    )
    assert (taken.parent_id, commit.parent_id) == (parent, taken.span_id)
    assert taken.attributes["mfo.outcome"] == "accepted"
