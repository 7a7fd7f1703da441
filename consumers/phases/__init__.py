"""The work of the phases: every handler and validator by the name that flow types use.

A handler says how it runs by `@runs(...)`: `exclusive` (the default) has a child process to itself while it works,
`shared` awaits most of the time and shares a child with others, `inline` is pure, under 5 ms, without I/O, and runs in
the service's own loop.
"""

from __future__ import annotations

import hashlib
import inspect
import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, TypeVar

import estate
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


def handler_version(handler: Handler) -> str:
    """Which code a handler is: the `version` that it declares, else the SHA-256 of its module's source.

    What comes with the service has that of `estate` in it too, which does the work. Raises RegistrationError without a source.
    """
    declared = getattr(handler, "version", None)
    if declared is not None:
        return str(declared)
    inner = inspect.unwrap(handler)
    module = sys.modules.get(inner.__module__)
    try:
        source = Path(str(getattr(module, "__file__", ""))).read_bytes()
    except OSError as error:
        raise RegistrationError(
            f"handler {inner.__name__!r} has no source to tell its version by; give it an attribute `version`"
        ) from error
    ours = _estate() if inner.__module__.startswith(f"{__name__}.") else b""
    return hashlib.sha256(source + ours).hexdigest()


@cache
def _estate() -> bytes:
    folder = Path(estate.__path__[0])
    return hashlib.sha256(b"".join(file.read_bytes() for file in sorted(folder.rglob("*.py")))).digest()


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
        never runs inline, nor does one that may take an earlier result."""
        named = (*phase.handlers, *hooks)
        modes = {getattr(self.handlers[name], "mode", "exclusive") for name in named}
        if not all(inspect.iscoroutinefunction(self.handlers[name]) for name in named):
            modes.add("shared")
        if "exclusive" in modes:
            return "exclusive"
        return "shared" if "shared" in modes or phase.validators or phase.reusable else "inline"

    def handler_version(self, name: str) -> str:
        """Which code the handler of this name is; raises KeyError for a name that is not here."""
        return handler_version(self.handlers[name])
