-- How many flows there are of each type and status, kept beside their rows; and words with what lists filter by besides.

drop index flow_words_v1_idx;
alter table flow_words_v1
    add column client_account_id uuid,
    add column engagement_id uuid,
    add column flow_type text,
    add column flow_status text,
    add column created_at timestamptz;
delete from flow_words_v1 w where not exists (select from flow_state_extensions_v1 f where f.flow_id = w.flow_id);
update flow_words_v1 w
set client_account_id = f.client_account_id, engagement_id = f.engagement_id, flow_type = f.flow_type,
    flow_status = f.flow_status, created_at = f.created_at
from flow_state_extensions_v1 f where f.flow_id = w.flow_id;
alter table flow_words_v1
    alter column client_account_id set not null,
    alter column engagement_id set not null,
    alter column flow_type set not null,
    alter column flow_status set not null,
    alter column created_at set not null,
    -- the status is in no index, so that its changes find room on the same page
    set (fillfactor = 90, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_insert_scale_factor = 0.05);
create index flow_words_v1_idx on flow_words_v1 using gin (words);
create index flow_words_v1_created_idx on flow_words_v1 (client_account_id, engagement_id, created_at, flow_id);
create view flow_words as select * from flow_words_v1;

-- a slot is what one transaction adds to at a time; the total is the sum over all of them
create table flow_totals_v1 (
    client_account_id uuid not null,
    engagement_id uuid not null,
    flow_type text not null,
    flow_status text not null,
    slot int not null,
    n bigint not null,
    primary key (client_account_id, engagement_id, flow_type, flow_status, slot)
) with (fillfactor = 20, autovacuum_vacuum_threshold = 50);
insert into flow_totals_v1
select client_account_id, engagement_id, flow_type, flow_status, 0, count(*) from flow_words_v1 group by 1, 2, 3, 4;
create view flow_totals as
select client_account_id, engagement_id, flow_type, flow_status, sum(n)::bigint as n
from flow_totals_v1 group by 1, 2, 3, 4 having sum(n) <> 0;

-- Of two indexes that begin alike the planner takes the shorter one while it knows nothing of a table that is new, and then puts
-- all rows of a tenant in order; and each row has two indexes less.
drop index idx_client_engagement;
alter index flow_state_extensions_v1_created_idx rename to idx_client_engagement;
drop index idx_flow_type_status;
drop index flow_state_extensions_v1_type_idx;
create index idx_flow_type_status
    on flow_state_extensions_v1 (flow_type, flow_status, client_account_id, engagement_id, created_at, flow_id);

-- a count looks at the rows of pages that were written since the last vacuum
alter table flow_state_extensions_v1 set (autovacuum_vacuum_insert_scale_factor = 0.05);
alter table flow_tags_v1 set (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_insert_scale_factor = 0.05);

-- what a rebuild has begun or replaced has other columns
do $other$
declare
    kept text;
begin
    foreach kept in array array['shadow', 'former'] loop
        execute format('drop schema if exists %I cascade', current_schema() || '_' || kept || '_crewai_flow_state_extensions');
    end loop;
end
$other$;

do $reader$
begin
    if exists (select from pg_roles where rolname = 'mfo_reader') then
        grant select on flow_words, flow_totals to mfo_reader;
    end if;
exception when insufficient_privilege then
    raise notice 'mfo_reader was given no rights: %', sqlerrm;
end
$reader$;
