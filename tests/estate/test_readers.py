from __future__ import annotations

import datetime as dt
import json
import zipfile
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import pytest
import xlsxwriter

from consumers.context import Permanent
from estate.errors import EstateError
from estate.formats import recognise
from estate.inspect import inspect
from estate.options import ImportOptions
from estate.readers import read
from estate.tables import Cell, Table, dump_table, load_table
from tests.estate.support import Discovery
from tests.estate.xlsb import binary_workbook


def write(tmp_path: Path, content: str | bytes, name: str = "estate.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def held(table: Table) -> list[tuple[int, list[Cell]]]:
    return list(table.rows())


def rows(path: Path) -> list[tuple[int, list[Cell]]]:
    return held(read(path).tables[0])


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
    assert book.tables[0].names == ["name", "town"]
    assert held(book.tables[0]) == [(2, ["srv1", "Zürich"])]


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
    assert list(table.numbers) == [2, 4]
    assert [(row.row, row.reason) for row in table.set_aside] == [(3, "too_many_cells")]


def test_long_rows_that_still_fit_are_kept(tmp_path: Path) -> None:
    book = read(write(tmp_path, "name,note,ram\na,x,4\nb,y,8,a remark\n"))
    assert held(book.tables[0])[1] == (3, ["b", "y", "8"])
    assert [(warning.code, warning.row) for warning in book.warnings] == [("extra_cells", 3)]


def test_a_title_above_the_header_is_set_aside(tmp_path: Path) -> None:
    table = read(write(tmp_path, "Servers of the north,,\n,,\nname,os,ram\na,x,4\n")).tables[0]
    assert (table.header_row, table.names, held(table)) == (3, ["name", "os", "ram"], [(4, ["a", "x", "4"])])
    assert [row.reason for row in table.set_aside] == ["above_header"]


def test_a_header_in_the_middle_is_set_aside(tmp_path: Path) -> None:
    table = read(write(tmp_path, "name,os\na,x\nname,os\nb,y\n")).tables[0]
    assert list(table.numbers) == [2, 4]
    assert [(row.row, row.reason) for row in table.set_aside] == [(3, "repeated_header")]


def test_unnamed_and_repeated_columns_are_told_apart(tmp_path: Path) -> None:
    assert read(write(tmp_path, "name,,Disk,Disk\na,1,2,3\n")).tables[0].names == [
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
    assert [(table.sheet, len(table)) for table in book.tables] == [("Servers", 2), ("Notes", 1)]
    assert held(book.tables[0]) == [(2, ["a", 4, True, "2025-01-01"]), (4, ["b", 2.5, False, None])]
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
    assert (table.header_row, table.names) == (5, ["Name", "Cores"])
    assert held(table) == [(6, ["a", 4]), (7, ["b", "2025-06-01"])]


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
        (b"#!/bin/sh\nset -e\necho done\n", "e.csv", "format_not_supported"),
        (b"import os\n\nprint(os.name)\n", "e.py", "format_not_supported"),
        (b"{\\rtf1 text}", "e.csv", "format_not_supported"),
        (b"\x89PNG\r\n\x1a\n....", "e.xlsx", "format_not_supported"),
        (b'{"a": 1}', "e.csv", "not_a_table"),
        (b"[1, 2, 3]", "e.json", "not_a_table"),
        (b'[{"a": 1}', "e.json", "unreadable_file"),
        (b"<a><b/></a>", "e.xml", "not_a_table"),
        (b"<a><b></a>", "e.xml", "unreadable_file"),
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


def protected() -> bytes:
    """A zip whose one file is marked as encrypted."""
    held = BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr("servers.csv", "name,os\na,b\n")
    data = bytearray(held.getvalue())
    data[6] |= 1
    data[data.rindex(b"PK\x01\x02") + 8] |= 1
    return bytes(data)


@pytest.mark.parametrize(
    ("content", "name", "told"),
    [
        (b"", "e.csv", "export it again and upload the new file."),
        (b" \n \n", "e.csv", "export it again and upload the new file."),
        (bytes(range(256)) * 8, "e.csv", "upload the inventory itself as csv, tsv, xlsx, ods, json or xml,"),
        (b"%PDF-1.7 ...", "e.pdf", "upload the inventory itself as csv, tsv, xlsx, ods, json or xml,"),
        (b"\x89PNG\r\n\x1a\n...", "e.png", "upload the inventory itself as csv, tsv, xlsx, ods, json or xml,"),
        (b"#!/bin/sh\nset -e\n", "e.sh", "upload the inventory itself as csv, tsv, xlsx, ods, json or xml,"),
        (b"PK\x03\x04 and then nothing", "e.zip", "export it again and upload the new file."),
        (b"PK\x03\x04 and then nothing", "e.xlsx", "export it again and upload the new file."),
        (protected(), "e.zip", "is protected by a password; save it without one and upload that."),
        (b"<html></html>", "e.xls", "save it as xlsx or csv and upload that."),
        (b"<a><b></a>", "e.xml", "export it again and upload the new file."),
        (b'[{"a": 1}', "e.json", "export it again and upload the new file."),
        (b'name,note\na,"never closed\nb,c\n', "e.csv", "close the quotation mark or export it again"),
    ],
)
def test_a_refusal_says_what_to_upload_instead(tmp_path: Path, content: bytes, name: str, told: str) -> None:
    with pytest.raises(EstateError) as caught:
        read(write(tmp_path, content, name))
    assert told in caught.value.detail
    assert caught.value.detail.endswith(".")


def test_the_place_of_a_fault_is_named(tmp_path: Path) -> None:
    with pytest.raises(EstateError) as caught:
        read(write(tmp_path, 'name,note\na,b\nc,"never closed\n'))
    assert caught.value.row == 3
    assert "row 3" in caught.value.detail


async def test_a_header_without_rows_is_read_and_then_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "name,os\n")
    assert read(path).row_count == 0
    with pytest.raises(Permanent) as caught:
        await Discovery(path).run("data_import")
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
    assert held(book.tables[0])[0][1][0] == "srvone"
    assert "nul_removed" in [warning.code for warning in book.warnings]


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
    book = read(
        write(tmp_path, columns + "\n" + ",".join(f"srv{place}" for place, _ in enumerate(columns.split(","))) + "\n")
    )
    recognise(book)
    assert book.tables[0].kind == kind


def test_rvtools_tabs_without_use_are_told(tmp_path: Path) -> None:
    book = read(write(tmp_path, "VM,Tools,Upgradeable\na,ok,no\n", "RVTools_tabvTools.csv"))
    recognise(book)
    assert (book.tables[0].kind, book.tables[0].role) == ("rvtools.vtools", "ignored")
    assert book.warnings[-1].code == "not_used"


# --- nested files -------------------------------------------------------------------------------------------------


def test_a_list_of_objects_is_a_table(tmp_path: Path) -> None:
    text = (
        '[{"name": "a", "cpu": {"cores": 4, "mhz": null}, "ips": ["10.0.0.1", "10.0.0.2"]}, {"name": "b", "on": true}]'
    )
    book = read(write(tmp_path, text, "e.json"))
    assert (book.format, book.tables[0].sheet, book.tables[0].header_row) == ("json", None, 0)
    assert book.tables[0].names == ["name", "cpu.cores", "cpu.mhz", "ips", "on"]
    assert held(book.tables[0]) == [
        (1, ["a", 4, None, "10.0.0.1, 10.0.0.2", None]),
        (2, ["b", None, None, None, True]),
    ]


def test_records_are_found_wherever_they_are(tmp_path: Path) -> None:
    text = '{"exported": "2025-06-01", "data": {"inventory": {"servers": [{"name": "a"}]}}, "tags": ["x"]}'
    [table] = read(write(tmp_path, text, "e.json")).tables
    assert (table.sheet, table.read_as["record_path"]) == (None, "data.inventory.servers")
    assert held(table) == [(1, ["a"])]
    assert [(row.reason, row.cells) for row in table.set_aside] == [("outside_records", ["exported", "2025-06-01"])]


def test_several_lists_are_several_tables(tmp_path: Path) -> None:
    text = '{"servers": [{"name": "a"}], "links": [{"from": "a", "to": "b"}], "none": []}'
    tables = read(write(tmp_path, text, "e.json")).tables
    assert [(table.sheet, len(table)) for table in tables] == [("servers", 1), ("links", 1)]


def test_a_list_of_objects_in_a_record_is_a_table_with_the_records_key(tmp_path: Path) -> None:
    text = (
        '[{"id": 1, "name": "a", "disks": [{"gb": 10, "snaps": [{"t": 1}]}, {"gb": 20}]},'
        ' {"id": 2, "name": "b", "disks": [{"gb": 30}]}]'
    )
    tables = read(write(tmp_path, text, "e.json")).tables
    assert [(table.sheet, table.names, held(table)) for table in tables] == [
        (None, ["id", "name"], [(1, [1, "a"]), (2, [2, "b"])]),
        ("disks", ["name", "disks.gb"], [(1, ["a", 10]), (1, ["a", 20]), (2, ["b", 30])]),
        ("disks.disks.snaps", ["name", "snaps.t"], [(1, ["a", 1])]),
    ]
    assert {table.role for table in tables[1:]} == {"detail"}
    assert tables[1].read_as["parent_key"] == "name"


def test_records_named_by_the_caller(tmp_path: Path) -> None:
    text = '{"hosts": {"web01": {"cpu": 4}, "web02": {"cpu": 8}}, "other": [{"x": 1}]}'
    path = write(tmp_path, text, "e.json")
    [table] = read(path, options=ImportOptions.of({"record_path": "hosts"})).tables
    assert held(table) == [(1, ["web01", 4]), (2, ["web02", 8])]
    with pytest.raises(EstateError) as caught:
        read(path, options=ImportOptions.of({"record_path": "nowhere"}))
    assert caught.value.code == "not_a_table"


def test_lists_in_objects_side_by_side_are_not_taken_for_the_records(tmp_path: Path) -> None:
    text = '{"web01": {"disks": [{"gb": 1}]}, "web02": {"disks": [{"gb": 2}]}, "web03": {"disks": [{"gb": 3}]}}'
    with pytest.raises(EstateError, match="record_path"):
        read(write(tmp_path, text, "e.json"))


def test_a_list_of_lists_is_a_sheet(tmp_path: Path) -> None:
    [table] = read(write(tmp_path, '{"values": [["name", "os", "ram"], ["a", "x", 4]]}', "e.json")).tables
    assert (table.names, held(table)) == (["name", "os", "ram"], [(2, ["a", "x", 4])])


def test_odd_values_of_json(tmp_path: Path) -> None:
    text = (
        '[{"n": 123456789012345678901234567890, "v": NaN, "s": "\\ud800x", "a": 1, "a": 2, "e": 1e400, "l": ["a,b", "c"],'
        ' "m": [[1], 2], "o": {}, "z": []}]'
    )
    book = read(write(tmp_path, text, "e.json"))
    [(_, cells)] = book.tables[0].rows()
    assert dict(zip(book.tables[0].names, cells, strict=True)) == {
        "n": "123456789012345678901234567890", "v": None, "s": "\ufffdx", "a": 1, "a (2)": 2, "e": None,
        "l": '["a,b", "c"]', "m": "[[1], 2]", "o": None, "z": None,
    }  # fmt: skip
    assert {"duplicate_key", "encoding_damaged", "not_a_number"} <= {one.code for one in book.warnings}
    assert load_table(dump_table(book.tables[0])) == book.tables[0]


def test_records_larger_than_a_chunk_are_read(tmp_path: Path) -> None:
    records = [{"name": f"srv{number}", "note": "x" * 700} for number in range(2_000)]
    path = write(tmp_path, json.dumps({"a": {"b": records}}, indent=1), "e.json")
    [table] = read(path).tables
    assert [cells[0] for _, cells in table.rows()] == [f"srv{number}" for number in range(2_000)]


def test_one_object_per_line(tmp_path: Path) -> None:
    book = read(write(tmp_path, '{"a": 1}\n\n{"a": 2, "b": "x"}\n{"a": \n[1]\n', "e.jsonl"))
    assert (book.format, held(book.tables[0])) == ("ndjson", [(1, [1, None]), (3, [2, "x"])])
    assert [(row.row, row.reason) for row in book.tables[0].set_aside] == [(4, "not_a_record"), (5, "not_a_record")]
    assert [warning.code for warning in book.warnings] == ["broken_lines"]


def test_the_fault_in_json_is_placed(tmp_path: Path) -> None:
    text = json.dumps([{"name": "a"}] * 3, indent=1).replace("]", ',{"name": b}]')
    with pytest.raises(EstateError, match="line 11"):
        read(write(tmp_path, text, "e.json"))


def test_elements_that_repeat_are_records(tmp_path: Path) -> None:
    text = (
        '<?xml version="1.0" encoding="ISO-8859-1"?><x:estate xmlns:x="urn:x" date="today"><servers>'
        '<x:server id="1"><name>Zürich &amp; more</name><ip>10.0.0.1</ip><ip>10.0.0.2</ip><disk gb="4"/>'
        '<os version="8">RHEL</os></x:server>'
        '<x:server id="2"><name/><disk gb="5"/><disk gb="6">x</disk></x:server></servers></x:estate>'
    )
    book = read(write(tmp_path, text.encode("latin-1"), "e.xml"))
    assert (book.format, book.encoding) == ("xml", "iso-8859-1")
    assert book.tables[0].names == ["id", "name", "ip", "os.version", "os.text"]
    assert held(book.tables[0])[0] == (1, ["1", "Zürich & more", "10.0.0.1, 10.0.0.2", "8", "RHEL"])
    assert book.tables[1].names == ["id", "disk.gb", "disk.text"]
    assert held(book.tables[1]) == [(1, ["1", "4", None]), (2, ["2", "5", None]), (2, ["2", "6", "x"])]


def test_a_single_record_of_xml_and_one_named_by_the_caller(tmp_path: Path) -> None:
    path = write(tmp_path, "<estate><servers><server><name>a</name><os>x</os></server></servers></estate>", "e.xml")
    assert held(read(path).tables[0]) == [(1, ["a", "x"])]
    named = read(path, options=ImportOptions.of({"record_path": "servers.server"}))
    assert held(named.tables[0]) == [(1, ["a", "x"])]


def zipped(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def test_a_zip_is_its_files(tmp_path: Path) -> None:
    inner = workbook(tmp_path / "i.xlsx", One=[["Name", "OS"], ["a", "x"]], Two=[["Name", "OS"], ["b", "x"]])
    path = zipped(
        tmp_path / "e.zip",
        {
            "a/servers.csv": b"name,os\na,x\n", "b/servers.csv": b"name,os\nb,y\n", "book.xlsx": inner.read_bytes(),
            "__MACOSX/a/._servers.csv": b"\x00", "Thumbs.db": b"\x00", "a/": b"", "notes.pdf": b"%PDF-1.7",
            "bad.bin": bytes(range(256)) * 4,
        },
    )  # fmt: skip
    book = read(path)
    assert (book.format, book.row_count) == ("zip", 4)
    assert [(table.file, table.sheet) for table in book.tables] == [
        ("e.zip/a/servers.csv", None), ("e.zip/b/servers.csv", None), ("e.zip/book.xlsx", "One"),
        ("e.zip/book.xlsx", "Two"),
    ]  # fmt: skip
    assert [warning.code for warning in book.warnings] == ["file_not_read", "file_not_read"]
    told = inspect(path, "e.zip")
    assert [sheet["name"] for sheet in told["sheets"]] == [
        "a/servers.csv", "b/servers.csv", "book.xlsx: One", "book.xlsx: Two",
    ]  # fmt: skip
    chosen = read(path, options=ImportOptions.of({"skip_sheets": ["book.xlsx", "a/servers.csv"]}))
    assert [table.file for table in chosen.tables] == ["e.zip/b/servers.csv"]


def test_a_zip_without_a_table(tmp_path: Path) -> None:
    with pytest.raises(EstateError, match="no file in it is a table"):
        read(zipped(tmp_path / "e.zip", {"a.png": b"\x89PNG", "Thumbs.db": b"x"}))


def test_a_zip_in_a_zip_is_refused(tmp_path: Path) -> None:
    inner = zipped(tmp_path / "i.zip", {"servers.csv": b"name\na\n"})
    with pytest.raises(EstateError, match="a zip inside of a zip"):
        read(zipped(tmp_path / "e.zip", {"i.zip": inner.read_bytes()}))


def test_an_open_document_sheet(tmp_path: Path) -> None:
    cells = (
        '<table:table-row table:number-rows-repeated="2"><table:table-cell table:number-columns-repeated="1024"/></table:table-row>'
        "<table:table-row><table:table-cell/>"
        '<table:table-cell office:value-type="string"><text:p>Name</text:p></table:table-cell>'
        '<table:table-cell office:value-type="string"><text:p>Since</text:p></table:table-cell>'
        '<table:table-cell office:value-type="string"><text:p>Usage</text:p></table:table-cell>'
        '<table:table-cell office:value-type="string"><text:p>RAM</text:p></table:table-cell></table:table-row>'
        '<table:table-row table:visibility="filter"><table:table-cell/>'
        '<table:table-cell office:value-type="string"><text:p>a<text:s text:c="2"/>b</text:p><text:p>c</text:p>'
        "<office:annotation><text:p>no value</text:p></office:annotation></table:table-cell>"
        '<table:table-cell office:value-type="date" office:date-value="2025-06-01T00:00:00"><text:p>1.6.</text:p></table:table-cell>'
        '<table:table-cell office:value-type="percentage" office:value="0.4"><text:p>40%</text:p></table:table-cell>'
        '<table:table-cell office:value-type="float" office:value="16"><text:p>16</text:p></table:table-cell></table:table-row>'
        '<table:table-row table:number-rows-repeated="1048000"><table:table-cell table:number-columns-repeated="16384"/></table:table-row>'
    )
    book = read(open_document(tmp_path / "e.ods", cells))
    assert (book.format, book.tables[0].header_row, book.tables[0].names) == (
        "ods",
        3,
        ["Name", "Since", "Usage", "RAM"],
    )
    assert held(book.tables[0]) == [(4, ["a  b\nc", "2025-06-01", "40%", 16])]
    assert [warning.code for warning in book.warnings] == ["hidden_rows"]


def open_document(path: Path, rows: str, manifest: str = "") -> Path:
    spaces = "".join(
        f' xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"' for name in ("office", "table", "text")
    )
    content = (
        f"<office:document-content{spaces}><office:body><office:spreadsheet>"
        f'<table:table table:name="S">{rows}</table:table></office:spreadsheet></office:body></office:document-content>'
    )
    mimetype = b"application/vnd.oasis.opendocument.spreadsheet"
    return zipped(
        path, {"mimetype": mimetype, "content.xml": content.encode(), "META-INF/manifest.xml": manifest.encode()}
    )


def test_a_binary_workbook(tmp_path: Path) -> None:
    path = binary_workbook(tmp_path / "e.xlsb", [["Name", "CPU"], ["a", 4.0], ["b", 8.5]])
    book = read(path)
    assert book.format == "xlsb"
    assert [(table.sheet, held(table)) for table in book.tables] == [("S", [(2, ["a", 4]), (3, ["b", 8.5])])]


# --- text that is written oddly -----------------------------------------------------------------------------------


def test_lines_wrapped_in_quotes(tmp_path: Path) -> None:
    book = read(write(tmp_path, '"name,note,ram"\n"a,""x, y"",4"\n"b,z,8"\n'))
    assert held(book.tables[0]) == [(2, ["a", "x, y", "4"]), (3, ["b", "z", "8"])]
    assert [warning.code for warning in book.warnings] == ["lines_wrapped_in_quotes"]


def test_two_delimiters_in_one_file_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "name;os;ram\na,x,4\nb,y,8\n")
    with pytest.raises(EstateError) as caught:
        read(path)
    assert (caught.value.code, caught.value.row) == ("mixed_delimiters", 1)
    assert "';'" in caught.value.detail


def test_lone_carriage_returns_end_lines(tmp_path: Path) -> None:
    assert rows(write(tmp_path, b"name,os\ra,x\rb,y\r")) == [(2, ["a", "x"]), (3, ["b", "y"])]


def test_leading_blanks_stay_where_no_quote_follows_them(tmp_path: Path) -> None:
    assert rows(write(tmp_path, "name,note\n spaces,x\nspaces, y\n")) == [(2, [" spaces", "x"]), (3, ["spaces", " y"])]


def test_a_quote_that_swallows_rows_is_told(tmp_path: Path) -> None:
    text = 'name,note,ram\n"a"b,x,4\nc,"19 inch,8\nd,y,16\ne,z,32\n'
    with pytest.raises(EstateError) as caught:
        read(write(tmp_path, text))
    assert (caught.value.code, caught.value.row) == ("unterminated_quote", 3)


def test_stray_quotes_are_read_and_told(tmp_path: Path) -> None:
    book = read(write(tmp_path, 'name,note,ram\na,"19" rack,4\nb,x,8\n'))
    assert held(book.tables[0])[1] == (3, ["b", "x", "8"])
    assert [(warning.code, warning.row) for warning in book.warnings] == [("stray_quote", 2)]


def test_the_caller_names_encoding_and_delimiter(tmp_path: Path) -> None:
    path = write(tmp_path, "name;note\nJó;a|b\n".encode("cp1250"))
    options = ImportOptions.of({"encoding": "cp1250", "delimiter": ";"})
    assert held(read(path, options=options).tables[0]) == [(2, ["Jó", "a|b"])]
    with pytest.raises(EstateError) as caught:
        read(path, options=ImportOptions.of({"encoding": "utf-8"}))
    assert caught.value.code == "unreadable_file"


def test_bytes_that_are_not_utf_8_in_a_file_that_is(tmp_path: Path) -> None:
    text = "name,town\n" + "srv,Zürich Genève Orléans\n" * 5
    book = read(write(tmp_path, text.encode() + b"srv9,Bad\xff\n"))
    assert book.encoding == "utf-8"
    assert [(warning.code, warning.row) for warning in book.warnings] == [("encoding_damaged", 7)]


@pytest.mark.parametrize("name", ["servers.csv", "servers.tsv", "servers.txt"])
def test_text_files_by_any_of_their_names(tmp_path: Path, name: str) -> None:
    assert read(write(tmp_path, "name\tos\na\tx\n", name)).warnings == []


def test_cells_that_look_like_secrets_are_masked_in_the_preview(tmp_path: Path) -> None:
    path = write(tmp_path, "name,password\nsrv1,Hunter2!secret\nTotal,,,\n")
    shown = json.dumps(inspect(path, "e.csv"))
    assert "srv1" in shown
    assert "Hunter2" not in shown


def test_inspect_tells_how_the_file_was_read(tmp_path: Path) -> None:
    path = write(tmp_path, "Servers\n\nname;ram\na;1,5\nb;2,5\nTotal;4\n")
    told = inspect(path, "e.csv", ImportOptions.of({"date_order": "dmy"}))
    [sheet] = told["sheets"]
    assert (sheet["header_row"], sheet["header_rows"], sheet["set_aside"]) == (3, [3], 2)
    assert {name: sheet["read_as"][name] for name in ("delimiter", "decimal", "date_order", "encoding")} == {
        "delimiter": ";", "decimal": ",", "date_order": "dmy", "encoding": "utf-8",
    }  # fmt: skip
    assert [(row["row"], row["reason"]) for row in told["set_aside"]["e.csv"]] == [
        (1, "above_header"),
        (6, "totals_row"),
    ]
    assert told["import_options"] == {"date_order": "dmy"}
    assert json.dumps(told)


def test_a_secret_that_moved_out_of_its_column_is_masked_in_the_preview(tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    path.write_text("Name,CPUs,Password\nweb01,2,Geheim-77-x\nweb02,2,Geheim-78-x\nweb03,Linux,x,Topsecret99!\n")
    told = inspect(path, "s.csv")
    assert [row["reason"] for row in told["set_aside"]["s.csv"]] == ["too_many_cells"]
    assert "Topsecret99!" not in str(told)
    assert "Geheim" not in str(told)


@pytest.mark.parametrize(
    ("tables", "told"),
    [
        ({"Nope": {"header_row": 1}}, "names 'Nope', which s.csv does not have; its tables are s.csv"),
        ({"s.csv": {"units": {"Memori": "MiB"}}}, "names the column 'Memori', which s.csv does not have"),
    ],
)
def test_options_that_name_nothing_are_refused(tmp_path: Path, tables: dict[str, object], told: str) -> None:
    path = tmp_path / "s.csv"
    path.write_text("Name,Memory\nweb01,16\nweb02,32\n")
    with pytest.raises(EstateError, match=told) as refused:
        read(path, "s.csv", ImportOptions.of({"tables": tables}))
    assert refused.value.code == "import_options_invalid"
    kept = read(path, "s.csv", ImportOptions.of({"tables": {"s.csv": {"units": {"MEMORY": "GiB"}}}}))
    assert kept.tables[0].read_as["units"] == {"MEMORY": "GiB"}


def test_the_description_of_a_very_wide_file_stays_small(tmp_path: Path) -> None:
    path = tmp_path / "w.csv"
    names = ",".join(f"column{at}" for at in range(16_000))
    cells = ",".join(["x" * 40] * 16_000)
    path.write_text(f"{names}\n" + f"{cells}\n" * 20)
    told = inspect(path, "w.csv")
    assert told["sheets"][0]["columns_total"] == 16_000
    assert len(told["sheets"][0]["columns"]) == 200
    assert len(str(told)) < 1_000_000
