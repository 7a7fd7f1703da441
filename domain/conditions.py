"""What a suspended run waits for: `until` as data, and its outcome, which follows from the flow's own history.

| `until` | outcome |
|---|---|
| `{"kind": "signal", "name": ...}` | `{"payload", "signal_id", "received_at", "sent_by"}` of the first signal of that name |
| `{"kind": "flows", "flow_ids": [...], "mode": "all|any|none", "stop_on_failure": bool}` | `{"flows": {id: status or null}}` |

Flows are children, and are waited for until all are at rest; with `any` until one has completed, with `none` not at all, with
`stop_on_failure` until one has failed or was cancelled or deleted. An outcome becomes the result of the step that waits, so that the handler has it when it runs again; when the time is up
before, it is `TIMED_OUT`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from domain.words import Status

if TYPE_CHECKING:
    from domain.flow import Flow

Json = dict[str, Any]

TIMED_OUT: Json = {"timed_out": True}
WAIT_STEPS = "wait:"
"""What the names of the steps begin with that wait for something; a hook's own name may stand before it, and a slash."""


def outcome(flow: Flow, until: Json) -> Json | None:
    """What has come of that which is waited for; None: nothing yet."""
    return OUTCOMES[until["kind"]](flow, until)


def told(until: Json) -> str:
    """What is waited for, in words: `signal 'approved'`."""
    return WORDS[until["kind"]](until)


def readable(until: Json) -> bool:
    """Whether this version knows such a condition."""
    return until.get("kind") in OUTCOMES


def _of_signal(flow: Flow, until: Json) -> Json | None:
    for signal in flow.signals:
        if signal.name == until["name"]:
            return {
                "payload": signal.payload,
                "signal_id": signal.signal_id,
                "received_at": signal.received_at.isoformat(),
                "sent_by": signal.sent_by,
            }
    return None


def _of_flows(flow: Flow, until: Json) -> Json | None:
    ends = {str(child.flow_id): child.status for child in flow.children}
    standing = {flow_id: ends.get(flow_id) for flow_id in until["flow_ids"]}
    statuses = [status for status in standing.values() if status is not None]
    ready = (
        until["mode"] == "none"
        or len(statuses) == len(standing)
        or (until["mode"] == "any" and Status.COMPLETED in statuses)
        or (bool(until.get("stop_on_failure")) and any(status != Status.COMPLETED for status in statuses))
    )
    return {"flows": standing} if ready else None


def _flows_told(until: Json) -> str:
    ids = until["flow_ids"]
    if len(ids) == 1:
        return f"the flow {ids[0]}"
    return f"one of {len(ids)} flows" if until["mode"] == "any" else f"{len(ids)} flows"


def failed(result: Any) -> bool:
    """Whether a step's result is the outcome of a wait for flows of which one did not complete."""
    flows = result.get("flows") if isinstance(result, dict) else None
    return isinstance(flows, dict) and any(status not in (None, Status.COMPLETED) for status in flows.values())


OUTCOMES: dict[str, Callable[[Flow, Json], Json | None]] = {"signal": _of_signal, "flows": _of_flows}
WORDS: dict[str, Callable[[Json], str]] = {
    "signal": lambda until: f"signal {until['name']!r}",
    "flows": _flows_told,
}
