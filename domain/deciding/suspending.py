"""A run that waits for something outside of it, and what ends the wait."""

from __future__ import annotations

from typing import Any

import msgspec

from domain.commands import FailPhase, SignalFlow, SuspendRun
from domain.conditions import TIMED_OUT, outcome, readable
from domain.deciding.running import fail
from domain.deciding.starting import start_phase
from domain.deciding.story import Story, allowed, current_run, not_over
from domain.errors import SignalsFull, SignalTooLarge
from domain.events import PhaseSuspended, SignalReceived, StepsCompleted
from domain.flow import WAIT_TIMER

Json = dict[str, Any]

MAX_PAYLOAD_BYTES = 64 * 1024
MAX_SIGNALS = 1000
MAX_SIGNALS_BYTES = 256 * 1024


def suspend(story: Story, command: SuspendRun) -> None:
    """The run ends, its attempt does not; where what it waits for is there already, it goes on at once."""
    current_run(story, command.run_id, command.token)
    run = story.flow.run
    assert run is not None
    if run.hook is not None or not readable(command.until):
        what = "a hook cannot wait" if run.hook is not None else f"nobody can wait for {command.until.get('kind')!r}"
        error = {"class": "permanent", "code": "cannot_wait", "message": what, "retryable": False}
        fail(story, FailPhase(flow_id=story.flow.id, run_id=command.run_id, token=command.token, error=error))
        return
    story.tell(
        PhaseSuspended(
            phase_name=run.phase_name,
            run_id=run.run_id,
            attempt=run.attempt,
            name=command.name,
            until=command.until,
            timeout_seconds=command.timeout_seconds,
            execution_time_ms=command.execution_time_ms,
        )
    )
    look(story)


def look(story: Story) -> None:
    """Go on where that is there which a suspended run waits for; a paused flow does so when it is resumed."""
    if story.flow.paused is not None:
        return
    for view in story.flow.each:
        found = outcome(story.flow, view.suspended.until) if view.suspended is not None else None
        if found is not None:
            story.on(view.focus)
            _go_on_with(story, found)


def time_is_up(story: Story) -> None:
    """Nothing came in time."""
    _go_on_with(story, TIMED_OUT)


def after_a_pause(story: Story) -> None:
    """Take up what came during a pause, and else the time that was up in it."""
    look(story)
    for view in story.flow.each:
        timer = view.timers.get(view.called(WAIT_TIMER))
        if timer is not None and not timer.left(story.meta.at):
            story.on(view.focus)
            time_is_up(story)


def _go_on_with(story: Story, found: Json) -> None:
    waited = story.flow.suspended
    assert waited is not None
    story.tell(StepsCompleted(phase_name=waited.phase_name, run_id=waited.run_id, results={waited.name: found}))
    options = story.flow.phase(waited.phase_name).options
    start_phase(story, story.type.phase(waited.phase_name), {}, options, attempt=waited.attempt)


def signal(story: Story, command: SignalFlow) -> None:
    """Keep word from outside, in order, until a run waits for it; the same `signal_id` again is silence."""
    flow = story.flow
    not_over(story)
    if command.signal_id is not None and command.signal_id in flow.signal_ids:
        return
    size = len(msgspec.json.encode(command.payload))
    if size > MAX_PAYLOAD_BYTES:
        raise SignalTooLarge(f"the payload has {size} bytes of JSON; at most {MAX_PAYLOAD_BYTES}")
    kept = sum(one.size_bytes for one in flow.signals)
    if len(flow.signals) >= MAX_SIGNALS or kept + size > MAX_SIGNALS_BYTES:
        raise SignalsFull(
            f"the flow keeps {len(flow.signals)} signals of {kept} bytes that nobody has waited for, of at most"
            f" {MAX_SIGNALS} and {MAX_SIGNALS_BYTES}; send it again when it has taken some up",
            allowed=allowed(flow, story.types),
        )
    story.tell(SignalReceived(name=command.name, payload=command.payload, signal_id=command.signal_id))
    look(story)
