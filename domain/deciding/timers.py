"""What a timer that fires means to its flow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from domain.commands import FireTimer
from domain.deciding.answering import remind
from domain.deciding.starting import after_answer, go_on, move_on, options_for, start_hook, try_again
from domain.deciding.story import Story, give_up, keep_point
from domain.deciding.suspending import time_is_up
from domain.events import HookFailed, InputProvided, PhaseFailed, PhaseSkipped
from domain.flow import (
    CLEANUP_TIMER,
    DEADLINE_TIMER,
    INPUT_TIMER,
    REMIND_TIMER,
    RETRY_TIMER,
    START_TIMER,
    STOPPING_TIMER,
    WAIT_TIMER,
)
from domain.words import Moment, Resolve

Json = dict[str, Any]


def fire(story: Story, command: FireTimer) -> None:
    flow = story.flow
    timer = flow.timers.get(command.timer)
    if timer is None or timer.token != command.token:
        return
    # what would begin work during a pause is seen to when the flow is resumed
    name, _, phase = command.timer.partition(":")
    if flow.paused is None or name in AT_ONCE:
        story.on(phase or None)
        FIRED[name](story)


def _input_expired(story: Story) -> None:
    waiting = story.flow.waiting
    assert waiting is not None
    config = story.type.phase(waiting.phase_name)
    reason = f"nobody answered within {waiting.expires_after_seconds:g} s"
    known = story.flow.known_inputs
    defaults = {name: config.input_defaults[name] for name in waiting.fields if name in config.input_defaults}
    question = waiting.question
    then = config.on_input_timeout
    if question is not None and question.on_expiry is not None:
        then, defaults = question.on_expiry, question.defaults
    if then == "skip":
        story.tell(PhaseSkipped(phase_name=config.name, reason=reason))
        keep_point(story, config.name, story.flow.phase(config.name).options or options_for(story, config, {}))
        move_on(story)
    # a phase that has its defaults and asks all the same would ask for ever
    elif any(waiting.step or name not in known or known[name] != value for name, value in defaults.items()):
        story.tell(InputProvided(phase_name=config.name, values=defaults, reason=reason))
        if story.flow.paused is None:
            after_answer(story)
    else:
        message = f"{config.display_name} asked for {', '.join(waiting.fields)}; {reason}"
        give_up(
            story, config.name, {"class": "timeout", "code": "input_expired", "message": message, "retryable": False}
        )


def _flow_timed_out(story: Story) -> None:
    story.on(next((run.phase_name for run in story.flow.runs), None))
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
    give_up(story, phase_name, error)


def _stopped(story: Story) -> None:
    # what cleans up after the flow may still be under way; then the compensations follow it
    if story.flow.run is None and story.flow.retry is None:
        go_on(story)


def _clean_up(story: Story) -> None:
    start_hook(story, Moment.CANCEL)


AT_ONCE = frozenset({INPUT_TIMER, REMIND_TIMER, DEADLINE_TIMER})
"""The timers that begin no work, so that they take effect during a pause that lets timers run."""
FIRED: dict[str, Callable[[Story], None]] = {
    START_TIMER: go_on,
    RETRY_TIMER: try_again,
    INPUT_TIMER: _input_expired,
    REMIND_TIMER: remind,
    WAIT_TIMER: time_is_up,
    DEADLINE_TIMER: _flow_timed_out,
    STOPPING_TIMER: _stopped,
    CLEANUP_TIMER: _clean_up,
}
