-- Runs have a priority, timers a time of their own where they are not counted from the commit.

alter table runs add column priority int not null default 3 check (priority between 1 and 5);

-- the parameters change, and with them the function
do $drop$
begin
    execute (select format('drop function %s', oid::regprocedure) from pg_proc
             where proname = 'append_group' and pronamespace = current_schema()::regnamespace);
end
$drop$;

create function append_group(
    f_id uuid[], f_base bigint[], f_before bytea[], f_version bigint[], f_hash bytea[], f_client uuid[], f_engagement uuid[],
    e_flow int[], e_version bigint[], e_topic text[], e_state bytea[], e_hash bytea[],
    c_flow int[], c_client uuid[], c_engagement uuid[], c_id text[], c_body_hash bytea[], c_outcome text[], c_version bigint[], c_error text[],
    c_command text[], c_user text[], c_source text[], c_correlation text[], c_causation text[],
    c_expected bigint[], c_ip text[], c_agent text[], c_body bytea[],
    r_flow int[], r_id uuid[], r_type text[], r_phase text[], r_attempt int[], r_token bigint[],
    r_owner text[], r_timeout double precision[], r_priority int[],
    d_flow int[], d_id uuid[],
    t_flow int[], t_name text[], t_token bigint[], t_delay double precision[], t_due timestamptz[],
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
    held bigint[];
begin
    perform pg_advisory_xact_lock(hashtext(current_schema()), 1);
    perform set_config('lock_timeout', '200ms', true);
    at_time := mfo_now();
    if exists (select from parked_commands) then
        held := held_by_parked(f_id, c_flow, c_client, c_engagement, c_id, c_body_hash);
    end if;
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
          and (held is null or f.n <> all (held))
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
                               state, owner, timeout_seconds, priority, queued_at, lease_until, deadline)
        select b.id, w.id, w.client_account_id, w.engagement_id, b.flow_type, b.phase_name, b.attempt, b.token,
               case when b.owner is null then 'queued' else 'running' end, b.owner, b.timeout, b.priority, at_time,
               case when b.owner is not null then at_time + make_interval(secs => lease_seconds) end,
               case when b.owner is not null then at_time + make_interval(secs => b.timeout) end
        from unnest(r_flow, r_id, r_type, r_phase, r_attempt, r_token, r_owner, r_timeout, r_priority)
            as b(flow, id, flow_type, phase_name, attempt, token, owner, timeout, priority)
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
        select w.id, s.name, s.token, w.client_account_id, w.engagement_id,
               coalesce(s.due, at_time + make_interval(secs => s.delay))
        from unnest(t_flow, t_name, t_token, t_delay, t_due) as s(flow, name, token, delay, due)
        join win w on w.n = s.flow order by w.id
        on conflict (flow_id, name) do update set token = excluded.token, due_at = excluded.due_at
    )
    select w.n::int, k.originator_version, k.notification_id, at_time
    from win w left join kept k on k.originator_id = w.id;
    if exists (select from parked_commands) then
        perform off_the_list(c_client, c_engagement, c_id);
    end if;
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
