"""The thorough checks: every history read once, and compared with its head, its rows and what Kafka holds."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from domain.words import counted
from eventstore.codec import FIRST_HASH, chain
from eventstore.database import Connection
from eventstore.doctor.checks import CANDIDATES, PATIENCE_SECONDS, STUCK_SECONDS, examples, rows
from eventstore.doctor.findings import EXAMPLES, Finding, Json
from eventstore.doctor.states import examine_states
from eventstore.store import load

HISTORY = """
select originator_id, originator_version, topic, state, hash from stored_events
order by originator_id, originator_version
"""
HEADS = """
select h.id as flow_id, h.version as head_version, e.version as last_version, count(*) over () as total
from heads h left join lateral (
    select originator_version as version, hash from stored_events where originator_id = h.id
    order by originator_version desc limit 1
) e on true
where e.version is distinct from h.version or e.hash is distinct from h.hash
limit %s
"""
HEADLESS = """
select distinct originator_id as flow_id from stored_events e
where originator_version = 1 and not exists (select from heads h where h.id = e.originator_id) limit %s
"""
# only what the projection says it has applied, and not what it is about to overtake
DIFFERENT = """
select h.id as flow_id, h.version as flow_version, f.version as row_version, count(*) over () as total
from heads h
join lateral (
    select originator_version, notification_id, topic from stored_events
    where originator_id = h.id and originator_version = h.version
) e on true
left join flow_state_extensions_v1 f on f.flow_id = h.id
where e.topic like 'mfo.flow.%%' and f.version is distinct from h.version
  and e.notification_id <= (
      select position from projections where name = 'crewai_flow_state_extensions'
  )
  and not exists (select from parked_flows p where p.flow_id = h.id and p.projection = 'crewai_flow_state_extensions')
limit %s
"""
STRAY = """
select id as run_id, flow_id, client_account_id, engagement_id, phase_name, token, state from runs
where queued_at < mfo_now() - make_interval(secs => %s)
order by queued_at limit %s
"""
BATCH = 5000
TOLD_EVERY = 100_000


def silently(_: str) -> None:
    """Progress that nobody wants to hear of."""


async def examine_deeply(connection: Connection, said: Callable[[str], None] = silently) -> list[Finding]:
    """What only a look at everything finds; takes a second for some hundred thousand events. `said` is told how far it is."""
    found = [*await _chains(connection, said), *await _heads(connection), *await _rows(connection)]
    said("heads and rows looked at")
    found += [*await _stray(connection), *await examine_states(connection)]
    said("runs and states of flows under way looked at")
    return sorted(found, key=lambda finding: ("critical", "warning", "info").index(finding.severity))


async def _chains(connection: Connection, said: Callable[[str], None]) -> list[Finding]:
    """Versions without a gap, hashes that follow from one another."""
    gaps: list[Json] = []
    broken: list[Json] = []
    flow_id: UUID | None = None
    version, previous, lost, events = 0, FIRST_HASH, False, 0
    async with connection.transaction(), connection.cursor("histories", binary=True) as cursor:
        cursor.itersize = BATCH
        await cursor.execute(HISTORY)
        async for originator, number, topic, state, digest in cursor:
            events += 1
            if events % TOLD_EVERY == 0:
                said(f"hash chains: {events} events")
            if originator != flow_id:
                flow_id, version, previous, lost = originator, 0, FIRST_HASH, False
            if lost:
                continue
            if number != version + 1:
                gaps.append({"flow_id": str(flow_id), "missing": version + 1, "found": number})
                lost = True
                continue
            if chain(previous, originator, number, topic, bytes(state)) != bytes(digest):
                broken.append({"flow_id": str(flow_id), "version": number, "topic": topic})
                lost = True
            version, previous = number, bytes(digest)
    said(
        f"hash chains: {counted(events, 'event')}, {counted(len(gaps) + len(broken), 'history', 'histories')} that do not hold"
    )
    found = []
    if gaps:
        found.append(
            Finding(
                code="version_gap",
                severity="critical",
                count=len(gaps),
                message=f"The history of {counted(len(gaps), 'flow')} lacks a version: events were removed from"
                " stored_events, which nothing of the service does.",
                mend="restore the events from a backup; keep the database as it is for those who look into it",
                subjects=tuple(gaps[:EXAMPLES]),
            )
        )
    if broken:
        found.append(
            Finding(
                code="hash_broken",
                severity="critical",
                count=len(broken),
                message=f"The hash chain of {counted(len(broken), 'flow')} does not hold from the version named on:"
                " an event was changed after it was appended.",
                mend="restore the event from a backup; keep the database as it is for those who look into it",
                subjects=tuple(broken[:EXAMPLES]),
            )
        )
    return found


async def _heads(connection: Connection) -> list[Finding]:
    wrong = await rows(connection, HEADS, CANDIDATES)
    headless = await rows(connection, HEADLESS, CANDIDATES)
    total = (wrong[0]["total"] if wrong else 0) + len(headless)
    if not total:
        return []
    return [
        Finding(
            code="head_wrong",
            severity="critical",
            count=total,
            message=f"The head of {counted(total, 'flow')} is not the end of its history: such a flow takes no"
            " command any more. A row of heads or the newest event was changed or removed.",
            mend="restore the rows from a backup; keep the database as it is for those who look into it",
            subjects=examples([*wrong, *headless], "flow_id", "head_version", "last_version"),
        )
    ]


async def _rows(connection: Connection) -> list[Finding]:
    different = await rows(connection, DIFFERENT, CANDIDATES)
    if not different:
        return []
    total = different[0]["total"]
    return [
        Finding(
            code="read_model_differs",
            severity="critical",
            count=total,
            message=f"{counted(total, 'row')} of crewai_flow_state_extensions not at the version of their flow,"
            " although the projection has passed it: the row was changed or removed by hand.",
            mend="`mfo doctor --deep --repair` tells the flow's history to the read model once more",
            repairable=True,
            subjects=examples(different, "flow_id", "flow_version", "row_version"),
        )
    ]


async def stray(connection: Connection) -> list[Json]:
    """Rows of runs whose flow has no such run under that token; at most 500 are looked at, the oldest."""
    candidates = await rows(connection, STRAY, STUCK_SECONDS, CANDIDATES)
    broken: dict[UUID, Exception] = {}
    loaded = await load(connection, {row["flow_id"] for row in candidates}, broken) if candidates else {}
    found = []
    for row in candidates:
        if row["flow_id"] in broken:
            continue
        runs = {(run.run_id, run.token) for run in loaded[row["flow_id"]].flow.runs}
        if (row["run_id"], row["token"]) not in runs:
            found.append(row)
    # one that ended while we read has no row any more
    there = (
        await rows(connection, "select id from runs where id = any(%s)", [row["run_id"] for row in found])
        if found
        else []
    )
    still = {row["id"] for row in there}
    return [row for row in found if row["run_id"] in still]


async def _stray(connection: Connection) -> list[Finding]:
    found = await stray(connection)
    if not found:
        return []
    return [
        Finding(
            code="stray_run",
            severity="warning",
            count=len(found),
            message=f"{counted(len(found), 'row')} of runs that their flow does not know for {PATIENCE_SECONDS:g} s and"
            " more: what such a worker says is refused, but its place is taken.",
            mend="`mfo doctor --deep --repair` removes them; the refusal stands in the command log",
            repairable=True,
            subjects=examples(found, "flow_id", "run_id", "phase_name", "state"),
        )
    ]
