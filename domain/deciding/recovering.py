"""What is done about a phase that has no attempt left, before its flow fails."""

from __future__ import annotations

from typing import Any
from uuid import uuid5

from domain.deciding.starting import options_for, try_again
from domain.deciding.story import Story, give_up
from domain.events import PhaseRetryScheduled, RecoveryStarted
from domain.flow import RETRY_TIMER, Run
from domain.recovery import RESTARTS, Recovery, Remedy
from domain.words import PhaseStatus

Json = dict[str, Any]


def recover_or_give_up(story: Story, run: Run, error: Json) -> None:
    """The first rule that is about the error and not used up is followed; without one the flow fails."""
    found = _rule(story, run, error)
    if found is None:
        give_up(story, run.phase_name, error)
        return
    place, rule, number = found
    told: Json = {
        "phase_name": run.phase_name,
        "action": rule.action,
        "reason": {name: error.get(name) for name in ("class", "code", "message")},
        "rule": place,
        "number": number,
        "at_most": rule.at_most,
        "inputs": rule.with_inputs,
    }
    if rule.action == Remedy.MANUAL_INTERVENTION_REQUIRED:
        story.tell(RecoveryStarted(**told))
        give_up(story, run.phase_name, error)
    elif rule.action in RESTARTS:
        _restart(story, run, rule, told)
    else:
        story.tell(RecoveryStarted(**told, delay_seconds=rule.delay_seconds))
        _once_more(story, run, max(rule.delay_seconds, float(error.get("after_seconds") or 0)))


def _rule(story: Story, run: Run, error: Json) -> tuple[int, Recovery, int] | None:
    """The rule, its place, and the how manieth time this is. A phase without rules of its own has its type's.

    Where a caller said how many attempts there are, there are no more.
    """
    flow, config, more = story.flow, story.type.phase(run.phase_name), run.options.get("recover", True)
    for place, rule in enumerate(config.recovery or story.type.recovery):
        used = flow.recovered.get(f"{run.phase_name}:{place}", 0)
        if used >= rule.at_most or not rule.concerns(error) or _comes_later(story, rule.from_phase, run.phase_name):
            continue
        if more or rule.action == Remedy.MANUAL_INTERVENTION_REQUIRED:
            return place, rule, used + 1
    return None


def _comes_later(story: Story, name: str | None, than: str) -> bool:
    return name is not None and name not in story.flow.up_to(than)


def _once_more(story: Story, run: Run, after_seconds: float) -> None:
    """The phase has all its attempts again; those that wait for one thing are spread over a quarter of the time."""
    timer_token = story.flow.version + 1
    spread = uuid5(story.flow.id, f"jitter:{timer_token}").int % 1000 / 1000
    story.tell(
        PhaseRetryScheduled(
            phase_name=run.phase_name,
            attempt=1,
            timer=story.flow.called(RETRY_TIMER),
            timer_token=timer_token,
            delay_seconds=round(after_seconds * (1 + spread / 4), 3),
            max_attempts=run.max_attempts,
        )
    )


def _restart(story: Story, run: Run, rule: Recovery, told: Json) -> None:
    checkpoint = rule.action == Remedy.RESTART_FROM_LAST_CHECKPOINT
    name = _after_checkpoint(story, run.phase_name) if checkpoint else rule.from_phase or run.phase_name
    config = story.type.phase(name)
    options = {**run.options, "timeout_seconds": run.timeout_seconds, "max_attempts": run.max_attempts}
    if name != run.phase_name:
        options = options_for(story, config, {})
    story.tell(
        RecoveryStarted(
            **told,
            from_phase=name,
            delay_seconds=rule.delay_seconds,
            timer=story.flow.on(name).called(RETRY_TIMER),
            timer_token=story.flow.version + 1,
            timeout_seconds=float(options.pop("timeout_seconds")),
            max_attempts=int(options.pop("max_attempts")),
            options=options,
        )
    )
    story.on(name)
    if not rule.delay_seconds and story.flow.paused is None:
        try_again(story)


def _after_checkpoint(story: Story, failed: str) -> str:
    """The phase after the last one before it that has a checkpoint of what it brought; the first where none has."""
    flow, before = story.flow, story.flow.up_to(failed)
    passed = PhaseStatus.SKIPPED if flow.follows else None
    phases = [phase for phase in flow.phases if phase.name in before and phase.status is not passed]
    names = [phase.name for phase in phases]
    start = names[0]
    for phase, following in zip(phases, names[1:], strict=False):
        if phase.status is PhaseStatus.COMPLETED and any(
            point.phase_name == phase.name and phase.completed_at and point.created_at >= phase.completed_at
            for point in flow.checkpoints
        ):
            start = following
    return start
