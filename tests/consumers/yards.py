"""A keeper with real children for the flow types of one module, without Kafka."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest_asyncio

from tests.consumers.keeping import at_work
from tests.consumers.test_keeper import Yard
from tests.eventstore.house import config_for


@asynccontextmanager
async def open_yard(url: str, module: str, *, workers: int = 2) -> AsyncIterator[Yard]:
    """As the service `consumers` has them, for as long as the block lasts."""
    config = config_for(url, workers=workers, worker_memory_mb=300, flow_type_modules=(module,))
    async with at_work(config) as (house, keeper, pool):
        yield Yard(house, keeper, pool)


def yard_of(module: str, *, workers: int = 2) -> Any:
    """The fixture `yard` of a test module: a yard for these flow types that all its tests share."""

    @pytest_asyncio.fixture(scope="module", loop_scope="module")
    async def yard(module_url: str) -> AsyncIterator[Yard]:
        async with open_yard(module_url, module, workers=workers) as yard:
            yield yard

    return yard


def lines(ledger: Path) -> list[str]:
    """What was entered on the outside, in order."""
    return ledger.read_text().splitlines() if ledger.exists() else []
