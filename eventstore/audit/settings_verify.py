"""Whether what governs the audit trail is what somebody asked for: what it is made under, how long it is kept, and what is held.

Those lie in tables that nobody signs; but each change of them is a row of the command log, which checkpoints cover and retention
never removes. They are replayed, and held against the tables, and against what retention did under them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from domain.auditing.trail import NOBODY
from eventstore.audit.trail import ADOPTED
from eventstore.audit.trail_verify import UNEXPLAINED
from eventstore.audit.verify import Trouble, Verdict
from eventstore.database import Connection

Json = dict[str, Any]

POLICY, RETENTION, HOLD = "audit_policy_changed", "audit_retention_changed", "legal_hold_changed"

SAID = """
select n, client_account_id, engagement_id, user_id, command, flow_id, body from command_log
where command = any(%(commands)s) and outcome = 'accepted'
  and (%(account)s::uuid is null or client_account_id = %(account)s) order by n
"""
POLICIES = "select id, document from audit_policies"
KEPT = """
select client_account_id, category, keep_days, set_by from audit_retention
where %(account)s::uuid is null or client_account_id = %(account)s
"""
HELD = """
select id, client_account_id, engagement_id, flow_id, reason, placed_by, released_by, released_at is not null from audit_holds
where %(account)s::uuid is null or client_account_id = %(account)s
"""
APPLIED = "ApplyAuditRetention"
COMMANDS = [ADOPTED, "SetAuditRetention", "PlaceLegalHold", "ReleaseLegalHold", APPLIED]


class Rule(NamedTuple):
    """How many days entries of a category are kept, and who said so."""

    keep_days: int
    set_by: str


class Held(NamedTuple):
    """A hold as its table has it."""

    client_account_id: UUID
    engagement_id: UUID
    flow_id: UUID | None
    reason: str
    placed_by: str
    released_by: str | None = None
    released: bool = False


class _Said:
    """What the command log adds up to."""

    def __init__(self) -> None:
        self.policies: dict[int, str] = {}
        self.rules: dict[tuple[UUID, str], Rule] = {}
        self.holds: dict[UUID, Held] = {}


async def settings(connection: Connection, *, account: UUID | None = None) -> Verdict:
    """Hold the tables against the command log; what an account does not own, the policies, only where none is named."""
    verdict, said, asked = Verdict(), _Said(), {"account": account}
    async with connection.transaction():
        await connection.execute("set transaction isolation level repeatable read read only")
        async with connection.cursor("settings") as cursor:
            await cursor.execute(SAID, {**asked, "commands": COMMANDS})
            async for n, owner, engagement, user, command, flow, body in cursor:
                whose = Held(owner, engagement, None if flow == NOBODY else flow, "", user)
                done = msgspec.json.decode(bytes(body or b"{}"))
                if command == APPLIED:
                    verdict.troubles += _not_allowed(said, n, whose, done)
                else:
                    _follow(said, command, whose, done)
        rules = await (await connection.execute(KEPT, asked)).fetchall()
        holds = await (await connection.execute(HELD, asked)).fetchall()
        policies = await (await connection.execute(POLICIES)).fetchall()
    for (owner, category), wanted, found in _differing(said.rules, {(row[0], row[1]): Rule(*row[2:]) for row in rules}):
        message = f"account {owner}: entries of {category} are {_days(found)}; the command log says {_days(wanted)}"
        verdict.troubles.append(Trouble(code=RETENTION, message=message, client_account_id=owner))
    for hold, placed, there in _differing(said.holds, {row[0]: Held(*row[1:]) for row in holds}):
        known = placed or there
        verdict.troubles.append(
            Trouble(
                code=HOLD,
                message=f"the legal hold {hold} {_what(placed, there)}",
                client_account_id=known.client_account_id if known else None,
                flow_id=known.flow_id if known else None,
            )
        )
    if account is None:
        for number, noted, document in _differing(said.policies, dict(policies)):
            what = "is not there any more" if document is None else "was made up" if noted is None else "was changed"
            message = (
                f"the audit policy {number} {what}: the command log says something else of what entries are made under"
            )
            verdict.troubles.append(Trouble(code=POLICY, message=message))
    return verdict


def _follow(said: _Said, command: str, whose: Held, body: Json) -> None:
    owner = whose.client_account_id
    match command:
        case "SetAuditRetention" if body["keep_days"] is None:
            said.rules.pop((owner, body["category"]), None)
        case "SetAuditRetention":
            said.rules[owner, body["category"]] = Rule(body["keep_days"], whose.placed_by)
        case "PlaceLegalHold":
            said.holds[UUID(body["hold_id"])] = whose._replace(reason=body["reason"])
        case "ReleaseLegalHold":
            hold = UUID(body["hold_id"])
            if hold in said.holds:
                said.holds[hold] = said.holds[hold]._replace(released_by=whose.placed_by, released=True)
        case _:
            said.policies[body["id"]] = body["document"]


def _not_allowed(said: _Said, n: int, whose: Held, body: Json) -> list[Trouble]:
    """What retention removed must have been allowed by what had been said by then."""
    days = {
        category: rule.keep_days for (owner, category), rule in said.rules.items() if owner == whose.client_account_id
    }
    wrong = [f"entries of {category}, which are kept for ever" for category in body["removed"] if category not in days]
    wrong += [
        f"entries of the engagement {hold.engagement_id}, which is held"
        for hold in said.holds.values()
        if (hold.client_account_id, hold.engagement_id, hold.flow_id, hold.released) == (*whose[:2], None, False)
    ]
    if days and body["keep_days"] != min(days.values()):
        wrong.append(f"what is older than {body['keep_days']} days, where {min(days.values())} are said to be kept")
    return [
        Trouble(
            code=UNEXPLAINED,
            message=f"command {n}: retention removed {what}; the command log does not say that it may",
            client_account_id=whose.client_account_id,
        )
        for what in wrong
    ]


def _differing(wanted: Mapping[Any, Any], found: Mapping[Any, Any]) -> list[tuple[Any, Any, Any]]:
    return [
        (key, wanted.get(key), found.get(key))
        for key in sorted({*wanted, *found}, key=str)
        if wanted.get(key) != found.get(key)
    ]


def _days(rule: Rule | None) -> str:
    return "kept for ever" if rule is None else f"kept for {rule.keep_days} days by {rule.set_by}"


def _what(wanted: Held | None, found: Held | None) -> str:
    if found is None:
        return "is not there any more, though the command log says that it was placed"
    if wanted is None:
        return "was made up: the command log does not say that it was placed"
    names = [name for name, one, other in zip(Held._fields, wanted, found, strict=True) if one != other]
    return f"was changed in {', '.join(names)}: the command log says something else"
