"""The service itself: how far its projections are, whether its parts work, and what it counts."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from time import monotonic
from typing import Annotated, Any

import msgspec
import psycopg
from fastapi import APIRouter, Query, Request
from fastapi.routing import APIRoute
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from psycopg.rows import dict_row
from psycopg_pool import PoolClosed, PoolTimeout
from starlette.responses import Response

from api import cursors
from api.answers import Json
from api.asking import DOOR, Asking, Service
from api.crowd import WRITES, Crowd
from api.documents import Doctor, Live, ProjectionList, Ready
from api.openapi import answers
from domain.errors import StoreUnavailable
from eventstore.doctor import examine
from eventstore.doctor.metrics import shown
from eventstore.service import WriteSide

router = APIRouter(prefix="/api/v1", dependencies=DOOR, tags=["service"])
root = APIRouter(tags=["service"])

UP, DOWN = "up", "down"
CHECK_SECONDS = 2.0
KAFKA_CHECKED_FOR_SECONDS = 3.0
SILENT_SECONDS = 10.0
SMALL_LAG = 1000
EXAMINED_WITHIN_SECONDS = 10.0
# the door of health asks nobody who they are
OPEN_TO_ALL = (
    *("flow_id", "run_id", "notification_id", "name", "projection", "phase_name", "seconds", "lacks"),
    *("flow_type", "flow_version", "runs"),
)
# a projection that lives says so every second
RUNNING = frozenset({"live", "catching_up"})

RELAY = """
select r.leader, r.position, extract(epoch from mfo_now() - r.moved_at)::float8 as silent_seconds,
       (select coalesce(max(notification_id), 0) from stored_events) as log_end
from relay r where r.name = 'kafka'
"""
PROJECTIONS = """
select p.name, p.state, p.position, p.parked, extract(epoch from mfo_now() - p.updated_at)::float8 as silent_seconds,
       greatest(0, coalesce((select position from relay where name = 'kafka'), 0) - p.position) as lag
from projections p order by p.name
"""


@router.get(
    "/projections", summary="How far the read models are", responses=answers(200, ProjectionList, 400, 422, 503)
)
async def list_projections(
    asking: Asking,
    limit: Annotated[int, Query(ge=1, le=200)] = 200,
    cursor: Annotated[str | None, Query(max_length=2000)] = None,
) -> Response:
    """Every projection with its lag behind what Kafka has been told, how fast it follows, how far a rebuild of it is, and the
    tenant's flows that it set aside."""
    rows = await asking.rows.projections()
    for row in rows:
        row["position"] = asking.side.store.position(row["position"])
    page, more = cursors.page_of(rows, lambda row: str(row["name"]), "projections", limit, cursor)
    return Json({"projections": page, "total": len(rows), "next_cursor": more})


@root.get("/health/live", summary="Is the process alive?", responses=answers(200, Live))
async def live() -> Response:
    """The process answers; says nothing about what it stands on."""
    return Json({"status": "alive"})


@root.get("/health/ready", summary="Does everything work?", responses=answers(200, Ready, 503, also={503: Ready}))
async def ready(request: Request) -> Response:
    """Database, Kafka, relay and projections, each with its state and, when it is down, the reason."""
    service: Service = request.app.state.service
    kafka: KafkaCheck = request.app.state.kafka
    database, broker = await asyncio.gather(_database(service.side), kafka.state())
    if database["state"] == UP:
        relay, projections = await asyncio.gather(_relay(service.side), _projections(service.side))
    else:
        relay = projections = _part("the database does not answer")
    commands = await _commands(service.side, request.app.state.crowd)
    parts = {"database": database, "kafka": broker, "relay": relay, "projections": projections, "commands": commands}
    good = all(part["state"] == UP for part in parts.values())
    return Json({"status": "ready" if good else "not_ready", **parts}, 200 if good else 503)


@root.get("/health/doctor", summary="What is stuck, and why?", responses=answers(200, Doctor, 503))
async def doctor(request: Request) -> Response:
    """What the quick checks of `mfo doctor` find in the whole store: the worst first, each with its cause and its cure.

    Subjects are named by ids alone. The answer is 200 also where something is wrong: `status` says so.
    """
    service: Service = request.app.state.service
    try:
        async with asyncio.timeout(EXAMINED_WITHIN_SECONDS), service.side.pool.connection() as connection:
            found = await examine(connection)
    except (psycopg.Error, PoolTimeout, PoolClosed, TimeoutError) as error:
        raise StoreUnavailable from error
    shown(found)
    ailing = any(finding.severity != "info" for finding in found)
    findings = [
        msgspec.to_builtins(finding)
        | {"subjects": [{name: one[name] for name in OPEN_TO_ALL if name in one} for one in finding.subjects]}
        for finding in found
    ]
    return Json({"status": "ailing" if ailing else "well", "findings": findings})


@root.get(
    "/metrics",
    summary="Prometheus metrics",
    responses={200: {"description": "Done", "content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def metrics() -> Response:
    """Everything this process counts, in the Prometheus text format."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


# probes and load balancers often ask with HEAD; the server leaves the body out
for _shown in [each for each in root.routes if isinstance(each, APIRoute)]:
    root.add_api_route(_shown.path, _shown.endpoint, methods=["HEAD"], include_in_schema=False)


def _part(reason: str | None = None, **more: Any) -> dict[str, Any]:
    return {"state": DOWN if reason else UP, "reason": reason, **more}


async def _database(side: WriteSide) -> dict[str, Any]:
    try:
        async with asyncio.timeout(CHECK_SECONDS), side.pool.connection() as connection:
            await connection.execute("select 1")
    except (psycopg.Error, PoolTimeout, PoolClosed, TimeoutError) as error:
        return _part(f"PostgreSQL does not answer: {type(error).__name__}")
    return _part()


async def _rows(side: WriteSide, statement: str) -> list[dict[str, Any]]:
    async with asyncio.timeout(CHECK_SECONDS), side.pool.connection() as connection:
        cursor = connection.cursor(row_factory=dict_row)
        await cursor.execute(statement.encode())
        return await cursor.fetchall()


async def _relay(side: WriteSide) -> dict[str, Any]:
    try:
        rows = await _rows(side, RELAY)
    except (psycopg.Error, PoolTimeout, PoolClosed, TimeoutError) as error:
        return _part(f"its state cannot be read: {type(error).__name__}")
    if not rows or rows[0]["leader"] is None:
        return _part("no relay has led yet; is a consumers process running?")
    row = rows[0]
    lag = max(0, row["log_end"] - row["position"])
    facts = {"leader": row["leader"], "position": side.store.position(row["position"]), "lag": lag}
    if row["silent_seconds"] is None or row["silent_seconds"] > SILENT_SECONDS:
        return _part(
            f"{row['leader']} has been silent for {row['silent_seconds'] or 0:.0f} s, {lag} events behind", **facts
        )
    return _part(None, **facts)


async def _projections(side: WriteSide) -> dict[str, Any]:
    try:
        rows = await _rows(side, PROJECTIONS)
    except (psycopg.Error, PoolTimeout, PoolClosed, TimeoutError) as error:
        return _part(f"their state cannot be read: {type(error).__name__}")
    if not rows:
        return _part("no projection has started yet; is a projections process running?")
    facts = {"lag": {row["name"]: row["lag"] for row in rows}, "parked": sum(row["parked"] for row in rows)}
    late = [
        f"{row['name']} is {row['state']}, {row['lag']} events behind, last heard of {row['silent_seconds']:.0f} s ago"
        for row in rows
        if row["state"] not in RUNNING or row["lag"] > SMALL_LAG or row["silent_seconds"] > SILENT_SECONDS
    ]
    return _part("; ".join(late) or None, **facts)


async def _commands(side: WriteSide, crowd: Crowd) -> dict[str, Any]:
    """What waits here and what is parked. It says so and stays up: that others take over helps neither."""
    facts = {"waiting": side.committer.waiting, "in_flight": crowd.under_way[WRITES], "parked_flows": None}
    try:
        facts["parked_flows"] = (await _rows(side, "select count(distinct flow_id) as n from parked_commands"))[0]["n"]
    except (psycopg.Error, PoolTimeout, PoolClosed, TimeoutError):
        return _part() | facts
    said = [
        f"{facts['parked_flows']} flows are parked; see /api/v1/parked" if facts["parked_flows"] else "",
        "commands are turned away: too many wait"
        if crowd.under_way[WRITES] >= crowd.writes or side.committer.full
        else "",
    ]
    return _part() | {"reason": "; ".join(filter(None, said)) or None} | facts


@dataclass(slots=True)
class KafkaCheck:
    """Whether a broker takes connections; what was found holds for three seconds."""

    bootstrap: str
    _found: dict[str, Any] | None = None
    _until: float = 0.0

    async def state(self) -> dict[str, Any]:
        """`{state, reason, bootstrap}`."""
        if self._found is None or monotonic() > self._until:
            reached = await asyncio.gather(*(_reaches(server) for server in self.bootstrap.split(",")))
            reason = None if any(reached) else f"no broker answers at {self.bootstrap}"
            self._found = _part(reason, bootstrap=self.bootstrap)
            self._until = monotonic() + KAFKA_CHECKED_FOR_SECONDS
        return self._found


async def _reaches(server: str) -> bool:
    host, _, port = server.strip().rpartition(":")
    if not port.isdigit():
        return False
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True
