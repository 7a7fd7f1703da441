from __future__ import annotations

import datetime as dt
import re
from collections import Counter

import pytest

from estate.debt import candidates, combinations, find_support, successors, support_table, unsupported, verdict
from estate.debt.support import KINDS, rows_of
from estate.software import PRODUCTS

FAMILIES = {
    "Windows Server": 11,
    "Windows": 8,
    "SQL Server": 10,
    "Red Hat Enterprise Linux": 7,
    "CentOS": 4,
    "CentOS Stream": 3,
    "Ubuntu": 12,
    "Debian": 8,
    "SUSE Linux Enterprise Server": 18,
    "Oracle Linux": 5,
    "Rocky Linux": 3,
    "AlmaLinux": 3,
    "Amazon Linux": 3,
    "AIX": 5,
    "Solaris": 5,
    "VMware ESXi": 10,
    "VMware vCenter": 10,
    "PostgreSQL": 16,
    "MySQL": 7,
    "MariaDB": 12,
    "Oracle Database": 10,
    "MongoDB": 12,
    "Java": 18,
    "OpenJDK": 8,
    ".NET Framework": 12,
    ".NET Core": 7,
    ".NET": 6,
    "Python": 14,
    "Node.js": 18,
    "PHP": 14,
    "Apache Tomcat": 8,
    "IIS": 6,
    "Exchange Server": 8,
    "SharePoint Server": 6,
}


def test_every_family_is_there_in_its_versions() -> None:
    counts = Counter(product for product, _ in support_table())
    assert len(support_table()) >= 500
    assert {product: counts[product] for product, least in FAMILIES.items() if counts[product] < least} == {}


def test_no_product_version_is_there_twice() -> None:
    names = [(row["product"], row["version"]) for row in rows_of("end_of_support.csv")]
    assert [name for name, count in Counter(names).items() if count > 1] == []


def test_dates_are_in_order_and_extended_support_says_what_it_is() -> None:
    for entry in support_table().values():
        assert entry.source
        assert entry.source == entry.source.strip()
        assert entry.extended_kind in KINDS
        assert (entry.extended_end is None) == (entry.extended_kind == "none"), entry
        if entry.extended_end is not None:
            assert entry.end_of_support is not None, entry
            assert entry.extended_end > entry.end_of_support, entry
        if entry.end_of_support is not None:
            assert dt.date(1995, 1, 1) < entry.end_of_support < dt.date(2040, 1, 1), entry
        assert entry.checked is None or dt.date(2026, 1, 1) <= entry.checked <= dt.date(2027, 1, 1)
    assert sum(entry.checked is None for entry in support_table().values()) < 20


def test_releases_of_a_windows_or_database_end_in_the_order_they_came() -> None:
    for product in ("Windows Server", "SQL Server", "PostgreSQL", "Red Hat Enterprise Linux", "Debian"):
        ends = [
            entry.end_of_support
            for entry in support_table().values()
            # the yearly releases of Windows Server (1709, 20H2) lived beside the long ones
            if entry.product == product and not re.fullmatch(r"1\d{3}|2004|2\dH2", entry.version)
        ]
        known = [end for end in ends if end is not None]
        assert known, product
        assert known == sorted(known), product


def test_every_product_of_the_table_has_a_successor_and_is_a_name_that_names_are_read_as() -> None:
    products = {product for product, _ in support_table()}
    assert products == set(successors())
    systems = {
        "Windows Server", "Windows", "Red Hat Enterprise Linux", "CentOS", "CentOS Stream", "Rocky Linux", "AlmaLinux",
        "Oracle Linux", "Ubuntu", "Debian", "SUSE Linux Enterprise Server", "openSUSE", "Amazon Linux", "Fedora", "AIX",
        "Solaris", "HP-UX", "VMware Photon OS", "FreeBSD", "Windows NT", "Windows Small Business Server",
        "Hyper-V Server", "IBM i",
    }  # fmt: skip
    assert products - systems <= PRODUCTS


WELL_KNOWN = [
    ("Windows Server", "2003", "2015-07-14", None),
    ("Windows Server", "2008 R2", "2020-01-14", "2023-01-10"),
    ("Windows Server", "2012", "2023-10-10", "2026-10-13"),
    ("Windows Server", "2012 R2", "2023-10-10", "2026-10-13"),
    ("Windows Server", "2016", "2027-01-12", "2030-01-12"),
    ("Windows Server", "2019", "2029-01-09", None),
    ("Windows Server", "2022", "2031-10-14", None),
    ("Windows Server", "2025", "2034-11-14", None),
    ("Windows", "7", "2020-01-14", "2023-01-10"),
    ("Windows", "10", "2025-10-14", "2028-10-10"),
    ("SQL Server", "2008 R2", "2019-07-09", "2022-07-12"),
    ("SQL Server", "2012", "2022-07-12", "2025-07-08"),
    ("SQL Server", "2014", "2024-07-09", "2027-07-12"),
    ("SQL Server", "2016", "2026-07-14", "2029-07-17"),
    ("SQL Server", "2017", "2027-10-12", None),
    ("SQL Server", "2019", "2030-01-08", None),
    ("Red Hat Enterprise Linux", "6", "2020-11-30", "2024-06-30"),
    ("Red Hat Enterprise Linux", "7", "2024-06-30", "2029-05-31"),
    ("Red Hat Enterprise Linux", "8", "2029-05-31", "2033-05-31"),
    ("CentOS", "6", "2020-11-30", None),
    ("CentOS", "7", "2024-06-30", None),
    ("CentOS", "8", "2021-12-31", None),
    ("CentOS Stream", "8", "2024-05-31", None),
    ("Ubuntu", "18.04", "2023-05-31", "2028-04-01"),
    ("Ubuntu", "20.04", "2025-05-31", "2030-04-02"),
    ("Debian", "10", "2022-09-10", "2024-06-30"),
    ("SUSE Linux Enterprise Server", "12 SP5", "2024-10-31", "2027-10-31"),
    ("Oracle Linux", "7", "2024-12-31", "2028-06-30"),
    ("Amazon Linux", "2", "2026-06-30", None),
    ("AIX", "7.1", "2023-04-30", None),
    ("Solaris", "11.4", "2031-11-01", "2037-11-01"),
    ("VMware ESXi", "6.7", "2022-10-15", None),
    ("VMware ESXi", "7.0", "2025-10-02", None),
    ("VMware vCenter", "8.0", "2027-10-11", None),
    ("PostgreSQL", "9.6", "2021-11-11", None),
    ("PostgreSQL", "13", "2025-11-13", None),
    ("MySQL", "5.7", "2020-10-31", "2023-10-31"),
    ("MySQL", "8.0", "2025-04-30", "2026-04-30"),
    ("MariaDB", "10.3", "2023-05-25", None),
    ("Oracle Database", "11.2", "2015-01-31", "2020-12-31"),
    ("Oracle Database", "12.1", "2018-07-31", "2022-07-31"),
    ("Oracle Database", "19", "2029-12-31", "2032-12-31"),
    ("MongoDB", "4.4", "2024-02-29", None),
    ("Java", "8", "2022-03-31", "2030-12-31"),
    ("Java", "11", "2023-09-30", "2032-01-31"),
    (".NET Framework", "4.5.2", "2022-04-26", None),
    (".NET Framework", "4.8", None, None),
    (".NET Core", "3.1", "2022-12-13", None),
    (".NET", "6", "2024-11-12", None),
    ("Python", "2.7", "2020-01-01", None),
    ("Python", "3.8", "2024-10-07", None),
    ("Node.js", "12", "2022-04-30", None),
    ("Node.js", "16", "2023-09-11", None),
    ("PHP", "5.6", "2018-12-31", None),
    ("PHP", "7.4", "2022-11-28", None),
    ("Apache Tomcat", "7.0", "2021-03-31", None),
    ("Apache Tomcat", "8.5", "2024-03-31", None),
    ("IIS", "8.5", "2023-10-10", "2026-10-13"),
    ("Exchange Server", "2013", "2023-04-11", None),
    ("Exchange Server", "2016", "2025-10-14", "2026-10-31"),
    ("SharePoint Server", "2013", "2023-04-11", None),
    ("SharePoint Server", "2019", "2026-07-14", None),
]


@pytest.mark.parametrize(("product", "version", "end", "extended"), WELL_KNOWN)
def test_well_known_dates(product: str, version: str, end: str | None, extended: str | None) -> None:
    entry = support_table()[product, version]
    assert entry.end_of_support == (dt.date.fromisoformat(end) if end else None)
    assert entry.extended_end == (dt.date.fromisoformat(extended) if extended else None)


@pytest.mark.parametrize(
    ("product", "version", "kind"),
    [
        ("Windows Server", "2012 R2", "paid"),
        ("Red Hat Enterprise Linux", "7", "paid"),
        ("Ubuntu", "18.04", "paid"),
        ("SUSE Linux Enterprise Server", "12 SP5", "paid"),
        ("Debian", "11", "community"),
        ("MySQL", "8.0", "included"),
        ("CentOS", "7", "none"),
        ("Oracle Database", "19", "paid"),
    ],
)
def test_extended_support_is_told_apart(product: str, version: str, kind: str) -> None:
    assert support_table()[product, version].extended_kind == kind


@pytest.mark.parametrize(
    ("product", "version", "end"),
    [
        ("Windows Server", "2012 R2", "2023-10-10"),
        ("Windows Server", "2008 R2 SP1", "2020-01-14"),
        ("Red Hat Enterprise Linux", "7.9", "2024-06-30"),
        ("CentOS", "7.9.2009", "2024-06-30"),
        ("Ubuntu", "20.04.6", "2025-05-31"),
        ("SUSE Linux Enterprise Server", "12 SP5", "2024-10-31"),
        ("SUSE Linux Enterprise Server", "12", "2024-10-31"),
        ("VMware ESXi", "6.7.0", "2022-10-15"),
        ("VMware ESXi", "7", "2025-10-02"),
        ("SQL Server", "2014 SP3", "2024-07-09"),
        ("Exchange Server", "2013 CU23", "2023-04-11"),
        ("Java", "8u202", "2022-03-31"),
        ("Java", "11.0.2", "2023-09-30"),
        ("Oracle Database", "11.2.0.4.0", "2015-01-31"),
        ("Oracle Database", "19c", "2029-12-31"),
        ("Apache Tomcat", "9", "2027-03-31"),
        ("Apache Tomcat", "7.0.109", "2021-03-31"),
        ("Node.js", "12.22.1", "2022-04-30"),
        (".NET", "6.0.36", "2024-11-12"),
        ("Amazon Linux", "2", "2026-06-30"),
        ("AIX", "7.1.5", "2023-04-30"),
    ],
)
def test_versions_find_their_entry(product: str, version: str, end: str) -> None:
    entry = find_support(product, version)
    assert entry is not None
    assert entry.end_of_support is not None
    assert entry.end_of_support.isoformat() == end


@pytest.mark.parametrize(
    ("product", "version", "versions"),
    [
        ("Oracle Database", "11g", ["11.1", "11.2"]),
        ("Oracle Database", "12c", ["12.1", "12.2"]),
        ("SQL Server", "2008/2008 R2", ["2008", "2008 R2"]),
        ("Windows", "11", ["11 21H2", "11 22H2", "11 23H2", "11 24H2", "11 25H2"]),
        ("Windows Server", "2008", ["2008"]),
        ("Python", "2", ["2.6", "2.7"]),
        ("VMware ESXi", "6", ["6.0", "6.5", "6.7"]),
        ("Oracle Linux", "4/5/6", ["5", "6"]),
        ("SUSE Linux Enterprise Server", "15 SP9", []),
        ("Python", "3.99", []),
        ("PostgreSQL", "9.7", []),
        (".NET Framework", "4.9", []),
        ("CentOS", "9", []),
        ("TempleOS", "5", []),
    ],
)
def test_a_version_that_may_be_several_is_all_of_them_and_never_its_neighbour(
    product: str, version: str, versions: list[str]
) -> None:
    assert [entry.version for entry in candidates(product, version)] == versions


def test_a_service_pack_that_is_not_told_may_be_any() -> None:
    assert {entry.version for entry in candidates("SUSE Linux Enterprise Server", "15")} >= {"15 SP1", "15 SP7"}
    # of 15 some are supported in 2027 and some are not; of 11 none is
    assert verdict("SUSE Linux Enterprise Server", "15", dt.date(2027, 1, 1)).state == "uncertain"
    assert verdict("SUSE Linux Enterprise Server", "11", dt.date(2027, 1, 1)).state == "ended"
    assert verdict("Oracle Database", "11g", dt.date(2018, 1, 1)).state == "uncertain"
    assert verdict("Oracle Database", "11g", dt.date(2021, 1, 1)).state == "ended"


@pytest.mark.parametrize(
    "row",
    [
        ("Windows Server", "2012", "2023-10-09", "ending", "medium", "support ends on 2023-10-10, in 1 day"),
        ("Windows Server", "2012", "2023-10-10", "ending", "medium", "support ends today"),
        (
            "Windows Server", "2012", "2023-10-11", "extended", "high",
            "support ended on 2023-10-10; paid extended support (Extended Security Updates) ends on 2026-10-13",
        ),
        (
            "Windows Server", "2012", "2026-10-14", "ended", "critical",
            "support ended on 2023-10-10, extended support on 2026-10-13",
        ),
        (
            "Debian", "12", "2026-09-01", "extended", "medium",
            "support ended on 2026-07-11; the support by its community (Debian LTS) ends on 2028-06-30",
        ),
        (
            "MySQL", "8.0", "2025-05-01", "extended", "medium",
            "support ended on 2025-04-30; extended support, which is included, ends on 2026-04-30",
        ),
        ("CentOS", "7", "2026-01-01", "ended", "critical", "support ended on 2024-06-30"),
        ("Windows Server", "2019", "2028-01-10", "ending", "low", "support ends on 2029-01-09, in 365 days"),
        ("Windows Server", "2019", "2028-01-11", "ending", "medium", "support ends on 2029-01-09, in 364 days"),
        ("Windows Server", "2019", "2026-01-01", "supported", None, ""),
        (".NET Framework", "4.8", "2035-01-01", "supported", None, ""),
        ("Windows Server", "2016 or later", "2035-01-01", "uncertain", None, ""),
        ("CentOS", "9", "2035-01-01", "not_in_table", None, ""),
    ],
)  # fmt: skip
def test_what_the_table_says_on_a_day(row: tuple[str, str, str, str, str | None, str]) -> None:
    product, version, day, *told = row
    found = verdict(product, version, dt.date.fromisoformat(day))
    assert [found.state, found.severity, found.said] == told


def test_combinations_name_products_that_names_are_read_as() -> None:
    for product, rows in combinations().items():
        assert product in PRODUCTS or product == "VMware virtual hardware"
        for row in rows:
            assert row.severity in {"low", "medium", "high"}
            assert row.statement
            assert row.remedy
            assert row.source
            assert not row.statement.endswith(".")
            assert not row.remedy.endswith(".")
            for version in row.versions | row.platform_versions:
                assert version == "*" or re.fullmatch(r"[\d.]+(?: R2)?(?: SP\d)?|SE", version), version


WS, RHEL = "Windows Server", "Red Hat Enterprise Linux"


@pytest.mark.parametrize(
    ("parts", "statement"),
    [
        ([(WS, "2019"), ("SQL Server", "2008")], "SQL Server 2008 and 2008 R2 are not supported on Windows Server 2016"),
        ([(WS, "2012 R2"), ("SQL Server", "2005")], "SQL Server 2005 and earlier are not supported"),
        ([(WS, "2022"), ("SQL Server", "2016 SP3")], "SQL Server 2012, 2014 and 2016 are not supported"),
        ([(WS, "2019"), ("SQL Server", "2012 SP2")], "SQL Server 2012 needs Service Pack 4"),
        ([(WS, "2012 R2"), ("SQL Server", "2019")], "SQL Server 2019 and 2022 need Windows Server 2016"),
        ([(WS, "2016"), ("SQL Server", "2008/2008 R2")], "SQL Server 2008 and 2008 R2 are not supported"),
        ([(WS, "2016"), ("Exchange Server", "2013 CU23")], "Exchange Server 2013 is supported on Windows Server 2008 R2"),
        ([(WS, "2019"), ("Exchange Server", "2016")], "Exchange Server 2016 is supported on Windows Server 2012"),
        ([(WS, "2016"), ("SharePoint Server", "2013")], "SharePoint 2013 is not supported on Windows Server 2016"),
        ([("SharePoint Server", "2013"), ("SQL Server", "2016")], "SharePoint 2013 is not supported with SQL Server 2016"),
        ([(WS, "2019"), (".NET Framework", "4.8.1")], ".NET Framework 4.8.1 needs Windows Server 2022"),
        ([(RHEL, "8.6"), ("Oracle Database", "11.2.0.4.0")], "Oracle Database 18c and earlier are not certified"),
        ([(RHEL, "9.2"), ("Oracle Database", "12c")], "Oracle Database 18c and earlier are not certified"),
        ([(RHEL, "9"), ("Oracle Database", "19.3")], "Oracle Database 19c needs release update 19.19"),
        ([("CentOS", "7"), ("Oracle Database", "19c")], "Oracle Database is not certified on CentOS"),
        ([("Apache Tomcat", "10.1.5"), ("Java", "8u202")], "Tomcat 10.1 needs Java 11"),
    ],
)  # fmt: skip
def test_unsupported_combinations(parts: list[tuple[str, str]], statement: str) -> None:
    [found] = unsupported(tuple(parts))
    assert found.combination.statement.startswith(statement)


@pytest.mark.parametrize(
    "parts",
    [
        [(WS, "2012 R2"), ("SQL Server", "2014")],
        [(WS, "2008 R2"), ("SQL Server", "2008")],
        [(WS, "2019"), ("SQL Server", "2012 SP4")],
        [(WS, "2019"), ("SQL Server", "2014")],
        [(WS, "2016 or later"), ("SQL Server", "2008")],
        [(WS, "2022"), ("SQL Server", "2019")],
        [(WS, "2012 R2"), ("Exchange Server", "2013")],
        [(WS, "2008 R2"), ("Exchange Server", "2013")],
        [(RHEL, "7.9"), ("Oracle Database", "11.2.0.4.0")],
        [(RHEL, "9"), ("Oracle Database", "19.22")],
        [(RHEL, "9"), ("Oracle Database", "19c")],
        [("Apache Tomcat", "10.1"), ("Java", "8"), ("OpenJDK", "17")],
        [("Apache Tomcat", "9.0.50"), ("Java", "8")],
        [(WS, "2019")],
    ],
)
def test_supported_combinations_are_left_alone(parts: list[tuple[str, str]]) -> None:
    assert unsupported(tuple(parts)) == ()
