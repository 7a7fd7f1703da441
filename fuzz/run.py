"""Coverage-guided fuzzing of the readers with atheris (which is not among the requirements; `make fuzz` installs it).

`python -m fuzz.run csv -max_total_time=60`, and the same for json, ndjson, xml, xlsx, ods, zip and options. A finding is
written to the current folder as `crash-...`; `python -m fuzz.run csv crash-...` reads it again.
For xlsx and ods the input stands for one part of the file, whole again around it.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import atheris  # type: ignore[import-not-found, import-untyped, unused-ignore]

with atheris.instrument_imports(include=["estate"]):
    from estate.errors import EstateError
    from estate.options import ImportOptions
    from fuzz.check import check
    from fuzz.seeds import ODS_PARTS, SEEDS, XLSX_PARTS, zipped

import orjson

_FOLDER = Path(tempfile.mkdtemp(prefix="mfo-fuzz-"))
_XLSX = ("xl/worksheets/sheet1.xml", "xl/sharedStrings.xml", "xl/styles.xml", "xl/workbook.xml")


def _file(name: str) -> Callable[[bytes], None]:
    path = _FOLDER / name

    def one(data: bytes) -> None:
        path.write_bytes(data)
        check(path, name)

    return one


def _part(name: str, parts: dict[str, bytes], spoilt: tuple[str, ...]) -> Callable[[bytes], None]:
    path = _FOLDER / name

    def one(data: bytes) -> None:
        part = spoilt[data[0] % len(spoilt)] if data else spoilt[0]
        path.write_bytes(zipped({**parts, part: data[1:]}))
        check(path, name)

    return one


def _options(data: bytes) -> None:
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        return
    try:
        options = ImportOptions.of(value)
    except EstateError as error:
        if error.code != "import_options_invalid":
            raise AssertionError(error.code) from error
        return
    assert ImportOptions.of(options.as_dict()) == options
    path = _FOLDER / "e.csv"
    path.write_bytes(SEEDS["e.csv"])
    check(path, "e.csv", options)


TARGETS: dict[str, Callable[[bytes], None]] = {
    **{name.split(".")[1]: _file(name) for name in SEEDS},
    "xlsx": _part("e.xlsx", XLSX_PARTS, _XLSX),
    "ods": _part("e.ods", ODS_PARTS, ("content.xml",)),
    "options": _options,
}


def _corpus(kind: str) -> Path:
    folder = _FOLDER / f"corpus-{kind}"
    folder.mkdir()
    if kind == "xlsx":
        for place, part in enumerate(_XLSX):
            (folder / str(place)).write_bytes(bytes([place]) + XLSX_PARTS[part])
    elif kind == "ods":
        (folder / "0").write_bytes(b"\0" + ODS_PARTS["content.xml"])
    elif kind == "options":
        (folder / "0").write_bytes(
            b'{"delimiter":";","header_row":[1,2],"tables":{"S":{"units":{"RAM":"MB"}}},"sheets":[]}'
        )
    else:
        (folder / "0").write_bytes(SEEDS[f"e.{kind}"])
    return folder


def main() -> None:
    """Fuzz what the first argument names; the rest goes to libFuzzer."""
    kind, rest = sys.argv[1], sys.argv[2:]
    files = [one for one in rest if not one.startswith("-")]
    corpus = [] if files else [str(_corpus(kind))]
    atheris.Setup([sys.argv[0], "-rss_limit_mb=1500", "-timeout=20", "-len_control=0", *rest, *corpus], TARGETS[kind])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
