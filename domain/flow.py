"""One flow: what its history adds up to, and what each event makes of it.

`evolve` never checks and never raises: it is told what happened.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import reduce
from typing import Any, assert_never
from uuid import UUID

import msgspec
from msgspec.structs import replace

from domain.events import (
    CheckpointCreated,
    FlowCancelled,
    FlowCompleted,
    FlowCreated,
    FlowDeleted,
    FlowEvent,
    FlowFailed,
    FlowPaused,
    FlowResumed,
    HookCompleted,
    HookFailed,
    HookStarted,
    InputProvided,
    InputRequested,
    PhaseCompleted,
    PhaseFailed,
    PhasePostponed,
    PhaseRetryScheduled,
    PhaseSkipped,
    PhaseStarted,
    RunHandedBack,
    RunReassigned,
    StepsCompleted,
)
from domain.words import SYSTEM_USER, Moment, PhaseStatus, Status

Json = dict[str, Any]


class Meta(msgspec.Struct, frozen=True, kw_only=True):
    """Who caused a fact, when, and because of what: kept inside every stored event."""

    at: datetime
    client_account_id: UUID
    engagement_id: UUID
    user_id: str
    command_id: str
    correlation_id: str
    causation_id: str | None = None
    source: str = "http"


class Recorded(msgspec.Struct, frozen=True):
    """A fact with its place in the flow's history; versions count from 1 without gaps."""

    flow_id: UUID
    version: int
    meta: Meta
    fact: FlowEvent


class Phase(msgspec.Struct, frozen=True, kw_only=True):
    """One phase of a flow, as it stands."""

    name: str
    weight: float
    status: PhaseStatus = PhaseStatus.PENDING
    attempt: int = 0
    started_at: datetime | None = None
    completed_at: datetime | None = None
    execution_time_ms: int = 0
    inputs: Json = {}
    options: Json = {}
    outputs: Json = {}
    suggestions: Json = {}
    steps: Json = {}
    error: Json | None = None
    validation_results: Json = {}
    resource_usage: Json = {}
    agent_insights: tuple[Json, ...] = ()
    failures: tuple[Json, ...] = ()

    @property
    def interrupted(self) -> bool:
        """Begun, and handed back unfinished."""
        return self.status is PhaseStatus.PENDING and self.attempt > 0


class Timer(msgspec.Struct, frozen=True, kw_only=True):
    """Something the flow wants to be told when its time has come: `delay_seconds` after the commit, or at `due_at`.

    The timer's token tells a firing of this one from that of another under the same name. `since` is when the delay
    began.
    """

    token: int
    delay_seconds: float = 0.0
    due_at: datetime | None = None
    since: datetime | None = None

    @property
    def fires_at(self) -> datetime | None:
        """When it is due; of a delay, to within the time that its commit took."""
        if self.due_at is not None or self.since is None:
            return self.due_at
        return self.since + timedelta(seconds=self.delay_seconds)

    def left(self, at: datetime) -> float:
        """Seconds from `at` until it is due, 0 when it is; of a delay never more than the whole, whatever a clock does."""
        if self.due_at is not None:
            return max((self.due_at - at).total_seconds(), 0.0)
        passed = (at - self.since).total_seconds() if self.since is not None else 0.0
        return round(min(max(self.delay_seconds - passed, 0.0), self.delay_seconds), 3)

    def again(self, token: int, stopped_at: datetime, at: datetime) -> Timer:
        """The same after it stood still since `stopped_at`: what was left of a delay counts from `at`, a time stays."""
        if self.due_at is not None:
            return replace(self, token=token)
        return replace(self, token=token, delay_seconds=self.left(stopped_at), since=at)


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """The attempt that is under way. `token` fences it: a result under another token does not count.

    `hook` is `end` or `error` where it is not the phase that runs but the hooks of that moment.
    """

    run_id: UUID
    phase_name: str
    token: int
    attempt: int
    max_attempts: int
    timeout_seconds: float
    started_at: datetime
    options: Json
    hook: str | None = None


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """What the flow asked a person for."""

    phase_name: str
    fields: tuple[str, ...]
    message: str
    suggestions: Json
    requested_at: datetime
    expires_after_seconds: float | None = None
    timer: Timer | None = None


class Retry(msgspec.Struct, frozen=True, kw_only=True):
    """The next attempt, waiting for its timer; `hook` as in Run.

    `reason` says which target is waited for, where nothing has failed: `{code, message, target}`.
    """

    phase_name: str
    attempt: int
    max_attempts: int
    timer: str
    timer_token: int
    delay_seconds: float
    scheduled_at: datetime
    options: Json
    timeout_seconds: float
    hook: str | None = None
    reason: Json | None = None

    @property
    def as_timer(self) -> Timer:
        """What it waits for."""
        return Timer(token=self.timer_token, delay_seconds=self.delay_seconds, since=self.scheduled_at)


class Pause(msgspec.Struct, frozen=True, kw_only=True):
    """Who paused the flow, when and why."""

    by: str
    at: datetime
    reason: str | None
    standing_pause_id: UUID | None = None


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A point in the history to go back to."""

    checkpoint_id: UUID
    phase_name: str
    version: int
    state_sha256: str
    created_at: datetime


class Flow(msgspec.Struct, frozen=True, kw_only=True):
    """What one flow's history adds up to. A flow that does not exist has version 0.

    `start_steps` are the results of start hooks, by step; `wrapped_up`: the end hooks are done; `advice` is what the error
    hooks said about the failure that stands.
    """

    id: UUID
    version: int = 0
    status: Status = Status.INITIALIZED
    flow_type: str = ""
    flow_version: str = ""
    flow_name: str = ""
    flow_description: str | None = None
    flow_tags: tuple[str, ...] = ()
    client_account_id: UUID | None = None
    engagement_id: UUID | None = None
    created_by: str = ""
    updated_by: str = ""
    correlation_id: str = ""
    created_at: datetime | None = None
    updated_at: datetime | None = None
    auto_execute: bool = False
    options: Json = {}
    initial_data: Json = {}
    inputs: Json = {}
    phases: tuple[Phase, ...] = ()
    run: Run | None = None
    waiting: Waiting | None = None
    retry: Retry | None = None
    paused: Pause | None = None
    error: Json | None = None
    attempts_failed: int = 0
    checkpoints: tuple[Checkpoint, ...] = ()
    completed_at: datetime | None = None
    deletion: Json | None = None
    iteration_number: int = 1
    errors: tuple[Json, ...] = ()
    transitions: tuple[Json, ...] = ()
    start: Timer | None = None
    deadline: Timer | None = None
    start_steps: Json = {}
    wrapped_up: bool = False
    advice: Json = {}

    @property
    def exists(self) -> bool:
        return self.version > 0

    @property
    def draining(self) -> bool:
        """Paused, but work that had begun has not stopped yet."""
        return self.paused is not None and self.run is not None

    @property
    def timers(self) -> dict[str, Timer]:
        """The timers that are set, by name: a flow has at most one of a name, and none while it is paused."""
        return {} if self.paused is not None else self.alarms

    @property
    def alarms(self) -> dict[str, Timer]:
        """The timers that are set, or would be if the flow were not paused."""
        retry, waiting = self.retry, self.waiting
        set_now = {
            START_TIMER: self.start,
            RETRY_TIMER: retry.as_timer if retry is not None else None,
            INPUT_TIMER: waiting.timer if waiting is not None else None,
            DEADLINE_TIMER: self.deadline,
        }
        return {name: timer for name, timer in set_now.items() if timer is not None}

    @property
    def priority(self) -> int:
        """1 (first) to 5 (last) among the flows of its tenant."""
        return int(self.options.get("priority", DEFAULT_PRIORITY))

    @property
    def next_phase(self) -> Phase | None:
        """The first phase that is neither completed nor skipped."""
        for phase in self.phases:
            if phase.status not in DONE:
                return phase
        return None

    @property
    def current_phase(self) -> str | None:
        """The phase in hand or, between phases, the next one; after the last, the last one."""
        if self.run is not None:
            return self.run.phase_name
        following = self.next_phase
        if following is not None:
            return following.name
        return self.phases[-1].name if self.phases else None

    @property
    def known_inputs(self) -> Json:
        """Initial data and everything given since; the newest wins."""
        return {**self.initial_data, **self.inputs}

    def phase(self, name: str) -> Phase:
        """The phase with this exact name; raises KeyError."""
        for phase in self.phases:
            if phase.name == name:
                return phase
        raise KeyError(name)


DEFAULT_PRIORITY = 3
START_TIMER = "start"
RETRY_TIMER = "retry"
INPUT_TIMER = "input"
DEADLINE_TIMER = "deadline"
HOOK_STEPS = "hook:"
"""What the names of the steps begin with that hooks are: `hook:<moment>:...`."""
KEPT_ERRORS = 10
KEPT_FAILURES = 20
KEPT_MESSAGE = 500
KEPT_TRANSITIONS = 100
IN_HAND = frozenset({PhaseStatus.RUNNING, PhaseStatus.WAITING})
DONE = frozenset({PhaseStatus.COMPLETED, PhaseStatus.SKIPPED})


def progress(flow: Flow) -> float:
    """Percent done: 100 x (weights of the phases done) / (weights of all), one decimal; 100 only when completed.

    It never falls within one iteration, because a phase that is done stays done, and a completed flow that is deleted
    stays completed.
    """
    if flow.completed_at is not None:
        return 100.0
    total = sum(phase.weight for phase in flow.phases)
    if not total:
        return 0.0
    done = sum(phase.weight for phase in flow.phases if phase.status in DONE)
    return min(round(100.0 * done / total, 1), 99.9)


def fold(flow: Flow, history: Iterable[Recorded]) -> Flow:
    """The flow after all of `history`."""
    return reduce(evolve, history, flow)


def evolve(flow: Flow, recorded: Recorded) -> Flow:
    """The flow after one more fact."""
    fact, meta = recorded.fact, recorded.meta
    if type(fact) is not FlowCreated:
        flow = replace(
            flow,
            version=recorded.version,
            updated_at=meta.at,
            # work goes on in the name of the person who asked for it, also after a timer or a takeover
            updated_by=flow.updated_by if meta.user_id == SYSTEM_USER else meta.user_id,
            correlation_id=meta.correlation_id,
        )
    match fact:
        case FlowCreated():
            return _created(flow, recorded, fact)
        case PhaseStarted():
            return _started(flow, fact, meta)
        case RunReassigned():
            return replace(flow, run=replace(flow.run, token=fact.token)) if flow.run else flow
        case RunHandedBack():
            phase = flow.phase(fact.phase_name)
            spent = phase.execution_time_ms + fact.execution_time_ms
            begun = replace(phase, status=PhaseStatus.PENDING, execution_time_ms=spent)
            return replace(_moved(flow, begun, meta), run=None)
        case StepsCompleted():
            phase = flow.phase(fact.phase_name)
            kept = replace(phase, steps={**phase.steps, **fact.results})
            started = {name: fact.results[name] for name in fact.results if _step_of(Moment.START, name)}
            return replace(_with(flow, kept), start_steps={**flow.start_steps, **started})
        case PhaseCompleted():
            done = replace(
                flow.phase(fact.phase_name),
                status=PhaseStatus.COMPLETED,
                completed_at=meta.at,
                execution_time_ms=flow.phase(fact.phase_name).execution_time_ms + fact.execution_time_ms,
                outputs=fact.outputs,
                suggestions={},
                steps={},
                error=None,
                validation_results=fact.validation_results,
                resource_usage=fact.resource_usage,
                agent_insights=fact.agent_insights,
            )
            return replace(_moved(flow, done, meta), run=None, status=_between(flow, done.status))
        case CheckpointCreated():
            point = Checkpoint(
                checkpoint_id=fact.checkpoint_id,
                phase_name=fact.phase_name,
                version=recorded.version,
                state_sha256=fact.state_sha256,
                created_at=meta.at,
            )
            return replace(flow, checkpoints=(*flow.checkpoints, point))
        case PhaseFailed():
            return _failed_attempt(flow, fact, meta)
        case PhaseRetryScheduled():
            return _retry_scheduled(flow, fact, meta)
        case PhasePostponed():
            return _postponed(flow, fact, meta)
        case HookStarted():
            return _hook_started(flow, fact, meta)
        case HookCompleted():
            return _hook_completed(flow, fact)
        case HookFailed():
            return _hook_failed(flow, fact, meta)
        case PhaseSkipped():
            left = replace(
                flow.phase(fact.phase_name),
                status=PhaseStatus.SKIPPED,
                completed_at=meta.at,
                outputs=fact.outputs,
                steps={},
            )
            return replace(
                _moved(flow, left, meta),
                run=None,
                retry=None,
                waiting=None,
                error=None,
                status=_between(flow, left.status),
            )
        case InputRequested():
            return _input_requested(flow, fact, meta)
        case InputProvided():
            return replace(
                flow,
                inputs={**flow.inputs, **fact.values},
                waiting=None,
                status=flow.status if flow.paused else Status.PROCESSING,
            )
        case FlowPaused():
            paused = Pause(by=meta.user_id, at=meta.at, reason=fact.reason, standing_pause_id=fact.standing_pause_id)
            return replace(flow, status=Status.PAUSED, paused=paused)
        case FlowResumed():
            return _resumed(_wound(flow, meta.at))
        case FlowCompleted():
            return replace(flow, status=Status.COMPLETED, completed_at=meta.at, paused=None, deadline=None)
        case FlowFailed():
            return _failed(flow, fact, meta)
        case FlowCancelled():
            return _ended(flow, Status.CANCELLED, meta)
        case FlowDeleted():
            gone = {"reason": fact.reason, "deleted_by": meta.user_id, "deleted_at": meta.at.isoformat()}
            return replace(_ended(flow, Status.DELETED, meta), deletion=gone)
        case _:  # pragma: no cover
            assert_never(fact)


def _created(flow: Flow, recorded: Recorded, fact: FlowCreated) -> Flow:
    meta = recorded.meta
    return Flow(
        id=flow.id,
        version=recorded.version,
        flow_type=fact.flow_type,
        flow_version=fact.flow_version,
        flow_name=fact.flow_name,
        flow_description=fact.flow_description,
        flow_tags=fact.flow_tags,
        client_account_id=meta.client_account_id,
        engagement_id=meta.engagement_id,
        created_by=meta.user_id,
        updated_by=meta.user_id,
        correlation_id=meta.correlation_id,
        created_at=meta.at,
        updated_at=meta.at,
        auto_execute=fact.auto_execute,
        options=fact.options,
        initial_data=fact.initial_data,
        phases=tuple(Phase(name=phase.name, weight=phase.weight) for phase in fact.phases),
        start=(start := _start_of(fact.options, recorded.version, meta.at)),
        deadline=None if start is not None else _deadline_of(fact.options, recorded.version, meta.at),
    )


def _start_of(options: Json, token: int, at: datetime) -> Timer | None:
    if "start_at" in options:
        return Timer(token=token, due_at=datetime.fromisoformat(options["start_at"]))
    if "start_after_seconds" in options:
        return Timer(token=token, delay_seconds=options["start_after_seconds"], since=at)
    return None


def _deadline_of(options: Json, token: int, at: datetime) -> Timer | None:
    seconds = options.get("flow_timeout_seconds")
    return Timer(token=token, delay_seconds=seconds, since=at) if seconds else None


def _under_way(flow: Flow, at: datetime) -> Flow:
    """The flow as it sets out: its deadline counts from its start, and anew when a failed flow is taken up again."""
    if flow.start is None and flow.status is not Status.FAILED:
        return flow
    return replace(flow, start=None, deadline=_deadline_of(flow.options, flow.version, at))


def _run_of(fact: PhaseStarted | HookStarted, meta: Meta, hook: str | None = None) -> Run:
    return Run(
        run_id=fact.run_id,
        phase_name=fact.phase_name,
        token=fact.token,
        attempt=fact.attempt,
        max_attempts=fact.max_attempts,
        timeout_seconds=fact.timeout_seconds,
        started_at=meta.at,
        options=fact.options,
        hook=hook,
    )


def _with_priority(flow: Flow, fact: PhaseStarted | HookStarted) -> Json:
    """The flow's options, with the priority from now on where one was given."""
    return {**flow.options, "priority": fact.options["priority"]} if "priority" in fact.options else flow.options


def _started(flow: Flow, fact: PhaseStarted, meta: Meta) -> Flow:
    run = _run_of(fact, meta)
    flow = _under_way(flow, meta.at)
    phase = flow.phase(fact.phase_name)
    running = replace(
        phase,
        status=PhaseStatus.RUNNING,
        attempt=fact.attempt,
        started_at=phase.started_at or meta.at,
        inputs={**phase.inputs, **fact.inputs},
        options={**fact.options, "timeout_seconds": fact.timeout_seconds, "max_attempts": fact.max_attempts},
        error=None,
        failures=phase.failures if fact.attempt > 1 else (),
    )
    return replace(
        _moved(flow, running, meta),
        status=Status.PROCESSING,
        inputs={**flow.inputs, **fact.inputs} if fact.inputs else flow.inputs,
        options=_with_priority(flow, fact),
        run=run,
        waiting=None,
        retry=None,
        error=None,
        wrapped_up=False,
        advice={},
    )


def _failed_attempt(flow: Flow, fact: PhaseFailed, meta: Meta) -> Flow:
    phase = flow.phase(fact.phase_name)
    failed = replace(
        phase,
        status=PhaseStatus.FAILED,
        error=fact.error,
        execution_time_ms=phase.execution_time_ms + fact.execution_time_ms,
        failures=_with_failure(flow, phase, fact, meta),
    )
    entry = {"timestamp": meta.at.isoformat(), "phase": fact.phase_name, "attempt": fact.attempt, **fact.error}
    if fact.resolution:
        entry["resolution"] = fact.resolution
    return replace(
        _moved(flow, failed, meta),
        retry=None,
        attempts_failed=flow.attempts_failed + 1,
        errors=(*flow.errors, entry)[-KEPT_ERRORS:],
    )


def _with_failure(flow: Flow, phase: Phase, fact: PhaseFailed, meta: Meta) -> tuple[Json, ...]:
    """How the phase's attempts ended, with this one: the first and the last of them."""
    failure = {
        "attempt": fact.attempt,
        "started_at": flow.run.started_at.isoformat() if flow.run else None,
        "failed_at": meta.at.isoformat(),
        "class": fact.error.get("class"),
        "code": fact.error.get("code"),
        "message": str(fact.error.get("message", ""))[:KEPT_MESSAGE],
    }
    first, others = phase.failures[:1], phase.failures[1:]
    return (*first, *others[2 - KEPT_FAILURES :], failure)


def _failed(flow: Flow, fact: FlowFailed, meta: Meta) -> Flow:
    phase = flow.phase(fact.phase_name)
    if phase.error != fact.error and phase.status not in DONE:
        # no attempt ended with it: the time of the flow, or for an answer, was up
        entry = {"timestamp": meta.at.isoformat(), "phase": phase.name, "attempt": phase.attempt, **fact.error}
        lost = replace(phase, status=PhaseStatus.FAILED, error=fact.error)
        flow = replace(_moved(flow, lost, meta), errors=(*flow.errors, entry)[-KEPT_ERRORS:])
    return replace(
        flow,
        status=Status.FAILED,
        error=fact.error,
        paused=None,
        retry=None,
        run=None,
        waiting=None,
        start=None,
        deadline=None,
        advice={},
    )


def _retry_scheduled(flow: Flow, fact: PhaseRetryScheduled, meta: Meta) -> Flow:
    run = flow.run
    if run is None:
        return flow
    retry = Retry(
        phase_name=fact.phase_name,
        attempt=fact.attempt,
        max_attempts=fact.max_attempts or run.max_attempts,
        timer=fact.timer,
        timer_token=fact.timer_token,
        delay_seconds=fact.delay_seconds,
        scheduled_at=meta.at,
        options=run.options,
        timeout_seconds=run.timeout_seconds,
        hook=run.hook,
    )
    return replace(flow, retry=retry, run=None)


def _postponed(flow: Flow, fact: PhasePostponed, meta: Meta) -> Flow:
    run = flow.run
    if run is None:
        return flow
    retry = Retry(
        phase_name=fact.phase_name,
        attempt=fact.attempt,
        max_attempts=run.max_attempts,
        timer=fact.timer,
        timer_token=fact.timer_token,
        delay_seconds=fact.delay_seconds,
        scheduled_at=meta.at,
        options=run.options,
        timeout_seconds=run.timeout_seconds,
        hook=run.hook,
        reason=fact.reason,
    )
    if run.hook is None:
        phase = flow.phase(fact.phase_name)
        took = phase.execution_time_ms + fact.execution_time_ms
        flow = _moved(flow, replace(phase, status=PhaseStatus.WAITING, execution_time_ms=took), meta)
    return replace(flow, retry=retry, run=None)


def _hook_started(flow: Flow, fact: HookStarted, meta: Meta) -> Flow:
    run = _run_of(fact, meta, fact.moment)
    if fact.moment == Moment.ERROR:
        return replace(flow, run=run, retry=None)
    return replace(
        _under_way(flow, meta.at),
        status=Status.PROCESSING,
        inputs={**flow.inputs, **fact.inputs},
        options=_with_priority(flow, fact),
        run=run,
        retry=None,
        error=None,
        advice={},
    )


def _hook_completed(flow: Flow, fact: HookCompleted) -> Flow:
    flow = replace(_without_hook_steps(flow, fact.phase_name, fact.moment), run=None)
    if fact.moment == Moment.ERROR:
        return replace(flow, advice=fact.outputs)
    phase = flow.phase(fact.phase_name)
    return replace(_with(flow, replace(phase, outputs={**phase.outputs, **fact.outputs})), wrapped_up=True)


def _hook_failed(flow: Flow, fact: HookFailed, meta: Meta) -> Flow:
    entry = {
        "timestamp": meta.at.isoformat(),
        "phase": fact.phase_name,
        "moment": fact.moment,
        "attempt": fact.attempt,
        **fact.error,
        "resolution": fact.resolution,
    }
    flow = replace(flow, errors=(*flow.errors, entry)[-KEPT_ERRORS:], retry=None)
    return replace(_without_hook_steps(flow, fact.phase_name, fact.moment), run=None) if fact.final else flow


def _step_of(moment: str, name: str) -> bool:
    return name.startswith(f"{HOOK_STEPS}{moment}:")


def _without_hook_steps(flow: Flow, phase_name: str, moment: str) -> Flow:
    """The flow without the results of these hooks: the next time they run anew."""
    phase = flow.phase(phase_name)
    left = {name: result for name, result in phase.steps.items() if not _step_of(moment, name)}
    return _with(flow, replace(phase, steps=left))


def _input_requested(flow: Flow, fact: InputRequested, meta: Meta) -> Flow:
    flow = _under_way(flow, meta.at)
    seconds = fact.expires_after_seconds
    phase = flow.phase(fact.phase_name)
    # whoever asks again because an answer was wrong still means what was suggested before
    suggestions = fact.suggestions or phase.suggestions
    waiting = Waiting(
        phase_name=fact.phase_name,
        fields=fact.fields,
        message=fact.message,
        suggestions=suggestions,
        requested_at=meta.at,
        expires_after_seconds=seconds,
        timer=Timer(token=flow.version, delay_seconds=seconds, since=meta.at) if seconds else None,
    )
    asking = replace(
        phase,
        status=PhaseStatus.WAITING,
        suggestions=suggestions,
        execution_time_ms=phase.execution_time_ms + fact.execution_time_ms,
    )
    return replace(
        _moved(flow, asking, meta),
        status=Status.PAUSED if flow.paused else Status.WAITING_FOR_INPUT,
        waiting=waiting,
        run=None,
    )


def _wound(flow: Flow, at: datetime) -> Flow:
    """The flow with its timers going again after a pause."""
    stopped_at = flow.paused.at if flow.paused is not None else at
    again = {name: timer.again(flow.version, stopped_at, at) for name, timer in flow.alarms.items()}
    retry, waiting = flow.retry, flow.waiting
    if retry is not None:
        timer = again[RETRY_TIMER]
        retry = replace(retry, timer_token=timer.token, delay_seconds=timer.delay_seconds, scheduled_at=at)
    if waiting is not None:
        waiting = replace(waiting, timer=again.get(INPUT_TIMER))
    return replace(flow, retry=retry, waiting=waiting, start=again.get(START_TIMER), deadline=again.get(DEADLINE_TIMER))


def _resumed(flow: Flow) -> Flow:
    if flow.run is not None or flow.retry is not None:
        status = Status.PROCESSING
    elif flow.waiting is not None:
        status = Status.WAITING_FOR_INPUT
    else:
        status = _between(replace(flow, paused=None), None)
    return replace(flow, status=status, paused=None)


def _between(flow: Flow, just: PhaseStatus | None) -> Status:
    """The status while no phase runs: nothing done yet, or waiting for the next word, or going on by itself.

    `just` is what a phase has become by the event in hand.
    """
    if flow.paused is not None:
        return Status.PAUSED
    if flow.auto_execute and flow.start is None:
        return Status.PROCESSING
    touched = just is not None or any(phase.status is not PhaseStatus.PENDING for phase in flow.phases)
    return Status.WAITING_FOR_INPUT if touched else Status.INITIALIZED


def _ended(flow: Flow, status: Status, meta: Meta) -> Flow:
    """The flow at its end; a phase that was in hand did not come to a result."""
    for phase in flow.phases:
        if phase.status in IN_HAND:
            error = {
                "class": "cancelled",
                "code": f"flow_{status}",
                "message": f"The flow was {status}",
                "retryable": False,
            }
            flow = _moved(flow, replace(phase, status=PhaseStatus.FAILED, error=error), meta)
    return replace(flow, status=status, run=None, waiting=None, retry=None, paused=None, start=None, deadline=None)


def _with(flow: Flow, changed: Phase) -> Flow:
    """The flow with one phase changed."""
    return replace(flow, phases=tuple(changed if phase.name == changed.name else phase for phase in flow.phases))


def _moved(flow: Flow, changed: Phase, meta: Meta) -> Flow:
    """The flow with one phase changed, the change of its status noted."""
    moved = {"phase": changed.name, "status": str(changed.status), "timestamp": meta.at.isoformat()}
    return replace(_with(flow, changed), transitions=(*flow.transitions, moved)[-KEPT_TRANSITIONS:])
