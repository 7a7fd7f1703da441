"""How queued runs are shared out: what a process offers, what it has used, what it is given, and who still waits.

A free place goes to the tenant that holds the fewest, then to the one that has used the fewest running seconds lately; inside
a tenant by priority, then by age. The statements are in `sql/running.sql`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID

from psycopg_pool import AsyncConnectionPool

from domain.flow import Flow
from eventstore.arrays import floats, ints, texts, uuids
from eventstore.database import Connection
from eventstore.runs import RunRow
from eventstore.store import LEASE_SECONDS

Owner = tuple[UUID, UUID]
"""A tenant: client account and engagement."""

CLAIM = """
select exclusive, id, flow_id, client_account_id, engagement_id, phase_name, token, priority, waits_for
from claim_runs(%b::text, %b::text[], %b::text[], %b::int[], %b::int[], %b::int, %b::text[], %b::int[],
                %b::uuid[], %b::uuid[], %b::bool[], %b::float8[], %b::float8)
"""


def kind(flow_type: str, flow_version: str, phase_name: str) -> str:
    """What a run asks of the process that does it."""
    return f"{flow_type}/{flow_version}/{phase_name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What a process can run, by `kind`, in places of their own and in shared ones; and the limits it keeps to.

    `tenant_runs`: most runs that one tenant may have in hand, over all processes; `type_runs`: the same by flow type.
    """

    owner: str
    exclusive: Sequence[str] = ()
    shared: Sequence[str] = ()
    exclusive_places: int = 0
    shared_places: int = 0
    tenant_runs: int | None = None
    type_runs: Mapping[str, int] = field(default_factory=dict)

    def limits(self, flow_type: str) -> bool:
        """Whether a limit holds for runs of flows of this type."""
        return self.tenant_runs is not None or flow_type in self.type_runs


class Spent(NamedTuple):
    """Running seconds of a tenant since they were told last."""

    tenant: Owner
    exclusive: bool
    seconds: float


class Waiting(NamedTuple):
    """A tenant with a run in the queue, and the best priority there. `flow_type`: it waits for that type's limit."""

    tenant: Owner
    priority: int
    flow_type: str | None


class Claimed(NamedTuple):
    """Runs claimed for one sort of places, and some of the tenants that still wait: two at least where there are two."""

    runs: list[RunRow]
    waiting: list[Waiting]

    def should_go_before(self, flow: Flow) -> bool:
        """Whether a place, and what the limits allow, should rather go to somebody else in the queue than to this flow."""
        tenant = (flow.client_account_id, flow.engagement_id)
        return any(
            one.flow_type in (None, flow.flow_type) and (one.tenant != tenant or one.priority < flow.priority)
            for one in self.waiting
        )


class Claims:
    """The queue as the processes that run phases see it."""

    def __init__(self, pool: AsyncConnectionPool[Connection]) -> None:
        self.pool = pool

    async def claim(
        self, offer: Offer, *, exclusive: int, shared: int, spent: Sequence[Spent] = ()
    ) -> tuple[Claimed, Claimed]:
        """Take queued runs for so many exclusive and shared places, whoever's turn it is, and tell who still waits for either.

        A run keeps the token it was born with. `spent` counts in the order of those turns.
        """
        parameters = (
            *(offer.owner, texts(offer.exclusive), texts(offer.shared)),
            *(ints([offer.exclusive_places, offer.shared_places]), ints([exclusive, shared]), offer.tenant_runs),
            *(texts(offer.type_runs), ints(offer.type_runs.values())),
            *(uuids(one.tenant[0] for one in spent), uuids(one.tenant[1] for one in spent)),
            *([one.exclusive for one in spent], floats(one.seconds for one in spent), LEASE_SECONDS),
        )
        lanes = {True: Claimed([], []), False: Claimed([], [])}
        async with self.pool.connection() as connection:
            cursor = await connection.execute(CLAIM, parameters, binary=True)
            rows = await cursor.fetchall()
        for lane, run_id, flow_id, client, engagement, phase_name, token, priority, flow_type in rows:
            if run_id is None:
                lanes[lane].waiting.append(Waiting((client, engagement), priority, flow_type))
            else:
                lanes[lane].runs.append(RunRow(run_id, flow_id, client, engagement, phase_name, token))
        return lanes[True], lanes[False]

    async def definitions(self) -> int:
        """How many definitions of flow types the store knows."""
        async with self.pool.connection() as connection:
            row = await (await connection.execute("select count(*) from flow_types")).fetchone()
        assert row is not None
        return int(row[0])
