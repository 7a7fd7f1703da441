"""What a flow needs next, in words for people and in fields for programs."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from domain.conditions import told
from domain.deciding.starting import missing_inputs
from domain.deciding.story import NOBODY_RUNS_IT, OVER, THE_END
from domain.flow import INPUT_TIMER, RETRY_TIMER, START_TIMER, STOPPING_TIMER, WAIT_TIMER, Flow, Phase
from domain.flow_types import FlowTypes
from domain.recovery import Remedy
from domain.words import APPROVAL, Action, Status, counted

Json = dict[str, Any]

NAMED = 3
"""How many of the flows that hold another are named in a sentence."""


def next_action(flow: Flow, types: FlowTypes) -> Json:
    """What the flow needs next: `{type, phase, required_inputs, message, estimated_duration_seconds, until}`.

    `until` (ISO 8601) is when the flow goes on by itself: the start, the next attempt, the end of the time for an answer.
    """
    # what a person can do goes before what goes on by itself
    flow = flow.seeing("waiting")
    phase: Phase | None = flow.next_phase
    config = types.version(flow.flow_type, flow.flow_version).phase(phase.name) if phase is not None else None
    title = config.display_name if config else THE_END
    last = flow.error is not None or flow.run is not None or flow.retry is not None
    name = phase.name if phase else flow.current_phase if last else None
    seconds = config.expected_seconds if config else None
    if flow.undoing is not None and flow.rollback is not None and flow.paused is None:
        return _undoing(flow, types)
    if flow.status in OVER:
        cleaning = any(part is not None for part in (flow.run, flow.retry, flow.cleanup))
        message = f"The flow is {flow.status}; it is cleaning up" if cleaning else f"The flow is {flow.status}"
        return _action(Action.NONE, None, [], message, None)
    if flow.paused is None and types.version(flow.flow_type, flow.flow_version).is_placeholder:
        return _action(Action.NONE, name, [], NOBODY_RUNS_IT.format(flow_type=flow.flow_type), None)
    if flow.status is Status.FAILED:
        advice = flow.advice.get("message") or _advice(flow)
        return _action(Action.RETRY, name, [], f"{title} failed; {advice}", seconds)
    if flow.paused is not None:
        drains = f"; work in progress is draining ({counted(flow.running, 'run')})" if flow.draining else ""
        undoing = f"; {flow.undoing.phase_name} is still to be undone" if flow.undoing is not None else ""
        began = flow.paused.standing_pause_id is not None
        paused = f"The flow began paused: {flow.paused.reason}" if began else "The flow is paused"
        message = f"{paused}{drains}{undoing}"
        return _action(Action.RESUME, name, [], message, None)
    if flow.waiting is not None:
        kind = Action.APPROVE if APPROVAL in flow.waiting.fields else Action.PROVIDE_INPUT
        wanted, until = list(flow.waiting.fields), _until(flow, flow.called(INPUT_TIMER))
        return _action(kind, flow.waiting.phase_name, wanted, flow.waiting.message, None, until=until)
    if flow.retry is not None:
        why = flow.retry.reason
        message = f"{title} waits: {why.get('message', '')}" if why else f"{title} will be tried again"
        until = _until(flow, flow.called(RETRY_TIMER))
        return _action(Action.WAIT, name, [], message, flow.retry.delay_seconds, until=until)
    if flow.gates:
        return _action(Action.WAIT, name, [], _gated(flow, title), seconds)
    if flow.suspended is not None:
        message = f"{title} waits for {told(flow.suspended.until)}"
        return _action(Action.WAIT, name, [], message, None, until=_until(flow, flow.called(WAIT_TIMER)))
    if flow.start is not None:
        return _action(Action.WAIT, name, [], f"{title} will be started", seconds, until=_until(flow, START_TIMER))
    if flow.run is not None:
        return _action(Action.WAIT, name, [], "Ending the flow" if flow.run.hook else f"Processing {title}", seconds)
    missing = missing_inputs(flow, config, {}) if config else []
    return _action(Action.EXECUTE_PHASE, name, missing, f"Execute {title}", seconds)


def _advice(flow: Flow) -> str:
    done, again = flow.recovery, "retry it, execute it with other inputs, or cancel the flow"
    person = done is not None and done.action == Remedy.MANUAL_INTERVENTION_REQUIRED
    return f"a person has to remove the cause, then {again}" if person else again


def _undoing(flow: Flow, types: FlowTypes) -> Json:
    """What a flow needs while phases are left to be undone."""
    left = flow.rollback.left if flow.rollback is not None else ()
    name, config = left[0].phase_name, types.version(flow.flow_type, flow.flow_version)
    titles = ", ".join(config.phase(each.phase_name).display_name for each in left)
    if flow.status is Status.FAILED:
        advice = flow.advice.get("message") or f"execute the flow to go on with {config.phase(name).display_name}"
        why = (flow.error or {}).get("message", "")
        return _action(Action.RETRY, name, [], f"{why}; left to undo: {titles}; {advice}", None)
    timer = flow.called(RETRY_TIMER) if flow.retry is not None else STOPPING_TIMER
    return _action(Action.WAIT, name, [], f"Undoing {titles}", None, until=_until(flow, timer))


def _gated(flow: Flow, title: str) -> str:
    """Which flows hold it, in a sentence; those first that will not complete by themselves."""
    ill = [f"{each.flow_id} ({each.status})" for each in flow.gates if each.status is not None]
    well = [str(each.flow_id) for each in flow.gates if each.status is None]
    held = [*ill, *well]
    others = f" and {counted(len(held) - NAMED, 'other')}" if len(held) > NAMED else ""
    advice = "; complete it there, or cancel this flow" if ill else ""
    return (
        f"{title} waits until {', '.join(held[:NAMED])}{others} {'has' if len(held) == 1 else 'have'} completed{advice}"
    )


def _until(flow: Flow, name: str) -> datetime | None:
    timer = flow.timers.get(name)
    return timer.fires_at if timer is not None else None


def _action(
    kind: Action,
    phase: str | None,
    inputs: list[str],
    message: str,
    seconds: float | None,
    *,
    until: datetime | None = None,
) -> Json:
    return {
        "type": str(kind),
        "phase": phase,
        "required_inputs": inputs,
        "message": message,
        "estimated_duration_seconds": seconds,
        "until": until.isoformat() if until is not None else None,
    }
