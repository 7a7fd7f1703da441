"""When flows will be done, and how far that is off."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from domain.forecast import Finish, Past, back_tested, critical_path, finishes, medians, whole

START = datetime(2026, 1, 1, tzinfo=UTC)


def past(n: int, *seconds: float, late: float = 0.0) -> Past:
    """The n-th flow, begun an hour after the one before; `late` is time that no phase accounts for."""
    began = START + timedelta(hours=n)
    return Past(
        began, began + timedelta(seconds=sum(seconds) + late), {f"p{i}": took for i, took in enumerate(seconds)}
    )


def test_a_phase_takes_what_it_took_in_half_of_the_flows() -> None:
    assert medians([past(0, 10, 100), past(1, 30, 300), past(2, 20)]) == {"p0": 20, "p1": 200}
    assert medians([]) == {}


def test_flows_that_are_all_alike_are_forecast_to_the_second() -> None:
    tested = back_tested([past(n, 10, 20) for n in range(12)])
    assert tested == (7, 0.0, 0.0, 0.0)


def test_a_flow_is_forecast_by_those_alone_that_had_ended_when_it_began() -> None:
    flows = [past(n, 10) for n in range(6)] + [past(6, 20)]
    tested = back_tested(flows)
    assert tested is not None
    assert (tested.flows, tested.median_error, tested.p90_error) == (2, 0.25, 0.5)
    assert tested.bias == 0.25
    assert back_tested([past(0, 10) for _ in range(20)]) is None


def test_too_few_flows_and_those_that_took_no_time_are_not_tested() -> None:
    assert back_tested([past(n, 10) for n in range(5)]) is None
    assert back_tested([past(n, 0) for n in range(9)]) is None


def test_a_flow_begins_when_the_last_that_it_waits_for_is_done() -> None:
    found = finishes({"a": 5, "b": 7, "c": 1, "d": 2}, {"c": ["a", "b", "gone"], "d": ["c"]})
    assert found == {"a": (5, None), "b": (7, None), "c": (8, "b"), "d": (10, "c")}
    assert critical_path(found) == ["b", "c", "d"]


@pytest.mark.parametrize("ring", [{"a": ["b"], "b": ["a"]}])
def test_a_ring_holds_nobody_for_ever(ring: dict[str, list[str]]) -> None:
    assert finishes({"a": 1, "b": 2}, ring) == {"a": Finish(1, None), "b": Finish(2, None)}


def test_phases_that_run_at_the_same_time_take_as_long_as_the_longest_way() -> None:
    follows: dict[str, tuple[str, ...]] = {"p0": (), "p1": ("p0",), "p2": ("p0",), "p3": ("p1", "p2")}
    assert whole({"p0": 1, "p1": 5, "p2": 2, "p3": 1}, follows) == 7
    assert whole({"p0": 1, "p3": 1}, follows) == 2
    assert whole({"p0": 1, "p3": 1}, {}) == 2
    assert whole({}, {}) == 0
    flows = [past(n, 10, 20, 20) for n in range(12)]
    tested = back_tested(flows, {"p0": (), "p1": ("p0",), "p2": ("p0",)})
    assert tested is not None
    assert tested.bias == 0.4


def test_of_no_flows_there_is_no_path() -> None:
    assert critical_path({}) == []
