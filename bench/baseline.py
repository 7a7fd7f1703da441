"""What the figures were, as shares of the machine's own limits, and what has fallen since.

A share of a rate is better the higher it is, a share of a time (how many units of the limit fit into it) the lower. On a slower
machine both stay about the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TextIO

from bench.report import RESULTS, newest

BASELINE = Path(__file__).parent / "baseline.json"
MAY_FALL = 0.15


def write(names: Iterable[str], path: Path = BASELINE, results: Path = RESULTS) -> Path:
    """Take every share of the newest results of these benches as the baseline."""
    reports = {name: newest(name, results) for name in names}
    kept = {
        name: {
            each["name"]: {"share_of": each["share_of"], "share": each["share"], "better": _better(each)}
            for each in report["figures"]
            if "share" in each
        }
        for name, report in reports.items()
        if report is not None
    }
    path.write_text(json.dumps({name: figures for name, figures in kept.items() if figures}, indent=2) + "\n")
    return path


def _better(each: dict[str, Any]) -> str:
    return "lower" if each["unit"].split("/")[0] in {"ms", "s", "us"} else "higher"


def fallen(baseline: dict[str, Any], reports: dict[str, dict[str, Any] | None]) -> list[tuple[str, str, float]]:
    """`(bench, figure, by how much)` for every figure that is worse than its baseline by more than 0.15."""
    found = []
    for name, figures in baseline.items():
        now = {each["name"]: each for each in (reports.get(name) or {"figures": []})["figures"]}
        for title, then in figures.items():
            if "share" not in now.get(title, {}):
                continue
            ratio = now[title]["share"] / then["share"]
            worse = 1 - ratio if then["better"] == "higher" else 1 - 1 / ratio
            if worse > MAY_FALL:
                found.append((name, title, round(worse, 3)))
    return found


def unmeasured(baseline: dict[str, Any], reports: dict[str, dict[str, Any] | None]) -> list[tuple[str, str]]:
    """`(bench, figure)` for every figure of the baseline that a bench which was run does not tell, such as one under a new name."""
    return [
        (name, title)
        for name, figures in baseline.items()
        if (report := reports.get(name)) is not None
        for title in figures.keys() - {each["name"] for each in report["figures"] if "share" in each}
    ]


def compare(path: Path = BASELINE, results: Path = RESULTS, out: TextIO | None = None) -> int:
    """Print what fell by more than 15 % in the newest results, or is not in them; 1 where there is any."""
    baseline = json.loads(path.read_text())
    reports = {name: newest(name, results) for name in baseline}
    found, gone = fallen(baseline, reports), unmeasured(baseline, reports)
    for name, title, worse in found:
        print(f"{name}: {title} fell by {worse:.0%}", file=out)
    for name, title in sorted(gone):
        print(f"{name}: {title} is not measured; write the baseline anew where it was renamed", file=out)
    if not found and not gone:
        print(f"nothing fell by more than {MAY_FALL:.0%}", file=out)
    return int(bool(found or gone))
