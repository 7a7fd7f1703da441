"""One `mfo dev` for all flows that need nothing but a running service."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cli.support import dev


@pytest.fixture(scope="package")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The variables that lead to it."""
    with dev(tmp_path_factory.mktemp("e2e") / "dev") as running:
        yield running.environment
