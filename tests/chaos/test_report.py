"""The figures of a report, from ledgers written by hand."""

from __future__ import annotations

from typing import Any

import pytest

from tests.chaos.faults import Kind, Struck
from tests.chaos.ledger import Entry
from tests.chaos.record import Record, known_types
from tests.chaos.report import Spread, handed_back, overlaps, reruns


def entry(kind: Any, visit: str, at: float, pid: int, token: int = 1) -> Entry:
    return Entry(
        kind=kind, visit=visit, flow="f", phase="p", run="r", token=token, attempt=1, pid=pid, parent=1, at=at, key="k"
    )


def record(*ledger: Entry, struck: tuple[Struck, ...] = ()) -> Record:
    return Record([], known_types(), ledger=list(ledger), struck=list(struck))


KILL = Struck(kind=Kind.KILL_CONSUMERS, at=10.0, over=10.0, pids=(100, 101))


def test_the_time_from_kill_to_re_run_is_that_of_work_in_hand() -> None:
    quiet, every = reruns(record(entry("begun", "a", 8.0, 101), entry("begun", "b", 15.5, 202, 2), struck=(KILL,)))
    assert quiet == every == [5.5]


@pytest.mark.parametrize(
    "ledger",
    [
        (entry("begun", "a", 8.0, 101), entry("ended", "a", 9.0, 101), entry("begun", "b", 15.5, 202)),
        (entry("begun", "a", 8.0, 300), entry("begun", "b", 15.5, 202)),
        (entry("begun", "a", 8.0, 101), entry("begun", "b", 9.5, 202), entry("begun", "c", 15.5, 203)),
        (entry("begun", "a", 8.0, 101),),
    ],
    ids=["it had ended", "another process had it", "another had begun it since", "it was never begun again"],
)
def test_nothing_else_counts_as_in_hand(ledger: tuple[Entry, ...]) -> None:
    assert reruns(record(*ledger, struck=(KILL,))) == ([], [])


def test_a_re_run_during_another_fault_is_counted_apart() -> None:
    crash = Struck(kind=Kind.CRASH_POSTGRES, at=12.0, over=15.0)
    ledger = (entry("begun", "a", 8.0, 101), entry("begun", "b", 21.0, 202, 2))
    assert reruns(record(*ledger, struck=(KILL, crash))) == ([], [11.0])


def test_an_overlap_is_an_effect_of_one_whose_run_another_has_begun() -> None:
    late = record(entry("begun", "a", 1.0, 101), entry("begun", "b", 8.0, 202, 2), entry("effect", "a", 9.0, 101))
    assert overlaps(late) == 1
    assert handed_back(late) == 0
    early = record(entry("begun", "a", 1.0, 101), entry("effect", "a", 2.0, 101), entry("begun", "b", 8.0, 202))
    assert overlaps(early) == 0
    assert handed_back(early) == 1


def test_a_spread_names_middle_and_end() -> None:
    assert str(Spread.of([])) == "none"
    assert str(Spread.of([3.0, 1.0, 2.0])) == "3, p50 2.0 s, p90 3.0 s, max 3.0 s"
