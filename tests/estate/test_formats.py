"""What tables are that no known tool wrote: by their columns, their cells and their name, with the reason."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from estate.errors import EstateError
from estate.formats import GENERIC_KINDS, header_key, kind_of, not_used, recognise, recognised_as, words
from estate.mapping import suggest
from estate.roles import IGNORED
from estate.tables import Cell, Table, TableBuilder, Workbook


def table(
    columns: list[str], *rows: Sequence[Cell], file: str = "export.csv", sheet: str | None = None, **read_as: Any
) -> Table:
    builder = TableBuilder(columns)
    for number, row in enumerate(rows, 2):
        builder.add(number, row)
    builder.flush()
    return Table(file, sheet, builder.columns, builder.numbers, 1, delimiter=",", read_as=read_as)


def judged(*tables: Table) -> Workbook:
    book = Workbook(tables[0].file, "xlsx", list(tables))
    recognise(book)
    return book


SERVERS: list[list[Cell]] = [["web01", "Debian 12", 4, 16], ["db01", "Windows Server 2019", 8, 64]]


@pytest.mark.parametrize(
    ("role", "columns", "rows"),
    [
        ("machines", ["Server", "OS", "CPUs", "RAM GB"], SERVERS),
        ("machines", ["Rechnername", "Betriebssystem", "Kerne", "Arbeitsspeicher GB"], SERVERS),
        ("machines", ["Server Name", "Application Name", "OS"], [["a", "erp", "Debian 12"], ["b", "erp", "Debian 12"]]),
        ("machines", ["Server", "Application"], [["a", "erp"], ["b", "crm"]]),
        ("machines", ["name", "lastProtectedDate"], [["a", "2023-04-04T05:31:20Z"]]),
        ("machines", ["Name", "Source", "Target", "OS", "CPU"], [["a", "vc1", "azure", "Debian 12", 4]]),
        ("machines", ["Server", "Last Seen", "CPU %", "OS"], [["a", "2024-01-01", 5, "Debian 12"], ["b", "2024-01-01", 7, "AIX"]]),
        ("machines", ["Host", "Disk", "OS"], [["a", 100, "Debian 12"], ["b", 200, "Debian 12"]]),
        ("machines", ["Number", "Hat"], [[1, 2]]),
        ("applications", ["Application Name", "Description", "Comments"], [["erp", "x", "y"]]),
        ("applications", ["Anwendung", "Verantwortlicher", "Kritikalität"], [["SAP", "Ann", "hoch"]]),
        ("applications", ["Application", "Servers", "Databases"], [["erp", "a, b", "erpdb"], ["crm", "c", "crmdb"]]),
        ("applications", ["App Name", "Business Owner", "6R Strategy", "Wave"], [["erp", "Ann", "Rehost", 1]]),
        ("connections", ["Source", "Destination", "Port"], [["a", "b", 443]]),
        ("connections", ["Source IP", "Dest IP", "Dest Port", "Protocol"], [["10.0.0.1", "10.0.0.2", 443, "tcp"]]),
        ("connections", ["Quelle", "Ziel", "Port"], [["a", "b", 443]]),
        ("connections", ["Origen", "Destino", "Puerto"], [["a", "b", 443]]),
        ("connections", ["source", "cible", "port"], [["a", "b", 443]]),
        ("connections", ["Consumer Application", "Provider Application"], [["erp", "crm"]]),
        ("connections", ["Local Address", "Remote Address", "Remote Port", "Process"], [["10.0.0.1", "10.0.0.2", 1433, "x"]]),
        ("connections", ["Parent", "Child", "Type"], [["erp", "db01", "Depends on::Used by"]]),
        ("connections", ["Application", "Depends On"], [["erp", "crm"], ["erp", "hr"], ["crm", "hr"]]),
        ("performance", ["Server", "Timestamp", "CPU %", "Memory %"],
         [["a", "2024-01-01 10:00", 5, 50], ["a", "2024-01-01 11:00", 7, 51]]),
        ("performance", ["VM Name", "Date", "IOPS"], [["a", "2024-01-01", 5], ["a", "2024-01-02", 7]]),
        ("software", ["Server", "Software", "Version", "Publisher"], [["a", "Java", "8", "Oracle"], ["a", "IIS", "10", "MS"]]),
        ("software", ["Hostname", "Name", "Version"], [["a", "Java", "8"], ["a", "IIS", "10"]]),
        ("software", ["Computer Name", "Product Name", "Product Version"], [["a", "Java", "8"]]),
        ("software", ["Product", "License Metric", "Quantity", "Expiry Date"], [["Oracle DB EE", "Processor", 8, "2025-12-31"]]),
        ("software", ["Produkt", "Lizenztyp", "Anzahl Lizenzen"], [["SQL Server", "Core", 16]]),
        ("detail", ["Server", "Disk", "Size GB"], [["a", "C:", 100], ["a", "D:", 200], ["b", "C:", 50]]),
        ("detail", ["Host", "Mount Point", "Total Size", "Used"], [["a", "/", "20 GB", "5 GB"], ["a", "/var", "9 GB", "1 GB"]]),
        ("detail", ["VM", "NIC", "IP Address", "MAC"],
         [["a", "eth0", "10.0.0.1", "00:50:56:01:02:03"], ["a", "eth1", "10.0.0.2", "00:50:56:01:02:04"]]),
        ("tags", ["Server", "Key", "Value"], [["a", "env", "prod"], ["a", "owner", "Ann"]]),
    ],
)  # fmt: skip
def test_the_role_of_a_table_is_told_by_columns_and_cells(
    role: str, columns: list[str], rows: list[list[Cell]]
) -> None:
    [made] = judged(table(columns, *rows)).tables
    assert (made.role, bool(made.read_as["why"])) == (role, True)
    assert GENERIC_KINDS.get(made.kind, made.role) == role


@pytest.mark.parametrize(
    ("sheet", "columns", "rows", "words_of_why"),
    [
        ("Legend", ["Colour", "Meaning"], [["red", "critical"]], "called Legend"),
        ("Read Me", ["How to fill in this workbook"], [["see page 2"]], "called Read Me"),
        ("Pivot", ["Row Labels", "Count of VM"], [["Prod", 12]], "pivot table"),
        ("Sheet3", ["Zeilenbeschriftungen", "Anzahl von Server"], [["Prod", 12]], "pivot table"),
        ("Sheet4", ["Environment", "Sum of Memory"], [["Prod", 12]], "sums up"),
        ("Summary", ["Environment", "Servers"], [["Prod", 12]], "called Summary"),
        ("Übersicht", ["Status", "Zahl"], [["ok", 12]], "called Übersicht"),
    ],
)
def test_sheets_that_are_no_inventories_are_set_apart_with_the_reason(
    sheet: str, columns: list[str], rows: list[list[Cell]], words_of_why: str
) -> None:
    book = judged(
        table(["Server", "OS", "CPUs", "RAM GB"], *SERVERS, sheet="Servers"), table(columns, *rows, sheet=sheet)
    )
    assert [one.role for one in book.tables] == ["machines", IGNORED]
    assert [(warning.code, warning.sheet) for warning in book.warnings] == [("not_used", sheet)]
    assert words_of_why in book.warnings[0].message
    assert words_of_why in not_used(book.tables[1])
    assert [one.source_sheet for one in suggest(book.tables)] == ["Servers"] * 4


@pytest.mark.parametrize("sheet", ["Summary", "Overview", "Info", "Lists"])
def test_an_inventory_is_used_whatever_its_sheet_is_called(sheet: str) -> None:
    [made] = judged(table(["Server", "OS", "CPUs", "RAM GB"], *SERVERS, sheet=sheet)).tables
    assert made.role == "machines"


def test_a_sheet_of_applications_is_known_by_its_name_where_columns_do_not_say() -> None:
    columns, row = ["Name", "Owner", "Business Criticality"], ["erp", "Ann", "High"]
    assert kind_of(table(columns, row, sheet="Application Portfolio")) == ("applications", "applications")
    assert kind_of(table(columns, row, sheet="Sheet1")) == ("table", "machines")


def test_from_and_to_of_a_validity_are_no_connection() -> None:
    made = table(["Name", "OS", "From", "To"], ["a", "Debian 12", "2023-01-01", "2024-01-01"])
    assert kind_of(made) == ("table", "machines")


def test_cost_data_is_named_and_left_to_finops() -> None:
    book = judged(table(["BilledCost", "EffectiveCost", "ChargeCategory", "ServiceName"], [1, 1, "Usage", "EC2"]))
    assert (recognised_as(book), book.tables[0].role) == ("focus", IGNORED)
    assert [warning.code for warning in book.warnings] == ["cost_data"]
    assert book.warnings[0].message.endswith(
        "is not used: it holds costs, and there is no finops flow type here yet that could use them."
    )


def test_a_sheet_named_like_a_tab_nobody_needs_is_left_out() -> None:
    [made] = judged(table(["Something", "New"], [1, 2], sheet="vSnapshot")).tables
    assert (made.kind, made.role) == ("rvtools.vsnapshot", IGNORED)
    [named] = judged(table(["VM", "CPUs", "Memory"], ["a", 2, 4096], sheet="vInfo")).tables
    assert named.role == "machines"


def test_the_import_options_say_kind_and_role() -> None:
    [made] = judged(table(["A", "B"], ["x", "y"], kind="connections")).tables
    assert (made.kind, made.role, made.read_as["why"]) == ("connections", "connections", "the import options say so")
    [left] = judged(table(["Server", "OS"], ["a", "AIX"], role="ignored")).tables
    assert left.role == IGNORED
    [tool] = judged(table(["VM", "Powerstate", "CPUs", "Memory", "Guest state"], kind="rvtools")).tables
    assert tool.kind == "rvtools.vinfo"
    [exact] = judged(table(["VM", "RAM"], kind="rvtools.vinfo")).tables
    assert (exact.kind, exact.role) == ("rvtools.vinfo", "machines")


@pytest.mark.parametrize("member", ["kind", "role"])
def test_options_nobody_knows_are_refused(member: str) -> None:
    with pytest.raises(EstateError) as caught:
        judged(table(["Server"], ["a"], **{member: "spaceships"}))
    assert caught.value.code == "import_options_invalid"
    assert "'spaceships'" in caught.value.detail
    assert caught.value.file == "export.csv"


def test_several_tables_of_one_sheet_keep_apart() -> None:
    one, two = table(["Server"], ["a"], sheet="S"), table(["Server"], ["b"], ["c"], sheet="S")
    two.header_row = 40
    book = judged(one, two)
    assert [made.sheet for made in book.tables] == ["S", "S (rows 40-3)"]


@pytest.mark.parametrize(
    ("columns", "rows", "role", "targets"),
    [
        (["name", "disks.label", "disks.size_gb"], [["a", "C:", 100], ["a", "D:", 50]], "detail", ["name", "detail_key", "storage_gb"]),
        (["name", "nics.mac", "nics.ip"], [["a", "00:50:56:01:02:03", "10.0.0.1"]], "detail", ["name", "mac_addresses", "ip_addresses"]),
        (["name", "features.key", "features.flag"], [["a", "cpuid", 1]], IGNORED, []),
    ],
)  # fmt: skip
def test_lists_inside_records_are_parts_of_the_machine_they_are_in(
    columns: list[str], rows: list[list[Cell]], role: str, targets: list[str]
) -> None:
    [made] = judged(table(columns, *rows, sheet="vms.list", detail_of=None, parent_key="name")).tables
    assert made.role == role
    assert [one.target_field for one in suggest([made])] == targets


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("RAM.TotalSizeInMB", ["ram", "total", "size", "in", "mb"]),
        ("MemoryGiB", ["memory", "gib"]),
        ("OSVersion", ["os", "version"]),
        ("Arbeitsspeicher (Größe)", ["arbeitsspeicher", "grosse"]),
        ("serv_u_environment", ["serv", "u", "environment"]),
        ("système d'exploitation", ["systeme", "d", "exploitation"]),
        ("iLO IP", ["ilo", "ip"]),
    ],
)
def test_words_of_a_header(name: str, found: list[str]) -> None:
    assert words(name) == found


def test_header_keys_ignore_capitals_and_blanks() -> None:
    assert header_key("  Server \n Name ") == "server name"
