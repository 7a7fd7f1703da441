"""A flow as readers see it: the columns of `crewai_flow_state_extensions`, computed from the flow alone.

The projection writes these columns; a strongly consistent read computes the same from replayed history.
"""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

import msgspec

from domain.conditions import told
from domain.deciding.following import next_action
from domain.deciding.story import allowed
from domain.flow import DONE, FROZEN, INPUT_TIMER, REMIND_TIMER, WAIT_TIMER, Checkpoint, Flow, Phase, progress
from domain.flow_types import FlowTypes
from domain.questions import Question
from domain.words import PhaseStatus, Status

Json = dict[str, Any]

FIELD_MAPPING = "field_mapping"
KEPT_COLLABORATION, KEPT_PATTERNS = 100, 50

RESULT_STATUS = {
    PhaseStatus.COMPLETED: "success",
    PhaseStatus.FAILED: "failed",
    PhaseStatus.WAITING: "paused",
    PhaseStatus.SKIPPED: "skipped",
}

STATES = {"run": "running", "retry": "retrying", "waiting": "waiting_for_input", "suspended": "suspended"}
# in the order of the table; `log_position` is added by whoever knows the log
COLUMNS: tuple[str, ...] = (
    *("flow_id", "flow_type", "flow_version", "client_account_id", "engagement_id", "user_id", "flow_name"),
    *("flow_description", "flow_tags", "flow_status", "current_phase", "phases_completed", "progress_percentage"),
    *("flow_configuration", "flow_state", "phase_results", "validation_results", "performance_metrics"),
    *("phase_execution_times", "resource_usage", "error_log", "agent_collaboration_log", "agent_insights"),
    *("learning_patterns", "memory_usage_metrics", "phase_transitions", "retry_count", "parent_flow_id"),
    *("dependent_flow_ids", "child_flow_ids", "iteration_number", "flow_metadata", "created_at", "updated_at"),
    *("created_by", "updated_by", "deletion_metadata", "version", "draining", "next_action", "phases", "input_request"),
)


def row(flow: Flow, types: FlowTypes) -> Json:
    """One value per name in COLUMNS: ids as UUID, times as datetime, lists and objects as plain JSON values."""
    done = [phase.name for phase in flow.phases if phase.status in DONE]
    former = flow.imported.former if flow.imported is not None else {}
    insights = [*former.get("agent_insights", ()), *_insights(flow)]
    log = [*former.get("agent_collaboration_log", ()), *collaboration(flow)]
    patterns = [*former.get("learning_patterns", ()), *learning_patterns(flow)]
    times = {phase.name: phase.execution_time_ms for phase in flow.phases if phase.execution_time_ms}
    return {
        "flow_id": flow.id,
        "flow_type": flow.flow_type,
        "flow_version": flow.flow_version,
        "client_account_id": flow.client_account_id,
        "engagement_id": flow.engagement_id,
        "user_id": flow.created_by,
        "flow_name": flow.flow_name,
        "flow_description": flow.flow_description,
        "flow_tags": list(flow.flow_tags),
        "flow_status": str(flow.status),
        "current_phase": flow.current_phase,
        "phases_completed": done,
        "progress_percentage": progress(flow),
        "flow_configuration": {
            "flow_version": flow.flow_version,
            "auto_execute": flow.auto_execute,
            "options": flow.options,
            "initial_data": flow.initial_data,
        },
        "flow_state": {
            "inputs": flow.known_inputs,
            "outputs": {phase.name: phase.outputs for phase in flow.phases if phase.outputs},
        },
        "phase_results": phase_results(flow),
        "validation_results": {p.name: p.validation_results for p in flow.phases if p.validation_results},
        "performance_metrics": {
            "total_execution_time_ms": sum(times.values()),
            "phase_times": times,
            "attempts_failed": flow.attempts_failed,
            "phases_total": len(flow.phases),
            "phases_completed": len(done),
        },
        "phase_execution_times": {
            p.name: {"execution_time_ms": p.execution_time_ms, "completed_at": _iso(p.completed_at)}
            for p in flow.phases
            if p.execution_time_ms or p.completed_at
        },
        "resource_usage": {p.name: p.resource_usage for p in flow.phases if p.resource_usage},
        "error_log": list(flow.errors),
        "agent_collaboration_log": log[-KEPT_COLLABORATION:],
        "agent_insights": insights,
        "learning_patterns": patterns[-KEPT_PATTERNS:],
        "memory_usage_metrics": {**former.get("memory_usage_metrics", {}), **_memory(flow)},
        "phase_transitions": list(flow.transitions),
        "retry_count": flow.attempts_failed,
        "parent_flow_id": flow.parent_flow_id,
        "dependent_flow_ids": [str(each.flow_id) for each in flow.dependencies],
        "child_flow_ids": [str(child.flow_id) for child in flow.children],
        "iteration_number": flow.iteration_number,
        "flow_metadata": {
            "allowed": allowed(flow, types),
            "paused": msgspec.to_builtins(flow.paused),
            "checkpoints": [checkpoint_view(point) for point in flow.checkpoints],
            "rollback": rollback_view(flow),
            "draining_runs": flow.running if flow.draining else 0,
            "error": flow.error,
            "advice": flow.advice or None,
            "run": msgspec.to_builtins(flow.seeing("run").run),
            "retry": msgspec.to_builtins(flow.seeing("retry").retry),
            "active_phases": list(flow.lanes),
            "lanes": lanes(flow) if flow.follows else [],
            "suspended": suspended(flow),
            "signals": signals(flow),
            "dependencies": msgspec.to_builtins(flow.dependencies),
            "timers": timers(flow),
            "migrations": migrations(flow),
            "attempts": attempts(flow),
            "estimated_completion": estimated_completion(flow, types),
            "rounds": msgspec.to_builtins(flow.rounds),
            "recovery": msgspec.to_builtins(flow.recovery),
            **imported(flow),
        },
        "created_at": flow.created_at,
        "updated_at": flow.updated_at,
        "created_by": flow.created_by,
        "updated_by": flow.updated_by,
        "deletion_metadata": flow.deletion,
        "version": flow.version,
        "draining": flow.draining,
        "next_action": next_action(flow, types),
        "phases": phase_views(flow, types),
        "input_request": asked(flow),
    }


def asked(flow: Flow) -> Json | None:
    """What the flow asks for; `also_asking` names the other phases that ask something, where there are any."""
    request = input_request(flow)
    others = [view.focus for view in flow.each if view.waiting is not None][1:]
    return {**request, "also_asking": others} if request is not None and others else request


def lanes(flow: Flow) -> list[Json]:
    """What is in hand of each phase where phases run at the same time: `{phase_name, state, run, retry, input_request,
    suspended, attempts}`, `state` being `running`, `retrying`, `waiting_for_input` or `suspended`."""
    return [
        {
            "phase_name": view.focus,
            "state": next(state for part, state in STATES.items() if getattr(view, part) is not None),
            "run": msgspec.to_builtins(view.run),
            "retry": msgspec.to_builtins(view.retry),
            "input_request": input_request(view) if view.waiting is not None else None,
            "suspended": suspended(view) if view.suspended is not None else None,
            "attempts": attempts(view),
        }
        for view in flow.each
    ]


def collaboration(flow: Flow) -> list[Json]:
    """What agents did, in the order of the phases: `{timestamp, phase, ...}` and what they said of it."""
    return [
        {"timestamp": _iso(phase.completed_at), "phase": phase.name, **insight}
        for phase in flow.phases
        for insight in phase.agent_insights
    ]


def learning_patterns(flow: Flow) -> list[Json]:
    """What others can learn from the flow, `{timestamp, type, data}`: of a field mapping that is done, each column that a
    person named the target of."""
    given = flow.known_inputs.get("mappings")
    done = [phase for phase in flow.phases if phase.name == FIELD_MAPPING and phase.status is PhaseStatus.COMPLETED]
    if not done or not isinstance(given, dict):
        return []
    return [
        {
            "timestamp": _iso(done[0].completed_at),
            "type": FIELD_MAPPING,
            "data": {"original_field": source, "mapped_field": target},
        }
        for source, target in given.items()
        if isinstance(target, str)
    ]


SHOWN_APART = frozenset({"agent_insights", "agent_collaboration_log", "learning_patterns", "memory_usage_metrics"})
"""What a flow was imported with that has a column of its own."""


def imported(flow: Flow) -> Json:
    """Where an imported flow comes from and what else was said of it there, as `imported`; nothing of other flows."""
    if flow.imported is None:
        return {}
    shown: Json = msgspec.to_builtins(flow.imported)
    former = {name: value for name, value in flow.imported.former.items() if name not in SHOWN_APART}
    return {"imported": {**shown, "former": former}}


def _insights(flow: Flow) -> list[Json]:
    return [insight for phase in flow.phases for insight in phase.agent_insights]


def timers(flow: Flow) -> list[Json]:
    """What the flow waits for, the nearest first: `{name, due_at, remaining_seconds}`.

    While a pause freezes them `due_at` is empty, but for a time that was given as such, and `remaining_seconds` is what is
    left of it.
    """
    stopped = flow.paused if flow.paused is not None and flow.paused.timers == FROZEN else None
    found = [
        {
            "name": name,
            "due_at": _iso(timer.due_at if stopped else timer.fires_at),
            "remaining_seconds": timer.left(stopped.at) if stopped else None,
        }
        for name, timer in flow.alarms.items()
    ]
    return sorted(found, key=lambda each: (each["due_at"] or "", each["remaining_seconds"] or 0.0))


def suspended(flow: Flow) -> Json | None:
    """What the phase in hand waits for, none where it waits for nothing: `{phase_name, name, until, message, since,
    expires_at, ...}`; `expires_at` is empty while the flow is paused."""
    flow = flow.seeing("suspended")
    if flow.suspended is None:
        return None
    shown: Json = msgspec.to_builtins(flow.suspended)
    shown.pop("timer")
    running = flow.timers.get(flow.called(WAIT_TIMER))
    return shown | {"message": told(flow.suspended.until), "expires_at": _iso(running.fires_at) if running else None}


def signals(flow: Flow) -> Json:
    """How many signals of each name are kept until somebody waits for them."""
    return dict(Counter(signal.name for signal in flow.signals))


def migrations(flow: Flow) -> list[Json]:
    """The versions of its type that the flow has gone through, oldest first: `{from_version, to_version, at, by, reason}`."""
    return [
        {
            "from_version": move.from_version,
            "to_version": move.to_version,
            "at": _iso(move.at),
            "by": move.by,
            "reason": move.reason,
        }
        for move in flow.moves
    ]


def checkpoint_view(point: Checkpoint) -> Json:
    """A point to go back to: the phase that was done last before it, and the hash of the state that it holds."""
    return {
        "checkpoint_id": str(point.checkpoint_id),
        "phase_name": point.phase_name or None,
        "version": point.version,
        "created_at": _iso(point.created_at),
        "created_by": point.created_by,
        "reason": point.reason,
        "state_sha256": point.state_sha256,
    }


def rollback_view(flow: Flow) -> Json | None:
    """The last time the flow went back, or was cancelled with its compensations, and which of them are `left`, in order."""
    back = flow.rollback
    if back is None:
        return None
    return {
        "by": back.by,
        "at": _iso(back.at),
        "reason": back.reason,
        "phase_name": back.phase_name,
        "to_version": back.to_version,
        "checkpoint_id": str(back.checkpoint_id) if back.checkpoint_id is not None else None,
        "undone": list(back.undone),
        "cancelled": back.cancelled,
        "left": [{"phase_name": one.phase_name, "handlers": list(one.handlers)} for one in back.left],
    }


def attempts(flow: Flow) -> list[Json]:
    """How the attempts of the phase in hand ended that did not work, oldest first; see `FlowFailed.chain`."""
    return list(flow.phase(flow.current_phase).failures) if flow.current_phase else []


def input_request(flow: Flow) -> Json | None:
    """What the flow asks for: fields and schema, who may answer (no users: everybody) and who has so far, and the times that
    are set, empty while the flow is paused."""
    flow = flow.seeing("waiting")
    if flow.waiting is None:
        return None
    waiting = flow.waiting
    question = waiting.question or Question()
    expires, reminds = (flow.timers.get(flow.called(name)) for name in (INPUT_TIMER, REMIND_TIMER))
    return {
        "phase_name": waiting.phase_name,
        "fields": waiting.fields,
        "message": waiting.message,
        "suggestions": waiting.suggestions,
        "requested_at": _iso(waiting.requested_at),
        "expires_after_seconds": waiting.expires_after_seconds,
        "expires_at": _iso(expires.fires_at) if expires else None,
        "on_expiry": question.on_expiry,
        "schema": question.schema,
        "assignees": {"users": list(question.users), "need": question.need},
        "answered_by": [{"user_id": waiting.first.by, "at": _iso(waiting.first.at)}] if waiting.first else [],
        "reminded": waiting.reminded,
        "reminder_at": _iso(reminds.fires_at) if reminds else None,
    }


def phase_result(flow: Flow, phase: Phase) -> Json:
    """The PhaseResult of a phase that has come to one: success, failed, paused or skipped."""
    return _result(phase, str(flow.id), flow.next_phase)


def phase_results(flow: Flow) -> Json:
    """The results of all phases that have come to one, by name."""
    flow_id, following = str(flow.id), flow.next_phase
    return {phase.name: _result(phase, flow_id, following) for phase in flow.phases if phase.status in RESULT_STATUS}


def _result(phase: Phase, flow_id: str, following: Phase | None) -> Json:
    return {
        "flow_id": flow_id,
        "phase_name": phase.name,
        "status": RESULT_STATUS.get(phase.status, "paused"),
        "outputs": phase.outputs,
        "validation_results": phase.validation_results or None,
        "execution_time_ms": phase.execution_time_ms,
        "agent_insights": list(phase.agent_insights),
        "next_phase": following.name if following is not None else None,
        "errors": [phase.error] if phase.error else [],
    }


def phase_views(flow: Flow, types: FlowTypes) -> list[Json]:
    """The phases as front ends draw them, in their order."""
    definition = types.version(flow.flow_type, flow.flow_version)
    goes_back = definition.capabilities.supports_rollback
    views: list[Json] = []
    for order, phase in enumerate(flow.phases, 1):
        config = definition.phase(phase.name)
        views.append(
            {
                "name": phase.name,
                "display_name": config.display_name,
                "order": order,
                "status": str(phase.status),
                "required": not config.can_skip,
                "can_skip": config.can_skip,
                "can_pause": config.can_pause,
                "can_rollback": goes_back and not config.irreversible,
                "weight": phase.weight,
                "attempt": phase.attempt,
                "started_at": _iso(phase.started_at),
                "completed_at": _iso(phase.completed_at),
                "execution_time_ms": phase.execution_time_ms,
                "outputs": phase.outputs,
                "error": phase.error,
                "handler_versions": phase.handler_versions,
                "reused_from": phase.reused_from,
            }
        )
    return views


def estimated_seconds(flow: Flow, types: FlowTypes) -> float | None:
    """Seconds of work left by the type's expectations, none where nothing is under way."""
    if flow.status is not Status.PROCESSING:
        return None
    definition = types.version(flow.flow_type, flow.flow_version)
    left = {p.name: 0 if p.status in DONE else definition.phase(p.name).expected_seconds for p in flow.phases}
    if not flow.follows:
        return sum(left.values())
    # the longest way through what is left
    ends: dict[str, float] = {}
    for name, seconds in left.items():
        ends[name] = seconds + max((ends[before] for before in flow.follows[name]), default=0)
    return max(ends.values())


def estimated_completion(flow: Flow, types: FlowTypes) -> str | None:
    """When the flow should end, ISO 8601: its last change plus the seconds of work left."""
    seconds = estimated_seconds(flow, types)
    if seconds is None or flow.updated_at is None:
        return None
    return (flow.updated_at + timedelta(seconds=seconds)).isoformat()


def _memory(flow: Flow) -> Json:
    measured = [phase for phase in flow.phases if "peak_memory_mb" in phase.resource_usage]
    if not measured:
        return {}
    return {
        "peak_memory_mb": max(phase.resource_usage["peak_memory_mb"] for phase in measured),
        "last_updated": _iso(max((phase.completed_at for phase in measured if phase.completed_at), default=None)),
    }


def _iso(at: Any) -> str | None:
    return at.isoformat() if at is not None else None
