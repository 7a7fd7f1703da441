"""What a decision asks of work that is under way: told at once to whoever does it, and by the next heartbeat at the latest."""

from __future__ import annotations

from domain.events import TOPICS, FlowPaused, FlowResumed
from domain.flow import Flow
from domain.words import Status

CHANNEL = "mfo_signals"
SIGNAL = f"select pg_notify('{CHANNEL}', current_schema())"

PAUSED = TOPICS[FlowPaused]
PAUSED_OR_NOT = [PAUSED, TOPICS[FlowResumed]]


def concerns_work(before: Flow, after: Flow) -> bool:
    """Whether somebody else than its worker has ended a run, or has paused or resumed the flow around it."""
    if before.run is None:
        return False
    if after.run is None or after.run.run_id != before.run.run_id:
        return after.status in {Status.CANCELLED, Status.DELETED}
    return (before.paused is None) != (after.paused is None)
