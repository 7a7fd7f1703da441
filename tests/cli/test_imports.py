"""Files, as somebody uploads them at the command line and looks at what they were taken for."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import UUID

import pytest

from tests.cli.support import mfo

Environment = dict[str, str]

SEMICOLONS = """Inventory of June
Server Name;Operating System;Memory (GB)
web01;Windows Server 2019;4,5
web02;Debian 12;8,0
Total;;12,5
"""


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    file = tmp_path / "june.csv"
    # every test has bytes of its own: the same bytes are the same import
    file.write_text(SEMICOLONS + f"# {tmp_path}\n")
    return file


def test_an_upload_prints_its_id_alone_and_says_what_was_recognised(inventory: Path, environment: Environment) -> None:
    plain = mfo("import", str(inventory), environment=environment)
    assert (plain.code, plain.err) == (0, "")
    assert UUID(plain.out.strip())
    waited = mfo("import", str(inventory), "--wait", environment=environment)
    assert (waited.code, waited.out) == (0, plain.out)
    assert "june.csv: table, csv, 2 rows to be used" in waited.err
    assert "header in row 2" in waited.err
    assert "delimiter semicolon" in waited.err
    assert "decimal comma" in waited.err
    told = mfo("import", str(inventory), "--wait", "--json", environment=environment).document
    assert (told["state"], told["recognised_as"], told["rows"]) == ("readable", "table", 2)
    assert told["import_file_id"] == plain.out.strip()
    listed = mfo("imports", environment=environment).out
    assert "RECOGNISED AS" in listed
    assert plain.out.strip() in listed


def test_options_are_taken_from_the_line_or_a_file_and_hold_for_what_was_uploaded_before(
    inventory: Path, environment: Environment, tmp_path: Path
) -> None:
    wanted = {"header_row": 2, "first_row": 4}
    stored = mfo("import", str(inventory), "--options", json.dumps(wanted), "--json", environment=environment)
    assert (stored.code, stored.document["import_options"]) == (0, wanted), stored.err
    import_id = stored.document["import_file_id"]
    assert mfo("import", str(inventory), "--json", environment=environment).document["import_options"] == wanted

    file = tmp_path / "options.json"
    file.write_text(json.dumps({"header_row": 0}))
    anew = mfo("import", str(inventory), "--options", f"@{file}", "--wait", "--json", environment=environment)
    assert (anew.document["import_file_id"], anew.document["import_options"]) == (import_id, {"header_row": 0})
    assert "read anew" in anew.err
    assert anew.document["sheets"][0]["columns"][0] == "A"


def test_a_preview_shows_how_it_was_read_and_the_first_rows(inventory: Path, environment: Environment) -> None:
    import_id = mfo("import", str(inventory), environment=environment).out.strip()

    shown = mfo("preview", import_id, "--rows", "1", environment=environment)
    assert shown.code == 0, shown.err
    assert "june.csv: the first 1 row of 2" in shown.out
    assert "web01" in shown.out
    assert "web02" not in shown.out.partition("set aside")[0]
    assert "set aside, row 1" in shown.out
    anew = mfo("preview", import_id, "--options", '{"delimiter": ","}', "--json", environment=environment)
    assert anew.document["import_options"] == {"delimiter": ","}
    again = mfo("preview", import_id, "--options", "{}", "--json", environment=environment).document
    assert (again["import_options"], again["rows"]) == ({}, 2)


def test_several_files_are_several_imports_and_one_that_cannot_be_read_is_told(
    inventory: Path, environment: Environment, tmp_path: Path
) -> None:
    empty = tmp_path / "empty.csv"
    empty.write_bytes(b"")
    told = mfo("import", str(inventory), str(empty), "--wait", "--json", environment=environment)
    assert told.code == 1
    assert [one["state"] for one in told.document["imports"]] == ["readable", "unreadable"]
    assert "empty.csv: cannot be read: " in told.err
    refused = mfo("preview", told.document["imports"][1]["import_file_id"], "--json", environment=environment)
    assert (refused.code, refused.document["error"]["code"]) == (1, "import_unreadable")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("import", "{file}", "--options", "[1]"), 2, "--options must hold a JSON object"),
        (("import", "{file}", "--options", "{,"), 2, "--options is not JSON"),
        (("import", "{file}", "--options", "@/no/such.json"), 2, "/no/such.json"),
        (("import", "{file}", "--options", '{"colour": "red"}'), 1, "import_options.colour"),
        (("import", "{file}", "/no/such/file"), 2, "/no/such/file"),
        (("preview", "11111111-1111-4111-8111-111111111111"), 1, "there is no import"),
        (("preview", "x"), 1, "import_id"),
    ],
)
def test_what_is_wrong_with_an_upload_is_said(
    inventory: Path, environment: Environment, words: tuple[str, ...], code: int, said: str
) -> None:
    refused = mfo(*(word.replace("{file}", str(inventory)) for word in words), "--json", environment=environment)

    assert (refused.code, "error" in json.loads(refused.out)) == (code, True)
    assert said in refused.err
