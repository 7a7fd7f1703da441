"""The breakers of targets in the store: counted, opened, tried by one, closed; all by the store's clock."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio

from eventstore.breakers import PROBE_SECONDS, SHARED, Breaker, Breakers, Counted
from tests.eventstore.house import House, open_house

pytestmark = pytest.mark.asyncio(loop_scope="module")
LIMITS = {"threshold": 3, "window_seconds": 60.0, "first_seconds": 10.0, "most_seconds": 70.0}


class Board:
    """The breakers, and one target that is this test's alone."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.breakers = Breakers(house.side.pool)
        self.target = Breaker(SHARED, f"host-{uuid4().hex}")

    async def fail(self, probe: UUID | None = None, kind: str = "network") -> Counted:
        return await self.breakers.failed(self.target, probe, kind, **LIMITS)  # type: ignore[arg-type]

    async def open(self) -> Counted:
        """Fail until it is open."""
        counted = [await self.fail() for _ in range(3)]
        assert [one.opened for one in counted] == [False, False, True]
        return counted[-1]

    async def state(self) -> str:
        standing = await self.breakers.standing(self.target)
        return standing.state if standing else "unknown"

    async def seconds(self) -> float:
        standing = await self.breakers.standing(self.target)
        assert standing is not None
        assert standing.seconds is not None
        return standing.seconds

    async def try_it(self) -> UUID | None:
        """Ask to be the probe."""
        probe = uuid4()
        return probe if await self.breakers.probe(self.target, probe) else None

    async def probed(self) -> UUID:
        probe = await self.try_it()
        assert probe is not None
        return probe

    async def later(self, seconds: float) -> None:
        await self.house.shift_clock(seconds)

    async def row(self) -> dict[str, Any]:
        row = await self.breakers.one(self.target)
        assert row is not None
        return row


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(module_url: str) -> AsyncIterator[House]:
    async with open_house(module_url) as house:
        yield house


@pytest_asyncio.fixture(loop_scope="module")
async def board(house: House) -> Board:
    await house.rows("truncate breakers")
    await house.rows("update clock set shift = '0 s'")
    return Board(house)


async def test_a_target_that_never_failed_is_not_known(board: Board) -> None:
    assert await board.breakers.standing(board.target) is None
    assert not await board.breakers.probe(board.target, uuid4())


async def test_a_target_opens_at_the_threshold(board: Board) -> None:
    counted = await board.open()
    assert (counted.state, counted.failures, counted.seconds) == ("open", 3, 10.0)
    row = await board.row()
    assert (row["reason"], row["last_class"], row["openings"]) == ("failures", "network", 1)
    assert row["opened_at"] is not None
    assert 0 < row["seconds_left"] <= 10


async def test_failures_count_within_their_window_only(board: Board) -> None:
    await board.fail()
    await board.fail()
    await board.later(61)
    assert await board.fail() == ("closed", 1, False, None)


async def test_a_success_makes_the_count_begin_anew(board: Board) -> None:
    await board.fail()
    await board.fail()
    await board.breakers.count_anew(board.target)
    assert (await board.fail()).failures == 1


async def test_while_it_is_open_nobody_may_try(board: Board) -> None:
    await board.open()
    assert await board.try_it() is None
    assert 0 < await board.seconds() <= 10


async def test_when_the_time_is_over_one_may_try(board: Board) -> None:
    await board.open()
    await board.later(11)
    assert await board.seconds() == 0
    assert await board.try_it() is not None
    assert await board.state() == "half_open"
    assert await board.try_it() is None


async def test_the_probe_that_is_answered_closes_it(board: Board) -> None:
    await board.open()
    await board.later(11)
    probe = await board.probed()
    assert await board.breakers.close(board.target, probe)
    row = await board.row()
    assert (row["state"], row["failures"], row["open_until"]) == ("closed", 0, None)
    assert row["closed_at"] >= row["opened_at"]


async def test_each_probe_that_fails_doubles_the_time_up_to_a_most(board: Board) -> None:
    counted = await board.open()
    times = [counted.seconds]
    for _ in range(4):
        await board.later(71)
        counted = await board.fail(await board.probed())
        assert counted.opened
        times.append(counted.seconds)
    assert times == [10, 20, 40, 70, 70]
    await board.later(71)
    assert await board.breakers.close(board.target, await board.probed())
    assert (await board.open()).seconds == 10


async def test_what_began_before_it_was_opened_changes_nothing(board: Board) -> None:
    await board.open()
    late = await board.fail(kind="timeout")
    assert (late.state, late.opened) == ("open", False)
    await board.later(11)
    await board.probed()
    assert not (await board.fail()).opened
    assert await board.state() == "half_open"


async def test_a_probe_whose_worker_died_is_taken_over_when_its_lease_has_lapsed(board: Board) -> None:
    await board.open()
    await board.later(11)
    dead = await board.probed()
    await board.later(PROBE_SECONDS + 1)
    second = await board.probed()
    # the one that was thought dead has no say any more
    assert not await board.breakers.close(board.target, dead)
    assert not (await board.fail(dead)).opened
    await board.breakers.give_up(board.target, dead)
    assert await board.state() == "half_open"
    assert await board.breakers.close(board.target, second)


async def test_a_probe_that_is_kept_is_not_taken_over(board: Board) -> None:
    await board.open()
    await board.later(11)
    probe = await board.probed()
    await board.later(PROBE_SECONDS - 1)
    await board.breakers.renew(board.target, probe)
    await board.later(PROBE_SECONDS - 1)
    assert await board.try_it() is None
    assert await board.breakers.close(board.target, probe)


async def test_after_a_probe_without_a_verdict_the_next_call_tries(board: Board) -> None:
    await board.open()
    await board.later(11)
    await board.breakers.give_up(board.target, await board.probed())
    assert await board.try_it() is not None


async def test_a_target_that_asks_for_patience_gets_it(board: Board) -> None:
    await board.breakers.leave_alone(board.target, 40)
    assert await board.state() == "open"
    assert 30 < await board.seconds() <= 40
    row = await board.row()
    assert (row["reason"], row["openings"], row["failures"]) == ("rate_limited", 1, 0)
    await board.breakers.leave_alone(board.target, 5)
    assert await board.seconds() > 30
    await board.breakers.leave_alone(board.target, 90)
    assert await board.seconds() > 80
    assert (await board.row())["openings"] == 1
    await board.later(91)
    assert await board.breakers.close(board.target, await board.probed())


async def test_patience_asked_of_a_probe_opens_it_again(board: Board) -> None:
    await board.open()
    await board.later(11)
    probe = await board.probed()
    await board.breakers.leave_alone(board.target, 50)
    assert await board.state() == "open"
    assert not await board.breakers.close(board.target, probe)


async def test_somebody_may_have_it_tried_at_once(board: Board) -> None:
    assert not await board.breakers.ask_again(board.target, "maria")
    await board.open()
    assert await board.breakers.ask_again(board.target, "maria")
    assert await board.house.one("select changed_by from breakers where target = %s", board.target.target) == "maria"
    assert (await board.row())["asked_again_by"] is None
    assert (await board.fail(await board.probed())).seconds == 10


async def test_a_clock_that_is_set_back_keeps_nobody_away(board: Board) -> None:
    await board.open()
    await board.later(-3600)
    assert await board.seconds() == 0
    await board.probed()
    await board.later(-3600)
    probe = await board.probed()
    assert await board.breakers.close(board.target, probe)
    await board.fail()
    await board.later(-3600)
    assert (await board.fail()).failures == 1


async def test_a_tenant_sees_what_all_share_and_its_own(house: House) -> None:
    breakers, account = Breakers(house.side.pool), uuid4()
    names = [f"seen-{n}-{uuid4().hex[:6]}" for n in range(3)]
    for scope in (SHARED, str(account), str(uuid4())):
        for name in names:
            await breakers.failed(Breaker(scope, name), None, "network", **LIMITS)  # type: ignore[arg-type]
    await breakers.leave_alone(Breaker(str(account), names[1]), 30)
    seen: list[tuple[str, bool]] = []
    after = None
    while True:
        rows, total = await breakers.page(account, states=None, after=after, limit=2)
        seen.extend((row["target"], row["shared"]) for row in rows if row["target"] in names)
        if not rows:
            break
        after = Breaker(SHARED if rows[-1]["shared"] else str(account), rows[-1]["target"])
    assert sorted(seen) == sorted((name, shared) for name in names for shared in (True, False))
    assert total >= 6
    rows, total = await breakers.page(account, states=["open"], after=None, limit=50)
    assert [(row["target"], row["shared"]) for row in rows if not row["shared"]] == [(names[1], False)]


async def test_what_is_not_closed_is_counted_and_what_was_closed_long_ago_forgotten(board: Board) -> None:
    await board.breakers.leave_alone(board.target, 10)
    latest, total = await board.breakers.not_closed(1)
    assert latest == [(SHARED, board.target.target, "open")]
    assert total >= 1
    await board.later(11)
    await board.breakers.close(board.target, await board.probed())
    await board.breakers.forget(60)
    assert await board.state() == "closed"
    await board.later(61)
    await board.breakers.forget(60)
    assert await board.state() == "unknown"
