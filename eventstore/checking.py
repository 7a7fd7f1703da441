"""Which flows under way could go on by another version of their type: each is replayed, and asked."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

import msgspec
from psycopg import sql

from domain.commands import Tenant
from domain.deciding.story import OVER
from domain.flow import DONE, Flow, Phase
from domain.flow_types import FlowTypeConfig, FlowTypes
from domain.migration import Names, Obstacle, obstacles, plan, undone, wrong_names
from eventstore.database import Connection
from eventstore.offering import lacking, names_of
from eventstore.store import load

AT_ONCE = 50
"""Flows replayed between two looks at what else is to be done."""

LIVE = sql.SQL(
    "select flow_id from crewai_flow_state_extensions where flow_type = %(type)s and flow_id > %(after)s"
    " and flow_status not in ('completed', 'cancelled', 'deleted')"
)
OF_TENANT = sql.SQL(" and client_account_id = %(client)s and engagement_id = %(engagement)s")
AMONG = sql.SQL(" and flow_id = any(%(among)s::uuid[])")
PAGE = sql.SQL(" order by flow_id limit %(limit)s")

Outcome = Literal["safe", "waits", "breaks", "there"]


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What would become of one flow.

    `outcome`: it could go on (`safe`), would stand still until somebody does something (`waits`), could not go on (`breaks`),
    or has that version already (`there`). `running`: a phase is under way, which has to end first.
    """

    flow_id: UUID
    outcome: Outcome
    flow_name: str | None = None
    client_account_id: UUID | None = None
    engagement_id: UUID | None = None
    status: str | None = None
    version: int = 0
    from_version: str | None = None
    phase: str | None = None
    running: bool = False
    paused_for: str | None = None
    obstacles: list[Obstacle] = []


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Whether flows of a type could go on by `new`, their phases named as `mapping` says.

    `processes` are the names that each running process is known to have. `tenant` none: everybody's flows. `back`: the flows
    that came from `new`, by the migration that brought them here the other way round.
    """

    new: FlowTypeConfig
    types: FlowTypes
    mapping: Names
    processes: Sequence[Collection[str]]
    tenant: Tenant | None
    back: bool = False

    async def live(
        self, connection: Connection, *, after: UUID | None, limit: int, among: Sequence[UUID] | None = None
    ) -> list[UUID]:
        """The next flows that are not over, by id, as far as the read model knows; of those `among`, where given."""
        values = {
            "type": self.new.name,
            "after": after or UUID(int=0),
            "limit": limit,
            "among": list(among or ()),
            "client": self.tenant.client_account_id if self.tenant else None,
            "engagement": self.tenant.engagement_id if self.tenant else None,
        }
        narrowed = [OF_TENANT] if self.tenant else []
        statement = sql.SQL("").join([LIVE, *narrowed, *([AMONG] if among is not None else []), PAGE])
        return [row[0] for row in await (await connection.execute(statement, values)).fetchall()]

    async def verdicts(self, connection: Connection, flow_ids: Sequence[UUID]) -> list[Verdict]:
        """What would become of these flows; those that are over by now, or of another type, are left out.

        Raises RegistrationError for a flow whose own definition `types` does not know.
        """
        found: list[Verdict] = []
        for start in range(0, len(flow_ids), AT_ONCE):
            broken: dict[UUID, Exception] = {}
            for flow_id, loaded in (await load(connection, flow_ids[start : start + AT_ONCE], broken)).items():
                flow = loaded.flow
                if flow_id in broken:
                    found.append(_unreadable(flow_id, broken[flow_id]))
                elif flow.flow_type == self.new.name and flow.status not in OVER and self._concerns(flow):
                    found.append(self._verdict(flow))
        return found

    def _concerns(self, flow: Flow) -> bool:
        if not self.back or flow.flow_version == self.new.version:
            return True
        return bool(flow.moves) and flow.moves[-1].from_version == self.new.version

    def _way(self, flow: Flow) -> tuple[Names, dict[str, Phase]]:
        return undone(flow, flow.moves[-1]) if self.back else (self.mapping, {})

    def _verdict(self, flow: Flow) -> Verdict:
        outcome: Outcome = "there"
        against: list[Obstacle] = []
        if flow.flow_version != self.new.version:
            against, outcome = list(self._against(flow)), "breaks"
            if not against:
                against, outcome = list(self._unable(flow)), "waits"
            if not against:
                outcome = "safe"
        return Verdict(
            flow_id=flow.id,
            flow_name=flow.flow_name,
            client_account_id=flow.client_account_id,
            engagement_id=flow.engagement_id,
            status=str(flow.status),
            version=flow.version,
            from_version=flow.flow_version,
            phase=flow.current_phase,
            running=bool(flow.runs),
            paused_for=flow.paused.reason if flow.paused is not None else None,
            outcome=outcome,
            obstacles=against,
        )

    def _against(self, flow: Flow) -> Iterator[Obstacle]:
        mapping, restored = self._way(flow)
        wrong = wrong_names(flow, self.new, mapping)
        if not wrong:
            old = self.types.version(flow.flow_type, flow.flow_version)
            yield from obstacles(flow, old, self.new, mapping, restored)
        for error in wrong:
            yield Obstacle(code="mapping_wrong", phase=error.field.partition(".")[2], message=error.message)

    def _unable(self, flow: Flow) -> Iterator[Obstacle]:
        """Phases to come for which no running process is known to have all that they name."""
        for config, phase in zip(self.new.phases, plan(flow, self.new, *self._way(flow)).phases, strict=True):
            missing = lacking(names_of(self.new, config), self.processes) if phase.status not in DONE else []
            if missing:
                yield Obstacle(
                    code="handlers_unknown",
                    phase=config.name,
                    message=f"no running process is known to have {', '.join(missing)}, which {config.name} needs; start"
                    " mfo consumers that have it before",
                )


def _unreadable(flow_id: UUID, error: Exception) -> Verdict:
    message = f"its history cannot be read ({type(error).__name__}); mfo doctor --deep says more"
    return Verdict(
        flow_id=flow_id,
        outcome="breaks",
        obstacles=[Obstacle(code="history_unreadable", message=message)],
    )
