"""What the doctor finds, as a figure for each code."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import Gauge

from eventstore.doctor.findings import CODES, Finding

FINDINGS = Gauge("mfo_doctor_findings", "Subjects of each finding of the quick checks; 0 where all is well", ["code"])


def shown(findings: Iterable[Finding]) -> None:
    """Set every code's figure."""
    found = {finding.code: finding.count for finding in findings}
    for code in CODES:
        FINDINGS.labels(code).set(found.get(code, 0))
