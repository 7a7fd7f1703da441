"""How a flow begins, how its phases begin, and what comes next."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from domain.commands import CreateFlow, ExecutePhase
from domain.conditions import told
from domain.deciding.kinship import Kinship, kinship_of, not_gated
from domain.deciding.story import NOBODY_RUNS_IT, Story, allowed, asks_people, can_begin, give_up, not_over
from domain.errors import (
    AnswerWanted,
    FieldError,
    FlowExists,
    FlowIsOver,
    FlowPausedNow,
    InputInvalid,
    InputsMissing,
    NotSupported,
    PhaseAlreadyRunning,
    PhaseNotNamed,
    PhaseOutOfOrder,
    PhaseUnknown,
)
from domain.events import (
    DependencyEnded,
    FlowCompleted,
    FlowCreated,
    FlowPaused,
    HookFailed,
    HookStarted,
    InputRequested,
    PhaseSkipped,
    PhaseStarted,
    PlannedPhase,
)
from domain.fleet.subjects import StandingPause
from domain.flow import DONE, Flow, Phase
from domain.flow_types import FlowTypeConfig, PhaseConfig, RetryConfig
from domain.graph import at_once, left_out
from domain.questions import Question
from domain.schemas import misfits
from domain.undoing import Undone
from domain.words import Moment, PhaseStatus, Status

Json = dict[str, Any]


def create(
    story: Story, command: CreateFlow, others: Mapping[UUID, Flow], standing: Sequence[StandingPause] = ()
) -> None:
    if story.flow.exists:
        raise FlowExists
    kin = kinship_of(story.meta, command, others)
    config = story.types.get(command.flow_type)
    check_given(config.phases, "initial_data", command.initial_data)
    given = command.options.model_dump(mode="json", exclude_none=True, exclude={"auto_execute"})
    if not given["notification_emails"]:
        del given["notification_emails"]
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
            parent_flow_id=command.parent_flow_id,
            ancestors=kin.ancestors,
            dependent_flow_ids=kin.dependencies,
            follows=at_once(config),
        )
    )
    _settle_in(story, kin)
    held = next((pause for pause in standing if pause.holds(config.name, command.flow_tags)), None)
    if held is not None and story.flow.paused is None and story.flow.status is not Status.FAILED:
        story.tell(FlowPaused(reason=held.said, standing_pause_id=held.id, pause_rule_id=held.pause_rule_id))
    if story.flow.gates or story.flow.status in (Status.PAUSED, Status.FAILED):
        return
    start = story.flow.start
    if start is None:
        if command.options.auto_execute:
            go_on(story)
    elif not start.left(story.meta.at):
        go_on(story)


def _settle_in(story: Story, kin: Kinship) -> None:
    """A new flow under a tree that is paused is paused with it, and hears which of those it waits for are at rest."""
    if kin.paused is not None:
        held_by, paused = kin.paused
        story.tell(FlowPaused(reason=paused.reason, timers=paused.timers, by_flow_id=held_by))
    for flow_id, status in kin.at_rest:
        dependency_ended(story, flow_id, status)


def dependency_ended(story: Story, flow_id: UUID, status: str) -> None:
    """One of the flows that this one waits for is at rest; where it should fail then, it does."""
    story.tell(DependencyEnded(dependency_flow_id=flow_id, status=status))
    flow = story.flow
    if (
        status == Status.COMPLETED
        or flow.options.get("on_dependency_failure") != "fail"
        or flow.status is Status.FAILED
        or flow.current_phase is None
    ):
        return
    message = f"the flow {flow_id}, which this one waits for, is {status}"
    error = {"class": "business_logic", "code": "dependency_failed", "message": message, "retryable": False}
    give_up(story, flow.current_phase, error)


def execute(story: Story, command: ExecutePhase) -> None:
    flow = story.flow
    not_over(story)
    if flow.paused is not None:
        raise FlowPausedNow(allowed=allowed(flow, story.types))
    if story.type.is_placeholder:
        raise NotSupported(NOBODY_RUNS_IT.format(flow_type=flow.flow_type), allowed=allowed(flow, story.types))
    beside = bool(flow.follows and flow.ready) and flow.undoing is None
    if flow.run is not None and flow.run.hook != Moment.ERROR and not beside:
        raise PhaseAlreadyRunning(
            f"phase {flow.run.phase_name} is running; wait for it, pause the flow or cancel it",
            allowed=allowed(flow, story.types),
        )
    not_gated(story)
    leave_out(story)
    flow = story.flow
    if story.facts and flow.next_phase is None:
        leave_error_hooks(story)
        go_on(story)
        return
    if beside:
        check_given(story.type.phases, "inputs", command.inputs)
        _execute_ready(story, command)
        return
    if flow.suspended is not None:
        raise PhaseAlreadyRunning(
            f"phase {flow.suspended.phase_name} waits for {told(flow.suspended.until)}; it goes on by itself",
            allowed=allowed(flow, story.types),
        )
    if asks_people(flow):
        raise AnswerWanted(
            f"phase {flow.current_phase} waits for the answer of particular people; give it as input",
            allowed=allowed(flow, story.types),
        )
    check_given(story.type.phases, "inputs", command.inputs)
    if flow.undoing is not None:
        _execute_compensation(story, command, flow.undoing)
        return
    following = flow.next_phase
    if following is None:
        _execute_end(story, command)
        return
    config = next_asked(story, command.phase_name, following)
    options = options_for(story, config, command.options.model_dump(exclude_none=True))
    missing = _lacking(story, config, command.inputs, options)
    if missing:
        if set(missing) <= set(reserved(story.type)):
            # which only an answer can bring
            leave_error_hooks(story)
            ask_for(story, config, missing, options.get("input_timeout_seconds"))
            return
        raise InputsMissing(
            f"phase {config.name} needs {', '.join(missing)}",
            errors=[FieldError(f"inputs.{name}", "is required") for name in missing],
        )
    leave_error_hooks(story)
    start_phase(story, config, command.inputs, options)


def _execute_ready(story: Story, command: ExecutePhase) -> None:
    """Begin the phase that is named or all that are ready; what waits for its next attempt, or for inputs, only where there is
    no other. Where several begin, those that lack inputs ask for them."""
    left_out_now = bool(story.facts)
    leave_error_hooks(story)
    flow, chosen = story.flow, can_begin(story.flow)
    if command.phase_name:
        named = one_of_ready(story, command.phase_name).name
        chosen = [phase for phase in chosen if phase.name == named]
    lanes = flow.lanes
    chosen = [phase for phase in chosen if phase.name not in lanes] or chosen
    if not chosen and not left_out_now:
        raise PhaseAlreadyRunning(
            f"{', '.join(lanes)}: each runs, or waits for something that execute does not bring",
            allowed=allowed(flow, story.types),
        )
    lacking: list[tuple[PhaseConfig, list[str], float | None]] = []
    for phase in chosen:
        config = story.type.phase(phase.name)
        options = options_for(story, config, command.options.model_dump(exclude_none=True))
        missing = _lacking(story, config, command.inputs, options)
        if not missing:
            start_phase(story, config, command.inputs, options)
        else:
            lacking.append((config, missing, options.get("input_timeout_seconds")))
    only_answers = set(reserved(story.type))
    if lacking and len(lacking) == len(chosen) and not any(set(missing) <= only_answers for _, missing, _ in lacking):
        raise InputsMissing(
            "; ".join(f"phase {config.name} needs {', '.join(missing)}" for config, missing, _ in lacking),
            errors=[FieldError(f"inputs.{name}", "is required") for _, missing, _ in lacking for name in missing],
        )
    for config, missing, patience in lacking:
        if config.name not in lanes:
            ask_for(story, config, missing, patience)


def one_of_ready(story: Story, name: str | None) -> PhaseConfig:
    """The phase that is meant, among those that are ready; raises PhaseUnknown, PhaseOutOfOrder and PhaseNotNamed."""
    ready = [phase.name for phase in story.flow.ready]
    if name is None:
        if len(ready) > 1:
            raise PhaseNotNamed(f"say which phase is meant; these are next: {', '.join(ready)}", allowed=ready)
        return story.type.phase(ready[0])
    config = phase_asked(story, name)
    if config.name in ready:
        return config
    when = "has been completed" if story.flow.phase(config.name).status in DONE else "comes later"
    raise PhaseOutOfOrder(f"phase {config.name} {when}; next is {', '.join(ready)}", allowed=ready)


def _execute_end(story: Story, command: ExecutePhase) -> None:
    """Run the end hooks, which are all that is left; their phase is the last one."""
    if not story.type.hooks.end:
        raise FlowIsOver(allowed=allowed(story.flow, story.types))
    last = story.type.phases[-1]
    if command.phase_name and (named := phase_asked(story, command.phase_name).name) != last.name:
        raise PhaseOutOfOrder(f"phase {named} has been completed; what is left is the flow's end", allowed=[last.name])
    options = options_for(story, last, command.options.model_dump(exclude_none=True))
    leave_error_hooks(story)
    start_hook(story, Moment.END, options=options, inputs=command.inputs)


def _execute_compensation(story: Story, command: ExecutePhase, undoing: Undone) -> None:
    """Go on with what is left to undo, before any phase."""
    config = story.type.phase(undoing.phase_name)
    if command.phase_name and phase_asked(story, command.phase_name).name != config.name:
        raise PhaseOutOfOrder(f"phase {config.name} is to be undone first", allowed=[config.name])
    options = options_for(story, config, command.options.model_dump(exclude_none=True))
    leave_error_hooks(story)
    start_hook(story, Moment.COMPENSATE, options=options, inputs=command.inputs)


def leave_error_hooks(story: Story) -> None:
    """What the error hooks were about to say is about a failure that no longer stands."""
    run = story.flow.run
    if run is None or run.hook != Moment.ERROR:
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


def next_asked(story: Story, name: str | None, following: Phase) -> PhaseConfig:
    """The next phase, as it was asked for or as it comes; raises PhaseUnknown, and PhaseOutOfOrder for another one."""
    config = phase_asked(story, name) if name else story.type.phase(following.name)
    if config.name == following.name:
        return config
    if story.flow.phase(config.name).status in DONE:
        raise PhaseOutOfOrder(
            f"phase {config.name} has been completed; next is {following.name}", allowed=[following.name]
        )
    raise PhaseOutOfOrder(f"phase {config.name} comes later; next is {following.name}", allowed=[following.name])


def phase_asked(story: Story, name: str) -> PhaseConfig:
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


def start_phase(story: Story, config: PhaseConfig, inputs: Json, options: Json, attempt: int = 1) -> None:
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


def start_hook(
    story: Story, moment: str, *, options: Json | None = None, inputs: Json | None = None, attempt: int = 1
) -> None:
    """Run the hooks of the flow's end, or after its failure, under the limits of the phase in hand; or undo a phase."""
    undoing = story.flow.undoing if moment == Moment.COMPENSATE else None
    phase = story.type.phase(undoing.phase_name if undoing is not None else story.flow.current_phase or "")
    resolved = dict(options or options_for(story, phase, {}))
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


def options_for(story: Story, config: PhaseConfig, call: Json) -> Json:
    """Options as they will hold for the run: the call, the flow's own, the phase, the type, the default."""
    given = {**story.flow.options, **call}
    configured = limits_of(story, config)
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
        **({} if given.get("reuse_results", story.type.reuse_results) else {"reuse_results": False}),
        # whoever says how many attempts there are has no more than these
        **({"recover": False} if retries is not None or not retried else {}),
        **({"priority": call["priority"]} if "priority" in call else {}),
    }


def limits_of(story: Story, config: PhaseConfig) -> RetryConfig | None:
    """The limits that the phase or the type sets, where one does."""
    of_type = story.type.retry_config
    return config.retry_config or (of_type if of_type != RetryConfig() else None)


def missing_inputs(flow: Flow, config: PhaseConfig, inputs: Json) -> list[str]:
    """Required inputs that neither the call, the flow's data nor an earlier phase's outputs satisfy."""
    if config.asks_for_inputs:
        return []
    known = set(flow.initial_data) | set(flow.inputs) | set(inputs)
    before = flow.up_to(config.name) if flow.follows else None
    for phase in flow.phases:
        if before is None or phase.name in before:
            known |= set(phase.outputs)
    return [
        name
        for name in config.required_inputs
        if name not in known and not any(other in known for other in config.input_alternatives.get(name, ()))
    ]


def leave_out(story: Story) -> None:
    """Pass over the phases that the flow does not go through, until those that it does."""
    while (passed := _passed_over(story)) is not None:
        story.tell(PhaseSkipped(phase_name=passed[0], reason=passed[1], not_taken=True))


def _passed_over(story: Story) -> tuple[str, str] | None:
    """A phase that would be next but for the branches that the flow takes, and why it is passed over."""
    for phase in story.flow.ready:
        if phase.status is PhaseStatus.PENDING and not phase.attempt:
            reason = left_out(story.flow, story.type.phase(phase.name))
            if reason is not None:
                return phase.name, reason
    return None


def go_on(story: Story) -> None:
    """Start what comes next, or ask for what it lacks, or end the flow; what is left to undo comes first."""
    if story.flow.undoing is not None:
        start_hook(story, Moment.COMPENSATE)
        return
    story.whole()
    leave_out(story)
    following = story.flow.next_phase
    if following is not None and story.flow.follows:
        lanes = story.flow.lanes
        for phase in story.flow.ready:
            if phase.name not in lanes:
                begin(story, phase)
    elif following is not None:
        begin(story, following)
    elif story.type.hooks.end and not story.flow.wrapped_up:
        start_hook(story, Moment.END)
    else:
        story.tell(FlowCompleted())


def after_answer(story: Story) -> None:
    """Go on with the phase that has its answer; the others go on by themselves."""
    following = story.flow.next_phase
    if story.flow.follows and following is not None:
        begin(story, following)
    else:
        go_on(story)


def begin(story: Story, following: Phase) -> None:
    """Start a phase, or ask for what it lacks; one that gave way to others goes on as it was started."""
    config = story.type.phase(following.name)
    if story.flow.follows and following.interrupted:
        start_phase(story, config, {}, following.options, attempt=following.attempt)
        return
    # a phase that asked goes on as it was started
    asked = following.status is PhaseStatus.WAITING and following.options
    options = following.options if asked else options_for(story, config, {})
    missing = _lacking(story, config, {}, options)
    if missing:
        ask_for(story, config, missing, options.get("input_timeout_seconds"))
        return
    start_phase(story, config, {}, options)


def reserved(config: FlowTypeConfig) -> dict[str, Question]:
    """The inputs of a type that only those may give whom a phase's question names, or two people together."""
    return {
        name: phase.question
        for phase in config.phases
        if phase.question is not None and phase.question.assignees is not None
        for name in phase.required_inputs
    }


def check_given(phases: Iterable[PhaseConfig], place: str, given: Json) -> None:
    """Raises InputInvalid for inputs that only an answer can bring, or that do not fit what the phase's question says."""
    for phase in phases:
        question = phase.question
        named = {name: given[name] for name in phase.required_inputs if name in given}
        if question is None or not named:
            continue
        if question.assignees is not None:
            raise InputInvalid(
                f"{', '.join(named)}: is asked of particular people when the time has come; leave it out",
                errors=[FieldError(f"{place}.{name}", "is given by answering the question alone") for name in named],
            )
        errors = misfits(named, question.lacking(()).schema or {}, place)
        if errors:
            raise InputInvalid(f"what phase {phase.name} needs is given otherwise than it says", errors=errors)


def _lacking(story: Story, config: PhaseConfig, inputs: Json, options: Json) -> list[str]:
    """The required inputs that are missing; unchecked, those that only an answer can bring."""
    missing = missing_inputs(story.flow, config, inputs)
    return missing if options["validate_inputs"] else [name for name in missing if name in reserved(story.type)]


def ask_for(
    story: Story, config: PhaseConfig, fields: Iterable[str], patience: float | None, message: str = ""
) -> None:
    """Ask for inputs of a phase, as its question says where these are required ones, at most so many seconds."""
    wanted = tuple(fields)
    question = config.question if set(wanted) <= set(config.required_inputs) else None
    if question is not None:
        question = question.lacking(wanted)
        patience = question.expires_after_seconds or patience
        message = message or question.message
    story.tell(
        InputRequested(
            phase_name=config.name,
            fields=wanted,
            message=message or f"{config.display_name} needs {', '.join(wanted)}",
            expires_after_seconds=patience,
            question=question,
        )
    )


def move_on(story: Story) -> None:
    """After a phase: pass over what the flow does not go through, and go on where it does so by itself; not while it is paused,
    nor before its start."""
    story.whole()
    flow = story.flow
    if flow.paused is not None or flow.start is not None or flow.gates:
        return
    leave_out(story)
    if story.flow.next_phase is None or story.flow.auto_execute:
        go_on(story)


def try_again(story: Story) -> None:
    retry = story.flow.retry
    assert retry is not None
    options = {**retry.options, "timeout_seconds": retry.timeout_seconds, "max_attempts": retry.max_attempts}
    if retry.hook is not None:
        start_hook(story, retry.hook, options=options, attempt=retry.attempt)
        return
    start_phase(story, story.type.phase(retry.phase_name), {}, options, attempt=retry.attempt)
