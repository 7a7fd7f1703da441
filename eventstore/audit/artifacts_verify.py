"""Whether what events name by its SHA-256 is there, and is what it was: artifacts read part by part."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import NamedTuple
from uuid import UUID

import msgspec

from domain.preview import references
from eventstore.audit.verify import ALL_FLOWS, NO_FLOW, Trouble, Verdict
from eventstore.codec import plain, split
from eventstore.database import Connection

EVENTS = """
select originator_id, originator_version, state from stored_events
where originator_id >= %(first)s and originator_id <= %(last)s
  and (%(account)s::uuid is null or originator_id in (select id from heads where client_account_id = %(account)s))
order by originator_id, originator_version
"""
SIZE = "select size_bytes from artifacts where (client_account_id, sha256) = (%s, %s)"
PARTS = "select n, data from artifact_parts where (client_account_id, sha256) = (%s, %s) order by n"
FETCH = 5000
# of 1 MiB each
PARTS_AT_ONCE = 4
# whoever names an artifact writes so, spilled values too
MARK = b'artifact"'


class Named(NamedTuple):
    """Where an artifact is named first."""

    flow_id: UUID
    version: int


async def artifacts(
    connection: Connection, *, account: UUID | None = None, first: UUID = NO_FLOW, last: UUID = ALL_FLOWS
) -> Verdict:
    """Every artifact that the events of the flows from one id to another name, read once; at most 4 MiB are held at a time."""
    verdict = Verdict()
    for (owner, sha256), where in (await _named(connection, account, first, last)).items():
        verdict.artifacts += 1
        found = await _looked_at(connection, owner, sha256)
        if found is not None:
            code, what = found
            message = f"artifact {sha256}, which flow {where.flow_id}, version {where.version} names: {what}"
            verdict.troubles.append(
                Trouble(
                    code=code,
                    message=message,
                    client_account_id=owner,
                    flow_id=where.flow_id,
                    version=where.version,
                )
            )
    return verdict


async def _named(
    connection: Connection, account: UUID | None, first: UUID, last: UUID
) -> Mapping[tuple[UUID, str], Named]:
    named: dict[tuple[UUID, str], Named] = {}
    which = {"account": account, "first": first, "last": last}
    async with connection.transaction(), connection.cursor("naming", binary=True) as cursor:
        cursor.itersize = FETCH
        await cursor.execute(EVENTS, which)
        async for flow_id, version, state in cursor:
            if MARK not in plain(bytes(state)):
                continue
            meta, data = split(bytes(state))
            for sha256, _ in references(msgspec.json.decode(data)):
                named.setdefault((meta.client_account_id, sha256), Named(flow_id, version))
    return named


async def _looked_at(connection: Connection, account: UUID, sha256: str) -> tuple[str, str] | None:
    """What is wrong with an artifact, as code and words."""
    key = (account, bytes.fromhex(sha256))
    row = await (await connection.execute(SIZE, key)).fetchone()
    if row is None:
        return "artifact_missing", "it is not there"
    hasher, size, following = hashlib.sha256(), 0, 0
    async with connection.transaction(), connection.cursor("parts", binary=True) as cursor:
        cursor.itersize = PARTS_AT_ONCE
        await cursor.execute(PARTS, key)
        async for n, data in cursor:
            if n != following:
                return "artifact_missing", f"its part {following} is not there"
            hasher.update(data)
            size, following = size + len(data), n + 1
    if size < row[0]:
        return "artifact_missing", f"{size} of {row[0]} bytes are there"
    if hasher.hexdigest() != sha256:
        return "artifact_changed", "its bytes are not those that it was kept with"
    return None
