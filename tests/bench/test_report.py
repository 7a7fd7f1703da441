"""A bench says what it found, what that is compared with, and what it ran on."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import pytest

from bench.__main__ import main
from bench.baseline import BASELINE, compare, fallen, write
from bench.registry import BENCHES, CHECKED, SETS
from bench.report import Report, figure, known_limits, machine, newest, save, show

LIMITS = {"json decode": 1_000_000.0, "commands in groups of 64": 10_000.0}


def kept(name: str, folder: Path, *figures: Any) -> dict[str, Any]:
    found = Report("a try", list(figures)).as_dict(name, machine())
    save(found, folder)
    return found


def test_the_median_of_the_repeats_is_held_against_the_limit() -> None:
    assert figure("flows", "flows/s", [900, 1100, 5000], at_least=1050).met is True
    assert figure("flows", "flows/s", [900, 1000, 5000], at_least=1050).met is False
    assert figure("p99", "ms", [20, 31, 90], at_most=30).met is False
    assert figure("p99", "ms", 31).met is None


def test_a_rate_is_a_share_of_the_machines_own() -> None:
    assert figure("flows", "flows/s", 500, share_of="commands in groups of 64", units=7).share(LIMITS) == 0.35


def test_a_time_is_told_in_units_of_the_machines_own() -> None:
    assert figure("processor", "ms/flow", 2.0, share_of="json decode").share(LIMITS) == 2000
    assert figure("processor", "ms/1,000 events", 2.0, share_of="json decode", units=1000).share(LIMITS) == 2


def test_without_a_measured_limit_there_is_no_share() -> None:
    assert figure("flows", "flows/s", 500, share_of="produce").share(LIMITS) is None
    assert "share" not in figure("flows", "flows/s", 500, share_of="produce").as_dict(LIMITS)


def test_what_is_printed_names_limit_spread_and_machine(capsys: pytest.CaptureFixture[str]) -> None:
    report = Report(
        "a try",
        [figure("flows", "flows/s", [900, 1000], at_least=1050)],
        processor={"all": {"per": "flow", "ms": {"api": 1.5}, "total_ms": 1.5, "cores": 1.2, "others_cores": 0.1}},
        ratios={"dbos": 20.0},
    )
    show(report.as_dict("try", machine()))
    said = capsys.readouterr().out
    for words in ("900 to 1,000 in 2", "limit >= 1,050: NOT met", "a flow, all: 1.5 (api 1.5)", "dbos 20", "cores ("):
        assert words in said


def test_the_newest_report_of_this_machine_is_found_again(tmp_path: Path) -> None:
    first = kept("limits", tmp_path, figure("produce", "records/s", 1000))
    other = first | {"machine": {**first["machine"], "cores": 999}}
    (tmp_path / "limits-99990101T000000.json").write_text(json.dumps(other))
    assert newest("limits", tmp_path) == first
    assert known_limits(tmp_path) == {"produce": 1000}
    assert newest("flows", tmp_path) is None


def test_what_fell_by_more_than_15_percent_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results, baseline = tmp_path / "results", tmp_path / "baseline.json"
    shares = {
        "flows": ("higher", 0.5),
        "processor": ("lower", 1000.0),
        "steady": ("higher", 0.3),
        "former name": ("higher", 0.3),
    }
    figures = {name: {"share_of": "x", "share": share, "better": better} for name, (better, share) in shares.items()}
    baseline.write_text(json.dumps({"flows": figures}))
    results.mkdir()
    now = {"flows": 0.4, "processor": 1300.0, "steady": 0.27}
    report = {
        "bench": "flows",
        "machine": machine(),
        "figures": [{"name": name, "unit": "-", "share_of": "x", "share": share} for name, share in now.items()],
    }
    save(report, results)
    assert compare(baseline, results) == 1
    said = capsys.readouterr().out
    assert "flows: flows fell by 20%" in said
    assert "flows: processor fell by 23%" in said
    assert "flows: former name is not measured" in said
    assert "steady" not in said
    assert fallen({"flows": figures}, {"flows": None}) == []


def test_a_baseline_holds_shares_alone(tmp_path: Path) -> None:
    results = tmp_path / "results"
    with_share = {"name": "flows", "unit": "flows/s", "share_of": "x", "share": 0.5}
    report = {"bench": "flows", "machine": machine(), "figures": [with_share, {"name": "p99", "unit": "ms"}]}
    save(report, results)
    written = json.loads(write(["flows", "http"], tmp_path / "baseline.json", results).read_text())
    assert written == {"flows": {"flows": {"share_of": "x", "share": 0.5, "better": "higher"}}}


def test_every_bench_says_what_it_is_and_has_options_that_can_be_given() -> None:
    for name, module in BENCHES.items():
        assert module.__doc__, name
        parameters = inspect.signature(module.run).parameters
        assert all(isinstance(each.default, int | float | tuple) for each in parameters.values()), name
    for name, options in (*CHECKED, *(each for wanted in SETS.values() for each in wanted)):
        assert options.keys() <= inspect.signature(BENCHES[name].run).parameters.keys(), name


def test_the_baseline_names_benches_and_figures_that_are_checked() -> None:
    checked = {name for name, _ in CHECKED}
    assert set(json.loads(BASELINE.read_text())) <= checked


def test_without_a_name_the_benches_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    said = capsys.readouterr().out
    assert all(f"  {name} " in said for name in BENCHES)


def test_a_part_that_nobody_knows_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["growth", "--only", "nosuch"])
    assert "There is no part nosuch; name some of commands, claims" in capsys.readouterr().err
