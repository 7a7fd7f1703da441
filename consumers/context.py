"""What a phase handler is given, and the ways it can end other than by returning its outputs."""

from __future__ import annotations

import datetime as dt
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol, TypeVar
from uuid import UUID, uuid5

import msgspec
import structlog

from consumers.signals import Signals
from consumers.threads import Threads
from domain.commands import MAX_WAIT_SECONDS
from domain.conditions import TIMED_OUT, WAIT_STEPS, told
from domain.questions import NOT_VALUES, Assignees, Question, faults
from eventstore import tracing

Outputs = dict[str, Any]
T = TypeVar("T")

MAX_COUNT = 2**53
MAX_PROGRESS_MESSAGE = 500
MAX_SIGNAL_NAME = 255


@dataclass(frozen=True, slots=True)
class ImportFile:
    """One uploaded file, on local disk for as long as the run lasts, and how the caller wants it read."""

    import_file_id: str
    filename: str
    sha256: str
    size_bytes: int
    path: Path
    import_options: Mapping[str, Any] = field(default_factory=dict)


class Artifacts(Protocol):
    """The tenant's artifact store: immutable bytes by content hash."""

    async def put(self, data: bytes, media_type: str = "application/json") -> dict[str, Any]:
        """Keep `data`; the answer `{"artifact": <sha256>, "size_bytes": n, "media_type": ...}` is what goes into outputs."""
        ...

    async def get(self, ref: Mapping[str, Any]) -> bytes:
        """The bytes behind a reference; raises ArtifactNotFound."""
        ...

    async def put_file(self, path: Path, media_type: str = "application/octet-stream") -> dict[str, Any]:
        """Keep a file, read in parts; answers the same as `put`."""
        ...

    async def fetch(self, ref: Mapping[str, Any]) -> Path:
        """The bytes behind a reference as a file in the run's folder; raises ArtifactNotFound."""
        ...


class Imports(Protocol):
    """The tenant's uploaded files."""

    async def open(self, import_file_id: str) -> ImportFile:
        """Fetch an upload to a local temporary file; raises ImportNotFound."""
        ...


class Past(Protocol):
    """What the tenant's other flows have found and been told."""

    async def learned(self) -> list[dict[str, Any]]:
        """Mappings that people of this client account approved or rejected in other flows.

        `{source_field, kind, target_field, unit, approvals, rejections}`. It grows with time, so a handler that uses it
        keeps it in its outputs.
        """
        ...

    async def former(self, number: int) -> dict[str, dict[str, Any]] | None:
        """The outputs of a former round of this flow, by phase, sensitive values in clear; none where there is none."""
        ...

    async def earlier_inventory(self, wanted: str = "latest") -> tuple[UUID, dict[str, Any]] | None:
        """The flow id and the outputs of an earlier asset inventory of this engagement.

        `wanted` is a flow id, or `latest` for the one completed last; none where there is no such inventory.
        """
        ...


class ChildFlows(Protocol):
    """The flows under the run's own (`consumers/family.py`)."""

    async def start(self, body: dict[str, Any]) -> str:
        """Have a child flow made; raises Permanent where it is refused."""
        ...

    async def check(self, flow_ids: Sequence[str]) -> list[str]:
        """The ids as they are written, each once; raises Permanent for one that is no child."""
        ...

    async def results(self, standing: Mapping[str, str | None]) -> dict[str, dict[str, Any]]:
        """How these children stand, with their outputs or error."""
        ...

    async def cancel(self, flow_ids: Sequence[str], reason: str) -> None:
        """Have children cancelled, with all flows under them."""
        ...


class DurableSteps(Protocol):
    """Parts of a phase's work whose results are kept (`consumers/steps.py`)."""

    async def step(self, name: str, work: Callable[..., Any], *arguments: Any) -> Any:
        """The result of a step, of an earlier attempt where there is one."""
        ...

    async def map(
        self, name: str, items: Iterable[Any], work: Callable[[Any], Any], *, at_most: int = 8, retries: int = 2
    ) -> list[Any]:
        """The results of a step for each item, in order."""
        ...

    def next(self, sort: str, *, before: str = "") -> tuple[str, Any]:
        """The name of the next step of this sort that something outside brings to a result, and that result or None."""
        ...


@dataclass(frozen=True, slots=True)
class Limits:
    """When a target is left alone, and for how long.

    `failures` within `window_seconds`, with no success between that was noticed, open it: for `first_seconds`, doubled each
    time that it fails again, up to `most_seconds`.
    """

    failures: int = 5
    window_seconds: float = 60.0
    first_seconds: float = 5.0
    most_seconds: float = 300.0


DEFAULT_LIMITS = Limits()


class Call(Protocol):
    """One call of a target: entered and left, by `async with` or, in a thread, by `with`."""

    async def __aenter__(self) -> None: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def __enter__(self) -> None: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Targets(Protocol):
    """The other systems that runs call, as the tenant's run names them (`consumers/breakers.py`)."""

    def target(self, name: str, *, own: bool, limits: Limits) -> Call:
        """A call of the target."""
        ...


@dataclass(frozen=True, slots=True)
class CrewTask:
    """What one agent is asked: who it is, what it is to do, and what its answer looks like."""

    role: str
    goal: str
    backstory: str
    task: str
    expected: str


@dataclass(frozen=True, slots=True)
class CrewAnswer:
    """What the agent said, of which nothing is checked yet; figures are None where the model's endpoint does not tell them."""

    text: str
    model: str
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None


class Crew(Protocol):
    """The agents of a run, in a process of their own (`consumers/crews/`).

    `model` is the one that is configured; `max_calls` and `max_total_tokens` are what one phase may spend, `max_asks` how
    often one question is asked until its answer can be used, `samples` how many cells of a column an agent may see,
    `run_seconds` how long agents may take within one run. Whoever asks keeps to them.
    """

    model: str
    max_calls: int
    max_total_tokens: int
    max_asks: int
    samples: int
    run_seconds: float

    async def ask(self, task: CrewTask, *, within: float) -> CrewAnswer:
        """One agent does one task, in one call of the model, within so many seconds.

        Raises RateLimited, a Retryable of the kinds `network`, `timeout` or `crew`, or ModelRefused.
        """
        ...


def step_key(flow_id: UUID, place: str, step: str, anew: int) -> str:
    """The key of a step for outside systems: the same in every attempt, another once the phase was undone."""
    again = f"#{anew}" if anew else ""
    return str(uuid5(flow_id, f"{place}{again}:{step}"))


@dataclass(frozen=True, slots=True)
class UndonePhase:
    """What a compensation is to undo: one phase, as it was.

    `outputs` are those it came to; where it did not come to its end (`completed` is False) they are empty, and `steps` are
    the results of the parts that were done.
    """

    flow_id: UUID
    phase: str
    completed: bool
    outputs: Mapping[str, Any]
    steps: Mapping[str, Any]
    run_id: UUID | None
    anew: int = 0

    @property
    def idempotency_key(self) -> str | None:
        """The `ctx.idempotency_key` of the phase's last run."""
        return str(self.run_id) if self.run_id is not None else None

    def key(self, step: str) -> str:
        """The `ctx.key(step)` under which the phase called outside systems."""
        return step_key(self.flow_id, self.phase, step, self.anew)


def _today() -> dt.date:
    return dt.datetime.now(dt.UTC).date()


class PhaseContext(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a handler may use: one run of one phase of one flow.

    `inputs` are the flow's initial data and everything given since (the newest wins), sensitive values in clear.
    `outputs` are the outputs of the phases completed before, by phase name. `folder` answers a folder on local disk that
    is there as long as the run; `today` is the day (UTC) on which it began; `memory_mb` is how far the process may grow.
    In a hook `hook` is `<moment>:<name>`, `outputs` holds those of its phase so far, and after a failure `error` is the
    flow's error. In a compensation `undone` is the phase that it undoes, and `inputs` are those that the flow had then.
    `anew` is how often the phase was to be done again from the beginning.
    `max_attempts` is how many attempts a failure that may pass has at least, `timeout_seconds` how long the run may take.
    `crew` are the agents, None where no model is configured; what they did goes into `insights` and, in figures, `usage`.
    `token` fences the run: it grows with every takeover, and an outside system may refuse a lower one than it has seen.
    `iteration` is which round of the flow's phases this is, `anew` how often this phase was to be done again from the
    beginning: by a new round or a restart.
    """

    flow_id: UUID
    flow_type: str
    phase: str
    run_id: UUID
    attempt: int
    client_account_id: UUID
    engagement_id: UUID
    user_id: str
    inputs: Mapping[str, Any]
    outputs: Mapping[str, Mapping[str, Any]]
    artifacts: Artifacts
    imports: Imports
    past: Past
    folder: Callable[[], Path]
    steps: DurableSteps
    today: dt.date = msgspec.field(default_factory=_today)
    memory_mb: int | None = None
    max_attempts: int = 1
    timeout_seconds: float | None = None
    crew: Crew | None = None
    insights: list[dict[str, Any]] = msgspec.field(default_factory=list)
    usage: dict[str, Any] = msgspec.field(default_factory=dict)
    token: int = 1
    progress: Callable[[int, int, str], Awaitable[None]] | None = None
    signals: Signals = msgspec.field(default_factory=Signals)
    threads: Threads = msgspec.field(default_factory=Threads)
    targets: Targets | None = None
    hook: str = ""
    error: Mapping[str, Any] = msgspec.field(default_factory=dict)
    iteration: int = 1
    anew: int = 0
    undone: UndonePhase | None = None
    family: ChildFlows | None = None

    @property
    def log(self) -> Any:
        """A logger that names the run."""
        return structlog.get_logger(flow_id=str(self.flow_id), phase=self.phase, run_id=str(self.run_id))

    @property
    def cancelled(self) -> bool:
        """Whether the flow has no use for this run any more. An async handler is cancelled two seconds later, and has two more
        to put its things away; a plain one has to end by itself."""
        return self.signals.cancelled

    @property
    def paused(self) -> bool:
        """Whether the flow was paused. The handler may go on to its end, or raise HandBack to go on when it is resumed."""
        return self.signals.paused

    @property
    def stopping(self) -> bool:
        """Whether the handler had better come to an end: `cancelled`, `paused`, or the process stops."""
        return self.signals.stopping

    @property
    def deadline(self) -> dt.datetime:
        """When the run ends as `timeout`, by the store's clock; aware, in UTC or as the store gives it."""
        return self.signals.deadline

    def seconds_left(self) -> float:
        """Seconds until the deadline, 0 after it."""
        return self.signals.seconds_left()

    async def asked_to_stop(self, within: float | None = None) -> bool:
        """Wait until the handler had better come to an end, at most `within` seconds (none: for ever); whether it had."""
        return await self.signals.asked_to_stop(within)

    @property
    def sync(self) -> Sync:
        """The same for plain functions, which run in a thread and cannot await."""
        return Sync(self)

    @property
    def idempotency_key(self) -> str:
        """The key to hand to every outside system this run, or this hook in it, calls."""
        return str(uuid5(self.run_id, self.hook) if self.hook else self.run_id)

    def key(self, step: str) -> str:
        """The key to hand to an outside system for what this step does: the same in every attempt of the phase, and another
        one when the phase is done again in a new round, after a restart or a rollback."""
        place = f"{self.phase}:{self.hook}" if self.hook else self.phase
        return step_key(self.flow_id, place, step, self.anew)

    async def former(self, number: int | None = None) -> Mapping[str, Mapping[str, Any]] | None:
        """The outputs of a former round of this flow, by phase; left out: of the round before this one. None where there is
        no such round."""
        wanted = self.iteration - 1 if number is None else number
        return await self.past.former(wanted) if 0 < wanted < self.iteration else None

    def span(self, name: str, **attributes: str | float | bool) -> AbstractContextManager[None]:
        """`with ctx.span("parse"):` is a span of that name in the run's trace, under the one around it; free while traces are
        off. Steps have spans of their own."""
        return tracing.part(name, attributes)

    async def step(self, name: str, work: Callable[..., Any], *arguments: Any) -> Any:
        """Do a part of the work once: its result is committed, and the next attempt gets it back instead of doing it again.

        `work(*arguments)` may be async or plain (it runs in a thread); its result must be JSON. Between the end of the work
        and its commit a crash repeats it: hand `key(name)` to outside systems. Raises RunCancelled once the run has no use,
        and HandBack, which is to be let pass, where the flow is paused and its phase `yields_to_pause`.
        """
        self.signals.check()
        return await self.steps.step(name, work, *arguments)

    async def map(
        self, name: str, items: Iterable[Any], work: Callable[[Any], Any], *, at_most: int = 8, retries: int = 2
    ) -> list[Any]:
        """Do a step for each item, `at_most` at a time; the results in order. Steps that have a result are not done again."""
        self.signals.check()
        return await self.steps.map(name, items, work, at_most=at_most, retries=retries)

    async def wait_for(self, name: str, timeout_seconds: float | None = None) -> dict[str, Any]:
        """Wait for a signal of this name, at most so long (none: for ever): `{payload, signal_id, received_at, sent_by}`.

        Signals are taken up in the order in which they came, each once; one that came before anybody waited is found. The
        run ends meanwhile and its place is free: when the signal is there the handler begins anew, as the same attempt,
        with the steps that have results; `timeout_seconds` of the phase does not count what is waited. Raises TimedOut when
        the time is up; also in a repeat of the attempt, because the outcome is kept like a step's result.
        """
        if not 0 < len(name) <= MAX_SIGNAL_NAME or not name.strip() or "\x00" in name:
            raise Permanent("wait_invalid", f"the name of a signal has 1 to {MAX_SIGNAL_NAME} characters")
        found: dict[str, Any] = self._outcome(f"signal:{name}", {"kind": "signal", "name": name}, timeout_seconds)
        return found

    async def start_flow(
        self,
        flow_type: str,
        flow_name: str,
        initial_data: Mapping[str, Any] | None = None,
        *,
        step: str | None = None,
        options: Mapping[str, Any] | None = None,
        tags: Sequence[str] = (),
        description: str | None = None,
        depends_on: Sequence[str] = (),
    ) -> str:
        """Make a child of this flow, which begins at once unless `options` say `auto_execute: false`; its flow id.

        A step of the name `step` (left out: the flow's name): whoever asks again under it, in whichever attempt, gets the
        same child. Raises Permanent where the flow cannot be made, with the code of the refusal.
        """
        self.signals.check()
        name = f"flow:{step or flow_name}"
        body = {
            "flow_id": self.key(name),
            "flow_type": flow_type,
            "flow_name": flow_name,
            "flow_description": description,
            "flow_tags": list(tags),
            "initial_data": dict(initial_data or {}),
            "options": {"auto_execute": True, **(options or {})},
            "dependent_flow_ids": list(depends_on),
        }
        made: str = await self.steps.step(name, self._family.start, body)
        return made

    async def wait_flows(
        self,
        flow_ids: Sequence[str],
        mode: Literal["all", "any", "none"] = "all",
        *,
        on_failure: Literal["fail", "ignore", "compensate"] = "fail",
        timeout_seconds: float | None = None,
    ) -> dict[str, dict[str, Any]]:
        """Wait for children until all are at rest (`any`: until one has completed, `none`: not at all), as `wait_for` does;
        `{flow_id: {status, outputs, error}}`, the outputs by phase, status None for one under way.

        Where one did not complete (with `any`: where none did; with `none` it does not matter), `fail` raises FlowsFailed as soon as that is known,
        `compensate` cancels the others before that, `ignore` leaves it to the handler to look at the statuses. Raises
        TimedOut when the time is up and Permanent `not_a_child` for a flow that is none.
        """
        if mode not in ("all", "any", "none") or on_failure not in ("fail", "ignore", "compensate"):
            raise Permanent("wait_invalid", "mode is all, any or none; on_failure is fail, ignore or compensate")
        ids = await self._family.check(flow_ids)
        until = {
            "kind": "flows",
            "flow_ids": ids,
            "mode": mode,
            "stop_on_failure": mode == "all" and on_failure != "ignore",
        }
        standing = self._outcome("flows", until, timeout_seconds)["flows"]
        found = await self._family.results(standing)
        failed = {flow_id: one for flow_id, one in found.items() if one["status"] not in (None, "completed")}
        enough = mode == "any" and any(one["status"] == "completed" for one in found.values())
        if not failed or enough or mode == "none" or on_failure == "ignore":
            return found
        error = FlowsFailed(failed)
        if on_failure == "compensate":
            await self._family.cancel([flow_id for flow_id, one in found.items() if one["status"] is None], str(error))
        raise error

    @property
    def _family(self) -> ChildFlows:
        if self.family is None:
            raise Permanent("no_flows", "flows cannot be made here")
        return self.family

    def _outcome(self, about: str, until: dict[str, Any], timeout_seconds: float | None) -> Any:
        """The outcome of something outside that is waited for; `about` tells one sort of wait from another."""
        self.signals.check()
        if timeout_seconds is not None and not 0 < timeout_seconds <= MAX_WAIT_SECONDS:
            raise Permanent("wait_invalid", f"timeout_seconds is above 0 and at most {MAX_WAIT_SECONDS}")
        step, found = self.steps.next(f"{WAIT_STEPS}{about}")
        if found is None:
            raise RunSuspended(step, until, timeout_seconds)
        if found == TIMED_OUT:
            raise TimedOut(f"{told(until)} did not come within {timeout_seconds:g} s")
        return found

    async def ask(self, message: str, fields: Iterable[str] = (), **about: Any) -> dict[str, Any]:
        """Ask people; their answer is `{values, answered_by, answered_at}`, kept like a step's result.

        `about` is what NeedsInput takes: suggestions, schema, assignees, expires_after_seconds, on_expiry, defaults,
        remind_after_seconds, remind_every_seconds. The run ends meanwhile and its place is free; with the answer the handler
        begins anew. Raises Permanent `question_invalid`, or `not_supported` for roles.
        """
        self.signals.check()
        wanted = NeedsInput(message, list(fields), **about)
        if not wanted.fields or NOT_VALUES & set(wanted.fields):
            raise Permanent(
                "question_invalid",
                "a question names the fields that are wanted, or has a schema that does; flow_id and reason are none",
            )
        wanted.step, found = self.steps.next("ask")
        if found is None:
            raise wanted
        answer: dict[str, Any] = found
        return answer

    def target(self, name: str, *, own: bool = False, limits: Limits = DEFAULT_LIMITS) -> Call:
        """Call another system: `async with ctx.target("vcenter.example.com"):`, in a plain function `with`.

        Failures inside of the classes network, timeout, database and Retryable count against it, for all workers and
        tenants (`own`: for those of the client account alone). Raises TargetOpen on entering while it is left alone: let
        it pass, and the phase waits. Raises Permanent `target_invalid` for a name or limits that cannot be used.
        """
        if self.targets is None:
            raise Permanent("target_invalid", "there are no breakers here")
        return self.targets.target(name, own=own, limits=limits)

    async def heartbeat(self, done: int, total: int, message: str = "") -> bool:
        """Say how far the work is: `done` of `total` units (0: not known), and a sentence of at most 500 characters, shown in
        the flow's status some two seconds later. May be said as often as wanted. Answers `stopping`.

        Raises RunCancelled once the run has no use any more, Permanent `heartbeat_invalid` for what is no number of units.
        """
        self.signals.check()
        if not all(isinstance(count, int) and 0 <= count <= MAX_COUNT for count in (done, total)):
            raise Permanent("heartbeat_invalid", f"done and total are whole numbers from 0, not {done!r} and {total!r}")
        if self.progress is not None:
            clean = str(message)[:MAX_PROGRESS_MESSAGE].replace("\x00", "\ufffd")
            await self.progress(int(done), int(total), clean.encode("utf-8", "replace").decode())
        return self.signals.stopping


class Sync:
    """What a handler may use, for plain functions: `heartbeat`, `step` and `map` as they are in PhaseContext, without
    await. `wait(ctx.artifacts.get(ref))` does the same for everything else that is awaited."""

    def __init__(self, context: PhaseContext) -> None:
        self._context = context

    def wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Wait for something async; raises what it raises, and RunCancelled once the run has no use any more."""
        return self._context.threads.wait(coroutine)

    def heartbeat(self, done: int, total: int, message: str = "") -> bool:
        """As `PhaseContext.heartbeat`."""
        return self.wait(self._context.heartbeat(done, total, message))

    def step(self, name: str, work: Callable[..., Any], *arguments: Any) -> Any:
        """As `PhaseContext.step`."""
        return self.wait(self._context.step(name, work, *arguments))

    def map(
        self, name: str, items: Iterable[Any], work: Callable[[Any], Any], *, at_most: int = 8, retries: int = 2
    ) -> list[Any]:
        """As `PhaseContext.map`."""
        return self.wait(self._context.map(name, items, work, at_most=at_most, retries=retries))

    def wait_for(self, name: str, timeout_seconds: float | None = None) -> dict[str, Any]:
        """As `PhaseContext.wait_for`."""
        return self.wait(self._context.wait_for(name, timeout_seconds))

    def ask(self, message: str, fields: Iterable[str] = (), **about: Any) -> dict[str, Any]:
        """As `PhaseContext.ask`."""
        return self.wait(self._context.ask(message, fields, **about))

    def start_flow(
        self, flow_type: str, flow_name: str, initial_data: Mapping[str, Any] | None = None, **more: Any
    ) -> str:
        """As `PhaseContext.start_flow`."""
        return self.wait(self._context.start_flow(flow_type, flow_name, initial_data, **more))

    def wait_flows(
        self, flow_ids: Sequence[str], mode: Literal["all", "any", "none"] = "all", **more: Any
    ) -> dict[str, dict[str, Any]]:
        """As `PhaseContext.wait_flows`."""
        return self.wait(self._context.wait_flows(flow_ids, mode, **more))

    def asked_to_stop(self, within: float | None = None) -> bool:
        """As `PhaseContext.asked_to_stop`: in a loop, `if ctx.sync.asked_to_stop(1.0)` is a sleep that can be ended."""
        return self.wait(self._context.asked_to_stop(within))


Handler = Callable[[PhaseContext], Awaitable[Outputs] | Outputs]
Validator = Callable[[PhaseContext], Awaitable[list["Invalid"]] | list["Invalid"]]
"""Async, or plain: a plain one runs in a thread."""


@dataclass(frozen=True, slots=True)
class Invalid:
    """One thing a validator objects to: the input field, and the sentence that says what to do."""

    field: str
    message: str


class NeedsInput(Exception):
    """The phase cannot go on without a person.

    `fields` name what is wanted, `message` says it to the person, `suggestions` travel with the request
    (kept as an artifact when large) and are shown in the flow's status under the given names. The answer joins the inputs.

    `schema` is the JSON Schema of the answer, an object; without `fields` it says what is wanted. `assignees` is
    `{users, need}`: who may answer (none named: everybody of the tenant), and how many different people must give the same
    answer, 1 or 2. With `expires_after_seconds`, `on_expiry` is `fail`, `skip`, or `defaults` with the `defaults`. Raises
    Permanent `question_invalid`, or `not_supported` for assignees by role.
    """

    def __init__(
        self,
        message: str,
        fields: Sequence[str] = (),
        suggestions: Mapping[str, Any] | None = None,
        *,
        schema: Mapping[str, Any] | None = None,
        assignees: Mapping[str, Any] | None = None,
        expires_after_seconds: float | None = None,
        on_expiry: str | None = None,
        defaults: Mapping[str, Any] | None = None,
        remind_after_seconds: float | None = None,
        remind_every_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        about = {
            "schema": schema,
            "assignees": assignees,
            "expires_after_seconds": expires_after_seconds,
            "on_expiry": on_expiry,
            "defaults": defaults or None,
            "remind_after_seconds": remind_after_seconds,
            "remind_every_seconds": remind_every_seconds,
        }
        self.question = _question({name: about[name] for name in about if about[name] is not None})
        self.fields = list(fields) or list(self.question.fields if self.question else ())
        self.suggestions = dict(suggestions or {})
        self.step = ""


def _question(about: dict[str, Any]) -> Question | None:
    if not about:
        return None
    strange = sorted(set(about.get("assignees", {})) - set(Assignees.__struct_fields__))
    if strange:
        raise Permanent("question_invalid", f"assignees are {{users, need}}, not {strange[0]!r}")
    try:
        question = msgspec.convert(about, Question, strict=True)
    except msgspec.ValidationError as error:
        raise Permanent("question_invalid", f"the question: {error}") from None
    fault = next(faults(question), None)
    if fault is not None:
        code = "not_supported" if fault.startswith("not_supported") else "question_invalid"
        raise Permanent(code, f"the question: {fault.removeprefix('not_supported: ')}")
    return question


class HandBack(Exception):
    """The handler gives way unfinished, because it was asked to (`ctx.stopping`): no attempt is counted, and the phase goes
    on with the steps that have results, when the flow is resumed or in another process."""


class RunSuspended(BaseException):
    """The run gives way until what its step `step` waits for is there, at most `seconds` (none: for ever).

    Raised by `ctx.wait_for` and its like, never by handlers. No `Exception`, so that a handler which catches those does not
    go on without what it waits for.
    """

    def __init__(self, step: str, until: Mapping[str, Any], seconds: float | None) -> None:
        super().__init__(step)
        self.step = step
        self.until = dict(until)
        self.seconds = seconds


class Retryable(Exception):
    """The work failed for a reason that may pass."""

    kind = "retryable"
    code = "try_again"


class RateLimited(Retryable):
    """Another system wants to be left alone for a while: the phase is tried again not before `after_seconds`."""

    kind = "rate_limited"
    code = "rate_limited"

    def __init__(self, detail: str, after_seconds: float = 1.0) -> None:
        super().__init__(detail)
        self.after_seconds = after_seconds


class TargetOpen(Exception):
    """A target is left alone for a while; the phase waits for it, and its attempt is not used up."""

    kind = "target_open"
    code = "target_open"

    def __init__(self, target: str, detail: str, after_seconds: float) -> None:
        super().__init__(detail)
        self.target = target
        self.after_seconds = after_seconds


class Permanent(Exception):
    """The work failed for a reason that trying again does not cure."""

    def __init__(self, code: str, detail: str, fields: list[Invalid] | None = None) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.fields = fields or []


class TimedOut(Permanent):
    """What was waited for did not come in time. Passed on, it fails the phase; executed again, it waits anew."""

    def __init__(self, detail: str) -> None:
        super().__init__("wait_timed_out", detail)


class FlowsFailed(Permanent):
    """Children that were waited for did not complete; the message names each with what it failed of, and so on down."""

    def __init__(self, failed: Mapping[str, Mapping[str, Any]]) -> None:
        super().__init__("child_failed", "; ".join(_fault(flow_id, one) for flow_id, one in failed.items()))


def _fault(flow_id: str, one: Mapping[str, Any]) -> str:
    error = one["error"]
    why = f" of {error.get('code')}: {error.get('message')}" if error else ""
    return f"the child flow {flow_id} is {one['status']}{why}"


class ModelRefused(Permanent):
    """The model's endpoint will not answer this, now or later: no access, or no such request."""
