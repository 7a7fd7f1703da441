from __future__ import annotations

import math
from array import array
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estate.assets import AssetFacts
from estate.clean import CleanColumn, CleanTable, Use
from estate.errors import EstateError
from estate.instants import instant
from estate.roles import PERFORMANCE
from estate.sizing import judge, measure, nearest_rank, recommend


def table(columns: str, *rows: list[Any], file: str = "perf.csv") -> CleanTable:
    """Columns by target; a target may be named twice."""
    facts = []
    for place, target in enumerate(columns.split(",")):
        values: list[Any] = [None]
        codes = array("I")
        for row in rows:
            cell = row[place]
            if cell not in values:
                values.append(cell)
            codes.append(values.index(cell))
        rank = 0 if target in {"disk_iops", "network_mb_per_s"} else place
        facts.append(CleanColumn(Use(f"{target} {place}", target, rank=rank), values, codes))
    return CleanTable(file, None, "performance", PERFORMANCE, array("I", range(2, 2 + len(rows))), facts)


def hourly(name: str, *values: float | None) -> list[list[Any]]:
    return [[name, f"2025-06-14T{hour:02}:00:00Z", value] for hour, value in enumerate(values)]


def figures(*tables: CleanTable) -> dict[str, dict[str, Any]]:
    """Of the machine of which all rows of these tables speak."""
    return measure((table, range(len(table))) for table in tables)


CPU = "name,measured_at,cpu_utilization_percent"


def test_readings_become_average_p95_and_peak() -> None:
    assert figures(table(CPU, *hourly("web01", *range(1, 21)))) == {
        "cpu_percent": {
            "average": 10.5,
            "p95": 19,
            "peak": 20,
            "samples": 20,
            "from": "2025-06-14T00:00:00Z",
            "to": "2025-06-14T19:00:00Z",
        }
    }


def test_one_reading_has_an_average_and_no_percentile() -> None:
    assert figures(table(CPU, *hourly("a", 40.0)))["cpu_percent"] == {
        "average": 40.0,
        "samples": 1,
        "from": "2025-06-14T00:00:00Z",
        "to": "2025-06-14T00:00:00Z",
    }


def test_what_was_not_measured_is_left_out_and_never_zero() -> None:
    assert figures(table(CPU, *hourly("a", None, None))) == {}
    assert figures(table(CPU, *hourly("a", None, 8.0, None, 4.0)))["cpu_percent"] == {
        "average": 6.0,
        "p95": 8.0,
        "peak": 8.0,
        "samples": 2,
        "from": "2025-06-14T01:00:00Z",
        "to": "2025-06-14T03:00:00Z",
    }


def test_read_and_write_are_added_and_a_half_known_row_is_no_reading() -> None:
    rows = [["a", "2025-06-14", 100, 20], ["a", "2025-06-15", 50, None], ["a", "2025-06-16", 10, 5]]
    found = figures(table("name,measured_at,disk_iops,disk_iops", *rows))["disk_iops"]
    assert (found["average"], found["peak"], found["samples"]) == (67.5, 120, 2)
    only_read = [["a", "2025-06-14", 100, None], ["a", "2025-06-15", 50, None]]
    assert figures(table("name,measured_at,disk_iops,disk_iops", *only_read))["disk_iops"]["average"] == 75


def test_the_disks_of_a_machine_are_one_reading() -> None:
    rows = [
        ["a", "2025-06-14", "disk 0", 10.0],
        ["a", "2025-06-14", "disk 1", 30.0],
        ["a", "2025-06-15", "disk 0", 20.0],
        ["a", "2025-06-15", "disk 1", 20.0],
    ]
    found = figures(table("name,measured_at,detail_key,disk_iops", *rows))["disk_iops"]
    assert (found["average"], found["peak"], found["samples"]) == (40.0, 40.0, 2)
    cores = figures(table("name,measured_at,detail_key,cpu_utilization_percent", *rows))["cpu_percent"]
    assert (cores["average"], cores["samples"]) == (20.0, 2)


def test_readings_of_one_day_without_the_hour_all_count() -> None:
    rows = [["a", "2025-06-14", value] for value in (0.0, 0.0, 0.0, 8.0)]
    assert figures(table(CPU, *rows))["cpu_percent"]["average"] == 2.0


def test_times_of_an_earlier_table_are_not_counted_again() -> None:
    first, again = table(CPU, *hourly("a", 10.0, 20.0)), table(CPU, *hourly("A", 10.0, 20.0, 60.0), file="more.csv")
    found = figures(first, again)["cpu_percent"]
    assert (found["samples"], found["average"]) == (3, 30.0)


def test_measures_of_one_machine_come_from_several_tables() -> None:
    memory = table("name,measured_at,memory_utilization_percent", *hourly("a", 50.0, 70.0), file="mem.csv")
    found = figures(table(CPU, *hourly("a", 10.0, 20.0)), memory)
    assert (found["cpu_percent"]["peak"], found["memory_percent"]["peak"]) == (20.0, 70.0)


def test_stated_peaks_and_percentiles_are_kept_as_stated() -> None:
    columns = "name,cpu_utilization_percent,cpu_utilization_peak_percent,cpu_utilization_p95_percent"

    def cpu(*rows: list[Any]) -> dict[str, Any]:
        return figures(table(columns, *rows))["cpu_percent"]

    assert cpu(["a", 10.0, 90.0, 35.0]) == {"average": 10.0, "p95": 35.0, "peak": 90.0, "samples": 1}
    assert cpu(["b", None, 80.0, None]) == {"peak": 80.0, "samples": 1}
    assert cpu(["c", 5.0, None, None]) == {"average": 5.0, "samples": 1}
    days = cpu(["a", 10.0, 50.0, 35.0], ["a", 20.0, 90.0, 40.0])
    assert days == {"average": 15.0, "p95": 40.0, "peak": 90.0, "samples": 2}


def test_a_total_is_taken_before_its_parts() -> None:
    for row, said in ((["a", 100, 60, 40], 100), (["b", None, 6, 4], 10)):
        told = table("name,disk_iops,disk_iops,disk_iops", row)
        for column, rank in zip(told.facts[1:], (0, 1, 1), strict=True):
            column.use = Use(column.use.field, column.target, rank=rank)
        assert figures(told)["disk_iops"]["average"] == said


def test_only_the_rows_that_are_given_are_measured() -> None:
    both = table("name,cpu_utilization_percent", ["a", 5.0], ["b", 95.0])
    assert measure([(both, [0])])["cpu_percent"]["average"] == 5.0
    assert measure([]) == {}


def test_times_are_ordered_as_times() -> None:
    rows = [["a", "2025-06-14T01:00:00+03:00", 1.0], ["a", "2025-06-13T23:30:00Z", 2.0]]
    found = figures(table(CPU, *rows))["cpu_percent"]
    assert (found["from"], found["to"]) == ("2025-06-14T01:00:00+03:00", "2025-06-13T23:30:00Z")
    assert instant("no time") < instant("2025-06-14")


@given(st.lists(st.floats(0, 100), min_size=1, max_size=200), st.integers(1, 100))
def test_the_nearest_rank_is_a_value_that_at_least_so_many_do_not_exceed(values: list[float], percent: int) -> None:
    ordered = sorted(values)
    rank = nearest_rank(ordered, percent)
    assert rank in values
    assert sum(value <= rank for value in values) * 100 >= percent * len(values)
    assert sum(value < rank for value in values) * 100 < percent * len(values)


# --- sizing ---


def asset(cores: int | None = 8, memory: float | None = 32.0, **told: Any) -> AssetFacts:
    return AssetFacts(asset_id="1", name="a", cpu_cores=cores, memory_gb=memory, **told)


def used(cpu: dict[str, float] | None = None, memory: dict[str, float] | None = None, **more: Any) -> dict[str, Any]:
    told = {"cpu_percent": cpu, "memory_percent": memory, **more}
    return {"utilization": {name: figures for name, figures in told.items() if figures is not None}}


def test_a_size_is_now_times_p95_times_comfort() -> None:
    assert recommend(asset(**used({"p95": 35.0, "peak": 99.0, "average": 10.0}, {"p95": 50.0}))) == {
        "cpu_cores": 4,
        "memory_gb": 22.0,
        "basis": "p95",
        "cpu_basis": "p95",
        "memory_basis": "p95",
        "comfort": 1.3,
        "cores_now": 8,
        "memory_now": 32.0,
        "cores_saving": 4,
        "memory_saving": 10.0,
        "flags": [],
        "formula": "8 cores x 35 % (P95) / 100 x 1.3 = 3.64, rounded up to 4 cores;"
        " 32 GiB x 50 % (P95) / 100 x 1.3 = 20.8, rounded up to 22 GiB",
    }


def test_nothing_is_invented_where_use_is_unknown() -> None:
    assert recommend(asset()) is None
    assert recommend(asset(None, None, **used({"p95": 35.0}, {"p95": 35.0}))) is None
    one = recommend(asset(**used({"p95": 35.0})))
    assert one is not None
    assert (one["cpu_cores"], one["memory_gb"], one["memory_basis"], one["memory_saving"]) == (4, None, None, None)


def test_the_peak_and_then_the_average_stand_in_for_a_missing_p95() -> None:
    one = recommend(asset(**used({"peak": 50.0, "average": 10.0}, {"average": 25.0})))
    assert one is not None
    assert (one["cpu_cores"], one["cpu_basis"], one["memory_gb"], one["memory_basis"]) == (6, "peak", 12.0, "average")
    assert one["basis"] == "average"
    single = recommend(asset(cpu_utilization_percent=50.0))
    assert single is not None
    assert (single["cpu_cores"], single["basis"]) == (6, "average")


def test_memory_in_use_is_enough_to_size_memory() -> None:
    one = recommend(asset(**used(memory_used_gb={"p95": 10.0})))
    assert one is not None
    assert (one["memory_gb"], one["memory_saving"]) == (14.0, 18.0)
    unknown = recommend(asset(memory=None, **used(memory_used_gb={"p95": 10.0})))
    assert unknown is not None
    assert (unknown["memory_gb"], unknown["memory_saving"]) == (14.0, None)


@pytest.mark.parametrize(
    ("memory", "percent", "expected"),
    [(8, 10, 2), (8, 75, 8), (16, 60, 14), (64, 30, 26), (256, 20, 68), (512, 40, 272), (2, 1, 1), (0.5, 50, 1)],
)
def test_memory_is_rounded_up_in_steps(memory: float, percent: float, expected: float) -> None:
    one = recommend(asset(memory=memory, **used(memory={"p95": percent})))
    assert one is not None
    assert one["memory_gb"] == expected


@pytest.mark.parametrize(
    ("cores", "percent", "expected"), [(8, 0, 1), (8, 20, 4), (2, 90, 4), (3, 70, 3), (32, 50, 24), (96, 50, 64)]
)
def test_cores_are_rounded_up_in_steps(cores: int, percent: float, expected: int) -> None:
    one = recommend(asset(cores, **used({"p95": percent})))
    assert one is not None
    assert one["cpu_cores"] == expected


def test_a_busy_machine_is_given_more() -> None:
    one = recommend(asset(**used({"p95": 95.0})))
    assert one is not None
    assert (one["cpu_cores"], one["cores_saving"], one["flags"]) == (10, -2, ["cpu_over_used"])


@pytest.mark.parametrize("comfort", [0.9, 0, -1, math.nan, math.inf])
def test_a_comfort_factor_that_takes_away_is_refused(comfort: float) -> None:
    with pytest.raises(EstateError, match="at least 1") as refused:
        recommend(asset(**used({"p95": 1.0})), comfort=comfort)
    assert refused.value.code == "comfort_invalid"


@pytest.mark.parametrize(
    ("told", "flags"),
    [
        ({"cpu": {"p95": 19.9}}, ["cpu_under_used"]),
        ({"cpu": {"peak": 10.0}}, ["cpu_under_used"]),
        ({"cpu": {"average": 10.0}}, []),
        ({"cpu": {"p95": 20.0}, "memory": {"p95": 80.0}}, []),
        ({"memory": {"p95": 80.1}}, ["memory_over_used"]),
        ({"memory": {"average": 85.0}}, ["memory_over_used"]),
        ({"cpu": {"p95": 2.0}}, ["cpu_under_used"]),
        ({"cpu": {"p95": 2.0}, "network_mb_per_s": {"p95": 0.001}}, ["cpu_under_used", "idle"]),
        ({"cpu": {"p95": 2.0}, "network_mb_per_s": {"p95": 5.0}}, ["cpu_under_used"]),
    ],
)
def test_flags_say_how_a_size_is_used(told: dict[str, Any], flags: list[str]) -> None:
    assert judge(asset(**used(**told))) == flags


@given(
    st.integers(1, 256),
    st.floats(0.25, 4096),
    st.floats(0, 100),
    st.floats(0, 100),
    st.floats(1, 2),
)
def test_a_size_always_holds_the_need(
    cores: int, memory: float, cpu: float, used_memory: float, comfort: float
) -> None:
    one = recommend(asset(cores, memory, **used({"p95": cpu}, {"p95": used_memory})), comfort=comfort)
    assert one is not None
    assert one["cpu_cores"] >= max(1, cores * cpu / 100 * comfort - 1e-6)
    assert one["memory_gb"] >= max(1, memory * used_memory / 100 * comfort - 1e-6)
    assert isinstance(one["cpu_cores"], int)
    if cores * cpu / 100 * comfort <= cores:
        assert one["cpu_cores"] <= cores
