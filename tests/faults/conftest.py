"""One stand for all faults that leave it whole."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mfo.embedded import KafkaJars
from tests.faults.stand import Stand, stand


@pytest.fixture(scope="package")
def whole_stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    can, reason = KafkaJars.available()
    if not can:
        pytest.skip(f"needs a real Kafka that may be broken: {reason}")
    with stand(tmp_path_factory.mktemp("faults")) as made:
        yield made


@pytest.fixture
async def services(whole_stand: Stand) -> Stand:
    """The stand, ready; a test leaves it so."""
    await whole_stand.ready()
    return whole_stand
