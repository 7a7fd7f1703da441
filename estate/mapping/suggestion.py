"""What one column probably means, and which meanings hold."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from estate.tables import Cell
from estate.targets import RATE_TARGETS, SIZE_TARGETS

DOUBTFUL = "doubtful"
"""Number format or date order of a column that can be read in two ways: never applied, always asked."""
UNUSED = "unused"
"""Match type of a column that its export is known to have and discovery has no use for."""
MANUAL, LEARNED, NO_MATCH = "manual", "learned", "none"
CREW = "crew"
"""Match type of what agents say: taken where a person approves, never unasked."""


@dataclass(slots=True)
class Suggestion:
    """What one column probably means; `target_field` None = nothing known fits.

    `match_type` is `direct, inferred, value_shape, learned, crew, manual, none` or `unused`; `samples` are up to five of its
    cells, credentials and personal data masked; `alternatives` up to three `{target_field, confidence, reason}`;
    `conversion` says what is done to its values, None where they are kept.
    """

    source_file: str
    source_sheet: str | None
    source_field: str
    target_field: str | None
    confidence: float
    match_type: str
    samples: list[Cell]
    unit: str | None = None
    number_format: str | None = None
    reason: str = ""
    rank: int = 0
    kind: str = "table"
    alternatives: list[dict[str, Any]] = field(default_factory=list)
    date_order: str | None = None
    conversion: str | None = None
    required: bool = False
    """An asset of the table's kind should have it."""

    @property
    def place(self) -> tuple[str, str | None]:
        """The table it speaks of."""
        return self.source_file, self.source_sheet

    @property
    def doubtful(self) -> str | None:
        """What has to be said before the column can be read: `unit`, `number format`, `date order`; None = nothing."""
        if self.number_format == DOUBTFUL:
            return "number format"
        if self.date_order == DOUBTFUL:
            return "date order"
        if self.target_field in {*SIZE_TARGETS, *RATE_TARGETS, "bytes"} and self.unit is None:
            return "unit"
        return "unit" if self.unit == DOUBTFUL else None

    def as_dict(self) -> dict[str, Any]:
        """The suggestion as JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Missing:
    """A table in which a wanted target has no column."""

    file: str
    sheet: str | None
    field: str
    message: str


@dataclass(frozen=True, slots=True)
class Refused:
    """A given mapping that cannot be: `field` is the source as the caller wrote it."""

    field: str
    message: str


@dataclass(slots=True)
class Decision:
    """The mappings that hold, and what stands in the way."""

    mappings: list[Suggestion]
    missing: list[Missing]
    """Without these the tables cannot be used: the caller is asked."""
    refused: list[Refused]
    left_out: list[Suggestion]
    """Columns that were not taken for what they may be, or that the caller left out."""
    not_understood: list[tuple[str, str | None]]
    incomplete: list[Missing] = field(default_factory=list)
    """Targets assets of the table's kind should have and no column tells; information only."""
