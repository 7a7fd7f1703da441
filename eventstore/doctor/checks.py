"""The quick checks: statements by index over what is due, who is silent and what was set aside."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.rows import dict_row

from domain.flow import DEADLINE_TIMER, Flow
from domain.words import Status, counted
from eventstore.codec import split
from eventstore.database import Connection
from eventstore.doctor.findings import EXAMPLES, Finding, Json
from eventstore.offering import lacking_for
from eventstore.store import load
from eventstore.topic import MAKE_TOPICS

PATIENCE_SECONDS = 15.0
"""How long the service may take to see to something by itself: two leases and a little more."""
STUCK_SECONDS = 30.0
WAITING_SECONDS = 300.0
LAG_EVENTS = 1000
CANDIDATES = 500

OVERDUE = """
select id as run_id, flow_id, phase_name, owner, extract(epoch from mfo_now() - deadline)::float8 as seconds,
       count(*) over () as total
from runs r where state = 'running' and deadline < mfo_now() - make_interval(secs => %s)
  and not exists (select from parked_commands p where p.flow_id = r.flow_id)
order by deadline limit %s
"""
LAPSED = """
select id as run_id, flow_id, phase_name, owner, extract(epoch from mfo_now() - lease_until)::float8 as seconds,
       count(*) over () as total
from runs r where state = 'running' and lease_until < mfo_now() - make_interval(secs => %s)
  and not exists (select from parked_commands p where p.flow_id = r.flow_id)
  and deadline >= mfo_now() - make_interval(secs => %s)
order by lease_until limit %s
"""
WAITING = """
select id as run_id, flow_id, flow_type, phase_name, extract(epoch from mfo_now() - queued_at)::float8 as seconds,
       count(*) over () as total
from runs where state = 'queued' and queued_at < mfo_now() - make_interval(secs => %s) order by queued_at limit %s
"""
# while nobody runs phases at all, other findings say so
HOMELESS = """
with offers as materialized (
    select exclusive_kinds || shared_kinds as kinds from keepers where seen_at > mfo_now() - interval '10 s'
)
select r.flow_type, r.flow_version, r.phase_name, count(*) as runs, min(r.flow_id::text) as flow_id,
       extract(epoch from mfo_now() - min(r.queued_at))::float8 as seconds
from runs r where r.state = 'queued' and r.queued_at < mfo_now() - make_interval(secs => %s)
  and exists (select from offers) and not exists (select from offers o where r.kind = any(o.kinds))
group by r.flow_type, r.flow_version, r.phase_name order by seconds desc limit %s
"""
TIMERS = """
select flow_id, name, extract(epoch from mfo_now() - due_at)::float8 as seconds, count(*) over () as total
from timers t where due_at < mfo_now() - make_interval(secs => %s)
  and not exists (select from parked_commands p where p.flow_id = t.flow_id)
order by due_at limit %s
"""
SCHEDULES = """
select id as schedule_id, name, extract(epoch from mfo_now() - wake_at)::float8 as seconds, count(*) over () as total
from schedules where wake_at < mfo_now() - make_interval(secs => %s) order by wake_at limit %s
"""
OPERATIONS = """
select o.id as operation_id, o.state, extract(epoch from mfo_now() - coalesce(p.moved_at, o.created_at))::float8 as seconds,
       p.total, p.accepted + p.refused + p.parked as done, p.owner, count(*) over () as total_found
from operations o left join operation_progress p on p.operation_id = o.id
where o.wake_at < mfo_now() - make_interval(secs => %(patience)s)
   or (o.wake_at is not null and p.total is null and o.created_at < mfo_now() - make_interval(secs => %(stuck)s))
order by o.wake_at limit %(most)s
"""
PARKED = """
select flow_id, count(*) as commands, min(n) as first, count(*) over () as total,
       (array_agg(error order by n))[1]::jsonb ->> 'detail' as error
from parked_commands group by flow_id order by first limit %s
"""
# the read model knows the status; the history decides
PERHAPS_STUCK = """
select f.flow_id from flow_state_extensions_v1 f
where f.flow_type = any (array(select distinct name from flow_types))
  and (f.flow_status = 'processing' or (f.flow_status = 'paused' and f.draining))
  and f.updated_at < mfo_now() - make_interval(secs => %s)
  and (f.flow_metadata ->> 'suspended' is null or f.flow_metadata #>> '{suspended,expires_at}' is not null
       or jsonb_array_length(f.flow_metadata -> 'lanes') > 1)
  and (not exists (select from runs r where r.flow_id = f.flow_id)
         and not exists (select from timers t where t.flow_id = f.flow_id and t.name <> 'deadline')
       -- of several phases in hand one may lack what the others have
       or jsonb_array_length(jsonb_path_query_array(f.flow_metadata, '$.lanes[*] ? (@.state == "running")'))
           > (select count(*) from runs r where r.flow_id = f.flow_id)
       or jsonb_array_length(jsonb_path_query_array(f.flow_metadata, '$.lanes[*] ? (@.state == "retrying")'))
           > (select count(*) from timers t where t.flow_id = f.flow_id and t.name like 'retry:%%'))
  and not exists (select from parked_commands p where p.flow_id = f.flow_id)
order by f.updated_at limit %s
"""
RUN_ROWS = "select id, flow_id, token from runs where flow_id = any(%s)"
TIMER_ROWS = "select flow_id, name, token from timers where flow_id = any(%s) and name <> 'deadline'"
RELAY = """
select r.leader, r.position, extract(epoch from mfo_now() - r.moved_at)::float8 as silent, e.ended, mfo_now() as now,
       (select state from stored_events where notification_id > r.position order by notification_id limit 1) as oldest
from (select coalesce(max(notification_id), 0) as ended from stored_events) e
left join relay r on r.name = 'kafka'
"""
NOT_FOLLOWED = """
select follower, flow_id, version, error, count(*) over () as total from followers_set_aside order by since limit %s
"""
PROJECTIONS = """
select p.name, p.state, p.position, extract(epoch from mfo_now() - p.updated_at)::float8 as silent, mfo_now() as now,
       coalesce((select position from relay where name = 'kafka'), 0) as told,
       (select state from stored_events where notification_id > p.position order by notification_id limit 1) as oldest
from projections p order by p.name
"""
SET_ASIDE = """
select projection, flow_id, version, error, count(*) over () as total from parked_flows order by since limit %s
"""
FOLLOWERS = """
select f.name, f.leader, f.position, coalesce(f.lease_until < mfo_now(), true) as alone, mfo_now() as now,
       (select state from stored_events where notification_id > f.position order by notification_id limit 1) as oldest
from followers f order by f.name
"""
EVENTS_SET_ASIDE = """
select follower, flow_id, version, error, attempts, count(*) over () as total
from followers_set_aside order by position limit %s
"""
IMPORTS = """
select id as import_id, filename, state, count(*) over () as total from imports
where state in ('stored', 'inspecting') and created_at < mfo_now() - make_interval(secs => %s)
order by created_at limit %s
"""
SIGNING_REFUSED = """
select client_account_id, why, extract(epoch from mfo_now() - since)::float8 as seconds, count(*) over () as total
from audit_refused order by since limit %s
"""
NOTIFICATIONS_DEAD = """
select id as notification_id, flow_id, kind, event, tries -> -1 ->> 'error' as error, count(*) over () as total
from notifications where state = 'dead' order by ended_at desc limit %s
"""
# where one is in hand somebody sends, and the others wait for their turn
NOTIFICATIONS_OVERDUE = """
select id as notification_id, flow_id, kind, event, extract(epoch from mfo_now() - due_at)::float8 as seconds,
       count(*) over () as total
from notifications where state = 'pending' and due_at < mfo_now() - make_interval(secs => %s)
  and not exists (select from notifications where state = 'pending' and lease_until > mfo_now())
order by due_at limit %s
"""
START_CONSUMERS = "start `mfo consumers`, or look into the log of the one that runs"
KEPT_BY_PROJECTIONS = ("checkpoints", "audit_events")
START_PROJECTIONS = "start `mfo projections`, or look into the log of the one that runs"

Check = Callable[[Connection], Awaitable[list[Finding]]]


async def examine(connection: Connection) -> list[Finding]:
    """Everything that the quick checks find, the worst first; raises what psycopg raises."""
    found = [finding for check in CHECKS for finding in await check(connection)]
    return sorted(found, key=lambda finding: ("critical", "warning", "info").index(finding.severity))


async def rows(connection: Connection, statement: str, *parameters: Any) -> list[Json]:
    """The rows of a statement as dicts."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(statement, parameters)
        return await cursor.fetchall()


def examples(found: Sequence[Json], *names: str) -> tuple[Json, ...]:
    """What a finding names of each row: these columns, seconds rounded, ids as text."""
    return tuple({name: _shown(row[name]) for name in names if row.get(name) is not None} for row in found[:EXAMPLES])


def _shown(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 1)
    return str(value) if isinstance(value, UUID) else value


async def _overdue(connection: Connection) -> list[Finding]:
    found = await rows(connection, OVERDUE, PATIENCE_SECONDS, CANDIDATES)
    if not found:
        return []
    total = found[0]["total"]
    return [
        Finding(
            code="run_overdue",
            severity="critical",
            count=total,
            message=f"{counted(total, 'run')} passed the deadline, the first {found[0]['seconds']:.0f} s ago, and no"
            " process has ended it: no consumers are alive, or their keeper hangs.",
            mend=f"{START_CONSUMERS}; `mfo doctor --repair` ends the runs as timed out",
            repairable=True,
            subjects=examples(found, "flow_id", "run_id", "phase_name", "owner", "seconds"),
        )
    ]


async def _lapsed(connection: Connection) -> list[Finding]:
    found = await rows(connection, LAPSED, PATIENCE_SECONDS, PATIENCE_SECONDS, CANDIDATES)
    if not found:
        return []
    total = found[0]["total"]
    return [
        Finding(
            code="lease_lapsed",
            severity="critical",
            count=total,
            message=f"The worker of {counted(total, 'run')} has been silent, for {found[0]['seconds']:.0f} s beyond its"
            " lease, and no process has taken over: no consumers are alive, or their keeper hangs.",
            mend=f"{START_CONSUMERS}; `mfo doctor --repair` has the runs done anew under the next token",
            repairable=True,
            subjects=examples(found, "flow_id", "run_id", "phase_name", "owner", "seconds"),
        )
    ]


async def _waiting(connection: Connection) -> list[Finding]:
    found = await rows(connection, WAITING, WAITING_SECONDS, EXAMPLES)
    if not found:
        return []
    total = found[0]["total"]
    return [
        Finding(
            code="run_waiting",
            severity="warning",
            count=total,
            message=f"{counted(total, 'run')} waited for a place for more than {WAITING_SECONDS / 60:g} minutes, the"
            f" first for {found[0]['seconds'] / 60:.0f}: there are too few workers, or none that has the handlers.",
            mend="raise MFO_WORKERS, or start more `mfo consumers`; `mfo flow status FLOW` says what each waits for",
            subjects=examples(found, "flow_id", "run_id", "flow_type", "phase_name", "seconds"),
        )
    ]


async def _homeless(connection: Connection) -> list[Finding]:
    found = await rows(connection, HOMELESS, PATIENCE_SECONDS, EXAMPLES)
    if not found:
        return []
    told = []
    for row in found:
        missing = await lacking_for(connection, row["flow_type"], row["flow_version"], row["phase_name"])
        row["lacks"] = ", ".join(missing)
        told.append(f"{row['phase_name']} of {row['flow_type']} {row['flow_version']} lacks {row['lacks']}")
    total = sum(row["runs"] for row in found)
    return [
        Finding(
            code="handlers_missing",
            severity="critical",
            count=total,
            message=f"{counted(total, 'run')} cannot begin, because no running process is known to have the handlers:"
            f" {'; '.join(told)}.",
            mend="start `mfo consumers` whose MFO_FLOW_TYPES has these handlers (those of older versions must stay for as"
            " long as flows have them), or move the flows: `mfo flow-types migrate TYPE --to VERSION --running restart`",
            subjects=examples(found, "flow_id", "flow_type", "flow_version", "phase_name", "runs", "seconds", "lacks"),
        )
    ]


async def _timers(connection: Connection) -> list[Finding]:
    found = await rows(connection, TIMERS, PATIENCE_SECONDS, CANDIDATES)
    if not found:
        return []
    total = found[0]["total"]
    return [
        Finding(
            code="timer_overdue",
            severity="critical",
            count=total,
            message=f"{counted(total, 'timer')} should have fired, the first {found[0]['seconds']:.0f} s ago:"
            " no consumers are alive, or their keeper hangs.",
            mend=f"{START_CONSUMERS}; `mfo doctor --repair` fires them",
            repairable=True,
            subjects=examples(found, "flow_id", "name", "seconds"),
        )
    ]


async def _schedules(connection: Connection) -> list[Finding]:
    found = await rows(connection, SCHEDULES, PATIENCE_SECONDS, EXAMPLES)
    if not found:
        return []
    total = found[0]["total"]
    return [
        Finding(
            code="schedule_overdue",
            severity="critical",
            count=total,
            message=f"{counted(total, 'schedule')} should have been looked at, the first {found[0]['seconds']:.0f} s ago:"
            " no consumers are alive, or their scheduler hangs.",
            mend=START_CONSUMERS,
            subjects=examples(found, "schedule_id", "name", "seconds"),
        )
    ]


async def _operations(connection: Connection) -> list[Finding]:
    values = {"patience": PATIENCE_SECONDS, "stuck": WAITING_SECONDS, "most": EXAMPLES}
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(OPERATIONS, values)
        found = await cursor.fetchall()
    if not found:
        return []
    total = found[0]["total_found"]
    return [
        Finding(
            code="operation_standing_still",
            severity="warning",
            count=total,
            message=f"{counted(total, 'operation')} over many flows should go on and does not, the first for"
            f" {found[0]['seconds']:.0f} s: no consumers are alive, or the read model is too far behind to choose the flows.",
            mend=f"{START_CONSUMERS}; {START_PROJECTIONS}; or `mfo operation cancel ID`",
            subjects=examples(found, "operation_id", "done", "total", "owner", "seconds"),
        )
    ]


async def _parked(connection: Connection) -> list[Finding]:
    found = await rows(connection, PARKED, EXAMPLES)
    if not found:
        return []
    total = found[0]["total"]
    return [
        Finding(
            code="flow_parked",
            severity="warning",
            count=total,
            message=f"{counted(total, 'flow')} parked: a command could not be applied, for a reason that is not its own"
            " fault, and what came later waits behind it.",
            mend="`mfo parked show FLOW` says why; mend it, then `mfo parked retry FLOW`, or `mfo parked discard FLOW`",
            subjects=examples(found, "flow_id", "commands", "error"),
        )
    ]


def lacking(flow: Flow, runs: set[tuple[UUID, int]], timers: set[str]) -> str | None:
    """What keeps a flow, as it is seen from the phase at hand, from going on: `run` or `timer` without a row, or `next` step;
    none where it goes on by itself."""
    if flow.run is not None:
        return None if (flow.run.run_id, flow.run.token) in runs else "run"
    if flow.status is not Status.PROCESSING or flow.waiting is not None:
        return None
    # the deadline of the flow keeps nothing going
    awaited = {
        name
        for name in flow.timers
        if name != DEADLINE_TIMER and (not flow.focus or name == flow.called(name.partition(":")[0]))
    }
    if awaited:
        return None if awaited <= timers else "timer"
    # what waits for something outside goes on when that is there
    return "next" if flow.suspended is None else None


CAUSES = {
    "run": "the row of its run is gone",
    "timer": "its timer is gone",
    "next": "nothing was started after the last step",
}


async def stuck(connection: Connection) -> list[tuple[Flow, str]]:
    """Flows that say they are processing while nothing goes on, each with what it lacks; at most 500. Where phases run at the
    same time, it is seen from the phase that lacks something."""
    ids = [row["flow_id"] for row in await rows(connection, PERHAPS_STUCK, STUCK_SECONDS, CANDIDATES)]
    if not ids:
        return []
    # one that cannot be read is parked with the next command for it
    broken: dict[UUID, Exception] = {}
    loaded = await load(connection, ids, broken)
    ids = [flow_id for flow_id in ids if flow_id not in broken]
    runs: dict[UUID, set[tuple[UUID, int]]] = {}
    timers: dict[UUID, set[str]] = {}
    # read after the histories: what began meanwhile is found
    for row in await rows(connection, RUN_ROWS, ids):
        runs.setdefault(row["flow_id"], set()).add((row["id"], row["token"]))
    for row in await rows(connection, TIMER_ROWS, ids):
        timers.setdefault(row["flow_id"], set()).add(row["name"])
    found = []
    for flow_id in ids:
        flow, of_runs, of_timers = loaded[flow_id].flow, runs.get(flow_id, set()), timers.get(flow_id, set())
        for view in flow.each or (flow,):
            lack = lacking(view, of_runs, of_timers)
            if lack is not None and not _moved_on(view, of_runs, of_timers):
                found.append((view, lack))
    return found


def _moved_on(flow: Flow, runs: set[tuple[UUID, int]], timers: set[str]) -> bool:
    """Whether there are rows under another token, because the flow has just moved on."""
    if not flow.focus:
        return bool(runs or timers)
    return flow.run is not None and any(run_id == flow.run.run_id for run_id, _ in runs)


async def _stuck(connection: Connection) -> list[Finding]:
    found = await stuck(connection)
    if not found:
        return []
    causes = sorted({CAUSES[lack] for _, lack in found})
    return [
        Finding(
            code="flow_stuck",
            severity="critical",
            count=len(found),
            message=f"{counted(len(found), 'flow')} processing with nothing under way: {', '.join(causes)}.",
            mend="`mfo doctor --repair` starts what is missing, by a command that stands in the flow's history",
            repairable=True,
            subjects=tuple(
                {"flow_id": str(flow.id), "phase_name": flow.current_phase or "", "lacks": lack}
                for flow, lack in found[:EXAMPLES]
            ),
        )
    ]


async def _relay(connection: Connection) -> list[Finding]:
    (row,) = await rows(connection, RELAY)
    if row["position"] is None and not row["ended"]:
        return []
    behind = row["ended"] - (row["position"] or 0)
    silent = row["silent"]
    if silent is None or silent > PATIENCE_SECONDS:
        since = f"for {silent:.0f} s" if silent is not None else "ever"
        return [
            Finding(
                code="relay_silent",
                severity="critical",
                message=f"No relay has told Kafka anything {since}; {counted(behind, 'event')} wait. It runs in the"
                " consumers: none is alive, or none can reach Kafka.",
                mend=f"{START_CONSUMERS}; check MFO_KAFKA_BOOTSTRAP; {MAKE_TOPICS}",
            )
        ]
    age = _age(row["oldest"], row["now"])
    if age <= PATIENCE_SECONDS:
        return []
    return [
        Finding(
            code="relay_behind",
            severity="warning",
            message=f"Kafka is {counted(behind, 'event')} behind the history, the oldest of them {age:.0f} s old.",
            mend="look whether Kafka is slow or refuses records: the log of the consumers that lead the relay says so",
            subjects=({"leader": row["leader"], "position": row["position"], "log_end": row["ended"]},),
        )
    ]


def _age(state: bytes | None, now: datetime) -> float:
    return (now - split(state)[0].at).total_seconds() if state is not None else 0.0


async def _projections(connection: Connection) -> list[Finding]:
    found: list[Finding] = []
    for row in await rows(connection, PROJECTIONS):
        name, behind = row["name"], row["told"] - row["position"]
        about: tuple[Json, ...] = ({"name": name, "state": row["state"], "position": row["position"]},)
        if row["silent"] > PATIENCE_SECONDS:
            found.append(
                Finding(
                    code="projection_silent",
                    severity="critical",
                    message=f"No process has kept the read model {name} for {row['silent']:.0f} s.",
                    mend=f"{START_PROJECTIONS}; a read model of your own wants it started with MFO_PROJECTIONS",
                    subjects=about,
                )
            )
        elif behind > 0 and (age := _age(row["oldest"], row["now"])) > STUCK_SECONDS:
            found.append(
                Finding(
                    code="projection_behind",
                    severity="warning",
                    count=behind,
                    message=f"The read model {name} is {counted(behind, 'event')} behind what Kafka was told, the"
                    f" oldest of them {age:.0f} s old; it is {row['state']}.",
                    mend=f"{START_PROJECTIONS}; `mfo projections list` shows whether it moves",
                    subjects=about,
                )
            )
    return found


async def _set_aside(connection: Connection) -> list[Finding]:
    found = await rows(connection, SET_ASIDE, EXAMPLES)
    if not found:
        return []
    total = found[0]["total"]
    return [
        Finding(
            code="flow_set_aside",
            severity="warning",
            count=total,
            message=f"{counted(total, 'flow')} could not be followed by a read model and set aside, so that the others"
            " go on.",
            mend="`mfo doctor --repair` tells their histories to the read model once more",
            repairable=True,
            subjects=examples(found, "projection", "flow_id", "version", "error"),
        )
    ]


async def _notifications(connection: Connection) -> list[Finding]:
    findings = []
    dead = await rows(connection, NOTIFICATIONS_DEAD, EXAMPLES)
    if dead:
        total = dead[0]["total"]
        findings.append(
            Finding(
                code="notification_dead",
                severity="warning",
                count=total,
                message=f"{counted(total, 'notification')} given up: its receiver or the mail server did not take it.",
                mend="`mfo notifications show ID` says why; mend it, then `mfo notifications replay ID`, or `replay --dead`",
                subjects=examples(dead, "notification_id", "flow_id", "kind", "event", "error"),
            )
        )
    overdue = await rows(connection, NOTIFICATIONS_OVERDUE, STUCK_SECONDS, EXAMPLES)
    if overdue:
        total = overdue[0]["total"]
        findings.append(
            Finding(
                code="notification_overdue",
                severity="critical",
                count=total,
                message=f"{counted(total, 'notification')} should have been sent, the first {overdue[0]['seconds']:.0f} s"
                " ago, and none is in anybody's hand: no consumers are alive, or their sender hangs.",
                mend=START_CONSUMERS,
                subjects=examples(overdue, "notification_id", "flow_id", "kind", "event", "seconds"),
            )
        )
    return findings


async def _followers(connection: Connection) -> list[Finding]:
    found: list[Finding] = []
    for row in await rows(connection, FOLLOWERS):
        age = _age(row["oldest"], row["now"])
        if age <= STUCK_SECONDS:
            continue
        why = "no process leads it" if row["alone"] else f"{row['leader']} leads it and does not get on"
        found.append(
            Finding(
                code="follower_behind",
                severity="critical" if row["alone"] else "warning",
                message=f"What follows from events of {age:.0f} s ago has not been done by {row['name']}: {why}.",
                mend=START_PROJECTIONS if row["name"] in KEPT_BY_PROJECTIONS else START_CONSUMERS,
                subjects=({"name": row["name"], "position": row["position"]},),
            )
        )
    aside = await rows(connection, EVENTS_SET_ASIDE, EXAMPLES)
    if aside:
        total = aside[0]["total"]
        found.append(
            Finding(
                code="event_set_aside",
                severity="warning",
                count=total,
                message=f"{counted(total, 'event')} set aside by a follower of the log: what follows from them could not"
                " be done, and is tried again from time to time.",
                mend="look into the log of the consumers for the cause; nothing else is needed once it is gone",
                subjects=examples(aside, "follower", "flow_id", "version", "error", "attempts"),
            )
        )
    return found


async def _imports(connection: Connection) -> list[Finding]:
    found = await rows(connection, IMPORTS, WAITING_SECONDS, EXAMPLES)
    if not found:
        return []
    total = found[0]["total"]
    return [
        Finding(
            code="import_waiting",
            severity="warning",
            count=total,
            message=f"{counted(total, 'upload')} waited for more than {WAITING_SECONDS / 60:g} minutes to be described.",
            mend=START_CONSUMERS,
            subjects=examples(found, "import_id", "filename", "state"),
        )
    ]


async def _tables(connection: Connection) -> list[Finding]:
    (row,) = await rows(
        connection,
        "select exists (select from command_log_rest) as rest, extract(epoch from shift)::float8 as shift from clock",
    )
    found = []
    if row["rest"]:
        found.append(
            Finding(
                code="log_partition_missing",
                severity="warning",
                message="Commands went to the command log's default partition: the one of their month was missing.",
                mend=f"{START_CONSUMERS}; they make the partitions of the coming months",
            )
        )
    if row["shift"]:
        found.append(
            Finding(
                code="clock_shifted",
                severity="info",
                message=f"The store's clock is shifted by {row['shift']:g} s against the machine's.",
                mend="update clock set shift = '0 s', when nothing is being tested any more",
            )
        )
    return found


async def _signing(connection: Connection) -> list[Finding]:
    found = await rows(connection, SIGNING_REFUSED, EXAMPLES)
    if not found:
        return []
    total = found[0]["total"]
    return [
        Finding(
            code="signing_refused",
            severity="critical",
            count=total,
            message=f"Nothing is signed any more for {counted(total, 'client account')}: {found[0]['why']}.",
            mend="`mfo audit verify` says what was changed, and where; keep the database as it is for those who look into it",
            subjects=examples(found, "client_account_id", "why", "seconds"),
        )
    ]


CHECKS: tuple[Check, ...] = (
    _overdue,
    _lapsed,
    _waiting,
    _homeless,
    _timers,
    _schedules,
    _operations,
    _stuck,
    _parked,
    _relay,
    _projections,
    _set_aside,
    _notifications,
    _followers,
    _imports,
    _signing,
    _tables,
)
