"""Why a flow that is under way stands still: asked of the store when somebody asks, and for one flow at a time."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from api.asking import Caller
from api.rows import Row
from domain.words import Status
from eventstore.waiting import for_place, for_retry


async def waiting(asking: Caller, row: Row, part: Row) -> dict[str, Any] | None:
    """What holds the next attempt of the flow, or of one of its phases, whose `run` or `retry` is in `part`; none where one is
    in hand, or where none is wanted."""
    if row["flow_status"] != Status.PROCESSING and not row["draining"]:
        return None
    pool, run, retry = asking.side.pool, part.get("run"), part.get("retry")
    found = None
    if run:
        found = await for_place(pool, UUID(str(run["run_id"])))
    elif retry:
        since = datetime.fromisoformat(str(retry["scheduled_at"]))
        found = await for_retry(pool, row["flow_id"], retry["timer"], since)
    if found is None:
        return None
    return {
        name: value.astimezone(UTC) if isinstance(value, datetime) else value for name, value in found._asdict().items()
    }
