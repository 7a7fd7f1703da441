-- The read model. Tables carry their version in their name and readers see views, so that a rebuilt table can take the
-- place of the one that serves. Nothing here is the truth: all of it can be made again from stored_events.

create table projections (
    name text primary key,
    version int not null,
    state text not null default 'starting' check (state in ('starting', 'catching_up', 'live', 'waiting')),
    -- every event of the log up to here has been applied or its flow set aside; it may lag behind single rows by some 50 ms
    position bigint not null default 0,
    parked bigint not null default 0,
    updated_at timestamptz not null
) with (fillfactor = 20, autovacuum_vacuum_threshold = 50);

-- where each partition goes on; `position`: every event up to there that lies in this partition has been applied
create table projection_offsets (
    projection text not null,
    topic text not null,
    partition int not null,
    next_offset bigint not null,
    position bigint not null default 0,
    primary key (projection, topic, partition)
) with (fillfactor = 20, autovacuum_vacuum_threshold = 50);

-- flows that a projection could not follow: `version` is the event it stopped at
create table parked_flows (
    projection text not null,
    flow_id uuid not null,
    version bigint not null,
    error text not null,
    since timestamptz not null,
    primary key (projection, flow_id)
);

create table flow_state_extensions_v1 (
    flow_id uuid primary key,
    flow_type varchar(50) not null,
    flow_version varchar(20) not null default '1.0.0',
    client_account_id uuid not null,
    engagement_id uuid not null,
    user_id varchar(255) not null,
    flow_name varchar(255),
    flow_description text,
    flow_tags jsonb not null default '[]',
    flow_status varchar(50) not null default 'initialized',
    current_phase varchar(50),
    phases_completed jsonb not null default '[]',
    progress_percentage double precision not null default 0.0,
    flow_configuration jsonb not null,
    flow_state jsonb not null,
    phase_results jsonb not null default '{}',
    validation_results jsonb not null default '{}',
    performance_metrics jsonb not null default '{}',
    phase_execution_times jsonb not null default '{}',
    resource_usage jsonb not null default '{}',
    error_log jsonb not null default '[]',
    agent_collaboration_log jsonb not null default '[]',
    agent_insights jsonb not null default '[]',
    learning_patterns jsonb not null default '[]',
    memory_usage_metrics jsonb not null default '{}',
    phase_transitions jsonb not null default '[]',
    retry_count int not null default 0,
    parent_flow_id uuid,
    dependent_flow_ids jsonb not null default '[]',
    child_flow_ids jsonb not null default '[]',
    iteration_number int not null default 1,
    flow_metadata jsonb not null default '{}',
    created_at timestamptz not null,
    updated_at timestamptz not null,
    created_by varchar(255),
    updated_by varchar(255),
    deletion_metadata jsonb,
    version bigint not null,
    draining boolean not null default false,
    next_action jsonb not null default '{}',
    phases jsonb not null default '[]',
    input_request jsonb,
    log_position bigint not null
) with (fillfactor = 85, autovacuum_vacuum_scale_factor = 0.05);

create index idx_flow_type_status on flow_state_extensions_v1 (flow_type, flow_status);
create index idx_client_engagement on flow_state_extensions_v1 (client_account_id, engagement_id);
create index idx_created_at on flow_state_extensions_v1 (created_at);
create index idx_current_phase on flow_state_extensions_v1 (current_phase);
create index flow_state_extensions_v1_list_idx
    on flow_state_extensions_v1 (client_account_id, engagement_id, created_at desc, flow_id);

-- the words of a flow's name, description and tags never change, so they lie apart from the row that does
create table flow_words_v1 (
    flow_id uuid primary key,
    words tsvector not null
);
create index flow_words_v1_idx on flow_words_v1 using gin (words);

create view crewai_flow_state_extensions as
select f.*, f.flow_state as flow_persistence_data, w.words as search_words
from flow_state_extensions_v1 f left join flow_words_v1 w using (flow_id);
comment on view crewai_flow_state_extensions is 'One row a flow, projected from its history; search_words @@ query finds by name, description and tags';

-- what phases found: the rows of one artifact stand or fall together, guarded by the version of their PhaseCompleted
create table inventory_sets_v1 (
    flow_id uuid not null,
    phase_name text not null,
    kind text not null check (kind in ('assets', 'dependencies', 'issues')),
    version bigint not null,
    rows int not null,
    primary key (flow_id, phase_name, kind)
);

create table assets_v1 (
    flow_id uuid not null,
    client_account_id uuid not null,
    engagement_id uuid not null,
    phase_name text not null,
    n int not null,
    id text not null,
    name text,
    asset_type text,
    document jsonb not null
);
create index assets_v1_flow_idx on assets_v1 (flow_id, n);
create index assets_v1_tenant_idx on assets_v1 (client_account_id, engagement_id);

create table dependencies_v1 (
    flow_id uuid not null,
    client_account_id uuid not null,
    engagement_id uuid not null,
    phase_name text not null,
    n int not null,
    id text not null,
    document jsonb not null
);
create index dependencies_v1_flow_idx on dependencies_v1 (flow_id, n);
create index dependencies_v1_tenant_idx on dependencies_v1 (client_account_id, engagement_id);

create table issues_v1 (
    flow_id uuid not null,
    client_account_id uuid not null,
    engagement_id uuid not null,
    phase_name text not null,
    n int not null,
    id text not null,
    severity text,
    kind text,
    document jsonb not null
);
create index issues_v1_flow_idx on issues_v1 (flow_id, n);
create index issues_v1_tenant_idx on issues_v1 (client_account_id, engagement_id);

create view assets as select * from assets_v1;
create view dependencies as select * from dependencies_v1;
create view issues as select * from issues_v1;

-- people who read with plain SQL; without the right to make roles the schema works the same, only without this one
do $reader$
begin
    if not exists (select from pg_roles where rolname = 'mfo_reader') then
        create role mfo_reader nologin;
    end if;
exception when insufficient_privilege or duplicate_object or unique_violation then
    raise notice 'the role mfo_reader was not made: %', sqlerrm;
end
$reader$;
do $reader$
begin
    if exists (select from pg_roles where rolname = 'mfo_reader') then
        execute format('grant usage on schema %I to mfo_reader', current_schema());
        grant select on crewai_flow_state_extensions, assets, dependencies, issues to mfo_reader;
    end if;
exception when insufficient_privilege then
    raise notice 'mfo_reader was given no rights: %', sqlerrm;
end
$reader$;
