from __future__ import annotations

from array import array
from datetime import date
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estate.clean import Use
from estate.cleansing import cleanse
from estate.quality import EXPECTED, WEIGHTS, TableQuality, score
from estate.roles import APPLICATIONS, CONNECTIONS, MACHINES
from estate.tables import Cell, Column, Table

TODAY = date(2023, 10, 1)


def measured(
    targets: list[str], *rows: list[Cell], role: str = MACHINES, file: str = "e.csv", unit: str = "GiB"
) -> TableQuality:
    columns = [Column.of(target, (row[at] for row in rows)) for at, target in enumerate(targets)]
    table = Table(file, None, columns, array("I", range(2, len(rows) + 2)), 1, kind="table", role=role)
    return cleanse(table, [Use(target, target, unit=unit if target.endswith("_gb") else None) for target in targets], UUID(int=1)).quality  # fmt: skip


def dimension(name: str, *tables: TableQuality, today: date | None = TODAY) -> dict[str, Any]:
    found: dict[str, Any] = score(tables, today)["dimensions"][name]
    return found


def test_completeness_counts_known_values_of_expected_fields() -> None:
    found = dimension(
        "completeness",
        measured(["name", "cpu_cores", "environment"], ["a", 4, "prod"], ["b", None, "N/A"], ["c", 2, "dev"]),
    )
    expected = len(EXPECTED[MACHINES]) * 3
    assert (found["numerator"], found["denominator"]) == (4, expected)
    assert found["score"] == round(400 / expected, 1)
    assert found["by_field"]["cpu_cores"] == {"known": 2, "expected": 3, "stated": True, "percent": 66.7}
    assert found["by_field"]["location"] == {"known": 0, "expected": 3, "stated": False, "percent": 0.0}
    assert found["worst_rows"][0] == {"file": "e.csv", "sheet": None, "row": 3, "why": "lacks cpu_cores, environment"}
    assert {row["column"] for row in found["worst_columns"]} == {"cpu_cores", "environment"}
    assert "No table has a column for ip_addresses" in found["note"]


def test_a_field_is_expected_of_the_tables_that_have_a_column_for_it() -> None:
    found = dimension(
        "completeness",
        measured(["name", "cpu_cores"], ["a", 4], ["b", 2]),
        measured(["name", "environment"], ["a", "prod"], ["b", None], file="cmdb.csv"),
    )
    assert found["by_field"]["cpu_cores"]["expected"] == 2
    assert found["by_field"]["environment"] == {"known": 1, "expected": 2, "stated": True, "percent": 50.0}
    assert found["by_field"]["location"]["expected"] == 4


def test_systems_count_by_their_parts() -> None:
    found = dimension("completeness", measured(["name", "operating_system"], ["a", "Ubuntu 22.04"], ["b", "Ubuntu"]))
    assert found["by_field"]["operating_system"]["known"] == 2
    assert found["by_field"]["os_version"]["known"] == 1


def test_applications_are_expected_to_tell_other_things() -> None:
    found = dimension("completeness", measured(["name", "criticality"], ["Shop", "high"], role=APPLICATIONS))
    assert (found["numerator"], found["denominator"]) == (1, len(EXPECTED[APPLICATIONS]))


def test_validity_counts_what_was_stated_and_could_not_be_read() -> None:
    found = dimension(
        "validity",
        measured(
            ["name", "cpu_cores", "criticality"],
            ["a", "four", "odd"],
            ["b", -1, "high"],
            ["c", 2, "N/A"],
            ["d", 2, None],
        ),
    )
    # names 4, processors 3 (-1 says nothing), criticality 2; two of them could not be read
    assert (found["numerator"], found["denominator"], found["score"]) == (7, 9, 77.8)
    assert found["worst_rows"] == [
        {"file": "e.csv", "sheet": None, "row": 2, "why": "could not be read: cpu_cores, criticality"}
    ]
    assert found["worst_columns"][0] == {
        "file": "e.csv", "sheet": None, "column": "criticality", "why": "1 of 2 stated values could not be read as criticality",
    }  # fmt: skip


def test_consistency_counts_checks_within_a_row() -> None:
    found = dimension(
        "consistency",
        measured(
            ["name", "fqdn", "storage_gb", "storage_used_gb"],
            ["web01", "web01.corp.example", 100, 200],
            ["web02", "db02.corp.example", 100, 50],
            ["web03", None, None, 7],
        ),
    )
    assert (found["numerator"], found["denominator"], found["score"]) == (2, 4, 50.0)
    assert {(row["row"], row["why"]) for row in found["worst_rows"]} == {
        (2, "200 GiB in use of 100 GiB"),
        (3, "the name 'web02' and the FQDN 'db02.corp.example' differ"),
    }


@pytest.mark.parametrize(("name", "fqdn"), [("WEB01", "web01.corp.example"), ("web01.corp.example", "web01"), ("10.0.0.1", "web01.corp.example"), ("My web server", "web01.corp.example"), ("web01.old.example", "web01.new.example")])  # fmt: skip
def test_names_that_do_not_contradict(name: str, fqdn: str) -> None:
    assert dimension("consistency", measured(["name", "fqdn"], [name, fqdn]))["score"] == 100


def test_uniqueness_takes_the_strongest_key_most_rows_have() -> None:
    rows: list[list[Cell]] = [["web01", "u-1"], ["web01", "u-2"], ["web02", "u-2"]]
    by_uuid = dimension("uniqueness", measured(["name", "uuid"], *rows))
    assert (by_uuid["numerator"], by_uuid["denominator"]) == (2, 3)
    assert by_uuid["worst_rows"] == [{"file": "e.csv", "sheet": None, "row": 3, "why": "uuid 'u-2' is in 2 rows"}]
    by_name = dimension("uniqueness", measured(["name", "uuid"], ["WEB01", None], ["web01", None], ["web02", "u"]))
    assert (by_name["numerator"], by_name["denominator"]) == (2, 3)


def test_timeliness_falls_with_the_days_since_a_row_was_seen() -> None:
    rows: list[list[Cell]] = [["a", "2023-09-30"], ["b", "2022-01-01T00:00:00Z"], ["c", "2023-03-17"], ["d", "2024-01-01"], ["e", None]]  # fmt: skip
    found = dimension("timeliness", measured(["name", "last_seen"], *rows))
    # 198 days: (365 - 198) / 335
    assert (found["numerator"], found["denominator"], found["score"]) == (1.5, 4, 37.5)
    assert [(row["row"], row["why"]) for row in found["worst_rows"]] == [
        (3, "last seen on 2022-01-01, 638 days ago"),
        (5, "last seen on 2024-01-01, a day yet to come"),
        (4, "last seen on 2023-03-17, 198 days ago"),
    ]


def test_what_nothing_speaks_of_is_left_out_and_said_so() -> None:
    found = score([measured(["name", "cpu_cores"], ["a", 4])], TODAY)
    assert found["left_out"] == ["consistency", "timeliness"]
    assert found["dimensions"]["timeliness"]["note"] == (
        "Left out of the overall score: no table says when a row was last seen."
    )
    parts = {name: one for name, one in found["dimensions"].items() if one["score"] is not None}
    weight = sum(WEIGHTS[name] for name in parts)
    assert found["overall"] == round(sum(one["score"] * WEIGHTS[name] for name, one in parts.items()) / weight, 1)
    assert found["formula"] == "(0.3 x completeness + 0.25 x validity + 0.15 x uniqueness) / 0.7"


def test_without_a_day_of_reading_timeliness_is_left_out() -> None:
    found = score([measured(["name", "last_seen"], ["a", "2023-09-30"])], None)
    assert "timeliness" in found["left_out"]
    assert "the day of reading is not known" in found["dimensions"]["timeliness"]["note"]


def test_nothing_has_no_score() -> None:
    found = score([], TODAY)
    assert (found["overall"], len(found["left_out"])) == (None, 5)


def test_connections_have_neither_completeness_nor_uniqueness() -> None:
    found = score([measured(["source_name", "target_name"], ["a", "b"], ["a", "b"], role=CONNECTIONS)], TODAY)
    assert found["left_out"] == ["completeness", "consistency", "uniqueness", "timeliness"]
    assert found["overall"] == 100


_cell = st.one_of(
    st.none(), st.integers(-1, 500), st.sampled_from(["web01", "2023-01-01", "prod", "N/A", "off", "x y"])
)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.lists(_cell, min_size=6, max_size=6), max_size=12))
def test_scores_are_shares_of_what_was_counted(rows: list[list[Cell]]) -> None:
    targets = ["name", "cpu_cores", "environment", "last_seen", "storage_gb", "storage_used_gb"]
    found = score([measured(targets, *rows)], TODAY)
    for name, one in found["dimensions"].items():
        assert 0 <= one["numerator"] <= one["denominator"]
        assert (one["score"] is None) == (one["denominator"] == 0) == (name in found["left_out"])
        assert all(2 <= row["row"] < len(rows) + 2 for row in one["worst_rows"])
    assert sum(WEIGHTS.values()) == pytest.approx(1)
