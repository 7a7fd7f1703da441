"""The work of the phases: every handler and validator by the name that flow types use.

A handler says how it runs by `@runs(...)`: `exclusive` (the default) has a child process to itself while it works,
`shared` awaits most of the time and shares a child with others, `inline` is pure, under 5 ms, without I/O, and runs in
the service's own loop.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, Literal, TypeVar

from consumers.context import Handler, Validator
from consumers.phases import discovery
from domain.errors import RegistrationError
from domain.flow_types import PhaseConfig

Mode = Literal["inline", "shared", "exclusive"]
F = TypeVar("F", bound=Callable[..., Any])


def runs(mode: Mode) -> Callable[[F], F]:
    """Declare how a handler runs."""

    def declare(handler: F) -> F:
        handler.__dict__["mode"] = mode
        return handler

    return declare


class PhaseWork:
    """All handlers and validators of a service."""

    def __init__(self, extra: Sequence[ModuleType] = ()) -> None:
        self.handlers: dict[str, Handler] = dict(discovery.HANDLERS)
        self.validators: dict[str, Validator] = dict(discovery.VALIDATORS)
        for module in extra:
            for kind, known, further in (
                ("handler", self.handlers, getattr(module, "HANDLERS", {})),
                ("validator", self.validators, getattr(module, "VALIDATORS", {})),
            ):
                repeated = sorted(set(known) & set(further))
                if repeated:
                    raise RegistrationError(f"module {module.__name__} repeats the {kind} {', '.join(repeated)}")
                known.update(further)

    def offers(self, phase: PhaseConfig, hooks: Sequence[str] = ()) -> bool:
        """Whether all that a phase names is here, and its hooks; a newer process may have made the flow with more."""
        named = {*phase.handlers, *hooks}
        return named <= set(self.handlers) and set(phase.validators) <= set(self.validators)

    def mode(self, phase: PhaseConfig, hooks: Sequence[str] = ()) -> Mode:
        """How a phase runs: as the most demanding of its handlers and hooks does; one with validators or plain functions
        never runs inline."""
        named = (*phase.handlers, *hooks)
        modes = {getattr(self.handlers[name], "mode", "exclusive") for name in named}
        if not all(inspect.iscoroutinefunction(self.handlers[name]) for name in named):
            modes.add("shared")
        if "exclusive" in modes:
            return "exclusive"
        return "shared" if "shared" in modes or phase.validators else "inline"
