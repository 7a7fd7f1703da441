"""Traces are off until an endpoint is set: then nothing of them is loaded, kept or written."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from uuid import UUID

import msgspec
import pytest

from domain.flow import Meta
from eventstore import tracing
from eventstore.codec import encode_meta
from mfo.settings import Settings
from tests.cli.support import ROOT, clean_environment

SERVICES = "import sys, mfo.services, api.app, consumers.app, projections.app; print([m for m in sys.modules if m.startswith(('opentelemetry.sdk', 'opentelemetry.exporter'))])"


def test_the_services_load_nothing_of_it_while_it_is_off() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SERVICES], cwd=ROOT, env=clean_environment(), capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_while_it_is_off_there_are_no_spans() -> None:
    assert tracing.on() is False
    assert tracing.begin("run", None) is None
    with tracing.serving("GET", "00-" + "1" * 32 + "-" + "2" * 16 + "-01") as attributes:
        attributes["status"] = 200
        assert tracing.parent_of(None) is None
    tracing.passed("relay", "producer", ["x"], tracing.now())


def test_a_meta_without_a_span_is_written_as_ever() -> None:
    meta = Meta(
        at=datetime(2026, 6, 1, tzinfo=UTC),
        client_account_id=UUID(int=1),
        engagement_id=UUID(int=2),
        user_id="ann",
        command_id="c",
        correlation_id="k",
    )
    written = encode_meta(meta)
    assert b"traceparent" not in written
    assert msgspec.json.decode(written, type=Meta) == meta
    traced = msgspec.structs.replace(meta, traceparent="00-a-b-01")
    assert msgspec.json.decode(encode_meta(traced), type=Meta) == traced


@pytest.mark.parametrize("name", ["MFO_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"])
def test_either_variable_names_the_receiver(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    assert Settings().traces_endpoint is None
    monkeypatch.setenv(name, "http://127.0.0.1:4318")
    assert Settings().traces_endpoint == "http://127.0.0.1:4318"
