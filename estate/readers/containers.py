"""What a file is, by its first bytes and by the names inside of a zip."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

from estate.errors import EstateError
from estate.readers.limits import MAX_MEMBERS, MAX_UNPACK_RATIO, MAX_UNPACKED_BYTES, RATIO_COUNTS_FROM
from estate.readers.remedies import AGAIN, DIVIDE, TABLE_INSTEAD

ARCHIVE = "zip"

_SIGNATURES = (
    (b"%PDF", "a PDF document"),
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"GIF8", "a GIF picture"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ", "an xz archive"),
    (b"(\xb5/\xfd", "a Zstandard archive"),
    (b"7z\xbc\xaf", "a 7-zip archive"),
    (b"Rar!", "a RAR archive"),
    (b"\x7fELF", "a program"),
    (b"MZ\x90", "a program"),
    (b"PAR1", "a Parquet file"),
    (b"SQLite format 3", "an SQLite database"),
    (b"{\\rtf", "an RTF document"),
    (b"#!/", "a script"),
)
_SCRIPT = re.compile(r"\.(py|sh|bash|ps1|psm1|bat|cmd|js|vbs|rb|pl|php)$", re.IGNORECASE)
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_HTML = re.compile(r"<(?:!doctype\s+html|html|head|table|meta|style)\b", re.IGNORECASE)
_WORKBOOK = re.compile(r"xl/workbook\d*\.xml", re.IGNORECASE)
DAMAGED = (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, RuntimeError, EOFError, KeyError)
"""What the zip module raises for a damaged archive."""


def container(path: Path, name: str, head: bytes) -> str:
    """`text, json, xml, zip` or a workbook format (`xlsx, xlsm, xlsb, xls, ods`).

    Raises EstateError `format_not_supported, unreadable_file, too_large, not_a_table, empty_file,
    encrypted_workbook`.
    """
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _zip_container(path, name)
    if head.startswith(_OLE):
        return "xls"
    for signature, what in _SIGNATURES:
        if head.startswith(signature):
            raise EstateError(
                "format_not_supported",
                f"{name} is {what}, not a table; {TABLE_INSTEAD}.",
                file=name,
            )
    return _text_container(head, name)


def _text_container(head: bytes, name: str) -> str:
    from estate.readers.text import _encoding_of_mark, _encoding_of_zeros

    encoding = _encoding_of_mark(head) or _encoding_of_zeros(head, name) or "utf-8"
    text = (
        head[: len(head) // 4 * 4 or len(head)].decode(encoding, "replace").replace("\x00", "").lstrip("\ufeff \t\r\n")
    )
    if not text:
        if not head.strip(b"\x00"):
            raise EstateError("not_a_table", f"{name} holds binary data, not a table; {TABLE_INSTEAD}.", file=name)
        return "text"
    if text[0] == "<":
        return _markup(text, name)
    if text[0] == "{" or re.match(r"\[\s*(?:[\[{\]\"\-\d]|true\b|false\b|null\b)", text):
        return "json"
    if _SCRIPT.search(name):
        raise EstateError("format_not_supported", f"{name} is a script, not a table; {TABLE_INSTEAD}.", file=name)
    return "text"


def _markup(text: str, name: str) -> str:
    what = None
    if _HTML.match(_without_comments(text)):
        what = "an HTML page"
    elif "urn:schemas-microsoft-com:office:spreadsheet" in text[:8000]:
        what = "an Excel 2003 XML workbook"
    elif "office:document " in text[:8000] or "opendocument:xmlns:office" in text[:8000]:
        what = "a flat OpenDocument file"
    if what is not None:
        raise EstateError(
            "format_not_supported", f"{name} is {what}; save it as xlsx or csv and upload that.", file=name
        )
    return "xml"


def _without_comments(text: str) -> str:
    """The text from its first tag on that is no comment."""
    text = text[:8000].lstrip()
    while text.startswith("<!--") and "-->" in text:
        text = text.split("-->", 1)[1].lstrip()
    return text


def _zip_container(path: Path, name: str) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except DAMAGED as error:
        raise EstateError(
            "unreadable_file", f"{name} is a damaged zip or xlsx file ({error}); {AGAIN}.", file=name
        ) from error
    refuse_bomb(members, name)
    names = {member.filename.replace("\\", "/") for member in members}
    if any(_WORKBOOK.fullmatch(entry) for entry in names):
        return "xlsm" if any(entry.startswith("xl/vbaProject") for entry in names) else "xlsx"
    if "xl/workbook.bin" in names:
        return "xlsb"
    if "content.xml" in names:
        return _open_document(path, name)
    if any(entry.startswith(("word/", "ppt/")) for entry in names):
        raise EstateError(
            "format_not_supported", f"{name} is an Office document, not a workbook; {TABLE_INSTEAD}.", file=name
        )
    return ARCHIVE


def _open_document(path: Path, name: str) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            kind = archive.open("mimetype").read(200) if "mimetype" in archive.namelist() else b""
    except DAMAGED as error:
        raise EstateError("unreadable_file", f"{name} is a damaged file ({error}); {AGAIN}.", file=name) from error
    if kind and b"spreadsheet" not in kind:
        raise EstateError(
            "format_not_supported", f"{name} is an OpenDocument file without sheets; {TABLE_INSTEAD}.", file=name
        )
    return "ods"


def refuse_bomb(members: list[zipfile.ZipInfo], name: str) -> None:
    """Raise EstateError `too_large` for a zip that says itself that it would unpack to too much."""
    unpacked = sum(member.file_size for member in members)
    packed = sum(member.compress_size for member in members) or 1
    if len(members) > MAX_MEMBERS:
        raise EstateError(
            "too_large", f"{name} holds {len(members):,} files; at most {MAX_MEMBERS:,} are read; {DIVIDE}.", file=name
        )
    if unpacked > MAX_UNPACKED_BYTES or (unpacked > RATIO_COUNTS_FROM and unpacked / packed > MAX_UNPACK_RATIO):
        raise EstateError(
            "too_large",
            f"{name} would unpack to {unpacked:,} bytes from {packed:,}, which is refused; {DIVIDE}.",
            file=name,
        )
