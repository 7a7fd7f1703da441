"""The whole stack on one machine with nothing to install: PostgreSQL from a wheel, Kafka from its jars or built in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from mfo.embedded.kafka_builtin import KafkaBuiltin
from mfo.embedded.kafka_jars import KafkaJars, fetch_jars, say_nothing
from mfo.embedded.postgres import Postgres
from mfo.embedded.processes import EmbeddedError
from mfo.embedded.topics import ensure_topics, topic_names

Kafka = KafkaJars | KafkaBuiltin

__all__ = [
    "EmbeddedError",
    "Kafka",
    "KafkaBuiltin",
    "KafkaJars",
    "Postgres",
    "choose_kafka",
    "ensure_topics",
    "topic_names",
]


def choose_kafka(
    kind: Literal["auto", "jars", "builtin"], data_dir: Path, say: Callable[[str], None] = say_nothing
) -> tuple[Kafka, str]:
    """The broker to start in this data folder, not started yet, and one sentence on why this one.

    `auto` takes the real one where it can be had. Raises EmbeddedError where `jars` is asked for and cannot.
    """
    if kind == "builtin":
        return KafkaBuiltin(data_dir), "the built-in broker, as asked: in memory only"
    can, reason = KafkaJars.available()
    if can:
        try:
            fetch_jars(say)
        except EmbeddedError as error:
            can, reason = False, error.detail
    if can:
        return KafkaJars(data_dir), f"a real broker: {reason}"
    if kind == "jars":
        raise EmbeddedError(f"A real Kafka cannot be started here: {reason}.")
    return KafkaBuiltin(data_dir), f"the built-in broker, in memory only: {reason}"
