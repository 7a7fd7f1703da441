"""Makes one report or export, in a process of its own that may not take more than its share.

`python -m estate.report FOLDER html|xlsx OUT [--unmasked]` and `python -m estate.report FOLDER csv OUT --kind assets`.
Ends with 0; else with 1 and one line on standard error, `{"code", "detail"}`, that holds nothing of the estate.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import traceback
from pathlib import Path

import orjson

from estate.errors import EstateError
from estate.ndjson import read_ndjson
from estate.parent import end_with_parent
from estate.report.cells import write_csv
from estate.report.columns import EXPORTS, expanded
from estate.report.data import ReportData
from estate.report.document import write_html
from estate.report.workbook import write_xlsx

MEMORY_MB = 2048
CPU_SECONDS = 300
TOO_LARGE = "report_too_large"
FAILED = "report_failed"


def main(arguments: list[str] | None = None) -> int:
    """Make what the arguments ask for; the exit code."""
    parser = argparse.ArgumentParser("python -m estate.report", description="Make a report or export of a discovery.")
    parser.add_argument("folder", type=Path, help="outputs.json and the rows, one .ndjson for each kind")
    parser.add_argument("format", choices=("html", "xlsx", "csv"))
    parser.add_argument("out", type=Path)
    parser.add_argument("--kind", choices=sorted(EXPORTS), help="of csv: which rows")
    parser.add_argument("--unmasked", action="store_true", help="show e-mail addresses, telephone numbers and the like")
    parser.add_argument("--memory-mb", type=int, default=MEMORY_MB)
    parser.add_argument("--cpu-seconds", type=int, default=CPU_SECONDS)
    given = parser.parse_args(arguments)
    if (given.format == "csv") != (given.kind is not None):
        parser.error("--kind goes with csv, and csv needs it")
    end_with_parent()
    resource.setrlimit(resource.RLIMIT_AS, (given.memory_mb << 20,) * 2)
    resource.setrlimit(resource.RLIMIT_CPU, (given.cpu_seconds,) * 2)
    try:
        make(given.folder, given.format, given.out, kind=given.kind, personal=not given.unmasked)
    except EstateError as error:
        return _failed(error.code, error.detail)
    except MemoryError:
        return _failed(TOO_LARGE, f"The report needs more than {given.memory_mb} MB of memory.")
    except Exception as error:
        if isinstance(error, orjson.JSONDecodeError) and "memory" in error.msg:
            return _failed(TOO_LARGE, f"The report needs more than {given.memory_mb} MB of memory.")
        # the error's own words may hold a cell
        place = traceback.extract_tb(error.__traceback__)[-1]
        return _failed(FAILED, f"{type(error).__name__} in {Path(place.filename).name}, line {place.lineno}.")
    return 0


def make(folder: Path, written_as: str, out: Path, *, kind: str | None = None, personal: bool = True) -> None:
    """Write `html`, `xlsx`, or of `kind` `csv`; raises EstateError `report_data_missing`, OSError."""
    if written_as == "csv":
        # the mark in front tells spreadsheets that the text is UTF-8
        with out.open("w", encoding="utf-8-sig", newline="") as file:
            rows = read_ndjson(folder / f"{kind}.ndjson")
            write_csv(expanded(str(kind), rows), EXPORTS[str(kind)], file)
        return
    data = ReportData.load(folder)
    if written_as == "html":
        with out.open("w", encoding="utf-8", newline="\n") as file:
            write_html(data, file, personal=personal)
    else:
        write_xlsx(data, out, personal=personal)


def _failed(code: str, detail: str) -> int:
    sys.stderr.write(json.dumps({"code": code, "detail": detail}) + "\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
