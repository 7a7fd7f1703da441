"""The standing pauses as a process that makes flows knows them: remembered from the last look, and checked by the append."""

from __future__ import annotations

from typing import NamedTuple
from uuid import UUID

import msgspec

from domain.fleet.subjects import StandingPause
from eventstore.database import Connection
from eventstore.store import APPEND

Tenant = tuple[UUID | None, UUID | None]

# what makes flows counts only while the standing pauses are those it was decided with: without a row of `s` nothing is appended
APPEND_AS_OF = "select a.* from standing_as_of(%b::bigint) s(zero) cross join lateral " + APPEND.removeprefix(
    "select * from "
).replace("%b::float8)", "%b::float8 + s.zero) a")
ALL = """
select (select number from standing), s.snapshot
from (select) one left join standing_pauses s on s.state = 'active' order by s.created_at, s.id
"""

_snapshots = msgspec.json.Decoder(StandingPause)


class Standing(NamedTuple):
    """The standing pauses of every tenant, the oldest first, and the number that they have together."""

    number: int
    pauses: dict[Tenant, tuple[StandingPause, ...]]


async def standing(connection: Connection) -> Standing:
    """The standing pauses there are now."""
    rows = await (await connection.execute(ALL, binary=True)).fetchall()
    pauses: dict[Tenant, tuple[StandingPause, ...]] = {}
    for _, snapshot in rows:
        if snapshot is not None:
            pause = _snapshots.decode(snapshot)
            tenant = (pause.client_account_id, pause.engagement_id)
            pauses[tenant] = (*pauses.get(tenant, ()), pause)
    return Standing(int(rows[0][0]), pauses)
