"""Makes the contract's topics on the broker that the settings name: `python -m mfo.embedded.make_topics`."""

from __future__ import annotations

import asyncio
import sys

from domain.errors import MfoError
from mfo.embedded.topics import ensure_topics
from mfo.settings import load_settings


def main() -> None:
    """Run once before the services; repeats change nothing. Leaves with 1 and a sentence where it cannot."""
    try:
        settings = load_settings()
        bootstrap = settings.kafka_bootstrap
        if not bootstrap:
            sys.exit("MFO_KAFKA_BOOTSTRAP is missing; set it to the address of Kafka, host:port.")
        made = asyncio.run(
            ensure_topics(bootstrap, settings.topic_partitions, settings.topic_prefix, extra=settings.reply_topics)
        )
    except MfoError as error:
        sys.exit(error.detail)
    print(f"made {', '.join(made)}" if made else "every topic is there", file=sys.stderr)


if __name__ == "__main__":
    main()
