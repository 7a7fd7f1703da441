"""The service as its callers see it: flows, imports and what was found, over HTTP.

```python
async with Client(url, client_account_id, engagement_id, "ann") as client:
    upload = await client.upload(Path("servers.csv"))
    flow = await client.create_flow("discovery", "June", initial_data={"import_file_id": upload["import_file_id"]})
    async for status in client.follow(flow["flow_id"]):
        print(status["status"], status["progress"]["percentage"])
```
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import mimetypes
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import quote
from uuid import uuid4

import httpx

from domain.errors import FieldError, MfoError
from domain.words import Status

Json = dict[str, Any]
Verb = Literal["pause", "resume", "cancel", "rollback", "skip", "input", "iterate"]
Found = Literal["assets", "dependencies", "issues", "reviews", "changes"]
ScheduleVerb = Literal["pause", "resume", "trigger", "backfill"]
ReportFormat = Literal["html", "xlsx"]

API = "/api/v1"
OVER = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED, Status.DELETED})
# an upload that nobody has read yet
UNREAD = frozenset({"stored", "inspecting"})
UPLOAD_TIMEOUT_SECONDS = 600.0
# of one call; the client's own time limit is longer
DESCRIBE_WAIT_SECONDS = 20.0
DOWNLOAD_TIMEOUT_SECONDS = 660.0
# a report that waits for others to be made
BUSY_PATIENCE_SECONDS = 60.0
# a service that is being restarted, or whose database is, answers again after a moment
RETRY_AFTER_SECONDS = (0.2, 0.6, 1.5)


class ServiceError(MfoError):
    """The service refused, or failed; `problem` is what it said (RFC 9457)."""

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        title = problem.get("title") or f"the service answered {status}"
        super().__init__(
            str(problem.get("detail") or title),
            allowed=[str(word) for word in problem.get("allowed") or ()],
            errors=[_field_error(error) for error in problem.get("errors") or ()],
        )
        self.http_status = status
        self.problem = dict(problem)

    @property
    def problem_code(self) -> str:
        """The stable code, such as `flow_not_found`; `http_<status>` where the answer has none."""
        return str(self.problem.get("code") or f"http_{self.http_status}")

    def as_dict(self) -> Json:
        """`{code, detail, allowed?, errors?, correlation_id?}`."""
        body = super().as_dict() | {"code": self.problem_code}
        if self.problem.get("correlation_id"):
            body["correlation_id"] = self.problem["correlation_id"]
        return body


class Unreachable(MfoError):
    """The service cannot be reached."""

    code = "unreachable"
    status = 503


class Client:
    """One tenant's and one actor's view of a service; an async context manager.

    `url` is the root, such as `http://127.0.0.1:8080`. Every method raises ServiceError where the service refuses and
    Unreachable where it does not answer. Writes carry an `Idempotency-Key`, so trying again after a lost answer is safe.
    """

    def __init__(
        self,
        url: str,
        client_account_id: str,
        engagement_id: str,
        user_id: str,
        token: str | None = None,
        *,
        operator_token: str | None = None,
        timeout: float = 30.0,
    ) -> None:
        self.url = url.rstrip("/")
        headers = {
            "X-Client-Account-ID": client_account_id,
            "X-Engagement-ID": engagement_id,
            "X-User-ID": user_id,
            "User-Agent": "mfo-client",
        }
        if token:
            headers["Authorization"] = f"Bearer {token}"
        if operator_token:
            headers["X-MFO-Operator-Token"] = operator_token
        try:
            self._http = httpx.AsyncClient(base_url=self.url, headers=headers, timeout=timeout, trust_env=False)
        except (httpx.InvalidURL, UnicodeError, ValueError) as error:
            raise Unreachable(f"{url} is no address of a service: {error}") from None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def request(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        params: Mapping[str, Any] | None = None,
        key: str | None = None,
    ) -> Json:
        """One call; the JSON object of the answer, `{}` where it has none. `path` is below `/api/v1`; `key` is the idempotency key."""
        headers = {"Idempotency-Key": key or str(uuid4())} if method in {"POST", "PATCH", "DELETE"} else {}
        answer = await self._send(
            method,
            f"{API}{path}",
            json=dict(body) if body is not None else None,
            params={name: value for name, value in (params or {}).items() if value is not None},
            headers=headers,
        )
        return _json(answer)

    async def upload(
        self, file: Path, import_type: str | None = None, *, import_options: Mapping[str, Any] | None = None
    ) -> Json:
        """Store a file; `{import_file_id, filename, size_bytes, sha256, import_options}`.

        A file that was stored before keeps the options that it has; `read_anew` gives it others. Raises OSError where the
        file cannot be read.
        """
        media_type = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        texts = {"import_type": import_type} if import_type else {}
        if import_options is not None:
            texts["import_options"] = json.dumps(dict(import_options))
        with file.open("rb") as stream:
            answer = await self._send(
                "POST",
                f"{API}/imports",
                files={"file": (file.name, stream, media_type)},
                data=texts or None,
                timeout=httpx.Timeout(UPLOAD_TIMEOUT_SECONDS, connect=10.0),
                attempts=1,
            )
        return _json(answer)

    async def read_anew(self, import_file_id: str, import_options: Mapping[str, Any]) -> Json:
        """Have an upload read under other options, `{}` for none; the import, as `described` answers it, not yet read."""
        return await self.request("PATCH", f"/imports/{import_file_id}", body={"import_options": dict(import_options)})

    async def described(self, import_file_id: str, *, patience_seconds: float = 0.0) -> Json:
        """An upload and what is in it: `{state, format, recognised_as, sheets, rows, warnings, error, ...}`.

        Waits until the file has been read, for `patience_seconds` at most.
        """
        until = time.monotonic() + patience_seconds
        while True:
            left = min(until - time.monotonic(), DESCRIBE_WAIT_SECONDS)
            params = {"wait_ms": int(left * 1000)} if left > 0 else None
            found = await self.request("GET", f"/imports/{import_file_id}", params=params)
            if found["state"] not in UNREAD or time.monotonic() >= until:
                return found

    async def preview(self, import_file_id: str) -> Json:
        """How each sheet of a file was read, its first rows and what was set aside: `{sheets, preview, set_aside, ...}`."""
        return await self.request("GET", f"/imports/{import_file_id}/preview")

    async def create_flow(
        self,
        flow_type: str,
        flow_name: str,
        *,
        initial_data: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        description: str | None = None,
        tags: tuple[str, ...] = (),
        priority: int | None = None,
        key: str | None = None,
    ) -> Json:
        """Begin a flow; `{flow_id, status, current_phase, next_action, version, position, ...}`.

        `options` hold `auto_execute`, `priority`, `start_at` (ISO 8601 with its zone) or `start_after_seconds`,
        `flow_timeout_seconds`, `input_timeout_seconds`, `reuse_results` and how phases run (`timeout_seconds, max_retries, ...`).
        `priority`: 1 (first) to 5 (last) among the tenant's own flows that wait for a place.
        """
        options = _with_priority(options, priority)
        body: Json = {"flow_type": flow_type, "flow_name": flow_name}
        if initial_data:
            body["initial_data"] = dict(initial_data)
        if options:
            body["options"] = dict(options)
        if description:
            body["flow_description"] = description
        if tags:
            body["flow_tags"] = list(tags)
        return await self.request("POST", "/flows", body=body, key=key)

    async def execute(
        self,
        flow_id: str,
        phase_name: str | None = None,
        *,
        inputs: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        priority: int | None = None,
    ) -> Json:
        """Run the next phase, or the one named; `{flow_id, phase_name, run_id, status, version, position}`.

        `priority` holds for this phase and those that follow.
        """
        options = _with_priority(options, priority)
        body: Json = {}
        if phase_name:
            body["phase_name"] = phase_name
        if inputs:
            body["inputs"] = dict(inputs)
        if options:
            body["options"] = dict(options)
        return await self.request("POST", f"/flows/{flow_id}/execute", body=body)

    async def tell(self, flow_id: str, verb: Verb, body: Mapping[str, Any] | None = None) -> Json:
        """One of the verbs; `{flow_id, status, version, position}`."""
        return await self.request("POST", f"/flows/{flow_id}/{verb}", body=body or {})

    async def iterate(
        self,
        flow_id: str,
        phase_name: str | None = None,
        *,
        inputs: Mapping[str, Any] | None = None,
        reason: str | None = None,
    ) -> Json:
        """Begin a new round of the phases, from the first or the one named; `{flow_id, status, version, position}`."""
        given = {"phase_name": phase_name, "inputs": dict(inputs) if inputs else None, "reason": reason}
        return await self.tell(flow_id, "iterate", {name: value for name, value in given.items() if value is not None})

    async def iterations(self, flow_id: str) -> Json:
        """The rounds of a flow: `{iterations[{number, from_phase, status, started_at, ended_at, ...}], max_iterations}`."""
        return await self.request("GET", f"/flows/{flow_id}/iterations")

    async def iteration(self, flow_id: str, number: int) -> Json:
        """One round with its `inputs`, `phases` and `outputs`, as they stood at its end."""
        return await self.request("GET", f"/flows/{flow_id}/iterations/{number}")

    async def delete(self, flow_id: str, reason: str | None = None) -> Json:
        """Hide a flow; its history stays. `{}`, or what every command of a parked flow is answered: `{outcome: parked, ...}`."""
        return await self.request("DELETE", f"/flows/{flow_id}", params={"reason": reason})

    async def parked(self, flow_id: str) -> Json:
        """Why a flow is parked and what waits there: `{flow_id, parked[], commands[], next_cursor}`. All parked flows are
        `pages("/parked", "parked")`."""
        return await self.request("GET", f"/parked/{flow_id}")

    async def retry_parked(self, flow_id: str, *, key: str | None = None) -> Json:
        """Try a parked flow again; `{flow_id, state, applied, waiting, error, projections}`."""
        return await self.request("POST", f"/parked/{flow_id}/retry", key=key)

    async def discard_parked(
        self, flow_id: str, reason: str, *, command_id: str | None = None, key: str | None = None
    ) -> Json:
        """Give up the first waiting command, or the named one; `{discarded, ...}` and what `retry_parked` answers."""
        body = {"reason": reason} | ({"command_id": command_id} if command_id else {})
        return await self.request("POST", f"/parked/{flow_id}/discard", body=body, key=key)

    async def dead_letters(self, limit: int = 20) -> list[Json]:
        """The newest messages that were no command; needs the operator's token, as the other two do."""
        found: list[Json] = (await self.request("GET", "/dlq", params={"limit": limit}))["dead_letters"]
        return found

    async def dead_letter(self, partition: int, offset: int) -> Json:
        """One of them with its headers and body, secrets masked."""
        return await self.request("GET", f"/dlq/{partition}/{offset}")

    async def replay_dead_letter(
        self,
        partition: int,
        offset: int,
        *,
        headers: Mapping[str, str | None] | None = None,
        body: Mapping[str, Any] | str | None = None,
    ) -> Json:
        """Send one back to the commands, as it came or mended; `{topic, partition, offset, replays}`."""
        given: Json = {"headers": dict(headers)} if headers else {}
        if body is not None:
            given["body"] = body if isinstance(body, str) else dict(body)
        return await self.request("POST", f"/dlq/{partition}/{offset}/replay", body=given)

    async def flow(self, flow_id: str, *, min_version: int | None = None) -> Json:
        """Everything about a flow: the row of the read model."""
        return await self.request("GET", f"/flows/{flow_id}", params={"min_version": min_version})

    async def status(self, flow_id: str, *, min_version: int | None = None, wait_ms: int | None = None) -> Json:
        """Where a flow stands: `{status, current_phase, progress, performance, next_action, run, waiting, timers, attempts,
        version, phases}`."""
        params = {"min_version": min_version, "wait_ms": wait_ms}
        return await self.request("GET", f"/flows/{flow_id}/status", params=params)

    async def pages(self, path: str, name: str, *, params: Mapping[str, Any] | None = None) -> AsyncIterator[Json]:
        """Every row of a paged list, from the first page to the last; `name` is the list's field, such as `assets`."""
        given = dict(params or {})
        while True:
            page = await self.request("GET", path, params=given)
            for row in page[name]:
                yield row
            if not page.get("next_cursor"):
                return
            given["cursor"] = page["next_cursor"]

    async def targets(self, *, states: str | None = None) -> AsyncIterator[Json]:
        """The other systems that have failed at some time; `states` is a comma list of closed, open, half_open."""
        params = {"state": states} if states else None
        async for target in self.pages("/targets", "targets", params=params):
            yield target

    async def retry_target(self, target: str, *, own: bool = False) -> Json:
        """Have the next call of an open target try it, whatever its time; the target as it stands."""
        params = {"own": "true"} if own else None
        return await self.request("POST", f"/targets/{quote(target, safe='')}/retry", params=params)

    async def create_schedule(
        self, name: str, timing: Mapping[str, Any], flow: Mapping[str, Any], *, key: str | None = None, **more: Any
    ) -> Json:
        """Make flows at times; the schedule with its `schedule_id`, `next_at`, `version` and `position`.

        `timing` is `{cron, time_zone}`, `{interval_seconds, anchor_at}` or `{at}`; `flow` is `{flow_type, flow_name,
        initial_data, options, ...}`; `more`: description, overlap, catch_up_window_seconds, jitter_seconds, start_at, end_at,
        max_firings.
        """
        body = {"name": name, "timing": dict(timing), "flow": dict(flow), **more}
        return await self.request("POST", "/schedules", body=body, key=key)

    async def schedule(self, schedule_id: str) -> Json:
        """A schedule as it stands."""
        return await self.request("GET", f"/schedules/{schedule_id}")

    async def update_schedule(self, schedule_id: str, changes: Mapping[str, Any]) -> Json:
        """Change what is given; the schedule after it."""
        return await self.request("PATCH", f"/schedules/{schedule_id}", body=changes)

    async def tell_schedule(self, schedule_id: str, verb: ScheduleVerb, body: Mapping[str, Any] | None = None) -> Json:
        """One of the verbs; the schedule after it."""
        return await self.request("POST", f"/schedules/{schedule_id}/{verb}", body=body or {})

    async def delete_schedule(self, schedule_id: str, reason: str | None = None) -> None:
        """End a schedule and hide it; its flows and its history stay."""
        await self.request("DELETE", f"/schedules/{schedule_id}", params={"reason": reason})

    async def next_times(self, schedule_id: str, count: int = 10) -> list[Json]:
        """The times to come: `{nominal_at, local, fire_at}`."""
        found = await self.request("GET", f"/schedules/{schedule_id}/next", params={"count": count})
        times: list[Json] = found["times"]
        return times

    async def report(self, flow_id: str, written_as: ReportFormat, file: Path, *, masked: bool = True) -> Json:
        """Write a discovery's report to a file; `{path, format, size_bytes, sha256}`. Raises OSError."""
        params = {"format": written_as, "masked": masked}
        return {"format": written_as, **await self._download(f"/flows/{flow_id}/report", params, file)}

    async def export(self, flow_id: str, kind: Found, file: Path, *, params: Mapping[str, Any] | None = None) -> Json:
        """Write all rows of a kind to a csv file; `params` are the list's filters. Answers as `report` does."""
        return {
            "format": "csv",
            **await self._download(f"/flows/{flow_id}/{kind}", {**(params or {}), "format": "csv"}, file),
        }

    async def _download(self, path: str, params: Mapping[str, Any], file: Path) -> Json:
        """Write an answer to a file as it comes; a file of that name is replaced only by a whole one.

        Asks again, for a minute at most, while the service is busy with others.
        """
        given = {name: value for name, value in params.items() if value is not None}
        timeout = httpx.Timeout(DOWNLOAD_TIMEOUT_SECONDS, connect=10.0)
        until = time.monotonic() + BUSY_PATIENCE_SECONDS
        while True:
            try:
                async with self._http.stream("GET", f"{API}{path}", params=given, timeout=timeout) as answer:
                    if answer.is_success:
                        return await _kept(answer, file)
                    await answer.aread()
            except (httpx.TransportError, httpx.InvalidURL) as error:
                raise Unreachable(f"the service at {self.url} broke off: {error or type(error).__name__}") from None
            pause = float(answer.headers.get("retry-after", "0")) if answer.status_code == 503 else 0.0
            if not pause or time.monotonic() + pause > until:
                raise ServiceError(answer.status_code, _problem(answer))
            await asyncio.sleep(pause)

    async def follow(
        self, flow_id: str, *, min_version: int | None = None, patience_seconds: float = 15.0
    ) -> AsyncIterator[Json]:
        """Every change of a flow's status until the flow is over; the caller leaves earlier by breaking off.

        Waits at the service for the next version, so nothing polls. A service that is away for `patience_seconds` at most is
        waited for.
        """
        status = await self.status(flow_id, min_version=min_version, wait_ms=10_000)
        yield status
        last_answer = time.monotonic()
        while status["status"] not in OVER:
            asked_at = time.monotonic()
            try:
                found = await self.status(flow_id, min_version=int(status["version"]) + 1, wait_ms=2000)
            except ServiceError as error:
                if error.problem_code != "read_model_behind":
                    raise
                found = await self.status(flow_id)
            except Unreachable:
                if time.monotonic() - last_answer > patience_seconds:
                    raise
                await asyncio.sleep(0.5)
                continue
            last_answer = time.monotonic()
            if _mark(found) != _mark(status):
                status = found
                yield status
            elif last_answer - asked_at < 0.1:
                # the service did not wait, so we do
                await asyncio.sleep(0.2)

    async def _send(
        self, method: str, path: str, *, attempts: int = len(RETRY_AFTER_SECONDS) + 1, **more: Any
    ) -> httpx.Response:
        for attempt in range(attempts):
            try:
                answer = await self._http.request(method, path, **more)
            except (httpx.ConnectError, httpx.ConnectTimeout, httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
                raise Unreachable(
                    f"the service cannot be reached at {self.url}: {error or type(error).__name__}"
                ) from None
            except httpx.TransportError as error:
                if attempt + 1 == attempts:
                    raise Unreachable(f"the service at {self.url} broke off: {error or type(error).__name__}") from None
                await asyncio.sleep(RETRY_AFTER_SECONDS[attempt])
                continue
            if answer.is_success:
                return answer
            if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE and attempt + 1 < attempts:
                await asyncio.sleep(RETRY_AFTER_SECONDS[attempt])
                continue
            raise ServiceError(answer.status_code, _problem(answer))
        raise AssertionError("unreachable code")


def ready(url: str, timeout: float = 3.0) -> tuple[bool, Json]:
    """Whether the service says it is ready, and what it says of its parts; `(False, {})` where it does not answer."""
    try:
        answer = httpx.get(f"{url.rstrip('/')}/health/ready", timeout=timeout, trust_env=False)
    except httpx.HTTPError:
        return False, {}
    return answer.status_code == httpx.codes.OK, _problem(answer)


def _with_priority(options: Mapping[str, Any] | None, priority: int | None) -> Mapping[str, Any] | None:
    return options if priority is None else {**(options or {}), "priority": priority}


async def _kept(answer: httpx.Response, file: Path) -> Json:
    """Write the body beside `file`, then put it in its place."""
    hasher, size = hashlib.sha256(), 0
    part = file.with_name(f".{file.name}.{uuid4().hex[:8]}")
    try:
        with part.open("wb") as out:
            async for chunk in answer.aiter_bytes():
                hasher.update(chunk)
                size += len(chunk)
                out.write(chunk)
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)
    return {"path": str(file), "size_bytes": size, "sha256": hasher.hexdigest()}


def _mark(status: Json) -> tuple[Any, ...]:
    return status["version"], status["status"], (status.get("progress") or {}).get("percentage")


def _json(answer: httpx.Response) -> Json:
    if not answer.content:
        return {}
    try:
        body = answer.json()
    except ValueError:
        raise ServiceError(
            answer.status_code, {"detail": "the answer is not JSON; is this address an mfo service?"}
        ) from None
    return body if isinstance(body, dict) else {"items": body}


def _problem(answer: httpx.Response) -> Json:
    try:
        body = answer.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _field_error(error: Any) -> FieldError:
    if isinstance(error, Mapping):
        return FieldError(str(error.get("field", "")), str(error.get("message", "")))
    return FieldError("", str(error))
