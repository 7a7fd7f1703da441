"""How much memory the reading of a file may take."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from consumers.limits import MIB, PAGE, forget_peak, memory_limit, peak_mb
from estate.errors import EstateError


def resident_mb() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE // MIB


def test_what_would_take_too_much_is_refused_by_name_and_the_process_lives_on() -> None:
    before = resource.getrlimit(resource.RLIMIT_DATA)
    limit = resident_mb() + 100
    with (
        pytest.raises(EstateError, match=rf"huge\.xlsx takes more than {limit} MiB") as caught,
        memory_limit(limit, "huge.xlsx"),
    ):
        bytearray(400 * MIB)
    assert (caught.value.code, caught.value.file) == ("too_large", "huge.xlsx")
    assert resource.getrlimit(resource.RLIMIT_DATA) == before
    assert len(bytearray(400 * MIB)) == 400 * MIB


def test_what_takes_little_passes() -> None:
    with memory_limit(resident_mb() + 200, "small.csv"):
        assert len(bytearray(20 * MIB)) == 20 * MIB
    with memory_limit(None, "any.csv"):
        assert len(bytearray(200 * MIB)) == 200 * MIB


def test_many_small_things_count_too() -> None:
    with pytest.raises(EstateError, match=r"cells\.csv takes more than"), memory_limit(resident_mb() + 60, "cells.csv"):
        [str(n) * 20 for n in range(5_000_000)]


def fill(megabytes: int) -> None:
    taken = []
    for _ in range(megabytes):
        taken.append(bytearray(MIB))  # noqa: PERF401 - a list that is a local of the frame when memory ends


def test_what_had_been_read_is_let_go_with_the_refusal() -> None:
    """The refusal is kept until the other files have been read; they are not to suffer from it."""
    limit, refused = resident_mb() + 120, []
    for _ in range(2):
        try:
            with memory_limit(limit, "huge.xlsx"):
                fill(400)
        except EstateError as error:
            refused.append(error)
    assert len(refused) == 2
    with memory_limit(limit, "small.csv"):
        fill(80)


def test_the_peak_of_a_run_is_not_that_of_the_run_before() -> None:
    forget_peak()
    before = peak_mb()
    block = bytearray(100 * MIB)
    assert peak_mb() > before + 90
    del block
    forget_peak()
    assert peak_mb() < before + 50
