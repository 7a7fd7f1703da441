"""A keeper with real children for the flow types of one module, without Kafka."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from consumers.frames import Begin
from consumers.keeper import Keeper
from consumers.phases import PhaseWork
from consumers.pool import WorkerPool
from consumers.work import Workshop
from eventstore.definitions import modules
from eventstore.past import Past
from eventstore.service import write_side
from tests.consumers.test_keeper import Yard
from tests.eventstore.house import House, config_for


@asynccontextmanager
async def open_yard(url: str, module: str, *, workers: int = 2) -> AsyncIterator[Yard]:
    """As the service `consumers` has them, for as long as the block lasts."""
    config = config_for(url, workers=workers, worker_memory_mb=300, flow_type_modules=(module,))
    work = PhaseWork(modules([module]))
    keeper = Keeper(config.workers, config.slots)
    begin = Begin(database_url=url, shard="mfo", master_key=config.master_key, flow_type_modules=(module,))
    async with write_side(config, slots=keeper, handlers=work.handlers, validators=work.validators) as side:
        pool = WorkerPool(
            config.workers,
            begin,
            memory_mb=config.worker_memory_mb,
            on_progress=keeper.on_progress,
            on_steps=keeper.on_steps,
        )
        await pool.start()
        past = Past(side.pool, side.store)
        workshop = Workshop(work, side.artifacts, side.imports, side.keyring, past, breakers=side.breakers)
        keeper.attach(side, pool, workshop)
        keeper.start()
        try:
            yield Yard(House(side), keeper, pool)
        finally:
            await keeper.stop()
            await pool.stop()


def lines(ledger: Path) -> list[str]:
    """What was entered on the outside, in order."""
    return ledger.read_text().splitlines() if ledger.exists() else []
