-- What governs the audit trail is verified against the command log from here on: what is there and not said in it is said now.

with alone as materialized (select pg_advisory_xact_lock(hashtext(current_schema()), 1)),
unsaid as (
    select '00000000-0000-0000-0000-000000000000'::uuid as account, '00000000-0000-0000-0000-000000000000'::uuid as engagement,
           'AdoptAuditPolicy' as command, '00000000-0000-0000-0000-000000000000'::uuid as flow, 'mfo' as by, 1 as step,
           jsonb_build_object('id', id, 'document', document) as body
    from audit_policies
    union all
    select client_account_id, '00000000-0000-0000-0000-000000000000', 'SetAuditRetention',
           '00000000-0000-0000-0000-000000000000', set_by, 1,
           jsonb_build_object('category', category, 'keep_days', keep_days, 'reason', 'as it was found at an upgrade')
    from audit_retention r
    where not exists (
        select from command_log c where c.client_account_id = r.client_account_id and c.command = 'SetAuditRetention'
          and c.outcome = 'accepted' and convert_from(c.body, 'UTF8')::jsonb ->> 'category' = r.category)
    union all
    select client_account_id, engagement_id, 'PlaceLegalHold', coalesce(flow_id, '00000000-0000-0000-0000-000000000000'),
           placed_by, 1, jsonb_build_object('hold_id', id, 'reason', reason)
    from audit_holds h
    where not exists (
        select from command_log c where c.client_account_id = h.client_account_id and c.command = 'PlaceLegalHold'
          and c.outcome = 'accepted' and convert_from(c.body, 'UTF8')::jsonb ->> 'hold_id' = h.id::text)
    union all
    select client_account_id, engagement_id, 'ReleaseLegalHold', coalesce(flow_id, '00000000-0000-0000-0000-000000000000'),
           released_by, 2, jsonb_build_object('hold_id', id, 'reason', 'as it was found at an upgrade')
    from audit_holds h
    where released_at is not null and not exists (
        select from command_log c where c.client_account_id = h.client_account_id and c.command = 'ReleaseLegalHold'
          and c.outcome = 'accepted' and convert_from(c.body, 'UTF8')::jsonb ->> 'hold_id' = h.id::text)
)
insert into command_log (at, client_account_id, engagement_id, user_id, command_id, command, flow_id, source, outcome, version,
                         correlation_id, body)
select mfo_now(), account, engagement, by, gen_random_uuid()::text, command, flow, 'upgrade', 'accepted', 0, 'upgrade',
       convert_to(body::text, 'UTF8')
from unsaid, alone order by step;
