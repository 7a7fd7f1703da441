"""A table on its way from raw to clean: which columns are used for what, and their values once cleansed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from estate.bulk import bulk
from estate.tables import Codes, pack, pack_codes, place_of, unpack, unpack_codes


@dataclass(frozen=True, slots=True)
class Use:
    """What one column of a raw table is used for."""

    field: str
    target: str
    unit: str | None = None
    number_format: str | None = None
    date_order: str | None = None
    """`ymd, dmy, mdy` where the column holds dates written with numbers."""
    rank: int = 0
    """Of several columns for one target of a table: the lowest says it first."""
    confidence: float = 1.0
    why: str = ""


@dataclass(slots=True)
class CleanColumn:
    """One used column after cleansing: `values[codes[i]]` is what row i knows, None = unknown.

    The values by target: texts; numbers for sizes (GiB), counts and percentages; booleans; lists of texts for
    addresses (`source_ip` and `target_ip` too) and other lists; for `operating_system` a map `{operating_system,
    os_version, os_family, os_edition, os_bits, os_generic}`, with `os_service_pack` and `os_hint` (what else the name
    lets one guess) where they are known; dates and times as ISO 8601 text with zone where it is known.
    """

    use: Use
    values: list[Any]
    codes: Codes

    @property
    def target(self) -> str:
        """What the column tells."""
        return self.use.target

    def __getitem__(self, row: int) -> Any:
        return self.values[self.codes[row]]

    def __iter__(self) -> Iterator[Any]:
        values = self.values
        return (values[code] for code in self.codes)


@dataclass(slots=True)
class CleanTable:
    """A table after cleansing: the rows that were kept, by the numbers they have in their file."""

    file: str
    sheet: str | None
    kind: str
    role: str
    numbers: Codes
    facts: list[CleanColumn]
    """Columns with a meaning, in the order of the file; several may have one target."""
    attributes: list[CleanColumn] = field(default_factory=list)
    """Columns kept under their own name (`use.field`), target `custom_attributes`."""

    def __len__(self) -> int:
        return len(self.numbers)

    def of(self, *targets: str) -> list[CleanColumn]:
        """The columns of these targets: in the order of the targets, then by rank."""
        return [
            column
            for target in targets
            for column in sorted((c for c in self.facts if c.target == target), key=lambda c: c.use.rank)
        ]

    def first(self, target: str, row: int) -> Any:
        """What row `row` (place from 0) knows of a target: its best column that is not unknown, else None."""
        for column in self.of(target):
            value = column[row]
            if value is not None:
                return value
        return None

    @property
    def place(self) -> str:
        """The table's name in a sentence."""
        return place_of(self.file, self.sheet)

    @bulk
    def dump(self) -> bytes:
        """As bytes: MessagePack under Zstandard."""
        return pack(
            [
                {"file": self.file, "sheet": self.sheet, "kind": self.kind, "role": self.role},
                pack_codes(self.numbers),
                [_packed(column) for column in self.facts],
                [_packed(column) for column in self.attributes],
            ]
        )

    @classmethod
    @bulk
    def load(cls, data: bytes) -> CleanTable:
        """The inverse of `dump`."""
        header, numbers, facts, attributes = unpack(data)
        return cls(
            numbers=unpack_codes(numbers),
            facts=[_unpacked(column) for column in facts],
            attributes=[_unpacked(column) for column in attributes],
            **header,
        )


def _packed(column: CleanColumn) -> list[Any]:
    return [asdict(column.use), column.values, pack_codes(column.codes, len(column.values))]


def _unpacked(packed: list[Any]) -> CleanColumn:
    use, values, codes = packed
    return CleanColumn(Use(**use), values, unpack_codes(codes))
