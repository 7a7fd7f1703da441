"""How fast the relay tells Kafka: history that waits in the store, from the first event to the position of the last.

A PostgreSQL and a Kafka of its own; the relay runs in this process, so its share of the processor is the load's.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from bench.history import load
from bench.processor import LOAD, Parts, spent
from bench.report import Report, figure
from bench.store import OwnStore, own_store
from eventstore.database import connect
from eventstore.relay import Relay, tell_anew

FLOWS = 5000
PATIENCE_SECONDS = 600.0


async def _told(store: OwnStore) -> tuple[float, dict[str, Any]]:
    """Events a second of a relay that tells everything, and what it cost."""
    parts = Parts(others=store.pids)
    connection = await connect(store.config.database_url, store.config.shard)
    relay = asyncio.create_task(Relay(store.config).run())
    [(last,)] = await (await connection.execute("select max(notification_id) from stored_events")).fetchall()
    first: tuple[float, int] | None = None
    before, until = parts.take(), time.monotonic() + PATIENCE_SECONDS
    try:
        position = 0
        while position < last:
            if time.monotonic() > until:
                raise RuntimeError(f"told up to {position} of {last} in time")
            rows = await (await connection.execute("select position from relay")).fetchall()
            position = int(rows[0][0]) if rows else 0
            if first is None and position:
                # connecting is not what is measured
                before, first = parts.take(), (time.perf_counter(), position)
            await asyncio.sleep(0.005)
        assert first is not None
        took, told = time.perf_counter() - first[0], last - first[1]
        return told / took, spent(before, parts.take(), told / 1000, "1,000 events")
    finally:
        relay.cancel()
        await asyncio.gather(relay, return_exceptions=True)
        await connection.close()


def run(*, flows: int = FLOWS, repeats: int = 3) -> Report:
    """The same history, told again and again."""
    rates, processor = [], dict[str, Any]()
    with own_store(kafka=True) as store:
        events = asyncio.run(load(store.config, flows))
        for _ in range(repeats):
            tell_anew(store.config.database_url, store.config.shard)
            rate, processor = asyncio.run(_told(store))
            rates.append(rate)
    processor["ms"] = {"relay" if part == LOAD else part: ms for part, ms in processor["ms"].items()}
    return Report(
        f"the relay tells {events:,} events that wait",
        [
            figure("told", "events/s", rates, share_of="produce"),
            figure("processor", "ms/1,000 events", processor["total_ms"], share_of="json decode", units=1000),
        ],
        processor={"telling": processor},
        versions=store.versions,
    )
