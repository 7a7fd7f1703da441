"""Large outputs and uploaded files: immutable bytes, kept once per client account under their SHA-256, in 1 MiB rows."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any
from uuid import UUID

import msgspec
from psycopg_pool import AsyncConnectionPool

from domain.errors import ArtifactNotFound, BodyTooLarge
from domain.words import SPILLED
from eventstore.database import Connection
from eventstore.keys import Keyring, is_suspicious

PART_BYTES = 1 << 20
SPILL_ABOVE = 96 * 1024
SPILL_AT_LEAST = 512


class ArtifactStore:
    """The artifact store of all tenants; every call names the client account whose bytes it means."""

    def __init__(self, pool: AsyncConnectionPool[Connection]) -> None:
        self._pool = pool

    async def put(self, client_account_id: UUID, data: bytes, media_type: str = "application/json") -> dict[str, Any]:
        """Keep `data`; answers the reference `{artifact, size_bytes, media_type}` that goes into outputs."""
        digest = hashlib.sha256(data).digest()
        parts = (data[n : n + PART_BYTES] for n in range(0, len(data), PART_BYTES))
        async with self._pool.connection() as connection, connection.transaction():
            await keep_parts(connection, client_account_id, digest, parts, size=len(data), media_type=media_type)
        return {"artifact": digest.hex(), "size_bytes": len(data), "media_type": media_type}

    async def put_file(
        self, client_account_id: UUID, path: Path, media_type: str = "application/octet-stream"
    ) -> dict[str, Any]:
        """Keep a file, of which at most 1 MiB is in memory at a time; answers the reference as `put` does.

        The file must not change meanwhile. Raises OSError where it cannot be read.
        """
        hasher, size = hashlib.sha256(), 0
        with path.open("rb") as file:
            for part in parts_of(file):
                hasher.update(part)
                size += len(part)
            file.seek(0)
            async with self._pool.connection() as connection, connection.transaction():
                await keep_parts(
                    connection, client_account_id, hasher.digest(), parts_of(file), size=size, media_type=media_type
                )
        return {"artifact": hasher.hexdigest(), "size_bytes": size, "media_type": media_type}

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

    async def fetch(self, client_account_id: UUID, sha256: str, path: Path) -> None:
        """Write the bytes to the file `path`, checked against their hash; raises ArtifactNotFound."""
        hasher = hashlib.sha256()
        with path.open("wb") as file:
            async for part in self.read(client_account_id, sha256):
                hasher.update(part)
                file.write(part)
        if hasher.hexdigest() != sha256:
            raise ArtifactNotFound(f"artifact {sha256} no longer has the bytes it was kept with")

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


async def as_kept(
    keyring: Keyring, artifacts: ArtifactStore, client_account_id: UUID, value: dict[str, Any]
) -> dict[str, Any]:
    """`value` as an event may hold it: sealed first, so that nothing sensitive is moved aside in clear; `value` itself where
    nothing in it is sensitive or large."""
    written = msgspec.json.encode(value)
    if len(written) <= SPILL_ABOVE and not is_suspicious(written):
        return value
    sealed, _ = await keyring.seal(client_account_id, value)
    return await artifacts.spill(client_account_id, sealed)


def parts_of(file: IO[bytes]) -> Iterator[bytes]:
    """The rest of a file in parts of at most 1 MiB."""
    while part := file.read(PART_BYTES):
        yield part


async def keep_parts(
    connection: Connection,
    client_account_id: UUID,
    digest: bytes,
    parts: Iterable[bytes],
    *,
    size: int,
    media_type: str,
) -> None:
    """Keep bytes under their SHA-256 in the caller's transaction, unless the client account has them already, whole.

    `parts` has at most 1 MiB each, `size` bytes in all; nothing of it is asked for where it is not needed.
    """
    cursor = await connection.execute(
        "insert into artifacts (client_account_id, sha256, size_bytes, media_type, created_at)"
        " values (%s, %s, %s, %s, mfo_now()) on conflict do nothing",
        (client_account_id, digest, size, media_type),
    )
    if not cursor.rowcount:
        cursor = await connection.execute(
            "select count(*) from artifact_parts where client_account_id = %s and sha256 = %s",
            (client_account_id, digest),
        )
        [kept] = await cursor.fetchone() or (0,)
        if kept >= -(-size // PART_BYTES):
            return
    for n, part in enumerate(parts):
        await connection.execute(
            "insert into artifact_parts (client_account_id, sha256, n, data) values (%s, %s, %s, %b)"
            # one that has lost a part gets it back
            " on conflict do nothing",
            (client_account_id, digest, n, part),
        )


def _digest(sha256: str) -> bytes:
    try:
        digest = bytes.fromhex(sha256)
    except ValueError:
        digest = b""
    if len(digest) != 32:
        raise ArtifactNotFound(f"{sha256!r} is no SHA-256")
    return digest
