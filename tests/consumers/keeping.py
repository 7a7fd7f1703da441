"""A keeper at work with real children, as the service `consumers` has it, without Kafka."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from consumers.frames import Begin
from consumers.keeper import Keeper
from consumers.phases import PhaseWork
from consumers.pool import WorkerPool
from consumers.work import Workshop
from eventstore.definitions import modules
from eventstore.past import Past
from eventstore.service import ServiceConfig, write_side
from tests.eventstore.house import House


@asynccontextmanager
async def at_work(
    config: ServiceConfig, *, grace_seconds: float = 1.5
) -> AsyncIterator[tuple[House, Keeper, WorkerPool]]:
    """For as long as the block lasts; then runs in hand get so long to end."""
    work = PhaseWork(modules(config.flow_type_modules))
    keeper = Keeper(config.workers, config.slots)
    begin = Begin(
        database_url=config.database_url,
        shard=config.shard,
        master_key=config.master_key,
        flow_type_modules=config.flow_type_modules,
    )
    async with write_side(config, slots=keeper, handlers=work.handlers, validators=work.validators) as side:
        pool = WorkerPool(
            config.workers,
            begin,
            memory_mb=config.worker_memory_mb,
            max_runs=config.worker_max_runs,
            recycle_mb=config.worker_recycle_mb,
            on_progress=keeper.on_progress,
            on_steps=keeper.on_steps,
            on_flow=keeper.on_flow,
        )
        await pool.start()
        past = Past(side.pool, side.store)
        workshop = Workshop(work, side.artifacts, side.imports, side.keyring, past, breakers=side.breakers)
        keeper.attach(side, pool, workshop)
        keeper.start()
        try:
            yield House(side), keeper, pool
        finally:
            await keeper.stop(grace_seconds)
            await pool.stop()
