"""Which column means what: suggestions with confidence, unit and reason, and the decision which of them hold."""

from __future__ import annotations

from estate.mapping.decide import Given, check, columns_of, decide, uses, why_doubtful
from estate.mapping.learned import Learned
from estate.mapping.suggest import suggest
from estate.mapping.suggestion import DOUBTFUL, UNUSED, Decision, Missing, Refused, Suggestion
from estate.mapping.units import conversion

__all__ = [
    "DOUBTFUL", "UNUSED", "Decision", "Given", "Learned", "Missing", "Refused", "Suggestion", "check", "columns_of",
    "conversion", "decide", "suggest", "uses", "why_doubtful",
]  # fmt: skip
