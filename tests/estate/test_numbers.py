from __future__ import annotations

import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estate.numbers import DOUBTFUL, FORMATS, GIB, MB_PER_S, both_readings, format_of, parse, split_unit, unit_of
from estate.tables import Cell

_MARKS = {
    None: ("", "."), "thousands ,": (",", "."), "thousands .": (".", ","), "decimal ,": ("", ","),
    "thousands  ": (" ", ","), "thousands '": ("'", "."),
}  # fmt: skip


def written(number: float, number_format: str | None, decimals: int) -> str:
    """A number as the format writes it."""
    group, mark = _MARKS[number_format]
    text = f"{abs(number):,.{decimals}f}".translate({ord(","): "\x00", ord("."): "\x01"})
    sign = "-" if number < 0 else ""
    return sign + text.replace("\x00", group).replace("\x01", mark)


@pytest.mark.parametrize(
    ("values", "number_format"),
    [
        ([4096, 1.5, None, "x"], None),
        (["4096", "1.5"], None),
        (["1.25", "16 GB"], None),
        (["1,024,000"], "thousands ,"),
        (["12,34,567"], "thousands ,"),
        (["1,024.5", "2"], "thousands ,"),
        (["1.5", "4,096"], "thousands ,"),
        (["1.024.000"], "thousands ."),
        (["1.024,5", "2"], "thousands ."),
        (["1,5", "4.096"], "thousands ."),
        (["1,5", "2,25"], "decimal ,"),
        (["0,125", "4,096"], "decimal ,"),
        (["12345,678"], "decimal ,"),
        (["0.125", "4.096"], None),
        (["1 024", "16"], "thousands  "),
        (["1 024,5"], "thousands  "),
        (["1\u00a0024"], "thousands  "),
        (["1\u202f024,25"], "thousands  "),
        (["1'024.5", "2"], "thousands '"),
        (["1\u2019024"], "thousands '"),
        (["1.024"], DOUBTFUL),
        (["4,096", "8,192"], DOUBTFUL),
        (["1.024", "4,096"], DOUBTFUL),
        (["1.5", "2,5"], DOUBTFUL),
        (["1,024,000", "1.024.000"], DOUBTFUL),
        (["1 024", "1,024"], DOUBTFUL),
        (["1,024,000", "1,5"], DOUBTFUL),
        (["10.0.0.1", "1.2.3"], None),
        (["10.109.244.178"], None),
        (["N/A", "", "-"], None),
        ([4096, 131072, "16,384", "65,536"], "thousands ,"),
        (["4096", "131072", "16.384", "65.536"], "thousands ."),
        ([8192.0, "1,024"], "thousands ,"),
        ([64, "8.192"], DOUBTFUL),
        ([1024, "1.024"], "thousands ."),
        (["16384 MB", "4,096 MB"], "thousands ,"),
        (["4096 MB", "1.024 TB"], DOUBTFUL),
        ([4, 8, 64, "1,024"], DOUBTFUL),
        ([4, 8, "16,384"], DOUBTFUL),
        ([2, 500000, "16,384"], DOUBTFUL),
        ([0, -1, True, "16,384"], DOUBTFUL),
    ],
)
def test_the_format_of_a_column_is_told_by_its_values(values: list[Cell], number_format: str | None) -> None:
    assert format_of(values) == number_format
    assert format_of(list(reversed(values))) == number_format


@pytest.mark.parametrize(
    ("values", "delimiter", "number_format"),
    [
        (["4,096", "8,192"], ",", "thousands ,"),
        (["1,5", "2,25"], ";", "decimal ,"),
        (["4.096", "8.192"], ";", "thousands ."),
        (["4,096", "8,192"], ";", DOUBTFUL),
        (["4.096"], ";", DOUBTFUL),
        (["2.125", "4.375", "8.250"], ";", DOUBTFUL),
        (["12.345", "45.671", "99.023"], ",", None),
        (["4.096", "8.192", "16.384"], ",", DOUBTFUL),
        (["4.096", "8.192"], "\t", DOUBTFUL),
        (["16384", "4,096"], ";", "thousands ,"),
        (["16384", "4.096"], ",", "thousands ."),
        (["12", "1,024"], ",", "thousands ,"),
    ],
)
def test_the_delimiter_of_the_file_helps(values: list[Cell], delimiter: str, number_format: str | None) -> None:
    assert format_of(values, delimiter=delimiter) == number_format


@pytest.mark.parametrize(
    ("decimal", "thousands", "number_format"),
    [
        (",", None, "thousands ."), (".", None, "thousands ,"), (None, ",", "thousands ,"), (None, ".", "thousands ."),
        (",", " ", "thousands  "), (".", "'", "thousands '"), (",", ".", "thousands ."),
    ],
)  # fmt: skip
def test_what_the_caller_says_settles_it(decimal: str | None, thousands: str | None, number_format: str) -> None:
    assert format_of(["1.024"], decimal=decimal, thousands=thousands) == number_format


def test_a_mark_for_thousands_that_nobody_stated_is_the_one_the_cells_show() -> None:
    assert format_of(["1 024,5"], decimal=",") == "thousands  "
    assert format_of(["1'024.5", "2.5"], decimal=".") == "thousands '"
    assert format_of(["1,024,000"], decimal=",") == "thousands ."


@pytest.mark.parametrize(
    ("cell", "readings"),
    [
        ("1.024", (1024, 1.024)), ("-4,096 MB", (-4096, -4.096)), ("1,024,000", None), ("1.024,5", None), ("0.125", None),
        ("1.5", None), (1024, None), (None, None), ("1.024e3", None), ("10.0.0.1", None),
    ],
)  # fmt: skip
def test_both_readings_of_a_number_with_one_separator(cell: Cell, readings: tuple[float, float] | None) -> None:
    assert both_readings(cell) == (pytest.approx(readings) if readings else None)


def test_a_stray_value_is_outvoted_and_then_fits_no_format() -> None:
    values: list[Cell] = [f"{n}.5" for n in range(100)]
    assert format_of([*values, "7,5"]) is None
    assert parse("7,5", None) is None
    assert format_of([*values[:10], "7,5"]) == DOUBTFUL


@pytest.mark.parametrize(
    ("cell", "number_format", "number"),
    [
        (4096, None, 4096), (1.5, "decimal ,", 1.5), (True, None, None), (None, None, None), ("", None, None),
        ("4096", None, 4096), ("4096", DOUBTFUL, 4096), ("1.024", DOUBTFUL, None), ("1,024", None, None),
        ("1,024", "thousands ,", 1024), ("1.024", "thousands .", 1024), ("1.024,5", "thousands .", 1024.5),
        ("1.5", "thousands ,", 1.5), ("1,5", "thousands ,", None), ("1,5", "decimal ,", 1.5), ("1.5", "decimal ,", None),
        ("1234,567", "thousands ,", None), ("0,125", "thousands ,", None), ("1,02", "thousands ,", None),
        ("12,34,567", "thousands ,", 1234567), ("1 024,5", "thousands  ", 1024.5), ("1 024.5", "thousands  ", 1024.5),
        ("1\u202f024", "thousands  ", 1024), ("1 024", None, None), ("1'024.5", "thousands '", 1024.5),
        ("12.5 %", None, 12.5), ("16 GB", None, 16), ("16GiB", None, 16), ("8 vCPU(s)", None, 8), ("$1,000.50", "thousands ,", 1000.5),
        ("1.000,50 €", "thousands .", 1000.5), ("(1,024)", "thousands ,", -1024), ("(5)", None, -5), ("1.024,00-", "thousands .", -1024),
        ("-1", None, -1), ("+5", None, 5), ("\u22125", None, -5), ("--5", None, None), ("-(5)", None, None), ("(5", None, None),
        ("1e3", None, 1000), ("1.5E+2", None, 150), ("1,5e2", "decimal ,", 150), ("１２", None, 12), ("１．５", None, 1.5),
        ("10\u00b2", None, None), ("1/2", None, None), ("16 / 32", None, None), ("4K", None, None), ("1.5M", None, None),
        ("2 x 4", None, None), ("~16", None, None), ("<1", None, None), ("10.0.0.1", None, None), ("1.2.3", None, None),
        ("0x10", None, None), ("1_000", None, None), ("nan", None, None), ("inf", None, None), (math.nan, None, None),
        (math.inf, None, None), ("9" * 100, None, None), (10**400, None, None), ("1e999", None, None), (".5", None, 0.5),
        ("srv01", None, None), ("2023-09-02", None, None),
    ],
)  # fmt: skip
def test_cells(cell: Cell, number_format: str | None, number: float | None) -> None:
    assert parse(cell, number_format) == number


@given(
    st.sampled_from([None, *FORMATS]),
    st.lists(st.integers(-(10**9), 10**9).map(lambda n: n / 100), min_size=1, max_size=8),
)
def test_numbers_come_back_as_they_were_written(number_format: str | None, numbers: list[float]) -> None:
    # two decimals and a value above a thousand show every separator
    texts: list[Cell] = [written(number, number_format, 2) for number in [*numbers, 1234567.25]]
    assert format_of(texts) == number_format
    assert [parse(text, number_format) for text in texts] == pytest.approx([*numbers, 1234567.25])


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=8), st.sampled_from(["thousands ,", "thousands ."]))
def test_whole_numbers_are_read_right_or_doubted(numbers: list[int], number_format: str) -> None:
    texts: list[Cell] = [written(number, number_format, 0) for number in numbers]
    found = format_of(texts)
    assert found in {number_format, DOUBTFUL, None}
    if found == number_format:
        assert [parse(text, found) for text in texts] == numbers
    else:
        assert all(parse(text, found) in {number, None} for text, number in zip(texts, numbers, strict=True))


@given(
    st.from_regex(r"[-+(]?[0-9]{1,4}([.,' \u00a0]?[0-9]{1,3}){0,4} ?(GB|%|MiB|-|\)|)", fullmatch=True),
    st.sampled_from([None, *FORMATS, DOUBTFUL]),
)
def test_no_text_is_read_as_anything_but_its_digits(text: str, number_format: str | None) -> None:
    number = parse(text, number_format)
    if number is None:
        return
    said = "".join(char for char in text if char.isdigit()).strip("0")
    read = f"{Decimal(repr(abs(number))):f}".replace(".", "").strip("0")
    assert said[:15].startswith(read[:12]) or read[:15].startswith(said[:12])


@given(st.text(max_size=80))
def test_any_text_is_taken(text: str) -> None:
    parse(text)
    split_unit(text)
    assert format_of([text]) in {None, DOUBTFUL, *FORMATS}


@pytest.mark.parametrize(
    ("cell", "number", "unit"),
    [
        ("1 TB", "1", "TB"), ("16 GiB", "16", "GiB"), ("16gb", "16", "GB"), ("12,5 %", "12,5", "%"), ("512 MByte", "512", "MB"),
        ("4K", "4", "KB"), ("100 Mbps", "100", "Mbit/s"), ("100 MBps", "100", "MB/s"), ("5 MB/s", "5", "MB/s"),
        ("5 Mb/s", "5", "Mbit/s"), ("5 mb/s", "5", "mb/s"), ("5 kB/s", "5", "KB/s"), ("8 cores", "8", "cores"), ("2 Go", "2", "GB"), ("-3 GB", "-3", "GB"), ("16", "16", None), (16, 16, None),
        ("sixteen", "sixteen", None), ("61.2 GiB / 127 GiB", "61.2 GiB / 127 GiB", None), (None, None, None),
    ],
)  # fmt: skip
def test_units_are_split_off(cell: Cell, number: Cell, unit: str | None) -> None:
    assert split_unit(cell) == (number, unit)


def test_factors_of_units() -> None:
    assert GIB["MiB"] * 1024 == GIB["GiB"] == 1
    assert GIB["B"] * 1024**3 == 1
    assert MB_PER_S["Mbit/s"] * 8 == MB_PER_S["MB/s"]
    assert {unit_of(unit) for unit in (*GIB, *MB_PER_S)} == {*GIB, *MB_PER_S}
    assert unit_of("furlongs") is None
