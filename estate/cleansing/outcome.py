"""What cleaning one cell gives, and how a cell is put into a sentence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from estate.tables import Cell

Outcome = tuple[Any, str | None, str | None]
"""The clean value (None = unknown), the rule that changed it, and what is doubtful about it."""
Cleaner = Callable[[Cell], Outcome]

NOTHING: Outcome = (None, "placeholder_to_null", None)


def quoted(cell: Any) -> str:
    """A cell in a sentence, cut to 60 characters."""
    text = str(cell)
    return repr(text if len(text) <= 60 else f"{text[:57]}...")
