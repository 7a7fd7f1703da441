"""Figures of a tenant's flows, added up from the sums that the projection `analytics` keeps, and what they come to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from psycopg import sql
from psycopg.rows import dict_row

from api.answers import in_utc
from domain.commands import Tenant
from domain.measures import Spread, Stretch, begin_of, cover, end_of, quantile, spread
from domain.words import Status
from eventstore.database import Connection
from eventstore.service import WriteSide

Row = dict[str, Any]

ANALYTICS = "analytics"
KINDS = ("flow", "phase", "error", "transition")
NUMBERS = ("n", "failed", "work_ms", "elapsed_ms", "cpu_ms", "tokens", "times", "peaks")
MOST_DAYS = 366
ENDED = (Status.COMPLETED, Status.FAILED, Status.CANCELLED)

SUMMED = ", ".join(
    f"sum({name})::text as {name}" if name in {"times", "peaks"} else f"sum({name})::bigint as {name}"
    for name in NUMBERS
)
COUNTED = ", ".join(f"(sum(n) filter (where flow_status = '{status}'))::bigint as {status}" for status in ENDED)
SHARE = ", ".join(f"(x.s ->> {n})::numeric" for n in range(2, 2 + len(NUMBERS)))
OF_TENANT = "client_account_id = %(client)s and engagement_id = %(engagement)s"
NARROWED = (
    "(%(types)s::text[] is null or flow_type = any(%(types)s)) and"
    " (%(statuses)s::text[] is null or flow_status = any(%(statuses)s))"
)
# whole hours and longer stretches from the sums, what is left at both ends from the flows themselves;
# `offset 0` keeps each stretch a search of its own, where one join over all of them would read the whole table
FIGURES = f"""
with parts as (
    select s.at, s.kind, s.flow_type, s.flow_status, s.name, {", ".join(f"s.{name}" for name in NUMBERS)}
    from unnest(%(spans)s::text[], %(kinds)s::text[], %(since)s::timestamptz[], %(until)s::timestamptz[])
         as w (span, kind, since, until)
    cross join lateral (select * from analytics_sums
        where {OF_TENANT} and span = w.span and kind = w.kind
          and at >= coalesce(w.since, '-infinity') and at < coalesce(w.until, 'infinity') and {NARROWED} offset 0) s
    union all
    select f.created_at, x.s ->> 0, f.flow_type, f.flow_status, x.s ->> 1, {SHARE}
    from unnest(%(from_ends)s::timestamptz[], %(to_ends)s::timestamptz[]) as w (since, until)
    cross join lateral (select * from analytics_flows
        where {OF_TENANT} and created_at >= w.since and created_at < w.until and {NARROWED} offset 0) f
    cross join lateral jsonb_array_elements(f.shares) as x (s) where x.s ->> 0 = any(%(wanted)s)
)
"""
# the status matters where flows are counted, and nowhere else
BY_NAME = f"""
{FIGURES}
select kind, flow_type, case when kind in ('flow', 'error') then flow_status else '' end as flow_status, name, {SUMMED}
from parts group by 1, 2, 3, 4
"""
BY_DATE = f"""
{FIGURES}
select date_trunc(%(step)s, at, 'UTC') as begin, flow_type, {SUMMED}, {COUNTED} from parts group by 1, 2 order by 1, 2
"""
# how the flows stood at a time: what came to each status before, less what left it
STOOD = f"""
with parts as (
    select s.flow_type, s.flow_status, s.n
    from unnest(%(spans)s::text[], %(since)s::timestamptz[], %(until)s::timestamptz[]) as w (span, since, until)
    cross join lateral (select * from analytics_sums
        where {OF_TENANT} and span = w.span and kind = 'net'
          and at >= coalesce(w.since, '-infinity') and at < w.until and {NARROWED} offset 0) s
    union all
    select s.flow_type, s.flow_status, s.n
    from unnest(%(from_ends)s::timestamptz[], %(to_ends)s::timestamptz[]) as w (since, until)
    cross join lateral (
        select flow_type, flow_status, 1 as n from analytics_stays
        where {OF_TENANT} and from_at >= w.since and from_at < w.until and {NARROWED}
        union all
        select flow_type, flow_status, -1 from analytics_stays
        where {OF_TENANT} and to_at >= w.since and to_at < w.until and {NARROWED}
        offset 0
    ) s
)
select flow_type, flow_status, sum(n)::bigint as n from parts group by 1, 2 having sum(n) <> 0
"""
# each by the end of an index
BETWEEN = f"""
select (select created_at from analytics_flows where {OF_TENANT} order by created_at limit 1) as first,
       (select created_at from analytics_flows where {OF_TENANT} order by created_at desc limit 1) as last
"""


@dataclass(frozen=True, slots=True)
class Window:
    """Flows made from `since` on and before `until`, of these types and statuses; what is none does not narrow it."""

    since: datetime | None = None
    until: datetime | None = None
    flow_types: Sequence[str] | None = None
    statuses: Sequence[str] | None = None


@dataclass(slots=True)
class Figure:
    """Numbers added up; `times` and `peaks` are histograms of milliseconds and MB."""

    n: int = 0
    failed: int = 0
    work_ms: int = 0
    elapsed_ms: int = 0
    cpu_ms: int = 0
    tokens: int = 0
    times: int = 0
    peaks: int = 0
    statuses: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    flow_types: set[str] = field(default_factory=set)

    def add(self, row: Row) -> None:
        """Add a row of the sums."""
        for name in NUMBERS:
            setattr(self, name, getattr(self, name) + int(row[name]))
        self.statuses[row["flow_status"]] += int(row["failed"] if row["kind"] == "error" else row["n"])
        self.flow_types.add(row["flow_type"])


class Sums:
    """The sums of one tenant."""

    def __init__(self, side: WriteSide, tenant: Tenant) -> None:
        self._side = side
        self._who = {"client": tenant.client_account_id, "engagement": tenant.engagement_id}

    async def figures(self, window: Window, kinds: Sequence[str] = KINDS) -> list[Row]:
        """The figures of the flows in a window by kind, type, status and name."""
        return await self._all(BY_NAME, _asked(window, cover(window.since, window.until), kinds))

    async def trend(self, window: Window) -> tuple[str, list[Row]]:
        """The step, `day` or `month` (for windows of more than 366 days), and the flows' figures by `begin` of each and type."""
        since, until = window.since, window.until
        # where nobody says since when, there may be very many days: as many as there are between the flows
        if since is None or until is None:
            [between] = await self._all(BETWEEN, {})
            if between["first"] is None:
                return "day", []
            since, until = since or between["first"], until or between["last"] + timedelta(microseconds=1)
        step = "day" if until - since <= timedelta(days=MOST_DAYS) else "month"
        spans = ("day", "6 hours", "hour") if step == "day" else ("month", "day", "6 hours", "hour")
        # beyond the first flow and the last there is none, and whole days are read faster than their parts
        since = since if window.since is not None else begin_of(since, step)
        until = until if window.until is not None else end_of(until, step)
        stretches = cover(since, until, spans) if since < until else []
        return step, await self._all(BY_DATE, _asked(window, stretches, ("flow",)) | {"step": step})

    async def stood(self, at: datetime, window: Window) -> list[Row]:
        """How many flows had which type and status at a time."""
        return await self._all(STOOD, _asked(window, cover(None, at + timedelta(microseconds=1)), (None,)))

    async def all(self, statement: str, **values: Any) -> list[Row]:
        """The rows of a statement that names the tenant as `client` and `engagement`."""
        return await self._all(statement, values)

    async def _all(self, statement: str, values: Row) -> list[Row]:
        connecting: AbstractAsyncContextManager[Connection] = self._side.pool.connection()
        async with connecting as connection, connection.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(sql.SQL(statement), {**values, **self._who})
            return [in_utc(found) for found in await cursor.fetchall()]


def _asked(window: Window, stretches: Sequence[Stretch], kinds: Sequence[str | None]) -> Row:
    whole = [(each, kind) for each in stretches if each.span is not None for kind in kinds]
    ends = [each for each in stretches if each.span is None]
    return {
        "spans": [each.span for each, _ in whole],
        "kinds": [kind for _, kind in whole],
        "since": [each.since for each, _ in whole],
        "until": [each.until for each, _ in whole],
        "from_ends": [each.since for each in ends],
        "to_ends": [each.until for each in ends],
        "wanted": [kind for kind in kinds if kind],
        "types": list(window.flow_types) if window.flow_types is not None else None,
        "statuses": list(window.statuses) if window.statuses is not None else None,
    }


def grouped(rows: Iterable[Row], kind: str, key: Callable[[Row], Any]) -> dict[Any, Figure]:
    """The figures of one kind by a key."""
    found: dict[Any, Figure] = {}
    for row in rows:
        if row["kind"] == kind:
            found.setdefault(key(row), Figure()).add(row)
    return found


def rate(part: int, whole: int) -> float | None:
    """A part of a whole to four digits; none of nothing."""
    return round(part / whole, 4) if whole else None


def seconds(milliseconds: float | None) -> float | None:
    """Milliseconds as seconds, to the millisecond."""
    return None if milliseconds is None else round(milliseconds / 1000, 3)


def rates(statuses: dict[str, int]) -> Row:
    """How many of the flows that came to an end completed, and how many failed."""
    ended = sum(statuses.get(status, 0) for status in ENDED)
    return {
        "success_rate": rate(statuses.get(Status.COMPLETED, 0), ended),
        "error_rate": rate(statuses.get(Status.FAILED, 0), ended),
    }


def durations(figure: Figure) -> Row:
    """Seconds from begin to completion of the flows that completed."""
    done, (p50, p95) = spread(figure.times, 0.5, 0.95)
    return {
        "completed": done,
        "mean_seconds": seconds(figure.elapsed_ms / done) if done else None,
        "p50_seconds": seconds(p50),
        "p95_seconds": seconds(p95),
    }


def resources(figure: Figure) -> Row:
    """What runs took: processor time, the peak of memory of a run, tokens of models."""
    p50, p95, most = spread(figure.peaks, 0.5, 0.95, 1.0).values
    return {
        "cpu_seconds": round(figure.cpu_ms / 1000, 3),
        "cpu_seconds_per_flow": round(figure.cpu_ms / 1000 / figure.n, 3) if figure.n else None,
        "p50_peak_memory_mb": _mb(p50),
        "p95_peak_memory_mb": _mb(p95),
        "max_peak_memory_mb": _mb(most),
        "tokens": figure.tokens,
    }


def _mb(value: float | None) -> float | None:
    return None if value is None else round(value, 1)


def phases(rows: Iterable[Row]) -> list[Row]:
    """Each phase of each type, those first that flows spent most time in."""
    found = grouped(rows, "phase", lambda row: (row["flow_type"], row["name"]))
    whole: dict[str, int] = defaultdict(int)
    for (flow_type, _), figure in found.items():
        whole[flow_type] += figure.elapsed_ms
    shown = [_phase(flow_type, name, figure, whole[flow_type]) for (flow_type, name), figure in found.items()]
    return sorted(shown, key=lambda each: (-each["elapsed_seconds"], each["flow_type"], each["phase_name"]))


def _phase(flow_type: str, name: str, figure: Figure, whole_ms: int) -> Row:
    done, (p50, p95) = figure.n, spread(figure.times, 0.5, 0.95).values
    return {
        "flow_type": flow_type,
        "phase_name": name,
        "completed": done,
        "failed_attempts": figure.failed,
        "mean_work_seconds": seconds(figure.work_ms / done) if done else None,
        "p50_work_seconds": seconds(p50),
        "p95_work_seconds": seconds(p95),
        "mean_elapsed_seconds": seconds(figure.elapsed_ms / done) if done else None,
        "mean_waiting_seconds": seconds(max(figure.elapsed_ms - figure.work_ms, 0) / done) if done else None,
        "elapsed_seconds": round(figure.elapsed_ms / 1000, 3),
        "share_of_elapsed": rate(figure.elapsed_ms, whole_ms),
        "cpu_seconds": round(figure.cpu_ms / 1000, 3),
        "p95_peak_memory_mb": _mb(quantile(figure.peaks, 0.95)),
        "tokens": figure.tokens,
    }


def errors(rows: Iterable[Row], most: int = 20) -> list[Row]:
    """The errors that attempts ended with most often; `recovery_rate`: how many of the flows that met it completed."""
    found = grouped(rows, "error", lambda row: row["name"])
    shown = []
    for name, figure in found.items():
        kind, _, code = name.partition("/")
        shown.append(
            {
                "error_type": name,
                "error_class": kind,
                "code": code,
                "count": figure.n,
                "flows": figure.failed,
                "flow_types": sorted(figure.flow_types),
                "recovery_rate": rate(figure.statuses.get(Status.COMPLETED, 0), figure.failed),
            }
        )
    return sorted(shown, key=lambda each: (-each["count"], each["error_type"]))[:most]


def transitions(rows: Iterable[Row]) -> list[Row]:
    """Which phase was begun after which, and how flows ended after their last, most often first."""
    found = grouped(rows, "transition", lambda row: (row["flow_type"], row["name"]))
    shown = []
    for (flow_type, name), figure in found.items():
        before, _, after = name.partition(" -> ")
        shown.append({"flow_type": flow_type, "from": before, "to": after, "count": figure.n})
    return sorted(shown, key=lambda each: (-each["count"], each["flow_type"], each["from"], each["to"]))


@lru_cache(maxsize=8192)
def _known(histogram: str, part: float) -> Spread:
    """As `spread`; most days of a trend are over, and their histograms are the same in the next answer."""
    return spread(histogram, part)


def trends(rows: Iterable[Row]) -> list[Row]:
    """The figures of the flows made on each day (or in each month), oldest first."""
    return [_trend(row) for row in rows]


def _trend(row: Row) -> Row:
    statuses = {status: row[status] or 0 for status in map(str, ENDED)}
    done, (p95,) = _known(row["times"], 0.95)
    return {
        "date": row["begin"].astimezone(UTC).date(),
        "flow_type": row["flow_type"],
        "total_flows": row["n"],
        "completed": statuses[Status.COMPLETED],
        "failed": statuses[Status.FAILED],
        "success_rate": rates(statuses)["success_rate"],
        "average_duration_seconds": seconds(row["elapsed_ms"] / done) if done else None,
        "p95_duration_seconds": seconds(p95),
        "cpu_seconds": round(row["cpu_ms"] / 1000, 3),
        "p95_peak_memory_mb": _mb(_known(row["peaks"], 0.95).values[0]),
    }
