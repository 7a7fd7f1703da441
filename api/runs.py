"""The attempt of a phase that is under way, as a flow's status shows it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec

from api.rows import Rows

Json = dict[str, Any]


async def run_shown(rows: Rows | None, run: Json | None) -> Json | None:
    """What the flow says of its run, with the deadline and the progress that the store has of it; none without a run.

    Without `rows`, of a run that was, only what the flow says.
    """
    if run is None:
        return None
    known = (await rows.run(UUID(str(run["run_id"]))) if rows else None) or {}
    names = ("run_id", "phase_name", "attempt", "max_attempts", "started_at", "timeout_seconds")
    return {
        **{name: run[name] for name in names},
        "state": known.get("state"),
        "deadline": known.get("deadline"),
        "progress": progress_shown(known.get("progress")),
    }


def progress_shown(text: str | None) -> Json | None:
    """`{done, total, message, percentage}` of a run's progress as it is kept."""
    if text is None:
        return None
    said: Json = msgspec.json.decode(text)
    done, total = said["done"], said["total"]
    return {**said, "percentage": min(round(100.0 * done / total, 1), 100.0) if total else None}
