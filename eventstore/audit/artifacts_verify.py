"""Whether what events name by its SHA-256 is there, and is what it was: artifacts read part by part."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from uuid import UUID

from eventstore.audit.verify import Artifact, Named, Trouble, Verdict
from eventstore.database import Connection

SIZE = "select size_bytes from artifacts where (client_account_id, sha256) = (%s, %s)"
PARTS = "select n, data from artifact_parts where (client_account_id, sha256) = (%s, %s) order by n"
# of 1 MiB each
PARTS_AT_ONCE = 4


async def artifacts(connection: Connection, named: Mapping[Artifact, Named]) -> Verdict:
    """Every artifact that was found to be named, read once; at most 4 MiB are held at a time."""
    verdict = Verdict()
    for (owner, sha256), where in named.items():
        verdict.artifacts += 1
        found = await _looked_at(connection, owner, sha256)
        if found is not None:
            code, what = found
            message = f"artifact {sha256}, which flow {where.flow_id}, version {where.version} names: {what}"
            verdict.troubles.append(
                Trouble(
                    code=code,
                    message=message,
                    client_account_id=owner,
                    flow_id=where.flow_id,
                    version=where.version,
                )
            )
    return verdict


async def _looked_at(connection: Connection, account: UUID, sha256: str) -> tuple[str, str] | None:
    """What is wrong with an artifact, as code and words."""
    key = (account, bytes.fromhex(sha256))
    row = await (await connection.execute(SIZE, key)).fetchone()
    if row is None:
        return "artifact_missing", "it is not there"
    hasher, size, following = hashlib.sha256(), 0, 0
    async with connection.transaction(), connection.cursor("parts", binary=True) as cursor:
        cursor.itersize = PARTS_AT_ONCE
        await cursor.execute(PARTS, key)
        async for n, data in cursor:
            if n != following:
                return "artifact_missing", f"its part {following} is not there"
            hasher.update(data)
            size, following = size + len(data), n + 1
    if size < row[0]:
        return "artifact_missing", f"{size} of {row[0]} bytes are there"
    if hasher.hexdigest() != sha256:
        return "artifact_changed", "its bytes are not those that it was kept with"
    return None
