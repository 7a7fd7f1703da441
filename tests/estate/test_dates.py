from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estate.dates import DOUBTFUL, ORDERS, is_date, order_of, parse
from estate.tables import Cell


@pytest.mark.parametrize(
    ("values", "order"),
    [
        (["9/13/2023", "1/2/2023"], "mdy"), (["13/9/2023", "1/2/2023"], "dmy"), (["29.10.2019"], "dmy"), (["1.2.2019"], "dmy"),
        (["9/2/2023", "09/01/2023"], DOUBTFUL), (["13/9/2023", "9/13/2023"], DOUBTFUL), (["2023-09-02"], "ymd"),
        (["2023-09-02", "13/9/2023"], "dmy"), (["29 Oct 2019"], "ymd"), (["5/5/2023"], "ymd"), (["5/5/2023", "5/6/2023"], DOUBTFUL),
        (["10/29/2019 18:23", None], "mdy"), (["x", "N/A", 3], None), ([], None), (["31/31/2023"], None), (["20230902"], "ymd"),
    ],
)  # fmt: skip
def test_the_order_of_a_column_is_told_by_its_values(values: list[Cell], order: str | None) -> None:
    assert order_of(values) == order
    assert order_of(list(reversed(values))) == order


@pytest.mark.parametrize(
    ("cell", "order", "read"),
    [
        ("2023-09-02", None, "2023-09-02"), ("2023/9/2", None, "2023-09-02"), ("2023.09.02", None, "2023-09-02"),
        ("9/2/2023", None, None), ("9/2/2023", "ymd", None), ("9/2/2023", "mdy", "2023-09-02"), ("9/2/2023", "dmy", "2023-02-09"),
        ("5/5/2023", None, "2023-05-05"), ("09-02-2023", "dmy", "2023-02-09"), ("29.10.2019", None, "2019-10-29"),
        ("29.10.2019", "mdy", None), ("10/29/2019 18:23", "mdy", "2019-10-29T18:23:00"), ("13/9/2023", "mdy", None),
        ("2023-09-02 10:00", None, "2023-09-02T10:00:00"), ("2023-09-02T10:00:00Z", None, "2023-09-02T10:00:00Z"),
        ("2023-09-02T10:00:00.1234567Z", None, "2023-09-02T10:00:00.123456Z"),
        ("2023-09-02T10:00:00.1234567+02:00", None, "2023-09-02T10:00:00.123456+02:00"),
        ("2023-09-02 10:00:00 +0200", None, "2023-09-02T10:00:00+02:00"), ("2023-09-02 10:00:00 UTC", None, "2023-09-02T10:00:00Z"),
        ("2023-09-02 10:00:00 (UTC)", None, "2023-09-02T10:00:00Z"), ("2023-09-02 10:00:00 CEST", None, "2023-09-02T10:00:00+02:00"),
        ("2023-09-02 10:00:00 IST", None, None), ("2023-09-02 25:00", None, None), ("2023-09-02T10:61:00", None, None),
        ("20230902", "ymd", "2023-09-02"), ("20230902", None, None), ("20230902T101500Z", None, "2023-09-02T10:15:00Z"),
        ("10/29/2019 6:23 PM", "mdy", "2019-10-29T18:23:00"), ("10/29/2019 12:05 a.m.", "mdy", "2019-10-29T00:05:00"),
        ("10/29/2019 13:05 PM", "mdy", None), ("29 Oct 2019", None, "2019-10-29"), ("29-Oct-2019", None, "2019-10-29"),
        ("Oct 29, 2019", None, "2019-10-29"), ("October 29th, 2019 18:23", None, "2019-10-29T18:23:00"),
        ("Fri Oct 29 18:23:00 UTC 2019", None, "2019-10-29T18:23:00Z"), ("Fri, 02 Sep 2023 10:00:00 +0200", None, "2023-09-02T10:00:00+02:00"),
        ("29. Oktober 2019", None, "2019-10-29"), ("1. März 2023 10:15 Uhr", None, "2023-03-01T10:15:00"),
        ("29 octobre 2019", None, "2019-10-29"), ("1er janvier 2023", None, "2023-01-01"), ("14 août 2023", None, "2023-08-14"),
        ("mar. 29 octobre 2019", None, "2019-10-29"), ("29 de octubre de 2019", None, "2019-10-29"), ("3 enero 2023", None, "2023-01-03"),
        ("Mar 3 2020", None, "2020-03-03"), ("02-Sep-23", None, None), ("01/02/03", "dmy", None), ("2023-02-30", None, None),
        ("31.04.2023", None, None), ("30 Feb 2023", None, None), ("2024-02-29", None, "2024-02-29"), ("2023-02-29", None, None),
        ("0000-00-00", None, None), ("18:23:00", None, None), ("Oct 2019", None, None), ("Contoso may 2020 1", None, None),
        ("1.2.3.4", None, None), ("10.0.20.2019", None, None), (45171, "serial", None), (45171, "ymd", None), (True, None, None), (None, None, None), ("x" * 100, None, None),
    ],
)  # fmt: skip
def test_cells(cell: Cell, order: str | None, read: str | None) -> None:
    assert parse(cell, order) == read


_days = st.dates(date(1900, 1, 1), date(2199, 12, 31))
_styles = {"dmy": ("%d/%m/%Y", "%d.%m.%Y", "%d-%m-%Y"), "mdy": ("%m/%d/%Y", "%m-%d-%Y"), "ymd": ("%Y-%m-%d", "%Y/%m/%d", "%d %b %Y", "%B %d, %Y")}  # fmt: skip


@given(st.lists(_days, min_size=1, max_size=6), st.sampled_from(ORDERS), st.data())
def test_days_come_back_as_they_were_written_or_are_doubted(days: list[date], order: str, data: st.DataObject) -> None:
    style = data.draw(st.sampled_from(_styles[order]))
    texts: list[Cell] = [day.strftime(style) for day in days]
    found = order_of(texts)
    if found in {order, "ymd"}:
        assert [parse(text, found) for text in texts] == [day.isoformat() for day in days]
    else:
        assert found == DOUBTFUL
    assert [parse(text, order) for text in texts] == [day.isoformat() for day in days]


@given(
    st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1)),
    st.sampled_from([None, UTC, timezone(timedelta(hours=5, minutes=30)), timezone(-timedelta(hours=8))]),
)
def test_iso_times_keep_their_instant(moment: datetime, zone: timezone | None) -> None:
    text = moment.replace(tzinfo=zone).isoformat()
    read = parse(text)
    assert read is not None
    assert datetime.fromisoformat(read) == datetime.fromisoformat(text)
    assert parse(read) == read


@given(st.text(max_size=40), st.sampled_from([None, *ORDERS]))
def test_whatever_is_read_is_a_date(text: str, order: str | None) -> None:
    read = parse(text, order)
    if read is not None:
        datetime.fromisoformat(read)
        assert is_date(text)
