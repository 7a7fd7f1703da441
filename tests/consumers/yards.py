"""A keeper with real children for the flow types of one module, without Kafka."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.consumers.keeping import at_work
from tests.consumers.test_keeper import Yard
from tests.eventstore.house import config_for


@asynccontextmanager
async def open_yard(url: str, module: str, *, workers: int = 2) -> AsyncIterator[Yard]:
    """As the service `consumers` has them, for as long as the block lasts."""
    config = config_for(url, workers=workers, worker_memory_mb=300, flow_type_modules=(module,))
    async with at_work(config) as (house, keeper, pool):
        yield Yard(house, keeper, pool)


def lines(ledger: Path) -> list[str]:
    """What was entered on the outside, in order."""
    return ledger.read_text().splitlines() if ledger.exists() else []
