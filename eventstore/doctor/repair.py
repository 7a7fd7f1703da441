"""What can be mended is mended by the commands that the service itself would give, so that history tells of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import msgspec

from domain.commands import Command, Envelope, ExecutePhase, FailPhase, FireTimer, ReassignRun, RollbackFlow
from domain.errors import MfoError
from domain.flow import Flow, Run
from domain.words import SYSTEM_USER
from eventstore.committer import Answer
from eventstore.doctor.checks import CANDIDATES, LAPSED, OVERDUE, PATIENCE_SECONDS, TIMERS, rows, stuck
from eventstore.doctor.deep import stray
from eventstore.doctor.states import unsound
from eventstore.service import WriteSide

SOURCE = "doctor"


class Repaired(msgspec.Struct, frozen=True, kw_only=True):
    """What was done about one subject: the command, and what the flow answered."""

    code: str
    flow_id: UUID
    command: str
    outcome: str
    detail: str = ""


class Repairs:
    """The repairs of one visit, each by a command under the visit's correlation id, in the name of `user_id`."""

    def __init__(self, side: WriteSide, user_id: str = SYSTEM_USER) -> None:
        self._side = side
        self._user = user_id
        self.visit = str(uuid4())

    async def run(self, *, deep: bool = False) -> AsyncIterator[Repaired]:
        """Mend everything that the quick checks, or with `deep` the thorough ones too, find and a command can mend."""
        for repair in (
            self._overdue,
            self._lapsed,
            self._timers,
            self._stuck,
            *([self._stray, self._lost] if deep else ()),
        ):
            async for done in repair():
                yield done

    async def _stray(self) -> AsyncIterator[Repaired]:
        async with self._side.pool.connection() as connection:
            found = await stray(connection)
        for row in found:
            error = {"class": "permanent", "code": "stray_run", "message": "the flow does not know this run"}
            command = FailPhase(flow_id=row["flow_id"], run_id=row["run_id"], token=row["token"], error=error)
            done = await self._give("stray_run", command, row["client_account_id"], row["engagement_id"])
            if done.outcome == "refused":
                async with self._side.pool.connection() as connection:
                    await connection.execute(
                        "delete from runs where id = %s and token = %s", (row["run_id"], row["token"])
                    )
            yield done

    async def _lost(self) -> AsyncIterator[Repaired]:
        """Roll flows whose outputs are gone back to the last checkpoint that holds."""
        async with self._side.pool.connection() as connection:
            found = await unsound(connection)
        for flow, gone in found.losing:
            target = await self._side.checkpoints.last_good(flow)
            if target is None:
                detail = f"artifact {gone[0]} is gone, and no checkpoint holds without it"
                yield Repaired(
                    code="outputs_lost", flow_id=flow.id, command="RollbackFlow", outcome="failed", detail=detail
                )
                continue
            where: dict[str, Any] = {"phase_name": flow.phases[0].name}
            if target.checkpoint is not None:
                where = {"checkpoint_id": target.checkpoint.checkpoint_id}
            command = RollbackFlow(flow_id=flow.id, reason=f"artifact {gone[0]} is gone", **where)
            yield await self._tell("outputs_lost", command, flow)

    async def _overdue(self) -> AsyncIterator[Repaired]:
        def ended(flow: Flow, run: Run) -> Command:
            error = {
                "class": "timeout",
                "code": "timeout",
                "message": f"phase {run.phase_name} did not end before its deadline",
                "retryable": True,
            }
            return FailPhase(flow_id=flow.id, run_id=run.run_id, token=run.token, error=error)

        async for done in self._runs("run_overdue", OVERDUE, (PATIENCE_SECONDS, CANDIDATES), ended):
            yield done

    async def _lapsed(self) -> AsyncIterator[Repaired]:
        def taken(flow: Flow, run: Run) -> Command:
            return ReassignRun(flow_id=flow.id, run_id=run.run_id, token=run.token)

        parameters = (PATIENCE_SECONDS, PATIENCE_SECONDS, CANDIDATES)
        async for done in self._runs("lease_lapsed", LAPSED, parameters, taken):
            yield done

    async def _runs(
        self, code: str, statement: str, parameters: tuple[Any, ...], command: Callable[[Flow, Run], Command]
    ) -> AsyncIterator[Repaired]:
        async with self._side.pool.connection() as connection:
            found = await rows(connection, statement, *parameters)
        for row in found:
            flow = await self._flow(row["flow_id"])
            runs = flow.runs if flow is not None else ()
            for run in runs:
                if flow is not None and run.run_id == row["run_id"]:
                    yield await self._tell(code, command(flow, run), flow)

    async def _timers(self) -> AsyncIterator[Repaired]:
        async with self._side.pool.connection() as connection:
            found = await rows(connection, TIMERS, PATIENCE_SECONDS, CANDIDATES)
        for row in found:
            flow = await self._flow(row["flow_id"])
            timer = flow.timers.get(row["name"]) if flow is not None else None
            if flow is not None and timer is not None:
                command = FireTimer(flow_id=flow.id, timer=row["name"], token=timer.token)
                yield await self._tell("timer_overdue", command, flow)

    async def _stuck(self) -> AsyncIterator[Repaired]:
        async with self._side.pool.connection() as connection:
            found = await stuck(connection)
        for flow, lack in found:
            for command in await self._going_on(flow, lack):
                yield await self._tell("flow_stuck", command, flow)

    async def _going_on(self, flow: Flow, lack: str) -> list[Command]:
        """The commands that give a stuck flow what it lacks."""
        if lack == "run" and flow.run is not None:
            return [ReassignRun(flow_id=flow.id, run_id=flow.run.run_id, token=flow.run.token)]
        if lack == "timer":
            now = await self._side.store.now()
            # a timer whose time is still to come would have to be set again, which no command does
            due = [
                (name, timer.token)
                for name, timer in flow.timers.items()
                if flow.updated_at is not None
                and now >= (timer.due_at or flow.updated_at + timedelta(seconds=timer.delay_seconds))
            ]
            return [FireTimer(flow_id=flow.id, timer=name, token=token) for name, token in due]
        return [ExecutePhase(flow_id=flow.id)]

    async def _flow(self, flow_id: UUID) -> Flow | None:
        """The flow, none where its history cannot be read: its next command parks it."""
        broken: dict[UUID, Exception] = {}
        loaded = await self._side.store.load([flow_id], broken)
        return None if broken else loaded[flow_id].flow

    async def _tell(self, code: str, command: Command, flow: Flow) -> Repaired:
        assert flow.client_account_id is not None
        assert flow.engagement_id is not None
        return await self._give(code, command, flow.client_account_id, flow.engagement_id)

    async def _give(self, code: str, command: Command, account: UUID, engagement: UUID) -> Repaired:
        envelope = Envelope(
            command_id=str(uuid4()),
            client_account_id=account,
            engagement_id=engagement,
            user_id=self._user,
            correlation_id=self.visit,
            source=SOURCE,
        )
        name = type(command).__name__
        try:
            answer: Answer = await self._side.committer.submit(command, envelope)
        except MfoError as error:
            return Repaired(code=code, flow_id=command.flow_id, command=name, outcome="failed", detail=error.detail)
        detail = str(answer.error["detail"]) if answer.error else ""
        return Repaired(code=code, flow_id=command.flow_id, command=name, outcome=answer.outcome, detail=detail)
