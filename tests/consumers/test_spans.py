"""What a handler does inside of a run is seen in the run's trace, from its child process too."""

from __future__ import annotations

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from consumers.context import PhaseContext
from eventstore import tracing
from tests.consumers.conftest import ended
from tests.consumers.keeping import at_work
from tests.eventstore.house import config_for
from tests.spans import Kept, receiver
from tests.waiting import until


async def test_parts_steps_and_maps_are_spans_under_the_run(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    own = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(own))
    monkeypatch.setattr(tracing, "_tracer", provider.get_tracer("tests"))
    with receiver() as received:
        monkeypatch.setenv("MFO_OTLP_ENDPOINT", received.url)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
        config = config_for(database_url, flow_type_modules=("tests.consumers.traced",), workers=1)
        async with at_work(config) as (house, _, _):
            flow = await ended(house, (await house.begin(flow_type="traced")).id)
            assert flow.phase("traced").outputs == {"number": 3, "squares": [1, 4]}
            await until(lambda: len(received.spans) == 7, 30)
    [run] = [span for span in own.get_finished_spans() if span.name == "run traced"]
    of_run = {f"{run.context.span_id:016x}": "run traced"} | {span.span_id: span.name for span in received.spans}
    assert sorted((of_run[span.parent_id], span.name) for span in received.spans) == [
        ("map square", "step square[0]"),
        ("map square", "step square[1]"),
        ("parse", "step count"),
        ("run traced", "map square"),
        ("run traced", "parse"),
        ("run traced", "upload"),
        ("step count", "read"),
    ]
    assert {span.trace_id for span in received.spans} == {f"{run.context.trace_id:032x}"}
    assert {span.service for span in received.spans} == {"mfo-worker"}
    assert named("parse", received.spans).attributes == {"mfo.rows": "3"}
    assert named("upload", received.spans).attributes == {"mfo.raised": "ValueError"}


def named(name: str, spans: list[Kept]) -> Kept:
    [span] = [span for span in spans if span.name == name]
    return span


def test_while_it_is_off_a_span_is_always_the_same_nothing() -> None:
    assert tracing.part("a") is tracing.part("b") is tracing.under("00-" + "1" * 32 + "-" + "2" * 16 + "-01")
    with PhaseContext.span(None, "parse"):  # type: ignore[arg-type]  # it asks nothing of a context
        assert tracing.parent_of(None) is None
