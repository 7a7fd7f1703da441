"""Hooks of a flow type: handlers that run around those of the phases, each a durable step of the run.

A hook that is done is not repeated by a retry. Where a person has given other inputs since, it is: it speaks of those. What a
hook returns joins the outputs of its phase, as a further handler's would; the schema of the outputs is the handlers' alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import cached_property
from typing import Any

import msgspec
from msgspec.structs import replace

from consumers.context import DurableSteps, HandBack, Handler, NeedsInput, Outputs, Permanent, PhaseContext
from consumers.frames import Job, Undoing
from domain.flow import HOOK_STEPS, Flow, Run
from domain.flow_types import FlowTypeConfig
from domain.words import Moment, PhaseStatus

Json = dict[str, Any]

# a step's name has 200 characters at most, and a hook's own steps come after it
SHOWN_NAME = 60


def work_of(config: FlowTypeConfig, flow: Flow, run: Run) -> Json:
    """What a run consists of, as the fields of a Job: a phase with the hooks around it, or the hooks of a moment."""
    undone = flow.undoing
    if run.hook == Moment.COMPENSATE and undone is not None:
        steps = {name: found for name, found in undone.steps.items() if not name.startswith(HOOK_STEPS)}
        undoing = Undoing(run_id=undone.run_id, completed=undone.completed, steps=steps)
        return {"handlers": undone.handlers, "validators": (), "hook": run.hook, "undoing": undoing}
    if run.hook is not None:
        names = {Moment.END: config.hooks.end, Moment.ERROR: config.hooks.error, Moment.CANCEL: config.hooks.cancel}
        error = flow.phase(run.phase_name).error if run.hook == Moment.CANCEL else flow.error
        return {"handlers": names[Moment(run.hook)], "validators": (), "hook": run.hook, "error": error or {}}
    phase = config.phase(run.phase_name)
    begun = any(one.status is PhaseStatus.COMPLETED for one in flow.phases)
    return {
        "handlers": phase.handlers,
        "validators": phase.validators,
        "output_schema": phase.output_schema,
        "start": () if begun else config.hooks.start,
        "before": config.before(phase),
        "after": config.after(phase),
        "reusable": phase.reusable and bool(run.options.get("reuse_results", True)),
        "yields": phase.yields_to_pause,
    }


def seen_by(flow: Flow, run: Run) -> Json:
    """What a run sees of its flow, as the fields of a Job; a compensation sees what there was when its phase was undone."""
    # what runs beside it may have ended or not, which a result must not depend on
    before = flow.up_to(run.phase_name) if flow.follows and run.hook is None else None
    outputs = {p.name: p.outputs for p in flow.phases if p.outputs and (before is None or p.name in before)}
    undone = flow.undoing
    if run.hook == Moment.COMPENSATE and undone is not None and flow.rollback is not None:
        outputs = {**outputs, undone.phase_name: undone.outputs}
        return {"inputs": flow.rollback.inputs, "outputs": outputs, "anew": undone.anew}
    return {"inputs": flow.known_inputs, "outputs": outputs, "anew": flow.phase(run.phase_name).anew}


class InHook(Exception):
    """A hook failed; `error` says how."""

    def __init__(self, moment: str, name: str, error: Exception) -> None:
        super().__init__(f"hook {name}: {error}")
        self.moment = moment
        self.name = name
        self.error = error


class Hooks:
    """The hooks of one run."""

    def __init__(self, job: Job, context: PhaseContext, handlers: Mapping[str, Handler]) -> None:
        self._job = job
        self._context = context
        self._handlers = handlers

    @cached_property
    def _inputs(self) -> str:
        """What tells the inputs that the hooks see from others."""
        seen = msgspec.json.encode([self._job.inputs, self._job.error], order="sorted")
        return hashlib.sha256(seen).hexdigest()[:12]

    async def around(self, work: Callable[[PhaseContext], Awaitable[Outputs]]) -> Outputs:
        """The phase's work with the hooks before and after it. With hooks after it its outputs are a durable step too."""
        job = self._job
        begun = await self.run(Moment.START, job.start)
        begun = await self.run(Moment.BEFORE, job.before, begun)
        context = self._seeing(begun) if begun else self._context
        if not job.after:
            return {**begun, **await work(context)}
        done = await context.steps.step(f"{HOOK_STEPS}work:{self._inputs}", work, context)
        return await self.run(Moment.AFTER, job.after, {**begun, **done})

    async def run(self, moment: str, names: Iterable[str], outputs: Outputs | None = None) -> Outputs:
        """`outputs` and what the hooks of a moment return, one after the other. Raises InHook."""
        found = outputs or {}
        for name in names:
            found = {**found, **await self._one(moment, name, found)}
        return found

    async def _one(self, moment: str, name: str, outputs: Outputs) -> Outputs:
        step = f"{HOOK_STEPS}{moment}:{name[:SHOWN_NAME]}:{self._inputs}"
        context = replace(self._seeing(outputs), hook=f"{moment}:{name}", steps=_StepsOfHook(self._context.steps, step))
        try:
            found = await self._context.steps.step(step, self._handlers[name], context)
            if not isinstance(found, dict):
                raise Permanent("hook_invalid", f"a hook returns an object like a handler, not {type(found).__name__}")
        except (NeedsInput, HandBack):
            raise
        except Exception as error:
            raise InHook(str(moment), name, error) from error
        return found

    def _seeing(self, outputs: Outputs) -> PhaseContext:
        """The context with what the phase has brought so far."""
        known, phase = self._context.outputs, self._context.phase
        return replace(self._context, outputs={**known, phase: {**known.get(phase, {}), **outputs}})


class _StepsOfHook:
    """The steps of a hook, apart from those of the handlers and of other hooks."""

    def __init__(self, steps: DurableSteps, hook: str) -> None:
        self._steps = steps
        self._hook = hook

    async def step(self, name: str, work: Callable[..., Any], *arguments: Any) -> Any:
        return await self._steps.step(f"{self._hook}/{name}", work, *arguments)

    async def map(
        self, name: str, items: Iterable[Any], work: Callable[[Any], Any], *, at_most: int = 8, retries: int = 2
    ) -> list[Any]:
        return await self._steps.map(f"{self._hook}/{name}", items, work, at_most=at_most, retries=retries)

    def next(self, sort: str, *, before: str = "") -> tuple[str, Any]:
        return self._steps.next(sort, before=f"{self._hook}/{before}")
