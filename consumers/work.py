"""One run of one phase: validators, handlers, output check; whatever happens becomes an `Ended`."""

from __future__ import annotations

import asyncio
import resource
import traceback
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from time import monotonic, perf_counter, process_time
from typing import Any, NamedTuple
from uuid import UUID

import jsonschema
import msgspec
import psycopg
import structlog

from consumers.breakers import Targets, TenantTargets
from consumers.context import (
    HandBack,
    ImportFile,
    Invalid,
    NeedsInput,
    Outputs,
    Permanent,
    PhaseContext,
    Retryable,
    RunSuspended,
    TargetOpen,
    UndonePhase,
)
from consumers.crews.crew import ProcessCrew
from consumers.family import Family, Tell
from consumers.frames import Ended, Job, Json
from consumers.hooks import Hooks, InHook
from consumers.phases import PhaseWork
from consumers.reuse import Reuse
from consumers.signals import RunCancelled, Signals
from consumers.steps import ASK_STEPS, Steps
from consumers.threads import Threads, exited
from domain.commands import Tenant
from domain.errors import MfoError, NotHere, Unavailable
from estate.errors import EstateError
from eventstore import tracing
from eventstore.artifacts import ArtifactStore, as_kept
from eventstore.breakers import Breakers
from eventstore.config import CrewConfig
from eventstore.imports import ImportStore
from eventstore.keys import Keyring
from eventstore.past import Past
from eventstore.scratch import scratch

log = structlog.get_logger()

# what a handler says about its end goes into one event, of 256 KiB at most
MAX_MESSAGE = 2000
MAX_FIELDS = 50
# how long a thread has to notice that its run was given up
THREAD_SECONDS = 1.0
PEAK_SECONDS = 1.0


class RunStuck(RunCancelled):
    """The run was given up, and a thread of its has not noticed."""


class RunFolder:
    """A folder on local disk for one run, made when it is first asked for."""

    def __init__(self) -> None:
        self._open = ExitStack()
        self._folder: Path | None = None

    def path(self) -> Path:
        """The folder."""
        if self._folder is None:
            self._folder = self._open.enter_context(scratch("mfo-run-"))
        return self._folder

    def close(self) -> None:
        """Remove it with everything in it."""
        self._open.close()


class _Line(NamedTuple):
    """What a run hangs on: its folder, threads and agents, and how it and the service talk to each other."""

    folder: RunFolder
    threads: Threads
    signals: Signals
    progress: Any
    keep: Any
    crew: ProcessCrew | None
    tell: Tell | None


class TenantArtifacts:
    """The artifact store as one tenant's run sees it."""

    def __init__(self, store: ArtifactStore, client_account_id: UUID, folder: RunFolder) -> None:
        self._store = store
        self._account = client_account_id
        self._folder = folder
        self._fetched: dict[str, Path] = {}

    async def put(self, data: bytes, media_type: str = "application/json") -> dict[str, Any]:
        return await self._store.put(self._account, data, media_type)

    async def put_file(self, path: Path, media_type: str = "application/octet-stream") -> dict[str, Any]:
        return await self._store.put_file(self._account, path, media_type)

    async def get(self, ref: Mapping[str, Any]) -> bytes:
        return await self._store.get(self._account, str(ref.get("artifact", "")))

    async def fetch(self, ref: Mapping[str, Any]) -> Path:
        sha256 = str(ref.get("artifact", ""))
        path = self._fetched.get(sha256)
        if path is None:
            path = self._folder.path() / f"artifact-{len(self._fetched)}"
            await self._store.fetch(self._account, sha256, path)
            self._fetched[sha256] = path
        return path


class TenantImports:
    """The uploads as one tenant's run sees them; a file is fetched once a run."""

    def __init__(self, store: ImportStore, tenant: Tenant, folder: RunFolder) -> None:
        self._store = store
        self._tenant = tenant
        self._folder = folder
        self._fetched: dict[str, ImportFile] = {}

    async def open(self, import_file_id: str) -> ImportFile:
        known = self._fetched.get(import_file_id)
        if known is None:
            found, path = await self._store.fetch(self._tenant, import_file_id, self._folder.path())
            known = ImportFile(
                *(str(found.id), found.filename, found.sha256.hex(), found.size_bytes, path),
                import_options=found.import_options or {},
            )
            self._fetched[import_file_id] = known
        return known


class TenantPast:
    """The tenant's other flows as one run sees them."""

    def __init__(self, past: Past, artifacts: ArtifactStore, keyring: Keyring, tenant: Tenant, flow_id: UUID) -> None:
        self._past = past
        self._artifacts = artifacts
        self._keyring = keyring
        self._tenant = tenant
        self._flow_id = flow_id

    async def learned(self) -> list[dict[str, Any]]:
        return await self._past.learned(self._tenant.client_account_id, self._flow_id)

    async def former(self, number: int) -> dict[str, Json] | None:
        outputs = await self._past.round_of(self._tenant, self._flow_id, number)
        if outputs is None:
            return None
        account = self._tenant.client_account_id
        return {
            name: await self._keyring.unseal(account, await self._artifacts.unspill(account, given))
            for name, given in outputs.items()
        }

    async def earlier_inventory(self, wanted: str = "latest") -> tuple[UUID, dict[str, Any]] | None:
        try:
            found = (
                UUID(wanted) if wanted != "latest" else await self._past.latest_inventory(self._tenant, self._flow_id)
            )
        except ValueError:
            return None
        outputs = await self._past.inventory_of(self._tenant, found) if found is not None else None
        if found is None or outputs is None:
            return None
        return found, await self._artifacts.unspill(self._tenant.client_account_id, outputs)


class Workshop:
    """Where runs are done: the handlers, and the stores they may use."""

    def __init__(
        self,
        work: PhaseWork,
        artifacts: ArtifactStore,
        imports: ImportStore,
        keyring: Keyring,
        past: Past,
        *,
        memory_mb: int | None = None,
        breakers: Breakers | None = None,
        crew: CrewConfig | None = None,
        peak_mb: Callable[[], float] | None = None,
        cpu_seconds: Callable[[], float] = process_time,
    ) -> None:
        self.work = work
        self._peak_mb = peak_mb or _PeakSoFar()
        self._cpu_seconds = cpu_seconds
        self._targets = Targets(breakers) if breakers is not None else None
        self._artifacts = artifacts
        self._imports = imports
        self._keyring = keyring
        self._past = past
        self._memory_mb = memory_mb
        self._crew = crew

    async def run(
        self,
        job: Job,
        progress: Any = None,
        keep: Any = None,
        signals: Signals | None = None,
        tell: Tell | None = None,
    ) -> Ended:
        """Do the run; never raises but for cancellation: RunStuck where a thread of the run goes on all the same.

        `keep(results)` commits results of steps under the run's token; `tell(command, body)` puts a command before a child
        flow and gives the error it was refused with.
        """
        began, cpu = perf_counter(), self._cpu_seconds()
        folder, threads = RunFolder(), Threads()
        crew = ProcessCrew(self._crew, folder.path) if self._crew is not None else None
        try:
            line = _Line(folder, threads, signals or signals_of(job), progress, keep, crew, tell)
            with tracing.under(job.traceparent):
                ended = await self._asked(job, line)
        except asyncio.CancelledError:
            threads.close()
            if not await threads.ended(THREAD_SECONDS):
                raise RunStuck from None
            raise
        except (SystemExit, KeyboardInterrupt) as error:
            ended = Ended(run_id=job.run_id, how="failed", error=describe(exited(error), job))
        except Exception as error:
            ended = Ended(run_id=job.run_id, how="failed", error=describe(error, job))
        finally:
            if crew is not None:
                await crew.close()
            folder.close()
        threads.close()
        stuck = not await threads.ended(THREAD_SECONDS)
        usage = {"cpu_seconds": round(self._cpu_seconds() - cpu, 3), "peak_memory_mb": round(self._peak_mb(), 1)}
        return presentable(
            msgspec.structs.replace(
                ended,
                stuck=stuck,
                resource_usage=usage | ended.resource_usage,
                execution_time_ms=int((perf_counter() - began) * 1000),
                handler_versions=self.work.handler_versions(job.names),
            )
        )

    async def _asked(self, job: Job, line: _Line) -> Ended:
        try:
            return await self._handle(job, await self._context(job, line))
        except HandBack:
            if line.signals.ever_asked:
                return Ended(run_id=job.run_id, how="handed_back")
            raise Retryable("the handler handed its run back, though nobody had asked it to stop") from None
        except RunSuspended as waits:
            return _suspended(job, waits)
        except BaseExceptionGroup as group:
            # of a handler that waits for several things at once: they come one after the other
            several, others = group.split(RunSuspended)
            if several is None or others is not None:
                raise
            return _suspended(job, _first(several))
        except NeedsInput as wanted:
            return Ended(
                run_id=job.run_id,
                how="input",
                fields=tuple(wanted.fields),
                message=wanted.message[:MAX_MESSAGE],
                suggestions=await self._small(job, dict(wanted.suggestions)),
                question=wanted.question,
                step=wanted.step,
            )

    async def _small(self, job: Job, value: Json) -> Json:
        """`value` as an event may hold it."""
        return await as_kept(self._keyring, self._artifacts, job.client_account_id, value)

    async def _whole_steps(self, account: UUID, steps: Json) -> Json:
        """The results of steps with what was moved aside, answers of people too."""
        whole = await self._artifacts.unspill(account, steps)
        for name, result in whole.items():
            if name.rpartition("/")[2].startswith(ASK_STEPS) and isinstance(result, dict) and "answered_by" in result:
                whole[name] = {**result, "values": await self._artifacts.unspill(account, result["values"])}
        return whole

    async def _context(self, job: Job, line: _Line) -> PhaseContext:
        account = job.client_account_id
        tenant = Tenant(account, job.engagement_id, job.user_id)
        inputs = await self._whole(account, job.inputs)
        outputs = {name: await self._whole(account, given) for name, given in job.outputs.items()}
        steps = await self._keyring.unseal(account, await self._whole_steps(account, job.steps)) if job.steps else {}

        async def commit(results: Json) -> None:
            await line.keep(await self._small(job, results))

        def gives_way() -> bool:
            return job.yields and line.signals.paused

        return PhaseContext(
            flow_id=job.flow_id,
            flow_type=job.flow_type,
            phase=job.phase_name,
            run_id=job.run_id,
            attempt=job.attempt,
            client_account_id=account,
            engagement_id=job.engagement_id,
            user_id=job.user_id,
            inputs=inputs,
            outputs=outputs,
            artifacts=TenantArtifacts(self._artifacts, account, line.folder),
            imports=TenantImports(self._imports, tenant, line.folder),
            past=TenantPast(self._past, self._artifacts, self._keyring, tenant, job.flow_id),
            iteration=job.iteration,
            anew=job.anew,
            folder=line.folder.path,
            steps=Steps(steps, commit if line.keep is not None else None, line.threads, gives_way),
            signals=line.signals,
            threads=line.threads,
            memory_mb=self._memory_mb,
            max_attempts=job.max_attempts,
            timeout_seconds=job.timeout_seconds,
            crew=line.crew,
            token=job.token,
            progress=line.progress,
            targets=TenantTargets(self._targets, account, asyncio.get_running_loop()) if self._targets else None,
            error=job.error,
            undone=await self._undone(job, outputs),
            family=Family(job, self._past, self._whole, line.tell),
        )

    async def _undone(self, job: Job, outputs: Mapping[str, Outputs]) -> UndonePhase | None:
        """What a compensation undoes, none in any other run."""
        if job.undoing is None:
            return None
        account = job.client_account_id
        steps = await self._keyring.unseal(account, await self._artifacts.unspill(account, job.undoing.steps))
        return UndonePhase(
            flow_id=job.flow_id,
            phase=job.phase_name,
            completed=job.undoing.completed,
            outputs=outputs.get(job.phase_name, {}),
            steps=steps,
            run_id=job.undoing.run_id,
            anew=job.anew,
        )

    async def _whole(self, client_account_id: UUID, value: Mapping[str, Any]) -> Json:
        """What an event holds as a handler may see it: in one piece, and in clear."""
        if not value:
            return {}
        clear: Json = await self._keyring.unseal(
            client_account_id, await self._artifacts.unspill(client_account_id, value)
        )
        return clear

    async def _handle(self, job: Job, context: PhaseContext) -> Ended:
        results: Json = {}
        if job.validate_inputs and job.validators:
            objections: list[Invalid] = []
            for name in job.validators:
                found = await context.threads.do(self.work.validators[name], context)
                results[name] = [{"field": one.field, "message": one.message} for one in found] or "passed"
                objections.extend(found)
            if objections:
                raise _Objection(objections)
        hooks = Hooks(job, context, self.work.handlers)
        reuse = Reuse(job, self.work, self._past.results, self._keyring, self._artifacts)
        if job.hook:
            outputs = await hooks.run(job.hook, job.handlers)
        else:
            outputs = await hooks.around(partial(self._outputs, job, reuse))
        if job.validate_outputs and job.output_schema is not None:
            results["outputs"] = "passed"
        small = await self._small(job, outputs) if outputs else outputs
        return Ended(
            run_id=job.run_id,
            how="completed",
            outputs=small,
            validation_results=results,
            resource_usage=context.usage,
            agent_insights=tuple(context.insights),
            reused_from=reuse.reused_from,
        )

    async def _outputs(self, job: Job, reuse: Reuse, context: PhaseContext) -> Outputs:
        """What the handlers bring, or brought to an earlier run that it is taken from; it fits the phase's schema."""
        outputs = await reuse.taken(context)
        if outputs is None:
            outputs = {}
            for name in job.handlers:
                outputs.update(await context.threads.do(self.work.handlers[name], context))
        if job.validate_outputs and job.output_schema is not None:
            jsonschema.validate(outputs, job.output_schema)
        await reuse.leave(outputs)
        return outputs


def _suspended(job: Job, waits: RunSuspended) -> Ended:
    return Ended(run_id=job.run_id, how="suspended", step=waits.step, until=waits.until, wait_seconds=waits.seconds)


def _first(group: BaseExceptionGroup[RunSuspended]) -> RunSuspended:
    found = group.exceptions[0]
    return _first(found) if isinstance(found, BaseExceptionGroup) else found


def signals_of(job: Job) -> Signals:
    """What was asked of a run when it was handed out."""
    return Signals(job.deadline, job.seconds_left, paused=job.paused, draining=job.draining)


def presentable(ended: Ended) -> Ended:
    """`ended` as JSON and PostgreSQL can hold it: NUL becomes U+FFFD; what cannot be encoded at all is a failure that says so."""
    try:
        encoded = msgspec.json.encode(ended)
    except (TypeError, ValueError) as error:
        message = f"the result cannot be written as JSON: {str(error)!a}"[:MAX_MESSAGE]
        failure = {"class": "permanent", "code": "result_unreadable", "message": message, "retryable": False}
        return Ended(
            run_id=ended.run_id,
            how="failed",
            error=failure,
            resource_usage=ended.resource_usage,
            execution_time_ms=ended.execution_time_ms,
            handler_versions=ended.handler_versions,
        )
    if b"\\u0000" not in encoded:
        return ended
    return msgspec.convert(_without_nul(msgspec.json.decode(encoded)), Ended)


def _without_nul(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\x00", "\ufffd")
    if isinstance(value, list):
        return [_without_nul(inner) for inner in value]
    if isinstance(value, dict):
        return {_without_nul(name): _without_nul(inner) for name, inner in value.items()}
    return value


def _sentences(messages: Iterable[str]) -> str:
    """Messages one after the other, each a sentence."""
    return " ".join(message if message.endswith((".", "!", "?")) else f"{message}." for message in messages)


class _Objection(Exception):
    """Validators object to the inputs."""

    def __init__(self, objections: list[Invalid]) -> None:
        super().__init__(_sentences(one.message for one in objections))
        self.objections = objections


def _place_in_estate(error: BaseException) -> str | None:
    """Where in our reading of tables an error arose, `<file>:<line> in <function>`; None for an error from elsewhere."""
    frames = traceback.extract_tb(error.__traceback__)
    inside = [frame for frame in frames if "estate" in Path(frame.filename).parent.parts]
    return f"{Path(inside[-1].filename).name}:{inside[-1].lineno} in {inside[-1].name}" if inside else None


def log_fault(error: BaseException, what: str, **about: str) -> str | None:
    """Log a fault of a handler. One that arose in our reading of tables may quote a cell, which may be a secret: its place is
    told instead of its text, and answered."""
    place = _place_in_estate(error)
    if place is None:
        log.error(what, **about, exc_info=error)
        return None
    message = f"{type(error).__name__} at {place}"
    log.error(what, **about, why=message)
    return message


def describe(error: BaseException, job: Job) -> Json:
    """An exception as the error of a FailPhase, by type, never by wording: `{class, code, message, retryable, fields?}`.

    One of a table says where (`place`), one of a hook which (`hook`, `moment`), and one that waits for a target for which.
    """
    if isinstance(error, InHook):
        return describe(error.error, job) | {"hook": error.name, "moment": error.moment}
    if isinstance(error, TargetOpen):
        return _waiting_for(error)
    described = _described(error, job)
    if isinstance(error, EstateError):
        known = {name: getattr(error, name) for name in ("file", "sheet", "row", "column")}
        if place := {name: value for name, value in known.items() if value is not None}:
            described["place"] = place
    return described


def _described(error: BaseException, job: Job) -> Json:
    kind, code, retryable = "execution", "handler_failed", True
    message = f"{type(error).__name__}: {error}"[:MAX_MESSAGE]
    fields: list[Json] = []
    match error:
        case _Objection():
            kind, code, retryable, message = "validation", "inputs_invalid", False, str(error)[:MAX_MESSAGE]
            fields = _fields(error.objections)
        case Permanent():
            # a failure that names input fields is cured by other inputs
            kind = "validation" if error.fields else "permanent"
            code, retryable, message = error.code, False, error.detail[:MAX_MESSAGE]
            fields = _fields(error.fields)
        case Retryable():
            kind, code, message = error.kind, error.code, str(error)[:MAX_MESSAGE]
        case jsonschema.ValidationError():
            kind, code, retryable = "permanent", "outputs_invalid", False
            # the library's own sentence quotes the value, which may be a secret
            where = ".".join(["outputs", *map(str, error.absolute_path)])
            message = f"{where} of {job.phase_name} breaks {error.validator!r} of its schema"[:MAX_MESSAGE]
        case TimeoutError():
            kind, code = "timeout", "timeout"
        case MemoryError():
            kind, code = "resource", "out_of_memory"
        case psycopg.Error() | Unavailable():
            kind, code = "database", "store_unavailable"
        case NotHere():
            kind, code, retryable, message = "validation", error.code, False, error.detail
        case EstateError() | MfoError():
            kind, code, retryable, message = "permanent", error.code, False, error.detail[:MAX_MESSAGE]
        case OSError():
            kind, code = "network", "io_failed"
    if code == "handler_failed":
        message = log_fault(error, "handler failed", phase=job.phase_name, run_id=str(job.run_id)) or message
    described: Json = {"class": kind, "code": code, "message": message, "retryable": retryable}
    if fields:
        described["fields"] = fields
    if after := getattr(error, "after_seconds", None):
        described["after_seconds"] = after
    return described


def _waiting_for(error: TargetOpen) -> Json:
    return {
        "class": error.kind,
        "code": error.code,
        "message": str(error),
        "retryable": True,
        "after_seconds": error.after_seconds,
        "target": error.target,
    }


def _fields(objections: list[Invalid]) -> list[Json]:
    return [{"field": one.field[:255], "message": one.message[:MAX_MESSAGE]} for one in objections[:MAX_FIELDS]]


class _PeakSoFar:
    """The most resident memory of this process in MiB, as of the last second: it never falls, and asking for it takes as long
    as a short run."""

    def __init__(self) -> None:
        self._looked_at = -PEAK_SECONDS
        self._peak = 0.0

    def __call__(self) -> float:
        now = monotonic()
        if now - self._looked_at >= PEAK_SECONDS:
            self._looked_at, self._peak = now, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        return self._peak
