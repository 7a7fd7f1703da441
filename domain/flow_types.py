"""The flows we know: their phases, and what each phase needs. Data, checked when it is registered."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from typing import Any

import msgspec

from domain.errors import PhaseUnknown, RegistrationError, TypeUnknown
from domain.graph import check as check_graph
from domain.questions import Question, faults
from domain.recovery import Recovery, check_recovery
from domain.schemas import unusable
from domain.words import SENSITIVE_KEYS, FailureClass, Resolve

Json = dict[str, Any]

# the widths of the read model's columns
MAX_NAME = 50
MAX_VERSION = 20
PLACEHOLDER = "placeholder"
ELSEWISE = (Resolve.RETRY, Resolve.FAIL, Resolve.PAUSE, Resolve.CONTINUE)
"""What a phase may do about a failure instead of what the table says; only a handler can ask for input."""
UNANSWERED = ("fail", "defaults", "skip")
"""What a phase may do when nobody answered in time."""


class RetryConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How often and how soon a failed phase is tried again.

    The n-th retry waits `min(initial * multiplier^(n-1), max)` seconds times a factor of 0.5 to 1.5
    when `jitter` is on (the factor follows from the run's id, so that a replay tells the same).
    """

    max_attempts: int = 3
    initial_delay_seconds: float = 1.0
    backoff_multiplier: float = 2.0
    max_delay_seconds: float = 60.0
    jitter: bool = True

    def delay(self, attempt: int, spread: float) -> float:
        """Seconds to wait after the attempt numbered `attempt` (from 1); `spread` in 0..1 picks the jitter."""
        delay = min(self.initial_delay_seconds * self.backoff_multiplier ** (attempt - 1), self.max_delay_seconds)
        return round(delay * (0.5 + spread), 3) if self.jitter else delay


class PhaseConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One phase of a flow type. Times are in seconds, `weight` is the phase's share of the progress.

    `asks_for_inputs`: the handler itself asks for the required inputs that are missing, with suggestions, so the phase
    may start without them. `input_alternatives` names inputs that satisfy a required one. `on_failure` says by class of
    failure (`domain/failures.py`) what is done about it here, where that is not what the table says. `before` and `after`
    name hooks of this phase alone. `compensations` name handlers that undo what the phase did, when the flow is rolled back
    past it; past a phase that is `irreversible` it cannot be.

    `yields_to_pause`: while the flow is paused the phase begins no further step (`ctx.step`, `ctx.map`) and gives its run back
    before the next one; else it drains to its end, unless the handler itself gives way.

    `input_timeout_seconds` is how long the phase waits for an answer (none: for ever), `on_input_timeout` what follows
    when none came: `fail`, `skip` the phase, or go on with the `defaults` in `input_defaults`.

    `question` says how its required inputs are asked for where they are missing. With assignees in it, nothing but their
    answer brings them: neither the flow's initial data nor the inputs of an execute.
    `reusable` says that what the handlers bring follows from inputs, outputs of earlier phases and files alone, so that it
    may be taken from an earlier run. `recovery` is what is done before the flow fails, the first rule that fits first.
    `follows` are the phases that come before it (none given: the one listed before it), `when` the conditions under which it
    is gone through (`domain/graph.py`).
    """

    name: str
    display_name: str
    description: str
    required_inputs: tuple[str, ...] = ()
    optional_inputs: tuple[str, ...] = ()
    validators: tuple[str, ...] = ()
    handlers: tuple[str, ...] = ()
    can_pause: bool = True
    can_skip: bool = False
    retry_config: RetryConfig | None = None
    timeout_seconds: float | None = None
    weight: float = 1.0
    asks_for_inputs: bool = False
    input_alternatives: dict[str, tuple[str, ...]] = {}
    expected_seconds: float = 5.0
    on_failure: dict[str, str] = {}
    output_schema: Json | None = None
    input_timeout_seconds: float | None = None
    on_input_timeout: str = "fail"
    input_defaults: Json = {}
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    question: Question | None = None
    reusable: bool = False
    recovery: tuple[Recovery, ...] = ()
    compensations: tuple[str, ...] = ()
    irreversible: bool = False
    yields_to_pause: bool = False
    follows: tuple[str, ...] | None = None
    when: tuple[Json, ...] = ()


class Hooks(msgspec.Struct, frozen=True, kw_only=True):
    """Handlers that run around the phases of a type, by name.

    `start`: once, before the handlers of the first phase; `before_phase` and `after_phase`: around the handlers of every
    phase; `end`: after the last phase, before the flow is completed; `error`: when a flow has failed; `cancel`: to clean up
    when a flow whose work had begun was cancelled.
    """

    start: tuple[str, ...] = ()
    before_phase: tuple[str, ...] = ()
    after_phase: tuple[str, ...] = ()
    end: tuple[str, ...] = ()
    error: tuple[str, ...] = ()
    cancel: tuple[str, ...] = ()

    @property
    def all(self) -> tuple[str, ...]:
        """The names of all of them."""
        return (*self.start, *self.before_phase, *self.after_phase, *self.end, *self.error, *self.cancel)


class FlowCapabilities(msgspec.Struct, frozen=True, kw_only=True):
    """What flows of a type can do."""

    supports_pause_resume: bool = True
    supports_rollback: bool = False
    supports_branching: bool = False
    supports_iterations: bool = True
    max_iterations: int = 10
    supports_scheduling: bool = False
    parallel_phases: bool = False


class FlowTypeConfig(msgspec.Struct, frozen=True, kw_only=True):
    """A flow type: its phases in order and what holds for all of them.

    `max_running`: most runs of the type in hand at once, over all processes and tenants (none: no limit).
    With the default `retry_config` each class of failure has its own limits (`domain/failures.py`).
    `crew_class` (the crew that takes part) and the `output_schema` of a whole type (JSON Schema of what its flows bring) are
    for those who read the type: a handler asks its crew itself, and what is checked is each phase's own schema.
    `flow_timeout_seconds` is how long a whole flow may take, pauses not counted (none: for ever). `recovery` holds for
    phases without rules of their own; `reuse_results` says whether flows take results of `reusable` phases when nothing else is said.
    """

    name: str
    display_name: str
    description: str
    phases: tuple[PhaseConfig, ...]
    version: str = "1.0.0"
    crew_class: str | None = None
    output_schema: Json | None = None
    capabilities: FlowCapabilities = FlowCapabilities()
    retry_config: RetryConfig = RetryConfig()
    timeout_seconds: float = 300.0
    input_timeout_seconds: float | None = None
    flow_timeout_seconds: float | None = None
    max_running: int | None = None
    phase_aliases: dict[str, str] = {}
    metadata: Json = {}
    hooks: Hooks = Hooks()
    recovery: tuple[Recovery, ...] = ()
    reuse_results: bool = True

    @property
    def handlers(self) -> tuple[str, ...]:
        """The names of every handler and hook of the type."""
        named = (
            name
            for phase in self.phases
            for name in (*phase.handlers, *phase.before, *phase.after, *phase.compensations)
        )
        return tuple(dict.fromkeys((*self.hooks.all, *named)))

    @property
    def is_placeholder(self) -> bool:
        """Whether it only says which phases imported flows of a type have that nobody runs here."""
        return bool(self.metadata.get(PLACEHOLDER))

    def before(self, phase: PhaseConfig) -> tuple[str, ...]:
        """The hooks before a phase: the type's, then the phase's own."""
        return tuple(dict.fromkeys((*self.hooks.before_phase, *phase.before)))

    def after(self, phase: PhaseConfig) -> tuple[str, ...]:
        """The hooks after a phase: the phase's own, then the type's."""
        return tuple(dict.fromkeys((*phase.after, *self.hooks.after_phase)))

    def work_of(self, phase: PhaseConfig) -> tuple[str, ...]:
        """The names of all that may run in this phase's name: its handlers, and hooks.

        The start hooks run in the first phase that is not passed over.
        """
        if not (self.hooks.all or phase.before or phase.after):
            return (*phase.handlers, *phase.compensations)
        place = [each.name for each in self.phases].index(phase.name)
        start = self.hooks.start if all(before.can_skip for before in self.phases[:place]) else ()
        end = self.hooks.end if place == len(self.phases) - 1 else ()
        around = (*start, *self.before(phase), *phase.handlers, *self.after(phase), *end)
        return (*around, *self.hooks.error, *self.hooks.cancel, *phase.compensations)

    def phase(self, name: str) -> PhaseConfig:
        """The phase with this name or alias; raises PhaseUnknown with the valid names."""
        for phase in self.phases:
            if phase.name == name:
                return phase
        wanted = self.phase_aliases.get(_word(name), _word(name))
        for phase in self.phases:
            if phase.name == wanted:
                return phase
        valid = [phase.name for phase in self.phases]
        raise PhaseUnknown(f"{self.name} has no phase {name!r}; its phases are {', '.join(valid)}", allowed=valid)

    def digest(self) -> str:
        """SHA-256 of the definition in canonical JSON: two definitions are the same when their digests are."""
        return hashlib.sha256(msgspec.json.encode(self, order="sorted")).hexdigest()


def _as_kept(where: str, config: FlowTypeConfig) -> FlowTypeConfig:
    """The definition as it will be read from the store, so that 1 and 1.0 seconds are the same; raises RegistrationError."""
    try:
        return msgspec.convert(msgspec.to_builtins(config), FlowTypeConfig)
    except (msgspec.ValidationError, TypeError) as error:
        raise RegistrationError(f"{where} has a value of a wrong kind: {error}") from None


def placeholder(name: str, phases: Iterable[str]) -> FlowTypeConfig:
    """The definition of imported flows whose type is not known here: it says their phases, and runs none of them.

    The same phases give the same version. Such a flow goes on once it is moved to a version that is known.
    """
    names = tuple(phases)
    version = hashlib.sha256(msgspec.json.encode(names)).hexdigest()[:8]
    return FlowTypeConfig(
        name=name,
        display_name=name.replace("_", " ").title(),
        description="Imported; nobody runs its phases here",
        version=f"imported-{version}",
        phases=tuple(
            PhaseConfig(name=phase, display_name=phase.replace("_", " ").title(), description="Imported")
            for phase in names
        ),
        capabilities=FlowCapabilities(supports_pause_resume=False, supports_iterations=False),
        metadata={PLACEHOLDER: True},
    )


class FlowTypes:
    """The flow types of a service, every version of each; the newest registered is the one for new flows."""

    def __init__(self) -> None:
        self._versions: dict[tuple[str, str], FlowTypeConfig] = {}
        self._current: dict[str, FlowTypeConfig] = {}

    def register(
        self,
        config: FlowTypeConfig,
        *,
        handlers: Collection[str],
        validators: Collection[str],
    ) -> None:
        """Make a type available; raises RegistrationError for a definition that could not run."""
        where = f"flow type {config.name!r} {config.version}"
        _check_lengths(where, config)
        _check_schema(where, config.output_schema)
        if not config.phases:
            raise RegistrationError(f"{where} has no phases")
        names = [phase.name for phase in config.phases]
        for name in (config.name, *names, *config.phase_aliases):
            if name != _word(name):
                raise RegistrationError(f"{where}: the name {name!r} must be written {_word(name)!r}")
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise RegistrationError(f"{where} repeats the phase {', '.join(repeated)}")
        for phase in config.phases:
            self._check_phase(f"{where}, phase {phase.name!r}", phase, handlers, validators)
        for phase in config.phases:
            _check_reserved(where, phase, config.phases)
        check_graph(where, config)
        for alias, name in config.phase_aliases.items():
            if name not in names or alias in names:
                raise RegistrationError(f"{where}: alias {alias!r} must stand for one of {', '.join(names)}")
        _can_try(where, config.retry_config, config.timeout_seconds)
        _can_wait(where, config.input_timeout_seconds, config.flow_timeout_seconds)
        _all_known(where, "hook", config.hooks.all, handlers)
        _can_recover(where, config.recovery, names)
        for n, phase in enumerate(config.phases):
            _can_recover(f"{where}, phase {phase.name!r}", phase.recovery, names[: n + 1])
        if config.capabilities.max_iterations < 1:
            raise RegistrationError(f"{where} must allow at least one round")
        if config.max_running is not None and config.max_running < 1:
            raise RegistrationError(f"{where} must allow at least one run at once")
        config = _as_kept(where, config)
        known = self._versions.get((config.name, config.version))
        if known is not None and known.digest() != config.digest():
            raise RegistrationError(
                f"{where} is registered with another definition; give the changed one a new version"
            )
        self._versions[config.name, config.version] = config
        self._current[config.name] = config

    @staticmethod
    def _check_phase(where: str, phase: PhaseConfig, handlers: Collection[str], validators: Collection[str]) -> None:
        if not phase.handlers:
            raise RegistrationError(f"{where} has no handler")
        for kind, action in phase.on_failure.items():
            if kind not in set(FailureClass) or action not in ELSEWISE:
                raise RegistrationError(
                    f"{where}: on_failure says {action!r} of {kind!r}; classes are {', '.join(FailureClass)},"
                    f" actions {', '.join(ELSEWISE)}"
                )
            if action == "continue" and not phase.can_skip:
                raise RegistrationError(f"{where}: a failure can be passed over only where the phase can be skipped")
        if phase.weight <= 0:
            raise RegistrationError(f"{where} must have a weight above 0")
        _can_try(where, phase.retry_config, phase.timeout_seconds)
        _can_wait(where, phase.input_timeout_seconds)
        if phase.on_input_timeout not in UNANSWERED:
            raise RegistrationError(
                f"{where}: on_input_timeout says {phase.on_input_timeout!r}; use one of {', '.join(UNANSWERED)}"
            )
        if phase.on_input_timeout == "skip" and not phase.can_skip:
            raise RegistrationError(f"{where}: on_input_timeout says 'skip', but the phase cannot be skipped")
        if (phase.on_input_timeout == "defaults") is not bool(phase.input_defaults):
            raise RegistrationError(f"{where}: input_defaults and on_input_timeout='defaults' need each other")
        secret = sorted(SENSITIVE_KEYS & {_word(name) for name in _names(phase.input_defaults)})
        if secret:
            raise RegistrationError(f"{where}: input_defaults must hold no secret, such as {secret[0]}")
        _check_question(where, phase)
        _all_known(where, "handler", phase.handlers, handlers)
        _all_known(where, "hook", (*phase.before, *phase.after), handlers)
        _all_known(where, "compensation", phase.compensations, handlers)
        if phase.irreversible and phase.compensations:
            raise RegistrationError(f"{where} is irreversible, so it cannot have compensations")
        _all_known(where, "validator", phase.validators, validators)
        _check_schema(where, phase.output_schema)

    def remember(self, config: FlowTypeConfig) -> None:
        """Keep an older version for the flows that were made with it."""
        self._versions.setdefault((config.name, config.version), config)

    def get(self, name: str) -> FlowTypeConfig:
        """The definition for new flows; raises TypeUnknown with the known names."""
        try:
            return self._current[_word(name)]
        except KeyError:
            known = self.names()
            raise TypeUnknown(f"there is no flow type {name!r}; use one of {', '.join(known)}", allowed=known) from None

    def version(self, name: str, version: str) -> FlowTypeConfig:
        """The definition that a flow was made with."""
        try:
            return self._versions[name, version]
        except KeyError:
            raise RegistrationError(f"flow type {name!r} version {version} is not known to this process") from None

    def knows(self, name: str, version: str) -> bool:
        """Whether flows made with this definition can be decided here."""
        return (name, version) in self._versions

    def versions(self) -> list[FlowTypeConfig]:
        """Every definition that flows may have been made with, the older ones too."""
        return list(self._versions.values())

    def versions_of(self, name: str) -> list[str]:
        """Every version of a type that is known here, in the order in which they became known."""
        return [version for known, version in self._versions if known == name]

    def names(self) -> list[str]:
        return sorted(self._current)

    def all(self) -> Iterable[FlowTypeConfig]:
        """The current definition of every type."""
        return [self._current[name] for name in self.names()]


def _check_lengths(where: str, config: FlowTypeConfig) -> None:
    for name in (config.name, *(phase.name for phase in config.phases)):
        if not 0 < len(name) <= MAX_NAME:
            raise RegistrationError(f"{where}: the name {name!r} must have 1 to {MAX_NAME} characters")
    if not 0 < len(config.version) <= MAX_VERSION:
        raise RegistrationError(f"{where}: the version must have 1 to {MAX_VERSION} characters")


def _check_schema(where: str, schema: Json | None) -> None:
    wrong = unusable(schema) if schema is not None else None
    if wrong is not None:
        raise RegistrationError(f"{where}: output_schema: {wrong}")


def _check_reserved(where: str, phase: PhaseConfig, phases: Iterable[PhaseConfig]) -> None:
    """What particular people give in one phase no other phase takes from anybody."""
    if phase.question is None or phase.question.assignees is None:
        return
    for other in phases:
        shared = set(phase.required_inputs) & {*other.required_inputs, *other.optional_inputs}
        if other.name != phase.name and shared:
            raise RegistrationError(
                f"{where}: {min(shared)!r} is asked of particular people in {phase.name} and taken in {other.name} too"
            )


def _check_question(where: str, phase: PhaseConfig) -> None:
    question = phase.question
    if question is None:
        return
    wrong = next(faults(question), None)
    if wrong is not None:
        raise RegistrationError(f"{where}: question: {wrong}")
    if not phase.required_inputs or phase.asks_for_inputs:
        raise RegistrationError(f"{where}: question is about required_inputs that the handler does not ask for itself")
    if question.schema is not None and set(question.properties) != set(phase.required_inputs):
        raise RegistrationError(f"{where}: question: the schema's properties must be the required_inputs")
    if question.on_expiry == "skip" and not phase.can_skip:
        raise RegistrationError(f"{where}: question: on_expiry says 'skip', but the phase cannot be skipped")
    if question.assignees is not None and phase.input_alternatives:
        raise RegistrationError(f"{where}: question: what is asked of particular people has no input_alternatives")


def _can_try(where: str, retry: RetryConfig | None, timeout_seconds: float | None) -> None:
    if retry is not None and retry.max_attempts < 1:
        raise RegistrationError(f"{where} must allow at least one attempt")
    if timeout_seconds is not None and timeout_seconds <= 0:
        raise RegistrationError(f"{where} must have a timeout above 0 seconds")


def _can_recover(where: str, rules: tuple[Recovery, ...], startable: Collection[str]) -> None:
    check_recovery(where, rules, startable)
    secret = sorted({_word(name) for rule in rules for name in _names(rule.with_inputs)} & SENSITIVE_KEYS)
    if secret:
        raise RegistrationError(f"{where}: with_inputs must hold no secret, such as {secret[0]}")


def _can_wait(where: str, *seconds: float | None) -> None:
    if any(limit is not None and limit <= 0 for limit in seconds):
        raise RegistrationError(f"{where} must have time limits above 0 seconds; leave them out for none")


def _all_known(where: str, kind: str, wanted: Iterable[str], known: Collection[str]) -> None:
    missing = sorted(set(wanted) - set(known))
    if missing:
        raise RegistrationError(f"{where} names the unknown {kind} {', '.join(missing)}")


def _names(value: Any) -> Iterable[str]:
    """The names in a JSON value, at any depth."""
    if isinstance(value, dict):
        yield from value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ():
        yield from _names(inner)


def _word(text: str) -> str:
    return text.strip().lower().replace("-", "_").replace(" ", "_")
