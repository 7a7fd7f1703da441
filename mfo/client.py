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
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import quote
from uuid import uuid4

import httpx

from domain.errors import FieldError, MfoError
from domain.words import ENDED, Status
from mfo.running import Unreachable

Json = dict[str, Any]
Verb = Literal["pause", "resume", "cancel", "rollback", "skip", "retry", "input", "signals", "iterate"]
Found = Literal["assets", "dependencies", "issues", "reviews", "changes"]
OperationVerb = Literal["pause", "resume", "cancel", "retry", "skip", "delete", "rollback"]
ScheduleVerb = Literal["pause", "resume", "trigger", "backfill"]
ReportFormat = Literal["html", "xlsx"]
AuditFormat = Literal["json", "ndjson", "csv"]

API = "/api/v1"
# flows of one page of a check, and what the pages count
CHECKED = 200
COUNTED = ("checked", "safe", "waits", "breaks", "there", "seconds")
# an upload that nobody has read yet
UNREAD = frozenset({"stored", "inspecting"})
UPLOAD_TIMEOUT_SECONDS = 600.0
# of one call; the client's own time limit is longer
DESCRIBE_WAIT_SECONDS = 20.0
DOWNLOAD_TIMEOUT_SECONDS = 660.0
# a report that waits for others to be made
BUSY_PATIENCE_SECONDS = 60.0
# a read model that is to show all that has happened
BEHIND_PATIENCE_SECONDS = 60.0
# comments come every 15 seconds
LISTENING_TIMEOUT = httpx.Timeout(10.0, read=40.0)
# how far work is, is no event
PROGRESS_SECONDS = 2.0
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
            details=problem.get("details"),
        )
        self.http_status = status
        self.problem = dict(problem)

    @property
    def problem_code(self) -> str:
        """The stable code, such as `flow_not_found`; `http_<status>` where the answer has none."""
        return str(self.problem.get("code") or f"http_{self.http_status}")

    def as_dict(self) -> Json:
        """`{code, detail, allowed?, errors?, details?, correlation_id?}`."""
        body = super().as_dict() | {"code": self.problem_code}
        if self.problem.get("correlation_id"):
            body["correlation_id"] = self.problem["correlation_id"]
        return body


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
        self.engagement_id = engagement_id
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
        if_version: int | None = None,
    ) -> Json:
        """One call; the JSON object of the answer, `{}` where it has none. `path` is below `/api/v1`; `key` is the idempotency
        key, `if_version` the version that the flow must be at."""
        headers = {"Idempotency-Key": key or str(uuid4())} if method in {"POST", "PUT", "PATCH", "DELETE"} else {}
        if if_version is not None:
            headers["If-Match"] = f'"{if_version}"'
        answer = await self._send(
            method,
            f"{API}{path}",
            json=dict(body) if body is not None else None,
            params={name: value for name, value in (params or {}).items() if value is not None},
            headers=headers,
        )
        return _json(answer)

    async def _caught_up(self, method: str, path: str, **more: Any) -> Json:
        """The same of what waits until the read model shows all that has happened: it is asked again while that is not so."""
        until = time.monotonic() + BEHIND_PATIENCE_SECONDS
        while True:
            try:
                return await self.request(method, path, **more)
            except ServiceError as error:
                if error.problem_code != "read_model_behind" or time.monotonic() >= until:
                    raise
                # the service waits itself, but not where it was asked not to
                await asyncio.sleep(RETRY_AFTER_SECONDS[0])

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
        parent: str | None = None,
        depends_on: Sequence[str] = (),
        key: str | None = None,
        wait_ms: int | None = None,
    ) -> Json:
        """Begin a flow; `{flow_id, status, current_phase, next_action, version, position, ...}`.

        `options` hold `auto_execute`, `priority`, `start_at` (ISO 8601 with its zone) or `start_after_seconds`,
        `flow_timeout_seconds`, `input_timeout_seconds`, `reuse_results`, `notification_emails` and how phases run
        (`timeout_seconds, max_retries, ...`). `priority`: 1 (first) to 5 (last) among the tenant's own flows that wait for a place. `parent`: the
        flow that this one is a child of; `depends_on`: flows that must complete before it begins, with the option
        `on_dependency_failure` (`wait`, `ignore`, `fail`) for where one does not. With `wait_ms` (less than the client's timeout) the answer
        comes when the flow has ended, is paused or asks for something, or when the time is over: one call, no polling.
        """
        options = _with_priority(options, priority)
        body: Json = {"flow_type": flow_type, "flow_name": flow_name}
        if parent:
            body["parent_flow_id"] = parent
        if depends_on:
            body["dependent_flow_ids"] = list(depends_on)
        if initial_data:
            body["initial_data"] = dict(initial_data)
        if options:
            body["options"] = dict(options)
        if description:
            body["flow_description"] = description
        if tags:
            body["flow_tags"] = list(tags)
        params = {"wait": True, "wait_ms": wait_ms} if wait_ms is not None else None
        return await self.request("POST", "/flows", body=body, key=key, params=params)

    async def execute(
        self,
        flow_id: str,
        phase_name: str | None = None,
        *,
        inputs: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        priority: int | None = None,
    ) -> Json:
        """Run the next phase, or the one named; `{flow_id, phase_name, run_id, active_phases, status, version, position}`.

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
        """One of the verbs; `{flow_id, status, version, position}`.

        pause, resume and cancel reach all flows under it, too, unless `body` says `tree: false`.
        """
        return await self.request("POST", f"/flows/{flow_id}/{verb}", body=body or {})

    async def signal(
        self,
        flow_id: str,
        name: str,
        payload: Mapping[str, Any] | None = None,
        *,
        signal_id: str | None = None,
        key: str | None = None,
    ) -> Json:
        """Tell a flow something: kept in order until a handler waits for `name`; `{flow_id, status, version, position}`.

        A `signal_id` that the flow knows changes nothing.
        """
        body: Json = {"name": name, "payload": dict(payload or {})}
        if signal_id is not None:
            body["signal_id"] = signal_id
        return await self.request("POST", f"/flows/{flow_id}/signals", body=body, key=key)

    async def inputs(
        self,
        *,
        mine: bool = False,
        open_to_all: bool = False,
        overdue: bool = False,
        flow_type: str | None = None,
        phase: str | None = None,
        limit: int = 50,
    ) -> AsyncIterator[Json]:
        """What flows ask people, the oldest first; `mine`: only what this user may answer and has not yet. `limit` is the
        size of a page."""
        flags = {"mine": mine, "open": open_to_all, "overdue": overdue}
        params: Json = {"flow_type": flow_type, "phase": phase, "limit": limit}
        params |= {name: "true" for name, wanted in flags.items() if wanted}
        async for question in self.pages("/inputs", "inputs", params=params):
            yield question

    async def answer(
        self,
        flow_id: str,
        values: Mapping[str, Any],
        *,
        phase_name: str | None = None,
        reason: str | None = None,
        key: str | None = None,
    ) -> Json:
        """Answer what a flow asks; `{flow_id, status, version, position}`. Of two people who must, the first leaves the flow
        waiting. `phase_name` says which question is meant, where several phases ask at the same time."""
        beside = {"phase_name": phase_name, "reason": reason}
        body = {**values, **{name: value for name, value in beside.items() if value is not None}}
        return await self.request("POST", f"/flows/{flow_id}/input", body=body, key=key)

    async def migrate(
        self,
        flow_id: str,
        to_version: str | None = None,
        *,
        phase_mapping: Mapping[str, str | None] | None = None,
        back: bool = False,
        restart_run: bool = False,
        reason: str | None = None,
        key: str | None = None,
    ) -> Json:
        """Move a flow to another version of its type, or `back`; `{flow_id, status, version, position, draining}`."""
        body: Json = {"to_version": to_version, "reason": reason}
        if phase_mapping:
            body["phase_mapping"] = dict(phase_mapping)
        switches = {"back": back, "restart_run": restart_run}
        body |= {name: True for name, on in switches.items() if on}
        given = {name: value for name, value in body.items() if value is not None}
        return await self.request("POST", f"/flows/{flow_id}/migrate", body=given, key=key)

    async def flow_types(self) -> list[Json]:
        """Every flow type as new flows get it, each with the `versions` that flows may have been made with."""
        found: list[Json] = (await self.request("GET", "/flow-types"))["flow_types"]
        return found

    async def flow_type(self, name: str, version: str | None = None) -> Json:
        """One flow type, as new flows get it or in a version."""
        return await self.request("GET", f"/flow-types/{quote(name, safe='')}", params={"version": version})

    async def check_flow_type(
        self,
        definition: Mapping[str, Any] | None = None,
        *,
        flow_ids: Sequence[str] | None = None,
        on_page: Callable[[Json], None] | None = None,
        **more: Any,
    ) -> Json:
        """Which flows could go on by another version of their type: `{flow_type, to_version, checked, safe, waits, breaks, there,
        seconds, flows[]}` of all pages; `on_page` hears how far it is.

        Give the definition, or `flow_type` and `to_version`; `more`: phase_mapping, back, handlers, include_safe, all_tenants.
        """
        body = {"definition": dict(definition)} if definition is not None else {}
        body |= {name: value for name, value in more.items() if value is not None}
        parts = [None] if flow_ids is None else [flow_ids[n : n + CHECKED] for n in range(0, len(flow_ids), CHECKED)]
        whole: Json = {"flow_type": None, "to_version": None, **dict.fromkeys(COUNTED, 0), "flows": []}
        for part in parts:
            cursor = None
            while True:
                asked = {**body, "limit": CHECKED, "flow_ids": part, "cursor": cursor}
                page = await self._caught_up("POST", "/flow-types/check", body=asked)
                whole |= {name: page[name] for name in ("flow_type", "to_version")}
                whole |= {name: round(whole[name] + page[name], 3) for name in COUNTED}
                whole["flows"] += page["flows"]
                if on_page is not None:
                    on_page(whole)
                cursor = page["next_cursor"]
                if cursor is None:
                    break
        return whole

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

    async def rollback(
        self,
        flow_id: str,
        phase_name: str | None = None,
        *,
        checkpoint_id: str | None = None,
        reason: str | None = None,
        compensate: bool = True,
        preview: bool = False,
        if_version: int | None = None,
    ) -> Json:
        """Go back so that `phase_name` is done next, or to a checkpoint; `{flow_id, status, version, position, draining}`.

        With `preview` nothing changes, and the answer is what would be undone: `{version, target, undone, artifacts, children,
        compensations, cost, progress, goes_on, ...}`. Its `version` as `if_version` binds the rollback to it.
        """
        given = {"phase_name": phase_name, "checkpoint_id": checkpoint_id, "reason": reason, "compensate": compensate}
        return await self.request(
            "POST",
            f"/flows/{flow_id}/rollback",
            body={name: value for name, value in given.items() if value is not None},
            params={"preview": "true"} if preview else None,
            if_version=if_version,
        )

    async def checkpoint(self, flow_id: str, reason: str | None = None) -> Json:
        """Record a point to roll back to; `{flow_id, checkpoint_id, phase_name, state_sha256, status, version, position}`."""
        return await self.request("POST", f"/flows/{flow_id}/checkpoints", body={"reason": reason} if reason else {})

    async def checkpoints(self, flow_id: str, *, verify: bool = False) -> list[Json]:
        """The points that a flow can go back to, the oldest first; with `verify` each says whether it holds."""
        params = {"verify": "true"} if verify else None
        found: list[Json] = (await self.request("GET", f"/flows/{flow_id}/checkpoints", params=params))["checkpoints"]
        return found

    async def verified_checkpoint(self, flow_id: str, checkpoint_id: str) -> Json:
        """One checkpoint: whether the history up to it has its hash, and its artifacts are there (`verified`, `detail`)."""
        return await self.request("GET", f"/flows/{flow_id}/checkpoints/{checkpoint_id}")

    async def delete(self, flow_id: str, reason: str | None = None, *, tree: bool = True) -> Json:
        """Hide a flow and, with `tree`, all flows under it; their history stays. `{}`, or what every command of a parked flow is answered: `{outcome: parked, ...}`."""
        params = {"reason": reason, "tree": None if tree else "false"}
        return await self.request("DELETE", f"/flows/{flow_id}", params=params)

    async def tree(self, flow_id: str, *, min_position: str | None = None) -> Json:
        """A flow with all flows under it: `{flow_id, flow_name, status, progress, draining, children[], below{...}, ...}`."""
        return await self.request("GET", f"/flows/{flow_id}/tree", params={"min_position": min_position})

    async def summary(self, flow_id: str, *, min_position: str | None = None) -> Json:
        """A flow and all flows under it, added up: `{flows, flow_types, statuses, total_assets, asset_types, issues, phases[], ...}`."""
        return await self.request("GET", f"/flows/{flow_id}/summary", params={"min_position": min_position})

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
        message_key: str | None = None,
    ) -> Json:
        """Send one back to the commands, as it came or mended; `{topic, partition, offset, replays}`."""
        given: Json = {"headers": dict(headers)} if headers else {}
        if message_key is not None:
            given["key"] = message_key
        if body is not None:
            given["body"] = body if isinstance(body, str) else dict(body)
        return await self.request("POST", f"/dlq/{partition}/{offset}/replay", body=given)

    async def flow(self, flow_id: str, *, min_version: int | None = None, at: str | int | None = None) -> Json:
        """Everything about a flow: the row of the read model. `at`: as it was at a version, or a time (ISO 8601)."""
        return await self.request("GET", f"/flows/{flow_id}", params={"min_version": min_version, "at": at})

    async def status(
        self,
        flow_id: str,
        *,
        min_version: int | None = None,
        wait_ms: int | None = None,
        at: str | int | None = None,
    ) -> Json:
        """Where a flow stands: `{status, current_phase, progress, performance, next_action, run, waiting, timers, attempts,
        version, phases}`. `at` as in `flow`."""
        params = {"min_version": min_version, "wait_ms": wait_ms, "at": at}
        return await self.request("GET", f"/flows/{flow_id}/status", params=params)

    async def diff(
        self,
        flow_id: str,
        before: str | int | None = None,
        after: str | int | None = None,
        *,
        other: str | None = None,
    ) -> Json:
        """What differs between two versions or times of a flow, or between two flows: `{from, to, fields[], outputs[], events[],
        events_total, event_counts[]}`."""
        return await self.request("GET", f"/flows/{flow_id}/diff", params={"from": before, "to": after, "other": other})

    async def history_lines(
        self, flow_id: str, written_as: Literal["ndjson", "csv"] = "ndjson", *, after: int = 0
    ) -> AsyncIterator[str]:
        """A flow's events behind a version, one a line, as they come: any length in little memory. A csv has its header first."""
        params = {"format": written_as, "after": after}
        timeout = httpx.Timeout(DOWNLOAD_TIMEOUT_SECONDS, connect=10.0)
        try:
            path = f"{API}/flows/{flow_id}/history"
            async with self._http.stream("GET", path, params=params, timeout=timeout) as answer:
                if not answer.is_success:
                    await answer.aread()
                    raise ServiceError(answer.status_code, _problem(answer))
                rest = ""
                async for text in answer.aiter_text():
                    *lines, rest = (rest + text).split("\n")
                    for line in lines:
                        yield line.removesuffix("\r")
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise Unreachable(f"the service at {self.url} broke off: {error or type(error).__name__}") from None

    async def orphans(self, *, limit: int = 50) -> AsyncIterator[Json]:
        """What does not fit the history of flows: `{flow_id, kind, method, confidence, repair, data_sources, ...}`."""
        async for found in self.pages("/flows/orphans", "orphans", params={"limit": limit}):
            yield found

    async def repair_options(self, flow_id: str) -> Json:
        """What can be repaired of a flow: `{available_repairs, recommended_action, confidence}`."""
        return await self.request("GET", f"/flows/{flow_id}/repair-options")

    async def repair(
        self, flow_id: str, repair_type: str | None = None, *, reason: str | None = None, key: str | None = None
    ) -> Json:
        """Set right what does not fit, as recommended where nothing is named; `{items_repaired, status, version, ...}`."""
        body = {"repair_type": repair_type, "reason": reason}
        given = {name: value for name, value in body.items() if value is not None}
        return await self.request("POST", f"/flows/{flow_id}/repair", body=given, key=key)

    async def reconciliation(self, *, limit: int = 200) -> Json:
        """All of the tenant's flows held against their histories: `{total_flows, checked, reconciled_flows, inconsistencies,
        healthy}`."""
        told: Json = {"total_flows": 0, "checked": 0, "reconciled_flows": 0, "inconsistencies": [], "healthy": True}
        cursor: str | None = None
        while True:
            page = await self.request("GET", "/reconciliation", params={"limit": limit, "cursor": cursor})
            told["total_flows"] = page["total_flows"]
            for name in ("checked", "reconciled_flows", "inconsistencies"):
                told[name] += page[name]
            cursor = page["next_cursor"]
            if cursor is None:
                return told | {"healthy": not told["inconsistencies"]}

    async def pages(self, path: str, name: str, *, params: Mapping[str, Any] | None = None) -> AsyncIterator[Json]:
        """Every row of a paged list, from the first page to the last; `name` is the list's field, such as `assets`.

        With `consistency` strong a read model that is behind is waited for, `BEHIND_PATIENCE_SECONDS` at most.
        """
        given = dict(params or {})
        asking = self._caught_up if given.get("consistency") == "strong" else self.request
        while True:
            page = await asking("GET", path, params=given)
            for row in page[name]:
                yield row
            if not page.get("next_cursor"):
                return
            given["cursor"] = page["next_cursor"]

    async def analytics(self, **wanted: Any) -> Json:
        """Figures of the flows made in a window: `{total_flows, flows_by_type, flows_by_status, success_rate, error_rate,
        durations, phases, ...}`. `wanted`: `from`, `to` (or `at`), `flow_type`, `status`, `min_position`, `consistency`."""
        return await self.request("GET", "/flows/analytics", params=wanted)

    async def performance(self, flow_id: str, *, min_version: int | None = None) -> Json:
        """Time, processor and memory of a flow, in all and in `phases[]`, each beside what is usual (`typical`)."""
        return await self.request("GET", f"/flows/{flow_id}/performance", params={"min_version": min_version})

    async def type_performance(self, name: str, **wanted: Any) -> Json:
        """How flows of a type perform: `{average_execution_time_seconds, p95_execution_time_seconds, success_rate, phases,
        resource_usage_trends, ...}`. `wanted`: `from`, `to`, `min_position`, `consistency`."""
        return await self.request("GET", f"/flow-types/{quote(name, safe='')}/performance", params=wanted)

    async def portfolio(self, **wanted: Any) -> Json:
        """The flows that are not over: `{flows, gates, critical_path, forecast_error, truncated}`. `wanted`: `flow_type`,
        `limit`, `min_position`, `consistency`."""
        return await self.request("GET", "/portfolio", params=wanted)

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

    async def create_subscription(self, wanted: Mapping[str, Any], *, key: str | None = None) -> Json:
        """Tell somebody of what happens to flows from now on; the subscription and, of a webhook, its `secret`, shown once.

        `wanted` is `{kind: webhook | email, url | address, events[], filter{flow_type, tag}, description}`. All subscriptions
        are `pages("/subscriptions", "subscriptions")`.
        """
        return await self.request("POST", "/subscriptions", body=wanted, key=key)

    async def subscription(self, subscription_id: str) -> Json:
        """A subscription as it stands."""
        return await self.request("GET", f"/subscriptions/{subscription_id}")

    async def update_subscription(self, subscription_id: str, changes: Mapping[str, Any]) -> Json:
        """Change what is given, `enabled` too; the subscription after it."""
        return await self.request("PATCH", f"/subscriptions/{subscription_id}", body=changes)

    async def rotate_subscription(
        self, subscription_id: str, *, keep_former_seconds: int | None = None, key: str | None = None
    ) -> Json:
        """Have a new secret; the subscription with it. For a day, or as long as said, messages bear both signatures."""
        body = {"keep_former_seconds": keep_former_seconds} if keep_former_seconds is not None else {}
        return await self.request("POST", f"/subscriptions/{subscription_id}/rotate", body=body, key=key)

    async def delete_subscription(self, subscription_id: str, reason: str | None = None) -> None:
        """Tell it nothing more; what waits is dropped."""
        await self.request("DELETE", f"/subscriptions/{subscription_id}", params={"reason": reason})

    async def notification(self, notification_id: str) -> Json:
        """What was told to somebody, with its `payload` and the last of its attempts, `tries`. All of them are
        `pages("/notifications", "notifications")`."""
        return await self.request("GET", f"/notifications/{notification_id}")

    async def replay_notification(self, notification_id: str, *, key: str | None = None) -> Json:
        """Send it again at once, under the id that it has; the notification after it."""
        return await self.request("POST", f"/notifications/{notification_id}/replay", key=key)

    async def start_operation(
        self, verb: OperationVerb, flows: Mapping[str, Any], *, key: str | None = None, **more: Any
    ) -> Json:
        """Ask the same of every flow that a filter chooses; the operation with its `operation_id` and `progress`.

        `flows` is `{type, status, tag, phase, engagement, created_after, created_before, standing_pause_id, flow_ids}`, of
        which at least one is given, or `{all: true}`; `more`: reason, arguments, rate_per_second.
        """
        return await self.request("POST", "/operations", body={"verb": verb, "filter": dict(flows), **more}, key=key)

    async def try_operation(
        self, verb: OperationVerb, flows: Mapping[str, Any], *, limit: int = 50, cursor: str | None = None, **more: Any
    ) -> Json:
        """What `start_operation` would do, without doing it: `{total, most, position, flows[], next_cursor}`."""
        body = {"verb": verb, "filter": dict(flows), "dry_run": True, **more}
        return await self.request("POST", "/operations", body=body, params={"limit": limit, "cursor": cursor})

    async def operation(self, operation_id: str) -> Json:
        """An operation as it stands, with how far it is."""
        return await self.request("GET", f"/operations/{operation_id}")

    async def tell_operation(
        self, operation_id: str, verb: Literal["pause", "resume", "cancel"], reason: str | None = None
    ) -> Json:
        """Pause, resume or cancel an operation; the operation after it."""
        return await self.request(
            "POST", f"/operations/{operation_id}/{verb}", body={"reason": reason} if reason else {}
        )

    async def await_operation(self, operation_id: str, *, patience_seconds: float = 600.0) -> Json:
        """The operation as soon as it is completed, cancelled or paused; as it stands when the patience is at its end."""
        until = time.monotonic() + patience_seconds
        while True:
            found = await self.operation(operation_id)
            if found["state"] != "running" or time.monotonic() > until:
                return found
            await asyncio.sleep(0.25)

    async def set_standing_pause(self, *, key: str | None = None, **fields: Any) -> Json:
        """Let new flows begin paused; `fields`: flow_type, tag (or `all=True`) and reason."""
        return await self.request("POST", "/standing-pauses", body=fields, key=key)

    async def remove_standing_pause(self, pause_id: str, *, resume: bool = False, reason: str | None = None) -> Json:
        """Let new flows begin as they would; with `resume`, `operation_id` resumes those that it held."""
        params = {"resume": "true" if resume else None, "reason": reason}
        return await self.request("DELETE", f"/standing-pauses/{pause_id}", params=params)

    async def set_pause_rule(self, measure: str, limit: float, *, key: str | None = None, **more: Any) -> Json:
        """Pause by itself when `error_rate`, `tokens` or `flows_begun` passes a limit; `more`: flow_type, window_seconds,
        at_least, pause_running, reason."""
        return await self.request("POST", "/pause-rules", body={"measure": measure, "limit": limit, **more}, key=key)

    async def arm_pause_rule(self, rule_id: str, reason: str | None = None) -> Json:
        """Let a rule that has tripped watch again, counting anew."""
        return await self.request("POST", f"/pause-rules/{rule_id}/arm", body={"reason": reason} if reason else {})

    async def delete_pause_rule(self, rule_id: str, reason: str | None = None) -> Json:
        """Let a rule watch no more."""
        return await self.request("DELETE", f"/pause-rules/{rule_id}", params={"reason": reason})

    async def audit_events(self, *, flow_id: str | None = None, **filters: Any) -> AsyncIterator[Json]:
        """The audit trail, the newest first, of all flows or one; `filters` as `GET /audit` takes them."""
        path = "/audit" if flow_id is None else f"/flows/{flow_id}/audit"
        async for event in self.pages(path, "audit_events", params=filters):
            yield event

    async def export_audit(
        self,
        file: Path,
        written_as: AuditFormat,
        *,
        flow_id: str | None = None,
        reason: str | None = None,
        **filters: Any,
    ) -> Json:
        """Write all of the audit trail that matches to a file; answers as `report` does."""
        path = "/audit" if flow_id is None else f"/flows/{flow_id}/audit"
        params = {**filters, "format": written_as, "reason": reason}
        return {"format": written_as, **await self._download(path, params, file)}

    async def compliance_report(self, **params: Any) -> Json:
        """Which rules were broken and what touched security; `flow_id`, `scope`, `from` and `to` as the route takes them."""
        return await self.request("GET", "/compliance/report", params=params)

    async def audit_retention(self) -> list[Json]:
        """How long each category of the audit trail is kept."""
        found: list[Json] = (await self.request("GET", "/audit/retention"))["retention"]
        return found

    async def set_audit_retention(
        self, category: str, keep_days: int | None, reason: str | None = None, *, key: str | None = None
    ) -> list[Json]:
        """Keep a category for so many days, none: for ever; for operators."""
        body = {"keep_days": keep_days, "reason": reason}
        path = f"/audit/retention/{quote(category, safe='')}"
        found: list[Json] = (await self.request("PUT", path, body=body, key=key))["retention"]
        return found

    async def legal_holds(self) -> list[Json]:
        """What of the engagement must not be removed, released holds too."""
        found: list[Json] = (await self.request("GET", "/audit/holds"))["holds"]
        return found

    async def place_hold(self, reason: str, flow_id: str | None = None, *, key: str | None = None) -> Json:
        """Hold a flow's entries, or the engagement's; for operators."""
        return await self.request("POST", "/audit/holds", body={"flow_id": flow_id, "reason": reason}, key=key)

    async def release_hold(self, hold_id: str, reason: str | None = None) -> None:
        """Let retention remove what was held; for operators."""
        await self.request("DELETE", f"/audit/holds/{hold_id}", params={"reason": reason})

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
    ) -> AsyncGenerator[Json, None]:
        """Every change of a flow's status until the flow is over; who leaves earlier closes it (`contextlib.aclosing`).

        Hears the flow's events, and looks every two seconds for progress while work is in hand, since that is no event. A
        service that is away for `patience_seconds` at most is waited for.
        """
        status = await self.status(flow_id, min_version=min_version, wait_ms=10_000)
        yield status
        events = self.events(flow_id=flow_id, after=status["position"], patience_seconds=patience_seconds)
        hearing = asyncio.ensure_future(anext(events))
        wanted, last_answer = 0, time.monotonic()
        try:
            while status["status"] not in ENDED:
                moves = wanted > status["version"] or status["status"] == Status.PROCESSING or status.get("draining")
                if (await asyncio.wait({hearing}, timeout=PROGRESS_SECONDS if moves else None))[0]:
                    wanted = (await hearing)["version"]
                    hearing = asyncio.ensure_future(anext(events))
                    if wanted <= status["version"]:
                        continue
                try:
                    found = await self.status(flow_id, min_version=max(wanted, 1), wait_ms=10_000)
                except (ServiceError, Unreachable) as error:
                    if isinstance(error, ServiceError) and error.problem_code != "read_model_behind":
                        raise
                    if time.monotonic() - last_answer > patience_seconds:
                        raise
                    continue
                last_answer = time.monotonic()
                if _mark(found) != _mark(status):
                    status = found
                    yield status
        finally:
            hearing.cancel()
            await asyncio.gather(hearing, return_exceptions=True)
            await events.aclose()

    async def events(
        self,
        *,
        flow_id: str | None = None,
        flow_type: str | None = None,
        after: str | None = None,
        patience_seconds: float | None = None,
    ) -> AsyncGenerator[Json, None]:
        """Every event of the tenant's flows as it happens, without end: `{flow_id, flow_type, version, position, type,
        occurred_at, actor, causation_id, correlation_id, data}`; `after` is the position to go on from.

        Goes on by itself where the connection broke, none left out, none twice. A service that is away is waited for, at
        most `patience_seconds` where given.
        """
        place, last_answer = after, time.monotonic()
        wanted = {"flow_id": flow_id, "flow_type": flow_type}
        params = {name: value for name, value in wanted.items() if value is not None}
        while True:
            headers = {"Last-Event-ID": place} if place else {}
            try:
                async with self._http.stream(
                    "GET", f"{API}/events", params=params, headers=headers, timeout=LISTENING_TIMEOUT
                ) as answer:
                    if not answer.is_success:
                        await answer.aread()
                        raise ServiceError(answer.status_code, _problem(answer))
                    async for block in blocks(answer.aiter_bytes()):
                        last_answer = time.monotonic()
                        # the place moves first: who breaks off at an event has heard it
                        place = block.get("id", place)
                        if "data" in block:
                            yield json.loads(block["data"])
            except (httpx.TransportError, ServiceError) as error:
                if isinstance(error, ServiceError) and error.http_status != httpx.codes.SERVICE_UNAVAILABLE:
                    raise
                if patience_seconds is not None and time.monotonic() - last_answer > patience_seconds:
                    raise Unreachable(f"the service at {self.url} is away: {error or type(error).__name__}") from None
            await asyncio.sleep(RETRY_AFTER_SECONDS[0])

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


async def blocks(parts: AsyncIterator[bytes]) -> AsyncIterator[dict[str, str]]:
    """The blocks of a stream of server-sent events, their fields by name. Only LF ends a line: texts may hold other ends."""
    rest = b""
    async for part in parts:
        *whole, rest = (rest + part).split(b"\n\n")
        for block in whole:
            fields = (line.decode().partition(":") for line in block.split(b"\n"))
            yield {name: value.removeprefix(" ") for name, _, value in fields if name}


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
