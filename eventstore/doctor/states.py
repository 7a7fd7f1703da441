"""Flows under way whose state cannot be had any more: their history cannot be read, or artifacts that it names are gone."""

from __future__ import annotations

from typing import NamedTuple
from uuid import UUID

from domain.flow import Flow, evolve
from domain.words import counted
from eventstore.checkpoints import lost
from eventstore.codec import decode
from eventstore.database import Connection
from eventstore.doctor.checks import rows
from eventstore.doctor.findings import EXAMPLES, Finding, Json
from eventstore.store import LOAD, load

AT_ONCE = 200
UNDER_WAY = """
select flow_id from flow_state_extensions_v1
where flow_status not in ('completed', 'cancelled', 'deleted') and flow_id > %s order by flow_id limit %s
"""
FIRST = UUID(int=0)


class Unsound(NamedTuple):
    """Flows with what they lack: artifacts by SHA-256 in hex, or why their history cannot be read."""

    losing: list[tuple[Flow, list[str]]]
    unreadable: list[tuple[UUID, Exception]]


async def unsound(connection: Connection) -> Unsound:
    """Every flow that is not over and cannot go on from its state."""
    found = Unsound([], [])
    last = FIRST
    while ids := [row["flow_id"] for row in await rows(connection, UNDER_WAY, last, AT_ONCE)]:
        last = ids[-1]
        broken: dict[UUID, Exception] = {}
        loaded = await load(connection, ids, broken)
        found.unreadable.extend(broken.items())
        for flow_id in ids:
            gone = await lost(connection, loaded[flow_id].flow) if flow_id not in broken else []
            if gone:
                found.losing.append((loaded[flow_id].flow, gone))
    return found


async def examine_states(connection: Connection) -> list[Finding]:
    """What is wrong with the states of flows under way."""
    losing, unreadable = await unsound(connection)
    found = []
    if losing:
        found.append(
            Finding(
                code="outputs_lost",
                severity="critical",
                count=len(losing),
                message=f"The state of {counted(len(losing), 'flow')} names artifacts that are not there any more: rows of"
                " artifacts or artifact_parts were removed, which nothing of the service does.",
                mend="restore them from a backup; or `mfo doctor --deep --repair` rolls each flow back to its last"
                " checkpoint that holds, by a command that stands in its history",
                repairable=True,
                subjects=tuple(
                    {"flow_id": str(flow.id), "status": str(flow.status), "artifact": gone[0], "artifacts": len(gone)}
                    for flow, gone in losing[:EXAMPLES]
                ),
            )
        )
    if unreadable:
        found.append(
            Finding(
                code="flow_unreadable",
                severity="critical",
                count=len(unreadable),
                message=f"The history of {counted(len(unreadable), 'flow')} cannot be read from the version named on: a"
                " newer version of the service wrote the event, or it was changed in the database.",
                mend="run the newer version; else restore the event from a backup. A flow is not rolled back past what"
                " cannot be read: nobody could say what that would undo",
                subjects=tuple(
                    [await _until_where(connection, flow_id, why) for flow_id, why in unreadable[:EXAMPLES]]
                ),
            )
        )
    return found


async def _until_where(connection: Connection, flow_id: UUID, why: Exception) -> Json:
    """How far a history can be read, and the last checkpoint before that."""
    cursor = await connection.execute(LOAD, ([flow_id],), binary=True)
    flow, version = Flow(id=flow_id), 0
    for _, version, topic, state, *_ in await cursor.fetchall():
        try:
            flow = evolve(flow, decode(flow_id, version, topic, state))
        # whatever an event that cannot be read causes
        except Exception:
            break
    subject: Json = {"flow_id": str(flow_id), "version": version, "error": f"{type(why).__name__}: {why}"[:200]}
    return subject | ({"last_checkpoint": flow.checkpoints[-1].version} if flow.checkpoints else {})
