-- Read models that are made anew while the old ones serve, how fast each follows, and the indexes of the list of flows.

alter table projections
    -- the tables that serve now; empty where they are as the migrations made them
    add column tables text[] not null default '{}',
    -- events a second, over the stretch that was measured last
    add column rate double precision,
    add column measured_position bigint,
    add column measured_at timestamptz;

-- the last rebuild of each read model; the tables of one under way lie in a schema of their own
create table projection_rebuilds (
    projection text primary key,
    version int not null,
    state text not null check (state in ('filling', 'indexing', 'catching_up', 'comparing', 'swapping', 'done', 'kept')),
    -- flows and events of the part that is filled flow by flow
    flows_total bigint not null default 0,
    flows_done bigint not null default 0,
    events_done bigint not null default 0,
    eta_seconds double precision,
    owner text not null,
    started_at timestamptz not null,
    updated_at timestamptz not null,
    ended_at timestamptz,
    report jsonb
);

-- read backwards for the newest first; the one before could not be read on from a cursor
drop index flow_state_extensions_v1_list_idx;
create index flow_state_extensions_v1_created_idx
    on flow_state_extensions_v1 (client_account_id, engagement_id, created_at, flow_id);
create index flow_state_extensions_v1_updated_idx
    on flow_state_extensions_v1 (client_account_id, engagement_id, updated_at, flow_id);
create index flow_state_extensions_v1_name_idx
    on flow_state_extensions_v1 (client_account_id, engagement_id, flow_name, flow_id);
create index flow_state_extensions_v1_status_idx
    on flow_state_extensions_v1 (client_account_id, engagement_id, flow_status, flow_id);
create index flow_state_extensions_v1_type_idx
    on flow_state_extensions_v1 (client_account_id, engagement_id, flow_type, created_at, flow_id);
create index flow_state_extensions_v1_tags_idx on flow_state_extensions_v1 using gin (flow_tags);
