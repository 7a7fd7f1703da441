"""What follows for other flows: verbs on a flow reach those under it, parents hear of their children, and whoever waits for a
flow hears how it came to rest."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Literal
from uuid import UUID, uuid5

import msgspec
import structlog

from domain.commands import Command, Envelope, FollowParent, ReportChild, ReportDependency
from domain.errors import Unavailable
from domain.events import (
    TOPICS,
    FlowCancelled,
    FlowCompleted,
    FlowCreated,
    FlowDeleted,
    FlowEvent,
    FlowFailed,
    FlowImported,
    FlowPaused,
    FlowResumed,
    FlowRolledBack,
)
from domain.flow import Flow, Recorded
from domain.relations import AT_REST
from domain.words import SYSTEM_USER, Status
from eventstore.committer import REFUSED, Answer
from eventstore.database import Connection
from eventstore.followers import Happened
from eventstore.kin import Kin
from eventstore.relations import Concerned, begun_since, below, concerned, link, with_children
from eventstore.service import WriteSide

log = structlog.get_logger()

Ask = tuple[Command, Envelope]
Verb = Literal["pause", "resume", "cancel", "delete"]

NAME = "relations"
VERBS: dict[type[FlowEvent], Verb] = {
    FlowPaused: "pause",
    FlowResumed: "resume",
    FlowCancelled: "cancel",
    FlowDeleted: "delete",
}
RESTS: dict[type[FlowEvent], Status] = {
    FlowCompleted: Status.COMPLETED,
    FlowFailed: Status.FAILED,
    FlowCancelled: Status.CANCELLED,
    FlowDeleted: Status.DELETED,
}
FOLLOWED = tuple(
    TOPICS[event] for event in (FlowCreated, FlowImported, FlowRolledBack, *dict.fromkeys([*VERBS, *RESTS]))
)
# results handed up are for readers of the parent's history; whoever works with them reads the child's
MAX_OUTPUTS_BYTES = 4096
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.05, 2.0


class Relations:
    """The function of the follower `relations`."""

    def __init__(self, side: WriteSide) -> None:
        self._side = side
        self._kin, self._above = Kin(), Kin()

    async def follow(self, connection: Connection, events: Sequence[Happened]) -> bool:
        """See to the flows that these events concern besides their own, in the order of the events."""
        links = _links(events)
        await link(connection, links)
        # a flow that has just begun has no children yet, and nobody waits for its beginning
        ids = {event.recorded.flow_id for event in events if not isinstance(event.recorded.fact, FlowCreated)}
        parents = await with_children(connection, ids) if ids else set()
        concern = await concerned(connection, ids) if ids else {}
        reports: list[Ask] = []
        for position, recorded in events:
            fact = recorded.fact
            if isinstance(fact, FlowCreated):
                if fact.ancestors or fact.dependent_flow_ids:
                    reports.extend(await self._born(connection, position, recorded, fact))
                continue
            if (status := RESTS.get(type(fact))) is not None and recorded.flow_id in concern:
                reports.extend(await self._rested(connection, recorded, status, concern[recorded.flow_id]))
            if recorded.flow_id in parents:
                # a verb is done with before the next one begins
                await self._put(reports)
                reports.clear()
                await self._put(await self._passed_on(connection, position, recorded))
        await self._put(reports)
        return bool(links or concern or parents)

    async def _born(self, connection: Connection, position: int, recorded: Recorded, fact: FlowCreated) -> list[Ask]:
        """Tell the parent; and see to what happened to those that it waits for, and to those above it before it was there:
        what happened to these since is passed on in its turn."""
        flow_id = recorded.flow_id
        asked = []
        if fact.parent_flow_id is not None:
            report = ReportChild(flow_id=fact.parent_flow_id, child_flow_id=flow_id)
            asked.append(self._ask(report, recorded, "child"))
        others = await self._kin.load(connection, (flow_id, *fact.dependent_flow_ids))
        above = await self._above.load(connection, fact.ancestors, until=position)
        verb = _overtaken([above[each] for each in reversed(fact.ancestors)], others[flow_id])
        if verb is not None:
            asked.append(self._ask(verb, recorded, f"{verb.verb}:{verb.by_flow_id}"))
        for each in fact.dependent_flow_ids:
            status = others[each].status
            if status in AT_REST:
                told = ReportDependency(flow_id=flow_id, dependency_flow_id=each, status=status)
                asked.append(self._ask(told, recorded, f"waits:{each}:{others[each].version}"))
        return asked

    async def _rested(
        self, connection: Connection, recorded: Recorded, status: Status, concern: Sequence[Concerned]
    ) -> list[Ask]:
        """Tell the parent, and those that wait, how a flow came to rest."""
        asked = []
        for kind, flow_id in concern:
            command: Command
            if kind == "waits":
                command = ReportDependency(flow_id=flow_id, dependency_flow_id=recorded.flow_id, status=status)
            else:
                flow = (await self._kin.load(connection, [recorded.flow_id]))[recorded.flow_id]
                command = ReportChild(
                    flow_id=flow_id,
                    child_flow_id=recorded.flow_id,
                    status=status,
                    outputs=_handed_up(flow) if status is Status.COMPLETED else {},
                    error=recorded.fact.error if isinstance(recorded.fact, FlowFailed) else None,
                )
            asked.append(self._ask(command, recorded, kind))
        return asked

    async def _passed_on(self, connection: Connection, position: int, recorded: Recorded) -> list[Ask]:
        """Pass a verb on to every flow that was under the one it was said of, each of which decides for itself."""
        fact, root = recorded.fact, recorded.flow_id
        if isinstance(fact, FlowRolledBack):
            undone = await begun_since(connection, root, fact.to_version, position)
            told = {"verb": "cancel", "by_flow_id": root, "compensate": fact.compensate, "reason": fact.reason}
            return [
                self._ask(FollowParent.model_validate({"flow_id": flow_id, **told}), recorded, "undone")
                for flow_id in undone
            ]
        verb = VERBS.get(type(fact))
        if verb is None or not isinstance(fact, FlowPaused | FlowResumed | FlowCancelled | FlowDeleted):
            return []
        # what a verb further up brought about reaches them from there
        if not fact.tree or fact.by_flow_id is not None:
            return []
        above = fact.paused_by if isinstance(fact, FlowResumed) else None
        paused_by = (root, above) if above is not None else (root,)
        more: dict[str, Any] = {"timers": fact.timers} if isinstance(fact, FlowPaused) else {}
        if isinstance(fact, FlowCancelled):
            more = {"compensate": fact.compensate}
        about = {"verb": verb, "by_flow_id": root, "paused_by": paused_by, "reason": fact.reason, **more}
        return [
            self._ask(FollowParent.model_validate({"flow_id": flow_id, **about}), recorded, verb)
            for flow_id in await below(connection, root, position)
        ]

    async def _put(self, asks: Sequence[Ask]) -> None:
        """Put commands before their flows and wait for the answers; those of one flow are decided in this order."""
        await asyncio.gather(*(self._submit(*ask) for ask in asks))

    def _ask(self, command: Command, because: Recorded, what: str) -> Ask:
        meta = because.meta
        envelope = Envelope(
            command_id=str(uuid5(command.flow_id, f"{what}:{because.flow_id}:{because.version}")),
            client_account_id=meta.client_account_id,
            engagement_id=meta.engagement_id,
            user_id=meta.user_id if isinstance(command, FollowParent) else SYSTEM_USER,
            correlation_id=meta.correlation_id,
            causation_id=f"{because.flow_id}:{because.version}",
            source="follower",
        )
        return command, envelope

    async def _submit(self, command: Command, envelope: Envelope) -> Answer:
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                answer = await self._side.committer.submit(command, envelope)
            except Unavailable:
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
                continue
            if answer.outcome == REFUSED:
                log.info("refused", command=type(command).__name__, flow_id=str(command.flow_id), error=answer.error)
            return answer


def _links(events: Sequence[Happened]) -> list[tuple[Literal["child", "waits"], UUID, UUID]]:
    links: list[tuple[Literal["child", "waits"], UUID, UUID]] = []
    for _, recorded in events:
        fact, flow_id = recorded.fact, recorded.flow_id
        if isinstance(fact, FlowCreated | FlowImported) and fact.parent_flow_id is not None:
            links.append(("child", fact.parent_flow_id, flow_id))
        if isinstance(fact, FlowCreated):
            links.extend(("waits", other, flow_id) for other in fact.dependent_flow_ids)
    return links


def _overtaken(above: Sequence[Flow], born: Flow) -> FollowParent | None:
    """The verb on a tree that was said while the flow was being made, and did not find it there yet; `above`: the nearest
    first."""
    flow_id, held = born.id, born.paused
    for verb, status in (("delete", Status.DELETED), ("cancel", Status.CANCELLED)):
        for flow in above:
            if flow.status is status and flow.ended_with_tree:
                return _told(flow_id, verb, flow.id)
    for flow in above:
        if flow.paused is not None and flow.paused.tree:
            above_all = flow.paused.by_flow_id or flow.id
            return _told(flow_id, "pause", above_all, reason=flow.paused.reason, timers=flow.paused.timers)
        if held is not None and held.by_flow_id == flow.id:
            return _told(flow_id, "resume", flow.id)
    return None


def _told(flow_id: UUID, verb: Any, by: UUID, **more: Any) -> FollowParent:
    return FollowParent(flow_id=flow_id, verb=verb, by_flow_id=by, paused_by=(by,), **more)


def _handed_up(flow: Flow) -> dict[str, Any]:
    """The outputs of a flow's last phase, as far as they belong into another flow's history."""
    outputs = flow.phases[-1].outputs if flow.phases else {}
    size = len(msgspec.json.encode(outputs))
    return outputs if size <= MAX_OUTPUTS_BYTES else {"too_large": True, "size_bytes": size}
