-- Runs have a priority and are shared out between tenants; timers have a time of their own where they are not counted
-- from the commit.

-- kind: who can do it is said by this, `<flow type>/<version>/<phase>`
alter table runs
    add column priority int not null default 3 check (priority between 1 and 5),
    add column flow_version text not null default '',
    add column kind text generated always as (flow_type || '/' || flow_version || '/' || phase_name) stored;
drop index runs_queued_idx;
create index runs_queue_idx on runs (kind, client_account_id, engagement_id, priority, queued_at, id) where state = 'queued';
create index runs_running_idx on runs (deadline) where state = 'running';
-- whoever takes these over writes their version
update runs set state = 'running', owner = 'migration', lease_until = mfo_now(),
       deadline = mfo_now() + make_interval(secs => timeout_seconds)
where state = 'queued';

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
        insert into runs as r (id, flow_id, client_account_id, engagement_id, flow_type, flow_version, phase_name, attempt, token,
                               state, owner, timeout_seconds, priority, queued_at, lease_until, deadline)
        select b.id, w.id, w.client_account_id, w.engagement_id, b.flow_type, b.flow_version, b.phase_name, b.attempt, b.token,
               case when b.owner is null then 'queued' else 'running' end, b.owner, b.timeout, b.priority, at_time,
               case when b.owner is not null then at_time + make_interval(secs => lease_seconds) end,
               case when b.owner is not null then at_time + make_interval(secs => b.timeout) end
        from unnest(r_flow, r_id, r_type, r_version, r_phase, r_attempt, r_token, r_owner, r_timeout, r_priority)
            as b(flow, id, flow_type, flow_version, phase_name, attempt, token, owner, timeout, priority)
        join win w on w.n = b.flow order by b.id
        on conflict (id) do update set token = excluded.token, owner = excluded.owner, state = excluded.state,
            flow_version = excluded.flow_version, lease_until = excluded.lease_until, deadline = excluded.deadline, progress = null
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
        perform queue_up(r_id);
        perform pg_notify('mfo_runs', current_schema());
    end if;
end
$append$;

-- Sharing out.
--
-- A place that is free goes to the tenant that holds the fewest places of its sort, among those to the one that has used the
-- fewest running seconds lately; inside a tenant to the run of the best priority, the oldest first.

-- who has runs in the queue, by kind. A row is made by whoever queues a run, and removed by one that claims: both under the
-- store's lock, so that no queued run is without one. used: the tenant's share as its place in the line; none: not in line
create table queues (
    client_account_id uuid not null,
    engagement_id uuid not null,
    kind text not null,
    used double precision,
    primary key (client_account_id, engagement_id, kind)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);
create index queues_turn_idx on queues (kind, used) where used is not null;
create index queues_new_idx on queues (kind) where used is null;

-- running seconds that tenants have used lately, apart for runs with a child to themselves and for the others
create table shares (
    client_account_id uuid not null,
    engagement_id uuid not null,
    exclusive boolean not null,
    used double precision not null,
    primary key (client_account_id, engagement_id, exclusive)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);
create table shares_halved (
    only_row boolean primary key default true check (only_row),
    at timestamptz not null
);
insert into shares_halved values (true, mfo_now());

-- the processes that run phases: what they offer, how many places they have, under which limits they claim
create table keepers (
    owner text primary key,
    exclusive_kinds text[] not null,
    shared_kinds text[] not null,
    exclusive_places int not null,
    shared_places int not null,
    tenant_runs int,
    limited_types text[] not null,
    limits int[] not null,
    seen_at timestamptz not null
) with (fillfactor = 20, autovacuum_vacuum_threshold = 50);

-- put the tenants of queued runs into the line; called under the store's lock
create function queue_up(r_id uuid[]) returns void language plpgsql set enable_seqscan = off as $$
begin
    insert into queues (client_account_id, engagement_id, kind)
    select distinct r.client_account_id, r.engagement_id, r.kind from runs r
    where r.id = any (r_id) and r.state = 'queued' and not exists (
        select from queues q where q.client_account_id = r.client_account_id and q.engagement_id = r.engagement_id
          and q.kind = r.kind);
end
$$;

-- note that a process lives; it is written every three seconds at most
create function keeper_seen(
    k_owner text, k_exclusive text[], k_shared text[], k_places int[], k_tenant_runs int, k_types text[], k_limits int[]
) returns void language plpgsql set enable_seqscan = off as $$
declare
    at_time timestamptz := mfo_now();
begin
    if exists (select from keepers k where k.owner = k_owner and k.seen_at between at_time - interval '3 s' and at_time) then
        return;
    end if;
    insert into keepers as k values (k_owner, k_exclusive, k_shared, k_places[1], k_places[2],
                                     k_tenant_runs, k_types, k_limits, at_time)
    on conflict (owner) do update set
        exclusive_kinds = case when k.exclusive_kinds = excluded.exclusive_kinds then k.exclusive_kinds else excluded.exclusive_kinds end,
        shared_kinds = case when k.shared_kinds = excluded.shared_kinds then k.shared_kinds else excluded.shared_kinds end,
        exclusive_places = excluded.exclusive_places, shared_places = excluded.shared_places,
        tenant_runs = excluded.tenant_runs, limited_types = excluded.limited_types, limits = excluded.limits,
        seen_at = excluded.seen_at;
    delete from keepers k where k.owner = any (array(
        select g.owner from keepers g where g.seen_at < at_time - interval '1 min' for update skip locked));
end
$$;

-- add running seconds to the shares of their tenants; what was used counts half after a minute, a quarter after two
create function spend(
    k_exclusive text[], k_shared text[], s_client uuid[], s_engagement uuid[], s_exclusive boolean[], s_seconds double precision[]
) returns void language plpgsql set enable_seqscan = off as $$
declare
    at_time timestamptz := mfo_now();
    minutes int;
begin
    select floor(extract(epoch from at_time - h.at) / 60) into minutes from shares_halved h;
    if minutes <> 0 then
        -- a clock that was set back counts as one minute
        update shares_halved set at = at_time;
        update shares set used = used * 0.5 ^ least(abs(minutes), 60);
        update queues set used = used * 0.5 ^ least(abs(minutes), 60) where used > 0;
        delete from shares where used < 0.01;
    end if;
    with told as (
        insert into shares as s (client_account_id, engagement_id, exclusive, used)
        select * from unnest(s_client, s_engagement, s_exclusive, s_seconds)
        on conflict (client_account_id, engagement_id, exclusive) do update set used = s.used + excluded.used
        returning s.client_account_id, s.engagement_id, s.exclusive, s.used
    )
    update queues q set used = t.used from told t
    where q.client_account_id = t.client_account_id and q.engagement_id = t.engagement_id and q.used is not null
      and q.kind = any (case when t.exclusive then k_exclusive else k_shared end);
end
$$;

-- put tenants that have come to the queue where their share says, but not before those that wait already: what a tenant left
-- unused in the past gives it no right over others
create function line_up(lane boolean, kinds text[]) returns void language plpgsql set enable_seqscan = off as $$
declare
    least_used double precision;
begin
    if not exists (select from queues q where q.kind = any (kinds) and q.used is null) then
        return;
    end if;
    select min(f.used) into least_used from unnest(kinds) as k(kind) cross join lateral (
        select q.used from queues q
        where q.kind = k.kind and q.used is not null and exists (
            select from runs r where r.state = 'queued' and r.kind = q.kind
              and r.client_account_id = q.client_account_id and r.engagement_id = q.engagement_id)
        order by q.used limit 1
    ) f;
    with come as (
        update queues q set used = greatest(c.used, least_used, 0)
        from (
            select n.client_account_id, n.engagement_id, n.kind, s.used
            from queues n left join shares s on s.client_account_id = n.client_account_id
              and s.engagement_id = n.engagement_id and s.exclusive = lane
            where n.kind = any (kinds) and n.used is null and exists (
                select from runs r where r.state = 'queued' and r.kind = n.kind
                  and r.client_account_id = n.client_account_id and r.engagement_id = n.engagement_id)
            limit 500
        ) c
        where q.client_account_id = c.client_account_id and q.engagement_id = c.engagement_id and q.kind = c.kind
        returning q.client_account_id, q.engagement_id, q.used
    )
    insert into shares as s (client_account_id, engagement_id, exclusive, used)
    select c.client_account_id, c.engagement_id, lane, max(c.used) from come c where c.used > 0 group by 1, 2
    on conflict (client_account_id, engagement_id, exclusive) do update set used = greatest(s.used, excluded.used);
end
$$;

-- forget who has nothing in the queue, some together, because whoever appends waits meanwhile
create function tidy_queues(kinds text[]) returns void language plpgsql set enable_seqscan = off as $$
begin
    if (select count(*) from queues q where q.kind = any (kinds) and q.used is null) >= 16
        and pg_try_advisory_xact_lock(hashtext(current_schema()), 1) then
        delete from queues q where q.kind = any (kinds) and q.used is null and not exists (
            select from runs r where r.state = 'queued' and r.kind = q.kind
              and r.client_account_id = q.client_account_id and r.engagement_id = q.engagement_id);
    end if;
end
$$;

-- how many more runs of each type its limit allows; one whose result waits behind a parked flow has no lease and takes no place
create function type_room(k_types text[], k_limits int[]) returns int[] language sql stable as $$
    select array(
        select l.most - (select count(*) from runs r
                         where r.state = 'running' and r.flow_type = l.flow_type
                           and r.lease_until > mfo_now() - interval '10 s')::int
        from unnest(k_types, k_limits) with ordinality as l(flow_type, most, n) order by l.n)
$$;

create function open_kinds(kinds text[], k_types text[], room int[]) returns text[] language sql immutable as $$
    select array(
        select k.kind from unnest(kinds) as k(kind) where not exists (
            select from unnest(k_types, room) as l(flow_type, room)
            where l.room <= 0 and l.flow_type = split_part(k.kind, '/', 1)))
$$;

-- Claims up to `free` runs of the kinds for one sort of places. After the runs come rows without an id, of tenants that still
-- wait: two for any place, and two for each flow type whose limit is reached (`waits_for`). Called under the claims' lock.
create function claim_lane(
    k_owner text, lane boolean, kinds text[], free int, k_tenant_runs int, k_types text[], k_limits int[], lease_seconds double precision
) returns table (id uuid, flow_id uuid, client_account_id uuid, engagement_id uuid, phase_name text, token bigint, priority int, waits_for text)
language plpgsql set enable_seqscan = off set enable_bitmapscan = off
as $lane$
#variable_conflict use_column
declare
    at_time timestamptz := mfo_now();
    places int := greatest(free, 0);
    wanted int := greatest(free, 0) + 5;
    limited boolean := cardinality(k_types) > 0;
    may text[] := kinds; may_before text[];
    room_left int[] := '{}';
    -- tenants in the order of their turn: places held, seconds used, how many more runs each may have (none: no limit)
    t_client uuid[]; t_engagement uuid[]; t_held int[]; t_used double precision[]; t_room int[];
    found_tenants int; turns int; each int;
    ids uuid[]; n_picked int[]; n_within int[]; n_begun int[];
    taken uuid[] := '{}'; seen_client uuid[]; seen_engagement uuid[]; emptied int;
begin
    if not exists (select from queues q where q.kind = any (kinds) and q.used is null)
        and not exists (select from queues q where q.kind = any (kinds) and q.used is not null) then
        return;
    end if;
    perform line_up(lane, kinds);
    if limited then
        room_left := type_room(k_types, k_limits);
        may := open_kinds(kinds, k_types, room_left);
    end if;
    -- again where so many had nothing left, or nothing within the limits, that others were not looked at
    for round in 1..4 loop
        may_before := may;
        with held as materialized (
            select r.client_account_id, r.engagement_id, count(*) filter (where r.kind = any (kinds)) as here, count(*) as in_all
            from runs r where r.state = 'running' and r.lease_until > mfo_now() - interval '10 s' group by 1, 2
        ),
        without as materialized (
            select l.client_account_id, l.engagement_id, min(l.used) as used
            from unnest(may) as k(kind) cross join lateral (
                select q.client_account_id, q.engagement_id, q.used from queues q
                where q.kind = k.kind and q.used is not null
                  and (q.client_account_id, q.engagement_id) not in (select h.client_account_id, h.engagement_id from held h)
                order by q.used limit wanted
            ) l
            group by 1, 2 order by 3, 1, 2 limit wanted
        ),
        line as (
            select w.*, 0 as held, k_tenant_runs as room from without w
            union all
            select h.client_account_id, h.engagement_id, min(q.used), h.here::int, k_tenant_runs - h.in_all::int
            from held h join queues q on q.client_account_id = h.client_account_id and q.engagement_id = h.engagement_id
            where q.kind = any (may) and q.used is not null and (select count(*) from without) < wanted
            group by h.client_account_id, h.engagement_id, h.here, h.in_all
        )
        select array_agg(t.client_account_id order by t.held, t.used, t.client_account_id, t.engagement_id),
               array_agg(t.engagement_id order by t.held, t.used, t.client_account_id, t.engagement_id),
               array_agg(t.held order by t.held, t.used, t.client_account_id, t.engagement_id),
               array_agg(t.used order by t.held, t.used, t.client_account_id, t.engagement_id),
               array_agg(t.room order by t.held, t.used, t.client_account_id, t.engagement_id)
        into t_client, t_engagement, t_held, t_used, t_room
        from (
            select l.* from line l where l.room is null or l.room > 0
            order by l.held, l.used, l.client_account_id, l.engagement_id limit wanted
        ) t;
        found_tenants := coalesce(cardinality(t_client), 0);
        seen_client := '{}';
        seen_engagement := '{}';
        while places > 0 and t_client is not null loop
            -- those that hold the fewest take turns until they hold as many as the next
            turns := (select count(*) from unnest(t_held) as h(held) where h.held = t_held[1]);
            each := greatest(1, least(coalesce(t_held[turns + 1] - t_held[1], places), places / turns));
            turns := least(turns, places);
            with turn as (
                select u.n, u.client, u.engagement, least(each, u.room) as most
                from unnest(t_client[1:turns], t_engagement[1:turns], t_room[1:turns])
                    with ordinality as u(client, engagement, room, n)
            ),
            picked as materialized (
                select t.n, p.id, p.flow_type,
                       row_number() over (partition by p.flow_type order by t.n, p.priority, p.queued_at, p.id) as nth
                from turn t cross join lateral (
                    select h.id, h.flow_type, h.priority, h.queued_at
                    from queues q cross join lateral (
                        select r.id, r.flow_type, r.priority, r.queued_at from runs r
                        where r.state = 'queued' and r.kind = q.kind
                          and r.client_account_id = q.client_account_id and r.engagement_id = q.engagement_id
                        order by r.priority, r.queued_at, r.id limit t.most
                    ) h
                    where q.client_account_id = t.client and q.engagement_id = t.engagement and q.kind = any (may)
                    order by h.priority, h.queued_at, h.id limit t.most
                ) p
            ),
            within as materialized (
                select p.n, p.id from picked p left join unnest(k_types, room_left) as l(flow_type, room) on l.flow_type = p.flow_type
                where l.room is null or p.nth <= l.room
            ),
            mine as materialized (
                -- whoever appends may hold a row's lock and must not be waited for with others' rows in hand
                select r.id from runs r where r.id = any (array(select w.id from within w)) and r.state = 'queued'
                order by r.id for update skip locked
            ),
            begun as (
                update runs r set state = 'running', owner = k_owner, lease_until = at_time + make_interval(secs => lease_seconds),
                       deadline = at_time + make_interval(secs => r.timeout_seconds)
                from mine where r.id = mine.id returning r.id
            )
            select array_agg(o.picked order by t.n), array_agg(o.within order by t.n), array_agg(o.begun order by t.n),
                   (select array_agg(b.id) from begun b)
            into n_picked, n_within, n_begun, ids
            from turn t left join (
                select p.n, count(*)::int as picked, count(w.id)::int as within, count(b.id)::int as begun
                from picked p left join within w on w.id = p.id left join begun b on b.id = p.id group by p.n
            ) o on o.n = t.n;
            taken := taken || coalesce(ids, '{}');
            places := places - coalesce(cardinality(ids), 0);
            select seen_client || coalesce(array_agg(u.client), '{}'), seen_engagement || coalesce(array_agg(u.engagement), '{}')
            into seen_client, seen_engagement
            from unnest(t_client[1:turns], t_engagement[1:turns], t_room[1:turns])
                with ordinality as u(client, engagement, room, n)
            where coalesce(n_picked[u.n], 0) < least(each, u.room);
            select array_agg(u.client order by u.held, u.used, u.client, u.engagement),
                   array_agg(u.engagement order by u.held, u.used, u.client, u.engagement),
                   array_agg(u.held order by u.held, u.used, u.client, u.engagement),
                   array_agg(u.used order by u.held, u.used, u.client, u.engagement),
                   array_agg(u.room order by u.held, u.used, u.client, u.engagement)
            into t_client, t_engagement, t_held, t_used, t_room
            from (
                select u.client, u.engagement, u.held + coalesce(n_begun[u.n], 0) as held, u.used,
                       u.room - coalesce(n_begun[u.n], 0) as room
                from unnest(t_client, t_engagement, t_held, t_used, t_room)
                    with ordinality as u(client, engagement, held, used, room, n)
                where u.n > turns or (n_picked[u.n] >= least(each, u.room) and n_begun[u.n] >= n_within[u.n])
            ) u
            where u.room is null or u.room > 0;
            if limited then
                room_left := type_room(k_types, k_limits);
                may := open_kinds(kinds, k_types, room_left);
            end if;
        end loop;
        -- those with nothing left come to the line anew with their next run
        update queues q set used = null
        from unnest(seen_client || t_client[1:5], seen_engagement || t_engagement[1:5]) as e(client, engagement)
        where q.client_account_id = e.client and q.engagement_id = e.engagement and q.kind = any (kinds)
          and q.used is not null and not exists (
            select from runs r where r.state = 'queued' and r.kind = q.kind
              and r.client_account_id = q.client_account_id and r.engagement_id = q.engagement_id);
        get diagnostics emptied = row_count;
        exit when found_tenants < wanted or (emptied < 3 and (places = 0 or may = may_before));
    end loop;
    return query
        select r.id, r.flow_id, r.client_account_id, r.engagement_id, r.phase_name, r.token, r.priority, null::text
        from runs r where r.id = any (taken);
    return query
        select null::uuid, null::uuid, u.client, u.engagement, null::text, null::bigint, h.priority, null::text
        from unnest(t_client, t_engagement) with ordinality as u(client, engagement, n) cross join lateral (
            select b.priority from queues q cross join lateral (
                select r.priority from runs r
                where r.state = 'queued' and r.kind = q.kind
                  and r.client_account_id = q.client_account_id and r.engagement_id = q.engagement_id
                order by r.priority limit 1
            ) b
            where q.client_account_id = u.client and q.engagement_id = u.engagement and q.kind = any (may)
            order by b.priority limit 1
        ) h
        order by u.n limit 2;
    return query
        select null::uuid, null::uuid, w.client_account_id, w.engagement_id, null::text, null::bigint, w.priority, l.flow_type
        from (
            select l.flow_type, array(select k.kind from unnest(kinds) as k(kind) where split_part(k.kind, '/', 1) = l.flow_type) as full_kinds
            from unnest(k_types, room_left) as l(flow_type, room) where l.room <= 0
        ) l
        cross join lateral (
            select q.client_account_id, q.engagement_id, min(b.priority) as priority
            from (
                select q.* from unnest(l.full_kinds) as k(kind) cross join lateral (
                    select q.* from queues q
                    where q.kind = k.kind and q.used is not null and exists (
                        select from runs r where r.state = 'queued' and r.kind = q.kind
                          and r.client_account_id = q.client_account_id and r.engagement_id = q.engagement_id)
                    order by q.used limit 2
                ) q
            ) q
            cross join lateral (
                select r.priority from runs r
                where r.state = 'queued' and r.kind = q.kind
                  and r.client_account_id = q.client_account_id and r.engagement_id = q.engagement_id
                order by r.priority limit 1
            ) b
            group by 1, 2 order by min(q.used) limit 2
        ) w;
end
$lane$;

-- Claims runs for the free places of a process, and tells which tenants still wait for such places. `k_places` and `k_free`:
-- those for exclusive runs, then those for the others. One claim at a time, so that limits hold over all processes.
create function claim_runs(
    k_owner text, k_exclusive text[], k_shared text[], k_places int[], k_free int[], k_tenant_runs int, k_types text[], k_limits int[],
    s_client uuid[], s_engagement uuid[], s_exclusive boolean[], s_seconds double precision[], lease_seconds double precision
) returns table (exclusive boolean, id uuid, flow_id uuid, client_account_id uuid, engagement_id uuid, phase_name text,
                 token bigint, priority int, waits_for text)
language plpgsql set enable_seqscan = off
as $claim$
#variable_conflict use_column
begin
    perform keeper_seen(k_owner, k_exclusive, k_shared, k_places, k_tenant_runs, k_types, k_limits);
    if cardinality(s_client) = 0 and not exists (select from queues) then
        return;
    end if;
    perform pg_advisory_xact_lock(hashtext(current_schema()), 2);
    perform spend(k_exclusive, k_shared, s_client, s_engagement, s_exclusive, s_seconds);
    return query select true, l.* from claim_lane(k_owner, true, k_exclusive, k_free[1], k_tenant_runs, k_types, k_limits, lease_seconds) l;
    return query select false, l.* from claim_lane(k_owner, false, k_shared, k_free[2], k_tenant_runs, k_types, k_limits, lease_seconds) l;
    perform tidy_queues(k_exclusive || k_shared);
end
$claim$;
