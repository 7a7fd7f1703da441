"""Where tables are in a sheet, and which rows are no data."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import xlsxwriter
from hypothesis import given, settings
from hypothesis import strategies as st

from estate.errors import EstateError
from estate.options import ImportOptions
from estate.readers import read
from estate.readers.cells import is_remark, is_total, looks_like_data, names_something
from estate.readers.notation import of as notation_of
from estate.readers.numfmt import of_code, shown
from estate.tables import Cell, Column, Table, Workbook


def csv_of(tmp_path: Path, text: str, name: str = "e.csv", **options: Any) -> Workbook:
    path = tmp_path / name
    path.write_bytes(text.encode())
    return read(path, name, ImportOptions.of(options))


def sheet_of(tmp_path: Path, grid: Sequence[Sequence[object]], merges: Sequence[str] = (), **options: Any) -> Workbook:
    path = tmp_path / "e.xlsx"
    with xlsxwriter.Workbook(str(path)) as book:
        sheet = book.add_worksheet("S")
        for number, cells in enumerate(grid):
            for place, cell in enumerate(cells):
                if cell is not None and cell != "":
                    sheet.write(number, place, cell)
        for merge in merges:
            first = merge.split(":", maxsplit=1)[0]
            row, column = int(first.lstrip("ABCDEFGHIJ")) - 1, ord(first[0]) - 65
            cell = grid[row][column]
            sheet.merge_range(merge, cell)
    return read(path, "e.xlsx", ImportOptions.of(options))


def held(table: Table) -> list[tuple[int, list[Cell]]]:
    return list(table.rows())


def reasons(table: Table) -> list[tuple[int, str]]:
    return [(row.row, row.reason) for row in table.set_aside]


def codes(book: Workbook) -> list[str]:
    return [warning.code for warning in book.warnings]


# --- the header ---------------------------------------------------------------------------------------------------


def test_lines_of_label_and_value_above_the_header_are_set_aside(tmp_path: Path) -> None:
    text = "Report,Servers\nDate,2025-06-01\n\nName,OS,RAM\na,x,4\nb,y,8\n"
    table = csv_of(tmp_path, text).tables[0]
    assert (table.header_row, table.names, len(table)) == (4, ["Name", "OS", "RAM"], 2)
    assert reasons(table) == [(1, "above_header"), (2, "above_header")]
    assert table.set_aside[1].cells == ["Date", "2025-06-01"]


def test_comments_above_the_header_do_not_make_columns(tmp_path: Path) -> None:
    table = csv_of(tmp_path, "# exported, by hand\n# second line\nName,OS,RAM\na,x,4\n").tables[0]
    assert table.names == ["Name", "OS", "RAM"]
    assert len(table) == 1


def test_a_header_that_begins_with_a_hash_is_a_header(tmp_path: Path) -> None:
    table = csv_of(tmp_path, "#,Name,# CPU\n1,a,4\n2,b,8\n").tables[0]
    assert table.names == ["#", "Name", "# CPU"]
    assert len(table) == 2


def test_a_header_in_two_rows_by_merged_cells(tmp_path: Path) -> None:
    grid = [
        ["Name", "CPU", None, "Memory", None, "Owner"],
        [None, "Cores", "Usage %", "Size GB", "Usage %", None],
        ["a", 4, 20, 16, 50, "x"],
    ]
    table = sheet_of(tmp_path, grid, ["A1:A2", "B1:C1", "D1:E1", "F1:F2"]).tables[0]
    assert table.names == ["Name", "CPU Cores", "CPU Usage %", "Memory Size GB", "Memory Usage %", "Owner"]
    assert table.read_as["header_rows"] == [1, 2]
    assert held(table) == [(3, ["a", 4, 20, 16, 50, "x"])]


def test_a_header_in_two_rows_of_a_text_file(tmp_path: Path) -> None:
    text = "Server,,CPU,,Memory,,Owner\nName,IP,Cores,Usage %,GB,Usage %,\na,10.0.0.1,4,20,16,50,x\n"
    table = csv_of(tmp_path, text).tables[0]
    assert table.names == [
        "Server Name", "IP", "CPU Cores", "CPU Usage %", "Memory GB", "Memory Usage %", "Owner",
    ]  # fmt: skip
    assert held(table) == [(3, ["a", "10.0.0.1", "4", "20", "16", "50", "x"])]


def test_a_header_in_three_rows(tmp_path: Path) -> None:
    grid = [
        ["Server", None, "Resources", None, None],
        [None, None, "CPU", None, "Memory"],
        ["Name", "IP address", "Cores", "Usage %", "GB"],
        ["a", "10.0.0.1", 4, 20, 16],
    ]
    table = sheet_of(tmp_path, grid, ["A1:B1", "C1:E1", "C2:D2"]).tables[0]
    assert table.names == [
        "Server Name", "Server IP address", "Resources CPU Cores", "Resources CPU Usage %", "Resources Memory GB",
    ]  # fmt: skip
    assert len(table) == 1


def test_a_title_directly_above_the_header_is_not_part_of_it(tmp_path: Path) -> None:
    grid = [["Fleet overview", None, "Berlin", None], ["Name", "OS", "CPU", "RAM"], ["a", "x", 4, 8]]
    assert sheet_of(tmp_path, grid).tables[0].names == ["Name", "OS", "CPU", "RAM"]


def test_a_data_row_of_texts_below_a_header_with_a_gap_stays_data(tmp_path: Path) -> None:
    table = csv_of(tmp_path, "name,,role\nweb01,Linux,Application Server\nweb02,Linux,Database Server\n").tables[0]
    assert table.names == ["name", "column 2", "role"]
    assert len(table) == 2


@pytest.mark.parametrize(
    "text",
    [
        "web01,linux,Berlin\nweb02,linux,Munich\nweb03,windows,Berlin\n",
        "srv-1;red;big\nsrv-2;blue;small\nsrv-3;red;big\n",
    ],
)
def test_rows_without_a_header_are_not_read_with_their_first_row_as_one(tmp_path: Path, text: str) -> None:
    with pytest.raises(EstateError) as caught:
        csv_of(tmp_path, text)
    assert caught.value.code == "no_header_row"
    assert "header_row" in caught.value.detail
    table = csv_of(tmp_path, text, header_row=0).tables[0]
    assert (table.names, table.header_row, len(table)) == (["A", "B", "C"], 0, 3)
    assert list(table.numbers) == [1, 2, 3]


def test_a_header_of_unusual_words_is_told(tmp_path: Path) -> None:
    book = csv_of(tmp_path, "foo,bar\nx y,z\n")
    assert book.tables[0].names == ["foo", "bar"]
    assert "header_doubtful" in codes(book)


def test_the_caller_says_where_the_header_is(tmp_path: Path) -> None:
    text = "Name,OS\nthe estate,of 2024\nHost,System\na,x\nb,y\nc,z\n"
    table = csv_of(tmp_path, text, header_row=3, first_row=5, last_row=5).tables[0]
    assert (table.names, held(table)) == (["Host", "System"], [(5, ["b", "y"])])
    assert reasons(table) == [(1, "above_header"), (2, "above_header")]
    assert "rows_left_out" in codes(csv_of(tmp_path, text, header_row=3, last_row=4))
    stacked = csv_of(tmp_path, text, header_row=[1, 3]).tables[0]
    assert stacked.names == ["Name Host", "OS System"]
    with pytest.raises(EstateError) as caught:
        csv_of(tmp_path, text, header_row=40)
    assert (caught.value.code, caught.value.row) == ("no_header_row", 40)


def test_options_of_one_sheet_come_before_those_of_the_file(tmp_path: Path) -> None:
    grid = [["Name", "OS"], ["Host", "RAM"], ["a", "x"]]
    own = {"S": {"header_row": 2, "decimal": ",", "units": {"RAM": "MB"}, "kind": "table", "role": "machines"}}
    table = sheet_of(tmp_path, grid, header_row=1, decimal=".", tables=own).tables[0]
    assert table.names == ["Host", "RAM"]
    assert {name: table.read_as[name] for name in ("decimal", "units", "kind", "role")} == {
        "decimal": ",",
        "units": {"RAM": "MB"},
        "kind": "table",
        "role": "machines",
    }


def test_sheets_are_chosen_and_skipped(tmp_path: Path) -> None:
    path = tmp_path / "e.xlsx"
    with xlsxwriter.Workbook(str(path)) as book:
        for name in ("One", "Two", "Three"):
            book.add_worksheet(name).write_column(0, 0, ["hostname", name])
    assert [table.sheet for table in read(path, options=ImportOptions.of({"sheets": ["Two"]})).tables] == ["Two"]
    skipped = read(path, options=ImportOptions.of({"skip_sheets": ["Two"]}))
    assert [table.sheet for table in skipped.tables] == ["One", "Three"]
    with pytest.raises(EstateError) as caught:
        read(path, options=ImportOptions.of({"sheets": ["Four"]}))
    assert caught.value.code == "import_options_invalid"
    assert "One, Two, Three" in caught.value.detail


# --- several tables in a sheet ------------------------------------------------------------------------------------


def test_tables_below_each_other(tmp_path: Path) -> None:
    grid = [
        ["Name", "OS", "RAM"], ["a", "x", 4], ["b", "y", 8], [],
        ["Source", "Destination", "Port"], ["a", "b", 443], [],
        ["Licences"], ["Product", "Version", "Quantity"], ["Oracle", "19c", 2],
    ]  # fmt: skip
    tables = sheet_of(tmp_path, grid).tables
    assert [(table.sheet, table.header_row, len(table)) for table in tables] == [
        ("S", 1, 2), ("S (rows 5-6)", 5, 1), ("S (rows 9-10)", 9, 1),
    ]  # fmt: skip
    assert [table.read_as["table"] for table in tables] == ["rows 1-3", "rows 5-6", "rows 9-10"]
    assert reasons(tables[2]) == [(8, "above_header")]


def test_tables_below_each_other_in_a_text_file(tmp_path: Path) -> None:
    text = "Name,OS,RAM\na,x,4\n\n\nApplication,Owner,Criticality\nCRM,me,high\n"
    tables = csv_of(tmp_path, text).tables
    assert [(table.sheet, table.names) for table in tables] == [
        (None, ["Name", "OS", "RAM"]),
        ("rows 5-6", ["Application", "Owner", "Criticality"]),
    ] or [table.sheet for table in tables] == [None, "rows 5-6"]
    assert held(tables[1]) == [(6, ["CRM", "me", "high"])]


@pytest.mark.parametrize("row", ["b,y,unknown", "Application Server,Database,Production", "b,y,z"])
def test_data_after_a_blank_row_stays_data(tmp_path: Path, row: str) -> None:
    table = csv_of(tmp_path, f"name,role,environment\na,Database,Production\n\n{row}\nc,Database,Test\n").tables
    assert len(table) == 1
    assert list(table[0].numbers) == [2, 4, 5]


def test_the_caller_places_the_tables_of_a_sheet(tmp_path: Path) -> None:
    grid = [["Name", "OS"], ["a", "x"], ["foo", "bar"], ["b", "y"], ["c", "z"]]
    own = {"S": {"header_row": 1}, "S (rows 3-4)": {"header_row": 3}}
    tables = sheet_of(tmp_path, grid, tables=own).tables
    assert tables[0].names == ["Name", "OS"]
    assert ("S (rows 3-4)", ["foo", "bar"], [(4, ["b", "y"])]) in [
        (table.sheet, table.names, held(table)) for table in tables
    ]


def test_tables_side_by_side(tmp_path: Path) -> None:
    grid = [
        ["Name", "OS", "RAM", None, "Name", "Role"],
        ["a", "x", 4, None, "CRM", "sales"],
        ["b", "y", 8, None, "ERP", "all"],
        ["c", "z", 8],
    ]
    tables = sheet_of(tmp_path, grid).tables
    assert [(table.sheet, table.names, len(table)) for table in tables] == [
        ("S", ["Name", "OS", "RAM"], 3),
        ("S (columns E-F)", ["Name", "Role"], 2),
    ]


def test_tables_side_by_side_with_headers_in_different_rows(tmp_path: Path) -> None:
    grid = [
        ["Name", "OS", "RAM"],
        ["a", "x", 4, None, "Application", "Owner"],
        ["b", "y", 8, None, "ERP", "me"],
    ]
    tables = sheet_of(tmp_path, grid).tables
    assert [(table.names, held(table)) for table in tables] == [
        (["Name", "OS", "RAM"], [(2, ["a", "x", 4]), (3, ["b", "y", 8])]),
        (["Application", "Owner"], [(3, ["ERP", "me"])]),
    ]


def test_an_empty_column_in_the_middle_divides_nothing(tmp_path: Path) -> None:
    grid = [["Name", "OS", None, "Notes", "RAM"], ["a", "x", None, "n", 4], ["b", "y", None, None, 8]]
    [table] = sheet_of(tmp_path, grid).tables
    assert table.names == ["Name", "OS", "Notes", "RAM"]


def test_repeated_measures_around_an_empty_column_divide_nothing(tmp_path: Path) -> None:
    grid = [["Name", "CPU", "Usage", None, "Memory", "Usage"], ["a", 4, 1, None, 8, 2], ["b", 4, 1, None, 8, 2]]
    [table] = sheet_of(tmp_path, grid).tables
    assert table.names == ["Name", "CPU", "Usage", "Memory", "Usage (2)"]


def test_columns_of_tables_side_by_side_are_told_apart(tmp_path: Path) -> None:
    grid = [["Name", "OS", None, "Name", "Role", "Role"], ["a", "x", None, "b", "c", "d"]]
    assert [table.names for table in sheet_of(tmp_path, grid).tables] == [["Name", "OS"], ["Name", "Role", "Role (2)"]]


def test_sheets_that_are_no_tables_are_told(tmp_path: Path) -> None:
    path = tmp_path / "e.xlsx"
    with xlsxwriter.Workbook(str(path)) as book:
        book.add_worksheet("Cover").write_column(0, 0, ["Inventory of servers", "Confidential", "Version 3"])
        book.add_worksheet("Figures").write_row(0, 0, [1, 2, 3])
        book.add_worksheet("List").write_column(0, 0, ["Hostname", "a", "b"])
        book.add_worksheet("Old").hide()
        book.get_worksheet_by_name("Old").write_column(0, 0, ["Hostname", "z"])
    read_book = read(path)
    assert [(table.sheet, len(table)) for table in read_book.tables] == [("List", 2), ("Old", 1)]
    assert [(one.code, one.sheet) for one in read_book.warnings] == [
        ("no_header_row", "Cover"), ("no_header_row", "Figures"), ("hidden_sheet", "Old"),
    ]  # fmt: skip


# --- rows set apart -----------------------------------------------------------------------------------------------


def test_totals_comments_and_rules_are_set_apart_with_their_cells(tmp_path: Path) -> None:
    text = (
        "Name,OS,CPU,RAM\na,x,4,8\n---,---,---,---\nb,y,2,4\nSubtotal:,,6,12\nTotal,,6,12\n# by hand\n"
        "Note: figures of May,,,\nGenerated on 2025-06-01 by tool,,,\nApplied filters: none\nSum,,6\n"
    )
    table = csv_of(tmp_path, text).tables[0]
    assert [cells[0] for _, cells in held(table)] == ["a", "b"]
    assert reasons(table) == [
        (3, "comment"), (5, "totals_row"), (6, "totals_row"), (7, "comment"), (8, "comment"), (9, "comment"), (10, "comment"),
        (11, "totals_row"),
    ]  # fmt: skip
    assert table.set_aside[2].cells == ["Total", None, "6", "12"]


@pytest.mark.parametrize("word", ["Total", "Summe", "Gesamt", "Total general", "Grand Total", "TOTAL :", "Somme"])
def test_totals_in_the_languages_of_the_files(tmp_path: Path, word: str) -> None:
    table = sheet_of(tmp_path, [["Name", "CPU"], ["a", 4], [word, 4]]).tables[0]
    assert reasons(table) == [(3, "totals_row")]


@pytest.mark.parametrize(
    "row",
    [
        "total-web01,x,4,8",
        "Total,Linux,4,8",
        "sum01,y,2,4",
        "Summe,x,10.0.0.4,8",
        "#srv1,x,4,8",
        "Note,x,4,8",
        "source-db,x,4,8",
        "-,-,-,-",
        "Total,,,",
        "gesamt.local,,4,8",
    ],
)
def test_a_row_of_data_is_never_taken_for_something_else(tmp_path: Path, row: str) -> None:
    table = csv_of(tmp_path, f"Name,OS,CPU,RAM\na,x,4,8\n{row}\n").tables[0]
    assert len(table) == 2
    assert table.set_aside == []


def test_a_sentence_below_the_rows_is_set_apart(tmp_path: Path) -> None:
    table = csv_of(tmp_path, "Host,CPU\nh1,4\nh2,8\n\n\nPowered by the tool\n").tables[0]
    assert (len(table), reasons(table)) == (2, [(6, "comment")])
    table = csv_of(tmp_path, "Host,CPU\nthe old server,4\nh2,8\n\nthe new server,\n").tables[0]
    assert (len(table), reasons(table)) == (3, [])


def test_a_single_column_of_several_names_is_told(tmp_path: Path) -> None:
    assert "one_column" in codes(csv_of(tmp_path, "Name OS RAM\na x 4\nb y 8\n"))


def test_blank_rows_are_counted(tmp_path: Path) -> None:
    book = csv_of(tmp_path, "Name,OS\na,x\n\n,\n   ,\nb,y\n")
    assert [one.message for one in book.warnings if one.code == "blank_rows"] == ["3 blank rows were left out."]


def test_one_blank_row_is_one(tmp_path: Path) -> None:
    book = csv_of(tmp_path, "Name,OS\na,x\n\nb,y\n")
    assert [one.message for one in book.warnings if one.code == "blank_rows"] == ["1 blank row was left out."]


def test_a_caption_over_the_rows_is_set_apart(tmp_path: Path) -> None:
    grid = [["Name", "OS", "CPU"], ["Production", None, None], ["a", "x", 4], ["b", "y", 8]]
    table = sheet_of(tmp_path, grid, ["A2:C2"]).tables[0]
    assert reasons(table) == [(2, "caption")]
    assert list(table.numbers) == [3, 4]


def test_a_cell_merged_over_rows_holds_for_each(tmp_path: Path) -> None:
    grid = [["Site", "Name", "CPU"], ["Berlin", "a", 4], [None, "b", 8], [None, "c", 2], ["Rome", "d", 2]]
    book = sheet_of(tmp_path, grid, ["A2:A4"])
    assert [cells[0] for _, cells in held(book.tables[0])] == ["Berlin", "Berlin", "Berlin", "Rome"]
    assert "merged_cells" in codes(book)


def test_cells_beside_the_table_are_kept_apart(tmp_path: Path) -> None:
    grid = [["Name", "CPU"], ["a", 4, None, None, "legend"], ["b", 8], ["c", 8], ["d", 8]]
    book = sheet_of(tmp_path, grid)
    assert len(book.tables[0]) == 4
    assert [(row.row, row.reason, row.cells) for row in book.tables[0].set_aside] == [(2, "outside_table", ["legend"])]
    assert "extra_cells" in codes(book)


def test_a_last_column_without_a_name_is_kept(tmp_path: Path) -> None:
    grid = [["Name", "CPU"], ["a", 4, "x"], ["b", 8, "y"], ["c", 8, "z"]]
    table = sheet_of(tmp_path, grid).tables[0]
    assert table.names == ["Name", "CPU", "column 3"]
    assert held(table)[0] == (2, ["a", 4, "x"])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.from_regex(r"[a-z]{2,8}-[a-z]{3}\d{2}", fullmatch=True),
            st.sampled_from(["Linux", "Windows", "Production", "Database", "N/A", ""]),
            st.integers(1, 64),
        ),
        min_size=1,
        max_size=20,
    ),
    st.sets(st.integers(0, 20)),
)
def test_every_row_is_data_or_set_apart(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, int]], gaps: set[int]
) -> None:
    lines = ["Name,System,CPUs"]
    for number, row in enumerate(rows):
        lines.extend([""] if number in gaps else [])
        lines.append(",".join(map(str, row)))
    tables = csv_of(tmp_path_factory.mktemp("rows"), "\n".join(lines) + "\n").tables
    found = [cells for table in tables for _, cells in table.rows()]
    assert found == [[name, system or None, str(count)] for name, system, count in rows]


# --- numbers, dates, and what cells look like ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cells", "decimal", "thousands"),
    [
        (["1.234,5", "12,75"], ",", "."),
        (["1,234.5", "12.75"], ".", ","),
        (["1 234,50", "2,5"], ",", " "),
        (["1'234.50", "3.25"], ".", "'"),
        (["1,234", "5,678"], None, None),
        (["1.234", "5.678"], None, None),
        (["12", "4096"], None, None),
        (["10.0.0.1", "192.168.1.77"], None, None),
        (["10.216.245.229", "10.216.245.230"], None, None),
        (["10.216.245.229", "esx01"], None, None),
        (["10.240.118", "7.0.3"], None, None),
        (["12.2024", "01.2025"], None, None),
        (["01.02.2024", "13.02.2024"], None, None),
        (["0011.2233.4455", "0123.4567.8901"], None, None),
        (["0800 123 456", "079 123 456"], None, None),
        (["4.294.967.296", "1.099.511.627.776"], ",", "."),
        (["1,234,567"], ".", ","),
        (["1.234.567"], ",", "."),
        (["0,5", "0.5"], None, None),
    ],
)
def test_separators(cells: list[Cell], decimal: str | None, thousands: str | None) -> None:
    table = Table("e", None, [Column.of("Size", cells)], Column.of("", cells).codes, 1)
    told = notation_of(table)
    assert (told["decimal"], told["thousands"]) == (decimal, thousands)


@pytest.mark.parametrize("name", ["ESXi Version", "Serial Number", "VM ID", "Telephone", "VLANs", "Host", "Java"])
def test_columns_that_count_nothing_say_nothing_of_numbers(name: str) -> None:
    cells: list[Cell] = ["7.5", "1 234 567", "1.234.567,8"]
    told = notation_of(Table("e", None, [Column.of(name, cells)], Column.of("", cells).codes, 1))
    assert (told["decimal"], told["thousands"]) == (None, None)


@pytest.mark.parametrize(
    ("cells", "order"),
    [
        (["13.02.2024", "01.02.2024"], "dmy"),
        (["13/02/2024", "01/02/2024"], "dmy"),
        (["02/13/2024", "01/02/2024"], "mdy"),
        (["10/29/2019 18:23"], "mdy"),
        (["2024-02-13", "2024/01/02"], "ymd"),
        (["01/02/2024", "03/04/2024"], None),
        (["13/02/2024", "02/13/2024"], None),
    ],
)
def test_date_orders(cells: list[Cell], order: str | None) -> None:
    table = Table("e", None, [Column.of("Since", cells)], Column.of("", cells).codes, 1)
    assert notation_of(table)["date_order"] == order


@pytest.mark.parametrize(
    ("code", "number", "meant"),
    [
        ("General", 45000, 45000),
        ("yyyy-mm-dd", 45000, "2023-03-15"),
        ("dd/mm/yyyy hh:mm", 45000.5, "2023-03-15T12:00:00"),
        ("[$-407]d. mmmm yyyy;@", 45000, "2023-03-15"),
        ("h:mm", 0.75, "18:00:00"),
        ("[h]:mm:ss", 1.5, "36:00:00"),
        ("0%", 0.45, "45%"),
        ("0.0%", 0.4567, "45.67%"),
        ('#,##0 "GB"', 16, "16 GB"),
        ('0.0" MiB"', 1.5, "1.5 MiB"),
        ("00000", 123, "00123"),
        ('"day" 0', 3, 3),
        ("#,##0.00", 3.5, 3.5),
        ('0,"K"', 4096, 4096),
        ("[Red]0", 5, 5),
        ("0.00E+00", 5, 5),
        ("yyyy-mm-dd", -3, -3),
        ("yyyy-mm-dd", 59, "1900-02-28"),
        ("yyyy-mm-dd", 61, "1900-03-01"),
    ],
)
def test_number_formats(code: str, number: float, meant: Cell) -> None:
    assert shown(number, of_code(code)) == meant


def test_days_counted_from_1904() -> None:
    assert shown(43538, of_code("yyyy-mm-dd"), since_1904=True) == "2023-03-15"


def test_typed_cells_of_a_workbook(tmp_path: Path) -> None:
    path = tmp_path / "e.xlsx"
    with xlsxwriter.Workbook(str(path)) as book:
        sheet = book.add_worksheet("S")
        sheet.write_row(0, 0, ["Name", "Since", "Usage", "Live", "Sum", "Broken", "Open"])
        sheet.write(1, 0, "a\u200b")
        sheet.write_datetime(1, 1, dt.datetime(2025, 6, 1, 13, 30), book.add_format({"num_format": "yyyy-mm-dd hh:mm"}))
        sheet.write_number(1, 2, 0.4, book.add_format({"num_format": "0%"}))
        sheet.write_boolean(1, 3, True)
        sheet.write_formula(1, 4, "=1+1", None, 2)
        sheet.write_formula(1, 5, "=A9", None, "#REF!")
        sheet.write_rich_string(1, 6, "rich ", book.add_format({"bold": True}), "text")
        sheet.set_row(1, None, None, {"hidden": True})
    found = read(path)
    assert held(found.tables[0]) == [(2, ["a\u200b", "2025-06-01T13:30:00", "40%", True, 2, None, "rich text"])]
    assert {"error_cells", "hidden_rows", "invisible_characters"} <= set(codes(found))


def test_what_cells_look_like() -> None:
    assert all(map(looks_like_data, ["1.5", "10.0.0.1", "2024-01-01", 4, True, "1 234,5 ".strip()]))
    assert not any(map(looks_like_data, ["CPU", "web01", None, "v6.7"]))
    assert all(map(names_something, ["Server Name", "vCPUs", "Betriebssystem", "serv_u_environment", "MemoryGiB"]))
    assert is_total(["Total", None, 4])
    assert not is_total(["Total", "Linux", 4])
    assert is_remark(["# by hand"], 4)
    assert not is_remark(["#1", "a", "b", "c"], 4)


# --- options ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "member"),
    [
        ({"encoding": "rot13"}, "encoding"),
        ({"encoding": "zlib"}, "encoding"),
        ({"delimiter": ",,"}, "delimiter"),
        ({"delimiter": "a"}, "delimiter"),
        ({"decimal": "x"}, "decimal"),
        ({"decimal": ",", "thousands": ","}, "thousands"),
        ({"date_order": "ydm"}, "date_order"),
        ({"header_row": -1}, "header_row"),
        ({"header_row": [3, 2]}, "header_row"),
        ({"header_row": True}, "header_row"),
        ({"first_row": 5, "last_row": 4}, "last_row"),
        ({"sheets": "S"}, "sheets"),
        ({"tables": {"S": {"colour": 1}}}, "tables.S.colour"),
        ({"tables": {"S": {"role": "kings"}}}, "tables.S.role"),
        ({"tables": {"S": {"units": {"RAM": 3}}}}, "tables.S.units.RAM"),
        ({"nonsense": 1}, "nonsense"),
    ],
)
def test_wrong_options_are_named(given: dict[str, Any], member: str) -> None:
    with pytest.raises(EstateError) as caught:
        ImportOptions.of(given)
    assert caught.value.code == "import_options_invalid"
    assert f"import_options.{member} " in caught.value.detail


def test_options_survive_being_kept() -> None:
    given = {
        "encoding": "cp1252", "delimiter": ";", "decimal": ",", "thousands": ".", "date_order": "dmy",
        "header_row": [1, 2], "first_row": 3, "last_row": 9, "sheets": ["S"], "skip_sheets": ["T"],
        "tables": {"S": {"header_row": 0, "units": {"RAM": "MB"}, "role": "machines"}}, "record_path": "a.b",
        "kind": "table",
    }  # fmt: skip
    assert ImportOptions.of(given).as_dict() == given
    assert ImportOptions.of({}).as_dict() == {}
    assert ImportOptions.of({"delimiter": "tab", "sheets": None}).as_dict() == {"delimiter": "\t"}


@pytest.mark.parametrize(
    "total", ["Total Leeds", "Subtotal York", "Gesamt Köln", "Zwischensumme Bonn", "Summe Produktion", "Totale Milano"]
)
def test_a_named_total_is_no_machine(tmp_path: Path, total: str) -> None:
    (table,) = csv_of(tmp_path, f"Server;OS;CPU\na1;RHEL 8;4\n{total};;8\na2;RHEL 8;2\n").tables
    assert list(table.columns[0]) == ["a1", "a2"]
    assert [(row.row, row.reason) for row in table.set_aside] == [(3, "totals_row")]


def test_a_server_called_total_states_an_operating_system(tmp_path: Path) -> None:
    (table,) = csv_of(tmp_path, "Server,OS,CPU\ntotal,RHEL 8,8\nTotal 2,RHEL 8,8\na2,RHEL 8,2\n").tables
    assert list(table.columns[0]) == ["total", "Total 2", "a2"]


def test_notes_below_the_rows_are_set_aside_and_a_lonely_word_is_asked_about(tmp_path: Path) -> None:
    text = "Server;OS;RAM (GB)\ns1;RHEL 8;8\ns2;RHEL 8;8\n* ohne Gewähr;;\nStand 01.02.2025;;\nGesamtzahl: 2;;\ns3;;\n"
    book = csv_of(tmp_path, text)
    (table,) = book.tables
    assert list(table.columns[0]) == ["s1", "s2", "s3"]
    assert list(table.numbers) == [2, 3, 7]
    assert [(row.row, row.reason) for row in table.set_aside] == [(4, "comment"), (5, "comment"), (6, "comment")]
    assert [(one.code, one.row) for one in book.warnings] == [("lonely_row", 7)]


def test_names_of_several_words_without_facts_stay(tmp_path: Path) -> None:
    (table,) = csv_of(tmp_path, "Application;Owner\nPay roll;Ann\nWiki;Bob\nOld Billing;\n").tables
    assert list(table.columns[0]) == ["Pay roll", "Wiki", "Old Billing"]


def test_machines_side_by_side_are_not_read_as_rows(tmp_path: Path) -> None:
    grid = [
        ["Server", "t1", "t2"],
        ["OS", "RHEL 7", "RHEL 8"],
        ["CPU", 2, 4],
        ["RAM GB", 8, 16],
        ["IP", "10.0.0.1", "10.0.0.2"],
    ]
    book = sheet_of(tmp_path, grid)
    assert book.tables[0].read_as["role"] == "ignored"
    assert [one.code for one in book.warnings] == ["transposed"]


def test_a_header_may_repeat_its_names(tmp_path: Path) -> None:
    (table,) = csv_of(tmp_path, "Name,Name,IP,IP,Owner,Owner\nr1,Rack,10.0.0.1,10.0.1.1,Ann,Bob\n").tables
    assert table.names == ["Name", "Name (2)", "IP", "IP (2)", "Owner", "Owner (2)"]


def test_a_count_below_a_gap_makes_no_table(tmp_path: Path) -> None:
    (table,) = sheet_of(
        tmp_path, [["#", "Server", "RAM"], [1, "k1", "8 GB"], [2, "k2", "16 GB"], [], [None, "2 servers", "24 GB"]]
    ).tables
    assert list(table.columns[1]) == ["k1", "k2"]
    assert [row.reason for row in table.set_aside] == ["totals_row"]


def test_formatted_cells_that_hold_nothing_are_passed_over_and_told(tmp_path: Path) -> None:
    path = tmp_path / "e.xlsx"
    with xlsxwriter.Workbook(str(path)) as book:
        sheet, style = book.add_worksheet("S"), book.add_format({"bg_color": "yellow"})
        for number, cells in enumerate([["Server", "OS"], ["s1", "RHEL 8"], ["s2", "RHEL 8"]]):
            sheet.write_row(number, 0, cells)
        for number in range(3, 10_003):
            sheet.write_blank(number, 0, None, style)
    found = read(path, "e.xlsx")
    assert list(found.tables[0].columns[0]) == ["s1", "s2"]
    (told,) = [one.message for one in found.warnings if one.code == "styled_blank_cells"]
    assert told.startswith("10,000 cells of sheet S")
