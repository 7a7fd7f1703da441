-- Where there is a place for every run that waits, nobody is before anybody else: all are taken, and no line is made. That
-- holds while no limit does and nobody is in line from before.
create or replace function claim_runs(
    k_owner text, k_exclusive text[], k_shared text[], k_places int[], k_free int[], k_tenant_runs int, k_types text[], k_limits int[],
    s_client uuid[], s_engagement uuid[], s_exclusive boolean[], s_seconds double precision[], lease_seconds double precision
) returns table (exclusive boolean, id uuid, flow_id uuid, client_account_id uuid, engagement_id uuid, phase_name text,
                 token bigint, priority int, waits_for text)
language plpgsql set enable_seqscan = off
as $claim$
#variable_conflict use_column
declare
    at_time timestamptz;
    wait uuid[];
    alone boolean[];
begin
    perform keeper_seen(k_owner, k_exclusive, k_shared, k_places, k_tenant_runs, k_types, k_limits);
    if cardinality(s_client) = 0 and not exists (select from runs r where r.state = 'queued')
        and not exists (select from queues q where q.used is not null) then
        return;
    end if;
    perform pg_advisory_xact_lock(hashtext(current_schema()), 2);
    if cardinality(s_client) > 0 then
        perform spend(k_exclusive, k_shared, s_client, s_engagement, s_exclusive, s_seconds);
    end if;
    if k_tenant_runs is null and cardinality(k_types) = 0
        and not exists (select from queues q where q.used is not null and q.kind = any (k_exclusive || k_shared)) then
        select coalesce(array_agg(w.id), '{}'), coalesce(array_agg(w.exclusive), '{}') into wait, alone
        from (
            select r.id, q.kind = any (k_exclusive) as exclusive
            from queues q cross join lateral (
                select r.id from runs r
                where r.state = 'queued' and r.kind = q.kind
                  and r.client_account_id = q.client_account_id and r.engagement_id = q.engagement_id
                limit k_free[1] + k_free[2] + 1
            ) r
            where q.kind = any (k_exclusive || k_shared) limit k_free[1] + k_free[2] + 1
        ) w;
        if cardinality(array_positions(alone, true)) <= k_free[1] and cardinality(array_positions(alone, false)) <= k_free[2] then
            at_time := mfo_now();
            return query
            with mine as materialized (
                -- whoever appends may hold a row's lock: what it makes of the run is told anew
                select r.id from runs r where r.id = any (wait) and r.state = 'queued' order by r.id for update skip locked
            )
            update runs r set state = 'running', owner = k_owner, lease_until = at_time + make_interval(secs => lease_seconds),
                   deadline = at_time + make_interval(secs => r.timeout_seconds)
            from mine where r.id = mine.id
            returning r.kind = any (k_exclusive), r.id, r.flow_id, r.client_account_id, r.engagement_id, r.phase_name, r.token,
                      r.priority, null::text;
            perform tidy_queues(k_exclusive || k_shared);
            return;
        end if;
    end if;
    if cardinality(s_client) = 0 then
        perform spend(k_exclusive, k_shared, s_client, s_engagement, s_exclusive, s_seconds);
    end if;
    return query select true, l.* from claim_lane(k_owner, true, k_exclusive, k_free[1], k_tenant_runs, k_types, k_limits, lease_seconds) l;
    return query select false, l.* from claim_lane(k_owner, false, k_shared, k_free[2], k_tenant_runs, k_types, k_limits, lease_seconds) l;
    perform tidy_queues(k_exclusive || k_shared);
end
$claim$;
