"""The older system's orchestrator, for its callers: change the import, keep the calls.

```python
from mfo.legacy.compat import MasterFlowOrchestrator      # was: app.services.master_flow_orchestrator

orchestrator = MasterFlowOrchestrator(db, context)        # `db` is not used: the service keeps its own store
flow_id, flow = await orchestrator.create_flow("discovery", "June", initial_state={"import_file_id": "..."})
await orchestrator.pause_flow(flow_id, reason="change freeze")
```

Where the service is says `MFO_URL`, whose flows are meant says `context` (`client_account_id, engagement_id, user_id`) or the
environment, as for the commands. Everything is asked of the service; nothing is kept here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from enum import StrEnum
from typing import Any
from uuid import uuid4

from domain.children import child_status, master_status
from domain.errors import MfoError, NotSupported
from domain.older_codes import OlderCode, older, older_of
from domain.words import Status
from mfo.client import Client, ServiceError
from mfo.commands.connection import environment

Json = dict[str, Any]

USER_REQUESTED = "user_requested"
MOST = 200


class FlowOperationType(StrEnum):
    """What an audit event is about."""

    CREATE = "create"
    EXECUTE = "execute"
    PAUSE = "pause"
    RESUME = "resume"
    DELETE = "delete"
    STATUS_CHECK = "status_check"
    LIST = "list"


class FlowError(MfoError):
    """The service refused, or failed; the older system's code says what it was there."""

    code = "older_flow_error"

    def __init__(self, error: MfoError) -> None:
        super().__init__(error.detail, allowed=error.allowed, errors=error.errors, details=error.details)
        self.older: OlderCode = older_of(error.problem_code) if isinstance(error, ServiceError) else older(type(error))
        self.problem = error.as_dict()

    @property
    def error_code(self) -> str:
        """Such as `FLOW_002`."""
        return self.older.code


class MasterFlowOrchestrator:
    """What the older callers know, asked of the service. Every method raises FlowError."""

    def __init__(self, db: Any = None, context: Any = None, *, client: Client | None = None) -> None:
        """`client`: use this one, which its owner closes; else each call opens one of its own."""
        del db
        self._context = context
        self._client = client

    @asynccontextmanager
    async def _service(self, engagement_id: str | None = None) -> AsyncIterator[Client]:
        """The service; `engagement_id` is whose flows are meant where neither the context nor the environment says so."""
        try:
            if self._client is not None:
                yield self._client
                return
            found = environment()
            names = ("client_account_id", "engagement_id", "user_id")
            account, engagement, user = (
                str(getattr(self._context, name, None) or found.get(f"MFO_{name.upper()}") or "") for name in names
            )
            engagement = engagement or engagement_id or ""
            async with Client(found["MFO_URL"], account, engagement, user, found.get("MFO_TOKEN")) as client:
                yield client
        except FlowError:
            raise
        except MfoError as error:
            raise FlowError(error) from error

    async def create_flow(
        self,
        flow_type: str,
        flow_name: str | None = None,
        configuration: Mapping[str, Any] | None = None,
        initial_state: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> tuple[str, Json]:
        """Begin a flow; its id and what the service says of it. `initial_data` is another name for `initial_state`, `options`
        another for `configuration`, of which the options of the service are taken."""
        name = flow_name or f"{flow_type} {uuid4().hex[:8]}"
        data = {**(initial_state or {}), **(more.get("initial_data") or {})}
        options = {**(configuration or {}), **(more.get("options") or {})}
        async with self._service() as client:
            made = await client.create_flow(
                flow_type,
                name,
                initial_data=data,
                options=options,
                description=more.get("flow_description"),
                tags=tuple(more.get("flow_tags") or ()),
            )
        return str(made["flow_id"]), made

    async def execute_phase(
        self,
        flow_id: str,
        phase_name: str | None = None,
        phase_input: Mapping[str, Any] | None = None,
        *,
        wait_ms: int = 0,
        **more: Any,
    ) -> Json:
        """Run a phase; with `wait_ms` its result, where it ends in time. `inputs` is another name for `phase_input`."""
        inputs = {**(phase_input or {}), **(more.get("inputs") or {})}
        async with self._service() as client:
            if not wait_ms:
                return await client.execute(flow_id, phase_name, inputs=inputs, options=more.get("options"))
            body: Json = {"inputs": inputs, **({"phase_name": phase_name} if phase_name else {})}
            if more.get("options"):
                body["options"] = dict(more["options"])
            params = {"wait": "true", "wait_ms": wait_ms}
            return await client.request("POST", f"/flows/{flow_id}/execute", body=body, params=params)

    async def pause_flow(self, flow_id: str, reason: str = USER_REQUESTED) -> Json:
        return await self._tell(flow_id, "pause", reason)

    async def resume_flow(self, flow_id: str, resume_context: Mapping[str, Any] | None = None) -> Json:
        """Go on; `user_input` in the context answers what the flow asks."""
        told = await self._tell(flow_id, "resume", None)
        values = (resume_context or {}).get("user_input")
        if not values:
            return told
        async with self._service() as client:
            return await client.answer(flow_id, values)

    async def delete_flow(self, flow_id: str, soft_delete: bool = True, reason: str = USER_REQUESTED) -> Json:
        """Hide the flow. Its history stays, whatever is wished: `soft_delete=False` is refused."""
        if not soft_delete:
            raise FlowError(NotSupported("history is never removed; delete with soft_delete=True"))
        async with self._service() as client:
            await client.delete(flow_id, reason)
        return {"flow_id": flow_id, "deleted": True, "soft_delete": True, "reason": reason}

    async def get_flow_status(self, flow_id: str, include_details: bool = True) -> Json:
        """Where a flow stands, with the words of master and child; of a flow without a history, what was found of it."""
        async with self._service() as client:
            try:
                told = await client.status(flow_id)
            except ServiceError as error:
                if error.http_status != 404:
                    raise
                options = await client.repair_options(flow_id)
                repairs = options["available_repairs"]
                found = {"orphaned_data_found": True, "repair_available": bool(repairs)}
                method = {"correlation_method": repairs[0]["method"] if repairs else None}
                method["confidence"] = options["confidence"]
                told = {"flow_id": flow_id, "status": "discovered", **method}
                return told | {"metadata": found, "repair_options": options}
            told |= _words(told["flow_type"], told["status"], told["next_action"]["type"])
            if include_details:
                told["details"] = await client.flow(flow_id)
        return told

    async def get_active_flows(self, flow_type: str | None = None, limit: int = 10) -> list[Json]:
        """Flows that are not over, the newest first."""
        words = "initialized,processing,waiting_for_input,paused"
        return await self._list({"flow_type": flow_type, "status": words}, limit)

    async def list_flows_by_engagement(
        self, engagement_id: str | None = None, flow_type: str | None = None, limit: int = 50
    ) -> list[Json]:
        """Flows of every status; those of another engagement than that of the caller are not there. A caller without one,
        in its context and its environment, gets those of the engagement asked for."""
        wanted = str(engagement_id) if engagement_id is not None else None
        return await self._list({"flow_type": flow_type}, limit, wanted)

    async def get_flow_analytics(self, **window: Any) -> Json:
        """Counts, rates and durations across flows."""
        return await self._get("/flows/analytics", window)

    async def get_performance_summary(self, flow_id: str | None = None) -> Json:
        """How long a flow took, by phase; without a flow, across flows."""
        return await self._get(f"/flows/{flow_id}/performance" if flow_id else "/flows/analytics", {})

    async def get_audit_events(
        self, flow_id: str | None = None, category: str | None = None, level: str | None = None, limit: int = 100
    ) -> list[Json]:
        """What was asked and done, refused commands too."""
        path = f"/flows/{flow_id}/audit" if flow_id else "/audit"
        told = await self._get(path, {"category": category, "level": level, "limit": min(limit, MOST)})
        return list(told["audit_events"])

    async def get_compliance_report(self, flow_id: str | None = None) -> Json:
        """How far the compliance rules hold."""
        return await self._get("/compliance/report", {"flow_id": flow_id})

    async def clear_flow_data(self, flow_id: str) -> bool:
        """Hide the flow; its history and its audit trail stay."""
        await self.delete_flow(flow_id, reason="clear_flow_data")
        return True

    async def start_flow_with_atomic_sync(self, flow_id: str, flow_type: str = "discovery") -> Json:
        """Start the flow: master and child follow from one event, so they start together or not at all."""
        async with self._service() as client:
            await client.execute(flow_id)
            told = await client.request("GET", f"/flows/{flow_id}/status", params={"consistency": "strong"})
        return _synced(flow_type, told, "start")

    async def pause_flow_with_atomic_sync(
        self, flow_id: str, flow_type: str = "discovery", reason: str = USER_REQUESTED
    ) -> Json:
        """Pause master and child together."""
        return _synced(flow_type, await self._tell(flow_id, "pause", reason), "pause")

    async def resume_flow_with_atomic_sync(self, flow_id: str, flow_type: str = "discovery") -> Json:
        """Resume master and child together."""
        return _synced(flow_type, await self._tell(flow_id, "resume", None), "resume")

    async def get_flow_health(self) -> Json:
        """Rows held against history: `{total_flows, inconsistencies, reconciled_flows, healthy}`."""
        async with self._service() as client:
            return await client.reconciliation()

    async def _tell(self, flow_id: str, verb: Any, reason: str | None) -> Json:
        async with self._service() as client:
            return await client.tell(flow_id, verb, {"reason": reason} if reason else {})

    async def _get(self, path: str, params: Mapping[str, Any]) -> Json:
        async with self._service() as client:
            return await client.request("GET", path, params=params)

    async def _list(self, params: Mapping[str, Any], most: int, engagement_id: str | None = None) -> list[Json]:
        found: list[Json] = []
        async with self._service(engagement_id) as client:
            if engagement_id is not None and engagement_id.lower() != client.engagement_id.lower():
                return []
            async for flow in client.pages("/flows", "flows", params={**params, "limit": min(most, MOST)}):
                found.append(flow)
                if len(found) >= most:
                    break
        return found


class FlowManagerAdapter:
    """What the callers of the older managers know of a flow type's own manager."""

    def __init__(self, orchestrator: MasterFlowOrchestrator, flow_type: str = "discovery") -> None:
        self.orchestrator = orchestrator
        self.flow_type = flow_type

    async def create_flow(self, **fields: Any) -> tuple[str, Json]:
        return await self.orchestrator.create_flow(**{"flow_type": self.flow_type, **fields})

    async def create_discovery_flow(self, **fields: Any) -> tuple[str, Json]:
        return await self.orchestrator.create_flow(flow_type="discovery", **fields)

    async def create_assessment_flow(self, **fields: Any) -> tuple[str, Json]:
        return await self.orchestrator.create_flow(flow_type="assessment", **fields)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.orchestrator, name)


def get_flow_manager(db: Any = None, flow_type: str = "discovery", context: Any = None) -> FlowManagerAdapter:
    """The manager of a flow type, as the older callers ask for it."""
    return FlowManagerAdapter(MasterFlowOrchestrator(db, context), flow_type)


class MockFlowPerformanceMonitor:
    """Stands where the older callers measure; the service measures by itself, so nothing is kept here."""

    def start_operation(self, flow_id: str, operation_type: str, metadata: Mapping[str, Any] | None = None) -> str:
        """The id of a measurement that is not made."""
        del flow_id, operation_type, metadata
        return f"mock-{uuid4()}"

    def end_operation(self, tracking_id: str, success: bool = True, **more: Any) -> None:
        """The measurement ends."""

    def get_flow_performance_summary(self, flow_id: str) -> Json:
        return {"flow_id": flow_id, "message": "Performance monitoring disabled"}

    def get_system_performance_overview(self) -> Json:
        return {"message": "Performance monitoring disabled"}

    def clear_flow_metrics(self, flow_id: str) -> None:
        """There are none."""


def _words(flow_type: str, status: str, doing: str) -> Json:
    known = Status(status)
    return {"master_status": master_status(known), "child_status": child_status(flow_type, known, doing)}


def _synced(flow_type: str, told: Json, operation: str) -> Json:
    doing = (told.get("next_action") or {}).get("type", "execute_phase")
    return {
        "success": True,
        "flow_id": told["flow_id"],
        "operation": operation,
        "status": told["status"],
        "version": told["version"],
        **_words(flow_type, told["status"], doing),
    }
