-- Analytics: what each flow contributes to the figures of its tenant, and the sums of that over stretches of time.

-- one row a flow; `shares` is what it adds to the sums of the time at which it was made, `stays` since when it had which status
create table analytics_flows_v1 (
    flow_id uuid primary key,
    version bigint not null,
    client_account_id uuid not null,
    engagement_id uuid not null,
    flow_type text not null,
    flow_status text not null,
    created_at timestamptz not null,
    ended_at timestamptz,
    -- [[kind, name, n, failed, work_ms, elapsed_ms, cpu_ms, tokens, times, peaks], ...]
    shares jsonb not null,
    -- [[status, since in microseconds], ...]
    stays jsonb not null,
    -- what the next event is folded on; null for a flow that is over, whose history is read again should it go on
    state bytea
) with (fillfactor = 85, autovacuum_vacuum_scale_factor = 0.05);
create index analytics_flows_v1_made_idx on analytics_flows_v1 (client_account_id, engagement_id, created_at);
create index analytics_flows_v1_live_idx on analytics_flows_v1 (client_account_id, engagement_id, created_at)
    where ended_at is null;
create index analytics_flows_v1_done_idx on analytics_flows_v1 (client_account_id, engagement_id, flow_type, ended_at)
    where flow_status = 'completed';

-- from when to when a flow had a status; `to_at` is not part of it, null: it has it now
create table analytics_stays_v1 (
    flow_id uuid not null,
    n int not null,
    client_account_id uuid not null,
    engagement_id uuid not null,
    flow_type text not null,
    flow_status text not null,
    from_at timestamptz not null,
    to_at timestamptz,
    primary key (flow_id, n)
) with (fillfactor = 90);
create index analytics_stays_v1_from_idx on analytics_stays_v1 (client_account_id, engagement_id, from_at);
create index analytics_stays_v1_to_idx on analytics_stays_v1 (client_account_id, engagement_id, to_at)
    where to_at is not null;

-- sums of `shares` over the flows made in the stretch of time (UTC) that begins at `at`; of the kind `net`: how many more flows
-- came to the status than left it then. `times` and `peaks` are histograms: 10^(12 x slot) for each measured value, summed.
create table analytics_sums_v1 (
    client_account_id uuid not null,
    engagement_id uuid not null,
    span text not null check (span in ('month', '30 days', '5 days', 'day', '6 hours', 'hour')),
    kind text not null,
    at timestamptz not null,
    flow_type text not null,
    flow_status text not null,
    name text not null,
    n bigint not null,
    failed bigint not null,
    work_ms bigint not null,
    elapsed_ms bigint not null,
    cpu_ms bigint not null,
    tokens bigint not null,
    times numeric not null,
    peaks numeric not null,
    primary key (client_account_id, engagement_id, span, kind, at, flow_type, flow_status, name)
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);

-- what rules count that watch how long runs take
alter table pause_rule_counts add column slow_runs int not null default 0;

create view analytics_flows as select * from analytics_flows_v1;
create view analytics_stays as select * from analytics_stays_v1;
create view analytics_sums as select * from analytics_sums_v1;
comment on view analytics_stays is 'From when to when each flow had which status; to_at is empty for the one that it has now';
comment on view analytics_sums is 'What the flows made in each hour, 6 hours, day, 5 days, 30 days and month (UTC) add up to, by type, status and name';

do $reader$
begin
    if exists (select from pg_roles where rolname = 'mfo_reader') then
        grant select on analytics_flows, analytics_stays, analytics_sums to mfo_reader;
    end if;
exception when insufficient_privilege then
    raise notice 'mfo_reader was given no rights: %', sqlerrm;
end
$reader$;
