"""What a suspended run waits for: `until` as data, and its outcome, which follows from the flow's own history.

| `until` | outcome |
|---|---|
| `{"kind": "signal", "name": ...}` | `{"payload", "signal_id", "received_at", "sent_by"}` of the first signal of that name |

An outcome becomes the result of the step that waits, so that the handler has it when it runs again; when the time is up
before, it is `TIMED_OUT`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

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


OUTCOMES: dict[str, Callable[[Flow, Json], Json | None]] = {"signal": _of_signal}
WORDS: dict[str, Callable[[Json], str]] = {"signal": lambda until: f"signal {until['name']!r}"}
