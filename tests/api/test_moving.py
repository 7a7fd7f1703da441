"""Moving flows that are at work: waited for, paused around their move, or begun anew; and again where it was broken off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from domain.events import FlowMigrated, FlowPaused
from eventstore.service import write_side
from mfo.client import Client
from mfo.moving import Moves, Running, move
from tests.api.conftest import Api, config_for, started
from tests.consumers.yard import Yard, open_yard
from tests.waiting import until

Json = dict[str, Any]
OLD, BOTH = "tests.versions.old", "tests.versions.both"


class Site:
    """A service with workers, whose read model follows, and a client of it."""

    def __init__(self, api: Api, yard: Yard, folder: Path) -> None:
        self.api, self.yard, self.folder = api, yard, folder
        self.flows: list[str] = []
        self.said: list[str] = []
        tenant = api.tenant
        names = ("X-Client-Account-ID", "X-Engagement-ID", "X-User-ID")
        self.client = Client("http://service", *(tenant[name] for name in names))
        transport = httpx.ASGITransport(api.app, raise_app_exceptions=False)
        self.client._http = httpx.AsyncClient(transport=transport, base_url="http://service", headers=tenant)

    async def follow(self) -> None:
        """What the projections do, again and again."""
        while True:
            for flow_id in list(self.flows):
                await self.api.project(flow_id)
            await asyncio.sleep(0.02)

    async def begun(self, name: str) -> str:
        """A flow whose second phase is under way, until its gate opens."""
        given = {"clean_gate": str(self.folder / name)}
        body = {"flow_type": "released", "flow_name": name, "initial_data": given, "options": {"auto_execute": True}}
        flow_id: str = (await self.api.made(project=False, **body))["flow_id"]
        self.flows.append(flow_id)
        await self.stands(flow_id, lambda flow: flow.run is not None and flow.run.phase_name == "clean")
        return flow_id

    async def stands(self, flow_id: str, so: Any) -> Any:
        async def there() -> Any:
            flow = await self.api.side.store.flow(UUID(flow_id))
            return flow if so(flow) else None

        return await until(there, 60)

    def open(self, name: str) -> None:
        (self.folder / name).touch()

    def moves(self, **given: Any) -> Moves:
        wanted = {"phase_mapping": {"clean": "cleanse"}, "patience_seconds": 0, "reason": "released", **given}
        return Moves(flow_type="released", to_version="1.1.0", **wanted)

    async def move(self, **given: Any) -> Json:
        return await move(self.client, self.moves(**given), self.said.append)


@asynccontextmanager
async def open_site(database_url: str, folder: Path) -> AsyncIterator[Site]:
    # flows are made by the former release, and both are at work
    async with (
        started(config_for(database_url, flow_type_modules=(OLD,))) as api,
        write_side(config_for(database_url, flow_type_modules=(BOTH,))),
        open_yard(database_url, folder, flow_type_modules=(BOTH,)) as yard,
    ):
        site = Site(api, yard, folder)
        following = asyncio.create_task(site.follow())
        try:
            yield site
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
            await site.client._http.aclose()


@pytest.mark.timeout(300)
async def test_flows_at_work_are_moved_as_one_likes(database_url: str, tmp_path: Path) -> None:
    async with open_site(database_url, tmp_path) as site:
        waited, paused, anew = [await site.begun(name) for name in ("waited", "paused", "anew")]
        everything = await site.move()
        assert (everything["checked"], everything["moved"]) == (3, [])
        assert {one["code"] for one in everything["left"]} == {"phase_running"}

        # begun anew: what the old worker brings counts for nothing
        done = await site.move(flow_ids=[anew], running=Running.RESTART)
        assert (done["moved"], done["left"]) == ([anew], [])
        flow = await site.stands(anew, lambda flow: flow.status == "completed")
        assert flow.phase("cleanse").outputs == {"cleanse_by": "new"}

        # broken off while the flow is still at its phase, and asked again
        broken = await site.move(flow_ids=[paused], running=Running.PAUSE)
        assert [one["code"] for one in broken["left"]] == ["phase_running"]
        assert (await site.stands(paused, lambda flow: flow.paused is not None)).draining
        going = asyncio.create_task(site.move(flow_ids=[paused], running=Running.PAUSE, patience_seconds=60))
        site.open("paused")
        assert (await going)["moved"] == [paused]
        flow = await site.stands(paused, lambda flow: flow.status == "completed")
        assert (flow.phase("cleanse").outputs, flow.flow_version) == ({"clean_by": "old"}, "1.1.0")
        facts = [type(one.fact) for _, one in await site.api.side.store.history(flow.id)]
        assert (facts.count(FlowPaused), facts.count(FlowMigrated)) == (1, 1)

        # one that has ended before anybody could move it needs no move
        going = asyncio.create_task(site.move(flow_ids=[waited], patience_seconds=60))
        site.open("waited")
        ended = await going
        assert (ended["moved"], ended["left"]) == ([], [])
        assert (await site.stands(waited, lambda flow: flow.status == "completed")).flow_version == "1.0.0"


async def test_a_flow_that_was_moved_and_not_resumed_is_resumed_by_asking_again(
    database_url: str, tmp_path: Path
) -> None:
    async with open_site(database_url, tmp_path) as site:
        flow_id = await site.begun("gone")
        moves = site.moves(running=Running.PAUSE)
        await site.client.tell(flow_id, "pause", {"reason": moves.pause_reason})
        site.open("gone")
        await site.stands(flow_id, lambda flow: flow.run is None)
        await site.client.migrate(flow_id, "1.1.0", phase_mapping=moves.phase_mapping)
        again = await site.move(running=Running.PAUSE)
        assert (again["moved"], again["left"]) == ([], [])
        await site.stands(flow_id, lambda flow: flow.status == "completed")
