"""What of a flow's history is news to somebody outside, and what is said of it.

News say little: names, ids, a status, the class of an error. No input and no output of a flow is in them.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from domain.events import (
    TOPICS,
    FlowCompleted,
    FlowCreated,
    FlowEvent,
    FlowFailed,
    FlowImported,
    FlowPaused,
    InputReminded,
    InputRequested,
)
from domain.failures import resolution_of
from domain.flow import Recorded
from domain.words import Status

Json = dict[str, Any]

RULE = "rule"
"""The source of a command that a rule gives, not a person."""
MAX_REASON = 500


class News(StrEnum):
    """What somebody may be told of; a webhook's `type`."""

    COMPLETED = "flow.completed"
    FAILED = "flow.failed"
    INPUT_REQUESTED = "flow.input_requested"
    INPUT_REMINDED = "flow.input_reminded"
    PAUSED_BY_RULE = "flow.paused_by_rule"


NEWS: dict[type[FlowEvent], News] = {
    FlowCompleted: News.COMPLETED,
    FlowFailed: News.FAILED,
    InputRequested: News.INPUT_REQUESTED,
    InputReminded: News.INPUT_REMINDED,
    FlowPaused: News.PAUSED_BY_RULE,
}
STATUSES: dict[News, Status] = {
    News.COMPLETED: Status.COMPLETED,
    News.FAILED: Status.FAILED,
    News.INPUT_REQUESTED: Status.WAITING_FOR_INPUT,
    News.INPUT_REMINDED: Status.WAITING_FOR_INPUT,
    News.PAUSED_BY_RULE: Status.PAUSED,
}
NEWS_TOPICS = tuple(TOPICS[fact] for fact in NEWS)


def news_of(recorded: Recorded) -> News | None:
    """What kind of news an event is, if it is any; a pause is news where a rule brought it about."""
    found = NEWS.get(type(recorded.fact))
    if found is News.PAUSED_BY_RULE and not _by_rule(recorded):
        return None
    return found


def _by_rule(recorded: Recorded) -> bool:
    """Whether a rule paused the flow under way, or had set the standing pause under which it began."""
    fact = recorded.fact
    return recorded.meta.source == RULE or (isinstance(fact, FlowPaused) and fact.pause_rule_id is not None)


def told(recorded: Recorded, news: News, created: FlowCreated | FlowImported) -> Json:
    """What is said of an event, as a webhook carries it: `{type, timestamp, data{...}}`.

    `created` is how the flow began. Of an error its class and code are said and what follows from its class, never its own
    words, which may hold what the flow was given.
    """
    fact: Any = recorded.fact
    meta = recorded.meta
    data: Json = {
        "flow_id": str(recorded.flow_id),
        "flow_name": created.flow_name,
        "flow_type": created.flow_type,
        "flow_tags": list(created.flow_tags),
        "status": str(STATUSES[news]),
        "phase": getattr(fact, "phase_name", None),
        "version": recorded.version,
        "client_account_id": str(meta.client_account_id),
        "engagement_id": str(meta.engagement_id),
    }
    if news is News.FAILED:
        data["error"] = {
            "class": fact.error.get("class"),
            "code": fact.error.get("code"),
            "message": _in_short(fact.error),
        }
    if isinstance(fact, FlowPaused):
        data["reason"] = fact.reason[:MAX_REASON] if fact.reason else None
    return {"type": str(news), "timestamp": meta.at.isoformat().replace("+00:00", "Z"), "data": data}


def _in_short(error: Json) -> str:
    """What happened, by the class of the error; not what follows from it, since nothing does any more."""
    found = resolution_of({"class": error.get("class"), "fields": error.get("fields")})
    return f"{found.message.partition(';')[0].rstrip('.')}."
