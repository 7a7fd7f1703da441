"""Log lines have one shape, carry their context and show no secret."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import structlog

from mfo.telemetry import set_up


@dataclass
class Wanted:
    log_level: str = "info"
    log_format: str = "json"


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before, level = root.handlers, root.level
    yield io.StringIO()
    root.handlers = before
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_both_kinds_of_logger_write_the_same_shape(stream: io.StringIO) -> None:
    set_up(Wanted(), "api", stream)
    with structlog.contextvars.bound_contextvars(correlation_id="c-1", flow_id="f-1"):
        structlog.get_logger("ours").info("taken in", count=3)
        logging.getLogger("theirs").warning("slow: %s ms", 12, extra={"topic": "t"})
    ours, theirs = lines(stream)
    for line in (ours, theirs):
        assert (line["service"], line["correlation_id"], line["flow_id"]) == ("api", "c-1", "f-1")
        assert line["timestamp"].endswith("Z")
    assert (ours["event"], ours["count"], ours["level"]) == ("taken in", 3, "info")
    assert (theirs["event"], theirs["topic"], theirs["logger"]) == ("slow: 12 ms", "t", "theirs")


def test_levels_hold_and_noisy_libraries_keep_to_warnings(stream: io.StringIO) -> None:
    set_up(Wanted(log_level="debug"), "api", stream)
    logging.getLogger("aiokafka.consumer").info("noise")
    logging.getLogger("ours").debug("heard")
    set_up(Wanted(log_level="error"), "api", stream)
    structlog.get_logger().warning("not heard")
    logging.getLogger("aiokafka").warning("not heard")
    assert [line["event"] for line in lines(stream)] == ["heard"]


def test_secrets_are_hidden_by_whole_word_at_any_depth(stream: io.StringIO) -> None:
    set_up(Wanted(), "api", stream)
    structlog.get_logger().info(
        "seen",
        data={
            "api_keys": ["k-1"],
            "dbPassword": "p-2",
            "list": [{"private-key": "p-3"}],
            "tokenizer": "words",
            "token": 4,
        },
        url="postgresql://mfo:p-5@db/mfo",
        dsn="host=db password='p 6' user=mfo",
    )
    (line,) = lines(stream)
    for secret in ("k-1", "p-2", "p-3", "p-5", "p 6"):
        assert secret not in json.dumps(line)
    assert line["data"]["tokenizer"] == "words"
    assert line["data"]["token"] == 4
    assert line["url"] == "postgresql://mfo:***@db/mfo"


def test_an_exception_is_told_without_the_password_in_it(stream: io.StringIO) -> None:
    set_up(Wanted(), "api", stream)
    try:
        raise ConnectionError("postgresql://mfo:geheim@db is gone")
    except ConnectionError:
        structlog.get_logger().exception("lost")
    (line,) = lines(stream)
    assert "ConnectionError" in line["exception"]
    assert "geheim" not in line["exception"]


def test_the_console_is_for_people(stream: io.StringIO) -> None:
    set_up(Wanted(log_format="console"), "api", stream)
    structlog.get_logger().info("taken in", flow_id="f-1", password="p-1")
    text = stream.getvalue()
    assert "taken in" in text
    assert "f-1" in text
    assert "p-1" not in text
