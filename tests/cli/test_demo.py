"""`make demo`, as a newcomer runs it."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import httpx
import psutil

from mfo.embedded.processes import processes_where
from tests.cli.support import ROOT, clean_environment

CHANGES = ("before", "after", "new", "gone", "changed", "renamed", "unchanged")


def test_the_demo_shows_a_discovery_stays_up_when_asked_and_leaves_nothing_running(tmp_path: Path) -> None:
    report = tmp_path.parent / f"{tmp_path.name}-report" / "estate.html"
    with _demo(tmp_path, "--keep", "--report", str(report)) as demo:
        assert demo.stdout
        said = ""
        for line in demo.stdout:
            said += line
            if "stays up until Ctrl-C" in line:
                break
        url = re.search(r"http://127\.0\.0\.1:\d+", said)
        assert url, said
        assert httpx.get(f"{url[0]}/health/ready", trust_env=False).status_code == 200
        demo.send_signal(signal.SIGINT)
        said += demo.stdout.read()
        assert demo.wait(30) == 0, said
    assert re.search(r"^Inventory: 500 assets$", said, re.MULTILINE)
    for heading in (
        *("What it ran on", "Import: ", "Mapping: ", "Cleansing: ", "Dependencies: ", "Technical debt: "),
        *(r"\d+ data-quality issues", "Report", "Since the discovery ", "How long it took"),
    ):
        assert re.search(f"^{heading}", said, re.MULTILINE), heading
    figures = [int(figure) for name in CHANGES for figure in re.findall(rf"^{name} +(\d+)$", said, re.MULTILINE)]
    assert tuple(figures) == (500, 492, 2, 10, 5, 0, 485)
    assert str(report) in said
    assert report.read_text().startswith("<!doctype html>")
    heard = re.findall(r"^(\d+)  +(Flow\w+|Phase\w+|Checkpoint\w+|Steps\w+|Hook\w+) ", said, re.MULTILINE)
    assert [int(version) for version, _ in heard] == list(range(1, len(heard) + 1))
    assert (heard[0][1], heard[-1][1]) == ("FlowCreated", "FlowCompleted")
    assert _left(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_a_file_without_names_ends_the_demo_with_what_is_asked(tmp_path: Path) -> None:
    file = tmp_path.parent / "colours.csv"
    file.write_text("Serial,Colour\n1,red\n2,blue\n")
    other = tmp_path.parent / "shapes.csv"
    other.write_text("Weight,Shape\n1,round\n2,square\n")
    with _demo(tmp_path, "--file", f"{file},{other}") as demo:
        said, _ = demo.communicate(timeout=90)
    assert demo.returncode == 1
    assert "waiting for input" in said
    assert "no column is mapped to name" in said
    assert "colours.csv, Colour -> " in said
    assert "shapes.csv, Shape -> " in said
    assert _left(tmp_path) == []


def _demo(scratch: Path, *words: str) -> subprocess.Popen[str]:
    """The demo with its scratch folder made in `scratch`."""
    return subprocess.Popen(
        [sys.executable, "-m", "mfo.demo", *words],
        cwd=ROOT,
        env=clean_environment() | {"TMPDIR": str(scratch), "COLUMNS": "200"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _left(scratch: Path) -> Sequence[psutil.Process]:
    return processes_where(lambda process: any(str(scratch) in word for word in process.cmdline()))
