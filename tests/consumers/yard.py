"""A keeper with its children, as the service has them, without Kafka."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

from consumers.frames import Begin
from consumers.keeper import Keeper
from consumers.phases import PhaseWork
from consumers.pool import WorkerPool
from consumers.work import Workshop
from domain.events import RunReassigned
from domain.flow import Flow
from eventstore.definitions import modules
from eventstore.past import Past
from eventstore.service import write_side
from tests.consumers.conftest import ended
from tests.eventstore.house import House, config_for
from tests.waiting import until

TOLD = "tests.consumers.told"


class Yard:
    """The keeper, its children, and a folder in which flows keep a ledger and wait at a gate."""

    def __init__(self, house: House, keeper: Keeper, pool: WorkerPool, folder: Path) -> None:
        self.house, self.keeper, self.pool, self.folder = house, keeper, pool, folder

    async def start(self, flow_type: str, ledger: str = "ledger", **initial_data: Any) -> UUID:
        given = {"ledger": str(self.folder / ledger), "go": str(self.folder / "go"), **initial_data}
        return (await self.house.begin(flow_type=flow_type, initial_data=given)).id

    async def ended(self, flow_id: UUID, *statuses: str, within: float = 90) -> Flow:
        return await ended(self.house, flow_id, *statuses, within=within)

    async def finish(self, flow_type: str, *statuses: str, **initial_data: Any) -> Flow:
        return await self.ended(await self.start(flow_type, **initial_data), *statuses)

    async def changed_hands(self, flow_id: UUID) -> list[str]:
        """Why its runs went to other workers."""
        facts = [recorded.fact for _, recorded in await self.house.side.store.history(flow_id)]
        return [fact.reason for fact in facts if isinstance(fact, RunReassigned)]

    def lines(self, ledger: str = "ledger") -> list[str]:
        file = self.folder / ledger
        return file.read_text().splitlines() if file.exists() else []

    async def noted(self, line: str, ledger: str = "ledger") -> None:
        """Wait until a handler has written this."""
        await until(lambda: line in self.lines(ledger), 90)

    def open_gate(self) -> None:
        (self.folder / "go").touch()

    @property
    def children(self) -> list[int]:
        return [child.process.pid for child in self.pool._children]

    async def quiet(self) -> None:
        await until(lambda: self.keeper.active == 0, 90)


@asynccontextmanager
async def open_yard(database_url: str, folder: Path, **settings: Any) -> AsyncIterator[Yard]:
    given = {"workers": 1, "worker_memory_mb": 600, "flow_type_modules": (TOLD,), **settings}
    config = config_for(database_url, **given)
    work = PhaseWork(modules(config.flow_type_modules))
    keeper = Keeper(config.workers, config.slots)
    begin = Begin(
        database_url=database_url,
        shard="mfo",
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
        )
        await pool.start()
        keeper.attach(
            side, pool, Workshop(work, side.artifacts, side.imports, side.keyring, Past(side.pool, side.store))
        )
        keeper.start()
        try:
            yield Yard(House(side), keeper, pool, folder)
        finally:
            await keeper.stop(0.1)
            await pool.stop()
