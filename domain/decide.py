"""What a flow answers to a command: facts, silence for a repeat, or a refusal.

`decide` is pure. Time, ids and the actor come in with the command's `Meta`; run and checkpoint ids follow from the flow's
id and version.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import datetime
from typing import Any, assert_never
from uuid import UUID, uuid5

import msgspec

from domain.commands import (
    CancelFlow,
    Command,
    CompletePhase,
    CreateFlow,
    DeleteFlow,
    ExecutePhase,
    FailPhase,
    FireTimer,
    HandBackRun,
    PauseFlow,
    ProvideInput,
    ReassignRun,
    RecordSteps,
    RequestInput,
    ResumeFlow,
    RollbackFlow,
    SkipPhase,
    StartIteration,
)
from domain.errors import (
    FieldError,
    FlowDoesNotPause,
    FlowExists,
    FlowHasFailed,
    FlowIsOver,
    FlowNotFound,
    FlowNotPaused,
    FlowPausedNow,
    InputInvalid,
    InputsMissing,
    NothingToAnswer,
    NotSupported,
    PhaseAlreadyRunning,
    PhaseNotPausable,
    PhaseOutOfOrder,
    PhaseUnknown,
    RunNotCurrent,
    VersionMoved,
)
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
    PlannedPhase,
    RunHandedBack,
    RunReassigned,
    StepsCompleted,
)
from domain.failures import Resolution, resolution_of
from domain.flow import (
    DEADLINE_TIMER,
    DONE,
    INPUT_TIMER,
    RETRY_TIMER,
    START_TIMER,
    Flow,
    Meta,
    Phase,
    Recorded,
    Run,
    evolve,
)
from domain.flow_types import FlowTypeConfig, FlowTypes, PhaseConfig, RetryConfig
from domain.words import Action, Moment, PhaseStatus, Resolve, Status

Json = dict[str, Any]

OVER = frozenset({Status.COMPLETED, Status.CANCELLED, Status.DELETED})
THE_END = "The flow's end"


class Story:
    """A decision being told: each fact is added to the history, and the flow is what it makes of it."""

    __slots__ = ("config", "facts", "flow", "meta", "types")

    def __init__(self, flow: Flow, meta: Meta, types: FlowTypes) -> None:
        self.flow = flow
        self.meta = meta
        self.types = types
        self.facts: list[Recorded] = []
        self.config: FlowTypeConfig | None = None

    def tell(self, fact: FlowEvent) -> None:
        recorded = Recorded(self.flow.id, self.flow.version + 1, self.meta, fact)
        self.flow = evolve(self.flow, recorded)
        self.facts.append(recorded)

    @property
    def type(self) -> FlowTypeConfig:
        """The definition the flow was made with."""
        if self.config is None:
            self.config = self.types.version(self.flow.flow_type, self.flow.flow_version)
        return self.config

    def derived_id(self, what: str) -> UUID:
        """An id that follows from the flow and the version of the next fact."""
        return uuid5(self.flow.id, f"{what}:{self.flow.version + 1}")


def decide(flow: Flow, command: Command, meta: Meta, types: FlowTypes, *, expected_version: int | None = None) -> Story:
    """What `command` brings about: the facts and the flow after them; no facts is silence.

    Raises a `Refused` error when the flow says no.
    """
    story = Story(flow, meta, types)
    if isinstance(command, CreateFlow):
        if expected_version and not flow.exists:
            raise VersionMoved(f"there is no flow yet, and none at version {expected_version}")
        _create(story, command)
        return story
    if not flow.exists or (flow.client_account_id, flow.engagement_id) != (meta.client_account_id, meta.engagement_id):
        raise FlowNotFound
    if expected_version is not None and expected_version != flow.version:
        raise VersionMoved(
            f"the flow is at version {flow.version}, not {expected_version}; read it again and decide anew",
            allowed=allowed(flow, types),
        )
    _answer(story, command)
    if story.flow.status is Status.FAILED and flow.status is not Status.FAILED and story.type.hooks.error:
        _start_hook(story, Moment.ERROR)
    return story


def _answer(story: Story, command: Command) -> None:
    match command:
        case ExecutePhase():
            _execute(story, command)
        case CompletePhase():
            _complete(story, command)
        case RecordSteps():
            _current_run(story, command.run_id, command.token)
            story.tell(
                StepsCompleted(
                    phase_name=story.flow.current_phase or "", run_id=command.run_id, results=command.results
                )
            )
        case FailPhase():
            _fail(story, command)
        case RequestInput():
            _request_input(story, command)
        case ProvideInput():
            _provide_input(story, command)
        case PauseFlow():
            _pause(story, command)
        case ResumeFlow():
            _resume(story, command)
        case CancelFlow():
            _cancel(story, command)
        case DeleteFlow():
            _delete(story, command)
        case HandBackRun() | ReassignRun():
            _let_go(story, command)
        case FireTimer():
            _fire(story, command)
        case SkipPhase() | RollbackFlow() | StartIteration():
            raise NotSupported(
                f"{type(command).__name__} is not supported yet", allowed=allowed(story.flow, story.types)
            )
        case _:  # pragma: no cover
            assert_never(command)  # type: ignore[arg-type]


def _create(story: Story, command: CreateFlow) -> None:
    if story.flow.exists:
        raise FlowExists
    unsupported = [
        name
        for name, given in (
            ("options.notification_emails", command.options.notification_emails),
            ("parent_flow_id", command.parent_flow_id),
            ("dependent_flow_ids", command.dependent_flow_ids),
        )
        if given
    ]
    if unsupported:
        raise NotSupported(
            f"{', '.join(unsupported)}: not supported yet; leave it out",
            errors=[FieldError(name, "not supported yet") for name in unsupported],
        )
    config = story.types.get(command.flow_type)
    given = command.options.model_dump(mode="json", exclude_none=True, exclude={"auto_execute", "notification_emails"})
    if config.flow_timeout_seconds is not None:
        given.setdefault("flow_timeout_seconds", config.flow_timeout_seconds)
    story.tell(
        FlowCreated(
            flow_type=config.name,
            flow_version=config.version,
            flow_name=command.flow_name,
            phases=tuple(PlannedPhase(phase.name, phase.weight) for phase in config.phases),
            flow_description=command.flow_description,
            flow_tags=command.flow_tags,
            initial_data=command.initial_data,
            options=given,
            auto_execute=command.options.auto_execute,
        )
    )
    start = story.flow.start
    if start is None:
        if command.options.auto_execute:
            _go_on(story)
    elif not start.left(story.meta.at):
        _go_on(story)


def _execute(story: Story, command: ExecutePhase) -> None:
    flow = story.flow
    _not_over(story)
    if flow.paused is not None:
        raise FlowPausedNow(allowed=allowed(flow, story.types))
    if flow.run is not None and flow.run.hook != Moment.ERROR:
        raise PhaseAlreadyRunning(
            f"phase {flow.run.phase_name} is running; wait for it, pause the flow or cancel it",
            allowed=allowed(flow, story.types),
        )
    following = flow.next_phase
    if following is None:
        _execute_end(story, command)
        return
    config = _phase_asked(story, command.phase_name) if command.phase_name else story.type.phase(following.name)
    if config.name != following.name:
        if flow.phase(config.name).status in DONE:
            raise PhaseOutOfOrder(
                f"phase {config.name} has been completed; next is {following.name}", allowed=[following.name]
            )
        raise PhaseOutOfOrder(f"phase {config.name} comes later; next is {following.name}", allowed=[following.name])
    options = _options(story, config, command.options.model_dump(exclude_none=True))
    if options["validate_inputs"]:
        missing = _missing(flow, config, command.inputs)
        if missing:
            raise InputsMissing(
                f"phase {config.name} needs {', '.join(missing)}",
                errors=[FieldError(f"inputs.{name}", "is required") for name in missing],
            )
    _leave_error_hooks(story)
    _start(story, config, command.inputs, options)


def _execute_end(story: Story, command: ExecutePhase) -> None:
    """Run the end hooks, which are all that is left; their phase is the last one."""
    if not story.type.hooks.end:
        raise FlowIsOver(allowed=allowed(story.flow, story.types))
    last = story.type.phases[-1]
    if command.phase_name and (named := _phase_asked(story, command.phase_name).name) != last.name:
        raise PhaseOutOfOrder(f"phase {named} has been completed; what is left is the flow's end", allowed=[last.name])
    options = _options(story, last, command.options.model_dump(exclude_none=True))
    _leave_error_hooks(story)
    _start_hook(story, Moment.END, options=options, inputs=command.inputs)


def _leave_error_hooks(story: Story) -> None:
    """What the error hooks were about to say is about a failure that no longer stands."""
    run = story.flow.run
    if run is None:
        return
    error = {
        "class": "cancelled",
        "code": "flow_executed",
        "message": "the flow was executed again before the hooks had ended",
        "retryable": False,
    }
    story.tell(
        HookFailed(moment=Moment.ERROR, phase_name=run.phase_name, run_id=run.run_id, attempt=run.attempt, error=error)
    )


def _phase_asked(story: Story, name: str) -> PhaseConfig:
    try:
        return story.type.phase(name)
    except PhaseUnknown as unknown:
        for other in story.types.all():
            if any(phase.name == name for phase in other.phases) and other.name != story.flow.flow_type:
                raise PhaseUnknown(
                    f"phase {name!r} belongs to flow type {other.name}; this flow is a {story.flow.flow_type}",
                    allowed=unknown.allowed,
                ) from None
        raise


def _start(story: Story, config: PhaseConfig, inputs: Json, options: Json, attempt: int = 1) -> None:
    resolved = dict(options)
    timeout = float(resolved.pop("timeout_seconds"))
    max_attempts = int(resolved.pop("max_attempts"))
    story.tell(
        PhaseStarted(
            phase_name=config.name,
            run_id=story.derived_id("run"),
            token=1,
            attempt=attempt,
            max_attempts=max_attempts,
            timeout_seconds=timeout,
            inputs=inputs,
            options=resolved,
        )
    )


def _start_hook(
    story: Story, moment: str, *, options: Json | None = None, inputs: Json | None = None, attempt: int = 1
) -> None:
    """Run the hooks of the flow's end, or after its failure, under the limits of the phase in hand."""
    phase = story.type.phase(story.flow.current_phase or "")
    resolved = dict(options or _options(story, phase, {}))
    timeout = float(resolved.pop("timeout_seconds"))
    max_attempts = int(resolved.pop("max_attempts"))
    story.tell(
        HookStarted(
            moment=str(moment),
            phase_name=phase.name,
            run_id=story.derived_id("run"),
            token=1,
            attempt=attempt,
            max_attempts=max_attempts,
            timeout_seconds=timeout,
            inputs=inputs or {},
            options=resolved,
        )
    )


def _options(story: Story, config: PhaseConfig, call: Json) -> Json:
    """Options as they will hold for the run: the call, the flow's own, the phase, the type, the default."""
    given = {**story.flow.options, **call}
    configured = _configured(story, config)
    retries = given.get("max_retries")
    attempts = (configured or RetryConfig()).max_attempts if retries is None else int(retries) + 1
    retried = given.get("retry_on_failure", True)
    patience = given.get("input_timeout_seconds") or config.input_timeout_seconds or story.type.input_timeout_seconds
    return {
        **({"input_timeout_seconds": patience} if patience else {}),
        "timeout_seconds": given.get("timeout_seconds") or config.timeout_seconds or story.type.timeout_seconds,
        "max_attempts": attempts if retried else 1,
        # where nobody set a limit, each class of failure has its own
        "limited": retries is not None or not retried or configured is not None,
        "save_checkpoints": given.get("save_checkpoints", True),
        "validate_inputs": given.get("validate_inputs", True),
        "validate_outputs": given.get("validate_outputs", True),
        # only what changes it is told
        **({"priority": call["priority"]} if "priority" in call else {}),
    }


def _missing(flow: Flow, config: PhaseConfig, inputs: Json) -> list[str]:
    """Required inputs that neither the call, the flow's data nor an earlier phase's outputs satisfy."""
    if config.asks_for_inputs:
        return []
    known = set(flow.initial_data) | set(flow.inputs) | set(inputs)
    for phase in flow.phases:
        known |= set(phase.outputs)
    return [
        name
        for name in config.required_inputs
        if name not in known and not any(other in known for other in config.input_alternatives.get(name, ()))
    ]


def _go_on(story: Story) -> None:
    """Start what comes next, or ask for what it lacks, or end the flow."""
    following = story.flow.next_phase
    if following is None:
        if story.type.hooks.end and not story.flow.wrapped_up:
            _start_hook(story, Moment.END)
        else:
            story.tell(FlowCompleted())
        return
    config = story.type.phase(following.name)
    # a phase that asked goes on as it was started
    asked = following.status is PhaseStatus.WAITING and following.options
    options = following.options if asked else _options(story, config, {})
    missing = _missing(story.flow, config, {}) if options["validate_inputs"] else []
    if missing:
        story.tell(
            InputRequested(
                phase_name=config.name,
                fields=tuple(missing),
                message=f"{config.display_name} needs {', '.join(missing)}",
                expires_after_seconds=options.get("input_timeout_seconds"),
            )
        )
        return
    _start(story, config, {}, options)


def _current_run(story: Story, run_id: UUID, token: int) -> None:
    flow = story.flow
    if flow.run is None or (flow.run.run_id, flow.run.token) != (run_id, token):
        raise RunNotCurrent(allowed=allowed(flow, story.types))


def _complete(story: Story, command: CompletePhase) -> None:
    flow = story.flow
    _current_run(story, command.run_id, command.token)
    run = flow.run
    assert run is not None
    if run.hook is not None:
        _complete_hook(story, run, command)
        return
    story.tell(
        PhaseCompleted(
            phase_name=run.phase_name,
            run_id=run.run_id,
            outputs=command.outputs,
            execution_time_ms=command.execution_time_ms,
            validation_results=command.validation_results,
            resource_usage=command.resource_usage,
            agent_insights=command.agent_insights,
        )
    )
    if run.options.get("save_checkpoints", True):
        story.tell(
            CheckpointCreated(
                checkpoint_id=story.derived_id("checkpoint"),
                phase_name=run.phase_name,
                state_sha256=state_sha256(story.flow),
            )
        )
    if story.flow.paused is not None:
        return
    if story.flow.next_phase is None or story.flow.auto_execute:
        _go_on(story)


def _complete_hook(story: Story, run: Run, command: CompletePhase) -> None:
    story.tell(
        HookCompleted(
            moment=str(run.hook),
            phase_name=run.phase_name,
            run_id=run.run_id,
            outputs=command.outputs,
            execution_time_ms=command.execution_time_ms,
            resource_usage=command.resource_usage,
        )
    )
    if run.hook == Moment.END and story.flow.paused is None:
        _go_on(story)


def state_sha256(flow: Flow) -> str:
    """SHA-256 over the flow's inputs and its phases' outputs, as canonical JSON (keys sorted)."""
    state = {
        "inputs": flow.known_inputs,
        "outputs": {phase.name: phase.outputs for phase in flow.phases if phase.status in DONE},
    }
    return hashlib.sha256(msgspec.json.encode(state, order="sorted")).hexdigest()


def _fail(story: Story, command: FailPhase) -> None:
    flow = story.flow
    _current_run(story, command.run_id, command.token)
    run = flow.run
    assert run is not None
    config = story.type.phase(run.phase_name)
    error = command.error
    resolution = resolution_of(error)
    elsewise = config.on_failure if run.hook is None else {}
    action = Resolve(elsewise.get(str(error.get("class")), resolution.action))
    if action is Resolve.WAIT:
        _postpone(story, run, command)
        return
    if run.hook is not None and action is not Resolve.RETRY:
        action = Resolve.FAIL
    told = {
        "action": str(action),
        "severity": resolution.severity,
        "message": resolution.message,
        "needs_person": resolution.needs_person,
        "notify": resolution.notify,
    }
    retry = _retry_config(story, config, resolution)
    most = run.max_attempts if run.options.get("limited", True) else max(retry.max_attempts, run.max_attempts)
    if action is Resolve.RETRY and run.attempt >= most:
        action, told["action"] = Resolve.FAIL, str(Resolve.FAIL)
    if run.hook is not None:
        _fail_hook(story, run, command, told)
        if action is Resolve.RETRY:
            _schedule_retry(story, run, retry, most, float(error.get("after_seconds") or 0))
        return
    story.tell(
        PhaseFailed(
            phase_name=run.phase_name,
            run_id=run.run_id,
            attempt=run.attempt,
            error=error,
            execution_time_ms=command.execution_time_ms,
            resolution=told,
        )
    )
    match action:
        case Resolve.WAIT_FOR_INPUT:
            fields = tuple(dict.fromkeys(str(field["field"]).partition(".")[0] for field in error.get("fields", ())))
            story.tell(
                InputRequested(
                    phase_name=run.phase_name,
                    fields=fields,
                    message=str(error.get("message", "")),
                    expires_after_seconds=run.options.get("input_timeout_seconds"),
                )
            )
        case Resolve.RETRY:
            _schedule_retry(story, run, retry, most, float(error.get("after_seconds") or 0))
        case Resolve.PAUSE:
            # it goes on with a fresh attempt when somebody resumes it
            _schedule_retry(story, run, RetryConfig(initial_delay_seconds=0), run.attempt + 1, 0)
            if story.flow.paused is None:
                story.tell(FlowPaused(reason=str(error.get("message", "")) or resolution.message))
        case Resolve.CONTINUE:
            story.tell(PhaseSkipped(phase_name=run.phase_name, reason=str(error.get("message", ""))))
            if story.flow.paused is None and (story.flow.next_phase is None or story.flow.auto_execute):
                _go_on(story)
        case _:
            _give_up(story, run.phase_name, error)


def _give_up(story: Story, phase_name: str, error: Json) -> None:
    """The flow fails at a phase, and may be executed again from there."""
    phase = story.flow.phase(phase_name)
    story.tell(FlowFailed(phase_name=phase_name, error=error, attempts=phase.attempt, chain=phase.failures))


def _fail_hook(story: Story, run: Run, command: FailPhase, told: Json) -> None:
    """Failing end hooks fail the flow when no attempt is left; failing error hooks change nothing about it."""
    final = told["action"] != Resolve.RETRY
    story.tell(
        HookFailed(
            moment=str(run.hook),
            phase_name=run.phase_name,
            run_id=run.run_id,
            attempt=run.attempt,
            error=command.error,
            execution_time_ms=command.execution_time_ms,
            resolution=told,
            final=final,
        )
    )
    if final and run.hook == Moment.END:
        story.tell(FlowFailed(phase_name=run.phase_name, error=command.error, attempts=run.attempt))


def _postpone(story: Story, run: Run, command: FailPhase) -> None:
    """The same attempt again when its target may be asked; those that wait for one are spread over a quarter of the time."""
    error = command.error
    timer_token = story.flow.version + 1
    spread = uuid5(story.flow.id, f"jitter:{timer_token}").int % 1000 / 1000
    after = float(error.get("after_seconds") or 1)
    story.tell(
        PhasePostponed(
            phase_name=run.phase_name,
            run_id=run.run_id,
            attempt=run.attempt,
            timer=RETRY_TIMER,
            timer_token=timer_token,
            delay_seconds=round(after * (1 + spread / 4), 3),
            reason={name: error[name] for name in ("code", "message", "target") if name in error},
            execution_time_ms=command.execution_time_ms,
        )
    )


def _retry_config(story: Story, config: PhaseConfig, resolution: Resolution) -> RetryConfig:
    """How soon it is tried again: as the phase says, the type, the class of the failure, the default."""
    return _configured(story, config) or resolution.retry or RetryConfig()


def _configured(story: Story, config: PhaseConfig) -> RetryConfig | None:
    """The limits that the phase or the type sets, where one does."""
    of_type = story.type.retry_config
    return config.retry_config or (of_type if of_type != RetryConfig() else None)


def _schedule_retry(story: Story, run: Run, retry: RetryConfig, most: int, after_seconds: float) -> None:
    """The next attempt, by a timer that fires after the back-off and not before the other side wants it."""
    timer_token = story.flow.version + 1
    spread = uuid5(story.flow.id, f"jitter:{timer_token}").int % 1000 / 1000
    story.tell(
        PhaseRetryScheduled(
            phase_name=run.phase_name,
            attempt=run.attempt + 1,
            timer=RETRY_TIMER,
            timer_token=timer_token,
            delay_seconds=max(retry.delay(run.attempt, spread), after_seconds),
            max_attempts=most,
        )
    )


def _request_input(story: Story, command: RequestInput) -> None:
    flow = story.flow
    _current_run(story, command.run_id, command.token)
    assert flow.run is not None
    if flow.run.hook is not None:
        message = f"a hook cannot ask for input: {command.message}"
        error = {"class": "permanent", "code": "hook_asked", "message": message, "retryable": False}
        _fail(story, FailPhase(flow_id=flow.id, run_id=command.run_id, token=command.token, error=error))
        return
    story.tell(
        InputRequested(
            phase_name=flow.run.phase_name,
            fields=command.fields,
            message=command.message,
            suggestions=command.suggestions,
            run_id=command.run_id,
            execution_time_ms=command.execution_time_ms,
            expires_after_seconds=flow.run.options.get("input_timeout_seconds"),
        )
    )


def _provide_input(story: Story, command: ProvideInput) -> None:
    flow = story.flow
    _not_over(story)
    waiting = flow.waiting
    if waiting is None:
        raise NothingToAnswer(allowed=allowed(flow, story.types))
    wanted = set(waiting.fields)
    for config in story.type.phases:
        if config.name == waiting.phase_name:
            wanted |= set(config.required_inputs) | set(config.optional_inputs)
    unknown = sorted(set(command.values) - wanted)
    if unknown or not command.values:
        errors = [FieldError(name, "was not asked for") for name in unknown] or [
            FieldError(name, "is wanted") for name in waiting.fields
        ]
        raise InputInvalid(f"phase {waiting.phase_name} asks for {', '.join(waiting.fields)}", errors=errors)
    story.tell(InputProvided(phase_name=waiting.phase_name, values=command.values, reason=command.reason))
    if story.flow.paused is None:
        _go_on(story)


def _pause(story: Story, command: PauseFlow) -> None:
    flow = story.flow
    _not_over(story)
    if flow.paused is not None:
        return
    if flow.status is Status.FAILED:
        raise FlowHasFailed(allowed=allowed(flow, story.types))
    if not story.type.capabilities.supports_pause_resume:
        raise FlowDoesNotPause(f"flows of type {flow.flow_type} cannot be paused", allowed=allowed(flow, story.types))
    if flow.run is not None and not story.type.phase(flow.run.phase_name).can_pause:
        raise PhaseNotPausable(
            f"phase {flow.run.phase_name} cannot be paused; wait until it has ended", allowed=allowed(flow, story.types)
        )
    story.tell(FlowPaused(reason=command.reason, draining=flow.run is not None))


def _resume(story: Story, command: ResumeFlow) -> None:
    flow = story.flow
    _not_over(story)
    if flow.paused is None:
        raise FlowNotPaused(allowed=allowed(flow, story.types))
    story.tell(FlowResumed(reason=command.reason))
    flow = story.flow
    if flow.run is not None or flow.waiting is not None:
        return
    waits = flow.timers.get(START_TIMER) or flow.timers.get(RETRY_TIMER)
    if waits is not None:
        # what was left of it when the flow was paused is still to pass
        if not waits.left(story.meta.at):
            (_go_on if flow.retry is None else _retry)(story)
        return
    following = flow.next_phase
    if following is not None and following.interrupted:
        _start(story, story.type.phase(following.name), {}, following.options, attempt=following.attempt)
        return
    answered = following is not None and following.status is PhaseStatus.WAITING
    if answered or following is None or flow.auto_execute:
        _go_on(story)


def _let_go(story: Story, command: HandBackRun | ReassignRun) -> None:
    """Another worker goes on at once; but what gives way to a pause waits until the flow is resumed."""
    _current_run(story, command.run_id, command.token)
    phase = story.flow.current_phase or ""
    run = story.flow.run
    # a hook belongs to no phase that could be begun again: it goes on elsewhere, pause or not
    if isinstance(command, HandBackRun) and story.flow.paused is not None and run is not None and run.hook is None:
        spent = command.execution_time_ms
        story.tell(RunHandedBack(phase_name=phase, run_id=command.run_id, execution_time_ms=spent))
        return
    reason = "handed_back" if isinstance(command, HandBackRun) else command.reason
    story.tell(RunReassigned(phase_name=phase, run_id=command.run_id, token=command.token + 1, reason=reason))


def _retry(story: Story) -> None:
    retry = story.flow.retry
    assert retry is not None
    options = {**retry.options, "timeout_seconds": retry.timeout_seconds, "max_attempts": retry.max_attempts}
    if retry.hook is not None:
        _start_hook(story, retry.hook, options=options, attempt=retry.attempt)
        return
    _start(story, story.type.phase(retry.phase_name), {}, options, attempt=retry.attempt)


def _fire(story: Story, command: FireTimer) -> None:
    timer = story.flow.timers.get(command.timer)
    if timer is not None and timer.token == command.token:
        FIRED[command.timer](story)


def _input_expired(story: Story) -> None:
    waiting = story.flow.waiting
    assert waiting is not None
    config = story.type.phase(waiting.phase_name)
    reason = f"nobody answered within {waiting.expires_after_seconds:g} s"
    known = story.flow.known_inputs
    defaults = {name: config.input_defaults[name] for name in waiting.fields if name in config.input_defaults}
    if config.on_input_timeout == "skip":
        story.tell(PhaseSkipped(phase_name=config.name, reason=reason))
        if story.flow.next_phase is None or story.flow.auto_execute:
            _go_on(story)
    # a phase that has its defaults and asks all the same would ask for ever
    elif any(name not in known or known[name] != value for name, value in defaults.items()):
        story.tell(InputProvided(phase_name=config.name, values=defaults, reason=reason))
        _go_on(story)
    else:
        message = f"{config.display_name} asked for {', '.join(waiting.fields)}; {reason}"
        _give_up(
            story, config.name, {"class": "timeout", "code": "input_expired", "message": message, "retryable": False}
        )


def _flow_timed_out(story: Story) -> None:
    flow = story.flow
    run, phase_name = flow.run, flow.current_phase
    assert phase_name is not None
    message = f"the flow did not end within {flow.options['flow_timeout_seconds']:g} s"
    error = {"class": "timeout", "code": "flow_timeout", "message": message, "retryable": False}
    if run is not None:
        told = {
            "action": str(Resolve.FAIL),
            "severity": "high",
            "message": "The time of the flow is up; execute it again to give it as much anew, or cancel it.",
            "needs_person": True,
            "notify": True,
        }
        about: Json = {"phase_name": phase_name, "run_id": run.run_id, "attempt": run.attempt}
        story.tell(
            PhaseFailed(**about, error=error, resolution=told)
            if run.hook is None
            else HookFailed(**about, moment=run.hook, error=error, resolution=told, final=True)
        )
    _give_up(story, phase_name, error)


FIRED: dict[str, Callable[[Story], None]] = {
    START_TIMER: _go_on,
    RETRY_TIMER: _retry,
    INPUT_TIMER: _input_expired,
    DEADLINE_TIMER: _flow_timed_out,
}


def _cancel(story: Story, command: CancelFlow) -> None:
    if story.flow.status is Status.CANCELLED:
        return
    _not_over(story)
    story.tell(FlowCancelled(reason=command.reason))


def _delete(story: Story, command: DeleteFlow) -> None:
    if story.flow.status is not Status.DELETED:
        story.tell(FlowDeleted(reason=command.reason))


def _not_over(story: Story) -> None:
    flow = story.flow
    if flow.status in OVER:
        raise FlowIsOver(f"the flow is {flow.status} and takes no more work", allowed=allowed(flow, story.types))


def allowed(flow: Flow, types: FlowTypes) -> list[str]:
    """The verbs that the flow takes now, in the words of the HTTP routes."""
    if flow.status is Status.DELETED or not flow.exists:
        return []
    if flow.status in OVER:
        return ["delete"]
    verbs: list[str] = []
    if flow.paused is not None:
        verbs.append("resume")
    elif flow.run is None or flow.run.hook == Moment.ERROR:
        verbs.append("execute")
    if flow.waiting is not None:
        verbs.append("input")
    if flow.paused is None and flow.status is not Status.FAILED and _can_pause(flow, types):
        verbs.append("pause")
    return [*verbs, "cancel", "delete"]


def _can_pause(flow: Flow, types: FlowTypes) -> bool:
    config = types.version(flow.flow_type, flow.flow_version)
    if not config.capabilities.supports_pause_resume:
        return False
    return flow.run is None or config.phase(flow.run.phase_name).can_pause


def next_action(flow: Flow, types: FlowTypes) -> Json:
    """What the flow needs next: `{type, phase, required_inputs, message, estimated_duration_seconds, until}`.

    `until` (ISO 8601) is when the flow goes on by itself: the start, the next attempt, the end of the time for an answer.
    """
    phase: Phase | None = flow.next_phase
    config = types.version(flow.flow_type, flow.flow_version).phase(phase.name) if phase is not None else None
    title = config.display_name if config else THE_END
    last = flow.error is not None or flow.run is not None or flow.retry is not None
    name = phase.name if phase else flow.current_phase if last else None
    seconds = config.expected_seconds if config else None
    if flow.status in OVER:
        return _action(Action.NONE, None, [], f"The flow is {flow.status}", None)
    if flow.status is Status.FAILED:
        advice = flow.advice.get("message") or "execute it again or cancel the flow"
        return _action(Action.RETRY, name, [], f"{title} failed; {advice}", seconds)
    if flow.paused is not None:
        message = "The flow is paused; work in progress is draining" if flow.draining else "The flow is paused"
        return _action(Action.RESUME, name, [], message, None)
    if flow.waiting is not None:
        kind = Action.APPROVE if "approval" in flow.waiting.fields else Action.PROVIDE_INPUT
        wanted, until = list(flow.waiting.fields), _until(flow, INPUT_TIMER)
        return _action(kind, flow.waiting.phase_name, wanted, flow.waiting.message, None, until=until)
    if flow.retry is not None:
        why = flow.retry.reason
        message = f"{title} waits: {why.get('message', '')}" if why else f"{title} will be tried again"
        until = _until(flow, RETRY_TIMER)
        return _action(Action.WAIT, name, [], message, flow.retry.delay_seconds, until=until)
    if flow.start is not None:
        return _action(Action.WAIT, name, [], f"{title} will be started", seconds, until=_until(flow, START_TIMER))
    if flow.run is not None:
        return _action(Action.WAIT, name, [], "Ending the flow" if flow.run.hook else f"Processing {title}", seconds)
    missing = _missing(flow, config, {}) if config else []
    return _action(Action.EXECUTE_PHASE, name, missing, f"Execute {title}", seconds)


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
