"""One flow: what its history adds up to, and what each event makes of it.

`evolve` never checks and never raises: it is told what happened.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import reduce
from typing import Any, Literal, NoReturn, assert_never
from uuid import UUID

import msgspec
from msgspec import field
from msgspec.structs import replace

from domain.conditions import TIMED_OUT, WAIT_STEPS, failed
from domain.events import (
    CheckpointCreated,
    ChildEnded,
    ChildStarted,
    DependencyEnded,
    FlowCancelled,
    FlowCompleted,
    FlowCreated,
    FlowDeleted,
    FlowDrained,
    FlowEvent,
    FlowFailed,
    FlowImported,
    FlowMigrated,
    FlowPaused,
    FlowRepaired,
    FlowResumed,
    FlowRetried,
    FlowRolledBack,
    HookCompleted,
    HookFailed,
    HookStarted,
    InputAnswered,
    InputProvided,
    InputReminded,
    InputRequested,
    IterationStarted,
    Origin,
    PhaseCompleted,
    PhaseFailed,
    PhasePostponed,
    PhaseRetryScheduled,
    PhaseSkipped,
    PhaseStarted,
    PhaseSuspended,
    RecoveryStarted,
    RunHandedBack,
    RunReassigned,
    SignalReceived,
    StepsCompleted,
)
from domain.questions import MAX_REMINDERS, Question
from domain.relations import Child, Dependency, with_child, with_dependency
from domain.undoing import Rollback, Undone, left_of
from domain.words import APPROVAL, SYSTEM_USER, Moment, PhaseStatus, Status

Json = dict[str, Any]


class Nothing(dict[str, Any]):
    """An empty object that stays empty: all flows share it, of whose values most are empty."""

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError("what a flow holds is never changed in place; make a new object of it")

    __setitem__ = update = setdefault = __ior__ = _refuse


NOTHING = Nothing()


def nothing() -> Nothing:
    """What a value of a flow is until something is said of it."""
    return NOTHING


class Meta(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Who caused a fact, when, and because of what: kept inside every stored event.

    `traceparent` is the span that decided it; without one it is not written.
    """

    at: datetime
    client_account_id: UUID
    engagement_id: UUID
    user_id: str
    command_id: str
    correlation_id: str
    causation_id: str | None = None
    source: str = "http"
    traceparent: str | msgspec.UnsetType = msgspec.UNSET


class Recorded(msgspec.Struct, frozen=True, gc=False):
    """A fact with its place in the flow's history; versions count from 1 without gaps."""

    flow_id: UUID
    version: int
    meta: Meta
    fact: FlowEvent


class Phase(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One phase of a flow, as it stands. `run_id` is that of its last run, `anew` how often it was to be done again from the
    beginning."""

    name: str
    weight: float
    status: PhaseStatus = PhaseStatus.PENDING
    attempt: int = 0
    started_at: datetime | None = None
    completed_at: datetime | None = None
    execution_time_ms: int = 0
    inputs: Json = field(default_factory=nothing)
    options: Json = field(default_factory=nothing)
    outputs: Json = field(default_factory=nothing)
    suggestions: Json = field(default_factory=nothing)
    steps: Json = field(default_factory=nothing)
    error: Json | None = None
    validation_results: Json = field(default_factory=nothing)
    resource_usage: Json = field(default_factory=nothing)
    agent_insights: tuple[Json, ...] = ()
    failures: tuple[Json, ...] = ()
    handler_versions: dict[str, str] = field(default_factory=nothing)
    reused_from: Json | None = None
    run_id: UUID | None = None
    anew: int = 0
    not_taken: bool = False

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


class Run(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The attempt that is under way. `token` fences it: a result under another token does not count.

    `hook` is `end`, `error`, `cancel` or `compensate` where it is not the phase that runs but the hooks of that moment.
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


class FirstAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What the first of two people answered."""

    by: str
    at: datetime
    values: Json


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """Who answered the last question, when, and what was in it."""

    phase_name: str
    fields: tuple[str, ...]
    by: tuple[str, ...]
    at: datetime


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """What the flow asked a person for; `reminded` counts the reminders so far."""

    phase_name: str
    fields: tuple[str, ...]
    message: str
    suggestions: Json
    requested_at: datetime
    expires_after_seconds: float | None = None
    timer: Timer | None = None
    question: Question | None = None
    step: str | None = None
    first: FirstAnswer | None = None
    reminder: Timer | None = None
    reminded: int = 0


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


class Suspended(msgspec.Struct, frozen=True, kw_only=True):
    """A run that gave way until something outside of it is there; see `PhaseSuspended`."""

    phase_name: str
    run_id: UUID
    attempt: int
    name: str
    until: Json
    since: datetime
    timer: Timer | None = None


class Lane(msgspec.Struct, frozen=True, kw_only=True):
    """What is in hand of one phase, while others are in hand too; one of the four at most."""

    run: Run | None = None
    waiting: Waiting | None = None
    retry: Retry | None = None
    suspended: Suspended | None = None


NO_LANE = Lane()


class Signal(msgspec.Struct, frozen=True, kw_only=True):
    """Word from outside that nobody has waited for yet; `size_bytes` is that of its payload's JSON."""

    name: str
    payload: Json
    signal_id: str | None
    received_at: datetime
    sent_by: str
    size_bytes: int


class Pause(msgspec.Struct, frozen=True, kw_only=True):
    """Who paused the flow, when and why.

    `timers` are `frozen` or `running` meanwhile; `drained_at` is since when no work is under way. `tree` and `by_flow_id` as
    in FlowPaused.
    """

    by: str
    at: datetime
    reason: str | None
    timers: str = "frozen"
    drained_at: datetime | None = None
    tree: bool = False
    by_flow_id: UUID | None = None
    standing_pause_id: UUID | None = None


class Move(msgspec.Struct, frozen=True, kw_only=True):
    """How the flow came to the version of its type that it has; `left` are the phases that have no place in it."""

    from_version: str
    to_version: str
    mapping: dict[str, str | None]
    left: tuple[Phase, ...]
    at: datetime
    by: str
    reason: str | None


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A point in the history to go back to: `done` are the phases that were done then, `inputs` what had been given."""

    checkpoint_id: UUID
    phase_name: str
    version: int
    state_sha256: str
    created_at: datetime
    created_by: str = ""
    reason: str | None = None
    iteration_number: int = 1
    done: frozenset[str] = frozenset()
    inputs: Json = field(default_factory=nothing)


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """One round of the flow's phases, told by `first_version` to `last_version` of the history; `status` is where it ended.

    A round without an end is the one at hand.
    """

    number: int
    first_version: int
    started_at: datetime | None
    from_phase: str | None = None
    by: str = ""
    reason: str | None = None
    last_version: int | None = None
    ended_at: datetime | None = None
    status: Status | None = None
    phases_completed: tuple[str, ...] = ()


class Recovering(msgspec.Struct, frozen=True, kw_only=True):
    """What is being done, or was last, about a phase that has no attempt left; see `RecoveryStarted`."""

    phase_name: str
    action: str
    number: int
    at_most: int
    reason: Json
    from_phase: str | None
    at: datetime


class Imported(msgspec.Struct, frozen=True, kw_only=True):
    """How the flow came here as it stood: the event's version, who took it over and when; see `FlowImported`."""

    version: int
    at: datetime
    by: str
    origin: Origin
    former: Json


class Flow(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What one flow's history adds up to. A flow that does not exist has version 0.

    `start_steps` are the results of start hooks, by step; `wrapped_up`: the end hooks are done; `advice` is what the error
    hooks said about the failure that stands; `moves` are the migrations that were not undone, oldest first. `rounds` is empty
    until a second one begins; `recovered` counts the recoveries by phase and rule since a person last took the flow in hand.
    `rollback` is the last time it went back, and what is left to do of that; `stopping` fires when work that was cancelled has
    stopped for certain, and compensations may begin. `ancestors` are the flows above it, the root first, its parent last;
    `ended_with_tree`: it was cancelled or deleted with all flows under it. `mended` are the checkpoints that it went back to by
    itself, because outputs were lost (the beginning: its own id).

    `follows` says which phases each comes after, where phases run at the same time; it is empty where one comes after the
    other. Then `run`, `waiting`, `retry` and `suspended` are those of the phase `focus`, the first one in hand unless somebody
    looks at another (`on`), and `beside` are those of the others.
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
    traceparent: str = ""
    created_at: datetime | None = None
    updated_at: datetime | None = None
    auto_execute: bool = False
    options: Json = field(default_factory=nothing)
    initial_data: Json = field(default_factory=nothing)
    inputs: Json = field(default_factory=nothing)
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
    cleanup: Timer | None = None
    start_steps: Json = field(default_factory=nothing)
    wrapped_up: bool = False
    advice: Json = field(default_factory=nothing)
    ancestors: tuple[UUID, ...] = ()
    children: tuple[Child, ...] = ()
    dependencies: tuple[Dependency, ...] = ()
    ended_with_tree: bool = False
    suspended: Suspended | None = None
    signals: tuple[Signal, ...] = ()
    signal_ids: tuple[str, ...] = ()
    answered: Answered | None = None
    moves: tuple[Move, ...] = ()
    rounds: tuple[Round, ...] = ()
    recovery: Recovering | None = None
    recovered: dict[str, int] = field(default_factory=nothing)
    rollback: Rollback | None = None
    stopping: Timer | None = None
    mended: tuple[UUID, ...] = ()
    imported: Imported | None = None
    follows: dict[str, tuple[str, ...]] = field(default_factory=nothing)
    focus: str | None = None
    beside: dict[str, Lane] = field(default_factory=nothing)

    @property
    def exists(self) -> bool:
        return self.version > 0

    @property
    def draining(self) -> bool:
        """Paused, but work that had begun has not stopped yet."""
        return self.paused is not None and bool(self.runs)

    @property
    def lanes(self) -> dict[str, Lane]:
        """What is in hand, by phase, in the order of the phases: at most one where one phase comes after the other."""
        part = self.run or self.waiting or self.retry or self.suspended
        found = dict(self.beside)
        if part is not None:
            found[part.phase_name] = Lane(
                run=self.run, waiting=self.waiting, retry=self.retry, suspended=self.suspended
            )
        return {phase.name: found[phase.name] for phase in self.phases if phase.name in found} if found else {}

    @property
    def runs(self) -> tuple[Run, ...]:
        """The runs that are under way."""
        if not self.beside:
            return () if self.run is None else (self.run,)
        return tuple(lane.run for lane in self.lanes.values() if lane.run is not None)

    @property
    def running(self) -> int:
        """How many runs are under way."""
        return len(self.runs)

    def on(self, name: str | None) -> Flow:
        """The flow seen from one of its phases; the same flow where one phase comes after the other."""
        if not self.follows or name == self.focus:
            return self
        lanes = self.lanes
        mine = lanes.pop(name, NO_LANE) if name is not None else NO_LANE
        return replace(
            self,
            focus=name,
            run=mine.run,
            waiting=mine.waiting,
            retry=mine.retry,
            suspended=mine.suspended,
            beside=lanes,
        )

    @property
    def each(self) -> tuple[Flow, ...]:
        """The flow seen from each phase in hand, in their order; once, as it is, where one phase comes after the other."""
        return tuple(self.on(name) for name in self.lanes) if self.follows else (self,)

    def seeing(self, part: Literal["run", "waiting", "retry", "suspended"]) -> Flow:
        """The flow seen from the first phase that has this in hand; as it is where none has."""
        if getattr(self, part) is not None:
            return self
        return next((view for view in self.each if getattr(view, part) is not None), self)

    def called(self, timer: str) -> str:
        """What a timer of the phase at hand is called: each has its own where phases run at the same time."""
        return f"{timer}:{self.focus}" if self.follows else timer

    @property
    def ready(self) -> tuple[Phase, ...]:
        """The phases that are not done and come after none that is not; where one comes after the other, the next one."""
        if not self.follows:
            return () if (following := self.next_phase) is None else (following,)
        done = {phase.name for phase in self.phases if phase.status in DONE}
        return tuple(
            phase for phase in self.phases if phase.name not in done and done.issuperset(self.follows[phase.name])
        )

    def from_on(self, name: str) -> frozenset[str]:
        """The phase and all that come after it."""
        found, past = {name}, False
        for phase in self.phases:
            past = past or phase.name == name
            if past if not self.follows else found.intersection(self.follows[phase.name]):
                found.add(phase.name)
        return frozenset(found)

    def up_to(self, name: str) -> frozenset[str]:
        """The phase and all that come before it."""
        if not self.follows:
            names = [phase.name for phase in self.phases]
            return frozenset(names[: names.index(name) + 1])
        found = {name}
        for phase in reversed(self.phases):
            if phase.name in found:
                found.update(self.follows[phase.name])
        return frozenset(found)

    @property
    def timers(self) -> dict[str, Timer]:
        """The timers that are set, by name: a flow has at most one of a name, and none while a pause freezes them."""
        return {} if self.paused is not None and self.paused.timers == FROZEN else self.alarms

    @property
    def alarms(self) -> dict[str, Timer]:
        """The timers that are set, or would be if the flow were not paused."""
        found: dict[str, Timer] = {}
        if self.start is not None and not self.gates:
            found[START_TIMER] = self.start
        for view in self.each:
            if view.retry is not None:
                found[view.called(RETRY_TIMER)] = view.retry.as_timer
            if view.waiting is not None and view.waiting.timer is not None:
                found[view.called(INPUT_TIMER)] = view.waiting.timer
            if view.waiting is not None and view.waiting.reminder is not None:
                found[view.called(REMIND_TIMER)] = view.waiting.reminder
            if view.suspended is not None and view.suspended.timer is not None:
                found[view.called(WAIT_TIMER)] = view.suspended.timer
        of_flow = ((DEADLINE_TIMER, self.deadline), (STOPPING_TIMER, self.stopping), (CLEANUP_TIMER, self.cleanup))
        return found | {name: timer for name, timer in of_flow if timer is not None}

    @property
    def undoing(self) -> Undone | None:
        """The phase that is to be compensated next, before anything else is done."""
        return self.rollback.left[0] if self.rollback is not None and self.rollback.left else None

    @property
    def winding_up(self) -> bool:
        """Whether the flow was cancelled, and phases are left to be undone."""
        return self.undoing is not None and self.rollback is not None and self.rollback.cancelled

    @property
    def parent_flow_id(self) -> UUID | None:
        """The flow that this one is a child of."""
        return self.ancestors[-1] if self.ancestors else None

    @property
    def gates(self) -> tuple[Dependency, ...]:
        """The flows that it waits for before its first phase begins."""
        ignored = self.options.get("on_dependency_failure") == "ignore"
        return tuple(each for each in self.dependencies if each.holds(ignored=ignored))

    @property
    def priority(self) -> int:
        """1 (first) to 5 (last) among the flows of its tenant."""
        return int(self.options.get("priority", DEFAULT_PRIORITY))

    @property
    def next_phase(self) -> Phase | None:
        """The first phase that is neither completed nor skipped; the one at hand where there are several."""
        if self.focus is not None and (mine := self.phase(self.focus)).status not in DONE:
            return mine
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
REMIND_TIMER = "remind"
WAIT_TIMER = "wait"
DEADLINE_TIMER = "deadline"
STOPPING_TIMER = "stopping"
STOPPING_SECONDS = 6.0
"""As long as a lease: by then a worker has stopped a run that was cancelled, or has lost it."""
CLEANUP_TIMER = "cleanup"
FROZEN = "frozen"
"""What timers are while the flow is paused, unless the pause lets them go on."""
HOOK_STEPS = "hook:"
"""What the names of the steps begin with that hooks are: `hook:<moment>:...`."""
KEPT_SIGNAL_IDS = 1000
KEPT_ERRORS = 10
KEPT_FAILURES = 20
KEPT_MESSAGE = 500
KEPT_TRANSITIONS = 100
ASIDE = frozenset({Moment.ERROR, Moment.CANCEL})
"""The moments whose hooks run beside the flow: how they end changes nothing about where it stands."""
IN_HAND = frozenset({PhaseStatus.RUNNING, PhaseStatus.WAITING})
DONE = frozenset({PhaseStatus.COMPLETED, PhaseStatus.SKIPPED})
UNDER_WAY = frozenset({Status.INITIALIZED, Status.PROCESSING, Status.WAITING_FOR_INPUT})


def progress(flow: Flow) -> float:
    """Percent done: 100 x (weights of the phases done) / (weights of all), one decimal; 100 only when completed.

    It falls only where phases are to be done again: by a rollback, a new round or a restart. A completed flow that is deleted
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
    fact = recorded.fact
    about = getattr(fact, "phase_name", None) if flow.follows and type(fact) is not CheckpointCreated else None
    after = _evolved(flow.on(about) if about else flow, recorded)
    return settled(after) if after.follows else after


def settled(flow: Flow) -> Flow:
    """The flow seen as a whole: from the first phase in hand or, where none is, from the one at which it failed."""
    lanes = flow.lanes
    if not lanes:
        failed = flow.status is Status.FAILED and flow.undoing is None
        return flow if failed else flow.on(None)
    flow = flow.on(next(iter(lanes)))
    if flow.status in UNDER_WAY:
        asks = all(lane.waiting is not None for lane in lanes.values())
        return replace(flow, status=Status.WAITING_FOR_INPUT if asks else Status.PROCESSING)
    return flow


def _evolved(flow: Flow, recorded: Recorded) -> Flow:
    fact, meta = recorded.fact, recorded.meta
    if type(fact) is not FlowCreated:
        flow = replace(
            flow,
            version=recorded.version,
            updated_at=meta.at,
            # work goes on in the name of the person who asked for it, also after a timer or a takeover
            updated_by=flow.updated_by if meta.user_id == SYSTEM_USER else meta.user_id,
            correlation_id=meta.correlation_id,
            traceparent=meta.traceparent or flow.traceparent,
        )
    match fact:
        case FlowCreated():
            return _created(flow, recorded, fact)
        case FlowImported():
            return _imported(flow, recorded, fact)
        case FlowRepaired():
            return flow
        case PhaseStarted():
            return _started(flow, fact, meta)
        case RunReassigned():
            return replace(flow, run=replace(flow.run, token=fact.token)) if flow.run else flow
        case RunHandedBack():
            phase = flow.phase(fact.phase_name)
            spent = phase.execution_time_ms + fact.execution_time_ms
            begun = replace(phase, status=PhaseStatus.PENDING, execution_time_ms=spent)
            return replace(_moved(flow, begun, meta), run=None)
        case PhaseSuspended():
            phase = flow.phase(fact.phase_name)
            spent = phase.execution_time_ms + fact.execution_time_ms
            begun = replace(phase, status=PhaseStatus.PENDING, execution_time_ms=spent)
            return replace(_moved(flow, begun, meta), run=None, suspended=_suspended(flow, fact, meta))
        case SignalReceived():
            return _received(flow, fact, meta)
        case StepsCompleted():
            phase = flow.phase(fact.phase_name)
            kept = replace(phase, steps={**phase.steps, **fact.results})
            started = {name: fact.results[name] for name in fact.results if _step_of(Moment.START, name)}
            return _went_on(replace(_with(flow, kept), start_steps={**flow.start_steps, **started}), fact)
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
                handler_versions=fact.handler_versions,
                reused_from=fact.reused_from,
                run_id=fact.run_id,
            )
            recovery = None if flow.recovery and flow.recovery.phase_name == done.name else flow.recovery
            moved = _moved(flow, done, meta)
            return replace(moved, run=None, recovery=recovery, status=_between(flow, done.status))
        case CheckpointCreated():
            point = Checkpoint(
                checkpoint_id=fact.checkpoint_id,
                phase_name=fact.phase_name,
                version=recorded.version,
                state_sha256=fact.state_sha256,
                created_at=meta.at,
                created_by=meta.user_id,
                reason=fact.reason,
                iteration_number=flow.iteration_number,
                done=frozenset(phase.name for phase in flow.phases if phase.status in DONE),
                inputs=flow.inputs,
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
            if flow.status is Status.FAILED:
                flow = replace(_under_way(flow, meta.at), advice={})
            left = replace(
                flow.phase(fact.phase_name),
                status=PhaseStatus.SKIPPED,
                completed_at=meta.at,
                outputs=fact.outputs,
                steps={},
                not_taken=fact.not_taken,
            )
            return replace(
                _moved(flow, left, meta),
                run=None,
                retry=None,
                waiting=None,
                suspended=None,
                error=None,
                status=_between(flow, left.status),
            )
        case FlowRetried():
            # what is begun again is told next
            return flow
        case InputRequested():
            return _input_requested(flow, fact, meta)
        case InputProvided():
            return _answered(flow, fact, meta)
        case InputAnswered():
            first = FirstAnswer(by=meta.user_id, at=meta.at, values=fact.values)
            return replace(flow, waiting=replace(flow.waiting, first=first)) if flow.waiting else flow
        case InputReminded():
            return _reminded(flow, fact, meta)
        case FlowPaused():
            drained_at = None if flow.runs else meta.at
            pause = Pause(
                by=meta.user_id,
                at=meta.at,
                reason=fact.reason,
                timers=fact.timers,
                drained_at=drained_at,
                tree=fact.tree,
                by_flow_id=fact.by_flow_id,
                standing_pause_id=fact.standing_pause_id,
            )
            return replace(flow, status=Status.PAUSED, paused=pause)
        case FlowDrained():
            return replace(flow, paused=replace(flow.paused, drained_at=meta.at)) if flow.paused else flow
        case FlowResumed():
            return _resumed(_wound(flow, meta.at))
        case FlowMigrated():
            return _migrated(flow, fact, meta)
        case FlowCompleted():
            return replace(flow, status=Status.COMPLETED, completed_at=meta.at, paused=None, start=None, deadline=None)
        case FlowFailed():
            return _failed(flow, fact, meta)
        case IterationStarted():
            return _iterated(flow, fact, meta)
        case RecoveryStarted():
            return _recovering(flow, fact, meta)
        case FlowCancelled():
            return _cancelled(flow, fact, meta)
        case FlowRolledBack():
            return _rolled_back(flow, fact, meta)
        case FlowDeleted():
            gone = {"reason": fact.reason, "deleted_by": meta.user_id, "deleted_at": meta.at.isoformat()}
            return replace(_ended(flow, Status.DELETED, meta), deletion=gone, ended_with_tree=fact.tree)
        case ChildStarted():
            return replace(flow, children=with_child(flow.children, fact.child_flow_id))
        case ChildEnded():
            return replace(flow, children=with_child(flow.children, fact.child_flow_id, fact.status))
        case DependencyEnded():
            return _dependency_ended(flow, fact, meta)
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
        traceparent=meta.traceparent or "",
        correlation_id=meta.correlation_id,
        created_at=meta.at,
        updated_at=meta.at,
        auto_execute=fact.auto_execute,
        options=fact.options,
        initial_data=fact.initial_data,
        phases=tuple(Phase(name=phase.name, weight=phase.weight) for phase in fact.phases),
        start=(start := _start_of(fact.options, recorded.version, meta.at)),
        deadline=None
        if start is not None or fact.dependent_flow_ids
        else _deadline_of(fact.options, recorded.version, meta.at),
        ancestors=fact.ancestors,
        follows=fact.follows,
        dependencies=tuple(Dependency(flow_id=flow_id) for flow_id in fact.dependent_flow_ids),
    )


def _imported(flow: Flow, recorded: Recorded, fact: FlowImported) -> Flow:
    """The flow as it stood elsewhere; the round it was in is the first that this history knows."""
    meta, status = recorded.meta, Status(fact.status)
    paused = Pause(by=fact.updated_by, at=fact.updated_at, reason=None, drained_at=fact.updated_at)
    round_at_hand = Round(
        number=fact.iteration_number, first_version=recorded.version, started_at=fact.created_at, by=fact.created_by
    )
    phases = tuple(
        Phase(
            name=phase.name,
            weight=phase.weight,
            status=PhaseStatus(phase.status),
            started_at=phase.started_at,
            completed_at=phase.completed_at,
            execution_time_ms=phase.execution_time_ms,
            outputs=phase.outputs,
            error=phase.error,
        )
        for phase in fact.phases
    )
    done = [phase.name for phase in phases if phase.status in DONE]
    failed_at = next((phase.name for phase in phases if phase.status is PhaseStatus.FAILED), None)
    points: tuple[Checkpoint, ...] = ()
    if fact.checkpoint_id is not None:
        point = Checkpoint(
            checkpoint_id=fact.checkpoint_id,
            phase_name=done[-1] if done else "",
            version=recorded.version,
            state_sha256=fact.state_sha256,
            created_at=meta.at,
            created_by=meta.user_id,
            iteration_number=fact.iteration_number,
            done=frozenset(done),
        )
        points = (point,)
    return Flow(
        id=flow.id,
        version=recorded.version,
        status=status,
        flow_type=fact.flow_type,
        flow_version=fact.flow_version,
        flow_name=fact.flow_name,
        flow_description=fact.flow_description,
        flow_tags=fact.flow_tags,
        client_account_id=meta.client_account_id,
        engagement_id=meta.engagement_id,
        created_by=fact.created_by,
        updated_by=fact.updated_by,
        correlation_id=meta.correlation_id,
        created_at=fact.created_at,
        updated_at=fact.updated_at,
        options=fact.options,
        initial_data=fact.initial_data,
        phases=phases,
        paused=paused if status is Status.PAUSED else None,
        error=fact.error,
        attempts_failed=fact.retry_count,
        errors=fact.errors[-KEPT_ERRORS:],
        transitions=fact.transitions[-KEPT_TRANSITIONS:],
        checkpoints=points,
        completed_at=fact.completed_at,
        deletion=fact.deletion,
        iteration_number=fact.iteration_number,
        rounds=(round_at_hand,),
        ancestors=fact.ancestors,
        children=tuple(Child(flow_id=flow_id, status=ended) for flow_id, ended in fact.children),
        follows=fact.follows,
        focus=failed_at if fact.follows else None,
        imported=Imported(
            version=recorded.version, at=meta.at, by=meta.user_id, origin=fact.origin, former=fact.former
        ),
    )


def _dependency_ended(flow: Flow, fact: DependencyEnded, meta: Meta) -> Flow:
    """The flow with one more of those it waits for at rest; after the last, its own times begin to count."""
    gated = bool(flow.gates)
    flow = replace(flow, dependencies=with_dependency(flow.dependencies, fact.dependency_flow_id, fact.status))
    if not gated or flow.gates or flow.status is Status.FAILED:
        return flow
    if flow.start is not None:
        left = flow.start.left(meta.at)
        start = Timer(token=flow.version, delay_seconds=left, due_at=flow.start.due_at, since=meta.at)
        return replace(flow, start=start)
    # a pause that stands has stopped it at this moment, in which all of it is left
    return replace(flow, deadline=_deadline_of(flow.options, flow.version, meta.at))


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
    # what its error hooks did was about a failure that stands no more
    flow = _without_hook_steps(_under_way(flow, meta.at), fact.phase_name, Moment.ERROR)
    phase = flow.phase(fact.phase_name)
    running = replace(
        phase,
        status=PhaseStatus.RUNNING,
        attempt=fact.attempt,
        started_at=phase.started_at or meta.at,
        inputs={**phase.inputs, **fact.inputs},
        options={**fact.options, "timeout_seconds": fact.timeout_seconds, "max_attempts": fact.max_attempts},
        error=None,
        steps=phase.steps if flow.status is not Status.FAILED else _kept_waits(phase.steps),
        failures=phase.failures if fact.attempt > 1 or _recovers(flow, phase) else (),
        run_id=fact.run_id,
    )
    return replace(
        _moved(flow, running, meta),
        status=Status.PROCESSING,
        inputs={**flow.inputs, **fact.inputs} if fact.inputs else flow.inputs,
        options=_with_priority(flow, fact),
        run=run,
        waiting=None,
        suspended=None,
        retry=None,
        error=None,
        wrapped_up=False,
        advice={},
        recovery=None if flow.status is Status.FAILED else flow.recovery,
    )


def _failed_attempt(flow: Flow, fact: PhaseFailed, meta: Meta) -> Flow:
    phase = flow.phase(fact.phase_name)
    failed = replace(
        phase,
        status=PhaseStatus.FAILED,
        error=fact.error,
        execution_time_ms=phase.execution_time_ms + fact.execution_time_ms,
        failures=_with_failure(flow, phase, fact, meta),
        handler_versions=fact.handler_versions,
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
    if phase.error != fact.error and phase.status not in DONE and flow.undoing is None:
        # no attempt ended with it: the time of the flow, or for an answer, was up
        entry = {"timestamp": meta.at.isoformat(), "phase": phase.name, "attempt": phase.attempt, **fact.error}
        lost = replace(phase, status=PhaseStatus.FAILED, error=fact.error)
        flow = replace(_moved(flow, lost, meta), errors=(*flow.errors, entry)[-KEPT_ERRORS:])
    for name in flow.beside:
        # what ran beside it is given up, and begins again with it
        flow = _moved(flow, replace(flow.phase(name), status=PhaseStatus.PENDING, error=None), meta)
    return replace(
        flow,
        beside={},
        status=Status.FAILED,
        error=fact.error,
        paused=None,
        retry=None,
        run=None,
        waiting=None,
        suspended=None,
        start=None,
        deadline=None,
        advice={},
        recovered={},
    )


def _recovers(flow: Flow, phase: Phase) -> bool:
    return flow.status is not Status.FAILED and flow.recovery is not None and flow.recovery.phase_name == phase.name


def again_from(flow: Flow, name: str, meta: Meta) -> Flow:
    """The flow with the phases from this one on to be done again, as if they had never begun; what they brought stays in
    the history alone."""
    names = [phase.name for phase in flow.phases]
    place = names.index(name)
    flow, again = flow.on(name), flow.from_on(name)
    for phase in flow.phases:
        if phase.name in again:
            fresh = Phase(name=phase.name, weight=phase.weight, anew=phase.anew + 1)
            flow = _with(flow, fresh) if phase.status is PhaseStatus.PENDING else _moved(flow, fresh, meta)
    return replace(
        flow,
        beside={other: lane for other, lane in flow.beside.items() if other not in again},
        run=None,
        waiting=None,
        suspended=None,
        retry=None,
        error=None,
        completed_at=None,
        start_steps=flow.start_steps if place else {},
        wrapped_up=False,
        advice={},
        checkpoints=tuple(point for point in flow.checkpoints if not point.done & again),
    )


def rounds_of(flow: Flow) -> tuple[Round, ...]:
    """All rounds of a flow, the one at hand last, without an end."""
    return flow.rounds or (Round(number=1, by=flow.created_by, first_version=1, started_at=flow.created_at),)


def _iterated(flow: Flow, fact: IterationStarted, meta: Meta) -> Flow:
    known = rounds_of(flow)
    ended = replace(
        known[-1],
        last_version=flow.version - 1,
        ended_at=flow.completed_at or meta.at,
        status=flow.status,
        phases_completed=tuple(phase.name for phase in flow.phases if phase.status in DONE),
    )
    begun = Round(
        number=fact.number,
        from_phase=fact.from_phase,
        by=meta.user_id,
        reason=fact.reason,
        first_version=flow.version,
        started_at=meta.at,
    )
    flow = replace(
        again_from(flow, fact.from_phase, meta),
        iteration_number=fact.number,
        rounds=(*known[:-1], ended, begun),
        # who agreed to something has not seen what comes now
        inputs={
            **{name: value for name, value in flow.inputs.items() if name not in (APPROVAL, *fact.asked_anew)},
            **fact.inputs,
        },
        start=None,
        deadline=_deadline_of(flow.options, flow.version, meta.at),
        recovery=None,
        recovered={},
    )
    return replace(flow, status=_between(flow, None))


def _recovering(flow: Flow, fact: RecoveryStarted, meta: Meta) -> Flow:
    now = Recovering(
        phase_name=fact.phase_name,
        action=fact.action,
        number=fact.number,
        at_most=fact.at_most,
        reason=fact.reason,
        from_phase=fact.from_phase,
        at=meta.at,
    )
    used = {**flow.recovered, f"{fact.phase_name}:{fact.rule}": fact.number}
    flow = replace(flow, recovery=now, recovered=used, inputs={**flow.inputs, **fact.inputs})
    if fact.from_phase is None:
        return flow
    retry = Retry(
        phase_name=fact.from_phase,
        attempt=1,
        max_attempts=fact.max_attempts,
        timer=fact.timer or RETRY_TIMER,
        timer_token=fact.timer_token,
        delay_seconds=fact.delay_seconds,
        scheduled_at=meta.at,
        options=fact.options,
        timeout_seconds=fact.timeout_seconds,
    )
    return replace(again_from(flow, fact.from_phase, meta), retry=retry)


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
    if fact.moment in ASIDE:
        return replace(flow, run=run, retry=None, cleanup=None)
    flow = _without_hook_steps(flow, fact.phase_name, Moment.ERROR)
    rollback = flow.rollback
    if fact.moment == Moment.COMPENSATE and rollback is not None:
        # what is given to undo something is not given to the phases
        rollback = replace(rollback, inputs={**rollback.inputs, **fact.inputs})
        status = Status.CANCELLED if rollback.cancelled else Status.PROCESSING
        flow = flow if rollback.cancelled else _under_way(flow, meta.at)
        again = replace(flow, status=status, options=_with_priority(flow, fact), rollback=rollback, stopping=None)
        return replace(again, run=run, retry=None, error=None, advice={})
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
    if fact.moment in ASIDE:
        return replace(flow, advice=fact.outputs) if fact.moment == Moment.ERROR else flow
    if fact.moment == Moment.COMPENSATE:
        rollback = flow.rollback
        left = replace(rollback, left=rollback.left[1:]) if rollback is not None else None
        return replace(
            flow, rollback=left, status=flow.status if flow.status is Status.CANCELLED else _between(flow, None)
        )
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
    if fact.final and fact.moment == Moment.COMPENSATE:
        # what is compensated by then is not compensated again
        return replace(flow, run=None)
    return replace(_without_hook_steps(flow, fact.phase_name, fact.moment), run=None) if fact.final else flow


def _step_of(moment: str, name: str) -> bool:
    return name.startswith(f"{HOOK_STEPS}{moment}:")


def _without_hook_steps(flow: Flow, phase_name: str, moment: str) -> Flow:
    """The flow without the results of these hooks: the next time they run anew."""
    phase = flow.phase(phase_name)
    if not phase.steps:
        return flow
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
        question=fact.question,
        step=fact.step,
        reminder=_after(flow, fact.question.remind_after_seconds, meta) if fact.question else None,
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
        error=None,
        advice={},
    )


def _after(flow: Flow, seconds: float | None, meta: Meta) -> Timer | None:
    """A timer from this event on."""
    return None if seconds is None else Timer(token=flow.version, delay_seconds=seconds, since=meta.at)


def _answered(flow: Flow, fact: InputProvided, meta: Meta) -> Flow:
    waiting = flow.waiting
    status = flow.status if flow.paused else Status.PROCESSING
    # what was written before two could answer has one person, who sent it
    people = fact.answered_by or ((meta.user_id,) if meta.user_id != SYSTEM_USER else ())
    answered = Answered(phase_name=fact.phase_name, fields=tuple(fact.values), by=people, at=meta.at)
    flow = replace(flow, waiting=None, status=status, answered=answered)
    if waiting is None or waiting.step is None:
        return replace(flow, inputs={**flow.inputs, **fact.values})
    phase = flow.phase(fact.phase_name)
    answer = {"values": fact.values, "answered_by": list(people), "answered_at": meta.at.isoformat()}
    return _with(flow, replace(phase, steps={**phase.steps, waiting.step: answer}))


def _reminded(flow: Flow, fact: InputReminded, meta: Meta) -> Flow:
    waiting = flow.waiting
    if waiting is None:
        return flow
    every = waiting.question.remind_every_seconds if waiting.question and fact.number < MAX_REMINDERS else None
    return replace(flow, waiting=replace(waiting, reminded=fact.number, reminder=_after(flow, every, meta)))


def _suspended(flow: Flow, fact: PhaseSuspended, meta: Meta) -> Suspended:
    return Suspended(
        phase_name=fact.phase_name,
        run_id=fact.run_id,
        attempt=fact.attempt,
        name=fact.name,
        until=fact.until,
        since=meta.at,
        timer=_after(flow, fact.timeout_seconds, meta),
    )


def _received(flow: Flow, fact: SignalReceived, meta: Meta) -> Flow:
    signal = Signal(
        name=fact.name,
        payload=fact.payload,
        signal_id=fact.signal_id,
        received_at=meta.at,
        sent_by=meta.user_id,
        size_bytes=len(msgspec.json.encode(fact.payload)),
    )
    ids = flow.signal_ids if fact.signal_id is None else (*flow.signal_ids, fact.signal_id)[-KEPT_SIGNAL_IDS:]
    return replace(flow, signals=(*flow.signals, signal), signal_ids=ids)


def _went_on(flow: Flow, fact: StepsCompleted) -> Flow:
    """The flow after results of steps: that of the step which waited ends the wait, and takes its signal up."""
    waited = flow.suspended
    if waited is None or waited.name not in fact.results:
        return flow
    signals = flow.signals
    if waited.until["kind"] == "signal" and fact.results[waited.name] != TIMED_OUT:
        taken = next((n for n, signal in enumerate(signals) if signal.name == waited.until["name"]), len(signals))
        signals = signals[:taken] + signals[taken + 1 :]
    return replace(flow, suspended=None, signals=signals)


def _kept_waits(steps: Json) -> Json:
    """The results of steps without those of waits that came to nothing: who executes a failed flow again waits anew."""
    return {
        name: result
        for name, result in steps.items()
        if not (name.rpartition("/")[2].startswith(WAIT_STEPS) and (result == TIMED_OUT or failed(result)))
    }


def _wound(flow: Flow, at: datetime) -> Flow:
    """The flow with its timers going again after a pause.

    Those that went on meanwhile are set anew too, for what is left: one that was due then may have fired in vain.
    """
    stopped_at = flow.paused.at if flow.paused is not None and flow.paused.timers == FROZEN else at
    again = {name: timer.again(flow.version, stopped_at, at) for name, timer in flow.alarms.items()}
    for view in flow.each:
        flow = flow.on(view.focus)
        retry, waiting, suspended = flow.retry, flow.waiting, flow.suspended
        if retry is not None:
            timer = again[flow.called(RETRY_TIMER)]
            retry = replace(retry, timer_token=timer.token, delay_seconds=timer.delay_seconds, scheduled_at=at)
        if waiting is not None:
            timers = again.get(flow.called(INPUT_TIMER)), again.get(flow.called(REMIND_TIMER))
            waiting = replace(waiting, timer=timers[0], reminder=timers[1])
        if suspended is not None:
            suspended = replace(suspended, timer=again.get(flow.called(WAIT_TIMER)))
        flow = replace(flow, retry=retry, waiting=waiting, suspended=suspended)
    return replace(flow, start=again.get(START_TIMER, flow.start), deadline=again.get(DEADLINE_TIMER))


def _resumed(flow: Flow) -> Flow:
    if flow.run is not None or flow.retry is not None or flow.suspended is not None:
        status = Status.PROCESSING
    elif flow.waiting is not None:
        status = Status.WAITING_FOR_INPUT
    else:
        status = _between(replace(flow, paused=None), None)
    return replace(flow, status=status, paused=None)


def _migrated(flow: Flow, fact: FlowMigrated, meta: Meta) -> Flow:
    for run in [run for run in flow.runs if run.hook is None]:
        begun = replace(flow.phase(run.phase_name), status=PhaseStatus.PENDING)
        flow = replace(_moved(flow.on(run.phase_name), begun, meta), run=None)
    known = {fact.mapping.get(phase.name) or "": phase for phase in flow.phases}
    if fact.back and flow.moves:
        known |= {phase.name: phase for phase in flow.moves[-1].left if phase.name in fact.restored}
    phases = tuple(
        replace(known[planned.name], name=planned.name, weight=planned.weight)
        if planned.name in known
        else Phase(name=planned.name, weight=planned.weight)
        for planned in fact.phases
    )
    move = Move(
        from_version=fact.from_version,
        to_version=fact.to_version,
        mapping=fact.mapping,
        left=tuple(phase for phase in flow.phases if fact.mapping.get(phase.name) is None),
        at=meta.at,
        by=meta.user_id,
        reason=fact.reason,
    )
    recovery = flow.recovery

    def called(name: str) -> str:
        return fact.mapping.get(name) or name

    lanes = {
        called(name): _renamed(lane, called(name), parallel=bool(fact.follows)) for name, lane in flow.lanes.items()
    }
    first = next((phase.name for phase in phases if phase.name in lanes), next(iter(lanes), None))
    mine = lanes.pop(first) if first is not None else NO_LANE
    return replace(
        flow,
        flow_version=fact.to_version,
        phases=phases,
        follows=fact.follows,
        # where it failed, a flow is seen from there
        focus=(first or (called(flow.focus) if flow.focus else flow.current_phase)) if fact.follows else None,
        run=mine.run,
        retry=mine.retry,
        waiting=mine.waiting,
        suspended=mine.suspended,
        beside=lanes,
        recovery=replace(recovery, phase_name=called(recovery.phase_name)) if recovery is not None else None,
        recovered={},
        # the state of one with phases of other names has another hash
        checkpoints=tuple(
            point for point in flow.checkpoints if all(fact.mapping.get(name) == name for name in point.done)
        ),
        moves=flow.moves[:-1] if fact.back else (*flow.moves, move),
    )


def _renamed(lane: Lane, name: str, *, parallel: bool) -> Lane:
    """What is in hand of a phase that is called otherwise from now on."""
    run, waiting, retry, suspended = lane.run, lane.waiting, lane.retry, lane.suspended
    return Lane(
        run=run,
        waiting=replace(waiting, phase_name=name) if waiting is not None else None,
        retry=replace(retry, phase_name=name, timer=f"{RETRY_TIMER}:{name}" if parallel else RETRY_TIMER)
        if retry is not None
        else None,
        suspended=replace(suspended, phase_name=name) if suspended is not None else None,
    )


def _between(flow: Flow, just: PhaseStatus | None) -> Status:
    """The status while no phase runs: nothing done yet, or waiting for the next word, or going on by itself.

    `just` is what a phase has become by the event in hand.
    """
    if flow.paused is not None:
        return Status.PAUSED
    if flow.start is not None or flow.gates:
        return Status.INITIALIZED
    if flow.auto_execute:
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
    flow = replace(flow, suspended=None, signals=())
    ended = replace(flow, status=status, run=None, waiting=None, retry=None, paused=None, start=None, deadline=None)
    ended = replace(ended, beside={}) if flow.beside else ended
    given_up = replace(flow.rollback, left=()) if flow.rollback is not None else None
    return replace(ended, rollback=given_up, stopping=None, cleanup=None)


def _cancelled(flow: Flow, fact: FlowCancelled, meta: Meta) -> Flow:
    ended = replace(_ended(flow, Status.CANCELLED, meta), ended_with_tree=fact.tree)
    if fact.cleanup_after_seconds is not None:
        timer = Timer(token=ended.version, delay_seconds=fact.cleanup_after_seconds, since=meta.at)
        ended = replace(ended, cleanup=timer)
    if not fact.compensations:
        return ended
    before = flow.rollback.inputs if flow.undoing is not None and flow.rollback is not None else {}
    rollback = Rollback(
        by=meta.user_id,
        at=meta.at,
        reason=fact.reason,
        left=left_of(flow, fact.compensations),
        inputs={**before, **flow.known_inputs},
        cancelled=True,
    )
    waits = bool(flow.runs) and ended.cleanup is None
    stopping = Timer(token=ended.version, delay_seconds=STOPPING_SECONDS, since=meta.at) if waits else None
    return replace(ended, rollback=rollback, stopping=stopping)


def _rolled_back(flow: Flow, fact: FlowRolledBack, meta: Meta) -> Flow:
    before = flow.rollback.inputs if flow.undoing is not None and flow.rollback is not None else {}
    rollback = Rollback(
        by=meta.user_id,
        at=meta.at,
        reason=fact.reason,
        phase_name=fact.phase_name,
        to_version=fact.to_version,
        checkpoint_id=fact.checkpoint_id,
        undone=fact.undone,
        left=left_of(flow, fact.compensations),
        inputs={**before, **flow.known_inputs},
    )
    inputs = {point.checkpoint_id: point.inputs for point in flow.checkpoints}
    for name in fact.undone:
        phase = flow.phase(name)
        anew = Phase(name=name, weight=phase.weight, anew=phase.anew + 1)
        flow = _moved(flow, anew, meta)
    begun = any(phase.status in DONE for phase in flow.phases)
    flow = replace(
        flow,
        inputs=inputs.get(fact.checkpoint_id, {}) if fact.checkpoint_id else {},
        checkpoints=tuple(point for point in flow.checkpoints if point.version <= fact.to_version),
        beside={},
        run=None,
        waiting=None,
        suspended=None,
        retry=None,
        recovery=None,
        recovered={},
        start=None,
        deadline=flow.deadline or _deadline_of(flow.options, flow.version, meta.at),
        error=None,
        advice={},
        completed_at=None,
        wrapped_up=False,
        start_steps=flow.start_steps if begun else {},
        rollback=rollback,
        mended=(*flow.mended, fact.checkpoint_id or flow.id) if meta.user_id == SYSTEM_USER else flow.mended,
    )
    return replace(flow, status=_between(flow, None))


def _with(flow: Flow, changed: Phase) -> Flow:
    """The flow with one phase changed."""
    return replace(flow, phases=_phases_with(flow, changed))


def _phases_with(flow: Flow, changed: Phase) -> tuple[Phase, ...]:
    return tuple([changed if phase.name == changed.name else phase for phase in flow.phases])


def _moved(flow: Flow, changed: Phase, meta: Meta) -> Flow:
    """The flow with one phase changed, the change of its status noted."""
    moved = {"phase": changed.name, "status": str(changed.status), "timestamp": meta.at.isoformat()}
    transitions = (*flow.transitions, moved)[-KEPT_TRANSITIONS:]
    return replace(flow, phases=_phases_with(flow, changed), transitions=transitions)
