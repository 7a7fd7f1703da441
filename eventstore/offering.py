"""What the processes that run phases have: told by the phases they offer, which they would not without the handlers."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import msgspec

from domain.flow_types import FlowTypeConfig, PhaseConfig
from eventstore.claims import kind
from eventstore.database import Connection

OFFERED = """
select exclusive_kinds || shared_kinds from keepers where seen_at > mfo_now() - interval '10 s'
"""


def names_of(config: FlowTypeConfig, phase: PhaseConfig) -> frozenset[str]:
    """The names of all that may run for a phase: handlers, validators and hooks."""
    return frozenset((*config.work_of(phase), *phase.validators))


async def offered(connection: Connection, definitions: Iterable[FlowTypeConfig]) -> list[frozenset[str]]:
    """For each process that runs phases: the names that it is known to have. Each has more, if it offers them for no type."""
    needs = {
        kind(config.name, config.version, phase.name): names_of(config, phase)
        for config in definitions
        for phase in config.phases
    }
    cursor = await connection.execute(OFFERED)
    return [frozenset(name for one in kinds for name in needs.get(one, ())) for (kinds,) in await cursor.fetchall()]


def lacking(names: Collection[str], processes: Sequence[Collection[str]]) -> list[str]:
    """What of these names the process that has the most of them is not known to have; none where one has all."""
    return min((sorted(set(names) - set(had)) for had in processes), key=len, default=sorted(names))


async def definitions(connection: Connection) -> list[FlowTypeConfig]:
    """Every definition that the store knows."""
    cursor = await connection.execute("select definition from flow_types order by first_seen_at, name, version")
    return [msgspec.convert(row[0], FlowTypeConfig) for row in await cursor.fetchall()]


async def lacking_for(connection: Connection, flow_type: str, version: str, phase: str) -> list[str]:
    """The names that a phase needs and that no running process is known to have all of; none where its type is not known."""
    known = await definitions(connection)
    config = next((one for one in known if (one.name, one.version) == (flow_type, version)), None)
    if config is None:
        return []
    return lacking(names_of(config, config.phase(phase)), await offered(connection, known))
