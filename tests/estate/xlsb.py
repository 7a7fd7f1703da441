"""A smallest binary workbook, record by record as in [MS-XLSB] 2.1.4."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Sequence
from pathlib import Path

_TYPES = (
    '<?xml version="1.0"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
    '<Default Extension="bin" ContentType="application/vnd.ms-excel.sheet.binary.macroEnabled.main"/>'
    '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/></Types>'
)
_RELATIONS = '<?xml version="1.0"?><Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"


def _record(kind: int, data: bytes = b"") -> bytes:
    head = bytes([kind]) if kind < 128 else bytes([kind & 0x7F | 0x80, kind >> 7])
    size, length = len(data), b""
    while True:
        length += bytes([size & 0x7F | (0x80 if size > 0x7F else 0)])
        size >>= 7
        if not size:
            return head + length + data


def _text(text: str) -> bytes:
    return struct.pack("<I", len(text)) + text.encode("utf-16-le")


def binary_workbook(
    path: Path, rows: Sequence[Sequence[str | float]], first_row: int = 0, first_column: int = 0
) -> Path:
    """A workbook with one sheet S."""
    last = (first_row + len(rows), first_column + max(map(len, rows)))
    dimension = struct.pack("<IIII", first_row, last[0] - 1, first_column, last[1] - 1)
    sheet = _record(129) + _record(148, dimension) + _record(145)
    for number, cells in enumerate(rows, first_row):
        sheet += _record(0, struct.pack("<IIHBBBI", number, 0, 300, 0, 0, 0, 0))
        for column, cell in enumerate(cells, first_column):
            head = struct.pack("<II", column, 0)
            sheet += (
                _record(6, head + _text(cell)) if isinstance(cell, str) else _record(5, head + struct.pack("<d", cell))
            )
    sheet += _record(146) + _record(130)
    bundle = _record(156, struct.pack("<II", 0, 1) + _text("rId1") + _text("S"))
    book = _record(131) + _record(143) + bundle + _record(144) + _record(132)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", _TYPES)
        one = f'<Relationship Id="rId1" Type="{_OFFICE}/officeDocument" Target="xl/workbook.bin"/></Relationships>'
        archive.writestr("_rels/.rels", _RELATIONS + one)
        archive.writestr("xl/workbook.bin", book)
        one = f'<Relationship Id="rId1" Type="{_OFFICE}/worksheet" Target="worksheets/sheet1.bin"/></Relationships>'
        archive.writestr("xl/_rels/workbook.bin.rels", _RELATIONS + one)
        archive.writestr("xl/worksheets/sheet1.bin", sheet)
    return path
