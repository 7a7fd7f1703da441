-- Commands that wait behind a parked flow.
--
-- A flow is parked for as long as it has a row in parked_commands: the first is a command that could not be applied for no
-- fault of its own, the others came after it. append_group lets a parked flow win with its first waiting command only, so
-- order is kept whichever process decides. Everything here that changes a list does so under the store lock.

create table parked_commands (
    n bigint generated always as identity primary key,
    flow_id uuid not null,
    client_account_id uuid not null,
    engagement_id uuid not null,
    user_id text not null,
    command_id text not null,
    command text not null,
    body bytea not null,
    body_hash bytea not null,
    source text not null,
    reply_to text,
    correlation_id text not null,
    causation_id text,
    expected_version bigint,
    ip_address text,
    user_agent text,
    received_at timestamptz not null,
    -- of the first: why it could not be applied, and when it is tried again; the others are due as soon as they are first
    error text,
    attempts int not null default 0,
    retry_at timestamptz
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
create unique index parked_commands_flow_id_idx on parked_commands (flow_id, n);
create unique index parked_commands_command_id_idx on parked_commands (client_account_id, engagement_id, command_id);

-- answers to commands from Kafka that came to their outcome after they had waited; a consumers process sends them
create table late_replies (
    client_account_id uuid not null,
    engagement_id uuid not null,
    command_id text not null,
    flow_id uuid not null,
    reply_to text not null,
    correlation_id text not null,
    tried_at timestamptz,
    primary key (client_account_id, engagement_id, command_id)
);

-- when a projection should be told a flow's history once more
alter table parked_flows add column retry_at timestamptz;

-- The flows of a group (by their place in it, from 1) that must not win: a parked one whose decision is not its first waiting
-- command alone, and one whose command has the id of a command that waits behind another flow.
create function held_by_parked(
    f_id uuid[], c_flow int[], c_client uuid[], c_engagement uuid[], c_id text[], c_body_hash bytea[]
) returns bigint[] language sql stable as
$held$
    with c as (
        select * from unnest(c_flow, c_client, c_engagement, c_id, c_body_hash) as c(flow, client, engagement, id, body_hash)
    ),
    waits as (
        select c.flow, p.n, p.flow_id, p.body_hash = c.body_hash as same
        from c join parked_commands p on (p.client_account_id, p.engagement_id, p.command_id) = (c.client, c.engagement, c.id)
    ),
    f as (
        select f.n, f.id, (select min(p.n) from parked_commands p where p.flow_id = f.id) as first
        from unnest(f_id) with ordinality as f(id, n)
    )
    select array_agg(f.n) from f
    where exists (select from waits w where w.flow = f.n and w.flow_id <> f.id)
       or f.first is not null and (
            (select count(*) from c where c.flow = f.n) <> 1
            or not exists (select from waits w where w.flow = f.n and w.n = f.first and w.same))
$held$;

-- Takes the commands that have their outcome by now off their lists.
create function off_the_list(c_client uuid[], c_engagement uuid[], c_id text[]) returns void language sql as
$off$
    with gone as (
        delete from parked_commands p
        using unnest(c_client, c_engagement, c_id) as c(client, engagement, id), command_ids i
        where (p.client_account_id, p.engagement_id, p.command_id) = (c.client, c.engagement, c.id)
          and (i.client_account_id, i.engagement_id, i.command_id) = (c.client, c.engagement, c.id)
        returning p.*
    )
    insert into late_replies (client_account_id, engagement_id, command_id, flow_id, reply_to, correlation_id)
    select client_account_id, engagement_id, command_id, flow_id, reply_to, correlation_id
    from gone where reply_to is not null
    on conflict do nothing
$off$;

-- Puts commands on their flows' lists, in the order given. One with an error begins a list where there is none; one without
-- joins. Answers for each what became of it: `waits`; `reused`: its id waits with another body; `known`: its id has an outcome;
-- `free`: nobody waits there any more, so it can be decided; `stranger`: the flow is another tenant's, and that is its outcome.
create function wait_behind(
    w_flow uuid[], w_client uuid[], w_engagement uuid[], w_user text[], w_id text[], w_command text[], w_body bytea[],
    w_body_hash bytea[], w_source text[], w_reply text[], w_correlation text[], w_causation text[], w_expected bigint[],
    w_ip text[], w_agent text[], w_error text[], not_found text, retry_seconds double precision
) returns table (place int, became text, version bigint)
language plpgsql as
$wait$
#variable_conflict use_column
declare
    at_time timestamptz;
    k int;
    account uuid;
    engagement uuid;
    same record;
    begun boolean;
begin
    perform pg_advisory_xact_lock(hashtext(current_schema()), 1);
    at_time := mfo_now();
    for k in 1 .. cardinality(w_flow) loop
        place := k;
        begun := exists (select from parked_commands p where p.flow_id = w_flow[k]);
        select h.version, h.client_account_id, h.engagement_id into version, account, engagement
        from heads h where h.id = w_flow[k];
        if not found then
            version := 0;
            select p.client_account_id, p.engagement_id into account, engagement
            from parked_commands p where p.flow_id = w_flow[k] order by p.n limit 1;
        end if;
        if exists (select from command_ids i where (i.client_account_id, i.engagement_id, i.command_id)
                       = (w_client[k], w_engagement[k], w_id[k])) then
            became := 'known';
        elsif (account, engagement) <> (w_client[k], w_engagement[k]) then
            became := 'stranger';
            version := 0;
            insert into command_ids (client_account_id, engagement_id, command_id, body_hash, outcome, flow_id, version, error, at)
            values (w_client[k], w_engagement[k], w_id[k], w_body_hash[k], 'refused', w_flow[k], 0, not_found, at_time);
            insert into command_log (at, client_account_id, engagement_id, user_id, command_id, command, flow_id, source, outcome,
                                     version, error, correlation_id, causation_id, expected_version, ip_address, user_agent, body)
            values (at_time, w_client[k], w_engagement[k], w_user[k], w_id[k], w_command[k], w_flow[k], w_source[k], 'refused',
                    0, not_found, w_correlation[k], w_causation[k], w_expected[k], w_ip[k], w_agent[k], w_body[k]);
        else
            select p.flow_id, p.body_hash into same from parked_commands p
            where (p.client_account_id, p.engagement_id, p.command_id) = (w_client[k], w_engagement[k], w_id[k]);
            if found then
                became := case when (same.flow_id, same.body_hash) = (w_flow[k], w_body_hash[k]) then 'waits' else 'reused' end;
            elsif begun or w_error[k] is not null then
                became := 'waits';
                insert into parked_commands (flow_id, client_account_id, engagement_id, user_id, command_id, command, body,
                                             body_hash, source, reply_to, correlation_id, causation_id, expected_version,
                                             ip_address, user_agent, received_at, error, retry_at)
                values (w_flow[k], w_client[k], w_engagement[k], w_user[k], w_id[k], w_command[k], w_body[k],
                        w_body_hash[k], w_source[k], w_reply[k], w_correlation[k], w_causation[k], w_expected[k],
                        w_ip[k], w_agent[k], at_time, case when not begun then w_error[k] end,
                        case when not begun then at_time + make_interval(secs => retry_seconds) end);
            else
                became := 'free';
            end if;
        end if;
        return next;
    end loop;
end
$wait$;

-- What an operator does about a parked flow, kept in the command log under the operator's own command id. `act` is RetryParked,
-- which only is kept, or DiscardParked, which gives the wanted waiting command (none named: the first) the outcome `refused` with
-- `error`. Answers `done`; `again`: the id was used for this before; `reused`: for something else; `missing`: nothing waits there;
-- and the id of the command that was given up.
create function operate_parked(
    act text, o_flow uuid, o_client uuid, o_engagement uuid, o_user text, o_id text, o_body_hash bytea,
    o_correlation text, o_ip text, o_agent text, wanted text, reason text, refusal text
) returns table (became text, discarded text)
language plpgsql as
$operate$
#variable_conflict use_column
declare
    at_time timestamptz;
    head bigint;
    hit parked_commands;
    used record;
begin
    perform pg_advisory_xact_lock(hashtext(current_schema()), 1);
    at_time := mfo_now();
    select i.body_hash into used from command_ids i
    where (i.client_account_id, i.engagement_id, i.command_id) = (o_client, o_engagement, o_id);
    if found then
        became := case when used.body_hash = o_body_hash then 'again' else 'reused' end;
        select convert_from(l.body, 'UTF8')::json ->> 'command_id' into discarded from command_log l
        where l.flow_id = o_flow and l.command_id = o_id and l.command = act and became = 'again' limit 1;
        return next;
        return;
    end if;
    select p.* into hit from parked_commands p
    where p.flow_id = o_flow and (p.client_account_id, p.engagement_id) = (o_client, o_engagement)
      and (wanted is null or p.command_id = wanted)
    order by p.n limit 1;
    if not found then
        became := 'missing';
        return next;
        return;
    end if;
    head := coalesce((select h.version from heads h where h.id = o_flow), 0);
    became := 'done';
    if act = 'DiscardParked' then
        discarded := hit.command_id;
    end if;
    insert into command_ids (client_account_id, engagement_id, command_id, body_hash, outcome, flow_id, version, at)
    values (o_client, o_engagement, o_id, o_body_hash, 'accepted', o_flow, head, at_time);
    insert into command_log (at, client_account_id, engagement_id, user_id, command_id, command, flow_id, source, outcome, version,
                             correlation_id, ip_address, user_agent, body)
    values (at_time, o_client, o_engagement, o_user, o_id, act, o_flow, 'http', 'accepted', head, o_correlation, o_ip, o_agent,
            convert_to(json_build_object('command_id', discarded, 'reason', reason)::text, 'UTF8'));
    if act = 'DiscardParked' then
        insert into command_ids (client_account_id, engagement_id, command_id, body_hash, outcome, flow_id, version, error, at)
        values (hit.client_account_id, hit.engagement_id, hit.command_id, hit.body_hash, 'refused', o_flow, head, refusal, at_time);
        insert into command_log (at, client_account_id, engagement_id, user_id, command_id, command, flow_id, source, outcome,
                                 version, error, correlation_id, causation_id, expected_version, ip_address, user_agent, body)
        values (at_time, hit.client_account_id, hit.engagement_id, hit.user_id, hit.command_id, hit.command, o_flow, hit.source,
                'refused', head, refusal, hit.correlation_id, hit.causation_id, hit.expected_version, hit.ip_address, hit.user_agent,
                hit.body);
        perform off_the_list(array[hit.client_account_id], array[hit.engagement_id], array[hit.command_id]);
    end if;
    return next;
end
$operate$;
