-- Intervals of a flow that differ only in phase and progress are one row: the last of them in the columns, those before it beside.

alter table flow_intervals_v1
    -- of the event that began the last interval, and when that was
    add column step_version bigint,
    add column since timestamptz,
    -- [{version, valid_from, valid_to, current_phase, phases_completed, progress_percentage, updated_by}], the oldest first
    add column before jsonb,
    -- the version of the event that last changed the row
    add column told bigint;

create temporary table stays_at_hand on commit drop as
with marked as (
    select *, (flow_status, draining, iteration_number, flow_version) is distinct from
              (lag(flow_status) over w, lag(draining) over w, lag(iteration_number) over w, lag(flow_version) over w) as begins
    from flow_intervals_v1 window w as (partition by flow_id order by version)
), numbered as (
    select *, count(*) filter (where begins) over (partition by flow_id order by version) as stay,
           lead(version) over (partition by flow_id order by version) as following,
           -- as the projection writes it
           replace(to_char(valid_from at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US'), '.000000', '') || 'Z' as from_text,
           replace(to_char(valid_to at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US'), '.000000', '') || 'Z' as to_text
    from marked
)
select flow_id, min(version) as version, (array_agg(valid_from order by version))[1] as valid_from,
       (array_agg(valid_to order by version desc))[1] as valid_to, max(version) as step_version,
       (array_agg(valid_from order by version desc))[1] as since,
       case when count(*) > 1 then (jsonb_agg(jsonb_build_object(
           'version', version, 'valid_from', from_text, 'valid_to', to_text, 'current_phase', current_phase,
           'phases_completed', phases_completed, 'progress_percentage', progress_percentage, 'updated_by', updated_by
       ) order by version)) - (-1) end as before,
       coalesce(max(following), max(version)) as told
from numbered group by flow_id, stay;

-- the row of a stay's last interval becomes that of the stay
delete from flow_intervals_v1 i
where not exists (select from stays_at_hand s where (s.flow_id, s.step_version) = (i.flow_id, i.version));
update flow_intervals_v1 i
set version = s.version, valid_from = s.valid_from, valid_to = s.valid_to, step_version = s.step_version, since = s.since,
    before = s.before, told = s.told
from stays_at_hand s where (s.flow_id, s.step_version) = (i.flow_id, i.version);
alter table flow_intervals_v1
    alter column step_version set not null,
    alter column since set not null,
    alter column told set not null;

-- the same rows as before, and the bounds of the stay, by which they are found
create or replace view flow_intervals as
select i.flow_id, s.version, i.client_account_id, i.engagement_id, s.valid_from, s.valid_to, i.created_at, i.flow_type,
       i.flow_version, i.flow_status, s.current_phase, s.phases_completed, s.progress_percentage, i.draining,
       i.iteration_number, s.updated_by, i.valid_from as stay_from, i.valid_to as stay_to
from flow_intervals_v1 i, lateral (
    select i.step_version as version, i.since as valid_from, i.valid_to, i.current_phase, i.phases_completed,
           i.progress_percentage, i.updated_by
    union all
    select * from jsonb_to_recordset(i.before) as b (version bigint, valid_from timestamptz, valid_to timestamptz,
        current_phase text, phases_completed jsonb, progress_percentage double precision, updated_by text)
    where i.before is not null
) s;

-- what a rebuild has begun or replaced has other columns
do $other$
declare
    kept text;
begin
    foreach kept in array array['shadow', 'former'] loop
        execute format('drop schema if exists %I cascade', current_schema() || '_' || kept || '_flow_intervals');
    end loop;
end
$other$;
