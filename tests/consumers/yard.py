"""A keeper with its children, as the service has them, without Kafka."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

from consumers.keeper import Keeper
from consumers.pool import WorkerPool
from domain.events import RunReassigned
from domain.flow import Flow
from tests.consumers.conftest import ended
from tests.consumers.keeping import at_work
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
    async with at_work(config, grace_seconds=0.1) as (house, keeper, pool):
        yield Yard(house, keeper, pool, folder)
