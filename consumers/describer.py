"""Uploads described: what format, which sheets, how many rows. Read in a child process, never in the API."""

from __future__ import annotations

import asyncio
from uuid import UUID, uuid4

import structlog

from consumers.frames import Describe
from consumers.metrics import IMPORTS_DESCRIBED
from consumers.pool import WorkerLost, WorkerPool
from eventstore.faults import lived_through
from eventstore.imports import Import
from eventstore.notices import Channel, listen
from eventstore.service import WriteSide
from eventstore.tasks import end_all
from eventstore.wake import woken

log = structlog.get_logger()

POLL_SECONDS = 5.0
LIMIT_SECONDS = 90.0
RENEW_SECONDS = 30.0


class Describer:
    """Takes uploads that nobody has described, one at a time."""

    def __init__(self, side: WriteSide, pool: WorkerPool) -> None:
        self._side = side
        self._pool = pool
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Describe uploads for as long as the service lives."""
        hints = asyncio.create_task(listen(self._side.config, (Channel.IMPORTS, self._wake.set)), name="import hints")
        try:
            while True:
                self._wake.clear()
                with lived_through("describing uploads"):
                    while (upload := await self._side.imports.claim()) is not None:
                        await self._describe(upload)
                await woken(self._wake, POLL_SECONDS)
        finally:
            await end_all([hints])

    async def _describe(self, upload: Import) -> None:
        order = Describe(
            run_id=uuid4(),
            import_id=upload.id,
            client_account_id=upload.client_account_id,
            engagement_id=upload.engagement_id,
            user_id=upload.created_by,
            import_options=upload.import_options or {},
        )
        # all children may be at work for longer than the lease lasts
        renewing = asyncio.create_task(self._renew(upload.id), name="import lease")
        try:
            ended = await self._pool.run(order, exclusive=True, within=LIMIT_SECONDS)
        except (WorkerLost, TimeoutError) as error:
            log.warning("upload not described", import_id=str(upload.id), why=str(error) or type(error).__name__)
            if upload.summary is None and isinstance(error, TimeoutError):
                detail = f"reading the file took longer than {LIMIT_SECONDS:g} s"
                error_told = {"error": {"code": "reader_timeout", "detail": detail}}
                await self._side.imports.described(upload.id, "unreadable", error_told, upload.import_options)
            return
        finally:
            renewing.cancel()
        state = "readable" if ended.how == "completed" else "unreadable"
        summary = ended.outputs if ended.how == "completed" else {"error": ended.error}
        await self._side.imports.described(upload.id, state, summary, upload.import_options)
        IMPORTS_DESCRIBED.labels(state).inc()

    async def _renew(self, import_id: UUID) -> None:
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            with lived_through("keeping an upload"):
                await self._side.imports.renew(import_id)
