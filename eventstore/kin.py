"""Other flows than the one that is asked, kept in memory and brought up to date by what has happened since."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from uuid import UUID

from domain.flow import Flow, evolve
from domain.schedules.events import SCHEDULE_PREFIX
from eventstore.codec import decode
from eventstore.database import Connection

KEPT = 256
SINCE = """
select e.originator_id, e.originator_version, e.topic, e.state from unnest(%b::uuid[], %b::bigint[]) as k (id, version)
join stored_events e on e.originator_id = k.id and e.originator_version > k.version
where e.notification_id <= coalesce(%b::bigint, e.notification_id)
order by e.originator_id, e.originator_version
"""


class Kin:
    """Flows as last seen, the newest of them kept: a parent is asked for with each of its children."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._flows: OrderedDict[UUID, Flow] = OrderedDict()

    async def load(
        self, connection: Connection, flow_ids: Iterable[UUID], until: int | None = None
    ) -> dict[UUID, Flow]:
        """The flows with these ids as they stand now, or stood at the place `until` of the log, where that never falls from
        call to call; at version 0 where there is none. Raises what reading them raises."""
        found = {flow_id: self._flows.pop(flow_id, Flow(id=flow_id)) for flow_id in flow_ids}
        known = [flow.version for flow in found.values()]
        cursor = await connection.execute(SINCE, (list(found), known, until), binary=True)
        for flow_id, version, topic, state in await cursor.fetchall():
            # a schedule may have the id
            if not topic.startswith(SCHEDULE_PREFIX):
                found[flow_id] = evolve(found[flow_id], decode(flow_id, version, topic, state))
        for flow_id, flow in found.items():
            if flow.exists:
                self._flows[flow_id] = flow
        while len(self._flows) > self._kept:
            self._flows.popitem(last=False)
        return found
