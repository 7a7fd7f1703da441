"""The flows under a run's own, as its handler makes them, waits for them, and has them cancelled."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Literal
from uuid import UUID

from pydantic import ValidationError

from consumers.context import Permanent
from consumers.frames import Job, Json
from domain.commands import CreateFlow, Tenant
from domain.words import Status
from eventstore.past import Past

FlowCommand = Literal["CreateFlow", "CancelFlow"]
Tell = Callable[[FlowCommand, Json], Awaitable[Json | None]]
"""Puts a command before a child flow; gives the error it was refused with."""
Whole = Callable[[UUID, Mapping[str, Any]], Awaitable[Json]]

MAX_WAITED = 1000
# the id follows from the flow, the phase and the step: what is there under it was made by an earlier attempt
THERE_ALREADY = "flow_exists"


class Family:
    """The children of one run's flow; `ChildFlows` of the handler's context."""

    def __init__(self, job: Job, past: Past, whole: Whole, tell: Tell | None) -> None:
        self._job = job
        self._tenant = Tenant(job.client_account_id, job.engagement_id, job.user_id)
        self._past = past
        self._whole = whole
        self._tell = tell

    async def start(self, body: dict[str, Any]) -> str:
        try:
            command = CreateFlow.model_validate(body)
        except ValidationError as invalid:
            told = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in invalid.errors()[:5])
            raise Permanent("flow_invalid", f"no flow can be made of this: {told}") from None
        refused = await self._asked("CreateFlow", command.model_dump(mode="json"))
        if refused is not None and not (refused["code"] == THERE_ALREADY and await self._mine([command.flow_id])):
            raise Permanent(refused["code"], f"the flow {command.flow_name!r} cannot be made: {refused['detail']}")
        return str(command.flow_id)

    async def check(self, flow_ids: Sequence[str]) -> list[str]:
        try:
            ids = list(dict.fromkeys(UUID(str(flow_id)) for flow_id in flow_ids))
        except ValueError:
            raise Permanent("wait_invalid", "a flow is named by its id, a UUID") from None
        if not 0 < len(ids) <= MAX_WAITED:
            raise Permanent("wait_invalid", f"give the ids of 1 to {MAX_WAITED} flows, not {len(ids)}")
        mine = await self._mine(ids)
        if strangers := [str(flow_id) for flow_id in ids if flow_id not in mine]:
            raise Permanent("not_a_child", f"not a child of this flow: {', '.join(strangers[:5])}")
        return [str(flow_id) for flow_id in ids]

    async def results(self, standing: Mapping[str, str | None]) -> dict[str, dict[str, Any]]:
        flows = await self._mine(UUID(flow_id) for flow_id in standing)
        found: dict[str, dict[str, Any]] = {}
        for flow_id, status in standing.items():
            flow, outputs = flows[UUID(flow_id)], {}
            if status == Status.COMPLETED:
                given = {phase.name: phase.outputs for phase in flow.phases if phase.outputs}
                outputs = {name: await self._whole(self._job.client_account_id, one) for name, one in given.items()}
            error = flow.error if status == Status.FAILED else None
            found[flow_id] = {"status": status, "outputs": outputs, "error": error}
        return found

    async def cancel(self, flow_ids: Sequence[str], reason: str) -> None:
        for flow_id in flow_ids:
            # one that has ended meanwhile needs no cancelling
            await self._asked("CancelFlow", {"flow_id": flow_id, "reason": reason[:1000]})

    async def _asked(self, command: FlowCommand, body: Json) -> Json | None:
        if self._tell is None:
            raise Permanent("no_flows", "flows cannot be made here")
        return await self._tell(command, body)

    async def _mine(self, flow_ids: Iterable[UUID]) -> dict[UUID, Any]:
        return await self._past.children(self._tenant, self._job.flow_id, flow_ids)
