"""`mfo doctor`: the checks on the service's own tables, and the repairs, without any service having to run."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import psycopg

from domain.errors import RebuildImpossible, SchemaBehind, StoreUnavailable
from domain.words import counted
from eventstore.database import Connection, connect
from eventstore.doctor import Finding, examine, examine_deeply
from eventstore.doctor.deep import silently
from eventstore.doctor.findings import EXAMPLES
from eventstore.doctor.repair import Repairs
from eventstore.doctor.topic import examine_topic
from eventstore.relay import tell_anew
from eventstore.service import ServiceConfig, Topics, write_side
from mfo.commands.connection import environment
from mfo.running import Unreachable
from mfo.settings import Settings, load_settings

Json = dict[str, Any]


def settings() -> Settings:
    """The settings of this shell or, where it has none, those of the `mfo dev` that runs in its usual folder."""
    if not os.environ.get("MFO_DATABASE_URL"):
        with suppress(Unreachable):
            os.environ.update({name: text for name, text in environment().items() if name not in os.environ})
    return load_settings()


SAMPLE = 1000


async def look(
    config: ServiceConfig, *, deep: bool, sample: int = SAMPLE, said: Callable[[str], None] = silently
) -> list[Finding]:
    """What the checks find; `deep` reads the whole history, makes the rows of so many flows, chosen at random, anew, and asks
    Kafka. `said` is told how far it is. Raises StoreUnavailable, SchemaBehind."""
    async with _connected(config) as connection:
        found = await examine(connection)
        if deep:
            found += await examine_deeply(connection, said)
            found += await examine_topic(connection, config.kafka_bootstrap, Topics(config.topic_prefix).events)
            said("Kafka's topic looked at")
    if deep and sample:
        known = {subject["flow_id"] for one in found if one.code == "read_model_differs" for subject in one.subjects}
        found += await _untrue(config, sample, known, said)
    return found


async def _untrue(config: ServiceConfig, sample: int, known: set[str], said: Callable[[str], None]) -> list[Finding]:
    """The rows of a sample of flows, of every read model, held against what history says; but for flows `known` to differ."""
    from projections.app import read_side
    from projections.verifying import verify

    async with read_side(config) as (_, projections):
        names = sorted(projections)
    found = []
    for name in names:
        try:
            report = await verify(config, name, sample=sample, jobs=1, said=said)
        except RebuildImpossible:
            # of another version than this program's: nothing to compare
            said(f"{name}: not compared, its tables are of another version")
            continue
        said(f"{name}: {counted(report['flows'], 'flow')}, {counted(report['rows'], 'row')} compared with history")
        new = [one for one in report["differences"] if one["flow_id"] not in known]
        if new:
            found.append(
                Finding(
                    code="rows_untrue",
                    severity="critical",
                    count=len({one["flow_id"] for one in new}),
                    message=f"Of {counted(report['flows'], 'flow')}, chosen at random, the rows of {name} are not what history"
                    " says, although the projection has passed them: they were changed, removed or added by hand.",
                    mend=f"`mfo projections rebuild {name}` makes the read model anew; `mfo projections verify {name}` looks at"
                    " every flow",
                    subjects=tuple(
                        {
                            "flow_id": one["flow_id"],
                            "table": one["table"],
                            "what": one["what"],
                            "columns": one["columns"],
                        }
                        for one in new[:EXAMPLES]
                    ),
                )
            )
    return found


@asynccontextmanager
async def _connected(config: ServiceConfig) -> AsyncIterator[Connection]:
    try:
        connection = await connect(config.database_url, config.shard)
    except psycopg.OperationalError as error:
        raise StoreUnavailable(f"PostgreSQL cannot be reached: {error}".strip()) from None
    try:
        yield connection
    except psycopg.errors.UndefinedTable:
        raise SchemaBehind from None
    finally:
        await connection.close()


async def mend(config: ServiceConfig, found: list[Finding], *, deep: bool, user_id: str) -> list[Json]:
    """Mend what can be mended of `found`; what was done, `{code, flow_id, command, outcome, detail}` each."""
    codes = {finding.code for finding in found if finding.repairable}
    done: list[Json] = []
    async with write_side(config, pool_size=4) as side:
        done += [
            _told(one.code, one.command, one.outcome, one.detail, flow_id=str(one.flow_id))
            async for one in Repairs(side, user_id).run(deep=deep)
        ]
    if codes & {"flow_set_aside", "read_model_differs"}:
        done += await _retell(config, found)
    if "topic_behind" in codes:
        tell_anew(config.database_url, config.shard)
        done.append(_told("topic_behind", "tell anew", "accepted", "the relay tells the whole history once more"))
    return done


async def _retell(config: ServiceConfig, found: list[Finding]) -> list[Json]:
    """Tell the flows' histories once more to the read models that could not follow, or no longer say the same."""
    from projections.app import read_side
    from projections.parked import park, retry
    from projections.projection import Parked

    done: list[Json] = []
    async with read_side(config) as (connections, known), connections.connection() as connection:
        differing = [
            Parked(subject["flow_id"], subject["flow_version"], "the row differed from the history")
            for finding in found
            if finding.code == "read_model_differs"
            for subject in finding.subjects
        ]
        if differing:
            async with connection.transaction():
                await park(connection, "crewai_flow_state_extensions", differing)
        cursor = await connection.execute("select projection, flow_id from parked_flows order by since")
        for name, flow_id in await cursor.fetchall():
            if name in known:
                error = await retry(connection, known[name], flow_id)
                outcome = "accepted" if error is None else "failed"
                done.append(_told("flow_set_aside", f"retell {name}", outcome, error or "", flow_id=str(flow_id)))
    return done


def _told(code: str, command: str, outcome: str, detail: str, **more: str) -> Json:
    return {"code": code, **more, "command": command, "outcome": outcome, "detail": detail}
