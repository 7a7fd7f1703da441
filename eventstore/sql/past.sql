-- Flows as lists showed them at any time: a row for each change of what lists filter on.

create table flow_intervals_v1 (
    flow_id uuid not null,
    -- of the event that began it
    version bigint not null,
    client_account_id uuid not null,
    engagement_id uuid not null,
    valid_from timestamptz not null,
    -- the end is not part of it; infinity for how the flow stands now
    valid_to timestamptz not null,
    created_at timestamptz not null,
    flow_type text not null,
    flow_version text not null,
    flow_status text not null,
    current_phase text,
    phases_completed jsonb not null,
    progress_percentage double precision not null,
    draining boolean not null,
    iteration_number int not null,
    updated_by text not null,
    primary key (flow_id, version)
)
-- closing an interval changes one column that no index holds
with (fillfactor = 90);
create index flow_intervals_v1_created_idx
    on flow_intervals_v1 (client_account_id, engagement_id, created_at, flow_id, valid_from);
create index flow_intervals_v1_status_idx
    on flow_intervals_v1 (client_account_id, engagement_id, flow_status, created_at, flow_id, valid_from);
-- what passes is found by its time, whatever its flow's age; what flows end in stays, and is found by the indexes above
create index flow_intervals_v1_passing_idx on flow_intervals_v1 using gist (tstzrange(valid_from, valid_to))
    where flow_status not in ('completed', 'failed', 'cancelled', 'deleted');
create view flow_intervals as select * from flow_intervals_v1;
comment on view flow_intervals is 'How each flow stood from when to when; valid_to is infinity for how it stands now';

do $reader$
begin
    if exists (select from pg_roles where rolname = 'mfo_reader') then
        grant select on flow_intervals to mfo_reader;
    end if;
exception when insufficient_privilege then
    raise notice 'mfo_reader was given no rights: %', sqlerrm;
end
$reader$;
