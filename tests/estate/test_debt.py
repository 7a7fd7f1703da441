from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid5

import msgspec
import pytest

from estate.assets import AssetFacts
from estate.debt import assess
from estate.errors import EstateError
from estate.vocabulary import parse_os

FLOW = UUID("6f1c1ab0-8f0e-4f7a-9a57-0d4a3a1f5c11")
TODAY = dt.date(2025, 6, 1)


@dataclass
class Assessed:
    findings: list[dict[str, Any]]
    scores: list[dict[str, Any]]
    issues: list[dict[str, Any]]
    summary: dict[str, Any]

    @property
    def kinds(self) -> list[str]:
        return [finding["kind"] for finding in self.findings]


def asset(name: str, system: str | None = None, **told: Any) -> AssetFacts:
    """A server of that name and operating system, as the inventory would hand it over."""
    attributes = told.pop("attributes", {})
    parsed = parse_os(system) if system else None
    if parsed is not None and parsed.bits:
        attributes = {**attributes, "os_bits": parsed.bits}
    facts: dict[str, Any] = {
        "asset_id": f"id-{name}",
        "name": name,
        "asset_type": "server",
        "operating_system": parsed.product if parsed else system,
        "os_version": parsed.version if parsed else None,
        "sources": [{"file": "s.csv", "sheet": None, "row": 2}],
        "custom_attributes": msgspec.Raw(msgspec.json.encode(attributes)),
    }
    return AssetFacts(**(facts | told))


def uses(product: str, version: str | None = None, row: int = 9) -> dict[str, Any]:
    source = {"file": "software.csv", "sheet": None, "row": row}
    return {"product": product, "version": version, "edition": None, "vendor": None, "source": source}


def assess_all(assets: Iterable[AssetFacts], today: dt.date = TODAY, **options: Any) -> Assessed:
    findings: list[dict[str, Any]] = []
    scores: list[dict[str, Any]] = []
    debt = assess(assets, FLOW, today, each_finding=findings.append, each_score=scores.append, **options)
    return Assessed(findings, scores, debt.issues, debt.summary)


def assessed(*systems: str | None, today: dt.date = TODAY) -> Assessed:
    return assess_all((asset(f"s{number}", system) for number, system in enumerate(systems)), today)


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
    assert finding == {
        "finding_id": str(uuid5(FLOW, "finding|end_of_support|id-s0")),
        "kind": "end_of_support",
        "severity": "high",
        "asset_id": "id-s0",
        "asset_name": "s0",
        "message": "s0 runs Windows Server 2012: support ended on 2023-10-10; paid extended support"
        " (Extended Security Updates) ends on 2026-10-13.",
        "evidence": {
            "product": "Windows Server",
            "version": "2012",
            "state": "extended",
            "end_of_support": "2023-10-10",
            "extended_end": "2026-10-13",
            "extended_kind": "paid",
            "reference_date": "2025-06-01",
            "source": "Microsoft Lifecycle: Windows Server 2012 (Extended Security Updates)",
            "checked": "2026-08-22",
        },
        "remedy": "Upgrade Windows Server 2012 to Windows Server 2022 or 2025; or buy extended support"
        " (Extended Security Updates), which ends on 2026-10-13.",
        "points": 70,
        "confidence": 1.0,
        "source": {"file": "s.csv", "sheet": None, "row": 2},
        "sources": [{"file": "s.csv", "sheet": None, "row": 2}],
    }


@pytest.mark.parametrize(
    ("system", "today", "remedy"),
    [
        (
            "CentOS 7", "2025-06-01",
            ("Upgrade CentOS 7 to Red Hat Enterprise Linux, Rocky Linux or AlmaLinux 9, or retire it; do not migrate it"
            " as it is."),
        ),
        (
            "Windows Server 2016", "2026-06-01",
            "Plan the upgrade of Windows Server 2016 to Windows Server 2022 or 2025 together with the migration.",
        ),
        (
            "Debian 11", "2025-06-01",
            "Upgrade Debian 11 to Debian 13 before 2026-08-31, when the support by its community (Debian LTS) ends.",
        ),
        (
            "Oracle Linux 7", "2025-06-01",
            "Upgrade Oracle Linux 7 to Oracle Linux 9; or buy extended support, which ends on 2028-06-30.",
        ),
        (
            "Debian 13", "2031-01-01",
            "Upgrade Debian 13 to a later release of Debian, or retire it; do not migrate it as it is.",
        ),
    ],
)  # fmt: skip
def test_a_remedy_says_where_to_go(system: str, today: str, remedy: str) -> None:
    [finding] = assessed(system, today=dt.date.fromisoformat(today)).findings
    assert finding["remedy"] == remedy


def test_what_cannot_be_told_is_an_issue_and_not_scored() -> None:
    found = assessed("Windows Server 2016 or later", "Ubuntu", None, "TempleOS 5", "CentOS 9", "RHEL 9")
    assert [(issue["kind"], issue["message"]) for issue in found.issues] == [
        (
            "version_uncertain",
            "Windows Server 2016 or later is not exact, so whether it is supported cannot be told: 1 asset (s0).",
        ),
        ("not_in_support_table", "CentOS 9 (1 asset) is not in the end-of-support table."),
        (
            "version_unknown",
            "TempleOS 5 without a version, so whether it is supported cannot be told: 1 asset (s3).",
        ),
        ("version_unknown", "Ubuntu without a version, so whether it is supported cannot be told: 1 asset (s1)."),
        ("operating_system_unknown", "The operating system of 1 machine is unknown: s2."),
    ]
    assert found.issues[0]["asset_id"] == "id-s0"
    assert [score["score"] for score in found.scores] == [None, None, None, None, None, 0.0]
    assert [score["support"] for score in found.scores] == [
        "uncertain",
        "unknown",
        "unknown",
        "unknown",
        "not_in_table",
        "supported",
    ]
    assert (found.summary["assets_scored"], found.summary["score"]) == (1, 0.0)


def test_one_doubt_of_many_assets_is_one_issue() -> None:
    found = assessed(*["CentOS 9"] * 2, *["Windows Server 2016 or later"] * 7)
    assert [(issue["message"], issue["asset_id"]) for issue in found.issues] == [
        (
            (
                "Windows Server 2016 or later is not exact, so whether it is supported cannot be told: 7 assets"
                " (s2, s3, s4, s5, s6 and 2 more)."
            ),
            None,
        ),
        ("CentOS 9 (2 assets) is not in the end-of-support table.", None),
    ]


def test_the_score_follows_the_formula() -> None:
    found = assess_all(
        [
            asset("a", "Windows Server 2012 (32-bit)", power_state="off"),
            asset("b", "RHEL 9", power_state="on"),
            asset("c", "CentOS 7", power_state="on"),
        ]
    )
    # a: high 70 + a tenth of medium 40 and info 0; b: nothing; c: critical 100
    assert [score["score"] for score in found.scores] == [74.0, 0.0, 100.0]
    assert found.summary["score"] == 58.0
    assert found.summary["by_kind"] == {"end_of_support": 2, "32_bit_system": 1, "powered_off": 1}
    assert found.summary["by_severity"] == {"critical": 1, "high": 1, "medium": 1, "info": 1}
    assert found.summary["findings"] == 4
    assert [worst["name"] for worst in found.summary["worst"]] == ["c", "a"]


def test_sizes_in_conflict_are_debt() -> None:
    values = [{"value": 4, "sources": []}, {"value": 8, "sources": []}]
    conflicts = [
        {"field": "cpu_cores", "chosen": 4, "values": values, "why": ""},
        {"field": "location", "chosen": "x", "values": [], "why": ""},
    ]
    found = assess_all([asset("a", conflicts=conflicts)])
    assert [(finding["kind"], finding["message"], finding["evidence"]) for finding in found.findings] == [
        ("size_uncertain", "a: sources disagree on cpu_cores.", {"cpu_cores": [4, 8]})
    ]


def test_software_on_a_machine_is_assessed_with_where_it_was_said() -> None:
    software = [
        uses("SQL Server", "2012", 3),
        uses("Java", "8u202", 4),
        uses("Redis", None),
        uses("PostgreSQL", "16"),
        uses("Notepad++", "7.8"),
    ]
    found = assess_all([asset("db1", "Windows Server 2019", software=software)], dt.date(2026, 1, 1))
    assert [(finding["kind"], finding["severity"], finding["message"]) for finding in found.findings] == [
        (
            "software_end_of_support",
            "critical",
            "db1 runs SQL Server 2012: support ended on 2022-07-12, extended support on 2025-07-08.",
        ),
        (
            "software_end_of_support",
            "high",
            "db1 runs Java 8u202: support ended on 2022-03-31; paid extended support ends on 2030-12-31.",
        ),
    ]
    assert [finding["source"]["row"] for finding in found.findings] == [3, 4]
    assert [finding["confidence"] for finding in found.findings] == [1.0, 0.9]
    assert found.summary["software_support"] == {
        "ended": 1,
        "extended": 1,
        "unknown_version": 1,
        "supported": 1,
        "unknown_product": 1,
    }
    assert found.summary["software_out_of_support"] == {"SQL Server 2012": 1}
    assert found.summary["software_in_extended_support"] == {"Java 8u202": 1}
    assert found.summary["by_product"] == {"Java": {"extended": 1}, "SQL Server": {"ended": 1}}
    assert found.issues == []


def test_software_said_twice_counts_once_and_every_version_has_its_own_finding() -> None:
    software = [uses("SQL Server", "2008"), uses("SQL Server", "2008"), uses("SQL Server", "2012")]
    found = assess_all([asset("db1", "Windows Server 2012 R2", software=software)])
    kinds = [finding["kind"] for finding in found.findings]
    assert kinds == ["end_of_support", "software_end_of_support", "software_end_of_support"]
    assert len({finding["finding_id"] for finding in found.findings}) == 3


def test_software_named_as_an_inventory_writes_it_is_read() -> None:
    software = [uses("Microsoft SQL Server 2008 R2 (64-bit)"), uses("Apache Tomcat/7.0.109")]
    found = assess_all([asset("db1", "RHEL 9", software=software)])
    assert [finding["evidence"]["product"] for finding in found.findings] == ["SQL Server", "Apache Tomcat"]


def test_an_application_is_assessed_by_its_technologies() -> None:
    shop = asset("Shop", asset_type="application", software=[uses("Java", "7"), uses("Oracle Database", "11g")])
    site = asset("Site", asset_type="application", software=[uses("PHP", "8.4")])
    blank = asset("Blank", asset_type="application", software=[uses("Java")])
    found = assess_all([shop, site, blank])
    database = asset("Orders", asset_type="database", software=[uses("PostgreSQL", "17")])
    assert [score["score"] for score in assess_all([database]).scores] == [0.0]
    assert [finding["message"] for finding in found.findings] == [
        "Shop uses Java 7: support ended on 2019-07-31, extended support on 2022-07-19.",
        (
            "Shop uses Oracle Database 11g: support ended on 2015-01-31, extended support on 2020-12-31 (of 11.2, the"
            " latest that it may be)."
        ),
    ]
    assert [score["score"] for score in found.scores] == [100.0, 0.0, None]
    assert found.summary["support"] == {"not_applicable": 3}
    assert found.issues == []


def test_software_that_is_a_part_of_the_system_is_told_by_it() -> None:
    machine = asset("web1", "Windows Server 2012 R2", software=[uses("IIS", "8.5")])
    alone = asset("Shop", asset_type="application", software=[uses("IIS", "7.5"), uses("IIS", "10")])
    found = assess_all([machine, alone])
    assert [finding["message"] for finding in found.findings] == [
        (
            "web1 runs Windows Server 2012 R2: support ended on 2023-10-10; paid extended support"
            " (Extended Security Updates) ends on 2026-10-13."
        ),
        "Shop uses IIS 7.5: support ended on 2020-01-14, extended support on 2023-01-10.",
    ]
    assert found.summary["software_support"] == {"follows_operating_system": 2, "ended": 1}
    assert found.issues == []


def test_software_that_is_not_in_the_table_or_not_exact_is_counted() -> None:
    software = [uses("SAP HANA", "2.0"), uses("MySQL", "5/8")]
    found = assess_all([asset("a", "RHEL 9", software=software), asset("b", "RHEL 9", software=software)])
    assert [(issue["kind"], issue["message"], issue["field"]) for issue in found.issues] == [
        (
            "version_uncertain",
            "MySQL 5/8 is not exact, so whether it is supported cannot be told: 2 assets (a, b).",
            "software",
        ),
        ("not_in_support_table", "SAP HANA 2.0 (2 assets) is not in the end-of-support table.", "software"),
    ]


def test_unsupported_combinations_are_found_with_their_source() -> None:
    found = assess_all([asset("db1", "Windows Server 2019", software=[uses("SQL Server", "2008")])])
    [finding] = [finding for finding in found.findings if finding["kind"] == "unsupported_combination"]
    assert finding["message"] == (
        "db1 has SQL Server 2008 together with Windows Server 2019: SQL Server 2008 and 2008 R2 are not supported on"
        " Windows Server 2016 and later."
    )
    assert finding["severity"] == "medium"
    assert finding["remedy"] == "Move the databases to SQL Server 2022."
    assert finding["evidence"] == {
        "product": "SQL Server",
        "version": "2008",
        "platform": "Windows Server 2019",
        "statement": "SQL Server 2008 and 2008 R2 are not supported on Windows Server 2016 and later",
        "source": "Microsoft: Version requirements for SQL Server in Windows operating system (KB 2681562)",
        "checked": "2026-08-22",
    }


@pytest.mark.parametrize(
    ("attributes", "kinds"),
    [
        ({"HW version": "vmx-08"}, ["virtual_hardware"]),
        ({"HW version": 7}, ["virtual_hardware"]),
        ({"HW version": "4", "x": 1}, ["virtual_hardware"]),
        ({"HW version": "vmx-13"}, []),
        ({"HW version": 19}, []),
        ({"HW version": None}, []),
        ({"os_bits": 32}, ["32_bit_system"]),
        ({"os_bits": 64}, []),
        ({"note": '"os_bits":32,'}, []),
        ({"end_of_support": "2025-05-31"}, ["stated_end_of_support"]),
        ({"end_of_support": "2030-01-01"}, []),
        ({"end_of_support": "soon"}, []),
        ({}, []),
    ],
)
def test_attributes_that_are_debt(attributes: dict[str, Any], kinds: list[str]) -> None:
    assert assess_all([asset("a", "RHEL 9", attributes=attributes)]).kinds == kinds


def test_the_words_of_attributes() -> None:
    found = assess_all(
        [
            asset("vm1", "RHEL 9", attributes={"HW version": "vmx-08"}),
            asset("Shop", asset_type="application", attributes={"end_of_support": "2026-01-31"}),
            asset("Till", asset_type="application", attributes={"end_of_support": "2024-01-31"}),
        ]
    )
    assert [(finding["severity"], finding["message"]) for finding in found.findings] == [
        (
            "low",
            (
                "vm1 has virtual hardware version 8: VMware HCX moves machines by vMotion or cold only from virtual"
                " hardware version 9 on."
            ),
        ),
        ("medium", "Shop: the file says that its support ends on 2026-01-31."),
        ("high", "Till: the file says that its support ended on 2024-01-31."),
    ]


def use(cpu: float, memory: float, **more: float) -> dict[str, Any]:
    return {"cpu_percent": {"p95": cpu}, "memory_percent": {"p95": memory}} | {
        name: {"p95": value} for name, value in more.items()
    }


def sized(name: str, cpu: float, memory: float, **told: Any) -> AssetFacts:
    return asset(name, "RHEL 9", cpu_cores=8, memory_gb=32.0, utilization=use(cpu, memory), **told)


def test_sizes_are_judged_from_measured_use() -> None:
    found = assess_all(
        [sized("fits", 60, 60), sized("large", 20, 60), sized("small", 90, 30), sized("off", 1, 1, power_state="off")]
    )
    assert [(finding["kind"], finding["severity"], finding["message"]) for finding in found.findings] == [
        (
            "oversized",
            "low",
            "large is oversized: 8 cores where 4 cores would do (by its P95 use, comfort factor 1.3).",
        ),
        ("oversized", "low", "small is oversized: 32 GiB where 14 GiB would do (by its P95 use, comfort factor 1.3)."),
        (
            "undersized",
            "medium",
            "small is undersized: 8 cores where 10 cores would be needed (by its P95 use, comfort factor 1.3).",
        ),
        ("powered_off", "info", "off is powered off."),
    ]
    assert found.findings[0]["remedy"] == "Migrate it at 4 cores."
    assert found.findings[0]["evidence"]["cpu_cores"] == 4
    assert found.findings[0]["evidence"]["comfort"] == 1.3
    assert "8 cores x 20 % (P95) / 100 x 1.3" in found.findings[0]["evidence"]["formula"]
    sizing = found.summary["sizing"]
    assert (sizing["cpu_cores_now"], sizing["cpu_cores_recommended"]) == (24, 8 + 4 + 10)
    assert (sizing["memory_gb_now"], sizing["memory_gb_recommended"]) == (96, 26 + 26 + 14)
    assert {name: sizing[name] for name in ("measured", "oversized", "undersized", "idle", "fitting", "by_basis")} == {
        "measured": 3,
        "oversized": 2,
        "undersized": 1,
        "idle": 0,
        "fitting": 1,
        "by_basis": {"p95": 3},
    }


def test_an_idle_machine_is_not_only_too_large() -> None:
    idle = asset(
        "idle", "RHEL 9", cpu_cores=4, memory_gb=8.0, utilization=use(2, 10, network_mb_per_s=0.001)
    )  # fmt: skip
    [finding] = assess_all([idle]).findings
    assert (finding["kind"], finding["message"]) == (
        "idle",
        (
            "idle is idle: 4 cores where 1 core would do and 8 GiB where 2 GiB would do"
            " (by its P95 use, comfort factor 1.3)."
        ),
    )
    assert finding["remedy"] == "Ask its owner whether it is still needed; retire it if not."


def test_an_average_says_nothing_of_peaks() -> None:
    machine = asset("a", "RHEL 9", cpu_cores=8, memory_gb=32.0, cpu_utilization_percent=20.0)
    [finding] = assess_all([machine]).findings
    assert finding["message"] == (
        "a is oversized: 8 cores where 4 cores would do (by its average use, comfort factor 1.3)."
    )
    assert finding["remedy"] == (
        "Migrate it at 4 cores, once its peaks have been measured: an average says nothing of them."
    )


def test_the_comfort_factor_is_the_callers() -> None:
    found = assess_all([sized("a", 40, 60)], comfort=2.0)
    assert found.summary["sizing"]["comfort"] == 2.0
    assert "comfort factor 2)" in found.findings[0]["message"]
    with pytest.raises(EstateError) as refused:
        assess_all([sized("a", 40, 60)], comfort=0.5)
    assert refused.value.code == "comfort_invalid"


def test_nothing_measured_is_none_and_not_zero() -> None:
    sizing = assessed("RHEL 9").summary["sizing"]
    assert (sizing["measured"], sizing["cpu_cores_now"], sizing["memory_gb_recommended"]) == (0, None, None)


def test_extended_support_stands_apart_from_out_of_support() -> None:
    summary = assessed(
        "Windows Server 2012 R2", "Windows Server 2012 R2", "CentOS 7", "Windows Server 2016", "RHEL 9", None
    ).summary
    assert summary["out_of_support_systems"] == {"CentOS 7": 1}
    assert summary["systems_in_extended_support"] == {"Windows Server 2012 R2": 2}
    assert summary["systems_ending_soon"] == {"Windows Server 2016": 1}
    assert summary["support"] == {"extended": 2, "ended": 1, "ending": 1, "supported": 1, "unknown": 1}
    assert summary["by_product"] == {
        "Windows Server": {"extended": 2, "ending": 1},
        "CentOS": {"ended": 1},
    }
    assert summary["reference_date"] == "2025-06-01"


def test_the_same_assets_give_the_same_findings_again() -> None:
    assets = [sized("a", 20, 20), asset("b", "CentOS 7", software=[uses("Java", "7")])]
    assert assess_all(assets) == assess_all(iter(assets))


def test_assets_are_taken_and_handed_on_one_by_one() -> None:
    log: list[str] = []

    def coming() -> Iterator[AssetFacts]:
        for name in ("a", "b"):
            log.append(f"in {name}")
            yield asset(name, "CentOS 7")

    assess(
        coming(),
        FLOW,
        TODAY,
        each_finding=lambda finding: log.append(f"finding {finding['asset_name']}"),
        each_score=lambda score: log.append(f"score {score['name']}"),
    )
    assert log == ["in a", "finding a", "score a", "in b", "finding b", "score b"]


def test_no_assets_no_debt() -> None:
    found = assess_all([])
    assert (found.findings, found.scores, found.issues) == ([], [], [])
    assert (found.summary["score"], found.summary["findings"], found.summary["worst"]) == (None, 0, [])


def test_a_hundred_thousand_assets_take_seconds() -> None:
    systems = ["Windows Server 2012 R2", "Windows Server 2019", "RHEL 7.9", "CentOS 7", "Ubuntu 20.04", None]
    software = [[], [uses("SQL Server", "2014")], [uses("Java", "8u202"), uses("Apache Tomcat", "8.5.5")]]
    made = [asset("a", system) for system in systems]
    attributes = msgspec.Raw(b'{"owner":"x","HW version":"vmx-13","cluster":"c1"}')

    def coming() -> Iterator[AssetFacts]:
        for number in range(100_000):
            like = made[number % 6]
            yield AssetFacts(
                asset_id=str(number),
                name=f"s{number}",
                asset_type="server",
                operating_system=like.operating_system,
                os_version=like.os_version,
                cpu_cores=8,
                memory_gb=32.0,
                software=software[number % 3],
                utilization=use(20.0 + number % 60, 40.0) if number % 4 == 0 else {},
                custom_attributes=attributes,
                sources=like.sources,
            )

    count = 0

    def counted(_: dict[str, Any]) -> None:
        nonlocal count
        count += 1

    begun = time.process_time()
    debt = assess(coming(), FLOW, TODAY, each_finding=counted, each_score=lambda _: None)
    assert time.process_time() - begun < 5  # 2.5 s on a quiet machine, the making of the assets counted
    assert debt.summary["findings"] == count
    assert count > 100_000


def test_dates_that_were_not_compared_with_their_source_say_so_and_count_for_less() -> None:
    found = assess_all(
        [
            asset("sbs", "Windows Small Business Server 2011"),
            asset("db", "Windows Server 2012", software=[uses("SQL Server", "2005")]),
        ]
    )
    kinds = {finding["kind"] + finding["asset_name"]: finding for finding in found.findings}
    end = kinds["end_of_supportsbs"]
    assert (end["severity"], end["confidence"]) == ("critical", 0.7)
    assert (end["evidence"]["checked"], end["evidence"]["note"]) == (None, "date not verified")
    together = kinds["unsupported_combinationdb"]
    assert (together["evidence"]["note"], together["confidence"]) == ("combination not verified", 0.7)
    assert "note" not in kinds["end_of_supportdb"]["evidence"]


def test_two_rows_of_the_table_about_the_same_parts_are_one_finding() -> None:
    software = [uses(".NET Framework", "4.8.1")]
    found = assess_all([asset("app", "Windows Server 2008", software=software)])
    [one] = [finding for finding in found.findings if finding["kind"] == "unsupported_combination"]
    assert ".NET Framework 4.8.1 needs Windows Server 2022 or later" in one["message"]
    ids = [finding["finding_id"] for finding in found.findings]
    assert len(ids) == len(set(ids))
