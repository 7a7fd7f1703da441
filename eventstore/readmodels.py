"""How far every read model is, and how far its rebuild: asked of the tables themselves."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from eventstore.codec import split

Row = dict[str, Any]

# a rebuild holds a lock for as long as its process lives
STANDINGS = """
with ends as (
    select coalesce(max(notification_id), 0) as log_end, (select position from relay where name = 'kafka') as relayed
    from stored_events
)
select p.name, p.version, p.state, p.position, p.parked, p.rate, p.patience, p.updated_at,
       greatest(0, coalesce(e.relayed, e.log_end) - p.position) as lag, mfo_now() as now,
       (select state from stored_events where notification_id > p.position and notification_id <= coalesce(e.relayed, e.log_end)
        order by notification_id limit 1) as oldest,
       r.state as rebuild_state, r.version as rebuild_version, r.flows_total, r.flows_done, r.events_done, r.eta_seconds,
       r.started_at, r.updated_at as rebuild_updated_at, r.ended_at,
       exists (select from pg_locks l where l.locktype = 'advisory' and l.classid = 7 and l.objsubid = 2 and l.granted
               and l.objid::bigint = hashtext(current_schema() || p.name)::bigint & 4294967295
               and l.database = (select oid from pg_database where datname = current_database())) as at_it
from ends e, projections p left join projection_rebuilds r on r.projection = p.name
order by p.name
"""
REBUILD = ("flows_total", "flows_done", "events_done", "eta_seconds", "started_at", "ended_at")


def standing(row: Mapping[str, Any]) -> Row:
    """What a row of STANDINGS says: `{name, version, state, position, lag, lag_seconds, rate, eta_seconds, patience_seconds,
    parked, updated_at, rebuild}`; `lag` in events, `rate` in events a second."""
    oldest = split(bytes(row["oldest"]))[0].at if row["oldest"] is not None else None
    rebuild = None
    if row["rebuild_state"] is not None:
        state = row["rebuild_state"] if row["at_it"] or row["ended_at"] is not None else "interrupted"
        rebuild = {
            "state": state,
            "version": row["rebuild_version"],
            **{name: row[name] for name in REBUILD},
            "updated_at": row["rebuild_updated_at"],
        }
    rate = row["rate"]
    eta = row["eta_seconds"] if row["at_it"] else 0.0 if not row["lag"] else row["lag"] / rate if rate else None
    return {
        "name": row["name"],
        "version": row["version"],
        "state": "rebuilding" if row["at_it"] else row["state"],
        "position": row["position"],
        "lag": row["lag"],
        "lag_seconds": max(0.0, (_aware(row["now"]) - oldest).total_seconds()) if oldest is not None else 0.0,
        "rate": rate,
        "eta_seconds": eta,
        "patience_seconds": row["patience"],
        "parked": row["parked"],
        "updated_at": row["updated_at"],
        "rebuild": rebuild,
    }


def _aware(at: datetime) -> datetime:
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)
