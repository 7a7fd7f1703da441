"""Spoilt files of every format: a workbook that is whole comes out, or an error that says why not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from estate.errors import EstateError
from estate.inspect import inspect
from estate.options import ImportOptions
from fuzz.check import check
from fuzz.seeds import ODS_PARTS, SEEDS, XLSX_PARTS, zipped

FUZZED = settings(max_examples=120, deadline=20_000, derandomize=True, suppress_health_check=list(HealthCheck))
PIECES = st.sampled_from(
    [
        b"", b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b'"', b"'", b"\n", b"\r", b"\t", b",", b";", b"{", b"}", b"[", b"]", b"<", b">",
        b"/>", b"</", b"&", b"&#0;", b"&#xD800;", b"<!DOCTYPE a>", b"<![CDATA[", b"<!--", b"-1", b"1e999", b"NaN", b"9" * 30,
        b"99999999", b"\xe2\x80\x8b", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\\ud800", b"null", b"true", b"Total", b"# ",
        b"XFD1048576", b'r="', b't="s"', b"PK\x01\x02", b"PK\x05\x06",
    ]
)  # fmt: skip
Edits = list[tuple[float, int, bytes]]
EDITS = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 12), st.one_of(PIECES, st.binary(max_size=4))), max_size=6)


def spoilt(content: bytes, edits: Edits) -> bytes:
    """The content with pieces put in place of some of its bytes."""
    for where, length, piece in edits:
        at = int(where * len(content))
        content = content[:at] + piece + content[at + length :]
    return content


@pytest.mark.parametrize("name", [name for name in SEEDS if name not in {"e.xlsx", "e.ods"}])
def test_spoilt_files(tmp_path: Path, name: str) -> None:
    path = tmp_path / name

    @FUZZED
    @given(EDITS)
    @example([])
    def run(edits: Edits) -> None:
        path.write_bytes(spoilt(SEEDS[name], edits))
        assert check(path, name) is not None or edits

    run()


@pytest.mark.parametrize(
    ("name", "part"),
    [*(("e.xlsx", part) for part in XLSX_PARTS), ("e.ods", "content.xml")],
)
def test_spoilt_parts_of_workbooks(tmp_path: Path, name: str, part: str) -> None:
    path = tmp_path / name
    parts = XLSX_PARTS if name == "e.xlsx" else ODS_PARTS

    @settings(FUZZED, max_examples=60)
    @given(EDITS)
    @example([])
    def run(edits: Edits) -> None:
        path.write_bytes(zipped({**parts, part: spoilt(parts[part], edits)}))
        assert check(path, name) is not None or edits

    run()


@pytest.mark.parametrize("name", ["e.xlsx", "e.ods"])
def test_workbooks_with_spoilt_bytes(tmp_path: Path, name: str) -> None:
    path = tmp_path / name

    @settings(FUZZED, max_examples=60)
    @given(EDITS)
    def run(edits: Edits) -> None:
        path.write_bytes(spoilt(SEEDS[name], edits))
        check(path, name)

    run()


@settings(FUZZED, max_examples=300)
@given(st.one_of(st.binary(max_size=600), st.text(alphabet='a1,;\t"\n\r|=. \x00é{[<', max_size=300).map(str.encode)))
def test_any_bytes(tmp_path: Path, content: bytes) -> None:
    for name in ("e.csv", "e.xlsx"):
        path = tmp_path / name
        path.write_bytes(content)
        check(path, name)


@settings(FUZZED, max_examples=60)
@given(EDITS)
def test_inspect_of_a_spoilt_file(tmp_path: Path, edits: Edits) -> None:
    path = tmp_path / "e.csv"
    path.write_bytes(spoilt(SEEDS["e.csv"], edits))
    try:
        told = inspect(path, "e.csv")
    except EstateError:
        return
    assert [sheet["name"] for sheet in told["sheets"]] == list(told["preview"])


_JSON: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-5, 10**7),
        st.floats(),
        st.sampled_from([",", ";", ".", "dmy", "S", "utf-8"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(["S", "units", "RAM"]), inner)
    ),
    max_leaves=4,
)


@settings(FUZZED, max_examples=250)
@given(
    st.dictionaries(
        st.sampled_from(
            ["encoding", "delimiter", "decimal", "thousands", "date_order", "header_row", "first_row", "last_row", "sheets",
             "skip_sheets", "tables", "record_path", "kind", "x"]
        ),
        _JSON,
        max_size=3,
    )
)  # fmt: skip
def test_any_options(tmp_path: Path, given_options: dict[str, Any]) -> None:
    try:
        options = ImportOptions.of(given_options)
    except EstateError as error:
        if error.code != "import_options_invalid":
            raise AssertionError(error.code) from error
        return
    assert ImportOptions.of(options.as_dict()) == options
    for name in ("e.csv", "e.xlsx", "e.json"):
        path = tmp_path / name
        path.write_bytes(SEEDS[name])
        check(path, name, options)
