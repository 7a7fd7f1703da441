"""Uploaded files: kept by content hash, described by a reader in a process of its own."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID, uuid5

from psycopg.types.json import Jsonb
from psycopg_pool import AsyncConnectionPool

from domain.commands import Tenant
from domain.errors import ImportNotFound, UploadTooLarge
from eventstore.artifacts import ArtifactStore, keep_parts, parts_of
from eventstore.database import Connection

COLUMNS = (
    "id, client_account_id, engagement_id, filename, import_type, sha256, size_bytes, state, summary, import_options,"
    " created_by, created_at"
)
MAX_TRIES = 3
LEASE_SECONDS = 120.0
GAVE_UP = {
    "code": "reader_failed",
    "detail": f"the reader ended {MAX_TRIES} times without an answer; the file may need more memory than"
    " MFO_WORKER_MEMORY_MB allows: split it",
}


class Import(NamedTuple):
    """One upload. `summary` is what a reader found in it (`format, sheets[], rows, preview, ...`), or the error;
    `import_options` is how the caller wants it read, none where all is left to the reader.
    """

    id: UUID
    client_account_id: UUID
    engagement_id: UUID
    filename: str
    import_type: str | None
    sha256: bytes
    size_bytes: int
    state: str
    summary: dict[str, Any] | None
    import_options: dict[str, Any] | None
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
        import_options: Mapping[str, Any] | None = None,
    ) -> tuple[Import, bool]:
        """Keep an upload as it streams in; answers it, and whether it is new to the tenant.

        The same bytes again are the same upload, with the name and the options it had before.
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
                await keep_parts(
                    connection,
                    tenant.client_account_id,
                    digest,
                    parts_of(spool),
                    size=size,
                    media_type="application/octet-stream",
                )
                import_id = import_id_of(tenant, digest)
                cursor = await connection.execute(
                    "insert into imports (id, client_account_id, engagement_id, filename, import_type, sha256, size_bytes,"
                    " import_options, created_by, created_at)"
                    " values (%s, %s, %s, %s, %s, %s, %s, %s, %s, mfo_now()) on conflict do nothing",
                    (
                        *(import_id, tenant.client_account_id, tenant.engagement_id, filename, import_type),
                        *(digest, size, Jsonb(dict(import_options)) if import_options else None, tenant.user_id),
                    ),
                )
                is_new = bool(cursor.rowcount)
                await connection.execute("select pg_notify('mfo_imports', current_schema())")
        return await self.get(tenant, str(import_id)), is_new

    async def read_anew(self, tenant: Tenant, import_id: str, import_options: Mapping[str, Any]) -> Import:
        """Replace the options of an upload, and have it described again under them; raises ImportNotFound."""
        found = await self.get(tenant, import_id)
        async with self._pool.connection() as connection, connection.transaction():
            cursor = await connection.execute(
                "update imports set import_options = %s, state = 'stored', summary = null, tries = 0, lease_until = null"
                f" where id = %s returning {COLUMNS}",
                (Jsonb(dict(import_options)) if import_options else None, found.id),
            )
            row = await cursor.fetchone()
            await connection.execute("select pg_notify('mfo_imports', current_schema())")
        assert row is not None
        return Import(*row)

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
        path = folder / str(found.id)
        await self._artifacts.fetch(found.client_account_id, found.sha256.hex(), path)
        return found, path

    async def claim(self, lease_seconds: float = LEASE_SECONDS) -> Import | None:
        """The next upload that nobody has described yet; after three tries that ended nobody knows how it is unreadable."""
        async with self._pool.connection() as connection:
            cursor = await connection.execute(
                "with given_up as (update imports set state = 'unreadable', lease_until = null, summary = %s"
                " where state = 'inspecting' and lease_until < mfo_now() and tries >= %s)"
                " update imports set state = 'inspecting', tries = tries + 1,"
                " lease_until = mfo_now() + make_interval(secs => %s) where id = (select id from imports"
                " where state = 'stored' or (state = 'inspecting' and lease_until < mfo_now() and tries < %s)"
                f" order by created_at limit 1 for update skip locked) returning {COLUMNS}",
                (Jsonb({"error": GAVE_UP}), MAX_TRIES, lease_seconds, MAX_TRIES),
            )
            row = await cursor.fetchone()
        return Import(*row) if row else None

    async def renew(self, import_id: UUID, lease_seconds: float = LEASE_SECONDS) -> None:
        """Keep a claimed upload from others for so much longer; nothing where it is not being described any more."""
        async with self._pool.connection() as connection:
            await connection.execute(
                "update imports set lease_until = mfo_now() + make_interval(secs => %s)"
                " where id = %s and state = 'inspecting'",
                (lease_seconds, import_id),
            )

    async def described(
        self, import_id: UUID, state: str, summary: dict[str, Any], import_options: Mapping[str, Any] | None = None
    ) -> bool:
        """Keep what the reader found: `state` is `readable` or `unreadable`.

        False where the upload has other options by now than those it was read with; it waits to be read again then.
        """
        async with self._pool.connection() as connection:
            cursor = await connection.execute(
                "update imports set state = %s, summary = %s, lease_until = null"
                " where id = %s and import_options is not distinct from %s",
                (state, Jsonb(summary), import_id, Jsonb(dict(import_options)) if import_options else None),
            )
        return cursor.rowcount > 0


def import_id_of(tenant: Tenant, sha256: bytes) -> UUID:
    """The id of an upload: the same for the same bytes."""
    return uuid5(tenant.client_account_id, f"import:{tenant.engagement_id}:{sha256.hex()}")
