"""One `mfo dev` for all tests of the command line that only talk to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cli.support import Dev, dev
from tests.spans import Receiver, receiver

# webhooks may go to this machine
SETTINGS = {"MFO_WEBHOOK_HOSTS": "127.0.0.1", "MFO_WEBHOOK_NETWORKS": "127.0.0.0/8", "MFO_WEBHOOK_ALLOW_HTTP": "true"}


@pytest.fixture(scope="package")
def spans() -> Iterator[Receiver]:
    """What the services of `running_dev` tell of their traces."""
    with receiver() as kept:
        yield kept


@pytest.fixture(scope="package")
def running_dev(tmp_path_factory: pytest.TempPathFactory, spans: Receiver) -> Iterator[Dev]:
    """A `mfo dev` that is ready."""
    traced = {"MFO_OTLP_ENDPOINT": spans.url, "OTEL_BSP_SCHEDULE_DELAY": "100"}
    with dev(tmp_path_factory.mktemp("cli") / "dev", settings=SETTINGS | traced) as running:
        yield running


@pytest.fixture(scope="package")
def environment(running_dev: Dev) -> dict[str, str]:
    """The variables that lead to it."""
    return running_dev.environment
