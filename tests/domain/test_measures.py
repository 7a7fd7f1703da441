"""Figures that can be added up, and the stretches of time they are kept for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.measures import DIGITS, ERROR, Stretch, begin_of, counted, cover, end_of, held, quantile, spread, tokens


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@given(st.lists(st.integers(1, 2**38), min_size=1), st.sampled_from([0.01, 0.5, 0.95, 1.0]))
def test_a_quantile_is_off_by_no_more_than_the_error(values: list[int], part: float) -> None:
    histogram = sum(held(value) for value in values)
    rank = max(-(-part * len(values) // 1), 1)
    exact = sorted(values)[int(rank) - 1]
    found = quantile(histogram, part)
    assert found is not None
    assert abs(found - exact) <= exact * ERROR * 1.0001
    assert counted(histogram) == counted(str(histogram)) == len(values)


def test_histograms_are_taken_from_each_other_as_they_are_added() -> None:
    assert held(1) + 2 * held(700) + held(9) - held(9) == 10**DIGITS + 2 * 10 ** (38 * DIGITS)
    assert quantile(0, 0.5) is None
    assert spread(held(1) + 99 * held(0), 0.5, 0.99, 1.0) == (100, (0.0, 0.0, quantile(held(1), 1.0)))
    assert quantile(held(0.2) + held(0), 0.95) == 0.0
    assert held(2**90) == held(2**41)


def test_tokens_are_summed_wherever_they_stand() -> None:
    used = {"cpu_seconds": 1.5, "agents": {"total_tokens": 40, "calls": 2}, "total": {"x": {"total_tokens": 2}}}
    assert tokens(used) == 42
    assert tokens({"total_tokens": None, "inner": {"total_tokens": True}}) == 0
    assert tokens({"total_tokens": -1}) == 0


@pytest.mark.parametrize(
    ("span", "begin", "end"),
    [
        ("hour", "2026-01-31T13:00", "2026-01-31T14:00"),
        ("6 hours", "2026-01-31T12:00", "2026-01-31T18:00"),
        ("day", "2026-01-31T00:00", "2026-02-01T00:00"),
        ("5 days", "2026-01-27T00:00", "2026-02-01T00:00"),
        ("30 days", "2026-01-07T00:00", "2026-02-06T00:00"),
        ("month", "2026-01-01T00:00", "2026-02-01T00:00"),
    ],
)
def test_a_time_lies_in_stretches_of_each_length(span: str, begin: str, end: str) -> None:
    moment = at("2026-01-31T13:05:06").astimezone(timezone(timedelta(hours=5)))
    assert (begin_of(moment, span), end_of(moment, span)) == (at(begin), at(end))
    assert end_of(at(begin), span) == at(begin)


def test_a_window_is_covered_by_as_few_stretches_as_there_can_be() -> None:
    found = cover(at("2026-01-30T22:30"), at("2026-04-04T07:15"))
    coarse = ["day", "5 days", "30 days", "5 days", "day"]
    assert [each.span for each in found] == [None, "hour", *coarse, "6 hours", "hour", None]
    assert found[0] == Stretch(None, at("2026-01-30T22:30"), at("2026-01-30T23:00"))
    assert found[4] == Stretch("30 days", at("2026-02-06T00:00"), at("2026-03-08T00:00"))
    assert found[-1] == Stretch(None, at("2026-04-04T07:00"), at("2026-04-04T07:15"))
    assert cover(None, None) == [Stretch("30 days", None, None)]
    within = Stretch(None, at("2026-01-30T22:10"), at("2026-01-30T22:30"))
    assert cover(within.since, within.until) == [within]


def test_months_are_made_of_days() -> None:
    assert cover(at("2026-01-30T00:00"), at("2026-03-01T00:00"), ("month", "day")) == [
        Stretch("day", at("2026-01-30T00:00"), at("2026-02-01T00:00")),
        Stretch("month", at("2026-02-01T00:00"), at("2026-03-01T00:00")),
    ]


TIMES = st.datetimes(datetime(2025, 1, 1), datetime(2026, 12, 31), timezones=st.just(UTC))


@given(TIMES, TIMES)
def test_the_stretches_of_a_window_join_on_to_each_other(one: datetime, other: datetime) -> None:
    since, until = sorted((one, other))
    found = cover(since, until)
    assert (found[0].since, found[-1].until) == (since, until)
    assert all(before.until == after.since for before, after in pairwise(found))
