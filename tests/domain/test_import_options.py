from __future__ import annotations

from typing import Any

import pytest

from domain.errors import ImportOptionsInvalid
from domain.import_options import checked


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"encoding": "windows-1252", "delimiter": "\t", "decimal": ",", "thousands": "."},
        {"header_row": 0, "sheets": ["Servers"], "skip_sheets": []},
        {"header_row": [4, 5], "tables": {"[odd] name": {"units": {"Memory": "MiB"}, "header_row": 7}}},
        {"record_path": "result.records", "kind": "table", "first_row": 3, "last_row": 90},
    ],
)
def test_what_can_be_meant_is_kept_as_it_was_given(options: dict[str, Any]) -> None:
    assert checked(options) == options
    assert checked({**options, "date_order": None}) == options
    assert checked({"header_row": None}) == {}


@pytest.mark.parametrize(
    ("options", "fields", "message"),
    [
        (None, ["import_options"], "must be a JSON object"),
        ([], ["import_options"], "must be a JSON object"),
        ({"colour": 1, "size": 2}, ["import_options.colour", "import_options.size"], "unknown member"),
        ({"delimiter": ";;;;"}, ["import_options.delimiter"], "at most 3 characters"),
        ({"date_order": "american"}, ["import_options.date_order"], "'dmy'"),
        ({"header_row": True}, ["import_options.header_row"], "or 0 for no header"),
        ({"header_row": []}, ["import_options.header_row"], "1 to 5"),
        ({"header_row": [0]}, ["import_options.header_row"], "1 to 5"),
        ({"header_row": list(range(1, 7))}, ["import_options.header_row"], "1 to 5"),
        ({"first_row": "3"}, ["import_options.first_row"], "integer"),
        ({"sheets": ["a\0b"]}, ["import_options.sheets.0"], "must not hold NUL"),
        ({"delimiter": "\0"}, ["import_options.delimiter"], "must not hold NUL"),
        ({"tables": {"a.b": {"role": ""}}}, ["import_options.tables.a.b.role"], "at least 1 character"),
    ],
)
def test_what_cannot_be_meant_is_named(options: Any, fields: list[str], message: str) -> None:
    with pytest.raises(ImportOptionsInvalid, match=message) as caught:
        checked(options)
    assert [error.field for error in caught.value.errors] == fields
