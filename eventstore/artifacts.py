"""Large outputs and uploaded files: immutable bytes, kept once per client account under their SHA-256, in 1 MiB rows."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Mapping
from typing import Any
from uuid import UUID

import msgspec
from psycopg_pool import AsyncConnectionPool

from domain.errors import ArtifactNotFound, BodyTooLarge
from eventstore.database import Connection

PART_BYTES = 1 << 20
SPILL_ABOVE = 96 * 1024
SPILL_AT_LEAST = 512
SPILLED = "$artifact"


class ArtifactStore:
    """The artifact store of all tenants; every call names the client account whose bytes it means."""

    def __init__(self, pool: AsyncConnectionPool[Connection]) -> None:
        self._pool = pool

    async def put(self, client_account_id: UUID, data: bytes, media_type: str = "application/json") -> dict[str, Any]:
        """Keep `data`; answers the reference `{artifact, size_bytes, media_type}` that goes into outputs."""
        digest = hashlib.sha256(data).digest()
        async with self._pool.connection() as connection, connection.transaction():
            cursor = await connection.execute(
                "insert into artifacts (client_account_id, sha256, size_bytes, media_type, created_at)"
                " values (%s, %s, %s, %s, mfo_now()) on conflict do nothing",
                (client_account_id, digest, len(data), media_type),
            )
            if cursor.rowcount:
                for n in range(0, max(len(data), 1), PART_BYTES):
                    await connection.execute(
                        "insert into artifact_parts (client_account_id, sha256, n, data) values (%s, %s, %s, %b)",
                        (client_account_id, digest, n // PART_BYTES, data[n : n + PART_BYTES]),
                    )
        return {"artifact": digest.hex(), "size_bytes": len(data), "media_type": media_type}

    async def size(self, client_account_id: UUID, sha256: str) -> int:
        """Bytes of an artifact; raises ArtifactNotFound."""
        async with self._pool.connection() as connection:
            cursor = await connection.execute(
                "select size_bytes from artifacts where client_account_id = %s and sha256 = %s",
                (client_account_id, _digest(sha256)),
            )
            row = await cursor.fetchone()
        if row is None:
            raise ArtifactNotFound(f"there is no artifact {sha256}")
        return int(row[0])

    async def read(self, client_account_id: UUID, sha256: str) -> AsyncIterator[bytes]:
        """The bytes in parts of at most 1 MiB; raises ArtifactNotFound."""
        size, digest, seen, n = await self.size(client_account_id, sha256), _digest(sha256), 0, 0
        while seen < size:
            async with self._pool.connection() as connection:
                cursor = await connection.execute(
                    "select data from artifact_parts where client_account_id = %s and sha256 = %s and n = %s",
                    (client_account_id, digest, n),
                    binary=True,
                )
                row = await cursor.fetchone()
            if row is None:
                raise ArtifactNotFound(f"artifact {sha256} has lost its part {n}")
            seen, n = seen + len(row[0]), n + 1
            yield row[0]

    async def get(self, client_account_id: UUID, sha256: str) -> bytes:
        """All of the bytes, checked against their hash; raises ArtifactNotFound."""
        data = b"".join([part async for part in self.read(client_account_id, sha256)])
        if hashlib.sha256(data).hexdigest() != sha256:
            raise ArtifactNotFound(f"artifact {sha256} no longer has the bytes it was kept with")
        return data

    async def spill(self, client_account_id: UUID, value: dict[str, Any]) -> dict[str, Any]:
        """`value` small enough for an event: its largest members moved to artifacts until it is under 96 KiB.

        A moved member is `{"$artifact": <sha256>, "size_bytes": n}`. Raises BodyTooLarge when it has too many small ones.
        """
        sizes = {name: len(msgspec.json.encode(inner)) + len(name) + 4 for name, inner in value.items()}
        total = sum(sizes.values())
        if total <= SPILL_ABOVE:
            return value
        small = dict(value)
        for name in sorted(sizes, key=lambda name: -sizes[name]):
            if total <= SPILL_ABOVE:
                break
            if sizes[name] < SPILL_AT_LEAST:
                raise BodyTooLarge("too many small values for one event; put them into one list or object")
            ref = await self.put(client_account_id, msgspec.json.encode(value[name]))
            small[name] = {SPILLED: ref["artifact"], "size_bytes": ref["size_bytes"]}
            total += 100 - sizes[name]
        return small

    async def unspill(self, client_account_id: UUID, value: Mapping[str, Any]) -> dict[str, Any]:
        """`value` with every moved member in its place again; raises ArtifactNotFound."""
        whole: dict[str, Any] = {}
        for name, inner in value.items():
            moved = isinstance(inner, dict) and SPILLED in inner
            whole[name] = (
                msgspec.json.decode(await self.get(client_account_id, str(inner[SPILLED]))) if moved else inner
            )
        return whole


def _digest(sha256: str) -> bytes:
    try:
        digest = bytes.fromhex(sha256)
    except ValueError:
        digest = b""
    if len(digest) != 32:
        raise ArtifactNotFound(f"{sha256!r} is no SHA-256")
    return digest
