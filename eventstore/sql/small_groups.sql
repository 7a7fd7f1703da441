-- A group of one command costs what setting up its statement costs. An array is read by place instead of being unnested, since
-- each unnested one is a scan of its own (a parameter is taken apart once); commands are joined with the decisions that won
-- once; timers have a statement of their own, which most groups do without; and what needs no table is no query but an
-- expression.
create or replace function append_group(
    f_id uuid[], f_base bigint[], f_before bytea[], f_version bigint[], f_hash bytea[], f_client uuid[], f_engagement uuid[],
    e_flow int[], e_version bigint[], e_topic text[], e_state bytea[], e_hash bytea[],
    c_flow int[], c_client uuid[], c_engagement uuid[], c_id text[], c_body_hash bytea[], c_outcome text[], c_version bigint[], c_error text[],
    c_command text[], c_user text[], c_source text[], c_correlation text[], c_causation text[],
    c_expected bigint[], c_ip text[], c_agent text[], c_body bytea[],
    r_flow int[], r_id uuid[], r_type text[], r_version text[], r_phase text[], r_attempt int[], r_token bigint[],
    r_owner text[], r_timeout double precision[], r_priority int[],
    d_flow int[], d_id uuid[],
    t_flow int[], t_name text[], t_token bigint[], t_delay double precision[], t_due timestamptz[],
    u_flow int[], u_name text[],
    lease_seconds double precision
) returns table (flow int, version bigint, "position" bigint, now timestamptz)
language plpgsql
-- look-ups are by key, whatever the statistics say: the plan is made once, on a store that may be empty then
set enable_seqscan = off
-- and it takes every group for a small one, and would compare each of its parts with each
set enable_nestloop = off
set plan_cache_mode = force_generic_plan
as $append$
#variable_conflict use_column
declare
    at_time timestamptz;
    held bigint[];
    parked boolean;
    done text;
begin
    done := pg_advisory_xact_lock(hashtext(current_schema()), 1);
    done := set_config('lock_timeout', '200ms', true);
    at_time := mfo_now();
    parked := exists (select from parked_commands);
    if parked then
        held := held_by_parked(f_id, c_flow, c_client, c_engagement, c_id, c_body_hash);
    end if;
    return query
    with used as (
        select distinct c_flow[c] as flow from generate_series(1, cardinality(c_flow)) c cross join lateral (
            select from command_ids i
            where i.client_account_id = c_client[c] and i.engagement_id = c_engagement[c] and i.command_id = c_id[c] offset 0
        ) i
    ),
    win as materialized (
        select f as n, f_id[f] as id, f_base[f] as base, f_version[f] as version, f_client[f] as client_account_id,
               f_engagement[f] as engagement_id
        from generate_series(1, cardinality(f_id)) f
        left join lateral (select h.version, h.hash from heads h where h.id = f_id[f] offset 0) h on true
        where coalesce(h.version, 0) = f_base[f] and (f_base[f] = 0 or h.hash = f_before[f])
          and not exists (select from used where used.flow = f)
          and (held is null or f <> all (held))
    ),
    head as (
        insert into heads as h (id, version, hash, client_account_id, engagement_id)
        select w.id, w.version, f_hash[w.n], w.client_account_id, w.engagement_id
        from win w where w.version > w.base order by w.id
        on conflict (id) do update set version = excluded.version, hash = excluded.hash
    ),
    kept as (
        insert into stored_events (originator_id, originator_version, topic, state, hash)
        select w.id, e_version[e], e_topic[e], e_state[e], e_hash[e]
        from generate_series(1, cardinality(e_flow)) e join win w on w.n = e_flow[e] order by e
        returning originator_id, originator_version, notification_id
    ),
    c as materialized (
        select c as n, w.id, k.notification_id
        from generate_series(1, cardinality(c_flow)) c join win w on w.n = c_flow[c]
        left join kept k on k.originator_id = w.id and k.originator_version = c_version[c]
    ),
    ids as (
        insert into command_ids (client_account_id, engagement_id, command_id, body_hash, outcome, flow_id, version,
                                 position, error, at)
        select c_client[c.n], c_engagement[c.n], c_id[c.n], c_body_hash[c.n], c_outcome[c.n], c.id, c_version[c.n],
               c.notification_id, c_error[c.n], at_time
        from c
    ),
    log as (
        insert into command_log (at, client_account_id, engagement_id, user_id, command_id, command, flow_id, source,
                                 outcome, version, position, error, correlation_id, causation_id, expected_version,
                                 ip_address, user_agent, body)
        select at_time, c_client[c.n], c_engagement[c.n], c_user[c.n], c_id[c.n], c_command[c.n], c.id, c_source[c.n],
               c_outcome[c.n], c_version[c.n], c.notification_id, c_error[c.n], c_correlation[c.n], c_causation[c.n],
               c_expected[c.n], c_ip[c.n], c_agent[c.n], c_body[c.n]
        from c
    ),
    ended as (
        delete from runs r where r.id = any (array(
            select d_id[d] from generate_series(1, cardinality(d_flow)) d join win w on w.n = d_flow[d]))
    ),
    begun as (
        insert into runs as r (id, flow_id, client_account_id, engagement_id, flow_type, flow_version, phase_name, attempt, token,
                               state, owner, timeout_seconds, priority, queued_at, lease_until, deadline)
        select r_id[b], w.id, w.client_account_id, w.engagement_id, r_type[b], r_version[b], r_phase[b], r_attempt[b], r_token[b],
               case when r_owner[b] is null then 'queued' else 'running' end, r_owner[b], r_timeout[b], r_priority[b], at_time,
               case when r_owner[b] is not null then at_time + make_interval(secs => lease_seconds) end,
               case when r_owner[b] is not null then at_time + make_interval(secs => r_timeout[b]) end
        from generate_series(1, cardinality(r_flow)) b join win w on w.n = r_flow[b] order by r_id[b]
        on conflict (id) do update set token = excluded.token, owner = excluded.owner, state = excluded.state,
            flow_version = excluded.flow_version, lease_until = excluded.lease_until, deadline = excluded.deadline, progress = null
    )
    select w.n, k.originator_version, k.notification_id, at_time
    from win w left join kept k on k.originator_id = w.id;
    if cardinality(t_flow) > 0 or cardinality(u_flow) > 0 then
        perform append_timers(f_id, f_hash, f_client, f_engagement, t_flow, t_name, t_token, t_delay, t_due, u_flow, u_name, at_time);
    end if;
    if parked then
        perform off_the_list(c_client, c_engagement, c_id);
    end if;
    if cardinality(e_flow) > 0 then
        done := pg_notify('mfo_events', current_schema());
    end if;
    if cardinality(t_flow) > 0 then
        done := pg_notify('mfo_timers', current_schema());
    end if;
    if array_position(r_owner, null) is not null then
        perform queue_up(r_id);
        done := pg_notify('mfo_runs', current_schema());
    end if;
end
$append$;

-- Sets and unsets the timers of a group; called by append_group. A flow whose head is the one that the group gave it has won,
-- and only an event changes timers.
create function append_timers(
    f_id uuid[], f_hash bytea[], f_client uuid[], f_engagement uuid[],
    t_flow int[], t_name text[], t_token bigint[], t_delay double precision[], t_due timestamptz[],
    u_flow int[], u_name text[], at_time timestamptz
) returns void
language plpgsql set enable_seqscan = off set enable_nestloop = off set plan_cache_mode = force_generic_plan
as $timers$
begin
    with win as materialized (
        select f as n, f_id[f] as id
        from generate_series(1, cardinality(f_id)) f
        cross join lateral (select h.hash from heads h where h.id = f_id[f] offset 0) h
        where h.hash = f_hash[f]
    ),
    unset as (
        delete from timers t where t.flow_id = any (array(
            select w.id from generate_series(1, cardinality(u_flow)) u join win w on w.n = u_flow[u]))
          and (t.flow_id, t.name) in (
            select w.id, u_name[u] from generate_series(1, cardinality(u_flow)) u join win w on w.n = u_flow[u])
    )
    insert into timers as t (flow_id, name, token, client_account_id, engagement_id, due_at)
    select w.id, t_name[s], t_token[s], f_client[w.n], f_engagement[w.n],
           coalesce(t_due[s], at_time + make_interval(secs => t_delay[s]))
    from generate_series(1, cardinality(t_flow)) s join win w on w.n = t_flow[s] order by w.id
    on conflict (flow_id, name) do update set token = excluded.token, due_at = excluded.due_at;
end
$timers$;
