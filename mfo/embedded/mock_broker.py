"""librdkafka's in-process Kafka broker as a process: prints its address on one line, serves until it is ended."""

from __future__ import annotations

import signal
import sys

from confluent_kafka import Producer


def main() -> None:
    """Serves on a port of librdkafka's choosing; 4 partitions a topic, made when named here or on first use, kept in memory."""
    broker = Producer({"test.mock.num.brokers": 1, "log_level": 0})
    (found,) = broker.list_topics(timeout=10).brokers.values()
    # who asks for a topic has it made; others list all that there are before they ask
    for topic in sys.argv[2:]:
        broker.list_topics(topic, timeout=10)
    print(f"{found.host}:{found.port}", flush=True)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    main()
