"""The programs of docs/how-to/integrate-a-service.md, as they stand, against the running stack; and what they rest on."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from contextlib import aclosing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import pytest

from domain.commands import CancelFlow, CreateFlow, DeleteFlow, PauseFlow
from mfo.client import Client, ServiceError
from mfo.kafka_client import CommandSender, Event, EventFollower, EventsLost, Place, ReplyTimedOut
from tests.cli.support import ROOT, clean_environment

GUIDE = ROOT / "docs/how-to/integrate-a-service.md"
PROGRAMS = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)


def tenant_of(environment: dict[str, str]) -> list[str]:
    """A tenant that has no flows yet."""
    return [str(uuid4()), str(uuid4()), environment["MFO_USER_ID"]]


def test_the_programs_of_the_guide_run_as_they_stand(environment: dict[str, str], tmp_path: Path) -> None:
    account, engagement, _ = tenant_of(environment)
    settings = environment | {"MFO_CLIENT_ACCOUNT_ID": account, "MFO_ENGAGEMENT_ID": engagement}
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(PROGRAMS)],
        cwd=tmp_path,
        env=clean_environment() | settings | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    refused, told, *events = done.stdout.splitlines()
    assert refused.startswith("flow_not_paused")
    assert told.startswith("accepted accepted")
    assert [event.split()[2] for event in events][:1] == ["mfo.flow.FlowCreated.v1"]
    assert events[-1].split()[2] == "mfo.flow.FlowCancelled.v1"
    assert (tmp_path / "planning.place").exists()


async def heard(follower: EventFollower, flows: int) -> list[Event]:
    """The events until so many flows were cancelled."""
    events: list[Event] = []
    async with follower, asyncio.timeout(30):
        async for event in follower:
            events.append(event)
            if sum(each.type.startswith("mfo.flow.FlowCancelled") for each in events) == flows:
                break
    return events


async def test_what_kafka_has_dropped_comes_from_the_store_and_nothing_twice(environment: dict[str, str]) -> None:
    bootstrap, tenant = environment["MFO_KAFKA_BOOTSTRAP"], tenant_of(environment)
    began = datetime.now(UTC)
    async with CommandSender(bootstrap, *tenant) as sender, Client(environment["MFO_URL"], *tenant) as client:
        flows = [uuid4() for _ in range(2)]
        for flow_id in flows:
            made = await sender.send(CreateFlow(flow_id=flow_id, flow_type="discovery", flow_name="Mine"))
            await sender.send(PauseFlow(flow_id=flow_id))
            with pytest.raises(ServiceError) as refused:
                await sender.send(PauseFlow(flow_id=flow_id), expected_version=made.version)
            assert refused.value.problem_code == "version_moved"
            await sender.send(CancelFlow(flow_id=flow_id))

        whole = EventFollower(bootstrap, *tenant[:2], start="beginning", client=client)
        events = await heard(whole, 2)
        for flow_id in flows:
            mine = [event for event in events if event.flow_id == flow_id]
            assert [event.sequence for event in mine] == list(range(1, len(mine) + 1))
        # from Kafka alone the same events come
        timed = await heard(EventFollower(bootstrap, *tenant[:2], start=began), 2)
        key = lambda event: (event.flow_id.hex, event.sequence)  # noqa: E731
        assert sorted(timed, key=key) == sorted(events, key=key)

        # as if Kafka had dropped what lies before: offsets that it does not have, some events of one flow seen
        kept = Place(dict.fromkeys(whole.place.offsets, 10**9), {str(flows[0]): 1}, whole=True)
        kept = msgspec.json.decode(msgspec.json.encode(kept), type=Place)
        again = await heard(EventFollower(bootstrap, *tenant[:2], start=kept, client=client), 2)
        assert sorted(again, key=key) == [
            e for e in sorted(events, key=key) if (e.flow_id, e.sequence) != (flows[0], 1)
        ]
        with pytest.raises(EventsLost):
            await heard(EventFollower(bootstrap, *tenant[:2], start=kept), 2)

        # a gap inside of what Kafka tells is filled, and what was seen does not come again
        gap = Place(whole.place.offsets, whole.place.seen, whole=True)
        del gap.seen[str(flows[1])]
        follower = EventFollower(bootstrap, *tenant[:2], start=gap, client=client)
        await sender.send(DeleteFlow(flow_id=flows[1]))
        filled = await heard(follower, 1)
        assert filled == [event for event in events if event.flow_id == flows[1]]


async def test_a_command_without_a_reply_says_under_which_id_to_send_it_again(environment: dict[str, str]) -> None:
    tenant = tenant_of(environment)
    async with CommandSender(environment["MFO_KAFKA_BOOTSTRAP"], *tenant) as sender:
        command = CreateFlow(flow_id=uuid4(), flow_type="discovery", flow_name="Slow")
        with pytest.raises(ReplyTimedOut, match="command mine within 0"):
            await sender.send(command, command_id="mine", patience_seconds=0)
        assert (await sender.send(command, command_id="mine")).outcome in {"accepted", "repeated"}


class Asking(Client):
    """A client that counts how often it asks where a flow stands."""

    asked = 0

    async def status(self, flow_id: str, **how: Any) -> dict[str, Any]:
        self.asked += 1
        return await super().status(flow_id, **how)


async def test_who_follows_a_flow_hears_of_it_and_asks_once_for_each_change(environment: dict[str, str]) -> None:
    async with Asking(environment["MFO_URL"], *tenant_of(environment)) as client:
        flow = await client.create_flow("discovery", "Followed")
        async with asyncio.timeout(30), aclosing(client.follow(flow["flow_id"])) as changes:
            assert (await anext(changes))["status"] == "initialized"
            await client.tell(flow["flow_id"], "pause")
            assert (await anext(changes))["status"] == "paused"
            await client.tell(flow["flow_id"], "cancel")
            assert [found["status"] async for found in changes] == ["cancelled"]
        assert client.asked == 3
