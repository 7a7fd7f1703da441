"""Under load a flow that goes on by itself waits for its next events, and its partition with it."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID, uuid4

import pytest

from domain.events import TOPICS, FlowCompleted, FlowCreated, FlowPaused, InputRequested, PhaseCompleted, PhaseStarted
from eventstore.config import ServiceConfig
from projections import held
from projections.feed import Parcel
from projections.held import HELD_SECONDS, MANY_FLOWS, Held, Portion
from projections.told import Told
from tests.projections.conftest import House
from tests.projections.test_feed import followed
from tests.projections.test_following import Counting, arrived, position
from tests.waiting import until

BEGUN = (FlowCreated, PhaseStarted)


def told(flow_id: UUID, *facts: type, version: int = 1, position: int = 1) -> list[Told]:
    return [Told(flow_id, version + n, position + n, TOPICS[fact], b"{}") for n, fact in enumerate(facts)]


def parcel(events: Sequence[Told], *, partition: int = 0, after: int = 1) -> Parcel:
    reached = max((event.position for event in events), default=0)
    return Parcel(partition, tuple(events), after, reached, sum(len(event.body) for event in events))


def crowd(*, partition: int = 9) -> Held:
    """What is in hand under load: as many flows as that takes, each in a phase, all since 0."""
    waiting = Held()
    events = [event for _ in range(MANY_FLOWS) for event in told(uuid4(), *BEGUN)]
    waiting.add(parcel(events, partition=partition), events, now=0.0)
    return waiting


def hold(waiting: Held, one: Parcel, *, now: float) -> Portion:
    waiting.add(one, one.told, now)
    return waiting.take(now)


def test_with_few_flows_in_hand_nothing_waits() -> None:
    one = parcel(told(uuid4(), *BEGUN), after=2)
    assert hold(Held(), one, now=5.0) == (list(one.told), {0: 2}, {0: 2})


def test_under_load_a_flow_waits_while_a_phase_of_it_runs() -> None:
    waiting, flow_id = crowd(), uuid4()
    begun = parcel(told(flow_id, *BEGUN), after=2)
    ended = parcel(told(flow_id, PhaseCompleted, FlowCompleted, version=3, position=7), after=4)
    assert hold(waiting, begun, now=0.01) == ([], {}, {})
    assert hold(waiting, ended, now=0.02) == ([*begun.told, *ended.told], {0: 4}, {0: 8})


@pytest.mark.parametrize("fact", [FlowPaused, InputRequested, PhaseCompleted, FlowCompleted])
def test_what_comes_to_rest_never_waits(fact: type) -> None:
    one = parcel(told(uuid4(), *BEGUN, fact))
    assert hold(crowd(), one, now=0.01).told == list(one.told)


def test_a_flow_of_which_something_else_was_told_does_not_wait_for_the_phase_beside_it() -> None:
    one = parcel(told(uuid4(), PhaseStarted, InputRequested, PhaseStarted))
    assert hold(crowd(), one, now=0.01).told == list(one.told)


def test_no_flow_waits_for_longer_than_that() -> None:
    waiting = crowd()
    one = parcel(told(uuid4(), *BEGUN), after=2)
    assert hold(waiting, one, now=HELD_SECONDS / 2).told == []
    assert waiting.due == HELD_SECONDS
    old = waiting.take(HELD_SECONDS)
    assert {event.flow_id for event in old.told}.isdisjoint({event.flow_id for event in one.told})
    assert old.moved == {9: 1}
    # so few are left that there is no load any more
    assert waiting.take(HELD_SECONDS).told == list(one.told)
    assert not waiting


def test_a_partition_goes_on_only_behind_what_does_not_wait() -> None:
    waiting, slow, quick = crowd(), uuid4(), uuid4()
    begun = parcel(told(slow, *BEGUN), after=2)
    other = parcel(told(quick, *BEGUN, PhaseCompleted, FlowCompleted, position=3), after=6)
    assert hold(waiting, begun, now=0.01) == ([], {}, {})
    assert hold(waiting, other, now=0.02) == (list(other.told), {}, {})
    ended = parcel(told(slow, PhaseCompleted, FlowCompleted, version=3, position=7), after=8)
    assert hold(waiting, ended, now=0.03) == ([*begun.told, *ended.told], {0: 8}, {0: 8})


def test_what_nobody_wants_is_passed_by_at_its_place() -> None:
    waiting = crowd()
    begun = parcel(told(uuid4(), *BEGUN), after=2)
    waiting.add(begun, begun.told, 0.01)
    waiting.add(parcel(told(uuid4(), FlowPaused, position=5), after=3), [], 0.01)
    assert waiting.take(0.02).moved == {}
    assert waiting.take(0.01 + HELD_SECONDS).moved == {0: 3, 9: 1}


def test_many_bytes_are_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = crowd()
    monkeypatch.setattr(held, "MOST_BYTES", 10)
    assert len(waiting.take(0.01).told) == 2 * MANY_FLOWS


def test_what_was_held_before_partitions_were_taken_over_comes_from_the_store() -> None:
    waiting = crowd()
    waiting.clear()
    assert not waiting
    assert waiting.take(1.0) == ([], {}, {})


async def test_under_load_flows_that_run_are_written_in_time_and_the_mark_reaches_the_end(
    told_house: House, config: ServiceConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held, "MANY_FLOWS", 1)
    flows = Counting(told_house)
    async with followed(config, flows):
        running, ended = await told_house.begin(), await told_house.begin()
        await told_house.finish(ended)
        await arrived(told_house, running, ended)
        end = await told_house.side.store.end()

        async def all_there() -> bool:
            return await position(told_house, flows.name) >= end

        await until(all_there)
