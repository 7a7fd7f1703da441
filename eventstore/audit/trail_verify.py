"""Whether the audit trail says what the command log and history say: its entries made again, and held against those kept."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any
from uuid import UUID

from domain.auditing.policy import SHIPPED, AuditPolicy
from domain.auditing.trail import Entry, Happened, Said, Source
from eventstore.audit.trail import (
    COLUMNS,
    Range,
    comparable,
    digest,
    entries_of,
    happened,
    policies,
    reached,
    said,
)
from eventstore.audit.verify import Trouble, Verdict
from eventstore.database import Connection

CHANGED, MISSING, INSERTED = "audit_event_changed", "audit_event_missing", "audit_event_inserted"
UNEXPLAINED = "removal_unexplained"

KEPT = f"""
select {", ".join(COLUMNS)} from audit_events_v1
where source = %(source)s and place > %(after)s and place <= %(upto)s
  and (%(account)s::uuid is null or client_account_id = %(account)s) and (%(flow)s::uuid is null or flow_id = %(flow)s)
order by place, part
"""
REMOVED = """
select part, policy, hash from audit_events_removed where source = %s and place = %s order by part
"""
# nothing lies before the first place, and nothing comes from elsewhere
# in one statement: what is made meanwhile moves the progress with it
BEYOND = """
select a.source, a.place, a.id, a.client_account_id, a.flow_id from audit_events_v1 a, audit_progress p, followers f
where f.name = 'audit_events' and (%(account)s::uuid is null or a.client_account_id = %(account)s)
  and (%(flow)s::uuid is null or a.flow_id = %(flow)s)
  and (a.source = %(source)s and (
         a.place <= 0 or a.place > case a.source when 'command' then p.commands_upto else f.position end)
       or %(source)s = 'command' and a.source not in ('command', 'event')) limit 100
"""
# whatever retention removes it says so, in a row of the command log that is signed, and never removed itself
SAYS_SO = """
not exists (
    select from command_log c, jsonb_array_elements(convert_from(c.body, 'UTF8')::jsonb -> {name}) as said(place)
    where c.flow_id = '00000000-0000-0000-0000-000000000000' and c.command = 'ApplyAuditRetention' and c.source = 'retention'
      and said.place::bigint = r.{place}{same})
"""
GONE = {
    Source.COMMAND: """
select r.n, r.client_account_id from command_log_removed r
where (%(account)s::uuid is null or r.client_account_id = %(account)s) and
"""
    + SAYS_SO.format(name="'commands'", place="n", same=" and c.client_account_id = r.client_account_id")
    + " order by 1 limit 100",
    Source.EVENT: """
select distinct r.place, h.client_account_id from audit_events_removed r
join stored_events e on e.notification_id = r.place join heads h on h.id = e.originator_id
where (%(account)s::uuid is null or h.client_account_id = %(account)s) and
"""
    + SAYS_SO.format(name="'events'", place="place", same=" and c.client_account_id = h.client_account_id")
    + " order by 1 limit 100",
}

Origin = Said | Happened
Row = tuple[Any, ...]


async def compare(connection: Connection, source: str, part: Range) -> Verdict:
    """The entries of a part of one log, as far as the trail has come. What retention removed must have been what it was."""
    verdict = Verdict()
    async with connection.transaction():
        await connection.execute("set transaction isolation level repeatable read read only")
        known = await policies(connection)
        upto = min(part.upto, (await reached(connection))[source])
        after = part.after
        async for origins in _origins(connection, source, part._replace(upto=upto)):
            last = _place(origins[-1][0])
            await _hold(
                connection, source, part._replace(after=after, upto=last), origins, known=known, verdict=verdict
            )
            after = last
        await _hold(connection, source, part._replace(after=after, upto=upto), [], known=known, verdict=verdict)
        if part.after == 0:
            await _strange(connection, source, part, verdict)
    return verdict


async def _strange(connection: Connection, source: str, part: Range, verdict: Verdict) -> None:
    """Entries outside of what is compared, and removals that retention does not know of."""
    asked = {"source": source, "account": part.account, "flow": part.flow}
    for named, place, entry, account, flow in await (await connection.execute(BEYOND, asked)).fetchall():
        message = (
            f"audit event {entry}: it names {named} {place}, up to which the trail has not come, or which cannot be"
        )
        _add(verdict, INSERTED, message, account, flow)
    if part.flow is not None:
        # what is left of what was removed does not say of which flow it was
        return
    for place, account in await (await connection.execute(GONE[Source(source)].encode(), asked)).fetchall():
        message = f"{source} {place}: said to have been removed by retention, which does not say so in the command log"
        _add(verdict, UNEXPLAINED, message, account, None)


async def _origins(connection: Connection, source: str, part: Range) -> AsyncIterator[list[tuple[Origin, bool]]]:
    """Each with whether it was for another tenant's flow."""
    if source == Source.COMMAND:
        async for some in said(connection, part):
            yield [(one, foreign) for one, foreign in some]
    else:
        async for events in happened(connection, part):
            if events:
                yield [(one, False) for one in events]


async def _hold(
    connection: Connection,
    source: str,
    part: Range,
    origins: Sequence[tuple[Origin, bool]],
    *,
    known: Mapping[int, AuditPolicy],
    verdict: Verdict,
) -> None:
    """Hold the entries kept of a stretch against those that follow from its origins."""
    cursor = await connection.execute(KEPT, {**part._asdict(), "source": source}, binary=True)
    kept: dict[int, dict[int, Row]] = {}
    for row in await cursor.fetchall():
        verdict.audit_events += 1
        if kept.setdefault(row[1], {}).setdefault(row[2], row) is not row:
            _inserted(source, row, verdict)
    for origin, foreign in origins:
        there = kept.pop(_place(origin), {})
        if there:
            policy = known.get(next(iter(there.values()))[-1])
            made = {one.part: one for one in entries_of(origin, policy or SHIPPED, foreign=foreign)}
            _differ(source, made, there, verdict)
        else:
            await _gone(connection, origin, known, verdict, foreign=foreign)
    for rows in kept.values():
        for row in rows.values():
            _inserted(source, row, verdict)


def _differ(source: str, made: Mapping[int, Entry], there: Mapping[int, Row], verdict: Verdict) -> None:
    for number in sorted(made.keys() | there.keys()):
        if number not in there:
            _missing(made[number], verdict)
        elif number not in made:
            _inserted(source, there[number], verdict)
        else:
            entry, row = made[number], there[number]
            if tuple(entry) == row[:-1]:
                continue
            wanted, got = comparable(entry), comparable(row[:-1])
            names = [name for name, one, other in zip(Entry._fields, wanted, got, strict=True) if one != other]
            if names:
                message = (
                    f"audit event {entry.id} ({entry.operation}, {entry.at.isoformat()}): changed in {', '.join(names)}"
                )
                _add(verdict, CHANGED, message, entry.client_account_id, entry.flow_id, version=entry.version)


async def _gone(
    connection: Connection, origin: Origin, known: Mapping[int, AuditPolicy], verdict: Verdict, *, foreign: bool
) -> None:
    """There is no entry of this: either nothing is said of it, or retention removed what was, and its hash fits."""
    made = entries_of(origin, SHIPPED, foreign=foreign)
    if not made:
        return
    cursor = await connection.execute(REMOVED, (made[0].source, made[0].place))
    left = {row[0]: (row[1], bytes(row[2])) for row in await cursor.fetchall()}
    if not left:
        for entry in made:
            _missing(entry, verdict)
        return
    policy = known.get(next(iter(left.values()))[0]) or SHIPPED
    for entry in entries_of(origin, policy, foreign=foreign):
        if entry.part not in left:
            _missing(entry, verdict)
        elif left[entry.part][1] != digest(entry):
            message = f"audit event {entry.id} ({entry.operation}), removed by retention: its hash is another"
            _add(verdict, CHANGED, message, entry.client_account_id, entry.flow_id, version=entry.version)


def _missing(entry: Entry, verdict: Verdict) -> None:
    message = f"audit event {entry.id}: missing, though {entry.source} {entry.place} ({entry.operation}) is there"
    _add(verdict, MISSING, message, entry.client_account_id, entry.flow_id, version=entry.version)


def _inserted(source: str, row: Row, verdict: Verdict) -> None:
    entry = Entry(*row[:-1])
    message = f"audit event {entry.id} ({entry.operation}): nothing in the store brought it about; it names {source} {entry.place}"
    _add(verdict, INSERTED, message, entry.client_account_id, entry.flow_id, version=entry.version)


def _add(
    verdict: Verdict, code: str, message: str, account: UUID, flow: UUID | None, *, version: int | None = None
) -> None:
    verdict.troubles.append(
        Trouble(code=code, message=message, client_account_id=account, flow_id=flow, version=version)
    )


def _place(origin: Origin) -> int:
    return origin.n if isinstance(origin, Said) else origin.position
