"""Whether what a checkpoint holds is still there: its history, its hash, and the artifacts that it names."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from uuid import UUID

import psycopg
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from domain.deciding.story import state_sha256
from domain.deciding.targets import BEGINNING, Target, targets
from domain.flow import Checkpoint, Flow
from domain.preview import references, state_of
from domain.words import counted
from eventstore.artifacts import PART_BYTES
from eventstore.database import Connection
from eventstore.store import Store

# one that has lost a part is as lost as one that is gone
MISSING = f"""
select encode(w.sha256, 'hex') from unnest(%s::bytea[]) as w (sha256)
left join artifacts a on a.client_account_id = %s and a.sha256 = w.sha256
where a.sha256 is null or a.size_bytes > {PART_BYTES}::bigint * (
    select count(*) from artifact_parts p where p.client_account_id = a.client_account_id and p.sha256 = a.sha256
)
"""


class Checkpoints:
    """The points that flows can go back to, looked at closely."""

    def __init__(self, store: Store, pool: AsyncConnectionPool[Connection]) -> None:
        self._store = store
        self._pool = pool

    async def fault(self, flow_id: UUID, point: Checkpoint) -> str | None:
        """Why the checkpoint cannot be gone back to, in a sentence; none where its history, replayed up to it, has its hash
        and all artifacts are there. Raises what psycopg raises."""
        try:
            then = await self._store.flow(flow_id, upto=point.version)
        except (psycopg.Error, PoolTimeout, OSError):
            raise
        # whatever an event that cannot be read causes
        except Exception as error:
            return f"the history up to version {point.version} cannot be read: {type(error).__name__}"
        if state_sha256(then) != point.state_sha256:
            return f"the history up to version {point.version} does not have the hash that was recorded with it"
        lost = await self.lost(then)
        return f"it names {counted(len(lost), 'artifact')} not there any more, such as {lost[0]}" if lost else None

    async def lost(self, flow: Flow) -> list[str]:
        """The artifacts that the flow's state names and that are not there, whole, by SHA-256 in hex."""
        async with self._pool.connection() as connection:
            return await lost(connection, flow)

    async def last_good(self, flow: Flow, but: Collection[UUID] = ()) -> Target | None:
        """The newest state without a fault that the flow can go back to, other than those at the checkpoints `but` (the
        beginning: the flow's id); none where there is none."""
        for target in targets(flow):
            if (target.checkpoint.checkpoint_id if target.checkpoint is not None else flow.id) in but:
                continue
            if target.checkpoint is None:
                then = await self._store.flow(flow.id, upto=target.version)
                return None if await self.lost(then) else BEGINNING
            if await self.fault(flow.id, target.checkpoint) is None:
                return target
        return None


async def lost(connection: Connection, flow: Flow) -> list[str]:
    """As `Checkpoints.lost`, on a given connection."""
    named = {sha256 for sha256, _ in references(state_of(flow))}
    return await _missing(connection, flow.client_account_id, named) if named else []


async def _missing(connection: Connection, account: UUID | None, named: Iterable[str]) -> list[str]:
    cursor = await connection.execute(MISSING, (sorted(map(bytes.fromhex, named)), account))
    return [row[0] for row in await cursor.fetchall()]
