"""The work of the phases: every handler and validator by the name that flow types use.

A handler says how it runs by `@runs(...)`: `exclusive` (the default) has a child process to itself while it works,
`shared` awaits most of the time and shares a child with others, `inline` is pure, under 5 ms, without I/O, and runs in
the service's own loop.

A run says which code it was: each has a version, declared by `@versioned(...)` or derived from its module's source and from
the packages that the module with `HANDLERS` names in `CODE`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from types import ModuleType
from typing import Any, Literal, TypeVar

from consumers.context import Handler, Validator
from consumers.phases import discovery
from consumers.versions import version_of
from domain.errors import RegistrationError
from domain.flow_types import PhaseConfig

Mode = Literal["inline", "shared", "exclusive"]
F = TypeVar("F", bound=Callable[..., Any])
MAX_VERSION = 100


def runs(mode: Mode) -> Callable[[F], F]:
    """Declare how a handler runs."""

    def declare(handler: F) -> F:
        handler.__dict__["mode"] = mode
        return handler

    return declare


def versioned(version: str) -> Callable[[F], F]:
    """Declare the version of a handler or validator: another one for code that brings something else. Raises ValueError."""
    if not 0 < len(version) <= MAX_VERSION:
        raise ValueError(f"a version has 1 to {MAX_VERSION} characters, not {version!r}")

    def declare(work: F) -> F:
        work.__dict__["version"] = version
        return work

    return declare


class PhaseWork:
    """All handlers and validators of a service; `versions` says which code each is."""

    def __init__(self, extra: Sequence[ModuleType] = ()) -> None:
        self.handlers: dict[str, Handler] = dict(discovery.HANDLERS)
        self.validators: dict[str, Validator] = dict(discovery.VALIDATORS)
        self.versions: dict[str, str] = {}
        self._learn(discovery)
        for module in extra:
            for kind, known, further in (
                ("handler", self.handlers, getattr(module, "HANDLERS", {})),
                ("validator", self.validators, getattr(module, "VALIDATORS", {})),
            ):
                repeated = sorted(set(known) & set(further))
                if repeated:
                    raise RegistrationError(f"module {module.__name__} repeats the {kind} {', '.join(repeated)}")
                known.update(further)
            self._learn(module)

    def _learn(self, module: ModuleType) -> None:
        code = getattr(module, "CODE", ())
        for kind in ("VALIDATORS", "HANDLERS"):
            for name, work in getattr(module, kind, {}).items():
                self.versions[name] = version_of(name, work, code)

    def handler_version(self, name: str) -> str:
        """Which code the handler, hook or validator of this name is; raises KeyError for a name that is not here."""
        return self.versions[name]

    def handler_versions(self, names: Iterable[str]) -> dict[str, str]:
        """As `handler_version`, of those that are here."""
        return {name: self.versions[name] for name in names if name in self.versions}

    def offers(self, phase: PhaseConfig, hooks: Sequence[str] = ()) -> bool:
        """Whether all that a phase names is here, and its hooks; a newer process may have made the flow with more."""
        named = {*phase.handlers, *hooks}
        return named <= set(self.handlers) and set(phase.validators) <= set(self.validators)

    def mode(self, phase: PhaseConfig, hooks: Sequence[str] = ()) -> Mode:
        """How a phase runs: as the most demanding of its handlers and hooks does; one with validators or plain functions
        never runs inline, nor does one that may take an earlier result."""
        named = (*phase.handlers, *hooks)
        modes = {getattr(self.handlers[name], "mode", "exclusive") for name in named}
        if not all(inspect.iscoroutinefunction(self.handlers[name]) for name in named):
            modes.add("shared")
        if "exclusive" in modes:
            return "exclusive"
        return "shared" if "shared" in modes or phase.validators or phase.reusable else "inline"
