"""What holds an estate back: systems and software out of support, unsupported combinations, wrong sizes; with severity,
evidence, remedy and a score."""

from estate.debt.assessment import Debt, assess
from estate.debt.combinations import combinations, unsupported
from estate.debt.findings import POINTS
from estate.debt.summary import FORMULA
from estate.debt.support import Support, candidates, find_support, successors, support_table, verdict

__all__ = [
    "FORMULA",
    "POINTS",
    "Debt",
    "Support",
    "assess",
    "candidates",
    "combinations",
    "find_support",
    "successors",
    "support_table",
    "unsupported",
    "verdict",
]
