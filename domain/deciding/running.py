"""What becomes of a flow when a run ends, fails, asks or changes hands."""

from __future__ import annotations

from typing import Any
from uuid import uuid5

import msgspec

from domain.commands import CompletePhase, FailPhase, HandBackRun, ReassignRun, RequestInput
from domain.deciding.back import compensate_once_stopped, compensated, not_compensated
from domain.deciding.recovering import recover_or_give_up
from domain.deciding.starting import ask_for, go_on, limits_of, move_on
from domain.deciding.story import Story, current_run, keep_point
from domain.events import (
    FlowFailed,
    FlowPaused,
    HookCompleted,
    HookFailed,
    InputRequested,
    PhaseCompleted,
    PhaseFailed,
    PhasePostponed,
    PhaseRetryScheduled,
    PhaseSkipped,
    RunHandedBack,
    RunReassigned,
)
from domain.failures import Resolution, resolution_of
from domain.flow import RETRY_TIMER, Run
from domain.flow_types import PhaseConfig, RetryConfig
from domain.questions import Question
from domain.words import Moment, Resolve

Json = dict[str, Any]


def complete(story: Story, command: CompletePhase) -> None:
    current_run(story, command.run_id, command.token)
    flow = story.flow
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
            handler_versions=command.handler_versions,
            reused_from=command.reused_from,
        )
    )
    keep_point(story, run.phase_name, run.options)
    move_on(story)


def _complete_hook(story: Story, run: Run, command: CompletePhase) -> None:
    story.tell(
        HookCompleted(
            moment=str(run.hook),
            phase_name=run.phase_name,
            run_id=run.run_id,
            outputs=command.outputs,
            execution_time_ms=command.execution_time_ms,
            resource_usage=command.resource_usage,
            handler_versions=command.handler_versions,
        )
    )
    if run.hook == Moment.END and story.flow.paused is None:
        go_on(story)
    elif run.hook == Moment.COMPENSATE:
        compensated(story)
    elif run.hook == Moment.CANCEL:
        compensate_once_stopped(story)


def fail(story: Story, command: FailPhase) -> None:
    current_run(story, command.run_id, command.token)
    flow = story.flow
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
            handler_versions=command.handler_versions,
        )
    )
    match action:
        case Resolve.WAIT_FOR_INPUT:
            fields = tuple(dict.fromkeys(str(field["field"]).partition(".")[0] for field in error.get("fields", ())))
            ask_for(
                story, config, fields, run.options.get("input_timeout_seconds"), message=str(error.get("message", ""))
            )
        case Resolve.RETRY:
            _schedule_retry(story, run, retry, most, float(error.get("after_seconds") or 0))
        case Resolve.PAUSE:
            # it goes on with a fresh attempt when somebody resumes it
            _schedule_retry(story, run, RetryConfig(initial_delay_seconds=0), run.attempt + 1, 0)
            if story.flow.paused is None:
                why = str(error.get("message", "")) or resolution.message
                story.tell(FlowPaused(reason=why, draining=bool(story.flow.runs)))
        case Resolve.CONTINUE:
            story.tell(PhaseSkipped(phase_name=run.phase_name, reason=str(error.get("message", ""))))
            keep_point(story, run.phase_name, run.options)
            move_on(story)
        case _:
            recover_or_give_up(story, run, error)


def _fail_hook(story: Story, run: Run, command: FailPhase, told: Json) -> None:
    """Failing end hooks and compensations fail the flow when no attempt is left; failing error hooks change nothing."""
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
            handler_versions=command.handler_versions,
        )
    )
    if final and run.hook == Moment.END:
        story.tell(FlowFailed(phase_name=run.phase_name, error=command.error, attempts=run.attempt))
    elif final and run.hook == Moment.COMPENSATE:
        not_compensated(story, run, command.error)
    elif final and run.hook == Moment.CANCEL:
        compensate_once_stopped(story)


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
            timer=story.flow.called(RETRY_TIMER),
            timer_token=timer_token,
            delay_seconds=round(after * (1 + spread / 4), 3),
            reason={name: error[name] for name in ("code", "message", "target") if name in error},
            execution_time_ms=command.execution_time_ms,
        )
    )


def _retry_config(story: Story, config: PhaseConfig, resolution: Resolution) -> RetryConfig:
    """How soon it is tried again: as the phase says, the type, the class of the failure, the default."""
    return limits_of(story, config) or resolution.retry or RetryConfig()


def _schedule_retry(story: Story, run: Run, retry: RetryConfig, most: int, after_seconds: float) -> None:
    """The next attempt, by a timer that fires after the back-off and not before the other side wants it."""
    timer_token = story.flow.version + 1
    spread = uuid5(story.flow.id, f"jitter:{timer_token}").int % 1000 / 1000
    story.tell(
        PhaseRetryScheduled(
            phase_name=run.phase_name,
            attempt=run.attempt + 1,
            timer=story.flow.called(RETRY_TIMER),
            timer_token=timer_token,
            delay_seconds=max(retry.delay(run.attempt, spread), after_seconds),
            max_attempts=most,
        )
    )


def request_input(story: Story, command: RequestInput) -> None:
    current_run(story, command.run_id, command.token)
    flow = story.flow
    assert flow.run is not None
    if flow.run.hook is not None:
        message = f"a hook cannot ask for input: {command.message}"
        error = {"class": "permanent", "code": "hook_asked", "message": message, "retryable": False}
        fail(story, FailPhase(flow_id=flow.id, run_id=command.run_id, token=command.token, error=error))
        return
    question = msgspec.convert(command.question, Question) if command.question is not None else None
    if question is not None and question.on_expiry == "skip" and not story.type.phase(flow.run.phase_name).can_skip:
        error = {
            "class": "permanent",
            "code": "question_invalid",
            "message": "on_expiry says 'skip', but the phase cannot be skipped",
            "retryable": False,
        }
        fail(story, FailPhase(flow_id=flow.id, run_id=command.run_id, token=command.token, error=error))
        return
    patience = question.expires_after_seconds if question is not None else None
    story.tell(
        InputRequested(
            phase_name=flow.run.phase_name,
            fields=command.fields,
            message=command.message,
            suggestions=command.suggestions,
            run_id=command.run_id,
            execution_time_ms=command.execution_time_ms,
            expires_after_seconds=patience or flow.run.options.get("input_timeout_seconds"),
            question=question,
            step=command.step,
        )
    )


def let_go(story: Story, command: HandBackRun | ReassignRun) -> None:
    """Another worker goes on at once; but what gives way to a pause waits until the flow is resumed."""
    current_run(story, command.run_id, command.token)
    phase = story.flow.current_phase or ""
    run = story.flow.run
    # a hook belongs to no phase that could be begun again: it goes on elsewhere, pause or not
    if isinstance(command, HandBackRun) and story.flow.paused is not None and run is not None and run.hook is None:
        spent = command.execution_time_ms
        story.tell(RunHandedBack(phase_name=phase, run_id=command.run_id, execution_time_ms=spent))
        return
    reason = "handed_back" if isinstance(command, HandBackRun) else command.reason
    story.tell(RunReassigned(phase_name=phase, run_id=command.run_id, token=command.token + 1, reason=reason))
