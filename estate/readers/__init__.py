"""How a file becomes tables: content decides what it is, and whatever cannot be read is named."""

from __future__ import annotations

from pathlib import Path

from estate.bulk import bulk
from estate.errors import EstateError
from estate.lexicon import header_key
from estate.options import NOTHING, ImportOptions
from estate.readers.containers import ARCHIVE, container
from estate.readers.notation import unseen
from estate.readers.remedies import AGAIN
from estate.tables import Table, Warned, Workbook

__all__ = ["check_readable", "read"]

_EXTENSIONS = {
    "csv": {"csv", "tsv", "txt", "psv", "tab", "dat", ""},
    "tsv": {"csv", "tsv", "txt", "psv", "tab", "dat", ""},
    "json": {"json"},
    "ndjson": {"ndjson", "jsonl", "json", "log"},
    "xlsx": {"xlsx", "xlsm", "xltx", "xltm"},
    "xlsm": {"xlsx", "xlsm", "xltx", "xltm"},
}


@bulk
def read(path: Path, filename: str | None = None, options: ImportOptions | None = None) -> Workbook:
    """Read a file into tables; `filename` is what the user calls it (default: the path's name).

    Raises EstateError with one of the codes `empty_file, unreadable_file, not_a_table, format_not_supported,
    encrypted_workbook, too_large, too_deep, cell_too_large, unterminated_quote, mixed_delimiters, no_header_row,
    unsafe_xml`. A file with a header and no rows is read (its table has no rows).
    The files of a zip are tables of one workbook, each with `file` "<zip name>/<name in the zip>".
    """
    name = filename or path.name
    told = options or NOTHING
    found = container(path, name, path_head(path, name))
    if found == ARCHIVE:
        from estate.readers.archive import read_archive

        book = read_archive(path, name, told, read_one)
    else:
        book = read_one(path, name, told, found)
    if told.tables:
        _refuse_unknown(book, told)
    return book


def _refuse_unknown(book: Workbook, options: ImportOptions) -> None:
    """Raise EstateError `import_options_invalid` where the options name a table or a column that the file does not have."""
    named: dict[str, list[Table]] = {}
    for table in book.tables:
        sheet = table.sheet or ""
        for name in {sheet, sheet.split(" (rows ")[0], table.file, table.file.rsplit("/", 1)[-1]}:
            named.setdefault(name, []).append(table)
    for name, told in options.tables.items():
        if name not in named:
            known = ", ".join(dict.fromkeys(table.sheet or table.file for table in book.tables))
            detail = f"import_options.tables names {name!r}, which {book.file} does not have; its tables are {known}."
            raise EstateError("import_options_invalid", detail, file=book.file)
        columns = {header_key(column) for table in named[name] for column in table.names}
        for column in told.units:
            if header_key(column) not in columns:
                detail = f"import_options.tables.{name}.units names the column {column!r}, which {name} does not have."
                raise EstateError("import_options_invalid", detail, file=book.file, sheet=name, column=column)


def read_one(path: Path, name: str, options: ImportOptions, found: str) -> Workbook:
    """One file that is not a zip of files, known to be of container `found`."""
    match found:
        case "text":
            from estate.readers.text import look_through, read_text

            book = read_text(look_through(path, name, options.encoding), options)
        case "json":
            from estate.readers.json_ import read_json

            book = read_json(path, name, options)
        case "xml":
            from estate.readers.xml_ import read_xml

            book = read_xml(path, name, options)
        case "xlsx" | "xlsm":
            from estate.readers.ooxml import read_ooxml

            book = read_ooxml(path, name, options, found)
        case "ods":
            from estate.readers.ods import read_ods

            book = read_ods(path, name, options)
        case _:
            from estate.readers.binary import read_binary

            book = read_binary(path, name, options, found)
    taken: set[str | None] = set()
    for table in book.tables:
        while table.sheet in taken:
            table.sheet = f"{table.sheet or 'table'} (2)"
        taken.add(table.sheet)
        book.warnings.extend(unseen(table))
    _tell_extension(book, name)
    return book


def _tell_extension(book: Workbook, name: str) -> None:
    extension = Path(name).suffix.lower().lstrip(".")
    if extension not in _EXTENSIONS.get(book.format, {book.format}):
        told = f"{name} is called .{extension}, its content is {book.format}; read as that."
        book.warnings.append(Warned("extension_mismatch", told))


def path_head(path: Path, name: str, size: int = 65_536) -> bytes:
    """The first bytes of a file. Raises EstateError `unreadable_file, empty_file`."""
    try:
        with path.open("rb") as stream:
            head = stream.read(size)
    except OSError as error:
        raise EstateError(
            "unreadable_file", f"{name} cannot be opened ({error.strerror}); upload it again.", file=name
        ) from error
    if not head:
        raise EstateError("empty_file", f"{name} is empty (0 bytes); {AGAIN}.", file=name)
    return head


def check_readable(path: Path, filename: str) -> str:
    """Look at the first bytes only: the container format (`text, json, xml, zip, xlsx, ...`) `read` would start from.

    Raises EstateError `empty_file, unreadable_file, not_a_table, format_not_supported, too_large` where `read` is
    bound to.
    """
    return container(path, filename, path_head(path, filename))
