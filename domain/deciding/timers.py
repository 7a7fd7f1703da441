"""What a timer that fires means to its flow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from domain.commands import FireTimer
from domain.deciding.starting import go_on, try_again
from domain.deciding.story import Story, give_up
from domain.deciding.suspending import time_is_up
from domain.events import HookFailed, InputProvided, PhaseFailed, PhaseSkipped
from domain.flow import DEADLINE_TIMER, INPUT_TIMER, RETRY_TIMER, START_TIMER, WAIT_TIMER
from domain.words import Resolve

Json = dict[str, Any]


def fire(story: Story, command: FireTimer) -> None:
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
            go_on(story)
    # a phase that has its defaults and asks all the same would ask for ever
    elif any(name not in known or known[name] != value for name, value in defaults.items()):
        story.tell(InputProvided(phase_name=config.name, values=defaults, reason=reason))
        go_on(story)
    else:
        message = f"{config.display_name} asked for {', '.join(waiting.fields)}; {reason}"
        give_up(
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
    give_up(story, phase_name, error)


FIRED: dict[str, Callable[[Story], None]] = {
    START_TIMER: go_on,
    RETRY_TIMER: try_again,
    INPUT_TIMER: _input_expired,
    WAIT_TIMER: time_is_up,
    DEADLINE_TIMER: _flow_timed_out,
}
