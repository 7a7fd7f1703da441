"""What becomes of a flow under another version of its type, and what stands in the way.

Pure: `decide` asks it before it migrates a flow, and `mfo flow-types check` for flows that nobody migrates yet.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec
from msgspec.structs import replace

from domain.errors import FieldError
from domain.events import PlannedPhase
from domain.flow import DONE, IN_HAND, Flow, Move, Phase, progress
from domain.flow_types import FlowTypeConfig, PhaseConfig
from domain.graph import at_once
from domain.schemas import misfits
from domain.words import PhaseStatus, Status

Names = Mapping[str, str | None]

HELD_SHARE = 0.999
"""A flow that is not completed has done no more than this, as its progress shows it."""


class Obstacle(msgspec.Struct, frozen=True, kw_only=True):
    """Why a flow cannot go on by a version; `phase` is the name it has in the flow or, where it is new, in that version."""

    code: str
    message: str
    phase: str | None = None


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The flow's phases under another version: what each of its own is called there (none: left behind), and all of them in
    their order, with weights under which the progress does not fall."""

    mapping: dict[str, str | None]
    phases: tuple[Phase, ...]

    @property
    def planned(self) -> tuple[PlannedPhase, ...]:
        """As the history tells it."""
        return tuple(PlannedPhase(phase.name, phase.weight) for phase in self.phases)


def wrong_names(flow: Flow, new: FlowTypeConfig, mapping: Names) -> list[FieldError]:
    """What is wrong with a mapping: phases that there are not, or two that would become one."""
    ours, theirs = {phase.name for phase in flow.phases}, {phase.name for phase in new.phases}
    found = [
        FieldError(f"phase_mapping.{old}", f"the flow has no phase {old}; its phases are {', '.join(sorted(ours))}")
        for old in mapping
        if old not in ours
    ]
    targets = [name for name in mapping.values() if name is not None]
    for old, name in mapping.items():
        if name is not None and name not in theirs:
            known = ", ".join(sorted(theirs))
            found.append(
                FieldError(f"phase_mapping.{old}", f"version {new.version} has no phase {name}; its phases are {known}")
            )
        elif name is not None and targets.count(name) > 1:
            found.append(FieldError(f"phase_mapping.{old}", f"more than one phase would become {name}"))
    return found


def plan(flow: Flow, new: FlowTypeConfig, mapping: Names, restored: Mapping[str, Phase] | None = None) -> Plan:
    """The flow's phases under `new`: named as `mapping` says, else as before, else as an alias there says.

    `restored` are phases that an earlier migration left behind and that come back as they were.
    """
    named = _named(flow, new, mapping)
    known = {**(restored or {}), **{str(named[phase.name]): phase for phase in flow.phases}}
    phases = tuple(
        replace(known[config.name], name=config.name, weight=config.weight)
        if config.name in known
        else Phase(name=config.name, weight=config.weight)
        for config in new.phases
    )
    return Plan(mapping=named, phases=_held(flow, phases))


def undone(flow: Flow, move: Move) -> tuple[Names, dict[str, Phase]]:
    """The flow's last migration the other way round: the mapping, and the phases that come back as they were."""
    former = {new: old for old, new in move.mapping.items() if new is not None}
    return {phase.name: former.get(phase.name) for phase in flow.phases}, {phase.name: phase for phase in move.left}


def _named(flow: Flow, new: FlowTypeConfig, mapping: Names) -> dict[str, str | None]:
    names = {phase.name for phase in new.phases}
    taken = set(mapping.values())
    found: dict[str, str | None] = {}
    # a phase under its own name goes before one that has it as an alias
    for own in (True, False):
        for phase in flow.phases:
            if phase.name in mapping:
                found[phase.name] = mapping[phase.name]
                continue
            name = phase.name if own else new.phase_aliases.get(phase.name)
            if name in names and name not in taken and phase.name not in found:
                found[phase.name] = name
                taken.add(name)
    return {phase.name: found.get(phase.name) for phase in flow.phases}


def _held(flow: Flow, phases: tuple[Phase, ...]) -> tuple[Phase, ...]:
    """The phases with the weights of those that are done raised as far as the flow's progress needs in order not to fall."""
    done = sum(phase.weight for phase in phases if phase.status in DONE)
    left = sum(phase.weight for phase in phases if phase.status not in DONE)
    share = min(_share(flow.phases), HELD_SHARE)
    if not done or not left or done / (done + left) >= share:
        return phases
    factor = share * left / (done * (1 - share))
    return tuple(replace(one, weight=one.weight * factor) if one.status in DONE else one for one in phases)


def _share(phases: tuple[Phase, ...]) -> float:
    return sum(phase.weight for phase in phases if phase.status in DONE) / sum(phase.weight for phase in phases)


def obstacles(
    flow: Flow,
    old: FlowTypeConfig,
    new: FlowTypeConfig,
    mapping: Names | None = None,
    restored: Mapping[str, Phase] | None = None,
) -> list[Obstacle]:
    """Why the flow, made with `old`, could not go on by `new`; none where it could. `mapping` must have no wrong names.

    A run under way is no obstacle in this sense: it ends.
    """
    given = mapping or {}
    found = plan(flow, new, given, restored)
    moved = replace(flow, phases=found.phases, focus=None)
    return [
        *_lost(flow, new, found, given),
        *_out_of_order(flow, new, found),
        *_unsatisfied(moved, old, new, found),
        *_capabilities(flow, new),
        *_outputs(moved, old, new, found),
        *_falls(flow, moved),
        *_nothing_left(moved, new),
    ]


def in_hand(flow: Flow) -> set[str]:
    """The phases that have begun and have not ended: they run, wait, are to be tried again, or were handed back."""
    begun = {phase.name for phase in flow.phases if phase.interrupted or phase.status in IN_HAND}
    return begun | set(flow.lanes) if flow.follows else set(flow.lanes) or begun


def _lost(flow: Flow, new: FlowTypeConfig, found: Plan, given: Names) -> Iterator[Obstacle]:
    for phase in flow.phases:
        if found.mapping[phase.name] is not None:
            continue
        if phase.name in in_hand(flow):
            yield Obstacle(
                code="phase_vanished",
                phase=phase.name,
                message=f"{phase.name} has begun, and version {new.version} does not have it; map it to the phase that goes"
                " on with it, or wait until it has ended",
            )
        elif phase.name not in given and (phase.status is PhaseStatus.FAILED or phase.outputs):
            what = "has failed" if phase.status is PhaseStatus.FAILED else "is done"
            yield Obstacle(
                code="phase_missing",
                phase=phase.name,
                message=f"{phase.name} {what}, and version {new.version} does not have it; map it to its new name, or to"
                " nothing to leave it behind with what it brought",
            )


def _out_of_order(flow: Flow, new: FlowTypeConfig, found: Plan) -> Iterator[Obstacle]:
    begun = {found.mapping.get(name) for name in in_hand(flow)}
    moved = replace(flow, phases=found.phases, follows=at_once(new))
    for phase in found.phases:
        if phase.status in DONE:
            continue
        after = moved.from_on(phase.name) - {phase.name}
        later = [one.name for one in found.phases if one.name in after and (one.status in DONE or one.name in begun)]
        if later:
            yield Obstacle(
                code="phase_out_of_order",
                phase=phase.name,
                message=f"{phase.name} is still to do and would come before {', '.join(later)}, which the flow has been at",
            )


def _unsatisfied(moved: Flow, old: FlowTypeConfig, new: FlowTypeConfig, found: Plan) -> Iterator[Obstacle]:
    """Inputs that no phase required before, and that neither the flow has nor an earlier phase's schema announces."""
    known = {name for phase in old.phases for name in phase.required_inputs} | set(moved.known_inputs)
    known |= {name for phase in found.phases for name in phase.outputs}
    for config, phase in zip(new.phases, found.phases, strict=True):
        if phase.status not in DONE and not config.asks_for_inputs:
            missing = [
                name
                for name in config.required_inputs
                if name not in known and not known & set(config.input_alternatives.get(name, ()))
            ]
            if missing:
                yield Obstacle(
                    code="inputs_missing",
                    phase=config.name,
                    message=f"{config.name} requires {', '.join(missing)}, which the flow does not have; give it as an"
                    " input, or name it in the output_schema of the phase that brings it",
                )
        known |= set((config.output_schema or {}).get("properties", ()))


def _capabilities(flow: Flow, new: FlowTypeConfig) -> Iterator[Obstacle]:
    if flow.paused is not None and not new.capabilities.supports_pause_resume:
        yield Obstacle(
            code="capability_dropped",
            message=f"the flow is paused, and flows of version {new.version} cannot be; resume it first",
        )


def _outputs(moved: Flow, old: FlowTypeConfig, new: FlowTypeConfig, found: Plan) -> Iterator[Obstacle]:
    former = {found.mapping.get(phase.name): phase.output_schema for phase in old.phases}
    for config in new.phases:
        phase = moved.phase(config.name)
        if phase.status is not PhaseStatus.COMPLETED or not _stricter(config, former.get(config.name)):
            continue
        wrong = misfits(phase.outputs, config.output_schema or {}, f"{config.name}.outputs")
        if wrong:
            yield Obstacle(
                code="outputs_invalid",
                phase=config.name,
                message=f"what {config.name} brought does not fit its new output_schema: "
                + "; ".join(f"{error.field} {error.message}" for error in wrong[:5]),
            )


def _stricter(config: PhaseConfig, former: object) -> bool:
    return config.output_schema is not None and config.output_schema != former


def _falls(flow: Flow, moved: Flow) -> Iterator[Obstacle]:
    before, after = progress(flow), progress(moved)
    if after < before:
        yield Obstacle(
            code="progress_falls",
            message=f"the progress would fall from {before:g} % to {after:g} %, because what is done would be left behind",
        )


def _nothing_left(moved: Flow, new: FlowTypeConfig) -> Iterator[Obstacle]:
    if moved.status is Status.FAILED and moved.next_phase is None and not new.hooks.end:
        yield Obstacle(
            code="nothing_left",
            message=f"the flow has failed, and version {new.version} leaves it nothing to do again; cancel it instead",
        )
