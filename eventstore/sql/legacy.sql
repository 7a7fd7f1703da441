-- Flows taken over from an older system, and the older system's tables as its readers know them.

create table legacy_imports (
    import_id uuid primary key,
    source text not null,
    user_id text not null,
    started_at timestamptz not null,
    finished_at timestamptz,
    undone_at timestamptz,
    -- counts and checksums, as `mfo legacy import` told them
    document jsonb not null default '{}'
);

create table legacy_import_flows (
    import_id uuid not null references legacy_imports,
    flow_id uuid not null,
    client_account_id uuid not null,
    engagement_id uuid not null,
    -- of the rows that told the flow
    sha256 text not null,
    outcome text not null default 'planned' check (outcome in ('planned', 'imported', 'there', 'refused', 'undone')),
    -- of the flow, when it had been taken over
    version bigint,
    detail text,
    primary key (import_id, flow_id)
);
create index legacy_import_flows_flow_idx on legacy_import_flows (flow_id);

-- Master and child are two looks at one stream: the child's words for where a flow stands follow from the flow's own.
create view discovery_flows as
select f.flow_id as id, f.flow_id, f.flow_id as master_flow_id, f.client_account_id, f.engagement_id, f.user_id,
    f.flow_name,
    (case f.flow_status
        when 'initialized' then 'active'
        when 'waiting_for_input' then case f.next_action ->> 'type' when 'execute_phase' then 'active' else 'waiting_for_approval' end
        when 'cancelled' then 'failed'
        when 'deleted' then 'failed'
        else f.flow_status end)::varchar(20) as status,
    f.flow_status as master_status,
    f.progress_percentage,
    f.phases_completed ? 'data_import' as data_import_completed,
    f.phases_completed ? 'field_mapping' as field_mapping_completed,
    f.phases_completed ? 'data_cleansing' as data_cleansing_completed,
    f.phases_completed ? 'asset_inventory' as asset_inventory_completed,
    f.phases_completed ? 'dependency_analysis' as dependency_analysis_completed,
    f.phases_completed ? 'tech_debt_assessment' as tech_debt_assessment_completed,
    f.flow_status = 'completed' as assessment_ready,
    f.flow_type, f.current_phase, f.phases_completed, f.flow_state,
    f.flow_state -> 'outputs' as crew_outputs,
    f.flow_state -> 'inputs' -> 'mappings' as field_mappings,
    coalesce(f.flow_metadata #>> '{error,message}', f.deletion_metadata ->> 'reason') as error_message,
    case when f.flow_status = 'failed' then f.current_phase end as error_phase,
    f.flow_metadata -> 'error' as error_details,
    f.created_at, f.updated_at,
    case when f.flow_status = 'completed' then f.updated_at end as completed_at,
    f.version
from crewai_flow_state_extensions f
where f.flow_type = 'discovery';
comment on view discovery_flows is 'Discovery flows for readers of the older system; projected from the same history as crewai_flow_state_extensions';

create view assessment_flows as
select f.flow_id as id, f.flow_id, f.flow_id as master_flow_id, f.client_account_id, f.engagement_id, f.user_id,
    f.flow_name,
    coalesce(f.flow_state -> 'inputs' -> 'application_ids', '[]') as selected_application_ids,
    (case f.flow_status
        when 'waiting_for_input' then 'paused_for_user_input'
        when 'failed' then 'error'
        when 'cancelled' then 'error'
        when 'deleted' then 'error'
        else f.flow_status end)::varchar(50) as status,
    f.flow_status as master_status,
    f.progress_percentage as progress,
    f.current_phase,
    f.next_action ->> 'phase' as next_phase,
    f.flow_state -> 'inputs' as user_inputs,
    f.phase_results, f.agent_insights,
    f.created_at, f.updated_at,
    case when f.flow_status = 'completed' then f.updated_at end as completed_at,
    f.version
from crewai_flow_state_extensions f
where f.flow_type = 'assessment';
comment on view assessment_flows is 'Assessment flows for readers of the older system; projected from the same history as crewai_flow_state_extensions';

do $reader$
begin
    if exists (select from pg_roles where rolname = 'mfo_reader') then
        grant select on discovery_flows, assessment_flows to mfo_reader;
    end if;
exception when insufficient_privilege then
    raise notice 'mfo_reader was given no rights: %', sqlerrm;
end
$reader$;
