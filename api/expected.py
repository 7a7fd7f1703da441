"""When a flow should end: by the median of what each phase that is left took in the tenant's last flows of the type."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from datetime import datetime, timedelta
from time import monotonic
from typing import TYPE_CHECKING, Any
from uuid import UUID

from psycopg import sql

from api.rows import FLOWS, Row
from domain.errors import RegistrationError
from domain.flow import DONE
from domain.words import Status

if TYPE_CHECKING:
    from api.asking import Caller

LOOKED_AT = 200
ENOUGH = 3
KEPT_SECONDS = 30.0
KEPT = 2000
# the newest first; what was read once serves for half a minute
MEDIANS = sql.SQL(
    """
    select phase.key as name, count(*) as n,
           percentile_cont(0.5) within group (order by (phase.value ->> 'execution_time_ms')::float8) / 1000 as seconds
    from (
        select phase_execution_times from {flows}
        where client_account_id = %(client)s and engagement_id = %(engagement)s
          and flow_type = %(flow_type)s and flow_status = 'completed'
        order by created_at desc limit %(most)s
    ) done, jsonb_each(done.phase_execution_times) phase
    group by phase.key
    """
).format(flows=sql.Identifier(FLOWS))

Key = tuple[UUID, UUID, str]


class Medians:
    """Seconds that phases took, by client account, engagement and flow type; held for half a minute."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Key, tuple[float, Mapping[str, float]]] = OrderedDict()

    async def of(self, asking: Caller, flow_type: str) -> Mapping[str, float]:
        """The median of each phase that at least three of the last 200 completed flows have gone through."""
        key = (asking.tenant.client_account_id, asking.tenant.engagement_id, flow_type)
        kept = self._kept.get(key)
        if kept is not None and monotonic() - kept[0] < KEPT_SECONDS:
            return kept[1]
        rows = await asking.rows.asked(MEDIANS, {"flow_type": flow_type, "most": LOOKED_AT})
        found = {row["name"]: float(row["seconds"]) for row in rows if row["n"] >= ENOUGH}
        self._kept[key] = (monotonic(), found)
        self._kept.move_to_end(key)
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return found


async def estimated_completion(asking: Caller, row: Row) -> datetime | None:
    """When the flow of a row should end, by the store's clock; none where nothing is under way.

    Of a phase that nothing is known of, the type's own expectation counts.
    """
    if row["flow_status"] != Status.PROCESSING:
        return None
    medians = await asking.service.medians.of(asking, row["flow_type"])
    now = asking.side.committer.now()
    left = 0.0
    for phase in row["phases"]:
        if phase["status"] in DONE:
            continue
        seconds = medians.get(phase["name"])
        if seconds is None:
            seconds = _expected(asking, row, phase["name"])
        if phase["name"] == row["current_phase"] and phase["started_at"]:
            seconds = max(0.0, seconds - (now - datetime.fromisoformat(phase["started_at"])).total_seconds())
        left += seconds
    return now + timedelta(seconds=left)


def _expected(asking: Caller, row: Row, phase: Any) -> float:
    try:
        return asking.side.types.version(row["flow_type"], row["flow_version"]).phase(phase).expected_seconds
    except RegistrationError:
        return 0.0
