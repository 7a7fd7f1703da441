-- The list of flows is counted by indexes alone: what its filters ask for lies in them.

drop index flow_state_extensions_v1_created_idx;
create index flow_state_extensions_v1_created_idx
    on flow_state_extensions_v1 (client_account_id, engagement_id, created_at, flow_id) include (flow_status, flow_type);
drop index flow_state_extensions_v1_type_idx;
create index flow_state_extensions_v1_type_idx
    on flow_state_extensions_v1 (client_account_id, engagement_id, flow_type, flow_status, created_at, flow_id);

-- one row a flow and tag, with what lists filter by
create table flow_tags_v1 (
    flow_id uuid not null,
    tag text not null,
    client_account_id uuid not null,
    engagement_id uuid not null,
    flow_type text not null,
    flow_status text not null,
    created_at timestamptz not null,
    primary key (flow_id, tag)
) with (fillfactor = 90);
create index flow_tags_v1_idx
    on flow_tags_v1 (client_account_id, engagement_id, tag, created_at, flow_id) include (flow_status, flow_type);
insert into flow_tags_v1
select distinct flow_id, tag, client_account_id, engagement_id, flow_type, flow_status, created_at
from flow_state_extensions_v1, jsonb_array_elements_text(flow_tags) as tag;
create view flow_tags as select * from flow_tags_v1;

do $reader$
begin
    if exists (select from pg_roles where rolname = 'mfo_reader') then
        grant select on flow_tags to mfo_reader;
    end if;
exception when insufficient_privilege then
    raise notice 'mfo_reader was given no rights: %', sqlerrm;
end
$reader$;
