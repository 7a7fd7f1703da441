"""The topics of the public contract, and how they come to be on a broker."""

from __future__ import annotations

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaConnectionError, TopicAlreadyExistsError, for_code

from mfo.embedded.processes import EmbeddedError

TOPICS = ("commands.v1", "replies.v1", "events.v1", "audit.checkpoints.v1", "commands.dlq.v1")
MIB = 1024 * 1024
# a refused command of the largest size must fit into the dead letters together with what is said about it
# checkpoints prove what history was for as long as there is history: the broker's week would be too short
CONFIGS = {
    "commands.dlq.v1": {"max.message.bytes": str(2 * MIB)},
    "audit.checkpoints.v1": {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"},
}


def topic_names(prefix: str = "mfo") -> tuple[str, ...]:
    """The contract's topics, such as `mfo.commands.v1`."""
    return tuple(f"{prefix}.{name}" for name in TOPICS)


async def ensure_topics(
    bootstrap: str, partitions: int = 12, prefix: str = "mfo", *, extra: tuple[str, ...] = (), replication: int = 1
) -> list[str]:
    """Makes the topics that do not exist yet, `extra` ones too, and answers their names; never changes one that exists.

    Not for librdkafka's broker, which makes topics on first use and knows no CreateTopics. Raises EmbeddedError.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        await admin.start()
        here = set(await admin.list_topics())
        wanted = {f"{prefix}.{name}": CONFIGS.get(name, {}) for name in TOPICS} | {name: {} for name in extra}
        missing = [
            NewTopic(name, num_partitions=partitions, replication_factor=replication, topic_configs=configs)
            for name, configs in wanted.items()
            if name not in here
        ]
        if not missing:
            return []
        answer = await admin.create_topics(missing)
    except KafkaConnectionError:
        raise EmbeddedError(f"Kafka does not answer at {bootstrap}.") from None
    finally:
        await admin.close()
    made = []
    for name, code, *detail in answer.topic_errors:
        error = for_code(code)
        if code and error is not TopicAlreadyExistsError:
            raise EmbeddedError(f"Kafka would not make the topic {name}: {error.__name__} {detail or ''}".rstrip())
        if not code:
            made.append(name)
    return made
