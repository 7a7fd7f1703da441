"""Traces (OpenTelemetry): a command followed from its door through commit, relay, projection and run.

Off, and nothing of OpenTelemetry imported, until `set_up` is called. A span is known by its W3C `traceparent`: it comes in
with the command's envelope, stands in the meta of the events that the command brings about (and is absent from those that no
trace speaks of), goes to Kafka as the CloudEvents attribute of that name, and is kept with the folded flow, so that runs and
their results belong to the same trace.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from opentelemetry.trace import Span as Recorded
    from opentelemetry.trace import Tracer

Kind = Literal["server", "consumer", "producer", "internal"]
Value = str | int | float | bool

_tracer: Tracer | None = None
_nothing = nullcontext()
_current: ContextVar[str | None] = ContextVar("traceparent", default=None)


def set_up(service: str, endpoint: str) -> None:
    """Send spans to an OTLP receiver over HTTP, such as http://127.0.0.1:4318, in batches from a thread of its own.

    How often, how many and which of them follows the standard variables OTEL_BSP_* and OTEL_TRACES_SAMPLER.
    """
    global _tracer  # noqa: PLW0603 - a process has one
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource.create({"service.name": f"mfo-{service}"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces")))
    _tracer = provider.get_tracer("mfo")


def endpoint_in(environment: Mapping[str, str]) -> str | None:
    """Where traces go, by our own variable or OpenTelemetry's; none where they are off."""
    return environment.get("MFO_OTLP_ENDPOINT") or environment.get("OTEL_EXPORTER_OTLP_ENDPOINT") or None


def on() -> bool:
    """Whether spans are kept."""
    return _tracer is not None


class Span:
    """A span under way; `traceparent` is how others name it as their parent."""

    def __init__(self, recorded: Recorded) -> None:
        context = recorded.get_span_context()
        self.traceparent = f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"
        self._recorded = recorded

    def end(self, *, named: str | None = None, **attributes: Value | None) -> None:
        """It is over; attributes that are none are left out. `named` is a better name than it began with."""
        if named is not None:
            self._recorded.update_name(named)
        self._recorded.set_attributes(_given(attributes))
        self._recorded.end()


def begin(
    name: str,
    parent: str | None,
    *,
    kind: Kind = "internal",
    since: int | None = None,
    attributes: Mapping[str, Value | None] | None = None,
) -> Span | None:
    """A span under `parent`, a traceparent, or one that begins a trace; none while tracing is off. `since`: ns since 1970."""
    if _tracer is None:
        return None
    from opentelemetry.trace import SpanKind
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    context = TraceContextTextMapPropagator().extract({"traceparent": parent or ""})
    recorded = _tracer.start_span(
        name,
        context,
        kind=SpanKind[kind.upper()],
        attributes=_given(attributes or {}),
        start_time=since,
    )
    return Span(recorded)


def parent_of(given: str | None) -> str | None:
    """The traceparent that a command comes with, else that of the request in hand."""
    return given or _current.get()


@contextmanager
def serving(name: str, parent: str | None) -> Iterator[dict[str, Value]]:
    """A span around a request; what is put into the answer becomes its attributes, and its route part of its name.

    Commands that are asked inside are under it.
    """
    attributes: dict[str, Value] = {}
    span = begin(name, parent, kind="server")
    if span is None:
        yield attributes
        return
    before = _current.set(span.traceparent)
    try:
        yield attributes
    finally:
        _current.reset(before)
        span.end(named=f"{name} {attributes['http.route']}" if "http.route" in attributes else None, **attributes)


def under(traceparent: str | None) -> AbstractContextManager[None]:
    """Have the parts of what is done inside be spans under this one."""
    return _nothing if _tracer is None or traceparent is None else _under(traceparent)


def part(name: str, attributes: Mapping[str, Value | None] | None = None) -> AbstractContextManager[None]:
    """A span around a part of what is in hand, under that or the part around it; nothing while nobody traces it.

    What is raised inside is named in its attribute `mfo.raised`.
    """
    parent = _current.get() if _tracer is not None else None
    return _nothing if parent is None else _part(name, parent, attributes or {})


@contextmanager
def _under(traceparent: str) -> Iterator[None]:
    before = _current.set(traceparent)
    try:
        yield
    finally:
        _current.reset(before)


@contextmanager
def _part(name: str, parent: str, attributes: Mapping[str, Value | None]) -> Iterator[None]:
    span = begin(name, parent, attributes=attributes)
    assert span is not None
    raised: str | None = None
    try:
        with _under(span.traceparent):
            yield
    except BaseException as error:
        raised = type(error).__name__
        raise
    finally:
        span.end(raised=raised)


def passed(name: str, kind: Kind, parents: Sequence[str | None], since: int) -> None:
    """Spans of things that were done together and are done now, one under each parent; none where there is no parent."""
    if _tracer is None:
        return
    for parent in parents:
        if parent is not None and (span := begin(name, parent, kind=kind, since=since)):
            span.end()


def now() -> int:
    """The machine's time in ns since 1970."""
    return time.time_ns()


def _given(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {
        f"mfo.{name}" if "." not in name else name: value for name, value in attributes.items() if value is not None
    }
