"""What a decision asks of work that is under way: told at once to whoever does it, and by the next heartbeat at the latest."""

from __future__ import annotations

from domain.commands import CompletePhase, FailPhase, HandBackRun, RequestInput
from domain.events import TOPICS, FlowPaused, FlowResumed
from eventstore.notices import Channel
from eventstore.store import Decision

SIGNAL = f"select pg_notify('{Channel.SIGNALS}', current_schema())"

PAUSED = TOPICS[FlowPaused]
PAUSED_OR_NOT = [PAUSED, TOPICS[FlowResumed]]
# with these a worker says itself that its run has ended
OF_WORKERS = frozenset(command.__name__ for command in (CompletePhase, FailPhase, RequestInput, HandBackRun))


def concerns_work(decision: Decision) -> bool:
    """Whether somebody else than its worker has ended a run, or has paused or resumed the flow around it."""
    before, after, ended = decision.before, decision.after, decision.ended
    # what a worker says ends its own run alone
    if len(ended) > sum(row.name in OF_WORKERS and row.error is None for row in decision.commands):
        return True
    return len(ended) < len(before.runs) and (before.paused is None) != (after.paused is None)
