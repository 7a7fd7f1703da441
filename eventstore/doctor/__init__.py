"""What is stuck, lagging, set aside or inconsistent: found by reading the tables, each with its cause and its cure.

`examine` looks at what is due and who is silent, by indexes, and may be asked every half minute; `examine_deeply` reads
the whole history. What can be mended is mended by commands (`eventstore/doctor/repair.py`), so that it is in the history.
"""

from __future__ import annotations

from eventstore.doctor.checks import examine
from eventstore.doctor.deep import examine_deeply
from eventstore.doctor.findings import CODES, Finding, Severity

__all__ = ["CODES", "Finding", "Severity", "examine", "examine_deeply"]
