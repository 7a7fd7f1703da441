"""Which phases of a flow are gone through: branches by conditions on outputs, what runs at the same time, and where they join.

A condition is data: `{"phase": ..., "output": "a.b", "op": ..., "value": ...}`, a path in the outputs of a phase compared with
a value by `eq`, `ne`, `gt`, `lt` or `in`, or only asked for by `exists`. Outputs are compared as history holds them: small,
plain values. What is not there is equal to nothing, and neither above nor below anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from domain.errors import RegistrationError
from domain.words import PhaseStatus

if TYPE_CHECKING:
    from domain.flow import Flow
    from domain.flow_types import FlowTypeConfig, PhaseConfig

Json = dict[str, Any]

NOT_THERE = object()
NUMBERS = (int, float)


def left_out(flow: Flow, config: PhaseConfig) -> str | None:
    """Why the flow does not go through this phase, None where it does.

    Its conditions must all hold; and of the phases that it follows at least one must have been gone through.
    """
    names = flow.follows.get(config.name, config.follows or ())
    if not names and not config.when:
        return None
    phases = {phase.name: phase for phase in flow.phases}
    followed = [phases[name] for name in names]
    if followed and all(phase.status is PhaseStatus.SKIPPED and phase.not_taken for phase in followed):
        return f"none of the phases that it follows was gone through: {', '.join(phase.name for phase in followed)}"
    for condition in config.when:
        if not holds(phases[condition["phase"]].outputs, condition):
            return f"the condition does not hold: {told(condition)}"
    return None


def holds(outputs: Mapping[str, Any], condition: Json) -> bool:
    """Whether a condition holds for the outputs of the phase that it names."""
    found: Any = outputs
    for name in condition["output"].split("."):
        found = found.get(name, NOT_THERE) if isinstance(found, Mapping) else NOT_THERE
    if condition["op"] == "exists":
        return (found is not NOT_THERE) is condition.get("value", True)
    return COMPARED[condition["op"]](found, condition["value"])


def told(condition: Json) -> str:
    """A condition in words: `count.rows gt 5`."""
    value = f" {condition['value']!r}" if "value" in condition else ""
    return f"{condition['phase']}.{condition['output']} {condition['op']}{value}"


def _ordered(found: Any, value: Any) -> bool:
    """Whether one can be above or below the other: two numbers, or two texts."""
    if isinstance(found, bool) or isinstance(value, bool):
        return False
    both_numbers = isinstance(found, NUMBERS) and isinstance(value, NUMBERS)
    return both_numbers or (isinstance(found, str) and isinstance(value, str))


def _equal(found: Any, value: Any) -> bool:
    # JSON tells true from 1
    return bool(found == value) and isinstance(found, bool) is isinstance(value, bool)


COMPARED: dict[str, Callable[[Any, Any], bool]] = {
    "eq": _equal,
    "ne": lambda found, value: not _equal(found, value),
    "gt": lambda found, value: _ordered(found, value) and found > value,
    "lt": lambda found, value: _ordered(found, value) and found < value,
    "in": lambda found, value: any(_equal(found, one) for one in value),
}
OPS = (*COMPARED, "exists")


def follows_of(config: FlowTypeConfig) -> dict[str, tuple[str, ...]]:
    """Which phases each comes right after."""
    names = [phase.name for phase in config.phases]
    return {
        phase.name: tuple(names[max(place - 1, 0) : place]) if phase.follows is None else phase.follows
        for place, phase in enumerate(config.phases)
    }


def at_once(config: FlowTypeConfig) -> dict[str, tuple[str, ...]]:
    """Which phases each comes right after, where phases run at the same time; empty where one comes after the other."""
    return follows_of(config) if config.capabilities.parallel_phases else {}


def check(where: str, config: FlowTypeConfig) -> None:
    """Raises RegistrationError for a graph of phases that could not be gone through, naming a circle where there is one."""
    names = [phase.name for phase in config.phases]
    follows = follows_of(config)
    parallel = config.capabilities.parallel_phases
    branching = [phase.name for phase in config.phases if (phase.follows is not None and not parallel) or phase.when]
    if branching and not config.capabilities.supports_branching:
        raise RegistrationError(f"{where}: phase {branching[0]!r} branches; say supports_branching in its capabilities")
    for place, name in enumerate(names):
        unknown = sorted(set(follows[name]) - set(names))
        if unknown:
            raise RegistrationError(f"{where}, phase {name!r} follows the unknown phase {', '.join(unknown)}")
        circle = _way(name, name, follows)
        if circle:
            raise RegistrationError(f"{where} has a circle of phases: {' -> '.join(circle)}")
        later = [other for other in follows[name] if names.index(other) > place]
        if later:
            raise RegistrationError(f"{where}, phase {name!r} follows {later[0]!r}; list it after that one")
    for phase in config.phases:
        for condition in phase.when:
            _check_condition(f"{where}, phase {phase.name!r}", phase.name, condition, follows)
    first = [name for name in names if not follows[name]]
    # it must be certain which run they are part of
    if parallel and config.hooks.start and (len(first) > 1 or config.phases[0].can_skip):
        raise RegistrationError(
            f"{where}: start hooks need one first phase that cannot be skipped, not {', '.join(first)};"
            " let the others follow it"
        )


def _way(start: str, end: str, follows: Mapping[str, Iterable[str]]) -> list[str]:
    """The phases from `start` over those that it follows to `end`; empty where there is no such way."""
    ways = [[start]]
    seen: set[str] = set()
    for way in ways:
        for name in follows.get(way[-1], ()):
            if name == end:
                return [*way, name]
            if name not in seen:
                seen.add(name)
                ways.append([*way, name])
    return []


def _check_condition(where: str, name: str, condition: Json, follows: Mapping[str, Iterable[str]]) -> None:
    shape = set(condition) - {"value"} == {"phase", "output", "op"} and all(
        isinstance(condition[part], str) and condition[part] for part in ("phase", "output", "op")
    )
    if not shape or condition["op"] not in OPS:
        raise RegistrationError(
            f"{where}: a condition is {{phase, output, op, value}} with one of {', '.join(OPS)}, not {condition!r}"
        )
    if not _way(name, condition["phase"], follows):
        raise RegistrationError(f"{where}: a condition on {condition['phase']!r}, which it does not come after")
    value = condition.get("value", NOT_THERE)
    wanted = {"exists": value in (NOT_THERE, True, False), "in": isinstance(value, list | tuple)}
    if not wanted.get(condition["op"], value is not NOT_THERE):
        raise RegistrationError(
            f"{where}: the condition {told(condition)} has no value that {condition['op']} can take"
        )
