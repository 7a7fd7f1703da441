"""A receiver of traces (OTLP over HTTP) on loopback, that keeps what it is sent."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.webserver import Handler, web_server


class Kept(NamedTuple):
    """A span: who it is of, what it is called, and its place in its trace, as hexadecimal ids."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    attributes: dict[str, str]


@dataclass
class Receiver:
    """Where spans are to be sent, and those that came."""

    url: str = ""
    spans: list[Kept] = field(default_factory=list)

    def of(self, trace_id: str) -> list[Kept]:
        """The spans of one trace."""
        return [span for span in self.spans if span.trace_id == trace_id]

    def take(self, body: bytes) -> None:
        request = ExportTraceServiceRequest.FromString(body)
        for resource in request.resource_spans:
            named = {each.key: each.value.string_value for each in resource.resource.attributes}
            self.spans += [
                Kept(
                    named["service.name"],
                    span.name,
                    span.trace_id.hex(),
                    span.span_id.hex(),
                    span.parent_span_id.hex(),
                    {each.key: each.value.string_value or str(each.value.int_value) for each in span.attributes},
                )
                for scope in resource.scope_spans
                for span in scope.spans
            ]


@contextmanager
def receiver() -> Iterator[Receiver]:
    """A receiver for as long as the block lasts."""
    kept = Receiver()

    class Spans(Handler, BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.body()
            kept.take(gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body)
            self.answer(200)

    with web_server(Spans) as kept.url:
        yield kept
