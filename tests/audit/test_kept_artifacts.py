"""What events name by its SHA-256 is looked for, and held against it."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest

from eventstore.audit.artifacts_verify import artifacts
from eventstore.audit.verify import Artifact, Named, Verdict, histories
from tests.audit.archive import Archive

MIB = 1 << 20


@pytest.fixture
async def flow(archive: Archive) -> UUID:
    """One whose outputs name an artifact of two parts, twice, and have a value that was moved to another."""
    house = archive.house
    ref = await house.side.artifacts.put(house.tenant.client_account_id, b"a" * MIB + b"the rest", "text/plain")
    made = await house.begin()
    outputs: dict[str, Any] = {"table": ref, "again": [{"table": ref}], "large": "x" * 200_000}
    assert (await house.complete(made.id, outputs)).error is None
    return made.id


async def looked(archive: Archive, account: UUID | None = None) -> Verdict:
    async with archive.house.side.pool.connection() as connection:
        named: dict[Artifact, Named] = {}
        await histories(connection, account=account, named=named)
        return await artifacts(connection, named)


async def test_artifacts_that_are_what_they_were_are_counted(archive: Archive, flow: UUID) -> None:
    assert (await looked(archive)).artifacts == 2
    assert (await looked(archive)).holds
    assert (await looked(archive, uuid4())).artifacts == 0


@pytest.mark.parametrize(
    ("harm", "code", "words"),
    [
        ("update artifact_parts set data = 'x' || substr(data, 2) where n = 1", "artifact_changed", "its bytes"),
        ("delete from artifact_parts where n = 1", "artifact_missing", "1048576 of 1048584 bytes"),
        (
            "delete from artifact_parts a using artifact_parts b where a.n = 0 and b.sha256 = a.sha256 and b.n = 1",
            "artifact_missing",
            "its part 0",
        ),
        ("delete from artifacts where size_bytes > 1048576", "artifact_missing", "it is not there"),
    ],
)
async def test_each_way_to_harm_an_artifact_is_found_and_named(
    archive: Archive, flow: UUID, harm: str, code: str, words: str
) -> None:
    await archive.do(harm)
    [trouble] = (await looked(archive)).troubles
    assert (trouble.code, trouble.flow_id, trouble.version) == (code, flow, 3)
    assert words in trouble.message
    # history itself holds
    assert await archive.codes() == set()
