"""How fast history is proven: the hash chains of many flows and the signed checkpoints over them, on all cores.

A PostgreSQL of its own with the real history of discovery flows that are done, signed before; what is measured is what
`mfo audit verify` does.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from bench.history import load
from bench.processor import Parts, spent
from bench.report import Report, figure
from bench.store import SEED, OwnStore, own_store
from eventstore.audit.signer import Signer
from eventstore.audit.signing import SigningKey, trusted
from eventstore.config import JOBS
from eventstore.database import connect
from mfo.auditing import Which, verify

FLOWS = 30_000
LEAST_EVENTS_PER_SECOND = 200_000


async def _signed(store: OwnStore, key: SigningKey) -> None:
    """Sign until nothing is left to be signed."""
    connection = await connect(store.config.database_url, store.config.shard)
    signer = Signer(key, {}, "bench")
    try:
        while (done := await signer.round(connection)) is not None and done.more:
            pass
        await signer.release(connection)
    finally:
        await connection.close()


def _quiet(_: str) -> None:
    """Figures are told at the end."""


def run(*, flows: int = FLOWS, repeats: int = 3, jobs: int = JOBS) -> Report:
    """All of the store, again and again; raises RuntimeError where something does not hold."""
    key = SigningKey(SEED)
    rates, processor = [], dict[str, Any]()
    with own_store() as store:
        events = asyncio.run(load(store.config, flows))
        began = time.perf_counter()
        asyncio.run(_signed(store, key))
        signed = time.perf_counter() - began
        parts = Parts(others=store.pids)
        for _ in range(repeats):
            before, began = parts.take(), time.perf_counter()
            verdict = verify(store.config, trusted([key.public_key]), Which(), jobs=jobs, said=_quiet)
            rates.append(verdict.events / (time.perf_counter() - began))
            processor = spent(before, parts.take(), verdict.events / 1000, "1,000 events")
            if not verdict.holds or verdict.events != events:
                raise RuntimeError(f"{verdict.events} of {events} events hold; {verdict.troubles[:3]}")
    return Report(
        f"proof of {events:,} events of {flows:,} flows, {jobs} processes",
        [
            figure("verify", "events/s", rates, at_least=LEAST_EVENTS_PER_SECOND, share_of="sha256 chain"),
            figure("verify, processor", "ms/1,000 events", processor["total_ms"], share_of="sha256 chain", units=1000),
            figure("sign", "events/s", events / signed, share_of="sha256 chain"),
        ],
        processor={"verifying": processor},
        versions=store.versions,
        runs=[{"events": events, "unsigned": getattr(verdict, "unsigned", None)}],
    )
