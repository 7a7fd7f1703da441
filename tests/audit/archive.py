"""A store with two accounts' histories, signed, and what a test does to it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from domain.auditing.policy import SHIPPED, AuditPolicy
from eventstore.audit.checkpoints import Checkpoint
from eventstore.audit.settings_verify import settings
from eventstore.audit.signer import Round, Signer, note_published, unpublished
from eventstore.audit.signing import SigningKey, trusted
from eventstore.audit.trail import Range, reached
from eventstore.audit.trail_verify import compare
from eventstore.audit.verify import Trouble, Verdict, checkpoints, histories
from eventstore.codec import FIRST_HASH, chain
from projections.audit_trail import Trail
from tests.eventstore.house import House

KEY = SigningKey(bytes(range(32)))
KEYS = trusted([KEY.public_key])


@dataclass
class Archive:
    """A store with two accounts' histories, signed twice; what was published lies elsewhere."""

    house: House
    flows: list[UUID] = field(default_factory=list)
    published: list[Checkpoint] = field(default_factory=list)
    signer: Signer = field(default_factory=lambda: Signer(KEY, {}, "first"))

    async def sign(self, signer: Signer | None = None) -> Round:
        async with self.house.side.pool.connection() as connection:
            done = await (signer or self.signer).round(connection)
            told = await unpublished(connection)
            self.published += [checkpoint for _, _, checkpoint in told]
            await note_published(connection, told)
        assert done is not None
        return done

    async def grow(self, policy: AuditPolicy = SHIPPED) -> int:
        """Bring the audit trail up to the end of both logs; answers how many entries were made."""
        trail, made = Trail(policy, "first"), 0
        async with self.house.side.pool.connection() as connection:
            while done := await trail.round(connection):
                made += done.entries
                if not done.more:
                    return made
        raise AssertionError("somebody else keeps the trail")

    async def compared(self, account: UUID | None = None, flow: UUID | None = None) -> list[Trouble]:
        """What is wrong with the audit trail."""
        found = []
        async with self.house.side.pool.connection() as connection:
            for source, upto in (await reached(connection)).items():
                found += (await compare(connection, source, Range(0, upto, account, flow))).troubles
        return found

    async def verify(self, keys: dict[str, bytes] = KEYS, *, published: bool = False) -> Verdict:
        async with self.house.side.pool.connection() as connection:
            chains = await histories(connection)
            signed = await checkpoints(connection, keys, published=self.published if published else ())
            governed = await settings(connection)
        signed.troubles += governed.troubles + await self.compared()
        signed.flows = chains.flows
        signed.troubles += chains.troubles
        return signed

    async def codes(self, **options: Any) -> set[str]:
        return {trouble.code for trouble in (await self.verify(**options)).troubles}

    async def do(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        return await self.house.rows(statement, *parameters)

    async def rewrite(self, flow_id: UUID) -> None:
        """Make a flow's chain and head consistent again, as somebody can who may write everything."""
        previous = FIRST_HASH
        rows = await self.do(
            "select originator_version, topic, state from stored_events where originator_id = %s order by 1", flow_id
        )
        for version, topic, state in rows:
            previous = chain(previous, flow_id, version, topic, bytes(state))
            await self.do(
                "update stored_events set hash = %s where originator_id = %s and originator_version = %s",
                previous,
                flow_id,
                version,
            )
        await self.do("update heads set hash = %s, version = %s where id = %s", previous, rows[-1][0], flow_id)
