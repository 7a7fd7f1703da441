"""How long lists and figures take when a tenant has 1,000,000 flows.

The flows are made by SQL, straight in the tables of the read models: their rows, what each contributes to the figures, and the
sums of that. There is no history behind them, so this measures reading alone. The same number makes the same flows: made over
the last 90 days, of eight types with six phases each, four of five completed.
"""

from __future__ import annotations

import asyncio
import random
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import httpx
import psycopg

from bench.flows import versions_of
from bench.processor import Parts, spent
from bench.report import Report, figure
from bench.spread import in_ms
from bench.stack import whole_service
from domain.measures import LENGTHS
from mfo.running import Running
from projections.flows import BESIDE, VERSION, names_of

FLOWS = 1_000_000
REQUESTS = 200
DAYS = 90
SEED = 20

MADE = """
create unlogged table bench_flows as
with numbers as (select setseed(%(seed)s::float8 / 100)),
drawn as (
    select n, random() as fate, mfo_now() - random() * make_interval(days => %(days)s) as created_at, random() as size
    from numbers, generate_series(1, %(flows)s) n
)
select md5('flow ' || n)::uuid as flow_id, n, created_at,
       (array['discovery', 'assessment', 'planning', 'execution', 'modernize', 'finops', 'observability', 'decommission'])[1 + n %% 8]
           as flow_type,
       case when fate < 0.8 then 'completed' when fate < 0.9 then 'failed' when fate < 0.95 then 'cancelled'
            when fate < 0.97 then 'processing' when fate < 0.98 then 'paused' when fate < 0.995 then 'waiting_for_input'
            else 'deleted' end as flow_status,
       case when fate < 0.8 then 6 else 1 + n %% 5 end as done, exp(4 + 4 * size)::bigint as unit
from drawn
"""
FLOW_ROWS = """
insert into flow_state_extensions_v1 (flow_id, flow_type, client_account_id, engagement_id, user_id, flow_name, flow_tags,
    flow_status, current_phase, flow_configuration, flow_state, created_at, updated_at, version, log_position)
select flow_id, flow_type, %(account)s, %(engagement)s, 'bench', 'flow ' || n, jsonb_build_array('tag' || n %% 100),
       flow_status, 'phase_' || least(done + 1, 6), '{}', '{}', created_at, created_at + unit * interval '6 ms', 12, n
from bench_flows
"""
ALL_FLOWS = "array(select flow_id from flow_state_extensions_v1)"
CONTRIBUTIONS = """
insert into analytics_flows_v1 (flow_id, version, client_account_id, engagement_id, flow_type, flow_status, created_at, ended_at,
                                shares, stays)
select f.flow_id, 12, %(account)s, %(engagement)s, f.flow_type, f.flow_status, f.created_at,
       case when f.flow_status in ('completed', 'failed', 'cancelled', 'deleted')
            then f.created_at + f.unit * f.done * interval '1 ms' end,
       s.shares || case when f.flow_status = 'completed' then jsonb_build_array(jsonb_build_array('flow', '', 1, 0,
                            f.unit * 5, f.unit * 6, f.unit, 1000, held(f.unit * 6), held(100 + f.n %% 400)))
                        else jsonb_build_array(jsonb_build_array('flow', '', 1, (f.flow_status = 'failed')::int, f.unit * f.done,
                            0, f.unit, 1000, 0, held(100 + f.n %% 400))) end
                || case when f.flow_status = 'failed' then jsonb_build_array(jsonb_build_array('error',
                            'network/code_' || f.n %% 12, 1, 1, 0, 0, 0, 0, 0, 0)) else '[]' end,
       '[]'
from bench_flows f
cross join lateral (
    select jsonb_agg(jsonb_build_array('phase', 'phase_' || p, 1, 0, f.unit * p / 4, f.unit * p / 3, f.unit / 6, 100,
                                       held(f.unit * p / 4), held(50 + f.n %% 200)))
        || jsonb_agg(jsonb_build_array('transition', 'phase_' || p || ' -> phase_' || p + 1, 1, 0, 0, 0, 0, 0, 0, 0)) as shares
    from generate_series(1, f.done) p
) s
"""
HELD = """
create or replace function pg_temp.held(value numeric) returns numeric language sql immutable as
$$ select ('1e' || 12 * case when value < 1 then 0 else 1 + floor(4 * ln(value::float8) / ln(2::float8))::int end)::numeric $$
"""
SUMS = """
insert into analytics_sums_v1
select client_account_id, engagement_id, 'hour', x.s ->> 0, date_bin('1 hour', f.created_at, 'epoch'), f.flow_type, f.flow_status,
       x.s ->> 1, sum((x.s ->> 2)::bigint), sum((x.s ->> 3)::bigint), sum((x.s ->> 4)::bigint), sum((x.s ->> 5)::bigint),
       sum((x.s ->> 6)::bigint), sum((x.s ->> 7)::bigint), sum((x.s ->> 8)::numeric), sum((x.s ->> 9)::numeric)
from analytics_flows_v1 f, jsonb_array_elements(f.shares) as x (s) group by 1, 2, 3, 4, 5, 6, 7, 8
"""
STAYS = """
insert into analytics_stays_v1
select flow_id, n, client_account_id, engagement_id, flow_type, status, since, till from analytics_flows_v1,
lateral (values (0, 'processing', created_at, ended_at),
                (1, flow_status, ended_at, null::timestamptz)) as s (n, status, since, till)
where since is not null
"""
NET = """
insert into analytics_sums_v1
select client_account_id, engagement_id, 'hour', 'net', date_bin('1 hour', at, 'epoch'), flow_type, flow_status, '', sum(c.n),
       0, 0, 0, 0, 0, 0, 0
from analytics_stays_v1, lateral (values (from_at, 1), (to_at, -1)) as c (at, n) where at is not null
group by 1, 2, 3, 4, 5, 6, 7
"""
COARSER = """
insert into analytics_sums_v1
select client_account_id, engagement_id, %(span)s, kind, date_bin(%(length)s, at, 'epoch'), flow_type, flow_status, name, sum(n),
       sum(failed), sum(work_ms), sum(elapsed_ms), sum(cpu_ms), sum(tokens), sum(times), sum(peaks)
from analytics_sums_v1 where span = %(finer)s group by 1, 2, 3, 4, 5, 6, 7, 8
"""
TABLES = (
    *names_of(VERSION).values(),
    "analytics_flows_v1",
    "analytics_stays_v1",
    "analytics_sums_v1",
)


def load(url: str, account: str, engagement: str, flows: int) -> dict[str, Any]:
    """Make the flows of one tenant, with the seconds that it took and the rows that there are now."""
    began = time.perf_counter()
    who = {"account": account, "engagement": engagement}
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("set work_mem = '256MB'")
        connection.execute(HELD)
        connection.execute(MADE, {"seed": SEED, "days": DAYS, "flows": flows})
        connection.execute(FLOW_ROWS, who)
        # as the projection does, but for all of them at once
        connection.execute(BESIDE.format(**names_of(VERSION)).replace("%s", ALL_FLOWS).encode())
        connection.execute(CONTRIBUTIONS.replace("held(", "pg_temp.held(").encode(), who)
        for statement in (SUMS, STAYS, NET):
            connection.execute(statement)
        for span, finer in (("6 hours", "hour"), ("day", "6 hours"), ("5 days", "day"), ("30 days", "5 days")):
            connection.execute(COARSER, {"span": span, "length": LENGTHS[span], "finer": finer})
        for table in TABLES:
            connection.execute(f"vacuum analyze {table}".encode())
        connection.execute("drop table bench_flows")
        row = connection.execute("select count(*) from analytics_sums_v1").fetchone()
    return {"load_seconds": round(time.perf_counter() - began, 1), "sums": row[0] if row else 0}


def questions(chance: random.Random) -> dict[str, str]:
    """One of each kind of question, with times drawn anew."""
    now = datetime.now(UTC)

    def ago(days: float) -> str:
        return (now - timedelta(days=days)).isoformat()

    since = chance.uniform(1, DAYS)
    return {
        "analytics, all time": "/flows/analytics",
        "analytics, any window": "/flows/analytics?"
        + urlencode({"from": ago(since), "to": ago(chance.uniform(0, since))}),
        "analytics, a type, completed": "/flows/analytics?"
        + urlencode({"flow_type": "discovery", "status": "completed", "from": ago(since)}),
        "analytics, as of a time": "/flows/analytics?" + urlencode({"at": ago(since)}),
        "performance of a type, 30 days": "/flow-types/discovery/performance?" + urlencode({"from": ago(30)}),
        "portfolio": "/portfolio",
        "list, newest": "/flows",
        "list, type and status": "/flows?flow_type=discovery&status=processing",
        "list, status": "/flows?status=paused,waiting_for_input",
        "list, made in a week": "/flows?"
        + urlencode({"created_after": ago(since), "created_before": ago(since - 7), "flow_type": "discovery"}),
        "list, tag": "/flows?tag=tag7",
        "list, tag, type and status": "/flows?tag=tag7&flow_type=discovery&status=completed,failed",
        "list, by name": "/flows?sort=flow_name",
        "list, last changed, of a status": "/flows?sort=-updated_at&status=failed",
        "list, search, one flow": f"/flows?search={chance.randrange(FLOWS)}",
        "list, search, one in a hundred": "/flows?search=tag71",
    }


async def asked(variables: dict[str, str], requests: int) -> dict[str, dict[str, float]]:
    """How long each kind of question takes a service that has the flows, as p50_ms, p99_ms and max_ms."""
    account, engagement = variables["MFO_CLIENT_ACCOUNT_ID"], variables["MFO_ENGAGEMENT_ID"]
    headers = {"X-Client-Account-ID": account, "X-Engagement-ID": engagement, "X-User-ID": "bench"}
    chance = random.Random(SEED)
    taken: dict[str, list[float]] = {}
    async with httpx.AsyncClient(base_url=f"{variables['MFO_URL']}/api/v1", headers=headers, timeout=120) as client:
        for n in range(requests + 5):
            for name, path in questions(chance).items():
                began = time.perf_counter()
                answer = await client.get(path)
                took = time.perf_counter() - began
                answer.raise_for_status()
                if n >= 5:
                    taken.setdefault(name, []).append(took)
    return {name: in_ms(took) for name, took in taken.items()}


async def measure(where: Running, *, flows: int, requests: int) -> dict[str, Any]:
    """The figures of one run."""
    variables = where.environment
    account, engagement = variables["MFO_CLIENT_ACCOUNT_ID"], variables["MFO_ENGAGEMENT_ID"]
    loaded = await asyncio.to_thread(load, variables["MFO_DATABASE_URL"], account, engagement, flows)
    parts = Parts(where.pid)
    before = parts.take()
    latencies = await asked(variables, requests)
    return {
        "flows": flows,
        **loaded,
        "requests": requests,
        "processor": spent(before, parts.take(), requests * len(latencies), "request"),
        "latencies": latencies,
    }


def run(*, flows: int = FLOWS, requests: int = REQUESTS) -> Report:
    """Lists and figures over many flows."""
    with whole_service(MFO_FLOW_TYPES="bench.noop") as where:
        found = asyncio.run(measure(where, flows=flows, requests=requests))
        versions = asyncio.run(versions_of(where))
    return Report(
        f"lists and figures over {flows:,} flows of one tenant, loaded straight into the read models",
        [
            figure(f"{name}, {part}", "ms", spread[part])
            for name, spread in found["latencies"].items()
            for part in ("p50", "p99")
        ],
        processor={"asking": found["processor"]},
        versions=versions,
        runs=[found],
    )
