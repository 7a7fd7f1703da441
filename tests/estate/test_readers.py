from __future__ import annotations

import contextlib
import datetime as dt
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest
import xlsxwriter
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from estate.errors import EstateError
from estate.formats import recognise
from estate.inspect import inspect
from estate.readers import check_readable, read, require_rows
from estate.tables import dump_table, load_table


def write(tmp_path: Path, content: str | bytes, name: str = "estate.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def rows(path: Path) -> list[tuple[int, list[object]]]:
    return [(number, list(cells)) for number, cells in read(path).tables[0].rows]


def workbook(path: Path, **sheets: Sequence[Sequence[object]]) -> Path:
    book = xlsxwriter.Workbook(str(path))
    for name, grid in sheets.items():
        sheet = book.add_worksheet(name)
        for number, cells in enumerate(grid):
            sheet.write_row(number, 0, cells)
    book.close()
    return path


def test_row_numbers_are_those_of_a_spreadsheet(tmp_path: Path) -> None:
    path = write(tmp_path, "name,os\r\na,x\r\n\r\nb,y\r\n")
    assert rows(path) == [(2, ["a", "x"]), (4, ["b", "y"])]
    assert [warning.code for warning in read(path).warnings] == ["blank_rows"]


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        ("name,town\nsrv1,Zürich\n".encode(), "utf-8"),
        ("name,town\nsrv1,Zürich\n".encode("utf-8-sig"), "utf-8-sig"),
        ("name,town\nsrv1,Zürich\n".encode("utf-16"), "utf-16"),
        ("name,town\nsrv1,Zürich\n".encode("utf-16-le"), "utf-16-le"),
        ("name,town\nsrv1,Zürich\n".encode("cp1252"), "cp1252"),
    ],
)
def test_encodings(tmp_path: Path, content: bytes, encoding: str) -> None:
    book = read(write(tmp_path, content))
    assert book.encoding == encoding
    assert book.tables[0].columns == ["name", "town"]
    assert book.tables[0].rows == [(2, ["srv1", "Zürich"])]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiters(tmp_path: Path, delimiter: str) -> None:
    text = "\n".join(delimiter.join(cells) for cells in (["name", "tags", "ram"], ["a", "x=1", "4"], ["b", "y", "8"]))
    assert rows(write(tmp_path, text)) == [(2, ["a", "x=1", "4"]), (3, ["b", "y", "8"])]


def test_lists_in_cells_do_not_confuse_the_delimiter(tmp_path: Path) -> None:
    path = write(tmp_path, 'name,groups,ips\na,sg-1;sg-2;sg-3,"10.0.0.1, 10.0.0.2"\nb,sg-1;sg-2;sg-3,10.0.0.3\n')
    assert rows(path)[0] == (2, ["a", "sg-1;sg-2;sg-3", "10.0.0.1, 10.0.0.2"])


def test_a_declared_separator_counts_as_a_row(tmp_path: Path) -> None:
    assert rows(write(tmp_path, "sep=;\nname;ram\na;4,5\n")) == [(3, ["a", "4,5"])]


def test_a_blank_before_a_quoted_field(tmp_path: Path) -> None:
    assert rows(write(tmp_path, 'name,note\na, "one, two"\n')) == [(2, ["a", "one, two"])]


def test_short_rows_are_filled_and_told(tmp_path: Path) -> None:
    path = write(tmp_path, "name,os,ram\na,x\nb,y,4\n")
    assert rows(path)[0] == (2, ["a", "x", None])
    assert "short_rows" in [warning.code for warning in read(path).warnings]


def test_long_rows_whose_values_have_shifted_are_set_aside(tmp_path: Path) -> None:
    table = read(write(tmp_path, "name,note,ram\na,x,4\nb,one, two,8\nc,z,16\n")).tables[0]
    assert [number for number, _ in table.rows] == [2, 4]
    assert [(row.row, row.reason) for row in table.set_aside] == [(3, "too_many_cells")]


def test_long_rows_that_still_fit_are_kept(tmp_path: Path) -> None:
    book = read(write(tmp_path, "name,note,ram\na,x,4\nb,y,8,a remark\n"))
    assert book.tables[0].rows[1] == (3, ["b", "y", "8"])
    assert [(warning.code, warning.row) for warning in book.warnings] == [("extra_cells", 3)]


def test_a_title_above_the_header_is_set_aside(tmp_path: Path) -> None:
    table = read(write(tmp_path, "Servers of the north,,\n,,\nname,os,ram\na,x,4\n")).tables[0]
    assert (table.header_row, table.columns, table.rows) == (3, ["name", "os", "ram"], [(4, ["a", "x", "4"])])
    assert [row.reason for row in table.set_aside] == ["above_header"]


def test_a_header_in_the_middle_is_set_aside(tmp_path: Path) -> None:
    table = read(write(tmp_path, "name,os\na,x\nname,os\nb,y\n")).tables[0]
    assert [number for number, _ in table.rows] == [2, 4]
    assert [(row.row, row.reason) for row in table.set_aside] == [(3, "repeated_header")]


def test_unnamed_and_repeated_columns_are_told_apart(tmp_path: Path) -> None:
    assert read(write(tmp_path, "name,,Disk,Disk\na,1,2,3\n")).tables[0].columns == [
        "name",
        "column 2",
        "Disk",
        "Disk (2)",
    ]


def test_several_sheets_of_a_workbook(tmp_path: Path) -> None:
    path = workbook(
        tmp_path / "e.xlsx",
        Servers=[["Name", "Memory", "Live", "Since"], ["a", 4.0, True, "2025-01-01"], [], ["b", 2.5, False, ""]],
        Empty=[],
        Notes=[["Note", "By"], ["hello", "me"]],
    )
    book = read(path)
    assert [(table.sheet, len(table.rows)) for table in book.tables] == [("Servers", 2), ("Notes", 1)]
    assert book.tables[0].rows == [(2, ["a", 4, True, "2025-01-01"]), (4, ["b", 2.5, False, None])]
    assert {"empty_sheet", "blank_rows"} <= {warning.code for warning in book.warnings}


def test_a_table_that_starts_in_the_middle_of_a_sheet(tmp_path: Path) -> None:
    book = xlsxwriter.Workbook(str(tmp_path / "e.xlsx"))
    sheet = book.add_worksheet("S")
    sheet.write_row(4, 2, ["Name", "Cores"])
    sheet.write_row(5, 2, ["a", 4])
    sheet.write_datetime(6, 3, dt.datetime(2025, 6, 1), book.add_format({"num_format": "yyyy-mm-dd"}))
    sheet.write(6, 2, "b")
    book.close()
    table = read(tmp_path / "e.xlsx").tables[0]
    assert (table.header_row, table.columns) == (5, ["Name", "Cores"])
    assert table.rows[0] == (6, ["a", 4])
    assert table.rows[1][0] == 7


def test_a_table_survives_being_kept(tmp_path: Path) -> None:
    table = read(write(tmp_path, "name,os\na,x\nname,os\nb,y\n")).tables[0]
    assert load_table(dump_table(table)) == table


# --- what cannot be read ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "name", "code"),
    [
        (b"", "e.csv", "empty_file"),
        (b"  \n \n", "e.csv", "empty_file"),
        (bytes(range(256)) * 8, "e.csv", "not_a_table"),
        (b"\x00" * 4000, "e.csv", "not_a_table"),
        (b"%PDF-1.7 ...", "e.csv", "format_not_supported"),
        (b"\x89PNG\r\n\x1a\n....", "e.xlsx", "format_not_supported"),
        (b'{"a": 1}', "e.csv", "format_not_supported"),
        (b'[ {"a": 1} ]', "e.csv", "format_not_supported"),
        (b"<html></html>", "e.xls", "format_not_supported"),
        (b"PK\x03\x04 and then nothing", "e.xlsx", "unreadable_file"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1 and then nothing", "e.xls", "unreadable_file"),
        (b"1,2,3\n4,5,6\n7,8,9\n", "e.csv", "no_header_row"),
        (b"10.0.0.1,web01\n10.0.0.2,web02\n", "e.csv", "no_header_row"),
        (b'name,note\na,"never closed\nb,c\n', "e.csv", "unterminated_quote"),
        (b"name,note\na," + b"x" * 1_000_001 + b"\n", "e.csv", "cell_too_large"),
    ],
)
def test_files_that_cannot_be_read(tmp_path: Path, content: bytes, name: str, code: str) -> None:
    path = write(tmp_path, content, name)
    with pytest.raises(EstateError) as caught:
        read(path)
    assert caught.value.code == code
    assert name in caught.value.detail
    assert caught.value.file == name


def test_the_place_of_a_fault_is_named(tmp_path: Path) -> None:
    with pytest.raises(EstateError) as caught:
        read(write(tmp_path, 'name,note\na,b\nc,"never closed\n'))
    assert caught.value.row == 3
    assert "row 3" in caught.value.detail


def test_a_zip_without_a_workbook(tmp_path: Path) -> None:
    path = tmp_path / "e.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("servers.csv", "name\na\n")
    with pytest.raises(EstateError, match="without a workbook"):
        read(path)


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "e.xlsx"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/workbook.xml", b"\0" * (80 * 1024**2))
    with pytest.raises(EstateError) as caught:
        read(path)
    assert caught.value.code == "too_large"


def test_a_header_without_rows_is_read_and_then_refused(tmp_path: Path) -> None:
    book = read(write(tmp_path, "name,os\n"))
    assert book.row_count == 0
    with pytest.raises(EstateError) as caught:
        require_rows([book])
    assert caught.value.code == "no_rows"


def test_content_decides_and_a_wrong_extension_is_told(tmp_path: Path) -> None:
    made = workbook(tmp_path / "e.xlsx", S=[["Name", "OS"], ["a", "x"]])
    book = read(made.rename(tmp_path / "e.csv"))
    assert book.format == "xlsx"
    assert [warning.code for warning in book.warnings] == ["extension_mismatch"]
    book = read(write(tmp_path, "name,os\na,b\n", "servers.xlsx"))
    assert (book.format, book.warnings[0].code) == ("csv", "extension_mismatch")


def test_nul_characters_are_left_out_and_told(tmp_path: Path) -> None:
    book = read(write(tmp_path, "name,os,note\nsrv\x00one,linux,a quite long remark about it\n"))
    assert book.tables[0].rows[0][1][0] == "srvone"
    assert "nul_removed" in [warning.code for warning in book.warnings]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.binary(max_size=600), st.text(alphabet='a1,;\t"\n\r|=. \x00é', max_size=300).map(str.encode)))
def test_no_bytes_make_the_reader_fail_otherwise(tmp_path: Path, content: bytes) -> None:
    for name in ("e.csv", "e.xlsx"):
        path = write(tmp_path, content, name)
        for look in (
            lambda path=path: inspect(path, path.name),
            lambda path=path, name=name: check_readable(path, name),
        ):
            with contextlib.suppress(EstateError):
                look()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_damage_to_a_workbook_makes_the_reader_fail_otherwise(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "whole.xlsx"
    if not path.exists():
        workbook(path, Servers=[["Name", "Memory"], *[[f"srv{number}", number] for number in range(30)]])
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    damaged = write(tmp_path, bytes(content[: data.draw(st.integers(1, len(content)))]), "damaged.xlsx")
    with contextlib.suppress(EstateError):
        inspect(damaged, "damaged.xlsx")


def test_inspect_describes_an_upload(tmp_path: Path) -> None:
    path = workbook(
        tmp_path / "e.xlsx",
        Servers=[["Server Name", "OS"], *[[f"srv{number}", "x" * 300] for number in range(30)]],
        Links=[["Source server name", "Destination server name", "Destination port"], ["a", "b", 443]],
    )
    told = inspect(path, "estate.xlsx")
    assert (told["format"], told["rows"]) == ("xlsx", 31)
    assert [(sheet["name"], sheet["rows"], sheet["kind"]) for sheet in told["sheets"]] == [
        ("Servers", 30, "table"),
        ("Links", 1, "azure_migrate.dependencies"),
    ]
    assert len(told["preview"]["Servers"]) == 20
    assert len(told["preview"]["Servers"][0]["OS"]) == 200
    assert told["preview"]["Links"] == [
        {"Source server name": "a", "Destination server name": "b", "Destination port": 443}
    ]


@pytest.mark.parametrize(
    ("columns", "kind"),
    [
        ("VM,Powerstate,CPUs,Memory,Provisioned MB", "rvtools.vinfo"),
        ("VM,CPUs,Sockets,Cores p/s,Max", "rvtools.vcpu"),
        ("Source Host,Dest IP,Port", "connections"),
        ("from,to", "connections"),
        ("Source,Environment,Name", "table"),
        ("name,os", "table"),
    ],
)
def test_tables_are_recognised_by_their_columns(tmp_path: Path, columns: str, kind: str) -> None:
    book = read(write(tmp_path, columns + "\n" + ",".join("x" for _ in columns.split(",")) + "\n"))
    recognise(book)
    assert book.tables[0].kind == kind


def test_rvtools_tabs_without_use_are_told(tmp_path: Path) -> None:
    book = read(write(tmp_path, "VM,Tools,Upgradeable\na,ok,no\n", "RVTools_tabvTools.csv"))
    recognise(book)
    assert (book.tables[0].kind, book.tables[0].role) == ("rvtools.vtools", "ignored")
    assert book.warnings[-1].code == "not_used"
