"""Targets, as somebody types it."""

from __future__ import annotations

import asyncio

from eventstore.breakers import SHARED, Breaker, Breakers
from eventstore.database import pool
from tests.cli.support import mfo

Environment = dict[str, str]


async def leave_alone(database_url: str, target: str) -> None:
    """What a worker does when the target asks for patience."""
    connections = pool(database_url)
    await connections.open(wait=True, timeout=30)
    try:
        await Breakers(connections).leave_alone(Breaker(SHARED, target), 600)
    finally:
        await connections.close()


def test_a_target_is_listed_and_tried_again(environment: Environment) -> None:
    asyncio.run(leave_alone(environment["MFO_DATABASE_URL"], "vcenter.example.com"))
    listed = mfo("target", "list", "--state", "open", environment=environment)
    assert listed.code == 0, listed.err
    assert "vcenter.example.com" in listed.out
    assert "rate_limited" in listed.out
    retried = mfo("target", "retry", "vcenter.example.com", "--json", environment=environment)
    assert retried.code == 0, retried.err
    assert retried.document["seconds_left"] == 0
    document = mfo("target", "list", "--json", environment=environment).document
    assert [one["state"] for one in document["targets"] if one["target"] == "vcenter.example.com"] == ["open"]


def test_a_target_that_never_failed_is_not_known(environment: Environment) -> None:
    unknown = mfo("target", "retry", "nobody-knows-it", "--json", environment=environment)
    assert unknown.code == 1
    assert unknown.document["error"]["code"] == "target_not_found"
