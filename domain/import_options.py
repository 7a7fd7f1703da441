"""How a caller wants a file read: the shape of `import_options`. Whether they fit the file is known once it is read."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, WithJsonSchema

from domain.errors import FieldError, ImportOptionsInvalid

MAX_BYTES = 20_000
"""Of the options of one file, as JSON."""

MAX_HEADER_ROWS = 5


def _header_row(value: Any) -> Any:
    if value is None:
        return None
    rows = value if isinstance(value, list) else [value]
    least = 1 if isinstance(value, list) else 0
    numbers = [row for row in rows if isinstance(row, int) and not isinstance(row, bool) and row >= least]
    if not rows or len(numbers) < len(rows) or len(rows) > MAX_HEADER_ROWS:
        raise ValueError(
            f"must be the number of a row, a list of 1 to {MAX_HEADER_ROWS} such numbers, or 0 for no header"
        )
    return value


def _without_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not hold NUL characters")
    return text


_NUMBER = {"type": "integer", "minimum": 0}
_NUMBERS = {"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 1, "maxItems": MAX_HEADER_ROWS}
HeaderRow = Annotated[
    Any, AfterValidator(_header_row), WithJsonSchema({"anyOf": [_NUMBER, _NUMBERS, {"type": "null"}]})
]
Name = Annotated[str, Field(min_length=1, max_length=255), AfterValidator(_without_nul)]
Row = Annotated[int, Field(ge=1)]
Names = Annotated[list[Name], Field(max_length=1000)]


class TableOptions(BaseModel):
    """How one table of a file is read; what is left out is as for the file, or detected."""

    model_config = ConfigDict(extra="forbid", strict=True, defer_build=True)

    header_row: HeaderRow = Field(
        default=None, description="Row of the header, as a spreadsheet counts; several: stacked; 0: there is none."
    )
    first_row: Row | None = Field(default=None, description="First row of the data.")
    last_row: Row | None = Field(default=None, description="Last row of the data.")
    decimal: Literal[",", "."] | None = None
    thousands: Literal[",", ".", " ", "'"] | None = None
    date_order: Literal["dmy", "mdy", "ymd"] | None = None
    kind: Name | None = Field(default=None, description="Which export it is, such as rvtools.vinfo.")
    role: Name | None = Field(
        default=None, description="What its rows speak of: machines, applications, connections, ..."
    )
    units: dict[Name, Name] | None = Field(default=None, description="Unit by column, such as MiB.")


class ImportOptions(BaseModel):
    """How a file is read; what is left out is detected."""

    model_config = ConfigDict(extra="forbid", strict=True, defer_build=True)

    encoding: Name | None = Field(default=None, description="Such as utf-8, utf-16 or windows-1252.")
    delimiter: Annotated[str, Field(min_length=1, max_length=3), AfterValidator(_without_nul)] | None = Field(
        default=None, description="One character, or `tab`."
    )
    decimal: Literal[",", "."] | None = None
    thousands: Literal[",", ".", " ", "'"] | None = None
    date_order: Literal["dmy", "mdy", "ymd"] | None = None
    header_row: HeaderRow = Field(
        default=None, description="Row of the header, as a spreadsheet counts; several: stacked; 0: there is none."
    )
    first_row: Row | None = Field(default=None, description="First row of the data.")
    last_row: Row | None = Field(default=None, description="Last row of the data.")
    sheets: Names | None = Field(default=None, description="Sheets to read; the others are left out.")
    skip_sheets: Names | None = Field(default=None, description="Sheets to leave out.")
    tables: dict[Name, TableOptions] | None = Field(default=None, description="By the name of a sheet or table.")
    record_path: Name | None = Field(default=None, description="Dotted path to the records of JSON or XML.")
    kind: Name | None = Field(default=None, description="Which export it is, such as rvtools.")


def checked(value: Any) -> dict[str, Any]:
    """The options as they are kept, without what is left out; raises ImportOptionsInvalid naming each wrong member."""
    try:
        options = ImportOptions.model_validate(value)
    except ValidationError as invalid:
        errors = [
            FieldError(".".join(("import_options", *map(str, error["loc"]))), _plain(error["type"], error["msg"]))
            for error in invalid.errors(include_url=False, include_input=False, include_context=False)[:50]
        ]
        told = "; ".join(f"{error.field}: {error.message}" for error in errors[:3])
        raise ImportOptionsInvalid(told, errors=errors) from None
    return options.model_dump(exclude_none=True)


def _plain(kind: str, message: str) -> str:
    if kind in ("model_type", "dict_type"):
        return "must be a JSON object"
    return "unknown member" if kind == "extra_forbidden" else message.removeprefix("Value error, ")
