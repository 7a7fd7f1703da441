"""Uploaded files: kept by content hash, described by a reader in a process of its own."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID, uuid5

from psycopg.types.json import Jsonb
from psycopg_pool import AsyncConnectionPool

from domain.commands import Tenant
from domain.errors import ArtifactNotFound, ImportNotFound, UploadTooLarge
from eventstore.artifacts import PART_BYTES, ArtifactStore
from eventstore.database import Connection

COLUMNS = "id, client_account_id, engagement_id, filename, import_type, sha256, size_bytes, state, summary, created_by, created_at"
MAX_TRIES = 3


class Import(NamedTuple):
    """One upload. `summary` is what a reader found in it (`format, sheets[], rows, preview`), or the error."""

    id: UUID
    client_account_id: UUID
    engagement_id: UUID
    filename: str
    import_type: str | None
    sha256: bytes
    size_bytes: int
    state: str
    summary: dict[str, Any] | None
    created_by: str
    created_at: datetime


class ImportStore:
    """Uploads of all tenants; every call but those of the reader names the tenant."""

    def __init__(self, pool: AsyncConnectionPool[Connection], artifacts: ArtifactStore) -> None:
        self._pool = pool
        self._artifacts = artifacts

    async def add(
        self,
        tenant: Tenant,
        filename: str,
        chunks: AsyncIterator[bytes],
        *,
        max_bytes: int,
        import_type: str | None = None,
    ) -> tuple[Import, bool]:
        """Keep an upload as it streams in; answers it, and whether it is new to the tenant.

        Raises UploadTooLarge above `max_bytes`; nothing of it is kept then.
        """
        hasher, size = hashlib.sha256(), 0
        with tempfile.TemporaryFile(prefix="mfo-upload-") as spool:
            async for chunk in chunks:
                size += len(chunk)
                if size > max_bytes:
                    raise UploadTooLarge(
                        f"the file is larger than {max_bytes} bytes; split it, or raise MFO_MAX_UPLOAD_BYTES"
                    )
                hasher.update(chunk)
                spool.write(chunk)
            digest = hasher.digest()
            spool.seek(0)
            async with self._pool.connection() as connection, connection.transaction():
                cursor = await connection.execute(
                    "insert into artifacts (client_account_id, sha256, size_bytes, media_type, created_at)"
                    " values (%s, %s, %s, 'application/octet-stream', mfo_now()) on conflict do nothing",
                    (tenant.client_account_id, digest, size),
                )
                if cursor.rowcount:
                    n = 0
                    while True:
                        part = spool.read(PART_BYTES)
                        if not part and n:
                            break
                        await connection.execute(
                            "insert into artifact_parts (client_account_id, sha256, n, data) values (%s, %s, %s, %b)",
                            (tenant.client_account_id, digest, n, part),
                        )
                        n += 1
                        if not part:
                            break
                import_id = uuid5(tenant.client_account_id, f"import:{tenant.engagement_id}:{digest.hex()}")
                cursor = await connection.execute(
                    "insert into imports (id, client_account_id, engagement_id, filename, import_type, sha256, size_bytes,"
                    " created_by, created_at) values (%s, %s, %s, %s, %s, %s, %s, %s, mfo_now()) on conflict do nothing",
                    (
                        *(import_id, tenant.client_account_id, tenant.engagement_id, filename, import_type),
                        *(digest, size, tenant.user_id),
                    ),
                )
                is_new = bool(cursor.rowcount)
                await connection.execute("select pg_notify('mfo_imports', current_schema())")
        return await self.get(tenant, str(import_id)), is_new

    async def get(self, tenant: Tenant, import_id: str) -> Import:
        """One upload of the tenant; raises ImportNotFound."""
        try:
            wanted = UUID(import_id)
        except ValueError:
            raise ImportNotFound(f"there is no import {import_id!r}") from None
        async with self._pool.connection() as connection:
            cursor = await connection.execute(
                f"select {COLUMNS} from imports where id = %s and client_account_id = %s and engagement_id = %s",
                (wanted, tenant.client_account_id, tenant.engagement_id),
            )
            row = await cursor.fetchone()
        if row is None:
            raise ImportNotFound(f"there is no import {import_id!r}")
        return Import(*row)

    async def page(
        self, tenant: Tenant, limit: int, before: tuple[datetime, UUID] | None = None
    ) -> tuple[list[Import], int]:
        """The tenant's uploads, newest first, after the one at `before`; and how many there are in all."""
        async with self._pool.connection() as connection:
            who = (tenant.client_account_id, tenant.engagement_id)
            where = "client_account_id = %s and engagement_id = %s"
            total = await (await connection.execute(f"select count(*) from imports where {where}", who)).fetchone()
            if before is None:
                cursor = await connection.execute(
                    f"select {COLUMNS} from imports where {where} order by created_at desc, id desc limit %s",
                    (*who, limit),
                )
            else:
                cursor = await connection.execute(
                    f"select {COLUMNS} from imports where {where} and (created_at, id) < (%s, %s)"
                    " order by created_at desc, id desc limit %s",
                    (*who, *before, limit),
                )
            rows = await cursor.fetchall()
        assert total is not None
        return [Import(*row) for row in rows], int(total[0])

    async def fetch(self, tenant: Tenant, import_id: str, folder: Path) -> tuple[Import, Path]:
        """An upload's bytes as a file in `folder`, checked against their hash; raises ImportNotFound, ArtifactNotFound."""
        found = await self.get(tenant, import_id)
        path, hasher = folder / str(found.id), hashlib.sha256()
        with path.open("wb") as file:
            async for part in self._artifacts.read(found.client_account_id, found.sha256.hex()):
                hasher.update(part)
                file.write(part)
        if hasher.digest() != found.sha256:
            raise ArtifactNotFound(f"import {found.id} no longer has the bytes it was kept with")
        return found, path

    async def claim(self, lease_seconds: float = 120) -> Import | None:
        """The next upload that nobody has described yet; after three tries that ended nobody knows how it is unreadable."""
        async with self._pool.connection() as connection:
            await connection.execute(
                "update imports set state = 'unreadable', lease_until = null,"
                """ summary = '{"error": {"code": "reader_failed", "detail": "the reader ended without an answer"}}'"""
                " where state = 'inspecting' and lease_until < mfo_now() and tries >= %s",
                (MAX_TRIES,),
            )
            cursor = await connection.execute(
                "update imports set state = 'inspecting', tries = tries + 1,"
                " lease_until = mfo_now() + make_interval(secs => %s) where id = (select id from imports"
                " where state = 'stored' or (state = 'inspecting' and lease_until < mfo_now())"
                f" order by created_at limit 1 for update skip locked) returning {COLUMNS}",
                (lease_seconds,),
            )
            row = await cursor.fetchone()
        return Import(*row) if row else None

    async def described(self, import_id: UUID, state: str, summary: dict[str, Any]) -> None:
        """Keep what the reader found: `state` is `readable` or `unreadable`."""
        async with self._pool.connection() as connection:
            await connection.execute(
                "update imports set state = %s, summary = %s, lease_until = null where id = %s",
                (state, Jsonb(summary), import_id),
            )
