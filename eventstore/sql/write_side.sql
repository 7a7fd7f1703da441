-- The write side. Table names are never written with a schema: the search path names the shard.

create table clock (
    only_row boolean primary key default true check (only_row),
    shift interval not null default '0 s'
);
insert into clock default values;

-- the one clock of every statement; tests shift it
create function mfo_now() returns timestamptz language sql stable as
$$ select clock_timestamp() + (select shift from clock) $$;

-- the layout of the eventsourcing library, and the hash of our chain
create table stored_events (
    originator_id uuid not null,
    originator_version bigint not null,
    topic text,
    state bytea,
    notification_id bigserial,
    hash bytea not null check (octet_length(hash) = 32),
    primary key (originator_id, originator_version)
) with (autovacuum_analyze_scale_factor = 0.01);
create unique index stored_events_notification_id_idx on stored_events (notification_id);
alter table stored_events alter column state set storage external;
create type stored_event_uuid as (originator_id uuid, originator_version bigint, topic text, state bytea);

create table heads (
    id uuid primary key,
    version bigint not null check (version > 0),
    hash bytea not null,
    client_account_id uuid not null,
    engagement_id uuid not null
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);

create table command_ids (
    client_account_id uuid not null,
    engagement_id uuid not null,
    command_id text not null,
    body_hash bytea not null,
    outcome text not null,
    flow_id uuid not null,
    version bigint not null,
    position bigint,
    error text,
    at timestamptz not null,
    primary key (client_account_id, engagement_id, command_id)
);
create index command_ids_at_idx on command_ids using brin (at);

create table command_log (
    at timestamptz not null,
    client_account_id uuid not null,
    engagement_id uuid not null,
    user_id text not null,
    command_id text not null,
    command text not null,
    flow_id uuid not null,
    source text not null,
    outcome text not null,
    version bigint not null,
    position bigint,
    error text,
    correlation_id text not null,
    causation_id text,
    expected_version bigint,
    ip_address text,
    user_agent text,
    body bytea
) partition by range (at);
create index command_log_flow_id_idx on command_log (flow_id);
create index command_log_at_idx on command_log using brin (at);
create table command_log_rest partition of command_log default;

-- one row for each attempt that is queued or under way; history keeps the ended ones
create table runs (
    id uuid primary key,
    flow_id uuid not null,
    client_account_id uuid not null,
    engagement_id uuid not null,
    flow_type text not null,
    phase_name text not null,
    attempt int not null,
    token bigint not null,
    state text not null check (state in ('queued', 'running')),
    owner text,
    timeout_seconds double precision not null,
    queued_at timestamptz not null,
    lease_until timestamptz,
    deadline timestamptz,
    progress text
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
create index runs_queued_idx on runs (queued_at) where state = 'queued';

create table timers (
    flow_id uuid not null,
    name text not null,
    token bigint not null,
    client_account_id uuid not null,
    engagement_id uuid not null,
    due_at timestamptz not null,
    primary key (flow_id, name)
) with (fillfactor = 70);
create index timers_due_idx on timers (due_at);

create table relay (
    name text primary key,
    epoch bigint not null default 0,
    position bigint not null default 0,
    leader text,
    moved_at timestamptz
) with (fillfactor = 20, autovacuum_vacuum_threshold = 50);

create table tenant_keys (
    client_account_id uuid not null,
    key_id uuid not null,
    wrapped bytea not null,
    created_at timestamptz not null,
    primary key (client_account_id, key_id)
);

create table artifacts (
    client_account_id uuid not null,
    sha256 bytea not null,
    size_bytes bigint not null,
    media_type text not null,
    created_at timestamptz not null,
    primary key (client_account_id, sha256)
);
create table artifact_parts (
    client_account_id uuid not null,
    sha256 bytea not null,
    n int not null,
    data bytea not null,
    primary key (client_account_id, sha256, n)
);
alter table artifact_parts alter column data set storage external;

create table imports (
    id uuid primary key,
    client_account_id uuid not null,
    engagement_id uuid not null,
    filename text not null,
    import_type text,
    sha256 bytea not null,
    size_bytes bigint not null,
    state text not null default 'stored' check (state in ('stored', 'inspecting', 'readable', 'unreadable')),
    summary jsonb,
    tries int not null default 0,
    lease_until timestamptz,
    created_by text not null,
    created_at timestamptz not null
);
create index imports_tenant_idx on imports (client_account_id, engagement_id, created_at desc, id);
create index imports_waiting_idx on imports (created_at) where state in ('stored', 'inspecting');

-- every definition that a flow was ever made with
create table flow_types (
    name text not null,
    version text not null,
    sha256 text not null,
    definition jsonb not null,
    first_seen_at timestamptz not null,
    primary key (name, version)
);

-- Appends one group of decisions and says which flows won.
--
-- A flow wins when its head stands at the version and hash it was decided on (0: no head) and none of its command ids was used
-- before. Losers leave no trace. Under the store lock ids follow the order of commits, so a reader of notification_id
-- misses nothing; nothing inside waits longer than lock_timeout.
create function append_group(
    f_id uuid[], f_base bigint[], f_before bytea[], f_version bigint[], f_hash bytea[], f_client uuid[], f_engagement uuid[],
    e_flow int[], e_version bigint[], e_topic text[], e_state bytea[], e_hash bytea[],
    c_flow int[], c_client uuid[], c_engagement uuid[], c_id text[], c_body_hash bytea[], c_outcome text[], c_version bigint[], c_error text[],
    c_command text[], c_user text[], c_source text[], c_correlation text[], c_causation text[],
    c_expected bigint[], c_ip text[], c_agent text[], c_body bytea[],
    r_flow int[], r_id uuid[], r_type text[], r_phase text[], r_attempt int[], r_token bigint[],
    r_owner text[], r_timeout double precision[],
    d_flow int[], d_id uuid[],
    t_flow int[], t_name text[], t_token bigint[], t_delay double precision[],
    u_flow int[], u_name text[],
    lease_seconds double precision
) returns table (flow int, version bigint, "position" bigint, now timestamptz)
language plpgsql
-- look-ups are by key, whatever the statistics say: the plan is made once, on a store that may be empty then
set enable_seqscan = off
as $append$
#variable_conflict use_column
declare
    at_time timestamptz;
begin
    perform pg_advisory_xact_lock(hashtext(current_schema()), 1);
    perform set_config('lock_timeout', '200ms', true);
    at_time := mfo_now();
    return query
    with f as (
        select * from unnest(f_id, f_base, f_before, f_version, f_hash, f_client, f_engagement)
            with ordinality as f(id, base, before, version, hash, client_account_id, engagement_id, n)
    ),
    c as (
        select * from unnest(c_flow, c_client, c_engagement, c_id, c_body_hash, c_outcome, c_version, c_error, c_command, c_user, c_source,
                             c_correlation, c_causation, c_expected, c_ip, c_agent, c_body)
            as c(flow, client_account_id, engagement_id, command_id, body_hash, outcome, version, error, command, user_id, source,
                 correlation_id, causation_id, expected_version, ip_address, user_agent, body)
    ),
    used as (
        select distinct c.flow from c cross join lateral (
            select from command_ids i
            where i.client_account_id = c.client_account_id and i.engagement_id = c.engagement_id
              and i.command_id = c.command_id offset 0
        ) i
    ),
    win as materialized (
        select f.* from f left join lateral (select h.version, h.hash from heads h where h.id = f.id offset 0) h on true
        where coalesce(h.version, 0) = f.base and (f.base = 0 or h.hash = f.before)
          and not exists (select from used where used.flow = f.n)
    ),
    head as (
        insert into heads as h (id, version, hash, client_account_id, engagement_id)
        select w.id, w.version, w.hash, w.client_account_id, w.engagement_id
        from win w where w.version > w.base order by w.id
        on conflict (id) do update set version = excluded.version, hash = excluded.hash
    ),
    kept as (
        insert into stored_events (originator_id, originator_version, topic, state, hash)
        select w.id, e.version, e.topic, e.state, e.hash
        from unnest(e_flow, e_version, e_topic, e_state, e_hash)
            with ordinality as e(flow, version, topic, state, hash, o)
        join win w on w.n = e.flow order by e.o
        returning originator_id, originator_version, notification_id
    ),
    ids as (
        insert into command_ids (client_account_id, engagement_id, command_id, body_hash, outcome, flow_id, version,
                                 position, error, at)
        select c.client_account_id, c.engagement_id, c.command_id, c.body_hash, c.outcome, w.id, c.version,
               k.notification_id, c.error, at_time
        from c join win w on w.n = c.flow
        left join kept k on k.originator_id = w.id and k.originator_version = c.version
    ),
    log as (
        insert into command_log (at, client_account_id, engagement_id, user_id, command_id, command, flow_id, source,
                                 outcome, version, position, error, correlation_id, causation_id, expected_version,
                                 ip_address, user_agent, body)
        select at_time, c.client_account_id, c.engagement_id, c.user_id, c.command_id, c.command, w.id, c.source,
               c.outcome, c.version, k.notification_id, c.error, c.correlation_id, c.causation_id, c.expected_version,
               c.ip_address, c.user_agent, c.body
        from c join win w on w.n = c.flow
        left join kept k on k.originator_id = w.id and k.originator_version = c.version
    ),
    ended as (
        delete from runs r where r.id = any (array(
            select d.id from unnest(d_flow, d_id) as d(flow, id) join win w on w.n = d.flow))
    ),
    begun as (
        insert into runs as r (id, flow_id, client_account_id, engagement_id, flow_type, phase_name, attempt, token,
                               state, owner, timeout_seconds, queued_at, lease_until, deadline)
        select b.id, w.id, w.client_account_id, w.engagement_id, b.flow_type, b.phase_name, b.attempt, b.token,
               case when b.owner is null then 'queued' else 'running' end, b.owner, b.timeout, at_time,
               case when b.owner is not null then at_time + make_interval(secs => lease_seconds) end,
               case when b.owner is not null then at_time + make_interval(secs => b.timeout) end
        from unnest(r_flow, r_id, r_type, r_phase, r_attempt, r_token, r_owner, r_timeout)
            as b(flow, id, flow_type, phase_name, attempt, token, owner, timeout)
        join win w on w.n = b.flow order by b.id
        on conflict (id) do update set token = excluded.token, owner = excluded.owner, state = excluded.state,
            lease_until = excluded.lease_until, deadline = excluded.deadline, progress = null
    ),
    unset as (
        delete from timers t where t.flow_id = any (array(
            select w.id from unnest(u_flow) as u(flow) join win w on w.n = u.flow))
          and (t.flow_id, t.name) in (
            select w.id, u.name from unnest(u_flow, u_name) as u(flow, name) join win w on w.n = u.flow)
    ),
    set_timer as (
        insert into timers as t (flow_id, name, token, client_account_id, engagement_id, due_at)
        select w.id, s.name, s.token, w.client_account_id, w.engagement_id, at_time + make_interval(secs => s.delay)
        from unnest(t_flow, t_name, t_token, t_delay) as s(flow, name, token, delay)
        join win w on w.n = s.flow order by w.id
        on conflict (flow_id, name) do update set token = excluded.token, due_at = excluded.due_at
    )
    select w.n::int, k.originator_version, k.notification_id, at_time
    from win w left join kept k on k.originator_id = w.id;
    if cardinality(e_flow) > 0 then
        perform pg_notify('mfo_events', current_schema());
    end if;
    if cardinality(t_flow) > 0 then
        perform pg_notify('mfo_timers', current_schema());
    end if;
    if exists (select from unnest(r_owner) as o(owner) where owner is null) then
        perform pg_notify('mfo_runs', current_schema());
    end if;
end
$append$;

-- monthly partitions of the command log, from this month to `ahead` months on
create function command_log_partitions(ahead int) returns void language plpgsql as $$
declare
    first_day date;
begin
    for first_day in
        select generate_series(date_trunc('month', mfo_now() at time zone 'utc'),
                               date_trunc('month', mfo_now() at time zone 'utc') + make_interval(months => ahead),
                               interval '1 month')::date
    loop
        if to_regclass('command_log_' || to_char(first_day, 'YYYY_MM')) is null then
            execute format('create table %I partition of command_log for values from (%L) to (%L)',
                           'command_log_' || to_char(first_day, 'YYYY_MM'),
                           first_day::text || ' 00:00:00+00',
                           (first_day + interval '1 month')::date::text || ' 00:00:00+00');
        end if;
    end loop;
end
$$;
select command_log_partitions(2);
