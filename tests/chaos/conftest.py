"""One short run of chaos for the whole package: it is judged itself, and its record is what the checker is tried on."""

from __future__ import annotations

import pytest

from mfo.embedded import KafkaJars
from tests.chaos.record import Record
from tests.chaos.report import Report
from tests.chaos.run import Options, run

SHORT = Options(seed=7, flows=70, seconds=50.0, every=2.9, calm_seconds=150.0)
"""About a minute, every kind of fault once."""


@pytest.fixture(scope="package")
def chaos(tmp_path_factory: pytest.TempPathFactory) -> tuple[Report, Record]:
    """The report and the record of the short run."""
    can, reason = KafkaJars.available()
    if not can:
        pytest.skip(f"needs a real Kafka, which is crashed: {reason}")
    return run(SHORT, tmp_path_factory.mktemp("chaos"))


@pytest.fixture(scope="package")
def report(chaos: tuple[Report, Record]) -> Report:
    """Its report."""
    return chaos[0]


@pytest.fixture(scope="package")
def record(chaos: tuple[Report, Record]) -> Record:
    """Its record; whoever changes it takes a copy."""
    return chaos[1]
