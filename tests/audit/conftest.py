"""An archive for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from domain.commands import PauseFlow, ResumeFlow
from tests.audit.archive import Archive
from tests.eventstore.house import new_tenant, open_house


@pytest.fixture
async def archive(database_url: str) -> AsyncIterator[Archive]:
    async with open_house(database_url) as house:
        made = Archive(house)
        made.flows = [(await house.begin()).id for _ in range(3)]
        await house.ask(ResumeFlow(flow_id=made.flows[0]))
        await made.sign()
        house.tenant = new_tenant()
        made.flows.append((await house.begin()).id)
        await house.ask(PauseFlow(flow_id=made.flows[3], reason="lunch"))
        await made.sign()
        yield made
