"""What discovery found, for people: a page, a workbook, and csv that no spreadsheet runs."""

from __future__ import annotations

from estate.report.cells import defused, write_csv
from estate.report.data import ReportData
from estate.report.document import write_html
from estate.report.workbook import write_xlsx

__all__ = ["ReportData", "defused", "write_csv", "write_html", "write_xlsx"]
