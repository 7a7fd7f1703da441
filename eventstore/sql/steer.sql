-- What an operator does about a parked flow, kept in the command log under the operator's own command id. `act` is RetryParked,
-- which only is kept, or DiscardParked, which gives the wanted waiting command (none named: the first) the outcome `refused` with
-- `error`. Answers `done`; `again`: the id was used for this before; `reused`: for something else; `missing`: nothing waits there;
-- and the id of the command that was given up. The firing of a timer that is given up has no outcome: the timer is set again, for
-- a minute later, unless the flow has set another of its name, and its firing is then decided like any other.
create or replace function operate_parked(
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
        if hit.command = 'FireTimer' then
            insert into timers (flow_id, name, token, client_account_id, engagement_id, due_at)
            select o_flow, timer ->> 'timer', (timer ->> 'token')::bigint, hit.client_account_id, hit.engagement_id,
                   at_time + interval '1 minute'
            from (select convert_from(hit.body, 'UTF8')::json as timer) fired
            on conflict (flow_id, name) do nothing;
            delete from parked_commands where n = hit.n;
        else
            insert into command_ids (client_account_id, engagement_id, command_id, body_hash, outcome, flow_id, version, error, at)
            values (hit.client_account_id, hit.engagement_id, hit.command_id, hit.body_hash, 'refused', o_flow, head, refusal, at_time);
            insert into command_log (at, client_account_id, engagement_id, user_id, command_id, command, flow_id, source, outcome,
                                     version, error, correlation_id, causation_id, expected_version, ip_address, user_agent, body)
            values (at_time, hit.client_account_id, hit.engagement_id, hit.user_id, hit.command_id, hit.command, o_flow, hit.source,
                    'refused', head, refusal, hit.correlation_id, hit.causation_id, hit.expected_version, hit.ip_address, hit.user_agent,
                    hit.body);
            perform off_the_list(array[hit.client_account_id], array[hit.engagement_id], array[hit.command_id]);
        end if;
    end if;
    return next;
end
$operate$;
