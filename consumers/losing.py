"""What becomes of a run whose flow has lost what earlier phases brought."""

from __future__ import annotations

import asyncio
from uuid import UUID

import psycopg
import structlog
from psycopg_pool import PoolTimeout

from consumers.frames import Ended
from domain.commands import ReportLoss
from domain.errors import ArtifactNotFound
from domain.flow import Run
from eventstore.service import WriteSide

log = structlog.get_logger()

TRIES, PAUSE_SECONDS = 30, 1.0


async def loss_of(side: WriteSide, flow_id: UUID, run: Run, ended: Ended) -> ReportLoss | None:
    """What to tell the flow of a run that failed because artifacts of its state are gone; none where it failed otherwise.

    A store that is away is waited for, 30 s at most; then the failure stands as it is.
    """
    if ended.how != "failed" or run.hook is not None or ended.error.get("code") != ArtifactNotFound.code:
        return None
    for _ in range(TRIES):
        try:
            return await _found(side, flow_id, run, ended)
        except (psycopg.Error, PoolTimeout, OSError) as error:
            log.warning("lost outputs cannot be looked for", flow_id=str(flow_id), error=type(error).__name__)
            await asyncio.sleep(PAUSE_SECONDS)
    return None


async def _found(side: WriteSide, flow_id: UUID, run: Run, ended: Ended) -> ReportLoss | None:
    flow = await side.store.flow(flow_id)
    gone = await side.checkpoints.lost(flow)
    if not gone:
        return None
    target = await side.checkpoints.last_good(flow, but=flow.mended)
    log.error("outputs are lost", flow_id=str(flow_id), phase=run.phase_name, artifact=gone[0], artifacts=len(gone))
    return ReportLoss(
        flow_id=flow_id,
        run_id=run.run_id,
        token=run.token,
        artifact=gone[0],
        mendable=target is not None,
        checkpoint_id=target.checkpoint.checkpoint_id if target is not None and target.checkpoint else None,
        execution_time_ms=ended.execution_time_ms,
    )
