from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from estate.debt import Debt, assess, find_support, support_table
from estate.inventory import build
from estate.tables import Cell
from tests.estate.test_inventory import FLOW, clean

TODAY = dt.date(2025, 6, 1)


def assessed(*systems: str | None, today: dt.date = TODAY) -> Debt:
    rows: list[list[Cell]] = [[f"s{number}", system] for number, system in enumerate(systems)]
    return assess(build([clean("s.csv", "Server Name,OS", *rows)], FLOW).assets, FLOW, today)


def test_the_table_is_whole() -> None:
    table = support_table()
    assert len(table) >= 90
    for entry in table.values():
        assert entry.source
        assert entry.extended_end is None or entry.extended_end > entry.end_of_support


@pytest.mark.parametrize(
    ("product", "version", "end"),
    [
        ("Windows Server", "2012 R2", "2023-10-10"),
        ("Red Hat Enterprise Linux", "7.9", "2024-06-30"),
        ("CentOS", "7.9.2009", "2024-06-30"),
        ("Ubuntu", "20.04.6", "2025-05-31"),
        ("SUSE Linux Enterprise Server", "12 SP5", "2024-10-31"),
        ("SUSE Linux Enterprise Server", "12", "2024-10-31"),
        ("VMware ESXi", "6.7.0", "2022-10-15"),
        ("VMware ESXi", "7", "2025-10-02"),
    ],
)
def test_versions_find_their_entry(product: str, version: str, end: str) -> None:
    entry = find_support(product, version)
    assert entry is not None
    assert entry.end_of_support.isoformat() == end


@pytest.mark.parametrize(
    ("system", "today", "severity"),
    [
        ("Windows Server 2008 R2", "2025-06-01", "critical"),
        ("Windows Server 2012 R2", "2025-06-01", "high"),
        ("Windows Server 2012 R2", "2026-10-13", "high"),
        ("Windows Server 2012 R2", "2026-10-14", "critical"),
        ("Windows Server 2012 R2", "2023-10-10", "medium"),
        ("Windows Server 2016", "2026-06-01", "medium"),
        ("Windows Server 2016", "2025-06-01", "low"),
        ("Windows Server 2016", "2024-06-01", None),
        ("CentOS 8", "2025-06-01", "critical"),
        ("Oracle Linux 4/5/6", "2025-06-01", "critical"),
        ("Oracle Linux 6/7", "2025-06-01", None),
        ("Windows Server 2016 or later", "2035-01-01", None),
    ],
)
def test_severity_by_date(system: str, today: str, severity: str | None) -> None:
    findings = assessed(system, today=dt.date.fromisoformat(today)).findings
    assert [finding["severity"] for finding in findings] == ([severity] if severity else [])


def test_a_finding_carries_its_evidence_and_remedy() -> None:
    [finding] = assessed("Windows Server 2012").findings
    assert finding["evidence"] == {
        "operating_system": "Windows Server",
        "os_version": "2012",
        "end_of_support": "2023-10-10",
        "extended_end": "2026-10-13",
        "reference_date": "2025-06-01",
        "source": "Microsoft Lifecycle: Windows Server 2012 (Extended Security Updates)",
    }
    assert "extended support" in finding["remedy"]
    assert finding["source"] == {"file": "s.csv", "sheet": None, "row": 2}


def test_what_cannot_be_told_is_an_issue_and_not_scored() -> None:
    found = assessed("Windows Server 2016 or later", "Ubuntu", None, "TempleOS 5", "CentOS 9", "RHEL 9")
    assert [issue["kind"] for issue in found.issues] == ["version_uncertain", "not_in_support_table"]
    assert [score["score"] for score in found.scores] == [None, None, None, None, None, 0.0]
    assert (found.summary["assets_scored"], found.summary["score"]) == (1, 0.0)


def test_the_score_follows_the_formula() -> None:
    table = clean(
        "s.csv",
        "Server Name,OS,Power State",
        ["a", "Windows Server 2012 (32-bit)", "off"],
        ["b", "RHEL 9", "on"],
        ["c", "CentOS 7", "on"],
    )
    found = assess(build([table], FLOW).assets, FLOW, TODAY)
    # a: high 70 + a tenth of medium 40 and info 0; b: nothing; c: critical 100
    assert [score["score"] for score in found.scores] == [74.0, 0.0, 100.0]
    assert found.summary["score"] == 58.0
    assert found.summary["by_kind"] == {"end_of_support": 2, "32_bit_system": 1, "powered_off": 1}


def test_sizes_in_conflict_are_debt() -> None:
    tables = [clean("a.csv", "Server Name,vCPU", ["a", 4]), clean("b.csv", "Server Name,vCPU", ["a", 8])]
    findings: list[dict[str, Any]] = assess(build(tables, FLOW).assets, FLOW, TODAY).findings
    assert [(finding["kind"], finding["evidence"]) for finding in findings] == [
        ("size_uncertain", {"cpu_cores": [4, 8]})
    ]
