"""What somebody did beside the flows, kept in the command log under its own command id: accepted once, or refused."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from domain.commands import Envelope
from domain.errors import KeyReused, MfoError
from eventstore.committer import ACCEPTED, REFUSED
from eventstore.database import Connection

Json = dict[str, Any]

TAKE = """
insert into command_ids (client_account_id, engagement_id, command_id, body_hash, outcome, flow_id, version, error, at)
values (%s, %s, %s, %s, %s, %s, 0, %s, mfo_now()) on conflict do nothing returning at
"""
TAKEN = """
select body_hash, flow_id, error, mfo_now() - at < make_interval(secs => %s) from command_ids
where (client_account_id, engagement_id, command_id) = (%s, %s, %s)
"""
LOG = """
insert into command_log (at, client_account_id, engagement_id, user_id, command_id, command, flow_id, source, outcome, version,
                         error, correlation_id, causation_id, ip_address, user_agent, body)
values (%s, %s, %s, %s, %s, %s, %s, %s, %s, 0, %s, %s, %s, %s, %s, %s)
"""
# whoever appends to the command log holds the store's lock, so that its numbers follow the order of commits
ALONE = "select pg_advisory_xact_lock(hashtext(current_schema()), 1)"
FRESH_SECONDS = 600.0


class Act(NamedTuple):
    """What is asked: its name, what it is about, and its body, which holds nothing that must not be kept."""

    name: str
    subject: UUID
    body: Json


class Before(NamedTuple):
    """That the same was asked under this id before, and of what; `fresh`: in the last ten minutes."""

    subject: UUID
    fresh: bool


class RefusedBefore(MfoError):
    """This was asked under the same id before, and refused; `error` is the refusal, as it was answered then."""

    code = "refused_before"

    def __init__(self, error: Json) -> None:
        super().__init__(str(error["detail"]))
        self.error = error


async def keep(connection: Connection, envelope: Envelope, act: Act, refusal: MfoError | None = None) -> Before | None:
    """Keep an act and its outcome, in the caller's transaction; none where it is new, so that it is to be done.

    Raises KeyReused where the id was used for something else, and RefusedBefore with the first refusal.
    """
    key = (envelope.client_account_id, envelope.engagement_id, envelope.command_id)
    body = msgspec.json.encode(act.body, order="sorted")
    body_hash = hashlib.sha256(msgspec.json.encode([act.name, act.subject]) + body).digest()
    outcome = ACCEPTED if refusal is None else REFUSED
    error = msgspec.json.encode(refusal.as_dict()).decode() if refusal is not None else None
    await connection.execute(ALONE)
    cursor = await connection.execute(TAKE, (*key, body_hash, outcome, act.subject, error))
    row = await cursor.fetchone()
    if row is None:
        return await _before(connection, key, body_hash)
    at: datetime = row[0]
    about = (envelope.source, outcome, error, envelope.correlation_id, envelope.causation_id)
    whose = (envelope.client_account_id, envelope.engagement_id, envelope.user_id, envelope.command_id)
    where = (envelope.ip_address, envelope.user_agent)
    await connection.execute(LOG, (at, *whose, act.name, act.subject, *about, *where, body))
    return None


async def _before(connection: Connection, key: tuple[UUID, UUID, str], body_hash: bytes) -> Before:
    row = await (await connection.execute(TAKEN, (FRESH_SECONDS, *key))).fetchone()
    if row is None or bytes(row[0]) != body_hash:
        raise KeyReused
    if row[2] is not None:
        raise RefusedBefore(msgspec.json.decode(row[2]))
    return Before(row[1], bool(row[3]))
